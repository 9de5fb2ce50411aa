"""What the study of disentanglement can be told: which models learn which images, and how their codes are scored."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from toolkit.core.errors import require
from toolkit.disentanglement.attacks import LARGEST, SMALLEST
from toolkit.experiments.disentanglement_data import DATA, Images, check_grid, load_images
from toolkit.experiments.disentanglement_models import (
    SYNTHETIC,
    Training,
    paper_training,
    parse_models,
    small_training,
)
from toolkit.experiments.disentanglement_scores import Effort
from toolkit.experiments.study import StudyConfig, by_scale

N_LATENTS = 6
"""Of every model, as in the paper."""

WITH_DECODER = ("VAE", "betaVAE-10")
"""Models whose decoder is kept beside the codes: the ends of the laptop's range of β."""

_PAPER_MODELS = {
    "dsprites": ("betaVAE-4", "betaTCVAE-6", "FactorVAE-35", "JointVAE-40"),
    "3dshapes": ("betaVAE-4", "betaTCVAE-4", "FactorVAE-20", "JointVAE-40"),
}
_SWEEPS: dict[str, dict[str, tuple[int, ...]]] = {
    "dsprites": {
        "betaVAE": (2, 4, 6, 8),
        "betaTCVAE": (2, 4, 6, 8),
        "FactorVAE": (10, 20, 30, 40),
        "JointVAE": (10, 20, 30, 40),
    },
    "3dshapes": {
        "betaVAE": (2, 4, 6, 8),
        "betaTCVAE": (2, 4, 6, 8),
        "FactorVAE": (5, 10, 15, 20),
        "JointVAE": (10, 20, 30, 40),
    },
    "small": {
        "betaVAE": (2, 4, 6, 8, 10, 16),
        "betaTCVAE": (2, 4, 6, 8, 10),
        "FactorVAE": (5, 10, 20, 40),
        "DIPVAE-II": (5, 10, 20, 50),
        "JointVAE": (5, 10, 20),
    },
}
"""Ranges of coefficients: the paper's for the two data sets, and ours for small images."""

_MODELS: dict[str, tuple[str, ...]] = {
    "quick": (SYNTHETIC, "VAE", "betaVAE-10", "FactorVAE-10"),
    "laptop": (
        *(SYNTHETIC, "VAE", "betaVAE-4", "betaVAE-10", "betaTCVAE-6"),
        *("FactorVAE-10", "DIPVAE-II-10", "JointVAE-10"),
    ),
}


@dataclass(frozen=True)
class DisentanglementConfig(StudyConfig):
    """Which models learn which images, and how thoroughly their codes are scored."""

    seeds: tuple[int, ...] = by_scale(quick=(0, 1), laptop=(0, 1, 2, 3, 4), paper=(0, 1, 2, 3, 4))
    """The seeds themselves, each once; of the synthetic encoders they are seeds of the evaluation."""

    models: tuple[str, ...] | None = None
    """Names, as VAE betaVAE-4 betaTCVAE-6 FactorVAE-10 DIPVAE-I-10 DIPVAE-II-10 annealedVAE-10 JointVAE-10 synthetic:
    objective and coefficient. Default: a few at quick, one or more of each objective at laptop, those of the paper at
    paper scale."""

    sweep: bool = False
    """Whole ranges of coefficients, where no models are named: 16 models at paper scale, the paper's; else 23."""

    data: Literal["dsprites", "3dshapes"] = by_scale(quick="dsprites", laptop="dsprites", paper="dsprites")
    """Re-rendered dSprites, or 3dshapes-like images."""

    files: bool = False
    """Take the original files of the data set, which are looked for and downloaded, instead of rendering."""

    grid: tuple[int, ...] | None = None
    """Number of values of each factor: dsprites has 3 6 40 32 32, 3dshapes 10 10 10 8 4 15. Default: a small part, at
    paper scale all."""

    settings: Literal["small", "paper"] = by_scale(quick="small", laptop="small", paper="paper")
    """small: multilayer networks on 32×32 pixels; paper: the convolutional ones on 64×64, trained as by the authors."""

    hidden: str = by_scale(quick="64-64", laptop="256-256", paper="256-256")
    """Units of the layers of multilayer networks."""

    n_steps: int | None = None
    """Updates of a model; default: 200, 4000, or the authors' 30,000 to 500,000."""

    batch_size: int | None = None
    """Images in a batch; default: 128, or the authors' 64 or 2,048."""

    n_samples: int = by_scale(quick=300, laptop=2000, paper=10_000)
    """Draws of z behind each information; all images are in the inner sum."""

    n_points: int = by_scale(quick=1000, laptop=5000, paper=10_000)
    """Points behind the scores that are computed from points."""

    attack_points: int = by_scale(quick=600, laptop=3000, paper=10_000)
    """The same under attack."""

    alphas: tuple[float, ...] = by_scale(
        quick=(0.0, 1.0, 4.0), laptop=(0.0, 1.0, 2.0, 4.0), paper=(0.0, 1.0, 2.0, 3.0, 4.0)
    )
    """Strengths of the attacks."""

    variant: Literal["authors", "library"] = by_scale(quick="library", laptop="authors", paper="authors")
    """Of the BetaVAE and FactorVAE metrics: as in the paper's experiments, or as in disentanglement_lib."""

    n_resamples: int = by_scale(quick=100, laptop=1000, paper=1000)
    """Bootstrap resamples behind each interval, 95 % wide."""

    n_evaluations: int = by_scale(quick=2, laptop=10, paper=10)
    """How often UniBound and MIG are looked at during training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        choices = {"data": tuple(DATA), "settings": ("small", "paper"), "variant": ("authors", "library")}
        for field, allowed in choices.items():
            require(getattr(self, field) in allowed, name, field, " or ".join(allowed), repr(getattr(self, field)))
        for field in ("sweep", "files"):
            require(isinstance(getattr(self, field), bool), name, field, "True or False", repr(getattr(self, field)))
        if self.models is not None:
            models = parse_models(self.models)
            require(0 < len(models) == len(set(models)), name, "models", "one or more, each once", models)
            object.__setattr__(self, "models", models)
        if self.grid is not None:
            object.__setattr__(self, "grid", tuple(self.grid))
            check_grid(name, self.data, self.grid)
        least = {"n_samples": 2, "n_points": 100, "attack_points": 100, "n_resamples": 2, "n_evaluations": 1}
        for field, lowest in (least | {"n_steps": 1, "batch_size": 1}).items():
            value = getattr(self, field)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= lowest
            open_one = value is None and field in ("n_steps", "batch_size")
            require(whole or open_one, name, field, f"a whole number >= {lowest}", repr(value))
        numbers = all(part.isascii() and part.isdigit() and int(part) >= 1 for part in self.hidden.split("-"))
        require(numbers, name, "hidden", 'units of each layer, "256-256"', repr(self.hidden))
        alphas = tuple(float(alpha) for alpha in self.alphas)
        possible = all(alpha == 0 or SMALLEST <= alpha <= LARGEST for alpha in alphas)
        expected = f"0 and numbers from {SMALLEST} to {LARGEST}, each once"
        require(possible and 0 < len(alphas) == len(set(alphas)), name, "alphas", expected, self.alphas)
        object.__setattr__(self, "alphas", alphas)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models, those of the scale if none are given."""
        if self.models is not None:
            return self.models
        if self.sweep:
            ranges = _SWEEPS[self.data if self.settings == "paper" else "small"]
            models = tuple(f"{family}-{value}" for family, values in ranges.items() for value in values)
            return (SYNTHETIC, *(() if self.settings == "paper" else ("VAE",)), *models)
        if self.scale == "paper":
            return (SYNTHETIC, *_PAPER_MODELS[self.data])
        return _MODELS[self.scale]

    @property
    def sizes(self) -> tuple[int, ...] | None:
        """Number of values of each factor; ``None`` for all."""
        if self.grid is not None or self.scale == "paper":
            return self.grid
        small: dict[str, dict[str, tuple[int, ...]]] = {
            "dsprites": {"quick": (3, 2, 4, 4, 4), "laptop": (3, 4, 8, 8, 8)},
            "3dshapes": {"quick": (3, 3, 3, 2, 4, 2), "laptop": (6, 6, 6, 4, 4, 3)},
        }
        return small[self.data][self.scale]

    @property
    def synthetic_sizes(self) -> tuple[int, ...]:
        """Number of values of the synthetic encoders' factors."""
        return (3, 2, 4, 4) if self.scale == "quick" else (3, 6, 10, 8, 8)

    def training(self, name: str) -> Training:
        """Return how a model is built and trained.

        Args:
            name: of the model.
        """
        if self.settings == "paper":
            return paper_training(name, self.data, n_steps=self.n_steps, batch_size=self.batch_size)
        return small_training(
            name,
            self.data,
            n_steps=self.n_steps or (200 if self.scale == "quick" else 4000),
            batch_size=self.batch_size or 128,
            hidden=tuple(int(part) for part in self.hidden.split("-")),
            n_latents=N_LATENTS,
        )

    def load(self, device: torch.device) -> Images:
        """Return the images."""
        return load_images(self.data, self.sizes, self.image_size, self.files, device)

    @property
    def image_size(self) -> int:
        """Height and width of rendered images."""
        return 64 if self.settings == "paper" else 32

    @property
    def effort(self) -> Effort:
        """How thoroughly codes are scored."""
        return Effort(self.n_samples, self.n_points, self.attack_points, self.n_resamples, self.alphas, self.variant)

    def settings_of(self, name: str, seed: int) -> dict[str, Any]:
        """Return all that the training of a model is defined by."""
        images = {"data": self.data, "files": self.files, "grid": self.sizes, "image_size": self.image_size}
        return {"training": self.training(name).to_dict(), **images, "seed": seed}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, everything filled in."""
        return super().to_dict() | {"models": list(self.names), "grid": self.sizes and list(self.sizes)}

"""The models that the study of disentanglement trains, by names such as "betaVAE-4": a family and its coefficient."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from toolkit.core.errors import argument_error, require
from toolkit.disentanglement.models import VAE, convolutional_vae, multilayer_vae
from toolkit.disentanglement.objectives import (
    DIPVAE,
    AnnealedVAE,
    BetaTCVAE,
    BetaVAE,
    FactorVAE,
    JointVAE,
    Objective,
)
from toolkit.disentanglement.training_settings import TrainingSettings

Architecture = Literal["multilayer", "convolutional"]
SYNTHETIC = "synthetic"
"""Stands among the models for encoders that nobody trained."""

_SMALL_RATE = 1e-3
_SMALL_DISCRIMINATOR = {"width": 128, "depth": 4}
_CATEGORIES = {"dsprites": 3, "3dshapes": 4}


@dataclass(frozen=True)
class Family:
    """Models with one objective, which a coefficient tells apart.

    Attributes:
        name: before the coefficient.
        title: as in tables.
        symbol: of the coefficient.
        coefficient: which argument of the objective it is; empty if there is none.
        objective: makes the objective; called with the coefficient, the number of steps and whether the setting is
            the small one.
    """

    name: str
    title: str
    symbol: str
    coefficient: str
    objective: Callable[[float, int, bool], Objective]


def _factor_vae(value: float, n_steps: int, small: bool) -> Objective:
    return FactorVAE(value, **_SMALL_DISCRIMINATOR) if small else FactorVAE(value)


def _joint_vae(value: float, n_steps: int, small: bool) -> Objective:
    # With the authors' γ of 150 nothing is learned from 32×32 pixels: the divergences follow their capacities without
    # the images. Capacities rise over all of the training, as the authors' do on dSprites.
    if small:
        return JointVAE(20.0, real_capacity=value, capacity_steps=n_steps)
    return JointVAE(real_capacity=value)


def _annealed_vae(value: float, n_steps: int, small: bool) -> Objective:
    return AnnealedVAE(100.0 if small else 1000.0, maximum=value, capacity_steps=n_steps if small else 100_000)


FAMILIES = (
    Family("VAE", "VAE", "", "", lambda value, n_steps, small: BetaVAE(1.0)),
    Family("betaVAE", "β-VAE", "β", "beta", lambda value, n_steps, small: BetaVAE(value)),
    Family("betaTCVAE", "β-TCVAE", "β", "beta", lambda value, n_steps, small: BetaTCVAE(beta=value)),
    Family("FactorVAE", "FactorVAE", "γ", "gamma", _factor_vae),
    Family("DIPVAE-I", "DIP-VAE I", "λ", "off_diagonal", lambda value, n_steps, small: DIPVAE("I", value)),
    Family("DIPVAE-II", "DIP-VAE II", "λ", "off_diagonal", lambda value, n_steps, small: DIPVAE("II", value)),
    Family("annealedVAE", "annealed VAE", "C", "maximum", _annealed_vae),
    Family("JointVAE", "JointVAE", "C", "real_capacity", _joint_vae),
)
_BY_NAME = {family.name.casefold(): family for family in FAMILIES}


@dataclass(frozen=True)
class Model:
    """One of the models.

    Attributes:
        family: which objective.
        coefficient: its coefficient; NaN does not occur, a family without one has 0.
    """

    family: Family
    coefficient: float

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"{self.family.name}-{self.coefficient:g}" if self.family.coefficient else self.family.name

    @property
    def title(self) -> str:
        """As in tables."""
        if not self.family.coefficient:
            return self.family.title
        return f"{self.family.title}, {self.family.symbol} = {self.coefficient:g}"

    @property
    def joint(self) -> bool:
        """Whether one of the latents is categorical."""
        return self.family.name == "JointVAE"

    def __repr__(self) -> str:
        return f"Model({self.name})"


@dataclass(frozen=True)
class Training:
    """How a model is built and trained: all that its training is defined by, beside the images and the seed.

    Attributes:
        model: name of the model.
        architecture: which networks.
        hidden: units of the multilayer networks.
        n_latents: the categorical one included.
        categories: of the categorical latent, if there is one.
        n_steps: updates.
        batch_size: images in a batch.
        learning_rate: of Adam.
        betas: of Adam.
        discriminator_learning_rate: of the discriminator, if there is one.
        discriminator_betas: of its Adam.
        source: whose settings these are.
    """

    model: str
    architecture: Architecture
    hidden: tuple[int, ...]
    n_latents: int
    categories: int | None
    n_steps: int
    batch_size: int
    learning_rate: float
    betas: tuple[float, float]
    discriminator_learning_rate: float | None
    discriminator_betas: tuple[float, float] | None
    source: str

    def objective(self) -> Objective:
        """Return what is minimised."""
        model = find_model(self.model)
        return model.family.objective(model.coefficient, self.n_steps, self.architecture == "multilayer")

    def build(
        self, image_shape: Sequence[int], white: int, *, generator: torch.Generator, device: torch.device | str
    ) -> VAE:
        """Return the model with weights drawn anew.

        Args:
            image_shape: of one image.
            white: value of a white pixel.
            generator: draws the weights.
            device: where they go.
        """
        common: dict[str, Any] = {
            "n_latents": self.n_latents,
            "categories": self.categories,
            "white": white,
            "generator": generator,
            "device": device,
        }
        if self.architecture == "multilayer":
            return multilayer_vae(image_shape, hidden=self.hidden, **common)
        return convolutional_vae(image_shape, **common)

    def options(self) -> dict[str, Any]:
        """Return the arguments of the training function."""
        names = ["n_steps", "batch_size", "learning_rate", "betas"]
        if self.discriminator_learning_rate is not None:
            names += ["discriminator_learning_rate", "discriminator_betas"]
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the objective's coefficients among them."""
        return asdict(self) | {"objective": asdict(self.objective())}  # type: ignore[call-overload]


def find_model(name: str) -> Model:
    """Return a model by name, in capitals or not.

    Args:
        name: the family alone if it has no coefficient, else family, hyphen, coefficient: ``"betaTCVAE-6"``.

    Raises:
        ValueError: there is no such family, or the coefficient is missing, or no finite number >= 0.
    """
    text = name.strip()
    if text.casefold() in _BY_NAME:
        family = _BY_NAME[text.casefold()]
        if family.coefficient:
            raise argument_error(
                "find_model", "name", f'{family.name} with its {family.symbol}, "{family.name}-4"', repr(name)
            )
        return Model(family, 0.0)
    family_name, _, number = text.rpartition("-")
    found = _BY_NAME.get(family_name.casefold())
    if found is None or not found.coefficient:
        known = ", ".join(family.name + (f"-{family.symbol}" if family.coefficient else "") for family in FAMILIES)
        raise argument_error("find_model", "name", f"among {known}", repr(name))
    try:
        coefficient = float(number)
    except ValueError:
        coefficient = -1.0
    expected = f'a number >= 0 after "{found.name}-"'
    require(0 <= coefficient < float("inf"), "find_model", "name", expected, repr(name))
    return Model(found, coefficient)


def parse_models(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names one by one, given one by one or joined with commas, each checked and as in tables."""
    parts = [part.strip() for name in names for part in name.split(",") if part.strip()]
    return tuple(part.casefold() if part.casefold() == SYNTHETIC else find_model(part).name for part in parts)


def small_training(
    name: str, data: str, *, n_steps: int, batch_size: int, hidden: tuple[int, ...], n_latents: int = 6
) -> Training:
    """Return settings for small images and a processor, ours.

    Args:
        name: of the model.
        data: ``"dsprites"`` or ``"3dshapes"``, for the number of categories.
        n_steps: updates.
        batch_size: images in a batch.
        hidden: units of the layers.
        n_latents: the categorical one included.
    """
    model = find_model(name)
    adversarial = model.family.name == "FactorVAE"
    return Training(
        model=model.name,
        architecture="multilayer",
        hidden=hidden,
        n_latents=n_latents,
        categories=_CATEGORIES[data] if model.joint else None,
        n_steps=n_steps,
        batch_size=batch_size,
        learning_rate=_SMALL_RATE,
        betas=(0.9, 0.999),
        discriminator_learning_rate=_SMALL_RATE if adversarial else None,
        discriminator_betas=(0.5, 0.9) if adversarial else None,
        source="ours, for small images",
    )


def paper_training(name: str, data: str, *, n_steps: int | None = None, batch_size: int | None = None) -> Training:
    """Return the settings of the authors' code, or for families that they did not train, of disentanglement_lib.

    All have the paper's convolutional networks and six latents. The coefficient is the name's: the authors varied it.

    Args:
        name: of the model.
        data: ``"dsprites"`` or ``"3dshapes"``.
        n_steps: instead of theirs.
        batch_size: instead of theirs.

    Raises:
        ValueError: an unknown model or data set.
    """
    model = find_model(name)
    objective = model.family.objective(model.coefficient, 1, False)
    settings: TrainingSettings = objective.settings(data)  # type: ignore[attr-defined]
    return Training(
        model=model.name,
        architecture="convolutional",
        hidden=(),
        n_latents=6,
        categories=settings.categories,
        n_steps=n_steps or settings.n_steps,
        batch_size=batch_size or settings.batch_size,
        learning_rate=settings.learning_rate,
        betas=settings.betas,
        discriminator_learning_rate=settings.discriminator_learning_rate,
        discriminator_betas=settings.discriminator_betas,
        source=settings.source,
    )

"""With which settings the authors of the paper, and of the library it is compared with, trained their models."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from toolkit.core.errors import require

DataSet = Literal["dsprites", "3dshapes"]
DATA_SETS: tuple[DataSet, ...] = ("dsprites", "3dshapes")
AUTHORS = "the authors' code, github.com/beam2d/disen, experiment.py"
EARLIER = f"{AUTHORS}, an earlier commit"
LIBRARY = "github.com/google-research/disentanglement_lib, unsupervised_study_v1"


@dataclass(frozen=True)
class TrainingSettings:
    """How a model was trained, and which.

    Attributes:
        data_set: "dsprites" or "3dshapes".
        objective: the arguments of its class.
        learning_rate: of Adam.
        betas: of Adam.
        batch_size: images in a batch.
        n_steps: updates of the model.
        n_latents: number of latents, categorical ones included.
        categories: of the categorical latent, if there is one.
        inference: what says which category an image has, see ``VAE``.
        discriminator_learning_rate: of the discriminator's Adam, if there is one.
        discriminator_betas: of the discriminator's Adam.
        source: where this is written.
    """

    data_set: DataSet
    objective: dict[str, float | str]
    learning_rate: float
    batch_size: int
    n_steps: int
    source: str
    betas: tuple[float, float] = (0.9, 0.999)
    n_latents: int = 6
    categories: int | None = None
    inference: Literal["encoder", "decoder"] = "encoder"
    discriminator_learning_rate: float | None = None
    discriminator_betas: tuple[float, float] | None = None

    def training(self) -> dict[str, Any]:
        """Return the arguments that :func:`toolkit.disentanglement.training.train_vae` takes."""
        names = ["n_steps", "batch_size", "learning_rate", "betas"]
        if self.discriminator_learning_rate is not None:
            names += ["discriminator_learning_rate", "discriminator_betas"]
        return {name: getattr(self, name) for name in names}

    def model(self) -> dict[str, Any]:
        """Return the arguments that ``convolutional_vae`` takes."""
        sprites = self.data_set == "dsprites"
        return {
            "image_shape": (1, 64, 64) if sprites else (3, 64, 64),
            "n_latents": self.n_latents,
            "categories": self.categories,
            "white": 1 if sprites else 255,
            "inference": self.inference,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def _authors(
    data_set: DataSet, objective: dict[str, float | str], learning_rate: float, **others: Any
) -> TrainingSettings:
    """Return settings of the authors: where nothing else is said, 300 000 or 500 000 steps in batches of 64."""
    n_steps = 300_000 if data_set == "dsprites" else 500_000
    given: dict[str, Any] = {"batch_size": 64, "n_steps": n_steps, "source": AUTHORS} | others
    return TrainingSettings(data_set, objective, learning_rate, **given)


def _library(**objective: float | str) -> tuple[TrainingSettings, ...]:
    """Return settings of the library, the same for both data sets; it varies the coefficients."""
    return tuple(
        TrainingSettings(data_set, objective, 1e-4, 64, 300_000, LIBRARY, n_latents=10) for data_set in DATA_SETS
    )


_SPLIT: dict[str, float | str] = {"alpha": 1.0, "gamma": 1.0}
_JOINT: dict[str, float | str] = {
    "gamma": 150.0,
    "temperature": 0.67,
    "real_capacity": 40.0,
    "categorical_capacity": 1.1,
}
_JOINT |= {"capacity_steps": 300_000}
_CASCADE: dict[str, float | str] = {"beta_high": 10.0, "beta_low": 2.0, "release_every": 20_000}
_CASCADE |= {"warm_up": 100_000, "duplicate_penalty": 0.001}
_ADVERSARY: dict[str, Any] = {"betas": (0.9, 0.999), "discriminator_betas": (0.5, 0.9)}
SETTINGS: dict[str, tuple[TrainingSettings, ...]] = {
    "BetaVAE": (
        _authors("dsprites", {"beta": 4.0}, 5e-4),
        _authors("3dshapes", {"beta": 4.0}, 1e-4),
    ),
    "FactorVAE": (
        _authors("dsprites", {"gamma": 35.0}, 1e-4, discriminator_learning_rate=1e-4, **_ADVERSARY),
        _authors("3dshapes", {"gamma": 20.0}, 1e-4, discriminator_learning_rate=1e-5, **_ADVERSARY),
    ),
    "BetaTCVAE": (
        _authors("dsprites", _SPLIT | {"beta": 6.0}, 1e-3, batch_size=2048, n_steps=30_000),
        _authors("3dshapes", _SPLIT | {"beta": 4.0}, 1e-3, batch_size=2048, n_steps=50_000),
    ),
    "JointVAE": (
        _authors("dsprites", _JOINT, 5e-4, categories=3),
        _authors("3dshapes", _JOINT, 1e-4, categories=4),
    ),
    # Its last settings are not in the final code: 50 passes over dSprites in an earlier one.
    "CascadeVAE": (
        _authors("dsprites", _CASCADE, 3e-4, n_steps=576_000, categories=3, inference="decoder", source=EARLIER),
    ),
    "AnnealedVAE": _library(gamma=1000.0, maximum=25.0, capacity_steps=100_000),
    "DIPVAE I": _library(form="I", off_diagonal=10.0, diagonal=100.0),
    "DIPVAE II": _library(form="II", off_diagonal=10.0, diagonal=10.0),
}


def find_settings(name: str, data_set: str) -> TrainingSettings:
    """Return the settings of an objective for a data set.

    Raises:
        ValueError: another data set.
    """
    known = {settings.data_set: settings for settings in SETTINGS[name]}
    require(data_set in known, f"{name}.settings", "data_set", " or ".join(map(repr, known)), repr(data_set))
    return next(settings for settings in SETTINGS[name] if settings.data_set == data_set)

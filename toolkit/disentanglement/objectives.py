"""What variational autoencoders are trained for: one frozen class each, with the paper's coefficients as defaults."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement import losses
from toolkit.disentanglement.codes import Posterior
from toolkit.disentanglement.losses import Breakdown
from toolkit.disentanglement.training_settings import TrainingSettings, find_settings

Discriminate = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """A batch and what a model made of it.

    Attributes:
        pixels: in [0, 1].
        posterior: q(z | x) of each image.
        codes: one drawn for each image.
        logits: of the pixels, decoded from the codes.
    """

    pixels: Float[Tensor, "images *pixels"]
    posterior: Posterior
    codes: Float[Tensor, "images columns"]
    logits: Float[Tensor, "images *pixels"]


@runtime_checkable
class Objective(Protocol):
    """A loss of a batch."""

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """Return the loss of each image of a batch, and its parts.

        Args:
            batch: what the model made of it.
            n_data: number of images in the data set, for objectives that estimate q(z); default: those of the batch.
            step: number of updates so far, for objectives that change with time.
            discriminator: from codes to logits, for FactorVAE.

        Raises:
            ValueError: latents that the objective has no place for, or nothing where it needs something.
        """
        ...


@dataclass(frozen=True)
class BetaVAE:
    """reconstruction + β · KL (Higgins et al. 2017); β = 1 is the variational autoencoder itself.

    Attributes:
        beta: β.
    """

    beta: float = 4.0

    def __post_init__(self) -> None:
        _not_negative(self, "beta")

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """See :class:`Objective`."""
        reconstruction, kl, categorical = _elbo_parts(batch)
        return Breakdown(reconstruction + self.beta * kl, reconstruction, kl, categorical)

    @staticmethod
    def settings(data_set: str) -> TrainingSettings:
        """Return the authors' settings for "dsprites" or "3dshapes"."""
        return find_settings("BetaVAE", data_set)


@dataclass(frozen=True)
class AnnealedVAE:
    """reconstruction + γ · |KL − C(t)|, the capacity C rising from 0 (Burgess et al. 2018).

    Attributes:
        gamma: γ.
        maximum: of C, in nats.
        capacity_steps: updates until C is there.
        per_image: compare each image's divergence with C, instead of the batch's mean.
    """

    gamma: float = 1000.0
    maximum: float = 25.0
    capacity_steps: int = 100_000
    per_image: bool = False

    def __post_init__(self) -> None:
        _not_negative(self, "gamma", "maximum", "capacity_steps")

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """See :class:`Objective`."""
        reconstruction, kl, categorical = _elbo_parts(batch)
        allowed = losses.capacity(step, self.maximum, self.capacity_steps)
        compared = kl if self.per_image else kl.mean().expand_as(kl)
        penalty = self.gamma * (compared - allowed).abs()
        return Breakdown(reconstruction + penalty, reconstruction, kl, categorical, penalty=penalty)

    @staticmethod
    def settings(data_set: str) -> TrainingSettings:
        """Return the settings of disentanglement_lib for "dsprites" or "3dshapes"; the paper has no such model."""
        return find_settings("AnnealedVAE", data_set)


@dataclass(frozen=True)
class BetaTCVAE:
    """reconstruction + α · I(x; z) + β · TC + γ · dimension-wise KL, estimated from the batch (Chen et al. 2018).

    Attributes:
        alpha: α.
        beta: β.
        gamma: γ.
        scheme: "stratified" or "weighted", see :func:`toolkit.disentanglement.losses.mixture_log_weights`.
    """

    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    scheme: losses.Scheme = "stratified"

    def __post_init__(self) -> None:
        _not_negative(self, "alpha", "beta", "gamma")
        known = ("stratified", "weighted")
        require(self.scheme in known, "BetaTCVAE", "scheme", " or ".join(map(repr, known)), repr(self.scheme))

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """See :class:`Objective`."""
        _only_real("BetaTCVAE", batch.posterior)
        reconstruction, kl, _ = _elbo_parts(batch)
        n_data = len(batch.codes) if n_data is None else n_data
        parts = losses.split_kl(batch.codes, batch.posterior, n_data, self.scheme)
        mutual, total, single = parts.mutual_information, parts.total_correlation, parts.dimension_kl
        loss = reconstruction + self.alpha * mutual + self.beta * total + self.gamma * single
        return Breakdown(loss, reconstruction, kl, None, mutual, total, single)

    @staticmethod
    def settings(data_set: str) -> TrainingSettings:
        """Return the authors' settings for "dsprites" or "3dshapes"."""
        return find_settings("BetaTCVAE", data_set)


@dataclass(frozen=True)
class FactorVAE:
    """reconstruction + KL + γ · D(z): a discriminator's logit stands for the total correlation (Kim & Mnih 2018).

    Attributes:
        gamma: γ.
        width: units of the discriminator's layers.
        depth: number of the discriminator's linear layers.
    """

    gamma: float = 35.0
    width: int = 1000
    depth: int = 6

    def __post_init__(self) -> None:
        _not_negative(self, "gamma")

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """See :class:`Objective`."""
        _only_real("FactorVAE", batch.posterior)
        require(discriminator is not None, "FactorVAE", "discriminator", "a Discriminator", None)
        assert discriminator is not None
        reconstruction, kl, _ = _elbo_parts(batch)
        total = discriminator(batch.codes)
        return Breakdown(reconstruction + kl + self.gamma * total, reconstruction, kl, total_correlation=total)

    @staticmethod
    def settings(data_set: str) -> TrainingSettings:
        """Return the authors' settings for "dsprites" or "3dshapes"."""
        return find_settings("FactorVAE", data_set)


@dataclass(frozen=True)
class DIPVAE:
    """reconstruction + KL + a penalty on the covariance of the codes (Kumar et al. 2018).

    Form "I" takes the covariance of the posterior means, form "II" that of the codes, which the noise adds to. Both
    are taken over the batch.

    Attributes:
        form: "I" or "II".
        off_diagonal: λ_od, on covariances.
        diagonal: λ_d, on the distance of variances from 1; default: 10 λ_od for "I", λ_od for "II".
    """

    form: Literal["I", "II"] = "I"
    off_diagonal: float = 10.0
    diagonal: float | None = None
    _FACTORS: ClassVar[dict[str, float]] = {"I": 10.0, "II": 1.0}

    def __post_init__(self) -> None:
        require(self.form in self._FACTORS, "DIPVAE", "form", "'I' or 'II'", repr(self.form))
        if self.diagonal is None:
            object.__setattr__(self, "diagonal", self._FACTORS[self.form] * self.off_diagonal)
        _not_negative(self, "off_diagonal", "diagonal")

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """See :class:`Objective`."""
        _only_real("DIPVAE", batch.posterior)
        reconstruction, kl, _ = _elbo_parts(batch)
        moments = losses.covariance(batch.posterior.mean)
        if self.form == "II":
            moments = moments + batch.posterior.standard_deviation.square().mean(0).diag()
        assert self.diagonal is not None
        penalty = losses.moment_penalty(moments, self.off_diagonal, self.diagonal).expand_as(kl)
        return Breakdown(reconstruction + kl + penalty, reconstruction, kl, penalty=penalty)

    def settings(self, data_set: str) -> TrainingSettings:
        """Return the settings of disentanglement_lib for "dsprites" or "3dshapes"; the paper has no such model."""
        return find_settings(f"DIPVAE {self.form}", data_set)


@dataclass(frozen=True)
class JointVAE:
    """reconstruction + γ · (|KL_c − C_c(t)| + |KL_z − C_z(t)|) for categories c and real latents z (Dupont 2018).

    Each image's divergences are compared with the capacities, as in the authors' code; the original compares the
    batch's means.

    Attributes:
        gamma: γ.
        temperature: of the relaxed categories while training.
        real_capacity: the maximum of C_z, in nats.
        categorical_capacity: the maximum of C_c, in nats.
        capacity_steps: updates until both are there.
        per_image: compare each image's divergences, instead of the batch's means.
    """

    gamma: float = 150.0
    temperature: float = 0.67
    real_capacity: float = 40.0
    categorical_capacity: float = 1.1
    capacity_steps: int = 300_000
    per_image: bool = True

    def __post_init__(self) -> None:
        _not_negative(self, "gamma", "real_capacity", "categorical_capacity", "capacity_steps")
        require(self.temperature > 0, "JointVAE", "temperature", "> 0", self.temperature)

    def __call__(
        self,
        batch: Reconstruction,
        *,
        n_data: int | None = None,
        step: int = 0,
        discriminator: Discriminate | None = None,
    ) -> Breakdown:
        """See :class:`Objective`; without categorical latents their term is left out."""
        reconstruction = losses.bernoulli_reconstruction(batch.logits, batch.pixels)
        real, categorical = losses.posterior_kl(batch.posterior)
        excess = self._excess(real, self.real_capacity, step)
        if categorical is not None:
            excess = excess + self._excess(categorical, self.categorical_capacity, step)
        penalty = self.gamma * excess
        kl = real if categorical is None else real + categorical
        return Breakdown(reconstruction + penalty, reconstruction, kl, categorical, penalty=penalty)

    def _excess(self, kl: Tensor, maximum: float, step: int) -> Tensor:
        compared = kl if self.per_image else kl.mean().expand_as(kl)
        return (compared - losses.capacity(step, maximum, self.capacity_steps)).abs()

    @staticmethod
    def settings(data_set: str) -> TrainingSettings:
        """Return the authors' settings for "dsprites" or "3dshapes"."""
        return find_settings("JointVAE", data_set)


def _elbo_parts(batch: Reconstruction) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return reconstruction, divergence of all latents, and the categorical share of it."""
    reconstruction = losses.bernoulli_reconstruction(batch.logits, batch.pixels)
    real, categorical = losses.posterior_kl(batch.posterior)
    return reconstruction, real if categorical is None else real + categorical, categorical


def _only_real(name: str, posterior: Posterior) -> None:
    n_categorical = len(posterior.categorical_log_prob)
    require(n_categorical == 0, name, "batch", "real latents only", f"{n_categorical} categorical ones")


def _not_negative(objective: object, *names: str) -> None:
    for name in names:
        value = getattr(objective, name)
        require(0 <= value < float("inf"), type(objective).__name__, name, "a finite number >= 0", value)

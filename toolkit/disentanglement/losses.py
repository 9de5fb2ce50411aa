"""What the objectives of variational autoencoders are made of: one value for each image of a batch, in nats."""

import math
from dataclasses import dataclass, fields
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.core.devices import draw_uniform
from toolkit.core.errors import require
from toolkit.disentanglement.codes import Posterior
from toolkit.disentanglement.models import SMALLEST_STANDARD_DEVIATION, queued_to

Scheme = Literal["stratified", "weighted"]
_LOG_TWO_PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False, repr=False)
class Breakdown:
    """A loss and its parts, for each image of a batch, in nats. Parts that an objective does not have are ``None``.

    Attributes:
        loss: its mean over the batch is what is descended.
        reconstruction: −log p(x | z).
        kl: KL(q(z | x) ‖ p(z)) of all latents.
        categorical_kl: the share of the categorical latents in ``kl``.
        mutual_information: estimate of I(x; z), log q(z | x) − log q(z).
        total_correlation: estimate of KL(q(z) ‖ Π q(z_l)), log q(z) − Σ log q(z_l); of FactorVAE the discriminator's.
        dimension_kl: estimate of Σ KL(q(z_l) ‖ p(z_l)).
        penalty: what is added beside these, with its coefficient.
    """

    loss: Float[Tensor, " images"]
    reconstruction: Float[Tensor, " images"]
    kl: Float[Tensor, " images"]
    categorical_kl: Float[Tensor, " images"] | None = None
    mutual_information: Float[Tensor, " images"] | None = None
    total_correlation: Float[Tensor, " images"] | None = None
    dimension_kl: Float[Tensor, " images"] | None = None
    penalty: Float[Tensor, " images"] | None = None

    @property
    def elbo(self) -> Float[Tensor, " images"]:
        """The evidence lower bound, −reconstruction − kl."""
        return -self.reconstruction - self.kl

    def means(self) -> dict[str, Float[Tensor, ""]]:
        """Return the means over the batch of all that is there, and of the evidence lower bound, without gradients."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        parts = {name: part.detach() for name, part in present.items() if part is not None}
        means = torch.stack(list(parts.values())).mean(1)
        named = {name.replace("_", " ").replace("kl", "KL"): mean for name, mean in zip(parts, means, strict=True)}
        return named | {"ELBO": -named["reconstruction"] - named["KL"]}

    def to_dict(self) -> dict[str, float]:
        """Return the means as plain numbers."""
        return {name: float(mean) for name, mean in self.means().items()}

    def __repr__(self) -> str:
        means = ", ".join(f"{name}={mean:.4g}" for name, mean in self.to_dict().items())
        return f"Breakdown({len(self.loss)} images; {means})"


@dataclass(frozen=True, eq=False, repr=False)
class SplitKL:
    """log q(z | x) − log p(z) of drawn codes, split in three (Chen et al. 2018); their sum, exactly.

    Attributes:
        mutual_information: log q(z | x) − log q(z).
        total_correlation: log q(z) − Σ_l log q(z_l).
        dimension_kl: Σ_l log q(z_l) − log p(z_l).
    """

    mutual_information: Float[Tensor, " images"]
    total_correlation: Float[Tensor, " images"]
    dimension_kl: Float[Tensor, " images"]

    def __repr__(self) -> str:
        means = ", ".join(f"{field.name}={float(getattr(self, field.name).mean()):.4g}" for field in fields(self))
        return f"SplitKL({len(self.dimension_kl)} images; {means})"


def bernoulli_reconstruction(
    logits: Float[Tensor, "images *pixels"], pixels: Float[Tensor, "images *pixels"]
) -> Float[Tensor, " images"]:
    """Return −log p(x | z) of each image: cross-entropies summed over pixels (and channels).

    Args:
        logits: of the decoder.
        pixels: in [0, 1]; grey ones count as probabilities, as in the authors' code.
    """
    return functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none").flatten(1).sum(1)


def gaussian_kl(
    mean: Float[Tensor, "images real"], standard_deviation: Float[Tensor, "images real"]
) -> Float[Tensor, "images real"]:
    """Return KL(N(mean, sd²) ‖ N(0, 1)) of each latent; finite at sd = 0, where it counts as 1e-8."""
    deviation = standard_deviation.clamp_min(SMALLEST_STANDARD_DEVIATION)
    return (mean.square() + deviation.square() - 1) / 2 - deviation.log()


def categorical_kl(log_prob: Float[Tensor, "images categories"]) -> Float[Tensor, " images"]:
    """Return the divergence from the uniform distribution, log K − H; probabilities of 0 count as such."""
    least = torch.finfo(log_prob.dtype).min
    return math.log(log_prob.shape[1]) + (log_prob.exp() * log_prob.clamp_min(least)).sum(1)


def posterior_kl(posterior: Posterior) -> tuple[Float[Tensor, " images"], Float[Tensor, " images"] | None]:
    """Return the divergences from the prior of the real latents together, and of the categorical ones if there are."""
    real = gaussian_kl(posterior.mean, posterior.standard_deviation).sum(1)
    if not posterior.categorical_log_prob:
        return real, None
    return real, torch.stack([categorical_kl(log_prob) for log_prob in posterior.categorical_log_prob]).sum(0)


def pairwise_log_density(
    codes: Float[Tensor, "points real"],
    mean: Float[Tensor, "images real"],
    standard_deviation: Float[Tensor, "images real"],
) -> Float[Tensor, "real points images"]:
    """Return log q(z_l | x) of every code under the posterior of every image, latent by latent."""
    deviation = standard_deviation.clamp_min(SMALLEST_STANDARD_DEVIATION).T[:, None]
    standardised = (codes.T[:, :, None] - mean.T[:, None]) / deviation
    return standardised.square().mul(-0.5) - (deviation.log() + _LOG_TWO_PI / 2)


def mixture_log_weights(
    batch_size: int,
    n_data: int,
    scheme: Scheme = "stratified",
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "points images"]:
    """Return log weights with which a batch stands for the mixture q(z) = (1/N) Σ_n q(z | x_n) over all data.

    "stratified": 1/N for the image that the code was drawn from, and (N − 1)/((B − 1) N) for each other one, which
    makes the sum of weighted densities unbiased; with B = N it is the mixture itself. Source: the authors' code
    (github.com/beam2d/disen), a simpler form of minibatch stratified sampling in Chen et al. (2018). A batch of one
    image has only the first term. "weighted": 1/(B N) for all, minibatch weighted sampling of Chen et al., which is
    biased.

    Args:
        batch_size: B.
        n_data: N, at least B.
        scheme: one of the two.
        dtype: of the result; default: torch's.
        device: of the result; default: the CPU.

    Raises:
        ValueError: sizes that do not fit, or an unknown scheme.
    """
    operation = "mixture_log_weights"
    require(scheme in ("stratified", "weighted"), operation, "scheme", "'stratified' or 'weighted'", repr(scheme))
    require(batch_size >= 1, operation, "batch_size", ">= 1", batch_size)
    require(n_data >= batch_size, operation, "n_data", f">= batch_size = {batch_size}", n_data)
    shape = (batch_size, batch_size)
    if scheme == "weighted":
        return torch.full(shape, -math.log(batch_size * n_data), dtype=dtype, device=device)
    others = math.log((n_data - 1) / ((batch_size - 1) * n_data)) if batch_size > 1 else 0.0
    weights = torch.full(shape, others, dtype=dtype, device=device)
    weights.fill_diagonal_(-math.log(n_data))
    return weights


def split_kl(
    codes: Float[Tensor, "images real"], posterior: Posterior, n_data: int, scheme: Scheme = "stratified"
) -> SplitKL:
    """Estimate mutual information, total correlation and dimension-wise divergence from a batch.

    Args:
        codes: one drawn from each image's posterior; real latents only.
        posterior: of the batch.
        n_data: number of images in the data set.
        scheme: see :func:`mixture_log_weights`.

    Returns:
        The three parts for each code.
    """
    each = pairwise_log_density(codes, posterior.mean, posterior.standard_deviation)
    weights = mixture_log_weights(len(codes), n_data, scheme, dtype=each.dtype, device=each.device)
    together = each.sum(0)
    own = together.diagonal()
    joint = (together + weights).logsumexp(1)
    single = (each + weights).logsumexp(2).sum(0)
    prior = (codes.square() + _LOG_TWO_PI).sum(1) / -2
    return SplitKL(own - joint, joint - single, single - prior)


def permute_columns(
    codes: Float[Tensor, "images latents"], *, generator: torch.Generator
) -> Float[Tensor, "images latents"]:
    """Shuffle each column by itself, which turns codes of q(z) into codes of Π q(z_l) (Kim & Mnih 2018)."""
    keys = queued_to(draw_uniform(codes.shape, generator=generator, dtype=torch.float64), codes.device)
    return codes.gather(0, keys.argsort(0))


def discriminator_loss(
    aggregate_logits: Float[Tensor, " images"], permuted_logits: Float[Tensor, " others"]
) -> Float[Tensor, ""]:
    """Return the mean logistic loss of a discriminator that should be positive on the first and negative on the other.

    Args:
        aggregate_logits: of codes of q(z).
        permuted_logits: of codes of Π q(z_l).
    """
    return torch.cat([functional.softplus(-aggregate_logits), functional.softplus(permuted_logits)]).mean()


def covariance(values: Float[Tensor, "images latents"]) -> Float[Tensor, "latents latents"]:
    """Return the covariance over the batch, divided by the number of images."""
    centred = values - values.mean(0)
    return centred.T @ centred / len(values)


def moment_penalty(
    moments: Float[Tensor, "latents latents"], off_diagonal: float, diagonal: float
) -> Float[Tensor, ""]:
    """Return λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii − 1)² of a covariance matrix C (Kumar et al. 2018)."""
    variances = moments.diagonal()
    between = (moments - torch.diag(variances)).square().sum()
    return off_diagonal * between + diagonal * (variances - 1).square().sum()


def capacity(step: int, maximum: float, n_steps: int) -> float:
    """Return a capacity that rises linearly from 0 at step 0 to ``maximum`` at ``n_steps``, and stays there."""
    return maximum * min(step / n_steps, 1.0) if n_steps > 0 else maximum

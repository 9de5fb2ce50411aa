"""Informations that are known exactly: of Gaussian targets, and of discrete factors behind Gaussian noise.

The closed forms are yard-sticks for estimates. The quadrature gives the exact scores of a factorised code, one latent
for each factor, under the attacks, fast enough for a slider.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.disentanglement.exact import PID, PIDInterval, interval_of

NumberLike = Tensor | float | Sequence[float]

_REACH = 8.5
_SPACING = 0.125
"""The trapezium rule over the noise, in its standard deviations: beyond the reach lies 2e-17 of its mass.

The integrand is analytic in a strip about the real line, which makes the error exponentially small in 1/spacing. Two
levels that are Δ standard deviations apart narrow the strip to π/Δ, but where they do the noise has the density
``exp(−Δ²/8)``; the product of both stays below 1e-12.
"""

_CHUNK = 2**21
"""Most numbers in one array."""


def channel_information(
    signal_standard_deviation: NumberLike, noise_standard_deviation: NumberLike
) -> Float64[Tensor, "*batch"]:
    """Return I(y; y + noise) of a Gaussian y and Gaussian noise: ``log(1 + s²/n²) / 2``.

    Args:
        signal_standard_deviation: s of y; finite, at least 0.
        noise_standard_deviation: n; at least 0, infinity allowed. Broadcast against s.

    Returns:
        The information in nats; infinity without noise, 0 without a signal.

    Raises:
        ValueError: a negative number or NaN.
    """
    signal = _number(signal_standard_deviation, "channel_information", "signal_standard_deviation")
    noise = _number(noise_standard_deviation, "channel_information", "noise_standard_deviation")
    require(bool(signal.isfinite().all()), "channel_information", "signal_standard_deviation", "finite", "infinity")
    ratio = torch.where(signal > 0, signal / noise, torch.zeros_like(signal))
    # The square of a large ratio overflows long before its logarithm is large.
    return torch.where(ratio < 1e8, torch.log1p(ratio.clamp(max=1e8).square()) / 2, ratio.log())


def attacked_channel(
    signal_standard_deviation: NumberLike, noise_standard_deviation: NumberLike, alpha: NumberLike
) -> PIDInterval:
    """Return the exact parts of a Gaussian y, seen in ``z = y + noise`` and in the attacker's copy ``t = αz + e``.

    The noise of t, ``e ~ N(0, 1)``, is fresh, so t says nothing that z does not: ``I(y; z, t) = I(y; z)``, and each
    interval is a point.

    Args:
        signal_standard_deviation: s of y; finite, at least 0.
        noise_standard_deviation: n of z; positive.
        alpha: strength of the attack, any sign. All three are broadcast.

    Returns:
        z is source 1, t source 2; in nats.

    Raises:
        ValueError: a negative standard deviation, no noise, or NaN.
    """
    noise = _number(noise_standard_deviation, "attacked_channel", "noise_standard_deviation")
    require(bool((noise > 0).all()), "attacked_channel", "noise_standard_deviation", "> 0", "0 among them")
    of_code = channel_information(signal_standard_deviation, noise)
    of_copy = channel_information(signal_standard_deviation, copy_noise(noise, alpha))
    of_code, of_copy = (value.clone() for value in torch.broadcast_tensors(of_code, of_copy))
    return interval_of(of_code, torch.minimum(of_code, of_copy), of_code)


def copy_noise(standard_deviation: NumberLike, alpha: NumberLike) -> Float64[Tensor, "*batch"]:
    """Return the noise of the attacker's copy ``t = αz + e`` of a latent, in units of the latent: ``√(σ² + 1/α²)``.

    Args:
        standard_deviation: σ of the latent given the image.
        alpha: strength of the attack, any sign; 0 gives infinity. Broadcast against σ.

    Returns:
        The standard deviation of ``t / α`` given the image.

    Raises:
        ValueError: a negative standard deviation, or NaN.
    """
    deviation = _number(standard_deviation, "copy_noise", "standard_deviation")
    strength = _number(alpha, "copy_noise", "alpha", signed=True)
    return torch.hypot(deviation, strength.abs().reciprocal())


def gaussian_interval(covariance: Tensor, *, n_source_1: int = 1) -> PIDInterval:
    """Return the three informations of jointly Gaussian sources and a scalar target, and what they leave open.

    Args:
        covariance: ``[*batch, d, d]``, the coordinates of source 1, then those of source 2, last the target.
            Float64 resolves a target that the sources predict to 1e-12 of its variance.
        n_source_1: coordinates of source 1; source 2 has the ``d − 1 − n_source_1`` others, at least one.

    Returns:
        Informations and intervals in nats. The upper end of the redundancy is the exact decomposition by every measure
        whose redundancy depends on the two pairs alone (Barrett 2015): :func:`gaussian_mmi`.

    Raises:
        ValueError: no covariance matrix (shape, NaN, not symmetric, a negative eigenvalue), no coordinate left for a
            source, or a target that the sources determine: its information is infinite.
    """
    where = "gaussian_interval"
    shape = tuple(covariance.shape)
    square = covariance.ndim >= 2 and shape[-1] == shape[-2]
    require(square, where, "covariance", "[*batch, d, d]", f"shape {shape}")
    require(bool(covariance.isfinite().all()), where, "covariance", "finite numbers", "NaN or infinity among them")
    require(1 <= n_source_1 <= shape[-1] - 2, where, "n_source_1", f"1 to d - 2 = {shape[-1] - 2}", n_source_1)
    matrix = covariance.to(torch.float64)
    variance = matrix.diagonal(dim1=-2, dim2=-1)
    require(bool((variance >= 0).all()), where, "covariance", "variances >= 0", "a negative one")
    # Informations do not depend on units: a constant coordinate keeps its zeros.
    deviation = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
    matrix = matrix / deviation.unsqueeze(-1) / deviation.unsqueeze(-2)
    symmetric = bool(((matrix - matrix.mT).abs() <= 1e-6).all())
    require(symmetric, where, "covariance", "a symmetric matrix", "an asymmetric one")
    matrix = (matrix + matrix.mT) / 2
    smallest = float(torch.linalg.eigvalsh(matrix).min()) if matrix.numel() else 0.0
    require(smallest >= -1e-7, where, "covariance", "no negative eigenvalue", f"{smallest:.3g} (of correlations)")
    cut, last = n_source_1, shape[-1] - 1
    informations = [_predicted(matrix, columns) for columns in (slice(0, cut), slice(cut, last), slice(0, last))]
    return interval_of(informations[0], informations[1], torch.stack(informations).amax(0))


def gaussian_mmi(covariance: Tensor, *, n_source_1: int = 1) -> PID:
    """Return the exact decomposition for jointly Gaussian sources and a scalar target.

    For these, every measure whose redundancy and unique parts depend only on the pairs of each source and the target
    gives the minimum of the two informations as redundancy (Barrett, Physical Review E 2015).

    Args:
        covariance: ``[*batch, d, d]``, the target last; see :func:`gaussian_interval`.
        n_source_1: coordinates of source 1.

    Returns:
        The parts in nats.

    Raises:
        ValueError: as :func:`gaussian_interval`.
    """
    span = gaussian_interval(covariance, n_source_1=n_source_1)
    return PID(
        span.redundant.upper,
        span.unique_1.lower,
        span.unique_2.lower,
        span.complementary.upper,
        span.information_1,
        span.information_2,
        span.information_joint,
        torch.zeros_like(span.width),
        "mmi",
        "nats",
    )


def _predicted(correlation: Tensor, columns: slice) -> Tensor:
    """Return the information of the target, the last coordinate, in some of the others."""
    sources = correlation[..., columns, columns]
    shared = correlation[..., columns, -1:]
    values, vectors = torch.linalg.eigh(sources)
    # Directions in which the sources do not vary say nothing.
    varies = values > 1e-12 * sources.shape[-1]
    along = (vectors.mT @ shared).squeeze(-1)
    explained = torch.where(varies, along.square() / torch.where(varies, values, 1.0), 0.0).sum(-1)
    determined = bool((explained > 1 - 1e-12).any())
    expected = "a target that the sources do not determine"
    require(not determined, "gaussian_interval", "covariance", expected, "one that they do: infinite information")
    return -torch.log1p(-explained) / 2


def mixture_information(
    levels: NumberLike, standard_deviation: NumberLike, *, probabilities: NumberLike | None = None
) -> Float64[Tensor, "*batch"]:
    """Return I(v; m_v + noise): what a discrete factor's level, seen through Gaussian noise, says of the factor.

    Exact to 1e-10 by the trapezium rule over the noise of each level, however close or far the levels.

    Args:
        levels: m_v, the mean of the latent for each value of the factor, ``[values]``; finite. Values of equal levels
            cannot be told apart.
        standard_deviation: of the noise, any shape: all are done at once. At least 0, infinity allowed.
        probabilities: of the values; uniform unless given.

    Returns:
        The informations in nats, between 0 and the entropy of the factor, in the shape of ``standard_deviation``.

    Raises:
        ValueError: no level, one that is not finite, a negative standard deviation, NaN, or no probabilities.
    """
    where = "mixture_information"
    means = torch.as_tensor(levels, dtype=torch.float64)
    require(
        means.ndim == 1 and len(means) > 0, where, "levels", "[values], at least one", f"shape {tuple(means.shape)}"
    )
    require(bool(means.isfinite().all()), where, "levels", "finite numbers", "NaN or infinity among them")
    deviations = _number(standard_deviation, where, "standard_deviation").to(means.device)
    if probabilities is None:
        weights = torch.full_like(means, 1 / len(means))
    else:
        weights = _number(probabilities, where, "probabilities").to(means.device)
        right = weights.shape == means.shape and abs(float(weights.sum()) - 1) <= 1e-6
        require(right, where, "probabilities", f"{len(means)} numbers that sum to 1", weights.tolist())
        weights = weights / weights.sum()
    kept = weights > 0
    means, weights = means[kept], weights[kept]
    flat = deviations.reshape(-1)
    half = round(_REACH / _SPACING)
    noise = torch.arange(-half, half + 1, dtype=torch.float64, device=means.device) * _SPACING
    rows = max(1, _CHUNK // (len(means) ** 2 * len(noise)))
    parts = [_informations(means, weights, chunk, noise) for chunk in flat.split(rows)]
    return torch.cat(parts).reshape(deviations.shape) if parts else torch.zeros_like(deviations)


def _informations(means: Tensor, weights: Tensor, deviations: Tensor, noise: Tensor) -> Tensor:
    # Halved first, so that levels at the two ends of float64 still have a distance.
    distance = (means[:, None] / 2 - means / 2) / deviations[:, None, None]
    distance = torch.where(means[:, None] == means, 0.0, 2 * distance)
    # log p(z | w) − log p(z | v) at z = m_v + σ·noise; in this form −∞ comes out where the distance overflows.
    apart = distance[..., None, :]
    log_ratio = -apart * (apart / 2 + noise[:, None])
    surprise = torch.logsumexp(log_ratio + weights.log(), -1)
    density = torch.exp(-noise.square() / 2)
    expected = surprise @ (density / density.sum())
    entropy = torch.special.entr(weights).sum()
    return (0.0 - expected @ weights).clamp(min=0.0, max=float(entropy))


@dataclass(frozen=True, eq=False)
class FactorisedScores:
    """Exact informations and parts of a factorised code under an attack, for each factor at its own latent.

    There the intervals of non-negativity are points, and of all latents of the attacked code this one has the largest
    unique, redundant and complementary part. Nats, but for the scores, which are shares of the factor's entropy.

    Attributes:
        attack: which one.
        alpha: its strengths.
        entropy: H(y_k).
        single: I(y_k; z_l) of the attacked latent.
        without: I(y_k; all others).
        joint: I(y_k; all).
        unique: what only the latent says.
        redundant: what the others say, too.
        complementary: what the latent and the others say only together.
        unibound: mean over the factors of ``unique / entropy``; factors of one value left out.
        redundancy: the same of the redundant part.
        complementarity: the same of the complementary part.
    """

    attack: str
    alpha: Float64[Tensor, "*alphas"]
    entropy: Float64[Tensor, " factors"]
    single: Float64[Tensor, "*alphas factors"]
    without: Float64[Tensor, "*alphas factors"]
    joint: Float64[Tensor, "*alphas factors"]
    unique: Float64[Tensor, "*alphas factors"]
    redundant: Float64[Tensor, "*alphas factors"]
    complementary: Float64[Tensor, "*alphas factors"]
    unibound: Float64[Tensor, "*alphas"]
    redundancy: Float64[Tensor, "*alphas"]
    complementarity: Float64[Tensor, "*alphas"]

    def __repr__(self) -> str:
        return f"FactorisedScores({self.attack}, {self.alpha.numel()} strengths, {len(self.entropy)} factors)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as numbers, nested lists and text."""
        return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(self).items()}


def factorised_scores(
    factor_levels: Sequence[NumberLike],
    standard_deviations: NumberLike,
    alpha: NumberLike,
    attack: str = "redundancy",
) -> FactorisedScores:
    """Return exact scores of independent uniform factors, each in one Gaussian latent, under an attack.

    The attacks, with U any orthogonal matrix and e fresh standard noise: ``"redundancy"`` gives ``(z, αUz + e)``,
    ``"synergy"`` ``(z + αUe, e)``, ``"masked_copy"`` ``(z, z + αe, e)``. Latents that know no factor change nothing.

    Args:
        factor_levels: for each factor the mean of its latent for each value.
        standard_deviations: of each latent given the image, or one for all; at least 0.
        alpha: strengths of the attack, any shape and sign; finite.
        attack: which one.

    Returns:
        The scores for every strength. For the same code, the unique part under redundancy at α is the complementary
        one under synergy at 1/α, and the redundant part the unique one.

    Raises:
        ValueError: no factor, no such attack, factors of one value only, or what :func:`mixture_information` refuses.
    """
    where = "factorised_scores"
    require(len(factor_levels) > 0, where, "factor_levels", "at least one factor", "none")
    known = ("redundancy", "synergy", "masked_copy")
    require(attack in known, where, "attack", f"one of {', '.join(known)}", repr(attack))
    strength = _number(alpha, where, "alpha", signed=True)
    require(bool(strength.isfinite().all()), where, "alpha", "finite numbers", "infinity")
    deviations = _number(standard_deviations, where, "standard_deviations")
    if deviations.ndim > 1 or (deviations.ndim == 1 and len(deviations) != len(factor_levels)):
        reject(where, "standard_deviations", f"{len(factor_levels)} or one", f"shape {tuple(deviations.shape)}")
    deviations = deviations.expand(len(factor_levels))
    levels = [torch.as_tensor(of_factor, dtype=torch.float64) for of_factor in factor_levels]
    clean, attacked = [], []
    for of_factor, deviation in zip(levels, deviations, strict=True):
        noise = torch.hypot(deviation, strength) if attack == "synergy" else copy_noise(deviation, strength)
        known_clean, known_attacked = mixture_information(of_factor, deviation), mixture_information(of_factor, noise)
        clean.append(known_clean.expand(strength.shape))
        attacked.append(torch.minimum(known_attacked, known_clean))
    joint, limited = torch.stack(clean, -1), torch.stack(attacked, -1)
    nothing = torch.zeros_like(joint)
    if attack == "redundancy":
        single, without = joint, limited
    elif attack == "synergy":
        single, without = limited, nothing
    else:
        # The masked copy and its mask give z back.
        single, without = joint, joint
    span = interval_of(single, without, joint)
    entropy = torch.tensor([math.log(len(of_factor)) for of_factor in levels], dtype=torch.float64)
    varies = entropy > 0
    require(bool(varies.any()), where, "factor_levels", "a factor of at least two values", "none")
    parts = (span.unique_1.lower, span.redundant.lower, span.complementary.lower)
    scores = [(part[..., varies] / entropy[varies]).mean(-1) for part in parts]
    return FactorisedScores(attack, strength, entropy, single, without, joint, *parts, *scores)


def factorised_unibound(
    factor_levels: Sequence[NumberLike], standard_deviations: NumberLike, alpha: NumberLike
) -> Float64[Tensor, "*alphas"]:
    """Return the exact UniBound of a factorised code under the redundancy attack; see :func:`factorised_scores`.

    Args:
        factor_levels: for each factor the mean of its latent for each value.
        standard_deviations: of each latent given the image, or one for all.
        alpha: strengths of the attack, any shape.

    Returns:
        UniBound, from 0 to 1, for every strength.

    Raises:
        ValueError: as :func:`factorised_scores`.
    """
    return factorised_scores(factor_levels, standard_deviations, alpha).unibound


def _number(values: Any, operation: str, argument: str, *, signed: bool = False) -> Tensor:
    """Return float64 numbers without NaN, and unless ``signed`` without negative ones."""
    tensor = torch.as_tensor(values, dtype=torch.float64)
    require(not bool(tensor.isnan().any()), operation, argument, "numbers", "NaN among them")
    require(signed or bool((tensor >= 0).all()), operation, argument, "numbers >= 0", "a negative one")
    return tensor

"""Informations that are known exactly: of Gaussian targets, and of discrete factors behind Gaussian noise.

Yard-sticks for estimates: closed forms where everything is Gaussian, and quadrature for a factor of a few levels, fast
enough for a slider.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require
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
    signal = read_numbers(signal_standard_deviation, "channel_information", "signal_standard_deviation")
    noise = read_numbers(noise_standard_deviation, "channel_information", "noise_standard_deviation")
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
    noise = read_numbers(noise_standard_deviation, "attacked_channel", "noise_standard_deviation")
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
    deviation = read_numbers(standard_deviation, "copy_noise", "standard_deviation")
    strength = read_numbers(alpha, "copy_noise", "alpha", signed=True)
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
    deviations = read_numbers(standard_deviation, where, "standard_deviation").to(means.device)
    if probabilities is None:
        weights = torch.full_like(means, 1 / len(means))
    else:
        weights = read_numbers(probabilities, where, "probabilities").to(means.device)
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


def read_numbers(
    values: NumberLike, operation: str, argument: str, *, signed: bool = False
) -> Float64[Tensor, "*shape"]:
    """Return float64 numbers without NaN, and unless ``signed`` without negative ones.

    Args:
        values: a number, a list or a tensor.
        operation: the name that an error gives.
        argument: what the values are, for the error.
        signed: whether negative numbers are welcome.

    Returns:
        The numbers, where the input was.

    Raises:
        ValueError: NaN, or a negative number.
    """
    tensor = torch.as_tensor(values, dtype=torch.float64)
    require(not bool(tensor.isnan().any()), operation, argument, "numbers", "NaN among them")
    require(signed or bool((tensor >= 0).all()), operation, argument, "numbers >= 0", "a negative one")
    return tensor

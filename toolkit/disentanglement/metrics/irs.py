"""IRS: how far does a latent move when the factors change that it is not about?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.results import MetricResult, checked_points


@dataclass(frozen=True, repr=False, eq=False)
class InterventionalRobustness(MetricResult):
    """The interventional robustness score.

    Attributes:
        per_latent: robustness of each latent under the factor it is best explained by, ``[latents]``; 0 if constant.
        weights: each latent's largest deviation from its mean, by which the score weighs it, ``[latents]``.
        robustness: of each latent when one factor is held, ``[latents, factors]``.
        best_factor: index of the factor that explains each latent best.
    """

    per_latent: Float64[Tensor, " latents"]
    weights: Float64[Tensor, " latents"]
    robustness: Float64[Tensor, "latents factors"]
    best_factor: tuple[int, ...]

    source: ClassVar[str] = (
        "Suter, Miladinovic, Schölkopf and Bauer 2019, Robustly disentangled causal mechanisms (arXiv 1811.00007); "
        "google-research/disentanglement_lib, evaluation/metrics/irs.py"
    )


def irs(codes: PointCodes, *, quantile: float = 0.99) -> InterventionalRobustness:
    """Return the interventional robustness score of single latents.

    Hold a factor at a value: the deviation is the ``quantile`` over these points of |latent − its mean over them|.
    Averaged over the factor's values and divided by the largest |latent − its mean| of all points, it is how far
    the other factors can move the latent; 1 minus that is the robustness. A latent counts with its best factor's
    robustness, weighted by its largest deviation. Of a categorical latent the distance is the Euclidean one of its
    one-hot columns.

    The score assumes that every combination of the factors is equally likely, and a code without noise. It looks at
    factors as they are, whereas disentanglement_lib first merges the values of a factor with more than 20 into 20 bins.

    Args:
        codes: the points.
        quantile: of the deviations, interpolated linearly: 0.99 in disentanglement_lib, 1 (the largest) in the paper.

    Returns:
        The score: at most 1; 0 if all latents are constant.

    Raises:
        ValueError: a factor of one value only, or no such quantile.
        TypeError: no point codes.
    """
    operation = "irs"
    checked_points(operation, codes)
    require(0 <= quantile <= 1, operation, "quantile", "0 to 1", quantile)
    points = codes.points.double()
    everywhere = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    weights = _mean_quantile(points, everywhere, codes.groups, 1.0)
    # The mean of equal numbers may be off by a rounding.
    constant = [bool((part == part[0]).all()) for part in points.split(list(codes.groups), dim=1)]
    weights = weights.masked_fill(torch.tensor(constant, device=points.device), 0)
    moved = torch.stack([_mean_quantile(points, column, codes.groups, quantile) for column in codes.factors.T], 1)
    still = weights[:, None] == 0
    robustness = (1 - moved / weights[:, None].masked_fill(still, 1)).masked_fill(still, 0)
    per_latent = robustness.amax(1)
    # In units of the largest, for a sum of weights may be larger than the largest number.
    largest = weights.max()
    share = weights / largest if bool(largest > 0) else weights
    return InterventionalRobustness(
        float((per_latent * share).sum() / share.sum()) if bool(largest > 0) else 0.0,
        {"quantile": quantile},
        codes.factor_names,
        codes.latent_names,
        per_latent,
        weights,
        robustness,
        tuple(robustness.argmax(1).tolist()),
    )


def _mean_quantile(
    points: Float64[Tensor, "points columns"], values: Int64[Tensor, " points"], groups: tuple[int, ...], level: float
) -> Float64[Tensor, " latents"]:
    """Return the quantile of the distances to the mean among the points of each value, averaged over the values."""
    number = values.unique(return_inverse=True)[1]
    count = number.bincount()
    mean = torch.zeros(len(count), points.shape[1], dtype=points.dtype, device=points.device)
    mean.index_add_(0, number, points / count[number, None])
    distance = _distance(points - mean[number], groups)
    # Sorted by value, and among the points of a value by distance.
    order = distance.argsort(dim=0)
    order = order.gather(0, number[order].argsort(dim=0, stable=True))
    ordered = distance.gather(0, order)
    position = level * (count - 1).double()
    below = position.long()
    start = count.cumsum(0) - count
    low, high = ordered[start + below], ordered[start + torch.minimum(below + 1, count - 1)]
    return torch.lerp(low, high, (position - below)[:, None]).mean(0)


def _distance(
    difference: Float64[Tensor, "points columns"], groups: tuple[int, ...]
) -> Float64[Tensor, "points latents"]:
    if set(groups) == {1}:
        return difference.abs()
    return torch.stack([torch.linalg.vector_norm(part, dim=1) for part in difference.split(list(groups), dim=1)], 1)

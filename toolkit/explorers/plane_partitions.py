"""Partitions of the plane into two clusters, and what they cost: the true classes, and stripes, however absurd."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.explorers.plane_points import PlanePoints
from toolkit.imsat.losses import mutual_information

TRUE_CLASSES = "the true classes"
PARTITIONS = ("stripes", "rings", TRUE_CLASSES)
CERTAIN = 8.0
"""Largest logit: far from a border the prediction is 99.97 % certain."""
_DIRECTIONS, _LENGTHS = 32, 4

Logits = Callable[[Tensor], Tensor]
"""From places in the plane, ``[…, 2]``, to the logit of cluster 1."""


@dataclass(frozen=True)
class Costs:
    """What the objective sees of a partition, and what it does not.

    Attributes:
        information: I(X;Y) in nats, at most log 2.
        accuracy: share of points whose cluster is their class, under the better of both matches.
        random: mean KL divergence after a step of length ε in a random direction, in nats.
        worst: mean over the points of the largest KL divergence after a step of length ε or less, in nats; the largest
            of those that :func:`steps` tries, so a little below the truth.
        changed: share of points that one of those steps moves into the other cluster.
    """

    information: float
    accuracy: float
    random: float
    worst: float
    changed: float


def _soft(distance: Tensor, width: float) -> Tensor:
    return CERTAIN * torch.tanh(distance / width)


def true_classes(points: PlanePoints, width: float) -> Logits:
    """Return the partition that follows the shape of the classes.

    Args:
        points: moons: half the difference of the distances to the two half circles; blobs: the distance from the
            line halfway between them.
        width: of the border.
    """
    if points.name == "blobs":
        normal = points.scale / points.scale.norm()
        offset = (points.centre @ torch.ones(2, dtype=torch.float64)) / points.scale.norm()
        return lambda places: _soft(places @ normal + offset, width)

    def from_moons(places: Tensor) -> Tensor:
        raw = places * points.scale + points.centre
        flipped = torch.stack((1 - raw[..., 0], 0.5 - raw[..., 1]), -1)  # one moon is the other, turned
        difference = _to_half_circle(raw) - _to_half_circle(flipped)
        return _soft(difference / (2 * points.scale.prod().sqrt()), width)

    return from_moons


def _to_half_circle(places: Tensor) -> Tensor:
    """Return the distance to the upper half of the unit circle."""
    to_end = torch.hypot(places[..., 0].abs() - 1, places[..., 1])
    return torch.where(places[..., 1] >= 0, (places.norm(dim=-1) - 1).abs(), to_end)


def stripes(points: PlanePoints, count: int, width: float, coordinate: Callable[[Tensor], Tensor]) -> Logits:
    """Return a partition into stripes that belong to the clusters in turn, each cluster with half of the points.

    Args:
        points: whose quantiles are the borders: within a cluster all stripes hold equally many.
        count: of stripes, 2 or more.
        width: of the borders.
        coordinate: across the stripes; its gradient has length 1.
    """
    require(count >= 2, "stripes", "count", "2 or more", count)
    sizes = torch.zeros(count, dtype=torch.long)
    for cluster, half in enumerate((len(points) - len(points) // 2, len(points) // 2)):
        parts = len(sizes[cluster::2])
        sizes[cluster::2] = (half * torch.arange(parts + 1) / parts).round().long().diff()
    ends = sizes.cumsum(0)[:-1]
    ordered = coordinate(points.inputs).sort().values
    borders = (ordered[ends - 1] + ordered[ends]) / 2

    def logits(places: Tensor) -> Tensor:
        across = coordinate(places).contiguous()
        stripe = torch.searchsorted(borders, across)
        below = across - borders[(stripe - 1).clamp(min=0)]
        above = borders[stripe.clamp(max=count - 2)] - across
        last = count - 1
        distance = torch.where(stripe == 0, above, torch.where(stripe == last, below, torch.minimum(below, above)))
        return _soft(torch.where(stripe % 2 == 1, distance, -distance), width)

    return logits


def partition(points: PlanePoints, kind: str, count: int, direction: float, width: float) -> Logits:
    """Return a partition of the plane.

    Args:
        points: the points.
        kind: one of :data:`PARTITIONS`.
        count: of stripes or rings.
        direction: across the stripes, in degrees from the first axis.
        width: of a border, in standard deviations: there the logit has 76 % of its largest value.

    Raises:
        ValueError: an unknown kind, fewer than two stripes or a border without width.
    """
    require(kind in PARTITIONS, "partition", "kind", f"one of {PARTITIONS}", repr(kind))
    require(width > 0, "partition", "width", "> 0", width)
    if kind == TRUE_CLASSES:
        return true_classes(points, width)
    if kind == "rings":
        return stripes(points, count, width, lambda places: places.norm(dim=-1))
    angle = math.radians(direction)
    across = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    return stripes(points, count, width, lambda places: places @ across)


def steps(epsilon: float, direction: float = 0.0) -> Float[Tensor, "lengths directions 2"]:
    """Return steps of four lengths up to ``epsilon`` in 32 directions, the first of them ``direction`` degrees."""
    turns = torch.arange(_DIRECTIONS, dtype=torch.float64) / _DIRECTIONS
    angles = 2 * math.pi * turns + math.radians(direction)
    lengths = epsilon * torch.arange(1, _LENGTHS + 1, dtype=torch.float64) / _LENGTHS
    return lengths[:, None, None] * torch.stack((angles.cos(), angles.sin()), 1)


def cost_of(logits: Logits, points: PlanePoints, epsilon: float, direction: float = 0.0) -> Costs:
    """Measure a partition.

    Args:
        logits: the partition.
        points: the points.
        epsilon: ε, how far a step reaches.
        direction: of one of the steps that are tried, in degrees; stripes are reached soonest straight across.

    Returns:
        Its costs; those of steps by :func:`steps` from every point.
    """
    clean = logits(points.inputs)
    both = torch.stack((torch.zeros_like(clean), clean), 1)
    there = logits(points.inputs + steps(epsilon, direction)[:, :, None])
    # KL(p ‖ p′) = Σ p log p − Σ p log p′, with the second term written for logits.
    certain = torch.sigmoid(clean) * clean - torch.nn.functional.softplus(clean)
    divergences = (certain - torch.sigmoid(clean) * there + torch.nn.functional.softplus(there)).clamp(min=0)
    right = float(((clean > 0) == (points.labels == 1)).double().mean())
    return Costs(
        information=float(mutual_information(both)),
        accuracy=max(right, 1 - right),
        random=float(divergences[-1].mean()),
        worst=float(divergences.amax((0, 1)).mean()),
        changed=float(((there > 0) != (clean > 0)).any(0).any(0).double().mean()),
    )

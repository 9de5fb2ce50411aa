"""Mutual information cannot tell a good partition from an absurd one; predictions that must survive a step can.

Stripes through the plane, as many and as sharp as one likes, are certain of every point and balanced, so their
information is at its ceiling. What a step of length ε costs depends on how many points live close to a border.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.plane_points import PlaneFrame, PlanePoints, draw_points, draw_regions, plane_grid, plane_points
from toolkit.explorers.small_panels import draw_panel
from toolkit.imsat.losses import mutual_information
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

DATA, PARTITIONS = ("moons", "blobs"), ("stripes", "rings", "the true classes")
COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 40)
"""Numbers of stripes along the curves."""
CEILING = math.log(2)
CERTAIN = 8.0
"""Largest logit: far from a border the prediction is 99.97 % certain."""
_POINTS, _CELLS = 300, 120
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
        worst: mean over the points of the largest KL divergence after a step of length ε or less, in nats.
        changed: share of points that some such step moves into the other cluster.
    """

    information: float
    accuracy: float
    random: float
    worst: float
    changed: float


@functools.cache
def _points(data: str) -> PlanePoints:
    require(data in DATA, "compute", "data", f"one of {DATA}", repr(data))
    return plane_points(data, _POINTS)


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
    if kind == "the true classes":
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


@dataclass(frozen=True, repr=False, eq=False)
class Absurd:
    """A partition of the plane, measured, beside the true classes and other numbers of stripes.

    Attributes:
        data: name of the points.
        kind: of the partition.
        count: how many stripes or rings.
        epsilon: ε.
        points: the points.
        regions: probability of cluster 0 and 1 on a grid.
        now: of this partition.
        truth: of the true classes.
        curve: of :data:`COUNTS` stripes (or rings).
    """

    data: str
    kind: str
    count: int
    epsilon: float
    points: PlanePoints
    regions: Float[np.ndarray, "cells 2"]
    now: Costs
    truth: Costs
    curve: tuple[Costs, ...]

    @property
    def name(self) -> str:
        """What the partition is called."""
        return self.kind if self.kind == "the true classes" else f"{self.count} {self.kind}"

    def __repr__(self) -> str:
        return f"Absurd({self.name} through {self.data}: {self.now})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def _grid() -> Tensor:
    return plane_grid(_CELLS)


def compute(
    data: str = "moons",
    kind: str = "stripes",
    count: int = 12,
    direction: float = 90.0,
    width: float = 0.002,
    epsilon: float = 0.15,
) -> Absurd:
    """Measure a partition; the arguments are those of :func:`partition`, with ``data`` one of :data:`DATA`.

    Raises:
        ValueError: as :func:`partition`, or a negative ``epsilon``.
    """
    require(epsilon >= 0, "compute", "epsilon", ">= 0", epsilon)
    with torch.no_grad():
        points = _points(data)
        chosen = partition(points, kind, count, direction, width)
        second = torch.sigmoid(chosen(_grid())).numpy()
        striped = "rings" if kind == "rings" else "stripes"
        curve = tuple(
            cost_of(partition(points, striped, number, direction, width), points, epsilon, direction)
            for number in COUNTS
        )
        return Absurd(
            data=data,
            kind=kind,
            count=count,
            epsilon=epsilon,
            points=points,
            regions=np.stack((1 - second, second), 1),
            now=cost_of(chosen, points, epsilon, direction),
            truth=cost_of(true_classes(points, width), points, epsilon, direction),
            curve=curve,
        )


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _HEIGHT, _TOP, _SIDE, _LEFT = 660.0, 404.0, 46.0, 268.0, 44.0
_PANELS, _TALL = 344.0, 112.0
_TRUTH = style.Line(style.BLACK, (0, (6.0, 3.0)), "", 2.0)
_SEEN = style.Line(style.PURPLE, "-", "o", 2.2)
_RPT, _VAT = style.Line(style.VERMILION, (0, (5.0, 1.6)), "s"), style.MEANINGS["paper"]


def draw(absurd: Absurd) -> Svg:
    """Draw the plane coloured by the partition, and beside it information, accuracy and R_SAT by number of stripes."""
    picture = Svg(_WIDTH, _HEIGHT)
    picture.text(14, 24, _finding(absurd), size=14, bold=True)
    frame = PlaneFrame(_LEFT, _TOP, _SIDE)
    draw_regions(picture, frame, absurd.regions)
    draw_points(picture, frame, absurd.points.inputs, absurd.points.labels)
    words = ("colour: the cluster, by p(y|x); white: undecided", "○ and ●: the true classes, which nothing here sees")
    for number, line in enumerate(words):
        picture.text(14, frame.top + _SIDE + 58 + 19 * number, line, size=12, fill=style.GREY)
    of = "rings" if absurd.kind == "rings" else "stripes"
    panels: list[tuple[str, tuple[float, float], float, list[Series]]] = [
        ("information I(X;Y) (nats)", (0.0, 0.8), CEILING, _lines(absurd, ("information", of, _SEEN, 1))),
        ("accuracy (%)", (40.0, 104.0), 100 * absurd.truth.accuracy, _lines(absurd, ("accuracy", of, _SEEN, 100))),
        (
            f"R_SAT (nats): cost of a step of ε = {absurd.epsilon:g}",
            (-0.3, CERTAIN + 0.3),
            absurd.truth.worst,
            _lines(absurd, ("worst", "worst", _VAT, 1), ("random", "random", _RPT, 1)),
        ),
    ]
    for number, (heading, y_limits, level, lines) in enumerate(panels):
        black = Series("log 2" if level == CEILING else "true classes", (0, 41), (level, level), _TRUTH)
        last = number == len(panels) - 1
        draw_panel(
            picture,
            (_PANELS, _TOP - 8 + number * _TALL, _WIDTH - _PANELS - 8, _TALL),
            [black, *lines],
            heading=heading,
            x_limits=(0, 41),
            y_limits=y_limits,
            x_label=f"number of {of}" if last else "",
            room=92,
        )
    return picture


def _lines(absurd: Absurd, *lines: tuple[str, str, style.Line, float]) -> list[Series]:
    found = []
    for field, label, look, factor in lines:
        found.append(Series(label, COUNTS, [factor * getattr(one, field) for one in absurd.curve], look))
        if absurd.kind != "the true classes":
            found.append(Series("", [absurd.count], [factor * getattr(absurd.now, field)], look, markers=True))
    return found


def _share(costs: Costs) -> str:
    return f"{100 * costs.information / CEILING:.0f} %"


def _finding(absurd: Absurd) -> str:
    now = absurd.now
    name = absurd.name[0].upper() + absurd.name[1:]
    return f"{name}: {_share(now)} of the information, accuracy {100 * now.accuracy:.0f} %, R_SAT {now.worst:.2f} nats"


def describe(absurd: Absurd) -> str:
    """Say what the partition's information, accuracy and R_SAT are, beside those of the true classes."""
    now, truth = absurd.now, absurd.truth
    name = absurd.name[0].upper() + absurd.name[1:]
    where = f"{'of' if absurd.kind == 'the true classes' else 'through'} the {absurd.data}"
    text = (
        f"{name} {where}: I(X;Y) = {now.information:.3f} nats, {_share(now)} of log 2 = "
        f"{CEILING:.3f}; accuracy {100 * now.accuracy:.0f} %. A step of ε = {absurd.epsilon:g} costs {now.random:.2f} "
        f"nats in a random direction and {now.worst:.2f} in the worst, and can move {100 * now.changed:.0f} % of the "
        f"points into the other cluster"
    )
    if absurd.kind == "the true classes":
        return f"{text}."
    return (
        f"{text}. The true classes: {truth.information:.3f} nats, accuracy {100 * truth.accuracy:.0f} %, and "
        f"{truth.random:.2f} and {truth.worst:.2f} for the steps."
    )


def explore_absurd_partitions() -> View:
    """Return a view of partitions of the plane that all have the same information, and of what tells them apart."""
    return View(
        {
            "data": controls.toggle("data", DATA, "moons"),
            "kind": controls.toggle("partition", PARTITIONS, "stripes"),
            "count": controls.int_slider("stripes or rings", 12, 2, 40),
            "direction": controls.float_slider("direction", 90.0, 0.0, 180.0, step=5.0, unit="degrees"),
            "width": controls.log_slider(
                "border width", 0.002, 0.002, 0.2, steps_per_decade=10, unit="sd", format=".3f"
            ),
            "epsilon": controls.float_slider("ε", 0.15, 0.0, 0.5, step=0.01),
        },
        compute,
        draw,
        describe,
    )

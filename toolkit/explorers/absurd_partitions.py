"""Mutual information cannot tell a good partition from an absurd one; predictions that must survive a step can.

Stripes through the plane, as many and as sharp as one likes, are certain of every point and balanced, so their
information is at its ceiling. What a step of length ε costs depends on how many points live close to a border.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.plane_partitions import (
    CERTAIN,
    PARTITIONS,
    TRUE_CLASSES,
    Costs,
    cost_of,
    partition,
    true_classes,
)
from toolkit.explorers.plane_points import PlaneFrame, PlanePoints, draw_points, draw_regions, plane_grid, plane_points
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

DATA = ("moons", "blobs")
COUNTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 40)
"""Numbers of stripes along the curves."""
CEILING = math.log(2)
_POINTS, _CELLS = 300, 120


@functools.cache
def _points(data: str) -> PlanePoints:
    require(data in DATA, "compute", "data", f"one of {DATA}", repr(data))
    return plane_points(data, _POINTS)


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
        return self.kind if self.kind == TRUE_CLASSES else f"{self.count} {self.kind}"

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
        return Absurd(
            data=data,
            kind=kind,
            count=count,
            epsilon=epsilon,
            points=points,
            regions=np.stack((1 - second, second), 1),
            now=cost_of(chosen, points, epsilon, direction),
            truth=cost_of(true_classes(points, width), points, epsilon, direction),
            curve=_curve(data, "rings" if kind == "rings" else "stripes", direction, width, epsilon),
        )


@functools.lru_cache(maxsize=64)
def _curve(data: str, kind: str, direction: float, width: float, epsilon: float) -> tuple[Costs, ...]:
    """Return the costs by number of stripes or rings: most of the work, and the same wherever that slider stands."""
    points = _points(data)
    chosen = (partition(points, kind, count, direction, width) for count in COUNTS)
    return tuple(cost_of(one, points, epsilon, direction) for one in chosen)


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
        if absurd.kind != TRUE_CLASSES:
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
    if absurd.kind == TRUE_CLASSES:
        return f"{text}. The curves are those of stripes, from {COUNTS[0]} to {COUNTS[-1]} of them."
    return (
        f"{text}. The true classes: {truth.information:.3f} nats, accuracy {100 * truth.accuracy:.0f} %, and "
        f"{truth.random:.2f} and {truth.worst:.2f} for the steps."
    )


def explore_absurd_partitions() -> View:
    """Return a view of partitions of the plane that all have the same information, and of what tells them apart."""
    kind = controls.toggle("partition", PARTITIONS, "stripes")
    count = controls.int_slider("stripes or rings", 12, 2, 40)
    direction = controls.float_slider("direction", 90.0, 0.0, 180.0, step=5.0, unit="degrees")
    controls.only_while(count, kind, lambda name: name != TRUE_CLASSES, otherwise=f"{TRUE_CLASSES} have no stripes")
    controls.only_while(direction, kind, lambda name: name != "rings", otherwise="rings have no direction")
    chosen = {
        "data": controls.toggle("data", DATA, "moons"),
        "kind": kind,
        "count": count,
        "direction": direction,
        "width": controls.log_slider("border width", 0.002, 0.002, 0.2, steps_per_decade=10, unit="sd", format=".3f"),
        "epsilon": controls.float_slider("ε", 0.15, 0.0, 0.5, step=0.01),
    }
    return View(chosen, compute, draw, describe)

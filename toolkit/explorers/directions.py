"""Why random perturbations need a larger ε than adversarial ones, and what ξ does to the search for a bad direction.

A linear softmax in d dimensions, at one point. The Fisher information F of its prediction says what a small step costs:
half of rᵀFr. On average over directions that is tr F/(2d)·ε², along F's first eigenvector λ_max/2·ε².
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.linear_softmax import CLASSES, MOST, NETWORKS, SMALL, normal_rows, softmax_of
from toolkit.explorers.small_panels import LEFT, draw_panel
from toolkit.imsat.perturbations import unit
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, power_name, ticks
from toolkit.lessons.svg import Series

MOST_ITERATIONS, SMALL_XI = 8, 1e-4
_RANDOM, _STARTS, _LINES = 1000, 100, 30
_ALONG = (2, 3, 5, 8, 12, 20, 35, 60, 100, 180, 320, 560, 784)


@functools.cache
def _ratios() -> tuple[float, ...]:
    return tuple(softmax_of(d=d).ratio for d in _ALONG)


@dataclass(frozen=True, repr=False, eq=False)
class Directions:
    """What steps of one length cost in different directions, in nats.

    Attributes:
        network: one of :data:`NETWORKS`.
        d: dimensions.
        epsilon: ε, the steps' length.
        xi: ξ of VAT.
        iterations: power iterations of VAT.
        random: of steps in random directions.
        adversarial: of VAT's steps from random starts.
        first: of a step along F's first eigenvector, the dearer of its two ends.
        mean: tr F/(2d)·ε², the quadratic approximation of the mean of ``random``.
        ratio: tr F/(d λ_max).
        cosines: of the angle between VAT's direction and F's first eigenvector, after each iteration.
        small_cosines: the same for ξ = 1e-4.
    """

    network: str
    d: int
    epsilon: float
    xi: float
    iterations: int
    random: Float[np.ndarray, " steps"]
    adversarial: Float[np.ndarray, " starts"]
    first: float
    mean: float
    ratio: float
    cosines: Float[np.ndarray, "iterations starts"]
    small_cosines: Float[np.ndarray, "iterations starts"]

    @property
    def factor(self) -> float:
        """How much longer random steps must be to cost as much on average, in the quadratic approximation."""
        return self.ratio**-0.5

    def __repr__(self) -> str:
        return f"Directions({self.network}, d = {self.d}: tr F/(d λ_max) = {self.ratio:.4g})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compute(
    network: str = "10 classes", d: float = MOST, epsilon: float = 0.5, xi: float = 10.0, iterations: int = 1
) -> Directions:
    """Measure what steps cost in random directions, VAT's and F's first.

    Args:
        network: one of :data:`NETWORKS`.
        d: dimensions, rounded; the small example has two.
        epsilon: ε, length of the steps.
        xi: ξ of VAT.
        iterations: of VAT, 1 to 8.

    Raises:
        ValueError: an argument out of range.
    """
    require(0 < epsilon < math.inf, "compute", "epsilon", "> 0 and finite", epsilon)
    require(0 < xi < math.inf, "compute", "xi", "> 0 and finite", xi)
    require(1 <= iterations <= MOST_ITERATIONS, "compute", "iterations", f"1 to {MOST_ITERATIONS}", iterations)
    with torch.no_grad():
        model = softmax_of(network, round(d))
        directions = unit(normal_rows(_RANDOM, 2)[:, : model.dimension])
        starts = unit(normal_rows(_STARTS, 3)[:, : model.dimension])
        path, small = (model.iterate(starts, each, MOST_ITERATIONS) for each in (xi, SMALL_XI))
        ends = epsilon * torch.stack((model.first, -model.first))
        return Directions(
            network=network,
            d=model.dimension,
            epsilon=epsilon,
            xi=xi,
            iterations=iterations,
            random=model.cost(epsilon * directions).numpy(),
            adversarial=model.cost(epsilon * path[iterations]).numpy(),
            first=float(model.cost(ends).max()),
            mean=model.trace * epsilon**2 / (2 * model.dimension),
            ratio=model.ratio,
            cosines=(path @ model.first).abs().numpy(),
            small_cosines=(small @ model.first).abs().numpy(),
        )


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _HEIGHT, _LOW, _BINS = 660.0, 424.0, 1e-4, 64
_TRUTH = style.MEANINGS["truth"]
_DOTS = style.Line(style.BLACK, "-", "o", 2.0)
_VAT, _RPT = style.MEANINGS["paper"], style.Line(style.VERMILION, (0, (5.0, 1.6)), "s")
_ONE = style.Line("#9CC9E8", "-", "", 0.8)
_LIMIT = style.Line(style.BLACK, (0, (4.0, 2.0)), "", 2.0)


def draw(directions: Directions) -> Svg:
    """Draw how the costs are spread; below, the share tr F/(d λ_max) over d, and where power iterations lead."""
    picture = Svg(_WIDTH, _HEIGHT)
    picture.text(14, 24, _finding(directions), size=14, bold=True)
    _draw_costs(picture, directions)
    here = Series("", [directions.d], [directions.ratio], _DOTS, markers=True)
    draw_panel(
        picture,
        (14, 228, 300, 160),
        [Series("", _ALONG, _ratios(), _TRUTH), here],
        heading="random / worst: tr F / (d λ_max)",
        x_limits=(2, 1000),
        y_limits=(1e-3, 1),
        log_x=True,
        log_y=True,
        x_label="dimension d",
        room=12,
    )
    numbers = range(MOST_ITERATIONS + 1)
    middle, limit = (np.median(cosines, 1) for cosines in (directions.cosines, directions.small_cosines))
    draw_panel(
        picture,
        (338, 228, 316, 160),
        [
            *(Series("", numbers, one, _ONE) for one in directions.cosines.T[:_LINES]),
            Series("ξ → 0", numbers, limit, _LIMIT),
            Series(f"ξ = {directions.xi:.3g}", numbers, middle, _VAT),
            Series("", [directions.iterations], [middle[directions.iterations]], _VAT, markers=True),
        ],
        heading="VAT: |cos| to F's first eigenvector",
        x_limits=(0, MOST_ITERATIONS),
        y_limits=(0, 1.04),
        x_label="power iterations (thick: median of starts)",
        room=84,
    )
    return picture


def _draw_costs(picture: Svg, directions: Directions) -> None:
    """Draw histograms on a logarithmic axis, each to a height of its own."""
    left, right, top, bottom = 14.0 + LEFT, _WIDTH - 24, 84.0, 176.0
    highest = max(directions.first, float(directions.adversarial.max()), float(directions.random.max()))
    low, high = _LOW * highest, 2 * highest
    to_x = Scale(low, high, left, right, True)
    edges = np.geomspace(low, high, _BINS + 1)
    groups = ((directions.random, style.VERMILION, "random steps"), (directions.adversarial, style.BLUE, "VAT's steps"))
    for values, color, _ in groups:
        counts = np.histogram(np.clip(values, low, None), edges)[0]
        for number in np.flatnonzero(counts):
            x, end = to_x(edges[number]), to_x(edges[number + 1])
            height = (bottom - top) * counts[number] / counts.max()
            picture.rectangle(x, bottom - height, end - x - 0.6, height, fill=color, opacity=0.6)
    picture.line(left, bottom, right, bottom, stroke="#8c8c8c", stroke_width=1)
    picture.line(to_x(directions.first), top - 10, to_x(directions.first), bottom, stroke=style.BLACK, stroke_width=2.4)
    x = to_x(max(directions.mean, low))
    picture.line(x, top - 10, x, bottom, stroke=style.BLACK, stroke_width=2, dash=(4, 3))
    for value in ticks(low, high, log=True):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 17, power_name(value), size=12, anchor="middle", fill=style.GREY)
    words = f"KL divergence after a step of ε = {directions.epsilon:.2g} (nats); each histogram has its own height"
    picture.text((left + right) / 2, bottom + 35, words, size=12.5, anchor="middle")
    _draw_key(picture)


def _draw_key(picture: Svg) -> None:
    y = 48.0
    for x, color, name in ((18, style.VERMILION, "random steps"), (152, style.BLUE, "VAT's steps")):
        picture.rectangle(x, y - 10, 14, 11, fill=color, opacity=0.6)
        picture.text(x + 20, y, name, size=12.5, bold=True, fill=color)
    for x, dash, name in ((278, (4, 3), "tr F/(2d)·ε²"), (412, (), "along F's first eigenvector")):
        picture.line(x, y - 4, x + 24, y - 4, stroke=style.BLACK, stroke_width=2.2, dash=dash)
        picture.text(x + 31, y, name, size=12.5, bold=True)


def percent(share: float) -> str:
    """Write a share with two digits: ``0.31 %``, ``2.4 %``, ``71 %``."""
    value = 100 * share
    if value >= 9.95:
        return f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 0.995 else f"{value:.2g} %"


def _finding(directions: Directions) -> str:
    random, vat = directions.random.mean() / directions.first, directions.adversarial.mean() / directions.first
    return f"d = {directions.d}: random steps cost {percent(random)} of F's first direction, VAT's {percent(vat)}"


def describe(directions: Directions) -> str:
    """Say what the three kinds of steps cost, how much longer random ones must be, and where VAT's iterations lead."""
    what = (
        "The small example has three classes and always two dimensions. There"
        if directions.network == SMALL
        else f"A linear softmax of {CLASSES} classes in {directions.d} dimensions:"
    )
    random, vat, first = directions.random.mean(), directions.adversarial.mean(), directions.first
    cosine, limit = (np.median(one[directions.iterations]) for one in (directions.cosines, directions.small_cosines))
    times = "iteration" if directions.iterations == 1 else "iterations"
    return (
        f"{what} steps of ε = {directions.epsilon:.2g} cost on average {power_name(random, 2)} nats in random "
        f"directions (tr F/(2d)·ε² = {power_name(directions.mean, 2)}), {power_name(vat, 2)} after "
        f"{directions.iterations} power {times} at ξ = {directions.xi:.3g}, {power_name(first, 2)} along F's first "
        f"eigenvector. tr F/(d λ_max) = {percent(directions.ratio)}: to cost as much, random steps must be "
        f"{directions.factor:.1f} times as long. "
        f"VAT's direction has a median |cos| of {cosine:.3f} to that eigenvector; for ξ → 0 it has {limit:.3f}."
    )


def explore_directions() -> View:
    """Return a view of what steps of one length cost in random directions, VAT's and the worst, for any dimension."""
    network = controls.toggle("network", NETWORKS, NETWORKS[0])
    d = controls.log_slider("dimension d", MOST, 2, MOST, format=".0f")
    controls.only_while(d, network, lambda name: name != SMALL, otherwise=f"{SMALL} has two dimensions")
    chosen = {
        "network": network,
        "d": d,
        "iterations": controls.int_slider("power iterations", 1, 1, MOST_ITERATIONS),
        "xi": controls.log_slider("ξ", 10.0, 1e-4, 100.0, steps_per_decade=4, format=".3g"),
        "epsilon": controls.log_slider("ε", 0.5, 0.05, 5.0, steps_per_decade=10, format=".2g"),
    }
    return View(chosen, compute, draw, describe)

"""Where a gradient does not see what happens: the loss of a digit jumps when the network's depth changes."""

import functools
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F
from toolkit.core.svg import Svg
from toolkit.explorers.adaptive_depth import held_out, think, trained_network
from toolkit.lessons import View, controls
from toolkit.lessons.svg import Series, line_chart

DIGIT, SURE = 18, 0.9
LOW, HIGH, _POINTS = 0.4, 1.4, 201
_REACH = 0.08  # of the tangent, to either side


@dataclass(frozen=True)
class Sweep:
    """The loss of one digit as its brightness changes.

    Attributes:
        brightness: factors that the image is multiplied by.
        loss: cross-entropy in nats at each.
        slope: its derivative by the brightness, by our engine.
        repetitions: how often the layer was repeated at each.
    """

    brightness: Float[np.ndarray, "points"]
    loss: Float[np.ndarray, "points"]
    slope: Float[np.ndarray, "points"]
    repetitions: Int[np.ndarray, "points"]

    @property
    def jumps(self) -> tuple[int, ...]:
        """Places of the last points before the number of repetitions changes."""
        return tuple(np.flatnonzero(np.diff(self.repetitions)).tolist())

    def __repr__(self) -> str:
        fewest, most = self.repetitions.min(), self.repetitions.max()
        return f"Sweep({self.brightness.size} points, {fewest} to {most} repetitions, {len(self.jumps)} jumps)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def sweep_brightness(index: int = DIGIT, sure: float = SURE) -> Sweep:
    """Make one held-out digit brighter step by step and differentiate its loss by the brightness.

    Args:
        index: of the digit among the held-out ones.
        sure: the confidence at which the loop ends.
    """
    network, digits = trained_network(), held_out()
    row, label = digits.row(index), digits.labels[index : index + 1]
    factors = np.linspace(LOW, HIGH, _POINTS)
    found = []
    for factor in factors:
        brightness = Variable(np.array(factor), requires_grad=True)
        thought = think(brightness * row, network, sure)
        loss = F.cross_entropy(thought.logits, label)
        found.append((float(loss), float(grad(loss, brightness)), thought.repetitions))
    loss_values, slopes, repetitions = (np.array(column) for column in zip(*found, strict=True))
    return Sweep(factors, loss_values, slopes, repetitions)


@dataclass(frozen=True)
class Tangent:
    """One point of a sweep."""

    sweep: Sweep
    place: int

    @property
    def brightness(self) -> float:
        """Where the tangent touches."""
        return float(self.sweep.brightness[self.place])


def compute(brightness: float) -> Tangent:
    """Return the point of the sweep nearest to a brightness."""
    sweep = sweep_brightness()
    return Tangent(sweep, int(np.abs(sweep.brightness - brightness).argmin()))


def draw(tangent: Tangent) -> Svg:
    """Draw the loss with its jumps, and the tangent at one brightness."""
    sweep, place = tangent.sweep, tangent.place
    x, y = sweep.brightness, sweep.loss
    pieces = list(pairwise([0, *(jump + 1 for jump in sweep.jumps), x.size]))
    broken_x, broken_y = (np.concatenate([np.append(line[a:b], np.nan) for a, b in pieces]) for line in (x, y))
    reach = np.array([-_REACH, _REACH])
    marks = [(float(x[jump]), f"{sweep.repetitions[jump]} → {sweep.repetitions[jump + 1]}") for jump in sweep.jumps]
    return line_chart(
        [
            Series("loss", broken_x, broken_y, "truth"),
            Series("tangent", x[place] + reach, y[place] + sweep.slope[place] * reach, "ours"),
            Series("", x[place : place + 1], y[place : place + 1], "ours", markers=True),
        ],
        x_label="brightness of the digit (factor)",
        y_label="loss (nats)",
        title="The gradient is right on its piece and blind to the jump",
        x_limits=(LOW, HIGH),
        y_limits=(0.0, 1.1 * float(y.max())),
        marks=marks,
        height=320,
    )


def describe(tangent: Tangent) -> str:
    """Say what the slope promises and what the next jump does instead."""
    sweep, place = tangent.sweep, tangent.place
    here = (
        f"At brightness {tangent.brightness:.2f} the layer is repeated {sweep.repetitions[place]} times, the loss is "
        f"{sweep.loss[place]:.3f} and its slope {sweep.slope[place]:.3f}."
    ).replace("-", "−")
    ahead = [jump for jump in sweep.jumps if jump >= place]
    if not ahead:
        return f"{here} No jump lies ahead: the depth no longer changes."
    jump = ahead[0]
    before, after = sweep.repetitions[jump], sweep.repetitions[jump + 1]
    change = f"{sweep.loss[jump + 1] - sweep.loss[jump]:+.3f}".replace("-", "−")
    return (
        f"{here} At {sweep.brightness[jump]:.2f} the depth goes from {before} to {after} and the loss jumps by "
        f"{change}, which no slope announces."
    )


def explore_brightness() -> View:
    """Return a view of the loss of one digit over its brightness, with the tangent that our gradient gives."""
    slider = controls.float_slider("brightness", 0.7, LOW, HIGH, step=0.02)
    return View({"brightness": slider}, compute, draw, describe)

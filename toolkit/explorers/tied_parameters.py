"""Where the paper's guarantee ends: two coins, XOR as their cost, and one logit that drives both.

The guarantee is about each variable's own parameters. The gradient of a shared logit is a sum over both coins, and
for a sum it also matters how the two terms vary together.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series, line_chart, text_width

REACH = 2.5
"""Largest logit, to either side of zero."""
_POINTS = 121
ESTIMATORS = ("LR", "LR, best b", "RAM")
_LOOKS = (style.MEANINGS["baseline"], style.LINES[2], style.MEANINGS["paper"])
_VALUES = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


@dataclass(frozen=True)
class Tied:
    """Exact variances of one sample of the gradient of ``E[z₁ XOR z₂]``, both coins with the logit ``logit``.

    Attributes:
        logit: where they were computed.
        gradient: the derivative with respect to the shared logit, the sum of both coins'.
        shared: the variance of each of :data:`ESTIMATORS` for the shared logit.
        separate: the same for one of two logits of their own.
        baselines: the best constant baseline, for the shared logit and for a separate one.
        covariances: of the two coins' terms, for each of :data:`ESTIMATORS`; ``shared`` is twice the sum of this and
            ``separate`` (for LR with a baseline, of the shared logit's).
    """

    logit: Float[np.ndarray, "*points"]
    gradient: Float[np.ndarray, "*points"]
    shared: Float[np.ndarray, "3 *points"]
    separate: Float[np.ndarray, "3 *points"]
    baselines: Float[np.ndarray, "2 *points"]
    covariances: Float[np.ndarray, "3 *points"]

    def __repr__(self) -> str:
        return f"Tied({self.logit.size} logit{'s' * (self.logit.size != 1)} from {self.logit.min():g})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def enumerate_variances(logit: Any) -> Tied:
    """Compute the variances by enumeration of the four outcomes.

    Args:
        logit: one number or an array of them.

    Raises:
        ValueError: logits that are not finite.
    """
    logit = np.asarray(logit, dtype=float)
    require(bool(np.isfinite(logit).all()), "enumerate_variances", "logit", "finite numbers", logit)
    mean = np.asarray(1 / (1 + np.exp(-logit)))[..., None]
    probability = np.where(_VALUES[:, 0] > 0, mean, 1 - mean) * np.where(_VALUES[:, 1] > 0, mean, 1 - mean)
    cost = np.abs(_VALUES[:, 0] - _VALUES[:, 1])
    scores = [_VALUES[:, coin] - mean for coin in (0, 1)]

    def expect(values: np.ndarray) -> Any:
        return (probability * values).sum(-1)

    def covariance(first: np.ndarray, second: np.ndarray) -> Any:
        return expect((first - expect(first)[..., None]) * (second - expect(second)[..., None]))

    def best_baseline(score: np.ndarray) -> Any:
        return expect(cost * score**2) / expect(score**2)

    both = scores[0] + scores[1]
    baselines = np.stack([best_baseline(both), best_baseline(scores[0])])
    # RAM weighs the change that a flip of the coin makes; with XOR it is +1 or −1, as the other coin says.
    ram = [mean * (1 - mean) * (1 - 2 * _VALUES[:, 1 - coin]) for coin in (0, 1)]
    plain = [cost * score for score in scores]
    for_shared = [(cost - baselines[0][..., None]) * score for score in scores]
    for_one = [(cost - baselines[1][..., None]) * score for score in scores]
    return Tied(
        logit=logit,
        gradient=np.asarray(expect(plain[0] + plain[1])),
        shared=np.stack([covariance(sum(terms), sum(terms)) for terms in (plain, for_shared, ram)]),
        separate=np.stack([covariance(terms[0], terms[0]) for terms in (plain, for_one, ram)]),
        baselines=baselines,
        covariances=np.stack([covariance(terms[0], terms[1]) for terms in (plain, for_shared, ram)]),
    )


@functools.cache
def _curves() -> Tied:
    return enumerate_variances(np.linspace(-REACH, REACH, _POINTS))


def compute(logit: float = 0.0) -> Tied:
    """Return the exact variances at one logit."""
    return enumerate_variances(float(logit))


_WIDTH, _HALF, _TOP, _TALL = 660.0, 330.0, 62.0, 290.0


def draw(tied: Tied) -> Svg:
    """Draw the variances over the logit, shared on the left and separate on the right, on one scale."""
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 24, _finding(tied), size=14, bold=True)
    x = 16.0
    for name, look in zip(ESTIMATORS, _LOOKS, strict=True):
        picture.line(x, 45, x + 34, 45, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes)
        picture.text(x + 41, 49.5, name, bold=True, fill=look.color)
        x += 66 + text_width(name, 13, bold=True)
    curves = _curves()
    top = 1.08 * float(max(curves.shared.max(), curves.separate.max()))
    sides = [("one logit for both coins", "shared"), ("a logit for each coin", "separate")]
    for number, (title, field) in enumerate(sides):
        lines = [
            Series("", curves.logit, values, look)
            for values, look in zip(getattr(curves, field), _LOOKS, strict=True)
        ]  # fmt: skip
        here = [
            Series("", tied.logit.reshape(1), value.reshape(1), look, markers=True)
            for value, look in zip(getattr(tied, field), _LOOKS, strict=True)
        ]
        chart = line_chart(
            [*lines, *here],
            x_label="logit φ",
            y_label="variance of the gradient",
            title=title,
            x_limits=(-REACH, REACH),
            y_limits=(0.0, top),
            marks=[(float(tied.logit), "")],
            width=_HALF,
            height=_TALL,
        )
        picture.place(number * _HALF, _TOP, chart)
    return picture


def _finding(tied: Tied) -> str:
    plain, best, ram = tied.shared.tolist()
    if plain < 1e-9:
        return f"A shared logit: LR has no variance at all, RAM {ram:.3g}"
    ratio = f"RAM's variance is {_ratio(ram / best)} that of LR, best b"
    return f"A shared logit: {ratio}" if ram > best else f"So far out the order holds: {ratio}"


def _ratio(value: float) -> str:
    return f"{value:.0f} ×" if value >= 9.95 else f"{value:.1f} ×" if value >= 0.095 else f"{value:.2f} ×"


def describe(tied: Tied) -> str:
    """Say how the three compare for a shared and for a separate logit, and why."""
    shared, separate = (", ".join(_number(value) for value in part) for part in (tied.shared, tied.separate))
    return (
        f"At φ = {_number(tied.logit)} the gradient of E[XOR] has variance {shared} (LR, LR with its best constant "
        f"baseline, RAM) when one logit drives both coins, and {separate} when each coin has a logit of its own: there "
        f"RAM is never worse. The two coins' terms have covariance {_number(tied.covariances[0])} under LR, where they "
        f"cancel, and {_number(tied.covariances[2])} under RAM."
    )


def _number(value: Any) -> str:
    return f"{round(float(value), 4) + 0.0:.4g}".replace("-", "−")


def explore_tied_parameters() -> View:
    """Return a view of the variances over the logit of two coins, with one logit for both beside one for each."""
    slider = controls.float_slider("logit φ", 0.0, -REACH, REACH, step=0.1)
    return View({"logit": slider}, compute, draw, describe)

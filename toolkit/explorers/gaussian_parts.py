"""One number seen twice through noise: what correlated noise makes of unique, redundant and complementary parts.

Everything is Gaussian, so the informations are closed forms. Noise that both views have in common can be taken out by
comparing them, which no view can do alone: that is complementary information.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.disentanglement.exact import PID, PIDInterval, interval_of
from toolkit.disentanglement.gaussian import gaussian_interval
from toolkit.explorers.pid_parts import NOISE, PARTS, amount, bars_of, draw_letters, parts_panel, span
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

MOST = 0.9
"""Largest correlation of the noises, either sign: at 1 the signal itself can be had."""
LEAST_NOISE, MOST_NOISE = 0.25, 3.0
_FINE = tuple(round(-MOST + 2 * MOST * step / 152, 6) for step in range(153))


@dataclass(frozen=True, repr=False, eq=False)
class GaussianParts:
    """What a = y + e and b = y + e' know of y, in bits; y has variance 1.

    Attributes:
        noise_a: standard deviation of e.
        noise_b: standard deviation of e'.
        correlation: of e and e'.
        bounds: the informations and the interval of each part.
        mmi: the parts with as much redundant as can be: MMI, and for Gaussians BROJA.
        line: the same intervals at each correlation of ``_FINE``.
    """

    noise_a: float
    noise_b: float
    correlation: float
    bounds: PIDInterval
    mmi: PID
    line: PIDInterval

    @property
    def idle(self) -> float:
        """The correlation at which the noisier view adds nothing: the smaller noise over the larger."""
        return min(self.noise_a, self.noise_b) / max(self.noise_a, self.noise_b)

    def __repr__(self) -> str:
        low, high = float(self.bounds.complementary.lower), float(self.bounds.complementary.upper)
        return f"GaussianParts(correlation {self.correlation:g}: complementary {span(low, high)} bits)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def covariance(noise_a: float, noise_b: float, correlation: Tensor) -> Float64[Tensor, "*batch 3 3"]:
    """Return the covariance matrix of (a, b, y).

    Args:
        noise_a: standard deviation of a's noise.
        noise_b: of b's.
        correlation: of the two noises, any shape.
    """
    shared = correlation.double() * noise_a * noise_b + 1
    one = torch.ones_like(shared)
    entries = [one * (1 + noise_a**2), shared, one, shared, one * (1 + noise_b**2), one, one, one, one]
    return torch.stack(entries, -1).reshape(*shared.shape, 3, 3)


def compute(noise_a: float = 1.0, noise_b: float = 1.0, correlation: float = -0.6) -> GaussianParts:
    """Return the informations, their intervals, and how these change with the correlation.

    Args:
        noise_a: standard deviation of a's noise; positive.
        noise_b: of b's; positive.
        correlation: of the noises, at most ``MOST`` of either sign.

    Raises:
        ValueError: out of range.
    """
    for name, value in (("noise_a", noise_a), ("noise_b", noise_b)):
        require(0 < value < math.inf, "compute", name, "positive", value)
    require(abs(correlation) <= MOST, "compute", "correlation", f"at most {MOST} of either sign", correlation)
    correlation = round(float(correlation), 6)
    here = covariance(noise_a, noise_b, torch.tensor(correlation, dtype=torch.float64))
    line = covariance(noise_a, noise_b, torch.tensor(_FINE, dtype=torch.float64))
    bounds, path = _in_bits(gaussian_interval(here)), _in_bits(gaussian_interval(line))
    return GaussianParts(noise_a, noise_b, correlation, bounds, bounds.at(bounds.redundant.upper), path)


def _in_bits(found: PIDInterval) -> PIDInterval:
    bit = math.log(2)
    return interval_of(found.information_1 / bit, found.information_2 / bit, found.information_joint / bit, unit="bits")


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _BARS, _TOP, _TALL = 720.0, 350.0, 36.0, 318.0
"""The bars stand on the left, the lines beside them."""


def draw(found: GaussianParts) -> Svg:
    """Draw the parts as bars, and at the right how their ends move with the correlation."""
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    bars = bars_of(found.bounds, {"mmi": found.mmi})
    ends = [getattr(found.line, part) for part in ("complementary", "redundant")]
    highest = max(float(end.upper.max()) for end in ends)
    limits = (0.0, 1.06 * max(highest, float(found.bounds.unique_1.upper), float(found.bounds.unique_2.upper)))
    names = dict(zip(("a", "b"), bars[:2], strict=True))
    groups = {f"only {name}": [bar] for name, bar in names.items()} | {"both": [bars[2]], "together": [bars[3]]}
    draw_letters(picture, 14, _TOP + 19)
    picture.place(0, _TOP + 28, parts_panel(groups, width=_BARS, height=_TALL - 28, limits=limits))
    lines = []
    for part, both in zip(("complementary", "redundant"), ends, strict=True):
        look = PARTS[part]
        wide = 3.2 if part == "redundant" else 2.0
        lines.append(
            Series(f"{look.symbol} at most", _FINE, both.upper.tolist(), style.Line(look.color, "-", "", wide))
        )
        dashed = style.Line(look.color, (0, (2.0, 1.2)), "", wide)
        lines.append(Series(f"{look.symbol} at least", _FINE, both.lower.tolist(), dashed))
    draw_panel(
        picture,
        (_BARS + 18, _TOP + 6, _WIDTH - _BARS - 26, _TALL - 44),
        lines,
        heading="information (bits)",
        x_label="correlation of the noises",
        x_limits=(-1.0, 1.0),
        y_limits=limits,
        mark=found.correlation,
    )
    return picture


def _finding(found: GaussianParts) -> str:
    low, high = float(found.bounds.complementary.lower), float(found.bounds.complementary.upper)
    if high <= NOISE:
        which = "b" if found.noise_b > found.noise_a else "a"
        return f"Correlation {_signed(found.correlation)}: {which} adds nothing, and nothing is complementary"
    if low > NOISE:
        return f"Correlation {_signed(found.correlation)}: at least {amount(low)} bits only both together know"
    least = float(found.bounds.redundant.lower)
    if least > NOISE:
        return f"Correlation {_signed(found.correlation)}: at least {amount(least)} bits are known twice"
    return f"Correlation {_signed(found.correlation)}: from nothing to {amount(high)} bits are complementary"


def _signed(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def describe(found: GaussianParts) -> str:
    """Say what each view knows, what both know, and which parts that leaves."""
    bounds = found.bounds
    first, second, both = (
        float(value) for value in (bounds.information_1, bounds.information_2, bounds.information_joint)
    )
    spans = {
        part: span(float(getattr(bounds, part).lower), float(getattr(bounds, part).upper))
        for part in ("redundant", "complementary")
    }
    text = (
        f"Noise {found.noise_a:g} and {found.noise_b:g}, correlation {_signed(found.correlation)}: a knows "
        f"{amount(first)} bits of y, b {amount(second)}, both together {amount(both)}. "
    )
    if float(bounds.complementary.upper) <= NOISE:
        text += f"Redundant {spans['redundant']}, complementary 0: nothing is left open."
    else:
        text += (
            f"Redundant {spans['redundant']}, complementary {spans['complementary']}; by MMI, which is BROJA here, "
            f"{amount(float(found.mmi.redundant))} and {amount(float(found.mmi.complementary))}."
        )
    return f"{text} {_reason(found)}"


def _reason(found: GaussianParts) -> str:
    idle = found.idle
    if abs(found.correlation - idle) < 1e-6:
        which = "b" if found.noise_b >= found.noise_a else "a"
        other = "a" if which == "b" else "b"
        return f"The noise of {which} is that of {other} with more added, so {which} says nothing new."
    if found.correlation > idle:
        return "In the difference of the views the signal is gone: it is pure noise, and tells how far off they are."
    if found.correlation < 0:
        # Noises that differ too much: the plain sum is worse than the better view alone.
        which = "their sum" if found.noise_a == found.noise_b else "their sum, suitably weighted,"
        return f"Where one view is too high the other tends to be too low: {which} is better than either."
    if found.correlation == 0:
        return "Independent noise averages out, but not as well as noise of opposite sign."
    return "The views err alike, so the second one adds less than with independent noise."


def explore_gaussian_parts() -> View:
    """Return a view of two noisy views of a Gaussian number, whose noises may be correlated."""
    choices = {
        name: controls.float_slider(f"noise of {name[-1]}", 1.0, LEAST_NOISE, MOST_NOISE, step=0.25)
        for name in ("noise_a", "noise_b")
    }
    choices["correlation"] = controls.float_slider("correlation of the noises", -0.6, -MOST, MOST, step=0.05)
    choices["correlation"].layout.width = "654px"  # as the two others: so many steps need room
    return View(choices, compute, draw, describe)

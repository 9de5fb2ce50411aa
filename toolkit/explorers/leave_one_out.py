"""A second copy of a code, hidden in many latents: who notices, one other latent or all the others together?"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.disentanglement.exact import PIDInterval
from toolkit.explorers.hidden_copy import NUMBERS, WAYS, Setting, make_setting
from toolkit.explorers.pid_parts import NOISE, Bar, amount, bars_of, parts_panel
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale
from toolkit.lessons.svg import Series

HIDDEN = tuple(range(0, 101, 10))
CORRELATIONS = tuple(round(0.05 * step, 2) for step in range(21))


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """A copy of the code, and what would be if it were better or worse, in the open or hidden.

    Attributes:
        way: one of ``WAYS``: how the copy is hidden.
        number: how many latents share it.
        hidden: how well, in percent.
        correlation: of the copy and the original.
        here: what is known then.
        by_correlation: the gaps of MIG and of UniBound for ``CORRELATIONS``, as ``[2, correlations]``.
        by_hidden: the same for ``HIDDEN``.
    """

    way: str
    number: int
    hidden: int
    correlation: float
    here: Setting
    by_correlation: Float64[Tensor, "gaps correlations"]
    by_hidden: Float64[Tensor, "gaps hidden"]

    @property
    def names(self) -> tuple[str, ...]:
        """The latents' names."""
        return tuple(f"z{place}" for place in range(1, len(self.here.single) + 1))

    @property
    def first_of_copy(self) -> int:
        """Which latent is the first of those that share the copy, from 0."""
        return len(self.here.single) - self.number

    def __repr__(self) -> str:
        setting = f"{self.way} of {self.number}, {self.hidden} % hidden, correlation {self.correlation:g}"
        return f"LeaveOneOut({setting}: {self.here!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain Python."""
        plain = {name: getattr(self, name) for name in ("way", "number", "hidden", "correlation")}
        curves = {"by_correlation": self.by_correlation.tolist(), "by_hidden": self.by_hidden.tolist()}
        return plain | {"here": self.here.to_dict()} | curves


def compute(way: str, number: int, hidden: int, correlation: float) -> LeaveOneOut:
    """Measure one setting and those about it; arguments as for :func:`~toolkit.explorers.hidden_copy.make_setting`."""
    by_correlation = [make_setting(way, number, hidden, each) for each in CORRELATIONS]
    by_hidden = [make_setting(way, number, each, correlation) for each in HIDDEN]
    here = make_setting(way, number, hidden, correlation)
    return LeaveOneOut(way, number, hidden, correlation, here, _gaps(by_correlation), _gaps(by_hidden))


def _gaps(settings: list[Setting]) -> Tensor:
    return torch.tensor([[one.mig for one in settings], [one.unibound for one in settings]], dtype=torch.float64)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _TOP, _HALF, _LOW = 690.0, 14.0, 44.0, 232.0, 292.0
_MIG, _UNIBOUND = style.MEANINGS["baseline"], style.MEANINGS["paper"]


def draw(found: LeaveOneOut) -> Svg:
    """Draw what each latent and all others together say, the parts as MIG and UniBound see them, and the two gaps."""
    picture = Svg(_WIDTH, _LOW + 212)
    picture.text(_LEFT, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    picture.place(_LEFT, _TOP, _draw_single(found, 376, _HALF))
    picture.text(406, _TOP + 13, "of z1: unique U, redundant R (bits)", size=12.5, bold=True)
    groups = {"MIG": _two_bars(found.here.pair), "UniBound": _two_bars(found.here.rest)}
    picture.place(
        400, _TOP + 18, parts_panel(groups, width=284, height=_HALF - 18, limits=(0.0, 1.06), key=False, value_label="")
    )
    by_correlation = ("correlation of copy and original", CORRELATIONS, found.by_correlation, found.correlation)
    by_hidden = ("how well the copy is hidden (%)", HIDDEN, found.by_hidden, float(found.hidden))
    headings = ("gap: z1 less what it is compared with (bits)", "the same gaps (bits)")
    for place, (heading, (label, x, gaps, mark)) in enumerate(zip(headings, (by_correlation, by_hidden), strict=True)):
        draw_panel(
            picture,
            (_LEFT + 336 * place, _LOW, 326, 182),
            # The dashes over the solid line: where the two agree, both are seen.
            [Series("UniBound", x, gaps[1], _UNIBOUND), Series("MIG", x, gaps[0], _MIG)],
            heading=heading,
            x_label=label,
            x_limits=(0.0, float(x[-1])),
            y_limits=(0.0, 1.04),
            mark=mark,
        )
    return picture


def _two_bars(span: PIDInterval) -> list[Bar]:
    unique, _, redundant, _ = bars_of(span)
    return [Bar(bar.part, bar.lower, bar.upper) for bar in (unique, redundant)]


def _draw_single(found: LeaveOneOut, width: float, height: float) -> Svg:
    """Draw an upright bar for each latent alone, and one for all but z1 together."""
    here = found.here
    part = Svg(width, height, frame=False, background="none")
    part.text(0, 13, "what each says of y (bits)", size=12.5, bold=True)
    left, right, bottom = 34.0, width - 6.0, height - 42.0
    to_y = Scale(0.0, 1.06, bottom, 24.0, False)
    for value, name in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        part.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6" if value else "#8c8c8c", stroke_width=1)
        part.text(left - 6, to_y(value) + 4, name, size=12, anchor="end", fill=style.GREY)
    n = len(here.single)
    slot = (right - left - 66) / n
    every = max(1, math.ceil(24 / slot))
    for place, (name, value) in enumerate(zip(found.names, here.single, strict=True)):
        x = left + slot * place
        compared = place == here.runner_up
        color = _MIG.color if compared else style.GREY
        _draw_one(part, x + 0.12 * slot, 0.76 * slot, value, to_y, color, outlined=compared)
        if place % every == 0 or compared:
            strong = compared or place == 0
            if compared or abs(place - here.runner_up) * slot >= 24:
                part.text(x + slot / 2, bottom + 16, name, size=12, anchor="middle", bold=strong, fill=color)
    value = here.single[here.runner_up]
    text = f"runner-up {amount(value, 2)}"
    end = min(left + slot * (here.runner_up + 0.5) + text_width(text, 12, bold=True) / 2, right - 56)
    part.text(end, to_y(value) - 6, text, size=12, anchor="end", bold=True, fill=_MIG.color)
    begin = left + slot * found.first_of_copy
    part.line(begin + 2, bottom + 23, right - 66, bottom + 23, stroke=style.GREY, stroke_width=1.2)
    part.text((begin + right - 66) / 2, bottom + 37, "share the copy", size=12, anchor="middle", fill=style.GREY)
    together = float(here.rest.information_2)
    _draw_one(part, right - 52, 40, together, to_y, _UNIBOUND.color, outlined=True)
    part.text(right - 32, to_y(together) - 6, amount(together, 2), size=12, anchor="middle", bold=True, fill=style.BLUE)
    for line, text in enumerate(("all but z1", "together")):
        part.text(right - 30, bottom + 16 + 15 * line, text, size=12, anchor="middle", bold=True, fill=style.BLUE)
    return part


def _draw_one(
    picture: Svg, x: float, width: float, value: float, to_y: Scale, color: str, *, outlined: bool = False
) -> None:
    top, zero = to_y(value), to_y(0.0)
    if value <= NOISE:
        picture.line(x, zero, x + width, zero, stroke=color, stroke_width=3)
        return
    picture.rectangle(x, top, width, zero - top, fill=color, opacity=0.55 if outlined else 0.85)
    if outlined:
        picture.rectangle(x, top, width, zero - top, fill="none", stroke=color, stroke_width=1.5, dash=(4, 2))


def _finding(found: LeaveOneOut) -> str:
    here = found.here
    mig, unibound, together = amount(here.mig, 2), amount(here.unibound, 2), float(here.rest.information_2)
    if together < 0.005:
        return f"There is no copy: both gaps are {mig} bits"
    if here.mig - here.unibound < 0.005:
        return f"The copy lies open in one latent: MIG's gap is {mig}, UniBound's {unibound} bits"
    sees = "misses" if here.single[here.runner_up] < 0.25 * together else "sees only a part of"
    return f"MIG {sees} the copy: its gap is {mig} bits, UniBound's {unibound}"


def describe(found: LeaveOneOut) -> str:
    """Say how the copy is hidden, what z1, the runner-up and all others say, and the two gaps."""
    here = found.here
    alone, second, together = here.single[0], here.single[here.runner_up], float(here.rest.information_2)
    if found.way == "rotation":
        how = f"turned by {45 * found.hidden / 100:g}°"
    else:
        masks = "one mask" if found.number == 2 else f"{found.number - 1} masks"
        how = f"{masks}, 1 with probability {found.hidden / 200:g}"
    many = f"all other {len(here.single) - 1} latents together"
    return (
        f"{found.number} latents share a copy by {found.way} ({how}), correlation with the original "
        f"{found.correlation:g}. z1 says {amount(alone)} bits of y, the runner-up {found.names[here.runner_up]} "
        f"{amount(second)}, {many} {amount(together)}. MIG's gap is {amount(here.mig)}, UniBound's "
        f"{amount(here.unibound)} bits."
    )


def explore_leave_one_out() -> View:
    """Return a view of a hidden copy: by rotation or XOR, among how many latents, how well, and how good a copy."""
    chosen = {
        "way": controls.toggle("copy hidden by", WAYS),
        "number": controls.toggle("latents that share it", NUMBERS, 8),
        "hidden": controls.int_slider("how well hidden", 100, 0, 100, step=10, unit="%"),
        "correlation": controls.float_slider("correlation of copy and original", 1.0, 0.0, 1.0, step=0.05),
    }
    chosen["correlation"].layout.width = "654px"  # its words leave no room for 20 steps otherwise
    return View(chosen, _rounded, draw, describe)


def _rounded(way: str, number: int, hidden: int, correlation: float) -> LeaveOneOut:
    # A slider of steps of 0.05 gives 0.15000000000000002: one setting for both.
    return compute(way, number, hidden, round(correlation, 2))

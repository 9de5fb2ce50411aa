"""A panel with prompts from short to long below it: lines, spreads over seeds, and what is short and what is long."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.plotting import GREY, Line, spread
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.lessons.axis import Scale, power_name, tick_names, ticks
from toolkit.lessons.svg import draw_marker

_TICK, _HEADING, _BEND = 12.0, 12.5, 4.0
LEFT, ABOVE, BELOW = 46.0, 24.0, 22.0
"""Pixels of a panel for the names of its y axis, its heading and the names of its x axis."""
SHADE = "#f1f1f1"
_STEPS = ((1, 1.1, 1.2, 1.3, 1.5, 1.7, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 1.4, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))
"""Between powers of ten on a logarithmic axis, from the finest."""


@dataclass(frozen=True)
class Curve:
    """One line of a panel.

    Attributes:
        label: its name at the right end.
        values: one a length; NaN leaves a gap.
        look: its colour, dash and marker.
        ranges: ends of a bar about each value, NaN for none.
        marked: whether points are marked.
    """

    label: str
    values: Sequence[float]
    look: Line
    ranges: Sequence[tuple[float, float]] = ()
    marked: bool = False


def draw_lengths(
    picture: Svg,
    box: tuple[float, float, float, float],
    curves: Sequence[Curve],
    lengths: Sequence[int],
    *,
    heading: str,
    y_limits: tuple[float, float],
    room: float,
    x_label: str = "",
    log_y: bool = False,
    percent: bool = False,
    mark: int | None = None,
    zones: Sequence[tuple[str, Sequence[int]]] = (),
    level: float | None = None,
    even: bool = False,
) -> None:
    """Draw lines over prompt lengths, with little room for the differences between long ones.

    Args:
        picture: on which.
        box: left, top, width and height in pixels, words included; 18 more below for an ``x_label``.
        curves: the lines, with a value for each length.
        lengths: of the prompts, tokens, ascending.
        heading: what the y axis is, with its unit.
        y_limits: of the y axis; values outside are cut off.
        room: pixels for the lines' names.
        x_label: what the x axis is.
        log_y: whether the y axis is logarithmic.
        percent: whether y is a share, named in per cent.
        mark: the length at which a vertical line stands.
        zones: names of ranges of lengths to be shaded, and the lengths in them.
        level: y of a horizontal line that means something.
        even: whether the distances along x are true, as for a few layers.
    """
    left, top, right, bottom = box[0] + LEFT, box[1] + ABOVE, box[0] + box[2] - room, box[1] + box[3] - BELOW
    to_x, to_y = _Lengths(lengths, left + 8, right - 8, even), Scale(*y_limits, bottom, top, log_y)
    for name, inside in zones:
        if inside:
            begin, end = to_x.edges(inside)
            begin, end = max(begin, left), min(end, right)
            picture.rectangle(begin, top, end - begin, bottom - top, fill=SHADE)
            if name and text_width(name, _TICK) <= end - begin - 6:
                inner = [y for curve in curves for k, y in zip(lengths, curve.values, strict=True) if k in inside]
                above = 2 * sum(y > sum(y_limits) / 2 for y in inner) > len(inner)  # words stand where the lines do not
                height = bottom - 7 if above else top + 13
                picture.text((begin + end) / 2, height, name, size=_TICK, anchor="middle", fill=GREY)
    picture.text(box[0], box[1] + 13, heading, size=_HEADING, bold=True)
    for value, name in _y_ticks(y_limits, log_y, percent):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e2e2e2", stroke_width=1)
        picture.text(left - 6, to_y(value) + 4, name, size=_TICK, anchor="end", fill=GREY)
    if level is not None:
        picture.line(left, to_y(level), right, to_y(level), stroke="#8c8c8c", stroke_width=1.2)
    for length in to_x.named():
        picture.line(to_x(length), bottom, to_x(length), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(length), bottom + 17, length, size=_TICK, anchor="middle", fill=GREY)
    picture.polyline([(left, top), (left, bottom), (right, bottom)], stroke="#8c8c8c", stroke_width=1)
    if x_label:
        picture.text((left + right) / 2, bottom + 35, x_label, size=_HEADING, anchor="middle")
    if mark is not None:
        picture.line(to_x(mark), top, to_x(mark), bottom, stroke=GREY, stroke_width=1.2, dash=(3, 3))
    clip = (left, top - 4, right - left + 1, bottom - top + 8)
    for number, curve in enumerate(curves):
        aside = 2.2 * (number - (len(curves) - 1) / 2)  # bars of several lines must not hide one another
        for length, ends in zip(lengths, curve.ranges, strict=False):
            low, high = (_held(end, y_limits) for end in ends)
            if math.isfinite(low) and math.isfinite(high):
                x = to_x(length) + aside
                look: Any = {"stroke": curve.look.color, "stroke_width": 1.4}
                picture.line(x, to_y(low), x, to_y(high), clip=clip, **look)
                for end in (low, high):
                    picture.line(x - 2.5, to_y(end), x + 2.5, to_y(end), clip=clip, **look)
    named: list[tuple[float, str, str]] = []
    for number, curve in enumerate(curves):
        aside = 2.2 * (number - (len(curves) - 1) / 2) if curve.ranges else 0.0
        where = [(to_x(length) + aside, to_y(y)) for length, y in zip(lengths, curve.values, strict=True)]
        line = curve.look
        picture.polyline(where, stroke=line.color, stroke_width=line.linewidth, dash=line.dashes, clip=clip)
        seen = [(x, y) for x, y in where if math.isfinite(y)]
        for x, y in seen if curve.marked else ():
            if top - 3 <= y <= bottom + 3:
                draw_marker(picture, x, y, line)
        if curve.label and seen:
            named.append((min(max((bottom - seen[-1][1]) / (bottom - top), 0.0), 1.0), curve.label, line.color))
    named.sort(key=lambda end: end[0])
    shares = spread([share for share, _, _ in named], 1.15 * _TICK / (bottom - top))
    for share, (_, label, color) in zip(shares, named, strict=True):
        picture.text(right + 7, bottom - share * (bottom - top) + 4, label, size=_TICK, bold=True, fill=color)


def draw_key(picture: Svg, left: float, y: float, names: Sequence[tuple[str, Line]]) -> None:
    """Name lines in a row, each beside a piece of it."""
    for name, look in names:
        stroke: Any = {"stroke": look.color, "stroke_width": look.linewidth, "dash": look.dashes}
        picture.line(left, y - 4, left + 30, y - 4, **stroke)
        if look.marker:
            draw_marker(picture, left + 15, y - 4, look)
        picture.text(left + 36, y, name, size=_TICK, bold=True, fill=look.color)
        left += 36 + text_width(name, _TICK, bold=True) + 22


def room_for(labels: Sequence[str]) -> float:
    """Return the pixels that names at the right ends of lines need."""
    return max((text_width(label, _TICK, bold=True) for label in labels), default=0.0) + 14


def _held(value: float, y_limits: tuple[float, float]) -> float:
    return min(max(value, y_limits[0]), y_limits[1]) if math.isfinite(value) else math.nan


def _y_ticks(y_limits: tuple[float, float], log: bool, percent: bool) -> list[tuple[float, str]]:
    low, high = y_limits
    if log:
        for steps in _STEPS:
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            values = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
            if len(values) <= 6:
                break
        return [(value, f"{value:.3g}" if value >= 1e-4 else power_name(value)) for value in values]
    values = ticks(low, high, most=5)
    return list(zip(values, tick_names([100 * value if percent else value for value in values]), strict=True))


class _Lengths:
    """From tokens to pixels: as they are, or as log(4 + tokens)."""

    def __init__(self, lengths: Sequence[int], start: float, end: float, even: bool):
        self.lengths, self.even = tuple(lengths), even
        self.low, high = self._bent(self.lengths[0]), self._bent(self.lengths[-1])
        self.start, self.end, self.span = start, end, high - self.low or 1.0

    def _bent(self, length: int) -> float:
        return float(length) if self.even else math.log(_BEND + length)

    def __call__(self, length: int) -> float:
        return self.start + (self._bent(length) - self.low) / self.span * (self.end - self.start)

    def edges(self, inside: Sequence[int]) -> tuple[float, float]:
        """Return where a range of lengths begins and ends: half way to its neighbours."""
        first, last = self.lengths.index(min(inside)), self.lengths.index(max(inside))
        before = self(self.lengths[first - 1]) if first else self(self.lengths[0]) - 16
        behind = self(self.lengths[last + 1]) if last + 1 < len(self.lengths) else self(self.lengths[-1]) + 16
        return (before + self(self.lengths[first])) / 2, (behind + self(self.lengths[last])) / 2

    def named(self) -> list[int]:
        """Return the lengths to be named: all that do not touch."""
        found: list[int] = []
        for length in self.lengths:
            half = text_width(str(length), _TICK) / 2 + 4
            if not found or self(length) - half > self(found[-1]) + text_width(str(found[-1]), _TICK) / 2:
                found.append(length)
        return found

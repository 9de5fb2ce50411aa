"""Small charts that share one picture: a heading instead of a label on its side, each line named at its end."""

from collections.abc import Sequence

import numpy as np

from toolkit.core.plotting import GREY, spread
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, power_name, tick_names, ticks
from toolkit.lessons.svg import Series, draw_marker

_TICK, _HEADING = 12.0, 12.5
LEFT, ABOVE, BELOW = 38.0, 24.0, 20.0
"""Pixels of a panel for the names of its y axis, its heading and the names of its x axis."""


def draw_panel(
    picture: Svg,
    box: tuple[float, float, float, float],
    series: Sequence[Series],
    *,
    heading: str,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    x_label: str = "",
    log_x: bool = False,
    log_y: bool = False,
    room: float | None = None,
    mark: float | None = None,
    whole_x: bool = False,
) -> None:
    """Draw lines into a part of a picture.

    Args:
        picture: on which.
        box: left, top, width and height in pixels, words included; 18 more below for an ``x_label``.
        series: the lines, with a :class:`~toolkit.lessons.style.Line` each; values outside the limits are cut off.
        heading: what the y axis is, with its unit.
        x_limits, y_limits: of the axes.
        x_label: what the x axis is, with its unit.
        log_x, log_y: whether an axis is logarithmic.
        room: pixels for the lines' names; default: what they need.
        mark: x of a vertical line.
        whole_x: whether x counts something: only whole numbers are named.
    """
    left, top, right, bottom = box[0] + LEFT, box[1] + ABOVE, box[0] + box[2], box[1] + box[3] - BELOW
    right -= (
        max((text_width(one.label, _TICK, bold=True) for one in series), default=0.0) + 10 if room is None else room
    )
    to_x, to_y = Scale(*x_limits, left, right, log_x), Scale(*y_limits, bottom, top, log_y)
    picture.text(box[0], box[1] + 13, heading, size=_HEADING, bold=True)
    y_ticks = ticks(*y_limits, log=log_y, most=4)
    for value, name in zip(y_ticks, _names(y_ticks, log_y), strict=True):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6", stroke_width=1)
        picture.text(left - 6, to_y(value) + 4, name, size=_TICK, anchor="end", fill=GREY)
    x_ticks = [value for value in ticks(*x_limits, log=log_x, most=5) if not whole_x or value == round(value)]
    for value, name in zip(x_ticks, _names(x_ticks, log_x), strict=True):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 17, name, size=_TICK, anchor="middle", fill=GREY)
    picture.polyline([(left, top), (left, bottom), (right, bottom)], stroke="#8c8c8c", stroke_width=1)
    if x_label:
        picture.text((left + right) / 2, bottom + 35, x_label, size=_HEADING, anchor="middle")
    clip = (left, top - 3, right - left + 1, bottom - top + 6)
    if mark is not None:
        picture.line(to_x(mark), top, to_x(mark), bottom, stroke=GREY, stroke_width=1.2, dash=(3, 3))
    ends = []
    for one in series:
        assert isinstance(one.meaning, style.Line)
        look = one.meaning
        where = [(to_x(x), to_y(y)) for x, y in zip(map(float, one.x), map(float, one.y), strict=True)]
        if one.markers:
            _draw_markers(picture, where, look, clip)
        else:
            picture.polyline(where, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes, clip=clip)
        heights = [y for _, y in where if np.isfinite(y)]
        if one.label and heights:
            ends.append((min(max((bottom - heights[-1]) / (bottom - top), 0.0), 1.0), one.label, look.color))
    ends.sort(key=lambda end: end[0])
    shares = spread([share for share, _, _ in ends], 1.15 * _TICK / (bottom - top))
    for share, (_, label, color) in zip(shares, ends, strict=True):
        y = bottom - share * (bottom - top) + 4
        picture.text(right + 7, y, label, size=_TICK, bold=True, fill=color)


def _names(values: Sequence[float], log: bool) -> list[str]:
    return [power_name(value) for value in values] if log else tick_names(values)


def _draw_markers(
    picture: Svg, where: list[tuple[float, float]], look: style.Line, clip: tuple[float, float, float, float]
) -> None:
    left, top, width, height = clip
    for x, y in where:
        if not (np.isfinite(y) and left - 2 <= x <= left + width + 2 and top - 2 <= y <= top + height + 2):
            continue
        draw_marker(picture, x, y, look)

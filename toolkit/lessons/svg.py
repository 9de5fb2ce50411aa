"""Instant charts as SVG: lines, bars, image grids and graphs, in the same style as the matplotlib figures.

A chart of this kind answers a key press in about 30 ms. The shapes themselves are in :mod:`toolkit.core.svg`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.errors import require
from toolkit.core.graph_drawing import Edge, Node, draw_graph, graph_layout
from toolkit.core.svg import INK, Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, limits, tick_names, ticks

__all__ = [
    "Edge",
    "Node",
    "Series",
    "Svg",
    "bar_chart",
    "draw_graph",
    "graph_layout",
    "image_grid",
    "line_chart",
    "shorten",
    "text_width",
]

_TICK, _WORDS, _TITLE = 12.0, 13.0, 14.0  # font sizes in pixels


@dataclass(frozen=True)
class Series:
    """One line of a chart: ``x`` and ``y`` (``[points]``, NaN leaves a gap), a label and what it means.

    ``meaning`` is a key of :data:`toolkit.lessons.style.MEANINGS` or a :class:`~toolkit.lessons.style.Line`; by default
    the lines of a chart take :data:`~toolkit.lessons.style.LINES` in turn. ``markers`` draws points instead of a
    line.
    """

    label: str
    x: Any
    y: Any
    meaning: str | style.Line | None = None
    markers: bool = False
    band: tuple[Any, Any] | None = None


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    title: str = "",
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    y_names_like: str = "",
    marks: Sequence[tuple[float, str]] = (),
    width: float = 640,
    height: float = 340,
    alt: str = "",
) -> Svg:
    """Draw lines, each labelled at its right end.

    Args:
        series: the lines; what a logarithmic axis cannot show is left out.
        x_label: the axis' name, with its unit.
        y_label: the axis' name, with its unit.
        title: the finding.
        x_limits: lowest and highest x; default: what the values need.
        y_limits: lowest and highest y; fix them in a live view, so that the axis holds still.
        log_x: whether x is logarithmic.
        log_y: whether y is logarithmic.
        y_names_like: leave room for this beside the y axis, so that charts one below the other start alike.
        marks: vertical lines, ``(x, label)``.
        width: pixels.
        height: pixels.
        alt: one sentence that says what the chart shows.
    """
    points = [(np.asarray(one.x, dtype=float).ravel(), np.asarray(one.y, dtype=float).ravel()) for one in series]
    for one, (x, y) in zip(series, points, strict=True):
        require(x.shape == y.shape, "line_chart", f"series {one.label!r}", "as many x as y", (x.size, y.size))
    bands = [_band(one, x) for one, (x, _) in zip(series, points, strict=True)]
    x_low, x_high = limits([x for x, _ in points], x_limits, log_x, 0.0)
    y_low, y_high = limits([*(y for _, y in points), *(edge for band in bands for edge in band)], y_limits, log_y, 0.06)
    picture = Svg(width, height, alt=alt or title)
    y_ticks, x_ticks = ticks(y_low, y_high, log=log_y), ticks(x_low, x_high, log=log_x, most=8)
    y_names, x_names = tick_names(y_ticks), tick_names(x_ticks)
    room = min(max((text_width(one.label, _TICK, bold=True) for one in series), default=0.0) + 16, width * 0.35)
    left = 40 + max(text_width(name, _TICK) for name in (*y_names, y_names_like))
    top, right, bottom = (36.0 if title else 16.0), width - max(room, 18.0), height - 50.0
    to_x, to_y = Scale(x_low, x_high, left, right, log_x), Scale(y_low, y_high, bottom, top, log_y)
    for value, name in zip(y_ticks, y_names, strict=True):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6", stroke_width=1)
        picture.text(left - 7, to_y(value) + 4, name, size=_TICK, anchor="end", fill=style.GREY)
    for value, name in zip(x_ticks, x_names, strict=True):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 18, name, size=_TICK, anchor="middle", fill=style.GREY)
    picture.polyline([(left, top), (left, bottom), (right, bottom)], stroke="#8c8c8c", stroke_width=1)
    picture.text((left + right) / 2, height - 12, shorten(x_label, right - left, _WORDS), size=_WORDS, anchor="middle")
    picture.text(
        18, (top + bottom) / 2, shorten(y_label, bottom - top, _WORDS), size=_WORDS, anchor="middle", rotate=-90
    )
    if title:
        picture.text(left, 22, shorten(title, width - left - 8, _TITLE, bold=True), size=_TITLE, bold=True)
    clip = (left, top - 2, right - left + 2, bottom - top + 4)
    for value, label in marks:
        if x_low <= value <= x_high:
            picture.line(to_x(value), top, to_x(value), bottom, stroke=style.GREY, stroke_width=1.2, dash=(3, 3))
            anchor = "start" if to_x(value) < (left + right) / 2 else "end"
            picture.text(to_x(value) + (5 if anchor == "start" else -5), top + 11, label, size=_TICK, anchor=anchor)
    for number, (one, (x, _), band) in enumerate(zip(series, points, bands, strict=True)):
        if band:
            across = [to_x(a) for a in x.tolist()]
            lower, upper = ([bottom if log_y and b <= 0 else to_y(b) for b in edge.tolist()] for edge in band)
            _draw_band(picture, across, lower, upper, _line(one, number).color, clip)
    ends = []
    for number, (one, (x, y)) in enumerate(zip(series, points, strict=True)):
        look = _line(one, number)
        where = [(to_x(a), to_y(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
        _draw_line(picture, where, look, one.markers, clip)
        seen = [(a, b) for a, b in where if math.isfinite(a) and math.isfinite(b) and a <= right + 1]
        if one.label and seen:
            height_there = min(max(max(seen)[1], top), bottom)
            ends.append(((bottom - height_there) / (bottom - top), one.label, look.color))
    ends.sort()
    shares = style.spread([share for share, _, _ in ends], 1.25 * _TICK / (bottom - top))
    for share, (_, label, color) in zip(shares, ends, strict=True):
        y_there = bottom - share * (bottom - top) + 4
        text = shorten(label, room - 12, _TICK, bold=True)
        picture.text(right + 8, y_there, text, size=_TICK, bold=True, fill=color)
    return picture


def _line(one: Series, number: int) -> style.Line:
    if isinstance(one.meaning, style.Line):
        return one.meaning
    if one.meaning is None:
        return style.LINES[number % len(style.LINES)]
    require(one.meaning in style.MEANINGS, "line_chart", "meaning", f"one of {sorted(style.MEANINGS)}", one.meaning)
    return style.MEANINGS[one.meaning]


def _band(one: Series, x: np.ndarray) -> tuple[np.ndarray, ...]:
    if one.band is None:
        return ()
    edges = tuple(np.asarray(edge, dtype=float).ravel() for edge in one.band)
    sizes = tuple(edge.size for edge in edges)
    require(sizes == (x.size, x.size), "line_chart", f"the band of {one.label!r}", f"two edges of {x.size}", sizes)
    return edges


def _draw_band(picture: Svg, x: list[float], lower: list[float], upper: list[float], color: str, clip: Any) -> None:
    """Shade every stretch without a gap."""
    stretch: list[tuple[float, float, float]] = []
    for corner in [*zip(x, lower, upper, strict=True), (math.nan,) * 3]:
        if all(map(math.isfinite, corner)):
            stretch.append(corner)
            continue
        if len(stretch) > 1:
            outline = [(a, low) for a, low, _ in stretch] + [(a, high) for a, _, high in reversed(stretch)]
            picture.polyline(outline, closed=True, fill=color, stroke="none", opacity=0.16, clip=clip)
        stretch = []


def _draw_line(picture: Svg, where: list[tuple[float, float]], look: style.Line, markers: bool, clip: Any) -> None:
    if not markers:
        picture.polyline(where, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes, clip=clip)
        return
    left, top, width, height = clip
    for x, y in where:
        if left - 2 <= x <= left + width + 2 and top - 2 <= y <= top + height + 2:
            draw_marker(picture, x, y, look)


def draw_marker(picture: Svg, x: float, y: float, look: style.Line) -> None:
    """Draw the marker of a line, in its colour: a square, a diamond, a triangle, or else a disc."""
    paint: dict[str, Any] = {"fill": look.color, "stroke": "#ffffff", "stroke_width": 1.0}
    corners = {"s": (45, 4, 5.4), "D": (0, 4, 5.4), "^": (-90, 3, 5.4), "v": (90, 3, 5.4)}.get(look.marker)
    if corners is None:
        picture.circle(x, y, 4.2, **paint)
        return
    turn, count, radius = corners
    angles = [math.radians(turn + 360 * number / count) for number in range(count)]
    picture.polyline([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles], closed=True, **paint)


def bar_chart(
    labels: Sequence[str],
    values: Any,
    *,
    value_label: str,
    title: str = "",
    write: str = ".3g",
    value_limits: tuple[float, float] | None = None,
    highlight: int | None = None,
    reference: tuple[float, str] | None = None,
    width: float = 640,
    alt: str = "",
) -> Svg:
    """Draw horizontal bars, each with its name before and its value behind it.

    Args:
        labels: the bars' names, from top to bottom.
        values: ``[bars]``; a bar that is not finite shows its value only.
        value_label: what the length means, with its unit.
        title: the finding.
        write: format of the written values.
        value_limits: lowest and highest value of the axis; default: all values and zero.
        highlight: the index of a bar to stand out.
        reference: a value to mark with a line, and its label: the exact one, or chance.
        width: pixels.
        alt: one sentence that says what the chart shows.
    """
    numbers = np.asarray(values, dtype=float).ravel()
    require(len(labels) == numbers.size > 0, "bar_chart", "labels", f"{numbers.size} names, at least one", len(labels))
    finite = [*numbers[np.isfinite(numbers)].tolist(), 0.0, *([reference[0]] if reference else [])]
    low, high = value_limits if value_limits is not None else (min(finite), max(finite))
    if low == high:
        high = low + 1.0
    written = [format(value, write).replace("-", "−") for value in numbers.tolist()]
    left = 20 + min(max(text_width(label, _WORDS) for label in labels), width * 0.4)
    beside = max(text_width(text, _TICK) for text in written) + 12
    top = 40.0 if title else 16.0
    if reference:
        top += 14
    row, right = 26.0, width - beside - 8
    bottom = top + row * len(labels)
    picture = Svg(width, bottom + 30, alt=alt or title)
    to_x = Scale(low, high, left + (beside if low < 0 else 0), right, False)
    if title:
        picture.text(16, 22, shorten(title, width - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    zero = to_x(min(max(0.0, low), high))
    for number, (label, value, text) in enumerate(zip(labels, numbers.tolist(), written, strict=True)):
        y = top + row * number
        strong = number == highlight
        picture.text(left - 6, y + 17, shorten(label, left - 18, _WORDS, bold=strong), anchor="end", bold=strong)
        end = to_x(min(max(value, low), high)) if math.isfinite(value) else zero
        color = style.VERMILION if strong else style.BLUE
        picture.rectangle(min(zero, end), y + 4, abs(end - zero), row - 8, fill=color)
        beyond = end < zero
        picture.text(end - 6 if beyond else end + 6, y + 17, text, size=_TICK, anchor="end" if beyond else "start")
    picture.line(zero, top, zero, bottom, stroke="#8c8c8c", stroke_width=1)
    if reference and low <= reference[0] <= high:
        x = to_x(reference[0])
        picture.line(x, top - 2, x, bottom, stroke=INK, stroke_width=1.6, dash=(4, 3))
        half = text_width(reference[1], _TICK) / 2
        picture.text(min(max(x, 8 + half), width - 8 - half), top - 6, reference[1], size=_TICK, anchor="middle")
    picture.text((left + right) / 2, bottom + 19, shorten(value_label, right - left, _WORDS), anchor="middle")
    return picture


def image_grid(
    images: Any,
    *,
    captions: Sequence[str] | None = None,
    columns: int | None = None,
    size: float = 64,
    title: str = "",
    marked: Sequence[int] = (),
    signed: bool = False,
    alt: str = "",
) -> Svg:
    """Draw images side by side with crisp pixels and a caption each.

    Args:
        images: ``[count, height, width]`` or ``[count, height, width, 3]``, values as in
            :func:`toolkit.core.svg.png_bytes`.
        captions: one a picture.
        columns: how many in a row; default: as many as 640 pixels hold.
        size: the longer side of a picture in pixels.
        title: the finding.
        marked: indices of pictures in a thick frame.
        signed: whether the values are signed: drawn with a diverging map about zero, the same for all.
        alt: one sentence that says what the pictures show.
    """
    stack = images.detach().cpu() if hasattr(images, "detach") else images
    array = np.asarray(stack)
    sound = array.ndim in (3, 4) and array.shape[0] > 0
    require(sound, "image_grid", "images", "[count, height, width] or [count, height, width, 3]", array.shape)
    if signed:
        import matplotlib

        array = matplotlib.colormaps[style.DIVERGING](style.centred(array)(array.astype(float)))
    names = [""] * len(array) if captions is None else list(captions)
    require(len(names) == len(array), "image_grid", "captions", f"{len(array)} captions", len(names))
    scale = size / max(array.shape[1:3])
    tall, wide = array.shape[1] * scale, array.shape[2] * scale
    cell = max(wide, min(max(text_width(name, _TICK) for name in names), 3 * wide)) + 12
    across = columns or max(1, min(len(array), int(624 // cell)))
    line = tall + (20 if captions is not None else 0) + 10
    top = 38.0 if title else 10.0
    width = max(across * cell + 16, min(text_width(title, _TITLE, bold=True) + 32, 640) if title else 0)
    picture = Svg(width, top + line * math.ceil(len(array) / across), alt=alt or title)
    if title:
        picture.text(14, 23, shorten(title, width - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    for number, (image, name) in enumerate(zip(array, names, strict=True)):
        x, y = 8 + cell * (number % across), top + line * (number // across)
        start = x + (cell - wide) / 2
        picture.image(start, y, wide, tall, image)
        strong = number in marked
        picture.rectangle(
            start - 1.5 * strong,
            y - 1.5 * strong,
            wide + 3 * strong,
            tall + 3 * strong,
            fill="none",
            stroke=style.VERMILION if strong else "#b0b0b0",
            stroke_width=3 if strong else 1,
        )
        if name:
            text = shorten(name, cell - 4, _TICK, bold=strong)
            picture.text(x + cell / 2, y + tall + 16, text, size=_TICK, anchor="middle", bold=strong)
    return picture

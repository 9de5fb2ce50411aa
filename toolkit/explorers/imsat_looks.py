"""How the methods around IMSAT look in pictures: a colour a family, a dash each, and scores seed by seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments.imsat_hashing import METHODS as HASH_METHODS
from toolkit.experiments.imsat_methods import METHODS
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, limits, tick_names, ticks

_DASHED, _DOTTED = (5.0, 1.6), (1.2, 1.2)
_LOOKS = {
    "VAT": style.Line(style.BLUE, "-", "o", 2.6),
    "VAT-c1": style.Line(style.BLUE, (0, _DASHED), "s"),
    "linear-VAT": style.Line(style.BLUE, (0, _DOTTED), "^", 1.8),
    "VAT-11th": style.Line(style.BLUE, (0, _DASHED), "s", 1.8),
    "VAT-scrambled": style.Line(style.VERMILION, (0, (6.0, 1.5, 1.2, 1.5)), "D", 1.8),
    "VAT-mean": style.Line(style.GREEN, (0, _DOTTED), "^", 1.8),
    "VAT+affine": style.Line(style.BLUE, (0, (6.0, 1.5, 1.2, 1.5)), "D", 1.8),
    "affine": style.Line(style.GREEN, (0, _DASHED), "s", 1.8),
    "RPT": style.Line(style.GREEN, "-", "o", 1.8),
    "RPT-same": style.Line(style.GREEN, (0, _DOTTED), "^", 1.8),
    "RIM": style.Line(style.PURPLE, "-", "o", 1.8),
    "linear-RIM": style.Line(style.PURPLE, (0, _DOTTED), "^", 1.8),
    "no-SAT": style.Line(style.PURPLE, "-", "o", 1.8),
    "k-means": style.Line(style.GREY, (0, _DASHED), "s", 1.8),
    "ITQ": style.Line(style.GREY, (0, _DASHED), "s", 1.8),
    "PCA": style.Line(style.GREY, (0, _DOTTED), "^", 1.8),
}
_OTHER = style.Line(style.GREY, "-", "o", 1.8)
_TITLES = {method.name: method.title for method in METHODS} | {name: title for name, (title, _) in HASH_METHODS.items()}
_TICK, _WORDS, _TITLE, _ROW, _APART = 12.0, 13.0, 14.0, 30.0, 6.0


def look_of(method: str) -> style.Line:
    """Return the line of a method: IMSAT with VAT is blue, random perturbations green, information alone purple."""
    return _LOOKS.get(method, _OTHER)


def title_of(method: str) -> str:
    """Return how a method is called in tables; a name that no study knows stands for itself."""
    return _TITLES.get(method, method)


@dataclass(frozen=True, eq=False)
class Strip:
    """A row of a picture: a method's scores.

    Attributes:
        label: before the row.
        values: one a seed; none is a row that says so.
        look: colour and marker.
        note: behind the row instead of mean ± standard deviation.
    """

    label: str
    values: Float[np.ndarray, " seeds"]
    look: style.Line
    note: str = ""


def spread_text(values: Float[np.ndarray, " seeds"], decimals: int = 1) -> str:
    """Write mean ± standard deviation (n − 1); the number itself if there is one only."""
    if values.size == 0:
        return "–"
    mean = f"{values.mean():,.{decimals}f}"
    return mean if values.size == 1 else f"{mean} ± {values.std(ddof=1):,.{decimals}f}"


def draw_strips(
    strips: Sequence[Strip],
    *,
    value_label: str,
    title: str,
    decimals: int = 1,
    value_limits: tuple[float, float] | None = None,
    width: float = 680.0,
) -> Svg:
    """Draw every value as a dot, the mean as a bar and mean ± standard deviation as a line, a row a method.

    Args:
        strips: from top to bottom.
        value_label: what the values are, with their unit.
        title: the finding.
        decimals: of the written means.
        value_limits: lowest and highest value of the axis; default: what the values need.
        width: pixels.
    """
    texts = [strip.note or spread_text(strip.values, decimals) for strip in strips]
    left = 22 + min(max(text_width(strip.label, _WORDS) for strip in strips), 0.42 * width)
    right = width - 20 - max(text_width(text, _TICK, bold=True) for text in texts)
    top, bottom = 44.0, 44.0 + _ROW * len(strips)
    picture = Svg(width, bottom + 48)
    picture.text(14, 24, shorten(title, width - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    spreads = [_ends(strip.values) for strip in strips if strip.values.size > 1]
    low, high = limits([*(strip.values for strip in strips), *spreads], value_limits, False, 0.04)
    to_x = Scale(low, high, left, right, False)
    values = ticks(low, high, most=6)
    for value, name in zip(values, tick_names(values), strict=True):
        picture.line(to_x(value), top, to_x(value), bottom, stroke="#e6e6e6", stroke_width=1)
        picture.text(to_x(value), bottom + 17, name, size=_TICK, anchor="middle", fill=style.GREY)
    picture.line(left, bottom, right, bottom, stroke="#8c8c8c", stroke_width=1)
    picture.text((left + right) / 2, bottom + 37, shorten(value_label, right - left, _WORDS), anchor="middle")
    for number, (strip, text) in enumerate(zip(strips, texts, strict=True)):
        y = top + _ROW * (number + 0.5)
        label = shorten(strip.label, left - 18, _WORDS)
        picture.text(left - 10, y + 5, label, size=_WORDS, anchor="end")
        picture.text(right + 10, y + 4, text, size=_TICK, bold=True)
        _draw_strip(picture, strip, to_x, y)
    return picture


def _draw_strip(picture: Svg, strip: Strip, to_x: Scale, y: float) -> None:
    values, colour = strip.values, strip.look.color
    if values.size == 0:
        return
    mean = float(values.mean())
    if values.size > 1:
        ends = [min(max(to_x(end), to_x.start), to_x.end) for end in _ends(values).tolist()]
        picture.line(*[ends[0], y, ends[1], y], stroke=colour, stroke_width=7, opacity=0.25)
    picture.line(to_x(mean), y - 10, to_x(mean), y + 10, stroke=colour, stroke_width=3)
    places = sorted(to_x(value) for value in values.tolist())
    for x, shift in zip(places, _shifts(places), strict=True):
        picture.circle(x, y + shift, 3.6, fill=colour, stroke="#ffffff", stroke_width=0.8)


def _shifts(places: Sequence[float]) -> list[float]:
    """Return how far to move each dot up or down so that it can be told from its neighbours; places are in order."""
    last = dict.fromkeys((0.0, -5.0, 5.0, -10.0, 10.0), -math.inf)
    shifts = []
    for x in places:
        free = [shift for shift, before in last.items() if x - before >= _APART]
        shift = free[0] if free else min(last, key=last.__getitem__)
        last[shift] = x
        shifts.append(shift)
    return shifts


def _ends(values: np.ndarray) -> np.ndarray:
    return values.mean() + values.std(ddof=1) * np.array([-1.0, 1.0])

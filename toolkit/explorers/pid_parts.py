"""The three parts of information as bars: one colour and hatch each, what is certain, what is open, and measures.

A bar is filled up to its lower bound and pale and hatched from there to its upper one. Measures are points in it; one
outside its interval is filled and tied to the nearest end. A chosen value is a line through all bars.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.disentanglement.exact import PID, PIDInterval
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, tick_names, ticks


@dataclass(frozen=True)
class Part:
    """How a part is called and how it looks.

    Attributes:
        name: in words.
        symbol: its letter.
        color: of bars and words.
        hatch: the second channel, as matplotlib writes it.
    """

    name: str
    symbol: str
    color: str
    hatch: str


PARTS = {
    "unique": Part("unique", "U", style.BLUE, ""),
    "redundant": Part("redundant", "R", style.VERMILION, "////"),
    "complementary": Part("complementary", "C", style.GREEN, "...."),
}
MEASURES = {"i_min": "I_min", "mmi": "MMI", "broja": "BROJA", "ccs": "CCS"}
"""Names of the measures of :func:`toolkit.disentanglement.exact.pid`, in the order of their points in a bar."""
_MARKERS = {"i_min": "o", "mmi": "^", "broja": "D", "ccs": "s"}
CHOSEN = style.Line(style.PURPLE, "-", "", 3.0)
"""The look of a value that the reader chose."""
NOISE = 1e-9
"""Values this near to each other are the same: a point this far outside its interval is inside."""


@dataclass(frozen=True)
class Bar:
    """One part of one decomposition.

    Attributes:
        part: a key of ``PARTS``.
        lower: its smallest value.
        upper: its largest one.
        label: in words below the bar; empty: the part's name.
        points: values by measure, keys of ``MEASURES`` or words of your own (these are drawn as discs).
        chosen: a value that the reader chose.
    """

    part: str
    lower: float
    upper: float
    label: str = ""
    points: Mapping[str, float] = field(default_factory=dict)
    chosen: float | None = None

    def __post_init__(self) -> None:
        require(self.part in PARTS, "Bar", "part", f"one of {', '.join(PARTS)}", repr(self.part))
        ends = f"{self.lower:g} to {self.upper:g}"
        sound = math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower <= self.upper + NOISE
        require(sound, "Bar", "lower, upper", "two finite numbers, lower <= upper", ends)

    @property
    def open(self) -> bool:
        """Whether the two ends differ."""
        return self.upper - self.lower > NOISE

    def outside(self, value: float) -> bool:
        """Return whether a value lies outside the interval, by more than rounding can do."""
        return value < self.lower - NOISE or value > self.upper + NOISE

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {name: dict(value) if name == "points" else value for name, value in vars(self).items()}


def bars_of(
    interval: PIDInterval,
    measures: Mapping[str, PID] | None = None,
    chosen: PID | None = None,
    *,
    sources: tuple[str, str] = ("a", "b"),
) -> tuple[Bar, Bar, Bar, Bar]:
    """Make the four bars of one system: unique to each source, redundant, complementary.

    Args:
        interval: of one system, not of a batch.
        measures: decompositions by name, in the same unit.
        chosen: the decomposition at a chosen redundancy.
        sources: what the two sources are called.
    """
    require(interval.width.ndim == 0, "bars_of", "interval", "that of one system", tuple(interval.width.shape))
    labels = (f"unique to {sources[0]}", f"unique to {sources[1]}", "", "")
    names = ("unique_1", "unique_2", "redundant", "complementary")
    made = []
    for name, label in zip(names, labels, strict=True):
        ends = getattr(interval, name)
        points = {measure: float(getattr(one, name)) for measure, one in (measures or {}).items()}
        here = None if chosen is None else float(getattr(chosen, name))
        made.append(Bar(name.partition("_")[0], float(ends.lower), float(ends.upper), label, points, here))
    return made[0], made[1], made[2], made[3]


def amount(value: float, decimals: int = 3) -> str:
    """Write a number with a true minus and without the noise of rounding: ``0.311``, ``−0.104``, ``0``."""
    rounded = round(round(value, 9), decimals)  # twice: rounding noise must not decide between 0.187 and 0.188
    if rounded == 0:
        return "0"
    return f"{rounded:.{decimals}f}".replace("-", "−")


def span(lower: float, upper: float, decimals: int = 3) -> str:
    """Write an interval, or the one number if its ends are written alike: ``0.189 to 0.500``."""
    first, last = amount(lower, decimals), amount(upper, decimals)
    return first if first == last else f"{first} to {last}"


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_SIZES, _SMALL = (12.5, 12.0, 11.5, 11.0), 12.0
_RIGHT = 12.0


def value_limits(bars: Sequence[Bar]) -> tuple[float, float]:
    """Return limits of an axis that holds every bar and point, and zero."""
    values = [0.0]
    for bar in bars:
        values += [bar.lower, bar.upper, *(value for value in bar.points.values() if math.isfinite(value))]
        values += [] if bar.chosen is None else [bar.chosen]
    low, high = min(values), max(values)
    high = max(high, low + 0.01)
    room = 0.06 * (high - low)
    return low - (room if low < -NOISE else 0.0), high + room


def parts_panel(
    groups: Mapping[str, Sequence[Bar]] | Sequence[Bar],
    *,
    width: float,
    height: float,
    value_label: str = "information (bits)",
    limits: tuple[float, float] | None = None,
    chosen_label: str = "your choice",
    key: bool = True,
) -> Svg:
    """Draw bars upright, for one decomposition or for groups of them; words that do not fit give way to letters.

    Args:
        groups: the bars, or bars by the name of their group.
        width: pixels.
        height: pixels, with the key above and the words below.
        value_label: what the height means, with its unit.
        limits: lowest and highest value of the axis; default: of :func:`value_limits`.
        chosen_label: what the key calls the line of chosen values.
        key: whether fills, points and the line are explained above.

    Returns:
        A picture without a frame, to be placed into another.
    """
    many = dict(groups) if isinstance(groups, Mapping) else {"": list(groups)}
    every = [bar for bars in many.values() for bar in bars]
    require(len(every) > 0, "parts_panel", "groups", "at least one bar", "none")
    limits = value_limits(every) if limits is None else limits
    picture = Svg(width, height, frame=False, background="none")
    marks = ticks(*limits, most=5)
    names = tick_names(marks)
    left = 42 + max(text_width(name, _SMALL) for name in names)
    top = 12 + (_draw_key(picture, every, 10.0, width - _RIGHT, chosen_label) if key else 0.0)
    grouped = any(many)
    slot = (width - _RIGHT - left) / (len(every) + 0.8 * (len(many) - 1))
    fits = [size for size in _SIZES if all(text_width(_name(bar), size, bold=True) <= slot - 2 for bar in every)]
    written = all(text_width(span(bar.lower, bar.upper), _SMALL) <= slot - 4 for bar in every)
    bottom = height - 8 - 19 - (17 if written else 0) - (20 if grouped else 0)
    to_y = Scale(*limits, bottom, top, False)
    for value, name in zip(marks, names, strict=True):
        picture.line(left, to_y(value), width - _RIGHT, to_y(value), stroke="#e6e6e6", stroke_width=1)
        picture.text(left - 7, to_y(value) + 4, name, size=_SMALL, anchor="end", fill=style.GREY)
    picture.text(18, (top + bottom) / 2, value_label, anchor="middle", rotate=-90)
    zero = to_y(min(max(0.0, limits[0]), limits[1]))
    picture.line(left, zero, width - _RIGHT, zero, stroke="#8c8c8c", stroke_width=1)
    x = left
    for group, bars in many.items():
        begin = x
        for bar in bars:
            draw_bar(picture, bar, x + 0.1 * slot, 0.8 * slot, to_y)
            look: dict[str, Any] = {"anchor": "middle", "fill": PARTS[bar.part].color}
            text = _name(bar) if fits else PARTS[bar.part].symbol
            picture.text(x + slot / 2, bottom + 18, text, size=fits[0] if fits else _SIZES[0], bold=True, **look)
            if written:
                ends = span(bar.lower, bar.upper)
                picture.text(x + slot / 2, bottom + 35, ends, size=_SMALL, anchor="middle", fill=style.GREY)
            x += slot
        _draw_chosen(picture, bars, begin, slot, to_y)
        for number, bar in enumerate(bars):
            draw_points(picture, bar, begin + (number + 0.1) * slot, 0.8 * slot, to_y)
        if group:
            room = max(x - begin + 0.7 * slot, 12.0)
            picture.text((begin + x) / 2, height - 9, shorten(group, room, _SMALL), size=_SMALL, anchor="middle")
        x += 0.8 * slot
    return picture


def draw_letters(picture: Svg, x: float, y: float) -> None:
    """Explain the letters of bars that are too narrow for words: ``U unique``, each in its colour.

    Args:
        picture: on which.
        x: where the words begin.
        y: their base line.
    """
    for look in PARTS.values():
        text = f"{look.symbol} {look.name}"
        picture.text(x, y, text, size=_SMALL, bold=True, fill=look.color)
        x += text_width(text, _SMALL, bold=True) + 8


def draw_bar(picture: Svg, bar: Bar, x: float, width: float, to_y: Scale) -> None:
    """Draw one bar: filled up to its lower end, hatched up to its upper one; no words, no points.

    Args:
        picture: on which.
        bar: what.
        x: its left edge.
        width: its width in pixels.
        to_y: from values to pixels.
    """
    look = PARTS[bar.part]
    zero, low, high = to_y(0.0), to_y(bar.lower), to_y(bar.upper)
    if bar.upper <= NOISE:
        picture.line(x, zero, x + width, zero, stroke=look.color, stroke_width=3)
    if bar.lower > NOISE:
        picture.rectangle(x, low, width, zero - low, fill=look.color, opacity=0.85)
    if bar.open:
        picture.rectangle(x, high, width, low - high, fill=look.color, opacity=0.16)
        _draw_hatch(picture, bar.part, (x, high, width, low - high))
        corners = [(x, low), (x, high), (x + width, high), (x + width, low)]
        picture.polyline(corners, stroke=look.color, stroke_width=1.6)


def draw_points(picture: Svg, bar: Bar, x: float, width: float, to_y: Scale) -> None:
    """Draw a bar's points side by side, each at its height; arguments as for :func:`draw_bar`."""
    shown = list(bar.points.items())
    for place, (measure, value) in enumerate(shown):
        if not math.isfinite(value):
            continue
        at = x + width * (place + 0.5) / len(shown)
        out = bar.outside(value)
        if out:
            end = to_y(bar.upper if value > bar.upper else bar.lower)
            picture.line(at, end, at, to_y(value), stroke=style.INK, stroke_width=1.6, dash=(3, 2))
        draw_point(picture, at, to_y(value), measure, outside=out)


def draw_point(picture: Svg, x: float, y: float, measure: str, *, outside: bool = False) -> None:
    """Draw a measure's marker: hollow inside its interval, filled outside."""
    marker = _MARKERS.get(measure, "o")
    paint: dict[str, Any] = {"fill": style.INK if outside else "#ffffff", "stroke": style.INK, "stroke_width": 1.6}
    if marker == "o":
        picture.circle(x, y, 4.6, **paint)
        return
    turn, count, radius = {"s": (45, 4, 5.8), "D": (0, 4, 6.2), "^": (-90, 3, 6.4)}[marker]
    angles = [math.radians(turn + 360 * number / count) for number in range(count)]
    corners = [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]
    picture.polyline(corners, closed=True, **paint)


def _draw_hatch(picture: Svg, part: str, box: tuple[float, float, float, float]) -> None:
    x, y, width, height = box
    paint: dict[str, Any] = {"stroke": PARTS[part].color, "opacity": 0.55, "clip": box}
    if part == "redundant":
        count = math.ceil((width + height) / 8)
        strokes: list[tuple] = []
        for number in range(count):
            strokes += [("M", x + 8 * number, y), ("L", x + 8 * number - height, y + height)]
        picture.path(strokes, stroke_width=1.2, **paint)
    elif part == "complementary":
        for row in range(math.ceil(height / 7)):
            at = y + height - 3.5 - 7 * row
            picture.line(x + 2 + 3.5 * (row % 2), at, x + width, at, stroke_width=2, dash=(2, 5), **paint)


def _draw_chosen(picture: Svg, bars: Sequence[Bar], x: float, slot: float, to_y: Scale) -> None:
    ends = []
    for number, bar in enumerate(bars):
        if bar.chosen is not None:
            begin = x + slot * number
            y = to_y(bar.chosen)
            ends += [(begin + 0.06 * slot, y), (begin + 0.94 * slot, y)]
    if ends:
        picture.polyline(ends, stroke="#ffffff", stroke_width=5)
        picture.polyline(ends, stroke=CHOSEN.color, stroke_width=CHOSEN.linewidth)


def _name(bar: Bar) -> str:
    return bar.label or PARTS[bar.part].name


def _draw_key(picture: Svg, bars: Sequence[Bar], left: float, right: float, chosen_label: str) -> float:
    """Explain what occurs, in as many lines as that needs; return their height."""
    entries = []
    if any(bar.lower > NOISE for bar in bars):
        entries.append(("certain", "certain"))
    if any(bar.open for bar in bars):
        entries.append(("open", "left open"))
    points = {measure: None for bar in bars for measure, value in bar.points.items() if math.isfinite(value)}
    entries += [(measure, MEASURES.get(measure, measure)) for measure in points]
    if any(bar.outside(value) for bar in bars for value in bar.points.values() if math.isfinite(value)):
        entries.append(("outside", "filled: outside"))
    if any(bar.chosen is not None for bar in bars):
        entries.append(("chosen", chosen_label))
    x, y = left, 14.0
    for kind, text in entries:
        wide = 22 + text_width(text, _SMALL)
        if x + wide > right and x > left:
            x, y = left, y + 19
        middle = x + 8
        if kind in ("certain", "open"):
            picture.rectangle(x + 1, y - 10, 14, 11, fill=style.GREY, opacity=0.85 if kind == "certain" else 0.2)
            if kind == "open":
                picture.rectangle(x + 1, y - 10, 14, 11, fill="none", stroke=style.GREY, stroke_width=1.2)
        elif kind == "chosen":
            picture.line(x, y - 4, x + 16, y - 4, stroke=CHOSEN.color, stroke_width=CHOSEN.linewidth)
        elif kind == "outside":
            picture.circle(middle, y - 4, 4.6, fill=style.INK, stroke=style.INK, stroke_width=1.6)
        else:
            draw_point(picture, middle, y - 4, kind)
        picture.text(x + 20, y, text, size=_SMALL)
        x += wide + 12
    return y - 14.0 + 22.0 if entries else 0.0

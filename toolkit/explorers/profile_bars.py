"""Profiles side by side: for each model, factor or seed the three parts of the information as bars.

A bar is filled up to its lower bound and hatched up to its upper one, a disc is the part by I_min, and a thin line
through an end is where that end may as well lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.disentanglement.bounds import PARTS
from toolkit.explorers import pid_parts
from toolkit.explorers.disentanglement_records import Parts
from toolkit.explorers.pid_parts import Bar
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, tick_names, ticks

_TICK = 12.0
ABOVE, BELOW = 8.0, 60.0
"""Pixels of a row of bars above and below its axes."""
MOST = 8
"""Groups in a row."""
_NARROW = 28.0  # pixels of a bar in which a third thin line would hide the disc


@dataclass(frozen=True)
class Group:
    """Three bars and what they are of.

    Attributes:
        name: below the bars.
        note: below the name.
        parts: by name.
    """

    name: str
    note: str
    parts: Parts

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"name": self.name, "note": self.note, "parts": {part: e.to_dict() for part, e in self.parts.items()}}


def highest(groups: Sequence[Group]) -> float:
    """Return the end of an axis that holds all bars, at most 1."""
    top = max(max(ends.upper, ends.upper_range[1]) for group in groups for ends in group.parts.values())
    return min(max(1.06 * top, 0.05), 1.04)


def draw_groups(picture: Svg, box: tuple[float, float, float, float], groups: Sequence[Group], top: float) -> None:
    """Draw one row of groups.

    Args:
        picture: on which.
        box: left, top, width and height in pixels, words included.
        groups: at least one.
        top: the highest value of the axis; the lowest is 0.
    """
    left, right = box[0] + 62, box[0] + box[2]
    above, bottom = box[1] + ABOVE, box[1] + box[3] - BELOW
    to_y = Scale(0.0, top, bottom, above, False)
    marks = ticks(0.0, top, most=5)
    for value, name in zip(marks, tick_names(marks), strict=True):
        picture.line(left, to_y(value), right, to_y(value), stroke="#8c8c8c" if value == 0 else "#e6e6e6")
        picture.text(left - 7, to_y(value) + 4, name, size=_TICK, anchor="end", fill=style.GREY)
    picture.text(box[0] + 18, (above + bottom) / 2, "share of H(y)", anchor="middle", rotate=-90)
    slot = min((right - left) / len(groups), 190.0)
    left += (right - left - slot * len(groups)) / 2
    for place, group in enumerate(groups):
        begin, step = left + place * slot + 0.08 * slot, 0.84 * slot / len(PARTS)
        for number, part in enumerate(PARTS):
            _draw_part(picture, part, group, begin + number * step, step, to_y)
            look = pid_parts.PARTS[part]
            x = begin + (number + 0.5) * step
            picture.text(x, bottom + 16, look.symbol, size=_TICK, bold=True, fill=look.color, anchor="middle")
        middle = left + (place + 0.5) * slot
        name, note = (shorten(text, slot - 2, _TICK, bold=False) for text in (group.name, group.note))
        picture.text(middle, bottom + 34, name, size=_TICK, anchor="middle")
        if note:
            picture.text(middle, bottom + 50, note, size=_TICK, anchor="middle", fill=style.GREY)


def _draw_part(picture: Svg, part: str, group: Group, x: float, step: float, to_y: Scale) -> None:
    ends = group.parts[part]
    width = 0.86 * step
    bar = Bar(part, ends.lower, ends.upper, points={"i_min": ends.i_min})
    pid_parts.draw_bar(picture, bar, x + 0.07 * step, width, to_y)
    middle = ends.i_min_range if step > _NARROW else None
    for share, span in ((0.13, ends.lower_range), (0.87, ends.upper_range), (0.5, middle)):
        if span is not None and span[1] - span[0] > pid_parts.NOISE:
            _draw_spread(picture, x + 0.07 * step + share * width, to_y(span[0]), to_y(span[1]))
    pid_parts.draw_points(picture, bar, x + 0.07 * step, width, to_y)


def _draw_spread(picture: Svg, x: float, low: float, high: float) -> None:
    picture.line(x, low, x, high, stroke="#ffffff", stroke_width=3.4)
    picture.line(x, low, x, high, stroke=style.INK, stroke_width=1.4)
    for y in (low, high):
        picture.line(x - 2.6, y, x + 2.6, y, stroke=style.INK, stroke_width=1.4)


def draw_key(picture: Svg, x: float, y: float, *, several: bool) -> None:
    """Explain letters, fills, disc and thin lines in one line of 690 pixels.

    Args:
        picture: on which.
        x: where it begins.
        y: its base line.
        several: whether bars are means over runs.
    """
    pid_parts.draw_letters(picture, x, y)
    x += sum(text_width(f"{p.symbol} {p.name}", _TICK, bold=True) + 8 for p in pid_parts.PARTS.values()) + 2
    for kind, text in (("certain", "certain"), ("open", "left open"), ("point", "I_min"), ("spread", _spread(several))):
        if kind == "point":
            pid_parts.draw_point(picture, x + 7, y - 4, "i_min")
        elif kind == "spread":
            _draw_spread(picture, x + 7, y + 1, y - 10)
        else:
            picture.rectangle(x, y - 10, 14, 11, fill=style.GREY, opacity=0.85 if kind == "certain" else 0.2)
            if kind == "open":
                picture.rectangle(x, y - 10, 14, 11, fill="none", stroke=style.GREY, stroke_width=1.2)
        picture.text(x + 19, y, text, size=_TICK)
        x += 29 + text_width(text, _TICK)


def _spread(several: bool) -> str:
    return "lowest, highest run" if several else "95 % of resamples"

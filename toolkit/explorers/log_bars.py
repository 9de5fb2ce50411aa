"""Bars on a logarithmic axis, one or several panels side by side that share the names of their rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.core.errors import require
from toolkit.core.svg import INK, Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.lessons import style
from toolkit.lessons.axis import Scale, power_name

_ROW, _WORDS, _TICK = 27.0, 12.5, 12.0


@dataclass(frozen=True)
class Panel:
    """One panel's bars.

    Attributes:
        title: above it.
        values: one a row; NaN writes nothing, zero stands left of the axis.
        written: the values as text, beside the bars.
    """

    title: str
    values: Sequence[float]
    written: Sequence[str]


def log_bars(
    names: Sequence[str],
    panels: Sequence[Panel],
    *,
    looks: Sequence[style.Line],
    decades: tuple[int, int],
    value_label: str,
    title: str,
    strong: Sequence[int] = (),
    reference: float | None = None,
    notes: Sequence[str] = (),
    width: float = 660.0,
) -> Svg:
    """Draw bars whose length is the logarithm of a value.

    Args:
        names: of the rows, from top to bottom.
        panels: side by side; all have the same axis.
        looks: of each row's bars; those whose line is not solid get a dashed outline.
        decades: first and last power of ten of the axis. Smaller values have no bar, larger ones end at the edge.
        value_label: what the length means.
        title: the finding.
        strong: rows with bold names.
        reference: bars start there, to the left or to the right; default: at the axis' left end.
        notes: lines below the axis.
        width: pixels.
    """
    require(len(names) > 0 and len(looks) == len(names), "log_bars", "names", "as many as looks", len(names))
    for panel in panels:
        sizes = (len(panel.values), len(panel.written))
        require(sizes == (len(names),) * 2, "log_bars", f"panel {panel.title!r}", f"{len(names)} values", sizes)
    first, last = decades
    require(first < last, "log_bars", "decades", "first < last", decades)
    low, high = 10.0**first, 10.0**last
    left = 22 + max(text_width(name, _WORDS, bold=number in strong) for number, name in enumerate(names))
    beside = 10 + max(text_width(text, _TICK) for panel in panels for text in panel.written)
    top = 66.0 if any(panel.title for panel in panels) else 44.0
    bottom = top + _ROW * len(names)
    picture = Svg(width, bottom + 46 + 19 * len(notes))
    picture.text(14, 24, shorten(title, width - 22, 14, bold=True), size=14, bold=True)
    for number, name in enumerate(names):
        bold = number in strong
        picture.text(left - 8, top + _ROW * number + 18, name, size=_WORDS, anchor="end", bold=bold, fill=INK)
    each = (width - left - 6) / len(panels)
    for place, panel in enumerate(panels):
        start = left + place * each
        to_x = Scale(low, high, start, start + each - beside - 6, True)
        _draw_panel(picture, panel, to_x, top, bottom, looks, reference)
    picture.text((left + width) / 2, bottom + 36, shorten(value_label, width - left, 13), anchor="middle")
    for number, note in enumerate(notes):
        picture.text(14, bottom + 58 + 19 * number, shorten(note, width - 20, 12), size=12, fill=style.GREY)
    return picture


def _draw_panel(
    picture: Svg,
    panel: Panel,
    to_x: Scale,
    top: float,
    bottom: float,
    looks: Sequence[style.Line],
    reference: float | None,
) -> None:
    if panel.title:
        picture.text(to_x.start, top - 12, panel.title, bold=True)
    most = (to_x.end - to_x.start) / (8 + text_width("10⁻⁴", _TICK))
    powers = range(round_log(to_x.low), round_log(to_x.high) + 1)
    for power in powers:
        x = to_x(10.0**power)
        picture.line(x, top, x, bottom, stroke="#e6e6e6", stroke_width=1)
        if len(powers) <= most or (power - powers[0]) % 2 == 0:
            picture.text(x, bottom + 17, power_name(10.0**power), size=_TICK, anchor="middle", fill=style.GREY)
    zero = to_x.start if reference is None else to_x(reference)
    for number, (value, text, look) in enumerate(zip(panel.values, panel.written, looks, strict=True)):
        y = top + _ROW * number
        end = to_x(min(max(value, to_x.low), to_x.high)) if value == value else zero
        begin, length = min(zero, end), abs(end - zero)
        if length > 0:
            picture.rectangle(
                begin, y + 5, length, _ROW - 10, fill=look.color, opacity=1.0 if look.linestyle == "-" else 0.45
            )
            if look.linestyle != "-":
                picture.rectangle(
                    begin, y + 5, length, _ROW - 10, fill="none", stroke=look.color, stroke_width=1.3, dash=(4, 2)
                )
        picture.text(max(end, zero) + 6, y + 18, text, size=_TICK)
    picture.line(zero, top, zero, bottom, stroke=INK if reference is not None else "#8c8c8c", stroke_width=1.4)


def round_log(value: float) -> int:
    """Return the power of ten nearest to a value."""
    return round(math.log10(value))

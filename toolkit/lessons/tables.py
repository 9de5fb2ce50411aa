"""Tables in a lesson: HTML in the page's own colours, so that they read on light and dark pages, and plain text."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.text_width import text_width
from toolkit.lessons.style import WIDEST

_SIZE, _PADDING = 13, 12  # CSS pixels: the largest text of JupyterLab's tables, and beside a cell's text


@dataclass(frozen=True, repr=False)
class Table:
    """Rows under headers with a caption; numbers stand right, words left. Made by :func:`table`."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    right: tuple[bool, ...]
    strong: tuple[int, ...]

    def _repr_html_(self) -> str:
        rule, cell = "1px solid rgba(128,128,128,0.45)", f"padding:3px {_PADDING}px;color:inherit;background:none;"

        def row(values: Sequence[str], tag: str, look: str) -> str:
            cells = "".join(
                f'<{tag}{" scope=" + chr(34) + "col" + chr(34) if tag == "th" else ""} style="{cell}'
                f'text-align:{"right" if right else "left"};{look}">{html.escape(value)}</{tag}>'
                for value, right in zip(values, self.right, strict=True)
            )
            return f"<tr>{cells}</tr>"

        above = "caption-side:top;text-align:left;color:inherit;font-weight:bold;padding:4px 0"
        if self._caption_on_one_line:
            above += ";white-space:nowrap"
        title = f'<caption style="{above}">{html.escape(self.caption)}</caption>' if self.caption else ""
        head = row(self.headers, "th", f"font-weight:bold;border-bottom:{rule};")
        body = "".join(
            row(values, "td", "font-weight:bold;" if index in self.strong else "")
            for index, values in enumerate(self.rows)
        )
        look = "border-collapse:collapse;font-variant-numeric:tabular-nums;margin:4px 0 10px 0;"
        look += f"border-top:{rule};border-bottom:{rule}"
        whole = f'<table style="{look}">{title}<thead>{head}</thead><tbody>{body}</tbody></table>'
        if self._narrowest() <= WIDEST:
            return whole
        return (
            f'<div tabindex="0" role="group" aria-label="table, scrolls sideways" style="overflow-x:auto">{whole}</div>'
        )

    def _narrowest(self) -> float:
        """Return an upper bound, in CSS pixels, of the width with a line break at every space that allows one."""
        looks = [True, *(index in self.strong for index in range(len(self.rows)))]
        columns = zip(self.headers, *self.rows, strict=True)
        cells = sum(
            2 * _PADDING + max(_longest_word(text, bold) for text, bold in zip(column, looks, strict=True))
            for column in columns
        )
        one_line = self._caption_on_one_line
        title = text_width(self.caption, _SIZE, bold=True) if one_line else _longest_word(self.caption, True)
        return max(cells, title)

    @property
    def _caption_on_one_line(self) -> bool:
        return len(self.caption) <= 80  # even above a narrow table

    def __repr__(self) -> str:
        columns = list(zip(self.headers, *self.rows, strict=True))
        widths = [max(len(value) for value in column) for column in columns]
        lines = [
            "  ".join(
                value.rjust(width) if right else value.ljust(width)
                for value, width, right in zip(values, widths, self.right, strict=True)
            ).rstrip()
            for values in (self.headers, *self.rows)
        ]
        return "\n".join(
            [*([self.caption] if self.caption else []), lines[0], "  ".join("-" * w for w in widths), *lines[1:]]
        )


def _longest_word(text: str, bold: bool) -> float:
    words = re.split(r"\s", text, flags=re.ASCII)  # no line ends at a no-break space, which str.split() takes too
    return max(text_width(word, _SIZE, bold=bold) for word in words)


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    caption: str = "",
    digits: int = 3,
    strong: Sequence[int] = (),
) -> Table:
    """Make a table for a cell's last line.

    Args:
        headers: one a column, with its unit.
        rows: the cells; None is an empty cell, a float is written with ``digits`` significant digits (well above its
            noise: a stored notebook is compared as text), everything else as its text.
        caption: the finding, or what the table lists.
        digits: significant digits of floats.
        strong: indices of rows in bold.

    Returns:
        An object that shows as HTML and prints as text.

    Raises:
        ValueError: a row with another number of cells than there are headers.
    """
    require(len(headers) > 0, "table", "headers", "at least one", list(headers))
    for index, row in enumerate(rows):
        require(len(row) == len(headers), "table", f"rows[{index}]", f"{len(headers)} cells", f"{len(row)} cells")
    numeric = tuple(
        len(rows) > 0 and all(value is None or _is_number(value) for value in column)
        for column in zip(*rows, strict=True)
    ) or (False,) * len(headers)
    written = tuple(tuple(_write(value, digits) for value in row) for row in rows)
    return Table(tuple(str(header) for header in headers), written, caption, numeric, tuple(strong))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float)) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0)


def _write(value: Any, digits: int) -> str:
    if value is None:
        return ""
    if _is_number(value) and hasattr(value, "item"):
        value = value.item()
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)

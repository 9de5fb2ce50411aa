"""A table of strings, as text for a terminal and as HTML that a screen reader can walk through."""

import html
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of strings under named columns.

    Attributes:
        columns: names of the columns; the first one names the row.
        rows: as many strings each as there are columns.
        caption: one sentence that says what the table shows.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def __repr__(self) -> str:
        return f"Table({len(self.rows)} rows: {', '.join(self.columns)})"

    def to_text(self, width: int = 36) -> str:
        """Return the table with aligned columns, none wider than ``width`` characters; long cells wrap."""
        blocks = [[_wrap(cell, width) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(len(line) for row in blocks for line in row[c]) for c in range(len(self.columns))]
        lines = []
        for number, row in enumerate(blocks):
            for part in range(max(map(len, row))):
                cells = [cell[part] if part < len(cell) else "" for cell in row]
                lines.append("  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip())
            if number == 0:
                lines.append("  ".join("─" * w for w in widths))
        return "\n".join(lines)

    def to_html(self) -> str:
        """Return a ``<table>`` with a caption and scoped headers."""
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.columns)
        body = "".join(f"<tr>{_html_cells(row)}</tr>" for row in self.rows)
        return (
            f"<table><caption>{html.escape(self.caption)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def to_frame(self):
        """Return a pandas frame of the strings."""
        import pandas

        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def _wrap(cell: str, width: int) -> list[str]:
    return [line for part in cell.splitlines() or [""] for line in textwrap.wrap(part, width) or [""]]


def _html_cells(row: Sequence[str]) -> str:
    first, *rest = (html.escape(cell).replace("\n", "<br>") for cell in row)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)

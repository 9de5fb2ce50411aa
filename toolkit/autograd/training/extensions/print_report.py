"""The log of a training as a table that grows: text in a terminal, HTML in a notebook."""

import html
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from toolkit.autograd.training.extension import Extension
from toolkit.autograd.training.extensions.log_report import LogReport
from toolkit.autograd.training.extensions.notebook import LiveHTML, has_widgets, in_notebook
from toolkit.autograd.training.extensions.subjects import keys_of
from toolkit.core.errors import argument_error

_NARROWEST = 10
_ROWS = 40  # on the page; a reader scrolls no further


class PrintReport(Extension):
    """Shows chosen columns of a :class:`LogReport`, one row for each of its entries.

    In a terminal the columns are aligned and a running progress bar stays below them. In a notebook the table is one
    HTML element that is updated, from whatever thread the training runs on. A value that an entry lacks stays blank;
    a column that none has filled is warned of at the end.
    After a resume the rows of the earlier sessions come first.

    Args:
        entries: the columns, keys of the log: ``["epoch", "main/loss", "elapsed_time"]``.
        log_report: the log's name in the trainer, or a LogReport of one's own, which is then called from here.
        out: a text stream. Default: the page in a notebook, else standard output.

    Attributes:
        rows: the rows shown so far, as lists of texts.
    """

    trigger = (1, "iteration")

    def __init__(self, entries: Sequence[str], log_report: str | LogReport = "LogReport", out: Any = None) -> None:
        self._entries = keys_of("PrintReport", "entries", entries)
        self._log_report = log_report
        self._out = out
        self._widths = [max(_NARROWEST, len(entry)) for entry in self._entries]
        self._shown = 0
        self._warns = True
        self._read: LogReport | None = None
        self._page: LiveHTML | None = None
        self.rows: list[list[str]] = []

    @property
    def widget(self) -> Any:
        """The ``ipywidgets.HTML`` with the table, to be placed by hand (``None`` without ipywidgets).

        Asked for before the training starts, the table is not displayed by itself any more.
        """
        if self._page is None and has_widgets():
            self._page = LiveHTML()
            self._page.set(self.to_html(), self.to_text())
        return None if self._page is None else self._page.widget

    def initialize(self, trainer: Any) -> None:
        """Write the head and, after a resume, the earlier rows."""
        if isinstance(self._log_report, LogReport):
            self._log_report.initialize(trainer)
        if self._out is None and self._page is None and in_notebook():
            self._page = LiveHTML()
            self._page.set(self.to_html(), self.to_text())
            self._page.display(self.to_text())
        if self._page is None:
            self._write(self._head())
        log = self._log(trainer, required=False)
        self._read = log
        if log is not None:
            self._show(log.log)

    def __call__(self, trainer: Any) -> None:
        """Show what is new in the log.

        Raises:
            ValueError: the trainer has no such LogReport.
        """
        log = self._log_report
        if isinstance(log, LogReport):
            log(trainer)
        else:
            log = self._log(trainer)
        self._read = log
        if len(log.log) != self._shown:
            self._show(log.log)

    def on_error(self, trainer: Any, error: BaseException, traceback: TracebackType | None) -> None:
        """Warn of no blank columns: they might have been filled yet."""
        self._warns = False

    def finalize(self) -> None:
        """Show the last row, which a log called after this has still got, and leave the table in the notebook."""
        if self._read is not None:
            self._show(self._read.log)
            self._warn_of_blanks(self._read.log)
            self._read = None
        if self._page is not None:
            self._page.finish({"text/html": self.to_html(), "text/plain": self.to_text()})
        if isinstance(self._log_report, LogReport):
            self._log_report.finalize()

    def _warn_of_blanks(self, log: list[dict[str, Any]]) -> None:
        # Not before the end: an evaluation may report for the first time in the last epoch.
        known = {key for entry in log for key in entry}
        blank = [key for key in self._entries if key not in known]
        if log and blank and self._warns:
            self._warns = False
            there = ", ".join(sorted(known))
            warnings.warn(f"PrintReport: nothing logged as {', '.join(blank)}; there is {there}", stacklevel=3)

    def _log(self, trainer: Any, required: bool = True) -> Any:
        if isinstance(self._log_report, LogReport):
            return self._log_report
        try:
            return trainer.get_extension(self._log_report)
        except (KeyError, ValueError):
            if not required:
                return None
            raise argument_error(
                "PrintReport",
                "log_report",
                "the name of a LogReport that the trainer has (call extend(LogReport()) first)",
                f"{self._log_report!r}, and there is none of that name",
            ) from None

    def _show(self, log: list[dict[str, Any]]) -> None:
        new = [[cell(entry.get(name), width) for name, width in self._columns()] for entry in log[self._shown :]]
        if not new:
            return
        self._shown = len(log)
        self.rows.extend(new)
        if self._page is not None:
            self._page.set(self.to_html(), self.to_text())
        else:
            for row in new:
                self._write(self._line(row))

    def _columns(self) -> list[tuple[str, int]]:
        return list(zip(self._entries, self._widths, strict=True))

    def _write(self, line: str) -> None:
        out = sys.stdout if self._out is None else self._out
        bars = sys.modules.get("tqdm")
        if bars is not None and hasattr(bars, "tqdm"):  # a bar on the same terminal is moved out of the way
            bars.tqdm.write(line, file=out)
        else:
            out.write(line + "\n")
        flush = getattr(out, "flush", None)
        if flush is not None:
            flush()

    def _line(self, cells: Sequence[str]) -> str:
        return "  ".join(f"{text:<{width}}" for text, (_, width) in zip(cells, self._columns(), strict=True)).rstrip()

    def _head(self) -> str:
        return self._line(self._entries)

    def to_text(self) -> str:
        """Return the table as aligned text."""
        return "\n".join([self._head(), *(self._line(row) for row in self.rows)])

    def to_html(self) -> str:
        """Return the table as HTML; of a long one only the newest rows."""
        # The page's own colours, so that it reads on light and dark themes.
        look = "text-align:right;padding:2px 14px 2px 0;font-variant-numeric:tabular-nums"
        head = "".join(f'<th scope="col" style="{look}">{html.escape(entry)}</th>' for entry in self._entries)
        shown = self.rows[-_ROWS:]
        body = "".join(
            "<tr>" + "".join(f'<td style="{look}">{html.escape(text)}</td>' for text in row) + "</tr>" for row in shown
        )
        hidden = len(self.rows) - len(shown)
        note = f'<caption style="text-align:left">the last {len(shown)} of {len(self.rows)} rows</caption>'
        return (
            '<div tabindex="0" role="group" aria-label="training log" style="overflow-x:auto;line-height:1.4">'
            f'<table style="border-collapse:collapse">{note if hidden else ""}'
            f'<thead><tr style="border-bottom:1px solid">{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of a LogReport of its own; the table itself is rebuilt from the log."""
        return {"log_report": self._log_report.state_dict()} if isinstance(self._log_report, LogReport) else {}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take up what :meth:`state_dict` returned."""
        if isinstance(self._log_report, LogReport) and "log_report" in state:
            self._log_report.load_state_dict(state["log_report"], strict)


def cell(value: Any, width: int) -> str:
    """Write a value into ``width`` characters: numbers with as many of six digits as fit, nothing for ``None``."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    for digits in range(6, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= width:
            return text
    return text

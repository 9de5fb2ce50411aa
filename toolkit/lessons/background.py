"""Views for work that takes longer than a blink: it runs in a thread, shows progress, and can be stopped."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from toolkit.core.errors import require
from toolkit.lessons.view import View

_BETWEEN_PICTURES = 0.15  # seconds; more pictures a second would only slow the work


@dataclass(frozen=True)
class Progress:
    """One step of long work: how much is done (0 to 1), the result so far, and a word about it."""

    fraction: float
    result: Any
    note: str = ""


class BackgroundView(View):
    """A view whose result takes seconds: a Run button starts it in a thread, Stop ends it between two steps.

    The picture grows with the work. Until Run is pressed it shows ``initial``, so that a reader who presses nothing,
    or has no kernel, still sees the point.

    Args:
        controls: as for :class:`~toolkit.lessons.view.View`; a change counts from the next run on.
        work: ``work(**values)`` yields :class:`Progress`, best several times a second; the last one is the result.
            It is closed when the reader stops it, so its ``finally`` blocks run. It runs in a thread of its own:
            torch's gradient mode is the default there, and random numbers come from a generator of its own.
        draw: as for ``View``; called with ``Progress.result``.
        describe: as for ``View``; called with ``Progress.result``.
        initial: the result shown first, computed quickly or recorded.
        title: a line above the controls.
        run_label: what the start button says.

    Attributes:
        running: whether work is going on.
    """

    def __init__(
        self,
        controls: Mapping[str, widgets.Widget],
        work: Callable[..., Iterator[Progress]],
        draw: Callable[[Any], Any],
        describe: Callable[[Any], str],
        *,
        initial: Any,
        title: str = "",
        run_label: str = "Run",
    ):
        self.work, self.initial = work, initial
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.run_button = widgets.Button(description=run_label, button_style="primary")
        self.stop_button = widgets.Button(description="Stop", disabled=True)
        for button in (self.run_button, self.stop_button):
            button.layout.width = "auto"
        self.progress = widgets.FloatProgress(
            value=0.0, min=0.0, max=1.0, description="Progress", style={"description_width": "initial"}
        )
        self.note = widgets.HTML()
        self.run_button.on_click(lambda _: self.run())
        self.stop_button.on_click(lambda _: self.stop())
        bar = widgets.HBox([self.run_button, self.stop_button, self.progress, self.note])
        bar.layout.flex_flow, bar.layout.align_items = "row wrap", "center"
        super().__init__(controls, lambda **_: self.initial, draw, describe, title=title, extra=(bar,))
        # Handles for style sheets and for tests that drive a page.
        self.add_class("toolkit-background-view")
        self.run_button.add_class("toolkit-run")
        self.stop_button.add_class("toolkit-stop")

    @property
    def running(self) -> bool:
        """Whether work is going on."""
        return self._thread is not None and self._thread.is_alive()

    def _changed(self, _: object) -> None:
        self.note.value = "The new setting counts from the next run on."

    def reset(self) -> None:
        """Stop, set every control to its first value and show the first picture again."""
        self.stop(wait=True)
        super().reset()
        self.progress.value, self.note.value = 0.0, ""

    def run(self) -> None:
        """Start working with the controls' present values; nothing happens while work is going on."""
        with self._gate:
            if self.running:
                return
            self._stop.clear()
            self.run_button.disabled, self.stop_button.disabled = True, False
            self.progress.value, self.progress.bar_style, self.note.value = 0.0, "", "Starting"
            self._thread = threading.Thread(target=self._work, args=(self.values(),), name="toolkit-work", daemon=True)
            self._thread.start()

    def stop(self, *, wait: bool = False, timeout: float = 10.0) -> None:
        """Ask the work to end after its present step; ``wait`` for that at most ``timeout`` seconds."""
        self._stop.set()
        if wait:
            self.join(timeout)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the work to end; returns whether it has."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)
        return not self.running

    def close(self) -> None:
        """Stop the work and take the widget off the page."""
        self._stop.set()
        super().close()

    def _work(self, values: dict[str, Any]) -> None:
        steps: Iterator[Progress] | None = None
        last: Progress | None = None
        drawn: Progress | None = None
        ending, style = "Done", "success"
        try:
            steps = self.work(**values)
            quiet_until = 0.0
            for step in steps:
                require(isinstance(step, Progress), "BackgroundView", "work", "yields Progress", type(step).__name__)
                last = step
                self.progress.value = min(max(float(last.fraction), 0.0), 1.0)
                self.note.value = last.note
                if time.monotonic() >= quiet_until:
                    self.show_result(last.result)
                    drawn, quiet_until = last, time.monotonic() + _BETWEEN_PICTURES
                if self._stop.is_set():
                    ending, style = "Stopped", "warning"
                    break
            if last is not None and last is not drawn:
                self.show_result(last.result)
        except Exception as error:
            ending, style = "Failed", "danger"
            self.show_error(error)
        finally:
            try:
                close = getattr(steps, "close", None)  # generators have it, other iterators need not
                if close is not None:
                    close()
            except Exception as error:
                ending, style = "Failed", "danger"
                self.show_error(error)
            note = f": {last.note}" if last is not None and last.note else ""
            self.note.value, self.progress.bar_style = ending + note, style
            self.run_button.disabled, self.stop_button.disabled = False, True

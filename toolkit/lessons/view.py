"""The one widget class of all explorers: controls, a picture, and a sentence that says what the picture shows.

A callback of a widget runs on another thread than the cells. So a view computes and draws under one lock, uses neither
pyplot nor ``Output``, and of many changes that arrive while it is busy computes only the last.
"""

import html
import threading
from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.lessons.controls import accessible_names
from toolkit.lessons.picture import Picture, as_picture

_ROUNDS = 25  # recomputations that one computation may cause by setting its own controls


class View(widgets.VBox):
    """Controls → ``compute`` → ``draw`` and ``describe``: each change of a control gives a new picture and sentence.

    Args:
        controls: widgets by the name of ``compute``'s argument, from :mod:`toolkit.lessons.controls`; at most four
            read well.
        compute: ``compute(**values) -> result``; plain, testable without a kernel. Torch's gradient mode is per
            thread: open ``torch.no_grad()`` inside it, and draw random numbers from a generator of its own.
        draw: ``draw(result)`` → ``Figure``, :class:`~toolkit.core.svg.Svg`, PNG bytes or SVG text; or a
            :class:`~toolkit.lessons.picture.LiveFigure`, the quick way for matplotlib.
        describe: ``describe(result)`` → the finding with its numbers in one sentence; shown below the picture, read
            aloud when it changes, and the picture's text alternative.
        title: a line above the controls.
        extra: widgets between controls and picture that ``compute`` does not see, for example buttons.

    Attributes:
        controls: the widgets by name; set ``.value`` to do what a reader does.
        result: what ``compute`` returned last without an error.
        picture: the HTML widget with the picture as ``<img alt=…>`` or ``<svg>``.
        status: the HTML widget with the sentence (``role="status"``) or the error (``role="alert"``).
        drawn: the last :class:`~toolkit.lessons.picture.Picture`, or None before the first.
        text: the last sentence, or the last error's.
        error: the exception of the last computation, or None.
        lock: held while computing and drawing; take it to change what they read.
    """

    def __init__(
        self,
        controls: Mapping[str, widgets.Widget],
        compute: Callable[..., Any],
        draw: Callable[[Any], Any],
        describe: Callable[[Any], str],
        *,
        title: str = "",
        extra: tuple[widgets.Widget, ...] = (),
    ):
        for name, control in controls.items():
            has_value = isinstance(control, widgets.Widget) and control.has_trait("value")
            require(has_value, "View", f"controls[{name!r}]", "a widget with a value", type(control).__name__)
        self.lock = threading.RLock()
        self._gate = threading.Lock()
        self._wanted, self._owner, self._held = 0, 0, False
        self.controls, self.compute, self.draw, self.describe = dict(controls), compute, draw, describe
        self.defaults = {name: control.value for name, control in controls.items()}
        self.result: Any = None
        self.drawn: Picture | None = None
        self.text = ""
        self.error: Exception | None = None
        self.picture = widgets.HTML()
        self.status = widgets.HTML()
        self.status.add_class("toolkit-status")
        self.reset_button = widgets.Button(
            description="Reset", tooltip="Back to the first setting", layout=widgets.Layout(width="80px")
        )
        self.reset_button.on_click(lambda _: self.reset())
        super().__init__(self._arrange(title, extra))
        self.add_class("toolkit-view")
        self.refresh()
        for control in self.controls.values():
            control.observe(self._changed, "value")

    def _arrange(self, title: str, extra: tuple[widgets.Widget, ...]) -> list[widgets.Widget]:
        panel = widgets.HBox(
            [*self.controls.values(), *extra, *([self.reset_button] if self.controls else [])],
            layout=widgets.Layout(flex_flow="row wrap", align_items="center", grid_gap="2px 14px"),
        )
        head = [widgets.HTML(f"<b>{html.escape(title)}</b>")] if title else []
        return [*head, panel, self.picture, self.status, *accessible_names()]

    def _changed(self, _: object) -> None:
        if not self._held:
            self.refresh()

    @property
    def png(self) -> bytes | None:
        """The present picture as PNG, or None before the first and where ``draw`` gave SVG text."""
        drawn = self.drawn
        if drawn is None:
            return None
        return drawn.svg.to_png() if isinstance(drawn.svg, Svg) else drawn.png

    def values(self) -> dict[str, Any]:
        """Return what ``compute`` would be called with now."""
        return {name: control.value for name, control in self.controls.items()}

    def reset(self) -> None:
        """Set every control to its first value and refresh once."""
        self._held = True
        try:
            for _ in range(2):  # twice: a control's limits may follow another control's value
                for name, value in self.defaults.items():
                    self.controls[name].value = value
        finally:
            self._held = False
        self.refresh()

    def refresh(self, _: object = None) -> None:
        """Compute and draw for the present values; if another thread is at it, that thread will when it is done."""
        me = threading.get_ident()
        with self._gate:
            self._wanted += 1
            if self._owner:
                return
            self._owner = me
        done, rounds = -1, 0
        try:
            while True:
                with self._gate:
                    if done == self._wanted or rounds == _ROUNDS:
                        self._owner = 0
                        return
                    done = self._wanted
                rounds += 1
                with self.lock:
                    self._show_present_values()
        except BaseException:  # an interrupt must not leave the view deaf
            with self._gate:
                self._owner = 0
            raise

    def _show_present_values(self) -> None:
        try:
            self.show_result(self.compute(**self.values()))
        except Exception as error:
            self.show_error(error)

    def show_result(self, result: Any) -> None:
        """Draw and describe ``result``."""
        with self.lock:
            picture, text = as_picture(self.draw(result)), str(self.describe(result))
            self.result, self.drawn, self.text, self.error = result, picture, text, None
            self.picture.value = picture.to_html(text)
            self.status.value = f'<div role="status" style="line-height:1.4">{html.escape(text)}</div>'

    def show_error(self, error: Exception) -> None:
        """Say what went wrong where the reader looks; the picture, now out of date, is dimmed."""
        with self.lock:
            self.error = error
            self.text = f"{type(error).__name__}: {error}"
            message = html.escape(self.text).replace("\n", "<br>")
            self.status.value = (
                '<div role="alert" style="line-height:1.4;border-left:4px solid #D55E00;padding-left:8px">'
                f"{message}</div>"
            )
            if self.drawn is not None:
                old = self.drawn.to_html("The picture of the setting before this error.")
                self.picture.value = f'<div style="opacity:0.35">{old}</div>'

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """One output for three readers: the live widget, a picture, and a sentence."""
        data = dict(super()._repr_mimebundle_(**options) or {})
        with self.lock:
            if self.drawn is None or self.error is not None:
                return data | {"text/plain": self.text}, {}
            bundle, metadata = self.drawn.to_bundle(self.text)
        return data | bundle, metadata

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.values().items())})"

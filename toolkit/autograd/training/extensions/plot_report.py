"""Curves of what a training reports: a picture file, and in a notebook a picture that moves."""

import base64
import html
import io
import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from toolkit.autograd.training.extension import Extension
from toolkit.autograd.training.extensions.notebook import LiveHTML, has_widgets, in_notebook
from toolkit.autograd.training.extensions.subjects import keys_of
from toolkit.autograd.training.interval_triggers import get_trigger, load_into, state_of
from toolkit.autograd.training.summaries import DictSummary
from toolkit.core.errors import require
from toolkit.core.files import atomic_write

_SHARPNESS = 1.5  # device pixels a CSS pixel
_SHARE = 0.1  # of the time may go into drawing live
_MARKED = 30  # so few points are marked
_LARGEST = 1e100
_AXES = {"iteration": "iteration", "epoch": "epoch", "elapsed_time": "time (seconds)"}


class PlotReport(Extension):
    """Draws means of observations over the training, one point at each firing of its trigger.

    The figure is a :class:`matplotlib.figure.Figure` that pyplot does not know, built once; afterwards its lines are
    given new data. It may be drawn from any thread.

    Args:
        y_keys: what to draw, a key or several: ``["main/loss", "validation/main/loss"]``.
        x_key: ``"iteration"``, ``"epoch"`` (in fractions), ``"elapsed_time"`` or the key of an observation.
        trigger: when a point is added and the picture drawn.
        file_name: file in the trainer's ``out``, its ending names the format (png, svg, pdf); ``None`` writes none.
        live: show the picture on the notebook's page and keep it up to date, at a tenth of the time at most. Outside
            of a notebook, or without ipywidgets, a file is written in its place, ``plot.png`` if there is no name.
        log_y: logarithmic y axis; values that are not positive leave gaps.
        title: over the picture.
        y_label: default: the last part of the keys, if they agree in it.
        size: width and height in inches; 6.6 fill a notebook's 640 pixels.

    Attributes:
        alt: the picture in a sentence, with the latest values.
        figure: the figure, or ``None`` before the first drawing.
    """

    trigger = (1, "iteration")

    def __init__(
        self,
        y_keys: str | Sequence[str],
        x_key: str = "iteration",
        *,
        trigger: Any = (1, "epoch"),
        file_name: str | None = "plot.png",
        live: bool = False,
        log_y: bool = False,
        title: str = "",
        y_label: str | None = None,
        size: tuple[float, float] = (6.6, 3.6),
    ) -> None:
        self._y_keys = keys_of("PlotReport", "y_keys", y_keys)
        require(bool(self._y_keys), "PlotReport", "y_keys", "at least one key", y_keys)
        fits = isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(side, Real) for side in size)
        require(fits and min(size) > 0, "PlotReport", "size", "width and height in inches", repr(size))
        ending = "png" if file_name is None else Path(file_name).suffix[1:].lower()
        require(
            ending in ("png", "svg", "pdf"), "PlotReport", "file_name", "a name ending in png, svg or pdf", file_name
        )
        self._x_key = x_key
        self._every = get_trigger(trigger)
        self._file_name = file_name
        self._live = live
        self._log_y, self._title, self._y_label, self._size = log_y, title, y_label, size
        self._wanted = {*self._y_keys, x_key}
        self._means = DictSummary()
        self._points: dict[str, list[tuple[float, float]]] = {key: [] for key in self._y_keys}
        self._page: LiveHTML | None = None
        self._lines: dict[str, Any] = {}
        self._markers: dict[str, str] = {}
        self._labels: list[Any] = []
        self._known: tuple[str, ...] | None = None
        self._warned = False
        self._pending = False
        self._next_drawing = 0.0
        self.figure: Any = None

    @property
    def widget(self) -> Any:
        """The ``ipywidgets.HTML`` with the picture, to be placed by hand (``None`` without ipywidgets).

        Asked for before the training starts, the picture is not displayed by itself any more.
        """
        if self._page is None and has_widgets():
            self._page = LiveHTML()
            self._show()
        return None if self._page is None else self._page.widget

    def initialize(self, trainer: Any) -> None:
        """Put the picture on the page, with the points of earlier sessions."""
        if not self._live:
            return
        if self._page is None and in_notebook() and has_widgets():
            self._page = LiveHTML()
            self._show()
            self._page.display(self.alt)
        elif self._page is None:
            self._file_name = self._file_name or "plot.png"
        elif any(self._points.values()):
            self._show()

    def __call__(self, trainer: Any) -> None:
        """Add the iteration's observation, and a point if it is time.

        Raises:
            WriteError: the file cannot be written.
        """
        observation = trainer.observation
        self._means.add({key: observation[key] for key in self._wanted if key in observation})
        if self._every(trainer):
            self._add_point(trainer, observation)

    def _add_point(self, trainer: Any, observation: Mapping[str, Any]) -> None:
        means = self._means.compute_mean()
        self._means = DictSummary()
        if self._x_key in _AXES:
            x = trainer.epoch_detail if self._x_key == "epoch" else getattr(trainer, self._x_key)
        else:
            x = means.get(self._x_key, math.nan)
        for key in self._y_keys:
            if key in means:
                self._points[key].append((float(x), means[key]))
        self._known = tuple(observation)
        if trainer.epoch >= 1:  # by then an evaluation should have reported, too
            self._warn_of_missing()
        if self._file_name is not None:
            path = Path(trainer.out) / self._file_name
            with atomic_write(path) as file:
                self.save(file, path.suffix[1:].lower())
        self._pending = True
        if self._page is not None and time.monotonic() >= self._next_drawing:
            self._show()

    def _warn_of_missing(self) -> None:
        missing = [key for key in self._y_keys if not self._points[key]]
        if missing and not self._warned:
            self._warned = True
            known = ", ".join(sorted(self._known or ())) or "nothing"
            warnings.warn(f"PlotReport: nothing reported as {', '.join(missing)}; there is {known}", stacklevel=3)

    def finalize(self) -> None:
        """Show the last points and leave the picture in the notebook; warn of keys that were never reported."""
        if self._known is not None:
            self._warn_of_missing()
        if self._page is not None:
            if self._pending:
                self._show()
            data = base64.b64encode(self.to_png()).decode()
            width, height = (round(side * 96) for side in self._size)
            metadata = {"image/png": {"alt": self.alt, "width": width, "height": height}}
            self._page.finish({"image/png": data, "text/plain": self.alt}, metadata)

    def _show(self) -> None:
        started = time.monotonic()
        assert self._page is not None
        data = base64.b64encode(self.to_png()).decode()
        width, height = (round(side * 96) for side in self._size)
        place = f'width="{width}" height="{height}" style="max-width:100%;height:auto"'
        self._page.set(f'<img alt="{html.escape(self.alt)}" {place} src="data:image/png;base64,{data}">', self.alt)
        self._pending = False
        now = time.monotonic()
        self._next_drawing = now + (now - started) / _SHARE

    @property
    def alt(self) -> str:
        names = " and ".join(self._y_keys)
        over = _AXES.get(self._x_key, self._x_key)
        kind = ", logarithmic scale" if self._log_y else ""
        last = [(key, points[-1]) for key, points in self._points.items() if points]
        if not last:
            return f"{names} over {over}{kind}: no points yet."
        values = ", ".join(f"{key} {y:.4g}" for key, (_, y) in last)
        count = max(len(points) for points in self._points.values())
        return (
            f"{names} over {over}{kind}, {count} point{'s' if count != 1 else ''}. "
            f"Latest, at {over} {max(x for _, (x, _) in last):,.6g}: {values}."
        )

    def to_png(self) -> bytes:
        """Return the picture as PNG, as it is shown in a notebook."""
        buffer = io.BytesIO()
        self.save(buffer, "png")
        return buffer.getvalue()

    def save(self, file: Any, format: str = "png") -> None:
        """Draw the picture into a binary file.

        Args:
            file: an open file.
            format: ``"png"``, ``"svg"`` or ``"pdf"``.
        """
        import matplotlib

        from toolkit.core import plotting

        # No dates and no versions: the same curves are the same bytes.
        words = {
            "png": {"Description": self.alt, "Software": None},
            "svg": {"Description": self.alt, "Title": self._title or self.alt, "Date": None, "Creator": None},
            "pdf": {"Subject": self.alt, "CreationDate": None, "Creator": None, "Producer": None},
        }[format]
        with plotting.settings(), matplotlib.rc_context({"svg.hashsalt": "plot", "svg.fonttype": "path"}):
            self._update_artists()
            dpi = plotting.PIXELS_PER_INCH * _SHARPNESS
            self.figure.savefig(file, format=format, dpi=dpi, metadata=words)

    def _update_artists(self) -> None:
        from toolkit.core import plotting

        if self.figure is None:
            self._build()
        where = self.figure.axes[0]
        for label in self._labels:
            label.remove()
        self._labels = []
        for key, line in self._lines.items():
            xs = [x for x, _ in self._points[key]]
            ys = [y if self._can_be_drawn(y) else math.nan for _, y in self._points[key]]
            line.set_data(xs, ys)
            line.set_marker(self._markers[key] if len(xs) <= _MARKED else "")
        where.relim()
        where.autoscale_view()
        if len(self._lines) > 1:
            shown = [line for line in self._lines.values() if len(line.get_xdata())]
            self._labels = plotting.label_lines(where, shown)

    def _can_be_drawn(self, y: float) -> bool:
        # Beyond, matplotlib's limits overflow.
        return 1 / _LARGEST < y < _LARGEST if self._log_y else abs(y) < _LARGEST

    def _build(self) -> None:
        from matplotlib.ticker import MaxNLocator

        from toolkit.core import plotting

        where = plotting.axes(width=self._size[0], height=self._size[1], title=self._title)
        self.figure = where.figure
        for index, key in enumerate(self._y_keys):
            # From the sixth line on, colours come again with another dash and marker.
            count = len(plotting.LINES)
            dash = plotting.LINES[(index + index // count) % count]
            look = dash.to_dict() | {"color": plotting.LINES[index % count].color}
            (self._lines[key],) = where.plot([], [], label=key, **look)
            self._markers[key] = dash.marker
        if self._log_y:
            where.set_yscale("log", nonpositive="mask")
        if self._x_key == "iteration":
            where.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        where.set_xlabel(_AXES.get(self._x_key, self._x_key))
        where.set_ylabel(self._label_of_y())

    def _label_of_y(self) -> str:
        if self._y_label is not None:
            return self._y_label
        if len(self._y_keys) == 1:
            return self._y_keys[0]
        ends = {key.rsplit("/", 1)[-1] for key in self._y_keys}
        return ends.pop() if len(ends) == 1 else "value"

    def state_dict(self) -> dict[str, Any]:
        """Return the points and the half-filled mean."""
        return {
            "points": json.dumps(self._points),
            "means": self._means.state_dict(),
            "trigger": state_of(self._every),
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take up what :meth:`state_dict` returned; keys that are drawn no more are dropped, new ones start empty."""
        if "points" in state:
            loaded = json.loads(str(state["points"]))
            self._points = {key: [(x, y) for x, y in loaded.get(key, [])] for key in self._y_keys}
        if "means" in state:
            self._means.load_state_dict(state["means"])
        load_into(self._every, state.get("trigger"))

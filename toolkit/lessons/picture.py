"""From whatever a drawing function returns to the one thing a page needs: PNG or SVG with a size and words.

Matplotlib figures become PNG at 1.5 device pixels a CSS pixel, in a thin grey frame, so that they stand on a light
and on a dark page. A :class:`LiveFigure` is built once; afterwards only the artists that changed are drawn again.
"""

import base64
import html
import io
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from toolkit.core.errors import argument_error, reject, require
from toolkit.core.svg import Svg
from toolkit.lessons import style

SHARPNESS = 1.5  # device pixels a CSS pixel


@dataclass(frozen=True)
class Picture:
    """A finished picture: PNG bytes or an SVG (or both), and its size in CSS pixels."""

    width: int
    height: int
    png: bytes | None = None
    svg: Svg | str | None = None

    def __repr__(self) -> str:
        kinds = [name for name in ("png", "svg") if getattr(self, name) is not None]
        return f"Picture({self.width} x {self.height}, {' and '.join(kinds)})"

    def to_html(self, alt: str) -> str:
        """Return an ``<img>`` or ``<svg>`` element that says ``alt`` to a reader who does not see it."""
        if isinstance(self.svg, Svg):
            element = self.svg.to_string(alt=alt)
        elif self.svg is not None:
            element = f'<div role="img" aria-label="{html.escape(alt)}">{self.svg}</div>'
        else:
            data = base64.b64encode(self.png or b"").decode()
            place = f'width="{self.width}" height="{self.height}" style="max-width:100%;height:auto"'
            return f'<img alt="{html.escape(alt)}" {place} src="data:image/png;base64,{data}">'
        focus = 'tabindex="0" role="group" aria-label="picture, scrolls sideways" ' if self.width > style.WIDEST else ""
        return f'<div {focus}style="overflow-x:auto;line-height:0">{element}</div>'

    def to_bundle(self, alt: str) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the mimebundle and its metadata for readers without a kernel."""
        if self.png is None and not isinstance(self.svg, Svg):
            return {"image/svg+xml": str(self.svg), "text/plain": alt}, {}
        png = self.svg.to_png() if isinstance(self.svg, Svg) else smallest(self.png or b"")
        bundle = {"image/png": base64.b64encode(png).decode(), "text/plain": alt}
        return bundle, {"image/png": {"alt": alt, "width": self.width, "height": self.height}}


def as_picture(drawn: Any) -> Picture:
    """Turn what a drawing function returned into a :class:`Picture`.

    Args:
        drawn: a matplotlib ``Figure`` (or an ``Axes``: its figure), an :class:`toolkit.core.svg.Svg`, SVG text, PNG
            bytes (one CSS pixel a pixel) or a ``Picture``.

    Raises:
        TypeError: anything else.
        ValueError: bytes that are no PNG, or text that is no SVG.
    """
    if isinstance(drawn, Picture):
        return drawn
    if isinstance(drawn, Svg):
        return Picture(round(drawn.width), round(drawn.height), svg=drawn)
    if isinstance(drawn, bytes):
        require(drawn[:8] == b"\x89PNG\r\n\x1a\n" and len(drawn) > 24, "draw", "bytes", "a PNG file", drawn[:16])
        width, height = struct.unpack(">II", drawn[16:24])
        return Picture(width, height, png=drawn)
    if isinstance(drawn, str):
        require("<svg" in drawn[:400], "draw", "text", "an <svg> element", drawn[:60])
        return Picture(0, 0, svg=drawn[drawn.index("<svg") :])
    if isinstance(drawn, Artist) and not isinstance(drawn, Figure):
        drawn = drawn.get_figure(root=True)
    if isinstance(drawn, Figure):
        with style.settings():
            drawn.set_dpi(style.PIXELS_PER_INCH * SHARPNESS)
            canvas = FigureCanvasAgg(drawn)
            canvas.draw()
            return _from_canvas(canvas, level=1)
    return reject("draw", "result", "a Figure, Svg, PNG bytes or SVG text", type(drawn).__name__, kind=TypeError)


def smallest(png: bytes) -> bytes:
    """Return the image as small as PNG gets it without a visible change, and without metadata: for files."""
    with Image.open(io.BytesIO(png)) as opened:
        opened.load()
        opaque = opened.mode == "RGBA" and opened.getchannel("A").getextrema() == (255, 255)
        image = opened.convert("RGB") if opaque else opened.copy()
    image.info = {}
    if image.mode == "RGB":
        few = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        change = np.asarray(few.convert("RGB"), dtype=np.int16) - np.asarray(image, dtype=np.int16)
        if np.abs(change).max() <= 10:  # of 255: a palette is enough for most charts, and less than half the bytes
            image = few
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


class LiveFigure:
    """A matplotlib drawing function for :class:`toolkit.lessons.View` that draws only what changed.

    The figure is built at the first call. Every artist in what ``build`` returns is taken out of the background, which
    is drawn once; ``update`` then changes those artists and they alone are drawn. If ``update`` changes anything else
    (an axis limit, a tick, a title), the background is drawn again: right, but slower (about 50 ms against 20).

    Args:
        build: ``build() -> artists``: makes the figure with :func:`toolkit.lessons.style.axes` and returns the artists
            that will change, as a dict, a dataclass, a namespace, a list or one artist.
        update: ``update(artists, result)``: changes the artists (``set_data``, ``set_text``, …); no ``clear``, no new
            artists.
    """

    def __init__(self, build: Callable[[], Any], update: Callable[[Any, Any], None]):
        self._build, self._update = build, update
        self._canvas: FigureCanvasAgg | None = None

    @property
    def figure(self) -> Figure:
        """The figure; built if it is not yet."""
        if self._canvas is None:
            self._prepare()
        assert self._canvas is not None
        return self._canvas.figure

    def _prepare(self) -> None:
        self.artists = self._build()
        self._moving = list(_artists_in(self.artists))
        if not self._moving:
            raise argument_error("LiveFigure", "build", "a function that returns the artists that change", self.artists)
        figure = self._moving[0].get_figure(root=True)
        if figure is None:
            raise argument_error("LiveFigure", "build", "artists that belong to a figure", self._moving[0])
        for artist in self._moving:
            artist.set_animated(True)
        figure.set_dpi(style.PIXELS_PER_INCH * SHARPNESS)
        self._canvas = FigureCanvasAgg(figure)
        figure.stale = True

    def _draw_background(self, figure: Figure, canvas: FigureCanvasAgg) -> None:
        if figure.get_layout_engine() is not None:  # lay out once, with everything in place, then hold still
            for artist in self._moving:
                artist.set_animated(False)
            canvas.draw()
            figure.set_layout_engine("none")
            for artist in self._moving:
                artist.set_animated(True)
        canvas.draw()
        self._background = canvas.copy_from_bbox(figure.bbox)
        figure.stale = False

    def __call__(self, result: Any) -> Picture:
        """Show ``result``: update the artists and return the new picture."""
        with style.settings():
            figure = self.figure
            canvas = self._canvas
            assert canvas is not None
            self._update(self.artists, result)
            if figure.stale:
                self._draw_background(figure, canvas)
            canvas.restore_region(self._background)
            renderer = canvas.get_renderer()
            for artist in sorted(self._moving, key=lambda artist: artist.get_zorder()):
                artist.draw(renderer)
            return _from_canvas(canvas, level=1)


def _artists_in(what: Any) -> Iterable[Artist]:
    if isinstance(what, Artist):
        if not isinstance(what, Figure):
            yield what
    elif isinstance(what, dict):
        yield from _artists_in(list(what.values()))
    elif isinstance(what, (list, tuple, np.ndarray)):
        for part in what:
            yield from _artists_in(part)
    elif hasattr(what, "__dict__"):
        yield from _artists_in(list(vars(what).values()))


def _from_canvas(canvas: FigureCanvasAgg, *, level: int) -> Picture:
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        edge[:] = 208  # the thin grey frame
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=level)
    height, width = pixels.shape[0], pixels.shape[1]
    return Picture(round(width / SHARPNESS), round(height / SHARPNESS), png=buffer.getvalue())

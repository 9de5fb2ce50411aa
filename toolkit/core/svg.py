"""A picture made of a few shapes: SVG text for a page, PNG bytes for a reader without one.

No shape carries an id and every number is rounded, so the same picture is always the same text and two pictures
can stand in one page.
"""

import base64
import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.errors import reject, require

FONT = "'DejaVu Sans', Verdana, sans-serif"
INK = "#1a1a1a"
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CURVE = 0.5522847498  # handle length of the cubic closest to a quarter circle

Point = tuple[float, float]


def number(value: float) -> str:
    """Write a coordinate with at most two decimals, the same on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def escape(text: object) -> str:
    """Make any object's text safe inside SVG, in elements and in quoted attributes."""
    return html.escape(_ILLEGAL.sub("\ufffd", str(text)), quote=True)


def png_bytes(image: object) -> bytes:
    """Encode an array as PNG.

    Args:
        image: ``[height, width]`` (grey) or ``[height, width, 3 or 4]``; ``uint8``, or bool or floating in
            [0, 1] (values outside are clipped, NaN is black); NumPy or torch, any device. PNG bytes stay as they are.

    Returns:
        The PNG file's bytes, without date or program name.

    Raises:
        ValueError: the shape is not that of an image.
    """
    if isinstance(image, bytes):
        return image
    from PIL import Image

    if hasattr(image, "detach"):
        image = image.detach().cpu()
    array = np.asarray(image)
    legal = (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) and array.size > 0
    require(legal, "png_bytes", "image", "[height, width] or [height, width, 3 or 4], not empty", array.shape)
    if array.dtype != np.uint8:
        array = np.rint(np.clip(np.nan_to_num(array.astype(np.float64)), 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "png", compress_level=6)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Paint:
    fill: str
    stroke: str
    width: float
    dash: tuple[float, ...]
    opacity: float

    def attributes(self) -> str:
        parts = [f'fill="{escape(self.fill)}"']
        if self.stroke != "none":
            parts.append(f'stroke="{escape(self.stroke)}" stroke-width="{number(self.width)}" stroke-linejoin="round"')
        if self.dash:
            parts.append(f'stroke-dasharray="{" ".join(number(part) for part in self.dash)}"')
        if self.opacity != 1:
            parts.append(f'opacity="{number(self.opacity)}"')
        return " ".join(parts)


@dataclass(frozen=True)
class _Path:
    commands: tuple[tuple, ...]  # ("M", x, y), ("L", x, y), ("C", x1, y1, x2, y2, x, y), ("Z",)
    paint: _Paint
    clip: tuple[float, float, float, float] | None

    def text(self) -> str:
        data = " ".join(command[0] + " ".join(map(number, command[1:])) for command in self.commands)
        path = f'<path d="{data}" {self.paint.attributes()}/>'
        if self.clip is None:
            return path
        x, y, width, height = (number(value) for value in self.clip)
        window = f'x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}"'
        return f'<svg {window} overflow="hidden">{path}</svg>'


@dataclass(frozen=True)
class _Text:
    x: float
    y: float
    string: str
    size: float
    anchor: str
    bold: bool
    fill: str
    rotate: float

    def text(self) -> str:
        weight = ' font-weight="bold"' if self.bold else ""
        turn = f' transform="rotate({number(self.rotate)} {number(self.x)} {number(self.y)})"' if self.rotate else ""
        place = f'x="{number(self.x)}" y="{number(self.y)}" font-size="{number(self.size)}"'
        look = f'text-anchor="{self.anchor}" fill="{escape(self.fill)}"{weight}{turn} xml:space="preserve"'
        return f"<text {place} {look}>{escape(self.string)}</text>"


@dataclass(frozen=True)
class _Image:
    x: float
    y: float
    width: float
    height: float
    png: bytes

    def text(self) -> str:
        place = " ".join(f'{name}="{number(getattr(self, name))}"' for name in ("x", "y", "width", "height"))
        data = base64.b64encode(self.png).decode()
        look = 'preserveAspectRatio="none" style="image-rendering:pixelated"'
        return f'<image {place} {look} href="data:image/png;base64,{data}"/>'


class Svg:
    """A picture of ``width`` × ``height`` pixels with the origin at the top left; shapes are drawn in call order.

    Args:
        width: width in CSS pixels, positive.
        height: height in CSS pixels, positive.
        alt: one sentence that says what the picture shows; becomes the SVG's ``<title>``.
        background: a colour, or ``"none"``. White reads on a light and on a dark page.
        frame: whether a thin grey frame is drawn.
    """

    def __init__(self, width: float, height: float, *, alt: str = "", background: str = "#ffffff", frame: bool = True):
        for name, value in (("width", width), ("height", height)):
            require(math.isfinite(value) and value > 0, "Svg", name, "a positive number of pixels", value)
        self.width, self.height, self.alt = float(width), float(height), alt
        self._shapes: list[_Path | _Text | _Image] = []
        if background != "none" or frame:
            inset = 0.5 if frame else 0.0
            self.rectangle(
                inset,
                inset,
                width - 2 * inset,
                height - 2 * inset,
                fill=background,
                stroke="#d0d0d0" if frame else "none",
                radius=3 if frame else 0,
            )

    def __repr__(self) -> str:
        return f"Svg({number(self.width)} x {number(self.height)}, {len(self._shapes)} shapes, alt={self.alt!r})"

    def path(
        self,
        commands: Sequence[tuple],
        *,
        fill: str = "none",
        stroke: str = INK,
        stroke_width: float = 1.5,
        dash: Sequence[float] = (),
        opacity: float = 1.0,
        clip: tuple[float, float, float, float] | None = None,
    ) -> None:
        """Draw ``("M", x, y)``, ``("L", x, y)``, ``("C", x1, y1, x2, y2, x, y)`` and ``("Z",)`` commands.

        Args:
            commands: the outline; the first is an ``M``.
            fill: colour inside, or ``"none"``.
            stroke: colour of the line, or ``"none"``.
            stroke_width: line width in pixels.
            dash: lengths of dashes and gaps in pixels.
            opacity: 0 to 1.
            clip: ``(x, y, width, height)``; nothing is drawn outside.

        Raises:
            ValueError: an unknown command, or a coordinate that is not finite.
        """
        expected = {"M": 2, "L": 2, "C": 6, "Z": 0}
        kept = []
        for command in commands:
            name, values = command[0], tuple(map(float, command[1:]))
            if expected.get(name) != len(values) or not all(map(math.isfinite, values)):
                reject("Svg.path", "commands", "M, L (2 finite numbers), C (6) or Z (0)", command)
            kept.append((name, *values))
        if not kept:
            return
        require(kept[0][0] == "M", "Svg.path", "commands", "an M first", kept[0])
        self._shapes.append(_Path(tuple(kept), _Paint(fill, stroke, stroke_width, tuple(dash), opacity), clip))

    def line(self, x1: float, y1: float, x2: float, y2: float, **paint) -> None:
        """Draw a straight line; ``paint`` as in :meth:`path`."""
        self.path([("M", x1, y1), ("L", x2, y2)], **paint)

    def polyline(self, points: Sequence[Point], *, closed: bool = False, **paint) -> None:
        """Draw straight lines through ``points``; a NaN leaves a gap (unless closed); ``paint`` as in :meth:`path`."""
        commands: list[tuple] = []
        pen = "M"
        for x, y in points:
            if math.isfinite(x) and math.isfinite(y):
                commands.append((pen, x, y))
                pen = "L"
            elif not closed:
                pen = "M"
        if commands and closed:
            commands.append(("Z",))
        self.path(commands, **paint)

    def rectangle(self, x: float, y: float, width: float, height: float, *, radius: float = 0.0, **paint) -> None:
        """Draw a rectangle with rounded corners of ``radius`` pixels; ``paint`` as in :meth:`path`."""
        look: dict[str, Any] = {"stroke": "none", "fill": INK, "stroke_width": 1.0} | paint
        r = max(0.0, min(radius, width / 2, height / 2))
        if r == 0:
            corners = [("M", x, y), ("L", x + width, y), ("L", x + width, y + height), ("L", x, y + height), ("Z",)]
        else:
            right, bottom, h = x + width, y + height, r * (1 - _CURVE)
            corners = [
                ("M", x + r, y),
                ("L", right - r, y),
                ("C", right - h, y, right, y + h, right, y + r),
                ("L", right, bottom - r),
                ("C", right, bottom - h, right - h, bottom, right - r, bottom),
                ("L", x + r, bottom),
                ("C", x + h, bottom, x, bottom - h, x, bottom - r),
                ("L", x, y + r),
                ("C", x, y + h, x + h, y, x + r, y),
                ("Z",),
            ]
        self.path(corners, **look)

    def circle(self, x: float, y: float, radius: float, **paint) -> None:
        """Draw a circle around ``(x, y)``; ``paint`` as in :meth:`path`."""
        self.rectangle(x - radius, y - radius, 2 * radius, 2 * radius, radius=radius, **paint)

    def arrow_head(self, x: float, y: float, angle: float, *, size: float = 8.0, fill: str = INK) -> None:
        """Draw a filled arrow head with its tip at ``(x, y)``, pointing along ``angle`` (radians clockwise)."""
        back = [(x - size * math.cos(angle + side), y - size * math.sin(angle + side)) for side in (-0.42, 0.42)]
        self.polyline([(x, y), *back], closed=True, fill=fill, stroke="none")

    def text(
        self,
        x: float,
        y: float,
        text: object,
        *,
        size: float = 13.0,
        anchor: str = "start",
        bold: bool = False,
        fill: str = INK,
        rotate: float = 0.0,
    ) -> None:
        """Write one line with its baseline at ``y``.

        Args:
            x: where the anchor of the line stands.
            y: the baseline.
            text: any object; its text is escaped, line ends become blanks.
            size: font size in pixels (12 pixels are 9 points).
            anchor: ``"start"``, ``"middle"`` or ``"end"``.
            bold: heavier letters.
            fill: colour.
            rotate: degrees clockwise about ``(x, y)``.
        """
        require(anchor in ("start", "middle", "end"), "Svg.text", "anchor", "'start', 'middle' or 'end'", anchor)
        require(math.isfinite(x) and math.isfinite(y), "Svg.text", "x, y", "finite numbers", (x, y))
        string = _ILLEGAL.sub("\ufffd", " ".join(str(text).split("\n")))
        self._shapes.append(_Text(float(x), float(y), string, size, anchor, bold, fill, rotate))

    def image(self, x: float, y: float, width: float, height: float, image: object) -> None:
        """Place an image with crisp pixels; ``image`` as in :func:`png_bytes`."""
        require(min(width, height) > 0, "Svg.image", "width, height", "positive", (width, height))
        self._shapes.append(_Image(x, y, width, height, png_bytes(image)))

    def place(self, x: float, y: float, other: "Svg") -> None:
        """Draw everything in ``other`` with its top left corner at ``(x, y)``."""
        for shape in other._shapes:
            self._shapes.append(_moved(shape, x, y))

    def to_string(self, *, alt: str | None = None) -> str:
        """Return the picture as one ``<svg>`` element whose title is ``alt`` (default: the picture's own)."""
        title = escape(self.alt if alt is None else alt)
        w, h = number(self.width), number(self.height)
        size = f'width="{w}" height="{h}" viewBox="0 0 {w} {h}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} font-family="{FONT}">'
        return "\n".join([head, f"<title>{title}</title>", *(shape.text() for shape in self._shapes), "</svg>"])

    __str__ = to_string

    def to_png(self, *, scale: float = 2.0) -> bytes:
        """Return the picture as PNG, ``scale`` device pixels a CSS pixel."""
        from toolkit.core.svg_raster import rasterise

        return rasterise(self, scale)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        bundle = {"image/png": base64.b64encode(self.to_png()).decode(), "text/plain": self.alt or repr(self)}
        return bundle, {"image/png": {"alt": self.alt, "width": round(self.width), "height": round(self.height)}}


def _moved(shape: _Path | _Text | _Image, x: float, y: float) -> _Path | _Text | _Image:
    if isinstance(shape, _Text):
        return _Text(
            shape.x + x, shape.y + y, shape.string, shape.size, shape.anchor, shape.bold, shape.fill, shape.rotate
        )
    if isinstance(shape, _Image):
        return _Image(shape.x + x, shape.y + y, shape.width, shape.height, shape.png)
    shift = (x, y) * 3
    commands = tuple(
        (name, *(value + step for value, step in zip(values, shift, strict=False))) for name, *values in shape.commands
    )
    clip = shape.clip and (shape.clip[0] + x, shape.clip[1] + y, *shape.clip[2:])
    return _Path(commands, shape.paint, clip)

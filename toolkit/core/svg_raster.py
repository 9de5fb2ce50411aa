"""Turn an :class:`toolkit.core.svg.Svg` into PNG with matplotlib's renderer, which every installation has."""

import io
import math
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import BboxImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D, Bbox, IdentityTransform, TransformedBbox
from PIL import Image

from toolkit.core.svg import Svg, _Image, _Path, _Text

_CODES = {"M": [Path.MOVETO], "L": [Path.LINETO], "C": [Path.CURVE4] * 3, "Z": [Path.CLOSEPOLY]}
_ANCHORS: dict[str, Any] = {"start": "left", "middle": "center", "end": "right"}


def rasterise(picture: Svg, scale: float) -> bytes:
    """Draw the picture's shapes at ``scale`` device pixels a CSS pixel and return PNG bytes without metadata."""
    width, height = math.ceil(picture.width * scale), math.ceil(picture.height * scale)
    figure = Figure(figsize=(width / 100, height / 100), dpi=100, facecolor="none")
    flip = Affine2D().scale(scale, -scale).translate(0, height)
    for order, shape in enumerate(picture._shapes):
        if isinstance(shape, _Path):
            artist: Artist = _path(shape, flip, scale)
        elif isinstance(shape, _Text):
            artist = _text(shape, flip, scale)
        else:
            artist = _image(shape, flip)
        artist.set_zorder(order)
        figure.add_artist(artist)
        if isinstance(shape, _Path) and shape.clip is not None:
            x, y, w, h = shape.clip
            artist.set_clip_box(TransformedBbox(Bbox([(x, y), (x + w, y + h)]), flip))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).save(buffer, "png", compress_level=9)
    return buffer.getvalue()


def _path(shape: _Path, flip: Affine2D, scale: float) -> PathPatch:
    vertices: list[tuple[float, float]] = []
    codes: list = []
    for name, *values in shape.commands:
        codes += _CODES[name]
        vertices += list(zip(values[::2], values[1::2], strict=True)) or [(0.0, 0.0)]
    paint = shape.paint
    width = paint.width * scale * 0.72  # points at 100 dots an inch
    style = (0, [part / paint.width for part in paint.dash]) if paint.dash and paint.width else "-"
    return PathPatch(
        Path(vertices, codes),
        facecolor=paint.fill,
        edgecolor=paint.stroke,
        linewidth=width if paint.stroke != "none" else 0,
        linestyle=style,
        alpha=None if paint.opacity == 1 else paint.opacity,
        joinstyle="round",
        capstyle="butt",
        transform=flip,
        snap=False,
    )


def _text(shape: _Text, flip: Affine2D, scale: float) -> Text:
    x, y = flip.transform((shape.x, shape.y))
    weight = "bold" if shape.bold else "normal"
    font = FontProperties(family="DejaVu Sans", size=shape.size * scale * 0.72, weight=weight)
    return Text(
        x,
        y,
        shape.string,
        fontproperties=font,
        color=shape.fill,
        rotation=-shape.rotate,
        rotation_mode="anchor",
        horizontalalignment=_ANCHORS[shape.anchor],
        verticalalignment="baseline",
        parse_math=False,
        transform=IdentityTransform(),  # else add_artist would put it on the figure's unit square
    )


def _image(shape: _Image, flip: Affine2D) -> BboxImage:
    with Image.open(io.BytesIO(shape.png)) as opened:
        array = np.asarray(opened.convert("RGBA"))
    corners = flip.transform([(shape.x, shape.y + shape.height), (shape.x + shape.width, shape.y)])
    image = BboxImage(Bbox(corners), interpolation="nearest", origin="upper")
    image.set_data(array)
    return image

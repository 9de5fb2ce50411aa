"""Turn an :class:`toolkit.core.svg.Svg` into PNG with matplotlib's renderer, which every installation has."""

import io
import math
from typing import Any

import numpy as np
from jaxtyping import UInt8
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
_MOST_SHADES = 4096
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
    _few_colours(np.asarray(canvas.buffer_rgba())).save(buffer, "png", compress_level=9)
    return buffer.getvalue()


def _few_colours(pixels: UInt8[np.ndarray, "height width 4"]) -> Image.Image:
    """Return an image with a palette where the pixels are a chart's, which makes a file of a third the size.

    Its colours are the 128 commonest and then, one by one, the shade farthest from all chosen so far; what is left,
    shades at the edges of letters and lines, becomes the nearest of them. Photographs stay as they are.
    """
    colours, which, counts = np.unique(
        np.ascontiguousarray(pixels).view(np.uint32).ravel(), return_inverse=True, return_counts=True
    )
    if len(colours) > _MOST_SHADES:
        return Image.fromarray(pixels)
    shades = colours.view(np.uint8).reshape(-1, 4).astype(float)
    chosen = list(np.argsort(-counts, kind="stable")[:128])
    distances = ((shades[:, None] - shades[chosen]) ** 2).sum(2)
    nearest, distance = distances.argmin(1), distances.min(1)
    while len(chosen) < min(256, len(shades)):
        farthest = int(distance.argmax())
        closer = (away := ((shades - shades[farthest]) ** 2).sum(1)) < distance
        nearest[closer], distance[closer] = len(chosen), away[closer]
        chosen.append(farthest)
    image = Image.fromarray(nearest.astype(np.uint8)[which].reshape(pixels.shape[:2]))
    image.putpalette(shades[chosen].astype(np.uint8).tobytes(), "RGBA")
    return image


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

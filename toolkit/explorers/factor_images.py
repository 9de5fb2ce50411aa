"""Rendered images and their factors: one row a factor, in which only that factor changes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from toolkit.core.errors import reject
from toolkit.core.svg import Svg
from toolkit.datasets import shapes3d, sprites
from toolkit.datasets.factors import FactorGrid
from toolkit.lessons import View, controls, style

_SMALL, _ACROSS = 48, 8  # pixels of a picture in a row; pictures in a row
_SIZE, _ENLARGED = 64, 192  # pixels of the chosen image as the data set has it; as it is drawn
_LEFT, _ROWS, _GAP, _TOP = 14.0, 302.0, 6.0, 38.0


@dataclass(frozen=True)
class Renderer:
    """A data set that is drawn when it is asked for.

    Attributes:
        title: how it is called where its images are shown.
        grid: its factors and their values.
        render: ``render(indices, image_size)`` → images with values from 0 to 255, channels last.
        start: the index of each factor's value at first.
        caption: what is true of the images and what is not.
        words: what the values of a factor are called, where they have names.
        units: the unit of a factor's values, with the space before it if it wants one, where they have one.
    """

    title: str
    grid: FactorGrid
    render: Callable[[Tensor, int], Tensor]
    start: tuple[int, ...]
    caption: str
    words: Mapping[str, tuple[str, ...]]
    units: Mapping[str, str]


def _sprites(indices: Tensor, image_size: int) -> Tensor:
    return 255 * sprites.render(indices, image_size=image_size)


def _shapes(indices: Tensor, image_size: int) -> Tensor:
    if len(indices) == 1:  # for many, all geometries of a size are cast and kept, which takes a second at first
        return shapes3d.render_values(shapes3d.GRID.values_of(indices), image_size=image_size, layout="HWC")
    return shapes3d.render(indices, image_size=image_size, layout="HWC")


RENDERERS = {
    "dsprites": Renderer(
        "dSprites, re-rendered",
        sprites.GRID,
        _sprites,
        (2, 5, 3, 15, 16),
        "Drawn from the original's geometry; a few pixels differ from the original files.",
        {"shape": sprites.SHAPES},
        {"orientation": " rad"},
    ),
    "3dshapes": Renderer(
        "3dshapes-like",
        shapes3d.GRID,
        _shapes,
        (1, 5, 9, 5, 3, 3),
        "Looks like 3D Shapes without being it: geometry fitted, light approximate.",
        {"shape": shapes3d.SHAPES},
        {"orientation": "°"},
    ),
}


@dataclass(frozen=True)
class Traversals:
    """One image and, for each factor, what happens when only that factor changes.

    Attributes:
        renderer: what drew them.
        indices: the chosen image's factor indices.
        image: the chosen image.
        rows: for each factor, images over its values.
        levels: for each factor, the index of the value behind each image of its row.
    """

    renderer: Renderer
    indices: tuple[int, ...]
    image: UInt8[Tensor, "height width *channels"]
    rows: tuple[UInt8[Tensor, "_values _size _size *channels"], ...]
    levels: tuple[tuple[int, ...], ...]

    @property
    def number(self) -> int:
        """Which image of the data set this is, from 0."""
        return int(self.renderer.grid.ravel([self.indices], device="cpu")[0])

    def __repr__(self) -> str:
        return f"Traversals({self.renderer.title}, image {self.number:,} of {len(self.renderer.grid):,})"

    def to_dict(self) -> dict[str, Any]:
        """Return what was chosen, as plain values."""
        names = self.renderer.grid.names
        return {"title": self.renderer.title, "indices": dict(zip(names, self.indices, strict=True))}


def _spread(size: int, kept: int) -> tuple[int, ...]:
    """Return up to ``_ACROSS`` indices from 0 to ``size - 1``, evenly spread, the nearest of them moved to ``kept``."""
    count = min(size, _ACROSS)
    levels = [round(place * (size - 1) / max(count - 1, 1)) for place in range(count)]
    nearest = min(range(count), key=lambda place: abs(levels[place] - kept))
    levels[nearest] = kept
    return tuple(levels)


def traverse(name: str, indices: tuple[int, ...]) -> Traversals:
    """Draw an image and a row for each of its factors.

    Args:
        name: ``"dsprites"`` or ``"3dshapes"``.
        indices: the index of each factor's value.

    Returns:
        The images. A factor with more values than fit in a row shows evenly spread ones, the chosen one among them.

    Raises:
        ValueError: another name, or an index out of range.
    """
    if name not in RENDERERS:
        reject("traverse", "name", f"one of {list(RENDERERS)}", name)
    renderer = RENDERERS[name]
    chosen = renderer.grid.check("traverse", [indices], device="cpu")[0]
    levels = tuple(_spread(size, index) for size, index in zip(renderer.grid.sizes, chosen.tolist(), strict=True))
    wanted = torch.cat([_row(chosen, column, row) for column, row in enumerate(levels)])
    rows = renderer.render(wanted, _SMALL).split([len(row) for row in levels])
    return Traversals(renderer, tuple(chosen.tolist()), renderer.render(chosen[None], _SIZE)[0], rows, levels)


def _row(chosen: Int64[Tensor, " factors"], column: int, levels: tuple[int, ...]) -> Int64[Tensor, "values factors"]:
    indices = chosen.repeat(len(levels), 1)
    indices[:, column] = torch.tensor(levels)
    return indices


def draw(result: Traversals) -> Svg:
    """Draw the chosen image at the left, a row for each factor at the right, the present value framed."""
    names = result.renderer.grid.names
    height = _TOP + (_SMALL + _GAP) * len(names) + 6
    picture = Svg(_ROWS + _SMALL * _ACROSS + 14, height)
    picture.text(_LEFT, 23, result.renderer.title, size=14, bold=True)
    picture.text(_ROWS, 23, "each row: only this factor changes", size=12, fill=style.GREY)
    picture.image(_LEFT, _TOP, _ENLARGED, _ENLARGED, result.image)
    picture.rectangle(_LEFT, _TOP, _ENLARGED, _ENLARGED, fill="none", stroke="#b0b0b0")
    words = f"image {result.number:,} of {len(result.renderer.grid):,}"
    picture.text(_LEFT, _TOP + _ENLARGED + 20, words, size=12)
    for place, (name, row, levels) in enumerate(zip(names, result.rows, result.levels, strict=True)):
        top = _TOP + (_SMALL + _GAP) * place
        picture.text(_ROWS - 8, top + _SMALL / 2 + 4, name.replace("_", " "), size=12, anchor="end")
        strip = row.transpose(0, 1).flatten(1, 2)  # side by side: one picture to encode instead of eight
        _draw_strip(picture, strip, len(levels), levels.index(result.indices[place]), top)
    return picture


def _draw_strip(
    picture: Svg, strip: UInt8[Tensor, "size width *channels"], count: int, chosen: int, top: float
) -> None:
    left = _ROWS
    picture.image(left, top, _SMALL * count, _SMALL, strip)
    for place in range(count):
        picture.rectangle(left + _SMALL * place, top, _SMALL, _SMALL, fill="none", stroke="#b0b0b0")
    frame = (left + _SMALL * chosen, top, _SMALL, _SMALL)
    picture.rectangle(*frame, fill="none", stroke=style.VERMILION, stroke_width=3)


def _value(renderer: Renderer, name: str, index: int) -> str:
    if name in renderer.words:
        return renderer.words[name][index]
    value = renderer.grid.values[renderer.grid.column(name)][index]
    return f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−") + renderer.units.get(name, "")


def describe(result: Traversals) -> str:
    """Say which image this is, which rows leave values out, and what the data set is not."""
    renderer = result.renderer
    pairs = zip(renderer.grid.names, result.indices, strict=True)
    values = ", ".join(f"{name.replace('_', ' ')} {_value(renderer, name, index)}" for name, index in pairs)
    count = len(renderer.grid)
    sizes = zip(renderer.grid.names, renderer.grid.sizes, strict=True)
    longer = ", ".join(f"{name.replace('_', ' ')} {_ACROSS} of {size}" for name, size in sizes if size > _ACROSS)
    left_out = f" Not every value is in its row: {longer}." if longer else ""
    return f"{renderer.title}: image {result.number:,} of {count:,}, {values}.{left_out} {renderer.caption}"


def explore_factor_images(name: str = "dsprites") -> View:
    """Return a view of rendered images with a slider for each factor.

    Args:
        name: ``"dsprites"`` or ``"3dshapes"``.

    Raises:
        ValueError: another name.
    """
    if name not in RENDERERS:
        reject("explore_factor_images", "name", f"one of {list(RENDERERS)}", name)
    renderer = RENDERERS[name]
    sliders = {
        factor: controls.int_slider(factor.replace("_", " "), start, 0, size - 1)
        for factor, size, start in zip(renderer.grid.names, renderer.grid.sizes, renderer.start, strict=True)
    }
    return View(sliders, lambda **indices: traverse(name, tuple(indices.values())), draw, describe)

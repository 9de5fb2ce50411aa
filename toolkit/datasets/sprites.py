"""Re-rendered dSprites: 737,280 black-and-white images of a square, an ellipse or a heart, drawn from its factors.

The geometry was fitted to the original's published frames: 173 of 202 of them come out pixel by pixel, and none has
more than 4 wrong pixels. Still say "re-rendered dSprites" where results are shown. The original files load with
:func:`load`.

Orientation is not identifiable everywhere: the last orientation is the first one again (0 and 2π), so at least one
image in 40 occurs twice, and a square looks almost the same after 90°, an ellipse after 180°.

Source: L. Matthey, I. Higgins, D. Hassabis, A. Lerchner (2017), dSprites: disentanglement testing sprites dataset.
"""

import math
import os
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from toolkit.core.errors import require
from toolkit.datasets.factor_files import load_dsprites
from toolkit.datasets.factor_inputs import at_least, continuous, floating_or, in_range
from toolkit.datasets.factors import FactorGrid
from toolkit.datasets.image_memory import images_at_once, zero_images
from toolkit.datasets.stored import StoredImages

SHAPES = ("square", "ellipse", "heart")

GRID = FactorGrid(
    names=("shape", "scale", "orientation", "position_x", "position_y"),
    values=(
        (1.0, 2.0, 3.0),
        tuple((5 + step) / 10 for step in range(6)),
        tuple(2 * math.pi * step / 39 for step in range(40)),
        tuple(step / 31 for step in range(32)),
        tuple(step / 31 for step in range(32)),
    ),
    circular=frozenset({"orientation"}),
)
"""The factors in the order of the original (whose only colour is left out), with the original's values:
image number i here is image number i there. Orientation is in radians, counter-clockwise."""

# A shape is the set of points (u, up), in pixels of 64×64 at scale 1, with
#     |up / unit + shift - middle(p)| < sqrt(spread(p)),   |u| < half_width,   with p = (u / half_width)^(2 exponent).
# Columns: half_width, unit, shift, exponent, the coefficients of middle (p, p²) and those of spread (1, p, p², p³).
# The square is a constant, the ellipse the circle in units of its axes, and the heart the curve
#     u = 9.6 sin³t,  up = 0.6622 (13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) + 1.4352
# with p = sin²t eliminated: middle(p) = 18p - 8p² (- 6, which is in the shift), spread(p) = (1 - p)(11 + 8p)².
_SHAPE_TABLE = (
    (9.6, 9.6, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0),
    (12.76, 7.22, 0.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0),
    (9.6, 0.6622, 6 - 1.4352 / 0.6622, 1 / 3, 18.0, -8.0, 121.0, 55.0, -112.0, -64.0),
)
_LARGEST_RADIUS = 13.58
_FRAME = 64.0


def render(
    factors: object,
    *,
    grid: FactorGrid = GRID,
    image_size: int = 64,
    dtype: torch.dtype = torch.uint8,
    device: torch.device | str | None = None,
) -> Shaped[Tensor, "images height width"]:
    """Draw images from factor indices.

    Args:
        factors: (images, 5) integers: tensor, array or nested sequence. Column k is an index into ``grid.values[k]``.
        grid: what the indices refer to; any grid with the same factors, such as ``GRID.subgrid(orientation=10)``.
        image_size: height and width. The geometry scales along; the original's is 64.
        dtype: ``torch.uint8``, ``torch.bool`` or a floating-point type.
        device: where to draw; default: where ``factors`` are, or the best there is if they are no tensor.

    Returns:
        (images, height, width): 1 inside the shape, 0 outside. A pixel is inside if its centre is.

    Raises:
        ValueError: wrong shape, an index out of range, a grid of other factors, or a wrong option.
        TypeError: ``factors`` are not integers.
    """
    require(grid.names == GRID.names, "sprites.render", "grid", f"the factors {GRID.names}", grid.names)
    _check_options("sprites.render", image_size, dtype)
    checked = grid.check("sprites.render", factors, device=device)
    values = grid.values_of(checked)
    if grid.values != GRID.values:
        _check_values("sprites.render", values)
    return _draw(values, image_size, dtype)


def render_values(
    values: object,
    *,
    image_size: int = 64,
    dtype: torch.dtype = torch.uint8,
    device: torch.device | str | None = None,
) -> Shaped[Tensor, "images height width"]:
    """Draw images from the factors' values, which may lie between those of the original.

    Args:
        values: (images, 5) numbers: shape 1, 2 or 3; scale in (0, 1]; orientation in radians, counter-clockwise;
            position x (to the right) and y (down) in [0, 1].
        image_size: as :func:`render`.
        dtype: as :func:`render`.
        device: as :func:`render`.

    Returns:
        (images, height, width): 1 inside the shape, 0 outside.

    Raises:
        ValueError: wrong shape, NaN, out of range, or a wrong option.
        TypeError: ``values`` are not numbers.
    """
    _check_options("sprites.render_values", image_size, dtype)
    checked = continuous("sprites.render_values", values, GRID.names, device=device)
    _check_values("sprites.render_values", checked)
    return _draw(checked, image_size, dtype)


def load(path: str | os.PathLike[str] | None = None, *, mirrors: Sequence[str] = ()) -> StoredImages:
    """Load the original images; ``load(…).render`` is called as :func:`render` is.

    Args:
        path: the .npz or .hdf5 file (the latter needs the package h5py), or a folder with one. Its structure and order
            are checked, its checksum is not. ``None`` looks in the cache and downloads, and checks that too.
        mirrors: addresses of folders to download from before the recorded ones.

    Returns:
        The images, kept as bits (377 MB) or read from the HDF5 file when asked for. A part of the data set is fine if
        it is a complete grid.

    Raises:
        DatasetUnavailable: there is no such file, or it is damaged.
        ImportError: an .hdf5 file without the package h5py.
    """
    return load_dsprites(path, mirrors, GRID.names, GRID.circular)


def _check_options(operation: str, image_size: int, dtype: torch.dtype) -> None:
    at_least(operation, "image_size", image_size)
    floating_or(operation, dtype, torch.uint8, torch.bool)


def _check_values(operation: str, values: Float[Tensor, "images 5"]) -> None:
    shape, scale, _, x, y = values.unbind(1)
    in_range(operation, "shape", shape, 1, len(SHAPES))
    require(bool((shape == shape.round()).all()), operation, "values", "shape 1, 2 or 3", "something between")
    in_range(operation, "scale", scale, 0, 1)
    require(bool((scale > 0).all()), operation, "values", "scale > 0", 0)
    in_range(operation, "position_x", x, 0, 1)
    in_range(operation, "position_y", y, 0, 1)


def _draw(
    values: Float[Tensor, "images 5"], image_size: int, dtype: torch.dtype
) -> Shaped[Tensor, "images height width"]:
    """Draw into blank images; only a window around each centre is computed, since the rest stays 0."""
    device = values.device
    images = zero_images((len(values), image_size, image_size), dtype, device)
    reach = math.ceil(_LARGEST_RADIUS * image_size / _FRAME)
    window = min(2 * reach, image_size)
    at_once = min(images_at_once(device, image_size, in_cache=256, elsewhere=16384), len(values))
    # The same memory for every part: new memory each time costs as much as the arithmetic.
    work = torch.empty(4, at_once, window, window, dtype=torch.float32, device=device)
    target = torch.empty(at_once, window, window, dtype=torch.int64, device=device)
    for part, rows in zip(images.split(at_once or 1), values.split(at_once or 1), strict=True):
        _draw_windows(part, rows, work[:, : len(rows)], target[: len(rows)])
    return images


def _draw_windows(
    images: Shaped[Tensor, "images height width"],
    values: Float[Tensor, "images 5"],
    work: Float[Tensor, "4 images window window"],
    target: Int64[Tensor, "images window window"],
) -> None:
    device, size, window = values.device, images.shape[1], work.shape[2]
    shape, scale, angle, x, y = values.unbind(1)
    table = torch.tensor(_SHAPE_TABLE, device=device, dtype=torch.float32)[shape.long() - 1]
    half_width, unit, shift, exponent, middle_1, middle_2, *spread = table[:, :, None, None].unbind(1)
    offsets = torch.arange(window, device=device)
    pixels_per_unit = size / _FRAME

    def axis(position: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first pixel of the window, and each pixel's distance from the shape's centre at scale 1."""
        centre = (_FRAME / 4 + _FRAME / 2 * position) * pixels_per_unit
        first = ((centre + 0.5).floor().long() - (window + 1) // 2).clamp(0, size - window)
        pixels = (first[:, None] + offsets).to(torch.float32) + 0.5
        return first, (pixels - centre[:, None]) / (pixels_per_unit * scale[:, None])

    left, right = axis(x)
    top, down = axis(y)
    # 2π is rounded like its multiples, so that a whole turn is exactly no turn.
    turn = torch.remainder(angle / torch.tensor(2 * math.pi, device=device, dtype=torch.float32), 1.0) * (2 * math.pi)
    cosine, sine = turn.cos()[:, None], turn.sin()[:, None]
    # The distances along the shape's own axes are sums of a part for the column and a part for the row, both scaled
    # before they are spread over the window.
    wide, high = 1 / half_width[..., 0], -1 / unit[..., 0]
    width, up, p, room = work
    torch.sub((right * cosine * wide)[:, None, :], (down * sine * wide)[:, :, None], out=width)
    torch.add((right * sine * high)[:, None, :], (down * cosine * high + shift[..., 0])[:, :, None], out=up)

    width.square_()
    torch.log(width, out=p).mul_(exponent).exp_()
    middle = torch.mul(p, middle_2, out=room).add_(middle_1).mul_(p)
    off_middle = up.sub_(middle).square_()
    torch.mul(p, spread[3], out=room).add_(spread[2]).mul_(p).add_(spread[1]).mul_(p).add_(spread[0]).sub_(off_middle)
    # Compared as numbers: comparisons that give truth values are several times slower.
    inside = torch.minimum(room, width.neg_().add_(1), out=room).gt_(0)

    torch.add((top * size + left)[:, None, None], offsets[:, None] * size + offsets, out=target)
    images.flatten(1).scatter_(1, target.flatten(1), inside.to(images.dtype).flatten(1))

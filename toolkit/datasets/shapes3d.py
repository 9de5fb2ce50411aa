"""3dshapes-like: 480,000 colour images of a cube, cylinder, sphere or capsule in a room, ray-cast from their factors.

The camera, the room and the sizes were fitted to the original's published animation, the light approximately (mean
difference about 6 of 255 a channel); wall texture and highlights are left out. So the images look like 3dshapes without
being them: say "3dshapes-like" where results are shown. The original file loads with :func:`load`.

Light does not depend on hue. So the 8·4·15 geometries are cast once for a device, into four planes of weights (floor,
wall, object, sky), and an image is these planes times four colours.

Source: C. Burgess, H. Kim (2018), 3D Shapes dataset.
"""

import os
import threading
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from toolkit.core.errors import require
from toolkit.datasets.factor_files import load_3dshapes
from toolkit.datasets.factor_inputs import at_least, continuous, floating_or, in_range
from toolkit.datasets.factors import FactorGrid
from toolkit.datasets.image_memory import images_at_once, zero_images
from toolkit.datasets.room import MATERIALS, SHAPES, cast
from toolkit.datasets.stored import Layout, StoredImages

_HUES = tuple(step / 10 for step in range(10))

GRID = FactorGrid(
    names=("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"),
    values=(
        _HUES,
        _HUES,
        _HUES,
        tuple(0.75 + 0.5 * step / 7 for step in range(8)),
        (0.0, 1.0, 2.0, 3.0),
        tuple(-30.0 + 60.0 * step / 14 for step in range(15)),
    ),
    circular=frozenset({"floor_hue", "wall_hue", "object_hue"}),
)
"""The factors in the order of the original, with the original's values. Orientation is in degrees."""

_GEOMETRIES = FactorGrid(GRID.names[3:], GRID.values[3:])

_SKY = (153 / 255, 226 / 255, 249 / 255)

_LARGEST_KEPT = 128  # image size up to which the planes are kept

_planes: dict[tuple[torch.device, int], Tensor] = {}
_planes_lock = threading.Lock()


def render(
    factors: object,
    *,
    grid: FactorGrid = GRID,
    image_size: int = 64,
    dtype: torch.dtype = torch.uint8,
    layout: Layout = "CHW",
    device: torch.device | str | None = None,
) -> Shaped[Tensor, "images *shape"]:
    """Draw images from factor indices.

    The first call for a device and image size casts the 480 geometries (a second or two) and keeps them: 31 MB
    at 64×64.

    Args:
        factors: (images, 6) integers: tensor, array or nested sequence. Column k is an index into ``grid.values[k]``.
        grid: what the indices refer to; any grid with the same factors, such as ``GRID.subgrid(wall_hue=5)``. Scales
            and orientations that the original does not have are cast anew at every call (some milliseconds an image),
            and so are images of more than 128×128.
        image_size: height and width; the original's is 64.
        dtype: ``torch.uint8`` for 0 to 255, or a floating-point type for 0 to 1.
        layout: ``"CHW"``, or ``"HWC"`` as in the original file.
        device: where to draw; default: where ``factors`` are, or the best there is if they are no tensor.

    Returns:
        (images, 3, height, width), or (images, height, width, 3) for the layout ``"HWC"``.

    Raises:
        ValueError: wrong shape, an index out of range, a grid of other factors, or a wrong option.
        TypeError: ``factors`` are not integers.
    """
    require(grid.names == GRID.names, "shapes3d.render", "grid", f"the factors {GRID.names}", grid.names)
    _check_options("shapes3d.render", image_size, dtype, layout)
    checked = grid.check("shapes3d.render", factors, device=device)
    values = grid.values_of(checked)
    levels = _geometry_levels(grid) if image_size <= _LARGEST_KEPT else None
    if levels is None:
        _check_values("shapes3d.render", values)
        return _paint(values, None, image_size, dtype, layout)
    columns = [
        torch.tensor(level, device=checked.device)[column] for level, column in zip(levels, checked.T[3:], strict=True)
    ]
    return _paint(values, _GEOMETRIES.ravel(torch.stack(columns, 1)), image_size, dtype, layout)


def render_values(
    values: object,
    *,
    image_size: int = 64,
    dtype: torch.dtype = torch.uint8,
    layout: Layout = "CHW",
    device: torch.device | str | None = None,
) -> Shaped[Tensor, "images *shape"]:
    """Draw images from the factors' values, which may lie between those of the original; some milliseconds an image.

    Args:
        values: (images, 6) numbers: three hues, where 1 is 0 again; scale in [0.5, 1.5] (the original's: 0.75 to 1.25);
            shape 0, 1, 2 or 3; orientation in [-45, 45] degrees (the original's: -30 to 30).
        image_size: as :func:`render`.
        dtype: as :func:`render`.
        layout: as :func:`render`.
        device: as :func:`render`.

    Returns:
        As :func:`render`.

    Raises:
        ValueError: wrong shape, NaN, out of range, or a wrong option.
        TypeError: ``values`` are not numbers.
    """
    _check_options("shapes3d.render_values", image_size, dtype, layout)
    checked = continuous("shapes3d.render_values", values, GRID.names, device=device)
    _check_values("shapes3d.render_values", checked)
    return _paint(checked, None, image_size, dtype, layout)


def material_weights(
    values: object, *, image_size: int = 64, device: torch.device | str | None = None
) -> Float[Tensor, "geometries 4 height width"]:
    """Return how bright each material shines in each pixel: the image before it is coloured, and its true segmentation.

    Args:
        values: (geometries, 3) numbers: scale, shape and orientation as in :func:`render_values`.
        image_size: height and width.
        device: where to cast; default: where ``values`` are, or the best there is if they are no tensor.

    Returns:
        (geometries, 4, height, width) weights in [0, 1] of floor, wall, object and sky: the share of the pixel times
        the light on it. A weight is 0 exactly where the material is not seen.

    Raises:
        ValueError: wrong shape, NaN or out of range.
        TypeError: ``values`` are not numbers.
    """
    at_least("shapes3d.material_weights", "image_size", image_size)
    checked = continuous("shapes3d.material_weights", values, GRID.names[3:], device=device)
    _check_geometry("shapes3d.material_weights", checked)
    return _cast(checked, image_size)


def load(path: str | os.PathLike[str] | None = None, *, mirrors: Sequence[str] = ()) -> StoredImages:
    """Load the original images; ``load(…).render`` is called as :func:`render` is. Needs the package h5py.

    Args:
        path: the .h5 file, or a folder with it. Its structure and order are checked, its checksum is not. ``None``
            looks in the cache and downloads, and checks that too.
        mirrors: addresses of folders to download from before the recorded ones.

    Returns:
        The images, read from the file when asked for. A part of the data set is fine if it is a complete grid.

    Raises:
        DatasetUnavailable: there is no such file, or it is damaged.
        ImportError: the package h5py is not installed.
    """
    return load_3dshapes(path, mirrors, GRID.names, GRID.circular)


def _check_options(operation: str, image_size: int, dtype: torch.dtype, layout: str) -> None:
    at_least(operation, "image_size", image_size)
    floating_or(operation, dtype, torch.uint8)
    require(layout in ("CHW", "HWC"), operation, "layout", "'CHW' or 'HWC'", repr(layout))


def _check_values(operation: str, values: Float[Tensor, "images 6"]) -> None:
    _check_geometry(operation, values[:, 3:])


def _check_geometry(operation: str, values: Float[Tensor, "images 3"]) -> None:
    scale, shape, orientation = values.unbind(1)
    in_range(operation, "scale", scale, 0.5, 1.5)
    in_range(operation, "shape", shape, 0, len(SHAPES) - 1)
    require(bool((shape == shape.round()).all()), operation, "values", "shape 0, 1, 2 or 3", "something between")
    in_range(operation, "orientation", orientation, -45, 45)


@lru_cache
def _geometry_levels(grid: FactorGrid) -> tuple[tuple[int, ...], ...] | None:
    """Return where the scales, shapes and orientations of ``grid`` stand among the original's; None if some do not."""
    try:
        return _GEOMETRIES.levels_of(FactorGrid(grid.names[3:], grid.values[3:]))
    except ValueError:
        return None


def _all_planes(device: torch.device, image_size: int) -> Float[Tensor, "480 4 pixels"]:
    with _planes_lock:
        planes = _planes.get((device, image_size))
        if planes is None:
            geometries = _GEOMETRIES.values_of(_GEOMETRIES.indices(device=device))
            planes = _planes[device, image_size] = _cast(geometries, image_size).flatten(2)
        return planes


def _paint(
    values: Float[Tensor, "images 6"], geometry: Tensor | None, image_size: int, dtype: torch.dtype, layout: Layout
) -> Shaped[Tensor, "images *shape"]:
    """Weigh the colours by the planes of ``geometry``, or by newly cast ones."""
    device, pixels = values.device, image_size**2
    shape = (len(values), 3, pixels) if layout == "CHW" else (len(values), pixels, 3)
    images = zero_images(shape, dtype, device)
    full = 255.0 if dtype == torch.uint8 else 1.0
    at_once = min(images_at_once(device, image_size, in_cache=16, elsewhere=2048), len(values))
    planes = None if geometry is None else _all_planes(device, image_size)
    # The same memory for every part: new memory each time costs as much as the arithmetic.
    several_weights = torch.empty(at_once, 4, pixels, dtype=torch.float32, device=device)
    several_mixed, several_terms = torch.empty(2, at_once, 3, pixels, dtype=torch.float32, device=device)
    for start in range(0, len(values), at_once or 1):
        part = slice(start, start + at_once)
        colours = (_palette(values[part, :3]) * full)[..., None]
        n_images = len(colours)
        weights, mixed, term = several_weights[:n_images], several_mixed[:n_images], several_terms[:n_images]
        if planes is None or geometry is None:
            weights.copy_(_cast(values[part, 3:], image_size).flatten(2))
        else:
            torch.index_select(planes, 0, geometry[part], out=weights)
        # Sums instead of a matrix product: the same numbers under autocast and TF32.
        torch.mul(weights[:, 0, None], colours[:, 0], out=mixed)
        for material in range(1, len(MATERIALS)):
            mixed += torch.mul(weights[:, material, None], colours[:, material], out=term)
        mixed.clamp_(max=full)  # the weights sum to 1 only up to rounding
        if dtype == torch.uint8:
            mixed.round_()
        images[part] = mixed if layout == "CHW" else mixed.to(dtype).transpose(1, 2)
    sides = (image_size, image_size)
    return images.unflatten(2, sides) if layout == "CHW" else images.unflatten(1, sides)


def _palette(hues: Float[Tensor, "images 3"]) -> Float[Tensor, "images 4 3"]:
    """Return the colours of floor, wall, object (full saturation and value) and sky."""
    # Around the circle of six steps, red is least at 3, green most at 2 and blue most at 4.
    step, slope, offset = torch.tensor(
        [[3.0, 2.0, 4.0], [1.0, -1.0, -1.0], [-1.0, 2.0, 2.0]], device=hues.device, dtype=torch.float32
    )
    turns = torch.remainder(hues, 1.0)[..., None] * 6
    pure = ((turns - step).abs() * slope + offset).clamp(0, 1)
    sky = torch.tensor(_SKY, device=hues.device, dtype=torch.float32).expand(len(hues), 1, 3)
    return torch.cat([pure, sky], 1)


def _cast(values: Float[Tensor, "geometries 3"], image_size: int) -> Float[Tensor, "geometries 4 height width"]:
    """Cast the rays of the geometries (scale, shape, orientation), some at a time."""
    at_once = images_at_once(values.device, image_size, in_cache=4, elsewhere=480)
    weights = torch.empty(len(values), 4, image_size, image_size, device=values.device, dtype=torch.float32)
    for part, rows in zip(weights.split(at_once), values.split(at_once), strict=True):
        part.copy_(cast(rows, image_size))
    return weights

"""The images that the study of disentanglement trains on: a complete grid of factors, held in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from toolkit.core.errors import require
from toolkit.datasets import shapes3d, sprites
from toolkit.datasets.factors import FactorGrid, batches

DATA = {"dsprites": sprites, "3dshapes": shapes3d}
_TITLES = {"dsprites": "re-rendered dSprites", "3dshapes": "3dshapes-like images"}
_BATCH = 8192


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """A complete grid of images.

    Attributes:
        grid: the factors.
        images: of the whole grid in its order.
        render: gives images of the grid by their factors, with ``options``.
        options: of ``render``.
        white: the value of a white pixel.
        description: which images these are.
    """

    grid: FactorGrid
    images: Shaped[Tensor, "images ..."]
    render: Callable[..., Tensor]
    options: dict[str, Any]
    white: int
    description: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of one image."""
        return tuple(self.images.shape[1:])

    def __repr__(self) -> str:
        return f"Images({self.description})"


def check_grid(operation: str, data: str, sizes: tuple[int, ...] | None) -> None:
    """Raise a ``ValueError`` unless the data set has so many values of each of its factors."""
    most = DATA[data].GRID.sizes
    if sizes is None:
        return
    whole = all(isinstance(size, int) and not isinstance(size, bool) for size in sizes)
    fits = whole and len(sizes) == len(most) and all(1 <= size <= n for size, n in zip(sizes, most, strict=True))
    require(fits, operation, "grid", f"{len(most)} sizes, at most {'×'.join(map(str, most))}", sizes)
    require(max(sizes) >= 2, operation, "grid", "a factor of at least two values", sizes)


@lru_cache(maxsize=1)
def load_images(
    data: str, sizes: tuple[int, ...] | None, image_size: int, stored: bool, device: torch.device
) -> Images:
    """Return the images of a grid.

    Args:
        data: ``"dsprites"`` or ``"3dshapes"``.
        sizes: values of each factor, spread evenly; default: all.
        image_size: height and width; stored images have their own.
        stored: take the original files instead of rendering.
        device: where to keep them.

    Raises:
        DatasetUnavailable: the original files are not on this machine and cannot be fetched.
    """
    module = DATA[data]
    options: dict[str, Any] = {} if stored else {"image_size": image_size}
    render = module.load().render if stored else module.render
    whole = module.GRID
    grid = whole if sizes is None else whole.subgrid(**dict(zip(whole.names, sizes, strict=True)))
    images = torch.cat([part for _, part in batches(render, grid, batch_size=_BATCH, device=device, **options)])
    side = images.shape[-1]
    title = f"original {data}" if stored else _TITLES[data]
    part = "all" if sizes is None else "×".join(map(str, grid.sizes)) + " of"
    description = f"{title}, {len(grid):,} images of {side}×{side} pixels ({part} {'×'.join(map(str, whole.sizes))})"
    return Images(grid, images, render, options, 1 if data == "dsprites" else 255, description)

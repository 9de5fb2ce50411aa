"""Stored images of a complete factor grid, one's own or those of a file, asked for as a renderer is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from toolkit.core.errors import require
from toolkit.datasets.factor_inputs import floating_or
from toolkit.datasets.factors import FactorGrid
from toolkit.datasets.verification import DamagedFile

Layout = Literal["CHW", "HWC"]
Rows = np.ndarray  # different row numbers in ascending order


@dataclass(frozen=True, repr=False, eq=False)
class StoredImages:
    """Images of every combination of factors, one each.

    Attributes:
        grid: the factors.
        title: what these images are, for captions.
        source: where they come from.
        licence: of the images.
        image_shape: (height, width) of grey images, (height, width, 3) of colour images.
        pixel_max: the pixel value that means full intensity.
        row_of: (images of the grid,) where each one is stored; None where the stored order is the grid's.
        read: gives the stored images (rows, *image_shape), uint8, of different rows in ascending order.
    """

    grid: FactorGrid
    title: str
    source: str
    licence: str
    image_shape: tuple[int, ...]
    pixel_max: int
    row_of: np.ndarray | None
    read: Callable[[Rows], np.ndarray]

    def render(
        self,
        factors: object,
        *,
        grid: FactorGrid | None = None,
        dtype: torch.dtype = torch.uint8,
        layout: Layout = "CHW",
        device: torch.device | str | None = None,
    ) -> Shaped[Tensor, "images ..."]:
        """Look images up by their factor indices, as ``sprites.render`` and ``shapes3d.render`` draw them.

        Args:
            factors: (images, factors) integers: tensor, array or nested sequence.
            grid: what the indices refer to; default: all of ``self.grid``.
            dtype: ``torch.uint8`` for the pixels as they are stored, or a floating-point type for 0 to 1.
            layout: of colour images: ``"CHW"`` or ``"HWC"``.
            device: where the images go; default: where ``factors`` are, or the best there is if they are no tensor.

        Returns:
            (images, height, width), (images, 3, height, width) or (images, height, width, 3).

        Raises:
            ValueError: wrong shape, an index out of range, values that are not stored, or a wrong option.
            TypeError: ``factors`` are not integers.
        """
        operation = "StoredImages.render"
        grid = self.grid if grid is None else grid
        floating_or(operation, dtype, torch.uint8)
        require(layout in ("CHW", "HWC"), operation, "layout", "'CHW' or 'HWC'", repr(layout))
        levels = self.grid.levels_of(grid)
        checked = grid.check(operation, factors, device=device)
        columns = [np.asarray(level)[column] for level, column in zip(levels, checked.cpu().numpy().T, strict=True)]
        numbers = np.ravel_multi_index(tuple(columns), self.grid.sizes)
        rows = numbers if self.row_of is None else self.row_of[numbers]
        ascending, back = np.unique(rows, return_inverse=True)
        stored = self.read(ascending) if len(ascending) else np.empty((0, *self.image_shape), np.uint8)
        images = torch.from_numpy(stored[back]).to(checked.device)
        if images.ndim == 4 and layout == "CHW":
            images = images.permute(0, 3, 1, 2).contiguous()
        return images if dtype == torch.uint8 else images.to(dtype).div_(self.pixel_max)

    def __len__(self) -> int:
        return len(self.grid)

    def __repr__(self) -> str:
        return f"StoredImages({self.title}: {len(self):,} of {'×'.join(map(str, self.image_shape))}; {self.source})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the images, as plain types."""
        return {
            "title": self.title,
            "source": self.source,
            "licence": self.licence,
            "image_shape": list(self.image_shape),
            "pixel_max": self.pixel_max,
            "grid": self.grid.to_dict(),
        }


def from_arrays(
    images: UInt8[np.ndarray, "images height width *colours"],
    factors: Shaped[np.ndarray, "images factors"],
    names: Sequence[str],
    *,
    title: str = "own images",
    source: str = "arrays",
    licence: str = "unknown",
    pixel_max: int = 255,
) -> StoredImages:
    """Make a stored grid of one's own images.

    Args:
        images: (images, height, width) or (images, height, width, 3), uint8, in any order. Not copied.
        factors: (images, factors) the value of each factor in each image. Every combination must occur exactly once.
        names: of the factors.
        title: what these images are, for captions.
        source: where they come from.
        licence: of the images.
        pixel_max: the pixel value that means full intensity.

    Returns:
        The images on the grid of the values that occur, in ascending order.

    Raises:
        ValueError: other shapes or types, or combinations that are missing or occur twice.
    """
    pixels = np.asarray(images)
    good = pixels.dtype == np.uint8 and pixels.ndim in (3, 4)
    expected = "uint8 of shape (images, height, width) or (images, height, width, colours)"
    require(good, "from_arrays", "images", expected, f"{pixels.dtype} {pixels.shape}")
    labels = np.asarray(factors)
    expected = f"shape ({len(pixels)}, {len(names)})"
    require(labels.shape == (len(pixels), len(names)), "from_arrays", "factors", expected, labels.shape)
    require(len(labels) > 0, "from_arrays", "images", "at least one", 0)
    numeric = labels.dtype.kind in "iuf" and bool(np.isfinite(labels).all())
    require(numeric, "from_arrays", "factors", "finite numbers", labels.dtype)
    grid, row_of = complete_grid(labels, tuple(names))
    return StoredImages(grid, title, source, licence, pixels.shape[1:], pixel_max, row_of, pixels.__getitem__)


def complete_grid(labels: np.ndarray, names: tuple[str, ...]) -> tuple[FactorGrid, np.ndarray | None]:
    """Return the grid of the values that occur, and where each of its images is stored (None: in order).

    Args:
        labels: (images, factors) the value of each factor in each image, at least one image.
        names: of the factors.

    Raises:
        DamagedFile: (a ``ValueError``) some combination is missing or occurs twice.
    """
    columns = [np.unique(column, return_inverse=True) for column in labels.T]
    grid = FactorGrid(names, tuple(tuple(map(float, values)) for values, _ in columns))
    numbers = np.ravel_multi_index(tuple(level for _, level in columns), grid.sizes)
    found = len(np.unique(numbers))
    if len(numbers) != len(grid) or found != len(grid):
        raise DamagedFile(
            f"not a complete grid: {len(numbers):,} images with {found:,} different combinations of factors, "
            f"expected {' × '.join(map(str, grid.sizes))} = {len(grid):,}"
        )
    in_order = bool((numbers == np.arange(len(grid))).all())
    return grid, None if in_order else np.argsort(numbers)

"""Windows in images, and the tiles with two peaks that the Square attack lays in L2 (arXiv 1912.00049, section 4.3)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.errors import reject


def as_pictures(images: Float[Tensor, "batch *pixels"]) -> tuple[int, int, int, int]:
    """Return batch, channels, height and width; features are one row, three axes are one channel."""
    if images.ndim > 4:
        reject("Square", "images", "[batch, channels, height, width]", f"shape {list(images.shape)}")
    n, *pixels = images.shape
    channels, height, width = (1,) * (4 - images.ndim) + tuple(pixels)
    return n, channels, height, width


def window_mask(
    pictures: Float[Tensor, "batch channels height width"], corners: Int[Tensor, "batch 2"], size: tuple[int, int]
) -> Bool[Tensor, "batch 1 height width"]:
    """Return which pixels lie in a window of the given height and width, one for each image."""
    inside = []
    for axis in (0, 1):
        at = torch.arange(pictures.shape[2 + axis], device=pictures.device)
        start = corners[:, axis : axis + 1]
        inside.append((at >= start) & (at < start + size[axis]))
    return (inside[0].unsqueeze(2) & inside[1].unsqueeze(1)).unsqueeze(1)


def tile(size: int, like: Tensor) -> Float[Tensor, "size size"]:
    """Return a tile of length 1: a peak in the upper half and a trough in the lower one."""
    upper = size // 2
    halves = [_peak(upper, size), -_peak(size - upper, size)]
    found = torch.cat(halves).to(like)
    return found / found.norm()


def mosaic_grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many tiles stand below and beside one another in the first change."""
    size = _mosaic_size(shape)
    return shape[2] // size, shape[3] // size


def mosaic(
    shape: tuple[int, ...], drawn: Float[Tensor, "batch draws rows columns"]
) -> Float[Tensor, "batch channels height width"]:
    """Return changes of length 1 that are covered with tiles.

    Args:
        shape: of the images.
        drawn: uniform numbers on the grid: a turn, and a sign for each channel.
    """
    n, channels, height, width = shape
    size, (rows, columns) = _mosaic_size(shape), drawn.shape[2:]
    one = tile(size, drawn)
    turned = (drawn[:, :1] < 0.5).unsqueeze(-1).unsqueeze(-1)
    signs = torch.where(drawn[:, 1:] < 0.5, 1.0, -1.0).to(drawn).unsqueeze(-1).unsqueeze(-1)
    tiles = signs * torch.where(turned, one.T, one)
    covered = tiles.permute(0, 1, 2, 4, 3, 5).reshape(n, channels, rows * size, columns * size)
    found = drawn.new_zeros(shape)
    top, left = (height - rows * size) // 2, (width - columns * size) // 2
    found[:, :, top : top + rows * size, left : left + columns * size] = covered
    return found / (channels * rows * columns) ** 0.5


def retile(
    change: Float[Tensor, "batch channels height width"],
    corners: Int[Tensor, "batch 2 2"],
    size: int,
    up: Bool[Tensor, "batch channels 1 1"],
    turned: Bool[Tensor, " batch"],
    epsilon: Float[Tensor, "each 1 1 1"],
) -> Float[Tensor, "batch channels height width"]:
    """Move length from one window of each image into another, and add a tile there.

    Args:
        change: of length epsilon at most.
        corners: of the window to fill and of the one to empty.
        size: of both.
        up: whether the tile is added or subtracted.
        turned: whether it lies on its side.
        epsilon: the length of the result: what is missing is added in the window.
    """
    n, channels = change.shape[:2]
    both = window_mask(change, corners[:, 0], (size, size)) | window_mask(change, corners[:, 1], (size, size))
    held = (change * both).square().sum((2, 3), keepdim=True)
    unused = (epsilon**2 - change.square().sum((1, 2, 3), keepdim=True)).clamp(min=0)

    span = torch.arange(size, device=change.device)
    at = (
        torch.arange(n, device=change.device).view(-1, 1, 1, 1),
        torch.arange(channels, device=change.device).view(1, -1, 1, 1),
        (corners[:, 0, :1] + span).view(n, 1, -1, 1),
        (corners[:, 0, 1:] + span).view(n, 1, 1, -1),
    )
    one = tile(size, change)
    laid = torch.where(turned.view(-1, 1, 1, 1), one.T, one)
    filled = torch.where(up, laid, -laid) + _unit(change[at])
    found = change.masked_fill(both, 0)
    found[at] = _unit(filled) * (held + unused / channels).sqrt()
    return found


def _unit(windows: Tensor) -> Tensor:
    length = windows.square().sum((2, 3), keepdim=True).sqrt()
    return windows / torch.where(length > 0, length, torch.ones_like(length))


def _mosaic_size(shape: tuple[int, ...]) -> int:
    return max(min(shape[2:]) // 5, 1)


def _peak(height: int, width: int) -> Tensor:
    """Return a peak in the middle: each square ring around it adds 1/k² to all that it holds."""
    rows = (torch.arange(height, dtype=torch.float64) - height // 2).abs()
    columns = (torch.arange(width, dtype=torch.float64) - width // 2).abs()
    ring = torch.maximum(rows.unsqueeze(1), columns.unsqueeze(0)).long()
    terms = 1 / torch.arange(1, max(height // 2, width // 2) + 2, dtype=torch.float64) ** 2
    return terms.flip(0).cumsum(0).flip(0)[ring]

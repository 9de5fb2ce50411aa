"""Where the windows of a convolution or a pooling lie: sizes, and the slices that take one element of every window."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Pair = tuple[int, int]


def window_count(length: int, window: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Return how many windows fit along an axis: the last partial one is dropped, as in Chainer without cover_all."""
    return (length + 2 * padding - dilation * (window - 1) - 1) // stride + 1


def window_counts(lengths: tuple[int, ...], window: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)) -> Pair:
    """Return :func:`window_count` along the height and the width of ``lengths``, which ends in these two."""
    return (
        window_count(lengths[-2], window[0], stride[0], padding[0], dilation[0]),
        window_count(lengths[-1], window[1], stride[1], padding[1], dilation[1]),
    )


def window_slices(window: Pair, stride: Pair, dilation: Pair, counts: Pair) -> Iterator[tuple[int, int, tuple]]:
    """Yield row, column and index of each element of a window: ``padded[index]`` is that element of all windows."""
    for row in range(window[0]):
        top = row * dilation[0]
        rows = slice(top, top + (counts[0] - 1) * stride[0] + 1, stride[0])
        for column in range(window[1]):
            left = column * dilation[1]
            yield row, column, (..., rows, slice(left, left + (counts[1] - 1) * stride[1] + 1, stride[1]))


def inside(padding: Pair, shape: tuple[int, ...]) -> tuple:
    """Return the index that takes the border off again."""
    return (..., slice(padding[0], padding[0] + shape[-2]), slice(padding[1], padding[1] + shape[-1]))


def first_inside(window: Pair, stride: Pair, padding: Pair, counts: Pair) -> np.ndarray:
    """Return for each window the number of its first element that is no border, shape ``counts``."""
    rows = np.maximum(padding[0] - np.arange(counts[0]) * stride[0], 0)
    columns = np.maximum(padding[1] - np.arange(counts[1]) * stride[1], 0)
    return rows[:, None] * window[1] + columns


def elements_inside(shape: tuple[int, ...], window: Pair, stride: Pair, padding: Pair, counts: Pair) -> np.ndarray:
    """Return for each window how many of its elements are no border, shape ``counts``."""
    along = []
    for length, size, step, border, count in zip(shape[-2:], window, stride, padding, counts, strict=True):
        starts = np.arange(count) * step - border
        along.append(np.minimum(starts + size, length) - np.maximum(starts, 0))
    return along[0][:, None] * along[1]


def first_maximum(module: Any, parts: Sequence[Any]) -> tuple[Any, Any]:
    """Return the largest of several arrays, element by element, and the number of the first array that has it.

    No element's path depends on its value, so that no processor guesses wrong; where there is a NaN the number is not
    to be used.

    Args:
        module: numpy, cupy or torch (on a CPU).
        parts: arrays of one shape.
    """
    best = module.maximum(parts[0], parts[-1])
    for part in parts[1:-1]:
        module.maximum(best, part, out=best)
    # How many arrays before the first one that has the maximum have it not.
    missed = module.ones(best.shape, dtype=bool)
    number = module.zeros(best.shape, dtype=module.uint8 if len(parts) <= 256 else module.int32)
    for part in parts[:-1]:
        missed &= part != best
        number += missed
    return best, number


def samples_a_block(bytes_a_sample: int, block_bytes: int) -> int:
    """Return how many samples to unfold at a time, so that what is unfolded stays in the processor's cache."""
    return max(1, block_bytes // max(1, bytes_a_sample))


def volume(shape: tuple[int, ...]) -> int:
    """Return the number of elements of ``shape``."""
    return math.prod(shape)

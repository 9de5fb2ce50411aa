"""NumPy itself, where small arrays are many: its quickest ways to what CuPy does by the same names.

Reductions are called as their ufuncs, arguments by position, and constants are arrays made once: on a matrix of a few
hundred elements each of these is half of the time.
"""

import functools
from typing import Any

import numpy as np

from toolkit.autograd.backends.numpy_like import BITS, NumPyLikeBackend

_INT64 = np.dtype(np.int64)
_FEW = 16
_MANY = 4096
_add: Any = np.add.reduce
_maximum: Any = np.maximum.reduce


class NumPyBackend(NumPyLikeBackend):
    """Arrays of NumPy."""

    def __init__(self) -> None:
        super().__init__(np, np.ndarray)

    def sum(self, x: Any, axis: Any = None, keepdims: Any = False) -> Any:
        return _add(x, axis, None, None, keepdims)

    def max(self, x: Any, axis: Any = None, keepdims: Any = False) -> Any:
        return _maximum(x, axis, None, None, keepdims)

    def ones_like(self, x: Any) -> Any:
        return np.ones_like(x) if x.shape else _one(x.dtype)

    def relu(self, x: Any) -> Any:
        return np.maximum(x, _zero(x.dtype))

    def where_positive(self, gradient: Any, x: Any) -> Any:
        bits = BITS.get(gradient.dtype.itemsize)
        if bits is None or not x.shape:
            return super().where_positive(gradient, x)
        # Bits times 1 or 0: no NaN is made of an infinity, and where is many times slower.
        chosen = np.greater(x, _zero(x.dtype)).astype(bits)
        chosen *= gradient.view(bits)
        return chosen.view(gradient.dtype)

    def linear_gradients(self, g: Any, x: Any, weight: Any, needs: tuple) -> tuple:
        by_x = None if needs[0] is None else g.dot(weight)
        by_weight = None if needs[1] is None else g.T.dot(x)
        if len(needs) == 2:
            return by_x, by_weight
        if needs[2] is None:
            return by_x, by_weight, None
        rows = len(g)
        return by_x, by_weight, _known_ones(rows, g.dtype).dot(g) if rows <= _MANY else _add(g, 0)

    def log_softmax(self, x: Any, axis: int) -> Any:
        if 0 in x.shape or x.dtype.char == "e":
            return super().log_softmax(x, axis)
        if axis == 1 and len(x.shape) == 2:
            return _log_softmax_of_rows(x)
        with np.errstate(invalid="ignore"):
            lowered = x - _maximum(x, axis, None, None, True)
            lowered -= np.log(_add(np.exp(lowered), axis, None, None, True))
        return lowered

    def checks_labels(self, labels: Any) -> bool:
        return labels.dtype == _INT64

    def cross_entropy(self, x: Any, labels: Any, *, reduction: str) -> tuple[Any, Any, Any]:
        if x.dtype.char == "e":
            loss, log_probabilities, labels = self.cross_entropy(x.astype("f"), labels, reduction=reduction)
            return np.asarray(loss).astype("e"), log_probabilities.astype("e"), labels
        if len(x.shape) != 2 or not x.size:
            return super().cross_entropy(x, labels, reduction=reduction)
        log_probabilities = _log_softmax_of_rows(x)
        samples = len(x)
        # Raises for a label that is out of range, below zero too.
        losses = log_probabilities.take(np.ravel_multi_index((_samples(samples), labels), x.shape))
        if reduction == "none":
            return -losses, log_probabilities, labels
        total = losses.dot(_known_ones(samples, losses.dtype)) if samples <= _MANY else _add(losses)
        return -total if reduction == "sum" else total / -float(samples), log_probabilities, labels

    def cross_entropy_gradient(self, log_probabilities: Any, labels: Any, g: Any, *, reduction: str) -> Any:
        shape = log_probabilities.shape
        if len(shape) != 2 or 0 in shape or log_probabilities.dtype.char == "e":
            return super().cross_entropy_gradient(log_probabilities, labels, g, reduction=reduction)
        samples, classes = shape
        slope = np.exp(log_probabilities, order="C")
        # In a row of all elements one index finds a label, at half the cost of two.
        slope.reshape(-1)[_row_starts(samples, classes) + labels] -= _one(slope.dtype)
        slope *= g.reshape(-1, 1) if reduction == "none" else g.item() / samples if reduction == "mean" else g
        return slope


def _log_softmax_of_rows(x: Any) -> Any:
    rows, length = x.shape
    # Where it stands and what stands there: two to three times as quick as the maximum of many short rows.
    highest = x.take(_row_starts(rows, length) + x.argmax(1))[:, None]
    # An infinity less itself is NaN, which NumPy would warn of. To tell it not to takes longer than to look first.
    if np.count_nonzero(np.isfinite(highest)) == rows:
        return _lowered(x, highest, length)
    with np.errstate(invalid="ignore"):
        return _lowered(x, highest, length)


def _lowered(x: Any, highest: Any, length: int) -> Any:
    lowered = x - highest
    raised = np.exp(lowered)
    if length <= _FEW:
        # With a square of ones each sum comes once an element: more logarithms, but no broadcast over short rows.
        sums = raised.dot(_known_square(length, x.dtype))
        lowered -= np.log(sums, sums)
    elif length <= _MANY:
        # A product with ones is a sum in half the time.
        lowered -= np.log(raised.dot(_known_ones(length, x.dtype)))[:, None]
    else:
        lowered -= np.log(_add(raised, 1, None, None, True))
    return lowered


@functools.cache
def _zero(dtype: Any) -> np.ndarray:
    return _constant(np.zeros((), dtype))


@functools.cache
def _one(dtype: Any) -> np.ndarray:
    return _constant(np.ones((), dtype))


def _samples(count: int) -> np.ndarray:
    return _known_samples(count) if count <= _MANY else np.arange(count)


def _row_starts(rows: int, columns: int) -> np.ndarray:
    return _known_starts(rows, columns) if rows <= _MANY else np.arange(0, rows * columns, columns)


@functools.lru_cache(maxsize=64)
def _known_ones(count: int, dtype: Any) -> np.ndarray:
    return _constant(np.ones(count, dtype))


@functools.lru_cache(maxsize=64)
def _known_square(count: int, dtype: Any) -> np.ndarray:
    return _constant(np.ones((count, count), dtype))


@functools.lru_cache(maxsize=64)
def _known_samples(count: int) -> np.ndarray:
    return _constant(np.arange(count))


@functools.lru_cache(maxsize=64)
def _known_starts(rows: int, columns: int) -> np.ndarray:
    return _constant(np.arange(0, rows * columns, columns))


def _constant(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array

"""Any library that follows the array API standard, through the standard's functions alone.

What the standard lacks goes through NumPy and back; ``THROUGH_NUMPY`` lists it.
"""

import operator
from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends.base import Backend, logsumexp
from toolkit.autograd.backends.neural_array_api import NeuralArrayAPI

THROUGH_NUMPY = ("erf", "einsum", "get_item with index arrays", "scatter_add with index arrays", "embedding_gradient")
"""Operations for which the standard has no function."""

_SAME_NAME = [
    "exp",
    "log",
    "log1p",
    "expm1",
    "sqrt",
    "sin",
    "cos",
    "tanh",
    "sign",
    "abs",
    "maximum",
    "minimum",
    "where",
    "floor",
    "isnan",
    "isfinite",
    "matmul",
    "broadcast_to",
    "ones_like",
    "zeros_like",
    "reshape",
]


class ArrayAPIBackend(NeuralArrayAPI, Backend):
    """Functions of one array namespace.

    Args:
        namespace: what ``array_api_compat.array_namespace`` gives for the library's arrays.
        array_type: the arrays' class.
    """

    add_into = staticmethod(operator.add)

    def __init__(self, namespace: Any, array_type: type) -> None:
        self.namespace = namespace
        self.array_type = array_type
        self.name = namespace.__name__
        for name in _SAME_NAME:
            setattr(self, name, getattr(namespace, name))

    def as_array(self, value: Any, like: Any) -> Any:
        return value if isinstance(value, self.array_type) else self.namespace.asarray(value, dtype=like.dtype)

    def device(self, array: Any) -> Any:
        return array.device

    def is_floating(self, array: Any) -> bool:
        return self.namespace.isdtype(array.dtype, "real floating")

    def item(self, array: Any) -> float | int | bool:
        element = self.reshape(array, ())
        for kind, convert in (("bool", bool), ("integral", int), ("real floating", float)):
            if self.namespace.isdtype(array.dtype, kind):
                return convert(element)
        return complex(element)  # type: ignore[return-value]

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def to_torch(self, array: Any) -> torch.Tensor:
        return torch.from_dlpack(array)

    def from_numpy(self, array: np.ndarray, like: Any) -> Any:
        return self.namespace.asarray(array, device=like.device)

    def copy(self, array: Any) -> Any:
        return self.namespace.asarray(array, copy=True)

    def bytes(self, array: Any) -> int:
        return self.size(array) * int(np.dtype(str(array.dtype).rsplit(".", 1)[-1]).itemsize)

    def storage(self, array: Any) -> tuple[int, int]:
        return id(array), self.bytes(array)

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        return self.namespace.zeros(shape, dtype=like.dtype, device=like.device)

    def full(self, shape: tuple[int, ...], value: Any, like: Any) -> Any:
        return self.namespace.full(shape, value, dtype=like.dtype, device=like.device)

    def arange(self, stop: int, like: Any) -> Any:
        return self.namespace.arange(stop, device=like.device)

    def astype(self, x: Any, like: Any) -> Any:
        return self.namespace.astype(x, like.dtype)

    def sigmoid(self, x: Any) -> Any:
        decay = self.exp(-self.abs(x))
        return self.where(x >= 0, 1.0 / (1.0 + decay), decay / (1.0 + decay))

    def softplus(self, x: Any) -> Any:
        return self.relu(x) + self.log1p(self.exp(-self.abs(x)))

    def clip(self, x: Any, low: float | None, high: float | None) -> Any:
        return self.namespace.clip(x, low, high)

    def erf(self, x: Any) -> Any:
        from scipy.special import erf

        return self.from_numpy(np.asarray(erf(self.to_numpy(x))), x)

    def relu(self, x: Any) -> Any:
        return self.namespace.maximum(x, self.namespace.zeros_like(x))

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = self._number(x)
        return self.namespace.sum(x, axis=axis, keepdims=keepdims, dtype=self._sum_dtype(x))

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self.namespace.mean(x, axis=axis, keepdims=keepdims)

    def var(self, x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0.0) -> Any:
        return self.namespace.var(x, axis=axis, correction=correction, keepdims=keepdims)

    def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self.namespace.max(x, axis=axis, keepdims=keepdims)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return self.namespace.min(x, axis=axis, keepdims=keepdims)

    def prod(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        x = self._number(x)
        return self.namespace.prod(x, axis=axis, keepdims=keepdims, dtype=self._sum_dtype(x))

    def cumsum(self, x: Any, axis: int) -> Any:
        x = self._number(x)
        return self.namespace.cumulative_sum(x, axis=axis, dtype=self._sum_dtype(x))

    def flip(self, x: Any, axis: Any = None) -> Any:
        return self.namespace.flip(x, axis=axis)

    def argmax(self, x: Any, axis: Any = None) -> Any:
        return self.namespace.argmax(x, axis=axis)

    def any_zero(self, x: Any) -> bool:
        return bool(self.namespace.any(x == 0))

    def transpose(self, x: Any, axes: tuple[int, ...]) -> Any:
        return self.namespace.permute_dims(x, axes)

    def concat(self, *arrays: Any, axis: int = 0) -> Any:
        return self.namespace.concat(arrays, axis=axis)

    def stack(self, *arrays: Any, axis: int = 0) -> Any:
        return self.namespace.stack(arrays, axis=axis)

    def pad(self, x: Any, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> Any:
        for axis, (before, after) in enumerate(widths):
            sides = [self.full((*x.shape[:axis], width, *x.shape[axis + 1 :]), value, x) for width in (before, after)]
            x = self.namespace.concat((sides[0], x, sides[1]), axis=axis)
        return x

    def get_item(self, x: Any, index: Any) -> Any:
        if _is_basic(index):
            return x[_complete(index, len(x.shape))]
        return self.from_numpy(self.to_numpy(x)[self._host_index(index)], x)

    def scatter_add(self, gradient: Any, index: Any, shape: tuple[int, ...]) -> Any:
        if _is_basic(index):
            result = self.zeros(shape, gradient)
            parts = index if isinstance(index, tuple) else (index,)
            place = _complete(tuple(part for part in parts if part is not None), len(shape))
            result[place] = self.reshape(gradient, result[place].shape)
            return result
        host = np.zeros(shape, dtype=self.to_numpy(gradient).dtype)
        np.add.at(host, self._host_index(index), self.to_numpy(gradient))
        return self.from_numpy(host, gradient)

    def linear(self, x: Any, weight: Any, bias: Any = None) -> Any:
        y = self.matmul(x, self.transpose(weight, (1, 0)))
        return y if bias is None else y + bias

    def logsumexp(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return logsumexp(self, x, axis, keepdims)

    def einsum(self, *operands: Any, subscripts: str) -> Any:
        host = np.einsum(subscripts, *(self.to_numpy(operand) for operand in operands), optimize=len(operands) > 1)
        return self.from_numpy(np.asarray(host, order="C"), operands[0])

    def _number(self, x: Any) -> Any:
        return self.namespace.astype(x, self.namespace.int64) if self.namespace.isdtype(x.dtype, "bool") else x

    def _sum_dtype(self, x: Any) -> Any:
        return x.dtype if self.is_floating(x) else None

    def _host_index(self, index: Any) -> Any:
        if isinstance(index, tuple):
            return tuple(self._host_index(part) for part in index)
        return self.to_numpy(index) if isinstance(index, self.array_type) else index


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, slice | int) for part in parts)


def _complete(index: Any, ndim: int) -> tuple:
    """Return a basic index that names every axis, as the standard wants it."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(part is Ellipsis for part in parts):
        return parts
    return (*parts, ...) if sum(part is not None for part in parts) < ndim or None in parts else parts

"""The namespace of Variables: what backward rules are run against when the gradient is itself differentiated."""

import functools
from typing import Any

from toolkit.autograd.backends.base import Namespace
from toolkit.autograd.backends.neural_rules import NeuralTapeRules
from toolkit.autograd.recording import apply
from toolkit.autograd.tape import Variable, _result

_CONSTANT = frozenset({"sign", "floor", "zeros_like", "ones_like", "isnan", "isfinite", "argmax"})
"""Functions whose derivative is zero wherever it exists, so that nothing need be recorded."""


def _constant(name: str) -> Any:
    def constant(x: Variable, **params: Any) -> Variable:
        return _result(x.backend.as_array(getattr(x.backend, name)(x.data, **params), x.data), None)

    return constant


class TapeNamespace(NeuralTapeRules, Namespace):
    """The recording operations, under the names the backends use."""

    def __getattr__(self, name: str) -> Any:
        # Found once and kept: backward rules ask for the same few names at every node.
        function = _constant(name) if name in _CONSTANT else getattr(self._operations, name)
        setattr(self, name, function)
        return function

    @functools.cached_property
    def _operations(self) -> Any:
        from toolkit.autograd import operations

        return operations

    def zeros(self, shape: tuple[int, ...], like: Variable) -> Variable:
        return _result(like.backend.zeros(shape, like.data), None)

    def full(self, shape: tuple[int, ...], value: float, like: Variable) -> Variable:
        return _result(like.backend.full(shape, value, like.data), None)

    def arange(self, stop: int, like: Variable) -> Any:
        return like.backend.arange(stop, like.data)

    def astype(self, x: Variable, like: Variable) -> Variable:
        """Convert a constant, a mask say, to the dtype of ``like``."""
        return _result(like.backend.astype(x.data, like.data), None)

    def any_zero(self, x: Variable) -> bool:
        return x.backend.any_zero(x.data)

    # Backward rules pass what fits, so the checks of the public functions are spared.

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Variable:
        return apply(self._operations.shaping.RESHAPE, (x,), {"shape": shape})

    def broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Variable:
        return apply(self._operations.shaping.BROADCAST, (x,), {"shape": shape})

    def transpose(self, x: Any, axes: tuple[int, ...]) -> Variable:
        return apply(self._operations.shaping.TRANSPOSE, (x,), {"axes": axes})

    def matmul(self, a: Any, b: Any) -> Variable:
        return apply(self._operations.linear_algebra.MATMUL, (a, b))

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False) -> Variable:
        return apply(self._operations.reductions.SUM, (x,), {"axis": axis, "keepdims": keepdims})

    def tanh_backward(self, gradient: Variable, output: Variable) -> Variable:
        return self._operations.elementwise.tanh_backward(gradient, output)

    def sigmoid_backward(self, gradient: Variable, output: Variable) -> Variable:
        return self._operations.elementwise.sigmoid_backward(gradient, output)

    def where_positive(self, gradient: Variable, x: Variable) -> Variable:
        return self._operations.elementwise.where_positive(gradient, x)

    def concat(self, *arrays: Variable, axis: int = 0) -> Variable:
        return self._operations.concat(arrays, axis)

    def stack(self, *arrays: Variable, axis: int = 0) -> Variable:
        return self._operations.stack(arrays, axis)

    def einsum(self, *operands: Variable, subscripts: str) -> Variable:
        return self._operations.einsum(subscripts, *operands)


TAPE = TapeNamespace()

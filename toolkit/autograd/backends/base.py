"""What every namespace can do once it has the basic functions, and what a backend of raw arrays adds to that.

Backward rules are written against a ``Namespace``. The methods here combine the namespace's own functions and Python
operators, so they hold for raw arrays of any library and for Variables alike; a backend overrides one where its
library has a faster form.
"""

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np


class Namespace:
    """Pieces of backward rules, from the basic functions of the subclass."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Any function of the library, or any operation on Variables."""

    def tanh_backward(self, gradient: Any, output: Any) -> Any:
        return gradient * (1.0 - output * output)

    def sigmoid_backward(self, gradient: Any, output: Any) -> Any:
        return gradient * (output * (1.0 - output))

    def where_positive(self, gradient: Any, x: Any) -> Any:
        """Return ``gradient`` where ``x > 0``, else 0."""
        return self.where(x > 0, gradient, 0.0)

    def sum_to(self, gradient: Any, shape: tuple[int, ...]) -> Any:
        """Sum over the axes that a broadcast from ``shape`` added or stretched."""
        lead = len(gradient.shape) - len(shape)
        axes = tuple(range(lead)) + tuple(
            axis + lead for axis, length in enumerate(shape) if length == 1 and gradient.shape[axis + lead] != 1
        )
        summed = self.sum(gradient, axis=axes, keepdims=False) if axes else gradient
        return self.reshape(summed, shape) if tuple(summed.shape) != tuple(shape) else summed

    def restore_axes(self, reduced: Any, axis: Any, keepdims: bool, shape: tuple[int, ...]) -> Any:
        """Broadcast what a reduction made of an array of ``shape`` back to that shape."""
        if not keepdims and axis is not None:
            lengths = list(shape)
            for a in as_axes(axis):
                lengths[a] = 1
            reduced = self.reshape(reduced, tuple(lengths))
        return self.broadcast_to(reduced, shape)

    def linear_gradients(self, g: Any, x: Any, weight: Any, needs: tuple) -> tuple:
        """Return the gradients of ``x @ weight.T + bias`` by those inputs that need one."""
        by_x = None if needs[0] is None else self.matmul(g, weight)
        by_weight = None if needs[1] is None else self.matmul(self.swap_last(g), x)
        if len(needs) == 2:
            return by_x, by_weight
        return by_x, by_weight, None if needs[2] is None else self.sum(g, axis=0, keepdims=False)

    def swap_last(self, x: Any) -> Any:
        """Exchange the last two axes."""
        axes = tuple(range(len(x.shape)))
        return self.transpose(x, (*axes[:-2], axes[-1], axes[-2]))


def as_axes(axis: Any) -> tuple[int, ...]:
    return axis if isinstance(axis, tuple) else (axis,)


def logsumexp(xp: "Backend", x: Any, axis: Any, keepdims: bool) -> Any:
    """Compute ``log(sum(exp(x)))`` from the basic functions, shifted by the largest finite element."""
    axes = range(len(x.shape)) if axis is None else as_axes(axis)
    if any(x.shape[a] == 0 for a in axes):
        shape = tuple(1 if k in axes else length for k, length in enumerate(x.shape) if keepdims or k not in axes)
        return xp.full(shape, -math.inf, x)
    level = xp.max(x, axis=axis, keepdims=True)
    level = xp.where(xp.isfinite(level), level, xp.zeros_like(level))
    with np.errstate(divide="ignore"):
        total = xp.log(xp.sum(xp.exp(x - level), axis=axis, keepdims=True)) + level
    if keepdims:
        return total
    return xp.reshape(total, tuple(length for k, length in enumerate(x.shape) if k not in axes))


class Backend(Namespace):
    """Raw arrays of one library.

    Besides these methods a backend has one for each registered operation, taking the operation's arrays in order
    and its parameters by keyword.

    Attributes:
        name: of the library, for messages.
        array_type: what results are.
    """

    name: str
    array_type: type

    add = staticmethod(operator.add)
    subtract = staticmethod(operator.sub)
    multiply = staticmethod(operator.mul)
    divide = staticmethod(operator.truediv)
    power = staticmethod(operator.pow)
    remainder = staticmethod(operator.mod)
    negative = staticmethod(operator.neg)

    add_into = staticmethod(operator.iadd)
    """Add the second array into the first where the library can, and return the sum."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def adopt(self, array: Any) -> Any:
        """Return the plain array a Variable holds, sharing memory with ``array``."""
        return array

    def as_array(self, value: Any, like: Any) -> Any:
        """Return ``value``, a result that may have decayed to a scalar, as an array."""
        return value

    def version(self, saved: tuple) -> int | None:
        """Return a number that changes when a saved array is written to; ``None`` where the library has none."""
        return None

    def checks_labels(self, labels: Any) -> bool:
        """Return whether ``cross_entropy`` takes these as they are and refuses those out of range by itself."""
        return False

    def as_index(self, array: Any) -> Any:
        """Return an integer or bool array as the library takes it for an index."""
        return array

    def is_contiguous(self, array: Any) -> bool:
        """Return whether the elements lie in memory one after the other, the last axis fastest."""
        return True

    def item(self, array: Any) -> float | int | bool:
        """Return the only element as a Python number."""
        return array.item()

    def size(self, array: Any) -> int:
        """Return the number of elements."""
        return math.prod(array.shape)

    def describe(self, array: Any) -> str:
        """Return values, dtype and place in one short text."""
        values = np.array2string(self.to_numpy(array), separator=", ", threshold=8, edgeitems=3, precision=4)
        place = str(self.device(array))
        return f"{values}, dtype={array.dtype}" + ("" if place == "cpu" else f", device={place}")

    def bytes(self, array: Any) -> int:
        """Return how many bytes the elements take."""
        raise NotImplementedError

    def storage(self, array: Any) -> tuple[int, int]:
        """Return address and bytes of the memory the array views, the same for all views of one array."""
        raise NotImplementedError

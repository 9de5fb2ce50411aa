"""Checks of the neural functions' arguments, each error naming the argument as the caller wrote it."""

import operator
from typing import Any

import numpy as np
import torch

from toolkit.autograd.operation import Operation
from toolkit.autograd.recording import apply
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error

_REDUCTIONS = ("mean", "sum", "none")


def floating(operation: str, argument: str, value: Any, *, like: Variable | None = None) -> Variable:
    """Return a Variable of a floating-point dtype: that of ``like``, and of its library, if there is one.

    Raises:
        TypeError: no array, another array library, or another dtype.
    """
    variable = value if isinstance(value, Variable) else as_variable(value, operation, argument)
    data = variable.data
    if like is None:
        if not variable.backend.is_floating(data):
            raise argument_error(operation, argument, "a floating-point array", f"dtype {data.dtype}", kind=TypeError)
    elif type(data) is not type(like.data):
        raise argument_error(
            operation, argument, f"an array of {like.backend.name}, as the first", variable.backend.name, kind=TypeError
        )
    elif data.dtype != like.data.dtype:
        raise argument_error(operation, argument, f"dtype {like.data.dtype}, as the first", data.dtype, kind=TypeError)
    return variable


def shaped(operation: str, argument: str, value: Any, shape: tuple[int, ...], like: Variable) -> Variable | None:
    """Return :func:`floating` of exactly ``shape``, or ``None`` for ``None``.

    Raises:
        ValueError: another shape.
    """
    if value is None:
        return None
    variable = floating(operation, argument, value, like=like)
    if variable.shape != shape:
        raise argument_error(operation, argument, f"shape {shape}", variable.shape)
    return variable


def integers(operation: str, argument: str, value: Any, like: Variable) -> Any:
    """Return integers as an array of the library of ``like``, 64 bits wide.

    Args:
        operation: the function, for errors.
        argument: the argument, for errors.
        value: integer array or Variable; NumPy arrays, lists and Python integers go with every library.
        like: whose library and device.

    Raises:
        TypeError: not integers, or an array of a third library.
    """
    array = value.data if isinstance(value, Variable) else value
    backend = like.backend
    if type(array) is not type(like.data):
        if not isinstance(array, np.ndarray | np.generic | list | tuple | int):
            expected = f"integers, in a NumPy array or one of {backend.name}"
            raise argument_error(operation, argument, expected, type(array).__name__, kind=TypeError)
        host = np.asarray(array)
        array = host.astype(np.int64) if host.size == 0 and not isinstance(value, np.ndarray) else host
        if array.dtype.kind in "iu":
            array = backend.from_numpy(array.astype(np.int64, copy=False), like.data)
    if array.dtype is torch.int64:
        return array
    kind = str(array.dtype).rsplit(".", 1)[-1]
    if "int" not in kind:
        raise argument_error(operation, argument, "integers", f"dtype {array.dtype}", kind=TypeError)
    return array if kind == "int64" else backend.astype(array, backend.arange(0, array))


def look_up(
    operation: Operation, inputs: tuple, params: dict | None, *, argument: str, limit: int, like: Variable
) -> Variable:
    """Apply an operation whose input ``argument``, the only one of integers, must lie from 0 to ``limit - 1``.

    Raises:
        ValueError: an integer out of range.
    """
    (array,) = (value for value in inputs if not isinstance(value, Variable))
    # torch's kernels look themselves on a CPU; on a GPU they break the whole process, and NumPy counts from the end.
    # A CUDA graph that is being captured cannot wait for the answer.
    if type(array) is not torch.Tensor or not (array.is_cpu or torch.cuda.is_current_stream_capturing()):
        _in_range(operation.name, argument, array, limit, like)
    try:
        return apply(operation, inputs, params)
    except (ValueError, IndexError):
        _in_range(operation.name, argument, array, limit, like)
        raise


def _in_range(operation: str, argument: str, array: Any, limit: int, like: Variable) -> None:
    backend = like.backend
    if backend.size(array):
        low, high = backend.item(backend.min(array)), backend.item(backend.max(array))
        if low < 0 or high >= limit:
            raise argument_error(operation, argument, f"integers from 0 to {limit - 1}", low if low < 0 else high)


def pair(operation: str, argument: str, value: Any, least: int) -> tuple[int, int]:
    """Return ``value``, an integer or one for height and one for width, as two integers.

    Raises:
        TypeError: not integers.
        ValueError: not one or two of them, or less than ``least``.
    """
    parts = value if isinstance(value, tuple | list) else (value, value)
    try:
        numbers = tuple(operator.index(part) for part in parts if not isinstance(part, bool))
    except TypeError:
        numbers = ()
    if len(numbers) != len(parts):
        raise argument_error(operation, argument, "an integer or two (height, width)", repr(value), kind=TypeError)
    if len(numbers) != 2 or min(numbers) < least:
        raise argument_error(operation, argument, f"an integer or two (height, width), at least {least}", repr(value))
    return numbers  # type: ignore[return-value]


def reduction_name(operation: str, value: Any) -> str:
    """Return a reduction's name.

    Raises:
        ValueError: it is none of ``"mean"``, ``"sum"`` and ``"none"``.
    """
    if value not in _REDUCTIONS:
        raise argument_error(operation, "reduction", f"one of {_REDUCTIONS}", repr(value))
    return value

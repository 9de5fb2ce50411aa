"""What callers give as factors: turned into tensors, or refused in the name of the function that was called."""

import operator
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_device
from toolkit.core.errors import argument_error, reject, require


def integers(operation: str, argument: str, given: object, device: torch.device | str | None = None) -> Tensor:
    """Return an int64 tensor of any shape, or complain in the name of ``operation``.

    Args:
        operation: the function that was given it.
        argument: its name there.
        given: tensor, array or nested sequence.
        device: default: where a tensor is, else the best there is.

    Raises:
        TypeError: not integers.
    """
    tensor = _tensor(operation, argument, given)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        expected = "integers (factor values that are no indices: render_values)"
        reject(operation, argument, expected, str(tensor.dtype).removeprefix("torch."), kind=TypeError)
    return tensor.to(resolve_device(device, like=given if isinstance(given, Tensor) else None), torch.int64)


def continuous(
    operation: str, values: object, names: tuple[str, ...], *, device: torch.device | str | None = None
) -> Float[Tensor, "images factors"]:
    """Return factor values as a finite float32 tensor, or complain in the name of ``operation``.

    Args:
        operation: the function that was given them.
        values: (images, factors) numbers: tensor, array or nested sequence.
        names: of the factors.
        device: default: where a tensor is, else the best there is.

    Raises:
        ValueError: wrong shape, NaN or infinity.
        TypeError: not numbers.
    """
    tensor = _tensor(operation, "values", values)
    if tensor.dtype == torch.bool or tensor.is_complex():
        reject(operation, "values", "real numbers", str(tensor.dtype), kind=TypeError)
    where = resolve_device(device, like=values if isinstance(values, Tensor) else None)
    checked = tensor.detach().to(where, torch.float32)
    expected = f"shape (images, {len(names)}), one column each of {', '.join(names)}"
    require(checked.ndim == 2 and checked.shape[1] == len(names), operation, "values", expected, tuple(checked.shape))
    for name, good in zip(names, checked.isfinite().all(0).tolist(), strict=True):
        require(good, operation, "values", f"finite values of {name}", "NaN or infinity")
    return checked


def in_range(operation: str, name: str, column: Float[Tensor, " images"], low: float | int, high: float | int) -> None:
    """Complain unless all values of the factor ``name`` are in [low, high]."""
    if len(column):
        lowest, highest = torch.stack(column.aminmax()).tolist()
        actual = f"{lowest:g} to {highest:g}"
        # The values come from float32, so the ends are compared as they are there.
        inside = np.float32(low) <= np.float32(lowest) and np.float32(highest) <= np.float32(high)
        require(bool(inside), operation, "values", f"{name} in [{low:g}, {high:g}]", actual)


def chosen_levels(name: str, choice: Any, size: int, *, circular: bool) -> list[int]:
    """Return which levels of the factor ``name`` are meant by an argument of ``FactorGrid.subgrid``.

    Args:
        name: of the factor.
        choice: how many, a slice, or indices.
        size: how many levels there are.
        circular: whether the first level follows the last.

    Raises:
        ValueError: none, too many, one twice, or out of range.
        TypeError: something else than integers.
    """
    if isinstance(choice, slice):
        chosen = list(range(size))[choice]
    elif isinstance(choice, Iterable) and not (isinstance(choice, (Tensor, np.ndarray)) and choice.ndim == 0):
        chosen = [_integer(name, level) for level in choice]
    else:
        count = _integer(name, choice)
        require(1 <= count <= size, "FactorGrid.subgrid", name, f"1 to {size} values", count)
        if circular:
            return [level * size // count for level in range(count)]
        gaps = max(count - 1, 1)
        return [(2 * level * (size - 1) + gaps) // (2 * gaps) for level in range(count)]  # rounded half up
    require(len(chosen) > 0, "FactorGrid.subgrid", name, "at least one index", "none")
    require(len(set(chosen)) == len(chosen), "FactorGrid.subgrid", name, "each index once", chosen)
    inside = all(0 <= level < size for level in chosen)
    require(inside, "FactorGrid.subgrid", name, f"indices from 0 to {size - 1}", chosen)
    return chosen


def at_least(operation: str, argument: str, value: object, least: int = 1) -> int:
    """Return a count or size as an int, or complain in the name of ``operation``.

    Raises:
        ValueError: less than ``least``.
        TypeError: not an integer.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        reject(operation, argument, "an integer", repr(value), kind=TypeError)
    number = operator.index(cast(Any, value))
    require(number >= least, operation, argument, f">= {least}", number)
    return number


def floating_or(operation: str, dtype: object, *others: torch.dtype) -> None:
    """Complain unless ``dtype`` is a floating-point type of 16 bits or more, or one of ``others``.

    Raises:
        ValueError: it is another type.
        TypeError: it is no ``torch.dtype``.
    """
    expected = " or ".join(map(str, (*others, "a floating-point type")))
    if not isinstance(dtype, torch.dtype):
        reject(operation, "dtype", expected, repr(dtype), kind=TypeError)
    allowed = (*others, torch.float16, torch.bfloat16, torch.float32, torch.float64)
    require(dtype in allowed, operation, "dtype", expected, dtype)


def _tensor(operation: str, argument: str, given: object) -> Tensor:
    if isinstance(given, Tensor):
        require(given.device.type != "meta", operation, argument, "numbers", "a tensor on meta, which holds none")
        return given
    try:
        array = np.asarray(given)
        if not array.size and not isinstance(given, np.ndarray):
            array = array.astype(np.int64)  # an empty list has no type of its own
        # A copy, because torch takes neither foreign byte order nor negative strides, and warns about read-only memory.
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError, RuntimeError) as error:
        expected = "a tensor, array or sequence of numbers"
        raise argument_error(operation, argument, expected, type(given).__name__, kind=TypeError) from error


def _integer(name: str, value: object) -> int:
    try:
        if isinstance(value, (bool, np.bool_)) or (isinstance(value, Tensor) and value.dtype == torch.bool):
            raise TypeError
        return operator.index(cast(Any, value))
    except TypeError as error:
        expected = "how many values, a slice, or indices"
        raise argument_error("FactorGrid.subgrid", name, expected, repr(value), kind=TypeError) from error

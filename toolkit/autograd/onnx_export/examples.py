"""Example inputs: given names, and varied so that a program that looks at them shows it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.autograd.backends import backend_of
from toolkit.autograd.links import Link
from toolkit.autograd.places import is_array
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error, require

_LONGEST = 60


@dataclass(frozen=True)
class Examples:
    """Sets of inputs, arrays by name.

    Attributes:
        given: with the values that were given.
        longer: with other values within their range, and more samples.
        others: as many samples as ``given``; values at the low end of the range, at the high end, and beyond it, where
            a program may rightly refuse them.
        sizes: numbers of samples of ``given`` and ``longer``; ``None`` if no length may vary.
        samples: where the number of samples is read: an input's name and its axis; ``None`` likewise.
    """

    given: dict[str, Any]
    longer: dict[str, Any]
    others: tuple[dict[str, Any], ...]
    sizes: tuple[int, int] | None
    samples: tuple[str, int] | None


def named_inputs(chain: Callable, examples: Any) -> dict[str, Any]:
    """Return the example arrays under the names of the arguments, integers 64 bits wide."""
    if isinstance(examples, Mapping):
        given = dict(examples)
    else:
        values = list(examples) if isinstance(examples, tuple | list) else [examples]
        given = dict(zip(_argument_names(chain, len(values)), values, strict=True))
    require(bool(given), "export_onnx", "example_inputs", "at least one array", "none")
    found = {}
    for name, value in given.items():
        array = value.data if isinstance(value, Variable) else value
        if not is_array(array):
            expected = "an array or Variable"
            raise argument_error(
                "export_onnx", f"example_inputs[{name!r}]", expected, repr(value)[:_LONGEST], kind=TypeError
            )
        backend = backend_of(array, "export_onnx", name)
        array = backend.adopt(array)
        if "int" in str(array.dtype) and "64" not in str(array.dtype):
            array = backend.from_numpy(backend.to_numpy(array).astype(np.int64), array)
        found[name] = array
    return found


def _argument_names(chain: Callable, count: int) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        signature = inspect.signature(chain.forward if isinstance(chain, Link) else chain)
        names = [name for name, parameter in signature.parameters.items() if parameter.kind in kinds]
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [f"input_{k}" for k in range(count)]


def varied(inputs: dict[str, Any], axis: int | None) -> Examples:
    """Return the inputs, of at least two samples along ``axis``, and others beside them.

    Raises:
        ValueError: no axis, or numbers of samples that differ.
    """
    counts = {}
    if axis is not None:
        whole = isinstance(axis, int) and not isinstance(axis, bool) and axis >= 0
        require(whole, "export_onnx", "batch_axis", "an axis from 0 on, or None", repr(axis))
        counts = {name: array.shape[axis] for name, array in inputs.items() if len(array.shape) > axis}
        same = len(set(counts.values())) <= 1 and 0 not in counts.values()
        expected = "the same number of samples, at least 1, in all inputs (batch_axis=None fixes all lengths)"
        require(same, "export_onnx", "example_inputs", expected, counts)

    def made(length: int | None, change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
        return {
            name: _changed(array, axis if name in counts else None, length, change) for name, array in inputs.items()
        }

    n = longer = None
    sizes = samples = None
    if counts and axis is not None:
        name, count = next(iter(counts.items()))
        # Far enough apart that half of them, say, is not the same number twice.
        n = max(count, 2)
        longer = 2 * n + 1
        sizes, samples = (n, longer), (name, axis)
    others = tuple(made(n, change) for change in (_low, _high, _beyond))
    return Examples(made(n, _same), made(longer, _mirrored), others, sizes, samples)


def _changed(array: Any, axis: int | None, length: int | None, change: Callable[[np.ndarray], Any]) -> Any:
    """Return an array of ``length`` samples along ``axis``, if there is one, with changed values."""
    backend = backend_of(array, "export_onnx", "example_inputs")
    host = backend.to_numpy(array)
    if axis is not None and length is not None:
        host = np.take(host, np.arange(length) % host.shape[axis], axis)
    if host.size:
        with np.errstate(all="ignore"):
            host = change(host).astype(host.dtype)
    host = np.array(host)
    return backend.astype(backend.from_numpy(host, array), array)


def _same(values: np.ndarray) -> Any:
    return values


def _mirrored(values: np.ndarray) -> Any:
    if values.dtype == np.dtype(bool):
        return ~values
    low, high = values.min(), values.max()
    return values + 0.5 if _constant(values) else low + high - values


def _low(values: np.ndarray) -> Any:
    if values.dtype == np.dtype(bool):
        return np.zeros_like(values)
    return values - 0.5 if _constant(values) else values.min() + _quarter(values)


def _high(values: np.ndarray) -> Any:
    if values.dtype == np.dtype(bool):
        return np.ones_like(values)
    return values + 1.5 if _constant(values) else values.max() - _quarter(values)


def _beyond(values: np.ndarray) -> Any:
    return -3 * values if values.dtype.kind == "f" else values


def _constant(values: np.ndarray) -> bool:
    """Return whether floating-point numbers are all the same, and so have no range."""
    return values.dtype.kind == "f" and bool(values.min() == values.max())


def _quarter(values: np.ndarray) -> Any:
    """Return a quarter of the distances from the lowest value, of integers rounded down."""
    above = values - values.min()
    return above / 4 if values.dtype.kind == "f" else above // 4

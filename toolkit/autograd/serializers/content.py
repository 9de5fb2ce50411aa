"""What a file holds of a state: arrays by path, and everything else as one JSON text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends import backend_of
from toolkit.autograd.states import flatten_state
from toolkit.core.errors import CheckpointError, argument_error

__all__ = ["NOTES", "Content", "file_error", "pack", "unpack"]

NOTES = "__toolkit__"
"""Name of the JSON text in a file."""

_FORMAT = "toolkit-state/1"
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Content:
    """A state, taken apart.

    Attributes:
        arrays: by path: NumPy arrays of numbers, and torch tensors on the CPU.
        plain: numbers, texts, ``None``, empty dicts, and lists of these, by path.
    """

    arrays: dict[str, Any]
    plain: dict[str, Any]

    def notes(self, bits: Mapping[str, str] | None = None) -> str:
        """Return the JSON text.

        Args:
            bits: names of the torch dtypes that are stored as integers of the same bits, by path.
        """
        tensors = [path for path, array in self.arrays.items() if isinstance(array, torch.Tensor)]
        notes = {"format": _FORMAT, "plain": self.plain, "torch": tensors, "bits": dict(bits or {})}
        return json.dumps(notes)


def pack(operation: str, obj: Any) -> Content:
    """Take the state of an object apart.

    Args:
        operation: named in errors.
        obj: anything with ``state_dict()``, or a state.

    Raises:
        TypeError: something in the state cannot be stored.
        ValueError: a key is empty or holds a slash.
    """
    if not isinstance(obj, Mapping):
        if not hasattr(obj, "state_dict"):
            actual = type(obj).__name__
            raise argument_error(operation, "obj", "a state or an object with state_dict()", actual, kind=TypeError)
        obj = obj.state_dict()
    arrays, plain = {}, {}
    for path, leaf in flatten_state(obj, operation).items():
        if _is_plain(leaf):
            plain[path] = leaf
        else:
            arrays[path] = _stored(operation, path, leaf)
        if path == NOTES or len(path.encode()) > 60_000:
            raise argument_error(operation, "state", f"paths below 60 kB, and not {NOTES!r}", f"{path:.80}")
    return Content(arrays, plain)


def unpack(path: Path, arrays: Mapping[str, Any], notes: str | None) -> dict[str, Any]:
    """Return the leaves of a state by path.

    Args:
        path: the file, for errors.
        arrays: NumPy arrays and tensors by path.
        notes: the JSON text; ``None`` in a file of another program.

    Raises:
        CheckpointError: the notes are damaged.
    """
    if notes is None:
        return {name: _text_or(array) for name, array in arrays.items()}
    try:
        read = json.loads(notes)
        plain, tensors, bits = dict(read["plain"]), list(read["torch"]), dict(read["bits"])
        known = read["format"] == _FORMAT and not set(plain) & set(arrays) and {*tensors, *bits} <= set(arrays)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise file_error(path, "the notes of a saved state", f"{type(error).__name__}: {error}") from error
    if not known:
        raise file_error(path, f"the notes of a state of format {_FORMAT!r}", f"others ({read['format']!r})")
    leaves = {**arrays, **plain}
    for name in tensors:
        tensor = torch.as_tensor(leaves[name])
        if name in bits:
            dtype = getattr(torch, str(bits[name]), None)
            if not isinstance(dtype, torch.dtype) or dtype.itemsize != tensor.dtype.itemsize:
                raise file_error(path, f"a type of torch of {tensor.dtype.itemsize} bytes for {name}", repr(bits[name]))
            tensor = tensor.view(dtype)
        leaves[name] = tensor
    return leaves


def file_error(path: Path, expected: str, actual: str) -> CheckpointError:
    """Return the one error for a file that cannot be loaded."""
    return CheckpointError(f"state {path}: cannot be loaded\n  expected: {expected}\n  actual:   {actual}")


def _is_plain(value: Any, depth: int = 0) -> bool:
    if type(value) in _PLAIN:
        return True
    if depth > 100:
        return False
    if isinstance(value, list | tuple):
        return all(_is_plain(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item, depth + 1) for key, item in value.items())
    return False


def _stored(operation: str, path: str, value: Any) -> Any:
    """Return an array as it is stored: NumPy's, or a plain tensor on the CPU."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_meta or value.is_quantized:
            actual = f"{path}: layout {value.layout}, device {value.device}, {value.dtype}"
            raise argument_error(operation, "state", "dense tensors with data", actual, kind=TypeError)
        return value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if isinstance(value, np.generic):
        value = np.asarray(value)
    refused = hasattr(value, "requires_grad") or not hasattr(value, "dtype") or isinstance(value, np.ma.MaskedArray)
    if not refused:
        try:
            value = backend_of(value, operation, path).to_numpy(value)
        except TypeError:
            refused = True
    if refused or value.dtype.kind not in "biufc":
        actual = f"{path}: {type(value).__name__} {getattr(value, 'dtype', '')!s}".rstrip()
        expected = "arrays of numbers, numbers, texts, None, and lists of the latter"
        raise argument_error(operation, "state", expected, actual, kind=TypeError)
    return np.asarray(value, dtype=value.dtype.newbyteorder("="), order="C")


def _text_or(array: Any) -> Any:
    """Return the text in an array without axes, as NumPy stores one; any other array as it is."""
    return array.item() if isinstance(array, np.ndarray) and array.dtype.kind == "U" else array

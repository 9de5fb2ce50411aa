"""Putting the leaves of a read state back into an object, all or, if not strict, those that fit."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends import backend_of
from toolkit.autograd.places import is_array
from toolkit.autograd.serializers.content import file_error
from toolkit.autograd.states import LoadReport, flatten_state, nest_state
from toolkit.core.errors import argument_error

__all__ = ["restore"]


def restore(path: Path, leaves: dict[str, Any], obj: Any, strict: bool) -> LoadReport:
    """Put the leaves back.

    Args:
        path: the file, for errors.
        leaves: of the read state, by path.
        obj: anything with ``load_state_dict()``, nested dicts, or ``None``.
        strict: all or nothing.

    Raises:
        CheckpointError: they do not fit.
        TypeError: ``obj`` is none of these.
    """
    try:
        nested = nest_state(leaves)
    except ValueError as error:
        raise file_error(path, "paths of a tree", str(error)) from error
    if obj is None:
        return LoadReport(loaded=tuple(leaves), state=nested)
    if isinstance(obj, MutableMapping):
        return _into_dict(path, leaves, obj, strict)
    if not hasattr(obj, "load_state_dict"):
        expected = "an object with load_state_dict(), nested dicts, or None"
        raise argument_error("load", "obj", expected, type(obj).__name__, kind=TypeError)
    own = flatten_state(obj.state_dict(), "load")
    fitted = nest_state({name: _like(own[name], leaf) if name in own else leaf for name, leaf in leaves.items()})
    report = _compared(own, leaves)
    try:
        result = obj.load_state_dict(fitted, strict=strict)
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise file_error(path, f"the state of this {type(obj).__name__}", str(error)) from error
    if isinstance(result, LoadReport):
        return result
    return LoadReport(loaded=tuple(leaves)) if strict else report


def _into_dict(path: Path, leaves: dict[str, Any], obj: MutableMapping[str, Any], strict: bool) -> LoadReport:
    own = flatten_state(obj, "load")
    report = _compared(own, leaves)
    if strict and not report.complete:
        raise file_error(path, "the keys and shapes of the dict (nothing has been changed)", report.problems())
    for name in report.loaded:
        *parents, key = name.split("/")
        inner = obj
        for parent in parents:
            inner = inner[parent]
        inner[key] = _like(own[name], leaves[name])
    return report


def _compared(own: Mapping[str, Any], leaves: Mapping[str, Any]) -> LoadReport:
    both = [name for name in leaves if name in own]
    misshapen = tuple(name for name in both if not _fits(own[name], leaves[name]))
    return LoadReport(
        loaded=tuple(name for name in both if name not in misshapen),
        missing=tuple(name for name in own if name not in leaves),
        unexpected=tuple(name for name in leaves if name not in own),
        misshapen=misshapen,
    )


def _fits(own: Any, leaf: Any) -> bool:
    if not is_array(own):
        return own is None or not is_array(leaf) or tuple(leaf.shape) == ()
    if not is_array(leaf):
        return isinstance(leaf, int | float) and own.shape == ()
    return tuple(leaf.shape) == tuple(own.shape) and not _loses_a_part(own, leaf)


def _loses_a_part(own: Any, leaf: Any) -> bool:
    """Return whether the leaf is complex and the target is not."""
    return "complex" in str(getattr(leaf, "dtype", "")) and "complex" not in str(own.dtype)


def _like(own: Any, leaf: Any) -> Any:
    """Return a leaf as the target has it: an array of the same library, or a plain number."""
    if is_array(own) and (is_array(leaf) or isinstance(leaf, int | float)) and not _loses_a_part(own, leaf):
        if isinstance(own, torch.Tensor):
            return torch.as_tensor(leaf).to(device=own.device, dtype=own.dtype)
        backend = backend_of(own, "load", "obj")
        array = np.asarray(leaf) if not is_array(leaf) else backend_of(leaf, "load", "state").to_numpy(leaf)
        return backend.astype(backend.from_numpy(array, own), own)
    if isinstance(own, bool | int | float) and is_array(leaf) and tuple(leaf.shape) == ():
        return type(own)(leaf.item())
    return leaf

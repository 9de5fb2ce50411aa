"""Labels and cluster numbers as callers hold them: lists, arrays, tensors, of numbers or of names."""

import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require

NUMBERS = "biuf"
NAMES = "US"


def read_labels(operation: str, argument: str, given: object) -> np.ndarray:
    """Return labels as a one-dimensional NumPy array of numbers or of strings.

    Args:
        operation: the caller's name, for the errors.
        argument: the argument's name, for the errors.
        given: a list, an array, a pandas series or a tensor on any device, ``[points]``: integers, booleans, floats
            with whole values, or strings.

    Returns:
        ``[points]``, at least one; whole floats come back as they are.

    Raises:
        ValueError: not one-dimensional, empty, or with missing, infinite or fractional entries.
        TypeError: something that is no label.
    """
    values = _as_array(operation, argument, given)
    require(values.ndim == 1, operation, argument, "one-dimensional labels", f"shape {values.shape}")
    require(values.size > 0, operation, argument, "at least one label", "none")
    missing = "no missing label"
    require(not np.ma.is_masked(given), operation, argument, missing, "a masked entry")
    if values.dtype.kind == "O":
        values = _of_objects(operation, argument, list(values))
    elif values.dtype.kind == "U" and isinstance(given, list | tuple):
        # NumPy turns numbers among names into names, a NaN too.
        values = _of_objects(operation, argument, list(given))
    if values.dtype.kind not in NUMBERS + NAMES:
        reject(operation, argument, "integers or strings", values.dtype, kind=TypeError)
    if values.dtype.kind == "f":
        require(not np.isnan(values).any(), operation, argument, missing, "NaN")
        whole = bool((np.isfinite(values) & (values == np.floor(values))).all())
        require(whole, operation, argument, "whole numbers", "fractions or infinities")
    return values


def read_label_pair(operation: str, first: tuple[str, object], second: tuple[str, object]) -> tuple[np.ndarray, ...]:
    """Return two label arrays of one length; each comes as its argument's name and its value."""
    one, other = read_labels(operation, *first), read_labels(operation, *second)
    require(len(one) == len(other), operation, second[0], f"as many as {first[0]}: {len(one)}", len(other))
    return one, other


def _as_array(operation: str, argument: str, given: object) -> np.ndarray:
    if isinstance(given, Tensor):
        if given.layout is not torch.strided:
            reject(operation, argument, "a dense tensor", given.layout, kind=TypeError)
        given = given.detach().cpu()
        # NumPy has no bfloat16.
        return (given.double() if given.is_floating_point() else given).numpy()
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise argument_error(operation, argument, "one-dimensional labels", str(error)) from error


def _of_objects(operation: str, argument: str, entries: list[Any]) -> np.ndarray:
    if all(isinstance(entry, str) for entry in entries):
        return np.array(entries, dtype=str)
    if all(isinstance(entry, numbers.Real) for entry in entries):
        found = np.array([entry.item() if isinstance(entry, np.generic) else entry for entry in entries])
        if found.dtype.kind in NUMBERS:
            return found
    kinds = sorted({type(entry).__name__ for entry in entries})
    expected = "integers or strings, none missing"
    raise argument_error(operation, argument, expected, "entries of " + ", ".join(kinds), kind=TypeError)

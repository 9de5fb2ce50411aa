"""Checks of the sizes that layers are made with."""

from typing import Any

import numpy as np

from toolkit.core.errors import argument_error

__all__ = ["optional_size", "size"]


def size(operation: str, argument: str, value: Any, least: int = 1) -> int:
    """Return ``value``, an integer of at least ``least``.

    Raises:
        TypeError: no integer.
        ValueError: less.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise argument_error(operation, argument, f"an integer, at least {least}", repr(value), kind=TypeError)
    if value < least:
        raise argument_error(operation, argument, f"an integer, at least {least}", value)
    return int(value)


def optional_size(operation: str, argument: str, value: Any, least: int = 0) -> int | None:
    """Return :func:`size`, or ``None`` for ``None``: the first input tells."""
    return None if value is None else size(operation, argument, value, least)

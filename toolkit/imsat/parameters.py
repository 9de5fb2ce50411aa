"""Complaints about parameters, one clear error each that names it."""

import math
import numbers
from collections.abc import Collection
from typing import Any

from toolkit.core.errors import reject, require


def check_integer(operation: str, parameter: str, value: Any, least: int) -> None:
    """Refuse anything but an integer of at least ``least``.

    Raises:
        TypeError: no integer.
        ValueError: too small a one.
    """
    expected = f"an integer >= {least}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        reject(operation, parameter, expected, repr(value), kind=TypeError)
    require(int(value) >= least, operation, parameter, expected, value)


def check_number(operation: str, parameter: str, value: Any, *, positive: bool = False, optional: bool = False) -> None:
    """Refuse anything but a finite number of at least 0.

    Args:
        operation: for the error.
        parameter: its name.
        value: the number.
        positive: refuse 0 too.
        optional: ``None`` is fine.

    Raises:
        TypeError: no number.
        ValueError: negative, infinite or NaN.
    """
    if optional and value is None:
        return
    expected = f"a finite number {'> 0' if positive else '>= 0'}{' or None' if optional else ''}"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        reject(operation, parameter, expected, repr(value), kind=TypeError)
    number = float(value)
    fine = math.isfinite(number) and (number > 0 if positive else number >= 0)
    require(fine, operation, parameter, expected, value)


def check_choice(operation: str, parameter: str, value: Any, choices: Collection[str]) -> None:
    """Refuse anything but one of some names.

    Raises:
        ValueError: another one.
    """
    fine = isinstance(value, str) and value in choices
    require(fine, operation, parameter, " or ".join(map(repr, choices)), repr(value))

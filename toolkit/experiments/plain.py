"""Plain values of a record's file: numbers that JSON lacks, and complaints that name the place."""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

_NOT_FINITE = "$float"


class RecordError(ValueError):
    """A file is no record of a run: truncated, foreign, or of another version of the format."""


class Reader:
    """Takes values out of a parsed file, or says where the file is wrong."""

    def __init__(self, origin: str):
        self.origin = origin

    def fail(self, where: str, expected: str, actual: str) -> NoReturn:
        complaint = f"expected: {where} to be {expected}\n  actual:   {actual}"
        raise RecordError(f"{self.origin}: no record of a run\n  {complaint}")

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(where, "an object", type(value).__name__)
        return value

    def number(self, value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(where, "a number", repr(value))
        try:
            return float(value)
        except OverflowError:
            self.fail(where, "a number below 1.8e308", "a larger integer")

    def integer(self, value: Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(where, "an integer", repr(value))
        return value

    def get(self, values: Any, name: str, kind: Any, where: str = "") -> Any:
        values = self.mapping(values, where.rstrip(".") or "the file")
        if name not in values:
            self.fail(f"{where}{name}", "there", "missing")
        if not isinstance(values[name], kind):
            self.fail(f"{where}{name}", str(getattr(kind, "__name__", kind)), type(values[name]).__name__)
        return values[name]


def encode(value: Any) -> Any:
    """JSON has no NaN and no infinity: mark them."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_NOT_FINITE: repr(value)}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(value: Any) -> Any:
    """Undo :func:`encode`."""
    if isinstance(value, dict):
        if set(value) == {_NOT_FINITE} and isinstance(value[_NOT_FINITE], str):
            return float(value[_NOT_FINITE])
        return {key: decode(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode(item) for item in value]
    return value

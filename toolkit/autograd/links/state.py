"""Loading a link's state: everything is looked at before anything is changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.autograd.links.parameter import Parameter, fits, write
from toolkit.autograd.places import is_array, place_of
from toolkit.autograd.states import flatten_state
from toolkit.core.errors import argument_error

__all__ = ["Slot", "is_persistent", "load_slots", "parameter_slot", "persistent_slot"]


@dataclass(frozen=True)
class Slot:
    """One saved value of a link.

    Attributes:
        value: returns it.
        expected: returns what a new value must be if the one given is not, else ``None``.
        store: takes a value that fits; the flag says that what has no place yet follows the value's.
        optional: a state may lack it; then it becomes ``None``.
    """

    value: Callable[[], Any]
    expected: Callable[[Any], str | None]
    store: Callable[[Any, bool], None]
    optional: bool = False


def load_slots(
    operation: str, slots: dict[str, Slot], state: Any, *, strict: bool = True, follow: bool = False
) -> None:
    """Store the values of ``state``.

    Args:
        operation: for errors.
        slots: by path.
        state: nested, as a link's state is.
        strict: the same paths, and every value fits.
        follow: what has no place yet takes the place of its value.

    Raises:
        TypeError: ``state`` is no dictionary.
        ValueError: with ``strict``, all that does not fit; nothing has been stored.
    """
    if not isinstance(state, Mapping):
        raise argument_error(operation, "state", "a dictionary", type(state).__name__, kind=TypeError)
    flat = {path: _plain(value) for path, value in flatten_state(state, operation).items()}
    wrong = {path: slot.expected(flat[path]) for path, slot in slots.items() if path in flat}
    wrong = {path: expected for path, expected in wrong.items() if expected is not None}
    if strict:
        complaints = [f"missing: /{path}" for path, slot in slots.items() if path not in flat and not slot.optional]
        complaints += [f"unexpected: /{path}" for path in flat if path not in slots]
        complaints += [
            f"/{path}: expected {expected}, got {_described(flat[path])}" for path, expected in wrong.items()
        ]
        if complaints:
            actual = "\n            ".join(complaints)
            raise argument_error(operation, "state", "the link's paths and shapes (nothing has been changed)", actual)
    for path, slot in slots.items():
        if path in flat and path not in wrong:
            slot.store(flat[path], follow)
        elif path not in flat and slot.optional:
            slot.store(None, follow)


def is_persistent(value: Any) -> bool:
    """Return whether a value can be saved: an array, a number, a string, a bool or ``None``."""
    return value is None or isinstance(value, bool | int | float | str | np.generic) or is_array(value)


def parameter_slot(parameter: Parameter) -> Slot:
    """Return the slot of a parameter."""

    def expected(value: Any) -> str | None:
        if value is None:
            return None if not parameter.is_initialized else f"shape {parameter.shape}"
        if not is_array(value) or not _is_number(value):
            return "an array of numbers"
        return None if fits(parameter.shape, tuple(value.shape)) else f"shape {parameter.shape}"

    def store(value: Any, follow: bool) -> None:
        if value is not None:
            parameter.assign(value, follow=follow)

    return Slot(lambda: parameter.data, expected, store)


def persistent_slot(link: Any, name: str) -> Slot:
    """Return the slot of a link's persistent value."""
    values = link.__dict__

    def expected(value: Any) -> str | None:
        current = values[name]
        if current is None or not is_array(current):
            plain = is_persistent(value) and not (current is not None and is_array(value) and value.shape)
            return None if plain else "a number, a string or None"
        if not is_array(value) or tuple(value.shape) != tuple(current.shape) or "complex" in _kind(value):
            return f"shape {tuple(current.shape)}"
        return None

    def store(value: Any, follow: bool) -> None:
        current = values[name]
        if not is_array(value):
            values[name] = value
        elif current is None:
            place = place_of(value) if follow and _is_floating(value) else link.place
            values[name] = place.put(value, keep_dtype=True, copy=True)
        elif is_array(current):
            place = link.place if not _is_floating(current) else place_of(current)
            write(current, place.put(value))
        else:
            values[name] = value.item() if hasattr(value, "item") else np.asarray(value).item()

    return Slot(lambda: values[name], expected, store)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return np.asarray(value)
    return value.data if hasattr(value, "cleargrad") else value


def _kind(array: Any) -> str:
    return str(array.dtype).rsplit(".", 1)[-1]


def _is_floating(array: Any) -> bool:
    return "float" in _kind(array)


def _is_number(array: Any) -> bool:
    return _is_floating(array) or "int" in _kind(array)


def _described(value: Any) -> str:
    if not is_array(value):
        return repr(value)
    return f"shape {tuple(value.shape)}" + ("" if _is_number(value) else f" of {_kind(value)}")

"""Loading a link's state: everything is looked at before anything is changed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.autograd.links.parameter import Parameter, fits, write
from toolkit.autograd.places import floating_name, is_array, place_of
from toolkit.autograd.states import flatten_state
from toolkit.core.errors import argument_error

__all__ = ["Slot", "is_persistent", "load_slots", "parameter_slot", "persistent_slot"]


@dataclass(frozen=True)
class Slot:
    """One saved value of a link.

    Attributes:
        value: returns it.
        expected: returns what a new value must be if the one given is not, else ``None``.
        store: takes a value that fits. What has no data yet takes the dtype named second, unless another was asked
            for; with ``None`` it takes the place of the value.
        optional: a state may lack it; then it becomes ``None``.
        wanted: the dtype that was asked for data to come, else ``None``.
    """

    value: Callable[[], Any]
    expected: Callable[[Any], str | None]
    store: Callable[[Any, str | None], None]
    optional: bool = False
    wanted: Callable[[], str | None] = lambda: None


def load_slots(
    operation: str, slots: dict[str, Slot], state: Any, *, strict: bool = True, follow: bool = False
) -> None:
    """Store the values of ``state``.

    Args:
        operation: for errors.
        slots: by path.
        state: nested, as a link's state is.
        strict: the same paths, and every value fits.
        follow: what has no data yet takes the place of its value. Otherwise a link becomes of one dtype: that of the
            data it has, else the one asked for, else the file's if there is but one, else float32.

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
            complaints += _shifted(slots, flat)
            actual = "\n            ".join(complaints)
            raise argument_error(operation, "state", "the link's paths and shapes (nothing has been changed)", actual)
    dtype = None if follow else _common_dtype(slots, flat)
    for path, slot in slots.items():
        if path in flat and path not in wrong:
            slot.store(flat[path], dtype)
        elif path not in flat and slot.optional:
            slot.store(None, dtype)


def _shifted(slots: dict[str, Slot], flat: dict[str, Any]) -> list[str]:
    """Return a hint if the state is that of a link around this one, or of one inside it."""
    unexpected = [path for path in flat if path not in slots]
    missing = [path for path, slot in slots.items() if path not in flat and not slot.optional]
    if not unexpected or not missing:
        return []
    for longer, shorter, advice in (
        (unexpected, missing, "the state is of a link that holds one like this as {}: load it into that one"),
        (missing, unexpected, "the state is of a link like this one's {}: load it into that"),
    ):
        prefix = longer[0].removesuffix(shorter[0])
        if prefix.endswith("/") and {path.removeprefix(prefix) for path in longer} == set(shorter):
            which = "unexpected" if longer is unexpected else "missing"
            return [f"hint: all that is {which} begins with {prefix}; " + advice.format(prefix.rstrip("/"))]
    return []


def _common_dtype(slots: dict[str, Slot], flat: dict[str, Any]) -> str:
    """Return the dtype of what a link without data gets, unless another was asked for."""
    present = [slot.value() for slot in slots.values()]
    for value in present:
        if is_array(value) and _is_floating(value):
            return floating_name("state", value.dtype)
    for slot in slots.values():
        wanted = slot.wanted()
        if wanted is not None:
            return wanted
    saved = {_kind(flat[path]) for path in slots if path in flat and is_array(flat[path]) and _is_floating(flat[path])}
    return saved.pop() if len(saved) == 1 and saved <= {"float16", "bfloat16", "float64"} else "float32"


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

    def store(value: Any, dtype: str | None) -> None:
        if value is not None:
            if dtype is not None:
                parameter.suggest_dtype(dtype)
            parameter.assign(value, follow=dtype is None)

    def wanted() -> str | None:
        return parameter.place.dtype if parameter.data is None and parameter.dtype_settled else None

    return Slot(lambda: parameter.data, expected, store, wanted=wanted)


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

    def store(value: Any, dtype: str | None) -> None:
        current = values[name]
        if not is_array(value):
            values[name] = value
        elif current is None:
            place = place_of(value) if dtype is None and _is_floating(value) else link.place
            if dtype is not None:
                own = [parameter.dtype for parameter in link.params(include_uninitialized=False)]
                place = place.with_dtype(link._dtype or (own[0] if own else dtype))
            values[name] = place.put(value, copy=True)
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

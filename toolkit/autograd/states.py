"""States as nested plain dicts: flattened to paths and back, compared, and what a load reports."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.core.errors import argument_error

__all__ = ["LoadReport", "flatten_state", "nest_state"]


@dataclass(frozen=True)
class LoadReport:
    """What a load put back and what it did not.

    Attributes:
        loaded: paths that were put back.
        missing: paths that the target has and the saved state has not.
        unexpected: paths that the saved state has and the target has not.
        misshapen: paths that both have, with shapes that differ.
        state: the saved state itself, nested, if no target was given; else ``None``.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    state: dict[str, Any] | None = field(default=None, repr=False, compare=False)

    @property
    def complete(self) -> bool:
        """Whether everything on both sides was put back."""
        return not (self.missing or self.unexpected or self.misshapen)

    def to_dict(self) -> dict[str, Any]:
        """Return the lists of paths as plain values."""
        return {name: list(getattr(self, name)) for name in ("loaded", "missing", "unexpected", "misshapen")}

    def problems(self) -> str:
        """Return one sentence that lists all that does not fit; empty if everything does."""
        parts = [
            f"{title} {', '.join(paths)}"
            for title, paths in (
                ("missing", self.missing),
                ("unexpected", self.unexpected),
                ("of another shape", self.misshapen),
            )
            if paths
        ]
        return "; ".join(parts)

    def __repr__(self) -> str:
        problems = self.problems()
        return f"LoadReport({len(self.loaded)} loaded{'; ' + problems if problems else ''})"


def flatten_state(state: Mapping[Any, Any], operation: str = "flatten_state") -> dict[str, Any]:
    """Return the leaves of nested dicts by path, ``{"l1": {"W": array}}`` as ``{"l1/W": array}``.

    An empty dict below the top is a leaf.

    Args:
        state: nested dicts with keys of text.
        operation: named in the error.

    Raises:
        TypeError: a key that is no text.
        ValueError: a key that is empty, or holds a slash, a backslash or a character that cannot be printed.
    """
    flat: dict[str, Any] = {}
    pending: list[tuple[str, Iterator[tuple[Any, Any]]]] = [("", iter(state.items()))]
    while pending:
        prefix, items = pending[-1]
        for key, value in items:
            _check_key(operation, prefix, key)
            path = prefix + key
            if isinstance(value, Mapping) and value:
                pending.append((f"{path}/", iter(value.items())))
                break
            flat[path] = dict(value) if isinstance(value, Mapping) else value
        else:
            pending.pop()
    return flat


def nest_state(flat: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Undo :func:`flatten_state`.

    Raises:
        ValueError: one path goes through another, ``"a"`` and ``"a/b"``.
    """
    state: dict[str, Any] = {}
    made = {id(state)}
    for path, value in flat.items() if isinstance(flat, Mapping) else flat:
        *parents, name = path.split("/")
        inner: Any = state
        for parent in parents:
            following: Any = inner.get(parent)
            if following is None and parent not in inner:
                following = inner[parent] = {}
                made.add(id(following))
            if id(following) not in made:
                raise argument_error("nest_state", "flat", "no path through another", path)
            inner = following
        if name in inner:
            raise argument_error("nest_state", "flat", "no path through another", path)
        inner[name] = value
    return state


def _check_key(operation: str, prefix: str, key: Any) -> None:
    where = f"{key!r} in {prefix or 'the state'!r}"
    if not isinstance(key, str):
        raise argument_error(operation, "state", "keys of text", where, kind=TypeError)
    if not key or "/" in key or "\\" in key or not key.isprintable():
        expected = "keys that can be printed, not empty and without slashes (paths are joined with '/')"
        raise argument_error(operation, "state", expected, where)

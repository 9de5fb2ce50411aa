"""The tree that links form: every link and every parameter once, with their paths."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolkit.autograd.links.parameter import Parameter

if TYPE_CHECKING:
    from toolkit.autograd.links.link import Link

__all__ = ["Tree"]


class Tree:
    """What a :class:`~toolkit.autograd.links.Link` knows of its children and parameters, without computing anything."""

    _params: dict[str, None]
    _persistents: dict[str, None]

    def _child_items(self) -> list[tuple[str, "Link"]]:
        """Return the children with their names, in the order they were registered."""
        return []

    def _child_links(self) -> list["Link"]:
        """Return the children in the order they were registered."""
        return []

    def _child_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self._child_items())

    def namedlinks(self, skipself: bool = False) -> Iterator[tuple[str, "Link"]]:
        """Yield ``(path, link)`` of the whole tree, each link once, parents first: ``("/", self), ("/l1", …)``."""
        pending: list[tuple[str, Any]] = [("", self)]
        seen: set[int] = set()
        while pending:
            path, link = pending.pop()
            if id(link) in seen:
                continue
            seen.add(id(link))
            if path or not skipself:
                yield path or "/", link
            pending.extend((f"{path}/{name}", child) for name, child in reversed(link._child_items()))

    def links(self, skipself: bool = False) -> Iterator["Link"]:
        """Yield every link of the tree once, parents first."""
        pending: list[Any] = [self]
        seen: set[int] = set()
        while pending:
            link = pending.pop()
            if id(link) not in seen:
                seen.add(id(link))
                if link is not self or not skipself:
                    yield link
                children = link._child_links()
                if children:
                    pending.extend(reversed(children))

    def children(self) -> Iterator["Link"]:
        """Yield the links right below, each once."""
        return iter({id(child): child for child in self._child_links()}.values())

    def namedparams(self, include_uninitialized: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield ``(path, parameter)`` of the whole tree, each parameter once: ``("/l1/W", …)``."""
        seen: set[int] = set()
        for path, link in self.namedlinks():
            for name in link._params:
                parameter = link.__dict__[name]
                if id(parameter) not in seen and (include_uninitialized or parameter.is_initialized):
                    seen.add(id(parameter))
                    yield f"{path.rstrip('/')}/{name}", parameter

    def params(self, include_uninitialized: bool = True) -> Iterator[Parameter]:
        """Yield every parameter of the tree once, in the order of :meth:`namedparams`."""
        seen: set[int] = set()
        for link in self.links():
            own = link.__dict__
            for name in link._params:
                parameter = own[name]
                if id(parameter) not in seen and (include_uninitialized or parameter.data is not None):
                    seen.add(id(parameter))
                    yield parameter

    def namedpersistents(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(path, value)`` of the persistent values of the whole tree."""
        for path, link in self.namedlinks():
            for name in link._persistents:
                yield f"{path.rstrip('/')}/{name}", link.__dict__[name]

    def count_params(self) -> int:
        """Return the number of elements of all parameters; warn if some have no size yet."""
        missing = [path for path, parameter in self.namedparams() if not parameter.is_initialized]
        if missing:
            warnings.warn(f"count_params: uninitialised, not counted: {', '.join(missing)}", stacklevel=2)
        return sum(parameter.size for parameter in self.params(include_uninitialized=False))

    def cleargrads(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.params():
            parameter.grad = None

    # -----------------------------------------------------------------------------------------------------------------
    # Updates on and off

    def enable_update(self) -> None:
        """Let optimizers change all parameters of the tree."""
        for parameter in self.params():
            parameter.update_enabled = True

    def disable_update(self) -> None:
        """Keep optimizers from changing the parameters of the tree, whether one is set up already or later."""
        for parameter in self.params():
            parameter.update_enabled = False

    @property
    def update_enabled(self) -> bool:
        """Whether an optimizer may change at least one parameter of the tree."""
        return any(parameter.update_enabled for parameter in self.params())

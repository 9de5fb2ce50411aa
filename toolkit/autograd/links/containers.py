"""Links made of links: by name, by number, and one after the other (Tokui et al. 2019, section 3.2)."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from toolkit.autograd.links.link import Link
from toolkit.autograd.links.parameter import Parameter
from toolkit.core.errors import argument_error

__all__ = ["Chain", "ChainList", "Sequential"]


class Chain(Link):
    """A link with named children: links assigned inside ``with self.init_scope():`` become children.

    Args:
        **links: children, by name.
    """

    _children: dict[str, None]

    def __new__(cls, *args: Any, **kwargs: Any) -> "Chain":
        link: Any = super().__new__(cls)
        link.__dict__["_children"] = {}
        return link

    def __init__(self, **links: Link) -> None:
        super().__init__()
        for name, link in links.items():
            self.add_link(name, link)

    def add_link(self, name: str, link: Link) -> Link:
        """Register ``link`` as child ``name`` and return it.

        Raises:
            ValueError: the name is taken, or no attribute's name.
            TypeError: no link.
        """
        _require_link(type(self).__name__, name, link)
        self._require_free(name)
        with self.init_scope():
            setattr(self, name, link)
        return link

    def __getitem__(self, name: str) -> Link:
        """Return child ``name``."""
        if name not in self._children:
            raise KeyError(f"{type(self).__name__} has no child {name!r}; it has {', '.join(self._children) or 'none'}")
        return self.__dict__[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._children and not isinstance(value, Link) and not (self._in_scope and _registers(value)):
            self._refuse_replacing(name, "Link", value)
        if name in self._children and isinstance(value, Link):
            value.name = name
        super().__setattr__(name, value)

    def _register(self, name: str, value: Any) -> None:
        if not isinstance(value, Link):
            super()._register(name, value)
            self._children.pop(name, None)
            return
        self._require_name(name)
        _require_no_cycle(self, name, value)
        self._params.pop(name, None)
        self._persistents.pop(name, None)
        self._children[name] = None
        value.name = name

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._children.pop(name, None)

    def _child_items(self) -> list[tuple[str, Link]]:
        own = self.__dict__
        return [(name, own[name]) for name in self._children]

    def _child_links(self) -> list[Link]:
        own = self.__dict__
        return [own[name] for name in self._children]

    def _shared_copy(self, made: dict[int, Any]) -> Link:
        if id(self) in made:
            return made[id(self)]
        twin = super()._shared_copy(made)
        own = twin.__dict__
        own["_children"] = dict(self._children)
        for name in self._children:
            own[name] = own[name]._shared_copy(made)
            own[name].name = name
        return twin


class ChainList(Link):
    """A link with numbered children: ``/0/W``, ``/1/W``, …

    Args:
        *links: children.
    """

    _items: list[Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "ChainList":
        link: Any = super().__new__(cls)
        link.__dict__["_items"] = []
        return link

    def __init__(self, *links: Any) -> None:
        super().__init__()
        self.extend(links)

    def _require_item(self, item: Any) -> None:
        _require_link(type(self).__name__, "link", item)
        _require_no_cycle(self, "link", item)

    def add_link(self, link: Any) -> None:
        """Append a child."""
        self.append(link)

    def append(self, link: Any) -> None:
        """Append a child.

        Raises:
            TypeError: no link.
        """
        self.insert(len(self._items), link)

    def extend(self, links: Iterable[Any]) -> None:
        """Append several children; none if one of them is no link."""
        added = list(links)
        for link in added:
            self._require_item(link)
        self._items.extend(added)
        self._number()

    def insert(self, index: int, link: Any) -> None:
        """Insert a child before position ``index``; the ones behind get new numbers."""
        self._require_item(link)
        self._items.insert(index, link)
        self._number()

    def pop(self, index: int = -1) -> Any:
        """Take a child out and return it."""
        item = self._items.pop(index)
        if isinstance(item, Link):
            item.name = None
        self._number()
        return item

    def clear(self) -> None:
        """Take all children out."""
        self._items.clear()

    def _number(self) -> None:
        for name, link in self._child_items():
            link.name = name

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        """A link without children is still a link."""
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __getitem__(self, index: Any) -> Any:
        """Return a child, or for a slice a list of children."""
        return self._items[index]

    def __setitem__(self, index: int, link: Any) -> None:
        if not isinstance(index, int):
            raise argument_error(type(self).__name__, "index", "an integer", repr(index), kind=TypeError)
        self._require_item(link)
        self._items[index] = link
        self._number()

    def __delitem__(self, index: Any) -> None:
        del self._items[index]
        self._number()

    def _child_items(self) -> list[tuple[str, Link]]:
        return [(str(position), item) for position, item in enumerate(self._items) if isinstance(item, Link)]

    def _child_links(self) -> list[Link]:
        return [item for item in self._items if isinstance(item, Link)]

    def _text_items(self) -> list[tuple[str, Any]]:
        return [(str(position), item) for position, item in enumerate(self._items)]

    def _shared_copy(self, made: dict[int, Any]) -> Link:
        if id(self) in made:
            return made[id(self)]
        twin: Any = super()._shared_copy(made)
        twin.__dict__["_items"] = [item._shared_copy(made) if isinstance(item, Link) else item for item in self._items]
        twin._number()
        return twin


class Sequential(ChainList):
    """Links and plain functions called one after the other: ``Sequential(Linear(100), F.relu, Linear(10))``.

    Children are named by their position among all items, functions included. The first item takes whatever
    arguments are given; a tuple that an item returns is handed on as several arguments.

    Args:
        *items: links or other callables.
    """

    def forward(self, *args: Any) -> Any:
        """Return what the last item returns; without items, the arguments."""
        for item in self._items:
            result = item(*args)
            args = result if type(result) is tuple else (result,)
        return args[0] if len(args) == 1 else args

    def _require_item(self, item: Any) -> None:
        if not callable(item) or isinstance(item, type):
            expected = "a link or another callable (an instance, not a class)"
            actual = item.__name__ if isinstance(item, type) else type(item).__name__
            raise argument_error(type(self).__name__, "item", expected, actual, kind=TypeError)
        _require_no_cycle(self, "item", item)

    def __getitem__(self, index: Any) -> Any:
        """Return an item, or for a slice a Sequential of the same items."""
        found = self._items[index]
        if not isinstance(index, slice):
            return found
        part = Sequential()
        # Straight into the list: the items keep the names they have here.
        part._items.extend(found)
        return part

    def __add__(self, other: "Sequential") -> "Sequential":
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self._items, *other._items)

    def flatten(self) -> "Sequential":
        """Return a Sequential of the same items, those of Sequentials inside in their place."""
        items: list[Any] = []
        for item in self._items:
            items.extend(item.flatten()._items if type(item) is Sequential else [item])
        return Sequential(*items)

    def count_by_layer_type(self, layer: type | Callable[..., Any]) -> int:
        """Return how many items are ``layer`` or instances of it."""
        return sum(item is layer or (isinstance(layer, type) and isinstance(item, layer)) for item in self._items)

    def remove_by_layer_type(self, layer: type | Callable[..., Any]) -> None:
        """Take out the items that are ``layer`` or instances of it."""
        keep = [
            item for item in self._items if not (item is layer or (isinstance(layer, type) and isinstance(item, layer)))
        ]
        self._items[:] = keep
        self._number()


def _registers(value: Any) -> bool:
    return isinstance(value, Parameter | Link)


def _require_link(operation: str, argument: str, link: Any) -> None:
    if not isinstance(link, Link):
        expected = "a Link" if not isinstance(link, torch.nn.Module) else "a Link of this package"
        raise argument_error(operation, argument, expected, type(link).__name__, kind=TypeError)


def _require_no_cycle(owner: Link, argument: str, value: Any) -> None:
    if isinstance(value, Link) and any(link is owner for link in value.links()):
        expected = "a link that does not contain its owner"
        raise argument_error(type(owner).__name__, argument, expected, f"{type(value).__name__} that does")

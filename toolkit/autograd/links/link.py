"""Links: parameters together with the code that uses them (Tokui et al. 2019, section 3.2; Chainer's ``Link``)."""

import contextlib
import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from toolkit.autograd.links.parameter import Parameter
from toolkit.autograd.links.sizes import size
from toolkit.autograd.links.state import Slot, is_persistent, load_slots, parameter_slot, persistent_slot
from toolkit.autograd.links.text import as_text, locate
from toolkit.autograd.links.tree import Tree
from toolkit.autograd.places import Place, current_place, floating_name, is_array, named_place, place_of
from toolkit.autograd.states import nest_state
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

if TYPE_CHECKING:
    from toolkit.autograd.links.containers import Sequential

__all__ = ["Link"]

_NOTHING: Any = object()


class Link(Tree):
    """Parameters, persistent values and a ``forward``.

    A subclass makes its parameters inside ``with self.init_scope():``; assigned there they are registered, assigned
    elsewhere they are references without ownership. Persistent values (running statistics, counters) are saved and
    moved but not trained. Children are held by :class:`Chain` and its kin.

    Attributes:
        name: what its parent calls it; ``None`` at the root.
    """

    name: str | None = None
    _in_scope = False
    _place: Place | None = None
    _dtype: str | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> "Link":
        link = object.__new__(cls)
        link.__dict__.update(_params={}, _persistents={})
        return link

    def __init__(self) -> None:
        """Make a link without parameters."""

    def __call__(self, _first: Any = _NOTHING, /, *args: Any, **kwargs: Any) -> Any:
        """Return ``self.forward(...)``; an error about an argument says in which link it arose."""
        try:
            # One argument, the usual case, is handed on at half the cost of any number.
            if args or kwargs or _first is _NOTHING:
                return self.forward(*(() if _first is _NOTHING else (_first, *args)), **kwargs)
            return self.forward(_first)
        except Exception as error:
            locate(error, self)
            raise

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the link's result. A subclass overrides it."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    # -----------------------------------------------------------------------------------------------------------------
    # Registering

    @property
    def within_init_scope(self) -> bool:
        """Whether an assignment registers now."""
        return self._in_scope

    @contextlib.contextmanager
    def init_scope(self) -> Iterator[None]:
        """Register the parameters (and, in a Chain, the links) that are assigned to attributes in the body."""
        before = self._in_scope
        self.__dict__["_in_scope"] = True
        try:
            yield
        finally:
            self.__dict__["_in_scope"] = before

    def add_param(
        self, name: str, shape: Any = None, initializer: Any = None, *, generator: torch.Generator | None = None
    ) -> Parameter:
        """Register a new Parameter as attribute ``name`` and return it; ``shape`` may itself be a Parameter.

        Raises:
            ValueError: the name is taken, or no attribute's name.
        """
        self._require_free(name)
        given = isinstance(shape, Parameter)
        parameter = shape if given else Parameter(initializer, shape, name=name, generator=generator)
        with self.init_scope():
            setattr(self, name, parameter)
        return parameter

    def add_persistent(self, name: str, value: Any) -> None:
        """Register ``value`` (array, number, string, bool or ``None``) as a persistent attribute.

        Raises:
            ValueError: the name is taken, or no attribute's name.
            TypeError: a value of another kind.
        """
        self._require_free(name)
        _require_persistent(name, value)
        self.__dict__[name] = value
        self._persistents[name] = None

    def register_persistent(self, name: str) -> None:
        """Make an attribute that exists persistent.

        Raises:
            ValueError: there is none, or it is registered as something else.
            TypeError: its value can not be saved.
        """
        if name not in self.__dict__ or name in self._params or name in self._child_names():
            raise argument_error("register_persistent", "name", "a plain attribute of the link", repr(name))
        _require_persistent(name, self.__dict__[name])
        self._persistents[name] = None

    def _require_free(self, name: str) -> None:
        self._require_name(name)
        if name in self.__dict__:
            raise argument_error(type(self).__name__, "name", "a name that is not taken", repr(name))

    def _require_name(self, name: str) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            expected = "an identifier (it becomes an attribute and a part of paths such as /l1/W)"
            raise argument_error(type(self).__name__, "name", expected, repr(name))
        if hasattr(type(self), name):
            expected = "a name that is no attribute or method of the class"
            raise argument_error(type(self).__name__, "name", expected, repr(name))

    def __setattr__(self, name: str, value: Any) -> None:
        if self._in_scope and isinstance(value, Parameter | Link):
            self._register(name, value)
        elif name in self._params and not isinstance(value, Parameter):
            self._refuse_replacing(name, "Parameter", value)
        elif name in self._persistents:
            _require_persistent(name, value)
        object.__setattr__(self, name, value)

    def _refuse_replacing(self, name: str, kind: str, value: Any) -> None:
        expected = f"a {kind}, as {name!r} is registered as one (del the attribute first to unregister it)"
        raise argument_error(type(self).__name__, name, expected, type(value).__name__, kind=TypeError)

    def _register(self, name: str, value: Any) -> None:
        self._require_name(name)
        if isinstance(value, Link):
            expected = "a Chain (or ChainList, Sequential) as the owner of links"
            raise argument_error(type(self).__name__, name, expected, type(value).__name__, kind=TypeError)
        self._persistents.pop(name, None)
        self._params[name] = None
        if value.name is None:
            value.name = name

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._params.pop(name, None)
        self._persistents.pop(name, None)

    # -----------------------------------------------------------------------------------------------------------------
    # Library, device, dtype

    def to_device(self, device: Any = None, library: str | None = None) -> "Link":
        """Move parameters, their gradients and persistent arrays; the Parameters stay the same objects.

        Parameters without a size yet are made there later, whatever their first input is.

        Args:
            device: as in ``tensor.to(device)``; ``None`` keeps it, or means the default of another library.
            library: ``"torch"``, ``"numpy"`` or ``"cupy"``; ``None`` keeps it.

        Returns:
            The link itself.

        Raises:
            ValueError: no such library or device here; nothing has been moved then.
            TypeError: a dtype the library lacks; nothing has been moved then.
        """
        target = self.array_library if library is None else library
        if device is None and target == self.array_library:
            device = self.device
        place = named_place(target, device, "float32")
        for parameter in self.params():
            place.with_dtype(parameter.place.dtype)
        for parameter in self.params():
            parameter.to_place(place)
        for link in self.links():
            link.__dict__["_place"] = place
            for name in link._persistents:
                if is_array(link.__dict__[name]):
                    link.__dict__[name] = place.put(link.__dict__[name], keep_dtype=True)
            link.device_resident(place)
        return self

    def device_resident(self, place: Place) -> None:
        """Move arrays that are neither parameters nor persistent; called for each link by :meth:`to_device`."""

    def astype(self, dtype: Any) -> "Link":
        """Change the dtype of parameters, gradients and floating-point persistent arrays.

        Args:
            dtype: floating-point, of any library, or its name.

        Returns:
            The link itself.

        Raises:
            TypeError: no floating-point dtype, or one that the library lacks; nothing has been changed then.
        """
        wanted = floating_name("dtype", dtype)
        for parameter in self.params():
            parameter.place.with_dtype(wanted)
        for parameter in self.params():
            parameter.to_dtype(wanted)
        for link in self.links():
            place = link.place.with_dtype(wanted)
            link.__dict__["_dtype"] = wanted
            for name in link._persistents:
                if is_array(link.__dict__[name]):
                    link.__dict__[name] = place.put(link.__dict__[name])
            link.device_resident(place)
        return self

    @property
    def place(self) -> Place:
        """Library, device and dtype of the first parameter or persistent array of the tree that has one."""
        for parameter in self.params(include_uninitialized=False):
            return place_of(parameter.data)
        for _, value in self.namedpersistents():
            if is_array(value) and "float" in str(value.dtype):
                return place_of(value)
        if self._place is not None:
            return self._place
        for parameter in self.params():
            return parameter.place
        return current_place()

    @property
    def device(self) -> Any:
        """Where its arrays are: a ``torch.device``, ``"cpu"`` for NumPy, or a CuPy device."""
        return self.place.device

    @property
    def array_library(self) -> str:
        """``"torch"``, ``"numpy"``, ``"cupy"``, …"""
        return self.place.library

    # -----------------------------------------------------------------------------------------------------------------
    # Copies

    def copy(self, mode: str = "share") -> "Link":
        """Return a copy of the tree without a name.

        Args:
            mode: ``"share"``: parameters of its own (gradient, update rule) on the same data, the persistent values
                too; ``"copy"``: data of its own; ``"init"``: data of its own, drawn anew.

        Raises:
            ValueError: another mode; ``"share"`` with parameters that have no data yet.
        """
        if mode not in ("share", "copy", "init"):
            raise argument_error("copy", "mode", "'share', 'copy' or 'init'", repr(mode))
        if mode == "share":
            missing = [path for path, parameter in self.namedparams() if not parameter.is_initialized]
            if missing:
                expected = "parameters that have data to share (call the link once first)"
                raise argument_error("copy", "mode", expected, f"uninitialised: {', '.join(missing)}")
            twin = self._shared_copy({})
        else:
            twin = copy.deepcopy(self)
            if mode == "init":
                for parameter in twin.params():
                    parameter.reset()
                    parameter.update_rule = None
                for link in twin.links():
                    link.reset_persistents()
        twin.__dict__.pop("name", None)
        return twin

    def reset_persistents(self) -> None:
        """Put persistent values back to their start; a link that has some overrides it."""

    def _shared_copy(self, made: dict[int, Any]) -> "Link":
        """Return a copy on the same data; what the tree holds twice its copy holds twice."""
        if id(self) in made:
            return made[id(self)]
        twin = made[id(self)] = copy.copy(self)
        own = twin.__dict__
        own.update(_params=dict(self._params), _persistents=dict(self._persistents))
        for name in self._params:
            parameter = self.__dict__[name]
            if id(parameter) not in made:
                made[id(parameter)] = copy.copy(parameter)
            own[name] = made[id(parameter)]
        return twin

    def repeat(self, n: int, mode: str = "init") -> "Sequential":
        """Return a Sequential of ``n`` copies.

        Args:
            n: how many.
            mode: as in :meth:`copy`.

        Raises:
            ValueError: a negative number, another mode.
            TypeError: no integer.
        """
        from toolkit.autograd.links.containers import Sequential

        return Sequential(*(self.copy(mode) for _ in range(size("repeat", "n", n, 0))))

    def copyparams(self, link: "Link", copy_persistent: bool = True) -> None:
        """Take over the values of another link's parameters, path by path, in this link's library and dtype.

        Args:
            link: of the same structure. A parameter that is uninitialised here is initialised as the other's.
            copy_persistent: take over persistent values too.

        Raises:
            TypeError: no link.
            ValueError: paths or shapes that differ; the message lists them, and nothing has been copied.
        """
        if not isinstance(link, Link):
            raise argument_error("copyparams", "link", "a Link", type(link).__name__, kind=TypeError)
        theirs = link._slots(persistent=copy_persistent, running=False)
        state = nest_state({path: slot.value() for path, slot in theirs.items()})
        load_slots("copyparams", self._slots(persistent=copy_persistent, running=False), state, follow=True)

    # -----------------------------------------------------------------------------------------------------------------
    # State

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and persistent values, nested by child: ``{"l1": {"W": array, "b": array}}``.

        The arrays are the link's own, not copies; an uninitialised parameter is ``None``. What the tree holds twice
        stands once, under its first path.
        """
        return nest_state({path: slot.value() for path, slot in self._slots().items()})

    def load_state_dict(self, state: dict[str, Any], strict: bool = True) -> None:
        """Write the values of a state into parameters and persistent values, in this link's library and dtype.

        What has no data yet takes the dtype of the link's other data, or the one asked for (``default_arrays``,
        ``astype``). Only where nothing says so and the state is of one dtype it takes that.

        Args:
            state: as :meth:`state_dict` returns, arrays of any library.
            strict: every path of the link must be there with its shape, and no other.

        Raises:
            ValueError: with ``strict``, missing and unexpected paths and other shapes, all in one message; nothing
                has been changed then. Without it what fits is loaded.
        """
        load_slots("load_state_dict", self._slots(), state, strict=strict)

    def _slots(self, *, persistent: bool = True, running: bool = True) -> dict[str, Slot]:
        """Return what is saved, by path without the first slash."""
        slots: dict[str, Slot] = {path[1:]: parameter_slot(parameter) for path, parameter in self.namedparams()}
        if persistent:
            for path, link in self.namedlinks():
                for name in link._persistents:
                    slots[f"{path}/{name}".lstrip("/")] = persistent_slot(link, name)
        if running:
            for path, link in self.namedlinks():
                for name, slot in link._running_slots().items():
                    slots[f"{path}/{name}".lstrip("/")] = slot
        return slots

    def _running_slots(self) -> dict[str, Slot]:
        """Return what a link saves so that a run can go on where it stopped, but is no part of the model."""
        return {}

    # -----------------------------------------------------------------------------------------------------------------
    # Text

    def _text_items(self) -> list[tuple[str, Any]]:
        return self._child_items()

    def _place_for(self, x: Variable) -> Place:
        """Return where a value sized by the input ``x`` is made: as the input, unless the link has been moved."""
        place = place_of(x.data)
        if self._place is not None:
            place = self._place.with_dtype(place.dtype)
        return place if self._dtype is None else place.with_dtype(self._dtype)

    def specification(self) -> dict[str, Any]:
        """Return what ``repr`` shows between the parentheses, by name."""
        return {name: self.__dict__[name].shape for name in self._params}

    def __repr__(self) -> str:
        return as_text(self)


def _require_persistent(name: str, value: Any) -> None:
    if not is_persistent(value):
        expected = "an array, a number, a string, a bool or None"
        raise argument_error("persistent", name, expected, type(value).__name__, kind=TypeError)

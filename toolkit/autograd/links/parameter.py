"""Parameters: Variables that a link owns and an optimizer changes, sized at once or by the first input."""

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.autograd.initializers import LeCunNormal, Zero, get_initializer
from toolkit.autograd.places import Place, current_place, is_array, place_of
from toolkit.autograd.randomness import source
from toolkit.autograd.tape import Leaf, Variable
from toolkit.core.errors import argument_error

__all__ = ["Parameter"]


class Parameter(Variable):
    """A Variable that belongs to a link.

    Without a shape, or with ``None`` for some of its lengths, it is *uninitialised*: ``data`` is ``None`` until
    :meth:`initialize`. A random initializer takes one seed from the generator when the Parameter is made, and
    nothing later: the numbers do not depend on when or in which order parameters get their sizes.

    Args:
        initializer: an array (its values are copied, its library, device and dtype kept unless a shape is given too),
            a number, or an :class:`~toolkit.autograd.initializers.Initializer`. ``None`` means ``LeCunNormal()`` from
            two axes on, zeros below.
        shape: its shape. Lengths that are ``None`` are left open.
        name: shown in graphs and errors; a link sets it.
        deferred: leave it uninitialised although the shape is known, so that it can go where the first input is.
        generator: gives the seed; ``None`` means ``config.generator``, or one private to the thread.

    Attributes:
        initializer: as given.
        update_rule: how an optimizer changes it; ``None`` until one is set up.
        update_enabled: whether an optimizer may change it.

    Raises:
        TypeError: an initializer of another kind, integers.
        ValueError: an array whose shape is not ``shape``.

    Source: Tokui et al. 2019, section 3.2.
    """

    __slots__ = ("_declared", "_enabled", "_fixed", "_place", "_seed", "initializer", "update_rule")

    def __init__(
        self,
        initializer: Any = None,
        shape: int | Sequence[int | None] | None = None,
        *,
        name: str | None = None,
        deferred: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        value = initializer.data if isinstance(initializer, Variable) else initializer
        self.initializer = None if value is None else get_initializer(value)
        self.update_rule: Any = None
        self._enabled = True
        self.name = name
        self.data: Any = None
        self.grad: Any = None
        # Made here, not at the first call, so that a checkpoint around that call finds the Parameter older than itself.
        self.node = Leaf(self)
        # What the first input no longer decides: "place", the library and device, and "dtype".
        self._fixed: frozenset[str] = frozenset()
        self._place = current_place()
        if is_array(value) and shape is None:
            self._place = place_of(value)
            shape = tuple(value.shape)
        self._declared = _partial_shape(shape)
        self._seed: int | None = None
        self._draw_seed(generator)
        if self._declared is not None and None not in self._declared and not deferred:
            self.initialize()

    def _draw_seed(self, generator: torch.Generator | None = None) -> None:
        if generator is not None and not isinstance(generator, torch.Generator):
            expected = "a torch.Generator or None"
            raise argument_error("Parameter", "generator", expected, repr(generator), kind=TypeError)
        if self.initializer is None or self.initializer.random:
            chosen = source(generator)
            self._seed = int(torch.randint(2**63 - 1, (), generator=chosen, device=chosen.device))

    @property
    def is_initialized(self) -> bool:
        """Whether it has data."""
        return self.data is not None

    def initialize(self, shape: int | Sequence[int | None] | None = None, *, like: Any = None) -> None:
        """Fill it with new values, also if it has some already.

        Args:
            shape: its shape; ``None`` means the one it was made with, or has.
            like: array, Variable or :class:`~toolkit.autograd.places.Place` whose library, device and dtype it takes,
                unless it has some already or has been moved (:meth:`to_place`).

        Raises:
            ValueError: a length that contradicts the declared one, or is still unknown.
        """
        declared = self._declared
        wanted = _partial_shape(shape)
        if wanted is None:
            wanted = tuple(self.data.shape) if self.is_initialized else declared
        if wanted is None or None in wanted:
            raise argument_error("Parameter.initialize", "shape", f"the lengths of {self._label()}", repr(wanted))
        if not fits(declared, wanted):
            raise argument_error("Parameter.initialize", "shape", f"{declared} ({self._label()})", wanted)
        if self.data is None and like is not None:
            array = like.data if isinstance(like, Variable) else like
            self._follow(array if isinstance(array, Place) else place_of(array))
        initializer = self.initializer
        if initializer is None:
            initializer = LeCunNormal() if len(wanted) > 1 else Zero()
        generator = None if self._seed is None else torch.Generator().manual_seed(self._seed)
        self.data = initializer(wanted, generator=generator, like=self._place)  # type: ignore[arg-type]
        self.grad = None

    def _follow(self, place: Place) -> None:
        """Take over a place, as far as nothing else has been settled."""
        kept = self._place
        if "place" in self._fixed:
            place = kept.with_dtype(place.dtype)
        self._place = place.with_dtype(kept.dtype) if "dtype" in self._fixed else place

    def reset(self, generator: torch.Generator | None = None) -> None:
        """Draw new values from another seed; the seed alone if there is no shape yet."""
        self._draw_seed(generator)
        if self.is_initialized:
            self.initialize()

    def assign(self, array: Any, *, follow: bool = False) -> None:
        """Write an array's values into the data, in place, in the data's own dtype; initialise it if need be.

        Args:
            array: of any library.
            follow: initialise it in the array's library, on its device and in its dtype, unless it has been moved or
                its dtype settled. Otherwise it is initialised where, and as, it was made to be.

        Raises:
            ValueError: another shape.
        """
        shape = tuple(array.shape)
        if not fits(self.shape, shape):
            raise argument_error("Parameter.assign", "array", f"shape {self.shape} ({self._label()})", shape)
        if self.data is None:
            if follow and "float" in str(array.dtype):
                self._follow(place_of(array))
            self.data = self._place.put(array, copy=True)
        else:
            write(self.data, self._place.put(array))

    def to_place(self, place: Place) -> None:
        """Move data and gradient to a library and device, the dtype stays; the Parameter stays the same object.

        If it has no data yet, that is where they will be, whatever the first input is.
        """
        self._fixed |= {"place"}
        self._put(place.with_dtype(self._place.dtype))

    def to_dtype(self, dtype: Any) -> None:
        """Change the dtype of data and gradient, or settle that of the data to come."""
        self._fixed |= {"dtype"}
        self._put(self._place.with_dtype(dtype))

    def _put(self, place: Place) -> None:
        self._place = place
        if self.data is not None:
            self.data = place.put(self.data)
            if self.grad is not None:
                self.grad = place.put(self.grad)

    def suggest_dtype(self, dtype: str) -> None:
        """Let the data to come have this dtype, unless another than the usual float32 was asked for."""
        if self.data is None and not self.dtype_settled:
            self._place = self._place.with_dtype(dtype)

    @property
    def dtype_settled(self) -> bool:
        """Whether a dtype was asked for: by ``astype``, or as a default other than the usual float32."""
        return "dtype" in self._fixed or self._place.dtype != "float32"

    @property
    def place(self) -> Place:
        """Library, device and dtype it has, or will have unless the first input decides."""
        return self._place

    @property
    def shape(self) -> Any:
        """Its shape; before it is initialised what is known of it, ``None`` where it is open."""
        return self._declared if self.data is None else tuple(self.data.shape)

    @property
    def dtype(self) -> Any:
        return self._place.sample.dtype if self.data is None else self.data.dtype

    @property
    def device(self) -> Any:
        return self._place.device if self.data is None else super().device

    @property
    def update_enabled(self) -> bool:
        """Whether an optimizer may change it: its own switch, and that of its update rule if there is one."""
        return self._enabled and (self.update_rule is None or self.update_rule.enabled)

    @update_enabled.setter
    def update_enabled(self, enabled: bool) -> None:
        self._enabled = enabled
        if self.update_rule is not None:
            self.update_rule.enabled = enabled

    def _label(self) -> str:
        return "the parameter" if self.name is None else f"parameter {self.name}"

    def __repr__(self) -> str:
        if self.data is not None:
            return "Parameter" + super().__repr__().removeprefix("Variable")
        label = "" if self.name is None else f", name={self.name!r}"
        shape = "" if self._declared is None else f", shape={self._declared}"
        return f"Parameter(uninitialised{shape}{label})"

    def __copy__(self) -> "Parameter":
        """Return a Parameter that shares the data and has a gradient of its own and no update rule."""
        return _restored(type(self), {**self._state(), "grad": None, "update_rule": None})

    def __reduce__(self) -> tuple:
        return _restored, (type(self), self._state())

    def _state(self) -> dict[str, Any]:
        names = (
            "data",
            "grad",
            "name",
            "initializer",
            "update_rule",
            "_declared",
            "_enabled",
            "_fixed",
            "_place",
            "_seed",
        )
        return {**{name: getattr(self, name) for name in names}, "requires_grad": self.requires_grad}


def _restored(kind: type, state: dict[str, Any]) -> Parameter:
    parameter: Any = object.__new__(kind)
    wanted = state.pop("requires_grad")
    for name, value in state.items():
        setattr(parameter, name, value)
    parameter.node = Leaf(parameter) if wanted else None
    return parameter


def _partial_shape(shape: Any) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    parts = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    for length in parts:
        if length is not None and (isinstance(length, bool) or not isinstance(length, int)):
            raise argument_error("Parameter", "shape", "integers, or None where open", repr(shape), kind=TypeError)
        if length is not None and length < 0:
            raise argument_error("Parameter", "shape", "lengths of at least 0", repr(shape))
    return parts


def fits(declared: tuple[int | None, ...] | None, shape: tuple[int | None, ...]) -> bool:
    """Return whether ``shape`` agrees with what is known of a shape."""
    if declared is None:
        return True
    return len(declared) == len(shape) and all(a is None or a == b for a, b in zip(declared, shape, strict=True))


def write(target: Any, values: Any) -> None:
    """Copy ``values`` into the array ``target`` in place."""
    if isinstance(target, torch.Tensor):
        target.copy_(values)
    else:
        target[...] = values

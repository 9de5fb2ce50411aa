"""The record that defines an operation once for every array library, and the registry the tests read.

An operation is a name, the method of the backends that computes it, and one backward rule. The rule is written
against a namespace ``xp`` and Python operators, so that it runs on raw arrays in a first-order pass and on Variables
when the gradient itself is to be differentiated.
"""

from collections.abc import Callable
from typing import Any

OUTPUT = -1
"""Source of a saved array: the operation's own output (other sources are positions of inputs)."""

EXTRA = -2
"""Source of a saved value that carries no gradient: a mask, indices, statistics."""

EVERY_INPUT = (-3,)
"""All inputs are saved, however many there are."""


class Operation:
    """One differentiable primitive.

    Args:
        name: the method of every backend that computes it, and its label in graphs and errors.
        vjp: ``vjp(xp, gradient, saved, needs, params) -> tuple`` of one gradient an input (``None`` where ``needs``
            is ``None`` there). ``xp`` is a backend and all arrays are raw, or the tape and they are Variables.
        saves: where each saved value comes from: an input's position, ``OUTPUT`` or ``EXTRA``; or ``EVERY_INPUT``.
        saved_for: for each saved value the inputs whose gradient needs it; ``None`` where every gradient does.
            A value nobody needs is not kept.
        fresh: the gradients are newly allocated and no two share memory, so the engine may add into them.
        shapes: ``params`` of the rule carries ``shapes``, the inputs' shapes.
        same_dtype: all arrays among the inputs must have one dtype.
        expects: the condition on the inputs in words, shown when the array library refuses them.
    """

    __slots__ = (
        "_known_places",
        "expects",
        "extras",
        "fresh",
        "kernels",
        "name",
        "same_dtype",
        "saved_for",
        "saves",
        "shapes",
        "vjp",
    )

    def __init__(
        self,
        name: str,
        vjp: Callable[..., tuple],
        *,
        saves: tuple[int, ...] = (),
        saved_for: tuple[tuple[int, ...] | None, ...] | None = None,
        fresh: bool = True,
        shapes: bool = False,
        same_dtype: bool = True,
        expects: str = "",
    ) -> None:
        self.name = name
        self.vjp = vjp
        self.saves = saves
        self.saved_for = saved_for
        self.extras = EXTRA in saves
        self.fresh = fresh
        self.shapes = shapes
        self.same_dtype = same_dtype
        self.expects = expects
        self._known_places: dict[int, tuple[int, ...]] = {}
        self.kernels: dict[type, Callable[..., Any]] = _Kernels(self)

    def __repr__(self) -> str:
        return f"Operation({self.name!r})"

    def keep(self, inputs: tuple, output: Any, extras: tuple, parents: tuple) -> tuple:
        """Pick what the backward rule needs, ``None`` in place of what no wanted gradient needs."""
        if self.saves == EVERY_INPUT:
            return inputs
        available = (*inputs, output, *extras)
        if self.saved_for is None:
            return tuple([available[place] for place in self._places(len(inputs))])
        saved: list[Any] = []
        for place, users in zip(self._places(len(inputs)), self.saved_for, strict=True):
            if users is not None:
                for user in users:
                    if parents[user] is not None:
                        break
                else:
                    saved.append(None)
                    continue
            saved.append(available[place])
        return tuple(saved)

    def _places(self, n_inputs: int) -> tuple[int, ...]:
        """Return where each saved value stands among the inputs, the output and the extras, in a row."""
        places = self._known_places.get(n_inputs)
        if places is None:
            found = []
            extra = n_inputs + 1
            for source in self.saves:
                found.append(n_inputs if source == OUTPUT else extra if source == EXTRA else source)
                extra += source == EXTRA
            places = self._known_places[n_inputs] = tuple(found)
        return places

    def source(self, position: int) -> int:
        """Return where the saved value at ``position`` came from."""
        return position if self.saves == EVERY_INPUT else self.saves[position]


class _Kernels(dict):
    """Array type -> the function that computes the operation on it, found on first use."""

    __slots__ = ("operation",)

    def __init__(self, operation: Operation) -> None:
        super().__init__()
        self.operation = operation

    def __missing__(self, array_type: type) -> Callable[..., Any]:
        from toolkit.autograd.backends import backend_of_type

        kernel = getattr(backend_of_type(array_type), self.operation.name)
        self[array_type] = kernel
        return kernel

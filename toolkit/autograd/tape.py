"""Variables and the nodes behind them.

A ``Variable`` owns an array and its gradient. A ``Node`` is one recorded result: it knows its operation, the nodes
of its inputs and the few arrays the backward rule asked for, but neither its Variable nor its array, so that an
intermediate array dies with the last Variable that holds it and no reference cycle can form
(Tokui et al. 2019, sections 3.1, 4.1.2 and 4.2.1; one object an operation less than Chainer's own split).
"""

import itertools
import math
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from toolkit.autograd.backends import Backend, backend_of, backend_of_type
from toolkit.autograd.operation import Operation
from toolkit.core.errors import argument_error

next_order = itertools.count(0, -1).__next__
_new = object.__new__


class Node:
    """One recorded result.

    Attributes:
        operation: what made it; ``None`` on a leaf.
        parents: the inputs' nodes, ``None`` for an input that needs no gradient.
        saved: the arrays and values the backward rule asked for; ``None`` once freed. The parents stay, so that
            the history can still be cut after a backward pass.
        params: the operation's parameters (axis, stride, …).
        order: falls with every node made, so that a heap, smallest first, gives the newest node.
        version: sum of the saved torch tensors' version counters when they were saved; ``None`` if there are none,
            or, in debug mode, ``True``: compare the checksums.
    """

    __slots__ = ("_origin", "operation", "order", "params", "parents", "saved", "version")

    operation: Any
    order: int
    params: dict[str, Any] | None
    parents: Any
    saved: Any
    version: int | None

    @property
    def origin(self) -> tuple[str, tuple] | None:
        """Where in the user's program it was made and checksums of what it saved, if it was made in debug mode."""
        return getattr(self, "_origin", None)

    @origin.setter
    def origin(self, value: tuple[str, tuple]) -> None:
        self._origin = value

    def __repr__(self) -> str:
        return f"Node({'leaf' if self.operation is None else self.operation.name}, {-self.order})"


class Leaf(Node):
    """A Variable the user wants a gradient for. It holds the Variable weakly: the graph never keeps data alive."""

    __slots__ = ("variable",)

    def __init__(self, variable: "Variable") -> None:
        self.operation = None
        self.parents = self.saved = ()
        self.params = self.version = None
        self.order = next_order()
        self.variable = weakref.ref(variable)


class Variable:
    """An array whose history is recorded.

    Args:
        data: a NumPy, torch or CuPy array, or one of any library that follows the array API standard.
            It is shared, not copied.
        requires_grad: gradients are wanted for it (floating-point arrays only).
        name: shown in graphs and errors.

    Attributes:
        data: the array.
        grad: the gradient, a plain array of the same shape, dtype and device, after :meth:`backward`; else ``None``.
        node: what is recorded about it; ``None`` if it needs no gradient.

    Raises:
        TypeError: ``data`` is no array, or ``requires_grad`` with an integer or bool array.
    """

    __slots__ = ("__weakref__", "data", "grad", "name", "node")
    __array_ufunc__ = None
    __array_priority__ = 200

    def __init__(self, data: Any, requires_grad: bool = False, *, name: str | None = None) -> None:
        backend = backend_of(data, "Variable", "data")
        self.data = backend.adopt(data)
        self.grad: Any = None
        self.name = name
        self.node: Node | None = None
        if requires_grad:
            self.requires_grad = True

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can reach this Variable. Setting it makes or unmakes a leaf."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self.node is not None and self.node.operation is not None:
            if not wanted:
                raise argument_error(
                    "requires_grad", "value", "a leaf; use detach() on a computed Variable", self.node.operation.name
                )
            return
        if not wanted:
            self.node = None
        elif self.node is None:
            if not self.backend.is_floating(self.data):
                raise argument_error(
                    "Variable", "requires_grad", "a floating-point array", f"dtype {self.dtype}", kind=TypeError
                )
            self.node = Leaf(self)

    @property
    def backend(self) -> Backend:
        """The array library's backend."""
        return backend_of_type(type(self.data))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.data.shape)

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def device(self) -> Any:
        """The array's device: ``"cpu"`` for NumPy, a ``torch.device``, or a CuPy device."""
        return self.backend.device(self.data)

    @property
    def ndim(self) -> int:
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.data.shape)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None or self.node.operation is None

    def detach(self) -> "Variable":
        """Return a Variable that shares the data and has no history."""
        return _result(self.data, None)

    def unchain_backward(self) -> None:
        """Cut all history behind this Variable, for truncated backpropagation through time.

        The Variable itself and everything computed before it no longer reach a leaf; the saved arrays are let go. It
        may come after the backward pass: what that has freed is cut too, and can be computed with again.
        """
        pending = [self.node] if self.node is not None else []
        self.node = None
        while pending:
            node = pending.pop()
            if node.operation is None or node.operation is _CUT:
                continue
            pending.extend(parent for parent in node.parents if parent is not None)
            node.parents = (None,) * len(node.parents)
            node.saved = ()
            node.version = None
            if node.origin is not None:
                node.origin = (node.origin[0], ())
            node.operation = _CUT

    def cleargrad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def item(self) -> float | int | bool:
        """Return the only element as a Python number.

        Raises:
            ValueError: there is not exactly one element.
        """
        if self.size != 1:
            raise argument_error("item", "self", "exactly one element", f"shape {self.shape}")
        return self.backend.item(self.data)

    def numpy(self) -> np.ndarray:
        """Return the data as a NumPy array on the CPU (shared where that is possible)."""
        return self.backend.to_numpy(self.data)

    def torch(self) -> torch.Tensor:
        """Return the data as a torch tensor on its device (shared where that is possible)."""
        return self.backend.to_torch(self.data)

    def __copy__(self) -> "Variable":
        """Return a Variable that shares the data. The copy of a leaf is a leaf with a gradient of its own."""
        duplicate = _result(self.data, None if self.is_leaf else self.node)
        duplicate.name = self.name
        if self.is_leaf and self.requires_grad:
            duplicate.requires_grad = True
        return duplicate

    def __reduce__(self) -> tuple:
        """Let leaves be pickled and deeply copied: data, gradient, name, and whether a gradient is wanted."""
        if not self.is_leaf:
            raise argument_error(
                "copy", "self", "a Variable without history (call detach() first)", repr(self), kind=TypeError
            )
        return _restored, (self.data, self.grad, self.requires_grad, self.name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __len__(self) -> int:
        if not self.data.shape:
            raise argument_error("len", "self", "at least one axis", "shape ()", kind=TypeError)
        return self.data.shape[0]

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, specification: str) -> str:
        return format(self.item(), specification) if specification else repr(self)

    def __repr__(self) -> str:
        label = "" if self.name is None else f", name={self.name!r}"
        made = ""
        if self.node is not None:
            made = ", requires_grad=True" if self.node.operation is None else f", from={self.node.operation.name}"
        return f"Variable({self.backend.describe(self.data)}{made}{label})"

    __hash__ = object.__hash__

    if TYPE_CHECKING:
        # Assigned by the engine and the operations themselves, without a call in between: ``operations.*.install_*``.
        T: "Variable"

        def backward(self, gradient: Any = None, *, retain_graph: bool = False) -> None: ...

        def __add__(self, other: Any) -> "Variable": ...
        def __radd__(self, other: Any) -> "Variable": ...
        def __sub__(self, other: Any) -> "Variable": ...
        def __rsub__(self, other: Any) -> "Variable": ...
        def __mul__(self, other: Any) -> "Variable": ...
        def __rmul__(self, other: Any) -> "Variable": ...
        def __truediv__(self, other: Any) -> "Variable": ...
        def __rtruediv__(self, other: Any) -> "Variable": ...
        def __pow__(self, other: Any) -> "Variable": ...
        def __rpow__(self, other: Any) -> "Variable": ...
        def __mod__(self, other: Any) -> "Variable": ...
        def __rmod__(self, other: Any) -> "Variable": ...
        def __floordiv__(self, other: Any) -> "Variable": ...
        def __rfloordiv__(self, other: Any) -> "Variable": ...
        def __and__(self, other: Any) -> "Variable": ...
        def __rand__(self, other: Any) -> "Variable": ...
        def __or__(self, other: Any) -> "Variable": ...
        def __ror__(self, other: Any) -> "Variable": ...
        def __xor__(self, other: Any) -> "Variable": ...
        def __rxor__(self, other: Any) -> "Variable": ...
        def __matmul__(self, other: Any) -> "Variable": ...
        def __rmatmul__(self, other: Any) -> "Variable": ...
        def __neg__(self) -> "Variable": ...
        def __pos__(self) -> "Variable": ...
        def __invert__(self) -> "Variable": ...
        def __abs__(self) -> "Variable": ...
        def __lt__(self, other: Any) -> "Variable": ...
        def __le__(self, other: Any) -> "Variable": ...
        def __gt__(self, other: Any) -> "Variable": ...
        def __ge__(self, other: Any) -> "Variable": ...
        def __eq__(self, other: Any) -> "Variable": ...  # type: ignore[override]
        def __ne__(self, other: Any) -> "Variable": ...  # type: ignore[override]
        def __getitem__(self, index: Any) -> "Variable": ...
        def reshape(self, *shape: Any) -> "Variable": ...
        def transpose(self, *axes: Any) -> "Variable": ...


def _restored(data: Any, grad: Any, requires_grad: bool, name: str | None) -> Variable:
    variable = Variable(data, requires_grad, name=name)
    variable.grad = grad
    return variable


def _result(data: Any, node: Node | None) -> Variable:
    variable = _new(Variable)
    variable.data = data
    variable.node = node
    variable.grad = None
    variable.name = None
    return variable


def _recorded(
    data: Any, operation: Operation, parents: tuple, saved: tuple, params: dict[str, Any] | None, version: int | None
) -> Variable:
    node = Node()
    node.operation = operation
    node.parents = parents
    node.saved = saved
    node.params = params
    node.version = version
    node.order = next_order()
    variable = _new(Variable)
    variable.data = data
    variable.node = node
    variable.grad = None
    variable.name = None
    return variable


def as_variable(value: Any, operation: str, argument: str) -> Variable:
    """Return ``value`` if it is a Variable, else an array as a Variable without history.

    Raises:
        TypeError: ``value`` is neither.
    """
    if isinstance(value, Variable):
        return value
    return _result(backend_of(value, operation, argument).adopt(value), None)


def _cut_vjp(xp: Any, gradient: Any, saved: Any, needs: Any, params: Any) -> tuple:
    return (None,) * len(needs)


_CUT = Operation("unchained", _cut_vjp)

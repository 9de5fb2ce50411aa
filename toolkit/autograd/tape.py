"""Variables, the nodes behind them, and how an operation is recorded.

A ``Variable`` owns an array and its gradient. A ``Node`` is one recorded result: it knows its operation, the nodes
of its inputs and the few arrays the backward rule asked for, but neither its Variable nor its array, so that an
intermediate array dies with the last Variable that holds it and no reference cycle can form
(Tokui et al. 2019, sections 3.1, 4.1.2 and 4.2.1; one object an operation less than Chainer's own split).
"""

import itertools
import math
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from toolkit.autograd.backends import Backend, backend_of, backend_of_type
from toolkit.autograd.configuration import WATCH, config
from toolkit.autograd.operation import OUTPUT, Operation
from toolkit.core.errors import argument_error

next_order = itertools.count(0, -1).__next__
_new = object.__new__
_Tensor = torch.Tensor
_SCALARS = frozenset({int, float, bool})


class Node:
    """One recorded result.

    Attributes:
        operation: what made it; ``None`` on a leaf.
        parents: the inputs' nodes, ``None`` for an input that needs no gradient; ``None`` altogether once freed.
        saved: the arrays and values the backward rule asked for.
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

    def backward(self, gradient: Any = None, *, retain_graph: bool = False) -> None:
        """Add the gradient of this Variable to ``.grad`` of every leaf it was computed from.

        Args:
            gradient: array or Variable of this Variable's shape and dtype to start from; may be left out for a
                Variable of one element, where it is 1.
            retain_graph: keep the graph for another pass. Without it each node is freed as soon as it is passed.

        Raises:
            RuntimeError: nothing was recorded, the graph has been freed by an earlier pass, or a saved array
                was changed in place since.
            ValueError: ``gradient`` is missing, or of another shape or dtype.
        """
        from toolkit.autograd.engine import backward

        backward(self, gradient, retain_graph=retain_graph)

    def detach(self) -> "Variable":
        """Return a Variable that shares the data and has no history."""
        return _result(self.data, None)

    def unchain_backward(self) -> None:
        """Cut all history behind this Variable, for truncated backpropagation through time.

        The Variable itself and everything computed before it no longer reach a leaf; the saved arrays are let go.
        """
        pending = [self.node] if self.node is not None else []
        self.node = None
        while pending:
            node = pending.pop()
            if node.operation is None or node.parents is None:
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
        # Assigned by the operations themselves, without a call in between: ``operations.*.install_*``.
        T: "Variable"

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
    node = _new(Node)
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


# ---------------------------------------------------------------------------------------------------------------------
# Recording


def unary(operation: Operation) -> Any:
    """Return the function that applies an operation of one array and no parameters."""
    kernels = operation.kernels
    keeps_output = operation.saves == (OUTPUT,)
    keeps_input = operation.saves == (0,)
    assert keeps_output or keeps_input or operation.saves == (), operation

    def call(x: Any) -> Variable:
        mode = config.mode
        if mode == WATCH or type(x) is not Variable:
            return apply(operation, (x,))
        array = x.data
        try:
            output = kernels[type(array)](array)
        except Exception as error:
            _refuse(operation, (array,), error)
        if type(output) is not type(array):
            output = backend_of_type(type(array)).as_array(output, array)
        parent = x.node
        if parent is None or mode:
            return _result(output, None)
        try:
            if keeps_output:
                version = output._version if type(output) is _Tensor else None
                return _recorded(output, operation, (parent,), (output,), None, version)
            if keeps_input:
                version = array._version if type(array) is _Tensor else None
                return _recorded(output, operation, (parent,), (array,), None, version)
        except RuntimeError:
            # A tensor made in torch.inference_mode counts no writes.
            return apply(operation, (x,))
        return _recorded(output, operation, (parent,), (), None, None)

    return call


def binary(operation: Operation) -> Any:
    """Return the function that applies an operation of two operands of one shape, or an array and a Python scalar.

    Operands of other shapes are broadcast first, by an operation of its own, so that no backward rule ever has to
    undo a broadcast.
    """
    kernels = operation.kernels
    keeps_nothing = operation.saves == ()
    keeps_crossed = operation.saves == (0, 1) and operation.saved_for == ((1,), (0,))

    def call(a: Any, b: Any) -> Variable:
        mode = config.mode
        if mode == WATCH:
            return apply(operation, matched(operation, a, b))
        if type(a) is Variable:
            left = a.data
            left_node = a.node
            if type(b) is Variable:
                right = b.data
                right_node = b.node
                shape = left.shape
                if left.dtype is not right.dtype or shape != right.shape or not shape:
                    return apply(operation, matched(operation, a, b))
            elif type(b) is float or type(b) is int:
                right = b
                right_node = None
            else:
                return apply(operation, matched(operation, a, b))
            array_type = type(left)
        elif (type(a) is float or type(a) is int) and type(b) is Variable:
            left = a
            left_node = None
            right = b.data
            right_node = b.node
            array_type = type(right)
        else:
            return apply(operation, matched(operation, a, b))
        try:
            output = kernels[array_type](left, right)
        except Exception as error:
            _refuse(operation, (left, right), error)
        if type(output) is not array_type:
            output = backend_of_type(array_type).as_array(output, right if left_node is None else left)
        if mode or (left_node is None and right_node is None):
            return _result(output, None)
        if keeps_nothing:
            return _recorded(output, operation, (left_node, right_node), (), None, None)
        version: int | None = None
        if keeps_crossed:
            try:
                if left_node is None:
                    kept: tuple = (left, None)
                    if type(left) is _Tensor:
                        version = left._version
                elif right_node is None:
                    kept = (None, right)
                    if type(right) is _Tensor:
                        version = right._version
                else:
                    kept = (left, right)
                    if array_type is _Tensor:
                        version = left._version + right._version
            except RuntimeError:
                return apply(operation, (a, b))
            return _recorded(output, operation, (left_node, right_node), kept, None, version)
        parents = (left_node, right_node)
        kept = operation.keep((left, right), output, (), parents)
        return _recorded(output, operation, parents, kept, None, backend_of_type(array_type).version(kept))

    return call


def apply(operation: Operation, inputs: Sequence[Any], params: dict[str, Any] | None = None) -> Variable:
    """Compute an operation and record it: the general way, which every special one above agrees with.

    Args:
        operation: the operation.
        inputs: Variables, arrays, Python scalars, or ``None`` for an optional input left out.
        params: keyword arguments of the kernel.

    Returns:
        The result, recorded if an input requires a gradient and recording is on.

    Raises:
        TypeError: an input is no array, arrays of different libraries or dtypes meet.
        ValueError: the array library refused the inputs.
    """
    arrays: Any = []
    parents: Any = []
    first: Any = None
    alike = True
    recorded = False
    watched = config.mode == WATCH
    for value in inputs:
        if type(value) is not Variable:
            if value is None or type(value) in _SCALARS:
                arrays.append(value)
                parents.append(None)
                continue
            value = as_variable(value, operation.name, f"input {len(arrays)}")
        array = value.data
        node = value.node
        arrays.append(array)
        parents.append(node)
        if node is not None:
            recorded = True
        if first is None:
            first = array
        elif array.dtype is not first.dtype or (type(array) is _Tensor and array.device != first.device):
            alike = False
    if alike and first is not None:
        array_type = type(first)
        backend = backend_of_type(array_type)
    else:
        backend = check_operands(operation, arrays)
        array_type = backend.array_type
    if watched:
        variables = _as_given(inputs)
        for hook in config.hooks:
            hook.before_forward(operation, variables)
    kernel = operation.kernels[array_type]
    try:
        output = kernel(*arrays) if params is None else kernel(*arrays, **params)
    except Exception as error:
        _refuse(operation, arrays, error)
    extras: tuple = ()
    if operation.extras:
        output, *extras_list = output
        extras = tuple(extras_list)
    if type(output) is not array_type:
        output = backend.as_array(output, first)
    if recorded and config.enable_backprop:
        parents = tuple(parents)
        kept: tuple = ()
        version = None
        if operation.saves:
            kept = operation.keep(tuple(arrays), output, extras, parents)
            version = backend.version(kept)
        if operation.shapes:
            shapes = tuple([None if value is None or type(value) in _SCALARS else value.shape for value in arrays])
            params = {"shapes": shapes} if params is None else {**params, "shapes": shapes}
        result = _recorded(output, operation, parents, kept, params, version)
    else:
        result = _result(output, None)
    if watched:
        if config.debug:
            from toolkit.autograd import debugging

            debugging.after_forward(operation, backend, output, result.node)
        for hook in reversed(config.hooks):
            hook.after_forward(operation, variables, result)
    return result


def _as_given(inputs: Sequence[Any]) -> tuple:
    """Return inputs as hooks see them: arrays as Variables, numbers and ``None`` as they are."""
    return tuple(
        value
        if value is None or type(value) in _SCALARS or type(value) is Variable
        else as_variable(value, "hook", "input")
        for value in inputs
    )


def check_operands(operation: Operation, arrays: Sequence[Any]) -> Backend:
    """Return the one backend of all arrays, or say which argument does not fit the first.

    Raises:
        TypeError: no array among the inputs, two array libraries, two devices or, unless the operation
            allows it, two dtypes.
    """
    first: Any = None
    backend: Any = None
    for position, array in enumerate(arrays):
        if array is None or type(array) in _SCALARS:
            continue
        if first is None:
            first, backend, first_position = array, backend_of_type(type(array)), position
            continue
        name = f"input {position}"
        if type(array) is not type(first):
            raise argument_error(
                operation.name,
                name,
                f"the same array library as input {first_position} ({backend.name})",
                backend_of_type(type(array)).name,
                kind=TypeError,
            )
        if operation.same_dtype and array.dtype != first.dtype:
            raise argument_error(
                operation.name,
                name,
                f"the dtype of input {first_position}, {first.dtype}",
                f"{array.dtype}",
                kind=TypeError,
            )
        if backend.device(array) != backend.device(first):
            raise argument_error(
                operation.name,
                name,
                f"the device of input {first_position}, {backend.device(first)}",
                f"{backend.device(array)}",
                kind=TypeError,
            )
    if first is None:
        raise argument_error(operation.name, "inputs", "at least one array or Variable", repr(arrays), kind=TypeError)
    return backend


def matched(operation: Operation, a: Any, b: Any) -> tuple[Any, Any]:
    """Return two operands brought to one shape, NumPy scalars turned into Python's.

    Raises:
        TypeError: dtypes, array libraries or devices differ.
        ValueError: the shapes cannot be broadcast.
    """
    a, b = _operand(operation, a, 0), _operand(operation, b, 1)
    if isinstance(a, Variable) and isinstance(b, Variable) and a.data.shape != b.data.shape:
        check_operands(operation, (a.data, b.data))
        from toolkit.autograd.operations.shaping import broadcast_to

        try:
            shape = np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise argument_error(
                operation.name, "input 1", f"a shape that broadcasts with {a.shape}", f"{b.shape}"
            ) from None
        if a.shape != shape:
            a = broadcast_to(a, shape)
        if b.shape != shape:
            b = broadcast_to(b, shape)
    return a, b


def _operand(operation: Operation, value: Any, position: int) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) is bool:
        # Not every library computes with floating-point arrays and truth values.
        return int(value)
    if type(value) in _SCALARS or isinstance(value, Variable):
        return value
    return as_variable(value, operation.name, f"input {position}")


def _refuse(operation: Operation, arrays: Sequence[Any], error: Exception) -> NoReturn:
    """Turn an array library's complaint into one that names the operation, what it expects and what came."""
    if isinstance(error, MemoryError | ArithmeticError | Warning) or hasattr(error, "operation"):
        # Overflow under ``numpy.errstate(over="raise")``, say, is no complaint about the inputs' kind.
        raise error
    check_operands(operation, arrays)
    actual = ", ".join(
        "nothing" if array is None else repr(array) if type(array) in _SCALARS else f"{array.dtype}{tuple(array.shape)}"
        for array in arrays
    )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    expected = operation.expects or "inputs the array library accepts"
    kind = IndexError if isinstance(error, IndexError) else ValueError
    raise argument_error(operation.name, "inputs", expected, f"{actual} ({reason})", kind=kind) from error


def _cut_vjp(xp: Any, gradient: Any, saved: Any, needs: Any, params: Any) -> tuple:
    return (None,) * len(needs)


_CUT = Operation("unchained", _cut_vjp)

"""How an operation is computed and recorded: quick ways for the common cases, and one general way they agree with."""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
import torch

from toolkit.autograd.backends import Backend, backend_of_type
from toolkit.autograd.configuration import WATCH, config
from toolkit.autograd.operation import OUTPUT, Operation
from toolkit.autograd.tape import Variable, _recorded, _result, as_variable
from toolkit.core.errors import argument_error

_Tensor = torch.Tensor
_ndarray = np.ndarray
_SCALARS = frozenset({int, float, bool})


def unary(operation: Operation) -> Any:
    """Return the function that applies an operation of one array and no parameters."""
    kernels = operation.kernels
    keeps_output = operation.saves == (OUTPUT,)
    keeps_input = operation.saves == (0,)
    assert keeps_output or keeps_input or operation.saves == (), operation

    def call(x: Any) -> Variable:
        mode = config.mode
        if mode == WATCH or not isinstance(x, Variable):
            return apply(operation, (x,))
        array = x.data
        array_type = type(array)
        try:
            output = kernels[array_type](array)
        except Exception as error:
            _refuse(operation, (array,), error)
        if type(output) is not array_type:
            output = backend_of_type(array_type).as_array(output, array)
        parent = x.node
        if parent is None or mode:
            return _result(output, None)
        try:
            if keeps_output:
                version = output._version if array_type is _Tensor else None
                return _recorded(output, operation, (parent,), (output,), None, version)
            if keeps_input:
                version = array._version if array_type is _Tensor else None
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
        if isinstance(a, Variable):
            left = a.data
            left_node = a.node
            if isinstance(b, Variable):
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
        elif (type(a) is float or type(a) is int) and isinstance(b, Variable):
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


def apply_product(operation: Operation, x: Variable, weight: Variable, bias: Variable | None) -> Variable:
    """Do what :func:`apply` does, sooner, for a product of two arrays, each kept for the other, and a sum with a third.

    Args:
        operation: one without parameters that saves ``x`` for the gradient of ``weight`` and the other way round.
        x: first factor.
        weight: second factor.
        bias: the summand, or ``None``: then the operation has two inputs.
    """
    mode = config.mode
    left = x.data
    right = weight.data
    array_type = type(left)
    by_left = x.node
    by_right = weight.node
    if bias is None:
        arrays: tuple = (left, right)
        parents: tuple = (by_left, by_right)
        third = left
    else:
        third = bias.data
        arrays = (left, right, third)
        parents = (by_left, by_right, bias.node)
    if (
        mode == WATCH
        or not (array_type is type(right) is type(third))
        or not (left.dtype is right.dtype is third.dtype)
        or (
            array_type is not _ndarray
            and (array_type is not _Tensor or not (left.device == right.device == third.device))
        )
    ):
        return apply(operation, (x, weight) if bias is None else (x, weight, bias))
    try:
        output = operation.kernels[array_type](*arrays)
    except Exception as error:
        _refuse(operation, arrays, error)
    if mode or not any(parents):
        return _result(output, None)
    kept = (None if by_right is None else left, None if by_left is None else right)
    version: int | None = None
    if array_type is _Tensor:
        try:
            version = (0 if by_right is None else left._version) + (0 if by_left is None else right._version)
        except RuntimeError:
            # A tensor made in torch.inference_mode counts no writes.
            version = None
    return _recorded(output, operation, parents, kept, None, version)


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
        if not isinstance(value, Variable):
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
            hook.computed(operation, variables, params, result)
    return result


def _as_given(inputs: Sequence[Any]) -> tuple:
    """Return inputs as hooks see them: arrays as Variables, numbers and ``None`` as they are."""
    return tuple(
        value
        if value is None or type(value) in _SCALARS or isinstance(value, Variable)
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

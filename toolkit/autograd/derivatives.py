"""Derivatives as functions: gradients of chosen inputs, products with Jacobians and Hessians, and these themselves."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from toolkit.autograd.configuration import using_config
from toolkit.autograd.engine import first_order, higher_order, reaching, starting_gradient
from toolkit.autograd.tape import Variable, _result, as_variable
from toolkit.core.errors import argument_error

__all__ = ["grad", "hessian", "hvp", "jacobian", "vjp"]


def grad(
    outputs: Variable | Iterable[Variable],
    inputs: Variable | Iterable[Variable],
    grad_outputs: Any = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> Any:
    """Return the gradients of ``outputs`` by ``inputs`` without touching any ``.grad``.

    Only nodes on a path from the outputs to the inputs are visited.

    Args:
        outputs: one Variable or several; the gradient is that of the sum of their products with ``grad_outputs``.
        inputs: one Variable or several, leaves or intermediate results.
        grad_outputs: one array or Variable an output, of its shape and dtype; ``None`` means 1 for an output of one
            element.
        create_graph: record the pass, so that the gradients can be differentiated again, to any order.
        retain_graph: keep the graph; ``create_graph`` by default.
        allow_unused: return ``None`` for an input the outputs do not depend on, instead of raising.

    Returns:
        One Variable for a single input, else a tuple of Variables, of the inputs' shapes and dtypes.

    Raises:
        RuntimeError: the graph has been freed, a saved array was changed in place, or (unless ``allow_unused``)
            an input was not used.
        ValueError: a seed of another shape or dtype, or a number of them that differs from the outputs'.

    Source: Tokui et al. 2019, section 4.2 (``chainer.grad``).
    """
    single = isinstance(inputs, Variable)
    output_list, input_list = as_list("grad", "outputs", outputs), as_list("grad", "inputs", inputs)
    seeds = _one_each("grad", grad_outputs, output_list)
    retain = create_graph if retain_graph is None else retain_graph
    roots = []
    for output, seed in zip(output_list, seeds, strict=True):
        if output.node is not None:
            if create_graph:
                array = starting_gradient("grad", output, seed)
                roots.append((output.node, seed if isinstance(seed, Variable) else _result(array, None)))
            else:
                roots.append((output.node, starting_gradient("grad", output, seed)))
    for position, value in enumerate(input_list):
        if value.node is None and not allow_unused:
            raise argument_error("grad", f"inputs[{position}]", "a Variable with requires_grad=True", repr(value))
    wanted = {value.node.order for value in input_list if value.node is not None}
    # Nothing wanted is older than the oldest input, so the pass ends there, freed or not.
    boundary = {max(wanted)} if wanted else set()
    needed = reaching([node for node, _ in roots], wanted, boundary)
    found: dict[int, Variable] = {}
    if create_graph:
        found.update((node.order, total) for node, total in higher_order(roots, wanted, retain, needed, boundary))
    else:
        like = {value.node.order: value for value in input_list if value.node is not None}
        for node, array, owned in first_order(roots, wanted, retain, needed, boundary):
            value = like[node.order]
            array = value.backend.as_array(array, value.data)
            keep = owned and value.backend.is_contiguous(array)
            found[node.order] = _result(array if keep else value.backend.copy(array), None)
    results: list[Variable | None] = []
    for position, value in enumerate(input_list):
        gradient: Variable | None = None if value.node is None else found.get(value.node.order)
        if gradient is None and not allow_unused:
            raise RuntimeError(
                f"grad: inputs[{position}] was not used to compute the outputs\n"
                f"  expected: a path in the graph (or allow_unused=True)\n  actual:   {value!r}"
            )
        if gradient is not None and not create_graph and any(gradient is other for other in results):
            gradient = _result(gradient.backend.copy(gradient.data), None)
        results.append(gradient)
    return results[0] if single else tuple(results)


@using_config(enable_backprop=True)
def vjp(
    function: Callable[..., Variable | Sequence[Variable]], primals: Sequence[Any], cotangents: Any = None
) -> tuple[Any, tuple[Variable, ...]]:
    """Return a function's outputs and the product of ``cotangents`` with its Jacobian.

    Args:
        function: takes one Variable a primal, returns a Variable or several.
        primals: arrays or Variables to differentiate at.
        cotangents: one array an output, of its shape; may be left out for outputs of one element.

    Returns:
        The outputs, and one gradient a primal (zeros where the outputs do not depend on it).
    """
    leaves = _leaves("vjp", primals)
    outputs = function(*leaves)
    values = [outputs] if isinstance(outputs, Variable) else outputs
    if not isinstance(values, tuple | list) or not all(isinstance(value, Variable) for value in values):
        expected = "a function that returns a Variable, or a tuple or list of them"
        raise argument_error("vjp", "function", expected, type(outputs).__name__, kind=TypeError)
    recorded = any(value.node is not None for value in values)
    gradients = grad(values, leaves, cotangents, allow_unused=True) if recorded else [None] * len(leaves)
    return outputs, tuple(_or_zero(gradient, leaf) for gradient, leaf in zip(gradients, leaves, strict=True))


@using_config(enable_backprop=True)
def hvp(function: Callable[..., Variable], primals: Sequence[Any], vectors: Sequence[Any]) -> tuple[Variable, ...]:
    """Return the product of a function's Hessian with ``vectors``, without forming the Hessian.

    Args:
        function: takes one Variable a primal, returns a Variable of one element.
        primals: arrays or Variables to differentiate at.
        vectors: one array a primal, of its shape.

    Returns:
        One Variable a primal: the derivative of its gradient along ``vectors``, in two backward passes.

    Raises:
        ValueError: numbers or shapes differ, or the function's value has more than one element.
    """
    leaves = _leaves("hvp", primals)
    directions = [as_variable(vector, "hvp", f"vectors[{k}]") for k, vector in enumerate(vectors)]
    if len(directions) != len(leaves):
        raise argument_error("hvp", "vectors", f"{len(leaves)}, one a primal", len(directions))
    for position, (leaf, direction) in enumerate(zip(leaves, directions, strict=True)):
        if direction.shape != leaf.shape or direction.dtype != leaf.dtype:
            raise argument_error(
                "hvp", f"vectors[{position}]", f"{leaf.dtype}{leaf.shape}", f"{direction.dtype}{direction.shape}"
            )
    value = _scalar("hvp", function(*leaves))
    if value.node is None:
        return tuple(_or_zero(None, leaf) for leaf in leaves)
    gradients = grad(value, leaves, create_graph=True, allow_unused=True)
    moving = [
        (g, d.detach()) for g, d in zip(gradients, directions, strict=True) if g is not None and g.node is not None
    ]
    if not moving:
        return tuple(_or_zero(None, leaf) for leaf in leaves)
    products = grad([g for g, _ in moving], leaves, [d for _, d in moving], allow_unused=True)
    return tuple(_or_zero(product, leaf) for product, leaf in zip(products, leaves, strict=True))


@using_config(enable_backprop=True)
def jacobian(function: Callable[[Variable], Variable], primal: Any, *, create_graph: bool = False) -> Variable:
    """Return all first derivatives of a function's output by its input, one backward pass an output element.

    Args:
        function: takes and returns a Variable.
        primal: the array or Variable to differentiate at. A Variable that requires a gradient stays connected when
            ``create_graph`` is set.
        create_graph: make the result differentiable.

    Returns:
        Shape ``output.shape + primal.shape``.
    """
    from toolkit.autograd.operations import reshape, stack

    if create_graph and isinstance(primal, Variable) and primal.node is not None:
        leaf = primal
    else:
        (leaf,) = _leaves("jacobian", [primal])
    output = function(leaf)
    if not isinstance(output, Variable):
        raise argument_error(
            "jacobian", "function", "a function that returns a Variable", type(output).__name__, kind=TypeError
        )
    shape = (*output.shape, *leaf.shape)
    backend = leaf.backend
    if output.size == 0 or output.node is None:
        return _result(backend.zeros(shape, leaf.data), None)
    rows = []
    flat = reshape(output, (output.size,))
    for k in range(output.size):
        row = grad(flat[k], leaf, create_graph=create_graph, retain_graph=True, allow_unused=True)
        rows.append(_or_zero(row, leaf))
    return reshape(stack(rows), shape)


@using_config(enable_backprop=True)
def hessian(function: Callable[[Variable], Variable], primal: Any) -> Variable:
    """Return all second derivatives of a function of one element's value.

    Args:
        function: takes a Variable, returns a Variable of one element.
        primal: the array or Variable to differentiate at.

    Returns:
        Shape ``primal.shape + primal.shape``; symmetric up to rounding where the second derivatives are continuous.

    Raises:
        ValueError: the function's value has more than one element.
    """

    def gradient(x: Variable) -> Variable:
        value = _scalar("hessian", function(x))
        if value.node is None:
            return _or_zero(None, x)
        return _or_zero(grad(value, x, create_graph=True, allow_unused=True), x)

    return jacobian(gradient, primal)


def as_list(operation: str, argument: str, values: Any) -> list[Variable]:
    """Return one Variable or a sequence of them as a list.

    Raises:
        TypeError: something that is neither.
    """
    if isinstance(values, Variable):
        return [values]
    if not isinstance(values, Iterable) or isinstance(values, str) or hasattr(values, "dtype"):
        expected = "a Variable or a sequence of them"
        raise argument_error(operation, argument, expected, type(values).__name__, kind=TypeError)
    variables = list(values)
    for position, value in enumerate(variables):
        if not isinstance(value, Variable):
            raise argument_error(
                operation, f"{argument}[{position}]", "a Variable", type(value).__name__, kind=TypeError
            )
    return variables


def _leaves(operation: str, primals: Sequence[Any]) -> list[Variable]:
    if isinstance(primals, Variable) or not isinstance(primals, Sequence):
        raise argument_error(
            operation,
            "primals",
            "a tuple or list, one an argument of the function",
            type(primals).__name__,
            kind=TypeError,
        )
    detached = [as_variable(primal, operation, f"primals[{k}]") for k, primal in enumerate(primals)]
    return [Variable(primal.data, requires_grad=True, name=primal.name) for primal in detached]


def _one_each(operation: str, seeds: Any, outputs: list[Variable]) -> list[Any]:
    if seeds is None:
        return [None] * len(outputs)
    values = list(seeds) if isinstance(seeds, tuple | list) else [seeds]
    if len(values) != len(outputs):
        raise argument_error(operation, "grad_outputs", f"{len(outputs)}, one an output", len(values))
    return values


def _or_zero(gradient: Variable | None, leaf: Variable) -> Variable:
    return _result(leaf.backend.zeros_like(leaf.data), None) if gradient is None else gradient


def _scalar(operation: str, value: Any) -> Variable:
    if not isinstance(value, Variable):
        raise argument_error(
            operation, "function", "a function that returns a Variable", type(value).__name__, kind=TypeError
        )
    if value.size != 1:
        raise argument_error(operation, "function", "a function with a value of one element", f"shape {value.shape}")
    return value

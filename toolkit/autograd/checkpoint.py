"""Recomputation: keep a function's inputs instead of everything inside it, and run it again when backward needs it."""

import weakref
from collections.abc import Callable
from typing import Any

from toolkit.autograd import debugging
from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.configuration import config, using_config
from toolkit.autograd.engine import first_order, higher_order, reaching
from toolkit.autograd.operation import EXTRA, Operation
from toolkit.autograd.randomness import default, noted, replayed
from toolkit.autograd.tape import Leaf, Node, Variable, _recorded, _result, as_variable, next_order
from toolkit.core.errors import argument_error

__all__ = ["checkpoint"]


def checkpoint(function: Callable[..., Variable], *inputs: Any) -> Variable:
    """Run ``function`` keeping only its inputs, and run it again during backward (Chainer's ``forget``).

    Random operations draw the same numbers the second time, and running statistics are updated the first time only.
    The gradient can itself be differentiated.

    Args:
        function: takes one Variable an input, returns one Variable, and must compute the same when called again.
            Variables it reads from elsewhere, parameters say, get their gradients too.
        *inputs: arrays or Variables.

    Returns:
        What ``function`` returns.

    Raises:
        TypeError: ``function`` returns something else.
        RuntimeError: (in backward) what ``function`` reads was changed in place or replaced since.
    """
    variables = [as_variable(value, "checkpoint", f"inputs[{k}]") for k, value in enumerate(inputs)]
    start = next_order()
    with noted() as states:
        output = function(*variables)
    if not isinstance(output, Variable):
        raise argument_error(
            "checkpoint", "function", "a function that returns a Variable", type(output).__name__, kind=TypeError
        )
    if output.node is None or output.node.order > start:
        return output
    arrays = tuple(variable.data for variable in variables)
    nodes = tuple(variable.node for variable in variables)
    parents = tuple(_older(output.node, start))
    params = {
        "function": function,
        "nodes": nodes,
        "read": tuple(_as_read(node) for node in parents if isinstance(node, Leaf) and node not in nodes),
        "states": states,
        "settings": {"train": config.train, "generator": default()},
        "output": (output.shape, output.dtype),
    }
    result = _recorded(output.data, _CHECKPOINT, parents, arrays, params, output.backend.version(arrays))
    if config.debug:
        debugging.after_forward(_CHECKPOINT, output.backend, output.data, result.node)
    return result


def _older(node: Node, start: int) -> list[Node]:
    """Return the nodes made before the checkpoint began that its inside was computed from."""
    found: dict[int, Node] = {}
    seen: set[int] = set()
    pending = [node]
    while pending:
        node = pending.pop()
        if node.order in seen:
            continue
        seen.add(node.order)
        if node.order > start:
            found[node.order] = node
        else:
            pending.extend(parent for parent in node.parents if parent is not None)
    return list(found.values())


def _as_read(leaf: Leaf) -> tuple:
    """Return what tells whether the array of a Variable that the function reads is still the same."""
    data = leaf.variable().data  # type: ignore[union-attr]
    backend = backend_of_type(type(data))
    sums = debugging.checksums(backend, (data,)) if config.debug else None
    return leaf.variable, weakref.ref(data), backend.version((data,)), sums


def _require_as_read(read: tuple) -> None:
    """Raise ``RuntimeError`` if the function would read another array than when it ran first."""
    reference, array, version, sums = read
    variable = reference()
    if variable is None:
        return
    backend, data = variable.backend, variable.data
    same = data is array() and backend.version((data,)) == version
    if not same or (sums is not None and debugging.checksums(backend, (data,)) != sums):
        name = "" if variable.name is None else f" ({variable.name})"
        raise RuntimeError(
            f"checkpoint: a Variable that the function reads{name} was changed since it ran\n"
            "  expected: its array as it was, to compute the same again\n"
            "  actual:   changed (change it after backward())"
        )


def _checkpoint_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    for read in p["read"]:
        _require_as_read(read)
    again = [_result(array, node) for array, node in zip(saved, p["nodes"], strict=True)]
    start = next_order()
    with using_config(enable_backprop=True, in_recomputing=True, **p["settings"]), replayed(p["states"]):
        output = p["function"](*again)
    if (output.shape, output.dtype) != p["output"] or output.node is None:
        raise RuntimeError(
            "checkpoint: the function computed something else when it was run again\n"
            f"  expected: {p['output'][1]}{p['output'][0]}\n  actual:   {output.dtype}{output.shape}"
        )
    wanted = {parent.order for parent in needs if parent is not None}
    boundary = {node.order for node in _older(output.node, start)}
    needed = reaching([output.node], wanted, boundary)
    gradients: dict[int, Any] = {}
    if isinstance(g, Variable):
        for node, gradient in higher_order([(output.node, g)], wanted, True, needed, boundary):
            gradients[node.order] = gradient
    else:
        for node, gradient, _ in first_order([(output.node, g)], wanted, False, needed, boundary):
            gradients[node.order] = gradient
    return tuple(None if parent is None else gradients.get(parent.order) for parent in needs)


class _Recomputed(Operation):
    """Its saved inputs are wrapped by the rule itself, which knows their nodes."""

    __slots__ = ()

    def source(self, position: int) -> int:
        return EXTRA


_CHECKPOINT = _Recomputed("checkpoint", _checkpoint_vjp, fresh=False)

"""The backward pass: a heap of recorded results, newest first.

The order of creation is a topological order for free: a result is always newer than what it was made from, so when
the newest pending node is popped, every contribution to its gradient has arrived. Nothing is traversed beforehand,
nothing recurses, and each node is freed as soon as it has been passed, so that memory shrinks while the pass proceeds.
"""

import math
from collections.abc import Set
from heapq import heappop, heappush, heapreplace
from typing import Any

import numpy as np
import torch

from toolkit.autograd import debugging
from toolkit.autograd.backends import Backend, backend_of_type
from toolkit.autograd.configuration import WATCH, config, using_config
from toolkit.autograd.operation import EXTRA, OUTPUT
from toolkit.autograd.tape import Leaf, Node, Variable, _result
from toolkit.core.errors import argument_error

_Tensor = torch.Tensor
_ndarray = np.ndarray
_FREED = (
    "the graph behind it has been freed by an earlier backward pass; pass retain_graph=True to the first one, or "
    "compute the output again"
)


def backward(self: Variable, gradient: Any = None, *, retain_graph: bool = False) -> None:
    """Add the gradient of this Variable to ``.grad`` of every leaf it was computed from.

    Args:
        self: the Variable.
        gradient: array or Variable of this Variable's shape and dtype to start from; may be left out for a
            Variable of one element, where it is 1.
        retain_graph: keep the graph for another pass. Without it each node is freed as soon as it is passed.

    Raises:
        RuntimeError: nothing was recorded, the graph has been freed by an earlier pass, or a saved array
            was changed in place since.
        ValueError: ``gradient`` is missing, or of another shape or dtype.
    """
    if self.node is None:
        raise RuntimeError(
            "backward: nothing was recorded for this Variable\n  expected: a Variable computed from one with "
            f"requires_grad=True\n  actual:   {self!r}"
        )
    seed = starting_gradient("backward", self, gradient)
    for leaf, total, owned in first_order([(self.node, seed)], None, retain_graph):
        variable = leaf.variable()
        if variable is None:
            continue
        if owned and variable.grad is None:
            kind = type(total)
            if total.is_contiguous() if kind is _Tensor else kind is _ndarray and total.flags.c_contiguous:
                variable.grad = total
                continue
        _accumulate(variable, total, owned)


def _accumulate(variable: Variable, total: Any, owned: bool) -> None:
    """Make ``total`` the gradient of a leaf, or add it to the one there is."""
    backend = backend_of_type(type(variable.data))
    total = backend.as_array(total, variable.data)
    before: Any = variable.grad
    if isinstance(before, np.generic):
        before = backend.as_array(before, variable.data)  # an array without axes, scaled
    if before is None:
        variable.grad = total if owned and backend.is_contiguous(total) else backend.copy(total)
    elif type(before) is type(total) and before.dtype == total.dtype and before.shape == total.shape:
        variable.grad = backend.as_array(backend.add_into(before, total), variable.data)
    else:
        actual = f"{getattr(before, 'dtype', type(before).__name__)}{tuple(getattr(before, 'shape', ()))}"
        expected = f"{backend.name} array, {total.dtype}{tuple(total.shape)}, to add to"
        raise argument_error("backward", f"grad of {variable.name or 'a leaf'}", expected, actual)


def starting_gradient(operation: str, output: Variable, gradient: Any) -> Any:
    """Return the array to start a pass from: ones of one element, or the caller's, checked."""
    if gradient is None:
        data = output.data
        if data.shape and output.size != 1:
            raise argument_error(
                operation,
                "gradient",
                f"an array of shape {output.shape}; it may be left out for one element",
                "nothing",
            )
        return backend_of_type(type(data)).ones_like(data)
    array = gradient.data if isinstance(gradient, Variable) else gradient
    if type(array) is not type(output.data):
        raise argument_error(
            operation, "gradient", f"{output.backend.name} array", type(array).__name__, kind=TypeError
        )
    if tuple(array.shape) != output.shape or array.dtype != output.dtype:
        raise argument_error(
            operation, "gradient", f"{output.dtype}{output.shape}", f"{array.dtype}{tuple(array.shape)}"
        )
    return array


def first_order(
    roots: list[tuple[Node, Any]],
    wanted: set[int] | None,
    retain_graph: bool,
    needed: set[int] | None = None,
    boundary: Set[int] = frozenset(),
) -> list[list[Any]]:
    """Pass gradients back through the graph on raw arrays.

    Args:
        roots: nodes to start from, with their gradients.
        wanted: orders of the nodes whose gradients are returned; ``None`` for all leaves.
        retain_graph: leave the graph as it is.
        needed: orders of the nodes worth visiting; ``None`` for all.
        boundary: orders of the nodes to stop at.

    Returns:
        One ``[node, gradient, owned]`` each; ``owned`` gradients share memory with nothing.
    """
    # Leaves wait among the nodes, but not in the heap: nothing lies behind them, so they need no place in the order,
    # and when the heap is empty they are what is left.
    pending: dict[int, list[Any]] = {}
    heap: list[int] = []
    results: list[list[Any]] = []
    kind: Any = None
    xp: Any = None
    watched = config.mode == WATCH
    for node, gradient in roots:
        slot = pending.get(node.order)
        if slot is None:
            pending[node.order] = [node, gradient, False]
            if node.operation is not None:
                heappush(heap, node.order)
        else:
            slot[1] = slot[1] + gradient
            slot[2] = True
    while heap:
        # The node stays on top of the heap while its parents arrive, so that the first of them can take its place.
        order = heap[0]
        node, gradient, owned = pending.pop(order)
        operation = node.operation
        if wanted is not None:
            if order in wanted:
                results.append([node, gradient, owned])
            if order in boundary:
                heappop(heap)
                continue
        parents = node.parents
        saved = node.saved
        if saved is None:
            raise RuntimeError(f"backward: {operation.name}: {_FREED}")
        if needed is not None:
            parents = tuple(parent if parent is not None and parent.order in needed else None for parent in parents)
            if not any(parents):
                heappop(heap)
                continue
        if type(gradient) is not kind:
            xp = backend_of_type(type(gradient))
            gradient = xp.as_array(gradient, gradient)
            kind = xp.array_type
        version = node.version
        if version is not None:
            for value in saved:
                if type(value) is _Tensor:
                    version -= value._version
            if version:
                check_unchanged(node, xp)
        if watched:
            gradients = debugging.watched_vjp(xp, node, gradient, saved, parents, pending)
        else:
            gradients = operation.vjp(xp, gradient, saved, parents, node.params)
        if not retain_graph:
            node.saved = None
        on_top = True
        for parent, contribution in zip(parents, gradients):  # noqa: B905 - every rule is tested; this is the hot loop
            if parent is None or contribution is None:
                continue
            order = parent.order
            if order not in pending:
                pending[order] = [parent, contribution, operation.fresh]
                if parent.operation is not None:
                    if on_top:
                        heapreplace(heap, order)
                        on_top = False
                    else:
                        heappush(heap, order)
                continue
            slot = pending[order]
            if slot[2]:
                slot[1] = xp.add_into(slot[1], contribution)
            else:
                slot[1] = slot[1] + contribution
                slot[2] = True
        if on_top:
            heappop(heap)
    if wanted is None:
        return list(pending.values())
    results.extend(slot for order, slot in pending.items() if order in wanted)
    return results


def higher_order(
    roots: list[tuple[Node, Variable]],
    wanted: set[int],
    retain_graph: bool,
    needed: set[int],
    boundary: Set[int] = frozenset(),
) -> list[tuple[Any, Variable]]:
    """Pass gradients back as Variables, recording the pass itself, so that they can be differentiated again.

    Arguments as in :func:`first_order`. Gradients are never added in place, since the record may refer to them.
    """
    from toolkit.autograd.backends.tape_namespace import TAPE

    pending: dict[int, list[Any]] = {}
    heap: list[int] = []
    results: list[tuple[Any, Variable]] = []
    for node, gradient in roots:
        slot = pending.get(node.order)
        if slot is None:
            pending[node.order] = [node, gradient]
            heappush(heap, node.order)
        else:
            slot[1] = slot[1] + gradient
    watched = config.mode == WATCH
    with using_config(enable_backprop=True):
        while heap:
            order = heappop(heap)
            node, gradient = pending.pop(order)
            if order in wanted:
                results.append((node, gradient))
            if node.operation is None or order in boundary:
                continue
            if node.saved is None:
                raise RuntimeError(f"grad: {node.operation.name}: {_FREED}")
            parents = tuple(
                [parent if parent is not None and parent.order in needed else None for parent in node.parents]
            )
            if not any(parents):
                continue
            version = node.version
            if version is not None:
                for value in node.saved:
                    if type(value) is _Tensor:
                        version -= value._version
                if version:
                    check_unchanged(node, gradient.backend)
            if watched:
                debugging.require_unchanged(gradient.backend, node)
            gradients = node.operation.vjp(TAPE, gradient, saved_as_variables(node), parents, node.params)
            if not retain_graph:
                node.saved = None
            for parent, contribution in zip(parents, gradients, strict=True):
                if parent is None or contribution is None:
                    continue
                slot = pending.get(parent.order)
                if slot is None:
                    pending[parent.order] = [parent, contribution]
                    heappush(heap, parent.order)
                else:
                    slot[1] = slot[1] + contribution
    return results


def saved_as_variables(node: Node) -> tuple:
    """Wrap what a node saved in Variables that stand where the originals stood in the graph.

    A saved input gets its parent's node, a saved output the node itself: for the length of one call only, so that
    the output is in reach without a cycle (Tokui et al. 2019, section 4.2.1, without weak references).
    """
    source_of = node.operation.source
    parents = node.parents
    values = []
    for position, value in enumerate(node.saved):
        source = source_of(position)
        if source == EXTRA or not hasattr(value, "dtype"):
            values.append(value)
        else:
            values.append(_result(value, node if source == OUTPUT else parents[source]))
    return tuple(values)


def reaching(roots: list[Node], wanted: set[int], boundary: Set[int] = frozenset()) -> set[int]:
    """Return the orders of the nodes on a path from ``roots`` to a wanted node, both ends included.

    Nothing behind a node of ``boundary`` is looked at, nor behind one older than all wanted ones.
    """
    oldest = max(wanted, default=-math.inf)
    found: dict[int, Node] = {}
    pending = list(roots)
    while pending:
        node = pending.pop()
        order = node.order
        if order in found:
            continue
        found[order] = node
        if order >= oldest or order in boundary:
            continue
        if node.saved is None:
            raise RuntimeError(f"grad: {node.operation.name}: {_FREED}")
        for parent in node.parents:
            if parent is not None:
                pending.append(parent)
    needed: set[int] = set()
    for order in sorted(found, reverse=True):
        if order in wanted:
            needed.add(order)
        elif order < oldest and order not in boundary:
            for parent in found[order].parents:
                if parent is not None and parent.order in needed:
                    needed.add(order)
                    break
    return needed


def check_unchanged(node: Node, backend: Backend) -> None:
    """Raise for a node whose saved arrays' version counters have moved; in debug mode, where they have changed."""
    if node.version is not True:
        raise changed_in_place(node)
    debugging.require_unchanged(backend, node)


def changed_in_place(node: Node) -> RuntimeError:
    """Build the error for a saved array that is no longer what was saved."""
    where = "" if node.origin is None else f"\n  made at:  {node.origin[0]}"
    return RuntimeError(
        f"backward: {node.operation.name}: an array it saved for the backward pass was changed in place since"
        f"\n  expected: the arrays as they were when {node.operation.name} was computed"
        f"\n  actual:   changed (write into a copy, or change it after backward()){where}"
    )


Variable.backward = backward  # type: ignore[method-assign]

__all__ = ["Leaf", "backward", "first_order", "higher_order", "reaching", "saved_as_variables", "starting_gradient"]

"""One small tape with its design decisions as switches, so that what each of them costs can be measured.

It knows three operations (multiply, add, tanh), on NumPy or torch arrays. A switch that is off costs nothing: the
functions are put together once for a design, not asked at every operation.
"""

import itertools
import operator
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
import torch
from array_api_compat import array_namespace

from toolkit.autograd.backends import backend_of_type
from toolkit.core.errors import require

LIBRARIES = ("numpy", "torch")
RECORDS = {
    "nodes": "two objects a result",
    "split": "three objects a result",
    "closures": "a closure in each result",
}
_next_order = itertools.count(0, -1).__next__


@dataclass(frozen=True)
class Design:
    """How a tape is built.

    Attributes:
        library: ``"numpy"`` or ``"torch"``: whose arrays it computes on.
        record: a key of :data:`RECORDS`. ``"nodes"`` is this toolkit's way, a variable and a node;
            ``"split"`` Chainer's, a variable, its node and a function node; ``"closures"`` that of micrograd and many
            teaching engines.
        lookup: ask ``array_api_compat.array_namespace`` at every operation and every backward rule.
        plain_tanh: the gradient of tanh as ``g * (1 - y * y)``, where the library may have one function for it.
    """

    library: str = "numpy"
    record: str = "nodes"
    lookup: bool = False
    plain_tanh: bool = False

    def __post_init__(self) -> None:
        require(self.library in LIBRARIES, "Design", "library", f"one of {LIBRARIES}", repr(self.library))
        require(self.record in RECORDS, "Design", "record", f"one of {tuple(RECORDS)}", repr(self.record))

    @property
    def key(self) -> str:
        """The design in a few words, the same for equal designs: ``"numpy/split+lookup"``."""
        switches = ["lookup"] * self.lookup + ["plain tanh"] * self.plain_tanh
        return "+".join([f"{self.library}/{self.record}", *switches])


def designs(library: str) -> Iterator[Design]:
    """Yield every design on the arrays of a library; the toolkit's own decisions come first."""
    for record, lookup, plain in itertools.product(RECORDS, (False, True), (False, True)):
        yield Design(library, record, lookup, plain)


@dataclass(frozen=True)
class Tape:
    """A tape put together from a design.

    Attributes:
        leaf: array -> a variable to differentiate by.
        multiply: of two variables.
        add: of two variables.
        tanh: of one variable.
        backward: ``(variable, gradient)``: puts gradients into ``.grad`` of the leaves.
    """

    leaf: Callable[[Any], Any]
    multiply: Callable[[Any, Any], Any]
    add: Callable[[Any, Any], Any]
    tanh: Callable[[Any], Any]
    backward: Callable[[Any, Any], None]


@dataclass(frozen=True)
class _Arithmetic:
    """The same three operations on arrays, forward, and their rules: ``rule(gradient, *saved)``."""

    multiply: Callable[[Any, Any], Any]
    add: Callable[[Any, Any], Any]
    tanh: Callable[[Any], Any]
    multiply_rule: Callable[..., tuple]
    add_rule: Callable[..., tuple]
    tanh_rule: Callable[..., tuple]


def build(design: Design) -> Tape:
    """Put a tape together."""
    arithmetic = _looked_up(design) if design.lookup else _chosen_once(design)
    return {"nodes": _with_nodes, "split": _with_split_nodes, "closures": _with_closures}[design.record](arithmetic)


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic


def _fused_tanh(library: str) -> Callable[[Any, Any], Any]:
    return backend_of_type(np.ndarray if library == "numpy" else torch.Tensor).tanh_backward


def _chosen_once(design: Design) -> _Arithmetic:
    fused = _fused_tanh(design.library)
    return _Arithmetic(
        multiply=operator.mul,
        add=operator.add,
        tanh=np.tanh if design.library == "numpy" else torch.tanh,
        multiply_rule=lambda g, a, b: (g * b, g * a),
        add_rule=lambda g: (g, g),
        tanh_rule=(lambda g, y: (g * (1 - y * y),)) if design.plain_tanh else (lambda g, y: (fused(g, y),)),
    )


def _looked_up(design: Design) -> _Arithmetic:
    fused = _fused_tanh(design.library)

    def multiply_rule(g: Any, a: Any, b: Any) -> tuple:
        xp = array_namespace(g)
        return xp.multiply(g, b), xp.multiply(g, a)

    def add_rule(g: Any) -> tuple:
        array_namespace(g)
        return g, g

    def plain_rule(g: Any, y: Any) -> tuple:
        xp = array_namespace(g)
        return (xp.multiply(g, xp.subtract(1, xp.multiply(y, y))),)

    def fused_rule(g: Any, y: Any) -> tuple:
        array_namespace(g)
        return (fused(g, y),)

    return _Arithmetic(
        multiply=lambda a, b: array_namespace(a).multiply(a, b),
        add=lambda a, b: array_namespace(a).add(a, b),
        tanh=lambda x: array_namespace(x).tanh(x),
        multiply_rule=multiply_rule,
        add_rule=add_rule,
        tanh_rule=plain_rule if design.plain_tanh else fused_rule,
    )


# ---------------------------------------------------------------------------------------------------------------------
# One node a result: this toolkit's way


class _Node:
    __slots__ = ("order", "parents", "rule", "saved", "variable")
    variable: Any

    def __init__(self, rule: Any, parents: tuple, saved: tuple) -> None:
        self.rule, self.parents, self.saved, self.order = rule, parents, saved, _next_order()


class _Variable:
    __slots__ = ("__weakref__", "data", "grad", "node")

    def __init__(self, data: Any, node: Any) -> None:
        self.data, self.node, self.grad = data, node, None


def _with_nodes(on: _Arithmetic) -> Tape:
    multiply_arrays, add_arrays, tanh_array = on.multiply, on.add, on.tanh
    multiply_rule, add_rule, tanh_rule = on.multiply_rule, on.add_rule, on.tanh_rule

    def leaf(array: Any) -> _Variable:
        node = _Node(None, (), ())
        variable = _Variable(array, node)
        node.variable = weakref.ref(variable)
        return variable

    def multiply(a: _Variable, b: _Variable) -> _Variable:
        x, y = a.data, b.data
        return _Variable(multiply_arrays(x, y), _Node(multiply_rule, (a.node, b.node), (x, y)))

    def add(a: _Variable, b: _Variable) -> _Variable:
        return _Variable(add_arrays(a.data, b.data), _Node(add_rule, (a.node, b.node), ()))

    def tanh(x: _Variable) -> _Variable:
        y = tanh_array(x.data)
        return _Variable(y, _Node(tanh_rule, (x.node,), (y,)))

    def backward(variable: _Variable, gradient: Any) -> None:
        heap = [variable.node.order]
        pending = {variable.node.order: [variable.node, gradient]}
        while heap:
            node, g = pending.pop(heappop(heap))
            if node.rule is None:
                node.variable().grad = g
                continue
            for parent, part in zip(node.parents, node.rule(g, *node.saved), strict=True):
                slot = pending.get(parent.order)
                if slot is None:
                    pending[parent.order] = [parent, part]
                    heappush(heap, parent.order)
                else:
                    slot[1] = add_arrays(slot[1], part)
            node.parents = node.saved = ()

    return Tape(leaf, multiply, add, tanh, backward)


# ---------------------------------------------------------------------------------------------------------------------
# Two kinds of node: Chainer's way


class _VariableNode:
    __slots__ = ("__weakref__", "creator", "variable")
    variable: Any

    def __init__(self, creator: Any) -> None:
        self.creator = creator


class _FunctionNode:
    __slots__ = ("inputs", "order", "output", "rule", "saved")
    output: Any

    def __init__(self, rule: Any, inputs: tuple, saved: tuple) -> None:
        self.rule, self.inputs, self.saved, self.order = rule, inputs, saved, _next_order()


def _with_split_nodes(on: _Arithmetic) -> Tape:
    multiply_arrays, add_arrays, tanh_array = on.multiply, on.add, on.tanh
    multiply_rule, add_rule, tanh_rule = on.multiply_rule, on.add_rule, on.tanh_rule

    def leaf(array: Any) -> _Variable:
        node = _VariableNode(None)
        variable = _Variable(array, node)
        node.variable = weakref.ref(variable)
        return variable

    def recorded(data: Any, function: _FunctionNode) -> _Variable:
        node = _VariableNode(function)
        function.output = weakref.ref(node)  # a strong reference would close a cycle
        return _Variable(data, node)

    def multiply(a: _Variable, b: _Variable) -> _Variable:
        x, y = a.data, b.data
        return recorded(multiply_arrays(x, y), _FunctionNode(multiply_rule, (a.node, b.node), (x, y)))

    def add(a: _Variable, b: _Variable) -> _Variable:
        return recorded(add_arrays(a.data, b.data), _FunctionNode(add_rule, (a.node, b.node), ()))

    def tanh(x: _Variable) -> _Variable:
        y = tanh_array(x.data)
        return recorded(y, _FunctionNode(tanh_rule, (x.node,), (y,)))

    def backward(variable: _Variable, gradient: Any) -> None:
        gradients = {variable.node: gradient}
        functions = {}
        heap = []
        if variable.node.creator is not None:
            functions[variable.node.creator.order] = variable.node.creator
            heap.append(variable.node.creator.order)
        while heap:
            function = functions.pop(heappop(heap))
            g = gradients.pop(function.output())
            for node, part in zip(function.inputs, function.rule(g, *function.saved), strict=True):
                before = gradients.get(node)
                if before is not None:
                    gradients[node] = add_arrays(before, part)
                    continue
                gradients[node] = part
                creator = node.creator
                if creator is not None:
                    functions[creator.order] = creator
                    heappush(heap, creator.order)
            function.inputs = function.saved = ()
        for node, g in gradients.items():
            node.variable().grad = g

    return Tape(leaf, multiply, add, tanh, backward)


# ---------------------------------------------------------------------------------------------------------------------
# A closure in each result: short, and every result is part of a reference cycle


class _Closed:
    __slots__ = ("data", "grad", "parents", "pass_back")

    def __init__(self, data: Any, parents: tuple) -> None:
        self.data, self.parents, self.grad = data, parents, None
        self.pass_back: Any = None


def _with_closures(on: _Arithmetic) -> Tape:
    multiply_arrays, add_arrays, tanh_array = on.multiply, on.add, on.tanh
    multiply_rule, add_rule, tanh_rule = on.multiply_rule, on.add_rule, on.tanh_rule

    def receive(result: _Closed, g: Any) -> None:
        result.grad = g if result.grad is None else add_arrays(result.grad, g)

    def leaf(array: Any) -> _Closed:
        return _Closed(array, ())

    def multiply(a: _Closed, b: _Closed) -> _Closed:
        out = _Closed(multiply_arrays(a.data, b.data), (a, b))

        def pass_back() -> None:
            for_a, for_b = multiply_rule(out.grad, a.data, b.data)
            receive(a, for_a)
            receive(b, for_b)

        out.pass_back = pass_back
        return out

    def add(a: _Closed, b: _Closed) -> _Closed:
        out = _Closed(add_arrays(a.data, b.data), (a, b))

        def pass_back() -> None:
            for_a, for_b = add_rule(out.grad)
            receive(a, for_a)
            receive(b, for_b)

        out.pass_back = pass_back
        return out

    def tanh(x: _Closed) -> _Closed:
        out = _Closed(tanh_array(x.data), (x,))
        out.pass_back = lambda: receive(x, tanh_rule(out.grad, out.data)[0])
        return out

    def backward(variable: _Closed, gradient: Any) -> None:
        order, seen, pending = [], set(), [(variable, False)]
        while pending:
            result, done = pending.pop()
            if done:
                order.append(result)
            elif result not in seen:
                seen.add(result)
                pending.append((result, True))
                pending.extend((parent, False) for parent in result.parents)
        variable.grad = gradient
        for result in reversed(order):
            if result.pass_back is not None:
                result.pass_back()

    return Tape(leaf, multiply, add, tanh, backward)

"""A backward pass over a real digit, written down one node at a time."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from toolkit.autograd import Graph, Variable, graph, hooks
from toolkit.autograd import functions as F
from toolkit.autograd.graph import GraphNode
from toolkit.core.errors import reject
from toolkit.datasets import load

DIGIT = 3
_HIDDEN = 16


@dataclass(frozen=True)
class Program:
    """A few lines of code to record.

    Attributes:
        lines: as text.
        run: as a function of an image, its label and the weights.
        shapes: of the weights, by name.
    """

    lines: tuple[str, ...]
    run: Callable[..., Variable]
    shapes: Mapping[str, tuple[int, int]]


def _shortcut(x: Variable, label: np.ndarray, u: Variable, v: Variable, w: Variable) -> Variable:
    h = F.tanh(F.linear(x, u))
    h = h + F.tanh(F.linear(h, v))
    return F.cross_entropy(F.linear(h, w), label)


def _loop(x: Variable, label: np.ndarray, u: Variable, v: Variable, w: Variable) -> Variable:
    h = F.tanh(F.linear(x, u))
    for _ in range(2):
        h = F.tanh(F.linear(h, v))
    return F.cross_entropy(F.linear(h, w), label)


def _neuron(x: Variable, label: np.ndarray, w: Variable) -> Variable:
    return F.tanh(F.sum(w * x))


_NETWORK = {"U": (_HIDDEN, 64), "V": (_HIDDEN, _HIDDEN), "W": (10, _HIDDEN)}
PROGRAMS: Mapping[str, Program] = {
    "a shortcut": Program(
        ("h = tanh(linear(x, U))", "h = h + tanh(linear(h, V))", "loss = cross_entropy(linear(h, W), label)"),
        _shortcut,
        _NETWORK,
    ),
    "a loop": Program(
        (
            "h = tanh(linear(x, U))",
            "for _ in range(2): h = tanh(linear(h, V))",
            "loss = cross_entropy(linear(h, W), label)",
        ),
        _loop,
        _NETWORK,
    ),
    "one neuron": Program(("y = tanh(sum(w * x))",), _neuron, {"w": (1, 64)}),
}


@dataclass(frozen=True)
class Moment:
    """The backward pass between two steps.

    Attributes:
        passed: order of the node passed last; ``None`` before the first step.
        added: orders of the nodes that got a further contribution to a gradient they already had.
        waiting: orders on the heap, newest first.
        gradients: gradient so far of what waits, final gradient of the leaves passed.
        lengths: Euclidean length of every gradient that has arrived, by order; of the passed nodes too.
        alive_bytes: bytes still kept for backward.
    """

    passed: int | None
    added: tuple[int, ...]
    waiting: tuple[int, ...]
    gradients: dict[int, np.ndarray]
    lengths: dict[int, float]
    alive_bytes: int


@dataclass(frozen=True)
class BackwardPass:
    """A recorded pass: the graph as it was before, and what was waiting after every step."""

    program: str
    graph: Graph
    moments: tuple[Moment, ...]
    image: Float[np.ndarray, "8 8"]

    def __repr__(self) -> str:
        return f"BackwardPass({len(self.graph.nodes)} nodes, {len(self.moments) - 1} steps)"

    def number(self, order: int) -> int:
        """Return the place of a node in the order of creation, from 1 for the oldest."""
        return 1 + next(k for k, node in enumerate(self.graph.nodes) if node.order == order)

    def node(self, order: int) -> GraphNode:
        """Return the node of that order."""
        return self.graph.nodes[self.number(order) - 1]

    def name(self, order: int) -> str:
        """Return what a node is called in the drawing: its place in the order of creation and its label."""
        return f"{self.number(order)} {self.node(order).label}"


@functools.cache
def record(program: str) -> BackwardPass:
    """Run a program on a real digit and write down its backward pass.

    Args:
        program: a key of :data:`PROGRAMS`.

    Raises:
        ValueError: an unknown program.
    """
    if program not in PROGRAMS:
        reject("record", "program", f"one of {list(PROGRAMS)}", program)
    split = load("digits").train
    chosen = int(np.flatnonzero(split.labels.numpy() == DIGIT)[0])
    image = split[[chosen]].as_float().numpy().astype(np.float64)
    x = Variable(image.reshape(1, 64), requires_grad=True, name="x")
    draw = np.random.default_rng(1).normal
    weights = [
        Variable(draw(size=shape) / np.sqrt(shape[1]), requires_grad=True, name=name)
        for name, shape in PROGRAMS[program].shapes.items()
    ]
    loss = PROGRAMS[program].run(x, np.array([DIGIT]), *weights)
    drawn = graph(loss)
    with hooks.Recorder() as recorder:
        loss.backward()
    return BackwardPass(program, drawn, _moments(drawn, recorder.steps), image[0])


def _moments(drawn: Graph, steps: list[hooks.BackwardStep]) -> tuple[Moment, ...]:
    """Put the leaves between the recorded steps: the heap gives out the newest node first, leaf or not."""
    rules = {step.order: step for step in steps}
    root = steps[0]
    gradients = {root.order: root.gradient}
    lengths = {root.order: length_of(root.gradient)}
    alive = drawn.saved_bytes
    moments = [Moment(None, (), (root.order,), dict(gradients), dict(lengths), alive)]
    waiting = {root.order}
    while waiting:
        order = min(waiting)
        waiting.remove(order)
        added: list[int] = []
        if order in rules:
            del gradients[order]
            for parent, contribution in rules[order].gradients.items():
                if parent in gradients:
                    added.append(parent)
                    contribution = gradients[parent] + contribution
                gradients[parent], lengths[parent] = contribution, length_of(contribution)
                waiting.add(parent)
            alive = rules[order].alive_bytes
        moments.append(Moment(order, tuple(added), tuple(sorted(waiting)), dict(gradients), dict(lengths), alive))
    return tuple(moments)


def length_of(array: np.ndarray) -> float:
    """Return the Euclidean length of all elements."""
    return float(np.sqrt((array * array).sum()))

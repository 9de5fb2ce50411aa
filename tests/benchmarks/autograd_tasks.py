"""What the engine is measured on: each task the same computation by torch, by ours and by other engines."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from toolkit.autograd import Variable, grad, optimizers
from toolkit.autograd import functions as F
from toolkit.autograd.links import Linear, Link, LSTMCell, Parameter, Sequential

Step = Callable[[], object]
TORCH, OURS, NUMPY, LINKS = "torch eager", "ours on torch", "ours on NumPy", "ours, links on torch"


@dataclass(frozen=True)
class Task:
    """One computation.

    Attributes:
        name: what is computed.
        contenders: a step by each engine; the first is the one the others are compared with.
        budgets: largest ratio to the first's time, by contender.
        operations: how many operations a step has, if the time of one is worth showing.
    """

    name: str
    contenders: dict[str, Step]
    budgets: dict[str, float] = field(default_factory=dict)
    operations: int | None = None


def _random(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32) for shape in shapes]


def _leaves(arrays: list[np.ndarray], engine: str) -> list[Any]:
    if engine == TORCH:
        return [torch.tensor(array, requires_grad=True) for array in arrays]
    return [Parameter(torch.tensor(array) if engine == OURS else array) for array in arrays]


def _clear(leaves: list[Any]) -> None:
    for leaf in leaves:
        leaf.grad = None


def _null(leaves: list[Any]) -> None:
    for leaf in leaves:
        leaf.null_grad()


# ---------------------------------------------------------------------------------------------------------------------
# A chain of small operations: what an engine costs by itself

LENGTH = 333


def _chain_step(x: Any, w: Any, b: Any, tanh: Any, backward: Any, clear: Any = _clear) -> Step:
    def step() -> None:
        y = x
        for _ in range(LENGTH):
            y = tanh(y * w + b)
        backward(y)
        clear([x, w, b])

    return step


def chain() -> Task:
    """999 products, sums and hyperbolic tangents of vectors of ten."""
    arrays = _random(0, (10,), (10,), (10,))
    seed = np.ones(10, np.float32)
    theirs = _leaves(arrays, TORCH)
    contenders: dict[str, Step] = {
        TORCH: _chain_step(*theirs, torch.tanh, lambda y: y.backward(torch.from_numpy(seed))),
        OURS: _chain_step(*_leaves(arrays, OURS), F.tanh, lambda y: y.backward(torch.from_numpy(seed))),
        NUMPY: _chain_step(*_leaves(arrays, NUMPY), F.tanh, lambda y: y.backward(seed)),
        **_chain_by_peers(arrays, seed),
    }
    return Task("chain of 999 operations", contenders, {OURS: 1.10, NUMPY: 0.55}, 3 * LENGTH)


def _chain_by_peers(arrays: list[np.ndarray], seed: np.ndarray) -> dict[str, Step]:
    import autograd
    import mygrad
    from micrograd.engine import Value

    def composed(x: Any, w: Any, b: Any) -> Any:
        for _ in range(LENGTH):
            x = autograd.numpy.tanh(x * w + b)
        return autograd.numpy.sum(x)

    hips = autograd.grad(composed, (0, 1, 2))
    tensors = [mygrad.tensor(array.copy()) for array in arrays]
    mygrads = _chain_step(*tensors, mygrad.tanh, lambda y: y.backward(seed), _null)

    def unguarded() -> None:
        with mygrad.mem_guard_off:
            mygrads()

    def scalars() -> None:
        y, w, b = Value(0.5), Value(0.9), Value(0.1)
        for _ in range(LENGTH):
            y = (y * w + b).relu()
        _backward_without_recursion(y)

    return {
        "HIPS autograd": lambda: hips(*arrays),
        "MyGrad": mygrads,
        "MyGrad, no memory guard": unguarded,
        "micrograd, scalars": scalars,
    }


def _backward_without_recursion(root: Any) -> None:
    """Do what micrograd's ``backward`` does, whose sort of the graph recurses too deeply for a thousand operations."""
    order, seen, pending = [], set(), [(root, False)]
    while pending:
        node, done = pending.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            pending.append((node, True))
            pending.extend((child, False) for child in node._prev)
    root.grad = 1
    for node in reversed(order):
        node._backward()


# ---------------------------------------------------------------------------------------------------------------------
# Networks

_functional = torch.nn.functional


def _mlp(f: Any, p: list[Any], x: Any) -> Any:
    for k in range(0, len(p) - 2, 2):
        x = f.relu(f.linear(x, p[k], p[k + 1]))
    return f.linear(x, p[-2], p[-1])


def _convnet_a(f: Any, p: list[Any], x: Any) -> Any:
    h = f.max_pool2d(f.relu(f.conv2d(x, p[0], p[1])), 2)
    h = f.max_pool2d(f.relu(f.conv2d(h, p[2], p[3])), 2)
    return _mlp(f, p[4:], h.reshape(h.shape[0], -1))


def _convnet_b(f: Any, p: list[Any], x: Any) -> Any:
    h = f.relu(f.conv2d(x, p[0], p[1], padding=1))
    h = f.max_pool2d(f.relu(f.conv2d(h, p[2], p[3], padding=1)), 2)
    h = f.max_pool2d(f.relu(f.conv2d(h, p[4], p[5], padding=1)), 2)
    return _mlp(f, p[6:], h.reshape(h.shape[0], -1))


def _dense(*widths: int) -> list[tuple[int, ...]]:
    return [shape for a, b in pairwise(widths) for shape in ((b, a), (b,))]


CONVNET_A = (_convnet_a, [(20, 1, 5, 5), (20,), (50, 20, 5, 5), (50,), *_dense(800, 500, 10)], (64, 1, 28, 28))
CONVNET_B = (
    _convnet_b,
    [(32, 3, 3, 3), (32,), (32, 32, 3, 3), (32,), (64, 32, 3, 3), (64,), *_dense(4096, 256, 10)],
    (32, 3, 32, 32),
)


def loss_of(
    engine: str, network: Any, shapes: list[tuple[int, ...]], inputs: tuple[int, ...]
) -> tuple[Callable[[], Any], list[Any]]:
    """Return a function that computes a classification loss by an engine, and the parameters it depends on."""
    parameters = _leaves(_random(0, *shapes), engine)
    (x,) = _random(1, inputs)
    labels = np.arange(inputs[0]) % shapes[-1][0]
    if engine == NUMPY:
        return lambda: F.cross_entropy(network(F, parameters, Variable(x)), labels), parameters
    images, classes = torch.tensor(x), torch.tensor(labels)
    if engine == TORCH:
        return lambda: _functional.cross_entropy(network(_functional, parameters, images), classes), parameters
    return lambda: F.cross_entropy(network(F, parameters, Variable(images)), classes), parameters


def _owned(parameters: list[Any]) -> Link:
    """Return a link that holds the parameters, for an optimizer to be set up on."""
    link = Link()
    with link.init_scope():
        for number, parameter in enumerate(parameters):
            setattr(link, f"p{number}", parameter)
    return link


def _finish(engine: str, parameters: list[Any], optimizer: str, link: Any = None) -> Step:
    """Return what ends a step: the optimizer's update, if one is named, and the gradients let go."""
    if not optimizer:
        return lambda: _clear(parameters)
    rate = {"lr": 0.01 if optimizer == "SGD" else 0.001}
    if engine == TORCH:
        theirs = getattr(torch.optim, optimizer)(parameters, **rate)

        def finish() -> None:
            theirs.step()
            theirs.zero_grad()
    else:
        link = _owned(parameters) if link is None else link
        ours = getattr(optimizers, optimizer)(**rate).setup(link)

        def finish() -> None:
            ours.update()
            link.cleargrads()

    return finish


def _training(
    name: str, network: Any, shapes: Any, inputs: Any, budgets: dict[str, float], optimizer: str, engines: Any
) -> Task:
    def steps(engine: str) -> Step:
        loss, parameters = loss_of(engine, network, shapes, inputs)
        finish = _finish(engine, parameters, optimizer)

        def step() -> None:
            loss().backward()
            finish()

        return step

    contenders = {engine: steps(engine) for engine in engines}
    return Task(name + (f" + {optimizer}" if optimizer else ""), contenders, budgets)


def _tiny(optimizer: str) -> Task:
    """Train what is all overhead, also as its users write it: layers in a container."""
    widths, inputs = (10, 32, 32, 2), (16, 10)
    budgets = {OURS: 0.85, NUMPY: 0.50, LINKS: 0.85}
    shapes = _dense(*widths)
    task = _training("MLP 10-32-32-2", _mlp, shapes, inputs, budgets, optimizer, (TORCH, OURS, NUMPY))
    arrays = _random(0, *shapes)
    (host,) = _random(1, inputs)
    images, classes = torch.tensor(host), torch.tensor(np.arange(inputs[0]) % widths[-1])
    layers = zip(arrays[::2], arrays[1::2], strict=True)
    linears = [Linear(*w.shape[::-1], initialW=torch.tensor(w), initial_bias=torch.tensor(b)) for w, b in layers]
    chain = Sequential(linears[0], F.relu, linears[1], F.relu, linears[2])
    finish = _finish(LINKS, list(chain.params()), optimizer, chain)

    def step() -> None:
        F.cross_entropy(chain(images), classes).backward()
        finish()

    task.contenders[LINKS] = step
    return task


def _lstm() -> Task:
    """Classify sequences of 50 steps by the last state of a memory of 128 cells."""
    steps, batch, inputs, units, classes = 50, 32, 64, 128, 10
    shapes: list[tuple[int, ...]] = [
        (4 * units, inputs),
        (4 * units,),
        (4 * units, units),
        (classes, units),
        (classes,),
    ]
    arrays = _random(0, *shapes)
    (host,) = _random(1, (steps, batch, inputs))
    labels = np.arange(batch) % classes
    zeros = np.zeros((batch, units), np.float32)

    def cell_by_cell(p: list[Any], x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        gates = _functional.linear(x, p[0], p[1]) + _functional.linear(h, p[2])
        i, f, n, o = gates.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(n)
        return torch.sigmoid(o) * torch.tanh(c), c

    def fused(p: list[Any], x: Any, h: Any, c: Any) -> tuple[Any, Any]:
        c, h = F.lstm(c, F.linear(x, p[0], p[1]) + F.linear(h, p[2]))
        return h, c

    def task_of(engine: str, cell: Any) -> Step:
        f, lift = (_functional, torch.tensor) if engine == TORCH else (F, _lift(engine))
        p = _leaves(arrays, engine)
        sequence, start, targets = [lift(x) for x in host], lift(zeros), lift(labels)

        def step() -> None:
            h = c = start
            for x in sequence:
                h, c = cell(p, x, h, c)
            f.cross_entropy(f.linear(h, p[3], p[4]), targets).backward()
            _clear(p)

        return step

    def linked() -> Step:
        cell, top = LSTMCell(inputs, units), Linear(units, classes)
        sequence, targets = [Variable(torch.tensor(x)) for x in host], torch.tensor(labels)

        def step() -> None:
            state = None
            for x in sequence:
                state = cell(x, state)
            F.cross_entropy(top(state[0]), targets).backward()
            cell.cleargrads()
            top.cleargrads()

        return step

    def module() -> Step:
        cell, top = torch.nn.LSTMCell(inputs, units), torch.nn.Linear(units, classes)
        parameters = [*cell.parameters(), *top.parameters()]
        sequence, targets = list(torch.tensor(host)), torch.tensor(labels)

        def step() -> None:
            state = (torch.tensor(zeros), torch.tensor(zeros))
            for x in sequence:
                state = cell(x, state)
            _functional.cross_entropy(top(state[0]), targets).backward()
            _clear(parameters)

        return step

    contenders = {
        TORCH: task_of(TORCH, cell_by_cell),
        OURS: task_of(OURS, fused),
        LINKS: linked(),
        "torch.nn.LSTMCell": module(),
    }
    return Task(f"LSTM, {steps} steps", contenders, {OURS: 1.10, LINKS: 1.10})


def _lift(engine: str) -> Callable[[np.ndarray], Variable]:
    return lambda array: Variable(torch.tensor(array) if engine == OURS else array.copy())


def _penalty(name: str, widths: tuple[int, ...], batch: int) -> Task:
    """Train on the square of the distance of the input gradient's norm from 1: a gradient of a gradient."""
    arrays = _random(0, *_dense(*widths))
    (host,) = _random(1, (batch, widths[0]))

    def theirs() -> Step:
        parameters = _leaves(arrays, TORCH)
        x = torch.tensor(host, requires_grad=True)

        def step() -> None:
            h = x
            for k in range(0, len(parameters) - 2, 2):
                h = torch.tanh(_functional.linear(h, parameters[k], parameters[k + 1]))
            score = _functional.linear(h, parameters[-2], parameters[-1]).sum()
            (slope,) = torch.autograd.grad(score, x, create_graph=True)
            (((slope * slope).sum(1) ** 0.5 - 1.0) ** 2).mean().backward()
            _clear([*parameters, x])

        return step

    def ours() -> Step:
        parameters = _leaves(arrays, OURS)
        x = Variable(torch.tensor(host), requires_grad=True)

        def step() -> None:
            h: Any = x
            for k in range(0, len(parameters) - 2, 2):
                h = F.tanh(F.linear(h, parameters[k], parameters[k + 1]))
            score = F.sum(F.linear(h, parameters[-2], parameters[-1]))
            slope = grad(score, x, create_graph=True)
            F.mean((F.sum(slope * slope, 1) ** 0.5 - 1.0) ** 2).backward()
            _clear([*parameters, x])

        return step

    return Task(f"gradient penalty {name}", {TORCH: theirs(), OURS: ours()}, {OURS: 1.25})


def tasks() -> list[Callable[[], Task]]:
    """Return the tasks, each to be built when its turn comes."""
    mlp = (_mlp, _dense(784, 1000, 1000, 10), (100, 784))
    pair, three = (TORCH, OURS), (TORCH, OURS, NUMPY)
    mlps, nets = {OURS: 1.05}, {OURS: 1.10}
    return [
        chain,
        lambda: _tiny(""),
        lambda: _tiny("SGD"),
        lambda: _tiny("Adam"),
        lambda: _training("MLP 784-1000-1000-10", *mlp, mlps, "", three),
        lambda: _training("MLP 784-1000-1000-10", *mlp, mlps, "Adam", pair),
        lambda: _training("convnet A, 28 x 28", *CONVNET_A, nets, "", three),
        lambda: _training("convnet A, 28 x 28", *CONVNET_A, nets, "SGD", pair),
        lambda: _training("convnet A, 28 x 28", *CONVNET_A, nets, "Adam", pair),
        lambda: _training("convnet B, 32 x 32", *CONVNET_B, nets, "", pair),
        lambda: _training("convnet B, 32 x 32", *CONVNET_B, nets, "SGD", pair),
        _lstm,
        lambda: _penalty("784-500-500-10", (784, 500, 500, 10), 100),
        lambda: _penalty("10-32-32-3", (10, 32, 32, 3), 16),
    ]

"""What a graph keeps alive, byte by byte, and that nothing is left when it goes."""

import gc
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from toolkit.autograd import Variable, checkpoint, grad, graph, hessian, hooks, hvp, no_grad, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.graph import saved_bytes


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Everything that is there already, out of the collector's sight: it then takes no time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def collector_off(frozen: None) -> Iterator[None]:
    """No collections while a test runs: what dies, dies by its reference count."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left_for_the_collector(run: Callable[[], Any]) -> int:
    """Return how many objects only the collector can free after ``run``; the first run's imports do not count."""
    run()
    gc.collect()
    run()
    return gc.collect()


def network(x: Variable) -> Variable:
    """Return a number computed with operations of all families."""
    h = F.tanh(F.linear(x, x[:3], x[:3, 0]))
    h = F.concat([h, F.relu(h) * 2.0], axis=1).reshape(-1, 3) - F.softmax(h.reshape(-1, 3))[:1]
    h = F.layer_normalization(h) + F.cumsum(F.exp(h * 0.1), 0)
    image = F.max_pool2d(F.conv2d(h.reshape(1, 1, -1, 3), h[:2, :2].reshape(1, 1, 2, 2)), (2, 1))
    return F.sum(F.einsum("abcd->c", image) ** 2) + F.logsumexp(h) * F.max(h)


class Interruption(Exception):
    """Raised in the middle of a pass."""


class Interrupter(hooks.Hook):
    """Raises at the third backward rule."""

    def __init__(self) -> None:
        self.count = 0

    def before_backward(self, node: Any, gradient: Any) -> None:
        self.count += 1
        if self.count == 3:
            raise Interruption


def start(library: Any) -> Variable:
    return library.leaf(np.linspace(-1, 1, 18).reshape(6, 3))


def first_order(library: Any) -> None:
    x = start(library)
    network(x).backward()
    grad(network(x), x)


def no_pass_at_all(library: Any) -> None:
    network(start(library))


def higher_orders(library: Any) -> None:
    x = start(library)
    first = grad(network(x), x, create_graph=True)
    second = grad(F.sum(first * first), x, create_graph=True)
    grad(F.sum(second * second), x)
    hvp(network, [x], [library.constant(np.ones((6, 3)))])
    hessian(lambda v: F.sum(F.tanh(v) ** 3), library.constant([0.1, 0.2]))


def watched_and_drawn(library: Any) -> None:
    timer, memory, recorder = hooks.TimerHook(), hooks.MemoryHook(), hooks.Recorder()
    with using_config(debug=True), timer, memory, hooks.NaNGuard(), hooks.ActivationStatistics(), recorder:
        y = network(start(library))
        drawing = graph(y)
        y.backward()
    assert drawing.svg() and drawing.dot() and recorder.steps and memory.events and timer.totals


def recomputed(library: Any) -> None:
    x = start(library)
    checkpoint(network, x).backward()
    y = checkpoint(lambda v: checkpoint(network, v * 2.0), x)
    grad(grad(y, x, create_graph=True)[0, 0], x)


def interrupted(library: Any) -> None:
    x = start(library)
    for options in ({}, {"retain_graph": True}):
        y = network(x)
        with pytest.raises(Interruption), Interrupter():
            y.backward(**options)
    with pytest.raises(ValueError, match="matmul"):
        F.tanh(x) @ x
    network(x).backward()


def cut_off(library: Any) -> None:
    y = network(start(library))
    y.unchain_backward()


@pytest.mark.parametrize(
    "run", [first_order, no_pass_at_all, higher_orders, watched_and_drawn, recomputed, interrupted, cut_off]
)
def test_nothing_is_left_for_the_collector(run, library, collector_off):
    assert left_for_the_collector(lambda: run(library)) == 0


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_intermediate_arrays_die_with_their_last_reader(make, collector_off):
    def alive(array: Any) -> Any:
        return weakref.ref(array)

    x = Variable(make(1000), requires_grad=True)
    a = x + 1.0  # nobody keeps a sum's operands or result
    b = a * 2.0  # a product with a number keeps nothing of the array
    c = F.tanh(b)  # keeps its result
    d = c * c  # keeps its operand, which is the same array
    e = F.sum(d)  # keeps nothing
    watched = {name: alive(value.data) for name, value in {"a": a, "b": b, "c": c, "d": d}.items()}
    del a, b, c, d
    assert {name for name, reference in watched.items() if reference() is not None} == {"c"}
    e.backward()
    assert watched["c"]() is None
    assert e.data.shape == x.data.sum().shape


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_the_graph_does_not_keep_leaves_alive(make, collector_off):
    x = Variable(make(1000), requires_grad=True)
    y = F.sum(x + 1.0)
    reference, variable = weakref.ref(x.data), weakref.ref(x)
    del x
    assert reference() is None and variable() is None
    y.backward()  # the gradient has nowhere to go


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_memory_falls_while_the_pass_goes_back(make, collector_off):
    x = Variable(make(1000), requires_grad=True)
    layers = [x]
    for _ in range(6):
        layers.append(F.tanh(layers[-1]))
    references = [weakref.ref(layer.data) for layer in layers[1:]]
    y = F.sum(layers[-1])
    del layers
    counts = []

    class Count(hooks.Hook):
        def after_backward(self, node: Any, gradients: tuple, pending: tuple) -> None:
            counts.append(sum(reference() is not None for reference in references))

    with Count():
        y.backward()
    # The sum first, then the last tanh: what a rule has used is let go before the next begins.
    assert counts == [6, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_a_result_that_is_held_keeps_nothing_once_it_was_gone_back_from(make, collector_off):
    x = Variable(make(1000), requires_grad=True)
    h = x + 1.0
    y = h * h
    reference = weakref.ref(h.data)
    del h
    y.backward(make(1000), retain_graph=True)
    assert reference() is not None
    y.backward(make(1000))
    assert reference() is None and graph(y).saved_bytes == 0


def test_without_recording_nothing_is_kept(collector_off):
    x = Variable(np.ones(1000), requires_grad=True)
    with no_grad():
        y = F.tanh(x)
        z = F.exp(y)
    reference = weakref.ref(y.data)
    del y
    assert reference() is None and z.node is None


FLOAT = 8
KEPT = {
    "add": (lambda x, w: x + w, 0),
    "subtract": (lambda x, w: x - w, 0),
    "negative": (lambda x, w: -x, 0),
    "scale": (lambda x, w: x * 3.0, 0),
    "multiply": (lambda x, w: x * w, 2 * 12 * FLOAT),
    "multiply by itself": (lambda x, w: x * x, 12 * FLOAT),
    "multiply by a constant": (lambda x, w: x * w.detach(), 12 * FLOAT),
    "square": (lambda x, w: x**2, 12 * FLOAT),
    "tanh": (lambda x, w: F.tanh(x), 12 * FLOAT),
    "relu": (lambda x, w: F.relu(x), 12 * FLOAT),
    "tanh then relu": (lambda x, w: F.relu(F.tanh(x)), 24 * FLOAT),
    "exp then exp": (lambda x, w: F.exp(F.exp(x)), 24 * FLOAT),
    "sigmoid then its square": (lambda x, w: F.sigmoid(x) * F.sigmoid(x), 24 * FLOAT),
    "shapes": (lambda x, w: F.sum(x.reshape(2, 6).T[1:3], axis=0), 0),
    "sum": (lambda x, w: F.sum(x) + F.mean(x), 0),
    "concat": (lambda x, w: F.concat([x, w]), 0),
    "broadcast": (lambda x, w: x + w[0], 0),
    "matmul": (lambda x, w: x @ w.T, 2 * 12 * FLOAT),
    "matmul, input constant": (lambda x, w: x.detach() @ w.T, 12 * FLOAT),
    "linear": (lambda x, w: F.linear(x, w), 2 * 12 * FLOAT),
    "linear, weight constant": (lambda x, w: F.linear(x, w.detach()), 12 * FLOAT),
    "max": (lambda x, w: F.max(x, axis=0), (12 + 4) * FLOAT),
    "where": (lambda x, w: F.where(x > 0, x, w), 12),
    "clip": (lambda x, w: F.clip(x, -1.0, 1.0), 12 * FLOAT),
    "softmax": (lambda x, w: F.softmax(x), 12 * FLOAT),
    "log_softmax": (lambda x, w: F.log_softmax(x), 12 * FLOAT),
}


@pytest.mark.parametrize("case", KEPT)
def test_saved_bytes_are_those_of_the_rules(case, library):
    """Twelve elements of eight bytes, counted operation by operation by hand."""
    function, expected = KEPT[case]
    rng = np.random.default_rng(0)
    x, w = library.leaf(rng.normal(size=(3, 4))), library.leaf(rng.normal(size=(3, 4)))
    with hooks.MemoryHook() as memory:
        y = function(x, w)
    assert graph(y).saved_bytes == saved_bytes([y.node]) == memory.saved_bytes == expected
    y.unchain_backward()


def test_the_memory_hook_counts_every_pass_anew(library):
    x = library.leaf(np.ones(100))
    with hooks.MemoryHook() as memory:
        for _ in range(5):  # soon at the addresses of the pass before
            F.sum(F.tanh(x)).backward()
    assert memory.saved_bytes == 5 * 800
    assert [event.operation for event in memory.events] == ["tanh", "sum"] * 5
    assert [event.output_bytes for event in memory.events] == [800, 8] * 5


def allocations(step: Any) -> tuple[int, int]:
    """Return peak and remaining bytes that torch's allocator gave out while ``step`` ran, by its own events."""
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        step()
    total = peak = 0
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    assert events
    return peak, total


DEPTH, WIDTH, BATCH = 20, 32, 512


def torch_network(parameters: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for k in range(0, len(parameters), 2):
        x = torch.tanh(torch.nn.functional.linear(x, parameters[k], parameters[k + 1]))
    return (x * x).sum()


def our_network(parameters: list[Variable], x: Variable) -> Variable:
    for k in range(0, len(parameters), 2):
        x = F.tanh(F.linear(x, parameters[k], parameters[k + 1]))
    return F.sum(x * x)


def deep_network(seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=shape) * 0.2 for _ in range(DEPTH) for shape in ((WIDTH, WIDTH), (WIDTH,))]
    return weights, rng.normal(size=(BATCH, WIDTH))


def test_a_network_of_twenty_layers_saves_what_torch_saves():
    weights, inputs = deep_network()
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    tensors = [torch.tensor(weight, requires_grad=True) for weight in weights]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = torch_network(tensors, torch.tensor(inputs))
    ours = our_network([Variable(torch.tensor(w), requires_grad=True) for w in weights], Variable(torch.tensor(inputs)))
    assert graph(ours).saved_bytes <= sum(storages.values())
    assert graph(ours).saved_bytes == (DEPTH + 1) * BATCH * WIDTH * 8 + (DEPTH - 1) * WIDTH * WIDTH * 8
    np.testing.assert_allclose(ours.item(), loss.item(), rtol=1e-12)


def test_the_peak_of_a_network_of_twenty_layers_is_torchs():
    weights, inputs = deep_network()

    def theirs() -> None:
        tensors = [torch.tensor(weight, requires_grad=True) for weight in weights]
        torch_network(tensors, torch.tensor(inputs)).backward()

    def ours() -> None:
        variables = [Variable(torch.tensor(weight), requires_grad=True) for weight in weights]
        our_network(variables, Variable(torch.tensor(inputs))).backward()

    their_peak, their_rest = allocations(theirs)
    our_peak, our_rest = allocations(ours)
    assert their_rest == our_rest == 0
    assert their_peak > DEPTH * BATCH * WIDTH * 8
    assert our_peak <= 1.1 * their_peak


def test_the_peak_of_a_network_of_numpy_arrays_is_its_activations():
    weights, inputs = deep_network()
    variables = [Variable(weight, requires_grad=True) for weight in weights]
    x = Variable(inputs)
    our_network(variables, x).backward()
    for variable in variables:
        variable.cleargrad()
    tracemalloc.start()
    try:
        our_network(variables, x).backward()
        rest, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    activation, parameters = BATCH * WIDTH * 8, sum(weight.nbytes for weight in weights)
    assert parameters <= rest <= parameters + 100_000  # the gradients
    # Twenty kept activations, and at the turn the gradients and products of one layer.
    assert DEPTH * activation <= peak <= (DEPTH + 4) * activation + parameters


def test_a_checkpoint_trades_saved_bytes_for_a_second_run():
    weights, inputs = deep_network()
    variables = [Variable(torch.tensor(weight), requires_grad=True) for weight in weights]

    def halves(x: Variable) -> Variable:
        half = len(variables) // 2
        for part in (variables[:half], variables[half:]):
            x = checkpoint(lambda v, part=part: F.tanh(layers(part, v)), x)
        return F.sum(x * x)

    def layers(part: list[Variable], x: Variable) -> Variable:
        for k in range(0, len(part), 2):
            x = F.linear(F.tanh(x), part[k], part[k + 1])
        return x

    plain, thrifty = our_network(variables, Variable(torch.tensor(inputs))), halves(Variable(torch.tensor(inputs)))
    assert graph(thrifty).saved_bytes <= 3 * BATCH * WIDTH * 8 < graph(plain).saved_bytes / 4

    def whole() -> None:
        F.sum(our_network(variables, Variable(torch.tensor(inputs)))).backward()

    def parts() -> None:
        halves(Variable(torch.tensor(inputs))).backward()

    assert allocations(parts)[0] < 0.75 * allocations(whole)[0]


def test_unchaining_bounds_the_memory_of_a_recurrence():
    weight = Variable(np.eye(50) * 0.9, requires_grad=True)
    state = Variable(np.ones((20, 50)))
    kept = []
    for step in range(12):
        state = F.tanh(state @ weight)
        kept.append(graph(state).saved_bytes)
        if step % 3 == 2:
            F.sum(state).backward(retain_graph=True)
            state.unchain_backward()
    assert max(kept) <= 4 * 20 * 50 * 8 + weight.data.nbytes and kept[2] == kept[5] == kept[8]


def test_repeated_passes_do_not_grow(collector_off):
    x = Variable(np.ones(1000), requires_grad=True)

    def step() -> None:
        first = grad(F.sum(F.tanh(x * x) ** 2), x, create_graph=True)
        F.sum(first * first).backward()

    step()
    tracemalloc.start()
    try:
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            step()
        assert tracemalloc.get_traced_memory()[0] - before < 3 * x.data.nbytes
    finally:
        tracemalloc.stop()

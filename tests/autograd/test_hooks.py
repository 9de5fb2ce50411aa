"""What looks on while operations run."""

import time
from typing import Any

import numpy as np
import pytest

from toolkit.autograd import Variable, config, grad, graph, hooks, using_config
from toolkit.autograd import functions as F


class Diary(hooks.Hook):
    """Writes down every call."""

    def __init__(self, name: str = "", log: list | None = None) -> None:
        self.name, self.log = name, [] if log is None else log

    def before_forward(self, operation: Any, inputs: tuple) -> None:
        self.log.append((self.name, "before", operation.name, len(inputs)))

    def after_forward(self, operation: Any, inputs: tuple, output: Any) -> None:
        assert isinstance(output, Variable)
        self.log.append((self.name, "after", operation.name, output.shape))

    def before_backward(self, node: Any, gradient: Any) -> None:
        self.log.append((self.name, "back", node.operation.name, tuple(gradient.shape)))

    def after_backward(self, node: Any, gradients: tuple, pending: tuple) -> None:
        self.log.append((self.name, "done", node.operation.name, len(gradients), len(pending)))


def test_every_operation_is_seen_forward_and_backward(library):
    x, w = library.leaf(np.ones((2, 3))), library.leaf(np.ones((2, 3)))
    with Diary() as diary:
        F.sum(F.tanh(x) * w + 1.0).backward()
    names = [entry[1:3] for entry in diary.log]
    forward = [(when, name) for name in ("tanh", "multiply", "add", "sum") for when in ("before", "after")]
    backward = [(when, name) for name in ("sum", "add", "multiply", "tanh") for when in ("back", "done")]
    assert names == forward + backward
    assert diary.log[-2:] == [("", "back", "tanh", (2, 3)), ("", "done", "tanh", 1, 1)]  # w still waits


def test_hooks_change_no_number(library):
    gradients = []
    for watchers in ([], [Diary(), hooks.TimerHook(), hooks.MemoryHook(), hooks.NaNGuard(), hooks.Recorder()]):
        x = library.leaf(np.linspace(-1, 1, 6).reshape(2, 3))
        for watcher in watchers:
            watcher.__enter__()
        F.sum(F.softmax(x @ x.T, axis=0) * F.relu(x[0, 0] + 1.0)).backward()
        for watcher in reversed(watchers):
            watcher.__exit__(None, None, None)
        gradients.append(library.host(x.grad))
    np.testing.assert_array_equal(*gradients)


def test_hooks_nest_and_leave_in_any_order():
    x = Variable(np.ones(2), requires_grad=True)
    log: list = []
    first, second = Diary("first", log), Diary("second", log)
    with first, second:
        F.exp(x)
    assert [entry[0] for entry in log] == ["first", "second", "second", "first"]
    first.__enter__()
    second.__enter__()
    first.__exit__()
    log.clear()
    F.exp(x)
    assert [entry[0] for entry in log] == ["second", "second"]
    second.__exit__()
    second.__exit__()  # once too often does no harm
    assert config.hooks == ()


def test_a_hook_leaves_when_its_block_raises():
    with pytest.raises(KeyError), Diary():
        raise KeyError
    assert config.hooks == ()


def test_the_timer_adds_up_by_operation():
    x = Variable(np.ones(10), requires_grad=True)
    calls = []
    with hooks.TimerHook(synchronize=lambda: calls.append(time.perf_counter())) as timer:
        for _ in range(3):
            F.sum(F.exp(x) * F.exp(x)).backward()
    totals = {name: total.calls for name, total in timer.totals.items()}
    assert totals == {"exp": 6, "multiply": 3, "sum": 3}
    assert all(total.forward_seconds > 0 and total.backward_seconds > 0 for total in timer.totals.values())
    assert len(calls) == 2 * 2 * sum(totals.values())
    assert sum(t.forward_seconds + t.backward_seconds for t in timer.totals.values()) <= calls[-1] - calls[0]


def test_the_timer_survives_an_operation_that_fails():
    x = Variable(np.ones((2, 3)), requires_grad=True)
    with hooks.TimerHook() as timer:
        with pytest.raises(ValueError):
            F.einsum("ij,jk", x, x)
        with pytest.raises(TypeError):
            x + Variable(np.ones((2, 3), np.float32))
        F.sum(x).backward()
    assert timer.totals["sum"].calls == 1 and timer.totals["sum"].forward_seconds < 1.0


def test_memory_events_stand_in_order():
    x = Variable(np.ones((10, 10)), requires_grad=True)
    with hooks.MemoryHook() as memory:
        y = F.sum(F.exp(x * 2.0) * x)
    events = [(event.operation, event.output_bytes, event.saved_bytes) for event in memory.events]
    assert events == [("multiply", 800, 0), ("exp", 800, 800), ("multiply", 800, 800), ("sum", 8, 0)]
    assert memory.saved_bytes == graph(y).saved_bytes == 1600


@pytest.mark.parametrize("guard", [hooks.NaNGuard, lambda: using_config(debug=True)])
def test_the_first_nan_is_named_forward(guard, library):
    x = library.leaf([1.0, -1.0])
    with guard(), np.errstate(invalid="ignore"), pytest.raises(FloatingPointError) as caught:
        F.exp(F.log(x) * 2.0)
    assert "forward: the result of log holds NaN" in str(caught.value) and "1 of 2 elements" in str(caught.value)


@pytest.mark.parametrize("guard", [hooks.NaNGuard, lambda: using_config(debug=True)])
def test_the_first_nan_is_named_backward(guard, library):
    x = library.leaf([0.0, 1.0])
    with guard(), np.errstate(all="ignore"):
        y = F.sum(F.sqrt(x) * 0.0)
        with pytest.raises(FloatingPointError, match="backward: the gradient of sqrt by input 0 holds NaN"):
            y.backward()


def test_infinities_stop_a_guard_that_is_asked_to():
    x = Variable(np.asarray([0.0, 1.0]), requires_grad=True)
    with np.errstate(divide="ignore"):
        with hooks.NaNGuard():
            F.log(x)
        with hooks.NaNGuard(infinities=True), pytest.raises(FloatingPointError, match="log holds NaN or infinity"):
            F.log(x)


def test_debug_mode_names_the_line_that_made_the_operand():
    x = Variable(np.asarray([-1.0]), requires_grad=True)
    with using_config(debug=True), np.errstate(invalid="ignore"), pytest.raises(FloatingPointError) as caught:
        F.sqrt(x)  # this line
    line = test_debug_mode_names_the_line_that_made_the_operand.__code__.co_firstlineno + 3
    assert f"made at:  {__file__}:{line} in test_debug_mode_names" in str(caught.value)


def test_statistics_of_activations(library):
    x = library.constant([[-1.0, 0.0], [1.0, 3.0]])
    with hooks.ActivationStatistics() as statistics:
        F.relu(x)
        F.relu(x * 2.0)
        F.sum(x[:0])
    relu = statistics.by_name["relu"]
    assert (relu.calls, relu.mean, relu.minimum, relu.maximum, relu.zero_fraction) == (2, 2.0, 0.0, 6.0, 0.5)
    assert relu.standard_deviation == pytest.approx(np.std([0.0, 0.0, 2.0, 6.0]))


def test_a_recording_holds_every_step_in_copies():
    x = Variable(np.asarray([1.0, 2.0]), requires_grad=True, name="x")
    y = F.sum(F.exp(x) * x)
    drawing = graph(y)
    with hooks.Recorder() as recorder:
        y.backward()
    steps = recorder.steps
    assert [step.operation for step in steps] == ["sum", "multiply", "exp"]
    orders = [node.order for node in drawing.nodes]  # x, exp, multiply, sum
    assert [step.order for step in steps] == orders[:0:-1]
    assert [sorted(step.gradients) for step in steps] == [[orders[2]], sorted(orders[:2]), [orders[0]]]
    np.testing.assert_allclose(steps[1].gradients[orders[0]], np.exp([1.0, 2.0]))
    np.testing.assert_allclose(steps[1].gradients[orders[1]], [1.0, 2.0])
    assert [step.pending for step in steps] == [(orders[2],), (orders[1], orders[0]), (orders[0],)]
    # x and exp(x) are kept by the product, exp(x) by exp itself.
    assert [step.alive_bytes for step in steps] == [32, 16, 0]
    x.data[:] = 0.0
    np.testing.assert_allclose(steps[2].gradient, [1.0, 2.0])


def test_hooks_see_the_operations_of_a_gradient_that_is_recorded():
    x = Variable(np.asarray([1.0, 2.0]), requires_grad=True)
    y = F.sum(x * x * x)
    with Diary() as diary:
        grad(y, x, create_graph=True)
    assert {entry[1] for entry in diary.log} >= {"before", "after"}


def test_hooks_belong_to_their_thread():
    import threading

    x = Variable(np.ones(2), requires_grad=True)
    with Diary() as diary:
        thread = threading.Thread(target=lambda: F.exp(x))
        thread.start()
        thread.join()
    assert diary.log == []

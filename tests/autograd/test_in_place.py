"""Writing into an array that backward still needs is noticed, and writing into any other is not."""

import re
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, checkpoint, grad, using_config
from toolkit.autograd import functions as F

CHANGED = "an array it saved for the backward pass was changed in place"


def write_element(array: Any) -> None:
    array[0] = 5.0


def write_all(array: Any) -> None:
    array *= 2.0


def write_through_a_view(array: Any) -> None:
    array[1:][::2] += 1.0


def write_through_another_shape(array: Any) -> None:
    array.reshape(3, 1)[2, 0] = 7.0


WRITES = [write_element, write_all, write_through_a_view, write_through_another_shape]

# What is saved, and the Variable whose data is then written: the input's or the result's.
SAVING = {
    "multiply": (lambda x: x * x, "input"),
    "divide": (lambda x: 1.0 / x, "input"),
    "power": (lambda x: x**3, "input"),
    "log": (F.log, "input"),
    "sin": (F.sin, "input"),
    "softplus": (F.softplus, "input"),
    "exp": (F.exp, "result"),
    "tanh": (F.tanh, "result"),
    "relu": (F.relu, "result"),
    "sqrt": (F.sqrt, "result"),
    "maximum": (lambda x: F.maximum(x, 1.5), "input"),
    "max": (lambda x: F.max(x, axis=0, keepdims=True), "input"),
    "prod": (lambda x: F.prod(x), "input"),
    "logsumexp": (lambda x: F.logsumexp(x), "input"),
    "clip": (lambda x: F.clip(x, 0.0, 2.5), "input"),
    "softmax": (F.softmax, "result"),
    "matmul": (lambda x: x.reshape(1, 3) @ x.reshape(3, 1), "input"),
    "linear": (lambda x: F.linear(x.reshape(1, 3), x.reshape(1, 3)), "input"),
    "einsum": (lambda x: F.einsum("i,i->", x, x), "input"),
    "checkpoint": (lambda x: checkpoint(F.exp, x), "input"),
}


def run(case: str, array: Any, write: Any, again: bool = False) -> None:
    function, where = SAVING[case]
    x = Variable(array, requires_grad=True)
    y = function(x)
    write((x if where == "input" else y).data)
    if again:
        grad(F.sum(y), x, create_graph=True)
    else:
        F.sum(y).backward()


@pytest.mark.parametrize("case", SAVING)
def test_torch_always_notices(case):
    for write in WRITES:
        for again in (False, True):
            with pytest.raises(RuntimeError, match=CHANGED):
                run(case, torch.tensor([1.0, 2.0, 3.0]), write, again)


@pytest.mark.parametrize("case", SAVING)
def test_numpy_notices_in_debug_mode(case):
    for write in WRITES:
        for again in (False, True):
            with using_config(debug=True), pytest.raises(RuntimeError, match=CHANGED) as caught:
                run(case, np.asarray([1.0, 2.0, 3.0]), write, again)
            assert re.search(r"made at:  .*test_in_place\.py:\d+ in ", str(caught.value))


def test_the_standards_arrays_notice_in_debug_mode():
    with using_config(debug=True), pytest.raises(RuntimeError, match=CHANGED):
        run("tanh", strict.asarray([1.0, 2.0, 3.0]), write_element)


@pytest.mark.parametrize("again", [False, True])
def test_numpy_notices_when_only_the_forward_pass_ran_in_debug_mode(again):
    x = Variable(np.asarray([1.0, 2.0]), requires_grad=True)
    with using_config(debug=True):
        y = F.sum(F.exp(x) * x)
    x.data[1] = 0.0
    with pytest.raises(RuntimeError, match=f"multiply: {CHANGED}"):
        grad(y, x, create_graph=True) if again else y.backward()
    with using_config(debug=True):
        y = F.sum(F.exp(x) * x)
    grad(y, x, create_graph=True) if again else y.backward()


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_what_is_not_saved_may_be_written(make):
    with using_config(debug=True):
        x = Variable(make([1.0, 2.0, 3.0]), requires_grad=True)
        total = x + 1.0
        scaled = total * 0.5
        y = F.tanh(scaled)
        for value in (x, total, scaled):
            write_all(value.data)
        F.sum(y).backward()
    expected = 0.5 / np.cosh(0.5 * np.asarray([2.0, 3.0, 4.0])) ** 2
    np.testing.assert_allclose(np.asarray(x.grad), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_what_no_wanted_gradient_needs_may_be_written(make):
    """x is saved for the gradient of w alone, and w for that of x."""
    with using_config(debug=True):
        x, w = Variable(make([1.0, 2.0])), Variable(make([3.0, 4.0]), requires_grad=True)
        y = F.sum(x * w)
        write_all(w.data)
        y.backward()
    assert w.grad.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_writing_after_the_pass_is_free(make):
    with using_config(debug=True):
        x = Variable(make([1.0, 2.0]), requires_grad=True)
        for _ in range(3):
            F.sum(F.exp(x) * x).backward()
            x.data -= 0.1 * x.grad
            x.cleargrad()


def test_a_write_between_two_passes_is_noticed_by_the_second():
    x = Variable(torch.tensor([1.0, 2.0]), requires_grad=True)
    y = F.sum(x * x)
    y.backward(retain_graph=True)
    with torch.no_grad():
        x.data.add_(1.0)
    with pytest.raises(RuntimeError, match=f"multiply: {CHANGED}"):
        y.backward()


def optimizers() -> dict[str, Any]:
    return {
        "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
        "SGD, one by one": lambda p: torch.optim.SGD(p, lr=0.1, foreach=False),
        "SGD, momentum, all at once": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, foreach=True),
        "Adam": lambda p: torch.optim.Adam(p),
        "Adam, all at once": lambda p: torch.optim.Adam(p, foreach=True),
        "AdamW, fused": lambda p: torch.optim.AdamW(p, fused=True),
        "RMSprop": lambda p: torch.optim.RMSprop(p),
    }


@pytest.mark.parametrize("name", optimizers())
def test_an_optimizers_step_is_noticed(name):
    """The usual mistake: a step between the forward pass and the second of two backward passes."""
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    first, second = (Variable(torch.randn(3, 3, generator=torch.Generator().manual_seed(k)), True) for k in (1, 2))
    optimizer = optimizers()[name]([first.data, second.data])
    with using_config(debug="fused" in name):  # torch does not count the writes of its fused optimizers
        y = F.linear(F.tanh(F.linear(Variable(x), first)), second)
    F.sum(y).backward(retain_graph=True)
    first.data.grad, second.data.grad = first.grad, second.grad
    optimizer.step()
    with using_config(debug="fused" in name), pytest.raises(RuntimeError, match=f"linear: {CHANGED}"):
        F.sum(y).backward()
    # The next forward pass starts from the new values.
    F.sum(F.linear(F.tanh(F.linear(Variable(x), first)), second)).backward()


def test_writes_through_memory_shared_with_numpy_are_seen_in_debug_mode():
    host = np.asarray([1.0, 2.0])
    with using_config(debug=True):
        x = Variable(torch.from_numpy(host), requires_grad=True)
        y = F.sum(x * x)
        host[0] = 9.0  # torch does not count this one
        with pytest.raises(RuntimeError, match=CHANGED):
            grad(y, x, create_graph=True)
        with pytest.raises(RuntimeError, match=CHANGED):
            y.backward()


def test_equal_values_written_again_count_for_torch_only():
    """A counter counts writes, a checksum compares contents."""
    for make, noticed in ((torch.tensor, True), (np.asarray, False)):
        x = Variable(make([1.0, 2.0]), requires_grad=True)
        with using_config(debug=True):
            y = F.sum(x * x)
            x.data[0] = 1.0
            if noticed:
                with pytest.raises(RuntimeError, match=CHANGED):
                    y.backward()
            else:
                y.backward()

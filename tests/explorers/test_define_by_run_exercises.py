"""The exercises of lesson 01: right answers pass, likely slips are named, nothing raises."""

import numpy as np
import pytest

from toolkit.autograd import Variable, grad, graph
from toolkit.autograd import functions as F
from toolkit.explorers.exercises import define_by_run as exercises


def test_kept_bytes():
    x = Variable(np.ones(64), requires_grad=True)
    assert exercises.kept_bytes(graph(F.exp(x) * x + x).saved_bytes).right is True
    assert exercises.kept_bytes(1024).right is True
    for slip, words in (
        (0, "requires_grad"),
        (512, "second one"),
        (1536, "one piece of memory"),
        (2048, "add keeps"),
        (128, "8 bytes"),
    ):
        verdict = exercises.kept_bytes(slip)
        assert verdict.right is False and words in verdict.sentence
    assert exercises.kept_bytes("many").right is False
    assert exercises.kept_bytes(...).right is None


def solution(f, x):
    x = Variable(x, requires_grad=True)
    slope = grad(F.sum(f(x)), x, create_graph=True)
    return grad(F.sum(slope), x)


def once(f, x):
    x = Variable(x, requires_grad=True)
    return grad(F.sum(f(x)), x)


def unrecorded(f, x):
    x = Variable(x, requires_grad=True)
    return grad(F.sum(grad(F.sum(f(x)), x)), x)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (solution, True),
        (lambda f, x: solution(f, x).numpy(), True),
        (once, False),
        (unrecorded, False),
        (lambda f, x: None, None),
        (3, False),
        (None, None),
        (lambda f: f, False),
    ],
)
def test_curvature(answer, right):
    verdict = exercises.curvature(answer)
    assert verdict.right is right
    assert " at 0x" not in repr(verdict)


def test_curvature_names_the_slip():
    assert "create_graph=True" in exercises.curvature(once).sentence


def unsummed(f, x):
    x = Variable(x, requires_grad=True)
    return grad(grad(F.sum(f(x)), x, create_graph=True), x)


def by_backward(f, x):
    x = Variable(x, requires_grad=True)
    F.sum(f(x)).backward(create_graph=True)
    return grad(F.sum(x.grad), x)


@pytest.mark.parametrize(
    ("answer", "error", "hint"),
    [
        (unrecorded, "expected: a path in the graph", "needs create_graph=True"),
        (unsummed, "expected: an array of shape (7,)", "a sum over the elements"),
        (by_backward, "create_graph", "backward takes no create_graph"),
    ],
)
def test_curvature_that_raises_gets_the_hint_as_well(answer, error, hint):
    verdict = exercises.curvature(answer)
    assert verdict.right is False and error in verdict.sentence.split("The first grad")[0]
    assert hint in verdict.sentence


def copying(tensor, gradient):
    tensor.grad = gradient.copy() if tensor.grad is None else tensor.grad + gradient


def sharing(tensor, gradient):
    tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient


def forgetting(tensor, gradient):
    tensor.grad = gradient.copy()


def doubling(tensor, gradient):
    tensor.grad = 2 * gradient


def writing(tensor, gradient):
    if tensor.grad is not None:
        gradient += tensor.grad
    tensor.grad = gradient.copy()


def adding_at_once(tensor, gradient):
    tensor.grad += gradient.copy()


def returning(tensor, gradient):
    return gradient.copy()


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (adding_at_once, False, "The first time tensor.grad is None"),
        (returning, False, "Nothing was stored in tensor.grad"),
        (copying, True, "Distinct"),
        (sharing, False, "share memory"),
        (forgetting, False, "added to the first"),
        (doubling, False, "are ones"),
        (writing, False, "not yours"),
        (lambda tensor, gradient: None, None, "Not answered"),
        (7, False, "a function"),
        (lambda tensor: None, False, "TypeError"),
    ],
)
def test_repaired_receive(answer, right, words):
    verdict = exercises.repaired_receive(answer)
    assert verdict.right is right and words in verdict.sentence

"""Answers to the exercises of the lesson on define-by-run."""

from typing import Any

import numpy as np

from toolkit.autograd import Variable, graph
from toolkit.autograd import functions as F
from toolkit.explorers.naive_tape import Tensor
from toolkit.lessons import Verdict, exercise, expect_function, expect_number
from toolkit.lessons.checks import stopped


@exercise
def kept_bytes(answer: Any) -> Verdict:
    """Judge how many bytes ``exp(x) * x + x`` keeps for a digit of 64 pixels in float64."""
    x = Variable(np.linspace(0.0, 1.0, 64), requires_grad=True)
    expected = graph(F.exp(x) * x + x).saved_bytes
    one = x.data.nbytes
    slips = {
        0: "nothing is recorded for an x without requires_grad=True.",
        one: "that is one array of 64 numbers; multiply needs a second one, x, for the gradient by exp(x).",
        3 * one: "exp and multiply both keep the output of exp, but it is one piece of memory: count it once.",
        4 * one: "add keeps nothing, and the output of exp is kept by exp and by multiply but exists once.",
        expected / 8: "those are numbers; each float64 takes 8 bytes.",
    }
    right = "exp keeps its output, multiply the same array and x, add nothing: two arrays of 64 float64 numbers."
    return expect_number(answer, expected, tolerance=0.5, right=right, slips=slips)


@exercise
def curvature(answer: Any) -> Verdict:
    """Judge a function that returns the second derivative of ``f`` at every element of ``x``."""
    x = np.linspace(-1.5, 1.5, 7)
    cases: list[tuple[tuple, Any]] = [
        ((F.sin, x), -np.sin(x)),
        ((F.tanh, x), -2 * np.tanh(x) * (1 - np.tanh(x) ** 2)),
        ((lambda z: z * z * z, x), 6 * x),
    ]
    return expect_function(
        answer,
        cases,
        right="Second derivatives of sin, tanh and a cube, every value within 1e-6 of the exact one.",
        hint=(
            "The first grad needs create_graph=True, and each grad differentiates a sum over the elements. (backward "
            "takes no create_graph and stores plain arrays: use grad for both.)"
        ),
    )


@exercise
def repaired_receive(answer: Any) -> Verdict:
    """Judge a ``receive(tensor, gradient)`` under which no two tensors share a gradient."""
    if not callable(answer):
        return Verdict(False, f"Expected a function, got {type(answer).__name__}.")

    returned = []

    class Repaired(Tensor):
        def receive(self, gradient: np.ndarray) -> None:
            returned.append(answer(self, gradient))

    a, b = Repaired(np.array([0.25, 0.5])), Repaired(np.array([1.0, 2.0]))
    try:
        (a + b).backward()
    except TypeError as error:
        return Verdict(False, stopped(error, "The first time tensor.grad is None." if "NoneType" in str(error) else ""))
    if a.grad is None or b.grad is None:
        if all(one is None or one is ... for one in returned):
            raise NotImplementedError
        return Verdict(False, "Nothing was stored in tensor.grad: nobody reads what receive returns.")
    if not (np.array_equal(a.grad, [1.0, 1.0]) and np.array_equal(b.grad, [1.0, 1.0])):
        return Verdict(False, f"The gradients of a + b are ones; yours are {a.grad} and {b.grad}.")
    if np.shares_memory(a.grad, b.grad):
        return Verdict(False, "After (a + b).backward() the two gradients still share memory: store a copy.")
    first, second, d = np.ones(2), np.ones(2), Repaired(np.zeros(2))
    d.receive(first)
    d.receive(second)
    if not (np.array_equal(first, [1.0, 1.0]) and np.array_equal(second, [1.0, 1.0])):
        return Verdict(False, "You wrote into an array that was handed over: it is not yours to change.")
    c = Repaired(np.array([0.25, 0.5]))
    ((c + c) * c).backward()
    if not np.allclose(c.grad, 4 * c.data):
        hint = "a second contribution is added to the first, not stored in its place"
        return Verdict(False, f"For (c + c)·c expected the gradient {4 * c.data}, got {c.grad}: {hint}.")
    return Verdict(True, "Distinct arrays, and contributions still add up. The leak is still there: that takes more.")

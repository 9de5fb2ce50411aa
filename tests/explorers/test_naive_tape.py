"""The naive tape is right where the lesson says it is right, and wrong where the lesson says it is wrong."""

import gc
import inspect
import weakref

import numpy as np
import pytest

from toolkit.autograd import functions as F
from toolkit.autograd import gradcheck, numerical_gradient
from toolkit.explorers.naive_tape import Tensor
from toolkit.explorers.source import Source

RNG = np.random.default_rng(0)


def network(x, w, v):
    return (x @ w).tanh() * v + v


def test_gradients_are_those_of_differences():
    arrays = [RNG.normal(size=shape) for shape in ((4, 3), (3, 2), (4, 2))]
    leaves = [Tensor(array) for array in arrays]
    network(*leaves).backward()
    expected = numerical_gradient(lambda x, w, v: F.sum(F.tanh(x @ w) * v + v), arrays)
    for leaf, slope in zip(leaves, expected, strict=True):
        np.testing.assert_allclose(leaf.grad, slope, atol=1e-8)
    assert gradcheck(lambda x, w, v: F.tanh(x @ w) * v + v, arrays).passed


def test_one_tensor_read_often_collects_every_contribution():
    x = Tensor(np.array([2.0, 3.0]))
    ((x + x) * x).backward()
    np.testing.assert_array_equal(x.grad, [8.0, 12.0])


def test_addition_hands_one_array_to_both():
    a, b = Tensor(np.ones(3)), Tensor(np.ones(3))
    (a + b).backward()
    assert np.shares_memory(a.grad, b.grad)


def test_a_result_keeps_itself_alive_until_the_collector_comes():
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        x = Tensor(np.ones(3))
        y = x.tanh()
        seen = weakref.ref(y.data)
        del y
        assert seen() is not None
        gc.collect()
        assert seen() is None
    finally:
        if was_on:
            gc.enable()


def test_a_long_chain_is_too_deep():
    x = total = Tensor(np.ones(1))
    for _ in range(20_000):
        total = total + x
    with pytest.raises(RecursionError):
        total.backward()


def test_the_lesson_counts_its_lines_rightly():
    lines = [line for line in inspect.getsource(Tensor).splitlines() if line.strip()]
    assert len(lines) == 40
    assert max(map(len, lines)) <= 90, "wraps on the page"


def test_source_shows_the_code_itself():
    shown = Source(Tensor)._repr_mimebundle_()
    assert shown["text/plain"] == inspect.getsource(Tensor).rstrip() == repr(Source(Tensor))
    assert shown["text/markdown"] == f"```python\n{shown['text/plain']}\n```"

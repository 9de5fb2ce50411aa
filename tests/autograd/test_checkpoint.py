"""Recomputation changes memory and time, and no number."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, checkpoint, config, grad, graph, no_grad, using_config
from toolkit.autograd import functions as F

X = np.random.default_rng(0).normal(size=(4, 3))
W = np.random.default_rng(1).normal(size=(3, 3))


def block(x: Variable) -> Variable:
    return F.tanh(x * 2.0) * F.exp(-x * x) + F.cumsum(x, 0)


def direct(function: Any, *inputs: Any) -> Variable:
    """Stand where checkpoint stands and recompute nothing."""
    return function(*inputs)


def test_values_and_gradients_are_the_same(library):
    found = []
    for way in (direct, checkpoint):
        x = library.leaf(X)
        y = F.sum(way(block, way(block, x)) ** 2)
        y.backward()
        found.append((y.item(), library.host(x.grad)))
    assert found[0][0] == found[1][0]
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-14)


def test_second_and_third_derivatives_are_the_same(library):
    found = []
    for way in (direct, checkpoint):
        x = library.leaf(X)
        value = F.sum(way(block, x) ** 2)
        for _ in range(2):
            slope = grad(value, x, create_graph=True)
            value = F.sum(slope * slope)
        found.append(library.host(grad(value, x)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11)


def test_parameters_that_the_function_reads_get_their_gradients(library):
    found = []
    for way in (direct, checkpoint):
        x, w, shift = library.leaf(X), library.leaf(W), library.leaf(0.3)
        scaled = w * 2.0  # made before, itself not a leaf
        y = F.sum(F.sin(way(lambda v, s=scaled, b=shift: F.tanh(v @ s) + b, x)))
        y.backward()
        found.append([library.host(leaf.grad) for leaf in (x, w, shift)])
    for left, right in zip(*found, strict=True):
        np.testing.assert_allclose(right, left, rtol=1e-14)


def test_captured_parameters_to_second_order(library):
    found = []
    for way in (direct, checkpoint):
        x, w = library.leaf(X), library.leaf(W)
        y = F.sum(way(lambda v, w=w: F.tanh(v @ w), x) ** 2)
        by_x, by_w = grad(y, [x, w], create_graph=True)
        found.append([library.host(g) for g in grad(F.sum(by_x * by_x) + F.sum(by_w * by_w * by_w), [x, w])])
    for left, right in zip(*found, strict=True):
        np.testing.assert_allclose(right, left, rtol=1e-12)


def test_inputs_may_be_constants_and_arrays(library):
    w = library.leaf(W)
    y = F.sum(checkpoint(lambda v, u: (v @ w) * u, library.array(X), library.constant(X)))
    y.backward()
    np.testing.assert_allclose(library.host(w.grad), X.T @ X, rtol=1e-13)


def test_several_inputs_of_which_one_is_not_read(library):
    x, y, z = library.leaf(X), library.leaf(X + 1), library.leaf(X)
    F.sum(checkpoint(lambda a, b, c: a * b, x, y, z)).backward()
    np.testing.assert_allclose(library.host(x.grad), X + 1)
    np.testing.assert_allclose(library.host(y.grad), X)
    assert z.grad is None


def test_checkpoints_within_checkpoints(library):
    calls = []

    def inner(x: Variable) -> Variable:
        calls.append("inner")
        return F.tanh(x * 3.0)

    def outer(x: Variable) -> Variable:
        calls.append("outer")
        return checkpoint(inner, x) * checkpoint(inner, x + 1.0)

    x, plain = library.leaf(X), library.leaf(X)
    F.sum(checkpoint(outer, x)).backward()
    assert calls == ["outer", "inner", "inner"] * 2 + ["inner", "inner"]
    F.sum(F.tanh(plain * 3.0) * F.tanh((plain + 1.0) * 3.0)).backward()
    np.testing.assert_allclose(library.host(x.grad), library.host(plain.grad), rtol=1e-14)


def test_random_operations_draw_the_same_numbers_again(library):
    def drop(x: Variable) -> Variable:
        return F.dropout(F.dropout(x * 2.0, 0.4) + 1.0, 0.3)

    generator = torch.Generator().manual_seed(5)
    x = library.leaf(np.ones((20, 30)))
    with using_config(generator=generator):
        y = checkpoint(drop, x)
        after = F.dropout(library.constant(np.ones(50)), 0.5)
        F.sum(y).backward()
        following = F.dropout(library.constant(np.ones(50)), 0.5)
    kept = (library.host(y) != 0) & (library.host(y) != 1.0 / 0.7)
    np.testing.assert_allclose(library.host(x.grad), np.where(kept, 2 / 0.6 / 0.7, 0.0), rtol=1e-12)
    # Outside, the numbers go on as if nothing had been run again.
    generator.manual_seed(5)
    with using_config(generator=generator):
        np.testing.assert_array_equal(library.host(drop(library.constant(np.ones((20, 30))))), library.host(y))
        for expected in (after, following):
            np.testing.assert_array_equal(
                library.host(F.dropout(library.constant(np.ones(50)), 0.5)), library.host(expected)
            )


def test_a_generator_given_by_hand_and_the_private_one_are_replayed_too():
    for options in ({"generator": torch.Generator().manual_seed(3)}, {}):
        x = Variable(np.ones(500), requires_grad=True)
        y = checkpoint(lambda v, o=options: F.dropout(v, 0.5, **o), x)
        F.sum(y).backward()
        np.testing.assert_array_equal(x.grad, y.data)


def test_dropout_in_nested_checkpoints():
    x = Variable(np.ones(500), requires_grad=True)
    y = checkpoint(lambda v: checkpoint(lambda u: F.dropout(u, 0.5), F.dropout(v, 0.2)), x)
    F.sum(y).backward()
    np.testing.assert_allclose(x.grad, y.data, rtol=1e-15)
    assert 0 < (y.data == 0).mean() < 1


def test_running_statistics_are_updated_once(library):
    found = []
    for way in (direct, checkpoint):
        x = library.leaf(X)
        mean, variance = library.array(np.zeros(3)), library.array(np.ones(3))
        y = way(lambda v, m=mean, s=variance: F.batch_normalization(v, None, None, m, s), x)
        F.sum(y * y * y).backward()
        found.append([library.host(value) for value in (x.grad, mean, variance)])
    for left, right in zip(*found, strict=True):
        np.testing.assert_allclose(right, left, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found[0][1], 0.1 * X.mean(0), rtol=1e-12)


def test_the_second_run_has_the_first_ones_settings():
    seen = []

    def look(x: Variable) -> Variable:
        seen.append((config.train, config.in_recomputing, config.enable_backprop))
        return x * x

    x = Variable(X, requires_grad=True)
    with using_config(train=False):
        y = F.sum(checkpoint(look, x))
    with no_grad():
        y.backward()
    assert seen == [(False, False, True), (False, True, True)] and config.train and not config.in_recomputing


def test_only_inputs_are_kept():
    x = Variable(np.ones((100, 10)), requires_grad=True)
    y = checkpoint(lambda v: block(block(block(v))), x)
    assert graph(y).saved_bytes == x.data.nbytes
    assert [node.label for node in graph(y).nodes] == ["leaf", "checkpoint"]


def test_nothing_is_recorded_where_nothing_would_be():
    constant = Variable(X)
    assert checkpoint(block, constant).node is None
    with no_grad():
        assert checkpoint(block, Variable(X, requires_grad=True)).node is None


def test_a_function_that_hands_its_input_on(library):
    x = library.leaf(X)
    y = checkpoint(lambda v: v, x)
    F.sum(y * 2.0).backward()
    assert library.host(x.grad).tolist() == np.full((4, 3), 2.0).tolist()


def test_the_graph_can_be_kept(library):
    x = library.leaf(X)
    y = F.sum(checkpoint(block, x))
    y.backward(retain_graph=True)
    once = library.host(x.grad).copy()
    y.backward()
    np.testing.assert_allclose(library.host(x.grad), 2 * once, rtol=1e-15)
    with pytest.raises(RuntimeError, match="has been freed"):
        y.backward()


@pytest.mark.parametrize("generator", [None, torch.Generator().manual_seed(1)])
def test_a_pass_in_another_thread(generator):
    x = Variable(np.ones(50), requires_grad=True)
    with using_config(generator=generator):
        y = checkpoint(lambda v: F.dropout(v, 0.5), x)
    thread = threading.Thread(target=lambda: F.sum(y).backward())
    thread.start()
    thread.join()
    np.testing.assert_array_equal(x.grad, y.data)


def test_a_pass_under_another_generator():
    x = Variable(np.ones(50), requires_grad=True)
    with using_config(generator=torch.Generator().manual_seed(1)):
        y = checkpoint(lambda v: F.dropout(v, 0.5), x)
    other = torch.Generator().manual_seed(2)
    state = other.get_state()
    with using_config(generator=other):
        F.sum(y).backward()
    np.testing.assert_array_equal(x.grad, y.data)
    assert torch.equal(other.get_state(), state)


def test_a_function_that_computes_something_else_is_found_out():
    shapes = iter([(4, 3), (3, 4)])
    x = Variable(X, requires_grad=True)
    y = checkpoint(lambda v: F.tanh(v.reshape(next(shapes))), x)
    with pytest.raises(RuntimeError, match=r"something else[\s\S]*float64\(4, 3\)[\s\S]*float64\(3, 4\)"):
        F.sum(y).backward()


def test_what_is_no_variable_is_refused():
    x = Variable(X, requires_grad=True)
    with pytest.raises(TypeError, match="checkpoint: bad argument 'function'"):
        checkpoint(lambda v: (v, v), x)
    with pytest.raises(TypeError, match=r"checkpoint: bad argument 'inputs\[1\]'"):
        checkpoint(block, x, 3.0)


def test_an_exception_in_the_second_run_passes_through():
    calls = []

    def moody(v: Variable) -> Variable:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("second thoughts")
        return v * v

    x = Variable(X, requires_grad=True)
    y = F.sum(checkpoint(moody, x))
    with pytest.raises(KeyError, match="second thoughts"):
        y.backward()
    assert not config.in_recomputing and config.train

"""What backward() and grad() promise: accumulation, freed graphs, seeds, cuts, and gradients of one's own."""

import itertools
from typing import Any

import numpy as np
import pytest

from toolkit.autograd import Variable, grad, using_config
from toolkit.autograd import functions as F

FREED = "the graph behind it has been freed by an earlier backward pass; pass retain_graph=True"


def test_gradients_add_up_over_passes(library):
    x = library.leaf([1.0, 2.0])
    for count in (1, 2, 3):
        F.sum(x * x).backward()
        np.testing.assert_array_equal(library.host(x.grad), count * 2 * np.asarray([1.0, 2.0]))
    x.cleargrad()
    assert x.grad is None
    F.sum(x).backward()
    assert library.host(x.grad).tolist() == [1.0, 1.0]


def test_the_graph_can_be_kept_for_another_pass(library):
    x = library.leaf([1.0, 2.0])
    y = F.sum(F.tanh(x) * x)
    y.backward(retain_graph=True)
    once = library.host(x.grad).copy()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(library.host(x.grad), 3 * once, rtol=1e-15)
    with pytest.raises(RuntimeError, match=FREED):
        y.backward()


@pytest.mark.parametrize("function", [lambda x: x + 1.0, lambda x: -x, F.sum, F.exp, lambda x: x[0], lambda x: x @ x])
def test_a_second_pass_through_a_freed_graph_raises(function, library):
    x = library.leaf([1.0, 2.0])
    y = F.sum(function(x))
    y.backward()
    before = library.host(x.grad).copy()
    for again in (y.backward, lambda: grad(y, x), lambda: grad(y, x, create_graph=True)):
        with pytest.raises(RuntimeError, match=FREED):
            again()
    np.testing.assert_array_equal(library.host(x.grad), before)


def test_grad_frees_unless_told_otherwise(library):
    x = library.leaf([1.0, 2.0])
    y = F.sum(F.exp(x))
    grad(y, x, retain_graph=True)
    grad(y, x, create_graph=True)
    grad(y, x)
    with pytest.raises(RuntimeError, match=FREED):
        grad(y, x)
    z = F.sum(F.exp(x))
    grad(z, x, create_graph=True, retain_graph=False)
    with pytest.raises(RuntimeError, match=FREED):
        z.backward()


def test_what_lies_behind_the_inputs_may_be_freed(library):
    x = library.leaf([0.5, 1.0])
    h = F.exp(x)
    F.sum(h).backward()
    w = library.leaf([2.0, 3.0])
    y = F.sum(F.tanh(h) * w)
    by_h, by_w = grad(y, [h, w], retain_graph=True)
    np.testing.assert_allclose(library.host(by_w), np.tanh(np.exp([0.5, 1.0])), rtol=1e-14)
    np.testing.assert_allclose(library.host(by_h), [2.0, 3.0] / np.cosh(np.exp([0.5, 1.0])) ** 2, rtol=1e-13)
    np.testing.assert_array_equal(library.host(grad(y, w, create_graph=True)), library.host(by_w))
    with pytest.raises(RuntimeError, match=f"exp: {FREED}"):
        grad(y, [h, x], retain_graph=True)
    with pytest.raises(RuntimeError, match=f"exp: {FREED}"):
        y.backward()


def test_a_pass_needs_a_seed_unless_there_is_one_element(library):
    x = library.leaf([[1.0, 2.0]])
    for run in (lambda: (x * x).backward(), lambda: grad(x * x, x)):
        with pytest.raises(ValueError, match=r"gradient'\s+expected: an array of shape \(1, 2\)"):
            run()
    F.sum(x, keepdims=True).backward()  # shape (1, 1) has one element
    (x * x).backward(library.array(np.asarray([[3.0, 5.0]])))
    assert library.host(x.grad).tolist() == [[7.0, 21.0]]


def test_seeds_are_checked(library):
    x = library.leaf([1.0, 2.0])
    y = x * x
    for seed in (np.ones(3), np.ones((2, 1)), np.ones(()), np.ones(2, np.float32), np.ones(2, np.int64)):
        for run in (y.backward, lambda seed, y=y: grad(y, x, seed)):
            with pytest.raises(ValueError, match=r"expected: \S*float64\(2,\)"):
                run(library.array(seed))
    other = np.ones(2) if library.name == "torch" else Variable(np.float64(1)).torch().repeat(2)
    for seed in (other, 1.0, [1.0, 1.0], "one"):
        with pytest.raises(TypeError, match=f"expected: {library.name} array"):
            y.backward(seed)
    y.backward(library.constant([1.0, 10.0]))  # a Variable is as good as its array
    assert library.host(x.grad).tolist() == [2.0, 40.0]


def test_seeds_of_several_outputs(library):
    x = library.leaf([1.0, 2.0])
    outputs = [x * x, F.sum(x), x[0]]
    seeds = [library.array(np.asarray([1.0, 2.0])), None, library.array(np.asarray(5.0))]
    assert library.host(grad(outputs, x, seeds)).tolist() == [2.0 + 1.0 + 5.0, 8.0 + 1.0]
    with pytest.raises(ValueError, match="expected: 3, one an output\n  actual:   2"):
        grad(outputs, x, seeds[:2])


def test_the_seed_is_neither_kept_nor_changed(library):
    x, y = library.leaf([1.0, 2.0]), library.leaf([3.0, 4.0])
    seed = library.array(np.asarray([1.0, 1.0]))
    total = x + y
    total.backward(seed, retain_graph=True)
    total.backward(seed)
    assert library.host(seed).tolist() == [1.0, 1.0] and library.host(x.grad).tolist() == [2.0, 2.0]
    assert not np.shares_memory(library.host(seed), library.host(x.grad))


def test_several_contributions_leave_the_first_alone(library):
    x = library.leaf([1.0, 2.0])
    seed = library.array(np.asarray([1.0, 1.0]))
    (x + x + x.reshape(2) + x[:] + F.broadcast_to(x, (2,))).backward(seed)
    assert library.host(x.grad).tolist() == [5.0, 5.0] and library.host(seed).tolist() == [1.0, 1.0]


def test_a_leaf_is_its_own_gradient(library):
    x = library.leaf(3.0)
    x.backward()
    x.backward()
    assert float(library.host(x.grad)) == 2.0
    assert float(grad(x, x)) == 1.0 and float(grad(x, x, create_graph=True)) == 1.0


ALIASES = {
    "sum of two": lambda a, b: a + b,
    "difference": lambda a, b: a - b * 1.0,
    "sum over an axis": lambda a, b: F.sum(a + b, axis=0),
    "mean": lambda a, b: F.mean(a) + F.sum(b),
    "concat": lambda a, b: F.concat([a, b]),
    "stack": lambda a, b: F.stack([a, b]),
    "views": lambda a, b: a.T.reshape(-1) + b[::-1].T.reshape(-1),
    "einsum": lambda a, b: F.einsum("ij->ji", a) + F.einsum("ij->", b),
    "expanded": lambda a, b: F.broadcast_to(a, (4, 2, 2)) + b,
}


@pytest.mark.parametrize("case", ALIASES)
def test_gradients_are_distinct_writable_arrays(case, library):
    def gradients_of_backward() -> list[Any]:
        a, b = library.leaf([[1.0, 2.0], [3.0, 4.0]]), library.leaf([[5.0, 6.0], [7.0, 8.0]])
        F.sum(ALIASES[case](a, b)).backward()
        return [a.grad, b.grad]

    def gradients_of_grad() -> list[Any]:
        a, b = library.leaf([[1.0, 2.0], [3.0, 4.0]]), library.leaf([[5.0, 6.0], [7.0, 8.0]])
        return [g.data for g in grad(F.sum(ALIASES[case](a, b)), [a, b, a])]

    for gradients in (gradients_of_backward(), gradients_of_grad()):
        hosts = [library.host(gradient) for gradient in gradients]
        for left, right in itertools.combinations(hosts, 2):
            assert not np.shares_memory(left, right)
        before = hosts[1].copy()
        gradients[0] *= 0.0
        np.testing.assert_array_equal(library.host(gradients[1]), before)


def test_gradients_of_intermediate_results(library):
    x = library.leaf([0.5, 1.0])
    h = F.exp(x)
    y = F.sum(h * h) + F.sum(x)
    by_x, by_h = grad(y, [x, h], retain_graph=True)
    np.testing.assert_allclose(library.host(by_h), 2 * np.exp([0.5, 1.0]), rtol=1e-14)
    np.testing.assert_allclose(library.host(by_x), 2 * np.exp([1.0, 2.0]) + 1, rtol=1e-14)
    by_y, again = grad(y, [y, h], create_graph=True)
    assert by_y.item() == 1.0
    np.testing.assert_allclose(library.host(again), library.host(by_h), rtol=1e-15)
    assert x.grad is None and h.grad is None


def test_only_what_leads_to_the_inputs_is_visited(library):
    x, w = library.leaf([1.0]), library.leaf([2.0])
    branch = F.tanh(w * 3.0)
    y = F.sum(x * x + branch)
    grad(y, x)
    # The other branch was not passed, so it is still there.
    F.sum(branch).backward()
    assert w.grad is not None


def test_detached_variables_share_data_and_carry_no_gradient(library):
    x = library.leaf([1.0, 2.0])
    y = x * 2.0
    cut = y.detach()
    assert cut.data is y.data and not cut.requires_grad and cut.is_leaf
    F.sum(y * cut).backward()
    assert library.host(x.grad).tolist() == [4.0, 8.0]


def test_unchained_history_is_gone_for_everyone(library):
    x = library.leaf([1.0, 2.0])
    h = x * x
    side = F.sum(F.exp(h))
    state = h * 3.0
    state.unchain_backward()
    assert not state.requires_grad and state.is_leaf
    F.sum(state * x).backward()
    assert library.host(x.grad).tolist() == [3.0, 12.0]
    with pytest.raises(RuntimeError, match="was not used"):
        grad(side, x)
    side.backward()  # its way to x is cut, which is no error
    assert library.host(x.grad).tolist() == [3.0, 12.0]


def test_unchaining_a_leaf_ends_its_wish_for_a_gradient(library):
    x = library.leaf([1.0])
    x.unchain_backward()
    x.unchain_backward()
    assert not x.requires_grad
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        x.backward()


def test_truncated_backpropagation_through_time(library):
    """The gradient of the last window is that of a recurrence that starts there."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(6, 2, 3))
    weight = rng.normal(size=(3, 3)) * 0.5

    def run(steps: Any, state: Variable, w: Variable, cut: int | None = None) -> Variable:
        for step in steps:
            state = F.tanh(library.constant(inputs[step]) + state @ w)
            if step == cut:
                state.unchain_backward()
        return state

    w = library.leaf(weight)
    F.sum(run(range(6), library.constant(np.zeros((2, 3))), w, cut=3)).backward()
    fresh = library.leaf(weight)
    start = run(range(4), library.constant(np.zeros((2, 3))), library.constant(weight))
    F.sum(run(range(4, 6), start, fresh)).backward()
    np.testing.assert_allclose(library.host(w.grad), library.host(fresh.grad), rtol=1e-14)


def test_wanting_a_gradient_can_be_switched(library):
    x = library.constant([1.0, 2.0])
    assert not x.requires_grad
    before = x * 2.0
    x.requires_grad = True
    after = x * 2.0
    assert not before.requires_grad and after.requires_grad
    with pytest.raises(ValueError, match=r"use detach\(\)"):
        after.requires_grad = False
    after.requires_grad = True  # it does already
    x.requires_grad = False
    assert not (x * 2.0).requires_grad


def test_creating_a_graph_records_inside_no_grad(library):
    x = library.leaf([2.0])
    y = F.sum(x**3)
    with using_config(enable_backprop=False):
        first = grad(y, x, create_graph=True)
    assert first.requires_grad
    assert library.host(grad(first, x)).tolist() == [12.0]


def test_create_graph_leaves_gradients_of_leaves_alone(library):
    x = library.leaf([2.0])
    first = grad(F.sum(x**3), x, create_graph=True)
    assert x.grad is None
    F.sum(first * first).backward()
    assert library.host(x.grad).tolist() == [2 * 12.0 * 12.0]


def test_the_gradient_of_a_gradient_that_does_not_depend_on_the_input(library):
    x = library.leaf([2.0, 3.0])
    first = grad(F.sum(x * 5.0), x, create_graph=True)
    assert library.host(first).tolist() == [5.0, 5.0]
    with pytest.raises(RuntimeError, match="was not used"):
        grad(F.sum(first), x)
    assert grad(F.sum(first), x, allow_unused=True) is None


def test_inputs_without_a_gradient_are_refused(library):
    x, constant = library.leaf([1.0]), library.constant([1.0])
    y = F.sum(x * constant)
    with pytest.raises(ValueError, match=r"inputs\[1\]'\s+expected: a Variable with requires_grad=True"):
        grad(y, [x, constant])
    assert grad(y, [x, constant], allow_unused=True)[1] is None


def test_what_is_no_variable_is_refused(library):
    x = library.leaf([1.0])
    for outputs, inputs in ((x.data, x), (x, x.data), ([x, 3.0], x), (x, [None]), (None, x)):
        with pytest.raises(TypeError):
            grad(outputs, inputs)


def test_one_input_gives_one_gradient_and_a_list_gives_a_tuple(library):
    x = library.leaf([1.0])
    assert isinstance(grad(F.sum(x), x), Variable)
    assert isinstance(grad(F.sum(x), [x]), tuple)
    assert grad(F.sum(x), []) == ()


def test_a_gradient_put_there_by_hand_is_added_to_or_refused(library):
    x = library.leaf([1.0, 2.0], name="x")
    x.grad = library.array(np.asarray([10.0, 20.0]))
    F.sum(x * x).backward()
    assert library.host(x.grad).tolist() == [12.0, 24.0]
    strangers = [np.ones(2, np.float32), np.ones(3), np.ones((2, 1)), np.ones(2, np.int64)]
    for stranger in [*map(library.array, strangers), 1.0, library.constant([1.0, 1.0])]:
        x.grad = stranger
        with pytest.raises(ValueError, match=rf"backward: bad argument 'grad of x'\s+expected: {library.name} array, "):
            F.sum(x * x).backward()


def test_a_gradient_without_axes_may_have_been_scaled(library):
    x = library.leaf(3.0)
    (x * x).backward()
    x.grad = x.grad * 0.5  # a scalar in NumPy
    (x * x).backward()
    assert float(library.host(x.grad)) == 9.0 and type(x.grad) is library.array_type


def test_a_seed_can_be_differentiated_which_gives_directional_derivatives(library):
    """The product of a Jacobian with a vector, from two passes backward."""
    x, seed = library.leaf([0.3, 1.2]), library.leaf([0.0, 0.0])
    slope = grad(F.sin(x) * x, x, seed, create_graph=True)
    direction = library.array(np.asarray([1.0, -2.0]))
    expected = [1.0, -2.0] * (np.cos([0.3, 1.2]) * [0.3, 1.2] + np.sin([0.3, 1.2]))
    np.testing.assert_allclose(library.host(grad(slope, seed, direction)), expected, rtol=1e-14)


def test_a_gradient_handed_out_is_not_written_by_the_next_pass(library):
    x = library.leaf([1.0, 2.0])
    y = F.sum(x * x)
    first = grad(y, x, retain_graph=True)
    kept = library.host(first).copy()
    y.backward()
    F.sum(x * x).backward()
    np.testing.assert_array_equal(library.host(first), kept)

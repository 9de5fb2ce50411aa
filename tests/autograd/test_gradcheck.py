"""The checker finds what is wrong, to any order, and passes what is right."""

from typing import Any

import numpy as np
import pytest

from toolkit.autograd import Variable, gradcheck, numerical_gradient
from toolkit.autograd import functions as F
from toolkit.autograd.operation import OUTPUT, Operation
from toolkit.autograd.recording import unary

X = np.asarray([0.3, -0.8, 1.4])


def wrong(rule: Any) -> Any:
    """Return the sine with a backward rule of its own."""
    return unary(Operation("sin", lambda xp, g, saved, needs, p: (rule(xp, g, saved[0]),), saves=(0,)))


def test_functions_with_right_rules_pass(library):
    for order, tolerance in ((1, 1e-6), (2, 1e-6), (3, 1e-5)):
        inputs = [library.array(X), library.array(X + 2.0)]
        check = gradcheck(lambda a, b: F.tanh(a * b) + a / b, inputs, order=order, tolerance=tolerance)
        assert check.passed and check.order == order and len(check.errors) == 2 and max(check.errors) < tolerance
        assert check.to_dict() == {"passed": True, "errors": check.errors, "tolerance": tolerance, "order": order}


RULES = {
    "a factor": lambda xp, g, x: g * xp.cos(x) * 1.001,
    "a sign": lambda xp, g, x: -g * xp.cos(x),
    "one element": lambda xp, g, x: g * xp.cos(x) + g * xp.where(x > 1.0, 0.01, xp.zeros_like(x)),
    "nothing": lambda xp, g, x: None,
    "nan": lambda xp, g, x: g * xp.cos(x) * float("nan"),
    "forgetting the gradient that came": lambda xp, g, x: xp.cos(x),
}


@pytest.mark.parametrize("what", RULES)
def test_wrong_rules_are_found(what, library):
    function = wrong(RULES[what])
    with pytest.raises(AssertionError, match=r"gradcheck: order 1: errors .* exceed 1e-06"):
        gradcheck(function, [library.array(X)])
    check = gradcheck(function, [library.array(X)], raises=False)
    assert not check.passed and not max(check.errors) <= 1e-6


def test_rules_that_are_wrong_in_the_second_order_alone(library):
    """The first derivative is right, but does not depend on its input as it should."""

    def frozen(xp: Any, g: Any, x: Any) -> Any:
        return g * xp.cos(x.detach() if isinstance(x, Variable) else x)

    assert gradcheck(wrong(frozen), [library.array(X)]).passed
    with pytest.raises(AssertionError, match="order 2"):
        gradcheck(wrong(frozen), [library.array(X)], order=2)


def test_a_saved_output_that_is_not_the_output_is_found():
    broken = unary(Operation("exp", lambda xp, g, saved, needs, p: (g * saved[0] * saved[0],), saves=(OUTPUT,)))
    with pytest.raises(AssertionError):
        gradcheck(broken, [X])


def test_gradients_that_hide_in_one_input(library):
    inputs = [library.array(X), library.array(X)]
    check = gradcheck(lambda a, b: a * wrong(RULES["a factor"])(b), inputs, raises=False)
    assert check.errors[0] <= 1e-6 < check.errors[1]


def test_shapes_that_are_wrong_are_found():
    squeezed = unary(Operation("sin", lambda xp, g, saved, needs, p: (xp.sum(g * xp.cos(saved[0])),), saves=(0,)))
    with pytest.raises(AssertionError, match=r"gradient of shape \(\) for an input of shape \(3,\)"):
        gradcheck(squeezed, [X])


def test_inputs_that_do_not_count_have_gradient_zero(library):
    arrays = [library.array(X), library.array(X)]
    for order in (1, 2):
        assert gradcheck(lambda a, b: a * a, arrays, order=order).passed
        assert gradcheck(lambda a, b: library.constant(X), arrays, order=order).passed
    with pytest.raises(AssertionError):
        gradcheck(lambda a, b: a * b.detach(), arrays)


def test_outputs_and_inputs_of_any_shape(library):
    for shape in ((), (0, 2), (2, 1, 2)):
        assert gradcheck(lambda x: F.exp(x) * x, [library.array(np.full(shape, 0.5))], order=2).passed


def test_differences_of_known_functions(library):
    (found,) = numerical_gradient(lambda x: F.sum(x**3), [library.array(X)])
    np.testing.assert_allclose(found, 3 * X**2, rtol=1e-8)
    by_a, by_b = numerical_gradient(lambda a, b: F.sum(a * b), [library.array(X), library.leaf(2 * X)], step=1e-4)
    np.testing.assert_allclose(by_a, 2 * X, rtol=1e-10)
    np.testing.assert_allclose(by_b, X, rtol=1e-10)
    assert type(found) is np.ndarray


def test_the_inputs_are_left_alone(library):
    x = library.leaf(X)
    gradcheck(F.exp, [x], order=2)
    assert x.grad is None and library.host(x).tolist() == X.tolist()

"""Cases at the edges of the tape that once gave a wrong number or a wrong complaint."""

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, grad, gradcheck, hessian, hvp, jacobian, no_grad, using_config, vjp
from toolkit.autograd import functions as F


def test_a_cut_node_is_not_taken_for_a_changed_array():
    """Cutting lets go of what a node saved; a branch that shares the node can still be passed back."""
    start = torch.zeros(3, dtype=torch.float64)
    start.add_(1.0)
    assert start._version
    for debug, array in ((False, start), (True, start), (True, np.ones(3))):
        with using_config(debug=debug):
            x = Variable(array, requires_grad=True)
            shared = F.sin(x)
            other = shared * 2.0
            loss = F.sum(shared * shared) + F.sum(x)
            other.unchain_backward()
            loss.backward()
        np.testing.assert_array_equal(np.asarray(x.grad), np.ones(3))


@pytest.mark.parametrize("base", [0.5, 2.0])
def test_mixed_second_derivative_of_a_power_with_exponent_zero(base, library):
    a, b = library.leaf([base]), library.leaf([0.0])
    (by_base,) = grad(F.sum(a**b), [a], create_graph=True)
    np.testing.assert_allclose(library.host(by_base), 0.0)
    mixed, twice = grad(F.sum(by_base), [b, a], allow_unused=True)
    np.testing.assert_allclose(library.host(mixed), 1.0 / base, rtol=1e-14)
    np.testing.assert_allclose(library.host(twice), 0.0)


def test_zero_to_the_power_of_zero_has_finite_derivatives(library):
    a, b = library.leaf([0.0, 0.0]), library.leaf([0.0, 2.0])
    by_base, by_exponent = grad(F.sum(a**b), [a, b])
    np.testing.assert_array_equal(library.host(by_base), [0.0, 0.0])
    np.testing.assert_array_equal(library.host(by_exponent), [0.0, 0.0])


def test_derivatives_as_functions_do_not_depend_on_whether_recording_is_on():
    point = np.array([1.0, 2.0])
    with no_grad():
        value, (slope,) = vjp(lambda x: F.sum(x * x * x), [point])
        (product,) = hvp(lambda x: F.sum(x * x * x), [point], [np.array([1.0, 0.0])])
        rows = jacobian(lambda x: x * x, point)
        square = hessian(lambda x: F.sum(x * x * x), point)
        assert gradcheck(lambda x: x * x, [point]).passed
        assert gradcheck(lambda x: x * x, [point], order=2).passed
        assert (Variable(point, requires_grad=True) * 2.0).node is None
    assert value.item() == 9.0
    np.testing.assert_array_equal(slope.numpy(), 3 * point**2)
    np.testing.assert_array_equal(product.numpy(), [6.0, 0.0])
    np.testing.assert_array_equal(rows.numpy(), np.diag(2 * point))
    np.testing.assert_array_equal(square.numpy(), np.diag(6 * point))


@pytest.mark.parametrize("result", [1.5, None, [1.0]])
def test_vjp_says_what_the_function_must_return(result):
    with pytest.raises(TypeError, match="vjp: bad argument 'function'"):
        vjp(lambda x: result, [np.ones(2)])


@pytest.mark.parametrize("inside", [True, False])
def test_tensors_of_inference_mode_are_differentiated_too(inside):
    """They count no writes, so none can be noticed, but their gradients are right."""
    with torch.inference_mode():
        data = torch.arange(1.0, 4.0)
    assert data.is_inference()
    with torch.inference_mode(inside):
        x = Variable(data, requires_grad=True)
        y = F.sum(F.tanh(x) * x + F.sin(x) / x + x**2.0 * F.softmax(x))
        y.backward()
        (slope,) = grad(F.sum(x * x * x), [x], create_graph=True)
        (second,) = grad(F.sum(slope), [x])
    reference = torch.arange(1.0, 4.0, requires_grad=True)
    total = (reference.tanh() * reference + reference.sin() / reference + reference**2 * reference.softmax(0)).sum()
    torch.testing.assert_close(x.grad.clone(), torch.autograd.grad(total, reference)[0])
    torch.testing.assert_close(second.data.clone(), 6 * reference.detach())

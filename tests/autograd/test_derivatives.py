"""vjp, hvp, jacobian, hessian and what is built on them, against closed forms and torch."""

from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, grad, hessian, hvp, jacobian, vjp
from toolkit.autograd import functions as F

X = np.asarray([0.3, -0.7, 1.2])
MATRIX = np.asarray([[2.0, -1.0, 0.5], [0.3, 1.5, -0.2], [1.0, 0.4, 3.0]])


def rosenbrock(x: Any) -> Any:
    """Return Rosenbrock's function; its derivatives are known."""
    return (
        ((1.0 - x[:-1]) ** 2 + 100.0 * (x[1:] - x[:-1] ** 2) ** 2).sum()
        if isinstance(x, torch.Tensor)
        else F.sum((1.0 - x[:-1]) ** 2 + 100.0 * (x[1:] - x[:-1] ** 2) ** 2)
    )


def quadratic(library: Any) -> Any:
    matrix = library.constant(MATRIX)
    return lambda x: 0.5 * F.sum(x * (matrix @ x))


def test_vjp_is_the_transposed_jacobian_times_a_vector(library):
    cotangent = np.asarray([1.0, -2.0, 0.5])
    outputs, (gradient,) = vjp(
        lambda x: F.tanh(library.constant(MATRIX) @ x), [library.array(X)], library.array(cotangent)
    )
    inner = MATRIX @ X
    np.testing.assert_allclose(library.host(outputs), np.tanh(inner), rtol=1e-14)
    np.testing.assert_allclose(library.host(gradient), MATRIX.T @ (cotangent / np.cosh(inner) ** 2), rtol=1e-13)


def test_vjp_of_several_inputs_and_outputs(library):
    function = lambda a, b, c: (a * b, F.sum(a))  # noqa: E731 - c is not read
    arrays = [library.array(value) for value in (X, X + 1, X)]
    seeds = (library.array(np.ones(3)), library.array(np.asarray(2.0)))
    outputs, gradients = vjp(function, arrays, seeds)
    assert len(outputs) == 2
    for found, expected in zip(gradients, (X + 1 + 2, X, 0 * X), strict=True):
        np.testing.assert_allclose(library.host(found), expected, rtol=1e-14)


def test_vjp_of_a_constant_is_zero(library):
    constant = library.constant(2.0)
    outputs, gradients = vjp(lambda x: constant, [library.array(X)])
    assert outputs is constant and library.host(gradients[0]).tolist() == [0.0, 0.0, 0.0]


def test_hvp_of_a_quadratic_is_its_matrix_times_a_vector(library):
    vector = np.asarray([1.0, 2.0, -1.0])
    (product,) = hvp(quadratic(library), [library.array(X)], [library.array(vector)])
    np.testing.assert_allclose(library.host(product), 0.5 * (MATRIX + MATRIX.T) @ vector, rtol=1e-14)


def test_hvp_against_torch_and_the_hessian(library):
    vector = np.asarray([1.0, 2.0, -1.0])
    (product,) = hvp(rosenbrock, [library.array(X)], [library.array(vector)])
    _, expected = torch.autograd.functional.hvp(rosenbrock, torch.tensor(X), torch.tensor(vector))
    np.testing.assert_allclose(library.host(product), expected.numpy(), rtol=1e-12)
    matrix = library.host(hessian(rosenbrock, library.array(X)))
    np.testing.assert_allclose(library.host(product), matrix @ vector, rtol=1e-12)


def test_hvp_of_two_primals_mixes_their_blocks(library):
    function = lambda a, b: F.sum(a * a * b)  # noqa: E731
    ones, zeros = library.array(np.ones(3)), library.array(np.zeros(3))
    by_a, by_b = hvp(function, [library.array(X), library.array(2 * X)], [ones, zeros])
    np.testing.assert_allclose(library.host(by_a), 2 * 2 * X)
    np.testing.assert_allclose(library.host(by_b), 2 * X)


@pytest.mark.parametrize(
    "function", [lambda x: F.sum(x * 3.0), lambda x: F.sum(x.detach() ** 2), lambda x: F.sum(F.relu(x))]
)
def test_hvp_where_nothing_bends_is_zero(function, library):
    (product,) = hvp(function, [library.array(X)], [library.array(np.ones(3))])
    assert library.host(product).tolist() == [0.0, 0.0, 0.0]


def test_jacobians_against_closed_forms_and_torch(library):
    def function(x: Any) -> Any:
        return F.stack([x[0] * x[1], F.sin(x[2]), F.sum(x * x)])

    found = library.host(jacobian(function, library.array(X)))
    np.testing.assert_allclose(found, [[X[1], X[0], 0], [0, 0, np.cos(X[2])], 2 * X], rtol=1e-14)
    matrix = np.arange(6.0).reshape(2, 3) / 5
    ours = jacobian(lambda m: F.tanh(m @ library.array(MATRIX)), library.array(matrix))
    theirs = torch.func.jacrev(lambda m: torch.tanh(m @ torch.tensor(MATRIX)))(torch.tensor(matrix))
    assert ours.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(library.host(ours), theirs.numpy(), rtol=1e-12, atol=1e-15)


def test_jacobians_of_nothing_and_of_constants(library):
    assert jacobian(lambda x: x[:0], library.array(X)).shape == (0, 3)
    assert jacobian(lambda x: x * 2.0, library.array(np.zeros((0, 2)))).shape == (0, 2, 0, 2)
    assert jacobian(lambda x: F.sum(x), library.array(np.asarray(2.0))).shape == ()
    constant = library.constant([1.0, 2.0])
    np.testing.assert_array_equal(library.host(jacobian(lambda x: constant, library.array(X))), np.zeros((2, 3)))


def test_a_jacobian_can_be_differentiated(library):
    x = library.leaf(X)
    matrix = jacobian(lambda v: v * v * v, x, create_graph=True)
    F.sum(matrix * matrix).backward()
    np.testing.assert_allclose(library.host(x.grad), 2 * 3 * X**2 * 6 * X, rtol=1e-13)


@pytest.mark.parametrize("size", [2, 5])
def test_hessians_against_torch(size, library):
    point = np.linspace(-1, 1, size)
    found = library.host(hessian(rosenbrock, library.array(point)))
    expected = torch.autograd.functional.hessian(rosenbrock, torch.tensor(point)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(found, found.T, rtol=1e-12)


def test_the_hessian_of_a_matrix_function(library):
    point = np.asarray([[1.0, 0.2], [0.3, 2.0]])
    found = hessian(lambda m: F.logsumexp(m @ m), library.array(point))
    expected = torch.func.hessian(lambda m: torch.logsumexp((m @ m).reshape(-1), 0))(torch.tensor(point))
    assert found.shape == (2, 2, 2, 2)
    np.testing.assert_allclose(library.host(found), expected.numpy(), rtol=1e-11, atol=1e-13)


def test_hessians_of_flat_functions_are_zero(library):
    for function in (lambda x: F.sum(x), lambda x: F.sum(x.detach() ** 2), lambda x: F.sum(F.abs(x))):
        assert not library.host(hessian(function, library.array(X))).any()


def test_newtons_method_finds_rosenbrocks_valley(library):
    point = np.asarray([-1.2, 1.0])
    values = []
    for _ in range(6):
        x = library.leaf(point)
        value = rosenbrock(x)
        values.append(value.item())
        gradient = library.host(grad(value, x))
        point = point - np.linalg.solve(library.host(hessian(rosenbrock, library.array(point))), gradient)
    np.testing.assert_allclose(point, [1.0, 1.0], atol=1e-12)
    # The steps that textbooks print for this start.
    np.testing.assert_allclose(values[:3], [24.2, 4.731884, 1411.845179], rtol=1e-6)


def gradient_penalty_ours(library: Any, weights: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    parameters = [library.leaf(weight) for weight in weights]
    inputs = library.leaf(x)
    h = F.tanh(F.linear(inputs, parameters[0], parameters[1]))
    score = F.sum(F.linear(F.softplus(h @ parameters[2]), parameters[3]))
    slope = grad(score, inputs, create_graph=True)
    penalty = F.mean((F.sqrt(F.sum(slope * slope, axis=1) + 1e-12) - 1.0) ** 2)
    (penalty + score * 0.1).backward()
    return [library.host(value) for value in (penalty, *(parameter.grad for parameter in parameters), inputs.grad)]


def gradient_penalty_torch(weights: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    parameters = [torch.tensor(weight, requires_grad=True) for weight in weights]
    inputs = torch.tensor(x, requires_grad=True)
    linear = torch.nn.functional.linear
    h = torch.tanh(linear(inputs, parameters[0], parameters[1]))
    score = linear(torch.nn.functional.softplus(h @ parameters[2]), parameters[3]).sum()
    (slope,) = torch.autograd.grad(score, inputs, create_graph=True)
    penalty = ((torch.sqrt((slope * slope).sum(1) + 1e-12) - 1.0) ** 2).mean()
    (penalty + score * 0.1).backward()
    return [penalty.detach().numpy(), *(parameter.grad.numpy() for parameter in parameters), inputs.grad.numpy()]


def test_a_gradient_penalty_is_torchs(library):
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=shape) for shape in ((6, 4), (6,), (6, 5), (1, 5))]
    x = rng.normal(size=(3, 4))
    ours, theirs = gradient_penalty_ours(library, weights, x), gradient_penalty_torch(weights, x)
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("function", "derivatives"),
    [
        (lambda x: F.exp(2.0 * x), [lambda x, k=k: 2**k * np.exp(2 * x) for k in range(6)]),
        (F.sin, [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos]),
        (
            lambda x: x**4,
            [lambda x: x**4, lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x, lambda x: 24 + 0 * x],
        ),
        (F.log, [np.log, lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4]),
        (lambda x: 1.0 / x, [lambda x: 1 / x, lambda x: -1 / x**2, lambda x: 2 / x**3, lambda x: -6 / x**4]),
    ],
    ids=["exp", "sin", "power", "log", "reciprocal"],
)
def test_derivatives_of_high_order(function, derivatives, library):
    x = library.leaf([0.4, 1.3])
    value = function(x)
    np.testing.assert_allclose(library.host(value), derivatives[0](np.asarray([0.4, 1.3])), rtol=1e-13)
    for derivative in derivatives[1:]:
        value = grad(F.sum(value), x, create_graph=True)
        np.testing.assert_allclose(library.host(value), derivative(np.asarray([0.4, 1.3])), rtol=1e-11)


def test_the_third_derivative_of_a_network_is_torchs():
    rng = np.random.default_rng(1)
    weight, start = rng.normal(size=(3, 3)), rng.normal(size=3)
    x = Variable(start, requires_grad=True)
    value: Any = F.sum(F.tanh(F.tanh(x @ weight) @ weight))
    reference = torch.tensor(start, requires_grad=True)
    tensor = torch.tensor(weight)
    expected = torch.tanh(torch.tanh(reference @ tensor) @ tensor).sum()
    for _ in range(3):
        gradient = grad(value, x, create_graph=True)
        (slope,) = torch.autograd.grad(expected, reference, create_graph=True)
        np.testing.assert_allclose(gradient.numpy(), slope.detach().numpy(), rtol=1e-10, atol=1e-12)
        value, expected = F.sum(gradient * gradient), (slope * slope).sum()


def test_the_primals_are_left_alone(library):
    x = library.leaf(X, name="x")
    for run in (
        lambda: vjp(lambda v: F.sum(v * v), [x]),
        lambda: hvp(lambda v: F.sum(v * v), [x], [library.array(X)]),
        lambda: jacobian(lambda v: v * v, x),
        lambda: hessian(lambda v: F.sum(v * v), x),
    ):
        run()
    assert x.grad is None and x.requires_grad and library.host(x).tolist() == X.tolist()


def test_arguments_that_do_not_fit_are_refused(library):
    array = library.array(X)
    square = lambda v: F.sum(v * v)  # noqa: E731
    cases = [
        (lambda: hvp(square, [array], [array, array]), ValueError, "hvp: bad argument 'vectors'"),
        (lambda: hvp(square, [array], [array[:2]]), ValueError, r"hvp: bad argument 'vectors\[0\]'"),
        (lambda: hvp(lambda v: v, [array], [array]), ValueError, "hvp: bad argument 'function'"),
        (lambda: hessian(lambda v: v, array), ValueError, "hessian: bad argument 'function'"),
    ]
    for run, kind, message in cases:
        with pytest.raises(kind, match=message):
            run()
    for run in (
        lambda: vjp(square, array),
        lambda: vjp(square, [3.0]),
        lambda: jacobian(lambda v: 3.0, array),
        lambda: hessian(lambda v: 3.0, array),
    ):
        with pytest.raises(TypeError):
            run()

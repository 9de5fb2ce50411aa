"""NaN, infinities, empty arrays, arrays without axes, and numbers at the edge of their range."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import functions as F
from toolkit.autograd import grad

INFINITY, NAN = float("inf"), float("nan")


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """NumPy warns of what these tests are about."""
    with np.errstate(all="ignore"):
        yield


def slope(library: Any, function: Any, values: Any) -> tuple[list, list]:
    x = library.leaf(values)
    y = function(x)
    return library.host(y).tolist(), library.host(grad(F.sum(y), x)).tolist()


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-12, atol=1e-15)


# Function, arguments, results, derivatives: the limits, or what torch gives where there is none.
EDGES = {
    "exp": (F.exp, [-INFINITY, -1000, 1000, NAN], [0, 0, INFINITY, NAN], [0, 0, INFINITY, NAN]),
    "log": (F.log, [0, INFINITY, -1, NAN], [-INFINITY, INFINITY, NAN, NAN], [INFINITY, 0, -1, NAN]),
    "log1p": (F.log1p, [1e-300, -1], [1e-300, -INFINITY], [1, INFINITY]),
    "expm1": (F.expm1, [1e-300, -1000], [1e-300, -1], [1, 0]),
    "sqrt": (F.sqrt, [0, INFINITY, -1], [0, INFINITY, NAN], [INFINITY, 0, NAN]),
    "tanh": (F.tanh, [-INFINITY, -1000, 1000, NAN], [-1, -1, 1, NAN], [0, 0, 0, NAN]),
    "sigmoid": (F.sigmoid, [-INFINITY, -800, 800, INFINITY, NAN], [0, 0, 1, 1, NAN], [0, 0, 0, 0, NAN]),
    "softplus": (F.softplus, [-INFINITY, -800, 800, NAN], [0, 0, 800, NAN], [0, 0, 1, NAN]),
    "relu": (F.relu, [-INFINITY, -0.0, 0, INFINITY], [0, 0, 0, INFINITY], [0, 0, 0, 1]),
    "abs": (F.abs, [-INFINITY, 0, INFINITY], [INFINITY, 0, INFINITY], [-1, 0, 1]),
    "erf": (F.erf, [-INFINITY, INFINITY, NAN], [-1, 1, NAN], [0, 0, NAN]),
    "gelu": (F.gelu, [-1000, 0, 1000], [0, 0, 1000], [0, 0.5, 1]),
    "sin": (F.sin, [INFINITY, NAN], [NAN, NAN], [NAN, NAN]),
    "clip": (lambda x: F.clip(x, -1, 1), [-INFINITY, -1, 1, INFINITY, NAN], [-1, -1, 1, 1, NAN], [0, 1, 1, 0, 0]),
    "maximum": (lambda x: F.maximum(x, 0.0), [-INFINITY, 0, INFINITY], [0, 0, INFINITY], [0, 0.5, 1]),
    "square": (lambda x: x**2, [0, -3, INFINITY], [0, 9, INFINITY], [0, -6, INFINITY]),
    "zeroth power": (lambda x: x**0, [0, -3, 2, NAN], [1, 1, 1, 1], [0, 0, 0, 0]),
    "first power": (lambda x: x**1, [0, -3], [0, -3], [1, 1]),
    "negative power": (lambda x: x**-1, [0, 2], [INFINITY, 0.5], [-INFINITY, -0.25]),
    "root": (lambda x: x**0.5, [0, 4, -1], [0, 2, NAN], [INFINITY, 0.25, NAN]),
    "power of zero": (lambda x: 0**x, [0, 1, 2.5], [1, 0, 0], [0, 0, 0]),
    "power of two": (lambda x: 2**x, [0, 3, -INFINITY], [1, 8, 0], [np.log(2), 8 * np.log(2), 0]),
    "own power": (lambda x: x**x, [1, 2], [1, 4], [1, 4 * (1 + np.log(2))]),
    "reciprocal": (lambda x: 1 / x, [0, INFINITY], [INFINITY, 0], [-INFINITY, 0]),
    "overflow": (lambda x: x * 1e300 * 1e300, [1, 0], [INFINITY, 0], [INFINITY, INFINITY]),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges(case, library):
    function, arguments, results, derivatives = EDGES[case]
    found, gradient = slope(library, function, arguments)
    same(found, results)
    same(gradient, derivatives)


@pytest.mark.parametrize(
    ("function", "reference"),
    [
        (lambda x: F.logsumexp(x), lambda x: torch.logsumexp(x, 0)),
        (lambda x: F.softmax(x), lambda x: torch.softmax(x, 0)),
        (lambda x: F.log_softmax(x), lambda x: torch.log_softmax(x, 0)),
    ],
    ids=["logsumexp", "softmax", "log_softmax"],
)
@pytest.mark.parametrize(
    "values",
    [[1e4, -1e4, 0], [-INFINITY, 0, 1], [-1e308, -1e308, -1e308], [1e308, 1e308, 0], [INFINITY, 1, 2], [NAN, 1, 2]],
)
def test_sums_of_exponentials_are_torchs(function, reference, values, library):
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    y = reference(x)
    (y * y).sum().backward() if y.dim() else y.backward()
    found = library.leaf(values)
    z = function(found)
    (F.sum(z * z) if z.ndim else z).backward()
    same(library.host(z), y.detach().numpy())
    if np.isfinite(values).all():
        same(library.host(found.grad), x.grad.numpy())


def test_the_logarithm_of_no_exponentials(library):
    nothing = [-INFINITY, -INFINITY]
    same(slope(library, F.logsumexp, nothing)[0], -INFINITY)
    same(slope(library, F.logsumexp, nothing)[1], [0, 0])
    assert slope(library, F.logsumexp, [])[0] == -INFINITY
    assert slope(library, lambda x: F.logsumexp(x, axis=1), np.zeros((2, 0)))[0] == [-INFINITY, -INFINITY]
    # One infinite term outweighs all others.
    value, gradient = slope(library, F.logsumexp, [INFINITY, 1.0])
    assert value == INFINITY and gradient[1] == 0.0


def test_an_infinite_gradient_stays_out_where_relu_is_off(library):
    _, gradient = slope(library, lambda x: F.sqrt(F.relu(x)), [-1.0, 4.0])
    assert gradient == [0.0, 0.25]
    _, gradient = slope(library, lambda x: F.where(x > 0, x, 0.0) * INFINITY, [-1.0, 4.0])
    assert gradient == [0.0, INFINITY]


def test_ties_share_the_gradient(library):
    assert slope(library, F.max, [3.0, 1.0, 3.0])[1] == [0.5, 0.0, 0.5]
    assert slope(library, F.min, [[2.0, 2.0], [2.0, 2.0]])[1] == [[0.25, 0.25], [0.25, 0.25]]
    x, y = library.leaf([1.0, 2.0]), library.leaf([1.0, 1.0])
    by_x, by_y = grad(F.sum(F.maximum(x, y)), [x, y])
    assert library.host(by_x).tolist() == [0.5, 1.0] and library.host(by_y).tolist() == [0.5, 0.0]


def test_nans_come_through(library):
    for function in (F.sum, F.mean, F.max, F.min, F.prod, F.logsumexp, F.var, lambda x: F.cumsum(x, 0)[-1]):
        assert np.isnan(slope(library, function, [1.0, NAN, 2.0])[0])
    assert np.isnan(slope(library, lambda x: x @ x, [1.0, NAN])[0])
    assert np.isnan(slope(library, lambda x: F.maximum(x, 0.0), [NAN])[0]).all()


def test_products_with_zeros(library):
    assert slope(library, F.prod, [2.0, 0.0, 3.0]) == (0.0, [0.0, 6.0, 0.0])
    assert slope(library, F.prod, [0.0, 0.0, 3.0]) == (0.0, [0.0, 0.0, 0.0])
    assert slope(library, F.prod, [0.0]) == (0.0, [1.0])
    x = library.leaf([0.0, 0.0, 3.0])
    first = grad(F.prod(x), x, create_graph=True)
    assert library.host(grad(first[0], x)).tolist() == [0.0, 3.0, 0.0]


EMPTY = {
    "sum": (F.sum, (0,), ()),
    "sum over an axis": (lambda x: F.sum(x, axis=0), (0, 3), (3,)),
    "product": (F.prod, (0,), ()),
    "product over an axis": (lambda x: F.prod(x, axis=1), (2, 0), (2,)),
    "exp": (F.exp, (0, 2), (0, 2)),
    "matmul, inner 0": (lambda x: x.T @ x, (0, 3), (3, 3)),
    "matmul, outer 0": (lambda x: x @ x.T, (0, 3), (0, 0)),
    "einsum": (lambda x: F.einsum("ij,ik->jk", x, x), (0, 2), (2, 2)),
    "linear": (lambda x: F.linear(x, x), (0, 2), (0, 0)),
    "concat with empty": (lambda x: F.concat([x[:0], x, x[2:]]), (2, 2), (2, 2)),
    "stack": (lambda x: F.stack([x, x]), (0, 2), (2, 0, 2)),
    "index to nothing": (lambda x: x[2:], (2, 2), (0, 2)),
    "mask of nothing": (lambda x: x[x > 100.0], (2, 2), (0,)),
    "max over another axis": (lambda x: F.max(x, axis=1), (0, 3), (0,)),
    "mean over another axis": (lambda x: F.mean(x, axis=1), (0, 3), (0,)),
    "cumsum": (lambda x: F.cumsum(x, 0), (0, 3), (0, 3)),
    "flip": (F.flip, (0, 3), (0, 3)),
    "pad": (lambda x: F.pad(x, 1), (0, 1), (2, 3)),
    "reshape": (lambda x: x.reshape(3, 0), (0, 3), (3, 0)),
    "reshape with -1": (lambda x: x.reshape(-1, 3), (0, 3), (0, 3)),
    "broadcast": (lambda x: F.broadcast_to(x, (0, 3)), (1, 3), (0, 3)),
    "where": (lambda x: F.where(x > 0, x, 0.0), (0, 3), (0, 3)),
    "softmax": (F.softmax, (0, 3), (0, 3)),
    "comparison": (lambda x: x * F.where(x > 1, x, 1.0), (0,), (0,)),
}


@pytest.mark.parametrize("case", EMPTY)
def test_empty_arrays(case, library):
    function, before, after = EMPTY[case]
    x = library.leaf(np.ones(before))
    y = function(x)
    assert y.shape == after and type(y.data) is library.array_type
    first = grad(F.sum(y * y), x, create_graph=True)
    assert first.shape == before
    F.sum(first * first).backward()
    assert tuple(x.grad.shape) == before


def test_products_over_nothing_are_zeros(library):
    found, _ = slope(library, lambda x: x.T @ x, np.ones((0, 2)))
    assert found == [[0.0, 0.0], [0.0, 0.0]]
    assert slope(library, F.sum, [])[0] == 0.0 and slope(library, F.prod, [])[0] == 1.0


def test_no_axes_to_reduce_change_nothing(library):
    values = [[1.0, -2.0], [3.0, 4.0]]
    for function in (F.sum, F.mean, F.max, F.min, F.prod, F.logsumexp):
        found, gradient = slope(library, lambda x, f=function: f(x, axis=()), values)
        same(found, values)
        assert gradient == [[1.0, 1.0], [1.0, 1.0]]
    assert slope(library, lambda x: F.var(x, axis=()), values)[0] == [[0.0, 0.0], [0.0, 0.0]]
    assert slope(library, lambda x: F.flip(x, axis=()), values)[0] == values


def test_arrays_without_axes(library):
    for function in (
        F.sum, F.mean, F.max, F.prod, F.logsumexp, F.flip, F.transpose, F.exp, F.relu, lambda x: F.pad(x, 1),
        lambda x: x[()], lambda x: x[...], lambda x: x[None][0], lambda x: x.reshape(1)[0],
        lambda x: F.where(x > 0, x, 1.0), lambda x: F.broadcast_to(x, ()), lambda x: F.stack([x])[0],
        lambda x: F.clip(x, 0.0, 9.0), lambda x: F.einsum("->", x), lambda x: F.einsum(",->", x, x),
    ):  # fmt: skip
        x = library.leaf(2.0)
        y = function(x)
        assert y.shape == () and type(y.data) is library.array_type
        y.backward()
        assert tuple(x.grad.shape) == () and type(x.grad) is library.array_type


def test_numbers_too_large_for_an_index_or_an_element(library):
    x = library.leaf([1.0, 2.0], "float32")
    assert library.host(x * 10.0**30).tolist() == [np.float32(1e30), np.float32(2e30)]
    assert library.host(x * 1e60 * 0.0)[0] != 1.0
    assert library.host(x * 2**40).tolist() == [2.0**40, 2.0**41]


def test_numpy_warns_where_it_divides_and_nowhere_else():
    """A rule must not compute what its own result throws away."""
    from toolkit.autograd import Variable

    with np.errstate(divide="warn", over="warn", invalid="warn"), warnings.catch_warnings():
        warnings.simplefilter("error")
        for function, values in (
            (lambda x: x**2, [0.0, -1.0]),
            (lambda x: x**x, [0.0, 1.0]),
            (lambda x: 0**x, [0.0, 1.0]),
            (lambda x: x**0, [0.0, 1.0]),
            (F.relu, [-INFINITY, INFINITY]),
            (F.sigmoid, [-1000.0, 1000.0]),
            (F.softplus, [-1000.0, 1000.0]),
            (F.logsumexp, [-INFINITY, -INFINITY]),
            (F.logsumexp, [-1000.0, 1000.0]),
            (F.softmax, [-1000.0, 1000.0]),
            (F.prod, [0.0, 1.0]),
            (lambda x: F.where(x > 0, x, 1.0), [-INFINITY, 1.0]),
            (F.tanh, [-INFINITY, 1000.0]),
        ):
            x = Variable(np.asarray(values), requires_grad=True)
            first = grad(F.sum(function(x)), x, create_graph=True)
            if first.requires_grad and np.isfinite(values).all():
                grad(F.sum(first), x, allow_unused=True)

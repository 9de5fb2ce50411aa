"""Cases at the edges of the tape that once gave a wrong number or a wrong complaint."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from toolkit.autograd import (
    Variable,
    checkpoint,
    grad,
    gradcheck,
    hessian,
    hvp,
    jacobian,
    no_grad,
    using_config,
    vjp,
)
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


@pytest.mark.parametrize("factors", [[1e-200, 1e-200], [1e-160, 1e-160, 1.0], [1e200, 1e200, 1e-200], [2.0, 0.0, 3.0]])
def test_derivatives_of_a_product_that_leaves_the_range(factors, library):
    x = library.leaf(factors)
    with np.errstate(over="ignore"):
        (slope,) = grad(F.prod(x), [x])
    expected = [np.prod(np.delete(factors, k), dtype=np.longdouble) for k in range(len(factors))]
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(library.host(slope), np.array(expected, dtype=np.float64), rtol=1e-14)


def test_a_zero_among_many_factors_takes_memory_in_proportion():
    factors = np.full(200_000, 1.0)
    factors[3] = 0.0
    x = Variable(factors, requires_grad=True)
    F.prod(x).backward()
    np.testing.assert_array_equal(x.grad, np.arange(200_000) == 3)
    few = np.linspace(0.5, 1.5, 64)
    few[5] = few[40] = 0.0
    found = hessian(F.prod, few).numpy()
    expected = np.zeros((64, 64))
    expected[5, 40] = expected[40, 5] = np.prod(np.delete(few, [5, 40]))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_mean_in_half_precision_does_not_overflow(dtype):
    data = torch.full((70_000,), 2.0, dtype=getattr(torch, dtype))
    for array in (data, data.numpy()) if dtype == "float16" else (data,):
        x = Variable(array, requires_grad=True)
        y = F.mean(x)
        y.backward()
        assert y.dtype == array.dtype and y.item() == 2.0
        assert x.grad.dtype == array.dtype and float(x.grad[0]) == pytest.approx(1 / 70_000, rel=5e-3)
        assert F.var(x).item() == 0.0
        outlier = Variable(array[:1000] * 0.0, requires_grad=True)
        outlier.data[0] = 300.0
        spread = F.var(outlier)
        spread.backward()
        assert spread.dtype == array.dtype and spread.item() == pytest.approx(0.999 * 90.0, rel=1e-2)
        assert float(outlier.grad[0]) == pytest.approx(2 * 299.7 / 1000, rel=1e-2)


def test_half_precision_convolution_whose_windows_all_miss_the_image():
    """torch 2.13's own kernel for it ends the process on a CPU."""
    x = Variable(torch.ones(2, 2, 2, 1, dtype=torch.float16), requires_grad=True)
    weight = Variable(torch.ones(2, 1, 2, 1, dtype=torch.float16), requires_grad=True)
    bias = Variable(torch.full((2,), 0.5, dtype=torch.float16), requires_grad=True)
    y = F.conv2d(x, weight, bias, (1, 2), (0, 1), (1, 2), groups=2)
    F.sum(y).backward()
    assert y.dtype is torch.float16 and torch.equal(y.data, torch.full((2, 2, 1, 2), 0.5, dtype=torch.float16))
    assert not x.grad.any() and not weight.grad.any() and torch.equal(bias.grad, torch.full_like(bias.data, 4.0))


def _replace(variable):
    variable.data = variable.data * 2.0


def _write(variable):
    variable.data += 1.0


@pytest.mark.parametrize("change", [_replace, _write])
def test_a_checkpoint_notices_that_a_variable_it_only_reads_was_changed(change, library):
    """Its function would compute something else the second time, and the gradients would be of that."""
    with using_config(debug=library.name == "numpy"):
        x, weight = library.leaf([1.0, 2.0]), library.leaf([3.0, 4.0], name="weight")
        y = checkpoint(lambda v: v * weight * weight, x)
        kept = weight.data
        change(weight)
        if library.name == "array_api_strict" and weight.data is kept:
            return  # written to where nothing counts writes and nothing is compared
        with pytest.raises(RuntimeError, match=r"checkpoint: a Variable that the function reads \(weight\)"):
            F.sum(y).backward()
    assert weight.grad is None
    (slope,) = grad(F.sum(checkpoint(lambda v: v * weight * weight, x)), [weight])
    np.testing.assert_array_equal(library.host(slope), library.host(x.data * weight.data * 2.0))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("...i,...i->...", [(2, 3), (1, 3)]),
        ("...i,...i->...", [(4, 1, 3), (5, 3)]),
        ("ij,ij->i", [(1, 3), (2, 1)]),
        ("ij,jk", [(2, 1), (3, 2)]),
        ("i,i->i", [(1,), (0,)]),
        ("...,...->...", [(), (2, 2)]),
    ],
)
def test_einsum_repeats_axes_of_length_one(subscripts, shapes, library):
    rng = np.random.default_rng(0)
    hosts = [np.asarray(rng.normal(size=shape)) for shape in shapes]
    leaves = [library.leaf(host) for host in hosts]
    found = F.einsum(subscripts, *leaves)
    tensors = [torch.from_numpy(host.copy()).requires_grad_() for host in hosts]
    expected = torch.einsum(subscripts, *tensors)
    np.testing.assert_allclose(library.host(found), expected.detach().numpy(), rtol=1e-13)
    slopes = grad(F.sum(found * found), leaves)
    references = torch.autograd.grad((expected * expected).sum(), tensors)
    for slope, reference in zip(slopes, references, strict=True):
        np.testing.assert_allclose(library.host(slope), reference.numpy(), rtol=1e-12)


WRONG_CALLS = {
    "F.softplus(x, '1')": "softplus beta",
    "F.var(x, correction='1')": "var correction",
    "F.transpose(x, 1)": "transpose axes",
    "F.transpose(x, 'ab')": "transpose axes",
    "F.transpose(x, (0.0, 1.0))": "transpose axes",
    "F.pad(x, 1.5)": "pad widths",
    "F.pad(x, 'a')": "pad widths",
    "F.pad(x, (1, 1))": "pad widths",
    "F.einsum(3, x)": "einsum subscripts",
    "F.einsum('...i...', x)": "einsum subscripts",
    "F.einsum('ij->j->i', x)": "einsum subscripts",
    "F.einsum('i1', x)": "einsum subscripts",
    "F.einsum('ij,ij', x, np.ones((2, 2)))": "einsum operands[1]",
    "grad(3.0, x)": "grad outputs",
    "grad(np.ones(()), x)": "grad outputs",
    "grad(F.sum(x), None)": "grad inputs",
    "grad(F.sum(x), (x, 1))": "grad inputs[1]",
    "graph(3)": "graph outputs",
    "graph(np.ones(3))": "graph outputs",
    "gradcheck(F.exp, np.ones(2))": "gradcheck inputs",
}
PROGRAM = """
import numpy as np
from toolkit.autograd import Variable, functions as F, grad, gradcheck, graph
x = Variable(np.ones((2, 3)), requires_grad=True)
for call in CALLS:
    try:
        print(call(), "raised nothing")
    except (TypeError, ValueError) as error:
        text = str(error)
        first, expected, actual = text.split("\\n")
        assert expected.startswith("  expected: ") and actual.startswith("  actual: "), text
        print(first.replace(": bad argument '", " ").rstrip("'"))
"""


def test_wrong_calls_name_operation_argument_expectation_and_what_came():
    """As a user meets them: without the check of types that the other tests run under."""
    calls = "\n".join(f"CALLS.append(lambda: {call})" for call in WRONG_CALLS)
    program = PROGRAM.replace("for call in CALLS:", f"CALLS = []\n{calls}\nfor call in CALLS:")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == list(WRONG_CALLS.values())


def test_gradients_by_any_iterable_of_variables():
    parameters = {"a": Variable(np.ones(2), requires_grad=True), "b": Variable(np.ones(2), requires_grad=True)}
    slopes = grad(F.sum(parameters["a"] * 2.0 + parameters["b"]), parameters.values())
    np.testing.assert_array_equal([slope.numpy() for slope in slopes], [[2.0, 2.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        ((1, 3), (None, np.array([[-1, 0]]), ..., np.array([False, True, False]))),
        ((4, 2, 1), (None, np.array([-1, -4]), ..., [1, -1], -1)),
        ((2, 2, 4), (slice(None), [[0], [1]], ..., np.array([[1, 2, 3]]))),
        ((3, 2), ([0, 2], ..., np.array([1, 0]), None)),
    ],
)
def test_an_ellipsis_for_no_axis_keeps_index_arrays_apart(shape, index, library):
    host = np.arange(float(np.prod(shape))).reshape(shape)
    x = library.leaf(host)
    picked = x[index]
    expected = host[index]
    assert picked.shape == expected.shape
    np.testing.assert_array_equal(library.host(picked), expected)
    weights = np.random.default_rng(0).normal(size=expected.shape)
    (slope,) = grad(picked, [x], library.array(weights))
    reference = np.zeros(shape)
    np.add.at(reference, index, weights)
    np.testing.assert_allclose(library.host(slope), reference)


def test_the_slope_of_a_variance_does_not_lose_small_deviations_beside_large_ones(library):
    """The mean's own share of it is zero, and must not come back as the rounding of large numbers."""
    x = library.leaf([1e30, -1e30, 1.0])
    (slope,) = grad(F.var(x), [x])
    np.testing.assert_allclose(library.host(slope), [2e30 / 3, -2e30 / 3, 4 / 9], rtol=1e-14)
    with pytest.raises(TypeError, match="var: bad argument 'x'"):
        F.var(library.array(np.arange(3)))

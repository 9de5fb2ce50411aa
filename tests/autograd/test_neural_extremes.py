"""The neural functions at the edges of number formats and of memory layouts."""

import warnings

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F

DTYPES = [
    ("torch", "float16"), ("torch", "bfloat16"), ("torch", "float32"), ("torch", "float64"),
    ("numpy", "float16"), ("numpy", "float32"), ("numpy", "float64"), ("array_api_strict", "float32"),
]  # fmt: skip


def leaf(libraries, name: str, dtype: str, host: np.ndarray) -> Variable:
    if name == "torch":
        return Variable(torch.from_numpy(host).to(getattr(torch, dtype)), requires_grad=True)
    return libraries[name].leaf(host, dtype=dtype)


CALLS = {
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, padding=1), [(2, 3, 5, 5), (4, 3, 3, 3), (4,)]),
    "conv2d without bias": (lambda x, w: F.conv2d(x, w, stride=2), [(2, 2, 5, 5), (4, 2, 3, 3)]),
    "max_pool2d": (lambda x: F.max_pool2d(x, 2), [(2, 3, 4, 4)]),
    "large max_pool2d": (lambda x: F.max_pool2d(x, 2), [(8, 4, 24, 24)]),
    "overlapping max_pool2d": (lambda x: F.max_pool2d(x, 3, 1, 1), [(2, 3, 4, 4)]),
    "average_pool2d": (lambda x: F.average_pool2d(x, 3, 2, 1, count_include_padding=False), [(2, 3, 4, 4)]),
    "softmax": (F.softmax, [(3, 4)]),
    "log_softmax": (F.log_softmax, [(3, 4)]),
    "cross_entropy": (lambda x: F.cross_entropy(x, [0, 3, 1]), [(3, 4)]),
    "cross_entropy of each": (lambda x: F.cross_entropy(x, [0, 3, 1], reduction="none"), [(3, 4)]),
    "mse": (F.mse, [(3, 4), (3, 4)]),
    "batch_normalization": (F.batch_normalization, [(4, 3), (3,), (3,)]),
    "batch_normalization of images": (F.batch_normalization, [(2, 3, 2, 3), (3,), (3,)]),
    "layer_normalization": (F.layer_normalization, [(4, 3), (3,), (3,)]),
    "embedding": (lambda w: F.embedding([0, 1, 1], w), [(3, 4)]),
    "dropout": (lambda x: F.dropout(x, 0.5, generator=torch.Generator().manual_seed(0)), [(3, 4)]),
}


def weighted(values, rng: np.random.Generator) -> Variable:
    """Return the sum of all elements, each times a random number."""
    total = 0.0
    for value in values:
        backend, data = value.backend, value.data
        weights = backend.astype(backend.from_numpy(np.asarray(rng.normal(size=value.shape)), data), data)
        total = F.sum(value * weights) + total
    return total


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize(("name", "dtype"), DTYPES)
def test_the_dtype_stays(case, name, dtype, libraries):
    function, shapes = CALLS[case]
    rng = np.random.default_rng(0)
    hosts = [rng.normal(size=shape) for shape in shapes]
    leaves = [leaf(libraries, name, dtype, host) for host in hosts]
    exact = [libraries["torch"].leaf(np.asarray(variable.numpy(), dtype="float64")) for variable in leaves]
    tolerance = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-4, "float64": 1e-12}[dtype]
    results = []
    for variables in (leaves, exact):
        rng = np.random.default_rng(1)
        y = function(*variables)
        gradients = grad(weighted([y], rng), variables, create_graph=True)
        product = weighted(gradients, rng)
        twice = grad(product, variables, allow_unused=True) if product.requires_grad else [v * 0.0 for v in variables]
        results.append((y, *gradients, *(v * 0.0 if g is None else g for g, v in zip(twice, variables, strict=True))))
    for result, expected, variable in zip(*results, [None, *leaves, *leaves], strict=True):
        assert result.dtype == leaves[0].dtype
        assert variable is None or result.shape == variable.shape
        scale = max(1.0, float(np.abs(expected.numpy()).max()))
        np.testing.assert_allclose(np.asarray(result.numpy(), float) / scale, expected.numpy() / scale, atol=tolerance)


@pytest.mark.parametrize("name", ["numpy", "torch", "array_api_strict"])
def test_logits_that_overflow_the_exponential(name, libraries):
    library = libraries[name]
    logits = np.asarray([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [3e38, 0.0, 1.0], [1e-45, 0.0, -3e38]])
    x = leaf(libraries, name, "float32", logits)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = F.cross_entropy(x, [0, 1, 0, 1], reduction="none")
        F.sum(loss).backward()
        second = grad(F.sum(F.softmax(x) * F.log_softmax(x)), x, create_graph=True)
        third = grad(F.sum(second * second), x)
    np.testing.assert_allclose(library.host(loss), [0.0, np.log(3), 0.0, np.log(2)], rtol=1e-6)
    tensor = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    torch.nn.functional.cross_entropy(tensor, torch.tensor([0, 1, 0, 1]), reduction="sum").backward()
    np.testing.assert_allclose(library.host(x.grad), tensor.grad.numpy(), atol=1e-6)
    assert np.isfinite(library.host(second)).all() and np.isfinite(library.host(third)).all()


def test_the_loss_of_an_unlikely_class_is_not_rounded_to_infinity(library):
    x = library.leaf([[0.0, 1e4]])
    assert F.cross_entropy(x, [0]).item() == 1e4
    assert library.host(F.log_softmax(x))[0, 0] == -1e4
    assert library.host(F.softmax(x)).tolist() == [[0.0, 1.0]]


def test_logits_of_minus_infinity_are_classes_that_cannot_be(library):
    host = np.asarray([[0.0, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]])
    x = library.leaf(host)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = F.cross_entropy(x, [2, 1], reduction="none")
        gradient = grad(F.sum(losses), x, create_graph=True)
        second = grad(F.sum(gradient * library.constant([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])), x)
        probabilities = F.softmax(x)
        impossible = F.cross_entropy(library.leaf(host), [1, 1], reduction="none")
    np.testing.assert_allclose(library.host(losses), [np.log1p(np.exp(-1)), 0.0])
    np.testing.assert_array_equal(library.host(probabilities) == 0, host == -np.inf)
    assert np.isfinite(library.host(gradient)).all() and np.isfinite(library.host(second)).all()
    assert library.host(impossible)[0] == np.inf


@pytest.mark.parametrize("host", [[[-np.inf, -np.inf]], [[np.inf, 0.0]], [[np.nan, 0.0]]])
def test_rows_without_a_softmax_are_nan_without_a_warning(host, library):
    x = library.leaf(host)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for function in (F.softmax, F.log_softmax):
            np.testing.assert_array_equal(
                library.host(function(x)), getattr(torch, function.__name__)(torch.tensor(host), -1).numpy()
            )


def test_normalization_of_constants_is_the_shift(library):
    x, gamma, beta = library.leaf(np.full((4, 3), 1e6)), library.leaf(np.ones(3)), library.leaf([1.0, 2.0, 3.0])
    for function in (F.batch_normalization, F.layer_normalization):
        y = function(x, gamma, beta)
        np.testing.assert_allclose(library.host(y), np.broadcast_to([1.0, 2.0, 3.0], (4, 3)), atol=1e-7)
        assert np.isfinite(library.host(grad(F.sum(y * y), x))).all()


def test_normalization_of_values_far_from_zero(library):
    """The variance is taken after the mean is: 1e6 away from 0 nothing of a spread of 1e-2 may be lost."""
    host = 1e6 + 1e-2 * np.random.default_rng(0).normal(size=(50, 2))
    expected = (host - host.mean(0)) / np.sqrt(host.var(0) + 1e-12)
    y = F.batch_normalization(library.constant(host), eps=1e-12)
    np.testing.assert_allclose(library.host(y), expected, rtol=1e-5, atol=1e-5)


def test_gradients_of_infinity_stay_where_they_belong(library):
    x = library.leaf([[[[1.0, 2.0], [3.0, 4.0]]]])
    for function in (lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 2, 1, 1)[:, :, 2:, 2:]):
        gradient = grad(function(x), x, library.array(np.full((1, 1, 1, 1), np.inf)))
        np.testing.assert_array_equal(library.host(gradient), [[[[0.0, 0.0], [0.0, np.inf]]]])


def test_dropout_drops_infinity_too(library):
    y = F.dropout(library.leaf(np.full(100, np.inf)), 0.5, generator=torch.Generator().manual_seed(1))
    assert set(library.host(y).tolist()) == {0.0, np.inf}


LAYOUTS = {
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2) if x.ndim > 1 else x,
    "reversed axes": lambda x: np.asfortranarray(x),
    "every second": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "channels last": lambda x: np.ascontiguousarray(np.moveaxis(x, 1, -1)).swapaxes(-1, 1).swapaxes(-1, 2)
    if x.ndim == 4 else x,
    "part of a larger array": lambda x: np.pad(x, [(1, 1)] * x.ndim)[(slice(1, -1),) * x.ndim],
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_memory_layouts(layout, case, name, libraries):
    """In one of the arguments, the seed of the backward pass, or all: kernels take short cuts for each."""
    function, shapes = CALLS[case]
    change = LAYOUTS[layout]
    rng = np.random.default_rng(1)
    hosts = [rng.normal(size=shape) for shape in shapes]

    def run(laid: set[int]) -> list[np.ndarray]:
        arrays = [change(host) if position in laid else host for position, host in enumerate(hosts)]
        for host, array in zip(hosts, arrays, strict=True):
            np.testing.assert_array_equal(host, array)
        leaves = [Variable(torch.from_numpy(a) if name == "torch" else a, requires_grad=True) for a in arrays]
        y = function(*leaves)
        seed = np.asarray(np.random.default_rng(2).normal(size=y.shape))
        seed = change(seed) if -1 in laid and seed.ndim else seed
        y.backward(torch.from_numpy(seed) if name == "torch" else seed)
        return [y.numpy(), *(np.asarray(variable.grad) for variable in leaves)]

    everything = {-1, *range(len(hosts))}
    plain = run(set())
    for laid in (*({position} for position in everything), everything):
        for found, expected in zip(run(laid), plain, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=f"{laid}")


def test_repeated_and_negative_strides():
    x = np.broadcast_to(np.arange(25.0).reshape(5, 5), (2, 3, 5, 5))
    w = np.random.default_rng(0).normal(size=(2, 3, 3, 3))[:, :, ::-1, ::-1]
    y = F.conv2d(x, w, padding=1)
    expected = torch.conv2d(torch.from_numpy(x.copy()), torch.from_numpy(w.copy()), padding=1)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=1e-12)
    flipped = F.max_pool2d(x[:, :, ::-1, ::-1], 2)
    np.testing.assert_array_equal(flipped.numpy(), torch.max_pool2d(torch.from_numpy(x[:, :, ::-1, ::-1].copy()), 2))


def test_a_gradient_without_memory_of_its_own(library):
    """The gradient of a sum is one number repeated by strides of 0."""
    x, w = library.leaf(np.ones((2, 2, 4, 4))), library.leaf(np.ones((3, 2, 3, 3)))
    F.sum(F.max_pool2d(F.conv2d(x, w, padding=1), 2)).backward()
    F.sum(F.average_pool2d(x, 2)).backward()
    assert library.host(w.grad).shape == (3, 2, 3, 3) and np.isfinite(library.host(w.grad)).all()

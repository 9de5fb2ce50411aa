"""Every neural function against torch's own, value, gradient and gradient of the gradient, on every array library."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as torch_functions

from toolkit.autograd import functions as F
from toolkit.autograd import grad, using_config

TOLERANCE = 1e-10


def assert_as_torch(ours: Callable, theirs: Callable, library: Any, *hosts: np.ndarray, second: bool = True) -> None:
    """Compare two functions of the same arrays, their gradients and the gradients of these, for random weights."""
    rng = np.random.default_rng(5)
    variables = [library.leaf(host) for host in hosts]
    tensors = [torch.from_numpy(host.copy()).requires_grad_() for host in hosts]
    output, expected = ours(*variables), theirs(*tensors)
    close(library, output, expected)
    weight = rng.normal(size=tuple(expected.shape))
    found = grad(output, variables, library.array(weight), create_graph=second)
    wanted = torch.autograd.grad(expected, tensors, torch.from_numpy(weight), create_graph=second)
    for variable, tensor in zip(found, wanted, strict=True):
        close(library, variable, tensor)
    if not second:
        return
    weights = [rng.normal(size=host.shape) for host in hosts]
    total: Any = 0.0
    reference: Any = 0.0
    for variable, tensor, w in zip(found, wanted, weights, strict=True):
        total = total + F.sum(variable * library.constant(w))
        reference = reference + (tensor * torch.from_numpy(w)).sum()
    if not reference.requires_grad:
        return
    twice = torch.autograd.grad(reference, tensors, allow_unused=True)
    ours_twice = grad(total, variables, allow_unused=True) if total.requires_grad else [None] * len(variables)
    for variable, tensor, host in zip(ours_twice, twice, hosts, strict=True):
        tensor = torch.zeros(host.shape, dtype=torch.float64) if tensor is None else tensor
        close(library, library.constant(np.zeros(host.shape)) if variable is None else variable, tensor)


def close(library: Any, variable: Any, tensor: torch.Tensor) -> None:
    expected = tensor.detach().numpy()
    assert variable.shape == expected.shape
    np.testing.assert_allclose(library.host(variable), expected, rtol=TOLERANCE, atol=TOLERANCE)


# ---------------------------------------------------------------------------------------------------------------------
# Convolution


def random_convolutions(number: int) -> list[tuple]:
    """Draw geometries: strides that do not divide, dilation, wide borders, groups, kernels of one element."""
    rng = np.random.default_rng(3)
    cases = []
    while len(cases) < number:
        groups = int(rng.integers(1, 4))
        inputs, outputs = groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4))
        window, stride, padding, dilation = (
            tuple(int(n) for n in rng.integers(low, high, size=2)) for low, high in ((1, 4), (1, 4), (0, 5), (1, 4))
        )
        lengths = tuple(int(n) for n in rng.integers(1, 9, size=2))
        extents = [n + 2 * p - d * (k - 1) for n, p, d, k in zip(lengths, padding, dilation, window, strict=True)]
        if min(extents) >= 1:
            samples = int(rng.integers(0, 4))
            cases.append((samples, inputs, outputs, lengths, window, stride, padding, dilation, groups))
    return cases


@pytest.mark.parametrize("case", random_convolutions(30), ids=str)
def test_convolutions(case, library):
    samples, inputs, outputs, lengths, window, stride, padding, dilation, groups = case
    rng = np.random.default_rng(1)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    assert_as_torch(
        lambda x, w, b: F.conv2d(x, w, b, **options),
        lambda x, w, b: torch_functions.conv2d(x, w, b, **options),
        library,
        rng.normal(size=(samples, inputs, *lengths)),
        rng.normal(size=(outputs, inputs // groups, *window)),
        rng.normal(size=outputs),
    )


@pytest.mark.parametrize(
    ("x", "weight", "options"),
    [
        ((5, 3, 12, 12), (4, 3, 5, 5), {}),
        ((3, 6, 9, 9), (4, 3, 3, 3), {"padding": 1, "groups": 2}),
        ((2, 8, 6, 6), (2, 8, 3, 3), {"padding": 2, "dilation": 2}),
        ((4, 16, 7, 7), (3, 16, 1, 1), {}),
        ((2, 3, 7, 7), (3, 1, 3, 3), {"padding": 1, "groups": 3, "stride": 2}),
        ((3, 5, 6), (2, 3, 2, 2), {}),
    ],
)  # fmt: skip
def test_convolutions_of_layers(x, weight, options, library):
    rng = np.random.default_rng(2)
    if len(x) == 3:
        weight = (weight[0], x[0], *weight[2:])
    assert_as_torch(
        lambda x, w: F.conv2d(x, w, **options),
        lambda x, w: torch_functions.conv2d(x, w, **options),
        library,
        rng.normal(size=x),
        rng.normal(size=weight),
    )


def test_a_convolution_that_takes_many_blocks_of_samples(library):
    """NumPy unfolds half a megabyte at a time: here eleven samples in blocks of some, the last one smaller."""
    rng = np.random.default_rng(4)
    assert_as_torch(
        lambda x, w: F.conv2d(x, w, padding=1),
        lambda x, w: torch_functions.conv2d(x, w, padding=1),
        library,
        rng.normal(size=(11, 6, 16, 16)),
        rng.normal(size=(3, 6, 3, 3)),
        second=False,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Pooling


def random_poolings(number: int) -> list[tuple]:
    rng = np.random.default_rng(6)
    cases: list[tuple] = []
    while len(cases) < number:
        window, stride = (tuple(int(n) for n in rng.integers(1, 5, size=2)) for _ in range(2))
        padding = tuple(int(rng.integers(0, k // 2 + 1)) for k in window)
        lengths = tuple(int(n) for n in rng.integers(1, 10, size=2))
        if all(n + 2 * p >= k for n, p, k in zip(lengths, padding, window, strict=True)):
            cases.append((int(rng.integers(0, 3)), lengths, window, stride, padding))
    return cases


@pytest.mark.parametrize("case", random_poolings(15), ids=str)
def test_poolings(case, library):
    samples, lengths, window, stride, padding = case
    x = np.random.default_rng(7).normal(size=(samples, 2, *lengths))
    assert_as_torch(
        lambda x: F.max_pool2d(x, window, stride, padding),
        lambda x: torch_functions.max_pool2d(x, window, stride, padding),
        library,
        x,
    )
    for counted in (True, False):
        assert_as_torch(
            lambda x: F.average_pool2d(x, window, stride, padding, count_include_padding=counted),  # noqa: B023
            lambda x: torch_functions.avg_pool2d(x, window, stride, padding, count_include_pad=counted),  # noqa: B023
            library,
            x,
        )


@pytest.mark.parametrize(("window", "stride"), [(2, None), (3, 2), (2, 3)])
def test_large_poolings(window, stride, library):
    """On torch these are large enough for the path without branches."""
    x = np.maximum(np.random.default_rng(8).normal(size=(8, 8, 26, 27)), 0.0)
    assert_as_torch(
        lambda x: F.max_pool2d(x, window, stride),
        lambda x: torch_functions.max_pool2d(x, window, stride),
        library,
        x,
    )


def special(kind: str) -> np.ndarray:
    rng = np.random.default_rng(9)
    x = rng.integers(-2, 2, size=(6, 8, 20, 20)).astype(float)
    x[rng.random(x.shape) < 0.2] = {"ties": 1.0, "nan": np.nan, "-inf": -np.inf, "inf": np.inf}[kind]
    if kind == "-inf":
        x[:, :2] = -np.inf
    return x


@pytest.mark.parametrize("kind", ["ties", "nan", "-inf", "inf"])
@pytest.mark.parametrize(("window", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (4, 3, 2)])
def test_max_pooling_picks_the_element_torch_picks(kind, window, stride, padding, library):
    x = special(kind)
    variable, tensor = library.leaf(x), torch.from_numpy(x).requires_grad_()
    y = F.max_pool2d(variable, window, stride, padding)
    expected = torch_functions.max_pool2d(tensor, window, stride, padding)
    np.testing.assert_array_equal(library.host(y), expected.detach().numpy())
    seed = np.random.default_rng(1).normal(size=y.shape)
    y.backward(library.array(seed))
    expected.backward(torch.from_numpy(seed))
    np.testing.assert_allclose(library.host(variable.grad), tensor.grad.numpy(), rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Classification


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((3, 4), 1), ((3, 4), 0), ((2, 3, 4), 1), ((5,), 0), ((), 0), ((0, 3), 1), ((3, 0), 1), ((2, 1), 1)],
)  # fmt: skip
def test_softmax_and_its_logarithm(shape, axis, library):
    x = np.asarray(np.random.default_rng(1).normal(size=shape) * 3)
    assert_as_torch(lambda x: F.softmax(x, axis), lambda x: torch.softmax(x, axis), library, x)
    assert_as_torch(lambda x: F.log_softmax(x, axis), lambda x: torch.log_softmax(x, axis), library, x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4, 3), (1, 2), (2, 5, 3), (2, 3, 2, 4), (6,), (3, 1)])
def test_cross_entropy(shape, reduction, library):
    rng = np.random.default_rng(2)
    axis = min(1, len(shape) - 1)
    of_labels = (*shape[:axis], *shape[axis + 1 :])
    labels = np.asarray(rng.integers(shape[axis], size=of_labels))
    assert_as_torch(
        lambda x: F.cross_entropy(x, labels, reduction=reduction),
        lambda x: torch_functions.cross_entropy(x, torch.from_numpy(labels), reduction=reduction),
        library,
        rng.normal(size=shape) * 4,
    )
    assert_as_torch(
        lambda x, p: F.cross_entropy(x, p, reduction=reduction),
        lambda x, p: torch_functions.cross_entropy(x, p, reduction=reduction),
        library,
        rng.normal(size=shape),
        rng.random(size=shape),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(4, 3), (), (2, 3, 2)])
def test_mse(shape, reduction, library):
    rng = np.random.default_rng(3)
    assert_as_torch(
        lambda x, y: F.mse(x, y, reduction=reduction),
        lambda x, y: torch_functions.mse_loss(x, y, reduction=reduction),
        library,
        np.asarray(rng.normal(size=shape)),
        np.asarray(rng.normal(size=shape)),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Normalization and look-up


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (3, 2, 4, 4), (1, 2, 2, 2), (0, 3), (0, 2, 3, 3)])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_normalization_of_a_batch(shape, affine, library):
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=shape) * 2 + 1, *([rng.normal(size=shape[1]), rng.normal(size=shape[1])] * affine)]
    assert_as_torch(
        lambda x, *affine: F.batch_normalization(x, *affine, eps=1e-3),
        lambda x, gamma=None, beta=None: torch_functions.batch_norm(x, None, None, gamma, beta, True, 0.1, 1e-3),
        library,
        *arrays,
    )


@pytest.mark.parametrize("shape", [(4, 3), (1, 3), (2, 3, 5), (3, 2, 4, 4), (0, 3)])
def test_batch_normalization_with_running_statistics(shape, library):
    rng = np.random.default_rng(5)
    mean, variance = rng.normal(size=shape[1]), rng.uniform(0.5, 2.0, size=shape[1])

    def ours(x, gamma, beta):
        with using_config(train=False):
            return F.batch_normalization(x, gamma, beta, library.array(mean), library.array(variance))

    def theirs(x, gamma, beta):
        return torch_functions.batch_norm(x, torch.from_numpy(mean), torch.from_numpy(variance), gamma, beta, False)

    assert_as_torch(ours, theirs, library, rng.normal(size=shape), rng.normal(size=shape[1]), rng.normal(size=shape[1]))


@pytest.mark.parametrize(("shape", "n_axes"), [((4, 3), 1), ((2, 3, 5), 2), ((2, 3, 4), 3), ((6,), 1), ((0, 3), 1)])
@pytest.mark.parametrize("affine", ["scale and shift", "scale", "nothing"])
def test_layer_normalization(shape, n_axes, affine, library):
    rng = np.random.default_rng(6)
    own = shape[len(shape) - n_axes :]
    axis = tuple(range(-n_axes, 0))
    arrays = [rng.normal(size=shape) * 2 + 1]
    arrays += {"scale and shift": [rng.normal(size=own)] * 2, "scale": [rng.normal(size=own)], "nothing": []}[affine]
    assert_as_torch(
        lambda x, *affine: F.layer_normalization(x, *affine, axis=axis),
        lambda x, gamma=None, beta=None: torch_functions.layer_norm(x, own, gamma, beta),
        library,
        *arrays,
    )


@pytest.mark.parametrize("axis", [0, 1, (0, 2), (2, 0), -2])
def test_layer_normalization_of_other_axes(axis, library):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(3, 4, 5))
    axes = tuple(sorted(a % 3 for a in (axis if isinstance(axis, tuple) else (axis,))))
    gamma = rng.normal(size=tuple(x.shape[a] for a in axes))

    def theirs(x, gamma):
        mean = x.mean(axes, keepdim=True)
        spread = [n if k in axes else 1 for k, n in enumerate(x.shape)]
        return (x - mean) / (x.var(axes, correction=0, keepdim=True) + 1e-5).sqrt() * gamma.reshape(spread)

    assert_as_torch(lambda x, gamma: F.layer_normalization(x, gamma, axis=axis), theirs, library, x, gamma)


@pytest.mark.parametrize("ids", [[0, 2, 2, 4], [[1, 1], [1, 0]], 3, []])
def test_embedding(ids, library):
    ids = np.asarray(ids, dtype=np.int64)
    assert_as_torch(
        lambda w: F.embedding(ids, w),
        lambda w: torch_functions.embedding(torch.from_numpy(ids), w),
        library,
        np.random.default_rng(8).normal(size=(5, 3)),
    )


def test_many_ids_at_once(library):
    ids = np.random.default_rng(9).integers(40, size=(30, 50))
    assert_as_torch(
        lambda w: F.embedding(ids, w),
        lambda w: torch_functions.embedding(torch.from_numpy(ids), w),
        library,
        np.random.default_rng(10).normal(size=(40, 7)),
        second=False,
    )

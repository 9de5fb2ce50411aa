"""Where the elements lie in memory changes no number, and gradients are contiguous arrays of their own."""

from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F

BASE = np.random.default_rng(0).normal(size=(4, 6))


def read_only() -> np.ndarray:
    array = BASE.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "transposed": lambda: BASE.T.copy().T,
    "every other": lambda: np.repeat(np.repeat(BASE, 2, axis=0), 3, axis=1)[::2, ::3],
    "backwards": lambda: BASE[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran": lambda: np.asfortranarray(BASE),
    "expanded": lambda: np.broadcast_to(BASE[:1], (4, 6)),
    "expanded column": lambda: np.broadcast_to(BASE[:, :1], (4, 6)),
    "read-only": read_only,
    "big-endian": lambda: BASE.astype(">f8"),
    "offset": lambda: np.concatenate([np.zeros(1), BASE.reshape(-1)])[1:].reshape(4, 6),
}

EXPRESSIONS = {
    "arithmetic": lambda x: x * x / (x * x + 1.0) - F.tanh(x) * 3.0,
    "relu": F.relu,
    "matmul": lambda x: x @ x.T,
    "linear": lambda x: F.linear(x, x[:2], x[:2, 0]),
    "reductions": lambda x: F.sum(x * x, axis=0) + F.logsumexp(x, axis=0) + F.prod(x, axis=0) + F.var(x, 0),
    "extremes": lambda x: F.max(x, axis=1) + F.min(x, axis=1),
    "cumsum": lambda x: F.cumsum(x * x, 1),
    "shapes": lambda x: x.reshape(3, 8).T[1:-1] * 2.0,
    "indexing": lambda x: F.concat([x[::-1, 1::2], x[[0, 0, 3], 1:4] * x[1:2, 3:]]),
    "flip": lambda x: F.flip(x, 1) * x,
    "pad": lambda x: F.pad(x, ((1, 0), (0, 2))) ** 2,
    "stack": lambda x: F.stack([x, x.T.reshape(4, 6)], axis=1) ** 2,
    "einsum": lambda x: F.einsum("ij,kj->ik", x, x) + F.einsum("ii->", x[:, :4]),
    "softmax": lambda x: F.softmax(x, axis=0) * x,
    "conv2d": lambda x: F.conv2d(x.reshape(1, 2, 3, 4), x[:2, :4].reshape(2, 2, 1, 2)),
    "normalization": lambda x: F.batch_normalization(x, x[0], x[1]),
}


def results(function: Any, array: Any) -> list[Any]:
    """Return the value and its first and second derivatives at an array."""
    x = Variable(array, requires_grad=True)
    y = F.sum(function(x) * function(x))
    first = grad(y, x, create_graph=True)
    F.sum(first * first).backward()
    return [y.data, first.data, x.grad]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_numpy_arrays_of_every_layout(expression, layout):
    array = LAYOUTS[layout]()
    before = array.copy()
    found = results(EXPRESSIONS[expression], array)
    expected = results(EXPRESSIONS[expression], np.ascontiguousarray(array, dtype=np.float64))
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)
    assert found[2].flags.c_contiguous and found[2].flags.writeable and found[2].dtype == np.float64
    np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("backwards", "read-only", "big-endian")])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_torch_tensors_of_every_layout(expression, layout):
    host = LAYOUTS[layout]()
    tensor = torch.as_strided(torch.from_numpy(BASE.copy()), (4, 6), (6, 1))
    if layout.startswith("expanded"):
        tensor = tensor[:1].expand(4, 6) if layout == "expanded" else tensor[:, :1].expand(4, 6)
    elif layout in ("transposed", "Fortran"):
        tensor = tensor.T.contiguous().T
    elif layout == "every other":
        tensor = tensor.repeat_interleave(2, 0).repeat_interleave(3, 1)[::2, ::3]
    else:
        tensor = torch.cat([torch.zeros(1, dtype=torch.float64), tensor.reshape(-1)])[1:].view(4, 6)
    np.testing.assert_array_equal(tensor.numpy(), host)
    found = results(EXPRESSIONS[expression], tensor)
    expected = results(EXPRESSIONS[expression], np.ascontiguousarray(host))
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left.numpy(), right, rtol=1e-12, atol=1e-12)
    assert found[2].is_contiguous()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_numpy_array_becomes_a_torch_tensor(layout):
    array = LAYOUTS[layout]()
    tensor = Variable(array).torch()
    assert tensor.dtype == torch.float64
    np.testing.assert_array_equal(tensor.numpy(), array)
    tensor += 1  # whatever it shares, it is no read-only memory
    if layout == "read-only":
        np.testing.assert_array_equal(array, BASE)


def test_memory_is_shared_where_it_can_be():
    array = np.zeros(3)
    variable = Variable(array)
    array[0] = 1.0
    variable.torch()[1] = 2.0
    assert variable.data is array and variable.numpy() is array and array.tolist() == [1.0, 2.0, 0.0]
    tensor = torch.zeros(3)
    assert Variable(tensor).data is tensor and Variable(tensor).torch() is tensor
    assert np.shares_memory(Variable(tensor).numpy(), tensor.numpy())


def test_channels_last_images():
    image = torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = Variable(image.contiguous(memory_format=layout), requires_grad=True)
        w = Variable(weight.contiguous(memory_format=layout), requires_grad=True)
        F.sum(F.max_pool2d(F.relu(F.conv2d(x, w, padding=1)), 2) ** 2).backward()
        assert x.grad.is_contiguous() and w.grad.is_contiguous()
        gradients.append((x.grad, w.grad))
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)

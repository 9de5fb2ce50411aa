"""Portability: what runs on the functions of the array API standard alone, and the short list of what does not.

array-api-strict has nothing that the standard does not promise. What passes here will run on CuPy and its like.
"""

from collections.abc import Iterator
from typing import Any

import array_api_strict as strict
import numpy as np
import pytest

from toolkit.autograd import Variable, checkpoint, grad, hessian
from toolkit.autograd import functions as F
from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.backends.array_api import THROUGH_NUMPY, ArrayAPIBackend
from toolkit.autograd.registry import REGISTRY

# The functions that go through NumPy, and why: each reason is one of the operations that the backend lists.
EXCEPTIONS = {
    "einsum": "einsum",
    "embedding": "embedding_gradient",
    "erf": "erf",
    "gelu": "erf",
    "get_item": "get_item with index arrays",
}

array_type = type(strict.asarray(0.0))


class LeftTheStandard(Exception):
    """An array's elements were read by NumPy. (Constants may come from there: the standard reads buffers.)"""


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No array can leave the library."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise LeftTheStandard

    monkeypatch.setattr(ArrayAPIBackend, "to_numpy", refuse)
    monkeypatch.setattr(array_type, "__array__", refuse)
    monkeypatch.setattr(array_type, "__buffer__", refuse, raising=False)
    yield


def arguments(value: Any, leaves: list[Variable]) -> Any:
    """Replace arrays by the library's, and floating-point ones by Variables."""
    if isinstance(value, np.ndarray):
        variable = Variable(strict.asarray(value.copy()), requires_grad=value.dtype.kind == "f")
        if variable.requires_grad:
            leaves.append(variable)
        return variable if variable.requires_grad else variable.data
    if isinstance(value, tuple | list):
        return type(value)(arguments(part, leaves) for part in value)
    return {name: arguments(part, leaves) for name, part in value.items()} if isinstance(value, dict) else value


def calls(name: str) -> list[tuple[Any, tuple, dict, list[Variable]]]:
    """Return the samples of a function, their arrays made before the way from NumPy is closed."""
    entry = REGISTRY[name]
    found = []
    for sample in entry.samples(np.random.default_rng(0)):
        leaves: list[Variable] = []
        found.append((sample, arguments(sample.arguments, leaves), arguments(sample.keywords, leaves), leaves))
    return found


PREPARED = {name: calls(name) for name in sorted(REGISTRY)}


def leaves_the_standard(name: str) -> list[Any]:
    """Return the samples for which values, gradients or their gradients are computed elsewhere."""
    offenders = []
    for sample, positional, keywords, leaves in PREPARED[name]:
        try:
            output = REGISTRY[name](*positional, **keywords)
            first = grad(F.sum(output * output), leaves, create_graph=True, allow_unused=True)
            used = [F.sum(g * g) for g in first if g is not None and g.requires_grad]
            if used:
                grad(used, leaves, allow_unused=True)
        except (LeftTheStandard, ValueError) as error:
            if not isinstance(error, LeftTheStandard) and not isinstance(error.__cause__, LeftTheStandard):
                raise
            offenders.append(sample)
    return offenders


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_only_listed_functions_leave_the_standard(name, inside):
    assert bool(leaves_the_standard(name)) == (name in EXCEPTIONS)


def test_indices_leave_the_standard_only_for_arrays(inside):
    for sample in leaves_the_standard("get_item"):
        index = sample.arguments[1]
        parts = index if isinstance(index, tuple) else (index,)
        assert any(isinstance(part, np.ndarray | list) for part in parts)


def test_the_list_is_the_backends():
    assert set(EXCEPTIONS.values()) <= set(THROUGH_NUMPY)
    # Its gradient's gradient is the scattering of an index.
    assert set(THROUGH_NUMPY) - set(EXCEPTIONS.values()) == {"scatter_add with index arrays"}


def test_a_network_with_all_that_training_needs(inside):
    """Two steps of gradient descent through convolution, pooling, normalization and a checkpoint."""
    generator = np.random.default_rng(0)
    shapes = {"kernel": (4, 1, 3, 3), "gamma": (4,), "beta": (4,), "weight": (3, 16), "bias": (3,)}
    parameters = {name: ready(generator.normal(size=shape) * 0.3) for name, shape in shapes.items()}
    images, labels = strict.asarray(generator.normal(size=(5, 1, 6, 6)).tolist()), strict.asarray([0, 1, 2, 1, 0])

    def loss() -> Variable:
        h = F.conv2d(images, parameters["kernel"])
        h = F.relu(F.batch_normalization(h, parameters["gamma"], parameters["beta"]))
        h = checkpoint(lambda v: F.max_pool2d(v, 2), h).reshape(5, 16)
        return F.cross_entropy(F.linear(h, parameters["weight"], parameters["bias"]), labels)

    losses = []
    for _ in range(3):
        value = loss()
        value.backward()
        losses.append(value.data)
        for parameter in parameters.values():
            parameter.data = parameter.data - 0.1 * parameter.grad
            parameter.cleargrad()
    assert bool(losses[2] < losses[1]) and bool(losses[1] < losses[0])


def ready(values: np.ndarray) -> Variable:
    return Variable(strict.asarray(values.tolist()), requires_grad=True)


def test_hessians(inside):
    found = hessian(lambda x: F.logsumexp(x * x), strict.asarray([0.1, 0.2]))
    assert found.shape == (2, 2) and found.dtype == strict.float64


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - set(EXCEPTIONS)))
def test_no_shape_depends_on_data(name):
    """So that libraries that compile, whose shapes are known beforehand, could follow."""
    strict.set_array_api_strict_flags(data_dependent_shapes=False, boolean_indexing=False)
    try:
        for _, positional, keywords, leaves in PREPARED[name]:
            output = REGISTRY[name](*positional, **keywords)
            grad(F.sum(output), leaves, allow_unused=True)
    finally:
        strict.reset_array_api_strict_flags()


def test_results_stay_on_their_device():
    device = strict.Device("device1")
    x = Variable(strict.asarray([[0.5, -1.0], [2.0, 0.1]], device=device), requires_grad=True)
    for function in (
        F.exp, F.softmax, F.relu, lambda v: F.pad(v, 1), lambda v: F.where(v > 0, v, 0.0), F.prod, F.logsumexp,
        lambda v: F.maximum(v, 0.5), lambda v: v[::-1, None, 1:], lambda v: F.cumsum(v, 0), lambda v: F.dropout(v, 0.5),
        lambda v: F.conv2d(v.reshape(1, 1, 2, 2), v[None, None]), lambda v: F.max_pool2d(v[None, None], 2),
    ):  # fmt: skip
        y = function(x)
        assert y.device == device
        first = grad(F.sum(y * y), x, create_graph=True)
        assert first.device == device
        if first.requires_grad:
            assert grad(F.sum(first * first), x).device == device


def test_the_backend_says_what_it_is():
    backend = backend_of_type(array_type)
    assert isinstance(backend, ArrayAPIBackend) and "array_api_strict" in repr(backend)
    x = Variable(strict.ones((2, 3), dtype=strict.float32))
    assert (backend.bytes(x.data), backend.size(x.data)) == (24, 6)
    assert x.numpy().tolist() == x.torch().tolist() == [[1.0] * 3] * 2

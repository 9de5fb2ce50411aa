"""Operands of all pairs of shapes: results as NumPy has them, gradients of each operand's own shape."""

import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import functions as F
from toolkit.autograd import grad

SHAPES = [(), (1,), (4,), (3, 1), (1, 4), (3, 4), (2, 1, 4), (2, 3, 4), (0,), (0, 4), (3, 0)]
FUNCTIONS = {
    "add": (F.add, torch.add),
    "subtract": (F.subtract, torch.subtract),
    "multiply": (F.multiply, torch.multiply),
    "divide": (F.divide, torch.divide),
    "power": (F.power, torch.pow),
    "maximum": (F.maximum, torch.maximum),
    "minimum": (F.minimum, torch.minimum),
}


def fits(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


PAIRS = [pair for pair in itertools.product(SHAPES, repeat=2) if fits(*pair)]
MISFITS = [pair for pair in itertools.product(SHAPES, repeat=2) if not fits(*pair)]


def values(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [np.asarray(rng.uniform(0.5, 2.0, size=shape)) for shape in shapes]


def ours(library: Any, function: Any, hosts: list[np.ndarray], twice: bool = False) -> list[np.ndarray]:
    """Return the result and both gradients; if ``twice``, both gradients of a product of these too."""
    leaves = [library.leaf(host) for host in hosts]
    output = function(*leaves)
    first = grad(F.sum(output * output), leaves, create_graph=twice)
    second = grad(F.sum(first[0] * first[0]) + F.sum(first[1] * 3.0), leaves) if twice else ()
    return [library.host(value) for value in (output, *first, *second)]


@functools.cache
def reference_leaves(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.tensor(host, requires_grad=True) for host in values(*shapes)]


def theirs(function: Any, hosts: list[np.ndarray], twice: bool = False) -> list[np.ndarray]:
    leaves = reference_leaves(*(host.shape for host in hosts))
    output = function(*leaves)
    first = torch.autograd.grad((output * output).sum(), leaves, create_graph=twice)
    second = torch.autograd.grad((first[0] * first[0]).sum() + (first[1] * 3.0).sum(), leaves) if twice else ()
    return [value.detach().numpy() for value in (output, *first, *second)]


def test_the_list_of_pairs_is_what_numpy_accepts():
    assert len(PAIRS) == 91 and len(MISFITS) == 30


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_pairs_of_shapes(name, library):
    function, reference = FUNCTIONS[name]
    twice = name == "divide"
    for pair in PAIRS:
        hosts = values(*pair)
        for found, expected in zip(ours(library, function, hosts, twice), theirs(reference, hosts, twice), strict=True):
            assert found.shape == expected.shape, pair
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12, err_msg=f"{name} {pair}")


def test_all_pairs_of_shapes_in_where(library):
    for a, b in PAIRS:
        for shape in ((), (3, 1)):
            if not fits(a, b, shape):
                continue
            condition = np.asarray(np.random.default_rng(5).random(shape) < 0.5)
            hosts = values(a, b)
            found = ours(library, lambda x, y, c=condition: F.where(library.array(c), x, y), hosts)
            expected = theirs(lambda x, y, c=condition: torch.where(torch.tensor(c), x, y), hosts)
            for left, right in zip(found, expected, strict=True):
                assert left.shape == right.shape
                np.testing.assert_allclose(left, right, rtol=1e-14, err_msg=f"{shape} {a} {b}")


@pytest.mark.parametrize("name", [*FUNCTIONS, "where"])
def test_shapes_that_do_not_broadcast_are_refused_by_name(name, library):
    function = FUNCTIONS[name][0] if name in FUNCTIONS else lambda a, b: F.where(library.array(True), a, b)
    for pair in MISFITS:
        with pytest.raises(ValueError, match=f"^{name}: bad argument"):
            function(*(library.leaf(host) for host in values(*pair)))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_numbers_on_either_side(name, shape, library):
    function, reference = FUNCTIONS[name]
    (host,) = values(shape)
    for number in (2, 0.5, True, np.float32(1.5), np.int64(3)):
        for swap in (False, True):
            leaf, tensor = library.leaf(host), torch.tensor(host, requires_grad=True)
            plain = torch.tensor(float(number), dtype=torch.float64)
            output = function(number, leaf) if swap else function(leaf, number)
            expected = reference(plain, tensor) if swap else reference(tensor, plain)
            assert output.shape == shape and output.dtype == leaf.dtype
            F.sum(output).backward()
            expected.sum().backward()
            np.testing.assert_allclose(library.host(output), expected.detach().numpy(), rtol=1e-14)
            np.testing.assert_allclose(library.host(leaf.grad), tensor.grad.numpy(), rtol=1e-14, err_msg=repr(number))


def test_a_choice_between_an_array_and_a_number(library):
    x = library.leaf([[-1.0, 2.0], [3.0, -4.0]])
    outputs = [F.where(x > 0, x, 0.0), F.where(x > 0, 1, x), F.where(library.array(True), x, 0.5)]
    found = [library.host(grad(F.sum(output), x)) for output in outputs]
    positive = library.host(x) > 0
    for gradient, expected in zip(found, (positive, ~positive, np.ones((2, 2))), strict=True):
        np.testing.assert_array_equal(gradient, expected)
    assert [library.host(output).tolist() for output in outputs[:2]] == [[[0, 2], [3, 0]], [[-1, 1], [1, -4]]]

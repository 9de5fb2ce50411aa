"""Every operator of Python that arrays have, on Variables, arrays and numbers, on either side."""

import operator
from itertools import pairwise

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F

ARITHMETIC = ["add", "sub", "mul", "truediv", "pow", "mod", "floordiv"]
COMPARISONS = ["lt", "le", "gt", "ge", "eq", "ne"]
LOGIC = ["and_", "or_", "xor"]
LEFT = np.array([[0.7, 2.3, 5.1], [1.9, 3.3, 0.2]])
RIGHT = np.array([1.1, 0.6, 2.2])


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISONS)
def test_values_are_numpys_whatever_stands_on_either_side(name, library):
    function = getattr(operator, name)
    a, b = library.leaf(LEFT), library.leaf(RIGHT)
    # array-api-strict's own arrays refuse to stand on the left of anything foreign.
    bare = a if library.name == "array_api_strict" else a.data
    for left, right, expected in (
        (a, b, function(LEFT, RIGHT)),
        (a, b.data, function(LEFT, RIGHT)),
        (bare, b, function(LEFT, RIGHT)),
        (a, 2, function(LEFT, 2)),
        (a, np.float64(1.5), function(LEFT, 1.5)),
        (3.5, b, function(3.5, RIGHT)),
        (np.float64(3.5), b, function(3.5, RIGHT)),
        (np.int64(3), b, function(3, RIGHT)),
        (a, True, function(LEFT, True)),
    ):
        found = function(left, right)
        assert type(found) is Variable
        np.testing.assert_allclose(library.host(found), expected, rtol=1e-14)


@pytest.mark.parametrize("name", LOGIC)
def test_masks_are_combined(name, library):
    function = getattr(operator, name)
    a, b = library.constant(LEFT), library.constant(RIGHT)
    low, high = LEFT > 1, RIGHT < 2
    bare = a > 1 if library.name == "array_api_strict" else (a > 1).data
    for left, right, expected in (
        (a > 1, b < 2, function(low, high)),
        (a > 1, (b < 2).data, function(low, high)),
        (bare, b < 2, function(low, high)),
        (a > 1, True, function(low, True)),
        (True, b < 2, function(True, high)),
    ):
        found = function(left, right)
        assert type(found) is Variable and found.node is None
        np.testing.assert_array_equal(library.host(found), expected)
    np.testing.assert_array_equal(library.host(~(a > 1)), ~low)
    for refused in (lambda: function(a, b), lambda: operator.invert(a)):
        with pytest.raises(TypeError, match="bad argument 'self'\n  expected: bools or integers"):
            refused()


def test_the_remainder_has_torchs_derivatives(library):
    a, b = library.leaf(LEFT), library.leaf(RIGHT)
    slopes = grad(F.sum((a % b) * (a % b)), [a, b], create_graph=True)
    second = grad(F.sum(slopes[0] * slopes[1]), [a, b])
    left, right = torch.from_numpy(LEFT.copy()).requires_grad_(), torch.from_numpy(RIGHT.copy()).requires_grad_()
    references = torch.autograd.grad((torch.remainder(left, right) ** 2).sum(), [left, right], create_graph=True)
    twice = torch.autograd.grad((references[0] * references[1]).sum(), [left, right])
    for found, reference in zip((*slopes, *second), (*references, *twice), strict=True):
        np.testing.assert_allclose(library.host(found), reference.detach().numpy(), rtol=1e-12)


def test_the_remainder_goes_in_as_often_as_the_quotient_says(library):
    """1.0 / 0.1 rounds up to 10, but 0.1 is a little more than a tenth and goes in nine times."""
    divisor = library.leaf([0.1])
    (slope,) = grad(F.sum(1.0 % divisor), [divisor])
    assert (1.0 // 0.1, library.host(slope).tolist()) == (9.0, [-9.0])


def test_a_floor_has_nothing_to_pass_back(library):
    x = library.leaf([0.5, 2.5])
    assert (x // 1.0).node is None
    y = F.sum(x * (x // 1.0))
    y.backward()
    np.testing.assert_array_equal(library.host(x.grad), [0.0, 2.0])


@pytest.mark.parametrize("name", ARITHMETIC + COMPARISONS[:4])
def test_operands_that_do_not_fit(name, library):
    function = getattr(operator, name)
    x = library.leaf(LEFT)
    for other in (None, "a", object()):
        with pytest.raises(TypeError):
            function(x, other)
    with pytest.raises(ValueError, match="expected"):
        function(x, library.leaf(np.ones(7)))


def test_operands_of_two_libraries_are_refused(libraries):
    names = [*libraries, next(iter(libraries))]
    for left, right in pairwise(names):
        for name in ARITHMETIC + COMPARISONS + LOGIC:
            with pytest.raises(TypeError):
                getattr(operator, name)(libraries[left].leaf(LEFT), libraries[right].leaf(LEFT))

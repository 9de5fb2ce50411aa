"""Indices by NumPy's rules on every array library, with gradients that count how often an element was picked."""

from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from toolkit.autograd import functions as F
from toolkit.autograd import grad

CASES = {
    "integer": 1,
    "negative integer": -2,
    "NumPy integer": np.int64(1),
    "array without axes": np.asarray(1),
    "slice": slice(1, 3),
    "backwards": slice(None, None, -1),
    "backwards in steps": (slice(None), slice(3, 0, -2)),
    "backwards past both ends": slice(10, -10, -2),
    "backwards to nothing": slice(0, 3, -1),
    "out of bounds": (slice(-100, 100), slice(2, 10**30)),
    "huge step": (slice(None, None, 10**30), slice(None, None, -(10**30))),
    "empty": slice(3, 1),
    "NumPy bounds": slice(np.int64(0), np.int8(2)),
    "ellipsis": (..., 0),
    "new axes": (None, 1, None, ..., None),
    "new axes among backward slices": (None, slice(None, None, -1), None, slice(None, None, -2)),
    "list": [2, 0, 2],
    "negative list": [-1, 0],
    "empty list": [],
    "array": np.asarray([[0, 1], [1, 1]]),
    "narrow unsigned array": np.asarray([1, 0, 1], np.uint8),
    "two arrays": (np.asarray([0, 1]), np.asarray([3, 3])),
    "two arrays, broadcast": (np.asarray([[0], [2]]), np.asarray([1, 3])),
    "array and integer, apart": (0, slice(None), np.asarray([0, 1])),
    "integer and array, apart by a new axis": (1, None, np.asarray([0, 1, 1])),
    "two arrays, apart": (np.asarray([0, 1]), slice(None), np.asarray([1, 0])),
    "array and slice": (slice(0, 2), np.asarray([3, 0])),
    "array and a backward slice": (slice(None, None, -1), np.asarray([3, 3])),
    "mask": np.asarray([True, False, True]),
    "full mask": np.arange(24).reshape(3, 4, 2) % 3 == 0,
    "mask of nothing": np.zeros(3, bool),
    "mask and slice": (np.asarray([True, False, True]), slice(None, None, 2)),
    "mask and integer": (slice(None), np.asarray([True, False, True, True]), 1),
    "true": True,
    "false": False,
    "nothing at all": (),
    "everything": ...,
}


def check(library: Any, values: np.ndarray, index: Any) -> None:
    """Compare result and gradient of an index with NumPy's own."""
    x = library.leaf(values)
    found = x[index]
    expected = values[index]
    assert found.shape == expected.shape
    np.testing.assert_array_equal(library.host(found), expected)
    weights = np.random.default_rng(0).normal(size=expected.shape)
    gradient = grad(F.sum(found * library.array(weights)), x)
    counted = np.zeros_like(values)
    np.add.at(counted, index, weights)
    np.testing.assert_allclose(library.host(gradient), counted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_indices(case, library):
    check(library, np.random.default_rng(1).normal(size=(3, 4, 2)), CASES[case])


def test_the_second_derivative_of_an_index_picked_twice(library):
    x = library.leaf([1.0, 2.0, 3.0])
    picked = x[[0, 0, 2]]
    first = grad(F.sum(picked**3), x, create_graph=True)
    np.testing.assert_allclose(library.host(first), [6.0, 0.0, 27.0])
    np.testing.assert_allclose(library.host(grad(F.sum(first), x)), [12.0, 0.0, 18.0])


def test_variables_and_arrays_of_the_library_as_indices(library):
    x = library.leaf([[1.0, -2.0], [-3.0, 4.0]])
    assert library.host(x[x > 0]).tolist() == [1.0, 4.0]
    assert library.host(x[library.array(np.asarray([1, 1]))]).tolist() == [[-3.0, 4.0]] * 2
    assert library.host(x[library.constant([0], "int64"), 1]).tolist() == [-2.0]
    assert library.host(x[library.constant(1, "int64")]).tolist() == [-3.0, 4.0]


def test_the_index_may_change_after_the_operation(library):
    x, index = library.leaf([1.0, 2.0, 3.0]), [0, 1]
    y = F.sum(x[index] * 2.0)
    index[:] = [2, 2]
    y.backward()
    assert library.host(x.grad).tolist() == [2.0, 2.0, 0.0]


def test_an_index_array_that_is_written_to_is_copied_or_kept_apart(library):
    """A gradient must not go where a later write to the caller's own array points."""
    x, index = library.leaf([1.0, 2.0, 3.0]), np.asarray([0, 1])
    y = F.sum(x[index] * 2.0)
    index[:] = 2
    y.backward()
    assert library.host(x.grad).tolist() == [2.0, 2.0, 0.0]


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
@hypothesis.given(strategies.data())
def test_any_index_numpy_takes(libraries, data):
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
    values = np.random.default_rng(0).normal(size=shape)
    kind = data.draw(strategies.sampled_from(["basic", "integers", "mask"]))
    if kind == "basic":
        index = data.draw(arrays.basic_indices(shape, allow_newaxis=True, max_dims=6))
    elif kind == "mask":
        index = data.draw(arrays.arrays(bool, shape))
    else:
        if 0 in shape:
            return
        index = data.draw(arrays.integer_array_indices(shape))
    for library in libraries.values():
        check(library, values, index)

"""Every complaint names the operation, the argument, what was expected and what came."""

from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, gradcheck, no_grad, using_config
from toolkit.autograd import functions as F


def array(*shape: int) -> np.ndarray:
    return np.ones(shape)


def leaf(*shape: int) -> Variable:
    return Variable(np.ones(shape), requires_grad=True)


BAD_CALLS = {
    "matmul": [
        (lambda: F.matmul(leaf(2, 3), leaf(2, 3)), "b", "a.shape[-1] == b.shape[-2]", "3 != 2"),
        (lambda: leaf(3) @ leaf(4), "b", "a.shape[-1] == b.shape[-1]", "3 != 4"),
        (lambda: leaf() @ leaf(4), "a, b", "at least one axis", "()"),
        (lambda: leaf(2, 2, 3) @ leaf(3, 3, 2), "b", "broadcast with (2,)", "(3,)"),
    ],
    "linear": [
        (lambda: F.linear(leaf(2, 3), leaf(4, 5)), "x", "x.shape[-1] == weight.shape[1], 5", "(2, 3)"),
        (lambda: F.linear(leaf(2, 3), leaf(4)), "weight", "(outputs, inputs)", "(4,)"),
        (lambda: F.linear(leaf(2, 3), leaf(4, 3), leaf(3)), "bias", "shape (4,)", "(3,)"),
    ],
    "add": [(lambda: leaf(2) + leaf(3), "input 1", "broadcasts with (2,)", "(3,)")],
    "sum": [
        (lambda: F.sum(leaf(2, 3), axis=2), "axis", "from -2 to 1 for 2 axes", "2"),
        (lambda: F.sum(leaf(2, 3), axis=(0, -2)), "axis", "each axis once", "(0, -2)"),
    ],
    "mean": [(lambda: F.mean(leaf(0)), "x", "at least one element", "(0,)")],
    "var": [(lambda: F.var(leaf(1), correction=1), "x", "more than 1 elements", "(1,)")],
    "get_item": [(lambda: leaf(2)[::0], "index", "a step other than 0", "slice(None, None, 0)")],
    "max": [(lambda: F.max(leaf(0)), "x", "at least one element along the axis", "shape (0,)")],
    "reshape": [
        (lambda: F.reshape(leaf(2, 3), (4, 2)), "shape", "6 elements, as in (2, 3)", "(4, 2)"),
        (lambda: F.reshape(leaf(2, 3), (-1, -1)), "shape", "at most one is -1", "(-1, -1)"),
        (lambda: F.reshape(leaf(2, 3), (-1, 4)), "shape", "6 elements", "(-1, 4)"),
        (lambda: F.reshape(leaf(0, 3), (-1, 0)), "shape", "0 elements", "(-1, 0)"),
    ],
    "transpose": [(lambda: F.transpose(leaf(2, 3), (0, 0)), "axes", "permutation of 2 axes", "(0, 0)")],
    "broadcast_to": [(lambda: F.broadcast_to(leaf(2, 3), (3, 2)), "shape", "(2, 3) broadcasts to", "(3, 2)")],
    "flip": [(lambda: F.flip(leaf(2), 1), "axis", "from -1 to 0", "1")],
    "pad": [
        (lambda: F.pad(leaf(2, 3), ((1, 1),)), "widths", "2 pairs", "((1, 1),)"),
        (lambda: F.pad(leaf(2), -1), "widths", "non-negative", "-1"),
    ],
    "concat": [
        (lambda: F.concat([]), "arrays", "at least one array", "none"),
        (lambda: F.concat([leaf(2, 3), leaf(2, 4)]), "arrays[1]", "(2, 3) but for axis 0", "(2, 4)"),
        (lambda: F.concat([leaf(2), leaf(2)], axis=1), "axis", "from -1 to 0", "1"),
    ],
    "stack": [(lambda: F.stack([leaf(2), leaf(3)]), "arrays[1]", "shape (2,)", "(3,)")],
    "einsum": [
        (lambda: F.einsum("ij,jk", leaf(2, 3)), "operands", "2, one a term", "1"),
        (lambda: F.einsum("ij,jk", leaf(2, 3), leaf(2, 3)), "operands[1]", "length 3 along 'j'", "(2, 3)"),
        (lambda: F.einsum("i", leaf(2, 3)), "operands[0]", "axes 'i'", "(2, 3)"),
        (lambda: F.einsum("ij->kk", leaf(2, 3)), "subscripts", "each index", "ij->kk"),
        (lambda: F.einsum("ij->k", leaf(2, 3)), "subscripts", "each index", "ij->k"),
    ],
    "clip": [
        (lambda: F.clip(leaf(2)), "low, high", "at least one limit", "none"),
        (lambda: F.clip(leaf(2), 1.0, 0.0), "low, high", "low <= high", "1.0 > 0.0"),
    ],
    "softplus": [(lambda: F.softplus(leaf(2), beta=0.0), "beta", "a positive number", "0.0")],
    "where": [(lambda: F.where(np.ones(2, bool), leaf(3), leaf(2)), "input 1", "broadcasts with (3,)", "(2,)")],
    "item": [(lambda: leaf(2).item(), "self", "exactly one element", "shape (2,)")],
    "gradcheck": [
        (lambda: gradcheck(F.exp, [array(2)], order=0), "order", "a positive integer", "0"),
        (lambda: gradcheck(F.exp, [np.ones(2, np.float32)]), "inputs[0]", "float64", "float32"),
        (lambda: gradcheck(F.exp, []), "inputs", "at least one array", "none"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("operation", BAD_CALLS)
def test_values_that_do_not_fit(operation):
    for call, argument, expected, actual in BAD_CALLS[operation]:
        with pytest.raises(ValueError) as caught:
            call()
        first, second, third, *_ = str(caught.value).split("\n")
        assert first == f"{operation}: bad argument {argument!r}"
        assert second.startswith("  expected: ") and expected in second
        assert third.startswith("  actual:   ") and actual in third


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leaf(2)[2], "get_item: bad argument 'inputs'"),
        (lambda: leaf(2)[0, 0], "get_item: bad argument 'inputs'"),
        (lambda: leaf(2)[..., ...], "get_item: bad argument 'index'"),
        (lambda: leaf(2)[10**30], "get_item: bad argument 'index'"),
        (lambda: leaf(2)[np.asarray([2**64 - 1], np.uint64)], "get_item: bad argument 'index'"),
        (lambda: leaf(2)[[0, 2]], "get_item: bad argument 'inputs'"),
        (lambda: leaf(2)[np.ones(3, bool)], "get_item: bad argument 'inputs'"),
    ],
)
def test_indices_out_of_range(call, message):
    with pytest.raises(IndexError) as caught:
        call()
    assert str(caught.value).startswith(message)


WRONG_KINDS = {
    "Variable": [lambda: Variable(3.0), lambda: Variable([1.0]), lambda: Variable(None), lambda: Variable(leaf(2)),
                 lambda: Variable(np.asarray(["a"])), lambda: Variable(np.asarray([None])),
                 lambda: Variable(np.zeros(2, [("a", float)])), lambda: Variable(np.ma.ones(2)),
                 lambda: Variable(torch.eye(2).to_sparse()), lambda: Variable(np.datetime64("2020"))],
    "add": [lambda: leaf(2) + None, lambda: leaf(2) + "a", lambda: leaf(2).__add__([1.0, 2.0]), lambda: 1j + leaf(2),
            lambda: leaf(2).__radd__([1.0, 2.0]), lambda: leaf(2) + Variable(torch.ones(2))],
    "<": [lambda: leaf(2) < [1.0, 2.0], lambda: leaf(2) < torch.ones(2)],
    "==": [lambda: leaf(2) == (1.0, 2.0), lambda: leaf(2) == torch.ones(2)],
    "get_item": [lambda: leaf(2)[1.0], lambda: leaf(2)["a"], lambda: leaf(2)[torch.tensor(0)],
                 lambda: leaf(2)[np.asarray([0.5])]],
    "where": [lambda: F.where(np.ones(2), leaf(2), leaf(2)), lambda: F.where(np.ones(2, bool), 1.0, 2.0)],
    "maximum": [lambda: F.maximum(1.0, 2.0)],
    "exp": [lambda: F.exp(1.0), lambda: F.exp([1.0]), lambda: F.exp(None)],
    "len": [lambda: len(leaf())],
    "concat": [lambda: F.concat([leaf(2), 1.0])],
}  # fmt: skip


@pytest.mark.parametrize("operation", WRONG_KINDS)
def test_arguments_of_the_wrong_kind(operation):
    for call in WRONG_KINDS[operation]:
        with pytest.raises(TypeError) as caught:
            call()
        first, second, third, *_ = str(caught.value).split("\n")
        assert first.startswith(f"{operation}: bad argument '")
        assert second.startswith("  expected: ") and third.startswith("  actual:   ")


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.concat([leaf(2), leaf(2)], axis=None),
        lambda: F.concat(leaf(2)),
        lambda: F.stack([leaf(2), leaf(2)], axis=(0,)),
        lambda: F.cumsum(leaf(2), None),
        lambda: F.sum(leaf(2), axis=1.0),
        lambda: F.sum(leaf(2), axis=True),
        lambda: F.sum(leaf(2), axis="0"),
        lambda: F.clip(leaf(2), np.zeros(2)),
        lambda: F.clip(leaf(2), None, "1"),
        lambda: F.reshape(leaf(2), 2.0),
        lambda: F.reshape(leaf(2), ("a",)),
    ],
)
def test_parameters_of_the_wrong_kind(call):
    with pytest.raises(TypeError):
        call()


def test_chainers_example():
    with pytest.raises(TypeError) as caught:
        Variable(np.ones(2, np.float32)) * Variable(np.ones(2))
    assert str(caught.value) == (
        "multiply: bad argument 'input 1'\n  expected: the dtype of input 0, float32\n  actual:   float64"
    )


def test_the_librarys_own_complaint_is_kept_as_the_cause():
    with pytest.raises(IndexError, match="index 2 is out of bounds for axis 0 with size 2") as caught:
        leaf(2)[2]
    assert isinstance(caught.value.__cause__, IndexError)
    assert (caught.value.operation, caught.value.argument) == ("get_item", "inputs")


def test_floating_point_errors_stay_what_they_are():
    x = Variable(np.asarray([1e300, 0.0]), requires_grad=True)
    with np.errstate(all="raise"):
        with pytest.raises(FloatingPointError, match="overflow"):
            x * x
        with pytest.raises(FloatingPointError, match="divide by zero"):
            F.log(x)


def test_memory_errors_stay_what_they_are():
    x = Variable(np.ones((1, 1)), requires_grad=True)
    with pytest.raises(MemoryError):
        F.broadcast_to(x, (2**31, 2**27)) + 1.0


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("recording", [False, True])
def test_refusals_leave_the_engine_as_it_was(debug, recording):
    x = leaf(2, 3)
    with using_config(debug=debug, enable_backprop=recording):
        for calls in BAD_CALLS.values():
            for call, *_ in calls:
                with pytest.raises(ValueError):
                    call()
    F.sum(x * x).backward()
    assert x.grad.tolist() == [[2.0] * 3] * 2


def test_nothing_recorded_is_explained():
    x = leaf(2)
    with no_grad():
        y = F.sum(x)
    with pytest.raises(RuntimeError, match=r"computed from one with requires_grad=True\n  actual:   Variable\(2\."):
        y.backward()


def test_names_of_attributes_are_fixed():
    x: Any = leaf(2)
    with pytest.raises(AttributeError):
        x.gradient = np.ones(2)

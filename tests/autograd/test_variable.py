"""Variables as Python objects: operators with every kind of partner, conversions, copies, text."""

import copy
import pickle
from typing import Any

import beartype
import jaxtyping
import numpy as np
import pytest
import torch
from jaxtyping import Float, Int

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F


@pytest.fixture(params=[np.asarray, lambda values: torch.tensor(values, dtype=torch.float64)], ids=["numpy", "torch"])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


OPERATORS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
    "@": lambda a, b: a @ b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


@pytest.mark.parametrize("symbol", OPERATORS)
def test_plain_arrays_on_either_side(symbol, make):
    left, right = [[1.0, 2.0], [3.0, 4.0]], [[4.0, 2.0], [0.5, 1.0]]
    operator = OPERATORS[symbol]
    expected = operator(np.asarray(left), np.asarray(right))
    a, b = make(left), make(right)
    for first, second in (
        (Variable(a), Variable(b)), (Variable(a), b), (a, Variable(b)), (Variable(a, requires_grad=True), b),
        (a, Variable(b, requires_grad=True)),
    ):  # fmt: skip
        result = operator(first, second)
        assert type(result) is Variable
        np.testing.assert_allclose(result.numpy(), expected)
        comparison = symbol[0] in "<>=!"
        wanted = any(isinstance(side, Variable) and side.requires_grad for side in (first, second))
        assert result.requires_grad == (wanted and not comparison)


@pytest.mark.parametrize("symbol", [symbol for symbol in OPERATORS if symbol != "@"])
@pytest.mark.parametrize("number", [2, 2.0, np.float64(2), np.float32(2), np.int8(2), np.asarray(2.0)])
def test_numbers_on_either_side(symbol, number, make):
    if isinstance(number, np.ndarray):
        number = make(2.0)
    values = [1.0, 2.0, 3.0]
    x = Variable(make(values), requires_grad=True)
    operator = OPERATORS[symbol]
    for result, expected in (
        (operator(x, number), operator(np.asarray(values), 2.0)),
        (operator(number, x), operator(2.0, np.asarray(values))),
    ):
        assert type(result) is Variable and result.shape == (3,)
        np.testing.assert_allclose(result.numpy(), expected)


def test_unary_operators(make):
    x = Variable(make([-1.5, 2.0]), requires_grad=True)
    assert (-x).numpy().tolist() == [1.5, -2.0] and abs(x).numpy().tolist() == [1.5, 2.0] and +x is x


def test_arithmetic_in_place_gives_a_new_variable(make):
    x = Variable(make([1.0, 2.0]), requires_grad=True)
    before, y = x, x
    y += 1.0
    y *= 3.0
    assert y is not before and before.numpy().tolist() == [1.0, 2.0]
    assert grad(F.sum(y), x).numpy().tolist() == [3.0, 3.0]


def test_elements_cannot_be_assigned(make):
    x = Variable(make([1.0, 2.0]))
    with pytest.raises(TypeError, match="does not support item assignment"):
        x[0] = 1.0  # type: ignore[index]


def test_methods(make):
    x = Variable(make([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), requires_grad=True)
    assert x.T.shape == x.transpose().shape == x.transpose(1, 0).shape == x.transpose((1, 0)).shape == (3, 2)
    assert x.reshape(3, 2).shape == x.reshape((3, 2)).shape == x.reshape(-1, 2).shape == (3, 2)
    assert x.reshape(6).shape == x.reshape(-1).shape == x.reshape((6,)).shape == (6,)
    assert x[0, 0].reshape(()).shape == () and (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)


def test_python_numbers(make):
    x = Variable(make([[2.75]]), requires_grad=True)
    assert (float(x), int(x), x.item(), bool(x), bool(x - 2.75)) == (2.75, 2, 2.75, True, False)
    assert type(x.item()) is float and type(Variable(make([1.0]) > 0).item()) is bool
    pair = Variable(make([1.0, 2.0]))
    for convert in (float, int, bool, Variable.item):
        with pytest.raises(ValueError, match="exactly one element"):
            convert(pair)
    with pytest.raises(ValueError, match="exactly one element"):
        bool(pair[:0])


def test_chained_comparisons(make):
    x = Variable(make([0.5, 1.5]))
    assert 0 < x[0] < 1 and not 0 < x[1] < 1
    with pytest.raises(ValueError, match="exactly one element"):
        assert 0 < x < 1
    assert (x > 1).numpy().tolist() == [False, True]


def test_nothing_and_text_are_equal_to_no_variable(make):
    x = Variable(make([1.0]))
    assert (x == None) is False and (x != None) is True and (x == "a") is False  # noqa: E711
    assert x not in [None, "a"] and x in [None, x]
    for compare in (lambda: x < None, lambda: x <= "a"):
        with pytest.raises(TypeError, match="not supported between instances"):
            compare()


def test_shapes_that_do_not_compare_are_refused(make):
    with pytest.raises(ValueError, match=r"^==: bad argument 'other'"):
        assert Variable(make([1.0, 2.0])) == Variable(make([1.0, 2.0, 3.0]))


def test_variables_are_keys_by_identity(make):
    x, y = Variable(make([1.0])), Variable(make([1.0]))
    table = {x: "x", y: "y"}
    assert table[x] == "x" and table[y] == "y" and len({x, y, x}) == 2


def test_iteration_and_membership(make):
    x = Variable(make([[1.0, 2.0], [3.0, 4.0]]), requires_grad=True)
    first, second = x
    assert first.numpy().tolist() == [1.0, 2.0] and [float(v) for v in second] == [3.0, 4.0]
    assert 2.0 in first and 5.0 not in first
    F.sum(first * second).backward()
    assert np.asarray(x.grad).tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert sum(first).item() == 3.0 and max(first).item() == 2.0
    assert list(zip(first, second, strict=True))[1][1].item() == 4.0
    for empty in (lambda: list(x[0, 0]), lambda: len(x[0, 0])):
        with pytest.raises(TypeError, match="at least one axis"):
            empty()


def test_numpy_reads_variables(make):
    x = Variable(make([1.0, 2.0]), requires_grad=True)
    assert type(np.asarray(x)) is np.ndarray and np.asarray(x).tolist() == [1.0, 2.0]
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    np.testing.assert_array_equal(np.array([x, x]), [[1.0, 2.0], [1.0, 2.0]])
    copied = np.array(x, copy=True)
    copied[0] = 9.0
    assert x.numpy()[0] == 1.0
    with pytest.raises(TypeError, match="does not support ufuncs"):
        np.exp(x)


def test_text(make):
    x = Variable(make([1.5]), requires_grad=True, name="weight")
    dtype = x.dtype
    assert repr(x) == f"Variable([1.5], dtype={dtype}, requires_grad=True, name='weight')" == str(x) == f"{x}"
    assert f"{x:.3f}" == "1.500" and f"{x[0]:>6.1f}" == "   1.5"
    assert repr(x * 2.0) == f"Variable([3.], dtype={dtype}, from=multiply)"
    assert repr(Variable(make([1.0, 2.0]))) == f"Variable([1., 2.], dtype={dtype})"
    with pytest.raises(ValueError, match="exactly one element"):
        f"{Variable(make([1.0, 2.0])):.2f}"


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1000, 1000), (1,) * 10])
def test_text_of_any_shape_is_short(shape):
    for array in (np.zeros(shape), torch.zeros(shape), torch.zeros(shape, device="meta")):
        assert len(repr(Variable(array))) < 600


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.complex64])
def test_text_of_any_element_type(dtype):
    assert str(dtype) in repr(Variable(torch.zeros(2, dtype=dtype)))


def test_copies_of_leaves_are_leaves_of_their_own(make):
    x = Variable(make([1.0, 2.0]), requires_grad=True, name="w")
    F.sum(x * x).backward()
    for duplicate, shared in (
        (copy.copy(x), True), (copy.deepcopy(x), False), (pickle.loads(pickle.dumps(x)), False),
    ):  # fmt: skip
        assert duplicate.requires_grad and duplicate.is_leaf and duplicate.name == "w" and duplicate is not x
        assert np.shares_memory(duplicate.numpy(), x.numpy()) == shared
        assert (duplicate.grad is None) == shared
        duplicate.cleargrad()
        F.sum(duplicate * 3.0).backward()
        assert np.asarray(duplicate.grad).tolist() == [3.0, 3.0] and np.asarray(x.grad).tolist() == [2.0, 4.0]


def test_deep_copies_keep_gradients_and_what_is_shared(make):
    x = Variable(make([1.0, 2.0]), requires_grad=True)
    F.sum(x * x).backward()
    first, second = copy.deepcopy([x, x])
    assert first is second and np.asarray(first.grad).tolist() == [2.0, 4.0]
    assert not np.shares_memory(np.asarray(first.grad), np.asarray(x.grad))


def test_constants_are_copied_without_a_wish_for_gradients(make):
    x = Variable(make([1.0, 2.0]))
    for duplicate in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert not duplicate.requires_grad and duplicate.numpy().tolist() == [1.0, 2.0]


def test_computed_variables_share_their_history_or_refuse(make):
    x = Variable(make([1.0, 2.0]), requires_grad=True)
    y = x * 2.0
    F.sum(copy.copy(y)).backward()
    assert np.asarray(x.grad).tolist() == [2.0, 2.0]
    for duplicate in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"without history \(call detach\(\) first\)"):
            duplicate(x * 2.0)
    assert copy.deepcopy(y.detach()).numpy().tolist() == [2.0, 4.0]


def test_modules_and_parameters_of_torch_give_plain_tensors():
    layer = torch.nn.Linear(2, 3)
    weight = Variable(layer.weight, requires_grad=True)
    assert type(weight.data) is torch.Tensor and not weight.data.requires_grad
    assert weight.data.data_ptr() == layer.weight.data_ptr()
    mixed = Variable(torch.ones(1, 2)) @ layer.weight.T
    F.sum(F.linear(torch.ones(1, 2), weight) * mixed.detach()).backward()
    assert layer.weight.grad is None and weight.grad.shape == (3, 2)
    # torch's optimizers take the plain tensors.
    layer.weight.grad = weight.grad
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    assert torch.equal(weight.data, layer.weight.detach())


def test_subclasses_of_arrays_become_plain():
    matrix = Variable(np.asarray([[1.0, 2.0]]).view(np.matrix), requires_grad=True)
    assert type(matrix.data) is np.ndarray and (matrix * matrix).shape == (1, 2)
    scalar = Variable(np.float64(3.0), requires_grad=True)
    assert type(scalar.data) is np.ndarray and scalar.shape == ()
    (scalar * scalar).backward()
    assert type(scalar.grad) is np.ndarray and scalar.grad.tolist() == 6.0


def test_results_without_axes_are_arrays(library):
    x = library.leaf([1.0, 2.0])
    y = library.leaf(2.0)
    for value in (
        F.sum(x), F.mean(x), F.max(x), F.prod(x), F.logsumexp(x), F.var(x), x[0], x @ x, y * y, y + 1.0, -y, F.exp(y),
        y**2, F.einsum("i,i->", x, x), F.maximum(y, 1.0), F.where(y > 0, y, 0.0), y > 1,
    ):  # fmt: skip
        assert type(value.data) is library.array_type and value.shape == ()
    F.sum(y * x[0]).backward()
    assert type(y.grad) is library.array_type and type(grad(y * y, y).data) is library.array_type


def test_shapes_in_annotations(make):
    x = Variable(make([[1.0, 2.0]]), requires_grad=True)
    assert isinstance(x, Float[Variable, "1 2"]) and not isinstance(x, Float[Variable, "2 1"])
    assert not isinstance(x, Int[Variable, "1 2"]) and not isinstance(x.data, Float[Variable, "1 2"])

    @jaxtyping.jaxtyped(typechecker=beartype.beartype)
    def column(values: Float[Variable, "rows 1"]) -> Float[Variable, " rows"]:
        return values[:, 0]

    assert column(x.T).shape == (2,)
    with pytest.raises(TypeError):
        column(x)


def test_devices(make):
    x = Variable(make([1.0]))
    assert str(x.device) == "cpu"
    assert Variable(torch.ones(2, device="meta")).device == torch.device("meta")

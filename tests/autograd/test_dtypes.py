"""Element types and devices: what goes in comes out, numbers are weak, and nothing is converted in silence."""

from typing import Any

import array_api_strict as strict
import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F
from toolkit.autograd.registry import REGISTRY

TYPES = {
    "numpy-float16": (np.asarray, np.float16),
    "numpy-float32": (np.asarray, np.float32),
    "numpy-float64": (np.asarray, np.float64),
    "torch-float16": (torch.tensor, torch.float16),
    "torch-bfloat16": (torch.tensor, torch.bfloat16),
    "torch-float32": (torch.tensor, torch.float32),
    "torch-float64": (torch.tensor, torch.float64),
    "strict-float32": (strict.asarray, strict.float32),
    "strict-float64": (strict.asarray, strict.float64),
}


@pytest.fixture(params=TYPES)
def make(request: pytest.FixtureRequest) -> Any:
    """A function that makes an array of one library and element type; its ``dtype`` says which."""
    function, dtype = TYPES[request.param]

    def array(values: Any, kind: Any = None) -> Any:
        return function(np.asarray(values), dtype=kind or dtype)

    array.dtype, array.name = dtype, request.param
    return array


def converted(value: Any, make: Any, found: list[Variable]) -> Any:
    """Replace arrays by Variables of the element type wanted, and others by arrays of the library."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        found.append(Variable(make(value), requires_grad=True))
        return found[-1]
    if isinstance(value, np.ndarray):
        kinds = {"numpy": np, "torch": torch, "strict": strict}[make.name.split("-")[0]]
        return make(value, kinds.bool if value.dtype.kind == "b" else kinds.int64)
    if isinstance(value, tuple | list):
        return type(value)(converted(part, make, found) for part in value)
    return value


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # some products are beyond half precision
@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_results_and_gradients_keep_the_element_type(name, make):
    entry = REGISTRY[name]
    for sample in entry.samples(np.random.default_rng(0))[::3]:
        leaves: list[Variable] = []
        arguments = converted(sample.arguments, make, leaves)
        keywords = {key: converted(value, make, leaves) for key, value in sample.keywords.items()}
        output = entry(*arguments, **keywords)
        assert output.dtype == make.dtype, sample
        twice = make.name in ("numpy-float16", "torch-bfloat16", "strict-float32")
        first = grad(F.sum(output * output), leaves, create_graph=twice, allow_unused=True)
        used = [gradient for gradient in first if gradient is not None and gradient.requires_grad]
        second: Any = ()
        if used:
            second = grad([F.sum(g * g) for g in used], leaves, allow_unused=True)
        for leaf, gradient in zip(leaves * 2, (*first, *second), strict=False):
            assert gradient is None or (gradient.dtype, gradient.shape) == (make.dtype, leaf.shape), sample


@pytest.mark.parametrize("number", [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(3), np.float16(0.5)])
def test_numbers_do_not_change_the_element_type(number, make):
    x = Variable(make([1.0, 2.0]), requires_grad=True)
    for output in (
        x + number, number + x, x - number, number - x, x * number, number * x, x / number, number / x,
        x**number, number**x, F.maximum(x, number), F.minimum(number, x), F.where(x > number, x, number),
        F.where(x > number, number, x), F.clip(x, float(number)),
    ):  # fmt: skip
        assert output.dtype == make.dtype
        (gradient,) = grad(F.sum(output), [x])
        assert gradient.dtype == make.dtype
    assert "bool" in str((x < number).dtype) and "bool" in str((x == number).dtype)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool", "complex64"])
def test_other_than_floating_point_refuses_gradients(kind):
    for module, function in ((np, np.ones), (torch, torch.ones), (strict, strict.ones)):
        array = function(2, dtype=getattr(module, kind))
        with pytest.raises(TypeError, match=f"requires_grad[\\s\\S]*expected: a floating-point array[\\s\\S]*{kind}"):
            Variable(array, requires_grad=True)
        variable = Variable(array)
        with pytest.raises(TypeError, match="floating-point"):
            variable.requires_grad = True
        assert not variable.requires_grad


TWO_OPERANDS = {
    "add": lambda a, b: a + b,
    "power": lambda a, b: a**b,
    "maximum": F.maximum,
    "matmul": F.matmul,
    "linear": F.linear,
    "einsum": lambda a, b: F.einsum("ij,jk->ik", a, b),
    "concat": lambda a, b: F.concat([a, b]),
    "stack": lambda a, b: F.stack([a, b]),
    "where": lambda a, b: F.where(Variable(a.data[0, 0] == a.data[0, 0]), a, b),
}


@pytest.mark.parametrize("name", TWO_OPERANDS)
def test_two_element_types_do_not_mix(name):
    for a, b in (
        (np.ones((2, 2), np.float32), np.ones((2, 2))),
        (torch.ones(2, 2), torch.ones(2, 2, dtype=torch.float64)),
        (torch.ones(2, 2, dtype=torch.float16), torch.ones(2, 2, dtype=torch.bfloat16)),
        (strict.ones((2, 2), dtype=strict.float32), strict.ones((2, 2), dtype=strict.float64)),
        (np.ones((2, 2)), np.ones((2, 2), dtype=np.int64)),
    ):
        for left, right in ((a, b), (b, a)):
            with pytest.raises(TypeError, match=f"^{name}: bad argument[\\s\\S]*expected: the dtype of") as caught:
                TWO_OPERANDS[name](Variable(left), Variable(right))
            assert str(right.dtype) in str(caught.value) and str(left.dtype) in str(caught.value)


@pytest.mark.parametrize("name", [name for name in TWO_OPERANDS if name != "where"])
def test_two_libraries_do_not_mix(name):
    arrays = {
        "numpy": np.ones((2, 2)),
        "torch": torch.ones(2, 2, dtype=torch.float64),
        "array_api_strict": strict.ones((2, 2)),
    }
    for left, a in arrays.items():
        for right, b in arrays.items():
            if left != right:
                with pytest.raises(
                    TypeError, match=f"^{name}: [\\s\\S]*same array library[\\s\\S]*{left}[\\s\\S]*{right}"
                ):
                    TWO_OPERANDS[name](Variable(a), Variable(b))


@pytest.mark.parametrize("name", [name for name in TWO_OPERANDS if name != "where"])
def test_two_devices_do_not_mix(name):
    for a, b in (
        (torch.ones(2, 2), torch.ones(2, 2, device="meta")),
        (strict.ones((2, 2)), strict.ones((2, 2), device=strict.Device("device1"))),
    ):
        with pytest.raises(TypeError, match=f"^{name}: [\\s\\S]*the device of input 0") as caught:
            TWO_OPERANDS[name](Variable(a), Variable(b))
        assert str(a.device) in str(caught.value) and str(b.device) in str(caught.value)


def test_gradients_live_where_their_variables_live():
    for array in (torch.ones(3, 2, device="meta"), strict.ones((3, 2), device=strict.Device("device1"))):
        x = Variable(array, requires_grad=True)
        y = F.sum(F.tanh(x * 2.0 + 1.0) ** 2 / (F.exp(x) + 1.0), axis=1)
        F.sum(F.maximum(y, 0.5)[1:]).backward()
        assert x.grad.device == x.device == array.device and tuple(x.grad.shape) == (3, 2)
        second = grad(F.sum(grad(F.sum(x**3), x, create_graph=True)), x)
        assert second.device == array.device


def test_counting_what_holds_is_the_same_in_every_library(library):
    x = library.constant([0.5, -1.0, 2.0, 3.0])
    assert F.sum(x > 0).item() == 3 and F.prod(x > -2).item() == 1
    assert library.host(F.cumsum(x > 0, 0)).tolist() == [1, 1, 2, 3]
    small = library.constant([100, 100, 100], "int8")
    assert F.sum(small).item() == 300 and F.prod(small).item() == 10**6


def test_half_precision_of_scipys_functions():
    x = Variable(np.linspace(-3, 3, 13, dtype=np.float16), requires_grad=True)
    single = Variable(x.data.astype(np.float32), requires_grad=True)
    for function in (F.sigmoid, F.erf, F.gelu, F.softplus):
        np.testing.assert_allclose(function(x).numpy(), function(single).numpy(), atol=4e-3)

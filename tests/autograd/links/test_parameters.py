"""Parameters: given, drawn, sized later, moved, copied."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable, config, using_config
from toolkit.autograd import functions as F
from toolkit.autograd import initializers as I
from toolkit.autograd.places import named_place, place_of


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_array_gives_shape_library_and_dtype(library):
    values = library.array(np.arange(6.0).reshape(2, 3))
    parameter = L.Parameter(values)
    assert parameter.is_initialized and parameter.shape == (2, 3) and parameter.requires_grad
    assert type(parameter.data) is library.array_type and parameter.dtype == values.dtype
    assert parameter.data is not values
    np.testing.assert_array_equal(library.host(parameter), library.host(values))


def test_it_behaves_as_a_variable(library):
    parameter = L.Parameter(library.array(np.arange(3.0)))
    F.sum(parameter * parameter + parameter).backward()
    np.testing.assert_array_equal(library.host(parameter.grad), 2 * np.arange(3.0) + 1)
    parameter.cleargrad()
    assert parameter.grad is None
    parameter.requires_grad = False
    assert (parameter * 2.0).node is None


@pytest.mark.parametrize("shape", [None, (3, None), (None,)])
def test_uninitialised(shape):
    parameter = L.Parameter(I.Normal(), shape, name="W")
    assert not parameter.is_initialized and parameter.data is None and parameter.requires_grad
    assert parameter.shape == shape and "uninitialised" in repr(parameter) and "W" in repr(parameter)
    parameter.cleargrad()


def test_open_lengths_are_filled_in_and_the_others_kept():
    parameter = L.Parameter(None, (3, None), name="W")
    with pytest.raises(ValueError, match="W"):
        parameter.initialize((4, 2))
    with pytest.raises(ValueError, match="W"):
        parameter.initialize()
    assert not parameter.is_initialized
    parameter.initialize((3, 2))
    assert parameter.data.shape == (3, 2)


def test_the_first_input_decides_where_it_goes(library):
    parameter = L.Parameter(1.0)
    parameter.initialize((2,), like=library.array(np.zeros(1)))
    assert type(parameter.data) is library.array_type and "float64" in str(parameter.dtype)


def test_numbers_do_not_depend_on_when_or_in_which_order_sizes_are_known():
    with using_config(generator=seeded()):
        first, second = L.Parameter(None, (2, 3)), L.Parameter(None, (3, 2))
    with using_config(generator=seeded()):
        late, later = L.Parameter(), L.Parameter()
        before = config.generator.get_state()
        later.initialize((3, 2))
        late.initialize((2, 3))
        assert torch.equal(config.generator.get_state(), before)
    assert torch.equal(first.data, late.data) and torch.equal(second.data, later.data)
    assert not torch.equal(first.data.flatten(), second.data.flatten())


def test_reset_draws_anew():
    parameter = L.Parameter(None, (3, 3), generator=seeded())
    before = parameter.data.clone()
    parameter.reset(seeded(1))
    assert not torch.equal(parameter.data, before)
    parameter.initialize()
    constant = L.Parameter(np.arange(3.0))
    constant.data += 1.0
    constant.reset()
    np.testing.assert_array_equal(constant.data, np.arange(3.0))


def test_moving_keeps_the_object_and_moves_the_gradient():
    parameter = L.Parameter(np.arange(3.0))
    F.sum(parameter * 2.0).backward()
    leaf = parameter.node
    parameter.to_place(named_place("torch"))
    assert isinstance(parameter.data, torch.Tensor) and parameter.data.dtype is torch.float64
    parameter.to_dtype("float32")
    assert isinstance(parameter.grad, torch.Tensor) and parameter.grad.dtype is torch.float32
    assert parameter.node is leaf
    F.sum(parameter).backward()
    assert parameter.grad.tolist() == [3.0, 3.0, 3.0]


def test_what_is_settled_beats_the_first_input():
    moved, cast, both = (L.Parameter(0.0) for _ in range(3))
    for parameter in (moved, both):
        parameter.to_place(named_place("numpy"))
    for parameter in (cast, both):
        parameter.to_dtype("float16")
    for parameter in (moved, cast, both):
        parameter.initialize((2,), like=torch.zeros(1, dtype=torch.float64))
    assert isinstance(moved.data, np.ndarray) and moved.dtype == np.float64
    assert cast.dtype is torch.float16
    assert isinstance(both.data, np.ndarray) and both.dtype == np.float16


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
@pytest.mark.parametrize("sized", [True, False])
def test_copies_and_pickles(duplicate, sized):
    parameter = L.Parameter(None, (2, 3) if sized else (2, None), name="W", generator=seeded())
    parameter.update_enabled = False
    twin = duplicate(parameter)
    assert type(twin) is L.Parameter and twin is not parameter and twin.name == "W" and not twin.update_enabled
    for one in (parameter, twin):
        if not sized:
            one.initialize((2, 3))
    assert torch.equal(twin.data, parameter.data) and twin.data is not parameter.data
    F.sum(twin).backward()
    assert twin.grad is not None and parameter.grad is None


def test_a_shallow_copy_shares_the_data_alone():
    parameter = L.Parameter(np.arange(3.0))
    F.sum(parameter).backward()
    parameter.update_rule = type("Rule", (), {"enabled": True})()
    twin = copy.copy(parameter)
    assert twin.data is parameter.data and twin.grad is None and twin.update_rule is None
    frozen = L.Parameter(np.arange(3.0))
    frozen.requires_grad = False
    assert not copy.copy(frozen).requires_grad


def test_updates_can_be_switched_off_before_and_after_a_rule_exists():
    class Rule:
        enabled = True

    parameter = L.Parameter(0.0, (1,))
    parameter.update_enabled = False
    parameter.update_rule = Rule()
    assert not parameter.update_enabled
    parameter.update_enabled = True
    assert parameter.update_enabled and parameter.update_rule.enabled
    parameter.update_rule.enabled = False
    assert not parameter.update_enabled


def test_no_reference_cycle():
    gc.collect()
    gc.disable()
    try:
        parameter = L.Parameter(None, (2, 2))
        alive = weakref.ref(parameter)
        F.sum(parameter).backward()
        del parameter
        assert alive() is None
    finally:
        gc.enable()


def test_assign_writes_in_place(library):
    parameter = L.Parameter(library.array(np.zeros((2, 2))))
    data = parameter.data
    parameter.assign(np.ones((2, 2), dtype="float32"))
    assert parameter.data is data and "float64" in str(data.dtype)
    np.testing.assert_array_equal(library.host(data), np.ones((2, 2)))
    with pytest.raises(ValueError, match="shape"):
        parameter.assign(np.ones((2, 3)))


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_torch_dtypes(dtype):
    with L.default_arrays(dtype=dtype):
        parameter = L.Parameter(None, (3, 3))
    assert str(parameter.dtype) == f"torch.{dtype}" and place_of(parameter.data).dtype == dtype


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: L.Parameter(np.arange(3)), TypeError),
        (lambda: L.Parameter("x"), TypeError),
        (lambda: L.Parameter(0.0, (-1,)), ValueError),
        (lambda: L.Parameter(0.0, (1.5,)), TypeError),
        (lambda: L.Parameter(np.zeros(3), (2,)), ValueError),
        (lambda: F.relu(L.Parameter(0.0)), TypeError),
        (lambda: named_place("jax"), ValueError),
        (lambda: named_place("numpy", "cuda"), ValueError),
        (lambda: named_place("numpy", dtype="bfloat16"), TypeError),
        (lambda: named_place("torch", dtype="int32"), TypeError),
        (lambda: named_place("torch", "nowhere"), ValueError),
    ],
)
def test_errors(call, kind):
    with pytest.raises(kind):
        call()


def test_default_arrays_nest_and_end():
    with L.default_arrays("numpy", dtype="float64"):
        assert L.Parameter(0.0, (1,)).dtype == np.float64
        with L.default_arrays(dtype="float32"):
            assert L.Parameter(0.0, (1,)).dtype == np.float32
        with pytest.raises(ZeroDivisionError), L.default_arrays("torch"):
            raise ZeroDivisionError
        assert isinstance(L.Parameter(0.0, (1,)).data, np.ndarray)
    assert L.Parameter(0.0, (1,)).dtype is torch.float32


def test_default_arrays_after_an_array(library):
    with L.default_arrays(library.array(np.zeros(0))):
        assert type(L.Parameter(0.0, (1,)).data) is library.array_type


def test_a_variable_as_initial_value():
    parameter = L.Parameter(Variable(np.arange(3.0)))
    assert parameter.is_leaf and parameter.data.tolist() == [0.0, 1.0, 2.0]

"""Every registered function against differences, to second order and beyond, on every array library.

The registry drives these tests: a function cannot be entered without being tested.
"""

import inspect
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.autograd import functions as F
from toolkit.autograd import grad, no_grad, operations
from toolkit.autograd.registry import REGISTRY, Differentiable, Sample, differentiable

NAMES = sorted(REGISTRY)
STEP = 1e-5


class Call:
    """One sample on one library: a function of its floating-point arrays alone, and these arrays."""

    def __init__(self, entry: Differentiable, sample: Sample, library: Any) -> None:
        self.entry, self.sample, self.library = entry, sample, library
        self.inputs: list[np.ndarray] = []
        self.arguments = self._lift(sample.arguments)
        self.keywords = self._lift(sample.keywords)
        assert self.inputs, f"{self!r} has nothing to differentiate"

    def _lift(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            self.inputs.append(value)
            return _Slot(len(self.inputs) - 1)
        return self.library.array(value) if isinstance(value, np.ndarray) else _inside(self._lift, value)

    def __call__(self, *variables: Any) -> Any:
        def fill(value: Any) -> Any:
            if isinstance(value, torch.Generator):
                return value.clone_state()  # the same numbers at every call
            return variables[value.number] if isinstance(value, _Slot) else _inside(fill, value)

        return self.entry(*fill(self.arguments), **fill(self.keywords))

    def derivative(self, order: int) -> Any:
        """Return the function of the inputs that is their derivative of some order along fixed random directions.

        Order 0 weighs the outputs' elements, and every order above takes the product of the gradient with weights.
        """
        if order == 0:

            def weighed(*inputs: Any) -> Any:
                output = self(*inputs)
                return F.sum(output * self._weights(output.shape, 0))

            return weighed
        below = self.derivative(order - 1)

        def derivative(*inputs: Any) -> Any:
            value = below(*inputs)
            gradients = grad(value, inputs, create_graph=True, allow_unused=True) if value.requires_grad else ()
            terms = [
                F.sum(gradient * self._weights(gradient.shape, order)) for gradient in gradients if gradient is not None
            ]
            return sum(terms[1:], terms[0]) if terms else F.sum(inputs[0] * 0.0)

        return derivative

    def leaves(self, values: Any = None) -> list[Any]:
        return [self.library.leaf(value) for value in (self.inputs if values is None else values)]

    def _weights(self, shape: tuple[int, ...], seed: int) -> Any:
        return self.library.array(np.random.default_rng(seed).normal(size=shape))

    def __repr__(self) -> str:
        return f"{self.entry.name} {self.sample!r}"


class _Slot:
    def __init__(self, number: int) -> None:
        self.number = number


def _inside(change: Any, value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(change(part) for part in value)
    return {name: change(part) for name, part in value.items()} if isinstance(value, dict) else value


def calls(name: str, library: Any) -> list[Call]:
    entry = REGISTRY[name]
    return [Call(entry, sample, library) for sample in entry.samples(np.random.default_rng(7))]


def smooth_and_unary(name: str) -> bool:
    samples = REGISTRY[name].samples(np.random.default_rng(7))
    return all(sample.smooth and len(sample.arguments) == 1 and not sample.keywords for sample in samples)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_differences_of_the_derivatives_below(name, order, library):
    """Along one random direction of all inputs together, which no wrong element can hide from.

    The derivatives above the first, costly to difference, are compared between the libraries below.
    """
    if (order > 1 and library.name != "numpy") or (order > 2 and not smooth_and_unary(name)):
        return
    rng = np.random.default_rng(11)
    for call in calls(name, library):
        below = call.derivative(order - 1)
        leaves = call.leaves()
        directions = [np.asarray(rng.normal(size=values.shape)) for values in call.inputs]
        moved = [
            below(*call.leaves([v + step * d for v, d in zip(call.inputs, directions, strict=True)])).item()
            for step in (STEP, -STEP)
        ]
        found = grad(below(*leaves), leaves, allow_unused=True)
        slope = sum(
            float(np.sum(library.host(gradient) * direction))
            for gradient, direction in zip(found, directions, strict=True)
            if gradient is not None
        )
        expected = (moved[0] - moved[1]) / (2 * STEP)
        assert slope == pytest.approx(expected, rel=1e-6, abs=1e-6 if order < 3 else 1e-5), call


@pytest.mark.parametrize("name", NAMES)
def test_all_libraries_agree_to_the_order_that_is_differenced(name, libraries):
    orders = (0, 1, 2) if smooth_and_unary(name) else (0, 1)
    results = {}
    for label, library in libraries.items():
        results[label] = []
        for call in calls(name, library):
            leaves = call.leaves()
            output = call(*leaves)
            results[label].append(library.host(output))
            for order in orders:
                found = grad(call.derivative(order)(*leaves), leaves, allow_unused=True)
                results[label] += [None if gradient is None else library.host(gradient) for gradient in found]
    for label in ("torch", "array_api_strict"):
        for ours, numpys in zip(results[label], results["numpy"], strict=True):
            # One library may know that a derivative is zero where another computes it.
            ours, numpys = (np.zeros(()) if value is None else value for value in (ours, numpys))
            np.testing.assert_allclose(ours, numpys, rtol=1e-12, atol=1e-12, err_msg=f"{name} on {label}")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_own_their_memory_and_fit_their_inputs(name, library):
    for call in calls(name, library):
        leaves = call.leaves()
        call.derivative(0)(*leaves).backward()
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        for leaf in leaves:
            if leaf.grad is not None:
                assert type(leaf.grad) is library.array_type
                assert (tuple(leaf.grad.shape), leaf.grad.dtype) == (leaf.shape, leaf.dtype)
        hosts = [library.host(gradient) for gradient in gradients]
        assert all(host.flags.writeable for host in hosts)
        if library.name != "array_api_strict":  # the standard has no strides
            assert all(host.flags.c_contiguous for host in hosts)
        others = [library.host(leaf) for leaf in leaves]
        for position, host in enumerate(hosts):
            assert not any(np.shares_memory(host, other) for other in hosts[:position] + others)


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_no_record(name, library):
    for call in calls(name, library):
        constants = [library.constant(values) for values in call.inputs]
        assert call(*constants).node is None
        with no_grad():
            assert call(*call.leaves()).is_leaf


@pytest.mark.parametrize("name", NAMES)
def test_arrays_count_as_variables(name, library):
    for call in calls(name, library):
        values = [library.array(values) for values in call.inputs]
        np.testing.assert_array_equal(library.host(call(*values)), library.host(call(*call.leaves())))


@pytest.mark.parametrize("name", NAMES)
def test_every_function_is_public_described_and_grouped(name):
    entry = REGISTRY[name]
    assert name in F.__all__ and getattr(F, name) is entry.function and getattr(operations, name) is entry.function
    assert entry.group and entry.samples(np.random.default_rng(0))
    documentation = inspect.getdoc(entry.function)
    assert documentation and documentation[0].isupper() and documentation.split("\n")[0].endswith((".", ";"))


def test_functions_are_the_registry():
    assert sorted(REGISTRY) == F.__all__ == sorted(name for name in vars(F) if name in REGISTRY)


def test_a_name_is_entered_once():
    with pytest.raises(ValueError, match="'exp' is registered already"):

        @differentiable(lambda rng: [], group="elementwise")
        def exp(x: Any) -> Any:
            return x

    assert REGISTRY["exp"].function is F.exp

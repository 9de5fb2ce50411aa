"""Backward rules against differences: the numerical derivative that every operation is tested with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.autograd.configuration import no_grad, using_config
from toolkit.autograd.derivatives import grad
from toolkit.autograd.tape import Variable, _result, as_variable
from toolkit.core.errors import argument_error

__all__ = ["GradientCheck", "gradcheck", "numerical_gradient"]


@dataclass(frozen=True)
class GradientCheck:
    """How far a function's gradients are from central differences.

    Attributes:
        passed: all errors are within the tolerance.
        errors: for each input, the largest difference divided by the larger of 1 and the largest derivative.
        tolerance: what they were held against.
        order: 1 for gradients, 2 for gradients of gradients.
    """

    passed: bool
    errors: tuple[float, ...]
    tolerance: float
    order: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return dict(vars(self))


def numerical_gradient(
    function: Callable[..., Variable], inputs: Sequence[Any], *, step: float = 1e-6
) -> tuple[Any, ...]:
    """Return central differences of a function's only element by every element of every input.

    Args:
        function: takes one Variable an input, returns a Variable of one element.
        inputs: floating-point arrays or Variables; float64 if the differences are to mean anything.
        step: half the distance between the two points.

    Returns:
        One NumPy array an input, of its shape.
    """
    variables = [as_variable(value, "numerical_gradient", f"inputs[{k}]") for k, value in enumerate(inputs)]
    hosts = [np.array(variable.numpy(), dtype=np.float64) for variable in variables]
    results = []
    with no_grad():
        for k, host in enumerate(hosts):
            slopes = np.zeros_like(host)
            for index in np.ndindex(host.shape):
                values = []
                for signed in (step, -step):
                    moved = host.copy()
                    moved[index] += signed
                    points = [_like(moved if j == k else other, variables[j]) for j, other in enumerate(hosts)]
                    values.append(float(function(*points)))
                slopes[index] = (values[0] - values[1]) / (2 * step)
            results.append(slopes)
    return tuple(results)


@using_config(enable_backprop=True)
def gradcheck(
    function: Callable[..., Variable],
    inputs: Sequence[Any],
    *,
    order: int = 1,
    step: float = 1e-6,
    tolerance: float = 1e-6,
    seed: int = 0,
    raises: bool = True,
) -> GradientCheck:
    """Compare a function's gradients with central differences.

    Args:
        function: takes one Variable an input, returns a Variable of any shape.
        inputs: float64 arrays or Variables.
        order: 1 checks the gradient; 2 checks the gradient of a random combination of the gradient's elements; and
            so on.
        step: half the distance between the two points of a difference.
        tolerance: largest error allowed, relative to the larger of 1 and the largest derivative.
        seed: of the random weights that turn outputs into one number.
        raises: raise instead of returning a check that failed.

    Returns:
        The errors found.

    Raises:
        AssertionError: the gradients differ by more than ``tolerance``.
        ValueError: ``order`` is not positive, there is no input, or one is not float64.
    """
    if order < 1:
        raise argument_error("gradcheck", "order", "a positive integer", order)
    if isinstance(inputs, Variable) or not isinstance(inputs, Sequence):
        expected = "a tuple or list, one an argument of the function"
        raise argument_error("gradcheck", "inputs", expected, type(inputs).__name__, kind=TypeError)
    if not inputs:
        raise argument_error("gradcheck", "inputs", "at least one array", "none")
    variables = [as_variable(value, "gradcheck", f"inputs[{k}]") for k, value in enumerate(inputs)]
    for position, variable in enumerate(variables):
        if "float64" not in str(variable.dtype):
            raise argument_error("gradcheck", f"inputs[{position}]", "float64, for differences of 1e-6", variable.dtype)
    scalar = _weighted(function, seed)
    for level in range(order - 1):
        scalar = _weighted(_gradients(scalar), seed + 1 + level)
    leaves = [Variable(variable.data, requires_grad=True) for variable in variables]
    value = scalar(*leaves)
    if value.node is None:
        analytic: Sequence[Any] = [None] * len(leaves)
    else:
        analytic = grad(value, leaves, allow_unused=True)
    numeric = numerical_gradient(scalar, variables, step=step)
    errors = []
    for leaf, slope, expected in zip(leaves, analytic, numeric, strict=True):
        found = np.zeros(leaf.shape) if slope is None else slope.numpy()
        if found.shape != expected.shape:
            raise AssertionError(f"gradcheck: gradient of shape {found.shape} for an input of shape {expected.shape}")
        scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
        error = float(np.abs(found - expected).max(initial=0.0)) / scale
        errors.append(error if np.isfinite(error) else float("inf"))
    result = GradientCheck(all(error <= tolerance for error in errors), tuple(errors), tolerance, order)
    if raises and not result.passed:
        raise AssertionError(f"gradcheck: order {order}: errors {errors} exceed {tolerance}")
    return result


def _weighted(function: Callable[..., Any], seed: int) -> Callable[..., Variable]:
    """Return the function whose value is the sum of all outputs' elements, each with a fixed random weight."""

    def scalar(*inputs: Variable) -> Variable:
        from toolkit.autograd.operations import sum as total

        outputs = function(*inputs)
        rng = np.random.default_rng(seed)
        result: Any = None
        for output in outputs if isinstance(outputs, tuple) else (outputs,):
            weights = _like(rng.normal(size=output.shape), output)
            term = total(output * weights)
            result = term if result is None else result + term
        return result

    return scalar


def _gradients(function: Callable[..., Variable]) -> Callable[..., tuple[Variable, ...]]:
    def gradients(*inputs: Variable) -> tuple[Variable, ...]:
        with using_config(enable_backprop=True):
            leaves = [value if value.node is not None else Variable(value.data, requires_grad=True) for value in inputs]
            value = function(*leaves)
            if value.node is None:
                return tuple(leaf * 0.0 for leaf in leaves)
            found = grad(value, leaves, create_graph=True, allow_unused=True)
        return tuple(leaf * 0.0 if g is None else g for g, leaf in zip(found, leaves, strict=True))

    return gradients


def _like(host: np.ndarray, like: Variable) -> Variable:
    return _result(like.backend.astype(like.backend.from_numpy(np.asarray(host), like.data), like.data), None)

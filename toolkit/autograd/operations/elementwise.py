"""Operations that treat every element alone, and the arithmetic operators."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.autograd.operation import OUTPUT, Operation
from toolkit.autograd.recording import apply, binary, matched, unary
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable, _result, as_variable
from toolkit.core.errors import argument_error

__all__ = [
    "abs", "add", "clip", "cos", "divide", "erf", "exp", "expm1", "gelu", "leaky_relu", "log", "log1p", "maximum",
    "minimum", "multiply", "negative", "power", "relu", "remainder", "sigmoid", "sin", "softplus", "sqrt", "subtract",
    "tanh", "where",
]  # fmt: skip

_SAME_SHAPE = "arrays of one floating-point dtype"


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.asarray(rng.normal(size=shape))


def _positive(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.asarray(rng.uniform(0.5, 2.0, size=shape))


def _away_from_zero(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return np.asarray(rng.uniform(0.2, 2.0, size=shape) * rng.choice([-1.0, 1.0], size=shape))


def _one(draw: Any, smooth: bool = True) -> Any:
    return lambda rng: [Sample((draw(rng, *shape),), smooth=smooth) for shape in ((2, 3), (), (4,), (0, 2))]


def _pair(left: Any, right: Any, smooth: bool = True) -> Any:
    def samples(rng: np.random.Generator) -> Sequence[Sample]:
        shapes = (((2, 3), (2, 3)), ((3, 1), (1, 4)), ((), (2, 2)), ((2, 1, 3), (4, 1)), ((0, 3), (3,)))
        pairs = [Sample((left(rng, *a), right(rng, *b)), smooth=smooth) for a, b in shapes]
        return [*pairs, Sample((left(rng, 3), 1.7), smooth=smooth), Sample((1.3, right(rng, 3)), smooth=smooth)]

    return samples


# ---------------------------------------------------------------------------------------------------------------------
# Arithmetic

_add = binary(Operation("add", lambda xp, g, saved, needs, p: (g, g), fresh=False, expects=_SAME_SHAPE))
_subtract = binary(
    Operation(
        "subtract",
        lambda xp, g, saved, needs, p: (g, -g if needs[1] is not None else None),
        fresh=False,
        expects=_SAME_SHAPE,
    )
)


def _multiply_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    a, b = saved
    return (g * b if needs[0] is not None else None, g * a if needs[1] is not None else None)


def _divide_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    a, b = saved
    quotient = g / b
    return (quotient if needs[0] is not None else None, -quotient * (a / b) if needs[1] is not None else None)


def _power_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    a, b = saved
    by_base = by_exponent = None
    if needs[0] is not None:
        if isinstance(b, float | int):
            by_base = g * (2.0 * a) if b == 2 else g * 0.0 if b == 0 else g * (float(b) * a ** (b - 1))
        else:
            # b * a**(b - 1) is 0 * inf at a = b = 0, where the derivative is 0.
            slope = b * a ** xp.where(a == 0, xp.where(b == 0, 1.0, b - 1.0), b - 1.0)
            by_base = g * slope
    if needs[1] is not None:
        zero = a == 0
        if isinstance(a, float | int):
            logarithm = float(np.log(a)) if a > 0 else 0.0 if a == 0 else float("nan")
            by_exponent = g * (a**b * logarithm)
        else:
            by_exponent = g * xp.where(zero, 0.0, a**b * xp.log(xp.where(zero, 1.0, a)))
    return by_base, by_exponent


_multiply = binary(Operation("multiply", _multiply_vjp, saves=(0, 1), saved_for=((1,), (0,)), expects=_SAME_SHAPE))
_divide = binary(Operation("divide", _divide_vjp, saves=(0, 1), saved_for=((1,), None), expects=_SAME_SHAPE))
_power = binary(Operation("power", _power_vjp, saves=(0, 1), expects=_SAME_SHAPE))
# Saved for the divisor alone, which is subtracted as many whole times as it goes into the dividend.
_remainder = binary(
    Operation(
        "remainder",
        lambda xp, g, saved, needs, p: (g, -g * (saved[0] // saved[1]) if needs[1] is not None else None),
        saves=(0, 1),
        saved_for=((1,), (1,)),
        fresh=False,
        expects=_SAME_SHAPE,
    )
)
_negative = unary(Operation("negative", lambda xp, g, saved, needs, p: (-g,)))


@differentiable(_pair(_normal, _normal), group="arithmetic")
def add(a: Any, b: Any) -> Variable:
    """Return ``a + b``, broadcast."""
    return _add(a, b)


@differentiable(_pair(_normal, _normal), group="arithmetic")
def subtract(a: Any, b: Any) -> Variable:
    """Return ``a - b``, broadcast."""
    return _subtract(a, b)


@differentiable(_pair(_normal, _normal), group="arithmetic")
def multiply(a: Any, b: Any) -> Variable:
    """Return ``a * b``, broadcast."""
    return _multiply(a, b)


@differentiable(_pair(_normal, _away_from_zero), group="arithmetic")
def divide(a: Any, b: Any) -> Variable:
    """Return ``a / b``, broadcast."""
    return _divide(a, b)


@differentiable(
    lambda rng: [
        *_pair(_positive, _normal)(rng),
        *(Sample((_away_from_zero(rng, 3), exponent)) for exponent in (0, 1, 2, 3, -1)),
    ],
    group="arithmetic",
)
def power(a: Any, b: Any) -> Variable:
    """Return ``a ** b``, broadcast. The derivative by the exponent is 0 where the base is 0."""
    return _power(a, b)


def _remainder_samples(rng: np.random.Generator) -> Sequence[Sample]:
    """Return dividends that are no whole multiples of the divisors."""

    def dividend(divisor: Any, *shape: int) -> np.ndarray:
        return np.asarray((rng.integers(-3, 4, size=shape) + rng.uniform(0.2, 0.8, size=shape)) * divisor)

    wide, row = _away_from_zero(rng, 2, 3), _away_from_zero(rng, 3)
    return [
        Sample((dividend(wide, 2, 3), wide), smooth=False),
        Sample((dividend(row, 2, 3), row), smooth=False),
        Sample((dividend(1.5, 3), 1.5), smooth=False),
        Sample((-2.5, _positive(rng, 3) * 0.5 + 2.6), smooth=False),
        Sample((dividend(wide, 2, 3), -wide), smooth=False),
    ]


@differentiable(_remainder_samples, group="arithmetic")
def remainder(a: Any, b: Any) -> Variable:
    """Return ``a % b``, broadcast: what is left of ``a``, with the sign of ``b``. Jumps have the slope beside them."""
    return _remainder(a, b)


@differentiable(_one(_normal), group="arithmetic")
def negative(x: Any) -> Variable:
    """Return ``-x``."""
    return _negative(x)


# ---------------------------------------------------------------------------------------------------------------------
# Functions of one array

_exp = unary(Operation("exp", lambda xp, g, saved, needs, p: (g * saved[0],), saves=(OUTPUT,)))
_expm1 = unary(Operation("expm1", lambda xp, g, saved, needs, p: (g * (saved[0] + 1.0),), saves=(OUTPUT,)))
_log = unary(Operation("log", lambda xp, g, saved, needs, p: (g / saved[0],), saves=(0,)))
_log1p = unary(Operation("log1p", lambda xp, g, saved, needs, p: (g / (saved[0] + 1.0),), saves=(0,)))
_sqrt = unary(Operation("sqrt", lambda xp, g, saved, needs, p: (g / (saved[0] * 2.0),), saves=(OUTPUT,)))
_sin = unary(Operation("sin", lambda xp, g, saved, needs, p: (g * xp.cos(saved[0]),), saves=(0,)))
_cos = unary(Operation("cos", lambda xp, g, saved, needs, p: (-g * xp.sin(saved[0]),), saves=(0,)))
TANH = Operation("tanh", lambda xp, g, saved, needs, p: (xp.tanh_backward(g, saved[0]),), saves=(OUTPUT,))
_tanh = unary(TANH)
SIGMOID = Operation("sigmoid", lambda xp, g, saved, needs, p: (xp.sigmoid_backward(g, saved[0]),), saves=(OUTPUT,))
_sigmoid = unary(SIGMOID)
_relu = unary(Operation("relu", lambda xp, g, saved, needs, p: (xp.where_positive(g, saved[0]),), saves=(OUTPUT,)))
_abs = unary(Operation("abs", lambda xp, g, saved, needs, p: (g * xp.sign(saved[0]),), saves=(0,)))
_erf = unary(
    Operation(
        "erf",
        lambda xp, g, saved, needs, p: (g * (xp.exp(-(saved[0] * saved[0])) * (2.0 / math.sqrt(math.pi))),),
        saves=(0,),
    )
)


# The fused backward rules of these functions, with backward rules of their own: a second derivative records one
# operation where their formulas would record three.


def _tanh_backward_vjp(xp: Any, v: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    g, y = saved
    return (
        xp.tanh_backward(v, y) if needs[0] is not None else None,
        v * g * y * -2.0 if needs[1] is not None else None,
    )


def _sigmoid_backward_vjp(xp: Any, v: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    g, y = saved
    return (
        xp.sigmoid_backward(v, y) if needs[0] is not None else None,
        v * g * (1.0 - y * 2.0) if needs[1] is not None else None,
    )


_for_output: dict[str, Any] = {"saves": (0, 1), "saved_for": ((1,), None)}
tanh_backward = binary(Operation("tanh_backward", _tanh_backward_vjp, **_for_output))
sigmoid_backward = binary(Operation("sigmoid_backward", _sigmoid_backward_vjp, **_for_output))
where_positive = binary(
    Operation(
        "where_positive",
        lambda xp, v, saved, needs, p: (xp.where_positive(v, saved[0]) if needs[0] is not None else None, None),
        saves=(1,),
    )
)


@differentiable(_one(_normal), group="elementwise")
def exp(x: Any) -> Variable:
    """Return e to the power ``x``."""
    return _exp(x)


@differentiable(_one(_normal), group="elementwise")
def expm1(x: Any) -> Variable:
    """Return ``exp(x) - 1``, exact for small ``x``."""
    return _expm1(x)


@differentiable(_one(_positive), group="elementwise")
def log(x: Any) -> Variable:
    """Return the natural logarithm."""
    return _log(x)


@differentiable(_one(_positive), group="elementwise")
def log1p(x: Any) -> Variable:
    """Return ``log(1 + x)``, exact for small ``x``."""
    return _log1p(x)


@differentiable(_one(_positive), group="elementwise")
def sqrt(x: Any) -> Variable:
    """Return the square root."""
    return _sqrt(x)


@differentiable(_one(_normal), group="elementwise")
def sin(x: Any) -> Variable:
    """Return the sine of ``x`` in radians."""
    return _sin(x)


@differentiable(_one(_normal), group="elementwise")
def cos(x: Any) -> Variable:
    """Return the cosine of ``x`` in radians."""
    return _cos(x)


@differentiable(_one(_normal), group="elementwise")
def tanh(x: Any) -> Variable:
    """Return the hyperbolic tangent. Its output is kept, not its input."""
    return _tanh(x)


@differentiable(_one(_normal), group="elementwise")
def sigmoid(x: Any) -> Variable:
    """Return ``1 / (1 + exp(-x))``."""
    return _sigmoid(x)


@differentiable(_one(_away_from_zero, smooth=False), group="elementwise")
def relu(x: Any) -> Variable:
    """Return ``max(x, 0)``; the derivative at 0 is 0."""
    return _relu(x)


@differentiable(_one(_away_from_zero, smooth=False), group="elementwise")
def abs(x: Any) -> Variable:
    """Return the absolute value; the derivative at 0 is 0."""
    return _abs(x)


@differentiable(_one(_normal), group="elementwise")
def erf(x: Any) -> Variable:
    """Return the error function."""
    return _erf(x)


@differentiable(
    lambda rng: [Sample((_away_from_zero(rng, 2, 3), slope), smooth=False) for slope in (0.2, 0.01)],
    group="elementwise",
)
def leaky_relu(x: Any, slope: float = 0.2) -> Variable:
    """Return ``x`` where it is positive, else ``slope * x``."""
    x = as_variable(x, "leaky_relu", "x")
    return where(x > 0, x, x * slope)


@differentiable(_one(_normal), group="elementwise")
def gelu(x: Any) -> Variable:
    """Return ``x`` times the standard normal distribution function at ``x``, exactly (by the error function)."""
    x = as_variable(x, "gelu", "x")
    return x * (0.5 * (1.0 + erf(x * (2.0**-0.5))))


@differentiable(_one(_away_from_zero), group="elementwise")
def softplus(x: Any, beta: float = 1.0) -> Variable:
    """Return ``log(1 + exp(beta * x)) / beta``, which neither overflows nor loses its tail.

    Raises:
        ValueError: ``beta`` is not positive.
        TypeError: ``beta`` is no number.
    """
    if not isinstance(beta, int | float | np.number):
        raise argument_error("softplus", "beta", "a positive number", type(beta).__name__, kind=TypeError)
    if not 0 < beta < math.inf:
        raise argument_error("softplus", "beta", "a positive number", beta)
    x = as_variable(x, "softplus", "x")
    scaled = x if beta == 1 else x * beta
    result = _softplus(scaled)
    return result if beta == 1 else result * (1.0 / beta)


_softplus = unary(Operation("softplus", lambda xp, g, saved, needs, p: (g * xp.sigmoid(saved[0]),), saves=(0,)))


@differentiable(
    lambda rng: [
        Sample((np.asarray([-1.5, -0.3, 0.4, 2.0]), -1.0, 1.0), smooth=False),
        Sample((np.asarray([-1.5, -0.3, 0.4, 2.0]), None, 1.0), smooth=False),
        Sample((np.asarray([-1.5, -0.3, 0.4, 2.0]), 0.0, None), smooth=False),
    ],
    group="elementwise",
)
def clip(x: Any, low: float | None = None, high: float | None = None) -> Variable:
    """Limit ``x`` to ``[low, high]``; the derivative is 1 inside and at the limits, 0 outside.

    Raises:
        ValueError: both limits are missing, or ``low > high``.
        TypeError: a limit that is no number.
    """
    low, high = _limit("low", low), _limit("high", high)
    if low is None and high is None:
        raise argument_error("clip", "low, high", "at least one limit", "none")
    if low is not None and high is not None and low > high:
        raise argument_error("clip", "low, high", "low <= high", f"{low} > {high}")
    x = as_variable(x, "clip", "x")
    return apply(_CLIP, (x,), {"low": low, "high": high})


def _limit(argument: str, value: Any) -> float | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is not None and not isinstance(value, int | float):
        raise argument_error("clip", argument, "a number or None", type(value).__name__, kind=TypeError)
    return value


def _clip_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    x = saved[0]
    if p["low"] is not None:
        g = xp.where(x >= p["low"], g, 0.0)
    if p["high"] is not None:
        g = xp.where(x <= p["high"], g, 0.0)
    return (g,)


_CLIP = Operation("clip", _clip_vjp, saves=(0,))

# ---------------------------------------------------------------------------------------------------------------------
# Choices between arrays


def _where_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    condition = saved[0]
    return (
        None,
        xp.where(condition, g, 0.0) if needs[1] is not None else None,
        xp.where(condition, 0.0, g) if needs[2] is not None else None,
    )


_WHERE = Operation("where", _where_vjp, saves=(0,), same_dtype=False, expects="a bool condition and two arrays")


@differentiable(
    lambda rng: [
        Sample((rng.random((2, 3)) < 0.5, _normal(rng, 2, 3), _normal(rng, 2, 3))),
        Sample((rng.random((2, 1)) < 0.5, _normal(rng, 3), _normal(rng, 2, 3))),
        Sample((rng.random(3) < 0.5, _normal(rng, 3), 0.0)),
        Sample((rng.random(3) < 0.5, 1.5, _normal(rng, 3))),
    ],
    group="elementwise",
)
def where(condition: Any, a: Any, b: Any) -> Variable:
    """Return ``a`` where ``condition`` holds, else ``b``, all broadcast.

    Args:
        condition: bool array or Variable.
        a: array, Variable or number.
        b: array, Variable or number.

    Raises:
        TypeError: ``condition`` is not bool, or ``a`` and ``b`` differ in dtype.
    """
    from toolkit.autograd.operations.shaping import broadcast_to

    condition = as_variable(condition, "where", "condition")
    if "bool" not in str(condition.dtype):
        raise argument_error("where", "condition", "a bool array", f"dtype {condition.dtype}", kind=TypeError)
    a, b = matched(_WHERE, a, b)
    if not isinstance(a, Variable) and not isinstance(b, Variable):
        raise argument_error("where", "a, b", "at least one array or Variable", f"{a!r}, {b!r}", kind=TypeError)
    if isinstance(a, Variable) and isinstance(b, Variable) and a.dtype != b.dtype:
        raise argument_error("where", "b", f"the dtype of a, {a.dtype}", str(b.dtype), kind=TypeError)
    shapes = [value.shape for value in (condition, a, b) if isinstance(value, Variable)]
    if any(shape != shapes[0] for shape in shapes):
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            raise argument_error("where", "condition, a, b", "shapes that broadcast", str(shapes)) from None
        condition, a, b = (
            broadcast_to(value, shape) if isinstance(value, Variable) and value.shape != shape else value
            for value in (condition, a, b)
        )
    return apply(_WHERE, (condition, a, b))


def _extremum_vjp(chosen: Any) -> Any:
    def vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
        a, b = saved
        half = xp.where(a == b, g * 0.5, 0.0)
        first = chosen(a, b)
        return (
            half + xp.where(first, g, 0.0) if needs[0] is not None else None,
            half + xp.where(chosen(b, a), g, 0.0) if needs[1] is not None else None,
        )

    return vjp


_MAXIMUM = Operation("maximum", _extremum_vjp(lambda a, b: a > b), saves=(0, 1), expects=_SAME_SHAPE)
_MINIMUM = Operation("minimum", _extremum_vjp(lambda a, b: a < b), saves=(0, 1), expects=_SAME_SHAPE)


def _extremum(operation: Operation, a: Any, b: Any) -> Variable:
    a, b = matched(operation, a, b)
    if not isinstance(a, Variable):
        a, b = b, a
    if not isinstance(a, Variable):
        raise argument_error(operation.name, "a, b", "at least one array or Variable", f"{a!r}, {b!r}", kind=TypeError)
    if not isinstance(b, Variable):
        b = _result(a.backend.full(a.shape, b, a.data), None)
    return apply(operation, (a, b))


@differentiable(_pair(_normal, _normal, smooth=False), group="elementwise")
def maximum(a: Any, b: Any) -> Variable:
    """Return the larger of two elements; at a tie each gets half the gradient."""
    return _extremum(_MAXIMUM, a, b)


@differentiable(_pair(_normal, _normal, smooth=False), group="elementwise")
def minimum(a: Any, b: Any) -> Variable:
    """Return the smaller of two elements; at a tie each gets half the gradient."""
    return _extremum(_MINIMUM, a, b)

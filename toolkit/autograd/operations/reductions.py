"""Operations that take axes away, and cumulative sums."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.autograd.operation import OUTPUT, Operation
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error

__all__ = ["cumsum", "logsumexp", "max", "mean", "min", "prod", "sum", "var"]

Axis = int | tuple[int, ...] | None


def normalized_axis(operation: str, axis: Axis, ndim: int) -> Axis:
    """Return ``axis`` as non-negative integers, ``None`` unchanged.

    Raises:
        TypeError: not an integer or a tuple of integers.
        ValueError: out of range or repeated.
    """
    if axis is None or (type(axis) is int and 0 <= axis < ndim):
        return axis
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    normalized = []
    for a in axes:
        if not isinstance(a, int | np.integer) or isinstance(a, bool):
            raise argument_error(
                operation, "axis", "an integer, a tuple of integers or None", repr(axis), kind=TypeError
            )
        if not -ndim <= a < ndim:
            raise argument_error(operation, "axis", f"from {-ndim} to {ndim - 1} for {ndim} axes", axis)
        normalized.append(int(a) % ndim)
    if len(set(normalized)) != len(normalized):
        raise argument_error(operation, "axis", "each axis once", axis)
    return tuple(normalized) if isinstance(axis, tuple | list) else normalized[0]


def single_axis(operation: str, axis: int, ndim: int) -> int:
    """Return ``axis``, one and not several, as a non-negative integer.

    Raises:
        TypeError: not an integer.
        ValueError: out of range.
    """
    normalized = normalized_axis(operation, axis, ndim) if isinstance(axis, int | np.integer) else None
    if not isinstance(normalized, int):
        raise argument_error(operation, "axis", "an integer", repr(axis), kind=TypeError)
    return normalized


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return math.prod([shape[a] for a in axes])


def _reduced(distinct: bool = False, positive: bool = False) -> Any:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        if distinct:
            return rng.permutation(np.linspace(-2.0, 2.0, int(np.prod(shape)) or 1)[: int(np.prod(shape))]).reshape(
                shape
            )
        return rng.uniform(0.5, 2.0, size=shape) if positive else rng.normal(size=shape)

    def samples(rng: np.random.Generator) -> Sequence[Sample]:
        return [
            Sample((draw(rng, (2, 3, 4)),), {"axis": axis, "keepdims": keepdims}, smooth=not distinct)
            for axis in (None, 0, -1, (0, 2))
            for keepdims in (False, True)
        ] + [Sample((draw(rng, ()),), smooth=not distinct)]

    return samples


def _reduce(operation: Operation, x: Any, axis: Axis, keepdims: bool) -> Variable:
    x = as_variable(x, operation.name, "x")
    axis = normalized_axis(operation.name, axis, x.ndim)
    return apply(operation, (x,), {"axis": axis, "keepdims": bool(keepdims)})


def _extreme(operation: Operation, x: Any, axis: Axis, keepdims: bool) -> Variable:
    x = as_variable(x, operation.name, "x")
    axis = normalized_axis(operation.name, axis, x.ndim)
    if _count(x.shape, axis) == 0:
        expected, actual = "at least one element along the axis", f"shape {x.shape}, axis {axis}"
        raise argument_error(operation.name, "x", expected, actual)
    return _reduce(operation, x, axis, keepdims)


def _sum_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return (xp.restore_axes(g, p["axis"], p["keepdims"], p["shapes"][0]),)


def _extreme_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    x, y = saved
    axis, keepdims, shape = p["axis"], p["keepdims"], p["shapes"][0]
    chosen = xp.astype(x == xp.restore_axes(y, axis, keepdims, shape), g)
    share = chosen / xp.restore_axes(xp.sum(chosen, axis=axis, keepdims=keepdims), axis, keepdims, shape)
    return (share * xp.restore_axes(g, axis, keepdims, shape),)


def _prod_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    x, y = saved
    axis, keepdims, shape = p["axis"], p["keepdims"], p["shapes"][0]
    g = xp.restore_axes(g, axis, keepdims, shape)
    # Where a product has lost digits to underflow, dividing a factor out of it again does not give the others'.
    smallest = 2.0**-53 if "64" in str(y.dtype) else 2.0**-24
    if not xp.any_zero(y * smallest) and not xp.any_zero(1.0 / y):
        return (g * xp.restore_axes(y, axis, keepdims, shape) / x,)
    axes = tuple(range(len(shape))) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    order = (*(k for k in range(len(shape)) if k not in axes), *axes)
    lead = len(shape) - len(axes)
    moved = xp.transpose(x, order)
    rows = xp.reshape(moved, (*moved.shape[:lead], _count(shape, axes)))
    others = _product_before(xp, rows) * xp.flip(_product_before(xp, xp.flip(rows, axis=lead)), axis=lead)
    back = tuple(order.index(k) for k in range(len(shape)))
    return (g * xp.transpose(xp.reshape(others, tuple(moved.shape)), back),)


def _product_before(xp: Any, rows: Any) -> Any:
    """Return the product of all elements before each one along the last axis, by doubling how many it takes in."""
    count = rows.shape[-1]

    def shifted(values: Any, step: int) -> Any:
        kept = xp.get_item(values, (..., slice(0, count - step)))
        return xp.pad(kept, ((0, 0),) * (len(values.shape) - 1) + ((step, 0),), value=1.0)

    products = shifted(rows, 1)
    step = 1
    while step < count:
        products = products * shifted(products, step)
        step *= 2
    return products


def _mean_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    shape = p["shapes"][0]
    return (xp.restore_axes(g * (1.0 / _count(shape, p["axis"])), p["axis"], p["keepdims"], shape),)


def _var_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    axis, shape = p["axis"], p["shapes"][0]
    # The deviations add up to nothing, so the mean passes nothing back in the first order; in the next it counts.
    deviation = saved[0] - xp.broadcast_to(xp.mean(saved[0], axis=axis, keepdims=True), shape)
    slope = g * (2.0 / (_count(shape, axis) - p["correction"]))
    return (xp.restore_axes(slope, axis, p["keepdims"], shape) * deviation,)


SUM = Operation("sum", _sum_vjp, fresh=False, shapes=True)
_MEAN = Operation("mean", _mean_vjp, fresh=False, shapes=True)
_VAR = Operation("var", _var_vjp, saves=(0,), shapes=True)
_MAX = Operation("max", _extreme_vjp, saves=(0, OUTPUT), shapes=True)
_MIN = Operation("min", _extreme_vjp, saves=(0, OUTPUT), shapes=True)
_PROD = Operation("prod", _prod_vjp, saves=(0, OUTPUT), shapes=True)
_CUMSUM = Operation(
    "cumsum",
    lambda xp, g, saved, needs, p: (xp.flip(xp.cumsum(xp.flip(g, axis=p["axis"]), axis=p["axis"]), axis=p["axis"]),),
)


@differentiable(
    lambda rng: [*_reduced()(rng), Sample((np.zeros((0, 3)),)), Sample((np.zeros((0, 3)), 0))], group="reduction"
)
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Variable:
    """Return the sum over ``axis`` (all axes if ``None``); 0 of nothing.

    The dtype stays; bools and narrow integers are added up as int64.
    """
    return _reduce(SUM, x, axis, keepdims)


@differentiable(_reduced(), group="reduction")
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Variable:
    """Return the mean over ``axis``; half precision is added up in single, so the sum may be larger than it holds.

    Raises:
        ValueError: the mean of nothing.
    """
    x = as_variable(x, "mean", "x")
    axis = normalized_axis("mean", axis, x.ndim)
    count = _count(x.shape, axis)
    if count == 0:
        raise argument_error("mean", "x", "at least one element along the axis", f"shape {x.shape}, axis {axis}")
    if not x.backend.is_floating(x.data):
        return apply(SUM, (x,), {"axis": axis, "keepdims": bool(keepdims)}) * (1.0 / count)
    return apply(_MEAN, (x,), {"axis": axis, "keepdims": bool(keepdims)})


@differentiable(_reduced(), group="reduction")
def var(x: Any, axis: Axis = None, keepdims: bool = False, *, correction: int = 0) -> Variable:
    """Return the variance over ``axis``: squared deviations from the mean, divided by the count less ``correction``.

    Raises:
        ValueError: not more elements than ``correction``.
        TypeError: ``x`` is not floating-point, or ``correction`` no number.
    """
    if not isinstance(correction, int | float | np.number):
        raise argument_error("var", "correction", "a number", type(correction).__name__, kind=TypeError)
    x = floating("var", "x", x)
    axis = normalized_axis("var", axis, x.ndim)
    count = _count(x.shape, axis)
    if count <= correction:
        raise argument_error(
            "var", "x", f"more than {correction} elements along the axis", f"shape {x.shape}, axis {axis}"
        )
    return apply(_VAR, (x,), {"axis": axis, "keepdims": bool(keepdims), "correction": float(correction)})


@differentiable(
    lambda rng: [
        *_reduced(positive=True)(rng),
        Sample((np.asarray([[1.5, 0.0, 2.0], [0.0, 0.0, 3.0]]),), {"axis": 1}, label="zeros"),
        Sample((np.asarray([[1.5, 0.0, 2.0], [0.5, 2.0, 3.0]]),), label="one zero"),
    ],
    group="reduction",
)
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Variable:
    """Return the product over ``axis``; 1 of nothing.

    The derivatives of every order are right where factors are zero too, and where the product under- or overflows.
    """
    return _reduce(_PROD, x, axis, keepdims)


@differentiable(_reduced(distinct=True), group="reduction")
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Variable:
    """Return the largest element over ``axis``; equal ones share the gradient evenly.

    Raises:
        ValueError: the largest of nothing.
    """
    return _extreme(_MAX, x, axis, keepdims)


@differentiable(_reduced(distinct=True), group="reduction")
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Variable:
    """Return the smallest element over ``axis``; equal ones share the gradient evenly.

    Raises:
        ValueError: the smallest of nothing.
    """
    return _extreme(_MIN, x, axis, keepdims)


@differentiable(
    lambda rng: (
        [Sample((rng.normal(size=(2, 3, 4)),), {"axis": axis}) for axis in (0, 1, -1)]
        + [Sample((rng.normal(size=(0, 2)), 0))]
    ),
    group="reduction",
)
def cumsum(x: Any, axis: int) -> Variable:
    """Return the running sum along ``axis``."""
    x = as_variable(x, "cumsum", "x")
    return apply(_CUMSUM, (x,), {"axis": single_axis("cumsum", axis, x.ndim)})


@differentiable(_reduced(), group="reduction")
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Variable:
    """Return ``log(sum(exp(x)))`` over ``axis`` without overflow; ``-inf`` of nothing and of ``-inf`` alone."""
    return _reduce(_LOGSUMEXP, x, axis, keepdims)


def _logsumexp_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    x, y = saved
    axis, keepdims, shape = p["axis"], p["keepdims"], p["shapes"][0]
    level = xp.restore_axes(y, axis, keepdims, shape)
    # Where all terms are -inf so is the result, and none of them carries weight.
    level = xp.where(level == -math.inf, 0.0, level)
    return (xp.restore_axes(g, axis, keepdims, shape) * xp.exp(x - level),)


_LOGSUMEXP = Operation("logsumexp", _logsumexp_vjp, saves=(0, OUTPUT), shapes=True)

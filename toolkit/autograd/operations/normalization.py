"""Batch and layer normalization."""

import math
from typing import Any

import numpy as np

from toolkit.autograd.backends.windows import volume
from toolkit.autograd.configuration import config
from toolkit.autograd.operation import EXTRA, Operation
from toolkit.autograd.operations.arguments import floating, shaped
from toolkit.autograd.operations.reductions import Axis, normalized_axis
from toolkit.autograd.operations.shaping import transpose
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["batch_normalization", "layer_normalization"]

_SAVED: dict[str, Any] = {
    "saves": (0, 1, EXTRA, EXTRA),
    "saved_for": ((0, 1), (0,), (0, 1), (0, 1)),
}


def _batch_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    axes = tuple(axis for axis in range(len(g.shape)) if axis != 1)
    constant = not p["train"]
    gradients = xp.normalization_gradients(g, *saved, needs, axes=axes, shared=axes, eps=p["eps"], constant=constant)
    return (*gradients, None, None)


def _layer_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    lead, ndim = len(g.shape) - p["n_axes"], len(g.shape)
    axes, shared = tuple(range(lead, ndim)), tuple(range(lead))
    return xp.normalization_gradients(g, *saved, needs, axes=axes, shared=shared, eps=p["eps"], constant=False)


_BATCH = Operation("batch_normalization", _batch_vjp, **_SAVED)
_LAYER = Operation("layer_normalization", _layer_vjp, **_SAVED)


def checked_eps(operation: str, value: Any) -> float:
    """Return what is added to a variance.

    Raises:
        ValueError: negative, infinite, or no number.
    """
    if not isinstance(value, float | int) or not 0 <= value < math.inf:
        raise argument_error(operation, "eps", "a finite number, 0 or more", repr(value))
    return float(value)


def _batch_samples(rng: np.random.Generator) -> list[Sample]:
    shapes = ((4, 3), (3, 2, 2, 2), (2, 2, 3))
    return [
        *(Sample(tuple(rng.normal(size=s) for s in (shape, shape[1:2], shape[1:2]))) for shape in shapes),
        Sample((rng.normal(size=(4, 2)),), label="no scale, no shift"),
        Sample((rng.normal(size=(4, 2)), None, rng.normal(size=2)), {"eps": 0.1}, label="shift alone"),
        Sample((np.asarray(rng.normal(size=(0, 2))), rng.normal(size=2), rng.normal(size=2)), label="no samples"),
    ]


@differentiable(_batch_samples, group="normalization")
def batch_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    *,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Variable:
    """Return ``gamma * (x - mean) / sqrt(variance + eps) + beta`` with statistics of each channel.

    With ``config.train`` they are those of the batch (variance divided by the count), and the running ones, if
    given, are updated in place: ``running = (1 - momentum) * running + momentum * batch``, the variance divided by
    the count less one. A checkpoint that runs for the second time does not update them again. Without
    ``config.train`` the running ones are used and left alone.

    Args:
        x: shape ``(samples, channels, ...)``.
        gamma: scale, shape ``(channels,)``, or ``None`` for 1.
        beta: shift, shape ``(channels,)``, or ``None`` for 0.
        running_mean: array or Variable, shape ``(channels,)``, or ``None``.
        running_var: array or Variable, shape ``(channels,)``, or ``None``.
        momentum: weight of the batch in the running statistics.
        eps: added to the variance.

    Raises:
        ValueError: shapes that do not fit, one value a channel in training, no running statistics out of it.
        TypeError: other array libraries or dtypes.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2.
    """
    name = "batch_normalization"
    x = floating(name, "x", x)
    if x.ndim < 2:
        raise argument_error(name, "x", "shape (samples, channels, ...)", x.shape)
    if not isinstance(momentum, float | int) or not 0 <= momentum <= 1:
        raise argument_error(name, "momentum", "a number from 0 to 1", repr(momentum))
    own = x.shape[1:2]
    gamma, beta = shaped(name, "gamma", gamma, own, x), shaped(name, "beta", beta, own, x)
    running = [
        shaped(name, argument, value, own, x)
        for argument, value in (("running_mean", running_mean), ("running_var", running_var))
    ]
    if (running[0] is None) != (running[1] is None):
        raise argument_error(name, "running_mean, running_var", "both or neither", "one of them")
    train = config.train
    if train and volume((x.shape[0], *x.shape[2:])) == 1 and own[0]:
        raise argument_error(name, "x", "more than one value a channel in training", f"shape {x.shape}")
    if not train and running[0] is None:
        raise argument_error(name, "running_mean", "running statistics, as config.train is off", "None")
    statistics = [None if value is None or (train and config.in_recomputing) else value.data for value in running]
    params = {"train": train, "momentum": float(momentum), "eps": checked_eps(name, eps)}
    return apply(_BATCH, (x, gamma, beta, *statistics), params)


def _layer_samples(rng: np.random.Generator) -> list[Sample]:
    return [
        Sample((rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=4))),
        Sample((rng.normal(size=(2, 2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))), label="two axes"),
        Sample((rng.normal(size=(2, 3, 4)),), {"axis": (1, 2)}, label="no scale, no shift"),
        Sample((rng.normal(size=(2, 3, 4)), rng.normal(size=3)), {"axis": 1}, label="not the last axis"),
        Sample((rng.normal(size=4), None, rng.normal(size=4)), {"eps": 0.1}, label="one sample, shift alone"),
        Sample((rng.normal(size=(0, 3)), rng.normal(size=3), rng.normal(size=3)), label="no samples"),
    ]


@differentiable(_layer_samples, group="normalization")
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, *, axis: Axis = None, eps: float = 1e-5
) -> Variable:
    """Return ``gamma * (x - mean) / sqrt(variance + eps) + beta`` with statistics of each sample.

    Args:
        x: any shape with at least one axis.
        gamma: scale, of the shape of ``x`` along the normalized axes, or ``None`` for 1.
        beta: shift, likewise, or ``None`` for 0.
        axis: the axes normalized over, ascending; ``None`` means the last ones, as many as ``gamma`` or ``beta`` has
            (the last alone if there is neither).
        eps: added to the variance.

    Raises:
        ValueError: shapes that do not fit, axes out of range.
        TypeError: other array libraries or dtypes.

    Source: Ba, Kiros and Hinton 2016, equation 4.
    """
    name = "layer_normalization"
    x = floating(name, "x", x)
    if axis is None:
        given = gamma if gamma is not None else beta
        axes = tuple(range(-(1 if given is None else max(1, len(given.shape))), 0))
    else:
        axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(sorted(normalized_axis(name, axes, x.ndim)))  # type: ignore[arg-type]
    if not axes:
        raise argument_error(name, "axis", "at least one axis", axis)
    order = (*(k for k in range(x.ndim) if k not in axes), *axes)
    own = tuple(x.shape[k] for k in axes)
    gamma, beta = shaped(name, "gamma", gamma, own, x), shaped(name, "beta", beta, own, x)
    moved = order != tuple(range(x.ndim))
    params = {"n_axes": len(axes), "eps": checked_eps(name, eps)}
    y = apply(_LAYER, (transpose(x, order) if moved else x, gamma, beta), params)
    return transpose(y, tuple(order.index(k) for k in range(x.ndim))) if moved else y

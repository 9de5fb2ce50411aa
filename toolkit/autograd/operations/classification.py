"""Softmax, and the losses of classification and regression."""

from typing import Any

import numpy as np

from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.backends.windows import volume
from toolkit.autograd.configuration import WATCH, config
from toolkit.autograd.operation import EXTRA, OUTPUT, Operation
from toolkit.autograd.operations.arguments import floating, integers, look_up, reduction_name, shaped
from toolkit.autograd.operations.reductions import normalized_axis
from toolkit.autograd.operations.reductions import sum as total
from toolkit.autograd.operations.shaping import reshape
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable, _recorded, _result, as_variable
from toolkit.core.errors import argument_error

__all__ = ["cross_entropy", "cross_entropy_gradient", "log_softmax", "mse", "softmax"]


def _softmax_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return (xp.softmax_backward(g, saved[0], p["axis"]),)


def _log_softmax_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return (xp.log_softmax_backward(g, saved[0], p["axis"]),)


def _cross_entropy_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    logits, labels = xp.standing_in(saved[0], needs[0]), saved[1]
    return xp.cross_entropy_gradient(logits, labels, g, reduction=p["reduction"]), None


def _cross_entropy_gradient_vjp(xp: Any, v: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    log_probabilities, labels, g = saved
    shape, reduction = log_probabilities.shape, p["reduction"]
    scale = 1.0 / volume(labels.shape) if reduction == "mean" else 1.0
    probabilities = xp.probabilities(log_probabilities)
    by_logits = by_g = None
    if needs[0] is not None:
        spread = xp.reshape(g, (shape[0], 1, *shape[2:])) if reduction == "none" else g * scale
        by_logits = xp.softmax_backward(v * spread, probabilities, 1)
    if needs[2] is not None:
        product = v * xp.where(xp.one_hot(labels, shape), probabilities - 1.0, probabilities)
        by_g = xp.sum(product, axis=1 if reduction == "none" else None, keepdims=False)
        by_g = by_g if scale == 1.0 else by_g * scale
    return by_logits, None, by_g


def _mse_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    x, y = saved
    scale = 2.0 / volume(tuple(x.shape)) if p["reduction"] == "mean" else 2.0
    slope = (x - y) * (g * scale)
    return slope if needs[0] is not None else None, -slope if needs[1] is not None else None


_SOFTMAX = Operation("softmax", _softmax_vjp, saves=(OUTPUT,))
_LOG_SOFTMAX = Operation("log_softmax", _log_softmax_vjp, saves=(OUTPUT,))
_CROSS_ENTROPY = Operation("cross_entropy", _cross_entropy_vjp, saves=(EXTRA, EXTRA), same_dtype=False)
_CROSS_ENTROPY_GRADIENT = Operation(
    "cross_entropy_gradient", _cross_entropy_gradient_vjp, saves=(0, 1, 2), same_dtype=False
)
_PARAMS = {reduction: {"reduction": reduction} for reduction in ("mean", "sum", "none")}
_MSE = Operation("mse", _mse_vjp, saves=(0, 1))


def _softmax_samples(rng: np.random.Generator) -> list[Sample]:
    shapes_and_axes = (((2, 4), -1), ((2, 4), 0), ((2, 3, 2), 1), ((4,), 0), ((), -1), ((0, 3), 1), ((3, 1), 1))
    return [Sample((rng.normal(size=shape), axis)) for shape, axis in shapes_and_axes]


def _along(operation: Operation, x: Any, axis: int) -> Variable:
    x = floating(operation.name, "x", x)
    if x.ndim == 0:
        return reshape(_along(operation, reshape(x, (1,)), axis), ())
    if not isinstance(axis, int | np.integer):
        raise argument_error(operation.name, "axis", "one integer", repr(axis), kind=TypeError)
    return apply(operation, (x,), {"axis": normalized_axis(operation.name, axis, x.ndim)})


@differentiable(_softmax_samples, group="classification")
def softmax(x: Any, axis: int = -1) -> Variable:
    """Return ``exp(x) / sum(exp(x))`` along ``axis``, without overflow.

    An element of -inf has probability 0; where all are -inf, or one is +inf, the result is NaN.
    """
    return _along(_SOFTMAX, x, axis)


@differentiable(_softmax_samples, group="classification")
def log_softmax(x: Any, axis: int = -1) -> Variable:
    """Return the logarithm of :func:`softmax`, exact where the probability itself would vanish."""
    return _along(_LOG_SOFTMAX, x, axis)


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=(3, 4)), np.asarray([0, 3, 1]))),
        Sample((rng.normal(size=(3, 4)), np.asarray([0, 3, 3])), {"reduction": "sum"}),
        Sample((rng.normal(size=(3, 4)), np.asarray([2, 2, 1])), {"reduction": "none"}),
        Sample((rng.normal(size=(2, 3, 2, 2)), rng.integers(3, size=(2, 2, 2))), label="images"),
        Sample((rng.normal(size=(2, 3, 2)), rng.integers(3, size=(2, 2))), {"reduction": "none"}),
        Sample((rng.normal(size=4), np.asarray(2)), label="one sample without an axis for it"),
        Sample((rng.normal(size=(0, 3)), np.zeros(0, dtype=np.int64)), {"reduction": "sum"}, label="no samples"),
        Sample((rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), size=3)), label="probabilities"),
        Sample((rng.normal(size=(2, 3, 2)), rng.uniform(size=(2, 3, 2))), {"reduction": "none"}),
    ],
    group="classification",
)
def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Variable:
    """Return how many nats the softmax of ``logits`` needs for the true classes: ``-log_softmax(logits)[label]``.

    Only the log-probabilities are kept for the backward pass.

    Args:
        logits: shape ``(samples, classes, ...)``, or ``(classes,)`` for one sample.
        labels: class of each sample, integers of shape ``(samples, ...)``; or a probability for each class, of the
            shape and dtype of ``logits``.
        reduction: ``"mean"`` or ``"sum"`` over the samples, or ``"none"``.

    Returns:
        Shape ``()``, or with ``"none"`` that of integer labels.

    Raises:
        ValueError: a label out of range, shapes that do not fit, another reduction, the mean of no samples.
        TypeError: logits that are not floating-point, labels that are neither.
    """
    loss = _of_rows(logits, labels, reduction)
    if loss is not None:
        return loss
    logits = floating("cross_entropy", "logits", logits)
    reduction = reduction_name("cross_entropy", reduction)
    whole = logits.shape
    if not whole or whole == (0,):
        raise argument_error("cross_entropy", "logits", "shape (samples, classes, ...) or (classes,)", whole)
    axis = 1 if len(whole) > 1 else 0
    shape = (*whole[:axis], *whole[axis + 1 :])
    if reduction == "mean" and volume(shape) == 0:
        raise argument_error("cross_entropy", "logits", "at least one sample for a mean", f"shape {whole}")
    if _are_probabilities(labels, logits):
        if tuple(labels.shape) != whole:
            _refuse_fractions(labels, shape, logits)
        likely = shaped("cross_entropy", "labels", labels, logits.shape, logits)
        losses = -total(likely * log_softmax(logits, axis), axis)
        return losses if reduction == "none" else total(losses) * (1.0 / volume(shape) if reduction == "mean" else 1.0)
    _refuse_fractions(labels, shape, logits)
    array = integers("cross_entropy", "labels", labels, logits)
    if tuple(array.shape) != shape:
        expected = f"shape {shape}, as logits without the classes"
        raise argument_error("cross_entropy", "labels", expected, tuple(array.shape))
    if axis == 0:
        logits, array = reshape(logits, (1, *logits.shape)), logits.backend.reshape(array, (1,))
    params = {"reduction": reduction}
    loss = look_up(_CROSS_ENTROPY, (logits, array), params, argument="labels", limit=whole[axis], like=logits)
    return reshape(loss, ()) if axis == 0 and reduction == "none" else loss


def _of_rows(logits: Any, labels: Any, reduction: str) -> Variable | None:
    """Return :func:`cross_entropy` of the common case, or ``None`` where the general way has to look closer.

    That is a matrix of logits and a vector of labels, of one library whose kernel looks at the labels itself.
    """
    mode = config.mode
    if mode == WATCH or not isinstance(logits, Variable):
        return None
    x = logits.data
    array_type = type(x)
    if isinstance(labels, Variable):
        labels = labels.data
    if type(labels) is not array_type or type(reduction) is not str:
        return None
    params = _PARAMS.get(reduction)
    shape = x.shape
    if params is None or len(shape) != 2 or 0 in shape or labels.shape != (shape[0],):
        return None
    backend = backend_of_type(array_type)
    if not backend.is_floating(x) or not backend.checks_labels(labels):
        return None
    try:
        loss, log_probabilities, labels = backend.cross_entropy(x, labels, reduction=reduction)
    except (ValueError, IndexError, RuntimeError):
        return None
    if type(loss) is not array_type:
        loss = backend.as_array(loss, x)
    node = logits.node
    if mode or node is None:
        return _result(loss, None)
    kept = (log_probabilities, labels)
    return _recorded(loss, _CROSS_ENTROPY, (node, None), kept, params, backend.version(kept))


def cross_entropy_gradient(logits: Any, labels: Any, g: Any, *, reduction: str) -> Variable:
    """Return the gradient of :func:`cross_entropy` by its logits, given that by its result.

    Args:
        logits: shape ``(samples, classes, ...)``, shifted so that they are log-probabilities.
        labels: integers that have been checked.
        g: shape of the loss.
        reduction: as it was there.
    """
    return apply(_CROSS_ENTROPY_GRADIENT, (logits, labels, g), {"reduction": reduction})


def _refuse_fractions(labels: Any, shape: tuple, logits: Variable) -> None:
    """Tell who gives floating-point numbers that are no probabilities of what kinds labels are."""
    dtype = str(getattr(labels, "dtype", ""))
    if "float" in dtype:
        expected = f"integer labels of shape {shape}, or probabilities of shape {logits.shape} and {logits.dtype}"
        kind = ValueError if _are_probabilities(labels, logits) and labels.dtype == logits.dtype else TypeError
        actual = f"{type(labels).__name__} of shape {tuple(labels.shape)} and {dtype}"
        raise argument_error("cross_entropy", "labels", expected, actual, kind=kind)


def _are_probabilities(labels: Any, logits: Variable) -> bool:
    data = labels.data if isinstance(labels, Variable) else labels
    return type(data) is type(logits.data) and logits.backend.is_floating(data)


@differentiable(
    lambda rng: (
        [
            Sample((rng.normal(size=shape), rng.normal(size=shape)), {"reduction": reduction})
            for shape in ((3, 2), (), (4,))
            for reduction in ("mean", "sum", "none")
        ]
        + [Sample((rng.normal(size=(0, 2)), rng.normal(size=(0, 2))), {"reduction": "sum"}, label="nothing")]
    ),
    group="classification",
)
def mse(x: Any, y: Any, reduction: str = "mean") -> Variable:
    """Return the squared differences of ``x`` and ``y``, which must have one shape.

    Args:
        x: array or Variable.
        y: array or Variable of the same shape and dtype: no broadcasting, which here hides mistakes.
        reduction: ``"mean"`` or ``"sum"`` over all elements, or ``"none"``.

    Raises:
        ValueError: the shapes differ, another reduction, the mean of nothing.
        TypeError: the dtypes differ or are not floating-point.
    """
    reduction = reduction_name("mse", reduction)
    x = floating("mse", "x", x)
    y = as_variable(shaped("mse", "y", y, x.shape, x), "mse", "y")
    if reduction == "mean" and x.size == 0:
        raise argument_error("mse", "x", "at least one element for a mean", f"shape {x.shape}")
    return apply(_MSE, (x, y), {"reduction": reduction})

"""Derivatives of a cost through the values of the variables, and one clear error for a cost that has none."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import argument_error
from toolkit.estimators.problems import Problem, Values

_SIGNS_OF_A_BROKEN_GRAPH = ("requires grad", "require grad", "derivative", "inplace operation", "in-place operation")


@dataclass(frozen=True)
class SignalGradients:
    """A cost and its derivatives.

    Attributes:
        signals: for each layer, as :meth:`Problem.signals` returns them, without a graph.
        gradients: for each tensor that was asked for the derivative of the whole cost, ``signals[0]``, shaped like it.
    """

    signals: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]


def recording() -> AbstractContextManager[object]:
    """Record a graph in here, whether the caller does or not; inside ``torch.inference_mode()`` too."""
    # Leaving inference mode turns recording on, also where that mode was not on.
    return torch.inference_mode(False)


def attached(tensor: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the same numbers as a new leaf that derivatives can be taken with respect to."""
    held = tensor.detach()
    # What was made in inference mode can have no derivative, but a copy can.
    return (held.clone() if held.is_inference() else held).requires_grad_()


def gradient_of_signals(
    problem: Problem,
    values: Values,
    logits: Values,
    wrt: Sequence[Float[Tensor, "..."]],
    *,
    operation: str,
    relaxed: bool = False,
    shared_by: int = 1,
) -> SignalGradients:
    """Evaluate the cost once and differentiate it with respect to tensors behind the values.

    One backward pass serves all layers: the signal of a layer leaves out only terms that neither it nor a later one
    changes, so its derivative with respect to that layer is the derivative of the whole cost.

    Args:
        problem: whose cost; the evaluation is counted.
        values: of all the layers, ``[*leading, *batch, n(, K)]``, made from ``wrt`` while a graph was recorded (or the
            same tensors as ``wrt``).
        logits: what the values were made with, likewise.
        wrt: what to differentiate with respect to: leaves of :func:`attached`, or tensors computed from such. What one
            of them changes further on (the logits of later layers, say) is part of its derivative. Examples and
            samples must not mix.
        operation: the estimator's name, for errors.
        relaxed: whether the values lie between the variables' own, for errors.
        shared_by: as for :meth:`Problem.signals`.

    Returns:
        Signals and derivatives; zeros for a tensor that the cost does not depend on.

    Raises:
        TypeError: the cost does not depend on the values differentiably.
        ValueError: the cost, or its derivative, is not finite there, or has the wrong shape.
    """
    signals = record_signals(problem, values, logits, operation=operation, relaxed=relaxed, shared_by=shared_by)
    gradients = differentiate(signals[0], values, wrt, operation=operation)
    require_finite(gradients, operation=operation, relaxed=relaxed)
    return SignalGradients(tuple(signal.detach() for signal in signals), gradients)


def record_signals(
    problem: Problem,
    values: Values,
    logits: Values,
    *,
    operation: str,
    relaxed: bool = False,
    shared_by: int = 1,
) -> tuple[Tensor, ...]:
    """Evaluate the cost with its graph; arguments and errors as for :func:`gradient_of_signals`."""
    try:
        with torch.enable_grad():
            return problem.signals(values, logits, shared_by=shared_by)
    except RuntimeError as error:
        if _is_broken_graph(error):
            raise _not_differentiable(operation, str(error).splitlines()[0]) from error
        raise
    except ValueError as error:
        if relaxed and getattr(error, "argument", None) == "f" and getattr(error, "expected", "") == "finite costs":
            expected = f"a cost that is finite {_place(relaxed)}"
            raise argument_error(operation, "f", expected, getattr(error, "actual", "")) from error
        raise


def differentiate(
    cost: Float[Tensor, "..."],
    values: Values,
    wrt: Sequence[Float[Tensor, "..."]],
    *,
    operation: str,
    argument: str = "f",
    required: bool = True,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Differentiate costs that :func:`record_signals` returned, or another function of the values.

    Args:
        cost: one signal, ``[*leading, *batch]``.
        values: that it was evaluated at; those with a graph are looked at for whether the cost depends on them.
        wrt: what to differentiate with respect to.
        operation: the estimator's name, for errors.
        argument: what the function is called, for errors.
        required: whether a cost that depends on none of the values is an error; else the derivative is zero.
        create_graph: whether the derivative is to be differentiated again.

    Returns:
        One tensor for each of ``wrt``, shaped like it; :func:`require_finite` looks at the numbers.

    Raises:
        TypeError: as :func:`gradient_of_signals`.
    """
    # What is asked for twice costs a pass over it twice.
    asked = {id(tensor): tensor for tensor in (*wrt, *values) if tensor.requires_grad}
    found: tuple[Tensor | None, ...] = (None,) * len(asked)
    if cost.requires_grad:
        try:
            found = torch.autograd.grad(
                cost,
                list(asked.values()),
                torch.ones_like(cost),
                allow_unused=True,
                create_graph=create_graph,
                retain_graph=True,
            )
        except RuntimeError as error:
            if _is_broken_graph(error):
                raise _not_differentiable(operation, str(error).splitlines()[0], argument) from error
            raise
    by_tensor = dict(zip(asked, found, strict=True))
    if required and all(by_tensor.get(id(value)) is None for value in values):
        raise _not_differentiable(operation, "a result that autograd cannot trace to the values", argument)
    traced = [by_tensor.get(id(tensor)) for tensor in wrt]
    return tuple(
        torch.zeros_like(tensor) if gradient is None else gradient for tensor, gradient in zip(wrt, traced, strict=True)
    )


def require_finite(
    gradients: Sequence[Float[Tensor, "..."]], *, operation: str, argument: str = "f", relaxed: bool = False
) -> None:
    """Refuse derivatives with entries that are not finite.

    Args:
        gradients: at least one.
        operation: the estimator's name, for errors.
        argument: what the function is called whose derivatives they are, for errors.
        relaxed: whether the values lie between the variables' own, for errors.

    Raises:
        ValueError: one is not.
    """
    # One number crosses from the device; a sum is finite unless an entry is not (or it overflows: look again).
    sums = [gradient.detach().sum() for gradient in gradients]
    if math.isfinite(sum(sums[1:], sums[0]).item()):
        return
    for gradient in gradients:
        if not torch.isfinite(gradient).all():
            bad = "NaN" if torch.isnan(gradient).any() else "an infinite one"
            raise argument_error(operation, argument, f"a derivative that is finite {_place(relaxed)}", bad)


def _place(relaxed: bool) -> str:
    return "between the values of the variables too, where they are relaxed" if relaxed else "where it is evaluated"


def _is_broken_graph(error: RuntimeError) -> bool:
    return any(sign in str(error) for sign in _SIGNS_OF_A_BROKEN_GRAPH)


def _not_differentiable(operation: str, actual: str, argument: str = "f") -> Exception:
    expected = (
        "a function that is differentiable with respect to the values: torch operations with a derivative, no "
        "comparison, rounding to integers, detach() or NumPy"
    )
    return argument_error(operation, argument, expected, actual, kind=TypeError)

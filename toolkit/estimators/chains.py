"""Problems whose cost is any function: one layer of independent variables, or several layers in a chain."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require
from toolkit.estimators.layers import BernoulliLayer, CategoricalLayer, Layer
from toolkit.estimators.problems import Problem, Values


class Factorized(Problem):
    """One layer of independent variables.

    Args:
        logits: ``[*batch, n]`` of Bernoulli variables, ``[*batch, n, K]`` of categorical ones; floating.
        f: the cost: takes values ``[*leading, *batch, n]`` (one-hot ``[…, n, K]``) with any leading axes, leaves them
            as they are, and returns ``[*leading, *batch]``.
        variables: ``"bernoulli"`` or ``"categorical"``.

    Raises:
        ValueError: logits without variables or with fewer than two values, not finite, or an unknown kind.
        TypeError: logits that are no floating tensor, a cost that cannot be called.
    """

    def __init__(
        self,
        logits: Float[Tensor, "..."],
        f: Callable[[Tensor], Tensor],
        *,
        variables: str = "bernoulli",
    ) -> None:
        super().__init__()
        kind = _layer_of("Factorized", logits, variables)
        _require_finite("Factorized", logits)
        _require_callable("Factorized", "f", f)
        self.layers = (kind,)
        self.batch_shape = logits.shape[: logits.ndim - len(kind.shape)]
        self.dtype, self.device = logits.dtype, logits.device
        self.f = f
        self._logits = logits

    def logits(self, layer: int, previous: Float[Tensor, "..."] | None) -> Float[Tensor, "..."]:
        """Return the logits as they were given."""
        return self._logits

    def compute_signals(self, values: Values, logits: Values) -> tuple[Any, ...]:
        """Return the cost."""
        return (_call("Factorized", "f", self.f, values[0]),)

    def compute_direct(self, values: Values) -> Float[Tensor, "..."] | None:
        """Return the cost, for the sake of its own parameters."""
        return _call("Factorized", "f", self.f, values[0])


class Layered(Problem):
    """Several layers, each given the values of the one before.

    Args:
        logits: of the first layer, ``[*batch, n]`` (Bernoulli) or ``[*batch, n, K]`` (categorical).
        transitions: for each further layer a function from the values of the layer before, with any leading axes, to
            logits with the same leading axes. Infinite logits are values that always or never occur; what comes in
            another precision is converted.
        f: the cost: takes one tensor of values a layer, ``f(z_1, …, z_L)``, and returns ``[*leading, *batch]``.
        variables: ``"bernoulli"`` or ``"categorical"``, for all layers, or one word a layer.

    Raises:
        ValueError, TypeError: as :class:`Factorized`; a transition that does not keep the leading axes,
            makes NaN, or changes values in place.
    """

    def __init__(
        self,
        logits: Float[Tensor, "..."],
        transitions: Sequence[Callable[[Tensor], Tensor]],
        f: Callable[..., Tensor],
        *,
        variables: str | Sequence[str] = "bernoulli",
    ) -> None:
        super().__init__()
        if isinstance(transitions, Tensor) or not isinstance(transitions, Sequence):
            expected = "a sequence of functions, one for each layer but the first"
            reject("Layered", "transitions", expected, type(transitions).__name__, kind=TypeError)
        kinds = [variables] * (len(transitions) + 1) if isinstance(variables, str) else list(variables)
        expected = f"one word a layer, {len(transitions) + 1} in all"
        require(len(kinds) == len(transitions) + 1, "Layered", "variables", expected, variables)
        first = _layer_of("Layered", logits, kinds[0])
        _require_finite("Layered", logits)
        _require_callable("Layered", "f", f)
        self.batch_shape = logits.shape[: logits.ndim - len(first.shape)]
        self.dtype, self.device = logits.dtype, logits.device
        self.f = f
        self.transitions = tuple(transitions)
        self._logits = logits
        layers: list[Layer] = [first]
        value = _first_values(first, logits)
        for number, (transition, kind) in enumerate(zip(transitions, kinds[1:], strict=True)):
            _require_callable("Layered", f"transitions[{number}]", transition)
            with torch.no_grad():
                made = transition(value)
            layer = _layer_of("Layered", made, kind, f"transitions[{number}]")
            if made.shape != (*self.batch_shape, *layer.shape):
                expected = f"logits with the batch axes {tuple(self.batch_shape)}"
                reject("Layered", f"transitions[{number}]", expected, tuple(made.shape))
            _require_numbers(f"transitions[{number}]", made)
            layers.append(layer)
            value = _first_values(layer, made.to(self.dtype))
        self.layers = tuple(layers)

    def logits(self, layer: int, previous: Float[Tensor, "..."] | None) -> Float[Tensor, "..."]:
        """Return the first layer's logits as they were given, or what the transition makes of the previous values."""
        if layer == 0:
            return self._logits
        assert previous is not None, "only the first layer has no layer before it"
        argument = f"transitions[{layer - 1}]"
        before, here = self.layers[layer - 1], self.layers[layer]
        logits = _call("Layered", argument, self.transitions[layer - 1], previous)
        _require_floating("Layered", argument, logits)
        expected = (*previous.shape[: previous.ndim - len(before.shape)], *here.shape)
        require(logits.shape == expected, "Layered", argument, f"logits {expected}", tuple(logits.shape))
        _require_numbers(argument, logits)
        return logits if logits.dtype is self.dtype else logits.to(self.dtype)

    def compute_signals(self, values: Values, logits: Values) -> tuple[Any, ...]:
        """Return the cost, the same for each layer."""
        return (_call("Layered", "f", self.f, *values),) * self.depth

    def compute_direct(self, values: Values) -> Float[Tensor, "..."] | None:
        """Return the cost, for the sake of its own parameters."""
        return _call("Layered", "f", self.f, *values)


def _layer_of(operation: str, logits: Any, variables: str, argument: str = "logits") -> Layer:
    _require_floating(operation, argument, logits)
    shape = tuple(logits.shape)
    if variables == "bernoulli":
        require(len(shape) >= 1 and shape[-1] >= 1, operation, argument, "shape [*batch, n], n >= 1", shape)
        return BernoulliLayer(shape[-1])
    if variables == "categorical":
        expected = "shape [*batch, n, K], n >= 1, K >= 2"
        require(len(shape) >= 2 and shape[-2] >= 1 and shape[-1] >= 2, operation, argument, expected, shape)
        return CategoricalLayer(shape[-2], shape[-1])
    raise argument_error(operation, "variables", "'bernoulli' or 'categorical'", repr(variables))


def _call(operation: str, argument: str, function: Callable[..., Any], *values: Tensor) -> Any:
    """Call what the user gave; the values are used again afterwards, so it must leave them as they are."""
    # Torch counts what is written to a tensor, except to those of inference mode.
    watched = [value for value in values if not value.is_inference()]
    before = [value._version for value in watched]
    result = function(*values)
    if [value._version for value in watched] != before:
        expected = "a function that leaves its arguments as they are"
        raise argument_error(operation, argument, expected, "one that changes them in place")
    return result


def _first_values(layer: Layer, like: Tensor) -> Tensor:
    """Return values to try a transition with, all of the first category, or 0."""
    values = torch.zeros_like(like)
    if isinstance(layer, CategoricalLayer):
        values[..., 0] = 1
    return values


def _require_finite(operation: str, logits: Tensor) -> None:
    finite = bool(torch.isfinite(logits.detach()).all())
    require(finite, operation, "logits", "finite logits", "NaN or infinite ones")


def _require_numbers(argument: str, logits: Tensor) -> None:
    # Infinite ones are values that never or always occur. A sum is NaN if an entry is (or infinities cancel).
    if math.isnan(logits.detach().sum().item()) and torch.isnan(logits).any():
        raise argument_error("Layered", argument, "logits that are numbers", "NaN")


def _require_floating(operation: str, argument: str, logits: Any) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        actual = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        reject(operation, argument, "a floating tensor", actual, kind=TypeError)


def _require_callable(operation: str, argument: str, function: Any) -> None:
    if not callable(function):
        reject(operation, argument, "a function", type(function).__name__, kind=TypeError)

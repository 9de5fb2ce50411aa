"""Baselines: what is subtracted from the cost before it multiplies a score, so that the product varies less.

A baseline that does not depend on a layer's own values leaves the gradient's expectation as it is. So those that learn
do it in :meth:`Baseline.observe`, after an estimate and never inside one: no sample is in its own baseline.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.estimators.estimator import GradientSamples
from toolkit.estimators.exact import enumerate_values, joint_log_prob
from toolkit.estimators.problems import Problem, Values


class Baseline(ABC):
    """What an estimator subtracts from each layer's signal."""

    @property
    def unbiased(self) -> bool:
        """Whether an estimate keeps its expectation."""
        return True

    @abstractmethod
    def values(
        self, problem: Problem, layer: int, values: Values, logits: Values, signals: Sequence[Tensor]
    ) -> Float[Tensor, "..."]:
        """Return a layer's baseline. Changes nothing in the object.

        Args:
            problem: the expectation.
            layer: whose baseline.
            values: the draws of all the layers, ``[n_samples, *batch, n(, K)]``. Only those of the layers before, and
                of other variables of the same layer, may be used.
            logits: what they were drawn with.
            signals: of all the layers, ``[n_samples, *batch]``. A sample's own must not be used for it.

        Returns:
            A tensor that can be broadcast to ``[n_samples, *batch, n(, K)]``; the last axes have the length 1 if the
            layer's variables share a baseline.
        """

    def scale(self, layer: int) -> Float[Tensor, ""] | float:
        """Return what the layer's centred signal is divided by."""
        return 1.0

    def observe(self, problem: Problem, samples: GradientSamples) -> None:  # noqa: B027 (most learn nothing)
        """Learn from an estimate, for the estimates to come; nothing by default.

        Args:
            problem: the one the samples are from.
            samples: from an estimator that takes a baseline.

        Raises:
            ValueError: samples without signals, or of another problem.
        """


def centred_signal(
    baseline: Baseline | None,
    problem: Problem,
    layer: int,
    values: Values,
    logits: Values,
    signals: Sequence[Tensor],
) -> Float[Tensor, "..."]:
    """Return what a layer's score is multiplied by, ``[n_samples, *batch, n or 1(, K or 1)]``.

    Raises:
        ValueError: the baseline has a shape of its own.
    """
    signal = signals[layer][(..., *(None,) * len(problem.layers[layer].shape))]
    if baseline is None:
        return signal
    subtracted = baseline.values(problem, layer, values, logits, signals)
    whole = (*signals[layer].shape, *problem.layers[layer].shape)
    try:
        fits = torch.broadcast_shapes(subtracted.shape, whole) == whole
    except RuntimeError:
        fits = False
    expected = f"values that can be broadcast to {whole}"
    require(fits, type(baseline).__name__, f"values of layer {layer}", expected, tuple(subtracted.shape))
    return (signal - subtracted) / baseline.scale(layer)


class Constant(Baseline):
    """Fixed numbers.

    Args:
        constants: for each layer a number, or a tensor that can be broadcast to ``[*batch, n(, K)]``: shared by the
            layer, by an example, or one for each component.

    Raises:
        ValueError: not finite; when used, not as many as layers or a shape that does not fit.
        TypeError: something else than numbers and tensors.
    """

    def __init__(self, constants: Sequence[float | Tensor]) -> None:
        expected = "a sequence of numbers or floating tensors, one a layer"
        if isinstance(constants, Tensor) or not isinstance(constants, Sequence):
            reject("Constant", "constants", expected, type(constants).__name__, kind=TypeError)
        made = []
        for number, constant in enumerate(constants):
            if isinstance(constant, bool) or not isinstance(constant, int | float | Tensor):
                reject("Constant", f"constants[{number}]", expected, type(constant).__name__, kind=TypeError)
            tensor = constant.detach() if isinstance(constant, Tensor) else torch.tensor(constant, dtype=torch.float64)
            require(
                bool(torch.isfinite(tensor).all()), "Constant", f"constants[{number}]", "finite numbers", "others too"
            )
            made.append(tensor)
        self.constants = tuple(made)

    @classmethod
    @torch.no_grad()
    def optimal(cls, problem: Problem, *, per_component: bool = True, operation: str = "Constant.optimal") -> "Constant":
        """Find the constants with the least variance, by enumeration.

        ``b_i = E[f s_i²] / E[s_i²]`` with the score ``s_i``; one for the layer: ``E[f ‖s‖²] / E[‖s‖²]``.

        Args:
            problem: at most 2**16 joint configurations; evaluated outside its count.
            per_component: one for each component of the gradient, else one a layer; always one an example.
            operation: the name in errors.

        Returns:
            The baseline. Where the score is always 0, any would do: the expected signal stands there.

        Raises:
            ValueError: too many configurations, or the cost misbehaves.
        """
        found = enumerate_values(problem, operation)
        values = tuple(
            value.expand(len(value), *problem.batch_shape, *layer.shape)
            for value, layer in zip(found, problem.layers, strict=True)
        )
        logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(problem.depth))
        probabilities = joint_log_prob(problem, values, logits).exp()
        constants = []
        for number, signal in enumerate(problem.counted().signals(values, logits)):
            layer = problem.layers[number]
            axes = tuple(range(-len(layer.shape), 0))
            squares = layer.score(values[number], logits[number]).square()
            if not per_component:
                squares = squares.sum(axes, keepdim=True)
            trailing = (..., *(None,) * len(axes))
            # About the mean, so that a large constant in the cost is not rounded away.
            mean = (probabilities * signal).sum(0)
            weight = (probabilities * (signal - mean))[trailing]
            norm = (probabilities[trailing] * squares).sum(0)
            above = torch.where(norm > 0, (weight * squares).sum(0) / norm, 0)
            constants.append(mean[trailing] + above)
        return cls(constants)

    def values(
        self, problem: Problem, layer: int, values: Values, logits: Values, signals: Sequence[Tensor]
    ) -> Float[Tensor, "..."]:
        """Return the layer's constant."""
        expected = f"one a layer, {problem.depth}"
        require(len(self.constants) == problem.depth, "Constant", "constants", expected, len(self.constants))
        return self.constants[layer].to(problem.device, problem.dtype)

    def __repr__(self) -> str:
        return f"Constant({', '.join(_short(constant) for constant in self.constants)})"


class MovingAverage(Baseline):
    """One number a layer: the exponentially weighted average of the signals of earlier estimates.

    ``c ← c + rate (mean signal − c)``, from 0. The experiments of Tokui and Sato update it with the current samples
    before it is used, which multiplies the expected gradient by ``1 − rate / B`` for B samples; here
    :meth:`observe` comes after the estimate, and the expectation is the gradient.

    Args:
        rate: how far it moves towards the newest mean, in (0, 1].

    Raises:
        ValueError: a rate outside (0, 1].
    """

    def __init__(self, rate: float = 0.2) -> None:
        _require_rate("MovingAverage", rate)
        self.rate = rate
        self.levels: tuple[Tensor, ...] | None = None

    def values(
        self, problem: Problem, layer: int, values: Values, logits: Values, signals: Sequence[Tensor]
    ) -> Float[Tensor, "..."]:
        """Return the layer's average, a scalar; 0 before the first observation."""
        if self.levels is None:
            return torch.zeros((), dtype=problem.dtype, device=problem.device)
        expected = f"a problem of {len(self.levels)} layers, as observed before"
        require(len(self.levels) == problem.depth, "MovingAverage", "problem", expected, problem.depth)
        return self.levels[layer].to(problem.device, problem.dtype)

    def observe(self, problem: Problem, samples: GradientSamples) -> None:
        """Move towards the mean signals of an estimate."""
        signals = _signals_of("MovingAverage", problem, samples)
        if signals[0].numel():
            self.move([signal.mean() for signal in signals])

    def move(self, means: Sequence[Tensor]) -> None:
        """Move towards one number a layer."""
        levels = self.levels if self.levels is not None else [torch.zeros_like(mean) for mean in means]
        require(len(levels) == len(means), "MovingAverage", "problem", f"{len(levels)} layers", len(means))
        moved = (torch.lerp(level.to(mean), mean, self.rate) for level, mean in zip(levels, means, strict=True))
        self.levels = tuple(level.detach() for level in moved)

    def state_dict(self) -> dict[str, Any]:
        """Return what was learnt."""
        return {"levels": None if self.levels is None else list(self.levels)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.levels = None if state["levels"] is None else tuple(state["levels"])

    def __repr__(self) -> str:
        return f"MovingAverage({self.rate:g})"


class InputDependent(Baseline):
    """A network for each layer that predicts the signal from the layer before, beside a moving average.

    The baseline of NVIL (Mnih and Gregor 2014, arXiv 1402.0030). A layer's network sees the values of the layer before
    it and nothing else; the first layer's sees the problem's inputs, and without any it has none. The networks follow
    the signal less the average, by squared error, with an optimiser of their own.

    Args:
        networks: for each layer a module from ``[..., features]`` to ``[..., 1]``, or ``None`` for none; categorical
            values come flattened. Default: made at the first observation, one hidden layer of tanh units. Such a
            network predicts 0 until it has learnt.
        inputs: of the first layer, ``[*batch, features]``; default: what the problem says its inputs are.
        hidden: units of a default network.
        optimizer: makes the optimiser of the parameters.
        rate: of the moving averages, as for :class:`MovingAverage`.
        normalize_variance: divide the centred signals by ``max(1, √v)``, v the moving average of their variance. The
            estimates are then those of a shortened gradient, and say that they are biased.
        generator: source of the default networks' first weights; ``None`` makes a new one.

    Raises:
        ValueError: a size or a rate out of range.
    """

    def __init__(
        self,
        networks: Sequence[torch.nn.Module | None] | None = None,
        *,
        inputs: Float[Tensor, "..."] | None = None,
        hidden: int = 100,
        optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer] = functools.partial(torch.optim.Adam, lr=3e-3),  # noqa: B008
        rate: float = 0.2,
        normalize_variance: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        require(hidden >= 1, "InputDependent", "hidden", ">= 1", hidden)
        _require_rate("InputDependent", rate)
        self.inputs = inputs
        self.hidden = hidden
        self.normalize_variance = normalize_variance
        self.networks = None if networks is None else tuple(networks)
        self.average = MovingAverage(rate)
        self.variance = MovingAverage(rate)
        self._make_optimizer = optimizer
        self._optimizer: torch.optim.Optimizer | None = None
        self._generator = generator

    @property
    def unbiased(self) -> bool:
        """Whether an estimate keeps its expectation: not when the signals are normalised."""
        return not self.normalize_variance

    def values(
        self, problem: Problem, layer: int, values: Values, logits: Values, signals: Sequence[Tensor]
    ) -> Float[Tensor, "..."]:
        """Return the layer's average plus what its network predicts, ``[n_samples or 1, *batch, 1(, 1)]``."""
        average = self.average.values(problem, layer, values, logits, signals)
        with torch.no_grad():
            predicted = self._predict(problem, layer, values)
        if predicted is None:
            return average
        return average + predicted[(..., *(None,) * len(problem.layers[layer].shape))]

    def scale(self, layer: int) -> Float[Tensor, ""] | float:
        """Return ``max(1, √v)``, or 1 without normalisation."""
        if not self.normalize_variance or self.variance.levels is None:
            return 1.0
        return self.variance.levels[layer].sqrt().clamp(min=1)

    def observe(self, problem: Problem, samples: GradientSamples) -> None:
        """Take one step of the networks on the squared residuals of an estimate, then move the averages."""
        signals = _signals_of("InputDependent", problem, samples)
        if not signals[0].numel():
            return
        values = [value[0] for value in samples.parts.values]
        if self.networks is None:
            self.networks = tuple(self._network(problem, layer, values) for layer in range(problem.depth))
        residuals = []
        with torch.enable_grad():
            for layer, signal in enumerate(signals):
                target = signal - self.average.values(problem, layer, values, (), signals)
                predicted = self._predict(problem, layer, values)
                residuals.append(target if predicted is None else target - predicted)
            loss = sum((residual.square().mean() for residual in residuals), torch.zeros(()))
            if loss.requires_grad:
                optimizer = self._own_optimizer()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self.average.move([signal.mean() for signal in signals])
        self.variance.move([residual.detach().var(correction=0) for residual in residuals])

    def state_dict(self) -> dict[str, Any]:
        """Return what was learnt, the optimiser's state included."""
        return {
            "average": self.average.state_dict(),
            "variance": self.variance.state_dict(),
            "networks": None
            if self.networks is None
            else [None if network is None else network.state_dict() for network in self.networks],
            "optimizer": None if self._optimizer is None else self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned, into given networks or into default ones made for it."""
        self.average.load_state_dict(state["average"])
        self.variance.load_state_dict(state["variance"])
        if state["networks"] is not None:
            if self.networks is None:
                self.networks = tuple(None if part is None else _perceptron_like(part) for part in state["networks"])
            for network, part in zip(self.networks, state["networks"], strict=True):
                if network is not None:
                    network.load_state_dict(part)
        if state["optimizer"] is not None:
            self._own_optimizer().load_state_dict(state["optimizer"])

    def _features(self, problem: Problem, layer: int, values: Values) -> Tensor | None:
        if layer:
            return values[layer - 1].flatten(-len(problem.layers[layer - 1].shape))
        inputs = problem.inputs if self.inputs is None else self.inputs
        if inputs is None:
            return None
        expected = f"shape [*batch, features] with the batch axes {tuple(problem.batch_shape)}"
        require(inputs.shape[:-1] == problem.batch_shape, "InputDependent", "inputs", expected, tuple(inputs.shape))
        return inputs.detach()[None]

    def _predict(self, problem: Problem, layer: int, values: Values) -> Tensor | None:
        if self.networks is None:
            return None
        expected = f"one network a layer, {problem.depth}"
        require(len(self.networks) == problem.depth, "InputDependent", "networks", expected, len(self.networks))
        network, features = self.networks[layer], self._features(problem, layer, values)
        if network is None or features is None:
            return None
        like = next(network.parameters(), features)
        predicted = network(features.to(like.device, like.dtype))
        expected = f"predictions {(*features.shape[:-1], 1)}"
        shape = tuple(predicted.shape)
        require(shape == (*features.shape[:-1], 1), "InputDependent", f"networks[{layer}]", expected, shape)
        return predicted.squeeze(-1).to(problem.device, problem.dtype)

    def _network(self, problem: Problem, layer: int, values: Values) -> torch.nn.Module | None:
        features = self._features(problem, layer, values)
        if features is None:
            return None
        self._generator = resolve_generator(self._generator)
        return _perceptron(features.shape[-1], self.hidden, self._generator).to(problem.device, problem.dtype)

    def _own_optimizer(self) -> torch.optim.Optimizer:
        if self._optimizer is None:
            networks = [network for network in self.networks or () if network is not None]
            self._optimizer = self._make_optimizer([part for network in networks for part in network.parameters()])
        return self._optimizer

    def __repr__(self) -> str:
        return f"InputDependent(hidden={self.hidden}, normalize_variance={self.normalize_variance})"


def _perceptron(features: int, hidden: int, generator: torch.Generator) -> torch.nn.Sequential:
    """Return a network with one hidden layer whose output is 0 before training."""
    first = torch.nn.utils.skip_init(torch.nn.Linear, features, hidden)
    last = torch.nn.utils.skip_init(torch.nn.Linear, hidden, 1)
    with torch.no_grad():
        bound = (6 / (features + hidden)) ** 0.5
        first.weight.copy_(
            torch.rand(first.weight.shape, generator=generator, device=generator.device).mul_(2 * bound).sub_(bound)
        )
        for zero in (first.bias, last.weight, last.bias):
            zero.zero_()
    return torch.nn.Sequential(first, torch.nn.Tanh(), last)


def _perceptron_like(state: dict[str, Tensor]) -> torch.nn.Module:
    weight = state["0.weight"]
    network = _perceptron(weight.shape[1], weight.shape[0], torch.Generator())
    return network.to(weight.device, weight.dtype)


def _signals_of(operation: str, problem: Problem, samples: GradientSamples) -> tuple[Tensor, ...]:
    signals = samples.parts.signals
    require(signals is not None, operation, "samples", "samples of an estimator that takes a baseline", "others")
    assert signals is not None
    expected = (samples.n_samples, *problem.batch_shape)
    shapes = [tuple(signal.shape) for signal in signals]
    require(
        len(shapes) == problem.depth and all(shape == expected for shape in shapes),
        operation,
        "samples",
        f"samples of this problem: {problem.depth} layers, signals {expected}",
        shapes,
    )
    return signals


def _require_rate(operation: str, rate: float) -> None:
    require(0 < rate <= 1, operation, "rate", "a number in (0, 1]", rate)


def _short(constant: Tensor) -> str:
    return f"{constant.item():.4g}" if constant.ndim == 0 else f"tensor {tuple(constant.shape)}"

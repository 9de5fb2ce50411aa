"""The baseline of NVIL: a network that predicts a layer's signal from the layer before."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require
from toolkit.estimators.baselines import Baseline, MovingAverage, observed_signals
from toolkit.estimators.estimator import GradientSamples
from toolkit.estimators.pathwise import recording
from toolkit.estimators.problems import Problem, Values


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
        TypeError: no number.
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
        if isinstance(hidden, bool) or not isinstance(hidden, int):
            reject("InputDependent", "hidden", "an integer", repr(hidden), kind=TypeError)
        require(hidden >= 1, "InputDependent", "hidden", ">= 1", hidden)
        require(0 < rate <= 1, "InputDependent", "rate", "a number in (0, 1]", rate)
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
        signals = observed_signals("InputDependent", problem, samples)
        if not signals[0].numel():
            return
        residuals = []
        with recording():
            values = [value[0] for value in samples.parts.values]
            if self.networks is None:
                self.networks = tuple(self._network(problem, layer, values) for layer in range(problem.depth))
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
        # What was made in inference mode cannot be learnt from, but a copy can.
        features = features.clone() if features.is_inference() else features
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

"""Baselines: what is subtracted from the cost before it multiplies a score, so that the product varies less.

A baseline that does not depend on a layer's own values leaves the gradient's expectation as it is. So those that learn
do it in :meth:`Baseline.observe`, after an estimate and never inside one: no sample is in its own baseline.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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
    def optimal(
        cls, problem: Problem, *, per_component: bool = True, operation: str = "Constant.optimal"
    ) -> "Constant":
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
        TypeError: no number.
    """

    def __init__(self, rate: float = 0.2) -> None:
        if isinstance(rate, bool) or not isinstance(rate, int | float):
            reject("MovingAverage", "rate", "a number in (0, 1]", type(rate).__name__, kind=TypeError)
        require(0 < rate <= 1, "MovingAverage", "rate", "a number in (0, 1]", rate)
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
        signals = observed_signals("MovingAverage", problem, samples)
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


def observed_signals(operation: str, problem: Problem, samples: GradientSamples) -> tuple[Tensor, ...]:
    """Return what a baseline learns from, for each layer ``[n_samples, *batch]``.

    Raises:
        ValueError: samples of an estimator that takes no baseline, or of another problem.
    """
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


def _short(constant: Tensor) -> str:
    return f"{constant.item():.4g}" if constant.ndim == 0 else f"tensor {tuple(constant.shape)}"

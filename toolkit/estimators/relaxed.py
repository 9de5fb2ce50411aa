"""Biased estimators that differentiate the cost through the values: relaxed values, or sampled ones with a derivative
put in by hand.

In a chain the derivative also flows through the values into the logits of later layers.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.estimators.conditional_noise import perturb, perturb_given, relax, require_temperature
from toolkit.estimators.estimator import Estimator, Noise, Parts, single
from toolkit.estimators.layers import BernoulliLayer, Coupling, Layer
from toolkit.estimators.pathwise import attached, differentiate, record_signals, recording, require_finite
from toolkit.estimators.problems import Problem

Slope = Callable[[Tensor], Tensor]
"""What a change of a layer's logits adds to its values, to first order. The linear map is symmetric, so that it also
takes a derivative with respect to the values back to the logits."""


class Pathwise(Estimator):
    """An estimator whose values have a derivative with respect to their logits; one evaluation and its derivative."""

    unbiased: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = True
    adds_direct_gradient: ClassVar[bool] = True
    coupling: ClassVar[Coupling] = "inverse_cdf"
    """How noise becomes a value."""
    relaxed: ClassVar[bool] = False
    """Whether the cost is evaluated at relaxed values."""

    @abstractmethod
    def value(self, layer: Layer, logits: Float[Tensor, "..."], noise: Mapping[str, Tensor]) -> tuple[Tensor, Slope]:
        """Compute a layer's values and their derivative.

        Args:
            layer: what the variables are.
            logits: ``[n_samples, *batch, n(, K)]``, without a graph.
            noise: what :meth:`draw` drew for this layer, by name.

        Returns:
            Values like the logits, and how they change with them.
        """

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw each variable once: ``"values"``, one tensor ``[n_samples, *batch, …]`` a layer."""
        return {"values": problem.draw_noise((n_samples,), generator, self.coupling)}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Follow the derivative of the whole cost back to the logits of every layer.

        ``Parts.values`` are what the later layers and the cost were given, ``Parts.cost`` is the cost there.
        """
        operation = type(self).__name__
        n_samples = noise["values"][0].shape[0]
        values: list[Tensor] = []
        logits: list[Tensor] = []
        slopes: list[Slope] = []
        with recording():
            for number, layer in enumerate(problem.layers):
                made = problem.logits(number, values[-1] if values else None)
                if number == 0:
                    made = attached(made.expand(n_samples, *made.shape))
                elif not made.requires_grad:
                    made = attached(made)
                held = made.detach()
                value, slope = self.value(layer, held, {name: drawn[number] for name, drawn in noise.items()})
                # Behind the first layer's values there is nothing but their slope: no graph is needed for it.
                # Logits of values that cannot occur are −inf; their difference from themselves would be NaN.
                values.append(value + slope(torch.nan_to_num(made - held)) if number else attached(value))
                logits.append(made)
                slopes.append(slope)
            cost = record_signals(problem, values, logits, operation=operation, relaxed=self.relaxed)[0]
            through, direct, *later = differentiate(cost, values, [values[0], *logits], operation=operation)
        gradients = (slopes[0](through) + direct, *later)
        require_finite(gradients, operation=operation, relaxed=self.relaxed)
        return single(tuple(value.detach() for value in values), gradients, cost.detach())

    def expected_evaluations(self, problem: Problem) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class StraightThrough(Pathwise):
    """The derivative of the cost at the sample, passed through the sample as if it were the mean.

    ``f'(z) μ(1 − μ)`` for Bernoulli variables with mean ``μ = sigmoid(logit)``; ``Jᵀ f'(z)`` with the Jacobian J of the
    softmax at the logits for categorical ones. Right for a linear cost only. One evaluation and its derivative.
    """

    title: ClassVar[str] = "straight-through"
    reference: ClassVar[str] = "Bengio, Léonard & Courville 2013, arXiv 1308.3432"

    def value(self, layer: Layer, logits: Float[Tensor, "..."], noise: Mapping[str, Tensor]) -> tuple[Tensor, Slope]:
        """Return the sample, with the derivative of the probabilities."""
        probabilities = layer.probabilities(logits)
        hard = layer.sample(logits, noise["values"], self.coupling)
        return hard, lambda change: squash_slope(layer, probabilities, change)


@dataclass(frozen=True)
class GumbelSoftmax(Pathwise):
    """The derivative through a continuous stand-in for the sample; also known as the Concrete distribution.

    Bernoulli: ``y = sigmoid((logit + L)/τ)`` with logistic noise L; categorical: ``y = softmax((logits + G)/τ)`` with
    Gumbel noise G. The estimate is the derivative of ``f(y)``, which needs a meaning between the values. Bias falls and
    variance rises as the temperature falls. One evaluation and its derivative.

    Attributes:
        temperature: τ > 0.
    """

    temperature: float = 0.5

    title: ClassVar[str] = "Gumbel-softmax"
    reference: ClassVar[str] = "Jang, Gu & Poole 2017, arXiv 1611.01144; Maddison, Mnih & Teh 2017, arXiv 1611.00712"
    coupling: ClassVar[Coupling] = "gumbel"
    relaxed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_temperature(type(self).__name__, self.temperature)

    def value(self, layer: Layer, logits: Float[Tensor, "..."], noise: Mapping[str, Tensor]) -> tuple[Tensor, Slope]:
        """Return the relaxed value."""
        soft = relax(layer, perturb(layer, logits, noise["values"]), self.temperature)
        return soft, lambda change: squash_slope(layer, soft, change) / self.temperature


@dataclass(frozen=True)
class StraightThroughGumbel(Pathwise):
    """The derivative of the cost at the sample, passed through the relaxed value that the same noise gives.

    ``f'(z) y(1 − y)/τ`` for Bernoulli variables, ``Jᵀ f'(z)/τ`` with the Jacobian of the softmax at y for categorical
    ones; y as in :class:`GumbelSoftmax`, z its rounding. One evaluation and its derivative.

    Attributes:
        temperature: τ > 0.
    """

    temperature: float = 0.5

    title: ClassVar[str] = "straight-through Gumbel-softmax"
    reference: ClassVar[str] = "Jang, Gu & Poole 2017, arXiv 1611.01144"
    coupling: ClassVar[Coupling] = "gumbel"

    def __post_init__(self) -> None:
        require_temperature(type(self).__name__, self.temperature)

    def value(self, layer: Layer, logits: Float[Tensor, "..."], noise: Mapping[str, Tensor]) -> tuple[Tensor, Slope]:
        """Return the sample, with the derivative of the relaxed value."""
        hard = layer.sample(logits, noise["values"], self.coupling)
        soft = relax(layer, perturb(layer, logits, noise["values"]), self.temperature)
        return hard, lambda change: squash_slope(layer, soft, change) / self.temperature


@dataclass(frozen=True)
class GumbelRao(Pathwise):
    """:class:`StraightThroughGumbel` averaged over the noise that leads to the same sample.

    The average over ``n_noise`` draws of the noise given the sample (Rao-Blackwell) leaves the expectation and lowers
    the variance. One evaluation and its derivative: the draws change only what the derivative passes through.

    Attributes:
        temperature: τ > 0.
        n_noise: draws of noise for each sample, at least 1.
    """

    temperature: float = 0.5
    n_noise: int = 10

    title: ClassVar[str] = "Gumbel-Rao"
    reference: ClassVar[str] = "Paulus, Maddison & Krause 2021, arXiv 2010.04838"

    def __post_init__(self) -> None:
        require_temperature("GumbelRao", self.temperature)
        if isinstance(self.n_noise, bool) or not isinstance(self.n_noise, int):
            reject("GumbelRao", "n_noise", "an integer", repr(self.n_noise), kind=TypeError)
        require(self.n_noise >= 1, "GumbelRao", "n_noise", ">= 1", self.n_noise)

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw ``"values"`` and, given them, ``"conditional"``: ``[n_noise, n_samples, *batch, n(, K)]`` a layer."""
        values = super().draw(problem, n_samples, generator)
        return {**values, "conditional": problem.draw_noise((self.n_noise, n_samples), generator, "gumbel")}

    def value(self, layer: Layer, logits: Float[Tensor, "..."], noise: Mapping[str, Tensor]) -> tuple[Tensor, Slope]:
        """Return the sample, with the mean derivative of the relaxed values around it."""
        hard = layer.sample(logits, noise["values"], self.coupling)
        soft = relax(layer, perturb_given(layer, logits, hard, noise["conditional"]), self.temperature)
        return hard, lambda change: squash_slope(layer, soft, change).mean(0) / self.temperature


@dataclass(frozen=True)
class ReinMax(Pathwise):
    """The derivative of the cost at the sample, weighed so that the expectation is right to second order.

    Bernoulli: ``f'(z) [2 p(1 − p) − ½ μ(1 − μ)]`` with ``p = ½ (sigmoid(logit/τ) + z)``; categorical:
    ``2 J(p)ᵀ f'(z) − ½ J(π)ᵀ f'(z)`` with ``p = ½ (softmax(logits/τ) + z)`` and the softmax's Jacobian
    ``J(p) = diag(p) − p pᵀ``. At temperature 1 one layer with a cost that is quadratic in each variable has no bias
    (Heun's method). One evaluation and its derivative.

    Attributes:
        temperature: τ > 0; only what the sample is mixed with is tempered, not the sampling.
    """

    temperature: float = 1.0

    title: ClassVar[str] = "ReinMax"
    reference: ClassVar[str] = "Liu et al. 2023, arXiv 2304.08612"

    def __post_init__(self) -> None:
        require_temperature("ReinMax", self.temperature)

    def value(self, layer: Layer, logits: Float[Tensor, "..."], noise: Mapping[str, Tensor]) -> tuple[Tensor, Slope]:
        """Return the sample, with the derivative of the trapezoidal rule."""
        probabilities = layer.probabilities(logits)
        hard = layer.sample(logits, noise["values"], self.coupling)
        between = (relax(layer, logits, self.temperature) + hard) / 2

        def slope(change: Tensor) -> Tensor:
            return 2 * squash_slope(layer, between, change) - squash_slope(layer, probabilities, change) / 2

        return hard, slope


def squash_slope(
    layer: Layer, probabilities: Float[Tensor, "..."], change: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Return what a change of logits adds to a sigmoid or softmax that stands at these probabilities, to first order.

    The map is symmetric: it also takes a derivative with respect to the probabilities back to the logits.
    """
    if isinstance(layer, BernoulliLayer):
        # ``p (1 − p) · change``, in a third of the time.
        return torch.ops.aten.sigmoid_backward.default(change, probabilities)
    return probabilities * (change - (probabilities * change).sum(-1, keepdim=True))

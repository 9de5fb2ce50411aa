"""MuProp: the likelihood ratio of what a linear model of the cost leaves, and the model's own gradient."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from toolkit.estimators.baselines import Baseline, centred_signal
from toolkit.estimators.estimator import Estimator, Noise, Parts
from toolkit.estimators.likelihood_ratio import take_baseline
from toolkit.estimators.pathwise import attached, gradient_of_signals, recording
from toolkit.estimators.problems import Problem
from toolkit.estimators.relaxed import squash_slope


@dataclass(frozen=True)
class MuProp(Estimator):
    """A first-order expansion of the cost about the mean-field point as control variate.

    One layer: ``[f(z) − f(μ) − a·(z − μ)] s + J(μ) a`` with mean μ, slope ``a = f'(μ)``, score ``s = z − μ`` and the
    Jacobian J of the mean: ``J a = μ(1 − μ) a`` for Bernoulli variables, ``π_k (a_k − Σ_j π_j a_j)`` for categorical
    ones with probabilities π.

    Several layers: one deterministic pass puts each layer's mean μ̄_l given the mean before it in place of its values;
    a_l is the derivative of the cost there with respect to μ̄_l, through all later layers. Layer l's estimate is
    ``[f_l(z) − f_l(μ̄) − a_l·(z_l − μ̄_l)] s_l + J(μ_l) a_l`` with the layer's mean μ_l given its *sampled* parents:
    as neither a_l nor μ̄_l was drawn, ``E[a_l·(z_l − μ̄_l) s_l | z_{l−1}] = J(μ_l) a_l`` whatever a_l is, and the
    estimate is unbiased.

    Two evaluations and a derivative. The cost is evaluated between the values of the variables, where it must be
    finite and differentiable. Bernoulli and categorical variables, any depth. Gu et al. 2016, arXiv 1511.05176.

    Attributes:
        baseline: subtracted from the bracket, and learning from it; ``None`` for nothing.
    """

    title: ClassVar[str] = "MuProp"
    reference: ClassVar[str] = "Gu, Levine, Sutskever and Mnih 2016, arXiv 1511.05176"
    needs_gradient: ClassVar[bool] = True

    baseline: Baseline | None = None

    def __post_init__(self) -> None:
        """Take over whether the baseline keeps the expectation."""
        take_baseline(self, self.baseline)

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Expand about the mean-field point, and estimate what is left."""
        values, logits = problem.sample(noise["values"])
        signals = problem.signals(values, logits)
        with recording():
            means, made = _mean_field(problem)
            field = gradient_of_signals(
                problem, means, made, means, operation="MuProp", relaxed=True, shared_by=len(values[0])
            )
        residuals = []
        for number, slope in enumerate(field.gradients):
            axes = tuple(range(-len(problem.layers[number].shape), 0))
            linear = (slope * (values[number] - means[number].detach())).sum(axes)
            residuals.append(signals[number] - field.signals[number] - linear)
        contributions = []
        for number, (layer, slope) in enumerate(zip(problem.layers, field.gradients, strict=True)):
            centred = centred_signal(self.baseline, problem, number, values, logits, residuals)
            scale = 1.0 if self.baseline is None else self.baseline.scale(number)
            model = squash_slope(layer, layer.probabilities(logits[number]), slope) / scale
            contributions.append((centred * layer.score(values[number], logits[number]) + model)[None])
        drawn = tuple(value[None] for value in values)
        return Parts(drawn, tuple(contributions), signals[0], signals=tuple(residuals))

    def expected_evaluations(self, problem: Problem) -> float:
        """Return 2: the sample and the mean-field point."""
        return 2.0


def _mean_field(problem: Problem) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return each layer's means given the means before it, with their graph, and the logits; a leading axis of 1."""
    means: list[Tensor] = []
    logits: list[Tensor] = []
    for number, layer in enumerate(problem.layers):
        if number == 0:
            logits.append(torch.unsqueeze(problem.logits(0, None).detach(), 0))
            means.append(attached(layer.probabilities(logits[0])))
        else:
            logits.append(problem.logits(number, means[-1]))
            mean = layer.probabilities(logits[number])
            means.append(mean if mean.requires_grad else attached(mean))
    return tuple(means), tuple(logits)

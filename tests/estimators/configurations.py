"""Exact moments of estimators whose noise only decides the variables' values: noise for every configuration."""

from collections.abc import Sequence

import torch
from torch import Tensor

from toolkit.estimators.chains import Factorized
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import enumerate_values, joint_log_prob
from toolkit.estimators.layers import BernoulliLayer
from toolkit.estimators.problems import Problem


def noise_of_all(problem: Problem, draws: int = 0) -> tuple[dict[str, tuple[Tensor, ...]], Tensor]:
    """Return noise that gives every configuration (with ``draws``, every tuple of so many), and its probability."""
    found = enumerate_values(problem)
    count = len(found[0])
    values = tuple(
        v.expand(count, *problem.batch_shape, *layer.shape) for v, layer in zip(found, problem.layers, strict=True)
    )
    logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(problem.depth))
    probabilities = joint_log_prob(problem, values, logits).exp()
    noise = tuple(_middle(layer, v, g) for layer, v, g in zip(problem.layers, values, logits, strict=True))
    if not draws:
        return {"values": noise}, probabilities
    index = torch.cartesian_prod(*[torch.arange(count)] * draws).reshape(-1, draws).T
    return {"values": tuple(part[index] for part in noise)}, probabilities[index].prod(0)


def moments(
    estimator: Estimator, problem: Problem, draws: int = 0
) -> tuple[Sequence[Tensor], Sequence[Tensor], dict[str, tuple[Tensor, ...]]]:
    """Return for each layer the estimator's exact mean and variance, and the noise behind them."""
    noise, probabilities = noise_of_all(problem, draws)
    samples = estimator(problem, noise=noise)
    means, variances = [], []
    for gradient, layer in zip(samples.gradients, problem.layers, strict=True):
        weight = probabilities[(..., *(None,) * len(layer.shape))]
        mean = (weight * gradient).sum(0)
        means.append(mean)
        variances.append((weight * (gradient - mean) ** 2).sum(0))
    return means, variances, noise


def twelve_bits() -> Factorized:
    """Twelve coupled bits."""
    d = torch.arange(1, 13, dtype=torch.float64)
    line, waves = torch.sin(1.3 * d), torch.sin(1.1 * d[:, None] + 0.7 * d)
    return Factorized(torch.cos(0.9 * d), lambda z: (z @ line - 0.3) ** 2 + 0.5 * torch.tanh(z @ waves).sum(-1))


def _middle(layer: object, values: Tensor, logits: Tensor) -> Tensor:
    if isinstance(layer, BernoulliLayer):
        mean = torch.sigmoid(logits)
        return torch.where(values > 0.5, mean / 2, (1 + mean) / 2)
    probabilities = torch.softmax(logits, -1)
    return (values * (probabilities.cumsum(-1) - probabilities / 2)).sum(-1)

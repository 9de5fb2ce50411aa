"""The truth: expectation and gradient by enumeration of every configuration."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.estimators.configurations import configuration_count, require_enumerable
from toolkit.estimators.estimator import Estimator, Noise, Parts
from toolkit.estimators.pathwise import recording
from toolkit.estimators.problems import Problem


@dataclass(frozen=True, repr=False, eq=False)
class Exact:
    """What enumeration finds.

    Attributes:
        value: the expected cost, ``[*batch]``.
        gradients: for each layer its derivative with respect to an offset of the layer's logits, ``[*batch, n(, K)]``.
        configurations: how many were enumerated.
    """

    value: Float[Tensor, "..."]
    gradients: tuple[Tensor, ...]
    configurations: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "value": self.value.tolist(),
            "gradients": [gradient.tolist() for gradient in self.gradients],
            "configurations": self.configurations,
        }

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(gradient.shape)) for gradient in self.gradients)
        return f"Exact({self.configurations} configurations, gradients {shapes})"


def enumerate_values(problem: Problem, operation: str = "enumerate_values") -> tuple[Tensor, ...]:
    """Return every joint configuration of the variables.

    Returns:
        One tensor a layer, ``[configurations, *(1 for each batch axis), n(, K)]``; the last layer changes fastest.

    Raises:
        ValueError: there are more than 2**16 configurations.
    """
    total = require_enumerable(problem, operation)
    counts = [layer.arity**layer.size for layer in problem.layers]
    found = []
    repeat = total
    for layer, count in zip(problem.layers, counts, strict=True):
        repeat //= count
        values = layer.all_values(problem.dtype, problem.device)
        values = values.repeat_interleave(repeat, 0).repeat(total // (repeat * count), *(1,) * (values.ndim - 1))
        found.append(values.reshape(total, *(1,) * len(problem.batch_shape), *layer.shape))
    return tuple(found)


def joint_log_prob(problem: Problem, values: tuple[Tensor, ...], logits: tuple[Tensor, ...]) -> Float[Tensor, "..."]:
    """Return the log probability of values of all the layers, ``[*leading, *batch]``."""
    parts = [layer.log_prob(v, g).sum(-1) for layer, v, g in zip(problem.layers, values, logits, strict=True)]
    return sum(parts[1:], parts[0])


def exact(problem: Problem) -> Exact:
    """Compute the expected cost and its gradient by enumeration.

    Args:
        problem: at most 2**16 joint configurations. Use float64 logits for a truth to compare estimates with.

    Returns:
        The expectation and its derivative with respect to an offset of each layer's logits, direct terms included.

    Raises:
        ValueError: too many configurations, or the cost misbehaves.
    """
    with recording():
        values = enumerate_values(problem, "exact")
        configurations = values[0].shape[0]
        values = tuple(
            value.expand(configurations, *problem.batch_shape, *layer.shape)
            for value, layer in zip(values, problem.layers, strict=True)
        )
        offsets, logits = offset_logits(problem, values)
        cost = problem.counted().signals(values, logits)[0]
        expected = (joint_log_prob(problem, values, logits).exp() * cost).sum(0)
        gradients = torch.autograd.grad(expected.sum(), offsets)
    return Exact(expected.detach(), gradients, configurations)


def offset_logits(problem: Problem, values: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return zeros to differentiate with respect to, and logits that they are added to.

    Args:
        problem: what the logits are of.
        values: of all the layers, ``[leading, *batch, n(, K)]``.

    Returns:
        For each layer an offset ``[*batch, n(, K)]`` that requires a gradient, and the logits that the layer has given
        these values, ``[leading, *batch, n(, K)]``, which depend on nothing but the offset.
    """
    offsets, logits = [], []
    for number, layer in enumerate(problem.layers):
        shape = (*problem.batch_shape, *layer.shape)
        offset = torch.zeros(shape, dtype=problem.dtype, device=problem.device, requires_grad=True)
        made = problem.logits(number, values[number - 1] if number else None).detach()
        offsets.append(offset)
        logits.append((made + offset).expand(len(values[0]), *shape))
    return tuple(offsets), tuple(logits)


@dataclass(frozen=True)
class Enumeration(Estimator):
    """The exact gradient, for an estimate: no variance, and one evaluation a configuration."""

    title: ClassVar[str] = "exact enumeration"
    reference: ClassVar[str] = "the definition of an expectation"
    adds_direct_gradient: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuse problems with more than 2**16 configurations."""
        super().check(problem)
        require_enumerable(problem, "Enumeration")

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw nothing but the number of samples: a tensor of that length."""
        return {"samples": (torch.zeros(n_samples, dtype=problem.dtype, device=problem.device),)}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Return the same exact gradient for every sample: each configuration is a draw, weighed by its probability."""
        n_samples = len(noise["samples"][0])
        values = enumerate_values(problem)
        shape = (values[0].shape[0], *problem.batch_shape)
        values = tuple(value.expand(*shape, *layer.shape) for value, layer in zip(values, problem.layers, strict=True))
        logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(problem.depth))
        cost = problem.signals(values, logits, shared_by=n_samples)[0]
        probabilities = joint_log_prob(problem, values, logits).exp()
        expected = (probabilities * cost).sum(0)
        weight = probabilities * (cost - expected)
        contributions = []
        for number, layer in enumerate(problem.layers):
            trailing = (..., *(None,) * len(layer.shape))
            contribution = weight[trailing] * layer.score(values[number], logits[number])
            direct = problem.direct_gradient(number, values[number - 1] if number else None)
            contributions.append(contribution if direct is None else contribution + probabilities[trailing] * direct)
        return Parts(
            tuple(_repeated(value, n_samples) for value in values),
            tuple(_repeated(contribution, n_samples) for contribution in contributions),
            expected.expand(n_samples, *problem.batch_shape),
            weights=_repeated(probabilities, n_samples),
        )

    def expected_evaluations(self, problem: Problem) -> float:
        """Return the number of configurations."""
        return float(configuration_count(problem))


def _repeated(tensor: Tensor, n_samples: int) -> Tensor:
    return tensor[:, None].expand(len(tensor), n_samples, *tensor.shape[1:])

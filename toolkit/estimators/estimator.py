"""What every estimator is: noise in, samples of the gradient out, with what they cost."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import argument_error, reject, require
from toolkit.estimators.problems import Problem

Noise = Mapping[str, tuple[Tensor, ...]]
"""Everything random in an estimate, by name; usually one tensor a layer."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What an estimator computes from noise; :class:`GradientSamples` is made of it.

    A sample of the gradient may come from several draws of the variables (``inner`` of them), each with parents of
    its own. ``n_samples`` independent samples are computed at once.

    Attributes:
        values: for each layer the draws, ``[inner, n_samples, *batch, n(, K)]``.
        contributions: for each layer what each draw adds to the derivative of the expected cost with respect to the
            logits of that layer, shaped likewise. Their sum over ``inner`` is the sample of the gradient.
        cost: the mean cost of the draws, ``[n_samples, *batch]``.
        weights: how much of the cost's own gradient each draw carries, ``[inner, n_samples, *batch]``, summing to 1
            over ``inner``; ``None`` for equal shares.
        signals: for each layer what a baseline is subtracted from, ``[n_samples, *batch]``: what baselines learn
            from. ``None`` for estimators that take no baseline.
    """

    values: tuple[Tensor, ...]
    contributions: tuple[Tensor, ...]
    cost: Float[Tensor, "..."]
    weights: Float[Tensor, "..."] | None = None
    signals: tuple[Tensor, ...] | None = None


@dataclass(frozen=True, repr=False, eq=False)
class GradientSamples:
    """Independent samples of a gradient.

    Attributes:
        gradients: for each layer samples of the derivative of the expected cost with respect to an offset of the
            layer's logits, ``[n_samples, *batch, n]`` (``[…, n, K]`` for categorical variables). For the first layer
            that is the derivative with respect to its logits.
        cost: samples of the cost, ``[n_samples, *batch]``.
        evaluations: evaluations of the cost behind one sample, counted by the problem.
        unbiased: whether the samples' expectation is the gradient.
        parts: the draws behind the samples, for :func:`toolkit.estimators.surrogate`.
    """

    gradients: tuple[Tensor, ...]
    cost: Float[Tensor, "..."]
    evaluations: float
    unbiased: bool
    parts: Parts

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return self.cost.shape[0]

    def mean(self) -> tuple[Tensor, ...]:
        """Return the estimate: for each layer the mean over the samples, ``[*batch, n(, K)]``."""
        return tuple(gradient.mean(0) for gradient in self.gradients)

    def variance(self) -> tuple[Tensor, ...]:
        """Return for each layer the unbiased variance of one sample, ``[*batch, n(, K)]``; NaN for a single sample."""
        return tuple(
            # Torch warns of what it cannot know: of one sample, and of none in an empty batch.
            gradient.var(0) if gradient.numel() > gradient[0].numel() else torch.full_like(gradient[0], torch.nan)
            for gradient in self.gradients
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, the draws left out."""
        return {
            "gradients": [gradient.tolist() for gradient in self.gradients],
            "cost": self.cost.tolist(),
            "evaluations": self.evaluations,
            "unbiased": self.unbiased,
        }

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(gradient.shape)) for gradient in self.gradients)
        kind = "unbiased" if self.unbiased else "biased"
        return f"GradientSamples({kind}, gradients {shapes}, {self.evaluations:g} evaluations a sample)"


class Estimator(ABC):
    """A way to estimate the gradient of an expected cost with respect to the logits.

    A subclass is a frozen dataclass of its settings. It says what it draws (:meth:`draw`) and how a gradient is
    computed from that (:meth:`estimate`), which is a pure function: the same noise gives the same numbers.
    """

    title: ClassVar[str]
    """As the field calls it, ``"REINFORCE with leave-one-out baseline"``."""
    reference: ClassVar[str]
    """Where it comes from."""
    unbiased: ClassVar[bool] = True
    """Whether its expectation is the gradient of its objective."""
    objective: ClassVar[str] = "expected cost"
    """What it gives the gradient of."""
    variables: ClassVar[frozenset[str]] = frozenset({"bernoulli", "categorical"})
    """The kinds of variables it is defined for."""
    deep: ClassVar[bool] = True
    """Whether it is defined for more than one layer."""
    needs_gradient: ClassVar[bool] = False
    """Whether the cost must be differentiable off the vertices, or at least have a gradient there."""
    adds_direct_gradient: ClassVar[bool] = False
    """Whether :meth:`estimate` already contains the part of the gradient that holds the values fixed."""

    def __call__(
        self,
        problem: Problem,
        n_samples: int = 1,
        generator: torch.Generator | None = None,
        *,
        noise: Noise | None = None,
    ) -> GradientSamples:
        """Draw independent samples of the gradient.

        Args:
            problem: the expectation.
            n_samples: how many samples; ignored with ``noise``.
            generator: source of the noise; ``None`` makes a new one.
            noise: what :meth:`draw` returned, to use it again; then nothing is drawn.

        Returns:
            The samples, with what they cost.

        Raises:
            ValueError: the estimator does not exist for such a problem, or the cost misbehaves.
            TypeError: an argument of the wrong kind, or a cost without the gradient that the estimator needs.
        """
        name = type(self).__name__
        if not isinstance(problem, Problem):
            reject(name, "problem", "a Problem (Factorized, Layered, …)", type(problem).__name__, kind=TypeError)
        if isinstance(n_samples, bool) or not isinstance(n_samples, int):
            reject(name, "n_samples", "an integer", repr(n_samples), kind=TypeError)
        require(n_samples >= 1, name, "n_samples", ">= 1", n_samples)
        self.check(problem)
        if noise is not None and not isinstance(noise, Mapping):
            reject(name, "noise", f"what {name}.draw returned", type(noise).__name__, kind=TypeError)
        counted = problem.counted()
        # Out of the caller's inference mode too: there no estimator could record a graph of its own.
        with torch.inference_mode(False), torch.no_grad():
            if noise is None:
                noise = self.draw(problem, n_samples, resolve_generator(generator))
            parts = self.estimate(counted, noise)
            if not self.adds_direct_gradient:
                parts = _with_direct_gradient(problem, parts)
        estimates = parts.cost.numel()
        return GradientSamples(
            gradients=tuple(part.sum(0) if len(part) > 1 else part[0] for part in parts.contributions),
            cost=parts.cost,
            evaluations=counted.rows / estimates if estimates else 0.0,
            unbiased=self.unbiased,
            parts=parts,
        )

    def check(self, problem: Problem) -> None:
        """Refuse problems that the estimator is not defined for.

        Raises:
            ValueError: with what it is defined for.
        """
        name = type(self).__name__
        kinds = {layer.kind for layer in problem.layers}
        if not kinds <= self.variables:
            expected = f"{' or '.join(sorted(self.variables))} variables: the estimator has no form for others"
            raise argument_error(name, "problem", expected, " and ".join(sorted(kinds)))
        if problem.depth > 1 and not self.deep:
            raise argument_error(name, "problem", "one layer: the estimator has no form for more", problem.depth)

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw everything random in ``n_samples`` estimates; default: one draw of each variable.

        Returns:
            Uniform noise by name, each ``[n_samples, *batch, …]``, or ``[inner, n_samples, *batch, …]``.
        """
        return {"values": problem.draw_noise((n_samples,), generator)}

    @abstractmethod
    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Compute the estimates from noise. Called without gradient recording."""

    @abstractmethod
    def expected_evaluations(self, problem: Problem) -> float:
        """Return the evaluations of the cost that one sample takes, by the formula; the tests compare the count."""


def single(values: tuple[Tensor, ...], gradients: tuple[Tensor, ...], cost: Tensor) -> Parts:
    """Return the parts of an estimator that draws each variable once a sample: all ``[n_samples, *batch, …]``."""
    return Parts(tuple(value[None] for value in values), tuple(gradient[None] for gradient in gradients), cost)


def surrogate(problem: Problem, samples: GradientSamples, *, through_cost: bool = True) -> Float[Tensor, ""]:
    """Return a scalar whose ``.backward()`` puts an estimate into the parameters behind the problem.

    The gradient is that of the expected cost, summed over the batch: into whatever made the logits (the estimate) and
    into the cost's own parameters (its gradient with the values held fixed), averaged over the samples. The scalar's
    value is the mean sampled cost, summed over the batch.

    Args:
        problem: the one the samples are from; its logits must still have their graph.
        samples: from an estimator.
        through_cost: also give a gradient to parameters inside the cost, which takes one more evaluation of it.

    Returns:
        A scalar. To descend on a mean, divide by the batch size; to ascend, negate.

    Raises:
        ValueError: samples of another problem.
        TypeError: an argument of the wrong kind.
        RuntimeError: nothing behind the problem requires a gradient.
    """
    if not isinstance(problem, Problem):
        reject("surrogate", "problem", "a Problem (Factorized, Layered, …)", type(problem).__name__, kind=TypeError)
    if not isinstance(samples, GradientSamples):
        reject("surrogate", "samples", "what an estimator returned", type(samples).__name__, kind=TypeError)
    parts = samples.parts
    expected = (samples.n_samples, *problem.batch_shape)
    require(
        parts.cost.shape == expected and len(parts.values) == problem.depth,
        "surrogate",
        "samples",
        f"samples of this problem: {problem.depth} layers, costs {expected}",
        f"{len(parts.values)} layers, costs {tuple(parts.cost.shape)}",
    )
    total = parts.cost.new_zeros(())
    with torch.enable_grad():
        for layer, contributions in enumerate(parts.contributions):
            if layer == 0:
                logits, weight = problem.logits(0, None), contributions.sum((0, 1))
            else:
                logits, weight = problem.logits(layer, parts.values[layer - 1]), contributions
            total = total + (logits * weight).sum() / samples.n_samples
        direct = problem.compute_direct(parts.values) if through_cost else None
        if direct is not None and direct.requires_grad:
            shares = direct / len(direct) if parts.weights is None else direct * parts.weights
            total = total + shares.sum() / samples.n_samples
        if not total.requires_grad:
            raise RuntimeError(
                "surrogate: there is nothing to differentiate\n"
                "  expected: logits or a cost with parameters that require a gradient\n  actual:   none does"
            )
        return total - total.detach() + parts.cost.mean(0).sum()


def _with_direct_gradient(problem: Problem, parts: Parts) -> Parts:
    direct = [
        problem.direct_gradient(layer, parts.values[layer - 1] if layer else None) for layer in range(problem.depth)
    ]
    if all(part is None for part in direct):
        return parts
    added = (
        contributions if part is None else contributions + part / len(contributions)
        for contributions, part in zip(parts.contributions, direct, strict=True)
    )
    return replace(parts, contributions=tuple(added))

"""Estimators that treat all the variables as one and never evaluate the same joint configuration twice in a sample.

The configurations' probabilities are tabulated, which takes no evaluation of the cost but limits how many there may be.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.estimators.configurations import ConfigurationTable, configuration_count, require_enumerable
from toolkit.estimators.estimator import Estimator, Noise, Parts
from toolkit.estimators.layers import draw_open_uniform
from toolkit.estimators.problems import Problem

LARGEST_SET = 8
"""Most configurations in a set, unless it holds all there are: the weights take a sum over all its subsets."""


@dataclass(frozen=True)
class _WithoutReplacement(Estimator):
    """What the two share: several layers are one variable too.

    The gradient of the joint log probability with respect to a layer's logits is the layer's score, given the parents
    in the configuration; each layer compares its local signals.
    """

    adds_direct_gradient: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuse problems with more than 2**16 joint configurations."""
        super().check(problem)
        require_enumerable(problem, type(self).__name__)


@dataclass(frozen=True)
class SumAndSample(_WithoutReplacement):
    """Sum over the most probable configurations, sample one of the rest (Liu et al., arXiv 1810.04777).

    ``g = Σ_{s ∈ top} p_s f_s ∇log p_s + (1 − Σ_{s ∈ top} p_s) f_j ∇log p_j`` with ``j`` drawn from the rest. All the
    variables together are one categorical variable of at most 2**16 joint configurations. ``top + 1`` evaluations;
    exact when at most one configuration is left.

    Attributes:
        top: how many of the most probable configurations are summed over.
    """

    title: ClassVar[str] = "sum and sample"
    reference: ClassVar[str] = "Liu, Regier, Tripuraneni, Jordan and McAuliffe 2019, arXiv 1810.04777"

    top: int = 1

    def __post_init__(self) -> None:
        _require_count("SumAndSample", "top", self.top, 1)

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw one uniform a sample, ``[n_samples, *batch]``, in double precision."""
        return {"choice": (_uniform(problem, generator, n_samples),)}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Return the weighed configurations: the sum's, then the sampled one."""
        (uniform,) = noise["choice"]
        table = ConfigurationTable(problem)
        n_samples, count = len(uniform), table.configurations
        rest = max(count - self.top, 0)
        summed = torch.arange(rest, count, device=problem.device).reshape(-1, *(1,) * uniform.ndim)
        summed = summed.expand(-1, 1, *problem.batch_shape)
        found = [_weigh(problem, table, summed, table.log_prob(summed).exp(), n_samples)]
        if rest:
            nothing = torch.zeros_like(uniform, dtype=torch.long)
            sampled = table.draw(nothing, nothing + rest, uniform)
            found.append(_weigh(problem, table, sampled[None], table.mass(nothing, nothing + rest).exp()[None], 1))
        return _join(found, n_samples)

    def expected_evaluations(self, problem: Problem) -> float:
        """Return ``top + 1``, at most the number of configurations."""
        return float(min(self.top + 1, configuration_count(problem)))


@dataclass(frozen=True)
class UnorderedSet(_WithoutReplacement):
    """A sample without replacement, regardless of its order (Kool, van Hoof and Welling, arXiv 2002.06043).

    ``g = Σ_{s ∈ S} p_s R(S, s) (f_s − B_s) ∇log p_s``, where ``S`` are ``k`` configurations drawn one after another
    without replacement and ``p_s R(S, s)`` is the probability that ``s`` came first, given the set: the expectation
    over the order of the estimate from the first draw. The built-in baseline ``B_s = p_s f_s + Σ_{t ≠ s} p_t R_s(S, t)
    f_t`` estimates the expected cost likewise, from what is drawn after ``s``. All the variables together are one
    categorical variable of at most 2**16 joint configurations. ``k`` evaluations; exact when the set holds all
    configurations.

    Attributes:
        k: the size of the set, at most 8, or anything if there are no more configurations than that.
        baseline: whether to subtract the built-in baseline. It needs ``k >= 2``; it can also increase the variance.
    """

    title: ClassVar[str] = "unordered set"
    reference: ClassVar[str] = "Kool, van Hoof and Welling 2020, arXiv 2002.06043"

    k: int = 2
    baseline: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.baseline, bool):
            reject("UnorderedSet", "baseline", "True or False", repr(self.baseline), kind=TypeError)
        _require_count("UnorderedSet", "k", self.k, 2 if self.baseline else 1)

    def check(self, problem: Problem) -> None:
        """Refuse problems with too many configurations, and large sets of more configurations still."""
        super().check(problem)
        count = configuration_count(problem)
        expected = f"at most {LARGEST_SET}, or all the {count:,} configurations of the problem: the weights take a sum "
        require(
            self.k <= LARGEST_SET or self.k >= count,
            "UnorderedSet",
            "k",
            expected + "over all subsets of a set",
            self.k,
        )

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw two uniforms for each configuration, ``[k, 2, n_samples, *batch]``, in double precision.

        None are needed, and the first axis is empty, when the set holds all configurations.
        """
        draws = self.k if self.k < configuration_count(problem) else 0
        return {"choice": (_uniform(problem, generator, draws, 2, n_samples),)}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Return the weighed configurations of the sets."""
        (uniform,) = noise["choice"]
        table = ConfigurationTable(problem)
        n_samples = uniform.shape[2]
        if self.k >= table.configurations:
            every = torch.arange(table.configurations, device=problem.device)
            every = every.reshape(-1, *(1,) * (uniform.ndim - 2)).expand(-1, 1, *problem.batch_shape)
            weights = table.log_prob(every).exp()
            constant = (lambda signal: (weights.to(signal) * signal).sum(0)) if self.baseline else None
            return _join([_weigh(problem, table, every, weights, n_samples, constant)], n_samples)
        chosen, log_rest = table.draw_set(uniform)
        weights, shares = set_weights(table.log_prob(chosen), log_rest)
        built_in = (lambda signal: (shares.to(signal) * signal).sum(1)) if self.baseline else None
        return _join([_weigh(problem, table, chosen, weights, 1, built_in)], n_samples)

    def expected_evaluations(self, problem: Problem) -> float:
        """Return ``k``, at most the number of configurations."""
        return float(min(self.k, configuration_count(problem)))


def set_weights(
    log_probs: Float[Tensor, "k ..."], log_rest: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "k ..."], Float[Tensor, "k k ..."]]:
    """Compute how the members of an unordered sample without replacement are weighed.

    The probability ``q(T)`` that the last draws are the set ``T``, the others of ``S`` drawn before, obeys
    ``q(T) = Σ_{s ∈ T} p_s q(T∖s) / (mass of T and of all that is not in S)``, and ``p(S) = q(S)``. No mass is found by
    subtracting from 1, so nothing cancels.

    Args:
        log_probs: of the members of ``S``, along the first axis.
        log_rest: of everything outside ``S`` together; −inf if there is nothing.

    Returns:
        ``w_s = p_s q(S∖s) / q(S)``, which sum to 1, and the coefficients ``[s, t]`` of the built-in baseline
        ``B_s = Σ_t c_st f_t``: ``p_s`` for ``t = s``, else ``p_t q(S∖{s, t}) / q(S∖s)``. Their rows sum to 1.
    """
    k = len(log_probs)
    mass = log_probs.new_full((1, *log_probs.shape[1:]), -torch.inf)
    for log_prob in log_probs:
        # Entry m of the table is for the subset whose members are the bits of m.
        mass = torch.cat((mass, torch.logaddexp(mass, log_prob)))
    subsets = _subsets(k, log_probs.device)
    mass = torch.logaddexp(mass, log_rest)[subsets.by_size]
    log_q = torch.zeros_like(mass[:1])
    for members, smaller in subsets.sizes:
        start = log_q.shape[0]
        size = torch.logsumexp(log_probs[members] + log_q[smaller], 1) - mass[start : start + members.shape[0]]
        log_q = torch.cat((log_q, size))
    log_q_without = log_q[subsets.without]
    weights = torch.softmax(log_probs + log_q_without, 0)
    shares = torch.exp(log_probs + log_q[subsets.without_both] - log_q_without[:, None])
    # The diagonal divides q(S∖s) by itself.
    return weights, shares


@dataclass(frozen=True, eq=False)
class _Subsets:
    """The subsets of a set, by their places in the order of :attr:`by_size`.

    Attributes:
        by_size: all of them as bits, ordered by size.
        sizes: for each size from 1, without the whole set, the members of each subset and the places of what is left
            of it without each of them.
        without: the place of the set without one member, ``[k]``.
        without_both: without one or two, ``[k, k]``.
    """

    by_size: Tensor
    sizes: tuple[tuple[Tensor, Tensor], ...]
    without: Tensor
    without_both: Tensor


@lru_cache(maxsize=4 * LARGEST_SET)
def _subsets(k: int, device: torch.device) -> _Subsets:
    order = sorted(range(2**k), key=lambda subset: (subset.bit_count(), subset))
    place = {subset: number for number, subset in enumerate(order)}
    # Kept for callers that record a graph, whatever this one does.
    with torch.inference_mode(False):
        sizes = []
        for size in range(1, k):
            subsets = [subset for subset in order if subset.bit_count() == size]
            members = [[member for member in range(k) if subset >> member & 1] for subset in subsets]
            smaller = [[place[s ^ 1 << member] for member in part] for s, part in zip(subsets, members, strict=True)]
            sizes.append((torch.tensor(members, device=device), torch.tensor(smaller, device=device)))
        whole = 2**k - 1
        without = [place[whole ^ 1 << member] for member in range(k)]
        both = [[place[whole & ~(1 << one | 1 << other)] for other in range(k)] for one in range(k)]
        return _Subsets(
            torch.tensor(order, device=device),
            tuple(sizes),
            torch.tensor(without, device=device),
            torch.tensor(both, device=device),
        )


def _weigh(
    problem: Problem,
    table: ConfigurationTable,
    positions: Tensor,
    weights: Tensor,
    shared_by: int,
    baseline: Callable[[Tensor], Tensor] | None = None,
) -> Parts:
    values = table.values(positions)
    logits = tuple(problem.logits(number, values[number - 1] if number else None) for number in range(problem.depth))
    signals = problem.signals(values, logits, shared_by=shared_by)
    weights = weights.to(problem.dtype)
    contributions = []
    for number, layer in enumerate(problem.layers):
        trailing = (..., *(None,) * len(layer.shape))
        signal = signals[number] if baseline is None else signals[number] - baseline(signals[number])
        contribution = (weights * signal)[trailing] * layer.score(values[number], logits[number])
        direct = problem.direct_gradient(number, values[number - 1] if number else None)
        contributions.append(contribution if direct is None else contribution + weights[trailing] * direct)
    return Parts(values, tuple(contributions), (weights * signals[0]).sum(0), weights)


def _join(found: list[Parts], n_samples: int) -> Parts:
    def together(blocks: list[Any]) -> Tensor:
        if len(blocks) == 1 and blocks[0].shape[1] == n_samples:
            return blocks[0]
        return torch.cat([block.expand(len(block), n_samples, *block.shape[2:]) for block in blocks])

    values = zip(*(parts.values for parts in found), strict=True)
    contributions = zip(*(parts.contributions for parts in found), strict=True)
    cost = sum((parts.cost for parts in found[1:]), found[0].cost)
    return Parts(
        tuple(together(list(blocks)) for blocks in values),
        tuple(together(list(blocks)) for blocks in contributions),
        cost.expand(n_samples, *cost.shape[1:]),
        together([parts.weights for parts in found]),
    )


def _uniform(problem: Problem, generator: torch.Generator, *leading: int) -> Tensor:
    shape = (*leading, *problem.batch_shape)
    return draw_open_uniform(shape, generator=generator, device=problem.device, dtype=torch.float64)


def _require_count(operation: str, argument: str, count: Any, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int):
        reject(operation, argument, "an integer", repr(count), kind=TypeError)
    require(count >= least, operation, argument, f">= {least}", count)

"""Estimators that draw several samples and let each serve the others as a baseline."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.estimators.estimator import Estimator, Noise, Parts
from toolkit.estimators.exact import Exact, enumerate_values, joint_log_prob, offset_logits
from toolkit.estimators.pathwise import attached, recording
from toolkit.estimators.problems import Problem

MOST_TUPLES = 2**20


@dataclass(frozen=True)
class LeaveOneOut(Estimator):
    """The likelihood-ratio estimator averaged over n draws, the others' mean being each draw's baseline; RLOO-n.

    ``1/n Σ_k (f_k − 1/(n − 1) Σ_{j≠k} f_j) s_k = 1/(n − 1) Σ_k (f_k − f̄) s_k`` with the layer's own signal f and
    score s. n evaluations; Bernoulli and categorical variables, any depth.

    Salimans and Knowles 2014, arXiv 1401.1022; Kool, van Hoof and Welling 2019, "Buy 4 REINFORCE samples, get a
    baseline for free!".

    Attributes:
        n: the draws behind one sample of the gradient, at least 2.
    """

    title: ClassVar[str] = "likelihood ratio, leave-one-out baseline"
    reference: ClassVar[str] = "Salimans and Knowles 2014, arXiv 1401.1022; Kool et al. 2019, ICLR workshop"

    n: int = 2

    def __post_init__(self) -> None:
        """Refuse a single draw."""
        _require_several("LeaveOneOut", self.n)

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw the noise of n values of each variable, ``[n, n_samples, *batch, n_variables]``."""
        return {"values": problem.draw_noise((self.n, n_samples), generator)}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Multiply each draw's distance from the mean signal with its score."""
        values, logits = problem.sample(noise["values"])
        signals = problem.signals(values, logits)
        contributions = []
        for number, layer in enumerate(problem.layers):
            signal = signals[number]
            centred = (signal - signal.mean(0)) / (len(signal) - 1)
            trailing = (..., *(None,) * len(layer.shape))
            contributions.append(centred[trailing] * layer.score(values[number], logits[number]))
        return Parts(values, tuple(contributions), signals[0].mean(0))

    def expected_evaluations(self, problem: Problem) -> float:
        """Return n."""
        return float(self.n)


@dataclass(frozen=True)
class VIMCO(Estimator):
    """The likelihood-ratio estimator of the n-sample bound, with a baseline from the other draws.

    Not the gradient of ``E[f]``: the objective is ``E[L]``, ``L = log 1/n Σ_k exp f_k`` over n independent draws, which
    takes f as a log weight, to be raised. It is the importance-weighted bound if f is a log joint less the log
    probability of the sampled values; it is above ``E[f]`` whenever f varies.

    ``Σ_k (L − L_k) s_k + Σ_k w_k ∂f_k``: L_k is L with ``f_k`` replaced by the mean of the others, w the softmax of the
    ``f_k``, ∂f_k the derivative of the k-th log weight with the values held fixed. All layers of one draw share the
    learning signal: the bound is no sum that a layer's part could be taken from. n evaluations; Bernoulli and
    categorical variables, any depth. The samples' cost is L.

    Mnih and Rezende 2016, arXiv 1602.06725. The truth to compare with: :func:`exact_bound`.

    Attributes:
        n: the draws in the bound, at least 2.
    """

    title: ClassVar[str] = "VIMCO"
    reference: ClassVar[str] = "Mnih and Rezende 2016, arXiv 1602.06725"
    objective: ClassVar[str] = "n-sample bound"
    adds_direct_gradient: ClassVar[bool] = True

    n: int = 2

    def __post_init__(self) -> None:
        """Refuse a single draw."""
        _require_several("VIMCO", self.n)

    def draw(self, problem: Problem, n_samples: int, generator: torch.Generator) -> Noise:
        """Draw the noise of n values of each variable, ``[n, n_samples, *batch, n_variables]``."""
        return {"values": problem.draw_noise((self.n, n_samples), generator)}

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        """Multiply what each draw adds to the bound with its score, and add the weighted direct derivatives."""
        values, logits = problem.sample(noise["values"])
        # Leaves of their own: what is differentiated is the cost's direct use of the logits, none of the values.
        leaves = tuple(attached(made.expand_as(value)) for made, value in zip(logits, values, strict=True))
        with torch.enable_grad():
            weights = problem.signals(values, leaves)[0]
            bound = log_mean_exp(weights)
            direct: tuple[Tensor | None, ...] = (None,) * problem.depth
            if bound.requires_grad:
                direct = torch.autograd.grad(bound.sum(), leaves, allow_unused=True)
        weights, bound = weights.detach(), bound.detach()
        learning = bound - _bounds_without(weights)
        contributions = []
        for number, layer in enumerate(problem.layers):
            trailing = (..., *(None,) * len(layer.shape))
            contribution = learning[trailing] * layer.score(values[number], logits[number])
            extra = direct[number]
            contributions.append(contribution if extra is None else contribution + extra)
        return Parts(values, tuple(contributions), bound, weights=torch.softmax(weights, 0))

    def expected_evaluations(self, problem: Problem) -> float:
        """Return n."""
        return float(self.n)


def log_mean_exp(log_weights: Float[Tensor, "n *rest"]) -> Float[Tensor, "*rest"]:
    """Return ``log 1/n Σ exp`` over the first axis."""
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def exact_bound(problem: Problem, n: int) -> Exact:
    """Compute the n-sample bound and its gradient by enumeration of all n-tuples of configurations.

    Args:
        problem: its cost is taken as a log weight.
        n: draws in the bound; 1 is the expected cost itself.

    Returns:
        ``E[log 1/n Σ_k exp f_k]`` and its derivative with respect to an offset of each layer's logits; as
        ``configurations`` the number of tuples.

    Raises:
        ValueError: more than 2**20 tuples, or n below 1, or the cost misbehaves.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        reject("exact_bound", "n", "an integer", repr(n), kind=TypeError)
    require(n >= 1, "exact_bound", "n", ">= 1", n)
    with recording():
        found = enumerate_values(problem, "exact_bound")
        count = len(found[0])
        expected = f"at most 2**20 = {MOST_TUPLES:,} tuples of configurations to enumerate"
        # A configuration has two values at least, so a large n is refused before its power is taken.
        few = n < MOST_TUPLES.bit_length() and count**n <= MOST_TUPLES
        require(few, "exact_bound", "n", expected, f"{count}**{n}")
        values = tuple(
            value.expand(count, *problem.batch_shape, *layer.shape)
            for value, layer in zip(found, problem.layers, strict=True)
        )
        offsets, logits = offset_logits(problem, values)
        log_weights = problem.counted().signals(values, logits)[0]
        log_probabilities = joint_log_prob(problem, values, logits)
        sums, chances = log_weights, log_probabilities
        for _ in range(n - 1):
            sums = torch.logaddexp(sums[:, None], log_weights[None]).flatten(0, 1)
            chances = (chances[:, None] + log_probabilities[None]).flatten(0, 1)
        bound = (chances.exp() * (sums - math.log(n))).sum(0)
        gradients = torch.autograd.grad(bound.sum(), offsets)
    return Exact(bound.detach(), gradients, count**n)


def _bounds_without(log_weights: Tensor) -> Tensor:
    """Return for each draw the bound with its log weight replaced by the mean of the others, shaped alike."""
    n = len(log_weights)
    # Sums over the draws before and after each one: subtracting its own weight from the whole would cancel.
    nothing = torch.full_like(log_weights[:1], -torch.inf)
    before = torch.cat((nothing, torch.logcumsumexp(log_weights, 0)[:-1]))
    after = torch.cat((torch.logcumsumexp(log_weights.flip(0), 0).flip(0)[1:], nothing))
    others = (log_weights.sum(0) - log_weights) / (n - 1)
    replaced = torch.logaddexp(torch.logaddexp(before, after), others)
    return replaced - math.log(n)


def _require_several(operation: str, n: object) -> None:
    if isinstance(n, bool) or not isinstance(n, int):
        reject(operation, "n", "an integer", repr(n), kind=TypeError)
    require(n >= 2, operation, "n", ">= 2: with one draw there is no other", n)

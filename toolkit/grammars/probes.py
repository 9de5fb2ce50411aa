"""Linear probes: what a linear classifier reads off a model's hidden states about each level of the metadata.

One classifier for each level, layer and position, all solved together: softmax regression with a quadratic penalty,
which for two choices is the binary linear classifier of Higuchi et al. (arXiv 2504.17562).
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.errors import require

_MOST_NUMBERS = 2**24  # features held at once, in float64


@dataclass(frozen=True, eq=False)
class Probes:
    """How often the probes are right about sentences that they were not fitted to.

    Attributes:
        accuracy: of each level, layer and position; NaN where no sentence is left to test, or none to fit.
        standard_error: over the tested sentences.
        n_fitted: how many sentences each position's probes were fitted to.
        n_tested: how many sentences they were tested on.
    """

    accuracy: Float[Tensor, "levels layers positions"]
    standard_error: Float[Tensor, "levels layers positions"]
    n_fitted: Int[Tensor, " positions"]
    n_tested: Int[Tensor, " positions"]

    def to_dict(self) -> dict[str, Any]:
        """Return nested lists."""
        names = ("accuracy", "standard_error", "n_fitted", "n_tested")
        return {name: getattr(self, name).tolist() for name in names}

    def __repr__(self) -> str:
        levels, layers, positions = self.accuracy.shape
        return f"Probes({levels} levels, {layers} layers, {positions} positions)"


def probe(
    states: Float[Tensor, "layers sentences positions width"],
    metadata: Int[Tensor, "sentences levels"],
    mask: Bool[Tensor, "sentences positions"],
    n_choices: tuple[int, ...],
    *,
    n_fitted: int | None = None,
    penalty: float = 1e-3,
    n_iterations: int = 40,
) -> Probes:
    """Fit and test a linear classifier for every level, layer and position.

    Args:
        states: hidden states of a model that was shown no metadata.
        metadata: the choice of each level that each sentence was drawn with.
        mask: which positions each sentence reaches; only those sentences count there.
        n_choices: how many choices each level has.
        n_fitted: how many sentences, from the first on, the probes are fitted to; the others test them. Default: half.
        penalty: half of this times the squared weights of all choices is added to the mean loss, the features having
            unit variance; for two choices that is a quarter of it times the square of the difference that decides.
        n_iterations: of the accelerated descent. It needs no step size and draws nothing, so the result is determined.

    Raises:
        ValueError: shapes that do not agree, choices that a level does not have, states that are not finite where they
            count, no sentences to fit or to test, a penalty that is not positive.
    """
    n_layers, n, n_positions, width = states.shape
    n_fitted = n // 2 if n_fitted is None else n_fitted
    require(metadata.shape == (n, len(n_choices)), "probe", "metadata", f"shape {[n, len(n_choices)]}", metadata.shape)
    require(mask.shape == (n, n_positions), "probe", "mask", f"shape {[n, n_positions]}", list(mask.shape))
    inside = bool(((metadata >= 0) & (metadata < torch.tensor(n_choices, device=metadata.device))).all())
    require(inside, "probe", "metadata", f"choices below {list(n_choices)}", "others")
    finite = bool((states.isfinite().all(-1) | ~mask).all())
    require(finite, "probe", "states", "finite numbers where the mask is true", "others")
    require(0 < n_fitted < n, "probe", "n_fitted", f"1 to {n - 1}, so that sentences are left to test", n_fitted)
    require(penalty > 0, "probe", "penalty", "> 0", penalty)
    require(n_iterations >= 1, "probe", "n_iterations", ">= 1", n_iterations)
    flat = states.movedim(2, 1).reshape(n_layers * n_positions, n, width)
    counts = mask.T.double().repeat(n_layers, 1)
    step = max(1, _MOST_NUMBERS // max(1, n * (width + 1)))
    parts = [
        _fit_and_test(
            flat[i : i + step].double(), counts[i : i + step], metadata, n_choices, n_fitted, penalty, n_iterations
        )
        for i in range(0, max(1, len(flat)), step)
    ]
    right = torch.cat(parts).reshape(n_layers, n_positions, len(n_choices)).permute(2, 0, 1)
    fitted, tested = mask[:n_fitted].sum(0), mask[n_fitted:].sum(0)
    accuracy = torch.where(fitted > 0, right / tested, torch.nan)
    return Probes(accuracy, (accuracy * (1 - accuracy) / tested).sqrt(), fitted, tested)


def _fit_and_test(
    states: Float[Tensor, "probes sentences width"],
    counts: Float[Tensor, "probes sentences"],
    metadata: Int[Tensor, "sentences levels"],
    n_choices: tuple[int, ...],
    n_fitted: int,
    penalty: float,
    n_iterations: int,
) -> Float[Tensor, "probes levels"]:
    """Return how many tested sentences each probe is right about."""
    weights, most = counts[:, :n_fitted], max(n_choices)
    # What does not count may be anything, and infinity times a weight of zero is no number.
    states = states.masked_fill(counts[..., None] == 0, 0.0)
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1)
    features = _standardised(states, weights)
    seen = features[:, :n_fitted]
    weighted = seen * weights[..., None]
    exists = torch.arange(most, device=states.device) < torch.tensor(n_choices, device=states.device)[:, None]
    truth = torch.nn.functional.one_hot(metadata[:n_fitted], most).to(states)
    ridge = torch.full((features.shape[-1],), penalty, dtype=states.dtype, device=states.device)
    ridge[-1] = 1e-9  # the constant is not penalised, only kept from being undetermined
    # Half the second moments bound the curvature of every softmax (Boehning 1992), whatever the weights: with them as
    # metric a step of length one never goes too far, and one factorisation serves all levels and all steps.
    curvature = 0.5 * seen.mT @ weighted + torch.diag(ridge)
    factor = torch.linalg.cholesky(curvature)
    solution = states.new_zeros(len(states), features.shape[-1], len(n_choices) * most)
    ahead, age = solution, states.new_ones(len(states), 1, 1)
    for _ in range(n_iterations):
        predicted = _choices(seen @ ahead, exists)
        slope = weighted.mT @ (predicted - truth).flatten(2) + ridge[:, None] * ahead
        following = ahead - torch.cholesky_solve(slope, factor)
        moved = following - solution
        # Momentum that has turned uphill starts again (O'Donoghue and Candès 2015), each probe for itself.
        uphill = (slope * moved).sum((1, 2), keepdim=True) > 0
        age = torch.where(uphill, 1.0, age)
        older = (1 + (1 + 4 * age.square()).sqrt()) / 2
        ahead = following + torch.where(uphill, 0.0, (age - 1) / older) * moved
        solution, age = following, older
    found = _choices(features[:, n_fitted:] @ solution, exists).argmax(-1)
    return ((found == metadata[n_fitted:]) * counts[:, n_fitted:, None]).sum(1)


def _choices(
    logits: Float[Tensor, "probes sentences columns"], exists: Bool[Tensor, "levels choices"]
) -> Float[Tensor, "probes sentences levels choices"]:
    return torch.where(exists, logits.unflatten(-1, exists.shape), -torch.inf).softmax(-1)


def _standardised(
    states: Float[Tensor, "probes sentences width"], weights: Float[Tensor, "probes fitted"]
) -> Float[Tensor, "probes sentences features"]:
    """Return the features with mean 0 and variance 1 over the fitted sentences, and a constant; constant ones as 0."""
    seen = states[:, : weights.shape[1]]
    mean = (weights[..., None] * seen).sum(1, keepdim=True)
    variance = (weights[..., None] * (seen - mean).square()).sum(1, keepdim=True)
    # Rounding differs between batches: what varies by no more than that says nothing.
    varies = variance > 1e-12 * mean.square().amax(-1, keepdim=True).clamp_min(1e-12)
    scaled = torch.where(varies, (states - mean) / torch.where(varies, variance, 1.0).sqrt(), 0.0)
    return torch.cat([scaled, torch.ones_like(scaled[..., :1])], dim=-1)

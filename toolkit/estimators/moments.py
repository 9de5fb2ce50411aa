"""Exact moments of estimators on an enumerated problem: for each configuration what the estimate is on average there,
and how much it still varies.

Every rule here returns :class:`Moments` for one layer; variances and covariances are read off them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.estimators.couplings import covariance_of_values
from toolkit.estimators.layers import Layer
from toolkit.estimators.marginalized import RAM
from toolkit.estimators.tables import LayerTable

BASELINES = ("none", "mean", "constant", "mean_given_parents", "parents", "siblings")


@dataclass(frozen=True, eq=False)
class Moments:
    """A layer's estimate in every case.

    Attributes:
        weights: probability of each case, ``[cases, examples]``.
        means: the estimate's expectation in each, ``[cases, examples, n, c]``.
        within: each variable's covariance in each, ``[cases, examples, n, c, c]``; ``None`` if a case leaves nothing
            random.
        given: the configuration of the layer before in each case, ``[cases]``.
    """

    weights: Float[Tensor, "cases examples"]
    means: Float[Tensor, "cases examples n c"]
    within: Float[Tensor, "cases examples n c c"] | None
    given: Int[Tensor, " cases"]

    @property
    def mean(self) -> Float[Tensor, "examples n c"]:
        """The expectation."""
        return torch.einsum("re,renc->enc", self.weights, self.means)

    @property
    def variance(self) -> Float[Tensor, "examples n c"]:
        """The variance of each component."""
        variance = torch.einsum("re,renc->enc", self.weights, (self.means - self.mean).square())
        if self.within is None:
            return variance
        return variance + torch.einsum("re,rencc->enc", self.weights, self.within)


def likelihood_ratio(table: LayerTable, baseline: str) -> Moments:
    """Return the moments of ``(f − b) ∇log q`` with one of the :data:`BASELINES`.

    The best baselines are best for each component: ``b = E[f s²] / E[s²]`` with the score s, both given what the
    baseline may depend on.
    """
    average = torch.einsum("zde,azde->aze", table.after, table.signals)
    weights, given = table.weights, table.given
    squares = table.score.square()
    level = torch.einsum("aze,aze->e", weights, average)
    # About the mean, so that a large constant in the cost is not rounded away.
    average = average - level
    if baseline == "none":
        found = (-level)[:, None, None]
    elif baseline == "mean":
        found = torch.zeros_like(level)[:, None, None]
    elif baseline == "constant":
        found = best_constant(table) - level[:, None, None]
    elif baseline == "mean_given_parents":
        parents = _by_parents(weights.sum(1), table)
        found = _ratio(_by_parents((weights * average).sum(1), table), parents)[given][:, None, :, None, None]
    elif baseline == "parents":
        weighed = weights[..., None, None] * squares[given]
        below = _by_parents(weighed.sum(1), table)
        above = _by_parents((weighed * average[..., None, None]).sum(1), table)
        found = _ratio(above, below)[given][:, None]
    else:
        weighed = table.probabilities[..., None] * table.scores.square()
        above = torch.einsum("aenkc,aznke->azenc", weighed[given], average[:, table.neighbours])
        found = _ratio(above, weighed.sum(-2)[given][:, None])
    centred = (table.signals - level)[..., None, None] - found.expand(*average.shape, *found.shape[-2:])[:, :, None]
    means = centred * table.score[given][:, :, None]
    return _moments(table, weights[:, :, None] * table.after, means, None)


def best_constant(table: LayerTable) -> Float[Tensor, "examples n c"]:
    """Return the constant baseline with the least variance for each component, ``E[f s²] / E[s²]``."""
    average = torch.einsum("zde,azde->aze", table.after, table.signals)
    level = torch.einsum("aze,aze->e", table.weights, average)
    weighed = table.weights[..., None, None] * table.score.square()[table.given]
    centred = (average - level)[..., None, None]
    return level[:, None, None] + _ratio((weighed * centred).sum((0, 1)), weighed.sum((0, 1)))


def ram(
    table: LayerTable, later: tuple[LayerTable, ...], layers: tuple[Layer, ...], estimator: RAM, operation: str
) -> Moments:
    """Return the moments of RAM, with its noise and its coupling.

    Given the layers before, the variable's siblings and the noise of the descendants, RAM is linear in the costs of
    the variable's values: ``A f``. So it needs their means and covariances over the descendants' noise, and these need
    the joint law of two runs of the descendants at a time.

    Raises:
        ValueError: antithetic Gumbel noise, or too many pairs of configurations.
    """
    jacobian = (table.probabilities[..., None] * table.scores)[table.given]
    average = torch.einsum("zde,azde->aze", table.after, table.signals)
    costs = average[:, table.neighbours]
    costs = costs - costs[..., :1, :]
    means = torch.einsum("aenkc,aznke->azenc", jacobian, costs)
    within = None
    if later:
        covariance = covariance_of_values(table, later, layers, estimator, average, operation)
        within = torch.einsum("aenkc,azenkl,aenld->azencd", jacobian, covariance, jacobian)
    return _moments(table, table.weights[:, :, None], means[:, :, None], within)


def leave_one_out(table: LayerTable, n: int) -> Moments:
    """Return the moments of the leave-one-out estimator: the sample covariance of cost and score of n draws.

    ``Var = (μ22 − μ11²)/n + (μ11² + μ20 μ02)/(n (n − 1))`` with their central moments. One case stands for all, so
    nothing but the variance can be read off.
    """
    weights = (table.weights[:, :, None] * table.after)[..., None, None]
    level = torch.einsum("azde,azde->e", weights[..., 0, 0], table.signals)
    cost = (table.signals - level)[..., None, None]
    score = table.score[table.given][:, :, None]

    def expect(part: Tensor) -> Tensor:
        return (weights * part).sum((0, 1, 2))

    mean = expect(cost * score)
    variance = (expect(cost.square() * score.square()) - mean.square()) / n
    variance = variance + (mean.square() + expect(cost.square()) * expect(score.square())) / (n * (n - 1))
    if table.direct is not None:
        direct = table.direct[table.given][:, None, None]
        shift = expect(direct)
        direct = direct - shift
        variance = variance + (expect(direct.square()) + 2 * expect(cost * score * direct)) / n
        mean = mean + shift
    one = torch.ones_like(level)[None]
    return Moments(one, mean[None], torch.diag_embed(variance)[None], torch.zeros_like(one[:, 0], dtype=torch.long))


def one_coordinate(moments: Moments, direct: Tensor | None, total: int) -> Moments:
    """Return the moments when each variable's estimate is given with probability 1/total, times total, else 0.

    Args:
        moments: of the estimate, direct term included.
        direct: that term, ``[given, examples, n, c]``, which is always given.
        total: the number of variables.
    """
    kept = moments.means if direct is None else moments.means - direct[moments.given]
    within = (total - 1) * kept[..., :, None] * kept[..., None, :]
    if moments.within is not None:
        within = within + total * moments.within
    return Moments(moments.weights, moments.means, within, moments.given)


def _moments(table: LayerTable, weights: Tensor, means: Tensor, within: Tensor | None) -> Moments:
    """Flatten ``[before, here, after, …]`` and add the direct term."""
    given = table.given
    if table.direct is not None:
        means = means + table.direct[given][:, None, None]
    cases = weights.shape[0] * weights.shape[1] * weights.shape[2]
    return Moments(
        weights.flatten(0, 2),
        means.flatten(0, 2),
        None if within is None else within.flatten(0, 1),
        given.repeat_interleave(cases // len(given)),
    )


def _by_parents(numbers: Tensor, table: LayerTable) -> Tensor:
    """Sum over the layers before the one that the logits depend on: ``[before, …]`` to ``[given, …]``."""
    return numbers.unflatten(0, (len(numbers) // len(table.logits), len(table.logits))).sum(0)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Divide; 0 where nothing is divided by nothing, as any baseline does where the score is always 0."""
    return torch.where(below > 0, above / below, 0)

"""Charts as matrices: row = where a symbol starts, column = where it ends, and a rule is a matrix product.

For short sentences, and for families whose symbols yield few tokens as well as many; for the others see
:mod:`toolkit.grammars.banded`, which has the same functions.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.grammars.inference_levels import Band, Mix
from toolkit.grammars.inference_plan import Plan
from toolkit.grammars.inference_vectors import Combine, Through


class Dense(NamedTuple):
    """The charts of a level: ``values[item, sentence, i, m]`` is the probability of the tokens from i to m."""

    values: Float[Tensor, "items sentences starts ends"]


class DenseCharts:
    """What can be done with dense charts of a batch of sentences.

    Args:
        n_sentences: in the batch.
        n_positions: of tokens, in the longest.
    """

    nothing, certain = 0.0, 1.0

    def __init__(self, n_sentences: int, n_positions: int) -> None:
        self.n_sentences, self.n_positions = n_sentences, n_positions

    def leaves(self, leaves: Float[Tensor, "tokens sentences positions"]) -> Dense:
        """Return the charts of the tokens from where each stands."""
        return Dense(torch.diag_embed(leaves[..., :-1], offset=1))

    def blank(self, n: int, band: Band, like: Tensor) -> Dense:
        """Return n empty charts."""
        size = self.n_positions + 1
        return Dense(like.new_zeros(n, self.n_sentences, size, size))

    def select(self, charts: Dense, index: Int[Tensor, " chosen"]) -> Dense:
        """Return some of the charts."""
        return Dense(charts.values[index])

    def mix(self, out: Dense, charts: Dense, mix: Mix, plan: Plan) -> None:
        """Add charts times their weights to others."""
        targets, sources, weights = (plan.table(values, charts.values) for values in mix[1:])
        out.values.index_add_(0, targets, charts.values[sources] * weights[:, None, None, None])

    def multiply(self, out: Dense, left: Dense, right: Dense) -> None:
        """Add to the first charts of ``out`` what yields ``left`` and then ``right``."""
        out.values[: len(left.values)] += left.values @ right.values

    def through(self, vectors: Float[Tensor, "items vectors places"], charts: Dense) -> Tensor:
        """Return where each symbol ends that starts where the vectors say."""
        rows, n, _ = vectors.shape
        split = vectors.view(rows, n, self.n_sentences, -1).transpose(1, 2)
        return (split @ charts.values).transpose(1, 2).reshape(vectors.shape)

    def combine(self, plan: Plan, vectors: Tensor, out: Tensor, step: Combine) -> None:
        """Write weighted sums of vectors."""
        combine(plan, vectors, out, step)


def carry_out(plan: Plan, algebra: Any, leaves: Float[Tensor, "tokens sentences positions"]) -> Tensor:
    """Fill the charts and send the vectors through.

    Args:
        plan: for the family.
        algebra: :class:`DenseCharts`, :class:`~toolkit.grammars.banded.BandedCharts` or
            :class:`~toolkit.grammars.log_charts.LogCharts`.
        leaves: ``leaves[token, sentence, i]``: 1, or a scale, where the sentence has this token at i, else 0; for
            charts of logarithms their logarithms.

    Returns:
        All vectors, ``[plan.n_vectors, sentences × positions]``.
    """
    depth = plan.cut + len(plan.levels)
    charts = {depth: algebra.leaves(leaves)}
    for level, planned in zip(reversed(range(plan.cut, depth)), plan.levels, strict=True):
        below = charts[level + 1]
        stages = [below]
        for pairs, band in zip(planned.tails, planned.tail_bands, strict=True):
            product = algebra.blank(len(pairs.left), band, leaves)
            left, right = plan.table(pairs.left, leaves), plan.table(pairs.right, leaves)
            algebra.multiply(product, algebra.select(below, left), algebra.select(stages[-1], right))
            stages.append(product)
        filled = algebra.blank(len(planned.items), planned.band, leaves)
        for firsts, (mixes, band) in zip(planned.firsts, planned.rests, strict=True):
            rest = algebra.blank(len(firsts), band, leaves)
            for mix in mixes:
                algebra.mix(rest, stages[mix.stage], mix, plan)
            algebra.multiply(filled, algebra.select(below, plan.table(firsts, leaves)), rest)
        for mix in planned.single:
            algebra.mix(filled, below, mix, plan)
        charts[level] = filled
    return _send(plan, algebra, leaves, charts)


def _send(plan: Plan, algebra: Any, leaves: Tensor, charts: dict[int, Any]) -> Tensor:
    _, n_sentences, places = leaves.shape
    vectors = leaves.new_empty(plan.n_vectors, n_sentences * places)
    vectors[:2] = algebra.nothing
    vectors[1, ::places] = algebra.certain
    for step in plan.steps:
        out = vectors[step.first : step.first + step.n]
        if isinstance(step, Through):
            entering = vectors[plan.table(step.vectors, leaves)]
            level = charts[step.level]
            chosen = level if step.all_items else algebra.select(level, plan.table(step.items, leaves))
            out.copy_(algebra.through(entering, chosen).flatten(0, 1))
        else:
            algebra.combine(plan, vectors, out, step)
    return vectors


def combine(plan: Plan, vectors: Tensor, out: Tensor, step: Combine) -> None:
    """Write weighted sums of vectors."""
    if step.as_matrix:
        torch.mm(plan.table(step.weights, vectors), vectors[plan.table(step.sources, vectors)], out=out)
        return
    out.zero_()
    for sources, weights in zip(step.sources, step.weights, strict=True):
        chosen = vectors[plan.table(sources, vectors)]
        out[: len(chosen)].addcmul_(chosen, plan.table(weights, vectors)[:, None])

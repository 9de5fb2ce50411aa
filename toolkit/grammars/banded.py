"""Charts as bands: only spans whose length a level can yield are kept, so long sentences cost little.

The probability of the tokens from i on, of some length, stands at ``values[item, length - shortest, place]``, where
place = sentence × (positions + 1) + i: all sentences lie one behind the other. A shift along them never carries
anything from one sentence into the next, because no span passes the end of its sentence.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.grammars.charts import combine
from toolkit.grammars.inference_levels import Band, Mix
from toolkit.grammars.inference_plan import Plan
from toolkit.grammars.inference_vectors import Combine


class Banded(NamedTuple):
    """The charts of a level, from the shortest length that it yields on."""

    values: Float[Tensor, "items lengths places"]
    shortest: int


class BandedCharts:
    """What can be done with banded charts of a batch of sentences; the same as with dense ones.

    Args:
        n_sentences: in the batch.
        n_positions: of tokens, in the longest.
    """

    nothing, certain = 0.0, 1.0

    def __init__(self, n_sentences: int, n_positions: int) -> None:
        self.n_places, self.n_positions = n_sentences * (n_positions + 1), n_positions

    def leaves(self, leaves: Float[Tensor, "tokens sentences positions"]) -> Banded:
        """Return the charts of the tokens from where each stands."""
        return Banded(leaves.reshape(len(leaves), 1, -1), 1)

    def blank(self, n: int, band: Band, like: Tensor) -> Banded:
        """Return n empty charts."""
        shortest, longest = band[0], min(band[1], self.n_positions)
        return Banded(like.new_zeros(n, max(0, longest - shortest + 1), self.n_places), shortest)

    def select(self, charts: Banded, index: Int[Tensor, " chosen"]) -> Banded:
        """Return some of the charts."""
        return Banded(charts.values[index], charts.shortest)

    def mix(self, out: Banded, charts: Banded, mix: Mix, plan: Plan) -> None:
        """Add charts times their weights to others."""
        here, there = common(out.shortest, out.values.shape[1], charts.shortest, charts.values.shape[1])
        targets, sources, weights = (plan.table(values, charts.values) for values in mix[1:])
        out.values[:, here].index_add_(0, targets, charts.values[sources][:, there] * weights[:, None, None])

    def multiply(self, out: Banded, left: Banded, right: Banded) -> None:
        """Add to the first charts of ``out`` what yields ``left`` and then ``right``."""
        for into, first, second in self.overlaps(out, left, right):
            into.addcmul_(first, second)

    def through(self, vectors: Float[Tensor, "items vectors places"], charts: Banded) -> Tensor:
        """Return where each symbol ends that starts where the vectors say."""
        out = torch.zeros_like(vectors)
        for into, start, span in self.spans(out, vectors, charts):
            into.addcmul_(start, span)
        return out

    def combine(self, plan: Plan, vectors: Tensor, out: Tensor, step: Combine) -> None:
        """Write weighted sums of vectors."""
        combine(plan, vectors, out, step)

    def overlaps(self, out: Banded, left: Banded, right: Banded) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield what to add the product of the other two to, for each length of the left one."""
        n, n_lengths, n_places = left.values.shape
        for i in range(n_lengths):
            length = left.shortest + i
            here, there = common(out.shortest, out.values.shape[1], length + right.shortest, right.values.shape[1])
            stop = n_places - length
            if here.stop > here.start and stop > 0:
                yield out.values[:n, here, :stop], left.values[:, i : i + 1, :stop], right.values[:, there, length:]

    def spans(self, out: Tensor, vectors: Tensor, charts: Banded) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield what to add the product of the other two to, for each length of a chart."""
        for i in range(charts.values.shape[1]):
            length = charts.shortest + i
            stop = self.n_places - length
            yield out[..., length:], vectors[..., :stop], charts.values[:, i : i + 1, :stop]


def common(first: int, n: int, other_first: int, other_n: int) -> tuple[slice, slice]:
    """Return where the lengths that two bands have in common stand in each."""
    start, stop = max(first, other_first), min(first + n, other_first + other_n)
    stop = max(start, stop)
    return slice(start - first, stop - first), slice(start - other_first, stop - other_first)

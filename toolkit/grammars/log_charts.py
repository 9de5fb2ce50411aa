"""Banded charts of log-probabilities: many times slower, and right where probabilities leave the range of numbers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.grammars.banded import Banded, BandedCharts, common
from toolkit.grammars.inference_levels import Band, Mix
from toolkit.grammars.inference_plan import Plan
from toolkit.grammars.inference_vectors import Combine


class LogCharts(BandedCharts):
    """What can be done with banded charts of logarithms: sums become ``logaddexp``, products sums."""

    nothing, certain = -math.inf, 0.0

    def blank(self, n: int, band: Band, like: Tensor) -> Banded:
        """Return n empty charts."""
        empty = super().blank(n, band, like)
        return Banded(empty.values.fill_(self.nothing), empty.shortest)

    def mix(self, out: Banded, charts: Banded, mix: Mix, plan: Plan) -> None:
        """Add charts times their weights to others."""
        here, there = common(out.shortest, out.values.shape[1], charts.shortest, charts.values.shape[1])
        for target, source, weight in zip(mix.targets, mix.sources, mix.weights, strict=True):
            into = out.values[target, here]
            torch.logaddexp(into, charts.values[source, there] + math.log(weight), out=into)

    def multiply(self, out: Banded, left: Banded, right: Banded) -> None:
        """Add to the first charts of ``out`` what yields ``left`` and then ``right``."""
        for into, first, second in self.overlaps(out, left, right):
            torch.logaddexp(into, first + second, out=into)

    def through(self, vectors: Float[Tensor, "items vectors places"], charts: Banded) -> Tensor:
        """Return where each symbol ends that starts where the vectors say."""
        out = torch.full_like(vectors, self.nothing)
        for into, start, span in self.spans(out, vectors, charts):
            torch.logaddexp(into, start + span, out=into)
        return out

    def combine(self, plan: Plan, vectors: Tensor, out: Tensor, step: Combine) -> None:
        """Write weighted sums of vectors."""
        out.fill_(self.nothing)
        if step.as_matrix:
            logs = plan.table(step.weights, vectors).log()
            for column, source in enumerate(step.sources):
                torch.logaddexp(out, vectors[source] + logs[:, column : column + 1], out=out)
            return
        for sources, weights in zip(step.sources, step.weights, strict=True):
            chosen, into = vectors[plan.table(sources, vectors)], out[: len(sources)]
            torch.logaddexp(into, chosen + plan.table(weights, vectors).log()[:, None], out=into)

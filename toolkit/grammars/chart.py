"""Sums over all derivations of parts of sentences: inside and outside, in logarithms, for a batch at once.

A chart is a tensor ``[sentences, columns, positions + 1, positions + 1]``: the third index is where a span starts, the
fourth where it ends. Logarithms all the way: neither long sentences nor rare rules underflow.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from toolkit.grammars.compiled import SparseLogMap, Tables

_CHUNK = 2**18
"""Numbers in one intermediate array: few enough to stay in a processor's cache."""


@dataclass(frozen=True, eq=False)
class InsideChart:
    """Log-probabilities that a column derives the tokens of a span.

    Attributes:
        columns: ``[sentences, columns, starts, ends]``; spans without tokens hold the empty string's.
        pairs: the same for the right-hand sides of binary rules, both children with tokens.
    """

    columns: Float64[Tensor, "sentences columns starts ends"]
    pairs: Float64[Tensor, "sentences pairs starts ends"]


def inside(tables: Tables, tokens: Int[Tensor, "sentences positions"]) -> InsideChart:
    """Fill the chart, from the short spans to the long.

    Args:
        tables: on the tokens' device.
        tokens: ids from 0; V and above is no token of the grammar, so that sentences can be filled up with it.
    """
    return _fill(tables.inside_tokens, tables.inside_pairs, tables.null.log(), tables, tokens, best=False)


def best_inside(
    token_logs: Float64[Tensor, "tokens_and_unknown columns"],
    pair_map: SparseLogMap,
    null_logs: Float64[Tensor, " columns"],
    tables: Tables,
    tokens: Int[Tensor, "sentences positions"],
) -> InsideChart:
    """Fill the chart with the best derivation's log-probability in place of the sum.

    Args:
        token_logs: as :attr:`Tables.inside_tokens`, over the best chains.
        pair_map: as :attr:`Tables.inside_pairs`, over the best chains.
        null_logs: of the best derivation of the empty string.
        tables: see :func:`inside`.
        tokens: see :func:`inside`.
    """
    return _fill(token_logs, pair_map, null_logs, tables, tokens, best=True)


def outside(
    tables: Tables, chart: InsideChart, lengths: Int[Tensor, " sentences"]
) -> Float64[Tensor, "sentences columns starts ends"]:
    """Return the log-weights of everything around a span: derivations of the start symbol that leave the span open.

    Spans without tokens are left at −∞; see :func:`empty_outside`.

    Args:
        tables: as for the inside chart.
        chart: the inside chart.
        lengths: of the sentences.
    """
    n_sentences, n, n_cells, _ = chart.columns.shape
    longest, n_pairs = n_cells - 1, len(tables.pairs)
    left, right = tables.pairs.unbind(1)
    device = chart.columns.device
    found = torch.full((n_sentences, n, n_cells, n_cells), -torch.inf, dtype=torch.float64, device=device)
    above = torch.full((n_sentences, n_pairs, n_cells, n_cells), -torch.inf, dtype=torch.float64, device=device)
    above_by_end = torch.full_like(above, -torch.inf)
    below, below_by_end = chart.columns.contiguous(), chart.columns.transpose(2, 3).contiguous()
    sentences = torch.arange(n_sentences, device=device)
    for width in range(longest, 0, -1):
        starts = torch.arange(longest - width + 1, device=device)
        given = torch.full((n_sentences, 2 * n_pairs, len(starts)), -torch.inf, dtype=torch.float64, device=device)
        others = longest - width
        if others and n_pairs:
            for first, last in _chunks(others, n_sentences * n_pairs * others):
                rows = last - first
                # The windows run over the end of a row into cells that end before they start, which hold −∞.
                by_left = _window(above, rows, others, first * (n_cells + 1) + width + 1, n_cells + 1)
                sibling = _window(below, rows, others, (first + width) * (n_cells + 1) + 1, n_cells + 1)
                given[:, :n_pairs, first:last] = (by_left + sibling[:, right]).logsumexp(3)
                by_right = above_by_end[:, :, first + 1 + width : last + 1 + width, :others]
                sibling = below_by_end[:, :, first + 1 : last + 1, :others]
                given[:, n_pairs:, first + 1 : last + 1] = (by_right + sibling[:, left]).logsumexp(3)
        reached = tables.outside_children.apply(given)
        whole = sentences[lengths == width]
        reached[whole, tables.start, 0] = torch.logaddexp(
            reached[whole, tables.start, 0], torch.zeros((), dtype=torch.float64, device=device)
        )
        reached = tables.above.apply(reached)
        found[:, :, starts, starts + width] = reached
        passed = tables.outside_pairs.apply(reached)
        above[:, :, starts, starts + width] = passed
        above_by_end[:, :, starts + width, starts] = passed
    return found


def _fill(
    token_logs: Tensor, pair_map: SparseLogMap, null_logs: Tensor, tables: Tables, tokens: Tensor, best: bool
) -> InsideChart:
    n_sentences, longest = tokens.shape
    n, n_pairs, n_cells = tables.n_columns, len(tables.pairs), longest + 1
    left, right = tables.pairs.unbind(1)
    device = tokens.device
    chart = torch.full((n_sentences, n, n_cells, n_cells), -torch.inf, dtype=torch.float64, device=device)
    by_end = torch.full_like(chart, -torch.inf)
    pairs = torch.full((n_sentences, n_pairs, n_cells, n_cells), -torch.inf, dtype=torch.float64, device=device)
    positions = torch.arange(longest, device=device)
    if longest:
        single = token_logs[tokens.clamp(max=tables.n_terminals)].transpose(1, 2)
        chart[:, :, positions, positions + 1] = single
        by_end[:, :, positions + 1, positions] = single
    for width in range(2, longest + 1) if n_pairs else ():
        n_starts = longest - width + 1
        summed = torch.empty((n_sentences, n_pairs, n_starts), dtype=torch.float64, device=device)
        for first, last in _chunks(n_starts, n_sentences * n_pairs * (width - 1)):
            rows = last - first
            before = _window(chart, rows, width - 1, first * (n_cells + 1) + 1, n_cells + 1)
            after = _window(by_end, rows, width - 1, (first + width) * n_cells + first + 1, n_cells + 1)
            both = before[:, left] + after[:, right]
            summed[:, :, first:last] = both.amax(3) if best else both.logsumexp(3)
        starts = positions[:n_starts]
        pairs[:, :, starts, starts + width] = summed
        whole = pair_map.maximum(summed) if best else pair_map.apply(summed)
        chart[:, :, starts, starts + width] = whole
        by_end[:, :, starts + width, starts] = whole
    everywhere = torch.arange(n_cells, device=device)
    chart[:, :, everywhere, everywhere] = null_logs[:, None]
    return InsideChart(chart, pairs)


def _window(chart: Tensor, rows: int, width: int, offset: int, step: int) -> Tensor:
    """Return ``width`` neighbouring cells of each of ``rows`` rows, which start ``step`` cells apart."""
    n_sentences, n, height, length = chart.shape
    sizes, strides = (n_sentences, n, rows, width), (n * height * length, height * length, step, 1)
    return chart.as_strided(sizes, strides, offset)


def _chunks(n: int, size_of_one: int) -> list[tuple[int, int]]:
    step = max(1, _CHUNK // max(1, size_of_one))
    return [(first, min(first + step, n)) for first in range(0, n, step)]

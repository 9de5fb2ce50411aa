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

_SMALL = 2**15
"""Up to so many numbers, looking for what need not be computed costs more than it saves."""


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
        # The windows run over the ends of rows into cells that end before they start, which hold −∞.
        for group, least, most in _siblings(tables, right, others, n_sentences * n_pairs * others**2):
            for first, last in _chunks(others, n_sentences * len(group) * (most - least + 1)):
                size = (last - first, most - least + 1)
                upper = _window(above, *size, first * (n_cells + 1) + width + least, n_cells + 1)
                beside = _window(below, *size, (first + width) * (n_cells + 1) + least, n_cells + 1)
                given[:, group, first:last] = (upper[:, group] + beside[:, right[group]]).logsumexp(3)
        for group, least, most in _siblings(tables, left, others, n_sentences * n_pairs * others**2):
            for first, last in _chunks(others, n_sentences * len(group) * (most - least + 1)):
                size, start = (last - first, most - least + 1), first + 1
                upper = _window(above_by_end, *size, (start + width) * n_cells + start - most, n_cells + 1)
                beside = _window(below_by_end, *size, start * (n_cells + 1) - most, n_cells + 1)
                found_here = (upper[:, group] + beside[:, left[group]]).logsumexp(3)
                given[:, n_pairs + group, start : last + 1] = found_here
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
        summed = torch.full((n_sentences, n_pairs, n_starts), -torch.inf, dtype=torch.float64, device=device)
        for group, least, most in _splits(tables, width, n_sentences * n_pairs * n_starts * (width - 1)):
            n_splits = most - least + 1
            for first, last in _chunks(n_starts, n_sentences * len(group) * n_splits):
                rows = last - first
                before = _window(chart, rows, n_splits, first * (n_cells + 1) + least, n_cells + 1)
                after = _window(by_end, rows, n_splits, (first + width) * n_cells + first + least, n_cells + 1)
                both = before[:, left[group]] + after[:, right[group]]
                summed[:, group, first:last] = both.amax(3) if best else both.logsumexp(3)
        starts = positions[:n_starts]
        pairs[:, :, starts, starts + width] = summed
        whole = pair_map.maximum(summed) if best else pair_map.apply(summed)
        chart[:, :, starts, starts + width] = whole
        by_end[:, :, starts + width, starts] = whole
    everywhere = torch.arange(n_cells, device=device)
    chart[:, :, everywhere, everywhere] = null_logs[:, None]
    return InsideChart(chart, pairs)


def _splits(tables: Tables, width: int, n_numbers: int) -> list[tuple[Tensor, int, int]]:
    """Return for groups of pairs how many of a span's tokens the left child can have, at least and at most."""
    left, right = tables.pairs.unbind(1)
    least = torch.maximum(tables.shortest[left], width - tables.longest[right])
    most = torch.minimum(tables.longest[left], width - tables.shortest[right])
    return _groups(least, most, width - 1, n_numbers)


def _siblings(tables: Tables, other: Tensor, most: int, n_numbers: int) -> list[tuple[Tensor, int, int]]:
    """Return for groups of pairs how many tokens one of the children can have."""
    return _groups(tables.shortest[other], tables.longest[other].clamp(max=most), most, n_numbers)


def _groups(least: Tensor, most: Tensor, top: int, n_numbers: int) -> list[tuple[Tensor, int, int]]:
    """Return which items can be treated together, with common bounds from 1 to ``top``; none for empty ranges."""
    if n_numbers <= _SMALL:
        every = torch.arange(len(least), device=least.device)
        return [(every, 1, top)] if top and len(every) else []
    # Rounded, so that there are few groups.
    step = max(1, top // 16)
    possible = (least <= most).nonzero().flatten()
    bounds = torch.stack([least // step * step, -(-most // step) * step], 1).clamp(1, top)[possible]
    kinds, which = bounds.unique(dim=0, return_inverse=True)
    return [(possible[which == kind], low, high) for kind, (low, high) in enumerate(kinds.tolist())]


def _window(chart: Tensor, rows: int, width: int, offset: int, step: int) -> Tensor:
    """Return ``width`` neighbouring cells of each of ``rows`` rows, which start ``step`` cells apart."""
    n_sentences, n, height, length = chart.shape
    sizes, strides = (n_sentences, n, rows, width), (n * height * length, height * length, step, 1)
    return chart.as_strided(sizes, strides, offset)


def _chunks(n: int, size_of_one: int) -> list[tuple[int, int]]:
    step = max(1, _CHUNK // max(1, size_of_one))
    return [(first, min(first + step, n)) for first in range(0, n, step)]

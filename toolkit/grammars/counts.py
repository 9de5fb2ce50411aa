"""How often each rule is used in the derivations of given sentences, on average."""

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from toolkit.grammars.chart import InsideChart
from toolkit.grammars.closures import reachable, star
from toolkit.grammars.compiled import Tables, sparse_log_map

_CHUNK = 2**21


def empty_outside(
    tables: Tables,
    chart: InsideChart,
    outside: Float64[Tensor, "sentences columns starts ends"],
    lengths: Int[Tensor, " sentences"],
) -> Float64[Tensor, "sentences columns positions_and_end"]:
    """Return the log-weights of everything around the empty span at each position.

    Args:
        tables: on the chart's device.
        chart: the inside chart.
        outside: of the spans with tokens.
        lengths: of the sentences.
    """
    binary = tables.binary
    left, right = binary.children.unbind(1)
    n = tables.n_columns
    seeds = torch.full((len(lengths), n, outside.shape[-1]), -torch.inf, dtype=torch.float64, device=outside.device)
    if len(left):
        # One child is empty, at the start or at the end of the span that the other one has.
        at_start = _overlap(outside, chart.columns, binary.parents, right, 3)
        at_end = _overlap(outside, chart.columns, binary.parents, left, 2)
        which = torch.arange(len(left), device=left.device)
        to_columns = torch.zeros(n, 2 * len(left), dtype=torch.float64, device=left.device)
        to_columns[left, which] = binary.probabilities
        to_columns[right, len(left) + which] = binary.probabilities
        seeds = sparse_log_map(to_columns).apply(torch.cat([at_start, at_end], 1))
    seeds[lengths == 0, tables.start, 0] = 0.0
    found = sparse_log_map(_finite_chains(tables).T.contiguous()).apply(seeds)
    if bool(tables.endless.any()):
        reach = reachable(tables.unary_weights).double()
        through = reach @ (reach * tables.endless.double()[:, None]) > 0
        endless = torch.einsum("bcp,cd->bdp", (seeds > -torch.inf).double(), through.double()) > 0
        found = found.masked_fill(endless, torch.inf)
    return found


def expected_counts(
    tables: Tables,
    chart: InsideChart,
    outside: Float64[Tensor, "sentences columns starts ends"],
    tokens: Int[Tensor, "sentences positions"],
    lengths: Int[Tensor, " sentences"],
    n_rules: int,
) -> Float64[Tensor, " rules"]:
    """Return how often each rule is used, summed over the sentences; those outside the language count nothing.

    Args:
        tables: on the chart's device.
        chart: the inside chart.
        outside: of the spans with tokens.
        tokens: the sentences.
        lengths: of the sentences.
        n_rules: of the grammar.

    Returns:
        The sums. Infinite for rules of empty derivations that are infinitely long on average.
    """
    found = torch.zeros(n_rules, dtype=torch.float64, device=outside.device)
    which = torch.arange(len(lengths), device=lengths.device)
    total = chart.columns[which, tables.start, 0, lengths]
    possible = total > -torch.inf
    # Nothing is possible in a sentence that is not: e^(x − ∞) = 0.
    total = torch.where(possible, total, torch.inf)[:, None]
    null, binary, unary, lexical, empty = tables.null, tables.binary, tables.unary, tables.lexical, tables.empty
    around = (empty_outside(tables, chart, outside, lengths).logsumexp(2) - total).exp().sum(0)

    def add(rules: Tensor, counts: Tensor) -> None:
        found.index_add_(0, rules[rules >= 0], counts[rules >= 0])

    def together(below: Tensor, parents: Tensor, children: Tensor) -> Tensor:
        return (_overlap(outside, below, parents, children, 2).logsumexp(2) - total).exp().sum(0)

    (left, right), p = binary.children.unbind(1), binary.probabilities
    with_tokens = tables.pair_of >= 0
    both = torch.zeros_like(p)
    both[with_tokens] = together(chart.pairs, binary.parents[with_tokens], tables.pair_of[with_tokens])
    one = together(chart.columns, binary.parents, left) * null[right]
    other = together(chart.columns, binary.parents, right) * null[left]
    add(binary.rules, p * (both + one + other + _product(around[binary.parents], null[left] * null[right])))
    (child,) = unary.children.unbind(1)
    of_unary = together(chart.columns, unary.parents, child) + _product(around[unary.parents], null[child])
    add(unary.rules, unary.probabilities * of_unary)
    add(empty.rules, empty.probabilities * around[empty.parents])
    if tokens.shape[1]:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        single = (outside[:, :, places, places + 1] - total[..., None]).exp()[:, lexical.parents]
        right_token = tokens[:, None] == lexical.children
        add(lexical.rules, lexical.probabilities * (single * right_token).sum((0, 2)))
    return found


def _finite_chains(tables: Tables) -> Tensor:
    kept = (~tables.endless).double()
    return star(tables.unary_weights * kept * kept[:, None])


def _overlap(outside: Tensor, below: Tensor, parents: Tensor, children: Tensor, dim: int) -> Tensor:
    """Return what stands around each parent times what stands below each child, summed over starts (2) or ends (3)."""
    size = outside.shape[0] * outside.shape[2] * outside.shape[3]
    parts = zip(parents.split(max(1, _CHUNK // size)), children.split(max(1, _CHUNK // size)), strict=True)
    return torch.cat([(outside[:, upper] + below[:, lower]).logsumexp(dim) for upper, lower in parts], 1)


def _product(weights: Tensor, probabilities: Tensor) -> Tensor:
    """Return the product, where infinity times 0 is 0."""
    return torch.where(probabilities > 0, weights * probabilities, 0.0)

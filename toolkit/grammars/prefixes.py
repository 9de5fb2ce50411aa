"""Probabilities of prefixes and of what comes next, at every position of a sentence at once.

For a symbol and a position take the total weight of all leftmost derivations that have written exactly the tokens
before the position and stand in front of the symbol, whatever comes behind it counting with the mass of its finite
strings. These weights follow from the inside chart by one pass along the sentence (Jelinek and Lafferty, Computational
Linguistics 17, 1991; Stolcke, Computational Linguistics 21, 1995).
"""

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.grammars.chart import InsideChart
from toolkit.grammars.compiled import Tables


def continuations(tables: Tables, chart: InsideChart) -> Float64[Tensor, "sentences positions_and_end tokens_and_end"]:
    """Return the log-probability that the tokens before each position are followed by each token, or by the end.

    The logarithm of the sum of a row is that of the prefix. All are probabilities of finite strings.

    Args:
        tables: on the chart's device.
        chart: the inside chart.
    """
    n_sentences, _, n_cells, _ = chart.columns.shape
    left = tables.pairs[:, 0]
    device = chart.columns.device
    found = torch.empty((n_sentences, n_cells, tables.n_terminals + 1), dtype=torch.float64, device=device)
    found[:, :, -1] = chart.columns[:, tables.start, 0]
    # Weights of derivations that stand in front of each pair at each position.
    begun = torch.full((n_sentences, len(tables.pairs), n_cells), -torch.inf, dtype=torch.float64, device=device)
    begun[:, :, 0] = tables.first_pairs
    found[:, 0, :-1] = tables.first_tokens
    for position in range(1, n_cells):
        done = (begun[:, :, :position] + chart.columns[:, left, :position, position]).logsumexp(2)
        begun[:, :, position] = (done[:, :, None] + tables.next_pairs).logsumexp(1)
        found[:, position, :-1] = (done[:, :, None] + tables.next_tokens).logsumexp(1)
    return found


def next_token_probs(logs: Float64[Tensor, "*batch tokens_and_end"]) -> Float64[Tensor, "*batch tokens_and_end"]:
    """Return rows of :func:`continuations` as distributions; zeros where the prefix is impossible."""
    total = logs.logsumexp(-1, keepdim=True)
    return (logs - torch.where(total > -torch.inf, total, 0.0)).exp()

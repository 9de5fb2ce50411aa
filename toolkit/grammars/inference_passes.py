"""One pass of exact inference over a batch, and another in logarithms for what leaves the range of numbers.

Every token's probability is divided by a guess, so that prefixes of thousands of tokens stay near 1. Sentences for
which the guess is too far off are few: those that are improbable for their length, or under some other grammar.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.grammars.banded import BandedCharts
from toolkit.grammars.charts import DenseCharts, carry_out
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_cost import cheapest
from toolkit.grammars.inference_levels import Metadata
from toolkit.grammars.log_charts import LogCharts


def probabilities(
    family: GrammarFamily,
    metadata: Metadata,
    tokens: Int[Tensor, "sentences positions"],
    lengths: Int[Tensor, " sentences"],
    dtype: torch.dtype,
    form: str,
) -> tuple[
    Float[Tensor, "sentences positions_and_end grammars tokens_and_end"],
    Float[Tensor, "sentences positions_and_end grammars"],
]:
    """Return what comes next given prefix and grammar, and the log-probability of each prefix (float64).

    Behind the end of a sentence the numbers mean nothing.

    Args:
        family: the grammars.
        metadata: which of them.
        tokens: the sentences, −1 behind the end.
        lengths: of the sentences.
        dtype: of the charts.
        form: ``"dense"``, ``"banded"`` or ``"auto"``.
    """
    n, width = tokens.shape
    guess = torch.full((n, width), -_nats_per_token(family), dtype=torch.float64, device=tokens.device)
    joint = _vectors_at(family, metadata, tokens, (-guess).exp().to(dtype), form)
    prefix = joint.sum(-1)
    inside = (torch.arange(width + 1, device=tokens.device) <= lengths[:, None])[..., None]
    failed = (inside & ~_trusted(prefix, _steepest(family))).any(1)
    conditional = torch.where(prefix[..., None] > 0, joint / prefix[..., None], 0)
    before = torch.cat([guess.new_zeros(n, 1), guess.cumsum(1)], 1)
    log_prefix = prefix.to(torch.float64).log() + before[..., None]
    for grammar in failed.any(0).nonzero()[:, 0].tolist():
        again = failed[:, grammar]
        logs = _vectors_at(family, metadata[grammar : grammar + 1], tokens[again], guess[again] * 0, "logs")
        of_prefix = logs.logsumexp(-1)
        possible = of_prefix[..., None] > -torch.inf
        log_prefix[again, :, grammar] = of_prefix[..., 0]
        given = torch.where(possible, (logs - of_prefix[..., None]).exp(), 0)
        conditional[again, :, grammar] = given[..., 0, :].to(dtype)
    return conditional, log_prefix


def _vectors_at(
    family: GrammarFamily, metadata: Metadata, tokens: Tensor, scale: Float[Tensor, "sentences positions"], form: str
) -> Float[Tensor, "sentences positions_and_end grammars tokens_and_end"]:
    """Return how probable each prefix is with each token behind it, or with nothing, all relative to the scale."""
    n, width = tokens.shape
    n_tokens, grammars = family.n_terminals, len(metadata)
    plan, chosen = cheapest(family, metadata, width, n, "banded" if form == "logs" else form)
    algebra = (LogCharts if form == "logs" else DenseCharts if chosen == "dense" else BandedCharts)(n, width)
    leaves = scale.new_full((n_tokens, n, width + 1), algebra.nothing)
    same = tokens == torch.arange(n_tokens, device=tokens.device)[:, None, None]
    leaves[..., :width] = torch.where(same, scale, algebra.nothing)
    vectors = carry_out(plan, algebra, leaves)
    joint = leaves.new_empty(n, width + 1, grammars, n_tokens + 1)
    following = vectors[plan.table(plan.next_tokens, leaves)].view(grammars, n_tokens, n, width + 1)
    joint[..., :-1] = following.permute(2, 3, 0, 1)
    joint[..., -1] = vectors[plan.table(plan.sentences, leaves)].view(grammars, n, width + 1).permute(1, 2, 0)
    return joint


def _trusted(prefix: Tensor, steepest: float) -> Tensor:
    """Return where nothing can have been lost: near 1, or 0 where a single token cannot fall so deep."""
    limit = torch.finfo(prefix.dtype).tiny ** 0.5
    near = (prefix > limit) & (prefix < 1 / limit)
    return near | (prefix == 0) if steepest > math.log(limit) else near


@lru_cache(maxsize=256)
def _steepest(family: GrammarFamily) -> float:
    """Return the log-probability of the most improbable choice of rules, one a level."""
    least = [min(p for group in level for symbol in group for p in symbol if p > 0) for level in family.probs]
    return sum(map(math.log, least))


@lru_cache(maxsize=256)
def _nats_per_token(family: GrammarFamily) -> float:
    """Return about how improbable a token is: the entropy of a document's tree by its expected length."""
    nats, tokens = [0.0] * family.n_terminals, [1.0] * family.n_terminals
    for level in reversed(range(family.depth)):
        n, choices = family.sizes[level], family.n_choices[level]
        new_nats, new_tokens = [0.0] * n, [0.0] * n
        for rules, probs in zip(family.rules[level], family.probs[level], strict=True):
            for symbol in range(n):
                for children, p in zip(rules[symbol], probs[symbol], strict=True):
                    if p > 0:
                        new_nats[symbol] += p * (sum(nats[c] for c in children) - math.log(p)) / choices
                        new_tokens[symbol] += p * sum(tokens[c] for c in children) / choices
        nats, tokens = new_nats, new_tokens
    return nats[0] / tokens[0]

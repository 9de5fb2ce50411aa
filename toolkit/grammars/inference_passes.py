"""One pass of exact inference over a batch, repeated for what left the range of floating-point numbers.

Every token's probability is divided by a guess, so that prefixes of thousands of tokens stay near 1. Where the guess
turns out too far off, the pass is repeated with what it found out.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.errors import reject
from toolkit.grammars.banded import BandedCharts
from toolkit.grammars.charts import DenseCharts, carry_out
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_cost import cheapest
from toolkit.grammars.inference_levels import Metadata


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
    conditional, prefix, trusted = _one_pass(family, metadata, tokens, guess, dtype, form)
    inside = torch.arange(width + 1, device=tokens.device) <= lengths[:, None]
    failed = ((~trusted) & inside[..., None]).any(1)
    for sentence, grammar in failed.nonzero().tolist():
        length = int(lengths[sentence])
        alone = tokens[sentence : sentence + 1, :length]
        conditional[sentence, : length + 1, grammar], prefix[sentence, : length + 1, grammar] = _until_trusted(
            family, metadata[grammar], alone, dtype, form
        )
    return conditional, prefix


def _until_trusted(
    family: GrammarFamily, metadata: tuple[int, ...], tokens: Tensor, dtype: torch.dtype, form: str
) -> tuple[Tensor, Tensor]:
    """Return the same for one sentence and one grammar, with guesses that get better with every pass.

    No guess at all (probability 1) cannot overflow, and holds for hundreds of nats; what it found is kept, and the
    next pass goes on from there.
    """
    length = tokens.shape[1]
    guess = torch.zeros(1, length, dtype=torch.float64, device=tokens.device)
    reached = -1
    while True:
        conditional, prefix, trusted = _one_pass(family, (metadata,), tokens, guess, dtype, form)
        n_trusted = int(trusted[0, :, 0].long().cumprod(0).sum())
        if n_trusted > length:
            return conditional[0, :, 0], prefix[0, :, 0]
        n_known = n_trusted + bool(prefix[0, n_trusted, 0].isfinite())
        if n_known <= reached:
            reject("infer", "sentences", f"no tokens as improbable as 1e{_exponent(dtype)}", tokens[0].tolist()[:20])
        reached = n_known
        guess = torch.zeros_like(guess)
        guess[0, : n_known - 1] = prefix[0, :n_known, 0].diff()


def _one_pass(
    family: GrammarFamily, metadata: Metadata, tokens: Tensor, guess: Tensor, dtype: torch.dtype, form: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what comes next, the log-probability of each prefix, and where both can be trusted."""
    n, width = tokens.shape
    n_tokens, grammars = family.n_terminals, len(metadata)
    plan, chosen = cheapest(family, metadata, width, n, form)
    leaves = torch.zeros(n_tokens, n, width + 1, dtype=dtype, device=tokens.device)
    same = tokens == torch.arange(n_tokens, device=tokens.device)[:, None, None]
    leaves[..., :width] = torch.where(same, (-guess).exp(), 0)
    vectors = carry_out(plan, (DenseCharts if chosen == "dense" else BandedCharts)(n, width), leaves)
    joint = leaves.new_empty(n, width + 1, grammars, n_tokens + 1)
    following = vectors[plan.table(plan.next_tokens, leaves)].view(grammars, n_tokens, n, width + 1)
    joint[..., :-1] = following.permute(2, 3, 0, 1)
    joint[..., -1] = vectors[plan.table(plan.sentences, leaves)].view(grammars, n, width + 1).permute(1, 2, 0)
    prefix = joint.sum(-1)
    limit = 10.0 ** _exponent(dtype)
    trusted = (prefix == 0) | ((prefix > limit) & (prefix < 1 / limit))
    before = torch.cat([guess.new_zeros(n, 1), guess.cumsum(1)], 1)
    conditional = torch.where(prefix[..., None] > 0, joint / prefix[..., None], 0)
    return conditional, prefix.to(torch.float64).log() + before[..., None], trusted


def _exponent(dtype: torch.dtype) -> int:
    """Return the power of ten that a prefix must not fall below: the root of the smallest number."""
    return round(math.log10(torch.finfo(dtype).tiny) / 2)


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

"""Exact inference: how probable each sentence and prefix is under each grammar of a family, and what follows.

Nothing is approximated. One pass over a batch gives the prefix and next-token probabilities at every position under
all values of the metadata, and from them follow the posterior over metadata and the loss of the best predictor there
is, with any of the upper levels' choices known.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.devices import resolve_device
from toolkit.core.errors import reject, require
from toolkit.grammars.banded import BandedCharts
from toolkit.grammars.charts import DenseCharts, carry_out
from toolkit.grammars.documents import as_documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_plan import Plan, make_plan
from toolkit.grammars.inference_result import Inference

FORMS = ("auto", "dense", "banded")
"""How charts can be kept: as matrices, as bands, or as whatever costs less."""


def infer(
    family: GrammarFamily,
    sentences: Any,
    *,
    metadata: Any = None,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype = torch.float64,
    form: str = "auto",
    chunk_size: int | None = None,
) -> Inference:
    """Compute the probabilities of sentences and of all their prefixes under the grammars of a family.

    Args:
        family: the grammars.
        sentences: documents, rows of tokens filled with −1 behind the end, one sentence, or a sequence of sentences.
            A token that the family does not have makes everything behind it impossible.
        metadata: choices of all levels, a row a grammar, each row once; default: all there are, as in
            ``family.all_metadata``.
        device: where to compute; default: where the sentences are.
        dtype: ``torch.float64``, or ``torch.float32`` for speed on a GPU where six digits will do.
        form: ``"dense"``, ``"banded"``, or ``"auto"``: what costs less.
        chunk_size: sentences at a time; default: as many as keep the charts in the processor's cache.

    Raises:
        ValueError: negative tokens, metadata that the family does not have or that come twice, an unknown form.
        TypeError: sentences or metadata that are no integers, a type that is no floating-point type of 32 or 64 bits.
    """
    require(form in FORMS, "infer", "form", " or ".join(map(repr, FORMS)), form)
    if dtype not in (torch.float64, torch.float32):
        reject("infer", "dtype", "torch.float64 or torch.float32", dtype, kind=TypeError)
    if chunk_size is not None:
        require(chunk_size >= 1, "infer", "chunk_size", ">= 1", chunk_size)
    documents = as_documents("infer", _without_numpy(sentences), None if device is None else resolve_device(device))
    grammars = _chosen_grammars(family, metadata)
    rows = tuple(map(tuple, grammars.tolist()))
    place = documents.values.device
    lengths = documents.lengths.to(place)
    tokens = documents.padded()
    n, width = tokens.shape
    conditional = torch.zeros(n, width + 1, len(rows), family.n_terminals + 1, dtype=dtype, device=place)
    prefixes = torch.zeros(n, width + 1, len(rows), dtype=torch.float64, device=place)
    rate = -_nats_per_token(family)
    longest_first = lengths.argsort(descending=True, stable=True)
    sorted_lengths = lengths[longest_first].tolist()
    start = 0
    while start < n:
        size = chunk_size or _fitting(family, sorted_lengths[start])
        chosen = longest_first[start : start + size]
        longest = sorted_lengths[start]
        batch = _Batch(family, rows, tokens[chosen, :longest], lengths[chosen], dtype, form)
        found = batch.conditionals(torch.full((len(chosen), longest), rate, dtype=torch.float64, device=place))
        conditional[chosen, : longest + 1], prefixes[chosen, : longest + 1] = found
        start += size
    behind = torch.arange(width + 1, device=place) > lengths[:, None]
    conditional[behind], prefixes[behind] = 0, 0
    return Inference(family, grammars.to(place), tokens, lengths, prefixes, conditional)


class _Batch:
    """Sentences that go through the charts together."""

    def __init__(
        self, family: GrammarFamily, metadata: Any, tokens: Tensor, lengths: Tensor, dtype: torch.dtype, form: str
    ) -> None:
        self.family, self.metadata, self.tokens, self.lengths = family, metadata, tokens, lengths
        self.dtype, self.form = dtype, form

    def conditionals(self, log_probs: Float[Tensor, "sentences positions"], tries: int = 0) -> tuple[Tensor, Tensor]:
        """Return what comes next given prefix and grammar, and the log-probability of each prefix.

        Args:
            log_probs: about how improbable each token is. Every number is kept relative to that, so that neither
                hundreds nor thousands of tokens leave the range of floating-point numbers.
            tries: how often this has been tried with other guesses.
        """
        n, width = self.tokens.shape
        joint = self._scaled(log_probs)
        prefix = joint.sum(-1)
        conditional = torch.where(prefix[..., None] > 0, joint / prefix[..., None], 0)
        before = torch.cat([log_probs.new_zeros(n, 1), log_probs.cumsum(1)], 1)
        return conditional, prefix.to(torch.float64).log() + before[..., None]

    def _scaled(self, log_probs: Tensor) -> Tensor:
        """Return ``[sentences, positions + 1, grammars, V + 1]``, each row divided by the guess for its prefix."""
        n, width = self.tokens.shape
        n_tokens = self.family.n_terminals
        plan, algebra = self._prepared()
        leaves = log_probs.new_zeros(n_tokens, n, width + 1, dtype=self.dtype)
        same = self.tokens == torch.arange(n_tokens, device=self.tokens.device)[:, None, None]
        leaves[..., :-1] = torch.where(same, (-log_probs).exp(), 0)
        vectors = carry_out(plan, algebra, leaves)
        grammars = len(self.metadata)
        joint = leaves.new_empty(n, width + 1, grammars, n_tokens + 1)
        following = vectors[plan.table(plan.next_tokens, leaves)].view(grammars, n_tokens, n, width + 1)
        joint[..., :-1] = following.permute(2, 3, 0, 1)
        joint[..., -1] = vectors[plan.table(plan.sentences, leaves)].view(grammars, n, width + 1).permute(1, 2, 0)
        return joint

    def _prepared(self) -> tuple[Plan, DenseCharts | BandedCharts]:
        n, width = self.tokens.shape
        kind = DenseCharts if self.form == "dense" else BandedCharts
        return make_plan(self.family, self.metadata, 1), kind(n, width)


def _chosen_grammars(family: GrammarFamily, metadata: Any) -> Int[Tensor, "grammars levels"]:
    if metadata is None:
        return family.all_metadata
    rows = family.check_metadata("infer", metadata).cpu()
    different = len(rows.unique(dim=0)) == len(rows) >= 1 if len(rows) else False
    require(different, "infer", "metadata", "different grammars, at least one", rows.tolist()[:10])
    return rows


def _without_numpy(sentences: Any) -> Any:
    """Return arrays as tensors, and Python's integers for NumPy's."""
    if isinstance(sentences, np.ndarray):
        return torch.as_tensor(sentences)
    if isinstance(sentences, Sequence) and len(sentences) and isinstance(sentences[0], np.integer):
        return [int(token) for token in sentences]
    return sentences


def _fitting(family: GrammarFamily, length: int) -> int:
    return max(1, 4096 // (length + 1))


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

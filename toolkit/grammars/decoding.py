"""Sentences drawn from a decoder, many at a time, token by token, with the keys and values of earlier tokens kept."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from toolkit.core.devices import draw_uniform, resolve_generator
from toolkit.core.errors import require
from toolkit.grammars.attention import KeyValues
from toolkit.grammars.documents import PADDING, Documents, as_documents


@dataclass(frozen=True, eq=False)
class Generated:
    """Sentences that a model completed.

    Attributes:
        documents: the terminals of each, those of the prefix first, without beginning, metadata and end.
        ended: whether the model ended the sentence; the others were cut.
        n_prompt: how many of the terminals stood in the prefix.
    """

    documents: Documents
    ended: Bool[Tensor, " documents"]
    n_prompt: Int[Tensor, " documents"]

    def __len__(self) -> int:
        return len(self.documents)

    def __repr__(self) -> str:
        return f"Generated({len(self)} sentences, {int(self.ended.sum())} ended)"


@torch.no_grad()
def complete(
    model: Any, prefix: Any, max_new_tokens: int | None, *, generator: torch.Generator | None, temperature: float
) -> Generated:
    """Do what :meth:`toolkit.grammars.models.Decoder.generate` says, for that model."""
    operation = "generate"
    require(0 <= temperature < math.inf, operation, "temperature", "a finite number >= 0", temperature)
    most = model.config.context if max_new_tokens is None else max_new_tokens
    require(most >= 0, operation, "max_new_tokens", ">= 0", most)
    device, n_terminals = model.embedding.weight.device, model.config.vocabulary.n_terminals
    generator = resolve_generator(generator)
    given = as_documents(operation, prefix, device)
    rows = given.padded()
    _check(operation, model, given, rows)
    drawn, ended = _draw(model, rows, given.lengths, most, generator, temperature)
    whole = torch.cat([rows, drawn], dim=1)
    sentence = (whole >= 0) & (whole < n_terminals)
    offsets = torch.cat([given.offsets.new_zeros(1), sentence.sum(1).cumsum(0)])
    n_prompt = ((rows >= 0) & (rows < n_terminals)).sum(1)
    return Generated(Documents(whole[sentence], offsets, given.metadata), ended, n_prompt)


def _check(operation: str, model: Any, given: Documents, rows: Tensor) -> None:
    if len(given):
        require(int(given.lengths.min()) >= 1, operation, "prefix", "at least one token each", "an empty one")
    model.check_tokens(operation, rows.clamp(min=0))
    over = bool((rows == model.config.vocabulary.eos).any())
    require(not over, operation, "prefix", "sentences that have not ended", "an end token")


def _draw(
    model: Any,
    rows: Int[Tensor, "n positions"],
    lengths: Int[Tensor, " n"],
    most: int,
    generator: torch.Generator,
    temperature: float,
) -> tuple[Int[Tensor, "n steps"], Bool[Tensor, " n"]]:
    """Return the drawn tokens, the end left out, and which rows have ended."""
    vocabulary, context, device = model.config.vocabulary, model.config.context, rows.device
    n, width = rows.shape
    ended = torch.zeros(n, dtype=torch.bool, device=device)
    columns: list[Tensor] = []
    if not n or not most:
        return rows.new_zeros((n, 0)), ended
    caches = [KeyValues() for _ in model.layers]
    everywhere = torch.arange(width, device=device).expand(n, width).reshape(-1)
    tokens = torch.where(rows == PADDING, vocabulary.eos, rows).reshape(-1)
    residual = model.run(tokens, everywhere, [partial(cache.fill, shape=(n, width)) for cache in caches])[-1]
    residual = residual.reshape(n, width, -1)[torch.arange(n, device=device), lengths - 1]
    going, positions = torch.arange(n, device=device), lengths
    for _ in range(most):
        uniform = draw_uniform((n,), generator=generator, device=device, dtype=torch.float64)
        chosen = _choose(model.log_prob_of(residual), uniform[going], temperature)
        over = chosen == vocabulary.eos
        ended[going] = over
        column = rows.new_full((n,), PADDING)
        column[going] = torch.where(over, PADDING, chosen)
        columns.append(column)
        stays = (~over & (positions < context)).nonzero()[:, 0]
        if not len(stays):
            break
        if len(stays) < len(going):
            going, positions, chosen = going[stays], positions[stays], chosen[stays]
            for cache in caches:
                cache.select(stays)
        visible = torch.arange(int(positions.max()) + 1, device=device) <= positions[:, None]
        attend = [partial(cache.extend, positions=positions, visible=visible[:, None, None]) for cache in caches]
        residual = model.run(chosen, positions, attend)[-1]
        positions = positions + 1
    return torch.stack(columns, dim=1), ended


def _choose(
    log_prob: Float[Tensor, "rows outcomes"], uniform: Float64[Tensor, " rows"], temperature: float
) -> Int[Tensor, " rows"]:
    if temperature == 0:
        return log_prob.argmax(1)
    # Compared with the most probable before the division, so that no temperature is too low.
    behind = log_prob.double() - log_prob.amax(1, keepdim=True)
    cumulative = (behind / temperature).softmax(1).cumsum(1)
    require(bool(cumulative.isfinite().all()), "generate", "model", "finite logits", "NaN")
    reached = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, reached, right=True)[:, 0].clamp(max=log_prob.shape[1] - 1)

"""What a trained decoder says, holds and writes after every prefix of sentences."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import require
from toolkit.grammars.conditioning import condition, prompts
from toolkit.grammars.decoding import Generated
from toolkit.grammars.documents import Documents, as_documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.models import Decoder
from toolkit.grammars.posteriors import group_metadata, n_groups


@torch.no_grad()
def predict(
    model: Decoder,
    documents: Any,
    *,
    depth: int = 0,
    metadata: Int[Tensor, "documents levels"] | None = None,
    batch_size: int = 256,
) -> Float[Tensor, "sentences positions columns"]:
    """Return a model's log-probability of every token and of the end, after every prefix of every sentence.

    Args:
        model: the decoder.
        documents: whole sentences.
        depth: how many of the uppermost levels' choices the model is shown.
        metadata: the choices; default: those that the documents were drawn with.
        batch_size: sentences at once.

    Returns:
        float64, nats, on the model's device; position k has seen k tokens; 0 behind the end of a sentence.

    Raises:
        ValueError: see :func:`toolkit.grammars.conditioning.condition`.
    """
    require(batch_size >= 1, "predict", "batch_size", ">= 1", batch_size)
    device = resolve_device(like=model)
    documents = as_documents("predict", documents, device)
    vocabulary = model.config.vocabulary
    read = condition(documents, vocabulary, depth=depth, metadata=metadata)
    n, width = len(documents), read.tokens.shape[1] - vocabulary.depth
    found = torch.zeros(n, width, vocabulary.n_terminals + 1, dtype=torch.float64, device=device)
    for rows in torch.arange(n, device=device).split(batch_size) if n else ():
        part = read.select(rows, int(read.lengths[rows].max()))
        log_probs = model.next_token_log_prob(part.tokens, first=vocabulary.depth).double()
        inside = part.loss_mask[:, vocabulary.depth :, None]
        found[rows, : log_probs.shape[1]] = torch.where(inside, log_probs, 0.0)
    return found


def predict_all(
    model: Decoder, family: GrammarFamily, documents: Any, known_levels: int, *, batch_size: int = 256
) -> Float[Tensor, "groups sentences positions columns"]:
    """Return :func:`predict` with the model shown every value of the first levels' choices in turn.

    Args:
        model: the decoder.
        family: of the documents.
        documents: whole sentences, however they were drawn.
        known_levels: how many choices are shown.
        batch_size: sentences at once.

    Returns:
        One table a value, in the order of :func:`toolkit.grammars.posteriors.group_metadata`.
    """
    n = n_groups(family, known_levels)
    device = resolve_device(like=model)
    documents = as_documents("predict_all", documents, device)
    rows = documents.padded().repeat(n, 1)
    shown = group_metadata(family, known_levels).to(device).repeat_interleave(len(documents), 0)
    found = predict(model, rows, depth=known_levels, metadata=shown, batch_size=batch_size)
    return found.unflatten(0, (n, len(documents)))


@torch.no_grad()
def hidden_states(
    model: Decoder, documents: Any, *, positions: Int[Tensor, " chosen"] | None = None, batch_size: int = 256
) -> Float[Tensor, "layers sentences positions width"]:
    """Return what a model that is shown no metadata holds after the prefixes of every sentence.

    Args:
        model: the decoder.
        documents: whole sentences.
        positions: how many tokens were read, each; default: 0 to the longest sentence's length.
        batch_size: sentences at once.

    Returns:
        The residual stream, the embeddings first; behind the end of a sentence it means nothing.

    Raises:
        ValueError: a position behind the longest sentence.
    """
    require(batch_size >= 1, "hidden_states", "batch_size", ">= 1", batch_size)
    device = resolve_device(like=model)
    documents = as_documents("hidden_states", documents, device)
    vocabulary = model.config.vocabulary
    read = condition(documents, vocabulary)
    n_positions = read.tokens.shape[1] - vocabulary.depth
    positions = torch.arange(n_positions) if positions is None else positions
    inside = bool(((positions >= 0) & (positions < n_positions)).all())
    require(inside, "hidden_states", "positions", f"0 to {n_positions - 1}", positions.tolist())
    where = positions.to(device) + vocabulary.depth
    parts = [model.hidden_states(rows)[:, :, where] for rows in read.tokens.split(batch_size)]
    return torch.cat(parts, dim=1)


def writer(
    model: Decoder, *, depth: int = 0, generator: torch.Generator | None = None, temperature: float = 1.0
) -> Callable[[Documents, int], Generated]:
    """Return a function that lets a model complete beginnings of sentences, for grammatical accuracy.

    Args:
        model: the decoder.
        depth: how many of the uppermost levels' choices it is shown.
        generator: draws the tokens; default: a new one.
        temperature: of the draws; 0 takes the most probable token.
    """
    drawn_by = resolve_generator(generator)

    def write(beginnings: Documents, most: int) -> Generated:
        prefix = prompts(beginnings, model.config.vocabulary, depth=depth)
        return model.generate(prefix, most, generator=drawn_by, temperature=temperature)

    return write

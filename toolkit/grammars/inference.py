"""Exact inference: how probable each sentence and prefix is under each grammar of a family, and what follows.

Nothing is approximated. One pass over a batch gives the prefix and next-token probabilities at every position under
all values of the metadata, and from them follow the posterior over metadata and the loss of the best predictor there
is, with any of the upper levels' choices known.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.core.devices import resolve_device
from toolkit.core.errors import reject, require
from toolkit.grammars.documents import as_documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_cost import fitting
from toolkit.grammars.inference_passes import probabilities
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
        if isinstance(chunk_size, bool) or not isinstance(chunk_size, int):
            reject("infer", "chunk_size", "an integer", repr(chunk_size), kind=TypeError)
        require(chunk_size >= 1, "infer", "chunk_size", ">= 1", chunk_size)
    documents = as_documents("infer", sentences, None if device is None else resolve_device(device))
    grammars = _chosen_grammars(family, metadata)
    rows = tuple(map(tuple, grammars.tolist()))
    place = documents.values.device
    lengths = documents.lengths.to(place)
    tokens = documents.padded()
    n, width = tokens.shape
    conditional = torch.zeros(n, width + 1, len(rows), family.n_terminals + 1, dtype=dtype, device=place)
    prefixes = torch.zeros(n, width + 1, len(rows), dtype=torch.float64, device=place)
    longest_first = lengths.argsort(descending=True, stable=True)
    sorted_lengths = lengths[longest_first].tolist()
    start = 0
    while start < n:
        longest = sorted_lengths[start]
        size = min(n - start, chunk_size or fitting(family, rows, longest, form, dtype, place))
        chosen = longest_first[start : start + size]
        found = probabilities(family, rows, tokens[chosen, :longest], lengths[chosen], dtype, form)
        conditional[chosen, : longest + 1], prefixes[chosen, : longest + 1] = found
        start += size
    behind = torch.arange(width + 1, device=place) > lengths[:, None]
    conditional[behind], prefixes[behind] = 0, 0
    return Inference(family, grammars.to(place), tokens, lengths, prefixes, conditional)


def _chosen_grammars(family: GrammarFamily, metadata: Any) -> Int[Tensor, "grammars levels"]:
    if metadata is None:
        return family.all_metadata
    rows = family.check_metadata("infer", metadata).cpu()
    different = len(rows.unique(dim=0)) == len(rows) >= 1 if len(rows) else False
    require(different, "infer", "metadata", "different grammars, at least one", rows.tolist()[:10])
    return rows

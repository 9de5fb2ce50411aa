"""Sentences of a grammar's tokens, by name or by number, one or many, as batches of similar lengths."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.grammars.documents import Documents, as_documents

_CELLS = 2**21
"""About how many numbers a chart of a batch may hold."""


def encode_tokens(operation: str, terminals: tuple[str, ...], tokens: Any) -> Int[Tensor, " positions"]:
    """Return the numbers of tokens given by name; V for each that is no terminal.

    Args:
        operation: for the error.
        terminals: in the order of their ids.
        tokens: names; a text stands for its characters where every terminal is one character.

    Raises:
        TypeError: no names.
    """
    if isinstance(tokens, np.ndarray):
        tokens = tokens.tolist()
    if isinstance(tokens, str):
        if any(len(name) != 1 for name in terminals):
            expected = "a sequence of names, such as text.split()"
            reject(operation, "tokens", expected, f"the text {tokens[:40]!r}", kind=TypeError)
        tokens = list(tokens)
    if not isinstance(tokens, Sequence) or not all(isinstance(name, str) for name in tokens):
        reject(operation, "tokens", "a sequence of names", repr(tokens)[:80], kind=TypeError)
    ids = {name: index for index, name in enumerate(terminals)}
    return torch.tensor([ids.get(name, len(terminals)) for name in tokens], dtype=torch.int64)


def read_sentences(operation: str, terminals: tuple[str, ...], given: Any) -> tuple[Documents, bool]:
    """Return sentences in whatever form, and whether it was a single one.

    Args:
        operation: for the error.
        terminals: in the order of their ids.
        given: one sentence: names, integers, or a tensor of one dimension; or many: documents, a sequence of
            sentences, or rows of integers filled with −1 behind the end.

    Raises:
        ValueError: a negative token.
        TypeError: neither names nor integers.
    """
    if isinstance(given, Documents):
        return given, False
    if isinstance(given, np.ndarray):
        given = given.tolist() if given.dtype.kind in "UO" else torch.as_tensor(given)
    if isinstance(given, Tensor):
        require(given.ndim in (1, 2), operation, "sentences", "one or two dimensions", f"shape {list(given.shape)}")
        if given.ndim == 1 and len(given):
            require(bool((given >= 0).all()), operation, "sentences", "tokens >= 0", given.tolist()[:20])
        return as_documents(operation, given), given.ndim == 1
    if isinstance(given, str):
        return as_documents(operation, [encode_tokens(operation, terminals, given)]), True
    if not isinstance(given, Sequence):
        reject(operation, "sentences", "names or integers", type(given).__name__, kind=TypeError)
    if all(isinstance(token, str) for token in given):
        return as_documents(operation, [encode_tokens(operation, terminals, given)]), True
    if all(isinstance(token, int | np.integer) and not isinstance(token, bool) for token in given):
        return as_documents(operation, [[int(token) for token in given]]), True
    if any(isinstance(part, int | float | np.generic) for part in given):
        reject(operation, "sentences", "all names, or all integers", repr(given)[:80], kind=TypeError)
    rows = [_row(operation, terminals, part) for part in given]
    return as_documents(operation, rows), False


def batches(
    documents: Documents, n_columns: int, unknown: int
) -> Iterator[tuple[Int[Tensor, " sentences"], Int[Tensor, "sentences positions"], Int[Tensor, " sentences"]]]:
    """Walk over sentences in groups of similar lengths that a chart can hold.

    Args:
        documents: the sentences.
        n_columns: of the chart.
        unknown: the id that fills the rows up.

    Yields:
        Which sentences, their tokens, their lengths.
    """
    lengths = documents.lengths
    order = lengths.argsort(descending=True, stable=True)
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        at_once = max(1, _CELLS // (n_columns * (longest + 1) ** 2))
        chosen = order[first : first + at_once]
        places = torch.arange(longest, device=order.device)
        present = places < lengths[chosen][:, None]
        tokens = torch.full(present.shape, unknown, dtype=torch.int64, device=order.device)
        where = documents.offsets[chosen][:, None] + places
        tokens[present] = documents.values[where[present]].to(torch.int64)
        yield chosen, tokens, lengths[chosen]
        first += at_once


def _row(operation: str, terminals: tuple[str, ...], part: Any) -> Tensor:
    document, single = read_sentences(operation, terminals, part)
    if not single:
        reject(operation, "sentences", "one sentence, or a sequence of sentences", "deeper nesting", kind=TypeError)
    return document.values

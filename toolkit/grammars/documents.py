"""Sentences of different lengths in one tensor, and the trees that they were read off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require

PADDING = -1
"""What stands behind the end of a sentence in the padded form."""


@dataclass(frozen=True, eq=False)
class LevelNodes:
    """The nodes of all documents' trees at one level, from the first document's leftmost on.

    Attributes:
        symbols: which symbol of the level each node is.
        parents: the node of the level above that each was rewritten from; empty at the root's level.
        alternatives: the alternative that rewrote each node; empty at the last level.
    """

    symbols: Int[Tensor, " nodes"]
    parents: Int[Tensor, " nodes_below_the_root"]
    alternatives: Int[Tensor, " nodes_above_the_tokens"]


@dataclass(frozen=True, eq=False)
class Documents:
    """Sentences without padding: the tokens of all, one after the other.

    Attributes:
        values: the tokens, of an integer type.
        offsets: where each sentence starts in ``values``, and at the end their number.
        metadata: the choices that each document was drawn with, if they are known.
        levels: the trees, level by level from the root to the tokens, if they were kept.
    """

    values: Shaped[Tensor, " tokens"]
    offsets: Int[Tensor, " boundaries"]
    metadata: Int[Tensor, "documents levels"] | None = None
    levels: tuple[LevelNodes, ...] = ()

    @property
    def lengths(self) -> Int[Tensor, " documents"]:
        """How many tokens each document has."""
        return self.offsets.diff()

    @property
    def n_tokens(self) -> int:
        """How many tokens there are in all."""
        return len(self.values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Shaped[Tensor, " tokens"]:
        """Return the tokens of one document."""
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"document {index} of {n}")
        index %= n
        return self.values[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def padded(self, length: int | None = None) -> Int[Tensor, "documents positions"]:
        """Return one row a document, filled with −1 behind its end.

        Args:
            length: of the rows; default: the longest document's.

        Raises:
            ValueError: a document is longer.
        """
        lengths = self.lengths
        longest = int(lengths.max()) if len(self) else 0
        width = longest if length is None else length
        require(width >= longest, "padded", "length", f">= {longest}, the longest document's", width)
        rows = torch.full((len(self), width), PADDING, dtype=torch.int64, device=self.values.device)
        inside = torch.arange(width, device=rows.device) < lengths[:, None]
        return rows.masked_scatter_(inside, self.values.to(torch.int64))

    def to(self, device: torch.device | str) -> "Documents":
        """Return the same documents on another device."""
        return Documents(
            self.values.to(device),
            self.offsets.to(device),
            None if self.metadata is None else self.metadata.to(device),
            tuple(
                LevelNodes(level.symbols.to(device), level.parents.to(device), level.alternatives.to(device))
                for level in self.levels
            ),
        )

    def __repr__(self) -> str:
        return f"Documents({len(self)} of {self.n_tokens} tokens{', with trees' if self.levels else ''})"


def as_documents(operation: str, sentences: Any, device: torch.device | str | None = None) -> Documents:
    """Return sentences in whatever form as :class:`Documents`.

    Args:
        operation: for the error.
        sentences: documents; rows of tokens, filled with −1 behind the end; one sentence; or a sequence of sentences.
        device: where to put them; default: where they are.

    Raises:
        ValueError: a token stands behind a −1, or a token is below −1.
        TypeError: no integers.
    """
    if isinstance(sentences, Documents):
        return sentences if device is None else sentences.to(device)
    if isinstance(sentences, np.ndarray):
        sentences = torch.as_tensor(sentences)
    if isinstance(sentences, Tensor):
        return _from_rows(operation, sentences[None] if sentences.ndim == 1 else sentences, device)
    if not isinstance(sentences, Sequence) or isinstance(sentences, str):
        reject(operation, "sentences", "tokens as integers", type(sentences).__name__, kind=TypeError)
    if not sentences or isinstance(sentences[0], int | np.integer):
        sentences = [sentences] if sentences else []
    try:
        given = [torch.as_tensor(np.asarray(s) if _of_numpy(s) else s) for s in sentences]
    except (TypeError, ValueError, RuntimeError) as error:
        expected = "tokens as integers of at most 64 bits"
        raise argument_error(operation, "sentences", expected, repr(sentences)[:80], kind=TypeError) from error
    rows = [_integers(operation, row) for row in given]
    for row in rows:
        require(row.ndim == 1, operation, "sentences", "a sequence of tokens each", f"shape {list(row.shape)}")
        require(not len(row) or int(row.min()) >= 0, operation, "sentences", "tokens >= 0", row.tolist()[:20])
    lengths = torch.tensor([0, *(len(row) for row in rows)], dtype=torch.int64)
    values = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int64)
    found = Documents(values, lengths.cumsum(0).to(values.device))
    return found if device is None else found.to(device)


def _from_rows(operation: str, rows: Tensor, device: torch.device | str | None) -> Documents:
    require(rows.ndim == 2, operation, "sentences", "shape [sentences, positions]", f"shape {list(rows.shape)}")
    rows = _integers(operation, rows if device is None else rows.to(device))
    inside = rows != PADDING
    require(not rows.numel() or int(rows.min()) >= PADDING, operation, "sentences", "tokens >= 0, or -1", "below -1")
    starts_again = bool((inside[:, 1:] & ~inside[:, :-1]).any())
    require(not starts_again, operation, "sentences", "-1 only behind the end of a sentence", "a token behind a -1")
    zero = torch.zeros(1, dtype=torch.int64, device=rows.device)
    return Documents(rows[inside], torch.cat([zero, inside.sum(1).cumsum(0)]))


def _of_numpy(sentence: Any) -> bool:
    return isinstance(sentence, Sequence) and len(sentence) > 0 and isinstance(sentence[0], np.integer)


def _integers(operation: str, given: Tensor) -> Tensor:
    empty = not given.numel()
    if not empty and (given.is_floating_point() or given.is_complex() or given.dtype == torch.bool):
        reject(operation, "sentences", "tokens as integers", given.dtype, kind=TypeError)
    return given.to(torch.int64)

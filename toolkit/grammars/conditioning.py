"""Sentences as a language model reads them: a prefix that shows the metadata or hides them, then the tokens."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from numbers import Real
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.devices import draw_uniform, resolve_device, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.grammars.documents import PADDING, Documents, as_documents
from toolkit.grammars.families import GrammarFamily

_ROUNDING = 1e-7


@dataclass(frozen=True)
class Vocabulary:
    """Which number each token has: terminals first, then end, beginning and mask, then the metadata.

    Every level has metadata tokens of its own, so that a token never means two things.

    Attributes:
        n_terminals: V; terminals are 0 to V − 1.
        n_choices: how many values the metadata have at each level.
    """

    n_terminals: int
    n_choices: tuple[int, ...]

    def __post_init__(self) -> None:
        require(self.n_terminals >= 1, "Vocabulary", "n_terminals", ">= 1", self.n_terminals)
        require(min(self.n_choices, default=1) >= 1, "Vocabulary", "n_choices", ">= 1 at every level", self.n_choices)

    @classmethod
    def of(cls, family: GrammarFamily) -> "Vocabulary":
        """Return the vocabulary of a family's documents."""
        return cls(family.n_terminals, family.n_choices)

    @property
    def depth(self) -> int:
        """How many levels metadata have, D; the prefix behind the beginning has as many tokens."""
        return len(self.n_choices)

    @property
    def eos(self) -> int:
        """The end of a sentence: V, the last column of every next-token table."""
        return self.n_terminals

    @property
    def bos(self) -> int:
        """The beginning of every sequence: V + 1."""
        return self.n_terminals + 1

    @property
    def mask(self) -> int:
        """What stands for metadata that are not shown: V + 2."""
        return self.n_terminals + 2

    @cached_property
    def first_of_level(self) -> tuple[int, ...]:
        """The token of each level's choice 0; the level's other choices follow it."""
        return tuple(accumulate(self.n_choices[:-1], initial=self.n_terminals + 3)) if self.n_choices else ()

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return self.n_terminals + 3 + sum(self.n_choices)

    def metadata_tokens(self, metadata: Int[Tensor, "documents levels"]) -> Int[Tensor, "documents levels"]:
        """Return the tokens that say which choice each level made.

        Raises:
            ValueError: not one choice a level, or one that a level does not have.
        """
        operation = "metadata_tokens"
        fits = metadata.shape[1] == self.depth
        require(fits, operation, "metadata", f"shape [documents, {self.depth}]", list(metadata.shape))
        bound = torch.tensor(self.n_choices, device=metadata.device)
        inside = bool(((metadata >= 0) & (metadata < bound)).all())
        require(inside, operation, "metadata", f"choices below {list(self.n_choices)}", "others")
        return metadata.to(torch.int64) + torch.tensor(self.first_of_level, device=metadata.device)

    def name(self, token: int, terminals: tuple[str, ...] | None = None) -> str:
        """Return how a token is written in a lesson: a letter, ``<end>``, ``<mask>``, ``<1:0>`` for level 1, choice 0.

        Args:
            token: its number.
            terminals: the names of the family's terminals; default: their numbers.

        Raises:
            ValueError: no such token.
        """
        require(0 <= token < self.size, "Vocabulary.name", "token", f"0 to {self.size - 1}", token)
        if token < self.n_terminals:
            return str(token) if terminals is None else terminals[token]
        if token < self.n_terminals + 3:
            return ("<end>", "<begin>", "<mask>")[token - self.n_terminals]
        level = max(i for i, first in enumerate(self.first_of_level) if first <= token)
        return f"<{level}:{token - self.first_of_level[level]}>"


@dataclass(frozen=True)
class Conditioning:
    """How much of the metadata training shows, and how often (Higuchi et al., arXiv 2504.17562).

    Attributes:
        depth: D_M: the choices of the D_M uppermost levels are shown; 0 is training without metadata.
        p_meta: how often a document shows them; each document is decided for itself. Its value in the paper is not
            known to us; one half is ours.
        cooldown: the share of the last steps in which no document does (Gao et al., arXiv 2501.01956, use 0.1).
    """

    depth: int
    p_meta: float = 0.5
    cooldown: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.depth, bool) or not isinstance(self.depth, int):
            reject("Conditioning", "depth", "an integer", repr(self.depth), kind=TypeError)
        for name, least, most in (("depth", 0, math.inf), ("p_meta", 0, 1), ("cooldown", 0, 1)):
            value = getattr(self, name)
            number = isinstance(value, Real) and not isinstance(value, bool)
            if not number:
                reject("Conditioning", name, "a number", repr(value), kind=TypeError)
            expected = f"{least} to {most}" if most < math.inf else f">= {least}"
            require(least <= value <= most, "Conditioning", name, expected, value)

    def probability(self, progress: float | Float[Tensor, " documents"] = 0.0) -> Float[Tensor, "..."]:
        """Return how often a document shows its metadata after a share of the training is done.

        Args:
            progress: finished steps over all steps, 0 to 1; one number or one a document.

        Raises:
            ValueError: a progress outside [0, 1].
        """
        progress = torch.as_tensor(progress, dtype=torch.float64)
        inside = bool(((progress >= 0) & (progress <= 1)).all())
        require(inside, "Conditioning.probability", "progress", "0 to 1", progress.tolist() if not inside else "")
        often = self.p_meta if self.depth else 0.0
        cold = (progress >= 1 - self.cooldown - _ROUNDING) & (self.cooldown > 0)
        return torch.where(cold, 0.0, often)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Documents as a model reads them, a row each: beginning, D tokens of metadata or masks, sentence.

    Position D + k follows k tokens of the sentence and predicts the next one, so the prefix never shifts a position.
    Behind the sentence stand end tokens, which nothing before them can see.

    Attributes:
        tokens: what the model reads.
        targets: what comes next at each position; the sentence's last position has the end token.
        loss_mask: where the target is a terminal or the end of the sentence: only those count.
        metadata: the choices of each document, if they are known.
        shown: whether the document shows its metadata.
        lengths: of the sentences, without the end.
        prefix_length: D; this position predicts the first token of the sentence.
    """

    tokens: Int[Tensor, "documents positions"]
    targets: Int[Tensor, "documents positions"]
    loss_mask: Bool[Tensor, "documents positions"]
    metadata: Int[Tensor, "documents levels"] | None
    shown: Bool[Tensor, " documents"]
    lengths: Int[Tensor, " documents"]
    prefix_length: int

    def __len__(self) -> int:
        return len(self.tokens)

    def select(self, rows: Int[Tensor, " chosen"], longest: int | None = None) -> "Sequences":
        """Return some of the documents.

        Args:
            rows: which.
            longest: the length of the longest sentence among them, where it is known; positions behind it are left
                out. Default: the width stays.
        """
        width = self.tokens.shape[1] if longest is None else 1 + self.prefix_length + longest
        return Sequences(
            self.tokens[rows, :width],
            self.targets[rows, :width],
            self.loss_mask[rows, :width],
            None if self.metadata is None else self.metadata[rows],
            self.shown[rows],
            self.lengths[rows],
            self.prefix_length,
        )

    def __repr__(self) -> str:
        return f"Sequences({len(self)} of up to {self.tokens.shape[1]} tokens)"


def condition(
    documents: Any,
    vocabulary: Vocabulary,
    *,
    depth: int = 0,
    shown: bool | Bool[Tensor, " documents"] = True,
    metadata: Int[Tensor, "documents levels"] | None = None,
) -> Sequences:
    """Put a prefix before every document and say where the loss counts.

    Args:
        documents: whole sentences, in any form that :func:`toolkit.grammars.documents.as_documents` takes.
        vocabulary: of their family.
        depth: how many of the uppermost levels' choices are shown; the other tokens of the prefix are masks.
        shown: whether a document shows them at all.
        metadata: the choices; default: those that the documents were drawn with.

    Returns:
        The sequences, on the documents' device.

    Raises:
        ValueError: a depth that the family does not have, metadata to show that are not known, a token that is no
            terminal.
    """
    operation = "condition"
    documents = as_documents(operation, documents)
    n, device = len(documents), documents.values.device
    if not isinstance(shown, Tensor):
        shown = torch.full((n,), shown, device=device)
    require(len(shown) == n, operation, "shown", f"a decision for each of {n} documents", len(shown))
    metadata = documents.metadata if metadata is None else metadata.to(device)
    rows = documents.padded()
    no_terminal = bool((rows >= vocabulary.n_terminals).any())
    require(not no_terminal, operation, "documents", f"terminals below {vocabulary.n_terminals}", "others")
    ends = rows.new_full((n, 1), vocabulary.eos)
    whole = torch.cat(
        [
            torch.full_like(ends, vocabulary.bos),
            _prefix(operation, vocabulary, metadata, depth, shown),
            torch.where(rows == PADDING, vocabulary.eos, rows),
            ends,
        ],
        dim=1,
    )
    lengths = documents.lengths
    after_prefix = torch.arange(whole.shape[1] - 1, device=device) - vocabulary.depth
    counts = (after_prefix >= 0) & (after_prefix <= lengths[:, None])
    return Sequences(whole[:, :-1], whole[:, 1:], counts, metadata, shown, lengths, vocabulary.depth)


def sequences(
    family: GrammarFamily,
    n: int,
    conditioning: Conditioning,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    progress: float | Float[Tensor, " documents"] = 0.0,
) -> Sequences:
    """Draw fresh documents of a family and condition them.

    The documents are drawn before it is decided which show their metadata, so that the same generator gives the same
    documents whatever the conditioning.

    Args:
        family: what to draw from.
        n: how many documents.
        conditioning: how much is shown, and how often.
        generator: draws documents and decisions.
        device: where the sequences go; default: the generator's device, and without one the best there is.
        progress: the share of the training that is done, for the cooldown; one number or one a document.

    Returns:
        The sequences.

    Raises:
        ValueError: a negative number, a depth that the family does not have, a progress outside [0, 1].
    """
    operation = "sequences"
    require(n >= 0, operation, "n", ">= 0", n)
    check_depth(operation, conditioning.depth, family.depth)
    where = generator.device if device is None and generator is not None else resolve_device(device)
    generator = resolve_generator(generator, device=where)
    documents = family.sample(n, device=where, generator=generator)
    probability = conditioning.probability(progress).to(torch.float32).to(where)
    shown = draw_uniform((n,), generator=generator, device=where) < probability
    return condition(documents, Vocabulary.of(family), depth=conditioning.depth, shown=shown)


def prompts(
    sentences: Any,
    vocabulary: Vocabulary,
    *,
    depth: int = 0,
    metadata: Int[Tensor, "documents levels"] | None = None,
) -> Documents:
    """Return beginnings of sentences behind their prefix, for a model to go on from.

    Args:
        sentences: the first tokens of each, none are enough; of any form.
        vocabulary: of their family.
        depth: how many of the uppermost levels' choices are shown.
        metadata: the choices; default: those that the documents were drawn with; needed for a depth > 0.

    Returns:
        Beginning, prefix and tokens, of different lengths.

    Raises:
        ValueError: see :func:`condition`.
    """
    read = condition(sentences, vocabulary, depth=depth, metadata=metadata)
    lengths = read.lengths + 1 + read.prefix_length
    inside = torch.arange(read.tokens.shape[1], device=lengths.device) < lengths[:, None]
    zero = lengths.new_zeros(1)
    return Documents(read.tokens[inside], torch.cat([zero, lengths.cumsum(0)]), read.metadata)


def check_depth(operation: str, depth: int, levels: int) -> None:
    """Raise a ``ValueError`` where more levels shall be shown than there are, or a negative number."""
    require(0 <= depth <= levels, operation, "depth", f"0 to {levels}, the family's levels", depth)


def _prefix(
    operation: str, vocabulary: Vocabulary, metadata: Tensor | None, depth: int, shown: Tensor
) -> Int[Tensor, "documents levels"]:
    check_depth(operation, depth, vocabulary.depth)
    n, device = len(shown), shown.device
    masks = torch.full((n, vocabulary.depth), vocabulary.mask, device=device)
    if not depth:
        return masks
    if metadata is None:
        require(not bool(shown.any()), operation, "metadata", "the choices of the documents that show them", None)
        return masks
    require(len(metadata) == n, operation, "metadata", f"a row for each of {n} documents", list(metadata.shape))
    seen = torch.arange(vocabulary.depth, device=device) < depth
    return torch.where(shown[:, None] & seen, vocabulary.metadata_tokens(metadata), masks)

"""Grammars whose sentences are rewritten level by level, and families of them that metadata choose from."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require
from toolkit.grammars.documents import Documents
from toolkit.grammars.family_checks import (
    Children,
    checked_choices,
    checked_names,
    checked_probs,
    checked_rules,
    readable,
)
from toolkit.grammars.grammar import PCFG


@dataclass(frozen=True, eq=False, init=False)
class GrammarFamily:
    """Grammars that share their symbols and differ in the rules of each level (Higuchi et al., arXiv 2504.17562).

    A document starts as the one symbol of level 0. At each level every symbol is rewritten, independently, by a rule
    of that level; the symbols of the last level are the tokens. Each level has one or several sets of rules, and the
    metadata of a document say which set served at each level. The base is the construction of Allen-Zhu and Li
    (arXiv 2305.13673), which is a family of one.

    Attributes:
        sizes: how many symbols each level has, the root's 1 first, the number of terminals last.
        rules: ``rules[level][choice][symbol]`` are the alternatives, each the indices of its children.
        probs: the probabilities of the alternatives, in the same nesting; default: equal ones.
        choice_probs: how often metadata choose each set of a level, ``choice_probs[level][choice]``; default: equally.
        terminals: the names of the tokens; default: letters, or ``t0``, ``t1``, … where 26 do not suffice.
        name: for captions.
    """

    sizes: tuple[int, ...]
    rules: tuple[tuple[tuple[tuple[Children, ...], ...], ...], ...]
    probs: tuple[tuple[tuple[tuple[float, ...], ...], ...], ...]
    choice_probs: tuple[tuple[float, ...], ...]
    terminals: tuple[str, ...]
    name: str

    def __init__(
        self,
        sizes: Sequence[int],
        rules: Sequence[Sequence[Sequence[Sequence[Sequence[int]]]]],
        probs: Any = None,
        choice_probs: Any = None,
        terminals: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        """Check and keep the rules.

        Raises:
            ValueError: sizes that are not positive or do not start with 1, a level or symbol without rules, an
                alternative without children or with a child that the next level does not have, probabilities that are
                negative or do not add up to 1, names of terminals that are too few, too many, or the same.
            TypeError: what should be a number or a sequence is none.
        """
        operation = type(self).__name__
        sizes = readable(operation, "sizes", "whole numbers", lambda: tuple(operator.index(size) for size in sizes))
        require(len(sizes) >= 2, operation, "sizes", "the root's 1, then the size of each level", sizes)
        require(sizes[0] == 1, operation, "sizes", "1 first: a single root", sizes)
        require(min(sizes) >= 1, operation, "sizes", "positive numbers", sizes)
        kept = readable(
            operation, "rules", "rules[level][choice][symbol]", lambda: checked_rules(operation, tuple(sizes), rules)
        )
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "rules", kept)
        object.__setattr__(
            self,
            "probs",
            readable(
                operation, "probs", "numbers as nested as the rules", lambda: checked_probs(operation, kept, probs)
            ),
        )
        object.__setattr__(
            self,
            "choice_probs",
            readable(
                operation,
                "choice_probs",
                "choice_probs[level][choice]",
                lambda: checked_choices(operation, kept, choice_probs),
            ),
        )
        object.__setattr__(
            self,
            "terminals",
            readable(operation, "terminals", "names", lambda: checked_names(operation, sizes[-1], terminals)),
        )
        object.__setattr__(self, "name", name)

    @property
    def depth(self) -> int:
        """How many levels of rules there are, D."""
        return len(self.rules)

    @property
    def n_terminals(self) -> int:
        """How many different tokens there are, V."""
        return self.sizes[-1]

    @property
    def n_choices(self) -> tuple[int, ...]:
        """How many sets of rules each level has, K for each level."""
        return tuple(len(level) for level in self.rules)

    @property
    def n_grammars(self) -> int:
        """How many values the metadata of a document can take."""
        return math.prod(self.n_choices)

    @cached_property
    def shortest(self) -> int:
        """The length of the shortest document of all grammars, in tokens."""
        return self._extreme_length(min)

    @cached_property
    def longest(self) -> int:
        """The length of the longest document of all grammars, in tokens."""
        return self._extreme_length(max)

    @cached_property
    def all_metadata(self) -> Int[Tensor, "grammars levels"]:
        """Every value of the metadata, the last level's choice changing fastest.

        Raises:
            ValueError: there are more than 2²⁴ (16 million).
        """
        require(self.n_grammars <= 2**24, "all_metadata", "family", "at most 2**24 grammars", self.n_grammars)
        return torch.cartesian_prod(*(torch.arange(k) for k in self.n_choices)).reshape(self.n_grammars, self.depth)

    @cached_property
    def metadata_log_prob(self) -> Float[Tensor, " grammars"]:
        """The log-probability of each row of :attr:`all_metadata` (float64)."""
        levels = [torch.tensor(p, dtype=torch.float64).log() for p in self.choice_probs]
        return torch.stack([p[self.all_metadata[:, level]] for level, p in enumerate(levels)]).sum(0)

    def metadata_index(self, metadata: Int[Tensor, "documents levels"]) -> Int[Tensor, " documents"]:
        """Return where each row stands in :attr:`all_metadata`.

        Raises:
            ValueError: not one choice for each level, or a choice that a level does not have.
        """
        metadata = self.check_metadata("metadata_index", metadata)
        index = torch.zeros(len(metadata), dtype=torch.int64, device=metadata.device)
        for level, n in enumerate(self.n_choices):
            index = index * n + metadata[:, level]
        return index

    def check_metadata(self, operation: str, metadata: Any) -> Int[Tensor, "documents levels"]:
        """Return choices of levels as integers, a row a document; a single sequence is one row.

        Raises:
            ValueError: not one choice for each level, or a choice that a level does not have.
            TypeError: no integers.
        """
        try:
            given = torch.as_tensor(metadata)
        except (TypeError, ValueError, RuntimeError) as error:
            raise argument_error(operation, "metadata", "integers", repr(metadata)[:80], kind=TypeError) from error
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            reject(operation, "metadata", "integers", given.dtype, kind=TypeError)
        given = given.to(torch.int64)
        given = given[None] if given.ndim == 1 else given
        fits = given.ndim == 2 and given.shape[1] == self.depth
        require(fits, operation, "metadata", f"shape [documents, {self.depth}]", f"shape {list(given.shape)}")
        outside = (given < 0) | (given >= torch.tensor(self.n_choices, device=given.device))
        if bool(outside.any()):
            level = int(outside.any(0).nonzero()[0, 0])
            expected = f"0 to {self.n_choices[level] - 1} at level {level}"
            reject(operation, "metadata", expected, given[outside[:, level], level].unique().tolist()[:10])
        return given

    def grammar(self, metadata: Sequence[int] | Int[Tensor, " levels"]) -> "LevelledGrammar":
        """Return the one grammar that these metadata choose.

        Args:
            metadata: a choice for each level.

        Raises:
            ValueError: see :meth:`check_metadata`.
        """
        rows = self.check_metadata("grammar", metadata).tolist()
        require(len(rows) == 1, "grammar", "metadata", "one row", f"{len(rows)} rows")
        (row,) = rows
        label = f"{self.name}({', '.join(map(str, row))})" if self.name and self.n_grammars > 1 else self.name
        return LevelledGrammar(
            self.sizes,
            [[level[choice]] for level, choice in zip(self.rules, row, strict=True)],
            [[level[choice]] for level, choice in zip(self.probs, row, strict=True)],
            terminals=self.terminals,
            name=label,
        )

    @classmethod
    def from_text(cls, text: str, *, terminals: Sequence[str] | None = None, name: str = "") -> "GrammarFamily":
        """Read a family in the compact form; see :func:`toolkit.grammars.text.from_text`."""
        from toolkit.grammars.text import from_text

        return from_text(text, terminals=terminals, name=name)

    def to_text(self) -> str:
        """Write the rules in the compact form; see :func:`toolkit.grammars.text.to_text`."""
        from toolkit.grammars.text import to_text

        return to_text(self)

    @classmethod
    def random(
        cls,
        sizes: Sequence[int],
        n_choices: int | Sequence[int] = 2,
        n_alternatives: int = 2,
        lengths: Sequence[int] = (2, 3),
        *,
        seed: int,
        distinct: bool = True,
        disjoint: bool = False,
        name: str = "",
    ) -> "GrammarFamily":
        """Draw the rules of a family; see :func:`toolkit.grammars.text.random_family`."""
        from toolkit.grammars.text import random_family

        return random_family(
            sizes, n_choices, n_alternatives, lengths, seed=seed, distinct=distinct, disjoint=disjoint, name=name
        )

    @classmethod
    def from_physicslm4_json(cls, path: str | Path | dict[str, Any], *, name: str = "") -> "LevelledGrammar":
        """Read a grammar of PhysicsLM4; see :func:`toolkit.grammars.family_files.from_physicslm4_json`."""
        from toolkit.grammars.family_files import from_physicslm4_json

        return from_physicslm4_json(path, name=name)

    @classmethod
    def from_json(cls, source: str | Path | dict[str, Any]) -> "GrammarFamily":
        """Read what :meth:`to_json` wrote; see :func:`toolkit.grammars.family_files.from_json`."""
        from toolkit.grammars.family_files import from_json

        return from_json(source)

    def to_json(self, path: str | Path | None = None) -> str:
        """Write the whole family as JSON; see :func:`toolkit.grammars.family_files.to_json`."""
        from toolkit.grammars.family_files import to_json

        return to_json(self, path)

    def to_pcfg(self) -> PCFG:
        """Return the same sentences' grammar without levels; see :func:`toolkit.grammars.family_pcfg.to_pcfg`."""
        from toolkit.grammars.family_pcfg import to_pcfg

        return to_pcfg(self)

    def union(self) -> PCFG:
        """Return the grammar whose root chooses the metadata; the same as :meth:`to_pcfg`."""
        return self.to_pcfg()

    def to_nltk(self, metadata: Sequence[int] | Int[Tensor, " levels"] | None = None) -> str:
        """Write a grammar in NLTK's format, to be read by ``nltk.PCFG.fromstring``.

        Args:
            metadata: a choice for each level; default: the union of all grammars.

        Raises:
            ValueError: see :meth:`check_metadata`.
        """
        return (self if metadata is None else self.grammar(metadata)).to_pcfg().tostring()

    def expected_length(self) -> Fraction:
        """Return the mean number of tokens of a document, exactly.

        The probabilities count as the simplest fractions that they stand for: 0.1 is a tenth.
        """
        from toolkit.grammars.family_moments import expected_length

        return expected_length(self)

    def entropy(self) -> float:
        """Return the entropy of a document's derivation given its metadata, in nats, averaged over the metadata.

        It bounds the entropy of the sentences from above; the two agree where each sentence has one derivation.
        """
        from toolkit.grammars.family_moments import derivation_entropy

        return derivation_entropy(self)

    def length_distribution(self) -> Float[Tensor, " lengths"]:
        """Return how likely each number of tokens is, from 0 to :attr:`longest` (float64)."""
        from toolkit.grammars.family_moments import length_distribution

        return length_distribution(self)

    def sample(
        self,
        n: int,
        metadata: Any = None,
        *,
        device: torch.device | str | int | None = None,
        generator: torch.Generator | None = None,
        return_trees: bool = False,
    ) -> Documents:
        """Draw documents.

        Args:
            n: how many.
            metadata: what they are drawn with: choices of all levels for all documents, or a row a document; default:
                drawn too, by ``choice_probs``.
            device: where the documents go; default: where the metadata are, if they are a tensor, else the best there
                is.
            generator: draws on its own device, so that a seed gives the same documents on every device; default: a
                new one.
            return_trees: whether to keep the derivations. The documents are the same with and without.

        Returns:
            The documents with their metadata. Tokens take as few bytes as their number allows: uint8, int16 or int32.

        Raises:
            ValueError: a negative number, or metadata that do not fit.
            TypeError: no integers.
        """
        return self._sampler.sample(n, metadata, device=device, generator=generator, return_trees=return_trees)

    @cached_property
    def _sampler(self) -> Any:
        from toolkit.grammars.sampling import Sampler

        return Sampler(self)

    def __getstate__(self) -> dict[str, Any]:
        # Copies and other processes need the rules, not the tables made from them, which may lie on a GPU.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def symbol_name(self, level: int, symbol: int) -> str:
        """Return how a symbol is written: ``S`` for the root, a letter for the level and a number, or a terminal."""
        if level == self.depth:
            return self.terminals[symbol]
        if level == 0:
            return "S"
        letters = "ABCDEFGHIJKLMNOPQR"
        return f"{letters[level - 1] if level <= len(letters) else f'L{level}_'}{symbol}"

    def __repr__(self) -> str:
        label = f"{self.name}: " if self.name else ""
        return (
            f"{type(self).__name__}({label}sizes {list(self.sizes)}, {self.n_grammars} "
            f"grammar{'s' if self.n_grammars > 1 else ''}, {self.shortest} to {self.longest} tokens)"
        )

    def _extreme_length(self, extreme: Any) -> int:
        # Symbols of one document share its choices, so that each combination of them has lengths of its own. What is
        # nowhere better than another combination cannot become so above: there would be too many to keep all.
        below = {(1,) * self.n_terminals}
        for level in reversed(range(self.depth)):
            found = {
                tuple(
                    extreme(
                        sum(lengths[child] for child in children)
                        for children, p in zip(alternatives, probs, strict=True)
                        if p > 0
                    )
                    for alternatives, probs in zip(symbols, self.probs[level][choice], strict=True)
                )
                for choice, symbols in enumerate(self.rules[level])
                for lengths in below
            }
            below = set()
            for lengths in sorted(found, reverse=extreme is max):
                if not any(all(extreme(pair) == pair[0] for pair in zip(kept, lengths, strict=True)) for kept in below):
                    below.add(lengths)
        return extreme(length for (length,) in below)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class LevelledGrammar(GrammarFamily):
    """A family of one: a single set of rules at each level.

    Raises:
        ValueError: as for a family, and where a level has several sets.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        rules: Sequence[Sequence[Sequence[Sequence[Sequence[int]]]]],
        probs: Any = None,
        choice_probs: Any = None,
        terminals: Sequence[str] | None = None,
        name: str = "",
    ) -> None:
        super().__init__(sizes, rules, probs, choice_probs, terminals, name)
        require(self.n_grammars == 1, "LevelledGrammar", "rules", "one set a level", list(self.n_choices))

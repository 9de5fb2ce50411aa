"""Grammars whose sentences are rewritten level by level, and families of them that metadata choose from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.errors import reject, require

Children = tuple[int, ...]
"""The right-hand side of a rule: which symbols of the next level, from 0."""


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
        """
        operation = type(self).__name__
        sizes = tuple(int(size) for size in sizes)
        require(len(sizes) >= 2, operation, "sizes", "the root's 1, then the size of each level", sizes)
        require(sizes[0] == 1, operation, "sizes", "1 first: a single root", sizes)
        require(min(sizes) >= 1, operation, "sizes", "positive numbers", sizes)
        require(len(rules) == len(sizes) - 1, operation, "rules", f"{len(sizes) - 1} levels", len(rules))
        kept = tuple(_checked_level(operation, level, sizes, given) for level, given in enumerate(rules))
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "rules", kept)
        object.__setattr__(self, "probs", _checked_probs(operation, kept, probs))
        object.__setattr__(self, "choice_probs", _checked_choices(operation, kept, choice_probs))
        object.__setattr__(self, "terminals", _checked_names(operation, sizes[-1], terminals))
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
        """The length of the shortest document, in tokens."""
        return self._extreme_lengths(min)[0]

    @cached_property
    def longest(self) -> int:
        """The length of the longest document, in tokens."""
        return self._extreme_lengths(max)[0]

    @cached_property
    def all_metadata(self) -> Int[Tensor, "grammars levels"]:
        """Every value of the metadata, the last level's choice changing fastest."""
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
        given = torch.as_tensor(metadata)
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            reject(operation, "metadata", "integers", given.dtype, kind=TypeError)
        given = given.to(torch.int64)
        given = given[None] if given.ndim == 1 else given
        fits = given.ndim == 2 and given.shape[1] == self.depth
        require(fits, operation, "metadata", f"shape [documents, {self.depth}]", f"shape {list(given.shape)}")
        for level, n in enumerate(self.n_choices):
            column = given[:, level]
            inside = bool(((column >= 0) & (column < n)).all())
            require(inside, operation, "metadata", f"0 to {n - 1} at level {level}", sorted(set(column.tolist()))[:10])
        return given

    def grammar(self, metadata: Sequence[int] | Int[Tensor, " levels"]) -> "LevelledGrammar":
        """Return the one grammar that these metadata choose.

        Args:
            metadata: a choice for each level.

        Raises:
            ValueError: see :meth:`check_metadata`.
        """
        (row,) = self.check_metadata("grammar", metadata).tolist()
        label = f"{self.name}({', '.join(map(str, row))})" if self.name and self.n_grammars > 1 else self.name
        return LevelledGrammar(
            self.sizes,
            [[level[choice]] for level, choice in zip(self.rules, row, strict=True)],
            [[level[choice]] for level, choice in zip(self.probs, row, strict=True)],
            terminals=self.terminals,
            name=label,
        )

    def symbol_name(self, level: int, symbol: int) -> str:
        """Return how a symbol is written: ``S`` for the root, a letter for the level and a number, a terminal's name."""
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

    def _extreme_lengths(self, extreme: Any) -> list[int]:
        lengths = [1] * self.sizes[-1]
        for level in reversed(range(self.depth)):
            lengths = [
                extreme(
                    sum(lengths[child] for child in children)
                    for choice in range(self.n_choices[level])
                    for children, p in zip(
                        self.rules[level][choice][symbol], self.probs[level][choice][symbol], strict=True
                    )
                    if p > 0
                )
                for symbol in range(self.sizes[level])
            ]
        return lengths


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


def _checked_level(
    operation: str, level: int, sizes: tuple[int, ...], given: Any
) -> tuple[tuple[tuple[Children, ...], ...], ...]:
    require(len(given) >= 1, operation, "rules", f"a set of rules at level {level}", "none")
    for choice, symbols in enumerate(given):
        where = f"level {level}, choice {choice}"
        require(len(symbols) == sizes[level], operation, "rules", f"{sizes[level]} symbols at {where}", len(symbols))
        for symbol, alternatives in enumerate(symbols):
            here = f"{where}, symbol {symbol}"
            require(len(alternatives) >= 1, operation, "rules", f"an alternative at {here}", "none")
            for children in alternatives:
                require(len(children) >= 1, operation, "rules", f"children in every alternative at {here}", "none")
                inside = all(0 <= child < sizes[level + 1] for child in children)
                expected = f"children from 0 to {sizes[level + 1] - 1} at {here}"
                require(inside, operation, "rules", expected, list(children))
    return tuple(
        tuple(tuple(tuple(int(c) for c in children) for children in alternatives) for alternatives in symbols)
        for symbols in given
    )


def _checked_probs(operation: str, rules: Any, probs: Any) -> Any:
    if probs is None:
        return tuple(
            tuple(tuple((1 / len(alternatives),) * len(alternatives) for alternatives in symbols) for symbols in level)
            for level in rules
        )
    require(len(probs) == len(rules), operation, "probs", f"{len(rules)} levels", len(probs))
    for level, (of_level, given) in enumerate(zip(rules, probs, strict=True)):
        require(len(given) == len(of_level), operation, "probs", f"{len(of_level)} sets at level {level}", len(given))
        for choice, (symbols, given_symbols) in enumerate(zip(of_level, given, strict=True)):
            here = f"level {level}, choice {choice}"
            n = len(symbols)
            require(len(given_symbols) == n, operation, "probs", f"{n} symbols at {here}", len(given_symbols))
            for symbol, (alternatives, p) in enumerate(zip(symbols, given_symbols, strict=True)):
                what = f"{len(alternatives)} probabilities that add up to 1 at {here}, symbol {symbol}"
                right = len(p) == len(alternatives) and all(v >= 0 for v in p) and abs(math.fsum(p) - 1) < 1e-9
                require(right, operation, "probs", what, list(p))
    return tuple(tuple(tuple(tuple(map(float, p)) for p in symbols) for symbols in level) for level in probs)


def _checked_choices(operation: str, rules: Any, choice_probs: Any) -> tuple[tuple[float, ...], ...]:
    if choice_probs is None:
        return tuple((1 / len(level),) * len(level) for level in rules)
    require(len(choice_probs) == len(rules), operation, "choice_probs", f"{len(rules)} levels", len(choice_probs))
    for level, (sets, p) in enumerate(zip(rules, choice_probs, strict=True)):
        right = len(p) == len(sets) and all(v >= 0 for v in p) and abs(math.fsum(p) - 1) < 1e-9
        what = f"{len(sets)} probabilities that add up to 1 at level {level}"
        require(right, operation, "choice_probs", what, list(p))
    return tuple(tuple(map(float, p)) for p in choice_probs)


def _checked_names(operation: str, n: int, terminals: Sequence[str] | None) -> tuple[str, ...]:
    if terminals is None:
        return tuple("abcdefghijklmnopqrstuvwxyz"[:n]) if n <= 26 else tuple(f"t{i}" for i in range(n))
    names = tuple(terminals)
    right = len(set(names)) == len(names) == n and all(isinstance(name, str) and name for name in names)
    require(right, operation, "terminals", f"{n} different names", list(names)[:30])
    return names

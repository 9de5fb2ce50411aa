"""Vectors over positions that are sent from the root to the tokens: each kept once, and in which order."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference_levels import Units, rules_of

NOTHING, START = 0, 1
"""The first two vectors: zeros, and one at position 0 with zeros behind it."""


@dataclass(frozen=True, eq=False)
class Through:
    """A step: vectors pass through charts of a level; row r of the result holds what came out of ``items[r]``."""

    level: int
    items: tuple[int, ...]
    all_items: bool
    vectors: tuple[tuple[int, ...], ...]
    first: int

    @property
    def n(self) -> int:
        """How many vectors come out, those that only fill up a row counted."""
        return len(self.items) * len(self.vectors[0])


@dataclass(frozen=True, eq=False)
class Combine:
    """A step: weighted sums of vectors, as a matrix where the sums share many sources, else term by term.

    Attributes:
        sources: all of them, or for j = 0, 1, … the j-th of each sum that has one.
        weights: a row a sum; or in the order of ``sources``.
        as_matrix: which of the two.
        n: how many vectors come out.
        first: where the first of them stands.
    """

    sources: tuple[Any, ...]
    weights: tuple[tuple[float, ...], ...]
    as_matrix: bool
    n: int
    first: int


class Vectors:
    """The vectors and how they come about, each kept once.

    Args:
        family: the grammars.
        all_units: of every level.
        items: where the charts of each pair of unit and symbol stand, for the levels that have charts.
        cut: the uppermost of these.
    """

    def __init__(
        self, family: GrammarFamily, all_units: Sequence[Units], items: dict[int, dict[tuple[int, int], int]], cut: int
    ) -> None:
        self.family, self.units, self.items, self.cut = family, all_units, items, cut
        self.made: dict[tuple[Any, ...], int] = {}
        self.depths = [0, 0]
        self.symbols_passed: dict[tuple[int, int, int, int], int] = {}

    def make(self, key: tuple[Any, ...], sources: Iterable[int]) -> int:
        """Return the vector that comes about like this."""
        if key not in self.made:
            self.made[key] = len(self.depths)
            self.depths.append(1 + max(self.depths[source] for source in sources))
        return self.made[key]

    def combine(self, terms: dict[int, float]) -> int:
        """Return the vector of a weighted sum."""
        kept = tuple(sorted((vector, weight) for vector, weight in terms.items() if vector != NOTHING))
        if not kept:
            return NOTHING
        if len(kept) == 1 and kept[0][1] == 1:
            return kept[0][0]
        return self.make(("combine", kept), [vector for vector, _ in kept])

    def through(self, vector: int, level: int, unit: int, symbol: int) -> int:
        """Return the vector of where a symbol ends that starts where ``vector`` says."""
        if vector == NOTHING:
            return NOTHING
        if level >= self.cut:
            return self.make(("through", vector, level, self.items[level][unit, symbol]), [vector])
        key = (vector, level, unit, symbol)
        if key not in self.symbols_passed:
            here = self.units[level]
            ends: dict[int, float] = defaultdict(float)
            for children, p in rules_of(self.family, level, here.choice[unit], symbol):
                at = vector
                for child in children:
                    at = self.through(at, level + 1, here.below[unit], child)
                ends[at] += p
            self.symbols_passed[key] = self.combine(ends)
        return self.symbols_passed[key]

    def next_tokens(self, grammar: int) -> tuple[int, ...]:
        """Return for each token the vector of how probable it is that it comes next."""
        starts = {(0, START): 1.0}
        for level in range(self.family.depth):
            here = self.units[level]
            unit = here.of_grammar[grammar]
            if level >= self.cut:
                starts = self._one_a_symbol(starts)
            lower: dict[tuple[int, int], float] = defaultdict(float)
            for (symbol, vector), weight in starts.items():
                for children, p in rules_of(self.family, level, here.choice[unit], symbol):
                    at = vector
                    for position, child in enumerate(children):
                        lower[child, at] += weight * p
                        if position + 1 < len(children):
                            at = self.through(at, level + 1, here.below[unit], child)
            starts = lower
        vectors = {symbol: vector for symbol, vector in self._one_a_symbol(starts)}
        return tuple(vectors.get(token, NOTHING) for token in range(self.family.n_terminals))

    def _one_a_symbol(self, starts: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
        terms: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
        for (symbol, vector), weight in starts.items():
            terms[symbol][vector] += weight
        return {(symbol, self.combine(of_symbol)): 1.0 for symbol, of_symbol in terms.items()}

    def in_steps(self) -> tuple[tuple[Through | Combine, ...], int, dict[int, int]]:
        """Return the steps, the room they need and where each vector stands in it."""
        groups: dict[tuple, list[tuple[tuple, int]]] = defaultdict(list)
        for key, vector in self.made.items():
            kind = key[0] if key[0] == "combine" else key[2]
            groups[self.depths[vector], str(kind)].append((key, vector))
        place, steps, room = {NOTHING: NOTHING, START: START}, [], 2
        for group in sorted(groups):
            members = groups[group]
            if group[1] == "combine":
                members.sort(key=lambda member: -len(member[0][1]))
                sums = [[(place[vector], weight) for vector, weight in key[1]] for key, _ in members]
                step: Through | Combine = _combined(sums, room)
                place.update({vector: room + i for i, (_, vector) in enumerate(members)})
            else:
                rows: dict[int, list[int]] = defaultdict(list)
                for key, vector in members:
                    rows[key[3]].append(vector)
                entered = {vector: place[key[1]] for key, vector in members}
                width = max(map(len, rows.values()))
                for i, item in enumerate(sorted(rows)):
                    place.update({vector: room + i * width + j for j, vector in enumerate(rows[item])})
                table = tuple(
                    tuple([entered[vector] for vector in rows[item]] + [NOTHING] * (width - len(rows[item])))
                    for item in sorted(rows)
                )
                level, items = int(group[1]), tuple(sorted(rows))
                step = Through(level, items, len(items) == len(self.items[level]), table, room)
            steps.append(step)
            room += step.n
        return tuple(steps), room, place


def _combined(sums: list[list[tuple[int, float]]], first: int) -> Combine:
    """Return the step for these sums, those with most terms first."""
    different = sorted({source for terms in sums for source, _ in terms})
    if len(different) * len(sums) <= 8 * sum(map(len, sums)) and len(sums[0]) > 1:
        column = {source: j for j, source in enumerate(different)}
        matrix = [[0.0] * len(different) for _ in sums]
        for row, terms in zip(matrix, sums, strict=True):
            for source, weight in terms:
                row[column[source]] += weight
        return Combine(tuple(different), tuple(map(tuple, matrix)), True, len(sums), first)
    columns = [[terms[j] for terms in sums if len(terms) > j] for j in range(len(sums[0]))]
    sources = tuple(tuple(source for source, _ in column) for column in columns)
    weights = tuple(tuple(weight for _, weight in column) for column in columns)
    return Combine(sources, weights, False, len(sums), first)

"""Which charts to fill and which vectors to send through them, worked out once for a family and its metadata.

A chart of level l holds the probability that a symbol of that level yields the tokens from one position to another.
It depends on the choices of the levels from l on only, so grammars that agree there share it: they have the same unit.
Charts are filled from the tokens up to the level ``cut``. Above it none are needed: what a prefix can be followed by
is found by sending a vector over positions (how probable it is that a symbol starts there) from the root down through
the rules, and through the charts of level ``cut`` wherever a whole symbol is passed over.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from toolkit.grammars.families import Children, GrammarFamily

Band = tuple[int, int]
"""The smallest and the largest number of tokens that something yields."""

Metadata = tuple[tuple[int, ...], ...]
"""The choices of each grammar, hashable."""

NOTHING, START = 0, 1
"""The first two vectors: zeros, and one at position 0 with zeros behind it."""


class Mix(NamedTuple):
    """``target += weight × source``. Stage 0 means the level below, stage s its products of s + 1 symbols."""

    stage: int
    targets: tuple[int, ...]
    sources: tuple[int, ...]
    weights: tuple[float, ...]


class Pairs(NamedTuple):
    """Products: each a symbol of the level below, then a product of the stage before or another symbol."""

    left: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class LevelPlan:
    """How the charts of a level come from those of the level below.

    Attributes:
        items: where each pair of unit and symbol stands; those with most rests first.
        bands: of each item.
        band: of all of them.
        tails: products of the last 2, 3, … children of rules, each stage from the one before.
        tail_bands: of each stage.
        firsts: for j = 0, 1, …, the j-th different first child of each item that has one, in the items' order.
        rests: what can follow it, mixed by the probability of the rules, and the bands of that.
        single: rules with one child.
    """

    items: dict[tuple[int, int], int]
    bands: tuple[Band, ...]
    band: Band
    tails: tuple[Pairs, ...]
    tail_bands: tuple[Band, ...]
    firsts: tuple[tuple[int, ...], ...]
    rests: tuple[tuple[tuple[Mix, ...], Band], ...]
    single: tuple[Mix, ...]


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
    """A step: weighted sums of vectors. ``terms[j]`` holds the j-th source and weight of each sum that has one."""

    sources: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    first: int

    @property
    def n(self) -> int:
        """How many vectors come out."""
        return len(self.sources[0])


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that does not depend on the sentences.

    Attributes:
        cut: the uppermost level with charts.
        levels: the plans of the levels ``depth - 1`` down to ``cut``, in this order.
        steps: of the vectors, in this order.
        n_vectors: room for all of them.
        next_tokens: which vector says that a token comes next, a row of V a grammar.
        sentences: which vector says that the sentence ends, one a grammar.
    """

    cut: int
    levels: tuple[LevelPlan, ...]
    steps: tuple[Through | Combine, ...]
    n_vectors: int
    next_tokens: tuple[tuple[int, ...], ...]
    sentences: tuple[int, ...]
    tables: dict[tuple, Tensor] = field(default_factory=dict)

    def table(self, values: tuple, like: Tensor) -> Tensor:
        """Return a part of this plan as a tensor, made once: floats of the type of ``like``, integers as they are."""
        key = (id(values), like.dtype, like.device)
        if key not in self.tables:
            made = torch.tensor(values, device=like.device)
            self.tables[key] = made.to(like.dtype) if made.is_floating_point() else made
        return self.tables[key]


@dataclass(frozen=True, eq=False)
class Units:
    """The different choices from a level on.

    Attributes:
        choice: at the level itself, of each unit.
        below: the unit of the next level that belongs to it.
        of_grammar: the unit of each grammar.
    """

    choice: tuple[int, ...]
    below: tuple[int, ...]
    of_grammar: tuple[int, ...]


def units(metadata: Metadata, depth: int) -> list[Units]:
    """Return the units of each level, and of the tokens, which have a single one."""
    found = [Units((0,), (0,), (0,) * len(metadata))]
    for level in reversed(range(depth)):
        lower = found[0].of_grammar
        keys = [(row[level], below) for row, below in zip(metadata, lower, strict=True)]
        index = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        choices, below = zip(*index, strict=True)
        found.insert(0, Units(choices, below, tuple(index[key] for key in keys)))
    return found


def rules_of(family: GrammarFamily, level: int, choice: int, symbol: int) -> list[tuple[Children, float]]:
    """Return the rules of a symbol that can occur, equal ones together."""
    probs: dict[Children, float] = defaultdict(float)
    for children, p in zip(family.rules[level][choice][symbol], family.probs[level][choice][symbol], strict=True):
        if p > 0:
            probs[children] += p
    return list(probs.items())


def plan_level(
    family: GrammarFamily, level: int, here: Units, below: dict[tuple[int, int], int], bands: tuple[Band, ...]
) -> LevelPlan:
    """Plan the charts of one level from the items and bands of the level below it."""
    rests: dict[tuple[int, int], dict[int, Counter]] = {}
    single: dict[tuple[int, int], Counter] = {}
    tails: list[dict[tuple[int, Children], int]] = []
    for unit, (choice, lower) in enumerate(zip(here.choice, here.below, strict=True)):
        for symbol in range(family.sizes[level]):
            of_first: dict[int, Counter] = defaultdict(Counter)
            alone: Counter = Counter()
            for children, p in rules_of(family, level, choice, symbol):
                if len(children) == 1:
                    alone[below[lower, children[0]]] += p
                    continue
                rest = children[1:]
                for size in range(2, len(rest) + 1):
                    if len(tails) < size - 1:
                        tails.append({})
                    tails[size - 2].setdefault((lower, rest[-size:]), len(tails[size - 2]))
                stage, key = len(rest) - 1, (lower, rest)
                source = tails[stage - 1][key] if stage else below[lower, rest[0]]
                of_first[below[lower, children[0]]][stage, source] += p
            rests[unit, symbol], single[unit, symbol] = of_first, alone
    pairs, all_bands = [], [bands]
    for stage, products in enumerate(tails):
        left = tuple(below[unit, tail[0]] for unit, tail in products)
        right = tuple(tails[stage - 1][unit, tail[1:]] if stage else below[unit, tail[1]] for unit, tail in products)
        pairs.append(Pairs(left, right))
        all_bands.append(tuple(_add(bands[a], all_bands[-1][b]) for a, b in zip(left, right, strict=True)))
    order = sorted(rests, key=lambda key: -len(rests[key]))
    most = max(map(len, rests.values()))
    firsts: list[list[int]] = [[] for _ in range(most)]
    terms: list[list[tuple[int, int, int, float]]] = [[] for _ in range(most)]
    of_item = []
    for position, key in enumerate(order):
        hull = [bands[source] for source in single[key]]
        for j, (first, mixed) in enumerate(rests[key].items()):
            firsts[j].append(first)
            terms[j] += [(stage, position, source, p) for (stage, source), p in mixed.items()]
            hull += [_add(bands[first], all_bands[stage][source]) for stage, source in mixed]
        of_item.append(_hull(hull))
    return LevelPlan(
        {key: position for position, key in enumerate(order)},
        tuple(of_item),
        _hull(of_item),
        tuple(pairs),
        tuple(map(_hull, all_bands[1:])),
        tuple(map(tuple, firsts)),
        tuple((_mixes(of_j), _hull(all_bands[stage][source] for stage, _, source, _ in of_j)) for of_j in terms),
        _mixes([(0, at, source, p) for at, key in enumerate(order) for source, p in single[key].items()]),
    )


class _Vectors:
    """The vectors and how they come about, each kept once; put in order of what needs what at the end."""

    def __init__(self, family: GrammarFamily, all_units: list[Units], items: dict[int, dict], cut: int) -> None:
        self.family, self.units, self.items, self.cut = family, all_units, items, cut
        self.made: dict[tuple, int] = {}
        self.depths = [0, 0]
        self.symbols_passed: dict[tuple[int, int, int, int], int] = {}

    def make(self, key: tuple, sources: Iterable[int]) -> int:
        if key not in self.made:
            self.made[key] = len(self.depths)
            self.depths.append(1 + max(self.depths[source] for source in sources))
        return self.made[key]

    def combine(self, terms: Counter) -> int:
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
            ends: Counter = Counter()
            for children, p in rules_of(self.family, level, here.choice[unit], symbol):
                at = vector
                for child in children:
                    at = self.through(at, level + 1, here.below[unit], child)
                ends[at] += p
            self.symbols_passed[key] = self.combine(ends)
        return self.symbols_passed[key]

    def next_tokens(self, grammar: int) -> tuple[int, ...]:
        """Return for each token the vector of how probable it is that it comes next."""
        starts: Counter = Counter({(0, START): 1.0})
        for level in range(self.family.depth):
            here = self.units[level]
            unit = here.of_grammar[grammar]
            if level >= self.cut:
                starts = self._one_a_symbol(starts)
            lower: Counter = Counter()
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

    def _one_a_symbol(self, starts: Counter) -> Counter:
        terms: dict[int, Counter] = defaultdict(Counter)
        for (symbol, vector), weight in starts.items():
            terms[symbol][vector] += weight
        return Counter({(symbol, self.combine(of_symbol)): 1.0 for symbol, of_symbol in terms.items()})

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
                columns = [[terms[j] for terms in sums if len(terms) > j] for j in range(len(sums[0]))]
                sources = tuple(tuple(source for source, _ in column) for column in columns)
                weights = tuple(tuple(weight for _, weight in column) for column in columns)
                step: Through | Combine = Combine(sources, weights, room)
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


@lru_cache(maxsize=64)
def make_plan(family: GrammarFamily, metadata: Metadata, cut: int) -> Plan:
    """Return the plan for these grammars of a family, with charts from the tokens up to level ``cut`` (1 to depth)."""
    all_units = units(metadata, family.depth)
    items = {family.depth: {(0, token): token for token in range(family.n_terminals)}}
    bands: tuple[Band, ...] = ((1, 1),) * family.n_terminals
    levels = []
    for level in reversed(range(cut, family.depth)):
        planned = plan_level(family, level, all_units[level], items[level + 1], bands)
        levels.append(planned)
        items[level], bands = planned.items, planned.bands
    vectors = _Vectors(family, all_units, items, cut)
    following = [vectors.next_tokens(grammar) for grammar in range(len(metadata))]
    ends = [vectors.through(START, 0, unit, 0) for unit in all_units[0].of_grammar]
    steps, room, place = vectors.in_steps()
    return Plan(
        cut,
        tuple(levels),
        steps,
        room,
        tuple(tuple(place[vector] for vector in row) for row in following),
        tuple(place[vector] for vector in ends),
    )


def _mixes(terms: list[tuple[int, int, int, float]]) -> tuple[Mix, ...]:
    stages: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for stage, *term in terms:
        stages[stage].append(tuple(term))
    return tuple(Mix(stage, *zip(*of_stage, strict=True)) for stage, of_stage in stages.items())


def _add(a: Band, b: Band) -> Band:
    return a[0] + b[0], a[1] + b[1]


def _hull(bands: Iterable[Band]) -> Band:
    kept = list(bands)
    return min(band[0] for band in kept), max(band[1] for band in kept)

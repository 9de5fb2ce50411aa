"""How the charts of a level come from those of the level below it, for all grammars of a family together."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from toolkit.grammars.families import Children, GrammarFamily

Band = tuple[int, int]
"""The smallest and the largest number of tokens that something yields."""

Metadata = tuple[tuple[int, ...], ...]
"""The choices of each grammar, hashable."""


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
    rests: dict[tuple[int, int], dict[int, dict[tuple[int, int], float]]] = {}
    single: dict[tuple[int, int], dict[int, float]] = {}
    tails: list[dict[tuple[int, Children], int]] = []
    for unit, (choice, lower) in enumerate(zip(here.choice, here.below, strict=True)):
        for symbol in range(family.sizes[level]):
            of_first: dict[int, dict[tuple[int, int], float]] = defaultdict(lambda: defaultdict(float))
            alone: dict[int, float] = defaultdict(float)
            for children, p in rules_of(family, level, choice, symbol):
                if len(children) == 1:
                    alone[below[lower, children[0]]] += p
                    continue
                rest = children[1:]
                for size in range(2, len(rest) + 1):
                    if len(tails) < size - 1:
                        tails.append({})
                    tails[size - 2].setdefault((lower, rest[-size:]), len(tails[size - 2]))
                stage = len(rest) - 1
                source = tails[stage - 1][lower, rest] if stage else below[lower, rest[0]]
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
    for position, item in enumerate(order):
        hull = [bands[source] for source in single[item]]
        for j, (first, mixed) in enumerate(rests[item].items()):
            firsts[j].append(first)
            terms[j] += [(stage, position, source, p) for (stage, source), p in mixed.items()]
            hull += [_add(bands[first], all_bands[stage][source]) for stage, source in mixed]
        of_item.append(_hull(hull))
    return LevelPlan(
        {item: position for position, item in enumerate(order)},
        tuple(of_item),
        _hull(of_item),
        tuple(pairs),
        tuple(map(_hull, all_bands[1:])),
        tuple(map(tuple, firsts)),
        tuple((_mixes(of_j), _hull(all_bands[stage][source] for stage, _, source, _ in of_j)) for of_j in terms),
        _mixes([(0, at, source, p) for at, item in enumerate(order) for source, p in single[item].items()]),
    )


def _mixes(terms: list[tuple[int, int, int, float]]) -> tuple[Mix, ...]:
    stages: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for stage, target, source, weight in terms:
        stages[stage].append((target, source, weight))
    return tuple(Mix(stage, *zip(*of_stage, strict=True)) for stage, of_stage in stages.items())


def _add(a: Band, b: Band) -> Band:
    return a[0] + b[0], a[1] + b[1]


def _hull(bands: Iterable[Band]) -> Band:
    kept = list(bands)
    return min(band[0] for band in kept), max(band[1] for band in kept)

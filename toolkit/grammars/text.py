"""Families in the compact form, and families drawn at random."""

import random
from collections.abc import Sequence

import numpy as np

from toolkit.core.errors import reject, require
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.family_checks import Children

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def from_text(text: str, *, terminals: Sequence[str] | None = None, name: str = "") -> GrammarFamily:
    """Read a family in the compact form.

    Levels are separated by ``;``, the sets of rules that metadata choose from by ``//``, symbols by ``/``, alternatives
    by ``|``. A child is one digit, its index in the next level; from ten on the letters ``a`` to ``z`` serve.

    Args:
        text: ``"20|011//210|10;…"``; spaces and line breaks do not count.
        terminals: names of the tokens; default: letters.
        name: for captions.

    Returns:
        The family, a :class:`LevelledGrammar` where no level has several sets. How many terminals there are is the
        largest index of the last level plus one, or the number of names.

    Raises:
        ValueError: a character that is no digit, an empty alternative, sets of different sizes, a child that the next
            level does not have.
        TypeError: no text.
    """
    if not isinstance(text, str):
        reject("from_text", "text", "text", type(text).__name__, kind=TypeError)
    rules = [
        [
            [[_children(a, text) for a in symbol.split("|")] for symbol in group.split("/")]
            for group in level.split("//")
        ]
        for level in "".join(text.split()).split(";")
    ]
    sizes = [len(level[0]) for level in rules]
    for level, (groups, size) in enumerate(zip(rules, sizes, strict=True)):
        same = all(len(group) == size for group in groups)
        require(same, "from_text", "text", f"{size} symbols in every set of level {level}", [len(g) for g in groups])
    largest = max(child for group in rules[-1] for symbol in group for children in symbol for child in children)
    sizes.append(largest + 1 if terminals is None else len(terminals))
    kind = LevelledGrammar if all(len(level) == 1 for level in rules) else GrammarFamily
    return kind(sizes, rules, terminals=terminals, name=name)


def to_text(family: GrammarFamily) -> str:
    """Write a family in the compact form of :func:`from_text`.

    Raises:
        ValueError: a level has more than 36 symbols, or alternatives or choices of metadata are not equally probable,
            for which the form has no room.
    """
    require(max(family.sizes) <= len(_DIGITS), "to_text", "family", "at most 36 symbols a level", list(family.sizes))
    for level, choices in zip(family.probs, family.choice_probs, strict=True):
        equal = all(abs(v - 1 / len(choices)) < 1e-12 for v in choices)
        require(equal, "to_text", "family", "equally probable choices of metadata", list(choices))
        equal = all(abs(v - 1 / len(p)) < 1e-12 for symbols in level for p in symbols for v in p)
        require(equal, "to_text", "family", "equally probable alternatives", "others")
    return ";".join(
        "//".join("/".join("|".join("".join(_DIGITS[c] for c in a) for a in s) for s in group) for group in level)
        for level in family.rules
    )


def random_family(
    sizes: Sequence[int],
    n_choices: int | Sequence[int] = 2,
    n_alternatives: int = 2,
    lengths: Sequence[int] = (2, 3),
    *,
    seed: int,
    distinct: bool = True,
    disjoint: bool = False,
    name: str = "",
) -> GrammarFamily:
    """Draw the rules of a family.

    Args:
        sizes: how many symbols each level has, 1 first.
        n_choices: sets of rules, at every level or for each.
        n_alternatives: of each symbol.
        lengths: how many children a rule can have; each equally often.
        seed: of Python's own generator, so that a seed means the same family everywhere.
        distinct: whether a right-hand side serves at most once in a set, so that it tells its parent.
        disjoint: whether it serves at most once in all sets of a level.
        name: for captions.

    Raises:
        ValueError: there are too few right-hand sides to be distinct or disjoint.
        TypeError: a number that is no integer.
    """
    of_levels = n_choices if isinstance(n_choices, Sequence) else [n_choices]
    given = {"sizes": sizes, "n_choices": of_levels, "lengths": lengths}
    given |= {"n_alternatives": [n_alternatives], "seed": [seed]}
    for argument, numbers in given.items():
        if not all(isinstance(number, int | np.integer) for number in numbers):
            reject("random_family", argument, "integers", list(numbers)[:20], kind=TypeError)
    draw = random.Random(int(seed))
    depth = len(sizes) - 1
    require(depth >= 1 and sizes[0] == 1, "random_family", "sizes", "1 first, then the size of each level", list(sizes))
    require(min(sizes) >= 1, "random_family", "sizes", "positive numbers", list(sizes))
    choices = [n_choices] * depth if isinstance(n_choices, int) else list(n_choices)
    require(len(choices) == depth, "random_family", "n_choices", f"a number, or {depth}", len(choices))
    require(min(choices, default=1) >= 1, "random_family", "n_choices", ">= 1", choices)
    require(n_alternatives >= 1, "random_family", "n_alternatives", ">= 1", n_alternatives)
    require(min(lengths, default=0) >= 1, "random_family", "lengths", "positive numbers", list(lengths))
    rules = []
    for level in range(depth):
        wanted = sizes[level] * n_alternatives * (choices[level] if disjoint else 1)
        possible = sum(sizes[level + 1] ** length for length in set(lengths))
        enough = not (distinct or disjoint) or wanted <= possible
        require(enough, "random_family", "sizes", f"{wanted} different right-hand sides at level {level}", possible)
        used: set[Children] = set()
        groups = []
        for _ in range(choices[level]):
            used = used if disjoint else set()
            group = []
            for _ in range(sizes[level]):
                alternatives: list[Children] = []
                while len(alternatives) < n_alternatives:
                    children = tuple(draw.randrange(sizes[level + 1]) for _ in range(draw.choice(list(lengths))))
                    if (distinct or disjoint) and children in used:
                        continue
                    used.add(children)
                    alternatives.append(children)
                group.append(alternatives)
            groups.append(group)
        rules.append(groups)
    kind = LevelledGrammar if max(choices, default=1) == 1 else GrammarFamily
    return kind(sizes, rules, name=name)


def _children(text: str, whole: str) -> Children:
    bad = not text or any(c not in _DIGITS for c in text)
    require(not bad, "from_text", "text", "alternatives of digits, one a child", repr(text) + f" in {whole[:40]!r}")
    return tuple(_DIGITS.index(c) for c in text)

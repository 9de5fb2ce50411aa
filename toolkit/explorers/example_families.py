"""The families of grammars that lessons show, and one document of each for a seed."""

import functools
import random
from collections.abc import Sequence

from toolkit.core.errors import require
from toolkit.core.plotting import GREEN, GREY, PURPLE, VERMILION, Line
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.named import cfg3b, toy_family
from toolkit.grammars.text import random_family
from toolkit.grammars.trees import Tree

TOY = "toy: 3 levels, 2 choices each"
SMALL = (TOY, "another draw of rules", "a third draw", "9 different tokens", "4 choices each", "no rule in both sets")
"""Families whose documents can all be counted."""
DEEP = "4 levels, 2 choices each"
LARGE = "cfg3b: 6 levels, no choices"
_LEVELS = (  # from the bottom
    Line(GREEN, "-", "^", 2.4),
    Line(VERMILION, (0, (5.0, 1.6)), "s", 2.2),
    Line(PURPLE, (0, (6.0, 1.5, 1.2, 1.5)), "D", 2.2),
    Line(GREY, (0, (1.2, 1.2)), "v", 2.6),
    Line("#8a7a00", (0, (9.0, 2.0)), "o", 2.0),
)
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@functools.cache
def example_family(name: str = TOY) -> GrammarFamily:
    """Return a family by the name that lists show.

    Args:
        name: one of ``SMALL``, ``DEEP`` or ``LARGE``.

    Raises:
        ValueError: no such name.
    """
    known = (*SMALL, DEEP, LARGE)
    require(name in known, "example_family", "name", f"one of {known}", repr(name))
    if name == TOY:
        return toy_family()
    if name == LARGE:
        return cfg3b()
    if name == DEEP:
        return random_family([1, 3, 3, 3, 3], 2, seed=1)
    made = {
        "another draw of rules": ([1, 3, 3, 3], 2, 2, False),
        "a third draw": ([1, 3, 3, 3], 2, 3, False),
        "9 different tokens": ([1, 3, 3, 9], 2, 1, False),
        "4 choices each": ([1, 3, 3, 3], 4, 1, False),
        "no rule in both sets": ([1, 3, 3, 3], 2, 1, True),
    }
    sizes, n_choices, seed, disjoint = made[name]
    return random_family(sizes, n_choices, seed=seed, disjoint=disjoint)


def choice_name(level: int, choice: int | None = None) -> str:
    """Return how the choice of a level is written: ``j₁``, or ``j₁ = 0``."""
    name = f"j{str(level).translate(_SUBSCRIPTS)}"
    return name if choice is None else f"{name} = {choice}"


def level_name(family: GrammarFamily, level: int) -> str:
    """Return a level in words, the two ends by their place."""
    place = {0: " (top)", family.depth - 1: " (bottom)"}.get(level, "") if family.depth > 1 else ""
    return f"level {level}{place}"


def level_line(family: GrammarFamily, level: int) -> Line:
    """Return the line of a level, counted from the bottom; neither black nor blue, which mean something elsewhere."""
    return _LEVELS[(family.depth - 1 - level) % len(_LEVELS)]


@functools.lru_cache(maxsize=512)
def derive(family: GrammarFamily, metadata: tuple[int, ...], seed: int) -> Tree:
    """Draw one document such that other metadata below a level leave the tree above it as it is.

    A node's draw depends on the seed, its level and its place in the level only.

    Args:
        family: of grammars.
        metadata: a choice for each level.
        seed: of the draws.
    """
    rows: list[list[tuple[int, int]]] = []  # of each level: symbols and the alternatives that rewrite them
    symbols = [0]
    for level, choice in enumerate(metadata):
        draws = random.Random(1_000_003 * seed + level)
        rows.append(
            [
                (symbol, draws.choices(range(len(p)), p)[0])
                for symbol in symbols
                for p in [family.probs[level][choice][symbol]]
            ]
        )
        symbols = [child for symbol, which in rows[-1] for child in family.rules[level][choice][symbol][which]]
    below: list[Tree | str] = [family.terminals[symbol] for symbol in symbols]
    for level in reversed(range(family.depth)):
        choice, start, nodes = metadata[level], 0, []
        for symbol, which in rows[level]:
            end = start + len(family.rules[level][choice][symbol][which])
            probability = family.probs[level][choice][symbol][which]
            nodes.append(Tree(family.symbol_name(level, symbol), below[start:end], level, symbol, probability))
            start = end
        below = list(nodes)
    root = below[0]
    assert isinstance(root, Tree)
    return root


def tokens_of(family: GrammarFamily, tree: Tree) -> list[int]:
    """Return the tokens of a tree as numbers."""
    index = {name: token for token, name in enumerate(family.terminals)}
    return [index[name] for name in tree.leaves()]


def draw_metadata(family: GrammarFamily, seed: int) -> tuple[int, ...]:
    """Draw a choice for each level."""
    draws = random.Random(seed)
    return tuple(draws.choices(range(len(p)), p)[0] for p in family.choice_probs)


def metadata_words(metadata: Sequence[int]) -> str:
    """Return choices as text, ``(0, 1, 1)``."""
    return f"({', '.join(map(str, metadata))})"

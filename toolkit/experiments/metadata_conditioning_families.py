"""The families of the study of metadata conditioning, by name, by recipe, or written out."""

import re
from functools import cache

from toolkit.core.errors import argument_error, require
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.named import NAMED, named_family
from toolkit.grammars.text import from_text, random_family

MOST_GRAMMARS = 256
"""Values that metadata may take: exact beliefs are kept for each, after every prefix of every held-out sentence."""

_EXPECTED = (
    f"a name ({', '.join(NAMED)}), a recipe as 1-3-3-3-9:K=2:seed=1 (sizes of the levels; sets of rules a level, or "
    "K=4-4-1-1; alternatives=2; lengths=2-3; disjoint), or the compact text of a family"
)


@cache
def find_family(name: str) -> GrammarFamily:
    """Return a family from how a command line says it.

    Args:
        name: ``"toy"``; ``"1-3-3-3-9:K=2:seed=1"``, where the rules are drawn by
            :func:`toolkit.grammars.text.random_family`; or the compact form of
            :func:`toolkit.grammars.text.from_text`, which has a semicolon between levels.

    Raises:
        ValueError: none of these, or more values of the metadata than :data:`MOST_GRAMMARS`.
    """
    if ";" in name:
        family = from_text(name)
    elif name in NAMED:
        family = named_family(name)
    else:
        family = _from_recipe(name)
    n = family.n_grammars
    require(n <= MOST_GRAMMARS, "find_family", "name", f"at most {MOST_GRAMMARS} values of the metadata", n)
    return family


def _from_recipe(name: str) -> GrammarFamily:
    sizes, *options = name.split(":")
    given: dict[str, tuple[int, ...]] = {"K": (2,), "seed": (1,), "alternatives": (2,), "lengths": (2, 3)}
    disjoint = False
    for option in options:
        key, _, value = option.partition("=")
        if option == "disjoint":
            disjoint = True
        elif key in given:
            given[key] = _numbers(value, name)
        else:
            raise argument_error("find_family", "name", _EXPECTED, repr(name))
    single = len(given["seed"]) == 1 == len(given["alternatives"])
    require(single, "find_family", "name", "one seed and one number of alternatives", repr(name))
    levels = _numbers(sizes, name)
    require(len(levels) >= 2 and levels[0] == 1, "find_family", "name", _EXPECTED, repr(name))
    require(min(levels) >= 1, "find_family", "name", "positive sizes", repr(name))
    choices = given["K"] if len(given["K"]) > 1 else given["K"] * (len(levels) - 1)
    return random_family(
        levels,
        choices,
        given["alternatives"][0],
        given["lengths"],
        seed=given["seed"][0],
        disjoint=disjoint,
        name=name,
    )


def _numbers(text: str, name: str) -> tuple[int, ...]:
    require(re.fullmatch(r"\d{1,9}(-\d{1,9})*", text) is not None, "find_family", "name", _EXPECTED, repr(name))
    return tuple(map(int, text.split("-")))

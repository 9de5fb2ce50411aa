"""Families that go by a name."""

from collections.abc import Callable
from functools import cache

from toolkit.core.errors import reject
from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.text import from_text


@cache
def toy_family() -> GrammarFamily:
    """Return eight small grammars of three levels, each level with two sets of rules; 8 to 27 tokens of a, b and c.

    The bottom level shows in the first tokens, the top level near the end: small enough to write down all 16,730
    sentences, large enough that metadata matter.
    """
    return from_text(
        "20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22",
        name="toy",
    )


@cache
def cfg3b() -> LevelledGrammar:
    """Return the grammar cfg3b of Allen-Zhu and Li (arXiv 2305.13673): 138 to 432 tokens, hardly ambiguous."""
    return _released(
        "cfg3b",
        "21|10;012|120/102|01/20|021;20|021/102|201/210|10;12|21/102|012/210|120;"
        "021|210/102|012/120|201;20|012/21|201/210|10",
    )


@cache
def cfg3f() -> LevelledGrammar:
    """Return the grammar cfg3f of Allen-Zhu and Li (arXiv 2305.13673): 64 to 729 tokens, very ambiguous."""
    return _released(
        "cfg3f",
        "12|102|200|11;202|12|22/00|01|102/21|10|012|02;"
        "22|020|10|11/210|12|21/120|200|02;12|212|021/02|202|21|022/011|110|00|221;"
        "122|202|022/11|20|200/020|21|112;110|211|201|21/200|01|220/010|22|00",
    )


NAMED: dict[str, Callable[[], GrammarFamily]] = {"toy": toy_family, "cfg3b": cfg3b, "cfg3f": cfg3f}
"""What :func:`named` knows."""


def named_family(name: str) -> GrammarFamily:
    """Return the family of a name.

    Others of the cfg3 grammars are read from the files of their authors' code:
    :meth:`GrammarFamily.from_physicslm4_json`.

    Raises:
        ValueError: no such name.
    """
    if name not in NAMED:
        others = "others of the cfg3 grammars are read from their files by GrammarFamily.from_physicslm4_json"
        reject("named_family", "name", f"one of {', '.join(NAMED)}; {others}", repr(name))
    return NAMED[name]()


def _released(name: str, text: str) -> LevelledGrammar:
    # The tables of rules are those of facebookresearch/PhysicsLM4, data-synthetic-pretrain/Lano-cfg/configs,
    # copyright Meta Platforms, Inc. and affiliates, under the Apache License 2.0, in our own notation.
    family = from_text(text, terminals=("1", "2", "3"), name=name)
    assert isinstance(family, LevelledGrammar)
    return family

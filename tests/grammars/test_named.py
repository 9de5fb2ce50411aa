"""The named grammars are the published ones: their exact lengths and entropies."""

from fractions import Fraction

import pytest
import torch

from toolkit.grammars.families import LevelledGrammar
from toolkit.grammars.inference import infer
from toolkit.grammars.named import NAMED, cfg3b, cfg3f, named_family, toy_family


@pytest.mark.parametrize(
    ("grammar", "n_rules", "mean", "spread", "shortest", "longest", "entropy", "per_token"),
    [
        (cfg3b(), 32, Fraction(2205, 8), 41.709, 138, 432, 117.315160, 0.424095),
        (cfg3f(), 54, Fraction(5181103, 20736), 69.382, 64, 729, 186.221346, 0.742331),
    ],
    ids=["cfg3b", "cfg3f"],
)
def test_the_table_of_the_cfg3_grammars(grammar, n_rules, mean, spread, shortest, longest, entropy, per_token):
    assert isinstance(grammar, LevelledGrammar)
    assert grammar.sizes == (1, 3, 3, 3, 3, 3, 3) and grammar.terminals == ("1", "2", "3")
    assert sum(len(symbol) for level in grammar.rules for group in level for symbol in group) == n_rules
    assert grammar.expected_length() == mean
    assert (grammar.shortest, grammar.longest) == (shortest, longest)
    assert abs(grammar.entropy() - entropy) < 1e-6
    assert abs(grammar.entropy() / (float(mean) + 1) - per_token) < 1e-6
    p = grammar.length_distribution().numpy()
    lengths = range(len(p))
    assert abs(p @ lengths - float(mean)) < 1e-9
    assert abs((p @ [(n - float(mean)) ** 2 for n in lengths]) ** 0.5 - spread) < 1e-3


def test_the_rules_of_cfg3b_are_those_printed():
    printed = """
        22: 21 20 | 20 19
        19: 16 17 18 | 17 18 16   20: 17 16 18 | 16 17      21: 18 16 | 16 18 17
        16: 15 13 | 13 15 14      17: 14 13 15 | 15 13 14   18: 15 14 13 | 14 13
        13: 11 12 | 12 11         14: 11 10 12 | 10 11 12   15: 12 11 10 | 11 12 10
        10: 7 9 8 | 9 8 7         11: 8 7 9 | 7 8 9         12: 8 9 7 | 9 7 8
        7: 3 1 | 1 2 3            8: 3 2 | 3 1 2            9: 3 2 1 | 2 1
    """
    first = [22, 19, 16, 13, 10, 7, 1]
    words, parent = printed.split(), 0
    found: dict[int, list[list[int]]] = {}
    for word in words:
        if word.endswith(":"):
            parent = int(word[:-1])
            found[parent] = [[]]
        elif word == "|":
            found[parent].append([])
        else:
            found[parent][-1].append(int(word))
    grammar = cfg3b()
    for level in range(6):
        for symbol in range(grammar.sizes[level]):
            expected = [tuple(child - first[level + 1] for child in right) for right in found[first[level] + symbol]]
            assert list(grammar.rules[level][0][symbol]) == expected


def test_the_toy_family():
    family = toy_family()
    assert family.n_choices == (2, 2, 2) and family.sizes == (1, 3, 3, 3)
    assert (family.shortest, family.longest) == (8, 27)
    assert family.expected_length() == Fraction(513, 32)


def test_names():
    for name, make in NAMED.items():
        assert named_family(name) is make() and make().name == name
    with pytest.raises(ValueError, match="toy"):
        named_family("cfg9z")


def test_the_sentence_that_the_public_code_prints_for_cfg3f_is_one():
    """What ``generate_onedata_pure`` writes with Python's seed 7711, as the demonstrations of the code show it."""
    printed = """
        333311213123221233121312121221221332213311211213233312121233133133113113113311132212112121213333112331112131
        211111233221312322121312113221131233121331211323223123331231131111123113111212122133331233112111221121312111
        11213221112112311331311311121113222211133311311113113111213222112121131112112213123111111
    """
    tokens = torch.tensor([int(token) - 1 for token in "".join(printed.split())])
    changed = tokens.clone()
    changed[0] = (changed[0] + 1) % 3
    assert infer(cfg3f(), [tokens, changed]).member.flatten().tolist() == [True, False]

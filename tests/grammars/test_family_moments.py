"""Exact lengths and entropies against writing every derivation down."""

import itertools
import math
from fractions import Fraction

import pytest
import torch

from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.named import toy_family
from toolkit.grammars.text import from_text, random_family


def derivations(family: GrammarFamily, choices: tuple[int, ...]) -> list[tuple[int, float]]:
    """Return length and probability of every derivation of one grammar."""

    def below(level: int, symbol: int) -> list[tuple[int, float]]:
        if level == family.depth:
            return [(1, 1.0)]
        choice = choices[level]
        return [
            (sum(n for n, _ in parts), math.prod((p, *(part for _, part in parts))))
            for children, p in zip(
                family.rules[level][choice][symbol], family.probs[level][choice][symbol], strict=True
            )
            for parts in itertools.product(*(below(level + 1, child) for child in children))
            if p > 0
        ]

    return below(0, 0)


def uneven() -> GrammarFamily:
    rules = [[[[(0,), (1, 0, 1)]], [[(1, 1), (0,)]]], [[[(0,), (1, 2)], [(2, 1), (0,)]], [[(2,)], [(1,), (0, 0, 0)]]]]
    probs = [[[[0.2, 0.8]], [[1.0, 0.0]]], [[[0.6, 0.4], [0.25, 0.75]], [[1.0], [1 / 3, 2 / 3]]]]
    return GrammarFamily((1, 2, 3), rules, probs, choice_probs=[(0.1, 0.9), (0.7, 0.3)])


@pytest.mark.parametrize(
    "family", [toy_family(), uneven(), from_text("01|1"), random_family((1, 2, 3, 2), 2, 2, (1, 3), seed=4)], ids=str
)
def test_against_all_derivations(family):
    length, entropy = 0.0, 0.0
    distribution = torch.zeros(family.longest + 1, dtype=torch.float64)
    for choices in itertools.product(*(range(k) for k in family.n_choices)):
        weight = math.prod(family.choice_probs[level][choice] for level, choice in enumerate(choices))
        grammar, one, plain = family.grammar(choices), 0.0, 0.0
        for n, p in derivations(family, choices):
            one += n * p
            plain -= p * math.log(p)
            distribution[n] += weight * p
        assert abs(float(grammar.expected_length()) - one) < 1e-12 * one
        assert abs(grammar.entropy() - plain) < 1e-11
        length, entropy = length + weight * one, entropy + weight * plain
    assert abs(float(family.expected_length()) - length) < 1e-12 * length
    assert abs(family.entropy() - entropy) < 1e-11
    found = family.length_distribution()
    assert found.dtype == torch.float64 and found.shape == distribution.shape
    assert float((found - distribution).abs().max()) < 1e-13
    assert float(found[family.shortest]) > 0 and float(found[family.longest]) > 0
    assert float(found[: family.shortest].sum()) == 0


def test_lengths_are_exact_fractions_of_what_the_probabilities_stand_for():
    def mean(*p: float) -> Fraction:
        rules = [[[[(0,) * (n + 1) for n in range(len(p))]]]]
        return LevelledGrammar((1, 1), rules, [[[p]]]).expected_length()

    assert mean(1 / 3, 2 / 3) == Fraction(5, 3)
    assert mean(0.1, 0.2, 0.7) == Fraction(26, 10)
    assert mean(1 / 7, 1 / 7, 5 / 7) == Fraction(18, 7)
    assert mean(0.0, 1.0) == 2
    odd = 0.1234567890123
    assert mean(odd, 1 - odd) == 2 - Fraction(odd) / (Fraction(odd) + Fraction(1 - odd))
    assert from_text("0|00|000").expected_length() == 2


def test_metadata_weigh_the_lengths_exactly():
    assert GrammarFamily((1, 1), [[[[(0,)]], [[(0,) * 4]]]], choice_probs=[(0.9, 0.1)]).expected_length() == Fraction(
        13, 10
    )


def test_a_grammar_without_choice_has_no_entropy():
    grammar = from_text("01;00/11")
    assert grammar.entropy() == 0
    assert grammar.length_distribution().tolist() == [0, 0, 0, 0, 1]

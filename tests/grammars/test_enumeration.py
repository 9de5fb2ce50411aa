"""Every sentence of a small family, once, with its probability in each grammar."""

import math

import pytest
import torch

from toolkit.grammars.enumeration import enumerate_sentences, sentence_entropy
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.named import toy_family
from toolkit.grammars.text import from_text

TOY = "20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22"


def test_by_hand():
    # S -> A B | B A (choice 0), S -> A A (choice 1); A -> 0 | 1 with 1/4 and 3/4, B -> 1.
    rules = [[[[(0, 1), (1, 0)]], [[(0, 0)]]], [[[(0,), (1,)], [(1,)]]]]
    probs = [[[[0.5, 0.5]], [[1.0]]], [[[0.25, 0.75], [1.0]]]]
    family = GrammarFamily((1, 2, 2), rules, probs, choice_probs=[[0.2, 0.8], [1.0]])
    found = enumerate_sentences(family)
    table = {tuple(found.documents[i].tolist()): found.log_prob[i].exp().tolist() for i in range(len(found))}
    expected = {
        (0, 0): [0.0, 1 / 16],
        (0, 1): [1 / 8, 3 / 16],
        (1, 0): [1 / 8, 3 / 16],
        (1, 1): [3 / 4, 9 / 16],
    }
    assert list(table) == sorted(expected)
    for sentence, probabilities in expected.items():
        assert table[sentence] == pytest.approx(probabilities, abs=1e-15)
    assert found.probability.tolist() == pytest.approx([0.05, 0.175, 0.175, 0.6], abs=1e-15)
    assert found.to_dict()["sentences"][0] == [0, 0]


def test_ambiguous_sentences_sum_over_their_trees_and_impossible_rules_do_not_count():
    rules = [[[[(0, 1), (1, 0), (0, 0)]]], [[[(0,)], [(0,)]]]]
    family = GrammarFamily((1, 2, 1), rules, [[[[0.5, 0.5, 0.0]]], [[[1.0], [1.0]]]])
    found = enumerate_sentences(family)
    assert len(found) == 1 and found.log_prob.tolist() == [[0.0]]


def test_the_public_example():
    family = from_text(TOY)
    found = enumerate_sentences(family)
    sizes = (found.log_prob > -math.inf).sum(0)
    assert (len(found), int(sizes.min()), int(sizes.max())) == (16_730, 912, 3264)
    assert torch.allclose(found.log_prob.exp().sum(0), torch.ones(8, dtype=torch.float64), atol=1e-12)
    p = found.probability
    assert float(-(p * p.log()).sum()) == pytest.approx(8.8566986794, abs=1e-9)
    assert float((p * found.documents.lengths).sum()) == pytest.approx(16.03125, abs=1e-12)
    given_all = found.log_prob.exp() * torch.where(found.log_prob > -math.inf, found.log_prob, 0.0)
    assert float(-given_all.sum() / 8) == pytest.approx(6.8231675586, abs=1e-9)


def test_large_families_are_refused_before_memory_ends():
    with pytest.raises(ValueError, match=r"enumerate_sentences.*\n.*at most 1000 sentences"):
        enumerate_sentences(from_text(TOY), most=1000)
    deep = from_text(";".join(["01|10", *["01|10|011/10|11|110"] * 8]))
    with pytest.raises(ValueError, match="enumerate_sentences"):
        enumerate_sentences(deep, most=50_000)


def test_what_the_best_reader_loses_when_levels_are_told():
    family = toy_family()
    everything = enumerate_sentences(family)
    expected = (8.8566986794, 8.1983760028, 7.5163147392, 6.8231675586)
    assert [sentence_entropy(everything, family, m) for m in range(4)] == pytest.approx(expected, abs=1e-9)


def test_entropy_under_unequal_choices_equals_a_loop():
    family = GrammarFamily(
        (1, 2, 2),
        [[[[(0, 1), (1,)]], [[(1, 0)]]], [[[(0,), (1, 1)], [(1,)]], [[(1,)], [(0, 0)]]]],
        choice_probs=[[0.3, 0.7], [1.0, 0.0]],
    )
    everything = enumerate_sentences(family)
    for known in range(3):
        total = 0.0
        for row in everything.log_prob.tolist():
            weights = [math.exp(v) * w for v, w in zip(row, family.metadata_log_prob.exp().tolist(), strict=True)]
            for value in {tuple(j[:known]) for j in family.all_metadata.tolist()}:
                here = [
                    w for w, j in zip(weights, family.all_metadata.tolist(), strict=True) if tuple(j[:known]) == value
                ]
                prior = math.prod(family.choice_probs[level][choice] for level, choice in enumerate(value))
                if sum(here) > 0:
                    total -= sum(here) * math.log(sum(here) / prior)
        assert sentence_entropy(everything, family, known) == pytest.approx(total, abs=1e-12)

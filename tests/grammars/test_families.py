"""What a family is made of, and what it refuses."""

import copy
import math
import pickle

import pytest
import torch

from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.named import cfg3b, toy_family
from toolkit.grammars.text import from_text


def plain(**changes):
    """Return a small family, with some arguments changed."""
    kept = {"sizes": (1, 2), "rules": [[[[(0,), (1, 0)]], [[(1,)]]]]} | changes
    return GrammarFamily(kept.pop("sizes"), kept.pop("rules"), **kept)


def test_defaults_are_equal_chances_and_letters():
    family = plain()
    assert family.probs == ((((0.5, 0.5),), ((1.0,),)),)
    assert family.choice_probs == ((0.5, 0.5),) and family.terminals == ("a", "b")
    assert (family.depth, family.n_terminals, family.n_choices, family.n_grammars) == (1, 2, (2,), 2)


def test_metadata_in_their_order():
    family = toy_family()
    assert family.all_metadata.tolist() == [[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    assert family.metadata_index(family.all_metadata).tolist() == list(range(8))
    assert torch.allclose(family.metadata_log_prob, torch.full((8,), -math.log(8), dtype=torch.float64))
    single = plain()
    assert single.all_metadata.tolist() == [[0], [1]] and single.metadata_index(torch.tensor([[1]])).tolist() == [1]
    assert cfg3b().all_metadata.tolist() == [[0] * 6]
    assert plain(choice_probs=[(0.0, 1.0)]).metadata_log_prob.tolist() == [-math.inf, 0.0]


def test_one_grammar_of_a_family():
    grammar = toy_family().grammar([1, 0, 1])
    assert isinstance(grammar, LevelledGrammar) and grammar.name == "toy(1, 0, 1)"
    assert [level[0] for level in grammar.rules] == [toy_family().rules[level][c] for level, c in enumerate((1, 0, 1))]
    assert toy_family().grammar(torch.tensor([0, 0, 0])).terminals == ("a", "b", "c")
    assert cfg3b().grammar([0] * 6).name == "cfg3b"
    for wrong in ([0, 0], [0, 0, 2], [0, 0, -1]):
        with pytest.raises(ValueError, match="metadata"):
            toy_family().grammar(wrong)


def test_lengths_where_symbols_share_their_choices():
    # Two symbols: with the first set one is long and the other short, with the second the other way round.
    family = from_text("01;0000/0//0/0000")
    assert (family.shortest, family.longest) == (5, 5)
    impossible = LevelledGrammar((1, 1), [[[[(0,), (0, 0), (0, 0, 0)]]]], [[[[0.0, 1.0, 0.0]]]])
    assert (impossible.shortest, impossible.longest) == (2, 2)
    assert (toy_family().shortest, toy_family().longest) == (8, 27)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda family: pickle.loads(pickle.dumps(family))])
def test_copies_hold_the_rules_and_nothing_made_from_them(copied):
    family = from_text("01|1;0/1//1/0", name="small")
    drawn = family.sample(9, device="cpu", generator=torch.Generator().manual_seed(0))
    again = copied(family)
    assert set(vars(again)) == {"sizes", "rules", "probs", "choice_probs", "terminals", "name"}
    same = again.sample(9, device="cpu", generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn.values, same.values) and again.name == "small"


def test_names_of_symbols():
    family = cfg3b()
    assert [family.symbol_name(level, 0) for level in range(7)] == ["S", "A0", "B0", "C0", "D0", "E0", "1"]
    assert repr(toy_family()) == "GrammarFamily(toy: sizes [1, 3, 3, 3], 8 grammars, 8 to 27 tokens)"
    assert repr(family) == "LevelledGrammar(cfg3b: sizes [1, 3, 3, 3, 3, 3, 3], 1 grammar, 138 to 432 tokens)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": (1,)}, "the size of each level"),
        ({"sizes": (2, 2)}, "a single root"),
        ({"sizes": (1, 0)}, "positive"),
        ({"rules": []}, "1 levels"),
        ({"rules": [[]]}, "a set of rules at level 0"),
        ({"rules": [[[]]]}, "1 symbols"),
        ({"rules": [[[[]]]]}, "an alternative"),
        ({"rules": [[[[()]]]]}, "children in every alternative"),
        ({"rules": [[[[(2,)]]]]}, "children from 0 to 1"),
        ({"rules": [[[[(-1,)]]]]}, "children from 0 to 1"),
        ({"probs": []}, "1 levels"),
        ({"probs": [[[[0.5, 0.5]]]]}, "2 sets"),
        ({"probs": [[[], [[1.0]]]]}, "1 symbols"),
        ({"probs": [[[[1.0]], [[1.0]]]]}, "2 probabilities that add up to 1"),
        ({"probs": [[[[0.5, 0.4]], [[1.0]]]]}, "add up to 1"),
        ({"probs": [[[[1.5, -0.5]], [[1.0]]]]}, "add up to 1"),
        ({"probs": [[[[math.nan, 1.0]], [[1.0]]]]}, "add up to 1"),
        ({"probs": [[[[math.inf, 0.0]], [[1.0]]]]}, "add up to 1"),
        ({"choice_probs": [(1.0,)]}, "2 probabilities"),
        ({"choice_probs": [(0.5, 0.6)]}, "add up to 1"),
        ({"choice_probs": []}, "1 levels"),
        ({"terminals": ("a",)}, "2 different names"),
        ({"terminals": ("a", "a")}, "2 different names"),
        ({"terminals": ("a", "")}, "2 different names"),
    ],
)
def test_what_is_no_family(changes, message):
    with pytest.raises(ValueError, match=message):
        plain(**changes)


def test_children_that_are_no_integers():
    with pytest.raises(TypeError, match=r"integers|Type-check"):
        plain(rules=[[[[(0.5,)]]]])


def test_a_grammar_has_no_choice():
    with pytest.raises(ValueError, match="one set a level"):
        LevelledGrammar((1, 2), [[[[(0,)]], [[(1,)]]]])


def test_lengths_of_more_grammars_than_can_be_counted() -> None:
    """What is nowhere better is not carried along: these are three billion combinations."""
    family = GrammarFamily.random([1, *[3] * 20], 3, 2, (1, 2), seed=0)
    assert family.n_grammars == 3**20 and (family.shortest, family.longest) == (1, 2**20)
    with pytest.raises(ValueError, match="at most"):
        _ = family.all_metadata
    small = GrammarFamily.random([1, 3, 2, 3, 2], 3, 2, (1, 2, 4), seed=5)
    parts = [small.grammar(row) for row in small.all_metadata.tolist()]
    assert small.shortest == min(part.shortest for part in parts)
    assert small.longest == max(part.longest for part in parts)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GrammarFamily([1, 2], [[[[[0], [1, 1]]]]], [[[["a", "b"]]]]),
        lambda: GrammarFamily([1, 2], [[[[[0], [1, 1]]]]], [[[1]]]),
        lambda: GrammarFamily([1, 2], [[[[[0]]], [[[1]]]]], choice_probs=[0.5]),
        lambda: GrammarFamily([1, 2], [[[[[0]]]]]).sample(1, "0"),
    ],
)
def test_what_is_no_number_or_not_nested_is_one_clear_error(make) -> None:
    with pytest.raises((TypeError, ValueError), match="bad argument"):
        make()

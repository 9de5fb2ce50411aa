"""The compact form and families drawn at random."""

from typing import Any, cast

import pytest

from toolkit.grammars.families import GrammarFamily, LevelledGrammar
from toolkit.grammars.named import cfg3b, cfg3f, toy_family
from toolkit.grammars.text import from_text, random_family, to_text


def test_the_parts_of_the_form():
    family = from_text("01|1//0 ; 2|01 / 1//\n 0|1 / 22")
    assert family.sizes == (1, 2, 3) and family.n_choices == (2, 2)
    assert family.rules[0] == ((((0, 1), (1,)),), (((0,),),))
    assert family.rules[1] == ((((2,), (0, 1)), ((1,),)), (((0,), (1,)), ((2, 2),)))
    assert not isinstance(family, LevelledGrammar)
    assert isinstance(from_text("01;0/1"), LevelledGrammar)


@pytest.mark.parametrize("family", [toy_family(), cfg3b(), cfg3f(), random_family((1, 2, 36), 3, 2, seed=0)], ids=str)
def test_there_and_back(family):
    again = from_text(family.to_text(), terminals=family.terminals)
    assert again.rules == family.rules and again.sizes == family.sizes and again.probs == family.probs
    assert GrammarFamily.from_text(to_text(family), terminals=family.terminals).rules == family.rules


def test_letters_count_on_from_ten():
    family = from_text("0z|a9")
    assert family.rules[0][0][0] == ((0, 35), (10, 9)) and family.n_terminals == 36
    assert len(family.terminals) == 36 and family.terminals[0] == "t0"


def test_terminals_that_no_rule_uses_may_be_named():
    assert from_text("01", terminals=("x", "y", "z")).n_terminals == 3
    with pytest.raises(ValueError, match="children from 0 to 0"):
        from_text("01", terminals=("x",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "alternatives of digits"),
        ("0|", "alternatives of digits"),
        ("0||1", "alternatives of digits"),
        ("01;0/", "alternatives of digits"),
        ("01;0//", "alternatives of digits"),
        ("0;;0", "alternatives of digits"),
        ("0A", "alternatives of digits"),
        ("0-1", "alternatives of digits"),
        ("01//0/1;0/1", "1 symbols in every set"),
        ("0/1;0/1", "1 first"),
        ("02;0/1", "children from 0 to 1"),
    ],
)
def test_what_is_no_family(text, message):
    with pytest.raises(ValueError, match=message):
        from_text(text)


def test_what_the_form_has_no_room_for():
    uneven = LevelledGrammar((1, 2), [[[[(0,), (1,)]]]], [[[[0.3, 0.7]]]])
    with pytest.raises(ValueError, match="equally probable"):
        uneven.to_text()
    chosen = GrammarFamily((1, 2), [[[[(0,)]], [[(1,)]]]], choice_probs=[(0.3, 0.7)])
    with pytest.raises(ValueError, match="equally probable"):
        chosen.to_text()
    with pytest.raises(ValueError, match="at most 36"):
        LevelledGrammar((1, 37), [[[[(0,), (36,)]]]]).to_text()


def test_the_toy_family_can_be_drawn():
    # a recipe and a seed that anybody can follow: Python's generator, length first, then child by child
    assert to_text(random_family((1, 3, 3, 3), 2, seed=1)) == to_text(toy_family())


@pytest.mark.parametrize("seed", range(5))
def test_random_families_are_as_ordered(seed):
    family = GrammarFamily.random((1, 4, 3, 5), (1, 3, 2), 3, (1, 2, 4), seed=seed, disjoint=True, name="drawn")
    assert family.sizes == (1, 4, 3, 5) and family.n_choices == (1, 3, 2) and family.name == "drawn"
    for level in family.rules:
        right = [children for group in level for symbol in group for children in symbol]
        assert len(set(right)) == len(right) and {len(children) for children in right} <= {1, 2, 4}
        assert all(len(symbol) == 3 for group in level for symbol in group)
    again = GrammarFamily.random((1, 4, 3, 5), (1, 3, 2), 3, (1, 2, 4), seed=seed, disjoint=True)
    assert again.rules == family.rules


def test_distinct_right_hand_sides_tell_their_parent():
    apart = random_family((1, 3, 3, 3), 4, seed=2)
    for level in apart.rules:
        for group in level:
            right = [children for symbol in group for children in symbol]
            assert len(set(right)) == len(right)


def test_every_right_hand_side_there_is_can_be_asked_for():
    family = random_family((1, 6, 2), 1, 2, (2, 3), seed=0)
    assert len({children for symbol in family.rules[1][0] for children in symbol}) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1, 7, 2), 1, 2), "14 different right-hand sides"),
        (((1, 3, 3), 0), ">= 1"),
        (((1, 3, 3), (1, 2, 3)), "a number, or 2"),
        (((1, 3, 3), 2, 0), ">= 1"),
        (((1, 3, 3), 2, 2, ()), "positive numbers"),
        (((1, 3, 3), 2, 2, (0, 2)), "positive numbers"),
        (((2, 3, 3),), "1 first, then"),
        (((1,),), "1 first, then"),
        (((1, 0, 3),), "positive numbers"),
        (((),), "1 first, then"),
    ],
)
def test_families_that_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=message):
        random_family(*arguments, seed=0)


def test_what_is_no_text_or_no_integer_is_one_clear_error() -> None:
    with pytest.raises(TypeError):
        from_text(cast(Any, None))
    for wrong in ({"seed": None}, {"seed": "a"}, {"seed": 0, "lengths": (2.5,)}, {"seed": 0, "n_choices": 2.5}):
        with pytest.raises(TypeError):
            random_family([1, 2, 3], **cast(Any, wrong))

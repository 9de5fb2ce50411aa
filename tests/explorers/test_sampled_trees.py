"""Documents and their trees: rules of the metadata only, shared tops, draws of the right law, every family drawn."""

import random
from collections import Counter

import pytest

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_sampled_trees
from toolkit.explorers.example_families import DEEP, LARGE, SMALL, TOY, derive, draw_metadata, example_family, tokens_of
from toolkit.explorers.metadata_control import MetadataControl
from toolkit.explorers.sampled_trees import compute, describe, draw
from toolkit.grammars.families import GrammarFamily


def test_a_tree_uses_rules_of_its_metadata_only():
    for name in (TOY, "4 choices each", DEEP):
        family = example_family(name)
        for seed in range(20):
            metadata = draw_metadata(family, seed)
            tree = derive(family, metadata, seed)
            for node in tree.nodes():
                below = {family.symbol_name(node.level + 1, s): s for s in range(family.sizes[node.level + 1])}
                children = tuple(below[c if isinstance(c, str) else c.label] for c in node.children)
                alternatives = family.rules[node.level][metadata[node.level]][node.symbol]
                assert children in alternatives and node.probability == pytest.approx(1 / len(alternatives))


@pytest.mark.parametrize("level", [0, 1, 2])
def test_another_choice_leaves_what_stands_above_it(level):
    family = example_family()
    changed = 0
    for seed in range(30):
        one, other = ([0, 1, 1], [0, 1, 1])
        other[level] = 1 - other[level]
        labels = [
            [node.label for node in derive(family, tuple(m), seed).nodes() if node.level <= level] for m in (one, other)
        ]
        assert labels[0] == labels[1]
        changed += derive(family, tuple(one), seed).leaves() != derive(family, tuple(other), seed).leaves()
    assert changed > 20


def test_draws_follow_their_probabilities():
    family = GrammarFamily([1, 1, 3], [[[[(0, 0)]]], [[[(0,), (1,), (2, 2)]]]], probs=[[[[1.0]]], [[[0.5, 0.3, 0.2]]]])
    counts = Counter("".join(derive(family, (0, 0), seed).leaves()) for seed in range(2000))
    p = {"a": 0.5, "b": 0.3, "cc": 0.2}
    expected = {x + y: 2000 * p[x] * p[y] for x in p for y in p}
    statistic = sum((counts[key] - value) ** 2 / value for key, value in expected.items())
    assert set(counts) == set(expected) and statistic < 26.1  # 0.1 % of chi-squared with 8 degrees of freedom


def test_metadata_are_drawn_with_their_probabilities():
    family = GrammarFamily([1, 1], [[[[(0,)]], [[(0, 0)]], [[(0, 0, 0)]]]], choice_probs=[[0.5, 0.5, 0.0]])
    drawn = Counter(draw_metadata(family, seed) for seed in range(1000))
    assert set(drawn) == {(0,), (1,)} and 430 < drawn[(0,)] < 570


def test_rules_that_are_used_are_those_in_the_tree():
    found = compute(TOY, (0, 1, 1), 1, 1)
    assert [line for line, used in found.rules(0, 0) if used] == ["S → A0 A1 A1"]
    assert not any(used for _, used in found.rules(0, 1))
    assert sum(found.applied) == found.tree.n_nodes and found.applied == [1, 3, 9]
    assert len(found.rules(1, 0)) == 6 and found.to_dict()["tree"]["label"] == "S"
    leaves = found.tree.leaves()
    assert " ".join(leaves) in describe(found) and f"{len(leaves)} tokens" in draw(found).to_string()
    assert tokens_of(found.family, found.tree) == [found.family.terminals.index(leaf) for leaf in leaves]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "none"}, "name"),
        ({"metadata": (0, 0)}, "metadata"),
        ({"metadata": (0, 0, 2)}, "metadata"),
        ({"by_level": 4}, "by_level"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        compute(**arguments)


def test_every_family_at_random_settings():
    view = explore_sampled_trees()
    draws = random.Random(0)
    for name in (*SMALL[3:], DEEP, LARGE, TOY):
        view.controls["name"].value = name
        family = example_family(name)
        assert view.error is None and view.result.family is family
        for _ in range(2):
            view.controls["seed"].value = draws.randint(1, 40)
            view.controls["by_level"].value = draws.randint(1, family.depth - 1)
            for buttons in view.controls["metadata"].levels.values():
                buttons.value = draws.choice(buttons.options)[1]
            found = view.result
            assert view.error is None and not words_outside(view.drawn.svg), view.text
            assert (
                found.metadata == view.controls["metadata"].value and found.by_level == view.controls["by_level"].value
            )
            assert "nan" not in view.drawn.svg.to_string() and "-" not in view.text
    view.controls["name"].value = LARGE
    view.reset()
    assert view.result.name == TOY and view.result.metadata == (0, 1, 1) and view.error is None


def test_metadata_buttons_and_value_follow_each_other():
    control = MetadataControl([2, 1, 3], [1, 0, 2])
    assert set(control.levels) == {0, 2} and control.levels[2].value == 2
    control.levels[2].value = 1
    assert control.value == (1, 0, 1)
    control.value = (0, 0, 0)
    assert control.levels[0].value == 0 and control.levels[2].value == 0
    control.value = (1, 0, 2)
    control.show([2, 2])
    assert control.value == (1, 0) and set(control.levels) == {0, 1}
    control.show([1])
    assert control.value == (0,) and not control.levels and control.children == ()

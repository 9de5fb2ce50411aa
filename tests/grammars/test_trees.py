"""Trees: text and back, probabilities, tokens by their ancestors."""

import json
import math

import pytest

from toolkit.grammars.trees import Tree

TREE = Tree("S", [Tree("A", ["a", "b"], probability=0.5), "c", Tree("E", [], probability=0.25)], probability=0.8)


def test_text_and_back():
    assert TREE.bracketed() == "(S (A a b) c (E ))"
    assert Tree.from_bracketed(TREE.bracketed()) == TREE
    assert Tree.from_bracketed("\n( S\n  (A a\tb) c (E))\n") == TREE


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "(", ")", "'", '"', "\\", "\\'", "new\nline", "Ä→", "'quoted'", "\\n"]
)
def test_every_name_survives_the_text(name):
    tree = Tree(name, [name, Tree(name, [name, name])])
    again = Tree.from_bracketed(tree.bracketed())
    assert again == tree and again.leaves() == [name] * 3 and again.label == name


@pytest.mark.parametrize("text", ["", "  ", "a", "(S a", "(S a))", "(S a) b", "()", "((A a))", "(S 'a)", "(S a) (S a)"])
def test_text_that_is_no_tree(text):
    with pytest.raises(ValueError, match="from_bracketed"):
        Tree.from_bracketed(text)


def test_equality_is_of_labels_and_children():
    other = Tree("S", (Tree("A", ("a", "b")), "c", Tree("E")))
    assert other == TREE and hash(other) == hash(TREE)
    assert other != Tree("S", [Tree("A", ["a", "b"]), Tree("c"), Tree("E")])
    assert other != Tree("S", [Tree("A", ["a"]), "b", "c", Tree("E")])
    assert other != Tree("T", other.children) and other != "S"


def test_numbers_of_a_tree():
    assert TREE.leaves() == ["a", "b", "c"]
    assert TREE.n_nodes == 3 and TREE.height == 2
    assert [node.label for node in TREE.nodes()] == ["S", "A", "E"]
    assert Tree("S").height == 0 and Tree("S").leaves() == []
    assert TREE.log_prob == pytest.approx(math.log(0.8 * 0.5 * 0.25), abs=1e-14)
    assert Tree("S", ["a"], probability=0.0).log_prob == -math.inf
    with pytest.raises(ValueError, match="probability"):
        _ = Tree("S", ["a"]).log_prob


def test_ancestors_of_the_tokens():
    tree = Tree.from_bracketed("(S (A (C a b) (C c)) d (A (C e)))")
    assert tree.ancestors(0) == [0, 0, 0, 0, 0]
    assert tree.ancestors(1) == [0, 0, 0, 1, 2]
    assert tree.ancestors(2) == [0, 0, 1, 2, 3]
    assert tree.ancestors(9) == [0, 1, 2, 3, 4]
    assert Tree("S", [Tree("A"), Tree("B", [Tree("C"), "b"])]).ancestors(1) == [0]
    with pytest.raises(ValueError, match="depth"):
        tree.ancestors(-1)


def test_dictionary_is_plain():
    found = json.loads(json.dumps(TREE.to_dict()))
    assert found["children"][0] == {
        "label": "A",
        "children": ["a", "b"],
        "level": None,
        "symbol": None,
        "probability": 0.5,
    }


def test_bad_children_and_probabilities():
    for children in ("abc", Tree("A"), [1], [None]):
        with pytest.raises(TypeError, match="children"):
            Tree("S", children)
    for probability in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="probability"):
            Tree("S", [], probability=probability)


def test_a_tree_of_four_thousand_levels():
    tree = Tree("A", ["a"], probability=1.0)
    for _ in range(4_000):
        tree = Tree("A", [tree, "b"], probability=0.5)
    assert tree.height == 4_001 and len(tree.leaves()) == 4_001
    assert tree.log_prob == pytest.approx(4_000 * math.log(0.5))
    again = Tree.from_bracketed(tree.bracketed())
    assert tree.ancestors(3) == [0] * 3_998 + [1, 2, 3]
    assert again == tree and hash(again) == hash(tree) and "4001 leaves" in repr(tree)


def test_nltk_reads_and_writes_the_same_trees():
    nltk_tree = pytest.importorskip("nltk.tree")
    theirs = TREE.to_nltk()
    assert isinstance(theirs, nltk_tree.Tree) and theirs.leaves() == TREE.leaves() and theirs.height() == 3
    assert nltk_tree.Tree.fromstring(TREE.bracketed()) == theirs
    assert Tree.from_bracketed(str(theirs)) == TREE

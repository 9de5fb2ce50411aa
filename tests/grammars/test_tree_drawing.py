"""Pictures of trees: tokens stand in order, nothing overlaps or leaves the picture, colours follow the ancestor."""

import itertools
import random

import pytest

from tests.explorers.inside import words_outside
from toolkit.core.text_width import text_width
from toolkit.grammars.tree_drawing import COLOURS, draw_tree, plot_tree, token_places
from toolkit.grammars.trees import Tree

SENTENCE = Tree.from_bracketed("(S (NP I) (VP (VP (V saw) (NP the man)) (PP (P with) (NP a telescope (Adj )))))")


def drawn(rng, depth, n_children=(2, 3), level=0):
    """Return a tree of equal depth whose tokens are letters."""
    if level == depth:
        return rng.choice("abc")
    children = [drawn(rng, depth, n_children, level + 1) for _ in range(rng.choice(n_children))]
    return Tree(f"{'SABCDEF'[level]}{rng.randrange(3)}", children, level)


def words(picture):
    return [shape for shape in picture._shapes if hasattr(shape, "string")]


def overlapping(picture):
    """Return pairs of words that share a place."""
    found = []
    for one, other in itertools.combinations(words(picture), 2):
        if abs(one.y - other.y) < 0.7 * min(one.size, other.size):
            left, right = sorted((one, other), key=lambda word: word.x)
            ends = [
                word.x + text_width(word.string, word.size, bold=word.bold) * share
                for word, shares in ((left, {"start": 1, "middle": 0.5}), (right, {"start": 0, "middle": -0.5}))
                for share in (shares[word.anchor],)
            ]
            if ends[0] > ends[1] + 0.01:
                found.append((one.string, other.string))
    return found


@pytest.mark.parametrize("by_level", [0, 1, 2, 9])
def test_tokens_stand_in_a_row_in_order(by_level):
    picture = draw_tree(SENTENCE, by_level=by_level)
    lowest = max(word.y for word in words(picture))
    row = sorted((word for word in words(picture) if word.y == lowest), key=lambda word: word.x)
    assert [word.string for word in row] == ["I", "saw", "the", "man", "with", "a", "telescope", "ε"]
    assert not words_outside(picture) and not overlapping(picture)


def test_blocks_of_tokens_have_one_colour_an_ancestor():
    tree = Tree.from_bracketed("(S (A (C a b) (C c)) d (A (C e) (C )))")
    for by_level, n_blocks in ((0, 1), (1, 3), (2, 4), (3, 5)):
        picture = draw_tree(tree, by_level=by_level)
        fills = [fill for _, fill in COLOURS]
        # A block is wider than a name's frame is tall: 22 pixels.
        blocks = [
            shape.paint.fill
            for shape in picture._shapes
            if getattr(getattr(shape, "paint", None), "fill", "") in fills and _height(shape) == pytest.approx(22)
        ]
        assert len(blocks) == n_blocks and all(one != other for one, other in itertools.pairwise(blocks))


def _height(shape):
    ys = [value for command in shape.commands for value in command[2::2]]
    return max(ys) - min(ys)


@pytest.mark.parametrize(("depth", "width"), [(1, 200), (2, 200), (3, 720), (4, 200), (4, 2000), (5, 720), (6, 720)])
def test_trees_of_all_sizes_draw_without_overlaps(depth, width):
    tree = drawn(random.Random(depth), depth)
    picture = draw_tree(tree, metadata=[1] * depth, by_level=min(2, depth), width=width, title="A finding " * 9)
    assert not words_outside(picture) and not overlapping(picture)
    assert "nan" not in picture.to_string() and picture.width == width
    assert f"Tree of {len(tree.leaves())} tokens" in picture.alt


def test_names_are_left_out_only_where_they_do_not_fit():
    small, large = (draw_tree(drawn(random.Random(0), depth)) for depth in (3, 6))
    assert sum(word.string[0] in "SAB" for word in words(small)) > 10
    assert any(word.string[0] == "S" for word in words(large))
    assert not any(word.string[0] == "F" for word in words(large))


def test_metadata_stand_beside_their_rules():
    picture = draw_tree(drawn(random.Random(0), 3), metadata=[0, 12, 3])
    heights = {word.string: word.y for word in words(picture)}
    assert heights["j₀ = 0"] < heights["j₁ = 12"] < heights["j₂ = 3"]


def test_rules_can_have_the_colour_of_their_level():
    colours = ["#111111", "#222222", "#333333", "#444444"]
    tree = drawn(random.Random(0), 3)
    picture = draw_tree(tree, level_colours=colours, metadata=[0, 1, 0])
    strokes = {shape.paint.stroke for shape in picture._shapes if hasattr(shape, "paint")}
    assert set(colours[:3]) < strokes and colours[3] not in strokes
    assert not strokes & {stroke for stroke, _ in COLOURS[:-1]}
    inks = {word.string: word.fill for word in words(picture)}
    assert [inks[f"j{level} = {c}"] for level, c in zip("₀₁₂", (0, 1, 0), strict=True)] == colours[:3]
    assert "#d0d0d0" not in draw_tree(tree, frame=False).to_string()


def test_a_cut_stands_before_its_token():
    leaves = ["I", "saw", "the", "man", "with", "a", "telescope"]
    for cut in range(8):
        picture = draw_tree(SENTENCE, cut=cut)
        (line,) = [shape for shape in picture._shapes if getattr(getattr(shape, "paint", None), "dash", ())]
        x = line.commands[0][1]
        assert [word.string for word in words(picture) if word.string in leaves and word.x < x] == leaves[:cut]
        assert token_places(SENTENCE)[cut] == pytest.approx(x)
    assert len(token_places(SENTENCE, metadata=[0, 1], width=300)) == 8


def test_degenerate_and_deep_trees():
    for tree in (Tree("S"), Tree("S", ["a"]), Tree("S", [Tree("A"), Tree("B")]), Tree("x" * 200, ["y" * 200, "z"])):
        picture = draw_tree(tree)
        assert not words_outside(picture) and not overlapping(picture)
    deep = Tree("A", ["a"])
    for _ in range(800):
        deep = Tree("A", [deep, "b"])
    assert draw_tree(deep, by_level=5).height < 700


def test_names_with_mark_up_are_text():
    tree = Tree("<S>", ["$a$", "&", '"', "$\\frac"])
    assert "&lt;S&gt;" in draw_tree(tree).to_string()
    plot_tree(tree).savefig("/dev/null", format="png")


def test_the_figure_has_the_same_words():
    tree = drawn(random.Random(3), 3)
    figure = plot_tree(tree, metadata=[1, 0, 1], cut=3, title="A finding")
    svg = draw_tree(tree, metadata=[1, 0, 1], cut=3, title="A finding")
    assert sorted(text.get_text() for text in figure.axes[0].texts) == sorted(word.string for word in words(svg))
    assert figure.get_size_inches() * 96 == pytest.approx((svg.width, svg.height))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"by_level": -1}, "by_level"),
        ({"level_colours": ["red"]}, "level_colours"),
        ({"cut": 8}, "cut"),
        ({"cut": -1}, "cut"),
        ({"metadata": [0] * 9}, "metadata"),
        ({"width": 20}, "width"),
        ({"width": float("nan")}, "width"),
    ],
)
def test_bad_arguments(options, word):
    with pytest.raises(ValueError, match=word):
        draw_tree(SENTENCE, **options)

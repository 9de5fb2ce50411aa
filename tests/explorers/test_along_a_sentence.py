"""Reading a document: beliefs and next tokens as counted over all sentences, what is told is known, every end drawn."""

import math
import random

import pytest

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_along_a_sentence
from toolkit.explorers.along_a_sentence import CERTAIN, compute, describe, draw
from toolkit.explorers.example_families import DEEP, SMALL, TOY, example_family, level_line, tokens_of


def sentences(family, metadata):
    """Return the probability of each sentence of one grammar, by writing down all derivations."""

    def below(level, symbol):
        if level == family.depth:
            return {(symbol,): 1.0}
        found = {}
        choice = metadata[level]
        for children, p in zip(family.rules[level][choice][symbol], family.probs[level][choice][symbol], strict=True):
            parts = {(): p}
            for child in children:
                parts = _joined(parts, below(level + 1, child))
            for sentence, q in parts.items():
                found[sentence] = found.get(sentence, 0.0) + q
        return found

    return below(0, 0)


def _joined(left, right):
    found = {}
    for one, p in left.items():
        for other, q in right.items():
            found[one + other] = found.get(one + other, 0.0) + p * q
    return found


@pytest.fixture(scope="module")
def counted():
    family = example_family(TOY)
    return family, [(tuple(row), sentences(family, row)) for row in family.all_metadata.tolist()]


@pytest.mark.parametrize("document", [9, 21, 36])
@pytest.mark.parametrize("known", [0, 1, 3])
def test_beliefs_and_next_tokens_are_those_counted(counted, document, known):
    family, grammars = counted
    found = compute(TOY, document, 0, known)
    tokens = tuple(tokens_of(family, found.tree))
    for place in range(len(tokens) + 2):
        weights = {}
        following = [0.0] * 4
        for metadata, language in grammars:
            if metadata[:known] != found.metadata[:known]:
                continue
            if place > len(tokens):
                weights[metadata] = language.get(tokens, 0.0)
                continue
            fits = {x: p for x, p in language.items() if x[:place] == tokens[:place]}
            weights[metadata] = sum(fits.values())
            for sentence, p in fits.items():
                following[sentence[place] if len(sentence) > place else 3] += p
        total = sum(weights.values())
        for level in range(3):
            right = sum(p for metadata, p in weights.items() if metadata[level] == found.metadata[level])
            assert found.truth(level)[place] == pytest.approx(right / total, abs=1e-12)
        if place <= len(tokens):
            assert found.following[place] == pytest.approx([p / total for p in following], abs=1e-12)


def test_the_view_opens_on_a_known_bottom_and_an_open_top():
    view = explore_along_a_sentence()
    now = view.result.now
    assert view.error is None and view.result.place == 4 and now[2] > CERTAIN and max(now[:2]) < 0.7
    assert "j₂ certain" in view.drawn.svg.to_string() and "a comes next" in view.text
    top = view.result.truth(0)
    assert top[13] < 0.9 and top[14] > CERTAIN and view.result.n_tokens == 15


def test_the_loss_is_that_of_what_comes_next():
    found = compute(TOY, 9, 4)
    p = found.following[4][found.next_token]
    assert f"a loss of {-math.log(p):.2f} nats" in describe(found)
    assert "The end comes next" in describe(compute(TOY, 9, 15))
    done = compute(TOY, 9, 99)
    assert done.place == 16 and done.next_token is None and "comes next" not in describe(done)
    assert "After all 15 tokens and the end" in describe(done) and "nothing: the end" in draw(done).to_string()


def test_what_is_told_is_certain_from_the_start():
    for known in range(4):
        found = compute(TOY, 36, 0, known)
        assert [p > CERTAIN for p in found.now] == [True] * known + [False] * (3 - known)
        assert ("told" in draw(found).to_string()) == (known > 0)


def test_levels_keep_their_colour_from_the_bottom():
    three, four = example_family(TOY), example_family(DEEP)
    assert level_line(three, 2) == level_line(four, 3) and level_line(three, 0) == level_line(four, 1)
    assert len({level_line(four, level).color for level in range(4)}) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"name": "none"}, "name"), ({"place": -1}, "place"), ({"known": 4}, "known"), ({"known": -1}, "known")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        compute(**arguments)


def test_every_family_at_both_ends_and_between():
    view = explore_along_a_sentence()
    draws = random.Random(1)
    for name in (SMALL[3], SMALL[4], DEEP, TOY):
        view.controls["name"].value = name
        for known in (0, example_family(name).depth):
            view.controls["known"].value = known
            view.controls["document"].value = draws.randint(1, 40)
            slider = view.controls["place"]
            for place in (0, slider.max, draws.randint(0, slider.max)):
                slider.value = place
                found = view.result
                assert view.error is None, view.text
                assert (found.name, found.known, found.place) == (name, known, place)
                assert slider.max == found.n_tokens + 1
                picture = view.drawn.svg.to_string()
                assert not words_outside(view.drawn.svg) and "nan" not in picture and "nan" not in view.text
    view.reset()
    assert view.result.place == 4 and view.result.document == 9 and view.error is None


def test_buttons_go_one_token_on_and_back():
    view = explore_along_a_sentence()
    (buttons,) = [child for child in view.children[0].children if type(child).__name__ == "HBox"]
    back, forward = buttons.children
    forward.click()
    assert view.result.place == 5
    back.click()
    back.click()
    assert view.result.place == 3


def test_letters_of_a_long_document_are_all_drawn():
    found = compute(DEEP, 1, 4)
    strings = [shape.string for shape in draw(found)._shapes if hasattr(shape, "string")]
    beside = len(found.family.terminals)
    drawn = sum(string in found.family.terminals for string in strings)
    assert found.n_tokens > 50 and drawn == found.n_tokens + beside

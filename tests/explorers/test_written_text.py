"""What models write begins with the prompt, is judged by exact inference, and follows the live training."""

from types import SimpleNamespace

import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_written_text, written_text
from toolkit.explorers.example_families import TOY, example_family
from toolkit.explorers.live_decoders import NINE, Setting, train
from toolkit.explorers.perfect_completions import compute as perfect
from toolkit.explorers.written_text import BASELINE, N_SHOWN, N_WRITTEN, TOLD, compute, describe, draw
from toolkit.grammars.inference import infer


@pytest.fixture(scope="module")
def runs():
    """Models that were hardly trained, of both families."""
    return {name: list(train(Setting(name, n_steps=40), between=40))[-1] for name in (NINE, TOY)}


@pytest.mark.parametrize("name", [NINE, TOY])
@pytest.mark.parametrize("length", [0, 5, 99])
def test_texts_are_judged_by_exact_inference(runs, name, length):
    for who in (BASELINE, TOLD):
        found = compute(runs[name], 9, length, who)
        family = example_family(name)
        assert len(found.texts) == N_SHOWN and found.n == N_WRITTEN
        index = int(family.metadata_index(torch.tensor([found.metadata]))[0])
        for text in found.texts:
            assert text.tokens[: found.length] == found.tokens[: found.length]
            member = infer(family, [list(text.tokens)]).member[0] if text.tokens else torch.zeros(8).bool()
            assert len(text.accepting) == (int(member.sum()) if text.ended else 0)
            assert text.own == (text.ended and bool(member[index]))
            assert all(member[int(family.metadata_index(torch.tensor([one]))[0])] for one in text.accepting)
        assert 0 <= found.scores[who].own <= found.scores[who].any <= 1
        again = written_text._write(runs[name], who, found.metadata, found.tokens[: found.length])[1]
        assert again == found.scores[who]


def test_shares_are_of_all_texts(runs):
    found = compute(runs[NINE], 9, 99, BASELINE)
    shown = sum(bool(text.accepting) for text in found.texts)
    assert shown <= round(found.scores[BASELINE].any * N_WRITTEN) <= N_WRITTEN - N_SHOWN + shown


def test_the_perfect_reader_is_that_of_the_other_lesson(runs):
    for length in (0, 4, 9):
        assert compute(runs[NINE], 7, length).perfect.own == pytest.approx(perfect(NINE, 7, length).chance)
    assert compute(runs[NINE], 7, 99).perfect.any == 1


def test_trees_are_of_sentences_only(runs):
    drawn = 0
    for number in range(1, N_SHOWN + 1):
        found = compute(runs[NINE], 21, 99, TOLD, number)
        names = [found.family.terminals[token] for token in found.chosen.tokens]
        picture, text = draw(found), describe(found)
        assert not words_outside(picture) and "nan" not in picture.to_string() + text
        if found.chosen.accepting:
            drawn += 1
            assert found.tree.leaves() == names and f"tree of text {number}" in picture.to_string()
        else:
            assert found.tree is None and "has no tree" in picture.to_string()
    assert repr(found).startswith("Texts(document 21") and found.to_dict()["scores"][TOLD]["own"] <= 1


def test_the_view_follows_the_live_training(runs):
    live = SimpleNamespace(result=runs[TOY])
    view = explore_written_text(live, document=3, length=2)
    assert view.error is None and view.result.family is example_family(TOY)
    live.result = next(train(Setting(n_steps=40)))  # still being trained: the finished one stays
    view.controls["document"].value = 4
    assert view.error is None and view.result.family is example_family(TOY)
    live.result = runs[NINE]
    for document, writer in ((1, TOLD), (40, BASELINE)):
        view.controls["document"].value, view.controls["writer"].value = document, writer
        slider = view.controls["length"]
        for length in (0, slider.max):
            slider.value = length
            assert view.error is None and view.result.length == length, view.text
            assert view.result.family is example_family(NINE) and slider.max == len(view.result.tokens)
            assert not words_outside(view.drawn.svg)
    view.reset()
    assert view.result.document == 3 and view.error is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"writer": "me"}, "writer"), ({"length": -1}, "length"), ({"number": 0}, "number"), ({"number": 99}, "number")],
)
def test_bad_arguments(runs, arguments, words):
    with pytest.raises(ValueError, match=words):
        compute(runs[NINE], **arguments)
    with pytest.raises(ValueError, match="ended"):
        compute(next(train(Setting(n_steps=40))))

"""Completions of a perfect reader: they are sentences, of the right law, and fit the own grammar as often as said."""

import random

import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_perfect_completions
from toolkit.explorers.example_families import TOY, example_family
from toolkit.explorers.perfect_completions import FAMILIES, N_SHOWN, compute, describe, draw
from toolkit.grammars.accuracy import exact_attainable_accuracy
from toolkit.grammars.inference import infer


def test_completions_begin_with_the_prompt_and_are_sentences():
    for document in (1, 9, 21):
        for length in (0, 3, 7, 99):
            found = compute(TOY, document, length)
            sentences = [list(one.tokens) for one in found.completions]
            inference = infer(found.family, sentences)
            index = int(found.family.metadata_index(torch.tensor([found.metadata]))[0])
            assert all(tuple(s[: found.length]) == found.tokens[: found.length] for s in sentences)
            assert bool(inference.member.any(1).all())
            assert [one.own for one in found.completions] == inference.member[:, index].tolist()
            posterior = inference.sentence_posterior()
            for row, one in zip(posterior, found.completions, strict=True):
                assert float(row.max()) == pytest.approx(one.belief)
                chosen = int(found.family.metadata_index(torch.tensor([one.metadata]))[0])
                assert float(row[chosen]) == pytest.approx(one.belief)


def test_the_chance_is_that_of_next_token_by_next_token():
    # Sum over all continuations of the prompt, by the exact posterior of the whole sentence's grammars.
    found = compute(TOY, 9, 6)
    family = found.family
    index = int(family.metadata_index(torch.tensor([found.metadata]))[0])

    def continued(prefix):
        """Return how probable it is that a perfect reader ends in a sentence of the own grammar from here."""
        inference = infer(family, [prefix]) if prefix else None
        following = inference.next_token_probs()[0, len(prefix)]
        total = 0.0
        for token, p in enumerate(following.tolist()):
            if p == 0:
                continue
            if token == family.n_terminals:
                total += p * float(inference.member[0, index])
            elif float(inference.prefix_log_prob[0, len(prefix), index]) > -float("inf"):
                total += p * continued([*prefix, token])
        return total

    nearly_done = compute(TOY, 9, 13)
    assert nearly_done.chance == pytest.approx(continued(list(nearly_done.tokens[:13])), abs=1e-9)
    assert found.chance == pytest.approx(0.4, abs=0.2) and found.n_sentences > 100


def test_the_mean_chance_is_the_attainable_accuracy():
    family = example_family(TOY)
    documents = [compute(TOY, number, 4) for number in range(1, 200)]
    chances = torch.tensor([one.chance for one in documents], dtype=torch.float64)
    (attainable,) = exact_attainable_accuracy(family, [4]).sampler
    assert abs(float(chances.mean()) - attainable) < 4 * float(chances.std()) / len(chances) ** 0.5


def test_the_tree_is_of_the_completion_and_its_grammar():
    for number in range(1, N_SHOWN + 1):
        found = compute(TOY, 9, 6, number)
        names = [found.family.terminals[token] for token in found.chosen.tokens]
        assert found.tree.leaves() == names and found.tree.height == 3
        assert " ".join(names[6:]) in describe(found)
        row = "yes" if found.chosen.own else "no, "
        assert row in draw(found).to_string()


def test_whole_documents_and_nothing_at_all():
    whole, nothing = compute(TOY, 9, 99), compute(TOY, 9, 0)
    assert whole.chance == pytest.approx(1) and whole.n_sentences >= 1 and "the end at once" in describe(whole)
    assert nothing.n_sentences == 16730 and 0.12 < nothing.chance < 0.2
    assert "100 % of perfect completions" in draw(whole).to_string()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"name": "4 choices each"}, "name"), ({"length": -1}, "length"), ({"number": 0}, "number"), ({"number": 7}, "7")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        compute(**arguments)


def test_every_family_at_both_ends():
    view = explore_perfect_completions()
    draws = random.Random(2)
    assert "After 6 tokens, 40 % of perfect completions fit" in view.drawn.svg.to_string()
    for name in (FAMILIES[-1], FAMILIES[-2], TOY):
        view.controls["name"].value = name
        view.controls["document"].value = draws.randint(1, 40)
        view.controls["number"].value = draws.randint(1, N_SHOWN)
        slider = view.controls["length"]
        for length in (0, slider.max, slider.max // 2):
            slider.value = length
            assert view.error is None and view.result.length == length, view.text
            assert slider.max == len(view.result.tokens)
            assert not words_outside(view.drawn.svg) and "nan" not in view.drawn.svg.to_string() + view.text
    view.reset()
    assert view.result.name == TOY and view.result.length == 6 and view.error is None

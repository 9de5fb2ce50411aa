"""What the first tokens tell: recounted derivation by derivation, drawn documents beside all, every end drawn."""

import itertools
import math

import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_what_shows_first, level_knowledge
from toolkit.explorers.example_families import DEEP, LARGE, TOY, example_family
from toolkit.explorers.level_knowledge import rules_applied
from toolkit.explorers.what_shows_first import GUESS, OPEN, compute, describe, draw
from toolkit.grammars.enumeration import enumerate_sentences
from toolkit.grammars.families import GrammarFamily

# Of the toy family, by enumeration in another program: tokens, share of documents so long, the expected probability of
# the right metadata, what is open of them in nats, and how often the best guess of each level is right.
EXACT = [
    (0, 1, 0.125, 2.07944154, (0.5, 0.5, 0.5)),
    (1, 1, 0.14926215, 1.98463003, (0.59375, 0.53125, 0.65625)),
    (2, 1, 0.23229167, 1.55315274, (0.625, 0.53125, 0.84375)),
    (4, 1, 0.31614583, 1.24214475, (0.625, 0.5546875, 1)),
    (8, 1, 0.55009766, 0.73950595, (0.80859375, 0.73242188, 1)),
    (12, 0.87792969, 0.83448408, 0.24211618, (0.87931034, 0.9538376, 1)),
    (16, 0.47753906, 0.98686764, 0.01867196, (0.99335378, 0.98875256, 1)),
    (20, 0.24847412, 1, 0, (1, 1, 1)),
]


@pytest.mark.parametrize(("place", "share", "right", "open_", "accuracy"), EXACT)
def test_the_toy_family_as_enumerated_elsewhere(place, share, right, open_, accuracy):
    found = level_knowledge.level_knowledge(TOY)
    assert float(found.share[place]) == pytest.approx(share, abs=5e-9)
    assert float(found.all_right[place]) == pytest.approx(right, abs=5e-9)
    assert float(found.all_entropy[place]) == pytest.approx(open_, abs=5e-9)
    assert found.accuracy[place].tolist() == pytest.approx(accuracy, abs=5e-9)


def small_family():
    return GrammarFamily(
        [1, 2, 2],
        [[[[(0, 1), (1,)]], [[(1, 1), (0,)]]], [[[(0,), (0, 1)], [(1, 1), (1, 0)]], [[(1,), (0, 0)], [(0, 1), (1,)]]]],
        probs=[[[[0.25, 0.75]], [[0.5, 0.5]]], [[[0.5, 0.5], [0.1, 0.9]], [[0.3, 0.7], [0.6, 0.4]]]],
        choice_probs=[[0.3, 0.7], [0.5, 0.5]],
    )


def derivations(family, metadata):
    """Yield each sentence of a family of two levels with its probability, derivation by derivation."""
    top, bottom = metadata
    for children, p in zip(family.rules[0][top][0], family.probs[0][top][0], strict=True):
        options = [list(zip(family.rules[1][bottom][c], family.probs[1][bottom][c], strict=True)) for c in children]
        for chosen in itertools.product(*options):
            yield tuple(t for tokens, _ in chosen for t in tokens), p * math.prod(q for _, q in chosen)


def test_beliefs_with_unequal_probabilities_counted_derivation_by_derivation():
    family = small_family()
    found = level_knowledge._counted("small", family, enumerate_sentences(family))
    weights = {}
    for metadata in itertools.product(range(2), range(2)):
        prior = math.prod(family.choice_probs[level][c] for level, c in enumerate(metadata))
        for sentence, p in derivations(family, metadata):
            weights[sentence, metadata] = weights.get((sentence, metadata), 0.0) + prior * p
    for place in range(found.longest + 1):
        groups = {}
        for (sentence, metadata), p in weights.items():
            if len(sentence) >= place:
                group = groups.setdefault(sentence[:place], {})
                group[metadata] = group.get(metadata, 0.0) + p
        share = sum(p for group in groups.values() for p in group.values())
        assert float(found.share[place]) == pytest.approx(share, abs=1e-12)
        for level in range(2):
            best = entropy = 0.0
            for group in groups.values():
                total = sum(group.values())
                each = [sum(p for metadata, p in group.items() if metadata[level] == c) for c in range(2)]
                best += max(each)
                entropy -= sum(p * math.log(p / total) for p in each if p > 0)
            assert float(found.accuracy[place, level]) == pytest.approx(best / share, abs=1e-12)
            assert float(found.entropy[place, level]) == pytest.approx(entropy / share, abs=1e-12)


def test_drawn_documents_say_about_the_same_as_all():
    family = example_family(TOY)
    drawn, every = level_knowledge._sampled("toy", family, 400), level_knowledge.level_knowledge(TOY)
    assert drawn.n_documents == 400 and 0.005 < drawn.error < 0.03 and drawn.longest < every.longest
    inside = slice(0, drawn.longest + 1)
    assert float((drawn.accuracy - every.accuracy[inside]).abs().max()) < 5 * drawn.error
    assert float((drawn.all_entropy - every.all_entropy[inside]).abs().max()) < 0.15


def test_rules_are_counted_from_trees():
    applied = rules_applied(example_family(TOY), 28)
    assert applied[0].tolist() == [0, 0, 0] and applied[1].tolist() == [1, 1, 1] and applied[4].tolist() == [1, 1, 2]
    assert bool((applied[1:] >= applied[:-1] - 0.2).all()) and float(applied[27].min()) >= 1
    longest = example_family(TOY).sample(2000, generator=torch.Generator().manual_seed(1), device="cpu").lengths.max()
    assert int(longest) < 27 and torch.equal(applied[27], applied[int(longest)])
    # a family whose documents all have one shape: S → A A, A → t t t
    fixed = GrammarFamily([1, 1, 1], [[[[(0, 0)]]], [[[(0, 0, 0)]]]])
    assert rules_applied(fixed, 7)[:, 1].tolist() == [0, 1, 1, 1, 2, 2, 2]


def test_the_view_opens_on_a_known_bottom_and_an_open_top():
    view = explore_what_shows_first()
    assert view.error is None
    assert "4 tokens read: bottom level guessed right in 100 %, top level in 63 %" in view.drawn.svg.to_string()
    assert "j₂ after 4 tokens" in view.text and "Exact, over all documents." in view.text


def test_needed_is_for_good():
    found = compute(TOY, GUESS, 0)
    curve = found.knowledge.accuracy[:, 0]
    needed = found.needed(0)
    assert needed is not None and bool((curve[needed:] >= 0.995).all()) and float(curve[needed - 1]) < 0.995


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"name": LARGE}, "name"), ({"name": "x"}, "name"), ({"measure": "x"}, "measure"), ({"place": -1}, "place")],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        compute(**arguments)


def test_both_measures_at_every_end():
    view = explore_what_shows_first()
    for name in ("9 different tokens", DEEP, TOY):
        view.controls["name"].value = name
        for measure in (OPEN, GUESS):
            view.controls["measure"].value = measure
            slider = view.controls["place"]
            for place in (0, slider.max):
                slider.value = place
                assert view.error is None and view.result.place == place, view.text
                assert slider.max == view.result.knowledge.longest
                assert not words_outside(view.drawn.svg) and "nan" not in view.drawn.svg.to_string() + view.text
        if view.result.knowledge.n_documents:
            assert "standard error at most 0.01" in view.text
    view.reset()
    assert view.result.place == 4 and view.result.measure == GUESS and view.result.knowledge.name == TOY


def test_words_for_few_tokens_and_plain_values():
    found = compute(TOY, OPEN, 1)
    assert "after 1 token." in describe(found) and "1 token read: 0.64 nats" in draw(found).to_string()
    plain = found.to_dict()["knowledge"]
    assert plain["share"][0] == pytest.approx(1) and len(plain["accuracy"][0]) == 3
    assert torch.tensor(plain["entropy"]).shape == found.knowledge.entropy.shape

"""A grammar to write: exact numbers beside closed forms and draws, sentences for errors, every preset drawn."""

import math

import pytest

from tests.explorers.inside import words_outside
from toolkit.explorers import explore_own_grammar
from toolkit.explorers.grammar_control import GRAMMARS, OWN, GrammarControl
from toolkit.explorers.own_grammar import N_DRAWN, SHOWN, NotAGrammar, compute, describe, draw, read_grammar
from toolkit.grammars.named import toy_family

TEXTS = list(GRAMMARS.values())


def test_brackets_by_their_closed_forms():
    # a sentence is S → ( S ) S with probability p: its mean length is L = p (2 + 2 L)
    p = 0.4
    found = compute(f"S -> '(' S ')' S [{p}] | [{1 - p}]")
    assert found.length == pytest.approx(2 * p / (1 - 2 * p)) and found.mass == pytest.approx(1)
    choice = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert found.entropy == pytest.approx(choice / (1 - 2 * p))
    assert found.checks.spectral_radius == pytest.approx(2 * p)
    mean, error = found.drawn_length
    assert abs(mean - found.length) < 4 * error and 0 < error < 1
    surprise, error = found.drawn_surprise
    assert abs(surprise - found.entropy) < 4 * error


def test_what_does_not_always_end():
    # s = 0.4 + 0.6 s² has the solutions 2/3 and 1
    found = compute("S -> S S [0.6] | 'a' [0.4]")
    assert found.mass == pytest.approx(2 / 3, abs=1e-9) and math.isinf(found.length) and math.isinf(found.entropy)
    share = found.n_cut / N_DRAWN
    assert abs(share - 1 / 3) < 4 * math.sqrt(2 / 9 / N_DRAWN)
    assert "Not consistent" in draw(found).to_string() and "given up" in describe(found)


def test_two_readings_of_a_telescope():
    found = compute(TEXTS[0], 1)
    sentences = [["Kim", "saw", "the", "man", "with", "the", "telescope"]]
    assert found.sentences[0] == tuple(sentences[0]) and found.sentences[2].count("with") == 3
    grammar = found.grammar
    attached_to_verb = 0.3 * (0.3 * 0.7) * 0.6 * (0.5 * 0.6 * 0.4) * (0.5 * 0.6 * 0.2)
    attached_to_noun = 0.3 * 0.7 * 0.6 * 0.2 * (0.5 * 0.6 * 0.4) * (0.5 * 0.6 * 0.2)
    parse = grammar.viterbi(sentences[0])
    assert math.exp(parse.log_prob) == pytest.approx(max(attached_to_verb, attached_to_noun))
    assert float(grammar.log_prob(sentences[0]).exp()) == pytest.approx(attached_to_verb + attached_to_noun)
    assert found.best == pytest.approx(attached_to_verb / (attached_to_verb + attached_to_noun))
    shares = [compute(TEXTS[0], number).best for number in range(1, SHOWN + 1)]
    assert all(math.isnan(share) or 0 < share <= 1 for share in shares) and min(shares) < 0.9
    assert found.tree.leaves() == list(found.sentences[0])


def test_a_family_in_the_compact_form_is_the_same_grammar():
    found = compute(TEXTS[5])
    family = toy_family()
    assert found.length == pytest.approx(float(family.expected_length()))
    assert found.grammar.terminals == family.terminals and found.tree.height == 4


def test_symbols_that_are_lost_or_never_end_are_named():
    text = draw(compute(TEXTS[4])).to_string()
    assert "cannot be reached: C" in text and "can never end: A" in text and "probability 0.500" in text
    assert "No derivation ends" in draw(compute("S -> S [1.0]")).to_string()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one rule"),
        ("hello", "a nonterminal"),
        ("S -> A [1.0]", "none for A"),
        ("S -> 'a' [0.5]", "add up to 1 for S"),
        ("S -> 'a [1.0]", "quoted terminals"),
        ("0/x!", "digits"),
        ("S -> 'a' [1.0] # " + "x" * 7000, "letters"),
        ("\n".join(f"S{i} -> 'a' [1.0]" for i in range(401)), "letters|nonterminals"),
    ],
)
def test_errors_are_sentences(text, words):
    with pytest.raises(NotAGrammar, match=words) as caught:
        read_grammar(text)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


def test_the_view_says_what_is_missing_and_recovers():
    view = explore_own_grammar()
    control = view.controls["text"]
    before = view.drawn
    control.field.value = "S -> 'a' [0.5]"
    assert isinstance(view.error, NotAGrammar) and "add up to 1 for S; found 0.5" in view.status.value
    assert "opacity" in view.picture.value and control.presets.value == OWN and view.drawn is before
    control.field.value = "S -> 'a' [0.5] | 'b' [0.5]"
    assert view.error is None and "sentences of 1 token on average" in view.text
    view.reset()
    assert control.presets.value == next(iter(GRAMMARS)) and control.field.value == TEXTS[0] and view.error is None


def test_every_preset_and_every_sentence():
    view = explore_own_grammar()
    for name, text in GRAMMARS.items():
        view.controls["text"].presets.value = name
        assert view.error is None and view.controls["text"].field.value == text
        slider = view.controls["number"]
        for number in (1, slider.max):
            slider.value = number
            assert view.error is None and not words_outside(view.drawn.svg), view.text
            assert "nan" not in view.drawn.svg.to_string() + view.text
            assert len(set(view.result.sentences)) == len(view.result.sentences) <= SHOWN
        assert slider.disabled == (len(view.result.sentences) < 2)


def test_long_sentences_have_no_tree_and_names_of_any_kind_fit():
    long = compute("S -> 'word' S [0.99] | 'word' [0.01]", 1)
    assert any(compute(str(long.grammar), n).tree is None for n in range(1, SHOWN + 1))
    odd = compute("S -> '<b>' T [1.0]\nT -> '&' [0.5] | '" + "x" * 300 + "' [0.5]", 2)
    picture = draw(odd)
    assert "&lt;b&gt;" in picture.to_string() and not words_outside(picture)


def test_the_control_follows_its_text():
    control = GrammarControl(next(iter(GRAMMARS)))
    control.value = TEXTS[2]
    assert control.field.value == TEXTS[2] and GRAMMARS[control.presets.value] == TEXTS[2]
    control.presets.value = OWN
    assert control.value == TEXTS[2]
    control.field.value = "S -> 'a' [1.0]"
    control.presets.value = next(iter(GRAMMARS))
    control.presets.value = OWN
    assert control.value == control.field.value == "S -> 'a' [1.0]"
    with pytest.raises(ValueError, match="name"):
        explore_own_grammar("none")
    with pytest.raises(ValueError, match="number"):
        compute(TEXTS[0], 0)

"""Right answers are right, likely slips are named, and nothing raises."""

import math

import pytest

from toolkit.explorers.exercises import grammars as exercises
from toolkit.grammars.grammar import PCFG


def solution(language, prefix):
    """As the lesson prints it."""
    found = {}
    for sentence, p in language.items():
        if sentence.startswith(prefix):
            token = sentence[len(prefix) : len(prefix) + 1]
            found[token] = found.get(token, 0) + p
    total = sum(found.values())
    return {token: p / total for token, p in found.items()}


TOP_FIRST = "00//11;01|10/23|32//01|00/23|22"


@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(answer):
    assert exercises.brackets(answer, 0.5).right is None
    assert exercises.next_token(answer).right is None
    assert exercises.next_token(lambda language, prefix: answer).right is None
    assert exercises.two_grammars(0.8, answer).right is None
    assert exercises.top_shows_first(answer).right is None


def test_brackets_by_the_exact_grammar():
    lengths = {
        p: PCFG.fromstring(f"S -> '(' S ')' S [{p}] | [{1 - p}]").expected_length() for p in (0.4, 0.499, 0.5, 0.6)
    }
    assert math.isfinite(lengths[0.499]) and math.isinf(lengths[0.5]) and math.isinf(lengths[0.6])
    assert exercises.brackets(lengths[0.4], 0.5).right and exercises.brackets("4", 0.5).right


@pytest.mark.parametrize(
    ("length", "least", "words"),
    [
        (0.8, 0.5, "outermost pair"),
        (2.0, 0.5, "pairs"),
        (4 / 3, 0.5, "there are two"),
        (3.0, 0.5, "mean length"),
        (4, 1, "long before"),
        (4, 0.4, "still 4"),
        (4, 0.6, "smallest p"),
        ("many", 0.5, "one number"),
        (float("nan"), 0.5, "mean length"),
    ],
)
def test_slips_of_brackets(length, least, words):
    verdict = exercises.brackets(length, least)
    assert verdict.right is False and words in verdict.sentence


def test_next_token_as_the_lesson_prints_it():
    assert exercises.next_token(solution).right
    assert exercises.next_token(lambda language, prefix: {**solution(language, prefix), "z": 0.0}).right


def without_end(language, prefix):
    return {token: p for token, p in solution(language, prefix).items() if token}


def not_divided(language, prefix):
    mass = sum(p for sentence, p in language.items() if sentence.startswith(prefix))
    return {token: p * mass for token, p in solution(language, prefix).items()}


def anywhere(language, prefix):
    return solution({s[s.find(prefix) :]: p for s, p in language.items() if prefix in s}, prefix)


def divides_by_zero(language, prefix):
    return {"a": 1 / sum(p for sentence, p in language.items() if sentence.startswith(prefix))} and (
        solution(language, prefix)
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (without_end, "may end here"),
        (not_divided, "divide by it"),
        (anywhere, "should have probability"),
        (divides_by_zero, "no sentence begins"),
        (lambda language, prefix: solution(language, prefix) or {"a": 1.0}, "empty dictionary"),
        (lambda language, prefix: language.clear() or {}, "has changed"),
        (lambda language, prefix: [0.5], "a dictionary"),
        (lambda language, prefix: {"a": "x"}, "one number"),
        (lambda language: {}, "stopped with"),
        (0.5, "a function"),
    ],
)
def test_slips_of_next_token(answer, words):
    verdict = exercises.next_token(answer)
    assert verdict.right is False and words in verdict.sentence


def test_two_grammars_by_the_parser():
    first, second = (
        PCFG.fromstring("S -> " + " | ".join(f"{' '.join(map(repr, x))} [{p}]" for x, p in language.items()))
        for language in exercises.LANGUAGES
    )
    found = []
    for prefix in ("a", "ab"):
        weights = [float(g.prefix_log_prob(g.encode(prefix)).exp()) for g in (first, second)]
        found.append(weights[0] / sum(weights))
    assert found == pytest.approx([0.8, 2 / 3])
    assert exercises.two_grammars(*found).right


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (0.5, 0.667, "that is evidence"),
        (1.0, 0.667, "may begin like this"),
        (0.8, 0.8, "less usual"),
        (0.8, 0.5, "twice as frequent"),
        (0.8, 1, "may begin like this"),
        (0.7, 0.667, "After a: It is not 0.7"),
        (0.8, "two thirds", "one number"),
    ],
)
def test_slips_of_two_grammars(one, two, words):
    verdict = exercises.two_grammars(one, two)
    assert verdict.right is False and words in verdict.sentence


def test_a_top_level_that_shows_first():
    verdict = exercises.top_shows_first(TOP_FIRST)
    assert verdict.right and "After 1 token the top level is certain" in verdict.sentence
    assert exercises.top_shows_first("00//11;\n01 | 10 / 23 | 32 // 01|00/23|22").right


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "20|011//210|10;120|10/02|12/20|020//101|02/021|220/121|201;21|201/012|02/112|10//222|200/00|12/211|22",
            "best",
        ),
        ("00//11;01/23//10/32", "is, too"),
        ("00;01/23//10/32", "two levels or more"),
        ("0|1//00|1", "two levels or more"),
        ("00//11;0x!", "stopped with"),
        ("", "stopped with"),
        (5, "a text"),
        ("00//11;" + "000|011|101|110/111|100|010|001;" * 3 + "00/01//10/11", "sentences"),
    ],
)
def test_slips_of_top_shows_first(text, words):
    verdict = exercises.top_shows_first(text)
    assert verdict.right is False and words in verdict.sentence

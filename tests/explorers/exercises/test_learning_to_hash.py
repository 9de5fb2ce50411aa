"""Right answers are right, likely slips are named, and nothing raises."""

import math

import pytest
import torch
from sklearn.metrics import average_precision_score

from toolkit.explorers.exercises import learning_to_hash as exercises


@pytest.mark.parametrize(
    "check",
    [
        exercises.codes_in_a_ball,
        exercises.hamming,
        exercises.average_precision,
        exercises.too_much,
        exercises.which_weight,
    ],
)
@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(check, answer):
    assert check(answer).right is None


def test_a_function_as_the_lesson_gives_it_is_unsolved():
    assert exercises.hamming(lambda queries, gallery: ...).right is None


def test_codes_in_a_ball_by_counting():
    weights = torch.tensor([number.bit_count() for number in range(2**16)])
    assert exercises.codes_in_a_ball(int((weights <= 2).sum())).right


@pytest.mark.parametrize(
    ("answer", "words"),
    [(136, "code itself"), (120, "exactly two"), (257, "twice"), (4, "fourteen"), (17, "at most one"), (7, "not 7")],
)
def test_slips_of_codes_in_a_ball(answer, words):
    verdict = exercises.codes_in_a_ball(answer)
    assert verdict.right is False and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (lambda q, g: (q[:, None] ^ g[None]).sum(-1), True, "All tables"),
        (lambda q, g: torch.cdist(q.float(), g.float(), p=0), True, "All tables"),
        (lambda q, g: (q[:, None] == g[None]).sum(-1), False, "agree"),
        (lambda q, g: (q[:, None] ^ g[None]).sum(-1).T, False, "shape"),
        (lambda q, g: (q[:, None] ^ g[None]).sum(-1) + 1, False, "wrong"),
        (lambda q, g: (q[:, None] ^ g[None]).float().mean(-1), False, "share of the bits"),
        (lambda q, g: q @ g.T, False, "stopped with"),
        (lambda q, g: "far", False, "table of distances"),
        (1, False, "function"),
    ],
)
def test_hamming(answer, right, words):
    verdict = exercises.hamming(answer)
    assert verdict.right is right and words in verdict.sentence


def test_average_precision_against_scikit_learn():
    ranking = exercises.RANKING
    value = average_precision_score(ranking, range(len(ranking), 0, -1))
    assert exercises.average_precision(value).right
    assert "whole list" in exercises.average_precision(0.6).sentence
    everywhere = (1 / 1 + 1 / 2 + 2 / 3 + 3 / 4 + 3 / 5) / 5
    assert "all places" in exercises.average_precision(everywhere).sentence
    assert "three right ones" in exercises.average_precision(value * 3 / 5).sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (2 * math.log(2), True, "eight codes"),
        (5 * math.log(2), False, "take the exact"),
        (3 * math.log(2), False, "exact information"),
        (math.log(2), False, "one XOR"),
        (0, False, "follows from two"),
        (2, False, "bits"),
        (-2 * math.log(2), False, "too much"),
    ],
)
def test_too_much(answer, right, words):
    verdict = exercises.too_much(answer)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(("answer", "right"), [(1, True), (1.0, True), ("1", True), (2, False), (0, False), (5, False)])
def test_which_weight(answer, right):
    verdict = exercises.which_weight(answer)
    assert verdict.right is right and verdict.sentence[0].isupper()

"""Right answers are right, likely slips are named, and nothing raises."""

import math

import pytest
import torch

from toolkit.explorers.exercises import sigmoid_belief_networks as exercises


def solution(log_weights):
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


@pytest.mark.parametrize(
    "check",
    [exercises.one_bit_bound, exercises.importance_weighted, exercises.left_out, exercises.as_dear_as_ram],
)
@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(check, answer):
    assert check(answer).right is None


def test_a_function_as_the_lesson_gives_it_is_unsolved():
    assert exercises.importance_weighted(lambda log_weights: ...).right is None


JOINT = 0.3 * math.log(0.5 * 0.2) + 0.7 * math.log(0.5 * 0.9)
ENTROPY = -0.3 * math.log(0.3) - 0.7 * math.log(0.7)


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (JOINT + ENTROPY, True, "It is −0.639; log p(x) itself is −0.598"),
        (JOINT, False, "entropy of q comes on top"),
        (JOINT - ENTROPY, False, "entropy is added"),
        (JOINT + ENTROPY - math.log(0.5), False, "are missing"),
        (JOINT - math.log(0.5), False, "entropy of q comes on top"),
        (math.log(0.55), False, "stays below"),
        ((JOINT + ENTROPY) / math.log(2), False, "bits"),
        (3.0, False, "not 3"),
    ],
)
def test_the_bound_of_one_bit(answer, right, words):
    verdict = exercises.one_bit_bound(answer)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (solution, True, "All four"),
        (lambda w: solution(w).tolist(), True, "All four"),
        (lambda w: w.exp().mean(0).log(), False, "beyond the range"),
        (lambda w: w.mean(0), False, "plain bound"),
        (lambda w: torch.logsumexp(w, 0), False, "1/K"),
        (lambda w: w.max(0).values, False, "largest"),
        (lambda w: w.sum(), False, "expected shape"),
        (lambda w: w.nothing, False, "AttributeError"),
        (lambda w: "many", False, "one number an image"),
        (0.5, False, "function"),
    ],
)
def test_the_importance_weighted_bound(answer, right, words):
    verdict = exercises.importance_weighted(answer)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right"), [("log p(x | z1)", True), ("log p(z2)", False), ("log q(z2 | z1)", False), ("x", False)]
)
def test_what_may_be_left_out(answer, right):
    assert exercises.left_out(answer).right is right


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (301, True, "300 coins"),
        (300, False, "toss itself"),
        (201, False, "one of the two"),
        (101, False, "one of the two"),
        (601, False, "again"),
        (602, False, "one evaluation"),
    ],
)
def test_what_costs_as_much_as_ram(answer, right, words):
    verdict = exercises.as_dear_as_ram(answer)
    assert verdict.right is right and words in verdict.sentence

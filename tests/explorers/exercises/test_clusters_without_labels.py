"""Right answers are right, likely slips are named, and nothing raises."""

import math

import pytest
import torch

from toolkit.explorers.exercises import clusters_without_labels as exercises
from toolkit.imsat import mutual_information


def solution(p):
    return torch.special.entr(p.mean(0)).sum() - torch.special.entr(p).sum(1).mean()


@pytest.mark.parametrize(
    "check", [exercises.information, exercises.best_match, exercises.batch_bias, exercises.why_balance]
)
@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(check, answer):
    assert check(answer).right is None


def test_a_function_as_the_lesson_gives_it_is_unsolved():
    assert exercises.information(lambda p: ...).right is None


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (solution, True, "All three"),
        (lambda p: float(solution(p)), True, "All three"),
        (lambda p: solution(p).numpy(), True, "All three"),
        (lambda p: -(p.mean(0) * p.mean(0).log()).sum() + (p * p.log()).sum(1).mean(), False, "0 · log 0"),
        (lambda p: torch.special.entr(p.mean(0)).sum(), False, "H(Y) alone"),
        (lambda p: torch.special.entr(p).sum(1).mean(), False, "H(Y|X) alone"),
        (mutual_information, False, "p.log()"),
        (lambda p: -solution(p), False, "sign"),
        (lambda p: torch.special.entr(p.mean(0)).sum() - torch.special.entr(p).sum(), False, "not the sum"),
        (lambda p: solution(p) / math.log(2), False, "bits"),
        (lambda p: p, False, "one number"),
        (lambda p: p.nothing, False, "AttributeError"),
        (3.0, False, "function"),
    ],
)
def test_information(answer, right, words):
    verdict = exercises.information(answer)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (52.0, True, "of 200"),
        (57.0, False, "majority"),
        (42.0, False, "largest counts first"),
        (43.0, False, "diagonal"),
        (0.52, False, "per cent"),
        (104, False, "divide"),
        (10, False, "not 10"),
    ],
)
def test_best_match(answer, right, words):
    verdict = exercises.best_match(answer)
    assert verdict.right is right and words in verdict.sentence


def test_best_match_against_scipy():
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    counts = np.array(exercises.COUNTS)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    assert exercises.best_match(100 * counts[rows, columns].sum() / counts.sum()).right


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (9 / 500, True, "0.0180"),
        (0.0181, True, "0.0180"),
        (0.0, False, "never has exactly"),
        (9 / 250, False, "twice"),
        (math.log(10), False, "log 10"),
        (10 / 500, False, "K − 1"),
        (-9 / 500, False, "positive"),
        (math.log(10) - 9 / 500, False, "how much below"),
    ],
)
def test_batch_bias(answer, right, words):
    verdict = exercises.batch_bias(answer)
    assert verdict.right is right and words in verdict.sentence


def test_batch_bias_against_simulation():
    generator = torch.Generator().manual_seed(0)
    counts = torch.multinomial(torch.ones(4000, 10), 250, replacement=True, generator=generator)
    shares = torch.nn.functional.one_hot(counts, 10).double().mean(1)
    gap = math.log(10) - torch.special.entr(shares).sum(1).mean()
    assert exercises.batch_bias(gap).right


@pytest.mark.parametrize(("answer", "right"), [("one cluster", True), ("stripes", False), ("two", False)])
def test_why_balance(answer, right):
    assert exercises.why_balance(answer).right is right

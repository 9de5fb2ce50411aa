"""Right answers are right, likely slips are named, and nothing raises."""

import math

import pytest
import torch

from toolkit.explorers.exercises import coin_flips


def solution(f, mu, z):
    eye = torch.eye(len(z), dtype=z.dtype)
    return mu * (1 - mu) * (f(z * (1 - eye) + eye) - f(z * (1 - eye)))


def in_place(f, mu, z):
    for place in range(len(z)):
        z[place] = 1 - z[place]
    return mu


@pytest.mark.parametrize("check", [coin_flips.best_baseline, coin_flips.flip_each, coin_flips.price])
@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(check, answer):
    assert check(answer).right is None


def test_nothing_is_answered_in_the_lesson_as_it_stands():
    assert coin_flips.flip_each(lambda f, mu, z: ...).right is None
    assert coin_flips.flip_each(lambda f, mu, z: None).right is None
    assert coin_flips.coupled_bits(..., ...).right is None


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (0.2 * 3 + 0.8 * 1, True, "0.32"),
        (0.8 * 3 + 0.2 * 1, False, "mean cost"),
        (2.0, False, "fair coin"),
        (0.32, False, "gradient, not the baseline"),
        (7, False, "not 7"),
        ("b", False, "one number"),
        (math.nan, False, "nan"),
    ],
)
def test_the_best_baseline(answer, right, words):
    verdict = coin_flips.best_baseline(answer)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (solution, True, "exact gradient"),
        (lambda f, mu, z: solution(f, mu, z).tolist(), True, "agree"),
        (lambda f, mu, z: solution(f, mu, z) / (mu * (1 - mu)), False, "factor μ(1 − μ)"),
        (lambda f, mu, z: -solution(f, mu, z), False, "sign"),
        (lambda f, mu, z: f(z) * (z - mu), False, "likelihood ratio"),
        (lambda f, mu, z: mu * (1 - mu) * (f(z * 0 + 1) - f(z * 0)), False, "all the bits at once"),
        (lambda f, mu, z: mu * (1 - mu) * (f((z - torch.eye(len(z)).double()).abs()) - f(z)), False, "wrong sign"),
        (lambda f, mu, z: solution(f, mu, z).sum(), False, "expected shape"),
        (lambda f, mu, z: "three", False, "Expected 4 numbers"),
        (lambda f, mu, z: 1 / 0, False, "ZeroDivisionError"),
        (lambda f, mu, z: mu * 0 + 17, False, "numbers differ"),
        (in_place, False, "changed"),
        (3, False, "Expected a function"),
    ],
)
def test_ram_of_the_reader(answer, right, words):
    verdict = coin_flips.flip_each(answer)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (16, True, "15 for what"),
        (15, False, "the sample itself"),
        (10, False, "four others"),
        (18, False, "is the sample itself"),
        (16.4, False, "not 16.4"),
        (25, False, "need not be evaluated again"),
        (3200, False, "every configuration"),
        (5, False, "not 5"),
    ],
)
def test_the_price(answer, right, words):
    verdict = coin_flips.price(answer)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(
    ("logits", "f", "right", "words"),
    [
        ([0.0, 0.5], lambda z: z[..., 0] * z[..., 1], True, "depends on the other"),
        ([0.0, 0.5], lambda z: z.sum(-1), False, "sum of one term"),
        ([0.0, 60.0], lambda z: z.prod(-1), False, "all but certain"),
        ([0.0], lambda z: z.prod(-1), False, "two logits"),
        ("ab", lambda z: z.prod(-1), False, "two logits"),
        ([0.0, 0.5], 3, False, "function"),
        ([0.0, 0.5], lambda z: z, False, "expected 4 costs"),
        ([0.0, 0.5], lambda z: z[0] * z[1], False, "z[..., 0]"),
        ([0.0, 0.0], lambda z: z[..., 0] != z[..., 1], True, "gradient of (0, 0)"),
        ([0.0, 0.5], lambda z: 1e-8 * z.prod(-1), True, "depends on the other"),
        ([0.0, 0.5], lambda z: 0 * z.sum(-1), False, "sum of one term"),
        ([0.0, 0.5], lambda z: 1e6 * z.sum(-1) ** 1, False, "sum of one term"),
        ([0.0, 0.5], lambda z: z.sum(-1).log(), False, "finite"),
    ],
)
def test_a_cost_that_tests(logits, f, right, words):
    verdict = coin_flips.coupled_bits(logits, f)
    assert verdict.right is right and words in verdict.sentence

"""Right answers are right, likely slips are named, and nothing raises."""

import itertools
import math
import statistics

import pytest
import torch

from toolkit.datasets import sprites
from toolkit.explorers.exercises import start_here


@pytest.mark.parametrize("check", [start_here.ledger_line, start_here.nearest, start_here.same_orientations])
def test_unsolved(check):
    assert check(...).right is None


def test_nothing_is_answered_in_the_lesson_as_it_stands():
    assert start_here.ledger_line(..., ..., ...).right is None
    assert start_here.nearest(lambda centres, images: ...).right is None
    assert start_here.same_orientations(..., ...).right is None


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (
            (statistics.mean(start_here.SECONDS), statistics.stdev(start_here.SECONDS), "within"),
            True,
            "within its 3.3 s",
        ),
        ((898.3, 4.7, " Within "), True, "0.4 s from"),
        ((898.3, statistics.pstdev(start_here.SECONDS), "within"), False, "n − 1"),
        ((898.3, 4.7, "outside"), False, "compares the means"),
        ((899.6, 4.7, "within"), False, "median"),
        ((897.9, 4.7, "within"), False, "The mean"),
        ((math.nan, 4.7, "within"), False, "The mean"),
        ((898.3, "many", "within"), False, "one number"),
        ((898.3, 4.7, 3), False, "Choose 'within' or 'outside'"),
        ((898.3, 4.7, "inside"), False, "Choose 'within' or 'outside'"),
        ((898, 4.7, "within"), False, "one decimal"),
        ((898.3, 5, "within"), False, "one decimal"),
        ((898.3, 3.3, "within"), False, "the paper's own ±"),
        ((898.3, 1.0, "within"), False, "n − 1"),
        ((torch.tensor(898.3), 4.7, "within"), True, "0.4 s from"),
    ],
)
def test_a_line_of_the_ledger(answer, right, words):
    verdict = start_here.ledger_line(*answer)
    assert verdict.right is right
    assert words in verdict.sentence


@pytest.mark.parametrize(
    "answer",
    [(898, 4.7, "within"), (1, 4.7, "within"), (898.3, 3.3, "within"), (898.3, 1, "within"), (math.nan, 4.7, "within")],
)
def test_a_wrong_number_is_answered_without_the_right_one(answer):
    sentence = start_here.ledger_line(*answer).sentence
    assert "4.7" not in sentence and "898.2" not in sentence and "898.3" not in sentence


def squares(centres, images):
    return ((images[:, None] - centres[None]) ** 2).sum(2).argmin(1)


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (lambda centres, images: torch.cdist(images, centres).argmin(1), True, "304 of 360"),
        (squares, True, "304 of 360"),
        (lambda centres, images: squares(centres, images).tolist(), True, "304 of 360"),
        (
            lambda centres, images: torch.cdist(centres, images).argmin(1),
            False,
            "three centres and four images of two pixels",
        ),
        (lambda centres, images: (images @ centres.T).argmax(1), False, "largest scalar product is not"),
        (lambda centres, images: torch.cdist(images, centres).argmax(1), False, "farthest"),
        (lambda centres, images: (centres[None] - images[:, None]).sum(2).argmin(1), False, "square them first"),
        (lambda centres, images: torch.cdist(images, centres), False, "Square them and sum over"),
        (lambda centres, images: torch.cdist(images, centres, p=1).argmin(1), False, "ten class means"),
        (lambda centres, images: images.nonsense(), False, "AttributeError"),
        (7, False, "Expected a function"),
    ],
)
def test_nearest(answer, right, words):
    verdict = start_here.nearest(answer)
    assert verdict.right is right
    assert words in verdict.sentence


def test_the_two_orientations_are_the_only_ones():
    hearts = sprites.render([[2, 5, orientation, 15, 15] for orientation in range(40)], device="cpu")
    pairs = itertools.combinations(range(40), 2)
    assert [pair for pair in pairs if torch.equal(hearts[pair[0]], hearts[pair[1]])] == [(0, 39)]


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        ((0, 39), True, "whole turn"),
        ((torch.tensor(39), 0), True, "whole turn"),
        ((3, 3), False, "two different"),
        ((0, 40), False, "0 to 39"),
        ((5, 25), False, "Half a turn"),
        ((5, 6), False, "5 and 6 differ"),
        (("first", "last"), False, "ValueError"),
    ],
)
def test_same_orientations(answer, right, words):
    verdict = start_here.same_orientations(*answer)
    assert verdict.right is right
    assert words in verdict.sentence

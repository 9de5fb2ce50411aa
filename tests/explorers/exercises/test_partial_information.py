"""Right answers are right, likely slips are named, and nothing raises."""

import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement import joint_from_table, named_system
from toolkit.explorers.exercises import partial_information as exercises


def solution(table):
    """As the lesson prints it."""

    def entropy(p):
        return torch.special.entr(p).sum() / torch.log(torch.tensor(2.0, dtype=p.dtype))

    return entropy(table.sum(0)) + entropy(table.sum(1)) - entropy(table)


def by_ratios(table):
    """The definition, cell by cell."""
    p = table.numpy()
    total = 0.0
    for row in range(p.shape[0]):
        for column in range(p.shape[1]):
            if p[row, column] > 0:
                total += p[row, column] * math.log2(p[row, column] / p[row].sum() / p[:, column].sum())
    return total


def same_view(flip):
    """Both sources are one noisy view of a fair bit."""
    weights = {(a, a, y): flip if a != y else 1 - flip for a in (0, 1) for y in (0, 1)}
    joint = torch.zeros(2, 2, 2, dtype=torch.float64)
    for (a, b, y), weight in weights.items():
        joint[a, b, y] = weight / 2
    return joint


@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(answer):
    assert exercises.information(answer).right is None
    assert exercises.redundant_for_certain(answer).right is None
    assert exercises.by_hand((answer, answer, answer), (0, 0, 1)).right is None
    assert exercises.parts((0.3, 0.5), (0.2, 0.4), (answer, answer)).right is None
    assert exercises.nothing_unique(answer, {"MMI"}).right is None
    assert exercises.information(lambda table: answer).right is None


def test_by_hand_by_counting():
    def informations(function):
        weights = {(a, b, function(a, b)): 1 for a in (0, 1) for b in (0, 1)}
        joint = joint_from_table(weights)
        first, second, both = joint.sum(1), joint.sum(0), joint.flatten(0, 1)
        return tuple(by_ratios(table) for table in (first, second, both))

    assert exercises.by_hand(informations(lambda a, b: (a, b)), informations(lambda a, b: a ^ b)).right
    assert exercises.by_hand(np.array([1, 1, 2]), torch.tensor([0, 0, 1])).right


@pytest.mark.parametrize(
    ("copy", "xor", "words"),
    [
        ((0.6931, 0.6931, 1.3863), (0, 0, 1), "COPY: these are nats"),
        ((1, 1, 1), (0, 0, 1), "COPY: I(y; a, b)"),
        ((2, 2, 2), (0, 0, 1), "COPY: I(y; a)"),
        ((1, 1, 2), (0.5, 0.5, 1), "XOR: I(y; a)"),
        ((1, 1, 2), (0, 0, 0), "XOR: I(y; a, b)"),
        ((1, 1, 2), (0, 0, float("nan")), "XOR: I(y; a, b)"),
        ((1, 1), (0, 0, 1), "three numbers for COPY"),
        ((1, 1, 2), 1, "three numbers for XOR"),
        ((1, 1, 2), "one", "three numbers for XOR"),
    ],
)
def test_slips_of_by_hand(copy, xor, words):
    verdict = exercises.by_hand(copy, xor)
    assert verdict.right is False and words in verdict.sentence


def test_information_as_the_lesson_prints_it_and_by_its_definition():
    assert exercises.information(solution).right
    assert exercises.information(by_ratios).right
    assert exercises.information(lambda table: torch.tensor([[by_ratios(table)]])).right


def entropy_of(p):
    p = p[p > 0]
    return float(-(p * p.log2()).sum())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda t: math.log(2) * by_ratios(t), "nats"),
        (lambda t: entropy_of(t), "entropy of the pair"),
        (lambda t: entropy_of(t.sum(0)), "H(y)"),
        (lambda t: entropy_of(t.sum(0)) - by_ratios(t), "stays open"),
        (lambda t: -by_ratios(t), "sign"),
        (lambda t: entropy_of(t.sum(0)) + entropy_of(t.sum(1)), "adds the two"),
        (lambda t: (t * (t / t.sum(0) / t.sum(1, keepdim=True)).log2()).sum(), "0 · log 0"),
        (lambda t: 2 * by_ratios(t), "twice too much"),
        (lambda t: by_ratios(t.clamp(min=1e-3)), "with zeros"),
        (lambda t: by_ratios(t.mul_(1.0).div_(2.0)), "has changed"),
        (lambda t: t, "one number"),
        (lambda: 0.0, "stopped with"),
        (lambda t: t @ "a", "stopped with"),
        (0.3, "function"),
    ],
)
def test_slips_of_information(answer, words):
    verdict = exercises.information(answer)
    assert verdict.right is False and words in verdict.sentence


def test_parts_by_trying_every_redundancy():
    first, second, both = exercises.INFORMATIONS
    redundant = np.linspace(0, 1, 100_001)
    others = {"unique": first - redundant, "second": second - redundant, "both": both - first - second + redundant}
    fits = np.all([values >= -1e-9 for values in others.values()], axis=0)
    ends = [(values[fits].min(), values[fits].max()) for values in (redundant, others["unique"], others["both"])]
    assert exercises.parts(*ends).right


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (((0, 0.5), (0.2, 0.4), (0, 0.2)), "redundant part: the lower end"),
        (((0.3, 0.7), (0.2, 0.4), (0, 0.2)), "redundant part: the upper end"),
        (((0.5, 0.3), (0.2, 0.4), (0, 0.2)), "comes first"),
        (((0.3, 0.5), (0, 0.4), (0, 0.2)), "unique to a: the lower end"),
        (((0.3, 0.5), (0.2, 0.7), (0, 0.2)), "unique to a: the upper end"),
        (((0.3, 0.5), (0.2, 0.4), (0.2, 0.2)), "complementary part: the lower end"),
        (((0.3, 0.5), (0.2, 0.4), (0, 0.9)), "complementary part: the upper end"),
        (((0.3, 0.5), (0.2, 0.4), (float("nan"), 0.2)), "lower end"),
        (((0.3, 0.5), (0.2, 0.4), 0.2), "a lower and an upper end"),
        (((0.3, 0.5, 0.7), (0.2, 0.4), (0, 0.2)), "a lower and an upper end"),
    ],
)
def test_slips_of_parts(answer, words):
    verdict = exercises.parts(*answer)
    assert verdict.right is False and words in verdict.sentence


@pytest.mark.parametrize(
    "joint",
    [
        same_view(0.11),
        same_view(0.11).numpy(),
        same_view(0.89).tolist(),
        # a rare y that both know
        joint_from_table({(0, 0, 0): 0.89, (1, 1, 1): 0.11}),
    ],
)
def test_redundant_for_certain(joint):
    assert exercises.redundant_for_certain(joint).right


def test_redundant_for_certain_also_where_one_source_knows_more():
    # b is a noisy view of a, and tells what a tells less well: only R is certain, and b's unique part is 0.
    flip = 0.11
    joint = torch.zeros(2, 2, 2, dtype=torch.float64)
    for y in (0, 1):
        for b in (0, 1):
            joint[y, b, y] += 0.5 * (flip if b != y else 1 - flip)
    assert exercises.redundant_for_certain(joint).right


@pytest.mark.parametrize(
    ("joint", "words"),
    [
        (same_view(0.0), "Too much"),
        (same_view(0.3), "Too little"),
        (named_system("XOR"), "Too little"),
        (named_system("NOISY", flip_probabilities=(0.1, 0.1)), "nothing is certain"),
        (named_system("SUM"), "shape (2, 2, 2)"),
        (torch.full((2, 2, 2), 0.2), "add up to 1.6"),
        (-same_view(0.11), "negative"),
        (torch.full((2, 2, 2), float("nan")), "NaN"),
        ("half", "table of probabilities"),
        (0.5, "shape"),
    ],
)
def test_slips_of_redundant_for_certain(joint, words):
    verdict = exercises.redundant_for_certain(joint)
    assert verdict.right is False and words in verdict.sentence


@pytest.mark.parametrize(
    ("same", "copy", "right", "words"),
    [
        ({"I_min", "MMI", "BROJA"}, {"I_min", "MMI"}, True, "different bits"),
        (["imin", "mmi", "broja"], ("i min", "MMI "), True, "tell a from b"),
        ({"I_min", "MMI", "BROJA", "CCS"}, {"I_min", "MMI"}, False, "CCS should not"),
        ({"I_min", "MMI"}, {"I_min", "MMI"}, False, "1 more"),
        ({"I_min", "MMI", "BROJA"}, {"I_min", "MMI", "BROJA"}, False, "COPY: BROJA should not"),
        ({"I_min", "MMI", "BROJA"}, set(), False, "COPY: 2 more"),
        ("MMI", {"I_min", "MMI"}, False, "set of names"),
        ({"I_max"}, {"I_min", "MMI"}, False, "none of"),
        (3, {"I_min", "MMI"}, False, "set of names"),
    ],
)
def test_nothing_unique(same, copy, right, words):
    verdict = exercises.nothing_unique(same, copy)
    assert verdict.right is right and words in verdict.sentence

"""Right answers are right, likely slips are named, and nothing raises."""

import math

import pytest
import torch

from toolkit.adversarial import Ensemble
from toolkit.explorers.exercises import attacks_against_defences as exercises


@pytest.mark.parametrize(
    "check", [exercises.attack_score, exercises.worst_case, exercises.larger_loss, exercises.defence]
)
@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(check, answer):
    assert check(answer).right is None
    assert exercises.who_counts(answer, {"d"}).right is None and exercises.who_counts({"a"}, answer).right is None


def test_a_function_as_the_lesson_gives_it_is_unsolved():
    assert exercises.defence(lambda images: ...).right is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.7, "defences win"),
        (9, "raw score"),
        (0.9, "number of defences"),
        (3.0, "number of images"),
        (0.1, "worst case"),
        (30, "per cent"),
        (0.55, "not 0.55"),
        ("x", "one number"),
    ],
)
def test_attack_score(answer, words):
    wrong = sum(exercises.N_IMAGES - right for right in exercises.RIGHT)
    assert exercises.attack_score(wrong / (len(exercises.RIGHT) * exercises.N_IMAGES)).right
    verdict = exercises.attack_score(answer)
    assert verdict.right is False and words in verdict.sentence


@pytest.mark.parametrize(
    ("attacks", "defences", "right", "words"),
    [
        ({"a"}, {"d"}, True, "no opponent"),
        (["A"], ("d ",), True, "no opponent"),
        ("a", "d", True, "no opponent"),
        ("a, b", "d", False, "from b"),
        ({"a", "b"}, {"d"}, False, "from b"),
        (set(), {"d"}, False, "a made every image"),
        ({"a"}, {"d", "e"}, False, "e was given"),
        ({"a"}, set(), False, "d labelled every image"),
        ({"d"}, {"a"}, False, "called a and b"),
        (1, {"d"}, False, "set of names"),
    ],
)
def test_who_counts(attacks, defences, right, words):
    verdict = exercises.who_counts(attacks, defences)
    assert verdict.right is right and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.3, "in A"),
        (0.375, "in A"),
        (0.5, "in A"),
        (0.8, "mean over A"),
        (19 / 30, "smallest"),
        (7, "number of images"),
        (0.9, "not 0.9"),
    ],
)
def test_worst_case(answer, words):
    assert exercises.worst_case(7 / 10).right
    verdict = exercises.worst_case(answer)
    assert verdict.right is False and words in verdict.sentence


def test_larger_loss_is_right_by_the_ensembles_themselves():
    def sure(share):
        logits = torch.tensor([[math.log(share), math.log(1 - share)]], dtype=torch.float64)
        return torch.nn.Sequential(torch.nn.Flatten(), Constant(logits))

    images, labels = torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([0])
    members = [sure(0.9), sure(0.1)]
    losses = {fuse: float(Ensemble(members, fuse=fuse).losses(images, labels)) for fuse in ("loss", "probabilities")}
    assert losses["loss"] == pytest.approx(-(math.log(0.9) + math.log(0.1)) / 2)
    assert losses["loss"] > losses["probabilities"] == pytest.approx(math.log(2))
    assert exercises.larger_loss(" Losses ").right
    assert exercises.larger_loss("probabilities").right is False and exercises.larger_loss("equal").right is False


class Constant(torch.nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, flat):
        return self.logits.expand(len(flat), -1)


def after(change):
    """Return a defence that changes the images first."""
    return lambda images: exercises.undefended()(change(images)).argmax(1)


def few_levels(images):
    return (images * 3).round() / 3


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (after(few_levels), True, "does not know it"),
        (after(lambda images: images), False, "points more"),
        (after(lambda images: images.flip(-1)), False, "clean images"),
        (lambda images: torch.zeros(len(images)), False, "points more"),
        (lambda images: exercises.undefended()(images), False, "logits"),
        (lambda images: [0, 1], False, "Expected 200 labels"),
        (lambda images: "coat", False, "tensor of labels"),
        (lambda images: exercises.undefended()(images.float()).argmax(1), False, "stopped with"),
        (1, False, "function"),
    ],
)
def test_defence(answer, right, words):
    verdict = exercises.defence(answer)
    assert verdict.right is right and words in verdict.sentence


def test_the_attack_stays_within_epsilon_and_is_the_same_every_time():
    clean, attacked, labels = exercises.images_to_defend()
    assert len(labels) == exercises.N_ATTACKED and clean.dtype == attacked.dtype == torch.float64
    assert float((attacked - clean).abs().max()) <= exercises.EPSILON + 1e-12
    with torch.no_grad():
        wrong = [
            float((exercises.undefended()(images).argmax(1) != labels).double().mean()) for images in (clean, attacked)
        ]
    assert wrong[1] > wrong[0] + 0.3


def test_a_defence_cannot_change_the_images_for_the_next():
    def spoil(images):
        images.zero_()
        return torch.zeros(len(images), dtype=torch.int64)

    before = exercises.images_to_defend()[0].clone()
    assert exercises.defence(spoil).right is False
    assert torch.equal(before, exercises.images_to_defend()[0])

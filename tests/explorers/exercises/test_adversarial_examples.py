"""Right answers are right, likely slips are named, and nothing raises."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from toolkit.explorers.exercises import adversarial_examples as exercises


def solution(model, images, labels, epsilon):
    """As the lesson prints it."""
    x = images.clone().requires_grad_()
    F.cross_entropy(model(x), labels).backward()
    return (x + epsilon * x.grad.sign()).clamp(0, 1).detach()


def made(change):
    """Return an attack from what it makes of images, gradient and epsilon."""

    def attack(model, images, labels, epsilon):
        x = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(model(x), labels, reduction="sum"), x)
        return change(images, slope, epsilon)

    return attack


@pytest.mark.parametrize("check", [exercises.fgsm, exercises.radius, exercises.worst_against_noise, exercises.momentum])
@pytest.mark.parametrize("answer", [..., None])
def test_unsolved(check, answer):
    assert check(answer).right is None


@pytest.mark.parametrize("answer", [(..., ...), (0.04, ...), (..., 0.0), (None, None)])
def test_bounds_unsolved(answer):
    assert exercises.bounds(*answer).right is None


def test_a_function_as_the_lesson_gives_it_is_unsolved():
    assert exercises.fgsm(lambda model, images, labels, epsilon: ...).right is None


def test_fgsm_as_the_lesson_prints_it():
    assert exercises.fgsm(solution).right
    assert exercises.fgsm(made(lambda x, g, e: (x + e * g.sign()).clamp(0, 1))).right
    assert exercises.fgsm(lambda *given: solution(*given).requires_grad_()).right
    assert exercises.fgsm(lambda *given: solution(*given).float()).right, "single precision is precise enough"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (made(lambda x, g, e: x + e * g.sign()), "leave [0, 1]"),
        (made(lambda x, g, e: (x - e * g.sign()).clamp(0, 1)), "wrong way"),
        (made(lambda x, g, e: (x + e * torch.where(g >= 0, 1.0, -1.0)).clamp(0, 1)), "sign of zero"),
        (made(lambda x, g, e: (x + e * g).clamp(0, 1)), "more than ε"),
        (made(lambda x, g, e: (x + e * g / g.abs().max()).clamp(0, 1)), "off"),
        (made(lambda x, g, e: (x + e * g / g.abs()).clamp(0, 1)), "not finite"),
        (made(lambda x, g, e: (x + 2 * e * g.sign()).clamp(0, 1)), "more than ε"),
        (made(lambda x, g, e: x), "No pixel moves"),
        (made(lambda x, g, e: x.add_(e * g.sign()).clamp_(0, 1)), "given have changed"),
        (made(lambda x, g, e: g.sign().flatten()), "shape"),
        (made(lambda x, g, e: "far"), "tensor"),
        (lambda model, images: images, "stopped with"),
        (lambda model, images, labels, epsilon: images + images.grad.sign(), "stopped with"),
        (7, "function"),
    ],
)
def test_slips_of_fgsm(answer, words):
    verdict = exercises.fgsm(answer)
    assert verdict.right is False and words in verdict.sentence


def test_radius_by_trying():
    weights = np.array(exercises.WEIGHTS)
    epsilons = np.linspace(0, 1, 100_001)
    margins = exercises.MARGIN - epsilons * (weights * np.sign(weights)).sum()
    assert exercises.radius(epsilons[margins <= 1e-12][0]).right


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (0.7 / math.sqrt(5.25), "L2"),
        (0.7 / 1.5, "both signs"),
        (0.35, "one pixel"),
        (0.8, "mean"),
        (5.0, "round"),
        (2.45, "how far"),
        (51, "grey levels"),
        (0.4, "twice too much"),
        ("far", "one number"),
    ],
)
def test_slips_of_radius(answer, words):
    verdict = exercises.radius(answer)
    assert verdict.right is False and words in verdict.sentence and "0.2 " not in verdict.sentence


def test_worst_against_noise_by_drawing():
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (20_000, exercises.N_PIXELS), generator=generator) * 2 - 1
    assert abs(exercises.N_PIXELS / float(signs.sum(1).double().std()) - 28) < 0.5
    assert exercises.worst_against_noise(28).right and exercises.worst_against_noise(math.sqrt(784)).right


@pytest.mark.parametrize(("answer", "words"), [(784, "one εw"), (1, "cancel"), (1 / 28, "round"), (56, "one way")])
def test_slips_of_worst_against_noise(answer, words):
    verdict = exercises.worst_against_noise(answer)
    assert verdict.right is False and words in verdict.sentence


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        ("same", True, "sign"),
        ("Same ", True, "BIM"),
        ("grow", False, "grows"),
        ("shrink", False, "cancels"),
        ("turn", False, "direction"),
        ("leap", False, "choices"),
        (1, False, "choices"),
    ],
)
def test_momentum(answer, right, words):
    verdict = exercises.momentum(answer)
    assert verdict.right is right and words in verdict.sentence


def test_momentum_by_walking():
    slope, velocity, steps = np.array([0.3, -2.0, 0.0]), np.zeros(3), []
    for length in (1.0, 0.01, 5.0):
        velocity = velocity + length * slope / np.abs(length * slope).sum()
        steps.append(np.sign(velocity))
    assert all(np.array_equal(step, np.sign(slope)) for step in steps)


@pytest.mark.parametrize(
    ("above", "below", "right", "words"),
    [
        (0.04, 0.0, True, "hidden"),
        ("AutoAttack", "certified", True, "nothing is proved"),
        ("autoattack ", "Certified", True, "nothing is proved"),
        (0.6, 0.0, False, "From above"),
        (0.05, 0.0, False, "another attack"),
        (0.0, 0.04, False, "from below"),
        (0.04, 0.04, False, "proved"),
        (0.04, 0.6, False, "From below"),
        ("far", 0.0, False, "one number"),
        (0.04, 1.0, False, "not 1"),
    ],
)
def test_bounds(above, below, right, words):
    verdict = exercises.bounds(above, below)
    assert verdict.right is right and words in verdict.sentence

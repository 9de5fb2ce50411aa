"""Answers to the exercises of the lesson on adversarial examples."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.lessons import Verdict, exercise, expect_choice, expect_number
from toolkit.lessons.checks import in_short, stopped

WEIGHTS, MARGIN = (0.5, -1.0, 0.0, 2.0), 0.7
"""Of ``radius``: weights of the right class less those of the other, and the margin of an image."""

N_PIXELS = 784
"""Of ``worst_against_noise``."""

MEASURED = {"FGSM": 0.60, "PGD": 0.05, "AutoAttack": 0.04, "certified": 0.00}
"""Of ``bounds``: accuracy of a network under three attacks, and the certified one."""


@exercise
def fgsm(answer: Any) -> Verdict:
    """Judge ``fgsm(model, images, labels, epsilon)``: the images after one step, pixels in [0, 1]."""
    if not callable(answer):
        return Verdict(False, f"Expected a function of a model, images, labels and ε, got {in_short(answer)}.")
    for words, model, images, labels, epsilon in _problems():
        right = FGSM()(model, images, labels, epsilon=epsilon)
        given = images.clone()
        try:
            came = answer(model, given, labels.clone(), epsilon)
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                raise
            hint = "Take the gradient by a copy of the images with requires_grad_(), and detach what you return."
            return Verdict(False, stopped(error, hint))
        if came is None or came is ...:
            raise NotImplementedError
        if not torch.equal(given.detach(), images):
            return Verdict(False, "The images that were given have changed; work on a copy.")
        verdict = _judge(came, right, images, epsilon, words)
        if verdict is not None:
            return verdict
    return Verdict(
        True, "All images agree: one step of ε up the loss, pixels without a slope stay, none leaves [0, 1]."
    )


def _judge(came: Any, right: Tensor, images: Tensor, epsilon: float, words: str) -> Verdict | None:
    """Return what is wrong with a result, or None."""
    if not isinstance(came, Tensor):
        return Verdict(False, f"Expected a tensor of images, got {in_short(came)}.")
    if came.shape != right.shape:
        return Verdict(False, f"Expected shape {tuple(right.shape)}, got {tuple(came.shape)}.")
    found = came.detach().to(right)
    if torch.allclose(found, right, rtol=0, atol=1e-6):
        return None
    if not torch.isfinite(found).all():
        return Verdict(False, f"Some pixels are not finite, {words}.")
    if bool((found < -1e-6).any() or (found > 1 + 1e-6).any()):
        return Verdict(False, "Some pixels leave [0, 1]; clamp them.")
    change, step = found - images, right - images
    still = (step == 0) & (images > 0) & (images < 1)
    if epsilon > 0 and bool((change[still].abs() > 1e-6).any()):
        return Verdict(False, "Pixels without a slope moved; the sign of zero is zero.")
    if not change.any():
        return Verdict(False, f"No pixel moves, {words}.")
    if bool((change * step <= 0).all()):
        return Verdict(False, "The pixels move the wrong way: the loss of the label is to rise.")
    if float(change.abs().max()) > epsilon + 1e-6:
        return Verdict(False, f"Some pixels move by more than ε, {words}.")
    return Verdict(False, f"Some pixels are off, {words}: each moves by ε times the sign of its slope.")


def _problems() -> list[tuple[str, nn.Module, Tensor, Tensor, float]]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    first, second, third = (nn.Linear(*shape, dtype=torch.float64) for shape in ((9, 3), (9, 6), (6, 4)))
    for layer in (first, second, third):
        layer.weight.data, layer.bias.data = draw(*layer.weight.shape), draw(*layer.bias.shape)
    first.weight.data[:, 4] = 0.0  # the middle pixel has no slope
    linear = nn.Sequential(nn.Flatten(), first).eval()
    deep = nn.Sequential(nn.Flatten(), second, nn.Tanh(), third).eval()
    inner, edges = draw(5, 1, 3, 3).sigmoid() * 0.5 + 0.25, draw(4, 1, 3, 3).sigmoid().round()
    return [
        ("by a linear network", linear, inner, torch.tensor([0, 1, 2, 1, 0]), 0.1),
        ("by a network with a hidden layer", deep, inner, torch.tensor([3, 0, 2, 1, 1]), 0.05),
        ("where pixels are 0 or 1", deep, edges, torch.tensor([0, 1, 2, 3]), 0.2),
        ("of one image", linear, inner[:1], torch.tensor([2]), 0.5),
    ]


@exercise
def radius(answer: Any) -> Verdict:
    """Judge the smallest ε that takes the margin ``MARGIN`` of a linear classifier with ``WEIGHTS`` to 0."""
    total, length = sum(map(abs, WEIGHTS)), math.hypot(*WEIGHTS)
    return expect_number(
        answer,
        MARGIN / total,
        tolerance=2e-3,
        withhold=True,
        right="The margin falls by ε times 3.5, the sum of the absolute weights; the third pixel does nothing.",
        slips={
            MARGIN / length: "that is the distance in L2, where a few pixels may move far; here each moves by ε.",
            MARGIN / sum(WEIGHTS): "weights of both signs cancel there; each pixel moves the way that hurts.",
            MARGIN / max(map(abs, WEIGHTS)): "that is enough if one pixel moves alone; all of them may.",
            MARGIN * len(WEIGHTS) / total: "that divides by the mean of the absolute weights; all of them add up.",
            total / MARGIN: "turn the fraction round.",
            255 * MARGIN / total: "that counts grey levels; pixels go from 0 to 1 here.",
            MARGIN * total: "that is how far the margin falls at ε = 0.7; ask when it falls by 0.7.",
        },
    )


@exercise
def worst_against_noise(answer: Any) -> Verdict:
    """Judge the fall of the margin over the standard deviation of noise, for ``N_PIXELS`` equal weights."""
    return expect_number(
        answer,
        math.sqrt(N_PIXELS),
        tolerance=0.01,
        withhold=True,
        right="784 εw against √784 εw. The more pixels, the further the worst change is from what noise does.",
        slips={
            float(N_PIXELS): "the worst change adds up 784 times εw; so far right. Random signs do not stay at one εw.",
            1.0: "random signs mostly cancel; the worst ones do not.",
            1 / math.sqrt(N_PIXELS): "turn the fraction round.",
            2 * math.sqrt(N_PIXELS): "both count one way only: from the margin downwards.",
        },
    )


@exercise
def momentum(answer: Any) -> Verdict:
    """Judge what becomes of the steps if the gradient's direction never turns: grow, same, shrink or turn."""
    return expect_choice(
        answer,
        "same",
        right="The sum of the gradients keeps their direction, and only its sign is used: the steps of BIM, all of α.",
        slips={
            "grow": "The sum grows, but a step takes its sign only.",
            "shrink": "Nothing cancels while the direction stays; a step takes the sign only.",
            "turn": "Each summand has the same direction, and so has the sum.",
        },
    )


@exercise
def bounds(above: Any, below: Any) -> Verdict:
    """Judge the best upper and the best lower bound of the accuracy under the best of all attacks in ``MEASURED``."""
    named = {name.casefold(): value for name, value in MEASURED.items()}
    above, below = (
        named.get(answer.strip().casefold(), answer) if isinstance(answer, str) else answer for answer in (above, below)
    )
    lower = expect_number(
        below,
        MEASURED["certified"],
        tolerance=1e-9,
        withhold=True,
        slips={
            MEASURED[name]: "that was measured with an attack; a better one may come below it. What is proved?"
            for name in ("FGSM", "PGD", "AutoAttack")
        },
    )
    upper = expect_number(
        above,
        MEASURED["AutoAttack"],
        tolerance=1e-9,
        withhold=True,
        slips={
            MEASURED["FGSM"]: "an upper bound, but not the best one: other attacks leave less right.",
            MEASURED["PGD"]: "an upper bound, but not the best one: another attack leaves less right.",
            MEASURED["certified"]: "that one bounds it from below: no attack comes under it.",
        },
    )
    for name, verdict in (("From above", upper), ("From below", lower)):
        if not verdict.right:
            return Verdict(False, f"{name}: {verdict.sentence[0].lower()}{verdict.sentence[1:]}")
    return Verdict(
        True,
        "The best attack leaves no more than 0.04 right, and nothing is proved. FGSM's 0.60 says that the gradient is "
        "hidden, not that the network is robust.",
    )

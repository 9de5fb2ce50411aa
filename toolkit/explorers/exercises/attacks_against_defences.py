"""Answers to the exercises of the lesson on the competition of attacks and defences."""

import functools
import re
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from toolkit.adversarial.attacks.gradient import MIFGSM
from toolkit.adversarial.competition import complete_attacks, complete_defences, score
from toolkit.explorers.clothes import clothes, network
from toolkit.lessons import Verdict, exercise, expect_choice, expect_number
from toolkit.lessons.checks import in_short, stopped

N_IMAGES = 10
RIGHT = (4, 9, 8)
"""Images of ``N_IMAGES`` that three defences label rightly when one attack has changed them."""

RIGHT_BY_ATTACK, MADE_BY_ATTACK = (9, 7, 3), (10, 10, 8)
"""Of one defence against three attacks: images labelled rightly, and images that the attack made."""

N_ATTACKED, EPSILON, N_STEPS = 200, 16 / 255, 5
"""The images of ``defence``, and the momentum attack on the undefended network."""

GAIN, LOSS = 0.10, 0.10
"""Share of the attacked images to win at least, and of the clean ones to lose at most."""


@exercise
def attack_score(answer: Any) -> Verdict:
    """Judge the score of an attack by which ``RIGHT`` images are labelled rightly."""
    wrong = torch.tensor([[N_IMAGES - right for right in RIGHT]])
    found = score(wrong, torch.ones(len(RIGHT), dtype=torch.bool), N_IMAGES)
    return expect_number(
        answer,
        found.score[0],
        tolerance=5e-3,
        withhold=True,
        right=f"{found.raw[0]} images fooled, of {N_IMAGES * len(RIGHT)} answers.",
        slips={
            1 - found.score[0]: "that is the share labelled rightly, what the defences win.",
            float(found.raw[0]): "that is the raw score; divide by the defences and the images.",
            found.raw[0] / N_IMAGES: "divide by the number of defences too.",
            found.raw[0] / len(RIGHT): "divide by the number of images too.",
            found.worst[0]: "that is the worst case; the score is over all defences.",
            100 * found.score[0]: "a share is meant, not per cent.",
        },
    )


@exercise
def who_counts(attacks: Any, defences: Any) -> Verdict:
    """Judge who is in A and in D after a crash: two sets of names.

    Ten images, two batches of five. Attack a makes all; b stops in the second batch. Defence d labels all that it is
    given; e stops in the second batch of a.
    """
    made, labelled = torch.tensor([10, 5]), torch.tensor([[10, 5], [5, 5]])
    in_a = {name for name, whole in zip("ab", complete_attacks(made, N_IMAGES).tolist(), strict=True) if whole}
    in_d = {name for name, whole in zip("de", complete_defences(labelled, made).tolist(), strict=True) if whole}
    given = []
    for answer in (attacks, defences):
        names = re.findall(r"\w+", answer) if isinstance(answer, str) else answer
        try:
            given.append({str(name).strip().casefold() for name in names})
        except TypeError:
            return Verdict(False, f"Expected a set of names such as {{'a', 'b'}}, got {in_short(answer)}.")
    first, second = given
    strangers = sorted((first - {"a", "b"}) | (second - {"d", "e"}))
    if strangers:
        return Verdict(False, f"Attacks are called a and b, defences d and e; got {in_short(strangers)}.")
    if first != in_a:
        if "b" in first:
            return Verdict(False, "A: not every image came from b.")
        return Verdict(False, "A: a made every image; who counts does not depend on what a defence does with them.")
    if second != in_d:
        if "e" in second:
            return Verdict(False, "D: e was given images that it did not label.")
        return Verdict(False, "D: d labelled every image that it was given; what b never made it could not label.")
    return Verdict(True, "Whoever stops is no opponent; whoever only meets one that stops still is.")


@exercise
def worst_case(answer: Any) -> Verdict:
    """Judge the worst case of a defence by ``RIGHT_BY_ATTACK`` and ``MADE_BY_ATTACK``."""
    made = torch.tensor(MADE_BY_ATTACK)
    points = torch.tensor([RIGHT_BY_ATTACK]) + (N_IMAGES - made)  # a missing image counts as labelled rightly
    found = score(points, complete_attacks(made, N_IMAGES), N_IMAGES)
    last = RIGHT_BY_ATTACK[-1]
    return expect_number(
        answer,
        found.worst[0],
        tolerance=5e-3,
        withhold=True,
        right="The third attack did not make every image, so it is not in A: the second one is the worst.",
        slips={
            last / N_IMAGES: "is the third attack in A?",
            last / MADE_BY_ATTACK[-1]: "is the third attack in A?",
            int(points[0, -1]) / N_IMAGES: "missing images do count as labelled rightly, but is the third attack in A?",
            found.score[0]: "that is the score, the mean over A.",
            sum(RIGHT_BY_ATTACK) / len(RIGHT_BY_ATTACK) / N_IMAGES: "a mean; the worst case is the smallest share.",
            float(RIGHT_BY_ATTACK[1]): "divide by the number of images.",
        },
    )


@exercise
def larger_loss(answer: Any) -> Verdict:
    """Judge which loss is larger: the mean of two losses or the loss of the mean probability."""
    return expect_choice(
        answer,
        "losses",
        right="−log is convex: its mean is at least −log of the mean (Jensen); equal only where both networks agree.",
        slips={
            "probabilities": "Try 0.9 and 0.1: one network that is fooled weighs more in one of the two.",
            "equal": "Only if both networks are equally sure.",
        },
    )


def undefended() -> nn.Module:
    """Return the network to defend, LeNet in float64: images ``[n, 1, 28, 28]`` in [0, 1] to logits ``[n, 10]``."""
    return network("lenet")


@functools.lru_cache(maxsize=1)
def images_to_defend() -> tuple[Float[Tensor, "n 1 28 28"], Float[Tensor, "n 1 28 28"], Int64[Tensor, " n"]]:
    """Return clean images, the same attacked, and their labels; the attack knows the network and nothing else."""
    shown = clothes()
    clean, labels = shown.images[:N_ATTACKED], shown.labels[:N_ATTACKED]
    return clean, MIFGSM(n_steps=N_STEPS)(undefended(), clean, epsilon=EPSILON), labels


@exercise
def defence(answer: Any) -> Verdict:
    """Judge a function from images to labels: right more often than the undefended network after an attack on this."""
    if not callable(answer):
        return Verdict(False, f"Expected a function of images, got {in_short(answer)}.")
    clean, attacked, labels = images_to_defend()
    shares = []
    for images in (clean, attacked):
        try:
            with torch.no_grad():
                came = answer(images.clone())
        except Exception as error:
            if isinstance(error, NotImplementedError) and not str(error):
                raise  # the dots of the lesson
            hint = "The images are a float64 tensor, one image a row: [n, 1, 28, 28]."
            return Verdict(False, stopped(error, hint))
        if came is None or came is ...:
            raise NotImplementedError
        try:
            found = torch.as_tensor(came)
        except (TypeError, ValueError, RuntimeError):
            return Verdict(False, f"Expected a tensor of labels, got {in_short(came)}.")
        if found.shape != labels.shape:
            logits = found.shape == (len(labels), 10)
            return Verdict(
                False,
                f"Expected {len(labels)} labels, got shape {tuple(found.shape)}."
                f"{' Those are logits: the label is the index of the largest.' if logits else ''}",
            )
        shares.append(float((found.double() == labels).double().mean()))
    return _judge(*shares)


def _judge(clean: float, attacked: float) -> Verdict:
    with torch.no_grad():
        before = [
            float((undefended()(images).argmax(1) == images_to_defend()[2]).double().mean())
            for images in images_to_defend()[:2]
        ]
    counts = (
        f"right after the attack: {attacked:.0%}, undefended {before[1]:.0%}; "
        f"on clean images: {clean:.0%}, undefended {before[0]:.0%}"
    ).replace("%", " %")
    if attacked < before[1] + GAIN:
        return Verdict(False, f"At least {100 * GAIN:.0f} points more are asked for: {counts}.")
    if clean < before[0] - LOSS:
        return Verdict(False, f"At most {100 * LOSS:.0f} points fewer are allowed on clean images: {counts}.")
    return Verdict(True, f"It helps against an attack that does not know it: {counts}.")

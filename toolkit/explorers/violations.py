"""Attacks that break a rule of the competition, each in its own way, around one that keeps them."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.adversarial.attacks.gradient import FGSM

KEEPS = "keeps the rules"
EVERY, SECOND = "every batch", "the second batch"
SECOND_EPSILON = 16
_LONG = 3600.0  # seconds


@dataclass(frozen=True)
class RuleBreaker:
    """FGSM with a flaw.

    Attributes:
        model: whose gradient it takes.
        violation: a key of ``VIOLATIONS``.
        when: ``EVERY`` or ``SECOND``, the batches in which it breaks the rule.
    """

    model: nn.Module
    violation: str
    when: str

    def __call__(self, images: Float[Tensor, "batch channels height width"], epsilon: float) -> Any:
        """Return attacked images, or something else."""
        # By epsilon: a program that was ended and started again has forgotten how many batches it has seen.
        breaks = self.when == EVERY or round(255 * epsilon) == SECOND_EPSILON
        made = FGSM()(self.model, images.clone(), epsilon=epsilon)
        return VIOLATIONS[self.violation].spoil(made, images, epsilon) if breaks else made


@dataclass(frozen=True)
class Violation:
    """A way to break a rule.

    Attributes:
        does: what the attack does, after "it".
        ruling: what the rules say to it.
        spoil: turns good attacked images, the given ones and epsilon into what is returned.
        harmless: whether it may be run in the process that asks.
    """

    does: str
    ruling: str
    spoil: Callable[[Tensor, Tensor, float], Any]
    harmless: bool = True


def _beyond(made: Tensor, images: Tensor, epsilon: float) -> Tensor:
    return images + 4 * (made - images)


def _nan(made: Tensor, images: Tensor, epsilon: float) -> Tensor:
    made = made.clone()
    made[::2, :, 0, 0] = float("nan")
    return made


def _sleep(made: Tensor, images: Tensor, epsilon: float) -> Tensor:
    time.sleep(_LONG)
    return made


def _sleep_later(made: Tensor, images: Tensor, epsilon: float) -> Any:
    yield from made[:5]
    time.sleep(_LONG)


def _raise(made: Tensor, images: Tensor, epsilon: float) -> Tensor:
    raise RuntimeError("no weights found")


def _exit(made: Tensor, images: Tensor, epsilon: float) -> Tensor:
    os._exit(3)


def _overwrite(made: Tensor, images: Tensor, epsilon: float) -> Tensor:
    return images.zero_()


def _draw(made: Tensor, images: Tensor, epsilon: float) -> Tensor:
    return images + epsilon * (2 * torch.rand(images.shape) - 1)


VIOLATIONS = {
    KEEPS: Violation("returns FGSM's images", "nothing to object to", lambda made, images, epsilon: made),
    "goes beyond ε": Violation(
        "changes pixels by four times what is allowed", "what it returns is put back into the ball", _beyond
    ),
    "returns NaN": Violation("returns NaN in every other image", "an image that is not finite is missing", _nan),
    "returns too few images": Violation(
        "returns a tensor of five images",
        "nobody knows which images they are: all are missing",
        lambda made, images, epsilon: made[:5],
    ),
    "names only five images": Violation(
        "returns a dictionary with the numbers of five images",
        "the others are missing",
        lambda made, images, epsilon: dict(enumerate(made[:5])),
    ),
    "sleeps": Violation("sleeps for an hour", "it is ended at the limit", _sleep, False),
    "sends five, then sleeps": Violation(
        "sends five images one by one, then sleeps for an hour",
        "it is ended at the limit; what came before counts",
        _sleep_later,
        False,
    ),
    "raises an error": Violation("raises a RuntimeError", "the batch is missing; the next one is tried", _raise),
    "ends its process": Violation(
        "calls os._exit(3)", "the batch is missing; the next one gets a new process", _exit, False
    ),
    "overwrites its input": Violation(
        "makes its input black and returns it",
        "it has a copy; what it returns is measured against the true images",
        _overwrite,
    ),
    "draws from the global generator": Violation(
        "adds noise from torch's global generator instead of FGSM's signs",
        "the generator is seeded for each batch: the same noise in every run",
        _draw,
    ),
}
"""By the name shown."""

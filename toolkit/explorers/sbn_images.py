"""What a sigmoid belief network makes of digits, from its first step on: reconstructions, and samples of its own."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.sbn_looks import image_rows, nats
from toolkit.explorers.sbn_training import held_out_bound, look_at, start
from toolkit.lessons import View, controls

ESTIMATORS = ("RAM", "LR", "RLOO-2", "ST")
STEPS, BETWEEN = 400, 50
RATE = 3e-2  # ten times that of the study: samples look like digits after seconds
_BESIDE = "RLOO-2"  # not LR: at this rate rounding errors grow until its coins fall otherwise on another machine


@dataclass(frozen=True, repr=False, eq=False)
class Snapshot:
    """A network at one moment of its training.

    Attributes:
        estimator: that it is trained with.
        step: how many steps it has done.
        bound: evidence lower bound on all held-out digits, in nats.
        wrong: pixels of a held-out digit that a reconstruction draws otherwise, of 64: the expected number.
        digits: one held-out digit of each class, binary.
        reconstructed: their pixels' probabilities, inferred and generated again.
        generated: pixels' probabilities of samples from the network.
    """

    estimator: str
    step: int
    bound: float
    wrong: float
    digits: Float[np.ndarray, "digits 8 8"]
    reconstructed: Float[np.ndarray, "digits 8 8"]
    generated: Float[np.ndarray, "digits 8 8"]

    def __repr__(self) -> str:
        return f"Snapshot({self.estimator}, step {self.step}: {self.bound:.2f} nats)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def snapshots(estimator: str = "RAM") -> dict[int, Snapshot]:
    """Train a network and return what it makes of digits on its way, by the number of steps.

    Args:
        estimator: one of ``ESTIMATORS``.

    Raises:
        ValueError: another estimator.
    """
    require(estimator in ESTIMATORS, "snapshots", "estimator", f"one of {ESTIMATORS}", repr(estimator))
    training = start(estimator, rate=RATE)
    found = {}
    for done in range(STEPS + 1):
        if done:
            training.step(done - 1)
        if done % BETWEEN == 0:
            test = training.images.test
            generator = torch.Generator().manual_seed(0)
            again = training.model.reconstruct(test, generator).probabilities
            wrong = float((test - again).abs().sum(1).mean())
            found[done] = Snapshot(estimator, done, held_out_bound(training), wrong, *look_at(training))
    return found


def compute(estimator: str = "RAM", step: int = STEPS) -> Snapshot:
    """Return a network after a number of steps; the training behind it is done once.

    Args:
        estimator: one of ``ESTIMATORS``.
        step: 0, 50, … 400.

    Raises:
        ValueError: one of them is another.
    """
    found = snapshots(estimator)
    require(step in found, "compute", "step", f"one of {list(found)}", step)
    return found[step]


def draw(snapshot: Snapshot) -> Svg:
    """Draw held-out digits, their reconstructions and samples in three rows."""
    rows = [
        ("held out", snapshot.digits),
        ("reconstructed", snapshot.reconstructed),
        ("generated", snapshot.generated),
    ]
    return image_rows(rows, title=f"{_when(snapshot)}: {snapshot.wrong:.1f} of 64 pixels drawn otherwise")


def describe(snapshot: Snapshot) -> str:
    """Say how good reconstructions and bound are at this step, and how they are with another estimator."""
    text = (
        f"{_when(snapshot)} the network redraws a held-out digit with {snapshot.wrong:.1f} of its 64 pixels otherwise, "
        f"and the bound is {nats(snapshot.bound)} nats"
    )
    if snapshot.step == 0:
        return f"{text}: reconstructions and samples are noise."
    other = compute("RAM" if snapshot.estimator == _BESIDE else _BESIDE, snapshot.step)
    beside = f"as many with {other.estimator}: {other.wrong:.1f} pixels, {nats(other.bound)} nats"
    return f"{text}; {beside} (network 64-32, Adam's rate {RATE:g})."


def _when(snapshot: Snapshot) -> str:
    return "Before training" if snapshot.step == 0 else f"After {snapshot.step} steps with {snapshot.estimator}"


def explore_sbn_images() -> View:
    """Return a view of one network's images over its training, with a slider for the step."""
    choices = {
        "estimator": controls.choice("trained with", ESTIMATORS, "RAM"),
        "step": controls.int_slider("steps of training", STEPS, 0, STEPS, step=BETWEEN),
    }
    return View(choices, compute, draw, describe)

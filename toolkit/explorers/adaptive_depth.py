"""A classifier of digits that repeats one layer until it is sure: a network whose depth depends on the image."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.datasets import load

MOST = 5
"""Repetitions after which the classifier answers, sure or not."""

_HIDDEN, _STEPS, _BATCH, _RATE, _MOMENTUM = 16, 150, 128, 0.1, 0.9


@dataclass(frozen=True, eq=False)
class Network:
    """Three matrices: ``U`` reads the image, ``V`` is repeated, ``W`` answers."""

    U: Variable
    V: Variable
    W: Variable

    def __repr__(self) -> str:
        return f"Network(U {self.U.shape}, V {self.V.shape}, W {self.W.shape})"

    @property
    def weights(self) -> tuple[Variable, Variable, Variable]:
        """The three matrices."""
        return self.U, self.V, self.W


@dataclass(frozen=True, eq=False)
class Thought:
    """What the classifier answered.

    Attributes:
        logits: shape (1, 10), with the graph that made them.
        confidences: probability of the most likely class before the first repetition and after each.
    """

    logits: Variable
    confidences: tuple[float, ...]

    @property
    def repetitions(self) -> int:
        """How often the layer was repeated."""
        return len(self.confidences) - 1

    @property
    def answer(self) -> int:
        """The most likely class."""
        return int(self.logits.numpy().argmax())

    def __repr__(self) -> str:
        return f"Thought({self.answer}, {self.repetitions} repetitions, confidence {self.confidences[-1]:.2f})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {"logits": self.logits.numpy(), "confidences": self.confidences}


def confidence(logits: Variable) -> float:
    """Return the probability of the most likely class; nothing is recorded."""
    return float(F.max(F.softmax(logits.detach(), axis=1)))


def think(x: Variable, network: Network, sure: float, most: int = MOST) -> Thought:
    """Repeat one layer until the classifier is sure of its answer."""
    h = F.tanh(F.linear(x, network.U))
    logits = F.linear(h, network.W)
    confidences = [confidence(logits)]
    while confidences[-1] < sure and len(confidences) <= most:
        h = F.tanh(F.linear(h, network.V))
        logits = F.linear(h, network.W)
        confidences.append(confidence(logits))
    return Thought(logits, tuple(confidences))


def trained_network() -> Network:
    """Return the classifier after training on the bundled digits with our engine, to answer well at every depth.

    It is trained once, in a third of a second, from one seed; every call returns weights of its own.
    """
    return Network(*(Variable(weight.data.copy(), requires_grad=True, name=weight.name) for weight in _train().weights))


@functools.cache
def _train() -> Network:
    split = load("digits").train
    images, labels = split.as_float(flat=True).numpy().astype(np.float64), split.labels.numpy()
    rng = np.random.default_rng(0)
    shapes = {"U": (_HIDDEN, 64), "V": (_HIDDEN, _HIDDEN), "W": (10, _HIDDEN)}
    network = Network(
        *(
            Variable(rng.normal(size=shape) / np.sqrt(shape[1]), requires_grad=True, name=name)
            for name, shape in shapes.items()
        )
    )
    speeds = [np.zeros(weight.shape) for weight in network.weights]
    for _ in range(_STEPS):
        chosen = rng.integers(0, len(labels), _BATCH)
        _loss_of_all_depths(network, images[chosen], labels[chosen]).backward()
        for weight, speed in zip(network.weights, speeds, strict=True):
            speed *= _MOMENTUM
            speed -= _RATE * weight.grad
            weight.data += speed
            weight.cleargrad()
    return network


def _loss_of_all_depths(network: Network, images: np.ndarray, labels: np.ndarray) -> Variable:
    h = F.tanh(F.linear(images, network.U))
    loss = F.cross_entropy(F.linear(h, network.W), labels)
    for _ in range(MOST):
        h = F.tanh(F.linear(h, network.V))
        loss = loss + F.cross_entropy(F.linear(h, network.W), labels)
    return loss / (MOST + 1)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Digits that the classifier was not trained on."""

    images: Float[np.ndarray, "images 8 8"]
    labels: Int[np.ndarray, "images"]

    def __repr__(self) -> str:
        return f"HeldOut({len(self.labels)} digits)"

    def row(self, index: int) -> Float[np.ndarray, "1 64"]:
        """Return one image as a row of its own pixels."""
        return self.images[index].reshape(1, 64).copy()


@functools.cache
def held_out() -> HeldOut:
    """Return the bundled digits kept for testing, in float64."""
    split = load("digits").test
    return HeldOut(split.as_float().numpy().astype(np.float64), split.labels.numpy())


@functools.cache
def all_confidences() -> Float[np.ndarray, "depths images"]:
    """Return the confidence on every held-out digit before the first repetition and after each."""
    network, digits = trained_network(), held_out()
    h = F.tanh(F.linear(digits.images.reshape(-1, 64), network.U.detach()))
    rows = []
    for _ in range(MOST + 1):
        rows.append(F.max(F.softmax(F.linear(h, network.W.detach()), axis=1), axis=1).numpy())
        h = F.tanh(F.linear(h, network.V.detach()))
    return np.stack(rows)


def repetitions_needed(sure: float) -> Int[np.ndarray, "images"]:
    """Return how often the layer is repeated for every held-out digit."""
    reached = all_confidences() >= sure
    return np.where(reached.any(axis=0), reached.argmax(axis=0), MOST)

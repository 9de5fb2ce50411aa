"""Ten templates of 8×8 pixels, trained on real digits by our own engine on the device that the reader picks."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.core.devices import available_devices, resolve_device
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.lessons import View, controls
from toolkit.lessons.svg import Series, image_grid, line_chart

STEPS = 50
RATES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Training:
    """Templates and accuracies after every step of gradient descent.

    Attributes:
        templates: the weights of each class as an image, after 0, 1, … steps; on the CPU.
        accuracy: share of held-out digits named right, after 0, 1, … steps, in per cent.
        rate: learning rate.
        n_held_out: how many digits are held out.
    """

    templates: Float[torch.Tensor, "steps 10 8 8"]
    accuracy: tuple[float, ...]
    rate: float
    n_held_out: int

    def __repr__(self) -> str:
        return f"Training({len(self.accuracy) - 1} steps, rate {self.rate:g}: {self.accuracy[-1]:.1f} %)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Moment:
    """A training and the step of it that is looked at."""

    training: Training
    step: int

    @property
    def accuracy(self) -> float:
        """Share of held-out digits named right at this step, in per cent."""
        return self.training.accuracy[self.step]


@functools.lru_cache(maxsize=32)
def train(rate: float = 2.0, device: str | None = None, *, n_steps: int = STEPS) -> Training:
    """Train a softmax regression on the 8×8 digits by gradient descent, all images at every step, from zero weights.

    Args:
        rate: learning rate.
        device: default: the best there is.
        n_steps: steps.

    Returns:
        What every step gave. In double precision, except on ``mps``, which has none.

    Raises:
        ValueError: a rate that is not positive, a negative number of steps, or an unknown device.
    """
    require(rate > 0, "train", "rate", "positive", rate)
    require(n_steps >= 0, "train", "n_steps", "0 or more", n_steps)
    place = resolve_device(device)
    precision = torch.float32 if place.type == "mps" else torch.float64
    digits = load("digits")
    images = digits.train.as_float(precision, flat=True).to(place)
    labels = digits.train.labels.to(place)
    held_out = digits.test.as_float(precision, flat=True).to(place), digits.test.labels.to(place)
    weights = Variable(torch.zeros(10, 64, dtype=precision, device=place), requires_grad=True)
    templates, accuracy = [], []
    for step in range(n_steps + 1):
        templates.append(weights.data.reshape(10, 8, 8).cpu().double())
        right = (held_out[0] @ weights.data.T).argmax(1) == held_out[1]
        accuracy.append(100 * float(right.sum()) / len(right))
        if step < n_steps:
            F.cross_entropy(F.linear(images, weights), labels).backward()
            weights.data = weights.data - rate * weights.grad
            weights.cleargrad()
    return Training(torch.stack(templates), tuple(accuracy), rate, len(held_out[1]))


def draw(moment: Moment) -> Svg:
    """Draw the accuracy over the steps, and the templates of the chosen step."""
    training, step = moment.training, moment.step
    chart = line_chart(
        [Series("held out", range(len(training.accuracy)), training.accuracy, "ours")],
        x_label="training step",
        y_label="right (%)",
        title=f"Step {step}: {moment.accuracy:.0f} % of the held-out digits are named right",
        x_limits=(0, len(training.accuracy) - 1),
        y_limits=(0, 100),
        marks=[(step, f"step {step}")],
        width=636,
        height=230,
    )
    templates = image_grid(
        training.templates[step],
        captions=[str(digit) for digit in range(10)],
        columns=10,
        size=50,
        signed=True,
        title="The template of each digit: red counts for it, blue against it",
    )
    picture = Svg(max(chart.width, templates.width), chart.height + templates.height)
    picture.place(0, 0, chart)
    picture.place(0, chart.height, templates)
    return picture


def describe(moment: Moment) -> str:
    """Say how well it does now and at the end; at the end, how well at its best."""
    training = moment.training
    steps = "no step" if moment.step == 0 else "1 step" if moment.step == 1 else f"{moment.step} steps"
    now = (
        f"After {steps} with learning rate {training.rate:g}, {moment.accuracy:.0f} % of the {training.n_held_out} "
        "held-out digits are named right"
    )
    last = len(training.accuracy) - 1
    if moment.step == last:
        return f"{now}; the best of all steps is {max(training.accuracy):.0f} %."
    return f"{now}; after {last} steps {training.accuracy[-1]:.0f} %."


def explore_first_training() -> View:
    """Return a view of a softmax regression in training: pick a step, the learning rate and the device."""
    choices = {
        "step": controls.int_slider("step", 1, 0, STEPS),
        "rate": controls.choice("learning rate", {f"{rate:g}": rate for rate in RATES}, 2.0),
        "device": controls.choice("device", available_devices(), str(resolve_device())),
    }
    return View(choices, lambda step, rate, device: Moment(train(rate, device), step), draw, describe)

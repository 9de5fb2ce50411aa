"""A gradient of a gradient at work: a critic of digits whose own slope is trained to have length one.

The critic scores images, high for threes and low for eights. Wasserstein GANs ask that such a critic be no steeper than
1 anywhere, and get it by a penalty on the length of its gradient by its input (Gulrajani et al. 2017). Training on that
length differentiates a gradient.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from toolkit.autograd import Variable, grad
from toolkit.autograd import functions as F
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series, line_chart

STEPS = 60
WEIGHTS = (0.0, 0.1, 1.0, 10.0)
_HIGH, _LOW, _HIDDEN, _BATCH, _RATE = 3, 8, 32, 64, 1e-2


@dataclass(frozen=True)
class CriticTraining:
    """A critic's slopes and scores after every step.

    Attributes:
        weight: of the penalty.
        slopes: ``[steps + 1, images]``: lengths of the critic's gradient by its input, on held-out mixtures.
        gaps: ``[steps + 1]``: mean score of the held-out threes less that of the eights.
    """

    weight: float
    slopes: Float[np.ndarray, "steps images"]
    gaps: Float[np.ndarray, "steps"]

    def __repr__(self) -> str:
        return f"CriticTraining(weight {self.weight:g}: slope {self.slopes[-1].mean():.3g}, gap {self.gaps[-1]:.3g})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def _digits() -> tuple[np.ndarray, ...]:
    """Return threes and eights to train on and held out, 64 pixels each, in double precision."""
    found = []
    for split in (load("digits").train, load("digits").test):
        images, labels = split.as_float(flat=True).numpy().astype(np.float64), split.labels.numpy()
        found += [images[labels == _HIGH], images[labels == _LOW]]
    return tuple(found)


def score(images: Variable, weights: list[Variable]) -> Variable:
    """Return the critic's score of each image: two hidden layers of softplus, which bends everywhere.

    Args:
        images: ``[images, 64]``.
        weights: of the three layers.

    Returns:
        ``[images, 1]``.
    """
    h = F.softplus(F.linear(images, weights[0]))
    return F.linear(F.softplus(F.linear(h, weights[1])), weights[2])


def slope_lengths(images: np.ndarray, weights: list[Variable], *, create_graph: bool = False) -> Variable:
    """Return the length of the gradient of the score by each image.

    Args:
        images: ``[images, 64]``.
        weights: of the critic.
        create_graph: record the pass, so that the lengths can be trained on.

    Returns:
        ``[images]``.
    """
    x = Variable(images, requires_grad=True)
    slopes = grad(F.sum(score(x, weights)), x, create_graph=create_graph)
    return F.sqrt(F.sum(slopes * slopes, 1) + 1e-12)


def mixtures(
    high: Float[np.ndarray, "n pixels"], low: Float[np.ndarray, "n pixels"], shares: Float[np.ndarray, "n 1"]
) -> Float[np.ndarray, "n pixels"]:
    """Return points on the lines between two sets of images, where the slope is asked to be 1."""
    return shares * high + (1 - shares) * low


@functools.lru_cache(maxsize=8)
def train_critic(weight: float = 10.0, n_steps: int = STEPS) -> CriticTraining:
    """Train a critic to score threes high and eights low, with a penalty ``weight * mean((slope - 1)^2)``.

    Args:
        weight: of the penalty; 0 for none.
        n_steps: steps of Adam.

    Raises:
        ValueError: a negative number.
    """
    require(weight >= 0, "train_critic", "weight", "0 or more", weight)
    require(n_steps >= 0, "train_critic", "n_steps", "0 or more", n_steps)
    high, low, held_high, held_low = _digits()
    random = np.random.default_rng(0)
    shapes = ((_HIDDEN, 64), (_HIDDEN, _HIDDEN), (1, _HIDDEN))
    weights = [Variable(random.normal(size=shape) / np.sqrt(shape[1]), requires_grad=True) for shape in shapes]
    # torch.optim moves the very memory that our Variables compute on.
    tensors = [torch.from_numpy(one.data) for one in weights]
    optimizer = torch.optim.Adam(tensors, lr=_RATE, betas=(0.5, 0.9))
    count = min(len(held_high), len(held_low))
    watched = mixtures(held_high[:count], held_low[:count], np.linspace(0, 1, count)[:, None])
    slopes, gaps = [], []
    for step in range(n_steps + 1):
        slopes.append(slope_lengths(watched, weights).numpy())
        means = [float(score(Variable(images), weights).numpy().mean()) for images in (held_high, held_low)]
        gaps.append(means[0] - means[1])
        if step == n_steps:
            break
        a, b = high[random.integers(len(high), size=_BATCH)], low[random.integers(len(low), size=_BATCH)]
        loss = F.mean(score(Variable(b), weights)) - F.mean(score(Variable(a), weights))
        if weight:
            lengths = slope_lengths(mixtures(a, b, random.uniform(size=(_BATCH, 1))), weights, create_graph=True)
            loss = loss + weight * F.mean((lengths - 1.0) ** 2)
        loss.backward()
        for one, tensor in zip(weights, tensors, strict=True):
            tensor.grad = torch.from_numpy(one.grad)
            one.cleargrad()
        optimizer.step()
    return CriticTraining(weight, np.stack(slopes), np.array(gaps))


@dataclass(frozen=True)
class Moment:
    """A training, the same without a penalty, and the step that is looked at."""

    training: CriticTraining
    without: CriticTraining
    step: int


def compute(weight: float = 10.0, step: int = STEPS) -> Moment:
    """Return one moment of a training; steps beyond the last show the last."""
    return Moment(train_critic(weight), train_critic(0.0), min(max(step, 0), STEPS))


def draw(moment: Moment) -> Svg:
    """Draw the slopes over the steps: their mean, the least and the largest of them, and 1."""
    steps = np.arange(STEPS + 1)
    training, slopes = moment.training, moment.training.slopes
    thin = style.Line(style.MEANINGS["ours"].color, "-", "", 0.8)
    lines = [
        Series("wanted: 1", steps, np.ones(len(steps)), "truth"),
        Series("no penalty", steps, moment.without.slopes.mean(1), "baseline"),
    ]
    if training.weight:
        lines += [
            Series("", steps, slopes.min(1), thin),
            Series("", steps, slopes.max(1), thin),
            Series(f"weight {training.weight:g}", steps, slopes.mean(1), "ours"),
        ]
    return line_chart(
        lines,
        x_label="training step",
        y_label="slope: length of the score's gradient",
        title=f"Step {moment.step}: scores of threes and eights, mean slope {_number(slopes[moment.step].mean())}",
        x_limits=(0, STEPS),
        y_limits=(0.1, 20_000.0),
        log_y=True,
        marks=[(moment.step, "")],
        width=660,
        height=340,
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{float(f'{value:.2g}'):,.0f}"


def describe(moment: Moment) -> str:
    """Say how steep the critic is, how steep without the penalty, and that it still tells the digits apart."""
    training, step = moment.training, moment.step
    lengths = training.slopes[step]
    how = f"with penalty weight {training.weight:g}" if training.weight else "without a penalty"
    beside = f"; without a penalty {_number(moment.without.slopes[step].mean())}" if training.weight else ""
    steps = "1 step" if step == 1 else f"{step} steps"
    mean, least, most = (_number(float(value)) for value in (lengths.mean(), lengths.min(), lengths.max()))
    return (
        f"A critic, a network that is trained to score threes high and eights low: after {steps} {how} the gradient of "
        f"its score by the image has mean length {mean}, from {least} to {most}{beside}. That is on {lengths.size} "
        "mixtures, each of a held-out three and a held-out eight. It scores held-out threes "
        f"{_number(training.gaps[step])} above eights."
    )


def explore_gradient_penalty() -> View:
    """Return a view of the critic's slope in training, with a choice of the penalty's weight and a slider of steps."""
    for weight in WEIGHTS:  # so that no key press waits for it
        train_critic(weight)
    chosen = {
        "weight": controls.toggle("weight of the penalty", {f"{weight:g}": weight for weight in WEIGHTS}, 10.0),
        "step": controls.int_slider("training step", STEPS, 0, STEPS, step=2),
    }
    return View(chosen, compute, draw, describe)

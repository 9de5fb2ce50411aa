"""A sigmoid belief network learns digits while the reader watches: estimator, network, learning rate to choose.

Two runs are done when the view opens, one with RAM and one with the bare likelihood ratio; both stay for comparison.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.estimators.bounds import evidence_lower_bound
from toolkit.experiments.sbn_config import SbnConfig
from toolkit.experiments.sbn_methods import find_method
from toolkit.experiments.sbn_training import Images, SbnTraining, stream
from toolkit.explorers.sbn_looks import image_rows, leaders, look_of, nats
from toolkit.lessons import BackgroundView, Progress, controls, style
from toolkit.lessons.axis import power_name
from toolkit.lessons.svg import Series, line_chart

ESTIMATORS = ("RAM", "LEG", "DisARM", "RLOO-2", "NVIL", "LR+C", "LR", "ST", "Gumbel-softmax")
SIZES = ("64-32", "64-32-32")
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
STEPS = (200, 600)
N_DIGITS = 10
_BETWEEN, _BOUND_SAMPLES, _REPEATS = 5, 5, 20


@dataclass(frozen=True, repr=False, eq=False)
class Curves:
    """How one training went.

    Attributes:
        estimator: its name.
        sizes: pixels and variables of each latent layer.
        rate: learning rate.
        n_steps: of the whole training.
        bounds: (step, evidence lower bound on the held-out digits in nats), every five steps.
        variances: (step, on a fixed batch, over fresh batches): of the inference network's gradient, the mean over its
            parameters; every quarter of the training.
        evaluations: of the cost, for an image and step.
        n_held_out: how many digits are held out.
        digits: some of them, binary.
        reconstructed: their pixels' probabilities, inferred and generated again.
        generated: pixels' probabilities of samples from the network.
    """

    estimator: str
    sizes: str
    rate: float
    n_steps: int
    bounds: tuple[tuple[int, float], ...]
    variances: tuple[tuple[int, float, float], ...]
    evaluations: float
    n_held_out: int
    digits: Float[np.ndarray, "digits 8 8"]
    reconstructed: Float[np.ndarray, "digits 8 8"]
    generated: Float[np.ndarray, "digits 8 8"]

    @property
    def done(self) -> int:
        """Steps so far."""
        return self.bounds[-1][0]

    @property
    def bound(self) -> float:
        """The last bound, in nats."""
        return self.bounds[-1][1]

    @property
    def setting(self) -> str:
        """Network and rate in words."""
        return f"network {self.sizes}, learning rate {self.rate:g}"

    def __repr__(self) -> str:
        return f"Curves({self.estimator}, {self.setting}: {self.done} of {self.n_steps} steps, {self.bound:.2f} nats)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Comparison:
    """The training that is looked at, beside the two first ones."""

    now: Curves
    first: tuple[Curves, Curves]


@functools.cache
def _images() -> Images:
    return Images(SbnConfig(device="cpu"), torch.device("cpu"), torch.float64)


@functools.cache
def _shown() -> tuple[int, ...]:
    labels = load("digits").test.labels.tolist()
    return tuple(labels.index(label) for label in range(N_DIGITS))


def start(estimator: str = "RAM", sizes: str = "64-32", rate: float = 3e-3) -> SbnTraining:
    """Return a training on digits at its start, on the CPU and in double precision: the same on every machine.

    Args:
        estimator: a name of the study's, such as those in ``ESTIMATORS``.
        sizes: pixels and variables of each latent layer.
        rate: Adam's.

    Raises:
        ValueError: one of them is not possible.
    """
    settings = SbnConfig(device="cpu", sizes=sizes, learning_rate=rate, variance_repeats=_REPEATS)
    return SbnTraining(settings, find_method(estimator), 0, images=_images())


def held_out_bound(training: SbnTraining) -> float:
    """Return the evidence lower bound on the held-out digits, in nats, with the same noise at every call."""
    generator = stream(training.seed, "bound")
    return evidence_lower_bound(training.model, training.images.test, _BOUND_SAMPLES, generator, entropy="sampled").mean


def look_at(training: SbnTraining) -> tuple[Float[np.ndarray, "digits 8 8"], ...]:
    """Return one held-out digit of each class, its reconstruction, and as many samples; the noise is always the same.

    Returns:
        Three times ``[10, 8, 8]``: binary pixels, and twice pixels' probabilities.
    """
    digits = training.images.test[list(_shown())]
    reconstructed = training.model.reconstruct(digits, stream(training.seed, "reconstructions")).probabilities
    generated = training.model.sample(N_DIGITS, stream(training.seed, "samples")).probabilities
    return _square(digits), _square(reconstructed), _square(generated)


def _square(images: Tensor) -> Float[np.ndarray, "digits 8 8"]:
    return images.detach().reshape(-1, 8, 8).numpy()


def train(
    estimator: str = "RAM", sizes: str = "64-32", rate: float = 3e-3, n_steps: int = STEPS[0]
) -> Iterator[Curves]:
    """Train a network, yielding the curves after every five steps.

    Args:
        estimator, sizes, rate: as for :func:`start`.
        n_steps: updates.

    Raises:
        ValueError: an argument out of range.
    """
    require(n_steps >= 1, "train", "n_steps", "1 or more", n_steps)
    training = start(estimator, sizes, rate)
    between = -(-n_steps // 4)
    n_held_out = len(training.images.test)
    curves = Curves(training.learner.method.name, sizes, rate, n_steps, (), (), 0.0, n_held_out, *look_at(training))
    for done in range(n_steps + 1):
        if done:
            training.step(done - 1)
        variances = curves.variances
        if done % between == 0 or done == n_steps:
            found = training.variances(done)
            variances = (*variances, (done, found["fixed variance"], found["total variance"]))
        if done % _BETWEEN == 0 or done == n_steps or variances is not curves.variances:
            digits, reconstructed, generated = look_at(training)
            curves = replace(
                curves,
                bounds=(*curves.bounds, (done, held_out_bound(training))),
                variances=variances,
                evaluations=training.evaluations / max(done, 1),
                digits=digits,
                reconstructed=reconstructed,
                generated=generated,
            )
            yield curves


@functools.cache
def first_runs() -> tuple[Curves, Curves]:
    """Return the two runs that are there from the start: RAM's and that of the bare likelihood ratio."""
    *_, ram = train("RAM")
    *_, lr = train("LR")
    return ram, lr


def draw(comparison: Comparison) -> Svg:
    """Draw the bound over training, below it the gradient's variance, and what the network reconstructs by now."""
    now = comparison.now
    beside = [one for one in comparison.first if one is not now]
    n_steps = max(now.n_steps, *(one.n_steps for one in comparison.first))
    look = replace(look_of(now.estimator), linestyle="-", linewidth=2.4)  # the others are dotted
    bounds = [
        Series(f"{_name(one, now)} {nats(one.bound)}", *_columns(one.bounds, 0, 1), look if one is now else _dots(one))
        for one in (now, *beside)
    ]
    variances = [
        Series(f"{now.estimator}, fixed", *_columns(now.variances, 0, 1), look),
        Series(f"{now.estimator}, fresh", *_columns(now.variances, 0, 2), style.Line(look.color, "--", "o", 1.8)),
        *(Series(f"{_name(one, now)}, fixed", *_columns(one.variances, 0, 1), _dots(one)) for one in beside),
    ]
    # A label without a point is not written, but room is left for it: both charts have the same axis.
    room = [Series(one.label, [], []) for one in (*bounds, *variances)]
    above = line_chart(
        [*leaders(bounds, n_steps), *bounds, *room],
        x_label="step",
        y_label="held-out bound (nats)",
        title=_finding(comparison),
        x_limits=(0, n_steps),
        y_limits=(-32 if now.bound > -32 else -54, -24),
        height=240,
        y_names_like="10⁻³",
    )
    below = line_chart(
        [*leaders(variances, n_steps), *variances, *room],
        x_label="step; variance over one fixed batch or over fresh ones",
        y_label="gradient's variance",
        x_limits=(0, n_steps),
        y_limits=(1e-7, 10),
        log_y=True,
        height=240,
    )
    names = ("held out", "reconstructed", "generated")
    images = image_rows(list(zip(names, (now.digits, now.reconstructed, now.generated), strict=True)), size=42)
    picture = Svg(640, above.height + below.height + images.height)
    for part, y in ((above, 0.0), (below, above.height), (images, above.height + below.height)):
        picture.place(0, y, part)
    return picture


def _columns(rows: tuple[tuple[Any, ...], ...], x: int, y: int) -> tuple[list[float], list[float]]:
    return [row[x] for row in rows], [row[y] for row in rows]


def _dots(one: Curves) -> style.Line:
    return style.Line(look_of(one.estimator).color, ":", "o", 1.8)


def _name(one: Curves, now: Curves) -> str:
    """Name a run; the first ones as such, where the one looked at has their estimator."""
    return one.estimator if one is now or one.estimator != now.estimator else f"first {one.estimator}"


def times(ratio: float) -> str:
    """Write a ratio with one digit that counts: variances are estimates."""
    if not np.isfinite(ratio) or ratio <= 0:
        return "?"
    if ratio < 10:
        return f"{ratio:.1f}"
    power = 10 ** int(np.floor(np.log10(ratio)))
    return f"{round(ratio / power) * power:,}"


def _finding(comparison: Comparison) -> str:
    now = comparison.now
    ram, lr = comparison.first
    if now.done < now.n_steps:
        return f"{now.estimator}, step {now.done} of {now.n_steps}"
    other = lr if now.estimator != "LR" else ram
    if (now.setting, now.n_steps) != (other.setting, other.n_steps):
        variance = power_name(now.variances[-1][1], 2)
        return f"{now.estimator}, {now.n_steps} steps: {nats(now.bound)} nats, variance {variance}"
    worse, better = sorted((now, other), key=lambda one: one.bound)
    ratio = times(worse.variances[-1][1] / better.variances[-1][1])
    return f"{worse.estimator}: {ratio} × {better.estimator}'s variance, {better.bound - worse.bound:.2f} nats lower"


def describe(comparison: Comparison) -> str:
    """Say how good the network is by now, how much the gradient varies, and how the first runs ended."""
    now = comparison.now
    fixed, fresh = (power_name(value, 2) for value in now.variances[-1][1:])
    text = (
        f"{now.estimator}, {now.setting}: after {now.done} of {now.n_steps} steps the bound on {now.n_held_out} "
        f"held-out digits is {nats(now.bound)} nats. At step {now.variances[-1][0]} the inference network's gradient "
        f"has a variance of {fixed} on a fixed batch and {fresh} over fresh ones"
    )
    if now.done:
        text += f", for {_times_evaluated(now.evaluations)} an image and step"
    beside = [
        f"{one.estimator} in the first run ({one.sizes}, {one.n_steps} steps, {_times_evaluated(one.evaluations)}): "
        f"{nats(one.bound)} nats and {power_name(one.variances[-1][1], 2)}"
        for one in comparison.first
        if one is not now
    ]
    return f"{text}. {'; '.join(beside)}."


def _times_evaluated(evaluations: float) -> str:
    return f"{evaluations:g} evaluation{'' if evaluations == 1 else 's'}"


def explore_sbn_training() -> BackgroundView:
    """Return a view of trainings that the reader sets up and starts; two, with RAM and with LR, are done."""
    first = first_runs()

    def work(estimator: str, sizes: str, rate: float, n_steps: int) -> Iterator[Progress]:
        for curves in train(estimator, sizes, rate, n_steps):
            yield Progress(curves.done / n_steps, Comparison(curves, first), f"step {curves.done} of {n_steps}")

    choices = {
        "estimator": controls.choice("estimator", ESTIMATORS, "RAM"),
        "sizes": controls.choice("network", SIZES, "64-32"),
        "rate": controls.choice("learning rate", {f"{rate:g}": rate for rate in RATES}, 3e-3),
        "n_steps": controls.choice("steps", STEPS, STEPS[0]),
    }
    return BackgroundView(choices, work, draw, describe, initial=Comparison(first[0], first), run_label="Train")

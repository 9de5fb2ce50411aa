"""Memory during training with the naive tape and with ours, for a cycle collector that comes often, seldom or never."""

import functools
import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.explorers.held_memory import array_bytes, collector_off, traced
from toolkit.explorers.naive_tape import Tensor
from toolkit.lessons import View, controls
from toolkit.lessons.svg import Series, line_chart

STEPS, _HIDDEN, _IMAGES, _RATE = 12, 64, 300, 1e-4
_TOP = 6.0  # of the chart, MB: it holds still while the slider moves


@dataclass(frozen=True)
class MemoryTrace:
    """Bytes of NumPy arrays alive after each training step, beyond what was there before the first.

    Attributes:
        naive: with the naive tape, ``steps + 1`` numbers.
        ours: with ``toolkit.autograd``.
        collect_every: steps between two runs of the cycle collector; 0 for never.
    """

    naive: tuple[int, ...]
    ours: tuple[int, ...]
    collect_every: int

    def __repr__(self) -> str:
        return (
            f"MemoryTrace(after {len(self.naive) - 1} steps: naive {self.naive[-1]} bytes, ours {self.ours[-1]} bytes)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {"naive": list(self.naive), "ours": list(self.ours), "collect_every": self.collect_every}


def measure_memory(collect_every: int = 0, *, n_steps: int = STEPS) -> MemoryTrace:
    """Train a small network on real digits with both tapes and note the memory after every step.

    Both runs start from the same weights and take the same steps; Python's own collector is off meanwhile.

    Args:
        collect_every: steps after which the cycle collector is run by hand; 0 for never.
        n_steps: training steps.

    Returns:
        The bytes held, exact: NumPy reports each of its arrays to Python's memory tracer.

    Raises:
        ValueError: a negative number.
    """
    require(collect_every >= 0, "measure_memory", "collect_every", "0 or more steps", collect_every)
    require(n_steps >= 0, "measure_memory", "n_steps", "0 or more", n_steps)
    _digits()
    naive, ours = (_trace(make, collect_every, n_steps) for make in (_naive_training, _our_training))
    return MemoryTrace(naive, ours, collect_every)


def _trace(training: Callable[[], Callable[[], None]], collect_every: int, n_steps: int) -> tuple[int, ...]:
    training()()  # what a first step leaves behind for good, constants made once, is no leak
    with collector_off(), traced():
        step = training()
        base = array_bytes()
        held = [0]
        for number in range(1, n_steps + 1):
            step()
            if collect_every and number % collect_every == 0:
                gc.collect()
            held.append(array_bytes() - base)
    return tuple(held)


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images, 64 pixels each, and targets, 1 for the right class."""
    split = load("digits").train[:_IMAGES]
    return split.as_float(flat=True).numpy(), np.eye(10, dtype=np.float32)[split.labels.numpy()]


def _weights() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0).normal
    first, second = draw(size=(64, _HIDDEN)) / 8, draw(size=(_HIDDEN, 10)) / 8
    return first.astype(np.float32), second.astype(np.float32)


def _naive_training() -> Callable[[], None]:
    images, targets = _digits()
    weights = [Tensor(weight) for weight in _weights()]

    def step() -> None:
        difference = (Tensor(images) @ weights[0]).tanh() @ weights[1] + Tensor(-targets)
        loss = difference * difference
        loss.backward()
        for leaf in weights:
            leaf.data -= _RATE * leaf.grad
            leaf.grad = None

    return step


def _our_training() -> Callable[[], None]:
    images, targets = _digits()
    weights = [Variable(weight, requires_grad=True) for weight in _weights()]

    def step() -> None:
        difference = F.tanh(images @ weights[0]) @ weights[1] - targets
        loss = F.sum(difference * difference)
        loss.backward()
        for leaf in weights:
            leaf.data -= _RATE * leaf.grad
            leaf.cleargrad()

    return step


def draw(trace: MemoryTrace) -> Svg:
    """Draw both curves."""
    steps = np.arange(len(trace.naive))
    return line_chart(
        [
            Series("naive tape", steps, np.array(trace.naive) / 1e6, "baseline"),
            Series("ours", steps, np.array(trace.ours) / 1e6, "ours"),
        ],
        x_label="training step",
        y_label="arrays alive (MB)",
        title="Memory held after each step",
        x_limits=(0, max(len(trace.naive) - 1, 1)),
        y_limits=(0, max(_TOP, 1.1 * max(trace.naive) / 1e6)),
        height=300,
    )


def describe(trace: MemoryTrace) -> str:
    """Say what the curves show."""
    every = trace.collect_every
    often = "never runs" if not every else f"runs after every {'step' if every == 1 else f'{every} steps'}"
    last, most = (f"{count / 1e6:.1f} MB" for count in (trace.naive[-1], max(trace.naive)))
    on_the_way = "" if last == most else f", at most {most} in between"
    return (
        f"The cycle collector {often}. After {len(trace.naive) - 1} steps the naive tape holds {last}{on_the_way}, in "
        f"arrays that nothing in the program refers to; ours holds {trace.ours[-1] / 1e6:.1f} MB."
    )


def explore_memory_leak() -> View:
    """Return a view of the memory that training holds, with a slider for how often the cycle collector runs."""
    slider = controls.int_slider("collect every", 0, 0, STEPS, unit="steps")
    return View({"collect_every": slider}, measure_memory, draw, describe)

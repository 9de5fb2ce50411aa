"""An LSTM reads a digit row by row, waits, and answers: how far back does backpropagation have to go?

Five copies of one network are trained on real digits, from the same weights and in the same order, each with another
window of truncated backpropagation through time.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable, graph, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.optimizers import Adam
from toolkit.core.batches import Minibatches
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series, line_chart

ROWS, WAIT = 8, 12
"""Rows of a digit, and blank rows after them, before the network answers."""
WINDOWS = (1, 6, 12, 16, 20)
EPOCHS, _BATCH, _UNITS, _RATE = 8, 100, 32, 1e-2
_OTHER = style.Line("#6E6E6E", ":", "", 1.2)


class Reader(L.Chain):
    """An LSTM that is shown one row at a time and names the digit at the end.

    Args:
        generator: draws the weights.
    """

    def __init__(self, generator: torch.Generator):
        super().__init__()
        with self.init_scope():
            self.lstm = L.LSTM(ROWS, _UNITS, generator=generator)
            self.answer = L.Linear(_UNITS, 10, generator=generator)

    def forward(self, images: Any, window: int = ROWS + WAIT) -> Variable:
        """Return the logits, shape ``(samples, 10)``; gradients go back through the last ``window`` steps only.

        Args:
            images: array or Variable of shape ``(samples, 8, 8)``.
            window: in steps.
        """
        self.lstm.reset_state()
        blank = np.zeros((len(images), ROWS), images.dtype)
        for step in range(ROWS + WAIT):
            h = self.lstm(images[:, step] if step < ROWS else blank)
            if step == ROWS + WAIT - 1 - window:
                for state in (self.lstm.h, self.lstm.c):
                    state.unchain_backward()  # type: ignore[union-attr]
        return self.answer(h)


@dataclass(frozen=True)
class Reading:
    """Trained readers, one a window, and the one that is looked at.

    Attributes:
        accuracy: for each window the share of held-out digits named right after 0, 1, … epochs, in per cent.
        kept: for each window the bytes that one batch's graph keeps for backward.
        window: the one looked at, in steps.
        n_held_out: how many digits are held out.
    """

    accuracy: dict[int, tuple[float, ...]]
    kept: dict[int, int]
    window: int
    n_held_out: int

    def __repr__(self) -> str:
        return f"Reading(window {self.window}: {self.accuracy[self.window][-1]:.1f} %)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.cache
def train(window: int, n_epochs: int = EPOCHS, seed: int = 0) -> tuple[tuple[float, ...], int]:
    """Train one reader, in double precision.

    Args:
        window: steps that gradients go back, 1 to 20.
        n_epochs: epochs over 1,437 digits.
        seed: of weights and order.

    Returns:
        Accuracy on held-out digits after 0, 1, … epochs, in per cent; and the bytes one batch keeps for backward.

    Raises:
        ValueError: a window out of range.
    """
    require(1 <= window <= ROWS + WAIT, "train", "window", f"1 to {ROWS + WAIT} steps", window)
    digits = load("digits")
    images, labels = digits.train.as_float(torch.float64).numpy(), digits.train.labels.numpy()
    held_out, right = digits.test.as_float(torch.float64).numpy(), digits.test.labels.numpy()
    generator = torch.Generator().manual_seed(seed)
    with L.default_arrays("numpy", dtype="float64"):
        reader = Reader(generator)
    optimizer = Adam(lr=_RATE).setup(reader)
    order = Minibatches(len(images), _BATCH, generator=generator, drop_last=True)
    accuracy, kept = [], 0
    for epoch in range(n_epochs + 1):
        with using_config(train=False, enable_backprop=False):
            answers = reader(held_out).data.argmax(1)
        accuracy.append(100 * float((answers == right).mean()))
        while order.epoch == epoch < n_epochs:
            batch = order.next().numpy()
            loss = F.cross_entropy(reader(images[batch], window), labels[batch])
            kept = kept or graph(loss).saved_bytes
            reader.cleargrads()
            loss.backward()
            optimizer.update()
    return tuple(accuracy), kept


def read(window: int = WINDOWS[1]) -> Reading:
    """Return the readers of all windows; those not trained yet are trained first.

    Args:
        window: the one to look at, one of ``WINDOWS``.

    Raises:
        ValueError: another window.
    """
    require(window in WINDOWS, "read", "window", f"one of {WINDOWS}", window)
    trained = {each: train(each) for each in WINDOWS}
    n_held_out = len(load("digits").test)
    return Reading({w: t[0] for w, t in trained.items()}, {w: t[1] for w, t in trained.items()}, window, n_held_out)


def draw(reading: Reading) -> Svg:
    """Draw the accuracies over the epochs: the chosen window, the whole sequence, and the others faintly."""
    whole, chosen = max(reading.accuracy), reading.window
    meanings = {whole: "truth", chosen: "ours"}
    series = [
        Series(f"all {whole} steps" if window == whole else f"{window} step{'s' * (window > 1)}",
               range(len(values)), values, meanings.get(window, _OTHER))
        for window, values in sorted(reading.accuracy.items(), key=lambda item: item[0] == chosen)
    ]  # fmt: skip
    return line_chart(
        series,
        x_label="epoch",
        y_label="right (%)",
        title=f"Gradients through the last {chosen} of {whole} steps: {reading.accuracy[chosen][-1]:.0f} % right",
        x_limits=(0, EPOCHS),
        y_limits=(0, 100),
        height=330,
    )


def describe(reading: Reading) -> str:
    """Say what the window costs in accuracy and saves in memory."""
    whole, window = max(reading.accuracy), reading.window
    rows = max(0, window - WAIT)
    seen = "no row of the digit" if not rows else f"the last {rows} of the {ROWS} rows" if rows < ROWS else "every row"
    kept = reading.kept[window] / 1e6
    text = (
        f"With a window of {window} step{'s' * (window > 1)} the gradient reaches {seen}; after {EPOCHS} epochs "
        f"{reading.accuracy[window][-1]:.0f} % of {reading.n_held_out} held-out digits are named right, and a batch "
        f"keeps {kept:.2f} MB for backward"
    )
    if window == whole:
        return f"{text}."
    best, most = reading.accuracy[whole][-1], reading.kept[whole] / 1e6
    return f"{text}. Through all {whole} steps: {best:.0f} % and {most:.2f} MB."


def explore_truncated_reader() -> View:
    """Return a view of an LSTM trained with truncated backpropagation through time, for five windows."""
    choices = {f"{window} of {ROWS + WAIT} steps": window for window in WINDOWS}
    return View({"window": controls.choice("gradients go back", choices, WINDOWS[1])}, read, draw, describe)

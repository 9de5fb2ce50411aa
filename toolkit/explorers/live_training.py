"""A convolutional network learns real digits while the reader watches: optimizer, rate, clipping and size to choose."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from toolkit.autograd import optimizers, training
from toolkit.autograd.links import default_arrays
from toolkit.autograd.models import Classifier, ConvNet
from toolkit.autograd.training import extensions
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.lessons import BackgroundView, Progress, controls, style
from toolkit.lessons.svg import Series, line_chart

OPTIMIZERS: dict[str, type[optimizers.Optimizer]] = {
    "SGD": optimizers.SGD,
    "MomentumSGD": optimizers.MomentumSGD,
    "Adam": optimizers.Adam,
}
RATES = (1e-4, 1e-3, 1e-2, 1e-1)
SIZES = (500, 1000, 2000, 4000)
EPOCHS, _BATCH, _HELD_OUT = 3, 50, 500
_FIRST = style.Line("#6E6E6E", ":", "", 1.4)


@dataclass(frozen=True)
class Curves:
    """How one training went.

    Attributes:
        label: optimizer and rate in words.
        losses: mean cross entropy of each batch, in nats.
        accuracy: (iteration, share of held-out digits named right in per cent), twice an epoch.
        n_iterations: of the whole training.
        n_held_out: how many digits are held out.
    """

    label: str
    losses: tuple[float, ...]
    accuracy: tuple[tuple[int, float], ...]
    n_iterations: int
    n_held_out: int

    def __repr__(self) -> str:
        return f"Curves({self.label}: {len(self.losses)} of {self.n_iterations} iterations)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comparison:
    """The training that is looked at, beside the first one."""

    now: Curves
    first: Curves


def train(
    optimizer: str = "Adam",
    rate: float = 1e-3,
    clip: float | None = None,
    n_images: int = 1000,
    n_epochs: int = EPOCHS,
    *,
    dtype: torch.dtype = torch.float64,
) -> Iterator[Curves]:
    """Train a convolutional network on MNIST digits, yielding the curves after every iteration.

    Args:
        optimizer: a key of ``OPTIMIZERS``.
        rate: learning rate.
        clip: largest norm of the gradient; ``None`` does not clip.
        n_images: training images, at most 4,000.
        n_epochs: epochs.
        dtype: double precision gives the same curves on every machine, to the eye.

    Raises:
        ValueError: an optimizer of another name, or numbers out of range.
    """
    require(optimizer in OPTIMIZERS, "train", "optimizer", f"one of {sorted(OPTIMIZERS)}", optimizer)
    require(_BATCH <= n_images <= 4000, "train", "n_images", f"from {_BATCH} to 4000", n_images)
    require(n_epochs >= 1, "train", "n_epochs", "1 or more", n_epochs)
    digits = load("mnist")
    seen, held_out = digits.train[:n_images], digits.test[:_HELD_OUT]
    generator = torch.Generator().manual_seed(0)
    with default_arrays("torch", dtype=dtype):
        model = Classifier(ConvNet(generator=generator))
    chosen = OPTIMIZERS[optimizer](lr=rate).setup(model)
    if clip is not None:
        chosen.add_hook(optimizers.GradientClipping(clip))
    dataset = training.TupleDataset(seen.as_float(dtype)[:, None], seen.labels)
    tests = training.TupleDataset(held_out.as_float(dtype)[:, None], held_out.labels)
    iterator = training.SerialIterator(dataset, _BATCH, generator=generator)
    judge = extensions.Evaluator(tests, batch_size=250, trigger=(0.5, "epoch"))
    manager = training.ExtensionsManager(model, chosen, iterator, extensions=[judge], stop_trigger=(n_epochs, "epoch"))
    losses: list[float] = []
    accuracy: list[tuple[int, float]] = []
    label = f"{optimizer}, rate {rate:g}" + ("" if clip is None else f", clipped at {clip:g}")
    n_iterations = -(-n_epochs * n_images // _BATCH)
    with manager:
        while not manager.finished:
            with manager.run_iteration():
                chosen.update(model, *training.concat_examples(next(iterator)))
            losses.append(float(manager.observation["main/loss"]))
            if "validation/main/accuracy" in manager.observation:
                accuracy.append((manager.iteration, 100 * float(manager.observation["validation/main/accuracy"])))
            yield Curves(label, tuple(losses), tuple(accuracy), n_iterations, len(held_out))


def draw(comparison: Comparison) -> Svg:
    """Draw the loss of every batch, and below it the accuracy on held-out digits."""
    now, first = comparison.now, comparison.first
    shown: list[tuple[str, Curves, Any]] = [(now.label.split(",")[0], now, "ours")]
    if first is not now:
        shown.insert(0, ("the first run", first, _FIRST))
    n_iterations = max(now.n_iterations, first.n_iterations)
    last = f": {now.accuracy[-1][1]:.0f} % right" if now.accuracy else ""
    loss = line_chart(
        [Series(label, range(1, len(one.losses) + 1), one.losses, look) for label, one, look in shown],
        x_label="iteration",
        y_label="loss (nats)",
        title=f"{now.label}{last}",
        x_limits=(0, n_iterations),
        y_limits=(0, 3),
        height=240,
        y_names_like="100",
    )
    right = line_chart(
        [
            Series(label, [at for at, _ in one.accuracy], [value for _, value in one.accuracy], look)
            for label, one, look in shown
        ],
        x_label="iteration",
        y_label="held out, right (%)",
        x_limits=(0, n_iterations),
        y_limits=(0, 100),
        height=210,
    )
    picture = Svg(max(loss.width, right.width), loss.height + right.height)
    picture.place(0, 0, loss)
    picture.place(0, loss.height, right)
    return picture


def describe(comparison: Comparison) -> str:
    """Say how far it has come."""
    now, first = comparison.now, comparison.first
    done = f"{now.label}: after {len(now.losses)} of {now.n_iterations} iterations "
    if not now.accuracy:
        return f"{done}the loss is {now.losses[-1]:.2f}."
    text = f"{done}{now.accuracy[-1][1]:.0f} % of {now.n_held_out} held-out digits are named right"
    if first is now:
        return f"{text}."
    return f"{text}; the first run ({first.label}) ended at {first.accuracy[-1][1]:.0f} %."


def explore_live_training() -> BackgroundView:
    """Return a view of a training that the reader sets up and starts; the first run is done when it opens."""
    *_, first = train()

    def work(optimizer: str, rate: float, clip: float, n_images: int) -> Iterator[Progress]:
        for curves in train(optimizer, rate, clip or None, n_images):
            done = len(curves.losses)
            note = f"iteration {done} of {curves.n_iterations}"
            yield Progress(done / curves.n_iterations, Comparison(curves, first), note)

    choices = {
        "optimizer": controls.choice("optimizer", list(OPTIMIZERS), "Adam"),
        "rate": controls.choice("learning rate", {f"{rate:g}": rate for rate in RATES}, 1e-3),
        "clip": controls.choice("clip gradients", {"no": 0.0, "at norm 1": 1.0, "at norm 0.1": 0.1}, 0.0),
        "n_images": controls.choice("digits", {f"{size:,}": size for size in SIZES}, 1000),
    }
    return BackgroundView(choices, work, draw, describe, initial=Comparison(first, first), run_label="Train")

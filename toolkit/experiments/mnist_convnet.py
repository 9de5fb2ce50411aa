"""Chainer's convolutional example on real digits: the same network trained by our engine and by torch.

Two convolutions 5×5 of 20 and 50 filters, 500 units, Adam, as in Chainer's MNIST example; digits are shifted by a few
pixels at random, and the learning rate falls, so that the noise of the last steps does not decide. Ours goes through
Trainer, updater and extensions; torch's is written out with ``torch.nn`` and ``torch.optim``. Both start from the same
weights and see the same batches in the same order, so what remains is rounding, which in float32 drives two trainings
apart as it would two of torch's. What is compared are the accuracies they arrive at; held out are images of the bundled
five thousand (or MNIST's own test images).
"""

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.autograd import links, models, optimizers, training
from toolkit.autograd.training import extensions
from toolkit.autograd.training.extensions.snapshot import Snapshot
from toolkit.core.devices import resolve_device, resolve_generator
from toolkit.core.errors import require
from toolkit.core.history import Series
from toolkit.core.training import train
from toolkit.datasets import load
from toolkit.experiments.records import Record
from toolkit.experiments.study import Measurement, Study, StudyConfig, Task, by_scale
from toolkit.experiments.tables import Table

_CONTENDERS = ("autograd", "torch")
_CURVE = 200
_TEST_BATCH = 250


@dataclass(frozen=True)
class MnistConvnetConfig(StudyConfig):
    """How the two copies are trained."""

    seeds: tuple[int, ...] = by_scale(quick=(0, 1, 2), laptop=(0, 1, 2), paper=(0, 1, 2))
    """The seeds themselves, each once."""

    data: Literal["subset", "full"] = by_scale(quick="subset", laptop="subset", paper="full")
    """Which MNIST: the 5,000 bundled images or all 70,000."""

    n_epochs: int = by_scale(quick=1, laptop=15, paper=20)
    """Passes over the training images; 20 in Chainer's example."""

    batch_size: int = 100
    """Images in a minibatch."""

    learning_rate: float = 2e-3
    """Of Adam at the first step; it falls in a straight line to nothing."""

    shift: int = 2
    """Training digits are moved by up to so many pixels, drawn anew each time."""

    dtype: Literal["float32", "float64"] = "float32"
    """float64 keeps the two copies together for longer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = "MnistConvnetConfig"
        require(self.data in ("subset", "full"), name, "data", "'subset' or 'full'", repr(self.data))
        require(self.dtype in ("float64", "float32"), name, "dtype", "float64 or float32", repr(self.dtype))
        for field in ("n_epochs", "batch_size"):
            require(getattr(self, field) >= 1, name, field, ">= 1", getattr(self, field))
        require(0 <= self.shift < 28, name, "shift", "from 0 to 27", self.shift)
        require(self.learning_rate > 0, name, "learning_rate", "> 0", self.learning_rate)


@dataclass(frozen=True)
class _Lane:
    """What one of the two trainings gave: curves over the epochs by name, ``None`` if it was stopped."""

    curves: dict[str, Series] | None


def shifted(
    images: Float[Tensor, "images 1 height width"], most: int, generator: torch.Generator
) -> Float[Tensor, "images 1 height width"]:
    """Move each image by whole pixels, drawn evenly from -most to most in both directions; zeros come in.

    Args:
        images: any size.
        most: the largest shift.
        generator: draws the shifts, on the CPU.

    Returns:
        New images.
    """
    n, _, height, width = images.shape
    moves = torch.randint(2 * most + 1, (2, n), generator=generator).to(images.device)
    padded = nn.functional.pad(images[:, 0], (most,) * 4)
    rows = moves[0][:, None] + torch.arange(height, device=images.device)
    columns = moves[1][:, None] + torch.arange(width, device=images.device)
    which = torch.arange(n, device=images.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]][:, None]


def torch_network(ours: models.ConvNet) -> nn.Sequential:
    """Return the same network of ``torch.nn`` with copies of the weights.

    Args:
        ours: with weights on torch tensors.

    Returns:
        A module on their device.
    """
    state = ours.state_dict()
    shapes = {name: layer["W"].shape for name, layer in state.items()}
    network = nn.Sequential(
        nn.Conv2d(shapes["conv1"][1], shapes["conv1"][0], 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(shapes["conv2"][1], shapes["conv2"][0], 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(shapes["fc1"][1], shapes["fc1"][0]), nn.ReLU(),
        nn.Linear(shapes["fc2"][1], shapes["fc2"][0]),
    ).to(state["conv1"]["W"])  # fmt: skip
    with torch.no_grad():
        for name, number in {"conv1": 0, "conv2": 3, "fc1": 7, "fc2": 9}.items():
            layer: Any = network[number]
            layer.weight.copy_(state[name]["W"])
            layer.bias.copy_(state[name]["b"])
    return network


class _Data:
    """Images and labels on the device, and the batches that both trainings see."""

    def __init__(self, config: MnistConvnetConfig, device: torch.device, seed: int) -> None:
        data = load("mnist", variant=config.data)
        dtype = getattr(torch, config.dtype)
        self.source = {"name": [data.name], "variant": [data.variant], "source": [data.source.partition(":")[0]]}
        self.train = _pairs(data.train.as_float(dtype, device=device), data.train.labels.to(device))
        self.test = _pairs(data.test.as_float(dtype, device=device), data.test.labels.to(device))
        self.per_epoch = -(-len(self.train) // config.batch_size)
        self.n_steps = -(-config.n_epochs * len(self.train) // config.batch_size)
        self._config, self._seed = config, seed

    def rate(self, done: int) -> float:
        """Return the learning rate after so many steps."""
        return self._config.learning_rate * (1 - done / self.n_steps)

    def batches(self) -> training.SerialIterator:
        """Return an iterator in the order that the seed gives."""
        generator = resolve_generator(seed=self._seed)
        return training.SerialIterator(self.train, self._config.batch_size, generator=generator)

    def shifts(self) -> torch.Generator:
        """Return the generator of the shifts."""
        return resolve_generator(seed=self._seed + 1)

    def moved(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a batch as it is trained on."""
        return shifted(images, self._config.shift, generator) if self._config.shift else images


def _pairs(images: Float[Tensor, "images height width"], labels: Int[Tensor, " images"]) -> training.TupleDataset:
    return training.TupleDataset(images[:, None], labels)


def _train_ours(task: Task, network: models.ConvNet, data: _Data) -> _Lane:
    config: MnistConvnetConfig = task.config
    optimizer = optimizers.Adam(lr=config.learning_rate).setup(models.Classifier(network))
    shifts = data.shifts()

    def converter(batch: tuple[Tensor, Tensor], device: Any) -> tuple[Tensor, Tensor]:
        return data.moved(batch[0], shifts), batch[1]

    with _folder(task.checkpoint_for("autograd")) as (out, kept):
        trainer = training.Trainer(
            training.StandardUpdater(data.batches(), optimizer, converter=converter),
            stop_trigger=(config.n_epochs, "epoch"),
            out=out,
            generators={"shifts": shifts},
        )
        log = extensions.LogReport(log_name=None)
        trainer.extend(extensions.Evaluator(data.test, batch_size=_TEST_BATCH))
        trainer.extend(log)
        trainer.extend(lambda manager: setattr(optimizer, "lr", data.rate(manager.iteration)), name="rate")
        trainer.extend(extensions.ProgressBar(description=f"mnist-convnet, autograd, seed {task.seed}"))
        if kept:
            trainer.extend(Snapshot(n_retains=1, autoload=True, snapshot_on_error=True))
        stopped = threading.Event() if task.stop is None else task.stop
        trainer.extend(lambda manager: manager.stop() if stopped.is_set() else None, name="stop")
        trainer.run()
    if trainer.epoch < config.n_epochs:
        return _Lane(None)
    names = {
        "loss": "main/loss", "accuracy": "main/accuracy",
        "held-out loss": "validation/main/loss", "held-out accuracy": "validation/main/accuracy",
    }  # fmt: skip
    curves = {}
    for name, key in names.items():
        scale = 100 if "accuracy" in name else 1
        steps = tuple(entry["iteration"] for entry in log.log)
        curves[name] = Series(steps, tuple(scale * entry[key] for entry in log.log))
    return _Lane(curves)


@contextlib.contextmanager
def _folder(path: Path | None) -> Iterator[tuple[Path, bool]]:
    """Give a folder, and whether it stays."""
    if path is not None:
        yield path, True
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name), False


def _train_torch(task: Task, network: nn.Module, data: _Data) -> _Lane:
    config: MnistConvnetConfig = task.config
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    batches, shifts = data.batches(), data.shifts()
    images, labels = data.test[:]

    def step(index: int) -> dict[str, Tensor]:
        optimizer.param_groups[0]["lr"] = data.rate(index)
        batch, classes = next(batches)
        logits = network(data.moved(batch, shifts))
        loss = nn.functional.cross_entropy(logits, classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"loss": loss.detach(), "accuracy": 100 * (logits.argmax(1) == classes).double().mean()}

    def evaluate(done: int) -> dict[str, float]:
        with torch.no_grad():
            logits = torch.cat([network(part) for part in images.split(_TEST_BATCH)])
        right = int((logits.argmax(1) == labels).sum())
        loss = nn.functional.cross_entropy(logits.double(), labels)
        return {"held-out loss": float(loss), "held-out accuracy": 100 * right / len(labels)}

    # An epoch is over with the batch that holds its last image.
    ends = [-(-epoch * len(data.train) // config.batch_size) for epoch in range(1, config.n_epochs + 1)]
    history = train(
        step,
        ends[-1],
        state={"network": network, "adam": optimizer, "batches": batches, "shifts": shifts},
        evaluate=evaluate,
        evaluate_every=data.per_epoch,
        checkpoint=task.checkpoint_for("torch"),
        config=config.identity(),
        stop=task.stop,
        metric="loss",
        description=f"mnist-convnet, torch, seed {task.seed}",
    )
    return _Lane(None if history.interrupted else _by_epoch(history.metrics, ends))


def _by_epoch(metrics: dict[str, Series], ends: list[int]) -> dict[str, Series]:
    """Return means over the epochs of what was measured at each step, the rest as it is."""
    curves = {}
    for name, series in metrics.items():
        if len(series) < ends[-1]:
            curves[name] = series
            continue
        parts = zip([0, *ends], ends, strict=False)
        curves[name] = Series(tuple(ends), tuple(sum(series.values[a:b]) / (b - a) for a, b in parts))
    return curves


def measure(task: Task) -> Measurement:
    """Train both copies for one seed.

    Args:
        task: the configuration and the seed.

    Returns:
        Accuracies (percent) and losses on the held-out images after the last epoch, losses over the last epoch,
        and the first held-out accuracy, by contender; curves over the epochs.
    """
    config: MnistConvnetConfig = task.config
    device = resolve_device(config.device)
    data = _Data(config, device, task.seed)
    with links.default_arrays("torch", device=device, dtype=config.dtype):
        ours = models.ConvNet(generator=resolve_generator(seed=task.seed))
        ours.predict(torch.zeros(1, 28, 28))
    theirs = torch_network(ours)
    lanes: dict[str, _Lane] = {"autograd": _train_ours(task, ours, data)}
    if lanes["autograd"].curves is not None:
        lanes["torch"] = _train_torch(task, theirs, data)
    metrics: dict[str, float] = {}
    histories: dict[str, Series] = {}
    for contender in _CONTENDERS:
        curves = lanes[contender].curves if contender in lanes else None
        if curves is None:
            return Measurement({}, interrupted=True)
        for name, series in curves.items():
            metrics[f"{name}/{contender}"] = series.values[-1]
            histories[f"{name}/{contender}"] = series.thin(_CURVE)
    metrics["accuracy difference"] = metrics["held-out accuracy/autograd"] - metrics["held-out accuracy/torch"]
    return Measurement(metrics=metrics, histories=histories, tables={"data": data.source})


def report(records: Sequence[Record]) -> str:
    """Say how many held-out digits each copy gets right.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    (record,) = records
    config, summary = record.config, record.summary
    rows = tuple(
        (title, *(str(summary[f"{name}/{contender}"]) for contender in _CONTENDERS))
        for title, name in (
            ("held-out accuracy, %", "held-out accuracy"),
            ("held-out loss", "held-out loss"),
            ("training accuracy, last epoch, %", "accuracy"),
            ("training loss, last epoch", "loss"),
        )
    )
    n_seeds = len(record.results)
    title = (
        f"mnist-convnet at {record.scale} scale: {config['dtype']}, {config['data']} MNIST, "
        f"epochs: {config['n_epochs']}, {n_seeds} seed{'s' if n_seeds > 1 else ''}, {record.environment.device}"
    )
    held_out = "MNIST's test images" if config["data"] == "full" else "held-out images of the bundled 5,000"
    lines = [
        title,
        "",
        Table(("", "toolkit.autograd", "torch"), rows, title).to_text(),
        "",
        f"accuracy on {held_out}, ours less torch's, seed by seed: "
        + ", ".join(f"{round(result.metrics['accuracy difference'], 2) + 0.0:+.2f}" for result in record.results),
    ]
    if n_seeds > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_seeds} seeds")
    return "\n".join(lines)


STUDY = Study(
    name="mnist-convnet",
    summary="Chainer's convolutional example on real digits, trained by our Trainer and by torch",
    config=MnistConvnetConfig,
    measure=measure,
    report=report,
)
run = STUDY.run

"""Chainer's MNIST example, trained by our engine and by torch side by side: are they the same, and which is faster?

The network is 784-1000-1000-10 with rectifiers, the batch 100, the optimizer Adam, as in Chainer's ``train_mnist.py``.
Both copies start from the same numbers and see the same batches, step by step in one process, so that their losses and
the time they take can be compared. ``torch.optim`` updates both: it accepts plain tensors whose ``.grad`` is set.

The default is float64, because two float32 trainings drift apart whatever computes them, torch and torch included:
sooner or later rounding decides whether a unit just fires for one image, and Adam makes a whole step of that.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.autograd import Variable, no_grad
from toolkit.autograd import functions as F
from toolkit.core.batches import Minibatches
from toolkit.core.devices import draw_normal, resolve_device, resolve_generator
from toolkit.core.errors import require
from toolkit.core.training import train
from toolkit.datasets import load
from toolkit.experiments.records import Record
from toolkit.experiments.study import Measurement, Study, StudyConfig, Task, by_scale
from toolkit.experiments.tables import Table

TOLERANCE = 1e-4
_CONTENDERS = ("autograd", "torch")
_WARM_UP = 5
_CURVE = 200


@dataclass(frozen=True)
class MnistMlpConfig(StudyConfig):
    """How the two copies are trained."""

    data: Literal["subset", "full"] = by_scale(quick="subset", laptop="subset", paper="full")
    """Which MNIST: the 5,000 bundled images or all 70,000."""

    n_epochs: int = by_scale(quick=1, laptop=20, paper=20)
    """Passes over the training images; 20 in Chainer's example."""

    n_units: int = 1000
    """Units in each of the two hidden layers."""

    batch_size: int = 100
    """Images in a minibatch."""

    learning_rate: float = 1e-3
    """Of Adam."""

    backend: Literal["torch", "numpy"] = "torch"
    """The arrays that our engine computes on; numpy needs the CPU."""

    dtype: Literal["float64", "float32"] = "float64"
    """float32 as in Chainer's example is faster, but there the two copies may drift apart by rounding alone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.data in ("subset", "full"), "MnistMlpConfig", "data", "'subset' or 'full'", repr(self.data))
        require(
            self.backend in ("torch", "numpy"), "MnistMlpConfig", "backend", "'torch' or 'numpy'", repr(self.backend)
        )
        require(self.dtype in ("float64", "float32"), "MnistMlpConfig", "dtype", "float64 or float32", repr(self.dtype))
        for name in ("n_epochs", "n_units", "batch_size"):
            require(getattr(self, name) >= 1, "MnistMlpConfig", name, ">= 1", getattr(self, name))
        require(self.learning_rate > 0, "MnistMlpConfig", "learning_rate", "> 0", self.learning_rate)
        if self.backend == "numpy":
            require(self.device in (None, "cpu"), "MnistMlpConfig", "device", "cpu with NumPy arrays", self.device)
            object.__setattr__(self, "device", "cpu")


class _Ours:
    """The network on our engine. ``parameters`` are the tensors whose memory it computes on, for the optimizer."""

    def __init__(self, parameters: Sequence[Tensor], backend: str):
        self.parameters = [parameter.clone() for parameter in parameters]
        self._as_array: Callable = (lambda tensor: tensor.numpy()) if backend == "numpy" else (lambda tensor: tensor)
        self._variables = [Variable(self._as_array(parameter), requires_grad=True) for parameter in self.parameters]

    def logits(self, images: Tensor) -> Variable:
        w1, b1, w2, b2, w3, b3 = self._variables
        hidden = F.relu(F.linear(Variable(self._as_array(images)), w1, b1))
        return F.linear(F.relu(F.linear(hidden, w2, b2)), w3, b3)

    def gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        loss = F.cross_entropy(self.logits(images), Variable(self._as_array(labels)))
        loss.backward()
        for parameter, variable in zip(self.parameters, self._variables, strict=True):
            parameter.grad = torch.as_tensor(variable.grad)
            variable.grad = None
        return torch.as_tensor(loss.data)

    def predictions(self, images: Tensor) -> Tensor:
        with no_grad():
            return torch.as_tensor(self.logits(images).data).argmax(1)


class _Torch:
    """The same network on torch's own automatic differentiation."""

    def __init__(self, parameters: Sequence[Tensor]):
        self.parameters = [parameter.clone().requires_grad_() for parameter in parameters]

    def logits(self, images: Tensor) -> Tensor:
        w1, b1, w2, b2, w3, b3 = self.parameters
        hidden = torch.relu(torch.nn.functional.linear(images, w1, b1))
        return torch.nn.functional.linear(torch.relu(torch.nn.functional.linear(hidden, w2, b2)), w3, b3)

    def gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        for parameter in self.parameters:
            parameter.grad = None
        loss = torch.nn.functional.cross_entropy(self.logits(images), labels)
        loss.backward()
        return loss.detach()

    def predictions(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.logits(images).argmax(1)


def initial_parameters(
    n_units: int, generator: torch.Generator, device: torch.device, dtype: torch.dtype
) -> list[Float[Tensor, "..."]]:
    """Draw the weights as Chainer does by default: normal with variance 1 / inputs, biases zero.

    Args:
        n_units: units in each hidden layer.
        generator: draws the weights.
        device: where they go.
        dtype: of the weights; they are drawn in float32, so that both types start from the same numbers.

    Returns:
        W1 (units, 784), b1, W2 (units, units), b2, W3 (10, units), b3.
    """
    sizes = (784, n_units, n_units, 10)
    parameters: list[Tensor] = []
    for n_in, n_out in itertools.pairwise(sizes):
        weight = draw_normal((n_out, n_in), generator=generator, device=device) / n_in**0.5
        parameters += [weight.to(dtype), torch.zeros(n_out, device=device, dtype=dtype)]
    return parameters


def measure(task: Task) -> Measurement:
    """Train both copies for one seed.

    Args:
        task: the configuration and the seed.

    Returns:
        Losses, their largest difference, accuracies on the held-out images (percent), and step times (milliseconds: CPU
        time on the CPU, time until the device is done elsewhere) with their ratio.
    """
    config: MnistMlpConfig = task.config
    device = resolve_device(config.device)
    data = load("mnist", variant=config.data)
    dtype = getattr(torch, config.dtype)
    images, labels = data.train.as_float(dtype, device=device, flat=True), data.train.labels.to(device)
    test_images, test_labels = data.test.as_float(dtype, device=device, flat=True), data.test.labels.to(device)

    generator = resolve_generator(seed=task.seed)
    parameters = initial_parameters(config.n_units, generator, device, dtype)
    networks: dict[str, _Ours | _Torch] = {"autograd": _Ours(parameters, config.backend), "torch": _Torch(parameters)}
    optimizers = {
        name: torch.optim.Adam(network.parameters, lr=config.learning_rate) for name, network in networks.items()
    }
    batches = Minibatches(len(images), config.batch_size, generator=generator)
    clock = _clock(device)

    def step(index: int) -> dict[str, float]:
        batch = batches.next(device)
        batch_images, batch_labels = images[batch], labels[batch]
        metrics: dict[str, float] = {}
        # Each goes first every other time, so that neither always finds the caches warm.
        for name in _CONTENDERS if index % 2 else reversed(_CONTENDERS):
            started = clock()
            loss = networks[name].gradients(batch_images, batch_labels)
            optimizers[name].step()
            metrics[f"milliseconds/{name}"] = 1e3 * (clock() - started)
            metrics[f"loss/{name}"] = float(loss)
        metrics["loss difference"] = abs(metrics["loss/autograd"] - metrics["loss/torch"])
        return metrics

    def evaluate(done: int) -> dict[str, float]:
        return {
            f"held-out accuracy/{name}": accuracy(network.predictions(test_images), test_labels)
            for name, network in networks.items()
        }

    history = train(
        step,
        config.n_epochs * batches.per_epoch,
        state={
            "autograd": networks["autograd"].parameters,
            "torch": networks["torch"].parameters,
            **{f"adam/{name}": optimizer for name, optimizer in optimizers.items()},
            "batches": batches,
            "generator": generator,
        },
        evaluate=evaluate,
        evaluate_every=batches.per_epoch,
        checkpoint=task.checkpoint,
        config=config.identity(),
        stop=task.stop,
        metric="loss/autograd",
        description=f"mnist-mlp, seed {task.seed}",
    )
    if history.interrupted:
        return Measurement({}, interrupted=True)
    warm = _WARM_UP if history.n_steps > 2 * _WARM_UP else 0
    times = {name: statistics.median(history[f"milliseconds/{name}"][warm:]) for name in _CONTENDERS}
    return Measurement(
        metrics={
            "largest loss difference": history["loss difference"].max(),
            **{f"loss/{name}": history[f"loss/{name}"][-batches.per_epoch :].mean() for name in _CONTENDERS},
            **{f"held-out accuracy/{name}": history.last(f"held-out accuracy/{name}") for name in _CONTENDERS},
            **{f"milliseconds/{name}": times[name] for name in _CONTENDERS},
            "time ratio": times["autograd"] / times["torch"],
        },
        histories={name: series.thin(_CURVE) for name, series in history.metrics.items()},
        tables={"data": {"name": [data.name], "variant": [data.variant], "source": [data.source.partition(":")[0]]}},
        seconds=history.seconds,
        cpu_seconds=history.cpu_seconds,
    )


def accuracy(predictions: Int64[Tensor, " images"], labels: Int64[Tensor, " images"]) -> float:
    """Return the share of right predictions in per cent."""
    return 100 * int((predictions == labels).sum()) / len(labels)


def _clock(device: torch.device) -> Callable[[], float]:
    """CPU time where the CPU does the work, because other processes do not count; elsewhere time until it is done."""
    if device.type == "cpu":
        return time.process_time

    def clock() -> float:
        torch.accelerator.synchronize(device)
        return time.perf_counter()

    return clock


def report(records: Sequence[Record]) -> str:
    """Say whether the two copies agree and how long each takes.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    (record,) = records
    summary, n_seeds = record.summary, len(record.results)
    config = record.config
    unit = "CPU ms" if record.environment.device.startswith("cpu") else "ms"
    rows = (
        ("loss in the last epoch", *(str(summary[f"loss/{name}"]) for name in _CONTENDERS)),
        ("held-out accuracy, %", *(str(summary[f"held-out accuracy/{name}"]) for name in _CONTENDERS)),
        (f"{unit} a step, median", *(str(summary[f"milliseconds/{name}"]) for name in _CONTENDERS)),
    )
    differences = [result.metrics["largest loss difference"] for result in record.results]
    worst = float(torch.tensor(differences, dtype=torch.float64).max())  # Python's own max may pass over a NaN
    agree = "the same" if worst <= TOLERANCE else "NOT the same"
    columns = ("", f"toolkit.autograd on {config['backend']}", "torch")
    network = f"784-{config['n_units']}-{config['n_units']}-10"
    seeds = f"{n_seeds} seed{'s' if n_seeds > 1 else ''}"
    title = (
        f"mnist-mlp at {record.scale} scale: {network}, {config['dtype']}, {config['data']} MNIST, "
        f"epochs: {config['n_epochs']}, {seeds}, {record.environment.device}"
    )
    lines = [
        title,
        "",
        Table(columns, rows, title).to_text(),
        "",
        f"largest difference of the two losses at any step: {worst:.2g}: {agree} (tolerance {TOLERANCE:g})",
        f"time of a step, ours / torch: {summary['time ratio']}",
    ]
    if n_seeds > 1:
        lines.append(f"a ± b: mean and standard deviation over the {n_seeds} seeds")
    if not worst <= TOLERANCE and config["dtype"] == "float32":
        lines.append("in float32 rounding alone can drive two trainings apart; --dtype float64 tells whether it did")
    return "\n".join(lines)


STUDY = Study(
    name="mnist-mlp",
    summary="Chainer's MNIST example, trained by our engine and by torch side by side",
    config=MnistMlpConfig,
    measure=measure,
    report=report,
)
run = STUDY.run

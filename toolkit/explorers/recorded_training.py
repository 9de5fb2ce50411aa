"""Recorded runs as tables: what our engine and torch reach on real digits, and how long a training step takes."""

from collections.abc import Sequence
from typing import Any

from toolkit.experiments import Record
from toolkit.explorers.recorded_runs import recorded_run
from toolkit.lessons import Table, table

ACCURACY, SPEED = "mnist-convnet", "autograd-speed"
_WHY_ADAM = (
    "Adam gains most because ours calls torch's fused kernel; torch.optim.Adam on a CPU, unless asked, goes over the "
    "parameters one by one in Python."
)
_CONTENDERS = {"ours on torch": "ours, torch tensors", "ours on NumPy": "ours, NumPy arrays"}


def newest(study: str, records: Sequence[Record] | None = None) -> Record:
    """Take the newest recorded run of a study, one at more than quick scale if there is one.

    Args:
        study: its name.
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: there is none.
    """
    return recorded_run(study, records, lambda record: record.scale != "quick")


def accuracy_table(records: Sequence[Record] | None = None) -> Table:
    """Return what both copies of the convolutional network reach, seed by seed."""
    record = newest(ACCURACY, records)
    rows = [
        [
            f"seed {result.seed}",
            *(f"{result.metrics[f'held-out accuracy/{name}']:.1f}" for name in ("autograd", "torch")),
        ]
        for result in record.results
    ]
    means = [record.summary[f"held-out accuracy/{name}"] for name in ("autograd", "torch")]
    rows.append(["mean ± standard deviation", *(str(spread) for spread in means)])
    return table(["held-out digits named right (%)", "ours, by the Trainer", "torch, by hand"], rows)


def speed_table(records: Sequence[Record] | None = None) -> Table:
    """Return the time of a step of each benchmark task, divided by that of torch eager."""
    metrics = newest(SPEED, records).results[0].metrics
    tasks = dict.fromkeys(name.partition(": ")[0] for name in metrics if name.endswith(f": {next(iter(_CONTENDERS))}"))
    words = tasks_in_words()
    rows = [
        [task, words.get(task, "–"), *(_ratio(metrics.get(f"{task}: {contender}")) for contender in _CONTENDERS)]
        for task in tasks
    ]
    caption = "Time of one step ÷ that of torch eager: below 1, ours is faster; – was not measured"
    return table(["task", "what a step is", *_CONTENDERS.values()], rows, caption=caption)


def tasks_in_words() -> dict[str, str]:
    """Return what a step of each task of the engine's benchmark computes, by the task's name.

    A step is one forward and one backward pass, in single precision, and the update where an optimizer is named.
    """
    small, large = "layers of 32, 32, 2 units on 10 inputs", "layers of 1000, 1000, 10 units on 784 inputs"
    networks = {
        "MLP 10-32-32-2": f"{small}, batch 16",
        "MLP 784-1000-1000-10": f"{large}, batch 100",
        "convnet A, 28 x 28": "two 5×5 convolutions (20, 50 filters), 500 units, batch 64",
        "convnet B, 32 x 32": "three 3×3 convolutions (32, 32, 64 filters), 256 units, batch 32",
    }
    updated = {
        f"{network} + {optimizer}": f"the same, and {optimizer}'s update"
        for network in networks
        for optimizer in ("SGD", "Adam")
    }
    return {
        "chain of 999 operations": "products, sums and tanh of vectors of 10, in turn",
        **networks,
        **updated,
        "LSTM, 50 steps": "128 cells read 50 vectors of 64, batch 32",
        "gradient penalty 784-500-500-10": "a gradient through layers of 500, 500, 10 units, differentiated, batch 100",
        "gradient penalty 10-32-32-3": "a gradient through layers of 32, 32, 3 units, differentiated, batch 16",
    }


def processes_table(measured: Any) -> Table:
    """Return the loss of each step of a training with several processes, without and with double buffering.

    Args:
        measured: a result of :func:`toolkit.autograd.distributed.example.measure`.
    """
    return table(
        ["loss, with", *(f"step {number}" for number in range(1, len(measured.losses) + 1))],
        [
            ["gradients of the same step", *(f"{loss:.2f}" for loss in measured.losses)],
            ["of the step before (double buffering)", *(f"{loss:.2f}" for loss in measured.stale_losses)],
        ],
    )


def where_recorded(study: str, records: Sequence[Record] | None = None) -> str:
    """Return machine, versions and day of the run that the tables show."""
    record = newest(study, records)
    environment = record.environment
    device = environment.device.partition(": ")[2] or environment.device
    versions = f"torch {environment.torch}, NumPy {environment.numpy}"
    why = f" {_WHY_ADAM}" if study == SPEED else ""
    return f"Recorded at {record.scale} scale on {record.date[:10]}: {device}, {versions}.{why}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"

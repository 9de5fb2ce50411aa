"""Recorded runs as tables: what our engine and torch reach on real digits, and how long a training step takes."""

from collections.abc import Sequence

from toolkit.core.errors import reject
from toolkit.core.paths import data_directory
from toolkit.experiments import Record, load_records
from toolkit.lessons import Table, table

ACCURACY, SPEED = "mnist-convnet", "autograd-speed"
_CONTENDERS = {"ours on torch": "ours, torch tensors", "ours on NumPy": "ours, NumPy arrays"}


def newest(study: str, records: Sequence[Record] | None = None) -> Record:
    """Take the newest recorded run of a study, one at more than quick scale if there is one.

    Args:
        study: its name.
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: there is none.
    """
    found = load_records(data_directory() / "runs", study) if records is None else records
    found = [record for record in found if record.study == study]
    if not found:
        reject("newest", "records", f"a run of {study}", "none")
    return max(found, key=lambda record: (record.scale != "quick", record.date))


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
    """Return the time of a step of each benchmark task in per cent of torch eager's."""
    metrics = newest(SPEED, records).results[0].metrics
    tasks = dict.fromkeys(name.partition(": ")[0] for name in metrics if name.endswith(f": {next(iter(_CONTENDERS))}"))
    rows = [[task, *(_ratio(metrics.get(f"{task}: {contender}")) for contender in _CONTENDERS)] for task in tasks]
    return table(["one step, its time ÷ that of torch eager", *_CONTENDERS.values()], rows)


def where_recorded(study: str, records: Sequence[Record] | None = None) -> str:
    """Return machine, versions and day of the run that the tables show."""
    record = newest(study, records)
    environment = record.environment
    device = environment.device.partition(": ")[2] or environment.device
    versions = f"torch {environment.torch}, NumPy {environment.numpy}"
    return f"Recorded at {record.scale} scale on {record.date[:10]}: {device}, {versions}."


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

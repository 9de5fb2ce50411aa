"""The tables of recorded runs show what the records hold, and the newest of them."""

import dataclasses

import pytest

from toolkit.core.paths import data_directory
from toolkit.experiments import load_records
from toolkit.explorers import recorded_training
from toolkit.explorers.recorded_training import accuracy_table, newest, speed_table, where_recorded


def test_the_accuracies_are_those_of_the_record_seed_by_seed():
    record = newest("mnist-convnet")
    shown = repr(accuracy_table())
    assert len(record.results) >= 3
    for result in record.results:
        for name in ("autograd", "torch"):
            assert f"{result.metrics[f'held-out accuracy/{name}']:.1f}" in shown
    assert str(record.summary["held-out accuracy/autograd"]) in shown


def test_every_task_of_the_benchmark_has_its_row():
    metrics = newest("autograd-speed").results[0].metrics
    shown = repr(speed_table())
    tasks = {name.partition(": ")[0] for name in metrics if name.endswith(": ours on torch")}
    assert len(tasks) >= 8 and all(task in shown for task in tasks)
    for name, value in metrics.items():
        if name.endswith((": ours on torch", ": ours on NumPy")):
            assert f"{value:.2f}" in shown


def test_the_newest_run_counts_and_quick_ones_last():
    (record, *_) = load_records(data_directory() / "runs", "mnist-convnet")
    older = dataclasses.replace(record, date="2020-01-01T00:00:00Z", scale="laptop")
    quick = dataclasses.replace(record, date="2099-01-01T00:00:00Z", scale="quick")
    assert newest("mnist-convnet", [older, record, quick]) is record
    assert newest("mnist-convnet", [quick]) is quick
    assert where_recorded("mnist-convnet", [older]).startswith("Recorded at laptop scale on 2020-01-01")
    with pytest.raises(ValueError, match="a run of mnist-convnet"):
        recorded_training.newest("mnist-convnet", [])

"""The tables of recorded runs show what the records hold, and the newest of them."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from toolkit.core.paths import data_directory
from toolkit.experiments import load_records
from toolkit.explorers import recorded_training
from toolkit.explorers.recorded_training import (
    accuracy_table,
    newest,
    processes_table,
    speed_table,
    tasks_in_words,
    where_recorded,
)


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


def test_tasks_are_explained_and_what_was_not_measured_is_a_dash():
    shown = speed_table()
    assert "below 1, ours is faster" in shown.caption and shown.headers[:2] == ("task", "what a step is")
    assert all(cell for row in shown.rows for cell in row) and any(row[-1] == "–" for row in shown.rows)
    assert all(len(row[1]) > 10 for row in shown.rows)
    assert "fused kernel" in where_recorded("autograd-speed")


def test_the_explanations_are_those_of_the_benchmark():
    path = Path(__file__).parents[1] / "benchmarks" / "autograd_tasks.py"
    spec = importlib.util.spec_from_file_location("benchmark_tasks", path)
    tasks = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tasks
    spec.loader.exec_module(tasks)
    words = tasks_in_words()
    for name, (_, shapes, inputs) in (("convnet A, 28 x 28", tasks.CONVNET_A), ("convnet B, 32 x 32", tasks.CONVNET_B)):
        filters = [shape for shape in shapes if len(shape) == 4]
        units = [shape for shape in shapes if len(shape) == 2]
        side = filters[0][2]
        assert f"{side}×{side} convolutions ({', '.join(str(shape[0]) for shape in filters)} filters)" in words[name]
        assert f"{units[0][0]} units, batch {inputs[0]}" in words[name]
    assert tasks.LENGTH * 3 == 999 and "chain of 999 operations" in words


def test_the_losses_of_several_processes_in_two_rows():
    shown = processes_table(SimpleNamespace(losses=(2.361, 1.5), stale_losses=(2.361, 2.0)))
    assert shown.headers == ("loss, with", "step 1", "step 2")
    assert shown.rows == (
        ("gradients of the same step", "2.36", "1.50"),
        ("of the step before (double buffering)", "2.36", "2.00"),
    )


def test_the_newest_run_counts_and_quick_ones_last():
    (record, *_) = load_records(data_directory() / "runs", "mnist-convnet")
    older = dataclasses.replace(record, date="2020-01-01T00:00:00Z", scale="laptop")
    quick = dataclasses.replace(record, date="2099-01-01T00:00:00Z", scale="quick")
    assert newest("mnist-convnet", [older, record, quick]) is record
    assert newest("mnist-convnet", [quick]) is quick
    assert where_recorded("mnist-convnet", [older]).startswith("Recorded at laptop scale on 2020-01-01")
    with pytest.raises(ValueError, match="a run of mnist-convnet"):
        recorded_training.newest("mnist-convnet", [])

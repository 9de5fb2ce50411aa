"""Every design of the small tape gives the right gradients, and the timing measures what it says."""

import gc
import threading

import numpy as np
import pytest
import torch

from toolkit.experiments.small_tapes import LIBRARIES, RECORDS, Design, build, designs
from toolkit.experiments.study import StudyInterrupted, Task
from toolkit.experiments.tape_designs import (
    OURS,
    TORCH,
    TapeDesignsConfig,
    chain,
    left_to_collector,
    measure,
    reference_chains,
    report,
    require_equal_gradients,
    run,
    take_turns,
)

SMALL = TapeDesignsConfig(rounds=1, length=5, seeds=(0, 1))


@pytest.mark.parametrize("library", LIBRARIES)
def test_all_gradients_are_torchs(library):
    contenders = reference_chains(library, length=20) | {d.key: chain(d, length=20) for d in designs(library)}
    assert len(contenders) == 3 + 12
    expected = [gradient.double() for gradient in contenders[TORCH]()]
    for step in contenders.values():
        for mine, theirs in zip(step(), expected, strict=True):
            np.testing.assert_allclose(np.asarray(mine), theirs, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("record", RECORDS)
def test_a_result_used_twice_collects_both_contributions(record):
    tape = build(Design("numpy", record))
    a = tape.leaf(np.array([0.5, -1.0]))
    square = tape.multiply(a, a)
    tape.backward(tape.add(tape.multiply(square, square), tape.tanh(square)), np.ones(2))
    x = a.data
    np.testing.assert_allclose(a.grad, 4 * x**3 + 2 * x * (1 - np.tanh(x**2) ** 2), rtol=1e-12)
    leaf = tape.leaf(np.ones(2))
    tape.backward(leaf, np.full(2, 3.0))
    assert leaf.grad.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_only_closures_leave_something_to_the_collector(library):
    for design in designs(library):
        left = left_to_collector(chain(design, length=10))
        assert (left >= 30) if design.record == "closures" else (left == 0), design
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_a_wrong_gradient_is_noticed():
    steps = reference_chains("numpy", length=5)
    wrong = {**steps, "wrong": lambda: (np.zeros(10), np.zeros(10), np.zeros(10))}
    require_equal_gradients(steps)
    with pytest.raises(RuntimeError, match="wrong finds other gradients"):
        require_equal_gradients(wrong)


def test_the_best_round_counts_and_everything_is_put_back():
    calls = []
    steps = {name: lambda name=name: calls.append(name) or () for name in "abc"}
    turns = take_turns(steps, 3, operations=1)
    first = next(turns)
    turns.close()
    assert gc.get_freeze_count() == 0
    assert calls == ["a", "b", "c"] and all(0 <= value < 1e5 for value in first.values())
    found = list(take_turns(steps, 3, operations=1))
    assert len(found) == 3 and calls[3:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert all(found[2][name] <= found[1][name] <= found[0][name] for name in steps)


@pytest.mark.parametrize(
    "wrong", [lambda: Design("cupy"), lambda: Design(record="heap"), lambda: TapeDesignsConfig(rounds=0)]
)
def test_unknown_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        wrong()
    with pytest.raises(ValueError, match="cpu"):
        TapeDesignsConfig(device="cuda")


def test_the_study():
    (record,) = run(SMALL)
    names = [f"{library}/{name}" for library in LIBRARIES for name in (TORCH, OURS, "no tape")]
    names += [design.key for library in LIBRARIES for design in designs(library)]
    assert len(set(names)) == 30
    for result in record.results:
        assert {f"microseconds/{name}" for name in names} <= set(result.metrics)
        assert all(result.metrics[f"microseconds/{name}"] > 0 for name in names)
        assert result.metrics["left to the collector/numpy/nodes"] == 0
    text = report([record])
    assert all(name in text for name in names) and "15 operations" in text


def test_it_can_be_stopped():
    stop = threading.Event()
    stop.set()
    with pytest.raises(StudyInterrupted):
        measure(Task(SMALL, 0, stop=stop))


def test_no_design_writes_into_an_array_it_was_given():
    for library in LIBRARIES:
        ones = torch.ones(3) if library == "torch" else np.ones(3)
        for design in designs(library):
            tape = build(design)
            a, b = tape.leaf(ones * 2), tape.leaf(ones * 3)
            tape.backward(tape.add(tape.add(a, b), a), ones)
            assert float(a.grad[0]) == 2 and float(b.grad[0]) == 1 and float(ones[0]) == 1

"""What the memory explorer measures is memory: exact, independent of the tape, and nothing is left switched off."""

import gc
import tracemalloc

import numpy as np
import pytest

from toolkit.explorers import explore_memory_leak, memory_leak
from toolkit.explorers.held_memory import array_bytes, collector_off, traced


def test_bytes_are_those_of_the_arrays_alive():
    with traced():
        before = array_bytes()
        kept = np.zeros(1000)
        assert array_bytes() - before == kept.nbytes
        view = kept[:10]
        assert array_bytes() - before == kept.nbytes
        del kept
        assert array_bytes() - before == 8000, "the view keeps the whole array"
        del view
        assert array_bytes() == before


@pytest.mark.parametrize("on", [True, False])
def test_the_collector_is_left_as_it_was(on):
    was_on = gc.isenabled()
    try:
        (gc.enable if on else gc.disable)()
        with pytest.raises(ZeroDivisionError), collector_off():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() is on
        assert gc.get_freeze_count() == 0
    finally:
        (gc.enable if was_on else gc.disable)()


def test_tracing_ends_unless_it_was_on():
    assert not tracemalloc.is_tracing()
    with traced():
        assert tracemalloc.is_tracing()
    assert not tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        with traced():
            pass
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


def test_naive_grows_by_the_same_every_step_and_ours_not_at_all():
    trace = memory_leak.measure_memory()
    growth = np.diff(trace.naive)
    assert len(growth) == memory_leak.STEPS and growth[0] > 100_000 and (growth == growth[0]).all()
    assert set(trace.ours) == {0}


def test_the_collector_clears_the_naive_tape_when_it_runs():
    trace = memory_leak.measure_memory(5)
    assert [step for step, held in enumerate(trace.naive) if held == 0] == [0, 5, 10]
    assert trace.naive[memory_leak.STEPS] == 2 * trace.naive[1]
    assert memory_leak.measure_memory(n_steps=0).naive == (0,)


@pytest.mark.parametrize("wrong", [{"collect_every": -1}, {"n_steps": -1}])
def test_negative_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="measure_memory"):
        memory_leak.measure_memory(**wrong)


def test_both_tapes_take_the_same_steps(monkeypatch):
    ends = []
    for training in (memory_leak._naive_training, memory_leak._our_training):
        starts = memory_leak._weights()
        monkeypatch.setattr(memory_leak, "_weights", lambda starts=starts: starts)
        step = training()
        for _ in range(5):
            step()
        ends.append(starts)
        monkeypatch.undo()
    for naive, ours, start in zip(*ends, memory_leak._weights(), strict=True):
        np.testing.assert_allclose(naive, ours, rtol=1e-5)
        assert np.abs(naive - start).max() > 1e-4, "nothing was learned"


def test_view():
    view = explore_memory_leak()
    assert view.error is None and "never runs" in view.text and "ours holds 0.0 MB" in view.text
    view.controls["collect_every"].value = 1
    assert view.error is None and "every step" in view.text and "naive tape holds 0.0 MB" in view.text
    view.controls["collect_every"].value = 4
    assert "at most 1.4 MB in between" in view.text

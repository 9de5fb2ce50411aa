"""The switches show what was recorded, the button measures, and both say which of the two it is."""

import time

import pytest

from toolkit.experiments.small_tapes import RECORDS, Design
from toolkit.experiments.tape_designs import BARE, OURS, TORCH, TapeDesignsConfig, run
from toolkit.explorers import explore_tape_designs
from toolkit.explorers.tape_designs import describe, draw, measure_here, recorded_study, recorded_timings


@pytest.fixture(scope="module")
def record():
    return run(TapeDesignsConfig(rounds=1, length=4, seeds=(0, 1)))[0]


def test_the_quickest_seed_counts(record):
    found = recorded_timings(record, Design("torch", "split", True))
    names = ("torch/split+lookup", "torch/nodes", f"torch/{OURS}", f"torch/{TORCH}", f"torch/{BARE}")
    expected = {min(result.metrics[f"microseconds/{name}"] for result in record.results) for name in names}
    assert set(found.microseconds.values()) == expected
    assert found.chosen == min(r.metrics["microseconds/torch/split+lookup"] for r in record.results)
    assert found.recorded and record.date[:10] in describe(found) and "Recorded" in draw(found).to_string()


def test_no_run():
    with pytest.raises(ValueError, match="tape-designs"):
        recorded_study([])


def test_the_recorded_run_that_comes_with_the_toolkit_makes_the_points():
    """By recorded numbers, not by a clock: a look-up costs half as much again or more, split nodes cost a little."""
    record = recorded_study()
    assert record.scale == "laptop" and record.config["length"] == 333
    for library in ("numpy", "torch"):
        base = recorded_timings(record, Design(library))
        assert base.chosen == base.base and base.left == 0
        assert recorded_timings(record, Design(library, lookup=True)).chosen > 1.4 * base.base
        assert recorded_timings(record, Design(library, "split")).chosen > 1.05 * base.base
        assert recorded_timings(record, Design(library, "closures")).left > 5000
    fused, plain = (recorded_timings(record, Design("torch", plain_tanh=plain)).chosen for plain in (False, True))
    assert plain > 1.2 * fused


def test_measuring_here():
    steps = list(measure_here("numpy", "closures", False, True, rounds=2))
    assert [step.fraction for step in steps] == [0.5, 1.0]
    last = steps[-1].result
    assert not last.recorded and last.left > 5000 and len(last.microseconds) == 5
    assert all(value > 0 for value in last.microseconds.values())
    assert "Measured on this machine" in describe(last) and "Measured here" in draw(last).to_string()
    with pytest.raises(ValueError, match="rounds"):
        next(measure_here(rounds=0))


def test_view(record):
    view = explore_tape_designs([record])
    assert view.error is None and "Recorded" in view.text and "library looked up" in view.text
    view.controls["lookup"].value = False
    view.controls["record"].value = "closures"
    assert view.error is None and RECORDS["closures"] in view.text and "cycle collector" in view.text
    view.controls["library"].value = "torch"
    assert "torch arrays" in view.text and view.note.value == ""
    view.reset()
    assert "NumPy arrays" in view.text and "library looked up" in view.text


def test_the_button_measures_and_can_be_stopped(record):
    view = explore_tape_designs([record])
    view.run_button.click()
    deadline = time.monotonic() + 60
    while "Measured on this machine" not in view.text and time.monotonic() < deadline:
        time.sleep(0.01)
    view.stop_button.click()
    assert view.join(60) and view.error is None
    assert "Measured on this machine" in view.text
    view.controls["plain_tanh"].value = True
    assert "Recorded" in view.text


def test_the_stored_text_names_the_machine_and_is_the_same_each_time():
    first, second = explore_tape_designs(), explore_tape_designs()
    assert first.text == second.text and "torch 2" in first.text
    assert first.drawn.svg.to_string() == second.drawn.svg.to_string()

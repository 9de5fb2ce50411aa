"""When triggers fire: exactly as often as they should, also after a resume."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from toolkit.autograd.training import (
    EarlyStoppingTrigger,
    ExtensionsManager,
    IntervalTrigger,
    ManualScheduleTrigger,
    MaxValueTrigger,
    MinValueTrigger,
    OnceTrigger,
    TimeTrigger,
    get_trigger,
)


class Clock:
    """A trainer that has nothing but a place: one iteration is ``batch`` of ``size`` items."""

    def __init__(self, batch: int = 1, size: int = 1) -> None:
        self.batch, self.size, self.iteration, self.elapsed_time = batch, size, 0, 0.0
        self.observation: dict = {}

    @property
    def progress(self) -> tuple[int, int]:
        return self.iteration * self.batch, self.size

    @property
    def previous_progress(self) -> tuple[int, int]:
        return max(0, self.iteration - 1) * self.batch, self.size


def fired(trigger, clock: Clock, n: int, **values) -> list[int]:
    """Go on for ``n`` iterations and return those where it fired."""
    found = []
    for step in range(n):
        clock.iteration += 1
        clock.observation = {name: series[step] for name, series in values.items() if series[step] is not None}
        if trigger(clock):
            found.append(clock.iteration)
    return found


@pytest.mark.parametrize(
    ("period", "batch", "size"), [(1, 3, 10), (0.1, 1, 37), (2.5, 4, 9), (1 / 3, 7, 100), (1, 5, 2)]
)
def test_an_interval_of_epochs_fires_once_for_each_multiple_that_is_passed(period, batch, size):
    exact = Fraction(period).limit_denominator(1000)
    expected = [
        n for n in range(1, 400) if Fraction(n * batch, size) // exact > Fraction((n - 1) * batch, size) // exact
    ]
    assert fired(IntervalTrigger(period, "epoch"), Clock(batch, size), 399) == expected


def test_a_tenth_of_an_epoch_over_very_many_iterations():
    trigger, clock = IntervalTrigger(0.1, "epoch"), Clock(1, 10)
    clock.iteration = 3_000_000
    assert fired(trigger, clock, 1000) == list(range(3_000_001, 3_001_001))


def test_an_interval_of_iterations():
    assert fired(IntervalTrigger(3, "iteration"), Clock(), 10) == [3, 6, 9]


def test_asked_again_it_says_the_same_and_asked_seldom_it_forgets_nothing():
    trigger, clock = IntervalTrigger(4, "iteration"), Clock()
    clock.iteration = 4
    assert trigger(clock) and trigger(clock)
    clock.iteration = 6
    assert not trigger(clock)
    clock.iteration = 13
    assert trigger(clock)


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_resumed_trigger_fires_neither_twice_nor_late(stop):
    for make in (
        lambda: IntervalTrigger(0.5, "epoch"),
        lambda: IntervalTrigger(3, "iteration"),
        lambda: ManualScheduleTrigger([1, 2.5], "epoch"),
        lambda: OnceTrigger(),
    ):
        whole = fired(make(), Clock(3, 8), 20)
        trigger, clock = make(), Clock(3, 8)
        found = fired(trigger, clock, stop)
        resumed = make()
        resumed.load_state_dict(trigger.state_dict())
        assert resumed(clock) == trigger(clock)
        assert found + fired(resumed, clock, 20 - stop) == whole
        newcomer, clock.iteration = make(), stop
        if not isinstance(newcomer, OnceTrigger):
            assert fired(newcomer, clock, 20 - stop) == [n for n in whole if n > stop]


def test_a_resumed_trigger_of_another_period_goes_by_its_own():
    trigger, clock = IntervalTrigger(2, "iteration"), Clock()
    fired(trigger, clock, 7)
    other = IntervalTrigger(5, "iteration")
    other.load_state_dict(trigger.state_dict())
    assert fired(other, clock, 10) == [10, 15]


def test_once_and_once_more_on_resume():
    trigger, clock = OnceTrigger(call_on_resume=True), Clock()
    assert fired(trigger, clock, 3) == [1]
    resumed = OnceTrigger(call_on_resume=True)
    resumed.load_state_dict(trigger.state_dict())
    assert fired(resumed, clock, 3) == [4]


def test_a_schedule():
    assert fired(ManualScheduleTrigger([2, 5, 5, 0], "iteration"), Clock(), 9) == [2, 5]
    assert fired(ManualScheduleTrigger(0.5, "epoch"), Clock(1, 4), 9) == [2]
    assert fired(ManualScheduleTrigger([0.3, 0.4], "epoch"), Clock(1, 2), 9) == [1]


def test_time():
    trigger, clock = TimeTrigger(2.0), Clock()
    found = []
    for clock.iteration, clock.elapsed_time in enumerate([0.5, 1.9, 2.0, 2.1, 9.0, 9.5, 10.0], 1):
        if trigger(clock):
            found.append(clock.elapsed_time)
    assert found == [2.0, 9.0, 10.0]
    resumed = TimeTrigger(2.0)
    resumed.load_state_dict(trigger.state_dict())
    clock.iteration, clock.elapsed_time = 8, 11.9
    assert not resumed(clock)


def test_the_best_mean_of_an_interval():
    values = [3.0, 1.0, 2.0, 4.0, 4.0, 4.0, 5.0, math.nan, None, None, 0.0, 0.5]
    assert fired(MinValueTrigger("loss", (2, "iteration")), Clock(), 12, loss=values) == [2, 12]
    best = MaxValueTrigger("loss", (2, "iteration"))
    assert fired(best, Clock(), 12, loss=values) == [2, 4, 6]
    assert best.best_value == 4.0


@pytest.mark.parametrize("stop", range(1, 10))
def test_value_triggers_go_on_in_the_middle_of_an_interval(stop):
    values = [5.0, 4.0, 4.5, 3.0, 2.0, 6.0, 1.0, 1.0, 1.0, 0.5, 7.0, 0.1]
    for make in (
        lambda: MinValueTrigger("loss", (3, "iteration")),
        lambda: EarlyStoppingTrigger((2, "iteration"), "loss", 1, max_trigger=(99, "iteration")),
    ):
        whole = fired(make(), Clock(), 12, loss=values)
        trigger, clock = make(), Clock()
        found = fired(trigger, clock, stop, loss=values)
        resumed = make()
        resumed.load_state_dict(trigger.state_dict())
        assert found + fired(resumed, clock, 12 - stop, loss=values[stop:]) == whole


def test_early_stopping_waits_for_patience():
    def stops(values, **options):
        trigger = EarlyStoppingTrigger((1, "iteration"), options.pop("monitor", "loss"), **options)
        return fired(trigger, Clock(), len(values), **{trigger.monitor: values})[:1]

    assert stops([3, 2, 2, 2, 1, 2, 2, 2, 2], patience=3) == [8]
    assert stops([1, 2, 3, 3, 3], patience=2, monitor="accuracy") == [5]
    assert stops([1, math.nan, math.nan], patience=2) == [3]
    assert stops([1, None, None, 2, None, 2], patience=2) == [6]
    assert stops([3, 2, 1, 0], patience=2, max_trigger=(3, "iteration")) == [3]
    assert EarlyStoppingTrigger(max_trigger=(7, "epoch")).get_training_length() == (7, "epoch")


def test_what_users_write():
    assert get_trigger((5, "epoch")).period == 5
    assert not get_trigger(None)(Clock())
    call = lambda trainer: True  # noqa: E731
    assert get_trigger(call) is call


@pytest.mark.parametrize(
    "wrong",
    [(1, "epochs"), (0, "epoch"), (-1, "epoch"), (math.nan, "epoch"), (0.5, "iteration"), ("1", "epoch"), 5, "epoch"],
)
def test_what_is_no_trigger(wrong):
    with pytest.raises((ValueError, TypeError), match=r"bad argument|period"):
        get_trigger(wrong)


def test_epochs_that_nobody_knows():
    manager = ExtensionsManager(stop_trigger=(1, "epoch"))
    with pytest.raises(ValueError, match="iterations_per_epoch"), manager.run_iteration():
        pass


@pytest.mark.parametrize("points", [np.array([2, 0.5]), torch.tensor([0.5, 2, 2]), {2, 0.5}, (2, 0.5)])
def test_points_of_a_schedule_in_any_form(points):
    assert sorted(set(ManualScheduleTrigger(points, "epoch").points)) == [0.5, 2]

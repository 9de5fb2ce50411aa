"""Triggers that go by how far training is: iterations, epochs, seconds."""

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from toolkit.core.errors import argument_error, require

_UNITS = ("epoch", "iteration")


class Trigger:
    """Says after each iteration whether it is time. Write :meth:`fires`; any callable on the trainer will do too.

    Asked twice after the same iteration it gives the same answer, also when a snapshot was loaded in between:
    nothing happens twice. Asked only now and then it does not forget what went by meanwhile.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._answer = False

    def __call__(self, trainer: Any) -> bool:
        """Return whether it is time, after the trainer's latest iteration."""
        iteration = trainer.iteration
        if iteration != self._asked:
            self._answer = bool(self.fires(trainer))
            self._asked = iteration
        return self._answer

    def fires(self, trainer: Any) -> bool:
        """Return whether it is time. Called once an iteration."""
        raise NotImplementedError

    def get_training_length(self) -> tuple[float, str] | None:
        """Return how long training takes if this stops it, ``(20, "epoch")``, or ``None`` where nobody knows."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        return {"asked": self._asked, "answer": self._answer}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on from a state of :meth:`state_dict`."""
        asked = state["asked"]
        self._asked, self._answer = None if asked is None else int(asked), bool(state["answer"])


class NeverTrigger(Trigger):
    """Never fires; what ``get_trigger(None)`` gives."""

    def fires(self, trainer: Any) -> bool:
        return False


class _CountingTrigger(Trigger):
    """Fires when a count that grows with training has grown since it was asked last."""

    unit: str

    def __init__(self) -> None:
        super().__init__()
        self._at: tuple[int, int, int] | None = None

    def count(self, iteration: int, items: int, size: int) -> int:
        """Return the count after ``iteration`` iterations and ``items`` items of a data set of ``size``."""
        raise NotImplementedError

    def reached(self, trainer: Any) -> bool:
        """Return whether the trainer has come to the first point where this fires."""
        return self.count(trainer.iteration, *_progress(trainer, self.unit)) >= 1

    def fires(self, trainer: Any) -> bool:
        iteration = trainer.iteration
        at = (iteration, *_progress(trainer, self.unit))
        before, self._at = self._at, at
        if iteration <= 0:
            return False
        if before is None or before[0] > iteration:  # first asked now, or used with another trainer before
            before = (iteration - 1, *_progress(trainer, self.unit, previous=True))
        return self.count(*at) > self.count(*before)

    def state_dict(self) -> dict[str, Any]:
        at = self._at or (None, None, None)
        return {**super().state_dict(), "iteration": at[0], "items": at[1], "size": at[2]}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        super().load_state_dict(state)
        at = (state["iteration"], state["items"], state["size"])
        self._at = None if at[0] is None else (int(at[0]), int(at[1]), int(at[2]))


class IntervalTrigger(_CountingTrigger):
    """Fires every so many epochs or iterations, counted in whole numbers: never one too many or too few.

    Args:
        period: above 0; of epochs, also a fraction such as ``0.1``.
        unit: ``"epoch"`` or ``"iteration"``.

    Raises:
        ValueError: another unit, a period that is not positive or no whole number of iterations.
        TypeError: ``period`` is no number.
    """

    def __init__(self, period: float, unit: str) -> None:
        super().__init__()
        _check_unit("IntervalTrigger", unit)
        self.period, self.unit = period, unit
        exact = _exact("IntervalTrigger", "period", period, unit)
        require(exact > 0, "IntervalTrigger", "period", "> 0", period)
        self._numerator, self._denominator = exact.numerator, exact.denominator

    def count(self, iteration: int, items: int, size: int) -> int:
        if self.unit == "iteration":
            return iteration // self._numerator
        return items * self._denominator // (size * self._numerator)

    def get_training_length(self) -> tuple[float, str]:
        return self.period, self.unit

    def __repr__(self) -> str:
        return f"IntervalTrigger({self.period}, {self.unit!r})"


class ManualScheduleTrigger(_CountingTrigger):
    """Fires when training comes to or passes any of the given points.

    Args:
        points: one or several in any order, also as an array, in epochs (fractions too) or iterations.
        unit: ``"epoch"`` or ``"iteration"``.

    Raises:
        ValueError: another unit, a negative point.
        TypeError: a point is no number.
    """

    def __init__(self, points: Any, unit: str) -> None:
        super().__init__()
        _check_unit("ManualScheduleTrigger", unit)
        if hasattr(points, "tolist"):
            points = points.tolist()
        self.points = list(points) if isinstance(points, Iterable) and not isinstance(points, str) else [points]
        self.unit = unit
        self._points = [_exact("ManualScheduleTrigger", "points", point, unit) for point in self.points]
        require(all(point >= 0 for point in self._points), "ManualScheduleTrigger", "points", ">= 0", self.points)

    def count(self, iteration: int, items: int, size: int) -> int:
        done, whole = (iteration, 1) if self.unit == "iteration" else (items, size)
        return sum(done * point.denominator >= whole * point.numerator for point in self._points)

    def get_training_length(self) -> tuple[float, str] | None:
        return (min(self.points), self.unit) if self.points else None

    def __repr__(self) -> str:
        return f"ManualScheduleTrigger({self.points}, {self.unit!r})"


class OnceTrigger(Trigger):
    """Fires after the first iteration, and with ``call_on_resume`` also after the first one of a resumed run."""

    def __init__(self, call_on_resume: bool = False) -> None:
        super().__init__()
        self.call_on_resume = call_on_resume
        self._due = True

    def fires(self, trainer: Any) -> bool:
        due, self._due = self._due, False
        return due

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "due": self._due}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        super().load_state_dict(state)
        self._due = bool(state["due"]) or self.call_on_resume


class TimeTrigger(Trigger):
    """Fires every ``period`` seconds of training (``trainer.elapsed_time``; the time of earlier sessions counts).

    After an iteration that took several periods it fires once.

    Raises:
        ValueError: ``period`` is not positive.
    """

    def __init__(self, period: float) -> None:
        super().__init__()
        exact = _exact("TimeTrigger", "period", period, "epoch")
        require(exact > 0, "TimeTrigger", "period", "> 0 seconds", period)
        self.period = period
        self._next = float(period)

    def fires(self, trainer: Any) -> bool:
        elapsed = trainer.elapsed_time
        if elapsed < self._next:
            return False
        self._next = (math.floor(elapsed / self.period) + 1) * self.period
        return True

    def get_training_length(self) -> tuple[float, str]:
        return self.period, "second"

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "next": self._next}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        super().load_state_dict(state)
        self._next = float(state["next"])

    def __repr__(self) -> str:
        return f"TimeTrigger({self.period})"


def get_trigger(trigger: Any) -> Any:
    """Return a trigger from what a user wrote.

    Args:
        trigger: a callable that takes the trainer (returned as it is), ``(5, "epoch")`` or ``(100, "iteration")``,
            or ``None`` for never.

    Raises:
        ValueError: the tuple names another unit or a period that is not positive.
        TypeError: anything else.
    """
    if trigger is None:
        return NeverTrigger()
    if callable(trigger) and not isinstance(trigger, type):
        return trigger
    if isinstance(trigger, (tuple, list)) and len(trigger) == 2:
        return IntervalTrigger(*trigger)
    expected = 'a callable(trainer), (5, "epoch"), (100, "iteration") or None'
    raise argument_error("get_trigger", "trigger", expected, repr(trigger), kind=TypeError)


def has_come(trigger: Any, trainer: Any) -> bool:
    """Return whether an end has come: of a span of epochs or iterations, once it is reached; else when it fires."""
    return trigger.reached(trainer) if isinstance(trigger, _CountingTrigger) else bool(trigger(trainer))


def state_of(trigger: Any) -> dict[str, Any]:
    """Return the state of a trigger, which may be a plain function without one."""
    return trigger.state_dict() if hasattr(trigger, "state_dict") else {}


def load_into(trigger: Any, state: Mapping[str, Any] | None) -> None:
    """Give a trigger its state back, if there is one and it has any."""
    if state and hasattr(trigger, "load_state_dict"):
        trigger.load_state_dict(state)


def _check_unit(operation: str, unit: object) -> None:
    if unit not in _UNITS:
        raise argument_error(operation, "unit", "'epoch' or 'iteration'", repr(unit))


def _exact(operation: str, argument: str, value: Any, unit: str) -> Fraction:
    """Return the fraction that the user meant: 1/10 for ``0.1``."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        raise argument_error(operation, argument, "a number", repr(value), kind=TypeError)
    require(math.isfinite(value), operation, argument, "a finite number", value)
    exact = Fraction(value)
    simple = exact.limit_denominator(1_000_000)
    if abs(simple - exact) <= abs(exact) * Fraction(1, 10**12):
        exact = simple
    require(unit == "epoch" or exact.denominator == 1, operation, argument, "a whole number of iterations", value)
    return exact


def _progress(trainer: Any, unit: str, previous: bool = False) -> tuple[int, int]:
    """Return items seen and items an epoch, now or before the latest iteration."""
    if unit == "iteration":
        return 0, 1
    name = "previous_progress" if previous else "progress"
    try:
        items, size = getattr(trainer, name)
    except AttributeError:  # a trainer of another make: it has floats only
        detail = Fraction(getattr(trainer, "previous_epoch_detail" if previous else "epoch_detail") or 0.0)
        detail = detail.limit_denominator(1_000_000)
        return detail.numerator, detail.denominator
    if size < 1:
        expected = "'iteration', or a training run that knows its epochs (iterator=… or iterations_per_epoch=…)"
        raise argument_error("trigger", "unit", expected, "'epoch'")
    return items, size

"""Triggers that go by what was reported: a new best value, and no better value for too long."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.autograd.training.interval_triggers import Trigger, get_trigger, has_come, load_into, state_of
from toolkit.autograd.training.summaries import Summary
from toolkit.core.errors import argument_error, require


class BestValueTrigger(Trigger):
    """Fires when the mean of a reported value over an interval is better than every one before.

    An interval in which nothing was reported under ``key`` never fires; neither does a NaN.

    Args:
        key: name in the observation, ``"validation/main/accuracy"``.
        compare: ``compare(best, new)`` returns whether the new value is better.
        trigger: the intervals.

    Attributes:
        best_value: the best mean so far; ``None`` before the first.
    """

    def __init__(self, key: str, compare: Callable[[float, float], bool], trigger: Any = (1, "epoch")) -> None:
        super().__init__()
        if not callable(compare):
            expected = "a function of the best value and the new one"
            raise argument_error("BestValueTrigger", "compare", expected, repr(compare), kind=TypeError)
        self.key, self.compare = _checked_key(type(self).__name__, "key", key), compare
        self.best_value: float | None = None
        self._interval = get_trigger(trigger)
        self._mean = _IntervalMean(key)

    def fires(self, trainer: Any) -> bool:
        self._mean.observe(trainer.observation)
        if not self._interval(trainer):
            return False
        value = self._mean.take()
        # A NaN equals nothing, not even itself.
        if value is None or value != value:
            return False
        if self.best_value is not None and not self.compare(self.best_value, value):
            return False
        self.best_value = value
        return True

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "best_value": self.best_value,
            "interval": state_of(self._interval),
            "mean": self._mean.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        super().load_state_dict(state)
        self.best_value = None if state["best_value"] is None else float(state["best_value"])
        load_into(self._interval, state.get("interval"))
        self._mean.load_state_dict(state["mean"])


class MaxValueTrigger(BestValueTrigger):
    """Fires when the mean of a reported value over an interval is above every one before."""

    def __init__(self, key: str, trigger: Any = (1, "epoch")) -> None:
        super().__init__(key, operator.lt, trigger)


class MinValueTrigger(BestValueTrigger):
    """Fires when the mean of a reported value over an interval is below every one before."""

    def __init__(self, key: str, trigger: Any = (1, "epoch")) -> None:
        super().__init__(key, operator.gt, trigger)


class EarlyStoppingTrigger(Trigger):
    """Stops training when a reported value has not become better for some time: ``Trainer(stop_trigger=…)``.

    Args:
        check_trigger: when the value is looked at: its mean since the last look. A look without a value is none.
        monitor: name in the observation.
        patience: looks in a row without a better value until training stops. A NaN is not better.
        mode: ``"max"`` where more is better, ``"min"``, or ``"auto"``: ``"max"`` for names with *accuracy*.
        max_trigger: stops in any case.

    Attributes:
        best: the best mean so far; ``None`` before the first.
        count: looks in a row without a better one.

    Raises:
        ValueError: ``patience`` below 1, another ``mode``.
    """

    def __init__(
        self,
        check_trigger: Any = (1, "epoch"),
        monitor: str = "main/loss",
        patience: int = 3,
        mode: str = "auto",
        max_trigger: Any = (100, "epoch"),
    ) -> None:
        super().__init__()
        if not hasattr(patience, "__index__"):
            raise argument_error("EarlyStoppingTrigger", "patience", "an integer", repr(patience), kind=TypeError)
        require(patience >= 1, "EarlyStoppingTrigger", "patience", ">= 1", patience)
        require(mode in ("auto", "max", "min"), "EarlyStoppingTrigger", "mode", "'auto', 'max' or 'min'", repr(mode))
        self.monitor, self.patience = _checked_key("EarlyStoppingTrigger", "monitor", monitor), patience
        self.mode = mode if mode != "auto" else "max" if "accuracy" in monitor else "min"
        self.best: float | None = None
        self.count = 0
        self._check, self._max = get_trigger(check_trigger), get_trigger(max_trigger)
        self._mean = _IntervalMean(monitor)

    def __call__(self, trainer: Any) -> bool:
        # Asked anew each time: a resumed run may have been given a later end.
        return super().__call__(trainer) or has_come(self._max, trainer)

    def fires(self, trainer: Any) -> bool:
        self._mean.observe(trainer.observation)
        if self._check(trainer):
            value = self._mean.take()
            if value is not None:
                better = operator.gt if self.mode == "max" else operator.lt
                if value == value and (self.best is None or better(value, self.best)):
                    self.best, self.count = value, 0
                else:
                    self.count += 1
        return self.count >= self.patience

    def get_training_length(self) -> tuple[float, str] | None:
        length = getattr(self._max, "get_training_length", None)
        return None if length is None else length()

    def state_dict(self) -> dict[str, Any]:
        return {
            **super().state_dict(),
            "best": self.best,
            "count": self.count,
            "check": state_of(self._check),
            "max": state_of(self._max),
            "mean": self._mean.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        super().load_state_dict(state)
        self.best = None if state["best"] is None else float(state["best"])
        self.count = int(state["count"])
        load_into(self._check, state.get("check"))
        load_into(self._max, state.get("max"))
        self._mean.load_state_dict(state["mean"])


def _checked_key(operation: str, argument: str, key: Any) -> str:
    if not isinstance(key, str):
        raise argument_error(operation, argument, "the name of an observation", repr(key), kind=TypeError)
    return key


class _IntervalMean:
    """The mean of one observed value since it was last taken."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._summary = Summary()
        self._seen = 0

    def observe(self, observation: Mapping[str, Any]) -> None:
        if self._key in observation:
            self._summary.add(observation[self._key])
            self._seen += 1

    def take(self) -> float | None:
        """Return the mean, ``None`` without values, and begin anew."""
        mean = self._summary.compute_mean() if self._seen else None
        self._summary, self._seen = Summary(), 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self._seen, **self._summary.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._seen = int(state["seen"])
        self._summary.load_state_dict(state)

"""Values put into the observation beside what models report: a learning rate, anything computed, exact averages."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.autograd.training.extension import PRIORITY_EDITOR, PRIORITY_WRITER, Extension
from toolkit.autograd.training.extensions.subjects import named_optimizer, publish
from toolkit.autograd.training.interval_triggers import get_trigger, load_into, state_of
from toolkit.autograd.training.summaries import DictSummary
from toolkit.core.errors import argument_error


class ObserveValue(Extension):
    """Reports ``function(trainer)`` as an observation.

    Args:
        observation_key: the name it is reported under.
        function: called with the trainer; returns a number or an array of one element.
        trigger: when.
    """

    priority = PRIORITY_WRITER

    def __init__(
        self, observation_key: str, function: Callable[[Any], Any], *, trigger: Any = (1, "iteration")
    ) -> None:
        if not callable(function):
            expected = "a function of the trainer"
            raise argument_error("ObserveValue", "function", expected, repr(function), kind=TypeError)
        self.trigger = trigger
        self._key, self._function = observation_key, function

    @property
    def default_name(self) -> str:
        return f"observe_{self._key}"

    def __call__(self, trainer: Any) -> dict[str, Any]:
        """Report, and return what was reported."""
        return publish(trainer, {self._key: self._function(trainer)})


def observe_value(
    observation_key: str, function: Callable[[Any], Any], *, trigger: Any = (1, "iteration")
) -> ObserveValue:
    """Return an extension that reports ``function(trainer)`` as ``observation_key``."""
    return ObserveValue(observation_key, function, trigger=trigger)


def observe_lr(
    optimizer_name: str = "main", observation_key: str = "lr", *, trigger: Any = (1, "iteration")
) -> ObserveValue:
    """Return an extension that reports an optimizer's learning rate.

    Args:
        optimizer_name: which of the trainer's optimizers.
        observation_key: the name it is reported under.
        trigger: when.
    """

    def rate(trainer: Any) -> Any:
        return named_optimizer(trainer, optimizer_name, "observe_lr").lr

    return observe_value(observation_key, rate, trigger=trigger)


class MicroAverage(Extension):
    """Divides a sum by a sum: over the last interval, ``sum(numerators) / sum(denominators)``.

    The mean of ratios that a log shows weighs a batch with few counted items as much as one with many.

    Args:
        numerator_key: the observation to be summed, e.g. correct answers.
        denominator_key: the observation to divide by, e.g. answers.
        result_key: the name the ratio is reported under when ``trigger`` fires.
        trigger: the intervals.
    """

    priority = PRIORITY_EDITOR

    def __init__(self, numerator_key: str, denominator_key: str, result_key: str, trigger: Any = (1, "epoch")) -> None:
        self._keys = (numerator_key, denominator_key)
        self._result_key = result_key
        self._every = get_trigger(trigger)
        self._begin()

    def _begin(self) -> None:
        self._means, self._count = DictSummary(), 0

    def __call__(self, trainer: Any) -> None:
        """Add the iteration's values; report the ratio if it is time. 0 / 0 is NaN."""
        observation = trainer.observation
        over, under = self._keys
        if over in observation and under in observation:
            self._means.add({over: observation[over], under: observation[under]})
            self._count += 1
        if self._every(trainer) and self._count:
            means = self._means.compute_mean()
            denominator = means.get(under, math.nan)
            observation[self._result_key] = means.get(over, math.nan) / denominator if denominator else math.nan
            self._begin()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the interval that has begun."""
        return {"means": self._means.state_dict(), "count": self._count, "trigger": state_of(self._every)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take up what :meth:`state_dict` returned."""
        if "count" in state:
            self._means.load_state_dict(state.get("means", {}))
            self._count = int(state["count"])
        load_into(self._every, state.get("trigger"))

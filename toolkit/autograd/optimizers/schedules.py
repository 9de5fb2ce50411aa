"""Hyper-parameters as functions of time: ``value = schedule(t)``, where ``t`` counts steps or epochs from 0.

A schedule has no state. In a plain loop ``optimizer.lr = schedule(optimizer.t)`` before the step;
:class:`~toolkit.autograd.optimizers.hooks.Scheduled` does the same as a hook.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toolkit.core.errors import argument_error

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "Inverse",
    "Linear",
    "MultiStep",
    "Polynomial",
    "Schedule",
    "Step",
    "Warmup",
]


@dataclass(frozen=True)
class Schedule:
    """A value for every time, 0 or later."""

    def __call__(self, t: float) -> float:
        """Return the value at time ``t``.

        Raises:
            ValueError: ``t`` is negative or no number.
        """
        if not t >= 0:
            raise argument_error(type(self).__name__, "t", "a time, 0 or later", repr(t))
        return float(self.value(t))

    def value(self, t: float) -> float:
        """Return the value at time ``t``, which has been checked."""
        raise NotImplementedError(f"{type(self).__name__}.value")

    def _require(self, **conditions: tuple[bool, str]) -> None:
        for name, (holds, expected) in conditions.items():
            if not holds:
                raise argument_error(type(self).__name__, name, expected, repr(getattr(self, name)))


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at all times.

    Args:
        initial: the value.
    """

    initial: float

    def value(self, t: float) -> float:
        return self.initial


@dataclass(frozen=True)
class Exponential(Schedule):
    """``initial * rate ** t``.

    Args:
        initial: value at 0.
        rate: factor of a unit of time.
        target: the value stops there if given, whether it comes from above or below.
    """

    initial: float
    rate: float
    target: float | None = None

    def __post_init__(self) -> None:
        self._require(rate=(self.rate >= 0, "a factor, 0 or more"))

    def value(self, t: float) -> float:
        try:
            value = self.initial * self.rate**t
        except OverflowError:
            value = math.copysign(math.inf, self.initial)
        if self.target is None:
            return value
        grows = (self.rate > 1) == (self.initial >= 0)
        return min(value, self.target) if grows else max(value, self.target)


@dataclass(frozen=True)
class Inverse(Schedule):
    """``initial * (1 + gamma * t) ** -power``.

    Args:
        initial: value at 0.
        gamma: how soon it falls.
        power: how steeply.
    """

    initial: float
    gamma: float
    power: float = 1.0

    def __post_init__(self) -> None:
        self._require(gamma=(self.gamma >= 0, "a number, 0 or more"))

    def value(self, t: float) -> float:
        return self.initial * (1 + self.gamma * t) ** -self.power


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from ``initial`` to ``final``, which is held from then on.

    Args:
        initial: value at 0.
        final: value from ``n_steps`` on.
        n_steps: length of the line.
    """

    initial: float
    final: float
    n_steps: float

    def __post_init__(self) -> None:
        self._require(n_steps=(self.n_steps > 0, "a length above 0"))

    def value(self, t: float) -> float:
        return _between(self.initial, self.final, t / self.n_steps)


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``final + (initial - final) * (1 - t / n_steps) ** power``, held at ``final`` from ``n_steps`` on.

    Args:
        initial: value at 0.
        n_steps: time at which ``final`` is reached.
        power: 1 is a straight line.
        final: value at the end.
    """

    initial: float
    n_steps: float
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        self._require(n_steps=(self.n_steps > 0, "a length above 0"), power=(self.power > 0, "a power above 0"))

    def value(self, t: float) -> float:
        if t >= self.n_steps:
            return self.final
        return self.final + (self.initial - self.final) * (1 - t / self.n_steps) ** self.power


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine wave from ``initial`` down to ``final``, which is held from ``n_steps`` on (torch's rises again).

    Args:
        initial: value at 0.
        n_steps: time at which ``final`` is reached.
        final: value at the end.
    """

    initial: float
    n_steps: float
    final: float = 0.0

    def __post_init__(self) -> None:
        self._require(n_steps=(self.n_steps > 0, "a length above 0"))

    def value(self, t: float) -> float:
        if t >= self.n_steps:
            return self.final
        return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * t / self.n_steps)) / 2


@dataclass(frozen=True)
class Step(Schedule):
    """``initial * gamma ** (t // every)``.

    Args:
        initial: value at 0.
        every: time between two steps.
        gamma: factor of a step.
    """

    initial: float
    every: float
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self._require(every=(self.every > 0, "a time above 0"))

    def value(self, t: float) -> float:
        return self.initial * self.gamma ** (t // self.every)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """``initial``, multiplied by ``gamma`` at each of the ``milestones``.

    Args:
        initial: value at 0.
        milestones: times in order; the factor holds from the milestone on.
        gamma: factor of a milestone.
    """

    initial: float
    milestones: Sequence[float]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        self._require(milestones=(list(self.milestones) == sorted(self.milestones), "times in order"))

    def value(self, t: float) -> float:
        return self.initial * self.gamma ** bisect.bisect_right(self.milestones, t)


@dataclass(frozen=True)
class Warmup(Schedule):
    """A straight line up to the first value of another schedule, which then runs from its own 0.

    Args:
        after: the schedule, any function of time.
        n_steps: length of the line.
        initial: value at 0.
    """

    after: Callable[[float], float]
    n_steps: float
    initial: float = 0.0

    def __post_init__(self) -> None:
        self._require(n_steps=(self.n_steps > 0, "a length above 0"))

    def value(self, t: float) -> float:
        if t < self.n_steps:
            return _between(self.initial, self.after(0), t / self.n_steps)
        return self.after(t - self.n_steps)


def _between(initial: float, final: float, share: float) -> float:
    return final if share >= 1 else initial + (final - initial) * share

"""Hyper-parameters that follow a schedule while training: :mod:`toolkit.autograd.optimizers.schedules` as extensions.

Time is the number of calls so far, so it counts iterations, or, with ``trigger=(1, "epoch")``, epochs. The value at
time 0 is set before the first update; what is called after an update sets the value for the next one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.autograd.optimizers import schedules
from toolkit.autograd.training.extension import Extension
from toolkit.autograd.training.extensions.subjects import named_optimizer
from toolkit.core.errors import argument_error

Schedule = Callable[[float], float]


class Shift(Extension):
    """Sets ``optimizer.lr`` (or another attribute) to ``schedule(t)``, where ``t`` counts the calls.

    A resumed training goes on with the same values, bit for bit; with another schedule it goes on along that one.

    Args:
        schedule: any function of time; those in :mod:`toolkit.autograd.optimizers.schedules` for example.
        attr: the attribute of the optimizer.
        optimizer: an optimizer, or the name of one of the trainer's.
        trigger: when it is called.

    Attributes:
        t: the number of calls.

    Raises:
        TypeError: ``schedule`` is not callable.
    """

    def __init__(
        self, schedule: Any, *, attr: str = "lr", optimizer: Any = "main", trigger: Any = (1, "iteration")
    ) -> None:
        if not callable(schedule):
            name = type(self).__name__
            raise argument_error(name, "schedule", "a function of time", repr(schedule), kind=TypeError)
        self._prepare(lambda initial: schedule, None, attr, optimizer, trigger)

    def _prepare(
        self, make: Callable[[float], Schedule], initial: float | None, attr: str, optimizer: Any, trigger: Any
    ) -> None:
        make(1.0 if initial is None else initial)  # so that bad numbers are refused here, not when training starts
        self.trigger = trigger
        self.t = 0
        self._make = make
        self._given = initial
        self._initial = initial
        self._attr, self._optimizer = attr, optimizer
        self._schedule: Schedule | None = None

    def initialize(self, trainer: Any = None) -> None:
        """Set the value of the present time; the first time, take the initial one from the optimizer."""
        optimizer = self._found(trainer)
        if not hasattr(optimizer, self._attr):
            expected = "an attribute of the optimizer"
            raise argument_error(type(self).__name__, "attr", expected, f"{type(optimizer).__name__}.{self._attr}")
        if self._initial is None:
            self._initial = getattr(optimizer, self._attr)
        assert self._initial is not None
        self._schedule = self._make(self._initial)
        self._set(optimizer)

    def __call__(self, trainer: Any = None) -> None:
        """Go on by one, and set the value. Without a trainer the optimizer must have been given as an object."""
        if self._schedule is None:
            self.initialize(trainer)
        self.t += 1
        self._set(self._found(trainer))

    def _set(self, optimizer: Any) -> None:
        assert self._schedule is not None
        setattr(optimizer, self._attr, self._schedule(self.t))

    def _found(self, trainer: Any) -> Any:
        if isinstance(self._optimizer, str):
            return named_optimizer(trainer, self._optimizer, type(self).__name__)
        return self._optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return the time and the value at time 0."""
        return {"t": self.t, "initial": self._initial}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take up what :meth:`state_dict` returned; an initial value given by hand stays."""
        self.t = int(state.get("t", self.t))
        saved = state.get("initial")
        if self._given is None and saved is not None:
            self._initial = float(saved)
        self._schedule = None


class ExponentialShift(Shift):
    """``initial * rate ** t``.

    Args:
        rate: factor of a call.
        initial: value at 0; default: what the optimizer has. The same for all shifts.
        target: the value stops there if given.
        attr: the attribute of the optimizer.
        optimizer: an optimizer, or the name of one of the trainer's.
        trigger: when it is called.
    """

    def __init__(
        self,
        rate: float,
        *,
        initial: float | None = None,
        target: float | None = None,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.Exponential(value, rate, target)

        self._prepare(make, initial, attr, optimizer, trigger)


class InverseShift(Shift):
    """``initial * (1 + gamma * t) ** -power``; the rest as in :class:`ExponentialShift`."""

    def __init__(
        self,
        gamma: float,
        power: float = 1.0,
        *,
        initial: float | None = None,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.Inverse(value, gamma, power)

        self._prepare(make, initial, attr, optimizer, trigger)


class LinearShift(Shift):
    """A straight line to ``final``, reached after ``n_steps`` calls; the rest as in :class:`ExponentialShift`."""

    def __init__(
        self,
        final: float,
        n_steps: float,
        *,
        initial: float | None = None,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.Linear(value, final, n_steps)

        self._prepare(make, initial, attr, optimizer, trigger)


class MultistepShift(Shift):
    """Multiplied by ``gamma`` at each of the ``milestones``; the rest as in :class:`ExponentialShift`."""

    def __init__(
        self,
        milestones: Sequence[float],
        gamma: float = 0.1,
        *,
        initial: float | None = None,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.MultiStep(value, tuple(milestones), gamma)

        self._prepare(make, initial, attr, optimizer, trigger)


class PolynomialShift(Shift):
    """``final + (initial - final) * (1 - t / n_steps) ** power``; the rest as in :class:`ExponentialShift`."""

    def __init__(
        self,
        n_steps: float,
        power: float = 1.0,
        *,
        initial: float | None = None,
        final: float = 0.0,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.Polynomial(value, n_steps, power, final)

        self._prepare(make, initial, attr, optimizer, trigger)


class CosineShift(Shift):
    """Half a cosine wave down to ``final`` after ``n_steps`` calls; the rest as in :class:`ExponentialShift`."""

    def __init__(
        self,
        n_steps: float,
        *,
        initial: float | None = None,
        final: float = 0.0,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.Cosine(value, n_steps, final)

        self._prepare(make, initial, attr, optimizer, trigger)


class StepShift(Shift):
    """Multiplied by ``gamma`` every ``every`` calls; the rest as in :class:`ExponentialShift`."""

    def __init__(
        self,
        every: float,
        gamma: float = 0.1,
        *,
        initial: float | None = None,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.Step(value, every, gamma)

        self._prepare(make, initial, attr, optimizer, trigger)


class WarmupShift(Shift):
    """A straight line from ``start`` up to the optimizer's own value, or to another schedule, which then follows.

    Args:
        n_steps: calls until it is reached.
        start: value at 0.
        after: the schedule that follows, from its own 0; default: the value stays.
        initial: the value to reach without ``after``; default: what the optimizer has.
        attr: the attribute of the optimizer.
        optimizer: an optimizer, or the name of one of the trainer's.
        trigger: when it is called.
    """

    def __init__(
        self,
        n_steps: float,
        *,
        start: float = 0.0,
        after: Schedule | None = None,
        initial: float | None = None,
        attr: str = "lr",
        optimizer: Any = "main",
        trigger: Any = (1, "iteration"),
    ) -> None:
        def make(value: float) -> Schedule:
            return schedules.Warmup(schedules.Constant(value) if after is None else after, n_steps, start)

        self._prepare(make, initial, attr, optimizer, trigger)

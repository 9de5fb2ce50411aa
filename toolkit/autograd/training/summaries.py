"""Means and spreads of what is reported, cheap enough to be kept at every iteration."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

_Tensor = torch.Tensor
_MOST_PENDING = 1000


class Summary:
    """Mean and standard deviation of a stream of numbers, in double precision.

    Values on a GPU are copied there and read together when somebody asks.
    """

    __slots__ = ("_mean", "_pending", "_squares", "_total", "_weight")

    def __init__(self) -> None:
        self._pending: list[tuple[Any, float]] = []
        self._weight = 0.0
        self._total = 0.0
        # Welford's running mean and sum of squares: nothing cancels where the spread is small beside the mean.
        self._mean = 0.0
        self._squares = 0.0

    def add(self, value: Any, weight: float = 1.0) -> None:
        """Take one value in.

        Args:
            value: a number, or an array or Variable of one element.
            weight: how often it counts.

        Raises:
            TypeError: ``value`` is not one number.
        """
        number = as_number(value)
        if number is None:
            shape = getattr(value, "shape", None)
            actual = type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"
            raise argument_error("Summary.add", "value", "one number", actual, kind=TypeError)
        self.take(number, weight)

    def take(self, number: Any, weight: float) -> None:
        """Take in what :func:`as_number` returned."""
        if type(number) is not float:
            # Copied, because a captured graph writes its next result to the same place.
            self._pending.append((number.clone() if type(number) is _Tensor else number.copy(), weight))
            if len(self._pending) >= _MOST_PENDING:
                _read(self)
            return
        if self._pending:
            _read(self)
        self._count(number, weight)

    def compute_mean(self) -> float:
        """Return the weighted mean; NaN without values."""
        _read(self)
        return self._total / self._weight if self._weight else math.nan

    def make_statistics(self) -> tuple[float, float]:
        """Return the weighted mean and the standard deviation (of the population); NaN without values."""
        _read(self)
        if not self._weight:
            return math.nan, math.nan
        return self._total / self._weight, math.sqrt(self._squares / self._weight)

    def state_dict(self) -> dict[str, float]:
        """Return the running sums."""
        _read(self)
        return {"weight": self._weight, "total": self._total, "mean": self._mean, "squares": self._squares}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on from a state of :meth:`state_dict`."""
        self._pending.clear()
        self._weight, self._total = float(state["weight"]), float(state["total"])
        self._mean, self._squares = float(state["mean"]), float(state["squares"])

    def _count(self, number: float, weight: float) -> None:
        self._weight += weight
        self._total += weight * number
        if self._weight:
            step = number - self._mean
            self._mean += step * (weight / self._weight)
            self._squares += weight * step * (number - self._mean)


class DictSummary:
    """A :class:`Summary` for each name.

    Values that are not one number (text, arrays of several elements) are left out, as in an observation
    there may be anything.
    """

    def __init__(self) -> None:
        self._summaries: dict[str, Summary] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Take in numbers by name; ``(value, weight)`` gives one a weight."""
        summaries = self._summaries
        for name, value in values.items():
            weight = 1.0
            if type(value) is tuple and len(value) == 2 and isinstance(value[1], int | float | np.number):
                value, weight = value[0], float(value[1])
            if type(value) is _Tensor and not value.shape and value.is_cpu:  # nearly always: the short way
                value = value.item()
            if type(value) is not float:
                value = as_number(value)
                if value is None:
                    continue
            summary = summaries.get(name)
            if summary is None:
                summary = summaries[name] = Summary()
            summary.take(value, weight)

    def compute_mean(self) -> dict[str, float]:
        """Return the mean by name."""
        _read(*self._summaries.values())
        return {name: summary.compute_mean() for name, summary in self._summaries.items()}

    def make_statistics(self) -> dict[str, float]:
        """Return mean and standard deviation: ``name`` and ``name.std``."""
        _read(*self._summaries.values())
        statistics = {}
        for name, summary in self._summaries.items():
            statistics[name], statistics[f"{name}.std"] = summary.make_statistics()
        return statistics

    def state_dict(self) -> dict[str, Any]:
        """Return the summaries' states, numbered, each with its name (names have slashes, as paths have)."""
        _read(*self._summaries.values())
        return {
            str(position): {"name": name, **summary.state_dict()}
            for position, (name, summary) in enumerate(self._summaries.items())
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on from a state of :meth:`state_dict`."""
        self._summaries = {}
        for position in sorted(state, key=int):
            saved = state[position]
            summary = self._summaries[str(saved["name"])] = Summary()
            summary.load_state_dict(saved)


def as_number(value: Any) -> Any:
    """Return one number as a float or, if it is on a GPU, as an array of one element there; ``None`` for all else."""
    if isinstance(value, Variable):
        value = value.data
    if isinstance(value, _Tensor):
        if value.numel() != 1 or value.is_complex():
            return None
        return float(value.item()) if value.is_cpu else value.detach().reshape(())
    if isinstance(value, str | complex | np.complexfloating):
        return None
    if not isinstance(value, bool | int | float | np.generic):
        if math.prod(getattr(value, "shape", (2,))) != 1:
            return None
        if type(value).__module__.startswith("cupy"):
            return value.reshape(())
        value = value.item() if hasattr(value, "item") else value
    try:
        return None if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _read(*summaries: Summary) -> None:
    """Count what waits on other devices, fetched with one transfer for all of one place and kind."""
    waiting = [(summary, number, weight) for summary in summaries for number, weight in summary._pending]
    if not waiting:
        return
    places: dict[Any, list[int]] = {}
    for index, (_, number, _) in enumerate(waiting):
        places.setdefault((type(number), number.dtype, number.device), []).append(index)
    found = [0.0] * len(waiting)
    for (kind, *_), indices in places.items():
        numbers = [waiting[index][1] for index in indices]
        values = torch.stack(numbers).tolist() if kind is _Tensor else [number.item() for number in numbers]
        for index, value in zip(indices, values, strict=True):
            found[index] = float(value)
    for summary in summaries:
        summary._pending = []
    for (summary, _, weight), value in zip(waiting, found, strict=True):
        summary._count(value, weight)

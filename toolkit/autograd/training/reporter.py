"""Where values measured during training go: anybody reports, whoever has opened a scope receives."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

_local = threading.local()
_MOST_PENDING = 1000


class Reporter:
    """Collects reported values under names that begin with the name of who reported.

    A link that says ``report({"loss": loss}, self)`` need not know that it is called ``main`` here and
    ``validation/main`` there: the reporter, on which the link is registered as an observer, puts that before
    the name. The current reporter is a matter of the calling thread.

    Attributes:
        observation: the mapping that receives the values.
        watchers: functions called with full name and value as reported, a Variable still with its graph.
    """

    def __init__(self) -> None:
        self.observation: MutableMapping[str, Any] = {}
        self.watchers: tuple[Callable[[str, Any], None], ...] = ()
        # The observers are held, because a name goes with an identity and a freed one is given to the next object.
        self._names: dict[int, tuple[str, Any]] = {}

    def add_observer(self, name: str, observer: Any) -> None:
        """Register who may report, and the name that is put before theirs."""
        self._names[id(observer)] = (name, observer)

    def add_observers(self, prefix: str, observers: Iterable[tuple[str, Any]]) -> None:
        """Register several observers, as ``link.namedlinks()`` gives them: ``("/l1", link)`` becomes ``prefix/l1``."""
        for name, observer in observers:
            self.add_observer(prefix + name, observer)

    def __enter__(self) -> "Reporter":
        _stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _stack().pop()

    @contextmanager
    def scope(self, observation: MutableMapping[str, Any]) -> Iterator[None]:
        """Be the current reporter, and send what is reported to ``observation``, for the body of a ``with`` block."""
        outer = self.enter(observation)
        try:
            yield
        finally:
            self.leave(outer)

    def enter(self, observation: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Begin what :meth:`scope` does; give the result to :meth:`leave`."""
        outer, self.observation = self.observation, observation
        _stack().append(self)
        return outer

    def leave(self, outer: MutableMapping[str, Any]) -> None:
        """End what :meth:`enter` began."""
        _stack().pop()
        self.observation = outer

    def report(self, values: Mapping[str, Any], observer: Any = None) -> None:
        """Put values into the current observation; see :func:`report`."""
        prefix = ""
        if observer is not None:
            known = self._names.get(id(observer))
            if known is None:
                expected = "one of those registered with add_observer"
                raise argument_error("report", "observer", expected, f"a {type(observer).__name__} that is not")
            prefix = f"{known[0]}/"
        observation = self.observation
        for name, value in values.items():
            observation[prefix + name] = _detached(value)
            for watch in self.watchers:
                watch(prefix + name, value)


def report(values: Mapping[str, Any], observer: Any = None) -> None:
    """Report values to whoever is listening in this thread; without a listener, do nothing.

    Args:
        values: numbers, 0-d arrays or Variables by name. Of a Variable or a tensor only the array is kept, never the
            graph behind it, and it is not read: nothing waits for a GPU.
        observer: the link or extension that reports; its registered name is put before the names.

    Raises:
        ValueError: the current reporter does not know ``observer``.
    """
    stack = _stack()
    if stack:
        stack[-1].report(values, observer)


@contextmanager
def report_scope(observation: MutableMapping[str, Any]) -> Iterator[None]:
    """Send what is reported in the body to ``observation``, under the names of the current reporter.

    Raises:
        RuntimeError: there is no current reporter.
    """
    reporter = get_current_reporter()
    outer, reporter.observation = reporter.observation, observation
    try:
        yield
    finally:
        reporter.observation = outer


def get_current_reporter() -> Reporter:
    """Return the reporter of the innermost scope of this thread.

    Raises:
        RuntimeError: there is none.
    """
    stack = _stack()
    if not stack:
        raise RuntimeError("no reporter in this thread: open one with `with Reporter().scope(observation):`")
    return stack[-1]


def _stack() -> list[Reporter]:
    try:
        return _local.reporters
    except AttributeError:
        _local.reporters = []
        return _local.reporters


def _detached(value: Any) -> Any:
    if isinstance(value, Variable):
        value = value.data
    return value.detach() if isinstance(value, torch.Tensor) and value.requires_grad else value


class Summary:
    """Mean and standard deviation of a stream of numbers, in double precision.

    Values on a GPU are copied there and read together when somebody asks.
    """

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
        if isinstance(value, Variable):
            value = value.data
        if isinstance(value, torch.Tensor) and value.device.type != "cpu":
            # Copied, because a captured graph writes its next result to the same place.
            self._pending.append((value.detach().clone(), weight))
        elif type(value).__module__.startswith("cupy"):
            self._pending.append((value.copy(), weight))
        else:
            self._read()
            self._take(_number(value), weight)
        if len(self._pending) >= _MOST_PENDING:
            self._read()

    def compute_mean(self) -> float:
        """Return the weighted mean; NaN without values."""
        self._read()
        return self._total / self._weight if self._weight else math.nan

    def make_statistics(self) -> tuple[float, float]:
        """Return the weighted mean and the standard deviation (of the population); NaN without values."""
        self._read()
        if not self._weight:
            return math.nan, math.nan
        return self._total / self._weight, math.sqrt(self._squares / self._weight)

    def state_dict(self) -> dict[str, float]:
        """Return the running sums."""
        self._read()
        return {"weight": self._weight, "total": self._total, "mean": self._mean, "squares": self._squares}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on from a state of :meth:`state_dict`."""
        self._pending.clear()
        self._weight, self._total = float(state["weight"]), float(state["total"])
        self._mean, self._squares = float(state["mean"]), float(state["squares"])

    def _read(self) -> None:
        pending, self._pending = self._pending, []
        for value, weight in pending:
            self._take(_number(value), weight)

    def _take(self, value: float, weight: float) -> None:
        self._weight += weight
        self._total += weight * value
        if self._weight:
            step = value - self._mean
            self._mean += step * (weight / self._weight)
            self._squares += weight * step * (value - self._mean)


class DictSummary:
    """A :class:`Summary` for each name.

    Values that are not one number (text, arrays of several elements) are left out, as in an observation
    there may be anything.
    """

    def __init__(self) -> None:
        self._summaries: dict[str, Summary] = {}

    def add(self, values: Mapping[str, Any]) -> None:
        """Take in numbers by name; ``(value, weight)`` gives one a weight."""
        for name, value in values.items():
            weight = 1.0
            if isinstance(value, tuple) and len(value) == 2:
                value, weight = value[0], float(value[1])
            if _is_number(value):
                summary = self._summaries.get(name)
                if summary is None:
                    summary = self._summaries[name] = Summary()
                summary.add(value, weight)

    def compute_mean(self) -> dict[str, float]:
        """Return the mean by name."""
        return {name: summary.compute_mean() for name, summary in self._summaries.items()}

    def make_statistics(self) -> dict[str, float]:
        """Return mean and standard deviation: ``name`` and ``name.std``."""
        statistics = {}
        for name, summary in self._summaries.items():
            statistics[name], statistics[f"{name}.std"] = summary.make_statistics()
        return statistics

    def state_dict(self) -> dict[str, Any]:
        """Return the summaries' states, numbered, each with its name (names have slashes, as paths have)."""
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


def _is_number(value: Any) -> bool:
    if isinstance(value, (bool, int, float)):
        return True
    shape = getattr(value, "shape", None)
    return shape is not None and math.prod(shape) == 1


def _number(value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        shape = getattr(value, "shape", None)
        actual = type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"
        raise argument_error("Summary.add", "value", "one number", actual, kind=TypeError) from None

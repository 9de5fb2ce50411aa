"""Where values measured during training go: anybody reports, whoever has opened a scope receives."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

_local = threading.local()


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
        if type(values) is not dict and not isinstance(values, Mapping):
            raise argument_error("report", "values", "values by name", repr(values), kind=TypeError)
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
        values: numbers, 0-d arrays or Variables by name, or ``(value, weight)`` where a mean is to weigh them. Of a
            Variable or a tensor only the array is kept, never the graph behind it, and it is not read: nothing waits
            for a GPU.
        observer: the link or extension that reports; its registered name is put before the names.

    Raises:
        ValueError: the current reporter does not know ``observer``.
        TypeError: ``values`` is no mapping.
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
    if isinstance(value, torch.Tensor):
        return value.detach() if value.requires_grad else value
    return tuple(map(_detached, value)) if type(value) is tuple else value

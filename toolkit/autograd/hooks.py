"""What looks on while operations run: timers, memory, a NaN guard, activations (Chainer's function hooks).

A hook is active for the body of a ``with`` block, in the calling thread.
"""

import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.autograd.configuration import config

__all__ = ["ActivationStatistics", "Hook", "MemoryHook", "NaNGuard", "Recorder", "TimerHook"]


class Hook:
    """Base of all hooks. Override what you want to see; nothing needs to be called from there."""

    def before_forward(self, operation: Any, inputs: tuple) -> None:
        """An operation is about to be computed from ``inputs`` (Variables, numbers, ``None``)."""

    def after_forward(self, operation: Any, inputs: tuple, output: Any) -> None:
        """The operation gave ``output``, a Variable."""

    def computed(self, operation: Any, inputs: tuple, params: Any, output: Any) -> None:
        """The same with the operation's parameters, a dictionary or ``None``.

        Comparisons, masks and ``//``, which leave no record and so are seen nowhere else, come here too.
        """

    def before_backward(self, node: Any, gradient: Any) -> None:
        """The backward rule of ``node`` is about to run on ``gradient``, the array for its output."""

    def after_backward(self, node: Any, gradients: tuple, pending: tuple) -> None:
        """The rule gave one gradient a parent (or ``None``); ``pending`` are the nodes that still wait."""

    def __enter__(self) -> Any:
        config.hooks = (*config.hooks, self)
        config.refresh()
        return self

    def __exit__(self, *_: Any) -> None:
        remaining = list(config.hooks)
        for position in reversed(range(len(remaining))):
            if remaining[position] is self:
                del remaining[position]
                break
        config.hooks = tuple(remaining)
        config.refresh()


@dataclass
class OperationTotals:
    """What one kind of operation has cost so far."""

    calls: int = 0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0


class TimerHook(Hook):
    """Adds up wall-clock seconds by operation.

    Attributes:
        totals: operation name -> calls and seconds forward and backward.

    On a GPU the work is queued, so pass ``synchronize`` (``torch.cuda.synchronize``) to time the work itself.
    """

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        self.totals: dict[str, OperationTotals] = {}
        self._synchronize = synchronize or (lambda: None)
        self._starts: list[float] = []

    def _start(self) -> None:
        self._synchronize()
        self._starts.append(time.perf_counter())

    def _stop(self) -> float:
        self._synchronize()
        return time.perf_counter() - self._starts.pop()

    def before_forward(self, operation: Any, inputs: tuple) -> None:
        self._start()

    def after_forward(self, operation: Any, inputs: tuple, output: Any) -> None:
        total = self.totals.setdefault(operation.name, OperationTotals())
        total.calls += 1
        total.forward_seconds += self._stop()

    def before_backward(self, node: Any, gradient: Any) -> None:
        self._start()

    def after_backward(self, node: Any, gradients: tuple, pending: tuple) -> None:
        self.totals.setdefault(node.operation.name, OperationTotals()).backward_seconds += self._stop()


@dataclass
class MemoryEvent:
    """Bytes an operation's result took and bytes kept for its backward rule."""

    operation: str
    output_bytes: int
    saved_bytes: int


class MemoryHook(Hook):
    """Lists what each operation allocated and kept, in the order they ran.

    Memory that two operations keep together is counted where it is kept first.
    """

    def __init__(self) -> None:
        self.events: list[MemoryEvent] = []
        self._kept: dict[int, weakref.ref] = {}

    def after_forward(self, operation: Any, inputs: tuple, output: Any) -> None:
        backend = output.backend
        kept = 0
        for value in output.node.saved if output.node is not None else ():
            if hasattr(value, "dtype"):
                address, size = backend.storage(value)
                known = self._kept.get(address)
                # An address is used again once its array is gone.
                if known is None or known() is None:
                    self._kept[address] = weakref.ref(value)
                    kept += size
        self.events.append(MemoryEvent(operation.name, backend.bytes(output.data), kept))

    @property
    def saved_bytes(self) -> int:
        """Bytes kept for backward by all operations seen."""
        return sum(event.saved_bytes for event in self.events)


class NaNGuard(Hook):
    """Raises where the first NaN or infinity appears, forward or backward, and names the operation.

    Args:
        infinities: stop at infinities too.
    """

    def __init__(self, *, infinities: bool = False) -> None:
        self.infinities = infinities

    def after_forward(self, operation: Any, inputs: tuple, output: Any) -> None:
        from toolkit.autograd.debugging import check_finite

        check_finite(output.backend, output.data, f"forward: the result of {operation.name}", "", self.infinities)

    def after_backward(self, node: Any, gradients: tuple, pending: tuple) -> None:
        from toolkit.autograd.backends import backend_of_type
        from toolkit.autograd.debugging import check_finite

        for position, gradient in enumerate(gradients):
            if hasattr(gradient, "dtype"):
                where = f"backward: the gradient of {node.operation.name} by input {position}"
                check_finite(backend_of_type(type(gradient)), gradient, where, "", self.infinities)


@dataclass
class Statistics:
    """Of the values one operation gave: how many calls, and mean, spread and extremes of the last."""

    calls: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    zero_fraction: float


class ActivationStatistics(Hook):
    """Keeps mean, spread, extremes and the fraction of zeros of every operation's last result, by name.

    Attributes:
        by_name: statistics by the operation's name.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, Statistics] = {}

    def after_forward(self, operation: Any, inputs: tuple, output: Any) -> None:
        values = np.asarray(output.numpy(), dtype=np.float64)
        if values.size:
            before = self.by_name.get(operation.name)
            self.by_name[operation.name] = Statistics(
                calls=1 if before is None else before.calls + 1,
                mean=float(values.mean()),
                standard_deviation=float(values.std()),
                minimum=float(values.min()),
                maximum=float(values.max()),
                zero_fraction=float((values == 0).mean()),
            )


@dataclass(frozen=True)
class BackwardStep:
    """One node of a backward pass, in copies: a recording never keeps the graph alive.

    Attributes:
        order: of the node, as in :class:`toolkit.autograd.graph.Graph`.
        operation: its operation's name.
        gradient: the array that arrived for its output.
        gradients: the arrays it gave its parents, by their order.
        pending: orders of the nodes waiting after this step, newest first.
        alive_bytes: bytes the waiting part of the graph still keeps for backward.
    """

    order: int
    operation: str
    gradient: np.ndarray
    gradients: dict[int, np.ndarray] = field(default_factory=dict)
    pending: tuple[int, ...] = ()
    alive_bytes: int = 0


class Recorder(Hook):
    """Writes down a backward pass one node at a time, for lessons that step through it.

    Attributes:
        steps: in the order the nodes were passed.
    """

    def __init__(self) -> None:
        self.steps: list[BackwardStep] = []
        self._gradient: Any = None

    def before_backward(self, node: Any, gradient: Any) -> None:
        self._gradient = np.array(_host(gradient))

    def after_backward(self, node: Any, gradients: tuple, pending: tuple) -> None:
        from toolkit.autograd.graph import saved_bytes

        parents = node.parents or ()
        arrived: dict[int, np.ndarray] = {}
        for parent, gradient in zip(parents, gradients, strict=True):
            if parent is not None and gradient is not None:
                values = np.array(_host(gradient))
                arrived[parent.order] = arrived[parent.order] + values if parent.order in arrived else values
        waiting = [other for other in pending if other is not node]
        following = waiting + [parent for parent in parents if parent is not None]
        unique = {other.order: other for other in following}
        self.steps.append(
            BackwardStep(
                order=node.order,
                operation=node.operation.name,
                gradient=self._gradient,
                gradients=arrived,
                pending=tuple(sorted(unique)),
                alive_bytes=saved_bytes(list(unique.values())),
            )
        )
        self._gradient = None


def _host(array: Any) -> np.ndarray:
    from toolkit.autograd.backends import backend_of_type

    return backend_of_type(type(array)).to_numpy(array)

"""One run of a function, written down operation by operation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.hooks import Hook
from toolkit.autograd.operation import Operation
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error


@dataclass(frozen=True)
class Source:
    """Where an array comes from: ``kind`` is ``"input"``, ``"parameter"`` or ``"result"``, ``key`` name or number."""

    kind: str
    key: str | int


@dataclass(frozen=True)
class Operand:
    """What an operation was given, or gave: an array by its origin, or with its values where it has none.

    Attributes:
        source: where it comes from; ``None`` for an array made outside the recorded operations, or a number.
        value: such an array, copied to NumPy, or the number; else ``None``.
        shape: of the array; ``None`` for a number.
        dtype: of the array; ``None`` for a number.
    """

    source: Source | None
    value: Any
    shape: tuple[int, ...] | None
    dtype: np.dtype | None


@dataclass(frozen=True)
class Step:
    """One operation of the run.

    Attributes:
        name: of the operation.
        inputs: its operands, ``None`` for one left out.
        params: its parameters; arrays among them as operands.
        output: what it gave.
        place: path of the link that called it.
    """

    name: str
    inputs: tuple[Operand | None, ...]
    params: dict[str, Any]
    output: Operand
    place: str


@dataclass(frozen=True)
class Trace:
    """All operations of a run, in order, and what it returned by name."""

    steps: tuple[Step, ...]
    outputs: dict[str, Operand]


class Tracer(Hook):
    """Writes down what is computed; an array is recognised by its identity.

    Args:
        named: ``kind, name, array`` of what is known beforehand: inputs and parameters.
        place: tells the path of the link that is running.
    """

    def __init__(self, named: Sequence[tuple[str, str, Any]], place: Callable[[], str]) -> None:
        self.steps: list[Step] = []
        self._place = place
        self._sources: dict[int, Source] = {}
        self._alive: list[Any] = []
        for kind, name, array in named:
            self._know(array, Source(kind, name))

    def computed(self, operation: Operation, inputs: tuple, params: Mapping[str, Any] | None, output: Variable) -> None:
        given = tuple(None if value is None else self.operand(value) for value in inputs)
        settings = {name: self._setting(value) for name, value in (params or {}).items() if name != "shapes"}
        self._know(output.data, Source("result", len(self.steps)))
        self.steps.append(Step(operation.name, given, settings, self.operand(output), self._place()))

    def operand(self, value: Any) -> Operand:
        """Describe a Variable, an array or a number."""
        array = value.data if isinstance(value, Variable) else value
        if isinstance(array, bool | int | float):
            return Operand(None, array, None, None)
        if "bfloat16" in str(array.dtype):
            raise argument_error(
                "export_onnx", "chain", "arrays of a dtype that NumPy has", str(array.dtype), kind=TypeError
            )
        host = backend_of_type(type(array)).to_numpy(array)
        source = self._sources.get(id(array))
        return Operand(source, np.array(host) if source is None else None, tuple(host.shape), host.dtype)

    def _setting(self, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return tuple(self._setting(part) for part in value)
        return self.operand(value) if hasattr(value, "dtype") else value

    def _know(self, array: Any, source: Source) -> None:
        self._sources[id(array)] = source
        # While it lives no other array can have its id.
        self._alive.append(array)


@contextmanager
def places(links: Mapping[str, Any]) -> Iterator[Callable[[], str]]:
    """Give a function that tells the path of the innermost link that is running, for the body of ``with``.

    Args:
        links: links by path.
    """
    running = ["/"]

    def follow(path: str, forward: Callable) -> Callable:
        def forward_there(*arguments: Any, **keywords: Any) -> Any:
            running.append(path)
            try:
                return forward(*arguments, **keywords)
            finally:
                running.pop()

        return forward_there

    before = {path: link.__dict__.get("forward") for path, link in links.items()}
    try:
        for path, link in links.items():
            link.__dict__["forward"] = follow(path, link.forward)
        yield lambda: running[-1]
    finally:
        for path, link in links.items():
            if before[path] is None:
                link.__dict__.pop("forward", None)
            else:
                link.__dict__["forward"] = before[path]

"""Two runs of one function, with other values and another number of samples, made into one program.

What is the same in both runs is a constant; a length that grew with the number of samples is a multiple of it; what
differs in any other way depends on the inputs, and a graph that held its value would be wrong.
"""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from toolkit.autograd.onnx_export.tracing import Operand, Source, Step, Trace
from toolkit.core.errors import argument_error

_STEADY = "recorded operations, or constants that do not change with the inputs or their number"


@dataclass(frozen=True)
class Batch:
    """A length that is ``multiple`` times the number of samples, and ``offset`` more."""

    multiple: int
    offset: int = 0

    def __str__(self) -> str:
        times = "batch" if self.multiple == 1 else f"{self.multiple}*batch"
        return f"{times}{self.offset:+d}" if self.offset else times


Length = int | Batch


@dataclass(frozen=True)
class Merged:
    """An operand of both runs: by its origin, or an array or number, ``value``, that is broadcast to ``shape``."""

    source: Source | None
    value: Any
    shape: tuple[Length, ...] | None
    dtype: np.dtype | None


@dataclass(frozen=True)
class MergedStep:
    """An operation of both runs."""

    name: str
    inputs: tuple[Merged | None, ...]
    params: dict[str, Any]
    output: Merged
    place: str


@dataclass(frozen=True)
class Program:
    """The operations that the outputs depend on, by their number in the runs, and the outputs by name."""

    steps: dict[int, MergedStep]
    outputs: dict[str, Merged]


def merge(first: Trace, second: Trace, sizes: tuple[int, int] | None) -> Program:
    """Make one program of two runs.

    Args:
        first: one run.
        second: the other, with other values.
        sizes: numbers of samples of both; ``None`` if no length may vary.

    Raises:
        ValueError: the runs differ by more than the number of samples explains.
    """
    merger = _Merger(sizes)
    for a, b in zip(first.steps, second.steps, strict=False):
        if (a.name, a.place, len(a.inputs)) != (b.name, b.place, len(b.inputs)):
            merger.refuse(a, "one path through the program, whatever the inputs", f"{a.name}, with others {b.name}")
    if len(first.steps) != len(second.steps) or set(first.outputs) != set(second.outputs):
        counts = f"{len(first.steps)} operations, with others {len(second.steps)}"
        raise argument_error("export_onnx", "chain", "one path through the program, whatever the inputs", counts)
    # An accuracy beside the loss, say, may be computed in ways that have no form.
    steps = {number: merger.step(first.steps[number], second.steps[number]) for number in _needed(first)}
    return Program(steps, {name: merger.operand(first.outputs[name], second.outputs[name]) for name in first.outputs})


def _needed(trace: Trace) -> list[int]:
    """Return the numbers of the steps that the outputs depend on, in order."""
    wanted: set[int] = set()
    pending: list[Any] = list(trace.outputs.values())
    while pending:
        part = pending.pop()
        if isinstance(part, tuple):
            pending.extend(part)
        elif isinstance(part, Operand) and part.source is not None and part.source.kind == "result":
            number = int(part.source.key)
            if number not in wanted:
                wanted.add(number)
                step = trace.steps[number]
                pending.extend([*step.inputs, *step.params.values()])
    return sorted(wanted)


class _Merger:
    def __init__(self, sizes: tuple[int, int] | None) -> None:
        self.sizes = sizes
        self.at: Step | None = None

    def refuse(self, step: Step | None, expected: str, actual: str) -> NoReturn:
        where = "the result" if step is None else f"{step.name} in {step.place}"
        raise argument_error("export_onnx", "chain", f"{expected}, at {where}", actual)

    def step(self, a: Step, b: Step) -> MergedStep:
        self.at = a
        inputs = tuple(
            None if one is None or other is None else self.operand(one, other)
            for one, other in zip(a.inputs, b.inputs, strict=True)
        )
        params = {name: self.setting(a.params[name], b.params[name]) for name in a.params}
        merged = MergedStep(a.name, inputs, params, self.operand(a.output, b.output), a.place)
        self.at = None
        return merged

    def operand(self, a: Operand, b: Operand) -> Merged:
        if a.source != b.source or a.dtype != b.dtype or (a.shape is None) != (b.shape is None):
            self.refuse(self.at, "the same operands whatever the inputs", f"{a.source}, with others {b.source}")
        if a.shape is None or b.shape is None:
            if a.value != b.value and not (a.value != a.value and b.value != b.value):
                self.refuse(self.at, "numbers that do not change with the inputs", f"{a.value!r} and {b.value!r}")
            return Merged(None, a.value, None, None)
        if len(a.shape) != len(b.shape):
            self.refuse(self.at, "the same axes whatever the inputs", f"{a.shape}, with others {b.shape}")
        shape = tuple(self.length(m, n) for m, n in zip(a.shape, b.shape, strict=True))
        return Merged(a.source, None if a.source is not None else self.constant(a, b, shape), shape, a.dtype)

    def constant(self, a: Operand, b: Operand, shape: tuple[Length, ...]) -> np.ndarray:
        """Return values that are the same in both runs, of length 1 along the axes that grow with the samples."""
        one, other = a.value, b.value
        for axis, length in enumerate(shape):
            if isinstance(length, Batch):
                one, other = (self.uniform(values, axis) for values in (one, other))
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            self.refuse(self.at, _STEADY, "values that change with the inputs")
        return one

    def uniform(self, values: np.ndarray, axis: int) -> np.ndarray:
        head = np.take(values, [0], axis)
        if not np.array_equal(np.broadcast_to(head, values.shape), values, equal_nan=values.dtype.kind == "f"):
            self.refuse(self.at, _STEADY, f"shape {values.shape} with values that differ along axis {axis}")
        return head

    def length(self, m: int, n: int) -> Length:
        if m == n:
            return m
        if self.sizes is not None:
            multiple, rest = divmod(n - m, self.sizes[1] - self.sizes[0])
            offset = m - multiple * self.sizes[0]
            # Any two lengths lie on some line; only lines that programs make are believed.
            if not rest and multiple > 0 and (offset == 0 or multiple == 1):
                return Batch(multiple, offset)
        sizes = "" if self.sizes is None else f" for {self.sizes[0]} and {self.sizes[1]} samples"
        self.refuse(self.at, "lengths that are fixed or multiples of the number of samples", f"{m} and {n}{sizes}")

    def setting(self, a: Any, b: Any) -> Any:
        if isinstance(a, Operand) and isinstance(b, Operand):
            return self.operand(a, b)
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
            return tuple(self.setting(m, n) for m, n in zip(a, b, strict=True))
        if isinstance(a, slice) and isinstance(b, slice):
            return slice(self.setting(a.start, b.start), self.setting(a.stop, b.stop), self.setting(a.step, b.step))
        if type(a) is int and type(b) is int:
            return self.length(a, b)
        if type(a) is not type(b) or (a != b and not (a != a and b != b)):
            self.refuse(self.at, "numbers that do not change with the inputs", f"{a!r} and {b!r}")
        return a

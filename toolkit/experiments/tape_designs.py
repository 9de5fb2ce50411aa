"""What does each decision in a tape's design cost? A chain of small operations through every design, timed in turn.

The chain is y = tanh(y * w + b) on vectors of ten numbers, 999 operations by default, forward and backward. The
vectors are so short that nearly all of the time is the tape's own.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.autograd.backends import backend_of_type
from toolkit.core.errors import require
from toolkit.experiments.records import Record
from toolkit.experiments.small_tapes import LIBRARIES, Design, build, designs
from toolkit.experiments.study import Measurement, Study, StudyConfig, StudyInterrupted, Task, by_scale
from toolkit.experiments.tables import Table

LENGTH = 333
"""Rounds of multiply, add and tanh in the chain: 999 operations."""

TORCH, OURS, BARE = "torch eager", "toolkit.autograd", "no tape"
_WIDTH = 10
_TOLERANCE = 1e-4  # of the largest: rounding in single precision, through a thousand operations

Step = Callable[[], tuple]
"""Runs the chain forward and backward; returns the gradients by y, w and b as arrays."""


@dataclass(frozen=True)
class TapeDesignsConfig(StudyConfig):
    """How the designs are timed."""

    rounds: int = by_scale(quick=3, laptop=20, paper=40)
    """How often each contender has its turn; the quickest counts."""

    length: int = LENGTH
    """Rounds of multiply, add and tanh in the chain; three operations each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rounds", "length"):
            require(getattr(self, name) >= 1, "TapeDesignsConfig", name, ">= 1", getattr(self, name))
        require(self.device in (None, "cpu"), "TapeDesignsConfig", "device", "cpu", self.device)
        object.__setattr__(self, "device", "cpu")


def chain(design: Design, *, length: int = LENGTH, seed: int = 0) -> Step:
    """Return the chain through a small tape of the given design."""
    tape = build(design)
    multiply, add, tanh = tape.multiply, tape.add, tape.tanh
    arrays = _arrays(design.library, seed)
    ones = _ones(design.library)

    def step() -> tuple:
        start, w, b = leaves = [tape.leaf(array) for array in arrays]
        y = start
        for _ in range(length):
            y = tanh(add(multiply(y, w), b))
        tape.backward(y, ones)
        return tuple(leaf.grad for leaf in leaves)

    return step


def reference_chains(library: str, *, length: int = LENGTH, seed: int = 0) -> dict[str, Step]:
    """Return the same chain through this toolkit's engine, through torch's, and written out by hand without a tape."""
    arrays = _arrays(library, seed)
    ones, torch_ones = _ones(library), _ones("torch")

    def ours() -> tuple:
        start, w, b = leaves = [Variable(array, requires_grad=True) for array in arrays]
        y = start
        for _ in range(length):
            y = F.tanh(y * w + b)
        y.backward(ones)
        return tuple(leaf.grad for leaf in leaves)

    def theirs() -> tuple:
        start, w, b = leaves = [tensor.clone().requires_grad_() for tensor in _arrays("torch", seed)]
        y = start
        for _ in range(length):
            y = torch.tanh(y * w + b)
        y.backward(torch_ones)
        return tuple(leaf.grad for leaf in leaves)

    array_tanh: Any = np.tanh if library == "numpy" else torch.tanh
    slope = backend_of_type(type(ones)).tanh_backward

    def bare() -> tuple:
        y, w, b = arrays
        kept = [y]
        for _ in range(length):
            y = array_tanh(y * w + b)
            kept.append(y)
        g, for_w, for_b = ones, 0.0, 0.0
        while len(kept) > 1:
            y = kept.pop()
            g = slope(g, y)
            for_b = for_b + g
            for_w = for_w + g * kept[-1]
            g = g * w
        return g, for_w, for_b

    return {TORCH: theirs, OURS: ours, BARE: bare}


def _arrays(library: str, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    start, w, b = random.normal(size=(3, _WIDTH))
    # w near 1 and b near 0: the gradient neither dies nor explodes on its way, and rounding stays small.
    arrays = [np.asarray(part, dtype=np.float32) for part in (start, 1.0 + 2e-3 * w, 2e-4 * b)]
    return arrays if library == "numpy" else [torch.from_numpy(array) for array in arrays]


def _ones(library: str) -> Any:
    return np.ones(_WIDTH, np.float32) if library == "numpy" else torch.ones(_WIDTH)


def require_equal_gradients(steps: Mapping[str, Step]) -> None:
    """Raise unless all contenders find the gradients of the first.

    Raises:
        RuntimeError: one does not.
    """
    expected: list[np.ndarray] = []
    for name, step in steps.items():
        came = [np.asarray(gradient) for gradient in step()]
        expected = expected or came
        for mine, theirs in zip(came, expected, strict=True):
            if not np.allclose(mine, theirs, rtol=_TOLERANCE, atol=_TOLERANCE * float(np.abs(theirs).max())):
                raise RuntimeError(f"tape-designs: {name} finds other gradients than {next(iter(steps))}")


def take_turns(steps: Mapping[str, Step], rounds: int, *, operations: int = 3 * LENGTH) -> Iterator[dict[str, float]]:
    """Time the contenders one after the other, round by round.

    Args:
        steps: the contenders by name; each has had a call before.
        rounds: how often each has its turn. The order shifts from round to round.
        operations: in one call.

    Yields:
        After each round the CPU microseconds of one operation, forward and backward, in each contender's best round.
    """
    clock = _clock()
    names = list(steps)
    best = dict.fromkeys(names, float("inf"))
    with _kernel_set_aside():
        for number in range(rounds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                started = clock()
                steps[name]()
                best[name] = min(best[name], 1e6 * (clock() - started) / operations)
            yield dict(best)


def _clock() -> Callable[[], float]:
    """CPU time of this thread, unless the system counts it too coarsely (Windows does)."""
    return time.thread_time if time.get_clock_info("thread_time").resolution < 1e-5 else time.perf_counter


@contextmanager
def _kernel_set_aside() -> Iterator[None]:
    """Keep the cycle collector from searching what existed before; what a contender leaves to it is its own to pay."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def left_to_collector(step: Step) -> int:
    """Return how many objects one call leaves behind that only the cycle collector can free.

    The least of three counts: other threads may leave something meanwhile.
    """
    step()
    was_on = gc.isenabled()
    with _kernel_set_aside():
        gc.disable()
        try:
            return min(_count_left(step) for _ in range(3))
        finally:
            if was_on:
                gc.enable()


def _count_left(step: Step) -> int:
    gc.collect()
    step()
    return gc.collect()


def measure(task: Task) -> Measurement:
    """Time every design on both libraries, the engine, torch and the chain by hand.

    Args:
        task: the configuration and the seed.

    Returns:
        ``microseconds/…``: CPU time of one operation, forward and backward, best of the rounds, by
        :attr:`Design.key` or by ``library/name``; ``left to the collector/…``: objects of one chain in cycles.
    """
    config: TapeDesignsConfig = task.config
    steps: dict[str, Step] = {}
    for library in LIBRARIES:
        references = reference_chains(library, length=config.length, seed=task.seed)
        ours = {design.key: chain(design, length=config.length, seed=task.seed) for design in designs(library)}
        require_equal_gradients(references | ours)
        steps |= {f"{library}/{name}": step for name, step in references.items()} | ours
    best: dict[str, float] = {}
    for so_far in take_turns(steps, config.rounds, operations=3 * config.length):
        best = so_far
        if task.stop is not None and task.stop.is_set():
            raise StudyInterrupted("stopped")
    left = {f"left to the collector/{name}": float(left_to_collector(step)) for name, step in steps.items()}
    return Measurement({f"microseconds/{name}": value for name, value in best.items()} | left)


def report(records: Sequence[Record]) -> str:
    """Show what each design takes.

    Args:
        records: of this study.

    Returns:
        Text for a terminal.
    """
    (record,) = records
    base = f"microseconds/{LIBRARIES[-1]}/{TORCH}"
    rows = []
    for name, spread in record.summary.items():
        kind, _, key = name.partition("/")
        if kind == "microseconds":
            left = record.summary[f"left to the collector/{key}"].mean
            rows.append((key, str(spread), f"{spread.mean / record.summary[base].mean:.2f}", f"{left:.0f}"))
    title = f"tape-designs: {3 * record.config['length']} operations, {record.environment.device}"
    columns = ("design", "CPU µs an operation", "to torch eager", "objects left to the collector")
    return "\n".join([title, "", Table(columns, tuple(rows), title).to_text()])


STUDY = Study(
    name="tape-designs",
    summary="What each decision in a tape's design costs, in microseconds an operation",
    config=TapeDesignsConfig,
    measure=measure,
    report=report,
)
run = STUDY.run

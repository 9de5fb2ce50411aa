"""What each operation keeps for its backward rule, in bytes and in words."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from toolkit.autograd import Variable, graph
from toolkit.autograd import functions as F
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.lessons import View, controls
from toolkit.lessons.svg import bar_chart

EXPRESSIONS: Mapping[str, tuple[Callable[[Variable, Variable], Variable], tuple[str, ...]]] = {
    "x + x": (lambda x, w: x + x, ("x", "x")),
    "sum(x)": (lambda x, w: F.sum(x), ("x",)),
    "reshape(x)": (lambda x, w: F.reshape(x, (-1,)), ("x",)),
    "tanh(x)": (lambda x, w: F.tanh(x), ("x",)),
    "exp(x)": (lambda x, w: F.exp(x), ("x",)),
    "sin(x)": (lambda x, w: F.sin(x), ("x",)),
    "x * x": (lambda x, w: x * x, ("x", "x")),
    "linear(x, w)": (F.linear, ("x", "w")),
}
"""One operation each, on a batch of digits and a weight of shape (10, 64), and the names of its inputs."""

_MOST = 400  # digits in a batch


@dataclass(frozen=True)
class Kept:
    """What one operation keeps.

    Attributes:
        expression: the code.
        bytes: memory held until backward has passed, counted once where the same memory is kept twice.
        what: in words, without repetition.
    """

    expression: str
    bytes: int
    what: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)


def kept_by_operation(batch_size: int = 100) -> tuple[Kept, ...]:
    """Record every expression on real digits in float64 and look at what its node keeps.

    Args:
        batch_size: digits, 64 pixels each.

    Raises:
        ValueError: ``batch_size`` is not positive.
    """
    require(batch_size > 0, "kept_by_operation", "batch_size", "a positive number of digits", batch_size)
    pixels = load("digits").train[:batch_size].as_float(flat=True).numpy().astype(np.float64)
    found = []
    for expression, (function, names) in EXPRESSIONS.items():
        x = Variable(pixels, requires_grad=True)
        newest = graph(function(x, Variable(np.zeros((10, 64)), requires_grad=True))).nodes[-1]
        found.append(Kept(expression, newest.saved_bytes, tuple(dict.fromkeys(_named(newest.saved, names)))))
    return tuple(found)


def _named(saved: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    """Return "x" for "input 0 float64(100, 64)", and "its output" for that."""
    words = {f"input {position}": name for position, name in enumerate(names)} | {"its output": "its output"}
    return [next(name for start, name in words.items() if text.startswith(start)) for text in saved]


def draw(kept: tuple[Kept, ...]) -> Svg:
    """Draw one bar an operation."""
    return bar_chart(
        [f"{one.expression} keeps {' and '.join(one.what) or 'nothing'}" for one in kept],
        [one.bytes / 1000 for one in kept],
        value_label="kept for backward (kB)",
        title="Each operation keeps what its own rule needs",
        write=".1f",
        value_limits=(0, 8e-3 * 64 * (_MOST + 10)),
    )


def describe(kept: tuple[Kept, ...]) -> str:
    """Say which operations keep nothing and how much the others keep."""
    nothing = [one.expression for one in kept if not one.bytes]
    largest = max(kept, key=lambda one: one.bytes)
    return (
        f"{', '.join(nothing)} keep nothing; {largest.expression} keeps most, {largest.bytes / 1000:.1f} kB: "
        f"{' and '.join(largest.what)}."
    )


def explore_saved_arrays() -> View:
    """Return a view of what each operation keeps, with a slider for the number of digits in the batch."""
    slider = controls.int_slider("digits in the batch", 100, 20, _MOST, step=20)
    return View({"batch_size": slider}, kept_by_operation, draw, describe)

"""A function and its first three derivatives, each the derivative of the recorded one before, beside the exact ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.autograd import Variable, grad, graph
from toolkit.autograd import functions as F
from toolkit.core.errors import reject, require
from toolkit.core.svg import Svg
from toolkit.lessons import View, controls
from toolkit.lessons.svg import Series, line_chart

HIGHEST = 3
NAMES = ("f", "1st", "2nd", "3rd")
_LOW, _HIGH, _POINTS = -3.0, 3.0, 121


@dataclass(frozen=True)
class Known:
    """A function of ours, its value and first three derivatives in closed form, and the heights a chart shows."""

    ours: Callable[[Variable], Variable]
    exact: tuple[Callable[[np.ndarray], np.ndarray], ...]
    heights: tuple[float, float] = (-2.2, 2.2)


def _tanh_slope(x: np.ndarray) -> np.ndarray:
    return 1 - np.tanh(x) ** 2


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


FUNCTIONS: Mapping[str, Known] = {
    "tanh(x)": Known(
        F.tanh,
        (
            np.tanh,
            _tanh_slope,
            lambda x: -2 * np.tanh(x) * _tanh_slope(x),
            lambda x: (6 * np.tanh(x) ** 2 - 2) * _tanh_slope(x),
        ),
    ),
    "sin(x)": Known(F.sin, (np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x))),
    "exp(−x²)": Known(
        lambda x: F.exp(-(x * x)),
        (
            lambda x: np.exp(-(x**2)),
            lambda x: -2 * x * np.exp(-(x**2)),
            lambda x: (4 * x**2 - 2) * np.exp(-(x**2)),
            lambda x: (12 * x - 8 * x**3) * np.exp(-(x**2)),
        ),
        (-4.2, 4.2),
    ),
    "softplus(x)": Known(
        F.softplus,
        (
            lambda x: np.log1p(np.exp(x)),
            _logistic,
            lambda x: _logistic(x) * (1 - _logistic(x)),
            lambda x: _logistic(x) * (1 - _logistic(x)) * (1 - 2 * _logistic(x)),
        ),
        (-0.5, 3.2),
    ),
}


@dataclass(frozen=True)
class Derivatives:
    """A function's value and derivatives on a grid.

    Attributes:
        function: its name.
        x: the grid.
        ours: by our engine, one array an order, from 0.
        exact: in closed form, likewise.
        graph_sizes: nodes in the graph behind each of ours.
    """

    function: str
    x: Float[np.ndarray, "points"]
    ours: tuple[Float[np.ndarray, "points"], ...]
    exact: tuple[Float[np.ndarray, "points"], ...]
    graph_sizes: tuple[int, ...]

    @property
    def largest_errors(self) -> tuple[float, ...]:
        """Largest distance from the exact derivative, one an order."""
        return tuple(float(np.abs(a - b).max()) for a, b in zip(self.ours, self.exact, strict=True))

    def __repr__(self) -> str:
        return f"Derivatives({self.function!r}, orders 0 to {len(self.ours) - 1}, {self.x.size} points)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def differentiate_repeatedly(function: str = "tanh(x)", order: int = HIGHEST) -> Derivatives:
    """Differentiate a function up to three times on [-3, 3], recording every pass so that the next can use it.

    Args:
        function: a key of :data:`FUNCTIONS`.
        order: the highest derivative, 0 to 3.

    Raises:
        ValueError: an unknown function or an order out of range.
    """
    if function not in FUNCTIONS:
        reject("differentiate_repeatedly", "function", f"one of {list(FUNCTIONS)}", function)
    require(0 <= order <= HIGHEST, "differentiate_repeatedly", "order", f"0 to {HIGHEST}", order)
    known = FUNCTIONS[function]
    x = Variable(np.linspace(_LOW, _HIGH, _POINTS), requires_grad=True, name="x")
    curves = [known.ours(x)]
    for _ in range(order):
        curves.append(grad(F.sum(curves[-1]), x, create_graph=True))
    exact = tuple(formula(x.data) for formula in known.exact[: order + 1])
    sizes = tuple(len(graph(curve).nodes) for curve in curves)
    return Derivatives(function, x.data, tuple(curve.data for curve in curves), exact, sizes)


def draw(result: Derivatives) -> Svg:
    """Draw every derivative as a line with the exact values as points on it."""
    lines = [Series(NAMES[k], result.x, values) for k, values in enumerate(result.ours)]
    some = slice(4, None, 14)
    dots = [Series("", result.x[some], values[some], "truth", markers=True) for values in result.exact]
    return line_chart(
        [*lines, *dots],
        x_label="x",
        y_label="value",
        title=f"{result.function} and its derivatives; dots: exact",
        x_limits=(_LOW, _HIGH),
        y_limits=FUNCTIONS[result.function].heights,
        height=330,
    )


def describe(result: Derivatives) -> str:
    """Say how far each derivative is from the exact one and how large its graph is."""
    order = len(result.ours) - 1
    close = all(error < 1e-12 for error in result.largest_errors)
    errors = "1e-12" if close else f"{max(result.largest_errors):.1e}"
    if not order:
        return f"{result.function}, not differentiated yet; its graph has {result.graph_sizes[0]} nodes."
    times = ("once", "twice", "three times")[order - 1]
    sizes = ", ".join(str(size) for size in result.graph_sizes)
    return (
        f"{result.function} differentiated {times}: every value is within {errors} of the exact one. "
        f"The graphs behind f and its derivatives have {sizes} nodes."
    )


def explore_derivatives_three_times() -> View:
    """Return a view of a function and its derivatives, with a choice of the function and of the highest order."""
    chosen = {
        "function": controls.choice("function", list(FUNCTIONS)),
        "order": controls.int_slider("highest order", HIGHEST, 0, HIGHEST),
    }
    return View(chosen, differentiate_repeatedly, draw, describe)

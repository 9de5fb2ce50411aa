"""What Hessian-vector products are good for: steps that know the curvature, beside steps that know the slope only.

Newton's step solves ``H p = -g``. Conjugate gradients need ``H`` only as ``p -> H p``, which two backward passes give.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from toolkit.autograd import Variable, hessian, hvp, vjp
from toolkit.autograd import functions as F
from toolkit.core.errors import reject, require
from toolkit.core.svg import Svg
from toolkit.datasets import load
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, power_name, tick_names, ticks
from toolkit.lessons.svg import Series, line_chart

STEPS = 30
_DIGITS = (3, 8)
_ARRIVED = 1e-8  # length of a gradient that counts as none


@dataclass(frozen=True)
class Surface:
    """A function of two numbers to go down on.

    Attributes:
        words: what it is.
        names: of the two numbers.
        function: of a Variable with two elements.
        values: the same for many points at once, ``[points, 2] -> [points]``, for the contour lines.
        start: where the descent begins.
        window: lowest and highest value of each number that the picture shows.
    """

    words: str
    names: tuple[str, str]
    function: Callable[[Variable], Variable]
    values: Callable[[np.ndarray], np.ndarray]
    start: tuple[float, float]
    window: tuple[tuple[float, float], tuple[float, float]]


@functools.cache
def _features() -> tuple[np.ndarray, np.ndarray]:
    """Return two features of each 3 and 8 among the small digits, and its sign: -1 for a 3, 1 for an 8."""
    split = load("digits").train
    labels = split.labels.numpy()
    chosen = np.isin(labels, _DIGITS)
    images = split.as_float().numpy().reshape(-1, 8, 8)[chosen].astype(np.float64)
    # The ink on the left, where an 8 is closed, and in the middle rows, on scales that differ as raw features do.
    left, middle = images[:, 1:7, 1:3].mean((1, 2)), images[:, 3:5, :].mean((1, 2))
    features = np.stack([10 * (left - left.mean()), 4 * (middle - middle.mean())], 1)
    return features, np.where(labels[chosen] == _DIGITS[1], 1.0, -1.0)


def _logistic(w: Variable) -> Variable:
    features, signs = _features()
    return F.mean(F.softplus(F.linear(w.reshape(1, 2), -signs[:, None] * features)))


def _logistic_values(points: np.ndarray) -> np.ndarray:
    features, signs = _features()
    margins = points @ (signs[:, None] * features).T
    return np.logaddexp(0.0, -margins).mean(1)


def _valley(w: Variable) -> Variable:
    x, y = w[0], w[1]
    return (1.0 - x) ** 2 + 100.0 * (y - x * x) ** 2


def _valley_values(points: np.ndarray) -> np.ndarray:
    x, y = points.T
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2


SURFACES: Mapping[str, Surface] = {
    "loss on digits": Surface(
        "logistic loss of telling 3 from 8 by two features",
        ("weight of the ink on the left", "weight of the ink in the middle"),
        _logistic,
        _logistic_values,
        (3.5, 0.5),
        ((-1.0, 4.0), (-0.5, 6.0)),
    ),
    "Rosenbrock valley": Surface(
        "Rosenbrock's function, (1 − x)² + 100 (y − x²)²",
        ("x", "y"),
        _valley,
        _valley_values,
        (-1.2, 1.0),
        ((-1.8, 1.8), (-0.8, 2.4)),
    ),
}


@dataclass(frozen=True)
class Descent:
    """Where each method came, step by step.

    Attributes:
        surface: a key of :data:`SURFACES`.
        slope: ``[steps + 1, 2]``: gradient descent with the best of many rates.
        newton: ``[steps + 1, 2]``: Newton's steps.
        slope_values: the function at ``slope``.
        newton_values: the function at ``newton``.
        rate: of the gradient descent.
        products: Hessian-vector products that all Newton steps took.
        error: largest distance of a product from the exact Hessian times the vector, divided by the product's length.
        condition: of the exact Hessian at the last Newton point: its largest curvature divided by its smallest.
    """

    surface: str
    slope: Float[np.ndarray, "steps 2"]
    newton: Float[np.ndarray, "steps 2"]
    slope_values: Float[np.ndarray, "steps"]
    newton_values: Float[np.ndarray, "steps"]
    rate: float
    products: int
    error: float
    condition: float

    def __repr__(self) -> str:
        ends = f"{self.newton_values[-1]:.3g} and {self.slope_values[-1]:.3g}"
        return f"Descent({self.surface!r}, {len(self.newton) - 1} steps: {ends})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def _gradient(surface: Surface, w: np.ndarray) -> tuple[float, np.ndarray]:
    value, (gradient,) = vjp(surface.function, [w])
    return float(value), gradient.numpy()


def newton_direction(
    function: Callable[[Variable], Variable], w: Float[np.ndarray, "n"], gradient: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n"], list[tuple[np.ndarray, np.ndarray]]]:
    """Solve ``H p = -g`` by conjugate gradients, with ``H`` known through products only.

    Args:
        function: of one Variable, returns one number.
        w: where.
        gradient: there.

    Returns:
        The direction, and each vector with the product that ``hvp`` gave. Where the curvature along a direction is
        not positive, the solve ends with what it has (at first, with the negative gradient).
    """
    direction, residual = np.zeros_like(w), -gradient
    search = residual.copy()
    asked: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(w.size):
        if not np.linalg.norm(residual) > 1e-12 * np.linalg.norm(gradient):
            break
        product = hvp(function, [w], [search])[0].numpy()
        asked.append((search, product))
        curvature = float(search @ product)
        if not curvature > 0:
            return (direction if len(asked) > 1 else -gradient), asked
        length = float(residual @ residual) / curvature
        direction = direction + length * search
        before, residual = residual, residual - length * product
        search = residual + float(residual @ residual) / float(before @ before) * search
    return direction, asked


def _shortened(surface: Surface, w: np.ndarray, value: float, gradient: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Halve a step until it goes down by a small part of what the slope promises: far off, a Newton step overshoots."""
    promised = float(gradient @ step)
    for halvings in range(30):
        part = 0.5**halvings * step
        if _value(surface, w + part) <= value + 1e-4 * 0.5**halvings * promised:
            return part
    return np.zeros_like(step)


def _value(surface: Surface, w: np.ndarray) -> float:
    return float(surface.values(w[None])[0])


@functools.lru_cache(maxsize=8)
def descend(surface: str = "loss on digits", n_steps: int = STEPS) -> Descent:
    """Go down by Newton's steps, and by gradient descent with the rate that ends lowest.

    Args:
        surface: a key of :data:`SURFACES`.
        n_steps: steps of each.

    Raises:
        ValueError: an unknown surface or a negative number of steps.
    """
    if surface not in SURFACES:
        reject("descend", "surface", f"one of {list(SURFACES)}", surface)
    require(n_steps >= 0, "descend", "n_steps", "0 or more", n_steps)
    chosen = SURFACES[surface]
    newton, asked = [np.array(chosen.start)], []
    for _ in range(n_steps):
        w = newton[-1]
        value, gradient = _gradient(chosen, w)
        if np.linalg.norm(gradient) < _ARRIVED:
            newton.append(w)
            continue
        step, products = newton_direction(chosen.function, w, gradient)
        asked += [(w, vector, product) for vector, product in products]
        newton.append(w + _shortened(chosen, w, value, gradient, step))
    rate, slope = _best_gradient_descent(chosen, n_steps)
    errors = [
        float(np.linalg.norm(hessian(chosen.function, w).numpy() @ vector - product) / np.linalg.norm(product))
        for w, vector, product in asked[:8]
    ]
    curvatures = np.linalg.eigvalsh(hessian(chosen.function, newton[-1]).numpy())
    return Descent(
        surface,
        slope,
        np.stack(newton),
        chosen.values(slope),
        chosen.values(np.stack(newton)),
        rate,
        len(asked),
        max(errors, default=0.0),
        float(curvatures[-1] / curvatures[0]),
    )


def _best_gradient_descent(surface: Surface, n_steps: int) -> tuple[float, np.ndarray]:
    """Try many rates; of those with which no step goes up, take the one that ends lowest."""
    best: tuple[float, float, np.ndarray] | None = None
    for rate in 10.0 ** np.arange(-4, 2.01, 0.25):
        path = [np.array(surface.start)]
        before = math.inf
        for _ in range(n_steps):
            value, gradient = _gradient(surface, path[-1])
            if not value <= before:
                break
            before = value
            path.append(path[-1] - rate * gradient)
        else:
            value = _value(surface, path[-1])
            if value <= before and (best is None or value < best[0]):
                best = value, float(rate), np.stack(path)
    assert best is not None, "the smallest rates go down"
    return best[1], best[2]


@dataclass(frozen=True)
class Moment:
    """A descent and the step of it that is looked at."""

    descent: Descent
    step: int

    @property
    def exact(self) -> Float[np.ndarray, "2 2"]:
        """The Hessian at Newton's present point, in full."""
        return hessian(SURFACES[self.descent.surface].function, self.descent.newton[self.step]).numpy()


def compute(surface: str = "loss on digits", step: int = 4) -> Moment:
    """Return one moment of a descent; steps beyond the last show the last."""
    return Moment(descend(surface), min(max(step, 0), STEPS))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _MAP, _TOP = 660.0, 352.0, 44.0


@functools.cache
def _contours(surface: str) -> tuple[np.ndarray, ...]:
    """Return lines of equal height, closer together where it is low.

    On a coarser grid the narrow valley's floor goes up and down, and islands appear that the function does not have.
    """
    chosen = SURFACES[surface]
    x, y = (np.linspace(low, high, 241) for low, high in chosen.window)
    grid = np.stack(np.meshgrid(x, y), -1)
    heights = chosen.values(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    heights = np.log(heights - heights.min() + 1e-2 * np.ptp(heights))
    levels = np.linspace(heights.min(), heights.max(), 14)[1:-1]  # more, and a line turns back in the valley
    found = Figure().add_subplot().contour(x, y, heights, levels).allsegs
    return tuple(np.concatenate([line[:-1:2], line[-1:]]) for level in found for line in level)


def draw(moment: Moment) -> Svg:
    """Draw both paths on the surface, the exact Hessian beside, and the heights reached below."""
    picture = Svg(_WIDTH, _TOP + _MAP + 260)
    descent, step = moment.descent, moment.step
    reached = f"Newton {_number(descent.newton_values[step])}, gradient descent {_number(descent.slope_values[step])}"
    picture.text(16, 26, f"After {step} step{'' if step == 1 else 's'}: {reached}", size=14, bold=True)
    _draw_map(picture, moment)
    _draw_panel(picture, moment)
    picture.place(0, _TOP + _MAP + 10, _draw_heights(moment))
    return picture


def _draw_map(picture: Svg, moment: Moment) -> None:
    chosen = SURFACES[moment.descent.surface]
    left, right, top, bottom = 60.0, 60.0 + _MAP, _TOP, _TOP + _MAP - 52
    to_x = Scale(*chosen.window[0], left, right, False)
    to_y = Scale(*chosen.window[1], bottom, top, False)
    clip = (left, top, right - left, bottom - top)
    for line in _contours(moment.descent.surface):
        picture.polyline([(to_x(x), to_y(y)) for x, y in line], stroke="#c2c2c2", stroke_width=1, clip=clip)
    picture.rectangle(left, top, right - left, bottom - top, fill="none", stroke="#8c8c8c")
    for axis, scale in enumerate((to_x, to_y)):
        marks = ticks(*chosen.window[axis])
        for value, name in zip(marks, tick_names(marks), strict=True):
            if axis:
                picture.text(left - 7, scale(value) + 4, name, size=12, anchor="end", fill=style.GREY)
            else:
                picture.text(scale(value), bottom + 17, name, size=12, anchor="middle", fill=style.GREY)
    picture.text((left + right) / 2, bottom + 38, chosen.names[0], size=12, anchor="middle")
    picture.text(20, (top + bottom) / 2, chosen.names[1], size=12, anchor="middle", rotate=-90)
    for path, look in ((moment.descent.slope, _SLOPE), (moment.descent.newton, _NEWTON)):
        points = [(to_x(x), to_y(y)) for x, y in path[: moment.step + 1]]
        picture.polyline(points, stroke=look.color, stroke_width=2, dash=look.dashes, clip=clip)
        for x, y in points:
            if left <= x <= right and top <= y <= bottom:
                picture.circle(x, y, 3.4, fill=look.color, stroke="#ffffff", stroke_width=0.8)


_NEWTON, _SLOPE = style.MEANINGS["ours"], style.MEANINGS["baseline"]


def _draw_panel(picture: Svg, moment: Moment) -> None:
    x, y = 60.0 + _MAP + 22, _TOP + 14
    descent, matrix = moment.descent, moment.exact
    picture.text(x, y, "Hessian at Newton's point", bold=True)
    for row in matrix:
        y += 22
        picture.text(x + 14, y, "   ".join(_number(value) for value in row))
    curvatures = np.linalg.eigvalsh(matrix)
    lines = (
        f"curvatures {_number(curvatures[0])} and {_number(curvatures[1])}",
        "",
        "Newton never forms it: conjugate",
        "gradients solve H p = −g with",
        f"{descent.products} products H v in all, each",
        f"within {_power(descent.error)} of the exact matrix",
        "times the vector. Where a full",
        "step would go up, it is halved.",
        "",
        "Gradient descent: the best of",
        f"many rates, {descent.rate:.2g}, at which",
        "no step goes up.",
    )
    y += 8
    for line in lines:
        y += 20
        picture.text(x, y, line, size=12)


def _draw_heights(moment: Moment) -> Svg:
    descent = moment.descent
    lowest = min(descent.newton_values.min(), descent.slope_values.min())
    curves = [("Newton", descent.newton_values, _NEWTON), ("gradient", descent.slope_values, _SLOPE)]
    return line_chart(
        [Series(name, range(len(values)), np.maximum(values - lowest, 1e-9), look) for name, values, look in curves],
        x_label="step",
        y_label="above the lowest",
        title=SURFACES[descent.surface].words,
        x_limits=(0, STEPS),
        y_limits=(1e-9, 100.0),
        log_y=True,
        marks=[(moment.step, f"step {moment.step}")],
        width=_WIDTH,
        height=250,
    )


def _number(value: float) -> str:
    if abs(value) < 1e-9:
        return "0"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{4 if abs(value) >= 1000 else 3}g}".replace("-", "−")
    return power_name(value, 2)


def _power(error: float) -> str:
    return "10⁻¹⁰" if error < 1e-10 else power_name(error, 1)


def describe(moment: Moment) -> str:
    """Say how far both came, and what Newton's steps asked for."""
    descent, step = moment.descent, moment.step
    lowest = min(descent.newton_values.min(), descent.slope_values.min())
    above = [_number(float(values[step]) - lowest) for values in (descent.newton_values, descent.slope_values)]
    words = SURFACES[descent.surface].words
    steps, ratio = "1 step" if step == 1 else f"{step} steps", _number(descent.condition)
    return (
        f"{words[0].upper()}{words[1:]}. After {steps} Newton's method is {above[0]} above the lowest value seen, "
        f"gradient descent {above[1]}. Conjugate gradients solve H p = −g for the step: {descent.products} "
        f"Hessian-vector products stand in for the matrix, each within {_power(descent.error)} of it. Where a full "
        f"step would go up, it is halved. At the end the largest curvature is {ratio} times the smallest."
    )


def explore_newton_steps() -> View:
    """Return a view of two descents side by side, with a slider for the step and a choice of the surface."""
    step = controls.int_slider("step", 4, 0, STEPS)
    for name in SURFACES:  # so that no key press waits for it
        descend(name)
        _contours(name)
    chosen = {"surface": controls.toggle("surface", list(SURFACES)), "step": step}
    return View(chosen, compute, draw, describe, extra=(controls.step_buttons(step),))

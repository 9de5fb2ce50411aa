"""Linear support vector machines on a single column, one for each value against the rest, solved exactly.

A machine on a line errs on the points below or above a threshold, so that its loss and the loss's derivatives are sums
over a run of the sorted points: differences of cumulative sums. Newton's method then needs a search per step and
machine, instead of passing over all points, and ends at the exact minimum whatever the column's unit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

_MOST_STEPS = 100
_MOST_HALVINGS = 40


@dataclass(frozen=True, repr=False, eq=False)
class LineMachines:
    """What :func:`fit_line_machines` found: decisions ``weight * x / unit + intercept``.

    Attributes:
        values: that occur, in ascending order.
        unit: the largest absolute number of the column.
        weight: one a value; of two values only that of the second.
        intercept: likewise.
    """

    values: Int64[np.ndarray, " values"]
    unit: float
    weight: Float64[np.ndarray, " machines"]
    intercept: Float64[np.ndarray, " machines"]

    def predict(self, column: Float64[np.ndarray, " points"]) -> Int64[np.ndarray, " points"]:
        """Return the value whose machine is surest of each point."""
        decision = column[:, None] / self.unit * self.weight + self.intercept
        return self.values[decision.argmax(1) if len(self.weight) > 1 else (decision[:, 0] > 0).astype(np.int64)]


def fit_line_machines(
    column: Float64[np.ndarray, " points"], labels: Int64[np.ndarray, " points"], regularisation: float
) -> LineMachines:
    """Minimise (w² + b²) / 2 + Σ C max(0, 1 − y (w x + b))² for each value, y being 1 at its points and −1 elsewhere.

    That is ``sklearn.svm.LinearSVC(C=regularisation, class_weight="balanced")``: C is ``regularisation`` times
    points / (values · points of the value) at the value's own points and ``regularisation`` at the others; of two
    values both have such weights, and one machine decides.

    Args:
        column: finite numbers.
        labels: at least two different ones.
        regularisation: positive.

    Returns:
        The machines.
    """
    values, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    unit = float(np.abs(column).max()) or 1.0
    own = regularisation * len(column) / (len(values) * counts)
    two = len(values) == 2
    sums = _Sums(column / unit, number, np.arange(1 if two else 0, len(values)))
    rest = own[:1] if two else np.full(len(values), regularisation)
    return LineMachines(values, unit, *_minimise(sums, own[1:] if two else own, rest, unit))


class _Sums:
    """Numbers in ascending order, and the sums of their powers 0, 1 and 2 over any run of them, of all or one class."""

    def __init__(
        self, x: Float64[np.ndarray, " points"], number: Int64[np.ndarray, " points"], classes: Int64[np.ndarray, " _"]
    ):
        order = x.argsort(kind="stable")
        self.x = x[order]
        powers = np.stack([np.ones_like(x), self.x, self.x**2])
        # Class by class, each in ascending order: where a run begins in a class is found by the place in ``x``.
        by_class = number[order].argsort(kind="stable")
        self.place = number[order][by_class] * (len(x) + 1) + by_class
        self.first = classes * (len(x) + 1)
        self.every, self.of_class = (
            np.concatenate([np.zeros((3, 1)), part.cumsum(1)], 1) for part in (powers, powers[:, by_class])
        )

    def of(self, weight: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sums over the positive and negative points with a loss, (3, machines) each, and their runs."""
        upward = self._below(weight, 1 - intercept)
        downward = self._below(-weight, 1 + intercept)
        negative = self.every[:, downward[1]] - self.every[:, downward[0]] - self._own(downward)
        return self._own(upward), negative, np.stack([upward, downward])

    def _own(self, run: np.ndarray) -> np.ndarray:
        start, end = self.place.searchsorted(self.first + run)
        return self.of_class[:, end] - self.of_class[:, start]

    def _below(self, weight: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Return the run of the points with weight · x < bound: its first and the one after its last."""
        flat = weight == 0
        with np.errstate(over="ignore"):
            cut = bound / np.where(flat, 1, weight)
        left, right = self.x.searchsorted(cut, "left"), self.x.searchsorted(cut, "right")
        last = np.where(flat, len(self.x) * (bound > 0), np.where(weight > 0, left, len(self.x)))
        return np.stack([np.where(weight < 0, right, 0), last])


def _minimise(
    sums: _Sums, above: np.ndarray, below: np.ndarray, unit: float
) -> tuple[Float64[np.ndarray, " machines"], Float64[np.ndarray, " machines"]]:
    """Return the weights and intercepts of least penalty and loss, all machines at once."""
    # Weights are in units of the column, and the penalty is on those of the numbers as they were. Beyond these units
    # nothing changes any more.
    ridge = np.array([min(max(unit, 1e-50), 1e140) ** -2, 1.0])

    def loss(weight: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        p, m, runs = sums.of(weight, intercept)
        to_one, to_minus_one = 1 - intercept, 1 + intercept
        total = above * (p[0] * to_one**2 - 2 * to_one * weight * p[1] + weight**2 * p[2])
        total += below * (m[0] * to_minus_one**2 + 2 * to_minus_one * weight * m[1] + weight**2 * m[2])
        total += (ridge[0] * weight**2 + ridge[1] * intercept**2) / 2
        slope = np.stack([2 * (below * (to_minus_one * m[i] + weight * m[j])) for i, j in ((1, 2), (0, 1))])
        slope -= np.stack([2 * (above * (to_one * p[i] - weight * p[j])) for i, j in ((1, 2), (0, 1))])
        slope += ridge[:, None] * np.stack([weight, intercept])
        return total, slope, 2 * (above * p + below * m), runs

    found = np.zeros((2, len(above)))
    total, slope, curve, runs = loss(*found)
    for _ in range(_MOST_STEPS):
        a, b, d = curve[2] + ridge[0], curve[1], curve[0] + ridge[1]
        step = -np.stack([d * slope[0] - b * slope[1], a * slope[1] - b * slope[0]]) / (a * d - b * b)
        # A step is right where the loss is one parabola all the way; else it may go too far.
        length = np.ones(found.shape[1])
        for _ in range(_MOST_HALVINGS):
            new_total, *rest = loss(*(found + length * step))
            too_far = new_total > total * (1 + 1e-12)
            if not too_far.any():
                break
            length[too_far] /= 2
        found = found + length * step
        total, (slope, curve, new_runs) = new_total, rest
        if (length == 1).all() and (new_runs == runs).all():
            break
        runs = new_runs
    return found[0], found[1]

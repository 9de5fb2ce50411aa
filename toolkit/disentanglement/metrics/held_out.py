"""Points to learn from and points to test on, as the arrays that scikit-learn takes."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64

from toolkit.core.devices import draw_integers, draw_permutation, resolve_generator
from toolkit.core.errors import require
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.results import checked_points


@dataclass(frozen=True, repr=False, eq=False)
class Split:
    """Points in two parts.

    Attributes:
        train: columns of the points to learn from.
        train_factors: their factors.
        test: columns of the other points.
        test_factors: their factors.
        columns: of each latent, as a slice.
        seed: for classifiers that draw numbers themselves.
    """

    train: Float64[np.ndarray, "train columns"]
    train_factors: Int64[np.ndarray, "train factors"]
    test: Float64[np.ndarray, "test columns"]
    test_factors: Int64[np.ndarray, "test factors"]
    columns: tuple[slice, ...]
    seed: int

    def standardised(self) -> "Split":
        """Return both parts less the training part's mean, divided by its standard deviation where that is not 0."""
        # In units of the largest number: squares of huge ones would overflow.
        unit = np.abs(self.train).max(0)
        unit[unit == 0] = 1
        train, test = self.train / unit, self.test / unit
        mean, deviation = train.mean(0), train.std(0)
        deviation[np.ptp(train, axis=0) == 0] = 1
        train, test = ((part - mean) / deviation for part in (train, test))
        return Split(train, self.train_factors, test, self.test_factors, self.columns, self.seed)


def split_points(operation: str, codes: PointCodes, test_fraction: float, generator: torch.Generator | None) -> Split:
    """Hold a random part of the points out.

    Args:
        operation: the metric's name, for the errors.
        codes: the points.
        test_fraction: share of the points that are held out, rounded to a whole number of them.
        generator: draws the split; the same one gives the same split.

    Returns:
        Both parts in float64.

    Raises:
        ValueError: no such fraction, nothing left on one side, or a factor of which all points to learn from have one
            value.
        TypeError: no point codes.
    """
    checked_points(operation, codes)
    require(0 < test_fraction < 1, operation, "test_fraction", "between 0 and 1", test_fraction)
    generator = resolve_generator(generator)
    n_test = round(test_fraction * len(codes))
    two_parts = 0 < n_test < len(codes)
    expected = f"enough to learn from and to hold {test_fraction:g} of them out"
    require(two_parts, operation, "points", expected, f"{len(codes)} points")
    order = draw_permutation(len(codes), generator=generator, device="cpu").numpy()
    seed = int(draw_integers(0, 2**31 - 1, (), generator=generator))
    points, factors = codes.points.double().cpu().numpy(), codes.factors.cpu().numpy()
    test, train = order[:n_test], order[n_test:]
    for name, column in zip(codes.factor_names, factors[train].T, strict=True):
        expected = f"at least two values of {name!r} among the {len(train)} points to learn from"
        require(bool(np.ptp(column) > 0), operation, "factors", expected, f"the value {column[0]} only")
    ends = np.cumsum(codes.groups).tolist()
    columns = tuple(slice(end - size, end) for end, size in zip(ends, codes.groups, strict=True))
    return Split(points[train], factors[train], points[test], factors[test], columns, seed)

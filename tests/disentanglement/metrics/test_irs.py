"""IRS against the loop of disentanglement_lib, closed forms and extremes."""

import numpy as np
import pytest
import torch

from tests.disentanglement.metrics.point_sets import aligned, random_codes, random_points, rotated
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.irs import irs


def loop(points, factors, quantile=0.99):
    points = points[:, points.var(0) > 0]
    largest = np.abs(points - points.mean(0)).max(0)
    matrix = np.zeros((points.shape[1], factors.shape[1]))
    for k, factor in enumerate(factors.T):
        values = np.unique(factor)
        for value in values:
            part = points[factor == value]
            matrix[:, k] += np.quantile(np.abs(part - part.mean(0)), quantile, axis=0) / len(values)
    matrix = 1 - matrix / largest[:, None]
    return matrix, np.average(matrix.max(1), weights=largest), largest


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_is_the_loop(quantile, seed):
    points, factors = random_points(n=500, seed=seed)
    factors[:, 1] *= 3  # values that do not occur
    matrix, score, largest = loop(points, factors, quantile)
    found = irs(PointCodes(points, factors), quantile=quantile)
    assert found.robustness.numpy() == pytest.approx(matrix, abs=1e-12)
    assert found.score == pytest.approx(score, abs=1e-12)
    assert found.weights.numpy() == pytest.approx(largest, abs=1e-12)
    assert found.per_latent.numpy() == pytest.approx(matrix.max(1), abs=1e-12)
    assert found.best_factor == tuple(matrix.argmax(1))


def test_constant_latents_are_left_out():
    points, factors = random_points(n=400)
    points[:, 1] = 0.1
    found = irs(PointCodes(points, factors))
    assert found.score == pytest.approx(loop(np.delete(points, 1, 1), factors)[1], abs=1e-12)
    assert (float(found.weights[1]), float(found.per_latent[1])) == (0, 0)
    assert irs(PointCodes(np.full_like(points, 0.1), factors)).score == 0


def test_aligned_codes_have_one_and_rotated_ones_less():
    found = irs(aligned())
    assert found.score == pytest.approx(1, abs=1e-12)
    assert found.best_factor == (0, 1, 2)
    codes = random_codes(n=2000, noise=0.02, n_noise=0)
    assert irs(codes).score > 0.9
    assert irs(rotated(codes)).score < 0.7


def test_a_sum_of_two_factors_moves_as_far_as_the_other_one_does():
    grid = aligned((2, 2))
    found = irs(PointCodes(grid.points.sum(1, keepdim=True), grid.factors), quantile=1.0)
    # 0, 1, 1, 2: at most 1 from the mean, and 1/2 when one factor is held.
    assert found.robustness[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-12)


def test_a_categorical_latent_moves_by_the_distance_of_its_columns():
    points, factors = random_points(n=300, sizes=(3, 4))
    codes = PointCodes(np.concatenate([np.eye(3)[factors[:, 0]], points[:, 1:2]], 1), factors, groups=(3, 1))
    found = irs(codes, quantile=1.0)
    assert found.best_factor == (0, 1)
    assert float(found.robustness[0, 0]) == pytest.approx(1, abs=1e-12)
    one_hot, spread = np.eye(3)[factors[:, 0]], []
    for value in range(4):
        part = one_hot[factors[:, 1] == value]
        spread.append(np.linalg.norm(part - part.mean(0), axis=1).max())
    largest = np.linalg.norm(one_hot - one_hot.mean(0), axis=1).max()
    assert float(found.robustness[0, 1]) == pytest.approx(1 - np.mean(spread) / largest, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-150, 1e6, 1e307])
def test_the_unit_does_not_matter(scale):
    points, factors = random_points(n=200)
    expected = irs(PointCodes(points, factors)).score
    assert irs(PointCodes(points * scale, factors)).score == pytest.approx(expected, abs=1e-12)


def test_single_precision_and_one_latent():
    points, factors = random_points(n=200)
    codes = PointCodes(torch.from_numpy(points[:, :1]).float(), factors)
    assert irs(codes).score == pytest.approx(loop(points[:, :1], factors)[1], abs=1e-6)


def test_bad_arguments():
    points, factors = random_points(n=50)
    with pytest.raises(ValueError, match="quantile"):
        irs(PointCodes(points, factors), quantile=1.5)
    with pytest.raises(ValueError, match="two values"):
        irs(PointCodes(points, np.zeros_like(factors)))

"""Modularity against the formula of disentanglement_lib written as loops."""

import numpy as np
import pytest
import torch

from tests.disentanglement.metrics.point_sets import aligned, random_codes, random_points, rotated
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.histograms import binned_informations
from toolkit.disentanglement.metrics.modularity import modularity, modularity_per_latent


def loop(informations):
    scores = []
    for row in informations:
        best = max(value**2 for value in row)
        if best == 0:
            scores.append(0.0)
            continue
        scores.append(1 - (sum(value**2 for value in row) - best) / (best * (len(row) - 1)))
    return scores


@pytest.mark.parametrize("seed", range(5))
def test_is_the_loop(seed):
    codes = random_codes(n=700, noise=0.6, seed=seed)
    expected = loop(binned_informations(codes).information.tolist())
    found = modularity(codes)
    assert found.per_latent.numpy() == pytest.approx(expected, abs=1e-12)
    assert found.score == pytest.approx(np.mean(expected), abs=1e-12)


def test_templates():
    rows = torch.tensor([[1, 0, 0], [1, 1, 1], [2, 1, 0], [0, 0, 0], [1e-200, 0, 1e-200]], dtype=torch.float64)
    assert modularity_per_latent(rows).tolist() == pytest.approx([1, 0, 1 - 0.25 / 2, 0, 0.5], abs=1e-15)


def test_aligned_codes_have_one_and_rotated_ones_less():
    assert modularity(aligned()).score == pytest.approx(1, abs=1e-12)
    codes = random_codes(n=3000, noise=0.1, n_noise=0)
    assert modularity(codes).score > 0.95
    assert modularity(rotated(codes)).score < 0.85


def test_a_constant_latent_scores_zero():
    points, factors = random_points(n=300)
    points[:, 0] = 2.5
    assert float(modularity(PointCodes(points, factors)).per_latent[0]) == 0


def test_a_single_factor_has_no_rival():
    points, factors = random_points(n=300)
    points[:, 4] = 0
    assert modularity(PointCodes(points, factors[:, :1])).per_latent.tolist() == [1, 1, 1, 1, 0]

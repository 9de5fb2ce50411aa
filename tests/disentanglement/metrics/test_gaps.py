"""MIG and MIG-sup against loops, closed forms and the changes that must or must not move them."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from tests.disentanglement.metrics.point_sets import SIZES, aligned, random_codes, random_points, rotated
from toolkit.disentanglement.codes import PointCodes, synthetic_codes
from toolkit.disentanglement.metrics.gaps import mutual_information_gap, mutual_information_gap_sup


def loop_matrix(points, factors):
    bins = [np.digitize(z, np.histogram(z, 20)[1][:-1]) for z in points.T]
    informations = np.array([[mutual_info_score(factor, z) for factor in factors.T] for z in bins])
    return informations / [mutual_info_score(factor, factor) for factor in factors.T]


@pytest.mark.parametrize("seed", range(5))
def test_both_gaps_are_those_of_the_loop(seed):
    points, factors = random_points(n=1500, noise=0.5, seed=seed)
    share = loop_matrix(points, factors)
    columns, rows = np.sort(share, axis=0), np.sort(share, axis=1)
    gap = mutual_information_gap(PointCodes(points, factors))
    assert gap.per_factor.numpy() == pytest.approx(columns[-1] - columns[-2], abs=1e-12)
    assert gap.score == pytest.approx((columns[-1] - columns[-2]).mean(), abs=1e-12)
    assert gap.information.numpy() == pytest.approx(share, abs=1e-12)
    assert gap.best_latent == tuple(share.argmax(0))
    sup = mutual_information_gap_sup(PointCodes(points, factors))
    assert sup.per_latent.numpy() == pytest.approx(rows[:, -1] - rows[:, -2], abs=1e-12)
    assert sup.score == pytest.approx((rows[:, -1] - rows[:, -2]).mean(), abs=1e-12)
    assert sup.best_factor == tuple(share.argmax(1))


def test_aligned_codes_have_both_gaps_one():
    assert mutual_information_gap(aligned()).score == pytest.approx(1, abs=1e-12)
    assert mutual_information_gap_sup(aligned()).score == pytest.approx(1, abs=1e-12)


def test_the_two_gaps_see_different_faults():
    grid = aligned((4, 4, 4))
    z = grid.points
    twice = PointCodes(torch.cat([z, z], 1), grid.factors)
    assert mutual_information_gap(twice).score == pytest.approx(0, abs=1e-12)
    assert mutual_information_gap_sup(twice).score == pytest.approx(1, abs=1e-12)
    # One latent that holds two factors: each is in one latent only, but the latent is about both.
    mixed = PointCodes(torch.stack([4 * z[:, 0] + z[:, 1], z[:, 2]], 1), grid.factors)
    assert mutual_information_gap(mixed).score == pytest.approx(1, abs=1e-12)
    sup = mutual_information_gap_sup(mixed)
    assert sup.per_latent.tolist() == pytest.approx([0, 1], abs=1e-12)


@pytest.mark.parametrize("gap", [mutual_information_gap, mutual_information_gap_sup])
def test_rotation_breaks_the_gap(gap):
    codes = random_codes(n=3000, noise=0.1, n_noise=0)
    assert gap(codes).score > 0.6
    assert gap(rotated(codes)).score < 0.3


@pytest.mark.parametrize("gap", [mutual_information_gap, mutual_information_gap_sup])
def test_order_unit_and_a_constant_latent_change_nothing(gap):
    points, factors = random_points(n=800)
    score = gap(PointCodes(points, factors)).score
    order = np.random.default_rng(0).permutation(5)
    assert gap(PointCodes(points[:, order], factors)).score == pytest.approx(score, abs=1e-12)
    assert gap(PointCodes(points, factors[:, [2, 0, 1]])).score == pytest.approx(score, abs=1e-12)
    rows = np.random.default_rng(1).permutation(800)
    assert gap(PointCodes(points[rows], factors[rows])).score == pytest.approx(score, abs=1e-12)
    # Powers of two round nothing, so that no edge moves.
    assert gap(PointCodes(points * [2.0**20, 2, 1, 4, 2.0**10], factors)).score == pytest.approx(score, abs=1e-12)
    constant = np.concatenate([points, np.full((800, 1), 7.0)], 1)
    assert gap(PointCodes(constant, factors)).score == pytest.approx(score, abs=1e-12)


def test_a_single_latent_stands_beside_nothing():
    points, factors = random_points(n=500)
    alone = mutual_information_gap(PointCodes(points[:, :1], factors))
    beside = mutual_information_gap(PointCodes(np.concatenate([points[:, :1], np.zeros((500, 1))], 1), factors))
    assert alone.per_factor.tolist() == beside.per_factor.tolist() == alone.information[0].tolist()


def test_a_single_factor_stands_beside_nothing():
    points, factors = random_points(n=500)
    sup = mutual_information_gap_sup(PointCodes(points, factors[:, :1]))
    assert sup.per_latent.tolist() == sup.information[:, 0].tolist()


def test_latents_that_hardly_vary_may_be_left_out():
    points, factors = random_points(n=500)
    points[:, 4] *= 0.01
    every = mutual_information_gap_sup(PointCodes(points, factors))
    assert every.score == pytest.approx(float(every.per_latent.mean()), abs=1e-15)
    found = mutual_information_gap_sup(PointCodes(points, factors), least_variance=0.01)
    assert found.counted.tolist() == [True, True, True, True, False]
    assert found.score == pytest.approx(float(found.per_latent[:4].mean()), abs=1e-15)
    assert mutual_information_gap_sup(PointCodes(points * 1e-3, factors), least_variance=0.01).score == 0
    assert mutual_information_gap_sup(PointCodes(np.ones_like(points), factors)).score == 0
    with pytest.raises(ValueError, match="least_variance"):
        mutual_information_gap_sup(PointCodes(points, factors), least_variance=-1.0)


@pytest.mark.parametrize("gap", [mutual_information_gap, mutual_information_gap_sup])
@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**-60, 2.0**1000])
def test_no_unit_is_too_small_or_too_large(gap, unit):
    points, factors = random_points(n=300)
    expected = gap(PointCodes(points, factors)).score
    assert gap(PointCodes(points * unit, factors)).score == pytest.approx(expected, abs=1e-12)


def test_samples_of_gaussian_codes_come_near_the_information_of_a_clean_channel():
    # I(index; index + noise) by quadrature for four standardised levels and standard deviation 0.3, in shares of log 4.
    levels = (np.arange(4) - 1.5) / np.sqrt(1.25)
    z = np.linspace(-4, 4, 20001)
    density = np.exp(-((z[:, None] - levels) ** 2) / 0.18).sum(1) / 4 / np.sqrt(0.18 * np.pi)
    exact = (
        -np.trapezoid(np.where(density > 0, density * np.log(np.maximum(density, 1e-300)), 0), z)
        - 0.5 * np.log(2 * np.pi * np.e * 0.09)
    ) / np.log(4)
    codes = synthetic_codes((4, 4, 4), n_noise=1).sample(20_000, generator=torch.Generator().manual_seed(0))
    assert mutual_information_gap(codes, n_bins=60).score == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("gap", [mutual_information_gap, mutual_information_gap_sup])
def test_result_says_what_it_was_computed_with(gap):
    found = gap(random_codes(), n_bins=8, binning="equal_frequency")
    assert repr(found).startswith(f"{type(found).__name__}(score={found.score:.4f}; n_bins=8, binning=")
    written = json.loads(json.dumps(found.to_dict()))
    assert written["score"] == found.score
    assert written["options"]["n_bins"] == 8
    assert "arXiv" in written["source"]
    assert len(written["factor_names"]) == len(SIZES)
    with pytest.raises(AttributeError):
        found.score = 1.0


@pytest.mark.parametrize("gap", [mutual_information_gap, mutual_information_gap_sup])
def test_what_cannot_be_scored(gap):
    points, factors = random_points(n=50)
    with pytest.raises(ValueError, match="NaN"):
        gap(PointCodes(np.where(points > 1, np.nan, points), factors))
    with pytest.raises(ValueError, match="two values of 'factor 1'"):
        gap(PointCodes(points, factors * [0, 1, 1]))
    with pytest.raises(TypeError):
        gap(synthetic_codes((2, 2)))

"""A part of a grid: the exact scores against their definition, which scores survive, and the smaller complete grids."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from tests.explorers.inside import words_outside
from toolkit.disentanglement import synthetic_codes
from toolkit.explorers import explore_part_of_the_grid
from toolkit.explorers.part_of_the_grid import (
    DEVIATIONS,
    FACTOR_SIZES,
    N_IMAGES,
    NUMBERS,
    compute,
    curves,
    describe,
    draw,
    exact_score,
    fewer_values,
    score,
    some_images,
)


def grid(deviation=0.3, sizes=FACTOR_SIZES):
    return synthetic_codes(sizes, standard_deviation=deviation, dtype=torch.float64, device="cpu")


def share_by_integration(levels, deviation):
    """I(v; m_v + noise) / log n, one integral a level."""
    n = len(levels)

    def density(z):
        return sum(norm.pdf(z, m, deviation) for m in levels) / n

    surprise = 0.0
    for m in levels:
        surprise += quad(
            lambda z, m=m: norm.pdf(z, m, deviation) * math.log(norm.pdf(z, m, deviation) / density(z)),
            m - 8 * deviation,
            m + 8 * deviation,
            limit=200,
        )[0]
    return surprise / n / math.log(n)


@pytest.mark.parametrize(("deviation", "n_images"), [(0.3, N_IMAGES), (0.6, 128)])
def test_exact_scores_are_the_integrals(deviation, n_images):
    codes = fewer_values(grid(deviation), n_images)
    shares = []
    for k, size in enumerate(codes.factor_sizes):
        full = np.arange(FACTOR_SIZES[k])
        levels = ((full - full.mean()) / full.std())[:: FACTOR_SIZES[k] // size]
        shares.append(share_by_integration(levels.tolist(), deviation))
    assert exact_score(codes) == pytest.approx(np.mean(shares), abs=1e-8)


@pytest.mark.parametrize("n_images", NUMBERS)
def test_smaller_grids_are_complete_parts_of_the_grid(n_images):
    codes, small = grid(), fewer_values(grid(), n_images)
    assert small.n_images == math.prod(small.factor_sizes) == n_images and small.complete
    every = {tuple(row) for row in codes.mean.tolist()}
    assert {tuple(row) for row in small.mean.tolist()} <= every
    of_values = set(itertools.product(*(range(size) for size in small.factor_sizes)))
    assert set(map(tuple, small.factors.tolist())) == of_values
    for k in range(len(FACTOR_SIZES)):
        for value in range(small.factor_sizes[k]):
            assert len(small.mean[small.factors[:, k] == value, k].unique()) == 1


@pytest.mark.parametrize(("sizes", "n_images"), [((3, 3), 3), (FACTOR_SIZES, 100), (FACTOR_SIZES, 0)])
def test_grids_that_halving_does_not_reach(sizes, n_images):
    with pytest.raises(ValueError, match="halving"):
        fewer_values(grid(sizes=sizes), n_images)


def test_some_images_are_other_images_and_keep_their_factors():
    codes = grid()
    one, same, other = some_images(codes, 100), some_images(codes, 100, 0), some_images(codes, 100, 1)
    assert one.n_images == 100 and one.factor_sizes == FACTOR_SIZES and not one.complete
    assert torch.equal(one.factors, same.factors) and not torch.equal(one.factors, other.factors)
    assert len(one.factors.unique(dim=0)) == 100
    assert torch.equal(some_images(codes, N_IMAGES).factors, codes.factors)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_subset_destroys_unibound_and_hardly_moves_mig(seed):
    found = score(some_images(grid(), 256, seed), exact_score(grid()))
    assert abs(found.mig - found.exact) < 0.03
    assert found.unibound < 0.5 * found.exact and found.parts["redundant"][0] > 0.25
    assert found.parts["complementary"][0] > 0.03 and found.information > found.exact + 0.08


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_smaller_complete_grids_give_the_exact_scores(deviation):
    for kept in curves(deviation)["values"]:
        assert kept.unibound == pytest.approx(kept.exact, abs=0.03) and kept.mig == pytest.approx(kept.exact, abs=0.03)
        assert kept.parts["redundant"][1] < 1e-6 and kept.parts["complementary"][1] < 1e-6
    assert set(curves(deviation)) == {"images", "values"}
    falling = [kept.unibound for kept in curves(deviation)["images"]]
    assert falling == sorted(falling) and falling[0] < 0.1
    assert curves(deviation)["images"][-1] is curves(deviation)["values"][-1]


def test_scores_agree_with_the_weights_added_up_by_hand():
    """Of 12 images: the informations of the same draws, by a loop over draws and images in NumPy."""
    codes = some_images(grid(0.6, (2, 2, 4)), 12)
    found = score(codes, 0.0, n_samples=40, seed=3)
    generator = torch.Generator().manual_seed(3)
    images = codes.draw_images(40, generator=generator)
    z = codes.draw_latents(images, generator=generator)[0].numpy()
    mean, deviation, factors = codes.mean.numpy(), codes.standard_deviation.numpy(), codes.factors.numpy()
    alone = [[latent] for latent in range(4)]
    others = [[other for other in range(4) if other != latent] for latent in range(4)]
    known = np.zeros((8, 3))
    gaps, unique = [], []
    for k, size in enumerate(codes.factor_sizes):
        prior = np.bincount(factors[:, k], minlength=size) / 12
        entropy = -(prior[prior > 0] * np.log(prior[prior > 0])).sum()
        for row, sources in enumerate(alone + others):
            total = 0.0
            for draw_of in z:
                weight = norm.pdf(draw_of[sources], mean[:, sources], deviation[:, sources]).prod(1)
                posterior = np.array([weight[factors[:, k] == v].sum() for v in range(size)]) / weight.sum()
                total += entropy + (posterior[posterior > 0] * np.log(posterior[posterior > 0])).sum()
            known[row, k] = max(total / 40, 0) / entropy
        second, best = np.sort(known[:4, k])[-2:]
        gaps.append(best - second)
        unique.append(np.maximum(known[:4, k] - known[4:, k], 0).max())
    assert found.unibound == pytest.approx(np.mean(unique), abs=1e-9)
    assert found.mig == pytest.approx(np.mean(gaps), abs=1e-9)


def test_the_first_state_makes_the_point():
    view = explore_part_of_the_grid()
    picture = view.drawn.svg.to_string()
    assert "256 of 2,048 images UniBound comes out as 0.33; it is 0.77" in picture
    assert "256 images, factors 4×4×4×2×2" in picture
    assert "exact UniBound and MIG 0.767" in view.text and "exact 0.888" in view.text


def test_the_whole_grid_leaves_nothing_out():
    found = compute(N_IMAGES, 0.3)
    assert "Nothing is left out" in describe(found) and "All 2,048 images" in draw(found).to_string()
    assert found.to_dict()["curves"]["images"][0]["n_images"] == NUMBERS[0]
    assert "2048 images" in repr(found)


def test_every_setting_draws_inside_its_frame():
    view = explore_part_of_the_grid()
    halvings = view.controls["halvings"]
    for deviation in DEVIATIONS:
        view.controls["deviation"].value = deviation
        for value in range(halvings.min, halvings.max + 1):
            halvings.value = value
            assert view.error is None and view.result.n_images == N_IMAGES >> value
            picture = view.drawn.svg
            assert not words_outside(picture) and "…" not in picture.to_string() and "nan" not in picture.to_string()
    view.reset()
    assert view.result.n_images == 256 and view.result.deviation == 0.3


@pytest.mark.parametrize("values", [(100, 0.3), (256, 0.2), (4096, 0.3)])
def test_out_of_range(values):
    with pytest.raises(ValueError, match="compute"):
        compute(*values)

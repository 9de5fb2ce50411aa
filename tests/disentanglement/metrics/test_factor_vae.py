"""The FactorVAE metric against a loop over votes, codes whose score is known, and inputs at the edge."""

import json
import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement.codes import GaussianCodes, PointCodes, synthetic_codes
from toolkit.disentanglement.metrics.factor_vae import FACTOR_VAE_VARIANTS, FactorVAEVariant, factor_vae_score
from toolkit.disentanglement.metrics.shared_values import ImageCodes, SharedValues

MEANS = FactorVAEVariant("means", 10, 1500, 1500, 10_000, 0.0, False)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rotated(angle=0.7):
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return synthetic_codes((5, 5), n_noise=0, rotation=turn)


def loop_score(codes, size, n_train, n_test, seed):
    """The metric of means by a plain loop, groups drawn with replacement, after disentanglement_lib's definition."""
    draw = np.random.default_rng(seed)
    mean, factors = codes.mean.double().numpy(), codes.factors.numpy()
    overall = mean.var(0, ddof=1)
    table = np.zeros((mean.shape[1], factors.shape[1]), dtype=int)
    right = 0
    for vote in range(n_train + n_test):
        factor = draw.integers(factors.shape[1])
        members = np.flatnonzero(factors[:, factor] == draw.integers(codes.factor_sizes[factor]))
        group = mean[draw.choice(members, size)]
        latent = np.argmin(group.var(0, ddof=1) / overall)
        if vote < n_train:
            table[latent, factor] += 1
        else:
            right += table[latent].argmax() == factor
    return right / n_test


@pytest.mark.parametrize("variant", ["authors", "library"])
def test_perfect_codes_score_one_and_the_table_names_the_factors(variant):
    found = factor_vae_score(synthetic_codes((4, 5, 6)), variant=variant, generator=generator())
    assert found.score == 1.0
    assert found.train_score == 1.0
    assert found.chance == pytest.approx(1 / 3)
    assert found.majority[:3].tolist() == [0, 1, 2]
    assert found.votes.sum() == FACTOR_VAE_VARIANTS[variant].n_train
    # The latent of noise has the mean 0 for every image: not active as means, active as samples.
    assert found.active.tolist() == [True, True, True, variant == "authors"]
    json.dumps(found.to_dict())


def test_noise_scores_at_chance():
    factors = synthetic_codes((4, 4, 4, 4)).factors
    noise = GaussianCodes(torch.zeros(256, 3), torch.ones(256, 3), factors)
    variant = FactorVAEVariant("samples", 20, 3000, 3000, 10_000, 0.0, True)
    found = factor_vae_score(noise, variant=variant, generator=generator(1))
    assert abs(found.score - 0.25) < 4 * (0.25 * 0.75 / 3000) ** 0.5


@pytest.mark.parametrize(
    "codes", [rotated(), rotated(0.3), synthetic_codes((3, 4, 5), n_noise=0).to(dtype=torch.float64)]
)
def test_means_score_as_a_plain_loop_over_votes_does(codes):
    ours = [factor_vae_score(codes, variant=MEANS, generator=generator(seed)).score for seed in range(4)]
    loops = [loop_score(codes, 10, 1500, 1500, seed) for seed in range(3)]
    assert abs(np.mean(ours) - np.mean(loops)) < 0.03


def test_each_vote_is_the_least_relative_variance_of_its_group():
    codes = synthetic_codes((3, 4), n_noise=2).sample(500, generator=generator())
    shared, images = SharedValues.of(codes, "test"), ImageCodes(codes, "samples", "test")
    factor = torch.tensor([0, 1] * 50)
    groups = shared.draw_groups(factor, 30, True, generator(1))
    assert groups.shape == (100, 30)
    points = codes.points.double().numpy()
    for row, which in zip(groups.tolist(), factor.tolist(), strict=True):
        assert len(set(row)) == 30
        assert len(set(codes.factors[row, which].tolist())) == 1
        found = images.variance(images.take(torch.tensor([row]), generator()), 1)[0]
        assert np.allclose(found, points[row].var(0, ddof=1), rtol=1e-4)


def test_distinct_groups_are_uniform_subsets():
    codes = PointCodes(torch.arange(12.0)[:, None], torch.tensor([[0]] * 6 + [[1]] * 6))
    shared = SharedValues.of(codes, "test")
    groups = shared.draw_groups(torch.zeros(40_000, dtype=torch.int64), 3, True, generator()).sort(1).values
    first = groups[groups[:, 0] < 6]
    seen, counts = np.unique(first.numpy(), axis=0, return_counts=True)
    assert len(seen) == math.comb(6, 3)
    assert np.abs(counts - len(first) / 20).max() < 5 * (len(first) / 20) ** 0.5


def test_a_value_with_fewer_images_than_a_group_is_drawn_with_replacement():
    codes = PointCodes(torch.arange(10.0)[:, None], torch.tensor([[0]] * 3 + [[1]] * 7))
    groups = SharedValues.of(codes, "test").draw_groups(torch.zeros(500, dtype=torch.int64), 5, True, generator())
    few, many = groups[groups[:, 0] < 3], groups[groups[:, 0] >= 3]
    assert few.max() == 2
    assert len(few) > 150
    assert all(len(set(row)) == 5 for row in many.tolist())
    assert len(np.unique(few.numpy(), axis=0)) > 100


def test_a_value_of_one_image_is_never_drawn():
    codes = PointCodes(torch.arange(5.0)[:, None], torch.tensor([[0], [1], [1], [2], [2]]))
    groups = SharedValues.of(codes, "test").draw_groups(torch.zeros(300, dtype=torch.int64), 2, True, generator())
    assert sorted(set(groups.flatten().tolist())) == [1, 2, 3, 4]


def test_a_categorical_latent_has_ginis_variance():
    categories = torch.tensor([0, 0, 1, 2, 2, 2, 1, 0, 0, 0])
    one_hot = torch.nn.functional.one_hot(categories, 3).float()
    codes = PointCodes(
        torch.cat([torch.arange(10.0)[:, None], one_hot], 1), torch.tensor([[0]] * 5 + [[1]] * 5), groups=(1, 3)
    )
    images = ImageCodes(codes, "samples", "test")
    unequal = np.mean([categories[i] != categories[j] for i in range(10) for j in range(10) if i != j])
    found = images.variance(images.take(torch.arange(10), generator()), 0)
    assert found[1] == pytest.approx(unequal / 2, rel=1e-5)
    assert found[0] == pytest.approx(np.arange(10).var(ddof=1), rel=1e-5)


def test_a_categorical_latent_votes():
    codes = synthetic_codes((3, 8), n_noise=0)
    exact = torch.nn.functional.one_hot(codes.factors[:, 0], 3).float().clamp_min(1e-6)
    log_prob = (exact / exact.sum(1, keepdim=True)).log()
    both = GaussianCodes(
        codes.mean[:, 1:], codes.standard_deviation[:, 1:], codes.factors, categorical_log_prob=(log_prob,)
    )
    for variant in ("authors", "library"):
        found = factor_vae_score(both, variant=variant, generator=generator())
        assert found.score == 1.0
        assert found.majority.tolist() == [1, 0]


def test_constant_latents_are_left_out():
    codes = synthetic_codes((4, 4), n_noise=0).sample(400, generator=generator())
    points = torch.cat([torch.full((400, 1), 0.1), codes.points], 1)
    found = factor_vae_score(PointCodes(points, codes.factors), generator=generator())
    assert found.active.tolist() == [False, True, True]
    assert found.votes[0].sum() == 0
    assert found.score == 1.0


def test_codes_that_are_all_constant_are_at_chance():
    codes = PointCodes(torch.full((64, 2), 0.1, dtype=torch.float64), synthetic_codes((4, 4, 4)).factors)
    found = factor_vae_score(codes, variant=MEANS, generator=generator())
    assert not found.active.any()
    assert abs(found.score - 1 / 3) < 0.05


@pytest.mark.parametrize("scale", [1e-30, 1e6, 1e30])
def test_the_unit_of_a_latent_does_not_matter(scale):
    points = synthetic_codes((4, 4)).sample(400, generator=generator())
    plain = factor_vae_score(points, generator=generator(2))
    unit = torch.tensor([scale, 1, 1], dtype=torch.float64)
    scaled = PointCodes(points.points.double() * unit + 3 * unit, points.factors)
    found = factor_vae_score(scaled, generator=generator(2))
    assert torch.equal(found.votes, plain.votes)
    assert found.score == plain.score


def test_gaussian_codes_of_any_unit_are_sampled():
    codes = synthetic_codes((4, 4))
    plain = factor_vae_score(codes, generator=generator(2))
    unit = torch.tensor([1e-30, 1e30, 1.0], dtype=torch.float64)
    scaled = GaussianCodes(codes.mean * unit, codes.standard_deviation * unit, codes.factors)
    assert torch.equal(factor_vae_score(scaled, generator=generator(2)).votes, plain.votes)


def test_latents_below_the_least_deviation_are_left_out():
    codes = synthetic_codes((4, 4), n_noise=0)
    scaled = PointCodes(codes.mean.double() * torch.tensor([0.04, 1.0]), codes.factors)
    assert factor_vae_score(scaled, variant="library", generator=generator()).active.tolist() == [False, True]
    assert factor_vae_score(scaled, variant="authors", generator=generator()).active.tolist() == [True, True]


def test_a_factor_of_one_value_takes_no_part():
    found = factor_vae_score(synthetic_codes((4, 1, 4), n_noise=0), variant=MEANS, generator=generator())
    assert found.score == 1.0
    assert found.chance == 0.5
    assert found.per_factor.isnan().tolist() == [False, True, False]


def test_the_same_generator_gives_the_same_votes():
    codes = rotated()
    one, other = (factor_vae_score(codes, generator=generator(5)) for _ in range(2))
    assert torch.equal(one.votes, other.votes)
    assert one.score == other.score


def test_bad_arguments_are_named():
    codes = synthetic_codes((3, 4))
    with pytest.raises(ValueError, match=r"'authors', 'library'"):
        factor_vae_score(codes, variant="paper")
    with pytest.raises(ValueError, match="two or more"):
        factor_vae_score(codes, variant=FactorVAEVariant("samples", 1, 10, 10, 100, 0.0, True))
    with pytest.raises(ValueError, match="one test vote"):
        factor_vae_score(codes, variant=FactorVAEVariant("samples", 5, 10, 0, 100, 0.0, True))
    with pytest.raises(ValueError, match="two values or more"):
        factor_vae_score(PointCodes(torch.rand(5, 2), torch.zeros(5, 1, dtype=torch.int64)))
    with pytest.raises(ValueError, match=r"'hue' that two images share"):
        factor_vae_score(PointCodes(torch.rand(5, 2), torch.arange(5)[:, None], factor_names=("hue",)))

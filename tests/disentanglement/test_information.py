"""Informations of codes against loops in double precision, quadrature, enumeration and invariances."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from toolkit.disentanglement import GaussianCodes, informations, profile, synthetic_codes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_codes(sizes=(2, 3, 4), n_latents=3, seed=0, spread=(0.2, 1.0), categories=()):
    random = np.random.default_rng(seed)
    factors = np.stack([part.ravel() for part in np.meshgrid(*map(np.arange, sizes), indexing="ij")], axis=1)
    mean = random.normal(size=(len(factors), n_latents))
    deviation = random.uniform(*spread, size=mean.shape)
    log_prob = tuple(np.log(random.dirichlet(np.ones(size), len(factors))) for size in categories)
    return GaussianCodes(mean, deviation, factors, sizes, log_prob)


def in_a_loop(codes, n_samples, seed):
    """I(y_k; z_S) with the draws of ``informations``, one draw, one set and one factor at a time."""
    random = generator(seed)
    images = codes.draw_images(n_samples, generator=random)
    real, categories = codes.draw_latents(images, generator=random)
    n = codes.n_latents
    sets = [[latent] for latent in range(n)] + [[m for m in range(n) if m != latent] for latent in range(n)]
    result = np.zeros((2 * n + 1, len(codes.factor_sizes)))
    for row, members in enumerate([*sets, list(range(n))]):
        for draw in range(n_samples):
            log_q = np.zeros(codes.n_images)
            for latent in members:
                if latent < codes.n_real:
                    log_q += stats.norm.logpdf(
                        float(real[draw, latent]), codes.mean[:, latent], codes.standard_deviation[:, latent]
                    )
                else:
                    index = latent - codes.n_real
                    log_q += codes.categorical_log_prob[index][:, categories[draw, index]].numpy()
            weights = special.softmax(log_q)
            for k, size in enumerate(codes.factor_sizes):
                posterior = np.bincount(codes.factors[:, k], weights, size)
                result[row, k] += (math.log(size) - stats.entropy(posterior)) / n_samples
    return result[:n], result[n : 2 * n], result[2 * n]


@pytest.mark.parametrize("categories", [(), (3,), (2, 4)])
@pytest.mark.parametrize("chunk_size", [None, 7])
def test_against_a_loop_in_double_precision(categories, chunk_size):
    codes = random_codes(categories=categories)
    found = informations(codes, n_samples=40, generator=generator(5), chunk_size=chunk_size, dtype=torch.float64)
    single, without, joint = in_a_loop(codes, 40, 5)
    np.testing.assert_allclose(found.single, single, atol=1e-12)
    np.testing.assert_allclose(found.without, without, atol=1e-12)
    np.testing.assert_allclose(found.joint, joint, atol=1e-12)
    single_precision = informations(codes, n_samples=40, generator=generator(5))
    np.testing.assert_allclose(single_precision.without, without, atol=2e-6)


def test_images_in_another_order_are_summed_by_their_factors():
    codes = random_codes()
    order = torch.randperm(codes.n_images, generator=generator())
    shuffled = GaussianCodes(codes.mean[order], codes.standard_deviation[order], codes.factors[order], (2, 3, 4))
    _, without, joint = in_a_loop(shuffled, 20, 1)
    found = informations(shuffled, n_samples=20, generator=generator(1), dtype=torch.float64)
    np.testing.assert_allclose(found.without, without, atol=1e-12)
    np.testing.assert_allclose(found.joint, joint, atol=1e-12)


def quadrature(n_levels, deviation):
    levels = np.arange(n_levels)
    levels = (levels - levels.mean()) / levels.std()

    def minus_p_log_p(value):
        density = stats.norm.pdf(value, levels, deviation).mean()
        return -special.xlogy(density, density)

    limits = levels[0] - 12 * deviation, levels[-1] + 12 * deviation
    entropy = integrate.quad(minus_p_log_p, *limits, limit=2000, points=levels, epsabs=1e-11)[0]
    return entropy - 0.5 * math.log(2 * math.pi * math.e * deviation**2)


def test_a_perfect_encoder_against_quadrature():
    sizes = (3, 4, 6)
    found = informations(synthetic_codes(sizes), n_samples=4000, generator=generator())
    for k, size in enumerate(sizes):
        error = float(found.standard_error[0, k, k])
        # Draws are taken without replacement, so the true error is smaller than the standard error says.
        assert abs(float(found.single[k, k]) - quadrature(size, 0.3)) < 3 * error
        assert float(found.joint[k] - found.single[k, k]) == pytest.approx(0, abs=1e-6)
        others = [latent for latent in range(4) if latent != k]
        assert float(found.single[others, k].abs().max()) < 1e-6
        assert float(found.without[k, k]) == pytest.approx(0, abs=1e-6)
    assert found.total_correlation == pytest.approx(0, abs=1e-4)


def test_total_correlation_of_two_copies_is_their_information():
    # z2 sees the same index as z1: TC = I(z1; z2) = H(z1) + H(z2) − H(z1, z2), here close to log 5.
    codes = synthetic_codes((5,), standard_deviation=0.02, n_noise=0, dtype=torch.float64)
    twice = GaussianCodes(codes.mean.repeat(1, 2), codes.standard_deviation.repeat(1, 2), codes.factors)
    assert informations(twice, n_samples=500, generator=generator()).total_correlation == pytest.approx(
        math.log(5), abs=1e-6
    )


def test_a_category_that_names_the_factor_knows_it():
    log_prob = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]], dtype=torch.float64)
    codes = GaussianCodes(torch.zeros(2, 1), torch.ones(2, 1), torch.tensor([[0], [1]]), (2,), (log_prob,))
    found = informations(codes, n_samples=10, generator=generator())
    torch.testing.assert_close(found.single[:, 0], torch.tensor([0.0, math.log(2)], dtype=torch.float64))
    assert profile(found).unibound == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_an_invertible_map_of_one_latent_changes_nothing(scale, offset):
    codes = random_codes()
    factor = torch.tensor([1.0, scale, -1.0], dtype=torch.float64)
    moved = GaussianCodes(
        codes.mean * factor + offset, codes.standard_deviation * factor.abs(), codes.factors, codes.factor_sizes
    )
    a, b = (informations(each, n_samples=300, generator=generator()) for each in (codes, moved))
    assert float((a.single[:2] - b.single[:2]).abs().max()) < 1e-3
    # The third latent is mirrored, and so are its draws: equal in distribution only.
    assert float((a.joint - b.joint).abs().max()) < 4 * float(a.standard_error.max())


def test_permuted_latents_and_a_latent_of_noise():
    codes = random_codes()
    noise = torch.ones(codes.n_images, 1, dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    many = {"n_samples": 3000, "generator": generator()}
    plain = informations(codes, **many)
    turned = informations(
        GaussianCodes(codes.mean[:, order], codes.standard_deviation[:, order], codes.factors), **many
    )
    with_noise = informations(
        GaussianCodes(torch.cat([codes.mean, 0 * noise], 1), torch.cat([codes.standard_deviation, noise], 1),
                      codes.factors), **many
    )  # fmt: skip
    tolerance = 4 * float(plain.standard_error.max())
    assert float((plain.single[order] - turned.single).abs().max()) < tolerance
    assert float((plain.without[order] - turned.without).abs().max()) < tolerance
    assert float((plain.without - with_noise.without[:3]).abs().max()) < tolerance
    assert float(with_noise.single[3].abs().max()) < 1e-6
    assert abs(profile(plain).unibound - profile(with_noise).unibound) < tolerance


def test_a_rotation_hides_the_factors_from_single_latents():
    sine, cosine = math.sin(math.pi / 4), math.cos(math.pi / 4)
    turn = torch.tensor([[cosine, -sine], [sine, cosine]])
    many = {"n_samples": 1500, "generator": generator()}
    straight = informations(synthetic_codes((6, 6), n_noise=0), **many)
    turned = informations(synthetic_codes((6, 6), n_noise=0, rotation=turn), **many)
    assert float((straight.joint - turned.joint).abs().max()) < 0.05
    assert profile(straight).unibound > 0.5 and profile(turned).unibound < 0.1
    assert float(profile(turned).mean("complementary").lower) > 0.25


def test_narrow_posteriors_do_not_drown_wide_ones():
    # The first latent's log densities reach −1e12; the second one's must keep their digits beside them.
    wide = random_codes((4, 4), n_latents=1, spread=(0.5, 0.6))
    mean = torch.cat([wide.factors[:, :1].double(), wide.mean], 1)
    deviation = torch.cat([torch.full_like(wide.mean, 1e-6), wide.standard_deviation], 1)
    codes = GaussianCodes(mean, deviation, wide.factors)
    for dtype in (None, torch.float32):
        found = informations(codes, n_samples=400, generator=generator(), dtype=dtype)
        assert float(found.single[0, 0]) == pytest.approx(math.log(4), abs=1e-6)
        torch.testing.assert_close(found.without[0], found.single[1])
        alone = informations(wide, n_samples=4000, generator=generator(1))
        assert float((found.single[1] - alone.single[0]).abs().max()) < 4 * float(found.standard_error.max())


def test_extremes():
    one_latent = informations(random_codes(n_latents=1), n_samples=50, generator=generator())
    assert (one_latent.without == 0).all() and torch.equal(one_latent.single[0], one_latent.joint)
    one_image = informations(
        GaussianCodes(torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(1, 1, dtype=torch.int64)), n_samples=5
    )
    assert (one_image.entropy == 0).all() and (one_image.joint == 0).all()
    constant = informations(
        GaussianCodes(torch.zeros(6, 2), torch.full((6, 2), 1e-30), random_codes((2, 3)).factors), n_samples=20
    )
    assert float(constant.joint.abs().max()) < 1e-6
    assert informations(random_codes(), n_samples=1, generator=generator()).standard_error.isnan().all()


def test_a_part_of_a_grid_is_refused_with_the_reason():
    codes = random_codes()
    part = GaussianCodes(codes.mean[1:], codes.standard_deviation[1:], codes.factors[1:], codes.factor_sizes)
    with pytest.raises(ValueError, match="Keep fewer values of the factors instead"):
        informations(part)
    allowed = informations(part, n_samples=20, incomplete="allow")
    assert float(allowed.entropy[0]) == pytest.approx(stats.entropy([11 / 23, 12 / 23]))
    for wrong in ({"n_samples": 0}, {"incomplete": "maybe"}, {"chunk_size": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            informations(codes, **wrong)
    with pytest.raises(TypeError, match="n_samples"):
        informations(codes, n_samples=1.5)


def test_what_is_kept():
    codes = random_codes(categories=(3,))
    found = informations(codes, n_samples=30, generator=generator())
    assert found.posteriors.shape == (9, 30, 9) and found.rows.shape == (3, 4)
    for columns in found.posteriors.split([2, 3, 4], dim=2):
        torch.testing.assert_close(columns.sum(2), torch.ones(9, 30, dtype=torch.float64))
    assert np.allclose(found.to_dict()["single"], found.single) and "4 latents" in repr(found)
    assert (found.single >= 0).all() and (found.joint <= found.entropy).all()

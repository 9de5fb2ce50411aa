"""Attacks against Gaussians with a full covariance matrix, quadrature, and what must not depend on the attack."""

import inspect
import math

import numpy as np
import pytest
import torch
from scipy import integrate, linalg, special, stats

from toolkit.disentanglement import GaussianCodes, informations, profile, synthetic_codes
from toolkit.disentanglement.attacks import MaskedCopy, Mixing, NoisedCopy, Redundancy, Synergy
from toolkit.disentanglement.entangled_codes import EntangledCodes
from toolkit.disentanglement.sources import Draws


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def orthogonal(n, seed=0):
    return torch.from_numpy(stats.ortho_group.rvs(n, random_state=seed) if n > 1 else -np.ones((1, 1)))


def random_codes(sizes=(2, 3, 2), n_real=3, categories=(), seed=0, spread=(0.2, 1.0)):
    random = np.random.default_rng(seed)
    factors = np.stack([part.ravel() for part in np.meshgrid(*map(np.arange, sizes), indexing="ij")], axis=1)
    mean = random.normal(size=(len(factors), n_real))
    deviation = random.uniform(*spread, size=mean.shape)
    log_prob = tuple(np.log(random.dirichlet(np.ones(size), len(factors))) for size in categories)
    return GaussianCodes(mean, deviation, factors, sizes, log_prob)


def dense_posterior(attacked, draws, noise, members):
    """p(y | latents ``members`` of the attacked code), from full Gaussians restricted to where they live."""
    codes = attacked.codes
    A, B = attacked.matrix.numpy(), attacked.noise_matrix.numpy()
    real = [index for index in members if index < len(A)]
    observed = draws.real.numpy() @ A.T + noise.numpy() @ B.T
    # Where there is noise or image to be seen at all: the same subspace for each image.
    basis = linalg.orth(np.hstack([A, B])[real], rcond=1e-9) if real else np.zeros((0, 0))
    A, B, seen = basis.T @ A[real], basis.T @ B[real], observed[:, real] @ basis
    log_q = np.zeros((len(draws), codes.n_images))
    for image in range(codes.n_images):
        if basis.size:
            covariance = A @ np.diag(codes.standard_deviation[image].numpy() ** 2) @ A.T + B @ B.T
            center = A @ codes.mean[image].numpy()
            gaussian = stats.multivariate_normal(center, covariance)
            log_q[:, image] = gaussian.logpdf(seen.reshape(len(draws), -1))
        for k, log_prob in enumerate(codes.categorical_log_prob):
            if len(attacked.matrix) + k in members:
                log_q[:, image] += log_prob[image, draws.categories[:, k]].numpy()
    weights = special.softmax(log_q, axis=1)
    columns = [weights @ np.eye(size)[codes.factors[:, k]] for k, size in enumerate(codes.factor_sizes)]
    return np.hstack(columns)


ATTACKS = {
    "redundancy": lambda n: Redundancy(0.7),
    "redundancy, U": lambda n: Redundancy(1.9, orthogonal(n)),
    "redundancy, 0": lambda n: Redundancy(0),
    "masked copy": lambda n: MaskedCopy(1.3),
    "masked copy, 0": lambda n: MaskedCopy(0.0),
    "synergy": lambda n: Synergy(0.8),
    "synergy, U": lambda n: Synergy(2.5, orthogonal(n, 1)),
    "synergy, I": lambda n: Synergy(1.0, torch.eye(n)),
    "synergy, 0": lambda n: Synergy(0.0),
    "mixing": lambda n: Mixing(0.3),
    "mixing, over": lambda n: Mixing(1.4),
    "mixing, 1": lambda n: Mixing(1),
    "mixing, 0": lambda n: Mixing(0),
    "noised copy": lambda n: NoisedCopy(n - 1, 0.6),
    "plain copy": lambda n: NoisedCopy(0, 0),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(("n_real", "categories"), [(3, ()), (4, (3,)), (2, ()), (1, ()), (1, (2, 3))])
def test_every_source_is_the_dense_gaussian(name, n_real, categories):
    codes = random_codes(n_real=n_real, categories=categories)
    attacked = ATTACKS[name](n_real)(codes)
    found = informations(attacked, n_samples=12, generator=generator(3), dtype=torch.float64)
    random = generator(3)
    images = codes.draw_images(12, generator=random)
    draws = Draws(images, *codes.draw_latents(images, generator=random))
    noise = torch.randn(12, attacked.noise_matrix.shape[1], generator=random, dtype=torch.float64)
    everything = set(range(attacked.n_latents))
    assert len(everything) == len(found.latent_names) == len(attacked.matrix) + len(categories)
    for latent in everything:
        for row, members in enumerate(({latent}, everything - {latent}, everything)):
            expected = dense_posterior(attacked, draws, noise, sorted(members))
            actual = found.posteriors[found.rows[row, latent]]
            np.testing.assert_allclose(actual, expected, atol=1e-10, err_msg=f"{row} {latent}")


@pytest.mark.parametrize("make", [Redundancy, Synergy])
def test_what_old_latents_know_does_not_depend_on_the_matrix(make):
    codes = random_codes(n_real=4)
    images = codes.draw_images(12, generator=generator())
    draws = Draws(images, *codes.draw_latents(images, generator=generator(1)))
    noise = torch.randn(12, 4, generator=generator(2), dtype=torch.float64)
    found = []
    for turn in (None, orthogonal(4, 5), orthogonal(4, 6)):
        attacked = make(1.5, turn)(codes)
        block = attacked.matrix[4:] if make is Redundancy else attacked.noise_matrix[:4]
        turn = block / 1.5
        # Noise that is turned along: the same views, whatever U.
        turned = noise @ turn.T if make is Redundancy else noise @ turn
        table = attacked.table(draws, turned)
        asked = table.without[:4] if make is Redundancy else table.single[:4]
        found.append([source.channels[0] for source in asked])
    for other in found[1:]:
        for here, there in zip(found[0], other, strict=True):
            torch.testing.assert_close(here.values, there.values, rtol=0, atol=1e-12)
            torch.testing.assert_close(here.mean, there.mean, rtol=0, atol=1e-12)
            torch.testing.assert_close(here.standard_deviation, there.standard_deviation, rtol=0, atol=1e-12)


def test_unibound_does_not_depend_on_the_matrix_but_mig_does():
    codes = synthetic_codes((3, 4, 5), n_noise=1)
    turns = (None, torch.eye(4), orthogonal(4))
    profiles = [
        profile(informations(Redundancy(1, turn)(codes), n_samples=3000, generator=generator())) for turn in turns
    ]
    unibounds, migs = [each.unibound for each in profiles], [each.mig for each in profiles]
    assert max(unibounds) - min(unibounds) < 0.02
    assert max(migs) - min(migs) > 0.1


def channel_information(levels, deviation):
    """I(y; y + N(0, deviation²)) of a uniform discrete y, by quadrature."""

    def integrand(x):
        density = stats.norm.pdf(x, levels, deviation).mean()
        return -special.xlogy(density, density)

    low, high = levels.min() - 12 * deviation, levels.max() + 12 * deviation
    entropy = integrate.quad(integrand, low, high, limit=400, epsabs=1e-11, points=levels)[0]
    return entropy - 0.5 * math.log(2 * math.pi * math.e * deviation**2)


def standardised(size):
    return (np.arange(size) - (size - 1) / 2) / np.arange(size).std()


SIZES = (3, 6, 10, 8, 8)
KNOWN = {0: 0.645861, 0.25: 0.628590, 0.5: 0.583240, 1: 0.460977, 2: 0.267528, 4: 0.105491, 8: 0.031283}


def unibound_by_quadrature(alpha):
    shares = []
    for size in SIZES:
        unique = channel_information(standardised(size), 0.3)
        if alpha > 0:
            unique -= channel_information(standardised(size), math.sqrt(0.3**2 + 1 / alpha**2))
        shares.append(unique / math.log(size))
    return np.mean(shares)


@pytest.mark.parametrize("alpha", KNOWN)
def test_redundancy_against_quadrature(alpha):
    expected = unibound_by_quadrature(alpha)
    assert expected == pytest.approx(KNOWN[alpha], abs=1e-6)
    # The factors are independent, so a smaller grid of the same levels has the same parts, factor by factor.
    for sizes in ((3, 6, 10), (8, 3)):
        found = informations(Redundancy(alpha)(synthetic_codes(sizes)), n_samples=600, generator=generator(1))
        unique = found.per_draw[found.rows[0]] - found.per_draw[found.rows[1]]
        for k, size in enumerate(sizes):
            draws = unique[k, :, k]
            exact = channel_information(standardised(size), 0.3)
            if alpha > 0:
                exact -= channel_information(standardised(size), math.sqrt(0.3**2 + 1 / alpha**2))
            assert abs(float(draws.mean()) - exact) < 3 * float(draws.std()) / math.sqrt(len(draws)), (sizes, k)


def test_unibound_of_the_whole_grid_against_quadrature():
    codes = synthetic_codes(SIZES)
    found = informations(Redundancy(1.0)(codes), n_samples=400, generator=generator())
    unique = (found.per_draw[found.rows[0, :5]] - found.per_draw[found.rows[1, :5]]) / found.entropy
    per_draw = unique[range(5), :, range(5)].mean(0)
    error = float(per_draw.std()) / math.sqrt(400)
    assert abs(profile(found).unibound - KNOWN[1]) < 3 * error
    assert error < 0.01


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4.0])
def test_redundancy_and_synergy_are_dual(alpha):
    # alpha z + e and z + e / alpha say the same; with U = I and the same noise, draw by draw.
    codes = synthetic_codes((3, 4, 5), n_noise=0, dtype=torch.float64)
    one = torch.eye(3)
    redundant = informations(Redundancy(alpha, one)(codes), n_samples=300, generator=generator(2))
    synergetic = informations(Synergy(1 / alpha, one)(codes), n_samples=300, generator=generator(2))
    there, here = profile(redundant), profile(synergetic)
    # What the copy knows in one is what the hidden latent knows in the other.
    torch.testing.assert_close(redundant.single[3:], synergetic.single[:3], rtol=0, atol=1e-6)
    error = 3 * float(redundant.standard_error.max())
    assert there.unibound == pytest.approx(float(here.mean("complementary").lower), abs=error)
    assert float(there.mean("redundant").lower) == pytest.approx(here.unibound, abs=error)


@pytest.mark.parametrize("attack", [Redundancy(0), Synergy(0), MaskedCopy(0), Mixing(0), NoisedCopy(1, 1e30)])
def test_no_strength_changes_nothing(attack):
    codes = random_codes(categories=(3,), n_real=3)
    clean = informations(codes, n_samples=50, generator=generator())
    found = informations(attack(codes), n_samples=50, generator=generator())
    torch.testing.assert_close(found.single[:3], clean.single[:3], rtol=0, atol=0)
    torch.testing.assert_close(found.single[-1], clean.single[-1], rtol=0, atol=0)
    torch.testing.assert_close(found.joint, clean.joint, rtol=0, atol=0)
    if not isinstance(attack, MaskedCopy):
        torch.testing.assert_close(found.without[:3], clean.without[:3], rtol=0, atol=1e-6)
        assert profile(found).unibound == pytest.approx(profile(clean).unibound, abs=1e-6)


def test_strong_attacks_reach_their_limits():
    codes = random_codes(n_real=3, sizes=(3, 4))
    clean = informations(codes, n_samples=60, generator=generator())
    for alpha in (1e6, 1e30):
        redundant = informations(Redundancy(alpha)(codes), n_samples=60, generator=generator())
        assert profile(redundant).unibound == pytest.approx(0, abs=1e-5)
        torch.testing.assert_close(redundant.without[:3], clean.joint.expand(3, -1), rtol=0, atol=1e-5)
        masked = informations(MaskedCopy(alpha)(codes), n_samples=60, generator=generator())
        assert profile(masked).unibound == 0
        assert profile(masked).mig == pytest.approx(profile(clean).mig, abs=1e-5)
        hidden = informations(Synergy(alpha)(codes), n_samples=60, generator=generator())
        assert float(hidden.single.max()) < 1e-5
        torch.testing.assert_close(hidden.joint, clean.joint, rtol=0, atol=0)
        # Without one part of the noise, all that is lost is one direction.
        assert bool((hidden.without[3:] < clean.joint).all())
        mixed = informations(Mixing(alpha)(codes), n_samples=60, generator=generator())
        assert bool(mixed.without.isfinite().all())
    # Between the two: the weakest attacks that are none.
    for attack in (Redundancy(1e-30), Synergy(1e-30), Mixing(1e-30)):
        assert profile(informations(attack(codes), n_samples=60, generator=generator())).unibound == pytest.approx(
            profile(clean).unibound, abs=1e-6
        )


@pytest.mark.parametrize("attack", [Redundancy(2.0), Synergy(0.5), Synergy(1e6), Mixing(0.4), MaskedCopy(1.0)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_single_precision_agrees_with_double(attack, scale):
    codes = random_codes(n_real=3, sizes=(4, 5), spread=(0.004, 0.02))
    codes = GaussianCodes(codes.mean * scale + 5 * scale, codes.standard_deviation * scale, codes.factors, (4, 5))
    if isinstance(attack, (Redundancy, Synergy, MaskedCopy)):
        factor = 1 / scale if isinstance(attack, Redundancy) else scale
        attack = type(attack)(float(np.clip(attack.alpha * factor, 1e-30, 1e30)))
    double, single = (
        informations(attack(codes), n_samples=80, generator=generator(), dtype=dtype)
        for dtype in (torch.float64, torch.float32)
    )
    torch.testing.assert_close(single.single, double.single, rtol=0, atol=2e-3)
    torch.testing.assert_close(single.without, double.without, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ATTACKS)
def test_points_follow_the_map(name):
    codes = random_codes(n_real=3, categories=(3,))
    attacked = ATTACKS[name](3)(codes)
    points = attacked.sample(6, generator=generator(4))
    random = generator(4)
    images = codes.draw_images(6, generator=random)
    real, categories = codes.draw_latents(images, generator=random)
    noise = torch.randn(6, attacked.noise_matrix.shape[1], generator=random, dtype=torch.float64)
    expected = real @ attacked.matrix.T + noise @ attacked.noise_matrix.T
    n = len(attacked.matrix)
    torch.testing.assert_close(points.points[:, :n], expected)
    torch.testing.assert_close(points.points[:, n:].argmax(1), categories[:, 0])
    assert points.groups == (1,) * n + (3,)
    assert len(set(points.latent_names)) == points.n_latents == attacked.n_latents
    torch.testing.assert_close(points.factors, codes.factors[images])
    assert len(attacked.sample()) == codes.n_images


def test_mean_and_covariance_are_those_of_the_samples():
    codes = random_codes(sizes=(2,), n_real=2)
    attacked = Synergy(1.5)(codes)
    image = torch.tensor([1])
    drawn, _ = attacked.draw_latents(image.repeat(20_000), generator=generator())
    torch.testing.assert_close(drawn.mean(0), attacked.mean(image)[0], rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.T.cov(), attacked.covariance(image)[0], rtol=0, atol=0.1)


def test_mixing_by_one_leaves_the_sum():
    codes = random_codes(n_real=3, sizes=(3, 4))
    found = informations(Mixing(1)(codes), n_samples=30, generator=generator())
    assert len(found.posteriors) == 1
    points = Mixing(1)(codes).sample(5, generator=generator()).points
    torch.testing.assert_close(points[:, 0], points[:, 2])


def test_categories_alone_cannot_be_attacked():
    factors = np.arange(6).reshape(-1, 1)
    log_prob = np.log(np.random.default_rng(0).dirichlet(np.ones(3), 6))
    codes = GaussianCodes(np.zeros((6, 0)), np.zeros((6, 0)), factors, (6,), (log_prob,))
    clean = informations(codes, n_samples=20, generator=generator())
    for attack in (Redundancy(1.0), MaskedCopy(1.0), Synergy(1.0), Mixing(0.5), Mixing(1)):
        attacked = attack(codes)
        found = informations(attacked, n_samples=20, generator=generator())
        torch.testing.assert_close(found.single, clean.single)
        torch.testing.assert_close(found.without, clean.without)
        assert attacked.sample(4, generator=generator()).points.shape == (4, 3)


def test_what_is_refused():
    codes = random_codes(n_real=3)
    for make in (Redundancy, MaskedCopy, Synergy, Mixing, lambda value: NoisedCopy(0, value)):
        for bad in (-1.0, float("nan"), float("inf"), 1e31):
            with pytest.raises(ValueError, match="bad argument"):
                make(bad)
    for matrix in (torch.ones(3, 3), torch.eye(3) * 1.001, torch.eye(3) * float("nan")):
        with pytest.raises(ValueError, match="orthogonal"):
            Redundancy(1.0, matrix)
    with pytest.raises(ValueError, match="3 real latents"):
        Synergy(1.0, torch.eye(4))(codes)
    with pytest.raises(ValueError, match="real latents"):
        NoisedCopy(3, 1.0)(codes)
    with pytest.raises(ValueError, match="index"):
        NoisedCopy(-1, 1.0)


def test_a_matrix_in_single_precision_is_made_orthogonal():
    codes = random_codes(n_real=5)
    turn = Redundancy(np.float64(1), orthogonal(5).float())(codes).matrix[5:]
    torch.testing.assert_close(turn @ turn.T, torch.eye(5).double(), rtol=0, atol=1e-14)
    assert isinstance(Redundancy(1.0)(codes), EntangledCodes)
    assert "10 latents for 5" in repr(Redundancy(1.0)(codes))


@pytest.mark.parametrize("attack", [Redundancy(1.0), MaskedCopy(1.0), Synergy(1.0), Mixing(0.5), NoisedCopy(0, 1.0)])
def test_only_gaussian_codes_can_be_attacked(attack):
    codes = synthetic_codes((2, 3), device="cpu")
    unhooked = inspect.unwrap(type(attack).__call__)  # as outside these tests, where nobody looks at annotations
    for other in (codes.sample(generator=torch.Generator().manual_seed(0)), attack(codes)):
        with pytest.raises(TypeError, match=f"{type(attack).__name__}: bad argument 'codes'"):
            unhooked(attack, other)

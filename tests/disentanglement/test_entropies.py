"""The authors' estimator against loops, quadrature and our own, on clean and attacked codes."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from toolkit.disentanglement import GaussianCodes, informations, pid_bounds, profile, synthetic_codes
from toolkit.disentanglement.attacks import MaskedCopy, Mixing, NoisedCopy, Redundancy, Synergy
from toolkit.disentanglement.entropies import entropy_informations, log_densities, stratified_images


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_codes(sizes=(2, 3, 4), n_latents=3, seed=0, categories=(), repeats=1):
    random = np.random.default_rng(seed)
    factors = np.stack([part.ravel() for part in np.meshgrid(*map(np.arange, sizes), indexing="ij")], axis=1)
    factors = random.permutation(np.repeat(factors, repeats, axis=0))
    mean = random.normal(size=(len(factors), n_latents))
    log_prob = tuple(np.log(random.dirichlet(np.ones(size), len(factors))) for size in categories)
    return GaussianCodes(mean, random.uniform(0.2, 1.0, size=mean.shape), factors, sizes, log_prob)


def subsets(kind, n):
    single = [[latent] for latent in range(n)]
    without = [[m for m in range(n) if m != latent] for latent in range(n)]
    return {"single": single, "without": without, "joint": [list(range(n))]}[kind]


@pytest.mark.parametrize("kind", ["single", "without", "joint"])
@pytest.mark.parametrize("attack", [None, Redundancy(1.3), NoisedCopy(1, 0.4), Synergy(0.7)])
def test_densities_against_scipy(kind, attack):
    codes = random_codes(categories=(3,))
    attacked = attack(codes) if attack else codes
    images = torch.tensor([3, 0, 17])
    real, categories = attacked.draw_latents(torch.tensor([1, 2, 3, 4, 5]), generator=generator())
    if attack:
        mean, covariance = attacked.mean(images).numpy(), attacked.covariance(images).numpy()
    else:
        mean = codes.mean[images].numpy()
        covariance = np.stack([np.diag(row**2) for row in codes.standard_deviation[images].numpy()])
    found = list(log_densities(attacked, kind, real, categories, images))
    n = attacked.n_real
    assert len(found) == len(subsets(kind, n + 1))
    for table, members in zip(found, subsets(kind, n + 1), strict=True):
        for column, image in enumerate(images.tolist()):
            expected = np.zeros(5)
            inside = [member for member in members if member < n]
            if inside:
                block = covariance[column][np.ix_(inside, inside)]
                gaussian = stats.multivariate_normal(mean[column, inside], block)
                expected += gaussian.logpdf(real[:, inside].numpy())
            if n in members:
                expected += codes.categorical_log_prob[0][image, categories[:, 0]].numpy()
            np.testing.assert_allclose(table[:, column], expected, atol=1e-10)


def test_informations_against_a_loop():
    codes = random_codes(sizes=(2, 3), n_latents=2)
    found = entropy_informations(codes, n_samples=4, generator=generator(3))
    random = generator(3)

    def entropy(kind, images, mixture):
        real, _ = codes.draw_latents(images, generator=random)
        result = []
        for members in subsets(kind, 2):
            log_q = stats.norm.logpdf(
                real.numpy()[:, None, members],
                codes.mean[mixture][:, members],
                codes.standard_deviation[mixture][:, members],
            ).sum(-1)
            result.append(-np.mean(special.logsumexp(log_q, axis=1) - math.log(len(mixture))))
        return np.array(result)

    for kind in ("single", "without", "joint"):
        images = stratified_images(codes, 4, generator=random)
        marginal = entropy(kind, images, torch.arange(6))
        table = np.tile(marginal[:, None], 2)
        for k, size in enumerate((2, 3)):
            for value in range(size):
                mixture = torch.arange(6)[codes.factors[:, k] == value]
                chosen = mixture[torch.randperm(len(mixture), generator=random)[:4]]
                table[:, k] -= entropy(kind, chosen, mixture) / size
        actual = getattr(found, kind)
        np.testing.assert_allclose(actual, table if kind != "joint" else table[0], atol=1e-12)
    # Each set of each sweep: 4 draws from all images, then those of each value from its own.
    per_set = 4 * 6 + 2 * 3 * 3 + 3 * 2 * 2
    assert found.n_densities == per_set * (2 + 2 + 1)
    assert found.n_samples == 4


def test_total_correlation_agrees():
    once = synthetic_codes((4, 5, 3), n_noise=0)
    twice = (torch.cat([part, part], dim=1) for part in (once.mean, once.standard_deviation))
    codes = GaussianCodes(*twice, once.factors, once.factor_sizes)
    ours = [informations(codes, n_samples=400, generator=generator(seed)).total_correlation for seed in range(6)]
    theirs = [entropy_informations(codes, generator=generator(seed)).total_correlation for seed in range(60)]
    error = math.hypot(np.std(theirs) / math.sqrt(60), np.std(ours) / math.sqrt(6))
    assert abs(np.mean(theirs) - np.mean(ours)) < 4 * error
    assert error < 0.05 * np.mean(ours)


@pytest.mark.parametrize("attack", [None, Redundancy(1.0)])
def test_both_estimators_agree(attack):
    codes = random_codes(sizes=(3, 4, 5), categories=(3,), n_latents=2)
    attacked = attack(codes) if attack else codes
    ours = informations(attacked, n_samples=4000, generator=generator(1))
    runs = [entropy_informations(attacked, generator=generator(seed)) for seed in range(8)]
    for row, kind in enumerate(("single", "without", "joint")):
        theirs = torch.stack([getattr(run, kind) for run in runs])
        error = theirs.std(0) / math.sqrt(8)
        own = ours.standard_error[row] if kind != "joint" else ours.standard_error[2, 0]
        gap = (theirs.mean(0) - getattr(ours, kind)).abs()
        assert bool((gap < 4 * (error**2 + own**2).sqrt() + 1e-3).all()), kind
        # What it says of its own error is at most too careful: stratified draws are better than independent ones.
        stated = torch.stack([run.standard_errors[kind] for run in runs]).mean(0)
        assert bool((theirs.std(0) < 2.5 * stated + 1e-12).all()), kind


def test_it_is_much_noisier_than_posteriors():
    codes = synthetic_codes((3, 4, 5))
    ours, theirs = [], []
    for seed in range(20):
        ours.append(profile(informations(codes, n_samples=60, generator=generator(seed))).unibound)
        found = entropy_informations(codes, generator=generator(seed))
        share = [table / found.entropy for table in (found.single, found.without, found.joint)]
        theirs.append(float(pid_bounds(*(table.clamp(0, 1) for table in share)).unique.lower.amax(0).mean()))
    assert np.var(ours) < 0.5 * np.var(theirs)


def test_images_are_stratified():
    codes = random_codes(sizes=(3, 4), repeats=2)
    images = stratified_images(codes, 14, generator=generator())
    for k, size in enumerate((3, 4)):
        counts = torch.bincount(codes.factors[images, k], minlength=size)
        assert int(counts.max() - counts.min()) <= 1
    many = stratified_images(codes, 2400, generator=generator())
    # Either image of a combination has its turn.
    assert int(torch.bincount(many, minlength=24).min()) > 60


def test_extremes():
    # One latent: without it nothing is known. One value: no information.
    found = entropy_informations(random_codes(sizes=(1, 4), n_latents=1), generator=generator())
    assert bool((found.without == 0).all())
    assert float(found.entropy[0]) == 0
    alone = entropy_informations(synthetic_codes((3,), n_noise=0), n_samples=1, generator=generator())
    assert alone.joint.shape == (1,)
    assert "latents" in repr(found) and found.to_dict()["n_samples"] == 4


def test_what_is_refused():
    codes = random_codes()
    part = GaussianCodes(codes.mean[:9], codes.standard_deviation[:9], codes.factors[:9], codes.factor_sizes)
    with pytest.raises(ValueError, match="complete grid"):
        entropy_informations(part)
    with pytest.raises(ValueError, match="n_samples"):
        entropy_informations(codes, n_samples=0)
    for attack in (MaskedCopy(1.0), Mixing(1), NoisedCopy(0, 0.0)):
        with pytest.raises(ValueError, match="noise in every direction"):
            entropy_informations(attack(codes), generator=generator())

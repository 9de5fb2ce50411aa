"""I_min of codes against exact sums where codes are discrete, and against its interval where they are not."""

import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement import GaussianCodes, informations, synthetic_codes
from toolkit.disentanglement.attacks import MaskedCopy, Mixing, Redundancy, Synergy
from toolkit.disentanglement.i_min_of_codes import i_min_of_codes, specific_terms


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_codes(sizes=(2, 3, 4), n_latents=3, seed=0, categories=(), spread=(0.2, 1.0)):
    random = np.random.default_rng(seed)
    factors = np.stack([part.ravel() for part in np.meshgrid(*map(np.arange, sizes), indexing="ij")], axis=1)
    mean = random.normal(size=(len(factors), n_latents))
    log_prob = tuple(np.log(random.dirichlet(np.ones(size), len(factors))) for size in categories)
    return GaussianCodes(mean, random.uniform(*spread, size=mean.shape), factors, sizes, log_prob)


def discrete_i_min(a, b, y):
    """I_min of equally likely triples, by counting."""
    total = 0.0
    for value in set(y):
        specific = []
        for source in (a, b):
            information = 0.0
            for seen in set(source):
                here = [target for other, target in zip(source, y, strict=True) if other == seen]
                posterior = here.count(value) / len(here)
                if posterior:
                    conditional = here.count(value) / y.count(value)
                    information += conditional * math.log(posterior / (y.count(value) / len(y)))
            specific.append(information)
        total += y.count(value) / len(y) * min(specific)
    return total


def test_codes_that_are_discrete_against_counting():
    sizes = (2, 3, 4)
    factors = torch.cartesian_prod(*(torch.arange(size) for size in sizes))
    one, two, three = factors.T
    levels = torch.stack([one + two, (three + one) % 3, two * three, three // 2], dim=1)
    codes = GaussianCodes(levels.double(), torch.full_like(levels, 1e-3, dtype=torch.float64), factors, sizes)
    # Without replacement, so that each image is drawn equally often: no sampling noise is left.
    parts = i_min_of_codes(informations(codes, n_samples=3 * codes.n_images, generator=generator()))
    for latent in range(4):
        alone = levels[:, latent].tolist()
        others = [tuple(row) for row in levels[:, [m for m in range(4) if m != latent]].tolist()]
        for k in range(3):
            expected = discrete_i_min(alone, others, factors[:, k].tolist())
            assert float(parts.redundant[latent, k]) == pytest.approx(expected, abs=1e-9), (latent, k)


def test_exclusive_or_is_complementary_and_a_copy_redundant():
    factors = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    target = factors.sum(1, keepdim=True) % 2
    mean = torch.cat([factors, factors[:, :1]], dim=1).double()
    with_target = torch.cat([factors, target], dim=1)
    codes = GaussianCodes(mean[:, :2], torch.full((4, 2), 1e-3), with_target, (2, 2, 2))
    parts = i_min_of_codes(informations(codes, n_samples=400, incomplete="allow", generator=generator()))
    assert float(parts.complementary[0, 2]) == pytest.approx(math.log(2), abs=1e-9)
    codes = GaussianCodes(mean, torch.full((4, 3), 1e-3), factors, (2, 2))
    parts = i_min_of_codes(informations(codes, n_samples=400, generator=generator()))
    assert float(parts.redundant[0, 0]) == pytest.approx(math.log(2), abs=1e-9)
    assert float(parts.unique[1, 1]) == pytest.approx(math.log(2), abs=1e-9)
    assert float(parts.redundant[1].abs().max()) < 1e-9


ATTACKS = [None, Redundancy(1.0), MaskedCopy(0.5), Synergy(0.5), Mixing(0.3)]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("seed", range(4))
def test_inside_the_interval(attack, seed):
    codes = random_codes(seed=seed, categories=(3,) if seed % 2 else ())
    found = informations(attack(codes) if attack else codes, n_samples=2400, generator=generator(seed))
    parts = i_min_of_codes(found)
    redundant = parts.bounds.redundant
    # The upper end, and that nothing is negative, hold of the same draws; the lower end but for noise.
    assert bool((specific_terms(found) >= 0).all())
    assert bool((parts.redundant <= redundant.upper + 1e-12).all())
    assert bool((parts.redundant >= 0).all())
    assert bool((parts.unique >= -1e-12).all())
    noise = 3 * found.standard_error.sum(0)
    assert bool((parts.redundant >= redundant.lower - noise).all())
    assert bool((parts.complementary >= -noise).all())
    torch.testing.assert_close(parts.unique + parts.redundant, found.single)
    total = parts.unique + parts.complementary + found.without
    torch.testing.assert_close(total, found.joint.expand_as(total))


def test_against_the_definition_with_many_draws():
    codes = random_codes(sizes=(3, 4), n_latents=2, spread=(0.4, 0.9))
    few = [i_min_of_codes(informations(codes, n_samples=300, generator=generator(s))).redundant for s in range(40)]
    mean, error = torch.stack(few).mean(0), torch.stack(few).std(0) / math.sqrt(40)
    # Each draw counts for its own value only, as the definition says; with so many that its bias is small.
    found = informations(codes, n_samples=60_000, generator=generator(99))
    own = codes.factors[found.images]
    for latent in range(2):
        for k, size in enumerate(codes.factor_sizes):
            start = sum(codes.factor_sizes[:k])
            expected = 0.0
            for value in range(size):
                rows = own[:, k] == value
                told = [
                    (found.posteriors[found.rows[kind, latent], rows, start + value] * size).log().mean()
                    for kind in (0, 1)
                ]
                expected += float(min(told)) / size
            assert abs(float(mean[latent, k]) - expected) < 4 * float(error[latent, k]) + 2e-3, (latent, k)


def test_the_interval_that_is_a_point_is_met():
    # Independent factors under redundancy: the copy says the same about z_l, only less.
    found = informations(Redundancy(2.0)(synthetic_codes((3, 4, 5))), n_samples=500, generator=generator())
    parts = i_min_of_codes(found)
    for k in range(3):
        interval = parts.bounds.redundant
        assert float(parts.redundant[k, k]) == pytest.approx(float(interval.lower[k, k]), abs=1e-6)
        assert float(parts.redundant[k, k]) == pytest.approx(float(interval.upper[k, k]), abs=1e-6)
    assert bool(parts.position[range(3), range(3)].isnan().all())


def test_terms_are_the_informations():
    codes = random_codes(categories=(2,))
    found = informations(codes, n_samples=50, generator=generator(), dtype=torch.float64)
    terms = specific_terms(found)
    assert bool((terms >= 0).all())
    by_factor = torch.stack([part.sum(-1) for part in (terms * found.prior).split(list(codes.factor_sizes), -1)], -1)
    torch.testing.assert_close(by_factor, found.per_draw.double(), rtol=0, atol=1e-12)


def test_extremes():
    # A factor of one value has nothing to tell, and is left out of the means.
    codes = random_codes(sizes=(1, 3), n_latents=2)
    parts = i_min_of_codes(informations(codes, n_samples=30, generator=generator()))
    assert bool((parts.redundant[:, 0] == 0).all()) and math.isfinite(parts.mean("unique"))
    # One latent: nobody else knows anything.
    alone = i_min_of_codes(informations(random_codes(n_latents=1), n_samples=30, generator=generator()))
    assert bool((alone.redundant == 0).all())
    assert "unique" in repr(alone) and set(alone.to_dict()) >= {"unique", "redundant", "complementary", "mean"}
    # A value that no image has.
    codes = random_codes(sizes=(2, 3))
    empty = GaussianCodes(codes.mean, codes.standard_deviation, codes.factors, (2, 4))
    parts = i_min_of_codes(informations(empty, n_samples=30, incomplete="allow", generator=generator()))
    assert bool(parts.redundant.isfinite().all())
    with pytest.raises(ValueError, match="part"):
        parts.mean("synergy")

"""Intervals from resampled draws: how often they hold a known truth, and that they are the profile's scores."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from toolkit.disentanglement import informations, profile, synthetic_codes
from toolkit.disentanglement.attacks import Redundancy
from toolkit.disentanglement.bootstrap import bootstrap, resample_counts
from toolkit.disentanglement.i_min_of_codes import i_min_of_codes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def orthogonal(n):
    return torch.from_numpy(stats.ortho_group.rvs(n, random_state=0))


def share(size, deviation):
    levels = (np.arange(size) - (size - 1) / 2) / np.arange(size).std()

    def integrand(x):
        density = stats.norm.pdf(x, levels, deviation).mean()
        return -special.xlogy(density, density)

    entropy = integrate.quad(integrand, -8 - 8 * deviation, 8 + 8 * deviation, limit=300, points=levels)[0]
    return (entropy - 0.5 * math.log(2 * math.pi * math.e * deviation**2)) / math.log(size)


def test_nine_of_ten_intervals_hold_the_truth():
    sizes, alpha = (3, 4), 2.0
    codes = Redundancy(alpha)(synthetic_codes(sizes))
    weaker = math.sqrt(0.3**2 + 1 / alpha**2)
    redundant = np.mean([share(size, weaker) for size in sizes])
    information = np.mean([share(size, 0.3) for size in sizes])
    truth = {"information": information, "unibound": information - redundant, "redundant I_min": redundant}
    held = dict.fromkeys(truth, 0)
    widths, estimates = [], []
    for seed in range(100):
        # Drawn one by one, not one of each image: these are what the resamples imitate.
        found = informations(codes, n_samples=150, generator=generator(seed))
        intervals = bootstrap(found, n_resamples=200, generator=generator(1000 + seed))
        for name, value in truth.items():
            held[name] += bool(intervals[name].lower <= value <= intervals[name].upper)
        widths.append(float(intervals["unibound"].upper - intervals["unibound"].lower))
        estimates.append(float(intervals["unibound"].estimate))
    assert all(80 <= times <= 99 for times in held.values()), held
    # As wide as the estimates really spread.
    assert np.mean(widths) == pytest.approx(2 * 1.645 * np.std(estimates), rel=0.25)


@pytest.mark.parametrize("attack", [None, Redundancy(1.0)])
def test_estimates_are_the_profile(attack):
    codes = synthetic_codes((3, 4, 5), rotation=orthogonal(3))
    found = informations(attack(codes) if attack else codes, n_samples=400, generator=generator())
    scores, intervals, parts = profile(found), bootstrap(found, generator=generator()), i_min_of_codes(found)
    expected = {"unibound": scores.unibound, "mig": scores.mig, "information": scores.information}
    for part in ("unique", "redundant", "complementary"):
        expected[f"{part} lower"] = float(scores.mean(part).lower)
        expected[f"{part} upper"] = float(scores.mean(part).upper)
        expected[f"{part} I_min"] = parts.mean(part)
        ends = getattr(scores.per_factor, part)
        torch.testing.assert_close(intervals.per_factor[f"{part} lower"].estimate, ends.lower)
        torch.testing.assert_close(intervals.per_factor[f"{part} upper"].estimate, ends.upper)
    assert set(expected) == set(intervals.scores) == set(intervals.per_factor)
    for name, value in expected.items():
        each = intervals[name]
        assert float(each.estimate) == pytest.approx(value, abs=1e-6), name
        assert float(each.lower) <= float(each.upper)
        assert float(each.standard_error) >= 0
    torch.testing.assert_close(intervals.per_factor["mig"].estimate, scores.mig_per_factor)


def test_the_standard_error_is_that_of_the_mean():
    found = informations(synthetic_codes((3, 4)), n_samples=800, generator=generator())
    intervals = bootstrap(found, n_resamples=2000, i_min=False, generator=generator())
    for k in range(2):
        expected = found.standard_error[2, 0, k] / found.entropy[k]
        assert float(intervals.per_factor["information"].standard_error[k]) == pytest.approx(float(expected), rel=0.08)
    assert "unique I_min" not in intervals.scores


def test_a_higher_level_is_wider():
    found = informations(synthetic_codes((3, 4)), n_samples=200, generator=generator())
    widths = []
    for level in (0.5, 0.9, 0.99):
        each = bootstrap(found, level=level, generator=generator(1))["mig"]
        widths.append(float(each.upper - each.lower))
    assert widths == sorted(widths) and widths[0] < 0.7 * widths[1]


def test_counts():
    counts = resample_counts(20, 3000, generator=generator())
    assert bool((counts.sum(1) == 20).all())
    # Poisson-like: mean 1, variance 1 − 1 / n.
    assert float(counts.mean()) == 1
    assert float(counts.var()) == pytest.approx(0.95, abs=0.02)


def test_the_generator_alone_decides():
    found = informations(synthetic_codes((3, 4)), n_samples=100, generator=generator())
    before = torch.random.get_rng_state()
    first, second = (bootstrap(found, generator=generator(7)).to_dict() for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.random.get_rng_state())
    assert first != bootstrap(found, generator=generator(8)).to_dict()


def test_extremes():
    found = informations(synthetic_codes((1, 3)), n_samples=50, generator=generator())
    intervals = bootstrap(found, n_resamples=20, generator=generator())
    assert math.isnan(float(intervals.per_factor["mig"].estimate[0]))
    assert math.isfinite(float(intervals["mig"].lower))
    assert intervals.to_dict()["per_factor"]["mig"]["lower"][0] is None
    assert "90%" in repr(intervals)
    with pytest.raises(ValueError, match="two values"):
        bootstrap(informations(synthetic_codes((1,)), n_samples=5, generator=generator()))
    one = bootstrap(informations(synthetic_codes((3,)), n_samples=1, generator=generator()), generator=generator())
    assert float(one["unibound"].standard_error) == pytest.approx(0, abs=1e-12)
    for bad in ({"level": 0.0}, {"level": 1.0}, {"n_resamples": 1}):
        with pytest.raises(ValueError, match="bad argument"):
            bootstrap(found, **bad)
    with pytest.raises(ValueError, match="name"):
        intervals["UniBound"]

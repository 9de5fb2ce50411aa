"""Two noisy views of a Gaussian number: informations by hand, where a view is idle, what the picture says."""

import math

import numpy as np
import pytest
import torch

from tests.explorers.inside import words_outside
from toolkit.disentanglement import gaussian_mmi
from toolkit.explorers import explore_gaussian_parts
from toolkit.explorers.gaussian_parts import _FINE, LEAST_NOISE, MOST, MOST_NOISE, compute, covariance, describe, draw

SETTINGS = [(1.0, 1.0, -0.6), (1.0, 2.0, 0.5), (0.25, 3.0, 0.9), (3.0, 0.5, -0.9), (1.5, 1.5, 0.0)]


def by_hand(noise_a, noise_b, correlation):
    """Bits of a, b and both: precision of y given the views is 1 + 1ᵀ N⁻¹ 1."""
    shared = correlation * noise_a * noise_b
    noise = np.array([[noise_a**2, shared], [shared, noise_b**2]])
    both = 1 + np.ones(2) @ np.linalg.inv(noise) @ np.ones(2)
    return [math.log2(value) / 2 for value in (1 + noise_a**-2, 1 + noise_b**-2, both)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_informations_and_intervals(setting):
    found = compute(*setting)
    a, b, both = by_hand(*setting)
    bounds = found.bounds
    assert [float(bounds.information_1), float(bounds.information_2), float(bounds.information_joint)] == pytest.approx(
        [a, b, both], abs=1e-10
    )
    assert float(bounds.redundant.lower) == pytest.approx(max(0, a + b - both), abs=1e-10)
    assert float(bounds.redundant.upper) == pytest.approx(min(a, b), abs=1e-10)
    assert float(bounds.complementary.lower) == pytest.approx(max(0, both - a - b), abs=1e-10)
    assert float(bounds.complementary.upper) == pytest.approx(both - max(a, b), abs=1e-10)
    mmi = gaussian_mmi(covariance(*setting[:2], torch.tensor(setting[2], dtype=torch.float64)))
    for part in ("redundant", "unique_1", "unique_2", "complementary"):
        assert float(getattr(found.mmi, part)) == pytest.approx(float(getattr(mmi, part)) / math.log(2), abs=1e-9)


def test_the_covariance_is_that_of_samples():
    noise = np.random.default_rng(0).standard_normal((3, 400_000))
    y, first = noise[0], noise[1]
    second = -0.6 * first + 0.8 * noise[2]
    sampled = np.cov(np.stack([y + 0.5 * first, y + 2 * second, y]))
    np.testing.assert_allclose(covariance(0.5, 2.0, torch.tensor(-0.6)).numpy(), sampled, atol=0.05)


def test_the_line_is_the_value_at_each_correlation():
    found = compute(1.0, 2.0, 0.3)
    for place in (0, 40, len(_FINE) - 1):
        _, _, both = by_hand(1.0, 2.0, _FINE[place])
        assert float(found.line.information_joint[place]) == pytest.approx(both, abs=1e-9)


@pytest.mark.parametrize(("noise_a", "noise_b"), [(1.0, 2.0), (3.0, 1.5)])
def test_a_view_with_more_noise_of_the_same_kind_is_idle(noise_a, noise_b):
    found = compute(noise_a, noise_b, 0.5)
    assert found.idle == 0.5 and float(found.bounds.complementary.upper) == pytest.approx(0, abs=1e-9)
    idle = "b" if noise_b > noise_a else "a"
    assert f"so {idle} says nothing new" in describe(found) and "nothing is left open" in describe(found)
    assert f"{idle} adds nothing, and nothing is complementary" in draw(found).to_string()
    either = [float(compute(noise_a, noise_b, at).bounds.complementary.upper) for at in (0.3, 0.7)]
    assert min(either) > 0.005


def test_the_default_makes_the_point():
    view = explore_gaussian_parts()
    assert "a knows 0.500 bits of y, b 0.500, both together 1.292" in view.text
    assert "complementary 0.292 to 0.792" in view.text
    assert "at least 0.292 bits only both together know" in view.drawn.svg.to_string()


def test_sentences_follow_the_state():
    assert "at least 0.208 bits are known twice" in draw(compute(1.0, 1.0, 0.0)).to_string()
    assert "pure noise" in describe(compute(1.0, 3.0, 0.9)) and "err alike" in describe(compute(1.0, 1.0, 0.9))
    assert "too low" in describe(compute(1.0, 1.0, -0.5)) and "averages out" in describe(compute(1.0, 1.0, 0.0))
    assert "too low: their sum is better" in describe(compute(2.0, 2.0, -0.5))
    assert "their sum, suitably weighted, is better" in describe(compute(0.25, 3.0, -0.9))
    assert repr(compute()) == "GaussianParts(correlation -0.6: complementary 0.292 to 0.792 bits)"
    assert compute().to_dict()["noise_b"] == 1.0


@pytest.mark.parametrize("noise_a", [LEAST_NOISE, 1.0, MOST_NOISE])
@pytest.mark.parametrize("noise_b", [LEAST_NOISE, MOST_NOISE])
def test_every_end_of_every_control(noise_a, noise_b):
    view = explore_gaussian_parts()
    view.controls["noise_a"].value, view.controls["noise_b"].value = noise_a, noise_b
    for correlation in (-MOST, -0.05, 0.0, MOST):
        view.controls["correlation"].value = correlation
        assert view.error is None and view.result.correlation == correlation
        assert words_outside(view.drawn.svg) == [] and "nan" not in view.drawn.svg.to_string()


@pytest.mark.parametrize("values", [(0.0, 1.0, 0.0), (1.0, float("inf"), 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, math.nan)])
def test_out_of_range(values):
    with pytest.raises(ValueError, match="compute"):
        compute(*values)

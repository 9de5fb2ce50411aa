"""The histograms show what the estimators do: means on the truth or off it, known variances, noise that holds still."""

import itertools
import math

import numpy as np
import pytest
import torch

from toolkit.core.text_width import text_width
from toolkit.estimators.control_variates import REBAR
from toolkit.estimators.marginalized import RAM
from toolkit.explorers import estimator_histograms, explore_estimator_histograms
from toolkit.explorers.coin_objectives import BITS, coin_problem
from toolkit.explorers.estimator_histograms import BIASED_SAMPLES, SAMPLES, compute, describe, draw, half_width


@pytest.mark.parametrize(("n_bits", "offset"), [(1, 0.8), (1, -3.0), (2, 0.4), (6, -0.8), (12, 0.0), (12, 2.0)])
def test_means_of_unbiased_ones_are_the_truth(n_bits, offset):
    found = compute(n_bits, offset)
    assert sum(row.unbiased for row in found.rows) == 8 and len(found.rows) == 12
    for row in found.rows:
        assert row.samples.shape == (SAMPLES if row.unbiased else BIASED_SAMPLES,)
        if row.unbiased:
            assert abs(row.mean - found.truth) < 4.5 * row.error + 1e-12, row
            assert not row.off


def test_one_coin_follows_the_closed_forms():
    offset, t = 0.8, 0.45
    mean = 1 / (1 + math.exp(-offset))
    noise, change = mean * (1 - mean), (1 - t) ** 2 - t**2
    found = compute(1, offset, t)
    assert found.truth == pytest.approx(noise * change)
    expected = {
        "LR": noise * ((1 - mean) * (1 - t) ** 2 + mean * t**2) ** 2,
        "LR, b = E f": noise * (1 - 2 * mean) ** 2 * change**2,
        "RLOO-2": change**2 * noise * (0.5 - noise),
        "ARM": change**2 * (2 / 3 * (1 / 8 - (mean - 0.5) ** 3) - noise**2),
        "DisARM": change**2 * mean**2 * (1 - mean) * (mean - 0.5),
    }
    for name, variance in expected.items():
        assert found.row(name).deviation ** 2 == pytest.approx(variance, rel=0.08), name
    assert found.row("RAM").deviation < 1e-12
    bias = noise * (2 * mean - 1)
    assert found.row("straight-through").offset == pytest.approx(bias, abs=4 * found.row("straight-through").error)
    assert found.row("straight-through").off and not found.row("ReinMax").off


def test_twelve_coins_have_the_known_variances_and_biases():
    found = compute(12)
    assert found.truth == pytest.approx(0.985, abs=5e-4)
    for name, variance in {"LR": 30.81, "LR, b = E f": 18.70, "RLOO-2": 19.7, "RAM": 1.276, "DisARM": 14.03}.items():
        assert found.row(name).total_variance == pytest.approx(variance, rel=0.1), name
    assert found.row("straight-through").offset == pytest.approx(0.151, abs=0.03)
    assert found.row("Gumbel-softmax").offset == pytest.approx(0.116, abs=0.03)
    evaluations = {row.name: row.evaluations for row in found.rows}
    assert (evaluations["LR"], evaluations["RLOO-2"], evaluations["RAM"]) == (1, 2, 13)


def test_samples_are_along_the_exact_gradient():
    problem = coin_problem(6, 0.4)
    gradient = estimator_histograms._truth(6, 0.4, 0.45).gradients[0]
    samples = RAM()(problem, noise=estimator_histograms._noise("RAM", 6)).gradients[0]
    along = (samples * gradient).sum(1) / gradient.norm()
    np.testing.assert_allclose(compute(6, 0.4).row("RAM").samples, along.numpy(), rtol=1e-12)
    assert compute(6, 0.4).truth == pytest.approx(float(gradient.norm()))


def test_the_noise_is_the_same_for_every_setting_and_only_relaxed_ones_follow_the_temperature():
    cold, warm = compute(2, 0.4, temperature=0.1), compute(2, 0.4, temperature=2.0)
    moved = {a.name for a, b in zip(cold.rows, warm.rows, strict=True) if not np.array_equal(a.samples, b.samples)}
    assert moved == {"REBAR", "Gumbel-softmax", "ST Gumbel"}
    near, here = compute(2, 0.2).row("LR").samples, compute(2, 0.2 + 1e-9).row("LR").samples
    assert np.abs(near - here).max() < 1e-6
    with_generator = REBAR(temperature=0.3)(coin_problem(2), SAMPLES, torch.Generator().manual_seed(6))
    assert with_generator.gradients[0].shape == (SAMPLES, 2)


@pytest.mark.parametrize("arguments", [{"n_bits": 0}, {"temperature": 0.0}, {"temperature": -1.0}])
def test_out_of_range(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        compute(**arguments)


def test_the_axis_is_round_and_holds_the_truth():
    for n_bits, offset in itertools.product(BITS, (-4.0, 0.0, 4.0)):
        found = compute(n_bits, offset)
        half = half_width(found)
        assert abs(found.truth) < half and float(f"{half:.2g}") == pytest.approx(half)
    assert half_width(compute(1, 0.0, 0.5)) > 0


def test_titles_fit():
    for n_bits, offset, temperature in itertools.product(BITS, (-4.0, 0.0, 1.0, 4.0), (0.05, 0.5, 5.0)):
        title = estimator_histograms._finding(compute(n_bits, offset, temperature=temperature))
        assert text_width(title, 14, bold=True) < estimator_histograms._WIDTH - 22, title


@pytest.mark.parametrize("n_bits", [1, 12])
def test_view(n_bits):
    view = explore_estimator_histograms(n_bits)
    assert view.error is None and view.controls["t"].disabled == (n_bits != 1)
    ends = {"offset": (-4.0, 4.0), "t": (0.0, 0.5, 1.0), "temperature": (0.05, 5.0)}
    for values in itertools.product(*ends.values()):
        for name, value in zip(ends, values, strict=True):
            view.controls[name].value = value
        assert view.error is None and "RAM" in view.text, view.text
    view.reset()
    assert view.text == describe(compute(n_bits)) and "exact" in draw(compute(n_bits)).to_string()


def test_the_view_changes_its_cost_and_says_what_is_off():
    view = explore_estimator_histograms(12)
    assert "length of the mean's error" in view.text and "length of the mean" in view.drawn.svg.to_string()
    assert "Off by more than chance: straight-through by 0.1" in view.text
    assert "std. dev. is 2." in view.drawn.svg.to_string()
    view.controls["n_bits"].value = 1
    assert "length of the mean's error" not in view.text
    assert "RAM never varies" in view.drawn.svg.to_string() and "1 coin: the exact derivative" in view.text
    assert not view.controls["t"].disabled

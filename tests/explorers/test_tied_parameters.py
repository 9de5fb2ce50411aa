"""The trap is real: enumeration, sampling and the closed forms agree that a shared logit turns the order round."""

import numpy as np
import pytest
import torch

from toolkit.estimators.chains import Factorized
from toolkit.estimators.exact import exact
from toolkit.explorers import explore_tied_parameters
from toolkit.explorers.tied_parameters import REACH, compute, describe, draw, enumerate_variances


def xor(z):
    return (z[..., 0] - z[..., 1]).abs()


def test_known_variances():
    middle, side = compute(0.0), compute(0.7)
    np.testing.assert_allclose(middle.shared, [0, 0, 1 / 8], atol=1e-15)
    np.testing.assert_allclose(middle.separate, [1 / 8, 1 / 16, 1 / 16], atol=1e-15)
    np.testing.assert_allclose(side.shared, [0.0279, 0.0222, 0.0872], atol=5e-5)


def test_closed_form_of_ram():
    logit = np.linspace(-4, 4, 17)
    mean = 1 / (1 + np.exp(-logit))
    found = enumerate_variances(logit)
    np.testing.assert_allclose(found.shared[2], 8 * (mean * (1 - mean)) ** 3, rtol=1e-12)
    np.testing.assert_allclose(found.gradient, 2 * mean * (1 - mean) * (1 - 2 * mean), atol=1e-15)
    assert (found.separate[2] <= found.separate[1] + 1e-15).all()
    assert (found.separate[1] <= found.separate[0] + 1e-15).all()
    assert (found.shared[1] <= found.shared[0] + 1e-15).all()


@pytest.mark.parametrize("logit", [-1.3, 0.4])
def test_samples_have_these_variances_and_covariances(logit):
    generator = torch.Generator().manual_seed(0)
    mean = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
    z = (torch.rand(400_000, 2, generator=generator, dtype=torch.float64) < mean).double()
    found = compute(logit)
    flips = torch.stack([xor(z * keep + one) - xor(z * keep) for keep, one in zip(
        torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.eye(2), strict=True)], -1)  # fmt: skip
    samples = {
        0: xor(z)[:, None] * (z - mean),
        1: (xor(z) - found.baselines[0])[:, None] * (z - mean),
        2: mean * (1 - mean) * flips,
    }
    for number, terms in samples.items():
        assert float(terms.sum(1).var()) == pytest.approx(found.shared[number], rel=0.02)
        assert float(terms.T.cov()[0, 1]) == pytest.approx(found.covariances[number], abs=5e-4)
    assert float(samples[0][:, 0].var()) == pytest.approx(found.separate[0], rel=0.02)
    alone = (xor(z) - found.baselines[1]) * (z[:, 0] - mean)
    assert float(alone.var()) == pytest.approx(found.separate[1], rel=0.02)


def test_the_gradient_is_the_enumerated_one():
    truth = exact(Factorized(torch.full((2,), 0.7, dtype=torch.float64), xor)).gradients[0].sum()
    assert float(compute(0.7).gradient) == pytest.approx(float(truth), abs=1e-12)


def test_baselines_are_the_best_constants():
    at = 0.9
    found = compute(at)
    mean = 1 / (1 + np.exp(-at))
    values = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    probability = np.where(values > 0, mean, 1 - mean).prod(1)
    cost = values.sum(1) % 2
    for score, best, baseline in (
        ((values - mean).sum(1), found.shared[1], found.baselines[0]),
        (values[:, 0] - mean, found.separate[1], found.baselines[1]),
    ):
        tried = np.linspace(-1, 2, 3001)[:, None]
        samples = (cost - tried) * score
        variance = (probability * samples**2).sum(1) - (probability * samples).sum(1) ** 2
        assert variance.min() == pytest.approx(best, abs=1e-6)
        assert tried[variance.argmin(), 0] == pytest.approx(baseline, abs=1e-3)


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers(logit):
    with pytest.raises(ValueError, match="logit"):
        compute(logit)


def test_view():
    view = explore_tied_parameters()
    assert "0, 0, 0.125" in view.text and "LR has no variance at all" in view.drawn.svg.to_string()
    for value in (-REACH, 0.7, REACH):
        view.controls["logit"].value = value
        assert view.error is None and f"φ = {value:g}".replace("-", "−") in view.text
    assert "So far out the order holds" in draw(compute(REACH)).to_string()
    between = compute(1.2)  # RAM varies less than LR without a baseline, more than LR with the best one
    plain, best, ram = between.shared
    assert best < ram < plain and "1.2 × that of LR, best b" in draw(between).to_string()
    assert describe(compute(0.7)) == describe(compute(0.7))

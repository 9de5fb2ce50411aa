"""Layers of discrete variables: against torch.distributions, and at the edges."""

import pytest
import torch
from torch.distributions import Bernoulli, OneHotCategorical

from tests.estimators.problems import waves
from toolkit.estimators import layers
from toolkit.estimators.layers import BernoulliLayer, CategoricalLayer, draw_open_uniform

COINS, DICE = BernoulliLayer(3), CategoricalLayer(2, 4)
CPU = torch.device("cpu")


def test_coins_agree_with_torch_distributions():
    logits = waves(1, 5, 3, scale=3)
    values = (waves(2, 5, 3) > 0).double()
    reference = Bernoulli(logits=logits)
    assert torch.allclose(COINS.log_prob(values, logits), reference.log_prob(values), atol=1e-14)
    assert torch.allclose(COINS.entropy(logits), reference.entropy(), atol=1e-14)
    assert torch.equal(COINS.probabilities(logits), reference.probs)


def test_dice_agree_with_torch_distributions():
    logits = waves(3, 5, 2, 4, scale=3)
    values = DICE.sample(logits, torch.full((5, 2), 0.7, dtype=torch.float64))
    reference = OneHotCategorical(logits=logits)
    assert torch.allclose(DICE.log_prob(values, logits), reference.log_prob(values), atol=1e-14)
    assert torch.allclose(DICE.entropy(logits), reference.entropy(), atol=1e-14)
    assert torch.allclose(DICE.probabilities(logits), reference.probs, atol=1e-15)


@pytest.mark.parametrize("layer", [COINS, DICE], ids=["coins", "dice"])
def test_scores_and_entropy_gradients_are_the_derivatives(layer):
    logits = waves(4, 6, *layer.shape, scale=2).requires_grad_()
    values = layer.sample(logits.detach(), torch.full((6, layer.size), 0.4, dtype=torch.float64))
    (score,) = torch.autograd.grad(layer.log_prob(values, logits).sum(), logits)
    (entropy,) = torch.autograd.grad(layer.entropy(logits).sum(), logits)
    assert torch.allclose(layer.score(values, logits), score, atol=1e-14)
    assert torch.allclose(layer.entropy_gradient(logits), entropy, atol=1e-14)


@pytest.mark.parametrize("coupling", ["inverse_cdf", "gumbel"])
@pytest.mark.parametrize("layer", [COINS, DICE], ids=["coins", "dice"])
def test_frequencies_are_the_probabilities(layer, coupling):
    logits = waves(5, *layer.shape, scale=2)
    n = 200_000
    noise = draw_open_uniform(
        (n, *layer.noise_shape(coupling)),
        generator=torch.Generator().manual_seed(0),
        device=CPU,
        dtype=torch.float64,
    )
    mean = layer.sample(logits, noise, coupling).mean(0)
    expected = layer.probabilities(logits)
    error = (expected * (1 - expected) / n).sqrt()
    assert ((mean - expected).abs() / error).max() < 4.5


@pytest.mark.parametrize("layer", [BernoulliLayer(4), CategoricalLayer(3, 3)], ids=["coins", "dice"])
def test_all_values_are_each_configuration_once(layer):
    values = layer.all_values(torch.float64)
    assert values.shape == (layer.arity**layer.size, *layer.shape)
    assert len(torch.unique(values, dim=0)) == len(values)
    total = layer.log_prob(values, waves(6, *layer.shape)).sum(-1).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-14)


def test_an_alternative_is_another_value_and_all_are_reached():
    values = DICE.sample(waves(7, 9, 2, 4), torch.full((9, 2), 0.3, dtype=torch.float64))
    found = {shift: DICE.values_to_index(DICE.with_value(values, shift)) for shift in (1, 2, 3)}
    present = DICE.values_to_index(values)
    together = torch.stack([present, *found.values()]).sort(0).values
    assert (together == torch.arange(4)[:, None, None]).all()
    assert torch.equal(COINS.with_value(torch.tensor([0.0, 1.0, 0.0]), 1), torch.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_finite_numbers(dtype):
    logits = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=dtype)
    coins = BernoulliLayer(5)
    values = coins.sample(logits, torch.full((5,), 0.5, dtype=dtype))
    assert values.tolist() == [0, 0, 0, 1, 1]
    for function in (coins.entropy, coins.entropy_gradient, coins.probabilities):
        assert torch.isfinite(function(logits)).all()
    assert torch.isfinite(coins.log_prob(values, logits)).all()
    dice = CategoricalLayer(1, 5)
    for function in (dice.entropy, dice.entropy_gradient, dice.probabilities):
        assert torch.isfinite(function(logits[None])).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_open_noise_has_finite_logits_and_gumbels(dtype, monkeypatch):
    step = torch.finfo(dtype).eps
    # The ends of the generator's grid, which a draw meets too seldom to wait for.
    monkeypatch.setattr(layers, "draw_uniform", lambda *_, **__: torch.tensor([0.0, 1 - step / 2], dtype=dtype))
    ends = draw_open_uniform((2,), generator=torch.Generator(), device=CPU, dtype=dtype)
    assert (ends > 0).all() and (ends < 1).all()
    assert torch.isfinite(torch.logit(ends)).all()
    assert torch.isfinite(torch.log(-torch.log(ends))).all()

"""Networks: what they compute, against distributions of another library; where their randomness comes from."""

import itertools
import math

import pytest
import torch
from torch.distributions import Bernoulli

from toolkit.estimators.models import Generated, SigmoidBeliefNetwork, bernoulli_log_prob, draw_binary, softplus


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(sizes=(5, 3, 2), hidden=None, **options) -> SigmoidBeliefNetwork:
    """Return a small network, all of whose parameters and whose mean are random."""
    model = SigmoidBeliefNetwork(sizes, hidden=hidden, generator=seeded(), device="cpu", dtype=torch.float64, **options)
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        model.mean.copy_(torch.rand(model.mean.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.parametrize("hidden", [None, (), 0, 1, 2, (4,), (4, 3)])
def test_conditionals_mirror_each_other(hidden):
    model = network(hidden=hidden)
    assert model.depth == 2
    assert model.linear == (not hidden)
    x = torch.rand(7, 2, 5, dtype=torch.float64)
    first = model.inference_logits(0, x)
    assert first.shape == (7, 2, 3)
    assert model.inference_logits(1, first).shape == (7, 2, 2)
    assert model.generative_logits(0, first).shape == x.shape
    assert model.generative_logits(1, torch.rand(2, dtype=torch.float64)).shape == (3,)


def test_hidden_layers_are_tanh_and_as_wide_as_told():
    model = network((6, 4), hidden=2)
    up, down = model.inference[0], model.generation[0]
    assert [module.weight.shape for module in up if hasattr(module, "weight")] == [(6, 6), (6, 6), (4, 6)]
    assert [module.weight.shape for module in down if hasattr(module, "weight")] == [(4, 4), (4, 4), (6, 4)]
    z = torch.tensor([1.0, 0, 1, 1], dtype=torch.float64)
    first, _, second, _, third = down
    by_hand = torch.tanh(z @ first.weight.T + first.bias)
    by_hand = torch.tanh(by_hand @ second.weight.T + second.bias) @ third.weight.T + third.bias
    torch.testing.assert_close(model.generative_logits(0, z), by_hand)
    widths = [
        module.weight.shape[0] for module in network((6, 4), hidden=(5, 3)).inference[0] if hasattr(module, "bias")
    ]
    assert widths == [5, 3, 4]


def test_initial_weights_are_glorot_uniform_and_come_from_the_generator_alone():
    before = torch.random.get_rng_state()
    model = SigmoidBeliefNetwork((300, 100), generator=seeded(3), device="cpu")
    again = SigmoidBeliefNetwork((300, 100), generator=seeded(3), device="cpu")
    other = SigmoidBeliefNetwork((300, 100), generator=seeded(4), device="cpu")
    SigmoidBeliefNetwork((5, 2), device="cpu").sample(2)
    assert torch.equal(before, torch.random.get_rng_state())
    weight, bound = model.inference[0].weight, math.sqrt(6 / 400)
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert abs(weight.mean().item()) < 4.5 * bound / math.sqrt(3 * weight.numel())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(model.inference[0].weight, other.inference[0].weight)
    assert not model.prior_logits.any() and not model.generation[0].bias.any() and not model.inference[0].bias.any()
    assert model.prior_logits.dtype == torch.float32


def test_inference_sees_the_image_less_the_mean():
    model = network()
    images = torch.rand(4, 6, 5, dtype=torch.float32)
    model.set_mean(images)
    torch.testing.assert_close(model.mean, images.double().reshape(-1, 5).mean(0))
    weight, bias = model.inference[0].weight, model.inference[0].bias
    x = torch.rand(2, 5, dtype=torch.float64)
    torch.testing.assert_close(model.inference_logits(0, x), (x - model.mean) @ weight.T + bias)
    torch.testing.assert_close(model.inference_weights(0), weight.T)
    torch.testing.assert_close(model.generative_weights(1), model.generation[1].weight.T)
    binary = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]], dtype=torch.uint8)
    model.set_mean(binary)
    assert model.mean.tolist() == [0.5, 0, 1, 0.5, 0]
    given = SigmoidBeliefNetwork((5, 2), mean=torch.full((5,), 0.25), device="cpu")
    assert given.mean.tolist() == [0.25] * 5
    assert "mean" in given.state_dict() and not any(p is given.mean for p in given.parameters())


@pytest.mark.parametrize("hidden", [None, 1])
@pytest.mark.parametrize("sizes", [(5, 3), (5, 3, 2), (4, 2, 3, 2)])
def test_log_joint_is_the_product_of_the_conditionals(sizes, hidden):
    model = network(sizes, hidden)
    generator = seeded(5)
    x = draw_binary(torch.full((2, sizes[0]), 0.5, dtype=torch.float64), generator)
    values = [draw_binary(torch.full((3, 2, n), 0.5, dtype=torch.float64), generator) for n in sizes[1:]]
    expected = Bernoulli(logits=model.prior_logits).log_prob(values[-1]).sum(-1)
    for layer, below in enumerate([x, *values[:-1]]):
        logits = model.generative_logits(layer, values[layer])
        expected = expected + Bernoulli(logits=logits).log_prob(below.expand(logits.shape)).sum(-1)
    torch.testing.assert_close(model.log_joint(x, values), expected, rtol=1e-12, atol=1e-12)
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=sum(sizes))), dtype=torch.float64)
    x, *values = everything.split(sizes, -1)
    assert model.log_joint(x, values).logsumexp(0).item() == pytest.approx(0, abs=1e-12)


def test_samples_have_the_model_s_distribution():
    model = network((4, 3, 2))
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)), dtype=torch.float64)
    x, *values = everything.split((4, 3, 2), -1)
    probabilities = model.log_joint(x, values).exp()
    expected = (probabilities[:, None, None] * everything[:, :, None] * everything[:, None, :]).sum(0)
    drawn = model.sample(100_000, seeded(6))
    joined = torch.cat((drawn.images, *drawn.values), -1)
    found = joined.T @ joined / len(joined)
    z = (found - expected) / (expected * (1 - expected) / len(joined)).sqrt()
    assert z.abs().max() < 4.5
    assert not drawn.images.requires_grad
    torch.testing.assert_close(drawn.probabilities, torch.sigmoid(model.generative_logits(0, drawn.values[0])))
    again = model.sample(100_000, seeded(6))
    assert torch.equal(drawn.images, again.images)
    assert model.sample(0).images.shape == (0, 4)
    assert len(model.sample(2).to_dict()["values"]) == 2
    assert repr(drawn) == "Generated(images (100000, 4))"


def test_reconstructions_come_from_inferred_variables():
    model = network((4, 3))
    x = torch.tensor([1.0, 0, 0, 1], dtype=torch.float64)
    made = model.reconstruct(x.expand(50_000, 4), seeded(7))
    assert isinstance(made, Generated)
    values = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    weights = bernoulli_log_prob(values, model.inference_logits(0, x)).exp()
    expected = (weights[:, None] * torch.sigmoid(model.generative_logits(0, values))).sum(0)
    z = (made.images.mean(0) - expected) / (expected * (1 - expected) / 50_000).sqrt()
    assert z.abs().max() < 4.5
    torch.testing.assert_close(made.probabilities, torch.sigmoid(model.generative_logits(0, made.values[0])))
    assert model.reconstruct(x.detach()).images.shape == (4,)


def test_log_prob_and_softplus_keep_their_digits():
    logits = torch.tensor([-800.0, -30, -1, 0, 1, 21, 30, 39.9, 800], dtype=torch.float64)
    expected = torch.logaddexp(logits, torch.zeros_like(logits))
    torch.testing.assert_close(softplus(logits), expected, rtol=1e-15, atol=0)
    ones = torch.ones_like(logits)
    assert bernoulli_log_prob(ones[-1:], logits[-1:]) == 0 and bernoulli_log_prob(0 * ones[:1], logits[:1]) == 0
    assert bernoulli_log_prob(ones[:1], logits[:1]).item() == -800
    assert torch.isfinite(bernoulli_log_prob(ones.float(), logits.float()))
    grey = torch.tensor([0.3], dtype=torch.float64)
    expected = 0.3 * math.log(0.6) + 0.7 * math.log(0.4)
    assert bernoulli_log_prob(grey, torch.logit(torch.tensor([0.6], dtype=torch.float64))).item() == pytest.approx(
        expected
    )


def test_draw_binary_draws_each_entry_with_its_probability():
    probabilities = torch.tensor([0.0, 0.2, 0.7, 1.0]).expand(50_000, 4)
    drawn = draw_binary(probabilities, seeded(8))
    assert drawn.dtype == torch.float32 and set(drawn.unique().tolist()) == {0.0, 1.0}
    assert not drawn[:, 0].any() and drawn[:, 3].all()
    assert abs(drawn[:, 1].mean() - 0.2) < 4.5 * math.sqrt(0.16 / 50_000)
    assert torch.equal(drawn, draw_binary(probabilities, seeded(8)))


@pytest.mark.parametrize(
    ("arguments", "kind", "name"),
    [
        ({"sizes": (784,)}, ValueError, "sizes"),
        ({"sizes": (5, 0)}, ValueError, "sizes"),
        ({"sizes": (5, True)}, TypeError, "sizes"),
        ({"hidden": -1}, ValueError, "hidden"),
        ({"hidden": (3, 0)}, ValueError, "hidden"),
        ({"hidden": True}, TypeError, "hidden"),
        ({"dtype": torch.int64}, TypeError, "dtype"),
        ({"mean": torch.zeros(4)}, ValueError, "mean"),
    ],
)
def test_refusals(arguments, kind, name):
    with pytest.raises(kind, match=name):
        SigmoidBeliefNetwork(**{"sizes": (5, 2), "device": "cpu", **arguments})


def test_refusals_of_methods():
    model = network(hidden=1)
    with pytest.raises(ValueError, match="hidden"):
        model.inference_weights(0)
    with pytest.raises(ValueError, match="images"):
        model.set_mean(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="images"):
        model.set_mean(torch.zeros(0, 5))
    with pytest.raises(ValueError, match="'n'"):
        model.sample(-1)

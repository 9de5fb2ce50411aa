"""Bounds on the likelihood of images against the likelihood itself."""

import itertools
import math

import pytest
import torch

from toolkit.estimators.bounds import evidence_lower_bound, exact_log_likelihood, importance_weighted_bound
from toolkit.estimators.exact import exact
from toolkit.estimators.models import SigmoidBeliefNetwork
from toolkit.estimators.sigmoid_belief import SigmoidBeliefBound


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(sizes, hidden=None, dtype=torch.float64, scale=0.4) -> SigmoidBeliefNetwork:
    model = SigmoidBeliefNetwork(sizes, hidden=hidden, generator=seeded(), device="cpu", dtype=dtype)
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def images(*shape, dtype=torch.float64):
    return torch.rand(shape, generator=seeded(2), dtype=torch.float64).round().to(dtype)


@pytest.mark.parametrize("hidden", [None, (3,)])
@pytest.mark.parametrize("sizes", [(5, 3), (4, 3, 2), (3, 2, 3, 2)])
def test_the_likelihood_is_the_sum_over_all_latent_variables(sizes, hidden):
    model, x = network(sizes, hidden), images(2, 3, sizes[0])
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=sum(sizes[1:]))), dtype=torch.float64)
    values = [part[:, None, None].expand(-1, 2, 3, -1) for part in everything.split(sizes[1:], -1)]
    expected = model.log_joint(x, values).logsumexp(0)
    torch.testing.assert_close(exact_log_likelihood(model, x), expected, rtol=1e-12, atol=1e-12)
    assert exact_log_likelihood(model, x[0, 0]).shape == ()
    assert not exact_log_likelihood(model, x).requires_grad
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=sizes[0])), dtype=torch.float64)
    assert exact_log_likelihood(model, everything).logsumexp(0).item() == pytest.approx(0, abs=1e-12)


def test_the_likelihood_of_deep_networks_takes_pairs_of_layers():
    model = network((6, 9, 8, 9, 10))
    found = exact_log_likelihood(model, images(3, 6))
    estimate = importance_weighted_bound(model, images(3, 6), 20_000, seeded(3))
    assert ((estimate.values - found) / estimate.standard_error).abs().max() < 6


@pytest.mark.parametrize("entropy", ["analytic", "sampled"])
def test_the_lower_bound_is_the_exact_bound_within_its_error(entropy):
    model, x = network((5, 3, 2)), images(4, 5)
    truth = exact(SigmoidBeliefBound(model, x)).value
    found = evidence_lower_bound(model, x, 20_000, seeded(4), entropy=entropy)
    assert ((found.values - truth) / found.standard_error).abs().max() < 4.5
    assert found.effective_samples is None
    assert (truth <= exact_log_likelihood(model, x)).all()


def test_sampled_terms_have_no_noise_where_inference_is_exact():
    model = network((4, 1))
    x = torch.ones(4, dtype=torch.float64)
    with torch.no_grad():
        # One variable: the posterior's logit is the difference of the two joints.
        joint = model.log_joint(x, [torch.tensor([[0.0], [1.0]], dtype=torch.float64)])
        model.inference[0].weight.zero_()
        model.inference[0].bias.fill_(joint[1] - joint[0])
    truth = exact_log_likelihood(model, x)
    found = evidence_lower_bound(model, x, 100, seeded(5), entropy="sampled")
    torch.testing.assert_close(found.values, truth)
    assert found.standard_error < 1e-12
    assert evidence_lower_bound(model, x, 100, seeded(5), entropy="analytic").standard_error > 1e-3


@pytest.mark.parametrize("hidden", [None, (3,)])
def test_the_importance_weighted_bound_climbs_from_the_lower_bound_to_the_likelihood(hidden):
    model, x = network((5, 3, 2), hidden), images(5)
    many = x.expand(40_000, 5)
    truth = exact_log_likelihood(model, x).item()
    lower = exact(SigmoidBeliefBound(model, x)).value.item()
    means = []
    for count in (1, 2, 10):
        found = importance_weighted_bound(model, many, count, seeded(count)).values
        error = found.std().item() / math.sqrt(len(found))
        if count == 1:
            assert abs(found.mean().item() - lower) < 4.5 * error
        means.append(found.mean().item())
        assert found.mean().item() < truth + 4.5 * error
    assert lower < means[1] < means[2] < truth
    found = importance_weighted_bound(model, x, 200_000, seeded(6))
    assert abs(found.values.item() - truth) < 4.5 * found.standard_error.item() < 0.05


def test_the_standard_errors_are_those_of_repeats():
    model, x = network((5, 3, 2)), images(5).expand(1_500, 5)
    for found in (
        importance_weighted_bound(model, x, 400, seeded(7), chunk=10**5),
        evidence_lower_bound(model, x, 50, seeded(8), chunk=10**5),
    ):
        assert found.standard_error.mean().item() == pytest.approx(found.values.std().item(), rel=0.08)
        assert found.mean_standard_error == pytest.approx(found.values.std().item() / math.sqrt(1_500), rel=0.08)


@pytest.mark.parametrize("bound", [importance_weighted_bound, evidence_lower_bound])
def test_the_squared_standard_error_of_few_samples_has_no_bias_from_their_number(bound):
    # Weights that hardly vary, so that the logarithm of their mean is as good as linear.
    model, x = network((5, 3), scale=0.05), images(5).expand(40_000, 5)
    found = bound(model, x, 3, seeded(14), chunk=10**6)
    assert found.standard_error.square().mean().item() == pytest.approx(found.values.var().item(), rel=0.05)


def test_perfect_inference_has_no_noise():
    model = network((4, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    found = importance_weighted_bound(model, images(3, 4), 100, seeded())
    torch.testing.assert_close(found.values, torch.full((3,), -4 * math.log(2), dtype=torch.float64))
    assert found.standard_error.max() < 1e-7
    torch.testing.assert_close(found.effective_samples, torch.full((3,), 100.0, dtype=torch.float64))


@pytest.mark.parametrize("bound", [importance_weighted_bound, evidence_lower_bound])
def test_chunks_bound_what_is_computed_at_once(bound, monkeypatch):
    model, x = network((5, 3, 2)), images(7, 5)
    seen = []
    compute = SigmoidBeliefBound.compute_signals

    def watched(self, values, logits):
        seen.append(values[0].shape[:-1])
        return compute(self, values, logits)

    monkeypatch.setattr(SigmoidBeliefBound, "compute_signals", watched)
    whole = bound(model, x, 5_000, seeded(9), chunk=10**6)
    assert seen == [(5_000, 7)]
    for chunk in (3, 7, 100):
        seen.clear()
        found = bound(model, x, 60, seeded(10), chunk=chunk)
        assert max(draws * count for draws, count in seen) <= chunk
        assert sum(draws * count for draws, count in seen) == 60 * 7
        error = (found.standard_error**2 + whole.standard_error**2).sqrt()
        assert ((found.values - whole.values) / error).abs().max() < 4.5
    seen.clear()
    bound(model, x[0], 50_000, seeded(11))
    assert max(draws * count for draws, count in seen) <= 2**16


@pytest.mark.parametrize("bound", [importance_weighted_bound, evidence_lower_bound])
def test_shapes_purity_and_one_sample(bound):
    model, x = network((5, 3, 2), dtype=torch.float32), images(2, 3, 5, dtype=torch.float32)
    found = bound(model, x, 4, seeded(12))
    assert found.values.shape == found.standard_error.shape == (2, 3)
    assert found.values.dtype == torch.float32 and not found.values.requires_grad
    assert torch.equal(found.values, bound(model, x, 4, seeded(12)).values)
    assert "nats" in repr(found) and found.to_dict()["mean"] == pytest.approx(found.values.mean().item())
    assert bound(model, x[0, 0], 3).values.shape == ()
    assert bound(model, x[:0], 3).values.shape == (0, 3)
    assert bound(model, x, 1).standard_error.isnan().all()
    before = torch.random.get_rng_state()
    bound(model, x, 2)
    assert torch.equal(before, torch.random.get_rng_state())


def test_extreme_weights_do_not_overflow():
    model = network((30, 3), dtype=torch.float32)
    with torch.no_grad():
        model.generation[0].weight.mul_(1_000)
    found = importance_weighted_bound(model, images(4, 30, dtype=torch.float32), 500, seeded(13), chunk=8)
    truth = exact_log_likelihood(model, images(4, 30, dtype=torch.float32))
    assert torch.isfinite(found.values).all()
    assert (found.effective_samples >= 1).all()
    torch.testing.assert_close(found.values, truth, rtol=0.05, atol=5)


@pytest.mark.parametrize("bound", [importance_weighted_bound, evidence_lower_bound])
def test_refusals(bound):
    model, x = network((5, 3, 2)), images(2, 5)
    for arguments, kind, name in [
        ({"n_samples": 0}, ValueError, "'n_samples'"),
        ({"n_samples": True}, TypeError, "'n_samples'"),
        ({"chunk": 0}, ValueError, "'chunk'"),
        ({"x": x[:, :4]}, ValueError, "'x'"),
    ]:
        with pytest.raises(kind, match=name):
            bound(**{"model": model, "x": x, "generator": seeded(), **arguments})
    with pytest.raises(ValueError, match="'entropy'"):
        evidence_lower_bound(model, x, entropy="none")
    for sizes in ((5, 17), (5, 11, 10)):
        with pytest.raises(ValueError, match="'model'"):
            exact_log_likelihood(network(sizes), x)

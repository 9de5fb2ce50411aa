"""The bound of sigmoid belief networks: exact values and gradients, local signals, and flips by rank-one updates."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from tests.estimators.configurations import noise_of_all
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.exact import Enumeration, exact
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.models import SigmoidBeliefNetwork
from toolkit.estimators.multi_sample import exact_bound
from toolkit.estimators.problems import Problem
from toolkit.estimators.registry import suitable
from toolkit.estimators.sigmoid_belief import ENTROPIES, SigmoidBeliefBound

SIZES = [(4, 3), (4, 3, 2), (3, 2, 3, 2)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(sizes, hidden=None, scale=1.0, dtype=torch.float64) -> SigmoidBeliefNetwork:
    """Return a network, all of whose parameters and whose mean are random."""
    model = SigmoidBeliefNetwork(sizes, hidden=hidden, generator=seeded(), device="cpu", dtype=dtype)
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        model.mean.copy_(torch.rand(model.mean.shape, generator=generator, dtype=torch.float64))
    return model


def images(*shape, seed=2, dtype=torch.float64) -> Tensor:
    return torch.rand(shape, generator=seeded(seed), dtype=torch.float64).round().to(dtype)


def bound_by_hand(model: SigmoidBeliefNetwork, x: Tensor, offsets=None) -> Tensor:
    """Return the bound of each image by enumeration, written with another library's distributions."""
    offsets = offsets or [0.0] * model.depth
    total = torch.zeros(x.shape[:-1], dtype=x.dtype)
    for bits in itertools.product([0.0, 1.0], repeat=sum(model.sizes[1:])):
        values = [part.expand(*x.shape[:-1], -1) for part in torch.tensor(bits, dtype=x.dtype).split(model.sizes[1:])]
        levels = [x, *values]
        log_p = Bernoulli(logits=model.prior_logits).log_prob(values[-1]).sum(-1)
        log_q = torch.zeros_like(total)
        for layer in range(model.depth):
            down = model.generation[layer](levels[layer + 1])
            log_p = log_p + (levels[layer] * torch.nn.functional.logsigmoid(down)).sum(-1)
            log_p = log_p + ((1 - levels[layer]) * torch.nn.functional.logsigmoid(-down)).sum(-1)
            up = model.inference[layer](levels[layer] - (model.mean if layer == 0 else 0)) + offsets[layer]
            log_q = log_q + Bernoulli(logits=up).log_prob(levels[layer + 1]).sum(-1)
        total = total + log_q.exp() * (log_p - log_q)
    return total


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("hidden", [None, (3,)])
@pytest.mark.parametrize("sizes", SIZES)
def test_exact_value_and_gradients_are_those_of_the_bound(sizes, hidden, entropy):
    model, x = network(sizes, hidden), images(2, sizes[0])
    found = exact(SigmoidBeliefBound(model, x, entropy=entropy))
    offsets = [torch.zeros(2, size, dtype=x.dtype, requires_grad=True) for size in sizes[1:]]
    expected = bound_by_hand(model, x, offsets)
    torch.testing.assert_close(found.value, expected.detach(), rtol=1e-12, atol=1e-12)
    for ours, truth in zip(found.gradients, torch.autograd.grad(expected.sum(), offsets), strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("hidden", [None, (3,)])
@pytest.mark.parametrize("sizes", SIZES)
def test_local_signals_give_the_gradient_of_the_bound(sizes, hidden, entropy):
    problem = SigmoidBeliefBound(network(sizes, hidden), images(2, sizes[0]), entropy=entropy)
    truth = exact(problem)
    noise, probabilities = noise_of_all(problem)
    samples = LikelihoodRatio()(problem, noise=noise)
    torch.testing.assert_close((probabilities * samples.cost).sum(0), truth.value)
    enumerated = Enumeration()(problem).gradients
    for found, same, expected in zip(samples.gradients, enumerated, truth.gradients, strict=True):
        torch.testing.assert_close((probabilities[..., None] * found).sum(0), expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(same[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("hidden", [None, (3,)])
def test_every_estimator_without_bias_has_the_gradient_of_the_bound(hidden, entropy):
    problem = SigmoidBeliefBound(network((4, 2, 2), hidden), images(4), entropy=entropy)
    truths = {"expected cost": exact(problem), "n-sample bound": exact_bound(problem, 2)}
    n_samples, met = 40_000, set()
    for entry, estimator in suitable(problem):
        samples = estimator(problem, 1 if entry.name == "exact" else n_samples, seeded(11))
        assert samples.evaluations == estimator.expected_evaluations(problem)
        if not entry.unbiased or entry.name == "exact":
            continue
        met.add(entry.name)
        truth = truths[estimator.objective]
        for mean, variance, expected in zip(samples.mean(), samples.variance(), truth.gradients, strict=True):
            error = (variance / n_samples).sqrt().clamp(min=1e-12)
            assert ((mean - expected) / error).abs().max() < 4.5, entry.name
    assert {"lr", "rloo", "vimco", "muprop", "leg", "ram", "ram-fresh", "disarm", "rebar"} <= met


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("hidden", [None, (3,)])
def test_the_surrogate_has_the_gradient_of_the_bound_for_every_parameter(hidden, entropy):
    model, x = network((4, 2, 2), hidden), images(4)
    parameters = list(model.parameters())
    problem = SigmoidBeliefBound(model, x, entropy=entropy)
    noise, probabilities = noise_of_all(problem)
    found = [torch.zeros_like(parameter) for parameter in parameters]
    for index, probability in enumerate(probabilities):
        one = {"values": tuple(part[index : index + 1] for part in noise["values"])}
        scalar = surrogate(problem, LikelihoodRatio()(problem, noise=one))
        for total, gradient in zip(found, torch.autograd.grad(scalar, parameters), strict=True):
            total += probability.detach() * gradient
    enumerated = torch.autograd.grad(surrogate(problem, Enumeration()(problem)), parameters)
    expected = torch.autograd.grad(bound_by_hand(model, x), parameters)
    for ours, same, truth in zip(found, enumerated, expected, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(same, truth, rtol=1e-10, atol=1e-10)


def test_the_direct_term_reaches_the_generative_network_alone():
    model, x = network((4, 3, 2)), images(5, 4)
    values = (images(7, 5, 3), images(7, 5, 2))
    direct = SigmoidBeliefBound(model, x).compute_direct(values)
    torch.testing.assert_close(direct, model.log_joint(x, values))
    direct.sum().backward()
    assert all(parameter.grad is None for parameter in model.inference.parameters())
    assert all(parameter.grad.any() for parameter in [*model.generation.parameters(), model.prior_logits])


@pytest.mark.parametrize("entropy", ENTROPIES)
def test_signals_leave_out_what_a_layer_cannot_change(entropy):
    model, x = network((4, 3, 2, 2)), images(4)
    problem = SigmoidBeliefBound(model, x, entropy=entropy)
    values = (images(3, seed=3), images(2, seed=4), images(2, seed=5))
    logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(3))
    signals = problem.signals(values, logits)

    def log_p(layer):
        below = x if layer == 0 else values[layer - 1]
        return Bernoulli(logits=model.generative_logits(layer, values[layer])).log_prob(below).sum()

    q = [Bernoulli(logits=part) for part in logits]
    entropies = [part.entropy().sum() for part in q]
    sampled = [-part.log_prob(value).sum() for part, value in zip(q, values, strict=True)]
    prior = Bernoulli(logits=model.prior_logits).log_prob(values[-1]).sum()
    if entropy == "analytic":
        last = log_p(2) + prior
        middle = log_p(1) + log_p(2) + prior + entropies[2]
        whole = log_p(0) + log_p(1) + log_p(2) + prior + sum(entropies)
    else:
        last = log_p(2) + prior + sampled[2]
        middle = last + log_p(1) + sampled[1]
        whole = middle + log_p(0) + sampled[0]
    for found, expected in zip(signals, (whole, middle, last), strict=True):
        torch.testing.assert_close(found, expected)


def drawn(problem: SigmoidBeliefBound, leading=(3,), seed=4):
    noise = problem.draw_noise(leading, seeded(seed))
    values, logits = problem.sample(noise)
    return noise, values, logits, problem.signals(values, logits)


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("sizes", [*SIZES, (1, 1, 1)])
@torch.no_grad()
def test_alternatives_by_rank_one_are_the_generic_ones(sizes, batch, entropy, fresh):
    problem = SigmoidBeliefBound(network(sizes), images(*batch, sizes[0]), entropy=entropy)
    noise, values, logits, signals = drawn(problem)
    for layer, size in enumerate(sizes[1:]):
        later = noise[layer + 1 :]
        if fresh:
            later = [torch.rand(size, *part.shape, generator=seeded(9), dtype=part.dtype) for part in later]
        generic, fast = problem.counted(), problem.counted()
        expected = Problem.alternatives(generic, layer, values, logits, signals[layer], noise=later, fresh=fresh)
        found = fast.alternatives(layer, values, logits, signals[layer], noise=later, fresh=fresh)
        assert found.shape == (3, *batch, size, 2)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert fast.rows == generic.rows == size * signals[layer].numel()
        for chunk in (1, 2, 100):
            found = fast.alternatives(layer, values, logits, signals[layer], noise=later, fresh=fresh, chunk=chunk)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        present = found.gather(-1, values[layer].long()[..., None])
        assert torch.equal(present, signals[layer][..., None, None].expand(present.shape))


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("sizes", [*SIZES, (1, 1, 1)])
@torch.no_grad()
def test_neighbours_by_rank_one_are_the_generic_ones(sizes, batch, entropy):
    problem = SigmoidBeliefBound(network(sizes), images(*batch, sizes[0]), entropy=entropy)
    _, values, logits, signals = drawn(problem)
    for layer, size in enumerate(sizes[1:]):
        generic, fast = problem.counted(), problem.counted()
        expected, expected_children = Problem.neighbours(generic, layer, values, logits, signals[layer])
        for chunk in (None, 2):
            found, children = fast.neighbours(layer, values, logits, signals[layer], chunk=chunk)
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
            assert (children is None) == (expected_children is None) == (layer + 1 == problem.depth)
            if children is not None:
                torch.testing.assert_close(children, expected_children, rtol=1e-12, atol=1e-12)
        assert fast.rows == 2 * generic.rows == 2 * size * signals[layer].numel()


@pytest.mark.parametrize("hidden", [1, (60,)])
@torch.no_grad()
def test_flips_of_a_nonlinear_network_come_in_blocks_of_bounded_size(hidden, monkeypatch):
    problem = SigmoidBeliefBound(network((50, 40, 9), hidden), images(20, 50))
    noise, values, logits, signals = drawn(problem, (10,))
    given = [values, logits, signals[0]]
    expected = Problem.alternatives(problem, 0, *given, noise=noise[1:])
    neighbours, children = Problem.neighbours(problem, 0, *given)
    counted = problem.counted()
    compute, seen = SigmoidBeliefBound.compute_signals, []

    def watched(self, values, logits):
        seen.append(values[0].shape[0])
        return compute(self, values, logits)

    monkeypatch.setattr(SigmoidBeliefBound, "compute_signals", watched)
    torch.testing.assert_close(counted.alternatives(0, *given, noise=noise[1:]), expected, rtol=1e-12, atol=1e-12)
    found = counted.neighbours(0, *given)
    torch.testing.assert_close(found[0], neighbours, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], children, rtol=1e-12, atol=1e-12)
    assert sum(seen) == 80 and max(seen) * 200 * 50 <= 2**18
    assert counted.rows == 2 * 40 * 200


@torch.no_grad()
def test_flips_of_a_wide_network_cross_blocks_and_huge_weights_stay_right():
    for scale in (0.3, 400.0):
        problem = SigmoidBeliefBound(network((300, 70, 60, 50), scale=scale), images(20, 300))
        noise, values, logits, signals = drawn(problem, (2,))
        for layer in range(3):
            expected = Problem.alternatives(problem, layer, values, logits, signals[layer], noise=noise[layer + 1 :])
            found = problem.alternatives(layer, values, logits, signals[layer], noise=noise[layer + 1 :])
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-10)


@torch.no_grad()
def test_flips_in_single_precision():
    problem = SigmoidBeliefBound(network((40, 30), scale=0.5, dtype=torch.float32), images(6, 40))
    noise, values, logits, signals = drawn(problem)
    expected = Problem.alternatives(problem, 0, values, logits, signals[0], noise=noise[1:])
    found = problem.alternatives(0, values, logits, signals[0], noise=noise[1:])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("hidden", [None, (3,)])
def test_flips_can_be_differentiated_where_gradients_are_recorded(hidden):
    problem = SigmoidBeliefBound(network((4, 3, 2), hidden), images(2, 4))
    noise, values, logits, signals = drawn(problem)
    found = problem.alternatives(0, values, logits, signals[0], noise=noise[1:])
    with torch.no_grad():
        quick = problem.alternatives(0, values, logits, signals[0], noise=noise[1:])
    torch.testing.assert_close(found.detach(), quick, rtol=1e-12, atol=1e-12)
    found.sum().backward()
    assert problem.model.prior_logits.grad is not None


def test_signals_are_differentiable_with_respect_to_relaxed_values():
    problem = SigmoidBeliefBound(network((4, 3, 2)), images(4), entropy="sampled")
    first, second = (torch.rand(n, dtype=torch.float64, generator=seeded(n)).requires_grad_() for n in (3, 2))

    def whole(first, second):
        return problem.compute_signals((first, second), (problem.logits(0, None), problem.logits(1, first)))[0]

    assert torch.autograd.gradcheck(whole, (first, second))


def test_a_step_along_the_surrogate_raises_the_bound():
    model, x = network((6, 4, 3)), images(5, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    before = exact(SigmoidBeliefBound(model, x)).value.mean()
    for _ in range(20):
        problem = SigmoidBeliefBound(model, x)
        loss = -surrogate(problem, Enumeration()(problem))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert exact(SigmoidBeliefBound(model, x)).value.mean() > before + 0.1


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.int64, torch.float64])
def test_images_take_the_dtype_of_the_model(kind):
    model = network((4, 3), dtype=torch.float32)
    problem = SigmoidBeliefBound(model, images(2, 4).to(kind))
    assert problem.x.dtype == problem.dtype == torch.float32
    assert problem.batch_shape == (2,)
    assert LikelihoodRatio()(problem, 5, seeded()).gradients[0].dtype == torch.float32


def test_an_empty_batch_has_empty_gradients():
    problem = SigmoidBeliefBound(network((4, 3, 2)), images(0, 4))
    assert [gradient.shape for gradient in LikelihoodRatio()(problem, 3, seeded()).gradients] == [(3, 0, 3), (3, 0, 2)]
    with torch.no_grad():
        noise, values, logits, signals = drawn(problem)
        assert problem.alternatives(0, values, logits, signals[0], noise=noise[1:]).shape == (3, 0, 3, 2)
        assert problem.neighbours(0, values, logits, signals[0])[0].shape == (3, 0, 3, 2)


@torch.no_grad()
def test_a_network_that_has_diverged_is_an_error():
    model = network((4, 3, 2))
    model.generation[0].weight[0, 0] = torch.nan
    problem = SigmoidBeliefBound(model, images(2, 4))
    with pytest.raises(ValueError, match="NaN"):
        LikelihoodRatio()(problem, 1, seeded())
    values, logits = problem.sample(problem.draw_noise((1,), seeded()))
    with pytest.raises(ValueError, match="NaN"):
        problem.alternatives(1, values, logits, torch.zeros(1, 2, dtype=torch.float64) * torch.nan, noise=())


@pytest.mark.parametrize(
    ("arguments", "kind", "name"),
    [
        ({"x": torch.zeros(2, 5)}, ValueError, "'x'"),
        ({"x": torch.zeros(())}, ValueError, "'x'"),
        ({"x": torch.full((2, 4), 1.5)}, ValueError, "'x'"),
        ({"x": torch.full((2, 4), -0.1)}, ValueError, "'x'"),
        ({"x": torch.full((2, 4), torch.nan)}, ValueError, "'x'"),
        ({"x": torch.zeros(2, 4, dtype=torch.complex64)}, TypeError, "'x'"),
        ({"x": torch.zeros(2, 4, device="meta")}, ValueError, "'x'"),
        ({"entropy": "exact"}, ValueError, "'entropy'"),
    ],
)
def test_refusals(arguments, kind, name):
    with pytest.raises(kind, match=name):
        SigmoidBeliefBound(network((4, 3)), **{"x": images(2, 4), **arguments})

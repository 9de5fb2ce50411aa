"""The bound of sigmoid belief networks: exact values and gradients, local signals, and flips by rank-one updates."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from toolkit.estimators.estimator import Estimator, Noise, Parts, single, surrogate
from toolkit.estimators.exact import Enumeration, enumerate_values, exact, joint_log_prob
from toolkit.estimators.models import SigmoidBeliefNetwork
from toolkit.estimators.problems import Problem
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


@dataclass(frozen=True)
class Score(Estimator):
    """The likelihood ratio with local signals: what it takes to see that these are right."""

    title: ClassVar[str] = "likelihood ratio"
    reference: ClassVar[str] = "-"

    def estimate(self, problem: Problem, noise: Noise) -> Parts:
        values, logits = problem.sample(noise["values"])
        signals = problem.signals(values, logits)
        layers = zip(signals, problem.layers, values, logits, strict=True)
        return single(values, tuple(s[..., None] * k.score(v, g) for s, k, v, g in layers), signals[0])

    def expected_evaluations(self, problem: Problem) -> float:
        return 1.0


def every_configuration(problem: Problem) -> tuple[Noise, Tensor]:
    """Return noise that gives every configuration, one a sample, and the configurations' probabilities."""
    values = enumerate_values(problem)
    values = tuple(v.expand(len(v), *problem.batch_shape, v.shape[-1]) for v in values)
    logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(problem.depth))
    noise = tuple(torch.where(v > 0.5, 0.0, 1 - 1e-9).to(v.dtype) for v in values)
    return {"values": noise}, joint_log_prob(problem, values, logits).exp().detach()


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
    noise, probabilities = every_configuration(problem)
    for estimator in (Score(), Enumeration()):
        samples = estimator(problem, noise=noise if isinstance(estimator, Score) else None)
        weights = probabilities if isinstance(estimator, Score) else torch.ones(1, 2, dtype=probabilities.dtype)
        torch.testing.assert_close((weights * samples.cost).sum(0), truth.value)
        for samples_of_layer, expected in zip(samples.gradients, truth.gradients, strict=True):
            found = (weights[..., None] * samples_of_layer).sum(0)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("entropy", ENTROPIES)
@pytest.mark.parametrize("hidden", [None, (3,)])
def test_the_surrogate_has_the_gradient_of_the_bound_for_every_parameter(hidden, entropy):
    model, x = network((4, 2, 2), hidden), images(4)
    parameters = list(model.parameters())
    problem = SigmoidBeliefBound(model, x, entropy=entropy)
    noise, probabilities = every_configuration(problem)
    found = [torch.zeros_like(parameter) for parameter in parameters]
    for index, probability in enumerate(probabilities):
        one = {"values": tuple(part[index : index + 1] for part in noise["values"])}
        scalar = surrogate(problem, Score()(problem, noise=one))
        for total, gradient in zip(found, torch.autograd.grad(scalar, parameters), strict=True):
            total += probability * gradient
    expected = torch.autograd.grad(bound_by_hand(model, x), parameters)
    for ours, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, truth, rtol=1e-10, atol=1e-10)


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
    assert Score()(problem, 5, seeded()).gradients[0].dtype == torch.float32


def test_an_empty_batch_has_empty_gradients():
    problem = SigmoidBeliefBound(network((4, 3, 2)), images(0, 4))
    assert [gradient.shape for gradient in Score()(problem, 3, seeded()).gradients] == [(3, 0, 3), (3, 0, 2)]
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
        Score()(problem, 1, seeded())
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

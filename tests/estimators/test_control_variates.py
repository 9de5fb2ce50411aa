"""REBAR and RELAX: the published formula, the truth by enumeration, and what they cost."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.conditional_noise import conditional_pull, perturb, perturb_given
from toolkit.estimators.control_network import ControlVariate
from toolkit.estimators.control_variates import REBAR, RELAX, RelaxedControl
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.exact import exact
from toolkit.estimators.layers import BernoulliLayer, CategoricalLayer
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.problems import Problem


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(problem: Problem, seed: int = 5) -> ControlVariate:
    """Return a control variate that does something."""
    made = ControlVariate(problem, 8, generator(seed))
    with torch.no_grad():
        made.output.normal_(generator=generator(seed + 1))
        made.constant.fill_(0.7)
    return made


def settings(problem: Problem) -> list[RelaxedControl]:
    return [
        REBAR(),
        REBAR(0.4, 1.2, tied=True),
        RELAX(network(problem), 1.0, scale=-0.6),
        RELAX(network(problem), scale=0.0, tied=True),
    ]


# Formulas


@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_bernoulli_rebar_is_the_published_formula(scale: float):
    problem = six_bits()
    estimator = REBAR(0.3, scale)
    noise = estimator.draw(problem, 9, generator(1))
    found = estimator(problem, noise=noise).gradients[0]
    # As published: b = 1 where u > 1 − μ, and v stretched to the side of 1 − μ that u is on.
    logits = problem.logits(0, None).expand(9, 6).clone().requires_grad_()
    mean = torch.sigmoid(logits)
    u = 1 - noise["values"][0]
    b = (u > 1 - mean).double()
    v = torch.where(b > 0.5, 1 - noise["conditional"][0], noise["conditional"][0])
    given = torch.where(b > 0.5, (1 - mean) + v * mean, v * (1 - mean))
    free, conditional = (problem.f(torch.sigmoid((logits + torch.logit(part)) / 0.3)) for part in (u, given))
    (slope,) = torch.autograd.grad((free - conditional).sum(), logits)
    expected = (problem.f(b) - scale * conditional)[:, None] * (b - mean) + scale * slope
    torch.testing.assert_close(found, expected.detach())


def test_categorical_rebar_is_the_published_formula():
    problem = PROBLEMS["one categorical"]
    estimator = REBAR(0.7, 0.9)
    noise = estimator.draw(problem, 50, generator(2))
    found = estimator(problem, noise=noise).gradients[0]
    # As published, one variable, probabilities normalised: truncated Gumbels by −log(−log(v_j) / π_j − log(v_b)).
    logits = problem.logits(0, None).expand(50, 1, 4).clone().requires_grad_()
    log_p = logits.log_softmax(-1)
    perturbed = log_p - torch.log(-torch.log(noise["values"][0]))
    b = functional.one_hot(perturbed.argmax(-1), 4).double()
    v = noise["conditional"][0]
    v_b = (b * v).sum(-1, keepdim=True)
    given = torch.where(b > 0.5, -torch.log(-torch.log(v)), -torch.log(-torch.log(v) / log_p.exp() - torch.log(v_b)))
    free, conditional = (problem.f((part / 0.7).softmax(-1)) for part in (perturbed, given))
    (slope,) = torch.autograd.grad((free - conditional).sum(), logits)
    expected = (problem.f(b) - 0.9 * conditional)[:, None, None] * (b - log_p.exp()) + 0.9 * slope
    torch.testing.assert_close(found, expected.detach())


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_tied_noise_is_the_noise_that_was_there(kind: str):
    if kind == "bernoulli":
        layer, logits = BernoulliLayer(4), waves(1, 20, 4, scale=2.0)
    else:
        layer, logits = CategoricalLayer(2, 3), waves(1, 20, 2, 3, scale=2.0)
    free = perturb(layer, logits, torch.rand(logits.shape, generator=generator(3), dtype=torch.float64))
    if kind == "bernoulli":
        value = (free > 0).double()
        side = 2 * value - 1
        # Solved for the uniform that perturb_given would have needed.
        noise = (1 + (side * logits).exp()) / ((side * free).exp() + (side * logits).exp())
    else:
        value = functional.one_hot(free.argmax(-1), 3).double()
        largest = free.max(-1, keepdim=True).values
        rate = torch.where(value > 0.5, logits.logsumexp(-1, keepdim=True).exp() * (-largest).exp(), 0)
        rate = torch.where(value > 0.5, rate, logits.exp() * ((-free).exp() - (-largest).exp()))
        noise = (-rate).exp()
    torch.testing.assert_close(perturb_given(layer, logits, value, noise), free)
    gradient = waves(2, *logits.shape)
    _, expected = torch.autograd.functional.vjp(
        lambda moved: perturb_given(layer, moved, value, noise), logits, gradient
    )
    torch.testing.assert_close(conditional_pull(layer, logits, value, free, gradient), expected)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("tied", [False, True])
def test_the_slope_of_the_network_by_formula(name: str, tied: bool):
    problem = PROBLEMS[name]
    control = network(problem)
    noise = RELAX(control, 0.7, tied=tied).draw(problem, 5, generator(1))
    temperature = torch.tensor(0.7, dtype=problem.dtype, requires_grad=True)
    tuned = [temperature, *control.parameters()]
    found = []
    # A function of another class is differentiated by autograd.
    for function in (control, lambda *values: control(*values)):
        parts = RELAX(function, tied=tied).controlled(problem, noise, temperature, 0.8, create_graph=True)
        square = sum(part.square().sum() for part in parts.contributions)
        found.append((*parts.contributions, *torch.autograd.grad(square, tuned, allow_unused=True)))
        plain = RELAX(function, 0.7, scale=0.8, tied=tied)(problem, noise=noise).parts.contributions
        assert not any(part.requires_grad for part in plain)
        for one, other in zip(plain, parts.contributions, strict=True):
            torch.testing.assert_close(one, other.detach(), rtol=1e-10, atol=1e-12)
    for one, other in zip(*found, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_without_a_control_variate_it_is_the_score_function(scale: float):
    problem = bernoulli_chain()
    noise = {"values": REBAR().draw(problem, 5, generator(4))["values"]}
    plain = LikelihoodRatio()(problem, noise=noise)
    relaxed = REBAR(scale=0.0, tied=True)(problem, noise=noise)
    for one, other in zip(plain.gradients, relaxed.gradients, strict=True):
        torch.testing.assert_close(one, other)
    with_network = RELAX(ControlVariate(problem), scale=scale, tied=True)(problem, noise=noise)
    same = REBAR(scale=scale, tied=True)(problem, noise=noise)
    for one, other in zip(with_network.gradients, same.gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("scale", "variance"), [(1.0, 8.36), (0.7, 11.8)])
def test_twelve_coupled_bits(scale: float, variance: float):
    d = torch.arange(1, 13, dtype=torch.float64)
    a, b = torch.sin(1.3 * d), torch.sin(1.1 * d[:, None] + 0.7 * d)
    problem = Factorized(torch.cos(0.9 * d), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1))
    samples = REBAR(0.5, scale)(problem, 60_000, generator(6))
    assert float(samples.variance()[0].sum()) == pytest.approx(variance, rel=0.05)
    tied = REBAR(0.5, scale, tied=True)(problem, 60_000, generator(6))
    assert float(tied.variance()[0].sum()) == pytest.approx(float(samples.variance()[0].sum()), rel=0.1)


# Without bias


@pytest.mark.parametrize("which", range(4), ids=["rebar", "rebar-tied", "relax", "relax-free"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_unbiased(name: str, which: int):
    problem = PROBLEMS[name]
    estimator = settings(problem)[which]
    samples = estimator(problem, 100_000, generator(100 + which))
    for mean, variance, truth in zip(samples.mean(), samples.variance(), exact(problem).gradients, strict=True):
        z = (mean - truth) / (variance / 100_000).sqrt().clamp(min=1e-12)
        assert z.abs().max() < 4.5
    assert samples.unbiased


@pytest.mark.parametrize("tied", [False, True])
def test_quadrature_over_both_uniforms_of_one_bit(tied: bool):
    problem = PROBLEMS["one bit"]
    mean, points = torch.sigmoid(problem.logits(0, None)), 400
    grid = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    # The midpoint rule on both sides of the jump at μ.
    uniform = torch.cat((grid * mean, mean + grid * (1 - mean)))
    weight = torch.cat(((mean / points).expand(points), ((1 - mean) / points).expand(points)))
    if tied:
        noise = {"values": (uniform[:, None],)}
        weights = weight
    else:
        noise = {
            "values": (uniform.repeat_interleave(points)[:, None],),
            "conditional": (grid.repeat(2 * points)[:, None],),
        }
        weights = weight.repeat_interleave(points) / points
    found = REBAR(0.8, 1.3, tied)(problem, noise=noise).gradients[0]
    assert float(weights @ found[:, 0]) == pytest.approx(float(exact(problem).gradients[0]), abs=2e-6)


def test_entropies_in_the_signals_count_once():
    class WithEntropies(Layered):
        """Signals as a variational bound has them: analytic entropies, later layers without earlier terms."""

        def compute_signals(self, values, logits):
            first, second = (layer.entropy(made).sum(-1) for layer, made in zip(self.layers, logits, strict=True))
            cost = self.f(*values)
            return (cost + first + second, cost + second)

        def direct_gradient(self, layer, previous):
            return self.layers[layer].entropy_gradient(self.logits(layer, previous))

    weight, a = waves(4, 3, 2, scale=1.5), waves(5, 2)
    problem = WithEntropies(waves(3, 2, 3), [lambda x: x @ weight], lambda x, y: (x.sum(-1) - y @ a) ** 2)
    truth = exact(problem).gradients
    for estimator in (REBAR(), REBAR(tied=True), RELAX(network(problem))):
        samples = estimator(problem, 100_000, generator(8))
        for mean, variance, expected in zip(samples.mean(), samples.variance(), truth, strict=True):
            assert ((mean - expected) / (variance / 100_000).sqrt()).abs().max() < 4.5


# Cost, shapes, purity


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("name", PROBLEMS)
def test_counted_pure_and_shaped(name: str, which: int):
    problem = PROBLEMS[name]
    estimator = settings(problem)[which]
    noise = estimator.draw(problem, 5, generator(9))
    first, second = (estimator(problem, noise=noise) for _ in range(2))
    assert first.evaluations == estimator.expected_evaluations(problem)
    each = 0 if estimator.scale == 0 else 1 if estimator.tied else 2
    assert first.evaluations == 1 + each * problem.depth
    for layer, one, other in zip(problem.layers, first.gradients, second.gradients, strict=True):
        assert one.shape == (5, *problem.batch_shape, *layer.shape)
        assert torch.equal(one, other) and not one.requires_grad


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("variables", ["bernoulli", "categorical"])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)], ids=str)
def test_batches_are_independent_problems(variables: str, batch: tuple[int, ...], tied: bool):
    shape = (1,) if variables == "bernoulli" else (1, 3)
    logits = torch.linspace(-2, 2, math.prod((*batch, *shape))).reshape(*batch, *shape)

    def cost(*values: Tensor) -> Tensor:
        return sum(value.flatten(-len(shape)).pow(3)[..., 0] for value in values).sin()

    problem = Layered(logits, [lambda x: 2 * x - 1], cost, variables=variables)
    control = network(problem)
    estimator = RELAX(control, tied=tied)
    noise = estimator.draw(problem, 4, generator(10))
    found = estimator(problem, noise=noise)
    assert found.gradients[0].dtype == torch.float32
    for index in np.ndindex(*batch):
        one = Layered(logits[index], [lambda x: 2 * x - 1], cost, variables=variables)
        part = {name: tuple(tensor[(slice(None), *index)] for tensor in drawn) for name, drawn in noise.items()}
        alone = estimator(one, noise=part)
        for whole, single in zip(found.gradients, alone.gradients, strict=True):
            torch.testing.assert_close(whole[(slice(None), *index)], single)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("variables", ["bernoulli", "categorical"])
@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0])
def test_extremes_stay_finite(temperature: float, variables: str, tied: bool):
    logits = torch.tensor([50.0, -50.0, 0.0, 50.0, -50.0, 3.0])
    logits = logits if variables == "bernoulli" else logits.reshape(2, 3)
    problem = Layered(
        logits,
        [lambda x: 50 * x - 20],
        lambda x, y: ((x + y) ** 2).flatten(-len(logits.shape)).sum(-1),
        variables=variables,
    )
    estimator = REBAR(temperature, tied=tied)
    smallest, largest = torch.finfo(torch.float32).eps / 4, 1 - torch.finfo(torch.float32).eps / 2
    noise = estimator.draw(problem, 300, generator(11))
    for drawn in noise.values():
        for tensor in drawn:
            tensor[:40].uniform_(0, 1, generator=generator(12)).round_().clamp_(smallest, largest)
    assert all(torch.isfinite(gradient).all() for gradient in estimator(problem, noise=noise).gradients)


def test_parameters_of_the_problem_and_of_the_network_are_left_alone():
    logits = torch.zeros(3, requires_grad=True)
    problem = Factorized(logits, lambda z: (z.sum(-1) - 1) ** 2)
    control = network(problem)
    samples = RELAX(control)(problem, 6, generator(13))
    assert logits.grad is None and all(parameter.grad is None for parameter in control.parameters())
    surrogate(problem, samples).backward()
    torch.testing.assert_close(logits.grad, samples.mean()[0])
    assert all(parameter.grad is None for parameter in control.parameters())


@pytest.mark.parametrize("which", range(4))
def test_where_nothing_is_recorded(which: int):
    problem = categorical_chain()
    estimator = settings(problem)[which]
    expected = estimator(problem, 3, generator(16)).gradients
    with torch.inference_mode():
        found = estimator(problem, 3, generator(16)).gradients
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


# Refusals


@pytest.mark.parametrize("kind", [REBAR, RELAX])
@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_temperatures_out_of_range(kind, temperature: float):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: bad argument 'temperature'\n.*> 0 and finite"):
        kind(temperature=temperature)


@pytest.mark.parametrize("kind", [REBAR, RELAX])
def test_scales_that_are_not_finite(kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: bad argument 'scale'\n.*finite"):
        kind(scale=math.nan)


def test_costs_without_a_derivative():
    step = Factorized(torch.zeros(3), lambda z: (z > 0.5).float().sum(-1))
    for estimator in (REBAR(), RELAX(network(step))):
        with pytest.raises(TypeError, match=r"RE\w+: bad argument 'f'\n.*differentiable"):
            estimator(step, 2)
    black_box = RELAX(network(step), scale=0.0)(step, 20_000, generator(14))
    z = (black_box.mean()[0] - 0.25) / (black_box.variance()[0] / 20_000).sqrt()
    assert z.abs().max() < 4.5


def test_a_chain_whose_cost_uses_one_layer_only():
    for cost in (lambda x, y: (x**2).sum(-1), lambda x, y: (y**2).sum(-1)):
        problem = Layered(waves(1, 2), [lambda x: x - 0.3], cost)
        truth = exact(problem).gradients
        samples = REBAR()(problem, 50_000, generator(15))
        for mean, variance, expected in zip(samples.mean(), samples.variance(), truth, strict=True):
            assert ((mean - expected).abs() < 4.5 * (variance / 50_000).sqrt() + 1e-12).all()


def test_costs_that_break_between_the_values():
    problem = Factorized(torch.zeros(3), lambda z: torch.where(z == z.round(), z, torch.nan).sum(-1))
    with pytest.raises(ValueError, match=r"REBAR: bad argument 'f'\n.*between the values"):
        REBAR()(problem, 2)


def test_control_variates_of_the_wrong_kind():
    problem = categorical_chain()
    with pytest.raises(ValueError, match=r"'control_variate'\n.*number for each sample"):
        RELAX(lambda x, y: x.sum())(problem, 3)
    with pytest.raises(TypeError, match=r"'control_variate'\n.*differentiable"):
        RELAX(lambda x, y: (x > 0.5).double().sum((-2, -1)))(problem, 3)
    with pytest.raises(TypeError, match="control_variate"):
        RELAX(3)

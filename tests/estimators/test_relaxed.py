"""Straight-through and relaxed estimators: their formulas, torch's own relaxations, and autograd by hand on chains."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, one_categorical, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.conditional_noise import perturb_given
from toolkit.estimators.estimator import Estimator, surrogate
from toolkit.estimators.exact import enumerate_values, exact, joint_log_prob
from toolkit.estimators.layers import BernoulliLayer, CategoricalLayer
from toolkit.estimators.relaxed import (
    GumbelRao,
    GumbelSoftmax,
    ReinMax,
    StraightThrough,
    StraightThroughGumbel,
)

ALL = [StraightThrough(), GumbelSoftmax(), StraightThroughGumbel(), GumbelRao(), ReinMax()]
TEMPERED = [GumbelSoftmax, StraightThroughGumbel, GumbelRao, ReinMax]
NAMES = [type(estimator).__name__ for estimator in ALL]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_bit_at(logit: float, target: float) -> Factorized:
    return Factorized(torch.tensor([logit], dtype=torch.float64), lambda z: ((z - target) ** 2).sum(-1))


def twelve_bits() -> Factorized:
    d = torch.arange(1, 13, dtype=torch.float64)
    a, b = torch.sin(1.3 * d), torch.sin(1.1 * d[:, None] + 0.7 * d)
    return Factorized(torch.cos(0.9 * d), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1))


def noise_for_every_value(problem: Factorized, coupling_gumbel: bool = False) -> tuple[Tensor, Tensor]:
    """Return inverse-CDF noise that leads to each configuration, and the configurations' probabilities."""
    values = enumerate_values(problem)
    logits = (problem.logits(0, None),)
    layer, value = problem.layers[0], values[0]
    if isinstance(layer, BernoulliLayer):
        mean = torch.sigmoid(logits[0])
        noise = torch.where(value > 0.5, mean / 2, (1 + mean) / 2)
    else:
        p = torch.softmax(logits[0], -1)
        noise = (value * (p.cumsum(-1) - p / 2)).sum(-1)
        noise = noise.expand(len(value), *noise.shape[1:])
    assert torch.equal(layer.sample(logits[0], noise), value.expand(len(value), *problem.batch_shape, *layer.shape))
    return noise, joint_log_prob(problem, values, logits).exp()


def expectation(estimator: Estimator, problem: Factorized) -> Tensor:
    """Return the estimator's exact expectation if it draws each variable and nothing else."""
    noise, probabilities = noise_for_every_value(problem)
    gradients = estimator(problem, noise={"values": (noise,)}).gradients[0]
    return (probabilities.reshape(-1, *(1,) * (gradients.ndim - 1)) * gradients).sum(0)


def quadrature(estimator: Estimator, problem: Factorized, points: int = 200_001) -> float:
    """Return the expectation over one uniform, midpoints on a grid."""
    grid = ((torch.arange(points, dtype=torch.float64) + 0.5) / points)[:, None]
    return float(estimator(problem, noise={"values": (grid,)}).gradients[0].mean())


# Formulas


@pytest.mark.parametrize("target", [0.1, 0.45, 0.9])
@pytest.mark.parametrize("logit", [-2.0, 0.0, 0.8])
def test_straight_through_mean_of_one_bit(logit: float, target: float):
    problem = one_bit_at(logit, target)
    mean = 1 / (1 + math.exp(-logit))
    found = float(expectation(StraightThrough(), problem))
    assert found == pytest.approx(2 * mean * (1 - mean) * (mean - target), abs=1e-14)
    bias = found - float(exact(problem).gradients[0])
    assert bias == pytest.approx(mean * (1 - mean) * (2 * mean - 1), abs=1e-14)


@pytest.mark.parametrize(("temperature", "mean"), [(0.1, 0.00496), (0.5, 0.00429), (1.0, 0.00333), (2.0, 0.00215)])
def test_gumbel_softmax_shrinks_the_gradient_at_logit_zero(temperature: float, mean: float):
    assert quadrature(GumbelSoftmax(temperature), one_bit_at(0.0, 0.49)) == pytest.approx(mean, abs=6e-6)


def test_biases_swamp_a_small_gradient():
    problem = one_bit_at(-2.0, 0.49)
    assert float(exact(problem).gradients[0]) == pytest.approx(0.0021, abs=5e-5)
    assert quadrature(GumbelSoftmax(0.5), problem) == pytest.approx(-0.0315, abs=5e-5)
    assert quadrature(StraightThroughGumbel(0.5), problem) == pytest.approx(-0.0465, abs=6e-5)
    assert quadrature(StraightThrough(), problem) == pytest.approx(-0.0779, abs=5e-5)


def quadratic(kind: str) -> Factorized:
    if kind == "bernoulli":
        a, b = waves(1, 5, 5), waves(2, 5)
        return Factorized(waves(3, 2, 5, scale=2.0), lambda z: ((z @ a) * z).sum(-1) + z @ b, variables=kind)
    a, b = waves(1, 12, 12), waves(2, 12)

    def cost(z: Tensor) -> Tensor:
        flat = z.flatten(-2)
        return ((flat @ a) * flat).sum(-1) + flat @ b

    return Factorized(waves(3, 2, 3, 4, scale=2.0), cost, variables=kind)


@pytest.mark.parametrize("kind", ["bernoulli", "categorical"])
def test_reinmax_is_exact_for_quadratic_costs(kind: str):
    problem = quadratic(kind)
    noise, probabilities = [], []
    for row in problem.logits(0, None):
        one = Factorized(row, problem.f, variables=kind)
        found = noise_for_every_value(one)
        noise.append(found[0])
        probabilities.append(found[1])
    samples = ReinMax()(problem, noise={"values": (torch.stack(noise, 1),)}).gradients[0]
    weights = torch.stack(probabilities, 1)
    mean = (weights.reshape(*weights.shape, *(1,) * (samples.ndim - 2)) * samples).sum(0)
    torch.testing.assert_close(mean, exact(problem).gradients[0], rtol=0, atol=1e-12)
    tempered = ReinMax(2.0)(problem, noise={"values": (torch.stack(noise, 1),)}).gradients[0]
    biased = (weights.reshape(*weights.shape, *(1,) * (samples.ndim - 2)) * tempered).sum(0)
    assert (biased - exact(problem).gradients[0]).abs().max() > 1e-3


def test_straight_through_is_exact_for_linear_costs():
    weights = waves(1, 3, 4)
    problem = Factorized(waves(2, 3, 4), lambda z: (z * weights).sum((-2, -1)), variables="categorical")
    torch.testing.assert_close(expectation(StraightThrough(), problem), exact(problem).gradients[0])
    torch.testing.assert_close(expectation(ReinMax(), problem), exact(problem).gradients[0])


@pytest.mark.parametrize(
    ("estimator", "variance", "bias"),
    [
        (StraightThrough(), 1.46, 0.151),
        (ReinMax(), 1.77, 0.01),
        (GumbelSoftmax(0.1), 15.4, 0.025),
        (GumbelSoftmax(0.5), 1.72, 0.116),
        (GumbelSoftmax(1.0), 0.40, 0.285),
        (StraightThroughGumbel(0.5), 2.72, 0.129),
        (GumbelRao(0.5, 10), 1.38, 0.128),
    ],
    ids=repr,
)
def test_twelve_coupled_bits(estimator: Estimator, variance: float, bias: float):
    problem = twelve_bits()
    samples = estimator(problem, 50_000, generator(1))
    assert float(samples.variance()[0].sum()) == pytest.approx(variance, rel=0.04)
    found = (samples.mean()[0] - exact(problem).gradients[0]).norm()
    assert float(found) == pytest.approx(bias, abs=4 * math.sqrt(variance / 50_000))


# Against torch's own relaxations


def test_relaxed_bernoulli_is_that_of_torch():
    problem = six_bits()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        uniform = torch.rand(7, 6, dtype=torch.float64)
        torch.manual_seed(5)
        logits = problem.logits(0, None).expand(7, 6).clone().requires_grad_()
        relaxed = torch.distributions.RelaxedBernoulli(torch.tensor(0.3, dtype=torch.float64), logits=logits).rsample()
    (expected,) = torch.autograd.grad(problem.f(relaxed).sum(), logits)
    found = GumbelSoftmax(0.3)(problem, noise={"values": (1 - uniform,)})
    torch.testing.assert_close(found.parts.values[0][0], relaxed.detach())
    torch.testing.assert_close(found.gradients[0], expected)
    torch.testing.assert_close(found.cost, problem.f(relaxed).detach())


@pytest.mark.parametrize("hard", [False, True])
def test_relaxed_categories_are_those_of_torch(hard: bool):
    problem = categorical_chain()
    with torch.random.fork_rng():
        torch.manual_seed(6)
        exponentials = [torch.empty(9, *layer.shape, dtype=torch.float64).exponential_() for layer in problem.layers]
        torch.manual_seed(6)
        first = problem.logits(0, None).expand(9, 2, 3).clone().requires_grad_()
        x = functional.gumbel_softmax(first, 0.7, hard=hard)
        second = problem.logits(1, x)
        y = functional.gumbel_softmax(second, 0.7, hard=hard)
    expected = torch.autograd.grad(problem.f(x, y).sum(), (first, second))
    estimator = StraightThroughGumbel(0.7) if hard else GumbelSoftmax(0.7)
    found = estimator(problem, noise={"values": tuple(torch.exp(-drawn) for drawn in exponentials)})
    torch.testing.assert_close(found.parts.values[1][0], y.detach())
    for ours, theirs in zip(found.gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


# Chains, against autograd by hand


def published_reinmax(logits: Tensor, value: Tensor, temperature: float) -> Tensor:
    """Algorithm 2 of the paper, literally."""
    p0 = logits.softmax(-1)
    p1 = (value + (logits / temperature).softmax(-1)) / 2
    p1 = ((torch.log(p1) - logits).detach() + logits).softmax(-1)
    p2 = 2 * p1 - p0 / 2
    return p2 - p2.detach() + value


def as_two_categories(logits: Tensor) -> Tensor:
    return torch.stack((logits, torch.zeros_like(logits)), -1)


@pytest.mark.parametrize("make", [bernoulli_chain, categorical_chain], ids=["bernoulli", "categorical"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_reinmax_on_a_chain_is_the_published_algorithm(make, temperature: float):
    problem = make()
    estimator = ReinMax(temperature)
    noise = estimator.draw(problem, 11, generator(2))
    found = estimator(problem, noise=noise)
    all_logits, values = [], []
    for number, (layer, uniform) in enumerate(zip(problem.layers, noise["values"], strict=True)):
        logits = problem.logits(number, values[-1] if values else None)
        if number == 0:
            logits = logits.expand(11, *logits.shape).clone().requires_grad_()
        hard = layer.sample(logits.detach(), uniform)
        if isinstance(layer, BernoulliLayer):
            pair = published_reinmax(as_two_categories(logits), torch.stack((hard, 1 - hard), -1), temperature)
            values.append(pair[..., 0])
        else:
            values.append(published_reinmax(logits, hard, temperature))
        all_logits.append(logits)
    expected = torch.autograd.grad(problem.f(*values).sum(), all_logits)
    for ours, theirs in zip(found.gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("make", [bernoulli_chain, categorical_chain], ids=["bernoulli", "categorical"])
@pytest.mark.parametrize("estimator", [StraightThrough(), GumbelRao(0.4, 3)], ids=repr)
def test_sampled_values_with_a_derivative_put_in(estimator: Estimator, make):
    problem = make()
    noise = estimator.draw(problem, 11, generator(3))
    found = estimator(problem, noise=noise)
    all_logits, values = [], []
    for number, layer in enumerate(problem.layers):
        logits = problem.logits(number, values[-1] if values else None)
        if number == 0:
            logits = logits.expand(11, *logits.shape).clone().requires_grad_()
        hard = layer.sample(logits.detach(), noise["values"][number])
        if isinstance(estimator, StraightThrough):
            soft = torch.sigmoid(logits) if isinstance(layer, BernoulliLayer) else logits.softmax(-1)
        else:
            drawn = perturb_given(layer, logits, hard, noise["conditional"][number])
            # As published: the conditional noise is a constant.
            scaled = (logits + (drawn - logits).detach()) / 0.4
            soft = (torch.sigmoid(scaled) if isinstance(layer, BernoulliLayer) else scaled.softmax(-1)).mean(0)
        values.append(hard + soft - soft.detach())
        all_logits.append(logits)
    expected = torch.autograd.grad(problem.f(*values).sum(), all_logits)
    for number, (ours, theirs) in enumerate(zip(found.gradients, expected, strict=True)):
        torch.testing.assert_close(ours, theirs)
        assert set(found.parts.values[number].unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_surrogate_gives_parameters_the_derivative_through_the_values(estimator: Estimator):
    weight = waves(4, 3, 2).requires_grad_()
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    first = waves(9, 2, 3).requires_grad_()
    problem = Layered(first, [lambda x: x @ weight], lambda x, y: scale * (x.sum(-1) - y[..., 0]) ** 2)
    noise = estimator.draw(problem, 6, generator(4))
    surrogate(problem, estimator(problem, noise=noise)).backward()

    with torch.enable_grad():
        values = []
        for number, layer in enumerate(problem.layers):
            logits = problem.logits(number, values[-1] if values else None).expand(6, 2, -1)
            drawn_here = {name: drawn[number] for name, drawn in noise.items()}
            value, slope = estimator.value(layer, logits.detach(), drawn_here)
            values.append(value + slope(logits - logits.detach()))
        expected = torch.autograd.grad(problem.f(*values).mean(0).sum(), (first, weight, scale))
    for parameter, gradient in zip((first, weight, scale), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


# Conditional noise


@pytest.mark.parametrize("logit", [-3.0, 0.0, 1.2])
def test_logistic_noise_given_the_value_has_the_right_law(logit: float):
    layer, logits = BernoulliLayer(1), torch.tensor([logit], dtype=torch.float64)
    drawn = torch.rand(2, 20_000, 1, generator=generator(7), dtype=torch.float64)
    value = layer.sample(logits, drawn[0])
    given = perturb_given(layer, logits, value, drawn[1])
    assert torch.equal((given > 0).double(), value)
    assert stats.kstest(given.flatten().numpy(), "logistic", args=(logit,)).pvalue > 1e-3


def test_gumbel_noise_given_the_value_has_the_right_law():
    layer, logits = CategoricalLayer(1, 3), torch.tensor([[0.5, -1.0, 1.5]], dtype=torch.float64)
    drawn = torch.rand(20_000, 1, generator=generator(8), dtype=torch.float64)
    value = layer.sample(logits, drawn)
    noise = torch.rand(20_000, 1, 3, generator=generator(9), dtype=torch.float64)
    given = perturb_given(layer, logits, value, noise)
    assert torch.equal(functional.one_hot(given.argmax(-1), 3).double(), value)
    gumbels = (given - logits)[:, 0]
    for k in range(3):
        assert stats.kstest(gumbels[:, k].numpy(), "gumbel_r").pvalue > 1e-3
    # Independent of each other too, which the marginal laws do not say.
    assert np.abs(np.corrcoef(gumbels.T.numpy()) - np.eye(3)).max() < 4 / math.sqrt(20_000)


@pytest.mark.parametrize("name", ["six coupled bits", "one categorical"])
def test_gumbel_rao_has_the_mean_of_straight_through_gumbel_and_less_variance(name: str):
    problem = PROBLEMS[name]
    plain = StraightThroughGumbel(0.5)(problem, 40_000, generator(10))
    averaged = GumbelRao(0.5, 10)(problem, 40_000, generator(11))
    error = ((plain.variance()[0] + averaged.variance()[0]) / 40_000).sqrt()
    assert ((plain.mean()[0] - averaged.mean()[0]).abs() / error).max() < 4.5
    assert averaged.variance()[0].sum() < 0.8 * plain.variance()[0].sum()


# What holds for all of them


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_counted_pure_and_shaped(estimator: Estimator, name: str):
    problem = PROBLEMS[name]
    noise = estimator.draw(problem, 5, generator(12))
    first, second = (estimator(problem, noise=noise) for _ in range(2))
    assert first.evaluations == estimator.expected_evaluations(problem) == 1
    assert not first.unbiased
    for layer, one, other in zip(problem.layers, first.gradients, second.gradients, strict=True):
        assert one.shape == (5, *problem.batch_shape, *layer.shape)
        assert torch.equal(one, other) and not one.requires_grad


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
@pytest.mark.parametrize("variables", ["bernoulli", "categorical"])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)], ids=str)
def test_batches_are_independent_problems(estimator: Estimator, variables: str, batch: tuple[int, ...]):
    shape = (1,) if variables == "bernoulli" else (1, 3)
    generous = torch.linspace(-2, 2, math.prod((*batch, *shape))).reshape(*batch, *shape)

    def cost(*values: Tensor) -> Tensor:
        return sum(value.flatten(-len(shape)).pow(3)[..., 0] for value in values).sin()

    problem = Layered(generous, [lambda x: 2 * x - 1], cost, variables=variables)
    noise = estimator.draw(problem, 4, generator(13))
    found = estimator(problem, noise=noise)
    assert found.gradients[0].dtype == torch.float32
    for index in np.ndindex(*batch):
        one = Layered(generous[index], [lambda x: 2 * x - 1], cost, variables=variables)
        before = (slice(None),) * (2 if isinstance(estimator, GumbelRao) else 1)
        part = {
            name: tuple(tensor[(*(before if name == "conditional" else before[:1]), *index)] for tensor in drawn)
            for name, drawn in noise.items()
        }
        alone = estimator(one, noise=part)
        for whole, single in zip(found.gradients, alone.gradients, strict=True):
            torch.testing.assert_close(whole[(slice(None), *index)], single)


@pytest.mark.parametrize("variables", ["bernoulli", "categorical"])
@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("kind", TEMPERED)
def test_extremes_stay_finite(kind, temperature: float, variables: str):
    logits = torch.tensor([50.0, -50.0, 0.0, 50.0, -50.0, 3.0])
    logits = logits if variables == "bernoulli" else logits.reshape(2, 3)
    problem = Layered(
        logits,
        [lambda x: 50 * x - 20],
        lambda x, y: ((x + y) ** 2).flatten(-len(logits.shape)).sum(-1),
        variables=variables,
    )
    estimator = kind(temperature)
    smallest, largest = torch.finfo(torch.float32).eps / 4, 1 - torch.finfo(torch.float32).eps / 2
    noise = estimator.draw(problem, 300, generator(14))
    for drawn in noise.values():
        for tensor in drawn:
            tensor[..., 0:40, :].uniform_(0, 1, generator=generator(1)).round_().clamp_(smallest, largest)
    samples = estimator(problem, noise=noise)
    assert all(torch.isfinite(gradient).all() for gradient in samples.gradients)


@pytest.mark.parametrize("kind", TEMPERED)
@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_temperatures_out_of_range(kind, temperature: float):
    with pytest.raises(ValueError, match=rf"{kind.__name__}: bad argument 'temperature'\n.*> 0 and finite"):
        kind(temperature)


@pytest.mark.parametrize("kind", TEMPERED)
@pytest.mark.parametrize("temperature", ["1", None, True, torch.ones(2)], ids=str)
def test_temperatures_that_are_no_numbers(kind, temperature):
    with pytest.raises(TypeError, match="temperature"):
        kind(temperature)


def test_number_of_noise_draws():
    with pytest.raises(ValueError, match="n_noise"):
        GumbelRao(n_noise=0)


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_costs_without_a_derivative_are_refused(estimator: Estimator):
    name = type(estimator).__name__
    step = Factorized(torch.zeros(3), lambda z: (z > 0.5).float().sum(-1))
    with pytest.raises(TypeError, match=rf"{name}: bad argument 'f'\n.*differentiable"):
        estimator(step, 2)
    array = Factorized(torch.zeros(3), lambda z: torch.from_numpy(z.numpy() ** 2).sum(-1))
    with pytest.raises(TypeError, match=rf"{name}: bad argument 'f'\n.*differentiable"):
        estimator(array, 2)


@pytest.mark.parametrize("estimator", ALL, ids=NAMES)
def test_where_nothing_is_recorded(estimator: Estimator):
    problem = bernoulli_chain()
    expected = estimator(problem, 3, generator(16)).gradients
    with torch.inference_mode():
        found = estimator(problem, 3, generator(16)).gradients
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_costs_that_break_between_the_values_are_refused():
    problem = Factorized(torch.zeros(3), lambda z: torch.where(z == z.round(), z, torch.nan).sum(-1))
    with pytest.raises(ValueError, match=r"GumbelSoftmax: bad argument 'f'\n.*between the values"):
        GumbelSoftmax()(problem, 2)
    StraightThrough()(problem, 2)


def test_an_entropy_in_the_cost_is_differentiated_once():
    class WithEntropy(Factorized):
        def compute_signals(self, values, logits):
            return (self.f(values[0]) + self.layers[0].entropy(logits[0]).sum(-1),)

        def direct_gradient(self, layer, previous):
            return self.layers[0].entropy_gradient(self.logits(0, None))

    plain = one_categorical()
    problem = WithEntropy(plain.logits(0, None), plain.f, variables="categorical")
    for estimator in ALL:
        noise = estimator.draw(problem, 4, generator(15))
        added = estimator(problem, noise=noise).gradients[0] - estimator(plain, noise=noise).gradients[0]
        torch.testing.assert_close(added, problem.direct_gradient(0, None).expand(4, -1, -1))

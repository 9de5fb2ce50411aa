"""MuProp: exact expectations in one layer and several, closed forms, and what it asks of the cost."""

import pytest
import torch
from torch import Tensor

from tests.estimators.configurations import moments, twelve_bits
from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, one_bit, waves
from toolkit.estimators.baselines import Constant, MovingAverage
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.exact import exact
from toolkit.estimators.input_dependent import InputDependent
from toolkit.estimators.muprop import MuProp
from toolkit.estimators.problems import Values


class LocalChain(Layered):
    """A chain with a cost that is a sum over layers, each layer's signal without the terms before it."""

    def compute_signals(self, values: Values, logits: Values) -> tuple[Tensor, ...]:
        terms = [(value.sum(-1) - 0.7) ** 3 * (number + 1) for number, value in enumerate(values)]
        return tuple(torch.stack(terms[number:]).sum(0) for number in range(len(terms)))


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("baseline", [None, 0.7], ids=["bare", "baseline"])
def test_expectation_over_all_configurations_is_the_gradient(name: str, baseline: float | None) -> None:
    problem = PROBLEMS[name]
    estimator = MuProp(None if baseline is None else Constant([baseline] * problem.depth))
    means, _, _ = moments(estimator, problem)
    for mean, truth in zip(means, exact(problem).gradients, strict=True):
        torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


def test_local_signals_keep_the_expectation() -> None:
    chain = bernoulli_chain()
    problem = LocalChain(chain.logits(0, None), chain.transitions, chain.f)
    means, _, _ = moments(MuProp(), problem)
    for mean, truth in zip(means, exact(problem).gradients, strict=True):
        torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("logit", [-2.0, 0.0, 0.8])
def test_variance_of_one_bit(logit: float) -> None:
    problem = Factorized(torch.tensor([logit], dtype=torch.float64), lambda z: ((z - 0.45) ** 2).sum(-1))
    _, variances, _ = moments(MuProp(), problem)
    mean = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
    first = mean * (1 - mean) ** 3 - (1 - mean) * mean**3
    second = mean * (1 - mean) ** 6 + (1 - mean) * mean**6
    torch.testing.assert_close(variances[0][0], second - first**2, rtol=1e-10, atol=1e-16)


def test_linear_costs_have_no_variance() -> None:
    slopes = waves(1, 4)
    bits = Factorized(waves(2, 4), lambda z: z @ slopes)
    tables = waves(3, 2, 3)
    values = Factorized(waves(4, 2, 3), lambda z: (z * tables).sum((-2, -1)), variables="categorical")
    for problem in (bits, values):
        means, variances, _ = moments(MuProp(), problem)
        torch.testing.assert_close(means[0], exact(problem).gradients[0])
        assert variances[0].max() < 1e-28


def test_variance_of_the_twelve_bit_function() -> None:
    problem = twelve_bits()
    _, variances, _ = moments(MuProp(), problem)
    assert variances[0].sum().item() == pytest.approx(12.643, abs=1e-3)
    sampled = MuProp()(problem, 100_000, torch.Generator().manual_seed(0)).variance()[0].sum().item()
    assert sampled == pytest.approx(12.643, rel=0.03)


def test_a_chain_against_the_formula() -> None:
    problem = bernoulli_chain()
    noise = problem.draw_noise((5,), torch.Generator().manual_seed(0))
    values, logits = problem.sample(noise)
    first = torch.sigmoid(problem.logits(0, None)).detach().requires_grad_()
    second = torch.sigmoid(problem.transitions[0](first))
    third = torch.sigmoid(problem.transitions[1](second))
    cost = problem.f(first, second, third)
    slopes = torch.autograd.grad(cost.sum(), (first, second, third))
    samples = MuProp()(problem, noise={"values": noise})
    for number, mean in enumerate((first, second, third)):
        own = torch.sigmoid(logits[number])
        residual = problem.f(*values) - cost - (slopes[number] * (values[number] - mean)).sum(-1)
        expected = residual[..., None] * (values[number] - own) + slopes[number] * own * (1 - own)
        torch.testing.assert_close(samples.gradients[number], expected.detach())
        torch.testing.assert_close(samples.parts.signals[number], residual.detach())
    torch.testing.assert_close(samples.cost, problem.f(*values))


def test_evaluations_purity_and_shapes() -> None:
    estimator = MuProp()
    for problem in PROBLEMS.values():
        for n_samples in (1, 7):
            noise = estimator.draw(problem, n_samples, torch.Generator().manual_seed(0))
            samples, again = estimator(problem, noise=noise), estimator(problem, noise=noise)
            assert samples.evaluations == 2 == estimator.expected_evaluations(problem)
            for layer, one, two in zip(problem.layers, samples.gradients, again.gradients, strict=True):
                assert one.shape == (n_samples, *problem.batch_shape, *layer.shape)
                assert torch.equal(one, two)
                assert not one.requires_grad


@pytest.mark.parametrize("batch", [(), (0,), (3,), (2, 3)])
def test_batch_axes_in_single_precision(batch: tuple[int, ...]) -> None:
    problem = Layered(
        torch.randn(*batch, 2, 3, generator=torch.Generator().manual_seed(1)),
        [lambda x: x.flatten(-2)[..., :4] - 0.5],
        lambda x, y: x[..., 0, 1] * y.sum(-1) + x[..., 1, 2],
        variables=["categorical", "bernoulli"],
    )
    samples = MuProp()(problem, 5, torch.Generator().manual_seed(0))
    assert [tuple(gradient.shape) for gradient in samples.gradients] == [(5, *batch, 2, 3), (5, *batch, 4)]
    assert all(gradient.dtype == torch.float32 for gradient in samples.gradients)


def test_parameters_inside_get_the_surrogates_gradient_only() -> None:
    weights = waves(6, 3, 2).requires_grad_()
    first = waves(7, 3).requires_grad_()
    problem = Layered(first, [lambda x: x @ weights], lambda x, y: (x.sum(-1) - y.sum(-1)) ** 2)
    samples = MuProp()(problem, 4, torch.Generator().manual_seed(0))
    assert first.grad is None and weights.grad is None
    surrogate(problem, samples).backward()
    torch.testing.assert_close(first.grad, samples.mean()[0])
    expected = torch.einsum("si,sj->ij", samples.parts.values[0][0], samples.gradients[1]) / 4
    torch.testing.assert_close(weights.grad, expected)


def test_a_transition_without_derivative_only_costs_variance() -> None:
    problem = Layered(
        waves(1, 2), [lambda x: (x > 0.5).double() * 2 - 1], lambda x, y: (x.sum(-1) - y @ waves(2, 2)) ** 2
    )
    means, _, _ = moments(MuProp(), problem)
    for mean, truth in zip(means, exact(problem).gradients, strict=True):
        torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


def test_costs_it_cannot_use() -> None:
    logits = torch.zeros(2)
    for cost in (lambda z: (z > 0.5).float().sum(-1), lambda z: z.detach().sum(-1), lambda z: z.round().long().sum(-1)):
        with pytest.raises(TypeError, match="'f'"):
            MuProp()(Factorized(logits, cost))
    with pytest.raises(ValueError, match=r"MuProp[\s\S]*'f'[\s\S]*finite"):
        MuProp()(Factorized(logits, lambda z: torch.where((z == 0) | (z == 1), z, torch.nan).sum(-1)))
    with pytest.raises(TypeError, match="baseline"):
        MuProp("moving")  # type: ignore[arg-type]


def test_baselines_learn_from_the_residual() -> None:
    problem = categorical_chain()
    average = MovingAverage(1.0)
    estimator = MuProp(average)
    samples = estimator(problem, 50, torch.Generator().manual_seed(0))
    average.observe(problem, samples)
    for level, signal in zip(average.levels or (), samples.parts.signals or (), strict=True):
        torch.testing.assert_close(level, signal.mean())
    means, _, _ = moments(estimator, problem)
    for mean, truth in zip(means, exact(problem).gradients, strict=True):
        torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


def test_normalised_variance_shortens_the_whole_gradient() -> None:
    problem = Factorized(one_bit().logits(0, None), lambda z: 1000 * ((z - 0.45) ** 2).sum(-1))
    baseline = InputDependent(normalize_variance=True, rate=1.0)
    estimator = MuProp(baseline)
    assert not estimator.unbiased
    baseline.observe(problem, estimator(problem, 100, torch.Generator().manual_seed(0)))
    scale = baseline.scale(0)
    assert scale > 2
    means, _, _ = moments(estimator, problem)
    torch.testing.assert_close(means[0] * scale, exact(problem).gradients[0])

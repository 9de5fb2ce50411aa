"""Cost times score: exact expectations, closed forms, and the figures of a coupled function."""

import pytest
import torch
from torch import Tensor

from tests.estimators.configurations import moments, twelve_bits
from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, one_bit, one_categorical, six_bits
from toolkit.estimators.baselines import Constant, MovingAverage
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.exact import exact
from toolkit.estimators.likelihood_ratio import LikelihoodRatio, OptimalConstant, SelfCritical
from toolkit.estimators.problems import Values

ESTIMATORS = [LikelihoodRatio(), OptimalConstant(), OptimalConstant(False), SelfCritical(), SelfCritical(True)]


class LocalChain(Layered):
    """A chain whose cost is a sum over layers, so that later layers have signals of their own."""

    def compute_signals(self, values: Values, logits: Values) -> tuple[Tensor, ...]:
        terms = [(value.sum(-1) - 0.7) ** 2 * (number + 1) for number, value in enumerate(values)]
        return tuple(torch.stack(terms[number:]).sum(0) for number in range(len(terms)))


def local_chain() -> LocalChain:
    chain = bernoulli_chain()
    return LocalChain(chain.logits(0, None), chain.transitions, chain.f)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_expectation_over_all_configurations_is_the_gradient(name: str, estimator: LikelihoodRatio) -> None:
    problem = PROBLEMS[name]
    means, _, _ = moments(estimator, problem)
    for mean, truth in zip(means, exact(problem).gradients, strict=True):
        torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_local_signals_keep_the_expectation(estimator: LikelihoodRatio) -> None:
    problem = local_chain()
    means, _, _ = moments(estimator, problem)
    for mean, truth in zip(means, exact(problem).gradients, strict=True):
        torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("logit", [-2.0, 0.0, 0.8, 5.0])
@pytest.mark.parametrize("constant", [0.0, 0.37])
def test_variance_of_one_bit(logit: float, constant: float) -> None:
    f0, f1 = 0.45**2, 0.55**2
    problem = Factorized(torch.tensor([logit], dtype=torch.float64), lambda z: ((z - 0.45) ** 2).sum(-1))
    mean = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
    _, variances, _ = moments(LikelihoodRatio(Constant([constant])), problem)
    expected = mean * (1 - mean) * ((1 - mean) * f1 + mean * f0 - constant) ** 2
    torch.testing.assert_close(variances[0][0], expected, rtol=1e-12, atol=1e-18)
    average = (1 - mean) * f0 + mean * f1
    _, variances, _ = moments(LikelihoodRatio(Constant([average.item()])), problem)
    expected = mean * (1 - mean) * (1 - 2 * mean) ** 2 * (f1 - f0) ** 2
    torch.testing.assert_close(variances[0][0], expected, rtol=1e-9, atol=1e-18)
    _, variances, _ = moments(OptimalConstant(), problem)
    assert variances[0].item() < 1e-28


def test_variances_of_the_twelve_bit_function() -> None:
    problem = twelve_bits()
    truth = exact(problem)
    assert truth.gradients[0].norm().item() == pytest.approx(0.985, abs=5e-4)
    expected = {
        LikelihoodRatio(): 30.81,
        LikelihoodRatio(Constant([truth.value])): 18.70,
        OptimalConstant(): 18.21,
    }
    for estimator, variance in expected.items():
        assert moments(estimator, problem)[1][0].sum().item() == pytest.approx(variance, abs=5e-3)


def test_no_constant_beats_the_optimal_one() -> None:
    problem = categorical_chain()
    found = Constant.optimal(problem).constants
    _, least, _ = moments(LikelihoodRatio(Constant(found)), problem)
    _, oracle, _ = moments(OptimalConstant(), problem)
    for change in (-0.1, 0.1):
        _, other, _ = moments(LikelihoodRatio(Constant([part + change for part in found])), problem)
        for here, there, same in zip(least, other, oracle, strict=True):
            assert (here < there).all()
            torch.testing.assert_close(here, same, rtol=1e-12, atol=0)
    shared = Constant.optimal(problem, per_component=False).constants
    _, least, _ = moments(LikelihoodRatio(Constant(shared)), problem)
    for change in (-0.1, 0.1):
        _, other, _ = moments(LikelihoodRatio(Constant([part + change for part in shared])), problem)
        for here, there in zip(least, other, strict=True):
            assert (here.sum((-2, -1)) < there.sum((-2, -1))).all()


def test_a_constant_in_the_cost_costs_the_optimal_baseline_nothing() -> None:
    problem = six_bits()
    lifted = Factorized(problem.logits(0, None), lambda z: problem.f(z) + 1e6)
    _, here, _ = moments(OptimalConstant(), problem)
    _, there, _ = moments(OptimalConstant(), lifted)
    torch.testing.assert_close(here[0], there[0], rtol=1e-6, atol=0)
    _, bare, _ = moments(LikelihoodRatio(), lifted)
    assert (bare[0] > 1e8 * here[0]).all()


def test_a_certain_variable_has_a_finite_optimal_baseline() -> None:
    problem = Factorized(torch.tensor([1000.0, 0.3], dtype=torch.float64), lambda z: (z.sum(-1) - 0.2) ** 2)
    constants = Constant.optimal(problem).constants[0]
    assert torch.isfinite(constants).all()
    torch.testing.assert_close(constants[0], exact(problem).value)
    assert torch.isfinite(OptimalConstant()(problem, 5, torch.Generator().manual_seed(0)).gradients[0]).all()


def test_self_critical_subtracts_the_greedy_cost() -> None:
    problem = bernoulli_chain()
    noise = problem.draw_noise((7,), torch.Generator().manual_seed(3))
    values, logits = problem.sample(noise)
    first = (problem.logits(0, None) >= 0).double()
    second = (problem.transitions[0](first) >= 0).double()
    third = (problem.transitions[1](second) >= 0).double()
    samples = SelfCritical()(problem, noise={"values": noise})
    advantage = problem.f(*values) - problem.f(first, second, third)
    for number, gradient in enumerate(samples.gradients):
        torch.testing.assert_close(gradient, advantage[..., None] * (values[number] - torch.sigmoid(logits[number])))
    samples = SelfCritical(from_parents=True)(problem, noise={"values": noise})
    last = (problem.transitions[1](values[1]) >= 0).double()
    advantage = problem.f(*values) - problem.f(values[0], values[1], last)
    torch.testing.assert_close(samples.gradients[2], advantage[..., None] * (values[2] - torch.sigmoid(logits[2])))
    torch.testing.assert_close(samples.cost, problem.f(*values))


def test_evaluations_are_those_of_the_formula() -> None:
    for problem in PROBLEMS.values():
        for estimator in [*ESTIMATORS, LikelihoodRatio(MovingAverage())]:
            for n_samples in (1, 6):
                found = estimator(problem, n_samples, torch.Generator().manual_seed(0)).evaluations
                assert found == estimator.expected_evaluations(problem)
    assert SelfCritical(True)(bernoulli_chain(), 2).evaluations == 4
    assert SelfCritical(True)(one_bit(), 2).evaluations == 2


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_axes_and_types(estimator: LikelihoodRatio, batch: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(*batch, 2, 3, generator=generator, dtype=dtype)
    problem = Layered(
        logits,
        [lambda x: x.flatten(-2)[..., :4] - 0.5],
        lambda x, y: x[..., 0, 1] * y.sum(-1) + x[..., 1, 2],
        variables=["categorical", "bernoulli"],
    )
    samples = estimator(problem, 5, generator)
    assert [tuple(gradient.shape) for gradient in samples.gradients] == [(5, *batch, 2, 3), (5, *batch, 4)]
    assert all(gradient.dtype == dtype for gradient in samples.gradients)
    assert samples.cost.shape == (5, *batch)
    # Each example is a problem of its own.
    if batch == (3,):
        noise = problem.draw_noise((5,), torch.Generator().manual_seed(2))
        alone = Layered(logits[1], problem.transitions, problem.f, variables=["categorical", "bernoulli"])
        whole = estimator(problem, noise={"values": noise})
        part = estimator(alone, noise={"values": tuple(n[:, 1] for n in noise)})
        for here, there in zip(whole.gradients, part.gradients, strict=True):
            torch.testing.assert_close(here[:, 1], there)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_same_noise_same_numbers(estimator: LikelihoodRatio) -> None:
    problem = categorical_chain()
    noise = estimator.draw(problem, 9, torch.Generator().manual_seed(5))
    first, second = estimator(problem, noise=noise), estimator(problem, noise=noise)
    assert all(torch.equal(a, b) for a, b in zip(first.gradients, second.gradients, strict=True))


def test_refusals() -> None:
    with pytest.raises(TypeError, match="baseline"):
        LikelihoodRatio(0.3)  # type: ignore[arg-type]
    wide = Factorized(torch.zeros(17), lambda z: z.sum(-1))
    with pytest.raises(ValueError, match=r"OptimalConstant[\s\S]*2\*\*16"):
        OptimalConstant()(wide)
    with pytest.raises(ValueError, match="finite"):
        LikelihoodRatio()(Factorized(torch.zeros(2), lambda z: z.sum(-1) / 0))
    assert LikelihoodRatio()(one_categorical(), 3).unbiased

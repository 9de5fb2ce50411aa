"""Baselines: what they learn, when, and that no sample is in its own."""

import contextlib
import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.estimators.configurations import moments
from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, one_bit, six_bits, waves
from toolkit.estimators.baselines import Baseline, Constant, MovingAverage
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.estimator import GradientSamples
from toolkit.estimators.exact import enumerate_values, exact
from toolkit.estimators.input_dependent import InputDependent
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.multi_sample import LeaveOneOut
from toolkit.estimators.problems import Problem


def observe(baseline: Baseline, problem: Problem, times: int, n_samples: int = 100, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(times):
        baseline.observe(problem, LikelihoodRatio(baseline)(problem, n_samples, generator))


def variance(baseline: Baseline | None, problem: Problem) -> list[float]:
    return [part.sum().item() for part in moments(LikelihoodRatio(baseline), problem)[1]]


class TwoInputs(Layered):
    """A chain that is given something."""

    def __init__(self) -> None:
        chain = bernoulli_chain()
        offset = torch.tensor([0.0, 3.0], dtype=torch.float64)
        super().__init__(chain.logits(0, None), chain.transitions, lambda *values: chain.f(*values) + offset)
        self.inputs = waves(20, 2, 5)


def test_moving_average_by_hand() -> None:
    problem = bernoulli_chain()
    average = MovingAverage(0.25)
    estimator = LikelihoodRatio(average)
    level = 0.0
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        samples = estimator(problem, 10, generator)
        assert samples.unbiased
        average.observe(problem, samples)
        level += 0.25 * (samples.cost.mean().item() - level)
        assert average.levels is not None
        assert [part.item() for part in average.levels] == pytest.approx([level] * 3)


def test_an_estimate_changes_no_baseline() -> None:
    problem = TwoInputs()
    for baseline in (MovingAverage(), InputDependent(hidden=4), InputDependent(hidden=4, normalize_variance=True)):
        observe(baseline, problem, 3)
        before = copy.deepcopy(baseline.state_dict())
        noise = {"values": problem.draw_noise((6,), torch.Generator().manual_seed(1))}
        first = LikelihoodRatio(baseline)(problem, noise=noise)
        second = LikelihoodRatio(baseline)(problem, noise=noise)
        assert all(torch.equal(a, b) for a, b in zip(first.gradients, second.gradients, strict=True))
        torch.testing.assert_close(baseline.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", PROBLEMS)
def test_expectation_stays_the_gradient_with_what_was_learnt(name: str) -> None:
    problem = PROBLEMS[name]
    for baseline in (MovingAverage(), InputDependent(hidden=8)):
        observe(baseline, problem, 5)
        means, _, _ = moments(LikelihoodRatio(baseline), problem)
        for mean, truth in zip(means, exact(problem).gradients, strict=True):
            torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


def test_updating_before_use_would_shorten_the_gradient() -> None:
    # What the class says about the other order: the expectation is 1 − rate / B of the gradient.
    problem, rate, size = one_bit(), 0.2, 2
    noise, probabilities = _pairs(problem)
    values, logits = problem.sample(noise)
    cost = problem.f(values[0])
    after = cost - rate * cost.mean(0)
    gradient = (after[..., None] * (values[0] - torch.sigmoid(logits[0]))).mean(0)
    mean = (probabilities[:, None] * gradient).sum(0)
    torch.testing.assert_close(mean, exact(problem).gradients[0] * (1 - rate / size))


def _pairs(problem: Factorized) -> tuple[tuple[Tensor, ...], Tensor]:
    mean = torch.sigmoid(problem.logits(0, None))[0]
    one, zero = mean / 2, (1 + mean) / 2
    noise = torch.stack([torch.stack([a, b]) for a in (one, zero) for b in (one, zero)], 1)[..., None]
    chances = [p * q for p in (mean, 1 - mean) for q in (mean, 1 - mean)]
    return (noise,), torch.stack(chances)


def test_input_dependent_starts_as_nothing() -> None:
    problem = TwoInputs()
    noise = {"values": problem.draw_noise((6,), torch.Generator().manual_seed(1))}
    bare = LikelihoodRatio()(problem, noise=noise)
    fresh = LikelihoodRatio(InputDependent())(problem, noise=noise)
    assert all(torch.equal(a, b) for a, b in zip(bare.gradients, fresh.gradients, strict=True))


def test_input_dependent_learns_the_signal_given_the_parents() -> None:
    problem = Layered(
        waves(1, 2), [lambda x: 2 * x - 1], lambda x, y: 4 * x[..., 0] * x[..., 1] + y[..., 0] * y[..., 1]
    )
    plain = variance(None, problem)
    average = MovingAverage(0.05)
    fast = functools.partial(torch.optim.Adam, lr=0.02)
    learnt = InputDependent(hidden=30, rate=0.05, optimizer=fast, generator=torch.Generator())
    observe(average, problem, 150)
    observe(learnt, problem, 150)
    constant, network = variance(average, problem), variance(learnt, problem)
    assert constant[1] < plain[1]
    assert network[1] < 0.1 * constant[1]
    # Against the conditional expectations: E[y_0 y_1 | x] = μ_0 μ_1.
    corners = enumerate_values(Factorized(waves(1, 2), lambda z: z.sum(-1)))[0]
    means = torch.sigmoid(2 * corners - 1)
    expected = 4 * corners.prod(-1) + means.prod(-1)
    predicted = learnt.values(problem, 1, (corners, corners), (), ())[..., 0]
    assert (predicted - expected).abs().max() < 0.4


def test_the_first_layers_network_sees_the_inputs() -> None:
    problem = TwoInputs()
    learnt = InputDependent(hidden=20, generator=torch.Generator())
    observe(learnt, problem, 150)
    noise = problem.draw_noise((3,), torch.Generator().manual_seed(1))
    values, logits = problem.sample(noise)
    predicted = learnt.values(problem, 0, values, logits, ())
    assert predicted.shape == (1, 2, 1)
    truth = exact(problem).value
    assert (truth[0] - truth[1]).abs() > 2
    assert (predicted[0, :, 0] - truth).abs().max() < 0.4
    given = InputDependent(inputs=problem.inputs, hidden=20, generator=torch.Generator())
    chain = TwoInputs()
    chain.inputs = None
    observe(given, chain, 150)
    torch.testing.assert_close(given.values(chain, 0, values, logits, ()), predicted)
    # Without inputs the first layer has its average only.
    none = InputDependent(hidden=20)
    observe(none, chain, 2)
    assert none.networks is not None and none.networks[0] is None
    assert none.values(chain, 0, values, logits, ()).shape == ()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_networks_learn_in_any_mode_of_the_caller(mode: Callable[[], Any]) -> None:
    learnt = []
    for context in (contextlib.nullcontext, mode):
        with context():
            baseline = InputDependent(generator=torch.Generator().manual_seed(1))
            observe(baseline, TwoInputs(), 3)
        assert baseline.networks is not None
        learnt.append([part for network in baseline.networks if network for part in network.parameters()])
    assert len(learnt[0]) == 12 and all(torch.equal(a, b) for a, b in zip(*learnt, strict=True))


def test_networks_of_ones_own() -> None:
    problem = categorical_chain()
    network = torch.nn.Linear(6, 1)
    learnt = InputDependent([None, network], optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    before = network.weight.detach().clone()
    samples = LikelihoodRatio(learnt)(problem, 10, torch.Generator().manual_seed(0))
    features = samples.parts.values[0][0].flatten(-2).float()
    given = copy.deepcopy(network)
    loss = (samples.cost - given(features)[..., 0].double()).square().mean()
    loss.backward()
    learnt.observe(problem, samples)
    assert given.weight.grad is not None
    torch.testing.assert_close(network.weight.detach(), before - 0.1 * given.weight.grad)
    wrong = InputDependent([None, torch.nn.Linear(6, 2)])
    with pytest.raises(ValueError, match=r"networks\[1\]"):
        LikelihoodRatio(wrong)(problem, 3)
    with pytest.raises(ValueError, match="one network a layer"):
        LikelihoodRatio(InputDependent([None]))(problem, 3)


def test_normalisation_divides_by_the_residuals_deviation_above_one() -> None:
    small, large = (Factorized(waves(3, 6), lambda z, by=by: by * six_bits().f(z)) for by in (0.1, 50))
    for problem, divided in ((small, False), (large, True)):
        baseline = InputDependent(normalize_variance=True, rate=1.0)
        samples = LikelihoodRatio(baseline)(problem, 500, torch.Generator().manual_seed(0))
        assert not samples.unbiased
        baseline.observe(problem, samples)
        deviation = samples.cost.var(correction=0).sqrt()
        expected = deviation if divided else torch.ones_like(deviation)
        torch.testing.assert_close(torch.as_tensor(baseline.scale(0)), expected)
        assert (deviation > 1) == divided
        means, _, _ = moments(LikelihoodRatio(baseline), problem)
        torch.testing.assert_close(means[0] * expected, exact(problem).gradients[0])
    assert LikelihoodRatio(InputDependent()).unbiased and LikelihoodRatio.unbiased


@pytest.mark.parametrize("make", [MovingAverage, lambda: InputDependent(hidden=5)], ids=["average", "network"])
def test_state_goes_over(make: type[MovingAverage]) -> None:
    problem = TwoInputs()
    one, two = make(), make()
    two.load_state_dict(pickle.loads(pickle.dumps(one.state_dict())))
    observe(one, problem, 4)
    two.load_state_dict(pickle.loads(pickle.dumps(one.state_dict())))
    torch.testing.assert_close(two.state_dict(), one.state_dict(), rtol=0, atol=0)
    # And so does the optimiser's: both go on alike.
    observe(one, problem, 3, seed=1)
    observe(two, problem, 3, seed=1)
    torch.testing.assert_close(two.state_dict(), one.state_dict(), rtol=0, atol=0)
    again = pickle.loads(pickle.dumps(one))
    torch.testing.assert_close(again.state_dict(), one.state_dict(), rtol=0, atol=0)


def test_first_weights_come_from_the_generator_alone() -> None:
    problem = TwoInputs()
    state = torch.random.get_rng_state()
    one, two = (InputDependent(generator=torch.Generator().manual_seed(3)) for _ in range(2))
    for baseline in (one, two):
        observe(baseline, problem, 2)
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_empty_batches_teach_nothing() -> None:
    problem = Layered(torch.zeros(0, 3), [lambda x: x[..., :2]], lambda x, y: x.sum(-1) * y.sum(-1))
    for baseline in (MovingAverage(), InputDependent()):
        observe(baseline, problem, 1)
        observe(baseline, six_bits(), 1)
        values = baseline.values(six_bits(), 0, (), (), ())
        assert torch.isfinite(values).all()


def test_constants_of_every_shape() -> None:
    problem = bernoulli_chain()
    constants = [0.5, waves(1, 2, 1), waves(2, 3)]
    noise = {"values": problem.draw_noise((4,), torch.Generator().manual_seed(0))}
    samples = LikelihoodRatio(Constant(constants))(problem, noise=noise)
    bare = LikelihoodRatio()(problem, noise=noise)
    values = bare.parts.values
    logits = [problem.logits(n, values[n - 1][0] if n else None) for n in range(3)]
    for number, constant in enumerate(constants):
        score = values[number][0] - torch.sigmoid(logits[number])
        torch.testing.assert_close(samples.gradients[number], bare.gradients[number] - constant * score)
    assert repr(Constant(constants)) == "Constant(0.5, tensor (2, 1), tensor (3,))"
    single = Factorized(torch.zeros(3), lambda z: z.sum(-1))
    assert LikelihoodRatio(Constant([waves(1, 3)]))(single, 2).gradients[0].dtype == torch.float32


def test_refusals() -> None:
    problem = bernoulli_chain()
    with pytest.raises(ValueError, match="rate"):
        MovingAverage(0.0)
    with pytest.raises(ValueError, match="rate"):
        InputDependent(rate=1.5)
    with pytest.raises(ValueError, match="hidden"):
        InputDependent(hidden=0)
    with pytest.raises(ValueError, match="one a layer, 3"):
        LikelihoodRatio(Constant([1.0]))(problem)
    with pytest.raises(ValueError, match=r"layer 1[\s\S]*broadcast"):
        LikelihoodRatio(Constant([1.0, waves(1, 5), 1.0]))(problem)
    with pytest.raises(ValueError, match=r"layer 0[\s\S]*broadcast"):
        LikelihoodRatio(Constant([waves(1, 7, 1, 2, 3), 1.0, 1.0]))(problem)
    with pytest.raises(ValueError, match="finite"):
        Constant([float("nan")])
    with pytest.raises(TypeError, match="constants"):
        Constant(torch.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inputs"):
        observe(InputDependent(inputs=torch.zeros(3, 4)), problem, 1)
    average = MovingAverage()
    observe(average, problem, 1)
    with pytest.raises(ValueError, match="3 layers"):
        LikelihoodRatio(average)(six_bits())
    with pytest.raises(ValueError, match="3 layers"):
        average.observe(six_bits(), LikelihoodRatio()(six_bits(), 2))
    with pytest.raises(ValueError, match="samples of this problem"):
        average.observe(problem, LikelihoodRatio()(six_bits(), 2))
    with pytest.raises(ValueError, match="takes a baseline"):
        average.observe(problem, LeaveOneOut()(problem, 2))


def test_nothing_is_observed_by_constants() -> None:
    problem = six_bits()
    constant = Constant.optimal(problem)
    before = [part.clone() for part in constant.constants]
    samples: GradientSamples = LikelihoodRatio(constant)(problem, 5)
    constant.observe(problem, samples)
    assert all(torch.equal(a, b) for a, b in zip(before, constant.constants, strict=True))

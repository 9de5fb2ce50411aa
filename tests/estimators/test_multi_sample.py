"""Several draws: exact expectations over all tuples of configurations, for the cost and for the n-sample bound."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from tests.estimators.configurations import moments, noise_of_all, twelve_bits
from tests.estimators.problems import PROBLEMS, bernoulli_chain, one_bit, one_categorical, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.exact import enumerate_values, exact, joint_log_prob
from toolkit.estimators.multi_sample import VIMCO, LeaveOneOut, exact_bound, log_mean_exp
from toolkit.estimators.problems import Problem, Values


def mixed_chain() -> Layered:
    """Two examples of one variable with three values above two bits."""
    weights, a, b = waves(1, 3, 2, scale=1.5), waves(2, 3), waves(3, 2)
    return Layered(
        waves(4, 2, 1, 3),
        [lambda x: x[..., 0, :] @ weights],
        lambda x, y: (x[..., 0, :] @ a + y @ b) ** 2 + torch.tanh(3 * x[..., 0, 1] * y[..., 0]),
        variables=["categorical", "bernoulli"],
    )


class SampledEntropy(Layered):
    """A log joint less the log probability of the sampled values: the log weight of the importance-weighted bound."""

    def compute_signals(self, values: Values, logits: Values) -> tuple[Tensor, ...]:
        weight = self.f(*values) - joint_log_prob(self, tuple(values), tuple(logits))
        return (weight,) * self.depth


def sampled_entropy() -> SampledEntropy:
    chain = mixed_chain()
    return SampledEntropy(chain.logits(0, None), chain.transitions, chain.f, variables=["categorical", "bernoulli"])


SMALL: dict[str, tuple[Problem, int]] = {
    "one bit, pairs": (one_bit(), 2),
    "one bit, fives": (one_bit(), 5),
    "six bits, pairs": (six_bits(), 2),
    "one categorical, triples": (one_categorical(), 3),
    "mixed chain, pairs": (mixed_chain(), 2),
    "mixed chain, triples": (mixed_chain(), 3),
    "three-layer chain, pairs": (bernoulli_chain(), 2),
}


@pytest.mark.parametrize("name", SMALL)
def test_leave_one_out_is_unbiased(name: str) -> None:
    problem, n = SMALL[name]
    means, _, _ = moments(LeaveOneOut(n), problem, n)
    for mean, truth in zip(means, exact(problem).gradients, strict=True):
        torch.testing.assert_close(mean, truth, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [*SMALL, "sampled entropy, pairs", "sampled entropy, triples"])
def test_vimco_is_unbiased_for_the_bound(name: str) -> None:
    problem, n = SMALL[name] if name in SMALL else (sampled_entropy(), 2 if name.endswith("pairs") else 3)
    means, _, noise = moments(VIMCO(n), problem, n)
    truth = exact_bound(problem, n)
    for mean, gradient in zip(means, truth.gradients, strict=True):
        torch.testing.assert_close(mean, gradient, rtol=0, atol=1e-12)
    _, probabilities = noise_of_all(problem, n)
    samples = VIMCO(n)(problem, noise=noise)
    torch.testing.assert_close((probabilities * samples.cost).sum(0), truth.value, rtol=0, atol=1e-12)


def test_the_bound_is_another_objective() -> None:
    problem = mixed_chain()
    one, two = exact(problem), exact_bound(problem, 2)
    assert (two.value > one.value + 1e-3).all()
    assert (two.gradients[1] - one.gradients[1]).abs().max() > 1e-3
    assert VIMCO(2).objective != LeaveOneOut(2).objective == "expected cost"


def test_the_bound_of_one_draw_is_the_expected_cost() -> None:
    for problem in PROBLEMS.values():
        one, bound = exact(problem), exact_bound(problem, 1)
        torch.testing.assert_close(bound.value, one.value)
        for here, there in zip(bound.gradients, one.gradients, strict=True):
            torch.testing.assert_close(here, there)


def test_the_bound_against_loops_and_differences() -> None:
    costs = [0.3, -1.2]

    def bound(logit: float) -> float:
        mean = 1 / (1 + math.exp(-logit))
        total = 0.0
        for bits in itertools.product((0, 1), repeat=3):
            probability = math.prod(mean if bit else 1 - mean for bit in bits)
            total += probability * math.log(sum(math.exp(costs[bit]) for bit in bits) / 3)
        return total

    problem = Factorized(
        torch.tensor([0.6], dtype=torch.float64), lambda z: costs[0] + (costs[1] - costs[0]) * z[..., 0]
    )
    truth = exact_bound(problem, 3)
    assert truth.configurations == 8
    assert truth.value.item() == pytest.approx(bound(0.6), abs=1e-14)
    slope = (bound(0.6 + 1e-5) - bound(0.6 - 1e-5)) / 2e-5
    assert truth.gradients[0].item() == pytest.approx(slope, abs=1e-9)


def test_the_importance_weighted_bound_rises_to_the_log_of_the_sum() -> None:
    problem = sampled_entropy()
    values = tuple(
        v.expand(len(v), 2, *layer.shape) for v, layer in zip(enumerate_values(problem), problem.layers, strict=True)
    )
    evidence = torch.logsumexp(problem.f(*values), 0)
    bounds = [exact_bound(problem, n).value for n in (1, 2, 3, 5)]
    for low, high in itertools.pairwise([*bounds, evidence]):
        assert (low < high).all()


def test_vimco_against_the_formula_draw_by_draw() -> None:
    problem = mixed_chain()
    noise = problem.draw_noise((4, 6), torch.Generator().manual_seed(0))
    values, logits = problem.sample(noise)
    weights = problem.f(*values)
    bound = torch.log(weights.exp().mean(0))
    expected = [torch.zeros(6, *problem.batch_shape, *layer.shape, dtype=torch.float64) for layer in problem.layers]
    for k in range(4):
        others = [j for j in range(4) if j != k]
        replaced = weights.clone()
        replaced[k] = weights[others].mean(0)
        learning = bound - torch.log(replaced.exp().mean(0))
        expected[0] += learning[..., None, None] * (values[0][k] - torch.softmax(logits[0], -1))
        expected[1] += learning[..., None] * (values[1][k] - torch.sigmoid(logits[1][k]))
    samples = VIMCO(4)(problem, noise={"values": noise})
    for found, right in zip(samples.gradients, expected, strict=True):
        torch.testing.assert_close(found, right)
    torch.testing.assert_close(samples.cost, bound)


@pytest.mark.parametrize("lift", [-1e4, 0.0, 1e4])
def test_vimco_survives_large_log_weights(lift: float) -> None:
    problem = mixed_chain()
    lifted = Layered(
        problem.logits(0, None),
        problem.transitions,
        lambda x, y: problem.f(x, y) + lift,
        variables=["categorical", "bernoulli"],
    )
    noise = {"values": problem.draw_noise((5, 8), torch.Generator().manual_seed(0))}
    here, there = VIMCO(5)(problem, noise=noise), VIMCO(5)(lifted, noise=noise)
    for low, high in zip(here.gradients, there.gradients, strict=True):
        torch.testing.assert_close(low, high, rtol=0, atol=1e-10)
    steep = Factorized(torch.zeros(3), lambda z: 1e4 * (z.sum(-1) - 1.5))
    samples = VIMCO(8)(steep, 20, torch.Generator().manual_seed(1))
    assert torch.isfinite(samples.gradients[0]).all()
    assert torch.isfinite(samples.cost).all()


def test_surrogate_of_the_bound_weighs_the_costs_own_gradient() -> None:
    slopes = waves(5, 2).requires_grad_()
    weights = waves(6, 3, 2).requires_grad_()
    first = waves(7, 2, 3).requires_grad_()
    problem = Layered(first, [lambda x: x @ weights], lambda x, y: (y @ slopes) ** 2 + x[..., 0] * y[..., 1])
    samples = VIMCO(3)(problem, 5, torch.Generator().manual_seed(0))
    loss = surrogate(problem, samples)
    loss.backward()
    assert loss.item() == pytest.approx(samples.cost.mean(0).sum().item())
    values = samples.parts.values
    given = slopes.detach().requires_grad_()
    log_mean_exp((values[1] @ given) ** 2 + values[0][..., 0] * values[1][..., 1]).mean(0).sum().backward()
    assert slopes.grad is not None and weights.grad is not None and first.grad is not None
    torch.testing.assert_close(slopes.grad, given.grad)
    torch.testing.assert_close(first.grad, samples.mean()[0])
    contributions = samples.parts.contributions[1]
    expected = torch.einsum("ksbi,ksbj->ij", values[0], contributions) / 5
    torch.testing.assert_close(weights.grad, expected)


def test_surrogate_of_leave_one_out_shares_the_costs_gradient_equally() -> None:
    slopes = waves(5, 3).requires_grad_()
    problem = Factorized(waves(7, 3), lambda z: (z @ slopes) ** 2)
    samples = LeaveOneOut(4)(problem, 6, torch.Generator().manual_seed(0))
    surrogate(problem, samples).backward()
    given = slopes.detach().requires_grad_()
    ((samples.parts.values[0] @ given) ** 2).mean().backward()
    torch.testing.assert_close(slopes.grad, given.grad)


@pytest.mark.parametrize("logit", [0.0, 0.8, -3.0])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_variance_of_one_bit(logit: float, n: int) -> None:
    problem = Factorized(torch.tensor([logit], dtype=torch.float64), lambda z: ((z - 0.45) ** 2).sum(-1))
    _, variances, _ = moments(LeaveOneOut(n), problem, n)
    mean = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
    square = mean * (1 - mean)
    fourth = square * (1 - 3 * square)
    expected = 0.1**2 * (fourth - square**2 * (n - 3) / (n - 1)) / n
    torch.testing.assert_close(variances[0][0], expected, rtol=1e-9, atol=1e-16)


def variance_of_pairs(problem: Factorized) -> Tensor:
    """Return the exact variance of ``½ (f_1 − f_2)(s_1 − s_2)`` by moments of one draw."""
    values = enumerate_values(problem)
    logits = problem.logits(0, None)
    p = joint_log_prob(problem, values, (logits,)).exp()[:, None]
    f, s = problem.f(values[0])[:, None], values[0] - torch.sigmoid(logits)

    def mean(x: Tensor) -> Tensor:
        return (p * x).sum(0)

    square = 2 * mean(f**2 * s**2) + 2 * mean(f**2) * mean(s**2) - 4 * mean(f * s**2) * mean(f) + 4 * mean(f * s) ** 2
    return square / 4 - mean(f * s) ** 2


def test_variances_of_the_twelve_bit_function() -> None:
    problem = twelve_bits()
    exact_pairs = variance_of_pairs(problem).sum().item()
    _, variances, _ = moments(LeaveOneOut(2), six_bits(), 2)
    torch.testing.assert_close(variances[0], variance_of_pairs(six_bits()))
    assert exact_pairs == pytest.approx(19.535, abs=1e-3)
    generator = torch.Generator().manual_seed(0)
    found = LeaveOneOut(2)(problem, 100_000, generator).variance()[0].sum().item()
    assert found == pytest.approx(exact_pairs, rel=0.03)
    found = LeaveOneOut(13)(problem, 20_000, generator).variance()[0].sum().item()
    assert found == pytest.approx(1.57, rel=0.03)


@pytest.mark.parametrize("kind", [LeaveOneOut, VIMCO])
def test_evaluations_purity_and_shapes(kind: type[LeaveOneOut] | type[VIMCO]) -> None:
    for n in (2, 5):
        estimator = kind(n)
        for problem in PROBLEMS.values():
            noise = estimator.draw(problem, 3, torch.Generator().manual_seed(0))
            samples, again = estimator(problem, noise=noise), estimator(problem, noise=noise)
            assert samples.evaluations == n == estimator.expected_evaluations(problem)
            assert samples.cost.shape == (3, *problem.batch_shape)
            assert samples.unbiased
            for layer, one, two in zip(problem.layers, samples.gradients, again.gradients, strict=True):
                assert one.shape == (3, *problem.batch_shape, *layer.shape)
                assert torch.equal(one, two)


@pytest.mark.parametrize("kind", [LeaveOneOut, VIMCO])
@pytest.mark.parametrize("batch", [(), (0,), (2, 3)])
def test_batch_axes_in_single_precision(kind: type[LeaveOneOut] | type[VIMCO], batch: tuple[int, ...]) -> None:
    logits = torch.randn(*batch, 1, 3, generator=torch.Generator().manual_seed(0))
    problem = Factorized(logits, lambda z: z[..., 0, 1] * 2 - z[..., 0, 2], variables="categorical")
    samples = kind(3)(problem, 4, torch.Generator().manual_seed(1))
    assert samples.gradients[0].shape == (4, *batch, 1, 3)
    assert samples.gradients[0].dtype == torch.float32
    assert torch.isfinite(samples.gradients[0]).all()


@pytest.mark.parametrize("kind", [LeaveOneOut, VIMCO])
def test_refusals(kind: type[LeaveOneOut] | type[VIMCO]) -> None:
    with pytest.raises(ValueError, match=r"'n'[\s\S]*>= 2"):
        kind(1)
    with pytest.raises(TypeError, match="an integer"):
        kind(True)
    with pytest.raises(ValueError, match="tuples"):
        exact_bound(six_bits(), 4)
    with pytest.raises(ValueError, match="tuples"):
        exact_bound(one_bit(), 10**9)
    assert exact_bound(one_bit(), 20).configurations == 2**20
    with pytest.raises(ValueError, match=">= 1"):
        exact_bound(one_bit(), 0)

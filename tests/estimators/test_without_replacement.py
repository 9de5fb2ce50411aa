"""Sum-and-sample and the unordered set against brute force over sets, orders and configurations."""

import itertools
from math import prod

import pytest
import torch
from torch import Tensor

from tests.estimators.problems import PROBLEMS, bernoulli_chain, categorical_chain, one_categorical, six_bits, waves
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.configurations import ConfigurationTable, configuration_count
from toolkit.estimators.estimator import surrogate
from toolkit.estimators.exact import enumerate_values, exact, joint_log_prob
from toolkit.estimators.problems import Problem
from toolkit.estimators.without_replacement import SumAndSample, UnorderedSet, set_weights

EVERY = [
    SumAndSample(),
    SumAndSample(top=4),
    UnorderedSet(),
    UnorderedSet(baseline=False),
    UnorderedSet(k=1, baseline=False),
    UnorderedSet(k=4),
]


def three_bits() -> Factorized:
    a, b = waves(1, 3), waves(2, 3, 3)
    return Factorized(waves(3, 3, scale=0.7), lambda z: (z @ a - 0.3) ** 2 + torch.tanh(z @ b).sum(-1))


def short_chain() -> Layered:
    """A bit above one variable with three values."""
    weights = waves(4, 1, 3)
    return Layered(
        torch.tensor([0.4], dtype=torch.float64),
        [lambda x: torch.einsum("...i,ik->...ik", x, weights) - weights**2],
        lambda x, y: (y * waves(5, 1, 3)).sum((-2, -1)) + (x[..., 0] * y[..., 0, 1] - 0.5) ** 2,
        variables=["bernoulli", "categorical"],
    )


def probabilities(problem: Problem) -> tuple[tuple[Tensor, ...], Tensor]:
    values = enumerate_values(problem)
    shape = (len(values[0]), *problem.batch_shape)
    values = tuple(value.expand(*shape, *layer.shape) for value, layer in zip(values, problem.layers, strict=True))
    logits = tuple(problem.logits(n, values[n - 1] if n else None) for n in range(problem.depth))
    return values, joint_log_prob(problem, values, logits).exp()


def in_order(order: tuple[int, ...], p: list[float], gone: tuple[int, ...] = ()) -> float:
    """The probability to draw exactly this order without replacement, after what is gone already."""
    left = 1 - sum(p[i] for i in gone)
    found = 1.0
    for i in order:
        found *= p[i] / left
        left -= p[i]
    return found


def of_set(members: tuple[int, ...], p: list[float], gone: tuple[int, ...] = ()) -> float:
    return sum(in_order(order, p, gone) for order in itertools.permutations(members))


def as_often_as(count: int, total: int, probability: float) -> bool:
    spread = (total * max(probability * (1 - probability), 0.0)) ** 0.5
    return abs(count - total * probability) < 5 * spread + 1e-6


def without(members: tuple[int, ...], *gone: int) -> tuple[int, ...]:
    return tuple(i for i in members if i not in gone)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_weights_of_a_set_from_all_its_orders(k):
    p = torch.softmax(waves(7, 7), 0).tolist()
    for members in itertools.combinations(range(7), k):
        log_probs = torch.tensor([p[i] for i in members], dtype=torch.float64).log()
        log_rest = torch.tensor(1 - sum(p[i] for i in members), dtype=torch.float64).log()
        weights, shares = set_weights(log_probs, log_rest)
        for row, s in enumerate(members):
            expected = p[s] * of_set(without(members, s), p, (s,)) / of_set(members, p)
            assert abs(float(weights[row]) - expected) < 1e-12
            for column, t in enumerate(members):
                share = (
                    p[s]
                    if s == t
                    else p[t] * of_set(without(members, s, t), p, (s, t)) / of_set(without(members, s), p, (s,))
                )
                assert abs(float(shares[row, column]) - share) < 1e-12


def test_weights_of_two_by_the_closed_form():
    p = torch.tensor([0.5, 0.2], dtype=torch.float64)
    weights, shares = set_weights(p.log(), torch.tensor(0.3, dtype=torch.float64).log())
    either = p[0] * p[1] / (1 - p[0]) + p[1] * p[0] / (1 - p[1])
    torch.testing.assert_close(weights, p * (p.flip(0) / (1 - p)) / either)
    torch.testing.assert_close(shares, torch.tensor([[0.5, 0.5], [0.8, 0.2]], dtype=torch.float64))


def test_weights_of_members_as_different_as_can_be():
    log_probs = torch.tensor([-1e-12, -30.0, -800.0, -5e4], dtype=torch.float64)
    for log_rest in (torch.tensor(-1e5, dtype=torch.float64), torch.tensor(-torch.inf, dtype=torch.float64)):
        weights, shares = set_weights(log_probs, log_rest)
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))
        assert torch.isfinite(shares).all()
        # Without the first, which has nearly all the mass, the second has nearly all that is left.
        torch.testing.assert_close(shares[0, 1], -torch.expm1(log_probs[0]), rtol=0, atol=1e-11)


@pytest.mark.parametrize("make", [three_bits, short_chain, one_categorical])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("baseline", [True, False])
def test_expectation_over_every_set_is_the_gradient(make, k, baseline):
    if k == 1 and baseline:
        with pytest.raises(ValueError, match="'k'"):
            UnorderedSet(k=1)
        return
    problem = make()
    _, p = probabilities(problem)
    samples = UnorderedSet(k=k, baseline=baseline)(problem, 20_000, torch.Generator().manual_seed(2))
    sets = members_of(problem, samples.parts.values)
    truth = exact(problem)
    found = [torch.zeros_like(gradient) for gradient in truth.gradients]
    value, seen = 0.0, 0
    for members in itertools.combinations(range(len(p)), min(k, len(p))):
        rows = (sets == torch.tensor(members)).all(-1).nonzero()
        assert len(rows), "a set that never came"
        seen += len(rows)
        row, probability = int(rows[0]), of_set(members, p.tolist())
        # The number of times each set came is what its probability says.
        assert as_often_as(len(rows), 20_000, probability)
        found = [f + probability * g[row] for f, g in zip(found, samples.gradients, strict=True)]
        value += probability * float(samples.cost[row])
    assert seen == 20_000
    for gradient, expected in zip(found, truth.gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)
    assert abs(value - float(truth.value)) < 1e-12


def members_of(problem: Problem, values: tuple[Tensor, ...]) -> Tensor:
    """The configurations of each sample as indices into the enumeration, ascending, ``[n_samples, members]``."""
    index = torch.zeros(values[0].shape[:2], dtype=torch.long)
    for layer, value in zip(problem.layers, values, strict=True):
        for variable in range(layer.size):
            digit = value[..., variable] if layer.kind == "bernoulli" else value[..., variable, :].argmax(-1)
            index = index * layer.arity + digit.long()
    return index.T.sort(-1).values


@pytest.mark.parametrize("make", [three_bits, short_chain, one_categorical])
@pytest.mark.parametrize("top", [1, 2, 3])
def test_expectation_over_every_rest_is_the_gradient(make, top):
    problem = make()
    _, p = probabilities(problem)
    samples = SumAndSample(top=top)(problem, 20_000, torch.Generator().manual_seed(2))
    best = set(p.argsort(descending=True)[:top].tolist())
    sets = members_of(problem, samples.parts.values)
    truth = exact(problem)
    found = [torch.zeros_like(gradient) for gradient in truth.gradients]
    rest = 1 - sum(float(p[i]) for i in best)
    for j in set(range(len(p))) - best:
        rows = (sets == torch.tensor(sorted(best | {j}))).all(-1).nonzero()
        probability = float(p[j]) / rest
        assert as_often_as(len(rows), 20_000, probability)
        found = [f + probability * g[int(rows[0])] for f, g in zip(found, samples.gradients, strict=True)]
    for gradient, expected in zip(found, truth.gradients, strict=True):
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", PROBLEMS)
def test_probabilities_of_the_table(name):
    problem = PROBLEMS[name]
    _, p = probabilities(problem)
    table = ConfigurationTable(problem)
    count = configuration_count(problem)
    positions = torch.arange(count).reshape(-1, *(1,) * len(problem.batch_shape)).expand(-1, *problem.batch_shape)
    tabulated = table.log_prob(positions)
    assert (tabulated.diff(dim=0) >= 0).all()
    torch.testing.assert_close(tabulated.exp(), p.sort(0).values, rtol=1e-12, atol=0)
    found = table.values(positions)
    logits = tuple(problem.logits(n, found[n - 1] if n else None) for n in range(problem.depth))
    torch.testing.assert_close(joint_log_prob(problem, found, logits), tabulated, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("estimator", EVERY)
@pytest.mark.parametrize("make", [six_bits, bernoulli_chain, categorical_chain])
def test_mean_is_the_gradient(estimator, make):
    problem, n_samples = make(), 100_000 if make is six_bits else 20_000
    truth = exact(problem)
    samples = estimator(problem, n_samples, torch.Generator().manual_seed(6))
    for gradients, expected in zip(samples.gradients, truth.gradients, strict=True):
        error = (gradients.var(0) / n_samples).sqrt()
        assert ((gradients.mean(0) - expected).abs() / error).max() < 4.5
    assert samples.evaluations == estimator.expected_evaluations(problem)


@pytest.mark.parametrize(
    "estimator", [SumAndSample(top=63), SumAndSample(top=64), SumAndSample(top=1000), UnorderedSet(k=64)]
)
def test_all_configurations_are_the_exact_gradient(estimator):
    problem = six_bits()
    samples = estimator(problem, 3, torch.Generator().manual_seed(1))
    truth = exact(problem)
    torch.testing.assert_close(samples.gradients[0], truth.gradients[0].expand(3, -1), rtol=0, atol=1e-12)
    torch.testing.assert_close(samples.cost, truth.value.expand(3), rtol=0, atol=1e-12)
    assert samples.evaluations == 64


def test_more_members_than_configurations():
    for estimator in (UnorderedSet(k=2), UnorderedSet(k=9, baseline=False), SumAndSample(top=5)):
        problem = PROBLEMS["one bit"]
        samples = estimator(problem, 2)
        assert samples.evaluations == estimator.expected_evaluations(problem) == 2
        torch.testing.assert_close(samples.gradients[0][0], exact(problem).gradients[0])


def test_figures_of_one_categorical_by_brute_force():
    problem = one_categorical()
    values, p = probabilities(problem)
    truth = exact(problem).gradients[0]
    f, score = problem.f(values[0]), values[0] - torch.softmax(problem.logits(0, None), -1)

    def spread(outcomes: list[tuple[float, Tensor]]) -> float:
        return float(sum(weight * ((gradient - truth) ** 2).sum() for weight, gradient in outcomes))

    likelihood_ratio = spread([(float(p[i]), f[i] * score[i]) for i in range(4)])
    best = int(p.argmax())
    rest = 1 - p[best]
    sampled = [
        (float(p[j] / rest), p[best] * f[best] * score[best] + rest * f[j] * score[j]) for j in range(4) if j != best
    ]
    pairs = []
    for i, j in itertools.combinations(range(4), 2):
        q = p.tolist()
        both = of_set((i, j), q)
        pairs.append((both, sum(in_order((a, b), q) / both * f[a] * score[a] for a, b in ((i, j), (j, i)))))
    for estimator, variance in (
        (UnorderedSet(k=1, baseline=False), likelihood_ratio),
        (SumAndSample(), spread(sampled)),
        (UnorderedSet(baseline=False), spread(pairs)),
    ):
        found = estimator(problem, 200_000, torch.Generator().manual_seed(8)).variance()[0].sum()
        assert abs(float(found) - variance) < 0.02 * variance


@pytest.mark.parametrize("estimator", EVERY)
@pytest.mark.parametrize("name", PROBLEMS)
def test_counts_purity_and_shapes(estimator, name):
    problem = PROBLEMS[name]
    noise = estimator.draw(problem, 7, torch.Generator().manual_seed(9))
    first, second = estimator(problem, noise=noise), estimator(problem, noise=noise)
    assert first.evaluations == estimator.expected_evaluations(problem)
    for number, layer in enumerate(problem.layers):
        assert first.gradients[number].shape == (7, *problem.batch_shape, *layer.shape)
        assert torch.equal(first.gradients[number], second.gradients[number])
    assert first.cost.shape == (7, *problem.batch_shape)
    torch.testing.assert_close(first.parts.weights.sum(0), torch.ones_like(first.cost))


@pytest.mark.parametrize("estimator", [SumAndSample(), UnorderedSet(), UnorderedSet(k=4)])
@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 3), (2, 3, 3), (2, 0, 3)])
def test_batch_shapes(estimator, shape):
    logits = torch.linspace(-1, 1, prod(shape), dtype=torch.float64).reshape(shape)
    samples = estimator(Factorized(logits, lambda z: z.sum(-1) ** 2), 4)
    assert samples.gradients[0].shape == (4, *shape)


@pytest.mark.parametrize("estimator", EVERY)
@pytest.mark.parametrize("scale", [100.0, 1e4, 1e10, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearly_all_the_mass_in_one_configuration(estimator, scale, dtype):
    problem = Factorized(waves(61, 2, 4).to(dtype) * scale, lambda z: (z.sum(-1) - 0.3) ** 2)
    samples = estimator(problem, 50, torch.Generator().manual_seed(1))
    assert samples.gradients[0].dtype == dtype
    assert torch.isfinite(samples.gradients[0]).all()
    # No configuration twice in a sample.
    index = (samples.parts.values[0] * torch.tensor([8, 4, 2, 1.0])).sum(-1).sort(0).values
    assert (index.diff(dim=0) > 0).all()
    torch.testing.assert_close(samples.mean()[0], exact(problem).gradients[0], rtol=0, atol=1e-5)


def test_impossible_configurations():
    impossible = torch.tensor([0.0, 0.0, -torch.inf], dtype=torch.float64)
    problem = Layered(
        torch.zeros(1, dtype=torch.float64),
        [lambda x: torch.where(x[..., None] > 0.5, impossible, torch.zeros(3, dtype=torch.float64))],
        lambda x, y: x.sum(-1) + y[..., 0, 1],
        variables=["bernoulli", "categorical"],
    )
    for estimator in (SumAndSample(top=5), UnorderedSet(k=5), UnorderedSet(k=6), SumAndSample(top=2)):
        samples = estimator(problem, 2000, torch.Generator().manual_seed(1))
        assert all(torch.isfinite(gradient).all() for gradient in samples.gradients)
        if estimator.expected_evaluations(problem) > 4:
            torch.testing.assert_close(samples.gradients[0].mean(0), torch.tensor([(1.5 - 1 / 3) / 4]).double())


def test_what_is_improbable_is_drawn_as_its_own_probabilities_say():
    # The second draw is among 1e-40 and 3e-40, which a subtraction from 1 does not know.
    tiny = torch.tensor([1e-40, 3e-40, 1.0], dtype=torch.float64).log()
    problem = Factorized(tiny[None], lambda z: z.sum((-2, -1)), variables="categorical")
    samples = UnorderedSet()(problem, 40_000, torch.Generator().manual_seed(4))
    assert samples.parts.values[0][..., 2].sum(0).min() == 1
    assert abs(float(samples.parts.values[0][..., 1].sum(0).mean()) - 0.75) < 0.011


@pytest.mark.parametrize("estimator", [SumAndSample(top=2), UnorderedSet(k=3), UnorderedSet(k=8)])
def test_parameters_of_the_cost_get_their_gradient(estimator):
    target = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    logits = waves(3, 3).requires_grad_()
    problem = Factorized(logits, lambda z: (z @ waves(1, 3) - target) ** 2)
    values, p = probabilities(problem)
    truth = torch.autograd.grad((p * problem.f(values[0])).sum(), (logits, target))
    samples = estimator(problem, 50_000, torch.Generator().manual_seed(4))
    surrogate(problem, samples).backward()
    torch.testing.assert_close(logits.grad, truth[0], rtol=0, atol=0.02)
    torch.testing.assert_close(target.grad, truth[1], rtol=0, atol=0.02)


def test_sixteen_bits_and_no_more():
    def cost(z: Tensor) -> Tensor:
        return z.sum(-1) ** 2

    for estimator in (SumAndSample(), UnorderedSet()):
        assert torch.isfinite(estimator(Factorized(waves(1, 16), cost), 10).gradients[0]).all()
        with pytest.raises(ValueError, match=r"2\*\*16 = 65,536 joint configurations"):
            estimator(Factorized(waves(1, 17), cost))


def test_refusals():
    for wrong in (0, -3):
        with pytest.raises(ValueError, match="'top'"):
            SumAndSample(top=wrong)
        with pytest.raises(ValueError, match="'k'"):
            UnorderedSet(k=wrong, baseline=False)
    for wrong in (1.5, True):
        with pytest.raises(TypeError, match="'top'"):
            SumAndSample(top=wrong)
        with pytest.raises(TypeError, match="'k'"):
            UnorderedSet(k=wrong)
    with pytest.raises(TypeError, match="'baseline'"):
        UnorderedSet(baseline=1)
    with pytest.raises(ValueError, match="at most 8, or all the 64"):
        UnorderedSet(k=9)(six_bits())

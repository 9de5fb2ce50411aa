"""Exact variances against printed digits, closed forms, and enumerations of everything random written another way."""

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.estimators.problems import PRINTED, PROBLEMS, bernoulli_chain, categorical_chain, waves
from toolkit.estimators.antithetic import ARM, DisARM
from toolkit.estimators.baselines import Constant, MovingAverage
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.control_variates import RELAX
from toolkit.estimators.couplings import joint_of_values
from toolkit.estimators.estimator import Estimator
from toolkit.estimators.exact import exact
from toolkit.estimators.exact_covariance import exact_covariance, exact_layer_covariance
from toolkit.estimators.exact_variance import baseline_ladder, exact_variance
from toolkit.estimators.layers import BernoulliLayer, CategoricalLayer, draw_open_uniform
from toolkit.estimators.likelihood_ratio import LikelihoodRatio, OptimalConstant, SelfCritical
from toolkit.estimators.marginalized import RAM, FlipOneCoordinate, LocalExpectation
from toolkit.estimators.multi_sample import LeaveOneOut
from toolkit.estimators.problems import Problem


@functools.cache
def belief_network() -> Layered:
    """Six visible bits, two layers of four hidden ones; the cost is the sampled bound."""
    w1, c1, w2, c2 = (
        waves(1, 6, 4, scale=1.5),
        waves(2, 4, scale=0.5),
        waves(3, 4, 4, scale=1.5),
        waves(4, 4, scale=0.5),
    )
    v1, a0, v2 = waves(5, 4, 6, scale=1.5), waves(6, 6, scale=0.5), waves(7, 4, 4, scale=1.5)
    a1, a2 = waves(8, 4, scale=0.5), waves(9, 4, scale=0.5)
    x = torch.tensor([1, 0, 1, 1, 0, 0], dtype=torch.float64)

    def log_probability(values: Tensor, logits: Tensor) -> Tensor:
        return (values * logits - functional.softplus(logits)).sum(-1)

    def bound(y: Tensor, z: Tensor) -> Tensor:
        model = log_probability(x, y @ v1 + a0) + log_probability(y, z @ v2 + a1) + log_probability(z, a2)
        return model - log_probability(y, x @ w1 + c1) - log_probability(z, y @ w2 + c2)

    return Layered(x @ w1 + c1, [lambda y: y @ w2 + c2], bound)


def test_the_bound_and_its_gradient() -> None:
    truth = exact(belief_network())
    assert truth.value.item() == pytest.approx(-7.8046483509, abs=1e-9)
    first = [-0.1058562141, -0.9008133137, 0.1372640991, 0.4706953985]
    second = [-0.4157655291, 0.4962169850, -0.3280408118, 0.1866868162]
    assert truth.gradients[0].tolist() == pytest.approx(first, abs=1e-9)
    assert truth.gradients[1].tolist() == pytest.approx(second, abs=1e-9)
    for rung in baseline_ladder(belief_network()):
        assert rung.gradients[0].tolist() == pytest.approx(first, abs=1e-9)
        assert rung.gradients[1].tolist() == pytest.approx(second, abs=1e-9)


def test_the_ladder_has_the_printed_digits() -> None:
    ladder = baseline_ladder(belief_network())
    assert [rung.name for rung in ladder] == list(PRINTED)
    for name, totals in PRINTED.items():
        assert ladder[name].total(0).item() == pytest.approx(totals[0], abs=5e-5)
        assert ladder[name].total(1).item() == pytest.approx(totals[1], abs=5e-5)


def test_the_ladder_against_loops_over_configurations() -> None:
    ladder = baseline_ladder(belief_network())
    reference = loops_over_configurations(belief_network())
    for name, layers in reference.items():
        for layer, expected in layers.items():
            assert ladder[name].variances[layer].numpy() == pytest.approx(expected, abs=1e-8), (name, layer)


def loops_over_configurations(problem: Layered) -> dict[str, dict[int, np.ndarray]]:
    """The ladder of a problem with two layers, in numpy, from the definitions."""
    n1, n2 = (layer.size for layer in problem.layers)
    ys = np.array(list(itertools.product([0.0, 1.0], repeat=n1)))
    zs = np.array(list(itertools.product([0.0, 1.0], repeat=n2)))

    def sigmoid(logits: Tensor) -> np.ndarray:
        return 1 / (1 + np.exp(-logits.numpy()))

    mu = sigmoid(problem.logits(0, None))
    nu = sigmoid(problem.transitions[0](torch.from_numpy(ys)))  # [y, n2]
    q_y = np.prod(np.where(ys == 1, mu, 1 - mu), 1)
    q_z = np.prod(np.where(zs[None] == 1, nu[:, None], 1 - nu[:, None]), 2)
    f = problem.f(
        torch.from_numpy(np.repeat(ys[:, None], len(zs), 1)), torch.from_numpy(np.repeat(zs[None], len(ys), 0))
    ).numpy()
    p = q_y[:, None] * q_z
    place_y = {tuple(y): i for i, y in enumerate(ys)}
    place_z = {tuple(z): i for i, z in enumerate(zs)}

    def with_bit(row: np.ndarray, unit: int, value: float) -> tuple[float, ...]:
        changed = row.copy()
        changed[unit] = value
        return tuple(changed)

    def variance(g: np.ndarray) -> float:
        return float((p * g**2).sum() - (p * g).sum() ** 2)

    found: dict[str, dict[int, np.ndarray]] = {name: {0: np.zeros(n1), 1: np.zeros(n2)} for name in PRINTED}
    mean = (p * f).sum()
    by_y = (q_z * f).sum(1)
    for i in range(n1):
        s = (ys[:, i] - mu[i])[:, None] * np.ones_like(f)
        best = (p * f * s**2).sum() / (p * s**2).sum()
        siblings, common, fresh, leg = np.zeros_like(f), 0.0, 0.0, np.zeros((2, *f.shape))
        expected = 0.0
        for a, y in enumerate(ys):
            one, zero = place_y[with_bit(y, i, 1)], place_y[with_bit(y, i, 0)]
            siblings[a] = (1 - mu[i]) * by_y[one] + mu[i] * by_y[zero]
            slope = mu[i] * (1 - mu[i])
            both = np.ones((len(zs), len(zs)))
            for u in range(n2):
                up, down = nu[one, u], nu[zero, u]
                table = np.array([[1 - max(up, down), max(down - up, 0)], [max(up - down, 0), min(up, down)]])
                both *= table[zs[:, u].astype(int)[:, None], zs[:, u].astype(int)[None]]
            difference = slope * (f[one][:, None] - f[zero][None])
            common += q_y[a] * (both * difference**2).sum()
            fresh += q_y[a] * (q_z[one][:, None] * q_z[zero][None] * difference**2).sum()
            expected += q_y[a] * slope * (by_y[one] - by_y[zero])
            weight = mu[i] * q_z[one] / (mu[i] * q_z[one] + (1 - mu[i]) * q_z[zero])
            for k, b in enumerate((0.0, best)):
                leg[k, a] = weight * (1 - mu[i]) * (f[one] - b) - (1 - weight) * mu[i] * (f[zero] - b)
        constants = {"lr": 0.0, "lr_mean": mean, "lr_constant": best, "lr_mean_given_parents": mean, "lr_parents": best}
        for name, b in constants.items():
            found[name][0][i] = variance((f - b) * s)
        found["lr_siblings"][0][i] = variance((f - siblings) * s)
        found["ram"][0][i], found["ram_fresh"][0][i] = common - expected**2, fresh - expected**2
        found["leg"][0][i], found["leg_constant"][0][i] = variance(leg[0]), variance(leg[1])
    for i in range(n2):
        s = zs[None, :, i] - nu[:, None, i]
        best = (p * f * s**2).sum() / (p * s**2).sum()
        best_given = ((q_z * f * s**2).sum(1) / (q_z * s**2).sum(1))[:, None]
        one = [place_z[with_bit(z, i, 1)] for z in zs]
        zero = [place_z[with_bit(z, i, 0)] for z in zs]
        siblings = (1 - nu[:, None, i]) * f[:, one] + nu[:, None, i] * f[:, zero]
        ram = variance(nu[:, None, i] * (1 - nu[:, None, i]) * (f[:, one] - f[:, zero]))
        baselines = {
            "lr": 0.0,
            "lr_mean": mean,
            "lr_constant": best,
            "lr_mean_given_parents": by_y[:, None],
            "lr_parents": best_given,
            "lr_siblings": siblings,
        }
        for name, baseline in baselines.items():
            found[name][1][i] = variance((f - baseline) * s)
        for name in ("ram", "ram_fresh", "leg", "leg_constant"):
            found[name][1][i] = ram
    return found


def intervals_of_noise(problem: Problem, layer: int, mirrored: bool) -> list[tuple[Tensor, Tensor]]:
    """For each variable the middles and lengths of the intervals of its noise in which nothing can change."""
    kind = problem.layers[layer]
    if layer == 0:
        logits = problem.logits(0, None)[None]
    else:
        logits = problem.logits(layer, problem.layers[layer - 1].all_values(torch.float64))
    probabilities = kind.probabilities(logits)
    cuts = probabilities[..., None] if kind.kind == "bernoulli" else probabilities.cumsum(-1)[..., :-1]
    found = []
    for variable in range(kind.size):
        inner = cuts[:, variable].flatten().unique()
        edges = torch.cat((torch.zeros(1), inner, torch.ones(1))).double()
        if mirrored:  # then it also matters where 1 − u crosses
            edges = torch.cat((edges, 1 - edges)).unique()
        found.append(((edges[1:] + edges[:-1]) / 2, edges[1:] - edges[:-1]))
    return found


def by_enumeration_of_noise(problem: Problem, estimator: Estimator) -> tuple[list, list]:
    """Mean and variance of an estimator, from running it once for each cell of all of its noise."""
    fresh = isinstance(estimator, RAM) and estimator.noise == "fresh"
    mirrored = isinstance(estimator, RAM) and estimator.noise == "antithetic"
    cells = [intervals_of_noise(problem, layer, mirrored) for layer in range(problem.depth)]
    parts = [cell for layer in cells for cell in layer]
    blocks = [[layer.size for layer in problem.layers]]
    if fresh:
        for number, layer in enumerate(problem.layers[:-1]):
            copies = layer.size * (layer.arity - 1)
            parts += [cell for below in cells[number + 1 :] for cell in below] * copies
            blocks += [[below.size for below in problem.layers[number + 1 :]]] * copies
    noise = torch.cartesian_prod(*(middle for middle, _ in parts))
    weights = torch.cartesian_prod(*(length for _, length in parts)).prod(-1)
    pieces = list(noise.split([size for block in blocks for size in block], -1))
    drawn = {"values": tuple(pieces[: problem.depth])}
    pieces = pieces[problem.depth :]
    if fresh:
        for number, layer in enumerate(problem.layers[:-1]):
            copies, below = layer.size * (layer.arity - 1), problem.depth - number - 1
            sets = [pieces[below * copy : below * (copy + 1)] for copy in range(copies)]
            drawn[f"layer {number}"] = tuple(torch.stack(parts) for parts in zip(*sets, strict=True))
            pieces = pieces[below * copies :]
    samples = estimator(problem, noise=drawn)
    means, variances = [], []
    for gradient in samples.gradients:
        share = weights.reshape(-1, *(1,) * (gradient.ndim - 1))
        mean = (share * gradient).sum(0)
        means.append(mean)
        variances.append((share * (gradient - mean) ** 2).sum(0))
    return means, variances


def small_chain(*sizes: int) -> Layered:
    weights = [waves(k + 1, a, b, scale=1.5) for k, (a, b) in enumerate(itertools.pairwise(sizes))]
    costs = [waves(k + 5, size) for k, size in enumerate(sizes)]

    def cost(*values: Tensor) -> Tensor:
        total = sum((value @ part for value, part in zip(values, costs, strict=True)), torch.zeros(()))
        return total**2 + torch.tanh(3 * values[0][..., 0] * values[-1][..., -1] - total)

    return Layered(waves(11, sizes[0]), [lambda z, w=w: z @ w - 0.3 for w in weights], cost)


def small_categorical_chain() -> Layered:
    weights, costs = waves(3, 3, 4, scale=1.5), waves(4, 3, 4)
    return Layered(
        waves(5, 1, 3),
        [lambda y: (y[..., 0, :] @ weights)[..., None, :]],
        lambda y, z: 2 * ((y[..., 0, :] @ costs) * z[..., 0, :]).sum(-1) ** 2 + z[..., 0, 1],
        variables="categorical",
    )


@pytest.mark.parametrize(
    ("sizes", "estimator"),
    [
        ((3, 2), RAM()),
        ((2, 2, 2), RAM()),
        ((2, 1, 1), RAM("fresh")),
        ((2, 2, 1), RAM("antithetic")),
        ((2, 2), LocalExpectation()),
        ((), RAM()),
        ((), RAM("fresh")),
        ((), RAM("antithetic")),
    ],
    ids=str,
)
def test_against_every_cell_of_the_noise(sizes: tuple[int, ...], estimator: Estimator) -> None:
    problem = small_chain(*sizes) if sizes else small_categorical_chain()
    means, variances = by_enumeration_of_noise(problem, estimator)
    ours = exact_variance(problem, estimator)
    truth = exact(problem)
    for layer in range(problem.depth):
        torch.testing.assert_close(means[layer], truth.gradients[layer], rtol=0, atol=1e-10)
        torch.testing.assert_close(ours.gradients[layer], truth.gradients[layer], rtol=0, atol=1e-10)
        torch.testing.assert_close(ours.variances[layer], variances[layer], rtol=0, atol=1e-10)


ESTIMATORS = [
    RAM(),
    RAM("fresh"),
    RAM("antithetic"),
    RAM(coupling="gumbel"),
    LocalExpectation(),
    FlipOneCoordinate(),
    LeaveOneOut(2),
    LeaveOneOut(5),
    LikelihoodRatio(),
    SelfCritical(),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
@pytest.mark.parametrize("make", [bernoulli_chain, categorical_chain])
def test_against_samples(make: Callable[[], Layered], estimator: Estimator) -> None:
    problem = make()
    samples = estimator(problem, 40_000, torch.Generator().manual_seed(2))
    ours = exact_variance(problem, estimator)
    for gradient, variance, mean in zip(samples.gradients, ours.variances, ours.gradients, strict=True):
        squares = (gradient - mean) ** 2
        error = squares.std(0) / math.sqrt(len(squares)) + 1e-12
        assert ((squares.mean(0) - variance).abs() / error).max() < 4.5


def test_one_bit_has_the_closed_forms() -> None:
    logit, low, high = 0.8, 0.45**2, 0.55**2
    mu = 1 / (1 + math.exp(-logit))
    problem, sigma, delta = PROBLEMS["one bit"], mu * (1 - mu), high - low
    fourth = sigma * (1 - 3 * sigma)

    def variance(estimator: Estimator | str) -> float:
        return exact_variance(problem, estimator).total(0).item()

    for b in (0.0, 0.1, (1 - mu) * high + mu * low):
        expected = sigma * ((1 - mu) * high + mu * low - b) ** 2
        assert variance(LikelihoodRatio(Constant([b]))) == pytest.approx(expected, abs=1e-16)
    assert variance("lr_mean") == pytest.approx(sigma * (1 - 2 * mu) ** 2 * delta**2)
    assert variance("lr_constant") == pytest.approx(0, abs=1e-30)
    for n in (2, 3, 7):
        expected = delta**2 * (fourth - sigma**2 * (n - 3) / (n - 1)) / n
        assert variance(LeaveOneOut(n)) == pytest.approx(expected)
    for name in ("ram", "ram_fresh", "leg", "leg_constant"):
        assert variance(name) < 1e-20


@pytest.mark.parametrize("logit", [-1.3, 0.0, 0.8])
def test_antithetic_pairs_have_their_closed_forms(logit: float) -> None:
    problem = Factorized(torch.tensor([logit], dtype=torch.float64), lambda z: 2 + 1.7 * z[..., 0])
    mu = 1 / (1 + math.exp(-logit))
    most, sigma = max(mu, 1 - mu), mu * (1 - mu)
    arm, disarm = exact_variance(problem, ARM()), exact_variance(problem, DisARM())
    assert arm.gradients[0].item() == pytest.approx(sigma * 1.7)
    assert disarm.gradients[0].item() == pytest.approx(sigma * 1.7)
    assert arm.total(0).item() == pytest.approx(1.7**2 * (2 / 3 * (1 / 8 - (most - 0.5) ** 3) - sigma**2))
    assert disarm.total(0).item() == pytest.approx(1.7**2 * most**2 * (1 - most) * (most - 0.5), abs=1e-16)
    assert exact_variance(problem, ARM(3)).total(0).item() == pytest.approx(arm.total(0).item() / 3)


@pytest.mark.parametrize("estimator", [ARM(), DisARM(), ARM(2), DisARM(3)], ids=str)
def test_antithetic_pairs_against_samples(estimator: Estimator) -> None:
    logits = waves(7, 2, 4)
    problem = Factorized(logits, lambda z: torch.tanh(2 * z @ waves(8, 4)) + z[..., 0] * z[..., 3])
    ours, truth = exact_variance(problem, estimator), exact(problem)
    torch.testing.assert_close(ours.gradients[0], truth.gradients[0], rtol=1e-10, atol=1e-13)
    squares = (estimator(problem, 60_000, torch.Generator().manual_seed(8)).gradients[0] - truth.gradients[0]) ** 2
    assert ((squares.mean(0) - ours.variances[0]).abs() / (squares.std(0) / 60_000**0.5)).max() < 4.5


def test_one_categorical_variable() -> None:
    """In one variable the rungs fall from no baseline to RAM, which is exact; no baseline for each component is."""
    costs = torch.tensor([2.0, -1.0, 0.5, 1.0], dtype=torch.float64)
    problem = Factorized(
        torch.tensor([[0.3, -0.2, 0.8, 0.0]], dtype=torch.float64),
        lambda z: z[..., 0, :] @ costs,
        variables="categorical",
    )
    totals = {rung.name: rung.total(0).item() for rung in baseline_ladder(problem)}
    assert totals["lr"] > totals["lr_mean"] > totals["lr_constant"] > 0.01
    assert totals["lr_constant"] == pytest.approx(totals["lr_siblings"])
    for name in ("ram", "ram_fresh", "leg", "leg_constant"):
        assert totals[name] < 1e-20


def twelve_bits() -> Factorized:
    count = torch.arange(1, 13, dtype=torch.float64)
    a, b = torch.sin(1.3 * count), torch.sin(1.1 * count[:, None] + 0.7 * count)
    return Factorized(torch.cos(0.9 * count), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1))


@pytest.mark.parametrize(
    ("estimator", "printed", "digits"),
    [
        ("lr", 30.81, 0.005),
        ("lr_mean", 18.70, 0.005),
        ("lr_constant", 18.21, 0.005),
        (LeaveOneOut(2), 19.70, 0.25),
        (LeaveOneOut(13), 1.57, 0.02),
        (FlipOneCoordinate(), 25.97, 0.005),
        (ARM(), 16.65, 0.15),
        (DisARM(), 14.03, 0.15),
        ("ram", 1.276, 0.0005),
    ],
    ids=str,
)
def test_twelve_coupled_bits(estimator: Estimator | str, printed: float, digits: float) -> None:
    found = exact_variance(twelve_bits(), estimator)
    assert found.total(0).item() == pytest.approx(printed, abs=digits)
    assert found.gradients[0].norm().item() == pytest.approx(0.985, abs=5e-4)


def test_the_batch_is_as_many_problems() -> None:
    whole = bernoulli_chain()
    logits = whole.logits(0, None)
    ladder = baseline_ladder(whole)
    square = Layered(logits.reshape(2, 1, 3), whole.transitions, whole.f)
    for number in range(2):
        alone = Layered(logits[number], whole.transitions, whole.f)
        for rung, part in zip(ladder, baseline_ladder(alone), strict=True):
            for ours, theirs in zip(rung.variances, part.variances, strict=True):
                torch.testing.assert_close(ours[number], theirs, rtol=1e-10, atol=1e-13)
    for estimator in ("ram", "lr_parents", LeaveOneOut(3), FlipOneCoordinate()):
        two, flat = exact_variance(square, estimator), exact_variance(whole, estimator)
        assert [part.shape for part in two.variances] == [(2, 1, 3), (2, 1, 2), (2, 1, 3)]
        torch.testing.assert_close(two.variances[1].squeeze(1), flat.variances[1])
        assert two.total(1).shape == (2, 1)


class WithOwnGradient(Layered):
    """A chain whose cost has a gradient of its own with respect to the logits: their entropy."""

    def compute_signals(self, values: tuple[Tensor, ...], logits: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        parts = [layer.entropy(part).sum(-1) for layer, part in zip(self.layers, logits, strict=True)]
        whole = self.f(*values) + sum(parts, torch.zeros(()))
        # What a layer cannot change is left out: its own entropy and those before.
        return tuple(whole - sum(parts[: number + 1], torch.zeros(())) for number in range(self.depth))

    def direct_gradient(self, layer: int, previous: Tensor | None) -> Tensor:
        return self.layers[layer].entropy_gradient(self.logits(layer, previous))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_what_the_cost_adds_itself_counts(estimator: Estimator) -> None:
    chain = small_chain(2, 2, 2)
    problem = WithOwnGradient(chain.logits(0, None), chain.transitions, chain.f)
    samples = estimator(problem, 40_000, torch.Generator().manual_seed(4))
    ours = exact_variance(problem, estimator)
    for gradient, variance, mean in zip(samples.gradients, ours.variances, ours.gradients, strict=True):
        error = gradient.std(0) / math.sqrt(len(gradient)) + 1e-12
        assert ((gradient.mean(0) - mean).abs() / error).max() < 4.5
        squares = (gradient - mean) ** 2
        error = squares.std(0) / math.sqrt(len(squares)) + 1e-12
        assert ((squares.mean(0) - variance).abs() / error).max() < 4.5
    if not isinstance(estimator, LeaveOneOut):
        diagonal = exact_covariance(problem, estimator)[0].flatten()
        torch.testing.assert_close(diagonal, ours.variances[0], rtol=1e-9, atol=1e-12)


def test_covariances_against_samples() -> None:
    problem = categorical_chain()
    samples = RAM()(problem, 100_000, torch.Generator().manual_seed(5))
    values, gradient = samples.parts.values[0][0].flatten(1), samples.gradients[1]
    features = torch.cat((values, torch.ones(len(values), 1)), 1)
    own = exact_covariance(problem, "ram")[1]
    assert own.shape == (3, 7 * 4, 7 * 4)
    for variable in range(3):
        full = (features[:, :, None] * gradient[:, variable, None, :]).flatten(1)
        torch.testing.assert_close(own[variable], torch.cov(full.T), rtol=0, atol=0.02 * own.abs().max().item())
    between = exact_layer_covariance(problem, "ram", 1)
    torch.testing.assert_close(
        between, torch.cov(gradient.flatten(1).T), rtol=0, atol=0.02 * between.abs().max().item()
    )
    torch.testing.assert_close(between.diagonal(), exact_variance(problem, "ram").variances[1].flatten())


@pytest.mark.parametrize("coupling", ["inverse_cdf", "gumbel"])
def test_the_joint_law_of_two_runs(coupling: str) -> None:
    generator = torch.Generator().manual_seed(6)
    layer = CategoricalLayer(1, 5)
    logits = torch.randn(2, 1, 5, generator=generator, dtype=torch.float64)
    shape = (400_000, *layer.noise_shape(coupling))  # type: ignore[arg-type]
    noise = draw_open_uniform(shape, generator=generator, device=torch.device("cpu"), dtype=torch.float64)
    one, other = (layer.sample(part, noise, coupling)[:, 0] for part in logits)  # type: ignore[arg-type]
    counted = one.T @ other / len(one)
    joint = joint_of_values(layer, *logits.softmax(-1)[:, 0], coupling)
    assert (counted - joint).abs().max() < 4.5 * 0.5 / math.sqrt(len(one))
    torch.testing.assert_close(joint.sum(-1), logits[0, 0].softmax(-1), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(joint.sum(-2), logits[1, 0].softmax(-1), rtol=1e-12, atol=1e-15)
    # The same distribution twice: the same values.
    same = joint_of_values(layer, *logits[:1].softmax(-1)[:, 0].expand(2, 5), coupling)
    torch.testing.assert_close(same, torch.diag(logits[0, 0].softmax(-1)), rtol=1e-12, atol=1e-15)


def test_mirrored_bernoulli_noise() -> None:
    layer, one, other = BernoulliLayer(1), torch.tensor([0.3, 0.7]), torch.tensor([0.1, 0.9])
    joint = joint_of_values(layer, one, other, noise="antithetic")
    torch.testing.assert_close(joint, torch.tensor([[0.0, 0.3], [0.1, 0.6]]))


def test_saturated_logits_leave_nothing_undefined() -> None:
    problem = Layered(
        torch.tensor([900.0, -900.0, 40.0], dtype=torch.float64),
        [lambda y: 1000 * (y @ waves(1, 3, 2))],
        lambda y, z: y.sum(-1) * z.sum(-1),
    )
    for rung in baseline_ladder(problem):
        for variance in rung.variances:
            assert torch.isfinite(variance).all() and (variance >= -1e-12).all()


def test_results_can_be_read() -> None:
    ladder = baseline_ladder(belief_network())
    assert len(ladder) == 10 and ladder[7].name == "ram" and ladder["ram"].title == "RAM"
    frame = ladder.to_frame()
    assert list(frame.columns) == ["estimator", "layer 1", "layer 2"]
    assert frame.loc["ram", "layer 1"] == pytest.approx(0.3855, abs=5e-5)
    plain = ladder.to_dict()["ram"]
    assert plain["totals"] == pytest.approx([0.3855, 0.2442], abs=5e-5)
    assert "0.3855" in repr(ladder["ram"]) and len(repr(ladder)) < 200
    assert "fresh" in repr(exact_variance(belief_network(), RAM("fresh")))
    with pytest.raises(ValueError, match="ram_fresh"):
        ladder["nothing"]


def test_single_precision_and_no_examples() -> None:
    chain = bernoulli_chain()
    ladder = baseline_ladder(chain)
    w1, w2 = waves(4, 3, 2, scale=1.5).float(), waves(5, 2, 3, scale=1.5).float()
    single = Layered(
        chain.logits(0, None).float(),
        [lambda x: x @ w1 - 0.4, lambda y: y @ w2 + 0.3],
        lambda *z: chain.f(*map(double, z)).float(),
    )
    empty = Layered(torch.zeros(0, 3), single.transitions, single.f)
    for exactly, rung, none in zip(ladder, baseline_ladder(single), baseline_ladder(empty), strict=True):
        for ours, theirs, nothing in zip(exactly.variances, rung.variances, none.variances, strict=True):
            assert theirs.dtype == torch.float32 and nothing.shape == (0, *ours.shape[1:])
            torch.testing.assert_close(theirs.double(), ours, rtol=2e-4, atol=2e-5)


def double(z: Tensor) -> Tensor:
    return z.double()


def test_refusals() -> None:
    six = PROBLEMS["six coupled bits"]
    for estimator in (ARM(), DisARM(2), RELAX()):
        with pytest.raises(ValueError, match="determine"):
            exact_variance(bernoulli_chain(), estimator)
    with pytest.raises(ValueError, match="determine"):
        exact_variance(PROBLEMS["one categorical"], DisARM())
    with pytest.raises(ValueError, match="12 variables"):
        exact_variance(Factorized(torch.zeros(13), lambda z: z.sum(-1)), ARM())
    with pytest.raises(ValueError, match="shares"):
        exact_layer_covariance(six, DisARM(), 0)
    with pytest.raises(ValueError, match="lr_constant"):
        exact_variance(six, "best")
    with pytest.raises(TypeError, match="estimator"):
        exact_variance(six, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Problem"):
        exact_variance(lambda z: z, "ram")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"2\*\*16"):
        exact_variance(Factorized(torch.zeros(17), lambda z: z.sum(-1)), "lr")
    with pytest.raises(ValueError, match="pairs"):
        exact_variance(small_chain(*(1,) * 16), "ram")
    with pytest.raises(ValueError, match="mirrored Gumbel"):
        exact_variance(categorical_chain(), RAM("antithetic", "gumbel"))
    with pytest.raises(ValueError, match="determine"):
        exact_covariance(six, LeaveOneOut(2))
    with pytest.raises(ValueError, match="shares"):
        exact_layer_covariance(bernoulli_chain(), "ram", 0)
    with pytest.raises(ValueError, match="layer"):
        exact_layer_covariance(bernoulli_chain(), "ram", 3)
    with pytest.raises(ValueError, match="finite"):
        exact_variance(Factorized(torch.zeros(2), lambda z: z.sum(-1) / 0), "ram")


def test_a_baseline_that_learns_is_read_and_not_changed() -> None:
    baseline = MovingAverage(0.5)
    estimator = LikelihoodRatio(baseline)
    problem = PROBLEMS["six coupled bits"]
    baseline.observe(problem, estimator(problem, 100, torch.Generator().manual_seed(1)))
    assert baseline.levels is not None
    level = baseline.levels[0].clone()
    shifted = exact_variance(problem, LikelihoodRatio(Constant([level.item()])))
    torch.testing.assert_close(exact_variance(problem, estimator).variances[0], shifted.variances[0])
    assert torch.equal(baseline.levels[0], level)
    torch.testing.assert_close(
        exact_variance(problem, OptimalConstant()).variances[0], exact_variance(problem, "lr_constant").variances[0]
    )

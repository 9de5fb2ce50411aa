"""ARM, DisARM and ARSM against enumeration over their noise, closed forms, and each other."""

import itertools

import pytest
import torch
from torch import Tensor

from tests.estimators.problems import PROBLEMS, categorical_chain, one_bit, one_categorical, six_bits, waves
from toolkit.estimators.antithetic import ARM, ARSM, DisARM
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.estimator import Estimator, surrogate
from toolkit.estimators.exact import exact
from toolkit.estimators.problems import Problem

PAIRED = [ARM(), ARM(pairs=2, fresh=True), DisARM(), DisARM(pairs=3), DisARM(fresh=True)]
EVERY = [*PAIRED, ARSM()]


def twelve_bits() -> Factorized:
    d = torch.arange(1, 13, dtype=torch.float64)
    a, b = torch.sin(1.3 * d), torch.sin(1.1 * d[:, None] + 0.7 * d)
    return Factorized(torch.cos(0.9 * d), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1))


def cells(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The middles and widths of the three intervals of (0, 1) in which neither member of a pair changes: [3, …]."""
    low = torch.minimum(torch.sigmoid(logits), torch.sigmoid(-logits))
    edges = torch.stack((torch.zeros_like(low), low, 1 - low, torch.ones_like(low)))
    return (edges[1:] + edges[:-1]) / 2, edges[1:] - edges[:-1]


def every_cell(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Noise in each joint cell, ``[3**n, n]``, and the cells' probabilities, ``[3**n]``."""
    middles, widths = cells(logits)
    which = torch.tensor(list(itertools.product(range(3), repeat=len(logits))))
    return middles.gather(0, which), widths.gather(0, which).prod(-1)


def agrees(estimator: Estimator, problem: Problem, n_samples: int = 100_000) -> None:
    truth = exact(problem)
    samples = estimator(problem, n_samples, torch.Generator().manual_seed(5))
    for gradients, expected in zip(samples.gradients, truth.gradients, strict=True):
        error = (gradients.var(0) / n_samples).sqrt().clamp(min=1e-12)
        assert ((gradients.mean(0) - expected).abs() / error).max() < 4.5
    error = (samples.cost.var(0) / n_samples).sqrt()
    assert ((samples.cost.mean(0) - truth.value).abs() / error).max() < 4.5


@pytest.mark.parametrize("estimator", [ARM(), DisARM()])
def test_expectation_over_every_cell_of_the_noise_is_the_gradient(estimator):
    problem = six_bits()
    noise, probability = every_cell(problem.logits(0, None))
    # Within a cell both are linear in the noise, so its middle gives its mean.
    samples = estimator(problem, noise={"values": (noise[None],)})
    found = (probability[:, None] * samples.gradients[0]).sum(0)
    torch.testing.assert_close(found, exact(problem).gradients[0], rtol=0, atol=1e-12)


def test_disarm_is_arm_averaged_within_each_cell():
    problem = six_bits()
    noise, _ = every_cell(problem.logits(0, None))
    arm, disarm = (estimator(problem, noise={"values": (noise[None],)}) for estimator in (ARM(), DisARM()))
    # The middles of a cell and of its mirror image are as far from ½ as DisARM's weight says, where the pair differs;
    # where it agrees in a variable, the cell is symmetric about ½.
    torch.testing.assert_close(disarm.gradients[0], arm.gradients[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 4), (2, 3)])
def test_expectation_over_every_cell_of_the_sticks(shape):
    costs, mix = waves(21, *shape), waves(22, *shape)

    def cost(z: Tensor) -> Tensor:
        first, second = (z * costs).sum((-2, -1)), (z * mix).sum((-2, -1))
        return first**2 + torch.tanh(2 * second - first)

    logits = waves(23, *shape, scale=1.5)
    problem = Factorized(logits, cost, variables="categorical")
    ordered = logits.sort(-1).values
    sticks = torch.stack([ordered[:, j] - ordered[:, j + 1 :].logsumexp(-1) for j in range(shape[1] - 1)], -1)
    noise, probability = every_cell(sticks.flatten())
    noise = noise.reshape(1, -1, *sticks.shape)
    samples = DisARM()(problem, noise={"values": (noise,)})
    found = (probability[:, None, None] * samples.gradients[0]).sum(0)
    truth = exact(problem)
    torch.testing.assert_close(found, truth.gradients[0], rtol=0, atol=1e-12)
    torch.testing.assert_close((probability * samples.cost).sum(), truth.value, rtol=0, atol=1e-12)
    # An offset of all the logits of a variable changes nothing, sample by sample.
    assert samples.gradients[0].sum(-1).abs().max() < 1e-12


@pytest.mark.parametrize("logit", [-3.0, -0.7, 0.0, 0.4, 2.0])
def test_closed_variances_of_one_bit(logit):
    problem = Factorized(torch.tensor([logit], dtype=torch.float64), lambda z: 0.3 + 1.7 * z[..., 0])
    mean = torch.sigmoid(torch.tensor(logit, dtype=torch.float64))
    most, spread, step = torch.maximum(mean, 1 - mean), mean * (1 - mean), 1.7
    grid = (torch.arange(1_000_000, dtype=torch.float64)[:, None] + 0.5) / 1_000_000
    variances = {}
    for estimator in (ARM(), DisARM()):
        gradients = estimator(problem, noise={"values": (grid[None],)}).gradients[0]
        variances[estimator.title] = gradients.var(correction=0)
        torch.testing.assert_close(gradients.mean(), spread * step, rtol=0, atol=1e-5)
    arm = step**2 * (2 / 3 * (1 / 8 - (most - 0.5) ** 3) - spread**2)
    disarm = step**2 * most**2 * (1 - most) * (most - 0.5)
    torch.testing.assert_close(variances["ARM"], arm, rtol=0, atol=1e-5)
    torch.testing.assert_close(variances["DisARM"], disarm, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "variance", "tolerance"),
    [(ARM(), 16.65, 0.25), (DisARM(), 14.03, 0.2), (DisARM(pairs=6), 2.35, 0.05)],
)
def test_variance_on_twelve_coupled_bits(estimator, variance, tolerance):
    samples = estimator(twelve_bits(), 100_000, torch.Generator().manual_seed(3))
    assert abs(float(samples.variance()[0].sum()) - variance) < tolerance


@pytest.mark.parametrize("estimator", [ARM(), ARM(fresh=True), DisARM(), DisARM(fresh=True)])
def test_chain_of_bits(estimator):
    agrees(estimator, PROBLEMS["three-layer chain"])


@pytest.mark.parametrize("estimator", [DisARM(), DisARM(fresh=True), ARSM()])
def test_chain_of_categories(estimator):
    agrees(estimator, categorical_chain())


def test_arsm_of_one_categorical():
    agrees(ARSM(), one_categorical(), 200_000)


def test_disarm_of_coins_above_categories():
    weights = waves(31, 3, 2, 3)
    problem = Layered(
        waves(32, 3),
        [lambda x: torch.einsum("...i,ink->...nk", x, weights)],
        lambda x, y: (x.sum(-1) - (y * weights[0]).sum((-2, -1))) ** 2,
        variables=["bernoulli", "categorical"],
    )
    agrees(DisARM(), problem)


def test_arsm_of_two_values_is_arm():
    logits = waves(41, 5)
    binary = Factorized(logits, lambda z: (z.sum(-1) - 0.3) ** 2 + z[..., 0] * z[..., 3])
    two = Factorized(
        torch.stack((torch.zeros_like(logits), logits), -1), lambda z: binary.f(z[..., 1]), variables="categorical"
    )
    noise = ARSM().draw(two, 1000, torch.Generator().manual_seed(2))
    exponential = -torch.log(noise["values"][0])
    # The second value wins where its share of the exponentials is below sigmoid(logit).
    share = exponential[..., 1] / exponential.sum(-1)
    found = ARSM()(two, noise=noise).gradients[0]
    expected = ARM()(binary, noise={"values": (share[None],)}).gradients[0]
    torch.testing.assert_close(found[..., 1], expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[..., 0], -expected, rtol=0, atol=1e-12)


def test_at_one_half_disarm_of_one_bit_has_no_variance():
    generator = torch.Generator().manual_seed(1)
    one = Factorized(torch.zeros(1, dtype=torch.float64), lambda z: 2 * z[..., 0])
    assert float(DisARM()(one, 500, generator).variance()[0]) < 1e-20
    assert float(ARM()(one, 500, generator).variance()[0]) > 0.01
    # Of several bits it has: each is credited with the others' part of the difference too.
    several = Factorized(torch.zeros(4, dtype=torch.float64), lambda z: z @ waves(51, 4))
    assert float(DisARM()(several, 500, generator).variance()[0].min()) > 1e-4


@pytest.mark.parametrize("estimator", EVERY)
@pytest.mark.parametrize("name", PROBLEMS)
def test_counts_purity_and_shapes(estimator, name):
    problem = PROBLEMS[name]
    kinds = {layer.kind for layer in problem.layers}
    if not kinds <= estimator.variables:
        with pytest.raises(ValueError, match="no form for others"):
            estimator(problem)
        return
    noise = estimator.draw(problem, 7, torch.Generator().manual_seed(9))
    first, second = estimator(problem, noise=noise), estimator(problem, noise=noise)
    assert first.evaluations == estimator.expected_evaluations(problem)
    assert first.n_samples == 7
    for number, layer in enumerate(problem.layers):
        assert first.gradients[number].shape == (7, *problem.batch_shape, *layer.shape)
        assert torch.equal(first.gradients[number], second.gradients[number])
    assert first.cost.shape == (7, *problem.batch_shape)


def test_evaluations_by_formula():
    chain = PROBLEMS["three-layer chain"]
    assert ARM().expected_evaluations(one_bit()) == 2
    assert DisARM(pairs=6).expected_evaluations(six_bits()) == 12
    assert DisARM().expected_evaluations(chain) == 4
    assert ARSM().expected_evaluations(categorical_chain()) == 1 + 3 + 6


@pytest.mark.parametrize("estimator", EVERY)
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_numbers(estimator, scale, dtype):
    categorical = "bernoulli" not in estimator.variables
    shape = (2, 3, 2, 3) if categorical else (2, 3, 4)
    logits = waves(61, *shape).to(dtype) * scale
    axes = tuple(range(-len(shape) + 2, 0))
    problem = Factorized(
        logits, lambda z: (z.sum(axes) - 0.3) ** 2, variables="categorical" if categorical else "bernoulli"
    )
    samples = estimator(problem, 50, torch.Generator().manual_seed(1))
    assert samples.gradients[0].dtype == dtype
    assert torch.isfinite(samples.gradients[0]).all()


def test_sticks_with_extreme_logits():
    logits = torch.tensor([[0.0, 1e4, -1e4, 1e4], [-1e30, 0.0, 1.0, -50.0]])
    problem = Factorized(logits, lambda z: z[..., 1].sum(-1) + z[..., 0, 3] * z[..., 1, 2], variables="categorical")
    samples = DisARM()(problem, 20_000, torch.Generator().manual_seed(1))
    assert torch.isfinite(samples.gradients[0]).all()
    torch.testing.assert_close(samples.mean()[0], exact(problem).gradients[0], rtol=0, atol=0.02)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_an_empty_batch(shape):
    samples = DisARM()(Factorized(torch.zeros(shape), lambda z: z.sum(-1)), 4)
    assert samples.gradients[0].shape == (4, *shape)


def test_the_estimate_reaches_upstream_parameters():
    weights = waves(71, 3, 2).requires_grad_()
    first = waves(72, 3).requires_grad_()
    problem = Layered(first, [lambda x: x @ weights], lambda x, y: (x.sum(-1) - y[..., 0] + 2 * y[..., 1]) ** 2)
    truth = torch.autograd.grad(enumerated(problem), (first, weights))
    samples = DisARM(pairs=2)(problem, 50_000, torch.Generator().manual_seed(4))
    surrogate(problem, samples).backward()
    torch.testing.assert_close(first.grad, truth[0], rtol=0, atol=0.05)
    torch.testing.assert_close(weights.grad, truth[1], rtol=0, atol=0.05)


def enumerated(problem: Layered) -> Tensor:
    x = problem.layers[0].all_values(torch.float64)[:, None]
    y = problem.layers[1].all_values(torch.float64)[None]
    log_prob = problem.layers[0].log_prob(x, problem.logits(0, None)).sum(-1)
    log_prob = log_prob + problem.layers[1].log_prob(y, problem.logits(1, x)).sum(-1)
    return (log_prob.exp() * problem.f(x, y)).sum()


@pytest.mark.parametrize("make", [ARM, DisARM])
def test_refusals(make):
    for pairs in (0, -1):
        with pytest.raises(ValueError, match="'pairs'"):
            make(pairs=pairs)
    for pairs in (1.5, True, "2"):
        with pytest.raises(TypeError, match="'pairs'"):
            make(pairs=pairs)
    with pytest.raises(TypeError, match="'fresh'"):
        make(fresh="yes")
    with pytest.raises(ValueError, match="finite costs"):
        make()(Factorized(torch.zeros(2), lambda z: z.sum(-1) * torch.nan), 3)

"""RAM's guarantee on random models, and where it ends."""

import functools
import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.exact import exact
from toolkit.estimators.exact_covariance import exact_covariance, exact_layer_covariance
from toolkit.estimators.exact_variance import ExactVariance, exact_variance
from toolkit.estimators.likelihood_ratio import LikelihoodRatio
from toolkit.estimators.marginalized import RAM

MODELS = 150
BASELINES = ("lr", "lr_mean", "lr_constant", "lr_mean_given_parents", "lr_parents", "lr_siblings")


def log_probability(values: Tensor, logits: Tensor) -> Tensor:
    return (values * logits - functional.softplus(logits)).sum(-1)


@functools.cache
def random_models() -> Layered:
    """150 sigmoid belief networks of 5 visible, 3 and 3 hidden units, as one batch; the cost is the sampled bound."""
    generator = torch.Generator().manual_seed(20)

    def draw(*shape: int, scale: float) -> Tensor:
        return scale * torch.randn(MODELS, *shape, generator=generator, dtype=torch.float64)

    w1, c1, w2, c2 = draw(5, 3, scale=1.5), draw(3, scale=0.5), draw(3, 3, scale=1.5), draw(3, scale=0.5)
    v1, a0, v2, a1 = draw(3, 5, scale=1.5), draw(5, scale=0.5), draw(3, 3, scale=1.5), draw(3, scale=0.5)
    a2 = draw(3, scale=0.5)
    x = (torch.rand(MODELS, 5, generator=generator) < 0.5).double()

    def times(z: Tensor, weights: Tensor) -> Tensor:
        return torch.einsum("...bi,bij->...bj", z, weights)

    logits = times(x, w1) + c1

    def bound(y: Tensor, z: Tensor) -> Tensor:
        model = log_probability(x, times(y, v1) + a0) + log_probability(y, times(z, v2) + a1) + log_probability(z, a2)
        return model - log_probability(y, logits) - log_probability(z, times(y, w2) + c2)

    return Layered(logits, [lambda y: times(y, w2) + c2], bound)


@functools.cache
def variance_of(name: str) -> ExactVariance:
    return exact_variance(random_models(), name)


def test_every_rule_has_the_gradient_as_its_expectation() -> None:
    truth = exact(random_models())
    for name in (*BASELINES, "ram", "ram_fresh", "leg", "leg_constant"):
        for found, expected in zip(variance_of(name).gradients, truth.gradients, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


def test_ram_then_siblings_then_parents_then_constant_for_900_units() -> None:
    order = [torch.cat(variance_of(name).variances, -1) for name in ("ram", "lr_siblings", "lr_parents", "lr_constant")]
    assert order[0].shape == (MODELS, 6)
    for less, more in itertools.pairwise(order):
        assert (less <= more * (1 + 1e-9) + 1e-12).all()


def test_in_the_last_layer_the_best_baseline_attains_ram() -> None:
    torch.testing.assert_close(
        variance_of("lr_siblings").variances[1], variance_of("ram").variances[1], rtol=1e-8, atol=1e-12
    )
    # In the first layer the descendants' noise is left, and it is most of what varies.
    ratio = variance_of("lr_siblings").variances[0] / variance_of("ram").variances[0]
    assert ratio.median() > 3


@pytest.mark.parametrize("name", BASELINES)
def test_covariances_of_a_variables_own_parameters_are_ordered(name: str) -> None:
    ours, theirs = exact_covariance(random_models(), "ram"), exact_covariance(random_models(), name)
    for layer, (least, more) in enumerate(zip(ours, theirs, strict=True)):
        assert least.shape == (MODELS, 3, 1 + 3 * layer, 1 + 3 * layer)
        eigenvalues = torch.linalg.eigvalsh(more - least)
        assert eigenvalues.min() > -1e-10 * more.abs().max()
    # Not by equality.
    assert torch.linalg.eigvalsh(theirs[0] - ours[0]).max() > 0.1


def test_the_order_holds_between_the_components_of_categorical_variables() -> None:
    generator = torch.Generator().manual_seed(3)
    costs = torch.randn(3, 40, 3, 4, 4, 3, generator=generator, dtype=torch.float64)
    weights = torch.randn(40, 4, 2 * 3, generator=generator, dtype=torch.float64)

    def cost(x: Tensor, y: Tensor) -> Tensor:
        first = torch.einsum("...bk,...bl,...bm,sbjklm->...bsj", x[..., 0, :], x[..., 0, :], y[..., 0, :], costs)
        return first.sum((-1, -2)) * (1 + y[..., 1, :] @ torch.tensor([0.2, -1.0, 1.5], dtype=torch.float64))

    problem = Layered(
        torch.randn(40, 1, 4, generator=generator, dtype=torch.float64),
        [lambda x: torch.einsum("...bk,bkm->...bm", x[..., 0, :], weights).unflatten(-1, (2, 3))],
        cost,
        variables="categorical",
    )
    for coupling in ("inverse_cdf", "gumbel"):
        ours = exact_covariance(problem, RAM(coupling=coupling))
        for name in BASELINES:
            for least, more in zip(ours, exact_covariance(problem, name), strict=True):
                assert torch.linalg.eigvalsh(more - least).min() > -1e-10 * more.abs().max()


def test_common_noise_is_not_always_better_than_fresh_noise() -> None:
    worse = variance_of("ram").variances[0] > variance_of("ram_fresh").variances[0] * (1 + 1e-9)
    assert 0.02 < worse.double().mean() < 0.15


def test_fresh_noise_is_better_where_a_descendant_works_against_its_parent() -> None:
    """The child follows its parent, the cost counts where they differ: common noise ties the two values together."""
    one = torch.zeros(1, dtype=torch.float64)
    problem = Layered(one, [lambda y: 0 * y], lambda y, z: ((2 * y - 1) * (2 * z - 1)).sum(-1))
    common, fresh, mirrored = (
        exact_variance(problem, RAM(noise)).total(0).item() for noise in ("common", "fresh", "antithetic")
    )
    # f_1 = −f_0 = ± 1 together, apart at random, or always opposite.
    assert common == pytest.approx(1 / 16 * 4)
    assert fresh == pytest.approx(1 / 16 * 2)
    assert mirrored == pytest.approx(0, abs=1e-15)


def test_local_expectation_without_baseline_is_bounded_by_nothing() -> None:
    worse = variance_of("leg").variances[0] > variance_of("lr_constant").variances[0]
    assert 0.25 < worse.double().mean() < 0.6
    # With LR's constant it is below LR, and here and there below RAM.
    assert (variance_of("leg_constant").variances[0] <= variance_of("lr_constant").variances[0] * (1 + 1e-9)).all()
    below = variance_of("leg_constant").variances[0] < variance_of("ram").variances[0] * (1 - 1e-9)
    assert 0.1 < below.double().mean() < 0.5


def test_the_order_of_each_variable_is_no_order_of_their_sum() -> None:
    def two_coins(logit: float) -> Factorized:
        logits = torch.full((2,), logit, dtype=torch.float64)
        return Factorized(logits, lambda z: (z[..., 0] - z[..., 1]).abs())

    def tied(problem: Factorized, estimator: LikelihoodRatio | RAM | str) -> float:
        return exact_layer_covariance(problem, estimator, 0).sum().item()

    fair = two_coins(0.0)
    assert tied(fair, "lr") == pytest.approx(0, abs=1e-16)
    assert tied(fair, LikelihoodRatio()) == pytest.approx(0, abs=1e-16)
    assert tied(fair, "ram") == pytest.approx(1 / 8)
    # Each coin alone obeys the guarantee, and the best constant attains RAM.
    assert exact_variance(fair, "lr").variances[0].tolist() == pytest.approx([1 / 8, 1 / 8])
    assert exact_variance(fair, "lr_constant").variances[0].tolist() == pytest.approx([1 / 16, 1 / 16])
    assert exact_variance(fair, "ram").variances[0].tolist() == pytest.approx([1 / 16, 1 / 16])
    difference = exact_layer_covariance(fair, "lr", 0) - exact_layer_covariance(fair, "ram", 0)
    assert torch.linalg.eigvalsh(difference).min() == pytest.approx(-1 / 16)

    problem = two_coins(0.7)
    values = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float64)
    mean = torch.sigmoid(torch.tensor(0.7, dtype=torch.float64))
    weights = (values * mean + (1 - values) * (1 - mean)).prod(-1)
    score = (values - mean).sum(-1)
    cost = problem.f(values)
    best = ((weights * cost * score**2).sum() / (weights * score**2).sum()).item()
    shifted = Factorized(torch.full((2,), 0.7, dtype=torch.float64), lambda z: problem.f(z) - best)
    assert tied(problem, "lr") == pytest.approx(0.0279, abs=5e-5)
    assert tied(shifted, "lr") == pytest.approx(0.0222, abs=5e-5)
    assert tied(problem, "ram") == pytest.approx(0.0872, abs=5e-5)

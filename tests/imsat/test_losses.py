"""Entropies, mutual information and divergences against their definition, closed forms, and saturated predictions."""

import inspect
import itertools
import math

import jaxtyping
import pytest
import torch

from toolkit.imsat.losses import (
    conditional_entropy,
    divergence,
    marginal_divergence,
    marginal_entropy,
    mutual_information,
)

DTYPES = [torch.float32, torch.float64]
OF_A_BATCH = [marginal_entropy, conditional_entropy, mutual_information, marginal_divergence]


def logits(*shape: int, seed: int = 0, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def certain(*clusters: int, n_clusters: int, size: float = 1e4, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Return logits of points that certainly are in these clusters."""
    return size * (2 * torch.eye(n_clusters, dtype=dtype)[list(clusters)] - 1)


def entropy(probabilities: list[float]) -> float:
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def kullback_leibler(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def rows(given: torch.Tensor) -> list[list[float]]:
    """Return probabilities by the definition of softmax."""
    found = []
    for row in given.tolist():
        weights = [math.exp(value) for value in row]
        found.append([weight / sum(weights) for weight in weights])
    return found


def test_they_are_as_defined() -> None:
    given, moved = logits(7, 4), logits(7, 4, seed=1)
    each = rows(given)
    mean = [sum(column) / 7 for column in zip(*each, strict=True)]
    within = sum(map(entropy, each)) / 7
    assert marginal_entropy(given).item() == pytest.approx(entropy(mean), rel=1e-12)
    assert conditional_entropy(given).item() == pytest.approx(within, rel=1e-12)
    assert mutual_information(given).item() == pytest.approx(entropy(mean) - within, rel=1e-12)
    assert marginal_divergence(given).item() == pytest.approx(kullback_leibler(mean, [0.25] * 4), rel=1e-11)
    sizes = [1.0, 2.0, 3.0, 4.0]
    expected = kullback_leibler(mean, [size / 10 for size in sizes])
    assert marginal_divergence(given, torch.tensor(sizes).double()).item() == pytest.approx(expected, rel=1e-11)
    expected_each = [kullback_leibler(p, q) for p, q in zip(each, rows(moved), strict=True)]
    assert divergence(given, moved).tolist() == pytest.approx(expected_each, rel=1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_clusters", [1, 2, 10, 1000])
def test_uniform_predictions_tell_nothing(n_clusters: int, dtype: torch.dtype) -> None:
    given = torch.full((5, n_clusters), 3.0, dtype=dtype)
    for found in (marginal_entropy(given), conditional_entropy(given)):
        assert found.shape == () and found.dtype == dtype
        assert found.item() == pytest.approx(math.log(n_clusters), rel=1e-6)
    assert mutual_information(given).item() == pytest.approx(0, abs=1e-5)
    assert marginal_divergence(given).item() == pytest.approx(0, abs=1e-5)
    assert divergence(given, given).tolist() == [0] * 5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_certain_predictions(size: float, dtype: torch.dtype) -> None:
    given = certain(0, 1, 1, 2, n_clusters=4, size=size, dtype=dtype)
    expected = entropy([0.25, 0.5, 0.25])
    assert conditional_entropy(given).item() == 0
    assert marginal_entropy(given).item() == pytest.approx(expected, rel=1e-6)
    assert mutual_information(given).item() == pytest.approx(expected, rel=1e-6)
    assert marginal_divergence(given).item() == pytest.approx(math.log(4) - expected, rel=1e-5)
    one = certain(2, 2, 2, n_clusters=4, size=size, dtype=dtype)
    assert marginal_entropy(one).item() == mutual_information(one).item() == 0
    assert marginal_divergence(one).item() == pytest.approx(math.log(4))
    every = certain(0, 1, 2, 3, n_clusters=4, size=size, dtype=dtype)
    assert mutual_information(every).item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_mixtures_of_certain_and_uniform_points(share: float) -> None:
    n_clusters, rounds = 5, 20
    unsure = round(share * rounds)
    given = torch.cat(
        (
            torch.zeros(unsure * n_clusters, n_clusters, dtype=torch.float64),
            certain(*range(n_clusters), n_clusters=n_clusters).repeat(rounds - unsure, 1),
        )
    )
    assert marginal_entropy(given).item() == pytest.approx(math.log(5))
    assert conditional_entropy(given).item() == pytest.approx(share * math.log(5))
    assert mutual_information(given).item() == pytest.approx((1 - share) * math.log(5))


@pytest.mark.parametrize("p", [0.5, 0.8, 1 - 1e-9])
def test_two_points_that_mirror_each_other(p: float) -> None:
    unit = torch.logit(torch.tensor(p, dtype=torch.float64)).item()
    given = torch.tensor([[unit, 0.0], [0.0, unit]], dtype=torch.float64)
    assert mutual_information(given).item() == pytest.approx(math.log(2) - entropy([p, 1 - p]), abs=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_expected_sizes(dtype: torch.dtype) -> None:
    sizes = torch.tensor([5.0, 3.0, 2.0], dtype=dtype)
    right = certain(*[0] * 5, *[1] * 3, *[2] * 2, n_clusters=3, dtype=dtype)
    assert marginal_divergence(right, sizes).item() == pytest.approx(0, abs=1e-6)
    one = certain(2, n_clusters=3, dtype=dtype)
    assert marginal_divergence(one, sizes).item() == pytest.approx(math.log(5), rel=1e-6)
    given = logits(6, 3, dtype=dtype)
    torch.testing.assert_close(marginal_divergence(given, 7 * sizes), marginal_divergence(given, sizes))
    torch.testing.assert_close(marginal_divergence(given, 0 * sizes + 4), marginal_divergence(given))
    torch.testing.assert_close(marginal_divergence(given), math.log(3) - marginal_entropy(given))
    other = torch.float64 if dtype == torch.float32 else torch.float32
    assert marginal_divergence(given, sizes.to(other)).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cluster_that_is_expected_empty(dtype: torch.dtype) -> None:
    sizes = torch.tensor([1.0, 1.0, 0.0], dtype=dtype)
    given = certain(0, 1, n_clusters=3, dtype=dtype).requires_grad_()
    found = marginal_divergence(given, sizes)
    assert found.item() == pytest.approx(0, abs=1e-6)
    assert (torch.autograd.grad(found, given)[0] == 0).all()
    assert marginal_divergence(logits(4, 3, dtype=dtype), sizes).item() == math.inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_predictions_have_finite_gradients(dtype: torch.dtype) -> None:
    given = torch.cat(
        (certain(0, 1, 1, n_clusters=3, dtype=dtype), torch.tensor([[0.5, -1.0, 0.0], [90.0, 0.0, -90.0]], dtype=dtype))
    ).requires_grad_()
    for function in OF_A_BATCH:
        (gradient,) = torch.autograd.grad(function(given), given)
        assert gradient.isfinite().all() and gradient[3].abs().max() > 1e-3
    # A certain prediction stays where it is, whatever the others say.
    (gradient,) = torch.autograd.grad(mutual_information(given), given)
    assert (gradient[:3] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_impossible_clusters(dtype: torch.dtype) -> None:
    """A logit of −∞ is a probability of 0, and so is a row of log probabilities of certain points."""
    given = torch.eye(3, dtype=dtype).log()[[0, 1, 1]]
    expected = entropy([1 / 3, 2 / 3])
    assert conditional_entropy(given).item() == 0
    assert mutual_information(given).item() == pytest.approx(expected, rel=1e-6)
    assert marginal_divergence(given).item() == pytest.approx(math.log(3) - expected, rel=1e-5)
    every = torch.eye(3, dtype=dtype).log().requires_grad_()
    for function in OF_A_BATCH:
        assert (torch.autograd.grad(function(every), every)[0] == 0).all()
    masked = torch.cat((logits(5, 3, dtype=dtype), torch.full((5, 1), -math.inf, dtype=dtype)), 1)
    torch.testing.assert_close(mutual_information(masked), mutual_information(masked[:, :3]))
    assert divergence(given, given).tolist() == [0, 0, 0]
    torch.testing.assert_close(divergence(masked, masked + 1), torch.zeros(5, dtype=dtype), atol=1e-6, rtol=0)
    assert divergence(given, torch.zeros_like(given)).tolist() == pytest.approx([math.log(3)] * 3)
    assert divergence(given[:1], given[1:2]).tolist() == [math.inf]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_divergence_of_saturated_predictions(dtype: torch.dtype) -> None:
    cases = [
        ([1e4, -1e4], [1e4, -1e4], 0.0, [0.0, 0.0]),
        ([1e4, -1e4], [-1e4, 1e4], 2e4, [-1.0, 1.0]),
        ([1e4, -1e4], [0.0, 0.0], math.log(2), [-0.5, 0.5]),
        ([0.0, 0.0], [1e4, -1e4], 1e4 - math.log(2), [0.5, -0.5]),
        ([0.0, -1e4, 0.0], [0.0, 0.0, 0.0], math.log(1.5), [-1 / 6, 1 / 3, -1 / 6]),
    ]
    for clean, moved, value, slope in cases:
        first = torch.tensor([clean], dtype=dtype, requires_grad=True)
        second = torch.tensor([moved], dtype=dtype, requires_grad=True)
        found = divergence(first, second)
        assert found.item() == pytest.approx(value, rel=1e-6)
        back, forward = torch.autograd.grad(found.sum(), (first, second))
        assert forward.flatten().tolist() == pytest.approx(slope, abs=1e-6) and back.isfinite().all()


def test_the_divergence_is_a_cross_entropy_with_a_floor_of_zero() -> None:
    clean, moved = logits(9, 4), logits(9, 4, seed=1).requires_grad_()
    found = divergence(clean, moved)
    assert found.shape == (9,) and (found > 0).all()
    (gradient,) = torch.autograd.grad(found.sum(), moved)
    torch.testing.assert_close(gradient, moved.softmax(1) - clean.softmax(1))
    cross = torch.nn.functional.cross_entropy(moved, clean.softmax(1), reduction="sum")
    torch.testing.assert_close(torch.autograd.grad(cross, moved)[0], gradient)
    torch.testing.assert_close(cross - found.sum(), 9 * conditional_entropy(clean))
    # Only differences of logits count.
    torch.testing.assert_close(divergence(clean + 5, moved - 3), found)
    assert divergence(clean[:0], moved[:0]).shape == (0,)


def test_gradients() -> None:
    given = torch.cat((logits(4, 3), torch.tensor([[0.0, 0.0, 0.0], [40.0, -1e4, 0.0]], dtype=torch.float64)))
    given.requires_grad_()
    moved = logits(6, 3, seed=1).requires_grad_()
    for function in OF_A_BATCH:
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)
    prior = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda g: marginal_divergence(g, prior), given)
    assert torch.autograd.gradcheck(divergence, (given, moved))
    assert torch.autograd.gradgradcheck(divergence, (given, moved))


def test_the_marginal_carries_a_gradient() -> None:
    """It is not a constant: each point is pulled to the cluster that is too small."""
    given = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(marginal_entropy(given), given)
    p = 1 / (1 + math.exp(-1))
    slope = p * (1 - p) * math.log((1 - p) / p) / 2
    assert gradient.flatten().tolist() == pytest.approx([slope, -slope] * 2)


@pytest.mark.parametrize("seed", range(3))
def test_names_of_clusters_and_points_do_not_matter(seed: int) -> None:
    given, moved = logits(8, 5, seed=seed).requires_grad_(), logits(8, 5, seed=seed + 10)
    order, points = [3, 0, 4, 1, 2], [7, 1, 0, 2, 6, 5, 3, 4]
    for function in OF_A_BATCH:
        value = function(given)
        (gradient,) = torch.autograd.grad(value, given)
        for other in (given[:, order], given[points], given.repeat(3, 1), given + torch.arange(8.0)[:, None]):
            torch.testing.assert_close(function(other), value)
        relabelled = given.detach()[:, order].requires_grad_()
        torch.testing.assert_close(torch.autograd.grad(function(relabelled), relabelled)[0], gradient[:, order])
    prior = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    torch.testing.assert_close(marginal_divergence(given[:, order], prior[order]), marginal_divergence(given, prior))
    torch.testing.assert_close(divergence(given[:, order], moved[:, order]), divergence(given, moved))


def test_single_precision_is_close_to_double() -> None:
    given = logits(20_000, 10, scale=5.0, dtype=torch.float32)
    for function in OF_A_BATCH:
        assert (function(given).double() - function(given.double())).abs() < 2e-6
    moved = given + logits(20_000, 10, seed=1, dtype=torch.float32)
    torch.testing.assert_close(
        divergence(given, moved).double(), divergence(given.double(), moved.double()), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_cases(dtype: torch.dtype) -> None:
    one_point = logits(1, 6, dtype=dtype)
    torch.testing.assert_close(marginal_entropy(one_point), conditional_entropy(one_point))
    assert mutual_information(one_point).abs() < 1e-6
    one_cluster = logits(6, 1, dtype=dtype).requires_grad_()
    for function in OF_A_BATCH:
        found = function(one_cluster)
        assert found.item() == 0 and (torch.autograd.grad(found, one_cluster)[0] == 0).all()
    assert divergence(one_cluster, 2 * one_cluster).tolist() == [0] * 6
    assert mutual_information(logits(1, 4, dtype=dtype).expand(30, 4)).abs() < 1e-6


def test_bounds() -> None:
    for seed, scale in itertools.product(range(5), (0.1, 2.0, 50.0)):
        given = logits(12, 4, seed=seed, scale=scale)
        information, marginal = mutual_information(given).item(), marginal_entropy(given).item()
        assert 0 < information <= marginal <= math.log(4) + 1e-12
        assert conditional_entropy(given).item() >= 0 and marginal_divergence(given).item() >= 0


def test_a_batch_sees_less_than_the_data() -> None:
    """Jensen: over all batches of a partition the mean of the marginal entropy is below that of all the points."""
    given = logits(60, 4)
    whole = marginal_entropy(given)
    means = [torch.stack([marginal_entropy(batch) for batch in given.split(size)]).mean() for size in (3, 15, 30)]
    assert means[0] < means[1] < means[2] < whole
    parts = torch.stack([conditional_entropy(batch) for batch in given.split(15)]).mean()
    torch.testing.assert_close(parts, conditional_entropy(given))


def test_the_gap_of_certain_points_is_about_k_minus_one_over_two_n() -> None:
    generator = torch.Generator().manual_seed(0)
    n_clusters, size, repeats = 10, 250, 1_000
    drawn = torch.randint(n_clusters, (repeats, size), generator=generator)
    batches = 1e4 * torch.nn.functional.one_hot(drawn, n_clusters).double()
    found = torch.stack([mutual_information(batch) for batch in batches])
    gap, error = math.log(n_clusters) - found.mean().item(), found.std().item() / math.sqrt(repeats)
    assert error < 5e-4
    assert gap == pytest.approx((n_clusters - 1) / (2 * size), abs=4 * error + 2e-4)


@pytest.mark.parametrize("function", OF_A_BATCH)
def test_bad_logits_are_refused(function) -> None:  # type: ignore[no-untyped-def]
    for empty in (torch.zeros(0, 3), torch.zeros(3, 0)):
        with pytest.raises(ValueError, match="bad argument 'logits'"):
            function(empty)
    for bad in (torch.zeros(4), torch.zeros(4, 3, 2), torch.zeros(4, 3, dtype=torch.long), [[0.0, 1.0]]):
        with pytest.raises((ValueError, TypeError)):
            function(bad)


@pytest.mark.parametrize("function", OF_A_BATCH)
def test_each_complaint_is_our_own(function, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    # Users have no run-time checks of types and shapes as these tests do.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for bad in (torch.zeros(4), torch.zeros(4, 3, 2), torch.zeros(4, 3, dtype=torch.long)):
        with pytest.raises(ValueError, match="bad argument 'logits'"):
            function(bad)
    with pytest.raises(TypeError, match="bad argument 'logits'"):
        function([[0.0, 1.0]])


@pytest.mark.parametrize("prior", [[-1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [math.nan, 1.0, 1.0], [math.inf, 1.0, 1.0]])
def test_bad_priors_are_refused(prior: list[float]) -> None:
    with pytest.raises(ValueError, match="marginal_divergence: bad argument 'prior'"):
        marginal_divergence(logits(4, 3), torch.tensor(prior))


def test_a_prior_fits_the_clusters() -> None:
    for length in (2, 4):
        with pytest.raises((ValueError, TypeError)):
            marginal_divergence(logits(4, 3), torch.ones(length))


def test_points_that_do_not_pair_are_refused() -> None:
    for bad in (torch.zeros(4, 2), torch.zeros(3, 3)):
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            divergence(torch.zeros(4, 3), bad)


@pytest.mark.parametrize("shape", [(1, 3), (4, 1), (4, 2), (3, 3), (3,)])
def test_points_are_not_repeated_until_they_pair(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="divergence: bad argument 'perturbed_logits'"):
        inspect.unwrap(divergence)(logits(4, 3), torch.zeros(shape))


def test_a_prior_is_a_row() -> None:
    for bad, kind in ((torch.ones(3, 1), ValueError), (torch.ones(2), ValueError), ([1.0, 1.0, 1.0], TypeError)):
        with pytest.raises(kind, match="marginal_divergence: bad argument 'prior'"):
            inspect.unwrap(marginal_divergence)(logits(4, 3), bad)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16])
def test_a_cluster_that_is_impossible_everywhere_has_a_gradient(dtype: torch.dtype) -> None:
    drawn = logits(5, 3, dtype=torch.float64).to(dtype)
    masked = torch.cat((drawn, torch.full((5, 1), -math.inf, dtype=dtype)), 1).requires_grad_()
    for function in OF_A_BATCH:
        (gradient,) = torch.autograd.grad(function(masked), masked)
        assert gradient.isfinite().all() and (gradient[:, 3] == 0).all() and gradient[:, :3].abs().max() > 0


def test_a_number_that_is_none_is_not_hidden() -> None:
    given = logits(5, 3)
    given[2, 1] = math.nan
    for function in OF_A_BATCH:
        assert function(given).isnan()
    for found in (divergence(given, logits(5, 3)), divergence(logits(5, 3), given)):
        assert found.isnan().tolist() == [False, False, True, False, False]

"""Enumerated truths against other enumerations, closed forms, and torch's own second derivatives."""

import itertools
import math

import pytest
import torch
from scipy import stats

from toolkit.imsat import exact, losses
from toolkit.imsat.exact import (
    code_distribution,
    duplicated_bits,
    exact_hash_information,
    expected_batch_entropy,
    expected_minibatch_information,
    fisher_direction,
    fisher_information,
    xor_bits,
)
from toolkit.imsat.hash_losses import bit_information, hash_information

LOG2 = math.log(2)
DTYPES = [torch.float32, torch.float64]


def logits(*shape: int, seed: int = 0, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def entropy(probabilities: list[float]) -> float:
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def network(n_in: int = 3, n_out: int = 4) -> torch.nn.Sequential:
    net = torch.nn.Sequential(
        torch.nn.Linear(n_in, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh(), torch.nn.Linear(8, n_out)
    ).double()
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter.copy_(logits(*parameter.shape, seed=number, scale=0.7))
    return net.eval()


# Codes


@pytest.mark.parametrize("n_bits", [1, 2, 3, 4, 5])
def test_codes_are_enumerated_with_the_first_bit_slowest(n_bits: int) -> None:
    given = logits(6, n_bits)
    rows = given.sigmoid().tolist()
    expected, conditional = [], 0.0
    for code in itertools.product([0, 1], repeat=n_bits):
        each = [math.prod(p if bit else 1 - p for p, bit in zip(row, code, strict=True)) for row in rows]
        expected.append(sum(each) / 6)
        conditional += entropy(each) / 6
    assert code_distribution(given).tolist() == pytest.approx(expected, rel=1e-12)
    assert exact_hash_information(given).item() == pytest.approx(entropy(expected) - conditional, rel=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sixteen_certain_bits_are_counted(dtype: torch.dtype) -> None:
    codes = torch.randint(0, 2**16, (3_000,), generator=torch.Generator().manual_seed(1)) % 5_000
    bits = (codes[:, None] >> torch.arange(15, -1, -1)) & 1
    found = code_distribution(1e4 * (2 * bits.to(dtype) - 1))
    counts = torch.bincount(codes, minlength=2**16)
    torch.testing.assert_close(found, counts.to(dtype) / 3_000)
    assert (found[counts == 0] == 0).all()
    expected = entropy((counts / 3_000).tolist())
    assert exact_hash_information(1e4 * (2 * bits.to(dtype) - 1)).item() == pytest.approx(expected, rel=1e-5)


def test_chunks_of_points_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = logits(50, 7).requires_grad_()
    whole = exact_hash_information(given)
    (gradient,) = torch.autograd.grad(whole, given)
    monkeypatch.setattr(exact, "_CHUNK", 3 * 2**4)
    chunked = exact_hash_information(given)
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(torch.autograd.grad(chunked, given)[0], gradient)
    assert code_distribution(given.detach()).sum().item() == pytest.approx(1)


def test_gradients_of_the_exact_information() -> None:
    given = torch.cat((logits(4, 3), torch.tensor([[0.0, 0.0, -40.0], [1e4, -1e4, 0.0]], dtype=torch.float64)))
    given.requires_grad_()
    assert torch.autograd.gradcheck(exact_hash_information, given)
    assert torch.autograd.gradcheck(code_distribution, given)


@pytest.mark.parametrize("dtype", DTYPES)
def test_certain_bits_have_no_gradient(dtype: torch.dtype) -> None:
    for given in (xor_bits(dtype=dtype, device="cpu"), duplicated_bits(4, dtype=dtype, device="cpu")):
        (gradient,) = torch.autograd.grad(exact_hash_information(given.requires_grad_()), given)
        assert (gradient == 0).all()


@pytest.mark.parametrize("n_bits", [1, 2])
def test_one_or_two_bits_need_no_approximation(n_bits: int) -> None:
    given = logits(7, n_bits).requires_grad_()
    exactly, pairwise = exact_hash_information(given), hash_information(given, pair_weight=1)
    torch.testing.assert_close(exactly, pairwise)
    torch.testing.assert_close(*(torch.autograd.grad(each, given)[0] for each in (exactly, pairwise)))
    assert n_bits == 1 or hash_information(given, pair_weight=2) < exactly


@pytest.mark.parametrize("dtype", DTYPES)
def test_three_bits_that_are_an_xor_are_over_estimated(dtype: torch.dtype) -> None:
    given = xor_bits(dtype=dtype, device="cpu")
    assert given.shape == (4, 3) and given.dtype == dtype
    bits = given > 0
    assert torch.equal(bits[:, 0] ^ bits[:, 1], bits[:, 2]) and len(bits.unique(dim=0)) == 4
    assert exact_hash_information(given).item() == pytest.approx(2 * LOG2)
    assert hash_information(given).item() == pytest.approx(3 * LOG2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_bits", [1, 2, 3, 5, 16])
def test_bits_that_say_the_same_are_under_estimated(n_bits: int, dtype: torch.dtype) -> None:
    given = duplicated_bits(n_bits, dtype=dtype, device="cpu")
    assert given.shape == (2, n_bits) and given.dtype == dtype
    assert exact_hash_information(given).item() == pytest.approx(LOG2)
    gap = hash_information(given).item() - LOG2
    assert gap == pytest.approx((n_bits - n_bits * (n_bits - 1) / 2 - 1) * LOG2, abs=1e-5)
    assert (gap < -0.6) == (n_bits > 2)


@pytest.mark.parametrize("n_bits", [1, 4, 8])
def test_the_ceiling_is_one_log_two_a_bit(n_bits: int) -> None:
    codes = (torch.arange(2**n_bits)[:, None] >> torch.arange(n_bits)) & 1
    every = 1e4 * (2 * codes.double() - 1)
    assert exact_hash_information(every).item() == pytest.approx(n_bits * LOG2)
    assert code_distribution(every).tolist() == pytest.approx([0.5**n_bits] * 2**n_bits)
    for seed in range(3):
        below = logits(2**n_bits, n_bits, seed=seed)
        found = exact_hash_information(below)
        assert bit_information(below).max() - 1e-12 <= found < n_bits * LOG2


def test_points_bound_the_information_too() -> None:
    three = 1e4 * logits(3, 12).sign()
    assert exact_hash_information(three).item() == pytest.approx(math.log(3))
    assert exact_hash_information(logits(1, 12)).item() == pytest.approx(0, abs=1e-12)
    assert exact_hash_information(logits(1, 5).expand(9, 5)).item() == pytest.approx(0, abs=1e-12)


def test_names_of_bits_and_values_do_not_matter() -> None:
    given = logits(7, 5)
    turned = given * torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    for other in (given[:, [3, 0, 4, 1, 2]], given.flip(0), given.repeat(2, 1), turned):
        torch.testing.assert_close(exact_hash_information(other), exact_hash_information(given))


def test_the_counterexamples_survive_softening() -> None:
    """Not only certain bits: nearly certain ones err the same way."""
    for given, sign in ((xor_bits(device="cpu"), 1), (duplicated_bits(4, device="cpu"), -1)):
        soft = given.clamp(-3, 3)
        assert sign * (hash_information(soft) - exact_hash_information(soft)) > 0.2


@pytest.mark.parametrize("function", [code_distribution, exact_hash_information])
def test_bad_bits_are_refused(function) -> None:  # type: ignore[no-untyped-def]
    for bad in (torch.zeros(0, 3), torch.zeros(3, 0), torch.zeros(3, 17), torch.zeros(3, 4).half()):
        with pytest.raises(ValueError, match=f"{function.__name__}: bad argument 'logits'"):
            function(bad)
    with pytest.raises((ValueError, TypeError)):
        function(torch.zeros(3))
    assert function(torch.full((2, 3), math.nan)).isnan().all()
    with pytest.raises(ValueError, match="n_bits"):
        duplicated_bits(0)


# Mini-batches


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_expectation_is_over_all_batches(size: int, replacement: bool) -> None:
    given = logits(5, 3)
    if replacement:
        batches = list(itertools.product(range(5), repeat=size))
    else:
        batches = list(itertools.combinations(range(5), size))
    expected = sum(losses.mutual_information(given[list(batch)]).item() for batch in batches) / len(batches)
    found = expected_minibatch_information(given, size, replacement=replacement)
    assert found.item() == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_batches_see_less_information_than_there_is() -> None:
    given = logits(12, 4)
    whole = losses.mutual_information(given).item()
    found = [expected_minibatch_information(given, size).item() for size in range(1, 13)]
    assert found[0] == pytest.approx(0, abs=1e-14) and found[-1] == pytest.approx(whole)
    assert all(smaller < larger for smaller, larger in itertools.pairwise(found))
    drawn = [expected_minibatch_information(given, size, replacement=True).item() for size in range(1, 8)]
    # Points that come up twice leave less to see.
    assert all(again < once + 1e-12 for again, once in zip(drawn, found, strict=False))
    same = logits(1, 4).expand(6, 4)
    assert expected_minibatch_information(same, 3).item() == pytest.approx(0, abs=1e-14)


def test_chunks_of_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given = logits(9, 3, dtype=torch.float32)
    whole = [expected_minibatch_information(given, 4, replacement=again) for again in (False, True)]
    monkeypatch.setattr(exact, "_CHUNK", 50)
    for again in (False, True):
        torch.testing.assert_close(expected_minibatch_information(given, 4, replacement=again), whole[again])


@pytest.mark.parametrize("dtype", DTYPES)
def test_certain_points_of_balanced_clusters(dtype: torch.dtype) -> None:
    given = 1e4 * torch.eye(3, dtype=dtype).repeat(2, 1)
    found = expected_minibatch_information(given, 2).item()
    # Two of six points: 3 of 15 pairs are of one cluster.
    assert found == pytest.approx(0.8 * LOG2)
    drawn = expected_minibatch_information(given, 4, replacement=True)
    torch.testing.assert_close(drawn, expected_batch_entropy(torch.ones(3, dtype=dtype), 4))
    leaf = given.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(expected_minibatch_information(leaf, 2), leaf)
    assert (gradient == 0).all()


def test_the_expected_information_has_a_gradient() -> None:
    given = logits(5, 3).requires_grad_()
    for again in (False, True):
        assert torch.autograd.gradcheck(
            lambda g, again=again: expected_minibatch_information(g, 3, replacement=again), given
        )


def test_too_many_batches_are_refused() -> None:
    given = torch.zeros(70_000, 2)
    for size, again in ((250, False), (35_000, False), (3, True)):
        with pytest.raises(ValueError, match=r"batch_size.*\n.*2\*\*20"):
            expected_minibatch_information(given, size, replacement=again)
    assert expected_minibatch_information(given[:1_000], 1_000).item() == pytest.approx(0, abs=1e-6)
    for size in (0, -1, 6):
        with pytest.raises(ValueError, match="batch_size"):
            expected_minibatch_information(given[:5], size)
    assert expected_minibatch_information(given[:5], 6, replacement=True).item() == pytest.approx(0, abs=1e-6)
    for bad in (torch.zeros(0, 2), torch.zeros(2, 0), torch.zeros(4, 2).half()):
        with pytest.raises(ValueError, match="logits"):
            expected_minibatch_information(bad, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 7, 250])
def test_counts_in_a_batch_are_binomial(size: int, dtype: torch.dtype) -> None:
    shares = torch.tensor([3.0, 1.0, 0.0, 4.0], dtype=dtype)
    expected = 0.0
    for share in (3 / 8, 1 / 8, 0.0, 4 / 8):
        for count in range(1, size + 1):
            expected -= stats.binom.pmf(count, size, share) * count / size * math.log(count / size)
    found = expected_batch_entropy(shares, size)
    assert found.dtype == dtype and found.item() == pytest.approx(expected, rel=1e-6 if dtype.itemsize == 4 else 1e-10)
    assert found <= entropy([3 / 8, 1 / 8, 4 / 8])


@pytest.mark.parametrize(("clusters", "size"), [(10, 250), (10, 1_000), (4, 100), (2, 50), (100, 5_000)])
def test_the_gap_is_about_k_minus_one_over_two_n(clusters: int, size: int) -> None:
    for shares in (torch.ones(clusters).double(), 1 + torch.arange(clusters).double() / clusters):
        gap = entropy((shares / shares.sum()).tolist()) - expected_batch_entropy(shares, size).item()
        assert gap == pytest.approx((clusters - 1) / (2 * size), rel=0.03)


def test_the_gap_of_the_official_batch() -> None:
    """Ten balanced clusters, 250 points: 0.018 nats, of certain predictions; less of unsure ones."""
    gap = math.log(10) - expected_batch_entropy(torch.ones(10).double(), 250).item()
    assert gap == pytest.approx(0.018, abs=2e-4)
    certain, unsure = (size * torch.eye(5, dtype=torch.float64) for size in (1e4, 1.0))
    gaps = [
        (losses.mutual_information(given) - expected_minibatch_information(given, 4, replacement=True)).item()
        for given in (certain, unsure)
    ]
    assert 0 < gaps[1] < 0.3 * gaps[0]


def test_bad_shares_are_refused() -> None:
    for bad in ([0.0, 0.0], [-1.0, 2.0], [math.nan, 1.0], [math.inf, 1.0], []):
        with pytest.raises(ValueError, match="shares"):
            expected_batch_entropy(torch.tensor(bad), 5)
    with pytest.raises(ValueError, match="batch_size"):
        expected_batch_entropy(torch.ones(3), 0)
    assert expected_batch_entropy(torch.tensor([0.0, 7.0]), 5).item() == pytest.approx(0, abs=1e-12)


# Fisher information


def test_a_linear_softmax_has_a_closed_form() -> None:
    weight = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    x = torch.cat((torch.zeros(1, 2), logits(4, 2).float())).double()
    p = (x @ weight.T).softmax(1)
    expected = weight.T @ (torch.diag_embed(p) - p[:, :, None] * p[:, None]) @ weight
    found = fisher_information(lambda points: points @ weight.T, x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found[0], torch.tensor([[2, -2], [-2, 8]]).double() / 9)


def test_it_is_the_second_derivative_of_the_divergence() -> None:
    net, x = network(), logits(5, 3, seed=9, scale=1.0)
    found = fisher_information(net, x)
    assert found.shape == (5, 3, 3) and torch.equal(found, found.mT)
    for point, matrix in zip(x, found, strict=True):
        clean = net(point[None]).detach()
        hessian = torch.autograd.functional.hessian(
            lambda r, clean=clean, point=point: losses.divergence(clean, net((point + r)[None])).sum(),
            torch.zeros(3, dtype=torch.float64),
        )
        torch.testing.assert_close(matrix, hessian, rtol=1e-8, atol=1e-12)


def test_the_direction_is_the_first_eigenvector() -> None:
    net, x = network(), logits(20, 3, seed=9, scale=1.0)
    values, vectors = torch.linalg.eigh(fisher_information(net, x))
    found = fisher_direction(net, x)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(20, dtype=torch.float64))
    torch.testing.assert_close((found * vectors[..., -1]).sum(1).abs(), torch.ones(20, dtype=torch.float64))
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all()
    assert values[:, -1].min() > 0
    torch.testing.assert_close(fisher_direction(net.float(), x.float()), found.float(), rtol=1e-3, atol=1e-3)


def test_images_keep_their_shape() -> None:
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(4, 1, 3, 3, generator=generator, dtype=torch.float64)

    def convolution(images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(images, filters).tanh().mean((2, 3))

    x = torch.randn(3, 1, 5, 5, generator=generator, dtype=torch.float64)
    matrix, direction = fisher_information(convolution, x), fisher_direction(convolution, x)
    assert matrix.shape == (3, 25, 25) and direction.shape == x.shape
    flat = direction.flatten(1)[..., None]
    top = torch.linalg.eigvalsh(matrix)[:, -1]
    torch.testing.assert_close((flat.mT @ matrix @ flat).flatten(), top)
    single = fisher_information(lambda point: torch.stack((point, -point), 1), torch.zeros(4).double())
    torch.testing.assert_close(single, torch.ones(4, 1, 1).double())


def test_the_network_stays_as_it_is() -> None:
    net, x = network(), logits(4, 3).requires_grad_()
    before = [value.clone() for value in net.state_dict().values()]
    found = fisher_information(net, x), fisher_direction(net, x)
    assert not any(each.requires_grad for each in found)
    assert x.grad is None and all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))


def test_where_nothing_changes_there_is_no_direction() -> None:
    x = logits(4, 3)
    for flat in (
        lambda points: points[:, :2] * 0,
        lambda points: points[:, :1],  # one cluster
        lambda points: points @ torch.zeros(3, 2).double() + torch.tensor([1e4, -1e4]).double(),
        lambda points: points + torch.tensor([1e4, -1e4, 0.0]).double(),
    ):
        assert (fisher_information(flat, x) == 0).all() and (fisher_direction(flat, x) == 0).all()
    assert fisher_information(network(), x[:0]).shape == (0, 3, 3)
    assert fisher_direction(network(), x[:0]).shape == (0, 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nearly_certain_prediction_still_has_a_direction(dtype: torch.dtype) -> None:
    # The least likely cluster has e^−150: less than single precision holds, but its root is not.
    offset = torch.tensor([150.0, 0.0], dtype=dtype)
    weight = torch.tensor([[1.0, 2.0, -2.0], [0.0, 0.0, 0.0]], dtype=dtype)
    found = fisher_direction(lambda points: points @ weight.T + offset, torch.zeros(1, 3, dtype=dtype))
    assert found.abs().flatten().tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3], rel=1e-5)


def test_other_functions_are_refused() -> None:
    x = logits(4, 3)
    for bad in (lambda points: points.sum(1), lambda points: points[0], lambda points: (points, points)):
        for function in (fisher_information, fisher_direction):
            with pytest.raises(ValueError, match=f"{function.__name__}: bad argument 'network_function'"):
                function(bad, x)

"""Information of bits and pairs of bits against its definition, closed forms, and saturated predictions."""

import inspect
import itertools
import math

import pytest
import torch

from toolkit.imsat import losses
from toolkit.imsat.exact import duplicated_bits, xor_bits
from toolkit.imsat.hash_losses import (
    bernoulli_divergence,
    bit_entropies,
    bit_information,
    check_logits,
    entropy_terms,
    hash_information,
    pairwise_information,
)

LOG2 = math.log(2)
DTYPES = [torch.float32, torch.float64]


def logits(*shape: int, seed: int = 0, scale: float = 2.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


def hard(*codes: str, dtype: torch.dtype = torch.float64, size: float = 1e4) -> torch.Tensor:
    """Return logits of certain bits, one point a word of 0 and 1."""
    return size * (2 * torch.tensor([[int(bit) for bit in code] for code in codes], dtype=dtype) - 1)


def entropy(probabilities: list[float]) -> float:
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def by_definition(given: torch.Tensor, bits: tuple[int, ...]) -> tuple[float, float]:
    """Return the entropy of some bits together, and their mean entropy given the point, code by code."""
    rows = [[1 / (1 + math.exp(-row[bit])) for bit in bits] for row in given.tolist()]
    joint, conditional = [], 0.0
    for code in itertools.product([0, 1], repeat=len(bits)):
        each = [math.prod(p if bit else 1 - p for p, bit in zip(row, code, strict=True)) for row in rows]
        joint.append(sum(each) / len(each))
        conditional += entropy(each) / len(each)
    return entropy(joint), conditional


def test_bits_and_pairs_are_as_defined() -> None:
    given = logits(9, 4)
    single, pairs = bit_information(given), pairwise_information(given)
    assert single.shape == (4,) and pairs.shape == (4, 4)
    for first in range(4):
        whole, conditional = by_definition(given, (first,))
        assert single[first].item() == pytest.approx(whole - conditional, rel=1e-12)
        for second in range(4):
            if first == second:
                assert pairs[first, second] == 0
                continue
            together = by_definition(given, (first, second))[0]
            alone = whole + by_definition(given, (second,))[0]
            assert pairs[first, second].item() == pytest.approx(alone - together, rel=1e-10)
    assert torch.equal(pairs, pairs.T)


@pytest.mark.parametrize("seed", range(3))
def test_two_bits_are_counted_exactly_with_a_pair_weight_of_one(seed: int) -> None:
    given = logits(6, 2, seed=seed)
    whole, conditional = by_definition(given, (0, 1))
    assert hash_information(given).item() == pytest.approx(whole - conditional, rel=1e-12)
    excess = hash_information(given) - hash_information(given, pair_weight=2.0)
    torch.testing.assert_close(excess, pairwise_information(given)[0, 1])


def test_the_weight_multiplies_each_pair_once() -> None:
    given = logits(9, 5)
    single, pairs = bit_information(given).sum(), pairwise_information(given).triu().sum()
    for weight in (0, 0.0, 1.0, 1.5, 2):
        torch.testing.assert_close(hash_information(given, weight), single - weight * pairs)
    assert hash_information(given).item() == hash_information(given, 1.0).item()


@pytest.mark.parametrize("dtype", DTYPES)
def test_closed_forms_of_certain_bits(dtype: torch.dtype) -> None:
    # Fair, constant, one in four, the first again, the first turned round.
    given = hard("01001", "00001", "11110", "10010", dtype=dtype)
    quarter = entropy([0.25, 0.75])
    expected = torch.tensor([LOG2, LOG2, quarter, LOG2, LOG2], dtype=dtype)
    torch.testing.assert_close(bit_information(given), expected)
    pairs = pairwise_information(given)
    assert pairs[0, 3].item() == pytest.approx(LOG2) and pairs[0, 4].item() == pytest.approx(LOG2)
    assert pairs[0, 1].abs() < 1e-7
    # The one point of four: H = 2 bits' joint over three outcomes (1/4, 1/4, 1/2).
    shared = LOG2 + quarter - entropy([0.25, 0.25, 0.5])
    assert pairs[0, 2].item() == pytest.approx(shared, rel=1e-6)
    assert (pairwise_information(hard("00", "00", dtype=dtype)) == 0).all()


@pytest.mark.parametrize("s", [0.5, 0.7, 0.999])
def test_closed_forms_of_two_unsure_points(s: float) -> None:
    unit = torch.logit(torch.tensor(s, dtype=torch.float64))
    given = torch.stack((unit.expand(2), -unit.expand(2)))
    alone = LOG2 - entropy([s, 1 - s])
    agree = s**2 + (1 - s) ** 2
    both = LOG2 - entropy([agree, 1 - agree])
    torch.testing.assert_close(bit_information(given), given.new_full((2,), alone))
    assert pairwise_information(given)[0, 1].item() == pytest.approx(both, abs=1e-14)
    assert hash_information(given, 2.0).item() == pytest.approx(2 * alone - 2 * both, abs=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_bits", [1, 2, 3, 5, 16])
def test_duplicated_bits_are_under_estimated_beyond_two(n_bits: int, dtype: torch.dtype) -> None:
    given = duplicated_bits(n_bits, dtype=dtype, device="cpu")
    for weight in (1.0, 2.0):
        expected = (n_bits - weight * n_bits * (n_bits - 1) / 2) * LOG2
        assert hash_information(given, weight).item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_pairs_of_an_xor_share_nothing(dtype: torch.dtype) -> None:
    given = xor_bits(dtype=dtype, device="cpu")
    assert pairwise_information(given).abs().max() < 1e-6
    for weight in (1.0, 2.0):
        assert hash_information(given, weight).item() == pytest.approx(3 * LOG2, rel=1e-6)


@pytest.mark.parametrize("n_bits", [1, 3, 16])
def test_all_codes_alike_reach_the_ceiling(n_bits: int) -> None:
    codes = (torch.arange(2**n_bits)[:, None] >> torch.arange(n_bits)) & 1
    given = 1e4 * (2 * codes.double() - 1)
    torch.testing.assert_close(bit_information(given), given.new_full((n_bits,), LOG2))
    assert hash_information(given).item() == pytest.approx(n_bits * LOG2, rel=1e-9)
    below = logits(2**n_bits, n_bits)
    assert hash_information(below).item() < n_bits * LOG2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e4, 1e30, math.inf])
def test_saturated_bits_have_a_value_and_no_gradient(size: float, dtype: torch.dtype) -> None:
    for codes in (("0110", "0101", "0011"), ("00", "11"), ("1", "1"), ("010",)):
        given = hard(*codes, dtype=dtype, size=size).requires_grad_()
        torch.testing.assert_close(hash_information(given, 2.0), hash_information(hard(*codes, dtype=dtype), 2.0))
        for found in (hash_information(given, 2.0), bit_information(given).sum(), pairwise_information(given).sum()):
            (gradient,) = torch.autograd.grad(found, given)
            assert found.isfinite() and (gradient == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_and_unsure_bits_together(dtype: torch.dtype) -> None:
    given = torch.tensor(
        [[1e4, 0.5, -1e4, 60.0], [1e4, -1.0, 1e4, -60.0], [1e4, 2.0, 0.0, -200.0]], dtype=dtype, requires_grad=True
    )
    single, pairs = bit_information(given), pairwise_information(given)
    reference = given.detach().double().clamp(-700, 700)
    for first, second in itertools.combinations(range(4), 2):
        together = by_definition(reference, (first, second))[0]
        alone = by_definition(reference, (first,))[0] + by_definition(reference, (second,))[0]
        assert pairs[first, second].item() == pytest.approx(
            alone - together, abs=2e-6 if dtype.itemsize == 4 else 1e-12
        )
    assert single[0].abs() < 1e-7
    (gradient,) = torch.autograd.grad(single.sum() - pairs.sum(), given)
    assert gradient.isfinite().all() and (gradient[:, 0] == 0).all() and (gradient[:, 1] != 0).all()


def test_gradients() -> None:
    given = torch.cat((logits(4, 3), torch.tensor([[0.0, 0.0, 30.0], [-1e4, 1e4, 0.0]], dtype=torch.float64)))
    given.requires_grad_()
    for function in (bit_information, pairwise_information, hash_information, bit_entropies):
        assert torch.autograd.gradcheck(function, given)
        assert torch.autograd.gradgradcheck(function, given)


def test_single_precision_is_close_to_double() -> None:
    given = logits(5_000, 16, scale=4.0, dtype=torch.float32)
    double = given.double()
    assert (bit_information(given) - bit_information(double)).abs().max() < 1e-6
    assert (pairwise_information(given) - pairwise_information(double)).abs().max() < 1e-6
    assert bit_information(given).dtype == pairwise_information(given).dtype == torch.float32
    # Entropies next to 0 keep their digits.
    sure = torch.tensor([20.0, -20.0, 80.0])
    torch.testing.assert_close(bit_entropies(sure).double(), bit_entropies(sure.double()), rtol=1e-6, atol=0)


def test_names_of_points_bits_and_values_do_not_matter() -> None:
    given = logits(7, 5)
    order = [3, 0, 4, 1, 2]
    torch.testing.assert_close(pairwise_information(given[:, order]), pairwise_information(given)[order][:, order])
    torch.testing.assert_close(bit_information(given[:, order]), bit_information(given)[order])
    turned = given * torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    for other in (given.flip(0), given.repeat(3, 1), turned):
        torch.testing.assert_close(pairwise_information(other), pairwise_information(given))
        torch.testing.assert_close(bit_information(other), bit_information(given))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_point_tells_nothing_and_one_bit_has_no_pair(dtype: torch.dtype) -> None:
    point = logits(1, 6, dtype=dtype)
    assert bit_information(point).abs().max() < 1e-6 and pairwise_information(point).abs().max() < 1e-6
    bit = logits(8, 1, dtype=dtype)
    assert pairwise_information(bit).tolist() == [[0]]
    torch.testing.assert_close(hash_information(bit), bit_information(bit)[0])
    same = logits(1, 6, dtype=dtype).expand(40, 6)
    assert hash_information(same).abs() < 1e-5


def test_a_bit_is_a_variable_of_two_values() -> None:
    given, moved = logits(9, 3), logits(9, 3, seed=1)
    total = torch.zeros(9, dtype=torch.float64)
    for bit in range(3):
        two, other = (torch.stack((g[:, bit], torch.zeros(9, dtype=torch.float64)), 1) for g in (given, moved))
        torch.testing.assert_close(losses.mutual_information(two), bit_information(given)[bit])
        total += losses.divergence(two, other)
    torch.testing.assert_close(bernoulli_divergence(given, moved), total)


def test_the_divergence_is_as_defined() -> None:
    clean, moved = logits(6, 3), logits(6, 3, seed=1)
    expected = []
    for first, second in zip(clean.tolist(), moved.tolist(), strict=True):
        total = 0.0
        for a, b in zip(first, second, strict=True):
            p, q = 1 / (1 + math.exp(-a)), 1 / (1 + math.exp(-b))
            total += p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        expected.append(total)
    assert bernoulli_divergence(clean, moved).tolist() == pytest.approx(expected, rel=1e-12)
    assert (bernoulli_divergence(clean, clean) == 0).all()
    torch.testing.assert_close(bernoulli_divergence(-clean, -moved), bernoulli_divergence(clean, moved))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_divergence_of_saturated_bits(dtype: torch.dtype) -> None:
    inf = math.inf
    cases = [
        (1e4, 1e4, 0.0, 0.0),
        (1e4, -1e4, 1e4, -1.0),
        (-1e4, 1e4, 1e4, 1.0),
        (-1e4, -5e3, 0.0, 0.0),
        (-1e4, 0.0, LOG2, 0.5),
        (0.0, 1e4, 5e3 - LOG2, 0.5),
        (0.0, -1e4, 5e3 - LOG2, -0.5),
        (inf, inf, 0.0, 0.0),
        (-inf, 0.0, LOG2, 0.5),
        (inf, -inf, inf, -1.0),
        (0.0, inf, inf, 0.5),
        (0.0, -inf, inf, -0.5),
    ]
    for clean, moved, value, slope in cases:
        first = torch.tensor([[clean]], dtype=dtype, requires_grad=True)
        second = torch.tensor([[moved]], dtype=dtype, requires_grad=True)
        found = bernoulli_divergence(first, second)
        assert found.item() == pytest.approx(value, rel=1e-6), (clean, moved)
        if math.isinf(value):
            continue
        back, forward = torch.autograd.grad(found.sum(), (first, second))
        assert forward.item() == pytest.approx(slope, abs=1e-6), (clean, moved)
        assert back.isfinite().all(), (clean, moved)


@pytest.mark.parametrize("size", [1e-4, 1e-2, 1.0, 8.0])
def test_small_divergences_keep_their_digits_in_single_precision(size: float) -> None:
    clean = logits(200, 1, scale=6.0, dtype=torch.float32)
    moved = clean + logits(200, 1, seed=1, scale=size, dtype=torch.float32)
    found = bernoulli_divergence(clean, moved).double()
    s, change = clean.double().sigmoid().flatten(), (moved.double() - clean.double()).flatten()
    # The series of log(1 + s(e^δ − 1)) − sδ, with an error of order δ^5; where δ is large, the definition.
    v = s * (1 - s)
    series = v * change**2 / 2 * (1 + (1 - 2 * s) * change / 3 + (1 - 6 * v) * change**2 / 12)
    p, q = torch.stack((clean, -clean)).double(), torch.stack((moved, -moved)).double()
    logsigmoid = torch.nn.functional.logsigmoid
    defined = (p.sigmoid() * (logsigmoid(p) - logsigmoid(q))).sum(0).flatten()
    expected = torch.where(change.abs() < 1e-3, series, defined)
    assert ((found - expected).abs() <= (2e-6 + 1e-6 / change.abs().clamp(min=1e-30)) * expected).all()


def test_gradients_of_the_divergence() -> None:
    clean = torch.tensor([[0.0, 1.5, -2.0, 0.0, 7.0, -1e3]], dtype=torch.float64, requires_grad=True)
    moved = torch.tensor([[0.0, 1.5, 3.0, -9.0, 6.9, 2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(bernoulli_divergence, (clean, moved))
    assert torch.autograd.gradgradcheck(bernoulli_divergence, (clean, moved))
    (gradient,) = torch.autograd.grad(bernoulli_divergence(clean, moved).sum(), moved)
    torch.testing.assert_close(gradient, moved.sigmoid() - clean.sigmoid())
    # At its minimum the second derivative is the variance of the bit.
    same = clean.detach().clone()
    hessian = torch.autograd.functional.hessian(lambda m: bernoulli_divergence(same, m).sum(), same)
    variance = (same.sigmoid() * (1 - same.sigmoid())).flatten()
    torch.testing.assert_close(hessian.reshape(6, 6), variance.diag())


@pytest.mark.parametrize("function", [bit_information, pairwise_information, hash_information])
def test_bad_logits_are_refused(function) -> None:  # type: ignore[no-untyped-def]
    for empty in (torch.zeros(0, 3), torch.zeros(3, 0), torch.zeros(0, 0)):
        with pytest.raises(ValueError, match=rf"{function.__name__}: bad argument 'logits'"):
            function(empty)
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(ValueError, match="float32 or float64"):
            function(torch.zeros(4, 3, dtype=dtype))
    for bad in (torch.zeros(4), torch.zeros(4, 3, 2), torch.zeros(4, 3, dtype=torch.long), [[0.0]]):
        with pytest.raises((ValueError, TypeError)):
            function(bad)


def test_the_check_names_what_is_wrong() -> None:
    for bad in (torch.zeros(4), torch.zeros(4, 3, 2), torch.zeros(()), torch.zeros(4, 3, dtype=torch.long)):
        with pytest.raises(ValueError, match="who: bad argument 'what'"):
            check_logits(bad, "who", "what")
    check_logits(torch.zeros(0, 3), "who", least_points=0)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_bad_weights_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="pair_weight"):
        hash_information(logits(3, 2), weight)


@pytest.mark.parametrize("weight", ["2", None, True])
def test_weights_that_are_no_numbers_are_named(weight: object) -> None:
    with pytest.raises(TypeError, match="hash_information: bad argument 'pair_weight'"):
        inspect.unwrap(hash_information)(logits(3, 2), weight)


def test_a_divergence_needs_the_same_points_twice() -> None:
    assert bernoulli_divergence(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0,)
    for bad in (torch.zeros(4, 2), torch.zeros(3, 3), torch.zeros(1, 3)):
        with pytest.raises((ValueError, TypeError)):
            bernoulli_divergence(torch.zeros(4, 3), bad)
    with pytest.raises(ValueError, match="perturbed_logits"):
        bernoulli_divergence(torch.zeros(4, 3), torch.zeros(4, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="clean_logits"):
        bernoulli_divergence(torch.zeros(4, 3).half(), torch.zeros(4, 3).half())


def test_a_number_that_is_none_shows_where_it_enters() -> None:
    given = logits(5, 3)
    given[2, 1] = math.nan
    assert bit_information(given).isnan().tolist() == [False, True, False]
    assert pairwise_information(given).isnan().tolist() == [
        [False, True, False],
        [True, False, True],
        [False, True, False],
    ]
    assert hash_information(given).isnan()
    clean = logits(5, 3)
    for found in (bernoulli_divergence(given, clean), bernoulli_divergence(clean, given)):
        assert found.isnan().tolist() == [False, False, True, False, False]
    assert bernoulli_divergence(hard("1"), torch.full((1, 1), math.nan, dtype=torch.float64)).isnan().all()


def test_the_entropy_of_nothing_is_nothing() -> None:
    given = torch.tensor([0.0, 0.5, 1.0], requires_grad=True)
    found = entropy_terms(given)
    torch.testing.assert_close(found, torch.tensor([0.0, LOG2 / 2, 0.0]))
    (gradient,) = torch.autograd.grad(found.sum(), given)
    torch.testing.assert_close(gradient, torch.tensor([0.0, LOG2 - 1, -1.0]))
    torch.testing.assert_close(bit_entropies(torch.zeros(2, 3)), torch.full((2, 3), LOG2))


def test_inputs_stay_as_they_are() -> None:
    given, moved = logits(4, 3), logits(4, 3, seed=1)
    before = given.clone(), moved.clone()
    hash_information(given)
    bernoulli_divergence(given, moved)
    assert torch.equal(given, before[0]) and torch.equal(moved, before[1])
    transposed = given.T.contiguous().T
    torch.testing.assert_close(pairwise_information(transposed), pairwise_information(given))

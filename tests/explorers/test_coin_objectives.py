"""The coins' costs are the ones the lesson states, for any leading axes, and no bit of a coupled cost acts alone."""

import math

import pytest
import torch

from toolkit.estimators.exact import exact
from toolkit.explorers.coin_objectives import BITS, coin_problem, coupled_cost, named, one_coin_cost


def by_hand(bits):
    n = len(bits)
    inner = sum(math.sin(1.3 * d) * bits[d - 1] for d in range(1, n + 1)) - 0.3
    waves = [sum(bits[d - 1] * math.sin(1.1 * d + 0.7 * j) for d in range(1, n + 1)) for j in range(1, n + 1)]
    return inner**2 + 0.5 * sum(math.tanh(wave) for wave in waves)


@pytest.mark.parametrize("n_bits", [2, 6, 12])
def test_the_cost_written_out(n_bits):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 2, (3, 4, n_bits), generator=generator).double()
    expected = torch.tensor([[by_hand(row.tolist()) for row in block] for block in values], dtype=torch.float64)
    torch.testing.assert_close(coupled_cost(values), expected)
    assert coupled_cost(values.float()).dtype == torch.float32


def test_one_coin():
    assert one_coin_cost(0.45)(torch.tensor([[0.0], [1.0]])).tolist() == pytest.approx([0.2025, 0.3025])
    batch = one_coin_cost(torch.tensor([0.1, 0.2]))(torch.zeros(5, 2, 1))
    assert batch.shape == (5, 2) and batch[0].tolist() == pytest.approx([0.01, 0.04])
    for offset in (-3.0, 0.0, 0.8):
        mean = 1 / (1 + math.exp(-offset))
        found = exact(coin_problem(1, offset, 0.3)).gradients[0]
        assert found.tolist() == pytest.approx([mean * (1 - mean) * (0.7**2 - 0.3**2)])


def test_the_twelve_coins_have_their_known_gradient():
    problem = coin_problem()
    assert problem.logits(0, None).tolist() == pytest.approx([math.cos(0.9 * d) for d in range(1, 13)])
    assert float(exact(problem).gradients[0].norm()) == pytest.approx(0.985, abs=5e-4)


@pytest.mark.parametrize("n_bits", [n for n in BITS if n > 1])
def test_the_coins_are_coupled(n_bits):
    """What a flip changes depends on the other bits: for every pair the four costs are no sum of two parts."""
    for i in range(n_bits):
        for j in range(i):
            corners = torch.zeros(2, 2, n_bits, dtype=torch.float64)
            corners[1, :, i] = corners[:, 1, j] = 1
            cost = coupled_cost(corners)
            assert abs(cost[0, 0] + cost[1, 1] - cost[0, 1] - cost[1, 0]) > 1e-6


@pytest.mark.parametrize("n_bits", [0, 17])
def test_how_many(n_bits):
    with pytest.raises(ValueError, match="n_bits"):
        coin_problem(n_bits)


def test_names():
    assert [named(n) for n in (1, 6)] == ["1 coin", "6 coupled coins"]

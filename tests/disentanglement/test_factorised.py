"""Exact scores of the ideal code under the attacks, against integrals over the codes and against each other."""

import math

import pytest
import torch
from scipy import integrate

from toolkit.disentanglement.factorised import factorised_scores, factorised_unibound
from toolkit.disentanglement.gaussian import mixture_information

SIZES = (3, 6, 10, 8, 8)


def standardised(size: int) -> torch.Tensor:
    levels = torch.arange(size, dtype=torch.float64)
    return (levels - levels.mean()) / levels.std(correction=0)


def by_quadrature(levels: list[float], deviation: float) -> float:
    """Return entropy of the mixture less entropy of the noise, by SciPy's adaptive integration over the mixture."""

    def surprise(z: float) -> float:
        density = sum(math.exp(-(((z - m) / deviation) ** 2) / 2) for m in levels)
        density /= len(levels) * deviation * math.sqrt(2 * math.pi)
        return -density * math.log(density) if density > 0 else 0.0

    low, high = min(levels) - 10 * deviation, max(levels) + 10 * deviation
    entropy = integrate.quad(surprise, low, high, points=sorted(levels), epsabs=1e-13, epsrel=1e-12, limit=500)[0]
    return entropy - math.log(2 * math.pi * math.e * deviation**2) / 2


def test_unibound_of_the_factorised_code_under_the_redundancy_attack() -> None:
    """The paper's attack on an ideal code; the values come from an independent quadrature."""
    alphas = [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
    values = factorised_unibound([standardised(size) for size in SIZES], 0.3, alphas)
    expected = [0.645861, 0.628590, 0.583240, 0.460977, 0.267528, 0.105491, 0.031283]
    assert values.tolist() == pytest.approx(expected, abs=1e-6)
    alpha = 2.0
    shares = []
    for size in SIZES:
        clean, copied = (by_quadrature(standardised(size).tolist(), s) for s in (0.3, math.hypot(0.3, 1 / alpha)))
        shares.append((clean - copied) / math.log(size))
    assert float(values[4]) == pytest.approx(sum(shares) / len(shares), abs=1e-10)


def test_parts_of_the_factorised_code_under_three_attacks() -> None:
    levels, alphas = [standardised(size) for size in (3, 5)], torch.tensor([0.5, 2.0, -2.0], dtype=torch.float64)
    clean = torch.stack([mixture_information(of, 0.4) for of in levels])
    for attack in ("redundancy", "synergy", "masked_copy"):
        scores = factorised_scores(levels, 0.4, alphas, attack)
        torch.testing.assert_close(scores.joint, clean.expand(3, 2), atol=1e-14, rtol=0)
        total = scores.unique + scores.redundant
        torch.testing.assert_close(total, scores.single, atol=1e-14, rtol=0)
        assert scores.unibound.shape == (3,) and f"{attack}, 3 strengths, 2 factors" in repr(scores)
        torch.testing.assert_close(scores.unique[1], scores.unique[2], atol=1e-14, rtol=0)
        by_hand = (scores.unique / scores.entropy).mean(-1)
        torch.testing.assert_close(scores.unibound, by_hand, atol=1e-14, rtol=0)
        assert scores.to_dict()["attack"] == attack
    redundancy, synergy, copy = (
        factorised_scores(levels, 0.4, alphas, a) for a in ("redundancy", "synergy", "masked_copy")
    )
    assert not redundancy.complementary.any() and not synergy.redundant.any()
    assert not copy.unique.any() and not copy.complementary.any()
    torch.testing.assert_close(copy.redundant, copy.joint, atol=0, rtol=0)
    assert (redundancy.unique[1] < redundancy.unique[0]).all() and (synergy.unique[1] < synergy.unique[0]).all()


def test_duality_of_redundancy_and_synergy() -> None:
    levels = [standardised(size) for size in (2, 4, 7)]
    deviations = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    alphas = torch.logspace(-2, 2, 9, dtype=torch.float64)
    redundancy = factorised_scores(levels, deviations, alphas, "redundancy")
    synergy = factorised_scores(levels, deviations, 1 / alphas, "synergy")
    torch.testing.assert_close(redundancy.unique, synergy.complementary, atol=1e-13, rtol=0)
    torch.testing.assert_close(redundancy.redundant, synergy.unique, atol=1e-13, rtol=0)
    torch.testing.assert_close(redundancy.unibound, synergy.complementarity, atol=1e-13, rtol=0)


def test_the_attack_at_its_ends() -> None:
    levels = [standardised(4), torch.zeros(1)]
    scores = factorised_scores(levels, [0.3, 0.3], [0.0, 1e9])
    clean = float(mixture_information(levels[0], 0.3)) / math.log(4)
    assert scores.unibound.tolist() == pytest.approx([clean, 0.0], abs=1e-12), "a factor of one value is left out"
    assert scores.redundancy.tolist() == pytest.approx([0.0, clean], abs=1e-12)
    certain = factorised_scores([standardised(4)], 0.0, [0.0, 1.0])
    assert float(certain.unibound[0]) == pytest.approx(1, abs=1e-14) and 0 < float(certain.unibound[1]) < 1
    for wrong in (([], 0.3, 1.0), ([[0.0]], 0.3, 1.0), (levels, [0.3, 0.3, 0.3], 1.0), (levels, 0.3, math.inf)):
        with pytest.raises(ValueError, match="factorised_scores"):
            factorised_scores(*wrong)
    with pytest.raises(ValueError, match="redundancy, synergy, masked_copy"):
        factorised_scores(levels, 0.3, 1.0, "rotation")

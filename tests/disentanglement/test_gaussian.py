"""Closed forms and quadrature against other integrals, dense Gaussians, and each other."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate

from toolkit.disentanglement.gaussian import (
    attacked_channel,
    channel_information,
    copy_noise,
    gaussian_interval,
    gaussian_mmi,
    mixture_information,
)


def standardised(size: int) -> torch.Tensor:
    levels = torch.arange(size, dtype=torch.float64)
    return (levels - levels.mean()) / levels.std(correction=0)


def by_quadrature(levels: list[float], deviation: float, weights: list[float] | None = None) -> float:
    """Return entropy of the mixture less entropy of the noise, by SciPy's adaptive integration over the mixture."""
    weights = weights or [1 / len(levels)] * len(levels)

    def density(z: float) -> float:
        parts = zip(weights, levels, strict=True)
        scale = deviation * math.sqrt(2 * math.pi)
        return sum(w * math.exp(-(((z - m) / deviation) ** 2) / 2) / scale for w, m in parts)

    def surprise(z: float) -> float:
        p = density(z)
        return -p * math.log(p) if p > 0 else 0.0

    edges = sorted({m + deviation * k for m in levels for k in range(-12, 13, 3)})
    pieces = [integrate.quad(surprise, low, high, epsabs=1e-13, epsrel=1e-12)[0] for low, high in pairwise(edges)]
    return sum(pieces) - math.log(2 * math.pi * math.e * deviation**2) / 2


@pytest.mark.parametrize("deviation", [0.01, 0.1, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("levels", [[-1.0, 1.0], [0.0, 0.1, 1.0, 1.05], standardised(6).tolist()])
def test_mixture_information_agrees_with_adaptive_integration(levels: list[float], deviation: float) -> None:
    ours = float(mixture_information(levels, deviation))
    assert ours == pytest.approx(by_quadrature(levels, deviation), abs=1e-10)


def test_mixture_information_of_unequal_values() -> None:
    weights = [0.7, 0.25, 0.05]
    for deviation in (0.2, 0.7):
        expected = by_quadrature([0.0, 1.0, 1.5], deviation, weights)
        ours = float(mixture_information([0.0, 1.0, 1.5], deviation, probabilities=weights))
        assert ours == pytest.approx(expected, abs=1e-10)
    without = mixture_information([0.0, 1.0, 99.0], [0.5, 2.0], probabilities=[0.5, 0.5, 0.0])
    torch.testing.assert_close(without, mixture_information([0.0, 1.0], [0.5, 2.0]), atol=1e-14, rtol=0)


def test_mixture_information_at_the_extremes() -> None:
    levels = standardised(5)
    deviations = torch.tensor([0.0, 5e-324, 1e-300, 1e-8, 1e8, 1e300, math.inf], dtype=torch.float64)
    values = mixture_information(levels, deviations).tolist()
    assert values[:4] == pytest.approx([math.log(5)] * 4, abs=1e-14)
    assert values[4:] == pytest.approx([0, 0, 0], abs=1e-14)
    assert mixture_information([2.0], [0.0, 1.0, math.inf]).tolist() == [0, 0, 0]
    assert mixture_information([2.0, 2.0, 2.0], [0.0, 1.0]).tolist() == [0, 0]
    # Two of three values share a level.
    assert float(mixture_information([0.0, 0.0, 1.0], 0.0)) == pytest.approx(math.log(3) - 2 / 3 * math.log(2))
    far = mixture_information([-1.7e308, 1.7e308], [1e-300, 1.0, 1e307])
    assert far.tolist() == pytest.approx([math.log(2)] * 3, abs=1e-12)
    assert float(mixture_information([1e6, 1e6 + 1], 0.5)) == pytest.approx(float(mixture_information([0.0, 1.0], 0.5)))
    assert mixture_information(levels, torch.zeros(0)).shape == (0,)


def test_a_hundred_standard_deviations_at_once_give_what_each_gives() -> None:
    deviations = torch.logspace(-3, 3, 100, dtype=torch.float64).reshape(4, 25)
    together = mixture_information(standardised(7), deviations)
    assert together.shape == (4, 25)
    alone = [float(mixture_information(standardised(7), float(d))) for d in deviations.flatten()[::11]]
    assert together.flatten()[::11].tolist() == pytest.approx(alone, abs=1e-14)
    assert (together.flatten().diff() <= 1e-14).all(), "more noise never says more"
    assert float(together.min()) >= 0 and float(together.max()) <= math.log(7)


@pytest.mark.parametrize(
    ("levels", "deviation", "probabilities"),
    [
        ([], 1.0, None), ([0.0, math.nan], 1.0, None), ([0.0, math.inf], 1.0, None), ([[0.0, 1.0]], 1.0, None),
        ([0.0, 1.0], -1.0, None), ([0.0, 1.0], math.nan, None), ([0.0, 1.0], 1.0, [1.0]),
        ([0.0, 1.0], 1.0, [0.5, 0.4]), ([0.0, 1.0], 1.0, [1.5, -0.5]),
    ],
)  # fmt: skip
def test_wrong_mixtures_are_refused(levels: list, deviation: float, probabilities: list | None) -> None:
    with pytest.raises(ValueError, match="mixture_information"):
        mixture_information(torch.tensor(levels), deviation, probabilities=probabilities)


def test_channels_of_a_gaussian_target_agree_with_the_determinant() -> None:
    for s, n, alpha in [(1.0, 0.3, 2.0), (2.0, 1.5, -0.5)]:
        t_variance = alpha**2 * (s**2 + n**2) + 1
        covariance = torch.tensor(
            [[s**2 + n**2, alpha * (s**2 + n**2), s**2], [alpha * (s**2 + n**2), t_variance, alpha * s**2],
             [s**2, alpha * s**2, s**2]], dtype=torch.float64,
        )  # fmt: skip
        matrix = covariance.numpy()

        def determinant(*axes: int, of: np.ndarray = matrix) -> float:
            return float(np.linalg.det(of[np.ix_(axes, axes)]))

        span = attacked_channel(s, n, alpha)
        for information, axes in (("information_1", (0,)), ("information_2", (1,)), ("information_joint", (0, 1))):
            expected = math.log(determinant(*axes) * determinant(2) / determinant(*axes, 2)) / 2
            assert float(getattr(span, information)) == pytest.approx(expected, abs=1e-12)
            assert float(getattr(gaussian_interval(covariance), information)) == pytest.approx(expected, abs=1e-12)
        assert float(span.width) == pytest.approx(0, abs=1e-15)
        by_formula = 0.5 * math.log1p(alpha**2 * s**2 / (alpha**2 * n**2 + 1))
        assert float(span.redundant.lower) == pytest.approx(by_formula, abs=1e-14)


def test_channels_at_the_extremes() -> None:
    values = channel_information([0.0, 0.0, 1.0, 1.0, 1e300, 1.0], [0.0, 1.0, 0.0, math.inf, 1e-300, 1e-9])
    assert values[:2].tolist() == [0, 0] and float(values[2]) == math.inf and float(values[3]) == 0
    assert float(values[5]) == pytest.approx(9 * math.log(10), abs=1e-9)
    ends = attacked_channel(1.0, 0.3, [0.0, 1e12])
    assert ends.information_2.tolist() == pytest.approx([0, 0.5 * math.log1p(1 / 0.09)], abs=1e-12)
    assert copy_noise(0.3, [0.0, 1e200]).tolist() == [math.inf, 0.3]
    for wrong in ((-1.0, 1.0), (1.0, -1.0), (math.nan, 1.0), (math.inf, 1.0)):
        with pytest.raises(ValueError, match="channel_information"):
            channel_information(*wrong)
    with pytest.raises(ValueError, match="attacked_channel"):
        attacked_channel(1.0, 0.0, 1.0)


def random_covariance(seed: int, d: int, n: int = 1) -> torch.Tensor:
    factor = torch.randn(n, d, d + 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return factor @ factor.mT


def test_several_coordinates_agree_with_determinants() -> None:
    covariances = random_covariance(0, 5, 6)
    span = gaussian_interval(covariances, n_source_1=2)
    assert span.width.shape == (6,)
    for row, covariance in enumerate(covariances.numpy()):
        for information, axes in (
            ("information_1", [0, 1]),
            ("information_2", [2, 3]),
            ("information_joint", [0, 1, 2, 3]),
        ):
            inside, both = covariance[np.ix_(axes, axes)], covariance[np.ix_([*axes, 4], [*axes, 4])]
            expected = math.log(np.linalg.det(inside) * covariance[4, 4] / np.linalg.det(both)) / 2
            assert float(getattr(span, information)[row]) == pytest.approx(expected, abs=1e-10)
    parts = gaussian_mmi(covariances, n_source_1=2)
    torch.testing.assert_close(parts.redundant, torch.minimum(span.information_1, span.information_2), atol=0, rtol=0)
    total = parts.redundant + parts.unique_1 + parts.unique_2 + parts.complementary
    torch.testing.assert_close(total, span.information_joint, atol=1e-13, rtol=0)
    assert min(float(getattr(parts, p).min()) for p in ("redundant", "unique_1", "unique_2", "complementary")) >= 0


def test_units_copies_and_constants_in_a_covariance() -> None:
    covariance = random_covariance(1, 3)[0]
    expected = gaussian_interval(covariance)
    units = torch.tensor([1e-150, 1e100, -3.0], dtype=torch.float64)
    scaled = gaussian_interval(covariance * units[:, None] * units)
    assert float(scaled.information_joint) == pytest.approx(float(expected.information_joint), abs=1e-10)
    copied = covariance[[0, 0, 2]][:, [0, 0, 2]]
    span = gaussian_interval(copied)
    assert float(span.information_joint) == pytest.approx(float(span.information_1), abs=1e-12)
    assert float(span.redundant.lower) == pytest.approx(float(expected.information_1), abs=1e-12)
    constant = covariance.clone()
    constant[1] = constant[:, 1] = 0
    assert float(gaussian_interval(constant).information_2) == 0
    no_target = covariance.clone()
    no_target[2] = no_target[:, 2] = 0
    assert float(gaussian_interval(no_target).information_joint) == 0


@pytest.mark.parametrize(
    ("covariance", "n_source_1", "complaint"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 1, "n_source_1"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 1, "shape"),
        ([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 1, "symmetric"),
        ([[1.0, 0.9, 0.9], [0.9, 1.0, -0.9], [0.9, -0.9, 1.0]], 1, "eigenvalue"),
        ([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]], 1, "determine"),
        ([[math.nan, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 1, "NaN"),
        ([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 1, "variances"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 2, "n_source_1"),
    ],
)
def test_what_is_no_covariance_is_refused(covariance: list, n_source_1: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        gaussian_mmi(torch.tensor(covariance), n_source_1=n_source_1)

"""Disentanglement on a GPU: informations, attacks, I_min and intervals are the CPU's, up to rounding."""

import pytest
import torch

from toolkit.disentanglement import informations, profile, synthetic_codes
from toolkit.disentanglement.attacks import MaskedCopy, Mixing, NoisedCopy, Redundancy, Synergy
from toolkit.disentanglement.bootstrap import bootstrap
from toolkit.disentanglement.codes import GaussianCodes
from toolkit.disentanglement.entropies import entropy_informations
from toolkit.disentanglement.fixed_draws import FixedDraws
from toolkit.disentanglement.i_min_of_codes import i_min_of_codes

DEVICES = [
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
    "cpu",
]
ATTACKS = [None, Redundancy(1.0), MaskedCopy(0.5), Synergy(0.7), Mixing(0.3), Mixing(1), NoisedCopy(1, 0.4)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def codes_with_categories(device: str, dtype: torch.dtype) -> GaussianCodes:
    plain = synthetic_codes((3, 4, 5), device="cpu", dtype=torch.float64)
    log_prob = torch.randn(60, 3, generator=generator(), dtype=torch.float64).log_softmax(1)
    both = GaussianCodes(plain.mean, plain.standard_deviation, plain.factors, plain.factor_sizes, (log_prob,))
    return both.to(device, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_informations(attack, dtype, device: str):
    found = []
    for where in ("cpu", device):
        codes = codes_with_categories(where, dtype)
        attacked = attack(codes) if attack else codes
        found.append(informations(attacked, n_samples=200, generator=generator(1), dtype=dtype))
    here, there = found
    assert there.posteriors.device.type == device
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(there.posteriors.cpu(), here.posteriors, rtol=0, atol=tolerance)
    assert profile(there).unibound == pytest.approx(profile(here).unibound, abs=tolerance)
    torch.testing.assert_close(i_min_of_codes(there).redundant.cpu(), i_min_of_codes(here).redundant, rtol=0, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_points_of_an_attacked_code(attack, device: str):
    points = []
    for where in ("cpu", device):
        codes = codes_with_categories(where, torch.float64)
        points.append((attack(codes) if attack else codes).sample(30, generator=generator(2)))
    assert points[1].points.device.type == device
    torch.testing.assert_close(points[1].points.cpu(), points[0].points)
    assert torch.equal(points[1].factors.cpu(), points[0].factors)


@pytest.mark.parametrize("device", DEVICES)
def test_intervals(device: str):
    found = [
        bootstrap(
            informations(codes_with_categories(where, torch.float64), n_samples=200, generator=generator(3)),
            generator=generator(4),
        )
        for where in ("cpu", device)
    ]
    for name, here in found[0].scores.items():
        for end in ("estimate", "lower", "upper", "standard_error"):
            assert float(getattr(found[1][name], end)) == pytest.approx(float(getattr(here, end)), abs=1e-5), name


@pytest.mark.parametrize("device", DEVICES)
def test_draws_that_are_kept(device: str):
    scores = []
    for where in ("cpu", device):
        codes = codes_with_categories(where, torch.float64)
        draws = FixedDraws(codes, n_samples=100, generator=generator(5))
        scores.append([profile(draws.informations(Redundancy(alpha)(codes))).unibound for alpha in (0.5, 1.0)])
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("attack", [None, Redundancy(1.0)])
def test_the_authors_estimator(attack, device: str):
    found = []
    for where in ("cpu", device):
        codes = codes_with_categories(where, torch.float64)
        found.append(entropy_informations(attack(codes) if attack else codes, generator=generator(6)))
    for name in ("single", "without", "joint"):
        there, here = getattr(found[1], name), getattr(found[0], name)
        assert there.device.type == device
        torch.testing.assert_close(there.cpu(), here, rtol=0, atol=1e-9)

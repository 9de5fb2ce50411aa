"""Recorded accuracies are drawn as they are; a weak attack is unmasked; a bound is one."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.explorers.made_attacks import CLEAN, RIGHT, N, errors_of, made_models, made_transfer
from toolkit.adversarial.attacks.gradient import PGD
from toolkit.adversarial.evaluation import accuracy
from toolkit.explorers import robust_accuracy
from toolkit.explorers.clothes import Clothes
from toolkit.explorers.robust_accuracy import (
    BOUND,
    CERTIFIED_AT,
    NOISE,
    RobustAccuracy,
    describe,
    draw,
    explore_robust_accuracy,
    read_fates,
)


def test_curves_are_the_record_s():
    fates = read_fates(made_models(seeds=(0, 1, 2)), made_transfer(seeds=(0, 1)))
    assert set(fates) == set(CLEAN)
    for (name, attack), values in RIGHT.items():
        curve = fates[name].curves[attack]
        assert curve.epsilons == (0, *values)
        expected = np.array([CLEAN[name], *values.values()])
        np.testing.assert_allclose(curve.high, expected, atol=1e-12)
        np.testing.assert_allclose(curve.mean, expected - 0.02, atol=1e-12)
        np.testing.assert_allclose(curve.low, expected - 0.04, atol=1e-12)
    noise = fates["lenet"].curves[NOISE]
    expected = [1 - (errors_of(NOISE, 16, "", "lenet") + 0.5) / N] * 2
    assert noise.epsilons == (0, 16, 32) and noise.mean[1:] == pytest.approx(expected)
    assert NOISE not in fates["denoiser-logits"].curves, "the other study has no denoisers"


def test_noise_of_other_networks_is_left_out():
    for transfer in (None, made_transfer(data="fashion_mnist"), made_transfer(cast="laptop")):
        assert NOISE not in read_fates(made_models(), transfer)["lenet"].curves


def test_gaps():
    fates = read_fates(made_models())
    assert fates["lenet-masked"].gap == pytest.approx((0.85, 32))
    assert fates["lenet"].gap == pytest.approx((0.15, 16)), "AutoAttack is stronger than PGD there"
    assert fates["resnet-adv"].gap == pytest.approx((0.0, 32))
    assert fates["denoiser-logits"].gap is None, "only one step was tried"


def test_what_was_not_measured_is_said():
    fates = read_fates(made_models(), made_transfer())
    lenet, denoiser = fates["lenet"], fates["denoiser-logits"]
    assert "Not measured for it: noise" in describe(RobustAccuracy((denoiser, lenet), 32, ""))
    assert "Not measured" not in describe(RobustAccuracy((lenet, lenet), 32, ""))
    assert denoiser.title in draw(RobustAccuracy((denoiser, lenet), 32, "")).to_string(), "not cut off"


def test_view_says_what_it_shows():
    view = explore_robust_accuracy([made_models(seeds=(0, 1)), made_transfer()])
    assert view.error is None and view.values() == {"left": "lenet-masked", "right": "resnet-adv"}
    text = draw(view.result).to_string()
    assert "the left network by 85 points, the right one not at all" in text
    for words in ("FGSM 59 % at 16, 89 % at 32", "PGD 29 % at 16, 4 % at 32", "AutoAttack 3 % at 16", "first 20"):
        assert words in view.text
    assert "Certified" not in view.text and BOUND not in text, "these networks do not ship"
    for name in CLEAN:
        view.controls["right"].value = name
        assert view.error is None
    view.controls["left"].value = view.controls["right"].value
    assert view.error is None and view.text.count("right on clean images") == 1


def test_nothing_stronger_is_said():
    fates = read_fates(made_models())
    found = RobustAccuracy((fates["denoiser-logits"], fates["lenet"]), 32, "")
    assert "nothing stronger was tried on the left one" in draw(found).to_string()


def test_without_a_record_the_view_says_how_to_make_one():
    view = explore_robust_accuracy([made_transfer()])
    assert view.error is None and "python -m toolkit run adversarial-models" in view.text
    assert all(control.disabled for control in view.controls.values())
    assert "not recorded" in view.result.__repr__()


def test_an_unknown_network_is_an_error():
    view = explore_robust_accuracy([made_models()])
    with pytest.raises(ValueError, match="right"):
        view.compute("lenet", "vgg")


@pytest.fixture
def small(monkeypatch):
    """Put a small network and images in the place of those that ship."""
    generator = torch.Generator().manual_seed(0)
    layer, last = nn.Linear(16, 12, dtype=torch.float64), nn.Linear(12, 3, dtype=torch.float64)
    for part in (layer, last):
        part.weight.data = torch.randn(part.weight.shape, generator=generator, dtype=torch.float64)
        part.bias.data.zero_()
    model = nn.Sequential(nn.Flatten(), layer, nn.ReLU(), last).eval()
    images = torch.rand(60, 1, 4, 4, generator=generator, dtype=torch.float64)
    some = Clothes(images, model(images).argmax(1), ("a", "b", "c"))
    monkeypatch.setattr(robust_accuracy, "network", lambda name: model)
    monkeypatch.setattr(robust_accuracy, "clothes", lambda: some)
    robust_accuracy.certified_curve.cache_clear()
    yield model, some
    robust_accuracy.certified_curve.cache_clear()


def test_no_attack_comes_below_the_bound(small):
    model, some = small
    curve = robust_accuracy.certified_curve("lenet")
    assert curve.mean[0] == 1.0 and list(curve.mean) == sorted(curve.mean, reverse=True)
    assert curve.epsilons == CERTIFIED_AT[: len(curve.mean)] and curve.at(CERTIFIED_AT[1]) == curve.mean[1]
    images, labels = some.images[:40], some.labels[:40]
    for level, bound in zip(curve.epsilons[1:], curve.mean[1:], strict=True):
        changed = PGD(n_steps=20)(model, images, labels, epsilon=level / 255, generator=torch.Generator())
        assert accuracy(model, changed, labels) >= bound


def test_the_bound_is_shown_for_networks_that_ship(small):
    record = made_models(data="fashion_mnist", cast="laptop")
    view = explore_robust_accuracy([record])
    assert view.error is None and BOUND in view.result.fates[0].curves
    assert "Certified for" in view.text and "Certified: computed here" in view.text
    view.controls["left"].value = "denoiser-logits"
    assert BOUND not in view.result.fates[0].curves, "there is no rule for it"
    assert BOUND in draw(view.result).to_string()
    assert describe(view.result) == view.text

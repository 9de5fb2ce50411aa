"""Attacks, ensembles and certified bounds on a GPU: the CPU's numbers, up to rounding."""

import pytest
import torch
import torch.nn.functional as F

from toolkit.adversarial.attacks.gradient import (
    BIM,
    FGSM,
    MIFGSM,
    PGD,
    IterativeTarget,
    StepLeastLikely,
    TargetedMIFGSM,
)
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.evaluation import accuracy, attack_in_batches, predict, robust_accuracy
from toolkit.adversarial.exact import LinearClassifier, certified_accuracy, certified_bounds, certified_margins
from toolkit.adversarial.models import FAMILIES, classifier

DEVICES = [
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
    "cpu",
]
ATTACKS = [
    FGSM(),
    StepLeastLikely(),
    BIM(n_steps=4),
    IterativeTarget(n_steps=4),
    PGD(n_steps=4, restarts=2),
    PGD(n_steps=4, norm="l2"),
    MIFGSM(n_steps=4),
    TargetedMIFGSM(n_steps=4),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(name: str, device: str, seed: int = 0) -> torch.nn.Module:
    model = classifier(name, (1, 8, 8), 5, width=0.5, generator=generator(seed), dtype=torch.float64)
    return model.eval().to(device)


def batch(device: str, n: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    g = generator(1)
    images, labels = torch.rand(n, 1, 8, 8, generator=g, dtype=torch.float64), torch.randint(5, (n,), generator=g)
    return images.to(device), labels.to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_attacks(attack, device: str):
    found = []
    for where in ("cpu", device):
        images, labels = batch(where)
        epsilon = torch.linspace(0.0, 0.3, 10, device=where)
        moved = attack(network("lenet", where), images, labels, epsilon=epsilon, generator=generator(2))
        assert moved.device.type == where and not moved.requires_grad
        found.append(moved.cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_and_its_gradients(name, device: str):
    found = []
    for where in ("cpu", device):
        images, labels = batch(where)
        at = images.requires_grad_()
        logits = network(name, where)(at)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels), at)
        found.append((logits.detach().cpu(), gradient.cpu()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("fuse", ["logits", "probabilities", "loss"])
def test_ensembles(fuse, device: str):
    found = []
    for where in ("cpu", device):
        images, labels = batch(where)
        members = [network(name, where, seed) for seed, name in enumerate(FAMILIES[:3])]
        dropped = {"drop_above": 1.5} if fuse == "loss" else {}
        ensemble = Ensemble(members, [1.0, 2.0, 3.0], fuse=fuse, **dropped).to(where)
        moved = MIFGSM(n_steps=3)(ensemble, images, labels, epsilon=0.1)
        found.append((ensemble(images).detach().cpu(), ensemble.losses(images, labels).detach().cpu(), moved.cpu()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_labels_and_epsilons_may_lie_elsewhere(device: str):
    images, labels = batch(device)
    model = network("resnet", device)
    expected = BIM(n_steps=3)(model, images, labels, epsilon=torch.full((10,), 0.1, device=device))
    found = BIM(n_steps=3)(model, images, labels.cpu(), epsilon=torch.full((10,), 0.1))
    torch.testing.assert_close(found, expected)
    whole = attack_in_batches(BIM(n_steps=3), model, images, labels.cpu(), epsilon=torch.tensor(0.1), batch_size=4)
    torch.testing.assert_close(whole, expected, rtol=1e-8, atol=1e-9)
    assert predict(model, images, batch_size=3).device == images.device
    assert accuracy(model, images, predict(model, images).cpu()) == 1


@pytest.mark.parametrize("device", DEVICES)
def test_accuracies(device: str):
    curves = []
    for where in ("cpu", device):
        images, labels = batch(where, 40)
        model = network("vgg", where)
        curves.append(robust_accuracy(model, images, labels, FGSM(), [0.0, 0.05, 0.3]))
    assert curves[0] == curves[1]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FAMILIES)
def test_certified_bounds(name, device: str):
    found = []
    for where in ("cpu", device):
        images, labels = batch(where)
        model = network(name, where)
        bounds = certified_bounds(model, images, torch.linspace(0, 0.1, 10, device=where))
        margins = certified_margins(model, images, labels.cpu(), 0.001)
        assert bounds.lower.device.type == margins.device.type == where
        found.append((bounds.lower.cpu(), bounds.upper.cpu(), margins.cpu()))
        assert 0 <= certified_accuracy(model, images, labels, 0.001) <= 1
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_linear_classifiers(norm, device: str):
    g = generator(3)
    weight, bias = torch.randn(5, 1, 8, 8, generator=g), torch.randn(5, generator=g)
    found = []
    for where in ("cpu", device):
        images, labels = batch(where)
        model = LinearClassifier(weight.to(where), bias.to(where))
        worst = model.worst_images(images, labels, 0.2, norm=norm)
        assert worst.device.type == where
        found.append((model.margins(images, labels, 0.2, norm=norm), model.distances(images, labels, norm=norm), worst))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other.cpu(), one.cpu(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("device", DEVICES)
def test_the_generators_of_the_device_are_left_alone(device: str):
    state = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
    images, labels = batch(device)
    for attack in ATTACKS:
        attack(network("dilated", device), images, labels, epsilon=0.1)
    after = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
    assert torch.equal(after, state)

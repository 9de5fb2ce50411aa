"""The denoiser: its objective by finite differences, what it leaves alone, resuming, and what guides are good for."""

import threading

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from toolkit.adversarial.attacks.gradient import BIM, FGSM
from toolkit.adversarial.denoiser import Denoised, Denoiser, craft_mixture, layer_errors, train_denoiser
from toolkit.adversarial.evaluation import accuracy
from toolkit.adversarial.models import classifier
from toolkit.adversarial.training import train_classifier
from toolkit.adversarial.unet import UNet

GUIDES = ("pixels", "features", "logits", "class")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)


@pytest.fixture(scope="module")
def target(digits):
    """A classifier of digits that errs under attack, with batch normalisation."""
    model = classifier("vgg", (1, 8, 8), width=0.5, generator=seeded())
    train_classifier(model, digits[0][:1200], digits[1][:1200], epochs=4, learning_rate=1e-2, generator=seeded())
    return model


def small(seed=0, dtype=None):
    return Denoiser(UNet(1, (6, 8), generator=seeded(seed), dtype=dtype))


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


class Linear(nn.Module):
    """Two layers of known weights, the first of them the features."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(16, 5, bias=False, dtype=torch.float64)
        self.second = nn.Linear(5, 3, bias=False, dtype=torch.float64)
        with torch.no_grad():
            for layer in (self.first, self.second):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=seeded(4), dtype=torch.float64))

    def features(self, images):
        return self.first(images.flatten(1))

    def forward(self, images):
        return self.second(self.features(images))


class Scale(nn.Module):
    """Noise that is a multiple of the image: one parameter."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))

    def forward(self, images):
        return self.value * images


def objective(guide, model, value, clean, changed, labels):
    """Eq. 13 in loops, the mean over images and entries."""
    if guide == "class":
        losses = []
        for image, label in zip(changed, labels, strict=True):
            logits = model((image - value * image)[None])[0]
            losses.append(float((logits.exp().sum().log() - logits[label]).detach()))
        return sum(losses) / len(losses)
    see = {"pixels": lambda image: image, "features": model.features, "logits": model}[guide]
    differences = []
    for image, other in zip(clean, changed, strict=True):
        differences += [abs(v) for v in (see((other - value * other)[None]) - see(image[None])).flatten().tolist()]
    return sum(differences) / len(differences)


@pytest.mark.parametrize("guide", GUIDES)
def test_loss_and_first_step_are_those_of_the_objective(guide):
    clean = torch.rand(6, 1, 4, 4, dtype=torch.float64, generator=seeded())
    changed = (clean + 0.2 * torch.rand(clean.shape, dtype=torch.float64, generator=seeded(1))).clamp(0, 1)
    labels, model, denoiser = torch.tensor([0, 1, 2, 0, 1, 2]), Linear(), Denoiser(Scale(0.3))
    gradients = []
    denoiser.unet.value.register_hook(lambda gradient: gradients.append(float(gradient)))
    history = train_denoiser(
        denoiser, model, clean, changed, guide=guide, labels=labels, epochs=1, batch_size=6, generator=seeded()
    )
    settings = (clean, changed, labels)
    assert history["loss"][0] == pytest.approx(objective(guide, model, 0.3, *settings), rel=1e-10)
    step = 1e-6
    slope = (objective(guide, model, 0.3 + step, *settings) - objective(guide, model, 0.3 - step, *settings)) / 2 / step
    assert gradients == [pytest.approx(slope, rel=1e-5)]


def test_noise_is_subtracted_and_a_fresh_denoiser_changes_nothing(digits, target):
    images = digits[0][:5]
    assert torch.equal(Denoiser(Scale(0.25))(images.double()), 0.75 * images.double())
    assert torch.equal(small().eval()(images), images)
    assert torch.equal(Denoised(small().eval(), target)(images), target(images))
    assert Denoiser().eval()(images[:0]).shape == (0, 1, 8, 8)


def test_denoised_classifier_can_be_attacked_and_trains_as_its_parts(digits, target):
    defended = Denoised(small().eval(), target)
    assert not defended.training
    attacked = FGSM()(defended, digits[0][:4], digits[1][:4], epsilon=0.1)
    assert torch.equal(attacked, FGSM()(target, digits[0][:4], digits[1][:4], epsilon=0.1))
    assert Denoised(small(), target).training
    target.eval()


@pytest.mark.parametrize("guide", GUIDES)
def test_the_classifier_stays_as_it_was(digits, target, guide):
    clean, labels = digits[0][:64], digits[1][:64]
    changed = FGSM()(target, clean, labels, epsilon=0.2)
    before, denoiser = state_of(target), small()
    started = state_of(denoiser)
    part = next(layer for layer in target.modules() if isinstance(layer, nn.BatchNorm2d))
    part.train()
    train_denoiser(denoiser, target, clean, changed, guide=guide, labels=labels, epochs=2, generator=seeded())
    assert same(before, state_of(target))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in target.parameters())
    assert part.training and not target.training
    part.eval()
    assert not denoiser.training and not same(started, state_of(denoiser))


def stop_after(n_checks):
    class Stop(threading.Event):
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > n_checks

    return Stop()


def test_resumed_training_equals_an_uninterrupted_one(digits, target, tmp_path):
    clean = digits[0][:100]
    changed = FGSM()(target, clean, epsilon=0.2)
    whole, broken, fresh = small(), small(), small(5)
    settings = {"epochs": 2, "batch_size": 32, "checkpoint": None}
    train_denoiser(whole, target, clean, changed, generator=seeded(1), **settings)
    settings["checkpoint"] = tmp_path / "run.pt"
    first = train_denoiser(broken, target, clean, changed, generator=seeded(1), stop=stop_after(3), **settings)
    assert first.interrupted and first.n_steps == 3
    train_denoiser(fresh, target, clean, changed, generator=seeded(8), **settings)
    assert same(state_of(whole), state_of(fresh))


def test_the_logit_guide_repairs_logits_and_the_pixel_guide_pixels(digits, target):
    images, labels = digits
    changed = BIM(n_steps=3)(target, images, labels, epsilon=0.2)
    found = {}
    for guide in ("pixels", "logits"):
        denoiser = Denoiser(UNet(1, (8, 12), generator=seeded()))
        history = train_denoiser(
            denoiser, target, images[:1200], changed[:1200], guide=guide, epochs=6, generator=seeded()
        )
        assert history["loss"][-5:].mean() < history["loss"][0]
        with torch.no_grad():
            cleaned = denoiser(changed[1200:])
            logits = (target(cleaned) - target(images[1200:])).abs().mean()
        found[guide] = (
            float((cleaned - images[1200:]).abs().mean()),
            float(logits),
            accuracy(Denoised(denoiser, target), changed[1200:], labels[1200:]),
        )
    undefended = accuracy(target, changed[1200:], labels[1200:])
    assert found["logits"][1] < found["pixels"][1], found
    assert found["pixels"][0] < 0.8 * found["logits"][0], found
    assert found["logits"][2] > undefended + 0.3, (found, undefended)
    assert found["logits"][2] > found["pixels"][2] + 0.1, found


def test_integers_train_as_the_floats_they_stand_for(digits, target):
    clean = (digits[0][:40] * 255).round().to(torch.uint8)
    changed = (clean.float() + 20).clamp(max=255).to(torch.uint8)
    first, second = small(), small()
    train_denoiser(first, target, clean, changed, epochs=1, generator=seeded())
    train_denoiser(second, target, clean / 255, changed / 255, epochs=1, generator=seeded())
    assert same(state_of(first), state_of(second))


def test_pixels_need_no_classifier(digits):
    train_denoiser(small(), None, digits[0][:20], digits[0][:20], guide="pixels", epochs=1, generator=seeded())


def test_bad_arguments_are_named(digits, target):
    clean = digits[0][:4]
    for change, name in (
        ({"adversarial": clean[:3]}, "adversarial"),
        ({"adversarial": clean + 1}, "adversarial"),
        ({"clean": clean * float("nan")}, "clean"),
        ({"guide": "class"}, "labels"),
        ({"model": None}, "model"),
        ({"model": nn.Flatten(), "guide": "features"}, "features"),
        ({"epochs": -1}, "epochs"),
        ({"learning_rate": 0.0}, "learning_rate"),
    ):
        arguments = {"model": target, "clean": clean, "adversarial": clean, **change}
        with pytest.raises(Exception, match=name):
            train_denoiser(small(), **arguments)


class TestMixture:
    def test_each_image_is_attacked_by_one_member_with_one_epsilon(self, digits, target):
        images, labels = 0.4 + 0.2 * digits[0][:200], digits[1][:200]
        other = classifier("lenet", (1, 8, 8), generator=seeded(3)).eval()
        members, epsilons = [(FGSM(), target), (FGSM(), other), (BIM(n_steps=2), target)], (0.05, 0.1)
        mixed = craft_mixture(members, images, labels, epsilons=epsilons, generator=seeded())
        counts = torch.zeros(3, 2)
        possible = {
            (kind, size): attack(model, images, labels, epsilon=epsilon)
            for kind, (attack, model) in enumerate(members)
            for size, epsilon in enumerate(epsilons)
        }
        for index, image in enumerate(mixed):
            fits = [key for key, made in possible.items() if torch.allclose(made[index], image, atol=1e-6)]
            assert fits
            counts[fits[0]] += 1
        assert (counts > 10).all()
        again = craft_mixture(members, images, labels, epsilons=epsilons, generator=seeded(), batch_size=7)
        torch.testing.assert_close(mixed, again, rtol=0, atol=1e-6)

    def test_extremes(self, digits, target):
        none = craft_mixture([(FGSM(), target)], digits[0][:0], epsilons=[0.1])
        assert none.shape == (0, 1, 8, 8)
        images = digits[0][:3]
        assert torch.equal(craft_mixture([(FGSM(), target)], images, epsilons=[0.0]), images)
        with pytest.raises(ValueError, match="members"):
            craft_mixture([], images, epsilons=[0.1])
        with pytest.raises(ValueError, match="epsilons"):
            craft_mixture([(FGSM(), target)], images, epsilons=[])


class TestLayerErrors:
    def test_of_linear_layers(self):
        model = Linear()
        clean = torch.rand(5, 1, 4, 4, dtype=torch.float64, generator=seeded())
        changed = torch.rand(5, 1, 4, 4, dtype=torch.float64, generator=seeded(1))
        found = layer_errors(model, clean, changed, batch_size=2)
        assert found.names == ("input", "first", "second")
        for error, see in zip(found.errors, (lambda images: images, model.features, model), strict=True):
            expected = (see(changed) - see(clean)).abs().sum() / see(clean).abs().sum()
            assert error == pytest.approx(float(expected.detach()), rel=1e-10)
        assert not model.first._forward_hooks
        assert found.to_dict()["names"] == found.names

    def test_an_attack_grows_from_layer_to_layer_and_noise_does_not(self, digits, target):
        images, labels = digits[0][1200:], digits[1][1200:]
        attacked = FGSM()(target, images, labels, epsilon=0.1)
        signs = torch.randn(images.shape, generator=seeded()).sign()
        noisy = (images + 0.1 * signs).clamp(0, 1)
        attack, noise = layer_errors(target, images, attacked), layer_errors(target, images, noisy)
        assert attack.errors[0] == pytest.approx(noise.errors[0], rel=0.2)
        assert attack.errors[-1] > 1.5 * noise.errors[-1]
        assert attack.errors[-1] > attack.errors[0]

    def test_rectifiers_in_place_and_nothing_to_divide_by(self):
        model = nn.Sequential(nn.Flatten(), nn.Identity(), nn.ReLU(inplace=True)).train()
        clean, changed = -torch.ones(2, 1, 2, 2), -2 * torch.ones(2, 1, 2, 2)
        found = layer_errors(model, clean, changed)
        assert found.errors[:3] == (1.0, 1.0, 1.0)
        assert found.errors[3] != found.errors[3]
        assert model.training
        with pytest.raises(Exception, match="changed"):
            layer_errors(model, clean, changed[:1])

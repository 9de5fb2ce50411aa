"""The attack network: its bound, its maps, its losses, what training leaves alone, and that it fools."""

import threading

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.adversarial.attacks.network import (
    AttackNetwork,
    NetworkAttack,
    attack_losses,
    chosen_maps,
    train_attack_network,
)
from toolkit.adversarial.evaluation import accuracy, attack_in_batches
from toolkit.adversarial.models import classifier
from toolkit.adversarial.training import train_classifier

EPSILONS = (0.05, 0.1, 0.2)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)


@pytest.fixture(scope="module")
def models(digits):
    found = []
    for name in ("lenet", "vgg"):
        model = classifier(name, (1, 8, 8), width=0.5, generator=seeded())
        train_classifier(model, digits[0][:1200], digits[1][:1200], epochs=4, learning_rate=1e-2, generator=seeded())
        found.append(model)
    return found


def small(hints=None, epsilons=EPSILONS, seed=0, scale=0.0, channels=1):
    network = AttackNetwork(epsilons, channels, (6, 8), hints=hints, generator=seeded(seed)).eval()
    with torch.no_grad():
        last = network.unet.last.weight
        last.copy_(scale * torch.randn(last.shape, generator=seeded(seed + 1)))
    return network


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("scale", [0.1, 1e6])
def test_no_map_is_larger_than_its_epsilon(digits, scale):
    network = small(scale=scale, channels=3, epsilons=(0.2, 0.05, 0.1))
    assert network.epsilons == EPSILONS
    maps = network(digits[0][:7].expand(-1, 3, -1, -1))
    assert maps.shape == (7, 3, 3, 8, 8)
    largest = maps.abs().amax((0, 2, 3, 4))
    assert (largest <= torch.tensor(EPSILONS)).all()
    if scale > 1:
        assert torch.equal(largest, torch.tensor(EPSILONS))
    assert (largest > 0).all()


def test_a_fresh_network_changes_nothing(digits, models):
    network = AttackNetwork(EPSILONS)
    attacked = NetworkAttack(network)(models[0], digits[0][:4], epsilon=0.1)
    assert torch.equal(attacked, digits[0][:4])
    assert network.training


def test_epsilon_is_taken_down_to_one_of_the_network(digits):
    network = small()
    given = torch.tensor([0.0, 0.01, 0.05, 0.07, 0.1, 0.19999, 0.2, 5.0])
    assert network.closest(given).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]
    of_255 = AttackNetwork([n / 255 for n in range(4, 17)])
    for dtype in (torch.float32, torch.float64):
        assert of_255.closest(torch.arange(4, 17, dtype=dtype) / 255).tolist() == list(range(13))
        assert of_255.closest(torch.tensor([8.5 / 255, 3 / 255, 100 / 255], dtype=dtype)).tolist() == [4, 0, 12]


def test_each_image_gets_the_map_of_its_epsilon_within_the_ball(digits, models):
    images, network = 0.3 + 0.4 * digits[0][:5], small(scale=3.0)
    epsilon = torch.tensor([0.05, 0.07, 0.2, 0.5, 0.01])
    attacked = NetworkAttack(network)(models[0], images, epsilon=epsilon)
    with torch.no_grad():
        maps = network(images)
    expected = torch.stack([maps[row, number] for row, number in enumerate((0, 0, 2, 2, 0))])
    expected[4] = expected[4].clamp(-0.01, 0.01)
    torch.testing.assert_close(attacked, images + expected, rtol=0, atol=1e-6)
    alone = [NetworkAttack(network)(models[0], images[i : i + 1], epsilon=float(epsilon[i])) for i in range(5)]
    torch.testing.assert_close(attacked, torch.cat(alone), rtol=0, atol=1e-5)
    assert NetworkAttack(network)(models[0], images[:0], epsilon=0.1).shape == (0, 1, 8, 8)
    assert torch.equal(NetworkAttack(network)(models[0], images, epsilon=0.0), images)


@pytest.mark.parametrize("hints", ["sign", "scaled"])
def test_hints_are_gradients_of_the_hint_model(digits, models, hints):
    images, labels, network = digits[0][:6], digits[1][:6], small(hints, scale=3.0)
    at = images.clone().requires_grad_()
    (gradients,) = torch.autograd.grad(F.cross_entropy(models[1](at), labels, reduction="sum"), at)
    if hints == "sign":
        given = gradients.sign()
    else:
        given = torch.stack([gradient / gradient.abs().mean() for gradient in gradients])
    with torch.no_grad():
        maps = torch.tanh(network.unet(torch.cat([images, given], 1)))
    expected = (images + 0.2 * maps[:, 2:]).clamp(0, 1)
    found = NetworkAttack(network, models[1])(models[0], images, labels, epsilon=0.2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(NetworkAttack(network)(models[1], images, labels, epsilon=0.2), found)
    assert all(parameter.grad is None for parameter in models[1].parameters())


def test_a_hint_without_gradient_gives_finite_perturbations(digits):
    class Constant(nn.Module):
        def forward(self, images):
            return 0 * images.flatten(1)[:, :10]

    for hints in ("sign", "scaled"):
        attacked = NetworkAttack(small(hints, scale=3.0))(Constant().eval(), digits[0][:3], epsilon=0.1)
        assert attacked.isfinite().all()


def test_what_does_not_fit_is_refused(digits, models):
    images = digits[0][:3]
    with pytest.raises(ValueError, match="gradients"):
        small()(images, images)
    with pytest.raises(ValueError, match="gradients"):
        small("sign")(images)
    with pytest.raises(ValueError, match="targets"):
        NetworkAttack(small())(models[0], images, epsilon=0.1, targets=digits[1][:3])
    for epsilons in ([], [0.0, 0.1], [0.1, 0.1], [float("inf")], [float("nan")]):
        with pytest.raises(ValueError, match="epsilons"):
            AttackNetwork(epsilons)
    labels = digits[1][:3]
    for change, name in (
        ({"models": []}, "models"),
        ({"hint_model": models[0]}, "hint_model"),
        ({"network": small("sign")}, "hint_model"),
        ({"labels": labels + 8}, "labels"),
        ({"images": 2 * images}, "images"),
        ({"batch_size": 0}, "batch_size"),
    ):
        arguments = {"network": small(), "models": models, "images": images, "labels": labels, **change}
        with pytest.raises(Exception, match=name):
            train_attack_network(**arguments)


def test_losses_are_their_definitions_and_do_not_overflow():
    logits = torch.randn(20, 5, dtype=torch.float64, generator=seeded())
    labels = torch.randint(5, (20,), generator=seeded(1))
    own = logits.softmax(1)[torch.arange(20), labels]
    torch.testing.assert_close(attack_losses(logits, labels, "bounded"), -torch.log(1 - own))
    torch.testing.assert_close(attack_losses(logits, labels, "cross-entropy"), torch.log(own))
    extreme = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    losses = attack_losses(extreme, torch.tensor([0, 0]), "bounded")
    assert losses.tolist() == [2e4, 0.0]
    losses.sum().backward()
    assert extreme.grad.isfinite().all()


class Steep(nn.Module):
    """Logits that are linear in the mean of an image."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope, dtype=torch.float64))

    def forward(self, images):
        mean = images.flatten(1).mean(1)
        return torch.stack([self.slope * mean, 0.3 * mean.square(), -mean], 1)


@pytest.mark.parametrize("loss", ["bounded", "cross-entropy"])
def test_loss_and_gradient_are_those_of_the_objective(loss):
    images = 0.3 + 0.4 * torch.rand(4, 1, 4, 4, dtype=torch.float64, generator=seeded())
    labels, targets = torch.tensor([0, 1, 2, 0]), [Steep(1.5), Steep(-2.0)]
    network = AttackNetwork([0.1], 1, (3,), hints=None, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        last = network.unet.last.weight
        last.copy_(torch.randn(last.shape, generator=seeded(2), dtype=torch.float64))
    start = last.detach().clone()
    reference = AttackNetwork([0.1], 1, (3,), hints=None, generator=seeded(), dtype=torch.float64).train()

    def objective(weight):
        with torch.no_grad():
            reference.unet.last.weight.copy_(weight)
            attacked = images + reference(images)[:, 0]
            total = 0.0
            for model in targets:
                for row, label in zip(model(attacked).softmax(1), labels, strict=True):
                    total += float(row[label].log() if loss == "cross-entropy" else -(1 - row[label]).log()) / 4
        return total

    gradients = []
    last.register_hook(lambda gradient: gradients.append(gradient.clone()))
    history = train_attack_network(network, targets, images, labels, loss=loss, epochs=1, batch_size=4)
    assert history["loss"][0] == pytest.approx(objective(start), rel=1e-9)
    for index in range(3):
        step = torch.zeros_like(start)
        step[0, index] = 1e-6
        slope = (objective(start + step) - objective(start - step)) / 2e-6
        assert float(gradients[0][0, index, 0, 0]) == pytest.approx(slope, rel=1e-4, abs=1e-8)


def stop_after(n_checks):
    class Stop(threading.Event):
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > n_checks

    return Stop()


def test_resumed_training_equals_an_uninterrupted_one(digits, models, tmp_path):
    images, labels = digits[0][:100], digits[1][:100]
    whole, broken, fresh = small("sign"), small("sign"), small("sign", seed=5)
    settings = {"hint_model": models[0], "epochs": 2, "batch_size": 32}
    train_attack_network(whole, models, images, labels, generator=seeded(1), **settings)
    settings["checkpoint"] = tmp_path / "run.pt"
    first = train_attack_network(broken, models, images, labels, generator=seeded(1), stop=stop_after(3), **settings)
    assert first.interrupted and first.n_steps == 3
    train_attack_network(fresh, models, images, labels, generator=seeded(8), **settings)
    assert same(state_of(whole), state_of(fresh))


def test_the_models_stay_as_they_were(digits, models):
    before = [state_of(model) for model in models]
    part = next(layer for layer in models[1].modules() if isinstance(layer, nn.BatchNorm2d))
    part.train()
    network = small("scaled")
    started = state_of(network)
    train_attack_network(
        network, models, digits[0][:64], digits[1][:64], hint_model=models[1], epochs=1, generator=seeded()
    )
    assert all(same(state_of(model), state) for model, state in zip(models, before, strict=True))
    assert all(p.requires_grad and p.grad is None for model in models for p in model.parameters())
    assert part.training and not models[1].training and not network.training
    part.eval()
    assert not same(started, state_of(network))


def test_it_fools_all_models_at_every_epsilon(digits, models):
    images, labels = digits
    network = small("sign")
    history = train_attack_network(
        network, models, images[:1200], labels[:1200], hint_model=models[0], epochs=4, generator=seeded()
    )
    assert history["loss"][-10:].mean() < 0.75 * history["loss"][:10].mean()
    assert history["error"][-10:].mean() > history["error"][:10].mean() + 0.2
    images, labels, attack = images[1200:], labels[1200:], NetworkAttack(network, models[0])
    found = {}
    for epsilon in EPSILONS:
        attacked = attack_in_batches(attack, models[0], images, epsilon=epsilon)
        assert (attacked - images).abs().max() <= epsilon + 1e-6
        stepped = attack_in_batches(FGSM(), models[0], images, epsilon=epsilon)
        found[epsilon] = [accuracy(model, tried, labels) for model in models for tried in (images, attacked, stepped)]
    for clean, attacked, stepped in (found[0.2][:3], found[0.2][3:]):
        assert attacked < clean - 0.3, found
        assert attacked < stepped + 0.1, found
    assert found[0.2][1] < found[0.1][1] < found[0.05][1]


def test_chosen_maps():
    maps = torch.arange(12.0).view(2, 3, 1, 1, 2)
    assert chosen_maps(maps, torch.tensor([2, 0])).flatten().tolist() == [4, 5, 6, 7]

"""The gradient attacks beside torchattacks, Foolbox and ART on Fashion-MNIST: the same images, the same accuracies.

The full test set where it is at hand, else the bundled images; what is not installed is skipped.
"""

from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM, PGD
from toolkit.adversarial.evaluation import accuracy, attack_in_batches
from toolkit.adversarial.models import classifier
from toolkit.datasets import DatasetUnavailable, load

EPSILON, STEPS = 16 / 255, 10
STEP = EPSILON / STEPS
BATCH = 256
"""A power of two: dividing a loss by it, as some do, then changes no rounding."""


@dataclass(frozen=True)
class FromPoints(PGD):
    """PGD from given points."""

    points: Tensor = field(default_factory=lambda: torch.zeros(0))

    def start(self, task):
        return task.project(self.points)


@dataclass(frozen=True)
class Setting:
    model: nn.Module
    images: Tensor
    labels: Tensor
    found: dict[str, Tensor] = field(default_factory=dict)

    def ours(self, name: str) -> Tensor:
        """Attack once for all peers."""
        if name not in self.found:
            attack, images, labels = RULES[name][0], self.images, self.labels
            self.found[name] = attack_in_batches(attack, self.model, images, labels, epsilon=EPSILON, batch_size=BATCH)
        return self.found[name]

    def started(self, points: Tensor) -> Tensor:
        attack = FromPoints(n_steps=STEPS, relative_step=0.25, points=points)
        return attack(self.model, self.images, self.labels, epsilon=EPSILON)

    def points(self) -> Tensor:
        drawn = torch.rand(self.images.shape, generator=torch.Generator().manual_seed(7))
        return (self.images + EPSILON * (2 * drawn - 1)).clamp(0, 1)


@pytest.fixture(scope="module")
def setting() -> Setting:
    """A small network after some seconds of training, and up to 1,024 images it has not seen."""
    try:
        data = load("fashion_mnist", variant="full")
    except DatasetUnavailable:
        data = load("fashion_mnist")
    generator = torch.Generator().manual_seed(0)
    model = classifier("strided", width=0.15, generator=generator)
    images = data.train.images[:2000].float()[:, None] / 255
    labels = data.train.labels[:2000]
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(3):
        for chosen in torch.randperm(2000, generator=generator).split(50):
            adam.zero_grad()
            F.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            adam.step()
    unseen = data.test.images[:1024].float()[:, None] / 255
    found = Setting(model.eval(), unseen, data.test.labels[:1024])
    assert accuracy(found.model, found.images, found.labels) > 0.7
    return found


def same(setting: Setting, ours: Tensor, theirs: Tensor, *, share: float = 0.995) -> None:
    """Assert that images and accuracies agree; what is within an ulp or two of a sign change may differ."""
    differing = ((ours - theirs).flatten(1).abs().amax(1) > 1e-6).double().mean()
    assert differing <= 1 - share
    here, there = (accuracy(setting.model, images, setting.labels) for images in (ours, theirs))
    assert abs(here - there) <= 0.001
    assert here < accuracy(setting.model, setting.images, setting.labels) - 0.1


RULES = {
    "FGSM": (FGSM(), 1.0),
    "BIM": (BIM(n_steps=STEPS), 0.995),
    "PGD": (PGD(n_steps=STEPS, relative_step=0.25, random_start=False), 0.995),
    "MI-FGSM": (MIFGSM(n_steps=STEPS), 0.995),
}


@pytest.mark.parametrize("name", RULES)
def test_torchattacks(name, setting):
    peer = pytest.importorskip("torchattacks")
    theirs = {
        "FGSM": lambda: peer.FGSM(setting.model, eps=EPSILON),
        "BIM": lambda: peer.BIM(setting.model, eps=EPSILON, alpha=STEP, steps=STEPS),
        "PGD": lambda: peer.PGD(setting.model, eps=EPSILON, alpha=EPSILON / 4, steps=STEPS, random_start=False),
        "MI-FGSM": lambda: peer.MIFGSM(setting.model, eps=EPSILON, alpha=STEP, steps=STEPS, decay=1.0),
    }[name]()
    pairs = zip(setting.images.split(BATCH), setting.labels.split(BATCH), strict=True)
    same(setting, setting.ours(name), torch.cat([theirs(*pair) for pair in pairs]), share=RULES[name][1])


@pytest.mark.parametrize("name", ["FGSM", "BIM", "PGD"])
def test_foolbox(name, setting):
    foolbox = pytest.importorskip("foolbox")
    bounded = foolbox.PyTorchModel(setting.model, bounds=(0, 1), device="cpu")
    attacks = foolbox.attacks
    theirs = {
        "FGSM": lambda: attacks.FGSM(random_start=False),
        "BIM": lambda: attacks.LinfBasicIterativeAttack(abs_stepsize=STEP, steps=STEPS, random_start=False),
        "PGD": lambda: attacks.LinfPGD(abs_stepsize=EPSILON / 4, steps=STEPS, random_start=False),
    }[name]()
    _, found, _ = theirs(bounded, setting.images, setting.labels, epsilons=EPSILON)
    same(setting, setting.ours(name), found, share=RULES[name][1])


def test_foolbox_from_the_same_start(setting):
    foolbox = pytest.importorskip("foolbox")
    bounded = foolbox.PyTorchModel(setting.model, bounds=(0, 1), device="cpu")
    points = setting.points()

    class Started(foolbox.attacks.LinfPGD):
        def get_random_start(self, x0, epsilon):
            return type(x0)(points)

    theirs = Started(abs_stepsize=EPSILON / 4, steps=STEPS, random_start=True)
    _, found, _ = theirs(bounded, setting.images, setting.labels, epsilons=EPSILON)
    same(setting, setting.started(points), found)


def test_foolboxs_momentum_is_another_rule(setting):
    """It sums up signs of gradients where the paper sums up gradients divided by their L1 norms."""
    foolbox = pytest.importorskip("foolbox")
    rule = getattr(foolbox.attacks, "LinfMomentumIterativeFastGradientMethod", None)
    if rule is None:
        pytest.skip("this foolbox has no momentum attack")
    bounded = foolbox.PyTorchModel(setting.model, bounds=(0, 1), device="cpu")
    theirs = rule(momentum=1.0, abs_stepsize=STEP, steps=STEPS, random_start=False)
    _, found, _ = theirs(bounded, setting.images[:250], setting.labels[:250], epsilons=EPSILON)

    @dataclass(frozen=True)
    class SumOfSigns(MIFGSM):
        def direction(self, gradient, memory):
            total = gradient.sign() if memory is None else gradient.sign() + self.momentum * memory
            return total.sign(), total

    of_signs, of_gradients = (
        attack(setting.model, setting.images[:250], setting.labels[:250], epsilon=EPSILON)
        for attack in (SumOfSigns(n_steps=STEPS), MIFGSM(n_steps=STEPS))
    )
    differing = [((ours - found).flatten(1).abs().amax(1) > 1e-6).double().mean() for ours in (of_signs, of_gradients)]
    assert differing[0] <= 0.005
    assert differing[1] > 0.9


@pytest.mark.parametrize("name", RULES)
def test_art(name, setting):
    pytest.importorskip("art")
    from art.attacks import evasion
    from art.estimators.classification import PyTorchClassifier

    wrapped = PyTorchClassifier(
        setting.model, nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    settings = {"eps": EPSILON, "eps_step": STEP, "max_iter": STEPS, "batch_size": BATCH}
    theirs = {
        "FGSM": lambda: evasion.FastGradientMethod(wrapped, eps=EPSILON, batch_size=BATCH),
        "BIM": lambda: evasion.BasicIterativeMethod(wrapped, verbose=False, **settings),
        "PGD": lambda: evasion.ProjectedGradientDescentPyTorch(
            wrapped, verbose=False, num_random_init=0, **settings | {"eps_step": EPSILON / 4}
        ),
        "MI-FGSM": lambda: evasion.MomentumIterativeMethod(wrapped, decay=1.0, verbose=False, **settings),
    }[name]()
    found = torch.as_tensor(theirs.generate(setting.images.numpy(), setting.labels.numpy()))
    setting.model.eval()
    same(setting, setting.ours(name), found, share=RULES[name][1])


def test_torchattacks_from_the_same_start(setting, monkeypatch):
    peer = pytest.importorskip("torchattacks")
    points = setting.points()

    class Drawn(torch.Tensor):
        def uniform_(self, low, high):
            return (points - setting.images).as_subclass(torch.Tensor)

    theirs = peer.PGD(setting.model, eps=EPSILON, alpha=EPSILON / 4, steps=STEPS, random_start=True)
    monkeypatch.setattr(torch, "empty_like", lambda like: like.as_subclass(Drawn))
    found = theirs(setting.images, setting.labels)
    monkeypatch.undo()
    same(setting, setting.started(points), found)


def test_where_a_gradient_vanished_once_torchattacks_stops_for_good():
    """Why momentum is divided by one where it would be divided by zero."""
    peer = pytest.importorskip("torchattacks")

    class Silent(nn.Module):
        """A linear model whose first gradient is zero."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
            self.calls = 0

        def forward(self, images):
            self.calls += images.requires_grad
            return (images.flatten(1) * (self.calls > 1)) @ self.weight

    images, labels = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    theirs = peer.MIFGSM(Silent().eval(), eps=0.1, alpha=0.05, steps=2)(images, labels)
    ours = MIFGSM(n_steps=2)(Silent().eval(), images, labels, epsilon=0.1)
    torch.testing.assert_close(ours, torch.tensor([[[[0.45, 0.55]]]]))
    assert not torch.allclose(theirs, ours), "torchattacks has become right: say so in the README"

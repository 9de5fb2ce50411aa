"""Signed-gradient attacks against loops over single images, closed forms, and the identities between them."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from toolkit.adversarial.attacks.gradient import (
    BIM,
    FGSM,
    MIFGSM,
    PGD,
    IterativeTarget,
    StepLeastLikely,
    TargetedMIFGSM,
)
from toolkit.adversarial.exact import LinearClassifier
from toolkit.adversarial.models import FAMILIES, classifier

DETERMINISTIC = [
    FGSM(),
    StepLeastLikely(),
    BIM(n_steps=4),
    IterativeTarget(n_steps=4),
    PGD(n_steps=4, random_start=False),
    MIFGSM(n_steps=4),
    TargetedMIFGSM(n_steps=4),
    FGSM(norm="l2"),
    BIM(n_steps=4, norm="l2"),
    MIFGSM(n_steps=4, norm="l2"),
]
EVERY = [*DETERMINISTIC, PGD(n_steps=4), PGD(n_steps=3, restarts=2), PGD(n_steps=4, norm="l2")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Module:
    return classifier("lenet", (1, 8, 8), 5, width=0.4, generator=generator(seed), dtype=dtype).eval()


def batch(n: int = 8, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    g = generator(seed)
    images = torch.rand(n, 1, 8, 8, generator=g, dtype=dtype)
    if n:
        images[0, 0, :2] = torch.arange(16.0).view(2, 8).to(dtype) % 2  # pixels on both sides of the box
    return images, torch.randint(5, (n,), generator=g)


def by_hand(model, image, label: int, epsilon: float, n_steps: int, rule: str, step=None, momentum=1.0, aim=False):
    """One image, NumPy between the gradients, the formulas as they are printed."""
    sign = -1.0 if aim else 1.0
    step = epsilon / n_steps if step is None else step
    x0 = image.numpy()
    x, g = x0.copy(), np.zeros_like(x0)
    for _ in range(n_steps):
        at = torch.tensor(x[None], requires_grad=True)
        loss = F.cross_entropy(model(at), torch.tensor([label]))
        d = torch.autograd.grad(loss, at)[0][0].numpy()
        if rule == "bim":
            move = np.sign(d)
        elif rule == "momentum":
            g = momentum * g + d / np.abs(d).sum()
            move = np.sign(g)
        else:
            # The targeted rule descends on the loss of the target; rounding is odd, so either sign of g will do.
            g = momentum * g + d / d.std()
            move = np.clip(np.round(g), -2, 2)
        x = np.clip(x + sign * step * move, np.maximum(x0 - epsilon, 0), np.minimum(x0 + epsilon, 1))
    return torch.tensor(x)


@pytest.mark.parametrize("aim", [False, True])
@pytest.mark.parametrize(
    ("attack", "rule"),
    [(FGSM(), "bim"), (BIM(n_steps=5), "bim"), (MIFGSM(n_steps=5), "momentum"), (TargetedMIFGSM(n_steps=5), "rounded")],
)
def test_every_image_moves_as_by_hand(attack, rule, aim):
    model = network()
    images, labels = batch()
    found = attack(model, images, labels, epsilon=0.1, targets=labels if aim else None)
    for i in range(8):
        expected = by_hand(model, images[i], int(labels[i]), 0.1, attack.n_steps, rule, aim=aim)
        torch.testing.assert_close(found[i], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 1.0, 2.0])
def test_momentum_is_the_one_asked_for(momentum):
    model = network()
    images, labels = batch(3)
    found = MIFGSM(n_steps=6, momentum=momentum)(model, images, labels, epsilon=0.2)
    for i in range(3):
        expected = by_hand(model, images[i], int(labels[i]), 0.2, 6, "momentum", momentum=momentum)
        torch.testing.assert_close(found[i], expected, atol=1e-12, rtol=0)


def test_the_size_of_a_step_in_either_unit():
    model = network()
    images, labels = batch(3)
    relative = BIM(n_steps=3, relative_step=0.5)(model, images, labels, epsilon=0.1)
    torch.testing.assert_close(BIM(n_steps=3, step_size=0.05)(model, images, labels, epsilon=0.1), relative)
    torch.testing.assert_close(
        relative[2], by_hand(model, images[2], int(labels[2]), 0.1, 3, "bim", step=0.05), atol=1e-12, rtol=0
    )
    still = BIM(n_steps=3, step_size=0.0)(model, images, labels, epsilon=0.1)
    assert torch.equal(still, images)


# Identities


def test_one_step_is_fgsm():
    model = network()
    images, labels = batch()
    one = FGSM()(model, images, labels, epsilon=0.1)
    for attack in (BIM(n_steps=1), MIFGSM(n_steps=1), PGD(n_steps=1, relative_step=1.0, random_start=False)):
        assert torch.equal(attack(model, images, labels, epsilon=0.1), one)
    aimed = IterativeTarget(n_steps=1)(model, images, epsilon=0.1)
    assert torch.equal(aimed, StepLeastLikely()(model, images, epsilon=0.1))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_momentum_mi_fgsm_is_bim(norm):
    model = network()
    images, labels = batch()
    plain = BIM(n_steps=7, norm=norm)(model, images, labels, epsilon=0.1)
    found = MIFGSM(n_steps=7, momentum=0.0, norm=norm)(model, images, labels, epsilon=0.1)
    torch.testing.assert_close(found, plain, atol=1e-12, rtol=0)


def test_on_a_linear_model_of_two_classes_all_of_them_are_fgsm():
    weight = torch.randn(2, 1, 4, 4, generator=generator(), dtype=torch.float64)
    model = LinearClassifier(weight, torch.zeros(2, dtype=torch.float64))
    images = torch.rand(20, 1, 4, 4, generator=generator(1), dtype=torch.float64)
    labels = model(images).argmax(1)
    one = FGSM()(model, images, labels, epsilon=0.07)
    torch.testing.assert_close(one, model.worst_images(images, labels, 0.07))
    for attack in (BIM(n_steps=9), MIFGSM(n_steps=9), PGD(n_steps=9)):
        torch.testing.assert_close(attack(model, images, labels, epsilon=0.07, generator=generator()), one)
    worst = model.worst_images(images, labels, 0.5, norm="l2")
    far = BIM(n_steps=300, relative_step=0.05, norm="l2")(model, images, labels, epsilon=0.5)
    found, best = (model.margins(x.clamp(0, 1), labels).amin(1) for x in (far, worst))
    assert (found >= best - 1e-12).all()
    torch.testing.assert_close(found, best, atol=0.02, rtol=0)


def test_pixels_without_weight_do_not_move():
    weight = torch.randn(4, 1, 4, 4, generator=generator(), dtype=torch.float64)
    weight[:, 0, 1] = 0
    model = LinearClassifier(weight, torch.zeros(4, dtype=torch.float64))
    images = torch.rand(5, 1, 4, 4, generator=generator(1), dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3, 0])
    for attack in DETERMINISTIC:
        aimed = None if not attack.accepts_targets else (labels + 1) % 4
        for targets in {None: None, "aimed": aimed}.values():
            found = attack(model, images, labels, epsilon=0.3, targets=targets)
            assert torch.equal(found[:, 0, 1], images[:, 0, 1]), attack
            assert not torch.equal(found[:, 0, 0], images[:, 0, 0]), attack


@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_no_epsilon_no_change(attack):
    images, labels = batch()
    found = attack(network(), images, labels, epsilon=0.0, generator=generator())
    assert torch.equal(found, images)
    assert found.data_ptr() != images.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_nothing_leaves_the_ball_or_the_box(attack, dtype):
    model = network(dtype=dtype)
    images, labels = batch(dtype=dtype)
    epsilon = torch.tensor([0.0, 1e-6, 0.01, 0.1, 0.5, 1.0, 3.0, 100.0])
    found = attack(model, images, labels, epsilon=epsilon, generator=generator())
    assert found.dtype == dtype and found.shape == images.shape and not found.requires_grad
    change = (found - images).flatten(1)
    length = change.abs().amax(1) if attack.norm == "linf" else change.norm(dim=1)
    assert (length <= epsilon.to(dtype) * (1 + 1e-5) + 1e-7).all()
    assert found.min() >= 0 and found.max() <= 1
    assert found.isfinite().all()
    assert (length[3:] > 0.05).all()


@pytest.mark.parametrize(
    ("attack", "name"),
    [*((attack, "lenet") for attack in DETERMINISTIC), *((MIFGSM(n_steps=4), name) for name in FAMILIES[1:])],
)
def test_a_batch_is_its_images_one_by_one(attack, name):
    model = classifier(name, (1, 8, 8), 5, width=0.3, generator=generator(), dtype=torch.float64).eval()
    images, labels = batch()
    epsilon = torch.linspace(0.01, 0.3, 8)
    whole = attack(model, images, labels, epsilon=epsilon)
    for i in range(8):
        one = attack(model, images[i : i + 1], labels[i : i + 1], epsilon=float(epsilon[i]))
        torch.testing.assert_close(whole[i : i + 1], one, atol=1e-7, rtol=0)
    shuffled = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    again = attack(model, images[shuffled], labels[shuffled], epsilon=epsilon[shuffled])
    torch.testing.assert_close(again, whole[shuffled], atol=1e-7, rtol=0)


# Targets


def test_the_least_likely_class_is_the_target():
    model = network()
    images, labels = batch()
    least = model(images).argmin(1)
    for attack, plain in ((StepLeastLikely(), FGSM()), (IterativeTarget(n_steps=4), BIM(n_steps=4))):
        expected = plain(model, images, epsilon=0.1, targets=least)
        assert torch.equal(attack(model, images, epsilon=0.1), expected)
        assert torch.equal(attack(model, images, labels, epsilon=0.1), expected)
    other = (least + 1) % 5
    assert torch.equal(
        IterativeTarget(n_steps=4)(model, images, epsilon=0.1, targets=other),
        BIM(n_steps=4)(model, images, epsilon=0.1, targets=other),
    )


def test_targets_come_nearer_and_labels_go_farther():
    model = network()
    images, labels = batch(20)
    for attack in (FGSM(), BIM(), PGD(n_steps=10), MIFGSM(), TargetedMIFGSM()):
        aimed = attack(model, images, epsilon=0.1, targets=labels, generator=generator())
        left = attack(model, images, labels, epsilon=0.1, generator=generator())
        near, clean, far = (F.cross_entropy(model(x), labels) for x in (aimed, images, left))
        assert near < clean < far, attack


# PGD


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_starts_anywhere_in_the_ball(norm):
    flat = LinearClassifier(torch.zeros(2, 1, 8, 8), torch.zeros(2))
    images = torch.full((400, 1, 8, 8), 0.5)
    start = PGD(n_steps=1, norm=norm)(flat, images, epsilon=0.2, generator=generator())
    change = (start - images).flatten(1)
    if norm == "linf":
        assert change.abs().max() <= 0.2 + 1e-6
        torch.testing.assert_close(change.mean(), torch.tensor(0.0), atol=0.004, rtol=0)
        torch.testing.assert_close(change.std(), torch.tensor(0.2 / 3**0.5), atol=0.003, rtol=0)
    else:
        share = (change.norm(dim=1) / 0.2) ** 64  # of the volume, uniform on [0, 1]
        assert change.norm(dim=1).max() <= 0.2 + 1e-6
        torch.testing.assert_close(share.mean(), torch.tensor(0.5), atol=0.06, rtol=0)


def test_pgd_depends_on_its_generator_alone():
    model = network()
    images, labels = batch()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, same = (PGD(n_steps=3)(model, images, labels, epsilon=0.1, generator=generator(5)) for _ in range(2))
    other = PGD(n_steps=3)(model, images, labels, epsilon=0.1, generator=generator(6))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert not torch.equal(*(PGD(n_steps=1)(model, images, labels, epsilon=0.1) for _ in range(2)))
    assert torch.equal(torch.get_rng_state(), state)


def test_restarts_keep_the_highest_loss_of_each_image():
    model = network()
    images, labels = batch(20)
    drawing = generator(2)
    runs = [PGD(n_steps=2)(model, images, labels, epsilon=0.3, generator=drawing) for _ in range(3)]
    losses = torch.stack([F.cross_entropy(model(run), labels, reduction="none") for run in runs])
    assert len(losses.argmax(0).unique()) > 1
    found = PGD(n_steps=2, restarts=3)(model, images, labels, epsilon=0.3, generator=generator(2))
    torch.testing.assert_close(F.cross_entropy(model(found), labels, reduction="none"), losses.amax(0))


# Where gradients vanish


class Vanishing(nn.Module):
    """A linear classifier that is flat for images darker than a threshold, and in some of its calls."""

    def __init__(self, threshold: float = -1.0, silent_calls: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, generator=generator(8), dtype=torch.float64))
        self.threshold, self.silent_calls, self.calls = threshold, silent_calls, 0
        self.eval()

    def forward(self, images):
        self.calls += images.requires_grad
        x = images.flatten(1)
        seen = (x.detach().mean(1, keepdim=True) > self.threshold).to(x)
        loud = 0.0 if self.calls in self.silent_calls else 1.0
        return (x * seen * loud) @ self.weight.T


@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_images_without_a_gradient_stay_and_the_others_do_not_notice(attack):
    images = torch.stack([torch.full((1, 2, 2), value, dtype=torch.float64) for value in (0.1, 0.7)])
    labels = torch.tensor([0, 0])
    attack = dataclasses.replace(attack, random_start=False) if isinstance(attack, PGD) else attack
    found = attack(Vanishing(0.4), images, labels, epsilon=0.05)
    assert found.isfinite().all()
    assert torch.equal(found[0], images[0])
    assert not torch.equal(found[1], images[1])
    torch.testing.assert_close(found[1:], attack(Vanishing(0.4), images[1:], labels[1:], epsilon=0.05))


@pytest.mark.parametrize(("rule", "norm"), [(MIFGSM, "linf"), (MIFGSM, "l2"), (TargetedMIFGSM, "linf")])
def test_an_image_whose_gradient_vanished_once_moves_on(rule, norm):
    images, labels = torch.full((2, 1, 2, 2), 0.5, dtype=torch.float64), torch.tensor([0, 1])

    def change(n_steps: int, *silent_calls: int) -> torch.Tensor:
        attack = rule(n_steps=n_steps, relative_step=0.2, norm=norm)
        return attack(Vanishing(silent_calls=silent_calls), images, labels, epsilon=0.1) - images

    one = change(1)
    assert (one != 0).flatten(1).any(1).all()
    torch.testing.assert_close(change(2, 1), one)  # the second step is then the first that moves
    torch.testing.assert_close(change(2, 2), 2 * one)  # and here the momentum of the first goes on


@pytest.mark.parametrize("scale", [1e4, 1e30, 1e-30, 1e-42])
@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_saturated_and_minute_logits_give_finite_images(attack, scale):
    weight = scale * torch.randn(3, 1, 2, 2, generator=generator())
    images = torch.rand(6, 1, 2, 2, generator=generator(1))
    model = LinearClassifier(weight, torch.zeros(3))
    found = attack(model, images, torch.tensor([0, 1, 2, 0, 1, 2]), epsilon=0.1, generator=generator())
    assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1
    assert ((found - images).flatten(1).norm(dim=1) <= 0.2 + 1e-6).all()


@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_a_model_that_answers_nan_gives_finite_images(attack):
    images, labels = batch()
    model = network()
    found = attack(lambda x: model(x) * float("nan"), images, labels, epsilon=0.1, generator=generator())
    assert found.isfinite().all() and (found - images).abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize("attack", EVERY, ids=str)
def test_one_class_one_pixel_no_images(attack):
    single = LinearClassifier(torch.ones(1, 1, 1, 1), torch.zeros(1))
    images, labels = torch.full((2, 1, 1, 1), 0.4), torch.zeros(2, dtype=torch.int64)
    found = attack(single, images, labels, epsilon=0.1, generator=generator())
    assert (found - images).abs().max() <= 0.1 + 1e-6
    pixel = LinearClassifier(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1), torch.zeros(2))
    found = attack(pixel, images, labels, epsilon=0.1, generator=generator())
    assert found.isfinite().all()
    images, labels = batch(0)
    for given in (labels, None):
        found = attack(network(), images, given, epsilon=0.1, generator=generator())
        assert found.shape == (0, 1, 8, 8) and found.dtype == torch.float64
    assert len(attack(network(), images, labels, epsilon=torch.zeros(0))) == 0

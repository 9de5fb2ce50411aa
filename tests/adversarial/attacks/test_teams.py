import pytest
import torch
import torch.nn.functional as F

from tests.adversarial.attacks.nets import Flat, Linear, grey, held_out, seeded, trained
from toolkit.adversarial.attacks.gradient import FGSM, IterativeTarget
from toolkit.adversarial.attacks.teams import LogMargin, TanhAdam
from toolkit.adversarial.ensembles import Ensemble

ATTACKS = [LogMargin(n_steps=4), TanhAdam(n_steps=6)]


@pytest.mark.parametrize("targeted", [False, True])
def test_log_margin_is_the_loop_written_out(targeted):
    models, (images, labels) = [trained(), trained("strided")], held_out(8)
    goal = (labels + 1) % 10 if targeted else labels
    found = LogMargin(n_steps=3)(
        Ensemble(models).eval(), images, labels, epsilon=0.1, targets=goal if targeted else None
    )
    at = images
    for _ in range(3):
        leaf = at.clone().requires_grad_()
        p = sum(model(leaf).softmax(1).gather(1, goal[:, None])[:, 0] for model in models)
        (p + 0.01).log().sum().backward()
        at = (at + (0.02 if targeted else -0.02) * leaf.grad.sign()).clamp(
            (images - 0.1).clamp(min=0), (images + 0.1).clamp(max=1)
        )
    assert ((found - at).abs().flatten(1).amax(1) < 1e-6).float().mean() >= 0.9


def test_one_step_of_log_margin_with_one_model_goes_as_fgsm():
    model, (images, labels) = trained(), held_out(20)
    logits = model(images)
    sure = logits.softmax(1).gather(1, labels[:, None])[:, 0] < 0.999
    found = LogMargin(n_steps=1, relative_step=1.0)(model, images[sure], labels[sure], epsilon=0.05)
    fgsm = FGSM()(model, images[sure], labels[sure], epsilon=0.05)
    assert ((found - fgsm).abs() < 1e-6).float().mean() > 0.99


@pytest.mark.parametrize("targeted", [False, True])
def test_tanh_adam_is_adam_of_torch_on_the_loss_of_the_team(targeted):
    model, (images, labels) = trained(), held_out(8)
    goal = (labels + 3) % 10
    found = TanhAdam(n_steps=10)(model, images, labels, epsilon=0.1, targets=goal if targeted else None)
    clean = model(images).detach()
    second = goal if targeted else clean.scatter(1, labels[:, None], -torch.inf).argmax(1)
    delta = torch.zeros_like(images, requires_grad=True)
    optimizer = torch.optim.Adam([delta], 0.2)
    for _ in range(10):
        optimizer.zero_grad()
        logits = model((images + 0.1 * delta.tanh()).clamp(0, 1))
        loss = F.cross_entropy(logits, second, reduction="sum")
        if not targeted:
            loss = loss - 0.1 * F.cross_entropy(logits, labels, reduction="sum")
        loss.backward()
        optimizer.step()
    expected = (images + 0.1 * delta.tanh()).clamp(0, 1).detach()
    assert ((found - expected).abs().flatten(1).amax(1) < 1e-4).float().mean() >= 0.85


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_loss_goes_where_it_should(attack):
    model, (images, labels) = trained(), held_out(40)
    left = attack(model, images, labels, epsilon=0.15)
    assert (model(left).argmax(1) == labels).float().mean() < 0.6 * (model(images).argmax(1) == labels).float().mean()
    targets = (labels + 1) % 10
    reached = attack(model, images, labels, epsilon=0.15, targets=targets)
    before = F.cross_entropy(model(images), targets, reduction="none")
    assert (F.cross_entropy(model(reached), targets, reduction="none") < before).all()


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_batch_zero_gradients_no_room_an_epsilon_each_and_an_empty_batch(attack):
    model, images = Linear(5), grey(5)
    together = attack(model, images, epsilon=0.1)
    for row in range(5):
        torch.testing.assert_close(
            together[row : row + 1], attack(model, images[row : row + 1], epsilon=0.1), rtol=0, atol=1e-9
        )
    zeros = torch.zeros(4, dtype=torch.int64)
    grey32 = grey(4, dtype=torch.float32)
    assert torch.equal(attack(Flat(), grey32, zeros, epsilon=0.1), grey32)
    assert torch.equal(attack(Linear(1, dtype=torch.float32), grey32, zeros, epsilon=0.1), grey32)
    assert torch.equal(attack(model, images, epsilon=0.0), images)
    epsilon = torch.tensor([0.0, 0.01, 0.1, 0.7, 3.0], dtype=torch.float64)
    change = (attack(model, images, epsilon=epsilon) - images).flatten(1).abs().amax(1)
    assert (change <= epsilon + 1e-12).all() and (change[1:4] > 0.3 * epsilon[1:4]).all()
    assert attack(model, images[:0], epsilon=0.1).shape == (0, 1, 5, 6)
    saturated = attack(Linear(3, scale=1e4, dtype=torch.float32), grey32.round(), epsilon=0.1)
    assert saturated.isfinite().all()


def test_fat_fingers_drop_members_in_a_targeted_attack():
    models, (images, labels) = [trained(), trained("strided")], held_out(16)
    targets, threshold = (labels + 1) % 10, 0.5
    ensemble = Ensemble(models, fuse="loss", drop_below=threshold).eval()
    attack = IterativeTarget(n_steps=6, step_size=0.03)
    found = attack(ensemble, images, labels, epsilon=0.3, targets=targets)
    at, dropped = images, 0
    for _ in range(6):
        leaf = at.clone().requires_grad_()
        each = torch.stack([F.cross_entropy(model(leaf), targets, reduction="none") for model in models])
        included = (each >= threshold).detach()
        dropped += int((~included).sum())
        (each * included).mean(0).sum().backward()
        at = (at - 0.03 * leaf.grad.sign()).clamp((images - 0.3).clamp(min=0), (images + 0.3).clamp(max=1))
    assert dropped > 0
    assert ((found - at).abs().flatten(1).amax(1) < 1e-5).float().mean() >= 0.85
    losses = torch.stack([F.cross_entropy(model(images), targets, reduction="none") for model in models])
    after = torch.stack([F.cross_entropy(model(found), targets, reduction="none") for model in models])
    assert (after.amax(0) < losses.amax(0)).all()


def test_settings_that_make_no_sense():
    for wrong in ({"margin": 0.0}, {"n_steps": 0}):
        with pytest.raises(ValueError, match="LogMargin"):
            LogMargin(**wrong)
    for wrong in ({"learning_rate": 0.0}, {"n_steps": 0}, {"label_weight": -1.0}):
        with pytest.raises(ValueError, match="TanhAdam"):
            TanhAdam(**wrong)
    assert LogMargin(step_size=0.1)(Linear(3), grey(1), epsilon=0.1, generator=seeded()).isfinite().all()

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.adversarial.attacks.nets import Flat, Linear, grey, held_out, seeded, trained
from toolkit.adversarial.attacks.gradient import BIM, MIFGSM
from toolkit.adversarial.attacks.smoothed import TIFGSM, SmoothedGradient, gaussian, smoothed
from toolkit.adversarial.ensembles import Ensemble


@pytest.mark.parametrize(("size", "sigmas"), [(7, 2.0), (15, 3.0), (3, 0.0)])
def test_the_kernel_is_that_of_torchattacks_and_its_blur_that_of_scipy(size, sigmas):
    ndimage = pytest.importorskip("scipy.ndimage")
    weights = gaussian(size, sigmas)
    outer = torch.outer(weights, weights).numpy()
    images = torch.randn(2, 3, 9, 11, generator=seeded(), dtype=torch.float64)
    exact = np.stack(
        [[ndimage.correlate(plane, outer, mode="constant") for plane in image] for image in images.numpy()]
    )
    np.testing.assert_allclose(smoothed(images, size, sigmas).numpy(), exact, atol=1e-12)
    torchattacks = pytest.importorskip("torchattacks")
    theirs = torchattacks.TIFGSM(trained(), len_kernel=size, nsig=sigmas).gkern(size, sigmas)
    np.testing.assert_allclose(outer, theirs, rtol=1e-12)


def test_translation_invariant_momentum_is_that_of_torchattacks():
    torchattacks = pytest.importorskip("torchattacks")
    images = torch.rand(20, 3, 8, 8, generator=seeded(1))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 30), torch.nn.Tanh(), torch.nn.Linear(30, 5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(2)) * 0.2)
    model.eval()
    labels = model(images).argmax(1)
    peer = torchattacks.TIFGSM(
        model, eps=0.1, alpha=0.01, steps=10, decay=1.0, len_kernel=7, nsig=3, resize_rate=0.99, diversity_prob=0.0
    )
    # Its random copy is made even when it is not used; at this size there is none to make.
    peer.input_diversity = lambda images: images
    found = TIFGSM(n_steps=10, kernel_size=7)(model, images, labels, epsilon=0.1)
    assert ((found - peer(images, labels)).abs().flatten(1).amax(1) < 1e-5).float().mean() >= 0.95


def test_a_kernel_of_one_pixel_leaves_momentum_and_signs():
    model, (images, labels) = trained(), held_out(10)
    for goal in ({}, {"targets": (labels + 1) % 10}):
        plain = MIFGSM(n_steps=4)(model, images, labels, epsilon=0.1, **goal)
        assert torch.equal(TIFGSM(n_steps=4, kernel_size=1)(model, images, labels, epsilon=0.1, **goal), plain)
        bim = BIM(n_steps=4)(model, images, labels, epsilon=0.1, **goal)
        found = SmoothedGradient(n_steps=4, kernel_size=1)(model, images, labels, epsilon=0.1, **goal)
        assert torch.equal(found, bim)


@pytest.mark.parametrize("fuse", ["logits", "probabilities", "loss"])
def test_the_signs_of_separate_models_are_averaged(fuse):
    models, (images, labels) = [trained(), trained("strided")], held_out(6)
    ensemble = Ensemble(models, [3.0, 1.0], fuse=fuse).eval()
    found = SmoothedGradient(n_steps=3, step_size=0.02)(ensemble, images, labels, epsilon=0.05)
    at = images
    for _ in range(3):
        step = 0
        for weight, model in zip((0.75, 0.25), models, strict=True):
            leaf = at.clone().requires_grad_()
            F.cross_entropy(model(leaf), labels, reduction="sum").backward()
            step = step + weight * smoothed(leaf.grad, 7, 2.0).sign()
        at = (at + 0.02 * step).clamp((images - 0.05).clamp(min=0), (images + 0.05).clamp(max=1))
    assert ((found - at).abs().flatten(1).amax(1) < 1e-6).float().mean() >= 0.8
    lengths = ((SmoothedGradient(n_steps=1)(ensemble, images, labels, epsilon=0.1) - images) / 0.1).abs()
    inside = (images >= 0.1) & (images <= 0.9)
    steps = lengths[inside]
    assert (((steps - 1).abs() < 1e-4) | ((steps - 0.5).abs() < 1e-4)).all()


@pytest.mark.parametrize("attack", [SmoothedGradient(), TIFGSM(n_steps=4), TIFGSM(n_steps=4, norm="l2")])
def test_the_batch_zero_gradients_no_room_an_epsilon_each_and_an_empty_batch(attack):
    model, images = Linear(5), grey(5)
    together = attack(model, images, epsilon=0.1)
    for row in range(5):
        torch.testing.assert_close(
            together[row : row + 1], attack(model, images[row : row + 1], epsilon=0.1), rtol=0, atol=1e-12
        )
    grey32 = grey(4, dtype=torch.float32)
    assert torch.equal(attack(Flat(), grey32, torch.zeros(4, dtype=torch.int64), epsilon=0.1), grey32)
    assert torch.equal(attack(model, images, epsilon=0.0), images)
    epsilon = torch.tensor([0.0, 0.01, 0.1, 0.7, 3.0], dtype=torch.float64)
    change = (attack(model, images, epsilon=epsilon) - images).flatten(1)
    length = change.norm(dim=1) if attack.norm == "l2" else change.abs().amax(1)
    assert (length <= epsilon + 1e-12).all() and (length[1:4] > 0.5 * epsilon[1:4]).all()
    assert attack(model, images[:0], epsilon=0.1).shape == (0, 1, 5, 6)


def test_settings_that_make_no_sense():
    for wrong in ({"kernel_size": 4}, {"kernel_size": 0}, {"sigmas": -1.0}):
        for attack in (SmoothedGradient, TIFGSM):
            with pytest.raises(ValueError, match=attack.__name__):
                attack(**wrong)
            with pytest.raises(ValueError, match="height, width"):
                attack()(lambda x: x[:, :3], torch.rand(2, 5, generator=seeded()), epsilon=0.1)

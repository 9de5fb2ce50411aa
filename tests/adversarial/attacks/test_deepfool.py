import pytest
import torch

from tests.adversarial.attacks.nets import Flat, Linear, grey, held_out, l2, seeded, trained
from toolkit.adversarial.attacks.deepfool import NUDGE, DeepFool


def largest(change):
    return change.flatten(1).abs().amax(1)


LENGTHS = {"l2": l2, "linf": largest}


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("overshoot", [0.0, 0.02, 0.5])
def test_one_step_is_exact_on_a_linear_model(norm, overshoot):
    model, images = Linear(5), grey(12, spread=0.02)
    labels = model(images).argmax(1)
    found = DeepFool(n_steps=1, overshoot=overshoot, norm=norm)(model, images, labels, epsilon=None)
    exact = (model.boundaries(images, labels, norm).amin(1) + NUDGE) * (1 + overshoot)
    near = ((found > 0) & (found < 1)).flatten(1).all(1)
    assert near.sum() > 3
    torch.testing.assert_close(LENGTHS[norm](found - images)[near], exact[near], rtol=1e-9, atol=0)
    assert (model(found).argmax(1) != labels)[near].all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("candidates", [2, 4, 10])
def test_the_images_are_those_of_foolbox(norm, candidates):
    foolbox = pytest.importorskip("foolbox")
    model, (images, labels) = trained(), held_out(40)
    right = model(images).argmax(1) == labels
    images, labels = images[right], labels[right]
    peer = {"l2": foolbox.attacks.L2DeepFoolAttack, "linf": foolbox.attacks.LinfDeepFoolAttack}[norm]
    theirs, _, succeeded = peer(candidates=candidates)(
        foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=None
    )
    found = DeepFool(candidates=candidates, norm=norm)(model, images, labels, epsilon=None)
    assert ((model(found).argmax(1) != labels) == succeeded).all()
    # Where two boundaries are equally near, rounding may choose.
    assert (largest(found - theirs) < 1e-5).float().mean() >= 0.95


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_target_is_reached_on_the_shortest_way_where_one_boundary_is_in_it(norm):
    model, images = Linear(2), grey(8)
    labels = model(images).argmax(1)
    found = DeepFool(n_steps=1, norm=norm)(model, images, labels, epsilon=None, targets=1 - labels)
    exact = (model.boundaries(images, labels, norm).amin(1) + NUDGE) * 1.02
    torch.testing.assert_close(LENGTHS[norm](found - images), exact, rtol=1e-9, atol=0)
    net, (images, labels) = trained(), held_out(20)
    targets = (labels + 1) % 10
    found = DeepFool(norm=norm)(net, images, labels, epsilon=None, targets=targets)
    assert (net(found).argmax(1) == targets).all()
    reached = net(images).argmax(1) == targets
    assert torch.equal(found[reached], images[reached])


def test_images_that_are_wrong_already_come_back_as_they_are_and_ties_are_left():
    model, images = Linear(3), grey(6)
    labels = model(images).argmax(1)
    labels[::2] = (labels[::2] + 1) % 3
    found = DeepFool()(model, images, labels, epsilon=None)
    assert torch.equal(found[::2], images[::2])
    assert (l2(found - images)[1::2] > 0).all()
    with torch.no_grad():
        model.bias -= model(images[:1])[0]
    assert (model(DeepFool()(model, images[:1], epsilon=None)).argmax(1) != model(images[:1]).argmax(1)).all()


def test_without_a_gradient_or_another_class_nothing_moves():
    images, zeros = grey(3, dtype=torch.float32), torch.zeros(3, dtype=torch.int64)
    for norm in ("l2", "linf"):
        for goal in ({}, {"targets": zeros + 1}):
            assert torch.equal(DeepFool(norm=norm)(Flat(), images, zeros, epsilon=None, **goal), images)
        one = Linear(1, dtype=torch.float32)
        assert torch.equal(DeepFool(norm=norm)(one, images, zeros, epsilon=None), images)
        assert torch.equal(DeepFool(norm=norm)(one, images, zeros, epsilon=None, targets=zeros), images)
    with pytest.raises(ValueError, match="without a gradient"):
        DeepFool()(lambda images: images.detach().flatten(1)[:, :3], images, epsilon=None)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_batch_does_not_matter(norm):
    model, images = trained().double(), held_out(12)[0].double()
    try:
        labels = model(images).argmax(1)
        labels[3] = (labels[3] + 1) % 10
        together = DeepFool(norm=norm)(model, images, labels, epsilon=None)
        for row in range(12):
            alone = DeepFool(norm=norm)(model, images[row : row + 1], labels[row : row + 1], epsilon=None)
            torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-9)
    finally:
        model.float()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("scale", [1e-8, 1e4])
def test_extreme_logits_and_pixels_on_the_box_stay_finite(norm, scale):
    model = Linear(3, scale=scale, dtype=torch.float32)
    images = torch.rand(6, 1, 5, 6, generator=seeded()).round()
    found = DeepFool(norm=norm)(model, images, epsilon=None)
    assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1
    assert (model(found).argmax(1) != model(images).argmax(1)).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_finite_epsilon_puts_the_result_into_the_ball(norm):
    model, images = Linear(3), grey(4)
    attack, length = DeepFool(norm=norm), LENGTHS[norm]
    free = attack(model, images, epsilon=None)
    epsilon = length(free - images) * torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    found = attack(model, images, epsilon=epsilon)
    assert torch.equal(found[0], images[0])
    torch.testing.assert_close(length(found - images)[1], epsilon[1])
    assert torch.equal(found[3], free[3])


def test_empty_batches_dtypes_and_settings():
    model = Linear(3, dtype=torch.float32)
    assert DeepFool()(model, torch.zeros(0, 1, 5, 6), epsilon=None).shape == (0, 1, 5, 6)
    assert DeepFool()(model, grey(2, dtype=torch.float32), epsilon=None).dtype == torch.float32
    assert DeepFool(candidates=None)(Linear(3), grey(2), epsilon=0.1).dtype == torch.float64
    for wrong in ({"n_steps": 0}, {"overshoot": -0.1}, {"candidates": 1}):
        with pytest.raises(ValueError, match="DeepFool"):
            DeepFool(**wrong)

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.adversarial.attacks.nets import Flat, Linear, grey, held_out, l2, seeded, trained
from toolkit.adversarial.attacks.base import prepare
from toolkit.adversarial.attacks.lbfgs import LBFGS
from toolkit.adversarial.attacks.optimization import Smallest

QUICK = LBFGS(n_steps=12, n_searches=4, initial_constant=1.0)


def objective(model, clean, images, labels, targeted, constants):
    """The value for each image, written once more."""
    logits = model(images)
    if targeted:
        losses = F.cross_entropy(logits, labels, reduction="none")
    else:
        losses = -torch.log1p(-logits.softmax(1).gather(1, labels[:, None])[:, 0])
    return (images - clean).flatten(1).square().sum(1) + constants * losses


class Recorder(Smallest):
    """Keeps the images of each evaluation."""

    def offer(self, rows, images, logits):
        self.seen = [*getattr(self, "seen", []), images.clone()]
        return super().offer(rows, images, logits)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_each_image_ends_at_the_minimum_that_scipy_finds(targeted, spread):
    optimize = pytest.importorskip("scipy.optimize")
    model, images = Linear(4, scale=2.0), grey(6, spread=spread)
    labels = model(images).argmax(1)
    goal = (labels + 1) % 4 if targeted else labels
    attack = LBFGS(n_steps=80)
    task = prepare(attack, model, images, labels, None, goal if targeted else None, None)
    constants = torch.tensor([0.01, 0.1, 1.0, 3.0, 10.0, 100.0], dtype=torch.float64)
    recorder = Recorder(task)
    attack._minimise(task, constants, recorder)
    values = torch.stack(
        [objective(model, images, seen, goal, targeted, constants).detach() for seen in recorder.seen[1:]]
    )
    for row in range(6):
        clean = images[row : row + 1]

        def both(x, row=row, clean=clean):
            at = torch.tensor(x).view(1, *images.shape[1:]).requires_grad_()
            value = objective(model, clean, at, goal[row : row + 1], targeted, constants[row : row + 1]).sum()
            value.backward()
            return value.item(), at.grad.flatten().numpy()

        exact = optimize.minimize(
            both, clean.flatten().numpy(), jac=True, bounds=[(0, 1)] * clean.numel(), method="L-BFGS-B",
            options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 500},
        )  # fmt: skip
        assert float(values[:, row].min()) <= exact.fun * (1 + 1e-5) + 1e-9
        assert float(values[:, row].min()) >= exact.fun * (1 - 1e-5) - 1e-9


def test_on_a_linear_model_of_two_classes_the_change_is_the_distance_to_the_boundary():
    model, images = Linear(2), grey(6)
    labels = model(images).argmax(1)
    for goal in ({}, {"targets": 1 - labels}):
        found = LBFGS(n_steps=15, n_searches=11, initial_constant=1.0)(model, images, labels, epsilon=None, **goal)
        exact = model.boundaries(images, labels).amin(1)
        assert (model(found).argmax(1) != labels).all()
        assert (l2(found - images) >= exact * (1 - 1e-9)).all()
        torch.testing.assert_close(l2(found - images), exact, rtol=0.01, atol=0)


def test_at_a_net_it_is_as_near_as_scipy_with_the_same_search():
    optimize = pytest.importorskip("scipy.optimize")
    model, (images, labels) = trained(), held_out(3)
    targets = (labels + 1) % 10
    attack = LBFGS(n_steps=25, n_searches=4, initial_constant=1.0)
    found = attack(model, images, labels, epsilon=None, targets=targets)
    assert (model(found).argmax(1) == targets).all()
    theirs = [
        _with_scipy(optimize, attack, model, image[None], target) for image, target in zip(images, targets, strict=True)
    ]
    assert float(l2(found - images).mean()) <= 1.03 * float(np.mean(theirs))


def _with_scipy(optimize, attack, model, clean, target):
    """Return the length of the smallest successful change in the search over c, with SciPy for each c."""
    best, low, high, c = np.inf, 0.0, np.inf, attack.initial_constant
    for _ in range(attack.n_searches):
        succeeded = False

        def both(x, c=c):
            nonlocal best, succeeded
            at = torch.tensor(x, dtype=torch.float32).view_as(clean).requires_grad_()
            logits = model(at)
            value = (at - clean).square().sum() + c * F.cross_entropy(logits, target[None])
            (gradient,) = torch.autograd.grad(value, at)
            if int(logits.argmax()) == int(target):
                succeeded, best = True, min(best, (at - clean).norm().item())
            return value.item(), gradient.flatten().double().numpy()

        start = clean.flatten().double().numpy()
        optimize.minimize(
            both, start, jac=True, bounds=[(0, 1)] * len(start), method="L-BFGS-B", options={"maxfun": attack.n_steps}
        )
        low, high = (low, c) if succeeded else (c, high)
        c = c * 10 if np.isinf(high) else (low + high) / 2
    return best


def test_images_that_are_wrong_already_and_hopeless_ones_come_back_as_they_are():
    model, images = Linear(3), grey(6)
    labels = model(images).argmax(1)
    labels[::2] = (labels[::2] + 1) % 3
    found = QUICK(model, images, labels, epsilon=None)
    assert torch.equal(found[::2], images[::2])
    assert (l2(found - images)[1::2] > 0).all()
    grey32 = grey(3, dtype=torch.float32)
    assert torch.equal(QUICK(Flat(), grey32, torch.zeros(3, dtype=torch.int64), epsilon=None), grey32)
    zeros = torch.zeros(6, dtype=torch.int64)
    assert torch.equal(QUICK(Linear(1), images, zeros, epsilon=None), images)
    assert torch.equal(QUICK(Linear(1), images, zeros, epsilon=None, targets=zeros), images)


def test_the_batch_does_not_matter():
    model, images = Linear(5, scale=2.0), grey(4, spread=0.9)
    labels = model(images).argmax(1)
    labels[3] = (labels[3] + 1) % 5
    together = QUICK(model, images, labels, epsilon=None)
    for row in range(4):
        alone = QUICK(model, images[row : row + 1], labels[row : row + 1], epsilon=None)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1e4])
def test_extreme_logits_and_pixels_on_the_box_stay_finite(scale):
    model = Linear(3, scale=scale, dtype=torch.float32)
    images = torch.rand(6, 1, 5, 6, generator=seeded()).round()
    labels = model(images).argmax(1)
    for goal in ({}, {"targets": (labels + 1) % 3}):
        found = QUICK(model, images, labels, epsilon=None, **goal)
        assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1
    if scale > 1:
        assert (model(found).argmax(1) == (labels + 1) % 3).all()


def test_a_finite_epsilon_puts_the_result_into_the_ball():
    model, images = Linear(3), grey(4)
    free = QUICK(model, images, epsilon=None)
    epsilon = l2(free - images) * torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    found = QUICK(model, images, epsilon=epsilon)
    assert torch.equal(found[0], images[0])
    torch.testing.assert_close(l2(found - images)[1], epsilon[1])
    assert torch.equal(found[3], free[3])


def test_empty_batches_dtypes_and_settings():
    model = Linear(3, dtype=torch.float32)
    assert QUICK(model, torch.zeros(0, 1, 5, 6), epsilon=None).shape == (0, 1, 5, 6)
    assert QUICK(model, grey(2, dtype=torch.float32), epsilon=None).dtype == torch.float32
    assert QUICK(Linear(3), grey(2), epsilon=0.1).dtype == torch.float64
    assert LBFGS(n_steps=1)(model, grey(2, dtype=torch.float32), epsilon=None).isfinite().all()
    for wrong in ({"n_steps": 0}, {"n_searches": 0}, {"memory": 0}, {"initial_constant": 0.0}):
        with pytest.raises(ValueError, match="LBFGS"):
            LBFGS(**wrong)
    with pytest.raises(ValueError, match="without a gradient"):
        QUICK(lambda images: images.detach().flatten(1)[:, :3], grey(2), epsilon=None)

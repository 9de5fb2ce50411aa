import numpy as np
import pytest
import torch

from tests.adversarial.attacks.nets import Flat, Linear, grey, held_out, l2, seeded, trained
from toolkit.adversarial.attacks.carlini_wagner import CarliniWagner
from toolkit.adversarial.attacks.optimization import Adam, ConstantSearch, shortfall

QUICK = CarliniWagner(n_steps=30, n_searches=3, initial_constant=1.0, learning_rate=0.02)
LINEAR = CarliniWagner(n_steps=120, n_searches=4, initial_constant=0.1)


def test_on_a_linear_model_the_change_is_the_distance_to_the_boundary():
    model, images = Linear(2), grey(6)
    labels = model(images).argmax(1)
    found = LINEAR(model, images, labels, epsilon=None)
    exact = model.boundaries(images, labels).amin(1)
    assert (model(found).argmax(1) != labels).all()
    assert (l2(found - images) >= exact * (1 - 1e-9)).all()
    torch.testing.assert_close(l2(found - images), exact, rtol=0.01, atol=0)


def test_a_target_of_a_linear_model_is_reached_no_nearer_than_its_nearest_boundary():
    model, images = Linear(3), grey(6)
    labels = model(images).argmax(1)
    targets = (labels + 1) % 3
    found = LINEAR(model, images, labels, epsilon=None, targets=targets)
    assert (model(found).argmax(1) == targets).all()
    # The region of the target is an intersection of half-spaces: the exact distance by a projection with SciPy.
    optimize = pytest.importorskip("scipy.optimize")
    weight, bias = model.weight.detach().numpy(), model.bias.detach().numpy()
    for image, target, length in zip(images, targets, l2(found - images), strict=True):
        start, t = image.flatten().numpy(), int(target)
        rows, rest = weight[t] - np.delete(weight, t, 0), bias[t] - np.delete(bias, t)
        constraint = {
            "type": "ineq",
            "fun": lambda x, rows=rows, rest=rest: rows @ x + rest,
            "jac": lambda x, rows=rows: rows,
        }
        exact = optimize.minimize(
            lambda x, start=start: (((x - start) ** 2).sum(), 2 * (x - start)),
            start, jac=True, bounds=[(0, 1)] * len(start), constraints=[constraint], method="SLSQP",
        )  # fmt: skip
        assert exact.success
        assert exact.fun**0.5 * (1 - 1e-6) <= float(length) <= exact.fun**0.5 * 1.01


@pytest.mark.parametrize("early", [True, False])
def test_as_successful_and_as_near_as_foolbox(early):
    foolbox = pytest.importorskip("foolbox")
    model, (images, labels) = trained(), held_out(20)
    attack = CarliniWagner(n_steps=50, n_searches=3, initial_constant=1.0, learning_rate=0.02, abort_early=early)
    found = attack(model, images, labels, epsilon=None)
    peer = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=3, steps=50, stepsize=0.02, initial_const=1.0, abort_early=early
    )
    theirs, _, succeeded = peer(foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=None)
    # Where it finds nothing foolbox answers with a black image, and counts that as a success if it is one.
    succeeded &= theirs.flatten(1).any(1)
    assert succeeded.sum() > 14
    assert torch.equal(model(found).argmax(1) != labels, succeeded)
    ours, peers = l2(found - images)[succeeded].mean(), l2(theirs - images)[succeeded].mean()
    assert float(ours) <= 1.02 * float(peers)


def test_confidence_is_the_lead_of_the_wished_class():
    model, images = Linear(4), grey(6)
    labels = model(images).argmax(1)
    targets = (labels + 1) % 4
    attack = CarliniWagner(confidence=0.5, n_steps=80, n_searches=3, initial_constant=1.0)
    for goal in ({}, {"targets": targets}):
        found = attack(model, images, labels, epsilon=None, **goal)
        logits = model(found)
        lead = -shortfall(logits, goal.get("targets", labels), bool(goal))
        assert (lead >= 0.5).all()
        assert (lead < 0.75).all()


def test_an_image_that_is_wrong_already_comes_back_as_it_is():
    model, images = Linear(3), grey(6)
    labels = model(images).argmax(1)
    labels[::2] = (labels[::2] + 1) % 3
    found = QUICK(model, images, labels, epsilon=None)
    assert torch.equal(found[::2], images[::2])
    assert (l2(found - images)[1::2] > 0).all()
    # With a confidence that it does not have it must still move.
    assert torch.equal(CarliniWagner(1000.0, 5, 1)(model, images, labels, epsilon=None), images)
    sure = CarliniWagner(confidence=0.5, n_steps=80, n_searches=3, initial_constant=1.0)(
        model, images, labels, epsilon=None
    )
    short = shortfall(model(images), labels, False) > -0.5
    assert torch.equal(l2(sure - images) > 0, short)


def test_zero_gradients_and_hopeless_tasks_give_the_clean_image():
    images = grey(3, dtype=torch.float32)
    assert torch.equal(QUICK(Flat(), images, torch.zeros(3, dtype=torch.int64), epsilon=None), images)
    hopeless = CarliniWagner(n_steps=2, n_searches=1, learning_rate=1e-6)
    model = Linear(3, dtype=torch.float32)
    assert torch.equal(hopeless(model, images, epsilon=None), images)


@pytest.mark.parametrize("targeted", [False, True])
def test_a_model_of_one_class_cannot_be_left_and_is_always_reached(targeted):
    model, images = Linear(1), grey(2)
    zeros = torch.zeros(2, dtype=torch.int64)
    found = QUICK(model, images, zeros, epsilon=None, targets=zeros if targeted else None)
    assert torch.equal(found, images)


def test_saturated_logits_and_black_and_white_pixels_stay_finite():
    model = Linear(3, scale=1e4, dtype=torch.float32)
    images = torch.rand(6, 1, 5, 6, generator=seeded()).round()
    found = QUICK(model, images, epsilon=None)
    assert found.isfinite().all() and found.min() >= 0 and found.max() <= 1


def test_the_batch_does_not_matter():
    model, images = Linear(5, scale=2.0), grey(4, spread=0.6)
    labels = model(images).argmax(1)
    labels[3] = (labels[3] + 1) % 5
    together = QUICK(model, images, labels, epsilon=None)
    for row in range(4):
        alone = QUICK(model, images[row : row + 1], labels[row : row + 1], epsilon=None)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-9)


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
    for wrong in ({"n_steps": 0}, {"n_searches": 0}, {"confidence": -1.0}, {"learning_rate": 0.0}):
        with pytest.raises(ValueError, match="CarliniWagner"):
            CarliniWagner(**wrong)
    with pytest.raises(ValueError, match="norm"):
        CarliniWagner(norm="linf")(model, grey(2, dtype=torch.float32), epsilon=None)
    with pytest.raises(TypeError, match="n_steps"):
        CarliniWagner(n_steps=True)


def test_adam_is_that_of_torch():
    values = torch.randn(4, 3, generator=seeded(), dtype=torch.float64)
    ours, theirs = Adam(values.clone(), 0.03), values.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], 0.03)
    for step in range(30):
        gradient = torch.randn(4, 3, generator=seeded(step), dtype=torch.float64) * 10.0 ** (step % 7 - 6)
        theirs.grad = gradient
        optimizer.step()
        ours.step(gradient)
    torch.testing.assert_close(ours.values, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_the_constant_grows_tenfold_and_is_then_halved_in():
    search = ConstantSearch(torch.tensor([1.0, 1.0, 1.0]))
    for succeeded in ([True, False, False], [True, True, False], [False, True, False]):
        search.update(torch.tensor(succeeded))
    # 1 works, .5 works, .25 fails; 1 fails, 10 works, 5.5 works; 1, 10, 100 fail.
    torch.testing.assert_close(search.values, torch.tensor([0.375, 3.25, 1000.0]))
    for _ in range(20):
        search.update(torch.tensor([False, False, False]))
    assert float(search.values[2]) == ConstantSearch.largest

"""Directions, sizes and starts of steps, each image by itself."""

import numpy as np
import pytest
import torch

from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM, PGD, TargetedMIFGSM
from toolkit.adversarial.attacks.steps import deviation, mean_size, steepest


def gradients() -> torch.Tensor:
    drawn = torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn * torch.tensor([1e-300, 1e-5, 1.0, 1e5, 1e150], dtype=torch.float64).view(-1, 1, 1, 1)


def test_the_steepest_step_has_length_one():
    drawn = gradients()
    assert torch.equal(steepest(drawn, "linf"), drawn.sign())
    found = steepest(drawn, "l2").flatten(1)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5, dtype=torch.float64))
    for row, gradient in zip(found.numpy(), drawn.flatten(1).numpy(), strict=True):
        scaled = gradient / np.abs(gradient).max()
        np.testing.assert_allclose(row, scaled / np.linalg.norm(scaled), rtol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_step_where_the_gradient_is_zero(norm):
    drawn = gradients()
    drawn[1] = 0
    found = steepest(drawn, norm)
    assert (found[1] == 0).all() and found.isfinite().all()
    others = [0, 2, 3, 4]
    torch.testing.assert_close(found[others], steepest(drawn[others], norm))


def test_sizes_are_those_of_each_image():
    drawn = gradients()
    values = drawn.numpy().reshape(5, -1)
    assert mean_size(drawn).shape == deviation(drawn).shape == (5, 1, 1, 1)
    np.testing.assert_allclose(mean_size(drawn).flatten().numpy(), np.abs(values).mean(1), rtol=1e-12)
    np.testing.assert_allclose(deviation(drawn[1:4]).flatten().numpy(), values[1:4].std(1), rtol=1e-9)
    constant = torch.full((2, 1, 4, 4), 3.0)
    assert (deviation(constant) == 1).all() and (mean_size(constant) == 3).all()
    assert (mean_size(torch.zeros(2, 1, 4, 4)) == 1).all()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: BIM(n_steps=0), ValueError, "n_steps"),
        (lambda: BIM(n_steps=-3), ValueError, "n_steps"),
        (lambda: BIM(relative_step=-0.1), ValueError, "relative_step"),
        (lambda: BIM(relative_step=float("nan")), ValueError, "relative_step"),
        (lambda: BIM(step_size=float("inf")), ValueError, "step_size"),
        (lambda: BIM(step_size=0.1, relative_step=0.1), ValueError, "step_size"),
        (lambda: TargetedMIFGSM(norm="l2"), ValueError, "norm"),
        (lambda: MIFGSM(momentum=-1.0), ValueError, "MIFGSM(.|\n)*momentum"),
        (lambda: MIFGSM(momentum=float("nan")), ValueError, "momentum"),
        (lambda: TargetedMIFGSM(momentum=float("inf")), ValueError, "TargetedMIFGSM(.|\n)*momentum"),
        (lambda: PGD(restarts=0), ValueError, "restarts"),
        (lambda: BIM(n_steps=2.0), TypeError, "n_steps"),
        (lambda: BIM(n_steps=True), TypeError, "n_steps"),
    ],
)
def test_settings_that_make_no_sense(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_settings_are_frozen_comparable_and_short():
    assert BIM(n_steps=3) == BIM(n_steps=3) != BIM(n_steps=4)
    assert len({BIM(), BIM(), FGSM()}) == 2
    assert repr(FGSM()).startswith("FGSM(n_steps=1")
    with pytest.raises(AttributeError):
        BIM().n_steps = 5


def test_an_attack_may_be_used_again():
    torch.manual_seed(0)
    layer = torch.nn.Linear(9, 3)
    images = torch.rand(4, 9)
    attack = MIFGSM(n_steps=3)
    first = attack(layer.eval(), images, epsilon=0.1)
    assert torch.equal(attack(layer, images, epsilon=0.1), first), "momentum of the last call was kept"

import math

import pytest
import torch
import torch.nn.functional as F

from tests.adversarial.attacks.nets import Flat, Linear, grey, held_out, seeded, trained
from toolkit.adversarial.attacks.augmented import (
    DIFGSM,
    SANGXIA_STEPS,
    AugmentedGradient,
    randomly_mapped,
    shrunken,
)
from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM
from toolkit.core.devices import draw_normal

RANDOM = [AugmentedGradient(n_steps=3), DIFGSM(n_steps=3, probability=0.9)]


def test_without_maps_and_noise_it_is_bim_and_without_copies_momentum():
    model, (images, labels) = trained(), held_out(10)
    for goal in ({}, {"targets": (labels + 1) % 10}):
        bim = BIM(n_steps=4)(model, images, labels, epsilon=0.1, **goal)
        plain = AugmentedGradient(n_steps=4, spread=0, noise=0)(model, images, labels, epsilon=0.1, **goal)
        same = AugmentedGradient(n_steps=4, spread=0, noise=0, schedule=(0.25,) * 4)
        assert torch.equal(plain, bim)
        assert torch.equal(same(model, images, labels, epsilon=0.1, **goal), bim)
        mi = MIFGSM(n_steps=4)(model, images, labels, epsilon=0.1, **goal)
        assert torch.equal(DIFGSM(n_steps=4, probability=0)(model, images, labels, epsilon=0.1, **goal), mi)


def test_the_schedule_is_the_length_of_each_step():
    model, images = Linear(3), grey(4)
    attack = AugmentedGradient(n_steps=3, spread=0, noise=0, schedule=(0.5, 0.2, 0.1))
    fgsm = FGSM()(model, images, epsilon=0.8 * 0.05)
    # On a linear model of which one class is far away the signs hardly change: the lengths add up.
    found = attack(model, images, epsilon=0.05)
    assert ((found - images).abs() <= 0.04 + 1e-12).all()
    assert ((found - fgsm).abs() < 1e-12).double().mean() > 0.8
    assert len(SANGXIA_STEPS) == 19
    assert AugmentedGradient(n_steps=19, schedule=SANGXIA_STEPS)(model, images, epsilon=0.05).isfinite().all()


def test_it_is_the_loop_written_out():
    model, (images, labels) = trained(), held_out(6)
    found = AugmentedGradient(n_steps=3, noise=0.3, spread=0.05)(
        model, images, labels, epsilon=0.1, generator=seeded(4)
    )
    generator, at = seeded(4), images
    low, high = (images - 0.1).clamp(min=0), (images + 0.1).clamp(max=1)
    for _ in range(3):
        noise = 0.3 * 0.1 * draw_normal(images.shape, generator=generator)
        at = (at + noise).clamp(low, high)
        total = 0
        for _ in range(2):
            leaf = at.clone().requires_grad_()
            F.cross_entropy(model(randomly_mapped(leaf, 0.05, generator)), labels, reduction="sum").backward()
            total = total + leaf.grad
        at = (at + 0.1 / 3 * total.sign()).clamp(low, high)
    torch.testing.assert_close(found, at, rtol=0, atol=1e-6)


def test_the_coefficients_are_a_truncated_normal_round_the_identity():
    # An image whose value is its column shows where each map looks: a row of the map's coefficients.
    n, side, spread = 4000, 8, 0.02
    centres = (torch.arange(side, dtype=torch.float64) * 2 + 1) / side - 1
    columns = (centres / 2 + 0.5).expand(n, 1, side, side)
    seen = (randomly_mapped(columns, spread, seeded(2)) - 0.5) * 2
    inner = seen[:, 0, 1:-1, 1:-1]
    x, y = centres[1:-1].expand(side - 2, -1), centres[1:-1, None].expand(-1, side - 2)
    design = torch.stack([x.flatten(), y.flatten(), torch.ones(36, dtype=torch.float64)], 1)
    solved = torch.linalg.lstsq(design.expand(n, -1, -1), inner.flatten(1)[:, :, None])
    drawn = (solved.solution[:, :, 0] - torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)) / spread
    density = math.exp(-2) / math.sqrt(2 * math.pi)
    variance = 1 - 4 * density / math.erf(math.sqrt(2))
    assert drawn.abs().max() <= 2 + 1e-6
    assert drawn.abs().max() > 1.95
    torch.testing.assert_close(drawn.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.var(0), torch.full((3,), variance, dtype=torch.float64), rtol=0.07, atol=0)


def test_a_copy_is_that_of_torchattacks_for_the_same_draws(monkeypatch):
    torchattacks = pytest.importorskip("torchattacks")
    model, images = trained(), held_out(3)[0]
    images = F.interpolate(images, size=(28, 28))
    peer = torchattacks.DIFGSM(model, resize_rate=0.7, diversity_prob=1.0)
    for side, top, left in ((0.0, 0.0, 0.0), (0.3, 0.5, 0.9), (0.95, 0.2, 0.7)):
        shares = iter([side, top, left])

        def draw(low, high, size, dtype=None, shares=shares):
            return torch.tensor([low + int(next(shares) * (int(high) - low))], dtype=torch.int32)

        monkeypatch.setattr(torch, "randint", draw)
        theirs = peer.input_diversity(images)
        monkeypatch.undo()
        assert torch.equal(shrunken(images, 0.7, side, top, left), theirs)


def test_copies_are_drawn_as_often_and_as_small_as_said():
    calls = []

    class Spy(Linear):
        def forward(self, images):
            calls.append(images.detach())
            return super().forward(images)

    model = Spy(3, (1, 20, 20), torch.float32)
    white = torch.ones(1, 1, 20, 20)
    DIFGSM(n_steps=400, probability=0.3, resize_rate=0.5, step_size=0.0)(
        model, white, torch.zeros(1, dtype=torch.int64), epsilon=0.0, generator=seeded(1)
    )
    # A white image shows what was padded: the sides are 10 to 19 pixels.
    sides = torch.stack([image.amax(2).sum() for image in calls if image.amin() == 0]).round().int()
    assert 85 <= len(sides) <= 155
    assert set(sides.tolist()) == set(range(10, 20))


def test_images_of_one_pixel_and_odd_shapes():
    for shape in ((1, 1, 1), (3, 5, 7), (1, 2, 9)):
        model, images = Linear(3, shape), grey(2, shape)
        for attack in RANDOM:
            found = attack(model, images, epsilon=0.1, generator=seeded())
            assert found.shape == images.shape and found.isfinite().all()
            assert (found - images).abs().max() <= 0.1 + 1e-12
    assert torch.equal(shrunken(grey(2, (1, 1, 1)), 0.5, 0.9, 0.9, 0.9), grey(2, (1, 1, 1)))


def test_one_draw_of_copies_serves_the_batch():
    model, images = Linear(5, (1, 8, 8)), grey(5, (1, 8, 8))
    attack = DIFGSM(n_steps=5)
    together = attack(model, images, epsilon=0.1, generator=seeded(9))
    for row in range(5):
        alone = attack(model, images[row : row + 1], epsilon=0.1, generator=seeded(9))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-12)


def test_an_image_depends_on_its_own_draws_only():
    model, images = Linear(5, (1, 8, 8)), grey(5, (1, 8, 8))
    attack = AugmentedGradient(n_steps=4)
    found = attack(model, images, epsilon=0.1, generator=seeded(9))
    others = torch.cat([images[:1], grey(4, (1, 8, 8), seed=17)])
    assert torch.equal(attack(model, others, epsilon=0.1, generator=seeded(9))[0], found[0])


@pytest.mark.parametrize("attack", RANDOM, ids=["augmented", "diverse"])
def test_zero_gradients_no_room_an_epsilon_each_and_an_empty_batch(attack):
    images, labels = grey(4, (1, 8, 8), torch.float32), torch.tensor([0, 1, 2, 0])
    assert attack(Flat(), images, labels, epsilon=0.1).isfinite().all()
    model = Linear(3, (1, 8, 8), torch.float32)
    assert torch.equal(attack(model, images, labels, epsilon=0.0), images)
    epsilon = torch.tensor([0.0, 0.05, 0.1, 0.7])
    found = attack(model, images, labels, epsilon=epsilon, targets=(labels + 1) % 3)
    assert ((found - images).abs().flatten(1).amax(1) <= epsilon + 1e-6).all()
    assert torch.equal(found[0], images[0])
    assert attack(model, images[:0], epsilon=0.1).shape == (0, 1, 8, 8)
    again = [attack(model, images, labels, epsilon=0.1, generator=seeded(1)) for _ in range(2)]
    assert torch.equal(*again)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for attack in RANDOM:
        attack(Linear(3), grey(2), epsilon=0.1)
    assert torch.equal(torch.get_rng_state(), before)


def test_settings_that_make_no_sense():
    for wrong in ({"n_draws": 0}, {"spread": -1.0}, {"noise": math.inf}, {"schedule": (0.1,)}):
        with pytest.raises(ValueError, match="AugmentedGradient"):
            AugmentedGradient(**wrong)
    with pytest.raises(ValueError, match="schedule"):
        AugmentedGradient(n_steps=1, schedule=(0.1,), relative_step=0.1)
    for wrong in ({"probability": 1.5}, {"resize_rate": -0.1}):
        with pytest.raises(ValueError, match="DIFGSM"):
            DIFGSM(**wrong)
    for attack in (DIFGSM(probability=1.0), AugmentedGradient()):
        with pytest.raises(ValueError, match="height, width"):
            attack(lambda x: x[:, :3], torch.rand(2, 5, generator=seeded()), epsilon=0.1)

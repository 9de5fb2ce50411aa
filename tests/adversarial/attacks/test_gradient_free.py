"""Attacks without gradients, APGD and their sequence: exact answers of linear models, and what must not break."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from toolkit.adversarial.attacks.apgd import APGD, difference_of_logits_ratio
from toolkit.adversarial.attacks.autoattack import AutoAttack, honest_accuracy
from toolkit.adversarial.attacks.boundary import BoundaryAttack
from toolkit.adversarial.attacks.gradient import FGSM
from toolkit.adversarial.attacks.noise import NoAttack, RandomSign
from toolkit.adversarial.attacks.spsa import SPSA, estimate_gradient
from toolkit.adversarial.attacks.square import Square
from toolkit.adversarial.attacks.tiles import mosaic, mosaic_grid, retile, tile, window_mask

SHAPE = (1, 6, 6)
AIMING = [
    SPSA(n_steps=3, n_samples=8, delta=0.01, learning_rate=0.05),
    SPSA(n_steps=3, n_samples=8, step="sign", norm="l2"),
    Square(n_queries=20),
    Square(n_queries=20, norm="l2"),
    APGD(n_steps=6),
    APGD("dlr", n_steps=6, norm="l2", early_stop=False),
    APGD("targeted-dlr", n_steps=6, n_targets=2, restarts=2),
    AutoAttack((APGD(n_steps=4), Square(n_queries=10))),
    AutoAttack((APGD("targeted-dlr", n_steps=4, norm="l2"), Square(n_queries=10, norm="l2")), norm="l2"),
]
EVERY = [NoAttack(), RandomSign(), RandomSign(norm="l2"), BoundaryAttack(n_steps=20), *AIMING]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Linear(nn.Module):
    def __init__(self, n_classes: int = 4, dtype: torch.dtype = torch.float64, seed: int = 0, scale: float = 1.0):
        super().__init__()
        n = math.prod(SHAPE)
        self.weight = scale * torch.randn(n_classes, n, generator=generator(seed), dtype=torch.float64).to(dtype)
        self.bias = -self.weight.sum(1) / 2
        self.eval()

    def forward(self, images):
        return images.flatten(1) @ self.weight.T + self.bias


def batch(n: int = 12, dtype: torch.dtype = torch.float64, seed: int = 1):
    """Images away from the faces of the box."""
    return (0.3 + 0.4 * torch.rand(n, *SHAPE, generator=generator(seed), dtype=torch.float64)).to(dtype)


def lengths(change, norm):
    return change.flatten(1).abs().amax(1) if norm == "linf" else change.flatten(1).norm(dim=1)


def needed(model, images, labels, norm):
    """The exact distance of a linear model's boundary; the box is inactive for small ones."""
    logits, own = model(images), model.weight[labels]
    found = torch.full((len(images),), math.inf, dtype=images.dtype)
    for j in range(len(model.weight)):
        other = model.weight[j] - own
        size = other.abs().sum(1) if norm == "linf" else other.norm(dim=1)
        gap = logits.gather(1, labels[:, None])[:, 0] - logits[:, j]
        found = torch.where(labels == j, found, torch.minimum(found, gap / size))
    return found


@pytest.mark.parametrize("attack", EVERY, ids=repr)
class TestEvery:
    def test_stays_in_ball_and_box_with_an_epsilon_each(self, attack):
        model, images = Linear(), batch()
        epsilon = torch.linspace(0, 0.4, len(images), dtype=torch.float64)
        before = images.clone()
        changed = attack(model, images, epsilon=epsilon, generator=generator())
        assert changed.shape == images.shape and changed.dtype == images.dtype and not changed.requires_grad
        assert (lengths(changed - images, attack.ball) <= epsilon + 1e-9).all()
        assert changed.min() >= 0 and changed.max() <= 1
        assert torch.equal(changed[0], images[0]) and torch.equal(images, before)
        assert changed.data_ptr() != images.data_ptr()

    def test_is_determined_by_the_generator_alone(self, attack):
        model, images = Linear(dtype=torch.float32), batch(dtype=torch.float32)
        state = torch.get_rng_state()
        one, two = (attack(model, images, epsilon=0.1, generator=generator(3)) for _ in range(2))
        assert torch.equal(one, two) and one.dtype == torch.float32
        assert torch.equal(torch.get_rng_state(), state)

    def test_empty_batch_and_a_zero_epsilon(self, attack):
        model = Linear()
        assert attack(model, batch()[:0], epsilon=0.1).shape == (0, *SHAPE)
        images = batch(3)
        assert torch.equal(attack(model, images, epsilon=0.0, generator=generator()), images)

    def test_models_without_slope_and_with_logits_that_are_not_numbers(self, attack):
        images = batch(4)
        labels = torch.tensor([0, 1, 2, 3])

        def flat(at):
            return 0 * at.flatten(1)[:, :4] + torch.eye(4, dtype=at.dtype)[labels[torch.arange(len(at)) % 4]]

        def nothing(at):
            return at.flatten(1)[:, :4] * math.nan

        def endless(at):
            return at.flatten(1)[:, :4] * math.inf

        for model in (flat, nothing, endless):
            changed = attack(model, images, labels, epsilon=0.1, generator=generator())
            assert changed.isfinite().all() and (lengths(changed - images, attack.ball) <= 0.1 + 1e-9).all()

        def one_class(at):
            return at.flatten(1)[:, :1]

        assert attack(one_class, images, epsilon=0.1, generator=generator()).isfinite().all()

    def test_one_image_does_not_depend_on_another(self, attack):
        if isinstance(attack, AutoAttack):
            pytest.skip("later attacks draw for what still stands")
        model, images = Linear(), batch()
        other = images.clone()
        other[-1] = 0.5  # another label, another distance
        labels = model(images).argmax(1)
        one = attack(model, images, labels, epsilon=0.1, generator=generator())
        two = attack(model, other, labels, epsilon=0.1, generator=generator())
        torch.testing.assert_close(one[:-1], two[:-1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("attack", EVERY, ids=repr)
def test_labels_that_are_no_classes_of_the_model_are_refused(attack):
    images = batch(3)
    with pytest.raises(ValueError, match="labels"):
        attack(Linear(n_classes=4), images, torch.tensor([0, 1, 4]), epsilon=0.1, generator=generator())


@pytest.mark.parametrize("attack", AIMING, ids=repr)
def test_aims_at_classes(attack):
    model, images = Linear(), batch()
    targets = (model(images).argmax(1) + 1) % 4
    stronger = attack
    if isinstance(attack, SPSA):
        stronger = dataclasses.replace(attack, n_steps=40, n_samples=32, learning_rate=0.1)
    if isinstance(attack, Square):
        stronger = dataclasses.replace(attack, n_queries=300)
    epsilon = 0.3 if attack.ball == "linf" else 2.0
    changed = stronger(model, images, epsilon=epsilon, targets=targets, generator=generator())
    assert (model(changed).argmax(1) == targets).float().mean() >= 0.9
    assert (lengths(changed - images, attack.ball) <= epsilon + 1e-9).all()


def test_noise_moves_every_pixel_by_epsilon_and_is_uniform_on_the_sphere():
    images = batch(200)
    noisy = RandomSign()(Linear(), images, epsilon=0.05, generator=generator())
    change = noisy - images
    torch.testing.assert_close(change.abs(), torch.full_like(change, 0.05))
    assert abs(change.sign().mean()) < 4 / change.numel() ** 0.5
    change = RandomSign(norm="l2")(Linear(), images, epsilon=0.2, generator=generator()) - images
    torch.testing.assert_close(lengths(change, "l2"), torch.full((200,), 0.2, dtype=torch.float64))
    spread = change.flatten(1).square().mean(0) * math.prod(SHAPE) / 0.04
    assert (spread - 1).abs().max() < 0.6 and change.mean().abs() < 0.002
    with pytest.raises(ValueError, match="cannot aim"):
        RandomSign()(Linear(), images, epsilon=0.1, targets=torch.zeros(200, dtype=torch.int64))


def test_spsa_estimates_the_gradient_of_a_linear_function_without_bias():
    weight = torch.randn(5, generator=generator(), dtype=torch.float64)
    images = torch.rand(400, 5, generator=generator(1), dtype=torch.float64)
    found = estimate_gradient(
        lambda at: at @ weight + 3, images, n_samples=50, delta=0.3, generator=generator(2), chunk=1000
    )
    error = (found.mean(0) - weight) / (found.std(0) / 20)
    assert error.abs().max() < 4  # standard errors of the mean of 400 independent estimates
    variance = (weight.square().sum() - weight.square()) / 50
    torch.testing.assert_close(found.var(0), variance, rtol=0.3, atol=0)
    whole = estimate_gradient(
        lambda at: at @ weight + 3, images, n_samples=50, delta=0.3, generator=generator(2), chunk=10**6
    )
    torch.testing.assert_close(found, whole, rtol=1e-9, atol=1e-9)
    assert estimate_gradient(lambda at: at.sum(1) * math.nan, images, n_samples=2, delta=0.1).eq(0).all()
    with pytest.raises(ValueError, match="delta"):
        estimate_gradient(lambda at: at.sum(1), images, n_samples=2, delta=0.0)


@pytest.mark.parametrize("step", ["adam", "sign"])
def test_spsa_raises_the_margin_of_a_linear_model_as_far_as_can_be(step):
    model, images = Linear(2), batch(6)
    labels = model(images).argmax(1)
    epsilon = needed(model, images, labels, "linf") * 1.3
    attack = SPSA(n_steps=60, n_samples=128, learning_rate=0.02, step=step)
    changed = attack(model, images, labels, epsilon=epsilon, generator=generator())
    assert (model(changed).argmax(1) != labels).all()
    unreachable = attack(model, images, labels, epsilon=epsilon / 1.4, generator=generator())
    assert (model(unreachable).argmax(1) == labels).all()


class TestBoundary:
    def test_comes_to_the_exact_distance_of_a_linear_model(self):
        model, images = Linear(3), batch(6)
        labels = model(images).argmax(1)
        exact = needed(model, images, labels, "l2")
        changed = BoundaryAttack(n_steps=1000)(model, images, labels, epsilon=None, generator=generator())
        assert (model(changed).argmax(1) != labels).all()
        ratio = lengths(changed - images, "l2") / exact
        assert ratio.min() >= 1 - 1e-9 and ratio.max() < 1.005

    def test_asks_for_top_labels_only(self):
        model, images = Linear(3), batch(5)

        def hidden(at):
            return F.one_hot(model(at).argmax(1), 3).double()

        one = BoundaryAttack(n_steps=30)(model, images, epsilon=None, generator=generator())
        two = BoundaryAttack(n_steps=30)(hidden, images, epsilon=None, generator=generator())
        assert torch.equal(one, two)

    def test_targets_need_starts_of_their_class(self):
        model, images = Linear(3), batch(40)
        says = model(images).argmax(1)
        targets = (says + 1) % 3
        with pytest.raises(ValueError, match="starts"):
            BoundaryAttack(n_steps=5)(model, images, epsilon=None, targets=targets, generator=generator())
        with pytest.raises(ValueError, match="starts"):
            attack = BoundaryAttack(n_steps=5, starts=images[says == 0])
            attack(model, images, epsilon=None, targets=targets, generator=generator())
        attack = BoundaryAttack(n_steps=300, starts=images)
        changed = attack(model, images, epsilon=None, targets=targets, generator=generator())
        assert (model(changed).argmax(1) == targets).all()
        pairs = torch.cdist(images.flatten(1), images.flatten(1))
        nearest = torch.where(says[None] == targets[:, None], pairs, math.inf).amin(1)
        assert (lengths(changed - images, "l2") < 0.8 * nearest).all()

    def test_what_is_wrong_already_or_cannot_be_started_stays(self):
        model, images = Linear(3), batch(6)
        labels = (model(images).argmax(1) + 1) % 3
        attack = BoundaryAttack(n_steps=5)
        assert torch.equal(attack(model, images, labels, epsilon=None), images)

        def constant(at):
            return torch.eye(3, dtype=at.dtype)[torch.zeros(len(at), dtype=torch.int64)]

        assert torch.equal(attack(constant, images, epsilon=None), images)
        with pytest.raises(ValueError, match="starts"):
            BoundaryAttack(starts=torch.rand(2, 3))(model, images, epsilon=None)


class TestSquare:
    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_counts_queries_and_stops_at_broken_images(self, norm):
        model, images = Linear(), batch()
        labels = model(images).argmax(1)
        labels[0] = (labels[0] + 1) % 4
        asked = []

        def counting(at):
            asked.append(len(at))
            return model(at)

        attack = Square(n_queries=60, norm=norm)
        epsilon = 0.08 if norm == "linf" else 0.5
        found = attack.search(counting, images, labels, epsilon=epsilon, generator=generator())
        assert torch.equal(found.succeeded, model(found.images).argmax(1) != labels)
        assert found.n_queries[0] == 0 and found.n_queries[1:].min() >= 1 and found.n_queries.max() <= 60
        assert (found.n_queries[~found.succeeded] == 60).all() and found.succeeded[1:].any()
        assert len(images) + found.n_queries.sum() <= sum(asked) <= len(images) * 2 + found.n_queries.sum() + 40
        again = attack(model, images, labels, epsilon=epsilon, generator=generator())
        torch.testing.assert_close(again, found.images)

    def test_raises_the_margin_query_by_query(self):
        model, images = Linear(2), batch()
        labels = model(images).argmax(1)
        epsilon = needed(model, images, labels, "linf") * 0.5  # no success, so no early stop

        def margin(at):
            return (lambda z: z.gather(1, 1 - labels[:, None]) - z.gather(1, labels[:, None]))(model(at))

        reached = [
            margin(Square(n_queries=n)(model, images, labels, epsilon=epsilon, generator=generator())).mean()
            for n in (1, 40, 500)
        ]
        assert reached[0] < reached[1] < reached[2]
        best = margin(FGSM()(model, images, labels, epsilon=epsilon)).mean()
        assert best >= reached[2] > best - 0.3 * (best - margin(images).mean())

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    @pytest.mark.parametrize("shape", [(7,), (1,), (3, 5), (2, 3, 9), (3, 1, 1), (1, 11, 2)])
    def test_images_of_every_shape(self, norm, shape):
        images = torch.rand(4, *shape, generator=generator())
        weight = torch.randn(images[0].numel(), 3, generator=generator(1))
        attack = Square(n_queries=15, norm=norm)
        changed = attack(lambda at: at.flatten(1) @ weight, images, epsilon=0.2, generator=generator())
        assert changed.shape == images.shape and changed.isfinite().all()
        assert (lengths(changed - images, norm) <= 0.2 + 1e-6).all()

    def test_schedule_halves_the_area_as_published(self):
        sides = [Square(n_queries=10_000)._window(q, (1, 1, 100, 100))[0] for q in (0, 10, 11, 51, 201, 8001)]
        assert sides == [round(math.sqrt(0.8 * 1e4 / k)) for k in (1, 1, 2, 4, 8, 512)]
        assert Square(n_queries=100)._window(90, (1, 1, 28, 28)) == (1, 1)

    def test_tiles(self):
        assert tile(5, torch.zeros((), dtype=torch.float64)).norm() == pytest.approx(1)
        even = tile(4, torch.zeros((), dtype=torch.float64))
        torch.testing.assert_close(even[:2], -even[2:])
        shape = (3, 2, 28, 28)
        first = mosaic(shape, torch.rand(3, 3, *mosaic_grid(shape), generator=generator(), dtype=torch.float64))
        torch.testing.assert_close(lengths(first, "l2"), torch.ones(3, dtype=torch.float64))
        epsilon = torch.tensor([1.0, 1.5, 2.0], dtype=torch.float64).view(-1, 1, 1, 1)
        corners = torch.tensor([[[0, 0], [20, 20]], [[3, 4], [5, 6]], [[23, 23], [23, 23]]])
        up = torch.ones(3, 2, 1, 1, dtype=torch.bool)
        moved = retile(first, corners, 5, up, torch.tensor([True, False, True]), epsilon)
        torch.testing.assert_close(lengths(moved, "l2"), epsilon.flatten())
        both = window_mask(first, corners[:, 0], (5, 5)) | window_mask(first, corners[:, 1], (5, 5))
        assert torch.equal(moved.masked_fill(both, 0), first.masked_fill(both, 0))


class TestAPGD:
    @pytest.mark.parametrize("norm", ["linf", "l2"])
    @pytest.mark.parametrize("n_classes", [2, 3, 5])
    def test_reaches_the_exact_robust_accuracy_of_linear_models(self, norm, n_classes):
        model, images = Linear(n_classes), batch(24)
        labels = model(images).argmax(1)
        exact = needed(model, images, labels, norm)
        epsilon = float(exact.median())
        near = (exact / epsilon - 1).abs() < 0.02
        robust = exact > epsilon
        losses = ("ce", "targeted-dlr") if n_classes == 2 else ("targeted-dlr",)
        for loss in losses:
            changed = APGD(loss, 40, norm=norm)(model, images, labels, epsilon=epsilon, generator=generator())
            stands = model(changed).argmax(1) == labels
            assert (stands[~near] == robust[~near]).all() and (stands >= robust).all(), loss
        # With more classes the cross-entropy has other peaks than the nearest boundary.
        changed = APGD("ce", 40, restarts=2, norm=norm)(model, images, labels, epsilon=epsilon, generator=generator())
        stands = model(changed).argmax(1) == labels
        assert (stands >= robust).all() and stands.sum() <= robust.sum() + 4

    def test_every_class_is_tried_where_the_cross_entropy_is_blind(self):
        model, images = Linear(4, dtype=torch.float32, scale=1e4), batch(dtype=torch.float32)
        labels = model(images).argmax(1)
        epsilon = needed(model, images, labels, "linf") * 1.05
        assert (model(APGD("targeted-dlr", 40, n_targets=3)(model, images, labels, epsilon=epsilon)) > -1e9).all()
        aimed = APGD("targeted-dlr", 40, n_targets=3)(model, images, labels, epsilon=epsilon, generator=generator())
        blind = APGD("ce", 40)(model, images, labels, epsilon=epsilon, generator=generator())
        assert (model(aimed).argmax(1) != labels).all()
        assert (model(blind).argmax(1) != labels).sum() < len(images)

    def test_halves_steps_that_overshoot(self):
        peak = 0.53  # the loss falls on both sides of it, nearer than the first step is long

        def model(at):
            return torch.stack([(at.flatten(1) - peak).square().sum(1) * 50, 0 * at.flatten(1).sum(1)], 1)

        images, labels = torch.full((3, 4), 0.5, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)
        attack = APGD("ce", n_steps=100, early_stop=False)
        changed = attack(model, images, labels, epsilon=0.1, generator=generator())
        assert (changed - peak).abs().max() < 2e-3

    def test_goes_on_to_the_highest_loss_without_early_stop(self):
        model, images = Linear(), batch()
        labels = model(images).argmax(1)

        def loss(at):
            return F.cross_entropy(model(at), labels, reduction="none")

        early, late = (APGD(n_steps=20, early_stop=stop) for stop in (True, False))
        one, two = (attack(model, images, labels, epsilon=0.1, generator=generator()) for attack in (early, late))
        assert (loss(two) >= loss(one) - 1e-9).all() and (loss(two) > loss(one) + 1e-3).any()

    def test_ratio_does_not_change_with_the_scale(self):
        logits = torch.randn(6, 5, generator=generator(), dtype=torch.float64)
        gap = logits[:, 0] - logits[:, 1]
        for targeted in (False, True):
            one = difference_of_logits_ratio(logits, gap, targeted=targeted)
            two = difference_of_logits_ratio(7 * logits + 3, 7 * gap, targeted=targeted)
            torch.testing.assert_close(one, two)
        top = logits.sort(1, descending=True).values
        torch.testing.assert_close(
            difference_of_logits_ratio(logits, gap, targeted=True), gap / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2)
        )

    def test_follows_the_losses_of_a_model_that_has_its_own(self):
        class Own(Linear):
            def losses(self, images, labels):
                return images.flatten(1).sum(1)

        model, images = Own(), batch()
        # Labels that the model never says there, or it would be left where it errs last.
        labels = model(images + 0.1).argmin(1)
        attack = APGD(n_steps=20, early_stop=False)
        changed = attack(model, images, labels, epsilon=0.1, generator=generator())
        torch.testing.assert_close(changed, images + 0.1, rtol=0, atol=1e-6)

    def test_settings_are_checked(self):
        for wrong in ({"n_steps": 0}, {"n_targets": 0}, {"restarts": 0}):
            with pytest.raises(ValueError, match="APGD"):
                APGD(**wrong)


class Masked(Linear):
    """Pixels are rounded, which no gradient passes."""

    def forward(self, images):
        return super().forward((images * 20).round() / 20 + 0 * images)


class Random(Linear):
    def __init__(self):
        super().__init__()
        self.generator = generator()

    def forward(self, images):
        noise = torch.randn(images.shape, generator=self.generator, dtype=images.dtype)
        return super().forward(images + 0.1 * noise)


class TestAutoAttack:
    def test_each_attack_gets_what_stands(self):
        seen = []

        class Spy(NoAttack):
            def perturb(self, task):
                seen.append(len(task.images))
                return task.images + task.epsilon if len(seen) == 2 else task.images.clone()

        def model(at):
            return torch.stack([0.6 - at[:, 0], at[:, 0] * 0], 1)

        images = torch.tensor([[0.1], [0.5], [0.7], [0.55]])
        labels = torch.zeros(4, dtype=torch.int64)
        attack = AutoAttack((Spy(), Spy(), Spy()))
        changed = attack(model, images, labels, epsilon=0.2)
        assert seen == [3, 3, 1]
        torch.testing.assert_close(changed[:, 0], torch.tensor([0.1, 0.7, 0.7, 0.75]))

    def test_honest_accuracy_of_a_linear_model_is_exact(self):
        model, images = Linear(4), batch(12)
        labels = model(images).argmax(1)
        labels[:3] = (labels[:3] + 1) % 4
        exact = needed(model, images, labels, "linf")
        epsilon = float(exact[3:].median()) * 1.001
        found = honest_accuracy(model, images, labels, epsilon, size="quick", generator=generator(), batch_size=7)
        assert found.clean == 9 / 12 and found.robust == pytest.approx(float((exact > epsilon).double().mean()))
        assert list(found.accuracies) == ["APGD-CE", "APGD-T", "Square"]
        falling = [found.clean, *found.accuracies.values()]
        assert falling == sorted(falling, reverse=True) and falling[-1] == found.robust
        assert not found.suspicious and found.zero_gradients == 0 and found.n_images == 12
        assert set(found.to_dict()) == {field.name for field in dataclasses.fields(found)}
        assert found.standard_error == pytest.approx((found.robust * (1 - found.robust) / 12) ** 0.5)

    def test_masked_gradients_are_seen(self):
        model, images = Masked(), batch(30)
        labels = model(images).argmax(1)
        found = honest_accuracy(model, images, labels, 0.05, size="quick", generator=generator())
        assert found.zero_gradients == 1 and found.gradient_free_gain > 0.2 and len(found.warnings) == 2
        assert found.accuracies["Square"] < found.accuracies["APGD-T"]

    def test_random_models_models_without_gradient_and_probabilities_are_seen(self):
        images = batch(20)
        labels = Linear()(images).argmax(1)
        few = (APGD(n_steps=3), Square(n_queries=5))
        assert honest_accuracy(Random(), images, labels, 0.05, attacks=few).random_outputs
        plain = honest_accuracy(Linear(), images, labels, 0.05, attacks=few)
        assert not plain.random_outputs and not plain.probabilities

        def hard(at):
            return Linear()(at).detach()

        found = honest_accuracy(hard, images, labels, 0.05, attacks=few)
        assert found.no_gradient and list(found.accuracies) == ["Square"] and math.isnan(found.zero_gradients)

        def soft(at):
            return Linear()(at).softmax(1)

        assert honest_accuracy(soft, images, labels, 0.05, attacks=few).probabilities

    def test_no_images_and_wrong_arguments(self):
        model, images = Linear(), batch(3)
        labels = model(images).argmax(1)
        nothing = honest_accuracy(model, images[:0], labels[:0], 0.1)
        assert nothing.n_images == 0 and math.isnan(nothing.robust) and nothing.warnings == ()
        with pytest.raises(ValueError, match="attacks"):
            AutoAttack((APGD(norm="l2"),))
        with pytest.raises(ValueError, match="classes"):
            honest_accuracy(model, images, labels + 10, 0.1, size="quick")
        twice = honest_accuracy(model, images, labels, torch.tensor([0.1, 0.0, 0.2]), attacks=[FGSM(), FGSM()])
        assert list(twice.accuracies) == ["FGSM", "FGSM 2"] and twice.epsilon == pytest.approx(0.2)

    def test_defaults(self):
        standard, quick = AutoAttack().members, AutoAttack(norm="l2", size="quick").members
        assert [m.n_steps for m in standard[:2]] == [100, 100] and standard[2].n_queries == 5000
        assert all(member.ball == "l2" for member in quick)

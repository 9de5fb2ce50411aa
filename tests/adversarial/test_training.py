"""Training of classifiers: what it changes and what it leaves, resuming, adversaries, and that it makes robust."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from toolkit.adversarial.attacks.gradient import FGSM, PGD
from toolkit.adversarial.evaluation import accuracy
from toolkit.adversarial.models import classifier
from toolkit.adversarial.training import (
    EnsembleAdversary,
    FixedFGSM,
    HalfBatchFGSM,
    PGDAdversary,
    train_classifier,
)
from toolkit.core.errors import CheckpointError


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return images, torch.tensor(labels)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(name="resnet", seed=0, dtype=None):
    return classifier(name, (1, 8, 8), width=0.5, generator=seeded(seed), dtype=dtype)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_learns_digits(digits):
    images, labels = digits
    model = small()
    history = train_classifier(model, images[:1200], labels[:1200], epochs=4, learning_rate=1e-2, generator=seeded())
    assert history.n_steps == 4 * 19
    assert not model.training
    assert history["loss"][-10:].mean() < 0.3 * history["loss"][:10].mean()
    assert accuracy(model, images[1200:], labels[1200:]) > 0.85
    assert all(parameter.grad is None and parameter.is_contiguous() for parameter in model.parameters())


def test_one_step_is_that_of_adam_at_the_first_rate_of_the_cycle(digits):
    images, labels = digits[0][:20].double(), digits[1][:20]
    model, twin = small("lenet", dtype=torch.float64), small("lenet", dtype=torch.float64)
    history = train_classifier(
        model, images, labels, epochs=4, batch_size=20, learning_rate=1e-2, generator=seeded(), stop=stop_after(1)
    )
    rate = history["learning rate"][0]
    assert rate == pytest.approx(1e-2 / 25)
    twin.train()
    F.cross_entropy(twin(images), labels).backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        step = rate * theirs.grad / (theirs.grad.abs() + 1e-8)
        torch.testing.assert_close(ours, theirs - step, rtol=0, atol=1e-9)


def stop_after(n_checks):
    """An event that says stop after the loop has asked so often and been told no."""

    class Stop(threading.Event):
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > n_checks

    return Stop()


@pytest.mark.parametrize(
    "adversary", [None, HalfBatchFGSM(0.2), PGDAdversary(0.2, n_steps=2), FixedFGSM(0.2), "ensemble"]
)
def test_resumed_training_equals_an_uninterrupted_one(digits, tmp_path, adversary):
    images, labels = digits[0][:200], digits[1][:200]
    if adversary == "ensemble":
        adversary = EnsembleAdversary([small("lenet", 5).eval()], 0.2)
    whole, broken = small(), small()
    settings = {"adversary": adversary, "epochs": 2, "batch_size": 64}
    history = train_classifier(whole, images, labels, generator=seeded(3), **settings)
    path = tmp_path / "run.pt"
    first = train_classifier(
        broken, images, labels, generator=seeded(3), checkpoint=path, stop=stop_after(3), **settings
    )
    assert first.interrupted and first.n_steps == 3
    fresh = small(seed=9)
    second = train_classifier(fresh, images, labels, generator=seeded(77), checkpoint=path, **settings)
    assert not second.interrupted
    assert same(state_of(whole), state_of(fresh))
    assert list(history["loss"]) == list(second["loss"])
    with pytest.raises(CheckpointError):
        train_classifier(small(), images, labels, checkpoint=path, **{**settings, "adversary": HalfBatchFGSM(0.3)})


def test_the_generator_decides_and_the_global_one_is_not_touched(digits):
    images, labels = digits[0][:100], digits[1][:100]
    trained = []
    for seed in (1, 1, 2):
        model = small()
        before = torch.get_rng_state()
        train_classifier(model, images, labels, adversary=PGDAdversary(0.1, 1), epochs=1, generator=seeded(seed))
        assert torch.equal(before, torch.get_rng_state())
        trained.append(state_of(model))
    assert same(trained[0], trained[1]) and not same(trained[0], trained[2])


def test_integers_train_as_the_floats_they_stand_for(digits):
    images, labels = (digits[0][:100] * 255).round().to(torch.uint8), digits[1][:100]
    model, twin = small(), small()
    train_classifier(model, images, labels, epochs=1, generator=seeded())
    train_classifier(twin, images.float() / 255, labels, epochs=1, generator=seeded())
    assert same(state_of(model), state_of(twin))
    double = small(dtype=torch.float64)
    train_classifier(double, images, labels, epochs=1, generator=seeded())
    assert next(double.parameters()).dtype == torch.float64


@pytest.mark.parametrize(("adversary", "share"), [(HalfBatchFGSM(0.2), 0.5), (FixedFGSM(0.2), 1.0)])
def test_what_an_adversary_changes(digits, adversary, share):
    images, labels = digits[0][:8], digits[1][:8]
    model = small("lenet").eval()
    before = state_of(model)
    changed = adversary.change(model, images, labels, seeded())
    moved = (changed - images).abs().flatten(1).amax(1)
    assert (moved > 0).sum() == 8 * share
    assert (moved[: int(8 * share)] > 0).all()
    assert moved.max() <= 0.2 + 1e-6 and changed.min() >= 0 and changed.max() <= 1
    assert same(before, state_of(model)) and all(p.grad is None for p in model.parameters())


def test_half_batch_draws_epsilon_for_each_image_and_attacks_the_prediction(digits):
    images, labels = 0.4 + 0.2 * digits[0][:400], (digits[1][:400] + 1) % 10
    model = small("lenet").eval()
    changed = HalfBatchFGSM(0.2).change(model, images, labels, seeded())[:200]
    epsilon = (changed - images[:200]).abs().flatten(1).amax(1)
    assert len(epsilon.unique()) > 150
    assert 0.08 < epsilon.mean() < 0.12
    torch.testing.assert_close(changed, FGSM()(model, images[:200], None, epsilon=epsilon), rtol=0, atol=2e-7)
    true = HalfBatchFGSM(0.2, predicted_labels=False).change(model, images, labels, seeded())[:200]
    torch.testing.assert_close(true, FGSM()(model, images[:200], labels[:200], epsilon=epsilon), rtol=0, atol=2e-7)


def test_half_of_an_odd_batch_is_the_larger_half(digits):
    model = small("lenet").eval()
    for n, n_changed in ((1, 1), (5, 3)):
        images = digits[0][:n]
        changed = HalfBatchFGSM(0.2).change(model, images, digits[1][:n], seeded())
        assert ((changed != images).flatten(1).any(1)).tolist() == [True] * n_changed + [False] * (n - n_changed)


def test_ensemble_adversary_draws_the_model_for_each_batch(digits):
    images, labels = 0.4 + 0.2 * digits[0][:4], digits[1][:4]
    current, fixed = small("lenet").eval(), small("strided", 4).train()
    adversary, generator, seen = EnsembleAdversary([fixed], 0.2), seeded(), []
    for _ in range(40):
        changed = adversary.change(current, images, labels, generator)[:2]
        epsilon = (changed - images[:2]).abs().flatten(1).amax(1)
        fixed.eval()
        by = [
            torch.allclose(FGSM()(source, images[:2], epsilon=epsilon), changed, atol=1e-6)
            for source in (current, fixed)
        ]
        fixed.train()
        assert sum(by) == 1
        seen.append(by[1])
    assert 10 <= sum(seen) <= 30
    assert fixed.training


def test_crafting_neither_uses_nor_changes_batch_statistics(digits):
    images, labels = digits[0][:32], digits[1][:32]
    model, fixed = small("resnet"), small("resnet", 3)
    seen = []

    class Watched(HalfBatchFGSM):
        def change(self, model, images, labels, generator):
            before = state_of(model)
            changed = super().change(model, images, labels, generator)
            seen.append(not model.training and same(before, state_of(model)))
            return changed

    counted = next(layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))
    train_classifier(model, images, labels, adversary=Watched(0.2), epochs=3, generator=seeded())
    assert seen == [True] * 3
    assert int(counted.num_batches_tracked) == 3
    before = state_of(fixed)
    train_classifier(model, images, labels, adversary=EnsembleAdversary([fixed], 0.2), epochs=3, generator=seeded())
    assert same(before, state_of(fixed)) and fixed.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in fixed.parameters())


def test_half_batch_training_makes_robust(digits):
    images, labels = digits
    train_images, train_labels, images, labels = images[:1200], labels[:1200], images[1200:], labels[1200:]
    plain, robust = small("lenet"), small("lenet")
    settings = {"epochs": 6, "learning_rate": 1e-2}
    train_classifier(plain, train_images, train_labels, generator=seeded(), **settings)
    train_classifier(robust, train_images, train_labels, adversary=HalfBatchFGSM(0.3), generator=seeded(), **settings)
    for attack in (FGSM(), PGD(n_steps=10)):
        found = [
            accuracy(model, attack(model, images, labels, epsilon=0.125, generator=seeded()), labels)
            for model in (plain, robust)
        ]
        assert found[1] > found[0] + 0.15, (attack, found)
    assert accuracy(robust, images, labels) > 0.8


def test_evaluation_sees_the_model_in_evaluation_mode(digits):
    model, modes = small(), []

    def evaluate(done):
        modes.append(model.training)
        return {"done": done}

    history = train_classifier(
        model, digits[0][:64], digits[1][:64], epochs=4, generator=seeded(), evaluate=evaluate, evaluate_every=2
    )
    assert modes == [False, False] and list(history["done"]) == [2, 4]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"images": torch.full((4, 1, 8, 8), 16.0)}, ValueError),
        ({"images": torch.full((4, 1, 8, 8), float("nan"))}, ValueError),
        ({"images": torch.zeros(4, 1, 8, 8, dtype=torch.int64)}, TypeError),
        ({"images": torch.zeros(0, 1, 8, 8), "labels": torch.zeros(0, dtype=torch.int64)}, ValueError),
        ({"labels": torch.tensor([0, 1, 2, 10])}, ValueError),
        ({"labels": torch.tensor([0, 1, 2, -1])}, ValueError),
        ({"labels": torch.tensor([0, 1, 2])}, ValueError),
        ({"epochs": -1}, ValueError),
        ({"epochs": 1.5}, TypeError),
        ({"batch_size": 0}, ValueError),
        ({"learning_rate": 0.0}, ValueError),
        ({"learning_rate": float("nan")}, ValueError),
    ],
)
def test_bad_arguments_are_named(change, error):
    arguments = {"images": torch.zeros(4, 1, 8, 8), "labels": torch.tensor([0, 1, 2, 3]), "epochs": 1, **change}
    images, labels = arguments.pop("images"), arguments.pop("labels")
    model = small()
    before = state_of(model)
    try:
        train_classifier(model, images, labels, **arguments)
    except Exception as raised:
        if not isinstance(raised, error):
            assert "beartype" in type(raised).__module__ or "jaxtyping" in type(raised).__module__
    else:
        pytest.fail("nothing was raised")
    assert same(before, state_of(model))


def test_bad_adversaries_are_refused():
    for make in (HalfBatchFGSM, FixedFGSM, PGDAdversary):
        with pytest.raises(ValueError, match="epsilon"):
            make(-0.1)
        with pytest.raises(ValueError, match="epsilon"):
            make(float("nan"))
    with pytest.raises(ValueError, match="models"):
        EnsembleAdversary([], 0.1)
    with pytest.raises(ValueError, match="n_steps"):
        PGDAdversary(0.1, n_steps=0)


def test_no_epochs_change_nothing(digits):
    model = small()
    before = copy.deepcopy(model.state_dict())
    history = train_classifier(model, digits[0][:8], digits[1][:8], epochs=0)
    assert history.n_steps == 0 and same(before, model.state_dict())

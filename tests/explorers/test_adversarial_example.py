"""One image under attack: against a linear network where everything is known, and with every control at its ends."""

import itertools

import pytest
import torch
from torch import nn

from toolkit.core.text_width import text_width
from toolkit.explorers import adversarial_example, explore_adversarial_example
from toolkit.explorers.adversarial_example import ANY, ATTACKS, MOST, NETWORKS, Example, attack_one, describe, draw
from toolkit.explorers.clothes import clothes


def find(name):
    """Return a linear network of its own for each name."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double().eval()
    generator = torch.Generator().manual_seed(NETWORKS.index(name))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.requires_grad_(False)


@pytest.mark.parametrize("target", [ANY, "sandal"])
def test_one_step_is_the_sign_of_the_gradient_by_hand(target):
    data = clothes()
    found = attack_one(data, find, "lenet", 3, "FGSM", 10, target)
    weight, bias = find("lenet")[1].weight, find("lenet")[1].bias
    image = data.images[2].flatten()
    logits = weight @ image + bias
    goal = data.names.index(target) if target != ANY else int(data.labels[2])
    wanted = torch.eye(10, dtype=torch.float64)[goal]
    gradient = weight.T @ (logits.softmax(0) - wanted) * (1 if target == ANY else -1)
    expected = (image + 10 / 255 * gradient.sign()).clamp(0, 1)
    torch.testing.assert_close(found.changed.flatten(), expected)
    torch.testing.assert_close(found.before, logits.softmax(0))
    torch.testing.assert_close(found.after, (weight @ expected + bias).softmax(0))
    assert found.target == (None if target == ANY else goal) and found.label == int(data.labels[2])
    assert found.after[goal] > found.before[goal] if target != ANY else found.after[goal] < found.before[goal]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_leaves_the_ball_or_depends_on_the_draw(attack):
    first, second = (attack_one(clothes(), find, "vgg", 5, attack, 7) for _ in range(2))
    assert float((first.changed - first.clean).abs().max()) <= 7 / 255 + 1e-12
    assert float(first.changed.min()) >= 0 and float(first.changed.max()) <= 1
    assert torch.equal(first.changed, second.changed) and not torch.equal(first.changed, first.clean)


def test_more_steps_do_more_than_random_signs():
    losses = [float(attack_one(clothes(), find, "lenet", 1, attack, 8).after[0]) for attack in ATTACKS]
    assert max(losses[1:]) < losses[0]


def test_nothing_allowed_changes_nothing():
    found = attack_one(clothes(), find, "lenet", 50, "PGD, 40 steps", 0)
    assert torch.equal(found.changed, found.clean) and torch.equal(found.before, found.after)
    assert "0 % of the pixels changed, by 0.0 grey levels" in describe(found)


def test_the_sentence_says_what_happens_to_the_true_class():
    own = clothes().names[int(clothes().labels[15])]
    fooled, helped = (attack_one(clothes(), find, "lenet", 16, "BIM, 10 steps", MOST, aim) for aim in (ANY, own))
    assert fooled.said[1] != fooled.label and "% for the true class." in describe(fooled)
    assert helped.said[1] == helped.label and f"{own}, the true class." in describe(helped)
    assert f"aimed at {own}, its own class:" in describe(helped) and "its own" not in describe(fooled)


def test_random_signs_ignore_the_aim():
    data = clothes()
    plain, aimed = (attack_one(data, find, "lenet", 1, "random signs", 16, where) for where in (ANY, "bag"))
    assert aimed.target is None and torch.equal(plain.changed, aimed.changed)


def made(label, target, first, second, names=("sandal", "ankle boot", "T-shirt/top")):
    before, after = (torch.eye(3, dtype=torch.float64)[said] for said in (first, second))
    image = torch.zeros(28, 28, dtype=torch.float64)
    return Example("MI-FGSM, 10 steps", "LeNet", 1, names, label, target, image, image, before, after)


@pytest.mark.parametrize(
    ("label", "target", "first", "second", "title"),
    [
        (1, None, 1, 1, "MI-FGSM at 1/255: it is still an ankle boot"),
        (1, None, 1, 0, "MI-FGSM at 1/255: an ankle boot becomes a sandal"),
        (1, 0, 1, 0, "MI-FGSM at 1/255: an ankle boot becomes a sandal, as aimed"),
        (1, 2, 1, 0, "MI-FGSM at 1/255: an ankle boot becomes a sandal, not as aimed"),
        (1, None, 0, 0, "It was wrong before any change: an ankle boot taken for a sandal"),
        (1, 1, 0, 1, "MI-FGSM at 1/255: it was wrong, now it is right, an ankle boot"),
    ],
)
def test_the_title_says_what_happened(label, target, first, second, title):
    assert title in draw(made(label, target, first, second)).to_string()


def test_no_title_is_cut_off():
    names = clothes().names
    image, one_hot = torch.zeros(2, 2, dtype=torch.float64), torch.eye(10, dtype=torch.float64)
    for label, aimed, first, second in itertools.product(range(10), (False, True), range(10), range(10)):
        attack, target = ("MI-FGSM, 10 steps", (second + 1) % 10) if aimed else ("random signs", None)
        found = Example(attack, "LeNet", 32, names, label, target, image, image, one_hot[first], one_hot[second])
        words = adversarial_example._finding(found)
        assert text_width(words, 14, bold=True) < adversarial_example._WIDTH - 24, words
    assert max(ATTACKS, key=lambda name: len(name.partition(",")[0])) == "random signs"
    aiming = [name.partition(",")[0] for name, attack in ATTACKS.items() if attack.accepts_targets]
    assert max(aiming, key=len) == "MI-FGSM"


@pytest.mark.parametrize(
    "wrong", [("lenet", 0, "FGSM", 1), ("lenet", 501, "FGSM", 1), ("lenet", 1, "none", 1), ("lenet", 1, "FGSM", 33)]
)
def test_what_there_is_not(wrong):
    with pytest.raises(ValueError, match="expected"):
        attack_one(clothes(), find, *wrong)
    with pytest.raises(ValueError, match="target"):
        attack_one(clothes(), find, "lenet", 1, "FGSM", 1, "hat")


def test_every_control_changes_picture_and_sentence_and_none_is_dead():
    view = explore_adversarial_example(find=find)
    assert view.error is None and not view.controls["target"].disabled
    for name, value in (
        ("which", "vgg"),
        ("number", 50),
        ("attack", "BIM, 10 steps"),
        ("target", "bag"),
        ("epsilon", MOST),
    ):
        picture, text = view.drawn.svg.to_string(), view.text
        view.controls[name].value = value
        assert view.error is None and view.text != text and view.drawn.svg.to_string() != picture
    view.controls["attack"].value = "random signs"
    assert view.error is None and view.controls["target"].disabled
    assert "cannot aim" in view.controls["target"].tooltip and "aimed" not in view.text
    assert view.text.endswith("Random signs cannot aim at a class.")
    view.reset()
    assert view.error is None and not view.controls["target"].disabled

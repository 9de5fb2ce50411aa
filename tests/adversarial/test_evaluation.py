"""Accuracies counted by hand, attacks in batches, and the curve over epsilon."""

import math

import pytest
import torch

from toolkit.adversarial.attacks.gradient import BIM, FGSM, PGD
from toolkit.adversarial.evaluation import accuracy, attack_in_batches, predict, robust_accuracy
from toolkit.adversarial.exact import LinearClassifier
from toolkit.adversarial.models import classifier


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(classes: int = 2) -> LinearClassifier:
    weight = torch.randn(classes, 1, 4, 4, generator=generator())
    return LinearClassifier(weight, torch.zeros(classes))


def batch(n: int = 60, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(n, 1, 4, 4, generator=generator(1))
    labels = linear(classes)(images).argmax(1)
    labels[::7] = (labels[::7] + 1) % classes
    return images, labels


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1000])
def test_accuracy_is_the_share_of_right_answers(batch_size):
    images, labels = batch()
    assert accuracy(linear(), images, labels, batch_size=batch_size) == pytest.approx(51 / 60)
    found = predict(linear(), images, batch_size=batch_size)
    assert torch.equal(found, linear()(images).argmax(1)) and found.dtype == torch.int64


def test_no_images():
    images, labels = batch(0)
    assert math.isnan(accuracy(linear(), images, labels))
    assert predict(linear(), images).shape == (0,)
    assert attack_in_batches(FGSM(), linear(), images, labels, epsilon=0.1).shape == (0, 1, 4, 4)
    found = robust_accuracy(linear(), images, labels, FGSM(), [0.1])
    assert found.n_images == 0 and math.isnan(found.accuracies[0]) and math.isnan(found.standard_errors[0])


def test_predictions_keep_no_graph_and_change_nothing():
    model = classifier("vgg", (1, 4, 4), generator=generator()).eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.rand(5, 1, 4, 4, generator=generator(), requires_grad=True)
    assert not predict(model, images).requires_grad
    accuracy(model, images, torch.zeros(5, dtype=torch.int64))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("batch_size", [1, 7, 60, 250])
def test_batches_do_not_change_an_attack(batch_size):
    images, labels = batch(classes=3)
    model = linear(3)
    each = torch.linspace(0, 0.3, 60)
    for epsilon in (0.1, torch.tensor(0.1), each):
        for targets in (None, (labels + 1) % 3):
            whole = BIM(n_steps=3)(model, images, labels, epsilon=epsilon, targets=targets)
            found = attack_in_batches(
                BIM(n_steps=3), model, images, labels, epsilon=epsilon, targets=targets, batch_size=batch_size
            )
            torch.testing.assert_close(found, whole)
    guessed = attack_in_batches(FGSM(), model, images, epsilon=each, batch_size=batch_size)
    torch.testing.assert_close(guessed, FGSM()(model, images, epsilon=each))


def test_batches_draw_one_after_the_other():
    images, labels = batch()
    attack = PGD(n_steps=2)
    first, again = (
        attack_in_batches(attack, linear(), images, labels, epsilon=0.1, generator=generator(4), batch_size=30)
        for _ in range(2)
    )
    assert torch.equal(first, again)
    drawing = generator(4)
    halves = [
        attack(linear(), images[part], labels[part], epsilon=0.1, generator=drawing)
        for part in (slice(0, 30), slice(30, 60))
    ]
    assert torch.equal(first, torch.cat(halves))


def test_on_a_linear_model_of_two_classes_the_curve_is_the_exact_one():
    images, labels = batch()
    model, epsilons = linear(), (0.0, 0.01, 0.05, 0.2, 1.0)
    found = robust_accuracy(model, images, labels, FGSM(), epsilons)
    exact = [model.robust_accuracy(images, labels, epsilon) for epsilon in epsilons]
    assert found.epsilons == epsilons and found.n_images == 60
    assert list(found.accuracies) == pytest.approx(exact)
    assert found.accuracies[0] == pytest.approx(51 / 60) and found.accuracies[-1] == 0
    for share, error in zip(found.accuracies, found.standard_errors, strict=True):
        assert error == pytest.approx(math.sqrt(share * (1 - share) / 60))
    assert found.to_dict()["accuracies"] == found.accuracies


def test_what_transfers_from_another_model():
    images, labels = batch()
    weight = linear().weight
    other = LinearClassifier(-weight, torch.zeros(2))  # an attack on it makes images easier for the judged one
    found = robust_accuracy(linear(), images, labels, FGSM(), [0.3], source=other)
    assert found.accuracies[0] > accuracy(linear(), images, labels)
    assert robust_accuracy(linear(), images, labels, FGSM(), []).accuracies == ()


@pytest.mark.parametrize("call", [accuracy, predict, attack_in_batches])
def test_batches_hold_at_least_one_image(call):
    images, labels = batch(3)
    given = {"images": images, "batch_size": 0} | ({} if call is predict else {"labels": labels})
    given |= {"attack": FGSM(), "epsilon": 0.1} if call is attack_in_batches else {}
    with pytest.raises(ValueError, match="batch_size"):
        call(model=linear(), **given)


def test_what_does_not_fit_the_images_is_said_before_anything_is_attacked():
    images, labels = batch()
    seen = []

    def model(x):
        seen.append(len(x))
        return linear()(x)

    for epsilon in (torch.full((61,), 0.1), torch.full((59,), 0.1), torch.full((60, 1), 0.1)):
        with pytest.raises(ValueError, match="epsilon"):
            attack_in_batches(FGSM(), model, images, labels, epsilon=epsilon, batch_size=30)
    for name in ("labels", "targets"):
        for wrong in (torch.cat([labels, labels]), labels[:59], labels - 1):
            with pytest.raises((ValueError, TypeError), match=name):
                attack_in_batches(FGSM(), model, images, epsilon=0.1, batch_size=30, **{name: wrong})
    assert not seen

"""The call that all attacks share: what it refuses, what it leaves alone, what kinds of models it takes."""

import gc
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import toolkit
from toolkit.adversarial.attacks.base import Attack, check_epsilon, check_images, check_labels, image_norm
from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM, PGD, StepLeastLikely
from toolkit.adversarial.models import classifier

ATTACKS = [FGSM(), BIM(n_steps=3), PGD(n_steps=3), MIFGSM(n_steps=3), BIM(n_steps=3, norm="l2")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(name: str = "vgg", seed: int = 0) -> nn.Module:
    return classifier(name, (1, 8, 8), 5, width=0.4, generator=generator(seed)).eval()


def batch(n: int = 4, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = generator(seed)
    return torch.rand(n, 1, 8, 8, generator=g), torch.randint(5, (n,), generator=g)


# What is refused


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"images": torch.rand(4, 1, 8, 8) * 200 + 2}, ValueError, "divide by 255"),
        ({"images": torch.rand(4, 1, 8, 8) - 0.5}, ValueError, "finite pixels in"),
        ({"images": torch.full((4, 1, 8, 8), 1.0 + 1e-6)}, ValueError, "finite pixels in"),
        ({"images": torch.full((4, 1, 8, 8), float("nan"))}, ValueError, "finite pixels in"),
        ({"images": torch.full((4, 1, 8, 8), float("inf"))}, ValueError, "finite pixels in"),
        ({"labels": torch.tensor([0, 1, 2, 5])}, ValueError, "labels(.|\n)*0 to 4(.|\n)*5"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, ValueError, "labels(.|\n)*negative"),
        ({"targets": torch.tensor([0, 1, 2, 5])}, ValueError, "targets(.|\n)*0 to 4(.|\n)*5"),
        ({"targets": torch.tensor([0, 1, 2, -1])}, ValueError, "targets(.|\n)*negative"),
        ({"epsilon": -0.1}, ValueError, "epsilon"),
        ({"epsilon": float("nan")}, ValueError, "epsilon"),
        ({"epsilon": float("inf")}, ValueError, "epsilon"),
        ({"epsilon": None}, ValueError, "epsilon"),
        ({"epsilon": torch.tensor([0.1, 0.1, float("nan"), 0.1])}, ValueError, "epsilon"),
        ({"epsilon": torch.full((3,), 0.1)}, ValueError, "epsilon(.|\n)*shape"),
        ({"epsilon": torch.full((4, 1, 1, 1), 0.1)}, ValueError, "epsilon(.|\n)*shape"),
        ({"model": lambda x: torch.zeros(len(x), 5)}, ValueError, "differentiable"),
        ({"model": lambda x: (x * 0).round().flatten(1).detach()}, ValueError, "differentiable"),
        ({"model": lambda x: x.flatten(1)[:3]}, ValueError, "logits of shape"),
        ({"model": lambda x: x}, ValueError, "logits of shape"),
        ({"model": lambda x: x.mean()}, ValueError, "logits of shape"),
        ({"model": lambda x: {"logits": x.flatten(1)}}, TypeError, "logits of shape(.|\n)*dict"),
        ({"model": lambda x: x.detach().flatten(1).numpy()}, TypeError, "logits of shape(.|\n)*ndarray"),
    ],
)
def test_one_clear_error(change, kind, message):
    images, labels = batch()
    given = {"model": network(), "images": images, "labels": labels, "epsilon": 0.1} | change
    for attack in (FGSM(), BIM(n_steps=2)):
        with pytest.raises(kind, match=message):
            attack(given.pop("model"), given.pop("images"), given.pop("labels"), **given)
        given = {"model": network(), "images": images, "labels": labels, "epsilon": 0.1} | change


def test_without_type_checks_wrong_types_and_shapes_are_told_as_clearly():
    # In a process of its own: here jaxtyping would complain first.
    root = Path(toolkit.__file__).resolve().parents[1]
    program = """
import numpy as np, torch
from toolkit.adversarial.attacks.gradient import FGSM
x, y = torch.rand(4, 9), torch.tensor([0, 1, 2, 3])
model = torch.nn.Linear(9, 5)
model.eval()
for name, kind, change in [
    ("images", TypeError, {"images": (x * 255).to(torch.uint8)}),
    ("images", TypeError, {"images": x.numpy()}),
    ("images", ValueError, {"images": x[0]}),
    ("labels", TypeError, {"labels": y.float()}),
    ("labels", TypeError, {"labels": y > 1}),
    ("labels", TypeError, {"labels": [0, 1, 2, 3]}),
    ("labels", ValueError, {"labels": y[:3]}),
    ("labels", ValueError, {"labels": y[:, None]}),
    ("targets", ValueError, {"targets": y[:3]}),
    ("targets", TypeError, {"targets": y.float()}),
    ("epsilon", TypeError, {"epsilon": "8/255"}),
    ("epsilon", TypeError, {"epsilon": True}),
    ("generator", TypeError, {"generator": 3}),
]:
    given = {"images": x, "labels": y, "epsilon": 0.1} | change
    try:
        FGSM()(model, given.pop("images"), given.pop("labels"), **given)
    except (TypeError, ValueError) as error:
        assert type(error) is kind and f"'{name}'" in str(error), (name, change, error)
        assert str(error).count(chr(10)) == 2, error
    else:
        raise AssertionError(change)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_attack_that_cannot_aim_or_must():
    images, labels = batch()
    with pytest.raises(ValueError, match="cannot aim"):
        StepLeastLikely()(network(), images, epsilon=0.1, targets=labels)

    class Aimed(FGSM):
        requires_targets = True

    with pytest.raises(ValueError, match="a class for each image"):
        Aimed()(network(), images, labels, epsilon=0.1)


def test_training_mode_is_warned_of():
    images, labels = batch()
    model = network().train()
    with pytest.warns(UserWarning, match=r"FGSM: the model is in training mode.*eval"):
        FGSM()(model, images, labels, epsilon=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FGSM()(model.eval(), images, labels, epsilon=0.1)


# What is left alone


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_an_attack_changes_nothing_but_what_it_returns(attack):
    model = network()
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.5) if i % 3 == 0 else None
    parameters = list(model.parameters())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flags = [parameter.requires_grad for parameter in parameters]
    images, labels = batch()
    images.requires_grad_()
    epsilon = torch.tensor([0.1, 0.2, 0.3, 0.4], requires_grad=True)
    kept = images.detach().clone()
    torch.manual_seed(11)
    np.random.seed(11)
    drawn, numpy_drawn = torch.get_rng_state(), np.random.get_state()[1].copy()

    for given in (labels, None):
        found = attack(model, images, given, epsilon=epsilon)
        assert found.is_leaf and not found.requires_grad
    assert torch.equal(images, kept) and images.grad is None and images.requires_grad
    assert epsilon.grad is None
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert [parameter.requires_grad for parameter in parameters] == flags
    for i, parameter in enumerate(parameters):
        assert (parameter.grad == 0.5).all() if i % 3 == 0 else parameter.grad is None
    assert torch.equal(torch.get_rng_state(), drawn)
    assert (np.random.get_state()[1] == numpy_drawn).all()
    assert not model.training


def test_no_graph_is_kept():
    seen = []

    def model(x):
        logits = x.flatten(1) @ torch.ones(64, 3, requires_grad=True)
        seen.append(weakref.ref(logits))
        return logits

    images, _ = batch()
    result = BIM(n_steps=5)(model, images, epsilon=torch.tensor(0.1, requires_grad=True))
    gc.collect()
    assert len(seen) == 6 and all(one() is None for one in seen)
    assert result.grad_fn is None


def test_memory_does_not_grow_with_the_steps():
    model, depth = network(), []

    def counting(x):
        assert x.grad_fn is None  # each step starts its own graph
        depth.append(x.requires_grad)
        return model(x)

    images, labels = batch()
    MIFGSM(n_steps=4)(counting, images, labels, epsilon=0.1)
    assert depth == [True] * 4


def test_as_many_passes_as_steps():
    model = network()
    images, labels = batch()
    for attack, expected in ((FGSM(), 1), (BIM(n_steps=7), 7), (PGD(n_steps=3), 3), (MIFGSM(n_steps=4), 4)):
        calls = []
        attack(lambda x, calls=calls: calls.append(1) or model(x), images, labels, epsilon=0.1)
        assert len(calls) == expected


# How it may be called


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_where_gradients_are_off_the_attack_is_the_same(attack):
    model = network()
    images, labels = batch()
    expected = attack(model, images, labels, epsilon=0.1, generator=generator())
    with torch.no_grad():
        assert torch.equal(attack(model, images, labels, epsilon=0.1, generator=generator()), expected)
    with torch.inference_mode():
        found = attack(model, images, labels, epsilon=0.1, generator=generator())
        cloned = attack(model, images.clone(), labels.clone(), epsilon=0.1, generator=generator())
    assert torch.equal(found, expected) and torch.equal(cloned, expected)


def test_the_models_own_prediction_is_the_label():
    model = network()
    images, _ = batch(10)
    predicted = model(images).argmax(1)
    for attack in ATTACKS:
        found = attack(model, images, epsilon=0.1, generator=generator())
        assert torch.equal(found, attack(model, images, predicted, epsilon=0.1, generator=generator()))


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_labels_of_any_integers_and_images_in_any_memory(attack):
    model = network()
    images, labels = batch(6)
    expected = attack(model, images, labels, epsilon=0.1, generator=generator())
    for dtype in (torch.int8, torch.int16, torch.int32):
        found = attack(model, images, labels.to(dtype), epsilon=0.1, generator=generator())
        assert torch.equal(found, expected)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    spread = torch.stack([images, -images], 1)[:, 0]
    assert not turned.is_contiguous() and not spread.is_contiguous()
    for given in (turned, spread, images.contiguous(memory_format=torch.channels_last)):
        found = attack(model, given, labels, epsilon=0.1, generator=generator())
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_epsilon_as_anything_that_is_a_number():
    model = network()
    images, labels = batch()
    expected = FGSM()(model, images, labels, epsilon=0.125)
    one_each = torch.full((4,), 0.125, dtype=torch.float64)
    for epsilon in (torch.tensor(0.125), torch.tensor(0.125, dtype=torch.float64), one_each, np.float64(0.125)):
        assert torch.equal(FGSM()(model, images, labels, epsilon=epsilon), expected)
    whole = FGSM()(model, images, labels, epsilon=1)
    assert torch.equal(whole, FGSM()(model, images, labels, epsilon=torch.tensor(1)))
    assert set(whole.unique().tolist()) <= {0.0, 1.0} | set(images.unique().tolist())


def test_models_need_not_be_modules():
    inner = network()
    images, labels = batch()
    expected = BIM(n_steps=2)(inner, images, labels, epsilon=0.1)

    class Callable:
        def __call__(self, x):
            return inner(x)

    for model in (Callable(), lambda x: inner(x), inner.forward, torch.compiler.disable(inner)):
        assert torch.equal(BIM(n_steps=2)(model, images, labels, epsilon=0.1), expected)


def test_images_of_any_rank():
    layer = nn.Linear(6, 3)
    for shape in ((5, 6), (5, 2, 3), (5, 1, 2, 3), (5, 1, 1, 2, 3)):
        images = torch.rand(shape, generator=generator())
        for attack in ATTACKS:
            found = attack(lambda x: layer(x.flatten(1)), images, epsilon=torch.linspace(0, 0.4, 5))
            assert found.shape == shape and torch.equal(found[0], images[0])


def test_a_model_with_losses_of_its_own_is_attacked_through_them():
    inner = network()

    class Backwards(nn.Module):
        def forward(self, x):
            return inner(x)

        def losses(self, x, labels):
            return -F.cross_entropy(inner(x), labels, reduction="none")

    images, labels = batch()
    found = FGSM()(Backwards().eval(), images, labels, epsilon=0.1)
    torch.testing.assert_close(found, FGSM()(inner, images, epsilon=0.1, targets=labels))
    with pytest.raises(ValueError, match="0 to 4"):
        FGSM()(Backwards().eval(), images, labels + 3, epsilon=0.1)


def test_what_an_attack_may_return_is_put_into_the_ball():
    class Rude(Attack):
        def perturb(self, task):
            return task.images + 5 * torch.linspace(-1, 1, task.images[0].numel()).view_as(task.images[0])

    images, labels = batch()
    found = Rude()(network(), images, labels, epsilon=0.1)
    torch.testing.assert_close(found[:, 0, 0, 0], (images[:, 0, 0, 0] - 0.1).clamp(min=0))
    assert (found - images).abs().max() <= 0.1 + 1e-6 and found.min() >= 0 and found.max() <= 1


# The checks themselves


def test_checks_name_what_they_check():
    check_images("attack", torch.zeros(0, 3))
    check_images("attack", torch.tensor([[0.0, 1.0]]))
    with pytest.raises(TypeError, match=r"attack(.|\n)*divide integers by 255(.|\n)*uint8"):
        check_images("attack", torch.zeros(1, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="a batch"):
        check_images("attack", torch.zeros(3))
    check_labels("attack", "labels", torch.zeros(0, dtype=torch.int64), 0)
    with pytest.raises(ValueError, match=r"shape \[2\], one for each image"):
        check_labels("attack", "labels", torch.zeros(3, dtype=torch.int64), 2)
    images = torch.zeros(2, 1, 3, 3)
    assert check_epsilon("attack", 0.5, images).shape == (1, 1, 1, 1)
    assert check_epsilon("attack", torch.ones(2), images).shape == (2, 1, 1, 1)
    assert check_epsilon("attack", None, images, optional=True).isinf().all()


def test_image_norm_is_that_of_each_image():
    change = torch.randn(3, 2, 4, 5, generator=generator())
    expected = np.linalg.norm(change.numpy().reshape(3, -1), axis=1)
    np.testing.assert_allclose(image_norm(change).flatten().numpy(), expected, rtol=1e-6)
    assert image_norm(change).shape == (3, 1, 1, 1)

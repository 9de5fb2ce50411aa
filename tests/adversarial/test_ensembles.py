"""Fused models against their formulas in NumPy, Jensen's order, and who is left out when."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax, logsumexp
from torch import nn

from toolkit.adversarial.attacks.gradient import BIM, FGSM, MIFGSM
from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.models import FAMILIES, classifier

FUSES = ("logits", "probabilities", "loss")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def members(n: int = 3) -> list[nn.Module]:
    return [
        classifier(FAMILIES[i % 5], (1, 8, 8), 4, width=0.3, generator=generator(i), dtype=torch.float64).eval()
        for i in range(n)
    ]


def batch(n: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    g = generator(9)
    return torch.rand(n, 1, 8, 8, generator=g, dtype=torch.float64), torch.randint(4, (n,), generator=g)


class Fixed(nn.Module):
    """The same logits for every image, shifted by its mean so that there is a gradient."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits, dtype=torch.float64))
        self.eval()

    def forward(self, images):
        lift = images.flatten(1).mean(1, keepdim=True)
        return self.logits + lift * torch.linspace(0, 1, len(self.logits), dtype=images.dtype)


@pytest.mark.parametrize("weights", [None, [0.25, 1.0, 3.0], torch.tensor([0.0, 2.0, 1.0])])
def test_the_three_fusions_are_their_formulas(weights):
    models, (images, labels) = members(), batch()
    w = np.ones(3) if weights is None else np.asarray(weights, dtype=float)
    w = w / w.sum()
    with torch.no_grad():
        f = np.stack([model(images).numpy() for model in models])
        log_p = log_softmax(f, axis=2)
        fused = np.tensordot(w, f, 1)
        expected = {
            "logits": (fused, -log_softmax(fused, 1)),
            "probabilities": (logsumexp(log_p, axis=0, b=w[:, None, None]),) * 2,
            "loss": (np.tensordot(w, log_p, 1),) * 2,
        }
        for fuse, (outputs, losses) in expected.items():
            ensemble = Ensemble(models, weights, fuse=fuse)
            np.testing.assert_allclose(ensemble(images).numpy(), outputs, rtol=1e-9, atol=1e-12)
            chosen = losses[np.arange(6), labels.numpy()]
            np.testing.assert_allclose(
                ensemble.losses(images, labels).numpy(), chosen if fuse == "logits" else -chosen, rtol=1e-9
            )


@pytest.mark.parametrize("fuse", FUSES)
def test_one_member_is_the_member(fuse):
    (model,), (images, labels) = members(1), batch()
    ensemble = Ensemble([model], [7.0], fuse=fuse)
    torch.testing.assert_close(ensemble(images).softmax(1), model(images).softmax(1))
    alone = F.cross_entropy(model(images), labels, reduction="none")
    torch.testing.assert_close(ensemble.losses(images, labels), alone)
    for attack in (FGSM(), BIM(n_steps=4), MIFGSM(n_steps=4)):
        for aim in (None, labels):
            found = attack(ensemble, images, labels, epsilon=0.1, targets=aim)
            torch.testing.assert_close(
                found, attack(model, images, labels, epsilon=0.1, targets=aim), atol=1e-9, rtol=0
            )


@pytest.mark.parametrize("fuse", FUSES)
def test_equal_members_are_one(fuse):
    (model,), (images, labels) = members(1), batch()
    ensemble = Ensemble([model] * 3, [1.0, 2.0, 0.5], fuse=fuse)
    torch.testing.assert_close(
        ensemble.losses(images, labels), F.cross_entropy(model(images), labels, reduction="none")
    )
    found = FGSM()(ensemble, images, labels, epsilon=0.1)
    torch.testing.assert_close(found, FGSM()(model, images, labels, epsilon=0.1))


def test_jensen_orders_the_losses_with_equality_where_members_agree():
    images, labels = batch()
    for models in (members(), [Fixed(0.0, 3.0, 0.0, 0.0), Fixed(0.0, -3.0, 0.0, 0.0)]):
        losses = {
            fuse: Ensemble(models, [1.0, 2.0, 3.0][: len(models)], fuse=fuse).losses(images, labels) for fuse in FUSES
        }
        assert (losses["probabilities"] < losses["loss"]).all()
    agree = [Fixed(0.0, 1.0, 2.0, 3.0), Fixed(5.0, 6.0, 7.0, 8.0)]  # a constant does not change probabilities
    equal = {fuse: Ensemble(agree, fuse=fuse).losses(images, labels) for fuse in FUSES}
    torch.testing.assert_close(equal["probabilities"], equal["loss"])
    # Equality needs the members to agree on the label alone.
    split = [Fixed(2.0, 0.0, 0.0, -1e3), Fixed(2.0, 0.5, -1e3, float(np.log(2 - np.exp(0.5))))]
    flat, first = torch.zeros(1, 1, 8, 8, dtype=torch.float64), torch.tensor([0])
    a, b = (Ensemble(split, fuse=fuse).losses(flat, first) for fuse in FUSES[1:])
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("fuse", FUSES)
def test_saturated_members_stay_finite(fuse):
    ensemble = Ensemble([Fixed(1e4, -1e4, 0.0), Fixed(-1e4, 1e4, 0.0)], [1.0, 3.0], fuse=fuse)
    images = torch.rand(3, 1, 4, 4, dtype=torch.float64, generator=generator())
    labels = torch.tensor([0, 1, 2])
    assert ensemble(images).isfinite().all() and ensemble.losses(images, labels).isfinite().all()
    found = MIFGSM(n_steps=3)(ensemble, images, labels, epsilon=0.1)
    assert found.isfinite().all()


# Dynamic inclusion


def test_members_that_have_gone_far_enough_are_left_out_image_by_image():
    models, (images, labels) = members(), batch(12)
    each = torch.stack([F.cross_entropy(model(images), labels, reduction="none") for model in models]).detach()
    low, high = float(each.quantile(0.3)), float(each.quantile(0.7))
    for below, above in ((low, None), (None, high), (low, high)):
        ensemble = Ensemble(models, fuse="loss", drop_below=below, drop_above=above)
        inside = (each >= (below or -1)) & (each <= (above or 1e9))
        assert not inside.all() and inside.any()
        torch.testing.assert_close(ensemble.losses(images, labels), (each * inside).sum(0) / 3)


def test_a_member_left_out_gives_no_gradient():
    models, (images, labels) = members(2), batch(12)
    each = torch.stack([F.cross_entropy(model(images), labels, reduction="none") for model in models]).detach()
    threshold = float((each[0].amax() + each[0].amin()) / 2)
    gone = each[0] > threshold
    assert 0 < gone.sum() < 12
    second_too = each[1] > threshold
    at = images.clone().requires_grad_()
    ensemble = Ensemble(models, fuse="loss", drop_above=threshold)
    (found,) = torch.autograd.grad(ensemble.losses(at, labels).sum(), at)
    for i in range(12):
        alone = images[i : i + 1].clone().requires_grad_()
        kept = [model for model, out in zip(models, (gone[i], second_too[i]), strict=True) if not out]
        if not kept:
            assert (found[i] == 0).all()
            continue
        total = sum(F.cross_entropy(model(alone), labels[i : i + 1]) for model in kept) / 2
        torch.testing.assert_close(found[i : i + 1], torch.autograd.grad(total, alone)[0])


def test_a_target_reached_by_all_stops_the_attack():
    images, labels = batch()
    ensemble = Ensemble(members(), fuse="loss", drop_below=1e9)
    assert torch.equal(BIM(n_steps=3)(ensemble, images, epsilon=0.1, targets=labels), images)


# Being a module


def test_modes_of_the_members_are_left_alone():
    models = members()
    models[1].train()
    ensemble = Ensemble(models)
    assert ensemble.training
    assert [model.training for model in models] == [False, True, False]
    assert not Ensemble(members()).training
    ensemble.eval()
    assert not any(model.training for model in models)


def test_weights_travel_with_the_ensemble():
    ensemble = Ensemble(members(), [1.0, 2.0, 5.0])
    assert ensemble.weights.tolist() == [0.125, 0.25, 0.625]
    other = Ensemble(members())
    other.load_state_dict(ensemble.state_dict())
    images, _ = batch()
    assert torch.equal(other(images), ensemble(images))
    single = Ensemble([model.float() for model in members()])
    assert single(images.float()).dtype == torch.float32


def test_ensembles_of_ensembles():
    a, b, c = members()
    images, labels = batch()
    nested = Ensemble([Ensemble([a, b]), c], [2.0, 1.0])
    torch.testing.assert_close(nested(images), Ensemble([a, b, c])(images))
    assert BIM(n_steps=2)(nested, images, labels, epsilon=0.1).shape == images.shape


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"models": []}, "models"),
        ({"weights": [1.0]}, "weights"),
        ({"weights": [1.0, -1.0, 1.0]}, "weights"),
        ({"weights": [0.0, 0.0, 0.0]}, "weights"),
        ({"weights": [1.0, float("nan"), 1.0]}, "weights"),
        ({"drop_below": 0.5}, "fuse"),
        ({"drop_above": 0.5, "fuse": "probabilities"}, "fuse"),
    ],
)
def test_what_does_not_fit_is_said(settings, argument):
    with pytest.raises(ValueError, match=f"Ensemble(.|\n)*'{argument}'"):
        Ensemble(**{"models": members(), **settings})

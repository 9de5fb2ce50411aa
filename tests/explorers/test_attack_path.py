"""The ways of four attacks: against loops by hand, and where they must meet."""

import pytest
import torch
from torch import nn

from toolkit.adversarial.attacks.gradient import BIM, MIFGSM, PGD
from toolkit.core.text_width import text_width
from toolkit.explorers import attack_path, explore_attack_path
from toolkit.explorers.attack_path import MOST, MOST_STEPS, NETWORKS, compute, describe, draw, walk
from toolkit.explorers.clothes import clothes


def find(name):
    """Return a small network of its own for each name."""
    generator = torch.Generator().manual_seed(NETWORKS.index(name))
    model = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 12), nn.Tanh(), nn.Linear(12, 10)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("momentum", [0.0, 0.7, 2.0])
def test_momentum_by_hand(momentum):
    data, model, epsilon = clothes(), find("lenet"), 20 / 255
    image, label = data.images[3:4], data.labels[3:4]
    points, total = [image], torch.zeros_like(image)
    for _ in range(6):
        at = points[-1].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(-model(at).log_softmax(1)[0, int(label)], at)
        total = momentum * total + gradient / gradient.abs().sum()
        points.append((points[-1] + epsilon / 6 * total.sign()).clamp(0, 1))
    found = compute(data, find, "lenet", 4, 20, 6, momentum).paths["MI-FGSM"]
    way = torch.cat(points)
    logits = model(way)
    others = logits.clone()
    others[:, int(label)] = -1e9
    torch.testing.assert_close(found.losses, -logits.log_softmax(1)[:, int(label)])
    torch.testing.assert_close(found.margins, logits[:, int(label)] - others.amax(1))
    full = torch.stack([((point - image).abs() > 0.999999 * epsilon).double().mean() for point in points])
    torch.testing.assert_close(found.full, full)
    turns = [
        bool((b - a) * (c - b) < 0)
        for pixel in way.flatten(1).T.tolist()
        for a, b, c in zip(pixel, pixel[1:], pixel[2:], strict=False)
    ]
    # Steps that cancel by rounding alone are not turns: products of that size do not count in either.
    assert found.turned == pytest.approx(sum(turns) / len(turns), abs=1e-3)


@pytest.mark.parametrize(
    "attack", [BIM(n_steps=5), MIFGSM(n_steps=5), PGD(n_steps=5)], ids=lambda one: type(one).__name__
)
def test_listening_does_not_change_an_attack(attack):
    data, model = clothes(), find("strided")
    image, label = data.images[:1], data.labels[:1]
    way, logits = walk(attack, model, image, label, 0.1, torch.Generator().manual_seed(1))
    torch.testing.assert_close(logits, model(way))
    end = attack(model, image, label, epsilon=0.1, generator=torch.Generator().manual_seed(1))
    assert len(way) == 6 and torch.equal(way[-1:], end)
    assert float((way - image).abs().max()) <= 0.1 + 1e-12
    assert torch.equal(way[:1], image) != isinstance(attack, PGD)


def test_one_step_or_no_momentum_makes_them_the_same():
    one = compute(clothes(), find, "lenet", 2, 16, 1, 2.0)
    for name in ("BIM", "MI-FGSM"):
        assert torch.equal(one.paths[name].losses, one.paths["FGSM"].losses) and one.paths[name].turned == 0
    assert "BIM and MI-FGSM are FGSM" in draw(one).to_string() and "1 step," in describe(one)
    none = compute(clothes(), find, "lenet", 2, 16, 8, 0.0)
    assert torch.equal(none.paths["BIM"].margins, none.paths["MI-FGSM"].margins)


def test_momentum_turns_round_less_and_ends_at_the_border_more():
    paths = compute(clothes(), find, "lenet", 2, 32, MOST_STEPS, 1.0).paths
    assert paths["MI-FGSM"].turned < paths["BIM"].turned
    assert paths["MI-FGSM"].full[-1] >= paths["BIM"].full[-1]
    assert float(paths["BIM"].full[-2]) == 0 < float(paths["BIM"].full[-1])


def test_the_sentence_writes_margins_with_a_minus():
    found = compute(clothes(), find, "lenet", 6, MOST, 4)
    last = float(found.paths["MI-FGSM"].elsewhere[-1])
    sign = "−" if last < 0 else ""
    assert f"MI-FGSM {sign}{abs(last):.2f}" in describe(found).partition("no attack looks at")[2]


def test_the_network_not_attacked_is_another():
    found = compute(clothes(), find, "strided", 1, 8, 3)
    assert found.network == "strided" and found.other == "LeNet"
    data, model = clothes(), find("strided")
    way, _ = walk(BIM(n_steps=3), model, data.images[:1], data.labels[:1], 8 / 255, torch.Generator())
    logits = find("lenet")(way)
    others = logits.clone()
    others[:, int(data.labels[0])] = -1e9
    torch.testing.assert_close(found.paths["BIM"].elsewhere, logits[:, int(data.labels[0])] - others.amax(1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": 0},
        {"number": 501},
        {"epsilon": 0},
        {"epsilon": MOST + 1},
        {"n_steps": 0},
        {"n_steps": MOST_STEPS + 1},
        {"momentum": -1.0},
    ],
)
def test_what_there_is_not(wrong):
    with pytest.raises(ValueError, match="expected"):
        compute(clothes(), find, **wrong)


def test_every_control_changes_picture_and_sentence_and_none_is_dead():
    view = explore_attack_path(find=find)
    assert view.error is None and not view.controls["momentum"].disabled
    for name, value in (
        ("which", "strided"),
        ("number", 50),
        ("epsilon", 1),
        ("n_steps", MOST_STEPS),
        ("momentum", 0.0),
    ):
        picture, text = view.drawn.svg.to_string(), view.text
        view.controls[name].value = value
        assert view.error is None and view.text != text and view.drawn.svg.to_string() != picture
        assert text_width(attack_path._finding(view.result), 14, bold=True) < attack_path._WIDTH - 24
    view.controls["n_steps"].value = 1
    assert view.error is None and view.controls["momentum"].disabled

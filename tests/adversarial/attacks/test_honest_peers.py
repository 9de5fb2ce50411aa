"""APGD and Square beside torchattacks on a small trained network."""

import pytest
import torch
import torch.nn.functional as F

from toolkit.adversarial.attacks.apgd import APGD
from toolkit.adversarial.attacks.square import Square
from toolkit.adversarial.models import classifier
from toolkit.datasets import load

torchattacks = pytest.importorskip("torchattacks")
EPSILON = {"linf": 8 / 255, "l2": 0.5}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained():
    """A network, 1,500 images and two epochs; and 200 images that it has not seen."""
    data = load("fashion_mnist")
    images = torch.as_tensor(data.images).float().div(255).unsqueeze(1)
    labels = torch.as_tensor(data.labels).long()
    draws = generator()
    model = classifier("lenet", width=0.5, generator=draws)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(2):
        for rows in torch.randperm(1500, generator=draws).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    return model.eval().requires_grad_(False), images[-200:], labels[-200:]


def n_right(model, images, labels) -> int:
    return int((model(images).argmax(1) == labels).sum())


@pytest.fixture
def seeds_are_put_back():
    """Their attacks seed the global generator."""
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.mark.usefixtures("seeds_are_put_back")
@pytest.mark.parametrize(
    ("kind", "norm"), [("ce", "linf"), ("ce", "l2"), ("dlr", "linf"), ("dlr", "l2"), ("square", "linf")]
)
def test_as_many_images_stand_as_with_torchattacks(trained, kind, norm):
    model, images, labels = trained
    common = {"norm": {"linf": "Linf", "l2": "L2"}[norm], "eps": EPSILON[norm]}
    if kind == "square":
        ours, theirs = Square(n_queries=150, norm=norm), torchattacks.Square(model, n_queries=149, **common)
    else:
        ours, theirs = APGD(kind, 15, norm=norm), torchattacks.APGD(model, steps=15, loss=kind, **common)
    changed = ours(model, images, labels, epsilon=EPSILON[norm], generator=generator())
    stand = n_right(model, changed, labels)
    theirs_stand = n_right(model, theirs(images, labels), labels)
    clean = n_right(model, images, labels)
    # A random search of few queries may end a little earlier or later; gradients agree to two images.
    slack = 5 if kind == "square" else 2
    assert stand <= theirs_stand + slack and theirs_stand < clean
    if kind != "square":
        assert abs(stand - theirs_stand) <= slack

"""The loss around an image: each point against the image it stands for, and what the picture says about it."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from toolkit.adversarial.attacks.gradient import FGSM, PGD
from toolkit.core.text_width import text_width
from toolkit.explorers import explore_loss_surface, loss_surface
from toolkit.explorers.clothes import clothes
from toolkit.explorers.loss_surface import (
    FOUND,
    GRID,
    MOST,
    N_IMAGES,
    NETWORKS,
    RANDOM,
    Point,
    Surface,
    Surfaces,
    compute,
    describe,
    draw,
    make_planes,
)


def find(name):
    """Return a small network of its own for each name."""
    generator = torch.Generator().manual_seed(NETWORKS.index(name))
    model = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 12), nn.Tanh(), nn.Linear(12, 10)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def planes():
    return make_planes(clothes(), find)


@pytest.mark.parametrize("second", [FOUND, RANDOM])
def test_every_point_is_the_loss_of_its_image(planes, second):
    data, model, plane = clothes(), find("resnet-adv"), planes["resnet-adv"]
    image, label = data.images[2:3], int(data.labels[2])
    losses, margins = plane.surface(2, second)
    for row, column in ((0, 0), (2, 9), (12, 3), (7, 7)):
        change = GRID[column] * plane.sign[2] + GRID[row] * plane.seconds[second][2]
        logits = model((image + change / 255).clamp(0, 1))[0]
        assert float(losses[row, column]) == pytest.approx(-float(logits.log_softmax(0)[label]), abs=1e-4)
        others = torch.cat([logits[:label], logits[label + 1 :]])
        assert float(margins[row, column]) == pytest.approx(float(logits[label] - others.max()), abs=1e-4)


@pytest.mark.parametrize("epsilon", [1, 16, MOST])
def test_the_marked_points_are_the_attacks_images(planes, epsilon):
    data = clothes()
    found = compute(data, planes, 4, FOUND, epsilon)
    image, label = data.images[3:4], data.labels[3:4]
    for name, surface in zip(NETWORKS, found.surfaces, strict=True):
        model = find(name)
        step = FGSM()(model, image, label, epsilon=epsilon / 255)
        for point, at in ((surface.points[0], image), (surface.points[1], step)):
            logits = model(at)
            assert point.loss == pytest.approx(float(nn.functional.cross_entropy(logits, label)))
            assert point.right == (int(logits.argmax()) == int(label))


def test_the_second_axis_ends_in_the_attacks_image(planes):
    data, plane = clothes(), planes["lenet"]
    images, labels = data.images[:N_IMAGES], data.labels[:N_IMAGES]
    epsilon = MOST / 255
    generator = torch.Generator().manual_seed(0)
    end = PGD(n_steps=20)(find("lenet"), images, labels, epsilon=epsilon, generator=generator)
    torch.testing.assert_close((images + epsilon * plane.seconds[FOUND]), end)
    assert plane.seconds[RANDOM].unique().tolist() == [-1, 1]
    assert torch.equal(plane.seconds[RANDOM], planes["lenet-masked"].seconds[RANDOM])


@pytest.mark.parametrize("second", [FOUND, RANDOM])
def test_inside_the_dots_no_pixel_changes_by_more(planes, second):
    plane = planes["lenet-masked"]
    for along, beside in itertools.product((-8.0, 3.0, 12.0), (-4.0, 0.0, 20.0)):
        moved = plane.at(5, second, torch.tensor([along]).double(), torch.tensor([beside]).double())
        assert float((moved - clothes().images[5]).abs().max()) * 255 <= abs(along) + abs(beside) + 1e-9


def test_the_second_axis_points_up():
    losses = torch.linspace(0, 6, len(GRID), dtype=torch.float64)[:, None].expand(-1, len(GRID))
    colors = loss_surface._colors(losses)
    yellow, purple = colors[0, 0], colors[-1, 0]
    assert yellow[0] > 0.9 and yellow[2] < 0.3 and purple[0] < 0.3 and np.ptp(colors[0], axis=0).max() == 0


def test_the_border_is_where_the_margin_is_zero():
    along, beside = torch.meshgrid(*[torch.tensor(GRID, dtype=torch.float64)] * 2, indexing="xy")
    lines = loss_surface._border(10 - along - 2 * beside)
    assert len(lines) == 1 and len(lines[0]) > 3
    np.testing.assert_allclose(lines[0] @ [1, 2], 10)
    assert loss_surface._border(along.abs() + 1) == [] == loss_surface._border(-along.abs())


def made(second, *points):
    losses = torch.zeros(len(GRID), len(GRID), dtype=torch.float64)
    surfaces = tuple(Surface(name, losses, losses + 1, points) for name in ("a", "b, c", "d"))
    return Surfaces(1, "ankle boot", second, 7, surfaces)


def test_the_words_say_who_is_wrong():
    found = made(RANDOM, Point(0.25, True), Point(1.5, False), Point(0.5, True))
    text, picture = describe(found), draw(found).to_string()
    assert "Image 1, an ankle boot; ε = 7/255" in text and "b, c 0.25, 1.50 (wrong), 0.50" in text
    assert "PGD" not in text and "loss: 0.25 clean, 1.50 FGSM, 0.50 random signs" in picture
    assert picture.count("FGSM: 1.50, wrong") == 3 and "random signs: 0.50, wrong" not in picture
    assert "scaled" in describe(made(FOUND, *found.surfaces[0].points))


def test_no_title_is_cut_off():
    for second in (FOUND, RANDOM):
        words = loss_surface._finding(made(second, *[Point(88.88, False)] * 3))
        assert text_width(words, 14, bold=True) < loss_surface._WIDTH - 24, words
        line = f"{second}: 88.88, wrong"
        assert 17 + text_width(line, 12) < loss_surface._SIDE + loss_surface._GAP


@pytest.mark.parametrize(
    "wrong", [{"number": 0}, {"number": N_IMAGES + 1}, {"second": "up"}, {"epsilon": -1}, {"epsilon": MOST + 1}]
)
def test_what_there_is_not(planes, wrong):
    with pytest.raises(ValueError, match="expected"):
        compute(clothes(), planes, **wrong)


def test_nothing_allowed_puts_all_points_into_one(planes):
    for surface in compute(clothes(), planes, 1, RANDOM, 0).surfaces:
        assert len({(point.loss, point.right) for point in surface.points}) == 1


def test_every_control_changes_picture_and_sentence():
    view = explore_loss_surface(find=find)
    assert view.error is None
    for name, value in (("number", N_IMAGES), ("second", RANDOM), ("epsilon", 5)):
        picture, text = view.drawn.svg.to_string(), view.text
        view.controls[name].value = value
        assert view.error is None and view.text != text and view.drawn.svg.to_string() != picture
    for value in (0, MOST):
        view.controls["epsilon"].value = value
        assert view.error is None

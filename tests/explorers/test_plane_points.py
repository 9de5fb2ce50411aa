"""Points have the shapes that their names promise, and pictures show them where they are."""

import re

import numpy as np
import pytest
import torch

from toolkit.core.svg import Svg
from toolkit.explorers.plane_points import (
    NOISE,
    REACH,
    SHAPES,
    PlaneFrame,
    draw_arrows,
    draw_points,
    draw_regions,
    plane_grid,
    plane_points,
    region_colors,
)


@pytest.mark.parametrize("name", SHAPES)
def test_points_are_standardised_balanced_and_repeat(name):
    points = plane_points(name, 400)
    assert points.inputs.dtype == torch.float64 and len(points) == 400 and name in repr(points)
    torch.testing.assert_close(points.inputs.mean(0), torch.zeros(2, dtype=torch.float64), atol=1e-12, rtol=0)
    np.testing.assert_allclose(points.inputs.numpy().std(0), 1)
    assert points.labels.bincount().tolist() == [200, 200]
    assert torch.equal(points.inputs, plane_points(name, 400).inputs)
    assert not torch.equal(points.inputs, plane_points(name, 400, seed=1).inputs)
    assert points.inputs.abs().max() < REACH + 0.7


def test_shapes():
    raw, labels = {}, {}
    for name in SHAPES:
        points = plane_points(name, 2000)
        raw[name] = (points.inputs * points.scale + points.centre).numpy()
        labels[name] = points.labels.numpy()
    first, second = (raw["moons"][labels["moons"] == label] for label in (0, 1))
    for moon, middle in ((first, (0, 0)), (second, (1, 0.5))):
        assert np.hypot(*(moon - middle).T).mean() == pytest.approx(1, abs=0.01)
        assert np.hypot(*(moon - middle).T).std() == pytest.approx(NOISE, rel=0.1)
    assert first[:, 1].min() > -4.5 * NOISE and second[:, 1].max() < 0.5 + 4.5 * NOISE
    radius = np.hypot(*raw["rings"].T)
    assert [radius[labels["rings"] == label].mean().round(2) for label in (0, 1)] == pytest.approx([1, 2], abs=0.02)
    middles = [raw["blobs"][labels["blobs"] == label].mean(0) for label in (0, 1)]
    np.testing.assert_allclose(middles, [[-1, -1], [1, 1]], atol=0.05)


@pytest.mark.parametrize(("argument", "values"), [("name", ("squares",)), ("n", ("moons", 3)), ("n", ("moons", 0))])
def test_bad_arguments_are_named(argument, values):
    with pytest.raises(ValueError, match=argument):
        plane_points(*values)


def test_a_grid_is_read_like_a_page():
    grid = plane_grid(4)
    step = 2 * REACH / 4
    torch.testing.assert_close(grid[0], torch.tensor([-1.5 * step, 1.5 * step], dtype=torch.float64))
    torch.testing.assert_close(grid[3], torch.tensor([1.5 * step, 1.5 * step], dtype=torch.float64))
    torch.testing.assert_close(grid[-1], torch.tensor([1.5 * step, -1.5 * step], dtype=torch.float64))


def test_colours_are_strong_where_sure_and_white_where_not():
    colors = region_colors(np.array([[1.0, 0, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2]]))
    np.testing.assert_allclose(colors[2], 1)
    assert colors[0, 2] > colors[0, 0] and colors[1, 0] > colors[1, 2]  # blue; orange
    assert 1 > colors[3, 0] > colors[0, 0] and colors.min() >= 0
    assert region_colors(np.ones((2, 1))).shape == (2, 3)
    with pytest.raises(ValueError, match="probabilities"):
        region_colors(np.full((1, 5), 0.2))


def test_the_plane_is_drawn_where_it_is():
    frame = PlaneFrame(10, 20, 100)
    assert frame.place([[-REACH, REACH], [0, 0]]) == [(10, 20), (60, 70)]
    picture = Svg(200, 200)
    draw_regions(picture, frame, np.full((9, 2), 0.5))
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    draw_points(picture, frame, points, torch.tensor([0, 1]))
    draw_arrows(picture, frame, points.numpy(), points.numpy() + np.array([[1.0, 0.0], [0.0, 0.0]]), "#123456")
    text = picture.to_string()
    assert "<image" in text and "standard deviations" in text
    assert len(re.findall('stroke="#123456"', text)) == 1, "no arrow where nothing moves"
    draw_points(picture, frame, points[:0], torch.tensor([], dtype=torch.long))

"""Re-rendered dSprites against the original's pixel counts and against an independent drawing in float64."""

import math

import numpy as np
import pytest
import torch
from matplotlib.path import Path

from toolkit.datasets import sprites
from toolkit.datasets.factors import FactorGrid, batches

# Pixels of the original's published frames: at orientation 0 by scale, and at scale 1 by orientation.
BY_SCALE = {
    "square": (100, 144, 196, 256, 324, 400),
    "ellipse": (76, 104, 144, 184, 228, 288),
    "heart": (58, 84, 108, 140, 182, 222),
}
BY_ORIENTATION = {
    "square": (
        400, 368, 372, 368, 368, 364, 368, 368, 372, 368, 372, 368, 368, 368, 368, 368, 368, 368, 372, 368,
        368, 372, 368, 368, 368, 368, 368, 368, 368, 372, 368, 372, 368, 368, 364, 368, 368, 372, 368, 400,
    ),
    "ellipse": (
        288, 288, 290, 292, 292, 288, 286, 294, 292, 286, 290, 288, 286, 288, 292, 294, 286, 286, 288, 290,
        290, 288, 286, 286, 294, 292, 288, 286, 288, 290, 286, 292, 294, 286, 288, 292, 292, 290, 288, 288,
    ),
    "heart": (
        222, 225, 226, 225, 224, 225, 227, 224, 225, 225, 225, 224, 225, 225, 225, 225, 226, 228, 220, 226,
        226, 220, 228, 226, 225, 225, 225, 225, 224, 225, 225, 225, 224, 227, 225, 224, 225, 226, 225, 222,
    ),
}  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wrong_pixels(image: np.ndarray, shape: float, scale: float, angle: float, x: float, y: float) -> int:
    """Compare with a drawing from the curves themselves; pixels on a boundary up to rounding do not count."""
    size = len(image)
    centres = (np.arange(size) + 0.5) * 64 / size
    right, down = np.meshgrid(centres - 16 - 32 * x, centres - 16 - 32 * y)
    u = (right * math.cos(angle) - down * math.sin(angle)) / scale
    v = (right * math.sin(angle) + down * math.cos(angle)) / scale
    if shape == 1:
        level = 9.6 - np.maximum(np.abs(u), np.abs(v))
        return int(((image != (level > 0)) & (np.abs(level) > 1e-4)).sum())
    if shape == 2:
        level = 1 - (u / 12.76) ** 2 - (v / 7.22) ** 2
        return int(((image != (level > 0)) & (np.abs(level) > 1e-5)).sum())
    t = np.linspace(0, 2 * np.pi, 5_001)[:-1]
    up = 0.6622 * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) + 1.4352
    curve = np.stack([9.6 * np.sin(t) ** 3, -up], 1)
    points = np.stack([u.ravel(), v.ravel()], 1)
    different = points[image.ravel() != Path(curve).contains_points(points)]
    # The corners of the polygon are up to 0.02 apart.
    return sum(np.hypot(*(curve - point).T).min() > 1e-2 for point in different)


@pytest.mark.parametrize("corner", [(0, 0), (31, 0), (31, 31)])
@pytest.mark.parametrize("shape", sprites.SHAPES)
def test_pixel_counts_are_those_of_the_original(shape, corner):
    number = sprites.SHAPES.index(shape)
    scales = sprites.render([[number, scale, 0, *corner] for scale in range(6)]).sum((1, 2))
    angles = sprites.render([[number, 5, angle, *corner] for angle in range(40)]).sum((1, 2))
    assert (scales - torch.tensor(BY_SCALE[shape])).abs().max() <= 4
    assert (angles - torch.tensor(BY_ORIENTATION[shape])).abs().max() <= 4


def test_images_are_the_shapes_of_their_curves():
    factors = sprites.GRID.sample(30, generator=generator(3))
    values = sprites.GRID.values_of(factors, dtype=torch.float64).numpy()
    images = sprites.render(factors, dtype=torch.bool).numpy()
    for image, row in zip(images, values, strict=True):
        assert wrong_pixels(image, *row) == 0


@pytest.mark.parametrize("size", [1, 2, 5, 16, 32, 63, 100])
def test_other_sizes_and_values_in_between_follow_the_same_geometry(size):
    random = np.random.default_rng(size)
    values = np.stack(
        [
            random.integers(1, 4, 12).astype(float),
            random.uniform(0.05, 1, 12),
            random.uniform(-20, 20, 12),
            random.uniform(0, 1, 12),
            random.uniform(0, 1, 12),
        ],
        1,
    ).astype(np.float32)
    images = sprites.render_values(values, image_size=size, dtype=torch.bool).numpy()
    assert images.shape == (12, size, size)
    for image, row in zip(images, values.astype(float), strict=True):
        assert wrong_pixels(image, *row) == 0


def test_the_grid_is_the_original_in_order_and_values():
    grid = sprites.GRID
    assert grid.names == ("shape", "scale", "orientation", "position_x", "position_y")
    assert grid.sizes == (3, 6, 40, 32, 32)
    assert len(grid) == 737_280
    np.testing.assert_allclose(grid.values[1], np.linspace(0.5, 1, 6))
    np.testing.assert_allclose(grid.values[2], np.linspace(0, 2 * np.pi, 40))
    np.testing.assert_allclose(grid.values[3], np.linspace(0, 1, 32))
    # Image 0 is the smallest square at the upper left; then it moves down, and every 32 images to the right.
    first, second, later = sprites.render(grid.unravel([0, 31, 31 * 32]), dtype=torch.float64)
    weights = torch.arange(64.0, dtype=torch.float64) + 0.5
    for image, (x, y) in ((first, (16, 16)), (second, (16, 48)), (later, (48, 16))):
        assert image.sum() == 100
        assert ((image.sum(0) * weights).sum() / 100).item() == pytest.approx(x)
        assert ((image.sum(1) * weights).sum() / 100).item() == pytest.approx(y)


def test_shapes_turn_counter_clockwise_from_upright():
    image = sprites.render_values([[2, 1, 0, 0.5, 0.5], [2, 1, math.pi / 6, 0.5, 0.5], [3, 1, 0, 0.5, 0.5]])
    flat, turned, heart = image.bool()
    assert flat.any(0).sum() > flat.any(1).sum()  # long axis horizontal
    rows, columns = turned.nonzero().double().T
    slope = ((rows - rows.mean()) * (columns - columns.mean())).sum()
    assert slope < 0  # the right end is up: rows grow downwards
    filled = heart.any(1).nonzero().flatten()
    assert heart[filled[-1]].sum() < heart[filled[2]].sum()  # the tip is below
    assert torch.equal(heart, heart.flip(1))


def test_a_whole_turn_is_the_same_image_everywhere():
    grid = sprites.GRID.subgrid(orientation=[0, 39])
    images = torch.cat([images for _, images in batches(sprites.render, grid, batch_size=4096)])
    start, end = images.view(18, 2, 1024, 64, 64).unbind(1)
    assert torch.equal(start, end)


def test_the_other_orientations_are_almost_all_different_images():
    factors = [[shape, 5, angle, 0, 0] for shape in range(3) for angle in range(39)]
    images = sprites.render(factors).view(3, 39, -1)
    square, ellipse, heart = (len(of_shape.unique(dim=0)) for of_shape in images)
    assert (ellipse, heart) == (39, 39)
    assert square >= 38  # 46° and 314° differ by less than the geometry is known


def test_the_mean_pixel_is_that_of_the_whole_set():
    images = sprites.render(sprites.GRID.sample(20_000, generator=generator()))
    assert images.float().mean().item() == pytest.approx(0.0425, abs=6e-4)


def test_images_do_not_depend_on_the_batch_they_are_in():
    factors = sprites.GRID.sample(700, generator=generator(1))
    together = sprites.render(factors)
    assert torch.equal(together, torch.cat([sprites.render(part) for part in factors.split(97)]))
    assert torch.equal(together[::100], torch.cat([sprites.render(row[None]) for row in factors[::100]]))
    assert torch.equal(together, sprites.render(factors.T.contiguous().T.to(torch.uint8)))
    assert torch.equal(together[:5], sprites.render(factors[:5].tolist()))
    assert torch.equal(together[:5], sprites.render(factors[:5].numpy()))


def test_values_and_indices_draw_the_same():
    factors = sprites.GRID.sample(500, generator=generator(2))
    assert torch.equal(sprites.render(factors), sprites.render_values(sprites.GRID.values_of(factors)))


def test_subgrids_draw_the_images_of_the_whole_grid():
    grid = sprites.GRID.subgrid(shape=[2, 0], scale=3, orientation=5, position_x=4, position_y=slice(None, None, 8))
    factors, images = zip(*batches(sprites.render, grid, batch_size=100), strict=True)
    levels = sprites.GRID.levels_of(grid)
    columns = zip(levels, torch.cat(factors).T, strict=True)
    whole = torch.stack([torch.tensor(level)[column] for level, column in columns], 1)
    assert torch.equal(torch.cat(images), sprites.render(whole))


def test_a_grid_of_other_values_draws_them():
    grid = FactorGrid(sprites.GRID.names, ((3.0,), (0.33,), (0.1, 0.2), (0.5,), (0.25,)))
    expected = sprites.render_values([[3, 0.33, 0.1, 0.5, 0.25], [3, 0.33, 0.2, 0.5, 0.25]])
    assert torch.equal(sprites.render(grid.indices(), grid=grid), expected)
    assert expected.sum() > 20


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_every_type_holds_zeros_and_ones(dtype):
    factors = sprites.GRID.sample(300, generator=generator(4))
    images = sprites.render(factors, dtype=dtype)
    assert images.dtype == dtype
    assert torch.equal(images.to(torch.uint8), sprites.render(factors))
    assert images.is_contiguous()


def test_no_images_are_no_error():
    assert sprites.render(torch.empty(0, 5, dtype=torch.int64)).shape == (0, 64, 64)
    assert sprites.render_values(np.empty((0, 5)), image_size=32).shape == (0, 32, 32)


def test_settings_of_torch_change_nothing():
    factors = sprites.GRID.sample(300, generator=generator(5))
    expected = sprites.render(factors)
    try:
        torch.set_default_dtype(torch.float64)
        with torch.autocast("cpu"):
            assert torch.equal(sprites.render(factors), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    values = sprites.GRID.values_of(factors).requires_grad_()
    images = sprites.render_values(values, dtype=torch.float32)
    assert not images.requires_grad
    assert torch.equal(images, expected.float())


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: sprites.render([[3, 0, 0, 0, 0]]), ValueError, "indices of shape from 0 to 2"),
        (lambda: sprites.render([[0, 0, 40, 0, 0]]), ValueError, "indices of orientation from 0 to 39"),
        (lambda: sprites.render([[0, 0, 0, 0, -1]]), ValueError, "indices of position_y from 0 to 31"),
        (lambda: sprites.render([[0, 0, 0, 0, 0, 0]]), ValueError, "shape (images, 5)"),
        (lambda: sprites.render([0, 0, 0, 0, 0]), ValueError, "(5,)"),
        (lambda: sprites.render(torch.zeros(2, 5)), TypeError, "float32"),
        (lambda: sprites.render([[0, 0, 0, 0, 0]], dtype=torch.int32), ValueError, "torch.uint8"),
        (lambda: sprites.render([[0, 0, 0, 0, 0]], image_size=0), ValueError, ">= 1"),
        (lambda: sprites.render([[0]], grid=FactorGrid(("x",), ((0.0,),))), ValueError, "position_x"),
        (
            lambda: sprites.render(
                [[0, 0, 0, 0, 0]], grid=FactorGrid(sprites.GRID.names, ((1.0,), (2.0,), (0.0,), (0.0,), (0.0,)))
            ),
            ValueError,
            "scale in [0, 1]",
        ),
        (lambda: sprites.render_values([[1, 1, 0, 0, float("nan")]]), ValueError, "finite values of position_y"),
        (lambda: sprites.render_values([[1, 1, float("inf"), 0, 0]]), ValueError, "finite values of orientation"),
        (lambda: sprites.render_values([[1.5, 1, 0, 0, 0]]), ValueError, "shape 1, 2 or 3"),
        (lambda: sprites.render_values([[0, 1, 0, 0, 0]]), ValueError, "shape in [1, 3]"),
        (lambda: sprites.render_values([[1, 0, 0, 0, 0]]), ValueError, "scale > 0"),
        (lambda: sprites.render_values([[1, 1.01, 0, 0, 0]]), ValueError, "scale in [0, 1]"),
        (lambda: sprites.render_values([[1, 1, 0, 1.2, 0]]), ValueError, "position_x in [0, 1]"),
        (lambda: sprites.render_values([[1, 1, 0, 0]]), ValueError, "(1, 4)"),
        (lambda: sprites.render_values([[True] * 5]), TypeError, "bool"),
        (lambda: sprites.render_values(["square"]), TypeError, "list"),
    ],
)
def test_wrong_arguments_are_named(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert type(error.value) is kind
    text = str(error.value)
    assert words in text
    assert text.startswith("sprites.render")
    assert "expected:" in text
    assert "actual:" in text


def test_several_threads_of_torch_draw_the_same():
    factors = sprites.GRID.sample(600, generator=generator(6))
    expected = sprites.render(factors, image_size=16)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(sprites.render(factors, image_size=16), expected)
    finally:
        torch.set_num_threads(threads)

"""The 3dshapes-like ray caster against the facts known of the original and an independent caster in float64."""

import colorsys
import math
import threading

import numpy as np
import pytest
import torch

from toolkit.datasets import shapes3d
from toolkit.datasets.factors import FactorGrid, batches

SKY = (153, 226, 249)
CUBE, CYLINDER, SPHERE, CAPSULE = range(4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def planes() -> torch.Tensor:
    """All geometries by (scale, shape, orientation, material, row, column)."""
    geometries = FactorGrid(shapes3d.GRID.names[3:], shapes3d.GRID.values[3:])
    weights = shapes3d.material_weights(geometries.values_of(geometries.indices(device="cpu")))
    return weights.view(8, 4, 15, 4, 64, 64)


# ----------------------------------------------------------------------------------------------------------------------
# A second ray caster: a look-at camera, planes that are hit inside rectangles or discs, one surface after the other.


def plane(origin, rays, point, normal, inside):
    """Distances to the part of a plane where ``inside(hit)`` holds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = ((point - origin) @ normal) / (rays @ normal)
        hit = origin + t[:, None] * rays
    good = np.isfinite(t) & (t > 1e-9)
    good[good] &= inside(hit[good])
    return np.where(good, t, np.inf), np.broadcast_to(normal, rays.shape)


def quadric(origin, rays, centre, radius, flat, inside):
    """Distances to the nearer side of a sphere, or of an upright cylinder if ``flat``."""
    keep = np.array([1.0, 0.0, 1.0]) if flat else np.ones(3)
    a = ((rays * keep) ** 2).sum(1)
    b = 2 * (rays * keep * (origin - centre)).sum(1)
    c = (((origin - centre) * keep) ** 2).sum(-1) - radius**2
    disc = b * b - 4 * a * c
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (-b - np.sqrt(np.maximum(disc, 0))) / (2 * a)
    hit = origin + t[:, None] * rays
    good = (disc > 0) & np.isfinite(t) & (t > 1e-9)
    good[good] &= inside(hit[good])
    return np.where(good, t, np.inf), (hit - centre) * keep / radius


def object_surfaces(origin, rays, shape, k):
    everywhere = lambda hit: np.ones(len(hit), bool)  # noqa: E731
    if shape == CUBE:
        a, h = 0.1275 * k, 0.245 * k
        for axis, sign in ((0, -1), (0, 1), (2, -1), (2, 1)):
            normal = np.zeros(3)
            normal[axis] = sign
            other = 2 - axis
            yield plane(
                origin, rays, normal * a, normal,
                lambda hit, other=other: (abs(hit[:, other]) < a) & (hit[:, 1] > 0) & (hit[:, 1] < h),
            )  # fmt: skip
        top = np.array([0.0, h, 0.0])
        yield plane(origin, rays, top, top / h, lambda hit: (abs(hit[:, 0]) < a) & (abs(hit[:, 2]) < a))
    elif shape == CYLINDER:
        r, h = 0.139 * k, 0.268 * k
        yield quadric(origin, rays, np.zeros(3), r, True, lambda hit: (hit[:, 1] > 0) & (hit[:, 1] < h))
        top = np.array([0.0, h, 0.0])
        yield plane(origin, rays, top, top / h, lambda hit: np.hypot(hit[:, 0], hit[:, 2]) < r)
    elif shape == SPHERE:
        r = 0.153 * k
        yield quadric(origin, rays, np.array([0.0, r, 0.0]), r, False, everywhere)
    else:
        r, h = 0.1215 * k, 0.238 * k
        yield quadric(origin, rays, np.zeros(3), r, True, lambda hit: (hit[:, 1] > r) & (hit[:, 1] < r + h))
        yield quadric(origin, rays, np.array([0.0, r, 0.0]), r, False, everywhere)
        yield quadric(origin, rays, np.array([0.0, r + h, 0.0]), r, False, everywhere)


def nearest(surfaces):
    distances, normals = zip(*surfaces, strict=True)
    which = np.argmin(distances, 0)
    rays = np.arange(len(which))
    return np.stack(distances)[which, rays], np.stack(normals)[which, rays]


def reference(scale, shape, orientation, size=64):
    """Return the four weights (4, size, size) of one geometry."""
    yaw = math.radians(-orientation)
    eye = np.array([-0.779 * math.sin(yaw), 0.308, -0.779 * math.cos(yaw)])
    pitch = math.radians(2.8)
    forward = np.array([math.sin(yaw) * math.cos(pitch), -math.sin(pitch), math.cos(yaw) * math.cos(pitch)])
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    up = np.cross(forward, right)
    ticks = (np.arange(2 * size) + 0.5) / size - 1
    across, down = np.meshgrid(ticks, ticks)
    rays = forward + (across.ravel()[:, None] * right - down.ravel()[:, None] * up) / 1.848

    walls = [
        plane(eye, rays, np.array([0, 0, 0.826]), np.array([0, 0, -1.0]), lambda hit: hit[:, 1] > 0),
        plane(eye, rays, np.array([1.0, 0, 0]), np.array([-1.0, 0, 0]), lambda hit: hit[:, 1] > 0),
        plane(eye, rays, np.array([-1.0, 0, 0]), np.array([1.0, 0, 0]), lambda hit: hit[:, 1] > 0),
    ]
    to_wall, wall_normal = nearest(walls)
    to_floor, _ = plane(eye, rays, np.zeros(3), np.array([0, 1.0, 0]), lambda hit: np.ones(len(hit), bool))
    to_object, object_normal = nearest(list(object_surfaces(eye, rays, shape, scale)))
    closest = np.minimum(np.minimum(to_wall, to_floor), to_object)
    point = eye + closest[:, None] * rays
    is_object, is_floor = closest == to_object, closest == to_floor
    is_sky = ~is_object & ~is_floor & (point[:, 1] > 0.639)
    is_wall = ~is_object & ~is_floor & ~is_sky

    lamp = np.array([-0.36, 0.92, 0.0]) / np.hypot(0.36, 0.92)
    ambient = 0.31 - 0.045 * point[:, 0]
    on_wall = ambient + 0.8 * np.maximum(0, -wall_normal @ forward)
    on_object = ambient + 0.8 * np.maximum(0, -object_normal @ forward) + 0.95 * np.maximum(0, object_normal @ lamp)
    shadow = np.zeros(len(rays), bool)
    starts = point[is_floor]
    blocked = [
        nearest(list(object_surfaces(start, lamp[None], shape, scale)))[0][0] < np.inf
        for start in starts[np.hypot(starts[:, 0], starts[:, 2]) < 0.6]
    ]
    shadow[np.flatnonzero(is_floor)[np.hypot(starts[:, 0], starts[:, 2]) < 0.6]] = blocked
    on_floor = ambient + 0.8 * math.sin(pitch) + ~shadow * np.maximum(0, 0.95 - 0.64 * point[:, 0]) * lamp[1]
    light = [np.clip(value, 0, 1) for value in (on_floor, on_wall, on_object, np.ones(len(rays)))]
    seen = zip((is_floor, is_wall, is_object, is_sky), light, strict=True)
    weights = np.stack([np.where(is_it, value, 0) for is_it, value in seen])
    return weights.reshape(4, size, 2, size, 2).mean((2, 4))


@pytest.mark.parametrize(
    ("scale", "shape", "orientation"),
    [
        (0.75, CUBE, -30.0), (1.25, CUBE, 12.0), (1.0, CYLINDER, 30.0), (1.25, CYLINDER, -4.0),
        (0.9, SPHERE, 0.0), (1.25, SPHERE, 25.0), (0.75, CAPSULE, -17.0), (1.25, CAPSULE, 30.0), (1.5, CUBE, 45.0),
    ],
)  # fmt: skip
def test_weights_are_those_of_an_independent_ray_caster(scale, shape, orientation):
    expected = reference(scale, shape, orientation)
    found = shapes3d.material_weights([[scale, shape, orientation]])[0].double().numpy()
    wrong = np.abs(found - expected) > 1e-3
    # A ray along an edge may fall on either side of it; nothing but single subpixels may differ.
    assert wrong.any(0).sum() <= 3
    assert np.abs(found - expected).max() <= 0.2501
    assert ((found > 0) != (expected > 0)).any(0).sum() <= 2


# ----------------------------------------------------------------------------------------------------------------------
# What is known of the original.


def test_the_grid_is_the_original_in_order_and_values():
    grid = shapes3d.GRID
    assert grid.names == ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    assert grid.sizes == (10, 10, 10, 8, 4, 15)
    assert len(grid) == 480_000
    for hues in grid.values[:3]:
        np.testing.assert_allclose(hues, np.arange(10) / 10)
    np.testing.assert_allclose(grid.values[3], np.linspace(0.75, 1.25, 8))
    np.testing.assert_allclose(grid.values[5], np.linspace(-30, 30, 15))
    assert grid.unravel([12_345]).tolist() == [[0, 2, 5, 5, 3, 0]]


def test_the_corners_of_the_room_stand_where_they_do_in_the_original(planes):
    def corner(orientation):
        row = planes[0, SPHERE, orientation, 1, 22]  # a row of wall, above the object
        return int((row[1:] - row[:-1]).abs().argmax()) + 0.5

    right = [corner(index) - column for index, column in enumerate((44, 47, 51, 55, 59))]
    left = [corner(index) - column for index, column in zip(range(10, 15), (4, 9, 12, 16, 19), strict=True)]
    offsets = np.abs(right + left)
    assert offsets.mean() < 1.2
    assert offsets.max() <= 2
    # No corner is in sight when the camera looks straight ahead.
    assert planes[0, SPHERE, 7, 1, 22].std() < 0.01


def test_the_horizons_are_where_they_are_in_the_original(planes):
    for column in (2, 61):
        sky = planes[0, SPHERE, :, 3, :, column] > 0.5
        assert (sky.sum(1) >= 13).all() and (sky.sum(1) <= 20).all()
    floor = planes[0, SPHERE, 7, 0, :, 2] > 0
    assert 39 <= int(floor.float().argmax()) <= 42


def test_colours_are_pure_hues_and_the_sky_is_the_originals():
    hues = torch.arange(10)
    middle = [[int(hue), (int(hue) + 3) % 10, (int(hue) + 6) % 10, 4, CYLINDER, 7] for hue in hues]
    images = shapes3d.render(middle)
    for hue, image in enumerate(images):
        expected = [
            [round(255 * part) for part in colorsys.hsv_to_rgb(((hue + shift) % 10) / 10, 1, 1)] for shift in (0, 3, 6)
        ]
        assert image[:, 60, 5].tolist() == expected[0]
        assert image[:, 28, 5].tolist() == expected[1]
        assert image[:, 44, 30].tolist() == expected[2]
        assert image[:, 3, 32].tolist() == list(SKY)


def test_light_is_about_that_of_the_original(planes):
    ahead, to_the_right, to_the_left = planes[0, SPHERE, 7], planes[0, SPHERE, 0], planes[0, SPHERE, 14]
    assert ahead[1, 28].max() == pytest.approx(1, abs=0.04)
    assert to_the_right[1, 28, 20].item() >= 0.95
    assert to_the_right[1, 28, 60].item() == pytest.approx(0.69, abs=0.05)
    assert to_the_left[1, 28, 3].item() == pytest.approx(0.78, abs=0.05)
    assert ahead[0, 60, 5].item() == 1
    assert to_the_right[0, 42:, 55:].max() > 0.5 and to_the_right[0, 42:44, 60:].max() < 0.75


def test_the_shadow_lies_to_the_right_of_the_object(planes):
    for shape in range(4):
        for orientation in (0, 7, 14):
            floor, item = planes[7, shape, orientation, 0], planes[7, shape, orientation, 2] > 0
            dark = (floor > 0.3) & (floor < 0.4) & (planes[7, shape, orientation, 1] == 0) & ~item
            assert dark.sum() > 5
            centre = dark.nonzero()[:, 1].float().mean()
            assert centre > item.nonzero()[:, 1].float().mean() + 4


def test_objects_have_the_sizes_of_the_original(planes):
    item = planes[:, :, 7, 2] > 0
    widths = item.any(2).sum(2)
    heights = item.any(3).sum(2)
    assert (widths.diff(dim=0) >= 0).all() and (heights.diff(dim=0) >= 0).all()
    assert (planes[:, :, :, 2].sum((3, 4)).diff(dim=0) > 0).all()
    assert (heights[7, CAPSULE] / heights[0, CAPSULE]).item() == pytest.approx(1.65, abs=0.08)
    # Focal length 1.848 of 32 pixels, at the distance of the silhouette.
    for level, scale in enumerate(shapes3d.GRID.values[3]):
        radius = 0.153 * scale
        distance = math.hypot(0.779, 0.308 - radius)
        expected = 2 * 32 * 1.848 * radius / math.sqrt(distance**2 - radius**2)
        assert widths[level, SPHERE].item() == pytest.approx(expected, abs=2)
        assert widths[level, CYLINDER].item() == pytest.approx(64 * 1.848 * 0.139 * scale / 0.766, abs=2)
        assert widths[level, CUBE].item() == pytest.approx(
            64 * 1.848 * 0.1275 * scale / (0.779 - 0.1275 * scale), abs=2.5
        )
    bases = 63 - item.flip(2).any(3).float().argmax(2)
    assert bases.min() >= 50 and bases.max() <= 60


def test_the_cube_turns_with_the_room_and_round_things_do_not(planes):
    widths = (planes[4, :, :, 2] > 0).any(2).sum(2)
    assert widths[CUBE, 0] > widths[CUBE, 7] + 3
    for shape in (CYLINDER, SPHERE, CAPSULE):
        assert widths[shape].max() - widths[shape].min() <= 1


def test_the_weights_of_a_pixel_share_it(planes):
    assert not planes.isnan().any()
    assert planes.min() == 0
    assert planes.sum(3).max() <= 1 + 1e-6
    assert planes.sum(3).min() > 0.2


# ----------------------------------------------------------------------------------------------------------------------
# The interface.


def test_an_image_is_its_weights_times_its_colours():
    factors = shapes3d.GRID.sample(40, generator=generator())
    values = shapes3d.GRID.values_of(factors)
    weights = shapes3d.material_weights(values[:, 3:]).double().numpy()
    colours = np.array(
        [[*(colorsys.hsv_to_rgb(float(hue), 1, 1) for hue in row[:3]), np.array(SKY) / 255] for row in values]
    )
    expected = np.einsum("nmrc,nmk->nkrc", weights, colours)
    exact = shapes3d.render(factors, dtype=torch.float64).numpy()
    np.testing.assert_allclose(exact, expected, atol=2e-6)
    assert np.abs(shapes3d.render(factors).numpy() - 255 * expected).max() <= 0.501


def test_images_do_not_depend_on_the_batch_they_are_in():
    factors = shapes3d.GRID.sample(150, generator=generator(1))
    together = shapes3d.render(factors)
    assert together.shape == (150, 3, 64, 64)
    assert together.dtype == torch.uint8
    assert torch.equal(together, torch.cat([shapes3d.render(part) for part in factors.split(47)]))
    assert torch.equal(together[:1], shapes3d.render(factors[:1].tolist()))
    assert torch.equal(together, shapes3d.render(factors.T.contiguous().T.to(torch.int32)))
    assert torch.equal(together, shapes3d.render(factors.numpy(), layout="HWC").permute(0, 3, 1, 2))
    assert shapes3d.render(factors, layout="HWC").is_contiguous()


def test_values_and_indices_draw_the_same():
    factors = shapes3d.GRID.sample(30, generator=generator(2))
    values = shapes3d.GRID.values_of(factors)
    assert torch.equal(shapes3d.render(factors), shapes3d.render_values(values))
    values[:, :3] += torch.tensor([1.0, -1.0, 7.0])
    difference = shapes3d.render(factors).int() - shapes3d.render_values(values).int()
    assert difference.abs().max() <= 1


def test_subgrids_draw_the_images_of_the_whole_grid():
    grid = shapes3d.GRID.subgrid(floor_hue=2, wall_hue=2, object_hue=[7], scale=[5, 1], shape=[3, 0], orientation=3)
    factors, images = zip(*batches(shapes3d.render, grid, batch_size=20, layout="HWC"), strict=True)
    levels = shapes3d.GRID.levels_of(grid)
    columns = zip(levels, torch.cat(factors).T, strict=True)
    whole = torch.stack([torch.tensor(level)[column] for level, column in columns], 1)
    assert torch.equal(torch.cat(images), shapes3d.render(whole, layout="HWC"))


def test_a_grid_of_other_values_draws_them():
    grid = FactorGrid(shapes3d.GRID.names, ((0.05,), (0.1, 0.2), (0.5,), (0.8,), (2.0,), (-3.0, 11.0)))
    expected = shapes3d.render_values(grid.values_of(grid.indices()))
    assert torch.equal(shapes3d.render(grid.indices(), grid=grid), expected)
    # As read from a file: the same values up to rounding use the kept planes.
    rounded = FactorGrid(
        shapes3d.GRID.names, (*shapes3d.GRID.values[:5], tuple(np.linspace(-30, 30, 15) * (1 + 1e-15)))
    )
    factors = rounded.sample(20, generator=generator())
    assert torch.equal(shapes3d.render(factors, grid=rounded), shapes3d.render(factors))


@pytest.mark.parametrize("size", [1, 8, 32, 129])
def test_other_sizes_show_the_same_scene(size):
    factors = [[1, 5, 9, 3, CUBE, 2], [2, 8, 0, 7, CAPSULE, 13]]
    images = shapes3d.render(factors, image_size=size, dtype=torch.float32)
    assert images.shape == (2, 3, size, size)
    if size < 64:
        larger = shapes3d.render(factors, dtype=torch.float32)
        coarse = torch.nn.functional.avg_pool2d(larger, 64 // size)
        assert (images - coarse).abs().mean() < (0.03 if size > 1 else 0.2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floating_types_go_from_zero_to_one(dtype):
    factors = shapes3d.GRID.sample(20, generator=generator(4))
    images = shapes3d.render(factors, dtype=dtype)
    assert images.dtype == dtype
    assert images.min() >= 0 and images.max() == 1
    # bfloat16 has eight bits
    assert ((images.double() * 255).round() - shapes3d.render(factors)).abs().max() <= 1


def test_no_images_are_no_error():
    assert shapes3d.render(torch.empty(0, 6, dtype=torch.int64)).shape == (0, 3, 64, 64)
    assert shapes3d.render(torch.empty(0, 6, dtype=torch.int64), layout="HWC").shape == (0, 64, 64, 3)
    assert shapes3d.render_values(np.empty((0, 6))).shape == (0, 3, 64, 64)
    assert shapes3d.material_weights(np.empty((0, 3))).shape == (0, 4, 64, 64)


def test_settings_of_torch_change_nothing(monkeypatch):
    factors = shapes3d.GRID.sample(40, generator=generator(5))
    expected = shapes3d.render(factors, image_size=16)
    monkeypatch.setattr(shapes3d, "_planes", {})
    precision = torch.get_float32_matmul_precision()
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu"):
            assert torch.equal(shapes3d.render(factors, image_size=16), expected)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision(precision)


def test_the_planes_are_cast_once_for_all_threads(monkeypatch):
    calls = []

    def count(values, image_size):
        calls.append(len(values))
        return torch.zeros(len(values), 4, image_size, image_size)

    monkeypatch.setattr(shapes3d, "_planes", {})
    monkeypatch.setattr(shapes3d, "cast", count)
    start = threading.Barrier(4)

    def work():
        start.wait()
        shapes3d.render([[0] * 6], image_size=8)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(calls) == 480


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: shapes3d.render([[10, 0, 0, 0, 0, 0]]), ValueError, "indices of floor_hue from 0 to 9"),
        (lambda: shapes3d.render([[0, 0, 0, 0, 0, -1]]), ValueError, "indices of orientation from 0 to 14"),
        (lambda: shapes3d.render([[0, 0, 0, 0, 0]]), ValueError, "shape (images, 6)"),
        (lambda: shapes3d.render(np.zeros((2, 6))), TypeError, "float64"),
        (lambda: shapes3d.render([[0] * 6], dtype=torch.bool), ValueError, "torch.uint8"),
        (lambda: shapes3d.render([[0] * 6], image_size=-1), ValueError, ">= 1"),
        (lambda: shapes3d.render([[0]], grid=FactorGrid(("x",), ((0.0,),))), ValueError, "floor_hue"),
        (lambda: shapes3d.render_values([[0, float("nan"), 0, 1, 0, 0]]), ValueError, "finite values of wall_hue"),
        (lambda: shapes3d.render_values([[0, 0, 0, 2, 0, 0]]), ValueError, "scale in [0.5, 1.5]"),
        (lambda: shapes3d.render_values([[0, 0, 0, 1, 4, 0]]), ValueError, "shape in [0, 3]"),
        (lambda: shapes3d.render_values([[0, 0, 0, 1, 0.5, 0]]), ValueError, "shape 0, 1, 2 or 3"),
        (lambda: shapes3d.render_values([[0, 0, 0, 1, 0, 90]]), ValueError, "orientation in [-45, 45]"),
        (lambda: shapes3d.material_weights([[1, 0]]), ValueError, "(1, 2)"),
        (lambda: shapes3d.material_weights([[1, 0, 60]]), ValueError, "orientation"),
    ],
)
def test_wrong_arguments_are_named(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert type(error.value) is kind
    text = str(error.value)
    assert words in text
    assert text.startswith("shapes3d.")
    assert "expected:" in text
    assert "actual:" in text


def test_planes_cast_in_inference_mode_serve_training_too(monkeypatch):
    monkeypatch.setattr(shapes3d, "_planes", {})
    with torch.inference_mode():
        expected = shapes3d.render([[0] * 6], image_size=8, dtype=torch.float32).clone()
    images = shapes3d.render([[0] * 6], image_size=8, dtype=torch.float32)
    assert torch.equal(images, expected)
    layer = torch.nn.Linear(8, 1)
    layer(images).sum().backward()
    assert layer.weight.grad is not None


def test_several_threads_of_torch_draw_the_same():
    factors = shapes3d.GRID.sample(300, generator=generator(6))
    expected = shapes3d.render(factors, image_size=8)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        assert torch.equal(shapes3d.render(factors, image_size=8), expected)
    finally:
        torch.set_num_threads(threads)

"""Affine augmentation against scipy, against maps in closed form, and at its edges."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from toolkit.imsat import affine
from toolkit.imsat.affine import AffineAugmentation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=seeded(1), dtype=dtype)


def by_scipy(images: Tensor, maps: Tensor, fill: float) -> Tensor:
    """Linear interpolation by scipy, which counts rows and columns from the first pixel."""
    height, width = images.shape[-2:]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    result = np.empty(images.shape)
    for index, map_ in enumerate(maps.numpy()):
        matrix, shift = map_[::-1, 1::-1], map_[::-1, 2]
        for channel in range(images.shape[1]):
            result[index, channel] = scipy.ndimage.affine_transform(
                images[index, channel].numpy().astype(np.float64),
                matrix,
                shift + centre - matrix @ centre,
                order=1,
                mode="grid-constant",
                cval=fill,
            )
    return torch.from_numpy(result)


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (5, 12), (9, 1)])
@pytest.mark.parametrize("fill", [0.0, -1.0])
def test_scipy(size, fill):
    augmentation = AffineAugmentation(size, rotation=40, scale=(0.5, 1.7), shear=30, shift=3, fill=fill)
    images = pictures(6, 3, *size)
    expected = by_scipy(images, augmentation.draw(6, seeded()), fill)
    torch.testing.assert_close(augmentation(images, seeded()), expected, rtol=0, atol=1e-12)
    found = augmentation(images.float(), seeded())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)


def test_maps_are_the_inverse_of_shear_rotation_scale_and_shift():
    augmentation = AffineAugmentation(rotation=25, scale=(0.7, 1.2), shear=15, shift=4)
    maps = augmentation.draw(1000, seeded())
    forward = torch.linalg.inv(maps[:, :, :2])
    shift = (-forward @ maps[:, :, 2:])[:, :, 0]
    factor = torch.linalg.det(forward).sqrt()
    # The horizontal axis is not touched by the shear: it shows the rotation.
    angle = torch.rad2deg(torch.atan2(forward[:, 1, 0], forward[:, 0, 0]))
    turned_back = torch.stack((forward[:, :, 0], torch.stack((-forward[:, 1, 0], forward[:, 0, 0]), 1)), 2)
    sheared = torch.linalg.solve(turned_back, forward)
    torch.testing.assert_close(sheared[:, :, 0], torch.tensor([1.0, 0.0]).double().expand(1000, 2))
    torch.testing.assert_close(sheared[:, 1, 1], torch.ones(1000).double())
    lean = torch.rad2deg(torch.atan(sheared[:, 0, 1]))
    for numbers, low, high in (
        (factor, 0.7, 1.2),
        (angle, -25, 25),
        (lean, -15, 15),
        (shift[:, 0], -4, 4),
        (shift[:, 1], -4, 4),
    ):
        length = high - low
        assert low <= numbers.min() < low + 0.02 * length and high - 0.02 * length < numbers.max() <= high
        assert abs(numbers.mean() - (low + high) / 2) < 4 * length / math.sqrt(12 * 1000)
        assert abs(numbers.std() - length / math.sqrt(12)) < 0.02 * length
    drawn = torch.stack((factor, angle, lean, *shift.unbind(1)))
    assert (torch.corrcoef(drawn) - torch.eye(5)).abs().max() < 0.15


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns(turns):
    images = pictures(2, 3, 7, 7)
    angle = turns * math.pi / 2
    cos, sin = math.cos(angle), math.sin(angle)
    maps = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]], dtype=torch.float64).expand(2, 2, 3)
    torch.testing.assert_close(affine._warp(images, maps, 0.5), images.rot90(turns, (2, 3)), rtol=0, atol=1e-12)


def test_whole_pixels_move_and_the_rest_is_filled():
    images = pictures(1, 1, 6, 4)
    maps = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, -2.0]]], dtype=torch.float64)
    expected = torch.full_like(images, 7.0)
    expected[:, :, 2:, :-1] = images[:, :, :-2, 1:]
    torch.testing.assert_close(affine._warp(images, maps, 7.0), expected, rtol=0, atol=1e-12)


def test_zero_ranges_are_the_identity_exactly():
    x = pictures(5, 28 * 28, dtype=torch.float32) - 0.3
    moved = AffineAugmentation(rotation=0, scale=(1, 1), shear=0, shift=0, fill=-1)(x, seeded())
    assert torch.equal(moved, x) and moved.data_ptr() != x.data_ptr()


def test_a_fixed_factor_is_not_the_identity():
    x = pictures(5, 28 * 28)
    assert not torch.equal(AffineAugmentation(rotation=0, scale=(2, 2), shear=0, shift=0)(x, seeded()), x)


@pytest.mark.parametrize("shape", [(4, 784), (4, 28, 28), (4, 1, 28, 28), (4, 3, 28, 28), (4, 3 * 784), (0, 784)])
def test_shapes(shape):
    x = pictures(*shape)
    augmentation = AffineAugmentation()
    moved = augmentation(x, seeded())
    assert moved.shape == x.shape
    images = x.reshape(len(x), x[:1].numel() // 784 or 1, 28, 28)
    assert torch.equal(moved, augmentation(images, seeded()).view(shape))


def test_channels_of_an_image_share_its_map_and_images_have_their_own():
    x = pictures(1, 1, 28, 28).expand(3, 2, 28, 28)
    moved = AffineAugmentation()(x, seeded())
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert not torch.equal(moved[0], moved[1])


def test_numbers_come_from_the_generator_alone():
    augmentation, x = AffineAugmentation(), pictures(4, 784)
    state = torch.random.get_rng_state()
    assert torch.equal(augmentation(x, seeded(3)), augmentation(x, seeded(3)))
    assert not torch.equal(augmentation(x, seeded(3)), augmentation(x, seeded(4)))
    assert not torch.equal(augmentation(x), augmentation(x))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_outside_is_filled():
    augmentation = AffineAugmentation((6, 6), shift=1000, fill=-1.0)
    moved = augmentation(pictures(50, 36), seeded())
    assert (moved.amax(1) == -1).sum() > 40
    flat = AffineAugmentation((6, 6), shift=5, fill=0.25)(torch.full((5, 36), 0.25), seeded())
    assert torch.equal(flat, torch.full((5, 36), 0.25))


def test_gradient():
    augmentation = AffineAugmentation((5, 4), shift=1.0)
    x = pictures(2, 20).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augmentation(x, seeded()), (x,))


def test_the_input_stays_and_may_be_strided():
    x = pictures(784, 4).T
    before = x.clone()
    moved = AffineAugmentation()(x, seeded())
    assert torch.equal(x, before)
    assert torch.equal(moved, AffineAugmentation()(x.contiguous(), seeded()))


@pytest.mark.parametrize(
    ("x", "named"),
    [
        (torch.zeros(4, 784).half(), "float32 or float64"),
        (torch.zeros(4, 784, dtype=torch.long), "float32 or float64"),
        (torch.zeros(4, 783), "28"),
        (torch.zeros(4, 0), "28"),
        (torch.zeros(784), "28"),
        (torch.zeros(4, 28, 27), "28"),
        (torch.zeros(4, 1, 1, 28, 28), "28"),
        (torch.zeros(4, 784).to_sparse(), "dense"),
    ],
)
def test_bad_images(x, named):
    with pytest.raises((ValueError, TypeError), match=f"(?s)AffineAugmentation.*'x'.*{named}"):
        AffineAugmentation()(x, seeded())


@pytest.mark.parametrize(
    "options",
    [
        {"rotation": -1.0},
        {"rotation": math.nan},
        {"scale": (1.1, 0.9)},
        {"scale": (0.0, 1.0)},
        {"scale": (1.0, math.inf)},
        {"shear": 90.0},
        {"shear": -1.0},
        {"shift": -2.0},
        {"fill": math.inf},
        {"image_shape": (0, 28)},
    ],
)
def test_bad_ranges(options):
    with pytest.raises(ValueError, match=rf"(?s)AffineAugmentation.*'{next(iter(options))}'"):
        AffineAugmentation(**options)


def test_frozen_and_comparable():
    augmentation = AffineAugmentation()
    assert augmentation == AffineAugmentation() and hash(augmentation) == hash(AffineAugmentation())
    with pytest.raises(dataclasses.FrozenInstanceError):
        augmentation.fill = 1.0  # type: ignore[misc]

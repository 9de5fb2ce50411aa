"""Random resizing, padding and affine maps: against torch, SciPy, all outcomes counted, and at their edges."""

import itertools
import math
import pickle

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.adversarial.geometric import RandomAffine, RandomResizePad


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=seeded(1), dtype=dtype)


def by_torch(images: Tensor, draw: list[int], size: int, interpolation: str, fill: float) -> Tensor:
    side, top, left, flipped = draw
    options = {} if interpolation == "nearest" else {"align_corners": False}
    resized = F.interpolate(images, size=(side, side), mode=interpolation, **options)
    padded = F.pad(resized, (left, size - side - left, top, size - side - top), value=fill)
    return padded.flip(3) if flipped else padded


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", [(3, 1, 7, 7), (2, 3, 5, 9), (2, 1, 1, 1), (1, 1, 20, 20)])
def test_every_outcome_is_torchs_resize_and_pad(shape, interpolation):
    images, size = pictures(*shape), 8
    transform = RandomResizePad(1, 8, size, flip=True, interpolation=interpolation, fill=0.25)
    for side, flipped in itertools.product(range(1, 9), (0, 1)):
        for top, left in itertools.product({0, (size - side) // 2, size - side}, repeat=2):
            draw = [side, top, left, flipped]
            result = transform.place(images, torch.tensor([draw]))
            torch.testing.assert_close(result, by_torch(images, draw, size, interpolation, 0.25), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [28, 29, 64])
def test_the_nearest_pixel_is_exactly_torchs_where_the_division_is_not(n):
    images = pictures(1, 1, n, n, dtype=torch.float32)
    transform = RandomResizePad(1, 100, 100)
    for side in range(1, 101):
        expected = by_torch(images, [side, 0, 0, 0], 100, "nearest", 0.0)
        assert torch.equal(transform.place(images, torch.tensor([[side, 0, 0, 0]])), expected)


def test_the_draws_are_those_of_the_team():
    transform = RandomResizePad(310, 330, 331, flip=True)
    draws = transform.draw(60_000, seeded(7))
    side, top, left, flipped = draws.unbind(1)
    assert side.min() == 310 and side.max() == 330
    counts = torch.bincount(side - 310, minlength=21).numpy()
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert scipy.stats.binomtest(int(flipped.sum()), len(draws)).pvalue > 1e-3
    for chosen in (310, 320, 330):
        n_offsets = 331 - chosen + 1
        for offset in (top, left):
            among = offset[side == chosen]
            assert among.min() == 0 and among.max() == n_offsets - 1
            assert scipy.stats.chisquare(torch.bincount(among, minlength=n_offsets).numpy()).pvalue > 1e-3
    # Top and left are drawn apart: all four corners of the 2 x 2 places of the largest side are as frequent.
    pairs = (2 * top + left)[side == 330]
    assert scipy.stats.chisquare(torch.bincount(pairs, minlength=4).numpy()).pvalue > 1e-3


def test_one_draw_for_the_batch_or_one_for_each_image():
    images = pictures(1, 1, 6, 6).expand(64, 1, 6, 6)
    together = RandomResizePad(4, 6, 8)(images, seeded())
    assert torch.equal(together, together[:1].expand_as(together))
    apart = RandomResizePad(4, 6, 8, shared=False)
    results = apart(images, seeded())
    assert len(results.flatten(1).unique(dim=0)) > 20
    draws = apart.draw(64, seeded())
    for image, draw, result in zip(images, draws, results, strict=True):
        assert torch.equal(apart.place(image[None], draw[None])[0], result)


def test_no_flips_unless_asked_for():
    assert not RandomResizePad(3, 5, 5).draw(500, seeded())[:, 3].any()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_resizing_has_the_right_gradient(interpolation):
    transform = RandomResizePad(3, 7, 8, flip=True, interpolation=interpolation, shared=False, fill=0.5)
    images = pictures(3, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: transform(x, seeded(3)), (images,))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (2, 3, 1, 1), (2, 1, 30, 30)])
def test_extremes_of_resizing(shape, dtype, shared):
    images = pictures(*shape, dtype=dtype)
    result = RandomResizePad(5, 6, 9, shared=shared)(images)
    assert result.shape == (*shape[:2], 9, 9) and result.dtype == dtype and result.isfinite().all()
    assert RandomResizePad(1, 1, 1)(images).shape == (*shape[:2], 1, 1)


def test_what_draws_and_what_does_not():
    assert RandomResizePad(3, 3, 4).random and RandomResizePad(3, 3, 3, flip=True).random
    assert not RandomResizePad(3, 3, 3).random and not RandomAffine().random
    assert RandomAffine(shift=0.1).random and not RandomAffine(rotation=(5, 5)).random


def by_scipy(image: Tensor, draw: list[float], order: int, fill: float) -> np.ndarray:
    """One plane under one map, which SciPy wants from the result back, in rows and columns from the first pixel."""
    turn, lean, wide, high, right, down = draw
    height, width = image.shape
    angle = math.radians(turn)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    forward = rotation @ np.diag([wide, high]) @ np.array([[1, math.tan(math.radians(lean))], [0, 1]])
    back = np.linalg.inv(forward)[::-1, ::-1]
    centre, shift = np.array([(height - 1) / 2, (width - 1) / 2]), np.array([down * height, right * width])
    return scipy.ndimage.affine_transform(
        image.numpy(), back, centre - back @ (centre + shift), order=order, mode="grid-constant", cval=fill
    )


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", [(4, 2, 9, 9), (3, 1, 6, 11)])
def test_affine_maps_are_scipys(shape, interpolation):
    images = pictures(*shape)
    transform = RandomAffine(40, 20, (0.7, 1.4), 0.2, interpolation=interpolation, fill=0.3)
    draws = transform.draw(len(images), seeded(5))
    expected = np.array(
        [
            [by_scipy(plane, draw.tolist(), int(interpolation == "bilinear"), 0.3) for plane in image]
            for image, draw in zip(images, draws, strict=True)
        ]
    )
    np.testing.assert_allclose(transform(images, seeded(5)).numpy(), expected, atol=1e-9)


def test_affine_maps_one_at_a_time():
    image = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    image[0, 0, 0, 2] = 1  # above the centre

    def found(**settings: tuple[float, float]) -> list[list[int]]:
        return (RandomAffine(**settings)(image) > 0.99).nonzero()[:, 2:].tolist()

    assert found(rotation=(90, 90)) == [[2, 4]]  # clockwise: from the top to the right
    assert found(shift=(0.2, 0.2)) == [[1, 3]]  # one of five pixels, right and down
    assert found(shear=(45, 45)) == [[0, 0]]  # the upper end goes left, as the lower one goes right
    assert found(zoom=(0.5, 0.5)) == [[1, 2]]  # smaller: nearer to the centre


def test_affine_draws_are_uniform_in_their_ranges():
    draws = RandomAffine(10, (2, 5), (0.8, 1.3), (-0.1, 0.2)).draw(20_000, seeded(2))
    for column, (low, high) in zip(
        draws.T, [(-10, 10), (2, 5), (0.8, 1.3), (0.8, 1.3), (-0.1, 0.2), (-0.1, 0.2)], strict=True
    ):
        assert scipy.stats.kstest(column.numpy(), "uniform", (low, high - low)).pvalue > 1e-3
    assert abs(np.corrcoef(draws.T.numpy()) - np.eye(6)).max() < 0.03


def test_affine_shared_or_apart():
    images = pictures(1, 1, 8, 8).expand(9, 1, 8, 8)
    assert len(RandomAffine(20)(images, seeded()).flatten(1).unique(dim=0)) == 9
    together = RandomAffine(20, shared=True)(images, seeded())
    torch.testing.assert_close(together, together[:1].expand_as(together))


def test_affine_identity_and_gradient():
    images = pictures(3, 2, 5, 6)
    torch.testing.assert_close(RandomAffine()(images), images)
    images.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: RandomAffine(15, 5, (0.9, 1.1), 0.1)(x, seeded()), (images,))


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (2, 3, 1, 1), (2, 1, 2, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_of_affine_maps(shape, dtype):
    result = RandomAffine(180, 80, (0.01, 100), 5)(pictures(*shape, dtype=dtype))
    assert result.shape == shape and result.dtype == dtype and result.isfinite().all()


@pytest.mark.parametrize(
    "transform", [RandomResizePad(3, 5, 6), RandomResizePad(3, 5, 6, shared=False), RandomAffine(20, shift=0.1)]
)
def test_seeded_and_no_global_draws(transform):
    images, state = pictures(4, 1, 5, 5), torch.get_rng_state()
    assert torch.equal(transform(images, seeded(3)), transform(images, seeded(3)))
    assert any(not torch.equal(transform(images), transform(images)) for _ in range(20))
    assert torch.equal(torch.get_rng_state(), state)
    assert pickle.loads(pickle.dumps(transform)) == transform


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomResizePad(0, 4, 5),
        lambda: RandomResizePad(5, 4, 6),
        lambda: RandomResizePad(3, 6, 5),
        lambda: RandomResizePad(3.0, 4, 5),
        lambda: RandomResizePad(3, 4, 5, interpolation="bicubic"),
        lambda: RandomResizePad(3, 4, 5, fill=float("nan")),
        lambda: RandomResizePad(3, 4, 5).place(pictures(2, 1, 4, 4), torch.zeros(3, 4, dtype=torch.int64)),
        lambda: RandomAffine(rotation=-5),
        lambda: RandomAffine(rotation=(5, 1)),
        lambda: RandomAffine(shear=90),
        lambda: RandomAffine(zoom=(0.0, 1.0)),
        lambda: RandomAffine(shift=float("inf")),
        lambda: RandomAffine(5).move(pictures(2, 1, 4, 4), torch.zeros(3, 6)),
        lambda: RandomAffine(5)(pictures(4, 4)),
    ],
)
def test_wrong_arguments(make):
    with pytest.raises((ValueError, TypeError)):
        make()

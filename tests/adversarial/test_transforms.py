"""Filters, grey levels and noise against SciPy, NumPy and a peer, and at their edges."""

import dataclasses
import pickle

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
from torch import Tensor

from toolkit.adversarial.transforms import BitDepth, Chain, GaussianNoise, MedianFilter, straight_through


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=seeded(1), dtype=dtype)


def by_scipy(images: Tensor, filter_one, **options) -> Tensor:
    result = [[filter_one(plane, **options) for plane in image] for image in images.numpy()]
    return torch.from_numpy(np.array(result))


@pytest.mark.parametrize("border", ["reflect", "nearest"])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (1, 3, 5, 9), (2, 1, 1, 1), (1, 1, 2, 1)])
def test_an_odd_median_is_that_of_scipy(shape, size, border):
    images = pictures(*shape)
    expected = by_scipy(images, scipy.ndimage.median_filter, size=size, mode=border)
    assert torch.equal(MedianFilter(size, border)(images), expected)


@pytest.mark.parametrize("border", ["reflect", "nearest"])
@pytest.mark.parametrize("size", [2, 4, 6])
@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (1, 3, 5, 9), (2, 1, 1, 1), (1, 1, 3, 2)])
def test_an_even_median_is_the_mean_of_the_two_ranks_in_the_middle(shape, size, border):
    images = pictures(*shape)
    middle = size * size // 2
    low = by_scipy(images, scipy.ndimage.rank_filter, rank=middle - 1, size=size, mode=border)
    high = by_scipy(images, scipy.ndimage.rank_filter, rank=middle, size=size, mode=border)
    torch.testing.assert_close(MedianFilter(size, border)(images), (low + high) / 2, rtol=0, atol=1e-15)
    assert torch.equal(high, by_scipy(images, scipy.ndimage.median_filter, size=size, mode=border))


def test_the_median_of_a_worked_example():
    image = torch.tensor([[[[0.0, 0.4], [0.8, 0.2]]]], dtype=torch.float64)
    # Windows reach up and to the left; there the image is mirrored: [0 0 0 0], [0 .4 0 .4], [0 0 .8 .8], [0 .4 .8 .2].
    expected = torch.tensor([[[[0.0, 0.2], [0.4, 0.3]]]], dtype=torch.float64)
    torch.testing.assert_close(MedianFilter(2)(image), expected)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_median_has_the_right_gradient(size):
    images = pictures(2, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(MedianFilter(size), (images,))


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16])
def test_bit_depth_rounds_to_the_nearest_grey_level(bits):
    images = pictures(3, 1, 6, 6)
    levels = np.arange(2**bits) / (2**bits - 1)
    nearest = levels[np.abs(images.numpy()[..., None] - levels).argmin(-1)] if bits <= 8 else None
    result = BitDepth(bits)(images)
    if nearest is not None:
        np.testing.assert_allclose(result.numpy(), nearest, atol=1e-15)
    assert (result - images).abs().max() <= 0.5 / (2**bits - 1) + 1e-15
    assert torch.equal(BitDepth(bits)(result), result)


def test_eight_bits_keep_what_came_from_eight_bits():
    levels = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16) / 255
    assert torch.equal(BitDepth(8)(levels), levels)
    assert BitDepth(1)(levels).unique().tolist() == [0.0, 1.0]


def test_bit_depth_has_no_slope():
    images = pictures(2, 1, 4, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(BitDepth(3)(images).sum(), images)
    assert not gradient.any()


def test_noise_is_normal_and_reproducible():
    images = torch.full((20, 1, 30, 30), 0.5, dtype=torch.float64)
    noise = (GaussianNoise(0.05)(images, seeded()) - images).flatten() / 0.05
    assert scipy.stats.kstest(noise.numpy(), "norm").pvalue > 1e-3
    assert torch.equal(GaussianNoise(0.05)(images, seeded()), GaussianNoise(0.05)(images, seeded()))
    assert not torch.equal(GaussianNoise(0.05)(images, seeded(1)), GaussianNoise(0.05)(images, seeded(2)))
    strong = GaussianNoise(5.0)(images, seeded())
    assert strong.min() == 0 and strong.max() == 1
    assert torch.equal(GaussianNoise(0.0)(images), images)


def test_a_chain_acts_in_order_and_draws_from_one_generator():
    images, noise = pictures(2, 1, 6, 6), GaussianNoise(0.1)
    chain = Chain((noise, BitDepth(2), noise))
    generator = seeded()
    expected = noise(BitDepth(2)(noise(images, generator)), generator)
    assert torch.equal(chain(images, seeded()), expected)
    assert chain.random and not Chain((BitDepth(2), MedianFilter(3))).random
    assert torch.equal(Chain(())(images), images)
    assert Chain([BitDepth(2)]) == Chain((BitDepth(2),)) and hash(Chain([BitDepth(2)]))


@pytest.mark.parametrize("transform", [MedianFilter(2), MedianFilter(3), MedianFilter(4), BitDepth(3)])
def test_what_is_not_random_sees_each_image_alone(transform):
    assert not transform.random
    images = pictures(5, 3, 7, 6, dtype=torch.float32)
    together, generator = transform(images), seeded()
    state = generator.get_state()
    assert torch.equal(together, torch.cat([transform(image[None], generator) for image in images]))
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(transform(images.flip(0)), together.flip(0))
    turned = images.permute(0, 1, 3, 2)
    assert torch.equal(transform(turned), transform(turned.contiguous()))


@pytest.mark.parametrize("transform", [MedianFilter(2), MedianFilter(5), BitDepth(3), GaussianNoise(0.1)])
@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (0, 3, 1, 1), (2, 1, 1, 1), (1, 2, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_shapes(transform, shape, dtype):
    images = pictures(*shape, dtype=dtype)
    kept = images.clone()
    result = transform(images)
    assert result.shape == shape and result.dtype == dtype and torch.equal(images, kept)


def test_a_window_larger_than_the_image():
    images = pictures(2, 1, 3, 4)
    assert torch.equal(MedianFilter(25)(images), by_scipy(images, scipy.ndimage.median_filter, size=25))


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    GaussianNoise(0.1)(pictures(2, 1, 3, 3))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "transform", [MedianFilter(3, "nearest"), BitDepth(2), GaussianNoise(0.5), Chain((BitDepth(2),))]
)
def test_transforms_are_values(transform):
    assert pickle.loads(pickle.dumps(transform)) == transform
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.size = 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: MedianFilter(0),
        lambda: MedianFilter(True),
        lambda: MedianFilter(3, "mirror"),
        lambda: BitDepth(0),
        lambda: BitDepth(17),
        lambda: BitDepth(2.5),
        lambda: GaussianNoise(-0.1),
        lambda: GaussianNoise(float("nan")),
        lambda: BitDepth(3)(torch.zeros(2, 1, 4, 4, dtype=torch.uint8)),
        lambda: BitDepth(3)(torch.zeros(4, 4)),
        lambda: BitDepth(3)(torch.zeros(2, 1, 0, 4)),
        lambda: BitDepth(3)(np.zeros((2, 1, 4, 4))),
    ],
)
def test_wrong_arguments(make):
    with pytest.raises((ValueError, TypeError)):
        make()


def test_straight_through_has_one_value_and_another_gradient():
    value, carrier = pictures(2, 3), (pictures(2, 3) * 1e9).requires_grad_()
    result = straight_through(value, 3 * carrier)
    assert torch.equal(result, value)
    assert torch.equal(torch.autograd.grad(result.sum(), carrier)[0], torch.full((2, 3), 3.0, dtype=torch.float64))


def test_agrees_with_art():
    preprocessor = pytest.importorskip("art.defences.preprocessor")
    images = pictures(4, 3, 11, 10, dtype=torch.float32)
    smoothing = preprocessor.SpatialSmoothing(window_size=3, channels_first=True)
    assert np.array_equal(MedianFilter(3)(images).numpy(), smoothing(images.numpy())[0])
    for bits in (1, 3, 8):
        squeezing = preprocessor.FeatureSqueezing(clip_values=(0.0, 1.0), bit_depth=bits)
        np.testing.assert_allclose(BitDepth(bits)(images).numpy(), squeezing(images.numpy())[0], atol=1e-7)

"""JPEG through Pillow, and the same in torch: equal values, and a gradient."""

import io

import numpy as np
import pytest
import scipy.fft
import torch
from PIL import Image
from torch import Tensor

from toolkit import datasets
from toolkit.adversarial.jpeg import CHROMINANCE, JPEG, DifferentiableJPEG, quantisation

QUALITIES = (1, 10, 25, 49, 50, 75, 90, 100)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def clothes() -> Tensor:
    return datasets.load("fashion_mnist").images[:60].view(-1, 1, 28, 28) / 255


@pytest.fixture(scope="module")
def photograph() -> Tensor:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    pixels = sklearn_datasets.load_sample_images().images[0][100:220, 200:331]
    return torch.tensor(pixels.copy()).permute(2, 0, 1)[None] / 255


def by_pillow(images: Tensor, quality: int) -> Tensor:
    results = []
    for image in (images * 255).round().to(torch.uint8).numpy():
        buffer = io.BytesIO()
        picture = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        picture.save(buffer, format="JPEG", quality=quality)
        decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
        results.append(decoded[None] if len(image) == 1 else decoded.transpose(2, 0, 1))
    return torch.from_numpy(np.stack(results)) / 255


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_true_one_is_pillow(clothes, photograph, quality):
    assert torch.equal(JPEG(quality)(clothes[:8]), by_pillow(clothes[:8], quality))
    assert torch.equal(JPEG(quality)(photograph), by_pillow(photograph, quality))


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_differentiable_one_agrees_on_grey_images(clothes, quality):
    difference = 255 * (DifferentiableJPEG(quality)(clothes) - by_pillow(clothes, quality)).abs()
    assert difference.max() <= 1.01


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("size", [(120, 131), (33, 47), (17, 18), (16, 16), (5, 4), (3, 2), (1, 7), (1, 1)])
def test_the_differentiable_one_agrees_on_colour_images(photograph, size, quality):
    image = photograph[:, :, : size[0], : size[1]]
    difference = 255 * (DifferentiableJPEG(quality)(image) - by_pillow(image, quality)).abs()
    assert difference.max() <= 2.01


def test_it_is_the_cosine_transform_of_the_text_books():
    image = torch.rand(1, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    steps = quantisation(30).numpy()
    coefficients = scipy.fft.dctn((image[0, 0].numpy() * 255).round() - 128, norm="ortho")
    restored = scipy.fft.idctn((coefficients / steps).round() * steps, norm="ortho") + 128
    expected = restored.clip(0, 255)
    np.testing.assert_allclose(DifferentiableJPEG(30)(image)[0, 0].numpy() * 255, expected, atol=1.0)


@pytest.mark.parametrize("quality", range(1, 101))
def test_the_steps_are_those_in_pillows_files(quality):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(buffer, "jpeg", quality=quality)
    written = Image.open(buffer).quantization
    assert quantisation(quality).flatten().tolist() == list(written[0])
    assert quantisation(quality, CHROMINANCE).flatten().tolist() == list(written[1])


def test_without_a_step_above_one_the_gradient_is_the_identity(clothes):
    images = (0.2 + 0.6 * clothes[:3].double()).requires_grad_()
    weights = torch.rand(images.shape, generator=seeded(), dtype=torch.float64)
    # The cosine transform there and back; libjpeg's integer cosines leave an error of about 1e-4.
    (gradient,) = torch.autograd.grad((DifferentiableJPEG(100)(images) * weights).sum(), images)
    padded = torch.nn.functional.pad(weights, (0, 4, 0, 4))
    assert padded.shape == (3, 1, 32, 32)
    torch.testing.assert_close(gradient, weights, rtol=0, atol=1e-3)


def test_the_cubic_gradient_is_that_of_the_cubic_values():
    # In the middle of the range, so that nothing is cut off at black or white.
    images = 0.4 + 0.2 * torch.rand(2, 3, 9, 10, generator=seeded(3), dtype=torch.float64)
    images.requires_grad_()
    transform = DifferentiableJPEG(60, "cubic")
    direction = torch.randn(images.shape, generator=seeded(4), dtype=torch.float64)
    weights = torch.randn(images.shape, generator=seeded(5), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((transform(images) * weights).sum(), images)
    step = 1e-7
    with torch.no_grad():
        above, below = ((transform(images + s * direction) * weights).sum() for s in (step, -step))
    torch.testing.assert_close((gradient * direction).sum(), (above - below) / (2 * step), rtol=1e-4, atol=1e-6)


def test_the_cubic_values_are_near_the_true_ones(clothes):
    error = (DifferentiableJPEG(75, "cubic")(clothes) - JPEG(75)(clothes)).abs()
    assert 0 < error.mean() < 0.02


def test_the_true_one_has_no_gradient(clothes):
    assert not JPEG(50)(clothes[:2].clone().requires_grad_()).requires_grad


@pytest.mark.parametrize("transform", [JPEG(40), DifferentiableJPEG(40), DifferentiableJPEG(40, "cubic")])
@pytest.mark.parametrize("shape", [(0, 1, 28, 28), (0, 3, 9, 9), (2, 1, 1, 1), (2, 3, 1, 1), (4, 3, 11, 20)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_types_and_batches(transform, shape, dtype):
    images = torch.rand(*shape, generator=seeded(), dtype=dtype)
    kept = images.clone()
    result = transform(images)
    assert result.shape == shape and result.dtype == dtype and torch.equal(images, kept)
    assert not transform.random
    for image, one in zip(images, result, strict=True):
        torch.testing.assert_close(transform(image[None])[0], one, rtol=0, atol=1e-7)


def test_pixels_are_rounded_not_cut_off():
    assert JPEG(100)(torch.full((1, 1, 8, 8), 0.7 / 255)).unique().item() == pytest.approx(1 / 255)


@pytest.mark.parametrize(
    "make",
    [
        lambda: JPEG(0),
        lambda: JPEG(101),
        lambda: JPEG(50.0),
        lambda: DifferentiableJPEG(0),
        lambda: DifferentiableJPEG(50, "hard"),
        lambda: quantisation(0),
        lambda: JPEG(50)(torch.zeros(1, 2, 8, 8)),
        lambda: DifferentiableJPEG(50)(torch.zeros(1, 4, 8, 8)),
        lambda: JPEG(50)(torch.zeros(8, 8)),
    ],
)
def test_wrong_arguments(make):
    with pytest.raises((ValueError, TypeError)):
        make()


def test_agrees_with_art(clothes):
    preprocessor = pytest.importorskip("art.defences.preprocessor")
    # ART cuts pixels off where we round: a quarter of a level more, and both mean the same level.
    images = ((clothes[:10] * 255 + 0.25) / 255).clamp(max=1)
    for quality in (10, 75):
        compression = preprocessor.JpegCompression(clip_values=(0.0, 1.0), quality=quality, channels_first=True)
        np.testing.assert_allclose(JPEG(quality)(images).numpy(), compression(images.numpy())[0], atol=1e-6)

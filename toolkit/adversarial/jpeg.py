"""JPEG as a defence: the true one through Pillow, and the same arithmetic in torch, which has a gradient."""

import io
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adversarial.transforms import Transform, check_integer, straight_through
from toolkit.core.errors import require

Table = tuple[tuple[int, ...], ...]

# The example tables of the standard (ITU-T T.81, annex K.1), which libjpeg scales by the quality.
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)


@dataclass(frozen=True)
class JPEG(Transform):
    """Images compressed by Pillow's JPEG encoder and read back; pixels are rounded to 8 bits first.

    One channel is coded as grey, three as colour with the chroma at half size (4:2:0), Pillow's default. The encoder
    takes one image at a time, on the CPU. The result has no gradient: a gradient attack needs
    :class:`~toolkit.adversarial.adaptive.BPDA`.

    Attributes:
        quality: 1 (worst) to 100.
    """

    quality: int = 75

    def __post_init__(self) -> None:
        check_integer("JPEG", "quality", self.quality, 1, 100)

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Return what is left of the images."""
        _check_channels("JPEG", images)
        levels = (images.detach().clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        coded = np.empty_like(levels)
        for image, result in zip(levels, coded, strict=True):
            result[:] = self._code(image)
        return torch.from_numpy(coded).permute(0, 3, 1, 2).contiguous().to(images) / 255

    def _code(self, image: np.ndarray) -> np.ndarray:
        from PIL import Image

        with io.BytesIO() as buffer:
            pixels = image[:, :, 0] if image.shape[2] == 1 else image
            Image.fromarray(pixels).save(buffer, "jpeg", quality=self.quality)
            return np.asarray(Image.open(buffer)).reshape(image.shape)


@dataclass(frozen=True)
class DifferentiableJPEG(Transform):
    """JPEG in torch: colour conversion, chroma at half size, 8×8 cosine transform, quantisation, and back.

    Attributes:
        quality: 1 (worst) to 100.
        rounding: ``"straight-through"``: rounds wherever libjpeg rounds, so that the values are those of
            :class:`JPEG`, with the gradient of not rounding; ``"cubic"``: quantises by the smooth
            round(x) + (x − round(x))³ of Shin and Song (2017) and rounds nothing else, so that the values differ a
            little and the gradient is exactly theirs.
    """

    quality: int = 75
    rounding: Literal["straight-through", "cubic"] = "straight-through"

    def __post_init__(self) -> None:
        name = "DifferentiableJPEG"
        check_integer(name, "quality", self.quality, 1, 100)
        roundings = ("straight-through", "cubic")
        require(self.rounding in roundings, name, "rounding", f"one of {', '.join(roundings)}", repr(self.rounding))

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Return what is left of the images."""
        _check_channels("DifferentiableJPEG", images)
        # In double precision the integers of libjpeg are exact.
        levels = (images.clamp(0, 1) * 255).double()
        levels = self._round(levels, levels.round())
        coded = self._code_plane(levels, LUMINANCE) if images.shape[1] == 1 else self._code_colour(levels)
        return coded.to(images) / 255

    def _code_colour(self, levels: Tensor) -> Tensor:
        height, width = levels.shape[2:]
        encode, decode = levels.new_tensor(_TO_YCC) / 2**16, levels.new_tensor(_FROM_YCC) / 2**16
        ycc = torch.einsum("ij,bjhw->bihw", encode, levels)
        luma = self._code_plane(self._round(ycc[:, :1]), LUMINANCE)
        chroma = self._round(ycc[:, 1:] + (128 - 2**-16))
        # To the right, pixels are repeated before the chroma is halved; downwards, only to an even height.
        chroma = F.avg_pool2d(F.pad(chroma, (0, -width % 16, 0, height % 2), mode="replicate"), 2)
        odd = torch.arange(chroma.shape[3], device=levels.device) % 2
        chroma = self._code_plane(self._round(chroma - (1 - odd) / 4), CHROMINANCE)
        # The decoder smooths the chroma as it doubles it, unless that is only one or two pixels wide.
        chroma = chroma[:, :, :, : math.ceil(width / 2)]
        mode = "bilinear" if chroma.shape[3] > 2 else "nearest"
        chroma = F.interpolate(chroma, scale_factor=2, mode=mode)[:, :, :height, :width]
        odd = torch.arange(width, device=levels.device) % 2
        chroma = self._round(chroma - odd / 16) - 128
        return (luma + self._round(torch.einsum("ij,bjhw->bihw", decode, chroma))).clamp(0, 255)

    def _code_plane(self, plane: Tensor, table: Table) -> Tensor:
        """Return grey levels after the cosine transform, quantisation and the way back."""
        height, width = plane.shape[2:]
        padded = F.pad(plane, (0, -width % 8, 0, -height % 8), mode="replicate") - 128
        rows, columns = padded.shape[2] // 8, padded.shape[3] // 8
        blocks = padded.reshape(*plane.shape[:2], rows, 8, columns, 8).transpose(3, 4)
        steps = quantisation(self.quality, table).to(plane)
        cosines = _cosines().to(plane)
        # The transform is scaled by 8 (each pass by √8) and 2^13; the powers of two below take that away again.
        blocks = self._round(blocks @ cosines.T / 2**11)
        blocks = self._round(cosines @ blocks / 2**15) / (8 * steps)
        blocks = self._round(cosines.T @ (self._quantise(blocks) * steps) / 2**11)
        blocks = self._round(blocks @ cosines / 2**18)
        return (blocks.transpose(3, 4).reshape(padded.shape)[:, :, :height, :width] + 128).clamp(0, 255)

    def _round(self, exact: Tensor, rounded: Tensor | None = None) -> Tensor:
        """Return the rounded numbers, halves upwards unless they are given, with the gradient of not rounding."""
        if self.rounding == "cubic":
            return exact
        return straight_through((exact + 0.5).floor() if rounded is None else rounded, exact)

    def _quantise(self, coefficients: Tensor) -> Tensor:
        """Return rounded coefficients, halves away from zero, with a gradient."""
        rounded = (coefficients.sign() * (coefficients.abs() + 0.5).floor()).detach()
        if self.rounding == "cubic":
            return rounded + (coefficients - rounded) ** 3
        return straight_through(rounded, coefficients)


# Red, green and blue to luma and the two chromas, and back, in units of 2^-16.
_TO_YCC = ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329))
_FROM_YCC = ((0, 91881), (-22554, -46802), (116130, 0))


def quantisation(quality: int, table: Table = LUMINANCE) -> Int[Tensor, "8 8"]:
    """Return the quantisation steps of a quality in grey levels: by default luma, scaled as by libjpeg.

    Args:
        quality: 1 to 100.
        table: the steps at quality 50.
    """
    check_integer("quantisation", "quality", quality, 1, 100)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table) * percent + 50) // 100).clamp(1, 255)


def _cosines() -> Float[Tensor, "8 8"]:
    """Return libjpeg's cosine matrix, a frequency a row: √8 times the orthogonal one, in units of 2^-13."""
    # fmt: off
    even = torch.tensor([[8192,  8192,  8192,   8192], [10703,  4433,  -4433, -10703],
                         [8192, -8192, -8192,   8192], [ 4433, -10704, 10704,  -4433]])
    odd = torch.tensor([[11363,   9633,   6437,  2260], [9633, -2259, -11362,  -6436],
                        [ 6437, -11362,   2261,  9633], [2260, -6436,   9633, -11363]])
    # fmt: on
    matrix = torch.empty(8, 8, dtype=torch.float64)
    matrix[0::2] = torch.cat((even, even.flip(1)), 1).double()
    matrix[1::2] = torch.cat((odd, -odd.flip(1)), 1).double()
    return matrix


def _check_channels(operation: str, images: Tensor) -> None:
    expected = "1 channel (grey) or 3 (red, green, blue)"
    require(images.shape[1] in (1, 3), operation, "images", expected, f"shape {list(images.shape)}")

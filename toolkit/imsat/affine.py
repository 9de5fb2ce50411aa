"""Slightly rotated, scaled, sheared and shifted copies of images: a distortion that leaves what they show.

The ranges that were used with IMSAT on hand-written characters are not known to us. The ones here are our own choice.
"""

import math
from dataclasses import dataclass
from numbers import Real

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from toolkit.core.devices import draw_uniform, resolve_generator
from toolkit.core.errors import reject, require

_NAME = "AffineAugmentation"


@dataclass(frozen=True)
class AffineAugmentation:
    """One random affine map for each image, about the image's centre; a callable ``(x, generator) -> moved x``.

    All numbers are uniform in their ranges. An image is sheared first, then rotated and scaled, then shifted, and read
    off between its pixels by bilinear interpolation.

    Attributes:
        image_shape: (height, width) in pixels.
        rotation: the largest angle either way, in degrees.
        scale: the smallest and the largest factor, the same for height and width.
        shear: the largest angle either way by which upright lines lean, in degrees, below 90.
        shift: the furthest move along each axis either way, in pixels.
        fill: the value outside the image.

    Raises:
        ValueError: a range that is empty, negative or not finite.
        TypeError: something that is no number.
    """

    image_shape: tuple[int, int] = (28, 28)
    rotation: float = 10.0
    scale: tuple[float, float] = (0.9, 1.1)
    shear: float = 10.0
    shift: float = 2.0
    fill: float = 0.0

    def __post_init__(self) -> None:
        shape = self.image_shape
        good = isinstance(shape, (tuple, list)) and len(shape) == 2
        good = good and all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in shape)
        require(good, _NAME, "image_shape", "(height, width), integers of at least 1", repr(shape))
        pair = isinstance(self.scale, (tuple, list)) and len(self.scale) == 2
        require(pair, _NAME, "scale", "(smallest, largest)", repr(self.scale))
        # Lists become tuples, so that equal augmentations are equal and can be hashed.
        object.__setattr__(self, "image_shape", tuple(shape))
        object.__setattr__(self, "scale", tuple(self.scale))
        for name in ("rotation", "shear", "shift", "fill"):
            _finite(name, getattr(self, name))
        low, high = (_finite("scale", factor) for factor in self.scale)
        require(0 < low <= high, _NAME, "scale", "0 < smallest <= largest", self.scale)
        require(self.rotation >= 0, _NAME, "rotation", "an angle of at least 0", self.rotation)
        require(0 <= self.shear < 90, _NAME, "shear", "an angle in [0, 90)", self.shear)
        require(self.shift >= 0, _NAME, "shift", "at least 0 pixels", self.shift)

    def __call__(
        self, x: Shaped[Tensor, "batch *features"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch *features"]:
        """Move each image by a map of its own.

        Args:
            x: (batch, height · width) or (batch, channels · height · width) flattened images,
                (batch, height, width) or (batch, channels, height, width); float32 or float64.
            generator: draws the maps on its own device, so that neither the device nor the type of ``x`` changes them.

        Returns:
            The moved images, a new tensor of the same shape, type and device; differentiable in ``x``.
            Where every range is a single point and the map the identity, the same numbers.

        Raises:
            ValueError: neither float32 nor float64, or of a shape that is not that of such images.
            TypeError: no tensor.
        """
        self._check(x)
        if self._is_identity() or not x.numel():
            return x.clone()
        maps = self.draw(len(x), generator)
        return _warp(x.reshape(len(x), -1, *self.image_shape), maps, self.fill).view(x.shape)

    def draw(self, n_images: int, generator: torch.Generator | None = None) -> Float[Tensor, "images 2 3"]:
        """Draw maps.

        Args:
            n_images: how many.
            generator: on whose device they are drawn.

        Returns:
            (images, 2, 3) float64: a pixel of the result shows what lies at ``map[:, :2] @ (x, y) + map[:, 2]`` in the
            image, where x and y count pixels to the right and downwards from the centre.

        Raises:
            ValueError: a negative number of images.
        """
        require(n_images >= 0, f"{_NAME}.draw", "n_images", "at least 0", n_images)
        drawn = draw_uniform((n_images, 5), generator=resolve_generator(generator), dtype=torch.float64)
        angle, lean, right, down = (2 * drawn[:, 1:] - 1).unbind(1)
        low, high = self.scale
        factor = low + (high - low) * drawn[:, 0]
        angle = angle * math.radians(self.rotation)
        slope = torch.tan(lean * math.radians(self.shear))
        cos, sin = angle.cos() / factor, angle.sin() / factor
        # From the result back to the image: unscale, turn back, lean back.
        back = torch.stack((cos + slope * sin, sin - slope * cos, -sin, cos), 1).view(-1, 2, 2)
        moved = torch.stack((right, down), 1) * self.shift
        return torch.cat((back, -back @ moved[:, :, None]), 2)

    def _is_identity(self) -> bool:
        return self.rotation == self.shear == self.shift == 0 and self.scale == (1, 1)

    def _check(self, x: object) -> None:
        if not isinstance(x, Tensor) or x.layout != torch.strided:
            actual = x.layout if isinstance(x, Tensor) else type(x).__name__
            reject(_NAME, "x", "a dense tensor", actual, kind=TypeError)
        require(x.dtype in (torch.float32, torch.float64), _NAME, "x", "float32 or float64", x.dtype)
        height, width = self.image_shape
        if x.ndim == 2:
            good = x.shape[1] > 0 and x.shape[1] % (height * width) == 0
        else:
            good = x.ndim in (3, 4) and x.shape[-2:] == (height, width)
        expected = f"(batch, {height * width}), (batch, {height}, {width}) or (batch, channels, {height}, {width})"
        require(good, _NAME, "x", expected, tuple(x.shape))


def _warp(
    images: Float[Tensor, "batch channels height width"], maps: Float[Tensor, "batch 2 3"], fill: float
) -> Float[Tensor, "batch channels height width"]:
    """Read images off where the maps send the pixels of the result."""
    height, width = images.shape[-2:]
    # affine_grid measures from the centre too, but in halves of the image's sides.
    halves = torch.tensor([width / 2, height / 2], dtype=maps.dtype, device=maps.device)
    units = torch.cat((halves, halves.new_ones(1)))
    theta = (maps * units / halves[:, None]).to(images)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + fill


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        reject(_NAME, name, "a number", repr(value), kind=TypeError)
    require(math.isfinite(value), _NAME, name, "a finite number", value)
    return float(value)

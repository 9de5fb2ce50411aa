"""Changes to images that a defence makes before it classifies: filters, fewer grey levels, noise, one after another."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import draw_normal, resolve_generator
from toolkit.core.errors import reject, require


@dataclass(frozen=True)
class Transform(ABC):
    """Changes a batch of images: ``transform(images, generator=None) -> images``.

    A subclass is a frozen dataclass of its settings and says how in :meth:`change`.
    """

    @property
    def random(self) -> bool:
        """Whether it draws, so that two calls differ; if not, an image's result depends on that image alone."""
        return False

    def __call__(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch channels new_height new_width"]:
        """Change images.

        Args:
            images: pixels in [0, 1].
            generator: for random draws; default: a new one. A transform that is not random leaves it alone.

        Returns:
            The changed images, of the same type and on the same device.

        Raises:
            ValueError: not ``[batch, channels, height, width]``, or without pixels.
            TypeError: not a tensor of floats.
        """
        name = type(self).__name__
        if not isinstance(images, Tensor) or not images.is_floating_point():
            actual = images.dtype if isinstance(images, Tensor) else type(images).__name__
            reject(name, "images", "a tensor of floats in [0, 1]; divide integers by 255", actual, kind=TypeError)
        right = images.ndim == 4 and min(images.shape[1:]) > 0
        require(right, name, "images", "shape [batch, channels, height, width]", f"shape {list(images.shape)}")
        return self.change(images, resolve_generator(generator))

    @abstractmethod
    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels new_height new_width"]:
        """Return the changed images; the caller has checked them."""


@dataclass(frozen=True)
class MedianFilter(Transform):
    """The median of a square window about each pixel (team erko, section 5.6, with size 2).

    The window of pixel i covers i − size // 2 to i − size // 2 + size − 1, as SciPy's. With an odd size the result is
    ``scipy.ndimage.median_filter``; an even window has two middle values, of which we take the mean (SciPy takes
    the larger).

    Attributes:
        size: of the window's side, in pixels.
        border: what lies outside the image: ``"reflect"``, the image mirrored (c b a | a b c), or ``"nearest"``, the
            pixel at its edge, both as SciPy names them.
    """

    size: int = 2
    border: Literal["reflect", "nearest"] = "reflect"

    def __post_init__(self) -> None:
        check_integer("MedianFilter", "size", self.size, 1)
        borders = ("reflect", "nearest")
        require(self.border in borders, "MedianFilter", "border", f"one of {', '.join(borders)}", repr(self.border))

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the medians."""
        rows, columns = (self._reach(n).to(images.device) for n in images.shape[2:])
        padded = images.index_select(2, rows).index_select(3, columns)
        if self.size <= 3:
            # Several times as fast as sorting, but for large windows it would take too many steps.
            height, width = images.shape[2:]
            places = itertools.product(range(self.size), repeat=2)
            return _median([padded[:, :, i : i + height, j : j + width] for i, j in places])
        windows = padded.unfold(2, self.size, 1).unfold(3, self.size, 1).flatten(4)
        middle = windows.shape[4] // 2
        if self.size % 2:
            return windows.kthvalue(middle + 1, dim=4).values
        ordered = windows.sort(dim=4).values
        return (ordered[..., middle - 1] + ordered[..., middle]) / 2

    def _reach(self, n: int) -> Tensor:
        """Return which of n pixels stands at each place of a padded row."""
        before = self.size // 2
        places = torch.arange(-before, n + self.size - 1 - before)
        if self.border == "nearest":
            return places.clamp(0, n - 1)
        places = places % (2 * n)
        return torch.where(places < n, places, 2 * n - 1 - places)


@dataclass(frozen=True)
class BitDepth(Transform):
    """Fewer grey levels: every pixel goes to the nearest of 2**bits evenly spaced values from 0 to 1.

    It is constant between its jumps, so its gradient is zero: a gradient attack needs
    :class:`~toolkit.adversarial.adaptive.BPDA`.

    Attributes:
        bits: 1 to 16.
    """

    bits: int = 3

    def __post_init__(self) -> None:
        check_integer("BitDepth", "bits", self.bits, 1, 16)

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the rounded images."""
        steps = 2**self.bits - 1
        return (images * steps).round() / steps


@dataclass(frozen=True)
class GaussianNoise(Transform):
    """Independent normal noise on every pixel, cut to [0, 1].

    Attributes:
        sd: its standard deviation, in units of the pixels.
    """

    sd: float

    def __post_init__(self) -> None:
        require(0 <= self.sd < float("inf"), "GaussianNoise", "sd", "a finite number >= 0", self.sd)

    @property
    def random(self) -> bool:
        """Always."""
        return True

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the images with noise."""
        noise = draw_normal(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        return (images + self.sd * noise).clamp(0, 1)


@dataclass(frozen=True)
class Chain(Transform):
    """Several transforms, one after another.

    Attributes:
        transforms: the first acts first. None at all leaves the images as they are.
    """

    transforms: Sequence[Transform]

    def __post_init__(self) -> None:
        # A list becomes a tuple, so that equal chains are equal and can be hashed.
        object.__setattr__(self, "transforms", tuple(self.transforms))

    @property
    def random(self) -> bool:
        """Whether any of them draws."""
        return any(transform.random for transform in self.transforms)

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels new_height new_width"]:
        """Return the images after the last transform."""
        for transform in self.transforms:
            images = transform(images, generator)
        return images


def straight_through(value: Float[Tensor, "*shape"], carrier: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return ``value`` exactly, with the gradient of ``carrier``."""
    return value.detach() + (carrier - carrier.detach())


def check_integer(operation: str, argument: str, value: object, low: int, high: int | None = None) -> None:
    """Raise unless this is an integer of at least ``low`` and at most ``high``."""
    expected = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, int):
        reject(operation, argument, expected, repr(value), kind=TypeError)
    require(low <= value and (high is None or value <= high), operation, argument, expected, value)


def check_range(operation: str, argument: str, value: object) -> tuple[float, float]:
    """Return (low, high) of such a pair, or of a number that stands for minus itself to itself."""
    expected = "a finite number >= 0, or a pair (low, high)"
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in pair):
        reject(operation, argument, expected, repr(value), kind=TypeError)
    low, high = (float(v) for v in pair)
    if not isinstance(value, (tuple, list)):
        low = -high
    finite = abs(low) < float("inf") and abs(high) < float("inf")
    require(finite and low <= high, operation, argument, expected, value)
    return low, high


def _median(values: list[Tensor]) -> Tensor:
    """Return the median of each pixel's values; of two in the middle, the mean."""
    # The least and the greatest of more than half the values cannot be the median: drop both, add the next value.
    n_first = len(values) // 2 + 2
    kept, waiting = values[:n_first], iter(values[n_first:])
    while len(kept) > 2:
        last, half = len(kept) - 1, len(kept) // 2
        pairs = [(i, last - i) for i in range(half)]  # the less of each pair into the first half
        pairs += [(0, i) for i in range(1, len(kept) - half)] + [(i, last) for i in range(half, last)]
        for i, j in pairs:
            kept[i], kept[j] = torch.minimum(kept[i], kept[j]), torch.maximum(kept[i], kept[j])
        kept = [*kept[1:-1], *itertools.islice(waiting, 1)]
    return kept[0] if len(kept) == 1 else (kept[0] + kept[1]) / 2

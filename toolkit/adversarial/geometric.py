"""Random geometry as a defence: images resized and padded, or sheared, turned, zoomed and shifted."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adversarial.transforms import Transform, check_integer, check_range
from toolkit.core.devices import draw_uniform
from toolkit.core.errors import require

Interpolation = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class RandomResizePad(Transform):
    """Resize to r × r, then pad to a larger square at a random place (team iyswim, section 5.3).

    r is uniform in ``low``, …, ``high``; the offsets from the top and the left are uniform in 0, …, size − r. The team
    used 310 to 330, padded to 331, on images of 299 pixels, with flips, one draw for the whole batch, and the mean of
    the probabilities of 30 draws (``Defended(..., n_draws=30)``).

    Attributes:
        low: smallest side, in pixels.
        high: largest side; the released code draws it too.
        size: side of the result.
        flip: whether to mirror the padded result left and right in half of the draws, as the released code.
        interpolation: ``"nearest"``, as the released code, or ``"bilinear"``; both as torch's ``interpolate``.
        fill: the value around the image. The team's zeros stood for mid-grey, 0.5 here.
        shared: one draw for the batch, as the released code; if not, one for each image.
    """

    low: int
    high: int
    size: int
    flip: bool = False
    interpolation: Interpolation = "nearest"
    fill: float = 0.0
    shared: bool = True

    def __post_init__(self) -> None:
        name = "RandomResizePad"
        check_integer(name, "low", self.low, 1)
        check_integer(name, "high", self.high, self.low)
        check_integer(name, "size", self.size, self.high)
        _check_look(name, self.interpolation, self.fill)

    @property
    def random(self) -> bool:
        """Whether more than one result is possible."""
        return self.flip or self.low < self.size

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels size size"]:
        """Return the resized and padded images."""
        return self.place(images, self.draw(1 if self.shared else len(images), generator))

    def draw(self, n: int, generator: torch.Generator) -> Int[Tensor, "draws 4"]:
        """Draw n times: side, offset from the top, offset from the left, 1 if mirrored."""
        drawn = draw_uniform((n, 4), generator=generator, dtype=torch.float64)
        side = self.low + (drawn[:, 0] * (self.high - self.low + 1)).floor()
        offsets = (drawn[:, 1:3] * (self.size - side + 1)[:, None]).floor()
        flipped = (drawn[:, 3:] < 0.5) & self.flip
        return torch.cat((side[:, None], offsets, flipped.double()), 1).long()

    def place(
        self, images: Float[Tensor, "batch channels height width"], draws: Int[Tensor, "draws 4"]
    ) -> Float[Tensor, "batch channels size size"]:
        """Return the images with given sides and offsets: one row of :meth:`draw` for all, or one for each."""
        fits = draws.ndim == 2 and draws.shape[1] == 4 and len(draws) in (1, len(images))
        require(fits, "RandomResizePad.place", "draws", f"shape [1, 4] or [{len(images)}, 4]", list(draws.shape))
        draws = draws.to(images.device)
        side, top, left, flipped = draws.unbind(1)
        # Both steps are linear along an axis: a matrix that picks or mixes pixels, with zero rows where the padding is.
        rows, in_rows = self._matrix(images.shape[2], side, top)
        columns, in_columns = self._matrix(images.shape[3], side, left)
        mirrored = flipped[:, None] == 1
        columns = torch.where(mirrored[:, :, None], columns.flip(1), columns)
        in_columns = torch.where(mirrored, in_columns.flip(1), in_columns)
        placed = rows.to(images)[:, None] @ images @ columns.to(images)[:, None].mT
        inside = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        return torch.where(inside, placed, self.fill)

    def _matrix(self, n: int, side: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """Return [draws, size, n] that takes n pixels to ``side`` at ``offset``, and which of the size are inside."""
        at = torch.arange(self.size, device=side.device) - offset[:, None]
        inside = (at >= 0) & (at < side[:, None])
        at = at.clamp(min=0)
        # In single precision, as torch: where a product lands on a whole number, the rounding decides the pixel.
        # (A number divided by a tensor is a product with the reciprocal, which rounds twice.)
        scale = (torch.full_like(side, n).float() / side.float())[:, None]
        if self.interpolation == "nearest":
            matrix = F.one_hot((at * scale).floor().long().clamp(max=n - 1), n).double()
        else:
            source = ((at + 0.5) * scale - 0.5).clamp(min=0).double()
            lower = source.floor().clamp(max=n - 1)
            share = (source - lower)[:, :, None].clamp(max=1)
            first, second = (F.one_hot(index.long().clamp(max=n - 1), n) for index in (lower, lower + 1))
            matrix = first * (1 - share) + second * share
        return matrix * inside[:, :, None], inside


@dataclass(frozen=True)
class RandomAffine(Transform):
    """A random affine map about the centre: shear first, then zoom, then turn, then shift.

    Every range is a pair (low, high), from which a number is drawn uniformly; one number stands for minus itself to
    itself.

    Attributes:
        rotation: clockwise, in degrees.
        shear: angle by which upright lines lean, their lower end to the right, in degrees within (−90, 90).
        zoom: (smallest, largest) factor, drawn for width and height apart, as team Anil Thomas did; above 1 magnifies.
        shift: to the right and downwards, as a share of width and height, drawn for each apart.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill: the value outside the image.
        shared: one draw for the batch; if not, one for each image.
    """

    rotation: float | tuple[float, float] = 0.0
    shear: float | tuple[float, float] = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    shift: float | tuple[float, float] = 0.0
    interpolation: Interpolation = "bilinear"
    fill: float = 0.0
    shared: bool = False

    def __post_init__(self) -> None:
        ranges = self._ranges()
        low, high = ranges[1]
        require(low > -90 and high < 90, "RandomAffine", "shear", "angles within (-90, 90)", self.shear)
        pair = isinstance(self.zoom, (tuple, list))
        require(pair and ranges[2][0] > 0, "RandomAffine", "zoom", "(smallest, largest) factors > 0", self.zoom)
        _check_look("RandomAffine", self.interpolation, self.fill)

    @property
    def random(self) -> bool:
        """Whether more than one result is possible."""
        return any(low < high for low, high in self._ranges())

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the moved images."""
        return self.move(images, self.draw(1 if self.shared else len(images), generator))

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, "draws 6"]:
        """Draw n maps: turn and lean in degrees, zoom of width and height, shift of width and height; float64."""
        rotation, shear, zoom, shift = self._ranges()
        low, high = torch.tensor((rotation, shear, zoom, zoom, shift, shift), dtype=torch.float64).T
        return low + (high - low) * draw_uniform((n, 6), generator=generator, device="cpu", dtype=torch.float64)

    def move(
        self, images: Float[Tensor, "batch channels height width"], draws: Float[Tensor, "draws 6"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the images after given maps: one row of :meth:`draw` for all, or one for each."""
        fits = draws.ndim == 2 and draws.shape[1] == 6 and len(draws) in (1, len(images))
        require(fits, "RandomAffine.move", "draws", f"shape [1, 6] or [{len(images)}, 6]", list(draws.shape))
        if not len(images):
            return images.clone()
        height, width = images.shape[2:]
        turn, lean, wide, high, right, down = draws.double().unbind(1)
        cos, sin, slope = turn.deg2rad().cos(), turn.deg2rad().sin(), lean.deg2rad().tan()
        turned = torch.stack((cos, -sin, sin, cos), 1).view(-1, 2, 2)
        zoomed = torch.stack((wide, wide * slope, torch.zeros_like(high), high), 1).view(-1, 2, 2)
        back = torch.linalg.inv(turned @ zoomed)
        moved = torch.stack((right * width, down * height), 1)[:, :, None]
        maps = torch.cat((back, -back @ moved), 2)
        # affine_grid counts in halves of the image's sides.
        halves = maps.new_tensor([width / 2, height / 2])
        theta = maps * torch.cat((halves, halves.new_ones(1))) / halves[:, None]
        theta = theta.to(images).expand(len(images), 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images - self.fill, grid, self.interpolation, "zeros", align_corners=False) + self.fill

    def _ranges(self) -> tuple[tuple[float, float], ...]:
        given = {name: getattr(self, name) for name in ("rotation", "shear", "zoom", "shift")}
        return tuple(check_range("RandomAffine", name, value) for name, value in given.items())


def _check_look(operation: str, interpolation: str, fill: float) -> None:
    known = ("nearest", "bilinear")
    require(interpolation in known, operation, "interpolation", f"one of {', '.join(known)}", repr(interpolation))
    require(math.isfinite(fill), operation, "fill", "a finite number", fill)

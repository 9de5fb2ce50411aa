"""Attacks that take the gradient at randomly changed copies of the image, so that it says less about one model."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Task
from toolkit.adversarial.attacks.gradient import MIFGSM
from toolkit.adversarial.attacks.optimization import check_count, check_number
from toolkit.adversarial.attacks.steps import GradientAttack
from toolkit.core.devices import draw_normal, draw_uniform
from toolkit.core.errors import require

SANGXIA_STEPS = (1.0, 1.0, *(0.5,) * 7, 0.2, 0.2, *(0.1,) * 8)
"""Team Sangxia's 19 step sizes in units of epsilon, from its released code."""


@dataclass(frozen=True)
class AugmentedGradient(GradientAttack):
    """The non-targeted attack of team Sangxia, second in both tracks (section 5.4).

    Before each step Gaussian noise is added to the image, which is put back into the ball; the gradient is the mean
    over copies under random affine maps: the identity plus a truncated normal on its six coefficients, bilinear. The
    team took 19 steps (``n_steps=19, schedule=SANGXIA_STEPS``), two copies for each model in all but the last steps,
    and noise that falls from 0.2 to 0.04; against targets it left out maps and noise (``spread=0, noise=0``). It also
    changed the models from step to step, which this attack does not.

    Ours: coordinates run from -1 to 1 over the image, outside it is black, each image and copy has its own map.

    Attributes:
        n_draws: how many copies.
        spread: standard deviation of the coefficients before they are cut at two of them; 0: no maps.
        noise: standard deviation of the noise in units of epsilon; 0: none.
        schedule: size of each step in units of epsilon, instead of one size for all.
    """

    n_draws: int = 2
    spread: float = 0.02
    noise: float = 0.2
    schedule: tuple[float, ...] | None = None

    norms: ClassVar[tuple[str, ...]] = ("linf",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("AugmentedGradient", "n_draws", self.n_draws)
        check_number("AugmentedGradient", "spread", self.spread)
        check_number("AugmentedGradient", "noise", self.noise)
        if self.schedule is not None:
            fits = len(self.schedule) == self.n_steps
            require(fits, "AugmentedGradient", "schedule", f"{self.n_steps} numbers, one a step", self.schedule)
            for size in self.schedule:
                check_number("AugmentedGradient", "schedule", size)
            one = self.relative_step is None and self.step_size is None
            require(one, "AugmentedGradient", "schedule", "None when a step size is given", self.schedule)

    def size(self, task: Task) -> Tensor:
        """Return how long a step is, one for each image."""
        return task.epsilon if self.schedule is not None else super().size(task)

    def before(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return the images with noise."""
        if not self.noise:
            return images
        drawn = draw_normal(images.shape, generator=task.generator, device=images.device, dtype=images.dtype)
        return task.project(drawn.mul_(task.epsilon * self.noise).add_(images))

    def gradient(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return the sum of the copies' gradients."""
        if not self.spread:
            return task.gradient(images)
        check_pictures("AugmentedGradient", images)

        def losses(at: Tensor) -> Tensor:
            return task.losses(randomly_mapped(at, self.spread, task.generator))

        total = task.gradient(images, losses)
        for _ in range(self.n_draws - 1):
            total += task.gradient(images, losses)
        return total

    def direction(self, gradient: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the signs times the length of this step, and how many steps there were."""
        if self.schedule is None:
            return super().direction(gradient, memory)
        step = torch.zeros((), dtype=torch.int64) if memory is None else memory
        return gradient.sign().mul_(self.schedule[int(step)]), step + 1


@dataclass(frozen=True)
class DIFGSM(MIFGSM):
    """Momentum with diverse inputs: at some steps the gradient is that of a shrunken, shifted copy.

    Xie et al., arXiv 1803.06978. The copy has a side of ``resize_rate`` to all but 1 of the image's, bilinear, and
    black round it; one draw a step serves the whole batch, so that an image's result does not depend on the others.
    With ``probability=0`` it is :class:`~toolkit.adversarial.attacks.gradient.MIFGSM`.

    Attributes:
        probability: of a copy at a step.
        resize_rate: its smallest side, as a share of the image's.
    """

    probability: float = 0.5
    resize_rate: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        for field in ("probability", "resize_rate"):
            check_number(name, field, getattr(self, field))
            require(getattr(self, field) <= 1, name, field, "<= 1", getattr(self, field))

    def gradient(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return the gradient at the copy, or at the image."""
        if not self.probability:
            return task.gradient(images)
        check_pictures(type(self).__name__, images)
        chance, *where = draw_uniform((4,), generator=task.generator, dtype=torch.float64).tolist()
        if chance >= self.probability:
            return task.gradient(images)
        return task.gradient(images, lambda at: task.losses(shrunken(at, self.resize_rate, *where)))


def randomly_mapped(
    images: Float[Tensor, "batch channels height width"], spread: float, generator: torch.Generator
) -> Float[Tensor, "batch channels height width"]:
    """Return each image under its own random affine map.

    Args:
        images: differentiable.
        spread: standard deviation of the six coefficients round the identity, before they are cut at two of them.
        generator: draws the maps.
    """
    drawn = draw_uniform((len(images), 2, 3), generator=generator, device=images.device, dtype=images.dtype)
    # The inverse of the normal's distribution function, between its values at -2 and 2.
    within = drawn.new_tensor(2**0.5).erf()
    normal = ((2 * drawn - 1) * within).erfinv() * 2**0.5
    maps = torch.eye(2, 3, device=images.device, dtype=images.dtype) + spread * normal
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def shrunken(
    images: Float[Tensor, "batch channels height width"], smallest: float, side: float, top: float, left: float
) -> Float[Tensor, "batch channels height width"]:
    """Return smaller copies, bilinear, padded with zeros to the size of the images.

    Args:
        images: differentiable.
        smallest: smallest side as a share of the image's; the largest is one pixel less than the image's.
        side: which side between these, in [0, 1).
        top: where between top and bottom, in [0, 1).
        left: where between left and right, in [0, 1).
    """
    height, width = images.shape[2:]
    low_height, low_width = max(1, int(height * smallest)), max(1, int(width * smallest))
    rows, columns = low_height + int(side * (height - low_height)), low_width + int(side * (width - low_width))
    above, before = int(top * (height - rows)), int(left * (width - columns))
    if (rows, columns) == (height, width):
        return images
    small = F.interpolate(images, size=(rows, columns), mode="bilinear", align_corners=False)
    return F.pad(small, (before, width - columns - before, above, height - rows - above))


def check_pictures(operation: str, images: Tensor) -> None:
    """Raise unless images have rows and columns."""
    expected = "[batch, channels, height, width]"
    require(images.ndim == 4, operation, "images", expected, f"shape {list(images.shape)}")

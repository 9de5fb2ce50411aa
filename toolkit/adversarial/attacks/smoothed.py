"""Attacks that blur the gradient with a Gaussian kernel, as if the image had been seen at many shifts."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.augmented import DIFGSM, check_pictures
from toolkit.adversarial.attacks.base import Task
from toolkit.adversarial.attacks.members import against_members
from toolkit.adversarial.attacks.optimization import check_count, check_number
from toolkit.adversarial.attacks.steps import GradientAttack
from toolkit.core.errors import require


@dataclass(frozen=True)
class SmoothedGradient(GradientAttack):
    """The non-targeted attack of toshi k, fifth: blurred gradients, whose signs are averaged over the models.

    From its released code: 15 steps, a 7×7 kernel over two standard deviations, three models with equal weights, each
    step 0.025 in pixels of [0, 1] (``step_size=0.025``; the default here, epsilon/n_steps, is ours). Of an
    :class:`~toolkit.adversarial.ensembles.Ensemble` each member has its own gradient; how it fuses does not matter.

    Attributes:
        kernel_size: side of the kernel in pixels, odd.
        sigmas: how many standard deviations there are from its middle to its edge.
    """

    n_steps: int = 15
    kernel_size: int = 7
    sigmas: float = 2.0

    norms: ClassVar[tuple[str, ...]] = ("linf",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kernel("SmoothedGradient", self.kernel_size, self.sigmas)

    def gradient(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return the mean of the members' signs."""
        check_pictures("SmoothedGradient", images)
        total = torch.zeros_like(images)
        for weight, member in against_members(task):
            total += smoothed(member.gradient(images), self.kernel_size, self.sigmas).sign_().mul_(weight)
        return total

    def direction(self, gradient: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return that mean."""
        return gradient, None


@dataclass(frozen=True)
class TIFGSM(DIFGSM):
    """The translation-invariant attack: momentum over blurred gradients (Dong et al., arXiv 1904.02884).

    ``probability`` adds the copies of :class:`~toolkit.adversarial.attacks.augmented.DIFGSM`. The kernel is made for
    images of 299 pixels; small images want a smaller one.

    Attributes:
        kernel_size: side of the kernel in pixels, odd.
        sigmas: how many standard deviations there are from its middle to its edge.
    """

    probability: float = 0.0
    kernel_size: int = 15
    sigmas: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kernel("TIFGSM", self.kernel_size, self.sigmas)

    def gradient(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return the blurred gradient."""
        check_pictures("TIFGSM", images)
        return smoothed(super().gradient(task, images, step), self.kernel_size, self.sigmas)


def gaussian(kernel_size: int, sigmas: float) -> Float[Tensor, " side"]:
    """Return the weights of one side of a Gaussian kernel, float64, with sum 1; the kernel is their outer product.

    Args:
        kernel_size: how many.
        sigmas: standard deviations from the middle to the edge.
    """
    at = (
        torch.linspace(-sigmas, sigmas, kernel_size, dtype=torch.float64)
        if kernel_size > 1
        else torch.zeros(1).double()
    )
    weights = (-at.square() / 2).exp()
    return weights / weights.sum()


def smoothed(
    images: Float[Tensor, "batch channels height width"], kernel_size: int, sigmas: float
) -> Float[Tensor, "batch channels height width"]:
    """Return images blurred with a Gaussian kernel, zero outside; each channel by itself."""
    side, weights = kernel_size // 2, gaussian(kernel_size, sigmas).to(images)
    planes = images.flatten(0, 1)[:, None]
    planes = F.conv2d(planes, weights.view(1, 1, -1, 1), padding=(side, 0))
    return F.conv2d(planes, weights.view(1, 1, 1, -1), padding=(0, side)).view(images.shape)


def check_kernel(operation: str, kernel_size: int, sigmas: float) -> None:
    """Raise unless there is such a kernel."""
    check_count(operation, "kernel_size", kernel_size)
    require(kernel_size % 2 == 1, operation, "kernel_size", "an odd number", kernel_size)
    check_number(operation, "sigmas", sigmas)

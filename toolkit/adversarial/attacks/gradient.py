"""The attacks of the chapter that take a gradient and its sign: one step, many, with a random start, with momentum."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Task
from toolkit.adversarial.attacks.steps import GradientAttack, deviation, draw_in_ball, mean_size, steepest
from toolkit.core.errors import require


@dataclass(frozen=True)
class FGSM(GradientAttack):
    """The fast gradient sign method: one step of length epsilon (section 2.2.1, eq. 2).

    The exact worst case of the linearised loss; with targets, the step target class method of the organisers.
    """

    n_steps: int = 1

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images after the step; one of length epsilon from the image itself stays in the ball."""
        if self.n_steps > 1 or self.step_size is not None or (self.relative_step or 0) > 1:
            return super().perturb(task)
        step = steepest(task.gradient(task.images), self.norm).mul_(self.size(task))
        return task.clip(step.add_(task.images))


@dataclass(frozen=True)
class StepLeastLikely(FGSM):
    """One step towards the class that the model finds least likely (Kurakin et al., arXiv 1611.01236)."""

    accepts_targets: ClassVar[bool] = False

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images after the step."""
        aim_at_least_likely(task)
        return super().perturb(task)


@dataclass(frozen=True)
class BIM(GradientAttack):
    """The basic iterative method, FGSM in small steps (section 2.2.1, eq. 3); I-FGSM to its users in the competition.

    With targets it is the iterative target class method (eq. 4).
    """


@dataclass(frozen=True)
class IterativeTarget(BIM):
    """The iterative target class method: small steps towards a class (section 2.2.1, eq. 4).

    The organisers' baselines take 10 and 20 steps of 1/255. Without targets it aims at the least likely class.
    """

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images after the last step."""
        if not task.targeted:
            aim_at_least_likely(task)
        return super().perturb(task)


@dataclass(frozen=True)
class PGD(GradientAttack):
    """Projected gradient: BIM from a random point of the ball (Madry et al., arXiv 1706.06083; section 2.2.1).

    Attributes:
        relative_step: size of a step in units of epsilon; default: 2.5/n_steps, so that any point can be reached.
        random_start: whether the first point is drawn.
        restarts: how many runs; each image keeps the one with the highest loss.
    """

    n_steps: int = 40
    random_start: bool = True
    restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.restarts >= 1, "PGD", "restarts", ">= 1", self.restarts)

    def size(self, task: Task) -> Tensor:
        """Return how long a step is, one for each image."""
        if self.step_size is None and self.relative_step is None:
            return task.epsilon * (2.5 / self.n_steps)
        return super().size(task)

    def start(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return where the first gradient is taken."""
        return draw_in_ball(task) if self.random_start else task.images

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return for each image the end point with the highest loss."""
        best = super().perturb(task)
        if self.restarts == 1:
            return best
        with torch.no_grad():
            highest = task.losses(best)
        for _ in range(self.restarts - 1):
            images = super().perturb(task)
            with torch.no_grad():
                losses = task.losses(images)
            better = losses > highest
            best = torch.where(better.view(-1, *(1,) * (best.ndim - 1)), images, best)
            highest = torch.where(better, losses, highest)
        return best


@dataclass(frozen=True)
class MIFGSM(GradientAttack):
    """The momentum iterative method of team TsAIL, first in both attack tracks (section 5.2, eq. 14).

    Gradients are divided by the mean absolute value over the image (the L1 norm up to a constant) and summed up, each
    sum's sign is a step. With ``momentum=0`` it is :class:`BIM`.

    Attributes:
        momentum: μ, how much of the sum is kept.
    """

    momentum: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            0 <= self.momentum < float("inf"), type(self).__name__, "momentum", "a finite number >= 0", self.momentum
        )

    def direction(self, gradient: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the sign of the sum, and the sum."""
        total = gradient / mean_size(gradient)
        if memory is not None:
            total = total.add_(memory, alpha=self.momentum)
        return steepest(total, self.norm), total


@dataclass(frozen=True)
class TargetedMIFGSM(MIFGSM):
    """The targeted rule of team TsAIL: steps of 0, 1 or 2 lengths (section 5.2, eqs. 16 and 17).

    Gradients are divided by their standard deviation over the image and summed up; a step is the sum rounded and cut
    to [-2, 2]. The chapter does not give the length; the default is epsilon/n_steps. It serves without targets too.
    """

    n_steps: int = 20
    norms: ClassVar[tuple[str, ...]] = ("linf",)

    def direction(self, gradient: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the rounded sum, and the sum."""
        total = gradient / deviation(gradient)
        if memory is not None:
            total = total.add_(memory, alpha=self.momentum)
        return total.round().clamp_(-2, 2), total


def aim_at_least_likely(task: Task) -> None:
    """Make the class that the model finds least likely the target of each image."""
    with torch.no_grad():
        task.labels, task.targeted = task.logits(task.images).argmin(1), True

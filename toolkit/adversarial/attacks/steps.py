"""The loop of all attacks that follow a gradient; what differs between them is a method of a line or two."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task, image_norm
from toolkit.core.devices import draw_normal, draw_uniform
from toolkit.core.errors import reject, require


@dataclass(frozen=True)
class GradientAttack(Attack):
    """Steps along a gradient, each put back into the ball.

    Attributes:
        n_steps: how many.
        relative_step: size of a step in units of epsilon; default: 1/n_steps, with which no step can leave the ball.
        step_size: its size in units of the pixels instead.
        norm: ``"linf"``: a step changes every pixel by its sign; ``"l2"``: a step goes along the gradient.
    """

    n_steps: int = 10
    relative_step: float | None = None
    step_size: float | None = None
    norm: Norm = "linf"

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        name = type(self).__name__
        if isinstance(self.n_steps, bool) or not isinstance(self.n_steps, int):
            reject(name, "n_steps", "an integer", repr(self.n_steps), kind=TypeError)
        require(self.n_steps >= 1, name, "n_steps", ">= 1", self.n_steps)
        for field in ("relative_step", "step_size"):
            value = getattr(self, field)
            require(value is None or 0 <= value < float("inf"), name, field, "a finite number >= 0, or None", value)
        one = self.relative_step is None or self.step_size is None
        require(one, name, "step_size", "None when relative_step is given", self.step_size)
        require(self.norm in self.norms, name, "norm", f"one of {', '.join(self.norms)}", self.norm)

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images after the last step."""
        size = self.size(task)
        images, memory = self.start(task), None
        for step in range(self.n_steps):
            images = self.before(task, images, step)
            direction, memory = self.direction(self.gradient(task, images, step), memory)
            images = task.project(direction.mul_(size).add_(images))
        return images

    def size(self, task: Task) -> Tensor:
        """Return how long a step is, one for each image."""
        if self.step_size is not None:
            return torch.full_like(task.epsilon, self.step_size)
        return task.epsilon * (1 / self.n_steps if self.relative_step is None else self.relative_step)

    def start(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return where the first gradient is taken."""
        return task.images

    def before(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return where this step starts."""
        return images

    def gradient(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return the gradient to follow; a new tensor."""
        return task.gradient(images)

    def direction(self, gradient: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the direction of a step, as a new tensor, and what the next one shall remember."""
        return steepest(gradient, self.norm), None


def steepest(gradient: Float[Tensor, "batch *pixels"], norm: Norm) -> Float[Tensor, "batch *pixels"]:
    """Return the step of length 1 that raises the linearised loss most; zero where the gradient is zero.

    Args:
        gradient: of each image's loss.
        norm: in which the step has length 1: signs, or the gradient itself made a unit vector.
    """
    if norm == "linf":
        return gradient.sign()
    largest = gradient.flatten(1).abs().amax(1)  # many times as fast as the vector norm of order infinity
    scaled = gradient / _or_one(largest.view(-1, *(1,) * (gradient.ndim - 1)))
    return scaled.div_(_or_one(image_norm(scaled)))


def mean_size(gradient: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch *ones"]:
    """Return the mean absolute value of each image's gradient, 1 where it is zero."""
    return _or_one(gradient.flatten(1).abs().mean(1).view(-1, *(1,) * (gradient.ndim - 1)))


def deviation(gradient: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch *ones"]:
    """Return the standard deviation over each image's pixels, 1 where it is zero."""
    return _or_one(gradient.flatten(1).std(1, correction=0).view(-1, *(1,) * (gradient.ndim - 1)))


def draw_in_ball(task: Task) -> Float[Tensor, "batch *pixels"]:
    """Return the clean images moved to a uniform point of the ball, within [0, 1]."""
    shape, device, dtype = task.images.shape, task.images.device, task.images.dtype
    drawn = draw_uniform(shape, generator=task.generator, device=device, dtype=dtype)
    if task.norm == "linf":
        return task.project(task.images + task.epsilon * (2 * drawn - 1))
    noise = draw_normal(shape, generator=task.generator, device=device, dtype=dtype)
    radius = drawn.flatten(1)[:, :1].view(-1, *(1,) * (len(shape) - 1)) ** (1 / task.images[0].numel())
    return task.project(task.images + task.epsilon * radius * noise / image_norm(noise))


def _or_one(sizes: Tensor) -> Tensor:
    return torch.where(sizes > 0, sizes, torch.ones_like(sizes))

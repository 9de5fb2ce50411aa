"""The first attack: L-BFGS inside the box of valid pixels, searching over the weight of the loss."""

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task
from toolkit.adversarial.attacks.optimization import (
    ConstantSearch,
    Smallest,
    check_count,
    check_number,
    rows_like,
)

SUFFICIENT = 1e-4
"""Armijo's constant: the share of the promised decrease that a step must bring."""

SHORTEST = 2.0**-20
"""An image whose step was halved to this share is at its minimum, as far as rounding lets us see."""


@dataclass(frozen=True)
class LBFGS(Attack):
    """The smallest change, in L2, that reaches a class (section 2.2.1, eq. 1; Szegedy et al., arXiv 1312.6199).

    Minimises ‖x' − x‖₂² + c·J(f(x'), t) over x' in [0, 1], with the smallest c that succeeds, found for each image:
    tenfold until it does, then by bisection. Without targets, which the chapter does not treat, J is -log of the
    probability of all classes but the label together.

    All images are minimised at once, each with its own step, history and set of pixels that rest on the box; an
    evaluation that does not lower an image's objective enough halves that image's step.

    The smallest successful image of all evaluations is returned, and the clean one where none succeeded or it is wrong
    already. A finite ``epsilon`` puts the result into the ball; ``None`` sets no bound.

    Attributes:
        n_steps: evaluations of the objective and its gradient, for each c.
        n_searches: how many c are tried.
        initial_constant: the first c.
        memory: how many of the last steps tell the curvature.
    """

    n_steps: int = 50
    n_searches: int = 10
    initial_constant: float = 0.1
    memory: int = 10
    norm: Norm = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)
    finds_smallest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("LBFGS", "n_steps", self.n_steps)
        check_count("LBFGS", "n_searches", self.n_searches)
        check_count("LBFGS", "memory", self.memory)
        check_number("LBFGS", "initial_constant", self.initial_constant, positive=True)

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the nearest successful images found."""
        smallest = Smallest(task)
        constants = ConstantSearch(task.images.new_full((len(smallest.open),), self.initial_constant))
        if len(smallest.open):
            for _ in range(self.n_searches):
                constants.update(self._minimise(task, constants.values, smallest))
        return smallest.images

    def _minimise(self, task: Task, constants: Float[Tensor, " some"], smallest: Smallest) -> Bool[Tensor, " some"]:
        """Minimise for these c, one for each open image; return which images succeeded on the way."""
        rows = smallest.open
        clean, labels = task.images[rows], task.labels[rows]
        found = torch.zeros_like(constants, dtype=torch.bool)
        seen: list[Tensor] = []

        def weighted(at: Tensor) -> Tensor:
            logits = task.logits(at)
            if task.targeted:
                losses = F.cross_entropy(logits, labels, reduction="none")
            else:
                others = logits.scatter(1, labels[:, None], -torch.inf)
                losses = logits.logsumexp(1) - others.logsumexp(1)
            seen[:] = logits.detach(), (constants * losses).detach()
            return constants * losses

        def evaluate(images: Tensor) -> tuple[Tensor, Tensor]:
            gradient = task.gradient(images, weighted)
            logits, losses = seen
            found.logical_or_(smallest.offer(rows, images, logits))
            change = images - clean
            return losses + change.flatten(1).square().sum(1), gradient.add_(change, alpha=2)

        images = clean
        value, gradient = evaluate(images)
        # The first step is at most of length 1: a large c makes the gradient say nothing about distances.
        way = _free(images, gradient) * gradient
        way = way * rows_like(-(1 / way.flatten(1).norm(dim=1)).clamp(max=0.5), way)
        share = torch.ones_like(value)
        steps: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.memory)
        for _ in range(self.n_steps - 1):
            trial = (images + rows_like(share, way) * way).clamp_(0, 1)
            moved = trial - images
            new_value, new_gradient = evaluate(trial)
            lower = new_value <= value + SUFFICIENT * _dot(gradient, moved)
            mask = rows_like(lower, images)
            steps.append((moved * mask, (new_gradient - gradient) * mask))
            images = torch.where(mask, trial, images)
            value = torch.where(lower, new_value, value)
            gradient = torch.where(mask, new_gradient, gradient)
            way = torch.where(mask, _newton(images, gradient, steps), way)
            share = torch.where(lower, 1, share / 2)
            if not ((share > SHORTEST) & (moved.flatten(1).abs().amax(1) > 0)).any():
                break
        return found


def _newton(
    images: Float[Tensor, "batch *pixels"],
    gradient: Float[Tensor, "batch *pixels"],
    steps: deque[tuple[Tensor, Tensor]],
) -> Float[Tensor, "batch *pixels"]:
    """Return minus the inverse curvature times the gradient, over the pixels that may move (Nocedal's two loops)."""
    free = _free(images, gradient)
    found = gradient * free
    # Until a step told better, the curvature is that of the squared distance alone: 2.
    scale, known, pairs = torch.full_like(found.flatten(1)[:, 0], 0.5), None, []
    for step, change in reversed(steps):
        step, change = step * free, change * free
        curvature, square = _dot(step, change), _dot(change, change)
        usable = curvature > 1e-10 * square
        weight = torch.where(usable, 1 / curvature, 0)
        scale = torch.where(usable if known is None else usable & ~known, curvature / square, scale)
        known = usable if known is None else known | usable
        along = weight * _dot(step, found)
        found = found - rows_like(along, found) * change
        pairs.append((step, change, weight, along))
    found = found * rows_like(scale, found)
    for step, change, weight, along in reversed(pairs):
        found = found + rows_like(along - weight * _dot(change, found), found) * step
    return -found


def _free(images: Tensor, gradient: Tensor) -> Tensor:
    """Return which pixels a step downhill does not push out of the box."""
    return ~((images <= 0) & (gradient > 0) | (images >= 1) & (gradient < 0))


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).flatten(1).sum(1)

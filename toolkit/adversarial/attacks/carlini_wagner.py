"""The attack of Carlini and Wagner: Adam on the distance and the margin together, searching over their balance."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task
from toolkit.adversarial.attacks.optimization import (
    Adam,
    ConstantSearch,
    Smallest,
    check_count,
    check_number,
    shortfall,
)

INSIDE = 0.999999
"""How far towards 0 and 1 a pixel may start, so that its inverse hyperbolic tangent is finite."""

LEAST_PATIENCE = 20
"""Adam remembers about ten gradients: in fewer steps than these a loss that rises has not failed yet."""


@dataclass(frozen=True)
class CarliniWagner(Attack):
    """The smallest change, in L2, with which a class leads by ``confidence`` (section 2.2.1, eq. 5).

    It minimises ‖x' − x‖₂² + c·max(max over i ≠ t of f(x')ᵢ − f(x')ₜ, −κ) with Adam on w, x' = ½(tanh w + 1); without
    targets the second term is max(f(x')ᵧ − max over i ≠ y of f(x')ᵢ, −κ). The chapter's p-norm is squared, as its
    authors do (arXiv 1608.04644). For each image c is searched: tenfold until the attack succeeds, then by bisection.

    The smallest successful image of all steps is returned, and the clean one where none succeeded or it is wrong
    already. A finite ``epsilon`` puts the result into the ball; ``None`` sets no bound.

    Attributes:
        confidence: κ, by how many units of the logits the class must lead.
        n_steps: Adam's, for each c.
        n_searches: how many c are tried.
        learning_rate: Adam's.
        initial_constant: the first c.
        abort_early: whether an image is left alone for this c when a tenth of the steps, and at least 20,
            did not lower its loss.
    """

    confidence: float = 0.0
    n_steps: int = 1000
    n_searches: int = 9
    learning_rate: float = 0.01
    initial_constant: float = 1e-3
    abort_early: bool = True
    norm: Norm = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)
    finds_smallest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("CarliniWagner", "n_steps", self.n_steps)
        check_count("CarliniWagner", "n_searches", self.n_searches)
        check_number("CarliniWagner", "confidence", self.confidence)
        check_number("CarliniWagner", "learning_rate", self.learning_rate, positive=True)
        check_number("CarliniWagner", "initial_constant", self.initial_constant, positive=True)

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the nearest successful images found."""
        smallest = Smallest(task, self.confidence)
        constants = ConstantSearch(task.images.new_full((len(smallest.open),), self.initial_constant))
        if len(smallest.open):
            for _ in range(self.n_searches):
                constants.update(self._descend(task, constants.values, smallest))
        return smallest.images

    def _descend(self, task: Task, constants: Float[Tensor, " some"], smallest: Smallest) -> Bool[Tensor, " some"]:
        """Run Adam for these c, one for each open image; return which images succeeded on the way."""
        rows, active = smallest.open, torch.arange(len(constants), device=constants.device)
        clean, labels = task.images[rows], task.labels[rows]
        found = torch.zeros_like(constants, dtype=torch.bool)
        lowest, before = torch.full_like(constants, torch.inf), torch.full_like(constants, torch.inf)
        adam = Adam(((2 * clean - 1) * INSIDE).atanh(), self.learning_rate)
        patience = max(LEAST_PATIENCE, -(-self.n_steps // 10))
        seen: list[Tensor] = []

        def hinge(at: Tensor) -> Tensor:
            logits = task.logits(at)
            losses = constants * (shortfall(logits, labels, task.targeted) + self.confidence).clamp(min=0)
            seen[:] = logits.detach(), losses.detach()
            return losses

        for step in range(self.n_steps):
            tanh = adam.values.tanh()
            images = (tanh + 1).mul_(0.5)
            gradient = task.gradient(images, hinge)
            logits, losses = seen
            change = images - clean
            succeeded = smallest.offer(rows, images, logits)
            found[active] |= succeeded
            lowest = lowest.minimum(losses + change.flatten(1).square().sum(1))
            adam.step(gradient.add_(change, alpha=2).mul_((1 - tanh.square_()).mul_(0.5)))
            if self.abort_early and step % patience == 0:
                moving = lowest <= 0.9999 * before
                if not moving.all():
                    rows, active, clean, labels = rows[moving], active[moving], clean[moving], labels[moving]
                    constants, lowest = constants[moving], lowest[moving]
                    adam.keep(moving)
                    if not len(rows):
                        break
                before = lowest
        return found

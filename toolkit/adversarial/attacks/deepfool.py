"""DeepFool: step to the nearest boundary of the linearised classifier until it is crossed."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task
from toolkit.adversarial.attacks.optimization import check_count, check_number, rows_like
from toolkit.adversarial.attacks.steps import steepest
from toolkit.core.errors import require

NUDGE = 1e-4
"""Added to each distance, as in the authors' code, so that an image that lies on the boundary leaves it."""


@dataclass(frozen=True)
class DeepFool(Attack):
    """The nearest boundary, were the classifier linear, again and again (Moosavi-Dezfooli et al., arXiv 1511.04599).

    Not described in the chapter. On a linear classifier, inside the box, one step gives the nearest change, but
    for the overshoot and the 0.0001 that the authors add to each distance. Each
    image stops where it is wrong; one that never is comes back as the last step left it. The form with targets is
    ours: a step goes to the boundary between the target and the class that leads. A finite ``epsilon`` puts the result
    into the ball; ``None`` sets no bound.

    Attributes:
        n_steps: at most so many.
        overshoot: the change is this much longer than to the boundary, as a share of its length.
        candidates: how many of the classes likeliest on the clean image are considered, the label among them; ``None``:
            all. Each costs a backward pass a step.
        norm: in which the boundary is nearest.
    """

    n_steps: int = 50
    overshoot: float = 0.02
    candidates: int | None = 10
    norm: Norm = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2", "linf")
    finds_smallest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("DeepFool", "n_steps", self.n_steps)
        check_number("DeepFool", "overshoot", self.overshoot)
        if self.candidates is not None:
            check_count("DeepFool", "candidates", self.candidates, least=2)
        require(self.norm in self.norms, "DeepFool", "norm", f"one of {', '.join(self.norms)}", self.norm)

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images after their last step."""
        images, total = task.images.clone(), torch.zeros_like(task.images)
        rows, rivals = torch.arange(len(images), device=images.device), None
        for _ in range(self.n_steps):
            at = images[rows].requires_grad_()
            logits = task.logits(at)
            if rivals is None:
                others = logits.detach().scatter(1, task.labels[:, None], -math.inf)
                n_rivals = others.shape[1] - 1 if self.candidates is None else self.candidates - 1
                rivals = others.argsort(1, descending=True)[:, : min(n_rivals, others.shape[1] - 1)]
            still = (logits.argmax(1) == task.labels[rows]) != task.targeted
            if not still.all():
                rows = rows[still]
                if not len(rows):
                    break
                at = images[rows].requires_grad_()
                logits = task.logits(at)
            total[rows] += self._step(at, logits, task.labels[rows], rivals[rows], task.targeted)
            images[rows] = (task.images[rows] + (1 + self.overshoot) * total[rows]).clamp_(0, 1)
        return images

    def _step(self, at: Tensor, logits: Tensor, labels: Tensor, rivals: Tensor, targeted: bool) -> Tensor:
        """Return the way to the nearest boundary of the linearised logits; zero where no gradient leads there."""
        expected = "a differentiable model; BPDA in toolkit.adversarial gives one a gradient"
        require(logits.requires_grad, "DeepFool", "model", expected, "logits without a gradient")
        own = logits.gather(1, labels[:, None])
        if targeted:
            gaps = own - logits.scatter(1, labels[:, None], -math.inf).amax(1, keepdim=True)
        else:
            gaps = logits.gather(1, rivals) - own
        nearest = torch.full_like(gaps[:, :1].sum(1), math.inf).detach()
        way = torch.zeros_like(at)
        for column in range(gaps.shape[1]):
            last = column == gaps.shape[1] - 1
            gradient = torch.autograd.grad(gaps[:, column].sum(), at, retain_graph=not last, materialize_grads=True)[
                0
            ].nan_to_num(0.0, 0.0, 0.0)
            flat = gradient.flatten(1)
            slope = flat.norm(dim=1) if self.norm == "l2" else flat.abs().sum(1)
            distance = torch.where(slope > 0, gaps[:, column].detach().abs() / slope, math.inf)
            nearer = rows_like(distance < nearest, at)
            nearest = nearest.minimum(distance)
            way = torch.where(nearer, gradient, way)
        length = torch.where(nearest.isfinite(), nearest + NUDGE, 0)
        return steepest(way, self.norm) * rows_like(length, at)

"""What other teams of the competition raised or lowered instead of the cross-entropy."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Task
from toolkit.adversarial.attacks.members import against_members
from toolkit.adversarial.attacks.optimization import Adam, check_count, check_number
from toolkit.adversarial.attacks.steps import GradientAttack


@dataclass(frozen=True)
class LogMargin(GradientAttack):
    """The loss of team Stanford & Suns, third of the non-targeted attacks: log(margin + Σ p of the label).

    The sum is over the members of an :class:`~toolkit.adversarial.ensembles.Ensemble`, each with its weight times their
    number. It is lowered, or, for targets, raised. From the team's released code: the margin and, for targets, 25 steps
    of 0.2 epsilon, which are the default for both goals here. Its non-targeted entry used this loss with RMSProp on
    some models first and with signs on others after, which this attack does not.

    Attributes:
        margin: bounds the weight of an image that is already lost.
    """

    n_steps: int = 25
    margin: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("LogMargin", "margin", self.margin, positive=True)

    def size(self, task: Task) -> Tensor:
        """Return how long a step is, one for each image."""
        if self.step_size is None and self.relative_step is None:
            return task.epsilon * 0.2
        return super().size(task)

    def gradient(self, task: Task, images: Tensor, step: int) -> Float[Tensor, "batch *pixels"]:
        """Return the gradient of the logarithm."""
        members = against_members(task)

        def objective(at: Tensor) -> Tensor:
            total = torch.full_like(at.flatten(1)[:, 0], self.margin)
            for weight, member in members:
                probabilities = member.logits(at).softmax(1).gather(1, task.labels[:, None])[:, 0]
                total = total + weight * len(members) * probabilities
            return total.log() if task.targeted else -total.log()

        return task.gradient(images, objective)


@dataclass(frozen=True)
class TanhAdam(Attack):
    """The non-targeted attack of Anil Thomas: Adam on Δ, the image being x + epsilon·tanh Δ, cut to [0, 1].

    Lowers J(second) - 0.1·J(label), J the cross-entropy and second the likeliest other class on the clean image; from
    the released code, as are the 26 steps. Ours: the learning rate, and, with targets, to lower J(target) the same way.

    Attributes:
        n_steps: Adam's.
        learning_rate: Adam's.
        label_weight: the share of the label's loss.
    """

    n_steps: int = 26
    learning_rate: float = 0.2
    label_weight: float = 0.1

    norms: ClassVar[tuple[str, ...]] = ("linf",)

    def __post_init__(self) -> None:
        check_count("TanhAdam", "n_steps", self.n_steps)
        check_number("TanhAdam", "learning_rate", self.learning_rate, positive=True)
        check_number("TanhAdam", "label_weight", self.label_weight)

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images after the last step."""
        labels, aims = task.labels, task.labels
        if not task.targeted:
            with torch.no_grad():
                aims = task.logits(task.images).scatter(1, labels[:, None], -math.inf).argmax(1)

        def changed(at: Tensor) -> Tensor:
            return (task.images + task.epsilon * at.tanh()).clamp(0, 1)

        def objective(at: Tensor) -> Tensor:
            logits = task.logits(changed(at))
            losses = F.cross_entropy(logits, aims, reduction="none")
            if not task.targeted:
                losses = losses - self.label_weight * F.cross_entropy(logits, labels, reduction="none")
            return losses

        adam = Adam(torch.zeros_like(task.images), self.learning_rate)
        for _ in range(self.n_steps):
            adam.step(task.gradient(adam.values, objective))
        return changed(adam.values)

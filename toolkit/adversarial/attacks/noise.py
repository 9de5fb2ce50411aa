"""The organisers' baselines that look at no model: the images as they are, and random noise."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task, image_norm
from toolkit.core.devices import draw_normal
from toolkit.core.errors import require


@dataclass(frozen=True)
class NoAttack(Attack):
    """Hands in a copy of the images: what errs without an adversary."""

    needs_gradient: ClassVar[bool] = False
    accepts_targets: ClassVar[bool] = False

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return a copy."""
        return task.images.clone()


@dataclass(frozen=True)
class RandomSign(Attack):
    """Noise as large as allowed: what errs under a change that nobody chose.

    Attributes:
        norm: ``"linf"``: every pixel and channel moves by epsilon, up or down, as the organisers' baseline does;
            ``"l2"``: a uniform point of the sphere of radius epsilon. Both are then clipped to [0, 1].
    """

    norm: Norm = "linf"

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    needs_gradient: ClassVar[bool] = False
    accepts_targets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(self.norm in self.norms, "RandomSign", "norm", f"one of {', '.join(self.norms)}", self.norm)

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the noisy images."""
        images = task.images
        noise = draw_normal(images.shape, generator=task.generator, device=images.device, dtype=images.dtype)
        if self.norm == "linf":
            return torch.where(noise < 0, images - task.epsilon, images + task.epsilon)
        return images + task.epsilon * noise / image_norm(noise)

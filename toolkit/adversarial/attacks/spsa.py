"""Gradients estimated from scores alone, and an attack that follows them (Uesato et al., arXiv 1802.05666)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task
from toolkit.adversarial.attacks.optimization import Adam, check_count, check_number, shortfall
from toolkit.adversarial.attacks.search import part_of
from toolkit.adversarial.attacks.steps import steepest
from toolkit.core.devices import draw_uniform, resolve_generator
from toolkit.core.errors import require


@dataclass(frozen=True)
class SPSA(Attack):
    """Climbs the margin along gradients estimated from differences in random directions of ±1.

    Each step asks the model 2 ``n_samples`` times for each image, ``delta`` away from it, which may be outside [0, 1],
    and once at the image itself. An image is left once the model errs.

    Attributes:
        n_steps: how many.
        n_samples: pairs of answers for each gradient.
        delta: how far away they are taken, in units of the pixels.
        learning_rate: of Adam, or the length of a step, in units of the pixels.
        step: ``"adam"``, or ``"sign"``: the steepest step of that length (in L2 along the gradient).
        norm: ``"linf"`` or ``"l2"``.
        chunk: most images that the model sees at once.
    """

    n_steps: int = 100
    n_samples: int = 128
    delta: float = 0.01
    learning_rate: float = 0.01
    step: Literal["adam", "sign"] = "adam"
    norm: Norm = "linf"
    chunk: int = 4096

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field in ("n_steps", "n_samples", "chunk"):
            check_count("SPSA", field, getattr(self, field))
        for field in ("delta", "learning_rate"):
            check_number("SPSA", field, getattr(self, field), positive=True)
        require(self.step in ("adam", "sign"), "SPSA", "step", "'adam' or 'sign'", repr(self.step))
        require(self.norm in self.norms, "SPSA", "norm", f"one of {', '.join(self.norms)}", self.norm)

    @torch.no_grad()
    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the images after the last step, or where the model errs."""
        found = task.images.clone()
        rows = (~task.succeeded(task.logits(found))).nonzero().squeeze(1)
        part, climber = part_of(task, rows), Adam(found[rows], self.learning_rate)
        for _ in range(self.n_steps):
            if not len(rows):
                break
            gradient = self._gradient(task, part, climber.values, rows)
            if self.step == "adam":
                climber.step(-gradient)
            else:
                climber.values.add_(steepest(gradient, self.norm), alpha=self.learning_rate)
            found[rows] = climber.values = part.project(climber.values)
            standing = ~part.succeeded(part.logits(climber.values))
            climber.keep(standing)
            rows = rows[standing]
            part = part_of(task, rows)
        return found

    def _gradient(self, task: Task, part: Task, images: Tensor, rows: Tensor) -> Tensor:
        def objective(at: Tensor) -> Tensor:
            return -shortfall(task.model(at), part.labels.repeat(len(at) // len(part.labels)), task.targeted)

        def draw(n: int) -> Tensor:
            # For all images, also finished ones, so that what one image gets does not hang on the others.
            return _draw_signs(n, task.images, task.generator)[:, rows]

        return _estimate(objective, images, draw, self.n_samples, self.delta, self.chunk)


def estimate_gradient(
    objective: Callable[[Tensor], Tensor],
    images: Float[Tensor, "batch *pixels"],
    *,
    n_samples: int,
    delta: float,
    generator: torch.Generator | None = None,
    chunk: int = 4096,
) -> Float[Tensor, "batch *pixels"]:
    """Estimate gradients by simultaneous perturbation: the mean of v (f(x + δv) - f(x - δv)) / 2δ over v of ±1.

    Unbiased for linear and quadratic functions; otherwise the bias falls with δ².

    Args:
        objective: ``[samples * batch, *pixels]`` to a number for each; the whole batch repeats for every sample.
        images: where.
        n_samples: how many directions for each image.
        delta: δ, in units of the pixels.
        generator: for the directions; default: a new one.
        chunk: most images that the objective sees at once, but at least twice the batch.

    Returns:
        An estimate for each image; where the differences are not finite, zero.

    Raises:
        ValueError: ``n_samples`` or ``chunk`` below 1, or ``delta`` not positive.
    """
    for name, value in (("n_samples", n_samples), ("chunk", chunk)):
        check_count("estimate_gradient", name, value)
    check_number("estimate_gradient", "delta", delta, positive=True)
    drawing = resolve_generator(generator)
    with torch.no_grad():
        return _estimate(objective, images.detach(), lambda n: _draw_signs(n, images, drawing), n_samples, delta, chunk)


def _estimate(
    objective: Callable[[Tensor], Tensor],
    images: Tensor,
    draw: Callable[[int], Tensor],
    n_samples: int,
    delta: float,
    chunk: int,
) -> Tensor:
    total = torch.zeros_like(images)
    if not len(images):
        return total
    most = max(chunk // (2 * len(images)), 1)
    for done in range(0, n_samples, most):
        signs = draw(min(most, n_samples - done))
        both = torch.cat([images + delta * signs, images - delta * signs])
        above, below = objective(both.flatten(0, 1)).view(2, len(signs), len(images))
        slopes = ((above - below) / (2 * delta)).nan_to_num_(0.0, 0.0, 0.0)
        total += torch.einsum("sb,sb...->b...", slopes, signs)
    return total / n_samples


def _draw_signs(n: int, images: Tensor, generator: torch.Generator) -> Tensor:
    drawn = draw_uniform((n, *images.shape), generator=generator, device=images.device, dtype=torch.float32)
    return torch.where(drawn < 0.5, -1.0, 1.0).to(images.dtype)

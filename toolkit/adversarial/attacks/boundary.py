"""The boundary attack: walks along the decision boundary towards the image (Brendel et al., arXiv 1712.04248)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task, check_images, image_norm
from toolkit.adversarial.attacks.optimization import check_count, check_number, rows_like
from toolkit.adversarial.attacks.search import part_of
from toolkit.core.devices import draw_normal, draw_uniform
from toolkit.core.errors import reject, require

_STEPS_BETWEEN_SPHERICAL = 5
_SPHERICAL_RATE, _SOURCE_RATE = 0.5, 0.25


@dataclass(frozen=True)
class BoundaryAttack(Attack):
    """Looks for the smallest change in L2 and asks the model for nothing but its top label.

    Starts at an image that the model gets wrong, goes to the boundary, and then takes random steps on the sphere
    around the clean image, each followed by a step inwards; it keeps a point if the model still errs. The sizes of
    both steps follow how often they succeed, for each image on its own: one half of the spherical steps and one
    quarter of all steps, adjusted after every answer, where the paper waits for a window of answers.

    An image starts at the nearest of ``starts`` that fits its goal; without one, at uniform noise that the model gets
    wrong. Targets cannot be found in noise: they need ``starts``, with at least one image that the model takes for
    each target. An image for which no noise is wrong stays as it is, and so does one that is wrong already.

    Attributes:
        n_steps: how many. Each asks once, every fifth twice.
        starts: images to start from, of other classes or already changed; any number.
        n_noises: how many noise images are tried.
        n_halvings: how often the way to the boundary is halved at the beginning.
        spherical_step: first length of the steps on the sphere, in units of the distance.
        source_step: first length of the steps inwards, in units of the distance.
        adaptation: factor by which an answer changes a length at most.
    """

    n_steps: int = 5000
    starts: Float[Tensor, "starts *pixels"] | None = field(default=None, compare=False, repr=False)
    n_noises: int = 50
    n_halvings: int = 10
    spherical_step: float = 0.1
    source_step: float = 0.1
    adaptation: float = 1.1
    norm: Norm = "l2"

    norms: ClassVar[tuple[str, ...]] = ("l2",)
    needs_gradient: ClassVar[bool] = False
    finds_smallest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, least in (("n_steps", 0), ("n_noises", 0), ("n_halvings", 0)):
            check_count("BoundaryAttack", name, getattr(self, name), least)
        for name in ("spherical_step", "source_step"):
            check_number("BoundaryAttack", name, getattr(self, name), positive=True)
            require(getattr(self, name) <= 1, "BoundaryAttack", name, "<= 1", getattr(self, name))
        check_number("BoundaryAttack", "adaptation", self.adaptation)
        require(self.adaptation > 1, "BoundaryAttack", "adaptation", "> 1", self.adaptation)
        if self.starts is not None:
            check_images("BoundaryAttack", self.starts)

    @torch.no_grad()
    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return the nearest images found that the model gets wrong."""
        found = task.images.clone()
        open_ = ~task.succeeded(task.logits(found))
        started = self._start_at_others(task, found, open_) if self.starts is not None else torch.zeros_like(open_)
        if task.targeted:
            missing = (open_ & ~started).nonzero().squeeze(1)
            if len(missing):
                classes = sorted(set(task.labels[missing].tolist()))
                expected = "with targets, images that the model takes for each of them"
                reject("BoundaryAttack", "starts", expected, f"none for {classes}")
        else:
            started = started | self._start_at_noise(task, found, open_ & ~started)
        rows = started.nonzero().squeeze(1)
        if len(rows):
            part = part_of(task, rows)
            found[rows] = self._walk(task, part, rows, self._halve(part, found[rows]))
        return found

    def _start_at_others(self, task: Task, found: Tensor, wanted: Tensor) -> Tensor:
        """Put the nearest fitting start into each wanted row, and return which rows have one."""
        assert self.starts is not None
        starts = self.starts.detach().to(found)
        fits = starts.shape[1:] == found.shape[1:]
        expected = f"images of shape {list(found.shape[1:])}"
        require(fits, "BoundaryAttack", "starts", expected, f"shape {list(starts.shape[1:])}")
        if not len(starts):
            return torch.zeros_like(wanted)
        says = torch.cat([task.model(some).argmax(1) for some in starts.split(500)])
        same = says == task.labels.unsqueeze(1)
        distance = torch.cdist(found.flatten(1), starts.flatten(1))
        distance = distance.masked_fill(~same if task.targeted else same, torch.inf)
        nearest, which = distance.min(1)
        taken = wanted & nearest.isfinite()
        found[taken] = starts[which[taken]]
        return taken

    def _start_at_noise(self, task: Task, found: Tensor, wanted: Tensor) -> Tensor:
        """Put noise that the model gets wrong into each wanted row, and return which rows have one."""
        taken = torch.zeros_like(wanted)
        for _ in range(self.n_noises):
            if not bool((wanted & ~taken).any()):
                break
            noise = draw_uniform(found.shape, generator=task.generator, device=found.device, dtype=found.dtype)
            errs = wanted & ~taken & task.succeeded(task.logits(noise))
            found[errs] = noise[errs]
            taken |= errs
        return taken

    def _halve(self, task: Task, wrong: Tensor) -> Float[Tensor, "rows *pixels"]:
        """Return points near the boundary, on the wrong side, between these and the clean images."""
        right = task.images
        for _ in range(self.n_halvings):
            middle = (right + wrong) / 2
            errs = rows_like(task.succeeded(task.logits(middle)), middle)
            wrong, right = torch.where(errs, middle, wrong), torch.where(errs, right, middle)
        return wrong

    def _walk(self, task: Task, part: Task, rows: Tensor, points: Tensor) -> Float[Tensor, "rows *pixels"]:
        clean = part.images
        distance = image_norm(points - clean)
        spherical = torch.full_like(distance, self.spherical_step)
        source = torch.full_like(distance, self.source_step)
        for step in range(self.n_steps):
            # For all images, also finished ones, so that what one image gets does not hang on the others.
            shape, device, dtype = task.images.shape, clean.device, clean.dtype
            noise = draw_normal(shape, generator=task.generator, device=device, dtype=dtype)[rows]
            around = _step_around(clean, points, distance, noise, spherical)
            length = image_norm(around - clean)
            inward = (1 - source) * distance / torch.where(length > 0, length, torch.ones_like(length))
            proposed = (clean + inward.clamp(max=1) * (around - clean)).clamp(0, 1)
            errs = rows_like(part.succeeded(part.logits(proposed)), proposed)
            nearer = image_norm(proposed - clean)
            kept = errs & (nearer < distance)
            points, distance = torch.where(kept, proposed, points), torch.where(kept, nearer, distance)
            source = (source * self.adaptation ** (errs.to(dtype) - _SOURCE_RATE)).clamp(1e-9, 0.5)
            if step % _STEPS_BETWEEN_SPHERICAL == 0:
                stays = rows_like(part.succeeded(part.logits(around)), around).to(dtype)
                factor = self.adaptation ** (stays - _SPHERICAL_RATE)
                spherical = (spherical * factor).clamp(1e-9, 1)
        return points


def _step_around(
    clean: Tensor, points: Tensor, distance: Tensor, noise: Tensor, size: Tensor
) -> Float[Tensor, "rows *pixels"]:
    """Return points on the same spheres around the clean images, a step of the given relative size away."""
    outward = (points - clean) / torch.where(distance > 0, distance, torch.ones_like(distance))
    along = (noise * outward).flatten(1).sum(1)
    tangent = noise - rows_like(along, noise) * outward
    length = image_norm(tangent)
    tangent = tangent / torch.where(length > 0, length, torch.ones_like(length))
    return (clean + distance * (outward + size * tangent) / (1 + size.square()).sqrt()).clamp(0, 1)

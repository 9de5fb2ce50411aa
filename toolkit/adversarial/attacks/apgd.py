"""Projected gradient that chooses its own step sizes (Croce and Hein, arXiv 2003.01690)."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Norm, Task
from toolkit.adversarial.attacks.optimization import check_count, rows_like
from toolkit.adversarial.attacks.search import never_nan, part_of, raised_margin
from toolkit.adversarial.attacks.steps import draw_in_ball, steepest
from toolkit.core.errors import require

_MOMENTUM = 0.75
_LEAST_SHARE_OF_RISES = 0.75
_STEPS_BETWEEN_LOOKS = 4


@dataclass(frozen=True)
class APGD(Attack):
    """Auto-PGD: steps with momentum from a random point, halved wherever the loss stops rising.

    At checkpoints, an image whose loss rose in less than three quarters of the steps, or whose best loss has not
    changed, goes back to its best point and halves its step.

    Attributes:
        loss: ``"ce"``: the cross-entropy, or the model's own ``losses``; ``"dlr"``: the margin divided by the
            difference of the first and the third logit, which does not change when the logits are scaled;
            ``"targeted-dlr"`` (APGD-T): runs towards each of the likeliest wrong classes in turn. With two classes
            the margin is not divided. With targets the last two aim at these alone.
        n_steps: of each run.
        restarts: runs from other random points for what still stands.
        n_targets: how many wrong classes ``"targeted-dlr"`` tries at most, the likeliest first.
        norm: ``"linf"`` or ``"l2"``.
        early_stop: leave an image once the model errs, also one that is wrong before the attack; otherwise each image
            ends where the loss is highest.
    """

    loss: Literal["ce", "dlr", "targeted-dlr"] = "ce"
    n_steps: int = 100
    restarts: int = 1
    n_targets: int = 9
    norm: Norm = "linf"
    early_stop: bool = True

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    def __post_init__(self) -> None:
        losses = ("ce", "dlr", "targeted-dlr")
        require(self.loss in losses, "APGD", "loss", f"one of {', '.join(losses)}", repr(self.loss))
        require(self.norm in self.norms, "APGD", "norm", f"one of {', '.join(self.norms)}", self.norm)
        for field in ("n_steps", "restarts", "n_targets"):
            check_count("APGD", field, getattr(self, field))

    @property
    def title(self) -> str:
        """Return the name by which reports call it."""
        return {"ce": "APGD-CE", "dlr": "APGD-DLR", "targeted-dlr": "APGD-T"}[self.loss]

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return where the model errs, or else where the loss was highest."""
        with torch.no_grad():
            logits = task.logits(task.images)
        found, wrong = task.images.clone(), task.succeeded(logits)
        broken = wrong if self.early_stop else torch.zeros_like(wrong)
        highest = logits.new_full((len(found),), -torch.inf)
        for aims in self._aims(task, logits):
            for _ in range(self.restarts):
                starts = draw_in_ball(task)
                rows = (~broken if self.early_stop else torch.ones_like(broken)).nonzero().squeeze(1)
                if not len(rows):
                    return found
                end = self._climb(part_of(task, rows), starts[rows], None if aims is None else aims[rows])
                better = (end.broken & ~broken[rows]) | ((end.broken == broken[rows]) & (end.best_loss > highest[rows]))
                # The point with the highest loss, unless the model is right there and wrong elsewhere.
                images = torch.where(rows_like(end.broken & ~end.best_errs, end.best), end.wrong, end.best)
                rows = rows[better]
                found[rows], highest[rows] = images[better], end.best_loss[better]
                broken[rows] = end.broken[better]
        return found

    def _aims(self, task: Task, logits: Tensor) -> Iterator[Tensor | None]:
        """Yield for each run the classes to go to, or None for away from the label."""
        if self.loss != "targeted-dlr" or task.targeted:
            yield None
            return
        others = logits.scatter(1, task.labels.unsqueeze(1), -torch.inf)
        yield from others.topk(min(self.n_targets, logits.shape[1] - 1)).indices.unbind(1)

    def _climb(
        self, task: Task, start: Float[Tensor, "batch *pixels"], aims: Int[Tensor, " batch"] | None
    ) -> "_Climber":
        """Return where one run has come."""
        climber = all_of_it = self._set_out(task, start, aims)
        rows = torch.arange(len(start), device=start.device)
        windows = _windows(self.n_steps)
        for step in range(self.n_steps):
            if self.early_stop and step % _STEPS_BETWEEN_LOOKS == 0 and bool(climber.broken.any()):
                all_of_it.write(rows, climber)
                kept = (~climber.broken).nonzero().squeeze(1)
                if not len(kept):
                    return all_of_it
                climber, task, rows = climber.rows(kept), part_of(task, kept), rows[kept]
                aims = None if aims is None else aims[kept]
            self._move(task, climber, aims, first=step == 0)
            if step in windows:
                climber.adapt(windows[step])
        if climber is not all_of_it:
            all_of_it.write(rows, climber)
        return all_of_it

    def _set_out(self, task: Task, start: Tensor, aims: Tensor | None) -> "_Climber":
        gradient, losses, errs = self._look(task, start, aims)
        return _Climber(
            images=start,
            before=start,
            gradient=gradient,
            loss=losses,
            best=start.clone(),
            best_gradient=gradient.clone(),
            best_loss=losses.clone(),
            best_errs=errs.clone(),
            wrong=start.clone(),
            broken=errs,
            size=(2 * task.epsilon).expand(len(start), *task.epsilon.shape[1:]).clone(),
            n_rises=torch.zeros_like(losses),
            best_before=losses.clone(),
            halved=torch.ones_like(errs),
        )

    def _move(self, task: Task, climber: "_Climber", aims: Tensor | None, *, first: bool) -> None:
        images = climber.images
        moved = task.project(steepest(climber.gradient, self.norm).mul_(climber.size).add_(images))
        if not first:
            mixed = images + _MOMENTUM * (moved - images) + (1 - _MOMENTUM) * (images - climber.before)
            moved = task.project(mixed)
        climber.arrive(moved, *self._look(task, moved, aims))

    def _look(self, task: Task, images: Tensor, aims: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients, the losses, and which images the model gets wrong, in one pass where that is enough."""
        seen: list[Tensor] = []

        def objective(at: Tensor) -> Tensor:
            if self.loss == "ce" and hasattr(task.model, "losses"):
                losses = task.losses(at)
                with torch.no_grad():
                    logits = task.logits(at)
            else:
                logits = task.logits(at)
                losses = _losses(task, logits, self.loss, aims)
            seen.extend((losses.detach(), logits.detach()))
            return losses

        gradient = task.gradient(images, objective)
        losses, logits = seen
        return gradient, never_nan(losses), task.succeeded(logits)


@dataclass
class _Climber:
    """The state of a run, image by image."""

    images: Tensor
    before: Tensor
    gradient: Tensor
    loss: Tensor
    best: Tensor
    best_gradient: Tensor
    best_loss: Tensor
    best_errs: Tensor
    wrong: Tensor
    broken: Tensor
    size: Tensor
    n_rises: Tensor
    best_before: Tensor
    halved: Tensor

    def arrive(self, images: Tensor, gradient: Tensor, loss: Tensor, errs: Tensor) -> None:
        """Take note of the next point."""
        self.n_rises += loss > self.loss
        self.before, self.images, self.gradient, self.loss = self.images, images, gradient, loss
        higher, wrong = rows_like(loss > self.best_loss, images), rows_like(errs, images)
        self.best = torch.where(higher, images, self.best)
        self.best_gradient = torch.where(higher, gradient, self.best_gradient)
        self.best_errs = torch.where(loss > self.best_loss, errs, self.best_errs)
        self.best_loss = torch.maximum(loss, self.best_loss)
        self.wrong = torch.where(wrong, images, self.wrong)
        self.broken = self.broken | errs

    def adapt(self, window: int) -> None:
        """Halve the steps of images whose loss has not risen enough in the last ``window`` steps."""
        stuck = ~self.halved & (self.best_before >= self.best_loss)
        halve = (self.n_rises <= _LEAST_SHARE_OF_RISES * window) | stuck
        back = rows_like(halve, self.images)
        self.size = torch.where(back, self.size / 2, self.size)
        self.images = torch.where(back, self.best, self.images)
        self.gradient = torch.where(back, self.best_gradient, self.gradient)
        self.loss = torch.where(halve, self.best_loss, self.loss)
        self.halved, self.best_before = halve, self.best_loss
        self.n_rises = torch.zeros_like(self.n_rises)

    def rows(self, rows: Int[Tensor, " rows"]) -> "_Climber":
        """Return some of the images."""
        return _Climber(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))

    def write(self, rows: Int[Tensor, " rows"], other: "_Climber") -> None:
        """Put what the run is judged by of another state into these rows."""
        if other is not self:
            for name in ("best", "best_loss", "best_errs", "wrong", "broken"):
                getattr(self, name)[rows] = getattr(other, name)


def difference_of_logits_ratio(
    logits: Float[Tensor, "batch classes"], differences: Float[Tensor, " batch"], *, targeted: bool
) -> Float[Tensor, " batch"]:
    """Divide differences of logits by a range of the logits, so that their scale does not matter.

    Args:
        logits: of the model.
        differences: of two logits each.
        targeted: divide by the largest less the mean of the third and the fourth (the third with three classes);
            otherwise by the largest less the third.

    Returns:
        The ratios; with fewer than three classes the differences as they are.
    """
    if logits.shape[1] < 3:
        return differences
    top = logits.topk(min(logits.shape[1], 4 if targeted else 3)).values
    lower = top[:, 2:].mean(1)
    return differences / (top[:, 0] - lower + 1e-12)


def _losses(task: Task, logits: Tensor, loss: str, aims: Tensor | None) -> Float[Tensor, " batch"]:
    if loss == "ce":
        found = F.cross_entropy(logits, task.labels, reduction="none")
        return -found if task.targeted else found
    if aims is None:
        return difference_of_logits_ratio(logits, raised_margin(task, logits), targeted=task.targeted)
    own, aim = (logits.gather(1, classes.unsqueeze(1)).squeeze(1) for classes in (task.labels, aims))
    return difference_of_logits_ratio(logits, aim - own, targeted=True)


def _windows(n_steps: int) -> dict[int, int]:
    """Return the steps after which step sizes are judged, each with the number of steps since the last."""
    window, least, less = (max(int(share * n_steps), 1) for share in (0.22, 0.06, 0.03))
    found, end = {}, window
    while end <= n_steps:
        found[end - 1] = window
        window = max(window - less, least)
        end += window
    return found

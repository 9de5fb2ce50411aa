"""Random search with squares: a strong attack that sees scores only (Andriushchenko et al., arXiv 1912.00049)."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Classifier, Norm, Task, prepare
from toolkit.adversarial.attacks.optimization import check_count, check_number, rows_like
from toolkit.adversarial.attacks.search import never_nan, part_of, raised_margin
from toolkit.adversarial.attacks.tiles import as_pictures, mosaic, mosaic_grid, retile, window_mask
from toolkit.core.devices import draw_uniform
from toolkit.core.errors import require

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After how many of 10,000 queries the area of the squares is halved."""
_QUERIES_BETWEEN_LOOKS = 4


@dataclass(frozen=True)
class Searched:
    """What a search by queries found.

    Attributes:
        images: the changed images.
        succeeded: for which the model errs, or says the target.
        n_queries: answers used on changed images until success, or in all; 0 where the clean image was enough.
    """

    images: Float[Tensor, "batch *pixels"]
    succeeded: Bool[Tensor, " batch"]
    n_queries: Int[Tensor, " batch"]

    def __repr__(self) -> str:
        return f"Searched({int(self.succeeded.sum())} of {len(self.images)} images)"

    def to_dict(self) -> dict[str, Any]:
        """Return the tensors by name."""
        return asdict(self)


@dataclass(frozen=True)
class Square(Attack):
    """Repaints a random square of each image by the largest change, and keeps what raises the margin.

    Against targets it lowers their cross-entropy. An image is left once the model errs. Images of the shape
    ``[batch, features]`` are rows of one channel, those of three axes have one channel.

    Attributes:
        n_queries: answers of the model for each image, not counting the one on the clean image.
        p: share of the area of the first squares; halved nine times as the queries go by.
        norm: ``"linf"``: a square goes to one side of the ball in each channel; ``"l2"``: squares take their length
            from other squares, and change it into a tile with two peaks.
    """

    n_queries: int = 5000
    p: float = 0.8
    norm: Norm = "linf"

    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("Square", "n_queries", self.n_queries)
        check_number("Square", "p", self.p, positive=True)
        require(self.p <= 1, "Square", "p", "0 < p <= 1", self.p)
        require(self.norm in self.norms, "Square", "norm", f"one of {', '.join(self.norms)}", self.norm)

    def perturb(self, task: Task) -> Float[Tensor, "batch *pixels"]:
        """Return where the model errs, or else where the margin was highest."""
        return self._search(task).images

    def search(
        self,
        model: Classifier,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"] | None = None,
        *,
        epsilon: float | Tensor,
        targets: Int[Tensor, " batch"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Searched:
        """Attack as a call does, and say how many queries each image took; arguments as those of the call."""
        task = prepare(self, model, images, labels, epsilon, targets, generator)
        if not len(images):
            nothing = torch.zeros(0, dtype=torch.int64, device=images.device)
            return Searched(images.detach().clone(), nothing.bool(), nothing)
        return self._search(task)

    @torch.no_grad()
    def _search(self, task: Task) -> Searched:
        shape = as_pictures(task.images)

        def draw(*sizes: int) -> Tensor:
            # For all images, also finished ones, so that what one image gets does not hang on the others.
            drawn = (shape[0], *sizes)
            return draw_uniform(drawn, generator=task.generator, device=task.images.device, dtype=task.images.dtype)

        found, succeeded = task.images.clone(), task.succeeded(task.logits(task.images))
        n_queries = torch.zeros_like(task.labels)
        rows = (~succeeded).nonzero().squeeze(1)
        if not len(rows):
            return Searched(found, succeeded, n_queries)
        part, best = part_of(task, rows), self._first(task, draw, shape)[rows]
        highest, broken = self._ask(part, best)
        counted = torch.ones_like(rows)

        for query in range(1, self.n_queries):
            if query % _QUERIES_BETWEEN_LOOKS == 0 and bool(broken.any()):
                found[rows], succeeded[rows], n_queries[rows] = best.view(-1, *found.shape[1:]), broken, counted
                kept = (~broken).nonzero().squeeze(1)
                if not len(kept):
                    return Searched(found, succeeded, n_queries)
                rows, part, best = rows[kept], part_of(part, kept), best[kept]
                highest, broken, counted = highest[kept], broken[kept], counted[kept]
            proposed = self._propose(part, best, self._window(query - 1, shape), draw(shape[1] + 5)[rows])
            margin, errs = self._ask(part, proposed)
            better = ~broken & ((margin > highest) | errs)
            best = torch.where(rows_like(better, best), proposed, best)
            highest = torch.where(better, margin, highest)
            counted += ~broken
            broken = broken | errs
        found[rows], succeeded[rows], n_queries[rows] = best.view(-1, *found.shape[1:]), broken, counted
        return Searched(found, succeeded, n_queries)

    def _ask(self, task: Task, pictures: Tensor) -> tuple[Tensor, Tensor]:
        logits = task.logits(pictures.view(task.images.shape))
        raised = (
            -F.cross_entropy(logits, task.labels, reduction="none") if task.targeted else raised_margin(task, logits)
        )
        return never_nan(raised), task.succeeded(logits)

    def _first(self, task: Task, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        """Return vertical stripes, or a mosaic of tiles."""
        if self.norm == "linf":
            up = draw(shape[1], 1, shape[3]) < 0.5
            return torch.where(up, task.high.view(shape), task.low.view(shape))
        change = mosaic(shape, draw(shape[1] + 1, *mosaic_grid(shape)))
        return task.project(task.images + task.epsilon * change.view_as(task.images)).view(shape)

    def _propose(self, task: Task, best: Tensor, size: tuple[int, int], drawn: Tensor) -> Tensor:
        """Return the images with one square changed; ``drawn`` are two corners, a turn, a sign for each channel."""
        room = torch.tensor([best.shape[2] - size[0] + 1, best.shape[3] - size[1] + 1], device=best.device)
        corners = torch.minimum((drawn[:, :4].view(-1, 2, 2) * room).long(), room - 1)
        up = (drawn[:, 5:] < 0.5).unsqueeze(2).unsqueeze(3)
        if self.norm == "linf":
            side = torch.where(up, task.high.view_as(best), task.low.view_as(best))
            return torch.where(window_mask(best, corners[:, 0], size), side, best)
        change = best - task.images.view_as(best)
        epsilon = task.epsilon.view(-1, 1, 1, 1)
        change = retile(change, corners, size[0], up, drawn[:, 4] < 0.5, epsilon)
        return task.project(task.images + change.view_as(task.images)).view_as(best)

    def _window(self, query: int, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return height and width of the squares; strips where the image is too narrow for a square."""
        height, width = shape[2:]
        at = int(query / self.n_queries * 10_000)
        area = self.p / 2 ** sum(at > halving for halving in _HALVINGS) * height * width
        side = max(round(math.sqrt(area)), 1)
        if self.norm == "l2":
            side = max(side, 3)
            side = min(side + (side % 2 == 0), height, width)
            return side, side
        if side > height:
            return height, min(max(round(area / height), 1), width)
        if side > width:
            return min(max(round(area / width), 1), height), width
        return side, side

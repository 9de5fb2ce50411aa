"""What attacks share that minimise something: how far from success, the nearest success, the search over c, Adam."""

import math

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from toolkit.adversarial.attacks.base import Task
from toolkit.core.errors import reject, require


def shortfall(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], targeted: bool
) -> Float[Tensor, " batch"]:
    """Return by how much the wished class trails: at most 0 is success.

    Args:
        logits: of the images.
        labels: the classes to reach, or to leave.
        targeted: whether they are to be reached.

    Returns:
        The best other logit minus that of the label, or the reverse where the label is to be left.
    """
    own = logits.gather(1, labels[:, None])[:, 0]
    other = logits.scatter(1, labels[:, None], -math.inf).amax(1)
    return other - own if targeted else own - other


def rows_like(
    values: Shaped[Tensor, " batch"], images: Float[Tensor, "batch *pixels"]
) -> Shaped[Tensor, "batch *ones"]:
    """Return what there is one of for each image in a shape that goes with images."""
    return values.view(-1, *(1,) * (images.ndim - 1))


class Smallest:
    """The successful images nearest to the clean ones so far, in Euclidean distance.

    Attributes:
        images: them; the clean image where there is none.
        lengths: their distances, infinite where there is none.
        open: the rows of the images that are not successful as they are.
    """

    def __init__(self, task: Task, confidence: float = 0.0) -> None:
        """Look at the clean images.

        Args:
            task: the batch.
            confidence: by how much the wished class must lead.
        """
        self._task, self._confidence = task, confidence
        self.images = task.images.clone()
        self.lengths = task.images.new_full((len(task.images),), math.inf)
        self.open = torch.arange(len(task.images), device=task.images.device)
        with torch.no_grad():
            succeeded = self.offer(self.open, task.images, task.logits(task.images))
        self.open = self.open[~succeeded]

    def offer(
        self,
        rows: Int[Tensor, " some"],
        images: Float[Tensor, "some *pixels"],
        logits: Float[Tensor, "some classes"],
    ) -> Bool[Tensor, " some"]:
        """Keep the images that succeed and are nearer than those before; return which succeed."""
        labels, targeted = self._task.labels[rows], self._task.targeted
        succeeded = (logits.argmax(1) == labels) == targeted
        succeeded &= shortfall(logits, labels, targeted) <= -self._confidence
        lengths = (images - self._task.images[rows]).flatten(1).norm(dim=1)
        better = succeeded & (lengths < self.lengths[rows])
        self.lengths.index_copy_(0, rows, torch.where(better, lengths, self.lengths[rows]))
        kept = torch.where(rows_like(better, images), images, self.images[rows])
        self.images.index_copy_(0, rows, kept)
        return succeeded


class ConstantSearch:
    """The search for the smallest c with which an attack succeeds: tenfold until it does, then halving the interval.

    Attributes:
        values: the c to try next, one for each image.
    """

    largest = 1e10

    def __init__(self, values: Float[Tensor, " batch"]) -> None:
        """Start at these values."""
        self.values = values
        self._low, self._high = torch.zeros_like(values), torch.full_like(values, math.inf)

    def update(self, succeeded: Bool[Tensor, " batch"]) -> None:
        """Choose the next values by what the last ones gave."""
        self._high = torch.where(succeeded, self.values, self._high)
        self._low = torch.where(succeeded, self._low, self.values)
        middle = (self._low + self._high) / 2
        self.values = torch.where(self._high.isinf(), self.values * 10, middle).clamp_(max=self.largest)


class Adam:
    """Adam (Kingma and Ba, arXiv 1412.6980) that moves each number by itself, and so each image.

    Attributes:
        values: what is moved, in place.
    """

    decay, square_decay, tiny = 0.9, 0.999, 1e-8

    def __init__(self, values: Float[Tensor, "batch *pixels"], learning_rate: float) -> None:
        """Start at these values."""
        self.values, self._learning_rate, self._n_steps = values, learning_rate, 0
        self._mean, self._square = torch.zeros_like(values), torch.zeros_like(values)

    def step(self, gradient: Float[Tensor, "batch *pixels"]) -> None:
        """Move against a gradient."""
        self._n_steps += 1
        self._mean.lerp_(gradient, 1 - self.decay)
        self._square.mul_(self.square_decay).addcmul_(gradient, gradient, value=1 - self.square_decay)
        # Both corrections for the start at zero fit into the rate and the tiny number.
        correction = (1 - self.square_decay**self._n_steps) ** 0.5
        scale = self._square.sqrt().add_(self.tiny * correction)
        self.values.addcdiv_(
            self._mean, scale, value=-self._learning_rate * correction / (1 - self.decay**self._n_steps)
        )

    def keep(self, mask: Bool[Tensor, " batch"]) -> None:
        """Forget the other rows."""
        self.values, self._mean, self._square = self.values[mask], self._mean[mask], self._square[mask]


def check_count(operation: str, argument: str, value: int, least: int = 1) -> None:
    """Raise unless this is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        reject(operation, argument, "an integer", repr(value), kind=TypeError)
    require(value >= least, operation, argument, f">= {least}", value)


def check_number(operation: str, argument: str, value: float, *, positive: bool = False) -> None:
    """Raise unless this is a finite number >= 0, or > 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        reject(operation, argument, "a number", repr(value), kind=TypeError)
    fits = math.isfinite(value) and (value > 0 if positive else value >= 0)
    require(fits, operation, argument, f"a finite number {'> 0' if positive else '>= 0'}", value)

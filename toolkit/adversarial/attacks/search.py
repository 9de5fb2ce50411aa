"""What attacks share that watch each image until the model errs: a margin to raise, and leaving out finished images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adversarial.attacks.base import Task
from toolkit.adversarial.attacks.optimization import shortfall


def raised_margin(task: Task, logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Return by how much the wished class leads; above 0 is success, and with one class there is none: -inf."""
    return -shortfall(logits, task.labels, task.targeted)


def never_nan(losses: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return losses that can be compared: what is not a number is the lowest."""
    return losses.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def part_of(task: Task, rows: Int[Tensor, " rows"]) -> Task:
    """Return the task for some of its images; the generator is shared."""
    labels = task.labels[rows]
    return Task(
        task.model,
        task.images[rows],
        None if task.targeted else labels,
        labels if task.targeted else None,
        task.epsilon[rows] if len(task.epsilon) == len(task.images) else task.epsilon,
        task.norm,
        task.generator,
        task._operation,
    )

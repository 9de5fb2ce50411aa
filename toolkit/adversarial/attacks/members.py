"""One task against each member of an ensemble, for attacks that fuse gradients instead of outputs."""

import copy

from torch import Tensor

from toolkit.adversarial.attacks.base import Task
from toolkit.adversarial.ensembles import Ensemble


def against_members(task: Task) -> list[tuple[Tensor | float, Task]]:
    """Return for each member of an ensemble its weight, of a sum of 1, and the task against it alone.

    A model that is no ensemble is its own only member.
    """
    if not isinstance(task.model, Ensemble):
        return [(1.0, task)]
    alone = []
    for weight, member in zip(task.model.weights.to(task.images), task.model.members, strict=True):
        one = copy.copy(task)
        one.model = member
        alone.append((weight, one))
    return alone

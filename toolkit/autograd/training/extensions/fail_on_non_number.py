"""Stops a training whose parameters or reported values are no longer numbers, and names them."""

import cmath
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch.nn.utils import get_total_norm

from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.tape import Variable
from toolkit.autograd.training.extension import Extension
from toolkit.autograd.training.extensions.subjects import named_links

_NAMED = 5


class FailOnNonNumber(Extension):
    """Raises when a parameter or an observation holds NaN or infinity.

    Parameters are reduced to few numbers where they are; only when one of those is not finite is the culprit looked
    for. On a GPU fetching it waits for the iteration to end: give it a trigger such as
    ``(100, "iteration")`` if that matters.

    Args:
        links: a Link, several, or Links by name; default: the trainer's models.
        params: whether parameters are looked at.
        observations: whether reported values are.
        trigger: when to look.
    """

    # After what edits the observation, before what writes it down or saves the parameters.
    priority = 150
    trigger = (1, "iteration")

    def __init__(
        self,
        links: Any = None,
        *,
        params: bool = True,
        observations: bool = True,
        trigger: Any = (1, "iteration"),
    ) -> None:
        self.trigger = trigger
        self._links, self._params, self._observations = links, params, observations

    def __call__(self, trainer: Any = None) -> None:
        """Look.

        Raises:
            FloatingPointError: something is NaN or infinite; the message names it.
        """
        if _surely_finite([tensor for _, _, tensor in self._subjects(trainer)]):
            return
        found = [
            f"{kind} {name}: {_kinds(tensor)}"
            for kind, name, tensor in self._subjects(trainer)
            if not bool(tensor.isfinite().all())
        ]
        if found:
            more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
            when = "" if trainer is None else f" at iteration {trainer.iteration}"
            raise FloatingPointError(
                f"FailOnNonNumber: not a number{when}\n  expected: finite parameters and observations\n"
                f"  actual:   {'; '.join([*found[:_NAMED], *more])}"
            )

    def _subjects(self, trainer: Any) -> Iterable[tuple[str, str, torch.Tensor]]:
        if self._params:
            links = named_links(self._links, trainer, "FailOnNonNumber")
            for link_name, link in links.items():
                for path, parameter in link.namedparams(include_uninitialized=False):
                    tensor = _tensor(parameter.data)
                    if tensor is not None:
                        yield "parameter", path if len(links) == 1 else f"{link_name}:{path}", tensor
        if self._observations and trainer is not None:
            for name, value in trainer.observation.items():
                if _is_finite_here(value):
                    continue
                tensor = _tensor(value.data if isinstance(value, Variable) else value)
                if tensor is not None:
                    yield "observation", name, tensor


def _surely_finite(tensors: list[torch.Tensor]) -> bool:
    """Return whether sums show that all is finite; they may also overflow."""
    elsewhere = [tensor for tensor in tensors if not tensor.is_cpu]
    if not all(cmath.isfinite(tensor.sum().item()) for tensor in tensors if tensor.is_cpu):
        return False
    # There, few kernels for all count more than quick ones.
    return not elsewhere or math.isfinite(float(get_total_norm(elsewhere, math.inf)))


def _is_finite_here(value: Any) -> bool:
    """Return whether it is a number or a 0-d tensor on the CPU, which need no reduction, and finite."""
    if type(value) is torch.Tensor and value.is_cpu and not value.shape:
        value = value.item()
    return isinstance(value, float) and math.isfinite(value)


def _tensor(value: Any) -> torch.Tensor | None:
    """Return a floating-point value with elements as a tensor where it is, else None."""
    if isinstance(value, int):
        return None
    if isinstance(value, float | np.generic):
        value = np.asarray(value)
    if not hasattr(value, "dtype"):
        return None
    try:
        tensor = value if type(value) is torch.Tensor else backend_of_type(type(value)).to_torch(value)
    except TypeError:  # no array
        return None
    tensor = tensor.detach() if tensor.requires_grad else tensor
    return tensor if tensor.numel() and (tensor.is_floating_point() or tensor.is_complex()) else None


def _kinds(tensor: torch.Tensor) -> str:
    missing, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
    parts = [f"{count} {name}" for count, name in ((missing, "NaN"), (infinite, "infinite")) if count]
    return f"{' and '.join(parts)} of {tensor.numel()}"

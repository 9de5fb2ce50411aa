"""The mean of gradients over ranks: packed into one buffer, reduced at once, handed out as views.

One call for everything costs one latency where a call a parameter costs one each; the ranks agree on the order by
sorting the parameters' paths, and compare a hash of that order before any gradient travels.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.autograd.distributed import arrays
from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.distributed.failures import DisagreementError
from toolkit.autograd.distributed.models import Layout, digest, layout_of, parameters_of, require_same_layout
from toolkit.autograd.distributed.transport import integer_as_number, number_as_integer
from toolkit.core.errors import argument_error

_MOST_TOLD = 12
_FLOAT16_ROOM = 15
"""float16 holds every number below 2 to this power, and sums that rounding has pushed up to it."""


class Mean:
    """Gradients on their way.

    Args:
        parameters: ``(path, parameter)`` of those that take part, in the order of the buffer.
        buffers: what is being reduced: one for all, or (``naive``) one a parameter.
        waits: each waits for its buffer.
        divisor: by which the sums are means: the number of ranks, times the scale that the addends had.
        dtype: that the buffers have once they arrived; ``None`` leaves it.
    """

    def __init__(
        self,
        parameters: list[tuple[str, Any]],
        buffers: list[Tensor],
        waits: list[Callable[[], None]],
        divisor: float,
        dtype: torch.dtype | None,
    ) -> None:
        self.parameters = parameters
        self._buffers = buffers
        self._waits = waits
        self._divisor = divisor
        self._dtype = dtype

    def finish(self) -> "Mean":
        """Wait until the sums are here, and make means of them."""
        for wait in self._waits:
            wait()
        if self._waits and (self._divisor != 1 or self._dtype is not None):
            self._buffers = [
                (buffer if self._dtype is None else buffer.to(self._dtype)).div_(self._divisor)
                for buffer in self._buffers
            ]
        self._waits = []
        return self

    def gradients(self) -> dict[str, Any]:
        """Return the means by path, each of its parameter's library, dtype and shape, after :meth:`finish`."""
        numbers = [math.prod(parameter.shape) for _, parameter in self.parameters]
        flat = self._buffers[0].split(numbers) if len(self._buffers) == 1 else self._buffers
        found = {}
        for (path, parameter), part in zip(self.parameters, flat, strict=True):
            like = arrays.to_tensor(parameter.data, "mean_gradients", "model")
            gradient = part.reshape(like.shape).to(device=like.device, dtype=like.dtype)
            found[path] = arrays.like(gradient, parameter.data)
        return found

    def hand_out(self) -> None:
        """Put the means into the parameters' ``.grad``."""
        gradients = self.gradients() if self.parameters else {}
        for path, parameter in self.parameters:
            parameter.grad = gradients[path]


def start_mean(
    communicator: Communicator,
    model: Any,
    *,
    zero_fill: bool,
    weight: float | None,
    asynchronous: bool = False,
    layout: Layout | None = None,
    changed: bool = False,
) -> Mean | None:
    """Start to reduce the gradients of a Link; other arguments and errors as :meth:`Communicator.mean_gradients`.

    Args:
        asynchronous: do not wait here; :meth:`Mean.finish` does.
        layout: of the parameters, if it is known.
        changed: the parameters are not those of the last time.

    Returns:
        What to wait for; ``None`` on every rank if ``changed`` on any, and then nothing is reduced.
    """
    if weight is not None and not (isinstance(weight, int | float) and 0 <= weight < math.inf):
        raise argument_error("mean_gradients", "weight", "None or a finite number, 0 or more", repr(weight))
    every = parameters_of(model)
    missing = tuple([path for path, parameter in every if parameter.grad is None])
    for path, parameter in every:
        if parameter.grad is not None and tuple(parameter.grad.shape) != parameter.shape:
            expected = f"shape {parameter.shape}"
            raise argument_error("mean_gradients", f"gradient of {path}", expected, tuple(parameter.grad.shape))
    layout = layout_of(model) if layout is None else layout
    own_weight = 1.0 if weight is None else float(weight)
    answers = communicator.agree(
        "mean_gradients",
        int(zero_fill),
        int(weight is None),
        layout.digest,
        digest(missing),
        int(changed),
        number_as_integer(own_weight),
        number_as_integer(_largest(communicator, every) if own_weight else 0.0),
        same=2,
    )
    require_same_layout(communicator, "mean_gradients", [theirs[2] for theirs in answers], layout)
    if any(theirs[4] for theirs in answers):
        return None
    weights = [integer_as_number(theirs[5]) for theirs in answers]
    if not sum(weights):
        raise DisagreementError("mean_gradients: no rank has weight (every shard is empty)")
    if not zero_fill:
        if len({theirs[3] for theirs in answers}) > 1:
            missing = _agreed_missing(communicator, missing, weights)
        every = [(path, parameter) for path, parameter in every if path not in set(missing)]
    largest = sum(integer_as_number(theirs[6]) * one for theirs, one in zip(answers, weights, strict=True))
    # Relative to the mean weight, so that equal shards need no factor.
    relative = communicator.size / sum(weights)
    return _sent(communicator, every, own_weight * relative, _scale(largest * relative), asynchronous)


def _largest(communicator: Communicator, parameters: list[tuple[str, Any]]) -> float:
    """Return the largest absolute element of the gradients if they travel in float16, else 0 at once."""
    gradients = [
        arrays.to_tensor(parameter.grad, "mean_gradients", "gradient")
        for _, parameter in parameters
        if parameter.grad is not None
    ]
    gradients = [gradient for gradient in gradients if gradient.numel()]
    if not gradients or torch.float16 not in (communicator.allreduce_grad_dtype, *(g.dtype for g in gradients)):
        return 0.0
    largest = [gradient.abs().max().to(device=gradients[0].device, dtype=torch.float64) for gradient in gradients]
    return float(torch.stack(largest).max())


def _scale(largest: float) -> float:
    """Return the power of two by which to multiply so that no sum leaves float16; small addends gain most."""
    if not 0 < largest < math.inf:
        return 1.0
    return 2.0 ** max(-100, min(100, _FLOAT16_ROOM - math.frexp(largest)[1]))


def _sent(
    communicator: Communicator, parameters: list[tuple[str, Any]], factor: float, scale: float, asynchronous: bool
) -> Mean:
    divisor = communicator.size * scale
    parts = [_part(parameter, factor * scale) for _, parameter in parameters]
    if not parts:
        return Mean([], [], [], divisor, None)
    place = parts[0].device
    wide = functools.reduce(torch.promote_types, {part.dtype for part in parts})
    narrow = communicator.allreduce_grad_dtype or wide
    if communicator.name == "naive":
        # A part may be the gradient itself, which may be a view or stand for several parameters.
        buffers = [part.to(device=place, dtype=narrow, copy=True) for part in parts]
    else:
        buffers = [torch.cat([part.to(place) for part in parts]).to(narrow)]
    waits = [communicator.reduce_in_place(buffer, asynchronous=asynchronous) for buffer in buffers]
    return Mean(parameters, buffers, waits, divisor, wide if narrow != wide else None)


def _part(parameter: Any, factor: float) -> Tensor:
    """Return a parameter's share in the sum as a flat tensor; a rank without weight adds zeros, not NaN times 0."""
    if parameter.grad is None or not factor:
        like = arrays.to_tensor(parameter.data, "mean_gradients", "model")
        return torch.zeros(like.numel(), dtype=like.dtype, device=like.device)
    gradient = arrays.to_tensor(parameter.grad, "mean_gradients", "gradient").reshape(-1)
    return gradient if factor == 1.0 else gradient * factor


def _agreed_missing(communicator: Communicator, missing: tuple[str, ...], weights: list[float]) -> tuple[str, ...]:
    """Return which gradients all ranks with weight lack; all ranks come here together.

    Raises:
        DisagreementError: they do not lack the same.
    """
    told = communicator.allgather_obj(missing)
    counting = [rank for rank, weight in enumerate(weights) if weight]
    if any(set(told[rank]) != set(told[counting[0]]) for rank in counting):
        somewhere_there = set().union(*(told[rank] for rank in counting)) - set.intersection(
            *(set(told[rank]) for rank in counting)
        )
        lines = []
        for rank in counting:
            own = sorted(set(told[rank]) & somewhere_there)
            more = f" and {len(own) - _MOST_TOLD} more" if len(own) > _MOST_TOLD else ""
            lines.append(f"\n  rank {rank} lacks: {', '.join(own[:_MOST_TOLD]) or 'none of those'}{more}")
        raise DisagreementError(
            "mean_gradients: gradients are missing on some ranks only (zero_fill=True counts them as zeros)"
            + "".join(lines)
        )
    return told[counting[0]]

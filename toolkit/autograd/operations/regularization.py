"""Dropout."""

from typing import Any

import numpy as np
import torch

from toolkit.autograd.configuration import config
from toolkit.autograd.operation import Operation
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.randomness import source
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable
from toolkit.core.devices import draw_uniform
from toolkit.core.errors import argument_error

__all__ = ["dropout", "masked_scale"]


def _masked_scale_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return xp.masked_scale(g, saved[0], scale=p["scale"]), None


_MASKED_SCALE = Operation("masked_scale", _masked_scale_vjp, saves=(1,), same_dtype=False)


def masked_scale(x: Any, mask: Any, *, scale: float) -> Variable:
    """Return ``scale * x`` where ``mask`` holds, else 0."""
    return apply(_MASKED_SCALE, (x, mask), {"scale": scale})


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=shape), ratio), {"generator": torch.Generator().manual_seed(0)}, label="draws")
        for shape, ratio in (((3, 4), 0.5), ((), 0.2), ((0, 2), 0.5), ((2, 3), 0.0))
    ],
    group="regularization",
)
def dropout(x: Any, ratio: float = 0.5, *, generator: torch.Generator | None = None) -> Variable:
    """Set elements to 0 with probability ``ratio`` and scale the others by ``1 / (1 - ratio)``.

    Nothing happens unless ``config.train``. A generator gives the same mask on every array library.

    Args:
        x: floating-point array or Variable.
        ratio: probability of 0, in [0, 1).
        generator: draws the mask; ``None`` means ``config.generator``, or one private to the thread.

    Raises:
        ValueError: ``ratio`` out of range.
        TypeError: ``x`` is not floating-point, ``generator`` no ``torch.Generator``.

    Source: Srivastava et al. 2014, scaled in training as Chainer does.
    """
    x = floating("dropout", "x", x)
    if isinstance(ratio, bool) or not isinstance(ratio, float | int | np.number):
        raise argument_error("dropout", "ratio", "a number in [0, 1)", repr(ratio), kind=TypeError)
    if not 0 <= ratio < 1:
        raise argument_error("dropout", "ratio", "a number in [0, 1)", ratio)
    if generator is not None and not isinstance(generator, torch.Generator):
        raise argument_error("dropout", "generator", "a torch.Generator or None", repr(generator), kind=TypeError)
    if not config.train or ratio == 0:
        return x
    backend = x.backend
    mask: Any = draw_uniform(x.shape, generator=source(generator)) >= ratio
    mask = mask.to(x.device) if isinstance(x.data, torch.Tensor) else backend.from_numpy(mask.cpu().numpy(), x.data)
    return masked_scale(x, mask, scale=1.0 / (1.0 - float(ratio)))

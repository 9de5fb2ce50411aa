"""The fully connected layer."""

import math
from typing import Any

import torch

from toolkit.autograd.links.link import Link
from toolkit.autograd.links.parameter import Parameter
from toolkit.autograd.links.sizes import optional_size, size
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.operations.linear_algebra import linear
from toolkit.autograd.operations.shaping import reshape
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error

__all__ = ["Linear"]


class Linear(Link):
    """``y = x W^T + b`` (Chainer's ``Linear``).

    Args:
        in_size: length of the input's last axis, or ``None``: the first input tells. ``Linear(10)`` is
            ``Linear(None, 10)``.
        out_size: length of the output's last axis.
        nobias: leave ``b`` out (it is ``None``).
        initialW: of ``W``; ``None`` means ``LeCunNormal()``.
        initial_bias: of ``b``; ``None`` means 0.
        n_batch_axes: how many axes come before the features; all axes behind them become one, so that
            ``n_batch_axes=1`` takes images ``(samples, channels, height, width)`` as Chainer does. ``None`` means
            that the last axis alone holds the features, as in ``F.linear``.
        generator: draws ``W``; ``None`` means ``config.generator``, or one private to the thread.

    Attributes:
        W: shape ``(out_size, in_size)``.
        b: shape ``(out_size,)``, or ``None``.
    """

    def __init__(
        self,
        in_size: int | None,
        out_size: int | None = None,
        nobias: bool = False,
        initialW: Any = None,
        initial_bias: Any = None,
        *,
        n_batch_axes: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if out_size is None:
            in_size, out_size = None, in_size
        inputs = optional_size("Linear", "in_size", in_size)
        outputs = size("Linear", "out_size", out_size, 0)
        self.n_batch_axes = optional_size("Linear", "n_batch_axes", n_batch_axes, 1)
        self.b: Parameter | None = None
        with self.init_scope():
            self.W = Parameter(initialW, (outputs, inputs), generator=generator)
            if not nobias:
                bias = 0 if initial_bias is None else initial_bias
                self.b = Parameter(bias, outputs, deferred=inputs is None, generator=generator)

    @property
    def in_size(self) -> int | None:
        """Length of the input's last axis; ``None`` until it is known."""
        return self.W.shape[1]

    @property
    def out_size(self) -> int:
        """Length of the output's last axis."""
        return self.W.shape[0]

    def forward(self, x: Any, n_batch_axes: int | None = None) -> Variable:
        """Return shape ``(..., out_size)`` for an input of shape ``(..., in_size)``.

        Args:
            x: array or Variable.
            n_batch_axes: as for the link, for this call.

        Raises:
            ValueError: another number of features, or of axes.
            TypeError: another array library, device or dtype than the parameters'.
        """
        if n_batch_axes is None:
            n_batch_axes = self.n_batch_axes
        if n_batch_axes is not None:
            x = _flattened(x, n_batch_axes)
        weight, bias = self.W, self.b
        if weight.data is None or (bias is not None and bias.data is None):
            self._size(x)
        return linear(x, weight, bias)

    def _size(self, x: Any) -> None:
        x = floating("Linear", "x", x)
        if not self.W.is_initialized:
            if not x.ndim or x.ndim > 3:
                expected = "one to three axes, the last one the features (n_batch_axes=1 joins all axes but the first)"
                raise argument_error("Linear", "x", expected, f"shape {x.shape}")
            self.W.initialize((self.out_size, x.shape[-1]), like=x)
        if self.b is not None and not self.b.is_initialized:
            self.b.initialize(like=self.W)

    def specification(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"in_size": self.in_size, "out_size": self.out_size}
        if self.b is None:
            parts["nobias"] = True
        if self.n_batch_axes is not None:
            parts["n_batch_axes"] = self.n_batch_axes
        return parts


def _flattened(x: Any, n_batch_axes: int) -> Variable:
    x = as_variable(x, "Linear", "x")
    count = size("Linear", "n_batch_axes", n_batch_axes)
    if x.ndim < count:
        raise argument_error("Linear", "x", f"at least {count} axes (n_batch_axes)", f"shape {x.shape}")
    return x if x.ndim == count + 1 else reshape(x, (*x.shape[:count], math.prod(x.shape[count:])))

"""The convolutional layer."""

from collections.abc import Sequence
from typing import Any

import torch

from toolkit.autograd.links.link import Link
from toolkit.autograd.links.parameter import Parameter
from toolkit.autograd.links.sizes import optional_size, size
from toolkit.autograd.operations.arguments import floating, pair
from toolkit.autograd.operations.convolution import conv2d
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["Conv2d"]


class Conv2d(Link):
    """Two-dimensional convolution (Chainer's ``Convolution2D``; see ``F.conv2d``).

    Args:
        in_channels: channels of the input, or ``None``: the first input tells. ``Conv2d(16, 3)`` is
            ``Conv2d(None, 16, 3)``.
        out_channels: channels of the output.
        ksize: rows and columns of the filters, one integer or two.
        stride: step from window to window, one integer or two.
        padding: zeros on each side, one integer or two.
        nobias: leave ``b`` out (it is ``None``).
        initialW: of ``W``; ``None`` means ``LeCunNormal()``.
        initial_bias: of ``b``; ``None`` means 0.
        dilation: distance of neighbouring elements of a window, one integer or two.
        groups: parts the channels are split into.
        generator: draws ``W``; ``None`` means ``config.generator``, or one private to the thread.

    Attributes:
        W: shape ``(out_channels, in_channels / groups, rows, columns)``.
        b: shape ``(out_channels,)``, or ``None``.
    """

    def __init__(
        self,
        in_channels: int | None,
        out_channels: int | Sequence[int],
        ksize: int | Sequence[int] | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        nobias: bool = False,
        initialW: Any = None,
        initial_bias: Any = None,
        *,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if ksize is None:
            in_channels, out_channels, ksize = None, in_channels, out_channels  # type: ignore[assignment]
        inputs = optional_size("Conv2d", "in_channels", in_channels, 1)
        outputs = size("Conv2d", "out_channels", out_channels)
        window = pair("Conv2d", "ksize", ksize, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.padding = pair("Conv2d", "padding", padding, 0)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self.groups = size("Conv2d", "groups", groups)
        if outputs % self.groups or (inputs is not None and inputs % self.groups):
            known = f"{outputs} output channels" if inputs is None else f"{inputs} input and {outputs} output channels"
            raise argument_error("Conv2d", "groups", f"a divisor of {known}", groups)
        depth = None if inputs is None else inputs // self.groups
        self.b: Parameter | None = None
        with self.init_scope():
            self.W = Parameter(initialW, (outputs, depth, *window), generator=generator)
            if not nobias:
                bias = 0 if initial_bias is None else initial_bias
                self.b = Parameter(bias, outputs, deferred=inputs is None, generator=generator)

    @property
    def in_channels(self) -> int | None:
        """Channels of the input; ``None`` until they are known."""
        depth = self.W.shape[1]
        return None if depth is None else depth * self.groups

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.W.shape[0]

    @property
    def ksize(self) -> tuple[int, int]:
        """Rows and columns of the filters."""
        return self.W.shape[2:]

    def forward(self, x: Any) -> Variable:
        """Return shape ``(samples, out_channels, H, W)``; see ``F.conv2d``.

        Args:
            x: shape ``(samples, in_channels, height, width)``, or without the first axis for one sample.

        Raises:
            ValueError: other channels, other axes, no window that fits.
            TypeError: another array library, device or dtype than the parameters'.
        """
        weight, bias = self.W, self.b
        if weight.data is None or (bias is not None and bias.data is None):
            self._size(x)
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _size(self, x: Any) -> None:
        x = floating("Conv2d", "x", x)
        if not self.W.is_initialized:
            if x.ndim not in (3, 4) or not x.shape[-3]:
                expected = "shape (samples, channels, height, width), with at least one channel"
                raise argument_error("Conv2d", "x", expected, x.shape)
            if x.shape[-3] % self.groups:
                expected = f"a number of channels that the {self.groups} groups divide"
                raise argument_error("Conv2d", "x", expected, f"shape {x.shape}")
            self.W.initialize((self.out_channels, x.shape[-3] // self.groups, *self.ksize), like=x)
        if self.b is not None and not self.b.is_initialized:
            self.b.initialize(like=self.W)

    def specification(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "ksize": self.ksize,
            "stride": self.stride,
        }
        defaults = {"padding": (0, 0), "dilation": (1, 1), "groups": 1}
        parts.update({name: getattr(self, name) for name, usual in defaults.items() if getattr(self, name) != usual})
        return {**parts, "nobias": True} if self.b is None else parts

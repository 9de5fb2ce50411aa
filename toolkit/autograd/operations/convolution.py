"""Two-dimensional convolution, closed under differentiation.

The inner product of a convolution's result with an array is linear in each of three things: the input, the weight, and
that array. The convolution, its gradient by the input and its gradient by the weight are the three ways to leave one
of them out, so each one's backward rule is the other two, and derivatives of every order exist.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.autograd.backends.neural_rules import geometry
from toolkit.autograd.backends.windows import window_counts
from toolkit.autograd.operation import Operation
from toolkit.autograd.operations.arguments import floating, pair, shaped
from toolkit.autograd.operations.shaping import reshape
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"]

_EACH = ((1,), (0,))


def _convolution_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return xp.conv2d_gradients(g, saved[0], saved[1], needs, p)


def _input_gradient_vjp(xp: Any, v: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    g, weight = saved
    shared = geometry(p)
    return (
        xp.conv2d(v, weight, **shared) if needs[0] is not None else None,
        xp.conv2d_weight_gradient(g, v, shape=p["shapes"][1], **shared) if needs[1] is not None else None,
    )


def _weight_gradient_vjp(xp: Any, v: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    g, x = saved
    shared = geometry(p)
    return (
        xp.conv2d(x, v, **shared) if needs[0] is not None else None,
        xp.conv2d_input_gradient(g, v, shape=p["shapes"][1], **shared) if needs[1] is not None else None,
    )


_CONVOLUTION = Operation("conv2d", _convolution_vjp, saves=(0, 1), saved_for=_EACH, shapes=True)
_INPUT_GRADIENT = Operation("conv2d_input_gradient", _input_gradient_vjp, saves=(0, 1), saved_for=_EACH, shapes=True)
_WEIGHT_GRADIENT = Operation("conv2d_weight_gradient", _weight_gradient_vjp, saves=(0, 1), saved_for=_EACH, shapes=True)


def _samples(rng: np.random.Generator) -> list[Sample]:
    def sample(x: tuple, weight: tuple, bias: bool = True, label: str = "", **keywords: Any) -> Sample:
        arrays = [rng.normal(size=x), rng.normal(size=weight)] + ([rng.normal(size=weight[0])] if bias else [])
        return Sample(tuple(arrays), keywords, label=label)

    return [
        sample((2, 2, 4, 5), (3, 2, 3, 2)),
        sample((2, 2, 4, 5), (3, 2, 3, 2), bias=False, stride=2, padding=1, label="stride does not divide"),
        sample((1, 2, 5, 6), (2, 2, 2, 2), stride=(1, 2), padding=(0, 1), dilation=(2, 3), label="pairs"),
        sample((2, 4, 3, 3), (4, 2, 2, 2), groups=2, padding=1, label="groups"),
        sample((1, 3, 3, 4), (6, 1, 2, 2), groups=3, label="depthwise"),
        sample((1, 1, 2, 2), (1, 1, 2, 2), padding=3, label="padding larger than the kernel"),
        sample((2, 3, 2, 2), (2, 3, 1, 1), label="one by one"),
        sample((0, 2, 3, 3), (2, 2, 2, 2), label="no samples"),
        sample((2, 3, 3), (2, 2, 2, 2), label="one sample without an axis for it"),
    ]


@differentiable(_samples, group="convolution and pooling")
def conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Variable:
    """Return the two-dimensional cross-correlation of images with filters.

    Args:
        x: shape ``(samples, inputs, height, width)``, or without the first axis for one sample.
        weight: shape ``(outputs, inputs / groups, rows, columns)``.
        bias: shape ``(outputs,)`` or ``None``.
        stride: step from window to window; one integer, or one for height and one for width, as the next two.
        padding: zeros on each side.
        dilation: distance of neighbouring elements of a window.
        groups: parts the channels are split into, each with its own filters.

    Returns:
        Shape ``(samples, outputs, H, W)`` with
        ``H = (height + 2 * padding - dilation * (rows - 1) - 1) // stride + 1``, ``W`` likewise: a last window that
        does not fit is left out.

    Raises:
        ValueError: shapes that do not fit, no window that fits.
        TypeError: other array libraries or dtypes, options that are no integers.
    """
    x = floating("conv2d", "x", x)
    weight = floating("conv2d", "weight", weight, like=x)
    single = x.ndim == 3
    if single:
        x = reshape(x, (1, *x.shape))
    if x.ndim != 4:
        raise argument_error("conv2d", "x", "shape (samples, channels, height, width)", x.shape)
    if weight.ndim != 4 or 0 in weight.shape:
        expected = "shape (outputs, inputs / groups, rows, columns), none 0"
        raise argument_error("conv2d", "weight", expected, weight.shape)
    stride = pair("conv2d", "stride", stride, 1)
    padding = pair("conv2d", "padding", padding, 0)
    dilation = pair("conv2d", "dilation", dilation, 1)
    if isinstance(groups, bool) or not isinstance(groups, int | np.integer):
        raise argument_error("conv2d", "groups", "a positive integer", repr(groups), kind=TypeError)
    if groups < 1 or x.shape[1] % groups or weight.shape[0] % groups:
        raise argument_error(
            "conv2d", "groups", f"a divisor of {x.shape[1]} input and {weight.shape[0]} output channels", groups
        )
    if weight.shape[1] * groups != x.shape[1]:
        raise argument_error(
            "conv2d", "weight", "weight.shape[1] * groups == x.shape[1]",
            f"{weight.shape[1]} * {groups} != {x.shape[1]} (shapes {weight.shape} and {x.shape})",
        )  # fmt: skip
    bias = shaped("conv2d", "bias", bias, weight.shape[:1], x)
    if min(window_counts(x.shape, weight.shape[2:], stride, padding, dilation)) < 1:
        extent = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
        raise argument_error(
            "conv2d", "x", f"height and width of at least the kernel's {extent} with the padding",
            f"{tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))}",
        )  # fmt: skip
    shared = {"stride": stride, "padding": padding, "dilation": dilation, "groups": int(groups)}
    y = apply(_CONVOLUTION, (x, weight, bias), shared)
    return reshape(y, y.shape[1:]) if single else y


def conv2d_input_gradient(g: Any, weight: Any, *, shape: tuple[int, ...], **shared: Any) -> Variable:
    """Return the gradient by an input of ``shape``, given the gradient ``g`` by the convolution's result.

    Also called transposed convolution. ``shared`` are the convolution's stride, padding, dilation (pairs) and groups.
    """
    return apply(_INPUT_GRADIENT, (g, weight), {"shape": tuple(shape), **shared})


def conv2d_weight_gradient(g: Any, x: Any, *, shape: tuple[int, ...], **shared: Any) -> Variable:
    """Return the gradient by a weight of ``shape``, given the gradient ``g`` by the result of convolving ``x``."""
    return apply(_WEIGHT_GRADIENT, (g, x), {"shape": tuple(shape), **shared})

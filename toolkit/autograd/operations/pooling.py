"""Largest and mean element of windows.

Max pooling keeps where each maximum was, and no values: its gradient scatters by these places, and the gradient of the
scatter gathers by them. Average pooling is linear and forms a closed set with its own gradient.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.autograd.backends.windows import window_counts
from toolkit.autograd.operation import EXTRA, Operation
from toolkit.autograd.operations.arguments import floating, pair
from toolkit.autograd.operations.shaping import reshape
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = [
    "average_pool2d", "average_pool2d_input_gradient", "max_pool2d", "max_pool2d_gather", "max_pool2d_scatter",
]  # fmt: skip


def _windows(p: dict) -> dict:
    return {name: value for name, value in p.items() if name not in ("shape", "shapes")}


def _max_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return (xp.max_pool2d_scatter(g, saved[0], shape=p["shapes"][0], **_windows(p)),)


def _scatter_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return xp.max_pool2d_gather(g, saved[0], **_windows(p)), None


def _gather_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return xp.max_pool2d_scatter(g, saved[0], shape=p["shapes"][0], **_windows(p)), None


def _average_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return (xp.average_pool2d_input_gradient(g, shape=p["shapes"][0], **_windows(p)),)


def _average_gradient_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return (xp.average_pool2d(g, **_windows(p)),)


_MAX = Operation("max_pool2d", _max_vjp, saves=(EXTRA,), shapes=True)
_SCATTER = Operation("max_pool2d_scatter", _scatter_vjp, saves=(1,), same_dtype=False)
_GATHER = Operation("max_pool2d_gather", _gather_vjp, saves=(1,), shapes=True, same_dtype=False)
_AVERAGE = Operation("average_pool2d", _average_vjp, shapes=True)
_AVERAGE_GRADIENT = Operation("average_pool2d_input_gradient", _average_gradient_vjp)


def _samples(distinct: bool) -> Any:
    def draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        return rng.permutation(np.linspace(-2.0, 2.0, size)).reshape(shape) if distinct else rng.normal(size=shape)

    def samples(rng: np.random.Generator) -> list[Sample]:
        settings: list[tuple[str, tuple, dict]] = [
            ("", (2, 2, 4, 4), {"window": 2}),
            ("stride does not divide", (2, 1, 5, 6), {"window": 2}),
            ("overlapping, padded", (1, 2, 5, 5), {"window": 3, "stride": 2, "padding": 1}),
            ("pairs", (1, 1, 4, 6), {"window": (2, 3), "stride": (1, 2), "padding": (0, 1)}),
            ("elements left out", (1, 1, 3, 3), {"window": 1, "stride": 2}),
            ("no samples", (0, 2, 4, 4), {"window": 2}),
            ("one sample without an axis for it", (2, 4, 4), {"window": 2}),
        ]
        if not distinct:
            options = {"window": 3, "stride": 2, "padding": 1, "count_include_padding": False}
            settings.append(("padding not counted", (1, 2, 5, 5), options))
        return [Sample((draw(rng, *shape),), options, not distinct, label) for label, shape, options in settings]

    return samples


def _pool(operation: Operation, x: Any, window: Any, stride: Any, padding: Any, options: dict[str, Any]) -> Variable:
    name = operation.name
    x = floating(name, "x", x)
    single = x.ndim == 3
    if single:
        x = reshape(x, (1, *x.shape))
    if x.ndim != 4 or not x.shape[1]:
        raise argument_error(name, "x", "shape (samples, channels, height, width), channels not 0", x.shape)
    window = pair(name, "window", window, 1)
    stride = window if stride is None else pair(name, "stride", stride, 1)
    padding = pair(name, "padding", padding, 0)
    if any(2 * border > length for border, length in zip(padding, window, strict=True)):
        raise argument_error(name, "padding", f"at most half of the window {window}", padding)
    if min(window_counts(x.shape, window, stride, padding)) < 1:
        padded = tuple(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True))
        raise argument_error(name, "x", f"height and width of at least the window's {window} with the padding", padded)
    y = apply(operation, (x,), {"window": window, "stride": stride, "padding": padding, **options})
    return reshape(y, y.shape[1:]) if single else y


@differentiable(_samples(distinct=True), group="convolution and pooling")
def max_pool2d(
    x: Any,
    window: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
) -> Variable:
    """Return the largest element of each window.

    The first of equal elements gets the gradient. The border counts as -inf, so it never wins; a NaN always does.

    Args:
        x: shape ``(samples, channels, height, width)``, or without the first axis for one sample.
        window: rows and columns of a window; one integer or two, as the next two.
        stride: step from window to window; the window if ``None``.
        padding: border on each side, at most half of the window.

    Returns:
        Shape ``(samples, channels, H, W)`` with ``H = (height + 2 * padding - rows) // stride + 1``, ``W`` likewise.

    Raises:
        ValueError: shapes that do not fit, no window that fits.
        TypeError: no floating-point array, options that are no integers.
    """
    return _pool(_MAX, x, window, stride, padding, {})


@differentiable(_samples(distinct=False), group="convolution and pooling")
def average_pool2d(
    x: Any,
    window: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    count_include_padding: bool = True,
) -> Variable:
    """Return the mean of each window.

    Args:
        x: shape ``(samples, channels, height, width)``, or without the first axis for one sample.
        window: rows and columns of a window; one integer or two, as the next two.
        stride: step from window to window; the window if ``None``.
        padding: border of zeros on each side, at most half of the window.
        count_include_padding: divide by the window's size even where it reaches over the border; ``False`` divides
            by the number of elements that are no border.

    Returns:
        Shape as :func:`max_pool2d`.

    Raises:
        ValueError: shapes that do not fit, no window that fits.
        TypeError: no floating-point array, options that are no integers.
    """
    return _pool(_AVERAGE, x, window, stride, padding, {"count_include_padding": bool(count_include_padding)})


def max_pool2d_scatter(g: Any, chosen: Any, *, shape: tuple[int, ...], **windows: Any) -> Variable:
    """Return zeros of ``shape`` with ``g`` added where max pooling found the maxima."""
    return apply(_SCATTER, (g, chosen), {"shape": tuple(shape), **windows})


def max_pool2d_gather(x: Any, chosen: Any, **windows: Any) -> Variable:
    """Return the elements of ``x`` at the places where max pooling found the maxima of another array."""
    return apply(_GATHER, (x, chosen), windows)


def average_pool2d_input_gradient(g: Any, *, shape: tuple[int, ...], **windows: Any) -> Variable:
    """Return the gradient by an input of ``shape``, given the gradient ``g`` by the means."""
    return apply(_AVERAGE_GRADIENT, (g,), {"shape": tuple(shape), **windows})

"""Neural operations for NumPy and CuPy: convolutions unfold a few samples at a time into one matrix product."""

import functools
import math
from collections.abc import Callable
from typing import Any

from toolkit.autograd.backends.neural_standard import StandardNeural
from toolkit.autograd.backends.windows import Pair, first_maximum, samples_a_block, volume, window_counts, window_slices


class NeuralNumPy(StandardNeural):
    """Windows are unfolded into a block that stays in the processor's cache, sample by sample, and never kept."""

    @property
    def block_bytes(self) -> int:
        """What is unfolded at a time: a processor's cache takes it, or it fills a GPU."""
        return 1 << (19 if self.name == "numpy" else 28)

    def max_pool2d(self, x: Any, *, window: Pair, stride: Pair, padding: Pair) -> tuple[Any, Any]:
        bordered = self.bordered(x, padding, -math.inf)
        counts = window_counts(x.shape, window, stride, padding)
        parts = [bordered[index] for _, _, index in window_slices(window, stride, (1, 1), counts)]
        best, chosen = first_maximum(self.module, parts)
        if self.module.isnan(best).any() or (padding != (0, 0) and (best == -math.inf).any()):
            return super().max_pool2d(x, window=window, stride=stride, padding=padding)
        return best, chosen

    def cross_entropy(self, x: Any, labels: Any, *, reduction: str) -> tuple[Any, Any, Any]:
        if len(x.shape) != 2 or not x.size:
            return super().cross_entropy(x, labels, reduction=reduction)
        log_probabilities = self.log_softmax(x, 1)
        losses = -log_probabilities[self.module.arange(x.shape[0]), labels]
        return self.reduced(losses, reduction), log_probabilities, labels

    def cross_entropy_gradient(self, log_probabilities: Any, labels: Any, g: Any, *, reduction: str) -> Any:
        if len(log_probabilities.shape) != 2 or not log_probabilities.size:
            return super().cross_entropy_gradient(log_probabilities, labels, g, reduction=reduction)
        slope = self.module.exp(log_probabilities)
        slope[self.module.arange(slope.shape[0]), labels] -= 1
        slope *= g.reshape(-1, 1) if reduction == "none" else g / float(len(labels)) if reduction == "mean" else g
        return slope

    def kept(self, x: Any, mask: Any) -> Any:
        # numpy.where stumbles over every change of the mask, and infinity times False is not 0.
        if x.dtype.itemsize > 8:
            return super().kept(x, mask)
        bits = f"i{x.dtype.itemsize}"
        return (x.view(bits) & -mask.astype(bits)).view(x.dtype)

    def accumulate(self, result: Any, index: tuple, value: Any) -> None:
        part = result[index]
        part += value

    def conv2d(
        self, x: Any, weight: Any, bias: Any = None,
        *, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Any:  # fmt: skip
        outputs, inputs, height, width = weight.shape
        counts = window_counts(x.shape, (height, width), stride, padding, dilation)
        places = counts[0] * counts[1]
        matrix = weight.reshape(groups, outputs // groups, inputs * height * width)
        result = self.module.empty((x.shape[0], outputs, *counts), dtype=x.dtype)
        for start, stop, unfolded in self._unfolded(x, weight.shape, counts, stride, padding, dilation, groups):
            block = result[start:stop].reshape(stop - start, groups, outputs // groups, places)
            self.module.matmul(matrix, unfolded, out=block)
        if bias is not None:
            result += bias.reshape(outputs, 1, 1)
        return result

    def conv2d_input_gradient(
        self, g: Any, weight: Any,
        *, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Any:  # fmt: skip
        outputs, inputs, height, width = weight.shape
        counts = g.shape[2:]
        rest = tuple(d * (k - 1) - p for d, k, p in zip(dilation, (height, width), padding, strict=True))
        if stride == (1, 1) and min(rest) >= 0 and 2 * shape[1] * volume(counts) > outputs * volume(shape[2:]):
            # Unfolding the gradient reads less than folding its products back together would.
            turned = weight.reshape(groups, outputs // groups, *weight.shape[1:])[..., ::-1, ::-1].swapaxes(1, 2)
            turned = turned.reshape(shape[1], outputs // groups, height, width)
            return self.conv2d(g, turned, stride=stride, padding=rest, dilation=dilation, groups=groups)
        rows, places = inputs * height * width, counts[0] * counts[1]
        matrix = weight.reshape(groups, outputs // groups, rows).swapaxes(1, 2)
        g = g.reshape(g.shape[0], groups, outputs // groups, places)
        result = self.bordered_zeros(g, shape, padding)
        step = samples_a_block(groups * rows * places * g.itemsize, self.block_bytes)
        folded = self.module.empty((min(step, len(g)), groups, rows, places), dtype=g.dtype)
        for start in range(0, len(g), step):
            part = g[start : start + step]
            block = folded[: len(part)]
            self.module.matmul(matrix, part, out=block)
            block = block.reshape(len(part), shape[1], height, width, *counts)
            target = result[start : start + step]
            for row, column, index in window_slices((height, width), stride, dilation, counts):
                self.accumulate(target, index, block[:, :, row, column])
        return self.unbordered(result, padding, shape)

    def conv2d_weight_gradient(
        self, g: Any, x: Any,
        *, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Any:  # fmt: skip
        counts = g.shape[2:]
        g = g.reshape(g.shape[0], groups, shape[0] // groups, counts[0] * counts[1])
        result = self.module.zeros((groups, shape[0] // groups, shape[1] * shape[2] * shape[3]), dtype=g.dtype)
        for start, stop, unfolded in self._unfolded(x, shape, counts, stride, padding, dilation, groups):
            result += self.module.matmul(g[start:stop], unfolded.swapaxes(2, 3)).sum(axis=0)
        return result.reshape(shape)

    def _unfolded(
        self, x: Any, weight_shape: tuple[int, ...], counts: Pair,
        stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Any:  # fmt: skip
        """Yield first sample, last sample and ``(samples, groups, elements of a window, windows)``, block by block."""
        _, inputs, height, width = weight_shape
        rows, places = inputs * height * width, counts[0] * counts[1]
        step = samples_a_block(groups * rows * places * x.itemsize, self.block_bytes)
        samples, channels = x.shape[:2]
        as_they_are = (height, width, stride, padding) == (1, 1, (1, 1), (0, 0)) and x.flags.c_contiguous
        if not as_they_are:
            block = self.module.empty((min(step, samples), channels, height, width, *counts), dtype=x.dtype)
        for start in range(0, samples, step):
            stop = min(start + step, samples)
            if as_they_are:
                yield start, stop, x[start:stop].reshape(stop - start, groups, rows, places)
                continue
            part = self.bordered(x[start:stop], padding)
            by_sample, by_channel, by_row, by_column = part.strides
            windows = self.module.lib.stride_tricks.as_strided(
                part,
                (stop - start, channels, height, width, *counts),
                (
                    by_sample, by_channel, by_row * dilation[0], by_column * dilation[1], by_row * stride[0],
                    by_column * stride[1],
                ),
            )  # fmt: skip
            block[: stop - start] = windows
            yield start, stop, block[: stop - start].reshape(stop - start, groups, rows, places)

    def multiply_into(self, a: Any, b: Any) -> Any:
        a *= b
        return a

    def take_rows(self, weight: Any, ids: Any) -> Any:
        return weight[ids]

    def embedding_gradient(self, g: Any, ids: Any, *, shape: tuple[int, ...]) -> Any:
        result = self.module.zeros(shape, dtype=g.dtype)
        if not ids.size:
            return result
        ids, g = ids.reshape(-1), g.reshape(ids.size, *shape[1:])
        if self.name != "numpy":
            self._add_at(result, ids, g)
            return result
        order = self.module.argsort(ids, kind="stable")
        ids = ids[order]
        first = self.module.flatnonzero(self.module.concatenate(([True], ids[1:] != ids[:-1])))
        result[ids[first]] = self.module.add.reduceat(g[order], first, axis=0)
        return result


def _in_single(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compute in float32 what came in float16, which has no BLAS and no room to sum in, and round once."""

    @functools.wraps(kernel)
    def call(self: Any, first: Any, *others: Any, **params: Any) -> Any:
        if first.dtype.char != "e":
            return kernel(self, first, *others, **params)
        half = first.dtype
        wide = (value.astype("f") if getattr(value, "dtype", None) == half else value for value in (first, *others))
        result = kernel(self, *wide, **params)
        if not isinstance(result, tuple):
            return result.astype(half)
        return tuple(
            value.astype(half) if getattr(value, "dtype", None) == self.module.float32 else value for value in result
        )

    return call


for _name in (
    "average_pool2d", "average_pool2d_input_gradient", "conv2d", "conv2d_input_gradient", "conv2d_weight_gradient",
    "cross_entropy", "cross_entropy_gradient", "embedding_gradient", "log_softmax", "log_softmax_backward",
    "max_pool2d_scatter", "mse", "normalization_gradients", "normalized", "softmax", "softmax_backward", "standardized",
):  # fmt: skip
    setattr(NeuralNumPy, _name, _in_single(getattr(NeuralNumPy, _name)))

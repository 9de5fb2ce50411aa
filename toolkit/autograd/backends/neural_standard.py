"""Neural operations from a namespace's basic functions: what NumPy, CuPy and the array API standard share."""

import math
from typing import Any

import numpy as np

from toolkit.autograd.backends.neural_rules import NeuralRules
from toolkit.autograd.backends.windows import (
    Pair,
    elements_inside,
    first_inside,
    inside,
    volume,
    window_counts,
    window_slices,
)


class StandardPooling(NeuralRules):
    """Poolings as one pass over the elements of a window, each pass over all windows at once."""

    def bordered(self, x: Any, padding: Pair, value: float = 0.0) -> Any:
        """Return ``x`` with a border of ``value`` around height and width; ``x`` itself if it has no width."""
        if padding == (0, 0):
            return x
        shape = (*x.shape[:-2], x.shape[-2] + 2 * padding[0], x.shape[-1] + 2 * padding[1])
        result = self.full(shape, value, x)
        result[inside(padding, x.shape)] = x
        return result

    def unbordered(self, x: Any, padding: Pair, shape: tuple[int, ...]) -> Any:
        """Return what is inside the border, with no memory for the border itself."""
        return x if padding == (0, 0) else self.copy(x[inside(padding, shape)])

    def max_pool2d(self, x: Any, *, window: Pair, stride: Pair, padding: Pair) -> tuple[Any, Any]:
        counts = window_counts(x.shape, window, stride, padding)
        bordered = self.bordered(x, padding, -math.inf)
        small = volume(window) <= 256
        best: Any = None
        for row, column, index in window_slices(window, stride, (1, 1), counts):
            part = bordered[index]
            if best is None:
                best = self.copy(part)
                # Where nothing is larger than -inf, the first element that is no border is the one.
                start = first_inside(window, stride, padding, counts).astype(np.uint8 if small else np.int32)
                chosen = self.copy(self.broadcast_to(self.from_numpy(start, x), best.shape))
                continue
            better = (part > best) | self.isnan(part)
            best = self.where(better, part, best)
            chosen = self.where(better, self.full((), row * window[1] + column, chosen), chosen)
        return best, chosen

    def max_pool2d_scatter(
        self, g: Any, chosen: Any, *, shape: tuple[int, ...], window: Pair, stride: Pair, padding: Pair
    ) -> Any:
        result = self.bordered_zeros(g, shape, padding)
        overlap = stride[0] < window[0] or stride[1] < window[1]
        for row, column, index in window_slices(window, stride, (1, 1), g.shape[-2:]):
            part = self.kept(g, chosen == row * window[1] + column)
            if overlap:
                self.accumulate(result, index, part)
            else:
                result[index] = part
        return self.unbordered(result, padding, shape)

    def max_pool2d_gather(self, x: Any, chosen: Any, *, window: Pair, stride: Pair, padding: Pair) -> Any:
        bordered = self.bordered(x, padding)
        result: Any = None
        for row, column, index in window_slices(window, stride, (1, 1), chosen.shape[-2:]):
            part = bordered[index]
            result = self.zeros_like(part) if result is None else result
            result = self.where(chosen == row * window[1] + column, part, result)
        return result

    def average_pool2d(self, x: Any, *, window: Pair, stride: Pair, padding: Pair, count_include_padding: bool) -> Any:
        counts = window_counts(x.shape, window, stride, padding)
        bordered = self.bordered(x, padding)
        total: Any = None
        for _, _, index in window_slices(window, stride, (1, 1), counts):
            part = bordered[index]
            total = self.copy(part) if total is None else self.add_into(total, part)
        return total * self._shares(x, x.shape, window, stride, padding, counts, count_include_padding)

    def average_pool2d_input_gradient(
        self, g: Any, *, shape: tuple[int, ...], window: Pair, stride: Pair, padding: Pair, count_include_padding: bool
    ) -> Any:
        counts = g.shape[-2:]
        share = g * self._shares(g, shape, window, stride, padding, counts, count_include_padding)
        result = self.bordered_zeros(g, shape, padding)
        for _, _, index in window_slices(window, stride, (1, 1), counts):
            self.accumulate(result, index, share)
        return self.unbordered(result, padding, shape)

    def kept(self, x: Any, mask: Any) -> Any:
        """Return ``x`` where ``mask`` holds, else 0."""
        return self.where(mask, x, 0.0)

    def accumulate(self, result: Any, index: tuple, value: Any) -> None:
        """Add ``value`` to ``result[index]`` in place."""
        result[index] = result[index] + value

    def bordered_zeros(self, like: Any, shape: tuple[int, ...], padding: Pair) -> Any:
        """Return zeros of ``shape`` and a border."""
        return self.zeros((*shape[:-2], shape[-2] + 2 * padding[0], shape[-1] + 2 * padding[1]), like)

    def _shares(
        self, like: Any, shape: tuple[int, ...], window: Pair, stride: Pair, padding: Pair, counts: Pair, whole: bool
    ) -> Any:
        """Return what each element of a window weighs in its mean: one number, or one a window."""
        if whole or padding == (0, 0):
            return 1.0 / volume(window)
        elements = elements_inside(shape, window, stride, padding, counts)
        return self.astype(self.from_numpy(1.0 / elements, like), like)


class StandardNeural(StandardPooling):
    """Softmax, losses, normalizations, look-up and masks."""

    def softmax(self, x: Any, axis: int) -> Any:
        if 0 in x.shape:
            return self.copy(x)
        with np.errstate(invalid="ignore"):
            raised = self.exp(x - self.max(x, axis=axis, keepdims=True))
            return raised / self.sum(raised, axis=axis, keepdims=True)

    def log_softmax(self, x: Any, axis: int) -> Any:
        if 0 in x.shape:
            return self.copy(x)
        with np.errstate(invalid="ignore"):
            lowered = x - self.max(x, axis=axis, keepdims=True)
            return lowered - self.log(self.sum(self.exp(lowered), axis=axis, keepdims=True))

    def one_hot(self, labels: Any, shape: tuple[int, ...]) -> Any:
        """Return the bool array of ``shape`` that holds where the position along axis 1 is the label."""
        classes = self.reshape(self.arange(shape[1], labels), (1, shape[1], *(1,) * (len(shape) - 2)))
        return classes == self.reshape(labels, (shape[0], 1, *shape[2:]))

    def cross_entropy(self, x: Any, labels: Any, *, reduction: str) -> tuple[Any, Any, Any]:
        log_probabilities = self.log_softmax(x, 1)
        chosen = self.one_hot(labels, x.shape)
        losses = -self.sum(self.where(chosen, log_probabilities, 0.0), axis=1)
        return self.reduced(losses, reduction), log_probabilities, labels

    def cross_entropy_gradient(self, log_probabilities: Any, labels: Any, g: Any, *, reduction: str) -> Any:
        shape = log_probabilities.shape
        probabilities = self.exp(log_probabilities)
        slope = self.where(self.one_hot(labels, shape), probabilities - 1.0, probabilities)
        if reduction == "none":
            return slope * self.reshape(g, (shape[0], 1, *shape[2:]))
        return slope * (g / float(volume(labels.shape)) if reduction == "mean" else g)

    def mse(self, x: Any, y: Any, *, reduction: str) -> Any:
        difference = x - y
        return self.reduced(difference * difference, reduction)

    def reduced(self, losses: Any, reduction: str) -> Any:
        """Return the losses, their sum or their mean."""
        if reduction == "none":
            return losses
        total = self.sum(losses)
        return total if reduction == "sum" else total / float(max(1, volume(losses.shape)))

    def batch_normalization(
        self, x: Any, gamma: Any, beta: Any, running_mean: Any, running_variance: Any,
        *, train: bool, momentum: float, eps: float,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        axes = tuple(axis for axis in range(len(x.shape)) if axis != 1)
        if not train:
            # The running mean may be updated in place before the backward pass.
            mean, inverse = self.copy(running_mean), 1.0 / self.sqrt(running_variance + eps)
            return self.normalized(x, mean, inverse, gamma, beta, axes), mean, inverse
        y, mean, inverse, variance = self.standardized(x, gamma, beta, axes=axes, shared=axes, eps=eps)
        count = volume(x.shape) // max(1, x.shape[1])
        if running_mean is not None and count > 1:
            running_mean[...] = running_mean * (1.0 - momentum) + mean * momentum
            unbiased = variance * (momentum * count / (count - 1))
            running_variance[...] = running_variance * (1.0 - momentum) + unbiased
        return y, mean, inverse

    def layer_normalization(self, x: Any, gamma: Any, beta: Any, *, n_axes: int, eps: float) -> tuple[Any, Any, Any]:
        lead = len(x.shape) - n_axes
        axes = tuple(range(lead, len(x.shape)))
        y, mean, inverse, _ = self.standardized(x, gamma, beta, axes=axes, shared=tuple(range(lead)), eps=eps)
        return y, mean, inverse

    def standardized(
        self, x: Any, gamma: Any, beta: Any, *, axes: tuple[int, ...], shared: tuple[int, ...], eps: float
    ) -> tuple[Any, Any, Any, Any]:
        """Return ``x`` with mean 0 and variance 1 over ``axes``, scaled and shifted, and the statistics used.

        These are mean, inverse deviation and variance, without ``axes``.
        """
        share = 1.0 / max(1, volume(tuple(x.shape[axis] for axis in axes)))
        own = tuple(length for axis, length in enumerate(x.shape) if axis not in axes)
        mean = self.sum(x, axis=axes, keepdims=True) * share
        y = x - mean
        variance = self.sum(y * y, axis=axes, keepdims=True) * share
        inverse = 1.0 / self.sqrt(variance + eps)
        spread = tuple(1 if axis in shared else length for axis, length in enumerate(x.shape))
        y = self.multiply_into(y, inverse)
        if gamma is not None:
            y = self.multiply_into(y, self.reshape(gamma, spread))
        if beta is not None:
            y = self.add_into(y, self.reshape(beta, spread))
        return y, self.reshape(mean, own), self.reshape(inverse, own), self.reshape(variance, own)

    def normalized(self, x: Any, mean: Any, inverse: Any, gamma: Any, beta: Any, axes: tuple[int, ...]) -> Any:
        """Return ``x`` standardized with given statistics."""
        spread = tuple(1 if axis in axes else length for axis, length in enumerate(x.shape))
        scale = inverse if gamma is None else inverse * gamma
        y = self.multiply_into(x - self.reshape(mean, spread), self.reshape(scale, spread))
        return y if beta is None else self.add_into(y, self.reshape(beta, spread))

    def multiply_into(self, a: Any, b: Any) -> Any:
        """Multiply the first array, which nobody else has, by the second, and return the product."""
        return a * b

    def masked_scale(self, x: Any, mask: Any, *, scale: float) -> Any:
        return self.kept(x * scale, mask)

    def embedding(self, ids: Any, weight: Any) -> Any:
        rows = self.take_rows(weight, self.reshape(ids, (volume(ids.shape),)))
        return self.reshape(rows, (*ids.shape, *weight.shape[1:]))

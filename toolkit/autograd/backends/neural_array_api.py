"""Neural operations for arrays of the standard: shifted slices and matrix products, since it knows no convolution."""

from typing import Any

import numpy as np

from toolkit.autograd.backends.neural_standard import StandardNeural
from toolkit.autograd.backends.windows import Pair, volume, window_counts, window_slices


class NeuralArrayAPI(StandardNeural):
    """A convolution is one matrix product for each element of the window, summed."""

    def conv2d(
        self, x: Any, weight: Any, bias: Any = None,
        *, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Any:  # fmt: skip
        counts = window_counts(x.shape, weight.shape[2:], stride, padding, dilation)
        bordered = self.bordered(x, padding)
        grouped = self._grouped_weight(weight, groups)
        total: Any = None
        for row, column, index in window_slices(weight.shape[2:], stride, dilation, counts):
            part = self._grouped(bordered[index], groups)
            product = self.matmul(grouped[row, column, ...], part)
            total = product if total is None else self.add_into(total, product)
        total = self.reshape(total, (x.shape[0], weight.shape[0], *counts))
        return total if bias is None else total + self.reshape(bias, (1, bias.shape[0], 1, 1))

    def conv2d_input_gradient(
        self, g: Any, weight: Any,
        *, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Any:  # fmt: skip
        counts = tuple(g.shape[2:])
        result = self.bordered_zeros(g, shape, padding)
        grouped = self.swap_last(self._grouped_weight(weight, groups))
        g = self._grouped(g, groups)
        for row, column, index in window_slices(weight.shape[2:], stride, dilation, counts):
            product = self.matmul(grouped[row, column, ...], g)
            self.accumulate(result, index, self.reshape(product, (*shape[:2], *counts)))
        return self.unbordered(result, padding, shape)

    def conv2d_weight_gradient(
        self, g: Any, x: Any,
        *, shape: tuple[int, ...], stride: Pair, padding: Pair, dilation: Pair, groups: int,
    ) -> Any:  # fmt: skip
        bordered = self.bordered(x, padding)
        counts = tuple(g.shape[2:])
        g = self._grouped(g, groups)
        parts = []
        for _, _, index in window_slices((shape[2], shape[3]), stride, dilation, counts):
            product = self.matmul(g, self.swap_last(self._grouped(bordered[index], groups)))
            parts.append(self.reshape(self.sum(product, axis=0), shape[:2]))
        return self.reshape(self.stack(*parts, axis=2), shape)

    def _grouped(self, x: Any, groups: int) -> Any:
        """Return ``(samples, groups, channels / groups, places)``."""
        places = volume(tuple(x.shape[2:]))
        return self.reshape(x, (x.shape[0], groups, x.shape[1] // groups, places))

    def _grouped_weight(self, weight: Any, groups: int) -> Any:
        """Return ``(rows, columns, groups, outputs / groups, inputs / groups)``."""
        outputs, inputs, *window = weight.shape
        grouped = self.reshape(weight, (groups, outputs // groups, inputs, *window))
        return self.transpose(grouped, (3, 4, 0, 1, 2))

    def take_rows(self, weight: Any, ids: Any) -> Any:
        return self.namespace.take(weight, ids, axis=0)

    def embedding_gradient(self, g: Any, ids: Any, *, shape: tuple[int, ...]) -> Any:
        host = np.zeros(shape, dtype=self.to_numpy(g).dtype)
        np.add.at(host, self.to_numpy(ids), self.to_numpy(g))
        return self.from_numpy(host, g)

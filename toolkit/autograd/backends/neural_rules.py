"""Backward rules of the neural operations, from the functions of a namespace: raw arrays or Variables alike."""

from typing import Any

from toolkit.autograd.backends.base import Namespace
from toolkit.autograd.backends.windows import volume


def geometry(params: dict) -> dict:
    """Return what two convolutions that share their windows share of their parameters."""
    return {name: params[name] for name in ("stride", "padding", "dilation", "groups")}


class NeuralRules(Namespace):
    """Pieces of backward rules; a backend overrides one where its library has it in one call."""

    def conv2d_gradients(self, g: Any, x: Any, weight: Any, needs: tuple, params: dict) -> tuple:
        shared = geometry(params)
        of_x, of_weight, _ = params["shapes"]
        return (
            self.conv2d_input_gradient(g, weight, shape=of_x, **shared) if needs[0] is not None else None,
            self.conv2d_weight_gradient(g, x, shape=of_weight, **shared) if needs[1] is not None else None,
            self.sum(g, axis=(0, 2, 3), keepdims=False) if needs[2] is not None else None,
        )

    def softmax_backward(self, g: Any, y: Any, axis: int) -> Any:
        return y * (g - self.sum(g * y, axis=axis, keepdims=True))

    def log_softmax_backward(self, g: Any, y: Any, axis: int) -> Any:
        return g - self.exp(y) * self.sum(g, axis=axis, keepdims=True)

    def standing_in(self, log_probabilities: Any, node: Any) -> Any:
        """Return the log-probabilities in the place of the logits behind ``node``."""
        return log_probabilities

    def probabilities(self, log_probabilities: Any) -> Any:
        """Return the softmax along axis 1 of logits of which the log-probabilities are known."""
        return self.exp(log_probabilities)

    def statistics(self, x: Any, mean: Any, inverse: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any]:
        """Return mean and inverse deviation over ``axes``, of length 1 there: what was saved from the forward pass."""
        shape = tuple(1 if axis in axes else length for axis, length in enumerate(x.shape))
        return self.reshape(mean, shape), self.reshape(inverse, shape)

    def quarters(self, x: Any) -> tuple[Any, Any, Any, Any]:
        """Return the four equal parts along the last axis."""
        units, lead = x.shape[-1] // 4, (slice(None),) * (len(x.shape) - 1)
        a, b, c, d = (self.get_item(x, (*lead, slice(k * units, (k + 1) * units))) for k in range(4))
        return a, b, c, d

    def lstm_cell(self, cell: Any, gates: Any) -> tuple[Any, Any, Any, Any]:
        i, f, n, _ = self.quarters(gates)
        i, f, n = self.sigmoid(i), self.sigmoid(f), self.tanh(n)
        return f * cell + i * n, i, f, n

    def lstm_hidden(self, cell: Any, gates: Any) -> tuple[Any, Any, Any]:
        o, squashed = self.sigmoid(self.quarters(gates)[3]), self.tanh(cell)
        return o * squashed, o, squashed

    def opened(self, gate: Any, node: Any, quarter: int) -> Any:
        """Return a gate behind its nonlinearity: one quarter of the gates behind ``node``."""
        return gate

    def squashed(self, cell: Any, node: Any) -> Any:
        """Return the hyperbolic tangent, which is known, of the cell behind ``node``."""
        return cell

    def constants(self, x: Any, *arrays: Any) -> tuple:
        """Return the arrays, which depend on nothing, as the namespace's own kind."""
        return arrays

    def normalization_gradients(
        self, g: Any, x: Any, gamma: Any, mean: Any, inverse: Any, needs: tuple,
        *, axes: tuple[int, ...], shared: tuple[int, ...], eps: float, constant: bool,
    ) -> tuple:  # fmt: skip
        """Return the gradients of ``gamma * (x - mean) * inverse + beta`` by ``x``, ``gamma`` and ``beta``.

        Args:
            axes: over which mean and inverse deviation of ``x`` were taken.
            shared: along which ``gamma`` and ``beta`` are repeated.
            constant: mean and inverse do not depend on ``x``.
        """
        shape = g.shape
        own = tuple(length for axis, length in enumerate(shape) if axis not in shared)
        spread = tuple(1 if axis in shared else length for axis, length in enumerate(shape))
        by_x = by_gamma = by_beta = None
        if needs[2] is not None:
            by_beta = self.reshape(self.sum(g, axis=shared, keepdims=False), own) if shared else g * 1.0
        if needs[0] is None and needs[1] is None:
            return by_x, by_gamma, by_beta
        if constant:
            broad = tuple(1 if axis in axes else length for axis, length in enumerate(shape))
            mean, inverse = (self.reshape(value, broad) for value in self.constants(x, mean, inverse))
        else:
            mean, inverse = self.statistics(x, mean, inverse, axes, eps)
        if needs[0] is not None and constant:
            by_x = g * (inverse if gamma is None else self.reshape(gamma, spread) * inverse)
        if by_x is None or needs[1] is not None:
            normalized = (x - mean) * inverse
        if needs[1] is not None:
            product = g * normalized
            by_gamma = self.sum(product, axis=shared, keepdims=False) if shared else product
        if needs[0] is not None and by_x is None:
            scaled = g if gamma is None else g * self.reshape(gamma, spread)
            share = 1.0 / max(1, volume(tuple(shape[axis] for axis in axes)))
            level = self.sum(scaled, axis=axes, keepdims=True) * share
            slope = self.sum(scaled * normalized, axis=axes, keepdims=True) * share
            by_x = (scaled - level - normalized * slope) * inverse
        return by_x, by_gamma, by_beta


class NeuralTapeRules(NeuralRules):
    """The same on Variables, where what was saved from the forward pass is brought back into the graph."""

    def standing_in(self, log_probabilities: Any, node: Any) -> Any:
        from toolkit.autograd.tape import _result

        # Softmax does not see a shift of its input, and the log-probabilities are the logits but for a shift. So
        # they can stand in for the logits, which then need not be kept: derivatives of every order are the same.
        return _result(log_probabilities, node)

    def probabilities(self, log_probabilities: Any) -> Any:
        return self.softmax(log_probabilities, 1)

    def one_hot(self, labels: Any, shape: tuple[int, ...]) -> Any:
        from toolkit.autograd.tape import _result

        return _result(labels.backend.one_hot(labels.data, shape), None)

    def statistics(self, x: Any, mean: Any, inverse: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any]:
        share = 1.0 / max(1, volume(tuple(x.shape[axis] for axis in axes)))
        mean = self.sum(x, axis=axes, keepdims=True) * share
        deviation = x - mean
        return mean, (self.sum(deviation * deviation, axis=axes, keepdims=True) * share + eps) ** -0.5

    def opened(self, gate: Any, node: Any, quarter: int) -> Any:
        from toolkit.autograd.operations.elementwise import SIGMOID, TANH
        from toolkit.autograd.operations.shaping import GET_ITEM
        from toolkit.autograd.tape import _recorded, _result

        if node is None:
            return _result(gate, None)
        # The quarter that was cut out and the nonlinearity, as if they had been recorded one by one: neither's
        # backward rule asks for what went in, so the gates themselves need not be kept.
        units, lead = gate.shape[-1], (slice(None),) * (len(gate.shape) - 1)
        place = {"index": (*lead, slice(quarter * units, (quarter + 1) * units))}
        cut = _recorded(gate, GET_ITEM, (node,), (), {**place, "shapes": ((*gate.shape[:-1], 4 * units),)}, None)
        return _recorded(gate, TANH if quarter == 2 else SIGMOID, (cut.node,), (gate,), None, None)

    def squashed(self, cell: Any, node: Any) -> Any:
        from toolkit.autograd.operations.elementwise import TANH
        from toolkit.autograd.tape import _recorded, _result

        return _result(cell, None) if node is None else _recorded(cell, TANH, (node,), (cell,), None, None)

    def constants(self, x: Any, *arrays: Any) -> tuple:
        from toolkit.autograd.tape import _result

        return tuple(_result(array, None) for array in arrays)

"""LSTM and GRU as cells that are handed their state (``stateful`` has the links that keep it).

The gates stand one after the other along the first axis of the weights, in torch's order: LSTM input, forget,
candidate, output; GRU reset, update, candidate.
"""

from typing import Any

import torch

from toolkit.autograd.initializers import Initializer, LeCunNormal, get_initializer
from toolkit.autograd.links.affine import Linear
from toolkit.autograd.links.containers import Chain
from toolkit.autograd.links.sizes import optional_size, size
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.operations.elementwise import sigmoid, tanh
from toolkit.autograd.operations.recurrent import lstm
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["GRUCell", "LSTMCell", "Recurrent"]


class _Blocks(Initializer):
    """Initializers one below the other, each for an equal part of the first axis."""

    def __init__(self, *parts: Any) -> None:
        self.parts = [get_initializer(part, LeCunNormal()) for part in parts]

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        block = (shape[0] // len(self.parts), *shape[1:])
        return torch.cat([part.draw(block, generator).to(generator.device) for part in self.parts])


class Recurrent(Chain):
    """Sizes, the two weights, and the checks that LSTM and GRU share."""

    _n_gates = 0

    def __init__(
        self,
        in_size: int | None,
        out_size: int | None,
        initialW: Any,
        initial_lateral: Any,
        upward_bias: tuple,
        lateral_bias: tuple | None,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if out_size is None:
            in_size, out_size = None, in_size
        inputs = optional_size(name, "in_size", in_size)
        self.out_size = size(name, "out_size", out_size)
        rows = self._n_gates * self.out_size
        with self.init_scope():
            self.upward = Linear(
                inputs, rows,
                initialW=_Blocks(*(initialW,) * self._n_gates), initial_bias=_Blocks(*upward_bias),
                generator=generator,
            )  # fmt: skip
            # Without a size of the input all waits for it, so that all goes where the input is.
            self.lateral = Linear(
                None if inputs is None else self.out_size, rows, nobias=lateral_bias is None,
                initialW=_Blocks(*(initial_lateral,) * self._n_gates),
                initial_bias=None if lateral_bias is None else _Blocks(*lateral_bias),
                generator=generator,
            )  # fmt: skip

    @property
    def in_size(self) -> int | None:
        """Length of the input; ``None`` until it is known."""
        return self.upward.in_size

    def _checked(self, x: Any) -> Variable:
        x = floating(type(self).__name__, "x", x)
        if x.ndim != 2 or self.in_size not in (None, x.shape[1]):
            length = "in_size" if self.in_size is None else self.in_size
            raise argument_error(type(self).__name__, "x", f"shape (samples, {length})", x.shape)
        return x

    def _start(self, argument: str, value: Any, x: Variable) -> Variable:
        """Return a given state, checked, or zeros."""
        shape = (x.shape[0], self.out_size)
        if value is None:
            return Variable(x.backend.zeros(shape, x.data))
        value = floating(type(self).__name__, argument, value, like=x)
        if value.shape != shape:
            raise argument_error(type(self).__name__, argument, f"shape {shape}", value.shape)
        return value

    def _step(self, x: Any, *states: Any) -> Any:
        """Return the next state, checked inputs given."""
        raise NotImplementedError

    def specification(self) -> dict[str, Any]:
        return {"in_size": self.in_size, "out_size": self.out_size}

    def _text_items(self) -> list[tuple[str, Any]]:
        return []


class LSTMCell(Recurrent):
    """One step of a long short-term memory.

    With ``i, f, g, o`` the four parts of ``upward(x) + lateral(h)``::

        c' = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(c')

    ``torch.nn.LSTMCell`` is the same with ``upward.W = weight_ih``, ``lateral.W = weight_hh`` and
    ``upward.b = bias_ih + bias_hh``.

    Args:
        in_size: length of the input, or ``None``: the first input tells. ``LSTMCell(10)`` is ``LSTMCell(None, 10)``.
        out_size: length of the state.
        initialW: of each gate's part of ``upward.W``; ``None`` means ``LeCunNormal()``.
        initial_lateral: of each gate's part of ``lateral.W``; ``None`` means ``LeCunNormal()``.
        initial_bias: of the bias of all gates but the forget gate; ``None`` means 0.
        initial_forget_bias: of the forget gate's bias.
        generator: draws the weights; ``None`` means ``config.generator``, or one private to the thread.

    Attributes:
        upward: ``W`` of shape ``(4 * out_size, in_size)``, ``b`` of shape ``(4 * out_size,)``.
        lateral: ``W`` of shape ``(4 * out_size, out_size)``.

    Source: Hochreiter and Schmidhuber 1997; forget gate Gers et al. 2000.
    """

    _n_gates = 4

    def __init__(
        self,
        in_size: int | None,
        out_size: int | None = None,
        initialW: Any = None,
        initial_lateral: Any = None,
        initial_bias: Any = None,
        initial_forget_bias: Any = 1.0,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        bias = 0.0 if initial_bias is None else initial_bias
        biases = (bias, initial_forget_bias, bias, bias)
        super().__init__(in_size, out_size, initialW, initial_lateral, biases, None, generator)

    def forward(self, x: Any, state: Any = None) -> Any:
        """Return the next state ``(h, c)``.

        Args:
            x: shape ``(samples, in_size)``.
            state: ``(h, c)``, each of shape ``(samples, out_size)``; ``None`` means zeros.

        Raises:
            ValueError: other shapes.
            TypeError: another array library, device or dtype than the parameters'.
        """
        x = self._checked(x)
        if state is not None and (not isinstance(state, tuple | list) or len(state) != 2):
            raise argument_error(type(self).__name__, "state", "(h, c) or None", type(state).__name__, kind=TypeError)
        h, c = (None, None) if state is None else state
        return self._step(x, self._start("h", h, x), self._start("c", c, x))

    def _step(self, x: Any, h: Any, c: Any) -> tuple[Variable, Variable]:
        c, h = lstm(c, self.upward(x) + self.lateral(h))
        return h, c


class GRUCell(Recurrent):
    """One step of a gated recurrent unit.

    With ``r, z, n`` the parts of ``upward(x)`` and ``R, Z, N`` those of ``lateral(h)``::

        r' = sigmoid(r + R)
        z' = sigmoid(z + Z)
        h' = (1 - z') * tanh(n + r' * N) + z' * h

    ``torch.nn.GRUCell`` is the same with ``upward.W, upward.b = weight_ih, bias_ih`` and
    ``lateral.W, lateral.b = weight_hh, bias_hh``: the reset gate acts behind the weight (Cho et al. 2014, version of
    June, revised), and ``z'`` is the weight of the old state.

    Args:
        in_size: length of the input, or ``None``: the first input tells. ``GRUCell(10)`` is ``GRUCell(None, 10)``.
        out_size: length of the state.
        initialW: of each gate's part of ``upward.W``; ``None`` means ``LeCunNormal()``.
        initial_lateral: of each gate's part of ``lateral.W``; ``None`` means ``LeCunNormal()``.
        initial_bias: of both biases; ``None`` means 0.
        generator: draws the weights; ``None`` means ``config.generator``, or one private to the thread.

    Attributes:
        upward: ``W`` of shape ``(3 * out_size, in_size)``, ``b`` of shape ``(3 * out_size,)``.
        lateral: ``W`` of shape ``(3 * out_size, out_size)``, ``b`` of shape ``(3 * out_size,)``.

    Source: Cho et al. 2014.
    """

    _n_gates = 3

    def __init__(
        self,
        in_size: int | None,
        out_size: int | None = None,
        initialW: Any = None,
        initial_lateral: Any = None,
        initial_bias: Any = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        biases = (0.0 if initial_bias is None else initial_bias,) * 3
        super().__init__(in_size, out_size, initialW, initial_lateral, biases, biases, generator)

    def forward(self, x: Any, h: Any = None) -> Any:
        """Return the next state ``h``.

        Args:
            x: shape ``(samples, in_size)``.
            h: shape ``(samples, out_size)``; ``None`` means zeros.

        Raises:
            ValueError: other shapes.
            TypeError: another array library, device or dtype than the parameters'.
        """
        x = self._checked(x)
        return self._step(x, self._start("h", h, x))

    def _step(self, x: Any, h: Any) -> Variable:
        n = self.out_size
        up, lateral = self.upward(x), self.lateral(h)
        gates = sigmoid(up[:, : 2 * n] + lateral[:, : 2 * n])
        r, z = gates[:, :n], gates[:, n:]
        candidate = tanh(up[:, 2 * n :] + r * lateral[:, 2 * n :])
        return candidate + z * (h - candidate)

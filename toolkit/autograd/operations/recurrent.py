"""The arithmetic of a long short-term memory, in three operations where its equations have thirteen."""

from typing import Any

from toolkit.autograd.operation import EXTRA, OUTPUT, Operation
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["lstm"]


def _gates_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    return (xp.lstm_gates_backward(g, saved[0]),)


def _cell_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    return xp.lstm_cell_gradients(g, saved[0], saved[1], needs)


def _hidden_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    cell, gates, squashed = saved
    return xp.lstm_hidden_gradients(g, xp.squashed(cell, squashed), gates, needs)


_GATES = Operation("lstm_gates", _gates_vjp, saves=(OUTPUT,))
_CELL = Operation("lstm_cell", _cell_vjp, saves=(0, 1), saved_for=((1,), None))
_HIDDEN = Operation("lstm_hidden", _hidden_vjp, saves=(0, 1, EXTRA), saved_for=(None, (0,), None))


@differentiable(
    lambda rng: [
        Sample((rng.normal(size=(3, 2)), rng.normal(size=(3, 8)))),
        Sample((rng.normal(size=(2, 1, 1)), rng.normal(size=(2, 1, 4))), label="steps and samples"),
        Sample((rng.normal(size=2), rng.normal(size=8)), label="one sample without an axis for it"),
        Sample((rng.normal(size=(0, 2)), rng.normal(size=(0, 8))), label="no samples"),
    ],
    group="recurrent",
)
def lstm(cell: Any, gates: Any) -> tuple[Variable, Variable]:
    """Return the next state of a long short-term memory.

    With ``gates`` in four equal parts ``i, f, n, o`` along the last axis: ``new = sigmoid(f) * cell + sigmoid(i) *
    tanh(n)`` and ``hidden = sigmoid(o) * tanh(new)``. The parts stand in torch's order, each in one piece, so that the
    weights of a ``torch.nn.LSTMCell`` fit (Chainer's own function interleaves them).

    Args:
        cell: what is remembered, shape ``(..., units)``.
        gates: the gates before their nonlinearities, shape ``(..., 4 * units)``.

    Returns:
        ``(new, hidden)``, both of the shape of ``cell``.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: other array libraries or dtypes.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
    """
    cell = floating("lstm", "cell", cell)
    gates = floating("lstm", "gates", gates, like=cell)
    shape = cell.data.shape
    if not shape:
        raise argument_error("lstm", "cell", "shape (..., units)", ())
    wanted = (*shape[:-1], 4 * shape[-1])
    if gates.data.shape != wanted:
        raise argument_error("lstm", "gates", f"shape {wanted}, four of cell's", gates.shape)
    opened = apply(_GATES, (gates,))
    new = apply(_CELL, (cell, opened))
    return new, apply(_HIDDEN, (new, opened))

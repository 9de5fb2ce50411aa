"""The arithmetic of a long short-term memory, in two operations where its equations have eleven."""

from typing import Any

from toolkit.autograd.operation import EXTRA, Operation
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["lstm"]


def _cell_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    cell, *gates = saved
    i, f, n = (xp.opened(gate, needs[1], quarter) for quarter, gate in enumerate(gates))
    by_cell = g * f if needs[0] is not None else None
    if needs[1] is None:
        return by_cell, None
    parts = (xp.sigmoid_backward(g * n, i), xp.sigmoid_backward(g * cell, f), xp.tanh_backward(g * i, n))
    return by_cell, xp.concat(*parts, xp.zeros_like(g), axis=len(g.shape) - 1)


def _hidden_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: Any) -> tuple:
    o, squashed = xp.opened(saved[0], needs[1], 3), xp.squashed(saved[1], needs[0])
    by_cell = xp.tanh_backward(g * o, squashed) if needs[0] is not None else None
    if needs[1] is None:
        return by_cell, None
    nothing = xp.zeros_like(g)
    part = xp.sigmoid_backward(g * squashed, o)
    return by_cell, xp.concat(nothing, nothing, nothing, part, axis=len(g.shape) - 1)


# Each takes the gates as they come, so that what it keeps of them is no more than their quarters behind the
# nonlinearities: as many bytes as the equations written one by one would keep.
_CELL = Operation("lstm_cell", _cell_vjp, saves=(0, EXTRA, EXTRA, EXTRA), saved_for=((1,), None, None, None))
_HIDDEN = Operation("lstm_hidden", _hidden_vjp, saves=(EXTRA, EXTRA))


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
    new = apply(_CELL, (cell, gates))
    return new, apply(_HIDDEN, (new, gates))

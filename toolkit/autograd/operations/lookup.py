"""Rows of a table, looked up by number."""

from typing import Any

import numpy as np

from toolkit.autograd.operation import Operation
from toolkit.autograd.operations.arguments import floating, integers, look_up
from toolkit.autograd.recording import apply
from toolkit.autograd.registry import Sample, differentiable
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["embedding", "embedding_gradient"]


def _embedding_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return None, xp.embedding_gradient(g, saved[0], shape=p["shapes"][1])


def _gradient_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    return xp.embedding(saved[0], g), None


_EMBEDDING = Operation("embedding", _embedding_vjp, saves=(0,), shapes=True, same_dtype=False)
_GRADIENT = Operation("embedding_gradient", _gradient_vjp, saves=(1,), same_dtype=False)


@differentiable(
    lambda rng: [
        Sample((ids, rng.normal(size=(4, 3))))
        for ids in (np.asarray([0, 2, 2, 3]), np.asarray([[1, 0], [1, 1]]), np.asarray(2), np.zeros(0, dtype=np.int64))
    ],
    group="linear algebra",
)
def embedding(ids: Any, weight: Any) -> Variable:
    """Return the rows of ``weight`` that ``ids`` names. A row named twice gets both gradients.

    Args:
        ids: integers from 0 to rows - 1, any shape.
        weight: shape ``(rows, features)``.

    Returns:
        Shape ``(*ids.shape, features)``.

    Raises:
        ValueError: an id that is negative or too large, a weight of another shape.
        TypeError: ids that are no integers.
    """
    weight = floating("embedding", "weight", weight)
    if weight.ndim != 2:
        raise argument_error("embedding", "weight", "shape (rows, features)", weight.shape)
    array = integers("embedding", "ids", ids, weight)
    return look_up(_EMBEDDING, (array, weight), None, argument="ids", limit=weight.shape[0], like=weight)


def embedding_gradient(g: Any, ids: Any, *, shape: tuple[int, ...]) -> Variable:
    """Return zeros of ``shape`` with the rows of ``g`` added at ``ids``."""
    return apply(_GRADIENT, (g, ids), {"shape": tuple(shape)})

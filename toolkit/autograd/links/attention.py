"""Attention."""

import math
from typing import Any

import numpy as np
import torch

from toolkit.autograd.links.affine import Linear
from toolkit.autograd.links.containers import Chain
from toolkit.autograd.links.sizes import size
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.operations.classification import softmax
from toolkit.autograd.operations.elementwise import where
from toolkit.autograd.operations.linear_algebra import matmul
from toolkit.autograd.operations.regularization import dropout
from toolkit.autograd.operations.shaping import reshape, transpose
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error

__all__ = ["MultiHeadAttention"]


class MultiHeadAttention(Chain):
    """Scaled dot-product attention in several heads.

    Each head computes ``softmax(q k^T / sqrt(d)) v`` on its ``d = embed_size / n_heads`` features of the projected
    queries, keys and values; ``output`` projects what all heads found.

    ``torch.nn.MultiheadAttention(batch_first=True)`` is the same, its ``in_proj_weight`` being ``query.W``, ``key.W``
    and ``value.W`` one below the other; its masks say where *not* to look, these say where to look.

    Args:
        embed_size: features of queries and of the result.
        n_heads: a divisor of it.
        dropout: probability with which a weight is dropped in training.
        causal: position ``t`` looks at positions up to ``t`` only.
        key_size: features of the keys; ``None`` means ``embed_size``.
        value_size: features of the values; ``None`` means ``embed_size``.
        nobias: projections without biases.
        initialW: of the four weights; ``None`` means ``LeCunNormal()``.
        generator: draws the weights; ``None`` means ``config.generator``, or one private to the thread.

    Attributes:
        query, key, value, output: the projections, each a :class:`Linear` to ``embed_size`` features.

    Raises:
        ValueError: ``n_heads`` does not divide ``embed_size``, ``dropout`` is not in [0, 1).

    Source: Vaswani et al. 2017, section 3.2.
    """

    def __init__(
        self,
        embed_size: int,
        n_heads: int,
        *,
        dropout: float = 0.0,
        causal: bool = False,
        key_size: int | None = None,
        value_size: int | None = None,
        nobias: bool = False,
        initialW: Any = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        name = "MultiHeadAttention"
        self.embed_size = size(name, "embed_size", embed_size)
        self.n_heads = size(name, "n_heads", n_heads)
        if self.embed_size % self.n_heads:
            raise argument_error(name, "n_heads", f"a divisor of embed_size, {embed_size}", n_heads)
        if isinstance(dropout, bool) or not isinstance(dropout, float | int) or not 0 <= dropout < 1:
            raise argument_error(name, "dropout", "a number in [0, 1)", repr(dropout))
        self.dropout = float(dropout)
        self.causal = bool(causal)
        sizes = {
            "query": self.embed_size,
            "key": self.embed_size if key_size is None else size(name, "key_size", key_size),
            "value": self.embed_size if value_size is None else size(name, "value_size", value_size),
            "output": self.embed_size,
        }
        for child, in_size in sizes.items():
            self.add_link(child, Linear(in_size, self.embed_size, nobias, initialW, generator=generator))

    query: Linear
    key: Linear
    value: Linear
    output: Linear

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        mask: Any = None,
        *,
        return_weights: bool = False,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Return what the queries find among the values.

        Args:
            query: shape ``(samples, queries, embed_size)``, or without the first axis for one sample.
            key: shape ``(samples, keys, key_size)``; ``None`` means ``query``.
            value: shape ``(samples, keys, value_size)``; ``None`` means ``key``.
            mask: bools, True where a query may look at a key, or numbers that are added to the scores, ``-inf`` where
                it may not; shape ``(queries, keys)``, ``(samples, queries, keys)`` or ``(samples, heads, queries,
                keys)``, or one that broadcasts to it. A NumPy array goes with every library. A query that may look
                nowhere finds 0.
            return_weights: return the weights of the heads too.
            generator: draws the dropped weights; ``None`` means ``config.generator``, or one private to the thread.

        Returns:
            Shape ``(samples, queries, embed_size)``; with ``return_weights`` a pair of it and the weights, shape
            ``(samples, heads, queries, keys)``, before dropout.

        Raises:
            ValueError: shapes that do not fit.
            TypeError: another array library, device or dtype than the parameters'; a mask of integers.
        """
        query = floating("MultiHeadAttention", "query", query)
        key = query if key is None else floating("MultiHeadAttention", "key", key, like=query)
        value = key if value is None else floating("MultiHeadAttention", "value", value, like=query)
        single = query.ndim == 2
        if single and key.ndim == 2 and value.ndim == 2:
            query, key, value = (reshape(part, (1, *part.shape)) for part in (query, key, value))
        self._check(query, key, value)
        samples, n_queries, n_keys = query.shape[0], query.shape[1], key.shape[1]
        heads = (samples, self.n_heads, n_queries, n_keys)
        scale = 1.0 / math.sqrt(self.embed_size // self.n_heads)
        q = self._split(self.query(query) * scale, (0, 2, 1, 3))
        k = self._split(self.key(key), (0, 2, 3, 1))
        v = self._split(self.value(value), (0, 2, 1, 3))
        scores = matmul(q, k)
        allowed, added = self._masks(mask, query, heads, single)
        if added is not None:
            scores = scores + added
        if allowed is not None:
            # The lowest finite number, and zeros afterwards: a row without a place to look makes no NaN.
            scores = where(allowed, scores, float(np.finfo(_host_dtype(query)).min))
        weights = softmax(scores, axis=-1) if n_keys else scores
        if allowed is not None:
            weights = where(allowed, weights, 0.0)
        dropped = dropout(weights, self.dropout, generator=generator) if self.dropout else weights
        found = reshape(transpose(matmul(dropped, v), (0, 2, 1, 3)), (samples, n_queries, self.embed_size))
        result = self.output(found)
        if single:
            result, weights = reshape(result, result.shape[1:]), reshape(weights, weights.shape[1:])
        return (result, weights) if return_weights else result

    def _split(self, x: Variable, axes: tuple[int, ...]) -> Variable:
        parts = (*x.shape[:2], self.n_heads, self.embed_size // self.n_heads)
        return transpose(reshape(x, parts), axes)

    def _check(self, query: Variable, key: Variable, value: Variable) -> None:
        wanted = {
            "query": (query, ("samples", "queries", self.query.in_size)),
            "key": (key, (query.shape[0], "keys", self.key.in_size)),
            "value": (value, (query.shape[0], key.shape[1] if key.ndim == 3 else "keys", self.value.in_size)),
        }
        for name, (given, shape) in wanted.items():
            fits = given.ndim == 3 and all(
                isinstance(want, str) or want == length for want, length in zip(shape, given.shape, strict=True)
            )
            if not fits:
                expected = f"shape ({', '.join(map(str, shape))})"
                raise argument_error("MultiHeadAttention", name, expected, given.shape)

    def _masks(self, mask: Any, query: Variable, shape: tuple[int, ...], single: bool) -> tuple[Any, Any]:
        """Return where to look and what to add, each ``None`` or a Variable that broadcasts to ``shape``."""
        backend, array = query.backend, query.data
        allowed: Any = None
        added: Any = None
        if mask is not None:
            if isinstance(mask, np.ndarray | list | tuple) and not isinstance(array, np.ndarray):
                host = np.asarray(mask)
                host = host.astype(_host_dtype(query)) if host.dtype.kind == "f" else host
                mask = backend.from_numpy(host, array)
            elif isinstance(mask, list | tuple):
                mask = np.asarray(mask)
            mask = as_variable(mask, "MultiHeadAttention", "mask")
            if mask.ndim == 3:
                # Of one sample the first axis is the heads', of several the samples'.
                mask = reshape(mask, (1, *mask.shape) if single else (mask.shape[0], 1, *mask.shape[1:]))
            try:
                fits = np.broadcast_shapes(mask.shape, shape) == shape
            except ValueError:
                fits = False
            if not fits:
                raise argument_error("MultiHeadAttention", "mask", f"a shape that broadcasts to {shape}", mask.shape)
            if "bool" in str(mask.dtype):
                allowed = mask.data
            else:
                if "float" not in str(mask.dtype):
                    expected = f"bools, or numbers of {query.dtype}"
                    raise argument_error("MultiHeadAttention", "mask", expected, mask.dtype, kind=TypeError)
                # Minus infinity says "not here", in torch's masks among others; it must not meet the softmax.
                numbers = floating("MultiHeadAttention", "mask", mask, like=query)
                allowed = numbers.data != -math.inf
                added = where(Variable(allowed), numbers, 0.0)
        if self.causal:
            rows, columns = (backend.arange(length, array) for length in shape[2:])
            past = backend.reshape(rows, (-1, 1)) >= backend.reshape(columns, (1, -1))
            allowed = past if allowed is None else allowed & past
        return (None if allowed is None else Variable(allowed)), added

    def specification(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"embed_size": self.embed_size, "n_heads": self.n_heads}
        if self.dropout:
            parts["dropout"] = self.dropout
        if self.causal:
            parts["causal"] = True
        return parts


def _host_dtype(x: Variable) -> Any:
    name = str(x.dtype).rsplit(".", 1)[-1]
    return np.dtype("float32" if name == "bfloat16" else name)

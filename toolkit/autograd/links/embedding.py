"""A table of vectors, looked up by number."""

from typing import Any

import torch

from toolkit.autograd.initializers import Normal
from toolkit.autograd.links.link import Link
from toolkit.autograd.links.parameter import Parameter
from toolkit.autograd.links.sizes import size
from toolkit.autograd.operations.arguments import integers
from toolkit.autograd.operations.elementwise import where
from toolkit.autograd.operations.lookup import embedding
from toolkit.autograd.operations.shaping import reshape
from toolkit.autograd.tape import Variable

__all__ = ["Embedding"]


class Embedding(Link):
    """Rows of a table (Chainer's ``EmbedID``).

    Args:
        in_size: number of different ids.
        out_size: length of a vector.
        initialW: of ``W``; ``None`` means ``Normal(1)``.
        ignore_label: an id, inside or outside the table, whose vector is 0 and has no gradient: padding.
        generator: draws ``W``; ``None`` means ``config.generator``, or one private to the thread.

    Attributes:
        W: shape ``(in_size, out_size)``.
    """

    def __init__(
        self,
        in_size: int,
        out_size: int,
        initialW: Any = None,
        ignore_label: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        shape = size("Embedding", "in_size", in_size, 0), size("Embedding", "out_size", out_size, 0)
        # Any integer: -1 is customary.
        self.ignore_label = None if ignore_label is None else size("Embedding", "ignore_label", ignore_label, -(2**63))
        with self.init_scope():
            self.W = Parameter(Normal(1.0) if initialW is None else initialW, shape, generator=generator)

    def forward(self, ids: Any) -> Variable:
        """Return shape ``(*ids.shape, out_size)``.

        Args:
            ids: integers of any shape, in an array of the table's library, a NumPy array or lists.

        Raises:
            ValueError: an id out of range.
            TypeError: no integers.
        """
        weight = self.W
        if self.ignore_label is None:
            return embedding(ids, weight)
        array = integers("embedding", "ids", ids, weight)
        backend = weight.backend
        ignored = array == self.ignore_label
        rows = embedding(backend.where(ignored, backend.zeros_like(array), array), weight)
        return where(reshape(Variable(ignored), (*array.shape, 1)), 0.0, rows)

    def specification(self) -> dict[str, Any]:
        parts = {"in_size": self.W.shape[0], "out_size": self.W.shape[1]}
        return parts if self.ignore_label is None else {**parts, "ignore_label": self.ignore_label}

"""The order of minibatches, as an object whose state can be saved: resuming goes on with the same batches."""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.core.devices import draw_permutation
from toolkit.core.errors import require


class Minibatches:
    """Shuffled minibatches of indices without end: every epoch visits each item once, in a new order.

    The generator is not part of the saved state: name it beside this object in the state of
    :func:`toolkit.core.training.train`.

    Args:
        n_items: size of the data set, at least 1.
        batch_size: indices in a batch; the last of an epoch holds what is left.
        generator: draws the orders.
        drop_last: leave out a last batch that is not full.
    """

    def __init__(self, n_items: int, batch_size: int, *, generator: torch.Generator, drop_last: bool = False):
        require(n_items >= 1, "Minibatches", "n_items", ">= 1", n_items)
        require(batch_size >= 1, "Minibatches", "batch_size", ">= 1", batch_size)
        if drop_last:
            expected = f"<= n_items = {n_items} with drop_last"
            require(batch_size <= n_items, "Minibatches", "batch_size", expected, batch_size)
        self.n_items, self.batch_size, self.drop_last = n_items, batch_size, drop_last
        self._generator = generator
        self._order: Tensor | None = None
        self._position = 0
        self.epoch = 0

    def __repr__(self) -> str:
        return f"Minibatches(n_items={self.n_items}, batch_size={self.batch_size}, epoch={self.epoch})"

    @property
    def per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return self.n_items // self.batch_size if self.drop_last else -(-self.n_items // self.batch_size)

    def next(self, device: torch.device | str | None = None) -> Int[Tensor, " batch"]:
        """Return the indices of the next batch, on ``device`` (default: the CPU).

        ``epoch`` counts the epochs finished so far.
        """
        if self._order is None:
            self._order = draw_permutation(self.n_items, generator=self._generator, device="cpu")
        start = self._position * self.batch_size
        batch = self._order[start : start + self.batch_size]
        self._position += 1
        if self._position == self.per_epoch:
            self._order, self._position = None, 0
            self.epoch += 1
        return batch if device is None else batch.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Return the order, the position in it and the epoch."""
        return {
            "n_items": self.n_items,
            "batch_size": self.batch_size,
            "order": None if self._order is None else self._order.clone(),
            "position": self._position,
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`state_dict`.

        Raises:
            ValueError: the state is of another data set or batch size.
        """
        ours, theirs = (self.n_items, self.batch_size), (state["n_items"], state["batch_size"])
        require(ours == theirs, "Minibatches.load_state_dict", "state", f"(n_items, batch_size) == {ours}", theirs)
        self._order = None if state["order"] is None else state["order"].clone()
        self._position, self.epoch = state["position"], state["epoch"]

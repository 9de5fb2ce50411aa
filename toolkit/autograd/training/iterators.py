"""Batches in an order that is drawn anew each epoch and can be taken up again anywhere."""

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from toolkit.autograd.randomness import source
from toolkit.autograd.training.datasets import Indices, take
from toolkit.core.errors import argument_error, require


class SerialIterator:
    """Batches of a data set, in this process.

    Arrays and :class:`~toolkit.autograd.training.datasets.TupleDataset` and the like of arrays are cut at once, on
    their device; a batch is then an array, a tuple or a dictionary of arrays. Of any other data set a batch is a list
    of examples.

    The order of an epoch follows from one random number, drawn at the first batch, and the number of the epoch. So
    where the iterator stands is one whole number, and going on from there costs nothing.

    Args:
        dataset: anything with a length and items; at least one.
        batch_size: items in a batch. With ``repeat`` a batch at the end of an epoch is filled up from the next one;
            without, the last batch holds what is left.
        repeat: go on without end; otherwise stop after one epoch, until :meth:`reset`.
        shuffle: draw a new order for each epoch; otherwise keep that of the data set.
        generator: draws the order; default: :func:`toolkit.autograd.randomness.source`.

    Attributes:
        dataset: the data set.
        batch_size: items in a batch.
        repeat: whether it goes on without end.

    Raises:
        ValueError: ``batch_size`` below 1, no items.
        TypeError: ``batch_size`` is no integer, ``dataset`` has no length, ``generator`` is none.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        *,
        repeat: bool = True,
        shuffle: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        name = type(self).__name__
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
            raise argument_error(name, "batch_size", "an integer", repr(batch_size), kind=TypeError)
        require(batch_size >= 1, name, "batch_size", ">= 1", batch_size)
        try:
            n_items = len(dataset)
        except TypeError:
            actual = type(dataset).__name__
            raise argument_error(name, "dataset", "something with a length and items", actual, kind=TypeError) from None
        require(n_items >= 1, name, "dataset", "at least one item", "none")
        if generator is not None and not isinstance(generator, torch.Generator):
            expected = "a torch.Generator or None"
            raise argument_error(name, "generator", expected, repr(generator), kind=TypeError)
        self.dataset, self.batch_size, self.repeat, self.shuffle = dataset, int(batch_size), repeat, shuffle
        self._n_items = n_items
        self._generator = generator
        self._items = 0
        self._previous: int | None = None
        self._seed: int | None = None
        self._order: tuple[int, Indices] | None = None

    def __iter__(self) -> "SerialIterator":
        return self

    def __next__(self) -> Any:
        start = self._items
        stop = self._stop(start)
        if stop == start:
            raise StopIteration
        batch = self._take(start, stop)
        # Only now: an item that cannot be read is tried again.
        self._previous, self._items = start, stop
        return batch

    next = __next__

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self._items // self._n_items

    @property
    def epoch_detail(self) -> float:
        """Epochs done, with the fraction of the running one."""
        return self._items / self._n_items

    @property
    def previous_epoch_detail(self) -> float | None:
        """:attr:`epoch_detail` before the latest batch; ``None`` before the first."""
        return None if self._previous is None else self._previous / self._n_items

    @property
    def is_new_epoch(self) -> bool:
        """Whether the latest batch finished an epoch."""
        return self._previous is not None and self._items // self._n_items > self._previous // self._n_items

    @property
    def current_position(self) -> int:
        """Items of the running epoch that have been given out."""
        return self._items % self._n_items

    @property
    def progress(self) -> tuple[int, int]:
        """Items given out, and items an epoch."""
        return self._items, self._n_items

    def reset(self) -> None:
        """Begin again, with the first epoch and a new order."""
        self._items, self._previous, self._seed, self._order = 0, None, None, None

    def finalize(self) -> None:
        """Let go of what it holds; it can be used again."""

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands. Every iterator here reads the state of every other."""
        generator = self._generator
        return {
            "n_items": self._n_items,
            "items": self._items,
            "previous": self._previous,
            "seed": self._seed,
            "generator": None if generator is None else generator.get_state().numpy(),
        }

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Go on from a state of :meth:`state_dict`; the batch size may be another one.

        Args:
            state: of an iterator over as many items.
            strict: refuse a state of another number of items. Without it, such an iterator begins with the
                epoch the other one was in.

        Raises:
            ValueError: the state is of another number of items.
        """
        n_items, items, previous = int(state["n_items"]), int(state["items"]), state["previous"]
        if n_items != self._n_items:
            if strict:
                raise argument_error("load_state_dict", "state", f"a state over {self._n_items} items", n_items)
            items, previous = items // n_items * self._n_items, None
        generator = state["generator"]
        if generator is not None and self._generator is not None:
            self._generator.set_state(torch.from_numpy(np.array(generator, dtype=np.uint8)))
        self._items, self._previous = items, None if previous is None else int(previous)
        self._seed = None if state["seed"] is None else int(state["seed"])
        self._order = None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._n_items} items, batch_size={self.batch_size}, "
            f"epoch_detail={self.epoch_detail:.6g})"
        )

    def _stop(self, start: int) -> int:
        stop = start + self.batch_size
        return stop if self.repeat else min(stop, max(start, self._n_items))

    def _take(self, start: int, stop: int) -> Any:
        return take(self.dataset, self._indices(start, stop))

    def _indices(self, start: int, stop: int) -> Indices:
        """Return the positions of the items from ``start`` to ``stop``, counted over all epochs."""
        n_items = self._n_items
        epoch, first = divmod(start, n_items)
        if first + stop - start <= n_items:
            return self._epoch_order(epoch).part(first, first + stop - start)
        parts = []
        while start < stop:
            epoch, first = divmod(start, n_items)
            last = min(n_items, first + stop - start)
            parts.append(self._epoch_order(epoch).part(first, last).tensor())
            start += last - first
        return Indices(torch.cat(parts))

    def _epoch_order(self, epoch: int) -> Indices:
        if self._order is not None and (self._order[0] == epoch or not self.shuffle):
            return self._order[1]
        if self.shuffle:
            generator = torch.Generator().manual_seed(derived_seed(self._drawn_seed(), epoch))
            order = torch.randperm(self._n_items, generator=generator)
        else:
            order = torch.arange(self._n_items)
        self._order = (epoch, Indices(order))
        return self._order[1]

    def _drawn_seed(self) -> int:
        if self._seed is None:
            generator = source(self._generator)
            self._seed = int(torch.randint(2**62, (), generator=generator, device=generator.device).item())
        return self._seed


def derived_seed(*numbers: int) -> int:
    """Return a seed in [0, 2**63) that looks unrelated to that of any other numbers."""
    digest = hashlib.blake2b(struct.pack(f"<{len(numbers)}q", *numbers), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1

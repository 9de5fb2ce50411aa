"""Batches that other processes prepare, for data sets whose items are slow to make."""

import multiprocessing
import pickle
import random
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from toolkit.autograd.configuration import using_config
from toolkit.autograd.training.datasets import Indices, is_whole, take
from toolkit.autograd.training.iterators import SerialIterator, derived_seed
from toolkit.core.errors import argument_error, require


class MultiprocessIterator(SerialIterator):
    """Batches of a data set, prepared ahead by worker processes (a ``torch.utils.data.DataLoader``).

    The batches are those of a :class:`~toolkit.autograd.training.iterators.SerialIterator`, in the same order. Its
    state counts the batches given out, not those prepared: none is lost or repeated by a resume.

    What a data set draws at random while an item is made, from :func:`toolkit.autograd.randomness.source` or the
    workers' global generators, depends on the item, the epoch and this iterator's own random number, and so neither
    on the number of workers nor on what was made before.

    The workers start at the first batch, ignore Ctrl-C (this process decides), and end with :meth:`finalize` or with
    this process.

    Args:
        dataset: as for the serial iterator. With a start method other than ``"fork"`` it must be picklable.
        batch_size: items in a batch.
        repeat: go on without end.
        shuffle: draw a new order for each epoch.
        generator: draws the order and the seed of the items.
        n_workers: number of processes.
        n_prefetch: batches that each of them prepares ahead.
        start_method: ``"fork"``, ``"forkserver"`` or ``"spawn"``. Default: ``"fork"`` where it is safe (on Linux,
            before this process uses a GPU), which also takes functions defined in a notebook; else ``"forkserver"``.

    Raises:
        ValueError: ``n_workers`` or ``n_prefetch`` below 1, an unknown start method.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        *,
        repeat: bool = True,
        shuffle: bool = True,
        generator: torch.Generator | None = None,
        n_workers: int = 2,
        n_prefetch: int = 2,
        start_method: str | None = None,
    ) -> None:
        super().__init__(dataset, batch_size, repeat=repeat, shuffle=shuffle, generator=generator)
        for name, number in (("n_workers", n_workers), ("n_prefetch", n_prefetch)):
            if isinstance(number, bool) or not isinstance(number, int):
                raise argument_error("MultiprocessIterator", name, "an integer", repr(number), kind=TypeError)
            require(number >= 1, "MultiprocessIterator", name, ">= 1", number)
        methods = multiprocessing.get_all_start_methods()
        if start_method is not None:
            expected = f"one of {methods}"
            require(start_method in methods, "MultiprocessIterator", "start_method", expected, repr(start_method))
        self.n_workers, self.n_prefetch, self.start_method = n_workers, n_prefetch, start_method
        self._loader: DataLoader | None = None
        self._stream: Any = None

    def reset(self) -> None:
        """Begin again, with the first epoch and a new order. The workers stay."""
        super().reset()
        self._stream = None

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        super().load_state_dict(state, strict)
        self._stream = None

    load_state_dict.__doc__ = SerialIterator.load_state_dict.__doc__

    def finalize(self) -> None:
        """End the worker processes and wait for them; the next batch starts new ones."""
        stream, self._stream = self._stream, None
        loader, self._loader = self._loader, None
        if loader is not None:
            stream = stream if loader._iterator is None else loader._iterator
        if stream is not None:
            stream._shutdown_workers()

    def _take(self, start: int, stop: int) -> Any:
        try:
            if self._stream is None:
                self._drawn_seed()
                if self._loader is None:
                    self._loader = self._opened()
                self._stream = iter(self._loader)
            return pickle.loads(next(self._stream))
        except BaseException:
            # The batch is lost to the stream: a new one begins where this iterator stands.
            self.finalize()
            raise

    def _opened(self) -> DataLoader:
        method = self.start_method or _safe_start_method()
        loader: DataLoader = DataLoader(
            _Items(self.dataset),  # type: ignore[arg-type]
            batch_sampler=_Stream(self),  # type: ignore[arg-type]
            num_workers=self.n_workers,
            prefetch_factor=self.n_prefetch,
            persistent_workers=True,
            collate_fn=_packed,
            worker_init_fn=_ignore_interrupts,
            multiprocessing_context=method,
            generator=torch.Generator(),  # it draws a seed for the workers, which must not come from the global one
        )
        return loader

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None, "_stream": None}


class _Stream:
    """What the workers are asked for, batch by batch, from where the iterator stands when the stream begins."""

    def __init__(self, iterator: MultiprocessIterator) -> None:
        self._iterator = iterator

    def __iter__(self) -> Iterator[list[tuple[list[int], list[int]]]]:
        iterator = self._iterator
        ahead = SerialIterator(range(iterator._n_items), iterator.batch_size, shuffle=iterator.shuffle)
        ahead.repeat, ahead._seed, start = iterator.repeat, iterator._drawn_seed(), iterator._items
        while (stop := ahead._stop(start)) > start:
            indices = ahead._indices(start, stop).numbers()
            seeds = [
                derived_seed(ahead._seed, position // ahead._n_items, index)
                for position, index in zip(range(start, stop), indices, strict=True)
            ]
            yield [(indices, seeds)]
            start = stop


class _Items:
    """The data set as the workers see it."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, keys: list[tuple[list[int], list[int]]]) -> Any:
        indices, seeds = keys[0]
        if is_whole(self._dataset):
            return take(self._dataset, Indices(torch.tensor(indices)))
        generator = torch.Generator()
        examples = []
        with using_config(generator=generator):
            for index, seed in zip(indices, seeds, strict=True):
                generator.manual_seed(seed)
                # This process is the worker: its global generators are nobody else's.
                torch.manual_seed(seed)
                np.random.seed(seed & 0xFFFFFFFF)
                random.seed(seed)
                examples.append(self._dataset[index])
        return examples


def _packed(batch: Any) -> bytes:
    # Through the pipe, not through shared memory: that is small in containers, and a file handle a tensor runs out.
    return pickle.dumps(batch, protocol=pickle.HIGHEST_PROTOCOL)


def _ignore_interrupts(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _safe_start_method() -> str:
    methods = multiprocessing.get_all_start_methods()
    if sys.platform == "linux" and not torch.cuda.is_initialized() and "cupy" not in sys.modules:
        return "fork"
    return "forkserver" if "forkserver" in methods else "spawn"

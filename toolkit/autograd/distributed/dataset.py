"""Which samples each process gets."""

from typing import Any

import numpy as np
import torch

from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.distributed.failures import DisagreementError
from toolkit.autograd.randomness import source
from toolkit.autograd.training.datasets import SubDataset
from toolkit.core.devices import draw_permutation, resolve_generator
from toolkit.core.errors import argument_error


class Shard(SubDataset):
    """One process's part of a dataset.

    It is indexed as any :class:`~toolkit.autograd.training.SubDataset`: batches of what is made of arrays are cut at
    once.

    Args:
        dataset: the whole, on every rank.
        order: of its samples, shape ``(samples,)``.
        start: where this part begins in that order.
        stop: where it ends.

    Attributes:
        dataset: the whole dataset.
        indices: which of its samples are here, shape ``(stop - start,)``.
    """

    def __init__(self, dataset: Any, order: np.ndarray, start: int, stop: int) -> None:
        super().__init__(dataset, start, stop, order)
        self.dataset = dataset
        self.indices = order[start:stop]

    def __repr__(self) -> str:
        return f"Shard({len(self)} of {len(self.dataset)} samples)"


class EmptyDataset:
    """A dataset that has a length and no content; see :func:`create_empty_dataset`."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int | np.integer):
            if not -self._length <= index < self._length:
                raise IndexError(f"index {index} of {self._length} samples")
            return ()
        return [()] * len(np.arange(self._length)[index])

    def __repr__(self) -> str:
        return f"EmptyDataset({self._length})"


def create_empty_dataset(dataset: Any) -> EmptyDataset:
    """Return a dataset of the same length whose samples are ``()``.

    For processes that take part in the iterations but get their input from other ranks (model parallelism).
    """
    return EmptyDataset(len(dataset))


def scatter_dataset(
    dataset: Any,
    communicator: Communicator,
    *,
    root: int = 0,
    shuffle: bool = False,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    force_equal_length: bool = True,
) -> Shard:
    """Return this process's shard of a dataset.

    Args:
        dataset: the same on every rank; or on ``root`` alone and ``None`` elsewhere, and then it is sent.
        communicator: of the ranks.
        root: the rank whose order counts.
        shuffle: cut a random order, drawn on ``root``, instead of the dataset's own.
        seed: of that order.
        generator: to draw it from instead. ``None`` for both is ``config.generator`` or the thread's own.
        force_equal_length: let shards overlap by at most one sample so that all are equally long, as training wants
            it: every rank then makes as many steps, and the mean over ranks is that over samples. With ``False``
            each sample is in exactly one shard, lengths differ by at most one, and a shard may be empty, as
            evaluation wants it.

    Returns:
        The shard.

    Raises:
        ValueError: ``root`` has no dataset, or both ``seed`` and ``generator`` are given.
        DisagreementError: the ranks' datasets are not equally long.
    """
    communicator.check_rank("scatter_dataset", "root", root)
    if communicator.rank == root and dataset is None:
        raise argument_error("scatter_dataset", "dataset", f"a dataset on rank {root}, the root", "None")
    if seed is not None or generator is not None:
        generator = resolve_generator(generator, seed=seed)
    choices = (shuffle, force_equal_length)
    told = communicator.allgather_obj((None if dataset is None else len(dataset), choices))
    lengths = {length for length, _ in told if length is not None}
    if len(lengths) > 1 or len({theirs for _, theirs in told}) > 1:
        said = "".join(
            f"\n  rank {rank}: {length} samples, shuffle={theirs[0]}, force_equal_length={theirs[1]}"
            for rank, (length, theirs) in enumerate(told)
        )
        raise DisagreementError(f"scatter_dataset: the ranks' datasets or arguments differ{said}")
    if any(length is None for length, _ in told):
        dataset = communicator.bcast_obj(dataset, root)
    total = len(dataset)
    order = np.arange(total)
    if shuffle:
        if communicator.rank == root:
            order = draw_permutation(total, generator=source(generator), device="cpu").numpy()
        order = communicator.bcast(order if communicator.rank == root else None, root)
    first, last = shard_bounds(total, communicator.rank, communicator.size, force_equal_length)
    return Shard(dataset, order, first, last)


def shard_bounds(total: int, rank: int, size: int, equal: bool) -> tuple[int, int]:
    """Return where the shard of ``rank`` begins and ends in an order of ``total`` samples cut into ``size``."""
    first = total * rank // size
    return first, first + -(-total // size) if equal else total * (rank + 1) // size

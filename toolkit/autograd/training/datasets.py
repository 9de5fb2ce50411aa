"""Data sets: anything with a length and items. Those made of whole arrays are cut into batches at once."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from toolkit.autograd.randomness import source
from toolkit.core.devices import draw_permutation
from toolkit.core.errors import argument_error, require


class Indices:
    """Positions in a data set, made ready once for every library and device that has arrays there.

    Args:
        host: on the CPU.
    """

    __slots__ = ("_ready", "_span", "host")

    def __init__(self, host: Int[Tensor, " n"], _ready: dict[Any, Any] | None = None, _span: slice = slice(None)):
        self.host = host
        self._ready = {} if _ready is None else _ready
        self._span = _span

    def __len__(self) -> int:
        return len(range(*self._span.indices(len(self.host))))

    def part(self, start: int, stop: int) -> "Indices":
        """Return those from ``start`` to ``stop``; what is ready is shared."""
        return Indices(self.host, self._ready, slice(start, stop))

    def numbers(self) -> list[int]:
        """Return them as Python's numbers."""
        return self.host[self._span].tolist()

    def tensor(self) -> Int[Tensor, " m"]:
        """Return them as a tensor on the CPU."""
        return self.host[self._span]

    def take(self, array: Any) -> Any:
        """Return the rows of ``array`` at these positions, a copy, in one call."""
        if isinstance(array, Tensor):
            ready = self._ready.get(array.device)
            if ready is None:
                ready = self._ready[array.device] = self.host.to(array.device)
            return torch.index_select(array, 0, ready[self._span])
        if isinstance(array, np.ndarray):
            return np.take(np.asarray(array), self.host.numpy()[self._span], axis=0)
        if type(array).__module__.startswith("cupy"):
            import cupy

            with array.device:
                ready = self._ready.get(("cupy", array.device.id))
                if ready is None:
                    ready = self._ready["cupy", array.device.id] = cupy.asarray(self.host.numpy())
                return cupy.take(array, ready[self._span], axis=0)
        namespace = array.__array_namespace__()
        return namespace.take(array, namespace.asarray(self.host.numpy()[self._span]), axis=0)


def take(dataset: Any, indices: Indices) -> Any:
    """Return a batch: of a data set made of arrays, what its ``take`` cuts at once; else a list of examples."""
    if is_whole(dataset):
        return indices.take(dataset) if _is_array(dataset) else dataset.take(indices)
    return [dataset[index] for index in indices.numbers()]


def is_whole(dataset: Any) -> bool:
    """Return whether batches can be cut at once: an array, or a data set made of arrays."""
    return _is_array(dataset) or getattr(dataset, "whole", False) is True


class TupleDataset:
    """Several data sets of one length side by side; its items are tuples.

    If all are arrays (of any library and device) a batch is a tuple of arrays, cut with one call each.

    Args:
        datasets: arrays, lists, or anything with a length and items.

    Attributes:
        whole: whether all are made of arrays.

    Raises:
        ValueError: none, or different lengths.
        TypeError: one has no length.
    """

    def __init__(self, *datasets: Any) -> None:
        require(bool(datasets), "TupleDataset", "datasets", "at least one", "none")
        self._datasets = datasets
        self._length = _common_length("TupleDataset", dict(enumerate(datasets)))
        self.whole = all(is_whole(dataset) for dataset in datasets)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        """Return an example, a tuple; for a slice or an array of positions, a batch."""
        return _item(self, index, lambda position: tuple(dataset[position] for dataset in self._datasets))

    def take(self, indices: Indices) -> tuple[Any, ...]:
        """Return a batch cut at once."""
        return tuple(take(dataset, indices) for dataset in self._datasets)

    def __repr__(self) -> str:
        return f"TupleDataset({len(self._datasets)} parts of {self._length} items)"


class DictDataset:
    """Several data sets of one length by name; its items are dictionaries. Otherwise as :class:`TupleDataset`."""

    def __init__(self, **datasets: Any) -> None:
        require(bool(datasets), "DictDataset", "datasets", "at least one", "none")
        self._datasets = datasets
        self._length = _common_length("DictDataset", datasets)
        self.whole = all(is_whole(dataset) for dataset in datasets.values())

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        """Return an example, a dictionary; for a slice or an array of positions, a batch."""
        return _item(
            self, index, lambda position: {name: dataset[position] for name, dataset in self._datasets.items()}
        )

    def take(self, indices: Indices) -> dict[str, Any]:
        """Return a batch cut at once."""
        return {name: take(dataset, indices) for name, dataset in self._datasets.items()}

    def __repr__(self) -> str:
        return f"DictDataset({', '.join(self._datasets)} of {self._length} items)"


class TransformDataset:
    """A data set whose items pass through a function when they are asked for.

    Args:
        dataset: the items.
        transform: ``transform(example)``. One that draws random numbers should draw them from
            :func:`toolkit.autograd.randomness.source`: then a resumed run and any number of processes give the same.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any]) -> None:
        if not callable(transform):
            raise argument_error("TransformDataset", "transform", "a function", repr(transform), kind=TypeError)
        self._dataset, self._transform = dataset, transform
        _length_of("TransformDataset", "dataset", dataset)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        """Return a transformed example; for a slice or an array of positions, a list of them."""
        return _item(self, index, lambda position: self._transform(self._dataset[position]))


class SubDataset:
    """The items of another data set from ``start`` to ``stop``, in their order or in ``order``.

    Args:
        dataset: the items.
        start: the first position.
        stop: the position after the last.
        order: a permutation of the positions of ``dataset``, which ``start`` and ``stop`` then count in.

    Raises:
        ValueError: not ``0 <= start <= stop <= len(dataset)``, or ``order`` of another length.
    """

    def __init__(self, dataset: Any, start: int, stop: int, order: Any = None) -> None:
        n_items = _length_of("SubDataset", "dataset", dataset)
        bounds = f"0 <= start <= stop <= {n_items}"
        require(0 <= start <= stop <= n_items, "SubDataset", "start, stop", bounds, f"{start}, {stop}")
        self._dataset = dataset
        if order is None:
            self._positions = torch.arange(start, stop)
        else:
            order = torch.as_tensor(np.asarray(order), dtype=torch.int64)
            require(len(order) == n_items, "SubDataset", "order", f"{n_items} positions", len(order))
            self._positions = order[start:stop]
        self.whole = is_whole(dataset)

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: Any) -> Any:
        """Return an example; for a slice or an array of positions, a batch."""
        return _item(self, index, lambda position: self._dataset[int(self._positions[position])])

    def take(self, indices: Indices) -> Any:
        """Return a batch cut at once."""
        return take(self._dataset, Indices(self._positions[indices.tensor()]))


class ConcatenatedDataset:
    """Data sets one after another, as one."""

    def __init__(self, *datasets: Any) -> None:
        require(bool(datasets), "ConcatenatedDataset", "datasets", "at least one", "none")
        self._datasets = datasets
        lengths = [_length_of("ConcatenatedDataset", f"datasets[{i}]", dataset) for i, dataset in enumerate(datasets)]
        self._ends = np.cumsum(lengths)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: Any) -> Any:
        """Return an example; for a slice or an array of positions, a list of them."""
        return _item(self, index, self._example)

    def _example(self, position: int) -> Any:
        which = int(np.searchsorted(self._ends, position, side="right"))
        return self._datasets[which][position - int(self._ends[which - 1]) if which else position]


def split_dataset(dataset: Any, split_at: int, order: Any = None) -> tuple[SubDataset, SubDataset]:
    """Split a data set in two: the first ``split_at`` items and the rest, in their order or in ``order``.

    Raises:
        ValueError: not ``0 <= split_at <= len(dataset)``.
    """
    n_items = _length_of("split_dataset", "dataset", dataset)
    if isinstance(split_at, bool) or not isinstance(split_at, (int, np.integer)):
        raise argument_error("split_dataset", "split_at", "an integer", repr(split_at), kind=TypeError)
    require(0 <= split_at <= n_items, "split_dataset", "split_at", f"0 <= split_at <= {n_items}", split_at)
    return SubDataset(dataset, 0, int(split_at), order), SubDataset(dataset, int(split_at), n_items, order)


def split_dataset_random(
    dataset: Any, first_size: int, *, generator: torch.Generator | None = None
) -> tuple[SubDataset, SubDataset]:
    """Split a data set in two at random; ``first_size`` items go to the first part.

    Args:
        dataset: the items.
        first_size: length of the first part.
        generator: draws the order; default: :func:`toolkit.autograd.randomness.source`.
    """
    n_items = _length_of("split_dataset_random", "dataset", dataset)
    return split_dataset(dataset, first_size, draw_permutation(n_items, generator=source(generator), device="cpu"))


def cross_validation_datasets(
    dataset: Any, n_folds: int, *, generator: torch.Generator | None = None
) -> list[tuple[SubDataset, SubDataset]]:
    """Split a data set at random for cross-validation.

    Args:
        dataset: the items.
        n_folds: number of folds, whose sizes differ by one item at most.
        generator: draws the order; default: :func:`toolkit.autograd.randomness.source`.

    Returns:
        For each fold the rest of the items, to train on, and the fold, to validate with.
    """
    n_items = _length_of("cross_validation_datasets", "dataset", dataset)
    if isinstance(n_folds, bool) or not isinstance(n_folds, int):
        raise argument_error("cross_validation_datasets", "n_folds", "an integer", repr(n_folds), kind=TypeError)
    require(2 <= n_folds <= n_items, "cross_validation_datasets", "n_folds", f"2 <= n_folds <= {n_items}", n_folds)
    order = draw_permutation(n_items, generator=source(generator), device="cpu")
    folds = []
    for fold in range(n_folds):
        start, stop = n_items * fold // n_folds, n_items * (fold + 1) // n_folds
        turned = torch.cat([order[:start], order[stop:], order[start:stop]])
        folds.append(split_dataset(dataset, n_items - (stop - start), turned))
    return folds


def _item(dataset: Any, index: Any, example: Callable[[int], Any]) -> Any:
    n_items = len(dataset)
    if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
        position = int(index)
        if not -n_items <= position < n_items:
            raise IndexError(f"{type(dataset).__name__}: index {position} of {n_items} items")
        return example(position % n_items)
    if isinstance(index, slice):
        positions = torch.arange(n_items)[index] if (index.step or 1) > 0 else torch.tensor(range(n_items)[index])
    else:
        try:
            positions = torch.as_tensor(np.asarray(index))
        except (TypeError, ValueError):
            positions = torch.zeros(0, dtype=torch.bool)
        if positions.dtype == torch.bool or positions.is_floating_point() or positions.ndim > 1:
            expected = "an integer, a slice or several integers"
            raise argument_error(type(dataset).__name__, "index", expected, repr(index), kind=TypeError)
        if positions.ndim == 0:
            return _item(dataset, int(positions), example)
        positions = positions.to(torch.int64)
        if len(positions) and not (-n_items <= int(positions.min()) and int(positions.max()) < n_items):
            raise IndexError(f"{type(dataset).__name__}: an index beyond {n_items} items")
        positions = positions % n_items if n_items else positions
    return take(dataset, Indices(positions.to(torch.int64)))


def _is_array(dataset: Any) -> bool:
    kind = type(dataset)
    if isinstance(dataset, (np.ndarray, Tensor)) or kind.__module__.startswith("cupy"):
        return dataset.ndim > 0
    return hasattr(kind, "__array_namespace__") and dataset.ndim > 0


def _length_of(operation: str, argument: str, dataset: Any) -> int:
    try:
        if hasattr(dataset, "ndim") and dataset.ndim == 0:
            raise TypeError
        return dataset.shape[0] if _is_array(dataset) else len(dataset)
    except TypeError:
        raise argument_error(
            operation, argument, "an array, or something with a length and items", repr(dataset), kind=TypeError
        ) from None


def _common_length(operation: str, datasets: Mapping[Any, Any]) -> int:
    lengths = {name: _length_of(operation, f"datasets[{name!r}]", dataset) for name, dataset in datasets.items()}
    require(len(set(lengths.values())) == 1, operation, "datasets", "one length", list(lengths.values()))
    return next(iter(lengths.values()))

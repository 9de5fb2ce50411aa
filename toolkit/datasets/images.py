"""``load``: one call from the name of a data set to its images, labels and where they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from toolkit.core.errors import require
from toolkit.datasets import samples
from toolkit.datasets.registry import Entry, find


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Images with their labels.

    Attributes:
        images: grey (images, height, width) or colour (images, 3, height, width), 0 to ``pixel_max``. Yours to change:
            nothing else refers to this memory.
        labels: class of each image, 0, 1, …
        pixel_max: the pixel value that means full intensity.
    """

    images: UInt8[Tensor, "images *size"]
    labels: Int64[Tensor, "images"]  # noqa: F821
    pixel_max: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Sequence[int] | Tensor) -> "Split":
        """Return the images at ``index`` (a slice, a list, or an index or mask tensor) as a split with its own memory."""
        if isinstance(index, slice):
            return Split(self.images[index].clone(), self.labels[index].clone(), self.pixel_max)
        where = torch.as_tensor(index)
        require(where.ndim == 1, "Split", "index", "a slice, or one dimension of indices or of a mask", tuple(where.shape))
        return Split(self.images[where], self.labels[where], self.pixel_max)

    def as_float(
        self, dtype: torch.dtype = torch.float32, *, device: torch.device | str | None = None, flat: bool = False
    ) -> Float[Tensor, "images *size"]:
        """Return the images as numbers in [0, 1].

        Args:
            dtype: a floating-point type.
            device: where to put them; default: where ``images`` are.
            flat: one row of pixels an image instead of height and width.

        Returns:
            (images, height, width), (images, 3, height, width), or (images, pixels) when ``flat``.

        Raises:
            ValueError: ``dtype`` is not a floating-point type.
        """
        require(dtype.is_floating_point, "Split.as_float", "dtype", "a floating-point type", dtype)
        scaled = self.images.to(device=device, dtype=dtype) / self.pixel_max
        return scaled.flatten(1) if flat else scaled

    def __repr__(self) -> str:
        return f"Split({len(self):,} images of {'×'.join(map(str, self.images.shape[1:]))})"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A loaded data set and where it came from.

    Attributes:
        name: what ``load`` was called with.
        title: its name in prose.
        variant: ``"subset"`` or ``"full"``.
        train: the training part.
        test: the test part, or for a subset what is held out: see ``description``.
        class_names: what label 0, 1, … means.
        source: kind of place, a colon, and the place: ``"bundled: mnist5k.npz"``.
        sha256: of what was verified, by name: arrays of a bundled file, else files.
        licence: of the data.
        citation: whom to name.
        description: one sentence: which images these are.
    """

    name: str
    title: str
    variant: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    source: str
    sha256: dict[str, str]
    licence: str
    citation: str
    description: str

    @property
    def images(self) -> UInt8[Tensor, "images *size"]:
        """All images: first those of ``train``, then those of ``test`` (a copy)."""
        return torch.cat([self.train.images, self.test.images])

    @property
    def labels(self) -> Int64[Tensor, "images"]:  # noqa: F821
        """All labels in the order of ``images`` (a copy)."""
        return torch.cat([self.train.labels, self.test.labels])

    @property
    def n_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def caption(self) -> str:
        """One sentence for under a figure; the same on every machine that has the same data."""
        origin = self.source.partition(":")[0]
        return f"{self.title} ({self.variant}, {origin}): {self.description}. Licence: {self.licence}."

    def __repr__(self) -> str:
        size = "×".join(map(str, self.train.images.shape[1:]))
        origin = self.source.partition(":")[0]
        return f"Dataset({self.name}, {self.variant}, {origin}: {len(self.train):,} train + {len(self.test):,} test of {size})"

    def to_dict(self) -> dict:
        """Return everything but the pixels and labels, as plain types."""
        return {
            "name": self.name,
            "title": self.title,
            "variant": self.variant,
            "n_train": len(self.train),
            "n_test": len(self.test),
            "image_shape": list(self.train.images.shape[1:]),
            "class_names": list(self.class_names),
            "source": self.source,
            "sha256": dict(self.sha256),
            "licence": self.licence,
            "citation": self.citation,
            "description": self.description,
        }


def _split(images: np.ndarray, labels: np.ndarray, pixel_max: int) -> Split:
    # A copy each: torch must own writable memory, and the caller must not share it with anyone.
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)), pixel_max)


def _rank_in_class(labels: np.ndarray) -> np.ndarray:
    """Return how many earlier images have the same label, for each image."""
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        rank[where] = np.arange(len(where))
    return rank


def _held_out(labels: np.ndarray, n_per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices to train on and those held out: the last ``n_per_class`` of each class."""
    rank = _rank_in_class(labels)
    last = np.bincount(labels)[labels] - n_per_class
    order = np.arange(len(labels))
    if np.all(np.diff(labels.astype(np.int64)) >= 0):
        # A file sorted by class would make every prefix one-sided: deal the classes out in turn.
        order = np.lexsort((labels, rank))
    kept = rank[order] < last[order]
    return order[kept], order[~kept]


def _load_subset(entry: Entry, path: Path | None) -> tuple[Split, Split, str, dict[str, str]]:
    assert entry.sample is not None
    file = entry.sample.file
    directory = None if path is None else path.parent if path.name == file else path
    arrays, sums = samples.read_arrays(file, directory)
    source = f"bundled: {file}" if directory is None else f"given path: {directory / file}"
    if entry.sample.held_out is None:
        train = _split(arrays["train_images"], arrays["train_labels"], entry.pixel_max)
        test = _split(arrays["test_images"], arrays["test_labels"], entry.pixel_max)
    else:
        images, labels = arrays["images"], arrays["labels"]
        first, last = _held_out(labels, entry.sample.held_out)
        train = _split(images[first], labels[first], entry.pixel_max)
        test = _split(images[last], labels[last], entry.pixel_max)
    return train, test, source, sums


def load(name: str, variant: str = "subset", *, path: str | Path | None = None) -> Dataset:
    """Load a data set.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"digits"``, …
        variant: ``"subset"``, a few thousand real images that come with the package, or ``"full"``.
        path: a folder or file to read instead of looking anywhere else.

    Returns:
        Images, labels and provenance. Every call returns memory of its own.

    Raises:
        ValueError: the name or the variant is unknown.
    """
    entry = find("load", name)
    require(variant in ("subset", "full"), "load", "variant", "'subset' or 'full'", repr(variant))
    train, test, source, sums = _load_subset(entry, None if path is None else Path(path))
    assert entry.sample is not None
    return Dataset(
        name=name,
        title=entry.title,
        variant=variant,
        train=train,
        test=test,
        class_names=entry.class_names,
        source=source,
        sha256=sums,
        licence=entry.licence,
        citation=entry.citation,
        description=entry.sample.description,
    )

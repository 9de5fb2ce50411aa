"""Known members of an archive, read into memory. Nothing is extracted, so no name in it can reach the disk."""

import bz2
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from toolkit.datasets.verification import DamagedFile

_CHUNK = 1 << 20


def read_tar_members(path: Path, sizes: Mapping[str, int], *, most: int) -> dict[str, bytes]:
    """Read members of a ``.tar.gz`` archive, in one pass and no further than needed.

    Args:
        path: the archive.
        sizes: the exact name and the exact size in bytes of each wanted member. Others are skipped, whatever they are.
        most: the most bytes that may be decompressed before all are found.

    Returns:
        The content of each wanted member.

    Raises:
        DamagedFile: a wanted member is missing, comes twice, is no regular file, or has another size; the archive is
            damaged, or holds too much.
        OSError: it cannot be read.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                if member.offset > most:
                    raise DamagedFile(f"{path.name}: more than {most:,} bytes when decompressed")
                if member.name not in sizes:
                    if member.offset_data + member.size > most:
                        raise DamagedFile(f"{path.name}: member {member.name!r} claims {member.size:,} bytes")
                    continue
                if member.name in found:
                    raise DamagedFile(f"{path.name}: member {member.name!r} comes twice")
                if not member.isreg():
                    raise DamagedFile(f"{path.name}: member {member.name!r} is not a regular file")
                if member.size != sizes[member.name]:
                    wanted = f"expected {sizes[member.name]:,}"
                    raise DamagedFile(f"{path.name}: member {member.name!r} has {member.size:,} bytes, {wanted}")
                handle = archive.extractfile(member)
                assert handle is not None
                found[member.name] = handle.read()
                if len(found[member.name]) != member.size:
                    raise DamagedFile(f"{path.name}: member {member.name!r} ends too early")
                if len(found) == len(sizes):
                    return found
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DamagedFile(f"{path.name}: no valid tar.gz archive ({error})") from error
    raise DamagedFile(f"{path.name}: without member " + ", ".join(name for name in sizes if name not in found))


def read_zip_members(path: Path, suffix: str, *, count: int, most_each: int) -> dict[str, bytes]:
    """Read all members of a ``.zip`` archive whose name ends in ``suffix``.

    Args:
        path: the archive.
        suffix: of the wanted names, ``".png"``. Others are skipped.
        count: how many there must be.
        most_each: the most bytes that one may hold when decompressed.

    Returns:
        The content of each by its name, in alphabetical order.

    Raises:
        DamagedFile: there is another number of them, one is too large, encrypted, a link or damaged, or the archive is.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = sorted(
                (member for member in archive.infolist() if member.filename.endswith(suffix)),
                key=lambda member: member.filename,
            )
            if len(wanted) != count or len({member.filename for member in wanted}) != count:
                raise DamagedFile(f"{path.name}: {len(wanted):,} members end in {suffix!r}, expected {count:,}")
            found = {}
            for member in wanted:
                if member.external_attr >> 28 == 0xA:
                    raise DamagedFile(f"{path.name}: member {member.filename!r} is a link")
                with archive.open(member) as handle:
                    found[member.filename] = handle.read(most_each + 1)
                if len(found[member.filename]) > most_each:
                    raise DamagedFile(f"{path.name}: member {member.filename!r} holds more than {most_each:,} bytes")
            return found
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DamagedFile(f"{path.name}: no valid zip archive ({error})") from error


def read_bz2(path: Path, *, most: int) -> bytes:
    """Decompress a ``.bz2`` file that must not grow beyond ``most`` bytes.

    Args:
        path: the file.
        most: the most bytes it may hold.

    Returns:
        The decompressed bytes.

    Raises:
        DamagedFile: it is truncated, no bzip2 file, or too large.
        OSError: it cannot be read.
    """
    raw = path.read_bytes()
    stream = bz2.BZ2Decompressor()
    try:
        data = stream.decompress(raw, most + 1)
    except OSError as error:
        raise DamagedFile(f"{path.name}: no valid bzip2 data ({error})") from error
    if len(data) > most:
        raise DamagedFile(f"{path.name}: more than {most:,} bytes when decompressed")
    if not stream.eof:
        raise DamagedFile(f"{path.name}: the bzip2 data end too early")
    return data

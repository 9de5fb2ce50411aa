"""Is this file the one that was published? Nothing is parsed before the answer is yes."""

import hashlib
import zlib
from pathlib import Path

from toolkit.datasets.registry import SourceFile

_CHUNK = 1 << 20
_GZIP = b"\x1f\x8b"
# A file compressed in another way, or not at all, may be this much larger than its content.
_SLACK = 1 << 20


class DamagedFile(ValueError):
    """A file is not what its name promises: truncated, altered, or something else altogether."""


def looks_like_html(start: bytes) -> bool:
    """Return whether bytes begin as a web page does: a log-in page or an error page in place of data."""
    head = start[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return head.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml"))


def _complaint(file: SourceFile, path: Path, size: int, start: bytes, found: str, wanted: str) -> DamagedFile:
    if size == 0:
        what = "the file is empty"
    elif looks_like_html(start):
        what = "the file is a web page, not data"
    elif file.size is not None and size < file.size:
        what = f"the file has {size:,} of {file.size:,} bytes"
    else:
        what = f"the checksum is {found}"
    return DamagedFile(f"{path.name}: {what}, expected {wanted}")


def require_regular(path: Path) -> None:
    """Raise ``DamagedFile`` for folders, pipes and devices, which would fail late or block for ever."""
    if path.exists() and not path.is_file():
        raise DamagedFile(f"{path.name}: not a regular file")


def verify(file: SourceFile, path: Path) -> str:
    """Compare a file on disk with its recorded checksum.

    Args:
        file: what is recorded.
        path: the copy. Of a ``.gz`` file whose decompressed sha256 is recorded, a copy that was compressed again or not
            at all is accepted.

    Returns:
        The sha256 of what was verified: of the decompressed bytes where these are recorded, else of the file.

    Raises:
        DamagedFile: it differs.
        OSError: it cannot be read.
    """
    if file.content_sha256 is not None:
        read_content(file, path)
        return file.content_sha256
    require_regular(path)
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    size, start = 0, b""
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK):
            start = start or chunk[:512]
            size += len(chunk)
            sha256.update(chunk)
            if file.sha256 is None and file.md5 is not None:
                md5.update(chunk)
    found = sha256.hexdigest()
    if file.sha256 is not None and found != file.sha256:
        raise _complaint(file, path, size, start, f"sha256 {found}", f"sha256 {file.sha256}")
    if file.sha256 is None and file.md5 is not None and md5.hexdigest() != file.md5:
        raise _complaint(file, path, size, start, f"md5 {md5.hexdigest()}", f"md5 {file.md5}")
    if not file.checksum and (size == 0 or looks_like_html(start)):
        raise _complaint(file, path, size, start, f"sha256 {found}", "data")
    return found


def gunzip(raw: bytes, limit: int, name: str) -> bytes:
    """Decompress gzip data that must not grow beyond ``limit`` bytes.

    Args:
        raw: one gzip member.
        limit: the most bytes it may hold.
        name: for the message.

    Returns:
        The decompressed bytes.

    Raises:
        DamagedFile: the data are truncated, no gzip, followed by something else, or hold more than ``limit`` bytes.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        data = stream.decompress(raw, limit + 1)
    except zlib.error as error:
        raise DamagedFile(f"{name}: no valid gzip data ({error})") from error
    if len(data) > limit:
        raise DamagedFile(f"{name}: more than the expected {limit:,} bytes when decompressed")
    if not stream.eof:
        raise DamagedFile(f"{name}: the gzip data end too early")
    if stream.unused_data.strip(b"\0"):
        raise DamagedFile(f"{name}: something follows the gzip data")
    return data


def read_content(file: SourceFile, path: Path) -> bytes:
    """Read a ``.gz`` file, or its decompressed copy, and return its verified content.

    Args:
        file: what is recorded; ``content_size`` must be.
        path: the copy.

    Returns:
        The decompressed bytes, verified by themselves or by the checksum of the compressed file.

    Raises:
        DamagedFile: it differs from what is recorded.
        OSError: it cannot be read.
    """
    assert file.content_size is not None
    require_regular(path)
    most = max(file.content_size, file.size or 0) + _SLACK
    with open(path, "rb") as handle:
        raw = handle.read(most + 1)
    if len(raw) > most:
        raise DamagedFile(f"{path.name}: more than {most:,} bytes")
    if file.content_sha256 is None:
        found = hashlib.sha256(raw).hexdigest()
        if found != file.sha256:
            raise _complaint(file, path, len(raw), raw[:512], f"sha256 {found}", f"sha256 {file.sha256}")
        return gunzip(raw, file.content_size, path.name)
    try:
        content = gunzip(raw, file.content_size, path.name) if raw.startswith(_GZIP) else raw
    except DamagedFile as error:
        raise DamagedFile(f"{error}, expected sha256 {file.content_sha256} of the decompressed bytes") from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.content_sha256:
        wanted = f"sha256 {file.content_sha256} of the decompressed bytes"
        raise _complaint(file, path, len(raw), raw[:512], f"sha256 {found}", wanted)
    return content

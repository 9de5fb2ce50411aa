"""Files that are written whole or not at all, and one clear error where nothing can be written."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal

from toolkit.core.errors import WriteError

try:
    import fcntl
except ImportError:  # not POSIX: leftovers of killed processes then stay
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".partial"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the file system allows",
    errno.EIO: "the disk reports an input/output error",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "no permission to write there",
    errno.EPERM: "no permission to write there",
    errno.ENOTDIR: "a file stands where a folder should be",
    errno.EEXIST: "a file stands where a folder should be",
    errno.EISDIR: "a folder stands where the file should be",
    errno.ENAMETOOLONG: "the name is too long",
}
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    """Open a file that appears under its name only when the ``with`` block ends well.

    The data go to a hidden neighbour, which is flushed, synced and renamed at the end. On any exception,
    ``KeyboardInterrupt`` included, the neighbour is removed and what was there before is untouched.
    What a killed process left behind is removed by the next write of the same file.

    Args:
        path: the file; missing folders are made, a symbolic link is followed.
        mode: ``"wb"`` gives a binary handle, ``"w"`` a UTF-8 text handle with ``\\n`` line ends.

    Yields:
        The open handle.

    Raises:
        WriteError: (an ``OSError``) the folder is read-only, a file stands in its place, the disk is full.
    """
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise OSError(errno.EISDIR, "is a folder")
        if target.is_char_device() or target.is_block_device():
            # Renaming over /dev/null would put a plain file in its place, for every program of the machine.
            raise OSError(errno.EINVAL, "a device stands where the file should be")
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        partial, descriptor = _create(target)
    except OSError as error:
        raise _explain(error, target) from error
    try:
        with _handle(descriptor, mode) as handle:
            yield handle
            _publish(handle, partial, target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _DISK:
            raise _explain(error, target) from error
        raise


def _handle(descriptor: int, mode: str) -> IO[Any]:
    if mode == "w":
        return os.fdopen(descriptor, mode, encoding="utf-8", newline="\n")
    return os.fdopen(descriptor, mode)


def _publish(handle: IO[Any], partial: Path, target: Path) -> None:
    handle.flush()
    os.fsync(handle.fileno())
    if fcntl is None:
        handle.close()
    try:
        os.replace(partial, target)
    except OSError as error:
        raise _explain(error, target) from error
    with suppress(OSError):  # the rename itself is made durable where folders can be synced
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _create(target: Path) -> tuple[Path, int]:
    """Create the neighbour and hold its lock for as long as it is open, so that others know it is alive."""
    while True:
        partial = target.with_name(f"{_prefix(target)}{secrets.token_hex(8)}{_SUFFIX}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with suppress(OSError):
            os.chmod(partial, target.stat().st_mode & 0o777)
        if fcntl is None:
            return partial, descriptor
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return partial, descriptor
        os.close(descriptor)  # another writer took it for a leftover before it was locked


def _remove_leftovers(target: Path) -> None:
    """Remove neighbours whose lock is free: their writer was killed."""
    if fcntl is None:
        return
    for leftover in target.parent.glob(f"{_prefix(target, escape=True)}*{_SUFFIX}"):
        with suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()
            finally:
                os.close(descriptor)


def _prefix(target: Path, escape: bool = False) -> str:
    # Cut in bytes, so that a long name leaves room for the suffix within the usual limit of 255.
    name = target.name.encode()[:190].decode(errors="ignore")
    if escape:
        name = "".join(f"[{character}]" if character in "*?[" else character for character in name)
    return f".{name}."


def _explain(error: OSError, target: Path) -> WriteError:
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    expected = f"{target.parent} to be a folder with room that can be written"
    explained = WriteError(f"cannot write {target.name!r}\n  expected: {expected}\n  actual:   {reason}")
    explained.errno = error.errno  # not the filename: with it, OSError would print itself in its own form
    return explained

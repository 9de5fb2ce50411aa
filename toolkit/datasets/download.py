"""From the recorded addresses of a file to a verified copy in the cache folder, or to the reasons why not."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.core.files import atomic_write
from toolkit.core.progress import progress_bar
from toolkit.datasets.registry import SourceFile
from toolkit.datasets.verification import looks_like_html

PROJECT = "tokui-toolkit"
CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
# The most that a file of unrecorded size may hold.
MOST_BYTES = 1 << 30
_CHUNK = 1 << 16


def cache_directory() -> Path:
    """Return the folder that downloads go to: ``TOOLKIT_DATA_DIR``, else the system's folder for caches.

    Returns:
        The absolute path; nothing is created.
    """
    chosen = os.environ.get("TOOLKIT_DATA_DIR", "")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    import pooch

    return Path(pooch.os_cache(PROJECT))


def offline() -> bool:
    """Return whether ``TOOLKIT_OFFLINE`` forbids every download: set to anything but nothing and ``0``."""
    return os.environ.get("TOOLKIT_OFFLINE", "") not in ("", "0")


class DownloadFailed(RuntimeError):
    """No address gave the file.

    Attributes:
        reasons: each address with what went wrong there.
    """

    def __init__(self, file: str, reasons: Sequence[tuple[str, str]]):
        self.file = file
        self.reasons = tuple(reasons)
        super().__init__(f"{file} could not be downloaded\n" + "\n".join(f"  {place}: {why}" for place, why in reasons))

    def __reduce__(self):
        return type(self), (self.file, self.reasons)


class _WrongBody(ValueError):
    """What the server sends cannot be the file."""


class _Guard:
    """A file that refuses a web page, refuses to grow beyond a limit, hashes what it gets and moves a progress bar."""

    def __init__(self, write: Callable[[bytes], int], file: SourceFile, bar):
        self._write, self._bar = write, bar
        self._limit = file.size or MOST_BYTES
        self._size = 0
        self._algorithm, _, self._wanted = file.checksum.partition(":")
        self._hash = hashlib.new(self._algorithm or "sha256", usedforsecurity=False)

    def write(self, chunk: bytes) -> int:
        if self._size == 0 and looks_like_html(chunk):
            raise _WrongBody("the server sent a web page instead of the file")
        self._size += len(chunk)
        if self._size > self._limit:
            raise _WrongBody(f"the server sent more than the expected {self._limit:,} bytes")
        self._hash.update(chunk)
        self._bar.update(len(chunk))
        return self._write(chunk)

    def flush(self) -> None:
        """Leave flushing to the end: pooch asks for it after every chunk."""

    def check(self) -> None:
        """Raise unless the whole body has the recorded checksum."""
        found = self._hash.hexdigest()
        if self._wanted and found != self._wanted:
            sent = f"the server sent {self._size:,} bytes of {self._algorithm} {found}"
            raise _WrongBody(f"{sent}, expected {self._algorithm} {self._wanted}")
        if self._size == 0:
            raise _WrongBody("the server sent nothing")


def _stream(file: SourceFile, address: str, target: Path) -> None:
    import pooch

    # Without this header some servers compress, and requests decompresses, a file that is compressed already.
    http = pooch.HTTPDownloader(
        chunk_size=_CHUNK, timeout=(CONNECT_SECONDS, READ_SECONDS), headers={"Accept-Encoding": "identity"}
    )
    with atomic_write(target) as handle, progress_bar(file.size, file.name, unit="B", unit_scale=True) as bar:
        guard = _Guard(handle.write, file, bar)
        http(address, guard, None)
        guard.check()


def _plain(error: BaseException) -> str:
    """Say in a few words why a request failed; the raw texts of the network libraries are for their authors."""
    import requests

    if isinstance(error, requests.exceptions.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason or ''}".rstrip()
    for kind, words in (
        (requests.exceptions.SSLError, "the secure connection failed"),
        (requests.exceptions.ProxyError, "the proxy refused"),
        (requests.exceptions.ConnectTimeout, f"no answer within {CONNECT_SECONDS:g} s"),
        (requests.exceptions.ReadTimeout, f"nothing came for {READ_SECONDS:g} s"),
        (requests.exceptions.TooManyRedirects, "the server redirects in a circle"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke off before the end"),
        (requests.exceptions.ContentDecodingError, "the answer is damaged"),
    ):
        if isinstance(error, kind):
            return words
    if isinstance(error, requests.exceptions.ConnectionError):
        return (
            f"nothing came for {READ_SECONDS:g} s"
            if "timed out" in str(error)
            else "no connection (is there a network?)"
        )
    if isinstance(error, _WrongBody):
        return str(error)
    return " ".join(str(error).split()) or type(error).__name__


def download(file: SourceFile, folder: Path, *, mirrors: Sequence[str] = ()) -> str:
    """Download a file into a folder; it appears there only when its checksum fits.

    The data go to a hidden neighbour, which is removed on any failure, an interrupt included; what was there before
    stays until then. Several processes may do the same at once: each one's file is whole, and the last stays.

    Args:
        file: what to download; its checksum decides.
        folder: where to put it; created if missing.
        mirrors: addresses of folders that hold the same file, tried before the recorded ones.

    Returns:
        The address that gave it.

    Raises:
        DownloadFailed: none did, the folder cannot be written, or ``TOOLKIT_OFFLINE`` is set.
    """
    if isinstance(mirrors, str):
        mirrors = (mirrors,)
    addresses = [f"{mirror.rstrip('/')}/{file.name}" for mirror in mirrors] + list(file.addresses)
    if offline():
        raise DownloadFailed(file.name, [(address, "not tried: TOOLKIT_OFFLINE is set") for address in addresses])
    from requests.exceptions import RequestException

    reasons: list[tuple[str, str]] = []
    for address in addresses:
        if not address.lower().startswith("https://") and not file.checksum:
            reasons.append((address, "refused: neither https nor a recorded checksum protects this file"))
            continue
        try:
            _stream(file, address, folder / file.name)
        except (RequestException, ValueError) as error:
            reasons.append((address, _plain(error)))
        except OSError as error:
            # The folder is at fault, not the address: another address would not help.
            reasons.append((str(folder), f"cannot be written: {str(error).rpartition('actual:')[2].strip() or error}"))
            break
        else:
            return address
    raise DownloadFailed(file.name, reasons)

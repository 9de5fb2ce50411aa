"""NPZ archives: one ``.npy`` file for each array, without pickle."""

import io
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from toolkit.autograd.serializers.content import NOTES, Content, file_error, pack, unpack
from toolkit.autograd.serializers.restoring import restore
from toolkit.autograd.states import LoadReport
from toolkit.core.errors import CheckpointError
from toolkit.core.files import atomic_write

__all__ = ["load_npz", "save_npz"]

_NOTES_FILE = f"{NOTES}.npy"
# Files written before the notes were an array.
_FORMER_NOTES_FILE = f"{NOTES}.json"
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# Deflate makes nothing smaller than by this factor: what claims more is forged.
_LARGEST_RATIO = 1040


def save_npz(path: str | os.PathLike[str], obj: Any, compression: bool = False) -> None:
    """Write a state to an NPZ archive, which ``numpy.load`` can open without ``allow_pickle``.

    bfloat16 and other types that NumPy lacks are stored by their bits, with a note of the type. Equal states give
    equal files, byte by byte.

    What is no array (numbers, texts, ``None``, which arrays were torch's) is kept as JSON, in UTF-8, in the array
    ``__toolkit__`` of type uint8: every entry of the archive is an array.

    Args:
        path: the file, under exactly this name: ``"mm"`` writes ``mm``, where ``numpy.savez`` would add ``.npz``.
        obj: anything with ``state_dict()``, or a state: nested dicts of arrays (NumPy, torch, CuPy, array API),
            numbers, texts, ``None``, and lists of these. Tuples come back as lists.
        compression: compress it.

    Raises:
        TypeError: the state holds something else.
        ValueError: a key is empty or holds a slash.
        WriteError: the file cannot be written; what was there before is untouched.
    """
    content = pack("save_npz", obj)
    with atomic_write(path) as handle:
        _write(handle, content, zipfile.ZIP_DEFLATED if compression else zipfile.ZIP_STORED)


def load_npz(path: str | os.PathLike[str], obj: Any = None, *, strict: bool = True) -> LoadReport:
    """Put the state of an NPZ archive back into an object, in its own library and on its own device.

    Args:
        path: a file of :func:`save_npz`, of ``numpy.savez`` or of Chainer's ``save_npz``.
        obj: anything with ``load_state_dict()``, or nested dicts whose leaves are replaced. ``None`` reads only.
        strict: everything must fit; if not, one error lists all that does not, and nothing is changed. Otherwise what
            fits is loaded.

    Returns:
        What was loaded and what was not; with no ``obj`` the nested state itself is in ``.state``.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is truncated, foreign, holds pickled objects, or does not fit.
    """
    path = Path(path)
    return restore(path, unpack(path, *_read(path)), obj, strict)


def _write(handle: IO[bytes], content: Content, method: int) -> None:
    bits: dict[str, str] = {}
    with zipfile.ZipFile(handle, "w") as archive:
        for path, array in content.arrays.items():
            if isinstance(array, torch.Tensor):
                array = _as_numpy(array, path, bits)
            with archive.open(_entry(f"{path}.npy", method), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        notes = np.frombuffer(content.notes(bits).encode(), dtype=np.uint8)
        with archive.open(_entry(_NOTES_FILE, method), "w", force_zip64=True) as member:
            np.lib.format.write_array(member, notes, allow_pickle=False)


def _entry(name: str, method: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)  # of 1980, so that equal states give equal files
    entry.compress_type = method
    entry.external_attr = 0o644 << 16
    return entry


def _as_numpy(tensor: torch.Tensor, path: str, bits: dict[str, str]) -> np.ndarray:
    try:
        return tensor.numpy()
    except TypeError:
        bits[path] = str(tensor.dtype).removeprefix("torch.")
        whole = tensor.view(_BITS[tensor.dtype.itemsize]).numpy()
        return whole.view(f"u{tensor.dtype.itemsize}")


def _read(path: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Return the arrays by path, and the notes if there are any."""
    try:
        with open(path, "rb") as handle, zipfile.ZipFile(handle) as archive:
            entries = archive.infolist()
            _check_entries(path, entries, os.fstat(handle.fileno()).st_size)
            notes = None
            arrays = {}
            for entry in entries:
                data = archive.read(entry)  # compares the checksum
                if entry.filename == _FORMER_NOTES_FILE:
                    notes = data.decode()
                elif entry.filename == _NOTES_FILE:
                    notes = _text(_array(data))
                else:
                    arrays[entry.filename.removesuffix(".npy")] = _array(data)
    except (FileNotFoundError, CheckpointError):
        raise
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise file_error(path, "a file that can be read", error.strerror or str(error)) from error
        raise file_error(
            path, "a whole NPZ archive of arrays of numbers", f"{error or type(error).__name__}"
        ) from error
    except MemoryError as error:
        raise file_error(path, "arrays that fit into memory", "larger ones") from error
    return arrays, notes


def _check_entries(path: Path, entries: list[zipfile.ZipInfo], length: int) -> None:
    """Refuse what is no archive of arrays, or claims more than it can hold, before anything is unpacked."""
    names = [entry.filename for entry in entries]
    foreign = [name for name in names if name != _FORMER_NOTES_FILE and (not name.endswith(".npy") or name == ".npy")]
    if foreign or len(set(names)) < len(names) or {_NOTES_FILE, _FORMER_NOTES_FILE} <= set(names):
        actual = f"{foreign[0]!r}" if foreign else "two of one name"
        raise file_error(path, "an archive of .npy files", actual)
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise file_error(path, "arrays stored or deflated", f"{entry.filename!r} compressed in another way")
        if entry.file_size > _LARGEST_RATIO * (entry.compress_size + 1):
            raise file_error(path, "sizes that are possible", f"{entry.file_size} bytes for {entry.filename!r}")
    if sum(entry.compress_size for entry in entries) > length:
        raise file_error(path, "arrays side by side", "arrays on top of each other")
    total, memory = sum(entry.file_size for entry in entries), _memory()
    if total > memory:
        raise file_error(path, f"arrays that fit into memory ({memory} bytes)", f"{total} bytes")


def _memory() -> float:
    """Return the bytes of memory of this machine, as far as it says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return math.inf


def _text(array: np.ndarray) -> str:
    if array.dtype != np.uint8:
        raise ValueError(f"notes of {array.dtype}")
    return array.tobytes().decode()


def _array(data: bytes) -> np.ndarray:
    """Return the array of an ``.npy`` file of numbers, or of one text."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"an .npy file of version {version}")
    if dtype.kind == "O":
        raise ValueError("pickled objects, which are not read")
    if dtype.kind not in "biufc" and not (dtype.kind == "U" and shape == ()):
        raise ValueError(f"an array of {dtype}")
    start = stream.tell()
    count = math.prod(shape)
    if count * dtype.itemsize != len(data) - start:
        raise ValueError(f"{len(data) - start} bytes for an array of shape {shape}, {dtype}")
    if count == 0:
        return np.zeros(shape, dtype.newbyteorder("="))
    array = np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")

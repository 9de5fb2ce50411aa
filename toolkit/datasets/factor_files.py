"""The original files of dSprites and 3dshapes: verified, parsed without unpickling, and never held as they are.

Unpacked they take 3 and 6 GB. So dSprites' archive is kept as one bit a pixel, and HDF5 files are read when images are
asked for.
"""

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets.catalogue import find
from toolkit.datasets.factors import FactorGrid
from toolkit.datasets.lookup import cache_folder, obtain
from toolkit.datasets.stored import Rows, StoredImages, complete_grid
from toolkit.datasets.verification import DamagedFile, looks_like_html, require_regular, verify

_IMAGES_AT_ONCE = 4096


def load_dsprites(
    path: str | os.PathLike[str] | None, mirrors: Sequence[str], names: tuple[str, ...], circular: frozenset[str]
) -> StoredImages:
    """Load the real dSprites; see ``sprites.load``."""
    name = "dsprites_hdf5" if _is_hdf5(path) else "dsprites"
    parse = _dsprites_hdf5 if name == "dsprites_hdf5" else _dsprites_npz
    return _load(name, "dSprites", path, mirrors, lambda file: parse(file, names), circular, pixel_max=1)


def load_3dshapes(
    path: str | os.PathLike[str] | None, mirrors: Sequence[str], names: tuple[str, ...], circular: frozenset[str]
) -> StoredImages:
    """Load the real 3dshapes; see ``shapes3d.load``."""
    return _load("3dshapes", "3dshapes", path, mirrors, lambda file: _3dshapes(file, names), circular, pixel_max=255)


Parsed = tuple[FactorGrid, np.ndarray | None, tuple[int, ...], Callable[[Rows], np.ndarray]]


def _load(
    name: str,
    title: str,
    path: str | os.PathLike[str] | None,
    mirrors: Sequence[str],
    parse: Callable[[Path], Parsed],
    circular: frozenset[str],
    pixel_max: int,
) -> StoredImages:
    entry = find("load", name)
    (file,) = entry.files

    def read(paths: dict[str, Path]) -> Parsed:
        found = paths[file.name].absolute()  # it may be read again after a change of folder
        # A file that the caller names may be a copy in other bytes, or of a part; its content is checked all the same.
        if path is None:
            verify(file, found)
        else:
            require_regular(found)
        return parse(found)

    parsed, source = obtain(entry, entry.files, read, variant=file.name, path=path, mirrors=mirrors)
    grid, row_of, shape, rows = parsed
    grid = FactorGrid(grid.names, grid.values, circular)
    return StoredImages(grid, title, source, entry.licence, shape, pixel_max, row_of, rows)


def _is_hdf5(path: str | os.PathLike[str] | None) -> bool:
    """Return which of the two files of dSprites is meant: by its ending, or by what lies in the folder."""
    given = None if path is None else Path(path).expanduser()
    if given is not None and not given.is_dir():
        return given.suffix in (".h5", ".hdf5")
    files = {name: find("load", name).files[0].name for name in ("dsprites", "dsprites_hdf5")}
    there = {
        name: ((cache_folder(find("load", name)) if given is None else given) / file).exists()
        for name, file in files.items()
    }
    return there["dsprites_hdf5"] and not there["dsprites"]


def _dsprites_npz(path: Path, names: tuple[str, ...]) -> Parsed:
    """Read the NumPy archive; its member "metadata" is a pickle and is never touched."""
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as start:
            what = "a web page, not data" if looks_like_html(start.read(512)) else "no archive, or a truncated one"
        raise DamagedFile(f"{path.name}: {what}")
    try:
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as arrays:
            _require_keys(path, arrays.files, ("imgs", "latents_values", "latents_classes"))
            grid, row_of = _dsprites_grid(path, arrays["latents_values"], arrays["latents_classes"], names)
            with archive.open("imgs.npy") as stream:
                shape, bits = _pack(path, stream, len(grid))
    except (DamagedFile, OSError):
        raise
    except Exception as error:  # damage makes zipfile and NumPy raise anything from zlib.error to TokenError
        raise DamagedFile(f"{path.name}: damaged archive ({error})") from error
    return grid, row_of, shape, partial(_unpack, bits, shape)


def _dsprites_hdf5(path: Path, names: tuple[str, ...]) -> Parsed:
    with _open_hdf5(path) as file:
        images = _hdf5_arrays(path, file, "imgs", "latents/values", "latents/classes")
        grid, row_of = _dsprites_grid(path, file["latents/values"][()], file["latents/classes"][()], names)
        shape = _require_images(path, images.shape, images.dtype, len(grid), 2)
    return grid, row_of, shape, partial(_read_hdf5, path, "imgs")


def _3dshapes(path: Path, names: tuple[str, ...]) -> Parsed:
    with _open_hdf5(path) as file:
        images = _hdf5_arrays(path, file, "images", "labels")
        grid, row_of = _labelled_grid(path, file["labels"][()], names)
        shape = _require_images(path, images.shape, images.dtype, len(grid), 3)
    return grid, row_of, shape, partial(_read_hdf5, path, "images")


def _dsprites_grid(
    path: Path, values: np.ndarray, classes: np.ndarray, names: tuple[str, ...]
) -> tuple[FactorGrid, np.ndarray | None]:
    """Return the grid without the first factor, colour, which has one value."""
    if values.ndim != 2 or values.shape[1] != len(names) + 1 or values.shape != classes.shape:
        expected = f"(images, {len(names) + 1}) twice"
        raise DamagedFile(f"{path.name}: latents of shapes {values.shape} and {classes.shape}, expected {expected}")
    if len(values) and len(np.unique(values[:, 0])) > 1:
        raise DamagedFile(f"{path.name}: several colours, expected one")
    grid, row_of = _labelled_grid(path, values[:, 1:], names)
    order = np.arange(len(grid)) if row_of is None else np.argsort(row_of)
    if not np.array_equal(np.stack(np.unravel_index(order, grid.sizes), 1), classes[:, 1:]):
        raise DamagedFile(f"{path.name}: the classes do not number the values in ascending order")
    return grid, row_of


def _labelled_grid(path: Path, labels: np.ndarray, names: tuple[str, ...]) -> tuple[FactorGrid, np.ndarray | None]:
    good = labels.ndim == 2 and labels.shape[1] == len(names) and len(labels) > 0 and labels.dtype.kind in "iuf"
    if not good or not np.isfinite(labels).all():
        found = f"{labels.dtype} {labels.shape}"
        raise DamagedFile(f"{path.name}: factors are {found}, expected finite numbers (images, {len(names)})")
    try:
        return complete_grid(labels, names)
    except DamagedFile as error:
        raise DamagedFile(f"{path.name}: {error}") from error


def _require_keys(path: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [key for key in wanted if key not in found]
    if missing:
        raise DamagedFile(f"{path.name}: without {', '.join(missing)}; it holds {', '.join(found) or 'nothing'}")


def _require_images(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, n_images: int, n_dimensions: int
) -> tuple[int, ...]:
    good = dtype == np.uint8 and len(shape) == n_dimensions + 1 and shape[0] == n_images
    if not good or (n_dimensions == 3 and shape[3] != 3):
        kind = "height, width" if n_dimensions == 2 else "height, width, 3"
        raise DamagedFile(f"{path.name}: images are {dtype} {shape}, expected uint8 ({n_images}, {kind})")
    return tuple(int(size) for size in shape[1:])


def _pack(path: Path, stream: Any, n_images: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Read the images some at a time and keep one bit a pixel."""
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise DamagedFile(f"{path.name}: images in version {version} of the npy format, expected 1.0 or 2.0")
    stored, is_fortran, dtype = read_header(stream)
    shape = _require_images(path, stored, dtype, n_images, 2)
    if is_fortran:
        raise DamagedFile(f"{path.name}: images in column order, expected row order")
    pixels = shape[0] * shape[1]
    bits = np.empty((n_images, -(-pixels // 8)), np.uint8)
    for start in range(0, n_images, _IMAGES_AT_ONCE):
        wanted = min(_IMAGES_AT_ONCE, n_images - start)
        some = np.frombuffer(stream.read(wanted * pixels), np.uint8)
        if len(some) < wanted * pixels:
            raise DamagedFile(f"{path.name}: the images break off")
        if some.size and some.max() > 1:
            raise DamagedFile(f"{path.name}: pixel value {some.max()}, expected 0 or 1")
        bits[start : start + wanted] = np.packbits(some.reshape(wanted, pixels), axis=1)
    # Reading to the end makes the archive compare its checksum.
    if stream.read(1):
        raise DamagedFile(f"{path.name}: more bytes than images")
    return shape, bits


def _unpack(bits: np.ndarray, shape: tuple[int, ...], rows: Rows) -> np.ndarray:
    return np.unpackbits(bits[rows], axis=1, count=shape[0] * shape[1]).reshape(len(rows), *shape)


@contextmanager
def _open_hdf5(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        message = f"{path.name} is an HDF5 file; reading it needs the package h5py: pip install h5py"
        raise ImportError(message) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedFile(f"{path.name}: cannot be read as HDF5 ({error})") from error


def _hdf5_arrays(path: Path, file: Any, *keys: str) -> Any:
    """Return the first array after all were found to be arrays."""
    arrays = {key: file.get(key) for key in keys}
    _require_keys(path, [key for key, array in arrays.items() if hasattr(array, "shape")], keys)
    for key, array in arrays.items():
        # Such a file would show what it has no right to: any file of this machine.
        if array.external or array.is_virtual or array.file.filename != file.filename:
            raise DamagedFile(f"{path.name}: {key} lies in another file")
    return arrays[keys[0]]


def _read_hdf5(path: Path, key: str, rows: Rows) -> np.ndarray:
    with _open_hdf5(path) as file:
        first, last = int(rows[0]), int(rows[-1]) + 1
        # A list of rows is slow to read; what lies close together is read through.
        if last - first <= 4 * len(rows):
            return file[key][first:last][rows - first]
        return file[key][rows]

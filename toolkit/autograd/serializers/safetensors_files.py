"""Files of the safetensors format, through the optional ``safetensors`` package."""

import os
from pathlib import Path
from typing import Any

import torch

from toolkit.autograd.serializers.content import NOTES, Content, file_error, pack, unpack
from toolkit.autograd.serializers.restoring import restore
from toolkit.autograd.states import LoadReport
from toolkit.core.errors import argument_error
from toolkit.core.files import atomic_write

__all__ = ["load_safetensors", "save_safetensors"]


def save_safetensors(path: str | os.PathLike[str], obj: Any) -> None:
    """Write a state to a safetensors file; what is not an array goes to the file's metadata.

    Args:
        path: the file, under exactly this name.
        obj: as for :func:`~toolkit.autograd.serializers.save_npz`.

    Raises:
        ImportError: the ``safetensors`` package is not installed.
        TypeError: the state holds something that cannot be stored, or an array of a type that the format lacks.
        ValueError: a key is empty or holds a slash.
        WriteError: the file cannot be written; what was there before is untouched.
    """
    _package("save_safetensors")
    content = pack("save_safetensors", obj)
    data = _encoded(content)
    with atomic_write(path) as handle:
        handle.write(data)


def load_safetensors(path: str | os.PathLike[str], obj: Any = None, *, strict: bool = True) -> LoadReport:
    """Put the state of a safetensors file back into an object, in its own library and on its own device.

    The format has no checksum: a number that was damaged on the disk is not noticed, unlike in an npz.

    Args:
        path: a file of :func:`save_safetensors` or of another program.
        obj: as for :func:`~toolkit.autograd.serializers.load_npz`.
        strict: as there.

    Returns:
        What was loaded and what was not; with no ``obj`` the nested state itself is in ``.state``.

    Raises:
        ImportError: the ``safetensors`` package is not installed.
        FileNotFoundError: no such file.
        CheckpointError: the file is truncated, foreign, or does not fit.
    """
    _package("load_safetensors")
    path = Path(path)
    return restore(path, unpack(path, *_read(path)), obj, strict)


def _package(operation: str) -> None:
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{operation}: the safetensors package is not installed\n"
            "  expected: pip install 'tokui-toolkit[safetensors]'\n  actual:   no module safetensors"
        ) from error


def _encoded(content: Content) -> bytes:
    from safetensors.torch import save

    tensors, seen = {}, set()
    for path, array in content.arrays.items():
        try:
            tensor = array if isinstance(array, torch.Tensor) else torch.from_numpy(array)
        except TypeError:
            raise _lacking(path, array.dtype) from None
        # The format has no two names for one array.
        address = tensor.untyped_storage().data_ptr()
        tensors[path] = tensor.clone() if address in seen else tensor
        seen.add(address)
    try:
        return save(tensors, metadata={"format": "pt", NOTES: content.notes()})
    except KeyError as error:
        (dtype,) = error.args
        path = next(path for path, tensor in tensors.items() if tensor.dtype == dtype)
        raise _lacking(path, dtype) from error


def _lacking(path: str, dtype: object) -> Exception:
    expected = "arrays of a type that the format has (save_npz takes more)"
    return argument_error("save_safetensors", "state", expected, f"{path}: {dtype}", kind=TypeError)


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    from safetensors import SafetensorError, safe_open

    if path.is_dir():
        raise file_error(path, "a file", "a folder")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            notes = (file.metadata() or {}).get(NOTES)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, AttributeError, MemoryError) as error:
        raise file_error(path, "a whole safetensors file", f"{error or type(error).__name__}") from error
    if notes is None:
        return tensors, None
    return {name: _numpy_again(tensor) for name, tensor in tensors.items()}, notes


def _numpy_again(tensor: torch.Tensor) -> Any:
    """Return a tensor as NumPy's array where NumPy has its type; the notes say which were torch's."""
    try:
        return tensor.numpy()
    except TypeError:
        return tensor

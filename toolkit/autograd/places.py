"""Where new arrays live: library, device and dtype, with a default for each thread and for the process."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends import Backend, backend_of
from toolkit.core.devices import resolve_device
from toolkit.core.errors import argument_error

__all__ = ["Place", "current_place", "default_arrays", "is_array", "named_place", "place_of", "set_default_arrays"]

_FLOATING = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Place:
    """Library, device and floating-point dtype of arrays to come.

    Attributes:
        library: ``"torch"``, ``"numpy"``, ``"cupy"``, or the name of a library that follows the array API standard.
        device: as an array's ``.device``: a ``torch.device``, ``"cpu"`` for NumPy.
        dtype: its name, ``"float32"``.
        sample: an array of no elements that lives there.
    """

    library: str
    device: Any
    dtype: str
    sample: Any = field(repr=False, compare=False)

    @property
    def backend(self) -> Backend:
        """The library's backend."""
        return backend_of(self.sample, "Place", "sample")

    def put(self, array: Any, *, keep_dtype: bool = False, copy: bool = False) -> Any:
        """Return ``array`` here.

        Args:
            array: of any library.
            keep_dtype: keep the array's own dtype; integers and bools keep theirs in any case.
            copy: share no memory with ``array``.
        """
        source = backend_of(array, "Place", "array")
        array = source.adopt(array)
        kept = keep_dtype or not source.is_floating(array)
        if isinstance(self.sample, torch.Tensor):
            tensor = source.to_torch(array).to(device=self.device, dtype=None if kept else self.sample.dtype)
            return tensor.clone() if copy else tensor
        if kept and dtype_name(array.dtype) == "bfloat16":
            raise argument_error("Place", "array", f"a dtype that {self.library} has", "bfloat16", kind=TypeError)
        if type(array) is not type(self.sample) or source.device(array) != self.device:
            # CuPy makes arrays on its current device.
            with self.device if self.library == "cupy" else contextlib.nullcontext():
                array = self.backend.from_numpy(source.to_numpy(array), self.sample)
        if not kept and array.dtype != self.sample.dtype:
            array = self.backend.astype(array, self.sample)
        return self.backend.copy(array) if copy else array

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.library == "cupy":
            return named_place, (self.library, self.device.id, self.dtype)
        return super().__reduce_ex__(protocol)

    def with_dtype(self, dtype: Any) -> "Place":
        """Return the same library and device with another floating-point dtype.

        Raises:
            TypeError: no floating-point dtype, or one that the library lacks.
        """
        name = floating_name("dtype", dtype)
        if name == self.dtype:
            return self
        if isinstance(self.sample, torch.Tensor):
            sample = self.sample.to(getattr(torch, name))
        else:
            sample = self.backend.from_numpy(np.zeros(0, dtype=_host_dtype(name, self.library)), self.sample)
        return replace(self, dtype=name, sample=sample)


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype of any library, without the library's."""
    if isinstance(dtype, type) and issubclass(dtype, np.generic | float):
        dtype = np.dtype(dtype)
    return str(dtype).rsplit(".", 1)[-1]


def floating_name(argument: str, dtype: Any) -> str:
    """Return the name of a floating-point dtype.

    Raises:
        TypeError: it is none.
    """
    name = dtype_name(dtype)
    if name not in _FLOATING:
        raise argument_error("arrays", argument, f"one of {', '.join(_FLOATING)}", repr(dtype), kind=TypeError)
    return name


def _host_dtype(name: str, library: str) -> Any:
    if name == "bfloat16":
        raise argument_error("arrays", "dtype", f"a dtype that {library} has", name, kind=TypeError)
    return np.dtype(name)


def is_array(value: Any) -> bool:
    """Return whether ``value`` is an array of any library (no scalar, no Variable)."""
    if isinstance(value, np.ndarray | torch.Tensor):
        return True
    if isinstance(value, np.generic) or hasattr(value, "requires_grad"):
        return False
    return hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type)


def place_of(array: Any) -> Place:
    """Return where ``array`` (floating-point) lives."""
    backend = backend_of(array, "place_of", "array")
    array = backend.adopt(array)
    sample = backend.zeros((0,), array)
    library = "array_api_strict" if "array_api_strict" in backend.name else backend.name
    return Place(library, backend.device(array), floating_name("array", array.dtype), sample)


def named_place(library: str, device: Any = None, dtype: Any = "float32") -> Place:
    """Return a place by the names a user writes.

    Args:
        library: ``"torch"``, ``"numpy"`` or ``"cupy"``.
        device: of torch, as in ``tensor.to(device)``; of CuPy, ``"cuda"``, ``"cuda:1"`` or an index; ``None`` means
            the CPU (CuPy: the first GPU).
        dtype: a floating-point dtype of any library, or its name.

    Raises:
        ValueError: a library of another name, a device that is not here.
        TypeError: no floating-point dtype, or one that the library lacks.
    """
    name = floating_name("dtype", dtype)
    if library == "torch":
        where = resolve_device("cpu" if device is None else device)
        return Place("torch", where, name, torch.zeros(0, dtype=getattr(torch, name), device=where))
    if library == "numpy":
        if device is not None and str(device) != "cpu":
            raise argument_error("arrays", "device", "'cpu', where NumPy's arrays are", repr(str(device)))
        return Place("numpy", "cpu", name, np.zeros(0, dtype=_host_dtype(name, library)))
    if library == "cupy":
        try:
            import cupy
        except ImportError as error:
            raise argument_error("arrays", "library", "an installed library", "cupy, which is not installed") from error
        # A CuPy device has its number as ``id``.
        index = getattr(device, "id", None)
        index = resolve_device("cuda" if device is None else device).index or 0 if index is None else index
        with cupy.cuda.Device(index):
            sample = cupy.zeros(0, dtype=_host_dtype(name, library))
        return Place("cupy", sample.device, name, sample)
    raise argument_error("arrays", "library", "'torch', 'numpy' or 'cupy'", repr(library))


class _Defaults(threading.local):
    place: Place | None = None


_process = named_place("torch", "cpu", "float32")
_thread = _Defaults()


def current_place() -> Place:
    """Return where parameters are made now: the innermost :func:`default_arrays`, else the process's default."""
    return _thread.place or _process


@contextlib.contextmanager
def default_arrays(library: Any = None, *, device: Any = None, dtype: Any = None) -> Iterator[None]:
    """Make the parameters of sized layers in this library, on this device, of this dtype, in the body of ``with``.

    It holds for the calling thread. What is left out stays as it is (a change of library starts on its own
    default device). The process starts with torch arrays on the CPU, float32; see :func:`set_default_arrays`.

    Args:
        library: ``"torch"``, ``"numpy"``, ``"cupy"``, or a floating-point array whose library, device and dtype it is
            to be (the way to name any other library).
        device: as in ``tensor.to(device)``.
        dtype: floating-point, of any library, or its name.

    Raises:
        ValueError: a library of another name, a device that is not here.
        TypeError: no floating-point dtype, or one that the library lacks.
    """
    before = _thread.place
    _thread.place = _changed(current_place(), library, device, dtype)
    try:
        yield
    finally:
        _thread.place = before


def set_default_arrays(library: Any = None, *, device: Any = None, dtype: Any = None) -> None:
    """Change what :func:`default_arrays` starts from, in every thread of the process; arguments as there."""
    global _process
    _process = _changed(_process, library, device, dtype)


def _changed(place: Place, library: Any, device: Any, dtype: Any) -> Place:
    if is_array(library):
        place, library = place_of(library), None
    if library is None or library == place.library:
        if device is None:
            return place if dtype is None else place.with_dtype(dtype)
        library = place.library
    return named_place(library, device, place.dtype if dtype is None else dtype)

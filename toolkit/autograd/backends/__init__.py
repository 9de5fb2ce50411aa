"""Array libraries behind one set of functions: NumPy, torch, CuPy, and any that follows the array API standard.

A backend is found once for each array type and then looked up by type, which costs less than asking the array for
its namespace at every operation.
"""

from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends.array_api import ArrayAPIBackend
from toolkit.autograd.backends.base import Backend
from toolkit.autograd.backends.numpy_arrays import NumPyBackend
from toolkit.autograd.backends.numpy_like import NumPyLikeBackend
from toolkit.autograd.backends.torch_arrays import TorchBackend
from toolkit.core.errors import argument_error

__all__ = [
    "ArrayAPIBackend",
    "Backend",
    "NumPyBackend",
    "NumPyLikeBackend",
    "TorchBackend",
    "backend_of",
    "backend_of_type",
]

_BACKENDS: dict[type, Backend] = {
    np.ndarray: NumPyBackend(),
    torch.Tensor: TorchBackend(),
}


def backend_of_type(array_type: type) -> Backend:
    """Return the backend of an array type seen before.

    NumPy's and CuPy's scalars, which their functions return in place of arrays without axes, count as arrays.

    Raises:
        TypeError: no backend knows the type.
    """
    backend = _BACKENDS.get(array_type)
    if backend is None:
        if issubclass(array_type, np.generic):
            backend = _BACKENDS[np.ndarray]
        elif issubclass(array_type, torch.Tensor):
            backend = _BACKENDS[torch.Tensor]
        else:
            raise argument_error(
                "backend", "array", "a NumPy, torch, CuPy or array API array", array_type.__name__, kind=TypeError
            )
        _BACKENDS[array_type] = backend
    return backend


def backend_of(array: Any, operation: str, argument: str) -> Backend:
    """Return the backend of ``array``, making one for the first array of a library that follows the standard.

    Raises:
        TypeError: ``array`` is no array; the message names ``operation`` and ``argument``.
    """
    array_type = type(array)
    backend = _BACKENDS.get(array_type)
    if backend is not None:
        return backend
    if isinstance(array, np.ma.MaskedArray):
        raise argument_error(operation, argument, "an array without a mask", "numpy.ma.MaskedArray", kind=TypeError)
    if isinstance(array, np.ndarray | np.generic):
        backend = _BACKENDS[np.ndarray]
    elif isinstance(array, torch.Tensor):
        backend = _BACKENDS[torch.Tensor]
    else:
        backend = _standard_backend(array, operation, argument)
    _BACKENDS[array_type] = backend
    return backend


def _standard_backend(array: Any, operation: str, argument: str) -> Backend:
    from array_api_compat import array_namespace, is_cupy_array

    if is_cupy_array(array):
        import cupy

        return NumPyLikeBackend(cupy, cupy.ndarray)
    try:
        namespace = array_namespace(array)
    except TypeError:
        raise argument_error(
            operation,
            argument,
            "a NumPy, torch, CuPy or array API array (wrap numbers and lists: numpy.asarray(value, dtype))",
            f"{type(array).__name__} {array!r:.60}",
            kind=TypeError,
        ) from None
    return ArrayAPIBackend(namespace, type(array))

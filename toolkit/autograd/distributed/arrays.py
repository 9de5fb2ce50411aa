"""Arrays of any library as torch tensors on the way out, and back on the way in, sharing memory where possible."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.autograd.backends import backend_of
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
    torch.uint16,
    torch.uint32,
    torch.uint64,
)
"""What can be sent; a dtype travels as its place in this list."""

REDUCIBLE = frozenset(
    {torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8, torch.uint8}
)
"""What gloo and NCCL can add."""

LIBRARIES = ("numpy", "torch", "cupy")
"""A library travels as its place in this list; arrays of any other arrive as torch tensors."""

MOST_AXES = 10


def to_tensor(array: Any, operation: str, argument: str) -> Tensor:
    """Return an array of any library as a tensor that shares its memory where the library allows it.

    Raises:
        TypeError: no array, or a dtype that does not travel.
        ValueError: more than ten axes.
    """
    if isinstance(array, Variable):
        raise argument_error(operation, argument, "an array (of a Variable, its .data)", "a Variable", kind=TypeError)
    backend = backend_of(array, operation, argument)
    tensor = backend.to_torch(backend.adopt(array))
    if tensor.dtype not in DTYPES:
        raise argument_error(operation, argument, "a dtype of numbers or bools", f"{tensor.dtype}", kind=TypeError)
    if tensor.dim() > MOST_AXES:
        raise argument_error(operation, argument, f"at most {MOST_AXES} axes", f"{tensor.dim()}")
    return tensor


def library_of(array: Any) -> str:
    """Return the name of an array's library: ``"numpy"``, ``"torch"``, ``"cupy"``, or of another module."""
    return backend_of(array, "library_of", "array").name


def from_tensor(tensor: Tensor, library: str) -> Any:
    """Return a tensor as an array of ``library`` (a torch tensor if it is none of ours), sharing memory.

    bfloat16, which NumPy lacks, arrives there as float32.
    """
    if library == "numpy":
        return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).cpu().numpy()
    if library == "cupy":
        import cupy

        return cupy.from_dlpack(tensor) if tensor.is_cuda else cupy.asarray(tensor.numpy())
    return tensor


def like(tensor: Tensor, array: Any) -> Any:
    """Return a tensor as an array of the library of ``array``, whichever that is."""
    name = library_of(array)
    if name in LIBRARIES:
        return from_tensor(tensor, name)
    return backend_of(array, "like", "array").from_numpy(tensor.cpu().numpy(), array)


def write_into(array: Any, tensor: Tensor) -> None:
    """Overwrite an array's elements with a tensor's.

    Raises:
        ValueError: the array is read-only.
    """
    if isinstance(array, Tensor):
        array.copy_(tensor)
    elif isinstance(array, np.ndarray):
        array[...] = tensor.cpu().numpy()
    else:
        array[...] = like(tensor, array)


def as_bytes(tensor: Tensor) -> Tensor:
    """Return the elements of a contiguous tensor as a flat tensor of bytes over the same memory."""
    flat = tensor.reshape(-1)
    # A single element may carry any stride, and is contiguous all the same.
    return flat.as_strided(flat.shape, (1,)).view(torch.uint8)


def header(array: Any, tensor: Tensor) -> list[int]:
    """Return what a receiver must know before the elements come, as ``MOST_AXES + 3`` integers."""
    name = library_of(array)
    library = LIBRARIES.index(name if name in LIBRARIES else "torch")
    shape = [*tensor.shape, *[0] * (MOST_AXES - tensor.dim())]
    return [library + len(LIBRARIES) * tensor.is_cuda, DTYPES.index(tensor.dtype), tensor.dim(), *shape]


def announced(header: list[int], device: torch.device) -> tuple[str, Tensor]:
    """Return the library and an empty tensor of the dtype and shape that a header announces.

    It lies on ``device`` if what was sent lies on a GPU, else on the CPU.
    """
    library, dtype, n_axes, *shape = header
    place = device if library >= len(LIBRARIES) else "cpu"
    return LIBRARIES[library % len(LIBRARIES)], torch.empty(shape[:n_axes], dtype=DTYPES[dtype], device=place)

"""The gradients of many parameters, gathered by library and device, and what hooks do with all of them at once."""

import math
from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends import Backend, backend_of_type

__all__ = ["GradientGroup", "add_scaled", "by_library", "norms", "rescale", "total_norm"]


class GradientGroup:
    """Parameters whose gradients are arrays of one library, dtype and device.

    Attributes:
        backend: the library's.
        is_torch: whether it is torch.
        parameters: in order.
        data: their arrays.
        gradients: theirs.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.is_torch = backend.array_type is torch.Tensor
        self.parameters: list[Any] = []
        self.data: list[Any] = []
        self.gradients: list[Any] = []

    def replace(self, gradients: list[Any]) -> None:
        """Put new gradients in place of the old ones."""
        self.gradients = gradients
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = self.backend.as_array(gradient, parameter.data)


def by_library(parameters: list[Any]) -> list[GradientGroup]:
    """Return the parameters that have a gradient, gathered."""
    groups: dict[Any, GradientGroup] = {}
    seen: set[int] = set()
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        backend = backend_of_type(type(gradient))
        # A number is what NumPy makes of an array without axes that was scaled by hand.
        gradient = backend.as_array(gradient, parameter.data)
        if id(gradient) in seen:
            # Put there by hand for two parameters; a change in place would count twice.
            gradient = parameter.grad = backend.copy(gradient)
        seen.add(id(gradient))
        key = (backend.name, gradient.dtype, backend.device(gradient))
        group = groups.get(key)
        if group is None:
            group = groups[key] = GradientGroup(backend)
        group.parameters.append(parameter)
        group.data.append(parameter.data)
        group.gradients.append(gradient)
    return list(groups.values())


def add_scaled(group: GradientGroup, terms: list[Any], rate: float) -> None:
    """Add ``rate * term`` to each gradient."""
    if group.is_torch:
        torch._foreach_add_(group.gradients, terms, alpha=rate)
        return
    sums = []
    for gradient, term in zip(group.gradients, terms, strict=True):
        gradient += rate * term
        sums.append(gradient)
    group.replace(sums)


def rescale(group: GradientGroup, rates: Any) -> None:
    """Multiply each gradient by its rate, an array without axes; one rate alone is for all of them."""
    if group.is_torch:
        if isinstance(rates, list):
            rates = [rate.to(gradient.dtype) for rate, gradient in zip(rates, group.gradients, strict=True)]
            torch._foreach_mul_(group.gradients, rates)
        else:
            torch._foreach_mul_(group.gradients, rates)
        return
    if not isinstance(rates, list):
        if isinstance(rates, np.ndarray) and rates == 1.0:
            return  # on the host it costs nothing to know
        rates = [rates] * len(group.gradients)
    products = []
    with np.errstate(invalid="ignore"):  # 0 times an infinity, as on torch
        for gradient, rate in zip(group.gradients, rates, strict=True):
            gradient *= group.backend.astype(rate, gradient)
            products.append(gradient)
    group.replace(products)


def norms(group: GradientGroup, arrays: list[Any]) -> list[Any]:
    """Return the Euclidean norm of each array, an array without axes, on its device.

    In float64 where the device has it, since squares overflow early: on a CPU only if they did, for there it costs.
    """
    if not group.is_torch:
        return [_norm(group.backend, array) for array in arrays]
    device = arrays[0].device.type
    if device == "cpu":
        wide = torch.float32 if arrays[0].dtype in (torch.float16, torch.bfloat16) else arrays[0].dtype
        lengths = torch._foreach_norm(arrays, 2, dtype=wide)
        if wide is torch.float64 or bool(torch.stack(lengths).isfinite().all()):
            return list(lengths)
    return list(torch._foreach_norm(arrays, 2, dtype=torch.float32 if device == "mps" else torch.float64))


def total_norm(parameters: list[Any]) -> list[tuple[GradientGroup, Any]]:
    """Return the groups, each with the norm of all gradients together as an array of its own library and device."""
    groups = by_library(parameters)
    lengths = []
    for group in groups:
        each = norms(group, group.gradients)
        lengths.append(torch.linalg.vector_norm(torch.stack(each)) if group.is_torch else _length(group.backend, each))
    if len(groups) < 2:
        return list(zip(groups, lengths, strict=True))
    # Models in several places. Only arrays of other libraries make torch's wait for them.
    places = {length.device if group.is_torch else "cpu" for group, length in zip(groups, lengths, strict=True)}
    meeting = places.pop() if len(places) == 1 else "cpu"
    tensors = [group.backend.to_torch(length) for group, length in zip(groups, lengths, strict=True)]
    total = torch.linalg.vector_norm(torch.stack([tensor.to(meeting, torch.float64) for tensor in tensors]))
    return [(group, _beside(group, total)) for group in groups]


def _norm(backend: Any, array: Any) -> Any:
    if type(array) is np.ndarray and array.dtype == np.float32:
        flat = array.ravel(order="K")
        with np.errstate(all="ignore"):
            square = float(np.dot(flat, flat))
        # The squares of float32 numbers may overflow or vanish; where they have not, there is no need of wider ones.
        if 1e-30 < square < math.inf:
            return np.asarray(math.sqrt(square))
    wide = _widened(backend, array)
    with np.errstate(over="ignore"):
        return backend.as_array(backend.sqrt(backend.sum(wide * wide)), wide)


def _length(backend: Any, lengths: list[Any]) -> Any:
    return backend.as_array(backend.sqrt(sum(length * length for length in lengths)), lengths[0])


def _widened(backend: Any, array: Any) -> Any:
    if hasattr(backend, "module"):
        return array.astype("f8", copy=False)
    return backend.namespace.astype(array, backend.namespace.float64)


def _beside(group: GradientGroup, total: torch.Tensor) -> Any:
    like = group.gradients[0]
    if group.is_torch:
        return total.to(like.device) if like.device.type != "mps" else total.float().to(like.device)
    return group.backend.from_numpy(total.numpy(), like)

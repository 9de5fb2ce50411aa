"""torch tensors as plain arrays: torch's own autograd is never used, its fused kernels are."""

import functools
from typing import Any

import numpy as np
import torch

from toolkit.autograd.backends.base import Backend, as_axes
from toolkit.autograd.backends.neural_torch import NeuralTorch
from toolkit.core.errors import argument_error

_aten = torch.ops.aten
_threshold_backward = _aten.threshold_backward.default._op


class TorchBackend(NeuralTorch, Backend):
    """Native functions of torch."""

    name = "torch"
    array_type = torch.Tensor

    exp, log, log1p, expm1, sqrt, sin, cos, tanh, sigmoid, relu, erf, sign, abs, floor, isnan, isfinite, matmul = (
        staticmethod(getattr(torch.Tensor, name))
        for name in (
            [
                "exp",
                "log",
                "log1p",
                "expm1",
                "sqrt",
                "sin",
                "cos",
                "tanh",
                "sigmoid",
                "relu",
                "erf",
                "sign",
                "abs",
                "floor",
                "isnan",
                "isfinite",
                "matmul",
            ]
        )
    )
    maximum, minimum, where, ones_like, zeros_like = (
        staticmethod(getattr(torch, name)) for name in ["maximum", "minimum", "where", "ones_like", "zeros_like"]
    )
    # The packets' raw entry points spare a Python call each in the hottest rules.
    tanh_backward = staticmethod(_aten.tanh_backward.default._op)
    sigmoid_backward = staticmethod(_aten.sigmoid_backward.default._op)

    def adopt(self, array: Any) -> Any:
        if array.layout is not torch.strided:
            raise argument_error("Variable", "data", "a dense tensor", f"layout {array.layout}", kind=TypeError)
        return array.detach() if array.requires_grad or type(array) is not torch.Tensor else array

    def as_array(self, value: Any, like: Any) -> Any:
        return value

    def version(self, saved: tuple) -> int | None:
        total = None
        try:
            for value in saved:
                if type(value) is torch.Tensor:
                    total = value._version + (total or 0)
        except RuntimeError:
            # A tensor made in torch.inference_mode counts no writes.
            return None
        return total

    def device(self, array: Any) -> Any:
        return array.device

    def is_floating(self, array: Any) -> bool:
        return array.is_floating_point()

    def to_numpy(self, array: Any) -> np.ndarray:
        array = array.detach().cpu()
        return (array.float() if array.dtype is torch.bfloat16 else array).numpy()

    def to_torch(self, array: Any) -> torch.Tensor:
        return array

    def from_numpy(self, array: np.ndarray, like: Any) -> Any:
        return torch.as_tensor(array, device=like.device)

    def copy(self, array: Any) -> Any:
        return array.clone(memory_format=torch.contiguous_format)

    def as_index(self, array: Any) -> Any:
        # torch takes uint8 for a mask, and some unsigned integers not at all.
        return array.long() if array.dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64) else array

    def describe(self, array: Any) -> str:
        if array.device.type == "meta":
            return f"shape {tuple(array.shape)}, dtype={array.dtype}, device=meta"
        return super().describe(array)

    def is_contiguous(self, array: Any) -> bool:
        return array.is_contiguous()

    def bytes(self, array: Any) -> int:
        return array.numel() * array.element_size()

    def storage(self, array: Any) -> tuple[int, int]:
        storage = array.untyped_storage()
        return storage.data_ptr(), storage.nbytes()

    def zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def full(self, shape: tuple[int, ...], value: Any, like: Any) -> Any:
        return torch.full(shape, value, dtype=like.dtype, device=like.device)

    def arange(self, stop: int, like: Any) -> Any:
        return torch.arange(stop, device=like.device)

    def astype(self, x: Any, like: Any) -> Any:
        return x.to(like.dtype)

    def where_positive(self, gradient: Any, x: Any) -> Any:
        return _threshold_backward(gradient, x, 0)

    def softplus(self, x: Any) -> Any:
        # Beyond 40 the two agree in float64; torch's default of 20 would be off by 2e-9.
        return torch.nn.functional.softplus(x, 1.0, 40.0)

    def clip(self, x: Any, low: float | None, high: float | None) -> Any:
        return torch.clamp(x, low, high)

    def sum(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return torch.sum(x) if axis is None and not keepdims else _reduced(torch.sum, x, axis, keepdims)

    def mean(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return torch.mean(x) if axis is None and not keepdims else _reduced(torch.mean, x, axis, keepdims)

    def var(self, x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0.0) -> Any:
        return _reduced(functools.partial(torch.var, correction=correction), x, axis, keepdims)

    def max(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _reduced(torch.amax, x, axis, keepdims)

    def min(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _reduced(torch.amin, x, axis, keepdims)

    def prod(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        axes = range(x.dim()) if axis is None else as_axes(axis)
        for a in sorted((a % x.dim() for a in axes), reverse=True):
            x = torch.prod(x, dim=a, keepdim=keepdims)
        return x

    def cumsum(self, x: Any, axis: int) -> Any:
        return torch.cumsum(x, dim=axis)

    def flip(self, x: Any, axis: Any = None) -> Any:
        return torch.flip(x, tuple(range(x.dim())) if axis is None else as_axes(axis))

    def argmax(self, x: Any, axis: Any = None) -> Any:
        return torch.argmax(x, dim=axis)

    def any_zero(self, x: Any) -> bool:
        return not bool(torch.all(x))

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        return x.reshape(shape)

    def broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Any:
        return x.expand(shape)

    def transpose(self, x: Any, axes: tuple[int, ...]) -> Any:
        return x.permute(axes)

    def swap_last(self, x: Any) -> Any:
        return x.mT

    def concat(self, *arrays: Any, axis: int = 0) -> Any:
        return torch.cat(arrays, dim=axis)

    def stack(self, *arrays: Any, axis: int = 0) -> Any:
        return torch.stack(arrays, dim=axis)

    def pad(self, x: Any, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> Any:
        flat = [width for pair in reversed(widths) for width in pair]
        return torch.nn.functional.pad(x, flat, value=value)

    def get_item(self, x: Any, index: Any) -> Any:
        return x[index]

    def scatter_add(self, gradient: Any, index: Any, shape: tuple[int, ...]) -> Any:
        result = torch.zeros(shape, dtype=gradient.dtype, device=gradient.device)
        parts = index if isinstance(index, tuple) else (index,)
        if not any(isinstance(part, torch.Tensor) for part in parts):
            result[index] = gradient
            return result
        # The positions an index picks, whatever it mixes, are what it picks from the positions themselves.
        positions = torch.arange(result.numel(), device=result.device).reshape(shape)[index]
        return result.view(-1).index_add_(0, positions.reshape(-1), gradient.reshape(-1)).view(shape)

    linear = staticmethod(torch._C._nn.linear)

    def linear_gradients(self, g: Any, x: Any, weight: Any, needs: tuple) -> tuple:
        # The kernels themselves: torch.matmul first finds out which of them to take.
        by_x = None if needs[0] is None else g.mm(weight)
        by_weight = None if needs[1] is None else g.t().mm(x)
        if len(needs) == 2:
            return by_x, by_weight
        return by_x, by_weight, None if needs[2] is None else g.sum(0)

    def logsumexp(self, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return _reduced(torch.logsumexp, x, tuple(range(x.dim())) if axis is None else axis, keepdims)

    def einsum(self, *operands: Any, subscripts: str) -> Any:
        return torch.einsum(subscripts, *operands)


def _reduced(function: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    if axis == () and x.dim():
        # No axes are all axes to torch, and none to the other libraries: reduce over one of length 1.
        return function(x.unsqueeze(-1), dim=-1)
    return function(x, dim=() if axis is None else axis, keepdim=keepdims)

"""Neural operations for torch: its fused kernels, forward and backward, without its autograd."""

import functools
from typing import Any

import torch

from toolkit.autograd.backends.neural_rules import NeuralRules, geometry
from toolkit.autograd.backends.windows import Pair, first_maximum, volume, window_counts, window_slices

# The packets' raw entry points spare a Python call each.
_aten = torch.ops.aten
_convolution_backward = _aten.convolution_backward.default._op
_max_pool2d = _aten.max_pool2d_with_indices.default._op
_max_pool2d_backward = _aten.max_pool2d_with_indices_backward.default._op
_average_pool2d = _aten.avg_pool2d.default._op
_average_pool2d_backward = _aten.avg_pool2d_backward.default._op
_softmax_backward = _aten._softmax_backward_data.default._op
_log_softmax_backward = _aten._log_softmax_backward_data.default._op
_nll_loss_backward = _aten.nll_loss_backward.default._op
_batch_norm = _aten.native_batch_norm.default._op
_batch_norm_backward = _aten.native_batch_norm_backward.default._op
_layer_norm = _aten.native_layer_norm.default._op
_layer_norm_backward = _aten.native_layer_norm_backward.default._op
_embedding_backward = _aten.embedding_dense_backward.default._op

_ONE = (1, 1)
_NO_LABEL = -(1 << 62)
"""The label that torch leaves out; its own default, -100, would hide mistakes."""
_FEW = 256
"""Up to here all floating-point dtypes have every integer."""
_REDUCTION: dict[str, Any] = {"none": 0, "mean": 1, "sum": 2}


@functools.lru_cache(maxsize=64)
def _known_total(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Return a number as the kernels read it, made once: a division takes as long as the kernel itself."""
    return torch.full((), count, dtype=dtype, device="cpu")


def _shape_only(like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor for a kernel that reads no more of it than the shape; it takes no memory."""
    return like.new_empty(()).expand(shape)


class NeuralTorch(NeuralRules):
    """Native kernels; what they save for themselves is what they would save under torch's autograd, or less."""

    def conv2d(
        self, x: Any, weight: Any, bias: Any = None, *, stride: Pair, padding: Pair, dilation: Pair, groups: int
    ) -> Any:
        if x.dtype is torch.float16 and x.is_cpu:
            # torch's own kernel is slower, and ends the process where every window along an axis misses the image.
            bias = None if bias is None else bias.float()
            return torch.conv2d(x.float(), weight.float(), bias, stride, padding, dilation, groups).half()
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)

    def conv2d_gradients(self, g: Any, x: Any, weight: Any, needs: tuple, params: dict) -> tuple:
        wanted = (needs[0] is not None, needs[1] is not None, needs[2] is not None)
        of_x, of_weight, _ = params["shapes"]
        return self._convolution_backward(g, x, weight, of_x, of_weight, wanted, geometry(params))

    def conv2d_input_gradient(self, g: Any, weight: Any, *, shape: tuple[int, ...], **shared: Any) -> Any:
        return self._convolution_backward(g, None, weight, shape, weight.shape, (True, False, False), shared)[0]

    def conv2d_weight_gradient(self, g: Any, x: Any, *, shape: tuple[int, ...], **shared: Any) -> Any:
        return self._convolution_backward(g, x, None, x.shape, shape, (False, True, False), shared)[1]

    def _convolution_backward(
        self, g: Any, x: Any, weight: Any, of_x: Any, of_weight: Any, wanted: tuple[bool, bool, bool], shared: dict
    ) -> tuple:
        return _convolution_backward(
            g,
            _shape_only(g, of_x) if x is None else x,
            _shape_only(g, of_weight) if weight is None else weight,
            (of_weight[0],),
            shared["stride"],
            shared["padding"],
            shared["dilation"],
            False,
            (0, 0),
            shared["groups"],
            wanted,
        )

    def max_pool2d(self, x: Any, *, window: Pair, stride: Pair, padding: Pair) -> tuple[Any, Any]:
        counts = window_counts(x.shape, window, stride, padding)
        if x.is_cpu and padding == (0, 0) and volume(window) <= 9 and volume((*x.shape[:2], *counts)) > 4096:
            # torch's own kernel branches at every element: on a CPU it takes two to three times as long.
            parts = [x[index] for _, _, index in window_slices(window, stride, _ONE, counts)]
            best, number = first_maximum(torch, parts)
            if not torch.isnan(best).any():
                return best, number
        return _max_pool2d(x, window, stride, padding, _ONE, False)

    def _places(self, chosen: Any, window: Pair, stride: Pair, shape: tuple[int, ...]) -> Any:
        """Return places in the image, as torch's kernels have them, for numbers of elements in windows."""
        if chosen.dtype is torch.int64:
            return chosen
        width = shape[-1]
        elements = torch.arange(window[0]).unsqueeze(1) * width + torch.arange(window[1])
        rows = torch.arange(chosen.shape[-2]).unsqueeze(1) * (stride[0] * width)
        places = elements.flatten().index_select(0, chosen.flatten().int()).view(chosen.shape)
        return places.add_(rows + torch.arange(chosen.shape[-1]) * stride[1])

    def max_pool2d_scatter(
        self, g: Any, chosen: Any, *, shape: tuple[int, ...], window: Pair, stride: Pair, padding: Pair
    ) -> Any:
        places = self._places(chosen, window, stride, shape)
        return _max_pool2d_backward(g, _shape_only(g, shape), window, stride, padding, _ONE, False, places)

    def max_pool2d_gather(self, x: Any, chosen: Any, *, window: Pair, stride: Pair, padding: Pair) -> Any:
        places = self._places(chosen, window, stride, x.shape)
        return torch.gather(x.flatten(2), 2, places.flatten(2)).view(chosen.shape)

    def average_pool2d(self, x: Any, *, window: Pair, stride: Pair, padding: Pair, count_include_padding: bool) -> Any:
        return _average_pool2d(x, window, stride, padding, False, count_include_padding, None)

    def average_pool2d_input_gradient(
        self, g: Any, *, shape: tuple[int, ...], window: Pair, stride: Pair, padding: Pair, count_include_padding: bool
    ) -> Any:
        x = _shape_only(g, shape)
        return _average_pool2d_backward(g, x, window, stride, padding, False, count_include_padding, None)

    def softmax(self, x: Any, axis: int) -> Any:
        return torch.softmax(x, axis)

    def log_softmax(self, x: Any, axis: int) -> Any:
        return torch.log_softmax(x, axis)

    def softmax_backward(self, g: Any, y: Any, axis: int) -> Any:
        return _softmax_backward(g, y, axis, y.dtype)

    def log_softmax_backward(self, g: Any, y: Any, axis: int) -> Any:
        return _log_softmax_backward(g, y, axis, y.dtype)

    def one_hot(self, labels: Any, shape: tuple[int, ...]) -> Any:
        classes = torch.arange(shape[1], device=labels.device).view(1, shape[1], *(1,) * (len(shape) - 2))
        return classes == labels.unsqueeze(1)

    def cross_entropy(self, x: Any, labels: Any, *, reduction: str) -> tuple[Any, Any, Any]:
        log_probabilities = torch.log_softmax(x, 1)
        loss = torch._C._nn.nll_loss_nd(log_probabilities, labels, None, _REDUCTION[reduction], _NO_LABEL)
        return loss, log_probabilities, labels

    def cross_entropy_gradient(self, log_probabilities: Any, labels: Any, g: Any, *, reduction: str) -> Any:
        if log_probabilities.dim() == 2 and reduction != "none":
            count = labels.shape[0]
            if reduction == "mean" and count <= _FEW and g.is_cpu:
                total = _known_total(count, g.dtype)
                chosen = _nll_loss_backward(g, log_probabilities, labels, None, 1, _NO_LABEL, total)
            else:
                share = g / count if reduction == "mean" else g
                # Only the mean reads the total of the samples' weights: any number will do.
                chosen = _nll_loss_backward(share, log_probabilities, labels, None, 2, _NO_LABEL, share)
            return _log_softmax_backward(chosen, log_probabilities, 1, log_probabilities.dtype)
        slope = torch.exp(log_probabilities)
        slope.scatter_(1, labels.unsqueeze(1), -1.0, reduce="add")
        if reduction == "none":
            return slope.mul_(g.unsqueeze(1))
        return slope.mul_(g / labels.numel() if reduction == "mean" else g)

    def checks_labels(self, labels: Any) -> bool:
        # On a GPU a label out of range breaks the whole process.
        return labels.is_cpu and labels.dtype is torch.int64

    def mse(self, x: Any, y: Any, *, reduction: str) -> Any:
        return torch._C._nn.mse_loss(x, y, _REDUCTION[reduction])

    def batch_normalization(
        self, x: Any, gamma: Any, beta: Any, running_mean: Any, running_variance: Any,
        *, train: bool, momentum: float, eps: float,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        if not x.numel():
            nothing = x.new_zeros(x.shape[1])
            return x.clone(), nothing, nothing
        y, mean, inverse = _batch_norm(x, gamma, beta, running_mean, running_variance, train, momentum, eps)
        if not train:
            # The running statistics may be updated in place before the backward pass.
            mean, inverse = running_mean.clone(), torch.rsqrt(running_variance + eps)
        return y, mean, inverse

    def layer_normalization(self, x: Any, gamma: Any, beta: Any, *, n_axes: int, eps: float) -> tuple[Any, Any, Any]:
        return _layer_norm(x, x.shape[x.dim() - n_axes :], gamma, beta, eps)

    def normalization_gradients(
        self, g: Any, x: Any, gamma: Any, mean: Any, inverse: Any, needs: tuple,
        *, axes: tuple[int, ...], shared: tuple[int, ...], eps: float, constant: bool,
    ) -> tuple:  # fmt: skip
        if constant or x is None or not x.numel():
            return super().normalization_gradients(
                g, x, gamma, mean, inverse, needs, axes=axes, shared=shared, eps=eps, constant=constant
            )
        wanted = (needs[0] is not None, needs[1] is not None, needs[2] is not None)
        # The kernels read the scale's memory as if it were without gaps, and are wrong where it is not.
        gamma = gamma if gamma is None else gamma.contiguous()
        if axes == shared:
            return _batch_norm_backward(g, x, gamma, None, None, mean, inverse, True, eps, wanted)
        own = x.shape[len(shared) :]
        beta = _shape_only(g, own) if wanted[2] else None
        return _layer_norm_backward(g, x, own, mean, inverse, gamma, beta, wanted)

    def quarters(self, x: Any) -> Any:
        return x.chunk(4, -1) if x.shape[-1] else (x, x, x, x)

    def masked_scale(self, x: Any, mask: Any, *, scale: float) -> Any:
        return torch.where(mask, x * scale, 0.0)

    def embedding(self, ids: Any, weight: Any) -> Any:
        return torch.embedding(weight, ids)

    def embedding_gradient(self, g: Any, ids: Any, *, shape: tuple[int, ...]) -> Any:
        return _embedding_backward(g, ids, shape[0], -1, False)

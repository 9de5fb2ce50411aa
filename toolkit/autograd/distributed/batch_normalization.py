"""Batch normalization with the statistics of the batch that all processes share."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from toolkit.autograd.configuration import config
from toolkit.autograd.distributed import arrays
from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.links.link import Link
from toolkit.autograd.links.normalization import BatchNormalization
from toolkit.autograd.operation import Operation
from toolkit.autograd.operations.arguments import floating, shaped
from toolkit.autograd.recording import apply
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

_NAME = "multi_node_batch_normalization"


class MultiNodeBatchNormalization(BatchNormalization):
    """``BatchNormalization`` over the samples of all ranks, which may have unequally many, one, or none.

    All ranks must call it equally often, and go backward through it alike. With shards of unequal size weigh the
    losses (``sample_count`` of the multi-node optimizer's ``update``, or :meth:`Communicator.relative_weight`), not
    the gradients, as here samples of different ranks meet. Out of training, and alone, it is ``BatchNormalization``.
    Gradients of any order are exact.

    Args:
        size: channels, or ``None``: the first input tells.
        communicator: of the ranks.
        decay: weight of the old running statistics.
        eps: added to the variance.
        options: the others of :class:`~toolkit.autograd.links.BatchNormalization`.

    Source: ChainerMN's ``MultiNodeBatchNormalization``; Ioffe and Szegedy 2015, algorithm 1.
    """

    def __init__(
        self, size: int | None, communicator: Communicator, decay: float = 0.9, eps: float = 2e-5, **options: Any
    ) -> None:
        super().__init__(size, decay, eps, **options)
        self.communicator = communicator

    def forward(self, x: Any, *, finetune: bool = False) -> Variable:
        """Return an array of the shape of ``x``; arguments and errors as for ``BatchNormalization``.

        Raises:
            ValueError: in training, one value a channel on all ranks together.
        """
        if not config.train or self.communicator.size == 1:
            return super().forward(x, finetune=finetune)
        if self.avg_mean is None or any(p is not None and p.data is None for p in (self.gamma, self.beta)):
            self._size(x)
        decay = self.decay
        if finetune:
            decay = 1.0 - 1.0 / (self.N + (not config.in_recomputing))
        y = multi_node_batch_normalization(
            x, self.gamma, self.beta, self.avg_mean, self.avg_var,
            communicator=self.communicator, momentum=1.0 - decay, eps=self.eps,
        )  # fmt: skip
        if finetune and not config.in_recomputing:
            self.N += 1
        return y


def create_mnbn_model(link: Link, communicator: Communicator) -> Link:
    """Return a copy of a network whose batch normalization takes its statistics over all ranks.

    Args:
        link: any, a :class:`~toolkit.autograd.models.ResNet` say; it stays as it is.
        communicator: of the ranks.

    Returns:
        The copy, on arrays of its own. Each ``BatchNormalization`` in it (but none of a class derived from that) is a
        :class:`MultiNodeBatchNormalization` with the same parameters, running statistics and settings.
    """
    model = link.copy("copy")
    for part in model.links():
        if type(part) in (BatchNormalization, MultiNodeBatchNormalization):
            # It differs by its class and this attribute alone, and stays in its place, were it held in several.
            part.__class__ = MultiNodeBatchNormalization
            part.__dict__["communicator"] = communicator
    return model


def multi_node_batch_normalization(
    x: Any,
    gamma: Any = None,
    beta: Any = None,
    running_mean: Any = None,
    running_var: Any = None,
    *,
    communicator: Communicator,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Variable:
    """Return ``F.batch_normalization`` in training, with statistics of each channel over the samples of all ranks.

    Each rank gathers count, mean and sum of squared deviations from all, once, and merges them in double precision;
    in the backward pass two sums a channel are reduced.

    Args:
        x: shape ``(samples, channels, ...)``; the number of samples may differ between ranks, and be 0.
        gamma: scale, shape ``(channels,)``, or ``None`` for 1.
        beta: shift, shape ``(channels,)``, or ``None`` for 0.
        running_mean: array, shape ``(channels,)``, updated in place alike on all ranks, or ``None``.
        running_var: array, shape ``(channels,)``, likewise.
        communicator: of the ranks.
        momentum: weight of the batch in the running statistics.
        eps: added to the variance.

    Raises:
        ValueError: shapes that do not fit; one value a channel on all ranks together.
        TypeError: other array libraries or dtypes.

    Source: Chan, Golub and LeVeque 1979, equation 2.1 (the merging of variances).
    """
    x = floating(_NAME, "x", x)
    if x.ndim < 2:
        raise argument_error(_NAME, "x", "shape (samples, channels, ...)", x.shape)
    if not isinstance(momentum, float | int) or not 0 <= momentum <= 1:
        raise argument_error(_NAME, "momentum", "a number from 0 to 1", repr(momentum))
    if not isinstance(eps, float | int) or not 0 <= eps < math.inf:
        raise argument_error(_NAME, "eps", "a finite number, 0 or more", repr(eps))
    if (running_mean is None) != (running_var is None):
        raise argument_error(_NAME, "running_mean, running_var", "both or neither", "one of them")
    own = x.shape[1:2]
    gamma, beta = shaped(_NAME, "gamma", gamma, own, x), shaped(_NAME, "beta", beta, own, x)
    running = [
        shaped(_NAME, name, value, own, x)
        for name, value in (("running_mean", running_mean), ("running_var", running_var))
    ]
    mean, variance, count = _statistics(arrays.to_tensor(x.data, _NAME, "x"), communicator)
    if count == 1 and own[0]:
        raise argument_error(_NAME, "x", "more than one value a channel on all ranks together", "1")
    if count and not config.in_recomputing:
        unbiased = variance * (count / max(1, count - 1))
        for known, value in zip(running, (mean, unbiased), strict=True):
            if known is not None:
                old = arrays.to_tensor(known.data, _NAME, "running")
                arrays.write_into(known.data, (old * (1.0 - momentum) + value * momentum).to(old.dtype))
    inverse = torch.rsqrt(variance + eps)
    params = {"communicator": communicator, "count": count, "eps": float(eps)}
    return apply(_NORMALIZE, (x, gamma, beta, arrays.like(mean, x.data), arrays.like(inverse, x.data)), params)


def _statistics(x: Tensor, communicator: Communicator) -> tuple[Tensor, Tensor, int]:
    """Return mean and variance of each channel over all ranks, and the number of values a channel."""
    wide = torch.promote_types(x.dtype, torch.float32)
    channels = x.shape[1]
    count = x.numel() // max(1, channels)
    mean = squares = torch.zeros(channels, dtype=torch.float64, device=x.device)
    if count:
        variance, mean = torch.var_mean(x.to(wide), dim=_axes(x), correction=0)
        mean, squares = mean.double(), variance.double() * count
    packed = torch.cat([mean.new_tensor([count]), mean, squares])
    gathered = torch.stack(communicator.gather_alike(packed))
    counts, means, parts = gathered[:, :1], gathered[:, 1 : channels + 1], gathered[:, channels + 1 :]
    total = int(counts.sum().item())
    mean = (counts * means).sum(0) / max(1, total)
    variance = (parts + counts * (means - mean) ** 2).sum(0) / max(1, total)
    return mean.to(wide), variance.to(wide), total


def _tensors(*values: Any) -> list[Any]:
    return [None if value is None else arrays.to_tensor(value, _NAME, "inputs") for value in values]


def _axes(x: Any) -> tuple[int, ...]:
    return tuple(axis for axis in range(len(x.shape)) if axis != 1)


def _spread(x: Any) -> tuple[int, ...]:
    return tuple(length if axis == 1 else 1 for axis, length in enumerate(x.shape))


def _normalized(
    x: Any, gamma: Any, beta: Any, mean: Any, inverse: Any, *, communicator: Communicator, count: int, eps: float
) -> Any:
    values, *others = _tensors(x, gamma, beta, mean, inverse)
    spread = _spread(values)
    scale, shift, level, factor = (None if other is None else other.reshape(spread) for other in others)
    y = (values - level) * (factor if scale is None else factor * scale)
    return arrays.like((y if shift is None else y + shift).to(values.dtype), x)


def _vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    rule = _gradients_on_tape if isinstance(g, Variable) else _gradients
    return (*rule(xp, g, saved, needs, p), None, None)


def _gradients(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    slope, x, gamma, mean, inverse = _tensors(g, *saved)
    axes, spread = _axes(slope), _spread(slope)
    dtype = slope.dtype
    wide = torch.promote_types(slope.dtype, torch.float32)
    slope = slope.to(wide)
    by_x: Any = None
    by_gamma: Any = None
    by_beta = slope.sum(axes)
    if x is not None:
        normalized = (x - mean.reshape(spread)) * inverse.reshape(spread)
        by_gamma = (slope * normalized).sum(axes)
    if needs[0] is not None:
        sums = torch.cat([by_beta, by_gamma]).double()
        p["communicator"].reduce_in_place(sums)
        level, tilt = (part.to(wide).reshape(spread) for part in (sums / max(1, p["count"])).chunk(2))
        factor = inverse if gamma is None else inverse * gamma
        by_x = (slope - level - normalized * tilt) * factor.reshape(spread)
    wanted = zip((by_x, by_gamma, by_beta), needs[:3], strict=True)
    return tuple(None if need is None else arrays.like(value.to(dtype), g) for value, need in wanted)


def _gradients_on_tape(xp: Any, g: Variable, saved: tuple, needs: tuple, p: dict) -> tuple:
    """Return the same gradients, recorded: the statistics are computed anew, from ``x``."""
    axes, spread = _axes(g), _spread(g)
    x, gamma, _, _ = saved
    by_x: Any = None
    by_gamma: Any = None
    by_beta = xp.sum(g, axis=axes, keepdims=False)
    if x is not None:
        share = 1.0 / max(1, p["count"])
        away = x - _sum_over_ranks(xp.sum(x, axis=axes, keepdims=True), p["communicator"]) * share
        variance = _sum_over_ranks(xp.sum(away * away, axis=axes, keepdims=True), p["communicator"]) * share
        inverse = 1.0 / xp.sqrt(variance + p["eps"])
        normalized = away * inverse
        by_gamma = xp.sum(g * normalized, axis=axes, keepdims=False)
    if needs[0] is not None:
        level = _sum_over_ranks(by_beta, p["communicator"]) * share
        tilt = _sum_over_ranks(by_gamma, p["communicator"]) * share
        by_x = (g - xp.reshape(level, spread) - normalized * xp.reshape(tilt, spread)) * (
            inverse if gamma is None else inverse * xp.reshape(gamma, spread)
        )
    wanted = zip((by_x, by_gamma, by_beta), needs[:3], strict=True)
    return tuple(None if need is None else value for value, need in wanted)


def _sum_over_ranks(x: Any, communicator: Communicator) -> Variable:
    return apply(_SUM, (x,), {"communicator": communicator})


def _summed(x: Any, *, communicator: Communicator) -> Any:
    total = arrays.to_tensor(x, "sum_over_ranks", "x").clone(memory_format=torch.contiguous_format)
    communicator.reduce_in_place(total)
    return arrays.like(total, x)


def _sum_vjp(xp: Any, g: Any, saved: tuple, needs: tuple, p: dict) -> tuple:
    # Every rank's loss counts, so what reaches one rank's sum comes from all of them.
    communicator = p["communicator"]
    return (_sum_over_ranks(g, communicator) if isinstance(g, Variable) else _summed(g, communicator=communicator),)


class _OneKernel(dict):
    """A kernel for arrays of every library, in place of a method of each backend."""

    def __init__(self, kernel: Callable[..., Any]) -> None:
        super().__init__()
        self.kernel = kernel

    def __missing__(self, array_type: type) -> Callable[..., Any]:
        return self.kernel


_NORMALIZE = Operation(
    _NAME,
    _vjp,
    saves=(0, 1, 3, 4),
    saved_for=((0, 1), (0,), (0, 1), (0, 1)),
    same_dtype=False,
    expects="x of shape (samples, channels, ...), the others of shape (channels,)",
)
_NORMALIZE.kernels = _OneKernel(_normalized)
_SUM = Operation("sum_over_ranks", _sum_vjp)
_SUM.kernels = _OneKernel(_summed)

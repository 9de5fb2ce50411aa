"""Batch and layer normalization with their parameters and running statistics."""

from collections.abc import Sequence
from typing import Any

from toolkit.autograd.configuration import config
from toolkit.autograd.initializers import get_initializer
from toolkit.autograd.links.link import Link
from toolkit.autograd.links.parameter import Parameter
from toolkit.autograd.links.sizes import optional_size, size
from toolkit.autograd.operations.arguments import floating
from toolkit.autograd.operations.normalization import batch_normalization, checked_eps, layer_normalization
from toolkit.autograd.places import Place, current_place
from toolkit.autograd.tape import Variable
from toolkit.core.errors import argument_error

__all__ = ["BatchNormalization", "LayerNormalization"]


class BatchNormalization(Link):
    """Batch normalization over all axes but the second (Chainer's ``BatchNormalization``).

    With ``config.train`` the statistics are the batch's and the running ones follow them:
    ``running = decay * running + (1 - decay) * batch``, the variance divided by the count less one. Without it the
    running ones are used. A checkpoint that runs for the second time leaves them alone.

    Args:
        size: channels, or ``None``: the first input tells.
        decay: weight of the *old* running statistics, Chainer's sense. ``F.batch_normalization`` and torch call
            ``1 - decay`` momentum.
        eps: added to the variance.
        use_gamma: learn a scale.
        use_beta: learn a shift.
        initial_gamma: of ``gamma``; ``None`` means 1.
        initial_beta: of ``beta``; ``None`` means 0.
        initial_avg_mean: of ``avg_mean``; ``None`` means 0.
        initial_avg_var: of ``avg_var``; ``None`` means 1.

    Attributes:
        gamma: scale, shape ``(size,)``, or ``None``.
        beta: shift, shape ``(size,)``, or ``None``.
        avg_mean: running mean, an array of shape ``(size,)``, persistent; ``None`` until the size is known.
        avg_var: running variance, likewise.
        N: batches seen in fine-tuning, persistent.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2.
    """

    def __init__(
        self,
        size: int | None = None,
        decay: float = 0.9,
        eps: float = 2e-5,
        use_gamma: bool = True,
        use_beta: bool = True,
        initial_gamma: Any = None,
        initial_beta: Any = None,
        initial_avg_mean: Any = None,
        initial_avg_var: Any = None,
    ) -> None:
        super().__init__()
        channels = optional_size("BatchNormalization", "size", size)
        if isinstance(decay, bool) or not isinstance(decay, float | int) or not 0 <= decay <= 1:
            raise argument_error("BatchNormalization", "decay", "a number from 0 to 1", repr(decay))
        self.decay = float(decay)
        self.eps = checked_eps("BatchNormalization", eps)
        self.use_gamma, self.use_beta = use_gamma, use_beta
        self._initial_mean = get_initializer(initial_avg_mean, 0)
        self._initial_var = get_initializer(initial_avg_var, 1)
        self.gamma: Parameter | None = None
        self.beta: Parameter | None = None
        with self.init_scope():
            if use_gamma:
                self.gamma = Parameter(1 if initial_gamma is None else initial_gamma, (channels,))
            if use_beta:
                self.beta = Parameter(0 if initial_beta is None else initial_beta, (channels,))
        for name in ("avg_mean", "avg_var"):
            self.add_persistent(name, None)
        self.add_persistent("N", 0)
        if channels is not None:
            self._make_statistics(channels, current_place())

    def _make_statistics(self, channels: int, place: Place) -> None:
        self.avg_mean = self._initial_mean(channels, like=place)
        self.avg_var = self._initial_var(channels, like=place)

    @property
    def size(self) -> int | None:
        """Channels; ``None`` until they are known."""
        for value in (self.gamma, self.beta, self.avg_mean):
            if value is not None:
                return value.shape[0]
        return None

    def forward(self, x: Any, *, finetune: bool = False) -> Variable:
        """Return an array of the shape of ``x``.

        Args:
            x: shape ``(samples, size, ...)``.
            finetune: with ``config.train``, let the running statistics become the plain means over all batches since
                :meth:`start_finetuning`.

        Raises:
            ValueError: other channels, fewer than two axes, one value a channel in training.
            TypeError: another array library, device or dtype than the parameters'.
        """
        gamma, beta = self.gamma, self.beta
        if (
            self.avg_mean is None
            or (gamma is not None and gamma.data is None)
            or (beta is not None and beta.data is None)
        ):
            self._size(x)
        decay = self.decay
        if finetune and config.train:
            seen = self.N + (not config.in_recomputing)
            decay = 1.0 - 1.0 / seen
        y = batch_normalization(
            x, gamma, beta, self.avg_mean, self.avg_var, momentum=1.0 - decay, eps=self.eps
        )  # fmt: skip
        if finetune and config.train and not config.in_recomputing:
            self.N += 1
        return y

    def start_finetuning(self) -> None:
        """Begin to count batches anew for ``finetune``."""
        self.N = 0

    def reset_persistents(self) -> None:
        """Put the running statistics back to their start."""
        self.N = 0
        if self.avg_mean is not None:
            self._make_statistics(self.avg_mean.shape[0], self.place)

    def _size(self, x: Any) -> None:
        x = floating("BatchNormalization", "x", x)
        known = self.size
        if x.ndim < 2 or known not in (None, x.shape[1]):
            channels = "size" if known is None else known
            raise argument_error("BatchNormalization", "x", f"shape (samples, {channels}, ...)", x.shape)
        for parameter in (self.gamma, self.beta):
            if parameter is not None and not parameter.is_initialized:
                parameter.initialize(x.shape[1], like=x)
        if self.avg_mean is None:
            self._make_statistics(x.shape[1], self._place_for(x))

    def specification(self) -> dict[str, Any]:
        parts = {"size": self.size, "decay": self.decay, "eps": self.eps}
        return {**parts, **{name: False for name in ("use_gamma", "use_beta") if not getattr(self, name)}}


class LayerNormalization(Link):
    """Layer normalization over the last axes (Chainer's ``LayerNormalization``).

    Args:
        size: length of the last axis, or the lengths of several last axes, or ``None``: the last axis alone, the
            first input tells its length.
        eps: added to the variance.
        initial_gamma: of ``gamma``; ``None`` means 1.
        initial_beta: of ``beta``; ``None`` means 0.

    Attributes:
        gamma: scale, shape ``size``.
        beta: shift, shape ``size``.

    Source: Ba, Kiros and Hinton 2016, equation 4.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        eps: float = 1e-6,
        initial_gamma: Any = None,
        initial_beta: Any = None,
    ) -> None:
        super().__init__()
        shape = _lengths(size)
        self.eps = checked_eps("LayerNormalization", eps)
        with self.init_scope():
            self.gamma = Parameter(1 if initial_gamma is None else initial_gamma, shape)
            self.beta = Parameter(0 if initial_beta is None else initial_beta, shape)

    def forward(self, x: Any) -> Variable:
        """Return an array of the shape of ``x``, which is ``(..., *size)``.

        Raises:
            ValueError: other lengths.
            TypeError: another array library, device or dtype than the parameters'.
        """
        gamma, beta = self.gamma, self.beta
        if gamma.data is None or beta.data is None:
            x = floating("LayerNormalization", "x", x)
            if not x.ndim:
                raise argument_error("LayerNormalization", "x", "at least one axis", "shape ()")
            for parameter in (gamma, beta):
                if not parameter.is_initialized:
                    parameter.initialize(x.shape[-1], like=x)
        return layer_normalization(x, gamma, beta, eps=self.eps)

    def specification(self) -> dict[str, Any]:
        shape = self.gamma.shape
        return {"size": shape[0] if len(shape) == 1 else shape, "eps": self.eps}


def _lengths(value: Any) -> tuple[int | None, ...]:
    if value is None:
        return (None,)
    parts = tuple(value) if isinstance(value, Sequence) else (value,)
    if not parts:
        raise argument_error("LayerNormalization", "size", "at least one length", value)
    return tuple(size("LayerNormalization", "size", part, 0) for part in parts)

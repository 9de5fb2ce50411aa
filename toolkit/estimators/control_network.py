"""The network in RELAX: a number for the values of all the layers."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.core.devices import draw_uniform, resolve_generator
from toolkit.core.errors import require
from toolkit.estimators.problems import Problem


class ControlVariate(nn.Module):
    """A network with one hidden layer of tanh units: a number for the values of all the layers.

    Its output weights start at zero, so that an untrained one adds nothing.

    Args:
        problem: gives the sizes of the layers, the dtype and the device.
        hidden: the number of hidden units.
        generator: source of the initial weights; ``None`` makes a new one.
    """

    def __init__(self, problem: Problem, hidden: int = 32, generator: torch.Generator | None = None) -> None:
        super().__init__()
        require(hidden >= 1, "ControlVariate", "hidden", ">= 1", hidden)
        self.axes = tuple(len(layer.shape) for layer in problem.layers)
        inputs = sum(math.prod(layer.shape) for layer in problem.layers)
        place: dict[str, Any] = {"device": problem.device, "dtype": problem.dtype}
        uniform = draw_uniform((hidden, inputs + 1), generator=resolve_generator(generator), **place)
        weights = (2 * uniform - 1) * math.sqrt(3 / (inputs + 1))
        self.weight = nn.Parameter(weights[:, :-1].contiguous())
        self.bias = nn.Parameter(weights[:, -1].contiguous())
        self.output = nn.Parameter(torch.zeros(hidden, **place))
        self.constant = nn.Parameter(torch.zeros((), **place))

    def forward(self, *values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return ``[*leading, *batch]`` for values of all the layers, ``[*leading, *batch, n(, K)]``."""
        return self._hidden(values) @ self.output + self.constant

    def with_slope(self, *values: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Return what :meth:`forward` does and its derivative with respect to the last layer's values, like them.

        By formula: a graph for these few numbers takes several times as long.
        """
        hidden, last = self._hidden(values), values[-1]
        columns = self.weight[:, -math.prod(last.shape[-self.axes[-1] :]) :]
        slope = ((2 - 2 * hidden.square()) * self.output) @ columns
        return hidden @ self.output + self.constant, slope.reshape(last.shape)

    def _hidden(self, values: tuple[Tensor, ...]) -> Tensor:
        # Centred, since values lie between 0 and 1.
        flat = [value.flatten(-axes) for value, axes in zip(values, self.axes, strict=True)]
        together = flat[0] if len(flat) == 1 else torch.cat(flat, -1)
        return torch.tanh(nn.functional.linear(together + together - 1, self.weight, self.bias))

    def __repr__(self) -> str:
        hidden, inputs = self.weight.shape
        return f"ControlVariate({inputs} inputs, {hidden} hidden units)"

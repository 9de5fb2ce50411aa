"""The networks of the authors' code: fully connected, with batch normalisation before each ReLU."""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require

Initialization = Literal["small", "official"]
SCALES = {"small": (0.1 * math.sqrt(2), 1e-4 * math.sqrt(2)), "official": (math.sqrt(0.1), 0.01)}
_EPSILON = 2e-5


def network(
    n_inputs: int,
    n_outputs: int,
    *,
    hidden: Sequence[int] = (1200, 1200),
    initialization: Initialization = "small",
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """Build a network whose outputs are logits, of K clusters or D bits.

    Each hidden layer is linear, batch normalisation (ε = 2e-5, running averages keep 0.9), ReLU. Without hidden layers
    it is linear. The last layer starts near zero, so that all predictions start uniform. The scale of the hidden layers
    is invisible to the forward pass, which normalises, but it sets how large Adam's steps are beside the weights.

    Source: the authors' code (github.com/weihua916/imsat): d-1200-1200-K for clusters, d-400-400-D for bits.

    Args:
        n_inputs: d.
        n_outputs: K or D.
        hidden: units of the hidden layers.
        initialization: standard deviations of the weights in units of 1/√inputs: "small" is 0.1·√2 and, in the last
            layer, 1e-4·√2, as in a public port to PyTorch; "official" is √0.1 and 0.01, as in the authors' code.
            Biases are 0.
        generator: draws the weights, on the CPU.
        dtype: of the weights; default: torch's. Drawn in double precision they are the same on every processor; those
            of single precision depend on its vector instructions, in the last digits.

    Returns:
        The network, on the CPU.

    Raises:
        ValueError: a size below 1 or an unknown initialization.
    """
    sizes = (n_inputs, *hidden, n_outputs)
    for name, size in (("n_inputs", n_inputs), ("n_outputs", n_outputs), *(("hidden", units) for units in hidden)):
        require(size >= 1, "network", name, ">= 1", size)
    require(initialization in SCALES, "network", "initialization", " or ".join(SCALES), repr(initialization))
    generator = resolve_generator(generator)
    inner, last = SCALES[initialization]
    layers: list[nn.Module] = []
    for position, (before, after) in enumerate(itertools.pairwise(sizes)):
        linear = nn.utils.skip_init(nn.Linear, before, after, device="cpu", dtype=dtype)
        final = position == len(hidden)
        with torch.no_grad():
            linear.weight.normal_(0, (last if final else inner) / math.sqrt(before), generator=generator)
            linear.bias.zero_()
        layers.append(linear)
        if not final:
            layers += [nn.BatchNorm1d(after, eps=_EPSILON, momentum=0.1, device="cpu", dtype=dtype), nn.ReLU()]
    return nn.Sequential(*layers)


def squared_weights(network: nn.Module) -> torch.Tensor:
    """Return Σ‖W‖² over the weight matrices, for weight decay; biases and normalisation are left out.

    Args:
        network: any module.

    Returns:
        A scalar that can be differentiated.
    """
    matrices = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    return torch.stack([matrix.square().sum() for matrix in matrices]).sum() if matrices else torch.zeros(())

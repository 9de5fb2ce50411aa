"""Sigmoid belief networks: layers of binary variables over binary images, and the networks that infer them.

The generative network runs from the top to the pixels, ``p(x | z_1) p(z_1 | z_2) … p(z_L)``; the inference network is
its mirror image, ``q(z_1 | x) q(z_2 | z_1) …``. Every conditional is a layer of independent Bernoulli variables.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.core.devices import draw_uniform, resolve_device, resolve_generator
from toolkit.core.errors import reject, require


@dataclass(frozen=True, repr=False, eq=False)
class Generated:
    """Images that a network generated.

    Attributes:
        probabilities: of each pixel given the layer above, ``[*n, pixels]``; smoother to look at than the images.
        images: 0 and 1 drawn from them, ``[*n, pixels]``.
        values: of the latent layers behind them, the one next to the pixels first; of a reconstruction only that one.
    """

    probabilities: Float[Tensor, "*n pixels"]
    images: Float[Tensor, "*n pixels"]
    values: tuple[Tensor, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "probabilities": self.probabilities.tolist(),
            "images": self.images.tolist(),
            "values": [value.tolist() for value in self.values],
        }

    def __repr__(self) -> str:
        return f"Generated(images {tuple(self.images.shape)})"


class SigmoidBeliefNetwork(torch.nn.Module):
    """A sigmoid belief network with its inference network.

    With linear conditionals this is the model of Tokui and Sato (arXiv 1611.01239) and of most papers on gradients
    through binary variables. The inference network sees an image less the training mean.

    Args:
        sizes: the number of pixels, then of the variables of each latent layer, from the pixels up.
        hidden: widths of the tanh layers inside every conditional; ``None`` or an empty sequence for linear ones. A
            whole number means so many layers, each as wide as the conditional's input; the paper's nonlinear model
            has 2.
        mean: the training images' mean, ``[pixels]``; default: zeros. See :meth:`set_mean`.
        generator: source of the initial weights (Glorot uniform; all biases and the prior's logits are 0); ``None``
            makes a new one.
        device: where the parameters go; ``None`` is the best there is.
        dtype: of parameters, images and values.

    Attributes:
        inference: one module a latent layer, from the layer below (for the first, from the pixels) to its logits.
        generation: one module a latent layer, from its values to the logits of the layer below.
        prior_logits: of the last layer's variables, ``[n_L]``.
        mean: the training images' mean, ``[pixels]``, a buffer.

    Raises:
        ValueError: no latent layer, a size or width below 1, a mean of another shape.
        TypeError: sizes or widths that are no whole numbers, a dtype that is not floating.
    """

    mean: Tensor

    def __init__(
        self,
        sizes: Sequence[int] = (784, 200, 200),
        *,
        hidden: int | Sequence[int] | None = None,
        mean: Float[Tensor, " pixels"] | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.sizes = _whole_numbers("sizes", sizes, least=1)
        expected = "the number of pixels and of the variables of at least one latent layer"
        require(len(self.sizes) >= 2, "SigmoidBeliefNetwork", "sizes", expected, sizes)
        if isinstance(hidden, int):
            self.hidden: int | tuple[int, ...] = _whole_numbers("hidden", [hidden], least=0)[0]
        else:
            self.hidden = _whole_numbers("hidden", hidden or (), least=1)
        if not dtype.is_floating_point:
            reject("SigmoidBeliefNetwork", "dtype", "a floating dtype", dtype, kind=TypeError)
        where: dict[str, Any] = {"device": resolve_device(device), "dtype": dtype}
        generator = resolve_generator(generator)
        upwards = list(zip(self.sizes, self.sizes[1:], strict=False))
        self.inference = torch.nn.ModuleList(self._conditional(n, m, generator, where) for n, m in upwards)
        self.generation = torch.nn.ModuleList(self._conditional(m, n, generator, where) for n, m in upwards)
        self.prior_logits = torch.nn.Parameter(torch.zeros(self.sizes[-1], **where))
        self.register_buffer("mean", torch.zeros(self.sizes[0], **where))
        if mean is not None:
            expected = f"shape ({self.sizes[0]},), one number a pixel"
            require(mean.shape == (self.sizes[0],), "SigmoidBeliefNetwork", "mean", expected, tuple(mean.shape))
            self.mean.copy_(mean)

    @property
    def depth(self) -> int:
        """The number of latent layers."""
        return len(self.sizes) - 1

    @property
    def linear(self) -> bool:
        """Whether the logits of every conditional are linear in the values it is given."""
        return not self.hidden

    def set_mean(self, images: Tensor) -> None:
        """Set what the inference network subtracts to the mean of the training images, ``[*n, pixels]``, n >= 1."""
        expected = f"at least one image of {self.sizes[0]} pixels"
        right = images.ndim >= 1 and images.shape[-1] == self.sizes[0] and images.numel() > 0
        require(right, "set_mean", "images", expected, tuple(images.shape))
        self.mean.copy_(images.reshape(-1, self.sizes[0]).to(self.mean.dtype).mean(0))

    def inference_logits(self, layer: int, previous: Float[Tensor, "*n below"]) -> Float[Tensor, "*n size"]:
        """Return the logits of a latent layer given the one below.

        Args:
            layer: its index, 0 for the one next to the pixels.
            previous: the layer below's values; for layer 0 the images, from which the mean is subtracted here.
        """
        return self.inference[layer](previous - self.mean if layer == 0 else previous)

    def generative_logits(self, layer: int, above: Float[Tensor, "*n size"]) -> Float[Tensor, "*n below"]:
        """Return the logits of what stands below a latent layer.

        Args:
            layer: the index of the layer above: 0 gives the logits of the pixels, 1 those of latent layer 0, ….
            above: that layer's values.
        """
        return self.generation[layer](above)

    def inference_weights(self, layer: int) -> Float[Tensor, "below size"]:
        """Return what each variable below adds to a latent layer's logits when it is 1; linear conditionals only."""
        return _weights(self.inference[layer])

    def generative_weights(self, layer: int) -> Float[Tensor, "size below"]:
        """Return what each of a latent layer's variables adds to the logits below when it is 1; linear ones only."""
        return _weights(self.generation[layer])

    def log_joint(self, x: Float[Tensor, "*batch pixels"], values: Sequence[Tensor]) -> Float[Tensor, "..."]:
        """Return ``log p(x, z_1, …, z_L)`` in nats, ``[*leading, *batch]``.

        Args:
            x: images.
            values: one tensor a latent layer, ``[*leading, *batch, n]``.
        """
        total = bernoulli_log_prob(values[-1], self.prior_logits)
        for layer, below in enumerate((x, *values[:-1])):
            total = total + bernoulli_log_prob(below, self.generative_logits(layer, values[layer]))
        return total

    @torch.no_grad()
    def sample(self, n: int = 1, generator: torch.Generator | None = None) -> Generated:
        """Generate images from the top down.

        Args:
            n: how many.
            generator: source of the randomness; ``None`` makes a new one.

        Returns:
            ``n`` images, with their pixels' probabilities and the values of all the layers.
        """
        if isinstance(n, bool) or not isinstance(n, int):
            reject("sample", "n", "a whole number", repr(n), kind=TypeError)
        require(n >= 0, "sample", "n", ">= 0", n)
        generator = resolve_generator(generator)
        values = [draw_binary(torch.sigmoid(self.prior_logits).expand(n, -1), generator)]
        for layer in range(self.depth - 1, 0, -1):
            values.insert(0, draw_binary(torch.sigmoid(self.generative_logits(layer, values[0])), generator))
        probabilities = torch.sigmoid(self.generative_logits(0, values[0]))
        return Generated(probabilities, draw_binary(probabilities, generator), tuple(values))

    @torch.no_grad()
    def reconstruct(self, x: Float[Tensor, "*n pixels"], generator: torch.Generator | None = None) -> Generated:
        """Infer the first latent layer of each image and generate from it.

        Args:
            x: images, with the parameters' dtype.
            generator: source of the randomness; ``None`` makes a new one.

        Returns:
            As many images as ``x`` has.
        """
        generator = resolve_generator(generator)
        value = draw_binary(torch.sigmoid(self.inference_logits(0, x)), generator)
        probabilities = torch.sigmoid(self.generative_logits(0, value))
        return Generated(probabilities, draw_binary(probabilities, generator), (value,))

    def extra_repr(self) -> str:
        """Return the sizes for ``repr``."""
        return f"sizes={self.sizes}, hidden={self.hidden or None}"

    def _conditional(
        self, n_in: int, n_out: int, generator: torch.Generator, where: dict[str, Any]
    ) -> torch.nn.Linear | torch.nn.Sequential:
        widths = (n_in,) * self.hidden if isinstance(self.hidden, int) else self.hidden
        layers: list[torch.nn.Module] = []
        for width in widths:
            layers += [_linear(n_in, width, generator, where), torch.nn.Tanh()]
            n_in = width
        last = _linear(n_in, n_out, generator, where)
        return torch.nn.Sequential(*layers, last) if layers else last


def bernoulli_log_prob(values: Float[Tensor, "*#n size"], logits: Float[Tensor, "*#n size"]) -> Float[Tensor, "..."]:
    """Return the log probability of a layer of independent Bernoulli variables, summed over its variables.

    The form ``value · logit − softplus(logit)`` also serves values between 0 and 1: grey pixels, for which it is the
    negative cross-entropy, and the relaxed variables of pathwise estimators.

    Args:
        values: in [0, 1].
        logits: broadcast against ``values``.

    Returns:
        Nats, ``[*n]``.
    """
    return (values * logits - softplus(logits)).sum(-1)


def softplus(logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return ``log(1 + exp(logits))``, linear only where that is exact in double precision too."""
    return functional.softplus(logits, threshold=40)


def draw_binary(probabilities: Float[Tensor, "*n"], generator: torch.Generator | None = None) -> Float[Tensor, "*n"]:
    """Draw 0 or 1 for each probability: variables of a layer, or an image of grey pixels made binary for one use.

    Args:
        probabilities: in [0, 1].
        generator: source of the randomness; ``None`` makes a new one.

    Returns:
        A tensor like ``probabilities``.
    """
    uniform = draw_uniform(
        probabilities.shape,
        generator=resolve_generator(generator),
        device=probabilities.device,
        dtype=probabilities.dtype,
    )
    return (uniform < probabilities).to(probabilities.dtype)


def _linear(n_in: int, n_out: int, generator: torch.Generator, where: dict[str, Any]) -> torch.nn.Linear:
    # Not the module's own initialisation: that draws from the global generator.
    module = torch.nn.utils.skip_init(torch.nn.Linear, n_in, n_out, **where)
    bound = math.sqrt(6 / (n_in + n_out))
    with torch.no_grad():
        module.weight.copy_(draw_uniform((n_out, n_in), generator=generator, dtype=where["dtype"]) * 2 * bound - bound)
        module.bias.zero_()
    return module


def _weights(conditional: torch.nn.Module) -> Tensor:
    if not isinstance(conditional, torch.nn.Linear):
        reject("SigmoidBeliefNetwork", "hidden", "None: weights of linear conditionals", conditional)
    return conditional.weight.T.contiguous()


def _whole_numbers(argument: str, numbers: Sequence[int], least: int) -> tuple[int, ...]:
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int):
            reject("SigmoidBeliefNetwork", argument, "whole numbers", repr(numbers), kind=TypeError)
        require(number >= least, "SigmoidBeliefNetwork", argument, f"numbers >= {least}", numbers)
    return tuple(numbers)

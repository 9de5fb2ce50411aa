"""Layers of independent discrete variables: how their values are drawn, scored and enumerated.

Values are floating numbers with the logits' dtype: 0 and 1 for Bernoulli variables, one-hot vectors for categorical
ones. Noise is uniform on the open interval (0, 1), drawn before and apart from the logits, so that one draw can drive
several logits (common random numbers) and gives the same values on every device.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from toolkit.core.devices import draw_uniform

Coupling = Literal["inverse_cdf", "gumbel"]
COUPLINGS = ("inverse_cdf", "gumbel")


@dataclass(frozen=True)
class BernoulliLayer:
    """Independent variables with values 0 and 1.

    Attributes:
        size: their number ``n``. Logits, values and gradients have the shape ``[..., n]``.
    """

    size: int
    kind = "bernoulli"
    arity = 2

    @property
    def shape(self) -> tuple[int, ...]:
        """The trailing axes of logits and values."""
        return (self.size,)

    def noise_shape(self, coupling: Coupling) -> tuple[int, ...]:
        """Return the trailing axes of the noise; both couplings of two values are the same."""
        return (self.size,)

    def probabilities(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the probability of 1, ``[..., n]``."""
        return torch.sigmoid(logits)

    def sample(
        self, logits: Float[Tensor, "..."], noise: Float[Tensor, "..."], coupling: Coupling = "inverse_cdf"
    ) -> Float[Tensor, "..."]:
        """Return 1 where ``noise < sigmoid(logits)``, else 0; the two arguments are broadcast."""
        return indicator(torch.lt, noise, torch.sigmoid(logits))

    def log_prob(self, values: Float[Tensor, "..."], logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the log probability of each variable's value, ``[..., n]``; the two arguments are broadcast."""
        return functional.logsigmoid(torch.where(values > 0.5, logits, -logits))

    def score(self, values: Float[Tensor, "..."], logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the gradient of :meth:`log_prob` with respect to the logits, ``values − sigmoid(logits)``."""
        return values - torch.sigmoid(logits)

    def entropy(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the entropy of each variable in nats, ``[..., n]``."""
        # The default threshold of 20 drops 2e-9, which double precision sees.
        return functional.softplus(logits, threshold=40) - logits * torch.sigmoid(logits)

    def entropy_gradient(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the gradient of the entropies with respect to the logits, ``[..., n]``."""
        probabilities = torch.sigmoid(logits)
        return -logits * probabilities * (1 - probabilities)

    def mode(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the most probable values; 1 at a tie."""
        return (logits >= 0).to(logits.dtype)

    def with_value(self, values: Float[Tensor, "..."], shift: int) -> Float[Tensor, "..."]:
        """Return other values of all variables; ``shift`` is 1, the one alternative there is."""
        return 1 - values

    def values_to_index(self, values: Float[Tensor, "..."]) -> Tensor:
        """Return each variable's value as a whole number, ``[..., n]``."""
        return (values > 0.5).long()

    def all_values(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Float[Tensor, "configurations n"]:
        """Return the ``2**n`` configurations of the layer."""
        bits = torch.arange(2**self.size, device=device)[:, None] >> torch.arange(self.size, device=device).flip(0)
        return (bits & 1).to(dtype)


@dataclass(frozen=True)
class CategoricalLayer:
    """Independent variables, each with one of ``K`` values, as one-hot vectors.

    Attributes:
        size: their number ``n``.
        arity: the number of values ``K``. Logits, values and gradients have the shape ``[..., n, K]``.
    """

    size: int
    arity: int
    kind = "categorical"

    @property
    def shape(self) -> tuple[int, ...]:
        """The trailing axes of logits and values."""
        return (self.size, self.arity)

    def noise_shape(self, coupling: Coupling) -> tuple[int, ...]:
        """Return the trailing axes of the noise: one uniform a variable (inverse CDF) or one a value (Gumbel-max)."""
        return (self.size,) if coupling == "inverse_cdf" else (self.size, self.arity)

    def probabilities(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the probabilities of the values, ``[..., n, K]``."""
        return torch.softmax(logits, -1)

    def sample(
        self, logits: Float[Tensor, "..."], noise: Float[Tensor, "..."], coupling: Coupling = "inverse_cdf"
    ) -> Float[Tensor, "..."]:
        """Return one-hot values.

        Args:
            logits: ``[..., n, K]``.
            noise: as :meth:`noise_shape` says. Leading axes are broadcast.
            coupling: ``"inverse_cdf"``: value k where the noise lies between the cumulative probabilities of k − 1
                and k; ``"gumbel"``: the largest of ``logits − log(−log(noise))``.
        """
        if coupling == "gumbel":
            chosen = (logits - torch.log(-torch.log(noise))).argmax(-1)
        else:
            cumulative = torch.softmax(logits, -1).cumsum(-1)[..., :-1]
            chosen = (noise[..., None] >= cumulative).sum(-1)
        return functional.one_hot(chosen, self.arity).to(logits.dtype)

    def log_prob(self, values: Float[Tensor, "..."], logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the log probability of each variable's value, ``[..., n]``; the two arguments are broadcast."""
        # ``where`` instead of a product: an impossible value that was not drawn must not give 0 · −inf.
        return torch.where(values > 0.5, torch.log_softmax(logits, -1), 0).sum(-1)

    def score(self, values: Float[Tensor, "..."], logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the gradient of :meth:`log_prob` with respect to the logits, ``values − softmax(logits)``."""
        return values - torch.softmax(logits, -1)

    def entropy(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the entropy of each variable in nats, ``[..., n]``."""
        log_probabilities = torch.log_softmax(logits, -1)
        return -(log_probabilities.exp() * log_probabilities.clamp(min=torch.finfo(logits.dtype).min)).sum(-1)

    def entropy_gradient(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the gradient of the entropies with respect to the logits, ``[..., n, K]``."""
        log_probabilities = torch.log_softmax(logits, -1).clamp(min=torch.finfo(logits.dtype).min)
        probabilities = log_probabilities.exp()
        mean = (probabilities * log_probabilities).sum(-1, keepdim=True)
        return -probabilities * (log_probabilities - mean)

    def mode(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the most probable values as one-hot vectors; the first at a tie."""
        return functional.one_hot(logits.argmax(-1), self.arity).to(logits.dtype)

    def with_value(self, values: Float[Tensor, "..."], shift: int) -> Float[Tensor, "..."]:
        """Return the values ``shift`` places further on, cyclically: 1, …, K − 1 give all the alternatives."""
        return values.roll(shift, -1)

    def values_to_index(self, values: Float[Tensor, "..."]) -> Tensor:
        """Return each variable's value as a whole number, ``[..., n]``."""
        return values.argmax(-1)

    def all_values(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Float[Tensor, "configurations n k"]:
        """Return the ``K**n`` configurations of the layer."""
        indices = torch.tensor(list(itertools.product(range(self.arity), repeat=self.size)), device=device)
        return functional.one_hot(indices.reshape(-1, self.size), self.arity).to(dtype)


Layer = BernoulliLayer | CategoricalLayer


def indicator(
    comparison: Callable[..., Tensor], one: Float[Tensor, "..."], other: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Return 1 where a comparison (``torch.lt``, …) of two tensors holds, else 0, in the dtype of ``other``."""
    # Written as numbers at once: a conversion afterwards takes longer than the comparison.
    return comparison(one.detach(), other.detach(), out=torch.empty(0, dtype=other.dtype, device=other.device))


def draw_open_uniform(
    shape: tuple[int, ...], *, generator: torch.Generator, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "..."]:
    """Draw from the uniform distribution on the open interval (0, 1), so that logit and log stay finite.

    The generator's grid starts at 0 with steps of half the machine epsilon; half a step stands for the 0.
    """
    uniform = draw_uniform(shape, generator=generator, device=device, dtype=dtype)
    return uniform.clamp_(min=torch.finfo(dtype).eps / 4)

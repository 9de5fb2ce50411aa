"""A linear softmax in any dimension, at one point: its Fisher information, and where VAT's iterations lead."""

import functools
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import draw_normal
from toolkit.core.errors import require
from toolkit.imsat.exact import fisher_direction
from toolkit.imsat.losses import divergence
from toolkit.imsat.perturbations import unit

MOST, CLASSES = 784, 10
"""Largest dimension, that of an MNIST image, and classes of the random softmax."""
SMALL = "a small example"
NETWORKS = ("10 classes", SMALL)
_SPREAD = 3.0


@dataclass(frozen=True, eq=False)
class Softmax:
    """p(y|x) = softmax(W x + z), looked at in x = 0.

    Attributes:
        weights: W.
        logits: z.
    """

    weights: Float[Tensor, "classes d"]
    logits: Float[Tensor, " classes"]

    def __call__(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch classes"]:
        """Return the logits at places."""
        return x @ self.weights.T + self.logits

    @property
    def dimension(self) -> int:
        """d."""
        return self.weights.shape[1]

    def curvature(self, steps: Float[Tensor, "steps d"]) -> Float[Tensor, " steps"]:
        """Return rᵀFr of each step: the variance of the change of the logits, under the prediction."""
        changes, p = steps @ self.weights.T, self.logits.softmax(0)
        return (changes - (changes @ p)[:, None]).square() @ p

    @property
    def trace(self) -> float:
        """tr F."""
        p = self.logits.softmax(0)
        return float((p[:, None] * (self.weights - p @ self.weights).square()).sum())

    @functools.cached_property
    def first(self) -> Float[Tensor, " d"]:
        """F's first eigenvector."""
        return fisher_direction(self, self.weights.new_zeros(1, self.dimension))[0]

    @property
    def largest(self) -> float:
        """λ_max of F."""
        return float(self.curvature(self.first[None])[0])

    @property
    def ratio(self) -> float:
        """What the average direction costs of what the first one does: tr F/(d λ_max)."""
        return self.trace / (self.dimension * self.largest)

    def cost(self, steps: Float[Tensor, "steps d"]) -> Float[Tensor, " steps"]:
        """Return KL(p(0) ‖ p(r)) of each step r, in nats."""
        there = self(steps)
        return divergence(self.logits.expand_as(there), there)

    def iterate(self, starts: Float[Tensor, "starts d"], xi: float, n: int) -> Float[Tensor, "iterations starts d"]:
        """Return VAT's directions after 0, …, n power iterations.

        The gradient of the divergence with respect to the direction is ξ Wᵀ(p(ξ d) − p(0)).

        Args:
            starts: unit vectors.
            xi: ξ, where the gradient is taken.
            n: iterations.
        """
        found, p = [starts], self.logits.softmax(0)
        for _ in range(n):
            gradient = (self(xi * found[-1]).softmax(1) - p) @ self.weights
            found.append(unit(gradient, otherwise=found[-1]))
        return torch.stack(found)


@functools.cache
def normal_rows(rows: int, seed: int) -> Float[Tensor, "rows d"]:
    """Return so many normal vectors in the largest dimension, the same ones for a seed."""
    return draw_normal((rows, MOST), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax_of(network: str = "10 classes", d: int = MOST) -> Softmax:
    """Return a linear softmax.

    Args:
        network: ``"10 classes"`` with random weights N(0, 1/d), so that a class' weights have length 1 in any
            dimension, and a largest probability of 0.34; or ``"a small example"`` with three classes in
            two dimensions, W = [[1, 0], [0, 2], [0, 0]] and z = 0.
        d: dimensions, of the first one.

    Raises:
        ValueError: another network, or d out of range.
    """
    require(network in NETWORKS, "softmax_of", "network", f"one of {NETWORKS}", repr(network))
    if network == SMALL:
        weights = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
        return Softmax(weights, torch.zeros(3, dtype=torch.float64))
    require(2 <= d <= MOST, "softmax_of", "d", f"2 to {MOST}", d)
    spread = draw_normal((CLASSES,), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Softmax(normal_rows(CLASSES, 0)[:, :d] / math.sqrt(d), _SPREAD * spread)

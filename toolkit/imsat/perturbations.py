"""How a point is moved before its prediction must stay the same: at random, in the worst direction, or by anything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.devices import draw_normal
from toolkit.core.errors import reject, require
from toolkit.imsat.parameters import check_integer, check_number

Divergence = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Surroundings:
    """A batch of points and what a perturbation may look at.

    Attributes:
        inputs: the points.
        logits: their predictions, as constants.
        network: gives the logits of other points; running statistics of the network stay as they are.
        divergence: what a changed prediction costs, for each point.
        radii: distance of each point to its k-th neighbour; ``None`` if no perturbation asked for it.
    """

    inputs: Float[Tensor, "batch *features"]
    logits: Float[Tensor, "batch outputs"]
    network: Callable[[Tensor], Tensor]
    divergence: Divergence
    radii: Float[Tensor, " batch"] | None = None


@runtime_checkable
class Perturbation(Protocol):
    """Moves the points of a batch."""

    @property
    def needs_radii(self) -> bool:
        """Whether distances to the k-th neighbours are wanted."""
        ...

    def __call__(self, around: Surroundings, generator: torch.Generator) -> Tensor:
        """Return the moved points, without a gradient."""
        ...


@dataclass(frozen=True)
class _Ball:
    """A length ε for each point: a share of the distance to its k-th neighbour, or one length for all."""

    alpha: float = 0.25
    """ε_i is so many distances to the k-th neighbour."""

    epsilon: float | None = None
    """One ε for all points instead."""

    def __post_init__(self) -> None:
        check_number(type(self).__name__, "alpha", self.alpha)
        check_number(type(self).__name__, "epsilon", self.epsilon, optional=True)

    @property
    def needs_radii(self) -> bool:
        """Whether distances to the k-th neighbours are wanted: unless ε is given."""
        return self.epsilon is None

    def lengths(self, around: Surroundings) -> Tensor:
        """Return ε of each point, in a shape that multiplies the points."""
        shape = (-1, *(1,) * (around.inputs.ndim - 1))
        if self.epsilon is not None:
            return around.inputs.new_full((len(around.inputs),), self.epsilon).view(shape)
        if around.radii is None:
            reject(type(self).__name__, "around.radii", "distances to neighbours, or a given epsilon", None)
        return (self.alpha * around.radii).to(around.inputs).view(shape)


@dataclass(frozen=True)
class RandomPerturbation(_Ball):
    """RPT: a step of length ε in a random direction.

    Its mean effect is that of an average direction, in d dimensions about tr F/(d λ_max) of the worst one's: for the
    same effect ε must be much larger than that of :class:`VirtualAdversarial`.

    Attributes:
        alpha: ε in units of the distance to the k-th neighbour.
        epsilon: one ε for all points instead.
    """

    def __call__(self, around: Surroundings, generator: torch.Generator) -> Float[Tensor, "batch *features"]:
        """Return the moved points."""
        return around.inputs + self.lengths(around) * unit(_directions(around.inputs, generator))


@dataclass(frozen=True)
class VirtualAdversarial(_Ball):
    """VAT: a step of length ε in the direction that changes the prediction most.

    The direction comes from power iteration: from a random unit vector d, the gradient of the divergence at
    ``x + ξ d``, made a unit vector, is the next d. For ξ → 0 that multiplies by the Fisher information of the
    prediction in x, and finds its first eigenvector; ξ = 10 probes at a finite distance, where that need not
    hold. A point whose gradient is zero keeps its direction.

    Miyato et al. (arXiv 1704.03976); in the authors' code of IMSAT ξ = 10 and one iteration on inputs in [−1, 1].

    Attributes:
        alpha: ε in units of the distance to the k-th neighbour.
        epsilon: one ε for all points instead.
        xi: ξ, how far away the gradient is taken.
        power_iterations: how often; each takes a pass forward and one back.
    """

    xi: float = 10.0
    power_iterations: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("VirtualAdversarial", "xi", self.xi, positive=True)
        check_integer("VirtualAdversarial", "power_iterations", self.power_iterations, 1)

    def direction(self, around: Surroundings, generator: torch.Generator) -> Float[Tensor, "batch *features"]:
        """Return a unit vector for each point."""
        found = unit(_directions(around.inputs, generator))
        for _ in range(self.power_iterations):
            with torch.enable_grad():
                probe = found.requires_grad_()
                costs = around.divergence(around.logits, around.network(around.inputs + self.xi * probe))
                (gradient,) = torch.autograd.grad(costs.sum(), probe, materialize_grads=True)
            found = unit(gradient, otherwise=found.detach())
        return found

    def __call__(self, around: Surroundings, generator: torch.Generator) -> Float[Tensor, "batch *features"]:
        """Return the moved points."""
        return around.inputs + self.lengths(around) * self.direction(around, generator)


@dataclass(frozen=True)
class Augmentation:
    """Any function of the points, such as an affine distortion of images.

    Attributes:
        function: called with the points and a generator; returns as many points of the same shape.
    """

    function: Callable[[Tensor, torch.Generator], Tensor]

    needs_radii = False

    def __call__(self, around: Surroundings, generator: torch.Generator) -> Tensor:
        """Return the moved points."""
        moved = self.function(around.inputs.clone(), generator)
        expected = f"a tensor of shape {tuple(around.inputs.shape)}"
        if not isinstance(moved, Tensor):
            reject("Augmentation", "function", expected, type(moved).__name__, kind=TypeError)
        require(moved.shape == around.inputs.shape, "Augmentation", "function", expected, tuple(moved.shape))
        return moved.detach().to(around.inputs)


def unit(
    vectors: Float[Tensor, "batch *features"], otherwise: Float[Tensor, "batch *features"] | None = None
) -> Float[Tensor, "batch *features"]:
    """Divide each vector by its length, however small it is.

    Gradients of an untrained network are so small that their squares underflow: each vector is scaled by its largest
    entry first.

    Args:
        vectors: one for each point, of any shape.
        otherwise: takes the place of vectors that are zero; default: zeros.

    Returns:
        Vectors of length 1, or what ``otherwise`` says.
    """
    flat = vectors.flatten(1)
    largest = flat.abs().amax(1, keepdim=True) if flat.shape[1] else flat.new_zeros(len(flat), 1)
    scaled = flat / largest
    scaled = scaled / scaled.norm(dim=1, keepdim=True)
    fallback = torch.zeros_like(flat) if otherwise is None else otherwise.flatten(1)
    return torch.where(largest > 0, scaled, fallback).view_as(vectors)


def _directions(inputs: Float[Tensor, "batch *features"], generator: torch.Generator) -> Tensor:
    return draw_normal(inputs.shape, generator=generator, device=inputs.device, dtype=inputs.dtype)


PerturbationLike = Perturbation | Callable[[Tensor, torch.Generator], Tensor] | str | None
_ALPHA = {"vat": 0.25, "rpt": 2.0}


def as_perturbation(
    operation: str, given: object, alpha: float | None, epsilon: float | None, xi: float, power_iterations: int
) -> Perturbation:
    """Return the perturbation that a user means by a name, a function or an object.

    Args:
        operation: for the error.
        given: ``"vat"``, ``"rpt"``, a perturbation or a callable ``f(points, generator) -> points``.
        alpha: α of a named one; default: 0.25 for VAT, 2 for RPT.
        epsilon: ε of a named one, instead of α.
        xi: ξ of VAT.
        power_iterations: of VAT.

    Raises:
        ValueError: another name.
        TypeError: nothing that can be called.
    """
    expected = "'vat', 'rpt', None or a callable"
    if isinstance(given, str):
        require(given in _ALPHA, operation, "perturbation", expected, repr(given))
        alpha = _ALPHA[given] if alpha is None else alpha
        if given == "rpt":
            return RandomPerturbation(alpha, epsilon)
        return VirtualAdversarial(alpha, epsilon, xi, power_iterations)
    if not callable(given) or isinstance(given, type):
        reject(operation, "perturbation", expected, repr(given), kind=TypeError)
    return given if isinstance(given, Perturbation) else Augmentation(given)

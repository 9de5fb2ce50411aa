"""The redundancy I_min of trained codes: a point where the bounds leave an interval, from the same draws.

I_min (Williams & Beer 2010) asks for each value of a factor how much either source tells about it, and counts the
lesser. The posteriors of ``informations`` are all it needs, however many latents a source has.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.bounds import PARTS, PIDBounds, pid_bounds
from toolkit.disentanglement.information import Informations

_LEAST_WIDTH = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class IMinParts:
    """The parts of each latent against all the others by I_min, in nats, (latents, factors).

    Attributes:
        unique: known to the latent alone; never negative.
        redundant: known to the latent and also to the others; never negative, nor above what either knows.
        complementary: known only to the latent and the others together; below 0 by no more than sampling noise.
        bounds: the intervals that non-negative parts leave open, from the same draws.
        entropy: H(y_k).
    """

    unique: Float64[Tensor, "latents factors"]
    redundant: Float64[Tensor, "latents factors"]
    complementary: Float64[Tensor, "latents factors"]
    bounds: PIDBounds
    entropy: Float64[Tensor, " factors"]

    @property
    def position(self) -> Float64[Tensor, "latents factors"]:
        """Where the redundancy lies in its interval: 0 the lower end, 1 the upper.

        NaN where the interval is narrower than a thousandth of H(y_k): noise decides there.
        """
        interval = self.bounds.redundant
        width = interval.upper - interval.lower
        return torch.where(width > _LEAST_WIDTH * self.entropy, (self.redundant - interval.lower) / width, torch.nan)

    def mean(self, part: str) -> float:
        """Return the largest value of a part over latents, as a share of H(y_k), averaged over factors.

        The counterpart of ``Profile.mean``: there the two ends of an interval, here a point.
        """
        require(part in PARTS, "IMinParts.mean", "part", f"one of {PARTS}", part)
        divisor = torch.where(self.entropy > 0, self.entropy, torch.nan)
        return float((getattr(self, part) / divisor).amax(0).nanmean())

    def to_dict(self) -> dict[str, Any]:
        """Return the parts, their means and the bounds as plain Python, ready for JSON."""
        tables = {part: getattr(self, part).tolist() for part in PARTS}
        return tables | {"mean": {part: self.mean(part) for part in PARTS}, "bounds": self.bounds.to_dict()}

    def __repr__(self) -> str:
        return f"IMinParts({', '.join(f'{part} {self.mean(part):.3f}' for part in PARTS)})"


def i_min_of_codes(found: Informations) -> IMinParts:
    """Return unique, redundant and complementary parts of every latent and factor by I_min.

    The specific information of a source S about the value v is E[w log w] with w = p(v | z_S) / p(v) and z from the
    aggregate posterior: every draw counts for every value, with the weight that its own posterior gives. Averaged over
    values this is I(y; z_S) of the same draws, so the redundancy is at most what either source knows, without noise.

    Args:
        found: informations of clean or attacked codes.

    Returns:
        The parts, in nats.

    Source: P. L. Williams, R. D. Beer, "Nonnegative Decomposition of Multivariate Information", 2010;
    the estimator is this toolkit's.
    """
    specific = specific_terms(found).mean(1)
    redundant = redundancy(specific[found.rows[0]], specific[found.rows[1]], found.prior, found.factor_sizes)
    single, without, joint = found.single, found.without, found.joint
    # It is at most the lesser one already, but for the rounding of single precision.
    redundant = torch.minimum(redundant, torch.minimum(single, without))
    complementary = redundant - (single + without - joint)
    bounds = pid_bounds(single, without, joint)
    return IMinParts(single - redundant, redundant, complementary, bounds, found.entropy)


def specific_terms(found: Informations) -> Float64[Tensor, "sources draws values"]:
    """Return what each draw of each source adds to its specific information about each value, in nats.

    Returns:
        w log w − (w − 1) with w the posterior over the prior. The mean of w is 1, so w − 1 changes no mean; it
        takes away noise, and no term is negative. 0 for a value that no image has.
    """
    present = found.prior > 0
    ratio = torch.where(present, found.posteriors.double() / torch.where(present, found.prior, 1), 1.0)
    return (torch.special.xlogy(ratio, ratio) - (ratio - 1)).clamp_min(0)


def redundancy(
    single: Float[Tensor, "*shape values"],
    without: Float[Tensor, "*shape values"],
    prior: Float[Tensor, " values"],
    factor_sizes: tuple[int, ...],
) -> Float[Tensor, "*shape factors"]:
    """Return I_min of two sources from their specific informations about the values of all factors, side by side."""
    lesser = torch.minimum(single, without) * prior
    return torch.stack([part.sum(-1) for part in lesser.split(list(factor_sizes), dim=-1)], dim=-1)

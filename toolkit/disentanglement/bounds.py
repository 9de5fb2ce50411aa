"""Partial information decomposition of one latent against all the others: the bounds, UniBound, and profiles of a code.

A factor's information splits into what only the latent knows (unique), what it shares with the others (redundant) and
what shows only together with them (complementary). Three informations fix these up to one number; what is left open
by non-negativity is an interval for each part.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.information import Informations

PARTS = ("unique", "redundant", "complementary")


@dataclass(frozen=True, eq=False)
class Interval:
    """Smallest and largest possible value of a part."""

    lower: Float[Tensor, "*shape"]
    upper: Float[Tensor, "*shape"]

    def to_dict(self) -> dict[str, Any]:
        """Return both ends as plain Python."""
        return {"lower": self.lower.tolist(), "upper": self.upper.tolist()}


@dataclass(frozen=True, eq=False)
class PIDBounds:
    """What non-negative parts leave open, in the unit of the informations.

    Attributes:
        unique: known to the latent alone.
        redundant: known to the latent and also to the others.
        complementary: known only to the latent and the others together.
    """

    unique: Interval
    redundant: Interval
    complementary: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return the six ends as plain Python."""
        return {part: getattr(self, part).to_dict() for part in PARTS}


@dataclass(frozen=True, eq=False, repr=False)
class Profile:
    """The scores of a code: parts as shares of H(y_k), for each factor the largest over latents, and their means.

    The largest is taken of each of the six ends by itself; different latents may have it. A factor of one value has
    no information to share: its row is NaN, and the means leave it out.

    Attributes:
        per_factor: intervals of the three parts, one value a factor.
        mig_per_factor: how much the best latent alone knows more than the second best.
        joint_per_factor: what all latents together know.
        total_correlation: sum of the latents' entropies less their joint one, in nats; NaN for attacked codes.
        factor_names: names of the factors.
    """

    per_factor: PIDBounds
    mig_per_factor: Float[Tensor, " factors"]
    joint_per_factor: Float[Tensor, " factors"]
    total_correlation: float
    factor_names: tuple[str, ...]

    @property
    def unibound(self) -> float:
        """Lower bound of the unique part, averaged over factors: 1 if each factor is in one latent and nowhere else."""
        return self.mean("unique").lower.item()

    @property
    def mig(self) -> float:
        """Mutual information gap, from the same informations; never below UniBound but for rounding."""
        return _mean(self.mig_per_factor)

    @property
    def information(self) -> float:
        """What all latents together know of the factors, as a share, averaged over factors."""
        return _mean(self.joint_per_factor)

    def mean(self, part: str) -> Interval:
        """Return the interval of a part ("unique", "redundant" or "complementary"), averaged over factors."""
        require(part in PARTS, "Profile.mean", "part", f"one of {PARTS}", part)
        interval = getattr(self.per_factor, part)
        return Interval(interval.lower.nanmean(), interval.upper.nanmean())

    def to_dict(self) -> dict[str, Any]:
        """Return all scores as plain Python, ready for JSON; a score that does not exist is None."""
        means = {part: self.mean(part).to_dict() for part in PARTS}
        per_factor = {part: getattr(self.per_factor, part).to_dict() for part in PARTS}
        scores = {"unibound": self.unibound, "mig": self.mig, "information": self.information}
        rows = {"mig": self.mig_per_factor.tolist(), "information": self.joint_per_factor.tolist()}
        found = scores | means | {"total_correlation": self.total_correlation, "per_factor": per_factor | rows}
        return _without_nan(found) | {"factor_names": list(self.factor_names)}

    def __repr__(self) -> str:
        parts = []
        for part in PARTS:
            mean = self.mean(part)
            parts.append(f"{part} {float(mean.lower):.3f}–{float(mean.upper):.3f}")
        return f"Profile(UniBound {self.unibound:.3f}, MIG {self.mig:.3f}, {', '.join(parts)})"


def pid_bounds(
    single: Float[Tensor, "latents factors"],
    without: Float[Tensor, "..."],
    joint: Float[Tensor, "..."],
) -> PIDBounds:
    """Return the intervals of the three parts for each latent and factor.

    Args:
        single: I(y_k; z_l).
        without: I(y_k; all latents but l).
        joint: I(y_k; z), one value a factor, or one a latent and factor.

    Returns:
        Intervals of shape (latents, factors). With A, B, J the arguments and II = A + B − J: unique from [A − B]+ to
        min(A, J − B), redundant from [II]+ to min(A, B), complementary from [−II]+ to J − max(A, B).
        All three intervals are equally wide, and each end belongs to a decomposition with non-negative parts.

    Raises:
        ValueError: shapes that do not agree.

    Source: the authors' code, github.com/beam2d/disen, disen/evaluation/mi.py.
    """
    operation = "pid_bounds"
    require(without.shape == single.shape, operation, "without", f"shape {tuple(single.shape)}", tuple(without.shape))
    fits = joint.shape in (single.shape, single.shape[1:])
    require(fits, operation, "joint", f"shape {tuple(single.shape[1:])}", tuple(joint.shape))
    shared = (single + without - joint).clamp_min(0)
    lacking = (joint - single - without).clamp_min(0)
    least = torch.minimum(single, without)
    return PIDBounds(
        Interval((single - without).clamp_min(0), torch.minimum(single, joint - without).clamp_min(0)),
        Interval(shared, least),
        Interval(lacking, (joint - torch.maximum(single, without)).clamp_min(0)),
    )


def profile(found: Informations) -> Profile:
    """Return UniBound, all bounds, MIG and the total correlation of a code from its informations.

    Source: the authors' code, github.com/beam2d/disen, disen/evaluation/mi.py.
    """
    single, without, joint = _shares(found)
    bounds = pid_bounds(single, without, joint)
    per_factor = PIDBounds(
        *(Interval(getattr(bounds, part).lower.amax(0), getattr(bounds, part).upper.amax(0)) for part in PARTS)
    )
    return Profile(per_factor, _gaps(single), joint, found.total_correlation, found.factor_names)


def unibound(found: Informations) -> float:
    """Return UniBound: the mean over factors of the largest [I(y_k; z_l) − I(y_k; all but z_l)]+ / H(y_k)."""
    return profile(found).unibound


def mig(found: Informations) -> float:
    """Return the mutual information gap: best less second best latent, as a share of H(y_k), averaged over factors."""
    return profile(found).mig


def _shares(found: Informations) -> tuple[Tensor, Tensor, Tensor]:
    entropy = found.entropy
    known = entropy > 0
    some = bool(known.any())
    require(some, "profile", "found", "a factor of at least two values", f"sizes {found.factor_sizes}")
    divisor = torch.where(known, entropy, torch.nan)
    single, without, joint = ((table / divisor).clamp(0, 1) for table in (found.single, found.without, found.joint))
    return single, without, joint


def _gaps(single: Tensor) -> Tensor:
    padded = torch.cat([single, torch.zeros_like(single[:1])])
    best = padded.topk(2, dim=0).values
    return torch.where(single[0].isnan(), torch.nan, best[0] - best[1])


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and value != value else value

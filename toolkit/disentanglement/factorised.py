"""Exact scores of the ideal code under the attacks: independent factors, each in one Gaussian latent of its own.

There the intervals of non-negativity are points, which quadrature gives for any strength of an attack.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.disentanglement.exact import interval_of
from toolkit.disentanglement.gaussian import NumberLike, copy_noise, mixture_information, read_numbers


@dataclass(frozen=True, eq=False)
class FactorisedScores:
    """Exact informations and parts of a factorised code under an attack, for each factor at its own latent.

    There the intervals of non-negativity are points, and of all latents of the attacked code this one has the largest
    unique, redundant and complementary part. Nats, but for the scores, which are shares of the factor's entropy.

    Attributes:
        attack: which one.
        alpha: its strengths.
        entropy: H(y_k).
        single: I(y_k; z_l) of the attacked latent.
        without: I(y_k; all others).
        joint: I(y_k; all).
        unique: what only the latent says.
        redundant: what the others say, too.
        complementary: what the latent and the others say only together.
        unibound: mean over the factors of ``unique / entropy``; factors of one value left out.
        redundancy: the same of the redundant part.
        complementarity: the same of the complementary part.
    """

    attack: str
    alpha: Float64[Tensor, "*alphas"]
    entropy: Float64[Tensor, " factors"]
    single: Float64[Tensor, "*alphas factors"]
    without: Float64[Tensor, "*alphas factors"]
    joint: Float64[Tensor, "*alphas factors"]
    unique: Float64[Tensor, "*alphas factors"]
    redundant: Float64[Tensor, "*alphas factors"]
    complementary: Float64[Tensor, "*alphas factors"]
    unibound: Float64[Tensor, "*alphas"]
    redundancy: Float64[Tensor, "*alphas"]
    complementarity: Float64[Tensor, "*alphas"]

    def __repr__(self) -> str:
        return f"FactorisedScores({self.attack}, {self.alpha.numel()} strengths, {len(self.entropy)} factors)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as numbers, nested lists and text."""
        return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(self).items()}


def factorised_scores(
    factor_levels: Sequence[NumberLike],
    standard_deviations: NumberLike,
    alpha: NumberLike,
    attack: str = "redundancy",
) -> FactorisedScores:
    """Return exact scores of independent uniform factors, each in one Gaussian latent, under an attack.

    The attacks, with U any orthogonal matrix and e fresh standard noise: ``"redundancy"`` gives ``(z, αUz + e)``,
    ``"synergy"`` ``(z + αUe, e)``, ``"masked_copy"`` ``(z, z + αe, e)``. Latents that know no factor change nothing.

    Args:
        factor_levels: for each factor the mean of its latent for each value.
        standard_deviations: of each latent given the image, or one for all; at least 0.
        alpha: strengths of the attack, any shape and sign; finite.
        attack: which one.

    Returns:
        The scores for every strength. For the same code, the unique part under redundancy at α is the complementary
        one under synergy at 1/α, and the redundant part the unique one.

    Raises:
        ValueError: no factor, no such attack, factors of one value only, or what :func:`mixture_information` refuses.
    """
    where = "factorised_scores"
    require(len(factor_levels) > 0, where, "factor_levels", "at least one factor", "none")
    known = ("redundancy", "synergy", "masked_copy")
    require(attack in known, where, "attack", f"one of {', '.join(known)}", repr(attack))
    strength = read_numbers(alpha, where, "alpha", signed=True)
    require(bool(strength.isfinite().all()), where, "alpha", "finite numbers", "infinity")
    deviations = read_numbers(standard_deviations, where, "standard_deviations")
    if deviations.ndim > 1 or (deviations.ndim == 1 and len(deviations) != len(factor_levels)):
        reject(where, "standard_deviations", f"{len(factor_levels)} or one", f"shape {tuple(deviations.shape)}")
    deviations = deviations.expand(len(factor_levels))
    levels = [torch.as_tensor(of_factor, dtype=torch.float64) for of_factor in factor_levels]
    clean, attacked = [], []
    for of_factor, deviation in zip(levels, deviations, strict=True):
        noise = torch.hypot(deviation, strength) if attack == "synergy" else copy_noise(deviation, strength)
        known_clean, known_attacked = mixture_information(of_factor, deviation), mixture_information(of_factor, noise)
        clean.append(known_clean.expand(strength.shape))
        attacked.append(torch.minimum(known_attacked, known_clean))
    joint, limited = torch.stack(clean, -1), torch.stack(attacked, -1)
    nothing = torch.zeros_like(joint)
    if attack == "redundancy":
        single, without = joint, limited
    elif attack == "synergy":
        single, without = limited, nothing
    else:
        # The masked copy and its mask give z back.
        single, without = joint, joint
    span = interval_of(single, without, joint)
    entropy = torch.tensor([math.log(len(of_factor)) for of_factor in levels], dtype=torch.float64, device=joint.device)
    varies = entropy > 0
    require(bool(varies.any()), where, "factor_levels", "a factor of at least two values", "none")
    parts = (span.unique_1.lower, span.redundant.lower, span.complementary.lower)
    scores = [(part[..., varies] / entropy[varies]).mean(-1) for part in parts]
    return FactorisedScores(attack, strength, entropy, single, without, joint, *parts, *scores)


def factorised_unibound(
    factor_levels: Sequence[NumberLike], standard_deviations: NumberLike, alpha: NumberLike
) -> Float64[Tensor, "*alphas"]:
    """Return the exact UniBound of a factorised code under the redundancy attack; see :func:`factorised_scores`.

    Args:
        factor_levels: for each factor the mean of its latent for each value.
        standard_deviations: of each latent given the image, or one for all.
        alpha: strengths of the attack, any shape.

    Returns:
        UniBound, from 0 to 1, for every strength.

    Raises:
        ValueError: as :func:`factorised_scores`.
    """
    return factorised_scores(factor_levels, standard_deviations, alpha).unibound

"""Disentanglement analysis with partial information decomposition (Tokui & Sato, ICLR 2022).

The paper asks whether a latent is the only one that knows a factor of variation, against all the other latents taken
together. Its answer: split the information into unique, redundant and complementary parts, bound each by mutual
informations that can be computed for a VAE, and test metrics by attacks that entangle a code more and more.

``codes`` holds what an encoder says of a complete grid of factors, ``information`` what latents know of factors,
``bounds`` the parts, UniBound and profiles. ``sources`` is what is asked for, of clean and of attacked codes.
"""

from toolkit.disentanglement.bounds import Interval, PIDBounds, Profile, mig, pid_bounds, profile, unibound
from toolkit.disentanglement.codes import GaussianCodes, PointCodes, Posterior, encode, synthetic_codes
from toolkit.disentanglement.information import Informations, informations

__all__ = [
    "GaussianCodes",
    "Informations",
    "Interval",
    "PIDBounds",
    "PointCodes",
    "Posterior",
    "Profile",
    "encode",
    "informations",
    "mig",
    "pid_bounds",
    "profile",
    "synthetic_codes",
    "unibound",
]

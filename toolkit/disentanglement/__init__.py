"""Disentanglement analysis with partial information decomposition (Tokui & Sato, ICLR 2022).

The paper asks whether a latent is the only one that knows a factor of variation, against all the other latents taken
together. Its answer: split the information into unique, redundant and complementary parts, bound each by mutual
informations that can be computed for a VAE, and test metrics by attacks that entangle a code more and more.

``codes`` holds what an encoder says of a complete grid of factors, ``information`` what latents know of factors,
``bounds`` the parts, UniBound and profiles, ``bootstrap`` how sure they are; ``attacks`` change codes exactly.
``evaluation.evaluate`` scores any codes or points by every metric of ``metrics``; ``drawing`` shows scores.
``exact`` decomposes discrete joints by four measures, ``gaussian`` and ``factorised`` hold closed forms.
``models``, ``objectives`` and ``training`` are the paper's autoencoders.
"""

from toolkit.disentanglement.attacks import MaskedCopy, Mixing, NoisedCopy, Redundancy, Synergy
from toolkit.disentanglement.bootstrap import ScoreIntervals, bootstrap
from toolkit.disentanglement.bounds import Interval, PIDBounds, Profile, mig, pid_bounds, profile, unibound
from toolkit.disentanglement.broja import LeastInformation, least_information
from toolkit.disentanglement.cascade import CascadeVAE
from toolkit.disentanglement.ccs import common_change_in_surprisal
from toolkit.disentanglement.codes import GaussianCodes, PointCodes, Posterior, encode, synthetic_codes
from toolkit.disentanglement.discrete import as_joint, joint_from_samples, joint_from_table, marginals, one_against_rest
from toolkit.disentanglement.entangled_codes import EntangledCodes
from toolkit.disentanglement.entropies import EntropyInformations, entropy_informations
from toolkit.disentanglement.evaluation import Evaluation, evaluate
from toolkit.disentanglement.evaluation_inputs import factors_from_labels
from toolkit.disentanglement.exact import MEASURES, PID, PIDInterval, interval, interval_of, pid, pid_at
from toolkit.disentanglement.factorised import FactorisedScores, factorised_scores, factorised_unibound
from toolkit.disentanglement.fixed_draws import FixedDraws
from toolkit.disentanglement.gaussian import (
    attacked_channel,
    channel_information,
    gaussian_interval,
    gaussian_mmi,
    mixture_information,
)
from toolkit.disentanglement.i_min_of_codes import IMinParts, i_min_of_codes
from toolkit.disentanglement.information import Informations, informations
from toolkit.disentanglement.metrics import METRICS
from toolkit.disentanglement.models import VAE, Discriminator, convolutional_vae, multilayer_vae
from toolkit.disentanglement.objectives import DIPVAE, AnnealedVAE, BetaTCVAE, BetaVAE, FactorVAE, JointVAE
from toolkit.disentanglement.systems import SYSTEMS, named_system
from toolkit.disentanglement.training import EvidenceBound, VAETraining, evidence_bound, reconstruct, train_vae

__all__ = [
    "DIPVAE",
    "MEASURES",
    "METRICS",
    "PID",
    "SYSTEMS",
    "VAE",
    "AnnealedVAE",
    "BetaTCVAE",
    "BetaVAE",
    "CascadeVAE",
    "Discriminator",
    "EntangledCodes",
    "EntropyInformations",
    "Evaluation",
    "EvidenceBound",
    "FactorVAE",
    "FactorisedScores",
    "FixedDraws",
    "GaussianCodes",
    "IMinParts",
    "Informations",
    "Interval",
    "JointVAE",
    "LeastInformation",
    "MaskedCopy",
    "Mixing",
    "NoisedCopy",
    "PIDBounds",
    "PIDInterval",
    "PointCodes",
    "Posterior",
    "Profile",
    "Redundancy",
    "ScoreIntervals",
    "Synergy",
    "VAETraining",
    "as_joint",
    "attacked_channel",
    "bootstrap",
    "channel_information",
    "common_change_in_surprisal",
    "convolutional_vae",
    "encode",
    "entropy_informations",
    "evaluate",
    "evidence_bound",
    "factorised_scores",
    "factorised_unibound",
    "factors_from_labels",
    "gaussian_interval",
    "gaussian_mmi",
    "i_min_of_codes",
    "informations",
    "interval",
    "interval_of",
    "joint_from_samples",
    "joint_from_table",
    "least_information",
    "marginals",
    "mig",
    "mixture_information",
    "multilayer_vae",
    "named_system",
    "one_against_rest",
    "pid",
    "pid_at",
    "pid_bounds",
    "profile",
    "reconstruct",
    "synthetic_codes",
    "train_vae",
    "unibound",
]

"""Metrics of disentanglement: each a function of codes or points that returns a frozen result.

``registry`` is the table of all scores, ``METRICS``; :func:`toolkit.disentanglement.evaluation.evaluate` computes it.
The metrics on points are one module each. ``udr`` ranks several trained models and so is not in the table.
"""

from toolkit.disentanglement.metrics.beta_vae import BETA_VAE_VARIANTS, BetaVAEScore, BetaVAEVariant, beta_vae_score
from toolkit.disentanglement.metrics.dci import DCI, dci
from toolkit.disentanglement.metrics.explicitness import Explicitness, explicitness
from toolkit.disentanglement.metrics.factor_vae import (
    FACTOR_VAE_VARIANTS,
    FactorVAEScore,
    FactorVAEVariant,
    factor_vae_score,
)
from toolkit.disentanglement.metrics.gaps import (
    InformationGap,
    InformationGapSup,
    mutual_information_gap,
    mutual_information_gap_sup,
)
from toolkit.disentanglement.metrics.histograms import BinnedInformations, binned_informations, discretise
from toolkit.disentanglement.metrics.irs import InterventionalRobustness, irs
from toolkit.disentanglement.metrics.modularity import Modularity, modularity
from toolkit.disentanglement.metrics.registry import METRICS, Metric, PartialInformation
from toolkit.disentanglement.metrics.results import MetricResult
from toolkit.disentanglement.metrics.sap import AttributePredictability, sap
from toolkit.disentanglement.metrics.udr import Ranking, udr
from toolkit.disentanglement.metrics.unsupervised import (
    LatentDependence,
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    latent_dependence,
    mutual_information_between_latents,
)

__all__ = [
    "BETA_VAE_VARIANTS",
    "DCI",
    "FACTOR_VAE_VARIANTS",
    "METRICS",
    "AttributePredictability",
    "BetaVAEScore",
    "BetaVAEVariant",
    "BinnedInformations",
    "Explicitness",
    "FactorVAEScore",
    "FactorVAEVariant",
    "InformationGap",
    "InformationGapSup",
    "InterventionalRobustness",
    "LatentDependence",
    "Metric",
    "MetricResult",
    "Modularity",
    "PartialInformation",
    "Ranking",
    "beta_vae_score",
    "binned_informations",
    "dci",
    "discretise",
    "explicitness",
    "factor_vae_score",
    "gaussian_total_correlation",
    "gaussian_wasserstein_correlation",
    "irs",
    "latent_dependence",
    "modularity",
    "mutual_information_between_latents",
    "mutual_information_gap",
    "mutual_information_gap_sup",
    "sap",
    "udr",
]

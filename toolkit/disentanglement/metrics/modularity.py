"""Modularity: is a latent about one factor only?"""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64
from torch import Tensor

from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.histograms import binned_informations
from toolkit.disentanglement.metrics.results import MetricResult


@dataclass(frozen=True, repr=False, eq=False)
class Modularity(MetricResult):
    """Modularity and what it is the mean of.

    Attributes:
        per_latent: 1 − deviation of each latent, ``[latents]``; 0 for one that knows nothing.
        information: I(latent; factor) in nats, ``[latents, factors]``.
    """

    per_latent: Float64[Tensor, " latents"]
    information: Float64[Tensor, "latents factors"]

    source: ClassVar[str] = (
        "Ridgeway and Mozer 2018, Learning deep disentangled embeddings with the F-statistic loss (arXiv 1802.05312); "
        "google-research/disentanglement_lib, evaluation/metrics/modularity_explicitness.py"
    )


def modularity(codes: PointCodes, *, n_bins: int = 20, binning: str = "equal_width") -> Modularity:
    """Return how near each latent's informations are to a template with one factor only.

    With m = I(latent; factor) by histograms, a latent's deviation is the sum of m² over all factors but the best,
    divided by (factors − 1) times the best one's m². The score is the mean over all latents of 1 − deviation; a latent
    without any information scores 0, as in disentanglement_lib. With a single factor every other latent scores 1.

    Args:
        codes: the points.
        n_bins: bins of a real latent; a categorical one is its category.
        binning: as for :func:`~toolkit.disentanglement.metrics.histograms.discretise`.

    Returns:
        The score: 0 to 1.

    Raises:
        ValueError: a factor of one value only, or bad options.
        TypeError: no point codes.
    """
    found = binned_informations(codes, n_bins=n_bins, binning=binning)
    per_latent = modularity_per_latent(found.information)
    return Modularity(
        float(per_latent.mean()), found.options, codes.factor_names, codes.latent_names, per_latent, found.information
    )


def modularity_per_latent(information: Float64[Tensor, "latents factors"]) -> Float64[Tensor, " latents"]:
    """Return 1 − deviation of each latent from informations in any unit; 0 where a row is 0."""
    best = information.amax(1, keepdim=True)
    # Shares of the best: squares of small numbers would vanish.
    share = (information / best.masked_fill(best == 0, 1)).square()
    deviation = (share.sum(1) - 1) / max(information.shape[1] - 1, 1)
    return (1 - deviation).masked_fill(best[:, 0] == 0, 0)

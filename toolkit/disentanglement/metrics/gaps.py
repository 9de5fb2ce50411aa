"""Gaps between the most and the second most informative: MIG over latents, MIG-sup over factors."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.histograms import binned_informations
from toolkit.disentanglement.metrics.results import MetricResult


@dataclass(frozen=True, repr=False, eq=False)
class InformationGap(MetricResult):
    """The mutual information gap.

    Attributes:
        per_factor: the gap of each factor, ``[factors]``.
        information: I(latent; factor) / H(factor), ``[latents, factors]``, from which the gaps are.
        best_latent: index of each factor's most informative latent.
    """

    per_factor: Float64[Tensor, " factors"]
    information: Float64[Tensor, "latents factors"]
    best_latent: tuple[int, ...]

    source: ClassVar[str] = (
        "Chen, Li, Grosse and Duvenaud 2018, Isolating sources of disentanglement in VAEs (arXiv 1802.04942); "
        "histograms as in google-research/disentanglement_lib, evaluation/metrics/mig.py"
    )


@dataclass(frozen=True, repr=False, eq=False)
class InformationGapSup(MetricResult):
    """MIG-sup: the information gap with latents and factors exchanged.

    Attributes:
        per_latent: the gap of each latent, ``[latents]``.
        counted: latents that are in the mean, ``[latents]``.
        information: I(latent; factor) / H(factor), ``[latents, factors]``, from which the gaps are.
        best_factor: index of each latent's most informed factor.
    """

    per_latent: Float64[Tensor, " latents"]
    counted: Bool[Tensor, " latents"]
    information: Float64[Tensor, "latents factors"]
    best_factor: tuple[int, ...]

    source: ClassVar[str] = (
        "Li, Murkute, Gyawali and Wang 2020, Progressive learning and disentanglement of hierarchical representations "
        "(arXiv 2002.10549), and the authors' code Zhiyuan1991/proVLAE, metric_MIG.py"
    )


def mutual_information_gap(codes: PointCodes, *, n_bins: int = 20, binning: str = "equal_width") -> InformationGap:
    """Return the MIG by histograms: the mean over factors of (largest − second largest I(latent; factor)) / H(factor).

    Informations and entropies are plug-in ones among the points; a latent is cut into bins over its own range. With a
    single latent the second largest is 0, as if a constant latent stood beside it.

    Args:
        codes: the points; disentanglement_lib takes the means of 10,000 images drawn at random.
        n_bins: bins of a real latent; a categorical one is its category.
        binning: as for :func:`~toolkit.disentanglement.metrics.histograms.discretise`.

    Returns:
        The gap: 0 to 1; 1 if each factor is one latent's, exactly and alone.

    Raises:
        ValueError: a factor of one value only, or bad options.
        TypeError: no point codes.
    """
    found = binned_informations(codes, n_bins=n_bins, binning=binning)
    per_factor, best = _gaps(found.normalised.T)
    return InformationGap(
        float(per_factor.mean()),
        found.options,
        codes.factor_names,
        codes.latent_names,
        per_factor,
        found.normalised,
        best,
    )


def mutual_information_gap_sup(
    codes: PointCodes, *, n_bins: int = 20, binning: str = "equal_width", least_variance: float = 0.0
) -> InformationGapSup:
    """Return MIG-sup: the mean over latents of the gap between their two largest I(latent; factor) / H(factor).

    MIG asks whether a factor is in one latent, this one whether a latent is about one factor. With a single factor the
    second largest is 0.

    Args:
        codes: the points.
        n_bins: bins of a real latent; a categorical one is its category.
        binning: as for :func:`~toolkit.disentanglement.metrics.histograms.discretise`.
        least_variance: latents that vary less among the points are left out of the mean, as constant ones always are.
            The authors ask for more than 0.01 of a VAE's means, which leaves its unused latents out; samples of those
            vary as the others do.

    Returns:
        The gap: 0 to 1; 0 if no latent counts.

    Raises:
        ValueError: a factor of one value only, or bad options.
        TypeError: no point codes.
    """
    operation = "mutual_information_gap_sup"
    require(least_variance >= 0, operation, "least_variance", ">= 0", least_variance)
    found = binned_informations(codes, n_bins=n_bins, binning=binning)
    per_latent, best = _gaps(found.normalised)
    variance = codes.points.double().var(0, correction=0)
    spread = torch.stack([part.sum() for part in variance.split(list(codes.groups))])
    counted = (found.latent_entropy > 0) & (spread >= least_variance)
    return InformationGapSup(
        float(per_latent[counted].mean()) if bool(counted.any()) else 0.0,
        found.options | {"least_variance": least_variance},
        codes.factor_names,
        codes.latent_names,
        per_latent,
        counted,
        found.normalised,
        best,
    )


def _gaps(rows: Float64[Tensor, "rows columns"]) -> tuple[Float64[Tensor, " rows"], tuple[int, ...]]:
    """Return how far the largest number of each row is above its second largest, and where it is."""
    ordered = torch.nn.functional.pad(rows, (0, 1)).sort(dim=1, descending=True).values
    return ordered[:, 0] - ordered[:, 1], tuple(rows.argmax(1).tolist())

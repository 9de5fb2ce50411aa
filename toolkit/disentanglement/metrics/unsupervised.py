"""Scores that need no factors: how far the latents are from independent of one another."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.histograms import discretise


@dataclass(frozen=True)
class LatentDependence:
    """How much the latents depend on one another; all are 0 for independent latents, and none needs factors.

    Attributes:
        total_correlation: of the Gaussian with the points' covariance, in nats; infinite where a latent is a linear
            function of others.
        wasserstein_correlation: squared distance W₂² between that Gaussian and the product of its marginals, in the
            unit of the codes, squared.
        normalised_wasserstein_correlation: the same divided by the sum of the variances.
        mutual_information: mean over pairs of latents of the information between them, in nats, each latent cut into
            bins of equal width. NaN with fewer than two latents.
    """

    total_correlation: float
    wasserstein_correlation: float
    normalised_wasserstein_correlation: float
    mutual_information: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return vars(self).copy()


def latent_dependence(points: PointCodes, *, n_bins: int = 20) -> LatentDependence:
    """Compute the unsupervised scores of disentanglement_lib.

    A categorical latent is one vector of columns in the Gaussian scores, and one discrete variable in the mutual
    information. Constant latents are independent of everything.

    Args:
        points: two points or more.
        n_bins: bins of equal width between the least and the largest value of a latent.

    Raises:
        ValueError: a single point, or no bin.

    Source: Locatello et al., "Challenging common assumptions in the unsupervised learning of disentangled
    representations" (ICML 2019), unsupervised scores.
    """
    covariance, groups = covariance_of(points.points), points.groups
    resolution = torch.finfo(points.points.dtype).eps
    wasserstein = gaussian_wasserstein_correlation(covariance, groups=groups)
    variance = float(covariance.diagonal().sum())
    return LatentDependence(
        total_correlation=gaussian_total_correlation(covariance, groups=groups, resolution=resolution),
        wasserstein_correlation=wasserstein,
        normalised_wasserstein_correlation=wasserstein / variance if variance > 0 else 0.0,
        mutual_information=mutual_information_between_latents(points, n_bins=n_bins),
    )


def covariance_of(columns: Float[Tensor, "points columns"]) -> Float64[Tensor, "columns columns"]:
    """Return the sample covariance matrix, computed in float64.

    Raises:
        ValueError: a single point.
    """
    require(len(columns) > 1, "covariance_of", "columns", "two points or more", len(columns))
    exact = columns.double()
    apart = exact - exact.mean(0)
    return apart.T @ apart / (len(exact) - 1)


def gaussian_total_correlation(
    covariance: Float[Tensor, "rows columns"],
    *,
    groups: tuple[int, ...] = (),
    resolution: float = torch.finfo(torch.float64).eps,
) -> float:
    """Return the sum of a Gaussian's marginal entropies less its joint entropy.

    Args:
        covariance: symmetric; a column of variance 0 is left out.
        groups: columns of each latent; default: one each, and then the result is −½ log det of the correlations.
        resolution: relative rounding error of the points behind it. What is closer to singular than that is taken as
            singular.

    Returns:
        Nats, 0 or more; infinite for latents of which one is a linear function of others.

    Raises:
        ValueError: not a square matrix of finite numbers, or groups that do not add up to its columns.
    """
    apart = _marginals("gaussian_total_correlation", covariance, groups)
    variances = covariance.diagonal().double()
    moving = variances > 0
    if not bool(moving.any()):
        return 0.0
    deviations = variances[moving].sqrt()
    together = covariance.double()[moving][:, moving] / deviations / deviations[:, None]
    # Rounding of the covariance itself puts a singular one this far from 0.
    least = 64 * len(together) * max(resolution**2, torch.finfo(torch.float64).eps)
    spectrum, vectors = torch.linalg.eigh(apart[moving][:, moving] / deviations / deviations[:, None])
    free = spectrum > 1e-9  # the columns of one categorical latent are not: they add up to 1
    whiten = vectors[:, free] / spectrum[free].sqrt()
    spectrum = torch.linalg.eigvalsh(whiten.T @ together @ whiten)
    return float("inf") if float(spectrum[0]) <= least else max(0.0, -0.5 * float(spectrum.log().sum()))


def gaussian_wasserstein_correlation(
    covariance: Float[Tensor, "rows columns"], *, groups: tuple[int, ...] = ()
) -> float:
    """Return W₂² between a centred Gaussian and the product of its marginals: 2 tr C − 2 tr (D½ C D½)½.

    Args:
        covariance: C, symmetric.
        groups: columns of each latent; default: one each. D is C without covariances of different latents.

    Returns:
        0 or more, in the unit of the covariance.

    Raises:
        ValueError: not a square matrix of finite numbers, or groups that do not add up to its columns.
    """
    apart = _marginals("gaussian_wasserstein_correlation", covariance, groups)
    # In units of the largest number: products of huge ones would overflow, of tiny ones vanish.
    unit = float(apart.abs().max()) if apart.numel() else 0.0
    if unit == 0:
        return 0.0
    spectrum, vectors = torch.linalg.eigh(apart / unit)
    root = vectors * spectrum.clamp(min=0).sqrt() @ vectors.T
    middle = torch.linalg.eigvalsh(root @ (covariance.double() / unit) @ root)
    return max(0.0, 2 * unit * float(apart.diagonal().div(unit).sum() - middle.clamp(min=0).sqrt().sum()))


def mutual_information_between_latents(points: PointCodes, *, n_bins: int = 20) -> float:
    """Return the mean over pairs of different latents of the information between their bins.

    Args:
        points: one point or more. A categorical latent is taken by its largest column.
        n_bins: bins of equal width between the least and the largest value of a latent.

    Returns:
        Nats; NaN with fewer than two latents.

    Raises:
        ValueError: no bin.
    """
    labels = discretise(points, n_bins=n_bins)
    n_latents, width = labels.shape[1], int(labels.max()) + 1
    if n_latents < 2:
        return float("nan")
    one_hot = torch.nn.functional.one_hot(labels, width).double().flatten(1)
    joint = (one_hot.T @ one_hot / len(labels)).reshape(n_latents, width, n_latents, width)
    entropy = -torch.special.xlogy(joint, joint).sum((1, 3))
    single = entropy.diagonal()  # a latent's bins and the same bins once more
    information = (single[:, None] + single - entropy).clamp(min=0)
    return float((information.sum() - information.diagonal().sum()) / (n_latents * (n_latents - 1)))


def _marginals(operation: str, covariance: Tensor, groups: tuple[int, ...]) -> Tensor:
    square = covariance.ndim == 2 and covariance.shape[0] == covariance.shape[1]
    require(square, operation, "covariance", "a square matrix", tuple(covariance.shape))
    require(bool(covariance.isfinite().all()), operation, "covariance", "finite numbers", "NaN or infinity")
    sizes = groups or (1,) * len(covariance)
    require(sum(sizes) == len(covariance), operation, "groups", f"{len(covariance)} columns in all", sizes)
    latent = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(covariance.device)
    return covariance.double() * (latent[:, None] == latent)

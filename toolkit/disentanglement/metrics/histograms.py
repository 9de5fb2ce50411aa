"""Latents cut into bins, and their mutual informations with the factors, counted.

The information of a histogram is biased upwards by about (bins − 1)(values − 1) / (2 points) nats: a latent of pure
noise gets that much. It is what the published scores were computed with, so it is not corrected.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.results import check_choice, check_integer, checked_points

BINNINGS = ("equal_width", "equal_frequency")


@dataclass(frozen=True, repr=False, eq=False)
class BinnedInformations:
    """Plug-in informations of binned latents, in nats.

    Attributes:
        information: I(latent; factor), ``[latents, factors]``; exactly 0 for a constant latent.
        factor_entropy: of each factor among the points, ``[factors]``.
        latent_entropy: of each binned latent, ``[latents]``.
        options: ``n_bins`` and ``binning``.
    """

    information: Float64[Tensor, "latents factors"]
    factor_entropy: Float64[Tensor, " factors"]
    latent_entropy: Float64[Tensor, " latents"]
    options: dict[str, Any]

    @property
    def normalised(self) -> Float64[Tensor, "latents factors"]:
        """Share of each factor's entropy."""
        return self.information / self.factor_entropy

    def __repr__(self) -> str:
        return f"BinnedInformations({self.information.shape[0]} latents, {self.information.shape[1]} factors)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, tensors as lists."""
        return {
            name: value.tolist() if isinstance(value, Tensor) else dict(value) for name, value in vars(self).items()
        }


def binned_informations(codes: PointCodes, *, n_bins: int = 20, binning: str = "equal_width") -> BinnedInformations:
    """Return the plug-in mutual information of every latent, cut into bins, with every factor.

    Args:
        codes: the points.
        n_bins: bins of a real latent. A categorical latent is its category instead.
        binning: as for :func:`discretise`.

    Returns:
        The informations, on the device of the points.

    Raises:
        ValueError: a factor of one value only, or bad options.
        TypeError: no point codes.
    """
    checked_points("binned_informations", codes)
    bins = discretise(codes, n_bins=n_bins, binning=binning).T
    width = max([n_bins, *codes.groups])
    counts = [_joint_counts(bins, values, width) for values in codes.factors.T.contiguous()]
    sizes = torch.tensor([part.shape[2] for part in counts], device=bins.device)
    owner = torch.nn.functional.one_hot(torch.arange(len(sizes), device=bins.device).repeat_interleave(sizes)).double()

    share = torch.cat(counts, dim=2).double() / len(codes)
    joint_entropy = _surprise(share).sum(1) @ owner
    factor_entropy = _surprise(share[0].sum(0)) @ owner
    latent_share = counts[0].sum(2).double() / len(codes)
    constant = (latent_share > 0).sum(1) == 1
    latent_entropy = _surprise(latent_share).sum(1).masked_fill(constant, 0)
    information = (latent_entropy[:, None] + factor_entropy - joint_entropy).clamp_min(0)
    information = information.masked_fill(constant[:, None], 0)
    return BinnedInformations(information, factor_entropy, latent_entropy, {"n_bins": n_bins, "binning": binning})


def discretise(codes: PointCodes, *, n_bins: int = 20, binning: str = "equal_width") -> Int64[Tensor, "points latents"]:
    """Cut each latent into bins.

    Args:
        codes: the points.
        n_bins: bins of a real latent.
        binning: ``"equal_width"``: over the latent's own range, with the edges of ``numpy.histogram`` in the points'
            floating type, an edge belonging to the bin above it. That is ``numpy.digitize(z, edges[:-1]) - 1`` as in
            disentanglement_lib. ``"equal_frequency"``: edges at the quantiles i / n_bins, interpolated linearly; equal
            numbers share a bin, so that some bins may stay empty.

    Returns:
        The bin of each point from 0; of a categorical latent the column with the largest number.

    Raises:
        ValueError: no bins, or another binning.
    """
    operation = "discretise"
    check_integer(operation, "n_bins", n_bins, 1)
    check_choice(operation, "binning", binning, BINNINGS)
    cut = _equal_width if binning == "equal_width" else _equal_frequency
    if set(codes.groups) == {1}:
        return cut(codes.points.T.contiguous(), n_bins).T
    parts = codes.points.split(list(codes.groups), dim=1)
    bins = [cut(part.T.contiguous(), n_bins)[0] if part.shape[1] == 1 else part.argmax(1) for part in parts]
    return torch.stack(bins, dim=1)


def _equal_width(latents: Float[Tensor, "latents points"], n_bins: int) -> Int64[Tensor, "latents points"]:
    low, high = torch.aminmax(latents, dim=1)
    # All points of a constant latent share a bin of any range.
    constant = low == high
    low, high = low.masked_fill(constant, 0), high.masked_fill(constant, 1)
    # In halves, for a range may be larger than the largest number.
    ends = ((low / 2).cpu().numpy(), (high / 2).cpu().numpy())
    edges = 2 * np.linspace(*ends, n_bins + 1, axis=1, dtype=ends[0].dtype)[:, 1:-1]

    width = high - low
    place = (latents - low[:, None]) * (n_bins / width)[:, None]
    bins = place.nan_to_num().clamp(0, n_bins - 1).long()
    # Arithmetic is faster than a search, but where it rounds the edges decide.
    slack = 16 * n_bins * torch.finfo(latents.dtype).eps * (1 + torch.maximum(low.abs(), high.abs()) / width)
    doubtful = ~((place - place.round()).abs() > slack[:, None])
    for latent in doubtful.any(1).nonzero()[:, 0].tolist():
        which = doubtful[latent].nonzero()[:, 0]
        bins[latent, which] = _place(latents[latent, which], torch.from_numpy(edges[latent]).to(latents))
    return bins


def _equal_frequency(latents: Float[Tensor, "latents points"], n_bins: int) -> Int64[Tensor, "latents points"]:
    ordered = latents.sort(dim=1).values
    position = torch.arange(1, n_bins, device=latents.device, dtype=torch.float64) / n_bins * (latents.shape[1] - 1)
    below = position.long()
    above = (below + 1).clamp_max(latents.shape[1] - 1)
    edges = torch.lerp(ordered[:, below].double(), ordered[:, above].double(), position - below)
    return _place(latents.double(), edges)


def _place(latents: Float[Tensor, "*rows points"], edges: Float[Tensor, "*rows _"]) -> Int64[Tensor, "*rows points"]:
    """Count the edges that are not above each number."""
    return torch.searchsorted(edges.contiguous(), latents, right=True)


def _joint_counts(
    bins: Int64[Tensor, "latents points"], values: Int64[Tensor, " points"], width: int
) -> Int64[Tensor, "latents {width} values"]:
    """Count the points of each latent's bin and each value of one factor."""
    size = int(values.max()) + 1
    if size > len(values):
        values = values.unique(return_inverse=True)[1]
        size = int(values.max()) + 1
    first = torch.arange(len(bins), device=bins.device)[:, None] * width
    cell = ((first + bins) * size).add_(values)
    return torch.bincount(cell.reshape(-1), minlength=len(bins) * width * size).view(-1, width, size)


def _surprise(share: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    return -torch.special.xlogy(share, share)

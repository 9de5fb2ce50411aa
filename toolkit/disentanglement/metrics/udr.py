"""Unsupervised disentanglement ranking: a disentangled model's latents are found again in the other trained models."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from toolkit.core.errors import reject, require
from toolkit.disentanglement.codes import GaussianCodes, PointCodes


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """How well each model's latents are found in the others.

    Attributes:
        scores: (models), the median over the other models; the larger, the more alike.
        pairwise: (models, models), how much row and column look like one another; NaN on the diagonal.
        active: for each model, the latents that took part.
        method: "lasso" or "spearman".
    """

    scores: Float64[Tensor, " models"]
    pairwise: Float64[Tensor, "models models"]
    active: tuple[Bool[Tensor, " _"], ...]
    method: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; None on the diagonal."""
        rows = [[None if value != value else value for value in row] for row in self.pairwise.tolist()]
        active = [one.tolist() for one in self.active]
        return {"scores": self.scores.tolist(), "pairwise": rows, "active": active, "method": self.method}

    def __repr__(self) -> str:
        return f"Ranking({len(self.scores)} models by {self.method}: {', '.join(f'{s:.3f}' for s in self.scores)})"


def udr(
    models: Sequence[GaussianCodes | PointCodes],
    *,
    method: str = "lasso",
    alpha: float = 0.1,
    least_divergence: float = 0.01,
) -> Ranking:
    """Rank trained models without factors, by how much their latents look like those of the other models.

    Two models are compared by a matrix of similarities of their latents, from their means on the same images. The score
    of a pair is the mean over both models' latents of max² / sum of a latent's similarities: large if a latent looks
    like one latent of the other model, and like no second one.

    Args:
        models: codes of the same images in the same order, at least two; best of one method with different seeds.
        method: "lasso": the size of the coefficients of one model's standardised latents in a Lasso regression of each
            latent of the other; "spearman": the size of the rank correlations.
        alpha: strength of the Lasso's penalty.
        least_divergence: Gaussian latents whose KL divergence from the prior N(0, 1) is at most this on average, in
            nats, are left out, and constant ones of any codes.

    Returns:
        A score a model. A pair in which a model has no active latent scores 0.

    Raises:
        ValueError: fewer than two models, different numbers of images, an unknown method.

    Source: Duan et al., "Unsupervised model selection for variational disentangled representation learning" (ICLR
    2020); regularisation and the mean over both directions as in disentanglement_lib.
    """
    require(len(models) >= 2, "udr", "models", "two models or more", len(models))
    if method not in ("lasso", "spearman"):
        reject("udr", "method", "'lasso' or 'spearman'", repr(method))
    lengths = [len(codes.factors) for codes in models]
    require(len(set(lengths)) == 1, "udr", "models", "codes of the same images", f"{lengths} images")
    active = tuple(_active(codes, least_divergence) for codes in models)
    columns = [
        _standardised(_means(codes)[:, chosen], ranks=method == "spearman")
        for codes, chosen in zip(models, active, strict=True)
    ]
    pairwise = torch.full((len(models), len(models)), torch.nan, dtype=torch.float64)
    for i, one in enumerate(columns):
        for j, other in enumerate(columns):
            if i != j:
                pairwise[i, j] = _relative_strength(_similarity(one, other, method, alpha))
    scores = [float(np.median(np.delete(column, index))) for index, column in enumerate(pairwise.numpy().T)]
    return Ranking(torch.tensor(scores, dtype=torch.float64), pairwise, active, method)


def _means(codes: GaussianCodes | PointCodes) -> Tensor:
    return (codes.means() if isinstance(codes, GaussianCodes) else codes).points.double()


def _active(codes: GaussianCodes | PointCodes, least_divergence: float) -> Tensor:
    means = _means(codes)
    moving = means.amax(0) > means.amin(0)
    if isinstance(codes, GaussianCodes):
        variance = codes.standard_deviation.double().square()
        divergence = 0.5 * (codes.mean.double().square() + variance - 1 - variance.log()).mean(0)
        moving[: codes.n_real] &= divergence > least_divergence
    return moving.cpu()


def _standardised(columns: Tensor, *, ranks: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
    from scipy.stats import rankdata

    values = columns.cpu().numpy()
    if ranks:
        values = rankdata(values, axis=0)
    apart = values - values.mean(0)
    return apart / np.sqrt(np.mean(apart**2, axis=0))


def _similarity(one: Any, other: Any, method: str, alpha: float) -> Tensor:
    if not (one.shape[1] and other.shape[1]):
        return torch.zeros(one.shape[1], other.shape[1], dtype=torch.float64)
    if method == "spearman":
        return torch.from_numpy(np.abs(one.T @ other) / len(one))
    from sklearn.linear_model import Lasso

    fitted = Lasso(alpha=alpha).fit(one, other)
    return torch.from_numpy(np.abs(fitted.coef_).reshape(other.shape[1], one.shape[1]).T.copy())


def _relative_strength(similarity: Tensor) -> float:
    if not similarity.numel():
        return 0.0
    halves = [(similarity.amax(dim).square() / similarity.sum(dim)).nan_to_num(nan=0.0).mean() for dim in (0, 1)]
    return float(sum(halves) / 2)

"""How a model's implied beliefs about metadata agree with the exact ones."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.errors import require
from toolkit.grammars.documents import Documents
from toolkit.grammars.metrics import ByPosition, by_position, divergences, reached


@dataclass(frozen=True, eq=False)
class Calibration:
    """A model's implied posterior beside the exact one.

    Attributes:
        kl: KL(exact ‖ implied) at each position, in nats.
        truth: the implied probability of the metadata that the document was drawn with.
        exact_truth: the exact one.
        bins: the implied probabilities fall between these.
        n: how many predictions, over sentences, positions and values, fall in each bin.
        predicted: their mean; NaN in an empty bin.
        exact: the mean of the exact probabilities of the same.
        observed: how often the value was the true one.
        error: mean distance of ``predicted`` and ``exact`` over the bins, weighted by ``n``: what is left of the
            expected calibration error when the truth is not drawn but known.
    """

    kl: ByPosition
    truth: ByPosition
    exact_truth: ByPosition
    bins: Float[Tensor, " edges"]
    n: Int[Tensor, " bins"]
    predicted: Float[Tensor, " bins"]
    exact: Float[Tensor, " bins"]
    observed: Float[Tensor, " bins"]
    error: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        curves = {name: getattr(self, name).to_dict() for name in ("kl", "truth", "exact_truth")}
        columns = ("bins", "n", "predicted", "exact", "observed")
        return curves | {name: getattr(self, name).tolist() for name in columns} | {"error": self.error}

    def __repr__(self) -> str:
        return f"Calibration(KL {self.kl.overall:.4g}, error {self.error:.4g})"


def calibrate(
    exact: Float[Tensor, "sentences positions groups"],
    implied: Float[Tensor, "sentences positions groups"],
    truth: Int[Tensor, " sentences"],
    documents: Documents,
    *,
    n_bins: int = 10,
) -> Calibration:
    """Compare a model's implied posterior with the exact one.

    Args:
        exact: probabilities, as :func:`toolkit.grammars.posteriors.group_posterior` gives them.
        implied: log-probabilities, as :func:`toolkit.grammars.posteriors.implied_log_posterior` gives them.
        truth: which value each document was drawn with.
        documents: the sentences.
        n_bins: of the reliability table, equally wide.

    Raises:
        ValueError: shapes that do not agree, a truth that is none of the values, or no bin.
    """
    require(n_bins >= 1, "calibrate", "n_bins", ">= 1", n_bins)
    require(exact.shape == implied.shape, "calibrate", "implied", f"shape {list(exact.shape)}", list(implied.shape))
    mask = reached(documents)
    require(exact.shape[:2] == mask.shape, "calibrate", "exact", f"shape {[*mask.shape, 'groups']}", list(exact.shape))
    require(len(truth) == len(mask), "calibrate", "truth", f"one a document: {len(mask)}", len(truth))
    inside = bool(((truth >= 0) & (truth < exact.shape[2])).all())
    require(inside, "calibrate", "truth", f"0 to {exact.shape[2] - 1}", "others")
    chosen = truth[:, None, None].expand(*exact.shape[:2], 1)
    edges = torch.linspace(0, 1, n_bins + 1, dtype=torch.float64, device=exact.device)
    predicted = implied.exp()
    hit = torch.zeros_like(exact).scatter_(-1, chosen, 1.0)
    place = torch.bucketize(predicted[mask].contiguous(), edges[1:-1], right=True).flatten()
    n = torch.bincount(place, minlength=n_bins)
    sums = [
        torch.zeros(n_bins, dtype=torch.float64, device=exact.device).index_add_(0, place, values[mask].flatten())
        for values in (predicted, exact, hit)
    ]
    mean_predicted, mean_exact, mean_observed = (total / n for total in sums)
    error = float((sums[0] - sums[1]).abs().sum() / n.sum()) if len(place) else float("nan")
    return Calibration(
        by_position(divergences(exact, implied), mask),
        by_position(predicted.gather(-1, chosen)[..., 0], mask),
        by_position(exact.gather(-1, chosen)[..., 0], mask),
        edges,
        n,
        mean_predicted,
        mean_exact,
        mean_observed,
        error,
    )

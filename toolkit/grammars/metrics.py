"""How far a predictor is from the best there is, position by position: losses, divergences, and how sure they are.

A predictor is given as what it says after every prefix: log-probabilities of shape [sentences, positions, V + 1], where
position k has seen k tokens and the last column is the end of the sentence. A sentence of n tokens reaches the
positions 0 to n; averages run over the sentences that reach a position.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.errors import require
from toolkit.grammars.documents import PADDING, Documents


@dataclass(frozen=True, eq=False)
class ByPosition:
    """Averages over the sentences that reach each position, and over all predictions.

    Attributes:
        mean: at each position; NaN where no sentence gets.
        standard_error: of each mean, over sentences; NaN where fewer than two get.
        n: how many sentences get there.
        overall: over all predictions, each with the same weight.
        overall_standard_error: of that ratio, over sentences.
    """

    mean: Float[Tensor, " positions"]
    standard_error: Float[Tensor, " positions"]
    n: Int[Tensor, " positions"]
    overall: float
    overall_standard_error: float

    def __len__(self) -> int:
        return len(self.mean)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "mean": self.mean.tolist(),
            "standard_error": self.standard_error.tolist(),
            "n": self.n.tolist(),
            "overall": self.overall,
            "overall_standard_error": self.overall_standard_error,
        }

    def __repr__(self) -> str:
        return f"ByPosition({len(self)} positions, overall {self.overall:.4g} ± {self.overall_standard_error:.2g})"


def reached(documents: Documents) -> Bool[Tensor, "sentences positions"]:
    """Return which positions, from 0 to the longest sentence's end, each sentence reaches."""
    lengths = documents.lengths
    longest = int(lengths.max()) if len(documents) else 0
    return torch.arange(longest + 1, device=lengths.device) <= lengths[:, None]


def next_tokens(documents: Documents, n_terminals: int) -> Int[Tensor, "sentences positions"]:
    """Return what comes at each position: a token, ``n_terminals`` for the end of the sentence, −1 behind it."""
    rows = documents.padded(int(documents.lengths.max()) + 1 if len(documents) else 1)
    index = torch.arange(rows.shape[1], device=rows.device)
    return torch.where(index == documents.lengths[:, None], n_terminals, rows)


def by_position(values: Float[Tensor, "sentences positions"], mask: Bool[Tensor, "sentences positions"]) -> ByPosition:
    """Average over the sentences at each position, and over everything.

    Args:
        values: one a prediction; what stands where ``mask`` is false does not matter.
        mask: which predictions there are.

    Returns:
        Means with standard errors; the overall one treats each sentence as one draw, for its predictions are not
        independent.
    """
    values = torch.where(mask, values.double(), 0.0)
    n = mask.sum(0)
    mean = values.sum(0) / n
    centred = torch.where(mask, values - mean, 0.0)
    error = (centred.square().sum(0) / (n - 1).clamp_min(0) / n).sqrt()
    total, sums, counts = int(n.sum()), values.sum(1), mask.sum(1)
    overall = float(sums.sum()) / total if total else float("nan")
    residuals = sums - overall * counts
    drawn = int((counts > 0).sum())
    spread = (residuals.square().sum() * drawn / (drawn - 1)).sqrt() / total if drawn > 1 else torch.tensor(torch.nan)
    error = torch.where(n > 1, error, torch.nan)
    return ByPosition(mean, error, n, overall, float(spread))


def token_losses(
    log_probs: Float[Tensor, "sentences positions columns"], documents: Documents
) -> Float[Tensor, "sentences positions"]:
    """Return −log q of what comes at each position, in nats; 0 behind the end.

    Raises:
        ValueError: other sentences or positions than the documents have, or a token without a column.
    """
    targets = next_tokens(documents, log_probs.shape[-1] - 1)
    _check_shape("token_losses", log_probs, targets)
    n_terminals = log_probs.shape[-1] - 1
    highest = int(documents.values.max()) if documents.n_tokens else -1
    require(highest < n_terminals, "token_losses", "documents", f"tokens below {n_terminals}", highest)
    found = -log_probs.gather(-1, targets.clamp_min(0)[..., None])[..., 0].double()
    return torch.where(targets == PADDING, 0.0, found)


def losses_by_position(log_probs: Float[Tensor, "sentences positions columns"], documents: Documents) -> ByPosition:
    """Return the mean of :func:`token_losses` at each position, and over all tokens and ends of sentences."""
    return by_position(token_losses(log_probs, documents), reached(documents))


def divergences(
    optimal: Float[Tensor, "*shape columns"], log_probs: Float[Tensor, "*shape columns"]
) -> Float[Tensor, "*shape"]:
    """Return KL(optimal ‖ predictor) of each prediction, in nats.

    Args:
        optimal: probabilities, float64; a row of zeros (behind the end of a sentence) gives 0.
        log_probs: of the predictor.

    Returns:
        Non-negative numbers but for rounding; infinite where the predictor excludes what can come.
    """
    possible = optimal > 0
    terms = optimal * (optimal.clamp_min(torch.finfo(optimal.dtype).tiny).log() - log_probs.to(optimal.dtype))
    return torch.where(possible, terms, 0.0).sum(-1)


def kl_by_position(
    optimal: Float[Tensor, "sentences positions columns"],
    log_probs: Float[Tensor, "sentences positions columns"],
    documents: Documents,
) -> ByPosition:
    """Return the mean of KL(optimal ‖ predictor) at each position: zero for a predictor that knows the grammar.

    Args:
        optimal: the Bayes-optimal probabilities, with as much metadata known as the predictor is shown, or less.
        log_probs: of the predictor.
        documents: the sentences.

    Raises:
        ValueError: shapes that do not agree.
    """
    mask = reached(documents)
    _check_shape("kl_by_position", log_probs, mask)
    shape = list(log_probs.shape)
    require(optimal.shape == log_probs.shape, "kl_by_position", "optimal", f"shape {shape}", list(optimal.shape))
    return by_position(divergences(optimal, log_probs), mask)


@dataclass(frozen=True, eq=False)
class Ratio:
    """The ratio of two means at each position, for the same sentences.

    Attributes:
        ratio: mean of the first divided by mean of the second.
        standard_error: by the delta method, with the two measured on the same sentences.
        n: how many sentences get there.
    """

    ratio: Float[Tensor, " positions"]
    standard_error: Float[Tensor, " positions"]
    n: Int[Tensor, " positions"]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"ratio": self.ratio.tolist(), "standard_error": self.standard_error.tolist(), "n": self.n.tolist()}

    def __repr__(self) -> str:
        return f"Ratio({len(self.n)} positions)"


def ratio_by_position(
    first: Float[Tensor, "sentences positions"],
    second: Float[Tensor, "sentences positions"],
    mask: Bool[Tensor, "sentences positions"],
) -> Ratio:
    """Return mean(first) / mean(second) at each position.

    Args:
        first: values of one model, such as :func:`divergences`.
        second: those of another model for the same predictions.
        mask: which predictions there are.
    """
    above, below = by_position(first, mask), by_position(second, mask)
    ratio = above.mean / below.mean
    residuals = torch.where(mask, first.double() - ratio * second.double(), 0.0)
    variance = residuals.square().sum(0) / (above.n - 1).clamp_min(0) / above.n
    error = variance.sqrt() / below.mean.abs()
    return Ratio(ratio, torch.where(above.n > 1, error, torch.nan), above.n)


def _check_shape(operation: str, log_probs: Tensor, positions: Tensor) -> None:
    expected = [*positions.shape, "V + 1"]
    require(log_probs.shape[:2] == positions.shape, operation, "log_probs", f"shape {expected}", list(log_probs.shape))

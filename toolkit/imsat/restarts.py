"""What the choice among restarts is worth: the score that the run with the lowest loss has on average.

A loss needs no labels, a score does. From the losses and scores of some runs follows what to expect when only a few of
them are made and the one with the lowest loss is kept: the exact mean over all subsets, not an estimate by resampling.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from toolkit.core.errors import reject, require


def selection_probabilities(losses: Sequence[float] | Any, n_init: int) -> Float64[np.ndarray, " runs"]:
    """Return for each run the probability that it is kept when ``n_init`` of the runs, drawn at random, are made.

    Kept is the drawn run with the lowest loss; runs of equal loss share their probability. The run with i lower ones is
    kept in ``C(n − 1 − i, n_init − 1)`` of the ``C(n, n_init)`` subsets.

    Args:
        losses: one for each run, ``[runs]``; +inf is worse than any other, a run that came to NaN has no place here.
        n_init: runs in a subset, from 1 to all.

    Returns:
        Probabilities that add to 1.

    Raises:
        ValueError: no run, a loss that is NaN, or ``n_init`` out of range.
        TypeError: ``n_init`` is no integer, or the losses are no numbers.
    """
    operation = "selection_probabilities"
    values = _numbers(operation, "losses", losses)
    n = values.size
    if isinstance(n_init, bool) or not isinstance(n_init, (int, np.integer)):
        reject(operation, "n_init", f"an integer from 1 to {n}", repr(n_init), kind=TypeError)
    require(1 <= n_init <= n, operation, "n_init", f"an integer from 1 to {n}", n_init)
    by_rank = np.zeros(n)
    by_rank[0] = n_init / n
    for i in range(1, n - n_init + 1):  # C(n−1−i, m−1) / C(n−i, m−1), without numbers beyond floating point
        by_rank[i] = by_rank[i - 1] * (n - n_init - i + 1) / (n - i)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shares = np.array([by_rank[end - count : end].mean() for end, count in zip(ends, counts, strict=True)])
    return shares[place]


def expected_selected(losses: Sequence[float] | Any, scores: Sequence[float] | Any, n_init: int) -> float:
    """Return the mean score of the run with the lowest loss, over all subsets of ``n_init`` runs.

    Args:
        losses: one for each run, ``[runs]``.
        scores: of the same runs, for example accuracies.
        n_init: runs in a subset; 1 gives the mean of all scores, all runs give the score of the lowest loss.

    Returns:
        The mean, in the unit of the scores.

    Raises:
        ValueError, TypeError: as :func:`selection_probabilities`; a score that is not finite, or not one for each run.
    """
    probabilities = selection_probabilities(losses, n_init)
    values = _numbers("expected_selected", "scores", scores)
    expected = f"{probabilities.size} finite numbers"
    require(values.size == probabilities.size, "expected_selected", "scores", expected, f"{values.size} numbers")
    require(bool(np.isfinite(values).all()), "expected_selected", "scores", expected, values)
    return float(probabilities @ values)


def _numbers(operation: str, argument: str, values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    expected = "one number for each run, none of them NaN"
    try:
        array = np.asarray(values)
    except ValueError:  # rows of several lengths
        array = np.asarray(values, dtype=object)
    if array.size and array.dtype.kind not in "fiu":
        reject(operation, argument, expected, f"dtype {array.dtype}", kind=TypeError)
    require(array.ndim == 1 and array.size > 0, operation, argument, expected, f"shape {array.shape}")
    array = array.astype(float)
    require(not bool(np.isnan(array).any()), operation, argument, expected, array)
    return array

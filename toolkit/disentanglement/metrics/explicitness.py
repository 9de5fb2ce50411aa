"""Explicitness: can a linear classifier read each value of each factor off the representation?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.held_out import Split, split_points
from toolkit.disentanglement.metrics.results import MetricResult, check_choice

CLASSIFIERS = ("one_vs_rest", "multinomial")


@dataclass(frozen=True, repr=False, eq=False)
class Explicitness(MetricResult):
    """Explicitness and what it is the mean of.

    Attributes:
        per_factor: mean over each factor's values, on the scale of ``score``, ``[factors]``.
        area: area under the ROC curve of each value, from 0 to 1, ``[factors, values]``; NaN for a value that not both
            parts of the points have.
    """

    per_factor: Float64[Tensor, " factors"]
    area: Float64[Tensor, "factors values"]

    source: ClassVar[str] = (
        "Ridgeway and Mozer 2018, Learning deep disentangled embeddings with the F-statistic loss (arXiv 1802.05312); "
        "google-research/disentanglement_lib, evaluation/metrics/modularity_explicitness.py"
    )


def explicitness(
    codes: PointCodes,
    *,
    classifier: str = "one_vs_rest",
    normalised: bool = True,
    regularisation: float = 1.0,
    test_fraction: float = 1 / 3,
    generator: torch.Generator | None = None,
) -> Explicitness:
    """Return the area under the ROC curve of "this value or another", over all values, then over factors.

    The classifier is a logistic regression on all columns, standardised by the points it learns from; a categorical
    latent enters by its one-hot columns. The areas are those of the points held out.

    Args:
        codes: the points.
        classifier: ``"one_vs_rest"``: a logistic regression for each value against all others (Ridgeway and Mozer).
            ``"multinomial"``: one for all values of a factor, ranked by their probabilities, as scikit-learn's
            ``LogisticRegression()`` in disentanglement_lib's code is today.
        normalised: 2 · area − 1, so that chance is 0 and all right is 1 (Ridgeway and Mozer); otherwise the area
            itself, chance being 0.5 (disentanglement_lib).
        regularisation: scikit-learn's ``C``, the inverse of the penalty's weight.
        test_fraction: share of the points held out.
        generator: draws them.

    Returns:
        The score. Below chance is possible.

    Raises:
        ValueError: a factor of one value only, too few points, bad options, or a factor no value of which is in both
            parts.
        TypeError: no point codes.
    """
    operation = "explicitness"
    check_choice(operation, "classifier", classifier, CLASSIFIERS)
    require(regularisation > 0, operation, "regularisation", "> 0", regularisation)
    split = split_points(operation, codes, test_fraction, generator).standardised()
    areas = np.full((len(codes.factor_names), max(codes.factor_sizes)), np.nan)
    for factor, name in enumerate(codes.factor_names):
        truth, held_out = split.train_factors[:, factor], split.test_factors[:, factor]
        values = [int(v) for v in np.intersect1d(truth, held_out) if (held_out != v).any()]
        expected = f"at least two values of {name!r} among the {len(held_out)} points held out, one of them learned"
        require(len(values) > 0, operation, "factors", expected, "fewer")
        ranked = _scores(split, truth, values, classifier, regularisation)
        areas[factor, values] = [_area(held_out == value, score) for value, score in zip(values, ranked, strict=True)]
    area = torch.from_numpy(areas)
    per_factor = area.nanmean(1)
    per_factor = 2 * per_factor - 1 if normalised else per_factor
    options = {
        "classifier": classifier,
        "normalised": normalised,
        "regularisation": regularisation,
        "test_fraction": test_fraction,
    }
    return Explicitness(float(per_factor.mean()), options, codes.factor_names, codes.latent_names, per_factor, area)


def _scores(
    split: Split, truth: np.ndarray, values: list[int], classifier: str, regularisation: float
) -> list[np.ndarray]:
    """Return, for each value, a number for each point held out that is higher where the value is likelier."""
    from sklearn.linear_model import LogisticRegression

    if classifier == "multinomial":
        model = LogisticRegression(C=regularisation, max_iter=1000).fit(split.train, truth)
        probability = model.predict_proba(split.test)
        return [probability[:, list(model.classes_).index(value)] for value in values]
    # Newton's method converges in a few steps here, and to the digits.
    models = (LogisticRegression(C=regularisation, solver="newton-cholesky") for _ in values)
    return [
        model.fit(split.train, truth == value).decision_function(split.test)
        for model, value in zip(models, values, strict=True)
    ]


def _area(positive: np.ndarray, score: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))

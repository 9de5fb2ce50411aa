"""SAP: how much better does the best single latent predict a factor than the second best?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.disentanglement.codes import PointCodes
from toolkit.disentanglement.metrics.held_out import Split, split_points
from toolkit.disentanglement.metrics.line_machines import fit_line_machines
from toolkit.disentanglement.metrics.results import MetricResult, check_choice, checked_points

PREDICTIONS = ("accuracy", "r_squared")


@dataclass(frozen=True, repr=False, eq=False)
class AttributePredictability(MetricResult):
    """The separated attribute predictability.

    Attributes:
        per_factor: the gap of each factor, ``[factors]``.
        prediction: accuracy or R² of each latent alone, ``[latents, factors]``.
        best_latent: index of each factor's best latent.
    """

    per_factor: Float64[Tensor, " factors"]
    prediction: Float64[Tensor, "latents factors"]
    best_latent: tuple[int, ...]

    source: ClassVar[str] = (
        "Kumar, Sattigeri and Balakrishnan 2018, Variational inference of disentangled latent concepts from unlabeled "
        "observations (arXiv 1711.00848); google-research/disentanglement_lib, evaluation/metrics/sap_score.py"
    )


def sap(
    codes: PointCodes,
    *,
    prediction: str = "accuracy",
    regularisation: float = 0.01,
    standardise: bool = False,
    test_fraction: float = 1 / 3,
    generator: torch.Generator | None = None,
) -> AttributePredictability:
    """Return the mean over factors of the gap between the two latents that alone predict the factor best.

    A categorical latent predicts by all its one-hot columns.

    Args:
        codes: the points, of at least two latents.
        prediction: ``"accuracy"``: on points held out, of a linear support vector machine (squared hinge, one value
            against the rest, its points balanced against all), as ``sklearn.svm.LinearSVC`` but to the exact minimum.
            ``"r_squared"``: share of the variance of the factor's index that a least-squares line on the latent
            explains, on all points; for factors whose values are ordered.
        regularisation: the machine's ``C``; 0.01 in disentanglement_lib.
        standardise: divide each column by its standard deviation first, so that the score does not depend on the
            latents' units. disentanglement_lib does not.
        test_fraction: share of the points held out.
        generator: draws them.

    Returns:
        The score: 0 to 1.

    Raises:
        ValueError: a single latent, a factor of one value only, too few points, or bad options.
        TypeError: no point codes.
    """
    operation = "sap"
    check_choice(operation, "prediction", prediction, PREDICTIONS)
    require(regularisation > 0, operation, "regularisation", "> 0", regularisation)
    checked_points(operation, codes)
    require(codes.n_latents >= 2, operation, "codes", "at least two latents, between which there is a gap", "one")
    if prediction == "accuracy":
        split = split_points(operation, codes, test_fraction, generator)
        matrix = _accuracies(split.standardised() if standardise else split, regularisation)
        options = {"regularisation": regularisation, "standardise": standardise, "test_fraction": test_fraction}
    else:
        matrix, options = _r_squared(codes), {}
    best = matrix.topk(2, dim=0)
    per_factor = best.values[0] - best.values[1]
    return AttributePredictability(
        float(per_factor.mean()),
        {"prediction": prediction} | options,
        codes.factor_names,
        codes.latent_names,
        per_factor,
        matrix,
        tuple(best.indices[0].tolist()),
    )


def _accuracies(split: Split, regularisation: float) -> Float64[Tensor, "latents factors"]:
    found = np.empty((len(split.columns), split.train_factors.shape[1]))
    for latent, columns in enumerate(split.columns):
        for factor, (truth, held_out) in enumerate(zip(split.train_factors.T, split.test_factors.T, strict=True)):
            predicted = _predicted(split.train[:, columns], truth, split.test[:, columns], regularisation)
            found[latent, factor] = (predicted == held_out).mean()
    return torch.from_numpy(found)


def _predicted(train: np.ndarray, truth: np.ndarray, test: np.ndarray, regularisation: float) -> np.ndarray:
    if train.shape[1] == 1:
        return fit_line_machines(train[:, 0], truth, regularisation).predict(test[:, 0])
    from sklearn.svm import LinearSVC

    # The primal has as many unknowns as the latent has columns, and needs no random numbers.
    return LinearSVC(C=regularisation, class_weight="balanced", dual=False).fit(train, truth).predict(test)


def _r_squared(codes: PointCodes) -> Float64[Tensor, "latents factors"]:
    factors = _unit_columns(codes.factors.double())
    rows = []
    for part in codes.points.double().split(list(codes.groups), dim=1):
        columns = _unit_columns(part)
        # Of a categorical latent one column follows from the others: an orthonormal basis leaves it out.
        if columns.shape[1] > 1:
            basis, size, _ = torch.linalg.svd(columns, full_matrices=False)
            columns = basis * (size > size[0] * 1e-10)
        rows.append((columns.T @ factors).square().sum(0).clamp_max(1))
    return torch.stack(rows)


def _unit_columns(columns: Float64[Tensor, "points columns"]) -> Float64[Tensor, "points columns"]:
    """Return columns of mean 0 and length 1; constant ones become 0."""
    # In units of the largest number: squares of huge ones would overflow, of tiny ones vanish.
    largest = columns.abs().amax(0)
    columns = columns / largest.masked_fill(largest == 0, 1)
    constant = (columns == columns[0]).all(0)
    centred = (columns - columns.mean(0)).masked_fill(constant, 0)
    length = torch.linalg.vector_norm(centred, dim=0)
    return centred / length.masked_fill(length == 0, 1)

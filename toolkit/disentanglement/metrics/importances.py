"""How much each latent matters to a classifier that predicts a factor from all of them."""

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float64

from toolkit.disentanglement.metrics.held_out import Split

CLASSIFIERS = ("histogram", "reference")
IMPORTANCES = ("gain", "permutation")

# A fifth of the reference's trees, each five times as large a step, come within some hundredths of its scores.
_HISTOGRAM = {
    "max_iter": 20,
    "learning_rate": 0.5,
    "max_depth": 3,
    "l2_regularization": 2.0,
    "min_samples_leaf": 5,
    "early_stopping": False,
}


def importance_of(
    split: Split, factor: int, classifier: str, importance: str
) -> tuple[Float64[np.ndarray, " latents"], float, str]:
    """Fit a classifier of one factor to the points to learn from.

    Args:
        split: the points.
        factor: which factor.
        classifier: "histogram" (``HistGradientBoostingClassifier``) or "reference" (``GradientBoostingClassifier`` with
            scikit-learn's defaults).
        importance: "gain", summed over splits, or "permutation": the loss of accuracy on the points held out when
            the latent's columns are shuffled among them, or 0 if there is none.

    Returns:
        Each latent's importance, adding up to 1 unless all are 0; the accuracy on the points held out; and the
        importance that was used, which is "permutation" if the gains cannot be read.
    """
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

    model: Any
    if classifier == "reference":
        model = GradientBoostingClassifier(random_state=split.seed)
    else:
        model = HistGradientBoostingClassifier(random_state=split.seed, **_HISTOGRAM)
    model.fit(split.train, split.train_factors[:, factor])
    right = float((model.predict(split.test) == split.test_factors[:, factor]).mean())
    gains = None
    if importance == "gain":
        gains = model.feature_importances_ if classifier == "reference" else split_gains(model, split.train.shape[1])
    if gains is not None:
        found = np.array([gains[columns].sum() for columns in split.columns])
    else:
        found = _permutation(model, split, factor, right)
    total = found.sum()
    return found / total if total > 0 else found, right, "permutation" if gains is None else "gain"


def split_gains(model: Any, n_columns: int) -> Float64[np.ndarray, " columns"] | None:
    """Sum the gains of all splits of a fitted ``HistGradientBoostingClassifier`` by the column that they split.

    The estimator does not publish them; they are in the nodes of its trees. None, with a warning, if they are not.
    """
    gains = np.zeros(n_columns)
    try:
        for tree in (tree for iteration in model._predictors for tree in iteration):
            nodes = tree.nodes
            splits = nodes[nodes["is_leaf"] == 0]
            np.add.at(gains, splits["feature_idx"].astype(np.int64), splits["gain"].astype(np.float64))
    except (AttributeError, ValueError, IndexError, TypeError, KeyError) as error:
        warnings.warn(
            f"dci: this scikit-learn keeps its split gains elsewhere ({error}); permutation importance instead",
            stacklevel=3,
        )
        return None
    return gains


def _permutation(model: Any, split: Split, factor: int, right: float, repeats: int = 5) -> np.ndarray:
    generator = np.random.default_rng(split.seed)
    found = np.zeros(len(split.columns))
    for latent, columns in enumerate(split.columns):
        for _ in range(repeats):
            shuffled = split.test.copy()
            shuffled[:, columns] = shuffled[generator.permutation(len(shuffled)), columns]
            found[latent] += right - (model.predict(shuffled) == split.test_factors[:, factor]).mean()
    return np.maximum(found / repeats, 0)

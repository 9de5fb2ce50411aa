"""The clusters of a fitted estimator, or of labels alone, on given images: scores, counts and certainty."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from toolkit.core.errors import require
from toolkit.experiments.imsat_data import Points
from toolkit.imsat.evaluation import AlignedConfusion, ClusteringScores, aligned_confusion, evaluate_clustering


@dataclass(frozen=True, repr=False, eq=False)
class Clustering:
    """A method's clusters on some images.

    Attributes:
        method: its name.
        clusters: of each image, numbered or named as the method does.
        certainty: of each image, the larger the surer; ``None`` if the method says nothing about it.
        measure: what the certainty is: ``"p(cluster | image)"``, ``"minus the distance to its centre"`` or empty.
        scores: accuracy, normalised mutual information and adjusted Rand index.
        confusion: counts of classes against clusters.
        training: of an estimator that says so, how long it was trained and from which seed; else empty.
    """

    method: str
    clusters: Shaped[np.ndarray, " images"]
    certainty: Float[np.ndarray, " images"] | None
    measure: str
    scores: ClusteringScores
    confusion: AlignedConfusion
    training: str = ""

    def __repr__(self) -> str:
        return f"Clustering({self.method}: {self.confusion.counts.shape[1]} clusters, {self.scores.accuracy:.4f})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def examine(method: str, model: Any, points: Points) -> Clustering:
    """Score a method's clusters.

    Args:
        method: its name.
        model: a fitted estimator, or the cluster of each image.
        points: the images.

    Raises:
        ValueError, TypeError: not one label for each image, or none that can be read.
    """
    n = len(points.inputs)
    inputs = points.inputs.numpy()
    certainty, measure = None, ""
    if hasattr(model, "predict"):
        model_type = getattr(getattr(model, "cluster_centers_", None), "dtype", inputs.dtype)
        inputs = inputs.astype(model_type)  # k-means takes points of the type that it was fitted on
        clusters = model.predict(inputs)
        if hasattr(model, "predict_proba"):
            certainty, measure = np.asarray(model.predict_proba(inputs)).max(1), "p(cluster | image)"
        elif hasattr(model, "cluster_centers_"):
            centres = np.asarray(model.cluster_centers_)[clusters]
            certainty, measure = -np.linalg.norm(inputs - centres, axis=1), "minus the distance to its centre"
    else:
        clusters = getattr(model, "labels_", model)
    if hasattr(clusters, "detach"):
        clusters = clusters.detach().cpu()
    clusters = np.asarray(clusters)
    require(clusters.shape == (n,), "examine", f"the labels of {method}", f"one for each of {n} images", clusters.shape)
    labels = points.labels.numpy()
    scores, confusion = evaluate_clustering(labels, clusters), aligned_confusion(labels, clusters)
    return Clustering(method, clusters, certainty, measure, scores, confusion, _training(model))


def _training(model: Any) -> str:
    passes, seed = (getattr(model, name, None) for name in ("epochs", "random_state"))
    if not isinstance(passes, int):
        return ""
    return f"{passes} passes from seed {seed}" if isinstance(seed, int) else f"{passes} passes"

"""How well clusters match known classes: accuracy under the best one-to-one match, and two measures without one.

Clusters carry arbitrary numbers, so accuracy first matches each cluster to at most one class, and each class to at
most one cluster, such that as many points as possible agree (the Hungarian assignment). Matching every cluster to
its majority class instead, many to one, gives higher numbers that cannot be compared with these.
"""

import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from toolkit.imsat.labels import read_label_pair


@dataclass(frozen=True)
class ClusteringScores:
    """How well clusters match known classes; 1 is perfect in all three.

    Attributes:
        accuracy: the share of points that agree under the best one-to-one match.
        normalized_mutual_information: between labels and clusters, over the arithmetic mean of their entropies.
        adjusted_rand_index: the share of pairs on which both agree, adjusted so that chance gives 0; can be negative.
    """

    accuracy: float
    normalized_mutual_information: float
    adjusted_rand_index: float

    def __repr__(self) -> str:
        return (
            f"ClusteringScores(accuracy={self.accuracy:.4f}, "
            f"normalized_mutual_information={self.normalized_mutual_information:.4f}, "
            f"adjusted_rand_index={self.adjusted_rand_index:.4f})"
        )

    def to_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class AlignedConfusion:
    """How many points of each class fell into each cluster, the clusters in the order of the classes they match.

    With as many clusters as classes the matched counts are the diagonal.

    Attributes:
        counts: points of each class in each cluster.
        classes: name of each row, in sorted order.
        clusters: name of each column: those that match a class in the classes' order, then the others, the largest
            first.
        matches: for each column its class, ``None`` where it matches none.
    """

    counts: Int64[np.ndarray, "classes clusters"]
    classes: tuple[Any, ...]
    clusters: tuple[Any, ...]
    matches: tuple[Any, ...]

    def __repr__(self) -> str:
        rows, columns = self.counts.shape
        return f"AlignedConfusion({rows} classes × {columns} clusters, accuracy={self.accuracy:.4f})"

    @property
    def accuracy(self) -> float:
        """The share of points in matched cells."""
        row_of = {name: row for row, name in enumerate(self.classes)}
        matched = [(row_of[name], column) for column, name in enumerate(self.matches) if name is not None]
        return sum(int(self.counts[cell]) for cell in matched) / int(self.counts.sum())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, the counts as nested lists."""
        return {
            "counts": self.counts.tolist(),
            "classes": list(self.classes),
            "clusters": list(self.clusters),
            "matches": list(self.matches),
        }


@dataclass(frozen=True, eq=False)
class _Table:
    """The counts of labels against clusters, and the best match as pairs of row and column."""

    counts: np.ndarray
    classes: list[Any]
    clusters: list[Any]
    rows: np.ndarray
    columns: np.ndarray


def clustering_accuracy(labels: object, clusters: object) -> float:
    """Return the share of points whose cluster matches their class, under the best one-to-one match.

    There may be more clusters than classes, or fewer; what is left without a partner counts as wrong.

    Args:
        labels: the true classes, ``[points]``: a list, an array or a tensor of integers or strings.
        clusters: the cluster of each point, ``[points]``, likewise. A noise label such as −1 is a cluster like any.

    Returns:
        A number in (0, 1].

    Raises:
        ValueError: the lengths differ, or one is empty, not one-dimensional, or has missing or fractional entries.
        TypeError: something that is no label.
    """
    return _accuracy(_match("clustering_accuracy", labels, clusters))


def align_clusters(labels: object, clusters: object) -> dict[Any, Any]:
    """Return the class that each cluster matches in the best one-to-one match.

    Args:
        labels, clusters: as for :func:`clustering_accuracy`.

    Returns:
        Cluster to class, in the order of the classes. With more clusters than classes some clusters are absent.
        A pair may share no point: the match goes on until classes or clusters run out.

    Raises:
        ValueError, TypeError: as :func:`clustering_accuracy`.
    """
    table = _match("align_clusters", labels, clusters)
    return {table.clusters[column]: table.classes[row] for row, column in zip(table.rows, table.columns, strict=True)}


def aligned_confusion(labels: object, clusters: object) -> AlignedConfusion:
    """Return the counts of classes against clusters, each cluster beside the class that it matches.

    Args:
        labels, clusters: as for :func:`clustering_accuracy`.

    Returns:
        The counts with the names of rows and columns.

    Raises:
        ValueError, TypeError: as :func:`clustering_accuracy`.
    """
    table = _match("aligned_confusion", labels, clusters)
    left = np.setdiff1d(np.arange(len(table.clusters)), table.columns)
    left = left[np.argsort(-table.counts[:, left].sum(0), kind="stable")]
    matches = [table.classes[row] for row in table.rows] + [None] * len(left)
    order = np.concatenate((table.columns, left))
    names = tuple(table.clusters[column] for column in order)
    return AlignedConfusion(table.counts[:, order], tuple(table.classes), names, tuple(matches))


def evaluate_clustering(labels: object, clusters: object) -> ClusteringScores:
    """Return accuracy, normalised mutual information and adjusted Rand index.

    Args:
        labels, clusters: as for :func:`clustering_accuracy`.

    Returns:
        The three scores; none changes when clusters are numbered otherwise.

    Raises:
        ValueError, TypeError: as :func:`clustering_accuracy`.
    """
    operation = "evaluate_clustering"
    rows, columns, *_ = _numbered(operation, labels, clusters)
    with warnings.catch_warnings():
        # Many classes for few points look to scikit-learn like a regression; these were checked to be labels.
        warnings.filterwarnings("ignore", message="The number of unique classes", category=UserWarning)
        information = normalized_mutual_info_score(rows, columns)
        rand = adjusted_rand_score(rows, columns)
    return ClusteringScores(_accuracy(_match(operation, rows, columns)), float(information), float(rand))


def _accuracy(table: _Table) -> float:
    return int(table.counts[table.rows, table.columns].sum()) / int(table.counts.sum())


def _numbered(operation: str, labels: object, clusters: object) -> tuple[np.ndarray, np.ndarray, list, list]:
    true, found = read_label_pair(operation, ("labels", labels), ("clusters", clusters))
    classes, rows = np.unique(true, return_inverse=True)
    groups, columns = np.unique(found, return_inverse=True)
    return rows, columns, classes.tolist(), groups.tolist()


def _match(operation: str, labels: object, clusters: object) -> _Table:
    rows, columns, classes, groups = _numbered(operation, labels, clusters)
    shape = (len(classes), len(groups))
    counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    return _Table(counts, classes, groups, *linear_sum_assignment(counts, maximize=True))

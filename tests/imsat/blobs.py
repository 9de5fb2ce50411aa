"""Three clear groups of points, and a small estimator of them."""

from sklearn.datasets import make_blobs
from sklearn.preprocessing import StandardScaler

from toolkit.imsat import IMSAT

SMALL = {"hidden": (8,), "epochs": 4, "batch_size": 20, "random_state": 0, "device": "cpu"}


def blobs(n: int = 60, d: int = 5, centers: int = 3, seed: int = 0):
    x, labels = make_blobs(n, d, centers=centers, random_state=seed, cluster_std=0.3)
    return StandardScaler().fit_transform(x), labels


X, LABELS = blobs()


def small(n_clusters: int = 3, **options) -> IMSAT:
    return IMSAT(n_clusters, **(SMALL | options))

"""Discrete representations by information maximisation and self-augmented training (Hu et al., ICML 2017).

The paper asks how a network can cluster images, or give them hash codes, without a label. Its answer: maximise the
mutual information between image and code, and ask that the code survives a perturbation, best the worst small one.

``losses``, ``hash_losses`` hold the information of clusters and of bits, ``exact`` its true value by enumeration;
``perturbations``, ``affine``, ``neighbours`` how points are moved and how far; ``models`` the networks; ``training``
one step and the loop. ``clustering.IMSAT`` and ``hashing.IMSATHash`` are scikit-learn estimators around them.
``evaluation`` and ``retrieval`` score clusters and codes, ``hash_baselines`` gives codes to compare with.
"""

from toolkit.imsat.clustering import IMSAT
from toolkit.imsat.evaluation import (
    AlignedConfusion,
    ClusteringScores,
    align_clusters,
    aligned_confusion,
    clustering_accuracy,
    evaluate_clustering,
)
from toolkit.imsat.hashing import IMSATHash
from toolkit.imsat.losses import (
    conditional_entropy,
    divergence,
    marginal_divergence,
    marginal_entropy,
    mutual_information,
)
from toolkit.imsat.models import network
from toolkit.imsat.perturbations import Augmentation, RandomPerturbation, Surroundings, VirtualAdversarial

__all__ = [
    "IMSAT",
    "AlignedConfusion",
    "Augmentation",
    "ClusteringScores",
    "IMSATHash",
    "RandomPerturbation",
    "Surroundings",
    "VirtualAdversarial",
    "align_clusters",
    "aligned_confusion",
    "clustering_accuracy",
    "conditional_entropy",
    "divergence",
    "evaluate_clustering",
    "marginal_divergence",
    "marginal_entropy",
    "mutual_information",
    "network",
]

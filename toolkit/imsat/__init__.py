"""Discrete representations by information maximisation and self-augmented training (Hu et al., ICML 2017).

The paper asks how a network can cluster images, or give them hash codes, without a label. Its answer: maximise the
mutual information between image and code, and ask that the code survives a perturbation, best the worst small one.

``losses``, ``hash_losses`` hold the information of clusters and of bits, ``exact`` its true value by enumeration;
``perturbations``, ``affine``, ``neighbours`` how points are moved and how far; ``models`` the networks; ``training``
one step and the loop. ``clustering.IMSAT`` and ``hashing.IMSATHash`` are scikit-learn estimators around them.
``evaluation`` and ``retrieval`` score clusters and codes, ``hash_baselines`` gives codes to compare with.
"""

from toolkit.imsat.affine import AffineAugmentation
from toolkit.imsat.clustering import IMSAT
from toolkit.imsat.evaluation import (
    AlignedConfusion,
    ClusteringScores,
    align_clusters,
    aligned_confusion,
    clustering_accuracy,
    evaluate_clustering,
)
from toolkit.imsat.exact import (
    code_distribution,
    duplicated_bits,
    exact_hash_information,
    expected_batch_entropy,
    expected_minibatch_information,
    fisher_direction,
    fisher_information,
    xor_bits,
)
from toolkit.imsat.hamming import hamming_distances, pack_codes
from toolkit.imsat.hash_baselines import PCAHash
from toolkit.imsat.hash_losses import bernoulli_divergence, bit_information, hash_information, pairwise_information
from toolkit.imsat.hashing import IMSATHash
from toolkit.imsat.losses import (
    conditional_entropy,
    divergence,
    marginal_divergence,
    marginal_entropy,
    mutual_information,
)
from toolkit.imsat.models import network
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.perturbations import Augmentation, RandomPerturbation, Surroundings, VirtualAdversarial
from toolkit.imsat.restarts import expected_selected
from toolkit.imsat.retrieval import QuerySplit, RetrievalScores, evaluate_retrieval, split_queries

__all__ = [
    "IMSAT",
    "AffineAugmentation",
    "AlignedConfusion",
    "Augmentation",
    "ClusteringScores",
    "IMSATHash",
    "PCAHash",
    "QuerySplit",
    "RandomPerturbation",
    "RetrievalScores",
    "Surroundings",
    "VirtualAdversarial",
    "align_clusters",
    "aligned_confusion",
    "bernoulli_divergence",
    "bit_information",
    "clustering_accuracy",
    "code_distribution",
    "conditional_entropy",
    "divergence",
    "duplicated_bits",
    "evaluate_clustering",
    "evaluate_retrieval",
    "exact_hash_information",
    "expected_batch_entropy",
    "expected_minibatch_information",
    "expected_selected",
    "fisher_direction",
    "fisher_information",
    "hamming_distances",
    "hash_information",
    "marginal_divergence",
    "marginal_entropy",
    "mutual_information",
    "neighbour_distances",
    "network",
    "pack_codes",
    "pairwise_information",
    "split_queries",
    "xor_bits",
]

"""Scores of clusters against permutations tried one by one, scikit-learn, and hand-made tables."""

import itertools
import json
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, confusion_matrix, normalized_mutual_info_score

from toolkit.imsat.evaluation import (
    AlignedConfusion,
    align_clusters,
    aligned_confusion,
    clustering_accuracy,
    evaluate_clustering,
)

FUNCTIONS = [clustering_accuracy, align_clusters, aligned_confusion, evaluate_clustering]


def best_by_trying(labels, clusters) -> float:
    """Every one-to-one match, one after the other; the smaller side is padded with partners nobody has."""
    classes, groups = sorted(set(labels)), sorted(set(clusters))
    classes += [None] * max(0, len(groups) - len(classes))
    best = 0
    for chosen in itertools.permutations(classes, len(groups)):
        match = dict(zip(groups, chosen, strict=True))
        best = max(best, sum(match[cluster] == label for label, cluster in zip(labels, clusters, strict=True)))
    return best / len(labels)


@pytest.mark.parametrize(("n_classes", "n_clusters"), [(4, 4), (3, 6), (6, 3), (5, 1), (1, 5), (1, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_accuracy_is_the_best_of_all_matches(n_classes, n_clusters, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(n_classes, size=40).tolist()
    clusters = [
        int(generator.integers(n_clusters)) if generator.random() < 0.5 else label % n_clusters for label in labels
    ]
    assert clustering_accuracy(labels, clusters) == pytest.approx(best_by_trying(labels, clusters), abs=1e-15)


def test_it_is_neither_purity_nor_greedy():
    # Purity would give both clusters to class 0; greedily 0 takes its largest cluster and 1 gets nothing.
    labels = [0] * 6 + [1] * 3 + [0] * 5
    clusters = [0] * 9 + [1] * 5
    assert clustering_accuracy(labels, clusters) == 8 / 14
    assert align_clusters(labels, clusters) == {1: 0, 0: 1}


@pytest.mark.parametrize("seed", range(3))
def test_scores_do_not_depend_on_the_numbering(seed):
    generator = np.random.default_rng(seed)
    labels, clusters = generator.integers(5, size=200), generator.integers(7, size=200)
    renamed = generator.permutation(1000)[:7][clusters]
    assert evaluate_clustering(labels, clusters) == evaluate_clustering(labels, renamed)
    one, other = aligned_confusion(labels, clusters), aligned_confusion(labels, renamed)
    assert one.accuracy == other.accuracy == clustering_accuracy(labels, clusters)


def test_scores_are_scikit_learns_and_a_perfect_clustering_scores_one():
    generator = np.random.default_rng(0)
    labels = generator.integers(4, size=300)
    clusters = np.where(generator.random(300) < 0.6, (labels + 1) % 4, generator.integers(6, size=300))
    scores = evaluate_clustering(labels, clusters)
    assert scores.normalized_mutual_information == normalized_mutual_info_score(labels, clusters)
    assert scores.adjusted_rand_index == adjusted_rand_score(labels, clusters)
    assert scores.accuracy == clustering_accuracy(labels, clusters)
    assert all(type(value) is float for value in scores.to_dict().values())
    assert json.loads(json.dumps(scores.to_dict())) == scores.to_dict()
    assert set(evaluate_clustering(labels, (labels + 3) % 4).to_dict().values()) == {1.0}
    assert repr(evaluate_clustering([0, 1], [1, 0])) == (
        "ClusteringScores(accuracy=1.0000, normalized_mutual_information=1.0000, adjusted_rand_index=1.0000)"
    )


def test_one_cluster_scores_the_largest_class():
    scores = evaluate_clustering([0, 0, 0, 1, 2], [7] * 5)
    assert scores.to_dict() == {
        "accuracy": 0.6,
        "normalized_mutual_information": 0.0,
        "adjusted_rand_index": 0.0,
    }


def test_one_point():
    assert set(evaluate_clustering([3], [8]).to_dict().values()) == {1.0}
    assert align_clusters([3], [8]) == {8: 3}


def test_one_cluster_for_each_point_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert evaluate_clustering([0, 0, 1, 1], [0, 1, 2, 3]).accuracy == 0.5


def test_alignment_reaches_the_accuracy():
    generator = np.random.default_rng(1)
    labels, clusters = generator.integers(6, size=400), generator.integers(9, size=400)
    mapping = align_clusters(labels, clusters)
    assert sorted(mapping.values()) == list(range(6)) and len(mapping) == 6
    reached = np.mean([mapping.get(cluster) == label for label, cluster in zip(labels, clusters, strict=True)])
    assert reached == pytest.approx(clustering_accuracy(labels, clusters))
    fewer = align_clusters(clusters, labels)
    assert sorted(fewer) == list(range(6)) and len(set(fewer.values())) == 6


@pytest.mark.parametrize(("n_classes", "n_clusters"), [(4, 4), (3, 6), (6, 3)])
def test_the_confusion_has_the_matches_in_order(n_classes, n_clusters):
    generator = np.random.default_rng(2)
    labels, clusters = generator.integers(n_classes, size=90), generator.integers(n_clusters, size=90)
    found = aligned_confusion(labels, clusters)
    n = max(n_classes, n_clusters)
    whole = confusion_matrix(labels, clusters, labels=range(n))[:n_classes]
    assert found.counts.tolist() == whole[:, found.clusters].tolist()
    mapping = align_clusters(labels, clusters)
    assert [mapping.get(cluster) for cluster in found.clusters] == list(found.matches)
    matched = [name for name in found.matches if name is not None]
    assert matched == sorted(matched) and list(found.matches[: len(matched)]) == matched
    left = found.counts[:, len(matched) :].sum(0)
    assert (np.diff(left) <= 0).all()
    assert found.accuracy == pytest.approx(clustering_accuracy(labels, clusters))
    if n_classes <= n_clusters:
        assert found.counts.diagonal().sum() / 90 == pytest.approx(found.accuracy)
    assert json.loads(json.dumps(found.to_dict()))["counts"] == found.counts.tolist()
    assert repr(found).startswith(f"AlignedConfusion({n_classes} classes × {n_clusters} clusters, accuracy=0.")


@pytest.mark.parametrize(
    "convert",
    [
        list,
        tuple,
        np.array,
        lambda values: np.array(values, dtype=np.float16),
        lambda values: np.array(values, dtype=object),
        torch.tensor,
        lambda values: torch.tensor(values, dtype=torch.uint8),
        lambda values: torch.tensor(values, dtype=torch.bfloat16),
        lambda values: torch.tensor(values, dtype=torch.float32, requires_grad=True),
        lambda values: [torch.tensor(value) for value in values],
        lambda values: [str(value) for value in values],
        lambda values: np.array([str(value) for value in values], dtype=object),
        lambda values: [np.int32(value) for value in values],
        lambda values: np.ma.array(values),
    ],
)
def test_labels_come_in_many_forms(convert):
    labels, clusters = [0, 0, 1, 1, 2, 2], [1, 1, 0, 0, 0, 2]
    expected = evaluate_clustering(labels, clusters)
    assert evaluate_clustering(convert(labels), clusters) == expected
    assert evaluate_clustering(labels, convert(clusters)) == expected
    assert clustering_accuracy(convert(labels), convert(clusters)) == 5 / 6


def test_names_and_truth_values_keep_their_kind():
    assert align_clusters(["cat", "cat", "dog"], [True, True, False]) == {True: "cat", False: "dog"}
    assert aligned_confusion(["cat", "dog"], [-1, 5]).clusters == (-1, 5)


def test_a_pandas_series_keeps_its_order():
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series(["a", "b", "b"], index=[2, 0, 1])
    assert align_clusters(labels, [0, 1, 1]) == {0: "a", 1: "b"}
    with pytest.raises(TypeError, match="'labels'"):
        clustering_accuracy(pandas.Series(["a", None, "b"]), [0, 1, 1])
    with pytest.raises((TypeError, ValueError), match="'labels'"):
        clustering_accuracy(pandas.Series([1, None, 2], dtype="Int64"), [0, 1, 1])


BAD = {
    "empty": ([], ValueError, "at least one"),
    "two axes": (np.zeros((3, 1), int), ValueError, "one-dimensional"),
    "no axis": (3, ValueError, "one-dimensional"),
    "ragged": ([[1], [1, 2], [3]], ValueError, "one-dimensional"),
    "NaN": ([0.0, float("nan"), 1.0], ValueError, "NaN"),
    "NaN in a tensor": (torch.tensor([0.0, float("nan"), 1.0]), ValueError, "NaN"),
    "NaN among names": (["a", float("nan"), "b"], TypeError, "missing"),
    "None": ([0, None, 1], TypeError, "missing"),
    "masked": (np.ma.array([0, 1, 2], mask=[0, 1, 0]), ValueError, "masked"),
    "infinite": ([0.0, float("inf"), 1.0], ValueError, "whole"),
    "fractions": ([0.2, 1.5, 1.0], ValueError, "whole"),
    "complex": (np.array([1j, 2, 3]), TypeError, "complex"),
    "dates": (np.array(["2020-01-01"] * 3, dtype="datetime64[D]"), TypeError, "datetime64"),
    "sparse": (torch.eye(3).to_sparse(), TypeError, "dense"),
    "a set": ({1, 2, 3}, ValueError, "one-dimensional"),
    "numbers and names": ([1, "a", 2], TypeError, "int, str"),
    "longer": ([0, 1, 2, 0], ValueError, "4"),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("case", BAD)
def test_bad_labels_give_one_clear_error(function, case):
    bad, kind, match = BAD[case]
    with pytest.raises(kind, match=match) as caught:
        function([0, 1, 1], bad)
    assert caught.value.operation == function.__name__ and caught.value.argument == "clusters"
    if case != "longer":
        with pytest.raises(kind, match=match) as caught:
            function(bad, [0, 1, 1])
        assert caught.value.argument == "labels"


def test_the_confusion_cannot_be_changed():
    found = aligned_confusion([0, 1], [1, 0])
    assert isinstance(found, AlignedConfusion)
    with pytest.raises(AttributeError):
        found.classes = ()

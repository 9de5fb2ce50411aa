"""Retrieval scores against scikit-learn, NumPy's sort and enumerated orders."""

import itertools
import json
import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from toolkit.imsat.retrieval import evaluate_retrieval, split_queries


def problem(n_queries=12, n_gallery=200, n_bits=6, n_classes=4, seed=0):
    """Codes that lean towards a prototype of their class, so that scores differ from chance."""
    generator = np.random.default_rng(seed)
    prototypes = generator.random((n_classes, n_bits)) < 0.5
    query_labels, gallery_labels = (generator.integers(n_classes, size=n) for n in (n_queries, n_gallery))
    query_codes, gallery_codes = (
        prototypes[labels] ^ (generator.random((len(labels), n_bits)) < 0.25)
        for labels in (query_labels, gallery_labels)
    )
    return query_codes, query_labels, gallery_codes, gallery_labels


def distances(query_codes, gallery_codes) -> np.ndarray:
    return (np.asarray(query_codes)[:, None] != np.asarray(gallery_codes)).sum(-1)


@pytest.mark.parametrize("n_bits", [1, 3, 16, 33, 70])
@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_the_published_protocol(n_bits, seed):
    query_codes, query_labels, gallery_codes, gallery_labels = data = problem(n_bits=n_bits, seed=seed)
    found = evaluate_retrieval(*data, n=50, radius=2, ties="order")
    average, at_n, ball = [], [], []
    for row, label in zip(distances(query_codes, gallery_codes), query_labels, strict=True):
        same = gallery_labels == label
        average.append(average_precision_score(same, 1 / (1 + row)))
        at_n.append(same[np.argsort(row, kind="stable")[:50]].mean())
        ball.append(same[row < 3].mean() if (row < 3).any() else 0.0)
    assert found.average_precisions.numpy() == pytest.approx(average, abs=1e-12)
    for name, values in zip(found.standard_errors, (average, at_n, ball), strict=True):
        assert getattr(found, name) == pytest.approx(np.mean(values), abs=1e-12)
        assert found.standard_errors[name] == pytest.approx(np.std(values, ddof=1) / len(values) ** 0.5, abs=1e-12)
    assert found.n_empty == sum((row < 3).sum() == 0 for row in distances(query_codes, gallery_codes))
    assert (found.n, found.radius, found.n_queries, found.n_gallery) == (50, 2, 12, 200)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_expected_precision_is_the_mean_over_all_orders(n):
    query_codes, query_labels, gallery_codes, gallery_labels = problem(3, 5, 2, 2, seed=4)
    orders = [list(order) for order in itertools.permutations(range(5))]
    by_order = [
        evaluate_retrieval(query_codes, query_labels, gallery_codes[o], gallery_labels[o], n=n, ties="order")
        for o in orders
    ]
    for order, found in zip(orders[::17], by_order[::17], strict=True):
        expected = evaluate_retrieval(query_codes, query_labels, gallery_codes[order], gallery_labels[order], n=n)
        assert expected.precision_at_n == pytest.approx(np.mean([one.precision_at_n for one in by_order]))
        assert expected.mean_average_precision == pytest.approx(found.mean_average_precision, abs=1e-15)
        assert expected.precision_within_radius == found.precision_within_radius


def test_the_order_of_ties_matters_only_when_asked_for():
    # One distance for all: the first two of the gallery are of the class, the others are not.
    data = ([[True]], [0], [[False]] * 6, [0, 0, 1, 1, 1, 1])
    assert evaluate_retrieval(*data, n=2, ties="order").precision_at_n == 1.0
    assert evaluate_retrieval(*data, n=2).precision_at_n == pytest.approx(1 / 3)
    assert evaluate_retrieval(*data, n=2).mean_average_precision == pytest.approx(1 / 3)


def test_the_curve_by_radius():
    query_codes, query_labels, gallery_codes, gallery_labels = data = problem(n_bits=9, n_classes=3)
    found = evaluate_retrieval(*data)
    apart, same = distances(query_codes, gallery_codes), query_labels[:, None] == gallery_labels
    for radius in range(10):
        ball = apart <= radius
        hits = (ball & same).sum(1)
        precision, recall = hits / np.maximum(ball.sum(1), 1), hits / same.sum(1)
        assert found.precision_by_radius[radius] == pytest.approx(precision.mean(), abs=1e-12)
        assert found.recall_by_radius[radius] == pytest.approx(recall.mean(), abs=1e-12)
        assert found.retrieved_by_radius[radius] == pytest.approx(ball.sum(1).mean(), abs=1e-12)
        errors = [values.std(ddof=1) / 12**0.5 for values in (precision, recall)]
        assert found.precision_standard_errors[radius] == pytest.approx(errors[0], abs=1e-12)
        assert found.recall_standard_errors[radius] == pytest.approx(errors[1], abs=1e-12)
    assert len(found.precision_by_radius) == 10 and found.recall_by_radius[-1] == 1
    assert found.precision_within_radius == found.precision_by_radius[2]


def test_perfect_and_hopeless_codes():
    labels = np.arange(40) % 2
    perfect = labels[:, None] == [0, 1, 1]
    found = evaluate_retrieval(perfect[:4], labels[:4], perfect[4:], labels[4:], n=5, radius=0)
    assert found.mean_average_precision == found.precision_at_n == found.precision_within_radius == 1
    assert set(found.standard_errors.values()) == {0.0}
    found = evaluate_retrieval(perfect[:4], labels[:4], perfect[4:], 1 - labels[4:], n=5, radius=0)
    assert found.precision_at_n == found.precision_within_radius == 0
    assert found.mean_average_precision == pytest.approx(0.5)


def test_an_empty_ball_scores_zero():
    found = evaluate_retrieval([[1, 1, 1], [0, 0, 0]], [0, 0], [[0, 0, 0]] * 3, [0, 0, 0], radius=2)
    assert found.n_empty == 1 and found.precision_within_radius == 0.5
    assert found.mean_average_precision == found.precision_at_n == 1


def test_a_class_that_the_gallery_lacks_scores_zero_as_in_scikit_learn():
    data = ([[0, 1], [0, 0]], [7, 1], [[0, 1], [0, 0], [1, 1]], [1, 1, 2])
    found = evaluate_retrieval(*data, n=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.average_precisions[0] == average_precision_score([0, 0, 0], [1, 0.5, 0.5]) == 0
    assert found.n_without_relevant == 1 and found.n_empty == 0
    assert found.recall_by_radius[-1] == 0.5
    assert torch.isfinite(found.precision_by_radius).all()


def test_a_small_gallery_and_a_wide_radius_take_everything():
    data = problem(5, 20, 4, 2)
    found = evaluate_retrieval(*data, n=500, radius=99)
    share = np.mean([(data[3] == label).mean() for label in data[1]])
    assert found.n == 20 and found.radius == 99
    assert found.precision_at_n == pytest.approx(share) == pytest.approx(found.precision_within_radius)
    assert evaluate_retrieval(*data, n=500, ties="order").precision_at_n == pytest.approx(share)


def test_one_query_one_point_one_bit():
    found = evaluate_retrieval([[True]], ["a"], [[True]], ["a"])
    assert found.mean_average_precision == found.precision_at_n == found.precision_within_radius == 1
    assert all(math.isnan(error) for error in found.standard_errors.values())
    assert len(found.recall_by_radius) == 2


def test_scores_do_not_depend_on_orders_blocks_or_names():
    query_codes, query_labels, gallery_codes, gallery_labels = problem(30, 30_000, 8, 5)
    one = evaluate_retrieval(query_codes, query_labels, gallery_codes, gallery_labels)
    order, turn = np.random.default_rng(1).permutation(30_000), np.arange(30)[::-1]
    names = np.array(["e", "a", "d", "b", "c"])
    other = evaluate_retrieval(
        query_codes[turn], names[query_labels[turn]], gallery_codes[order], names[gallery_labels[order]]
    )
    assert torch.equal(one.average_precisions.flip(0), other.average_precisions)
    for name, value in one.to_dict().items():
        if name != "average_precisions":
            assert other.to_dict()[name] == pytest.approx(value, abs=1e-13), name
    alone = [
        evaluate_retrieval(query_codes[i : i + 1], query_labels[i : i + 1], gallery_codes, gallery_labels)
        for i in range(30)
    ]
    assert [one.mean_average_precision for one in alone] == one.average_precisions.tolist()


def test_codes_and_labels_come_in_many_forms():
    query_codes, _, gallery_codes, gallery_labels = data = problem()
    expected = evaluate_retrieval(*data, n=20).to_dict()
    tensors = [torch.from_numpy(part) for part in data]
    assert evaluate_retrieval(*tensors, n=20, device="cpu").to_dict() == expected
    assert evaluate_retrieval(*(part.float() for part in tensors), n=20).to_dict() == expected
    assert evaluate_retrieval(*(part.tolist() for part in data), n=20).to_dict() == expected
    assert evaluate_retrieval(query_codes, tensors[1], gallery_codes.astype(int), gallery_labels, n=20)
    assert json.loads(json.dumps(expected)) == expected
    text = repr(evaluate_retrieval(*data))
    assert text.startswith("RetrievalScores(mean_average_precision=0.") and text.endswith("12 queries, 200 points)")


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({0: np.zeros((0, 6), bool), 1: []}, ValueError, "query_codes"),
        ({2: np.zeros((0, 6), bool), 3: []}, ValueError, "gallery_codes"),
        ({0: np.zeros((12, 7), bool)}, ValueError, "gallery_codes"),
        ({1: [0] * 11}, ValueError, "query_labels"),
        ({3: np.zeros((200, 1))}, ValueError, "gallery_labels"),
        ({3: [float("nan")] * 200}, ValueError, "gallery_labels"),
        ({3: ["0"] * 200}, ValueError, "gallery_labels"),
        ({0: np.full((12, 6), 0.3)}, ValueError, "query_codes"),
        ({0: np.full((12, 6), np.nan)}, ValueError, "query_codes"),
        ({"n": 0}, ValueError, "'n'"),
        ({"n": True}, TypeError, "'n'"),
        ({"radius": -1}, ValueError, "'radius'"),
        ({"ties": "first"}, ValueError, "'ties'"),
        ({"device": "nowhere"}, ValueError, "'device'"),
    ],
)
def test_bad_arguments_give_one_clear_error(change, kind, match):
    data, named = list(problem()), {}
    for key, value in change.items():
        if isinstance(key, int):
            data[key] = value
        else:
            named[key] = value
    with pytest.raises(kind, match=match):
        evaluate_retrieval(*data, **named)


def test_queries_are_split_off_class_by_class():
    labels = np.random.default_rng(0).permutation(np.repeat([3, 5, 9], [8, 20, 6]))
    split = split_queries(labels, 5, torch.Generator().manual_seed(0))
    assert labels[split.queries].tolist() == [3] * 5 + [5] * 5 + [9] * 5
    assert sorted(split.queries.tolist() + split.gallery.tolist()) == list(range(34))
    assert split.gallery.tolist() == sorted(split.gallery.tolist())
    again = split_queries(labels.tolist(), 5, torch.Generator().manual_seed(0))
    assert again.to_dict() == split.to_dict() == json.loads(json.dumps(split.to_dict()))
    assert split_queries(labels, 5, torch.Generator().manual_seed(1)).to_dict() != split.to_dict()
    assert repr(split) == "QuerySplit(15 queries, 19 points in the gallery)"


def test_every_point_of_a_class_is_as_likely_a_query():
    labels, generator = ["a"] * 4 + ["b"] * 3, torch.Generator().manual_seed(0)
    chosen = np.bincount(np.concatenate([split_queries(labels, 1, generator).queries for _ in range(2000)]))
    assert chosen.sum() == 4000
    assert np.abs(chosen[:4] - 500).max() < 5 * (2000 * 0.25 * 0.75) ** 0.5
    assert np.abs(chosen[4:] - 2000 / 3).max() < 5 * (2000 * 2 / 9) ** 0.5


def test_drawing_queries_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    split_queries([0, 0, 1, 1], 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("labels", "per_class", "kind", "match"),
    [
        ([0, 0, 1], 1, ValueError, "class 1 has 1"),
        ([0, 0, 1, 1], 0, ValueError, "per_class"),
        ([0, 0, 1, 1], True, TypeError, "per_class"),
        ([], 1, ValueError, "labels"),
    ],
)
def test_bad_splits_give_one_clear_error(labels, per_class, kind, match):
    with pytest.raises(kind, match=match):
        split_queries(labels, per_class)

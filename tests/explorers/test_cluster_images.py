"""The clusters shown are those of the models: counts, contents, order of the images and sentences."""

import numpy as np
import pytest
import torch
from sklearn.cluster import DBSCAN, KMeans
from sklearn.mixture import GaussianMixture

from toolkit.experiments.imsat_data import Points, load_points
from toolkit.explorers import explore_cluster_images
from toolkit.explorers.cluster_images import ALL, ORDERS, SHOWN, WRONG, describe, draw, look_at
from toolkit.explorers.clusterings import examine
from toolkit.imsat import IMSAT, evaluate_clustering


@pytest.fixture(scope="module")
def points():
    return load_points("digits", n_points=400)


@pytest.fixture(scope="module")
def fitted(points):
    return IMSAT(10, hidden=(30,), epochs=60, random_state=0, device="cpu", dtype="float64").fit(points.inputs.numpy())


def made(labels, classes=("a", "b", "c")):
    """Return points of 2×3 pixels with such labels, each image of a brightness of its own."""
    n = len(labels)
    inputs = torch.linspace(-1, 1, n)[:, None].expand(n, 6).contiguous()
    return Points(inputs, torch.tensor(labels), (2, 3), tuple(classes), n, {})


def test_counts_and_scores_are_those_of_the_estimator(points, fitted):
    found = examine("VAT", fitted, points)
    clusters = fitted.predict(points.inputs.numpy())
    assert found.scores == evaluate_clustering(points.labels, clusters)
    for column, cluster in enumerate(found.confusion.clusters):
        for row, label in enumerate(found.confusion.classes):
            count = int(((points.labels.numpy() == label) & (clusters == cluster)).sum())
            assert found.confusion.counts[row, column] == count
    np.testing.assert_allclose(found.certainty, fitted.predict_proba(points.inputs.numpy()).max(1))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("which", [ALL, WRONG, "8"])
@pytest.mark.parametrize("place", [0, 3, 5])
def test_images_are_those_of_the_cluster_in_the_order_asked_for(points, fitted, order, which, place):
    clustering = examine("VAT", fitted, points)
    label = clustering.confusion.matches[place]
    look = look_at(points, clustering, label, which=which, order=order)
    labels = points.labels.numpy()
    probabilities = fitted.predict_proba(points.inputs.numpy())
    cluster = clustering.confusion.clusters[look.column]
    assert look.match == label
    inside = probabilities.argmax(1) == cluster
    keep = {ALL: inside, WRONG: inside & (labels != label)}.get(which, inside & (labels == 8))
    candidates = np.flatnonzero(keep)
    assert look.found == candidates.size and len(look.images) == min(SHOWN, candidates.size)
    certainty = probabilities.max(1)[candidates].round(6)
    best = np.sort(certainty if order == ORDERS[1] else -certainty)[:SHOWN]
    np.testing.assert_allclose(look.certainty.round(6), best if order == ORDERS[1] else -best)
    known = {image.tobytes() for image in ((points.inputs[candidates].numpy() + 1) / 2).reshape(-1, 8, 8)}
    assert all(image.tobytes() in known for image in look.images)
    assert "…" not in draw(look).to_string()
    describe(look)


def test_more_clusters_than_classes_and_fewer():
    labels = [0] * 6 + [1] * 5 + [2] * 4
    points = made(labels)
    many = examine("many", [0] * 4 + [7] * 2 + [1] * 5 + [2] * 3 + [9], points)
    extra = look_at(points, many, None, 0)
    assert extra.match is None and len(extra.labels) == 2 and extra.labels == (0, 0)
    assert "matches no class; it holds 2 images: 2 of a." in describe(extra)
    assert look_at(points, many, None, 1).labels == (2,)
    assert look_at(points, many, None, 2).column is None
    assert look_at(points, many, None, 0, which=WRONG).found == 2
    few = examine("few", [5] * 6 + [6] * 9, points)
    missing = look_at(points, few, 2)
    assert missing.column is None and missing.found == 0
    text = describe(missing)
    assert "None of its 2 clusters matches c; most images of that class, 4 of 4, are in cluster 6" in text
    assert "11 of 15 images into the right cluster (73.3 %)" in text
    for look in (extra, missing, look_at(points, few, None)):
        draw(look)
    assert "It has no such further cluster" in describe(look_at(points, few, None))


def test_labels_alone_stay_in_the_order_of_the_data():
    points = made([0, 1, 0, 1, 2, 0])
    for labels in (["x", "y", "x", "x", "z", "x"], torch.tensor([4, 5, 4, 4, -1, 4]), np.array([4, 5, 4, 4, -1, 4])):
        clustering = examine("by hand", labels, points)
        look = look_at(points, clustering, 0, order=ORDERS[1])
        assert look.labels == (0, 0, 1, 0) and look.certainty is None
        assert "labels alone say nothing of certainty" in describe(look)
        assert "holds 4 images: 3 of a (75 %) and 1 of b" in describe(look)
        assert "None of them is of c." in describe(look_at(points, clustering, 0, which="c"))
        assert "None of them is of another class." in describe(look_at(points, clustering, 1, which=WRONG))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_k_means_orders_by_distance_whatever_type_it_was_fitted_on(points, kind):
    inputs = points.inputs.numpy().astype(kind)
    model = KMeans(10, n_init=1, random_state=0).fit(inputs)
    clustering = examine("k-means", model, points)
    look = look_at(points, clustering, 0)
    distances = model.transform(inputs).min(1)
    expected = np.sort(distances[clustering.clusters == clustering.confusion.clusters[look.column]])[: len(look.labels)]
    np.testing.assert_allclose(-look.certainty, expected, atol=1e-4)
    assert "nearest to the cluster's centre first" in describe(look) and "k-means puts" in describe(look)


def test_other_estimators(points):
    inputs = points.inputs.numpy()
    mixture = GaussianMixture(3, covariance_type="diag", random_state=0).fit(inputs)
    assert examine("mixture", mixture, points).measure == "p(cluster | image)"
    noise = DBSCAN(eps=2.0).fit(inputs)
    found = examine("DBSCAN", noise, points)
    assert found.certainty is None and -1 in found.confusion.clusters
    draw(look_at(points, found, int(points.labels[0])))


def test_a_hundred_clusters_and_a_single_one_can_be_drawn(points):
    n = len(points.labels)
    many = examine("many", np.arange(n) % 100, points)
    picture = draw(look_at(points, many, 3)).to_string()
    assert "many" in picture
    one = examine("one", np.zeros(n, dtype=int), points)
    assert one.confusion.counts.shape[1] == 1
    label = one.confusion.matches[0]
    assert "Cluster 0, matched with" in describe(look_at(points, one, label)) and draw(look_at(points, one, label))


def test_the_view(points, fitted):
    labels = np.arange(400) % 12
    view = explore_cluster_images(points, {"VAT": fitted, "by turns": labels})
    assert view.error is None and "VAT, after 60 passes from seed 0, puts" in view.text and view.png
    places = dict(view.controls["place"].options)
    assert len(places) == 12 and (None, 1) in places.values()
    texts = {view.text}
    shows = list(dict(view.controls["which"].options).values())
    for number, place in enumerate(places.values()):
        view.controls["method"].value = ("VAT", "by turns")[number % 2]
        view.controls["place"].value = place
        view.controls["which"].value = shows[number]
        view.controls["order"].value = ORDERS[number % 2]
        assert view.error is None, view.text
        texts.add(view.text)
    assert len(texts) >= 12
    view.reset()
    purity = {}
    confusion = examine("VAT", fitted, points).confusion
    for column, label in enumerate(confusion.matches):
        counts = confusion.counts[:, column]
        purity[label] = counts[confusion.classes.index(label)] / counts.sum()
    assert view.result.match == min(purity, key=purity.get)


def test_what_is_no_clustering_is_refused(points, fitted):
    with pytest.raises(ValueError, match="models"):
        explore_cluster_images(points, {})
    with pytest.raises(ValueError, match="one for each of 400 images"):
        examine("short", [0, 1, 2], points)
    with pytest.raises(ValueError, match="one for each of 400 images"):
        examine("p(y|x)", np.ones((400, 2)), points)
    clustering = examine("VAT", fitted, points)
    for arguments, match in (({"wanted": 10}, "wanted"), ({"which": "eleven"}, "which"), ({"order": "any"}, "order")):
        with pytest.raises(ValueError, match=match):
            look_at(points, clustering, **{"wanted": 0} | arguments)

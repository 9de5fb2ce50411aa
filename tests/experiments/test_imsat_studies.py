"""IMSAT's two studies: which images, which methods, what is measured, recorded and told."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from toolkit.datasets import DatasetUnavailable, load
from toolkit.experiments import imsat_clustering, imsat_hashing
from toolkit.experiments.cli import main
from toolkit.experiments.imsat_clustering import ImsatClusteringConfig
from toolkit.experiments.imsat_data import load_points, original_order
from toolkit.experiments.imsat_hashing import ImsatHashingConfig
from toolkit.experiments.imsat_methods import METHODS, find_method
from toolkit.experiments.ledger import read_paper_results
from toolkit.experiments.records import load_records
from toolkit.experiments.study import StudyInterrupted, Task
from toolkit.imsat import clustering_accuracy
from toolkit.imsat.hash_baselines import PCAHash
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.retrieval import evaluate_retrieval

CLUSTERING = ImsatClusteringConfig(
    device="cpu", seeds=(0, 1), n_points=300, hidden="12", epochs=4, n_evaluations=2, methods=("k-means", "RIM", "VAT")
)
HASHING = ImsatHashingConfig(
    device="cpu", data="digits", seeds=(3,), n_points=300, hidden="12", epochs=4, n_bits=6, queries_per_class=3
)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLKIT_DATA_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def clusterings(own_cache):
    return imsat_clustering.run(CLUSTERING)


@pytest.fixture(scope="module")
def hashings(own_cache):
    return imsat_hashing.run(HASHING)


# Images


def test_digits_lie_between_minus_one_and_one():
    points = load_points("digits")
    data = load("digits")
    assert points.inputs.shape == (1797, 64) and points.inputs.dtype == torch.float32
    assert torch.equal(points.inputs, (torch.cat([data.train.images, data.test.images]).flatten(1) / 8 - 1).float())
    assert torch.equal(points.labels, data.labels)
    assert points.n_training == len(data.train)
    assert points.image_shape == (8, 8)


def test_mnist_is_scaled_as_in_the_authors_code():
    points = load_points("mnist")
    assert points.inputs.min() == -1 and points.inputs.max() == 255 / 128 - 1


def test_a_subset_is_always_the_same_and_keeps_the_order():
    some, again, all_of_them = (
        load_points("digits", n_points=100),
        load_points("digits", n_points=100),
        load_points("digits"),
    )
    assert torch.equal(some.inputs, again.inputs)
    rows = [int((all_of_them.inputs == row).all(1).nonzero()[0]) for row in some.inputs]
    assert rows == sorted(rows) and len(set(rows)) == 100
    assert torch.equal(some.labels, all_of_them.labels[rows])
    assert some.n_training == sum(row < all_of_them.n_training for row in rows)
    assert some.source["n_points"] == [100]


def test_the_original_order_sorts_each_part_by_class_and_keeps_ties():
    labels = torch.tensor([2, 0, 1, 0, 1, 0])
    assert original_order(4, labels).tolist() == [1, 3, 2, 0, 5, 4]
    assert original_order(6, labels).tolist() == [1, 3, 5, 2, 4, 0]
    with pytest.raises(ValueError, match="n_training"):
        original_order(7, labels)


# Configurations


def test_the_defaults_follow_data_and_scale():
    quick, laptop, paper = (ImsatClusteringConfig(scale=scale).complete() for scale in ("quick", "laptop", "paper"))
    assert (quick.data, quick.hidden, quick.epochs, quick.alpha, quick.lam) == ("digits", "200-200", 20, 0.4, 0.3)
    assert (laptop.data, laptop.epochs, len(laptop.seeds)) == ("digits", 60, 10)
    assert {"k-means", "linear-RIM", "RIM", "RPT", "VAT", "affine", "VAT+affine"} <= set(laptop.methods)
    assert (paper.data, paper.images, paper.hidden, paper.epochs) == ("mnist", "full", "1200-1200", 50)
    assert (paper.alpha, paper.lam, paper.methods, len(paper.seeds)) == (0.25, 0.1, ("VAT",), 5)
    mnist = ImsatClusteringConfig(scale="laptop", data="mnist").complete()
    assert (mnist.hidden, mnist.epochs, mnist.alpha, mnist.random_alpha) == ("400-400", 20, 0.25, 2.0)
    assert replace(laptop, alpha=0.0).complete().alpha == 0.0
    hashing = ImsatHashingConfig(scale="paper").complete()
    assert (hashing.protocol, hashing.epochs, hashing.hidden, hashing.queries_per_class) == (
        "official",
        50,
        "400-400",
        100,
    )
    assert ImsatHashingConfig(scale="laptop").protocol == "held-out"


def test_a_record_holds_what_the_open_settings_came_to():
    config = ImsatClusteringConfig(scale="laptop")
    assert config.hidden is None and config.to_dict()["hidden"] == "200-200"
    assert config.identity()["methods"] == list(config.complete().methods)


def test_names_of_methods():
    assert ImsatClusteringConfig(methods=("vat,rpt", " K-Means ")).methods == ("VAT", "RPT", "k-means")
    assert ImsatHashingConfig(methods=("vat,itq", "No-SAT")).methods == ("VAT", "ITQ", "no-SAT")
    for wrong in (("VTA",), (), ("VAT", "vat")):
        for config in (ImsatClusteringConfig, ImsatHashingConfig):
            with pytest.raises(ValueError, match="methods"):
                config(methods=wrong)


@pytest.mark.parametrize("config", [ImsatClusteringConfig, ImsatHashingConfig])
@pytest.mark.parametrize(
    "arguments",
    [
        {"n_points": 3},
        {"epochs": 0},
        {"hidden": "200-"},
        {"hidden": "0"},
        {"alpha": -1.0},
        {"lam": math.nan},
        {"random_alpha": math.inf},
    ],
)
def test_bad_settings_are_named(config, arguments):
    (name,) = arguments
    with pytest.raises(ValueError, match=name):
        config(**arguments)


def test_every_method_says_what_it_needs():
    settings = CLUSTERING.settings
    for method in METHODS:
        if method.name == "k-means":
            continue
        parameters = method.parameters(settings, (8, 8), 0.005)
        assert parameters["hidden"] == (() if method.linear else (12,))
        assert (parameters["perturbation"] is None) == method.information_only
    same, own, vat = (find_method(name).parameters(settings, (8, 8), 0) for name in ("RPT-same", "RPT", "VAT"))
    assert (same["alpha"], own["alpha"], vat["alpha"]) == (0.4, 1.0, 0.4)
    assert (same["lam"], own["lam"], vat["lam"]) == (0.3, 0.2, 0.3)
    assert len(find_method("VAT+affine").parameters(settings, (8, 8), 0)["perturbation"]) == 2


@pytest.mark.parametrize("config", [ImsatClusteringConfig, ImsatHashingConfig])
@pytest.mark.parametrize("field", ["data", "images", "initialization"])
def test_a_wrong_choice_is_named(config, field):
    made = config()
    object.__setattr__(made, field, "large")  # what annotations forbid can still come from the command line or a file
    with pytest.raises(ValueError, match=field):
        made.__post_init__()


# Clustering


def test_what_is_measured(clusterings):
    assert [record.variant for record in clusterings] == ["k-means", "RIM", "VAT"]
    for record in clusterings:
        assert record.config["n_points"] == 300
        for result in record.results:
            counts = np.array(result.tables["confusion"]["count"]).reshape(10, -1)
            assert counts.sum() == 300
            matched = counts[linear_sum_assignment(counts, maximize=True)].sum()
            assert result.metrics["accuracy"] == pytest.approx(100 * matched / 300)
            assert 0 <= result.metrics["normalized mutual information"] <= 1
            if record.variant != "k-means":
                curve = result.histories["accuracy"]
                assert curve.steps[-1] == 4 and curve.values[-1] == pytest.approx(result.metrics["accuracy"], rel=1e-5)
                assert result.metrics["marginal entropy"] <= math.log(10) + 1e-6


def test_k_means_is_scikit_learns(clusterings):
    from sklearn.cluster import KMeans

    points = load_points("digits", n_points=300)
    labels = KMeans(10, n_init=10, random_state=1).fit(points.inputs.numpy()).labels_
    assert clusterings[0].results[1].metrics["accuracy"] == 100 * clustering_accuracy(points.labels, labels)


def test_a_seed_gives_the_same_again(clusterings):
    again = imsat_clustering.measure(Task(CLUSTERING, 1, "VAT"))
    first = clusterings[2].results[1]
    timed = [name for name in first.metrics if "seconds" in name]
    assert timed == ["CPU seconds of training"]
    assert {k: v for k, v in again.metrics.items() if k not in timed} == {
        k: v for k, v in first.metrics.items() if k not in timed
    }


def test_the_radii_of_the_ablation():
    points = load_points("digits", n_points=60)
    right, next_one, scrambled, mean = (
        imsat_clustering._radii(points, which, torch.device("cpu")) for which in ("10th", "11th", "scrambled", "mean")
    )
    assert torch.equal(right, neighbour_distances(points.inputs, 10))
    assert torch.equal(next_one, neighbour_distances(points.inputs, 11)) and (next_one >= right).all()
    assert torch.equal(scrambled, right[original_order(points.n_training, points.labels)])
    assert not torch.equal(scrambled, right)
    assert mean.dtype == right.dtype and torch.allclose(mean, right.mean().expand(60), rtol=1e-6)


READERS_DISTANCES = (
    *(12.60706806182861328, 9.380294799804687500, 13.02325439453125000, 4.264658927917480469, 9.928882598876953125),
    *(12.66661167144775391, 4.756112575531005859, 10.12734127044677734, 4.143903255462646484, 9.276198387145996094),
)
"""The first values of a file that a reader of the authors' code computed (github.com/weihua916/imsat, issue 2)."""


def test_a_readers_distances_are_those_to_the_11th_neighbours_in_the_order_of_his_images(monkeypatch):
    monkeypatch.delenv("TOOLKIT_DATA_DIR")
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    try:
        points = load_points("mnist", "full")
    except DatasetUnavailable:
        pytest.skip("needs all of MNIST")
    distances = torch.cdist(points.inputs[:10].double(), points.inputs.double()).sort(1).values
    assert distances[:, 11].tolist() == pytest.approx(READERS_DISTANCES, rel=1e-6)  # place 0 is the image itself
    assert not np.allclose(distances[:, 10], READERS_DISTANCES, rtol=1e-4)


def test_which_published_numbers_a_run_answers():
    known = {result.quantity for result in read_paper_results()}
    paper = ImsatClusteringConfig(scale="paper")
    answered = {*imsat_clustering.quantities(paper, "VAT"), *imsat_clustering.quantities(paper, "k-means")}
    assert answered == {"imsat/mnist/accuracy-vat", "imsat/mnist/accuracy-k-means"} <= known
    for other in (
        {"hidden": "400-400"},
        {"epochs": 10},
        {"initialization": "small"},
        {"n_points": 10_000},
        {"data": "fashion_mnist"},
        {"images": "subset"},
        {"alpha": 2.0},
        {"lam": 1.0},
    ):
        assert not imsat_clustering.quantities(replace(paper, **other), "VAT")
    assert set(imsat_clustering.quantities(paper, "VAT-11th")) == {"imsat/mnist/accuracy-vat-reproduction"} <= known
    assert not imsat_clustering.quantities(replace(paper, hidden="400-400"), "VAT-11th")
    for name in ("VAT-scrambled", "VAT-mean"):
        assert not imsat_clustering.quantities(paper, name)


def test_the_report_names_all(clusterings):
    text = imsat_clustering.report(clusterings)
    for words in ("300 images of digits", "k-means", "deep RIM", "IMSAT (VAT)", "2 seeds", "one-to-one"):
        assert words in text


# Hashing


def test_what_is_measured_of_codes(hashings):
    assert [record.variant for record in hashings] == list(imsat_hashing.METHODS)
    for record in hashings:
        (result,) = record.results
        table = result.tables["retrieval"]
        assert table["radius"] == list(range(7))
        assert table["recall"][-1] == pytest.approx(1)
        assert 0 <= result.metrics["mAP"] <= 1
        assert 1 <= result.metrics["distinct codes"] <= 64
        if record.variant not in ("PCA", "ITQ"):
            assert result.metrics["information of the codes"] <= 6 * math.log(2) + 1e-9
            assert result.metrics["information of the codes"] <= result.metrics["information of the bits"] + 1e-9


def test_more_bits_than_components_are_refused_at_once():
    assert ImsatHashingConfig(data="digits", n_bits=64).n_bits == 64
    assert ImsatHashingConfig(data="digits", n_bits=65, methods=("VAT",)).n_bits == 65
    for data, n_bits in (("digits", 65), ("mnist", 785)):
        with pytest.raises(ValueError, match=f"n_bits'\n.*<= {n_bits - 1} for PCA"):
            ImsatHashingConfig(data=data, n_bits=n_bits, methods=("VAT", "ITQ"))


def test_queries_are_held_out_unless_the_official_protocol_is_asked_for(hashings):
    from toolkit.core.devices import resolve_generator
    from toolkit.imsat.retrieval import split_queries

    points = load_points("digits", n_points=300)
    split = split_queries(points.labels, 3, resolve_generator(seed=3))
    found = {}
    for protocol, trained_on in (("held-out", points.inputs[split.gallery]), ("official", points.inputs)):
        model = PCAHash(6, rotation="itq", random_state=3).fit(trained_on.numpy())
        codes = torch.as_tensor(model.transform(points.inputs.numpy())).bool()
        scores = evaluate_retrieval(
            codes[split.queries],
            points.labels[split.queries],
            codes[split.gallery],
            points.labels[split.gallery],
            n=270,
        )
        found[protocol] = imsat_hashing.measure(Task(replace(HASHING, protocol=protocol), 3, "ITQ")).metrics["mAP"]
        assert found[protocol] == pytest.approx(scores.mean_average_precision)
    assert found["held-out"] != found["official"]


def test_the_report_of_codes(hashings):
    text = imsat_hashing.report(hashings)
    for words in ("6 bits", "300 images of digits", "ITQ", "pairs once", "held out of training", "among all 270"):
        assert words in text


# Both


@pytest.mark.parametrize(
    ("study", "config", "variant"), [(imsat_clustering, CLUSTERING, "VAT"), (imsat_hashing, HASHING, "VAT")]
)
def test_a_stopped_study_goes_on_where_it_was(study, config, variant, tmp_path):
    config = replace(config, seeds=(1,), methods=(variant,))
    whole = study.run(config)[0].results[0].metrics

    class After(threading.Event):
        asked = 0

        def is_set(self):
            self.asked += 1
            return self.asked > 3

    with pytest.raises(StudyInterrupted):
        study.run(config, out=tmp_path / "runs", stop=After())
    (record,) = study.run(config, out=tmp_path / "runs")
    parts = {name: value for name, value in record.results[0].metrics.items() if "seconds" not in name}
    assert parts == {name: value for name, value in whole.items() if "seconds" not in name}
    assert load_records(tmp_path / "runs")[0].results[0].metrics == record.results[0].metrics


def test_on_the_command_line(tmp_path, capsys):
    small = ["--n-points", "100", "--hidden", "8", "--epochs", "1", "--seeds", "0", "--device", "cpu"]
    assert main(["run", "imsat-clustering", *small, "--methods", "RIM", "VAT+affine", "--out", str(tmp_path)]) == 0
    hashing = ["--data", "digits", "--n-bits", "4", "--queries-per-class", "2", "--methods", "PCA,VAT-c1"]
    assert main(["run", "imsat-hashing", *small, *hashing, "--out", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "IMSAT (VAT + affine)" in told and "principal components, signs" in told
    assert len(load_records(tmp_path)) == 4


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (["--data", "digits", "--queries-per-class", "174"], "8 has 174"),
        (["--data", "digits", "--n-points", "40", "--queries-per-class", "4"], "has "),
        (["--data", "mnist", "--queries-per-class", "500"], "0 has 500"),
    ],
)
def test_more_queries_than_a_class_has_are_told_in_one_line_before_anything_is_computed(
    asked, expected, tmp_path, capsys
):
    for method in ("PCA", "VAT"):
        assert main(["run", "imsat-hashing", *asked, "--methods", method, "--out", str(tmp_path)]) == 2
        told = capsys.readouterr()
        assert told.err.startswith("Value error: ImsatHashingConfig: bad argument 'queries_per_class'")
        assert expected in told.err and told.err.count("\n") == 3 and told.out == ""
    assert list(tmp_path.iterdir()) == []


def test_as_many_queries_as_leave_one_image_of_each_class_are_allowed():
    config = replace(HASHING, n_points=None, queries_per_class=173, methods=("PCA",))
    (record,) = imsat_hashing.run(config)
    assert 0 < record.results[0].metrics["mAP"] < 1

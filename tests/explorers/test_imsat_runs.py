"""Networks for the lessons are trained once, in double precision, by the study's methods."""

import numpy as np
import pytest

from toolkit.experiments.imsat_data import load_points
from toolkit.experiments.imsat_methods import Settings, find_method
from toolkit.explorers import imsat_runs
from toolkit.explorers.clusterings import examine
from toolkit.imsat import clustering_accuracy


@pytest.fixture
def small(monkeypatch):
    """Train on a few digits for a moment."""
    monkeypatch.setattr(imsat_runs, "load_points", lambda name: load_points(name, n_points=120))
    monkeypatch.setattr(imsat_runs, "SETTINGS", {"digits": Settings((12,), 2, 0.4, 0.3, 1.0, 0.2)})
    monkeypatch.setattr(imsat_runs, "_PASSES", {"digits": 3})
    imsat_runs.trained_clusterings.cache_clear()
    yield
    imsat_runs.trained_clusterings.cache_clear()


def test_methods_are_told_what_the_study_tells_them(small):
    found = imsat_runs.trained_clusterings()
    assert list(found.models) == [*(find_method(name).title for name in ("VAT", "RPT", "RIM")), "k-means"]
    vat, rpt, rim, k_means = found.models.values()
    assert (vat.alpha, vat.lam, rpt.alpha, rpt.lam) == (0.4, 0.3, 1.0, 0.2)
    assert (rim.lam, rim.mu, rim.perturbation, rim.weight_decay) == (1.0, 1.0, None, 0.005)
    assert [model.n_iter_ for model in (vat, rpt, rim)] == [2, 2, 3]
    for model in (vat, rpt, rim):
        assert next(model.network_.parameters()).dtype.is_floating_point and model.dtype == "float64"
        assert model.predict_proba(found.points.inputs.numpy()).dtype == np.float64
    assert k_means.cluster_centers_.shape == (10, 64)
    assert imsat_runs.trained_clusterings() is found and "120 images" in repr(found)
    for name, model in found.models.items():
        shown = examine(name, model, found.points)
        assert shown.scores.accuracy == clustering_accuracy(found.points.labels, shown.clusters)
        assert shown.certainty is not None


def test_training_again_gives_the_same(small):
    first = imsat_runs.trained_clusterings()
    imsat_runs.trained_clusterings.cache_clear()
    again = imsat_runs.trained_clusterings()
    inputs = first.points.inputs.numpy()
    for one, other in zip(first.models.values(), again.models.values(), strict=True):
        np.testing.assert_array_equal(one.predict(inputs.astype(float)), other.predict(inputs.astype(float)))


def test_other_data_are_refused():
    with pytest.raises(ValueError, match="data"):
        imsat_runs.trained_clusterings("sprites")


def test_settings_are_those_of_the_study():
    from toolkit.experiments.imsat_clustering import ImsatClusteringConfig

    study = ImsatClusteringConfig(scale="laptop").settings
    ours = imsat_runs.SETTINGS["digits"]
    names = ("hidden", "alpha", "lam", "random_alpha", "random_lam")
    assert all(getattr(ours, name) == getattr(study, name) for name in names)

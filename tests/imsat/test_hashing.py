"""Codes are scikit-learn's kind of transformer, and their bits mean what the probabilities say."""

import math
import pickle
import threading

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from toolkit.imsat import IMSATHash
from toolkit.imsat.hash_losses import hash_information

SMALL = {"hidden": (8,), "epochs": 4, "batch_size": 20, "random_state": 0, "device": "cpu"}
X, LABELS = make_blobs(60, 5, centers=4, random_state=0, cluster_std=0.3)
X = StandardScaler().fit_transform(X)


def small(n_bits: int = 6, **options) -> IMSATHash:
    return IMSATHash(n_bits, **(SMALL | options))


@parametrize_with_checks(
    [
        IMSATHash(4, hidden=(8,), epochs=3, device="cpu"),
        IMSATHash(3, hidden=(), epochs=3, n_init=2, perturbation="rpt", pair_weight=1.0, device="cpu", dtype="float64"),
    ]
)
def test_scikit_learn_finds_nothing(estimator, check, monkeypatch):
    # scikit-learn wants constructors that take anything; the tests' checks of types do not.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    check(estimator)


def test_codes_probabilities_and_integers_agree():
    model = small().fit(X)
    bits = model.transform(X)
    assert bits.shape == (60, 6) and bits.dtype == np.uint8 and set(np.unique(bits)) <= {0, 1}
    assert np.array_equal(bits, model.predict_proba(X) > 0.5)
    np.testing.assert_allclose(model.predict_proba(X), torch.from_numpy(model.logits(X)).sigmoid(), rtol=1e-6)
    expected = [int("".join(map(str, row)), 2) for row in bits]
    assert model.predict(X).tolist() == expected == model.labels_.tolist()
    assert model.get_feature_names_out().tolist() == [f"imsathash{place}" for place in range(6)]


def test_groups_get_codes_of_their_own():
    model = small(4, epochs=150, learning_rate=0.02, batch_size=60, epsilon=1.0, xi=1.0, hidden=(32,)).fit(X)
    bits = model.transform(X)
    distances = (bits[:, None] != bits[None]).sum(2)
    same = LABELS[:, None] == LABELS
    assert distances[same].mean() < 0.2 < 1 < distances[~same].mean()


def test_the_loss_is_that_of_all_data():
    for weight in (1.0, 2.0):
        model = small(perturbation=None, pair_weight=weight, dtype="float64").fit(X)
        expected = -0.1 * float(hash_information(torch.from_numpy(model.logits(X)), weight))
        assert model.loss_ == pytest.approx(expected)
    parts = {"loss", "self-augmentation", "information of the bits", "information of pairs"}
    assert set(model.history_.metrics) == parts


@pytest.mark.parametrize("n_bits", [1, 62, 63, 128])
def test_any_number_of_bits(n_bits):
    model = small(n_bits, epochs=1).fit(X)
    assert model.transform(X).shape == (60, n_bits)
    if n_bits <= 62:
        assert model.predict(X).min() >= 0 and model.predict(X).dtype == np.int64
        assert np.array_equal(small(n_bits, epochs=1).fit_predict(X), model.labels_)
    else:
        assert not hasattr(model, "labels_")
        with pytest.raises(ValueError, match="n_bits"):
            model.predict(X)


def test_more_bits_than_an_integer_holds_leave_no_labels_of_another_fit():
    estimator = small(4).fit(X)
    assert hasattr(estimator, "labels_")
    assert not hasattr(estimator.set_params(n_bits=63).fit(X), "labels_")


def test_integers_of_too_many_bits_are_refused_before_training():
    estimator = small(63)
    with pytest.raises(ValueError, match="n_bits"):
        estimator.fit_predict(X)
    assert not hasattr(estimator, "network_")
    fitted = small(4).fit(X)
    assert np.array_equal(fitted.set_params(n_bits=70).predict(X), fitted.labels_)


def test_the_highest_of_62_bits_counts():
    network = nn.Linear(5, 62)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.fill_(1.0)
    model = small(62, network=network, perturbation=None, epochs=1, learning_rate=1e-9).fit(X)
    assert set(model.predict(X).tolist()) == {2**62 - 1}


def test_names_of_bits_do_not_matter():
    one = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    two, order = pickle.loads(pickle.dumps(one)), [1, 2, 0]
    with torch.no_grad():
        two[-1].weight.copy_(one[-1].weight[order])
        two[-1].bias.copy_(one[-1].bias[order])
    fits = [small(3, network=network, dtype="float64").fit(X) for network in (one, two)]
    np.testing.assert_allclose(fits[1].predict_proba(X), fits[0].predict_proba(X)[:, order], atol=1e-9)
    assert fits[1].loss_ == pytest.approx(fits[0].loss_, rel=1e-9)


@pytest.mark.parametrize("x", [X[:2], X[:21], np.zeros((30, 4)), np.repeat(X[:2], 10, axis=0), X.astype(np.float16)])
def test_points_at_the_edge(x):
    model = small().fit(x)
    assert math.isfinite(model.loss_) and model.transform(x).shape == (len(x), 6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_bits", 0),
        ("n_bits", 2.0),
        ("n_bits", True),
        ("pair_weight", -1.0),
        ("pair_weight", math.nan),
        ("pair_weight", "expansion"),
        ("network", nn.Linear(5, 2)),
    ],
)
def test_a_bad_parameter_is_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        small().set_params(**{name: value}).fit(X)


def test_a_stopped_fit_goes_on_bit_for_bit(tmp_path):
    whole = small(n_init=2).fit(X)
    stop, calls = threading.Event(), []

    def halt(done):
        calls.append(done)
        if len(calls) == 15:  # in the second start
            stop.set()

    part = small(n_init=2).fit(X, checkpoint=tmp_path / "c", stop=stop, evaluate=halt, evaluate_every=1)
    assert part.history_.interrupted
    resumed = small(n_init=2).fit(X, checkpoint=tmp_path / "c")
    assert resumed.history_.metrics == whole.history_.metrics
    assert np.array_equal(resumed.logits(X), whole.logits(X))


def test_copies_pickles_and_pipelines():
    model = small().fit(X)
    assert clone(model).get_params() == model.get_params()
    assert np.array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))
    assert make_pipeline(StandardScaler(), small()).fit_transform(X).shape == (60, 6)

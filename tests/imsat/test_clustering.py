"""The estimator is scikit-learn's in every respect, leaves what is the caller's alone, and says what is wrong."""

import copy
import math
import pickle
import warnings

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from tests.imsat.blobs import LABELS, SMALL, X, blobs, small
from toolkit.imsat import IMSAT, RandomPerturbation, VirtualAdversarial
from toolkit.imsat.training import predict_logits

LEARNING = {"n_clusters": 3, "hidden": (16,), "epochs": 25, "learning_rate": 0.05, "device": "cpu"}
LEARNED = LEARNING | {"epochs": 60, "random_state": 0}


@parametrize_with_checks(
    [
        IMSAT(**LEARNING, epsilon=0.5, xi=0.5),
        IMSAT(**LEARNING, n_init=2, perturbation=("vat", "rpt"), alpha=0.5, mu="penalty", dtype="float64"),
        IMSAT.rim(**(LEARNING | {"hidden": ()})),
    ]
)
def test_scikit_learn_finds_nothing(estimator, check, monkeypatch):
    # scikit-learn wants constructors that take anything; the tests' checks of types do not.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


# What it finds


@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 1.0, "xi": 1.0},
        {"perturbation": "rpt", "epsilon": 1.0},
        {"perturbation": lambda x, generator: x + 0.3 * torch.randn(x.shape, generator=generator).to(x)},
        {"perturbation": VirtualAdversarial(epsilon=1.0, xi=1.0)},
        {"epsilon": 1.0, "xi": 1.0, "dtype": "float64", "mu": "penalty"},
    ],
)
def test_clear_groups_are_found(options):
    model = IMSAT(**LEARNED, **options).fit(X)
    assert adjusted_rand_score(LABELS, model.labels_) > 0.95
    assert np.array_equal(model.labels_, model.predict(X))


def test_more_clusters_than_groups_and_fewer():
    for k in (2, 6):
        model = IMSAT(**(LEARNED | {"n_clusters": k}), epsilon=0.5, xi=1.0).fit(X)
        assert set(model.labels_) <= set(range(k)) and model.predict_proba(X).shape == (60, k)


def test_one_cluster():
    for options in ({}, {"mu": "penalty"}):
        model = small(1, **options).fit(X)
        assert not model.labels_.any() and np.array_equal(model.predict_proba(X), np.ones((60, 1)))
        assert model.loss_ == pytest.approx(0, abs=1e-6) and model.mu_ == (1.0 if options else 4.0)


def test_probabilities_are_a_softmax_of_the_logits():
    model = small().fit(X)
    logits = torch.from_numpy(model.logits(X))
    np.testing.assert_allclose(model.predict_proba(X), logits.softmax(1).numpy(), rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1, rtol=1e-6)
    assert np.array_equal(model.transform(X), model.predict_proba(X))


def test_what_is_known_after_a_fit():
    model = small().fit(X)
    assert model.n_iter_ == 4 * 3 == model.history_.n_steps and model.n_features_in_ == 5
    assert set(model.history_.metrics) == {"loss", "self-augmentation", "marginal entropy", "conditional entropy"}
    assert not model.history_.interrupted and model.mu_ == 4.0


def test_the_loss_is_that_of_all_data():
    model = small(perturbation=None, weight_decay=0.01).fit(X)
    p = model.predict_proba(X).astype(float)
    conditional, mean = -(p * np.log(p)).sum(1).mean(), p.mean(0)
    squared = sum(float(w.detach().double().square().sum()) for w in model.network_.parameters() if w.ndim == 2)
    expected = 0.1 * (conditional + 4 * (mean * np.log(mean)).sum()) + 0.01 * squared
    assert model.loss_ == pytest.approx(expected, rel=1e-5)


# Prior and penalty


def test_expected_sizes_are_reached():
    x, _ = blobs(400, 2, centers=1)
    prior = [0.7, 0.2, 0.1]
    model = IMSAT(**LEARNED, epsilon=0.1, xi=0.1, prior=prior, mu=10.0).fit(x)
    np.testing.assert_allclose(model.predict_proba(x).mean(0), prior, atol=0.05)
    scaled = IMSAT(**LEARNED, epsilon=0.1, xi=0.1, prior=[7, 2, 1], mu=10.0).fit(x)
    np.testing.assert_allclose(scaled.predict_proba(x), model.predict_proba(x), atol=1e-5)


def test_the_penalty_reaches_the_constraint():
    model = IMSAT(**LEARNED, epsilon=1.0, xi=1.0, mu="penalty").fit(X)
    p = model.predict_proba(X).mean(0)
    assert math.log(3) + (p * np.log(p)).sum() <= 0.01 * math.log(3)
    assert model.mu_ == model.history_.last("mu")


def test_or_it_warns():
    with pytest.warns(ConvergenceWarning, match="delta = 1e-12"):
        model = small(mu="penalty", delta=1e-12).fit(X)
    assert model.history_["mu"].tolist() == [1.0] * 2 + [2.0] * 3 + [4.0] * 3 + [8.0] * 3 + [16.0]


def test_a_warm_start_goes_on_with_mu():
    with pytest.warns(ConvergenceWarning):
        model = small(mu="penalty", delta=1e-12, warm_start=True).fit(X)
        first = model.mu_
        model.fit(X)
    assert first == 16.0 and model.history_["mu"][0] == 16.0


def test_the_penalty_does_not_prefer_starts_with_a_larger_mu():
    model = small(mu="penalty", perturbation=None).fit(X)
    p = model.predict_proba(X).astype(float)
    conditional, mean = -(p * np.log(p)).sum(1).mean(), p.mean(0)
    excess = math.log(3) + (mean * np.log(mean)).sum()
    assert model.loss_ == pytest.approx(0.1 * (conditional + model.mu_ * excess), rel=1e-4)


# Points of every kind


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.float32),
        lambda x: (10 * x).astype(int),
        lambda x: x > 0,
        lambda x: x.tolist(),
        lambda x: np.asfortranarray(x),
        lambda x: torch.tensor(x),
        lambda x: torch.tensor(x, dtype=torch.bfloat16),
        lambda x: torch.tensor(x, requires_grad=True),
    ],
)
def test_points_come_in_many_forms(convert):
    given = convert(X)
    model = small().fit(given)
    plain = np.asarray(given.detach().double() if isinstance(given, torch.Tensor) else given, dtype=float)
    assert np.array_equal(model.labels_, small().fit(plain).labels_)
    assert np.array_equal(model.predict(given), model.labels_)


def test_read_only_points_are_fine_and_nobody_writes_into_points():
    x = X.astype(np.float32)
    before = x.copy()
    x.flags.writeable = False
    small().fit(x).predict(x)
    x.flags.writeable = True
    small(network=nn.Sequential(nn.ReLU(inplace=True), nn.Linear(5, 3)), perturbation=None).fit(x)
    assert np.array_equal(x, before)


def test_data_frames_and_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    model = small().fit(frame)
    assert model.feature_names_in_.tolist() == list("abcde")
    assert model.get_feature_names_out().tolist() == ["imsat0", "imsat1", "imsat2"]
    named = model.set_output(transform="pandas").transform(frame)
    assert list(named.columns) == ["imsat0", "imsat1", "imsat2"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("edcba")])


def test_names_of_outputs_are_those_of_the_fit():
    pytest.importorskip("pandas")
    with pytest.raises(NotFittedError):
        small().get_feature_names_out()
    model = small().set_output(transform="pandas").fit(X)
    model.set_params(n_clusters=4)
    assert model.transform(X).columns.tolist() == ["imsat0", "imsat1", "imsat2"]


@pytest.mark.parametrize("n", [2, 3, 19, 21])
def test_few_points(n):
    model = small(n_neighbors=10).fit(X[:n])
    assert model.labels_.shape == (n,) and math.isfinite(model.loss_)


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_constant_features(value):
    model = small().fit(np.full((30, 4), value))
    assert len(set(model.labels_)) == 1 and math.isfinite(model.loss_)
    mixed = np.hstack([X, np.full((60, 2), value)])
    assert math.isfinite(small().fit(mixed).loss_)


def test_duplicates_have_no_radius_and_stay():
    assert math.isfinite(small().fit(np.repeat(X[:3], 20, axis=0)).loss_)


@pytest.mark.parametrize(
    ("spoil", "kind", "match"),
    [
        (lambda x: np.where(x > 1, np.nan, x), ValueError, "NaN"),
        (lambda x: np.where(x > 1, np.inf, x), ValueError, "infinity"),
        (lambda x: x * 1e300, ValueError, "float32"),
        (lambda x: x[:, 0], ValueError, "1D array"),
        (lambda x: x[None], ValueError, "dim 3"),
        (lambda x: x[:1], ValueError, "minimum of 2"),
        (lambda x: x[:, :0], ValueError, "0 feature"),
        (lambda x: x[:0], ValueError, "0 sample"),
        (lambda x: x + 1j, ValueError, "Complex"),
        (lambda x: np.full(x.shape, "a"), ValueError, "a"),
    ],
)
def test_points_that_cannot_be_used(spoil, kind, match):
    with pytest.raises(kind, match=match), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        small().fit(spoil(X))


def test_sparse_points_are_refused():
    sparse = pytest.importorskip("scipy.sparse")
    for method in (small().fit, small().fit(X).predict):
        with pytest.raises(TypeError, match="dense"):
            method(sparse.csr_matrix(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_beyond_what_variances_hold_end_in_an_error(dtype):
    with pytest.raises(FloatingPointError, match="scale them"):
        small(dtype=dtype).fit(X * (1e30 if dtype == "float32" else 1e200))


def fails(points: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    raise RuntimeError("no such picture")


@pytest.mark.parametrize(
    ("change", "kind"), [({"learning_rate": 1e30}, FloatingPointError), ({"perturbation": fails}, RuntimeError)]
)
def test_a_fit_that_fails_leaves_no_network_behind(change, kind):
    first = small(**change)
    with pytest.raises(kind):
        first.fit(X)
    with pytest.raises(NotFittedError):
        first.predict(X)
    again = small().fit(X)
    before = again.logits(X)
    for warm_start in (False, True):
        with pytest.raises(kind):
            again.set_params(warm_start=warm_start, **change).fit(X)
        assert np.array_equal(again.logits(X), before) and np.array_equal(again.labels_, before.argmax(1))


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"lam": -1.0}, ValueError), ({"device": "none"}, ValueError), ({"perturbation": fails}, RuntimeError)],
)
def test_a_fit_that_fails_on_other_features_changes_nothing(change, kind):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcde"))
    model = small().fit(frame)
    before, fitted = model.predict_proba(frame), dict(vars(model))
    with pytest.raises(kind):
        model.set_params(**change).fit(frame.rename(columns=str.upper).iloc[:, :2])
    assert np.array_equal(model.predict_proba(frame), before)
    assert {name: value for name, value in vars(model).items() if name not in change}.items() <= fitted.items()
    first = small(**change)
    with pytest.raises(kind):
        first.fit(X)
    assert not hasattr(first, "n_features_in_")


def test_prediction_wants_the_same_features_and_a_fit():
    with pytest.raises(NotFittedError):
        small().predict(X)
    with pytest.raises(ValueError, match="4 features"):
        small().fit(X).predict(X[:, :4])
    with pytest.raises(ValueError, match="float32"):
        small().fit(X).predict(X * 1e300)


# Networks


def test_any_module_will_do():
    network = nn.Sequential(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 3), nn.GELU(), nn.Flatten(), nn.LazyLinear(3))
    model = small(network=network).fit(X)
    assert model.predict(X).shape == (60,)


def test_the_linear_one_is_a_single_layer():
    model = IMSAT.rim(3, **(SMALL | {"hidden": ()})).fit(X)
    assert [type(layer) for layer in model.network_] == [nn.Linear]
    assert (model.perturbation, model.lam, model.mu, model.weight_decay) == (None, 1.0, 1.0, 0.005)


def test_names_of_clusters_do_not_matter():
    given = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    other, order = copy.deepcopy(given), [2, 0, 1]
    with torch.no_grad():
        other[-1].weight.copy_(given[-1].weight[order])
        other[-1].bias.copy_(given[-1].bias[order])
    one, two = (small(network=network, dtype="float64").fit(X) for network in (given, other))
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X)[:, order], atol=1e-9)
    assert two.loss_ == pytest.approx(one.loss_, rel=1e-9)


def test_a_fitted_network_may_move():
    model = small().fit(X)
    expected = model.predict_proba(X)
    model.network_.double()
    found = model.predict_proba(X)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-6)


# scikit-learn's manners


def test_copies_and_pickles():
    perturbation = RandomPerturbation(epsilon=0.1)
    model = small(perturbation=perturbation, network=nn.Linear(5, 3), prior=(1.0, 2.0, 1.0))
    copied = clone(model)
    assert copied.get_params().keys() == model.get_params().keys() and copied.perturbation == perturbation
    assert not hasattr(clone(model.fit(X)), "network_")
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.history_.metrics == model.history_.metrics


def test_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), IMSAT(**LEARNED, epsilon=1.0, xi=1.0))
    assert adjusted_rand_score(LABELS, pipeline.fit_predict(X)) > 0.95
    assert pipeline.transform(X).shape == (60, 3)


def test_fit_and_predict_at_once_take_what_fit_takes():
    radii = np.zeros(60)
    expected = small().fit(X, radii=radii)
    assert np.array_equal(small().fit_predict(X, radii=radii), expected.labels_)
    assert np.array_equal(small().fit_transform(X, radii=radii), expected.transform(X))


def test_batches_of_evaluation_do_not_matter():
    model = small(dtype="float64").fit(X)
    inputs = torch.tensor(X)
    torch.testing.assert_close(predict_logits(model.network_, inputs, 7), torch.from_numpy(model.logits(X)))

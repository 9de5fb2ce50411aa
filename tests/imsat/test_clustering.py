"""The estimator is scikit-learn's in every respect, leaves what is the caller's alone, and says what is wrong."""

import copy
import math
import pickle
import threading
import warnings

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from toolkit.core.errors import CheckpointError
from toolkit.imsat import IMSAT, RandomPerturbation, VirtualAdversarial
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.training import predict_logits

SMALL = {"hidden": (8,), "epochs": 4, "batch_size": 20, "random_state": 0, "device": "cpu"}
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


def blobs(n: int = 60, d: int = 5, centers: int = 3, seed: int = 0):
    x, labels = make_blobs(n, d, centers=centers, random_state=seed, cluster_std=0.3)
    return StandardScaler().fit_transform(x), labels


X, LABELS = blobs()


def small(n_clusters: int = 3, **options) -> IMSAT:
    return IMSAT(n_clusters, **(SMALL | options))


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


def test_prediction_wants_the_same_features_and_a_fit():
    with pytest.raises(NotFittedError):
        small().predict(X)
    with pytest.raises(ValueError, match="4 features"):
        small().fit(X).predict(X[:, :4])
    with pytest.raises(ValueError, match="float32"):
        small().fit(X).predict(X * 1e300)


# Parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_clusters", 0),
        ("n_clusters", 2.0),
        ("n_clusters", True),
        ("perturbation", "vta"),
        ("perturbation", ""),
        ("perturbation", 3),
        ("perturbation", ["vat", "x"]),
        ("perturbation", VirtualAdversarial),
        ("lam", -1.0),
        ("lam", math.nan),
        ("lam", "large"),
        ("lam", None),
        ("mu", "growing"),
        ("mu", -1.0),
        ("mu", math.inf),
        ("delta", 0.0),
        ("prior", [1.0, 2.0]),
        ("prior", [1.0, 0.0, 1.0]),
        ("prior", [1.0, math.nan, 1.0]),
        ("prior", [[1.0, 1.0, 1.0]]),
        ("prior", "equal"),
        ("alpha", -1.0),
        ("alpha", "small"),
        ("epsilon", math.inf),
        ("n_neighbors", 0),
        ("n_neighbors", 1.5),
        ("xi", 0.0),
        ("power_iterations", 0),
        ("hidden", 100),
        ("hidden", "200-200"),
        ("hidden", (10, 0)),
        ("hidden", (10.5,)),
        ("network", "mlp"),
        ("network", nn.Linear(4, 3)),
        ("network", nn.Linear(5, 2)),
        ("network", nn.Identity()),
        ("network", nn.Flatten(0)),
        ("network", nn.Sequential(nn.Linear(5, 3)).requires_grad_(False)),
        ("initialization", "large"),
        ("initialization", ["small"]),
        ("weight_decay", -0.1),
        ("learning_rate", 0.0),
        ("learning_rate", "fast"),
        ("batch_size", 1),
        ("epochs", 0),
        ("epochs", 1.0),
        ("n_init", 0),
        ("random_state", "seed"),
        ("random_state", -1),
        ("random_state", np.random.default_rng(0)),
        ("device", "gpu"),
        ("dtype", "float16"),
        ("dtype", torch.float32),
        ("cache", 3),
    ],
)
def test_a_bad_parameter_is_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):
        small().set_params(**{name: value}).fit(X)


@pytest.mark.parametrize(
    "radii", [np.ones(59), -np.ones(60), np.full(60, np.nan), np.ones((60, 1)), "near", [[1.0], [1.0, 2.0]]]
)
def test_bad_radii_are_named(radii):
    with pytest.raises((ValueError, TypeError), match="radii"):
        small().fit(X, radii=radii)


# Radii


def test_radii_that_are_known_are_used():
    own = small(dtype="float64").fit(X)
    distances = neighbour_distances(torch.tensor(X), 10)
    for given in (distances, distances.numpy(), distances.tolist()):
        assert small(dtype="float64").fit(X, radii=given).loss_ == own.loss_
    assert small(dtype="float64").fit(X, radii=2 * distances).loss_ != own.loss_


def test_radii_of_zero_are_a_perturbation_that_does_nothing():
    model = small().fit(X, radii=np.zeros(60))
    assert not model.history_["self-augmentation"].any()


def test_radii_are_kept_on_disk(tmp_path):
    first = small(cache=tmp_path).fit(X)
    assert list(tmp_path.iterdir())
    assert small(cache=tmp_path).fit(X).loss_ == first.loss_


# Purity and randomness


def test_nothing_of_the_callers_is_touched():
    given = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    before = copy.deepcopy(given.state_dict())
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    for seed in (0, None):
        small(network=given, random_state=seed).fit(X)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert all(torch.equal(value, given.state_dict()[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in given.parameters()) and given.training


def test_an_integer_repeats_the_fit_and_none_does_not():
    one, two = small().fit(X), small().fit(X)
    assert one.loss_ == two.loss_ and one.history_.metrics == two.history_.metrics
    assert small(random_state=1).fit(X).loss_ != one.loss_
    np.random.seed(0)
    free = small(random_state=None).fit(X)
    np.random.seed(0)
    assert small(random_state=None).fit(X).loss_ != free.loss_


def test_a_random_state_goes_on():
    state = np.random.RandomState(0)
    assert small(random_state=state).fit(X).loss_ != small(random_state=state).fit(X).loss_


def test_dropout_is_drawn_from_the_seed_not_from_the_global_generator():
    given = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    losses = []
    for outside in (1, 2):
        torch.manual_seed(outside)
        losses.append(small(network=given).fit(X).loss_)
    assert losses[0] == losses[1] != small(network=given, random_state=1).fit(X).loss_


# Restarts and warm starts


def test_the_start_with_the_lowest_loss_stays():
    states = np.random.RandomState(0)
    seeds = [states.randint(np.iinfo(np.int32).max) for _ in range(3)]
    assert len(set(seeds)) == 3
    shared = np.random.RandomState(0)
    alone = [small(random_state=shared).fit(X) for _ in range(3)]
    best = min(alone, key=lambda model: model.loss_)
    together = small(n_init=3).fit(X)
    assert together.loss_ == best.loss_ and together.history_.metrics == best.history_.metrics
    assert np.array_equal(together.labels_, best.labels_)


def test_a_start_that_comes_to_nothing_does_not_win(monkeypatch):
    found = iter([math.nan, -0.2, -0.1, math.nan])
    monkeypatch.setattr("toolkit.imsat.base.full_loss", lambda training, seed: next(found))
    assert small(n_init=4).fit(X).loss_ == -0.2


def test_a_warm_start_goes_on():
    model = small(warm_start=True).fit(X)
    first, network = model.history_["loss"], copy.deepcopy(model.network_)
    model.set_params(epochs=10).fit(X)
    assert model.history_["loss"][0] < first[0]
    again = small(network=network, epochs=10).fit(X)
    assert again.history_.metrics == model.history_.metrics


def test_restarts_of_a_warm_start_begin_at_the_same_network():
    model = small(warm_start=True, n_init=2)
    cold = small(n_init=2).fit(X)
    assert model.fit(X).loss_ == cold.loss_
    network = copy.deepcopy(model.network_)
    again = small(network=network, n_init=2).fit(X)
    assert model.fit(X).loss_ == again.loss_


def test_a_warm_start_wants_the_same_shapes():
    model = small(warm_start=True).fit(X)
    with pytest.raises(ValueError, match="features"):
        model.fit(X[:, :4])
    with pytest.raises(ValueError, match="network"):
        model.set_params(n_clusters=4).fit(X)


def test_a_warm_start_refuses_other_layers_instead_of_ignoring_them():
    model = small(warm_start=True).fit(X)
    before = model.logits(X)
    for hidden in ((9,), (8, 8), ()):
        with pytest.raises(ValueError, match=r"'hidden'\n.*\(8,\), as in the fit"):
            model.set_params(hidden=hidden).fit(X)
    other = nn.Linear(5, 3)
    with pytest.raises(ValueError, match="'network'"):
        model.set_params(hidden=(8,), network=other).fit(X)
    assert np.array_equal(model.logits(X), before)
    again = pickle.loads(pickle.dumps(model.set_params(network=None, hidden=[8.0])))
    with pytest.raises(TypeError, match="hidden"):
        again.fit(X)
    again.set_params(hidden=[8], initialization="official").fit(X)
    model.set_params(hidden=(9,), warm_start=False).fit(X)
    assert model.network_[0].out_features == 9


def test_a_warm_start_of_a_users_module_wants_the_same_one():
    module = nn.Linear(5, 3)
    model = small(network=module, warm_start=True).fit(X)
    first = model.loss_
    again = pickle.loads(pickle.dumps(model)).set_params(hidden=(7,)).fit(X)  # of no use beside a module
    assert model.fit(X).loss_ == again.loss_ != first
    for other in (nn.Linear(5, 3), None):
        with pytest.raises(ValueError, match="'network'"):
            model.set_params(network=other).fit(X)


def test_without_a_warm_start_it_forgets():
    model = small().fit(X)
    first = model.loss_
    assert model.fit(X).loss_ == first


# Stopping and going on


def stopped(done: int, at: int, stop: threading.Event):
    if done == at:
        stop.set()


@pytest.mark.parametrize("options", [{}, {"mu": "penalty"}, {"dtype": "float64", "perturbation": ("rpt", "vat")}])
def test_a_stopped_fit_goes_on_bit_for_bit(options, tmp_path):
    whole = small(**options).fit(X)
    stop = threading.Event()
    part = small(**options).fit(
        X, checkpoint=tmp_path / "c", stop=stop, evaluate=lambda done: stopped(done, 5, stop), evaluate_every=1
    )
    assert part.history_.interrupted and part.n_iter_ == 5 and part.predict(X).shape == (60,)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    resumed = small(**options).fit(X, checkpoint=tmp_path / "c")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert resumed.history_.metrics == whole.history_.metrics and resumed.loss_ == whole.loss_
    for name, value in whole.network_.state_dict().items():
        assert torch.equal(value, resumed.network_.state_dict()[name]), name
    assert resumed.mu_ == whole.mu_ and not resumed.history_.interrupted


@pytest.mark.parametrize("at", [3, 12, 14, 30])
def test_restarts_that_were_stopped_go_on(at, tmp_path):
    whole = small(n_init=3).fit(X)
    stop, count = threading.Event(), iter(range(1, 100))
    part = small(n_init=3).fit(
        X, checkpoint=tmp_path / "c", stop=stop, evaluate=lambda _: stopped(next(count), at, stop), evaluate_every=1
    )
    assert part.history_.interrupted
    resumed = small(n_init=3).fit(X, checkpoint=tmp_path / "c")
    assert not resumed.history_.interrupted
    assert resumed.loss_ == whole.loss_ and resumed.history_.metrics == whole.history_.metrics
    assert np.array_equal(resumed.logits(X), whole.logits(X))


def test_a_finished_fit_is_not_trained_again(tmp_path):
    first = small().fit(X, checkpoint=tmp_path / "c")
    calls = []
    second = small().fit(X, checkpoint=tmp_path / "c", evaluate=calls.append)
    assert not calls and second.loss_ == first.loss_
    longer = small(epochs=6).fit(X, checkpoint=tmp_path / "c")
    assert longer.history_.metrics == small(epochs=6).fit(X).history_.metrics


@pytest.mark.parametrize(
    "options",
    [
        {"lam": 0.2},
        {"random_state": 1},
        {"hidden": (9,)},
        {"perturbation": VirtualAdversarial(epsilon=0.3)},
        {"prior": (1.0, 1.0, 2.0)},
        {"network": nn.Linear(5, 3)},
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(options, tmp_path):
    small().fit(X, checkpoint=tmp_path / "c")
    with pytest.raises(CheckpointError, match=next(iter(options))):
        small(**options).fit(X, checkpoint=tmp_path / "c")


def test_a_checkpoint_of_other_points_is_refused(tmp_path):
    small().fit(X, checkpoint=tmp_path / "c")
    with pytest.raises(CheckpointError, match="points"):
        small().fit(X + 1, checkpoint=tmp_path / "c")


def test_a_function_is_known_by_its_name(tmp_path):
    first = small(perturbation=[lambda x, generator: x + 0.1, "rpt"]).fit(X, checkpoint=tmp_path / "c")
    second = small(perturbation=[lambda x, generator: x + 0.1, "rpt"]).fit(X, checkpoint=tmp_path / "c")
    assert second.history_.metrics == first.history_.metrics and second.loss_ == first.loss_


def test_a_checkpoint_that_tells_nothing_is_taken_as_it_is(tmp_path, monkeypatch):
    first = small().fit(X)
    with monkeypatch.context() as patch:
        patch.setattr("toolkit.imsat.base.fit_configuration", lambda *arguments: None)
        small().fit(X, checkpoint=tmp_path / "c")
    assert small().fit(X, checkpoint=tmp_path / "c").history_.metrics == first.history_.metrics


def test_a_stop_before_the_first_step():
    stop = threading.Event()
    stop.set()
    model = small().fit(X, stop=stop)
    assert model.n_iter_ == 0 and model.history_.interrupted and model.predict(X).shape == (60,)


# Evaluation on the way


def test_evaluation_uses_the_estimator_as_it_is_then():
    model, seen = small(), []

    def evaluate(done):
        seen.append((done, model.predict_proba(X)))
        return {"certainty": seen[-1][1].max(1).mean()}

    model.fit(X, evaluate=evaluate, evaluate_every=5)
    assert [done for done, _ in seen] == [5, 10, 12]
    assert model.history_.metrics["certainty"].steps == (5, 10, 12)
    assert not np.array_equal(seen[0][1], seen[1][1])
    assert np.array_equal(seen[-1][1], model.predict_proba(X))
    assert model.loss_ == small().fit(X).loss_


def test_an_error_in_the_evaluation_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        small().fit(X, evaluate=lambda done: 1 / 0)


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

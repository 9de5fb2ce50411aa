"""Every way to fit says what is wrong, touches nothing of the caller's, and goes on where it was stopped."""

import copy
import math
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn

from tests.imsat.blobs import X, small
from toolkit.core.errors import CheckpointError
from toolkit.imsat import IMSATHash, VirtualAdversarial
from toolkit.imsat.neighbours import neighbour_distances

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
    with pytest.raises(ValueError, match=r"'n_clusters'\n.*3, as in the fit"):
        model.set_params(n_clusters=4).fit(X)
    codes = IMSATHash(3, hidden=(8,), epochs=1, warm_start=True).fit(X)
    with pytest.raises(ValueError, match="'n_bits'"):
        codes.set_params(n_bits=4).fit(X)


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

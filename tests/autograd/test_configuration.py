"""Settings: nested, by thread, as decorators, and put back whatever happens."""

import threading

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable, config, no_grad, set_default, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.configuration import COMPUTE, RECORD, WATCH


@pytest.fixture
def x() -> Variable:
    return Variable(np.ones(2), requires_grad=True)


def test_nothing_is_recorded_without_gradients(x):
    with no_grad():
        y = F.exp(x * 2.0)
        leaf = Variable(np.ones(2), requires_grad=True)
    assert not y.requires_grad and y.is_leaf and leaf.requires_grad
    with pytest.raises(RuntimeError, match="nothing was recorded"):
        F.sum(y).backward()


def test_settings_nest_and_come_back(x):
    assert (x * 2.0).requires_grad
    with no_grad():
        with using_config(enable_backprop=True):
            assert (x * 2.0).requires_grad
            with no_grad(), no_grad():
                assert not (x * 2.0).requires_grad
            assert (x * 2.0).requires_grad
        assert not (x * 2.0).requires_grad
    assert (x * 2.0).requires_grad and config.mode == RECORD


def test_settings_come_back_after_an_exception(x):
    with pytest.raises(KeyError), no_grad(), using_config(train=False, debug=True):
        assert config.mode == WATCH and not config.train
        raise KeyError
    assert config.mode == RECORD and config.train and not config.debug and (x * 2.0).requires_grad


def test_debug_mode_records_only_where_recording_is_on(x):
    with using_config(debug=True):
        assert (x * 2.0).requires_grad
        with no_grad():
            assert config.mode == WATCH and not (x * 2.0).requires_grad
    with no_grad():
        assert config.mode == COMPUTE


def test_decorated_functions(x):
    @no_grad()
    def silent(value: Variable) -> Variable:
        return value * 2.0

    @using_config(train=False)
    def evaluated() -> bool:
        return config.train

    for _ in range(3):
        assert not silent(x).requires_grad and evaluated() is False
    assert config.train and (x * 2.0).requires_grad


def test_every_thread_has_its_own_settings(x):
    inside, outcomes = threading.Event(), {}
    leave = threading.Event()

    def without() -> None:
        with no_grad(), using_config(train=False):
            inside.set()
            assert leave.wait(10)
            outcomes["without"] = (x * 2.0).requires_grad, config.train

    thread = threading.Thread(target=without)
    thread.start()
    assert inside.wait(10)
    outcomes["with"] = (x * 2.0).requires_grad, config.train
    leave.set()
    thread.join()
    assert outcomes == {"with": (True, True), "without": (False, False)}


def test_settings_of_a_thread_are_not_inherited_but_defaults_are():
    seen = []

    def look() -> None:
        seen.append((config.train, config.enable_backprop))

    def run() -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    with no_grad():
        run()
    set_default(train=False)
    try:
        assert not config.train
        run()
    finally:
        set_default(train=True)
    run()
    assert seen == [(True, True), (False, True), (True, True)]


def test_threads_go_back_through_graphs_of_their_own_at_once():
    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        weight = Variable(rng.normal(size=(8, 8)), requires_grad=True)
        for _ in range(30):
            h = Variable(rng.normal(size=(4, 8)))
            for _ in range(5):
                h = F.tanh(h @ weight)
            F.sum(h * h).backward()
        results[seed] = weight.grad

    results: dict[int, np.ndarray] = {}
    alone: dict[int, np.ndarray] = {}
    for seed in range(4):
        work(seed)
    alone, results = results, {}
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, gradient in alone.items():
        np.testing.assert_array_equal(results[seed], gradient)


def test_a_graph_made_in_one_thread_is_gone_back_in_another(x):
    y = F.sum(F.exp(x))
    thread = threading.Thread(target=y.backward)
    thread.start()
    thread.join()
    np.testing.assert_allclose(x.grad, np.exp(np.ones(2)))


@pytest.mark.parametrize("function", [using_config, set_default])
def test_unknown_and_ill_typed_settings_are_refused(function):
    def enter(**settings: object) -> None:
        manager = function(**settings)
        if manager is not None:
            with manager:
                pass

    before = repr(config)
    with pytest.raises(ValueError, match=f"{function.__name__}: bad argument 'trian'"):
        enter(trian=True)
    for settings in ({"train": 1}, {"debug": None}, {"generator": 7}, {"train": False, "debug": "yes"}):
        with pytest.raises(TypeError, match=f"{function.__name__}: bad argument"):
            enter(**settings)
    assert repr(config) == before


def test_the_configuration_shows_itself():
    with using_config(generator=torch.Generator(), train=False):
        assert "train=False" in repr(config) and "generator=<torch" in repr(config)
    assert repr(config).startswith("config(train=True, enable_backprop=True, debug=False")

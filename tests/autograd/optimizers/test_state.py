"""A saved optimizer goes on bit by bit, wherever and whenever it is loaded."""

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.autograd import optimizers as O

MAKERS = {
    "SGD": O.SGD,
    "MomentumSGD": O.MomentumSGD,
    "Nesterov": O.Nesterov,
    "AdaGrad": O.AdaGrad,
    "RMSprop": O.RMSprop,
    "Adam": O.Adam,
    "AMSGrad": lambda: O.Adam(amsgrad=True),
    "AdamW": O.AdamW,
}


def values(number):
    rng = np.random.default_rng(number)
    return [rng.normal(size=(3, 2)), rng.normal(size=())]


def step(library, link, optimizer, number):
    for parameter, gradient in zip(link.params(), values(100 + number), strict=True):
        parameter.grad = library.array(gradient)
    optimizer.update()


def arrays(link):
    return [np.asarray(parameter.data).copy() for parameter in link.params()]


@pytest.mark.parametrize("name", MAKERS)
def test_resuming_is_exact(name, library, bare):
    """State is taken in the middle, and later steps of the first run do not reach into it."""
    link = bare([library.array(value) for value in values(0)])
    optimizer = MAKERS[name]().setup(link)
    link.p1.update_rule.lr = 0.3
    for number in range(5):
        if number == 3:
            optimizer.lr = 0.02
            optimizer.new_epoch()
        step(library, link, optimizer, number)
    state, middle = optimizer.state_dict(), arrays(link)
    for number in range(5, 9):
        step(library, link, optimizer, number)
    again = bare([library.array(value) for value in middle])
    resumed = MAKERS[name]().setup(again)
    report = resumed.load_state_dict(state)
    assert report.complete
    assert (resumed.t, resumed.epoch, resumed.lr, again.p1.update_rule.lr) == (5, 1, 0.02, 0.3)
    for number in range(5, 9):
        step(library, again, resumed, number)
    for ours, theirs in zip(arrays(again), arrays(link), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.t == 9


def test_loading_does_not_share_arrays(bare):
    link = bare([torch.ones(2)])
    optimizer = O.Adam().setup(link)
    link.p0.grad = torch.ones(2)
    optimizer.update()
    state = optimizer.state_dict()
    saved = state["parameters"]["p0"]["state"]["exp_avg"].clone()
    optimizer.load_state_dict(state)
    optimizer.update()
    assert torch.equal(state["parameters"]["p0"]["state"]["exp_avg"], saved)


def test_a_state_moves_between_libraries(libraries, bare):
    finals = []
    for library in libraries.values():
        first = bare([torch.tensor(value) for value in values(0)])
        optimizer = O.Adam().setup(first)
        for number in range(3):
            step(libraries["torch"], first, optimizer, number)
        second = bare([library.array(value) for value in arrays(first)])
        resumed = O.Adam().setup(second)
        resumed.load_state_dict(optimizer.state_dict())
        for number in range(3, 6):
            step(library, second, resumed, number)
        assert isinstance(second.p0.update_rule.state["exp_avg"], library.array_type)
        finals.append(arrays(second))
    for other in finals[1:]:
        for ours, theirs in zip(other, finals[0], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_states_wait_for_parameters_without_a_size():
    x = Variable(torch.arange(6.0).reshape(2, 3))

    def train(link, optimizer, n_steps):
        for _ in range(n_steps):
            optimizer.update(lambda: F.sum(link(x) ** 2))

    first = L.Linear(None, 2)
    optimizer = O.Adam(lr=0.1).setup(first)
    train(first, optimizer, 3)
    state, weights = optimizer.state_dict(), {"W": first.W.data.clone(), "b": first.b.data.clone()}
    train(first, optimizer, 2)
    second = L.Linear(None, 2)
    resumed = O.Adam().setup(second)
    resumed.load_state_dict(state)  # before there is a size
    second.load_state_dict(weights)
    train(second, resumed, 2)
    assert torch.equal(first.W.data, second.W.data) and torch.equal(first.b.data, second.b.data)


def test_a_fresh_state_is_complete(bare):
    link = bare([torch.ones(2)])
    state = O.Adam(lr=0.5).setup(link).state_dict()
    assert O.Adam().setup(link).load_state_dict(state).complete


@pytest.fixture
def trained(bare):
    """A link of two parameters, its Adam, and the state after a step."""
    link = bare([torch.ones(2), torch.ones(3)])
    optimizer = O.Adam().setup(link)
    link.p0.grad, link.p1.grad = torch.ones(2), torch.ones(3)
    optimizer.update()
    return link, optimizer, optimizer.state_dict()


def test_all_that_does_not_fit_is_listed_and_nothing_changed(trained, bare):
    _, _, state = trained
    other = bare([torch.ones(2), torch.ones(4), torch.ones(1)])
    state["parameters"]["gone"] = state["parameters"]["p0"]
    state["hyperparameters"]["momentum"] = 0.9
    state["extra"] = 1
    optimizer = O.Adam(lr=0.5).setup(other)
    with pytest.raises(ValueError, match="nothing has been changed") as caught:
        optimizer.load_state_dict(state)
    text = str(caught.value)
    for path in (
        "missing parameters/p2",
        "parameters/gone",
        "hyperparameters/momentum",
        "extra",
        "parameters/p1/state/exp_avg",
        "parameters/p1/state/exp_avg_sq",
    ):
        assert path in text
    assert optimizer.lr == 0.5 and optimizer.t == 0
    assert all(rule.t == 0 and rule.state == {} for rule in (p.update_rule for p in other.params()))


def test_what_fits_is_loaded_if_not_strict(trained, bare):
    _, _, state = trained
    other = bare([torch.ones(2), torch.ones(4), torch.ones(1)])
    optimizer = O.Adam(lr=0.5).setup(other)
    report = optimizer.load_state_dict(state, strict=False)
    assert report.missing == ("parameters/p2",)
    assert report.misshapen == ("parameters/p1/state/exp_avg", "parameters/p1/state/exp_avg_sq")
    assert not any(path.startswith("parameters/p1") for path in report.loaded)
    assert (optimizer.t, optimizer.lr) == (1, 1e-3)
    assert [parameter.update_rule.t for parameter in other.params()] == [1, 0, 0]
    for parameter in other.params():
        parameter.grad = torch.ones_like(parameter.data)
    optimizer.update()
    assert torch.isfinite(other.p1.data).all()


def test_another_optimizers_state(trained):
    link, _, state = trained
    with pytest.raises(ValueError, match="hyperparameters/beta1"):
        O.SGD().setup(link).load_state_dict(state)
    with pytest.raises(ValueError, match="max_exp_avg_sq"):
        O.Adam(amsgrad=True).setup(link).load_state_dict(state)


@pytest.mark.parametrize(
    "broken",
    [
        {"t": "1"},
        {"t": -1},
        {"hyperparameters": {"lr": "fast"}},
        {"hyperparameters": None},
        {"parameters": 3},
        {"parameters": {"p0": 3, "p1": None}},
    ],
)
def test_damaged_states(broken, trained):
    _, optimizer, state = trained
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="bad argument 'state'"):
        optimizer.load_state_dict({**state, **broken})
    optimizer.load_state_dict({**state, **broken}, strict=False)
    assert optimizer.lr == before["hyperparameters"]["lr"]


def test_states_before_setup(trained):
    with pytest.raises(RuntimeError, match="setup"):
        O.Adam().load_state_dict(trained[2])
    with pytest.raises(TypeError, match="state"):
        trained[1].load_state_dict(3)


def test_frozen_parameters_stay_frozen(trained, bare):
    link, optimizer, _ = trained
    link.p0.update_rule.enabled = False
    other = bare([torch.ones(2), torch.ones(3)])
    resumed = O.Adam().setup(other)
    resumed.load_state_dict(optimizer.state_dict())
    assert (other.p0.update_enabled, other.p1.update_enabled) == (False, True)


def test_noise_goes_on(bare):
    finals = []
    for resume in (False, True):
        link = bare([torch.zeros(4)])
        optimizer = O.SGD().setup(link)
        optimizer.add_hook(O.GradientNoise(1.0, generator=torch.Generator().manual_seed(1)))
        for number in range(4):
            if resume and number == 2:
                state, data = optimizer.state_dict(), link.p0.data.clone()
                link = bare([data])
                optimizer = O.SGD().setup(link)
                optimizer.add_hook(O.GradientNoise(1.0, generator=torch.Generator().manual_seed(99)))
                optimizer.load_state_dict(state)
            link.p0.grad = torch.zeros(4)
            optimizer.update()
        finals.append(link.p0.data)
    assert torch.equal(*finals)


def test_another_set_of_hooks_is_reported(bare):
    link = bare([torch.zeros(4)])
    optimizer = O.SGD().setup(link)
    optimizer.add_hook(O.GradientNoise(1.0))
    state = optimizer.state_dict()
    optimizer.remove_hook("GradientNoise")
    with pytest.raises(ValueError, match="unexpected hooks/GradientNoise"):
        optimizer.load_state_dict(state)
    link.p0.update_rule.add_hook(O.GradientNoise(1.0), "mine")
    report = optimizer.load_state_dict(state, strict=False)
    assert report.unexpected == ("hooks/GradientNoise",)
    assert report.missing == ("parameters/p0/hooks/mine",)


def test_parameters_named_as_parts_of_the_state():
    class Odd(L.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.t = L.Parameter(torch.ones(1))
                self.state = L.Chain(t=L.Linear(1, 1))

    link = Odd()
    optimizer = O.Adam().setup(link)
    for parameter in link.params():
        parameter.grad = torch.ones_like(parameter.data)
    optimizer.update()
    other = O.Adam().setup(Odd())
    assert other.load_state_dict(optimizer.state_dict()).complete
    assert other.target.state.t.W.update_rule.t == 1

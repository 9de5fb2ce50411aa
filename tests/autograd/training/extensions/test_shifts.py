import math

import pytest

import toolkit.autograd.links as L
from toolkit.autograd.optimizers import SGD, Adam, schedules
from toolkit.autograd.training import extensions as E


def rates(train, shift, n, *, lr=0.8, state=None):
    """Return the learning rate that each of ``n`` updates sees, and the manager."""
    optimizer = SGD(lr=lr).setup(L.Linear(1, 1))
    seen = []

    def observations():
        for _ in range(n):
            seen.append(optimizer.lr)
            yield {}

    manager = train([shift], observations(), optimizers=optimizer, state=state)
    return seen, manager


CASES = {
    "exponential": (lambda: E.ExponentialShift(0.5, target=0.15), [0.8, 0.4, 0.2, 0.15]),
    "inverse": (lambda: E.InverseShift(1.0, 2.0), [0.8, 0.2, 0.8 / 9, 0.05]),
    "linear": (lambda: E.LinearShift(0.2, 2, initial=1.0), [1.0, 0.6, 0.2, 0.2]),
    "multistep": (lambda: E.MultistepShift([1, 3], 0.1), [0.8, 0.08, 0.08, 0.008]),
    "polynomial": (lambda: E.PolynomialShift(2, 2.0), [0.8, 0.2, 0.0, 0.0]),
    "step": (lambda: E.StepShift(2, 0.5), [0.8, 0.8, 0.4, 0.4]),
    "warmup": (lambda: E.WarmupShift(2), [0.0, 0.4, 0.8, 0.8]),
    "warmup, then down": (lambda: E.WarmupShift(1, after=schedules.Exponential(0.6, 0.5)), [0.0, 0.6, 0.3, 0.15]),
    "cosine": (lambda: E.CosineShift(2, final=0.2), [0.8, 0.5, 0.2, 0.2]),
    "a function": (lambda: E.Shift(lambda t: 10.0 + t), [10.0, 11.0, 12.0, 13.0]),
}


@pytest.mark.parametrize("name", CASES)
def test_values(train, name):
    make, wanted = CASES[name]
    seen, _ = rates(train, make(), 4)
    assert seen == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stop", [1, 3])
def test_a_resumed_run_sees_the_same_values_bit_for_bit(train, name, stop):
    make, _ = CASES[name]
    whole, _ = rates(train, make(), 7, lr=0.3)
    first, manager = rates(train, make(), stop, lr=0.3)
    rest, _ = rates(train, make(), 7 - stop, lr=0.3, state=manager.state_dict())
    assert first + rest == whole


def test_once_an_epoch(train):
    seen, _ = rates(train, E.ExponentialShift(0.5, trigger=(1, "epoch")), 5)
    assert seen == [0.8, 0.8, 0.4, 0.4, 0.2]


def test_other_attributes_and_optimizers(train):
    adam = Adam().setup(L.Linear(1, 1))
    seen, _ = rates(train, E.Shift(lambda t: 0.5, attr="beta1", optimizer=adam), 2)
    assert seen == [0.8, 0.8]
    assert adam.beta1 == 0.5


def test_outside_of_a_trainer():
    optimizer = SGD(lr=1.0).setup(L.Linear(1, 1))
    shift = E.ExponentialShift(0.5, optimizer=optimizer)
    shift()
    shift()
    assert optimizer.lr == 0.25


def test_another_schedule_after_a_resume(train):
    _, manager = rates(train, E.ExponentialShift(0.5), 3)
    state = manager.state_dict()
    seen, _ = rates(train, E.ExponentialShift(0.1), 1, state=state)
    assert seen == [0.8 * 0.1**3]
    seen, _ = rates(train, E.ExponentialShift(0.5, initial=2.0), 1, state=state)
    assert seen == [0.25]
    E.ExponentialShift(0.5).load_state_dict({}, strict=False)


def test_arguments(train):
    with pytest.raises(TypeError, match="function of time"):
        E.Shift(0.1)
    with pytest.raises(ValueError, match="n_steps"):
        E.CosineShift(0)
    with pytest.raises(ValueError, match="momentum"):
        rates(train, E.Shift(lambda t: 0.1, attr="momentum"), 1)
    with pytest.raises(ValueError, match="main"):
        rates(train, E.Shift(lambda t: 0.1, optimizer="other"), 1)
    with pytest.raises(ValueError, match="lr"):
        rates(train, E.Shift(lambda t: math.nan), 1)

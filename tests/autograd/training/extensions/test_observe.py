import math

import numpy as np
import pytest

import toolkit.autograd.links as L
from toolkit.autograd.optimizers import SGD
from toolkit.autograd.training.extensions import LogReport, MicroAverage, observe_lr, observe_value


def test_values_and_rates(train):
    log = LogReport(trigger=(1, "iteration"))
    optimizer = SGD(lr=0.25).setup(L.Linear(2, 3))
    extensions = [observe_lr(), observe_value("twice", lambda trainer: 2 * trainer.iteration), log]
    manager = train(extensions, [{}] * 2, optimizers=optimizer)
    assert [(entry["lr"], entry["twice"]) for entry in log.log] == [(0.25, 2), (0.25, 4)]
    assert manager.get_extension("observe_lr") is extensions[0]
    with pytest.raises(ValueError, match="main"):
        train([observe_lr("other")], [{}], optimizers=optimizer)


def test_a_ratio_of_sums(train):
    right, count = [3, 1, 0, 5], [4, 1, 2, 6]
    log = LogReport(trigger=(4, "iteration"))
    values = [{"right": np.array(a), "count": b} for a, b in zip(right, count, strict=True)]
    train([MicroAverage("right", "count", "accuracy", trigger=(4, "iteration")), log], values)
    assert log.log[0]["accuracy"] == pytest.approx(9 / 13)


def test_a_ratio_of_nothing(train):
    manager = train([MicroAverage("a", "b", "c", trigger=(1, "iteration"))], [{"a": 1.0, "b": 0.0}])
    assert math.isnan(manager.observation["c"])
    manager = train([MicroAverage("a", "b", "c", trigger=(1, "iteration"))], [{"a": 1.0}])
    assert "c" not in manager.observation


def test_a_ratio_goes_on_after_a_resume(train):
    def average():
        return MicroAverage("a", "b", "c", trigger=(4, "iteration"))

    values = [{"a": float(index), "b": 3.0} for index in range(4)]
    state = train([average()], values[:3]).state_dict()
    resumed = train([average()], values[3:], state=state)
    assert resumed.observation["c"] == train([average()], values).observation["c"] == 0.5
    average().load_state_dict({}, strict=False)

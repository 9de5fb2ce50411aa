import math

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable
from toolkit.autograd.training.extensions.means import Means


def test_numbers_of_every_kind():
    means = Means()
    arrays = [np.float32(4), np.array([5.0]), torch.tensor(6), torch.tensor([[7.0]]), Variable(torch.tensor(8.0))]
    for value in (1, 2.0, True, *arrays):
        means.add({"x": value})
    assert means.compute_mean() == {"x": 34 / 8}


def test_everything_else_is_left_out():
    means = Means()
    others = ["a", None, [], {}, (1, "b"), ("a", 2), 1j, np.zeros(2), torch.zeros(0), torch.zeros(2), np.array("a")]
    means.add({str(index): value for index, value in enumerate([*others, torch.tensor(1j), 10**400, object()])})
    assert means.compute_mean() == {}


def test_weights():
    means = Means()
    means.add({"x": (1.0, 3), "y": (torch.tensor(2.0), 0.0)})
    means.add({"x": (np.float64(5.0), np.int64(1))})
    found = means.compute_mean()
    assert found["x"] == 2.0
    assert math.isnan(found["y"])


def test_double_precision_and_no_alias():
    means = Means()
    value = torch.tensor(0.0)
    for index in range(1000):
        value.fill_(16_777_216 + index % 2)  # in place, as a captured graph writes its result
        means.add({"x": value})
    assert means.compute_mean() == {"x": 16_777_216.0}  # float32 has no odd numbers there
    small = Means()
    for _ in range(10**4):
        small.add({"x": np.float32(0.1)})
    assert small.compute_mean()["x"] == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_the_state_is_exact_and_names_may_be_paths():
    values = np.random.default_rng(0).normal(size=30)
    whole, parts = Means(), Means()
    for index, value in enumerate(values):
        whole.add({"a/b": value, "c": -value})
        if index % 7 == 0:
            state = parts.state_dict()
            assert not any("/" in key for key in state)
            parts = Means()
            parts.load_state_dict(state)
        parts.add({"a/b": value, "c": -value})
    assert parts.compute_mean() == whole.compute_mean()


def test_values_elsewhere_are_added_there_and_fetched_once(monkeypatch):
    # No GPU here: a tensor that says it is not on the CPU takes the same path.
    monkeypatch.setattr(torch.Tensor, "is_cpu", property(lambda self: False))
    read = []
    tolist = torch.Tensor.tolist
    means = Means()
    reported = torch.tensor([0.1])
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "item", lambda self: pytest.fail("read in the loop"))
        for _ in range(3):
            means.add({"x": reported, "y": (torch.tensor(2, dtype=torch.int32), 3)})
            reported.add_(0.1)
        patch.setattr(torch.Tensor, "tolist", lambda self: read.append(1) or tolist(self))
        found = means.compute_mean()
    assert found == {"x": pytest.approx(0.2), "y": 2.0}
    assert read == [1]
    state = means.state_dict()
    again = Means()
    again.load_state_dict(state)
    again.add({"x": torch.tensor(0.2)})
    assert again.compute_mean()["x"] == pytest.approx(0.2)

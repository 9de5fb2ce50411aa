import math

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable
from toolkit.autograd.training import DictSummary, Summary


def test_numbers_of_every_kind():
    means = DictSummary()
    arrays = [np.float32(4), np.array([5.0]), torch.tensor(6), torch.tensor([[7.0]]), Variable(torch.tensor(8.0))]
    for value in (1, 2.0, True, *arrays):
        means.add({"x": value})
    assert means.compute_mean() == {"x": 34 / 8}


def test_everything_else_is_left_out():
    means = DictSummary()
    others = ["a", None, [], {}, (1, "b"), ("a", 2), 1j, np.zeros(2), torch.zeros(0), torch.zeros(2), np.array("a")]
    means.add(
        {
            str(index): value
            for index, value in enumerate([*others, torch.tensor(1j), np.complex64(1), np.str_("a"), 10**400, object()])
        }
    )
    assert means.compute_mean() == {}


def test_weights():
    means = DictSummary()
    means.add({"x": (1.0, 3), "y": (torch.tensor(2.0), 0.0)})
    means.add({"x": (np.float64(5.0), np.int64(1))})
    found = means.compute_mean()
    assert found["x"] == 2.0
    assert math.isnan(found["y"])


def test_double_precision_and_no_alias():
    means = DictSummary()
    value = torch.tensor(0.0)
    for index in range(1000):
        value.fill_(16_777_216 + index % 2)  # in place, as a captured graph writes its result
        means.add({"x": value})
    assert means.compute_mean() == {"x": 16_777_216.0}  # float32 has no odd numbers there
    small = DictSummary()
    for _ in range(10**4):
        small.add({"x": np.float32(0.1)})
    assert small.compute_mean()["x"] == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_the_state_is_exact_and_names_may_be_paths():
    values = np.random.default_rng(0).normal(size=30)
    whole, parts = DictSummary(), DictSummary()
    for index, value in enumerate(map(float, values)):
        whole.add({"a/b": value, "c": -value})
        if index % 7 == 0:
            state = parts.state_dict()
            assert not any("/" in key for key in state)
            parts = DictSummary()
            parts.load_state_dict(state)
        parts.add({"a/b": value, "c": -value})
    assert parts.compute_mean() == whole.compute_mean()


def test_values_elsewhere_are_added_there_and_fetched_once(monkeypatch):
    # No GPU here: a tensor that says it is not on the CPU takes the same path.
    monkeypatch.setattr(torch.Tensor, "is_cpu", property(lambda self: False))
    read = []
    tolist = torch.Tensor.tolist
    means = DictSummary()
    reported = torch.tensor([0.1])
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "item", lambda self: pytest.fail("read in the loop"))
        for _ in range(3):
            means.add({"x": reported, "y": (torch.tensor(2.0), 3)})
            reported.add_(0.1)
        patch.setattr(torch.Tensor, "tolist", lambda self: read.append(1) or tolist(self))
        found = means.compute_mean()
    assert found == {"x": pytest.approx(0.2), "y": 2.0}
    assert read == [1]  # both in one transfer
    state = means.state_dict()
    again = DictSummary()
    again.load_state_dict(state)
    again.add({"x": torch.tensor(0.2)})
    assert again.compute_mean()["x"] == pytest.approx(0.2)


def test_mean_and_deviation():
    generator = np.random.default_rng(0)
    values = 1e6 + generator.normal(size=1000)
    summary = Summary()
    for value in values:
        summary.add(torch.tensor(value))
    mean, deviation = summary.make_statistics()
    assert mean == pytest.approx(values.mean(), rel=1e-14) and deviation == pytest.approx(values.std(), rel=1e-9)
    weighted = Summary()
    weighted.add(1.0, 3)
    weighted.add(np.float32(5), 1)
    assert weighted.make_statistics() == (2.0, math.sqrt(3))


def test_what_is_not_finite_stays_so():
    summary = Summary()
    for value in (math.inf, 1.0):
        summary.add(value)
    assert summary.compute_mean() == math.inf
    assert math.isnan(Summary().compute_mean())


def test_a_summary_of_names():
    summary = DictSummary()
    summary.add({"a": 1, "text": "x", "array": np.ones(3)})
    summary.add({"a": np.float64(3), "b/c": (2.0, 4)})
    resumed = DictSummary()
    resumed.load_state_dict(summary.state_dict())
    for one in (summary, resumed):
        one.add({"a": Variable(torch.tensor(5.0))})
        assert one.compute_mean() == {"a": 3.0, "b/c": 2.0}
    assert resumed.make_statistics() == summary.make_statistics()
    assert summary.make_statistics()["a.std"] == pytest.approx(np.std([1, 3, 5]))


def test_what_is_no_number():
    with pytest.raises(TypeError, match=r"one number[\s\S]*shape \(2,\)"):
        Summary().add(torch.zeros(2))

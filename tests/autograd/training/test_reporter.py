"""Reports find their listener, under the name of who reported; summaries are exact."""

import gc
import math
import threading
import weakref

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.autograd.training import DictSummary, Reporter, Summary, get_current_reporter, report, report_scope


def test_names_begin_with_the_observers():
    main, child = object(), object()
    reporter, observation = Reporter(), {}
    reporter.add_observer("main", main)
    reporter.add_observers("main", [("/l1", child)])
    with reporter.scope(observation):
        report({"loss": 1}, main)
        report({"norm": 2}, child)
        report({"plain": 3})
    assert observation == {"main/loss": 1, "main/l1/norm": 2, "plain": 3}


def test_nobody_listens_outside():
    report({"loss": 1}, object())
    with pytest.raises(RuntimeError, match="no reporter"):
        get_current_reporter()


def test_unknown_observers_are_refused():
    with Reporter().scope({}), pytest.raises(ValueError, match="a object that is not"):
        report({"loss": 1}, object())


def test_scopes_nest_and_end_with_an_exception():
    outer, inner, innermost = {}, {}, {}
    reporter, other = Reporter(), Reporter()
    with reporter.scope(outer):
        report({"a": 1})
        with pytest.raises(KeyError), other.scope(inner):
            report({"b": 2})
            with report_scope(innermost):
                report({"c": 3})
            raise KeyError
        report({"d": 4})
    assert (outer, inner, innermost) == ({"a": 1, "d": 4}, {"b": 2}, {"c": 3})


def test_another_thread_does_not_hear():
    observation = {}
    with Reporter().scope(observation):
        thread = threading.Thread(target=lambda: report({"other": 1}))
        thread.start()
        thread.join()
    assert observation == {}


def test_reported_variables_keep_no_graph():
    observation = {}
    x = Variable(torch.ones(1000), requires_grad=True)
    hidden = F.exp(x)
    alive = weakref.ref(hidden.data)
    loss = F.sum(hidden)
    with Reporter().scope(observation):
        report({"loss": loss, "tensor": torch.ones((), requires_grad=True) * 2})
    del loss, hidden
    gc.collect()
    assert alive() is None
    assert type(observation["loss"]) is torch.Tensor and not observation["tensor"].requires_grad


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

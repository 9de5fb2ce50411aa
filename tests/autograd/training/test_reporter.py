"""Reports find their listener, under the name of who reported."""

import gc
import threading
import weakref

import pytest
import torch

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.autograd.training import Reporter, get_current_reporter, report, report_scope


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
        report({"loss": loss, "tensor": torch.ones((), requires_grad=True) * 2, "weighed": (loss, 3)})
    del loss, hidden
    gc.collect()
    assert alive() is None
    assert type(observation["loss"]) is torch.Tensor and not observation["tensor"].requires_grad
    assert type(observation["weighed"][0]) is torch.Tensor

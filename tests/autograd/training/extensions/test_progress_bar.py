import io

import pytest

from toolkit.autograd.training import ExtensionsManager, report
from toolkit.autograd.training.extensions import LogReport, PrintReport, ProgressBar
from toolkit.autograd.training.extensions import progress_bar as module


@pytest.fixture
def loud(monkeypatch):
    monkeypatch.setenv("TOOLKIT_QUIET", "0")
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_UPDATES", 0.0)


@pytest.mark.parametrize(
    "stop, texts",
    [
        ((4, "iteration"), ["75%", "iteration 3/4", "epoch 1.50"]),
        ((2, "epoch"), ["75%", "epoch 1.50/2"]),
        (None, ["iteration 3 ", "epoch 1.50"]),
    ],
)
def test_it_shows_how_far_and_how_fast(train, loud, stop, texts):
    out = io.StringIO()
    train([ProgressBar(file=out)], [{}] * 4, stop_trigger=stop)
    shown = out.getvalue()
    for text in [*texts, "iterations/s"]:
        assert text in shown


def test_a_length_of_its_own(train, loud):
    out = io.StringIO()
    train([ProgressBar((8, "iteration"), file=out)], [{}] * 4)
    assert "iteration 4/8" in out.getvalue()
    with pytest.raises(ValueError, match="training_length"):
        ProgressBar((3, "hours"))


def test_hidden_when_quiet(train, monkeypatch):
    monkeypatch.setenv("TOOLKIT_QUIET", "1")
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_UPDATES", 0.0)
    out = io.StringIO()
    train([ProgressBar(file=out)], [{}] * 4)
    assert out.getvalue() == ""


def test_closed_on_an_error(tmp_path, loud):
    bar = ProgressBar(file=io.StringIO())
    manager = ExtensionsManager(extensions=[bar], out=tmp_path, iterations_per_epoch=2)
    with manager.run_iteration():
        pass
    opened = bar._bar
    assert opened is not None
    with pytest.raises(RuntimeError, match="no"), manager.run_iteration():
        raise RuntimeError("no")
    assert opened.disable  # tqdm's word for closed
    assert bar._bar is None


def test_it_goes_on_where_a_resumed_run_stands(train, loud):
    state = train([ProgressBar(file=io.StringIO())], [{}] * 3).state_dict()
    out = io.StringIO()
    train([ProgressBar((6, "iteration"), file=out)], [{}] * 1, state=state)
    assert "iteration 3/6" in out.getvalue()
    assert "iteration 4/6" in out.getvalue()


def test_a_table_stands_above_the_bar(train, loud):
    out = io.StringIO()
    train([LogReport(trigger=(1, "iteration")), PrintReport(["a"], out=out), ProgressBar(file=out)], [{"a": 1.5}] * 3)
    lines = out.getvalue().replace("\r", "\n").split("\n")
    assert [line.strip() for line in lines if line.strip() in ("a", "1.5")] == ["a", "1.5", "1.5", "1.5"]


def test_in_a_plain_loop_without_epochs(tmp_path, loud):
    out = io.StringIO()
    manager = ExtensionsManager(extensions=[ProgressBar(file=out)], out=tmp_path)
    with manager.run_iteration():
        report({"a": 1.0})
    manager.finalize()
    assert "iteration 1" in out.getvalue()


def test_the_last_state_is_shown(train, monkeypatch):
    monkeypatch.setenv("TOOLKIT_QUIET", "0")
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_UPDATES", 1e9)
    out = io.StringIO()
    train([ProgressBar(file=out)], [{}] * 4, stop_trigger=(2, "epoch"))
    assert "epoch 2.00/2" in out.getvalue()

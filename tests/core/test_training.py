"""The training loop: what it keeps, and that stopping, killing and resuming change nothing."""

import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.core.batches import Minibatches
from toolkit.core.checkpoints import load_checkpoint
from toolkit.core.devices import draw_normal, resolve_generator
from toolkit.core.errors import CheckpointError, WriteError
from toolkit.core.history import History, Series
from toolkit.core.training import train

N_STEPS = 20


class Run:
    """A small training with every source of state: Adam, a schedule, shuffled batches, noise, dropout, an array."""

    def __init__(self, seed: int = 3):
        self.generator = resolve_generator(seed=seed)
        self.network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 2))
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.copy_(draw_normal(parameter.shape, generator=self.generator))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.05)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, gamma=0.7)
        self.batches = Minibatches(10, 3, generator=self.generator)
        self.inputs = draw_normal((10, 4), generator=resolve_generator(seed=1))
        self.average = np.zeros(2)
        self.state = {
            "network": self.network,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "batches": self.batches,
            "generator": self.generator,
            "average": self.average,
        }

    def step(self, index: int) -> dict:
        inputs = self.inputs[self.batches.next()]
        inputs = torch.nn.functional.dropout(inputs + 0.1 * draw_normal(inputs.shape, generator=self.generator))
        outputs = self.network(inputs) if len(inputs) > 1 else self.network[2](self.network[0](inputs))
        loss = outputs.square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.average += 0.1 * (outputs.detach().mean(0).numpy() - self.average)
        return {"loss": loss, "rate": self.schedule.get_last_lr()[0]}

    def evaluate(self, done: int) -> dict:
        return {"norm": self.network[0].weight.norm()}

    def train(self, n_steps: int = N_STEPS, **options) -> History:
        return train(
            self.step,
            n_steps,
            state=self.state,
            evaluate=self.evaluate,
            evaluate_every=4,
            global_rng=True,
            config={"seed": 3},
            **options,
        )

    def __eq__(self, other):
        mine, theirs = self.network.state_dict(), other.network.state_dict()
        return (
            all(torch.equal(mine[name], theirs[name]) for name in mine)
            and torch.equal(self.generator.get_state(), other.generator.get_state())
            and np.array_equal(self.average, other.average)
        )

    __hash__ = None


def _metrics(history: History) -> dict:
    return history.to_dict()["metrics"]


@pytest.fixture(scope="module")
def unbroken() -> tuple[Run, History]:
    torch.manual_seed(0)
    run = Run()
    return run, run.train()


@pytest.fixture(autouse=True)
def _same_dropout():
    torch.manual_seed(0)


def test_the_history_holds_every_step(unbroken):
    _, history = unbroken
    assert history.n_steps == N_STEPS
    assert not history.interrupted
    assert history.metrics["loss"].steps == tuple(range(1, N_STEPS + 1))
    assert history.metrics["norm"].steps == (4, 8, 12, 16, 20)
    assert history["loss"].dtype == np.float64
    assert history.last("norm") == history["norm"][-1]
    assert history.seconds > 0
    assert history.cpu_seconds > 0


@pytest.mark.parametrize("seed", range(6))
def test_stopped_and_resumed_at_random_steps_equals_unbroken(unbroken, tmp_path, seed):
    reference, history = unbroken
    stops = sorted(np.random.default_rng(seed).choice(N_STEPS + 1, size=3, replace=False).tolist())
    for n_steps in [*stops, N_STEPS]:
        # Every session starts as a new process would: the dropout masks must come from the checkpoint.
        torch.manual_seed(0 if not (tmp_path / "c").exists() else 12345)
        run = Run()
        resumed = train(
            run.step,
            n_steps,
            state=run.state,
            evaluate=None,
            checkpoint=tmp_path / "c",
            global_rng=True,
            config={"seed": 3},
        )
    assert run == reference
    assert _metrics(resumed)["loss"] == _metrics(history)["loss"]
    assert _metrics(resumed)["rate"] == _metrics(history)["rate"]


_SCRIPT = """
import importlib.util, os, signal, sys
import torch
spec = importlib.util.spec_from_file_location("case", sys.argv[1])
case = importlib.util.module_from_spec(spec)
spec.loader.exec_module(case)
from toolkit.core import files
checkpoint, deadly_write, moment = sys.argv[2], int(sys.argv[3]), sys.argv[4]
writes = 0
original = getattr(files.os, moment)
def deadly(*arguments):
    global writes
    writes += 1
    if writes == deadly_write:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
setattr(files.os, moment, deadly)
torch.manual_seed(0 if not os.path.exists(checkpoint) else 999)
case.Run().train(checkpoint=checkpoint, checkpoint_every=1)
"""


@pytest.mark.parametrize(("deadly_write", "moment"), [(6, "replace"), (3, "fsync")])
def test_kill_9_in_the_middle_of_a_checkpoint(unbroken, tmp_path, deadly_write, moment):
    reference, history = unbroken
    checkpoint = tmp_path / "c"
    arguments = [sys.executable, "-c", _SCRIPT, __file__, str(checkpoint), str(deadly_write), moment]
    done = subprocess.run(arguments, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGKILL
    killed_after = load_checkpoint(checkpoint).step
    assert 0 < killed_after < N_STEPS
    assert len(list(tmp_path.iterdir())) == 2  # the whole checkpoint and the half-written next one
    torch.manual_seed(999)
    run = Run()
    resumed = run.train(checkpoint=checkpoint)
    assert run == reference
    assert _metrics(resumed) == _metrics(history)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_the_stop_event_finishes_the_step_and_saves(unbroken, tmp_path):
    reference, history = unbroken
    run, stop = Run(), threading.Event()

    def step(index):
        if index == 6:
            stop.set()
        return run.step(index)

    stopped = train(step, N_STEPS, state=run.state, checkpoint=tmp_path / "c", stop=stop, global_rng=True)
    assert stopped.interrupted
    assert stopped.n_steps == len(stopped["loss"]) == 7
    run = Run()
    resumed = train(run.step, N_STEPS, state=run.state, checkpoint=tmp_path / "c", global_rng=True)
    assert run == reference
    assert not resumed.interrupted
    assert _metrics(resumed)["loss"] == _metrics(history)["loss"]


def test_stopped_before_the_first_step(tmp_path):
    stop = threading.Event()
    stop.set()
    run = Run()
    history = run.train(stop=stop, checkpoint=tmp_path / "c")
    assert history.interrupted
    assert history.n_steps == 0
    assert load_checkpoint(tmp_path / "c").step == 0


def test_ctrl_c_finishes_the_step_and_saves(unbroken, tmp_path):
    reference, _ = unbroken
    run = Run()
    before = signal.getsignal(signal.SIGINT)

    def step(index):
        if index == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return run.step(index)

    stopped = train(step, N_STEPS, state=run.state, checkpoint=tmp_path / "c", global_rng=True)
    assert stopped.interrupted
    assert stopped.n_steps == 6
    assert signal.getsignal(signal.SIGINT) is before
    run = Run()
    train(run.step, N_STEPS, state=run.state, checkpoint=tmp_path / "c", global_rng=True)
    assert run == reference


@pytest.mark.parametrize("how", ["second ctrl-c", "raised"])
def test_a_step_that_is_broken_off_is_not_saved(unbroken, tmp_path, how):
    reference, _ = unbroken
    run = Run()

    def step(index):
        metrics = run.step(index)
        if index == 5 and how == "raised":
            raise KeyboardInterrupt
        if index == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return metrics

    stopped = train(step, N_STEPS, state=run.state, checkpoint=tmp_path / "c", checkpoint_every=2, global_rng=True)
    assert stopped.interrupted
    assert stopped.n_steps == 5
    assert load_checkpoint(tmp_path / "c").step == 4
    run = Run()
    train(run.step, N_STEPS, state=run.state, checkpoint=tmp_path / "c", global_rng=True)
    assert run == reference


def test_training_in_a_thread_leaves_the_signal_handlers_alone():
    before = signal.getsignal(signal.SIGINT)
    seen, histories = [], []

    def step(index):
        seen.append(signal.getsignal(signal.SIGINT))
        return {"loss": 1.0}

    thread = threading.Thread(target=lambda: histories.append(train(step, 2)))
    thread.start()
    thread.join()
    assert seen == [before, before]
    assert histories[0].n_steps == 2


def test_another_exception_propagates_and_the_last_checkpoint_stays(tmp_path):
    def step(index):
        if index == 5:
            raise ArithmeticError("diverged")
        return {"loss": index}

    with pytest.raises(ArithmeticError, match="diverged"):
        train(step, 9, checkpoint=tmp_path / "c", checkpoint_every=2)
    assert load_checkpoint(tmp_path / "c").step == 4


def test_zero_steps(tmp_path):
    def never(index):
        pytest.fail("must not be called")

    history = train(never, 0, evaluate=never, checkpoint=tmp_path / "c")
    assert history.n_steps == 0
    assert history.metrics == {}
    assert not history.interrupted
    assert not (tmp_path / "c").exists()


def test_resuming_a_finished_run_returns_at_once(tmp_path):
    run = Run()
    first = run.train(checkpoint=tmp_path / "c")
    other = Run(seed=8)
    again = other.train(checkpoint=tmp_path / "c")
    assert other == run
    assert _metrics(again) == _metrics(first)


def test_resuming_past_the_end_is_refused(tmp_path):
    Run().train(9, checkpoint=tmp_path / "c")
    with pytest.raises(CheckpointError, match="at most n_steps = 5"):
        Run().train(5, checkpoint=tmp_path / "c")


def test_another_configuration_is_refused(tmp_path):
    train(lambda index: None, 2, checkpoint=tmp_path / "c", config={"rate": 0.1})
    with pytest.raises(CheckpointError, match=r"rate=0\.2"):
        train(lambda index: None, 3, checkpoint=tmp_path / "c", config={"rate": 0.2})


def test_resume_false_starts_anew(tmp_path):
    (tmp_path / "c").write_bytes(b"broken")
    with pytest.raises(CheckpointError):
        train(lambda index: {"x": 1}, 2, checkpoint=tmp_path / "c")
    assert train(lambda index: {"x": 1}, 2, checkpoint=tmp_path / "c", resume=False).n_steps == 2
    assert load_checkpoint(tmp_path / "c").step == 2


def test_a_checkpoint_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="a file stands where a folder should be"):
        train(lambda index: None, 1, checkpoint=tmp_path / "file" / "c")


def test_metrics_of_every_kind_and_nothing():
    metrics = [
        {"a": 1, "b": torch.tensor(2.0), "c": np.float32(3), "d": np.array([4.0]), "e": torch.tensor([[5]])},
        None,
        {},
        {"a": float("nan"), "b": float("inf"), "c": -math.inf, "new": True},
    ]
    history = train(lambda index: metrics[index], 4)
    assert {name: series.values[0] for name, series in history.metrics.items()} == {
        "a": 1,
        "b": 2,
        "c": 3,
        "d": 4,
        "e": 5,
        "new": 1,
    }
    assert history.metrics["a"].steps == (1, 4)
    assert history.metrics["new"].steps == (4,)
    assert math.isnan(history.last("a"))
    assert history.last("b") == math.inf


def test_nan_survives_a_resume(tmp_path):
    train(lambda index: {"loss": math.nan}, 2, checkpoint=tmp_path / "c")
    history = train(lambda index: {"loss": math.inf}, 3, checkpoint=tmp_path / "c")
    assert np.array_equal(history["loss"], [math.nan, math.nan, math.inf], equal_nan=True)


@pytest.mark.parametrize("bad", [torch.zeros(2), np.zeros(3), "text", None, 1j, [1.0], 10**400])
def test_a_metric_that_is_not_one_number(bad):
    with pytest.raises(TypeError, match="metric 'loss' to be one number"):
        train(lambda index: {"loss": bad}, 1)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"n_steps": -1}, "n_steps"),
        ({"n_steps": 1, "checkpoint_every": 1}, "checkpoint"),
        ({"n_steps": 1, "checkpoint_every": 0}, "checkpoint_every"),
        ({"n_steps": 1, "evaluate_every": 1}, "evaluate"),
        ({"n_steps": 1, "evaluate_every": 0}, "evaluate_every"),
    ],
)
def test_impossible_arguments(arguments, name):
    with pytest.raises(ValueError, match=f"train: bad argument '{name}'"):
        train(lambda index: None, **arguments)


@pytest.mark.parametrize("metrics", [0.5, torch.zeros(()), [("loss", 0.5)]])
def test_metrics_without_names(metrics):
    with pytest.raises(TypeError, match="train: bad argument 'step'\n  expected: metrics by name"):
        train(lambda index: metrics, 1)


def test_evaluation_comes_after_the_last_step_too():
    done = []
    train(lambda index: None, 5, evaluate=lambda n: done.append(n), evaluate_every=2)
    assert done == [2, 4, 5]
    done.clear()
    train(lambda index: None, 5, evaluate=lambda n: done.append(n))
    assert done == [5]


def test_a_checkpoint_with_a_state_is_not_taken_for_one_without(tmp_path):
    Run().train(2, checkpoint=tmp_path / "c")
    with pytest.raises(CheckpointError, match="unexpected"):
        train(lambda index: None, 3, checkpoint=tmp_path / "c")


def test_values_are_taken_before_the_next_step_overwrites_them():
    buffer = torch.zeros(())

    def step(index):
        buffer.fill_(index)
        return {"loss": buffer}

    assert train(step, 3)["loss"].tolist() == [0, 1, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_values_on_a_gpu_are_taken_too():
    buffer = torch.zeros((), device="cuda")

    def step(index):
        buffer.fill_(index)
        return {"loss": buffer}

    assert train(step, 3)["loss"].tolist() == [0, 1, 2]


def test_checkpoints_are_written_by_time(tmp_path, monkeypatch):
    monkeypatch.setattr("toolkit.core.training._SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    steps = []

    def step(index):
        steps.append(load_checkpoint(tmp_path / "c").step if index else 0)

    train(step, 4, checkpoint=tmp_path / "c")
    assert steps == [0, 1, 2, 3]


def test_history_as_values_and_frame():
    history = History({"a": Series((1, 2), (0.5, math.nan)), "b": Series((2,), (3.0,))}, 2, False, 1.0, 0.5)
    copy = History.from_dict(history.to_dict())
    assert copy.metrics["b"] == history.metrics["b"]
    assert "n_steps" in history.to_dict()
    assert repr(history) == "History(finished 2 steps in 1.0 s; a=nan, b=3)"
    assert repr(history.metrics["b"]) == "Series(1 values, last 3 at step 2)"
    with pytest.raises(KeyError, match="there are"):
        history["c"]
    assert math.isnan(History({"a": Series((), ())}).last("a"))
    frame = pytest.importorskip("pandas") and history.to_frame()
    assert frame.index.name == "step"
    assert frame["b"].tolist()[1] == 3
    assert math.isnan(frame["b"].tolist()[0])


def test_a_thinned_series_keeps_its_ends():
    series = Series(tuple(range(1, 1001)), tuple(float(step) for step in range(1, 1001)))
    thin = series.thin(10)
    assert len(thin) == 10
    assert (thin.steps[0], thin.steps[-1]) == (1, 1000)
    assert list(thin.steps) == sorted(set(thin.steps))
    assert thin.values == tuple(float(step) for step in thin.steps)
    assert series.thin(1000) is series
    assert Series((), ()).thin(2) == Series((), ())
    with pytest.raises(ValueError, match="n"):
        series.thin(1)


def test_the_bar_shows_the_metric_and_quiet_hides_it(monkeypatch, capfd):
    monkeypatch.setattr("toolkit.core.training._SECONDS_BETWEEN_READINGS", -1.0)

    def step(index):
        return {"loss": 0.25, "other": 7.0}

    monkeypatch.setenv("TOOLKIT_QUIET", "1")
    train(step, 3)
    assert capfd.readouterr().err == ""
    monkeypatch.setenv("TOOLKIT_QUIET", "0")
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    train(step, 3, description="fit")
    assert "fit" in capfd.readouterr().err


def test_the_bar_reads_the_metric_asked_for():
    from toolkit.core.training import _Log

    log = _Log()
    log.add(1, {"loss": 0.25, "other": 7.0})
    assert log.latest(None) == "loss=0.25"
    assert log.latest("other") == "other=7"
    assert log.latest("absent") == ""
    assert _Log().latest(None) == ""

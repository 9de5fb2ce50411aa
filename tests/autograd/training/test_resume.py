"""A run that was killed anywhere goes on exactly as the run that was not; a run that has changed says what is lost."""

import os
import random
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import using_config
from toolkit.autograd.optimizers import SGD
from toolkit.autograd.serializers import load_npz, save_npz
from toolkit.autograd.training import (
    EarlyStoppingTrigger,
    MultiprocessIterator,
    SerialIterator,
    StandardUpdater,
    Trainer,
    TupleDataset,
)
from toolkit.autograd.training.extensions.log_report import LogReport
from toolkit.autograd.training.extensions.snapshot import Snapshot, resume_from

PROGRAM = Path(__file__).with_name("resumable_training.py")
_program = runpy.run_path(str(PROGRAM))
build, main = _program["build"], _program["main"]


class Killed(BaseException):
    """Ends a run without anything being written."""


def train(out, **options):
    """Train in ``out``, from what is there; return parameters, optimizer and log as plain values."""
    trainer, generator = build(out, **options)
    with using_config(generator=generator):
        trainer.run()
    return outcome(trainer)


def outcome(trainer):
    log = [{**entry, "elapsed_time": 0} for entry in trainer.get_extension("LogReport").log]
    weights = {path: parameter.data.tolist() for path, parameter in trainer.models["main"].namedparams()}
    state = trainer.optimizers["main"].state_dict()["parameters"]["first"]["W"]["state"]
    return trainer.iteration, weights, {name: array.tolist() for name, array in state.items()}, log


@pytest.mark.parametrize(
    ("kind", "n_items", "every"),
    [("serial", 23, 2), ("serial", 10, 5), ("augmented", 12, 2), ("once", 24, 3), ("serial", 3, 2)],
)
def test_killed_at_random_iterations(tmp_path, kind, n_items, every):
    options = {"kind": kind, "n_items": n_items, "stop": None if kind == "once" else (5, "epoch"), "every": every}
    whole = train(tmp_path / "whole", **options)
    assert whole[0] == (12 if kind == "once" else n_items)
    draw = random.Random(n_items * every)
    for attempt in range(2):
        out = tmp_path / f"killed_{attempt}"
        kills = sorted(draw.sample(range(1, whole[0] + 1), 2))
        for kill_at in kills:
            trainer, generator = build(out, **options)

            def kill(trainer, kill_at=kill_at):
                if trainer.iteration == kill_at:
                    raise Killed

            # It replaces nothing and has no trigger with a state, so that the resumed run has the same parts.
            trainer.updater.advance = _after(trainer.updater.advance, lambda t=trainer, k=kill: k(t))
            with using_config(generator=generator), pytest.raises(Killed):
                trainer.run()
        assert train(out, **options) == whole


def _after(method, action):
    def both():
        method()
        action()

    return both


def test_killed_for_good_with_workers_and_without(tmp_path):
    """A real process and a real SIGKILL; another process, this one, goes on."""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    kill_at = str(random.Random(0).randint(3, 20))
    command = [sys.executable, "-W", "ignore", str(PROGRAM), str(tmp_path / "killed"), "multiprocess", kill_at]
    assert subprocess.run(command, env=environment, timeout=120, check=False).returncode == -9
    assert not (tmp_path / "killed" / "final.npz").exists()
    with pytest.warns(UserWarning, match="unexpected: triggers/die\\Z"):
        main(tmp_path / "killed", "multiprocess", 0)
    main(tmp_path / "whole", "multiprocess", 0)
    whole, resumed = ((tmp_path / name / "final.npz") for name in ("whole", "killed"))
    assert whole.read_bytes() == resumed.read_bytes()


# ---------------------------------------------------------------------------------------------------------------------
# Runs that have changed


def small(
    out, *, sizes=(3, 2), iterator=SerialIterator, extensions=(), stop=(6, "iteration"), n_items=10, autoload=False
):
    """Return a trainer of a small net over random numbers."""
    generator = torch.Generator().manual_seed(0)
    with using_config(generator=generator):
        model = L.Sequential(L.Linear(4, sizes[0]), L.Linear(sizes[0], sizes[1]))
    x, t = torch.randn(n_items, 4, generator=generator), torch.randint(2, (n_items,), generator=generator)
    optimizer = SGD(lr=0.1).setup(model)
    batches = iterator(TupleDataset(x, t), 4, generator=torch.Generator().manual_seed(1))

    def loss(x, t):
        from toolkit.autograd import functions as F

        return F.cross_entropy(model(x), t)

    updater = StandardUpdater(batches, optimizer, loss_function=loss)
    trainer = Trainer(updater, stop, out=out, extensions=extensions)
    trainer.extend(Snapshot(trigger=(2, "iteration"), autoload=autoload))
    return trainer


def test_another_set_of_extensions_is_reported(tmp_path):
    small(tmp_path, extensions=[LogReport(trigger=(1, "iteration"))]).run()
    changed = small(tmp_path, extensions=[_Counting()], stop=(8, "iteration"), autoload=True)
    with pytest.warns(UserWarning, match="not everything fits") as caught:
        changed.run()
    report = changed.resume_report
    assert len(caught) == 1 and caught[0].filename == __file__
    assert (report.iteration, changed.iteration, report.complete) == (6, 8, False)
    assert {"extensions/_Counting", "triggers/_Counting"} <= set(report.missing)
    assert {"extensions/LogReport", "triggers/LogReport"} <= set(report.unexpected)
    assert "models/main" in report.loaded and "optimizers/main" in report.loaded
    assert report.to_dict()["iteration"] == 6 and "missing=2" in repr(report)


class _Counting:
    trigger = (1, "iteration")

    def __init__(self):
        self.count = 0

    def __call__(self, trainer):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state, strict=True):
        raise KeyError("anything")


def test_an_extension_that_refuses_its_state_is_reported(tmp_path):
    small(tmp_path, extensions=[_Counting()]).run()
    with pytest.warns(UserWarning, match="refused: extensions/_Counting: 'anything'"):
        report = resume_from(tmp_path / "snapshot_iter_4.npz", small(tmp_path, extensions=[_Counting()]))
    assert report.iteration == 4


def test_another_kind_of_iterator_goes_on_with_the_same_batches(tmp_path):
    whole = small(tmp_path / "whole")
    whole.run()
    begun = small(tmp_path / "begun", iterator=MultiprocessIterator, stop=(4, "iteration"))
    begun.run()
    resumed = small(tmp_path / "begun", autoload=True)
    resumed.run()
    assert resumed.resume_report.complete
    one, two = (trainer.models["main"].state_dict() for trainer in (whole, resumed))
    assert all(torch.equal(one[layer][name], two[layer][name]) for layer in one for name in one[layer])


def test_another_data_set_keeps_the_epoch(tmp_path):
    small(tmp_path, stop=(3, "epoch")).run()
    changed = small(tmp_path, n_items=8, stop=(4, "epoch"), autoload=True)
    with pytest.warns(UserWarning, match="refused: iterators/main/position: of 10 items"):
        changed.run()
    assert (changed.iteration, changed.epoch) == (10, 4)


def test_frozen_layers_and_new_layers_are_reported(tmp_path):
    small(tmp_path).run()
    grown = small(tmp_path)
    grown.models["main"].append(L.Linear(2, 2))
    with pytest.warns(UserWarning, match="missing: models/main/2/W"):
        resume_from(tmp_path / "snapshot_iter_6.npz", grown)
    save_npz(tmp_path / "grown.npz", grown)
    shrunk = small(tmp_path)
    with pytest.warns(UserWarning, match="unexpected: models/main/2/W"):
        resume_from(tmp_path / "grown.npz", shrunk)
    frozen = small(tmp_path, stop=(8, "iteration"))
    frozen.models["main"].disable_update()
    frozen.optimizers["main"].setup(frozen.models["main"])
    resume_from(tmp_path / "snapshot_iter_6.npz", frozen)
    frozen.run()


def test_other_shapes_are_all_listed_and_nothing_changes(tmp_path):
    small(tmp_path).run()
    other = small(tmp_path, sizes=(5, 2), autoload=True)
    before = other.state_dict()["models"]
    with pytest.raises(ValueError, match=r"0/W: \(5, 4\), saved \(3, 4\)\s+[\s\S]*0/b[\s\S]*1/W") as caught:
        other.run()
    assert "1/b" not in str(caught.value)
    assert other.iteration == 0
    after = other.state_dict()["models"]
    assert all(torch.equal(before["main"]["0"][name], after["main"]["0"][name]) for name in ("W", "b"))


def test_strictly_everything_must_fit(tmp_path):
    trainer = small(tmp_path)
    trainer.run()
    state = trainer.state_dict()
    same = small(tmp_path)
    assert same.load_state_dict(state).complete and same.iteration == 6
    changed = small(tmp_path, extensions=[_Counting()])
    with pytest.raises(ValueError, match="missing: extensions/_Counting"):
        changed.load_state_dict(state)
    assert changed.iteration == 0


def test_a_model_alone_is_no_run(tmp_path):
    trainer = small(tmp_path)
    save_npz(tmp_path / "model.npz", trainer.models["main"])
    with pytest.raises(ValueError, match=r"no state of a training run[\s\S]*load_npz\(path, model\)"):
        resume_from(tmp_path / "model.npz", trainer)


def test_a_finished_run_stays_finished_and_can_be_made_longer(tmp_path):
    small(tmp_path, autoload=True).run()
    again = small(tmp_path, autoload=True)
    again.run()
    assert again.iteration == 6
    with pytest.raises(RuntimeError, match="training is over"):
        again.run()
    longer = small(tmp_path, autoload=True, stop=(9, "iteration"))
    longer.run()
    assert longer.iteration == 9
    longer.stop_trigger = (11, "iteration")
    longer.run()
    assert longer.iteration == 11


def test_elapsed_time_goes_on(tmp_path):
    first = small(tmp_path)
    first.run()
    saved = load_npz(tmp_path / "snapshot_iter_6.npz").state["elapsed_time"]
    resumed = small(tmp_path, stop=(7, "iteration"), autoload=True)
    resumed.run()
    assert 0 < saved <= first.elapsed_time and resumed.elapsed_time > saved


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 5])
def test_early_stopping_goes_on_counting(tmp_path, stop_at):
    def run(out, last=None):
        values = [5.0, 4.0, 4.5, 4.5, 3.0, 4.0, 4.0, 4.0, 4.0]
        trigger = EarlyStoppingTrigger((1, "iteration"), "x", 3, max_trigger=(9, "iteration"))

        def observe(trainer):
            trainer.observation["x"] = values[trainer.iteration - 1]
            if trainer.iteration == last:
                trainer.stop()

        trainer = small(out, stop=trigger, extensions=[observe])
        trainer.extend(Snapshot("every_{iteration}.npz", autoload=True, trigger=(1, "iteration")), "Every")
        trainer.run()
        return trainer.iteration

    assert run(tmp_path, stop_at) == stop_at
    assert run(tmp_path) == 8
    assert run(tmp_path) == 8

"""Snapshot files: which are written, kept, found and skipped, and what a broken disk does."""

import errno
import os

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd.training import SerialIterator, Trainer, Updater, make_extension
from toolkit.autograd.training.extensions.snapshot import Snapshot, snapshot_object
from toolkit.core import files
from toolkit.core.errors import CheckpointError, WriteError


class Walking(Updater):
    """Takes items and remembers them; fails once at an iteration."""

    def __init__(self, fails_at=None):
        super().__init__(SerialIterator(list(range(100)), 1, shuffle=False))
        self.seen, self.fails_at = [], fails_at

    def update_core(self):
        self.seen += next(self.iterators["main"])
        if self.iteration + 1 == self.fails_at:
            raise RuntimeError("the update broke off")


def trainer_of(out, snapshot, stop=6, **options):
    trainer = Trainer(Walking(**options), (stop, "iteration"), out)
    trainer.extend(snapshot, trigger=(1, "iteration"))
    return trainer


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_are_retained_and_foreign_files_left_alone(tmp_path):
    for name in ("snapshot_iter_1.npz", "snapshot_iter_99.npz", "snapshot_iter_x.npz", "notes.txt"):
        (tmp_path / name).write_bytes(b"not mine")
    trainer_of(tmp_path, Snapshot(n_retains=2)).run()
    foreign = ["notes.txt", "snapshot_iter_99.npz", "snapshot_iter_x.npz"]
    assert names(tmp_path) == sorted(["snapshot_iter_5.npz", "snapshot_iter_6.npz", *foreign])
    (tmp_path / "snapshot_iter_99.npz").unlink()
    resumed = trainer_of(tmp_path, Snapshot(n_retains=2, autoload=True), stop=8)
    resumed.run()
    assert resumed.updater.seen == [6, 7]
    assert names(tmp_path) == ["notes.txt", "snapshot_iter_7.npz", "snapshot_iter_8.npz", "snapshot_iter_x.npz"]


def test_a_state_cannot_make_it_remove_other_files(tmp_path):
    (tmp_path / "precious.npz").write_bytes(b"x")
    snapshot = Snapshot(n_retains=1)
    snapshot.load_state_dict({"written": '["precious.npz", "../snapshot_iter_1.npz", "snapshot_iter_2.npz", 3]'})
    assert snapshot.state_dict() == {"written": '["snapshot_iter_2.npz"]'}


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "flipped"])
def test_the_newest_readable_file_is_loaded(tmp_path, damage):
    trainer_of(tmp_path, Snapshot()).run()
    newest = tmp_path / "snapshot_iter_6.npz"
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    if damage == "foreign":
        np.savez(newest, W=np.zeros(3))
    else:
        newest.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "flipped": content}[damage])
    resumed = trainer_of(tmp_path, Snapshot(autoload=True), stop=7)
    with pytest.warns(UserWarning, match="snapshot_iter_6.npz' is skipped") as caught:
        resumed.run()
    assert resumed.updater.seen == [5, 6] and len(caught) == 1
    assert resumed.resume_report.source.endswith("snapshot_iter_5.npz")


def test_nothing_to_load_begins_afresh(tmp_path):
    trainer = trainer_of(tmp_path / "new", Snapshot(autoload=True), stop=2)
    trainer.run()
    assert trainer.updater.seen == [0, 1] and trainer.resume_report is None


def test_file_names(tmp_path):
    for pattern, expected in {
        "e{epoch}_i{iteration:04d}.npz": "e0_i0002.npz",
        "sub/at_{.iteration}.npz": "at_2.npz",
        "{epoch_detail:.2f}.npz": "0.02.npz",
        "always.npz": "always.npz",
    }.items():
        out = tmp_path / expected
        trainer_of(out, Snapshot(pattern, n_retains=1), stop=2).run()
        folder = out / os.path.dirname(pattern)
        assert names(folder) == [expected]
        resumed = trainer_of(out, Snapshot(pattern, autoload=True), stop=3)
        resumed.run()
        assert resumed.updater.seen == [2]
    with pytest.raises(ValueError, match="no fields in the folder"):
        Snapshot("{epoch}/x.npz")
    with pytest.raises(ValueError, match="n_retains"):
        Snapshot(n_retains=0)


def test_a_full_disk_stops_training_and_keeps_what_is_there(tmp_path, monkeypatch):
    trainer = trainer_of(tmp_path, Snapshot(n_retains=1, snapshot_on_error=True), stop=5)
    real = os.fsync

    def full(descriptor):
        if trainer.iteration == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(WriteError, match="the disk is full") as caught:
        trainer.run()
    assert "Snapshot" in caught.value.__notes__[0]
    assert names(tmp_path) == ["snapshot_iter_2.npz"]
    monkeypatch.undo()
    trainer.run()
    assert trainer.updater.seen == [0, 1, 2, 3, 4] and names(tmp_path) == ["snapshot_iter_5.npz"]


def test_an_error_in_an_update_is_saved_as_if_it_had_not_begun(tmp_path):
    snapshot = Snapshot(snapshot_on_error=True)
    trainer = Trainer(Walking(fails_at=4), (6, "iteration"), tmp_path)
    trainer.extend(snapshot, trigger=(100, "iteration"))
    with pytest.raises(RuntimeError, match="broke off"):
        trainer.run()
    assert names(tmp_path) == ["snapshot_iter_3.npz"]
    resumed = trainer_of(tmp_path, Snapshot(autoload=True))
    resumed.run()
    assert resumed.updater.seen == [3, 4, 5]


def test_an_error_replaces_no_snapshot(tmp_path):
    trainer = trainer_of(tmp_path, Snapshot(snapshot_on_error=True), fails_at=4)
    content = []

    @make_extension(on_error=lambda *_: content.append((tmp_path / "snapshot_iter_3.npz").stat().st_ino))
    def look(trainer):
        pass

    trainer.extend(look)
    with pytest.raises(RuntimeError, match="broke off"):
        trainer.run()
    assert names(tmp_path) == [f"snapshot_iter_{i}.npz" for i in (1, 2, 3)]
    assert content == [(tmp_path / "snapshot_iter_3.npz").stat().st_ino]


def test_a_model_alone(tmp_path):
    model = L.Linear(2, 2)
    trainer = trainer_of(tmp_path, snapshot_object(model, "model.npz", condition=lambda trainer: trainer.iteration < 3))
    trainer.run()
    fresh = L.Linear(2, 2)
    trainer_of(tmp_path, snapshot_object(fresh, "model.npz", autoload=True), stop=1).run()
    assert torch.equal(fresh.W.data, model.W.data)
    with pytest.raises(TypeError, match="state_dict"):
        snapshot_object(3)


def test_several_snapshots_and_an_extension_after_them(tmp_path):
    class Late:
        trigger, priority, name = (1, "iteration"), -1000, "late"
        calls = 0

        def __call__(self, trainer):
            self.calls += 1

        def state_dict(self):
            return {"calls": self.calls}

        def load_state_dict(self, state, strict=True):
            self.calls = state["calls"]

    def build(stop):
        trainer = Trainer(Walking(), (stop, "iteration"), tmp_path)
        late = Late()
        trainer.extend(late)
        trainer.extend(Snapshot("a_{iteration}.npz", autoload=True), trigger=(2, "iteration"))
        trainer.extend(Snapshot("b_{iteration}.npz"), trigger=(4, "iteration"))
        return trainer, late

    build(4)[0].run()
    (tmp_path / "b_4.npz").unlink()
    trainer, late = build(9)
    trainer.run()
    assert late.calls == 9 and names(tmp_path) == ["a_2.npz", "a_4.npz", "a_6.npz", "a_8.npz", "b_8.npz"]


def test_what_a_killed_session_had_no_time_to_remove_is_removed(tmp_path):
    snapshot = Snapshot(n_retains=1)
    trainer = trainer_of(tmp_path, snapshot, stop=2)
    snapshot._remove_surplus = lambda trainer: None
    trainer.run()
    assert names(tmp_path) == ["snapshot_iter_1.npz", "snapshot_iter_2.npz"]
    resumed = Snapshot(n_retains=1, autoload=True)
    trainer_of(tmp_path, resumed, stop=2).run()
    assert names(tmp_path) == ["snapshot_iter_2.npz"]
    assert resumed.state_dict() == {"written": '["snapshot_iter_2.npz"]'}


def test_the_whole_run_knows_the_files_of_its_parts(tmp_path):
    model = L.Linear(2, 2)

    def build(stop):
        trainer = trainer_of(tmp_path, Snapshot(autoload=True, n_retains=1), stop=stop)
        trainer.extend(snapshot_object(model, "model_{iteration}.npz", n_retains=1), trigger=(1, "iteration"))
        return trainer

    build(2).run()
    build(3).run()
    assert names(tmp_path) == ["model_3.npz", "snapshot_iter_3.npz"]


@pytest.mark.parametrize("name", ["a_{nothing}.npz", "a_{iteration:q}.npz", "a_{.nothing}.npz"])
def test_fields_that_there_are_not(name):
    with pytest.raises(ValueError, match="bad argument 'filename'"):
        Snapshot(name)


def test_a_damaged_state_changes_nothing(tmp_path):
    trainer = trainer_of(tmp_path, Snapshot(), stop=3)
    trainer.run()
    state = {**trainer.state_dict(), "triggers": 3}
    fresh = trainer_of(tmp_path, Snapshot())
    with pytest.raises(CheckpointError, match="triggers: 3"):
        fresh.load_state_dict(state)
    assert fresh.iteration == 0

import json
import math
import os

import numpy as np
import pytest
import torch

from toolkit.autograd.training.extensions import LogReport, read_log
from toolkit.autograd.training.manager import ExtensionsManager
from toolkit.autograd.training.reporter import report
from toolkit.core.errors import WriteError


def test_entries_are_means_between_two_firings(train, tmp_path):
    log = LogReport()
    train([log], [{"loss": float(value)} for value in (1, 3, 5, 9, 100)])
    assert [entry["loss"] for entry in log.log] == [2.0, 7.0]
    assert [(entry["epoch"], entry["iteration"]) for entry in log.log] == [(1, 2), (2, 4)]
    assert 0 < log.log[0]["elapsed_time"] <= log.log[1]["elapsed_time"]
    assert json.loads((tmp_path / "log").read_text()) == log.log == read_log(tmp_path / "log")


def test_arrays_of_every_kind_are_read_and_weights_count(train):
    log = LogReport(trigger=(4, "iteration"))
    values = [np.float32(1), torch.tensor([3.0]), np.array(5), torch.tensor(7, dtype=torch.bfloat16)]
    train([log], [{"x": value, "text": "left out", "many": np.zeros(3)} for value in values])
    assert log.log[0]["x"] == 4.0
    assert set(log.log[0]) == {"x", "epoch", "iteration", "elapsed_time"}


def test_a_value_that_comes_now_and_then_is_averaged_over_its_own_count(train):
    log = LogReport(trigger=(3, "iteration"))
    train([log], [{"a": 1.0}, {"a": 2.0, "b": 10.0}, {"a": 3.0}])
    assert log.log[0]["a"] == 2.0
    assert log.log[0]["b"] == 10.0


def test_only_chosen_keys(train):
    log = LogReport(keys=["a", "absent"])
    train([log], [{"a": 1.0, "b": 2.0}] * 2)
    assert set(log.log[0]) == {"a", "epoch", "iteration", "elapsed_time"}


def test_what_is_no_number_stays_valid_json(train, tmp_path):
    train([LogReport()], [{"nan": math.nan, "up": math.inf, "down": -math.inf}] * 2)
    text = (tmp_path / "log").read_text()
    entry = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))[0]
    assert (entry["nan"], entry["up"], entry["down"]) == ("NaN", "Infinity", "-Infinity")
    (entry,) = read_log(tmp_path / "log")
    assert math.isnan(entry["nan"])
    assert (entry["up"], entry["down"]) == (math.inf, -math.inf)


def test_postprocess_and_file_names(train, tmp_path):
    log = LogReport(postprocess=lambda entry: entry.update(twice=np.float32(2 * entry["a"])), log_name="log_{epoch}")
    train([log], [{"a": 1.0}] * 4)
    assert read_log(tmp_path / "log_1")[0]["twice"] == 2.0
    assert len(read_log(tmp_path / "log_2")) == 2


def test_no_file(train, tmp_path):
    log = LogReport(log_name=None)
    train([log], [{"a": 1.0}] * 2)
    assert log.log
    assert not (tmp_path / "log").exists()


def test_resume_in_the_middle_of_a_mean_is_exact(train, tmp_path):
    values = [{"loss": value} for value in np.random.default_rng(0).normal(size=10)]
    whole = LogReport(trigger=(4, "iteration"))
    train([whole], values, out=tmp_path / "whole")
    state = train([LogReport(trigger=(4, "iteration"))], values[:6], out=tmp_path / "parts").state_dict()
    resumed = LogReport(trigger=(4, "iteration"))
    train([resumed], values[6:], out=tmp_path / "parts", state=state)
    assert [entry["loss"] for entry in resumed.log] == [entry["loss"] for entry in whole.log]
    assert [entry["iteration"] for entry in resumed.log] == [4, 8]


def test_a_log_added_to_a_running_training_goes_on_from_its_file(train, tmp_path):
    state = train([LogReport(), lambda trainer: None], [{"a": 1.0}] * 4).state_dict()
    train([LogReport()], [{"a": 2.0}] * 4, state=state)  # the file is now ahead of the snapshot
    del state["extensions"]["LogReport"]
    log = LogReport()
    train([log], [{"a": 3.0}] * 2, state=state)
    assert [entry["a"] for entry in log.log] == [1.0, 1.0, 3.0]


def test_a_file_that_is_no_log_is_not_overwritten(train, tmp_path):
    state = train([], [{"a": 1.0}] * 2).state_dict()
    (tmp_path / "log").write_text("my notes")
    with pytest.raises(ValueError, match="JSON list of objects"):
        train([LogReport()], [{"a": 1.0}] * 2, state=state)
    assert (tmp_path / "log").read_text() == "my notes"


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"[{}", b"\xff\xfe", b"null"])
def test_reading_what_is_no_log(tmp_path, text):
    (tmp_path / "log").write_bytes(text)
    with pytest.raises(ValueError, match="read_log"):
        read_log(tmp_path / "log")


def test_a_partial_state_is_taken():
    log = LogReport()
    log.load_state_dict({}, strict=False)
    log.load_state_dict({"log": '[{"a": 1}]'}, strict=False)
    assert log.log == [{"a": 1}]
    with pytest.raises(ValueError, match="LogReport"):
        log.load_state_dict({"log": "no JSON"})


def test_a_full_disk_leaves_the_earlier_log(train, tmp_path, monkeypatch):
    manager = ExtensionsManager(extensions=[LogReport()], out=tmp_path, iterations_per_epoch=1)
    with manager.run_iteration():
        report({"a": 1.0})
    before = (tmp_path / "log").read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="disk is full"), manager.run_iteration():
        report({"a": 2.0})
    assert (tmp_path / "log").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["log"]

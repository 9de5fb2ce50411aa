"""The verdict on a machine: the same wherever everything is there, and outspoken where it is not."""

import json
import re

import pytest

from toolkit.experiments.doctor import Check, Diagnosis, diagnose
from toolkit.explorers.machine import explore_machine, readiness

GOOD = (
    Check("Python", "ok", "3.11.0 at /somewhere/python"),
    Check("torch", "ok", "2.9"),
    Check("extra [peers]", "note", "optional; not here: mygrad", "python -m pip install …"),
    Check("device", "ok", "cuda:0: a fast one"),
    Check("data folder", "ok", "/somewhere/data"),
    Check("data: mnist", "ok", "bundled: mnist5k.npz"),
    Check("cache folder", "note", "/cache cannot be written", "set TOOLKIT_DATA_DIR"),
    Check("JupyterLab part of anywidget", "ok", "found"),
    Check("font DejaVu Sans", "ok", "/somewhere/DejaVuSans.ttf"),
)


def test_this_machine_is_ready():
    assert [row[1] for row in readiness(diagnose()).rows] == ["ready"] * 5


def test_the_table_is_the_same_on_every_machine_that_is_ready():
    assert repr(readiness(Diagnosis(GOOD))) == repr(readiness(diagnose()))


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("torch", 0),
        ("Python", 0),
        ("something that the doctor may look at one day", 0),
        ("device", 1),
        ("data: digits", 2),
        ("data folder", 2),
        ("data", 2),
        ("JupyterLab part of ipywidgets", 3),
        ("font DejaVu Sans", 4),
        ("fonts", 4),
    ],
)
def test_what_is_missing_is_named_in_its_row(name, row):
    found = readiness(Diagnosis((*GOOD, Check(name, "missing", "not there", "install it"))))
    verdicts = [verdict for _, verdict in found.rows]
    assert verdicts[row] == f"missing: {name}"
    assert verdicts.count("ready") == 4
    assert "will fail" in found.caption


@pytest.mark.parametrize("name", ["Jupyter kernel", "commit", "cache folder"])
def test_what_no_lesson_needs_changes_no_verdict(name):
    found = readiness(Diagnosis((*GOOD, Check(name, "missing", "not there", "install it"))))
    assert repr(found) == repr(readiness(Diagnosis(GOOD)))


def test_the_live_report_shows_everything_and_stores_nothing():
    report = explore_machine(Diagnosis((*GOOD, Check("<torch>", "missing", "<none>", "get it"))))
    assert report.text == "10 checks: 7 ok, 2 notes, 1 missing."
    assert "&lt;torch&gt;" in report.table.value and "get it" in report.table.value
    assert "cuda:0" not in report.table.value
    report.topic.value = "everything"
    assert "cuda:0: a fast one" in report.table.value
    stored = {kind: value for kind, value in report._repr_mimebundle_()[0].items() if "widget-view" not in kind}
    assert set(stored) == {"text/plain", "text/markdown"}
    assert "somewhere" not in json.dumps(stored) and "checks:" not in json.dumps(stored)


def test_nothing_needs_attention():
    report = explore_machine(Diagnosis(tuple(check for check in GOOD if check.status == "ok")))
    assert report.text == "7 checks: 7 ok, 0 notes, 0 missing."
    assert report.table.value == ""


def test_data_sets_on_this_machine():
    report = explore_machine(Diagnosis(GOOD))
    report.topic.value = "data sets"
    assert "MNIST" in report.table.value and "bundled" in report.table.value
    assert 'role="status"' in report.status.value


def test_a_command_is_code_that_breaks_at_spaces_only():
    remedy = "python -m pip install --force-reinstall anywidget, in the environment that runs JupyterLab"
    report = explore_machine(Diagnosis((Check("JupyterLab part of anywidget", "missing", "not found", remedy),)))
    command = re.search("<code>(.*?)</code>", report.table.value)[1]
    assert re.sub("<.*?>", "", command) == "python -m pip install --force-reinstall anywidget"
    assert '<span style="white-space:nowrap">--force-reinstall</span>' in command
    assert "</code>, in the environment" in report.table.value


def test_a_remedy_in_words_is_no_code():
    report = explore_machine(Diagnosis((Check("cache folder", "note", "not there", "set TOOLKIT_DATA_DIR"),)))
    assert "<code>" not in report.table.value and "1 note," in report.text

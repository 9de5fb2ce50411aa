"""Records come back as they were written, and nothing else is taken for one."""

import copy
import json
import math
from dataclasses import replace

import pytest

from toolkit.core.errors import WriteError
from toolkit.core.history import Series
from toolkit.experiments.environment import Environment
from toolkit.experiments.records import (
    Quantity,
    Record,
    RecordError,
    SeedResult,
    Spread,
    load_record,
    load_records,
    now,
    save_record,
)

ENVIRONMENT = Environment("0.1", "3.11.7", "2.13.0", "2.4", "Linux x86_64", "cpu: model", 1, None, None)


def make_record(*values: float, **changes) -> Record:
    results = tuple(
        SeedResult(
            seed,
            {"accuracy": value},
            {"loss": Series((1, 2), (0.5, value))},
            {"confusion": {"truth": [0, 1], "count": [3, None]}},
            1.5,
            1.25,
        )
        for seed, value in enumerate(values or (0.9, 0.8))
    )
    record = Record(
        study="a-study",
        variant="a variant/ε",
        scale="quick",
        config={"rate": 0.1, "sizes": [1, 2], "name": "NaN"},
        results=results,
        environment=ENVIRONMENT,
        date="2025-01-31T12:00:00Z",
        seconds=3.0,
        cpu_seconds=2.5,
        quantities={"paper/accuracy": Quantity("accuracy", 0.5, 100.0)},
    )
    return replace(record, **changes)


def test_there_and_back(tmp_path):
    record = make_record()
    path = save_record(record, tmp_path / "new" / "folder")
    assert load_record(path) == record
    assert path.name.startswith("a-study-a_variant_ε-quick-20250131T120000Z-")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["schema"] == "toolkit-run/1"
    assert content["summary"]["accuracy"]["n"] == 2
    assert content["seeds"] == [0, 1]


def test_lists_of_numbers_stand_on_one_line(tmp_path):
    record = make_record(config={"text": "[ 1,\n 2 ]", "words": ["[", "]"], "empty": [], "nested": [[1, 2], [3]]})
    path = save_record(record, tmp_path)
    assert load_record(path) == record
    lines = path.read_text(encoding="utf-8").splitlines()
    assert '     "values": [ 0.5, 0.9 ]' in lines
    assert len(lines) < 120


def test_numbers_that_json_does_not_know(tmp_path):
    record = make_record(math.nan, math.inf, -math.inf)
    path = save_record(record, tmp_path)
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    loaded = load_record(path)
    assert math.isnan(loaded.results[0].metrics["accuracy"])
    assert math.isnan(loaded.results[0].histories["loss"].values[1])
    assert [result.metrics["accuracy"] for result in loaded.results[1:]] == [math.inf, -math.inf]
    assert loaded.config["name"] == "NaN"
    assert math.isnan(loaded.summary["accuracy"].mean)


def test_mean_and_standard_deviation():
    assert make_record(1.0, 2.0, 3.0).summary["accuracy"] == Spread(2.0, 1.0, 3)
    assert make_record(5.0).summary["accuracy"] == Spread(5.0, None, 1)
    assert make_record(0.1, 0.1, 0.1).summary["accuracy"].sd == 0
    assert str(Spread(0.5, None, 1)) == "0.5"
    assert str(Spread(0.5, 0.0123, 2)) == "0.500 ± 0.012"
    assert str(Spread(897.94, 3.3, 5)) == "897.9 ± 3.3"
    assert str(Spread(89.93333, 1.2, 3)) == "89.9 ± 1.2"
    assert str(Spread(1234.5, 120.0, 3)) == "1234.5 ± 1.2e+02"
    assert str(Spread(1.0, 0.0, 3)) == "1 ± 0"
    assert make_record(1e300, -1e300).summary["accuracy"].sd >= 1e300


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ((math.inf, 1.0), math.inf),
        ((1.0, math.inf), math.inf),
        ((-math.inf, 1.0), -math.inf),
        ((1.0, math.nan), math.nan),
    ],
)
def test_the_mean_of_what_is_not_finite(values, mean):
    results = tuple(SeedResult(seed, {"loss": value}) for seed, value in enumerate(values))
    spread = replace(make_record(), results=results).summary["loss"]
    assert repr(spread.mean) == repr(mean)
    assert math.isnan(spread.sd)


def test_a_metric_that_only_some_seeds_have():
    record = make_record(1.0, 3.0)
    partly = replace(record.results[1], metrics={"other": 1.0})
    assert replace(record, results=(record.results[0], partly)).summary == {
        "accuracy": Spread(1.0, None, 1),
        "other": Spread(1.0, None, 1),
    }


def test_two_records_of_one_second_have_two_files(tmp_path):
    first, second = save_record(make_record(0.1), tmp_path), save_record(make_record(0.2), tmp_path)
    assert first != second
    assert len(load_records(tmp_path)) == 2


def test_a_folder_is_read_by_date_and_study(tmp_path):
    save_record(make_record(date="2025-03-01T00:00:00Z"), tmp_path)
    save_record(make_record(date="2025-02-01T00:00:00Z"), tmp_path)
    save_record(make_record(study="other"), tmp_path)
    (tmp_path / "README.md").write_text("not a record")
    assert [record.date[5:7] for record in load_records(tmp_path)] == ["01", "02", "03"]
    assert [record.study for record in load_records(tmp_path, "other")] == ["other"]
    assert load_records(tmp_path / "absent") == ()


def test_every_truncation_is_noticed(tmp_path):
    content = save_record(make_record(), tmp_path).read_bytes()
    for length in range(0, len(content) - 2, 53):
        (tmp_path / "cut.json").write_bytes(content[:length])
        with pytest.raises(RecordError, match=r"cut\.json: no record of a run"):
            load_record(tmp_path / "cut.json")


@pytest.mark.parametrize(
    "content",
    [
        b'{"$float": "x"}',
        b"1" * 5000,
        b"[]",
        b"null",
        b"3",
        b"\xff\xfe",
        b"<html></html>",
        b'{"schema": "toolkit-run/9"}',
    ],
)
def test_foreign_files(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"x\.json: no record of a run\n  expected: "):
        load_record(tmp_path / "x.json")
    with pytest.raises(RecordError):
        load_records(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_record(tmp_path / "absent.json")


def _each_place(values, path=()):
    yield path
    if isinstance(values, dict):
        for key in values:
            yield from _each_place(values[key], (*path, key))
    elif isinstance(values, list):
        for index in range(len(values)):
            yield from _each_place(values[index], (*path, index))


def _free(path: tuple) -> bool:
    """Places that may hold anything, or that are recomputed."""
    names = [part for part in path if isinstance(part, str)]
    return (
        not path
        or names[0] in ("summary", "schema")
        or (names[0] == "config" and len(path) > 1)
        or (names[0] == "environment" and len(path) > 1)
        or ("tables" in names and len(path) > 5)
    )


PLACES = [path for path in _each_place(make_record().to_dict()) if not _free(path)]


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_a_wrong_type_anywhere_is_named(path):
    values = copy.deepcopy(make_record().to_dict())
    parent = values
    for part in path[:-1]:
        parent = parent[part]
    parent[path[-1]] = object()
    with pytest.raises(RecordError, match="no record of a run"):
        Record.from_dict(values)


REQUIRED = [path for path in PLACES if isinstance(path[-1], str) and path[-2:-1] not in [("metrics",), ("histories",)]]


@pytest.mark.parametrize(
    "path",
    [p for p in REQUIRED if p[-2:-1] not in [("tables",), ("quantities",)] and "tables" not in p[:-1]],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_missing_field_is_named(path):
    values = copy.deepcopy(make_record().to_dict())
    parent = values
    for part in path[:-1]:
        parent = parent[part]
    del parent[path[-1]]
    with pytest.raises(RecordError, match=str(path[-1])):
        Record.from_dict(values)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda values: values.update(scale="huge"), "scale"),
        (lambda values: values.update(date="yesterday"), "date"),
        (lambda values: values.update(seeds=[0, 2]), "seeds"),
        (lambda values: values["results"].append(values["results"][0]), "each once"),
        (lambda values: values["results"][0]["histories"]["loss"]["steps"].pop(), "as many steps as values"),
        (lambda values: values["results"][0]["tables"]["confusion"]["count"].pop(), "columns of one length"),
        (lambda values: values["results"][0].update(seed=True), "seed"),
        (lambda values: values["results"][0].update(seed=1.5), "seed"),
        (lambda values: values["environment"].pop("torch"), "torch"),
        (lambda values: values.update(seconds=10**400), "seconds"),
        (lambda values: values["results"][0]["metrics"].update(loss=10**400), r"metrics\.loss"),
        (lambda values: values["quantities"].update(q={"metric": "m", "tolerance": -1, "factor": 1}), "tolerance"),
        (
            lambda values: values["quantities"].update(q={"metric": "m", "tolerance": float("nan"), "factor": 1}),
            "toler",
        ),
        (lambda values: values["quantities"].update(q={"metric": "m", "tolerance": None, "factor": "1"}), "factor"),
    ],
)
def test_contradictions(change, complaint):
    values = copy.deepcopy(make_record().to_dict())
    change(values)
    with pytest.raises(RecordError, match=complaint):
        Record.from_dict(values)


def test_an_interrupted_write_leaves_no_record(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("toolkit.core.files.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_record(make_record(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(WriteError, match="a file stands where a folder should be"):
        save_record(make_record(), tmp_path / "runs")


def test_what_json_cannot_hold(tmp_path):
    with pytest.raises(TypeError):
        save_record(make_record(config={"x": object()}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_reprs_are_short_and_frames_have_seeds():
    record = make_record(0.25, 0.5)
    assert repr(record) == "Record(a-study a variant/ε at quick scale, 2 seeds, 2025-01-31T12:00:00Z)"
    assert repr(record.results[0]) == "SeedResult(seed=0, accuracy=0.25)"
    assert len(now()) == len(record.date)
    pytest.importorskip("pandas")
    assert record.to_frame().loc[1, "accuracy"] == 0.5


def test_a_negative_tolerance():
    with pytest.raises(ValueError, match="tolerance"):
        Quantity("x", -1.0)

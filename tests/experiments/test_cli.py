"""``python -m toolkit``: what each command prints and the code it ends with."""

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.experiments.test_records import make_record
from toolkit.core.errors import CheckpointError
from toolkit.experiments import cli, registry
from toolkit.experiments.doctor import Check, Diagnosis
from toolkit.experiments.records import load_records, save_record
from toolkit.experiments.study import Measurement, Study, StudyConfig, StudyInterrupted, by_scale

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class CoinConfig(StudyConfig):
    """Coins."""

    n_coins: int = by_scale(quick=2, laptop=20, paper=200)
    """How many coins."""


def _coin(task) -> Measurement:
    return Measurement({"coins": task.config.n_coins + task.seed})


STUDY = Study(name="coins", summary="throw coins", config=CoinConfig, measure=_coin)


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A quick study under the name ``coins``, in an empty folder."""
    monkeypatch.setattr(registry, "_LISTINGS", (registry.Listing("coins", "throw coins", "coins_module"),))
    monkeypatch.setitem(sys.modules, "coins_module", sys.modules[__name__])
    monkeypatch.chdir(tmp_path)
    return STUDY


def _use(monkeypatch, **changes) -> None:
    monkeypatch.setattr(sys.modules[__name__], "STUDY", replace(STUDY, **changes))


def test_run_prints_and_records(study, capsys):
    assert cli.main(["run", "coins"]) == 0
    out = capsys.readouterr().out
    assert "coins at quick scale" in out
    assert "3.0 ± 1.0" in out
    assert "recorded in runs" in out
    (record,) = load_records("runs")
    assert record.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        (["--scale", "laptop"], CoinConfig(scale="laptop")),
        (["--scale=paper", "--seeds", "7", "9"], CoinConfig(scale="paper", seeds=(7, 9))),
        (["--n-coins", "5", "--device", "cpu"], CoinConfig(n_coins=5, device="cpu")),
        (["--scale", "laptop", "--n-coins", "5"], CoinConfig(scale="laptop", n_coins=5)),
    ],
)
@pytest.mark.parametrize("name_first", [True, False])
def test_run_reads_the_studys_own_options(study, tmp_path, arguments, config, name_first):
    rest = ["coins", *arguments] if name_first else [*arguments, "coins"]
    assert cli.main(["run", *rest, "--out", str(tmp_path / "here")]) == 0
    (record,) = load_records(tmp_path / "here")
    assert record.config == config.to_dict()
    assert record.seeds == config.seeds


def test_run_in_parallel(study, monkeypatch):
    import joblib

    seen = []

    def variants(config):
        seen.append(joblib.parallel.get_active_backend()[1])
        return [""]

    _use(monkeypatch, variants=variants)
    assert cli.main(["run", "coins", "--jobs", "3", "--seeds", "1"]) == 0
    assert cli.main(["run", "coins", "--seeds", "1"]) == 0
    assert seen == [3, 1]


def test_a_report_of_the_studys_own(study, monkeypatch, capsys):
    _use(monkeypatch, report=lambda records: f"{len(records)} record")
    assert cli.main(["run", "coins"]) == 0
    assert capsys.readouterr().out.startswith("1 record\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "coin"], "unknown study 'coin'; did you mean coins?"),
        (["run", "zzz"], "unknown study 'zzz'; there are: coins"),
    ],
)
def test_an_unknown_study_gives_one_line(study, capsys, arguments, complaint):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err == complaint + "\n"
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seeds", "1", "1"], "each once"),
        (["--seeds", "-1"], "0 <= seed"),
        (["--device", "cuda:99"], "a device of this machine"),
        (["--device", "meta"], "a device of this machine"),
        (["--jobs", "0"], "-1 for all cores"),
    ],
)
def test_impossible_options_give_no_traceback(study, capsys, arguments, complaint):
    try:
        code = cli.main(["run", "coins", *arguments])
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2
    assert complaint in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "arguments", [["--scale", "huge"], ["--seeds", "x"], ["--no-such-option"], ["--jobs", "x"], ["extra"]]
)
def test_options_that_do_not_exist(study, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "coins", *arguments])
    assert caught.value.code == 2


@pytest.mark.parametrize("arguments", [[], ["run"], ["nonsense"], ["list", "extra"]])
def test_a_wrong_command_line(study, arguments):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2


def test_help_shows_the_numbers_of_the_scale(study, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "coins", "--scale", "laptop", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "python -m toolkit run coins" in out
    assert "How many coins. (default: 20)" in " ".join(out.split()).replace("│ │ ", "")
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert "doctor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (StudyInterrupted("stopped"), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (CheckpointError("checkpoint x: truncated"), 1, "CheckpointError: checkpoint x: truncated"),
    ],
)
def test_ends_that_are_no_bugs(study, monkeypatch, capsys, error, code, text):
    def failing(task):
        raise error

    _use(monkeypatch, measure=failing)
    assert cli.main(["run", "coins"]) == code
    assert text in capsys.readouterr().err


def test_a_missing_data_set_gives_no_traceback(study, monkeypatch, capsys, tmp_path):
    from toolkit.datasets import load

    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    _use(monkeypatch, measure=lambda task: load("kmnist", variant="full"))
    assert cli.main(["run", "coins"]) == 1
    assert "kmnist (full) is not available" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(study, monkeypatch):
    def failing(task):
        raise RuntimeError("a bug")

    _use(monkeypatch, measure=failing)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["run", "coins"])


def test_a_folder_that_cannot_be_written(study, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert cli.main(["run", "coins", "--out", str(tmp_path / "file")]) == 1
    assert "a file stands where a folder should be" in capsys.readouterr().err


def test_list(capsys):
    assert cli.main(["list"]) == 0
    assert "mnist-mlp" in capsys.readouterr().out


def test_ledger(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["ledger", "chainer", "--html", "table.html"]) == 0
    assert "897.9 ± 3.3 s" in capsys.readouterr().out
    assert Path("table.html").read_text(encoding="utf-8").startswith("<table><caption>")
    save_record(make_record(), tmp_path / "runs")
    assert cli.main(["ledger", "nobody"]) == 0
    assert "paper/accuracy" not in capsys.readouterr().out
    (tmp_path / "runs" / "broken.json").write_text("{")
    assert cli.main(["ledger"]) == 1
    assert "broken.json" in capsys.readouterr().err
    assert cli.main(["ledger", "--runs", str(tmp_path / "elsewhere")]) == 0


def test_datasets(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path))
    assert cli.main(["datasets"]) == 0
    out = capsys.readouterr().out
    assert "mnist5k.npz" in out
    assert "CC BY-SA" in out


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("note", 0), ("missing", 1)])
def test_doctor(monkeypatch, capsys, status, code):
    monkeypatch.setattr(cli, "diagnose", lambda: Diagnosis((Check("thing", status, "found", "remedy"),)))
    assert cli.main(["doctor"]) == code
    assert "remedy" in capsys.readouterr().out


def _python(*arguments: str, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, **options
    )


def test_the_command_itself_and_that_list_needs_no_torch():
    script = "import sys; from toolkit.experiments.cli import main; main(['list']); print('torch' in sys.modules)"
    assert _python("-c", script).stdout.splitlines()[-1] == "False"
    done = _python("-m", "toolkit", "run", "mnist-mpl")
    assert done.returncode == 2
    assert done.stderr.startswith("unknown study 'mnist-mpl'; did you mean mnist-mlp")


def test_a_reader_that_goes_away(tmp_path):
    command = f'"{sys.executable}" -m toolkit datasets | true'
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_terminal_that_does_not_know_all_characters(study, monkeypatch, encoding):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True))
    assert cli.main(["run", "coins"]) == 0
    assert cli.main(["run", "é─"]) == 2
    printed, complained = (stream.buffer.getvalue().decode(encoding) for stream in (sys.stdout, sys.stderr))
    assert "coins at quick scale" in printed and "mean ? sd" in printed.replace("±", "?")
    assert "unknown study" in complained


def test_records_of_the_command_line_are_plain_json(study, tmp_path):
    cli.main(["run", "coins"])
    (path,) = (tmp_path / "runs").glob("*.json")
    assert json.loads(path.read_text())["config"]["scale"] == "quick"


def test_the_ledger_names_runs_beside_no_paper(study, capsys):
    assert cli.main(["run", "coins"]) == 0
    capsys.readouterr()
    assert cli.main(["ledger"]) == 0
    assert "coins at quick scale" in capsys.readouterr().out.split("answer no number of a paper")[1]

"""The README's two commands are whole and right, and what it says of the repository is true."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import toolkit

ROOT = Path(toolkit.__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_there_are_exactly_two_commands_of_one_line() -> None:
    assert len(COMMANDS) == 2
    assert [command.count("\n") for command in COMMANDS] == [1, 1]


@pytest.mark.parametrize("command", COMMANDS)
def test_command_installs_extras_that_exist_and_then_runs(command: str) -> None:
    install, _, follow = command.strip().partition(" && ")
    *pip, target = shlex.split(install)
    assert pip == ["python", "-m", "pip", "install", "-e"]
    match = re.fullmatch(r"\.\[([a-z,]+)\]", target)
    assert match is not None
    assert set(match[1].split(",")) <= set(EXTRAS)
    assert shlex.split(follow)[:2] == ["python", "-m"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("shell", ["bash", "zsh", "dash"])
def test_command_is_valid_in_the_shell(shell: str, command: str) -> None:
    """zsh, the shell of macOS, takes a bare ``[notebooks]`` for a pattern; quotes keep every shell from looking."""
    unquoted = re.sub(r'"[^"]*"', "", command)
    assert not set(unquoted) & set("[]*?$`\\'~#")
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([shell, "-n", "-c", command], check=True)


def test_first_command_opens_the_first_lesson() -> None:
    program = shlex.split(COMMANDS[0].partition(" && ")[2])
    assert program == ["python", "-m", "jupyter", "lab", "notebooks/00_start_here.ipynb"]
    assert (ROOT / program[-1]).is_file()


def test_second_command_runs_the_tests_with_nothing_to_remember() -> None:
    assert shlex.split(COMMANDS[1].partition(" && ")[2]) == ["python", "-m", "pytest"]


def test_ci_script_runs_the_same_test_command() -> None:
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("a source archive has no .ci folder")
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    (extract,) = re.findall(r"\$\((sed -n .* README\.md)\)", script.read_text())
    found = subprocess.run(["bash", "-c", extract], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert found == COMMANDS[1]


def test_links_lead_somewhere_and_the_picture_has_words() -> None:
    links = re.findall(r"(!?)\[([^\]]*)\]\(([^)]+)\)", README)
    pictures = [(text, target) for bang, text, target in links if bang]
    assert len(pictures) == 1
    assert len(pictures[0][0]) > 40
    broken = [target for _, _, target in links if "://" not in target and not (ROOT / target).exists()]
    assert broken == []


def test_table_tells_which_lessons_exist() -> None:
    told = re.findall(r"`(\d\d_\w+)`", "\n".join(line for line in README.splitlines() if line.startswith("|")))
    assert sorted(told) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def test_groups_that_are_run_by_their_path_are_there() -> None:
    groups = re.findall(r"`python -m pytest (\S+)", README)
    assert groups == ["tests/browser", "tests/benchmarks", "tests/gpu"]
    assert [group for group in groups if not list((ROOT / group).glob("test_*.py"))] == []


def test_command_line_has_the_commands_it_tells_of() -> None:
    told = set(re.findall(r"`python -m toolkit (\w+)", README))
    assert told == {"list", "run", "ledger", "datasets", "doctor"}
    help_text = subprocess.run(
        [sys.executable, "-m", "toolkit", "--help"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=120
    ).stdout
    assert told <= set(re.findall(r"\w+", help_text))


def test_the_programs_run(tmp_path, capsys, monkeypatch) -> None:
    training, estimate, clusters, attack, scores, documents = PROGRAMS
    assert '(3, "epoch")' in training
    monkeypatch.chdir(tmp_path)
    exec(training.replace('(3, "epoch")', '(1, "iteration")'), {})
    assert "main/accuracy" in capsys.readouterr().out
    found: dict = {}
    exec(estimate, found)
    assert found["logits"].grad.abs().min() > 0
    assert "largest z" in capsys.readouterr().out
    assert "epochs=60" in clusters
    exec(clusters.replace("epochs=60", "epochs=2"), {})
    printed = re.sub(r"[01]\.\d+", "number", capsys.readouterr().out.strip())
    assert printed.startswith("ClusteringScores(accuracy=number,")
    assert f"it prints `{printed}`" in re.sub(r"0\.\d+", "number", README)
    assert "epochs=5" in attack
    exec(attack.replace("epochs=5", "epochs=1"), {})
    before, after = map(float, capsys.readouterr().out.split())
    assert 0 <= after < before <= 1
    exec(scores, {})
    assert "UniBound" in capsys.readouterr().out
    exec(documents, {})
    assert "[0.5000, 0.5000, 0.5000]" in capsys.readouterr().out


def test_every_optional_extra_is_explained() -> None:
    section = README.partition("| Extra |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == set(EXTRAS) - {"notebooks", "test"}

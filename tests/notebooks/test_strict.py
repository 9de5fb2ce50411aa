"""Notebooks are compared strictly: what must match does, what may differ is replaced by a rule that is live."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from nbval.plugin import get_sanitize_patterns

import toolkit

ROOT = Path(toolkit.__file__).resolve().parent.parent
SANITIZE = "tests/notebooks/sanitize.cfg"
RULES = (ROOT / SANITIZE).read_text(encoding="utf-8")
OPTIONS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["addopts"]

# Of each rule: pairs that must read the same after it, and texts that it must leave alone.
LIVE = {
    "memory-address": ([("<f at 0x7f1a2b3c4d5e>", "<f at 0x55D0C0FFEE00>")], ["0xff", "mask 0x1F", "0x12345"]),
    "duration": (
        [("took 3.25 s", "took 41 s"), ("12ms", "9.5 ms"), ("4 µs", "7 μs"), ("81.0 it/s", "3it/s")],
        ["0.25", "12 samples", "5 mass", "layer 3, step 4", "2 steps", "s = 3"],
    ),
    "device": ([("device cpu", "device cuda:0"), ("(mps)", "(cuda)")], ["cpus", "cudagraph", "mpsx"]),
}


def sanitize(text: str) -> str:
    for pattern, replacement in get_sanitize_patterns(RULES):
        text = re.sub(pattern, replacement, text)
    return text


def test_nbval_reads_every_rule() -> None:
    """A rule with an empty replacement, or apart from its pair, is dropped without a word."""
    rules = get_sanitize_patterns(RULES)
    assert len(rules) == RULES.count("regex:") == RULES.count("replace:") == len(LIVE)
    assert all(pattern.strip() and replacement.strip() for pattern, replacement in rules)
    assert re.findall(r"^\[(.+)\]$", RULES, flags=re.MULTILINE) == list(LIVE)


@pytest.mark.parametrize("name", LIVE)
def test_rule_is_live(name: str) -> None:
    index = list(LIVE).index(name)
    pattern, replacement = get_sanitize_patterns(RULES)[index]
    same, untouched = LIVE[name]
    for first, second in same:
        assert re.sub(pattern, replacement, first) == re.sub(pattern, replacement, second) != first
    for text in untouched:
        assert sanitize(text) == text


def test_replacing_twice_changes_nothing_more() -> None:
    for same, _ in LIVE.values():
        for first, _ in same:
            assert sanitize(sanitize(first)) == sanitize(first)


def test_options_are_the_strict_ones() -> None:
    assert {"--nbval", "--nbval-current-env", "--dist=loadfile", f"--nbval-sanitize-with={SANITIZE}"} <= set(OPTIONS)
    assert not any("lax" in option for option in OPTIONS)
    assert "--nbval-cell-timeout=120" in OPTIONS


def stored(number: int, source: str, printed: str) -> nbformat.NotebookNode:
    output = v4.new_output("stream", name="stdout", text=printed)
    return v4.new_code_cell(source, execution_count=number, outputs=[output])


def test_notebooks_alone_run_in_the_environment_of_the_tests(tmp_path: Path) -> None:
    ask = "import os; print(*(os.environ.get(n) for n in ('OMP_NUM_THREADS', 'TOOLKIT_QUIET', 'TOOLKIT_OFFLINE')))"
    cells = [
        stored(1, ask, "1 1 1\n"),
        stored(2, "print(object())", "<object object at 0x7f0000000000>\n"),
        stored(3, "import toolkit; print(toolkit.__version__)", f"{toolkit.__version__}\n"),
        stored(4, "print(2)", "3\n"),
    ]
    nbformat.write(v4.new_notebook(cells=cells), tmp_path / "lesson.ipynb")
    configuration = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "no:cacheprovider")
    names = ("OMP_NUM_THREADS", "TOOLKIT_QUIET", "TOOLKIT_OFFLINE")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *configuration, "-n", "1", str(tmp_path)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in names and "XDIST" not in name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert re.search(r"FAILED \S*lesson\.ipynb::Cell 3", done.stdout)

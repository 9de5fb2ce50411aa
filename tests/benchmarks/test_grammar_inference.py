"""Exact inference keeps its budgets of time: ``python -m tests.benchmarks.grammar_inference`` shows by how much."""

import subprocess
import sys
from pathlib import Path

import pytest

import toolkit

pytestmark = pytest.mark.benchmark


def test_every_budget_is_met():
    # A process of its own: other tests' modules, type checks and threads would count for one side more than the other.
    root = Path(toolkit.__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.benchmarks.grammar_inference", "--quick"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

"""The engine keeps its budgets of time and memory: ``python -m tests.benchmarks.autograd`` shows by how much."""

import subprocess
import sys
from pathlib import Path

import pytest

import toolkit
from tests.benchmarks.peak_memory import measured_apart

pytestmark = pytest.mark.benchmark


def test_every_budget_is_met():
    # A process of its own: other tests' modules, type checks and threads would count for one side more than the other.
    root = Path(toolkit.__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.benchmarks.autograd", "--quick"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_deep_network_peaks_no_higher_than_torchs():
    sizes = {"layers": 20, "width": 300, "batch": 2000}
    ours, theirs = (min(measured_apart(engine, **sizes) for _ in range(2)) for engine in ("ours", "torch"))
    assert ours <= 1.1 * theirs

"""The estimators keep their budgets of time: ``python -m tests.benchmarks.estimators`` shows by how much."""

import subprocess
import sys
from pathlib import Path

import pytest

import toolkit
from toolkit.experiments.sbn import STUDY
from toolkit.experiments.sbn_config import SbnConfig

pytestmark = pytest.mark.benchmark


def test_every_budget_is_met():
    # A process of its own: storchastic changes torch for everybody who comes after it.
    root = Path(toolkit.__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.benchmarks.estimators", "--quick"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_less_variance_trains_better_belief_networks():
    """Digits, 64-32-32, 1,500 steps, 5 seeds: takes some minutes."""
    config = SbnConfig(scale="laptop", estimators=("LR", "NVIL", "RLOO-2", "RAM"), snapshots=0)
    bounds = {record.variant: record.summary["test bound"].mean for record in STUDY.run(config)}
    assert bounds["RAM"] > bounds["RLOO-2"] >= bounds["NVIL"] > bounds["LR"]
    assert bounds["RAM"] >= -24.9

"""The top level of the repository holds what a visitor needs, and nothing else."""

import subprocess
from pathlib import Path

import pytest

import toolkit

ROOT = Path(toolkit.__file__).resolve().parent.parent
VISIBLE = {
    *("README.md", "LICENSE", "CITATION.cff", "pyproject.toml", "environment.yml"),
    *("notebooks", "toolkit", "tests", "data"),
}
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listing.split("\0") if name]


def test_top_level_holds_nothing_stray(tracked: list[str]) -> None:
    top = {name.split("/")[0] for name in tracked}
    assert {name for name in top if not name.startswith(".")} == VISIBLE


def test_nothing_made_by_a_tool_is_kept(tracked: list[str]) -> None:
    made = ("__pycache__", ".ipynb_checkpoints", ".egg-info", ".pytest_cache", ".pyc", ".DS_Store")
    assert [name for name in tracked if any(part in name for part in made)] == []


def test_bundled_samples_stay_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "data" / "samples").rglob("*") if path.is_file()) <= 3 * MEGABYTE

"""The record names the commit it came from, and no other project's."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import toolkit
from toolkit.experiments.environment import commit_of, describe_environment

git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path) -> Path:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "one")
    return package


def test_versions_and_device():
    here = describe_environment("cpu")
    assert (here.toolkit, here.torch, here.numpy) == (toolkit.__version__, torch.__version__, np.__version__)
    assert here.device.startswith("cpu: ")
    assert here.threads == torch.get_num_threads()
    assert here.to_dict()["python"].startswith("3.")
    assert len(repr(here)) < 200


def test_an_absent_device():
    with pytest.raises(ValueError, match="resolve_device"):
        describe_environment("cuda:99")


@git
def test_a_clean_checkout(checkout):
    assert commit_of(checkout) == (_git(checkout, "rev-parse", "HEAD").strip(), False)


@git
@pytest.mark.parametrize("name", ["__init__.py", "new.py"])
def test_a_changed_checkout_is_dirty(checkout, name):
    (checkout / name).write_text("changed")
    assert commit_of(checkout)[1] is True


@git
def test_a_new_record_beside_the_package_is_no_change(checkout):
    (checkout.parent / "run.json").write_text("{}")
    assert commit_of(checkout)[1] is False


def test_outside_a_repository(tmp_path):
    assert commit_of(tmp_path) == (None, None)


@git
def test_installed_within_another_project(checkout):
    installed = checkout.parent / ".venv" / "toolkit"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert commit_of(installed) == (None, None)


def test_without_git(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_of(checkout) == (None, None)

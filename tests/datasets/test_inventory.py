"""What ``overview`` says of a machine, without a socket and without reading what it need not."""

import json
import socket
import subprocess
import sys

import pytest

from toolkit.core.paths import data_directory
from toolkit.datasets import inventory, overview
from toolkit.datasets.catalogue import ENTRIES


def row(name, **options):
    (found,) = (row for row in overview(**options) if row.name == name)
    return found


def test_every_data_set_has_a_row():
    rows = overview()
    assert [row.name for row in rows] == [*ENTRIES, "chelsea", "coffee", "imagenet_classes"]
    for each in rows:
        facts = json.loads(json.dumps(each.to_dict()))
        assert all(facts[key] for key in ("title", "description", "origin", "licence", "homepage", "citation"))
        assert each.full or each.obtain
        assert each.problem == ""


def test_what_is_bundled():
    assert row("mnist").subset == "bundled: mnist5k.npz"
    assert row("digits").full == row("digits").subset == "bundled: digits.npz"
    assert row("coffee").full == "bundled: coffee_256.png"
    assert row("cifar10").subset == ""


def test_what_is_in_the_cache(small_mnist, server, cache):
    from toolkit.datasets import load

    absent = row("mnist")
    assert absent.full == "" and "load('mnist', variant='full') downloads it" in absent.obtain
    assert f"-C {cache / 'mnist'} " in absent.obtain
    assert absent.download_bytes == sum(file.size for file in ENTRIES["mnist"].files)
    load("mnist", "full")
    assert row("mnist").full == f"cache: {cache / 'mnist'}" and row("mnist").obtain == ""
    assert row("mnist", check=True).full == f"cache: {cache / 'mnist'}"
    (cache / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    damaged = row("mnist", check=True)
    assert damaged.full == "" and "train-labels-idx1-ubyte.gz: the file is empty" in damaged.problem
    (cache / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    assert "without train-labels-idx1-ubyte.gz" in row("mnist").problem


def test_a_missing_bundled_file(tmp_path, monkeypatch):
    (tmp_path / "samples").mkdir()
    monkeypatch.setattr(inventory, "data_directory", lambda: tmp_path)
    assert row("mnist").subset == "" and "install the package again" in row("mnist").problem
    assert "install the package again" in row("coffee").problem


@pytest.mark.parametrize("value", ["", "1"])
def test_no_socket_and_nothing_written(cache, monkeypatch, value):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("TOOLKIT_OFFLINE", value)
    monkeypatch.setattr(socket, "socket", refuse)
    overview()
    assert not cache.exists()


def test_a_file_in_place_of_the_cache_folder(cache):
    cache.write_text("in the way")
    assert row("mnist").name == "mnist"


def test_it_needs_no_torch():
    code = "import sys; from toolkit.datasets import overview; overview(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=data_directory().parent, timeout=60)

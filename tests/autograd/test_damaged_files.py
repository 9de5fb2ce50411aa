"""Files that are cut off, damaged, foreign or forged get one clear error; a full disk leaves nothing half-written."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd.serializers import load_npz, load_safetensors, save_npz
from toolkit.core.errors import CheckpointError, WriteError


def test_files_that_are_not_there(form, tmp_path):
    with pytest.raises(FileNotFoundError):
        form[1](tmp_path / "m")
    with pytest.raises(CheckpointError):
        form[1](tmp_path)


def test_every_truncation_is_refused(form, tmp_path):
    save, load = form
    save(tmp_path / "m", {"a": np.arange(30.0), "n": 3})
    whole = (tmp_path / "m").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "short").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="short"):
            load(tmp_path / "short")


def test_damage_is_refused_or_harmless(form, tmp_path):
    """Any one byte turned over: one clear error, or the array as it was; safetensors has no checksum of its numbers."""
    save, load = form
    values = np.arange(8.0)
    save(tmp_path / "m", {"a": values})
    whole = (tmp_path / "m").read_bytes()
    refused = 0
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (tmp_path / "bad").write_bytes(bytes(damaged))
        try:
            found = load(tmp_path / "bad").state["a"]
        except CheckpointError:
            refused += 1
        else:
            assert found.shape == values.shape and found.dtype == values.dtype
            assert load is load_safetensors or found.tolist() == values.tolist()
    assert refused > len(whole) // 3 * 0.2


FOREIGN = {
    "nothing": b"",
    "text": b"hello world, this is no archive" * 10,
    "a pickle": pickle.dumps({"a": [1, 2]}),
    "zeros": b"\0" * 500,
    "an npy": b"\x93NUMPY\x01\x00v\x00" + b" " * 118,
    "a huge header": struct.pack("<Q", 2**60) + b"{}" * 50,
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files(form, tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    link = L.Linear(2, 2)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        form[1](tmp_path / "m", link)


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


def test_pickled_objects_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    np.savez(tmp_path / "m.npz", a=np.array([Bomb()], dtype=object), W=np.ones(1))
    for target in (None, L.Linear(2, 2)):
        with pytest.raises(CheckpointError, match="pickled"):
            load_npz(tmp_path / "m.npz", target)
    torch.save({"a": Bomb()}, tmp_path / "m.pt")
    with pytest.raises(CheckpointError, match=r"\.npy"):
        load_npz(tmp_path / "m.pt")
    assert not (tmp_path / "exploded").exists()


def npy(shape, dtype="<f8", data=b"", descr=None):
    header = repr({"descr": descr or dtype, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        npy((10**15,)),
        npy((10**15,), data=b"\0" * 16),
        npy((2,), data=b"\0" * 8),
        npy((1,), data=b"\0" * 16),
        npy((-1, -1), data=b"\0" * 8),
        npy((1,), descr=[("x", "<f8")], data=b"\0" * 8),
        npy((1,), "|O", data=b"\0" * 8),
        npy((1,), "<M8[s]", data=b"\0" * 8),
        npy((1,), "<U2", data=b"\0" * 8),
        b"no array",
        b"",
    ],
)
def test_forged_arrays(tmp_path, content):
    with zipfile.ZipFile(tmp_path / "m", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_npz(tmp_path / "m")


def test_forged_archives(tmp_path):
    array = io.BytesIO()
    np.save(array, np.zeros(4))

    def refused(write, match):
        with zipfile.ZipFile(tmp_path / "m", "w") as archive:
            write(archive)
        with pytest.raises(CheckpointError, match=match):
            load_npz(tmp_path / "m")

    refused(lambda archive: archive.writestr("readme.txt", "hello"), "readme")
    refused(lambda archive: archive.writestr("a.npy", array.getvalue(), zipfile.ZIP_LZMA), "another way")
    with pytest.warns(UserWarning, match="Duplicate"):
        refused(lambda archive: [archive.writestr("a.npy", array.getvalue()) for _ in range(2)], "two of one name")
    refused(lambda archive: [archive.writestr(f"{n}.npy", array.getvalue()) for n in ("a", "a/b")], "paths of a tree")


def test_claims_beyond_the_memory_are_refused_unread(tmp_path):
    save_npz(tmp_path / "m", {"a": np.zeros(1000)}, compression=True)
    whole = bytearray((tmp_path / "m").read_bytes())
    with zipfile.ZipFile(tmp_path / "m") as archive:
        size = archive.getinfo("a.npy").file_size
    for claim in (2**31, 2**20):
        forged = whole.replace(struct.pack("<I", size), struct.pack("<I", claim))
        assert forged != whole
        (tmp_path / "forged").write_bytes(forged)
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            load_npz(tmp_path / "forged")


@pytest.mark.parametrize(
    "notes",
    [
        "no json",
        "[]",
        "{}",
        json.dumps({"format": "toolkit-state/9", "plain": {}, "torch": [], "bits": {}}),
        json.dumps({"format": "toolkit-state/1", "plain": {"a": 1}, "torch": [], "bits": {}}),
        json.dumps({"format": "toolkit-state/1", "plain": {}, "torch": ["b"], "bits": {}}),
        json.dumps({"format": "toolkit-state/1", "plain": {}, "torch": ["a"], "bits": {"a": "float32"}}),
        json.dumps({"format": "toolkit-state/1", "plain": {}, "torch": ["a"], "bits": {"a": "load"}}),
        json.dumps({"format": "toolkit-state/1", "plain": {"a/b": 1}, "torch": [], "bits": {}}),
        "[" * 100_000,
    ],
)
def test_forged_notes(tmp_path, notes):
    array = io.BytesIO()
    np.save(array, np.zeros(4))
    with zipfile.ZipFile(tmp_path / "m", "w") as archive:
        archive.writestr("a.npy", array.getvalue())
        archive.writestr("__toolkit__.json", notes)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_npz(tmp_path / "m")
    np.savez(tmp_path / "new.npz", a=np.zeros(4), __toolkit__=np.frombuffer(notes.encode(), dtype=np.uint8))
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_npz(tmp_path / "new.npz")


def test_nothing_half_written(form, tmp_path, monkeypatch):
    save, load = form
    save(tmp_path / "m", {"a": np.ones(3)})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(WriteError, match="full"):
            save(tmp_path / "m", {"a": np.zeros(3)})
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]
    assert load(tmp_path / "m").state["a"].tolist() == [1.0] * 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_disk_that_fills_up_while_writing(form, tmp_path):
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    save, _ = form
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(WriteError):
            save(tmp_path / "m", {"a": np.ones(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(form, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError):
        form[0](tmp_path / "file" / "m", {"a": 1})
    with pytest.raises(WriteError):
        form[0](tmp_path, {"a": 1})

"""Downloads from a server on this machine: whatever it does, there is the right file or none, and one clear error."""

import errno
import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from toolkit.datasets import download as module
from toolkit.datasets.download import DownloadFailed, cache_directory, download
from toolkit.datasets.registry import SourceFile

DATA = bytes(range(256)) * 1000


def everything_under(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink()) if folder.exists() else []


def promised(handler, length):
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def half(handler):
    promised(handler, len(DATA))
    handler.wfile.write(DATA[: len(DATA) // 2])


def breaks_off(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"1000\r\n" + DATA[:100])


def silent_half_way(handler):
    promised(handler, len(DATA))
    handler.wfile.write(DATA[:100])
    handler.wfile.flush()
    time.sleep(5)


def endless(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(DATA)


def circle(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def page(handler):
    body = b"\n <!DOCTYPE html><title>Log in</title>" + bytes(1000)
    promised(handler, len(body))
    handler.wfile.write(body)


def wrong(handler):
    promised(handler, len(DATA))
    handler.wfile.write(DATA[::-1])


def empty(handler):
    promised(handler, 0)


FAILURES = {
    "missing": (lambda handler: handler.send_error(404), "answered 404"),
    "forbidden": (lambda handler: handler.send_error(403), "answered 403"),
    "broken": (lambda handler: handler.send_error(500), "answered 500"),
    "half": (half, "broke off"),
    "breaks_off": (breaks_off, "broke off"),
    "silent": (lambda handler: time.sleep(5), "nothing came for 1 s"),
    "silent_half_way": (silent_half_way, "nothing came for 1 s"),
    "endless": (endless, "more than the expected 256,000 bytes"),
    "circle": (circle, "redirects in a circle"),
    "page": (page, "web page"),
    "wrong": (wrong, "expected sha256"),
    "empty": (empty, "expected sha256"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_every_failure_has_a_reason_and_leaves_nothing(server, cache, monkeypatch, failure):
    answer, reason = FAILURES[failure]
    server.answers["/data.bin"] = answer
    if failure.startswith("silent"):
        monkeypatch.setattr(module, "READ_SECONDS", 1.0)
    address = f"{server.address}/data.bin"
    file = SourceFile("data.bin", (address,), sha256=hashlib.sha256(DATA).hexdigest(), size=len(DATA))
    with pytest.raises(DownloadFailed) as caught:
        download(file, cache / "set")
    ((place, why),) = caught.value.reasons
    assert place == address
    assert reason in why
    assert "\n" not in why and "object at 0x" not in why and "HTTPConnectionPool" not in why
    assert everything_under(cache) == []


@pytest.mark.parametrize("failure", FAILURES)
def test_the_next_address_is_tried(server, cache, monkeypatch, published, failure):
    server.answers["/bad/data.bin"] = FAILURES[failure][0]
    if failure.startswith("silent"):
        monkeypatch.setattr(module, "READ_SECONDS", 1.0)
    good = f"{server.address}/data.bin"
    file = published("data.bin", DATA, f"{server.address}/bad/data.bin", good)
    assert download(file, cache) == good
    assert everything_under(cache) == [cache / "data.bin"]
    assert (cache / "data.bin").read_bytes() == DATA


def test_nobody_listens(cache):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{reserved.getsockname()[1]}/data.bin"
        with pytest.raises(DownloadFailed) as caught:
            download(SourceFile("data.bin", (address,), sha256="0" * 64), cache)
    assert caught.value.reasons == ((address, "no connection (is there a network?)"),)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/data.bin", "not an address", "http://", "http://[/data.bin"])
def test_a_malformed_address_is_one_more_reason(cache, published, address):
    file = published("data.bin", DATA)
    assert download(SourceFile("data.bin", (address, *file.addresses), sha256=file.sha256), cache) == file.addresses[0]


def test_a_redirect_is_followed(server, cache, published):
    file = published("data.bin", DATA, f"{server.address}/moved")

    def moved(handler):
        handler.send_response(301)
        handler.send_header("Location", "/data.bin")
        handler.end_headers()

    server.answers["/moved"] = moved
    download(file, cache)
    assert (cache / "data.bin").read_bytes() == DATA


def test_the_file_is_as_readable_as_others(cache, published):
    download(published("data.bin", DATA), cache)
    other = cache / "other"
    other.touch()
    assert (cache / "data.bin").stat().st_mode == other.stat().st_mode


def test_no_compression_is_asked_for(server, cache, published):
    download(published("data.bin", DATA), cache)
    ((_, headers),) = server.asked
    assert headers["Accept-Encoding"] == "identity"


def test_mirrors_come_first(server, cache, published):
    server.answers["/mirror/data.bin"] = DATA
    file = published("data.bin", DATA)
    assert download(file, cache, mirrors=[f"{server.address}/mirror/"]) == f"{server.address}/mirror/data.bin"
    assert download(file, cache, mirrors=f"{server.address}/mirror") == f"{server.address}/mirror/data.bin"
    assert [path for path, _ in server.asked] == ["/mirror/data.bin"] * 2


def test_md5_is_enough_where_it_is_all_there_is(server, cache, published):
    file = published("data.bin", DATA, sha256=None, md5=hashlib.md5(DATA).hexdigest(), size=None)
    download(file, cache)
    assert (cache / "data.bin").read_bytes() == DATA
    server.answers["/data.bin"] = DATA + b"!"
    with pytest.raises(DownloadFailed, match="expected md5"):
        download(file, cache / "other")
    assert not everything_under(cache / "other")


def test_plain_http_without_a_checksum_is_refused(server, cache, published):
    file = published("data.bin", DATA, sha256=None)
    with pytest.raises(DownloadFailed, match="neither https nor a recorded checksum"):
        download(file, cache)
    assert server.asked == [] and not everything_under(cache)


def test_an_unrecorded_size_has_a_limit(server, cache, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    server.answers["/data.bin"] = DATA
    file = SourceFile("data.bin", (f"{server.address}/data.bin",), sha256=hashlib.sha256(DATA).hexdigest())
    with pytest.raises(DownloadFailed, match="more than the expected 1,000 bytes"):
        download(file, cache)


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline_opens_no_socket(cache, published, monkeypatch, value):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    file = published("data.bin", DATA)
    monkeypatch.setenv("TOOLKIT_OFFLINE", value)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DownloadFailed, match="TOOLKIT_OFFLINE"):
        download(file, cache)
    assert not cache.exists()


@pytest.mark.parametrize("value", ["", "0"])
def test_offline_can_be_unset_by_value(cache, published, monkeypatch, value):
    monkeypatch.setenv("TOOLKIT_OFFLINE", value)
    download(published("data.bin", DATA), cache)


def test_what_was_there_stays_until_the_new_file_is_whole(server, cache, published):
    cache.mkdir()
    (cache / "data.bin").write_bytes(b"old")
    file = published("data.bin", DATA)
    server.answers["/data.bin"] = half
    with pytest.raises(DownloadFailed):
        download(file, cache)
    assert (cache / "data.bin").read_bytes() == b"old"
    assert everything_under(cache) == [cache / "data.bin"]


def test_an_interrupt_leaves_nothing(cache, published, monkeypatch):
    class Interrupted:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def update(self, _):
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "progress_bar", lambda *_, **__: Interrupted())
    with pytest.raises(KeyboardInterrupt):
        download(published("data.bin", DATA), cache)
    assert everything_under(cache) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_full_disk_ends_the_search(server, cache, published, monkeypatch, code):
    real = module.atomic_write

    @contextmanager
    def full(path):
        with real(path) as handle:

            class Full(io.BytesIO):
                def write(self, chunk):
                    handle.write(chunk[:10])
                    raise OSError(code, os.strerror(code))

            yield Full()

    monkeypatch.setattr(module, "atomic_write", full)
    file = published("data.bin", DATA, f"{server.address}/data.bin", f"{server.address}/again")
    with pytest.raises(DownloadFailed) as caught:
        download(file, cache)
    ((place, why),) = caught.value.reasons
    assert place == str(cache) and why.startswith("cannot be written: the ")
    assert len(server.asked) == 1 and everything_under(cache) == []


@pytest.mark.parametrize("where", ["cache", "set", "file"])
def test_something_else_in_the_way(cache, published, where):
    file = published("data.bin", DATA)
    if where == "cache":
        cache.write_text("in the way")
    elif where == "set":
        cache.mkdir()
        (cache / "set").write_text("in the way")
    else:
        (cache / "set" / "data.bin").mkdir(parents=True)
    before = everything_under(cache.parent)
    with pytest.raises(DownloadFailed) as caught:
        download(file, cache / "set")
    ((place, why),) = caught.value.reasons
    assert place == str(cache / "set") and "stands where" in why
    assert everything_under(cache.parent) == before


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux's /proc, which nobody can write to")
def test_a_folder_that_cannot_be_made(published):
    from pathlib import Path

    with pytest.raises(DownloadFailed, match="cannot be written"):
        download(published("data.bin", DATA), Path("/proc/toolkit/set"))


DOWNLOADER = """
import json, sys
from pathlib import Path
from toolkit.datasets.download import download
from toolkit.datasets.registry import SourceFile
facts = json.loads(sys.argv[1])
if facts.pop("limit", None):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Path(facts.pop("folder"))
try:
    download(SourceFile(**{**facts, "addresses": tuple(facts["addresses"])}), folder)
except RuntimeError as error:
    print(error)
    sys.exit(3)
"""


def in_another_process(file, folder, **more):
    facts = {"name": file.name, "addresses": file.addresses, "sha256": file.sha256, "size": file.size}
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOADER, json.dumps({**facts, "folder": str(folder), **more})],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_four_processes_at_once(server, cache, published):
    data = os.urandom(1 << 20)
    file = published("data.bin", data)

    def slowly(handler):
        promised(handler, len(data))
        for start in range(0, len(data), 1 << 17):
            handler.wfile.write(data[start : start + (1 << 17)])
            time.sleep(0.02)

    server.answers["/data.bin"] = slowly
    running = [in_another_process(file, cache) for _ in range(4)]
    for process in running:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, output + errors
    assert everything_under(cache) == [cache / "data.bin"]
    assert (cache / "data.bin").read_bytes() == data


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_disk_without_room_in_earnest(cache, published):
    process = in_another_process(published("data.bin", DATA), cache, limit=True)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 3, output + errors
    assert "cannot be written: the file is larger than the file system allows" in output
    assert everything_under(cache) == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_process_leaves_no_broken_file(server, cache, published):
    file = published("data.bin", DATA)
    begun = []

    def hangs(handler):
        promised(handler, len(DATA))
        handler.wfile.write(DATA[: len(DATA) // 2])
        handler.wfile.flush()
        begun.append(True)
        time.sleep(3)

    server.answers["/data.bin"] = hangs
    process = in_another_process(file, cache)
    deadline = time.monotonic() + 60
    while not begun and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (cache / "data.bin").exists()
    server.answers["/data.bin"] = DATA
    download(file, cache)
    assert everything_under(cache) == [cache / "data.bin"]
    assert (cache / "data.bin").read_bytes() == DATA


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TOOLKIT_DATA_DIR", str(tmp_path / "mine"))
    assert cache_directory() == tmp_path / "mine" and not (tmp_path / "mine").exists()
    monkeypatch.setenv("TOOLKIT_DATA_DIR", "~/mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLKIT_DATA_DIR", "mine")
    assert cache_directory() == tmp_path / "mine"
    monkeypatch.setenv("TOOLKIT_DATA_DIR", "")
    assert cache_directory().is_absolute() and cache_directory().name == "tokui-toolkit"


def test_the_error_survives_pickling():
    import pickle

    error = DownloadFailed("data.bin", [("here", "nothing")])
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.reasons == error.reasons

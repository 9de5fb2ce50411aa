"""Files are whole or not there at all, whatever happens while they are written."""

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toolkit.core import files
from toolkit.core.errors import WriteError
from toolkit.core.files import atomic_write


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_bytes_and_text(tmp_path):
    with atomic_write(tmp_path / "a.bin") as handle:
        handle.write(b"\x00\xff")
    with atomic_write(str(tmp_path / "b.txt"), "w") as handle:
        handle.write("ε\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b.txt").read_bytes() == "ε\n".encode()
    assert _names(tmp_path) == ["a.bin", "b.txt"]


def test_nothing_appears_before_the_end(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with atomic_write(path, "w") as handle:
        handle.write("new")
        handle.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("exception", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("existed", [False, True])
def test_any_exception_leaves_what_was_there(tmp_path, exception, existed):
    path = tmp_path / "a"
    if existed:
        path.write_text("old")
    with pytest.raises(exception), atomic_write(path, "w") as handle:
        handle.write("half")
        raise exception
    assert _names(tmp_path) == (["a"] if existed else [])
    assert not existed or path.read_text() == "old"


def test_a_real_limit_on_the_size_of_files(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(WriteError, match="larger than the file system allows"), atomic_write(path) as handle:
            handle.write(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert _names(tmp_path) == ["a"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_at_the_last_moment(tmp_path, monkeypatch, call):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(WriteError, match="the disk is full") as caught, atomic_write(tmp_path / "a") as handle:
        handle.write(b"x")
    assert caught.value.errno == errno.ENOSPC
    assert _names(tmp_path) == []


def test_a_read_only_folder(tmp_path, monkeypatch):
    def read_only(path, flags, *rest):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.os, "open", read_only)
    with pytest.raises(WriteError, match="the file system is read-only"), atomic_write(tmp_path / "a"):
        pytest.fail("must not get here")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError, match="no permission"), atomic_write(tmp_path / "a"):
        pytest.fail("must not get here")
    tmp_path.chmod(0o700)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "folder").write_text("I am a file")
    for path in (tmp_path / "folder" / "a", tmp_path / "folder" / "deeper" / "a"):
        with pytest.raises(WriteError, match="a file stands where a folder should be"), atomic_write(path):
            pytest.fail("must not get here")
    assert (tmp_path / "folder").read_text() == "I am a file"


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(WriteError, match="a folder stands where the file should be"), atomic_write(tmp_path / "a"):
        pytest.fail("must not get here")


def test_a_device_stays_one(tmp_path):
    (tmp_path / "device").symlink_to(os.devnull)
    for path in (os.devnull, tmp_path / "device"):
        with pytest.raises(WriteError, match="a device stands where the file should be"), atomic_write(path):
            pytest.fail("must not get here")
    assert Path(os.devnull).is_char_device()


def test_long_names(tmp_path):
    longest = "ä" * 127  # 254 bytes: the usual limit is 255
    with atomic_write(tmp_path / longest) as handle:
        handle.write(b"x")
    assert _names(tmp_path) == [longest]
    with pytest.raises(WriteError, match="the name is too long"), atomic_write(tmp_path / ("a" * 300)) as handle:
        handle.write(b"x")
    assert _names(tmp_path) == [longest]


def test_folders_are_made_and_links_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "new" / "a")
    with atomic_write(tmp_path / "link") as handle:
        handle.write(b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "new" / "a").read_bytes() == b"x"


def test_permissions_follow_the_umask_and_then_the_old_file(tmp_path):
    path = tmp_path / "a"
    previous = os.umask(0o027)
    try:
        with atomic_write(path):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o604)
        with atomic_write(path):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o604
    finally:
        os.umask(previous)


def test_other_errors_of_the_caller_pass_unchanged(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a"):
        (tmp_path / "absent").read_bytes()
    with pytest.raises(ConnectionError), atomic_write(tmp_path / "a"):
        raise ConnectionError("network")
    assert _names(tmp_path) == []


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from toolkit.core.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as handle:\n"
        "    handle.write(b'half'); handle.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "odd[name]*"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -9
    assert len(_names(tmp_path)) == 2
    assert path.read_text() == "old"
    with atomic_write(path, "w") as handle:
        handle.write("new")
    assert _names(tmp_path) == ["odd[name]*"]
    assert path.read_text() == "new"


def test_writers_at_once_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a"
    failures = []

    def write(number: int) -> None:
        try:
            for _ in range(20):
                with atomic_write(path) as handle:
                    handle.write(bytes([number]) * 10_000)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(path.read_bytes())) == 1
    assert _names(tmp_path) == ["a"]

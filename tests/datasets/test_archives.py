"""Only known members of the right kind and size come out of an archive, and nothing ever lands on the disk."""

import bz2
import gzip
import io
import stat
import tarfile
import zipfile

import pytest

from toolkit.datasets.archives import read_bz2, read_tar_members, read_zip_members
from toolkit.datasets.verification import DamagedFile

WANTED = {"set/a.bin": 5, "set/b.bin": 3}


def tar(path, *members):
    """Write a tar.gz of (name, content or a change of its header)."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                for key, value in content.items():
                    setattr(info, key, value)
                archive.addfile(info)
    return path


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder that must stay empty."""
    folder = tmp_path / "elsewhere" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    yield folder
    assert not any(folder.iterdir()) and [path.name for path in folder.parent.iterdir()] == ["deep"]


def test_known_members_are_read(tmp_path, elsewhere):
    path = tar(
        tmp_path / "x.tar.gz",
        ("../../climbs.bin", b"!"),
        ("/tmp/toolkit-absolute.bin", b"!"),
        ("set", {"type": tarfile.DIRTYPE}),
        ("set/link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("set/a.bin", b"AAAAA"),
        ("set/readme.txt", b"hello"),
        ("set/b.bin", b"BBB"),
    )
    assert read_tar_members(path, WANTED, most=1 << 20) == {"set/a.bin": b"AAAAA", "set/b.bin": b"BBB"}


REFUSED = {
    "missing": ([("set/a.bin", b"AAAAA")], "without member set/b.bin"),
    "other case": ([("SET/A.BIN", b"AAAAA"), ("set/b.bin", b"BBB")], "without member set/a.bin"),
    "climbs": ([("set/../set/a.bin", b"AAAAA"), ("set/b.bin", b"BBB")], "without member set/a.bin"),
    "symlink": ([("set/a.bin", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})], "not a regular file"),
    "hard link": ([("set/a.bin", {"type": tarfile.LNKTYPE, "linkname": "set/b.bin"})], "not a regular file"),
    "device": ([("set/a.bin", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5})], "not a regular file"),
    "pipe": ([("set/a.bin", {"type": tarfile.FIFOTYPE})], "not a regular file"),
    "too large": ([("set/a.bin", b"AAAAAA")], "6 bytes, expected 5"),
    "too small": ([("set/a.bin", b"")], "0 bytes, expected 5"),
    "twice": ([("set/a.bin", b"AAAAA"), ("set/a.bin", b"evil!")], "comes twice"),
    "large other": ([("other", bytes(3 << 20)), ("set/a.bin", b"AAAAA")], "claims 3,145,728 bytes"),
    "many others": ([(f"other{i}", bytes(100_000)) for i in range(30)], "more than|claims"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_tar_archives_are_refused(tmp_path, elsewhere, case):
    members, reason = REFUSED[case]
    with pytest.raises(DamagedFile, match=reason):
        read_tar_members(tar(tmp_path / "x.tar.gz", *members), WANTED, most=1 << 20)


def test_damaged_tar_archives(tmp_path, elsewhere):
    path = tar(tmp_path / "x.tar.gz", ("set/a.bin", b"AAAAA"), ("set/b.bin", b"BBB"))
    whole = path.read_bytes()
    for data in (b"", b"<html>", whole[:40], whole[:-30], gzip.compress(bytes(100)), gzip.compress(b"x" * 2000)):
        path.write_bytes(data)
        with pytest.raises(DamagedFile):
            read_tar_members(path, WANTED, most=1 << 20)
    with pytest.raises(FileNotFoundError):
        read_tar_members(tmp_path / "nothing", WANTED, most=1 << 20)


def pack_zip(path, *members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content, *mode in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (mode[0] if mode else stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return path


def test_zip_members_come_in_order(tmp_path, elsewhere):
    path = pack_zip(tmp_path / "x.zip", ("b/2.png", b"two"), ("../../note.txt", b"!"), ("a/1.png", b"one"), ("a/", b""))
    found = read_zip_members(path, ".png", count=2, most_each=3)
    assert list(found.items()) == [("a/1.png", b"one"), ("b/2.png", b"two")]


ZIPS = {
    "too few": ([("1.png", b"")], "1 members"),
    "too many": ([("1.png", b""), ("2.png", b""), ("3.png", b"")], "3 members"),
    "bomb": ([("1.png", bytes(10_000_000)), ("2.png", b"")], "more than 100 bytes"),
    "link": ([("1.png", "/etc/passwd", stat.S_IFLNK | 0o777), ("2.png", b"")], "is a link"),
}


@pytest.mark.parametrize("case", ZIPS)
def test_other_zip_archives_are_refused(tmp_path, elsewhere, case):
    members, reason = ZIPS[case]
    with pytest.raises(DamagedFile, match=reason):
        read_zip_members(pack_zip(tmp_path / "x.zip", *members), ".png", count=2, most_each=100)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_zip_archives(tmp_path, elsewhere):
    path = pack_zip(tmp_path / "x.zip", ("1.png", b"one" * 20), ("1.png", b"two"))
    with pytest.raises(DamagedFile, match="expected 2"):
        read_zip_members(path, ".png", count=2, most_each=100)
    pack_zip(path, ("1.png", b"one" * 20))
    whole = path.read_bytes()
    encrypted = bytearray(whole)
    encrypted[6] |= 1
    encrypted[whole.index(b"PK\x01\x02") + 8] |= 1
    flipped = bytearray(whole)
    flipped[38] ^= 0xFF
    for data in (b"", b"<html>", whole[:-10], bytes(encrypted), bytes(flipped)):
        path.write_bytes(data)
        with pytest.raises(DamagedFile):
            read_zip_members(path, ".png", count=1, most_each=100)


def test_bz2(tmp_path):
    path = tmp_path / "x.bz2"
    path.write_bytes(bz2.compress(b"text" * 10))
    assert read_bz2(path, most=40) == b"text" * 10
    with pytest.raises(DamagedFile, match="more than 39"):
        read_bz2(path, most=39)
    whole = path.read_bytes()
    for data in (b"", b"<html>", whole[:-1], whole[:20] + b"\0\0\0\0" + whole[24:], bz2.compress(bytes(10_000_000))):
        path.write_bytes(data)
        with pytest.raises(DamagedFile):
            read_bz2(path, most=1000)

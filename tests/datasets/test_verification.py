"""A file is accepted when it is the published one, whatever it is wrapped in, and refused with a reason otherwise."""

import gzip
import hashlib
import os

import numpy as np
import pytest

from toolkit.datasets.registry import SourceFile
from toolkit.datasets.verification import DamagedFile, gunzip, looks_like_html, read_content, verify

CONTENT = np.random.default_rng(0).bytes(1000) + bytes(9000)
PACKED = gzip.compress(CONTENT, mtime=0)


def recorded(**changes):
    facts = {
        "name": "data.gz",
        "addresses": (),
        "sha256": hashlib.sha256(PACKED).hexdigest(),
        "size": len(PACKED),
        "content_sha256": hashlib.sha256(CONTENT).hexdigest(),
        "content_size": len(CONTENT),
    }
    return SourceFile(**(facts | changes))


def plain(data, **changes):
    return SourceFile("data.bin", (), sha256=hashlib.sha256(data).hexdigest(), size=len(data), **changes)


def repacked(name="data", level=1):
    import io

    buffer = io.BytesIO()
    with gzip.GzipFile(name, "wb", level, buffer, mtime=12345) as handle:
        handle.write(CONTENT)
    return buffer.getvalue()


@pytest.mark.parametrize("copy", [PACKED, repacked(), repacked("", 9), CONTENT, PACKED + bytes(7)])
def test_any_wrapping_of_the_recorded_content_is_accepted(tmp_path, copy):
    path = tmp_path / "copy"
    path.write_bytes(copy)
    assert read_content(recorded(), path) == CONTENT
    assert verify(recorded(), path) == hashlib.sha256(CONTENT).hexdigest()


DAMAGED = {
    "empty": (b"", "empty"),
    "truncated": (PACKED[:-20], "end too early"),
    "half a header": (PACKED[:5], "end too early"),
    "flipped": (PACKED[:500] + bytes([PACKED[500] ^ 1]) + PACKED[501:], "decompressed"),
    "other": (gzip.compress(CONTENT[::-1]), "checksum is sha256"),
    "shorter": (gzip.compress(CONTENT[:-1]), "checksum is sha256|bytes"),
    "page": (b"<html>log in</html>", "web page"),
    "bomb": (gzip.compress(bytes(5_000_000)), "more than the expected 10,000 bytes"),
    "huge": (bytes(3 << 20), "more than"),
    "two members": (PACKED + PACKED, "something follows"),
    "trailing": (PACKED + b"!", "something follows"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_anything_else_is_refused(tmp_path, damage):
    data, reason = DAMAGED[damage]
    path = tmp_path / "copy.gz"
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=reason):
        read_content(recorded(), path)
    with pytest.raises(DamagedFile):
        verify(recorded(), path)


def test_without_a_recorded_content_only_the_original_is_accepted(tmp_path):
    file, path = recorded(content_sha256=None), tmp_path / "copy.gz"
    path.write_bytes(PACKED)
    assert read_content(file, path) == CONTENT
    assert verify(file, path) == file.sha256
    for other in (repacked(), CONTENT):
        path.write_bytes(other)
        with pytest.raises(DamagedFile, match="expected sha256"):
            read_content(file, path)


def test_plain_files(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(CONTENT)
    assert verify(plain(CONTENT), path) == hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(DamagedFile, match="checksum is sha256"):
        verify(plain(CONTENT[::-1]), path)
    with pytest.raises(DamagedFile, match="10,000 of 10,001 bytes"):
        verify(plain(CONTENT + b"!"), path)
    path.write_bytes(b"\xef\xbb\xbf\r\n<!doctype HTML>")
    with pytest.raises(DamagedFile, match="web page"):
        verify(plain(CONTENT), path)


def test_md5_gives_the_sha256_that_can_be_recorded(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(CONTENT)
    file = SourceFile("data.bin", (), md5=hashlib.md5(CONTENT).hexdigest())
    assert verify(file, path) == hashlib.sha256(CONTENT).hexdigest()
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DamagedFile, match="expected md5"):
        verify(file, path)


def test_without_any_checksum_a_page_or_nothing_is_still_refused(tmp_path):
    path = tmp_path / "data.bin"
    file = SourceFile("data.bin", ())
    path.write_bytes(CONTENT)
    assert verify(file, path) == hashlib.sha256(CONTENT).hexdigest()
    for data in (b"", b"<html>"):
        path.write_bytes(data)
        with pytest.raises(DamagedFile):
            verify(file, path)


@pytest.mark.parametrize("file", [recorded(), plain(CONTENT)])
def test_folders_and_pipes_are_no_files(tmp_path, file):
    with pytest.raises(DamagedFile, match="regular"):
        verify(file, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamagedFile, match="regular"):
        verify(file, tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        verify(file, tmp_path / "nothing")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(OSError):
        verify(file, tmp_path / "circle")


def test_gunzip_stops_at_the_limit():
    assert gunzip(PACKED, len(CONTENT), "x") == CONTENT
    with pytest.raises(DamagedFile, match="more than the expected 9,999"):
        gunzip(PACKED, len(CONTENT) - 1, "x")
    assert gunzip(gzip.compress(b""), 0, "x") == b""


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08", b"PK\x03\x04", b"\x89HDF", b"First Citizen:", b"", b"\0<html>"])
def test_data_are_not_taken_for_a_page(start):
    assert not looks_like_html(start)

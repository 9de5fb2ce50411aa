"""Every reader against files made here by the format's own description, and against files that only look like it."""

import bz2
import dataclasses
import gzip
import hashlib
import io
import tarfile
import zipfile

import numpy as np
import pytest
import scipy.io
from PIL import Image

from toolkit.datasets.catalogue import ENTRIES
from toolkit.datasets.formats import READERS, check_labels, parse_idx
from toolkit.datasets.registry import SourceFile
from toolkit.datasets.verification import DamagedFile


def header(magic, *sizes):
    return magic + b"".join(size.to_bytes(4, "big") for size in sizes)


def test_idx_is_row_major_and_big_endian():
    array = parse_idx(header(b"\0\0\x08\x03", 2, 3, 4) + bytes(range(24)))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, np.arange(24).reshape(2, 3, 4))
    np.testing.assert_array_equal(parse_idx(header(b"\0\0\x08\x01", 2) + b"\x07\x09"), [7, 9])
    assert parse_idx(header(b"\0\0\x08\x03", 0, 28, 28)).shape == (0, 28, 28)


BAD_IDX = {
    "empty": b"",
    "short": b"\0\0\x08",
    "page": b"<html><body>log in</body></html>",
    "little endian": header(b"\x03\x08\0\0", 1, 1, 1) + b"x",
    "floats": header(b"\0\0\x0d\x01", 1) + bytes(4),
    "no dimension": b"\0\0\x08\0x",
    "255 dimensions": b"\0\0\x08\xff" + bytes(2000),
    "half a header": b"\0\0\x08\x03" + bytes(8),
    "one too few": header(b"\0\0\x08\x01", 3) + b"ab",
    "one too many": header(b"\0\0\x08\x01", 1) + b"ab",
    "overflow": header(b"\0\0\x08\x03", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF) + b"ab",
    "wraps to zero": header(b"\0\0\x08\x04", 1 << 16, 1 << 16, 1 << 16, 1 << 16),
}


@pytest.mark.parametrize("case", BAD_IDX)
def test_other_idx_data_are_refused(case):
    with pytest.raises(DamagedFile, match=r"^file: "):
        parse_idx(BAD_IDX[case], "file")


def test_labels_are_counted():
    check_labels(np.array([0, 1, 1], dtype=np.uint8), (1, 2), "part")
    check_labels(np.array([], dtype=np.uint8), (0, 0), "part")
    for labels in ([0, 1], [0, 0, 1], [0, 1, 2], [-1, 1, 1], []):
        with pytest.raises(DamagedFile, match="part: "):
            check_labels(np.array(labels, dtype=np.int64), (1, 2), "part")


@pytest.fixture
def arranged(tmp_path):
    """Write files and give what reads them: the entry with their records, and their paths."""

    def arrange(name, contents, **changes):
        files = []
        for file, content in contents.items():
            (tmp_path / file).write_bytes(content)
            facts = {"sha256": hashlib.sha256(content).hexdigest()}
            if file.endswith("ubyte.gz"):
                facts["content_size"] = len(gzip.decompress(content))
            files.append(SourceFile(file, (), **facts))
        entry = dataclasses.replace(ENTRIES[name], files=tuple(files), **changes)
        return lambda: READERS[entry.reader](entry, {file.name: tmp_path / file.name for file in files})

    return arrange


def idx_files(train_images, train_labels, test_images, test_labels):
    def pack(array):
        array = np.asarray(array)
        return gzip.compress(header(bytes([0, 0, 8, array.ndim]), *array.shape) + array.astype(np.uint8).tobytes())

    return {
        "train-images-idx3-ubyte.gz": pack(train_images),
        "train-labels-idx1-ubyte.gz": pack(train_labels),
        "t10k-images-idx3-ubyte.gz": pack(test_images),
        "t10k-labels-idx1-ubyte.gz": pack(test_labels),
    }


COUNTS = {"train_counts": (1, 2), "test_counts": (1, 0)}


def test_mnist_like(arranged):
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28))
    parsed = arranged("kmnist", idx_files(images[:3], [1, 0, 1], images[3:], [0]), **COUNTS)()
    np.testing.assert_array_equal(parsed.train_images, images[:3])
    np.testing.assert_array_equal(parsed.test_images, images[3:])
    np.testing.assert_array_equal(parsed.train_labels, [1, 0, 1])
    assert sorted(parsed.sha256) == sorted(idx_files(images, [0], images, [0]))


@pytest.mark.parametrize(
    "train_images, train_labels",
    [
        (np.zeros((2, 28, 28)), [1, 0, 1]),
        (np.zeros((3, 28, 28)), [1, 0]),
        (np.zeros((3, 27, 28)), [1, 0, 1]),
        (np.zeros((3, 784)), [1, 0, 1]),
        (np.zeros((3, 28, 28)), [1, 0, 0]),
        (np.zeros((3, 28, 28)), [1, 0, 2]),
        (np.zeros((3, 28, 28)), [[1, 0, 1]]),
        (np.zeros((0, 28, 28)), np.zeros(0)),
    ],
)
def test_mnist_like_files_that_do_not_fit(arranged, train_images, train_labels):
    with pytest.raises(DamagedFile):
        arranged("kmnist", idx_files(train_images, train_labels, np.zeros((1, 28, 28)), [0]), **COUNTS)()


def tarred(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_cifar10(arranged):
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)
    labels = [1, 0, 1, 0, 1, 1, 0]
    records = [bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True)]
    members = {"cifar-10-batches-bin/test_batch.bin": records[5] + records[6]}
    members |= {f"cifar-10-batches-bin/data_batch_{number}.bin": records[number - 1] for number in (2, 1, 3, 4, 5)}
    changes = {"train_counts": (2, 3), "test_counts": (1, 1)}
    parsed = arranged("cifar10", {"cifar-10-binary.tar.gz": tarred(members)}, **changes)()
    np.testing.assert_array_equal(parsed.train_images, images[:5])
    np.testing.assert_array_equal(parsed.train_labels, labels[:5])
    np.testing.assert_array_equal(parsed.test_images, images[5:])
    np.testing.assert_array_equal(parsed.test_labels, labels[5:])
    members["cifar-10-batches-bin/data_batch_3.bin"] = b"\x05" + images[0].tobytes()
    with pytest.raises(DamagedFile, match="labels from 0 to 5"):
        arranged("cifar10", {"cifar-10-binary.tar.gz": tarred(members)}, **changes)()
    members["cifar-10-batches-bin/data_batch_3.bin"] = images[0].tobytes()
    with pytest.raises(DamagedFile, match="3,072 bytes, expected 3,073"):
        arranged("cifar10", {"cifar-10-binary.tar.gz": tarred(members)}, **changes)()


def test_cifar100_has_the_fine_label_second(arranged):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    records = [bytes([9, fine]) + image.tobytes() for fine, image in zip([1, 0, 1], images, strict=True)]
    members = {"cifar-100-binary/test.bin": records[2], "cifar-100-binary/train.bin": records[0] + records[1]}
    changes = {"train_counts": (1, 1), "test_counts": (0, 1)}
    parsed = arranged("cifar100", {"cifar-100-binary.tar.gz": tarred(members)}, **changes)()
    np.testing.assert_array_equal(parsed.train_labels, [1, 0])
    np.testing.assert_array_equal(parsed.test_images, images[2:])


def test_stl10_is_column_major_and_counts_from_one(arranged):
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 96, 96), dtype=np.uint8)
    members = {
        "stl10_binary/unlabeled_X.bin": bytes(1000),
        "stl10_binary/train_X.bin": images[:2].swapaxes(2, 3).tobytes(),
        "stl10_binary/train_y.bin": b"\x02\x01",
        "stl10_binary/test_X.bin": images[2:].swapaxes(2, 3).tobytes(),
        "stl10_binary/test_y.bin": b"\x01",
    }
    changes = {"train_counts": (1, 1), "test_counts": (1, 0)}
    parsed = arranged("stl10", {"stl10_binary.tar.gz": tarred(members)}, **changes)()
    np.testing.assert_array_equal(parsed.train_images, images[:2])
    np.testing.assert_array_equal(parsed.train_labels, [1, 0])
    np.testing.assert_array_equal(parsed.test_images, images[2:])
    members["stl10_binary/test_y.bin"] = b"\x00"
    with pytest.raises(DamagedFile, match="labels from -1"):
        arranged("stl10", {"stl10_binary.tar.gz": tarred(members)}, **changes)()


def matlab(images, labels, **more):
    buffer = io.BytesIO()
    content = {"X": images.transpose(2, 3, 1, 0), "y": np.asarray(labels, dtype=np.uint8)[:, None], **more}
    scipy.io.savemat(buffer, content, do_compression=True)
    return buffer.getvalue()


def test_svhn_calls_zero_ten(arranged):
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    changes = {"train_counts": (1, 2), "test_counts": (1, 1)}
    files = {
        "train_32x32.mat": matlab(images[:3], [1, 10, 1], extra=np.zeros(3)),
        "test_32x32.mat": matlab(images[3:], [10, 1]),
    }
    parsed = arranged("svhn", files, **changes)()
    np.testing.assert_array_equal(parsed.train_images, images[:3])
    np.testing.assert_array_equal(parsed.train_labels, [1, 0, 1])
    np.testing.assert_array_equal(parsed.test_images, images[3:])
    np.testing.assert_array_equal(parsed.test_labels, [0, 1])
    for bad in (
        matlab(images[:3], [1, 0, 1]),
        matlab(images[:3], [1, 11, 1]),
        matlab(images[:2], [1, 10]),
        matlab(images[:3, :, :16], [1, 10, 1]),
        matlab(images[:3].astype(float), [1, 10, 1]),
        matlab(images[:3], [1, 10, 1])[:-100],
        b"<html>",
        b"",
        bytes(1000),
    ):
        with pytest.raises(DamagedFile):
            arranged("svhn", files | {"train_32x32.mat": bad}, **changes)()


def libsvm(images, labels):
    lines = []
    for image, label in zip(images, labels, strict=True):
        values = " ".join(f"{at}:{value:.6f}" for at, value in enumerate(image.ravel() / 127.5 - 1, 1))
        lines.append(f"{label + 1} {values} ")
    return bz2.compress("\n".join(lines).encode())


def test_usps(arranged):
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16))
    changes = {"train_counts": (1, 2), "test_counts": (0, 1)}
    files = {"usps.bz2": libsvm(images[:3], [1, 0, 1]), "usps.t.bz2": libsvm(images[3:], [1])}
    parsed = arranged("usps", files, **changes)()
    np.testing.assert_array_equal(parsed.train_images, images[:3])
    np.testing.assert_array_equal(parsed.train_labels, [1, 0, 1])
    np.testing.assert_array_equal(parsed.test_images, images[3:])
    for bad in (
        libsvm(images[:3], [1, 0, 2]),
        libsvm(images[:3], [1, 0, -1]),
        libsvm(images[:3] + 2.0, [1, 0, 1]),
        libsvm(images[:3], [1, 0, 1])[:-10],
        bz2.compress(b"1 1:nan\n2 3:0\n2 3:0\n"),
        bz2.compress(b"1 257:0\n2 3:0\n2 3:0\n"),
        bz2.compress(b"1 0:0\n2 3:0\n2 3:0\n"),
        bz2.compress(b"<html>log in</html>"),
        bz2.compress(b""),
        b"",
    ):
        with pytest.raises(DamagedFile):
            arranged("usps", files | {"usps.bz2": bad}, **changes)()


def drawing(value, size=105, mode="1"):
    buffer = io.BytesIO()
    Image.new(mode, (size, size), value).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_omniglot_counts_characters_through_both_archives(arranged):
    background = {
        "images_background/": b"",
        "images_background/Greek/character02/0002_01.png": drawing(0),
        "images_background/Greek/character01/0001_02.png": drawing(1),
        "images_background/Greek/character01/0001_01.png": drawing(0),
        "images_background/Greek/character02/0002_02.png": drawing(1),
    }
    evaluation = {
        "images_evaluation/Atlantean/character01/0965_01.png": drawing(1),
        "images_evaluation/Atlantean/character01/0965_02.png": drawing(1),
    }
    changes = {"train_counts": (2, 2), "test_counts": (0, 0, 2)}
    files = {"images_background.zip": zipped(background), "images_evaluation.zip": zipped(evaluation)}
    parsed = arranged("omniglot", files, **changes)()
    np.testing.assert_array_equal(parsed.train_labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(parsed.train_images[:, 50, 50], [0, 255, 0, 255])
    np.testing.assert_array_equal(parsed.test_labels, [2, 2])
    assert parsed.train_images.shape == (4, 105, 105)
    assert parsed.class_names == ("Greek/character01", "Greek/character02", "Atlantean/character01")
    name = "images_background/Greek/character01/0001_01.png"
    for bad in (drawing(0, 104), drawing(0)[:-30], b"", b"<html>", b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(DamagedFile):
            arranged("omniglot", files | {"images_background.zip": zipped(background | {name: bad})}, **changes)()


def test_no_reader_unpickles(arranged, tmp_path, monkeypatch):
    """Files that hold pickles where data should be are refused before anything in them runs."""
    import pickle

    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    payload = pickle.dumps(Bomb())
    for name, files in {
        "kmnist": {
            f"{stem}-ubyte.gz": gzip.compress(payload)
            for stem in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        },
        "cifar10": {"cifar-10-binary.tar.gz": tarred({"cifar-10-batches-py/data_batch_1": payload})},
        "svhn": {"train_32x32.mat": payload, "test_32x32.mat": payload},
        "usps": {"usps.bz2": bz2.compress(payload), "usps.t.bz2": bz2.compress(payload)},
        "omniglot": {"images_background.zip": zipped({"a/b/c.png": payload}), "images_evaluation.zip": payload},
    }.items():
        with pytest.raises(DamagedFile):
            arranged(name, files, train_counts=(1,), test_counts=(1,))()
    assert not (tmp_path / "ran").exists()

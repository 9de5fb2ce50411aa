"""The bundled data: what they are to the byte, how they are split, and what happens when one is damaged."""

import hashlib
import io
import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from toolkit.datasets import DatasetUnavailable, imagenet_classes, load, photograph, samples
from toolkit.datasets.verification import DamagedFile

# From the packages that the files were taken from; see data/samples/README.md.
SHA256 = {
    ("mnist5k.npz", "images"): "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f",
    ("mnist5k.npz", "labels"): "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d",
    ("fashion2k5.npz", "train_images"): "6c59094797e4bc9e7232843d7bf5085c15b67423354dab959246e3e5faa16517",
    ("fashion2k5.npz", "train_labels"): "da01741fd7f7b6c457c1145f1c3363c543fd89efe01e31ff93c18850342e776b",
    ("fashion2k5.npz", "test_images"): "8290027af94aca7e3fc849f33dfc396c78f36427f84a8cde695ad92490d3e4f1",
    ("fashion2k5.npz", "test_labels"): "5607b0a13ea6dabee23ada2f03082e47bc85231466a1eaa3ec96f7844721945a",
    ("digits.npz", "images"): "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
    ("digits.npz", "labels"): "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
}
FILES = {"mnist": "mnist5k.npz", "fashion_mnist": "fashion2k5.npz", "digits": "digits.npz"}


def stored(file):
    with np.load(samples.folder() / file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_the_arrays_are_the_published_ones():
    found = {}
    for file in FILES.values():
        for name, array in stored(file).items():
            assert array.dtype == np.uint8
            found[file, name] = hashlib.sha256(array.tobytes()).hexdigest()
    assert found == SHA256


def test_everything_is_named_licensed_and_small():
    names = {path.name for path in samples.folder().iterdir()}
    recorded = json.loads((samples.folder() / "checksums.json").read_text())
    assert names == set(recorded) | {"checksums.json", "README.md", "LICENSES"}
    readme = (samples.folder() / "README.md").read_text()
    assert all(name in readme for name in recorded)
    texts = "".join(path.read_text() for path in (samples.folder() / "LICENSES").iterdir())
    assert all(name in texts for name in recorded)
    assert "Zalando" in texts and "ShareAlike" in texts and "Cortes" in texts
    assert sum(path.stat().st_size for path in samples.folder().rglob("*") if path.is_file()) < 3_000_000


def test_mnist_holds_out_the_last_hundred_of_each_digit():
    mnist, arrays = load("mnist"), stored("mnist5k.npz")
    assert mnist.train.images.shape == (4000, 28, 28) and mnist.test.images.shape == (1000, 28, 28)
    for digit in range(10):
        all_of_it = torch.from_numpy(arrays["images"][arrays["labels"] == digit])
        assert torch.equal(mnist.train.images[mnist.train.labels == digit], all_of_it[:400])
        assert torch.equal(mnist.test.images[mnist.test.labels == digit], all_of_it[400:])
    # Any prefix is balanced, though the file is sorted by class.
    assert torch.equal(mnist.train.labels, torch.arange(4000) % 10)
    assert torch.equal(mnist.test.labels, torch.arange(1000) % 10)


def test_fashion_keeps_its_two_parts_in_order():
    fashion, arrays = load("fashion_mnist"), stored("fashion2k5.npz")
    assert np.array_equal(fashion.train.images.numpy(), arrays["train_images"])
    assert np.array_equal(fashion.test.images.numpy(), arrays["test_images"])
    assert fashion.train.labels.bincount().tolist() == [200] * 10
    assert fashion.test.labels.bincount().tolist() == [50] * 10
    assert fashion.class_names[9] == "ankle boot" and fashion.n_classes == 10


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits, reference = load("digits"), load_digits()
    assert len(digits.train) == 1437 and len(digits.test) == 360
    assert digits.test.labels.bincount().tolist() == [36] * 10
    ours = {(image.tobytes(), int(label)) for image, label in zip(digits.images.numpy(), digits.labels, strict=True)}
    theirs = zip(reference.images.astype(np.uint8), reference.target, strict=True)
    assert ours == {(image.tobytes(), int(label)) for image, label in theirs}
    assert digits.images.max() == 16 and digits.train.as_float().max() == 1.0
    for digit in range(10):
        last = reference.images[reference.target == digit][-36:].astype(np.uint8)
        assert np.array_equal(digits.test.images[digits.test.labels == digit].numpy(), last)


def test_the_full_digits_are_the_same_images():
    subset, full = load("digits"), load("digits", variant="full")
    assert (subset.variant, full.variant) == ("subset", "full")
    assert torch.equal(subset.images, full.images)


@pytest.mark.parametrize("name", FILES)
def test_provenance(name):
    dataset = load(name)
    assert dataset.name == name and dataset.variant == "subset"
    assert dataset.source == f"bundled: {FILES[name]}"
    assert dataset.sha256 == {part: sha256 for (file, part), sha256 in SHA256.items() if file == FILES[name]}
    assert dataset.licence and dataset.citation
    for word in (dataset.title, "subset", "bundled", dataset.licence):
        assert word in dataset.caption
    assert str(samples.folder()) not in dataset.caption + repr(dataset)
    assert len(repr(dataset)) < 100 and len(repr(dataset.train)) < 60
    facts = json.loads(json.dumps(dataset.to_dict()))
    assert facts["n_train"] == len(dataset.train) and facts["sha256"] == dataset.sha256


def test_the_held_out_digits_are_not_called_the_test_set():
    assert "not the MNIST test set" in load("mnist").description
    assert "not the MNIST test set" in load("mnist").caption


@pytest.mark.parametrize("name", FILES)
def test_every_call_gives_memory_of_its_own(name):
    first = load(name)
    kept = first.train.images.clone(), first.test.labels.clone()
    first.train.images.zero_()
    first.test.labels.fill_(7)
    first.sha256.clear()
    second = load(name)
    assert torch.equal(second.train.images, kept[0]) and torch.equal(second.test.labels, kept[1])
    assert second.sha256
    joined = second.images
    joined.zero_()
    assert second.train.images.any()


def test_no_warning_about_memory_that_cannot_be_written(recwarn):
    load("mnist").train.images.add_(1)
    photograph("coffee").image.add_(1)
    assert not recwarn.list


def test_as_float():
    mnist = load("mnist")
    pixels = mnist.train.as_float()
    assert pixels.dtype == torch.float32 and pixels.shape == (4000, 28, 28)
    assert pixels.min() == 0 and pixels.max() == 1
    assert torch.equal((pixels * 255).round().to(torch.uint8), mnist.train.images)
    flat = mnist.test.as_float(torch.float64, flat=True)
    assert flat.dtype == torch.float64 and flat.shape == (1000, 784)
    assert flat[3, 28 * 5 + 6] == mnist.test.images[3, 5, 6] / 255
    with pytest.raises(ValueError, match="dtype"):
        mnist.train.as_float(torch.uint8)
    none = mnist.train[:0].as_float(flat=True)
    assert none.shape == (0, 784)
    assert mnist.train[:3].as_float(device="meta").device.type == "meta"


def test_splits_are_indexed_like_their_images():
    train = load("digits").train
    mask = train.labels == 3
    for index in (slice(5, 50, 7), [3, 1, 1], torch.tensor([2, 0]), mask, np.array([4, 5]), mask.numpy(), [], [-1]):
        part = train[index]
        want = index if not isinstance(index, list) else torch.tensor(index, dtype=torch.long)
        assert torch.equal(part.images, train.images[want]) and torch.equal(part.labels, train.labels[want])
        assert part.pixel_max == 16
        part.images.fill_(99)
    assert train.images.max() == 16
    bytes_are_no_mask = train[torch.tensor([1, 0], dtype=torch.uint8)]
    assert torch.equal(bytes_are_no_mask.labels, train.labels[[1, 0]])
    for wrong in (torch.tensor(3), torch.zeros(2, 2, dtype=torch.long), torch.tensor([0.5])):
        with pytest.raises(ValueError, match="index"):
            train[wrong]
    with pytest.raises(IndexError):
        train[[5000]]


def test_a_dataset_can_travel_to_another_process():
    dataset = load("digits")
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again.images, dataset.images) and again.to_dict() == dataset.to_dict()


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_photographs(name):
    picture = photograph(name)
    assert picture.image.shape == (3, 256, 256) and picture.image.dtype == torch.uint8
    with Image.open(samples.folder() / f"{name}_256.png") as stored_picture:
        pixels = np.asarray(stored_picture)
    assert np.array_equal(picture.image.permute(1, 2, 0).numpy(), pixels)
    assert picture.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert "CC0" in picture.caption and len(repr(picture)) < 80
    json.dumps(picture.to_dict())
    picture.image.zero_()
    assert photograph(name).image.any()


def test_imagenet_classes():
    names = imagenet_classes()
    assert len(names) == 1000
    assert names[0].startswith("tench") and names[967] == "espresso" and names[282].startswith("tiger cat")
    assert names[999].startswith("toilet tissue")


def test_unknown_names():
    with pytest.raises(ValueError, match="chelsea, coffee"):
        photograph("../../etc/passwd")


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A copy of the bundled folder that a test may damage."""
    shutil.copytree(samples.folder(), tmp_path / "data" / "samples")
    monkeypatch.setattr(samples, "data_directory", lambda: tmp_path / "data")
    return tmp_path / "data" / "samples"


def rewritten(path, **changes):
    """Give the npz file with some arrays replaced; the others stay."""
    arrays = stored_at(path) | changes
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: array for name, array in arrays.items() if array is not None})
    return buffer.getvalue()


def stored_at(path):
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def damages(path):
    whole = path.read_bytes()
    arrays = stored_at(path)
    first, array = next(iter(arrays.items()))
    changed = array.copy()
    changed.flat[0] ^= 1
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in arrays:
            archive.writestr(f"{name}.npy", bytes(30_000_000 if name == first else 10))
    yield b""
    yield b"<html>log in</html>"
    yield whole[: len(whole) // 2]
    yield bytes(flipped)
    yield bytes(10_000_000)
    yield rewritten(path, **{first: changed})
    yield rewritten(path, **{first: None})
    yield rewritten(path, **{first: array.astype(np.int16)})
    yield rewritten(path, **{first: array.reshape(-1)})
    yield rewritten(path, **{first: np.array([object()], dtype=object)})
    yield bomb.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_sample_is_refused(broken, name):
    path = broken / FILES[name]
    for data in list(damages(path)):
        path.write_bytes(data)
        with pytest.raises(DatasetUnavailable) as caught:
            load(name)
        error = caught.value
        assert (error.name, error.variant) == (name, "subset")
        assert FILES[name] in str(error) and "install the package again" in str(error)
        assert any(sha256 in str(error) for (file, _), sha256 in SHA256.items() if file == FILES[name])
    path.unlink()
    with pytest.raises(DatasetUnavailable, match="No such file"):
        load(name)


def test_no_sample_is_unpickled(broken, tmp_path):
    class Bomb:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    path = broken / "digits.npz"
    path.write_bytes(rewritten(path, images=np.array([Bomb()], dtype=object)))
    (tmp_path / "ran").unlink(missing_ok=True)
    with pytest.raises(DatasetUnavailable):
        load("digits")
    assert not (tmp_path / "ran").exists()
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DatasetUnavailable):
        load("digits")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("data", [None, b"", b"[]", b"{}", b"\xff\xfe", b"{"])
def test_a_damaged_list_of_checksums(broken, data):
    path = broken / "checksums.json"
    path.unlink() if data is None else path.write_bytes(data)
    for call in (lambda: load("mnist"), lambda: photograph("coffee"), imagenet_classes):
        with pytest.raises(DatasetUnavailable, match="install the package again"):
            call()


def test_damaged_pictures_and_names(broken):
    for file, call in (("coffee_256.png", lambda: photograph("coffee")), ("imagenet_classes.json", imagenet_classes)):
        whole = (broken / file).read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0xFF
        for data in (b"", b"<html>", whole[:-40], bytes(flipped), (broken / "chelsea_256.png").read_bytes()):
            (broken / file).write_bytes(data)
            with pytest.raises(DatasetUnavailable, match=file):
                call()
        (broken / file).unlink()
        with pytest.raises(DatasetUnavailable, match=file):
            call()


def test_a_picture_of_another_size_is_not_decoded(broken):
    buffer = io.BytesIO()
    Image.new("1", (20_000, 4_000)).save(buffer, "PNG")
    (broken / "coffee_256.png").write_bytes(buffer.getvalue())
    with pytest.raises(DatasetUnavailable, match="20000×4000"):
        photograph("coffee")


def test_a_given_copy_is_read_and_verified(tmp_path):
    copy = tmp_path / "elsewhere" / "my.npz"
    copy.parent.mkdir()
    shutil.copy(samples.folder() / "mnist5k.npz", copy)
    dataset = load("mnist", path=copy)
    assert dataset.source == f"given path: {copy}" and torch.equal(dataset.images, load("mnist").images)
    shutil.copy(copy, copy.with_name("mnist5k.npz"))
    assert len(load("mnist", path=str(copy.parent)).train) == 4000
    copy.write_bytes(copy.read_bytes()[:-1000])
    with pytest.raises(DatasetUnavailable, match="given path"):
        load("mnist", path=copy)
    with pytest.raises(DatasetUnavailable, match="given path"):
        load("mnist", path=tmp_path)


def test_read_arrays_says_what_differs(tmp_path):
    arrays = stored("digits.npz")
    np.savez(tmp_path / "digits.npz", images=arrays["images"], labels=arrays["labels"][::-1])
    with pytest.raises(DamagedFile, match=r"'labels' has sha256 .* expected 8ba4f891"):
        samples.read_arrays("digits.npz", tmp_path)

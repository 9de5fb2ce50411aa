"""Stored images: the original files, in small, and one's own arrays, asked for as the renderers are."""

import builtins
import pickle
import zipfile

import numpy as np
import pytest
import torch

from toolkit.datasets import shapes3d, sprites
from toolkit.datasets.factors import batches
from toolkit.datasets.lookup import DatasetUnavailable
from toolkit.datasets.stored import from_arrays

SMALL = sprites.GRID.subgrid(scale=2, orientation=3, position_x=4, position_y=2)
SMALL_3D = shapes3d.GRID.subgrid(floor_hue=2, wall_hue=1, object_hue=2, scale=2, shape=4, orientation=3)


def sprite_arrays() -> dict[str, np.ndarray]:
    factors = SMALL.indices(device="cpu")
    colour = np.ones((len(SMALL), 1))
    return {
        "imgs": sprites.render(factors, grid=SMALL).numpy(),
        "latents_values": np.hstack([colour, SMALL.values_of(factors, dtype=torch.float64).numpy()]),
        "latents_classes": np.hstack([0 * colour, factors.numpy()]).astype(np.int64),
    }


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def write_npz(path, arrays, **changes):
    arrays = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    bomb = np.empty((), dtype=object)
    bomb[()] = Bomb()
    np.savez_compressed(path, metadata=bomb, **arrays)
    return path


def write_hdf5(path, arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, compression="gzip")
    return path


def sprites_hdf5(path, **changes):
    arrays = {**sprite_arrays(), **changes}
    names = {"imgs": "imgs", "latents_values": "latents/values", "latents_classes": "latents/classes"}
    return write_hdf5(path, {names[name]: array for name, array in arrays.items() if array is not None})


def shapes_hdf5(path, **changes):
    factors = SMALL_3D.indices(device="cpu")
    arrays = {
        "images": shapes3d.render(factors, grid=SMALL_3D, layout="HWC").numpy(),
        "labels": SMALL_3D.values_of(factors, dtype=torch.float64).numpy(),
    }
    return write_hdf5(path, {name: array for name, array in {**arrays, **changes}.items() if array is not None})


@pytest.fixture(params=["npz", "hdf5"])
def stored_sprites(request, tmp_path):
    path = tmp_path / f"dsprites.{request.param}"
    (sprites_hdf5(path) if request.param == "hdf5" else write_npz(path, sprite_arrays()))
    return sprites.load(path)


def test_the_sprites_of_a_file_are_looked_up_as_others_are_rendered(stored_sprites, tmp_path):
    assert stored_sprites.grid.names == sprites.GRID.names
    assert stored_sprites.grid.sizes == SMALL.sizes
    assert stored_sprites.grid.circular == {"orientation"}
    assert stored_sprites.title == "dSprites"
    assert stored_sprites.licence == "Apache-2.0"
    assert str(tmp_path) in stored_sprites.source
    factors = stored_sprites.grid.sample(100, generator=torch.Generator().manual_seed(0))
    expected = sprites.render(factors, grid=SMALL)
    assert torch.equal(stored_sprites.render(factors), expected)
    assert torch.equal(stored_sprites.render(factors.numpy()), expected)
    assert torch.equal(stored_sprites.render(factors, dtype=torch.float32), expected.float())
    pairs = batches(stored_sprites.render, stored_sprites.grid, batch_size=50)
    assert torch.equal(torch.cat([images for _, images in pairs]), sprites.render(SMALL.indices(), grid=SMALL))


def test_a_subgrid_of_the_renderer_works_on_the_file(stored_sprites):
    grid = SMALL.subgrid(shape=[2, 0], position_x=2)
    factors = grid.indices()
    assert torch.equal(stored_sprites.render(factors, grid=grid), sprites.render(factors, grid=grid))
    with pytest.raises(ValueError, match="values of scale among"):
        stored_sprites.render(factors, grid=sprites.GRID)


def test_the_shapes_of_a_file_come_in_both_layouts(tmp_path):
    stored = shapes3d.load(shapes_hdf5(tmp_path / "3dshapes.h5"))
    assert stored.grid.sizes == SMALL_3D.sizes
    assert len(stored) == 96
    factors = stored.grid.sample(30, generator=torch.Generator().manual_seed(0))
    expected = shapes3d.render(factors, grid=SMALL_3D)
    assert torch.equal(stored.render(factors), expected)
    assert torch.equal(stored.render(factors, layout="HWC"), expected.permute(0, 2, 3, 1))
    assert torch.equal(stored.render(factors, dtype=torch.float64), expected.double() / 255)
    far_apart = [[0] * 6, [1, 0, 1, 1, 3, 2], [0] * 6]
    assert torch.equal(stored.render(far_apart), shapes3d.render(far_apart, grid=SMALL_3D))


def test_stored_images_can_be_sent_to_another_process(stored_sprites):
    again = pickle.loads(pickle.dumps(stored_sprites))
    assert torch.equal(again.render([[1, 1, 1, 1, 1]]), stored_sprites.render([[1, 1, 1, 1, 1]]))


def test_no_images_are_no_error(stored_sprites):
    assert stored_sprites.render(torch.empty(0, 5, dtype=torch.int64)).shape == (0, 64, 64)


def test_a_folder_will_do_as_a_path(tmp_path):
    write_npz(tmp_path / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz", sprite_arrays())
    assert sprites.load(tmp_path).grid.sizes == SMALL.sizes
    other = tmp_path / "other"
    other.mkdir()
    sprites_hdf5(other / "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.hdf5")
    assert sprites.load(other).grid.sizes == SMALL.sizes


def test_a_relative_path_outlives_a_change_of_folder(tmp_path, monkeypatch):
    shapes_hdf5(tmp_path / "3dshapes.h5")
    monkeypatch.chdir(tmp_path)
    stored = shapes3d.load("3dshapes.h5")
    monkeypatch.chdir("/")
    assert stored.render([[0] * 6]).shape == (1, 3, 64, 64)


def test_images_in_another_order_are_sorted(tmp_path):
    arrays = sprite_arrays()
    order = np.random.default_rng(0).permutation(len(SMALL))
    shuffled = {name: array[order] for name, array in arrays.items()}
    stored = sprites.load(write_npz(tmp_path / "a.npz", shuffled))
    assert torch.equal(stored.render(SMALL.indices()), torch.from_numpy(arrays["imgs"]))


def test_own_arrays_are_asked_for_in_the_same_way():
    random = np.random.default_rng(0)
    labels = np.array([[size, angle] for size in (3, 1) for angle in (0.0, 45.0, -45.0)])
    images = random.integers(0, 256, (6, 5, 7, 3), dtype=np.uint8)
    stored = from_arrays(images, labels, ("size", "angle"), title="toys")
    assert stored.grid.values == ((1, 3), (-45, 0, 45))
    assert np.array_equal(stored.render([[0, 0], [1, 2]], layout="HWC").numpy(), images[[5, 1]])
    assert stored.render(stored.grid.indices()).shape == (6, 3, 5, 7)
    assert repr(stored) == "StoredImages(toys: 6 of 5×7×3; arrays)"
    assert stored.to_dict()["grid"]["sizes"] == [2, 3]


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (np.zeros((4, 2, 2), np.uint8), np.array([[0, 0], [0, 1], [1, 0], [1, 0]]), "3 different combinations"),
        (np.zeros((3, 2, 2), np.uint8), np.array([[0, 0], [0, 1], [1, 0]]), "expected 2 × 2 = 4"),
        (np.zeros((2, 2, 2), np.uint8), np.array([[0, 0], [0, np.nan]]), "finite numbers"),
        (np.zeros((2, 2, 2), np.uint8), np.array([[0], [1]]), "shape (2, 2)"),
        (np.zeros((0, 2, 2), np.uint8), np.zeros((0, 2)), "at least one"),
    ],
)
def test_own_arrays_must_be_a_complete_grid(images, labels, words):
    with pytest.raises(ValueError) as error:
        from_arrays(images, labels, ("a", "b"))
    assert words in str(error.value)


def broken_npz(name, path):
    arrays = sprite_arrays()
    if name == "truncated":
        write_npz(path, arrays)
        path.write_bytes(path.read_bytes()[:-2000])
    elif name == "altered":
        write_npz(path, arrays)
        data = bytearray(path.read_bytes())
        start = data.find(b"imgs.npy") + 200
        data[start : start + 40] = bytes(40)
        path.write_bytes(data)
    elif name == "web page":
        path.write_text("<!DOCTYPE html><title>Log in</title>")
    elif name == "empty":
        path.write_bytes(b"")
    elif name == "folder":
        path.mkdir()
    elif name == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    elif name == "pickled images":
        objects = np.empty(len(SMALL), object)
        objects[:] = Bomb()
        write_npz(path, arrays, imgs=objects)
    elif name == "pickled labels":
        objects = np.empty(len(SMALL), object)
        objects[:] = Bomb()
        write_npz(path, arrays, latents_values=objects)
    elif name == "without images":
        write_npz(path, arrays, imgs=None)
    elif name == "too few images":
        write_npz(path, arrays, imgs=arrays["imgs"][:-1])
    elif name == "grey":
        write_npz(path, arrays, imgs=arrays["imgs"] * 255)
    elif name == "float":
        write_npz(path, arrays, imgs=arrays["imgs"].astype(np.float32))
    elif name == "columns first":
        write_npz(path, arrays, imgs=np.asfortranarray(arrays["imgs"]))
    elif name == "incomplete":
        write_npz(path, {key: array[:-1] for key, array in arrays.items()})
    elif name == "two colours":
        values = arrays["latents_values"].copy()
        values[0, 0] = 2
        write_npz(path, arrays, latents_values=values)
    elif name == "wrong classes":
        write_npz(path, arrays, latents_classes=arrays["latents_classes"][::-1])
    elif name == "other factors":
        write_npz(path, arrays, latents_values=arrays["latents_values"][:, 1:])
    elif name == "NaN":
        write_npz(path, arrays, latents_values=arrays["latents_values"] * np.nan)
    elif name == "header":
        write_npz(path, arrays, imgs=None)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("imgs.npy", b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|u1', 'fortran_order".ljust(118))
    elif name == "hollow":
        # A header that promises a terabyte, and nothing behind it.
        write_npz(path, arrays, imgs=None)
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(SMALL)}, 65536, 131072), }}"
        header = header.ljust(117) + "\n"
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("imgs.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())


@pytest.mark.parametrize(
    "name",
    [
        "missing", "truncated", "altered", "web page", "empty", "pickle", "pickled images", "pickled labels",
        "without images", "too few images", "grey", "float", "columns first", "incomplete", "two colours",
        "wrong classes", "other factors", "NaN", "hollow", "header", "folder",
    ],
)  # fmt: skip
def test_a_broken_archive_is_one_clear_error(name, tmp_path):
    path = tmp_path / "dsprites.npz"
    broken_npz(name, path)
    with pytest.raises(DatasetUnavailable) as error:
        sprites.load(path)
    text = str(error.value)
    assert str(path) in text
    assert "toolkit.datasets.sprites" in text  # the way out
    assert "allow_pickle" not in text or "cannot be loaded" in text


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "no hdf5",
        "truncated",
        "without labels",
        "float",
        "channels first",
        "incomplete",
        "group",
        "external",
        "linked",
    ],
)
def test_a_broken_hdf5_file_is_one_clear_error(name, tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "3dshapes.h5"
    if name == "no hdf5":
        path.write_bytes(b"not hdf5" * 1000)
    elif name == "truncated":
        shapes_hdf5(path)
        path.write_bytes(path.read_bytes()[:-3000])
    elif name == "without labels":
        shapes_hdf5(path, labels=None)
    elif name == "float":
        shapes_hdf5(path, images=np.zeros((len(SMALL_3D), 64, 64, 3), np.float32))
    elif name == "channels first":
        shapes_hdf5(path, images=np.zeros((len(SMALL_3D), 3, 64, 64), np.uint8))
    elif name == "incomplete":
        shapes_hdf5(path, labels=np.zeros((len(SMALL_3D), 6)))
    elif name == "group":
        with h5py.File(path, "w") as file:
            file.create_group("images")
            file.create_group("labels")
    elif name == "external":
        shapes_hdf5(path, images=None)
        secret = tmp_path / "secret"
        secret.write_bytes(bytes(len(SMALL_3D) * 64 * 64 * 3))
        with h5py.File(path, "a") as file:
            shape = (len(SMALL_3D), 64, 64, 3)
            file.create_dataset("images", shape, "u1", external=[(str(secret), 0, secret.stat().st_size)])
    elif name == "linked":
        shapes_hdf5(tmp_path / "other.h5")
        shapes_hdf5(path, images=None)
        with h5py.File(path, "a") as file:
            file["images"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
    with pytest.raises(DatasetUnavailable) as error:
        shapes3d.load(path)
    assert str(path) in str(error.value)
    assert ("lies in another file" in str(error.value)) == (name in ("external", "linked"))


def test_a_file_that_goes_bad_later_is_one_clear_error(tmp_path):
    path = shapes_hdf5(tmp_path / "3dshapes.h5")
    stored = shapes3d.load(path)
    path.write_bytes(b"gone")
    with pytest.raises(ValueError, match=r"3dshapes\.h5: cannot be read as HDF5"):
        stored.render([[0] * 6])
    path.unlink()
    with pytest.raises(FileNotFoundError):
        stored.render([[0] * 6])


def test_a_missing_reader_is_named(tmp_path, monkeypatch):
    path = tmp_path / "3dshapes.h5"
    path.write_bytes(b"whatever")
    plain = builtins.__import__

    def without_h5py(name, *rest, **options):
        if name == "h5py":
            raise ModuleNotFoundError("No module named 'h5py'", name="h5py")
        return plain(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_h5py)
    with pytest.raises(ImportError, match="pip install h5py"):
        shapes3d.load(path)


def test_without_a_file_or_a_network_the_renderer_is_recommended(monkeypatch):
    monkeypatch.setenv("TOOLKIT_OFFLINE", "1")
    for module, name in ((sprites, "sprites"), (shapes3d, "shapes3d")):
        with pytest.raises(DatasetUnavailable, match=rf"toolkit\.datasets\.{name} renders in its place"):
            module.load()


@pytest.mark.parametrize("options", [{"dtype": torch.int32}, {"layout": "WHC"}, {"dtype": torch.bool}])
def test_wrong_options_are_named(stored_sprites, options):
    with pytest.raises((ValueError, TypeError)) as error:
        stored_sprites.render([[0] * 5], **options)
    assert next(iter(options)) in str(error.value)

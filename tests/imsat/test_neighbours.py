"""Neighbour distances against loops in float64 and scikit-learn, on data that rounding makes hard, and their cache."""

import inspect
import math
import os
import warnings

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from toolkit import datasets
from toolkit.imsat import neighbours
from toolkit.imsat.neighbours import neighbour_distances


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(x: Tensor, k: int) -> Tensor:
    """A loop over the points in float64, by differences."""
    wide = x.double()
    result = torch.empty(len(x), dtype=torch.float64)
    for i in range(len(x)):
        others = torch.cat((wide[:i], wide[i + 1 :]))
        result[i] = sorted(math.dist(wide[i].tolist(), other.tolist()) for other in others)[k - 1]
    return result


def agree(found: Tensor, expected: Tensor) -> None:
    tolerance = 2e-7 if found.dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 3, 10, 39])
def test_a_loop_over_the_points(dtype, k):
    x = normal(40, 3, dtype=dtype)
    found = neighbour_distances(x, k)
    assert found.dtype == dtype and found.shape == (40,)
    agree(found, reference(x, k))


@pytest.mark.parametrize("k", [10, 11])
def test_scikit_learn_on_mnist(k):
    images = datasets.load("mnist").images
    x = images.reshape(len(images), -1).float() / 128 - 1
    distances, _ = NearestNeighbors(n_neighbors=k).fit(x.double().numpy()).kneighbors()
    agree(neighbour_distances(x, k), torch.from_numpy(distances[:, -1]))


def test_points_of_a_line_in_closed_form():
    x = torch.arange(100.0)[:, None].contiguous()
    expected = torch.maximum(3.0 * torch.ones(100), 6.0 - torch.minimum(x[:, 0], 99 - x[:, 0]))
    assert torch.equal(neighbour_distances(x, 6), expected)


def test_a_point_is_left_out_by_its_place_so_that_copies_count():
    x = normal(30, 5).repeat(3, 1)
    assert (neighbour_distances(x, 2) == 0).all()
    agree(neighbour_distances(x, 3), reference(x, 3))
    assert (neighbour_distances(x, 3) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_that_hides_the_neighbours(dtype):
    # Two groups so far apart that a product in float32 sees no difference within either.
    x = 1e-3 * normal(200, 4, dtype=dtype)
    x[::2] += 1e3
    agree(neighbour_distances(x, 5), reference(x, 5))


def test_rounding_that_hides_the_neighbours_in_float64_too():
    x = 1e-7 * normal(120, 4, dtype=torch.float64)
    x[::2] += 1e4
    agree(neighbour_distances(x, 5), reference(x, 5))


def test_points_far_from_the_origin():
    x = normal(300, 20) + 1e4
    agree(neighbour_distances(x, 10), reference(x, 10))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [-60, 60, 120])
def test_scaling_by_a_power_of_two_scales_the_distances(dtype, power):
    x = normal(100, 6, dtype=dtype)
    assert torch.equal(neighbour_distances(x * 2.0**power, 4), neighbour_distances(x, 4) * 2.0**power)


def test_many_points_at_the_same_distance():
    x = (normal(300, 12) > 0).float()
    agree(neighbour_distances(x, 10), reference(x, 10))


def test_constant_features_and_no_features():
    assert torch.equal(neighbour_distances(torch.full((50, 7), 3.7), 10), torch.zeros(50))
    assert torch.equal(neighbour_distances(torch.zeros(50, 0), 10), torch.zeros(50))


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_any_chunk_gives_the_same(chunk):
    x = normal(200, 8)
    torch.testing.assert_close(neighbour_distances(x, 10, chunk=chunk), neighbour_distances(x, 10), rtol=2e-7, atol=0)


def test_candidates_come_in_blocks_and_groups(monkeypatch):
    x = normal(2000, 8)
    distances, _ = NearestNeighbors(n_neighbors=3).fit(x.double().numpy()).kneighbors()
    for buffer in (1 << 13, 1 << 17, 1 << 20):
        monkeypatch.setattr(neighbours, "_BUFFER", buffer)
        agree(neighbour_distances(x, 3, chunk=100), torch.from_numpy(distances[:, -1]))


def test_a_product_in_reduced_precision_is_noticed(monkeypatch):
    x = normal(300, 30)
    expected = reference(x, 10)
    product = torch.addmm

    def coarse(bias: Tensor, a: Tensor, b: Tensor, **options) -> Tensor:
        if a.dtype == torch.float64:
            return product(bias, a, b, **options)
        return product(bias, a.bfloat16().float(), b.bfloat16().float(), **options)

    monkeypatch.setattr(torch, "addmm", coarse)
    agree(neighbour_distances(x, 10), expected)


def test_neither_graph_nor_change():
    x = normal(50, 4).requires_grad_()
    before = x.detach().clone()
    assert not neighbour_distances(x, 3).requires_grad
    assert torch.equal(x.detach(), before)


def test_strided_input():
    x = normal(8, 200).T
    agree(neighbour_distances(x, 10), reference(x, 10))


@pytest.mark.parametrize(
    ("x", "named"),
    [
        (normal(50, 4).half(), "float32 or float64"),
        (normal(50, 4).bfloat16(), "float32 or float64"),
        (torch.arange(100).view(50, 2), "float32 or float64"),
        (torch.full((50, 2), math.nan), "finite"),
        (torch.tensor([[0.0], [math.inf], [1.0]]), "finite"),
        (normal(50), "points, features"),
        (normal(5, 5, 5), "points, features"),
        (normal(50, 4).to_sparse(), "dense"),
    ],
)
def test_bad_points(x, named):
    with pytest.raises((ValueError, TypeError), match=f"(?s)neighbour_distances.*'x'.*{named}"):
        neighbour_distances(x, 2)


@pytest.mark.parametrize("n", [0, 1, 10])
def test_fewer_points_than_neighbours(n):
    with pytest.raises(ValueError, match=r"(?s)neighbour_distances.*'k'.*points"):
        neighbour_distances(normal(n, 3), 10)


@pytest.mark.parametrize("options", [{"k": 0}, {"k": -1}, {"chunk": 0}])
def test_bad_numbers(options):
    with pytest.raises(ValueError, match=rf"'{next(iter(options))}'"):
        neighbour_distances(normal(20, 3), **options)


def test_cache_is_used_and_told_apart(tmp_path, monkeypatch):
    x = normal(60, 4)
    first = neighbour_distances(x, 3, cache=tmp_path)
    neighbour_distances(x, 4, cache=tmp_path)
    neighbour_distances(x.double(), 3, cache=str(tmp_path))
    neighbour_distances(x.view(30, 8), 3, cache=tmp_path)
    neighbour_distances(x.flip(0), 3, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 5

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(neighbours._Search, "run", never)
    assert torch.equal(neighbour_distances(x.T.contiguous().T, 3, cache=tmp_path), first)


@pytest.mark.parametrize(
    "damage", ["empty", "truncated", "bit", "encrypted", "foreign", "renamed", "folder", "negative"]
)
def test_a_damaged_file_is_computed_anew(tmp_path, damage):
    x = normal(60, 4)
    expected = neighbour_distances(x, 3, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "empty":
        file.write_bytes(b"")
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "bit":
        content[len(content) // 4] ^= 1
        file.write_bytes(content)
    elif damage == "encrypted":
        content[content.index(b"PK\x01\x02") + 8] ^= 1  # a flag of the first member, in the list of them
        file.write_bytes(content)
    elif damage == "foreign":
        np.save(file.with_suffix(".npy"), np.zeros(60, np.float32))
        file.with_suffix(".npy").rename(file)
    elif damage == "renamed":
        neighbour_distances(x + 1, 3, cache=tmp_path / "other")
        next((tmp_path / "other").iterdir()).rename(file)
    elif damage == "negative":
        np.savez(file, distances=np.full(60, -1, np.float32), key=file.stem)
    else:
        file.unlink()
        file.mkdir()
        with pytest.warns(UserWarning, match="not kept"):
            assert torch.equal(neighbour_distances(x, 3, cache=tmp_path), expected)
        return
    assert torch.equal(neighbour_distances(x, 3, cache=tmp_path), expected)
    file.rename(tmp_path / "kept")
    neighbour_distances(x, 3, cache=tmp_path)
    assert (tmp_path / "kept").read_bytes() == file.read_bytes()


def test_a_cache_that_cannot_be_written_warns_once_and_goes_on(tmp_path):
    (tmp_path / "file").write_text("in the way")
    x = normal(60, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = neighbour_distances(x, 3, cache=tmp_path / "file" / "below")
    assert len(caught) == 1 and "not kept" in str(caught[0].message)
    assert torch.equal(found, neighbour_distances(x, 3))


def test_a_cache_that_is_no_path_is_named():
    with pytest.raises(TypeError, match="neighbour_distances: bad argument 'cache'"):
        inspect.unwrap(neighbour_distances)(normal(20, 3), 3, cache=5)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def full(handle, **_):
        handle.write(b"half")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="disk is full"):
        neighbour_distances(normal(60, 4), 3, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []

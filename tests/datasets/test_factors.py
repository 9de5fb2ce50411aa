"""Factor grids: order, sub-grids, sampling, and what is said about wrong factors."""

import itertools

import numpy as np
import pytest
import torch

from toolkit.datasets.factors import FactorGrid, batches

GRID = FactorGrid(
    ("colour", "size", "angle"), ((0.0, 1.0), (0.5, 0.6, 0.7), (0.0, 90.0, 180.0, 270.0, 360.0)), frozenset({"angle"})
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_last_factor_varies_fastest():
    expected = list(itertools.product(range(2), range(3), range(5)))
    assert GRID.indices().tolist() == [list(row) for row in expected]
    assert GRID.sizes == (2, 3, 5)
    assert len(GRID) == 30


def test_ravel_and_unravel_agree_with_numpy_and_undo_each_other():
    flat = torch.randint(0, len(GRID), (100,), generator=generator())
    factors = GRID.unravel(flat)
    assert torch.equal(GRID.ravel(factors), flat)
    assert np.array_equal(factors.numpy(), np.stack(np.unravel_index(flat.numpy(), GRID.sizes), 1))
    assert factors.dtype == torch.int64


def test_a_grid_too_large_to_enumerate_still_counts():
    grid = FactorGrid(tuple("abcdefg"), tuple(tuple(map(float, range(400))) for _ in range(7)))
    last = GRID.unravel([len(GRID) - 1])
    assert last.tolist() == [[1, 2, 4]]
    assert grid.unravel([len(grid) - 1]).tolist() == [[399] * 7]
    assert grid.ravel([[399] * 7]).item() == 400**7 - 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_type_and_any_layout_of_memory_is_taken(dtype):
    factors = GRID.indices().to(dtype).T.contiguous().T
    assert not factors.is_contiguous()
    assert torch.equal(GRID.ravel(factors), torch.arange(30))
    assert torch.equal(GRID.ravel(factors.numpy()), torch.arange(30))
    assert torch.equal(GRID.ravel(factors.tolist()), torch.arange(30))


def test_a_read_only_array_is_taken_without_a_warning(recwarn):
    factors = np.zeros((2, 3), np.int64)
    factors.flags.writeable = False
    assert GRID.ravel(factors).tolist() == [0, 0]
    assert not recwarn.list


@pytest.mark.parametrize(
    "arrange",
    [lambda a: a[::-1], lambda a: a.astype(">i4"), lambda a: a.astype(">u2"), lambda a: a[:, ::-1].copy()[:, ::-1]],
)
def test_arrays_in_another_order_of_bytes_or_rows_are_taken(arrange):
    array = arrange(GRID.indices().numpy())
    assert GRID.check("f", array).tolist() == array.tolist()


def test_tensors_without_numbers_are_refused():
    with pytest.raises(ValueError, match=r"f: bad argument 'factors'\n.*numbers\n.*meta"):
        GRID.check("f", torch.zeros(1, 3, dtype=torch.int64, device="meta"))
    with pytest.raises(ValueError, match="bad argument 'device'"):
        GRID.check("f", [[0, 0, 0]], device="meta")


def test_torchs_default_device_changes_nothing():
    with torch.device("meta"):
        assert GRID.ravel([[1, 2, 4]], device="cpu").tolist() == [29]
        assert GRID.values_of([[1, 2, 4]], device="cpu").tolist() == [[1, pytest.approx(0.7), 360]]


def test_no_images_are_no_error():
    empty = torch.empty(0, 3, dtype=torch.int64)
    assert GRID.ravel(empty).shape == (0,)
    assert GRID.unravel([]).shape == (0, 3)
    assert GRID.values_of(empty).shape == (0, 3)
    assert GRID.sample(0).shape == (0, 3)


def test_values_stand_for_indices():
    assert GRID.values_of([[1, 2, 3], [0, 0, 0]]).tolist() == [[1.0, pytest.approx(0.7), 270.0], [0.0, 0.5, 0.0]]
    assert GRID.values_of([[1, 2, 3]], dtype=torch.float64)[0, 1].item() == 0.7


def test_a_number_of_values_is_spread_over_the_factor():
    assert GRID.subgrid(size=2).values[1] == (0.5, 0.7)
    assert GRID.subgrid(size=1).values[1] == (0.5,)
    assert GRID.subgrid(size=3) == GRID
    line = FactorGrid(("x",), (tuple(map(float, range(32))),))
    assert line.subgrid(x=8).values[0] == (0, 4, 9, 13, 18, 22, 27, 31)
    for count in range(1, 33):
        chosen = line.subgrid(x=count).values[0]
        assert len(set(chosen)) == count
        assert list(chosen) == sorted(chosen)
        assert count == 1 or (chosen[0], chosen[-1]) == (0, 31)
        steps = np.diff(chosen)
        assert len(steps) == 0 or steps.max() - steps.min() <= 1


def test_the_end_of_a_circle_is_left_out_as_long_as_possible():
    assert GRID.subgrid(angle=2).values[2] == (0, 180)
    assert GRID.subgrid(angle=5) == GRID
    circle = FactorGrid(("angle",), (tuple(map(float, range(40))),), frozenset({"angle"}))
    assert circle.subgrid(angle=10).values[0] == tuple(range(0, 40, 4))
    assert circle.subgrid(angle=20).values[0] == tuple(range(0, 40, 2))
    for count in range(1, 40):
        chosen = circle.subgrid(angle=count).values[0]
        assert len(set(chosen)) == count
        assert chosen[0] == 0
        assert chosen[-1] < 39


@pytest.mark.parametrize(
    "choice", [slice(None, None, 2), range(0, 5, 2), [0, 2, 4], (0, 2, 4), np.array([0, 2, 4]), torch.tensor([0, 2, 4])]
)
def test_values_can_be_named(choice):
    grid = GRID.subgrid(angle=choice)
    assert grid.values[2] == (0, 180, 360)
    assert grid.sizes == (2, 3, 3)
    assert GRID.levels_of(grid) == ((0, 1), (0, 1, 2), (0, 2, 4))


def test_subgrids_nest_and_keep_the_order_asked_for():
    grid = GRID.subgrid(angle=[4, 0, 2], size=2).subgrid(angle=[2, 0])
    assert grid.values[2] == (180, 360)
    assert GRID.levels_of(grid)[2] == (2, 4)


def test_values_are_found_again_up_to_rounding():
    other = FactorGrid(GRID.names, ((0.0,), (0.6000000001,), (90.0,)))
    assert GRID.levels_of(other) == ((0,), (1,), (1,))
    with pytest.raises(ValueError, match=r"levels_of.*\n.*values of size among.*\n.*0\.65"):
        GRID.levels_of(FactorGrid(GRID.names, ((0.0,), (0.65,), (90.0,))))


def test_samples_are_uniform_reproducible_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first = GRID.sample(30_000, generator=generator(1))
    assert torch.equal(first, GRID.sample(30_000, generator=generator(1)))
    assert not torch.equal(first, GRID.sample(30_000, generator=generator(2)))
    assert torch.equal(before, torch.random.get_rng_state())
    counts = torch.bincount(GRID.ravel(first), minlength=30)
    # chi-squared with 29 degrees of freedom exceeds 58 with a probability of 0.001
    assert ((counts - 1000.0) ** 2 / 1000).sum() < 58


def test_factors_can_be_fixed_while_the_others_are_drawn():
    drawn = GRID.sample(1000, generator=generator(), fixed={"size": 2})
    free = GRID.sample(1000, generator=generator())
    assert (drawn[:, 1] == 2).all()
    assert torch.equal(drawn[:, [0, 2]], free[:, [0, 2]])


def test_a_traversal_changes_one_factor_only():
    rows = GRID.traversal([1, 2, 3], "angle")
    assert rows.tolist() == [[1, 2, level] for level in range(5)]


def test_batches_cover_the_grid_in_order_and_pass_options_on():
    def render(factors, *, grid, offset):
        return grid.ravel(factors) + offset

    found = list(batches(render, GRID, batch_size=7, offset=100))
    assert [len(factors) for factors, _ in found] == [7, 7, 7, 7, 2]
    assert torch.equal(torch.cat([factors for factors, _ in found]), GRID.indices())
    assert torch.equal(torch.cat([images for _, images in found]), torch.arange(100, 130))


def test_grids_say_what_they_are():
    assert repr(GRID) == "FactorGrid(colour=2, size=3, angle=5; 30 images)"
    assert GRID.to_dict() == {
        "names": ["colour", "size", "angle"],
        "sizes": [2, 3, 5],
        "values": [[0.0, 1.0], [0.5, 0.6, 0.7], [0.0, 90.0, 180.0, 270.0, 360.0]],
        "circular": ["angle"],
    }
    assert hash(GRID) == hash(FactorGrid(GRID.names, GRID.values, GRID.circular))


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (lambda: GRID.ravel([[0, 0]]), ValueError, "shape (images, 3), one column each of colour, size, angle"),
        (lambda: GRID.ravel([0, 0, 0]), ValueError, "(3,)"),
        (lambda: GRID.ravel([[0, 3, 0]]), ValueError, "indices of size from 0 to 2"),
        (lambda: GRID.ravel([[0, -1, 0]]), ValueError, "-1 to -1"),
        (lambda: GRID.ravel([[0.0, 1.0, 2.0]]), TypeError, "float64"),
        (lambda: GRID.ravel(torch.zeros(1, 3)), TypeError, "float32"),
        (lambda: GRID.ravel(torch.zeros(1, 3, dtype=torch.bool)), TypeError, "bool"),
        (lambda: GRID.ravel([[0, 1], [0]]), TypeError, "list"),
        (lambda: GRID.ravel("heart"), TypeError, "str"),
        (lambda: GRID.ravel(None), TypeError, "NoneType"),
        (lambda: GRID.unravel([30]), ValueError, "0 to 29"),
        (lambda: GRID.unravel([-1, 2]), ValueError, "-1 to 2"),
        (lambda: GRID.unravel([[1]]), ValueError, "shape (images,)"),
        (lambda: GRID.values_of([[0, 0, 0]], dtype=torch.int64), ValueError, "floating-point"),
        (lambda: GRID.column("weight"), ValueError, "colour, size, angle"),
        (lambda: GRID.traversal([0, 0, 0], "weight"), ValueError, "'weight'"),
        (lambda: GRID.traversal([[0, 0, 0]], "size"), ValueError, "shape (3,)"),
        (lambda: GRID.subgrid(weight=2), ValueError, "no such factor"),
        (lambda: GRID.subgrid(size=0), ValueError, "1 to 3 values"),
        (lambda: GRID.subgrid(size=4), ValueError, "1 to 3 values"),
        (lambda: GRID.subgrid(size=[]), ValueError, "at least one"),
        (lambda: GRID.subgrid(size=slice(5, 9)), ValueError, "at least one"),
        (lambda: GRID.subgrid(size=[0, 0]), ValueError, "each index once"),
        (lambda: GRID.subgrid(size=[0, 3]), ValueError, "from 0 to 2"),
        (lambda: GRID.subgrid(size=[-1]), ValueError, "from 0 to 2"),
        (lambda: GRID.subgrid(size=1.5), TypeError, "1.5"),
        (lambda: GRID.subgrid(size=True), TypeError, "True"),
        (lambda: GRID.subgrid(size=torch.tensor([True, False, True])), TypeError, "True"),
        (lambda: GRID.subgrid(size="all"), TypeError, "'a'"),
        (lambda: GRID.sample(-1), ValueError, ">= 0"),
        (lambda: GRID.sample(5, fixed={"size": 3}), ValueError, "index of size, 0 to 2"),
        (lambda: GRID.sample(5, fixed={"weight": 0}), ValueError, "'weight'"),
        (lambda: batches(lambda factors, grid: factors, GRID, batch_size=0), ValueError, ">= 1"),
        (lambda: GRID.levels_of(FactorGrid(("x",), ((0.0,),))), ValueError, "the factors"),
        (lambda: FactorGrid((), ()), ValueError, "at least one factor"),
        (lambda: FactorGrid(("x", "x"), ((0.0,), (0.0,))), ValueError, "different names"),
        (lambda: FactorGrid(("x", "y"), ((0.0,),)), ValueError, "2 rows"),
        (lambda: FactorGrid(("x",), ((),)), ValueError, "at least one value of x"),
        (lambda: FactorGrid(("x",), ((0.0, 0.0),)), ValueError, "different values of x"),
        (lambda: FactorGrid(("x",), ((float("nan"),),)), ValueError, "finite values of x"),
        (lambda: FactorGrid(("x",), ((0.0,),), frozenset({"y"})), ValueError, "circular"),
    ],
)
def test_wrong_arguments_are_named(make, kind, words):
    with pytest.raises(kind) as error:
        make()
    assert type(error.value) is kind
    text = str(error.value)
    assert words in text
    assert "bad argument" in text
    assert "expected:" in text
    assert "actual:" in text

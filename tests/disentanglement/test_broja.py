"""The least information against three other optimisers, gates known by hand, and its own laws."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import null_space
from scipy.optimize import minimize, minimize_scalar

from toolkit.disentanglement import broja
from toolkit.disentanglement.broja import LeastInformation, least_information
from toolkit.disentanglement.exact import interval, pid
from toolkit.disentanglement.systems import SYSTEMS, named_system


def random_joints(seed: int, n: int, *shape: int, concentration: float = 1.0) -> torch.Tensor:
    weights = np.random.default_rng(seed).dirichlet(np.full(math.prod(shape), concentration), size=n)
    return torch.tensor(weights / weights.sum(1, keepdims=True)).reshape(n, *shape)


def information(q: np.ndarray) -> float:
    """Return I(Y; A, B) of q[a, b, y] by a loop."""
    pair, target = q.sum(2), q.sum((0, 1))
    return sum(p * math.log(p / (pair[a, b] * target[y])) for (a, b, y), p in np.ndenumerate(q) if p > 0)


def margin_error(q: torch.Tensor, p: torch.Tensor) -> float:
    return max(float((q.sum(axis) - p.sum(axis)).abs().max()) for axis in (-2, -3))


def in_a_box(p: np.ndarray) -> float:
    """Minimise for a 2 × 2 × 2 joint: each table has one free number, its first cell, between two bounds."""
    first, second = p.sum(1)[0], p.sum(0)[0]
    target = p.sum((0, 1))
    bounds = [(max(0.0, f + s - t), min(f, s)) for f, s, t in zip(first, second, target, strict=True)]

    def value(cells: np.ndarray) -> float:
        q = np.zeros((2, 2, 2))
        q[0, 0], q[0, 1], q[1, 0] = cells, first - cells, second - cells
        q[1, 1] = target - first - second + cells
        return information(np.maximum(q, 0.0))

    def least(of: Callable[[float], float], bounds: tuple[float, float]) -> float:
        found = minimize_scalar(of, bounds=bounds, method="bounded", options={"xatol": 1e-13})
        return min(float(found.fun), of(bounds[0]), of(bounds[1]))

    return least(lambda x: least(lambda y: value(np.array([x, y])), bounds[1]), bounds[0])


@pytest.mark.parametrize("concentration", [1.0, 0.2])
def test_two_values_each_agree_with_a_search_in_the_two_free_numbers(concentration: float) -> None:
    joints = random_joints(3, 5, 2, 2, 2, concentration=concentration)
    ours = least_information(joints).information
    for value, joint in zip(ours.tolist(), joints.numpy(), strict=True):
        assert value == pytest.approx(in_a_box(joint), abs=1e-9)


def test_biased_exclusive_or_agrees_with_the_search() -> None:
    joint = named_system("XOR", input_probabilities=(0.3, 0.6))
    assert float(least_information(joint).information) == pytest.approx(in_a_box(joint.numpy()), abs=1e-10)


@pytest.mark.parametrize("shape", [(3, 3, 3), (2, 4, 3), (3, 2, 2)])
def test_a_general_optimiser_finds_nothing_lower(shape: tuple[int, int, int]) -> None:
    joint = random_joints(5, 1, *shape)[0]
    p = joint.numpy()
    cells = np.eye(p.size).reshape(-1, *shape)
    sums = np.concatenate([cells.sum(axis).reshape(p.size, -1) for axis in (1, 2)], 1).T
    target = p.sum((0, 1))
    start = (p.sum(1)[:, None] * p.sum(0)[None] / target).ravel()

    moves = null_space(sums)

    def value(x: np.ndarray) -> float:
        return information(np.maximum(start + moves @ x, 0).reshape(shape))

    def slope(x: np.ndarray) -> np.ndarray:
        q = np.maximum(start + moves @ x, 1e-300).reshape(shape)
        return moves.T @ (np.log(q / q.sum(2, keepdims=True)) - np.log(target)).ravel()

    positive = {"type": "ineq", "fun": lambda x: start + moves @ x, "jac": lambda x: moves}
    options = {"ftol": 1e-14, "maxiter": 1000}
    origin = np.zeros(moves.shape[1])
    found = minimize(value, origin, jac=slope, constraints=[positive], method="SLSQP", options=options)
    ours = float(least_information(joint).information)
    assert ours == pytest.approx(float(found.fun), abs=2e-6)
    assert ours <= float(found.fun) + 1e-9


def by_alternation(p: np.ndarray, n_rounds: int) -> float:
    """Minimise the divergence of q(a, b, y) from r(a, b), in turns over q and over r."""
    first, second = p.sum(1), p.sum(0)
    r = p.sum(2)
    for _ in range(n_rounds):
        q = np.repeat(r[:, :, None], p.shape[2], 2)
        for _ in range(30):
            q *= (first / q.sum(1))[:, None]
            q *= (second / q.sum(0))[None]
        r = q.sum(2)
    return information(q)


@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 5, 2)])
def test_alternating_projections_come_close_from_above(shape: tuple[int, int, int]) -> None:
    joint = random_joints(6, 1, *shape)[0]
    found = least_information(joint)
    theirs, ours = by_alternation(joint.numpy(), 800), float(found.information)
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert ours <= theirs + 1e-9
    assert ours == pytest.approx(information(found.distribution.numpy()), abs=1e-13)
    assert margin_error(found.distribution, joint) < 1e-13


@pytest.mark.parametrize(
    ("name", "bits"),
    # AND: under the least favourable distribution both bits are the same wherever they can be.
    [
        ("AND", 0.75 * math.log2(4 / 3) + 0.25 * math.log2(4) - 0.5),
        ("XOR", 0.0),
        ("COPY", 2.0),
        ("UNQ", 1.0),
        ("RDN", 1.0),
        ("SUM", 0.5),
        ("RDN-XOR", 1.0),
    ],
)
def test_gates_have_their_least_information(name: str, bits: float) -> None:
    found = least_information(named_system(name))
    assert float(found.information) / math.log(2) == pytest.approx(bits, abs=1e-9)
    assert float(found.gap) <= 1e-10
    assert margin_error(found.distribution, named_system(name)) < 1e-14


def test_swapping_the_sources_changes_nothing() -> None:
    joints = random_joints(7, 20, 3, 4, 2)
    swapped = least_information(joints.transpose(1, 2)).information
    torch.testing.assert_close(least_information(joints).information, swapped, atol=2e-10, rtol=0)


def test_names_of_values_and_values_that_never_occur_change_nothing() -> None:
    joint = random_joints(8, 1, 3, 3, 3, concentration=0.3)[0]
    expected = float(least_information(joint).information)
    renamed = joint[[2, 0, 1]][:, [1, 0, 2]][:, :, [1, 2, 0]]
    assert float(least_information(renamed).information) == pytest.approx(expected, abs=2e-10)
    padded = torch.zeros(5, 4, 6, dtype=torch.float64)
    padded[1:4, :3, 2:5] = joint
    found = least_information(padded)
    assert float(found.information) == pytest.approx(expected, abs=2e-10)
    assert found.distribution[0].sum() == 0 and found.distribution[:, :, 0].sum() == 0


def test_information_is_least_with_these_pairs_and_uses_no_more_than_the_pairs() -> None:
    joints = random_joints(9, 30, 3, 3, 2, concentration=0.5)
    found = least_information(joints)
    assert (found.information <= interval(joints).information_joint + 1e-12).all()
    again = least_information(found.distribution)
    torch.testing.assert_close(again.information, found.information, atol=2e-10, rtol=0)


@pytest.mark.parametrize("shape", [(1, 3, 2), (3, 1, 2), (1, 1, 3), (2, 2, 1), (1, 1, 1)])
def test_axes_of_one_value_leave_nothing_to_choose(shape: tuple[int, int, int]) -> None:
    joints = random_joints(10, 5, *shape)
    found = least_information(joints)
    torch.testing.assert_close(found.information, interval(joints).information_joint, atol=1e-10, rtol=0)


def extremes() -> list[np.ndarray]:
    generator = np.random.default_rng(11)
    tables = []
    for shape in [(2, 2, 2), (4, 3, 5), (5, 6, 2), (2, 7, 4), (6, 5, 2)]:
        size = math.prod(shape)
        tables += [
            generator.integers(0, 2, (40, size)).astype(float).reshape(40, *shape),
            (10.0 ** generator.uniform(-20, 0, (40, size))).reshape(40, *shape),
            (np.exp(generator.normal(0, 8, (40, size))) * (generator.random((40, size)) < 0.5)).reshape(40, *shape),
        ]
    return tables


@pytest.mark.parametrize("tables", extremes(), ids=lambda tables: "x".join(map(str, tables.shape[1:])))
def test_zeros_and_probabilities_of_any_size_are_certified(tables: np.ndarray) -> None:
    tables[:, 0, 0, 0] += tables.sum((1, 2, 3)) == 0
    joints = torch.tensor(tables / tables.sum((1, 2, 3), keepdims=True))
    found = least_information(joints)
    assert float(found.gap.max()) <= 1e-10
    assert float(found.distribution.min()) >= 0
    assert margin_error(found.distribution, joints) < 1e-13
    possible = (joints.sum(-2) > 0)[:, :, None] & (joints.sum(-3) > 0)[:, None]
    assert not found.distribution[~possible].any()


def test_ten_values_each() -> None:
    joint = random_joints(12, 1, 10, 10, 10)
    found = least_information(joint)
    assert float(found.gap) <= 1e-10
    assert margin_error(found.distribution, joint) < 1e-13


def test_a_batch_gives_what_its_members_give(monkeypatch: pytest.MonkeyPatch) -> None:
    joints = random_joints(13, 12, 2, 3, 2, concentration=0.3).reshape(3, 4, 2, 3, 2)
    together = least_information(joints)
    assert together.information.shape == (3, 4) and together.distribution.shape == joints.shape
    monkeypatch.setattr(broja, "_CHUNK", 1)
    one_by_one = least_information(joints)
    torch.testing.assert_close(together.information, one_by_one.information, atol=2e-10, rtol=0)
    assert least_information(joints[:0]).information.shape == (0, 4)


def test_an_answer_without_certificate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broja, "_MOST_STEPS", 3)
    with pytest.raises(ArithmeticError, match=r"gap .* after 3 steps"):
        least_information(named_system("AND"))


def test_the_gap_bounds_the_error() -> None:
    joints = random_joints(14, 30, 3, 3, 3, concentration=0.4)
    rough, fine = least_information(joints, tolerance=1e-3), least_information(joints, tolerance=1e-11)
    error = rough.information - fine.information
    assert float(error.max()) > 1e-7, "the rough one is rough"
    assert (error >= -1e-11).all() and (error <= rough.gap + 1e-11).all()
    with pytest.raises(ValueError, match="tolerance"):
        least_information(joints, tolerance=0.0)


def test_the_input_is_checked_and_left_alone() -> None:
    joint = named_system("AND")
    before = joint.clone()
    found = least_information(joint)
    torch.testing.assert_close(joint, before, atol=0, rtol=0)
    assert isinstance(found, LeastInformation) and set(found.to_dict()) == set(vars(found))
    assert "gap <=" in repr(found)
    with pytest.raises(ValueError, match="sum"):
        least_information(2 * joint)


@pytest.mark.parametrize("name", list(SYSTEMS))
def test_parts_of_named_systems_satisfy_the_three_equations(name: str) -> None:
    parts = pid(named_system(name), "broja", "bits")
    assert float(parts.redundant + parts.unique_1 - parts.information_1) == pytest.approx(0, abs=1e-12)
    assert float(parts.redundant + parts.unique_2 - parts.information_2) == pytest.approx(0, abs=1e-12)
    total = parts.redundant + parts.unique_1 + parts.unique_2 + parts.complementary
    assert float(total - parts.information_joint) == pytest.approx(0, abs=1e-12)
    assert min(float(getattr(parts, part)) for part in ("redundant", "unique_1", "unique_2", "complementary")) >= 0

"""Decompositions against loops, values known by hand or published, and the interval that must hold them."""

import math

import numpy as np
import pytest
import torch

from toolkit.disentanglement.ccs import common_change_in_surprisal, largest_entropy
from toolkit.disentanglement.exact import MEASURES, PID, PIDInterval, interval, interval_of, pid, pid_at
from toolkit.disentanglement.systems import SYSTEMS, named_system

PARTS = ("redundant", "unique_1", "unique_2", "complementary")
NON_NEGATIVE = ("i_min", "mmi", "broja")
AND_EACH = 0.75 * math.log2(4 / 3) + 0.25 * math.log2(4) - 0.5
QUARTER = math.log2(4 / 3) / 4


def random_joints(seed: int, n: int, *shape: int, concentration: float = 1.0) -> torch.Tensor:
    weights = np.random.default_rng(seed).dirichlet(np.full(math.prod(shape), concentration), size=n)
    return torch.tensor(weights / weights.sum(1, keepdims=True)).reshape(n, *shape)


def parts(result: PID) -> list[float]:
    return [float(getattr(result, part)) for part in PARTS]


def information(table: np.ndarray) -> float:
    """Return the information of rows about columns by a loop."""
    rows, columns = table.sum(1), table.sum(0)
    return sum(p * math.log(p / (rows[i] * columns[j])) for (i, j), p in np.ndenumerate(table) if p > 0)


def least_specific(p: np.ndarray) -> float:
    """Return I_min by its definition: Σ_y p(y) min over sources of Σ_s p(s | y) log(p(y | s) / p(y))."""
    total = 0.0
    for y in range(p.shape[2]):
        p_y = p[:, :, y].sum()
        if p_y == 0:
            continue
        specific = []
        for pair in (p.sum(1), p.sum(0)):
            with_y = [(row[y] / p_y, row[y] / row.sum() / p_y) for row in pair if row[y] > 0]
            specific.append(sum(share * math.log(ratio) for share, ratio in with_y))
        total += p_y * min(specific)
    return total


@pytest.mark.parametrize(
    ("name", "lower", "upper"),
    [
        ("XOR", (0, 0, 0, 1), (0, 0, 0, 1)),
        ("UNQ", (0, 1, 0, 0), (0, 1, 0, 0)),
        ("RDN", (1, 0, 0, 0), (1, 0, 0, 0)),
        ("COPY", (0, 0, 0, 0), (1, 1, 1, 1)),
        ("AND", (0, 0, 0, 0.5 - AND_EACH), (AND_EACH, AND_EACH, AND_EACH, 0.5)),
        ("OR", (0, 0, 0, 0.5 - AND_EACH), (AND_EACH, AND_EACH, AND_EACH, 0.5)),
        ("SUM", (0, 0, 0, 0.5), (0.5, 0.5, 0.5, 1)),
        ("RDN-XOR", (0, 0, 0, 0), (1, 1, 1, 1)),
    ],
)
def test_intervals_of_gates(name: str, lower: tuple[float, ...], upper: tuple[float, ...]) -> None:
    span = interval(named_system(name), "bits")
    assert [float(getattr(span, part).lower) for part in PARTS] == pytest.approx(lower, abs=1e-12)
    assert [float(getattr(span, part).upper) for part in PARTS] == pytest.approx(upper, abs=1e-12)


@pytest.mark.parametrize(
    ("measure", "name", "expected"),
    [
        *((measure, "XOR", (0, 0, 0, 1)) for measure in MEASURES),
        *((measure, "UNQ", (0, 1, 0, 0)) for measure in MEASURES),
        *((measure, "RDN", (1, 0, 0, 0)) for measure in MEASURES),
        *((measure, "RDN-XOR", (1, 0, 0, 1)) for measure in MEASURES),
        *((measure, "COPY", (1, 0, 0, 1)) for measure in ("i_min", "mmi")),
        *((measure, "COPY", (0, 1, 1, 0)) for measure in ("broja", "ccs")),
        *((measure, "AND", (AND_EACH, 0, 0, 0.5)) for measure in NON_NEGATIVE),
        *((measure, "SUM", (0.5, 0, 0, 1)) for measure in NON_NEGATIVE),
        # Only (0, 0, 0) counts: both inputs and their pair make the 0 likelier, all by log(4/3).
        ("ccs", "AND", (QUARTER, AND_EACH - QUARTER, AND_EACH - QUARTER, 0.5 - AND_EACH + QUARTER)),
        ("ccs", "SUM", (0, 0.5, 0.5, 0.5)),
    ],
)  # fmt: skip
def test_gates_in_bits(measure: str, name: str, expected: tuple[float, ...]) -> None:
    result = pid(named_system(name), measure, "bits")
    assert parts(result) == pytest.approx(expected, abs=3e-10)


def test_published_values_of_the_three_event_system() -> None:
    """Williams & Beer (2010), figure 4A; the redundancy 0.3900 of the last is in Ince's published output."""
    joint = torch.zeros(2, 2, 3, dtype=torch.float64)
    joint[0, 0, 0] = joint[0, 1, 1] = joint[1, 1, 2] = 1 / 3
    assert parts(pid(joint, "i_min", "bits")) == pytest.approx((0.5850, 1 / 3, 1 / 3, 1 / 3), abs=5e-5)
    assert parts(pid(joint, "ccs", "bits")) == pytest.approx((0.3900, 0.5283, 0.5283, 0.1383), abs=5e-5)


def test_common_change_leaves_the_interval_for_two_noisy_channels() -> None:
    result = pid(named_system("NOISY"), "ccs", "bits")
    # Both right or both wrong: 0.81 + 0.01. What they share counts where both are right.
    shared = 2 * math.log2(1.8) - math.log2(2 * 0.81 / 0.82)
    assert float(result.redundant) == pytest.approx(0.81 * shared, abs=1e-12)
    assert float(result.redundant) > float(interval(named_system("NOISY"), "bits").redundant.upper)
    assert float(result.unique_1) < 0


@pytest.mark.parametrize("concentration", [1.0, 0.1])
def test_informations_and_least_specific_information_agree_with_loops(concentration: float) -> None:
    for joint in random_joints(1, 10, 3, 2, 4, concentration=concentration):
        p = joint.numpy()
        result = pid(joint, "i_min")
        assert float(result.information_1) == pytest.approx(information(p.sum(1)), abs=1e-13)
        assert float(result.information_2) == pytest.approx(information(p.sum(0)), abs=1e-13)
        assert float(result.information_joint) == pytest.approx(information(p.reshape(-1, 4)), abs=1e-13)
        assert float(result.redundant) == pytest.approx(least_specific(p), abs=1e-13)
        assert float(pid(joint, "mmi").redundant) == min(float(result.information_1), float(result.information_2))


SHAPES = [(a, b, y) for a in (2, 3, 4) for b in (2, 3, 4) for y in (2, 3, 4)]


@pytest.mark.parametrize("concentration", [1.0, 0.15])
def test_the_interval_holds_three_measures_on_a_thousand_joints(concentration: float) -> None:
    n_joints, wide = 0, 0
    for seed, shape in enumerate(SHAPES):
        joints = random_joints(seed, 20, *shape, concentration=concentration)
        span = interval(joints)
        n_joints, wide = n_joints + len(joints), wide + int((span.width > 1e-3).sum())
        results = {measure: pid(joints, measure) for measure in NON_NEGATIVE}
        for result in results.values():
            for part in PARTS:
                value, ends = getattr(result, part), getattr(span, part)
                assert (value >= 0).all()
                assert (value >= ends.lower - 2e-10).all() and (value <= ends.upper + 2e-10).all()
            total = result.redundant + result.unique_1 + result.unique_2 + result.complementary
            torch.testing.assert_close(total, span.information_joint, atol=1e-12, rtol=0)
        assert (results["broja"].redundant <= results["mmi"].redundant).all()
        torch.testing.assert_close(results["mmi"].redundant, span.redundant.upper, atol=1e-13, rtol=0)
    assert n_joints == 540 and wide > 300


def test_both_ends_are_attained_and_all_parts_have_the_same_width() -> None:
    joints = random_joints(2, 50, 3, 3, 2, concentration=0.4)
    span = interval(joints)
    least, most = span.at(span.redundant.lower), span.at(span.redundant.upper)
    for part in PARTS:
        ends = getattr(span, part)
        falls = part.startswith("unique")
        torch.testing.assert_close(getattr(least, part), ends.upper if falls else ends.lower, atol=1e-13, rtol=0)
        torch.testing.assert_close(getattr(most, part), ends.lower if falls else ends.upper, atol=1e-13, rtol=0)
        torch.testing.assert_close(ends.upper - ends.lower, span.width, atol=1e-13, rtol=0)
    copied = interval(named_system("COPY"))
    assert parts(copied.at(0.0)) == pytest.approx(parts(pid(named_system("COPY"), "broja")), abs=1e-9)


def test_a_chosen_redundancy_moves_all_parts() -> None:
    joint = named_system("AND")
    chosen = pid_at(joint, 0.1, "bits")
    assert parts(chosen) == pytest.approx((0.1, AND_EACH - 0.1, AND_EACH - 0.1, 0.6 - AND_EACH), abs=1e-12)
    total = sum(parts(chosen))
    assert total == pytest.approx(float(chosen.information_joint), abs=1e-12)
    assert chosen.measure == "chosen" and chosen.unit == "bits"
    slid = pid_at(joint, torch.linspace(0, AND_EACH, 100, dtype=torch.float64), "bits")
    assert slid.redundant.shape == slid.unique_1.shape == slid.complementary.shape == (100,)
    for outside in (-0.01, AND_EACH + 0.01, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"redundant.*0 to 0\.311278 bits|redundant[\s\S]*0 to 0\.311278 bits"):
            pid_at(joint, outside, "bits")


@pytest.mark.parametrize("measure", list(MEASURES))
def test_invariances(measure: str) -> None:
    joint = random_joints(4, 1, 3, 2, 3, concentration=0.5)[0]
    expected = parts(pid(joint, measure))
    swapped = parts(pid(joint.transpose(0, 1), measure))
    assert [swapped[0], swapped[2], swapped[1], swapped[3]] == pytest.approx(expected, abs=1e-9)
    assert parts(pid(joint[[2, 0, 1]][:, [1, 0]][:, :, [1, 2, 0]], measure)) == pytest.approx(expected, abs=1e-9)
    padded = torch.zeros(4, 4, 5, dtype=torch.float64)
    padded[1:, 1:3, :3] = joint
    assert parts(pid(padded, measure)) == pytest.approx(expected, abs=1e-9)
    bits = parts(pid(joint, measure, "bits"))
    assert [value * math.log(2) for value in bits] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("measure", list(MEASURES))
@pytest.mark.parametrize("shape", [(2, 3, 1), (1, 3, 2), (3, 1, 2), (1, 1, 1)])
def test_variables_of_one_value(measure: str, shape: tuple[int, int, int]) -> None:
    result = pid(random_joints(5, 1, *shape)[0], measure)
    first, second = float(result.information_1), float(result.information_2)
    expected = (0.0, first, second, 0.0)
    if shape[2] == 1:
        assert first == second == 0
    assert parts(result) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("measure", list(MEASURES))
def test_a_certain_outcome_and_independent_variables_carry_nothing(measure: str) -> None:
    certain = torch.zeros(2, 3, 2, dtype=torch.float64)
    certain[1, 2, 0] = 1.0
    assert parts(pid(certain, measure)) == [0, 0, 0, 0]
    independent = torch.full((2, 3, 2), 1 / 12, dtype=torch.float64)
    assert parts(pid(independent, measure)) == pytest.approx([0, 0, 0, 0], abs=1e-10)


@pytest.mark.parametrize("measure", list(MEASURES))
def test_batches_and_other_types_of_input(measure: str) -> None:
    joints = random_joints(6, 6, 2, 3, 2, concentration=0.5).reshape(2, 3, 2, 3, 2)
    together = pid(joints, measure)
    assert together.redundant.shape == (2, 3)
    alone = pid(joints[1, 2], measure)
    assert parts(alone) == pytest.approx([float(getattr(together, part)[1, 2]) for part in PARTS], abs=2e-10)
    for other in (joints[1, 2].numpy(), joints[1, 2].tolist(), joints.transpose(0, 1)[2, 1]):
        assert parts(pid(other, measure)) == pytest.approx(parts(alone), abs=1e-12)
    single = pid(joints[1, 2].float(), measure)
    assert single.redundant.dtype == torch.float64
    assert parts(single) == pytest.approx(parts(alone), abs=1e-5)
    assert pid(joints[:0], measure).redundant.shape == (0, 3)


def test_tiny_probabilities_give_no_nan() -> None:
    joint = torch.tensor([[[1e-300, 0.5], [0.0, 1e-17]], [[0.25, 0.0], [1e-12, 0.25 - 1e-12]]], dtype=torch.float64)
    for measure in MEASURES:
        assert all(math.isfinite(part) for part in parts(pid(joint, measure)))


def test_largest_entropy_agrees_with_iterative_fitting() -> None:
    for concentration in (2.0, 0.7):
        p = random_joints(7, 1, 3, 2, 4, concentration=concentration)[0].numpy()
        fitted = np.full(p.shape, 1 / p.size)
        for _ in range(3000):
            for axis in range(3):
                fitted *= np.expand_dims(p.sum(axis) / fitted.sum(axis), axis)
        np.testing.assert_allclose(largest_entropy(p), fitted, atol=1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_largest_entropy_keeps_the_pairs_whatever_is_zero(seed: int) -> None:
    generator = np.random.default_rng(seed)
    p = generator.random((3, 4, 3)) * (generator.random((3, 4, 3)) < 0.45)
    p /= p.sum()
    q = largest_entropy(p)
    assert q.min() >= 0
    for axis in range(3):
        np.testing.assert_allclose(q.sum(axis), p.sum(axis), atol=1e-11)
    entropy_p, entropy_q = (-float((x[x > 0] * np.log(x[x > 0])).sum()) for x in (p, q))
    assert entropy_q >= entropy_p - 1e-11


@pytest.mark.parametrize("shape", [(5, 4, 2), (2, 3, 2), (5, 3, 1), (3, 1, 2), (3, 5, 4)])
def test_largest_entropy_of_probabilities_of_any_size(shape: tuple[int, int, int]) -> None:
    generator = np.random.default_rng(0)
    for _ in range(6):
        wide = np.exp(generator.normal(0, 8, shape)) * (generator.random(shape) < 0.6)
        wide[0, 0, 0] += wide.sum() == 0
        p = wide / wide.sum()
        q = largest_entropy(p)
        assert max(float(np.abs(q.sum(axis) - p.sum(axis)).max()) for axis in range(3)) < 1e-9


def test_the_chequerboard_frees_its_empty_cells() -> None:
    """With all pairs uniform, the largest entropy is uniform, though half of the cells start empty."""
    joint = named_system("XOR").numpy()
    np.testing.assert_allclose(largest_entropy(joint), np.full((2, 2, 2), 1 / 8), atol=1e-12)
    assert float(common_change_in_surprisal(joint)) == 0


@pytest.mark.parametrize(
    "informations",
    [(math.nan, 0.0, 1.0), (0.5, 0.5, 0.4), (-0.1, 0.5, 1.0), (0.5, 0.5, math.inf)],
)
def test_informations_that_cannot_be_are_refused(informations: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="interval_of"):
        interval_of(*(torch.tensor(value, dtype=torch.float64) for value in informations))


def test_rounding_of_informations_is_mended() -> None:
    first, second, both = (torch.tensor(value, dtype=torch.float64) for value in (-1e-12, 0.5, 0.5 - 1e-12))
    span = interval_of(first, second, both)
    assert [float(getattr(span, part).lower) for part in PARTS] == [0, 0, 0.5, 0]
    assert float(span.width) == 0


def test_wrong_options_are_refused() -> None:
    joint = named_system("AND")
    with pytest.raises(ValueError, match=r"measure[\s\S]*i_min, mmi, broja, ccs"):
        pid(joint, "wibral")
    with pytest.raises(ValueError, match=r"unit[\s\S]*'nats' or 'bits'"):
        interval(joint, "decibels")
    with pytest.raises(ValueError, match="sum"):
        interval(2 * joint)


def test_results_read_well_and_become_plain() -> None:
    joint = named_system("UNQ")
    result, span = pid(joint, "broja", "bits"), interval(joint, "bits")
    assert isinstance(result, PID) and isinstance(span, PIDInterval)
    assert repr(result).startswith("PID(broja: redundant=") and repr(result).endswith("bits)")
    assert "unique_1=1…1" in repr(span)
    assert result.to_dict()["unique_1"] == pytest.approx(1) and result.to_dict()["measure"] == "broja"
    assert span.to_dict()["redundant"] == {"lower": 0.0, "upper": 0.0}
    batch = pid(torch.stack((joint, joint)), "mmi")
    assert "batch (2,)" in repr(batch) and batch.to_dict()["redundant"] == [0.0, 0.0]
    assert float(result.error_bound) <= 2e-10 and float(batch.error_bound.max()) == 0
    with pytest.raises(AttributeError):
        result.redundant = batch.redundant  # type: ignore[misc]


def test_every_named_system_is_decomposed_by_every_measure() -> None:
    for name in SYSTEMS:
        for measure in MEASURES:
            assert all(math.isfinite(part) for part in parts(pid(named_system(name), measure)))

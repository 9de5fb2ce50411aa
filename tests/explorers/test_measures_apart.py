"""Random joints: measures against loops and a plain search, counts against loops, what is said of a picked joint."""

import itertools
import json
import math

import pytest
import torch
from scipy import optimize

from tests.explorers.inside import words_outside
from toolkit.disentanglement.broja import least_information
from toolkit.disentanglement.exact import pid
from toolkit.explorers import explore_measures_apart
from toolkit.explorers.measures_apart import MOST_RANKS, compute, describe, draw, histogram, sorted_joints
from toolkit.explorers.random_joints import KINDS, N_CCS, N_JOINTS, ORDERS, draw_joints, make_population


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def information(p, *axes):
    """I(y; the sources on ``axes``) of nested lists p[a][b][y], in bits."""
    sums, source, target = {}, {}, {}
    for a, b, y in itertools.product(range(len(p)), range(len(p[0])), range(len(p[0][0]))):
        key = tuple((a, b)[axis] for axis in axes)
        for table, name in ((sums, (key, y)), (source, key), (target, y)):
            table[name] = table.get(name, 0.0) + p[a][b][y]
    return sum(v * math.log2(v / source[key] / target[y]) for (key, y), v in sums.items() if v > 0)


def i_min(p):
    """Williams and Beer's redundancy by its formula, value of y by value of y."""
    n_first, n_second, n_target = len(p), len(p[0]), len(p[0][0])
    total = 0.0
    for y in range(n_target):
        of_y = sum(p[a][b][y] for a in range(n_first) for b in range(n_second))
        if of_y == 0:
            continue
        said = []
        for axis, size in ((0, n_first), (1, n_second)):
            specific = 0.0
            for value in range(size):
                cells = [(a, b) for a in range(n_first) for b in range(n_second) if (a, b)[axis] == value]
                both = sum(p[a][b][y] for a, b in cells)
                alone = sum(sum(p[a][b]) for a, b in cells)
                if both > 0:
                    specific += both / of_y * math.log2(both / alone / of_y)
            said.append(specific)
        total += of_y * min(said)
    return total


def test_uniform_joints():
    joints = draw_joints(KINDS[0], 20_000, generator=seeded())
    assert joints.shape == (20_000, 2, 2, 2) and joints.dtype == torch.float64 and bool((joints > 0).all())
    torch.testing.assert_close(joints.sum((1, 2, 3)), torch.ones(20_000, dtype=torch.float64))
    # Uniform on the simplex of 8 cells: mean 1/8, variance 7/576, covariance −1/576.
    cells = joints.reshape(-1, 8)
    covariance = cells.T.cov()
    wanted = torch.full((8, 8), -1 / 576, dtype=torch.float64) + torch.eye(8, dtype=torch.float64) / 72
    torch.testing.assert_close(cells.mean(0), torch.full((8,), 0.125, dtype=torch.float64), atol=0.004, rtol=0)
    torch.testing.assert_close(covariance, wanted, atol=6e-4, rtol=0)
    assert draw_joints(KINDS[1], 3, generator=seeded()).shape == (3, 3, 3, 3)


def test_functions_of_the_sources():
    joints = draw_joints(KINDS[2], 500, generator=seeded())
    assert joints.shape == (500, 3, 3, 3)
    assert bool(((joints > 0).sum(3) == 1).all())  # one y for each pair
    assert bool(((joints > 0).any(1).any(1)).all())  # every y in each joint
    torch.testing.assert_close(joints.sum((1, 2, 3)), torch.ones(500, dtype=torch.float64))
    shares = (joints > 0).double().mean(0)
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 3), atol=0.09, rtol=0)


def test_the_same_seed_gives_the_same_joints():
    for kind in KINDS:
        assert torch.equal(draw_joints(kind, 5, generator=seeded(3)), draw_joints(kind, 5, generator=seeded(3)))
        assert not torch.equal(draw_joints(kind, 5, generator=seeded(3)), draw_joints(kind, 5, generator=seeded(4)))
        assert torch.equal(make_population(kind, 20, 5).joints, draw_joints(kind, 20, generator=seeded()))


@pytest.mark.parametrize("kind", KINDS)
def test_redundancies_against_loops(kind):
    population = make_population(kind, 60, 12)
    assert [len(population.redundant[name]) for name in ("i_min", "mmi", "broja", "ccs")] == [60, 60, 60, 12]
    for place in range(60):
        p = population.joints[place].tolist()
        first, second, both = information(p, 0), information(p, 1), information(p, 0, 1)
        assert float(population.interval.redundant.lower[place]) == pytest.approx(max(0, first + second - both))
        assert float(population.redundant["mmi"][place]) == pytest.approx(min(first, second))
        assert float(population.redundant["i_min"][place]) == pytest.approx(i_min(p))
    for place in range(12):
        alone = pid(population.joints[place], "ccs", "bits")
        assert float(population.redundant["ccs"][place]) == pytest.approx(float(alone.redundant), abs=1e-12)


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_broja_against_a_plain_search(place):
    """Of 2 × 2 × 2 cells only one number for each y is free: minimise I_Q(Y; A, B) over both."""
    population = make_population(KINDS[0], 60, 12)
    # The widest intervals: there is something to find.
    joint = population.joints[sorted_joints(population, "the interval's ends")[place]]
    p = joint.tolist()
    move = [[1, -1], [-1, 1]]
    bounds = []
    for y in (0, 1):
        up = min(p[0][1][y], p[1][0][y])
        bounds.append((-min(p[0][0][y], p[1][1][y]), up))

    def together(steps):
        q = [[[max(0.0, p[a][b][y] + move[a][b] * steps[y]) for y in (0, 1)] for b in (0, 1)] for a in (0, 1)]
        return information(q, 0, 1)

    grid = [[low + (high - low) * k / 20 for k in range(21)] for low, high in bounds]
    start = min(itertools.product(*grid), key=together)
    inner = [min(max(step, low), high) for step, (low, high) in zip(start, bounds, strict=True)]
    least = optimize.minimize(together, inner, bounds=bounds, method="Nelder-Mead", options={"xatol": 1e-9}).fun
    redundant = information(p, 0) + information(p, 1) - least
    assert float(pid(joint, "broja", "bits").redundant) == pytest.approx(redundant, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_three_measures_lie_in_the_interval_in_this_order_before_anything_is_clamped(kind):
    population = make_population(kind)
    assert population.ordered == N_JOINTS
    some = population.joints[:30]
    raw = least_information(some)
    informations = population.interval
    total = (informations.information_1 + informations.information_2)[:30]
    broja = total - raw.information / math.log(2)
    lower, upper = informations.redundant.lower[:30], informations.redundant.upper[:30]
    by_value = torch.tensor([i_min(joint.tolist()) for joint in some], dtype=torch.float64)
    assert bool((lower <= broja + 1e-9).all() and (broja <= by_value + 1e-9).all() and (by_value <= upper + 1e-9).all())


@pytest.mark.parametrize("kind", KINDS)
def test_counts_and_distances_against_loops(kind):
    population = make_population(kind)
    lower, upper = population.interval.redundant.lower.tolist(), population.interval.redundant.upper.tolist()
    ccs = population.redundant["ccs"].tolist()
    assert len(ccs) == N_CCS
    beyond = [max(low - value, value - high) for value, low, high in zip(ccs, lower, upper, strict=False)]
    assert population.outside("ccs") == sum(value > 1e-9 for value in beyond) > 0
    assert [population.outside(name) for name in ("i_min", "mmi", "broja")] == [0, 0, 0]
    assert population.beyond("ccs").tolist() == pytest.approx(beyond)
    positions = [(value - low) / (high - low) for value, low, high in zip(ccs, lower, upper, strict=False)]
    assert population.positions("ccs").tolist() == pytest.approx(positions)
    assert population.positions("mmi").tolist() == pytest.approx([1.0] * N_JOINTS)
    for order, (first, second) in ORDERS.items():
        distances = population.apart(order)
        ranked = distances[sorted_joints(population, order)]
        assert bool((ranked.diff() <= 0).all())
        if second in population.redundant:
            pairs = zip(population.redundant[first].tolist(), population.redundant[second].tolist(), strict=True)
            assert distances.tolist() == pytest.approx([abs(a - b) for a, b in pairs])
    widths = [high - low for low, high in zip(lower, upper, strict=True)]
    assert population.apart("the interval's ends").tolist() == pytest.approx(widths)


@pytest.mark.parametrize("order", ORDERS)
def test_a_picked_joint_is_that_of_the_population(order):
    for rank in (1, 7, MOST_RANKS):
        found = compute(KINDS[1], order, rank)
        population = found.population
        assert found.index == int(sorted_joints(population, order)[rank - 1])
        assert torch.equal(found.joint, population.joints[found.index])
        for measure, values in population.redundant.items():
            if found.index < len(values):
                expected = float(values[found.index])
                assert float(found.measures[measure].redundant) == pytest.approx(expected, abs=1e-9)
        ends = found.interval.redundant
        value = float(found.measures["ccs"].redundant)
        assert found.outside("ccs") == (not float(ends.lower) <= value <= float(ends.upper))
        assert found.position("mmi") == pytest.approx(1)


def test_the_histogram():
    positions = torch.tensor([1.0, 1 - 1e-12, 0.0, -1e-15, 0.26, 7.0, -3.0, 1.3], dtype=torch.float64)
    shares = histogram(positions)
    assert sum(shares) == pytest.approx(1) and len(shares) == 40
    eighth = 0.125
    # From −0.5 to 1.5 by 0.05: both ends of the interval fall inside it, what lies beyond into the last bins.
    assert shares[29] == shares[10] == 2 * eighth and shares[30] == 0 and shares[9] == 0
    assert shares[15] == shares[36] == shares[39] == shares[0] == eighth


def test_the_first_state_makes_the_point():
    view = explore_measures_apart()
    found = view.result
    assert found.population.kind == "3 values each" and found.rank == 1
    apart = float(found.measures["mmi"].redundant - found.measures["broja"].redundant)
    assert apart == pytest.approx(float(found.population.apart("MMI and BROJA").max())) and apart > 0.15
    assert "Never outside: I_min, MMI, BROJA; CCS leaves it in " in view.text
    assert "BROJA ≤ I_min ≤ MMI in all 1,000" in view.text
    picture = view.drawn.svg.to_string()
    assert "The same joint distribution: R = 0.037 bits by BROJA, 0.214 by MMI" in picture


def test_sentences_and_titles_follow_the_state():
    outside = compute(KINDS[0], "CCS and the interval", 1)
    count = outside.population.outside("ccs")
    assert f"CCS leaves it in {count} of {N_CCS}" in describe(outside) and f"Joint 1 of {N_CCS} by" in describe(outside)
    picture = draw(outside).to_string()
    assert "CCS leaves the interval: R = " in picture and f"{count} of {N_CCS} outside" in picture
    far = outside.population.positions("ccs")
    assert f"{int(((far < -0.5) | (far > 1.5)).sum())} beyond this axis" in picture
    inside = compute(KINDS[2], "CCS and the interval", MOST_RANKS)
    assert not inside.outside("ccs") and "CCS keeps to the interval here" in draw(inside).to_string()
    assert "Here I_min and MMI agree" in draw(compute(KINDS[0], "MMI and I_min", MOST_RANKS)).to_string()
    assert "leaves R open: " in draw(compute(KINDS[2], "the interval's ends", 1)).to_string()
    same = (outside.population.redundant["i_min"] - outside.population.redundant["mmi"]).abs() < 1e-9
    assert f"{int(same.sum())} the same as MMI" in picture


def test_results_are_plain_data():
    found = compute(KINDS[0], "MMI and BROJA", 2)
    again = json.loads(json.dumps(found.to_dict()))
    assert again["rank"] == 2 and again["measures"]["ccs"]["measure"] == "ccs" and again["index"] == found.index
    assert f"joint {found.index}" in repr(found)
    population = make_population(KINDS[0], 20, 5)
    assert repr(population) == "Population(20 joints, 2 values each, CCS of 5)"
    assert len(json.loads(json.dumps(population.to_dict()))["redundant"]["ccs"]) == 5


def test_every_end_of_every_control_draws():
    view = explore_measures_apart()
    ranks = itertools.cycle((1, MOST_RANKS))
    for (kind, order), rank in zip(itertools.product(KINDS, ORDERS), ranks, strict=False):
        for name, value in (("kind", kind), ("order", order), ("rank", rank)):
            view.controls[name].value = value
        assert view.error is None and "nan" not in view.drawn.svg.to_string()
        assert (view.result.population.kind, view.result.order, view.result.rank) == (kind, order, rank)
        assert words_outside(view.drawn.svg) == []
    view.reset()
    assert "R = 0.037 bits by BROJA" in view.drawn.svg.to_string() and view.png.startswith(b"\x89PNG")


def test_every_joint_that_can_be_picked_draws():
    for kind, order in itertools.product(KINDS, ORDERS):
        for rank in (7, 31):
            picture = draw(compute(kind, order, rank))
            assert words_outside(picture) == [] and "nan" not in picture.to_string()


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("kind", ("4 values each", "MMI and BROJA", 1)),
        ("order", (KINDS[0], "MMI", 1)),
        ("rank", (KINDS[0], "MMI and BROJA", 0)),
        ("rank", (KINDS[0], "CCS and the interval", N_CCS + 1)),
    ],
)
def test_out_of_range(argument, values):
    with pytest.raises(ValueError, match=argument):
        compute(*values)


def test_population_arguments():
    with pytest.raises(ValueError, match="n_ccs"):
        make_population(KINDS[0], 5, 6)
    with pytest.raises(ValueError, match="n_ccs"):
        make_population(KINDS[0], 0, 0)
    with pytest.raises(ValueError, match=r"draw_joints.*n"):
        draw_joints(KINDS[0], 0, generator=seeded())

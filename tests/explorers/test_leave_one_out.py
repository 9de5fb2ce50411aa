"""A hidden copy: informations against integrals by SciPy, sums over plain dictionaries, attacks and closed forms."""

import itertools
import json
import math
from collections import Counter

import pytest
import torch
from scipy import integrate

from tests.explorers.inside import words_outside
from toolkit.disentanglement import informations, mig, synthetic_codes, unibound
from toolkit.disentanglement.attacks import Redundancy
from toolkit.disentanglement.factorised import factorised_scores
from toolkit.explorers import explore_leave_one_out
from toolkit.explorers.hidden_copy import (
    DEVIATION,
    NUMBERS,
    WAYS,
    copy_deviation,
    make_setting,
    rotation,
    split_table,
    turned_information,
)
from toolkit.explorers.leave_one_out import CORRELATIONS, HIDDEN, compute, describe, draw


def binary_entropy(p):
    return 0.0 if p in (0, 1) else -(p * math.log2(p) + (1 - p) * math.log2(1 - p))


def by_scipy(row, deviation):
    """h(w) − h(w | y[0]), the density of w a plain sum over all values of y."""

    def density(w, first=(-1, 1)):
        codes = [y for y in itertools.product((-1, 1), repeat=len(row)) if y[0] in first]
        means = [sum(a * b for a, b in zip(row, y, strict=True)) for y in codes]
        return sum(math.exp(-(((w - m) / deviation) ** 2) / 2) for m in means) / (
            len(means) * deviation * math.sqrt(2 * math.pi)
        )

    def entropy(first):
        reach = sum(map(abs, row)) + 9 * deviation
        points = [reach * place / 8 for place in range(-7, 8)]

        def surprise(w):
            p = density(w, first)
            return -p * math.log2(p) if p > 0 else 0.0

        return integrate.quad(surprise, -reach, reach, limit=400, points=points, epsabs=1e-10)[0]

    return entropy((-1, 1)) - (entropy((-1,)) + entropy((1,))) / 2


@pytest.mark.parametrize(
    ("row", "deviation"),
    [((1.0, 0.0), 0.3), ((0.6, 0.8), 0.3), ((0.5, -0.5, 0.5, 0.5), 0.9), ((-0.2, 0.9, 0.1), 2.5), ((0.7, 0.7), 0.15)],
)
def test_a_turned_latent_against_an_integral(row, deviation):
    found = turned_information(torch.tensor(row, dtype=torch.float64), deviation)
    assert found == pytest.approx(by_scipy(row, deviation), abs=1e-8)


def test_a_turned_latent_at_the_ends():
    row = torch.tensor([0.6, 0.8], dtype=torch.float64)
    assert turned_information(row, math.inf) == 0 and turned_information(row, 1e6) == pytest.approx(0, abs=1e-9)
    assert turned_information(row, 1e-3) == pytest.approx(1)  # four levels, all apart
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    assert turned_information(half, 1e-3) == pytest.approx(0.5)  # the middle two meet


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("hidden", [0, 30, 100])
def test_the_rotation_is_one(number, hidden):
    matrix = rotation(number, hidden)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(number, dtype=torch.float64))
    assert float(matrix.det()) == pytest.approx(1)
    if hidden == 100:
        torch.testing.assert_close(matrix.abs(), torch.full_like(matrix, number**-0.5))
    if hidden == 0:
        torch.testing.assert_close(matrix, torch.eye(number, dtype=torch.float64))


def test_correlation_of_the_copy():
    for correlation in (0.1, 0.5, 0.95, 1.0):
        noise = copy_deviation(correlation)
        # Cov(z, copy) = var z, as the copy is z and noise of its own.
        assert (1 + DEVIATION**2) / math.sqrt((1 + DEVIATION**2) * (1 + noise**2)) == pytest.approx(correlation)
    assert copy_deviation(0.0) == math.inf


def strength(correlation):
    """The α of the attack αUz + e that gives a copy of this correlation."""
    return correlation / math.sqrt((1 - correlation**2) * (1 + DEVIATION**2))


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7, 0.95])
def test_unibound_is_that_of_the_papers_attack(number, correlation):
    exact = factorised_scores([[-1.0, 1.0]] * number, DEVIATION, strength(correlation))
    for hidden in (0, 50, 100):
        setting = make_setting("rotation", number, hidden, correlation)
        assert setting.unibound == pytest.approx(float(exact.unibound), abs=1e-9)
        assert float(setting.rest.width) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("number", "hidden", "correlation"), [(2, 50, 0.9), (4, 100, 0.7), (4, 30, 0.99)])
def test_the_rotated_copy_against_samples_of_it(number, hidden, correlation):
    codes = synthetic_codes((2,) * number, standard_deviation=DEVIATION, n_noise=0, dtype=torch.float64, device="cpu")
    attack = Redundancy(strength(correlation), rotation(number, hidden))
    found = informations(attack(codes), n_samples=4000, generator=torch.Generator().manual_seed(0))
    setting = make_setting("rotation", number, hidden, correlation)
    error = 4 * found.standard_error[:, :, 0] / math.log(2) + 1e-6
    single, without = found.single[:, 0] / math.log(2), found.without[:, 0] / math.log(2)
    assert ((single - torch.tensor(setting.single)).abs() <= error[0]).all()
    assert abs(float(without[0]) - float(setting.rest.information_2)) <= float(error[1, 0])
    # By symmetry the score of one factor is that of all.
    assert mig(found) == pytest.approx(setting.mig, abs=0.05)
    assert unibound(found) == pytest.approx(setting.unibound, abs=0.05)


def dictionary_information(table, places):
    """I(y; latents at ``places``) by sums over a dictionary, the last entry of each key being y."""

    def entropy(keep):
        sums = Counter()
        for key, probability in table.items():
            sums[tuple(key[place] for place in keep)] += probability
        return -sum(p * math.log2(p) for p in sums.values() if p > 0)

    return entropy(places) + entropy([-1]) - entropy([*places, -1])


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("hidden", [0, 30, 100])
@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_the_split_copy_against_plain_sums(number, hidden, correlation):
    table = Counter()
    for y, error in itertools.product((0, 1), repeat=2):
        for masks in itertools.product((0, 1), repeat=number - 1):
            probability = 0.5 * abs((1 - error) - (1 - correlation) / 2)
            for mask in masks:
                probability *= hidden / 200 if mask else 1 - hidden / 200
            table[(y, *masks, y ^ error ^ (sum(masks) % 2), y)] += probability
    setting = make_setting("XOR", number, hidden, correlation)
    for place, value in enumerate(setting.single):
        assert value == pytest.approx(dictionary_information(table, [place]), abs=1e-9)
    others = list(range(1, number + 1))
    together = dictionary_information(table, others)
    assert float(setting.rest.information_2) == pytest.approx(together, abs=1e-12)
    assert together == pytest.approx(1 - binary_entropy((1 - correlation) / 2), abs=1e-12)
    assert setting.unibound == pytest.approx(1 - together, abs=1e-12)
    assert setting.mig == pytest.approx(1 - max(setting.single[1:]), abs=1e-12)
    dense = split_table(number, hidden, correlation)
    assert all(float(dense[key]) == pytest.approx(value, abs=1e-15) for key, value in table.items())
    assert float(dense.sum()) == pytest.approx(1)


def test_a_copy_split_by_xor_is_seen_by_nobody_who_lacks_one_of_the_latents():
    table = split_table(4, 100, 1.0)
    for left_out in range(1, 5):
        kept = [axis for axis in range(1, 5) if axis != left_out]
        joint = table.sum((0, left_out)).reshape(-1, 2)
        assert len(kept) == 3 and torch.allclose(joint, joint.new_full(joint.shape, 1 / 16))
    assert make_setting("XOR", 4, 100, 1.0).mig == 1 and make_setting("XOR", 4, 100, 1.0).unibound == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", NUMBERS)
def test_mig_grows_with_hiding_and_unibound_does_not_care(way, number):
    found = compute(way, number, 40, 0.8)
    gaps, unibounds = found.by_hidden
    assert (gaps.diff() >= -1e-12).all() and gaps[-1] > gaps[0] + 0.1
    torch.testing.assert_close(unibounds, unibounds[:1].expand(len(HIDDEN)))
    assert gaps[0] == pytest.approx(float(unibounds[0]), abs=1e-9)  # in the open, one latent is the copy
    for curve in (found.by_hidden, found.by_correlation):
        assert (curve[1] <= curve[0] + 1e-12).all()
    assert (found.by_correlation.diff(dim=1) <= 1e-12).all()
    assert found.by_correlation[:, CORRELATIONS.index(0.8)].tolist() == [found.here.mig, found.here.unibound]
    assert float(found.by_correlation[1, -1]) == pytest.approx(0, abs=1e-12)


def test_the_first_state_makes_the_point():
    view = explore_leave_one_out()
    assert view.result.here.mig > 0.9 and view.result.here.unibound == pytest.approx(0, abs=1e-12)
    picture = view.drawn.svg.to_string()
    assert "MIG misses the copy: its gap is 0.91 bits, UniBound&#x27;s 0" in picture.replace("'", "&#x27;")
    assert "the runner-up z9 0.089, all other 15 latents together 0.998" in view.text
    assert "MIG's gap is 0.910, UniBound's 0 bits" in view.text


def test_sentences_and_titles_follow_the_state():
    assert "masks, 1 with probability 0.15" in describe(compute("XOR", 4, 30, 1.0))
    assert "one mask, 1 with probability 0.5" in describe(compute("XOR", 2, 100, 1.0))
    assert "turned by 13.5°" in describe(compute("rotation", 4, 30, 1.0))
    assert "There is no copy: both gaps are 1.00 bits" in draw(compute("rotation", 4, 30, 0.0)).to_string()
    assert "The copy lies open in one latent" in draw(compute("XOR", 4, 0, 0.5)).to_string()
    assert "MIG sees only a part of the copy" in draw(compute("rotation", 2, 80, 1.0)).to_string()


def test_results_are_plain_data():
    found = compute("XOR", 2, 50, 0.5)
    again = json.loads(json.dumps(found.to_dict()))
    assert again["here"]["unibound"] == pytest.approx(found.here.unibound) and len(again["by_hidden"][0]) == 11
    assert "2 latents" not in repr(found) and "XOR of 2, 50 % hidden" in repr(found)
    assert found.names == ("z1", "z2", "z3") and found.first_of_copy == 1
    assert compute("rotation", 2, 50, 0.5).first_of_copy == 2


def test_every_end_of_every_control_draws():
    view = explore_leave_one_out()
    for way, number, hidden, correlation in itertools.product(WAYS, NUMBERS, (0, 60, 100), (0.0, 0.15, 1.0)):
        values = {"way": way, "number": number, "hidden": hidden, "correlation": correlation}
        for name, value in values.items():
            view.controls[name].value = value
        assert view.error is None and "nan" not in view.drawn.svg.to_string()
        assert (view.result.way, view.result.number, view.result.hidden) == (way, number, hidden)
        assert words_outside(view.drawn.svg) == []
    view.reset()
    assert "the runner-up z9 0.089" in view.text and view.png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("way", ("copy", 2, 50, 0.5)),
        ("number", ("XOR", 3, 50, 0.5)),
        ("hidden", ("XOR", 2, 110, 0.5)),
        ("correlation", ("rotation", 2, 50, 1.5)),
        ("correlation", ("rotation", 2, 50, math.nan)),
    ],
)
def test_out_of_range(argument, values):
    with pytest.raises(ValueError, match=f"make_setting.*{argument}"):
        compute(*values)

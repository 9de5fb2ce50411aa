"""What UniBound does not see: exact scores against integration and draws, coinciding pictures against a count."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import norm

from tests.explorers.inside import words_outside
from toolkit.datasets import sprites
from toolkit.disentanglement import evaluate, informations, profile
from toolkit.explorers import explore_unseen_entanglement
from toolkit.explorers.unseen_entanglement import (
    BEST,
    CASES,
    FAR_ORDER,
    HIDDEN,
    MERGED,
    N_ORDERED,
    PERCENTS,
    SCORES,
    SHUFFLED,
    best_by_shape,
    best_share,
    codes_of,
    compute,
    describe,
    draw,
    exact_unibound,
    known_exactly,
    merged_codes,
    n_swaps,
    order_at,
    shuffled_codes,
    turned,
)


def shares_on_a_grid(codes):
    """I(y_k; z_l) / H(y_k) by sums over a fine grid of z."""
    z = np.linspace(-3, 3, 6001)
    rows = []
    for latent in range(2):
        mean, deviation = codes.mean[:, latent].numpy(), codes.standard_deviation[0, latent].item()
        density = norm.pdf(z[:, None], mean, deviation)
        row = []
        for k, size in enumerate(codes.factor_sizes):
            of_value = np.stack([density[:, codes.factors[:, k].numpy() == v].mean(1) for v in range(size)], axis=1)
            ratio = np.where(of_value > 1e-290, of_value / np.maximum(of_value.mean(1, keepdims=True), 1e-300), 1.0)
            row.append((of_value * np.log(ratio)).sum() * (z[1] - z[0]) / size / math.log(size))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("codes", [merged_codes(0.0), merged_codes(0.7), merged_codes(1.0), shuffled_codes(60)])
def test_exact_informations_are_the_integrals(codes):
    expected = shares_on_a_grid(codes)
    np.testing.assert_allclose(known_exactly(codes).numpy(), expected, atol=1e-7)
    gaps = np.abs(expected[0] - expected[1])
    assert exact_unibound(codes) == pytest.approx(gaps.mean(), abs=1e-7)


@pytest.mark.parametrize("percent", [40, 100])
def test_the_estimator_agrees_and_mig_is_the_same(percent):
    codes = codes_of(MERGED, percent)
    found = informations(codes, n_samples=4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = profile(found)
    error = 4 * float((found.standard_error[:2] / found.entropy).max()) + 1e-9
    assert scores.unibound == pytest.approx(exact_unibound(codes), abs=error)
    assert scores.mig == pytest.approx(scores.unibound, abs=1e-12)


def test_two_factors_in_one_latent_keep_unibound_and_lose_modularity_and_dci():
    found = compute(MERGED, 100)
    assert found.at("unibound") > 0.95 and found.at("dci") < 0.05 and found.at("modularity") < 0.6
    assert found.at("unibound", 80) < 0.6  # on the way the second factor is in both latents
    assert found.at("unibound", 0) > 0.99 and found.at("dci", 0) > 0.9
    codes = merged_codes(1.0)
    assert len(codes.mean[:, 0].unique()) == 16 and bool((codes.mean[:, 1] == 0).all())
    assert codes.mean[:, 0].tolist() == sorted(codes.mean[:, 0].tolist())


def test_scores_are_those_that_evaluate_gives():
    """Within what other points of the same code change."""
    scores = evaluate(codes_of(MERGED, 100), metrics=["modularity", "dci"], n_points=1600, generator=gen(5)).scores
    found = compute(MERGED, 100)
    assert scores["dci_disentanglement"] == pytest.approx(found.at("dci"), abs=0.05)
    assert scores["modularity"] == pytest.approx(found.at("modularity"), abs=0.25)


def gen(seed):
    return torch.Generator().manual_seed(seed)


def inversions(places):
    return sum(places[i] > places[j] for i in range(len(places)) for j in range(i + 1, len(places)))


def test_orders_are_as_many_swaps_of_neighbours_from_the_start():
    assert order_at(0) == tuple(range(N_ORDERED)) and order_at(100) == FAR_ORDER
    for percent in PERCENTS:
        order = order_at(percent)
        assert sorted(order) == list(range(N_ORDERED)) and inversions(order) == n_swaps(percent)
    assert np.corrcoef(order_at(100), range(N_ORDERED))[0, 1] == pytest.approx(0, abs=1e-12)


def test_an_order_changes_no_information_and_only_the_score_that_reads_values_as_numbers():
    found = compute(SHUFFLED, 100)
    assert max(found.scores["unibound"]) - min(found.scores["unibound"]) < 1e-12
    for name in set(SCORES) - {"sap_r_squared"}:
        assert max(found.scores[name]) - min(found.scores[name]) < 0.08, name
    falling = found.scores["sap_r_squared"]
    assert falling[0] > 0.95 and falling[-1] < 0.02 and list(falling) == sorted(falling, reverse=True)


def by_counting(images, values):
    """I(value; picture) / H(value), from a table of counts."""
    pictures = [image.numpy().tobytes() for image in images]
    n, of_both = len(pictures), Counter(zip(pictures, values.tolist(), strict=True))
    of_picture, of_value = Counter(pictures), Counter(values.tolist())
    known = sum(c / n * math.log(c * n / of_picture[p] / of_value[v]) for (p, v), c in of_both.items())
    return known / -sum(c / n * math.log(c / n) for c in of_value.values())


def test_best_scores_count_pictures_that_coincide():
    values = torch.tensor([0, 0, 1, 1, 2, 2])
    images = torch.tensor([0, 1, 1, 2, 3, 3])[:, None, None] == torch.arange(4)[:, None]
    assert best_share(images, values) == pytest.approx(by_counting(images, values), abs=1e-12)
    assert best_share(images[:1].repeat(6, 1, 1), values) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="two different"):
        best_share(images, torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize(("shape", "different"), [("square", 10), ("ellipse", 20), ("heart", 40)])
def test_even_steps_leave_as_many_pictures_as_the_symmetry_says(shape, different):
    assert best_by_shape(shape)["even"] == pytest.approx(math.log(different) / math.log(40), abs=1e-12)
    assert len(turned(shape).flatten(1).unique(dim=0)) == different


def test_at_dsprites_own_steps_a_heart_has_one_picture_twice():
    expected = 1 - 2 / 40 * math.log(2) / math.log(40)
    assert best_by_shape("heart")["dsprites"] == pytest.approx(expected, abs=1e-12)
    assert best_by_shape("square")["dsprites"] < expected
    first, last = sprites.render(torch.tensor([[0, 5, 0, 16, 16], [0, 5, 39, 16, 16]]))
    assert torch.equal(first, last)


@pytest.mark.parametrize("name", BEST)
def test_a_mixture_of_squares_and_hearts_has_the_mean_of_their_scores(name):
    """40 % squares: two of each square, three of each heart, all counted together."""
    grid = sprites.GRID.subgrid(shape=[0, 2], position_x=3, position_y=3)
    factors = grid.indices(device="cpu")
    if name == "even":
        values = grid.values_of(factors, dtype=torch.float64)
        values[:, 2] = 2 * math.pi * factors[:, 2] / 40
        images = sprites.render_values(values)
    else:
        images = sprites.render(factors, grid=grid)
    times = torch.where(factors[:, 0] == 0, 2, 3)
    expected = by_counting(images.repeat_interleave(times, 0), factors[:, 2].repeat_interleave(times))
    assert compute(HIDDEN, 40).at(name) == pytest.approx(expected, abs=1e-9)


def test_what_is_said():
    assert "UniBound, MIG 0.97 (was 1.00), exactly" in describe(compute(MERGED, 100))
    assert "(was" not in describe(compute(MERGED, 0))
    text = describe(compute(SHUFFLED, 100))
    assert "14 of 14 swaps" in text and "4, 7, 1, 6, 3, 8, 2, 5" in text and "SAP by R² 0 (was 0.99)" in text
    text = describe(compute(HIDDEN, 100))
    assert "knows 0.624 of the orientation's entropy" in text and "100 % squares" in text
    assert "out of order" in draw(compute(SHUFFLED, 20)).to_string()
    assert "10 different of 40" in draw(compute(HIDDEN, 20)).to_string()


def test_the_first_state_makes_the_point():
    view = explore_unseen_entanglement()
    assert "z1 holds both factors: UniBound is 0.97" in view.drawn.svg.to_string()


def test_every_setting_draws_inside_its_frame():
    view = explore_unseen_entanglement()
    seen = set()
    for case in CASES:
        view.controls["case"].value = case
        for percent in PERCENTS:
            view.controls["percent"].value = percent
            assert view.error is None and view.result.case == case and view.result.percent == percent
            text = view.drawn.svg.to_string()
            assert not words_outside(view.drawn.svg) and "…" not in text and "nan" not in text
            seen.add(text)
    assert len(seen) == len(CASES) * len(PERCENTS)
    view.reset()
    assert view.result.case == MERGED and view.result.percent == 100
    assert view.result.to_dict()["percent"] == 100 and "unibound 0.967" in repr(view.result)


@pytest.mark.parametrize("values", [("another", 0), (MERGED, 10), (HIDDEN, -20)])
def test_out_of_range(values):
    with pytest.raises(ValueError, match="compute"):
        compute(*values)


def test_codes_of_other_sizes_are_refused():
    codes = merged_codes(0.5)
    three = type(codes)(codes.mean.repeat(1, 2)[:, :3], codes.standard_deviation.repeat(1, 2)[:, :3], codes.factors)
    with pytest.raises(ValueError, match="two real latents"):
        exact_unibound(three)

"""Pairs of runs that a score cannot tell apart, and the better half, on profiles and scores made by hand."""

import math

import pytest

from toolkit.experiments.disentanglement_pairs import Bars, best_half, same_score_pairs


def bars(name, mig, redundant, complementary, seed=0):
    return Bars(name, seed, {"mig": mig}, {"redundant": redundant, "complementary": complementary})


SAME = (0.1, 0.2)


def test_only_runs_with_the_same_score_and_bars_apart_are_pairs():
    runs = [
        bars("a", 0.30, (0.00, 0.05), SAME),
        bars("b", 0.31, (0.20, 0.30), SAME),  # a pair with a
        bars("c", 0.50, (0.20, 0.30), SAME),  # another score
        bars("d", 0.305, (0.04, 0.25), SAME),  # overlaps with a and with b
    ]
    (pair,) = same_score_pairs(runs, score="mig", tolerance=0.02)
    assert (pair.first.name, pair.second.name, pair.part, pair.score) == ("a", "b", "redundant", "mig")
    assert pair.gap == pytest.approx(0.15) and pair.difference == pytest.approx(0.01)
    assert pair.to_dict()["second"]["parts"]["redundant"] == [0.20, 0.30]


def test_the_widest_gap_comes_first_and_the_nearer_scores_among_equals():
    runs = [
        bars("low", 0.10, (0.0, 0.0), (0.0, 0.0)),
        bars("mid", 0.10, (0.0, 0.0), (0.3, 0.4)),
        bars("far", 0.11, (0.0, 0.0), (0.6, 0.7)),
        bars("twin", 0.105, (0.0, 0.0), (0.6, 0.7)),
    ]
    found = same_score_pairs(runs, score="mig", tolerance=0.05)
    names = [(pair.first.name, pair.second.name) for pair in found]
    assert names == [("low", "twin"), ("low", "far"), ("low", "mid"), ("mid", "twin"), ("mid", "far")]
    assert [round(pair.gap, 10) for pair in found] == [0.6, 0.6, 0.3, 0.2, 0.2]


def test_of_two_parts_the_one_further_apart_counts_and_the_smaller_comes_first():
    runs = [bars("x", 0.2, (0.5, 0.6), (0.0, 0.1)), bars("y", 0.2, (0.0, 0.1), (0.15, 0.2))]
    (pair,) = same_score_pairs(runs, score="mig")
    assert (pair.part, pair.first.name, pair.second.name) == ("redundant", "y", "x")
    assert pair.gap == pytest.approx(0.4)
    (pair,) = same_score_pairs(runs, score="mig", parts=("complementary",))
    assert (pair.part, pair.first.name) == ("complementary", "x") and pair.gap == pytest.approx(0.05)


def test_bars_that_touch_and_scores_a_tolerance_apart_are_no_pair():
    touching = [bars("a", 0.25, (0.0, 0.25), SAME), bars("b", 0.25, (0.25, 0.5), SAME)]
    assert same_score_pairs(touching, score="mig") == ()
    apart = [bars("a", 0.25, (0.0, 0.1), SAME), bars("b", 0.5, (0.25, 0.5), SAME)]
    assert same_score_pairs(apart, score="mig", tolerance=0.25) == ()
    assert len(same_score_pairs(apart, score="mig", tolerance=0.2500001)) == 1


def test_seeds_of_one_model_are_pairs_too_and_nan_is_none():
    runs = [bars("a", 0.2, (0.0, 0.1), SAME, seed) for seed in (0, 1)] + [bars("b", math.nan, (0.5, 0.6), SAME)]
    assert same_score_pairs(runs, score="mig") == ()
    runs.append(bars("a", 0.2, (0.5, 0.6), SAME, 2))
    assert [(pair.first.seed, pair.second.seed) for pair in same_score_pairs(runs, score="mig")] == [(0, 2), (1, 2)]
    assert same_score_pairs([], score="mig") == ()


@pytest.mark.parametrize(
    "options", [{"tolerance": 0.0}, {"tolerance": math.nan}, {"score": "sap"}, {"parts": ()}, {"parts": ("unique",)}]
)
def test_bad_questions_are_refused(options):
    runs = [bars("a", 0.2, SAME, SAME), bars("b", 0.2, SAME, SAME)]
    with pytest.raises(ValueError, match="same_score_pairs"):
        same_score_pairs(runs, **{"score": "mig", **options})


def test_bars_have_two_ends_in_order():
    with pytest.raises(ValueError, match="redundant"):
        bars("a", 0.2, (0.3, 0.2), SAME)


def test_the_better_half():
    assert best_half([0.1, 0.4, 0.3, 0.2]) == (1, 2)
    assert best_half([0.1, 0.4, 0.3]) == (1, 2)
    assert best_half([0.5]) == (0,)
    assert best_half([0.2, 0.2, 0.2, 0.2]) == (0, 1)
    assert best_half([math.nan, 0.1, math.nan, -1.0]) == (1, 3)
    assert best_half([math.nan, math.nan, 0.0]) == (0, 2)
    with pytest.raises(ValueError, match="best_half"):
        best_half([])

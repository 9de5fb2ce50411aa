"""Pairs of recorded codes that a score calls equal are found, counted and shown."""

import itertools
import math

import pytest

from tests.explorers.inside import words_outside
from tests.explorers.made_profiles import bars, made_record, made_result, made_run
from toolkit.disentanglement.bounds import PARTS
from toolkit.explorers import explore_same_score
from toolkit.explorers.disentanglement_records import COMMAND, SCORES, recorded_runs
from toolkit.explorers.same_score import ANY, MODELS, MOST, SEEDS, TOLERANCES, compute, describe, draw


def two_models(first=0.20, second=0.21, complementary=(0.5, 0.6)):
    """Return a run of two models with two seeds each, the second model with other parts."""
    near = [made_result(seed, bars(), mig=first + 0.001 * seed) for seed in range(2)]
    far = [made_result(seed, bars(complementary=complementary), mig=second + 0.001 * seed) for seed in range(2)]
    return recorded_runs([made_record("VAE", near), made_record("betaVAE-4", far)])[0]


def apart(one, other, part):
    """Return the gap between the bars of two runs' means, as wide as the bootstrap makes them."""
    ends = []
    for result in (one, other):
        table = result.tables["profile"]
        (place,) = (
            at for at, where in enumerate(zip(table["factor"], table["part"], strict=True)) if where == ("mean", part)
        )
        ends.append((table["lower_low"][place], table["upper_high"][place]))
    return max(ends[0][0] - ends[1][1], ends[1][0] - ends[0][1])


@pytest.mark.parametrize("which", [ANY, MODELS, SEEDS])
@pytest.mark.parametrize("score", ["mig", "unibound"])
def test_pairs_are_those_that_a_search_by_hand_finds(which, score):
    run = recorded_runs(made_run())[0]
    every = [(record.variant, result) for record in run.records for result in record.results]
    alike, differing = 0, []
    for (name, one), (other_name, other) in itertools.combinations(every, 2):
        wanted = which == ANY or (name != other_name) == (which == MODELS)
        if wanted and abs(one.metrics[score] - other.metrics[score]) < 0.015:
            alike += 1
            gap = max(apart(one, other, part) for part in PARTS)
            differing += [gap] if gap > 0 else []
    found = compute(run, score, 0.015, which)
    assert (len(found.pairs), found.n_certain) == (alike, len(differing))
    assert [pair.gap for pair in found.pairs if pair.gap > 0] == pytest.approx(sorted(differing, reverse=True))
    assert found.n_compared == {ANY: 595, MODELS: 525, SEEDS: 70}[which]
    assert len({frozenset({(pair.first.name, pair.first.seed), (pair.second.name, pair.second.seed)})
                for pair in found.pairs}) == alike  # fmt: skip


def test_the_pair_is_shown_with_the_bars_of_its_two_runs():
    found = compute(two_models())
    assert (found.n_compared, found.n_certain, len(found.pairs)) == (4, 4, 4) and found.certain
    assert [group.name for group in found.groups] == ["1: VAE", "2: β-VAE 4"]
    assert found.groups[1].parts["complementary"].upper == 0.6 and found.pair.part == "complementary"
    assert found.pair.gap == pytest.approx(0.49 - 0.31)
    title = draw(found).to_string()
    assert "MIG 0.201 and 0.210, but complementary 0.20 to 0.30 and 0.50 to 0.60" in title
    text = describe(found)
    assert "MIG less than 0.02 apart: 4 of 4 pairs (two models). Of these, 4 have" in text
    assert "1: VAE, seed 1, MIG 0.201" in text and "0.180 of H(y)" in text
    assert found.to_dict()["pairs"][0]["part"] == "complementary" and "4 of 4" in repr(found)


def test_no_pair_is_said_and_drawn():
    found = compute(two_models(second=0.5))
    assert found.pair is None and found.groups == () and not found.certain
    assert "MIG less than 0.02 apart: 0 of 4 pairs (two models)" in describe(found)
    text = draw(found).to_string()
    assert "no such pair of runs" in text and "No two runs have the same MIG" in text


def test_bars_that_touch_are_shown_after_the_certain_ones_with_what_i_min_says():
    touching = compute(two_models(complementary=(0.31, 0.4)))  # the bootstrap's ends overlap
    assert touching.n_certain == 0 and len(touching.pairs) == 4 and not touching.certain
    assert touching.pair.part == "complementary" and touching.pair.first.name == "VAE" and touching.pair.gap == 0
    title = draw(touching).to_string()
    assert "complementary 0.25 and 0.35 by I_min, not for certain" in title.replace("0.36", "0.35")
    assert "bars overlap: whether they differ depends on the measure" in describe(touching)
    mixed = recorded_runs(
        [
            made_record("VAE", [made_result(0, bars(), mig=0.2)]),
            made_record("betaVAE-4", [made_result(0, bars(complementary=(0.25, 0.4)), mig=0.2)]),
            made_record("betaVAE-10", [made_result(0, bars(complementary=(0.5, 0.6)), mig=0.2)]),
        ]
    )[0]
    found = compute(mixed)
    assert (found.n_certain, [pair.second.name for pair in found.pairs]) == (2, ["betaVAE-10"] * 2 + ["betaVAE-4"])
    last = compute(mixed, place=2)
    assert not last.certain and last.pair.second.name == "betaVAE-4"


def test_runs_without_the_score_are_left_out():
    results = [made_result(seed, bars(), sap=value) for seed, value in enumerate((0.1, math.nan, 0.1))]
    (run,) = recorded_runs([made_record("VAE", results)])
    assert compute(run, "sap", which=SEEDS).n_compared == 1
    (run,) = recorded_runs([made_record("VAE", results[1:2])])
    none = compute(run, "sap")
    assert none.runs == () and describe(none).startswith("None of these runs has a SAP. Images: small sprites")
    draw(none)


def test_a_place_beyond_the_last_is_the_last_and_wrong_arguments_are_refused():
    run = two_models()
    assert compute(run, place=99).place == 3
    for arguments in ({"score": "information"}, {"tolerance": 0.0}, {"which": "three"}, {"place": -1}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            compute(run, **arguments)


def test_every_setting_of_the_view_works_and_none_is_dead():
    view = explore_same_score(made_run(n_seeds=3))
    assert view.error is None and view.values() == {"score": "mig", "tolerance": 0.02, "which": MODELS, "number": 1}
    for name in ("score", "tolerance", "which"):
        for _, value in view.controls[name].options:
            view.controls[name].value = value
            assert view.error is None and words_outside(draw(view.result)) == []
        view.reset()
    number = view.controls["number"]
    n_pairs = len(view.result.pairs)
    assert number.max == min(n_pairs, MOST) > 2 and not number.disabled
    number.value = number.max
    assert view.result.place == number.max - 1 and f"Pair {number.max} (" in view.text
    view.controls["tolerance"].value, view.controls["which"].value = 0.005, SEEDS  # seeds are 0.02 apart
    assert view.result.pairs == () and number.disabled and view.error is None
    view.reset()
    assert view.result.place == 0 and not number.disabled
    assert {value for _, value in view.controls["score"].options} == set(SCORES)
    assert {value for _, value in view.controls["tolerance"].options} == set(TOLERANCES)


def test_only_scores_that_were_recorded_are_offered():
    view = explore_same_score([made_record("VAE", [made_result(0, bars())])])
    assert "sap" in {value for _, value in view.controls["score"].options}
    one = made_result(0, bars())
    bare = type(one)(0, {"unibound": 0.1}, {}, one.tables)
    view = explore_same_score([made_record("VAE", [bare])])
    assert [value for _, value in view.controls["score"].options] == ["unibound"] and view.error is None


def test_of_several_runs_one_is_picked():
    view = explore_same_score([*made_run(n_seeds=2), made_record("VAE", [made_result(0, bars())], scale="quick")])
    view.controls["run"].value = view.controls["run"].options[1][1]
    assert view.error is None and len(view.result.runs) == 1 and view.controls["number"].disabled


def test_without_a_record_the_view_says_what_makes_one():
    view = explore_same_score([])
    assert view.error is None and view.controls == {} and COMMAND in view.text
    draw(view.result)

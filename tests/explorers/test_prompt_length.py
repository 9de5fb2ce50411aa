"""Decoders by prompt length: values, ratios and verdicts are those of the record, whatever it says."""

import math

import numpy as np
import pytest

from tests.explorers.inside import words_outside
from tests.explorers.made_metadata import GRID, made_record, made_result, made_run
from toolkit.experiments.metadata_conditioning_comparison import compare
from toolkit.explorers import explore_prompt_length
from toolkit.explorers.metadata_records import ALL, ANY, COMMAND, KL, LOSS, MEASURES, TRUE, recorded_runs
from toolkit.explorers.prompt_length import AGAINST, EACH, compute, describe, draw, fitted


def run_of(*arguments, **options):
    return recorded_runs(made_run(*arguments, **options))[0]


def test_values_are_means_and_standard_deviations_over_seeds():
    found = compute(run_of(kl=0.2, short=1.5), 0)
    arm, baseline, fewer = found.models
    assert (arm.name, baseline.name, fewer.name) == ("D_M = 3", "baseline", "fewer steps")
    assert arm.values[0] == pytest.approx(0.301) and baseline.values[0] == pytest.approx(0.201)
    assert arm.high[0] - arm.values[0] == pytest.approx(0.001) and fewer.values[0] == pytest.approx(0.501)
    assert found.length == 0 and found.deepest is arm and not found.is_ratio
    assert arm.differences[0].mean == pytest.approx(0.1) and not baseline.differences
    assert found.to_dict()["models"][0]["values"][0] == pytest.approx(0.301) and "0 tokens" in repr(found)


def test_ratios_and_differences_are_those_of_the_study():
    records = made_run(kl=0.2, short=1.5, long=0.5, jitter=0.2)
    (run,) = recorded_runs(records)
    study = compare(records[2], records[0])
    ratio = compute(run, 0, KL, 3, "baseline").models[0]
    spread = [study.ratio_spread[k] for k in GRID]
    assert ratio.values == pytest.approx([study.ratio[k] for k in GRID])
    assert ratio.high / ratio.values == pytest.approx(np.exp(spread))
    assert ratio.values / ratio.low == pytest.approx(np.exp(spread))
    assert [one.mean for one in ratio.differences] == pytest.approx([study.kl[k].mean for k in GRID])
    accuracy = compute(run, 0, ANY, 3, "baseline").models[0]
    assert accuracy.values == pytest.approx([one.mean for one in study.acc_any])


@pytest.mark.parametrize(
    ("short", "long", "at_first", "at_last"),
    [(1.5, 0.5, "worse", "better"), (0.5, 1.5, "better", "worse"), (1.0, 1.0, "no clear", "no clear")],
)
def test_the_title_says_what_the_record_says(short, long, at_first, at_last):
    run = run_of(short=short, long=long, jitter=0.02)
    for length, words in ((0, at_first), (GRID[-1], at_last)):
        for against in (EACH, "baseline"):
            found = compute(run, length, KL, 3, against)
            assert words in draw(found).to_string().split("KL")[1] or words in describe(found)
            title = next(s.string for s in draw(found)._shapes if hasattr(s, "string"))
            assert words in title


def test_one_seed_gives_no_verdict_and_no_bars():
    found = compute(run_of(seeds=(0,)), 0)
    assert "one seed says nothing" in describe(found) and "better or worse is" in describe(found)
    assert all(math.isnan(value) for value in found.models[0].high)
    assert "±" not in describe(found).partition("Bars")[0]


def test_only_common_seeds_are_compared():
    first, second = made_run(seeds=(0, 1)), made_run(seeds=(1, 2))
    (run,) = recorded_runs([*first[:2], second[2]])
    assert compute(run).models[0].differences[0].n == 1
    (apart,) = recorded_runs([*made_run(seeds=(0,))[:2], made_run(seeds=(1,))[2]])
    found = compute(apart, 0, KL, 3, "baseline")
    assert np.isnan(found.models[0].values).all() and "no seed in common" in describe(found)
    draw(found)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("against", AGAINST.values())
@pytest.mark.parametrize("depth", [1, ALL])
def test_every_setting_draws_inside_the_picture(measure, against, depth):
    run = run_of((1, 2, 3, 4, 5), n_levels=5, grid=(0, 1, 2, 3, 4, 8, 16, 32, 64, 128), jitter=0.1)
    for length in (0, 10, 999):
        found = compute(run, length, measure, depth, against)
        assert words_outside(draw(found)) == []
        assert len(found.models) == (1 if depth == 1 else 5) + (2 if against == EACH else 0)


def test_optimum_and_attainable_bounds_are_black_and_exact():
    run = run_of()
    for measure, words in ((LOSS, "optimum"), (ANY, "attainable"), (TRUE, "perfect sampler")):
        assert words in draw(compute(run, 0, measure)).to_string()
    assert "perfect sampler" not in draw(compute(run, 0, TRUE, 3, "baseline")).to_string()
    assert "A perfect sampler has 12 %; attainable are 22 %" in describe(compute(run, 0, TRUE))
    assert "The best predictor has 1.000" in describe(compute(run, 0, LOSS))


def test_zero_divergence_and_missing_numbers_are_no_error():
    perfect = compute(run_of(kl=0.0, seeds=(0,)), 0, KL, 3, "baseline")
    assert np.isnan(perfect.models[0].values).all()
    draw(perfect)
    draw(compute(run_of(kl=0.0, seeds=(0,)), 0))
    assert "was not measured" in draw(perfect).to_string()


def test_wrong_arguments_are_named():
    run = run_of(control=False)
    for arguments, name in (
        ({"measure": "speed"}, "measure"),
        ({"length": -1}, "length"),
        ({"against": "nobody"}, "against"),
        ({"against": "fewer-steps"}, "name"),
    ):
        with pytest.raises(ValueError, match=name):
            compute(run, **arguments)


def test_without_a_record_the_view_says_what_makes_one():
    view = explore_prompt_length([])
    assert COMMAND in view.text and view.error is None and "recorded here" in draw(compute(None)).to_string()


def test_the_view_follows_its_controls_and_offers_what_is_recorded():
    view = explore_prompt_length(made_run((1, 3)))
    assert view.error is None and view.values() == {"length": 4, "measure": KL, "depth": 3, "against": EACH}
    view.controls["depth"].value = ALL
    view.controls["against"].value = "fewer-steps"
    view.controls["length"].value = 16
    assert view.error is None and "D_M = 1" in view.text and "fewer steps" in view.text
    assert "16 tokens" in view.text
    lonely = explore_prompt_length(made_run((3,), control=False))
    assert [name for name, _ in lonely.controls["against"].options] == [EACH, "against the baseline"]


def test_of_two_runs_each_can_be_chosen():
    other = [made_record("baseline", [made_result(0, 0, grid=(0, 1, 3))], family="small"),
             made_record("D_M=2", [made_result(0, 2, grid=(0, 1, 3))], family="small")]  # fmt: skip
    view = explore_prompt_length(made_run((1, 3)) + other)
    view.controls["against"].value = "fewer-steps"
    view.controls["run"].value = next(name for name, _ in view.controls["run"].options if "small" in name)
    assert view.error is None and "Family small" in view.text
    assert [value for _, value in view.controls["length"].options] == [0, 1, 3]
    view.reset()
    assert view.error is None and "Family made" in view.text


def test_titles_are_shortened_by_choice():
    assert fitted("short", "x") == "short" and fitted("w" * 200, "x" * 200, "y") == "y"

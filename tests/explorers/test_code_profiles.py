"""Recorded profiles of codes are shown as the records have them; what is not recorded is said."""

import math

import numpy as np
import pytest

from tests.explorers.inside import words_outside
from tests.explorers.made_profiles import FACTORS, NAMES, bars, made_record, made_result, made_run
from toolkit.disentanglement.bounds import PARTS
from toolkit.explorers import explore_code_profiles
from toolkit.explorers.code_profiles import FACTORS as BY_FACTOR
from toolkit.explorers.code_profiles import MODELS, SEEDS, compute, describe, draw
from toolkit.explorers.disentanglement_records import (
    ALL,
    COMMAND,
    SCORES,
    chosen,
    not_recorded,
    parts_of,
    recorded_runs,
    short_title,
    title_of,
    where_recorded,
)
from toolkit.explorers.profile_bars import MOST, highest


@pytest.fixture(scope="module")
def run():
    return recorded_runs(made_run())[0]


def column(record, name, factor, part):
    """Read a column of every run's profile by hand."""
    found = []
    for result in record.results:
        table = result.tables["profile"]
        for place, where in enumerate(zip(table["factor"], table["part"], strict=True)):
            if where == (factor, part):
                found.append(table[name][place])
    return np.array(found)


def test_records_of_one_setting_are_one_run_in_the_order_of_the_study():
    records = made_run()
    (run,) = recorded_runs(records[::-1])
    assert tuple(record.variant for record in run.records) == NAMES and run.factors == FACTORS
    assert run.label == "laptop scale: sprites, multilayer networks, 4,000 steps"
    assert run.models["β-TCVAE, β = 6"] == "betaTCVAE-6" and "FactorVAE-10" in repr(run)


def test_the_largest_scale_comes_first_and_other_settings_stand_apart():
    quick = made_record("VAE", [made_result(0, bars())], scale="quick")
    paper = made_record("betaVAE-4", [made_result(0, bars())], scale="paper")
    wider = made_record("VAE", [made_result(0, bars())], hidden="512-512")
    runs = recorded_runs([quick, *made_run(), paper, wider])
    assert [run.records[0].scale for run in runs] == ["paper", "laptop", "laptop", "quick"]
    assert len({run.label for run in runs}) == 4


def test_of_one_model_the_record_with_the_most_seeds_counts_and_of_equal_ones_the_newest():
    old = made_record("VAE", [made_result(seed, bars()) for seed in range(2)], date="2026-01-01T00:00:00Z")
    new = made_record("VAE", [made_result(seed, bars()) for seed in (5, 6)], date="2026-02-01T00:00:00Z")
    few = made_record("VAE", [made_result(9, bars())], date="2026-03-01T00:00:00Z")
    (run,) = recorded_runs([few, new, old])
    assert [record.seeds for record in run.records] == [(5, 6)]


def test_synthetic_encoders_and_other_studies_are_left_out():
    other = made_record("VAE", [made_result(0, bars())], study="imsat-clustering")
    result = made_result(0, bars())
    tables = {name: table for name, table in result.tables.items() if name != "trained"}
    synthetic = made_record("synthetic", [type(result)(0, result.metrics, {}, tables)])
    assert recorded_runs([other, synthetic]) == ()


def test_titles_of_models_that_the_study_knows_and_of_one_that_it_does_not():
    assert title_of("DIPVAE-II-10") == "DIP-VAE II, λ = 10" and short_title("DIPVAE-II-10") == "DIP-VAE II 10"
    assert short_title("VAE") == "VAE" and title_of("nobody's") == short_title("nobody's") == "nobody's"


def test_the_better_half_is_chosen_by_each_score_and_rounded_up():
    values = (0.3, 0.9, math.nan, 0.7, 0.1)
    record = made_record("VAE", [made_result(seed, bars(), sap=value) for seed, value in enumerate(values)])
    assert [result.seed for result in chosen(record, "sap")] == [0, 1, 3]
    assert chosen(record, ALL) == record.results
    with pytest.raises(ValueError, match="by"):
        chosen(record, "information")


def test_parts_of_one_run_have_the_bootstrap_and_those_of_several_the_range(run):
    record = run.record("betaVAE-4")
    for part in PARTS:
        one = parts_of(record.results[1:2], "scale")[part]
        assert one.lower == column(record, "lower", "scale", part)[1] and one.n_runs == 1
        low, high = (column(record, name, "scale", part)[1] for name in ("upper_low", "upper_high"))
        assert one.upper_range == (low, high) and one.i_min_range is None
        every = parts_of(record.results, "scale")[part]
        upper = column(record, "upper", "scale", part)
        assert every.upper == pytest.approx(upper.mean()) and every.upper_range == (upper.min(), upper.max())
        points = column(record, "i_min", "scale", part)
        assert every.i_min == pytest.approx(points.mean()) and every.i_min_range == (points.min(), points.max())
        assert every.lower <= every.i_min <= every.upper and every.n_runs == 5
    with pytest.raises(ValueError, match="factor"):
        parts_of(record.results, "colour")
    with pytest.raises(ValueError, match="at least one"):
        parts_of([])


def test_ends_that_draws_turned_round_make_no_bar_of_negative_height():
    result = made_result(0, bars(unique=(0.200004, 0.2)))
    assert parts_of([result])["unique"].upper == 0.200004


def test_models_side_by_side_are_means_over_the_chosen_seeds(run):
    found = compute(run, MODELS, by="mig")
    assert [(group.name, group.note) for group in found.groups][3] == ("β-TCVAE", "β = 6")
    for record, group in zip(run.records, found.groups, strict=True):  # MIG grows with the seed: 2, 3 and 4
        for part in PARTS:
            assert group.parts[part].lower == pytest.approx(column(record, "lower", "mean", part)[2:].mean())
    assert found.several and found.runs == "the better half of the seeds by MIG (3 of each model)"
    single = compute(run, MODELS, factor="position_x").groups[0].parts["redundant"]
    assert single.upper == pytest.approx(column(run.records[0], "upper", "position_x", "redundant").mean())


def test_factors_and_seeds_side_by_side(run):
    by_factor = compute(run, BY_FACTOR, model="FactorVAE-10")
    assert [group.name for group in by_factor.groups] == [name.replace("_", " ") for name in FACTORS]
    record = run.record("FactorVAE-10")
    expected = column(record, "lower", "orientation", "complementary").mean()
    assert by_factor.groups[2].parts["complementary"].lower == pytest.approx(expected)
    by_seed = compute(run, SEEDS, model="VAE", by="sap")  # falls with the seed
    assert [group.name for group in by_seed.groups] == ["seed 0", "seed 1", "seed 2"] and not by_seed.several
    assert by_seed.to_dict()["groups"][0]["parts"]["unique"]["n_runs"] == 1


def test_the_title_and_the_sentence_follow_the_state(run):
    text = describe(compute(run))
    assert "mean over factors, means over all 5 seeds" in text and "VAE: U 0.02 to 0.12 (0.07)" in text
    assert where_recorded(run) in text and "seeds 0, 1, 2, 3, 4 on 2026-01-01: A processor, torch 2.0" in text
    title = draw(compute(run)).to_string()
    assert "Most unique: JointVAE 10 (≥ 0.28); most complementary: VAE (≥ 0.38)" in title
    assert "Most unique: seed 4 (≥ 0.04)" in draw(compute(run, SEEDS, "VAE")).to_string()
    factors = draw(compute(run, BY_FACTOR, "VAE")).to_string()  # the last factor is the highest in everything
    assert "position y has most of both: unique ≥ 0.02, complementary ≥ 0.38" in factors
    nothing = made_record("VAE", [made_result(0, bars(complementary=(0.0, 0.1))) for _ in range(1)])
    other = made_record("betaVAE-4", [made_result(0, bars(complementary=(0.001, 0.1)))])
    assert "nothing is certainly complementary" in draw(compute(recorded_runs([nothing, other])[0])).to_string()
    alone = draw(compute(recorded_runs([nothing])[0])).to_string()
    assert "VAE: at least 0.10 unique, 0 redundant, 0 complementary" in alone


def test_unknown_comparisons_and_models_are_refused(run):
    with pytest.raises(ValueError, match="compare"):
        compute(run, "latents")
    with pytest.raises(ValueError, match="model"):
        compute(run, SEEDS, "betaVAE-5")
    with pytest.raises(ValueError, match="factor"):
        compute(run, MODELS, factor="colour")


@pytest.mark.parametrize("n_models", [1, 2, MOST, MOST + 1, 23])
def test_any_number_of_models_fits_the_picture(n_models):
    records = made_run([f"betaVAE-{number}" for number in range(n_models)], n_seeds=2)
    found = compute(recorded_runs(records)[0])
    picture = draw(found)
    assert words_outside(picture) == [] and len(found.groups) == n_models
    assert picture.to_string().count("β = ") == n_models
    assert len(describe(found)) < 1100


def test_full_and_empty_bars_stay_inside():
    full = made_result(0, bars((1.0, 1.0), (0.0, 0.0), (0.0, 0.0)), error=0.2)
    (run,) = recorded_runs([made_record("VAE", [full])])
    found = compute(run)
    assert highest(found.groups) == 1.04
    draw(found)


def test_the_view_has_no_dead_control_and_every_setting_works():
    view = explore_code_profiles(made_run(n_seeds=3))
    assert view.error is None and "Most unique" in view.drawn.to_html("x")
    for compare in (MODELS, BY_FACTOR, SEEDS):
        view.controls["compare"].value = compare
        assert view.controls["model"].disabled == (compare == MODELS)
        assert view.controls["factor"].disabled == (compare == BY_FACTOR)
        for name in ("model", "factor", "by"):
            for _, value in view.controls[name].options:
                before = view.text
                changes = not view.controls[name].disabled and value != view.controls[name].value
                view.controls[name].value = value
                assert view.error is None and words_outside(draw(view.result)) == []
                assert not changes or view.text != before
    view.reset()
    assert view.result.compare == MODELS
    assert {value for _, value in view.controls["by"].options} == {ALL, *SCORES}


def test_of_several_runs_one_is_picked():
    small = [made_record("VAE", [made_result(0, bars((0.5, 0.6)))], scale="quick")]
    view = explore_code_profiles([*small, *made_run()])
    assert len(view.controls["run"].options) == 2 and len(view.result.groups) == len(NAMES)
    view.controls["compare"].value = SEEDS
    view.controls["model"].value = "betaVAE-10"
    view.controls["run"].value = view.controls["run"].options[1][1]
    assert view.error is None and view.result.what == "VAE, mean over factors"
    assert [value for _, value in view.controls["model"].options] == ["VAE"]
    view.reset()
    assert view.values() == view.defaults and len(view.result.groups) == len(NAMES)


def test_without_a_record_the_view_says_what_makes_one():
    view = explore_code_profiles([])
    assert view.error is None and view.controls == {} and COMMAND in view.text == not_recorded()
    assert "No trained models are recorded" in draw(view.result).to_string()

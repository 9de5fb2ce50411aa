"""Records of metadata conditioning are sorted into runs, and their numbers are those of the records."""

import math

import numpy as np
import pytest

from tests.explorers.made_metadata import GRID, made_record, made_result, made_run
from toolkit.experiments.metadata_conditioning_comparison import Difference
from toolkit.explorers.metadata_records import (
    ALL,
    ANY,
    COMMAND,
    KL,
    LOSS,
    MEASURES,
    TRUE,
    counting_error,
    depth_choice,
    depth_options,
    difference,
    fitting,
    in_words,
    length_slider,
    measured,
    name_of,
    not_recorded,
    number,
    only_paired,
    recorded_runs,
    spread,
    title_of,
    where_recorded,
)


def test_a_run_has_its_baselines_first_and_its_arms_by_depth():
    (run,) = recorded_runs(made_run((3, 1, 2))[::-1])
    assert [name_of(record) for record in run.records] == ["baseline", "fewer-steps", "D_M=1", "D_M=2", "D_M=3"]
    assert run.depths == (1, 2, 3) and run.n_levels == 3 and run.lengths == GRID
    assert [name_of(record) for record in run.controls] == ["baseline", "fewer-steps"]
    assert title_of(run.arm(2)) == "D_M = 2" and title_of(run.control("fewer-steps")) == "fewer steps"
    assert "D_M=2" in repr(run)
    with pytest.raises(ValueError, match="depth"):
        run.arm(4)
    with pytest.raises(ValueError, match="name"):
        run.control("D_M=1")


def test_the_largest_scale_then_the_most_models_then_the_newest_run_comes_first():
    quick = made_run((1, 2, 3), scale="quick")
    few = made_run((3,), date="2026-02-01T00:00:00Z", cooldown=0.1)
    many = made_run((2, 3))
    runs = recorded_runs(quick + few + many)
    assert [len(run.records) for run in runs] == [4, 3, 5]
    assert len({run.label for run in runs}) == 3
    families = recorded_runs(made_run(family="one") + made_run(family="other", date="2026-03-01T00:00:00Z"))
    assert [run.family for run in families] == ["other", "one"]


def test_of_records_of_one_model_that_with_the_most_seeds_and_then_the_newest_counts():
    run = made_run(seeds=(0, 1))
    newer = made_run(seeds=(0,), date="2026-05-01T00:00:00Z")
    assert {record.seeds for record in recorded_runs(run + newer)[0].records} == {(0, 1)}
    again = made_run(seeds=(0, 1), date="2026-05-01T00:00:00Z")
    assert {record.date for record in recorded_runs(again + run)[0].records} == {"2026-05-01T00:00:00Z"}


def test_what_is_not_a_whole_run_is_left_out():
    baseline, control, arm = made_run()
    assert recorded_runs([]) == () == recorded_runs([baseline, control]) == recorded_runs([control, arm])
    assert len(recorded_runs([baseline, arm])) == 1
    empty = made_record("baseline", [made_result(0, 0)])
    empty.results[0].metrics.clear()  # of a process that only helped to train
    assert recorded_runs([empty, arm]) == ()
    assert COMMAND in not_recorded() and "--out data/runs" in COMMAND


def test_numbers_are_the_records_own_by_length():
    (run,) = recorded_runs(made_run(kl=0.2, short=1.5, long=0.5, accuracy=0.4))
    lengths = run.lengths
    kl = measured(run.baseline, KL, lengths)
    assert kl.shape == (3, len(GRID)) and np.allclose(kl, 0.2 + 0.001 * np.arange(3)[:, None])
    arm = measured(run.arm(3), KL, lengths)
    assert arm[0, 0] == pytest.approx(0.3) and arm[0, -1] == pytest.approx(0.1)
    best = np.array([1.0 - 0.001 * k for k in lengths])
    assert np.allclose(measured(run.baseline, LOSS, lengths), kl + best)
    assert np.allclose(run.exact("loss, 0 known"), best)
    assert np.allclose(measured(run.arm(3), ANY, lengths)[2], 0.402)
    assert np.allclose(measured(run.arm(3), TRUE, lengths)[2], 0.201)
    assert np.isnan(measured(run.baseline, ANY, [5])).all()
    with pytest.raises(ValueError, match="measure"):
        measured(run.baseline, "speed", lengths)


def test_spreads_and_differences_are_those_over_seeds():
    mean, deviation = spread(np.array([[1.0, 2.0], [3.0, 2.0]]))
    assert mean.tolist() == [2, 2] and deviation == pytest.approx([math.sqrt(2), 0])
    assert np.isnan(spread(np.ones((1, 2)))[1]).all()
    found = difference([1.0, 3.0])
    assert (found.mean, found.standard_error, found.n) == (2.0, pytest.approx(1.0), 2)
    missing = difference([1.0, math.nan])
    assert math.isnan(missing.mean) and missing.n == 2 and missing.sign == 0
    assert difference([1.0, 1.0], 0.5).standard_error == 0.5
    assert difference([]).n == 0 and math.isnan(difference([1.0]).standard_error)
    one, other = made_record("D_M=3", [made_result(s, 3) for s in (2, 0)]), made_record("baseline", [made_result(0, 0)])
    rows, others = only_paired(one, other, np.array([[1.0], [2.0]]), np.array([[5.0]]))
    assert rows.tolist() == [[2.0]] and others.tolist() == [[5.0]]


def test_few_completions_that_agree_by_chance_say_nothing():
    few = [made_record(name, [made_result(s, depth, accuracy=right, n=20) for s in (0, 1)])
           for name, depth, right in (("D_M=3", 3, 0.0), ("baseline", 0, 0.05))]  # fmt: skip
    error = counting_error(*few, ANY, GRID)
    p, q = (0 + 1) / 22, (1 + 1) / 22
    assert error[0] == pytest.approx(math.sqrt((p * (1 - p) + q * (1 - q)) / 20 / 2), rel=0.05)
    assert difference([-0.05, -0.05], float(error[0])).sign == 0 != difference([-0.05, -0.05]).sign
    assert not counting_error(*few, KL, GRID).any()


@pytest.mark.parametrize(
    ("found", "less", "words"),
    [
        (Difference(1.0, 0.01, 3), True, "worse"),
        (Difference(1.0, 0.01, 3), False, "better"),
        (Difference(-1.0, 0.01, 3), True, "better"),
        (Difference(1.0, 0.9, 3), True, "no clear difference"),
        (Difference(1.0, math.nan, 1), True, "one seed says nothing"),
        (Difference(math.nan, math.nan, 3), True, "not measured"),
        (Difference(math.nan, math.nan, 0), True, "no seed in common"),
    ],
)
def test_verdicts_need_more_than_the_spread_of_the_seeds(found, less, words):
    assert in_words(found, less_is_better=less) == words


def test_values_and_places_are_written_for_a_reader():
    assert number(0.123456, KL) == "0.123" and number(0.00123, LOSS) == "0.0012" and number(math.nan, KL) == "–"
    assert number(0.456, ANY) == "46 %" and set(MEASURES) == {KL, LOSS, ANY, TRUE}
    (run,) = recorded_runs(made_run((1, 3)))
    where = where_recorded(run)
    assert (
        "Family made; 100 steps of 8 documents" in where and "50 %" in where and "seeds 0, 1, 2 on 2026-01-01" in where
    )
    assert fitting(run, 5, 2) == (4, 3) and fitting(run, 99, ALL) == (16, ALL) and fitting(run, 6, 1) == (4, 1)


def test_lines_are_blue_for_metadata_only_and_all_different():
    (run,) = recorded_runs(made_run((1, 2, 3)))
    looks = [run.look(record) for record in run.records]
    assert len({look.color for look in looks}) == len({str(look.linestyle) for look in looks[2:]}) + 2 == 5
    for look in looks[2:]:
        red, green, blue = (int(look.color[i : i + 2], 16) for i in (1, 3, 5))
        assert blue > green > red
    assert recorded_runs(made_run((2,)))[0].look(recorded_runs(made_run((2,)))[0].arms[0]).color == "#0072B2"


def test_controls_offer_what_the_run_has():
    (run,) = recorded_runs(made_run((1, 3)))
    assert [value for _, value in length_slider(run).options] == list(GRID) and length_slider(run).value == 4
    assert depth_choice(run).value == 3
    assert list(depth_options(run, every=True).values()) == [1, 3, ALL]
    assert list(depth_options(recorded_runs(made_run((3,)))[0], every=True).values()) == [3]


def test_a_run_whose_training_ends_without_metadata_says_so():
    (run,) = recorded_runs(made_run(p_meta=1.0, cooldown=0.6))
    assert "in 100 %, none in the last 60 %" in run.label
    assert "metadata shown in 100 % of them, none in the last 60 % of the steps" in where_recorded(run)
    (run,) = recorded_runs(made_run())
    assert "in 50 % of them. Recorded" in where_recorded(run) and "last" not in run.label

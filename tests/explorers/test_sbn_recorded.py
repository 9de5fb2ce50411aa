"""The recorded trainings are shown as the records have them: curves, limits, sentences and tables."""

import dataclasses
import math
from dataclasses import replace

import numpy as np
import pytest

from toolkit.core.history import Series
from toolkit.experiments import SeedResult, read_paper_results
from toolkit.experiments.sbn import run
from toolkit.experiments.sbn_config import SbnConfig
from toolkit.explorers import explore_sbn_recorded, predictions
from toolkit.explorers.sbn_recorded import (
    _limits,
    describe,
    draw,
    final_bounds_table,
    pick,
    published_bounds_table,
    shared_parameters_table,
)
from toolkit.explorers.sbn_runs import GROUPS, SNAPSHOTS, X, Y, curve_of, find_run, recorded_runs


@pytest.fixture(scope="module")
def recorded():
    return run(
        SbnConfig(
            device="cpu",
            n_steps=20,
            n_evaluations=4,
            curve_samples=2,
            test_samples=2,
            variance_repeats=3,
            estimators=("LR", "RAM", "RLOO-33", "ST", "DisARM"),
        )
    )


def made(record, variant="RAM", bounds=((-50.0, -30.0, -26.0),), seconds=(0.0, 1.0, 2.0), **config):
    """Return a record with such bounds, a row a seed, at 0, 10 and 20 steps with 33 evaluations each."""
    steps = (0, 10, 20)
    results = tuple(
        SeedResult(
            seed,
            {"test bound": row[-1], "evaluations a step": 33.0, "highest training bound": row[-1] + 0.5},
            {
                "test bound": Series(steps, row),
                "evaluations": Series(steps, (0.0, 330.0, 660.0)),
                "seconds": Series(steps, tuple(second * (1 + seed) for second in seconds)),
            },
        )
        for seed, row in enumerate(bounds)
    )
    return replace(record, variant=variant, results=results, config=record.config | config)


def test_records_of_one_setting_are_one_run(recorded):
    (found,) = recorded_runs(recorded)
    assert found.estimators == ("LR", "RAM", "RLOO-33", "ST", "DisARM") and found.snapshots is not None
    assert found.label == "digits, 64-32, 20 steps"
    newer = [replace(record, date="2099-01-01T00:00:00Z") for record in recorded[:1]]
    (again,) = recorded_runs([*newer, *recorded])
    assert again.record("LR") is newer[0] and len(again.records) == 5
    assert found.record("NVIL") is None


def test_runs_that_read_alike_are_told_apart_and_ordered(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    slow = made(ram, learning_rate=1e-3)
    mnist = made(ram, data="mnist", sizes="784-200", n_steps=20)
    laptop = [replace(made(ram, sizes="64-32-32", n_steps=1500), scale="laptop")]
    other = [replace(made(ram), environment=replace(ram.environment, device="cuda:0: NVIDIA H200"))]
    found = recorded_runs([mnist, slow, *laptop, *recorded, *other])
    labels = [one.label for one in found]
    assert labels[0] == "digits, 64-32-32, 1,500 steps" and labels[-1] == "5,000 of MNIST, 784-200, 20 steps"
    assert len(set(labels)) == 5
    assert any("learning rate 0.001" in label for label in labels) and any("H200" in label for label in labels)
    assert find_run("mnist", None, [mnist, *recorded]).config["sizes"] == "784-200"
    with pytest.raises(ValueError, match="sizes"):
        find_run("digits", "64-7", recorded)


def test_no_run_is_said():
    for function in (recorded_runs, explore_sbn_recorded):
        with pytest.raises(ValueError, match="python -m toolkit run sbn"):
            function([])
    with pytest.raises(ValueError, match="a run of sbn"):
        final_bounds_table(records=[])


@pytest.mark.parametrize("x", X)
@pytest.mark.parametrize("y", Y)
def test_curves_are_means_over_the_seeds(recorded, x, y):
    for record in recorded:
        if record.variant == SNAPSHOTS:
            continue
        curve = curve_of(record, x, y)
        histories = [result.histories for result in record.results]
        values = np.array([one[y].values for one in histories])
        np.testing.assert_allclose(curve.mean, values.mean(0))
        np.testing.assert_array_equal(curve.low, values.min(0))
        np.testing.assert_array_equal(curve.high, values.max(0))
        if x == "steps":
            np.testing.assert_array_equal(curve.x, histories[0][y].steps)
        else:
            where = [[one[x].values[one[x].steps.index(step)] for step in one[y].steps] for one in histories]
            np.testing.assert_allclose(curve.x, np.mean(where, 0))
        assert curve.n_seeds == 2


def test_steps_that_not_all_seeds_have_are_left_out_and_what_was_not_measured_is_none(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    first, second = ram.results
    cut = {name: Series(series.steps[:-1], series.values[:-1]) for name, series in second.histories.items()}
    shorter = replace(ram, results=(first, dataclasses.replace(second, histories=cut)))
    assert curve_of(shorter, "steps", "test bound").x.tolist() == [0, 5, 10, 15]
    assert curve_of(made(ram), "steps", "fixed variance") is None
    with pytest.raises(ValueError, match="y"):
        curve_of(ram, "steps", "seconds")
    with pytest.raises(ValueError, match="x"):
        curve_of(ram, "minutes", "test bound")


def test_groups(recorded):
    (found,) = recorded_runs(recorded)
    groups = {name: set(found.group(name)) for name in GROUPS}
    assert groups == {
        "the main ones": {"LR", "RAM", "DisARM"},
        "the biased ones": {"LR", "RAM", "ST"},
        "as costly as RAM": {"RAM", "RLOO-33"},
        "all": {"LR", "RAM", "RLOO-33", "ST", "DisARM"},
    }
    with pytest.raises(ValueError, match="name"):
        found.group("others")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("y", Y)
def test_every_picture_names_its_lines_and_cuts_none(recorded, group, y):
    (found,) = recorded_runs(recorded)
    for x in X:
        picked = pick(found, group, x, y)
        picture = draw(picked).to_string()
        assert all(f">{one.estimator}<" in picture for one in picked.curves)
        assert "…" not in picture
        assert ('opacity="0.16"' in picture) == (x == "steps" or y == "test bound")  # one point has no band
        assert picture.count("Recorded") == 0 and "Recorded at quick scale" in describe(picked)


def test_ties_within_the_seeds_are_called_ties(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    rows = {
        "RAM": [(-50.0, -30.0, -25.0), (-50.0, -30.0, -25.4)],
        "ST": [(-50.0, -30.0, -25.3), (-50.0, -30.0, -25.6)],
        "LR": [(-50.0, -30.0, -26.0), (-50.0, -30.0, -26.4)],
    }
    (found,) = recorded_runs([made(ram, name, bounds) for name, bounds in rows.items()])
    picked = pick(found, "all")
    assert "RAM and ST end highest, LR 1.00 nats below" in draw(picked).to_string()
    assert "with RAM (within the range of its seeds: ST) and at −26.20 with LR" in describe(picked)
    text = describe(pick(found, "all", "evaluations"))
    assert "after 660 evaluations an image; that much is reached with RAM by 660, with ST by 660" in text
    (alone,) = recorded_runs([made(ram)])
    assert "ends at −26.00 nats with RAM." in describe(pick(alone, "all", "seconds"))
    draw(pick(alone, "all", "seconds"))


def test_what_is_no_number_is_said_and_does_not_move_the_picture(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    lost = made(ram, "LR", [(-50.0, -1e9, math.nan)])
    far = made(ram, "ST", [(-50.0, -1e9, -1e9)])
    (found,) = recorded_runs([made(ram), lost, far])
    picked = pick(found, "all")
    assert "Not a number at the end: LR." in describe(picked)
    assert "−26" in draw(picked).to_string()
    nothing = pick(found, "all", "evaluations", "total variance")
    assert nothing.curves == () and "no total variance was recorded" in describe(nothing)
    draw(nothing)


def test_final_bounds(recorded):
    shown = final_bounds_table(records=recorded)
    by_name = {row[0]: row for row in shown.rows}
    assert set(by_name) == {"LR", "RAM", "RLOO-33", "ST (biased)", "DisARM"}
    for record in recorded:
        if record.variant != SNAPSHOTS:
            row = by_name[record.variant + (" (biased)" if record.variant == "ST" else "")]
            bounds = [row[place].replace("\N{NO-BREAK SPACE}", " ").replace("−", "-") for place in (3, 4)]
            assert bounds == [str(record.summary[name]) for name in ("test bound", "importance-weighted bound")]
            assert row[2] == "2" and " " not in row[3]
    bounds = [float(row[3].split()[0].replace("−", "-")) for row in shown.rows]
    assert bounds == sorted(bounds, reverse=True)
    assert [by_name[name][1] for name in ("LR", "RAM", "RLOO-33", "DisARM")] == ["1", "33", "33", "2"]
    assert shown.rows[shown.strong[0]][0] == "RAM" and "20 steps" in shown.caption


def test_final_bounds_of_records_that_lack_a_measurement(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    shown = final_bounds_table(records=[made(ram, "LR", [(-50.0, -30.0, math.nan)]), made(ram)])
    assert [row[0] for row in shown.rows] == ["RAM", "LR"]
    assert shown.rows[0][3:] == ("−26.00", "–", "–", "–") and shown.rows[1][3] == "nan"


def test_shared_parameters(recorded):
    shown = shared_parameters_table(records=recorded)
    (snapshots,) = [record for record in recorded if record.variant == SNAPSHOTS]
    ram = next(row for row in shown.rows if row[0] == "RAM")
    assert ram[1:] == ("33", "1", "1", "1", "1")
    lr = next(row for row in shown.rows if row[0] == "LR")
    tables = [result.tables["snapshots"] for result in snapshots.results]
    for place, step in ((2, 0), (3, 20)):
        ratios = []
        for table in tables:
            at = {name: i for i, name in enumerate(table["estimator"]) if table["step"][i] == step}
            ratios.append(table["fixed variance"][at["LR"]] / table["fixed variance"][at["RAM"]])
        assert float(lr[place].replace(",", "")) == pytest.approx(np.mean(ratios), rel=0.06)
        assert float(lr[place + 2].replace(",", "")) == pytest.approx(np.mean(ratios) / 33, rel=0.06)
    assert "At step 0 no baseline has learnt anything" in shown.caption
    with pytest.raises(ValueError, match="snapshots"):
        shared_parameters_table(records=[record for record in recorded if record.variant != SNAPSHOTS])


@pytest.mark.parametrize("y", Y)
def test_a_single_estimator_is_compared_with_none(recorded, y):
    ram = next(record for record in recorded if record.variant == "RAM")
    (found,) = recorded_runs([ram])
    text = describe(pick(found, y=y))
    assert "with RAM" in text and "most" not in text and text.count("RAM") == 1


def test_limits_show_a_part_of_the_training_and_those_who_learnt(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    high = made(ram, "RAM", [(-600.0, -190.0, -140.0)])
    (alone,) = recorded_runs([high])
    low, top = _limits(pick(alone))[1]
    assert -165 < low < -150 and -140 < top < -135
    others = [made(ram, "LR", [(-600.0, -200.0, -162.0)]), made(ram, "NVIL", [(-600.0, -500.0, -400.0)])]
    (found,) = recorded_runs([high, *others])
    low, _ = _limits(pick(found))[1]
    assert -190 < low < -162


def test_the_question_of_the_lesson_is_answered_by_the_recorded_run():
    run = find_run("digits")
    asked = predictions.sigmoid_belief_networks()
    latent = sum(int(part) for part in run.config["sizes"].split("-")[1:])
    assert f" {latent} " in asked.question and asked.answer == "by 1 or 2 nats"
    ram, lr = (curve_of(run.record(name), "steps", "test bound") for name in ("RAM", "LR"))
    assert 0.8 < ram.last - lr.last < 2.5
    assert f"near −{abs(ram.mean[0]):.0f}." in asked.question and ram.mean[0] == pytest.approx(lr.mean[0], abs=0.5)
    ram, lr = (curve_of(run.record(name), "steps", "fixed variance") for name in ("RAM", "LR"))
    assert 2000 < lr.last / ram.last < 20_000


def test_what_estimates_something_else_is_marked(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    others = [replace(ram, variant=name) for name in ("VIMCO-2", "ReinMax", "ARM")]
    names = {row[0] for row in final_bounds_table(records=[ram, *others]).rows}
    assert names == {"RAM", "VIMCO-2 (tighter bound)", "ReinMax (biased)", "ARM"}


def test_published_bounds_stand_beside_ours_of_the_same_network(recorded):
    ram = next(record for record in recorded if record.variant == "RAM")
    ours = [
        made(ram, name, [(-200.0, -150.0, -130.0)], data="mnist", images="subset", sizes="784-200", n_steps=2000)
        for name in ("RAM", "NVIL")
    ]
    shown = published_bounds_table([*ours, *recorded])
    rows = {(row[0], row[1]): row for row in shown.rows}
    published = {result.quantity: result.value for result in read_paper_results()}
    for sizes, network in (("784-200", "mnist-linear-1"), ("784-200-200", "mnist-linear-2")):
        for name in ("Concrete", "NVIL", "MuProp", "REBAR", "RELAX"):
            value = published[f"discrete_reparameterization/{network}/training-bound-{name.casefold()}"]
            assert float(rows[sizes, name][2].replace("−", "-")) == value
    assert rows["784-200", "NVIL"][3] == "−129.50" and "2,000 steps of 100 images" in rows["784-200", "NVIL"][4]
    assert "5,000 bundled images" in rows["784-200", "NVIL"][4]
    assert rows["784-200", "RAM"][2:4] == ("–", "−129.50") and ("784-200-200", "RAM") not in rows
    assert rows["784-200", "REBAR"][3:] == ("not run", "")
    assert "Grathwohl" in shown.caption and len(published_bounds_table([]).rows) == 10


def test_the_view(recorded):
    view = explore_sbn_recorded(recorded)
    assert view.error is None and "digits, 64-32, 20 steps" in view.text and "Recorded at quick scale" in view.text
    texts = {view.text}
    for name, value in (("x", "evaluations"), ("y", "fixed variance"), ("group", "the biased ones"), ("x", "seconds")):
        view.controls[name].value = value
        assert view.error is None
        texts.add(view.text)
    assert len(texts) == 3  # a variance's sentence is the same against any axis
    view.reset()
    assert view.text == explore_sbn_recorded(recorded).text

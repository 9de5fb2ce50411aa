"""The verdict that the reader plays with is the ledger's own."""

import csv

import pytest

from toolkit.core.history import Series
from toolkit.experiments import Quantity, Record, SeedResult, describe_environment, read_ledger, save_record
from toolkit.experiments.ledger import COLUMNS
from toolkit.explorers import explore_ledger_verdict
from toolkit.explorers.ledger_verdict import compare, describe, draw, recorded_run

OURS, TORCH = "held-out accuracy/autograd", "held-out accuracy/torch"
CURVES = ((88.0, 91.0, 95.0), (90.0, 92.0, 96.0))


def record(curves=CURVES, torch=(95.0, 96.0), *, date="2026-01-01T00:00:00Z", study="mnist-mlp", quantities=None):
    results = tuple(
        SeedResult(seed, {OURS: curve[-1], TORCH: torch[seed]}, {OURS: Series(tuple(range(len(curve))), curve)})
        for seed, curve in enumerate(curves)
    )
    return Record(study, "", "laptop", {}, results, describe_environment(), date, 1.0, 1.0, quantities or {})


@pytest.mark.parametrize(
    ("tolerance", "epochs", "n_seeds", "verdict"),
    [
        (0.0, 3, 2, "within"),
        (0.5, 3, 1, "within"),
        (0.4, 3, 1, "outside"),
        (3.9, 2, 2, "outside"),
        (4.0, 2, 2, "within"),
        (6.5, 1, 2, "within"),
        (6.4, 1, 2, "outside"),
    ],
)
def test_verdict(tolerance, epochs, n_seeds, verdict):
    found = compare(recorded_run([record()]), tolerance, epochs, n_seeds)
    assert found.verdict == verdict
    assert f"“{verdict}”" in describe(found) and f"{verdict}:" in draw(found).to_string()


@pytest.mark.parametrize("tolerance", [0.0, 0.3, 0.1 + 0.2, 0.5, 1.0])
def test_the_ledger_says_the_same(tolerance, tmp_path):
    """A paper result that is torch's mean, and a run of ours that claims to answer it."""
    curves, torch = ((90.0, 95.3), (91.0, 96.2)), (95.0, 95.9)
    with (tmp_path / "paper.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerow(["x/accuracy", "accuracy", sum(torch) / 2, "", "%", "somewhere", "read there", ""])
    save_record(record(curves, torch, quantities={"x/accuracy": Quantity(OURS, tolerance)}), tmp_path / "runs")
    (row,) = read_ledger(paper_results=tmp_path, runs=[tmp_path / "runs"]).rows
    found = compare(recorded_run([record(curves, torch)]), tolerance, 2, 2)
    assert row.verdict == found.verdict
    assert row.ours.mean == pytest.approx(found.spread.mean) and row.ours.sd == pytest.approx(found.spread.sd)


def test_the_longest_run_counts_and_the_newest_of_those():
    short = record(((80.0,),), (80.0,), date="2026-03-01T00:00:00Z")
    old, new = record(), record(((1.0, 2.0, 3.0),), (3.0,), date="2026-02-01T00:00:00Z")
    assert recorded_run([new, short, old]).ours == ((1.0, 2.0, 3.0),)
    assert recorded_run([record(study="another", date="2027-01-01T00:00:00Z"), old]).ours == CURVES


def test_no_run():
    with pytest.raises(ValueError, match="mnist-mlp"):
        recorded_run([])
    with pytest.raises(ValueError, match="mnist-mlp"):
        recorded_run([record(study="another")])


def test_one_seed_has_no_spread():
    found = compare(recorded_run([record()]), 0.5, 3, 1)
    assert found.spread.sd is None
    assert "nothing is known of the spread" in describe(found)
    assert draw(found).to_string().count("<path") < draw(
        compare(recorded_run([record()]), 0.5, 3, 2)
    ).to_string().count("<path")


def test_a_run_of_one_seed_and_one_epoch_has_one_slider():
    view = explore_ledger_verdict([record(((90.0,),), (91.0,))])
    assert list(view.controls) == ["tolerance"]
    assert view.error is None and view.result.verdict == "outside"
    view.controls["tolerance"].value = 1.0
    assert view.result.verdict == "within"


def test_the_recorded_run_that_comes_with_the_toolkit():
    run = recorded_run()
    assert len(run.seeds) >= 3 and run.n_epochs >= 10
    assert compare(run, 0.5, run.n_epochs, len(run.seeds)).verdict == "within"
    assert compare(run, 0.5, 1, len(run.seeds)).verdict == "outside"


@pytest.mark.parametrize(
    ("tolerance", "epochs", "n_seeds"), [(-0.1, 1, 1), (0.1, 0, 1), (0.1, 4, 1), (0.1, 1, 0), (0.1, 1, 3)]
)
def test_out_of_range(tolerance, epochs, n_seeds):
    with pytest.raises(ValueError, match="compare"):
        compare(recorded_run([record()]), tolerance, epochs, n_seeds)

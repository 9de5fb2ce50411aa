"""The tables say of every claim what the record says: as claimed, the other way, or nothing clear."""

import math

import pytest

from tests.explorers.made_metadata import made_run
from toolkit.explorers import metadata_records
from toolkit.explorers.metadata_records import COMMAND, recorded_runs, run_with
from toolkit.explorers.metadata_tables import answers, claims, recorded_losses


def made(*arguments, **options):
    (run,) = recorded_runs(made_run(*arguments, **options))
    return run


def verdicts(depth=3, **options):
    """Return what a made-up run says, by claim and measure."""
    run = made((depth,), jitter=options.pop("jitter", 0.02), **options)
    return {(one.claim[:2].strip(), one.measure.partition(",")[0], one.measure.rpartition(" ")[2]): one.verdict
            for one in answers(run, depth)}  # fmt: skip


def test_losses_are_means_and_standard_deviations():
    shown = recorded_losses(made(kl=0.2, short=1.5, long=1.5))
    assert [row[0].replace("\xa0", " ") for row in shown.rows] == [
        "optimum",
        "baseline",
        "fewer steps",
        "D_M = 3",
    ]
    kl = shown.headers.index("KL")
    assert [row[kl].replace("\xa0", " ") for row in shown.rows] == [
        "0",
        "201.00 ±1.00",
        "501.00 ±1.00",
        "301.00 ±1.00",
    ]
    assert shown.rows[0][2] == "0.700" and shown.rows[1][2] == "–"
    assert "Short prompts: 0 to 3 tokens; long ones: 8 to 17 tokens" in shown.caption


def test_harm_for_short_and_help_for_long_prompts_is_as_claimed():
    found = verdicts(short=1.5, long=0.6, probe=0.6)
    assert found["1.", "loss with metadata", "baseline"] == "as claimed"
    assert found["2.", "probes", "baseline"] == "as claimed"
    assert found["3.", "KL (ours)", "baseline"] == "as claimed" == found["4.", "KL (ours)", "baseline"]
    assert found["…", "KL (ours)", "steps"] == "better"


def test_the_opposite_is_called_the_other_way():
    found = verdicts(short=0.5, long=1.5, probe=0.8)
    assert found["2.", "probes", "baseline"] == "the other way"
    assert found["3.", "KL (ours)", "baseline"] == "the other way" == found["4.", "KL (ours)", "baseline"]
    assert verdicts(short=4.0, long=4.0)["…", "KL (ours)", "steps"] == "worse"


def test_no_difference_is_never_a_gain():
    found = verdicts(short=1.0, long=1.0, jitter=0.3)
    assert found["4.", "KL (ours)", "baseline"] == found["3.", "KL (ours)", "baseline"] == "no clear difference"
    assert found["4.", "acc_any", "baseline"] == "no clear difference"
    assert found["…", "loss without metadata", "baseline"] == "as claimed: no clear difference"


def test_the_average_loss_may_be_better_against_the_claim():
    assert verdicts(short=0.5, long=0.5)["…", "loss without metadata", "baseline"] == "otherwise: better"
    assert verdicts(short=2.0, long=2.0)["…", "loss without metadata", "baseline"] == "as claimed: worse"


def test_one_seed_gives_no_verdict():
    found = verdicts(seeds=(0,), short=3.0)
    assert set(found.values()) == {"one seed says nothing"}


def test_accuracies_of_few_completions_need_a_large_difference():
    assert verdicts(accuracy=0.59)["4.", "acc_any", "baseline"] == "no clear difference"  # though of all three seeds
    run = made((3,), accuracy=0.3)  # the baseline has 0.6
    found = {(one.claim[:2], one.measure.partition(",")[0]): one for one in answers(run, 3)}
    assert found["3.", "acc_any"].verdict == "as claimed" and found["4.", "acc_any"].verdict == "the other way"
    assert found["3.", "acc_any"].difference.mean == pytest.approx(-0.3)
    assert found["3.", "acc_any"].difference.standard_error > 0.01


def test_the_table_of_claims_has_a_verdict_in_every_row():
    run = made((1, 3))
    shown = claims(run)
    assert shown.headers[-1] == "this record" and all(row[-1] for row in shown.rows)
    assert "D_M = 3" in shown.caption and "D_M = 1" in claims(run, 1).caption
    assert shown._narrowest() <= 720 and recorded_losses(run)._narrowest() <= 720
    without = claims(made((3,), control=False))
    assert not any("fewer" in cell for row in without.rows for cell in row)
    with pytest.raises(ValueError, match="depth"):
        claims(run, 2)


def test_missing_metrics_are_a_dash():
    records = made_run()
    for result in records[2].results:
        del result.metrics["loss with metadata"]
        result.metrics["KL, long prompts"] = math.nan
    (run,) = recorded_runs(records)
    shown = claims(run)
    assert shown.rows[0][-1] == "not measured" and "–" in shown.rows[0]
    assert "–" in recorded_losses(run).rows[-1]


def test_without_a_record_the_tables_say_what_makes_one(monkeypatch):
    monkeypatch.setattr(metadata_records, "load_records", lambda *_: [])
    for shown in (claims(), recorded_losses()):
        assert shown.rows == () and COMMAND in shown.caption


def test_a_run_is_chosen_by_its_settings(monkeypatch):
    records = [*made_run((2, 3)), *made_run((3,), p_meta=1.0, cooldown=0.8, kl=0.3)]
    monkeypatch.setattr(metadata_records, "load_records", lambda *_: records)
    mixed, first = recorded_runs()
    settings = {"p_meta": 1.0, "cooldown": 0.8}
    assert run_with().label == mixed.label and run_with(**settings).label == first.label
    assert claims(**settings).rows == claims(first).rows != claims().rows
    assert recorded_losses(**settings).rows == recorded_losses(first).rows != recorded_losses().rows
    assert run_with(p_meta=0.25) is None and run_with(no_such_setting=1) is None
    for shown in (claims(n_steps=1500, cooldown=0.2), recorded_losses(n_steps=1500, cooldown=0.2)):
        assert shown.rows == () and "with --n-steps 1500, --cooldown 0.2 is recorded" in shown.caption
        assert shown.caption.endswith(f"{COMMAND} --n-steps 1500 --cooldown 0.2")


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    shown = claims(made(probe=0.7, jitter=0.02))
    (probes,) = (row for row in shown.rows if row[1].startswith("probes"))
    assert probes[4].startswith("0.0\xa0±")


def test_the_first_recorded_run_is_shown_if_none_is_chosen(monkeypatch):
    records = made_run((3,))
    monkeypatch.setattr(metadata_records, "load_records", lambda *_: records)
    (run,) = recorded_runs()
    assert claims().rows == claims(run).rows and recorded_losses().rows == recorded_losses(run).rows

"""Tables of recorded scores say what the records say, and fit a page."""

import math

import numpy as np

from tests.explorers.made_profiles import NAMES, bars, made_record, made_result, made_run
from toolkit.explorers.disentanglement_records import COMMAND
from toolkit.explorers.disentanglement_tables import recorded_attacks, recorded_parts, recorded_scores
from toolkit.lessons.style import WIDEST


def plain(cell):
    """Return a cell with ordinary blanks."""
    return cell.replace("\N{NO-BREAK SPACE}", " ")


def test_scores_are_means_and_deviations_over_the_seeds():
    made = recorded_scores(records=made_run())
    assert made.headers == ("model", "UniBound", "MIG", "BetaVAE", "FactorVAE", "DCI", "SAP")
    assert len(made.rows) == len(NAMES) and plain(made.rows[2][0]) == "β-VAE, β = 10"
    sap = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert plain(made.rows[0][6]) == f"{sap.mean():.2f} ± {sap.std(ddof=1):.2f}" == "0.70 ± 0.16"
    assert "over all seeds" in made.caption and "seeds 0, 1, 2, 3, 4" in made.caption


def test_the_better_half_is_taken_by_each_score_itself():
    made = recorded_scores(half=True, records=made_run())
    assert plain(made.rows[0][6]) == "0.80 ± 0.10"  # seeds 0, 1 and 2
    assert plain(made.rows[0][2]) == "0.16 ± 0.02"  # seeds 2, 3 and 4
    assert "better half" in made.caption


def test_one_seed_has_no_deviation_and_a_score_that_is_missing_is_a_dash():
    made = recorded_scores(records=[made_record("VAE", [made_result(0, bars(), sap=math.nan, mig=0.123)])])
    assert made.rows[0][2] == "0.12" and made.rows[0][6] == "–"
    half = recorded_scores(half=True, records=[made_record("VAE", [made_result(0, bars(), sap=math.nan)])])
    assert half.rows[0][6] == "–"


def test_parts_are_means_over_the_chosen_seeds():
    rows = [[plain(cell) for cell in row] for row in recorded_parts(records=made_run()).rows]
    assert rows[0] == ["VAE", "0.02 to 0.12", "0.07", "0.02 to 0.12", "0.07", "0.38 to 0.48", "0.43", "0.50"]
    best = recorded_parts("mig", records=made_run())  # seeds 2, 3 and 4
    assert plain(best.rows[0][5]) == "0.37 to 0.47" and "better half of the seeds by MIG" in best.caption


def test_attacks_are_read_at_no_and_at_the_largest_strength():
    made = recorded_attacks(records=made_run())
    assert plain(made.rows[0][1]) == "0.02 → 0" or plain(made.rows[0][1]) == "0.02 → 0.01"
    assert plain(made.rows[0][6]) == "0.70 → 0.57" and "strength 4" in made.caption


def test_tables_fit_the_page():
    for made in (recorded_scores(records=made_run()), recorded_parts(records=made_run()),
                 recorded_attacks(records=made_run())):  # fmt: skip
        assert made._narrowest() <= WIDEST and "overflow-x" not in made._repr_html_()


def test_without_a_record_the_tables_say_what_makes_one():
    for made in (recorded_scores(records=[]), recorded_parts(records=[]), recorded_attacks(records=[])):
        assert made.rows == () and COMMAND in made.caption

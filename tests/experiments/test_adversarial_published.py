"""The competition's published tables: whole, and consistent with the formulas of their scores."""

from fractions import Fraction

import pytest

from toolkit.experiments.adversarial_published import N_IMAGES, published_tables, published_transfer
from toolkit.experiments.ledger import read_paper_results

OPPONENTS = {"defence": 145, "non-targeted": 105, "targeted": 105}
"""Complete attacks and defences, as all rows agree; the chapter does not state them."""

ROWS = [(track, row) for track, board in published_tables().items() for row in board]


def test_all_rows_are_here() -> None:
    tables = published_tables()
    assert {track: [row.rank for row in board] for track, board in tables.items()} == {
        "defence": [1, 2, 3, 4, 5, 24, 56],
        "non-targeted": [1, 2, 3, 4, 5, 44],
        "targeted": [1, 2, 3, 4, 5, 24],
    }
    assert [row.name for row in tables["non-targeted"]][:5] == [
        "TSAIL",
        "Sangxia",
        "Stanford & Suns",
        "iwiwi",
        "toshi k",
    ]
    assert tables["targeted"][0].worst == 0
    assert tables["defence"][5].worst == 0.5358
    assert tables["non-targeted"][3].median_seconds == 76


@pytest.mark.parametrize(("track", "row"), ROWS, ids=[f"{track}-{row.rank}" for track, row in ROWS])
def test_score_is_the_raw_score_over_opponents_and_images(track: str, row) -> None:
    exact = Fraction(row.raw, OPPONENTS[track] * N_IMAGES)
    assert abs(exact - Fraction(f"{row.score:.6f}")) <= Fraction(1, 2_000_000)
    for other in (OPPONENTS[track] - 1, OPPONENTS[track] + 1):
        assert abs(Fraction(row.raw, other * N_IMAGES) - Fraction(f"{row.score:.6f}")) > Fraction(1, 2_000_000)
    assert row.worst is None or row.worst <= row.score


def test_transfer_matrices_have_their_white_boxes_on_the_diagonal() -> None:
    found = published_transfer()
    hit, correct = found["hit"].counts, found["correct"].counts
    assert len(hit) == len(correct) == 10
    for i in range(10):
        assert hit[i][i] == max(hit[i]) == max(row[i] for row in hit)
        assert correct[i][i] == min(correct[i]) == min(row[i] for row in correct)
        for j in range(10):
            assert hit[i][j] + correct[i][j] <= 1000
    assert hit[3][4] == 31
    assert correct[9][9] == 153
    assert found["hit"].attacked == found["correct"].attacked


def test_figures_read_by_eye_say_so() -> None:
    rows = [row for row in read_paper_results() if row.table == "adversarial"]
    by_eye = [row for row in rows if any(f"figure-{n}/" in row.quantity for n in (1, 2, 7))]
    assert len(by_eye) == 33
    assert all("by eye" in row.how_read for row in by_eye)
    assert not any("by eye" in row.how_read for row in rows if row not in by_eye)

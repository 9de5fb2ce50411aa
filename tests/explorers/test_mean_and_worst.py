"""Means and worst cases, times and tables are those of the records and of the published tables."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from tests.explorers.inside import words_outside
from tests.explorers.made_tournaments import made_record
from toolkit.adversarial.competition import Leaderboard, Standing
from toolkit.experiments.adversarial_published import published_tables
from toolkit.explorers import explore_attack_cost, explore_mean_and_worst
from toolkit.explorers.attack_cost import describe as describe_cost
from toolkit.explorers.attack_cost import draw as draw_cost
from toolkit.explorers.attack_cost import median_seconds, tables, weigh
from toolkit.explorers.mean_and_worst import RANKS, SCORES, boards, compare, describe, draw, worst_places
from toolkit.explorers.recorded_tournaments import NOT_RECORDED, recorded_tournament
from toolkit.explorers.tournament_tables import leaderboards, notable
from toolkit.lessons.style import WIDEST


def board(scores, worst, track="defence", seconds=None):
    """Return a leaderboard of a, b, c … in this order."""
    times = [None] * len(scores) if seconds is None else seconds
    rows = [
        Standing(place + 1, "abcdefgh"[place], score, 0, low, "x", time)
        for place, (score, low, time) in enumerate(zip(scores, worst, times, strict=True))
    ]
    return Leaderboard(track, tuple(rows))


def texts(picture):
    return [shape.string for shape in picture._shapes if hasattr(shape, "string")]


@pytest.mark.parametrize("seed", range(3))
def test_pairs_that_turn_are_kendalls(seed):
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.choice(1000, 8, replace=False))[::-1] / 1000
    worst = rng.choice(1000, 8, replace=False) / 1000
    found = compare(board(scores.tolist(), worst.tolist()), "t", "w")
    tau = kendalltau(scores, worst).statistic
    assert found.n_pairs == 28 and tau == pytest.approx(1 - 2 * found.turned / found.n_pairs)
    assert found.worst_ranks == tuple(rankdata(-worst, method="min").astype(int))
    assert sorted(worst_places(found)) == list(range(8))


def test_equal_worst_cases_are_no_turned_pairs():
    found = compare(board([0.9, 0.8, 0.7], [0.1, 0.1, 0.2]), "t", "w")
    assert found.turned == 2 and found.worst_ranks == (2, 2, 1) and worst_places(found) == [1, 2, 0]
    assert "1 are equal in the worst case" in describe(found)


def test_the_papers_tables():
    view = explore_mean_and_worst([])
    assert "TSAIL is first by the mean, 95.3 %" in view.text and "falls to 11.8 %" in view.text
    assert "Rafael Moraes is first, 53.6 %" in view.text and NOT_RECORDED in view.text
    printed = [(100 * row.score, 100 * row.worst) for row in published_tables()["defence"]]
    turned = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(printed, 2))
    assert f"Of 21 pairs {turned} change" in view.text
    for title in ("2017: non-targeted attacks", "2017: targeted attacks"):
        for show in (SCORES, RANKS):
            view.controls["title"].value, view.controls["show"].value = title, show
            assert view.error is None and view.png
    assert "The worst case of all others is 0 too" in view.text


def test_ours_are_the_records():
    view = explore_mean_and_worst([made_record(seeds=(0, 1))])
    view.controls["title"].value = "ours: defences"
    assert "sturdy is first by the mean, 75.0 %" in view.text and "falls to 30.0 %" in view.text
    assert "By the worst case steady is first, 65.0 %, against TsAIL; by the mean it is 2nd" in view.text
    assert NOT_RECORDED not in view.text and "laptop scale" in view.text
    assert len(boards([made_record()])) == 6 and len(boards([])) == 3


@pytest.mark.parametrize("show", [SCORES, RANKS])
@pytest.mark.parametrize(
    ("scores", "worst"),
    [([], []), ([0.5], [0.5]), ([0.0, 0.0], [0.0, 0.0]), ([1.0, 1.0], [1.0, 0.0]), ([0.5, 0.4], [None, None])],
)
def test_extremes(show, scores, worst):
    found = compare(board(scores, worst), "t", "w", show)
    assert draw(found).to_png() and describe(found)
    assert len(found.names) == sum(value is not None for value in worst)


def test_titles_say_who_leads_and_where_the_winner_stands():
    turned = texts(draw(compare(board([0.9, 0.8], [0.1, 0.2]), "t", "w")))[0]
    assert turned == "a: first by the mean, 90.0 %; 2nd of 2 by the worst case, 10.0 %"
    assert "leads by the mean and by the worst case" in texts(draw(compare(board([0.9, 0.8], [0.3, 0.2]), "t", "w")))[0]


def test_no_title_of_a_shown_table_is_cut():
    view = explore_mean_and_worst([made_record()])
    for title in boards([made_record()]):
        view.controls["title"].value = title
        assert not texts(view.drawn.svg)[0].endswith("…") and words_outside(view.drawn.svg) == []


# --- what attacks cost


def test_times_are_medians_for_a_hundred_images():
    found = median_seconds(recorded_tournament([made_record()]).pooled)
    # Two batches of ten images each; a batch that was not timed does not count.
    expected = {"no-op": 0.02, "MI": 3.0, "TsAIL": 20.0, "slow": 90.0, "aim": 5.0}
    assert found == pytest.approx(expected)


def test_the_frontier_is_what_nobody_beats():
    rng = np.random.default_rng(1)
    scores, seconds = np.sort(rng.integers(1, 9, 8) / 10)[::-1], rng.integers(1, 5, 8).astype(float)
    rows = board(scores.tolist(), scores.tolist(), "non-targeted", seconds.tolist())
    found = weigh(rows, {row.name: row.median_seconds for row in rows}, "t", "w")
    for i, best in enumerate(found.frontier):
        beaten = [
            j
            for j in range(8)
            if found.percent[j] >= found.percent[i]
            and found.seconds[j] <= found.seconds[i]
            and (found.percent[j], found.seconds[j]) != (found.percent[i], found.seconds[i])
        ]
        assert best == (not beaten)


def test_the_view_of_costs_in_all_its_states():
    view = explore_attack_cost([made_record()])
    assert view.controls["title"].value == "ours: non-targeted attacks" and "TsAIL wins most" in view.text
    for title in tables([made_record()]):
        for by in ("score", "worst"):
            view.controls["title"].value, view.controls["by"].value = title, by
            assert view.error is None and view.png and view.text.startswith(title)
    alone = explore_attack_cost([])
    assert NOT_RECORDED in alone.text and "iwiwi, a network that attacks in one pass, wins 76.9 % in 76" in alone.text
    assert "1/6 of the time" in texts(alone.draw(alone.result))[0]


@pytest.mark.parametrize("seconds", [[], [0.0], [0.0, 0.0], [1e-9, 1e5], [3.0, 3.0]])
def test_extreme_costs(seconds):
    scores = [0.5] * len(seconds)
    rows = board(scores, scores, "non-targeted", seconds)
    found = weigh(rows, {row.name: row.median_seconds for row in rows}, "t", "w")
    assert draw_cost(found).to_png() and describe_cost(found)


def test_nobody_wins_anything():
    rows = board([0.0, 0.0], [0.0, 0.0], "targeted", [1.0, 2.0])
    found = weigh(rows, {"a": 1.0, "b": 2.0}, "t", "w", "worst")
    assert "nobody wins an image" in describe_cost(found) and "is 0" in texts(draw_cost(found))[0]
    assert weigh(rows, {}, "t", "w").names == ()


# --- tables


def test_leaderboards_stand_side_by_side():
    shown = leaderboards([made_record(seeds=(0, 1))])
    first = shown.rows[0]
    assert first == ("defences", "1 TSAIL", "0.953", "0.118", "1 sturdy", "0.750", "0.300")
    assert [row[0] for row in shown.rows if row[0]] == ["defences", "non-targeted attacks", "targeted attacks"]
    assert len(shown.rows) == sum(map(len, published_tables().values()))
    assert "trained 2 times" in shown.caption and shown._narrowest() <= WIDEST
    alone = leaderboards([])
    assert NOT_RECORDED in alone.caption and all(row[4:] == ("", "", "") for row in alone.rows)


def test_notable_rows_are_the_best_by_either_and_the_last():
    rows = notable(board([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.25, 0.0]))
    assert "".join(row.name for row in rows) == "abcdegh"
    assert notable(board([], [])) == [] and len(notable(board([0.5], [None]))) == 1

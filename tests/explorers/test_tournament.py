"""The recorded tournament is ranked by the rules, whoever takes part, and what is shown says so."""

import numpy as np
import pytest
import torch

from tests.explorers.made_tournaments import ATTACKS, DEFENCES, HITS, RIGHT, TARGETED, made_record
from toolkit.explorers import explore_tournament
from toolkit.explorers.recorded_tournaments import NOT_RECORDED, pool, recorded_tournament
from toolkit.explorers.ticks import Ticks
from toolkit.explorers.tournament import POINTS, SORTS, describe, draw, presets, rank

NAMES = (*ATTACKS, *TARGETED)
COUNTED = [name for name in NAMES if name != "slow"]


@pytest.fixture
def recorded():
    return recorded_tournament([made_record()])


def texts(picture):
    return [shape.string for shape in picture._shapes if hasattr(shape, "string")]


def test_a_record_is_found_and_tells_what_it_is(recorded):
    assert recorded_tournament([]) is None and recorded_tournament([made_record(study="other")]) is None
    assert recorded.titles["lenet"] == "plain LeNet, public" and recorded.knowledge["MI", "lenet"] == "white-box"
    assert "20 images of Fashion-MNIST" in recorded.setting and "4 × 5" in repr(recorded)
    newer = made_record(scale="quick", seeds=(0, 1), date="2026-02-02T00:00:00Z")
    assert "laptop scale" in recorded_tournament([newer, made_record()]).where
    assert set(recorded.to_dict()) == {"casts", "seeds", "titles", "knowledge", "data", "where"}


def test_defences_are_scored_over_the_attacks_that_made_everything(recorded):
    found = rank(recorded)
    columns = [NAMES.index(name) for name in COUNTED]
    for name, score, worst, at in zip(found.entrants, found.scores, found.worst, found.worst_opponent, strict=True):
        against = [RIGHT[name][column] for column in columns]
        assert score == pytest.approx(100 * sum(against) / (20 * len(against)))
        assert worst == pytest.approx(100 * min(against) / 20)
        assert RIGHT[name][NAMES.index(found.opponents[at])] == min(against) and found.opponents[at] != "slow"
    assert found.entrants == ("sturdy", "steady", "deaf", "lenet") and list(found.scores) == sorted(found.scores)[::-1]
    assert dict(zip(found.opponents, found.opponents_counted, strict=True)) == {name: name != "slow" for name in NAMES}
    assert dict(zip(found.entrants, found.entrants_counted, strict=True)) == {name: name != "deaf" for name in DEFENCES}


def test_the_worst_case_ranks_otherwise(recorded):
    found = rank(recorded, sort="worst")
    assert found.entrants == ("steady", "deaf", "sturdy", "lenet")
    assert list(found.worst) == sorted(found.worst)[::-1]


def test_cells_are_shares_of_all_images(recorded):
    found = rank(recorded)
    for (row, column), percent in np.ndenumerate(found.percent):
        right = RIGHT[found.entrants[row]][NAMES.index(found.opponents[column])]
        assert percent == pytest.approx(100 * right / 20)
    hits = rank(recorded, "targeted")
    assert hits.entrants == ("aim",) and hits.opponents[0] == "steady"
    for defence, percent in zip(hits.opponents, hits.percent[0], strict=True):
        assert percent == pytest.approx(100 * HITS[defence] / 20)


def test_attacks_are_scored_over_the_defences_that_labelled_everything(recorded):
    found = rank(recorded, "non-targeted")
    for name, score, worst in zip(found.entrants, found.scores, found.worst, strict=True):
        wrong = [20 - RIGHT[defence][NAMES.index(name)] for defence in ("sturdy", "steady", "lenet")]
        assert score == pytest.approx(100 * sum(wrong) / 60) and worst == pytest.approx(100 * min(wrong) / 20)


def test_leaving_out_is_as_if_they_had_not_played(recorded):
    found = rank(recorded, out=("TsAIL", "deaf"))
    alone = recorded.casts[0].without(["TsAIL", "deaf"])
    board = {row.name: (row.score, row.worst) for row in alone.leaderboard("defence")}
    for name, score, worst in zip(found.entrants, found.scores, found.worst, strict=True):
        assert (score / 100, worst / 100) == pytest.approx(board[name])
    assert "Left out: TsAIL, deaf." in describe(found)
    with pytest.raises(ValueError, match="without"):
        rank(recorded, out=("nobody",))


@pytest.mark.parametrize("out", [NAMES, tuple(DEFENCES), (*NAMES, *DEFENCES), (*COUNTED,)])
@pytest.mark.parametrize("track", list(POINTS.values()))
@pytest.mark.parametrize("sort", list(SORTS.values()))
def test_nobody_left_is_said(recorded, out, track, sort):
    found = rank(recorded, track, sort, out)
    sentence = describe(found)
    if found.decided:
        assert track != "defence" and set(out) == set(COUNTED)
    else:
        assert "nothing to rank" in sentence and texts(draw(found)) == ["Nobody is left to play against"]


def test_pooled_casts_count_all_images():
    recorded = recorded_tournament([made_record(seeds=(0, 1, 2))])
    whole, one = recorded.pooled, recorded.casts[0]
    assert whole.n_images == 60 and torch.equal(whole.correct, 3 * one.correct)
    assert whole.scores("defence").score == one.scores("defence").score
    assert "trained 3 times" in recorded.setting and len(whole.remarks) == 3
    with pytest.raises(ValueError, match="same submissions"):
        pool([one, one.without("MI")])
    with pytest.raises(ValueError, match="at least one"):
        pool([])


@pytest.mark.parametrize(
    ("options", "argument"), [({"sort": "best"}, "sort"), ({"cast": 1}, "cast"), ({"track": "d"}, "track")]
)
def test_other_values_are_refused(recorded, options, argument):
    with pytest.raises((ValueError, TypeError), match=argument):
        rank(recorded, **options)


def test_the_picture_frames_worst_cases_and_marks_the_incomplete(recorded):
    found = rank(recorded)
    words = texts(draw(found))
    assert {"deaf*", "slow*", "sturdy", "mean", "worst", "75.0"} <= set(words)
    assert words[0] == "First by the mean: sturdy, 75.0 %; by the worst case: steady, 65.0 %"
    frames = [shape for shape in draw(found)._shapes if hasattr(shape, "paint") and shape.paint.stroke == "#D55E00"]
    assert len(frames) == len(found.entrants)
    assert draw(rank(recorded, "non-targeted")).width <= 720


def test_words_name_winners_falls_and_what_the_attack_knew(recorded):
    sentence = describe(rank(recorded))
    assert "First by the mean: sturdy, 75.0 % of the images labelled rightly; in the worst case 30.0 %" in sentence
    assert "First by the worst case: steady, 65.0 %, against TsAIL (black-box)" in sentence
    assert "Incomplete, and so in neither A nor D: deaf, slow." in sentence
    assert sentence.startswith("4 defences against 4 attacks, those in A.")
    white = describe(rank(recorded, "targeted"))
    assert white.startswith("1 targeted attack against 3 defences, those in D.")
    assert "against steady (black-box)" in white


def test_presets_go_by_the_titles(recorded):
    assert presets(recorded) == {
        "All": (),
        "No baselines": ("no-op", "aim"),
        "No plain networks": ("lenet",),
        "Attacks on one network only": ("TsAIL",),
    }


def test_the_view_in_all_its_states():
    view = explore_tournament([made_record(seeds=(4, 7))])
    assert "seeds 4, 7" in view.text and list(view.controls) == ["track", "sort", "cast", "out"]
    for track in POINTS.values():
        for sort in SORTS.values():
            for cast in (-1, 0, 1):
                view.controls["track"].value, view.controls["sort"].value = track, sort
                view.controls["cast"].value = cast
                assert view.error is None and view.png
    ticks = view.controls["out"]
    ticks.boxes["sturdy"].value = False
    assert view.error is None and ticks.value == ("sturdy",) and "Left out: sturdy." in view.text
    ticks.preset_buttons["No baselines"].click()
    assert set(ticks.value) == {"no-op", "aim"} and ticks.boxes["sturdy"].value
    for box in ticks.boxes.values():
        box.value = False
    assert view.error is None and "nothing to rank" in view.text
    view.reset()
    assert ticks.value == () and all(box.value for box in ticks.boxes.values()) and "Left out" not in view.text


def test_one_cast_needs_no_choice_and_no_record_says_so():
    assert "cast" not in explore_tournament([made_record()]).controls
    view = explore_tournament([])
    assert view.text == NOT_RECORDED and view.error is None and "toolkit run competition" in view.text


def test_ticks_fold_and_count():
    ticks = Ticks("Who", {"First": ["a", "b"], "Second": ["c"]}, {"No a": ["a"]})
    assert ticks.unfold.description == "Who: 3 of 3 ▸" and not ticks.unfolded
    seen = []
    ticks.observe(lambda change: seen.append(change["new"]), "value")
    ticks.unfold.click()
    assert ticks.unfolded
    ticks.preset_buttons["No a"].click()
    ticks.boxes["c"].value = False
    assert seen == [("a",), ("a", "c")] and ticks.unfold.description == "Who: 1 of 3 ▾"
    ticks.value = ("b",)
    assert [box.value for box in ticks.boxes.values()] == [True, False, True]
    ticks.unfold.click()
    assert not ticks.unfolded
    with pytest.raises(ValueError, match="each name once"):
        Ticks("Who", {"First": ["a"], "Second": ["a"]})

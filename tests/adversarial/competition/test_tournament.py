"""A tournament small enough to be worked out by hand, and what follows from its counts."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from tests.adversarial.competition import entries
from toolkit.adversarial.competition import TRACKS, Competition, Tournament

# Two dark images of class 0 and two bright ones of class 1, in two batches; the attacks may move them across 127.5.
IMAGES = torch.tensor([100, 100, 200, 200], dtype=torch.uint8).view(4, 1, 1, 1)
LABELS = torch.tensor([0, 0, 1, 1])
TARGETS = torch.tensor([1, 1, 0, 0])


def darken(images, epsilon):
    return images - epsilon


def some(images, epsilon):
    return {0: images[0] + epsilon}


def partial(images):
    return {index: 0 for index in range(1, len(images))}


ATTACKS = {"up": entries.brighten, "down": darken, "some": some}
DEFENCES = {"zero": entries.always_zero, "sight": entries.dark_or_bright, "partial": partial}


def play(attacks=ATTACKS, targeted=None, defences=DEFENCES, targets=TARGETS, images=IMAGES, **options) -> Tournament:
    targeted = {"aim": entries.shift_target} if targeted is None else targeted
    settings = {"epsilons": (60,), "batch_size": 2, "isolate": False, "clock": iter(range(10**6)).__next__, **options}
    competition = Competition(attacks, targeted, defences, **settings)
    return competition.run(images, LABELS[: len(images)], None if targets is None else targets[: len(images)])


@pytest.fixture(scope="module")
def found() -> Tournament:
    return play()


def test_counts_worked_out_by_hand(found: Tournament) -> None:
    assert found.attacks == ("up", "down", "some", "aim")
    assert found.targeted == (False, False, False, True)
    assert found.defences == ("zero", "sight", "partial")
    assert found.produced.tolist() == [4, 4, 2, 4]
    assert found.labelled.tolist() == [[4, 4, 2, 4], [4, 4, 2, 4], [2, 2, 0, 2]]
    # A missing image counts as labelled rightly.
    assert found.correct.tolist() == [[2, 2, 3, 2], [2, 4, 3, 2], [1, 1, 2, 1]]
    assert found.error.tolist() == [[2, 2, 1, 2], [2, 0, 1, 2], [1, 1, 0, 1]]
    assert found.hit.tolist() == [[0, 0, 0, 2], [0, 0, 0, 2], [0, 0, 0, 1]]
    assert found.counted_attacks.tolist() == [True, True, False, True]
    assert found.counted_defences.tolist() == [True, True, False]


def test_right_wrong_and_unlabelled_images_are_all(found: Tournament) -> None:
    unlabelled = found.produced - found.labelled
    assert bool((found.correct + found.error + unlabelled == found.n_images).all())


def test_scores_worked_out_by_hand(found: Tournament) -> None:
    """Over the complete ones only; who is incomplete is scored all the same."""

    def rows(track: str) -> list[tuple]:
        board = found.leaderboard(track)
        return [(r.rank, r.name, r.score, r.raw, r.worst, r.worst_opponent, r.counted) for r in board]

    assert rows("non-targeted") == [
        (1, "up", 0.5, 4, 0.5, "sight", True),
        (2, "down", 0.25, 2, 0.0, "sight", True),
        (2, "some", 0.25, 2, 0.25, "sight", False),
    ]
    assert rows("targeted") == [(1, "aim", 0.5, 4, 0.5, "sight", True)]
    assert rows("defence") == [
        (1, "sight", 8 / 12, 8, 0.5, "aim", True),
        (2, "zero", 6 / 12, 6, 0.5, "aim", True),
        (3, "partial", 3 / 12, 3, 0.25, "aim", False),
    ]


def test_the_kit_scores_everybody_over_everybody(found: Tournament) -> None:
    assert found.scores("non-targeted", "kit").raw == (2 + 2 + 3, 2 + 0 + 3, 3 + 3 + 4)
    assert found.scores("targeted", "kit").raw == (5,)
    assert found.scores("defence", "kit").raw == (2 + 2 + 1 + 2, 2 + 4 + 1 + 2, 1 + 1 + 0 + 1)


def test_scores_by_epsilon_split_the_batches() -> None:
    found = play(epsilons=(60, 0))
    by_epsilon = found.score_by_epsilon("non-targeted")
    assert by_epsilon.epsilons == (0, 60)
    # At 60 the dark images, which "up" carries over; at 0 the bright ones, which nobody can move.
    assert dict(zip(by_epsilon.names, by_epsilon.scores, strict=True)) == {
        "up": (0.5, 0.5), "down": (0.5, 0.0), "some": (0.25, 0.25),
    }  # fmt: skip
    for track in TRACKS:
        split, whole = found.score_by_epsilon(track), found.scores(track).score
        assert [sum(row) / 2 for row in split.scores] == pytest.approx(whole)


def test_medians_are_of_the_clock() -> None:
    ticks = iter([0.0, 1.0, 1.0, 4.0] + [5.0] * 100)
    found = play({"up": entries.brighten}, {}, clock=ticks.__next__, targets=None)
    assert found.attack_seconds.tolist() == [[1.0, 3.0]]
    assert found.leaderboard("non-targeted")[0].median_seconds == 2.0


def test_without_is_as_if_they_had_not_come(found: Tournament) -> None:
    for gone in (["some"], ["partial", "up"], ["aim", "zero"], list(ATTACKS)):
        rest = play(
            {name: f for name, f in ATTACKS.items() if name not in gone},
            {} if "aim" in gone else None,
            {name: f for name, f in DEFENCES.items() if name not in gone},
        )
        fewer = found.without(gone)
        for name in ("correct_by_batch", "error_by_batch", "hit_by_batch", "labelled_by_batch", "produced_by_batch"):
            assert torch.equal(getattr(fewer, name), getattr(rest, name))
        assert fewer.remarks == rest.remarks
        for track in TRACKS:
            assert fewer.scores(track) == rest.scores(track)
    assert found.without("some").attacks == ("up", "down", "aim")
    with pytest.raises(ValueError, match="nobody"):
        found.without(["nobody"])


def test_without_an_incomplete_attack_a_defence_may_become_complete() -> None:
    def squeamish(images):
        return [0] * len(images) if len(images) == 2 else {}

    found = play(defences={"squeamish": squeamish})
    assert found.counted_defences.tolist() == [False]
    assert found.without("some").counted_defences.tolist() == [True]


@pytest.mark.parametrize(
    ("attacks", "defences"),
    [({"some": some}, DEFENCES), (ATTACKS, {"partial": partial}), ({}, DEFENCES), (ATTACKS, {}), ({}, {})],
)
def test_without_complete_opponents_all_scores_are_zero(attacks: dict, defences: dict) -> None:
    found = play(attacks, {}, defences)
    empty_a, empty_d = not bool(found.counted_attacks.any()), not bool(found.counted_defences.any())
    assert empty_a or empty_d
    for track, nobody in (("defence", empty_a), ("non-targeted", empty_d)):
        for row in found.leaderboard(track) if nobody else ():
            assert (row.score, row.raw, row.worst, row.worst_opponent, row.rank) == (0.0, 0, None, None, 1)
    assert "nan" not in json.dumps(found.to_dict(), allow_nan=False)
    assert "nan" not in found.to_html()


def test_no_images_is_a_tournament_too() -> None:
    found = play(images=IMAGES[:0])
    assert found.n_images == 0
    assert all(row.score == 0 for track in TRACKS for row in found.leaderboard(track))
    assert all(row.median_seconds is None for row in found.leaderboard("defence"))
    assert found.score_by_epsilon("defence").scores == ((), (), ())
    assert found.accuracy.tolist() == [[0.0] * 4] * 3


def test_a_blacklisted_submission_does_not_count_and_its_score_is_negated(found: Tournament) -> None:
    banned = play(blacklist=["up", "zero"])
    assert banned.counted_attacks.tolist() == [False, True, False, True]
    assert banned.counted_defences.tolist() == [False, True, False]
    scores = {row.name: row.score for track in TRACKS for row in banned.leaderboard(track)}
    assert scores == {
        "up": -0.5, "down": 0.0, "some": 0.25, "aim": 0.5, "zero": -0.5, "sight": 6 / 8, "partial": 2 / 8,
    }  # fmt: skip
    assert banned.leaderboard("non-targeted")[-1].name == "up"
    assert torch.equal(banned.error, found.error)


def test_without_targets_and_errors_the_game_is_zero_sum() -> None:
    found = play({"up": entries.brighten, "down": darken}, {}, {"zero": entries.always_zero, "s": DEFENCES["sight"]})
    means = [sum(one) / len(one) for one in (found.scores("defence").score, found.scores("non-targeted").score)]
    assert sum(means) == 1


def test_what_is_saved_comes_back(found: Tournament, tmp_path: Path) -> None:
    again = play({**ATTACKS, "raises": entries.raises})
    for tournament in (found, again):
        tournament.save(tmp_path / "deep" / "found.json")
        loaded = Tournament.load(tmp_path / "deep" / "found.json")
        assert loaded.to_dict() == tournament.to_dict()
        assert loaded.remarks == tournament.remarks
        assert [loaded.leaderboard(track) for track in TRACKS] == [tournament.leaderboard(track) for track in TRACKS]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["found.json"]


@pytest.mark.parametrize("damage", ["cut", "format", "count", "shape", "missing", "list"])
def test_a_damaged_file_is_refused(found: Tournament, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "found.json"
    found.save(path)
    text = path.read_text()
    given = json.loads(text)
    if damage == "format":
        given["format"] = "another"
    elif damage == "count":
        given["error_by_batch"][0][0][0] = 1.5
    elif damage == "shape":
        given["attacks"].pop()
    elif damage == "missing":
        del given["hit_by_batch"]
    path.write_text(text[:-20] if damage == "cut" else "[1]" if damage == "list" else json.dumps(given))
    with pytest.raises(ValueError, match=r"Tournament\.load"):
        Tournament.load(path)


def test_tables_say_the_same(found: Tournament, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    found.to_csv(tmp_path / "found.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "found.csv").read_text())))
    boards = [row for track in TRACKS for row in found.leaderboard(track)]
    assert [(r["name"], int(r["rank"]), float(r["score"])) for r in rows] == [(r.name, r.rank, r.score) for r in boards]
    frame = found.to_frame()
    assert list(frame["raw"]) == [row.raw for row in boards]
    assert isinstance(found.leaderboard("defence").to_frame(), pandas.DataFrame)
    assert list(found.score_by_epsilon("defence").to_frame().index) == list(found.defences)


def test_html_is_a_table_that_a_screen_reader_can_walk_through() -> None:
    found = play({"<b>&": entries.brighten})
    document = ElementTree.fromstring(f"<div>{found.to_html()}</div>")
    tables = document.findall("table")
    assert [table.findtext("caption") for table in tables] == ["Non-targeted attacks", "Targeted attacks", "Defences"]
    for table in tables:
        heads = table.findall("thead/tr/th")
        assert all(head.get("scope") == "col" for head in heads)
        for row in table.findall("tbody/tr"):
            assert row[0].tag == "th" and row[0].get("scope") == "row"
            assert len(row) == len(heads)
    assert tables[0].findtext("tbody/tr/th") == "<b>&"


def test_a_representation_is_short(found: Tournament) -> None:
    assert repr(found) == "Tournament(3 non-targeted and 1 targeted attacks, 3 defences, 4 images)"
    assert "up" in repr(found.leaderboard("non-targeted"))
    assert "up" in found.leaderboard("non-targeted").to_text()


@pytest.mark.parametrize(("track", "scoring"), [("attack", "paper"), ("defence", "other")])
def test_unknown_tracks_and_scorings_are_refused(found: Tournament, track: str, scoring: str) -> None:
    with pytest.raises(Exception, match=r"track|scoring"):
        found.scores(track, scoring)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("correct_by_batch", -1),
        ("correct_by_batch", 1),  # one image is then neither right, wrong nor unlabelled
        ("error_by_batch", 7),
        ("hit_by_batch", 2),  # more than were labelled wrongly
        ("labelled_by_batch", 3),
        ("produced_by_batch", 3),
        ("produced_by_batch", -1),
        ("targeted", "no"),
        ("sizes", "2"),
        ("attacks", 3),
    ],
)
def test_counts_that_cannot_be_are_refused(found: Tournament, tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "found.json"
    found.save(path)
    given = json.loads(path.read_text())
    place = given[name]
    while isinstance(place[0], list):
        place = place[0]
    assert place[0] != value
    place[0] = value
    path.write_text(json.dumps(given))
    with pytest.raises(ValueError, match=r"Tournament\.load"):
        Tournament.load(path)

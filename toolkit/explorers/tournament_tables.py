"""The leaderboards of 2017 beside ours: score and worst case."""

from collections.abc import Sequence
from typing import Any

from toolkit.adversarial.competition import Leaderboard, Standing
from toolkit.experiments import Record
from toolkit.experiments.adversarial_published import published_tables
from toolkit.explorers.mean_and_worst import WHO, short_team
from toolkit.explorers.recorded_tournaments import NOT_RECORDED, recorded_tournament
from toolkit.lessons import Table, table

_BEST = 5


def leaderboards(records: Sequence[Record] | None = None) -> Table:
    """Return the printed rows of Tables 1 to 3, each beside a row of ours.

    Args:
        records: to choose ours from; default: those that come with the toolkit. Without a recorded competition the
            paper's rows stand alone.

    Returns:
        For each track the five best by their score; of ours then the best worst case, if it is not among them, and the
        last. The paper's other rows are its best worst case among defences, and a baseline of the organisers. Rows
        stand side by side by their place; nothing else connects the two. Scores are shares of the images won.
    """
    published, recorded = published_tables(), recorded_tournament(records)
    pooled = None if recorded is None else recorded.pooled
    rows: list[list[Any]] = []
    strong = []
    for track, who in WHO.items():
        theirs = list(published[track])
        ours = [] if pooled is None else notable(pooled.leaderboard(track))
        strong.append(len(rows))
        for place in range(max(len(theirs), len(ours))):
            name = who if place == 0 else ""
            rows.append([name, *_cells(theirs, place), *_cells(ours, place)])
    source = f"Ours: {recorded.setting}." if recorded is not None else NOT_RECORDED
    caption = (
        "Kurakin et al. 2018, Tables 1 to 3 (5,000 images of ImageNet's kind), and our tournament: rank, score and "
        f"worst case. {source}"
    )
    headers = ["track", "in 2017", "score", "worst", "ours", "score", "worst"]
    return table(headers, rows, caption=caption, strong=strong)


def notable(board: Leaderboard) -> list[Standing]:
    """Return the five best of a leaderboard, the best worst case and the last, each once."""
    rows = list(board)
    known = [row for row in rows if row.worst is not None]
    best_worst = [max(known, key=lambda row: (row.worst, row.score))] if known else []
    chosen = [*rows[:_BEST], *best_worst, *rows[-1:]]
    return [row for row in rows if row in chosen]


def _cells(rows: Sequence[Standing], place: int) -> list[str]:
    if place >= len(rows):
        return ["", "", ""]
    row = rows[place]
    worst = "–" if row.worst is None else f"{row.worst:.3f}"
    return [f"{row.rank} {short_team(row.name)}", f"{row.score:.3f}", worst]

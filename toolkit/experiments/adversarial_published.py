"""The published results of the competition (Kurakin et al., arXiv 1804.00097), in the forms in which ours come."""

import os
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.adversarial.competition import TRACKS, Leaderboard, Standing
from toolkit.experiments.ledger import PaperResult, read_paper_results

N_IMAGES = 5000
"""Images of the final round (section 3)."""

_TABLES = {"defence": "Table 1", "non-targeted": "Table 2", "targeted": "Table 3"}


@dataclass(frozen=True)
class PublishedTransfer:
    """A matrix of counts out of 1,000 images, Figure 4 or 5.

    Attributes:
        attacked: the models that the examples were made on, one a row.
        defenders: the models that were shown them, one a column.
        counts: images.
        caption: what is counted.
        source: the figure.
    """

    attacked: tuple[str, ...]
    defenders: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    caption: str
    source: str

    def __repr__(self) -> str:
        return f"PublishedTransfer({self.source}: {len(self.attacked)} × {len(self.defenders)})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def published_tables(folder: str | os.PathLike[str] | None = None) -> dict[str, Leaderboard]:
    """Return Tables 1 to 3: for each track the five best and some others, as they were printed.

    Args:
        folder: of paper results; default: the one that comes with the toolkit.

    Returns:
        A leaderboard for each of ``"non-targeted"``, ``"targeted"`` and ``"defence"``. The tables name no worst
        opponents; for targeted attacks the worst case is 0 throughout (section 4).
    """
    found = {result.quantity: result for result in read_paper_results(folder) if result.table == "adversarial"}
    return {track: _leaderboard(track, found) for track in TRACKS}


def published_transfer(folder: str | os.PathLike[str] | None = None) -> dict[str, PublishedTransfer]:
    """Return Figures 4 and 5: targeted attacks on single models, shown to other models.

    Returns:
        ``"hit"``: images taken for the target; ``"correct"``: images labelled rightly.
    """
    results = [result for result in read_paper_results(folder) if result.table == "adversarial"]
    return {
        "hit": _transfer(results, "figure-4", "images taken for the target, out of 1,000"),
        "correct": _transfer(results, "figure-5", "images labelled rightly, out of 1,000"),
    }


def _leaderboard(track: Any, found: dict[str, PaperResult]) -> Leaderboard:
    prefix = f"adversarial/{track}/"
    teams = [name.split("/")[2] for name in found if name.startswith(prefix) and name.endswith("/score")]
    rows = []
    for team in teams:
        value = {key: found.get(f"{prefix}{team}/{key}") for key in ("rank", "score", "raw", "worst", "seconds")}
        rank, score, raw, seconds = (value[key] for key in ("rank", "score", "raw", "seconds"))
        worst = value["worst"] or found.get(f"{prefix}all/worst")
        if rank is None or score is None or raw is None:
            continue
        name = score.description.removeprefix("Score of ").rsplit(", ", 1)[0]
        rows.append(
            Standing(
                int(rank.value),
                name,
                score.value,
                int(raw.value),
                None if worst is None else worst.value,
                None,
                None if seconds is None else seconds.value,
            )
        )
    return Leaderboard(track, tuple(sorted(rows, key=lambda row: row.rank)), f"{_TABLES[track]}, as published")


def _transfer(results: list[PaperResult], figure: str, caption: str) -> PublishedTransfer:
    cells = {tuple(r.quantity.split("/")[2:]): r for r in results if r.quantity.startswith(f"adversarial/{figure}/")}
    names = tuple(dict.fromkeys(attacked for attacked, _ in cells))
    counts = tuple(tuple(int(cells[attacked, defender].value) for defender in names) for attacked in names)
    source = next((result.source for result in cells.values()), figure)
    return PublishedTransfer(names, names, counts, caption, source)

"""Leaderboards, and their export as CSV, HTML and pandas frames."""

import csv
import html
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.adversarial.competition.submissions import Track
from toolkit.core.files import atomic_write

COLUMNS = ("track", "rank", "name", "score", "raw", "worst", "worst_opponent", "median_seconds", "counted")
_TITLES = {"non-targeted": "Non-targeted attacks", "targeted": "Targeted attacks", "defence": "Defences"}
_HEADS = ("name", "rank", "score", "raw score", "worst case", "worst opponent", "median seconds a batch", "counts")


@dataclass(frozen=True)
class Standing:
    """One row of a leaderboard.

    Attributes:
        rank: 1 is best; equal scores share one.
        name: of the submission or team.
        score: eqs. (6) to (8), in [0, 1]; negative for a blacklisted submission. The share of images won: fooled, hit
            or labelled rightly.
        raw: images won, summed over the opponents that count.
        worst: eqs. (9) and (10): the share of images won against the worst opponent; None without opponents.
        worst_opponent: who that is; None if unknown.
        median_seconds: for a batch; None if it was never run.
        counted: whether it made all images or labels, so that its opponents are scored over it too.
    """

    rank: int
    name: str
    score: float
    raw: int
    worst: float | None
    worst_opponent: str | None
    median_seconds: float | None
    counted: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Remark:
    """Something that a submission did in one batch that it should not have done.

    Attributes:
        submission: its name.
        track: where it competes.
        attack: for a defence: against which attack; else None.
        batch: number of the batch.
        verdict: ``"time-out"``, ``"crash"`` (its process ended), ``"error"`` (an exception), ``"unreadable"``,
            ``"missing"`` or ``"resized"``.
        reason: what happened.
        n_images: how many images it cost, or how many were resized.
    """

    submission: str
    track: Track
    attack: str | None
    batch: int
    verdict: str
    reason: str
    n_images: int


@dataclass(frozen=True)
class ScoresByEpsilon:
    """Scores of a track, each over the batches of one epsilon only.

    Attributes:
        track: the track.
        epsilons: in levels of a uint8 pixel, ascending.
        names: the submissions.
        scores: a row for each submission, a column for each epsilon.
    """

    track: Track
    epsilons: tuple[int, ...]
    names: tuple[str, ...]
    scores: tuple[tuple[float, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def to_frame(self):
        """Return a pandas frame with a row for each submission."""
        import pandas

        return pandas.DataFrame(list(self.scores), index=list(self.names), columns=list(self.epsilons))


@dataclass(frozen=True)
class Leaderboard:
    """The ranking of one track.

    Attributes:
        track: ``"non-targeted"``, ``"targeted"`` or ``"defence"``.
        rows: best first.
        caption: what the table shows; empty for the name of the track.
    """

    track: Track
    rows: tuple[Standing, ...]
    caption: str = ""

    def __repr__(self) -> str:
        first = f", first {self.rows[0].name!r} with {self.rows[0].score:.4f}" if self.rows else ""
        return f"Leaderboard({self.track}: {len(self.rows)} submissions{first})"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Standing]:
        return iter(self.rows)

    def __getitem__(self, index: int) -> Standing:
        return self.rows[index]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; each row names its track."""
        return {"track": self.track, "rows": [{"track": self.track, **row.to_dict()} for row in self.rows]}

    def to_frame(self):
        """Return a pandas frame with a row for each submission."""
        import pandas

        return pandas.DataFrame(self.to_dict()["rows"], columns=list(COLUMNS))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a CSV file with the columns of ``COLUMNS``.

        Raises:
            WriteError: the file cannot be written.
        """
        write_csv(path, [self])

    def to_text(self) -> str:
        """Return a table for a terminal."""
        cells = [_HEADS, *(_cells(row) for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(_HEADS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
        return "\n".join([self.caption or _TITLES[self.track], *(line.rstrip() for line in lines)])

    def to_html(self) -> str:
        """Return a ``<table>`` with a caption and scoped headers."""
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in _HEADS)
        body = "".join(f"<tr>{_html_cells(_cells(row))}</tr>" for row in self.rows)
        caption = html.escape(self.caption or _TITLES[self.track])
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    _repr_html_ = to_html


def write_csv(path: str | os.PathLike[str], boards: Iterable[Leaderboard]) -> None:
    """Write leaderboards into one CSV file; what is unknown is an empty cell."""
    with atomic_write(path, "w") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for board in boards:
            writer.writerows(board.to_dict()["rows"])


def _cells(row: Standing) -> tuple[str, ...]:
    def or_dash(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    return (
        row.name,
        str(row.rank),
        f"{row.score:.4f}",
        f"{row.raw:,}",
        or_dash(row.worst, ".4f"),
        row.worst_opponent or "–",
        or_dash(row.median_seconds, ".3g"),
        "yes" if row.counted else "no",
    )


def _html_cells(cells: Sequence[str]) -> str:
    first, *rest = map(html.escape, cells)
    return f'<th scope="row">{first}</th>' + "".join(f"<td>{cell}</td>" for cell in rest)

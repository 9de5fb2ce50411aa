"""What an attack costs: score against seconds for 100 images, of the recorded attacks and of the paper's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.adversarial.competition import Leaderboard, Tournament
from toolkit.adversarial.competition.submissions import Track
from toolkit.core.plotting import spread
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments import Record
from toolkit.experiments.adversarial_published import N_IMAGES, published_tables
from toolkit.explorers.mean_and_worst import WHO, short_team
from toolkit.explorers.recorded_tournaments import NOT_RECORDED, recorded_tournament
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, ticks
from toolkit.lessons.svg import draw_marker

BATCH = 100
"""Images; the competition's limit of 500 seconds was for so many."""

NETWORK = "iwiwi"
"""The attack network, by the same name in the paper's table and among our entries."""

_SCORES = {"mean score": "score", "worst case": "worst"}
_CHEAP = 0.01
"""Seconds for a batch: what is quicker, by a copy or by noise, stands at the left edge."""


@dataclass(frozen=True, repr=False, eq=False)
class AttackCost:
    """Attacks by what they win and what they take.

    Attributes:
        title: whose attacks.
        by: ``"score"`` or ``"worst"``.
        names: highest score first.
        percent: the score or worst case of each.
        seconds: median for 100 images; on one machine for all of them.
        where: source, or how it was recorded.
    """

    title: str
    by: str
    names: tuple[str, ...]
    percent: Float[np.ndarray, "names"]
    seconds: Float[np.ndarray, "names"]
    where: str

    @property
    def frontier(self) -> tuple[bool, ...]:
        """Whether no other attack wins as much or more in less time, or more in the same."""
        return tuple(
            not any(
                (p >= own and s < time) or (p > own and s <= time)
                for p, s in zip(self.percent, self.seconds, strict=True)
            )
            for own, time in zip(self.percent, self.seconds, strict=True)
        )

    def __repr__(self) -> str:
        return f"AttackCost({self.title}: {len(self.names)} attacks by {self.by})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def median_seconds(found: Tournament) -> dict[str, float]:
    """Return each attack's median time over the batches, scaled to 100 images; without those never timed."""
    if not found.sizes:
        return {}
    scaled = found.attack_seconds.numpy() * BATCH / np.array(found.sizes, dtype=float)
    timed = {name: row[np.isfinite(row)] for name, row in zip(found.attacks, scaled, strict=True)}
    return {name: float(np.median(row)) for name, row in timed.items() if row.size}


def weigh(board: Leaderboard, seconds: Mapping[str, float], title: str, where: str, by: str = "score") -> AttackCost:
    """Put the scores of a leaderboard beside times.

    Args:
        board: of attacks.
        seconds: by name; who is not among them is left out.
        title: whose attacks.
        where: source.
        by: ``"score"`` or ``"worst"``.
    """
    rows = [row for row in board if row.name in seconds and getattr(row, by) is not None]
    rows.sort(key=lambda row: (-getattr(row, by), seconds[row.name]))
    percent = np.array([100 * getattr(row, by) for row in rows], dtype=float)
    return AttackCost(
        title,
        by,
        tuple(short_team(row.name) for row in rows),
        percent,
        np.array([seconds[row.name] for row in rows], dtype=float),
        where,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TITLE, _NAME, _TICK = 700.0, 14.0, 13.0, 12.0
_NETWORK = style.Line(style.BLUE, "-", "D")
_BEST = style.Line(style.VERMILION, "-", "s")
_OTHER = style.Line(style.GREY, "-", "o")


def draw(found: AttackCost) -> Svg:
    """Draw an attack a point, time across on a logarithmic axis; its name, score and seconds stand beside it."""
    if not found.names:
        picture = Svg(_WIDTH, 80)
        picture.text(16, 45, "no attacks were timed")
        return picture
    tall = max(250.0, 21.0 * len(found.names))
    top, bottom = 62.0, 62.0 + tall
    picture = Svg(_WIDTH, bottom + 52)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    names = [shorten(name, 180, _NAME, bold=True) for name in found.names]
    left, right = 62.0, _WIDTH - 188 - max(text_width(name, _NAME, bold=True) for name in names)
    shown = np.maximum(found.seconds, _CHEAP)
    to_x = Scale(shown.min() / 1.5, shown.max() * 1.6, left, right, True)
    highest = max(5.0, 1.06 * float(found.percent.max()))
    to_y = Scale(0.0, highest, bottom, top, False)
    for value in ticks(0.0, highest, most=6):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6", stroke_width=1)
        picture.text(left - 7, to_y(value) + 4, f"{value:g}", size=_TICK, anchor="end", fill=style.GREY)
    for value in _decades(to_x.low, to_x.high):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 18, f"{value:g}", size=_TICK, anchor="middle", fill=style.GREY)
    picture.polyline([(left, top), (left, bottom), (right, bottom)], stroke="#8c8c8c", stroke_width=1)
    label = f"seconds for {BATCH} images (median)"
    picture.text((left + right) / 2, bottom + 40, shorten(label, right - 10, _NAME), size=_NAME, anchor="middle")
    what = "images fooled or hit" if found.by == "score" else "images won, worst case"
    picture.text(18, (top + bottom) / 2, f"{what} (%)", size=_NAME, anchor="middle", rotate=-90)
    _draw_points(picture, found, names, (to_x, to_y), (top, right, bottom))
    return picture


def _decades(low: float, high: float) -> list[float]:
    """Return the powers of ten between two times, and twice and five times them where there is room."""
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    factors = (1, 2, 5) if high / low < 300 else (1,)
    values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    return [value for value in values if low <= value <= high]


def _draw_points(
    picture: Svg,
    found: AttackCost,
    names: Sequence[str],
    scales: tuple[Scale, Scale],
    frame: tuple[float, float, float],
) -> None:
    to_x, to_y = scales
    top, right, bottom = frame
    looks = [_NETWORK if name == NETWORK else _BEST if i == 0 else _OTHER for i, name in enumerate(found.names)]
    where = [
        (to_x(max(seconds, _CHEAP)), to_y(percent))
        for seconds, percent in zip(found.seconds.tolist(), found.percent.tolist(), strict=True)
    ]
    order = sorted(range(len(where)), key=lambda i: (-where[i][1], -i))
    shares = spread([(bottom - where[i][1]) / (bottom - top) for i in order], 20.0 / (bottom - top))
    heights = {i: bottom - share * (bottom - top) for i, share in zip(order, shares, strict=True)}
    text = right + 30
    score_at, seconds_at = _WIDTH - 92, _WIDTH - 14
    picture.text(score_at, 48, "%", size=_TICK, anchor="end", fill=style.GREY)
    picture.text(seconds_at, 48, "seconds", size=_TICK, anchor="end", fill=style.GREY)
    paying = sorted(point for point, best in zip(where, found.frontier, strict=True) if best)
    steps = [corner for (x, y), (further, _) in pairwise([*paying, (right, 0.0)]) for corner in ((x, y), (further, y))]
    picture.polyline(steps, stroke=style.VERMILION, stroke_width=1.6, dash=(4, 3))
    for i, (x, y) in enumerate(where):
        picture.polyline([(x, y), (right + 8, y), (text - 5, heights[i])], stroke="#c4c4c4", stroke_width=1)
    for i in sorted(range(len(where)), key=lambda i: looks[i] is not _OTHER):
        x, y = where[i]
        draw_marker(picture, x, y, looks[i])
        strong = looks[i] is not _OTHER
        paint: dict[str, Any] = {"size": _NAME, "bold": strong, "fill": looks[i].color if strong else style.INK}
        picture.text(text, heights[i] + 4.5, names[i], **paint)
        picture.text(score_at, heights[i] + 4.5, f"{found.percent[i]:.1f}", anchor="end", **paint)
        picture.text(seconds_at, heights[i] + 4.5, _time(float(found.seconds[i])), anchor="end", **paint)


def _time(seconds: float) -> str:
    if seconds < _CHEAP:
        return f"< {_CHEAP:g}"
    return f"{seconds:.0f}" if seconds >= 9.5 else f"{seconds:.2g}"


# ---------------------------------------------------------------------------------------------------------------------
# Words


def _finding(found: AttackCost) -> str:
    best = found.names[0]
    if found.percent[0] == 0:
        return "Everybody's worst case is 0, whatever it takes"
    if NETWORK not in found.names:
        return f"{best} wins most, {found.percent[0]:.1f} %, in {_time(float(found.seconds[0]))} seconds"
    at = found.names.index(NETWORK)
    if at == 0:
        return f"The attack network wins most, {found.percent[0]:.1f} %"
    times = found.seconds[0] / max(found.seconds[at], _CHEAP)
    behind = f"The attack network is {found.percent[0] - found.percent[at]:.1f} points behind {best}"
    return f"{behind}, at 1/{times:.0f} of the time" if times >= 1.5 else behind


def describe(found: AttackCost) -> str:
    """Say which attack wins most and in which time, where the attack network stands, and what pays."""
    if not found.names:
        return f"{found.title}: no attacks were timed. {found.where}"
    by = "in its worst case" if found.by == "worst" else "on average"
    what = f"for {BATCH} images"
    if found.percent[0] == 0:
        return f"{found.title}: nobody wins an image in the worst case. {found.where}"
    parts = [
        f"{found.title}: {found.names[0]} wins most {by}, {found.percent[0]:.1f} % of the images, in "
        f"{_time(float(found.seconds[0]))} seconds {what}."
    ]
    if NETWORK in found.names[1:]:
        at = found.names.index(NETWORK)
        parts.append(
            f"{NETWORK}, a network that attacks in one pass, wins {found.percent[at]:.1f} % in "
            f"{_time(float(found.seconds[at]))} seconds."
        )
    paying = [name for name, best in zip(found.names, found.frontier, strict=True) if best]
    parts.append(f"Where the dashed line bends, nobody wins as much in less time: {', '.join(paying)}.")
    quick = int((found.seconds < _CHEAP).sum())
    if quick:
        parts.append(f"What takes under {_CHEAP:g} seconds stands at the left edge.")
    return f"{' '.join(parts)} {found.where}"


def tables(records: Sequence[Record] | None = None) -> dict[str, tuple[Leaderboard, dict[str, float], str]]:
    """Return what can be shown: a leaderboard of attacks, the times, and the source, by a title; ours first.

    Args:
        records: to choose ours from; default: those that come with the toolkit.
    """
    tracks: dict[Track, int] = {"non-targeted": 2, "targeted": 3}
    found: dict[str, tuple[Leaderboard, dict[str, float], str]] = {}
    recorded = recorded_tournament(records)
    if recorded is not None:
        pooled = recorded.pooled
        for track in tracks:
            board = pooled.leaderboard(track)
            if len(board):
                found[f"ours: {WHO[track]}"] = (board, median_seconds(pooled), recorded.where)
    published = published_tables()
    for track, number in tracks.items():
        board = published[track]
        seconds = {row.name: row.median_seconds for row in board if row.median_seconds is not None}
        source = f"Kurakin et al. 2018, Table {number}: {len(board)} printed rows, {N_IMAGES:,} images."
        found[f"2017: {WHO[track]}"] = (board, seconds, source)
    return found


def explore_attack_cost(records: Sequence[Record] | None = None) -> View:
    """Return a view of scores against seconds: pick the attacks, and mean score or worst case.

    Args:
        records: to choose ours from; default: those that come with the toolkit. Without a recorded competition the
            paper's tables stand alone, and the sentence says so.
    """
    found = tables(records)
    missing = "" if any(title.startswith("ours") for title in found) else f" {NOT_RECORDED}"

    def compute(title: str, by: str) -> AttackCost:
        board, seconds, where = found[title]
        return weigh(board, seconds, title, where + missing, by)

    chosen = {
        "title": controls.choice("attacks", list(found)),
        "by": controls.toggle("by", _SCORES),
    }
    return View(chosen, compute, draw, describe)

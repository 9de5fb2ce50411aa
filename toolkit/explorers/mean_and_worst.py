"""Average or worst case: how far each submission falls and how the order changes, in the paper's tables and in ours."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.adversarial.competition import Leaderboard, ranks
from toolkit.adversarial.competition.submissions import Track
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments import Record
from toolkit.experiments.adversarial_published import N_IMAGES, published_tables
from toolkit.explorers.recorded_tournaments import NOT_RECORDED, recorded_tournament
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, tick_names, ticks

SCORES, RANKS = "scores", "ranks"
WHO: dict[Track, str] = {
    "defence": "defences",
    "non-targeted": "non-targeted attacks",
    "targeted": "targeted attacks",
}
"""The tracks in words."""

_SHORT = {
    "baseline: ensemble adversarially trained Inception-ResNet v2": "baseline (ens. adv.)",
    "baseline: iterative target class, 20 iterations": "baseline (20 steps)",
    "baseline: FGSM": "baseline (FGSM)",
}
_POINTS: dict[Track, str] = {"defence": "labelled rightly", "non-targeted": "fooled", "targeted": "hit"}


def short_team(name: str) -> str:
    """Return how a published submission is called in a picture."""
    return _SHORT.get(name, name)


@dataclass(frozen=True, repr=False, eq=False)
class MeanAndWorst:
    """The submissions of a leaderboard by their average and by their worst case.

    Attributes:
        title: whose leaderboard.
        track: which.
        show: ``SCORES`` or ``RANKS``.
        names: best average first.
        mean: per cent of the images won, over the opponents that count.
        worst: the same against the worst of these.
        opponents: who that is; empty where it is not known.
        where: source, or how it was recorded.
    """

    title: str
    track: Track
    show: str
    names: tuple[str, ...]
    mean: Float[np.ndarray, "names"]
    worst: Float[np.ndarray, "names"]
    opponents: tuple[str, ...]
    where: str

    @property
    def worst_ranks(self) -> tuple[int, ...]:
        """The rank of each by its worst case, 1 for the best, among those shown."""
        return ranks(self.worst.tolist())

    @property
    def turned(self) -> int:
        """Pairs of submissions that the worst case puts in the other order."""
        signs = (
            (self.mean[i] - self.mean[j]) * (self.worst[i] - self.worst[j]) < 0
            for i, j in itertools.combinations(range(len(self.names)), 2)
        )
        return sum(map(bool, signs))

    @property
    def n_pairs(self) -> int:
        """Pairs of submissions."""
        return len(self.names) * (len(self.names) - 1) // 2

    def __repr__(self) -> str:
        return (
            f"MeanAndWorst({self.title}: {len(self.names)} submissions, {self.turned} of {self.n_pairs} pairs turned)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def compare(board: Leaderboard, title: str, where: str, show: str = SCORES) -> MeanAndWorst:
    """Take averages and worst cases from a leaderboard; rows without a worst case are left out.

    Args:
        board: the leaderboard.
        title: whose it is.
        where: its source.
        show: ``SCORES`` or ``RANKS``.
    """
    rows = [row for row in board if row.worst is not None]
    return MeanAndWorst(
        title,
        board.track,
        show,
        tuple(short_team(row.name) for row in rows),
        np.array([100 * row.score for row in rows]),
        np.array([100 * (row.worst or 0.0) for row in rows]),
        tuple(row.worst_opponent or "" for row in rows),
        where,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The pictures

_WIDTH, _TITLE, _NAME, _TICK = 700.0, 14.0, 13.0, 12.0
_TOP = 62.0
_MEAN = style.Line(style.BLUE, "-", "o")
_LOW = style.Line(style.VERMILION, "-", "D")


def draw(found: MeanAndWorst) -> Svg:
    """Draw for each submission the way from its mean to its worst case, or from one rank to the other."""
    if not found.names:
        picture = Svg(_WIDTH, 80)
        picture.text(16, 45, "no scores to compare")
        return picture
    return _draw_ranks(found) if found.show == RANKS else _draw_scores(found)


def _draw_scores(found: MeanAndWorst) -> Svg:
    row = 27.0
    bottom = _TOP + row * len(found.names)
    picture = Svg(_WIDTH, bottom + 48)
    _head(picture, found)
    best = found.worst == found.worst.max()
    if best.all():
        best[:] = False  # nobody stands out
    left = 24 + min(max(text_width(name, _NAME, bold=True) for name in found.names), 200)
    right = _WIDTH - 66
    most = max(10.0, 10 * np.ceil(found.mean.max() / 10))
    to_x = Scale(0.0, float(most), left, right, False)
    values = ticks(0.0, float(most), most=6)
    for value, name in zip(values, tick_names(values), strict=True):
        picture.line(to_x(value), _TOP, to_x(value), bottom, stroke="#e6e6e6", stroke_width=1)
        picture.text(to_x(value), bottom + 17, name, size=_TICK, anchor="middle", fill=style.GREY)
    label = f"images {_POINTS[found.track]} (%)"
    picture.text((left + right) / 2, bottom + 38, label, size=_NAME, anchor="middle")
    for number, name in enumerate(found.names):
        y = _TOP + row * (number + 0.5)
        mean, worst = float(found.mean[number]), float(found.worst[number])
        strong = bool(best[number])
        picture.text(
            left - 10, y + 4.5, shorten(name, left - 18, _NAME, bold=strong), size=_NAME, anchor="end", bold=strong
        )
        picture.line(to_x(worst), y, to_x(mean), y, stroke="#9a9a9a", stroke_width=2)
        _mark(picture, to_x(worst), y, _LOW)
        _mark(picture, to_x(mean), y, _MEAN)
        picture.text(to_x(mean) + 9, y + 4.5, f"{mean:.1f}", size=_TICK, fill=style.BLUE, bold=True)
        text = f"{worst:.1f}"
        room = to_x(worst) - left > text_width(text, _TICK, bold=True) + 12
        x, anchor = (to_x(worst) - 9, "end") if room else (to_x(worst) + 9, "start")
        if room or to_x(mean) - to_x(worst) > text_width(text, _TICK, bold=True) + 22:
            picture.text(x, y + (4.5 if room else -4), text, size=_TICK, anchor=anchor, fill=style.VERMILION, bold=True)
    return picture


def _head(picture: Svg, found: MeanAndWorst) -> None:
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    if found.show == RANKS:
        return
    _mark(picture, 20, 43, _LOW)
    picture.text(30, 47.5, "against the worst opponent", size=_TICK, fill=style.VERMILION, bold=True)
    x = 56 + text_width("against the worst opponent", _TICK, bold=True)
    _mark(picture, x, 43, _MEAN)
    picture.text(x + 10, 47.5, "mean over all opponents", size=_TICK, fill=style.BLUE, bold=True)


def _mark(picture: Svg, x: float, y: float, look: style.Line) -> None:
    if look.marker == "D":
        corners = [(x, y - 6.0), (x + 6.0, y), (x, y + 6.0), (x - 6.0, y)]
        picture.polyline(corners, closed=True, fill=look.color, stroke="#ffffff", stroke_width=1.0)
    else:
        picture.circle(x, y, 5.0, fill=look.color, stroke="#ffffff", stroke_width=1.0)


def _draw_ranks(found: MeanAndWorst) -> Svg:
    row, n = 27.0, len(found.names)
    picture = Svg(_WIDTH, _TOP + row * n + 16)
    _head(picture, found)
    left, right = 255.0, _WIDTH - 255.0
    picture.text(left - 16, 48, "by the mean", size=_NAME, anchor="end", bold=True, fill=style.BLUE)
    picture.text(right + 16, 48, "by the worst case", size=_NAME, bold=True, fill=style.VERMILION)
    places = worst_places(found)
    firsts = {0, places.index(0)}
    for strong in (False, True):
        for number, name in enumerate(found.names):
            if (number in firsts) != strong:
                continue
            y, other = (_TOP + row * (at + 0.5) for at in (number, places[number]))
            colour = (style.BLUE if number == 0 else style.VERMILION) if strong else "#a8a8a8"
            picture.line(left, y, right, other, stroke=colour, stroke_width=3.2 if strong else 1.6)
            picture.circle(left, y, 4.0, fill=colour)
            picture.circle(right, other, 4.0, fill=colour)
            before = f"{found.mean[number]:.1f}  {name}"
            behind = f"{found.worst[number]:.1f}  {name}"
            ink = colour if strong else style.INK
            for x, height, text, anchor in ((left - 12, y, before, "end"), (right + 12, other, behind, "start")):
                text = shorten(text, 236, _NAME, bold=strong)
                picture.text(x, height + 4.5, text, size=_NAME, anchor=anchor, bold=strong, fill=ink)
    return picture


def worst_places(found: MeanAndWorst) -> list[int]:
    """Return the place of each submission by its worst case from 0; equal ones stay in the order of their means."""
    order = sorted(range(len(found.names)), key=lambda i: (-found.worst[i], i))
    places = [0] * len(order)
    for place, number in enumerate(order):
        places[number] = place
    return places


# ---------------------------------------------------------------------------------------------------------------------
# Words


def _finding(found: MeanAndWorst) -> str:
    if found.worst.max() == 0:
        return f"{found.names[0]} leads with {found.mean[0]:.1f} %; everybody's worst case is 0"
    place = found.worst_ranks[0]
    if place == 1:
        return (
            f"{found.names[0]} leads by the mean and by the worst case: {found.mean[0]:.1f} and {found.worst[0]:.1f} %"
        )
    first = f"{found.names[0]}: first by the mean, {found.mean[0]:.1f} %"
    return f"{first}; {_ordinal(place)} of {len(found.names)} by the worst case, {found.worst[0]:.1f} %"


def _ordinal(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def describe(found: MeanAndWorst) -> str:
    """Say who is first by either, how far the first falls, and how many pairs change places."""
    if not found.names:
        return f"{found.title}: no scores with a worst case. {found.where}"
    against = f", against {found.opponents[0]}" if found.opponents[0] else ""
    text = (
        f"{found.title}: {found.names[0]} is first by the mean, {found.mean[0]:.1f} % of the images "
        f"{_POINTS[found.track]}, and falls to {found.worst[0]:.1f} % in its worst case{against}."
    )
    if found.worst.max() == 0:
        return f"{text} The worst case of all others is 0 too. {found.where}"
    best = found.worst_ranks.index(1)
    if best:
        text += f" By the worst case {found.names[best]} is first, {found.worst[best]:.1f} %"
        against = f", against {found.opponents[best]}" if found.opponents[best] else ""
        text += f"{against}; by the mean it is {_ordinal(best + 1)} of those shown."
    ties = sum(found.worst[i] == found.worst[j] for i, j in itertools.combinations(range(len(found.names)), 2))
    text += f" Of {found.n_pairs} pairs {found.turned} change their order"
    text += f", {ties} are equal in the worst case." if ties else "."
    return f"{text} {found.where}"


def boards(records: Sequence[Record] | None = None) -> dict[str, tuple[Leaderboard, str]]:
    """Return the leaderboards that can be shown, by their title, with their source.

    Args:
        records: to choose ours from; default: those that come with the toolkit.
    """
    found: dict[str, tuple[Leaderboard, str]] = {}
    published = published_tables()
    for number, track in enumerate(WHO, 1):
        printed = len(published[track])
        source = f"Kurakin et al. 2018, Table {number}: {printed} rows that were printed; {N_IMAGES:,} images."
        found[f"2017: {WHO[track]}"] = (published[track], source)
    recorded = recorded_tournament(records)
    if recorded is not None:
        for track in WHO:
            board = recorded.pooled.leaderboard(track)
            if len(board):
                found[f"ours: {WHO[track]}"] = (board, recorded.where)
    return found


def explore_mean_and_worst(records: Sequence[Record] | None = None) -> View:
    """Return a view of means and worst cases: pick the table, and scores or ranks.

    Args:
        records: to choose ours from; default: those that come with the toolkit. Without a recorded competition the
            paper's tables stand alone, and the sentence says so.
    """
    found = boards(records)
    missing = "" if any(title.startswith("ours") for title in found) else f" {NOT_RECORDED}"

    def compute(title: str, show: str) -> MeanAndWorst:
        board, where = found[title]
        return compare(board, title, where + missing, show)

    chosen = {
        "title": controls.choice("table", list(found)),
        "show": controls.toggle("show", {"scores": SCORES, "order": RANKS}),
    }
    return View(chosen, compute, draw, describe)

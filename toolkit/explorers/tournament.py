"""The recorded tournament: every defence against every attack, ranked anew whoever is left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float

from toolkit.adversarial.competition import Tournament
from toolkit.adversarial.competition.submissions import Track
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.experiments import Record
from toolkit.explorers.recorded_tournaments import NOT_RECORDED, RecordedTournament, recorded_tournament
from toolkit.explorers.ticks import Ticks
from toolkit.lessons import View, controls, style

SORTS = {"mean score": "mean", "worst case": "worst"}
POINTS: dict[str, Track] = {
    "defences: labelled rightly": "defence",
    "non-targeted attacks: fooled": "non-targeted",
    "targeted attacks: hit": "targeted",
}
_WON: dict[str, str] = {"defence": "labelled rightly", "non-targeted": "labelled wrongly", "targeted": "hit"}
_KINDS = {"defence": "defence", "non-targeted": "non-targeted attack", "targeted": "targeted attack"}


@dataclass(frozen=True, repr=False, eq=False)
class Ranked:
    """A tournament with one side ranked.

    Attributes:
        track: which side.
        sort: ``"mean"`` or ``"worst"``.
        entrants: the ranked side's names, best first.
        opponents: the other side's, hardest first.
        percent: images won by each entrant against each opponent.
        scores: of each entrant, per cent over the opponents that count; eqs. (6) to (8).
        worst: of each entrant, per cent; eqs. (9) and (10).
        worst_opponent: index of the opponent where that is; None without opponents that count.
        entrants_counted, opponents_counted: whether a submission made or labelled everything.
        left_out: names.
        n_images: over all casts shown.
        notes: what attacks know of the defence, by the attack's and the defence's name.
        where: how it was recorded.
    """

    track: Track
    sort: str
    entrants: tuple[str, ...]
    opponents: tuple[str, ...]
    percent: Float[np.ndarray, "entrants opponents"]
    scores: Float[np.ndarray, "entrants"]
    worst: Float[np.ndarray, "entrants"]
    worst_opponent: tuple[int | None, ...]
    entrants_counted: tuple[bool, ...]
    opponents_counted: tuple[bool, ...]
    left_out: tuple[str, ...]
    n_images: int
    notes: dict[tuple[str, str], str]
    where: str

    @property
    def decided(self) -> bool:
        """Whether anybody is ranked by anything."""
        return len(self.entrants) > 0 and any(self.opponents_counted) and self.n_images > 0

    def __repr__(self) -> str:
        return f"Ranked({self.track} by {self.sort}: {len(self.entrants)} against {len(self.opponents)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def rank(
    recorded: RecordedTournament,
    track: Track = "defence",
    sort: str = "mean",
    out: Sequence[str] = (),
    cast: int | None = None,
) -> Ranked:
    """Rank one side of a recorded tournament.

    Args:
        recorded: the tournament.
        track: the side.
        sort: ``"mean"`` or ``"worst"``; the other breaks ties.
        out: names of submissions to leave out.
        cast: index of one training of the networks; default: all together.

    Raises:
        ValueError: an unknown track, order, name or cast.
    """
    require(sort in SORTS.values(), "rank", "sort", "'mean' or 'worst'", repr(sort))
    if cast is not None:
        require(0 <= cast < len(recorded.casts), "rank", "cast", f"0 to {len(recorded.casts) - 1}", cast)
    whole = recorded.pooled if cast is None else recorded.casts[cast]
    found = whole.without(out)
    names, scores = found.names(track), found.scores(track)
    points, opponents, in_opponents, in_entrants = _sides(found, track)
    percent = 100 * points / max(found.n_images, 1)
    keys = (scores.score, scores.worst) if sort == "mean" else (scores.worst, scores.score)
    rows = sorted(range(len(names)), key=lambda i: (-keys[0][i], -keys[1][i], names[i]))
    hardness = percent.mean(0) if len(names) else np.zeros(len(opponents))
    columns = sorted(range(len(opponents)), key=lambda j: (hardness[j], opponents[j]))
    place = {column: number for number, column in enumerate(columns)}
    return Ranked(
        track,
        sort,
        tuple(names[i] for i in rows),
        tuple(opponents[j] for j in columns),
        percent[np.ix_(rows, columns)],
        np.array([100 * scores.score[i] for i in rows]),
        np.array([100 * scores.worst[i] for i in rows]),
        tuple(None if (at := scores.worst_opponent[i]) is None else place[at] for i in rows),
        tuple(in_entrants[i] for i in rows),
        tuple(in_opponents[j] for j in columns),
        tuple(out),
        found.n_images,
        dict(recorded.knowledge),
        recorded.where,
    )


def _sides(found: Tournament, track: Track) -> tuple[np.ndarray, tuple[str, ...], list[bool], list[bool]]:
    in_a, in_d = found.counted_attacks.tolist(), found.counted_defences.tolist()
    if track == "defence":
        return found.correct.numpy(), found.attacks, in_a, in_d
    columns = [index for index, aims in enumerate(found.targeted) if aims == (track == "targeted")]
    points = (found.hit if track == "targeted" else found.error).T.numpy()[columns]
    return points, found.defences, in_d, [in_a[index] for index in columns]


# ---------------------------------------------------------------------------------------------------------------------
# The picture: defences downwards and attacks across, whichever side is ranked

_WIDTH, _TITLE, _NAME, _SLANT = 700.0, 14.5, 12.5, -52.0
_MARGIN = 50.0
_FEW = 12
"""Names that a sentence lists."""


def draw(ranked: Ranked) -> Svg:
    """Draw the cells in colours with their numbers, the ranked side's mean and worst case beside or below them."""
    if not ranked.decided:
        picture = Svg(_WIDTH, 80)
        picture.text(16, 45, "Nobody is left to play against")
        return picture
    defended = ranked.track == "defence"
    rows, columns = (ranked.entrants, ranked.opponents) if defended else (ranked.opponents, ranked.entrants)
    values = ranked.percent if defended else ranked.percent.T
    row_counts, column_counts = (
        (ranked.entrants_counted, ranked.opponents_counted)
        if defended
        else (ranked.opponents_counted, ranked.entrants_counted)
    )
    row_names = [_starred(name, counts) for name, counts in zip(rows, row_counts, strict=True)]
    column_names = [_starred(name, counts) for name, counts in zip(columns, column_counts, strict=True)]
    left = 24 + max(text_width(name, _NAME) for name in [*row_names, "worst"])
    slant = math.radians(-_SLANT)
    longest = max(text_width(name, _NAME) for name in column_names)
    over = longest * math.cos(slant) + 4  # the last name leans out to the right
    beside = max(2 * _MARGIN + 14, over) if defended else over
    wide = min((_WIDTH - left - beside - 8) / len(columns), 44.0)
    tall = 23.0
    top = 46 + longest * math.sin(slant) + 10
    bottom = top + tall * len(rows)
    end = left + wide * len(columns)
    picture = Svg(_WIDTH, bottom + (28 if defended else 14 + 2 * tall + 28))
    picture.text(14, 25, shorten(_finding(ranked), _WIDTH - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    for number, name in enumerate(row_names):
        picture.text(left - 8, top + tall * (number + 0.5) + 4.5, name, size=_NAME, anchor="end")
    for number, name in enumerate(column_names):
        picture.text(left + wide * (number + 0.5) + 4, top - 8, name, size=_NAME, rotate=_SLANT)
    low, high = _colour_range(ranked.percent)
    shades = matplotlib.colormaps[style.SEQUENTIAL]((values - low) / (high - low))
    for (row, column), value in np.ndenumerate(values):
        pale = not (ranked.opponents_counted[column if defended else row])
        box = (left + wide * column, top + tall * row, wide, tall)
        _cell(picture, box, shades[row, column], f"{value:.0f}", pale)
    for entrant, opponent in enumerate(ranked.worst_opponent):
        if opponent is not None:
            row, column = (entrant, opponent) if defended else (opponent, entrant)
            x, y = left + wide * column, top + tall * row
            picture.rectangle(x + 1, y + 1, wide - 2, tall - 2, fill="none", stroke="#ffffff", stroke_width=4)
            picture.rectangle(x + 1, y + 1, wide - 2, tall - 2, fill="none", stroke=style.VERMILION, stroke_width=2.4)
    _margins(picture, ranked, (left, top, end, bottom), (wide, tall))
    won = _WON[ranked.track]
    stars = "; * incomplete: not counted" if not all((*row_counts, *column_counts)) else ""
    legend = f"per cent of the images {won}; framed: each {_KINDS[ranked.track]}'s worst case{stars}"
    picture.text(14, picture.height - 10, shorten(legend, _WIDTH - 24, 12), size=12, fill=style.GREY)
    return picture


def _starred(name: str, counts: bool) -> str:
    return name if counts else f"{name}*"


def _colour_range(percent: Float[np.ndarray, "entrants opponents"]) -> tuple[float, float]:
    """Return the tens around all values, at least thirty apart, so that small differences do not shout."""
    low, high = 10 * np.floor(percent.min() / 10), 10 * np.ceil(percent.max() / 10)
    high = max(high, min(low + 30, 100.0))
    return float(min(low, high - 30)), float(high)


def _cell(
    picture: Svg, box: tuple[float, float, float, float], shade: Float[np.ndarray, "4"], text: str, pale: bool
) -> None:
    x, y, wide, tall = box
    dark = 0.2126 * shade[0] + 0.7152 * shade[1] + 0.0722 * shade[2] < 0.5
    colour = matplotlib.colors.to_hex(shade.tolist())
    picture.rectangle(x, y, wide, tall, fill=colour, stroke="#ffffff", opacity=0.3 if pale else 1.0)
    ink = "#ffffff" if dark and not pale else style.INK
    picture.text(x + wide / 2, y + tall / 2 + 4.5, text, size=12.5, anchor="middle", fill=ink)


def _margins(picture: Svg, ranked: Ranked, frame: tuple[float, float, float, float], cell: tuple[float, float]) -> None:
    left, top, end, bottom = frame
    wide, tall = cell
    for number, (name, values) in enumerate((("mean", ranked.scores), ("worst", ranked.worst))):
        strong = name == ranked.sort
        if ranked.track == "defence":
            x = end + 10 + _MARGIN * (number + 0.8)
            head = "mean" if number == 0 else "worst"
            picture.text(x, top - 8, head, size=_NAME, anchor="end", bold=strong)
            for row, value in enumerate(values.tolist()):
                y = top + tall * (row + 0.5) + 4.5
                picture.text(x, y, f"{value:.1f}", size=_NAME, anchor="end", bold=strong)
            continue
        y = bottom + 8 + tall * (number + 0.5) + 4.5
        picture.text(left - 8, y, name, size=_NAME, anchor="end", bold=strong)
        for column, value in enumerate(values.tolist()):
            text = f"{value:.1f}"
            x = left + wide * (column + 0.5)
            picture.text(x, y, text, size=12.5 if wide > 34 else 12, anchor="middle", bold=strong)


# ---------------------------------------------------------------------------------------------------------------------
# Words


def leaders(names: Sequence[str], values: Float[np.ndarray, "entrants"]) -> str:
    """Return who has the highest value: one name, two, or how many."""
    first = [name for name, value in zip(names, values.tolist(), strict=True) if value == values.max()]
    return " and ".join(first) if len(first) < 3 else f"{len(first)} submissions"


def _finding(ranked: Ranked) -> str:
    mean, worst = (leaders(ranked.entrants, values) for values in (ranked.scores, ranked.worst))
    high, low = f"{ranked.scores.max():.1f} %", f"{ranked.worst.max():.1f} %"
    if mean == worst:
        return f"{mean}: first by the mean, {high}, and by the worst case, {low}"
    full = f"First by the mean: {mean}, {high}; by the worst case: {worst}, {low}"
    short = f"By the mean {mean} is first, by the worst case {worst}"
    shortest = f"First by the mean: {mean}, {high}; worst cases up to {low}"
    lines = (full, short, shortest)
    return next((line for line in lines if text_width(line, _TITLE, bold=True) < _WIDTH - 24), shortest)


def describe(ranked: Ranked) -> str:
    """Say who is first by the mean and by the worst case, who is the worst opponent of most, and who counts."""
    few = len(ranked.left_out) <= _FEW
    listed = ", ".join(ranked.left_out) if few else f"{len(ranked.left_out)} submissions"
    gone = f" Left out: {listed}." if ranked.left_out else ""
    if not ranked.decided:
        who = "defence" if ranked.track != "defence" else "attack"
        missing = f"no {_KINDS[ranked.track]} is left" if not ranked.entrants else f"no {who} is left that counts"
        return f"There is nothing to rank: {missing}.{gone} {ranked.where}"
    mean_winner, worst_winner = (int(np.argmax(values)) for values in (ranked.scores, ranked.worst))
    n_counted = sum(ranked.opponents_counted)
    others = "attack" if ranked.track == "defence" else "defence"
    parts = [
        f"{len(ranked.entrants)} {_KINDS[ranked.track]}{'s' * (len(ranked.entrants) != 1)} against {n_counted} "
        f"{others}{'s' * (n_counted != 1)}, those in {'A' if ranked.track == 'defence' else 'D'}.",
        f"First by the mean: {leaders(ranked.entrants, ranked.scores)}, {ranked.scores.max():.1f} % of the images "
        f"{_WON[ranked.track]}; in the worst case {_against(ranked, mean_winner)}.",
        f"First by the worst case: {leaders(ranked.entrants, ranked.worst)}, {_against(ranked, worst_winner)}.",
    ]
    falls = ranked.scores - ranked.worst
    deepest = int(np.argmax(falls))
    parts.append(
        f"The deepest fall: {ranked.entrants[deepest]}, from {ranked.scores[deepest]:.1f} % to "
        f"{_against(ranked, deepest)}."
    )
    hardest = _commonest(ranked)
    if hardest:
        parts.append(hardest)
    incomplete = [
        name
        for names, counted in ((ranked.entrants, ranked.entrants_counted), (ranked.opponents, ranked.opponents_counted))
        for name, counts in zip(names, counted, strict=True)
        if not counts
    ]
    if incomplete:
        parts.append(f"Incomplete, and so in neither A nor D: {', '.join(incomplete)}.")
    return f"{' '.join(parts)}{gone} {ranked.where}"


def _against(ranked: Ranked, entrant: int) -> str:
    at = ranked.worst_opponent[entrant]
    assert at is not None
    name, opponent = ranked.entrants[entrant], ranked.opponents[at]
    attack, defence = (opponent, name) if ranked.track == "defence" else (name, opponent)
    note = ranked.notes.get((attack, defence), "")
    return f"{ranked.worst[entrant]:.1f} %, against {opponent}{f' ({note})' if note else ''}"


def _commonest(ranked: Ranked) -> str:
    places = [at for at in ranked.worst_opponent if at is not None]
    most = max(sorted(set(places)), key=places.count)
    if len(places) < 2 or places.count(most) < 2:
        return ""
    return f"The worst opponent of {places.count(most)} of {len(places)}: {ranked.opponents[most]}."


def presets(recorded: RecordedTournament) -> dict[str, tuple[str, ...]]:
    """Return who is left out by each button: by what the titles say, and only where that is somebody."""
    first, titles = recorded.casts[0], recorded.titles
    found = {
        "All": (),
        "No baselines": tuple(name for name in titles if "(baseline)" in titles[name]),
        "No plain networks": tuple(name for name in first.defences if "plain" in titles[name]),
        "Attacks on one network only": tuple(name for name in first.attacks if "network" in titles[name]),
    }
    return {words: out for words, out in found.items() if out or words == "All"}


def explore_tournament(records: Sequence[Record] | None = None) -> View:
    """Return a view of the recorded tournament: which side is ranked, by what, and who takes part.

    Args:
        records: to choose from; default: those that come with the toolkit.
    """
    recorded = recorded_tournament(records)
    if recorded is None:
        return nothing_recorded()
    first = recorded.casts[0]
    names = {words: first.names(track) for words, track in _TRACK_HEADINGS.items()}
    tracks = {words: track for words, track in POINTS.items() if first.names(track)}
    chosen = {
        "track": controls.choice("points for", tracks),
        "sort": controls.choice("sorted by", SORTS),
    }
    if len(recorded.casts) > 1:
        each = {f"seed {seed}": number for number, seed in enumerate(recorded.seeds)}
        chosen["cast"] = controls.choice("networks", {f"all {len(each)} trainings together": -1} | each)
    chosen["out"] = Ticks(
        "Who takes part", {words: group for words, group in names.items() if group}, presets(recorded)
    )

    def compute(track: Track, sort: str, out: tuple[str, ...], cast: int = -1) -> Ranked:
        return rank(recorded, track, sort, out, None if cast < 0 else cast)

    return View(chosen, compute, draw, describe)


_TRACK_HEADINGS: dict[str, Track] = {
    "Non-targeted attacks": "non-targeted",
    "Targeted attacks": "targeted",
    "Defences": "defence",
}


def nothing_recorded() -> View:
    """Return a view that says that no competition is recorded, and how to record one."""

    def empty(_: object) -> Svg:
        picture = Svg(640, 80)
        picture.text(20, 45, "no competition is recorded")
        return picture

    return View({}, lambda: None, empty, lambda _: NOT_RECORDED)

"""Two recorded codes with the same score: do they have the same parts of information?"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.disentanglement.bounds import PARTS
from toolkit.experiments import Record
from toolkit.experiments.disentanglement_pairs import Bars, SameScore, bars_of, same_score_pairs
from toolkit.experiments.records import SeedResult
from toolkit.explorers import pid_parts
from toolkit.explorers.code_profiles import nothing_recorded
from toolkit.explorers.disentanglement_records import (
    SCORES,
    Ends,
    Parts,
    Run,
    not_recorded,
    parts_of,
    recorded_runs,
    score_title,
    short_title,
    where_recorded,
)
from toolkit.explorers.pid_parts import amount, span
from toolkit.explorers.profile_bars import ABOVE, BELOW, Group, draw_groups, draw_key, highest
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, tick_names, ticks

TOLERANCES = (0.005, 0.01, 0.02, 0.05)
ANY, MODELS, SEEDS = "any two runs", "two models", "two seeds of one model"
"""Which runs are paired."""
MOST = 30
"""Of more pairs those whose parts are furthest apart are offered."""


@dataclass(frozen=True, repr=False, eq=False)
class Same:
    """A pair of runs that a score cannot tell apart, among all runs.

    Attributes:
        runs: all runs.
        score: name of the score.
        tolerance: scores that differ by less count as the same.
        which: ``ANY``, ``MODELS`` or ``SEEDS``.
        n_compared: how many pairs of runs there are.
        pairs: these; first those with a part that certainly differs, the widest gap first; then the others, those first
            that are furthest apart by I_min.
        n_certain: how many are of the first kind.
        place: which of the pairs is shown, from 0; 0 if there is none.
        groups: the bars of the pair.
        where: where this was recorded, or how to record it.
    """

    runs: tuple[Bars, ...]
    score: str
    tolerance: float
    which: str
    n_compared: int
    pairs: tuple[SameScore, ...]
    n_certain: int
    place: int
    groups: tuple[Group, ...]
    where: str

    @property
    def pair(self) -> SameScore | None:
        """The pair that is shown."""
        return self.pairs[self.place] if self.pairs else None

    @property
    def certain(self) -> bool:
        """Whether a part of this pair certainly differs."""
        return self.place < self.n_certain

    def __repr__(self) -> str:
        return f"Same({score_title(self.score)}: {self.n_certain} of {len(self.pairs)} alike pairs differ)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        lists = {name: [one.to_dict() for one in getattr(self, name)] for name in ("runs", "pairs", "groups")}
        return vars(self) | lists


def compute(run: Run | None, score: str = "mig", tolerance: float = 0.02, which: str = MODELS, place: int = 0) -> Same:
    """Find runs with the same score and a part of information that certainly differs.

    Args:
        run: None if nothing is recorded.
        score: one of :data:`toolkit.explorers.disentanglement_records.SCORES`.
        tolerance: scores that differ by less count as the same.
        which: ``ANY``, ``MODELS`` or ``SEEDS``.
        place: which of the pairs is shown, from 0; too large: the last.

    Raises:
        ValueError: an unknown score or kind of pairs, a tolerance that is not positive, a negative place.
    """
    require(score in SCORES, "compute", "score", f"one of {SCORES}", repr(score))
    require(which in (ANY, MODELS, SEEDS), "compute", "which", f"{ANY!r}, {MODELS!r} or {SEEDS!r}", repr(which))
    require(place >= 0, "compute", "place", ">= 0", place)
    if run is None:
        return Same((), score, tolerance, which, 0, (), 0, 0, (), not_recorded())
    runs = tuple(one for one in bars_of(run.records) if not math.isnan(one.scores.get(score, math.nan)))
    if not runs:
        none = f"None of these runs has a {score_title(score)}. {where_recorded(run)}"
        return Same((), score, tolerance, which, 0, (), 0, 0, (), none)
    compared = [
        pair for pair in itertools.combinations(runs, 2) if which == ANY or _two_models(pair) == (which == MODELS)
    ]
    alike = [pair for pair in compared if abs(pair[0].scores[score] - pair[1].scores[score]) < tolerance]
    found = same_score_pairs(runs, score=score, tolerance=tolerance, parts=PARTS)
    certain = [pair for pair in found if which == ANY or _two_models((pair.first, pair.second)) == (which == MODELS)]
    known = {frozenset((id(pair.first), id(pair.second))) for pair in certain}
    ends = {id(one): parts_of([_result(run, one)]) for one in runs}
    others = [_by_i_min(pair, ends, score) for pair in alike if frozenset(map(id, pair)) not in known]
    others.sort(key=lambda pair: -_distance(pair, ends))
    pairs = (*certain, *others)
    place = max(min(place, len(pairs) - 1), 0)
    shown = (pairs[place].first, pairs[place].second) if pairs else ()
    groups = tuple(
        Group(f"{mark}: {short_title(one.name)}", f"seed {one.seed}", ends[id(one)])
        for mark, one in zip("12", shown, strict=False)
    )
    where = where_recorded(run)
    return Same(runs, score, tolerance, which, len(compared), pairs, len(certain), place, groups, where)


def _two_models(pair: tuple[Bars, Bars]) -> bool:
    return pair[0].name != pair[1].name


def _result(run: Run, bars: Bars) -> SeedResult:
    return next(result for result in run.record(bars.name).results if result.seed == bars.seed)


def _by_i_min(pair: tuple[Bars, Bars], ends: Mapping[int, Parts], score: str) -> SameScore:
    """Return two runs whose bars touch, with the part of which I_min says the most different things."""
    one, other = (ends[id(run)] for run in pair)
    part = max(PARTS, key=lambda name: abs(one[name].i_min - other[name].i_min))
    first, second = pair if one[part].i_min <= other[part].i_min else pair[::-1]
    return SameScore(first, second, score, abs(first.scores[score] - second.scores[score]), part, 0.0)


def _distance(pair: SameScore, ends: Mapping[int, Parts]) -> float:
    return ends[id(pair.second)][pair.part].i_min - ends[id(pair.first)][pair.part].i_min


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _AXES, _LEFT = 720.0, 64.0, 236.0, 372.0


def draw(found: Same) -> Svg:
    """Draw every run by its score and one part, the pair in colour, and beside them the three parts of the pair."""
    if not found.runs:
        return nothing_recorded()
    picture = Svg(_WIDTH, _TOP + ABOVE + _AXES + BELOW)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    draw_key(picture, 14, 46, several=False)
    _draw_runs(picture, found)
    if found.groups:
        box = (_LEFT + 14, _TOP, _WIDTH - _LEFT - 26, ABOVE + _AXES + BELOW)
        draw_groups(picture, box, found.groups, highest(found.groups))
    else:
        picture.text((_LEFT + _WIDTH) / 2, _TOP + _AXES / 2, "no such pair of runs", anchor="middle", fill=style.GREY)
    return picture


def _draw_runs(picture: Svg, found: Same) -> None:
    part = found.pair.part if found.pair else "complementary"
    look = pid_parts.PARTS[part]
    left, right, above, bottom = 62.0, _LEFT - 14, _TOP + ABOVE, _TOP + ABOVE + _AXES
    scores = [one.scores[found.score] for one in found.runs]
    room = max(0.06 * (max(scores) - min(scores)), 0.01)
    to_x = Scale(min(scores) - room, max(scores) + room, left, right, False)
    to_y = Scale(0.0, max(1.06 * max(one.parts[part][1] for one in found.runs), 0.05), bottom, above, False)
    for value, name in _named(to_y):
        picture.line(left, to_y(value), right, to_y(value), stroke="#8c8c8c" if value == 0 else "#e6e6e6")
        picture.text(left - 7, to_y(value) + 4, name, size=12, anchor="end", fill=style.GREY)
    for value, name in _named(to_x):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 17, name, size=12, anchor="middle", fill=style.GREY)
    picture.text((left + right) / 2, bottom + 36, f"{score_title(found.score)}: one line is one run", anchor="middle")
    label = f"{part}, share of H(y)"
    picture.text(18, (above + bottom) / 2, label, anchor="middle", rotate=-90, fill=look.color)
    shown = () if found.pair is None else (found.pair.first, found.pair.second)
    for one in found.runs:
        if one not in shown:
            _draw_run(picture, to_x(one.scores[found.score]), to_y, one.parts[part], "#a8a8a8", 2.0)
    if found.pair is not None:
        xs = sorted(to_x(one.scores[found.score]) for one in shown)
        half = found.tolerance / 2 / (to_x.high - to_x.low) * (right - left)
        middle = sum(xs) / 2
        begin, end = max(middle - half, left), min(middle + half, right)
        picture.rectangle(begin, above, end - begin, bottom - above, fill=style.GREY, opacity=0.13)
    for number, one in enumerate(shown):
        x, other = to_x(one.scores[found.score]), to_x(shown[1 - number].scores[found.score])
        low, high = one.parts[part]
        side = 11 if (x, number) > (other, 1 - number) else -11  # each to its own side, however near they are
        x += side / 3 if abs(x - other) < 7 else 0.0
        _draw_run(picture, x, to_y, (low, high), look.color, 5.0)
        pid_parts.draw_point(picture, x, to_y(found.groups[number].parts[part].i_min), "i_min")
        picture.text(x + side, to_y((low + high) / 2) + 4, number + 1, size=12.5, bold=True, anchor="middle")


def _draw_run(picture: Svg, x: float, to_y: Scale, ends: tuple[float, float], color: str, width: float) -> None:
    low, high = to_y(ends[0]), to_y(ends[1])
    if low - high < 3:  # a line without a length would not be seen
        low, high = (low + high) / 2 + 1.5, (low + high) / 2 - 1.5
    picture.line(x, low, x, high, stroke=color, stroke_width=width)


def _named(scale: Scale) -> list[tuple[float, str]]:
    marks = ticks(scale.low, scale.high, most=5)
    return list(zip(marks, tick_names(marks), strict=True))


def _finding(found: Same) -> str:
    title, pair = score_title(found.score), found.pair
    if pair is None:
        return f"No two runs have the same {title}"
    values = [amount(one.scores[found.score], 3) for one in (pair.first, pair.second)]
    if not found.certain:
        points = [amount(group.parts[pair.part].i_min, 2) for group in found.groups]
        return f"{title} {values[0]} and {values[1]}; {pair.part} {points[0]} and {points[1]} by I_min, not for certain"
    parts = [group.parts[pair.part] for group in found.groups]  # as the bars show them
    ends = [span(part.lower, part.upper, decimals=2) for part in parts]
    text = f"{title} {values[0]} and {values[1]}, but {pair.part} {ends[0]} and {ends[1]}"
    if text_width(text, 14, bold=True) > _WIDTH - 24:
        text = f"{title} {values[0]} and {values[1]}, {pair.part[0].upper()} {ends[0]} and {ends[1]}"
    return text


def describe(found: Same) -> str:
    """Say how many runs the score cannot tell apart, how many of these differ, and which pair is shown."""
    if not found.runs:
        return found.where
    title, pair = score_title(found.score), found.pair
    how_many = f"{len(found.pairs):,} of {found.n_compared:,} pairs ({found.which})"
    counted = f"{title} less than {found.tolerance:g} apart: {how_many}."
    if pair is None:
        return f"{counted} {found.where}"
    said = "; ".join(
        f"{group.name}, {group.note}, {title} {amount(one.scores[found.score])}, "
        + ", ".join(_ends(part, ends) for part, ends in group.parts.items())
        for one, group in zip((pair.first, pair.second), found.groups, strict=True)
    )
    end = f"The {pair.part} bars overlap: whether they differ depends on the measure."
    if found.certain:
        end = f"Between the {pair.part} bars, bootstrap included, is a gap of {amount(pair.gap)} of H(y)."
    certain = f"{found.n_certain:,}" if found.n_certain else "none"
    have = "has" if found.n_certain == 1 else "have"
    order = "the widest gap first" if found.n_certain else "by I_min furthest apart first"
    return (
        f"{counted} Of these, {certain} {have} a part whose bars do not touch, even "
        f"as far out as the bootstrap's 95 % take them. Pair {found.place + 1} ({order}): {said} (in brackets I_min). "
        f"{end} {found.where}"
    )


def _ends(part: str, ends: Ends) -> str:
    return f"{part} {span(ends.lower, ends.upper, 2)} ({amount(ends.i_min, 2)})"


def explore_same_score(records: Sequence[Record] | None = None) -> View:
    """Return a view of pairs of recorded codes that a score calls equal though their parts of information differ.

    Args:
        records: to choose from; default: those that come with the toolkit. Without one the view says what makes one.
    """
    runs = recorded_runs(records)
    if not runs:
        return View({}, lambda: compute(None), draw, describe)
    labels = {run.label: run for run in runs}
    known = [name for name in SCORES if any(name in one.scores for run in runs for one in bars_of(run.records))]
    score = controls.choice("score", {score_title(name): name for name in known}, "mig" if "mig" in known else known[0])
    tolerance = controls.choice("the same if less apart than", {f"{value:g}": value for value in TOLERANCES}, 0.02)
    which = controls.choice("pairs of", [MODELS, SEEDS, ANY])
    number = controls.int_slider("pair number", 1, 1, MOST)

    def compute_one(score: str, tolerance: float, which: str, number: int, run: str = runs[0].label) -> Same:
        found = compute(labels[run], score, tolerance, which, number - 1)
        n_offered = min(len(found.pairs), MOST)
        number_of = chosen["number"]
        number_of.disabled = n_offered < 2
        number_of.tooltip = "there is no second pair" if n_offered < 2 else ""
        number_of.max = max(n_offered, 2)
        return found

    chosen: dict[str, Any] = {"score": score, "tolerance": tolerance, "which": which, "number": number}
    if len(runs) > 1:
        chosen = {"run": controls.choice("record", list(labels))} | chosen
    return View(chosen, compute_one, draw, describe)

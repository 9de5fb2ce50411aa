"""Recorded decoders: do they lose by not knowing which grammar it is, or by not knowing what comes next in it?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.plotting import GREEN, VERMILION, Line
from toolkit.core.svg import Svg
from toolkit.experiments import Record
from toolkit.experiments.records import SeedResult
from toolkit.explorers.metadata_panels import Curve, draw_key, draw_lengths, room_for
from toolkit.explorers.metadata_records import (
    Array,
    Run,
    depth_choice,
    depth_of,
    fitting,
    follow_run,
    length_slider,
    not_recorded,
    recorded_runs,
    spread,
    title_of,
    where_recorded,
)
from toolkit.explorers.prompt_length import fitted, nothing_recorded
from toolkit.lessons import View, controls, style

WHICH, WHAT, MIXTURE, DIRECT = "which grammar", "what next", "mixture", "direct"
"""The two parts; what they bound; and the divergence of the model itself."""
NATS, SHARE = "nats", "share of the sum"
_NOTHING = 1e-12
"""What rounding leaves of a divergence where there is nothing to believe; a trained model never has so little."""


@dataclass(frozen=True, eq=False, repr=False)
class Parts:
    """The parts of a model's divergence after prompts of each length.

    Attributes:
        run: it is from; None if nothing is recorded.
        arm: the model.
        lengths: of the prompts, those for which the parts were measured.
        means, spreads: mean and standard deviation over seeds of each part, nats; NaN where no sentence is as long.
        which_share: mean and standard deviation of the first part's share of the sum.
        believed: probability that the model's beliefs give the right metadata, mean and standard deviation.
        exact: the same of the exact posterior.
        n: how many sentences are as long.
        place: which length is looked at.
        show: ``NATS`` or ``SHARE``.
        where: where this was recorded, or how to record it.
    """

    run: Run | None
    arm: Record | None
    lengths: tuple[int, ...]
    means: dict[str, Float[Array, " lengths"]]
    spreads: dict[str, Float[Array, " lengths"]]
    which_share: tuple[Float[Array, " lengths"], Float[Array, " lengths"]]
    believed: tuple[Float[Array, " lengths"], Float[Array, " lengths"]]
    exact: Float[Array, " lengths"]
    n: tuple[int, ...]
    place: int
    show: str
    where: str

    @property
    def length(self) -> int:
        """Of the prompt that is looked at."""
        return self.lengths[self.place] if self.lengths else 0

    def __repr__(self) -> str:
        return f"Parts({'nothing' if self.arm is None else title_of(self.arm)}, {self.length} tokens)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain values."""
        about = {name: getattr(self, name) for name in ("lengths", "n", "place", "show", "where")}
        parts = {name: values.tolist() for name, values in self.means.items()}
        pairs = {name: [one.tolist() for one in getattr(self, name)] for name in ("which_share", "believed")}
        return about | pairs | {"means": parts, "exact": self.exact.tolist()}


def compute(run: Run | None, length: int = 0, depth: int = 1, show: str = NATS) -> Parts:
    """Take the parts from a recorded run.

    Args:
        run: None if nothing is recorded.
        length: of the prompt, tokens; the nearest that was measured is taken.
        depth: how many levels the model was shown in training; one that the run lacks: the most.
        show: ``NATS`` or ``SHARE``.

    Raises:
        ValueError: an unknown unit, a negative length.
    """
    require(show in (NATS, SHARE), "compute", "show", f"{NATS!r} or {SHARE!r}", repr(show))
    require(length >= 0, "compute", "length", ">= 0", length)
    none = np.zeros(0)
    if run is None:
        return Parts(None, None, (), {}, {}, (none, none), (none, none), none, (), 0, show, not_recorded())
    arm = run.arm(fitting(run, length, depth)[1])
    measured = [result for result in arm.results if {"decomposition", "beliefs"} <= set(result.tables)]
    lengths, n = _measured_lengths(run, measured)
    where = where_recorded(run)
    if not lengths:
        return Parts(run, arm, (), {}, {}, (none, none), (none, none), none, (), 0, show, where)
    columns = {name: _column(measured, "decomposition", name, lengths) for name in (WHICH, WHAT, MIXTURE, DIRECT)}
    spreads = {name: spread(values) for name, values in columns.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = columns[WHICH] / (columns[WHICH] + columns[WHAT])
    place = min(range(len(lengths)), key=lambda at: (abs(lengths[at] - length), lengths[at]))
    return Parts(
        run,
        arm,
        lengths,
        {name: mean for name, (mean, _) in spreads.items()},
        {name: deviation for name, (_, deviation) in spreads.items()},
        spread(shares),
        spread(_column(measured, "beliefs", "implied, of the truth", lengths)),
        _column(measured, "beliefs", "exact", lengths)[0],
        n,
        place,
        show,
        where,
    )


def _measured_lengths(run: Run, results: Sequence[SeedResult]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not results:
        return (), ()
    table = results[0].tables["decomposition"]
    known = dict(zip(table["position"], table["n"], strict=True))
    lengths = tuple(length for length in run.lengths if known.get(length, 0) > 0)
    return lengths, tuple(known[length] for length in lengths)


def _column(
    results: Sequence[SeedResult], table: str, name: str, lengths: Sequence[int]
) -> Float[Array, "seeds lengths"]:
    rows = []
    for result in results:
        known = dict(zip(result.tables[table]["position"], result.tables[table][name], strict=True))
        rows.append([float(known.get(length, math.nan)) for length in lengths])
    values = np.array(rows)
    return np.where(np.abs(values) < _NOTHING, 0.0, values)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _TALL, _BELOW = 720.0, 60.0, 258.0, 152.0
_LOOKS = {WHICH: Line(VERMILION, "-", "s", 2.0), WHAT: Line(GREEN, (0, (5.0, 1.6)), "^", 2.0)}
_MIXED, _TRUTH = (0, (1.2, 1.2)), style.MEANINGS["truth"]


def draw(found: Parts) -> Svg:
    """Draw both parts and what they bound; below, how probable the model's beliefs make the right metadata."""
    run, arm = found.run, found.arm
    if run is None or arm is None:
        return nothing_recorded()
    if not found.lengths:
        picture = Svg(640, 80)
        picture.text(20, 45, f"The record of {title_of(arm)} holds no decomposition.")
        return picture
    blue = run.look(arm)
    picture = Svg(_WIDTH, _TOP + _TALL + _BELOW + 24)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    model, mixed = Line(blue.color, "-", "o", 2.4), Line(blue.color, _MIXED, "", 1.8)
    if found.show == NATS:
        looks = {WHICH: _LOOKS[WHICH], WHAT: _LOOKS[WHAT], MIXTURE: mixed, DIRECT: model}
        bound = Line("#8c8c8c", (0, (9.0, 2.0)), "", 1.6)
        curves = [Curve("", (found.means[WHICH] + found.means[WHAT]).tolist(), bound)]
        for name, look in looks.items():
            mean, deviation = found.means[name], found.spreads[name]
            ranges = _ranges(mean, deviation) if look.marker else ()
            curves.append(Curve("", mean.tolist(), look, ranges, marked=bool(look.marker)))
        heading, limits = "divergence from the best predictor (nats a token)", (0.0, 1.06 * _highest(curves))
        key = [(f"{WHICH}?", looks[WHICH]), (f"{WHAT}?", looks[WHAT]), ("their sum", bound)]
        key += [("mixture", mixed), ("the model", model)]
    else:
        mean, deviation = found.which_share
        curves = [Curve("", mean.tolist(), _LOOKS[WHICH], _ranges(mean, deviation), True)]
        heading, limits = "“which grammar” as a share of the sum of both parts (%)", (0.0, 1.04)
        key = [(f"{WHICH}?", _LOOKS[WHICH])]
    draw_key(picture, 14, 46, key)
    room = room_for(["exact", "model"])
    options: dict[str, Any] = {"room": room, "mark": found.length}
    draw_lengths(
        picture,
        (14.0, _TOP, _WIDTH - 22, _TALL),
        curves,
        found.lengths,
        heading=heading,
        y_limits=limits,
        percent=found.show == SHARE,
        level=0.5 if found.show == SHARE else None,
        **options,
    )
    mean, deviation = found.believed
    beliefs = Curve("model", mean.tolist(), blue, _ranges(mean, deviation), marked=True)
    draw_lengths(
        picture,
        (14.0, _TOP + _TALL + 4, _WIDTH - 22, _BELOW - 6),
        [Curve("exact", found.exact.tolist(), _TRUTH), beliefs],
        found.lengths,
        heading="probability that the beliefs give the right metadata",
        y_limits=(0.0, 1.04),
        x_label="tokens of the prompt",
        **options,
    )
    return picture


def _ranges(mean: Float[Array, " lengths"], deviation: Float[Array, " lengths"]) -> list[tuple[float, float]]:
    return list(zip((mean - deviation).tolist(), (mean + deviation).tolist(), strict=True))


def _highest(curves: Sequence[Curve]) -> float:
    values = [value for curve in curves for value in (*curve.values, *(high for _, high in curve.ranges))]
    return max([value for value in values if math.isfinite(value)] + [1e-9])


def _finding(found: Parts) -> str:
    assert found.arm is not None
    which, what = (float(found.means[name][found.place]) for name in (WHICH, WHAT))
    share = float(found.which_share[0][found.place])
    after = f"{found.length} token{'s' * (found.length != 1)}, {title_of(found.arm)}"
    if not math.isfinite(share):
        return f"{after}: nothing is lost in either part"
    ends = f"what next {_nats(what)} nats"
    both = f"which grammar {_nats(which)} ({100 * share:.0f} % of both)", f"which grammar {_nats(which)}"
    return fitted(*(f"{after}: {which_part}, {ends}" for which_part in both))


def _nats(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0995 else f"{value:.2g}"


def describe(found: Parts) -> str:
    """Say both parts, what they bound, and the model's own divergence after the prompt, with their spread."""
    if found.run is None or found.arm is None or not found.lengths:
        return found.where
    place = found.place
    listed = {name: _with_spread(found.means[name][place], found.spreads[name][place]) for name in found.means}
    share, believed = float(found.which_share[0][place]), float(found.believed[0][place])
    shared = f" ({100 * share:.0f} % of the sum)" if math.isfinite(share) else ""
    depth, n_seeds = depth_of(found.arm), len(found.arm.results)
    levels = "all levels" if depth == found.run.n_levels else f"the first {depth} of {found.run.n_levels} levels"
    return (
        f"{title_of(found.arm)} after {found.length} token{'s' * (found.length != 1)}, {found.n[place]} sentences, "
        f"{n_seeds} seed{'s' * (n_seeds != 1)}. Wrong beliefs about the metadata of {levels}: {listed[WHICH]}{shared}; "
        f"wrong predictions where these are known: {listed[WHAT]}. The sum bounds the divergence of the mixture over "
        f"these beliefs, {listed[MIXTURE]}; the model itself, shown no metadata, has {listed[DIRECT]}, which the sum "
        f"need not bound. The right metadata have probability {float(found.exact[place]):.2f}, by the model's beliefs "
        f"{believed:.2f}. Bars: a standard deviation over seeds. {found.where}"
    )


def _with_spread(mean: float, deviation: float) -> str:
    if not math.isfinite(mean):
        return "–"
    beside = f" ± {deviation:.1g}" if math.isfinite(deviation) and deviation > 0 else ""
    return f"{_nats(mean)}{beside} nats"


def explore_which_or_what(records: Sequence[Record] | None = None) -> View:
    """Return a view of the two parts of a recorded model's divergence, by the length of the prompt.

    Args:
        records: to choose from; default: those that come with the toolkit. Without one the view says what makes one.
    """
    runs = {run.label: run for run in recorded_runs(records)}
    if not runs:
        return View({}, lambda: compute(None), draw, describe)
    first = next(iter(runs.values()))
    length, depth = length_slider(first), depth_choice(first)
    chosen: dict[str, Any] = {"length": length, "depth": depth, "show": controls.toggle("show", [NATS, SHARE])}
    if len(runs) == 1:
        return View(chosen, lambda **values: compute(first, **values), draw, describe)
    which = controls.choice("record", list(runs))
    follow_run(which, runs, length, depth, False)
    return View({"run": which} | chosen, lambda run, **values: compute(runs[run], **values), draw, describe)

"""Recorded trainings of sigmoid belief networks: bounds and variances against steps, evaluations or seconds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.svg import Svg
from toolkit.experiments import Record
from toolkit.explorers.recorded_training import where_recorded
from toolkit.explorers.sbn_looks import leaders, look_of, nats
from toolkit.explorers.sbn_runs import GROUPS, STUDY, Curve, Run, X, Y, curve_of, recorded_runs
from toolkit.explorers.sbn_tables import final_bounds_table, published_bounds_table, shared_parameters_table
from toolkit.explorers.sbn_training import times
from toolkit.lessons import View, controls
from toolkit.lessons.axis import power_name
from toolkit.lessons.svg import Series, line_chart

__all__ = [
    "Picked",
    "describe",
    "draw",
    "explore_sbn_recorded",
    "final_bounds_table",
    "pick",
    "published_bounds_table",
    "shared_parameters_table",
]

_Y_LABELS = {
    "test bound": "bound on held-out images (nats)",
    "fixed variance": "gradient's variance, fixed batch",
    "total variance": "gradient's variance, fresh batches",
}
_MOST_BANDS = 10
_WITHIN = 15.0  # nats: what ended further below the best, and gained less than half, is left out of the limits


@dataclass(frozen=True, repr=False, eq=False)
class Picked:
    """What is shown of a run.

    Attributes:
        run: the run.
        x: what stands on the horizontal axis, one of ``sbn_runs.X``.
        y: what is shown, one of ``sbn_runs.Y``.
        curves: one an estimator.
    """

    run: Run
    x: str
    y: str
    curves: tuple[Curve, ...]

    @property
    def finished(self) -> tuple[Curve, ...]:
        """The curves with a last number that is one, from the lowest to the highest of them."""
        return tuple(sorted((curve for curve in self.curves if math.isfinite(curve.last)), key=lambda one: one.last))

    def __repr__(self) -> str:
        return f"Picked({self.run.label}, {self.y} by {self.x}: {len(self.curves)} estimators)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def pick(run: Run, group: str = GROUPS[0], x: str = "steps", y: str = "test bound") -> Picked:
    """Return curves of a run.

    Args:
        run: one of :func:`toolkit.explorers.sbn_runs.recorded_runs`.
        group: one of ``sbn_runs.GROUPS``.
        x: one of ``sbn_runs.X``.
        y: one of ``sbn_runs.Y``.

    Raises:
        ValueError: another group or axis, or nothing of the kind was recorded.
    """
    names = run.group(group)
    curves = [curve_of(record, x, y) for record in run.records if record.variant in names]
    return Picked(run, x, y, tuple(curve for curve in curves if curve is not None))


def draw(picked: Picked) -> Svg:
    """Draw a line an estimator, the mean over seeds, and a band from the lowest to the highest seed."""
    curves = sorted(picked.curves, key=lambda one: one.estimator == "RAM")  # on top of the others
    bound, log_x = picked.y == "test bound", picked.x != "steps"
    lines = [
        Series(
            one.estimator,
            one.x,
            one.mean,
            look_of(one.estimator),
            band=(one.low, one.high) if _has_bands(picked) else None,
        )
        for one in curves
    ]
    points = [] if bound else [Series("", one.x, one.y, one.meaning, markers=True) for one in lines]  # few of them
    x_limits, y_limits = _limits(picked)
    return line_chart(
        [*leaders(lines, x_limits[1]), *lines, *points],
        x_label=_x_label(picked),
        y_label=_Y_LABELS[picked.y],
        title=_finding(picked),
        x_limits=x_limits,
        y_limits=y_limits,
        log_x=log_x,
        log_y=not bound,
        width=640,
        height=max(380, 19 * len(lines) + 90),
    )


def _has_bands(picked: Picked) -> bool:
    return len(picked.curves) <= _MOST_BANDS and any(one.n_seeds > 1 for one in picked.curves)


def _x_label(picked: Picked) -> str:
    if picked.x == "steps":
        return "steps of training"
    if picked.x == "evaluations":
        return "evaluations of the cost, for each image of a batch"
    return f"{_seconds(picked)} of training"


def _seconds(picked: Picked) -> str:
    return "CPU seconds" if picked.run.members[0].environment.device.startswith("cpu") else "seconds"


def _limits(picked: Picked) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """Return limits that show how the ends differ; of a bound the first steps lie far below."""
    x_end = max((float(one.x[-1]) for one in picked.curves), default=1.0) or 1.0
    finished, low, y_limits = picked.finished, -math.inf, None
    if picked.y == "test bound" and finished:
        best, steps = finished[-1].last, finished[-1].mean
        within = max(_WITHIN, float(best - steps[0]) / 2)
        lasts = [one.last for one in finished if one.last > best - within]
        # Of curves that end close together, or of a single one, a fifth of what was gained after the first measurement.
        span = max(best - min(lasts), float(best - steps[:2][-1]) / 5, 0.5)
        low = min(lasts) - 1.2 * span
        y_limits = (low, best + 0.2 * span)
    if picked.x == "steps":
        return (0.0, x_end), y_limits
    seen = [float(one.x[(one.mean >= low) & (one.x > 0)].min(initial=x_end)) for one in finished]
    return (0.7 * min(seen, default=x_end), x_end), y_limits


def _finding(picked: Picked) -> str:
    finished = picked.finished
    if len(finished) < 2:
        return picked.run.label
    low, high = finished[0], finished[-1]
    if picked.y == "test bound":
        names = _highest(picked)
        words = names[0] if len(names) == 1 else f"{names[0]} and {names[1]}"
        if len(names) > 2:
            words = f"{names[0]} and {len(names) - 1} others"
        verb = "ends" if len(names) == 1 else "end"
        return f"{words} {verb} highest, {low.estimator} {high.last - low.last:.2f} nats below"
    return f"{low.estimator} varies least, {high.estimator} {times(high.last / low.last)} × as much"


def _highest(picked: Picked) -> list[str]:
    """Return the estimator that ends highest, then those of which a seed reaches into its seeds' range."""
    *others, best = picked.finished
    reach = best.low[-1] if best.n_seeds > 1 else math.inf
    return [best.estimator, *(one.estimator for one in reversed(others) if one.high[-1] >= reach)]


def describe(picked: Picked) -> str:
    """Say who ends where, what the spread is, and where this was recorded."""
    finished, run = picked.finished, picked.run
    text = f"{run.label}: {_what(picked)}."
    lost = [one.estimator for one in picked.curves if one not in finished]
    if lost:
        text += f" Not a number at the end: {', '.join(lost)}."
    seeds = sorted({one.n_seeds for one in picked.curves})
    if seeds and seeds[-1] > 1:
        count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        bands = ", bands reach from the lowest to the highest" if _has_bands(picked) else ""
        text += f" Lines are means over {count} seeds{bands}."
    return f"{text} {where_recorded(STUDY, run.members)}"


def _what(picked: Picked) -> str:
    finished = picked.finished
    if not finished:
        return f"no {picked.y} was recorded for these estimators"
    low, high = finished[0], finished[-1]
    if picked.y != "test bound":
        which = "the same batch again and again" if picked.y == "fixed variance" else "fresh batches"
        if low is high:
            return (
                f"over {which} the inference network's gradient has a variance of {power_name(high.last, 2)} with "
                f"{high.estimator}, at the end of its training"
            )
        return (
            f"over {which} the inference network's gradient varies least with {low.estimator} "
            f"({power_name(low.last, 2)}) and most with {high.estimator} ({power_name(high.last, 2)}), each at the end "
            "of its own training"
        )
    if low is high:
        return f"the bound ends at {nats(high.last)} nats with {high.estimator}"
    alike = _highest(picked)[1:]
    beside = f" (within the range of its seeds: {', '.join(alike)})" if alike else ""
    ends = f"the bound ends at {nats(high.last)} nats with {high.estimator}{beside} and at {nats(low.last)} with "
    ends += low.estimator
    if picked.x == "steps":
        return ends
    unit = "evaluations an image" if picked.x == "evaluations" else _seconds(picked)
    passed = sorted((_first_above(one, low.last), one.estimator) for one in finished if one is not low)
    shown = [(at, name) for place, (at, name) in enumerate(passed) if place < 2 or name == "RAM"]
    words = ", ".join(f"with {name} by {_amount(at)}" for at, name in shown)
    return f"{ends}, after {_amount(float(low.x[-1]))} {unit}; that much is reached {words}"


def _first_above(curve: Curve, level: float) -> float:
    """Return where a curve that ends above a level was first measured there."""
    return float(curve.x[np.flatnonzero(curve.mean >= level)[0]])


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def explore_sbn_recorded(records: Sequence[Record] | None = None) -> View:
    """Return a view of the recorded runs: pick one, the estimators, and what stands on each axis.

    Args:
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: there is none.
    """
    runs = {run.label: run for run in recorded_runs(records)}

    def compute(label: str, group: str, x: str, y: str) -> Picked:
        return pick(runs[label], group, x, y)

    x_names = {"steps": "steps", "evaluations of the cost": "evaluations", "CPU or device seconds": "seconds"}
    assert set(x_names.values()) == set(X)
    choices = {
        "label": controls.choice("run", list(runs)),
        "group": controls.choice("estimators", GROUPS),
        "x": controls.choice("against", x_names),
        "y": controls.choice("show", dict(zip(_Y_LABELS.values(), Y, strict=True))),
    }
    return View(choices, compute, draw, describe)

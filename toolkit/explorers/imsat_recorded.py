"""Recorded clusterings: every seed's scores by method, and accuracy over the steps of training."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from toolkit.core.history import Series as History
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.experiments import Record
from toolkit.experiments.imsat_methods import METHODS
from toolkit.explorers.imsat_looks import Strip, draw_strips, look_of, spread_text, title_of
from toolkit.explorers.imsat_records import (
    CLUSTERING,
    Picked,
    Run,
    not_recorded,
    pick_methods,
    recorded_runs,
    values_of,
    where_recorded,
)
from toolkit.lessons import View, controls
from toolkit.lessons.svg import Series, line_chart

SCORES = {
    "accuracy": "accuracy (%)",
    "normalized mutual information": "normalised mutual information",
    "adjusted Rand index": "adjusted Rand index",
}
"""Metrics of the study, and the names of their axes."""

CURVE = "accuracy over the steps"
_OTHER_RADII = tuple(method.name for method in METHODS if method.radii != "10th")
_WITHOUT_STEPS = "k-means"
_MEAN_DASH = (0, (5.0, 1.6))


def pick(run: Run, show: str = "accuracy") -> Picked:
    """Return the methods of a run that have a score; those that vary the neighbour distances have a view of their own.

    Args:
        run: one of :func:`toolkit.explorers.imsat_records.recorded_runs`.
        show: one of ``SCORES``, or ``CURVE``.
    """
    metric = show if show in SCORES else "accuracy"
    return pick_methods(run, show, metric, 1 if metric == "accuracy" else 3, left_out=_OTHER_RADII)


def draw(picked: Picked) -> Svg:
    """Draw a row a method with every seed as a dot, or a line a method with a band from its lowest to highest seed.

    The curves of a single method are drawn seed by seed, with their mean dashed.
    """
    if not picked.records:
        return empty_picture(picked.run)
    if picked.show == CURVE:
        return _draw_curves(picked)
    strips = [
        Strip(title_of(record.variant), values_of(record, picked.metric), look_of(record.variant))
        for record in picked.records
    ]
    label = SCORES[picked.metric]
    return draw_strips(strips, value_label=label, title=_finding(picked), decimals=picked.decimals)


def empty_picture(run: Run, method: str = "") -> Svg:
    """Return a picture that says that a run is not recorded, or one of its methods."""
    picture = Svg(640, 80)
    label = run.label.removesuffix(" (not recorded)")
    words = f"{title_of(method)} on {label}" if method and run.records else label
    picture.text(20, 45, f"{shorten(words, 480, 13)}: not recorded")
    return picture


def _draw_curves(picked: Picked) -> Svg:
    curves = [(record, steps, values) for record in picked.records for steps, values in [accuracy_curves(record)]]
    end = max((float(steps[-1]) for _, steps, _ in curves if steps.size), default=1.0)
    alone = _trained_alone(picked)
    lines = []
    for record, steps, values in curves:
        look = look_of(record.variant)
        if alone and len(values) > 1 and steps.size:  # room for every seed: some stay long and then jump
            single = replace(look, linestyle="-", linewidth=1.3)
            lines += [Series("", steps, one, single) for one in values]
            dashed = replace(look, linestyle=_MEAN_DASH)
            lines.append(Series(f"{_short(record)}, mean", steps, values.mean(0), dashed))
        elif steps.size:
            band = (values.min(0), values.max(0)) if len(values) > 1 and len(curves) <= 6 else None
            lines.append(Series(_short(record), steps, values.mean(0), look, band=band))
        elif record.variant == _WITHOUT_STEPS:
            mean = values_of(record, "accuracy").mean()
            lines.append(Series(_short(record), [0.0, end], [mean, mean], look))
    return line_chart(
        lines,
        x_label="steps of training",
        y_label="accuracy (%)",
        title=_finding(picked),
        x_limits=(0.0, end),
        width=680,
        height=380,
    )


def _trained_alone(picked: Picked) -> bool:
    """Return whether only one of the methods is trained in steps, as k-means is not."""
    return sum("accuracy" in record.results[0].histories for record in picked.records) == 1


def accuracy_curves(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Return steps ``[points]`` and accuracies ``[seeds, points]`` in per cent, at the steps that all seeds have."""
    found = [result.histories["accuracy"] for result in record.results if "accuracy" in result.histories]
    by_step = [dict(zip(series.steps, series.values, strict=True)) for series in found if isinstance(series, History)]
    steps = sorted(set.intersection(*(set(series) for series in by_step))) if by_step else []
    values = np.array([[series[step] for step in steps] for series in by_step], dtype=float)
    return np.array(steps, dtype=float), values.reshape(len(by_step), len(steps))


def not_told_apart(first: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two means lie within two standard errors of their difference; a single seed tells nothing.

    Args:
        first, other: values, one a seed.
    """
    if min(first.size, other.size) < 2:
        return True
    error = np.sqrt(first.var(ddof=1) / first.size + other.var(ddof=1) / other.size)
    return bool(abs(first.mean() - other.mean()) <= 2 * error)


def _finding(picked: Picked) -> str:
    best, *others = picked.records
    mean = f"{values_of(best, picked.metric).mean():.{picked.decimals}f}"
    unit = " %" if picked.metric == "accuracy" else ""
    if not others:
        return f"{_short(best)} reaches {mean}{unit}"
    alike, following = _alike(picked), values_of(others[0], picked.metric).mean()
    if len(alike) == 1 and alike[0] is others[0]:
        return f"{_short(best)} and {_short(others[0])} lead: {mean} and {following:.{picked.decimals}f}{unit}"
    if alike:
        return f"{_short(best)} leads with {mean}{unit}, {len(alike)} more within two standard errors"
    return f"{_short(best)} leads with {mean}{unit}, {_short(others[0])} has {following:.{picked.decimals}f}{unit}"


def _short(record: Record) -> str:
    return re.sub(r"IMSAT \((.*?)\)", r"\1", title_of(record.variant))


def _alike(picked: Picked) -> list[Record]:
    best, *others = picked.records
    values = values_of(best, picked.metric)
    return [record for record in others if not_told_apart(values, values_of(record, picked.metric))]


def describe(picked: Picked) -> str:
    """Say what each method reaches, which the seeds do not tell apart, and where this was recorded."""
    run = picked.run
    if not run.records:
        return not_recorded(run)
    if not picked.records:
        return f"{run.label}: no {picked.metric} was recorded."
    counts = sorted({values_of(record, picked.metric).size for record in picked.records})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    over = f", mean ± standard deviation over {seeds} seeds" if counts[-1] > 1 else ", one seed"
    listed = ", ".join(
        f"{title_of(record.variant)} {spread_text(values_of(record, picked.metric), picked.decimals)}"
        for record in picked.records
    )
    name = SCORES[picked.metric].replace(" (%)", " in per cent")
    alike = _alike(picked)
    tie = (
        f" Within two standard errors of the highest: {', '.join(title_of(one.variant) for one in alike)}."
        if alike and counts[-1] > 1
        else ""
    )
    what = "at the end of training" if picked.show == CURVE else "after the last step"
    lines = " A thin line is one seed." if picked.show == CURVE and _trained_alone(picked) and counts[-1] > 1 else ""
    return f"{run.label}: {name} {what}{over}: {listed}.{tie}{lines} {where_recorded(picked.records)}"


def explore_imsat_recorded(records: Sequence[Record] | None = None) -> View:
    """Return a view of the recorded clusterings: pick the data, and a score or the curves.

    Args:
        records: to choose from; default: those that come with the toolkit. What the lesson is about and is not among
            them is offered too, with the command that records it.
    """
    runs = {run.label: run for run in recorded_runs(CLUSTERING, records)}

    def compute(label: str, show: str) -> Picked:
        return pick(runs[label], show)

    shows = {name.replace(" (%)", ""): metric for metric, name in SCORES.items()} | {CURVE: CURVE}
    return View(
        {"label": controls.choice("data", list(runs)), "show": controls.choice("show", shows)}, compute, draw, describe
    )

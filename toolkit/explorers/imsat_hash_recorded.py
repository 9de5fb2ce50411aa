"""Recorded hash codes: how well each method's codes retrieve, seed by seed, and precision and recall by radius."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.experiments import Record
from toolkit.explorers.imsat_looks import Strip, draw_strips, look_of, spread_text
from toolkit.explorers.imsat_recorded import empty_picture, not_told_apart
from toolkit.explorers.imsat_records import (
    HASHING,
    Picked,
    Run,
    not_recorded,
    pick_methods,
    recorded_runs,
    values_of,
    where_recorded,
)
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls
from toolkit.lessons.svg import Series

SCORES = {
    "mAP": "mean average precision (mAP)",
    "precision at 500": "precision among the 500 nearest",
    "precision within radius 2": "precision within Hamming radius 2",
    "distinct codes": "distinct codes in the gallery",
    "information of the bits": "information of the bits, summed (nats)",
    "information of pairs": "information that pairs of bits share, summed (nats)",
    "information of the codes": "information of all bits together (nats)",
}
"""Metrics of the study, and the names of their axes."""

CURVES = "precision and recall by radius"
_NAMES = {
    "PCA": "PCA-sign",
    "ITQ": "PCA-ITQ",
    "no-SAT": "no perturbation",
    "VAT": "VAT (c = 2)",
    "VAT-c1": "VAT (c = 1)",
}
_WIDTH, _TOP, _TALL = 700.0, 66.0, 320.0
_TITLE_WIDTH = 650.0
_NEAR = 2  # bits; the radius of the study's own precision


def name_of(method: str) -> str:
    """Return what the lesson calls a method of the study."""
    return _NAMES.get(method, method)


def pick(run: Run, show: str = "mAP") -> Picked:
    """Return the methods of a run that have a score.

    Args:
        run: one of :func:`toolkit.explorers.imsat_records.recorded_runs`.
        show: one of ``SCORES``, or ``CURVES``.
    """
    metric = show if show in SCORES else "mAP"
    decimals = 0 if metric == "distinct codes" else 2 if "information" in metric else 3
    return pick_methods(run, show, metric, decimals)


def by_radius(record: Record) -> tuple[Float[np.ndarray, " radii"], ...]:
    """Return radii, precision and recall within them, the mean over the seeds; nothing where it was not measured."""
    tables = [result.tables["retrieval"] for result in record.results if "retrieval" in result.tables]
    if not tables:
        return np.empty(0), np.empty(0), np.empty(0)
    size = min(len(table["radius"]) for table in tables)
    radii = np.array(tables[0]["radius"][:size], dtype=float)
    means = [np.mean([table[name][:size] for table in tables], axis=0) for name in ("precision", "recall")]
    return radii, *means


def draw(picked: Picked) -> Svg:
    """Draw a row a method with every seed as a dot, or two charts over the radius with a line a method."""
    if not picked.records:
        return empty_picture(picked.run)
    if picked.show == CURVES:
        return _draw_curves(picked)
    strips = [
        Strip(name_of(record.variant), values_of(record, picked.metric), look_of(record.variant))
        for record in picked.records
    ]
    label = SCORES[picked.metric]
    return draw_strips(strips, value_label=label, title=_finding(picked), decimals=picked.decimals)


def _draw_curves(picked: Picked) -> Svg:
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 25, _finding_of_curves(picked), size=14, bold=True)
    curves = [(record, by_radius(record)) for record in picked.records]
    x = 16.0
    for record, _ in curves:  # the lines meet at their right ends: names there would not say which is which
        look, name = look_of(record.variant), name_of(record.variant)
        picture.line(x, 46, x + 28, 46, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes)
        picture.text(x + 33, 50, name, size=12, bold=True, fill=look.color)
        x += 47 + text_width(name, 12, bold=True)
    end = max((float(radii[-1]) for _, (radii, *_) in curves if radii.size), default=1.0)
    for number, name in enumerate(("precision", "recall")):
        lines = [
            Series("", curve[0], curve[1 + number], look_of(record.variant))
            for record, curve in curves
            if curve[0].size
        ]
        draw_panel(
            picture,
            (14 + number * _WIDTH / 2, _TOP, _WIDTH / 2 - 24, _TALL - 26),
            lines,
            heading=f"{name} within the radius",
            x_label="Hamming radius (bits)",
            x_limits=(0.0, max(end, 1.0)),
            y_limits=(0.0, 1.02),
        )
    return picture


def _finding(picked: Picked) -> str:
    best, *others = picked.records
    values = values_of(best, picked.metric)
    text = f"{_named(picked.metric)}: {name_of(best.variant)} {values.mean():,.{picked.decimals}f}"
    text = text[0].upper() + text[1:] if picked.metric != "mAP" else text
    if not others:
        return text
    following = values_of(others[0], picked.metric)
    beside = f"{name_of(others[0].variant)} {following.mean():,.{picked.decimals}f}"
    if min(values.size, following.size) > 1 and not_told_apart(values, following):
        return f"{text} ≈ {beside}"
    last = values_of(others[-1], picked.metric).mean()
    lowest = f"{name_of(others[-1].variant)} {last:,.{picked.decimals}f}"
    if len(others) == 1:
        return f"{text}, {lowest}"
    titles = (f"{text}, {beside}, {lowest}", f"{text}, lowest {lowest}", text)
    return next((title for title in titles if text_width(title, 14, bold=True) < _TITLE_WIDTH), text)


def _finding_of_curves(picked: Picked) -> str:
    found = [(name_of(record.variant), by_radius(record)[2]) for record in picked.records]
    ends = [f"{name} {recall[_NEAR]:.2f}" for name, recall in found if recall.size > _NEAR]
    if not ends:
        return CURVES.capitalize()
    return f"Recall within {_NEAR} bits: {', '.join(dict.fromkeys([*ends[:2], ends[-1]]))}"


def _named(metric: str) -> str:
    return metric[0].lower() + metric[1:] if metric != "mAP" else metric


def describe(picked: Picked) -> str:
    """Say what each method's codes reach, how they were asked, and where this was recorded."""
    run = picked.run
    if not run.records:
        return not_recorded(run)
    if not picked.records:
        return f"{run.label}: no {picked.metric} was recorded."
    counts = sorted({values_of(record, picked.metric).size for record in picked.records})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    over = f", mean ± standard deviation over {seeds} seeds" if counts[-1] > 1 else ", one seed"
    listed = ", ".join(
        f"{name_of(record.variant)} {spread_text(values_of(record, picked.metric), picked.decimals)}"
        for record in picked.records
    )
    text = f"{run.label}: {SCORES[picked.metric]}{over}: {listed}."
    if picked.show == CURVES:
        text += _within(picked)
    hidden = [name_of(record.variant) for record in run.records if record not in picked.records]
    if hidden and "information" in picked.metric:
        text += f" Not shown: {', '.join(hidden)}, whose bits have no probabilities."
    return f"{text} {asked(run)} {where_recorded(picked.records)}"


def _within(picked: Picked) -> str:
    listed = []
    for record in picked.records:
        radii, precision, recall = by_radius(record)
        if radii.size > _NEAR:
            listed.append(f"{name_of(record.variant)} {precision[_NEAR]:.2f} and {recall[_NEAR]:.2f}")
    return f" Precision and recall within {_NEAR} bits: {', '.join(listed)}." if listed else ""


def asked(run: Run) -> str:
    """Say how many queries there were, and whether they were trained on."""
    config = run.config
    official = config.get("protocol") == "official"
    trained = "trained on too, as in the authors' code" if official else "held out of training"
    return f"Queries: {config.get('queries_per_class', 'some')} of each class, {trained}."


def explore_imsat_hash_recorded(records: Sequence[Record] | None = None) -> View:
    """Return a view of the recorded hash codes: pick the data, and a score or the curves by radius.

    Args:
        records: to choose from; default: those that come with the toolkit. What the lesson is about and is not among
            them is offered too, with the command that records it.
    """
    runs = {run.label: run for run in recorded_runs(HASHING, records)}

    def compute(label: str, show: str) -> Picked:
        return pick(runs[label], show)

    shows = {name: metric for metric, name in SCORES.items()} | {CURVES: CURVES}
    return View(
        {"label": controls.choice("data", list(runs)), "show": controls.choice("show", shows)}, compute, draw, describe
    )

"""Several starts, keep the lowest loss: what a choice without labels gains, from recorded seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from toolkit.core.svg import Svg
from toolkit.experiments import Record
from toolkit.explorers.imsat_looks import look_of, title_of
from toolkit.explorers.imsat_recorded import empty_picture
from toolkit.explorers.imsat_records import CLUSTERING, Run, not_recorded, recorded_runs, where_recorded
from toolkit.imsat.restarts import expected_selected, selection_probabilities
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, limits, tick_names, ticks
from toolkit.lessons.svg import Series, line_chart

LOSS = "loss on all data"
MOST = 50
_WIDTH, _HALF, _TOP, _TALL = 700.0, 330.0, 40.0, 300.0
_BY_LABELS = style.Line(style.GREY, (0, (5.0, 1.6)), "s", 1.8)


@dataclass(frozen=True, repr=False, eq=False)
class Restarts:
    """Recorded runs of one method, as if some of them had been made and the one with the lowest loss were kept.

    Attributes:
        run: the run, perhaps without records.
        method: its name.
        n_init: how many are made, at most as many as there are; 0 without records.
        losses: on all data, in nats, one a seed.
        scores: accuracies in per cent.
        probabilities: that a seed's run is the one that is kept.
        by_loss: expected accuracy of the run with the lowest loss among 1, 2, … of them.
        by_labels: likewise, of the run with the highest accuracy: a choice that needs labels.
    """

    run: Run
    method: str
    n_init: int
    losses: Float[np.ndarray, " seeds"]
    scores: Float[np.ndarray, " seeds"]
    probabilities: Float[np.ndarray, " seeds"]
    by_loss: Float[np.ndarray, " seeds"]
    by_labels: Float[np.ndarray, " seeds"]

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of loss and accuracy; NaN where one of them does not vary."""
        if np.ptp(self.losses) == 0 or np.ptp(self.scores) == 0:
            return float("nan")
        return float(spearmanr(self.losses, self.scores).statistic)

    def __repr__(self) -> str:
        return f"Restarts({self.run.label}, {self.method}: {self.n_init} of {self.losses.size})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def choose(run: Run, method: str, n_init: int) -> Restarts:
    """Return what keeping the lowest loss of some runs gives.

    Args:
        run: one of :func:`toolkit.explorers.imsat_records.recorded_runs`.
        method: its name; without a record of it, or with a loss or accuracy that is not finite, seeds are left out.
        n_init: how many runs are made; at most all.

    Raises:
        ValueError: ``n_init`` below 1.
    """
    record = run.record(method)
    pairs = [
        (result.metrics[LOSS], result.metrics["accuracy"])
        for result in (record.results if record is not None else ())
        if {LOSS, "accuracy"} <= set(result.metrics)
    ]
    pairs = [pair for pair in pairs if np.isfinite(pair).all()]
    empty = np.empty(0)
    if not pairs:
        return Restarts(run, method, 0, empty, empty, empty, empty, empty)
    losses, scores = np.array(pairs, dtype=float).T
    n_init = min(n_init, losses.size)
    counts = range(1, losses.size + 1)
    return Restarts(
        run,
        method,
        n_init,
        losses,
        scores,
        selection_probabilities(losses, n_init),
        np.array([expected_selected(losses, scores, count) for count in counts]),
        np.array([expected_selected(-scores, scores, count) for count in counts]),
    )


def draw(restarts: Restarts) -> Svg:
    """Draw losses against accuracies, discs as large as a run is likely to be kept, and the expected accuracies."""
    if not restarts.n_init:
        return empty_picture(restarts.run, restarts.method)
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 25, _finding(restarts), size=14, bold=True)
    picture.place(0, _TOP, _scatter(restarts))
    look = look_of(restarts.method)
    x = np.arange(1, restarts.losses.size + 1, dtype=float)
    low, high = limits([restarts.by_loss, restarts.by_labels], None, False, 0.1)
    chart = line_chart(
        [
            Series("best, by labels", x, restarts.by_labels, _BY_LABELS),
            Series("lowest loss", x, restarts.by_loss, look),
            Series("", [restarts.n_init], [restarts.by_loss[restarts.n_init - 1]], look, markers=True),
        ],
        x_label="runs made, one kept",
        y_label="expected accuracy (%)",
        x_limits=(0.0, max(float(x[-1]), 5.0)),  # whole numbers at the axis
        y_limits=(low, high),
        marks=[(float(restarts.n_init), "")],
        width=_WIDTH - _HALF,
        height=_TALL,
    )
    picture.place(_HALF, _TOP, chart)
    return picture


def _scatter(restarts: Restarts) -> Svg:
    picture = Svg(_HALF, _TALL)
    left, right, top, bottom = 62.0, _HALF - 14, 16.0, _TALL - 50
    look = look_of(restarts.method)
    x_low, x_high = limits([restarts.losses], None, False, 0.08)
    y_low, y_high = limits([restarts.scores], None, False, 0.08)
    to_x, to_y = Scale(x_low, x_high, left, right, False), Scale(y_low, y_high, bottom, top, False)
    y_ticks, x_ticks = ticks(y_low, y_high), ticks(x_low, x_high, most=4)
    for value, name in zip(y_ticks, tick_names(y_ticks), strict=True):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6", stroke_width=1)
        picture.text(left - 6, to_y(value) + 4, name, size=12, anchor="end", fill=style.GREY)
    for value, name in zip(x_ticks, tick_names(x_ticks), strict=True):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 18, name, size=12, anchor="middle", fill=style.GREY)
    picture.polyline([(left, top), (left, bottom), (right, bottom)], stroke="#8c8c8c", stroke_width=1)
    picture.text((left + right) / 2, _TALL - 12, "loss on all data (nats)", anchor="middle")
    picture.text(right, 12, "disc: how likely the run is kept", size=11, anchor="end", fill=style.GREY)
    picture.text(18, (top + bottom) / 2, "accuracy (%)", anchor="middle", rotate=-90)
    for loss, score, chance in zip(restarts.losses, restarts.scores, restarts.probabilities, strict=True):
        x, y = to_x(float(loss)), to_y(float(score))
        picture.circle(x, y, max(22 * float(chance) ** 0.5, 0.5), fill=look.color, opacity=0.35)
        picture.circle(x, y, 4, fill="#ffffff", stroke=look.color, stroke_width=1.8)
    return picture


def _finding(restarts: Restarts) -> str:
    gain = restarts.by_loss[restarts.n_init - 1] - restarts.by_loss[0]
    if restarts.n_init == 1:
        return f"One run of {title_of(restarts.method)}: {restarts.by_loss[0]:.1f} % on average"
    verb = "loses" if round(gain, 1) < 0 else "gains"
    return f"Keeping the lowest loss of {restarts.n_init} runs {verb} {abs(gain):.1f} points, without a label"


def describe(restarts: Restarts) -> str:
    """Say what the choice is worth, how loss and accuracy go together, and what labels could have chosen."""
    run = restarts.run
    if not run.records:
        return not_recorded(run)
    record = run.record(restarts.method)
    if record is None or not restarts.n_init:
        return f"{run.label}: {title_of(restarts.method)} has no recorded losses; of its methods, choose another."
    n, m = restarts.losses.size, restarts.n_init
    text = f"{run.label}, {title_of(restarts.method)}: a single run has {restarts.by_loss[0]:.1f} % on average."
    if m > 1:
        chosen = f"all {n}" if m == n else f"{m} of {n}"
        text += f" Of {chosen} recorded runs the one with the lowest loss has {restarts.by_loss[m - 1]:.1f} %"
        text += ", the mean over every choice of them" if m < n else ""
        text += f"; the best one by its labels would have {restarts.by_labels[m - 1]:.1f} %."
    correlation = restarts.correlation
    if np.isfinite(correlation) and n > 2:
        sign = "−" if round(correlation, 2) < 0 else ""
        text += f" Rank correlation of loss and accuracy: {sign}{abs(correlation):.2f}."
    return f"{text} {where_recorded([record])}"


def explore_imsat_restarts(records: Sequence[Record] | None = None) -> View:
    """Return a view of the choice among restarts by the lowest loss, with a slider for how many are made.

    Args:
        records: to choose from; default: those that come with the toolkit.
    """
    found = [run for run in recorded_runs(CLUSTERING, records) if not run.records or _with_losses(run)]
    runs = {run.label: run for run in found}
    methods = list(dict.fromkeys(name for run in found for name in _with_losses(run))) or ["VAT"]
    methods.sort(key=lambda name: name != "VAT")
    most = max((len(record.results) for run in found for record in run.records), default=2)
    most = min(max(most, 2), MOST)

    def compute(label: str, method: str, n_init: int) -> Restarts:
        return choose(runs[label], method, n_init)

    choices = {
        "label": controls.choice("data", list(runs)),
        "method": controls.choice("method", {title_of(name): name for name in methods}),
        "n_init": controls.int_slider("runs made", min(5, most), 1, most),
    }
    return View(choices, compute, draw, describe)


def _with_losses(run: Run) -> list[str]:
    return [record.variant for record in run.records if any(LOSS in result.metrics for result in record.results)]

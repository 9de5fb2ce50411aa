"""How the ledger comes to its verdict: a recorded run beside a reference, with a tolerance that the reader moves."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.experiments import Record, Spread
from toolkit.explorers import recorded_runs
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, tick_names, ticks

STUDY = "mnist-mlp"
_OURS, _REFERENCE = "held-out accuracy/autograd", "held-out accuracy/torch"
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 660.0, 144.0, 636.0, 66.0, 25.0


@dataclass(frozen=True)
class Run:
    """What a recorded run of ``mnist-mlp`` holds for this view.

    Attributes:
        scale: ``"quick"``, ``"laptop"`` or ``"paper"``.
        seeds: the seeds.
        ours: for each seed, our held-out accuracy after every epoch, in per cent.
        reference: torch's after the last epoch, over all seeds.
    """

    scale: str
    seeds: tuple[int, ...]
    ours: tuple[tuple[float, ...], ...]
    reference: Spread

    @property
    def n_epochs(self) -> int:
        """How many epochs were recorded."""
        return len(self.ours[0])


@dataclass(frozen=True)
class Comparison:
    """A line of the ledger.

    Attributes:
        run: where the numbers come from.
        ours: our accuracy of each seed that counts, after ``epochs`` epochs.
        spread: their mean and standard deviation.
        epochs: after how many epochs.
        tolerance: largest difference that counts as agreement, in percentage points.
    """

    run: Run
    ours: tuple[float, ...]
    spread: Spread
    epochs: int
    tolerance: float

    @property
    def difference(self) -> float:
        """Our mean minus the reference's, in percentage points."""
        return self.spread.mean - self.run.reference.mean

    @property
    def verdict(self) -> str:
        """``"within"`` or ``"outside"``, by the ledger's rule: the means are compared."""
        return "within" if abs(self.difference) <= self.tolerance + 1e-12 * self.run.reference.mean else "outside"

    def __repr__(self) -> str:
        return f"Comparison({self.difference:+.3g} points, tolerance {self.tolerance:g}: {self.verdict})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, and the verdict."""
        return dict(vars(self)) | {"verdict": self.verdict}


def recorded_run(records: Sequence[Record] | None = None) -> Run:
    """Take the longest recorded run of ``mnist-mlp``, the newest of several.

    Args:
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: none of them is a run of ``mnist-mlp``.
    """
    longest = recorded_runs.recorded_run(STUDY, records, lambda record: len(record.results[0].histories[_OURS].values))
    ours = tuple(result.histories[_OURS].values for result in longest.results)
    return Run(longest.scale, longest.seeds, ours, longest.summary[_REFERENCE])


def compare(run: Run, tolerance: float, epochs: int, n_seeds: int) -> Comparison:
    """Judge our run after some epochs, over the first seeds, against torch's after all of them.

    Args:
        run: the recorded run.
        tolerance: in percentage points, 0 or more.
        epochs: from 1 to ``run.n_epochs``.
        n_seeds: from 1 to all of them.

    Raises:
        ValueError: out of range.
    """
    require(tolerance >= 0, "compare", "tolerance", "0 or more percentage points", tolerance)
    require(1 <= epochs <= run.n_epochs, "compare", "epochs", f"1 to {run.n_epochs}", epochs)
    require(1 <= n_seeds <= len(run.seeds), "compare", "n_seeds", f"1 to {len(run.seeds)}", n_seeds)
    ours = tuple(values[epochs - 1] for values in run.ours[:n_seeds])
    spread = Spread(statistics.fmean(ours), statistics.stdev(ours) if n_seeds > 1 else None, n_seeds)
    return Comparison(run, ours, spread, epochs, tolerance)


def _limits(run: Run) -> tuple[float, float]:
    """Return an axis on which every setting of the sliders fits."""
    values = [value for seed in run.ours for value in seed] + [run.reference.mean]
    return min(values) - 0.5, min(max(values) + 1.5, 100.5)


def draw(result: Comparison) -> Svg:
    """Draw the reference with its tolerance as a band, every seed as a dot, and our mean with its spread."""
    run, torch_line, our_line = result.run, style.MEANINGS["torch"], style.MEANINGS["ours"]
    bottom = _TOP + _ROW * (len(run.seeds) + 1) + 8
    picture = Svg(_WIDTH, bottom + 52)
    to_x = Scale(*_limits(run), _LEFT, _RIGHT, False)
    picture.text(14, 23, f"{result.verdict}: {_difference(result)}", size=14, bold=True)
    low, high = (min(max(to_x(run.reference.mean + step * result.tolerance), _LEFT), _RIGHT) for step in (-1, 1))
    picture.rectangle(low, _TOP - 8, high - low, bottom - _TOP + 8, fill="#009E73", opacity=0.16)
    middle = to_x(run.reference.mean)
    picture.line(middle, _TOP - 8, middle, bottom, stroke=torch_line.color, stroke_width=2.4)
    words = f"torch, {_epochs(run.n_epochs)}: {_written(run.reference)}"
    picture.text(min(middle, _RIGHT - 4), _TOP - 16, words, size=12, anchor="end", bold=True, fill="#00694d")
    _draw_axis(picture, to_x, bottom)
    for place, seed in enumerate(run.seeds):
        y, counts = _TOP + _ROW * (place + 0.5), place < len(result.ours)
        ink = style.INK if counts else style.GREY
        picture.text(_LEFT - 10, y + 4, f"seed {seed}", size=12, anchor="end", fill=ink)
        if counts:
            picture.circle(to_x(result.ours[place]), y, 5, fill=our_line.color)
    y = _TOP + _ROW * (len(run.seeds) + 0.5)
    picture.text(_LEFT - 10, y + 4, "ours, mean ± sd", size=12, anchor="end", bold=True)
    _draw_mean(picture, to_x, result.spread, y, our_line.color)
    return picture


def _draw_axis(picture: Svg, to_x: Scale, bottom: float) -> None:
    picture.line(_LEFT, bottom, _RIGHT, bottom, stroke="#8c8c8c", stroke_width=1)
    marks = ticks(to_x.low, to_x.high, most=8)
    for value, name in zip(marks, tick_names(marks), strict=True):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 18, name, size=12, anchor="middle", fill=style.GREY)
    picture.text((_LEFT + _RIGHT) / 2, bottom + 40, "held-out accuracy (%); the band is the tolerance", anchor="middle")


def _draw_mean(picture: Svg, to_x: Scale, spread: Spread, y: float, color: str) -> None:
    x = to_x(spread.mean)
    if spread.sd is not None:
        low, high = to_x(spread.mean - spread.sd), to_x(spread.mean + spread.sd)
        picture.line(low, y, high, y, stroke=color, stroke_width=2.4)
        for end in (low, high):
            picture.line(end, y - 5, end, y + 5, stroke=color, stroke_width=2.4)
    picture.polyline([(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y)], closed=True, fill=color, stroke="#ffffff")


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _written(spread: Spread) -> str:
    return f"{spread.mean:.1f}" + ("" if spread.sd is None else f" ± {spread.sd:.1f}")


def _difference(result: Comparison) -> str:
    where = "below" if result.difference < 0 else "above"
    return f"{abs(result.difference):.2f} points {where} torch, tolerance {result.tolerance:.1f}"


def describe(result: Comparison) -> str:
    """Say the line of the ledger in words."""
    run, count = result.run, len(result.ours)
    seeds = "one seed, so nothing is known of the spread" if count == 1 else f"{count} seeds"
    return (
        f"After {_epochs(result.epochs)} ours reaches {_written(result.spread)} % ({seeds}); torch after "
        f"{_epochs(run.n_epochs)} {_written(run.reference)} %. The means differ by {abs(result.difference):.2f} "
        f"percentage points; with a tolerance of {result.tolerance:.1f} the verdict is “{result.verdict}”."
    )


def explore_ledger_verdict(records: Sequence[Record] | None = None) -> View:
    """Return a view of one comparison, with sliders for tolerance, epochs and seeds.

    Args:
        records: where to find a run of ``mnist-mlp``; default: the recorded ones that come with the toolkit.

    Raises:
        ValueError: there is no such run.
    """
    run = recorded_run(records)
    sliders = {"tolerance": controls.float_slider("tolerance", 0.5, 0.0, 5.0, step=0.1, unit="points")}
    if run.n_epochs > 1:
        sliders["epochs"] = controls.int_slider("epochs of ours", min(2, run.n_epochs), 1, run.n_epochs)
    if len(run.seeds) > 1:
        sliders["n_seeds"] = controls.int_slider("seeds", len(run.seeds), 1, len(run.seeds))
    defaults = {"epochs": run.n_epochs, "n_seeds": len(run.seeds)}
    return View(sliders, lambda **values: compare(run, **(defaults | values)), draw, describe)

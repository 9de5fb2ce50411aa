"""Whose neighbour distances? The 10th, the 11th of the authors' file, other images', their mean; and reported runs.

The authors' file of distances holds those to the 11th neighbour, in the order of an old file of MNIST. Read beside
images in another order, each image gets the radius of another one. A reader of the code computed the file anew, in the
order of his images, and reports ten runs. The ten distances that he prints are those to the 11th neighbours of the
first ten images of MNIST as it is read today.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.history import Series as History
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.experiments import Record, read_paper_results
from toolkit.experiments.ledger import PaperResult
from toolkit.explorers.imsat_looks import Strip, draw_strips, look_of, spread_text
from toolkit.explorers.imsat_recorded import CURVE, accuracy_curves, empty_picture, not_told_apart
from toolkit.explorers.imsat_records import (
    CLUSTERING,
    Run,
    difference,
    not_recorded,
    recorded_runs,
    values_of,
    where_recorded,
)
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series

RADII = {
    "VAT": "its 10th neighbour",
    "VAT-11th": "its 11th neighbour",
    "VAT-scrambled": "another image's",
    "VAT-mean": "one for all",
}
"""Methods of the study, and whose distance sets an image's radius; the one for all is the mean of the 10th ones."""

HIGH = 95.0
"""Accuracy in per cent, between runs on all of MNIST that still mix digits and those that have jumped."""

_WIDTH, _TOP, _TALL = 680.0, 42.0, 190.0
_NO_CURVES = "No seed was recorded over the steps with every kind of distance."
_READER = "imsat/mnist/accuracy-vat-reproduction"
_READERS_LOOK = style.Line(style.GREY, "-", "o")


@dataclass(frozen=True, repr=False, eq=False)
class Radii:
    """Accuracies of VAT by whose distances it was told, in per cent.

    Attributes:
        run: ours, perhaps without records.
        ours: of each of ``RADII`` that was recorded, one a seed.
        readers: what a reader of the authors' code reports, one a run.
        show: "accuracy", or ``CURVE``.
    """

    run: Run
    ours: dict[str, np.ndarray]
    readers: Float[np.ndarray, " runs"]
    show: str = "accuracy"

    def __repr__(self) -> str:
        return f"Radii({self.run.label}: {', '.join(self.ours) or 'not recorded'})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def reader_result() -> PaperResult:
    """Return what a reader of the authors' code reports, as the ledger has it."""
    return next(result for result in read_paper_results() if result.quantity == _READER)


def reader_runs(result: PaperResult | None = None) -> Float[np.ndarray, " runs"]:
    """Return the accuracies of the reader's runs, in per cent: the numbers at the beginning of the result's notes.

    Args:
        result: default: the ledger's.

    Raises:
        ValueError: the notes begin with no numbers.
    """
    result = reader_result() if result is None else result
    found = re.match(r"\d+(?:\.\d+)?(?:[ ]+\d+(?:\.\d+)?)*", result.notes)
    require(found is not None, "reader_runs", "notes", "to begin with numbers", result.notes)
    assert found is not None
    return np.array([float(number) for number in found[0].split()])


def compare(run: Run, show: str = "accuracy") -> Radii:
    """Return a run's accuracies beside the reader's, to be drawn at the end of training or over its steps."""
    found = {name: run.record(name) for name in RADII}
    ours = {name: values_of(record, "accuracy") for name, record in found.items() if record is not None}
    return Radii(run, {name: values for name, values in ours.items() if values.size}, reader_runs(), show)


def curves_of_the_same_seeds(radii: Radii) -> tuple[list[int], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return the seeds that every kind of distance has, and for each kind their accuracies over the steps.

    Returns:
        The seeds in order, and by kind the steps ``[points]`` and the accuracies ``[seeds, points]`` in per cent.
    """
    records = {name: record for name in radii.ours if (record := radii.run.record(name)) is not None}
    recorded = {name: found for name, record in records.items() if (found := _seeds_with_curves(record))}
    seeds = sorted(set.intersection(*recorded.values())) if recorded else []
    curves = {}
    for name in recorded if seeds else ():
        results = {result.seed: result for result in records[name].results}
        steps, values = accuracy_curves(replace(records[name], results=tuple(results[seed] for seed in seeds)))
        if steps.size:
            curves[name] = (steps, values)
    return seeds, curves


def _seeds_with_curves(record: Record) -> set[int]:
    curves = {result.seed: result.histories.get("accuracy") for result in record.results}
    return {seed for seed, curve in curves.items() if isinstance(curve, History) and np.isfinite(curve.values).all()}


def first_above(steps: np.ndarray, values: np.ndarray, level: float = HIGH) -> list[float]:
    """Return for each seed the first step at which its accuracy was above a level, infinity where it never was."""
    return [float(steps[one > level][0]) if (one > level).any() else float("inf") for one in values]


def draw(radii: Radii) -> Svg:
    """Draw every run as a dot, a row for each kind of distance and one for the reader's runs."""
    if not radii.ours:
        return empty_picture(radii.run)
    if radii.show == CURVE:
        return _draw_curves(radii)
    strips = [Strip(label, radii.ours.get(name, np.empty(0)), look_of(name)) for name, label in RADII.items()]
    strips.append(Strip("a reader's ten runs", radii.readers, _READERS_LOOK))
    return draw_strips(strips, value_label="accuracy (%)", title=_finding(radii))


def _draw_curves(radii: Radii) -> Svg:
    """Draw a panel for each kind of distance, a line for each seed; those that stay low are named."""
    seeds, curves = curves_of_the_same_seeds(radii)
    if not curves:
        picture = Svg(_WIDTH, 80)
        picture.text(20, 45, _NO_CURVES)
        return picture
    rows, columns = -(-len(curves) // 2), min(len(curves), 2)
    wide = _WIDTH / columns
    picture = Svg(_WIDTH, _TOP + rows * _TALL + 22)
    passed = {name: np.isfinite(first_above(*curve)) for name, curve in curves.items()}
    total = sum(int(found.sum()) for found in passed.values())
    title = f"{total} of {len(seeds) * len(curves)} trainings pass {HIGH:g} %" if total else _finding(radii)
    picture.text(14, 24, shorten(title, _WIDTH - 24, 14, bold=True), size=14, bold=True)
    end = max(float(steps[-1]) for steps, _ in curves.values())
    lowest = min(float(values.min()) for _, values in curves.values())
    level = Series("", (0.0, end), (HIGH, HIGH), style.Line(style.GREY, (0, (3.0, 3.0)), "", 1.0))
    for place, (name, (steps, values)) in enumerate(curves.items()):
        look = replace(look_of(name), linestyle="-", linewidth=1.4)
        named = [f"seed {seed}" if total and not found else "" for seed, found in zip(seeds, passed[name], strict=True)]
        lines = [Series(label, steps, one, look) for label, one in zip(named, values, strict=True)]
        last = place >= len(curves) - columns
        draw_panel(
            picture,
            (14 + place % columns * wide, _TOP + place // columns * _TALL, wide - 22, _TALL - 8),
            [*lines, *([level] if total else [])],
            heading=f"accuracy (%), {RADII[name]}",
            x_label="steps of training" if last else "",
            x_limits=(0.0, end),
            y_limits=(lowest - 1.0, 100.0),
            room=56.0,
        )
    return picture


def _finding(radii: Radii) -> str:
    right, other = radii.ours.get("VAT"), radii.ours.get("VAT-scrambled")
    if right is None or other is None:
        return f"Recorded here: radii from {' and '.join(RADII[name] for name in radii.ours)}"
    if not_told_apart(right, other):
        return "Radii of other images: no cost or gain that these seeds could show"
    change = other.mean() - right.mean()
    return f"Radii of other images {'cost' if change < 0 else 'gain'} {abs(change):.1f} points of accuracy"


def describe(radii: Radii) -> str:
    """Say what each kind of distance gives, how sure the differences are, and how the reader's runs compare."""
    run = radii.run
    if not radii.ours:
        if not run.records:
            return not_recorded(run)
        return f"{run.label}: IMSAT (VAT) was not recorded with any of the distances."
    listed = ", ".join(
        f"{label} {spread_text(radii.ours[name])}" for name, label in RADII.items() if name in radii.ours
    )
    counts = [values.size for values in radii.ours.values()]
    seeds = str(counts[0]) if len(set(counts)) == 1 else ", ".join(map(str, counts))
    over = f"mean ± standard deviation over {seeds} seeds" if max(counts) > 1 else "one seed"
    text = f"{run.label}: accuracy in per cent with radii from {listed} ({over})."
    missing = [label for name, label in RADII.items() if name not in radii.ours]
    text += f" Not recorded: {', '.join(missing)}." if missing else ""
    text += "".join(_change(radii, name) for name in RADII if name != "VAT")
    if radii.show == CURVE:
        return f"{text}{_times(radii)} {where_recorded([record for record in run.records if record.variant in RADII])}"
    result = reader_result()
    text += _above(radii)
    text += (
        f" A reader of the authors' code, with distances to the 11th neighbour, reports {spread_text(radii.readers)}"
    )
    text += f" over {radii.readers.size} runs ({result.source})"
    differs = difference(run, hidden="1200-1200", epochs=50) if run.config["data"] == "mnist" else "other images"
    text += (
        f"; ours differ: {differs}."
        if differs
        else f"; else ours have the setting of that code{_beside_reader(radii)}."
    )
    return f"{text} {where_recorded([record for record in run.records if record.variant in RADII])}"


def _above(radii: Radii) -> str:
    counts = {RADII[name]: values for name, values in radii.ours.items()} | {"the reader's": radii.readers}
    if not any((values > HIGH).any() for values in radii.ours.values()):
        return ""
    listed = ", ".join(f"{label} {(values > HIGH).sum()} of {values.size}" for label, values in counts.items())
    return f" Above {HIGH:g} %: {listed}."


def _times(radii: Radii) -> str:
    seeds, curves = curves_of_the_same_seeds(radii)
    if not curves:
        return f" {_NO_CURVES}"
    names = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    missing = [RADII[name] for name in radii.ours if name not in curves]
    text = f" A line is one seed; drawn: {names}." + (f" Without curves: {', '.join(missing)}." if missing else "")
    times = {name: first_above(*curve) for name, curve in curves.items()}
    if not np.isfinite([time for found in times.values() for time in found]).any():
        return f"{text} None of them was above {HIGH:g} %."
    listed = "; ".join(
        f"{RADII[name]} {', '.join(f'{time:,.0f}' if np.isfinite(time) else 'never' for time in found)}"
        for name, found in times.items()
    )
    return f"{text} First seen above {HIGH:g} % after so many steps, in this order: {listed}."


def _change(radii: Radii, name: str) -> str:
    right, other = radii.ours.get("VAT"), radii.ours.get(name)
    if right is None or other is None or min(right.size, other.size) < 2:
        return ""
    return f" {RADII[name].capitalize()} instead: {_gap(right, other)}."


def _beside_reader(radii: Radii) -> str:
    name = "VAT-11th" if "VAT-11th" in radii.ours else "VAT"
    ours = radii.ours.get(name, np.empty(0))
    return f". From ours with {RADII[name]} to the reader's: {_gap(ours, radii.readers)}" if ours.size > 1 else ""


def _gap(one: np.ndarray, other: np.ndarray) -> str:
    change = other.mean() - one.mean()
    error = np.sqrt(one.var(ddof=1) / one.size + other.var(ddof=1) / other.size)
    sign = "−" if round(change, 1) < 0 else "+"
    return f"{sign}{abs(change):.1f} points, standard error {error:.1f}"


def explore_imsat_radii(records: Sequence[Record] | None = None) -> View:
    """Return a view of VAT's accuracy by whose neighbour distances it was told, beside ten runs that a reader reports.

    Args:
        records: to choose from; default: those that come with the toolkit.
    """
    found = [
        run if run.records else replace(run, missing=f"{run.missing} --methods {','.join(RADII)}")
        for run in recorded_runs(CLUSTERING, records)
        if not run.records or set(RADII) & set(run.methods)
    ]
    found.sort(key=lambda run: (-len(set(RADII) & set(run.methods)), -run.n_images))  # the whole comparison first
    runs = {run.label: run for run in found}
    choices = {
        "label": controls.choice("data", list(runs)),
        "show": controls.choice("show", {"accuracy": "accuracy", CURVE: CURVE}),
    }
    return View(choices, lambda label, show: compare(runs[label], show), draw, describe)

"""One recorded clustering after another, the worst first: which classes it takes apart, and whether its loss tells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64
from scipy.optimize import linear_sum_assignment

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.datasets.catalogue import ENTRIES
from toolkit.experiments import Record, SeedResult
from toolkit.explorers.confusion_counts import draw_counts
from toolkit.explorers.imsat_looks import title_of
from toolkit.explorers.imsat_recorded import empty_picture
from toolkit.explorers.imsat_records import CLUSTERING, Run, not_recorded, recorded_runs, where_recorded
from toolkit.explorers.imsat_restarts import LOSS
from toolkit.imsat.evaluation import AlignedConfusion
from toolkit.lessons import View, controls, style

NOTEWORTHY = 0.05
"""Share of a class that lies in the cluster of another one, from which on it is said."""

_TABLE = "confusion"
_WIDTH, _TOP, _SIDE, _MATRIX = 712.0, 70.0, 330.0, 430.0
_MOST_ROWS, _MOST_NAMES = 14, 4
_WORDS, _TITLE = 12.0, 14.0


@dataclass(frozen=True, repr=False, eq=False)
class SeedLook:
    """One recorded training among those of other seeds.

    Attributes:
        run: the run, perhaps without records.
        method: its name.
        place: of the training, from 0, the lowest accuracy first.
        results: all trainings, in that order.
        class_names: of the rows of the counts.
    """

    run: Run
    method: str
    place: int
    results: tuple[SeedResult, ...]
    class_names: tuple[str, ...]

    @property
    def result(self) -> SeedResult:
        """The training looked at."""
        return self.results[self.place]

    def __repr__(self) -> str:
        return f"SeedLook({self.run.label}, {self.method}: {self.place + 1} of {len(self.results)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def look_at(run: Run, method: str, place: int) -> SeedLook:
    """Pick a training of a run.

    Args:
        run: one of :func:`toolkit.explorers.imsat_records.recorded_runs`.
        method: its name; trainings without counts of classes and clusters are left out.
        place: 0 for the lowest accuracy, at most the highest.

    Raises:
        ValueError: ``place`` below 0.
    """
    require(place >= 0, "look_at", "place", ">= 0", place)
    record = run.record(method)
    found = [result for result in (record.results if record is not None else ()) if _TABLE in result.tables]
    found.sort(key=lambda result: result.metrics["accuracy"])
    names = ENTRIES[run.config["data"]].class_names if found and run.config["data"] in ENTRIES else ()
    rows = len(counts_of(found[0].tables[_TABLE])) if found else 0
    names = names if len(names) == rows else tuple(str(row) for row in range(rows))
    return SeedLook(run, method, min(place, max(len(found) - 1, 0)), tuple(found), tuple(names))


def counts_of(table: Mapping[str, Sequence[int]]) -> Int64[np.ndarray, "classes clusters"]:
    """Return the counts that a record holds as columns ``class``, ``cluster`` and ``count``."""
    rows, columns = np.asarray(table["class"], dtype=int), np.asarray(table["cluster"], dtype=int)
    counts = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    counts[rows, columns] = np.asarray(table["count"], dtype=np.int64)
    return counts


def confusion_of(look: SeedLook) -> AlignedConfusion:
    """Return the counts, each cluster called by the class that it matches, one without a class by a dash."""
    counts = counts_of(look.result.tables[_TABLE])
    rows, columns = linear_sum_assignment(counts, maximize=True)
    match = {int(column): look.class_names[row] for row, column in zip(rows, columns, strict=True)}
    matches = tuple(match.get(column) for column in range(counts.shape[1]))
    return AlignedConfusion(counts, look.class_names, tuple(name or "–" for name in matches), matches)


def mixed_classes(confusion: AlignedConfusion) -> list[tuple[str, str, int, int]]:
    """Return which classes lie to a noteworthy part in another one's cluster.

    Returns:
        For each the class, the other class, how many images of it lie there, and of how many; the largest share first.
    """
    found = []
    for row, name in enumerate(confusion.classes):
        total = int(confusion.counts[row].sum())
        for column, match in enumerate(confusion.matches):
            count = int(confusion.counts[row, column])
            if match not in (None, name) and count >= NOTEWORTHY * total and count:
                found.append((name, match, count, total))
    return sorted(found, key=lambda entry: -entry[2] / entry[3])


def draw(look: SeedLook) -> Svg:
    """Draw the counts of the training on the left, and on the right accuracy and loss of all of them."""
    if not look.results:
        return empty_picture(look.run, look.method)
    picture = Svg(_WIDTH, _TOP + _SIDE + 52)
    picture.text(14, 24, shorten(_finding(look), _WIDTH - 24, _TITLE, bold=True), size=_TITLE, bold=True)
    picture.text(14, _TOP - 16, "images of each class (row) in each cluster", size=_WORDS, fill=style.GREY)
    words = "class that the cluster matches, in the order of the rows"
    draw_counts(picture, confusion_of(look), look.class_names, None, (12.0, _TOP, _MATRIX - 12, _SIDE), words)
    _draw_results(picture, look, _MATRIX + 36)
    return picture


def _draw_results(picture: Svg, look: SeedLook, left: float) -> None:
    columns = (left + 62, left + 136, _WIDTH - 18)
    for x, words in zip(columns, ("seed", "accuracy", "loss (nats)"), strict=True):
        picture.text(x, _TOP - 16, words, size=_WORDS, anchor="end", fill=style.GREY)
    first = min(max(look.place - _MOST_ROWS // 2, 0), max(len(look.results) - _MOST_ROWS, 0))
    for row, result in enumerate(look.results[first : first + _MOST_ROWS]):
        y, chosen = _TOP + 14 + 23 * row, first + row == look.place
        if chosen:
            picture.rectangle(left + 20, y - 16, _WIDTH - left - 28, 23, fill=style.BLUE, opacity=0.14)
        loss = f"{result.metrics[LOSS]:.3f}".replace("-", "−") if LOSS in result.metrics else "–"
        cells = (f"{result.seed}", f"{result.metrics['accuracy']:.1f} %", loss)
        for x, words in zip(columns, cells, strict=True):
            picture.text(x, y, words, size=_WORDS, anchor="end", bold=chosen)


def _finding(look: SeedLook) -> str:
    result, mixed = look.result, mixed_classes(confusion_of(look))
    start = f"Seed {result.seed}, {result.metrics['accuracy']:.1f} %"
    if not mixed:
        return f"{start}: every class has its own cluster"
    involved = {name for pair in mixed for name in pair[:2]}
    names = [name for name in look.class_names if name in involved]
    if len(names) > _MOST_NAMES:
        return f"{start}: {len(names)} of {len(look.class_names)} classes are mixed with another"
    return f"{start}: {', '.join(names[:-1])} and {names[-1]} are mixed"


def describe(look: SeedLook) -> str:
    """Say how good the training is among the others, and which classes it takes apart."""
    run, title = look.run, title_of(look.method)
    if not run.records:
        return not_recorded(run)
    record = run.record(look.method)
    if record is None or not look.results:
        others = " or ".join(title_of(name) for name in _with_counts(run))
        return f"{run.label}: {title} has no recorded counts." + (f" Choose {others}." if others else "")
    result, n = look.result, len(look.results)
    loss = f", loss on all data {result.metrics[LOSS]:.3f} nats".replace("-", "−") if LOSS in result.metrics else ""
    text = f"{run.label}, {title}, seed {result.seed}, number {look.place + 1} of {n} from the lowest accuracy: "
    text += f"{result.metrics['accuracy']:.1f} %{loss}. "
    mixed = mixed_classes(confusion_of(look))
    if not mixed:
        text += f"No class has {100 * NOTEWORTHY:.0f} % of its images in another one's cluster."
    listed = [
        f"{count:,} of {total:,} images of {name} ({100 * count / total:.0f} %) lie in the cluster matched with {other}"
        for name, other, count, total in mixed[:4]
    ]
    if listed:
        more = f", and so on for {len(mixed) - 4} more" if len(mixed) > 4 else ""
        text += f"{', '.join(listed)}{more}."
    return f"{text} {where_recorded([record])}"


def explore_imsat_seeds(records: Sequence[Record] | None = None) -> View:
    """Return a view of one recorded training after another, with a slider from the lowest accuracy to the highest.

    Args:
        records: to choose from; default: those that come with the toolkit.
    """
    found = [run for run in recorded_runs(CLUSTERING, records) if not run.records or _with_counts(run)]
    found.sort(key=lambda run: (not run.records, -run.n_images, -max(map(_n_seeds, run.records), default=0)))
    runs = {run.label: run for run in found}
    methods = list(dict.fromkeys(name for run in found for name in _with_counts(run))) or ["VAT"]
    methods.sort(key=lambda name: name != "VAT")
    most = max((_n_seeds(record) for run in found for record in run.records), default=2)

    def compute(label: str, method: str, place: int) -> SeedLook:
        return look_at(runs[label], method, place - 1)

    choices = {
        "label": controls.choice("data", list(runs)),
        "method": controls.choice("method", {title_of(name): name for name in methods}),
        "place": controls.int_slider("training", 1, 1, max(min(most, 50), 2)),
    }
    return View(choices, compute, draw, describe)


def _with_counts(run: Run) -> list[str]:
    return [record.variant for record in run.records if any(_TABLE in result.tables for result in record.results)]


def _n_seeds(record: Record) -> int:
    return len(record.results)

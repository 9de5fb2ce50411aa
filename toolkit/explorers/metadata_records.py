"""Recorded runs of the study of metadata conditioning: which belong together, what their models score."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.paths import data_directory
from toolkit.core.plotting import BLUE, GREY, PURPLE, Line
from toolkit.experiments import Record, load_records
from toolkit.experiments.metadata_conditioning_comparison import Difference
from toolkit.experiments.metadata_conditioning_config import BASELINE, FEWER
from toolkit.experiments.records import SCALES, SeedResult
from toolkit.explorers.recorded_runs import newest_of_each, told_apart
from toolkit.lessons import controls

STUDY = "metadata-conditioning"
COMMAND = "python -m toolkit run metadata-conditioning --scale laptop --out data/runs"
KL, LOSS, ANY, TRUE = "KL from the optimum", "loss", "acc_any", "acc_true"
"""What is measured after prompts of each length, without metadata."""
MEASURES = (KL, LOSS, ANY, TRUE)
ALL = -1
"""Stands among the numbers of levels for every one of them."""
_COLUMNS = {KL: ("positions", "KL"), LOSS: ("positions", "loss"), ANY: ("prompts", ANY), TRUE: ("prompts", TRUE)}
_ASIDE = ("seeds", "families", "depths", "n_evaluations", "device")
_DASHES: tuple[Any, ...] = ("-", (0, (5.0, 1.6)), (0, (1.2, 1.2)), (0, (6.0, 1.5, 1.2, 1.5)), (0, (9.0, 2.0)))
_MARKERS = "osD^v"
_DARK, _PALE = (0, 76, 122), (74, 154, 205)

Array = np.ndarray
Values = Float[Array, "seeds lengths"]


@dataclass(frozen=True, repr=False)
class Run:
    """Models that read documents of one family: a baseline, models shown metadata in training, perhaps a control.

    Attributes:
        label: scale, family, steps and what else tells it from other runs.
        family: its name, recipe or text.
        records: one a model: the baselines, then by the number of levels shown; that with the most seeds, the newest
            of several.
    """

    label: str
    family: str
    records: tuple[Record, ...]

    @property
    def baseline(self) -> Record:
        """Of the model that is never shown metadata and takes as many steps."""
        return self.records[0]

    @property
    def controls(self) -> tuple[Record, ...]:
        """Of the models that are never shown metadata."""
        return tuple(record for record in self.records if depth_of(record) == 0)

    @property
    def arms(self) -> tuple[Record, ...]:
        """Of the models that are, by the number of levels."""
        return tuple(record for record in self.records if depth_of(record))

    @property
    def depths(self) -> tuple[int, ...]:
        """How many levels these are shown, D_M."""
        return tuple(map(depth_of, self.arms))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of the prompts after which everything is measured."""
        return tuple(self.baseline.results[0].tables["prompts"]["prompt length"])

    @property
    def n_levels(self) -> int:
        """How many levels the family's metadata have."""
        return sum(name.startswith("best accuracy, level ") for name in self.optimum)

    @property
    def open_levels(self) -> tuple[int, ...]:
        """The levels that have more than one set of rules, so that there is something to know about their choice."""
        columns = (self.optimum[f"best accuracy, level {level}"] for level in range(self.n_levels))
        return tuple(level for level, best in enumerate(columns) if best[0] < 1)

    @property
    def optimum(self) -> dict[str, list]:
        """What is exact: the best predictor's columns by position."""
        return self.baseline.results[0].tables["optimum"]

    def exact(self, column: str) -> Float[Array, " lengths"]:
        """Return a column of the best predictor after each prompt, NaN where no sentence is that long."""
        return _at(self.optimum["position"], self.optimum[column], self.lengths)

    def arm(self, depth: int) -> Record:
        """Return the model that is shown so many levels.

        Raises:
            ValueError: there is none.
        """
        require(depth in self.depths, "Run.arm", "depth", f"one of {list(self.depths)}", depth)
        return self.arms[self.depths.index(depth)]

    def control(self, name: str) -> Record:
        """Return a model that is never shown metadata.

        Raises:
            ValueError: there is none of this name.
        """
        names = [name_of(record) for record in self.controls]
        require(name in names, "Run.control", "name", f"one of {names}", repr(name))
        return self.controls[names.index(name)]

    def look(self, record: Record) -> Line:
        """Return the line of a model: blue if it is shown metadata, the darker the more levels."""
        name = name_of(record)
        if name == BASELINE:
            return Line(PURPLE, (0, (6.0, 1.5, 1.2, 1.5)), "D", 2.0)
        if name == FEWER:
            return Line(GREY, (0, (1.2, 1.2)), "v", 2.0)
        place = len(self.depths) - 1 - self.depths.index(depth_of(record))
        pale = place / max(len(self.depths) - 1, 1)
        shade = [round(dark + pale * (light - dark)) for dark, light in zip(_DARK, _PALE, strict=True)]
        color = BLUE if len(self.depths) == 1 else "#{:02x}{:02x}{:02x}".format(*shade)
        return Line(color, _DASHES[place % len(_DASHES)], _MARKERS[place % len(_MARKERS)], 2.4 if place == 0 else 2.0)

    def __repr__(self) -> str:
        return f"Run({self.label}: {', '.join(map(name_of, self.records))})"


def recorded_runs(records: Sequence[Record] | None = None) -> tuple[Run, ...]:
    """Sort the study's records into runs.

    Args:
        records: to choose from; default: those that come with the toolkit.

    Returns:
        That at the largest scale first, then that of the most models, of the most seeds, the newest. A run without a
        baseline or without a model that is shown metadata is left out; none if nothing is recorded.
    """
    found = load_records(data_directory() / "runs", STUDY) if records is None else records
    kept = (record for record in found if _measured(record))
    groups = [tuple(sorted(members, key=_place)) for members in newest_of_each(kept, _key)]
    runs = [run for run in groups if name_of(run[0]) == BASELINE and depth_of(run[-1])]
    runs.sort(key=_rank, reverse=True)
    labels = told_apart(_label(run[0]) for run in runs)
    return tuple(Run(label, family_of(run[0]), run) for label, run in zip(labels, runs, strict=True))


def run_with(**settings: Any) -> Run | None:
    """Return the first of the recorded runs that was trained with some settings, None if there is none.

    Args:
        settings: by their names in the study's configuration, such as ``n_steps=1500``.
    """
    wanted = settings.items()
    runs = recorded_runs()
    return next((run for run in runs if all(run.baseline.config.get(name) == value for name, value in wanted)), None)


def _measured(record: Record) -> bool:
    needed = {"positions", "optimum", "prompts", "probes", "trained"}
    fine = all(needed <= set(result.tables) and "loss without metadata" in result.metrics for result in record.results)
    return record.study == STUDY and bool(record.results) and fine


def _key(record: Record) -> tuple:
    settings = {name: value for name, value in record.config.items() if name not in _ASIDE}
    return record.scale, family_of(record), *sorted((name, str(value)) for name, value in settings.items())


def _place(record: Record) -> tuple:
    return depth_of(record), name_of(record) != BASELINE, record.date


def _rank(run: Sequence[Record]) -> tuple:
    newest = max(record.date for record in run)
    return SCALES.index(run[0].scale), len(run), max(len(record.results) for record in run), newest


def _label(record: Record) -> str:
    config, family = record.config, family_of(record)
    name = family if len(family) <= 40 else family[:39] + "…"
    extra = f", metadata in {_per_cent(config['p_meta'])}"
    extra += f", none in the last {_per_cent(config['cooldown'])}" if config.get("cooldown") else ""
    return f"{record.scale} scale: {name}, {config['size']}, {config['n_steps']:,} steps{extra}"


def _per_cent(share: float) -> str:
    return f"{100 * share:.3g} %"


def family_of(record: Record) -> str:
    """Return the name of the family that a record's model reads."""
    return record.variant.rpartition("/")[0]


def name_of(record: Record) -> str:
    """Return the name of a record's model in the study: ``"baseline"``, ``"fewer-steps"`` or ``"D_M=2"``."""
    return record.variant.rpartition("/")[2]


def depth_of(record: Record) -> int:
    """Return how many levels of metadata a record's model is shown, 0 for a baseline."""
    return int(record.results[0].tables["trained"]["D_M"][0])


def title_of(record: Record) -> str:
    """Return what a record's model is called in a picture: ``"D_M = 2"``, ``"baseline"`` or ``"fewer steps"``."""
    return f"D_M = {depth_of(record)}" if depth_of(record) else name_of(record).replace("-", " ")


def not_recorded(**settings: Any) -> str:
    """Say that the study is not recorded, perhaps not with some settings, and how to record it."""
    chosen = "".join(f" --{name.replace('_', '-')} {value:g}" for name, value in settings.items())
    which = f" with{chosen.replace(' --', ', --')[1:]}" if chosen else ""
    return f"No run of the study {STUDY}{which} is recorded here. This records one: {COMMAND}{chosen}"


def where_recorded(run: Run) -> str:
    """Return family, training, scale, seeds, day, machine and versions of a run in two sentences."""
    record = max(run.records, key=lambda record: record.date)
    config, environment = record.config, record.environment
    device = environment.device.partition(": ")[2] or environment.device
    family = run.family if len(run.family) <= 60 else run.family[:59] + "…"
    seeds = ", ".join(map(str, record.seeds))
    end = f", none in the last {_per_cent(config['cooldown'])} of the steps" if config.get("cooldown") else ""
    return (
        f"Family {family}; {config['n_steps']:,} steps of {config['batch_size']} documents, metadata shown in "
        f"{_per_cent(config['p_meta'])} of them{end}. Recorded at {record.scale} scale with "
        f"seed{'s' * (len(record.seeds) > 1)} {seeds} on {record.date[:10]}: {device}, torch {environment.torch}."
    )


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def measured(record: Record, measure: str, lengths: Sequence[int]) -> Values:
    """Return what a model scores after prompts of each length, without metadata.

    Args:
        record: of the model.
        measure: one of ``MEASURES``.
        lengths: of the prompts, tokens.

    Returns:
        KL and loss in nats, accuracies as shares; NaN where nothing was measured.

    Raises:
        ValueError: an unknown measure.
    """
    require(measure in MEASURES, "measured", "measure", f"one of {MEASURES}", repr(measure))
    table, column = _COLUMNS[measure]
    index = "position" if table == "positions" else "prompt length"
    rows = [result.tables[table] for result in record.results]
    return np.stack([_at(row[index], row[column], lengths) for row in rows])


def _at(positions: Sequence[int], values: Sequence[float], lengths: Sequence[int]) -> Float[Array, " lengths"]:
    known = dict(zip(positions, values, strict=True))
    return np.array([float(known.get(length, math.nan)) for length in lengths])


def spread(values: Values) -> tuple[Float[Array, " lengths"], Float[Array, " lengths"]]:
    """Return mean and standard deviation over seeds; the latter is NaN for a single one."""
    deviation = values.std(0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], math.nan)
    return values.mean(0), deviation


def paired(arm: Record, control: Record) -> list[tuple[SeedResult, SeedResult]]:
    """Return the results of the seeds that two records have in common, perhaps none."""
    others = {result.seed: result for result in control.results}
    return [(result, others[result.seed]) for result in arm.results if result.seed in others]


def only_paired(
    arm: Record, control: Record, values: Float[Array, "seeds *rest"], others: Float[Array, "other_seeds *rest"]
) -> tuple[Float[Array, "pairs *rest"], Float[Array, "pairs *rest"]]:
    """Return the rows of the seeds that two records have in common, of both in the same order."""
    seeds = [seed for seed in arm.seeds if seed in control.seeds]
    return values[[arm.seeds.index(seed) for seed in seeds]], others[[control.seeds.index(seed) for seed in seeds]]


def difference(values: Sequence[float], least: float = 0.0) -> Difference:
    """Return mean and standard error over seeds of a difference, the latter at least ``least``; NaN if one is NaN."""
    if not values or not all(map(math.isfinite, values)):
        return Difference(math.nan, math.nan, len(values))
    error = max(statistics.stdev(values) / math.sqrt(len(values)), least) if len(values) > 1 else math.nan
    return Difference(statistics.fmean(values), error, len(values))


def counting_error(arm: Record, control: Record, measure: str, lengths: Sequence[int]) -> Float[Array, " lengths"]:
    """Return the standard error that a difference of accuracies has because completions are counted, else 0.

    Seeds may agree by chance where few completions are drawn: their spread alone would then say too little.
    """
    pairs = paired(arm, control)
    if measure not in (ANY, TRUE) or not pairs:
        return np.zeros(len(lengths))
    variance = np.zeros(len(lengths))
    for result in (one for pair in pairs for one in pair):
        table = result.tables["prompts"]
        share, n = (_at(table["prompt length"], table[column], lengths) for column in (measure, "n"))
        share = (share * n + 1) / (n + 2)  # none of few is not none at all
        variance += share * (1 - share) / n
    return np.sqrt(variance) / len(pairs)


def in_words(found: Difference, *, less_is_better: bool) -> str:
    """Say whether a model is better or worse by a difference, or that the seeds do not tell."""
    if found.n == 0:
        return "no seed in common"
    if found.n == 1:
        return "one seed says nothing"
    if math.isnan(found.mean):
        return "not measured"
    if found.sign == 0:
        return "no clear difference"
    return "better" if (found.sign < 0) == less_is_better else "worse"


def number(value: float, measure: str) -> str:
    """Write a value: KL and loss in nats with three significant digits, accuracies in per cent."""
    if not math.isfinite(value):
        return "–"
    if measure in (ANY, TRUE):
        return f"{100 * value:.0f} %".replace("-", "−")
    return f"{value:.3f}".replace("-", "−") if abs(value) >= 0.0995 else f"{value:.2g}".replace("-", "−")


# ---------------------------------------------------------------------------------------------------------------------
# Controls


def length_slider(run: Run, length: int | None = None) -> widgets.SelectionSlider:
    """Make a slider over the lengths of prompts that were measured; default: the middle one."""
    lengths = list(run.lengths)
    return widgets.SelectionSlider(
        options=[(str(one), one) for one in lengths],
        value=lengths[len(lengths) // 2] if length is None else length,
        description="prompt (tokens)",
        style={"description_width": "initial"},
        layout=widgets.Layout(width="320px", min_width="300px", max_width="100%"),
    )


def depth_choice(run: Run, *, every: bool = False) -> widgets.Dropdown:
    """Make a list of the numbers of levels shown, the deepest chosen; with ``every`` also all of them."""
    return controls.choice("metadata in training", depth_options(run, every=every), run.depths[-1])


def depth_options(run: Run, *, every: bool = False) -> dict[str, int]:
    """Return the numbers of levels by what they are called."""
    named = {f"D_M = {depth} level{'s' * (depth > 1)}": depth for depth in run.depths}
    return named | ({"each D_M": ALL} if every and len(run.depths) > 1 else {})


def follow_run(
    which: widgets.Dropdown, runs: dict[str, Run], length: widgets.SelectionSlider, depth: widgets.Dropdown, every: bool
) -> None:
    """Let the lists of lengths and levels follow the choice of a run."""

    def follow(_: object) -> None:
        run = runs[which.value]
        deeper = list(depth_options(run, every=every).items())
        longer = [(str(one), one) for one in run.lengths]
        for control, options, default in (
            (length, longer, run.lengths[len(run.lengths) // 2]),
            (depth, deeper, run.depths[-1]),
        ):
            kept = control.value
            control.options = options
            control.value = kept if kept in [value for _, value in options] else default

    which.observe(follow, "value")


def fitting(run: Run, length: int, depth: int) -> tuple[int, int]:
    """Return the measured length nearest to one, and a number of levels that the run has: that given or the most."""
    nearest = min(run.lengths, key=lambda one: (abs(one - length), one))
    return nearest, depth if depth == ALL or depth in run.depths else run.depths[-1]

"""Recorded runs of the study of disentanglement: which belong together, which seeds are shown, the parts they have."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import require
from toolkit.core.paths import data_directory
from toolkit.disentanglement.bounds import PARTS
from toolkit.disentanglement.metrics.registry import METRICS
from toolkit.experiments import Record, load_records
from toolkit.experiments.disentanglement_models import find_model
from toolkit.experiments.disentanglement_pairs import best_half
from toolkit.experiments.disentanglement_scores import MEAN
from toolkit.experiments.records import SCALES, SeedResult
from toolkit.explorers.recorded_runs import newest_of_each, told_apart

STUDY = "disentanglement"
COMMAND = "python -m toolkit run disentanglement --scale laptop --out data/runs"
SCORES = ("unibound", "mig", "beta_vae", "factor_vae", "dci_disentanglement", "sap")
"""Names of the scores by which runs are chosen and compared; of each more is better."""
ALL = "all"
"""Stands among the scores for no choice: every seed."""
_ASIDE = ("seeds", "models", "sweep", "n_evaluations", "device")
_DATA = {"dsprites": "sprites", "3dshapes": "3dshapes-like images"}


@dataclass(frozen=True)
class Ends:
    """One part of the information of one run, or the means of several; shares of H(y).

    Attributes:
        lower, upper: what is certain, and the most that it can be.
        i_min: the part by I_min.
        lower_range, upper_range: where these ends may as well lie: of one run the bootstrap's 95 %, of several from
            the lowest to the highest run.
        i_min_range: the same; None of one run, for its bootstrap is not recorded.
        n_runs: how many runs.
    """

    lower: float
    upper: float
    i_min: float
    lower_range: tuple[float, float]
    upper_range: tuple[float, float]
    i_min_range: tuple[float, float] | None
    n_runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


Parts = Mapping[str, Ends]
"""By the names of the three parts."""


@dataclass(frozen=True, repr=False)
class Run:
    """Models that learned the same images in the same way.

    Attributes:
        label: scale, images and networks, and what else tells it from other runs.
        records: one a model, in the order of the study: that with the most seeds, the newest of several.
    """

    label: str
    records: tuple[Record, ...]

    @property
    def models(self) -> dict[str, str]:
        """The models' names by their titles."""
        return {title_of(record.variant): record.variant for record in self.records}

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors, without their mean."""
        names = dict.fromkeys(self.records[0].results[0].tables["profile"]["factor"])
        return tuple(name for name in names if name != MEAN)

    def record(self, model: str) -> Record:
        """Return the record of a model."""
        found = next((record for record in self.records if record.variant == model), None)
        require(found is not None, "Run.record", "model", f"one of {list(self.models.values())}", repr(model))
        assert found is not None
        return found

    def __repr__(self) -> str:
        return f"Run({self.label}: {', '.join(self.models.values())})"


def recorded_runs(records: Sequence[Record] | None = None) -> tuple[Run, ...]:
    """Sort the study's records of trained models into runs.

    Args:
        records: to choose from; default: those that come with the toolkit.

    Returns:
        That at the largest scale first, then that of the most models, of the most seeds, the newest; none if nothing
        is recorded.
    """
    found = load_records(data_directory() / "runs", STUDY) if records is None else records
    kept = (record for record in found if _trained(record))
    runs = [tuple(sorted(members, key=_place)) for members in newest_of_each(kept, _key)]
    runs.sort(key=_rank, reverse=True)
    labels = told_apart(_label(run[0]) for run in runs)
    return tuple(Run(label, run) for label, run in zip(labels, runs, strict=True))


def _trained(record: Record) -> bool:
    tables = [result.tables for result in record.results]
    return record.study == STUDY and bool(tables) and all("profile" in one and "trained" in one for one in tables)


def _key(record: Record) -> tuple:
    settings = {name: value for name, value in record.config.items() if name not in _ASIDE}
    return record.scale, *sorted((name, str(value)) for name, value in settings.items())


def _place(record: Record) -> tuple:
    names = record.config.get("models") or []
    return names.index(record.variant) if record.variant in names else len(names), record.date


def _rank(run: Sequence[Record]) -> tuple:
    newest = max(record.date for record in run)
    return SCALES.index(run[0].scale), len(run), max(len(record.results) for record in run), newest


def _label(record: Record) -> str:
    about = record.results[0].tables["trained"]
    data = _DATA.get(record.config.get("data", ""), str(record.config.get("data")))
    return f"{record.scale} scale: {data}, {about['architecture'][0]} networks, {about['n_steps'][0]:,} steps"


def not_recorded() -> str:
    """Say that the study is not recorded, and how to record it."""
    return f"No run of the study {STUDY} with trained models is recorded here. This records one: {COMMAND}"


def where_recorded(run: Run) -> str:
    """Return images, scale, seeds, day, machine and versions of a run in two sentences."""
    record = max(run.records, key=lambda record: record.date)
    about, environment = record.results[0].tables["trained"], record.environment
    device = environment.device.partition(": ")[2] or environment.device
    seeds = ", ".join(map(str, record.seeds))
    return (
        f"Images: {about['images'][0]}; {about['architecture'][0]} networks. Recorded at {record.scale} scale with "
        f"seed{'s' * (len(record.seeds) > 1)} {seeds} on {record.date[:10]}: {device}, torch {environment.torch}."
    )


def title_of(model: str) -> str:
    """Return how a model is called: ``"β-VAE, β = 4"``; a name that the study does not know stands for itself."""
    try:
        return find_model(model).title
    except ValueError:
        return model


def short_title(model: str) -> str:
    """Return the same without the coefficient's symbol, ``"β-VAE 4"``."""
    try:
        found = find_model(model)
    except ValueError:
        return model
    return f"{found.family.title} {found.coefficient:g}" if found.family.coefficient else found.family.title


def in_words(factor: str) -> str:
    """Return a factor's name with blanks: ``"position x"``."""
    return factor.replace("_", " ")


def score_title(score: str) -> str:
    """Return what a score is called."""
    return METRICS[score].title


def score_values(record: Record, score: str) -> list[float]:
    """Return a score of each seed; NaN where a run does not have it."""
    return [result.metrics.get(score, math.nan) for result in record.results]


def chosen(record: Record, by: str = ALL) -> tuple[SeedResult, ...]:
    """Return the runs of a model that are shown.

    Args:
        record: of the model.
        by: ``ALL``, or the score whose better half of the seeds is taken, rounded up, as the authors did.

    Raises:
        ValueError: an unknown score.
    """
    require(by in (ALL, *SCORES), "chosen", "by", f"one of {(ALL, *SCORES)}", repr(by))
    if by == ALL:
        return record.results
    return tuple(record.results[index] for index in best_half(score_values(record, by)))


def parts_of(results: Sequence[SeedResult], factor: str = MEAN) -> dict[str, Ends]:
    """Return the three parts of the information about a factor, averaged over runs.

    Args:
        results: of runs of one model, at least one.
        factor: its name, or ``"mean"``.

    Raises:
        ValueError: no run, or an unknown factor.
    """
    require(len(results) > 0, "parts_of", "results", "at least one", "none")
    rows = [_rows(result, factor) for result in results]
    return {part: _joined([row[part] for row in rows]) for part in PARTS}


def _rows(result: SeedResult, factor: str) -> dict[str, dict[str, float]]:
    table = result.tables["profile"]
    places = {
        part: place
        for place, (name, part) in enumerate(zip(table["factor"], table["part"], strict=True))
        if name == factor
    }
    require(len(places) == len(PARTS), "parts_of", "factor", f"one of {sorted(set(table['factor']))}", repr(factor))
    numbers = [name for name in table if name not in ("factor", "part")]
    return {part: {name: float(table[name][place]) for name in numbers} for part, place in places.items()}


def _joined(rows: Sequence[Mapping[str, float]]) -> Ends:
    lower, upper, i_min = ([row[name] for row in rows] for name in ("lower", "upper", "i_min"))
    upper = [max(pair) for pair in zip(lower, upper, strict=True)]  # draws may turn equal ends round
    means = [sum(values) / len(values) for values in (lower, upper, i_min)]
    if len(rows) == 1:
        row = rows[0]
        ranges = (row["lower_low"], row["lower_high"]), (row["upper_low"], row["upper_high"])
        return Ends(means[0], means[1], means[2], ranges[0], ranges[1], None, 1)
    spans = [(min(values), max(values)) for values in (lower, upper, i_min)]
    return Ends(means[0], means[1], means[2], spans[0], spans[1], spans[2], len(rows))

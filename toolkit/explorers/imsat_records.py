"""Recorded runs of the two studies of IMSAT: the records that belong together, and those that are still to come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.paths import data_directory
from toolkit.experiments import Record, load_records
from toolkit.explorers.recorded_runs import newest_of_each

CLUSTERING, HASHING = "imsat-clustering", "imsat-hashing"
_ASIDE = ("seeds", "methods", "n_evaluations", "device", "scale")
_TITLES = {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
_EXPECTED = {
    CLUSTERING: (
        ("digits, 1,797 images", "digits", 1797, "--scale laptop"),
        ("MNIST, 10,000 images", "mnist", 10_000, "--scale laptop --data mnist --images full --n-points 10000"),
        ("MNIST, 70,000 images", "mnist", 70_000, "--scale paper"),
        (
            "Fashion-MNIST, 10,000 images",
            "fashion_mnist",
            10_000,
            "--scale laptop --data fashion_mnist --images full --n-points 10000",
        ),
    ),
    HASHING: (
        ("MNIST, 10,000 images", "mnist", 10_000, "--scale laptop --images full --n-points 10000"),
        ("MNIST, 70,000 images", "mnist", 70_000, "--scale paper"),
    ),
}


@dataclass(frozen=True, repr=False)
class Run:
    """One data set with one method after another, all else alike; or the place of one that is not recorded yet.

    Attributes:
        label: data, number of images and network, and what else tells it from other runs.
        study: its name.
        records: one a method: that with the most seeds, the newest of several.
        missing: the command that would record it, if it is not recorded.
    """

    label: str
    study: str
    records: tuple[Record, ...]
    missing: str = ""

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of one of the records."""
        return self.records[0].config

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods' names."""
        return tuple(record.variant for record in self.records)

    @property
    def n_images(self) -> int:
        """How many images were clustered or coded."""
        return n_images(self.records[0]) if self.records else 0

    def record(self, method: str) -> Record | None:
        """Return a method's record, or None."""
        return next((record for record in self.records if record.variant == method), None)

    def __repr__(self) -> str:
        return f"Run({self.label}: {', '.join(self.methods) or 'not recorded'})"


def n_images(record: Record) -> int:
    """Return on how many images a record was made."""
    found = record.results[0].tables.get("data", {}).get("n_points", [0])
    return int(found[0]) if found else 0


def recorded_runs(study: str, records: Sequence[Record] | None = None) -> tuple[Run, ...]:
    """Sort a study's records into runs, and add the runs that its lesson is about and that are not recorded.

    Args:
        study: ``CLUSTERING`` or ``HASHING``.
        records: to choose from; default: those that come with the toolkit.

    Returns:
        Those with records first, digits before MNIST before Fashion-MNIST, small before large; at quick scale last.

    Raises:
        ValueError: another study.
    """
    require(study in _EXPECTED, "recorded_runs", "study", f"one of {list(_EXPECTED)}", repr(study))
    found = load_records(data_directory() / "runs") if records is None else records
    kept = (record for record in found if record.study == study)
    runs = [Run(_label(members[0]), study, tuple(members)) for members in newest_of_each(kept, _key)]
    runs.sort(key=_rank)
    named = tuple(_told_apart(run, runs) for run in runs)
    there = {(run.config["data"], run.n_images) for run in runs}
    command = f"python -m toolkit run {study}"
    missing = [
        Run(f"{label} (not recorded)", study, (), f"{command} {options} --out data/runs")
        for label, data, count, options in _EXPECTED[study]
        if (data, count) not in there
    ]
    return (*named, *missing)


def not_recorded(run: Run) -> str:
    """Say that a run is not recorded, and how to record it."""
    return f"{run.label.removesuffix(' (not recorded)')}: no run is recorded here. This records one: {run.missing}"


def where_recorded(records: Sequence[Record]) -> str:
    """Return scale, day, machine and versions of records in one sentence, each that differs once, in order of time."""
    parts = []
    for record in sorted(records, key=lambda record: record.date):
        environment = record.environment
        device = environment.device.partition(": ")[2] or environment.device
        parts.append(f"at {record.scale} scale on {record.date[:10]}: {device}, torch {environment.torch}")
    return f"Recorded {'; '.join(dict.fromkeys(parts))}."


def values_of(record: Record, metric: str) -> Float[np.ndarray, " seeds"]:
    """Return a metric of each seed that has it; values that are not finite are left out."""
    values = [result.metrics[metric] for result in record.results if metric in result.metrics]
    array = np.array(values, dtype=float)
    return array[np.isfinite(array)]


def difference(run: Run, *, hidden: str, epochs: int, n_points: int = 70_000, initialization: str = "official") -> str:
    """Say what of a run differs from the authors' setting on MNIST, or nothing.

    Args:
        run: with records.
        hidden: units of the authors' hidden layers.
        epochs: of the authors.
        n_points: images of the authors.
        initialization: the authors' first weights, by the name that the study has for them.
    """
    config = run.config
    parts = []
    if run.n_images != n_points:
        parts.append(f"{run.n_images:,} images, not {n_points:,}")
    if config.get("hidden") != hidden:
        parts.append(f"{config.get('hidden')} units, not {hidden}")
    if config.get("epochs") != epochs:
        parts.append(f"{config.get('epochs')} epochs, not {epochs}")
    if config.get("initialization", initialization) != initialization:
        parts.append(f"{config['initialization']} first weights, not {initialization}")
    return "; ".join(parts)


def _key(record: Record) -> tuple:
    settings = {name: value for name, value in record.config.items() if name not in _ASIDE}
    return tuple(sorted((name, str(value)) for name, value in settings.items()))


def _label(record: Record) -> str:
    config = record.config
    bits = f", {config['n_bits']} bits" if record.study == HASHING else ""
    title = _TITLES.get(config["data"], config["data"])
    return f"{title}, {n_images(record):,} images{bits}, {config['hidden']}, {config['epochs']} epochs"


def _rank(run: Run) -> tuple:
    config = run.config
    quick = all(record.scale == "quick" for record in run.records)
    data = list(_TITLES).index(config["data"]) if config["data"] in _TITLES else len(_TITLES)
    return (quick, data, run.n_images, -len(run.records), run.label, _key(run.records[0]))


def _told_apart(run: Run, runs: Sequence[Run]) -> Run:
    alike = [other for other in runs if other.label == run.label]
    if len(alike) == 1:
        return run
    own = dict(_key(run.records[0]))
    keys = [dict(_key(other.records[0])) for other in alike]
    differing = [name for name in own if len({key.get(name) for key in keys}) > 1]
    words = ", ".join(f"{name.replace('_', ' ')} {own[name]}" for name in differing)
    return replace(run, label=f"{run.label}, {words}")


@dataclass(frozen=True, repr=False, eq=False)
class Picked:
    """What a view shows of a run.

    Attributes:
        run: the run, perhaps without records.
        show: what was asked for.
        metric: the score shown, or that methods are ordered by where curves are.
        decimals: of the written means.
        records: of the methods shown, from the highest mean to the lowest.
    """

    run: Run
    show: str
    metric: str
    decimals: int
    records: tuple[Record, ...]

    def __repr__(self) -> str:
        return f"Picked({self.run.label}, {self.show}: {len(self.records)} methods)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def pick_methods(run: Run, show: str, metric: str, decimals: int, left_out: Sequence[str] = ()) -> Picked:
    """Return the methods of a run that have a score, but for some; the fields are those of :class:`Picked`."""
    shown = [record for record in run.records if record.variant not in left_out and values_of(record, metric).size]
    shown.sort(key=lambda record: -values_of(record, metric).mean())
    return Picked(run, show, metric, decimals, tuple(shown))

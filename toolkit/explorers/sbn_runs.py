"""Recorded runs of the study of sigmoid belief networks: the records that belong together, and their curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import reject, require
from toolkit.core.history import Series
from toolkit.core.paths import data_directory
from toolkit.experiments import Record, load_records
from toolkit.explorers.sbn_looks import BIASED

STUDY, SNAPSHOTS = "sbn", "snapshots"
MAIN = ("RAM", "LEG", "REBAR", "DisARM", "RLOO-2", "NVIL", "LR+C", "LR")
GROUPS = ("the main ones", "the biased ones", "as costly as RAM", "all")
X, Y = ("steps", "evaluations", "seconds"), ("test bound", "fixed variance", "total variance")
_SAME = ("data", "images", "sizes", "nonlinear", "n_steps", "optimizer", "learning_rate", "weight_decay", "batch_size")
_ALSO_SAME = ("n_samples", "entropy")


@dataclass(frozen=True, repr=False)
class Run:
    """One network trained with one estimator after another, all else alike, on one machine.

    Attributes:
        label: data, network and steps, and what else tells it from other runs.
        records: one an estimator, the newest.
        snapshots: the comparison at shared parameters, if there is one.
    """

    label: str
    records: tuple[Record, ...]
    snapshots: Record | None

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of one of the records; they differ in what is measured at most."""
        return self.members[0].config

    @property
    def members(self) -> tuple[Record, ...]:
        """All the records."""
        return (*self.records, *([self.snapshots] if self.snapshots else []))

    @property
    def estimators(self) -> tuple[str, ...]:
        """The estimators' names."""
        return tuple(record.variant for record in self.records)

    def record(self, estimator: str) -> Record | None:
        """Return an estimator's record, or None."""
        return next((record for record in self.records if record.variant == estimator), None)

    def group(self, name: str) -> tuple[str, ...]:
        """Return the estimators of one of ``GROUPS``, as far as they were recorded.

        Raises:
            ValueError: there is no such group.
        """
        require(name in GROUPS, "Run.group", "name", f"one of {GROUPS}", repr(name))
        found = self.estimators
        if name == "all":
            return found
        if name == "the main ones":
            chosen: set[str] = set(MAIN)
        elif name == "the biased ones":
            chosen = {"RAM", "LR", *BIASED}
        else:
            costs = {record.variant: record.summary["evaluations a step"].mean for record in self.records}
            chosen = {estimator for estimator, cost in costs.items() if cost >= costs.get("RAM", 0.0) / 2}
        return tuple(estimator for estimator in found if estimator in chosen) or found

    def __repr__(self) -> str:
        return f"Run({self.label}: {', '.join(self.estimators)})"


def recorded_runs(records: Sequence[Record] | None = None) -> tuple[Run, ...]:
    """Sort the study's records into runs: those on digits first, those at quick scale last.

    Args:
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: there is no record of an estimator.
    """
    found = load_records(data_directory() / "runs") if records is None else records
    groups: dict[tuple, list[Record]] = {}
    for record in sorted((record for record in found if record.study == STUDY), key=lambda record: record.date):
        groups.setdefault(_key(record), []).append(record)
    runs = []
    for members in groups.values():
        newest = {record.variant: record for record in members}
        snapshots = newest.pop(SNAPSHOTS, None)
        if newest:
            runs.append(Run(_label(members[0]), tuple(newest.values()), snapshots))
    if not runs:
        expected = f"a run of {STUDY}; python -m toolkit run {STUDY} --scale quick --out FOLDER makes one"
        reject("recorded_runs", "records", expected, "none")
    runs.sort(key=_rank)
    return tuple(_told_apart(run, runs) for run in runs)


def find_run(data: str = "digits", sizes: str | None = None, records: Sequence[Record] | None = None) -> Run:
    """Return the first run on some data.

    Args:
        data: ``"digits"`` or ``"mnist"``.
        sizes: pixels and variables of each latent layer; default: whatever there is.
        records: to choose from; default: those that come with the toolkit.

    Raises:
        ValueError: there is none.
    """
    for run in recorded_runs(records):
        if run.config["data"] == data and sizes in (None, run.config["sizes"]):
            return run
    reject("find_run", "data, sizes", "those of a recorded run", (data, sizes))
    raise AssertionError


def _key(record: Record) -> tuple:
    settings = tuple(record.config.get(name) for name in (*_SAME, *_ALSO_SAME))
    return (*settings, record.scale, record.environment.device)


def _label(record: Record) -> str:
    config = record.config
    data = "digits" if config["data"] == "digits" else "MNIST" if config["images"] == "full" else "5,000 of MNIST"
    nonlinear = ", nonlinear" if config.get("nonlinear") else ""
    return f"{data}, {config['sizes']}{nonlinear}, {config['n_steps']:,} steps"


def _rank(run: Run) -> tuple:
    config = run.config
    return (
        run.members[0].scale == "quick",
        config["data"] != "digits",
        -config["n_steps"],
        -len(run.records),
        run.label,
        _key(run.members[0])[-1],
    )


def _told_apart(run: Run, runs: Sequence[Run]) -> Run:
    alike = [other for other in runs if other.label == run.label]
    if len(alike) == 1:
        return run
    names = (*_SAME, *_ALSO_SAME, "scale", "device")
    keys = [_key(other.members[0]) for other in alike]
    own = _key(run.members[0])
    differing = [place for place in range(len(names)) if len({str(key[place]) for key in keys}) > 1]
    words = ", ".join(f"{names[place].replace('_', ' ')} {own[place]}" for place in differing)
    return Run(f"{run.label}, {words}", run.records, run.snapshots)


@dataclass(frozen=True, repr=False, eq=False)
class Curve:
    """One estimator's curve: the mean over seeds, and how far the seeds reach.

    Attributes:
        estimator: its name.
        x: steps, evaluations an example or seconds of training, mean over the seeds.
        mean: over the seeds.
        low: the lowest seed.
        high: the highest seed.
        n_seeds: how many.
    """

    estimator: str
    x: Float[np.ndarray, "points"]
    mean: Float[np.ndarray, "points"]
    low: Float[np.ndarray, "points"]
    high: Float[np.ndarray, "points"]
    n_seeds: int

    @property
    def last(self) -> float:
        """The last mean."""
        return float(self.mean[-1])

    def __repr__(self) -> str:
        return f"Curve({self.estimator}: {self.mean.size} points, {self.n_seeds} seeds, last {self.last:.4g})"


def curve_of(record: Record, x: str, y: str) -> Curve | None:
    """Return an estimator's curve, or None where it was not measured.

    Args:
        record: of an estimator.
        x: one of ``X``.
        y: one of ``Y``.

    Raises:
        ValueError: another axis.
    """
    require(x in X, "curve_of", "x", f"one of {X}", repr(x))
    require(y in Y, "curve_of", "y", f"one of {Y}", repr(y))
    needed = [y] if x == "steps" else [y, x]
    results = [result for result in record.results if all(name in result.histories for name in needed)]
    if not results:
        return None
    at = [[_by_step(result.histories[name]) for name in needed] for result in results]
    steps = sorted(set.intersection(*(set(series) for seed in at for series in seed)))
    if not steps:
        return None
    values = np.array([[seed[0][step] for step in steps] for seed in at], dtype=float)
    across = np.array([[step if x == "steps" else seed[1][step] for step in steps] for seed in at], dtype=float)
    return Curve(record.variant, across.mean(0), values.mean(0), values.min(0), values.max(0), len(results))


def _by_step(series: Series) -> dict[int, float]:
    return dict(zip(series.steps, series.values, strict=True))

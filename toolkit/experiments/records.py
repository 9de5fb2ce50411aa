"""The record of a study: one JSON file that says what was run, where, and what came out, seed by seed."""

import hashlib
import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit.core.errors import require
from toolkit.core.files import atomic_write
from toolkit.core.history import Series
from toolkit.experiments.environment import FIELDS, Environment
from toolkit.experiments.plain import Reader, RecordError, decode, encode

SCHEMA = "toolkit-run/1"
SCALES = ("quick", "laptop", "paper")


@dataclass(frozen=True)
class Quantity:
    """How a metric of ours answers a number of a paper.

    Attributes:
        metric: name of the metric, in each seed's metrics.
        tolerance: largest difference that counts as agreement, in the paper's unit; ``None`` leaves it to the
            uncertainty that the paper states.
        factor: multiplies our metric to give the paper's unit, 100 for a share that the paper states in per cent.
    """

    metric: str
    tolerance: float | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.tolerance is not None:
            require(self.tolerance >= 0, "Quantity", "tolerance", ">= 0 or None", self.tolerance)


@dataclass(frozen=True)
class SeedResult:
    """What one seed gave.

    Attributes:
        seed: the seed.
        metrics: the final numbers by name.
        histories: numbers over training steps by name.
        tables: whatever is neither, as columns of equal length: ``{"confusion": {"truth": [...], "count": [...]}}``.
        seconds: wall time.
        cpu_seconds: CPU time of the process that ran it.
    """

    seed: int
    metrics: dict[str, float]
    histories: dict[str, Series] = field(default_factory=dict)
    tables: dict[str, dict[str, list]] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __repr__(self) -> str:
        return f"SeedResult(seed={self.seed}, {', '.join(f'{k}={v:.6g}' for k, v in self.metrics.items())})"


@dataclass(frozen=True)
class Spread:
    """Mean and spread of a metric over the seeds.

    Attributes:
        mean: over the seeds that have the metric; NaN if one of them is.
        sd: standard deviation with n − 1; ``None`` for a single seed.
        n: number of seeds that have the metric.
    """

    mean: float
    sd: float | None
    n: int

    def __str__(self) -> str:
        """Mean ± standard deviation, to the two digits of the latter that mean something."""
        if self.sd is None or not (math.isfinite(self.mean) and math.isfinite(self.sd)):
            return f"{self.mean:.6g}" if self.sd is None else f"{self.mean:.6g} ± {self.sd:.2g}"
        decimals = 0 if self.sd == 0 else 1 - math.floor(math.log10(self.sd))
        if not 0 <= decimals <= 6 or self.sd == 0:
            return f"{self.mean:.6g} ± {self.sd:.2g}"
        return f"{self.mean:.{decimals}f} ± {self.sd:.{decimals}f}"


@dataclass(frozen=True)
class Record:
    """One variant of a study at one scale, over all its seeds.

    Attributes:
        study: name of the study.
        variant: which of the methods or settings that the study compares; empty if there is one only.
        scale: ``"quick"``, ``"laptop"`` or ``"paper"``.
        config: the configuration as plain values.
        results: one for each seed.
        environment: versions, commit and device.
        date: when the run ended, UTC, ``"2025-01-31T12:00:00Z"``.
        seconds: wall time of the variant's seeds one after the other.
        cpu_seconds: their CPU time.
        quantities: which numbers of papers this run answers, by the id in ``data/paper_results``.
    """

    study: str
    variant: str
    scale: str
    config: dict[str, Any]
    results: tuple[SeedResult, ...]
    environment: Environment
    date: str
    seconds: float
    cpu_seconds: float
    quantities: dict[str, Quantity] = field(default_factory=dict)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the order of the results."""
        return tuple(result.seed for result in self.results)

    @property
    def summary(self) -> dict[str, Spread]:
        """Mean and spread of each metric over the seeds."""
        names = dict.fromkeys(name for result in self.results for name in result.metrics)
        return {name: _spread([r.metrics[name] for r in self.results if name in r.metrics]) for name in names}

    def __repr__(self) -> str:
        name = f"{self.study} {self.variant}".strip()
        return f"Record({name} at {self.scale} scale, {len(self.results)} seeds, {self.date})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in the file; :meth:`from_dict` reads them back."""
        return {
            "schema": SCHEMA,
            "study": self.study,
            "variant": self.variant,
            "scale": self.scale,
            "date": self.date,
            "config": self.config,
            "seeds": list(self.seeds),
            "summary": {name: asdict(spread) for name, spread in self.summary.items()},
            "quantities": {name: asdict(quantity) for name, quantity in self.quantities.items()},
            "results": [_result_to_dict(result) for result in self.results],
            "environment": self.environment.to_dict(),
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }

    @classmethod
    def from_dict(cls, values: Any, *, origin: str = "record") -> "Record":
        """Build a record from what :meth:`to_dict` gave.

        Args:
            values: the plain values.
            origin: what to call them in an error, the file's name.

        Raises:
            RecordError: something is missing, of the wrong type, or of another version.
        """
        reader = Reader(origin)
        values = reader.mapping(values, "the file")
        if values.get("schema") != SCHEMA:
            reader.fail("schema", repr(SCHEMA), repr(values.get("schema")))
        results = [
            _result_from_dict(reader, entry, f"results[{index}]")
            for index, entry in enumerate(reader.get(values, "results", list))
        ]
        seeds = [result.seed for result in results]
        if len(set(seeds)) != len(seeds) or reader.get(values, "seeds", list) != seeds:
            reader.fail("seeds", f"the seeds of the results, each once: {seeds}", repr(values["seeds"]))
        scale = reader.get(values, "scale", str)
        if scale not in SCALES:
            reader.fail("scale", f"one of {SCALES}", repr(scale))
        date = reader.get(values, "date", str)
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", date):
            reader.fail("date", "YYYY-MM-DDTHH:MM:SSZ", repr(date))
        environment = reader.get(values, "environment", dict)
        for name in FIELDS:
            reader.get(environment, name, object, "environment.")
        quantities = {
            name: _quantity_from_dict(reader, entry, f"quantities.{name}")
            for name, entry in reader.get(values, "quantities", dict).items()
        }
        return cls(
            study=reader.get(values, "study", str),
            variant=reader.get(values, "variant", str),
            scale=scale,
            config=reader.get(values, "config", dict),
            results=tuple(results),
            environment=Environment(**{name: environment[name] for name in FIELDS}),
            date=date,
            seconds=reader.number(values.get("seconds"), "seconds"),
            cpu_seconds=reader.number(values.get("cpu_seconds"), "cpu_seconds"),
            quantities=quantities,
        )

    def to_frame(self):
        """Return a pandas frame with one row a seed and one column a metric."""
        import pandas

        return pandas.DataFrame([r.metrics for r in self.results], index=pandas.Index(self.seeds, name="seed"))


def save_record(record: Record, folder: str | os.PathLike[str]) -> Path:
    """Write a record into a folder, whole or not at all, under a name of its own.

    Args:
        record: the record.
        folder: made if it is missing.

    Returns:
        The file: study, variant, scale, date and a short checksum of the content.

    Raises:
        WriteError: it cannot be written.
        TypeError: config or tables hold something that JSON cannot express.
    """
    text = json.dumps(encode(record.to_dict()), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    # Lists of numbers on one line each. The line breaks are JSON's own: within strings they are escaped.
    text = re.sub(r"\[\n[^\[\]{}\"]*\n *\]", lambda numbers: re.sub(r"\n *", " ", numbers[0]), text)
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    parts = [record.study, record.variant, record.scale, re.sub(r"[-:]", "", record.date), digest]
    name = "-".join(re.sub(r"[^\w.=+-]+", "_", part) for part in parts if part)
    path = Path(folder) / f"{name}.json"
    with atomic_write(path, "w") as handle:
        handle.write(text)
    return path


def load_record(path: str | os.PathLike[str]) -> Record:
    """Read one record.

    Raises:
        FileNotFoundError: no such file.
        RecordError: the file is not a whole record of this format.
    """
    path = Path(path)
    try:
        values = decode(json.loads(path.read_bytes().decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: no record of a run\n  expected: a whole JSON file\n  actual:   {error}") from error
    return Record.from_dict(values, origin=str(path))


def load_records(folder: str | os.PathLike[str], study: str | None = None) -> tuple[Record, ...]:
    """Read all records of a folder, the oldest first.

    Args:
        folder: a folder of ``*.json`` files; one that does not exist holds none.
        study: only this study's.

    Raises:
        RecordError: a file is not a whole record of this format.
    """
    records = [load_record(path) for path in sorted(Path(folder).glob("*.json"))]
    chosen = [record for record in records if study is None or record.study == study]
    return tuple(sorted(chosen, key=lambda record: (record.date, record.study, record.variant)))


def now() -> str:
    """Return the time as records state it: UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spread(values: Sequence[float]) -> Spread:
    n = len(values)
    if n == 1:
        return Spread(values[0], None, 1)
    if not all(map(math.isfinite, values)):
        return Spread(sum(values) / n, math.nan, n)
    # Around the first value: equal values then have a spread of exactly zero.
    centre = sum(value - values[0] for value in values) / n
    sd = math.hypot(*(value - values[0] - centre for value in values)) / math.sqrt(n - 1)
    return Spread(values[0] + centre, sd, n)


def _result_to_dict(result: SeedResult) -> dict[str, Any]:
    return {
        "seed": result.seed,
        "metrics": result.metrics,
        "histories": {name: series.to_dict() for name, series in result.histories.items()},
        "tables": result.tables,
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
    }


def _quantity_from_dict(reader: "Reader", values: Any, where: str) -> Quantity:
    metric = reader.get(values, "metric", str, f"{where}.")
    tolerance = reader.get(values, "tolerance", object, f"{where}.")
    factor = reader.number(reader.get(values, "factor", object, f"{where}."), f"{where}.factor")
    if tolerance is not None:
        tolerance = reader.number(tolerance, f"{where}.tolerance")
        if not tolerance >= 0:
            reader.fail(f"{where}.tolerance", ">= 0 or null", repr(tolerance))
    return Quantity(metric, tolerance, factor)


def _result_from_dict(reader: "Reader", values: Any, where: str) -> SeedResult:
    values = reader.mapping(values, where)
    where += "."
    metrics = {
        name: reader.number(value, f"{where}metrics.{name}")
        for name, value in reader.get(values, "metrics", dict, where).items()
    }
    histories = {}
    for name, entry in reader.get(values, "histories", dict, where).items():
        place = f"{where}histories.{name}"
        steps = reader.get(reader.mapping(entry, place), "steps", list, f"{place}.")
        numbers = reader.get(entry, "values", list, f"{place}.")
        if len(steps) != len(numbers):
            reader.fail(place, "as many steps as values", f"{len(steps)} and {len(numbers)}")
        histories[name] = Series(
            tuple(reader.integer(step, f"{place}.steps") for step in steps),
            tuple(reader.number(number, f"{place}.values") for number in numbers),
        )
    tables = reader.get(values, "tables", dict, where)
    for name, columns in tables.items():
        columns = reader.mapping(columns, f"{where}tables.{name}")
        lengths = {len(reader.get(columns, column, list, f"{where}tables.{name}.")) for column in columns}
        if len(lengths) > 1:
            reader.fail(f"{where}tables.{name}", "columns of one length", repr(sorted(lengths)))
    return SeedResult(
        seed=reader.integer(values.get("seed"), f"{where}seed"),
        metrics=metrics,
        histories=histories,
        tables=tables,
        seconds=reader.number(values.get("seconds"), f"{where}seconds"),
        cpu_seconds=reader.number(values.get("cpu_seconds"), f"{where}cpu_seconds"),
    )

"""The contract of a study: a frozen configuration with a scale, a function for one seed, records for all of them."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolkit.core.errors import reject, require
from toolkit.core.files import atomic_write
from toolkit.core.history import Series
from toolkit.experiments.environment import describe_environment
from toolkit.experiments.records import SCALES, Quantity, Record, SeedResult, now, save_record

Scale = Literal["quick", "laptop", "paper"]
_UNFINISHED = ".unfinished"


def by_scale(*, quick: Any, laptop: Any, paper: Any) -> Any:
    """Declare a field of a :class:`StudyConfig` whose default depends on the scale.

    Args:
        quick: default at seconds, for tests and lessons.
        laptop: default at minutes on two cores.
        paper: default at the paper's own size.

    Returns:
        A dataclass field; left alone (or ``None``), the instance gets the value of its scale.
    """
    return field(default=None, metadata={"scales": {"quick": quick, "laptop": laptop, "paper": paper}})


@dataclass(frozen=True)
class StudyConfig:
    """What every study can be told.

    A subclass adds its own fields, those that grow with the scale through :func:`by_scale`. They are filled in when
    the instance is made, so ``Config(scale="laptop")`` holds the sizes of that scale. ``dataclasses.replace`` keeps
    them: to change the scale, make a new instance.
    """

    scale: Scale = "quick"
    """quick: seconds; laptop: minutes on two cores; paper: the paper's own size."""

    device: str | None = None
    """cpu, cuda, cuda:1, …; default: the best there is."""

    seeds: tuple[int, ...] = by_scale(quick=(0, 1, 2), laptop=(0, 1, 2, 3, 4), paper=(0, 1, 2, 3, 4))
    """The seeds themselves, each once."""

    def __post_init__(self) -> None:
        operation = type(self).__name__
        require(self.scale in SCALES, operation, "scale", f"one of {', '.join(SCALES)}", repr(self.scale))
        for entry in dataclasses.fields(self):
            if "scales" in entry.metadata and getattr(self, entry.name) is None:
                object.__setattr__(self, entry.name, entry.metadata["scales"][self.scale])
        object.__setattr__(self, "seeds", tuple(self.seeds))
        require(len(self.seeds) > 0, operation, "seeds", "at least one", self.seeds)
        require(len(set(self.seeds)) == len(self.seeds), operation, "seeds", "each once", self.seeds)
        for seed in self.seeds:
            if isinstance(seed, bool) or not isinstance(seed, int):
                reject(operation, "seeds", "integers", repr(seed), kind=TypeError)
            require(0 <= seed < 2**63, operation, "seeds", "0 <= seed < 2**63", seed)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON gives them back."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=os.fspath))

    def identity(self) -> dict[str, Any]:
        """Return what defines the computation for one seed: all but the seeds. Give it to ``train`` as ``config``."""
        return {name: value for name, value in self.to_dict().items() if name != "seeds"}


@dataclass(frozen=True)
class Task:
    """One seed of one variant: all that the measuring function gets.

    Attributes:
        config: the configuration.
        seed: the seed.
        variant: which method or setting; empty if the study has one only.
        checkpoint: a file for :func:`toolkit.core.training.train`; a study that trains several times derives names from
            it with :meth:`checkpoint_for`. ``None`` keeps nothing on disk.
        stop: set from another thread to stop.
    """

    config: Any
    seed: int
    variant: str = ""
    checkpoint: Path | None = None
    stop: threading.Event | None = None

    def checkpoint_for(self, part: str) -> Path | None:
        """Return a checkpoint file of its own for one of several trainings within the task."""
        return None if self.checkpoint is None else self.checkpoint.with_name(f"{self.checkpoint.name}-{part}")


@dataclass(frozen=True)
class Measurement:
    """What a study found for one seed.

    Attributes:
        metrics: final numbers by name: floats, or arrays and tensors of one element.
        histories: numbers over training by name; ``history.metrics`` of a training fits.
        tables: whatever is neither, by name: columns of one length, each an array or a sequence of plain values.
        interrupted: the training was stopped: there is no result yet.
        seconds: wall time over all sessions of a resumed training; default: that of this one.
        cpu_seconds: CPU time, likewise.
    """

    metrics: Mapping[str, Any]
    histories: Mapping[str, Series] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    interrupted: bool = False
    seconds: float | None = None
    cpu_seconds: float | None = None


class ConfigurationError(ValueError):
    """A configuration that its data do not allow; the command line says so in one line."""


class StudyInterrupted(Exception):
    """A study was stopped; what it had is in its checkpoints, and running it again goes on from there."""


def _one_variant(config: Any) -> Sequence[str]:
    return ("",)


def _no_quantities(config: Any, variant: str) -> Mapping[str, Quantity]:
    return {}


@dataclass(frozen=True)
class Study:
    """A question, how it is measured for one seed, and what the answers are called.

    Attributes:
        name: as on the command line, ``"mnist-mlp"``.
        summary: one line.
        config: its configuration class, a frozen dataclass derived from :class:`StudyConfig`.
        measure: does one :class:`Task`. A function of a module, so that workers of a sweep can import it.
        variants: the methods or settings that a configuration compares; each gets a record of its own.
        quantities: which numbers of papers a variant answers, by id.
        report: what the command line prints after the run; default: the metrics.
        check: raises a :class:`ConfigurationError` for what only the data can tell of a configuration.
    """

    name: str
    summary: str
    config: type[StudyConfig]
    measure: Callable[[Task], Measurement]
    variants: Callable[[Any], Sequence[str]] = _one_variant
    quantities: Callable[[Any, str], Mapping[str, Quantity]] = _no_quantities
    report: Callable[[Sequence[Record]], str] | None = None
    check: Callable[[Any], None] | None = None

    def run(
        self,
        config: StudyConfig | None = None,
        *,
        out: str | os.PathLike[str] | None = None,
        stop: threading.Event | None = None,
    ) -> list[Record]:
        """Measure every variant with every seed.

        The tasks go through ``joblib.Parallel``, so an outer ``joblib.parallel_config(n_jobs=4)`` or
        ``parallel_config("dask")`` spreads them. With ``out``, each task keeps a checkpoint there until all are done:
        running the same study again after an interruption goes on where it was.

        Args:
            config: default: the study's ``quick`` scale.
            out: folder for the records; ``None`` writes nothing.
            stop: set from another thread to stop; needs sequential tasks or threads.

        Returns:
            One record for each variant.

        Raises:
            StudyInterrupted: stopped before the end.
            WriteError: ``out`` cannot be written; found out before anything is computed.
            TypeError: the configuration is of another study.
            ConfigurationError: the data do not allow it; found out before anything is computed, too.
        """
        import joblib

        config = self.config() if config is None else config
        if type(config) is not self.config:
            reject(self.name, "config", self.config.__name__, type(config).__name__, kind=TypeError)
        variants = list(self.variants(config))
        require(len(set(variants)) == len(variants) > 0, self.name, "variants", "one or more, each once", variants)
        if self.check is not None:
            self.check(config)
        workspace = None if out is None else _workspace(Path(out), self.name, config)
        environment = describe_environment(config.device)
        tasks = [
            Task(config, seed, variant, workspace and workspace / _file_name(variant, seed), stop)
            for variant in variants
            for seed in config.seeds
        ]
        found = joblib.Parallel()(joblib.delayed(_measure)(self.measure, task) for task in tasks)
        records = []
        for number, variant in enumerate(variants):
            results = tuple(found[number * len(config.seeds) : (number + 1) * len(config.seeds)])
            records.append(
                Record(
                    study=self.name,
                    variant=variant,
                    scale=config.scale,
                    config=config.to_dict(),
                    results=results,
                    environment=environment,
                    date=now(),
                    seconds=sum(result.seconds for result in results),
                    cpu_seconds=sum(result.cpu_seconds for result in results),
                    quantities=dict(self.quantities(config, variant)),
                )
            )
        if out is not None:
            for record in records:
                save_record(record, out)
        if workspace is not None:
            shutil.rmtree(workspace, ignore_errors=True)
            with suppress(OSError):  # not empty: another study is not finished
                workspace.parent.rmdir()
        return records


def _measure(measure: Callable[[Task], Measurement], task: Task) -> SeedResult:
    started, cpu_started = time.perf_counter(), time.process_time()
    if task.stop is not None and task.stop.is_set():
        raise StudyInterrupted("stopped")
    measured = measure(task)
    if measured.interrupted:
        raise StudyInterrupted("stopped")
    seconds, cpu_seconds = measured.seconds, measured.cpu_seconds
    return SeedResult(
        seed=task.seed,
        metrics={name: float(value) for name, value in measured.metrics.items()},
        histories=dict(measured.histories),
        tables={name: _plain_table(name, table) for name, table in measured.tables.items()},
        seconds=time.perf_counter() - started if seconds is None else seconds,
        cpu_seconds=time.process_time() - cpu_started if cpu_seconds is None else cpu_seconds,
    )


def _plain_table(name: str, table: Mapping[str, Any]) -> dict[str, list]:
    """Turn arrays and their items into plain values, and find out now rather than after hours what JSON cannot hold."""
    columns = {
        key: column.tolist()
        if hasattr(column, "tolist")
        else [item.item() if hasattr(item, "item") else item for item in column]
        for key, column in table.items()
    }
    lengths = {key: len(column) for key, column in columns.items()}
    require(len(set(lengths.values())) <= 1, "Measurement", f"tables[{name!r}]", "columns of one length", lengths)
    json.dumps(columns)
    return columns


def _workspace(out: Path, name: str, config: StudyConfig) -> Path:
    """Make the folder of the checkpoints, one for each computation, and see that it can be written."""
    digest = hashlib.sha256(json.dumps(config.identity(), sort_keys=True).encode()).hexdigest()[:12]
    folder = out / _UNFINISHED / f"{name}-{digest}"
    with atomic_write(folder / "config.json", "w") as handle:
        json.dump(config.identity(), handle, indent=1)
    return folder


def _file_name(variant: str, seed: int) -> str:
    readable = re.sub(r"[^\w.=+-]+", "_", variant)
    digest = hashlib.sha256(variant.encode()).hexdigest()[:6]
    return f"{readable}-{digest}-seed{seed}" if variant else f"seed{seed}"

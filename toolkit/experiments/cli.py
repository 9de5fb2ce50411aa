"""``python -m toolkit``: list and run studies, the ledger, the data sets, the doctor."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import toolkit
from toolkit.core.errors import CheckpointError, WriteError, require
from toolkit.experiments.doctor import diagnose
from toolkit.experiments.ledger import PaperResultError, read_ledger
from toolkit.experiments.records import Record, RecordError, load_records
from toolkit.experiments.registry import UnknownStudy, find_study, studies
from toolkit.experiments.study import ConfigurationError, Scale, StudyInterrupted
from toolkit.experiments.tables import Table

PROGRAM = "python -m toolkit"
RUNS = Path("runs")
_MOST_OPEN = 12  # numbers of one source that no run answers; more are counted, not listed


@dataclass(frozen=True)
class RunOptions:
    """How to run a study, whichever it is."""

    out: Path = RUNS
    """Folder for the records."""

    jobs: int = 1
    """Seeds and variants at once, each in a process of its own; -1: as many as there are cores."""

    def __post_init__(self) -> None:
        require(self.jobs != 0, "run", "jobs", "1 or more, or -1 for all cores", self.jobs)


def list_studies() -> int:
    """Name the studies."""
    rows = tuple((listing.name, listing.summary) for listing in studies())
    print(Table(("study", "what it does"), rows, "Studies").to_text(width=90))
    print(f"\n{PROGRAM} run STUDY --help shows what a study can be told.")
    return 0


def run(
    study: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="STUDY")],
    scale: Scale = "quick",
    device: str | None = None,
    seeds: tuple[int, ...] | None = None,
    out: Path = RUNS,
    jobs: int = 1,
) -> int:
    """Run a study and record the result.

    Args:
        study: its name; "run STUDY --help" shows the options of that study too.
        scale: quick takes seconds, laptop minutes on two cores, paper is the paper's own size.
        device: cpu, cuda, cuda:1, …; default: the best there is.
        seeds: the seeds themselves; default: those of the scale.
        out: folder for the records.
        jobs: seeds and variants at once, each in a process of its own; -1: as many as there are cores.
    """
    raise AssertionError("run_study reads the options of the study itself")  # this signature is what --help shows


def ledger(
    paper: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PAPER")] = None,
    runs: tuple[Path, ...] = (),
    html: Path | None = None,
) -> int:
    """Lay the papers' numbers beside the recorded runs.

    Args:
        paper: only this paper's, for example "chainer", and then every number of it.
        runs: folders of records; default: those that come with the toolkit, and "runs" here.
        html: also write the table as HTML to this file.
    """
    from toolkit.core.files import atomic_write
    from toolkit.core.paths import data_directory

    found = read_ledger(paper, runs=runs or (data_directory() / "runs", RUNS))
    print(found.to_text(most=_MOST_OPEN if paper is None else None))
    others = _runs_beside_no_paper(runs or (data_directory() / "runs", RUNS))
    if others:
        print("\nRuns that answer no number of a paper:", *others, sep="\n  ")
    if html is not None:
        with atomic_write(html, "w") as handle:
            handle.write(found.to_html() + "\n")
        print(f"written: {html}")
    return 0


def _runs_beside_no_paper(folders: Sequence[Path]) -> list[str]:
    records = [record for folder in folders if folder.is_dir() for record in load_records(folder)]
    runs: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        if not record.quantities:
            runs.setdefault((record.study, record.scale, record.date), []).append(record.variant)
    return [
        f"{study} at {scale} scale, {date}" + (f": {', '.join(variants)}" if any(variants) else "")
        for (study, scale, date), variants in runs.items()
    ]


def datasets(check: bool = False) -> int:
    """Say which data are here, which are not, and where they come from.

    Args:
        check: compare every file with its checksum, which reads all of them.
    """
    from toolkit.datasets import overview

    rows = []
    problems = []
    for row in overview(check=check):
        size = "" if row.download_bytes is None else f" ({row.download_bytes / 1e6:,.0f} MB)"
        rows.append((row.name, row.subset or "–", row.full or "–", row.origin + size, row.licence))
        problems += [f"{row.name}: {row.problem}"] if row.problem else []
        if not row.full and row.obtain:
            problems.append(f"{row.name}, to get it: {row.obtain}")
    columns = ("data set", "sample here", "full set here", "comes from", "licence")
    print(Table(columns, tuple(rows), "Data sets").to_text(width=30))
    print("\n".join(["", *problems]) if problems else "")
    return 0


def doctor() -> int:
    """Check versions, device, data and Jupyter, and say how to mend what is missing."""
    diagnosis = diagnose()
    print(diagnosis.to_text())
    return 0 if diagnosis.ok else 1


def run_study(name: str, arguments: Sequence[str]) -> int:
    """Run one study with the options of its own configuration.

    Args:
        name: of the study.
        arguments: the rest of the command line.

    Returns:
        The exit code.
    """
    import joblib

    from toolkit.core.devices import resolve_device

    study = find_study(name)
    program = f"{PROGRAM} run {name}"
    # The scale first: it sets the defaults of the other options, which --help then shows.
    without_help = [argument for argument in arguments if argument not in ("-h", "--help")]
    known, _ = tyro.cli(_ScaleOnly, prog=program, args=without_help, return_unknown_args=True, add_help=False)
    options = make_dataclass(
        "Options",
        [
            ("config", study.config, field(default=study.config(known.scale))),
            ("run", RunOptions, field(default=_DEFAULTS)),
        ],
        frozen=True,
    )
    flat = (tyro.conf.OmitArgPrefixes,)
    chosen: Any = tyro.cli(options, prog=program, description=study.summary, args=list(arguments), config=flat)
    try:
        resolve_device(chosen.config.device)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with joblib.parallel_config(n_jobs=chosen.run.jobs):
        records = study.run(chosen.config, out=chosen.run.out)
    print(study.report(records) if study.report is not None else summarise(records))
    print(f"\nrecorded in {chosen.run.out}")
    return 0


@dataclass(frozen=True)
class _ScaleOnly:
    scale: Scale = "quick"


_DEFAULTS = RunOptions()


def summarise(records: Sequence[Record]) -> str:
    """Return the metrics of each variant: mean ± standard deviation over the seeds."""
    rows = []
    for record in records:
        for name, spread in record.summary.items():
            rows.append((record.variant or record.study, name, str(spread), str(spread.n)))
    first = records[0]
    head = f"{first.study} at {first.scale} scale on {first.environment.device}"
    return f"{head}\n\n{Table(('variant', 'metric', 'mean ± sd', 'seeds'), tuple(rows), head).to_text(width=60)}"


_COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_studies,
    "run": run,
    "ledger": ledger,
    "datasets": datasets,
    "doctor": doctor,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Args:
        arguments: default: those of the process.

    Returns:
        The exit code: 0; 1 if the doctor finds something missing or a run fails; 2 for a command line that is wrong;
        130 after an interruption.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal that does not know a character must not lose the result
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        return _dispatch(arguments)
    except UnknownStudy as error:
        print(error, file=sys.stderr)
        return 2
    except ConfigurationError as error:
        print(f"Value error: {error}", file=sys.stderr)
        return 2
    except (StudyInterrupted, KeyboardInterrupt):
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone: python -m toolkit datasets | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CheckpointError, PaperResultError, RecordError, WriteError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        from toolkit.datasets import DatasetUnavailable

        if not isinstance(error, DatasetUnavailable):
            raise
        print(error, file=sys.stderr)
        return 1


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] == "run" and (name := _study_name(arguments[1:])):
        rest = arguments[1:]
        rest.remove(name)
        return run_study(name, rest)
    description = f"toolkit {toolkit.__version__}: studies behind the lessons."
    return tyro.extras.subcommand_cli_from_dict(_COMMANDS, prog=PROGRAM, description=description, args=arguments)


def _study_name(arguments: Sequence[str]) -> str | None:
    """Return the study in the arguments of ``run``: a known name anywhere, else a first argument that is no option."""
    known = {listing.name for listing in studies()}
    for argument in arguments:
        if argument in known:
            return argument
    return arguments[0] if arguments and not arguments[0].startswith("-") else None

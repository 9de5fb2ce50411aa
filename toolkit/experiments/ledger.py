"""The paper beside ours: every number quoted from a paper, and what our recorded runs say to it.

``data/paper_results/*.csv`` holds the papers' numbers, one file a table or paper, with the columns of ``COLUMNS``. Only
numbers that were read in the source itself are admitted: ``how_read`` must begin with "read".
"""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from toolkit.core.paths import data_directory
from toolkit.experiments.records import SCALES, Quantity, Record, Spread, load_records
from toolkit.experiments.tables import Table

COLUMNS = ("quantity", "description", "value", "uncertainty", "unit", "source", "how_read", "notes")


class PaperResultError(ValueError):
    """A file of ``data/paper_results`` breaks the rules of the ledger."""


@dataclass(frozen=True)
class PaperResult:
    """A number as a paper states it.

    Attributes:
        quantity: id, ``"chainer/resnet50-1024-gpus/seconds"``.
        description: what it is.
        value: the number, in ``unit``.
        uncertainty: what stands behind the ±, in ``unit``; ``None`` if the paper gives none.
        unit: ``"s"``, ``"%"``, …; empty for a pure number.
        source: paper with table, figure or section.
        how_read: how the number got here; begins with "read".
        notes: conditions that the number depends on.
        table: name of the file it stands in.
    """

    quantity: str
    description: str
    value: float
    uncertainty: float | None
    unit: str
    source: str
    how_read: str
    notes: str
    table: str

    @property
    def text(self) -> str:
        """The number with its uncertainty and unit, ``"897.9 ± 3.3 s"``."""
        spread = "" if self.uncertainty is None else f" ± {self.uncertainty:g}"
        return f"{self.value:,.10g}{spread} {self.unit}".strip()


@dataclass(frozen=True)
class LedgerRow:
    """A paper's number and one run that answers it.

    Attributes:
        paper: the paper's number.
        record: our run; ``None`` if there is none.
        ours: mean and spread over the seeds, in the paper's unit; ``None`` without a run.
        tolerance: largest difference that counts as agreement; ``None`` if nobody states one.
        verdict: ``"within"``, ``"outside"``, ``"no tolerance stated"`` or ``"not run here"``.
    """

    paper: PaperResult
    record: Record | None
    ours: Spread | None
    tolerance: float | None
    verdict: str


@dataclass(frozen=True)
class Ledger:
    """All rows, in the order of the papers' files.

    Attributes:
        rows: one for each number of a paper and each scale at which we have a run of it; the newest run counts.
        unknown: ids that runs claim to answer but no file of paper results has.
    """

    rows: tuple[LedgerRow, ...]
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        counts = {verdict: 0 for verdict in ("within", "outside", "no tolerance stated", "not run here")}
        for row in self.rows:
            counts[row.verdict] += 1
        return f"Ledger({len(self.rows)} rows: {', '.join(f'{n} {verdict}' for verdict, n in counts.items() if n)})"

    def to_dict(self) -> dict:
        """Return plain values."""
        return {"rows": [_row_to_dict(row) for row in self.rows], "unknown": list(self.unknown)}

    def to_table(self) -> Table:
        """Return the rows as strings."""
        columns = ("quantity", "paper", "ours", "scale", "seeds", "tolerance", "verdict", "source")
        rows = tuple(_row_to_strings(row) for row in self.rows)
        return Table(columns, rows, "The papers' numbers beside ours; ± is the standard deviation over seeds.")

    def to_text(self, *, most: int | None = None) -> str:
        """Return a table for a terminal.

        Args:
            most: of a source with more numbers that no run here answers, these are counted below the table instead of
                listed; default: all are listed.
        """
        if not self.rows:
            return "no numbers of papers here"
        open_ones = Counter(row.paper.source for row in self.rows if row.record is None)
        many = {source: n for source, n in open_ones.items() if most is not None and n > most}
        listed = Ledger(tuple(row for row in self.rows if row.record is not None or row.paper.source not in many))
        notes = [f"{source}: {n} numbers that no run here answers" for source, n in many.items()]
        notes += [f"a run answers {quantity!r}, which no paper result has" for quantity in self.unknown]
        return "\n".join([*([listed.to_table().to_text()] if listed.rows else []), *notes])

    def to_html(self) -> str:
        """Return an HTML table with caption and scoped headers."""
        return self.to_table().to_html()

    _repr_html_ = to_html

    def to_frame(self):
        """Return a pandas frame with one row a :class:`LedgerRow` and numbers as numbers."""
        import pandas

        return pandas.DataFrame([_row_to_dict(row) for row in self.rows])


def read_paper_results(folder: str | os.PathLike[str] | None = None) -> tuple[PaperResult, ...]:
    """Read and check all files of paper results.

    Args:
        folder: default: the one that comes with the toolkit.

    Returns:
        The numbers in the order of file names and lines.

    Raises:
        PaperResultError: wrong columns, a number that is none, an id given twice, a row not read in its source.
    """
    folder = data_directory() / "paper_results" if folder is None else Path(folder)
    results: dict[str, PaperResult] = {}
    for path in sorted(folder.glob("*.csv")):
        for result in _read_file(path):
            if result.quantity in results:
                other = results[result.quantity].table
                raise PaperResultError(f"{path}: quantity {result.quantity!r} stands in {other}.csv already")
            results[result.quantity] = result
    return tuple(results.values())


def read_ledger(
    paper: str | None = None,
    *,
    paper_results: str | os.PathLike[str] | None = None,
    runs: Iterable[str | os.PathLike[str]] | None = None,
) -> Ledger:
    """Lay the papers' numbers beside our recorded runs.

    Args:
        paper: only quantities whose id begins with this, ``"chainer"``.
        paper_results: folder of CSV files; default: the one that comes with the toolkit.
        runs: folders of records; default: the one that comes with the toolkit, so that a lesson shows the same on every
            machine.

    Returns:
        The ledger.

    Raises:
        PaperResultError: a CSV file breaks the rules.
        RecordError: a record is broken.
    """
    folders = [data_directory() / "runs"] if runs is None else list(runs)
    records = [record for folder in folders for record in load_records(folder)]
    results = read_paper_results(paper_results)
    known = {result.quantity for result in results}
    chosen = [r for r in results if paper is None or r.quantity == paper or r.quantity.startswith(f"{paper}/")]
    rows = tuple(row for result in chosen for row in _rows(result, records))
    unknown = sorted({quantity for record in records for quantity in record.quantities} - known)
    return Ledger(rows, tuple(unknown))


def _read_file(path: Path) -> list[PaperResult]:
    def fail(line: int, expected: str, actual: str) -> PaperResultError:
        return PaperResultError(f"{path}, line {line}\n  expected: {expected}\n  actual:   {actual}")

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise fail(1, f"columns {','.join(COLUMNS)}", ",".join(reader.fieldnames or ()))
            lines = [(reader.line_num, line) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise PaperResultError(f"{path}\n  expected: a CSV file in UTF-8\n  actual:   {error}") from error
    results = []
    for number, line in lines:
        if None in line or None in line.values():
            raise fail(number, f"{len(COLUMNS)} cells", "more" if None in line else "fewer")
        cells = {name: cell.strip() for name, cell in line.items()}
        for name in ("quantity", "description", "source"):
            if not cells[name]:
                raise fail(number, f"a {name}", "nothing")
        if cells["how_read"].split(" ")[0].rstrip(",:;") != "read":
            raise fail(number, 'how_read to begin with "read": no recollections', repr(cells["how_read"]))
        value = _number(cells["value"])
        if value is None:
            raise fail(number, "value to be a finite number", repr(cells["value"]))
        uncertainty = _number(cells["uncertainty"])
        if cells["uncertainty"] and (uncertainty is None or uncertainty < 0):
            raise fail(number, "uncertainty to be a number >= 0, or empty", repr(cells["uncertainty"]))
        text = {name: cells[name] for name in ("quantity", "description", "unit", "source", "how_read", "notes")}
        results.append(PaperResult(value=value, uncertainty=uncertainty, table=path.stem, **text))
    if len({result.quantity for result in results}) < len(results):
        seen = [result.quantity for result in results]
        raise PaperResultError(f"{path}: given twice: {sorted({q for q in seen if seen.count(q) > 1})}")
    return results


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _rows(paper: PaperResult, records: Sequence[Record]) -> list[LedgerRow]:
    newest: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: record.date):
        if paper.quantity in record.quantities:
            newest[record.scale] = record
    if not newest:
        return [LedgerRow(paper, None, None, None, "not run here")]
    return [_compare(paper, newest[scale]) for scale in reversed(SCALES) if scale in newest]


def _compare(paper: PaperResult, record: Record) -> LedgerRow:
    quantity: Quantity = record.quantities[paper.quantity]
    spread = record.summary.get(quantity.metric)
    if spread is None:
        return LedgerRow(paper, record, None, quantity.tolerance, "not run here")
    factor = quantity.factor
    ours = Spread(spread.mean * factor, None if spread.sd is None else spread.sd * abs(factor), spread.n)
    tolerance = paper.uncertainty if quantity.tolerance is None else quantity.tolerance
    if tolerance is None:
        verdict = "no tolerance stated"
    else:
        # A hair more than the tolerance, because 0.3 - 0.2 is more than 0.1 in floating point. NaN is outside.
        difference = abs(ours.mean - paper.value)
        verdict = "within" if difference <= tolerance + 1e-12 * abs(paper.value) else "outside"
    return LedgerRow(paper, record, ours, tolerance, verdict)


def _row_to_dict(row: LedgerRow) -> dict:
    ours, record = row.ours, row.record
    return {
        **asdict(row.paper),
        "ours": None if ours is None else ours.mean,
        "ours_sd": None if ours is None else ours.sd,
        "n_seeds": None if ours is None else ours.n,
        "scale": None if record is None else record.scale,
        "study": None if record is None else record.study,
        "variant": None if record is None else record.variant,
        "date": None if record is None else record.date,
        "device": None if record is None else record.environment.device,
        "tolerance": row.tolerance,
        "verdict": row.verdict,
    }


def _row_to_strings(row: LedgerRow) -> tuple[str, ...]:
    ours, record = row.ours, row.record
    unit = f" {row.paper.unit}" if row.paper.unit else ""
    return (
        row.paper.description,
        row.paper.text,
        "–" if ours is None else f"{ours}{unit}",
        "–" if record is None else record.scale,
        "–" if ours is None else str(ours.n),
        "–" if row.tolerance is None else f"{row.tolerance:g}{unit}",
        row.verdict,
        row.paper.source,
    )

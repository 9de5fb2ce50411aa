"""Budgets that a benchmark keeps or misses: a row each, printed as measured, and recorded on request."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from toolkit.experiments.environment import describe_environment
from toolkit.experiments.records import Record, SeedResult, now, save_record

ATTEMPTS = 3
"""A budget that is missed is measured again: something else may have had the machine."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured, and the most it may be."""

    name: str
    value: float
    budget: float
    unit: str = ""
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether the budget is kept."""
        return self.value <= self.budget

    def __str__(self) -> str:
        verdict = "met" if self.met else "MISSED"
        return f"  {self.name:52} {self.value:9.4f}{self.unit:3} <= {self.budget:7.4f}  {verdict:6}  {self.detail}"


def kept(measured: Callable[[], Row | list[Row]], attempts: int = ATTEMPTS) -> list[Row]:
    """Measure until every budget is met, or the attempts are over; keep the best of each row."""
    found: dict[str, Row] = {}
    for _ in range(attempts):
        rows = measured()
        for row in rows if isinstance(rows, list) else [rows]:
            if row.name not in found or row.value < found[row.name].value:
                found[row.name] = row
        if all(row.met for row in found.values()):
            break
    return list(found.values())


def report(study: str, measured: Iterable[Row], *, quick: bool, out: Path | None) -> int:
    """Print rows as they come, then the verdict.

    Args:
        study: the name of the record.
        measured: rows; what is measured while they are drawn counts as the time of the benchmark.
        quick: whether this was a look, not a result.
        out: folder to write a record to.

    Returns:
        0, or 1 if a budget is missed.
    """
    started, cpu = time.perf_counter(), time.process_time()
    rows = []
    for row in measured:
        rows.append(row)
        print(row, flush=True)
    if out is not None:
        columns = {name: [getattr(row, name) for row in rows] for name in ("name", "value", "budget", "detail")}
        table = {"what": columns.pop("name"), **columns}
        spent = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
        result = SeedResult(0, {row.name: row.value for row in rows}, tables={"CPU time": table}, **spent)
        scale, environment = "quick" if quick else "laptop", describe_environment("cpu")
        times = (now(), result.seconds, result.cpu_seconds)
        print(save_record(Record(study, "", scale, {"quick": quick}, (result,), environment, *times), out))
    met = all(row.met for row in rows)
    print("every budget met" if met else "a budget was missed")
    return 0 if met else 1

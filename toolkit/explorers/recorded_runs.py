"""The recorded runs of one study, for the explorers and tables that show them."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from toolkit.core.errors import reject
from toolkit.core.paths import data_directory
from toolkit.experiments import Record, load_records


def recorded_run(study: str, records: Sequence[Record] | None, best: Callable[[Record], Any]) -> Record:
    """Take the recorded run of a study for which ``best`` is largest, the newest of several.

    Args:
        study: its name.
        records: to choose from; ``None`` means those that come with the toolkit.
        best: what makes a run preferable, a value that can be compared.

    Raises:
        ValueError: there is none.
    """
    found = load_records(data_directory() / "runs") if records is None else records
    found = [record for record in found if record.study == study]
    if not found:
        reject("recorded_run", "records", f"a run of {study}", "none")
    return max(found, key=lambda record: (best(record), record.date))


def newest_of_each(records: Iterable[Record], key: Callable[[Record], Hashable]) -> list[list[Record]]:
    """Sort records into runs, and keep one record of each variant: that with the most seeds, the newest of several.

    Args:
        records: of one study.
        key: what the records of a run have in common.

    Returns:
        The runs, the one with the oldest record first; in each the variants in the order of their first records.
    """
    groups: dict[Hashable, dict[str, Record]] = {}
    for record in sorted(records, key=lambda record: record.date):
        best = groups.setdefault(key(record), {})
        if record.variant not in best or len(record.results) >= len(best[record.variant].results):
            best[record.variant] = record
    return [list(best.values()) for best in groups.values()]


def told_apart(labels: Iterable[str]) -> list[str]:
    """Return the labels, those that stand there already with a number behind them."""
    found: list[str] = []
    for label in labels:
        name, same = label, 1
        while name in found:
            same += 1
            name = f"{label} ({same})"
        found.append(name)
    return found

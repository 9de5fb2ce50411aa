"""The recorded runs of one study, for the explorers and tables that show them."""

from collections.abc import Callable, Sequence
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

"""Studies: a frozen configuration goes in, records come out, and the ledger lays them beside the papers' numbers.

* :mod:`~toolkit.experiments.study`: the contract (``StudyConfig``, ``Study``, ``Task``, ``Measurement``);
* :mod:`~toolkit.experiments.registry`: the studies by name, imported on use;
* :mod:`~toolkit.experiments.records`: what is written after a run, and reading it back;
* :mod:`~toolkit.experiments.ledger`: the paper beside ours;
* :mod:`~toolkit.experiments.doctor`: does this machine run the lessons;
* :mod:`~toolkit.experiments.cli`: ``python -m toolkit``;
* one module a study.

Importing this package imports no torch.
"""

from toolkit.experiments.doctor import Check, Diagnosis, diagnose
from toolkit.experiments.environment import Environment, describe_environment
from toolkit.experiments.ledger import Ledger, LedgerRow, PaperResult, PaperResultError, read_ledger, read_paper_results
from toolkit.experiments.records import (
    Quantity,
    Record,
    RecordError,
    SeedResult,
    Spread,
    load_record,
    load_records,
    save_record,
)
from toolkit.experiments.registry import Listing, UnknownStudy, find_study, studies
from toolkit.experiments.study import Measurement, Scale, Study, StudyConfig, StudyInterrupted, Task, by_scale
from toolkit.experiments.tables import Table

__all__ = [
    "Check",
    "Diagnosis",
    "Environment",
    "Ledger",
    "LedgerRow",
    "Listing",
    "Measurement",
    "PaperResult",
    "PaperResultError",
    "Quantity",
    "Record",
    "RecordError",
    "Scale",
    "SeedResult",
    "Spread",
    "Study",
    "StudyConfig",
    "StudyInterrupted",
    "Table",
    "Task",
    "UnknownStudy",
    "by_scale",
    "describe_environment",
    "diagnose",
    "find_study",
    "load_record",
    "load_records",
    "read_ledger",
    "read_paper_results",
    "save_record",
    "studies",
]

"""Training the Chainer way (Tokui et al. 2019): a loop that knows nothing, and extensions that do everything else.

``datasets`` and ``iterators`` give batches, an ``Updater`` does one update, ``report`` says what was measured,
``triggers`` say when, ``Extension`` what happens then. ``ExtensionsManager`` is the one engine behind a plain loop and
the ``Trainer``; its state, down to the order of the data and the random numbers, is what a ``Snapshot`` writes and
resumes from. After Chainer's own design, with partial resumes that report instead of failing.
"""

from toolkit.autograd.training import extensions, triggers
from toolkit.autograd.training.converters import concat_examples
from toolkit.autograd.training.datasets import (
    ConcatenatedDataset,
    DictDataset,
    SubDataset,
    TransformDataset,
    TupleDataset,
    cross_validation_datasets,
    split_dataset,
    split_dataset_random,
)
from toolkit.autograd.training.extension import (
    PRIORITY_EDITOR,
    PRIORITY_READER,
    PRIORITY_WRITER,
    Extension,
    make_extension,
)
from toolkit.autograd.training.iterators import SerialIterator
from toolkit.autograd.training.manager import ExtensionsManager
from toolkit.autograd.training.multiprocess_iterator import MultiprocessIterator
from toolkit.autograd.training.reporter import (
    Reporter,
    get_current_reporter,
    report,
    report_scope,
)
from toolkit.autograd.training.state import ResumeReport
from toolkit.autograd.training.summaries import DictSummary, Summary
from toolkit.autograd.training.trainer import Trainer
from toolkit.autograd.training.triggers import (
    BestValueTrigger,
    EarlyStoppingTrigger,
    IntervalTrigger,
    ManualScheduleTrigger,
    MaxValueTrigger,
    MinValueTrigger,
    OnceTrigger,
    TimeTrigger,
    get_trigger,
)
from toolkit.autograd.training.updaters import StandardUpdater, Updater

__all__ = [
    "PRIORITY_EDITOR",
    "PRIORITY_READER",
    "PRIORITY_WRITER",
    "BestValueTrigger",
    "ConcatenatedDataset",
    "DictDataset",
    "DictSummary",
    "EarlyStoppingTrigger",
    "Extension",
    "ExtensionsManager",
    "IntervalTrigger",
    "ManualScheduleTrigger",
    "MaxValueTrigger",
    "MinValueTrigger",
    "MultiprocessIterator",
    "OnceTrigger",
    "Reporter",
    "ResumeReport",
    "SerialIterator",
    "StandardUpdater",
    "SubDataset",
    "Summary",
    "TimeTrigger",
    "Trainer",
    "TransformDataset",
    "TupleDataset",
    "Updater",
    "concat_examples",
    "cross_validation_datasets",
    "extensions",
    "get_current_reporter",
    "get_trigger",
    "make_extension",
    "report",
    "report_scope",
    "split_dataset",
    "split_dataset_random",
    "triggers",
]

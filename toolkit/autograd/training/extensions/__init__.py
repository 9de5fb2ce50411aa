"""What hangs in a training loop beside the updates: evaluation, logs, tables, curves, checks, schedules, snapshots.

Each of them works in a :class:`~toolkit.autograd.training.trainer.Trainer` and in a loop of one's own with an
:class:`~toolkit.autograd.training.manager.ExtensionsManager`, and goes on exactly where it was after a resume.
"""

from toolkit.autograd.training.extensions.evaluator import Evaluator
from toolkit.autograd.training.extensions.fail_on_non_number import FailOnNonNumber
from toolkit.autograd.training.extensions.graph_dump import GraphDump
from toolkit.autograd.training.extensions.log_report import LogReport, read_log
from toolkit.autograd.training.extensions.observe import MicroAverage, ObserveValue, observe_lr, observe_value
from toolkit.autograd.training.extensions.parameter_statistics import ParameterStatistics
from toolkit.autograd.training.extensions.plot_report import PlotReport
from toolkit.autograd.training.extensions.print_report import PrintReport
from toolkit.autograd.training.extensions.progress_bar import ProgressBar
from toolkit.autograd.training.extensions.shifts import (
    CosineShift,
    ExponentialShift,
    InverseShift,
    LinearShift,
    MultistepShift,
    PolynomialShift,
    Shift,
    StepShift,
    WarmupShift,
)
from toolkit.autograd.training.extensions.snapshot import Snapshot, resume_from, snapshot_object

__all__ = [
    "CosineShift",
    "Evaluator",
    "ExponentialShift",
    "FailOnNonNumber",
    "GraphDump",
    "InverseShift",
    "LinearShift",
    "LogReport",
    "MicroAverage",
    "MultistepShift",
    "ObserveValue",
    "ParameterStatistics",
    "PlotReport",
    "PolynomialShift",
    "PrintReport",
    "ProgressBar",
    "Shift",
    "Snapshot",
    "StepShift",
    "WarmupShift",
    "observe_lr",
    "observe_value",
    "read_log",
    "resume_from",
    "snapshot_object",
]

"""When something happens in a training run: every so often, once, on a schedule, on a new best value, at the end."""

from toolkit.autograd.training.interval_triggers import (
    IntervalTrigger,
    ManualScheduleTrigger,
    NeverTrigger,
    OnceTrigger,
    TimeTrigger,
    Trigger,
    get_trigger,
)
from toolkit.autograd.training.value_triggers import (
    BestValueTrigger,
    EarlyStoppingTrigger,
    MaxValueTrigger,
    MinValueTrigger,
)

__all__ = [
    "BestValueTrigger",
    "EarlyStoppingTrigger",
    "IntervalTrigger",
    "ManualScheduleTrigger",
    "MaxValueTrigger",
    "MinValueTrigger",
    "NeverTrigger",
    "OnceTrigger",
    "TimeTrigger",
    "Trigger",
    "get_trigger",
]

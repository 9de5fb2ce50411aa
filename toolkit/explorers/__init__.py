"""What a lesson lets its reader move: one module a topic, each with ``explore_<topic>(…)`` that returns a view.

A module has plain functions to compute (testable without a browser or a kernel), to draw and to describe; the view puts
them together. ``from toolkit.explorers import explore_backward_steps`` loads ``toolkit.explorers.backward_steps`` and
nothing else. Answers to exercises are checked by the modules of :mod:`toolkit.explorers.exercises`, one a lesson.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    topic = name.removeprefix("explore_")
    if topic != name:
        home = f"{__name__}.{topic}"
        try:
            return getattr(importlib.import_module(home), name)
        except ModuleNotFoundError as error:
            if error.name != home:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

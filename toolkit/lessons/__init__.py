"""What a lesson needs: pictures in one style, views with controls, checked numbers and exercises.

* :mod:`~toolkit.lessons.style` – figures and axes in one style, colours with one meaning
* :mod:`~toolkit.lessons.svg` – instant charts, image grids and graphs as SVG
* :class:`~toolkit.lessons.view.View` – controls → compute → picture and sentence; ``BackgroundView`` for long work
* :mod:`~toolkit.lessons.controls` – sliders and the like with accessible names
* :func:`~toolkit.lessons.prediction.predict` – a question before the answer
* :func:`~toolkit.lessons.checks.check` – a number beside the paper's or the exact one; ``exercise`` for answers
* :func:`~toolkit.lessons.tables.table` – a table that reads on light and dark pages
* :func:`~toolkit.lessons.show.show` – a static figure with its text alternative
* ``python -m toolkit.lessons.build NOTEBOOK…`` – execute and scrub notebooks

Views and controls need the ``notebooks`` extra; everything else does not.
"""

import importlib
from typing import TYPE_CHECKING, Any

from toolkit.core.svg import Svg
from toolkit.lessons import style
from toolkit.lessons.checks import (
    Verdict,
    check,
    exercise,
    expect_array,
    expect_choice,
    expect_function,
    expect_number,
)
from toolkit.lessons.picture import LiveFigure, Picture
from toolkit.lessons.show import show
from toolkit.lessons.tables import Table, table

if TYPE_CHECKING:
    from toolkit.lessons import controls
    from toolkit.lessons.background import BackgroundView, Progress
    from toolkit.lessons.prediction import predict
    from toolkit.lessons.view import View

_NEED_WIDGETS = {
    "BackgroundView": "background",
    "Progress": "background",
    "View": "view",
    "controls": "controls",
    "predict": "prediction",
    "view": "view",
}

__all__ = [
    "BackgroundView",
    "LiveFigure",
    "Picture",
    "Progress",
    "Svg",
    "Table",
    "Verdict",
    "View",
    "check",
    "controls",
    "exercise",
    "expect_array",
    "expect_choice",
    "expect_function",
    "expect_number",
    "predict",
    "show",
    "style",
    "table",
]


def __getattr__(name: str) -> Any:
    if name not in _NEED_WIDGETS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_NEED_WIDGETS[name]}")
    except ModuleNotFoundError as error:
        if error.name not in ("ipywidgets", "IPython"):
            raise
        raise ImportError(
            f"toolkit.lessons.{name} needs the notebooks extra: pip install 'toolkit[notebooks]'"
        ) from error
    return module if name == _NEED_WIDGETS[name] else getattr(module, name)

"""Figures in one style: Okabe–Ito colours with a second channel, one set of sizes, one kind of frame.

``figure`` makes a :class:`matplotlib.figure.Figure` with styled axes; nothing changes matplotlib's global settings
for longer than one call, and pyplot is never touched, because a widget's callback runs on another thread and pyplot
would hand it the figure of a running cell.
"""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from toolkit.core.errors import reject

PIXELS_PER_INCH = 96  # one CSS inch, so that nine points are twelve pixels on the page
INK, GREY, FAINT = "#1a1a1a", "#595959", "#d9d9d9"
BLUE, VERMILION, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
FILLS = ("#56B4E9", "#E69F00", "#F0E442")  # too pale for lines on white
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"


_DASHES: dict[str, tuple[float, ...]] = {"-": (), "--": (3.7, 1.6), ":": (1.0, 1.65), "-.": (6.4, 1.6, 1.0, 1.6)}


@dataclass(frozen=True)
class Line:
    """One line's look: a colour and a second channel (dash and marker), for readers who do not see the colour."""

    color: str
    linestyle: str | tuple[int, tuple[float, ...]]
    marker: str
    linewidth: float = 2.0

    @property
    def dashes(self) -> tuple[float, ...]:
        """Lengths of dashes and gaps in turn, in the unit of ``linewidth``, as matplotlib draws them; none if solid.

        Raises:
            ValueError: a ``linestyle`` that is neither ``(offset, lengths)`` nor one of "-", "--", ":" and "-.".
        """
        if isinstance(self.linestyle, str):
            if self.linestyle not in _DASHES:
                reject("Line", "linestyle", f"(offset, lengths) or one of {list(_DASHES)}", self.linestyle)
            lengths = _DASHES[self.linestyle]
        else:
            lengths = self.linestyle[1]
        return tuple(length * self.linewidth for length in lengths)

    def to_dict(self, *, markers: bool = False) -> dict[str, Any]:
        """Return keyword arguments for ``axes.plot``; with ``markers`` the points are marked too."""
        look: dict[str, Any] = {"color": self.color, "linestyle": self.linestyle, "linewidth": self.linewidth}
        return look | ({"marker": self.marker} if markers else {})


LINES = (
    Line(BLUE, "-", "o"),
    Line(VERMILION, (0, (5.0, 1.6)), "s"),
    Line(GREEN, (0, (1.2, 1.2)), "^"),
    Line(PURPLE, (0, (6.0, 1.5, 1.2, 1.5)), "D"),
    Line(BLACK, (0, (9.0, 2.0)), "v"),
)

RC: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8c8c8c",
    "axes.facecolor": "white",
    "axes.formatter.limits": (-4, 5),
    "axes.formatter.use_mathtext": True,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=[line.color for line in LINES], linestyle=[line.linestyle for line in LINES]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.dpi": PIXELS_PER_INCH,
    "figure.facecolor": "white",
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "image.cmap": SEQUENTIAL,
    "image.interpolation": "nearest",
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "lines.linewidth": 2.0,
    "lines.markeredgecolor": "white",
    "lines.markeredgewidth": 0.8,
    "lines.markersize": 6.5,
    "lines.solid_capstyle": "round",
    "mathtext.fontset": "dejavusans",
    "patch.linewidth": 0.8,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": "#8c8c8c",
    "xtick.labelcolor": GREY,
    "xtick.labelsize": 9.5,
    "ytick.color": "#8c8c8c",
    "ytick.labelcolor": GREY,
    "ytick.labelsize": 9.5,
}

_RC_LOCK = threading.RLock()  # matplotlib's settings are global: two threads must not take turns inside one another


@contextmanager
def settings() -> Iterator[None]:
    """Hold matplotlib's settings at :data:`RC` for the length of a ``with`` block, one thread at a time."""
    with _RC_LOCK, matplotlib.rc_context(RC):
        yield


class StyledAxes(Axes):
    """Axes whose drawing methods use :data:`RC`, whatever the reader's own matplotlib settings say."""


def _styled(method):
    @functools.wraps(method)
    def call(*args, **kwargs):
        with settings():
            return method(*args, **kwargs)

    return call


_DRAWING = (
    "annotate axhline axhspan axline axvline axvspan bar barh boxplot clear contour contourf errorbar "
    "eventplot fill_between fill_betweenx hexbin hist hlines imshow legend matshow pcolormesh pie plot "
    "quiver scatter secondary_xaxis secondary_yaxis set_title set_xlabel set_ylabel set_xscale set_yscale "
    "stackplot stairs stem step streamplot text tick_params twinx twiny violinplot vlines "
)
for _name in _DRAWING.split():
    setattr(StyledAxes, _name, _styled(getattr(Axes, _name)))


def figure(width: float = 6.6, height: float = 3.9, *, title: str = "") -> Figure:
    """Make an empty styled figure with constrained layout on white.

    Args:
        width: inches; 6.6 fill the 640 pixels a lesson has.
        height: inches.
        title: the finding, written over the whole figure.

    Returns:
        A figure that pyplot does not know. Put axes into it with :func:`axes`.
    """
    with settings():
        made = Figure(figsize=(width, height), layout="constrained")
        if title:
            made.suptitle(title, x=0.01, horizontalalignment="left")
    return made


def axes(
    rows: int = 1, columns: int = 1, *, width: float = 6.6, height: float = 3.9, title: str = "", **options
) -> Any:
    """Make a styled figure and its axes.

    Args:
        rows: rows of axes.
        columns: columns of axes.
        width: the figure's width in inches.
        height: the figure's height in inches.
        title: the finding, written over the whole figure.
        options: as for :meth:`matplotlib.figure.Figure.subplots` (``sharex``, ``width_ratios``, …).

    Returns:
        One :class:`StyledAxes`, or an array of them: ``[columns]``, ``[rows]`` or ``[rows, columns]``. The figure is
        their ``.figure``.
    """
    made = figure(width, height, title=title)
    with settings():
        special = {"axes_class": StyledAxes} | options.pop("subplot_kw", {})
        return made.subplots(rows, columns, subplot_kw=special, **options)


def label_lines(where: Axes, lines: list[Line2D] | None = None, *, gap: float = 1.25) -> list[Any]:
    """Write each line's label at its right end, in its colour, moved apart where the ends are close.

    Args:
        where: the axes; set its limits first.
        lines: the lines to label; default: every line with a label of its own.
        gap: least distance between two labels, in font heights.

    Returns:
        The text artists, from the lowest to the highest.
    """
    chosen = [one for one in where.get_lines() if not str(one.get_label()).startswith("_")] if lines is None else lines
    ends = []
    for one in chosen:
        points = np.asarray(one.get_xydata(), dtype=float)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            x, y = points[np.argmax(points[:, 0])]
            height = float(where.transAxes.inverted().transform(where.transData.transform((x, y)))[1])
            ends.append((min(max(height, 0.0), 1.0), one))
    ends.sort(key=lambda end: end[0])
    size, inches = 9.5, where.get_window_extent().height / where.figure.dpi
    heights = spread([height for height, _ in ends], gap * size / 72 / float(inches))
    labels = []
    for height, (_, one) in zip(heights, ends, strict=True):
        labels.append(
            where.annotate(
                str(one.get_label()),
                (1.0, height),
                xytext=(6, 0),
                xycoords="axes fraction",
                textcoords="offset points",
                color=one.get_color(),
                fontsize=size,
                fontweight="bold",
                verticalalignment="center",
                annotation_clip=False,
            )
        )
    return labels


def spread(heights: list[float], gap: float) -> list[float]:
    """Move sorted heights apart to at least ``gap``, each group about its middle, and back into [0, 1] if they fit."""
    groups: list[tuple[float, int]] = []  # middle, members
    for height in heights:
        middle, count = height, 1
        while groups and groups[-1][0] + gap * (groups[-1][1] - 1) / 2 + gap > middle - gap * (count - 1) / 2 + 1e-12:
            other, members = groups.pop()
            middle, count = (other * members + middle * count) / (members + count), count + members
        groups.append((middle, count))
    placed = [middle + gap * (index - (count - 1) / 2) for middle, count in groups for index in range(count)]
    for index in range(len(placed) - 1, -1, -1):  # push down what stands out at the top
        ceiling = 1.0 if index == len(placed) - 1 else placed[index + 1] - gap
        placed[index] = min(placed[index], ceiling)
    for index in range(len(placed)):  # and up what then stands out below
        placed[index] = max(placed[index], 0.0 if index == 0 else placed[index - 1] + gap)
    return placed

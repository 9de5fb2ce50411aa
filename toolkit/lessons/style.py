"""How every picture looks: one meaning for each colour, and the figures of :mod:`toolkit.core.plotting`."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.image import AxesImage

from toolkit.core.errors import reject, require
from toolkit.core.plotting import (
    BLACK,
    BLUE,
    DIVERGING,
    FAINT,
    FILLS,
    GREEN,
    GREY,
    INK,
    LINES,
    PIXELS_PER_INCH,
    PURPLE,
    RC,
    SEQUENTIAL,
    VERMILION,
    Line,
    StyledAxes,
    axes,
    figure,
    label_lines,
    settings,
    spread,
)

__all__ = [
    "BLACK",
    "BLUE",
    "DIVERGING",
    "FAINT",
    "FILLS",
    "GREEN",
    "GREY",
    "INK",
    "LINES",
    "MEANINGS",
    "PIXELS_PER_INCH",
    "PURPLE",
    "RC",
    "SEQUENTIAL",
    "VERMILION",
    "WIDEST",
    "Line",
    "StyledAxes",
    "axes",
    "centred",
    "figure",
    "heat_map",
    "label_lines",
    "line",
    "settings",
    "spread",
]

WIDEST = 720
"""CSS pixels; what is wider, a picture or a table, scrolls sideways."""

MEANINGS = {
    "truth": Line(BLACK, "-", "", 2.4),  # the exact value, wherever one is known
    "paper": LINES[0],  # the paper's own method
    "ours": LINES[1],  # what this toolkit computed, beside a number from elsewhere
    "torch": LINES[2],  # the library we compare with
    "baseline": LINES[3],  # what people did before the paper
}


def line(meaning: str, *, markers: bool = False) -> dict[str, Any]:
    """Return the keyword arguments for ``axes.plot`` of a line that means the same in every lesson.

    Args:
        meaning: a key of :data:`MEANINGS`: ``"truth"``, ``"paper"``, ``"ours"``, ``"torch"`` or ``"baseline"``.
        markers: whether the points are marked.

    Raises:
        ValueError: an unknown meaning.
    """
    if meaning not in MEANINGS:
        reject("line", "meaning", f"one of {sorted(MEANINGS)}", meaning)
    return MEANINGS[meaning].to_dict(markers=markers)


def centred(values: Any, *, centre: float = 0.0) -> CenteredNorm:
    """Return the colour scale for signed values: symmetric about ``centre`` and as wide as the finite values need."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    half = float(np.abs(finite - centre).max()) if finite.size else 1.0
    return CenteredNorm(vcenter=centre, halfrange=half or 1.0)


def heat_map(
    where: Axes,
    values: Any,
    *,
    signed: bool = False,
    label: str = "",
    rows: list[str] | None = None,
    columns: list[str] | None = None,
    write: str | None = None,
) -> AxesImage:
    """Draw a matrix as colours with a colour bar whose centre is marked if the values are signed.

    Args:
        where: the axes.
        values: ``[rows, columns]``, finite or NaN (left white).
        signed: whether zero is the middle; then a diverging map is used.
        label: the colour bar's label, with its unit.
        rows: names of the rows.
        columns: names of the columns.
        write: a format such as ``".2f"`` with which every value is written into its cell.

    Returns:
        The image, for ``set_data``.
    """
    matrix = np.asarray(values, dtype=float)
    require(matrix.ndim == 2 and matrix.size > 0, "heat_map", "values", "[rows, columns], not empty", matrix.shape)
    norm: Normalize = centred(matrix) if signed else Normalize()
    image = where.imshow(matrix, cmap=DIVERGING if signed else SEQUENTIAL, norm=norm, aspect="auto")
    where.grid(False)
    for axis, names in ((where.yaxis, rows), (where.xaxis, columns)):
        if names is not None:
            axis.set_ticks(range(len(names)), names)
    with settings():
        bar = where.figure.colorbar(image, ax=where, label=label, pad=0.02)
    bar.outline.set_visible(False)
    if signed:
        bar.ax.axhline(0.0, color=INK, linewidth=1.2)
    if write is not None:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                shade = image.cmap(image.norm(value))
                dark = 0.2126 * shade[0] + 0.7152 * shade[1] + 0.0722 * shade[2] < 0.5
                color = "white" if dark else INK
                where.text(column, row, format(value, write), ha="center", va="center", color=color, fontsize=9.5)
    return image

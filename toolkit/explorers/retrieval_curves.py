"""How far to look: precision and recall against the Hamming radius, and among the N nearest, for each method."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.explorers.hash_runs import LOOKS, HashRuns, hash_runs
from toolkit.explorers.small_panels import draw_panel
from toolkit.imsat.retrieval import evaluate_retrieval
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Series, draw_marker

NEAREST = (10, 50, 100, 250, 500)


@dataclass(frozen=True, repr=False, eq=False)
class Curve:
    """How well one method's codes retrieve.

    Attributes:
        method: its name.
        precision: within each radius from 0 to all bits, mean over queries; a query with an empty ball counts 0.
        recall: within each radius, mean over queries.
        retrieved: images within each radius, mean over queries.
        empty: share of the queries with no image within each radius.
        at_n: precision among so many nearest images, by their number.
        mean_average_precision: over all queries.
    """

    method: str
    precision: Float[np.ndarray, "radii"]
    recall: Float[np.ndarray, "radii"]
    retrieved: Float[np.ndarray, "radii"]
    empty: Float[np.ndarray, "radii"]
    at_n: dict[int, float]
    mean_average_precision: float

    def __repr__(self) -> str:
        return f"Curve({self.method}: mAP {self.mean_average_precision:.3f}, radius 0 to {len(self.precision) - 1})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False, eq=False)
class Curves:
    """The methods' curves, read at one radius and one number of images.

    Attributes:
        curves: one a method.
        radius: largest distance that counts.
        n: how many nearest images.
        n_queries: over how many queries all of this is a mean.
        n_gallery: how many images are searched.
    """

    curves: tuple[Curve, ...]
    radius: int
    n: int
    n_queries: int
    n_gallery: int

    @property
    def best(self) -> Curve:
        """The curve with the highest precision at the radius."""
        return max(self.curves, key=lambda curve: curve.precision[self.radius])

    def __repr__(self) -> str:
        return f"Curves({', '.join(curve.method for curve in self.curves)}; radius {self.radius}, N = {self.n})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def measure(runs: HashRuns) -> tuple[Curve, ...]:
    """Return the curves of all methods.

    Args:
        runs: images and codes.
    """
    return tuple(_measure(runs, method) for method in runs.methods)


def _measure(runs: HashRuns, method: str) -> Curve:
    code = runs.codes[method]
    found = {
        n: evaluate_retrieval(code.queries, runs.query_labels, code.gallery, runs.gallery_labels, n=n)
        for n in possible(runs)
    }
    scores = code.scores
    nearest = code.distances.min(1).values.numpy()
    return Curve(
        method,
        scores.precision_by_radius.numpy(),
        scores.recall_by_radius.numpy(),
        scores.retrieved_by_radius.numpy(),
        (nearest[:, None] > np.arange(code.n_bits + 1)).mean(0),
        {n: one.precision_at_n for n, one in found.items()},
        scores.mean_average_precision,
    )


def possible(runs: HashRuns) -> tuple[int, ...]:
    """Return the numbers of nearest images to choose from: those of ``NEAREST`` that the gallery has, or all of it."""
    return tuple(n for n in NEAREST if n <= runs.n_gallery) or (runs.n_gallery,)


def read(runs: HashRuns, curves: tuple[Curve, ...], radius: int, n: int) -> Curves:
    """Return the curves with the place to read them at.

    Args:
        runs: what ``curves`` were measured on.
        curves: of :func:`measure`.
        radius: 0 to all bits.
        n: one of :func:`possible`.

    Raises:
        ValueError: another radius or number.
    """
    most = min(len(curve.precision) for curve in curves) - 1
    require(0 <= radius <= most, "read", "radius", f"0 to {most}", radius)
    require(n in possible(runs), "read", "n", f"one of {possible(runs)}", n)
    return Curves(curves, radius, n, runs.n_queries, runs.n_gallery)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _TOP, _TALL, _ROW = 660.0, 60.0, 268.0, 24.0
_COLUMNS = (
    ("precision", 214.0),
    ("recall", 282.0),
    ("images", 372.0),
    ("found nothing", 482.0),
    ("P at N", 562.0),
    ("mAP", 630.0),
)
_OTHER = style.Line(style.GREEN, "-", "o", 1.8)


def draw(found: Curves) -> Svg:
    """Draw precision and recall over the radius, and below what they are at the chosen one."""
    picture = Svg(_WIDTH, _TOP + _TALL + 58 + _ROW * len(found.curves) + 10)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    looks = [LOOKS.get(curve.method, _OTHER) for curve in found.curves]
    x = 16.0
    for curve, look in zip(found.curves, looks, strict=True):
        picture.line(x, 45, x + 34, 45, stroke=look.color, stroke_width=look.linewidth, dash=look.dashes)
        draw_marker(picture, x + 17, 45, look)
        picture.text(x + 41, 49.5, curve.method, bold=True, fill=look.color)
        x += 62 + text_width(curve.method, 13, bold=True)
    for number, name in enumerate(("precision", "recall")):
        lines, here = [], []
        for curve, look in zip(found.curves, looks, strict=True):
            values = getattr(curve, name)
            lines.append(Series("", np.arange(len(values)), values, look))
            here.append(Series("", [found.radius], [values[found.radius]], look, markers=True))
        draw_panel(
            picture,
            (14 + number * _WIDTH / 2, _TOP, _WIDTH / 2 - 24, _TALL - 18),
            [*lines[::-1], *here[::-1]],  # the first method on top
            heading=f"{name}, mean over queries",
            x_label="Hamming radius (bits)",
            x_limits=(0.0, float(max(len(curve.precision) for curve in found.curves) - 1)),
            y_limits=(0.0, 1.04),
            mark=float(found.radius),
        )
    _draw_table(picture, found, looks)
    return picture


def _draw_table(picture: Svg, found: Curves, looks: list[style.Line]) -> None:
    y = _TOP + _TALL + 26
    picture.text(14, y, f"within {bits(found.radius)}", size=12.5, bold=True)
    for name, right in _COLUMNS:
        text = f"P at {found.n}" if name == "P at N" else name
        picture.text(right, y, text, size=12, anchor="end", fill=style.GREY)
    picture.line(14, y + 8, _WIDTH - 20, y + 8, stroke="#8c8c8c", stroke_width=1)
    for row, (curve, look) in enumerate(zip(found.curves, looks, strict=True), 1):
        r = found.radius
        values = (
            f"{curve.precision[r]:.2f}",
            f"{curve.recall[r]:.2f}",
            f"{curve.retrieved[r]:,.0f}",
            f"{100 * curve.empty[r]:.0f} %",
            f"{curve.at_n[found.n]:.2f}",
            f"{curve.mean_average_precision:.2f}",
        )
        picture.text(14, y + 4 + _ROW * row, shorten(curve.method, 130, 13, bold=True), bold=True, fill=look.color)
        for value, (_, right) in zip(values, _COLUMNS, strict=True):
            picture.text(right, y + 4 + _ROW * row, value, anchor="end")


def bits(count: int) -> str:
    """Return a radius in words: ``"0 bits"``, ``"1 bit"``."""
    return f"{count} bit{'s' * (count != 1)}"


def _finding(found: Curves) -> str:
    best = found.best
    values = [curve.precision[found.radius] for curve in found.curves]
    if len(values) > 1 and max(values) - min(values) < 0.005:
        return f"Within {bits(found.radius)} all are as precise: {best.precision[found.radius]:.2f}"
    return (
        f"Within {bits(found.radius)} {best.method} is most precise: {best.precision[found.radius]:.2f}, "
        f"recall {best.recall[found.radius]:.2f}"
    )


def describe(found: Curves) -> str:
    """Say for each method how precise and how complete it is within the radius, and how many queries find nothing."""
    r = found.radius
    parts = []
    for curve in found.curves:
        empty = f" ({100 * curve.empty[r]:.0f} % of the queries find nothing)" if curve.empty[r] > 0 else ""
        parts.append(f"{curve.method} {curve.precision[r]:.2f} and {curve.recall[r]:.2f}{empty}")
    nearest = ", ".join(f"{curve.method} {curve.at_n[found.n]:.2f}" for curve in found.curves)
    counted = " A query that finds nothing counts as precision 0." if any(c.empty[r] > 0 for c in found.curves) else ""
    return (
        f"Precision and recall within {bits(r)}, means over {found.n_queries} queries in {found.n_gallery:,} images: "
        f"{'; '.join(parts)}.{counted} Precision among the {found.n} nearest: {nearest}."
    )


def explore_retrieval_curves(runs: HashRuns | None = None) -> View:
    """Return a view of precision and recall by method, with sliders for the radius and for N.

    Args:
        runs: images and codes; default: those of :func:`~toolkit.explorers.hash_runs.hash_runs`.
    """
    runs = hash_runs() if runs is None else runs
    curves = measure(runs)
    most = min(len(curve.precision) for curve in curves) - 1
    numbers = possible(runs)
    chosen = {
        "radius": controls.int_slider("radius", min(2, most), 0, most, unit="bits"),
        "n": controls.choice("precision among the nearest", numbers, 100 if 100 in numbers else numbers[0]),
    }
    return View(chosen, functools.partial(read, runs, curves), draw, describe)

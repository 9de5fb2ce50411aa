"""An image asks, the gallery answers: its nearest images by the number of bits in which their codes differ."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.explorers.hash_runs import HashRuns, hash_runs
from toolkit.lessons import View, controls, style

WAYS = ("distances", "nearest")
"""Some images at each of the smallest distances, or the nearest ones."""
_RINGS, _EACH = 4, 6
SHOWN = _RINGS * _EACH


@dataclass(frozen=True)
class Ring:
    """The gallery images at one distance.

    Attributes:
        distance: in bits.
        count: how many images.
        right: how many of them are of the query's class.
        shown: how many of them are shown.
    """

    distance: int
    count: int
    right: int
    shown: int


@dataclass(frozen=True, repr=False, eq=False)
class Answer:
    """What one query finds with one method's codes.

    Attributes:
        method: whose codes.
        query: which of the queries, from 0.
        label: its class.
        number: which query of its class, from 1.
        image: the query.
        bits: of the query.
        way: one of ``WAYS``: which of the found images are shown.
        found_images: those, the nearest first, ties in the gallery's order.
        found_labels: their classes.
        found_bits: their bits.
        distances: how many of their bits differ from the query's.
        rings: the distances of the images that are shown.
        average_precision: of this query.
        means: mean average precision over all queries, by method.
        n_queries: how many queries these are.
    """

    method: str
    query: int
    label: int
    number: int
    image: Float[Tensor, "height width"]
    bits: Bool[Tensor, " bits"]
    way: str
    found_images: Float[Tensor, "found height width"]
    found_labels: Int64[Tensor, " found"]
    found_bits: Bool[Tensor, "found bits"]
    distances: Int64[Tensor, " found"]
    rings: tuple[Ring, ...]
    average_precision: float
    means: dict[str, float]
    n_queries: int

    @property
    def right(self) -> Bool[Tensor, " found"]:
        """Which of the found images are of the query's class."""
        return self.found_labels == self.label

    def __repr__(self) -> str:
        found = f"{int(self.right.sum())} of {len(self.right)} right"
        return f"Answer({self.method}, query {self.number} of class {self.label}: {found})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def search(runs: HashRuns, label: int, number: int, method: str, way: str = WAYS[0]) -> Answer:
    """Search the gallery for one query.

    Args:
        runs: images and codes.
        label: class of the query.
        number: which query of that class, from 1.
        method: one of ``runs.methods``.
        way: one of ``WAYS``. ``"distances"`` picks images evenly from all that are as far from the query, for each of
            the four smallest distances; ``"nearest"`` the first 24 in the order of their distance.

    Raises:
        ValueError: there is no such query, method or way.
    """
    require(method in runs.codes, "search", "method", f"one of {runs.methods}", repr(method))
    require(way in WAYS, "search", "way", f"one of {WAYS}", repr(way))
    queries = (runs.query_labels == label).nonzero()[:, 0].tolist()
    require(len(queries) > 0, "search", "label", f"one of {sorted(set(runs.query_labels.tolist()))}", label)
    require(1 <= number <= len(queries), "search", "number", f"1 to {len(queries)}", number)
    query = queries[number - 1]
    code = runs.codes[method]
    distances = code.distances[query].long()
    shown = _pick(distances) if way == "distances" else distances.argsort(stable=True)[:SHOWN]
    right = runs.gallery_labels == label
    rings = []
    for distance, count in zip(*(part.tolist() for part in distances[shown].unique(return_counts=True)), strict=True):
        members = distances == distance
        rings.append(Ring(distance, int(members.sum()), int((members & right).sum()), count))
    return Answer(
        method,
        query,
        label,
        number,
        runs.query_images[query],
        code.queries[query],
        way,
        runs.gallery_images[shown],
        runs.gallery_labels[shown].long(),
        code.gallery[shown],
        distances[shown],
        tuple(rings),
        float(code.scores.average_precisions[query]),
        {name: one.scores.mean_average_precision for name, one in runs.codes.items()},
        runs.n_queries,
    )


def _pick(distances: Int64[Tensor, " gallery"]) -> Int64[Tensor, " found"]:
    """Return some points at each of the smallest distances, evenly spread over all that are as far."""
    picked = []
    for distance in distances.unique()[:_RINGS]:
        members = (distances == distance).nonzero()[:, 0]
        count = min(_EACH, len(members))
        picked.append(members[torch.arange(count) * len(members) // count])
    return torch.cat(picked)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _COLUMNS = 660.0, 14.0, _EACH
_SIZE, _CELL_X, _GRID = 52.0, 62.0, 152.0
_CODES, _ROW, _FIRST = 424.0, 14.6, 104.0
_ONE, _ZERO = 0.1, 0.93


def draw(answer: Answer) -> Svg:
    """Draw the query and its code above the images it found and theirs; wrong ones are framed and crossed."""
    places = _places(answer)
    bottom = max(y for _, y in places) + _SIZE + 24
    picture = Svg(_WIDTH, max(bottom, _FIRST + _ROW * len(answer.distances) + 26))
    picture.text(_LEFT, 24, shorten(_finding(answer), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    _framed(picture, _LEFT, 42, 92, answer.image)
    lines = (
        (f"query: a {answer.label}", True),
        (answer.method, False),
        (f"average precision {answer.average_precision:.2f}", False),
        (f"mean of {answer.n_queries} queries {answer.means[answer.method]:.2f}", False),
    )
    for number, (line, bold) in enumerate(lines):
        picture.text(_LEFT + 106, 60 + 22 * number, line, bold=bold)
    if answer.way == "distances":
        _head_rows(picture, answer)
    nearest = answer.way == "nearest"
    for number, ((x, y), image, distance, right) in enumerate(
        zip(places, answer.found_images, answer.distances.tolist(), answer.right.tolist(), strict=True), 1
    ):
        _framed(picture, x, y, _SIZE, image, wrong=not right)
        look: dict[str, Any] = {"fill": style.GREY} if right else {"bold": True, "fill": style.VERMILION}
        caption = f"{number}: {bits(distance)}" if nearest else str(number)
        picture.text(x + _SIZE / 2, y + _SIZE + 14, caption, size=11, anchor="middle", **look)
    _draw_codes(picture, answer)
    return picture


def bits(count: int) -> str:
    """Return a number of bits in words: ``"1 bit"``, ``"2 bits"``."""
    return f"{count} bit{'s' * (count != 1)}"


def _places(answer: Answer) -> list[tuple[float, float]]:
    """Return where each found image stands: a row for each distance, or one after the other."""
    if answer.way == "nearest":
        cells = [divmod(place, _COLUMNS) for place in range(len(answer.distances))]
        return [(_LEFT + _CELL_X * column, _GRID + 78 * row) for row, column in cells]
    cells = [(row, column) for row, ring in enumerate(answer.rings) for column in range(ring.shown)]
    return [(_LEFT + _CELL_X * column, _GRID + 16 + 90 * row) for row, column in cells]


def _head_rows(picture: Svg, answer: Answer) -> None:
    for row, ring in enumerate(answer.rings):
        where = f"{bits(ring.distance)} away" if ring.distance else "the same code"
        text = f"{where}: {ring.right:,} of {ring.count:,} right"
        picture.text(_LEFT, _GRID + 10 + 90 * row, text, size=12)


def _framed(picture: Svg, x: float, y: float, size: float, image: Tensor, wrong: bool = False) -> None:
    picture.image(x, y, size, size, image)
    color, width = (style.VERMILION, 3.0) if wrong else ("#b0b0b0", 1.0)
    picture.rectangle(x, y, size, size, fill="none", stroke=color, stroke_width=width)
    if wrong:
        side = 15.0
        picture.rectangle(x + size - side, y, side, side, fill=style.VERMILION)
        cross(picture, x + size - side / 2, y + side / 2, 4.0, "#ffffff")


def cross(picture: Svg, x: float, y: float, reach: float, color: str) -> None:
    """Draw a small × about a point."""
    picture.line(x - reach, y - reach, x + reach, y + reach, stroke=color, stroke_width=2)
    picture.line(x - reach, y + reach, x + reach, y - reach, stroke=color, stroke_width=2)


def _draw_codes(picture: Svg, answer: Answer) -> None:
    n_bits = len(answer.bits)
    right = _WIDTH - 44.0
    each = (right - _CODES) / n_bits
    middle = (_CODES + right) / 2
    picture.text(middle, 60, f"codes: {bits(n_bits)}, black is 1", size=12, anchor="middle", fill=style.GREY)
    _barcode(picture, _CODES, 68, right - _CODES, 20, answer.bits[None])
    picture.text(_CODES - 6, 82, "query", size=12, anchor="end", bold=True)
    n_found = len(answer.distances)
    _barcode(picture, _CODES, _FIRST, right - _CODES, _ROW * n_found, answer.found_bits)
    bottom = _FIRST + _ROW * n_found
    for place in range(n_found + 1):
        y = _FIRST + _ROW * place
        picture.line(_CODES, y, right, y, stroke="#ffffff", stroke_width=2.4)
    for bit in range(n_bits + 1):
        x = _CODES + each * bit
        picture.line(x, 68, x, 88, stroke="#ffffff", stroke_width=1)
        picture.line(x, _FIRST, x, bottom, stroke="#ffffff", stroke_width=1)
    for place, bit in (answer.found_bits != answer.bits).nonzero().tolist():
        x, y = _CODES + each * bit, _FIRST + _ROW * place
        picture.rectangle(x + 1.2, y + 2.2, each - 2.4, _ROW - 4.4, fill="none", stroke=style.VERMILION, stroke_width=2)
    for place, (distance, fine) in enumerate(zip(answer.distances.tolist(), answer.right.tolist(), strict=True)):
        y = _FIRST + _ROW * place + 11.5
        picture.text(_CODES - 6, y, place + 1, size=11, anchor="end", fill=style.GREY)
        look: dict[str, Any] = {} if fine else {"bold": True, "fill": style.VERMILION}
        picture.text(right + 15, y, distance, size=11.5, anchor="end", **look)
        if not fine:
            cross(picture, right + 27, y - 4, 4.0, style.VERMILION)
    picture.text(
        middle, bottom + 16, "outlined: differs from the query", size=12, anchor="middle", fill=style.VERMILION
    )


def _barcode(picture: Svg, x: float, y: float, width: float, height: float, bits: Tensor) -> None:
    picture.image(x, y, width, height, torch.where(bits, _ONE, _ZERO))


def _finding(answer: Answer) -> str:
    if answer.way == "nearest":
        right, shown = int(answer.right.sum()), len(answer.right)
        return f"{answer.method}: {right} of the {shown} nearest images show a {answer.label} too"
    first = answer.rings[0]
    last = answer.rings[-1]
    text = f"{answer.method}: {_share(first)} right {_away(first)}"
    return text if first is last else f"{text}, {_share(last)} {_away(last)}"


def _share(ring: Ring) -> str:
    return f"{100 * ring.right / ring.count:.0f} %"


def _away(ring: Ring) -> str:
    return f"at {bits(ring.distance)}" if ring.distance else "with the same code"


def describe(answer: Answer) -> str:
    """Say how many of the nearest images are right, how near they are, and how good the query and the method are."""
    who = f"{answer.method}, query {answer.number} of class {answer.label}"
    others = ", ".join(f"{name} {value:.2f}" for name, value in answer.means.items() if name != answer.method)
    beside = f" ({others})" if others else ""
    return (
        f"{who}: {_found(answer)}. Average precision {answer.average_precision:.2f}; mean over {answer.n_queries} "
        f"queries {answer.means[answer.method]:.2f}{beside}."
    )


def _found(answer: Answer) -> str:
    if answer.way == "distances":
        rings = ", ".join(f"{ring.right:,} of {ring.count:,} {_away(ring)}" for ring in answer.rings)
        return f"of its class are {rings}; up to {_EACH} of each are shown, wrong ones crossed"
    right, shown = int(answer.right.sum()), len(answer.right)
    near, far = int(answer.distances[0]), int(answer.distances[-1])
    reach = f"all {bits(near)} away" if near == far else f"{near} to {bits(far)} away"
    last = answer.rings[-1]
    tied = (
        f", the last {last.shown} chosen by their order from {last.count:,} as far" if last.shown < last.count else ""
    )
    wrong = sorted(set(answer.found_labels[~answer.right].tolist()))
    names = f" (the others: {', '.join(map(str, wrong))})" if wrong else ""
    return f"{right} of the {shown} nearest images are of its class{names}, {reach}{tied}"


def explore_hash_query(runs: HashRuns | None = None) -> View:
    """Return a view of what a query finds: its class, which one of that class, and the codes to search by.

    Args:
        runs: images and codes; default: those of :func:`~toolkit.explorers.hash_runs.hash_runs`.
    """
    runs = hash_runs() if runs is None else runs
    labels = runs.query_labels.tolist()
    count = min(labels.count(label) for label in set(labels))
    chosen = {
        # Near the average over all queries with every method, and less precise with each bit: a usual query.
        "label": controls.int_slider("class of the query", min(3, max(labels)), min(labels), max(labels)),
        "number": controls.int_slider("which one of them", min(3, count), 1, count),
        "method": controls.toggle("codes by", runs.methods),
        "way": controls.toggle("show", {f"{_EACH} at each distance": "distances", f"the {SHOWN} nearest": "nearest"}),
    }
    return View(chosen, functools.partial(search, runs), draw, describe)

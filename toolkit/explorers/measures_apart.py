"""Random joints: where four measures of redundancy lie in the interval, and in which joints they disagree most."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.disentanglement.exact import PID, PIDInterval, interval, pid
from toolkit.explorers.pid_parts import MEASURES, NOISE, amount, bars_of, draw_point, parts_panel, span
from toolkit.explorers.random_joints import KINDS, ORDERS, Population, make_population
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale

MOST_RANKS = 50
_LEAST, _MOST, _BINS = -0.5, 1.5, 40


@dataclass(frozen=True, eq=False)
class Apart:
    """One joint of a population, picked by how far apart two measures are.

    Attributes:
        population: all joints of its kind.
        order: a key of ``ORDERS``.
        rank: its place in that order, from 1.
        index: which joint of the population it is.
        joint: its probabilities p(a, b, y).
        interval: what non-negativity leaves of its parts, in bits.
        measures: its parts by each measure.
    """

    population: Population
    order: str
    rank: int
    index: int
    joint: Float64[Tensor, "first second target"]
    interval: PIDInterval
    measures: Mapping[str, PID]

    def position(self, measure: str) -> float:
        """Return where a measure lies in the interval: 0 at the lower end, 1 at the upper one."""
        lower = float(self.interval.redundant.lower)
        return (float(self.measures[measure].redundant) - lower) / float(self.interval.width)

    def outside(self, measure: str) -> bool:
        """Return whether a measure lies outside the interval, by more than rounding can do."""
        value, ends = self.measures[measure].redundant, self.interval.redundant
        return bool((value < ends.lower - NOISE) | (value > ends.upper + NOISE))

    def __repr__(self) -> str:
        return f"Apart({self.population.kind}, {self.order}: rank {self.rank} is joint {self.index})"

    def to_dict(self) -> dict[str, Any]:
        """Return the joint, its interval and its parts as plain Python."""
        measures = {name: one.to_dict() for name, one in self.measures.items()}
        plain = {"kind": self.population.kind, "order": self.order, "rank": self.rank, "index": self.index}
        return plain | {"joint": self.joint.tolist(), "interval": self.interval.to_dict(), "measures": measures}


def sorted_joints(population: Population, order: str) -> Int64[Tensor, " computed"]:
    """Return the joints of a population, those where the two of an order are furthest apart first."""
    return population.apart(order).argsort(descending=True, stable=True)


def compute(kind: str, order: str, rank: int) -> Apart:
    """Pick a joint.

    Args:
        kind: one of ``KINDS``.
        order: a key of ``ORDERS``.
        rank: 1 for the joint where the two are furthest apart, and so on.

    Raises:
        ValueError: no such kind, order or rank.
    """
    require(order in ORDERS, "compute", "order", f"one of {tuple(ORDERS)}", repr(order))
    population = make_population(kind)
    places = sorted_joints(population, order)
    require(1 <= rank <= len(places), "compute", "rank", f"1 to {len(places)}", rank)
    index = int(places[rank - 1])
    joint = population.joints[index]
    measures = {measure: pid(joint, measure, "bits") for measure in MEASURES}
    return Apart(population, order, rank, index, joint, interval(joint, "bits"), measures)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _TOP, _STRIP, _LOW = 690.0, 14.0, 62.0, 42.0, 284.0
_AXIS, _WORDS = (84.0, 500.0), 512.0


def draw(found: Apart) -> Svg:
    """Draw where each measure lies in all joints, and below it the picked joint: its table and its parts."""
    picture = Svg(_WIDTH, _LOW + 262)
    picture.text(_LEFT, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    _draw_strips(picture, found)
    heading = f"joint {found.rank}: p(a, b, y) in percent"
    picture.text(_LEFT, _LOW + 13, heading, size=12.5, bold=True)
    bottom = _draw_tables(picture, found.joint)
    _draw_values(picture, found, bottom + 26)
    bars = zip(bars_of(found.interval, found.measures), ("U(a)", "U(b)", "R", "C"), strict=True)
    named = [replace(bar, label=label) for bar, label in bars]
    picture.place(270, _LOW - 2, parts_panel(named, width=414, height=258))
    return picture


def _draw_strips(picture: Svg, found: Apart) -> None:
    population = found.population
    to_x = Scale(_LEAST, _MOST, *_AXIS, False)
    picture.text(
        _LEFT,
        _TOP - 14,
        f"where R lies in its interval, {len(population.joints):,} random joints",
        size=12.5,
        bold=True,
    )
    bottom = _TOP + _STRIP * len(MEASURES)
    picture.rectangle(to_x(0.0), _TOP - 4, to_x(1.0) - to_x(0.0), bottom - _TOP + 4, fill=style.BLUE, opacity=0.1)
    for end in (0.0, 1.0):
        picture.line(to_x(end), _TOP - 4, to_x(end), bottom, stroke=style.BLUE, stroke_width=1.2)
    for row, (measure, name) in enumerate(MEASURES.items()):
        base = _TOP + _STRIP * (row + 1) - 4
        picture.line(_AXIS[0], base, _AXIS[1], base, stroke="#8c8c8c", stroke_width=1)
        picture.text(_AXIS[0] - 22, base - 10, name, anchor="end", bold=True)
        draw_point(picture, _AXIS[0] - 11, base - 14, measure)
        shares = histogram(population.positions(measure))
        for place, share in enumerate(shares):
            if share > 0:
                x = to_x(_LEAST + place * (_MOST - _LEAST) / _BINS)
                tall = max(1.0, (_STRIP - 12) * share / max(shares))
                picture.rectangle(x + 0.5, base - tall, to_x(0.05) - to_x(0.0) - 1, tall, fill=style.GREY, opacity=0.7)
        x = to_x(min(max(found.position(measure), _LEAST), _MOST))
        draw_point(picture, x, base - 5, measure, outside=found.outside(measure))
        for line, text in enumerate(_remarks(population, measure)):
            picture.text(_WORDS, base - 16 + 15 * line, text, size=12, fill=style.INK if line == 0 else style.GREY)
    for value, text in ((0.0, "lower end"), (0.5, "half way"), (1.0, "upper end")):
        picture.line(to_x(value), bottom, to_x(value), bottom + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), bottom + 18, text, size=12, anchor="middle", fill=style.GREY)


def histogram(positions: Float64[Tensor, " joints"]) -> list[float]:
    """Return the share of joints in each bin; what lies beyond the axis counts in its last bin."""
    # The upper end belongs to the interval: it must not fall into the bin beyond.
    inside = torch.where((positions - 1).abs() < 1e-6, 1 - 1e-6, positions)
    inside = torch.where(inside.abs() < 1e-6, 1e-6, inside)
    bins = ((inside - _LEAST) / (_MOST - _LEAST) * _BINS).floor().clamp(0, _BINS - 1).long()
    return (torch.bincount(bins, minlength=_BINS).double() / len(bins)).tolist()


def _remarks(population: Population, measure: str) -> tuple[str, ...]:
    """Say how often a measure leaves the interval, and how often it is the same as MMI or lies beyond the axis."""
    values = population.redundant[measure]
    n, outside = len(values), population.outside(measure)
    where = f"{outside:,} of {n:,} outside" if outside else f"all {n:,} inside"
    if measure == "mmi":
        return (where, "always the upper end")
    if measure == "ccs":
        positions = population.positions(measure)
        far = int(((positions < _LEAST) | (positions > _MOST)).sum())
        return (where, f"{far:,} beyond this axis") if far else (where,)
    same = int(((values - population.redundant["mmi"]).abs() < 1e-9).sum())
    return (where, f"{same:,} the same as MMI")


def _draw_tables(picture: Svg, joint: Float64[Tensor, "first second target"]) -> float:
    """Draw a table of a and b for each value of y, darker where more probable; return where they end."""
    n_first, n_second, n_target = joint.shape
    cell = 22.5 if n_target > 2 else 35.0
    top, most = _LOW + 62, float(joint.max())
    picture.text(_LEFT + 4, top + n_first * cell / 2 + 4, "a", size=12, bold=True)
    picture.text(_LEFT + 23, top - 5, "b", size=12, anchor="end", bold=True)
    for a in range(n_first):
        picture.text(_LEFT + 23, top + cell * (a + 0.5) + 4, a, size=12, anchor="end", fill=style.GREY)
    for y in range(n_target):
        left = _LEFT + 30 + y * (n_second * cell + 8)
        picture.text(left + n_second * cell / 2, top - 22, f"y = {y}", size=12, anchor="middle", bold=True)
        for b in range(n_second):
            picture.text(left + cell * (b + 0.5), top - 5, b, size=12, anchor="middle", fill=style.GREY)
        for a, b in itertools.product(range(n_first), range(n_second)):
            value = float(joint[a, b, y])
            shade = round(255 * (1 - 0.85 * value / most))
            x, above = left + cell * b, top + cell * a
            picture.rectangle(x, above, cell - 1, cell - 1, fill=f"#{shade:02x}{shade:02x}{shade:02x}")
            color = "#ffffff" if shade < 130 else style.INK
            text = f"{100 * value:.0f}"
            picture.text(x + cell / 2 - 0.5, above + cell / 2 + 4, text, size=11, anchor="middle", fill=color)
    return top + n_first * cell


def _draw_values(picture: Svg, found: Apart, top: float) -> None:
    """Write the redundancy by each measure, and what is possible."""
    ends = found.interval.redundant
    possible = span(float(ends.lower), float(ends.upper))
    picture.text(_LEFT, top, f"R: {possible} bits are possible", size=12.5, bold=True)
    for row, (measure, name) in enumerate(MEASURES.items(), 1):
        outside = found.outside(measure)
        draw_point(picture, _LEFT + 12, top + 19 * row - 4, measure, outside=outside)
        text = f"{name}: {amount(float(found.measures[measure].redundant))}{', outside' if outside else ''}"
        picture.text(_LEFT + 26, top + 19 * row, text, size=12, bold=outside)


def _finding(found: Apart) -> str:
    redundant = {name: amount(float(one.redundant)) for name, one in found.measures.items()}
    ends = found.interval.redundant
    possible = span(float(ends.lower), float(ends.upper))
    first, second = ORDERS[found.order]
    if second == "interval":
        where = "leaves the interval" if found.outside(first) else "keeps to the interval here"
        return f"CCS {where}: R = {redundant[first]} bits, where {possible} are possible"
    if second == "lower":
        return f"The same joint distribution leaves R open: {possible} bits"
    names = MEASURES[second], MEASURES[first]
    if redundant[first] == redundant[second]:
        return f"Here {names[0]} and {names[1]} agree: R = {redundant[first]} bits"
    return f"The same joint distribution: R = {redundant[second]} bits by {names[0]}, {redundant[first]} by {names[1]}"


def describe(found: Apart) -> str:
    """Say how wide the intervals are, which measures keep to them, and what each says of the picked joint."""
    population = found.population
    width = population.interval.width
    n = len(population.joints)
    outside = {measure: population.outside(measure) for measure in MEASURES}
    inside = [MEASURES[measure] for measure, count in outside.items() if not count]
    left = [
        f"; {MEASURES[measure]} leaves it in {count:,} of {len(population.redundant[measure]):,}"
        for measure, count in outside.items()
        if count
    ]
    values = ", ".join(f"{MEASURES[name]} {amount(float(one.redundant))}" for name, one in found.measures.items())
    ends = found.interval.redundant
    ordered = f"all {n:,}" if population.ordered == n else f"{population.ordered:,}"
    among = f" of {len(population.redundant['ccs'])}" if "ccs" in ORDERS[found.order] else ""
    return (
        f"{n:,} random joints ({population.kind}): the interval is {amount(float(width.median()))} bits wide in the "
        f"median, at most {amount(float(width.max()))}. Never outside: {', '.join(inside)}{''.join(left)}. "
        f"BROJA ≤ I_min ≤ MMI in {ordered}. Joint {found.rank}{among} by the distance of {found.order}: "
        f"R can be {span(float(ends.lower), float(ends.upper))} bits; {values}."
    )


def explore_measures_apart() -> View:
    """Return a view of where measures of redundancy lie in the interval: over random joints, and in one of them."""
    for kind in KINDS:
        make_population(kind)
    chosen = {
        "kind": controls.choice("random joints", KINDS, KINDS[1]),
        "order": controls.choice("furthest apart", tuple(ORDERS)),
        "rank": controls.int_slider("which joint in this order", 1, 1, MOST_RANKS),
    }
    chosen["rank"].layout.width = "654px"  # so many steps need room
    return View(chosen, compute, draw, describe)

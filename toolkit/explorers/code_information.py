"""Information counted by bits and pairs of bits, beside the true information: when is it too much, when too little?

The codes are made up, so that what the bits have in common is known: they are copies of one bit, or XORs of a few.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import text_width
from toolkit.explorers.small_panels import draw_panel
from toolkit.imsat.exact import exact_hash_information
from toolkit.imsat.hash_losses import hash_information
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale, tick_names, ticks
from toolkit.lessons.svg import Series

BLENDS = ("independent to copies", "independent to XORs", "XORs to copies")
SHARES = tuple(round(share / 10, 1) for share in range(11))
MOST_BITS = 8
_SURE = 1000.0


@dataclass(frozen=True, repr=False, eq=False)
class CodeInformation:
    """What a code tells about its point, in nats, by three ways to count.

    Attributes:
        exact: over all 2^D codes.
        first: counting bits and, once, pairs of bits (c = 1).
        second: counting each pair twice, as the authors' code does (c = 2).
        ceiling: D log 2.
    """

    exact: float
    first: float
    second: float
    ceiling: float

    def __repr__(self) -> str:
        return f"CodeInformation(exact {self.exact:.4g}, c = 1 {self.first:.4g}, c = 2 {self.second:.4g} nats)"

    def to_dict(self) -> dict[str, float]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True, repr=False, eq=False)
class Blend:
    """One blend of two kinds of code, and the way from the one to the other.

    Attributes:
        source: one of ``BLENDS``.
        n_bits: D.
        share: of the points whose bits are of the second kind; the others' are of the first.
        here: the information at this share.
        way: the information at each of ``SHARES``.
    """

    source: str
    n_bits: int
    share: float
    here: CodeInformation
    way: tuple[CodeInformation, ...]

    def __repr__(self) -> str:
        return f"Blend({self.source}, {self.n_bits} bits, share {self.share:g}: {self.here!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def measure(logits: Float[Tensor, "points bits"]) -> CodeInformation:
    """Return the information of a code by the three ways to count.

    Args:
        logits: of at most 16 bits.

    Raises:
        ValueError: too many bits, or none.
    """
    exact, first, second = (
        float(value)
        for value in (exact_hash_information(logits), hash_information(logits, 1.0), hash_information(logits, 2.0))
    )
    return CodeInformation(exact, first, second, logits.shape[1] * math.log(2))


def copies(n_bits: int) -> Float[Tensor, "points bits"]:
    """Return the codes of two points: all bits 0, all bits 1."""
    return torch.stack((torch.zeros(n_bits), torch.ones(n_bits))).double()


def xors(n_bits: int) -> Float[Tensor, "points bits"]:
    """Return codes in which any two bits are independent and most bits are XORs of others.

    Bit d of point x is the parity of ``d & x``: bits 1, 2, 4 and 8 are free and each other one is the XOR of those
    whose numbers add up to its own, so three bits are two free ones and their XOR.
    """
    free = n_bits.bit_length()
    numbers = torch.arange(1, n_bits + 1)
    both = torch.arange(2**free)[:, None] & numbers
    return (both[:, :, None] >> torch.arange(free) & 1).sum(-1).remainder(2).double()


def independent(n_bits: int) -> Float[Tensor, "points bits"]:
    """Return all 2^D codes, each of one point."""
    return (torch.arange(2**n_bits)[:, None] >> torch.arange(n_bits) & 1).double()


_KINDS = dict(zip(BLENDS, ((independent, copies), (independent, xors), (xors, copies)), strict=True))


def blend(source: str, n_bits: int, share: float) -> Float[Tensor, "points bits"]:
    """Return certain logits of points of which some have bits of one kind, the others of another.

    Args:
        source: one of ``BLENDS``.
        n_bits: 1 to ``MOST_BITS``.
        share: of points with bits of the second kind: one of ``SHARES``.

    Raises:
        ValueError: another source, number or share.
    """
    require(source in BLENDS, "blend", "source", f"one of {BLENDS}", repr(source))
    require(1 <= n_bits <= MOST_BITS, "blend", "n_bits", f"1 to {MOST_BITS}", n_bits)
    tenths = round(10 * share)
    require(abs(10 * share - tenths) < 1e-9 and 0 <= tenths <= 10, "blend", "share", f"one of {SHARES}", share)
    kinds = [kind(n_bits) for kind in _KINDS[source]]
    most = max(map(len, kinds))  # all sizes are powers of two
    parts = [
        codes.repeat(most // len(codes) * count, 1) for codes, count in zip(kinds, (10 - tenths, tenths), strict=True)
    ]
    return _SURE * (2 * torch.cat(parts) - 1)


@functools.cache
def _way(source: str, n_bits: int) -> tuple[CodeInformation, ...]:
    return tuple(measure(blend(source, n_bits, share)) for share in SHARES)


def compute(source: str = BLENDS[0], n_bits: int = 3, share: float = 1.0) -> Blend:
    """Return the information of a blend; arguments as for :func:`blend`.

    Raises:
        ValueError: another source, number or share.
    """
    here = measure(blend(source, n_bits, share))
    return Blend(source, n_bits, round(float(share), 1), here, _way(source, n_bits))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

NAMES = ("exact", "c = 1", "c = 2")
LOOKS = (style.MEANINGS["truth"], style.LINES[0], style.LINES[1])
_WIDTH, _BARS, _TOP, _TALL = 660.0, 286.0, 34.0, 296.0
PANEL = (_BARS + 18, _TOP + 6, _WIDTH - _BARS - 32, _TALL - 36)
"""Where the lines stand beside :func:`information_bars`: their axes begin and end at the same height."""
CEILING = style.Line(style.GREY, (0, (2.0, 2.0)), "", 1.4)


def draw(found: Blend) -> Svg:
    """Draw the three values as bars, and at the right how they change with the share."""
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 24, _finding(found.here), size=14, bold=True)
    lowest, highest = _range(found.way)
    picture.place(0, _TOP, information_bars(found.here, (lowest, highest), width=_BARS, height=_TALL))
    values = [[getattr(point, name) for point in found.way] for name in ("exact", "first", "second")]
    ceiling = Series("", [0, 1], [found.here.ceiling] * 2, CEILING)
    lines = [Series(name, SHARES, value, look) for name, value, look in zip(NAMES, values, LOOKS, strict=True)]
    first, second = found.source.split(" to ")
    draw_panel(
        picture,
        PANEL,
        [ceiling, *lines],
        heading="information (nats)",
        x_label=f"share: 0 {first}, 1 {second}",
        x_limits=(0.0, 1.0),
        y_limits=(lowest, highest),
        mark=found.share,
    )
    return picture


def information_bars(here: CodeInformation, value_limits: tuple[float, float], *, width: float, height: float) -> Svg:
    """Draw upright bars of the three values, the exact one black, below the ceiling.

    Args:
        here: the values.
        value_limits: lowest and highest value of the axis; zero is among them.
        width: pixels.
        height: pixels.
    """
    picture = Svg(width, height, frame=False, background="none")
    names = ticks(*value_limits)
    labels = tick_names(names)
    left, right = 42 + max(text_width(label, 12) for label in labels), width - 10.0
    to_y = Scale(*value_limits, height - 50.0, 30.0, False)
    for value, label in zip(names, labels, strict=True):
        picture.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6", stroke_width=1)
        picture.text(left - 7, to_y(value) + 4, label, size=12, anchor="end", fill=style.GREY)
    picture.text(18, (30 + height - 50) / 2, "information (nats)", anchor="middle", rotate=-90)
    each = (right - left) / 3
    for number, (name, value, look) in enumerate(zip(NAMES, _values(here), LOOKS, strict=True)):
        x, y = left + each * (number + 0.2), to_y(value)
        top, tall = min(y, to_y(0.0)), abs(y - to_y(0.0))
        middle = x + each * 0.3
        if tall > 0:
            picture.rectangle(x, top, each * 0.6, tall, fill=look.color, opacity=1.0 if number < 2 else 0.55)
            if look.dashes:
                picture.rectangle(
                    x, top, each * 0.6, tall, fill="none", stroke=look.color, stroke_width=1.5, dash=(5, 2)
                )
        picture.text(middle, height - 32, name, anchor="middle", bold=True, fill=look.color)
        picture.text(middle, height - 13, signed(value), anchor="middle", bold=True)
    ceiling = to_y(here.ceiling)
    picture.line(left, ceiling, right, ceiling, stroke=style.GREY, stroke_width=1.4, dash=(3, 3))
    picture.line(left, to_y(0.0), right, to_y(0.0), stroke="#8c8c8c", stroke_width=1)
    text = f"ceiling D log 2 = {signed(here.ceiling)}"
    picture.text(right, ceiling - 6, text, size=12, anchor="end", fill=style.GREY)
    return picture


def _values(here: CodeInformation) -> tuple[float, float, float]:
    return here.exact, here.first, here.second


def _range(way: Sequence[CodeInformation]) -> tuple[float, float]:
    lowest = min(0.0, *(min(_values(point)) for point in way))
    highest = way[0].ceiling
    room = 0.1 * (highest - lowest)
    return lowest - (room if lowest < 0 else 0.0), highest + room


def signed(value: float) -> str:
    """Write nats with two digits and a true minus."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def judged(value: float, exact: float) -> str:
    """Say whether a count is right, too large or too small, and by how much."""
    error = value - exact
    if abs(error) < 0.005:
        return "right"
    return f"{signed(abs(error))} too {'large' if error > 0 else 'small'}"


def _finding(here: CodeInformation) -> str:
    first, second = judged(here.first, here.exact), judged(here.second, here.exact)
    if first == second:
        return f"Bits and pairs of bits count {'the' if first == 'right' else ''} {_share(first)}".replace("  ", " ")
    return f"Counted by pairs: {first} with c = 1, {second} with c = 2"


def _share(words: str) -> str:
    return "right amount, with either weight" if words == "right" else f"{words}, with either weight"


def describe(found: Blend) -> str:
    """Say what the code tells, what the count by pairs says of it, and why."""
    here = found.here
    first, second = found.source.split(" to ")
    kinds = {0.0: first, 1.0: second}
    which = kinds.get(found.share, f"{round(100 * found.share)} % {second}, the others {first}")
    plural = "s" * (found.n_bits != 1)
    text = (
        f"{found.n_bits} bit{plural} ({which}): together they tell {signed(here.exact)} of at most "
        f"{signed(here.ceiling)} nats. Bits less pairs give {signed(here.first)} "
        f"(c = 1, {judged(here.first, here.exact)}) and {signed(here.second)} "
        f"(c = 2, {judged(here.second, here.exact)})"
    )
    return f"{text}: {_reason(found)}."


def _reason(found: Blend) -> str:
    here = found.here
    error = here.first - here.exact
    if found.n_bits == 1:
        return "a single bit has no pairs"
    if found.n_bits == 2:
        return "two bits have one pair, and counting it once is exact"
    if abs(error) < 0.005:
        if here.ceiling - here.exact < 0.005:
            return "bits that have nothing in common are counted right"
        return "what is counted too often and what is not seen happen to cancel"
    if error > 0:
        return "what bits share only three or more at a time no pair shows"
    return "what several bits share is taken away once for every pair of them, more often than it was counted"


def explore_code_information() -> View:
    """Return a view of made-up codes whose true information is known, beside the count by bits and pairs."""
    choices = {
        "source": controls.choice("bits", {name[0].upper() + name[1:]: name for name in BLENDS}),
        "n_bits": controls.int_slider("number of bits D", 3, 1, MOST_BITS),
        "share": controls.float_slider("share of the second", 1.0, 0.0, 1.0, step=0.1),
    }
    return View(choices, compute, draw, describe)

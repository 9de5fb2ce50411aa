"""A second copy of a code, hidden in many latents: who notices, one other latent or all the others together?

All numbers are exact. The rotated copy is Gaussian, and what one of its latents says of a bit is an integral over one
number; the copy that is split by XOR is a table of bits, and its informations are sums over the table.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.disentanglement.discrete import one_against_rest
from toolkit.disentanglement.exact import PIDInterval, interval, interval_of
from toolkit.disentanglement.gaussian import mixture_information
from toolkit.explorers.pid_parts import NOISE, Bar, amount, bars_of, parts_panel
from toolkit.explorers.small_panels import draw_panel
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale
from toolkit.lessons.svg import Series

WAYS = ("rotation", "XOR")
NUMBERS = (2, 4, 8)
"""How many latents share the copy: powers of two, as a rotation that mixes all alike is made of rotations of pairs."""
HIDDEN = tuple(range(0, 101, 10))
CORRELATIONS = tuple(round(0.05 * step, 2) for step in range(21))
DEVIATION = 0.3
"""Standard deviation of each aligned latent of the rotated code, whose mean is −1 or 1."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What is known of one bit y by the latents of one code, in bits.

    Attributes:
        single: I(y; z_l) of every latent, z1 first.
        runner_up: which latent other than z1 says most, from 0.
        pair: what z1 and the runner-up say; MIG's gap is the unique part of z1.
        rest: what z1 and all others together say; UniBound's gap is the least unique part of z1.
    """

    single: tuple[float, ...]
    runner_up: int
    pair: PIDInterval
    rest: PIDInterval

    @property
    def mig(self) -> float:
        """How much more z1 says than the runner-up."""
        return float(self.pair.information_1 - self.pair.information_2)

    @property
    def unibound(self) -> float:
        """How much more z1 says than all the others together, at least 0."""
        return float(self.rest.unique_1.lower)

    def __repr__(self) -> str:
        return f"Setting({len(self.single)} latents: MIG's gap {self.mig:.3f}, UniBound's {self.unibound:.3f} bits)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and both gaps as plain Python."""
        plain = {"single": list(self.single), "runner_up": self.runner_up}
        gaps = {"mig": self.mig, "unibound": self.unibound}
        return plain | gaps | {"pair": self.pair.to_dict(), "rest": self.rest.to_dict()}


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """A copy of the code, and what would be if it were better or worse, in the open or hidden.

    Attributes:
        way: one of ``WAYS``: how the copy is hidden.
        number: how many latents share it.
        hidden: how well, in percent.
        correlation: of the copy and the original.
        here: what is known then.
        by_correlation: the gaps of MIG and of UniBound for ``CORRELATIONS``, as ``[2, correlations]``.
        by_hidden: the same for ``HIDDEN``.
    """

    way: str
    number: int
    hidden: int
    correlation: float
    here: Setting
    by_correlation: Float64[Tensor, "gaps correlations"]
    by_hidden: Float64[Tensor, "gaps hidden"]

    @property
    def names(self) -> tuple[str, ...]:
        """The latents' names."""
        return tuple(f"z{place}" for place in range(1, len(self.here.single) + 1))

    @property
    def first_of_copy(self) -> int:
        """Which latent is the first of those that share the copy, from 0."""
        return len(self.here.single) - self.number

    def __repr__(self) -> str:
        setting = f"{self.way} of {self.number}, {self.hidden} % hidden, correlation {self.correlation:g}"
        return f"LeaveOneOut({setting}: {self.here!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, as plain Python."""
        plain = {name: getattr(self, name) for name in ("way", "number", "hidden", "correlation")}
        curves = {"by_correlation": self.by_correlation.tolist(), "by_hidden": self.by_hidden.tolist()}
        return plain | {"here": self.here.to_dict()} | curves


def compute(way: str, number: int, hidden: int, correlation: float) -> LeaveOneOut:
    """Hide a copy and measure what the latents say of the bit y.

    ``"rotation"``: z1, z2, … are noisy views of as many independent fair bits, of which y is the first; as many new
    latents are the same views, made noisier and turned. ``"XOR"``: z1 is the fair bit y itself; the XOR of the other
    latents is the copy, which now and then is the wrong bit.

    Args:
        way: one of ``WAYS``.
        number: one of ``NUMBERS``: how many latents share the copy.
        hidden: 0 to 100 percent: the angle by which pairs are turned, of 45°, or the probability of a 1 in the bits
            that mask the copy, of one half.
        correlation: of the copy and the original, 0 to 1.

    Raises:
        ValueError: no such way or number, or a value out of range.
    """
    by_correlation = [make_setting(way, number, hidden, each) for each in CORRELATIONS]
    by_hidden = [make_setting(way, number, each, correlation) for each in HIDDEN]
    here = make_setting(way, number, hidden, correlation)
    return LeaveOneOut(way, number, hidden, correlation, here, _gaps(by_correlation), _gaps(by_hidden))


def _gaps(settings: list[Setting]) -> Tensor:
    return torch.tensor([[one.mig for one in settings], [one.unibound for one in settings]], dtype=torch.float64)


@functools.lru_cache(maxsize=2000)
def make_setting(way: str, number: int, hidden: int, correlation: float) -> Setting:
    """Return what is known of y in one code; arguments as for :func:`compute`."""
    require(way in WAYS, "make_setting", "way", f"one of {WAYS}", repr(way))
    require(number in NUMBERS, "make_setting", "number", f"one of {NUMBERS}", number)
    require(0 <= hidden <= 100, "make_setting", "hidden", "0 to 100 percent", hidden)
    require(0 <= correlation <= 1, "make_setting", "correlation", "0 to 1", correlation)
    return _rotated(number, hidden, correlation) if way == "rotation" else _split(number, hidden, correlation)


# ---------------------------------------------------------------------------------------------------------------------
# The rotated copy


def rotation(number: int, hidden: int) -> Float64[Tensor, "number number"]:
    """Return the rotation that mixes the copy: the Kronecker product of rotations of a plane by the same angle.

    At 100 percent the angle is 45°, and all entries are equally large; at 0 it is the identity.
    """
    angle = math.radians(45 * hidden / 100)
    plane = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < number:
        matrix = torch.kron(matrix, plane)
    return matrix


def copy_deviation(correlation: float) -> float:
    """Return the noise of a copy that has this correlation with a latent, in units of the latent's two means ±1.

    The latent is y + 0.3 e, of variance 1.09. The copy r (y + 0.3 e) / √1.09 + √(1 − r²) e' has correlation r with it.
    """
    variance = 1 + DEVIATION**2
    if correlation == 0:
        return math.inf
    return math.sqrt(DEVIATION**2 + variance * (1 / correlation**2 - 1))


def turned_information(row: Float64[Tensor, " number"], deviation: float) -> float:
    """Return what ``Σ row[i] y[i] + noise`` says of y[0], for independent fair y[i] = ±1, in bits.

    By the trapezium rule, which for sums of Gaussian densities is exact to rounding.

    Args:
        row: weights of the y[i].
        deviation: of the noise, positive; infinity gives 0.
    """
    if math.isinf(deviation):
        return 0.0
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=len(row) - 1)), dtype=torch.float64)
    means = (row[0] + signs @ row[1:]) / deviation
    half = math.ceil(8 * (float(row.abs().sum()) / deviation + 8.5))
    # Symmetric about 0, as the density for y[0] = −1 is that for 1, mirrored.
    x = torch.arange(-half, half + 1, dtype=torch.float64) / 8
    density = torch.exp(-(x[:, None] - means).square() / 2).mean(1)
    # Two densities that both underflow say nothing, and no 0/0 either.
    share = density / (density + density.flip(0)).clamp_min(1e-300)
    expected = (density * torch.special.entr(share) / share.clamp_min(1e-300)).sum() / density.sum()
    return min(max(1 - float(expected) / math.log(2), 0.0), 1.0)


def _rotated(number: int, hidden: int, correlation: float) -> Setting:
    noise = copy_deviation(correlation)
    rows = rotation(number, hidden)
    # Rows whose first entry is as large are permutations of each other, but for signs.
    known: dict[float, float] = {}
    turned = []
    for row in rows:
        key = round(abs(float(row[0])), 12)
        if key not in known:
            known[key] = turned_information(row, noise)
        turned.append(known[key])
    original, copy = (mixture_information([-1.0, 1.0], [DEVIATION, noise]) / math.log(2)).tolist()
    copy, turned = min(copy, original), [min(one, original) for one in turned]
    best = max(range(number), key=turned.__getitem__)
    # The copy is made of the latents: it adds nothing to what they know, and nothing to what z1 says of y.
    first, runner_up, others = (torch.tensor(value, dtype=torch.float64) for value in (original, turned[best], copy))
    pair, rest = (interval_of(first, other, first, unit="bits") for other in (runner_up, others))
    return Setting((original, *[0.0] * (number - 1), *turned), number + best, pair, rest)


# ---------------------------------------------------------------------------------------------------------------------
# The copy split by XOR


def split_table(number: int, hidden: int, correlation: float) -> Float64[Tensor, "..."]:
    """Return p(z1, masks, masked copy, y): an axis of two values each, ``number`` + 2 in all.

    The masks are independent bits, and the last latent is the XOR of the copy and all masks.
    """
    wrong, one = (1 - correlation) / 2, hidden / 200
    bits = torch.cartesian_prod(*[torch.arange(2)] * (number + 1))
    y, masks = bits[:, 0], bits[:, 2:]
    ones = torch.tensor([0.5, wrong, *[one] * (number - 1)], dtype=torch.float64)
    probabilities = torch.where(bits == 1, ones, 1 - ones).prod(1)
    table = torch.zeros((2,) * (number + 2), dtype=torch.float64)
    table[(y, *masks.unbind(1), bits.sum(1) % 2, y)] = probabilities
    return table


def _split(number: int, hidden: int, correlation: float) -> Setting:
    table = split_table(number, hidden, correlation)
    n_latents = number + 1
    pairs = interval(torch.stack([_with_first(table, place) for place in range(1, n_latents)]), "bits")
    values = [float(pairs.information_1[0]), *pairs.information_2.tolist()]
    single = tuple(value if value > NOISE else 0.0 for value in values)
    # Where no other says anything, the masked copy, which is last, stands for all.
    best = max(range(1, n_latents), key=lambda place: (single[place], place))
    pair = interval(_with_first(table, best), "bits")
    return Setting(single, best, pair, interval(one_against_rest(table, 0), "bits"))


def _with_first(table: Tensor, place: int) -> Tensor:
    """Return p(z1, another latent, y)."""
    return table.sum([axis for axis in range(1, table.ndim - 1) if axis != place])


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _TOP, _HALF, _LOW = 690.0, 14.0, 44.0, 232.0, 292.0
_MIG, _UNIBOUND = style.MEANINGS["baseline"], style.MEANINGS["paper"]


def draw(found: LeaveOneOut) -> Svg:
    """Draw what each latent and all others together say, the parts as MIG and UniBound see them, and the two gaps."""
    picture = Svg(_WIDTH, _LOW + 212)
    picture.text(_LEFT, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    picture.place(_LEFT, _TOP, _draw_single(found, 376, _HALF))
    picture.text(406, _TOP + 13, "of z1: unique U, redundant R (bits)", size=12.5, bold=True)
    groups = {"MIG": _two_bars(found.here.pair), "UniBound": _two_bars(found.here.rest)}
    picture.place(
        400, _TOP + 18, parts_panel(groups, width=284, height=_HALF - 18, limits=(0.0, 1.06), key=False, value_label="")
    )
    by_correlation = ("correlation of copy and original", CORRELATIONS, found.by_correlation, found.correlation)
    by_hidden = ("how well the copy is hidden (%)", HIDDEN, found.by_hidden, float(found.hidden))
    headings = ("gap: z1 less what it is compared with (bits)", "the same gaps (bits)")
    for place, (heading, (label, x, gaps, mark)) in enumerate(zip(headings, (by_correlation, by_hidden), strict=True)):
        draw_panel(
            picture,
            (_LEFT + 336 * place, _LOW, 326, 182),
            # The dashes over the solid line: where the two agree, both are seen.
            [Series("UniBound", x, gaps[1], _UNIBOUND), Series("MIG", x, gaps[0], _MIG)],
            heading=heading,
            x_label=label,
            x_limits=(0.0, float(x[-1])),
            y_limits=(0.0, 1.04),
            mark=mark,
        )
    return picture


def _two_bars(span: PIDInterval) -> list[Bar]:
    unique, _, redundant, _ = bars_of(span)
    return [Bar(bar.part, bar.lower, bar.upper) for bar in (unique, redundant)]


def _draw_single(found: LeaveOneOut, width: float, height: float) -> Svg:
    """Draw an upright bar for each latent alone, and one for all but z1 together."""
    here = found.here
    part = Svg(width, height, frame=False, background="none")
    part.text(0, 13, "what each says of y (bits)", size=12.5, bold=True)
    left, right, bottom = 34.0, width - 6.0, height - 42.0
    to_y = Scale(0.0, 1.06, bottom, 24.0, False)
    for value, name in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
        part.line(left, to_y(value), right, to_y(value), stroke="#e6e6e6" if value else "#8c8c8c", stroke_width=1)
        part.text(left - 6, to_y(value) + 4, name, size=12, anchor="end", fill=style.GREY)
    n = len(here.single)
    slot = (right - left - 66) / n
    every = max(1, math.ceil(24 / slot))
    for place, (name, value) in enumerate(zip(found.names, here.single, strict=True)):
        x = left + slot * place
        compared = place == here.runner_up
        color = _MIG.color if compared else style.GREY
        _draw_one(part, x + 0.12 * slot, 0.76 * slot, value, to_y, color, outlined=compared)
        if place % every == 0 or compared:
            strong = compared or place == 0
            if compared or abs(place - here.runner_up) * slot >= 24:
                part.text(x + slot / 2, bottom + 16, name, size=12, anchor="middle", bold=strong, fill=color)
    value = here.single[here.runner_up]
    text = f"runner-up {amount(value, 2)}"
    end = min(left + slot * (here.runner_up + 0.5) + text_width(text, 12, bold=True) / 2, right - 56)
    part.text(end, to_y(value) - 6, text, size=12, anchor="end", bold=True, fill=_MIG.color)
    begin = left + slot * found.first_of_copy
    part.line(begin + 2, bottom + 23, right - 66, bottom + 23, stroke=style.GREY, stroke_width=1.2)
    part.text((begin + right - 66) / 2, bottom + 37, "share the copy", size=12, anchor="middle", fill=style.GREY)
    together = float(here.rest.information_2)
    _draw_one(part, right - 52, 40, together, to_y, _UNIBOUND.color, outlined=True)
    part.text(right - 32, to_y(together) - 6, amount(together, 2), size=12, anchor="middle", bold=True, fill=style.BLUE)
    for line, text in enumerate(("all but z1", "together")):
        part.text(right - 30, bottom + 16 + 15 * line, text, size=12, anchor="middle", bold=True, fill=style.BLUE)
    return part


def _draw_one(
    picture: Svg, x: float, width: float, value: float, to_y: Scale, color: str, *, outlined: bool = False
) -> None:
    top, zero = to_y(value), to_y(0.0)
    if value <= NOISE:
        picture.line(x, zero, x + width, zero, stroke=color, stroke_width=3)
        return
    picture.rectangle(x, top, width, zero - top, fill=color, opacity=0.55 if outlined else 0.85)
    if outlined:
        picture.rectangle(x, top, width, zero - top, fill="none", stroke=color, stroke_width=1.5, dash=(4, 2))


def _finding(found: LeaveOneOut) -> str:
    here = found.here
    mig, unibound, together = amount(here.mig, 2), amount(here.unibound, 2), float(here.rest.information_2)
    if together < 0.005:
        return f"There is no copy: both gaps are {mig} bits"
    if here.mig - here.unibound < 0.005:
        return f"The copy lies open in one latent: MIG's gap is {mig}, UniBound's {unibound} bits"
    sees = "misses" if here.single[here.runner_up] < 0.25 * together else "sees only a part of"
    return f"MIG {sees} the copy: its gap is {mig} bits, UniBound's {unibound}"


def describe(found: LeaveOneOut) -> str:
    """Say how the copy is hidden, what z1, the runner-up and all others say, and the two gaps."""
    here = found.here
    alone, second, together = here.single[0], here.single[here.runner_up], float(here.rest.information_2)
    if found.way == "rotation":
        how = f"turned by {45 * found.hidden / 100:g}°"
    else:
        masks = "one mask" if found.number == 2 else f"{found.number - 1} masks"
        how = f"{masks}, 1 with probability {found.hidden / 200:g}"
    many = f"all other {len(here.single) - 1} latents together"
    return (
        f"{found.number} latents share a copy by {found.way} ({how}), correlation with the original "
        f"{found.correlation:g}. z1 says {amount(alone)} bits of y, the runner-up {found.names[here.runner_up]} "
        f"{amount(second)}, {many} {amount(together)}. MIG's gap is {amount(here.mig)}, UniBound's "
        f"{amount(here.unibound)} bits."
    )


def explore_leave_one_out() -> View:
    """Return a view of a hidden copy: by rotation or XOR, among how many latents, how well, and how good a copy."""
    chosen = {
        "way": controls.toggle("copy hidden by", WAYS),
        "number": controls.toggle("latents that share it", NUMBERS, 8),
        "hidden": controls.int_slider("how well hidden", 100, 0, 100, step=10, unit="%"),
        "correlation": controls.float_slider("correlation of copy and original", 1.0, 0.0, 1.0, step=0.05),
    }
    return View(chosen, _rounded, draw, describe)


def _rounded(way: str, number: int, hidden: int, correlation: float) -> LeaveOneOut:
    # A slider of steps of 0.05 gives 0.15000000000000002: one setting for both.
    return compute(way, number, hidden, round(correlation, 2))

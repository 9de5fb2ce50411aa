"""A second copy of what a latent knows, hidden in other latents by a rotation or by XOR, and what each of them says.

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
from toolkit.disentanglement.discrete import one_against_rest
from toolkit.disentanglement.exact import PIDInterval, interval, interval_of
from toolkit.disentanglement.gaussian import mixture_information
from toolkit.explorers.pid_parts import NOISE

WAYS = ("rotation", "XOR")
NUMBERS = (2, 4, 8)
"""How many latents share the copy: powers of two, as a rotation that mixes all alike is made of rotations of pairs."""
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


@functools.lru_cache(maxsize=2000)
def make_setting(way: str, number: int, hidden: int, correlation: float) -> Setting:
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

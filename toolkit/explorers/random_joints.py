"""Random joint distributions with a fixed seed, and the redundancy in each by four measures."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from toolkit.core.devices import draw_permutation, draw_uniform
from toolkit.core.errors import require
from toolkit.disentanglement.exact import PIDInterval, interval, pid
from toolkit.explorers.pid_parts import NOISE

N_JOINTS, N_CCS = 1000, 300
"""Joints of each kind, and how many of them CCS is computed for beforehand: it takes one joint at a time."""
KINDS = ("2 values each", "3 values each", "y a function of a and b")
ORDERS = {
    "MMI and BROJA": ("mmi", "broja"),
    "I_min and BROJA": ("i_min", "broja"),
    "MMI and I_min": ("mmi", "i_min"),
    "CCS and the interval": ("ccs", "interval"),
    "the interval's ends": ("upper", "lower"),
}
"""By what the joints are sorted, the furthest apart first."""


@dataclass(frozen=True, eq=False)
class Population:
    """Random joints of one kind, and the redundancy of each by each measure, in bits.

    Attributes:
        kind: one of ``KINDS``.
        joints: p(a, b, y) of each.
        interval: of each.
        redundant: by measure; of CCS only for the first joints.
    """

    kind: str
    joints: Float64[Tensor, "joints first second target"]
    interval: PIDInterval
    redundant: Mapping[str, Float64[Tensor, " computed"]]

    def positions(self, measure: str) -> Float64[Tensor, " computed"]:
        """Return where a measure lies in the interval of each joint: 0 at its lower end, 1 at its upper one."""
        values = self.redundant[measure]
        n = len(values)
        return (values - self.interval.redundant.lower[:n]) / self.interval.width[:n]

    def outside(self, measure: str) -> int:
        """Return for how many joints a measure lies outside the interval, by more than rounding can do."""
        beyond = self.beyond(measure)
        return int((beyond > NOISE).sum())

    def beyond(self, measure: str) -> Float64[Tensor, " computed"]:
        """Return how far a measure lies beyond the nearest end of the interval, in bits; negative inside."""
        values = self.redundant[measure]
        ends = self.interval.redundant
        return torch.maximum(ends.lower[: len(values)] - values, values - ends.upper[: len(values)])

    def apart(self, order: str) -> Float64[Tensor, " computed"]:
        """Return how far apart the two of an order are, in bits, for each joint that both are known of."""
        first, second = ORDERS[order]
        if second == "interval":
            return self.beyond(first)
        if second == "lower":
            return self.interval.width
        return (self.redundant[first] - self.redundant[second]).abs()

    @property
    def ordered(self) -> int:
        """For how many joints BROJA calls no more redundant than I_min, and I_min no more than MMI."""
        smallest, middle, largest = (self.redundant[measure] for measure in ("broja", "i_min", "mmi"))
        return int(((smallest <= middle + NOISE) & (middle <= largest + NOISE)).sum())

    def __repr__(self) -> str:
        return f"Population({len(self.joints):,} joints, {self.kind}, CCS of {len(self.redundant['ccs'])})"

    def to_dict(self) -> dict[str, Any]:
        """Return kind, interval and redundancies as plain Python, without the joints."""
        redundant = {measure: values.tolist() for measure, values in self.redundant.items()}
        return {"kind": self.kind, "interval": self.interval.to_dict(), "redundant": redundant}


def draw_joints(kind: str, n: int, *, generator: torch.Generator) -> Float64[Tensor, "joints first second target"]:
    """Draw random joints p(a, b, y), on the CPU.

    Args:
        kind: ``"2 values each"`` and ``"3 values each"`` draw uniformly from all joints of that size. With ``"y a
            function of a and b"`` p(a, b) of three values each is uniform among all, and each pair has one value of y:
            three random pairs have 0, 1 and 2, so that all occur, the others any.
        n: how many.
        generator: of the draws.

    Raises:
        ValueError: no such kind, or no joints.
    """
    require(kind in KINDS, "draw_joints", "kind", f"one of {KINDS}", repr(kind))
    require(n >= 1, "draw_joints", "n", ">= 1", n)
    size = 2 if kind == KINDS[0] else 3
    if kind != KINDS[2]:
        return _uniform_weights(n, size**3, generator).reshape(n, size, size, size)
    weights = _uniform_weights(n, size**2, generator)
    targets = []
    for _ in range(n):
        free = (size * draw_uniform((size**2 - size,), generator=generator, dtype=torch.float64)).long()
        order = draw_permutation(size**2, generator=generator)
        targets.append(torch.cat([torch.arange(size), free])[order])
    is_target = torch.nn.functional.one_hot(torch.stack(targets), size)
    return (weights[..., None] * is_target).reshape(n, size, size, size)


def _uniform_weights(n: int, n_cells: int, generator: torch.Generator) -> Tensor:
    # Exponential variables over their sum are uniform on the simplex.
    uniform = draw_uniform((n, n_cells), generator=generator, dtype=torch.float64)
    weights = -torch.log1p(-uniform)
    return weights / weights.sum(1, keepdim=True)


@functools.lru_cache(maxsize=8)
def make_population(kind: str, n: int = N_JOINTS, n_ccs: int = N_CCS) -> Population:
    """Draw joints of one kind from a fixed seed and measure their redundancy, by CCS of the first ``n_ccs``.

    Raises:
        ValueError: no such kind, or fewer than one joint, or more for CCS than there are.
    """
    require(1 <= n_ccs <= n, "make_population", "n_ccs", f"1 to {n}", n_ccs)
    joints = draw_joints(kind, n, generator=torch.Generator().manual_seed(0))
    redundant = {measure: pid(joints, measure, "bits").redundant for measure in ("i_min", "mmi", "broja")}
    redundant["ccs"] = pid(joints[:n_ccs], "ccs", "bits").redundant
    return Population(kind, joints, interval(joints, "bits"), redundant)

"""A learned code bit by bit: how far the information counted by pairs, which training sees, is from the true one."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.explorers.code_information import (
    CEILING,
    LOOKS,
    NAMES,
    PANEL,
    CodeInformation,
    information_bars,
    judged,
    measure,
    signed,
)
from toolkit.explorers.hash_runs import HashRuns, hash_runs
from toolkit.explorers.small_panels import draw_panel
from toolkit.imsat.exact import MOST_BITS
from toolkit.lessons import View, controls
from toolkit.lessons.svg import Series

SOFT, HARD = "probabilities", "codes"


@dataclass(frozen=True, repr=False, eq=False)
class Growth:
    """The information of the first bits of a learned code, one number of bits after the other.

    Attributes:
        method: whose code.
        kind: ``SOFT``: of the bits' probabilities, as in training; ``HARD``: of the bits that retrieval uses.
        n_bits: how many of the first bits are looked at.
        n_points: of how many images.
        growth: the information of the first 1, 2, … bits.
    """

    method: str
    kind: str
    n_bits: int
    n_points: int
    growth: tuple[CodeInformation, ...]

    @property
    def here(self) -> CodeInformation:
        """The information of the first ``n_bits``."""
        return self.growth[self.n_bits - 1]

    def __repr__(self) -> str:
        return f"Growth({self.method}, {self.kind}, {self.n_bits} bits: {self.here!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def grow(logits: Float[Tensor, "points bits"], kind: str) -> tuple[CodeInformation, ...]:
    """Return the information of the first bits, for every number of them up to 16.

    Args:
        logits: of a code.
        kind: ``SOFT`` or ``HARD``.

    Raises:
        ValueError: another kind.
    """
    require(kind in (SOFT, HARD), "grow", "kind", f"{SOFT!r} or {HARD!r}", repr(kind))
    given = logits if kind == SOFT else torch.where(logits > 0, 1000.0, -1000.0).to(logits)
    return tuple(measure(given[:, :count]) for count in range(1, min(given.shape[1], MOST_BITS) + 1))


_WIDTH, _BARS, _TOP, _TALL = 660.0, 286.0, 34.0, 296.0


def draw(found: Growth) -> Svg:
    """Draw the three values as bars, and at the right how they grow with the number of bits."""
    picture = Svg(_WIDTH, _TOP + _TALL)
    picture.text(14, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    numbers = list(range(1, len(found.growth) + 1))
    lists = [[getattr(point, name) for point in found.growth] for name in ("exact", "first", "second", "ceiling")]
    lowest = min(0.0, *(value for values in lists for value in values))
    highest = 1.1 * max(lists[3])
    picture.place(0, _TOP, information_bars(found.here, (lowest, highest), width=_BARS, height=_TALL))
    lines = [Series(name, numbers, values, look) for name, values, look in zip(NAMES, lists, LOOKS, strict=False)]
    draw_panel(
        picture,
        PANEL,
        [Series("", numbers, lists[3], CEILING), *lines],
        heading="information (nats)",
        x_label="number of bits D",
        x_limits=(min(1.0, numbers[-1] - 1.0), float(numbers[-1])),
        y_limits=(lowest, highest),
        mark=float(found.n_bits),
    )
    return picture


def _finding(found: Growth) -> str:
    here = found.here
    what = f"{found.method}, {found.n_bits} bit{'s' * (found.n_bits != 1)}"
    first, second = (_error(value - here.exact) for value in (here.first, here.second))
    if first == second == "0.00":
        return f"{what}: the count by pairs is right"
    return f"{what}: error {first} (c = 1), {second} (c = 2)"


def _error(value: float) -> str:
    written = signed(value)
    return f"+{written}" if round(value, 2) > 0 else written


def describe(found: Growth) -> str:
    """Say what the first bits tell, what the count by pairs says, and from how many bits on it is off."""
    here = found.here
    which = "the bits' probabilities" if found.kind == SOFT else "the codes, bits rounded to 0 and 1"
    off = next((count for count, point in enumerate(found.growth, 1) if abs(point.first - point.exact) >= 0.05), None)
    drift = f"is off by 0.05 or more from {off} bits on" if off else "is never off by 0.05"
    share = 100 * here.exact / here.ceiling
    most = math.log(found.n_points)
    counts = [name for name, value in (("c = 1", here.first), ("c = 2", here.second)) if value > most + 0.005]
    beyond = f" That is more ({', '.join(counts)}) than {found.n_points:,} images can be told apart by: {signed(most)}."
    return (
        f"The first {found.n_bits} of {len(found.growth)} bits by {found.method} tell {signed(here.exact)} nats, "
        f"{share:.0f} % of D log 2 = {signed(here.ceiling)} ({which}). Bits less pairs give {signed(here.first)} "
        f"(c = 1, {judged(here.first, here.exact)}) and {signed(here.second)} "
        f"(c = 2, {judged(here.second, here.exact)}); with c = 1 the count {drift}.{beyond if counts else ''}"
    )


def explore_trained_information(runs: HashRuns | None = None) -> View:
    """Return a view of a learned code's information over its first bits, counted exactly and by pairs.

    Args:
        runs: images and codes; default: those of :func:`~toolkit.explorers.hash_runs.hash_runs`.

    Raises:
        ValueError: no code has probabilities.
    """
    runs = hash_runs() if runs is None else runs
    require(len(runs.networks) > 0, "explore_trained_information", "runs", "a code with probabilities", runs)
    growths: dict[tuple[str, str], tuple[CodeInformation, ...]] = {}
    for method in runs.networks:
        logits = runs.codes[method].logits
        assert logits is not None
        growths |= {(method, kind): grow(logits, kind) for kind in (SOFT, HARD)}
    most = min(map(len, growths.values()))
    chosen: dict[str, Any] = {"n_bits": controls.int_slider("first D bits", most, 1, most)} if most > 1 else {}
    chosen["method"] = controls.toggle("trained with", runs.networks)
    chosen["kind"] = controls.toggle("information of", (SOFT, HARD))
    return View(chosen, functools.partial(_compute, growths, runs.n_gallery), draw, describe)


def _compute(
    growths: dict[tuple[str, str], tuple[CodeInformation, ...]],
    n_points: int,
    method: str,
    kind: str,
    n_bits: int = 1,
) -> Growth:
    return Growth(method, kind, n_bits, n_points, growths[method, kind])

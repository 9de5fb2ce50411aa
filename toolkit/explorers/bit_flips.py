"""One bit of the first layer is flipped: which of its descendants follow, with the same noise and with new noise?

Both ways give the same mean difference of the cost. With common random numbers most descendants stay where they are,
and what they would have added at random to the difference is gone.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.estimators.chains import Layered
from toolkit.estimators.exact import exact
from toolkit.lessons import View, controls, style

SIZES = (4, 4, 4)
"""Bits in each layer."""
DRAWS = 4_000
"""Draws of the noise behind the averages."""
SHOWN = 20
"""Draws of the noise that the reader can look at."""
WAYS = ("common", "fresh")
_DESCENDANTS = sum(SIZES[1:])


def _waves(row: int, *shape: int) -> Tensor:
    """Return ``sin(1.7 row + 2.3 n)``, n = 1, 2, …: fixed numbers without a seed."""
    count = torch.arange(1, 1 + int(np.prod(shape)), dtype=torch.float64)
    return torch.sin(1.7 * row + 2.3 * count).reshape(shape)


def net(scale: float = 0.75) -> Layered:
    """Make three layers of bits, each given the one before; the cost is a weighted sum of all the bits.

    So a flip changes the cost by the weights of the bits that move, and by nothing else.

    Args:
        scale: of the weights between the layers; 0 cuts the layers apart.
    """
    first, second = (scale * _waves(row, *SIZES[row - 1 : row + 1]) for row in (1, 2))
    sums = [_waves(row, size) for row, size in zip((3, 4, 5), SIZES, strict=True)]

    def cost(*values: Tensor) -> Tensor:
        first, *others = (value @ weights for value, weights in zip(values, sums, strict=True))
        return sum(others, first)

    return Layered(
        0.5 * _waves(6, SIZES[0]),
        [lambda z: (2 * z - 1) @ first, lambda z: (2 * z - 1) @ second],
        cost,
    )


@dataclass(frozen=True)
class Flip:
    """One flip, driven twice, and what happens on average.

    Attributes:
        bit: of the first layer, from 1.
        draw: which noise, from 1.
        scale: of the weights.
        before: the values of each layer before the flip.
        after: for each of :data:`WAYS` the values after it.
        change: for each way ``f(bit = 1) − f(bit = 0)`` of this draw.
        moved: for each way how many descendants moved in this draw.
        mean_moved: for each way how many move on average.
        mean_change: the exact mean change of the cost, the same both ways.
        deviation: for each way the standard deviation of the change.
    """

    bit: int
    draw: int
    scale: float
    before: tuple[Float[np.ndarray, "_"], ...]
    after: dict[str, tuple[Float[np.ndarray, "_"], ...]]
    change: dict[str, float]
    moved: dict[str, int]
    mean_moved: dict[str, float]
    mean_change: float
    deviation: dict[str, float]

    def __repr__(self) -> str:
        return (
            f"Flip(bit {self.bit}, draw {self.draw}: {self.moved['common']} and {self.moved['fresh']} descendants move)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class _Flips:
    """Flips of every bit for many draws: values ``[draws, n]`` and, after a flip, ``[bits, draws, n]``."""

    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]
    change: Float[Tensor, "bits draws"]
    moved: Float[Tensor, "bits draws"]


@functools.lru_cache(maxsize=128)
def _flips(scale: float, way: str, n_draws: int) -> _Flips:
    problem = net(scale)
    noise = problem.draw_noise((n_draws,), torch.Generator().manual_seed(0))
    before, logits = problem.sample(noise)
    flipped = torch.where(torch.eye(SIZES[0], dtype=torch.bool)[:, None], 1 - before[0], before[0])
    later = noise[1:]
    if way == "fresh":
        later = problem.draw_noise((SIZES[0], n_draws), torch.Generator().manual_seed(1))[1:]
    wide = tuple(logit.expand(SIZES[0], *logit.shape) for logit in logits[:1])
    after, after_logits = problem.sample(later, given=(flipped,), given_logits=wide)
    cost = problem.signals(before, logits)[0]
    sign = (2 * flipped - 1).diagonal(dim1=0, dim2=2).T  # the bit's new value: +1 if it became 1
    change = sign * (problem.signals(after, after_logits)[0] - cost)
    stays = [(new == old).double() for new, old in zip(after[1:], before[1:], strict=True)]
    moved = _DESCENDANTS - torch.cat(stays, -1).sum(-1)
    return _Flips(before, after, change, moved)


@functools.lru_cache(maxsize=64)
def _mean_changes(scale: float) -> tuple[float, ...]:
    """Return for each bit of the first layer the exact mean of ``f(1) − f(0)``: the gradient divided by μ (1 − μ)."""
    problem = net(scale)
    mean = torch.sigmoid(problem.logits(0, None))
    return tuple((exact(problem).gradients[0] / (mean * (1 - mean))).tolist())


def compute(bit: int = 1, draw: int = 1, scale: float = 0.75) -> Flip:
    """Flip one bit of the first layer, with common and with fresh noise for the layers below.

    Args:
        bit: 1 to 4.
        draw: 1 to 20; all bits and all scales share their noise.
        scale: of the weights.

    Raises:
        ValueError: no such bit or draw.
    """
    require(1 <= bit <= SIZES[0], "compute", "bit", f"1 to {SIZES[0]}", bit)
    require(1 <= draw <= SHOWN, "compute", "draw", f"1 to {SHOWN}", draw)
    found = {way: _flips(float(scale), way, DRAWS) for way in WAYS}
    here, at = bit - 1, draw - 1
    return Flip(
        bit,
        draw,
        float(scale),
        tuple(layer[at].numpy() for layer in found["common"].before),
        {way: tuple(layer[here, at].numpy() for layer in flips.after) for way, flips in found.items()},
        {way: float(flips.change[here, at]) for way, flips in found.items()},
        {way: int(flips.moved[here, at]) for way, flips in found.items()},
        {way: float(flips.moved[here].mean()) for way, flips in found.items()},
        _mean_changes(float(scale))[here],
        {way: float(flips.change[here].std()) for way, flips in found.items()},
    )


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _PANEL, _TOP, _LEFT = 660.0, 312.0, 46.0, 34.0
_ROWS = (58.0, 116.0, 196.0, 276.0, 336.0)  # of x, the three layers and f, from the top of the panels
_RADIUS = 17.0
_FLIPPED, _MOVED = style.BLUE, style.VERMILION
_TITLES = {"common": "common noise: the draws are kept", "fresh": "fresh noise: drawn again"}


def draw(flip: Flip) -> Svg:
    """Draw the net twice with the flipped bit and the descendants that followed it."""
    picture = Svg(_WIDTH, _TOP + _ROWS[-1] + 96)
    common, fresh = (flip.mean_moved[way] for way in WAYS)
    title = f"Common noise moves {common:.1f} of {_DESCENDANTS} descendants on average, fresh noise {fresh:.1f}"
    picture.text(14, 26, title, size=14, bold=True)
    for name, row in zip(("x", "z₁", "z₂", "z₃", "f"), _ROWS, strict=True):
        picture.text(12, _TOP + row + 5, name, size=14, fill=style.GREY)
    for number, way in enumerate(WAYS):
        _draw_panel(picture, _LEFT + number * _PANEL, flip, way)
    return picture


def _places(left: float, size: int) -> list[float]:
    return [left + _PANEL * (index + 1) / (size + 1) for index in range(size)]


def _draw_panel(picture: Svg, left: float, flip: Flip, way: str) -> None:
    before, after = flip.before, flip.after[way]
    changed = [old != new for old, new in zip(before, after, strict=True)]
    places = [_places(left, size) for size in SIZES]
    rows = [_TOP + row for row in _ROWS]
    middle = left + _PANEL / 2
    picture.text(middle, _TOP + 20, _TITLES[way], anchor="middle", bold=True)
    edges = [(middle, rows[0], x, rows[1], False) for x in places[0]]
    for layer in (0, 1):
        edges += [
            (x, rows[layer + 1], below, rows[layer + 2], bool(moved))
            for x, moved in zip(places[layer], changed[layer], strict=True)
            for below in places[layer + 1]
        ]
    edges += [(x, rows[3], middle, rows[4], bool(moved)) for x, moved in zip(places[2], changed[2], strict=True)]
    for x1, y1, x2, y2, carries in sorted(edges, key=lambda edge: edge[-1]):
        color = (_FLIPPED if y1 == rows[1] else _MOVED) if carries else "#dedede"
        picture.line(x1, y1, x2, y2, stroke=color, stroke_width=1.6 if carries else 1.0)
    for text, row in (("input", rows[0]), (f"f(1) − f(0) = {_signed(flip.change[way])}", rows[4])):
        half = 30.0 if text == "input" else 76.0
        picture.rectangle(middle - half, row - 14, 2 * half, 28, radius=5, fill="#ffffff", stroke="#8c8c8c")
        picture.text(middle, row + 5, text, anchor="middle")
    for layer, row in enumerate(rows[1:4]):
        for x, old, new in zip(places[layer], before[layer], after[layer], strict=True):
            moved = bool(old != new)
            color = _FLIPPED if layer == 0 else _MOVED
            look = {"fill": color, "stroke": color} if moved else {"fill": "#ffffff", "stroke": "#8c8c8c"}
            picture.circle(x, row, _RADIUS + (2 if moved else 0), stroke_width=1.4, **look)
            text = f"{old:.0f}→{new:.0f}" if moved else f"{new:.0f}"
            picture.text(
                x, row + 4.5, text, size=12.5, anchor="middle", bold=moved, fill="#ffffff" if moved else style.INK
            )
    y = rows[4] + 40
    picture.text(middle, y, f"moved in this draw: {flip.moved[way]} of {_DESCENDANTS}", anchor="middle", bold=True)
    picture.text(middle, y + 21, f"on average {flip.mean_moved[way]:.1f} of {_DESCENDANTS}", anchor="middle")
    spread = f"f(1) − f(0) over all draws: {_signed(flip.mean_change)} ± {flip.deviation[way]:.2f}"
    picture.text(middle, y + 42, spread, anchor="middle")


def _signed(value: float, digits: int = 2) -> str:
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def describe(flip: Flip) -> str:
    """Say how many descendants follow the flip, and what that does to the difference of the cost."""
    here = (
        f"{flip.moved['common']} of {_DESCENDANTS} descendants move with common noise, {flip.moved['fresh']} with fresh"
    )
    average = f"{flip.mean_moved['common']:.1f} and {flip.mean_moved['fresh']:.1f} on average"
    common, fresh = (flip.deviation[way] for way in WAYS)
    if common < 1e-9:
        spread = f"does not vary with common noise and has a standard deviation of {fresh:.1f} with fresh"
    else:
        spread = f"has a standard deviation of {common:.1f} with common and {fresh:.1f} with fresh noise"
    return (
        f"Bit {flip.bit} of the first layer is flipped: {here}; {average}. The difference f(1) − f(0), whose mean "
        f"is the same either way, {spread}."
    )


def explore_bit_flips() -> View:
    """Return a view of a three-layer net in which one bit is flipped, with common and with fresh noise."""
    bit = controls.int_slider("flipped bit", 1, 1, SIZES[0])
    chosen = {
        "bit": bit,
        "draw": controls.int_slider("draw of the noise", 1, 1, SHOWN),
        "scale": controls.float_slider("weight scale", 0.75, 0.0, 3.0, step=0.25),
    }
    return View(chosen, compute, draw, describe, extra=(controls.step_buttons(bit, forward="Next bit ▶"),))

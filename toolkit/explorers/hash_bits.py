"""What single bits of a learned code say: images on either side, classes, and what the bits have in common."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten
from toolkit.explorers.hash_runs import HashRuns, hash_runs
from toolkit.imsat.hash_losses import bit_information, pairwise_information
from toolkit.lessons import View, controls, style

SHOWN = 10


@dataclass(frozen=True, repr=False, eq=False)
class Bit:
    """One bit among the others of a code.

    Attributes:
        method: whose code.
        bit: which one, from 1.
        zeros: gallery images of which it is most certain to be 0, the most certain first.
        ones: those of which it is most certain to be 1.
        zero_labels: classes of ``zeros``.
        one_labels: classes of ``ones``.
        shares: for each class and bit the mean probability of 1.
        information: what each bit alone tells of the image, I(Y_d;X), in nats.
        shared: what each pair of bits has in common, I(Y_d;Y_d′), in nats; zeros on the diagonal.
        class_names: of the rows of ``shares``.
        n_gallery: over how many images these are means.
    """

    method: str
    bit: int
    zeros: Float[Tensor, "shown height width"]
    ones: Float[Tensor, "shown height width"]
    zero_labels: Int64[Tensor, " shown"]
    one_labels: Int64[Tensor, " shown"]
    shares: Float[Tensor, "classes bits"]
    information: Float[Tensor, " bits"]
    shared: Float[Tensor, "bits bits"]
    class_names: tuple[str, ...]
    n_gallery: int

    @property
    def on(self) -> tuple[str, ...]:
        """The classes most of which have a 1."""
        return self._classes(self.shares[:, self.bit - 1] > 0.5)

    @property
    def mixed(self) -> tuple[str, ...]:
        """The classes that the bit cuts in two: at least a tenth on either side."""
        share = self.shares[:, self.bit - 1]
        return self._classes((share >= 0.1) & (share <= 0.9))

    @property
    def closest(self) -> tuple[int, float]:
        """The bit that has most in common with this one, from 1, and how much; (0, 0) for the only one."""
        if len(self.information) == 1:
            return 0, 0.0
        row = self.shared[self.bit - 1].clone()
        row[self.bit - 1] = -1.0
        return int(row.argmax()) + 1, float(row.max())

    def _classes(self, chosen: Tensor) -> tuple[str, ...]:
        return tuple(name for name, yes in zip(self.class_names, chosen.tolist(), strict=True) if yes)

    def __repr__(self) -> str:
        return f"Bit({self.bit} of {self.method}: {float(self.information[self.bit - 1]):.3f} nats)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def look_at(runs: HashRuns, bit: int, method: str) -> Bit:
    """Return what one bit of a network's code says.

    Args:
        runs: images and codes.
        bit: which one, from 1.
        method: one of ``runs.networks``.

    Raises:
        ValueError: there is no such bit or network.
    """
    require(method in runs.networks, "look_at", "method", f"one of {runs.networks}", repr(method))
    code = runs.codes[method]
    require(1 <= bit <= code.n_bits, "look_at", "bit", f"1 to {code.n_bits}", bit)
    logits, probabilities = code.logits, code.probabilities
    assert logits is not None and probabilities is not None
    count = min(SHOWN, runs.n_gallery)
    order = logits[:, bit - 1].argsort(stable=True)
    low, high = order[:count], order.flip(0)[:count]
    labels = runs.gallery_labels.long()
    members = torch.nn.functional.one_hot(labels, len(runs.class_names)).to(probabilities)
    shares = members.mT @ probabilities / members.sum(0).clamp(min=1)[:, None]
    return Bit(
        method,
        bit,
        runs.gallery_images[low],
        runs.gallery_images[high],
        labels[low],
        labels[high],
        shares,
        bit_information(logits),
        pairwise_information(logits),
        runs.class_names,
        runs.n_gallery,
    )


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _LEFT, _SIZE = 660.0, 14.0, 44.0
_MAP_X, _MAP_Y, _MAP, _ROW = 42.0, 192.0, 272.0, 17.0
_PAIRS_X, _PAIRS = 402.0, 204.0


def draw(found: Bit) -> Svg:
    """Draw images on either side of the bit, below them its column among the classes and its row among the bits."""
    classes = len(found.shares)
    bars = _MAP_Y + _ROW * classes + 30
    picture = Svg(_WIDTH, max(bars + 104, _MAP_Y + _PAIRS + 92))
    picture.text(_LEFT, 24, shorten(_finding(found), _WIDTH - 24, 14, bold=True), size=14, bold=True)
    for row, (value, images) in enumerate(((0, found.zeros), (1, found.ones))):
        y = 38 + (_SIZE + 8) * row
        picture.text(_LEFT, y + _SIZE / 2 + 5, f"bit {found.bit} = {value}", bold=True)
        gap = (_WIDTH - 96 - 12) / len(images)
        for place, image in enumerate(images):
            picture.image(96 + gap * place, y, _SIZE, _SIZE, image)
            picture.rectangle(96 + gap * place, y, _SIZE, _SIZE, fill="none", stroke="#b0b0b0", stroke_width=1)
    _draw_shares(picture, found, bars)
    _draw_pairs(picture, found)
    return picture


def _draw_shares(picture: Svg, found: Bit, bars: float) -> None:
    classes, n_bits = found.shares.shape
    each = _MAP / n_bits
    picture.text(_LEFT, _MAP_Y - 30, "share of ones by class and bit", bold=True)
    _columns(picture, n_bits, each, _MAP_X, _MAP_Y - 7, found.bit)
    picture.image(_MAP_X, _MAP_Y, _MAP, _ROW * classes, _colours(found.shares.numpy(), 0.0, 1.0))
    for row, name in enumerate(found.class_names):
        picture.text(_MAP_X - 6, _MAP_Y + _ROW * row + 13, shorten(name, 30, 12), size=12, anchor="end")
    _frame(picture, _MAP_X + each * (found.bit - 1), _MAP_Y, each, _ROW * classes)
    _scale(picture, _MAP_X + _MAP + 8, _MAP_Y, _ROW * classes, ("0", "1"))
    picture.text(_LEFT, bars, "information of each bit (nats); line: log 2", size=12)
    top, bottom = bars + 14, bars + 84
    ceiling = math.log(2)
    for bit, value in enumerate(found.information.tolist(), 1):
        tall = (bottom - top) * max(value, 0.0) / ceiling
        strong = bit == found.bit
        x = _MAP_X + each * (bit - 1)
        picture.rectangle(x + 2, bottom - tall, each - 4, tall, fill=style.VERMILION if strong else style.BLUE)
    for value, name in ((0.0, "0"), (ceiling, f"{ceiling:.2f}")):
        y = bottom - (bottom - top) * value / ceiling
        picture.line(_MAP_X, y, _MAP_X + _MAP, y, stroke="#8c8c8c" if not value else style.GREY, stroke_width=1,
                     dash=(3, 3) if value else ())  # fmt: skip
        picture.text(_MAP_X - 6, y + 4, name, size=11, anchor="end", fill=style.GREY)


def _draw_pairs(picture: Svg, found: Bit) -> None:
    n_bits = len(found.information)
    each = _PAIRS / n_bits
    # The diagonal is white: a bit shares all of itself with itself.
    shared = torch.where(torch.eye(n_bits, dtype=torch.bool), torch.nan, found.shared).numpy()
    largest = max(float(np.nanmax(shared)) if n_bits > 1 else 0.0, 1e-3)
    picture.text(_PAIRS_X - 24, _MAP_Y - 30, "shared by two bits (nats)", bold=True)
    _columns(picture, n_bits, each, _PAIRS_X, _MAP_Y - 7, found.bit)
    picture.image(_PAIRS_X, _MAP_Y, _PAIRS, _PAIRS, _colours(shared, 0.0, largest))
    for bit in _named(n_bits, each, found.bit):
        strong = bit == found.bit
        y = _MAP_Y + each * (bit - 0.5) + 4
        picture.text(_PAIRS_X - 6, y, bit, size=11, anchor="end", bold=strong, fill=_ink(strong))
    _frame(picture, _PAIRS_X, _MAP_Y + each * (found.bit - 1), _PAIRS, each)
    _scale(picture, _PAIRS_X + _PAIRS + 8, _MAP_Y, _PAIRS, ("0", f"{largest:.2f}"))
    y = _MAP_Y + _PAIRS + 26
    other, most = found.closest
    total = float(found.information.sum())
    pairs = float(found.shared.sum()) / 2
    lines = [f"all bits alone: {total:.2f} nats", f"all pairs: {pairs:.2f} nats"]
    if other:
        lines.append(f"bits {found.bit} and {other} share {most:.3f} nats")
    for number, line in enumerate(lines):
        picture.text(_PAIRS_X - 24, y + 20 * number, line)


def _named(n_bits: int, each: float, chosen: int) -> list[int]:
    """Return the bits whose numbers are written: all, or every other one and the chosen one, if there is no room."""
    step = 1 if each >= 16 else 2 if each >= 8 else 4
    return [
        bit for bit in range(1, n_bits + 1) if bit == chosen or (bit % step == 1 % step and abs(bit - chosen) >= step)
    ]


def _columns(picture: Svg, n_bits: int, each: float, x: float, y: float, chosen: int) -> None:
    for bit in _named(n_bits, each, chosen):
        strong = bit == chosen
        picture.text(x + each * (bit - 0.5), y, bit, size=11, anchor="middle", bold=strong, fill=_ink(strong))


def _ink(strong: bool) -> str:
    return style.VERMILION if strong else style.GREY


def _frame(picture: Svg, x: float, y: float, width: float, height: float) -> None:
    for color, stroke in (("#ffffff", 4.5), (style.VERMILION, 2.5)):
        picture.rectangle(x, y, width, height, fill="none", stroke=color, stroke_width=stroke)


def _colours(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return a matrix as colours, NaN white."""
    colours = matplotlib.colormaps[style.SEQUENTIAL](np.clip((values - low) / (high - low), 0, 1))[..., :3]
    return np.where(np.isnan(values)[..., None], 1.0, colours)


def _scale(picture: Svg, x: float, y: float, height: float, names: tuple[str, str]) -> None:
    picture.image(x, y, 10, height, _colours(np.linspace(1, 0, 64)[:, None], 0.0, 1.0))
    picture.text(x + 14, y + height, names[0], size=11, fill=style.GREY)
    picture.text(x + 14, y + 9, names[1], size=11, fill=style.GREY)


def _finding(found: Bit) -> str:
    information = float(found.information[found.bit - 1])
    return f"{found.method}, bit {found.bit}: {information:.2f} of {math.log(2):.2f} nats, {_sides(found)}"


def _sides(found: Bit) -> str:
    if not found.on or len(found.on) == len(found.class_names):
        return f"{'1' if found.on else '0'} for most of each class"
    return f"mostly 1 for {_listed(found.on)}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def describe(found: Bit) -> str:
    """Say which classes the bit tells apart, which it cuts, how much it tells, and what it shares with the others."""
    information = float(found.information[found.bit - 1])
    other, most = found.closest
    count = len(found.mixed)
    cut = (
        f"{count} of the classes"
        if count > 4
        else f"class{'es' * (count > 1)} {_listed(found.mixed)}"
        if count
        else "no class"
    )
    shares = f"; with bit {other} it shares most, {most:.3f}" if other else ""
    total, pairs = float(found.information.sum()), float(found.shared.sum()) / 2
    return (
        f"Bit {found.bit} of {found.method} is {_sides(found)}; it cuts {cut} in two, with a tenth or more on either "
        f"side. It tells {information:.3f} of at most {math.log(2):.3f} nats{shares}. "
        f"All {len(found.information)} bits alone tell {total:.2f} nats, all pairs share {pairs:.2f}."
    )


def explore_hash_bits(runs: HashRuns | None = None) -> View:
    """Return a view of the bits of a learned code one by one, with the training as a choice.

    Args:
        runs: images and codes; default: those of :func:`~toolkit.explorers.hash_runs.hash_runs`.

    Raises:
        ValueError: no code has probabilities.
    """
    runs = hash_runs() if runs is None else runs
    require(len(runs.networks) > 0, "explore_hash_bits", "runs", "a code with probabilities", runs)
    most = runs.codes[runs.networks[0]].n_bits
    chosen: dict[str, Any] = {"bit": controls.int_slider("bit", _start(runs), 1, most)} if most > 1 else {}
    chosen["method"] = controls.toggle("trained with", runs.networks)
    slider = chosen.get("bit")
    extra = (controls.step_buttons(slider, forward="Next bit ▶"),) if slider is not None else ()
    return View(chosen, functools.partial(_compute, runs), draw, describe, extra=extra)


def _start(runs: HashRuns) -> int:
    """Return the bit that tells most."""
    logits = runs.codes[runs.networks[0]].logits
    assert logits is not None
    return int(bit_information(logits).argmax()) + 1


def _compute(runs: HashRuns, method: str, bit: int = 1) -> Bit:
    return look_at(runs, bit, method)

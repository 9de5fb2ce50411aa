"""The loss around one image in three networks: where the gradient points, and where a stronger attack found more.

A network trained on one large step of FGSM learns to be flat where its gradient points, and stays steep beside it.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from matplotlib.figure import Figure
from torch import Tensor, nn

from toolkit.adversarial.attacks.gradient import PGD
from toolkit.core.devices import draw_integers
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.explorers.clothes import LEVELS, Clothes, clothes, network, title, with_article
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale

NETWORKS = ("lenet", "resnet-adv", "lenet-masked")
"""Trained on clean images, on FGSM of many sizes, and on FGSM of one size."""
FOUND, RANDOM = "PGD's change", "random signs"
N_IMAGES = 10
MOST = 32
"""The largest epsilon in grey levels, and the one that PGD's change was found for."""
GRID = tuple(range(-8, 41, 4))
"""Where the surfaces are known along both axes, in grey levels."""


@dataclass(frozen=True, repr=False, eq=False)
class Point:
    """An image of the plane.

    Attributes:
        loss: of the true class, in nats.
        right: whether the network says the true class.
    """

    loss: float
    right: bool

    def __repr__(self) -> str:
        return f"Point({self.loss:.2f}, {'right' if self.right else 'wrong'})"


@dataclass(frozen=True, repr=False, eq=False)
class Surface:
    """The loss of one network over the plane around an image.

    Attributes:
        network: its title.
        losses: a row for each step along the second axis, a column for each along the gradient's sign.
        margins: logit of the true class less the largest other, in the same places.
        points: the clean image, FGSM's, and the one as far along the second axis.
    """

    network: str
    losses: Float[Tensor, "grid grid"]
    margins: Float[Tensor, "grid grid"]
    points: tuple[Point, Point, Point]

    def __repr__(self) -> str:
        return f"Surface({self.network}: {self.points})"


@dataclass(frozen=True, repr=False, eq=False)
class Surfaces:
    """One image, three networks.

    Attributes:
        number: of the image, from 1.
        label: name of its class.
        second: what the second axis is, ``FOUND`` or ``RANDOM``.
        epsilon: in grey levels.
        surfaces: of the networks.
    """

    number: int
    label: str
    second: str
    epsilon: int
    surfaces: tuple[Surface, ...]

    def __repr__(self) -> str:
        return f"Surfaces(image {self.number}, {self.second}, {self.epsilon}/255)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


class Plane:
    """Two directions in the space of images for each image, of one network.

    Args:
        model: in float64; the surfaces are computed in float32, the points in float64.
        images: clean.
        labels: what they show.
    """

    def __init__(
        self, model: nn.Module, images: Float[Tensor, "n 1 height width"], labels: Int64[Tensor, " n"]
    ) -> None:
        self.model, self.images, self.labels = model, images, labels
        self._quick = copy.deepcopy(model).float()
        at = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(at), labels, reduction="sum"), at)
        self.sign = gradient.sign()
        epsilon = MOST / LEVELS
        attack, generator = PGD(n_steps=20), torch.Generator().manual_seed(0)
        found = attack(model, images, labels, epsilon=epsilon, generator=generator)
        drawn = draw_integers(0, 2, images.shape, generator=torch.Generator().manual_seed(1))
        self.seconds = {FOUND: (found - images) / epsilon, RANDOM: 2 * drawn.to(images) - 1}
        self._surfaces: dict[tuple[int, str], tuple[Tensor, Tensor]] = {}

    def at(
        self, index: int, second: str, along: Float[Tensor, " points"], beside: Float[Tensor, " points"]
    ) -> Float[Tensor, "points 1 height width"]:
        """Return images of the plane, cut to [0, 1]; distances in grey levels."""
        steps = along.view(-1, 1, 1, 1) * self.sign[index] + beside.view(-1, 1, 1, 1) * self.seconds[second][index]
        return (self.images[index] + steps / LEVELS).clamp(0, 1)

    def surface(self, index: int, second: str) -> tuple[Float[Tensor, "grid grid"], Float[Tensor, "grid grid"]]:
        """Return loss and margin on the grid, computed once."""
        if (index, second) not in self._surfaces:
            grid = torch.tensor(GRID, dtype=torch.float64)
            beside, along = torch.meshgrid(grid, grid, indexing="ij")
            images = self.at(index, second, along.reshape(-1), beside.reshape(-1)).float()
            losses, margins = _measure(self._quick, images, int(self.labels[index]))
            shape = beside.shape
            self._surfaces[index, second] = losses.double().view(shape), margins.double().view(shape)
        return self._surfaces[index, second]

    def points(self, index: int, second: str, epsilon: float) -> tuple[Point, Point, Point]:
        """Return the clean image and those at epsilon along each axis."""
        along, beside = (torch.tensor(step, dtype=torch.float64) for step in ((0, epsilon, 0), (0, 0, epsilon)))
        losses, margins = _measure(self.model, self.at(index, second, along, beside), int(self.labels[index]))
        first, step, other = (Point(float(loss), float(m) > 0) for loss, m in zip(losses, margins, strict=True))
        return first, step, other


def _measure(model: nn.Module, images: Tensor, label: int) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        logits = model(images)
        losses = F.cross_entropy(logits, torch.full((len(images),), label), reduction="none")
        others = logits.clone()
        others[:, label] = -torch.inf
        return losses, logits[:, label] - others.amax(1)


def make_planes(data: Clothes, find: Callable[[str], nn.Module]) -> dict[str, Plane]:
    """Return the planes of the first ``N_IMAGES`` images for each network, with all their surfaces."""
    planes = {name: Plane(find(name), data.images[:N_IMAGES], data.labels[:N_IMAGES]) for name in NETWORKS}
    for plane in planes.values():
        for index in range(N_IMAGES):
            for second in plane.seconds:
                plane.surface(index, second)
    return planes


def compute(
    data: Clothes, planes: dict[str, Plane], number: int = 4, second: str = FOUND, epsilon: int = 32
) -> Surfaces:
    """Return the surfaces around an image, and the loss at epsilon along both axes.

    Args:
        data: the images.
        planes: of each network.
        number: of the image, 1 to ``N_IMAGES``.
        second: ``FOUND`` or ``RANDOM``.
        epsilon: in grey levels, 0 to ``MOST``.

    Raises:
        ValueError: an argument out of range.
    """
    require(1 <= number <= N_IMAGES, "compute", "number", f"1 to {N_IMAGES}", number)
    require(second in (FOUND, RANDOM), "compute", "second", f"{FOUND!r} or {RANDOM!r}", repr(second))
    require(0 <= epsilon <= MOST, "compute", "epsilon", f"0 to {MOST}", epsilon)
    index = number - 1
    surfaces = tuple(
        Surface(title(name), *plane.surface(index, second), plane.points(index, second, epsilon))
        for name, plane in planes.items()
    )
    return Surfaces(number, data.names[int(data.labels[index])], second, epsilon, surfaces)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _SIDE, _LEFT, _GAP, _TOP, _HIGHEST, _FINE = 690.0, 178.0, 54.0, 18.0, 90.0, 6.0, 97
_BELOW = _TOP + _SIDE
_MARKS = (style.Line("#ffffff", "-", "o"), style.Line("#ffffff", "-", "s"), style.Line("#ffffff", "-", "^"))


def draw(found: Surfaces) -> Svg:
    """Draw the loss of each network as colours, with the border to wrong answers and the three images marked."""
    picture = Svg(_WIDTH, _BELOW + 116)
    picture.text(14, 24, _finding(found), size=14, bold=True)
    words = "colour: loss (nats); white line: border to a wrong answer; inside the dots: within ε"
    picture.text(14, 46, words, size=12.5)
    for place, surface in enumerate(found.surfaces):
        _draw_surface(picture, _LEFT + place * (_SIDE + _GAP), surface, found, place == 0)
    right = _LEFT + len(found.surfaces) * (_SIDE + _GAP)
    _draw_colors(picture, right - 6)
    middle = (_LEFT + right - _GAP) / 2
    picture.text(middle, _BELOW + 36, "along the gradient's sign (grey levels)", size=12.5, anchor="middle")
    name = f"along {found.second}"
    picture.text(20, _TOP + _SIDE / 2, name, size=12.5, anchor="middle", rotate=-90)
    return picture


def _draw_surface(picture: Svg, left: float, surface: Surface, found: Surfaces, first: bool) -> None:
    to_x = Scale(GRID[0], GRID[-1], left, left + _SIDE, False)
    to_y = Scale(GRID[0], GRID[-1], _BELOW, _TOP, False)
    clip = (left, _TOP, _SIDE, _SIDE)
    for row, words in enumerate(_split(surface.network)):
        picture.text(left, _TOP - 22 + 15 * row, words, size=12.5, bold=True)
    picture.image(left, _TOP, _SIDE, _SIDE, _colors(surface.losses))
    for line in _border(surface.margins):
        where = [(to_x(x), to_y(y)) for x, y in line]
        picture.polyline(where, stroke="#000000", stroke_width=4.2, opacity=0.45, clip=clip)
        picture.polyline(where, stroke="#ffffff", stroke_width=2.2, clip=clip)
    size = found.epsilon
    ball = [(to_x(x), to_y(y)) for x, y in ((size, 0), (0, size), (-size, 0), (0, -size))]
    picture.polyline(ball, closed=True, stroke="#ffffff", stroke_width=1.4, dash=(2, 3), clip=clip)
    picture.rectangle(left, _TOP, _SIDE, _SIDE, fill="none", stroke="#8c8c8c")
    for value in (0, 16, 32):
        picture.line(to_x(value), _BELOW, to_x(value), _BELOW + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(to_x(value), _BELOW + 17, value, size=12, anchor="middle", fill=style.GREY)
        if first:
            picture.text(left - 6, to_y(value) + 4, value, size=12, anchor="end", fill=style.GREY)
    names = ("clean", "FGSM", found.second)
    for row, (name, point, look, spot) in enumerate(
        zip(names, surface.points, _MARKS, ((0, 0), (size, 0), (0, size)), strict=True)
    ):
        _draw_mark(picture, to_x(spot[0]), to_y(spot[1]), look.marker)
        y = _BELOW + 62 + 19 * row
        _draw_mark(picture, left + 6, y - 4, look.marker)
        words = f"{name}: {point.loss:.2f}{'' if point.right else ', wrong'}"
        picture.text(left + 17, y, words, size=12, fill=style.INK if point.right else style.VERMILION)


def _draw_mark(picture: Svg, x: float, y: float, kind: str) -> None:
    look: dict[str, Any] = {"fill": "#ffffff", "stroke": "#000000", "stroke_width": 1.3}
    if kind == "o":
        picture.circle(x, y, 4.4, **look)
    elif kind == "s":
        picture.rectangle(x - 4.2, y - 4.2, 8.4, 8.4, **look)
    else:
        picture.polyline([(x - 5, y + 4.2), (x + 5, y + 4.2), (x, y - 5.2)], closed=True, **look)


def _draw_colors(picture: Svg, left: float) -> None:
    shades = matplotlib.colormaps[style.SEQUENTIAL](np.linspace(1, 0, 64)[:, None])
    picture.image(left, _TOP, 11, _SIDE, shades)
    to_y = Scale(0, _HIGHEST, _BELOW, _TOP, False)
    for value in range(0, int(_HIGHEST) + 1, 2):
        name = f"{value}+" if value == _HIGHEST else str(value)
        picture.text(left + 15, min(max(to_y(value) + 4, _TOP + 10), _BELOW), name, size=12, fill=style.GREY)


def _colors(losses: Tensor) -> np.ndarray:
    """Return the colours of a finer grid, the last row of the losses on top."""
    fine = F.interpolate(losses[None, None], size=(_FINE, _FINE), mode="bilinear", align_corners=True)
    return matplotlib.colormaps[style.SEQUENTIAL]((fine[0, 0].flip(0) / _HIGHEST).clamp(0, 1).numpy())


def _border(margins: Tensor) -> list[np.ndarray]:
    """Return the lines where the margin is zero, in grey levels."""
    if bool((margins > 0).all()) or bool((margins <= 0).all()):
        return []
    return list(Figure().add_subplot().contour(GRID, GRID, margins.numpy(), [0.0]).allsegs[0])


def _split(words: str) -> tuple[str, ...]:
    """Return a network's title in one or two lines."""
    head, comma, tail = words.partition(", ")
    return (head + comma.strip(), tail) if tail else ("", head)


def _finding(found: Surfaces) -> str:
    clean, step, other = found.surfaces[-1].points
    losses = f"{clean.loss:.2f} clean, {step.loss:.2f} FGSM, {other.loss:.2f} {found.second}"
    return f"The third network's loss: {losses}"


def describe(found: Surfaces) -> str:
    """Say what the loss is at the three images in each network, and which the network gets wrong."""

    def one(point: Point) -> str:
        return f"{point.loss:.2f}{'' if point.right else ' (wrong)'}"

    each = "; ".join(f"{surface.network} {', '.join(map(one, surface.points))}" for surface in found.surfaces)
    note = f" PGD's change was found for {MOST}/255, with twenty steps, and is scaled." if found.second == FOUND else ""
    return (
        f"Image {found.number}, {with_article(found.label)}; ε = {found.epsilon}/255. Loss of the clean image, after "
        f"FGSM, and as far along {found.second}: {each}.{note}"
    )


def explore_loss_surface(find: Callable[[str], nn.Module] = network) -> View:
    """Return a view of the loss around an image in three networks: which image, which second axis, how large ε.

    Args:
        find: gives a network by its name; default: the toolkit's trained ones.
    """
    data = clothes()
    chosen = {
        "number": controls.int_slider("image", 4, 1, N_IMAGES),
        "second": controls.toggle("second axis", (FOUND, RANDOM), FOUND),
        "epsilon": controls.int_slider("ε", 32, 0, MOST, unit="grey levels"),
    }
    return View(chosen, functools.partial(compute, data, make_planes(data, find)), draw, describe)

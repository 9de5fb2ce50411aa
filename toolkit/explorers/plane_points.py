"""Points in a plane with two known classes, and how they and a partition of the plane are drawn."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.devices import draw_normal, draw_uniform
from toolkit.core.errors import require
from toolkit.core.plotting import GREY, INK
from toolkit.core.svg import Svg
from toolkit.lessons.axis import Scale

NOISE, BLOB, BLOB_AT = 0.06, 0.45, 1.0
"""Standard deviations of the noise about moons and rings, and of a blob; half the distance of the blobs."""
REACH = 2.4
"""The part of the plane that is shown goes from −REACH to REACH both ways, in standard deviations of the points."""
CLUSTER_COLORS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7")
"""Of regions; white where no cluster is more probable than another."""


@dataclass(frozen=True, eq=False)
class PlanePoints:
    """Points, each coordinate with mean 0 and standard deviation 1.

    Attributes:
        name: what they look like.
        inputs: the points.
        labels: the class of each, for scores and pictures only.
        centre: what was taken off the coordinates.
        scale: what they were divided by then.
    """

    name: str
    inputs: Float[Tensor, "points 2"]
    labels: Int[Tensor, " points"]
    centre: Float[Tensor, " 2"]
    scale: Float[Tensor, " 2"]

    def __repr__(self) -> str:
        return f"PlanePoints({self.name}, {len(self.inputs)} points)"

    def __len__(self) -> int:
        return len(self.inputs)


def _moons(labels: Tensor, generator: torch.Generator) -> Tensor:
    angle = math.pi * draw_uniform(labels.shape, generator=generator, dtype=torch.float64)
    upper = torch.stack((angle.cos(), angle.sin()), 1)
    lower = torch.stack((1 - angle.cos(), 0.5 - angle.sin()), 1)
    return torch.where(labels[:, None] == 0, upper, lower) + NOISE * _noise(labels, generator)


def _blobs(labels: Tensor, generator: torch.Generator) -> Tensor:
    middle = torch.tensor([[-BLOB_AT, -BLOB_AT], [BLOB_AT, BLOB_AT]], dtype=torch.float64)
    return middle[labels] + BLOB * _noise(labels, generator)


def _rings(labels: Tensor, generator: torch.Generator) -> Tensor:
    angle = 2 * math.pi * draw_uniform(labels.shape, generator=generator, dtype=torch.float64)
    ring = (labels + 1)[:, None] * torch.stack((angle.cos(), angle.sin()), 1)
    return ring + NOISE * _noise(labels, generator)


def _noise(labels: Tensor, generator: torch.Generator) -> Tensor:
    return draw_normal((len(labels), 2), generator=generator, dtype=torch.float64)


SHAPES: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = {"moons": _moons, "blobs": _blobs, "rings": _rings}


def plane_points(name: str = "moons", n: int = 800, seed: int = 0) -> PlanePoints:
    """Draw points of two classes, half and half, in double precision.

    Args:
        name: ``"moons"``, two half circles that reach into each other; ``"blobs"``, two Gaussians far apart;
            ``"rings"``, two circles about one centre.
        n: how many points, even.
        seed: the same seed gives the same points.

    Raises:
        ValueError: an unknown name, or no even number of points.
    """
    require(name in SHAPES, "plane_points", "name", f"one of {list(SHAPES)}", repr(name))
    require(n >= 2 and n % 2 == 0, "plane_points", "n", "even, 2 or more", n)
    labels = torch.arange(n) % 2
    raw = SHAPES[name](labels, torch.Generator().manual_seed(seed))
    centre, scale = raw.mean(0), raw.std(0, correction=0)
    return PlanePoints(name, (raw - centre) / scale, labels, centre, scale)


def plane_grid(size: int) -> Float[Tensor, "cells 2"]:
    """Return the middles of ``size`` × ``size`` cells of the part of the plane that is shown, from the top left."""
    middles = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 * REACH / size) - REACH
    y, x = torch.meshgrid(-middles, middles, indexing="ij")
    return torch.stack((x.flatten(), y.flatten()), 1)


def region_colors(probabilities: Float[np.ndarray, "cells clusters"]) -> Float[np.ndarray, "cells 3"]:
    """Return a colour for each prediction: its cluster's where it is certain, paler in between, white for none.

    Args:
        probabilities: of at most four clusters, rows that add to 1.

    Returns:
        Red, green and blue from 0 to 1.

    Raises:
        ValueError: more clusters than colours.
    """
    clusters = probabilities.shape[1]
    most = len(CLUSTER_COLORS)
    require(1 <= clusters <= most, "region_colors", "probabilities", f"1 to {most} clusters", clusters)
    colors = np.array([[int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)] for text in CLUSTER_COLORS[:clusters]])
    logs = np.log(np.maximum(probabilities, 1e-300))
    certainty = 1 + (probabilities * logs).sum(1) / math.log(clusters) if clusters > 1 else np.ones(len(probabilities))
    strength = 0.85 * np.clip(certainty, 0, 1)[:, None]
    return strength * (probabilities @ colors) + 1 - strength


@dataclass(frozen=True)
class PlaneFrame:
    """A square on a picture that shows the plane from −REACH to REACH both ways.

    Attributes:
        left, top, side: in pixels.
    """

    left: float
    top: float
    side: float

    @property
    def clip(self) -> tuple[float, float, float, float]:
        """Left, top, width and height."""
        return self.left, self.top, self.side, self.side

    def place(self, points: Any) -> list[tuple[float, float]]:
        """Return the pixels where points of the plane, ``[points, 2]``, stand."""
        to_x = Scale(-REACH, REACH, self.left, self.left + self.side, False)
        to_y = Scale(-REACH, REACH, self.top + self.side, self.top, False)
        return [(to_x(x), to_y(y)) for x, y in np.asarray(points, dtype=float).tolist()]


def draw_regions(picture: Svg, frame: PlaneFrame, probabilities: Float[np.ndarray, "cells clusters"]) -> None:
    """Draw the predictions on a :func:`plane_grid` as colours, and the axes around them."""
    size = math.isqrt(len(probabilities))
    picture.image(*frame.clip, region_colors(probabilities).reshape(size, size, 3))
    picture.rectangle(*frame.clip, fill="none", stroke="#8c8c8c", stroke_width=1)
    bottom = frame.top + frame.side
    for value in (-2, 0, 2):
        x, y = frame.place([[value, value]])[0]
        name = f"{value}".replace("-", "−")
        picture.text(x, bottom + 15, name, size=12, anchor="middle", fill=GREY)
        picture.text(frame.left - 6, y + 4, name, size=12, anchor="end", fill=GREY)
    middle = frame.left + frame.side / 2
    picture.text(middle, bottom + 32, "x₁ (standard deviations)", size=12.5, anchor="middle")
    picture.text(frame.left - 26, frame.top + frame.side / 2, "x₂", size=12.5, anchor="middle")


_CORNERS = [(math.cos(math.pi * k / 4), math.sin(math.pi * k / 4)) for k in range(8)]


def draw_points(
    picture: Svg,
    frame: PlaneFrame,
    points: Float[Tensor, "points 2"],
    labels: Int[Tensor, " points"],
    radius: float = 2.4,
) -> None:
    """Draw points, those of the first class hollow, those of the second black: the truth, whatever the clusters."""
    for label, fill in ((0, "#ffffff"), (1, INK)):
        outlines: list[tuple] = []
        for x, y in frame.place(points[labels == label]):
            corners = [(x + radius * a, y + radius * b) for a, b in _CORNERS]
            outlines += [("M", *corners[0]), *(("L", *corner) for corner in corners[1:]), ("Z",)]
        picture.path(outlines, fill=fill, stroke=INK, stroke_width=0.9, clip=frame.clip)


def draw_arrows(
    picture: Svg,
    frame: PlaneFrame,
    points: Float[np.ndarray, "points 2"],
    moved: Float[np.ndarray, "points 2"],
    color: str,
) -> None:
    """Draw an arrow from each point to where it is moved."""
    for (x, y), (end_x, end_y) in zip(frame.place(points), frame.place(moved), strict=True):
        length = math.hypot(end_x - x, end_y - y)
        if length > 1:
            picture.line(x, y, end_x, end_y, stroke=color, stroke_width=1.8, clip=frame.clip)
            angle = math.atan2(end_y - y, end_x - x)
            picture.arrow_head(end_x, end_y, angle, size=min(7.0, 0.7 * length + 2), fill=color)

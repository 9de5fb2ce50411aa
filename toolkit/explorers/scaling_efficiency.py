"""The paper's 1,024-GPU training as a curve: three points that its two percentages fix, and a stated model between.

The paper gives the efficiency at 1,024 GPUs against one GPU and against one node of eight. Their ratio is the
efficiency of one node. Nothing else of the curve is known to us: what is drawn between the points is our assumption.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import reject, require
from toolkit.core.svg import Svg
from toolkit.experiments import read_paper_results
from toolkit.lessons import View, controls, style
from toolkit.lessons.axis import Scale

NODE = 8
"""GPUs in a node."""
EPOCHS = 90
IMAGES = 1_281_167
"""Training images of ImageNet (ILSVRC 2012), from the data set's own description."""
MOST = 1024
_SETTING = "chainer/resnet50-1024-gpus"


@dataclass(frozen=True)
class Reported:
    """What the paper states about its largest run.

    Attributes:
        seconds: training time.
        spread: what stands behind its ±, in seconds.
        against_gpu: efficiency at 1,024 GPUs against one GPU, 0 to 1.
        against_node: the same against one node of eight.
    """

    seconds: float
    spread: float
    against_gpu: float
    against_node: float

    @property
    def node(self) -> float:
        """Efficiency of one node against one GPU, the ratio of the two percentages."""
        return self.against_gpu / self.against_node


def reported() -> Reported:
    """Read the paper's numbers from ``data/paper_results``."""
    rows = {row.quantity: row for row in read_paper_results()}
    seconds = rows[f"{_SETTING}/seconds"]
    one_gpu, one_node = (rows[f"{_SETTING}/efficiency-against-one-{what}"] for what in ("gpu", "node"))
    return Reported(seconds.value, seconds.uncertainty or 0.0, one_gpu.value / 100, one_node.value / 100)


SHAPES: Mapping[str, Callable[[float], float]] = {
    "with every doubling": math.log2,
    "soon, then flat": lambda n: 1.0 - 1.0 / n,
    "with every worker": lambda n: n - 1.0,
}
"""How the time lost grows with the number of workers: 0 for one. A tree of messages takes one more round with every
doubling; a ring that passes slices of the gradient moves (n - 1) / n of it, whatever n; all sending to one takes
n - 1 messages."""


def time_per_step(n_gpus: float, shape: str, communication: float = 1.0, *, paper: Reported | None = None) -> float:
    """Return the time of one step on so many GPUs, in units of a step on one, with the same images on each GPU.

    The model is ``1 + a s(m) / s(8) + b s(k) / s(128)`` for m GPUs in each of k nodes: the losses within a node and
    between nodes. ``a`` and ``b`` are those with which the curve passes through the paper's points.

    Args:
        n_gpus: from 1 to 1,024; up to eight share a node.
        shape: a key of :data:`SHAPES`, the function ``s``.
        communication: multiplies both losses; 1 is the paper's network.
        paper: default: :func:`reported`.

    Raises:
        ValueError: an unknown shape, or a number out of range.
    """
    if shape not in SHAPES:
        reject("time_per_step", "shape", f"one of {list(SHAPES)}", shape)
    require(1 <= n_gpus <= MOST, "time_per_step", "n_gpus", f"1 to {MOST}", n_gpus)
    require(communication >= 0, "time_per_step", "communication", "0 or more", communication)
    paper = reported() if paper is None else paper
    within = 1 / paper.node - 1
    between = 1 / paper.against_gpu - 1 / paper.node
    grows = SHAPES[shape]
    n_nodes = max(n_gpus / NODE, 1.0)
    lost = within * grows(min(n_gpus, NODE)) / grows(NODE) + between * grows(n_nodes) / grows(MOST / NODE)
    return 1 + communication * lost


@dataclass(frozen=True)
class Scaling:
    """The curve and the number of GPUs that is looked at.

    Attributes:
        n_gpus: the number.
        shape: a key of :data:`SHAPES`.
        communication: multiplies the time lost.
        curve: ``(GPUs, efficiency against one GPU)``, from 1 to 1,024.
        paper: what is known.
    """

    n_gpus: int
    shape: str
    communication: float
    curve: tuple[tuple[float, float], ...]
    paper: Reported

    @property
    def efficiency(self) -> float:
        """Against one GPU, at ``n_gpus``."""
        return 1 / time_per_step(self.n_gpus, self.shape, self.communication, paper=self.paper)

    @property
    def speed_up(self) -> float:
        """Over one GPU."""
        return self.n_gpus * self.efficiency

    @property
    def one_gpu_seconds(self) -> float:
        """What one GPU would take for the 90 epochs, by the paper's time and percentage."""
        return self.paper.seconds * MOST * self.paper.against_gpu

    @property
    def seconds(self) -> float:
        """Training time at ``n_gpus``."""
        return self.one_gpu_seconds / self.speed_up

    @property
    def images_per_second(self) -> float:
        """Training images a second over all GPUs; validation is part of the time."""
        return EPOCHS * IMAGES / self.seconds

    def __repr__(self) -> str:
        return f"Scaling({self.n_gpus} GPUs, {100 * self.efficiency:.0f} %)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and what follows from them."""
        derived = ("efficiency", "speed_up", "seconds", "images_per_second", "one_gpu_seconds")
        return dict(vars(self)) | {name: getattr(self, name) for name in derived}


def scale(doublings: int = 10, shape: str = "with every doubling", communication: float = 1.0) -> Scaling:
    """Compute the curve.

    Args:
        doublings: the number of GPUs is 2 to this power, 0 to 10.
        shape: a key of :data:`SHAPES`.
        communication: multiplies the time lost to communication.
    """
    require(0 <= doublings <= 10, "scale", "doublings", "0 to 10", doublings)
    paper = reported()
    grid = [2 ** (step / 8) for step in range(81)]
    curve = tuple((n, 1 / time_per_step(n, shape, communication, paper=paper)) for n in grid)
    return Scaling(2**doublings, shape, communication, curve, paper)


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_WIDTH, _HEIGHT = 660.0, 378.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 640.0, 52.0, 324.0


def draw(scaling: Scaling) -> Svg:
    """Draw the paper's points, the curve assumed between them, and the number of GPUs that is looked at."""
    picture = Svg(_WIDTH, _HEIGHT)
    to_x = Scale(1.0, float(MOST), _LEFT, _RIGHT - 16, True)
    to_y = Scale(0.0, 100.0, _BOTTOM, _TOP, False)
    words = f"{scaling.n_gpus:,} GPUs: {100 * scaling.efficiency:.0f} % efficient, {_duration(scaling.seconds)}"
    picture.text(16, 26, words if scaling.n_gpus > 1 else f"1 GPU: {_duration(scaling.seconds)}", size=14, bold=True)
    for percent in range(0, 101, 20):
        picture.line(_LEFT, to_y(percent), _RIGHT, to_y(percent), stroke="#e6e6e6", stroke_width=1)
        picture.text(_LEFT - 7, to_y(percent) + 4, str(percent), size=12, anchor="end", fill=style.GREY)
    for power in range(11):
        x = to_x(2**power)
        picture.line(x, _BOTTOM, x, _BOTTOM + 4, stroke="#8c8c8c", stroke_width=1)
        picture.text(x, _BOTTOM + 18, f"{2**power:,}", size=12, anchor="middle", fill=style.GREY)
    picture.polyline([(_LEFT, _TOP), (_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], stroke="#8c8c8c", stroke_width=1)
    picture.text((_LEFT + _RIGHT) / 2, _HEIGHT - 14, "GPUs, 32 images on each", size=13, anchor="middle")
    picture.text(20, (_TOP + _BOTTOM) / 2, "efficiency against one GPU (%)", size=13, anchor="middle", rotate=-90)
    _draw_curves(picture, scaling, to_x, to_y)
    _draw_points(picture, scaling.paper, to_x, to_y)
    _draw_legend(picture, scaling)
    return picture


def _draw_curves(picture: Svg, scaling: Scaling, to_x: Scale, to_y: Scale) -> None:
    ours, x, y = style.MEANINGS["ours"], to_x(scaling.n_gpus), to_y(100 * scaling.efficiency)
    picture.polyline([(to_x(n), to_y(100 * share)) for n, share in scaling.curve], stroke=ours.color, dash=(7, 4))
    picture.line(x, y, x, _BOTTOM, stroke=style.GREY, stroke_width=1.2, dash=(3, 3))
    picture.circle(x, y, 6, fill="#ffffff", stroke=ours.color, stroke_width=2.4)


def _draw_points(picture: Svg, paper: Reported, to_x: Scale, to_y: Scale) -> None:
    blue = style.MEANINGS["paper"].color
    for n, share, stated in ((1, 1.0, True), (NODE, paper.node, False), (MOST, paper.against_gpu, True)):
        x, y = to_x(n), to_y(100 * share)
        fill, stroke = (blue, "#ffffff") if stated else ("#ffffff", blue)
        picture.rectangle(x - 5, y - 5, 10, 10, fill=fill, stroke=stroke, stroke_width=1 if stated else 2)
    x, y = to_x(NODE) + 8, to_y(100 * paper.node) - 12
    percentages = f"{100 * paper.against_gpu:.0f} / {100 * paper.against_node:.0f}"
    picture.text(x, y, f"1 node: {percentages} = {100 * paper.node:.1f} %", size=12, bold=True, fill=blue)
    x, y = to_x(MOST) + 6, to_y(100 * paper.against_gpu) - 34
    words = f"{MOST:,} GPUs: {100 * paper.against_gpu:.0f} %, {paper.seconds} ± {paper.spread} s"
    picture.text(x, y, words, size=12, anchor="end", bold=True, fill=blue)


def _draw_legend(picture: Svg, scaling: Scaling) -> None:
    x, y = _LEFT + 18, _BOTTOM - 56
    picture.rectangle(x + 9, y - 9, 10, 10, fill=style.MEANINGS["paper"].color)
    picture.text(x + 38, y, "the paper's numbers; hollow: the ratio of its two percentages", size=12)
    picture.line(x, y + 16, x + 30, y + 16, stroke=style.MEANINGS["ours"].color, dash=(7, 4))
    assumed = f"our assumption: loss grows {scaling.shape}"
    if scaling.communication != 1:
        assumed += f", {scaling.communication:g} × the paper's"
    picture.text(x + 38, y + 20, assumed, size=12)


def _duration(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.1f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def describe(scaling: Scaling) -> str:
    """Say what the number of GPUs gives, what of it is the paper's, and what is assumed."""
    paper = scaling.paper
    each = scaling.images_per_second / scaling.n_gpus
    gpu, node, ratio = 100 * paper.against_gpu, 100 * paper.against_node, 100 * paper.node
    origin = (
        f"The paper states {paper.seconds} ± {paper.spread} s on {MOST:,} GPUs, {gpu:.0f} % against one GPU and "
        f"{node:.0f} % against one node, so one node has about {ratio:.1f} %. "
    )
    gpus = "1 GPU" if scaling.n_gpus == 1 else f"{scaling.n_gpus:,} GPUs"
    known = scaling.communication == 1 and scaling.n_gpus in (1, NODE, MOST)
    source = "what follows from these" if known else f"our model, loss growing {scaling.shape}"
    return (
        f"{origin}{gpus} ({source}): efficiency {100 * scaling.efficiency:.1f} %, {scaling.speed_up:,.0f} × one GPU, "
        f"{_duration(scaling.seconds)} for {EPOCHS} epochs, at least {each:.0f} images a second on each (validation is "
        "included in the time)."
    )


def explore_scaling_efficiency() -> View:
    """Return a view of the paper's scaling: number of GPUs, how the loss grows between its points, how large it is."""
    return View(
        {
            "doublings": controls.int_slider("GPUs: 2 to the power", 10, 0, 10),
            "shape": controls.choice("time lost grows", list(SHAPES)),
            "communication": controls.float_slider("communication ×", 1.0, 0.0, 4.0, step=0.1),
        },
        scale,
        draw,
        describe,
    )

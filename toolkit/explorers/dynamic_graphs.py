"""Graphs that differ from call to call: the same code, another digit or threshold, another graph and its gradient."""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float

from toolkit.autograd import Graph, Variable, grad, graph
from toolkit.autograd import functions as F
from toolkit.core.svg import Svg
from toolkit.explorers.adaptive_depth import MOST, held_out, repetitions_needed, think, trained_network
from toolkit.explorers.compact import squeezed
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import Edge, Node, draw_graph, graph_layout

SHOWN = 24
"""How many held-out digits the explorer offers."""

_GAP, _PANEL = 15.0, 350.0
_WIDTH, _HEIGHT = 690.0, 676.0  # pixels: room for the deepest graph, so that the page holds still


@dataclass(frozen=True)
class Call:
    """One call of the classifier, recorded and differentiated.

    Attributes:
        index: of the digit among the held-out ones.
        label: its class.
        answer: what the classifier said.
        sure: the confidence at which the loop ends.
        confidences: before the first repetition and after each.
        loss: cross-entropy of the answer, in nats.
        graph: what was recorded.
        image: the digit.
        gradient: of the loss by every pixel.
        depth_counts: how many held-out digits need 0, 1, … repetitions at this threshold.
    """

    index: int
    label: int
    answer: int
    sure: float
    confidences: tuple[float, ...]
    loss: float
    graph: Graph
    image: Float[np.ndarray, "8 8"]
    gradient: Float[np.ndarray, "8 8"]
    depth_counts: tuple[int, ...]

    @property
    def repetitions(self) -> int:
        """How often the layer was repeated."""
        return len(self.confidences) - 1

    def __repr__(self) -> str:
        return f"Call(digit {self.index}, {self.repetitions} repetitions, {len(self.graph.nodes)} nodes)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {**vars(self), "graph": self.graph.to_dict()}


def call(index: int, sure: float) -> Call:
    """Classify one held-out digit and differentiate the loss by its pixels.

    Args:
        index: of the digit.
        sure: the confidence at which the loop ends.
    """
    digits, network = held_out(), trained_network()
    x = Variable(digits.row(index), requires_grad=True, name="x")
    thought = think(x, network, sure)
    loss = F.cross_entropy(thought.logits, digits.labels[index : index + 1])
    drawn = graph(loss)
    counts = np.bincount(repetitions_needed(sure), minlength=MOST + 1)
    return Call(
        index=index,
        label=int(digits.labels[index]),
        answer=thought.answer,
        sure=sure,
        confidences=thought.confidences,
        loss=float(loss),
        graph=drawn,
        image=digits.images[index],
        gradient=grad(loss, x).numpy().reshape(8, 8),
        depth_counts=tuple(int(count) for count in counts),
    )


# ---------------------------------------------------------------------------------------------------------------------
# The picture


def draw(result: Call) -> Svg:
    """Draw the graph of this call, and beside it the digit, its gradient and what the loop saw."""
    recorded = _draw_graph(result)
    picture = Svg(max(_WIDTH, _PANEL + recorded.width + 26), max(_HEIGHT, recorded.height + 16))
    panel = Svg(_PANEL, picture.height, background="none", frame=False)
    repetitions = "1 repetition" if result.repetitions == 1 else f"{result.repetitions} repetitions"
    panel.text(0, 24, f"{repetitions}, {len(result.graph.nodes)} nodes", size=15, bold=True)
    _draw_digit(panel, result, 42)
    _draw_confidences(panel, result, 200)
    _draw_counts(panel, result, 404)
    picture.place(16, 8, panel)
    picture.place(_PANEL + 18, 8, recorded)
    return picture


def _draw_graph(result: Call) -> Svg:
    kinds = {"leaf": "parameter", "operation": "operation", "output": "result"}
    nodes = [Node(str(-node.order), node.label, kinds[node.kind]) for node in result.graph.nodes]
    edges = [Edge(str(-tail), str(-head)) for tail, head in dict.fromkeys(result.graph.edges)]
    return draw_graph(nodes, edges, layout=squeezed(graph_layout(nodes, edges), _GAP))


def _draw_digit(panel: Svg, result: Call, y: float) -> None:
    size = 96.0
    shade = matplotlib.colormaps[style.DIVERGING](style.centred(result.gradient)(result.gradient))
    right = "right" if result.answer == result.label else "wrong"
    for x, image, words in (
        (0, 1.0 - result.image, f"{_a(result.label)}; answer {result.answer}, {right}"),
        (170, shade, "gradient of the loss"),
    ):
        panel.image(x, y, size, size, image)
        panel.rectangle(x, y, size, size, fill="none", stroke="#b0b0b0")
        panel.text(x, y + size + 16, words, size=12)


def _draw_confidences(panel: Svg, result: Call, y: float) -> None:
    panel.text(0, y, "Confidence at each depth", bold=True)
    left, wide = 24.0, _PANEL - 90
    for depth in range(MOST + 1):
        top = y + 10 + 20 * depth
        panel.text(left - 8, top + 13, depth, size=12, anchor="end", fill=style.GREY)
        if depth < len(result.confidences):
            last = depth == result.repetitions
            value = result.confidences[depth]
            panel.rectangle(left, top + 2, wide * value, 14, fill=style.VERMILION if last else style.BLUE)
            panel.text(left + wide + 10, top + 13, _digits(value, result.sure), size=12, bold=last)
    x, bottom = left + wide * result.sure, y + 10 + 20 * (MOST + 1)
    panel.line(x, y + 8, x, bottom, stroke=style.INK, stroke_width=1.6, dash=(4, 3))
    panel.text(x, bottom + 14, f"threshold: {result.sure:.2f}", size=12, anchor="middle")


def _draw_counts(panel: Svg, result: Call, y: float) -> None:
    panel.text(0, y, f"All {sum(result.depth_counts)} held-out digits, by depth", bold=True)
    bottom, wide = y + 70, 44.0
    for depth, count in enumerate(result.depth_counts):
        height = max(44.0 * count / max(result.depth_counts), 1.0)
        mine = depth == result.repetitions
        fill = style.VERMILION if mine else style.BLUE
        panel.rectangle(24 + wide * depth, bottom - height, wide - 10, height, fill=fill)
        middle = 24 + wide * depth + (wide - 10) / 2
        panel.text(middle, bottom - height - 4, count, size=12, anchor="middle", bold=mine)
        panel.text(middle, bottom + 15, depth, size=12, anchor="middle", fill=style.GREY)
    panel.line(20, bottom, 24 + wide * (MOST + 1), bottom, stroke="#8c8c8c", stroke_width=1)


def _digits(value: float, sure: float) -> str:
    """Write a confidence with two decimals, or with three where two would hide that it is short of the threshold."""
    return f"{value:.3f}" if value < sure <= round(value, 2) else f"{value:.2f}"


def _a(digit: int) -> str:
    return f"an {digit}" if digit == 8 else f"a {digit}"


def describe(result: Call) -> str:
    """Say how deep this call went and why, and how large its graph and its gradient are."""
    seen = " → ".join(_digits(value, result.sure) for value in result.confidences)
    times = {0: "not repeated", 1: "repeated once"}.get(result.repetitions, f"repeated {result.repetitions} times")
    ended = "sure enough" if result.confidences[-1] >= result.sure else f"not sure after {MOST}, it gave up"
    return (
        f"Held-out digit {result.index}, {_a(result.label)}: the layer was {times} (confidence {seen}; {ended}). "
        f"This call recorded {len(result.graph.nodes)} nodes; the loss is {result.loss:.2f} and its steepest pixel has "
        f"the slope {np.abs(result.gradient).max():.2f}. Of {sum(result.depth_counts)} digits "
        f"{result.depth_counts[result.repetitions]} need as many repetitions."
    )


def explore_dynamic_graphs() -> View:
    """Return a view of the graph that one call leaves behind, with sliders for the digit and the threshold."""
    chosen = {
        "index": controls.int_slider("held-out digit", 18, 0, SHOWN - 1),
        "sure": controls.float_slider("threshold", 0.9, 0.5, 0.98, step=0.02),
    }
    return View(chosen, call, draw, describe)

"""Pictures of small directed graphs, computational graphs and trees, as :class:`toolkit.core.svg.Svg`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from toolkit.core.errors import reject, require
from toolkit.core.graph_layout import Layout, Point, layout_graph
from toolkit.core.svg import INK, Svg
from toolkit.core.text_width import text_width

_FIRST, _NEXT, _LEADING, _PADDING = 13.0, 12.0, 16.0, 9.0  # pixels: font of the first and later lines, line height

# A kind has a shape and a fill of its own: it can be told without colour.
KINDS: Mapping[str, tuple[str, str]] = {
    "data": ("box", "#ffffff"),
    "parameter": ("box", "#e3f3ec"),
    "operation": ("pill", "#e6eff7"),
    "result": ("box", "#fdf3d8"),
    "plain": ("none", "none"),
}
# A state has a line of its own, and where possible a fill.
STATES: Mapping[str, tuple[str, float, tuple[float, ...], str | None, str]] = {
    "": ("#595959", 1.2, (), None, INK),
    "active": ("#D55E00", 3.0, (), "#fff0e5", INK),
    "done": ("#0072B2", 2.0, (), None, INK),
    "waiting": ("#767676", 1.2, (4.0, 3.0), None, INK),
    "gone": ("#b0b0b0", 1.0, (2.0, 3.0), "#ffffff", "#767676"),
}


@dataclass(frozen=True)
class Node:
    """A node to draw.

    Attributes:
        key: its name for edges.
        label: what stands in it; line ends make several lines.
        kind: ``"data"``, ``"parameter"``, ``"operation"``, ``"result"`` or ``"plain"`` (text alone).
        state: ``""``, ``"active"``, ``"done"``, ``"waiting"`` or ``"gone"``.
    """

    key: str
    label: str
    kind: str = "data"
    state: str = ""


@dataclass(frozen=True)
class Edge:
    """An arrow from the node with key ``tail`` to the one with key ``head``; ``state`` as for nodes."""

    tail: str
    head: str
    label: str = ""
    state: str = ""


def graph_layout(nodes: Sequence[Node], edges: Sequence[Edge], *, direction: str = "down") -> Layout:
    """Find the layout of a graph, to be drawn several times with other states or labels (see :func:`draw_graph`).

    Args:
        nodes: the nodes; keys are unique.
        edges: the arrows; no cycles.
        direction: ``"down"``, ``"up"``, ``"right"`` or ``"left"``.

    Raises:
        ValueError: a key that is there twice or not at all, a cycle, or an unknown direction.
    """
    sizes = {node.key: _size(node) for node in nodes}
    require(len(sizes) == len(nodes), "graph_layout", "nodes", "different keys", [node.key for node in nodes][:20])
    label_sizes = [(text_width(edge.label, _NEXT) + 10, _LEADING + 2) if edge.label else None for edge in edges]
    return layout_graph(sizes, [(edge.tail, edge.head) for edge in edges], label_sizes=label_sizes, direction=direction)


def draw_graph(
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    *,
    direction: str = "down",
    layout: Layout | None = None,
    alt: str = "",
) -> Svg:
    """Draw a directed graph without cycles in layers; good up to about 60 nodes.

    Args:
        nodes: the nodes; keys are unique.
        edges: the arrows; the same pair may be linked twice.
        direction: where arrows lead: ``"down"``, ``"up"``, ``"right"`` or ``"left"``.
        layout: the layout of the same nodes and edges from :func:`graph_layout`, so that a step-by-step picture holds
            still while states and labels change; a label longer than its box is written smaller.
        alt: one sentence that says what the picture shows.

    Returns:
        The picture, as large as the graph needs.

    Raises:
        ValueError: as for :func:`graph_layout`, an unknown kind or state, or a layout of another graph.
    """
    if layout is None:
        layout = graph_layout(nodes, edges, direction=direction)
    fits = set(layout.boxes) == {node.key for node in nodes} and len(layout.routes) == len(edges)
    require(fits, "draw_graph", "layout", "the layout of these nodes and edges", layout)
    words = f"A graph of {len(nodes)} nodes and {len(edges)} arrows."
    picture = Svg(max(layout.width, 40), max(layout.height, 40), alt=alt or words)
    for edge, route in zip(edges, layout.routes, strict=True):
        _draw_edge(picture, edge, route, layout.direction)
    for edge, place in zip(edges, layout.labels, strict=True):
        if edge.label and place is not None:
            ink = _look(edge.state, "edges")[4]
            picture.text(place[0], place[1] + 0.35 * _NEXT, edge.label, size=_NEXT, anchor="middle", fill=ink)
    for node in nodes:
        _draw_node(picture, node, layout)
    return picture


def _size(node: Node) -> tuple[float, float]:
    lines = node.label.split("\n")
    widths = [text_width(line, _NEXT if number else _FIRST) for number, line in enumerate(lines)]
    height = max(_LEADING * len(lines) + 10, 28.0)
    rounding = height / 2 - _PADDING if node.kind == "operation" else 0.0
    return max(max(widths) + 2 * (_PADDING + max(rounding, 0.0)), 34.0), height


def _look(state: str, where: str) -> tuple[str, float, tuple[float, ...], str | None, str]:
    if state not in STATES:
        reject("draw_graph", f"{where}' state", f"one of {list(STATES)}", state)
    return STATES[state]


def _draw_node(picture: Svg, node: Node, layout: Layout) -> None:
    if node.kind not in KINDS:
        reject("draw_graph", "nodes' kind", f"one of {list(KINDS)}", node.kind)
    shape, fill = KINDS[node.kind]
    stroke, width, dash, other_fill, ink = _look(node.state, "nodes")
    box = layout.boxes[node.key]
    if shape != "none":
        radius = box.height / 2 if shape == "pill" else 4.0
        picture.rectangle(
            box.x - box.width / 2,
            box.y - box.height / 2,
            box.width,
            box.height,
            radius=radius,
            fill=other_fill or fill,
            stroke=stroke,
            stroke_width=width,
            dash=dash,
        )
    lines = node.label.split("\n")
    needed = _size(node)
    scale = min(1.0, box.width / needed[0], box.height / needed[1])
    for number, line in enumerate(lines):
        size = scale * (_NEXT if number else _FIRST)
        y = box.y + scale * _LEADING * (number - (len(lines) - 1) / 2) + 0.36 * size
        bold = number == 0 and node.state == "active"
        if bold and text_width(line, size, bold=True) > box.width - 6:
            bold = False
        picture.text(box.x, y, line, size=size, anchor="middle", fill=ink, bold=bold)


def _draw_edge(picture: Svg, edge: Edge, route: Sequence[Point], direction: str) -> None:
    stroke, width, dash, _, _ = _look(edge.state, "edges")
    upright = direction in ("down", "up")
    head = 7.0 + width
    x, y = route[-1]
    angle = {"down": math.pi / 2, "up": -math.pi / 2, "right": 0.0, "left": math.pi}[direction]
    tip = (x - 0.8 * head * math.cos(angle), y - 0.8 * head * math.sin(angle))  # the line ends inside the arrow head
    points = [*route[:-1], tip]
    commands: list[tuple] = [("M", *points[0])]
    for number, ((x1, y1), (x2, y2)) in enumerate(pairwise(points)):
        if number % 2:  # across a layer, between the boxes
            commands.append(("L", x2, y2))
        elif upright:
            commands.append(("C", x1, (y1 + y2) / 2, x2, (y1 + y2) / 2, x2, y2))
        else:
            commands.append(("C", (x1 + x2) / 2, y1, (x1 + x2) / 2, y2, x2, y2))
    picture.path(commands, stroke=stroke, stroke_width=width, dash=dash)
    picture.arrow_head(x, y, angle, size=head, fill=stroke)

"""Pictures of trees: the root above, the tokens in a row below, coloured by the ancestor from which they come.

The same shapes are drawn as SVG, for a page that answers at once, and as a matplotlib figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from toolkit.core import plotting
from toolkit.core.errors import require
from toolkit.core.svg import Svg
from toolkit.core.text_width import shorten, text_width
from toolkit.grammars.trees import Tree

COLOURS = (
    (plotting.GREEN, "#c9ebdf"),
    (plotting.VERMILION, "#f9dcc8"),
    (plotting.PURPLE, "#f4dfea"),
    ("#8a7a00", "#f7f1ae"),
    (plotting.GREY, "#e4e4e4"),
)
"""Lines and fills of neighbouring subtrees, taken in turn: neither black nor blue, which mean something elsewhere."""
_ROW, _TALLEST = 46.0, 560.0  # pixels from one level to the next, and of all levels together
_TITLE, _SIZES, _SMALLEST = 14.0, (12.5, 11.0, 9.5), 8.0
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class _Words:
    x: float
    y: float  # the baseline
    string: str
    size: float
    fill: str = plotting.INK
    anchor: str = "middle"
    bold: bool = False


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = "none"
    radius: float = 0.0


@dataclass
class _Node:
    tree: Tree | str
    depth: int
    colour: int | None  # which of COLOURS; None above the level that is coloured
    x: float = 0.0
    children: list[int] = field(default_factory=list)


@dataclass
class _Shapes:
    width: float
    height: float = 0.0
    boxes: list[_Box] = field(default_factory=list)
    lines: dict[tuple[str, float], list[list[tuple[float, float]]]] = field(default_factory=dict)
    over: list[_Box] = field(default_factory=list)
    words: list[_Words] = field(default_factory=list)
    dashed: list[tuple[float, float, float]] = field(default_factory=list)  # x, from y, to y


def draw_tree(
    tree: Tree,
    *,
    by_level: int = 1,
    metadata: Sequence[int] | None = None,
    cut: int | None = None,
    width: float = 720,
    title: str = "",
    alt: str = "",
) -> Svg:
    """Draw a tree as SVG.

    Args:
        tree: of any size; names that do not fit are left out, and tokens then are coloured stripes.
        by_level: a subtree that begins this many steps below the root has one colour, its neighbours others.
        metadata: the choice of each level, written beside the rules it stands for.
        cut: how many tokens stand before a dashed line: the end of a prompt.
        width: pixels.
        title: the finding.
        alt: one sentence that says what the picture shows; default: the sentence and its first symbols.

    Raises:
        ValueError: a negative level, a cut outside of the sentence, more choices than levels, no room.
    """
    shapes = _shapes("draw_tree", tree, by_level, metadata, cut, width, title)
    picture = Svg(shapes.width, shapes.height, alt=alt or _alt(tree))
    for box in shapes.boxes:
        _draw_box(picture, box)
    for (colour, thickness), lines in shapes.lines.items():
        commands = [(("L" if place else "M"), *point) for line in lines for place, point in enumerate(line)]
        picture.path(commands, stroke=colour, stroke_width=thickness)
    for box in shapes.over:
        _draw_box(picture, box)
    for x, top, bottom in shapes.dashed:
        picture.line(x, top, x, bottom, stroke=plotting.INK, stroke_width=1.6, dash=(5, 3))
    for text in shapes.words:
        picture.text(text.x, text.y, text.string, size=text.size, anchor=text.anchor, bold=text.bold, fill=text.fill)
    return picture


def plot_tree(
    tree: Tree,
    *,
    by_level: int = 1,
    metadata: Sequence[int] | None = None,
    cut: int | None = None,
    width: float = 7.5,
    title: str = "",
) -> Figure:
    """Draw a tree as a matplotlib figure; ``width`` is in inches, the rest as for :func:`draw_tree`."""
    shapes = _shapes("plot_tree", tree, by_level, metadata, cut, width * plotting.PIXELS_PER_INCH, title)
    points = 72 / plotting.PIXELS_PER_INCH
    made = plotting.figure(width, shapes.height / plotting.PIXELS_PER_INCH)
    with plotting.settings():
        made.set_layout_engine("none")
        where = made.add_axes((0, 0, 1, 1), axes_class=plotting.StyledAxes)
        where.set(xlim=(0, shapes.width), ylim=(shapes.height, 0))
        where.axis("off")
        for layer, boxes in ((1, shapes.boxes), (3, shapes.over)):
            for box in boxes:
                look: dict[str, Any] = {
                    "facecolor": box.fill,
                    "edgecolor": box.stroke,
                    "zorder": layer,
                    "linewidth": 1.2 * points,
                }
                corner = (box.x, box.y)
                if box.radius:
                    rounding = f"round,pad=0,rounding_size={box.radius}"
                    where.add_patch(FancyBboxPatch(corner, box.width, box.height, boxstyle=rounding, **look))
                else:
                    where.add_patch(Rectangle(corner, box.width, box.height, **look))
        for (colour, thickness), lines in shapes.lines.items():
            for line in lines:
                where.plot(
                    *zip(*line, strict=True), color=colour, linestyle="-", linewidth=thickness * points, zorder=2
                )
        for x, top, bottom in shapes.dashed:
            where.plot([x, x], [top, bottom], color=plotting.INK, linestyle="--", linewidth=1.6 * points, zorder=4)
        for text in shapes.words:
            where.text(
                text.x,
                text.y,
                text.string,
                fontsize=text.size * points,
                color=text.fill,
                fontweight="bold" if text.bold else "normal",
                horizontalalignment={"start": "left", "middle": "center", "end": "right"}[text.anchor],
                verticalalignment="baseline",
                parse_math=False,
                zorder=5,
            )
    return made


def _alt(tree: Tree) -> str:
    leaves = tree.leaves()
    first = " ".join(leaves[:40]) + (" …" if len(leaves) > 40 else "")
    below = " ".join(child if isinstance(child, str) else child.label for child in tree.children[:12])
    return f"Tree of {len(leaves)} tokens: {tree.label} into {below or 'nothing'}; tokens {first or 'none'}."


def _draw_box(picture: Svg, box: _Box) -> None:
    look = {"fill": box.fill, "stroke": box.stroke, "stroke_width": 1.2}
    picture.rectangle(box.x, box.y, box.width, box.height, radius=box.radius, **look)


# ---------------------------------------------------------------------------------------------------------------------
# Where everything stands


def _shapes(
    operation: str,
    tree: Tree,
    by_level: int,
    metadata: Sequence[int] | None,
    cut: int | None,
    width: float,
    title: str,
) -> _Shapes:
    nodes = _nodes(tree, by_level)
    leaves = [node for node in nodes if not node.children]  # tokens, and nodes that became nothing
    n_tokens = sum(isinstance(leaf.tree, str) for leaf in leaves)
    depth = max(node.depth + isinstance(node.tree, Tree) for node in nodes)
    require(by_level >= 0, operation, "by_level", ">= 0", by_level)
    require(cut is None or 0 <= cut <= n_tokens, operation, "cut", f"0 to {n_tokens}", cut)
    choices = [] if metadata is None else [int(choice) for choice in metadata]
    require(len(choices) <= depth, operation, "metadata", f"at most {depth} choices, one a level", choices)
    beside = [f"j{str(level).translate(_SUBSCRIPTS)} = {choice}" for level, choice in enumerate(choices)]
    left = 14 + (max(text_width(text, 12.5, bold=True) for text in beside) + 12 if beside else 0)
    require(width >= left + 60, operation, "width", f"at least {left + 60:.0f} pixels", width)
    row = min(_ROW, _TALLEST / depth)
    top = (34.0 if title else 6.0) + 20
    bottom = top + row * depth
    shapes = _Shapes(width, bottom + 24)
    if title:
        shapes.words.append(
            _Words(14, 22, shorten(title, width - 24, _TITLE, bold=True), _TITLE, anchor="start", bold=True)
        )
    edges = _place(nodes, leaves, left, width - 12)
    _draw_tokens(shapes, leaves, edges, bottom)
    _draw_edges(shapes, nodes, top, row, bottom, thin=edges[1] - edges[0] < 5)
    _draw_names(shapes, nodes, depth, top, row)
    for level, text in enumerate(beside):
        y = top + row * (level + 0.5) + 4
        size = min(12.5, row)
        if size >= _SMALLEST:
            shapes.words.append(_Words(14, y, text, size, anchor="start", bold=True))
    if cut is not None:
        shapes.dashed.append((_cut_at(leaves, edges, cut), top - 6, bottom + 16))
    return shapes


def _nodes(tree: Tree, by_level: int) -> list[_Node]:
    """Return nodes and tokens, parents before children, siblings from left to right; colours taken in turn."""
    nodes = [_Node(tree, 0, 0 if by_level == 0 else None)]
    waiting, n_coloured = [0], 0
    while waiting:
        node = nodes[index := waiting.pop()]
        if not isinstance(node.tree, Tree):
            continue
        for child in node.tree.children:
            # A token above the coloured level has a colour of its own, as it is all of its subtree.
            nodes.append(_Node(child, node.depth + 1, node.colour))
            nodes[index].children.append(len(nodes) - 1)
        waiting += reversed(nodes[index].children)
    for index in _from_left(nodes):
        node = nodes[index]
        if node.colour is None and (node.depth == by_level or not isinstance(node.tree, Tree)):
            below, n_coloured = [index], n_coloured + 1
            while below:
                one = nodes[below.pop()]
                one.colour = (n_coloured - 1) % len(COLOURS)
                below += one.children
    return nodes


def _from_left(nodes: list[_Node]) -> list[int]:
    order, waiting = [], [0]
    while waiting:
        order.append(index := waiting.pop())
        waiting += reversed(nodes[index].children)
    return order


def _place(nodes: list[_Node], leaves: list[_Node], left: float, right: float) -> list[float]:
    """Give every node its x; return where the places of the tokens begin, and where the last one ends."""
    leaves[:] = [nodes[index] for index in _from_left(nodes) if not nodes[index].children]
    wanted = [max(text_width(_name(leaf), _SIZES[0]) + 8, 20.0) for leaf in leaves]
    if sum(wanted) > right - left:
        wanted = [1.0] * len(leaves)
    share = (right - left) / sum(wanted)
    share = min(share, 60.0 / max(wanted)) if len(leaves) < 8 else share
    x = (left + right - share * sum(wanted)) / 2
    edges = [x]
    for leaf, part in zip(leaves, wanted, strict=True):
        leaf.x = x + share * part / 2
        x += share * part
        edges.append(x)
    for node in reversed(nodes):  # children stand behind their parents
        if node.children:
            node.x = (nodes[node.children[0]].x + nodes[node.children[-1]].x) / 2
    return edges


def _name(node: _Node) -> str:
    if isinstance(node.tree, str):
        return node.tree
    return node.tree.label if node.children else "ε"


def _draw_tokens(shapes: _Shapes, leaves: list[_Node], edges: list[float], bottom: float) -> None:
    tall, begin = 22.0, 0
    kinds = [leaf.colour if isinstance(leaf.tree, str) else None for leaf in leaves]
    for end in range(1, len(leaves) + 1):
        if end < len(leaves) and kinds[end] == kinds[begin]:
            continue
        if (kind := kinds[begin]) is not None:
            gap = min(1.5, (edges[end] - edges[begin]) / 6)
            colour, fill = COLOURS[kind]
            place = (edges[begin] + gap, bottom - tall / 2, edges[end] - edges[begin] - 2 * gap, tall)
            shapes.boxes.append(_Box(*place, fill, colour if edges[end] - edges[begin] > 6 else "none", 3.0))
        begin = end
    rooms = [after - before - 3 for before, after in pairwise(edges)]
    names = [_name(leaf) for leaf in leaves]
    for size in (*_SIZES, _SMALLEST):
        if all(text_width(name, size) <= room for name, room in zip(names, rooms, strict=True)):
            break
    for leaf, name, room in zip(leaves, names, rooms, strict=True):
        text = shorten(name, room, size)
        if text != "…" and (text == name or len(text) > 2):
            fill = plotting.INK if isinstance(leaf.tree, str) else plotting.GREY
            shapes.words.append(_Words(leaf.x, bottom + 0.35 * size, text, size, fill))


def _draw_edges(shapes: _Shapes, nodes: list[_Node], top: float, row: float, bottom: float, thin: bool) -> None:
    for node in nodes:
        for index in node.children:
            child = nodes[index]
            end = (child.x, top + row * child.depth)
            line = [(node.x, top + row * node.depth), end]
            if not child.children:  # down in its own place, where nothing else stands
                line = [*(line if end[1] < bottom - 1 else line[:1]), (child.x, bottom - 11)]
            colour = plotting.GREY if child.colour is None else COLOURS[child.colour][0]
            thickness = 0.7 if thin and not child.children else 1.2
            shapes.lines.setdefault((colour, thickness), []).append(line)


def _draw_names(shapes: _Shapes, nodes: list[_Node], depth: int, top: float, row: float) -> None:
    rows: list[list[_Node]] = [[] for _ in range(depth)]
    for index in _from_left(nodes):
        if isinstance(nodes[index].tree, Tree):
            rows[nodes[index].depth].append(nodes[index])
    for level, shown in enumerate(rows):
        y = top + row * level
        colours = [(plotting.GREY, "#ffffff") if node.colour is None else COLOURS[node.colour] for node in shown]
        names = [node.tree.label if isinstance(node.tree, Tree) else "" for node in shown]
        size = _fitting(shown, names, row, shapes.width)
        for node, name, (colour, fill) in zip(shown, names, colours, strict=True):
            if size is None:
                gap = min((b.x - a.x for a, b in pairwise(shown)), default=9.0)
                radius = min(2.6, 0.3 * gap, 0.2 * row)
                if radius > 0.6:
                    shapes.over.append(_Box(node.x - radius, y - radius, 2 * radius, 2 * radius, colour, radius=radius))
                continue
            half, tall = text_width(name, size) / 2 + 5, size + 7
            shapes.over.append(_Box(node.x - half, y - tall / 2, 2 * half, tall, fill, colour, tall / 2))
            shapes.words.append(_Words(node.x, y + 0.36 * size, name, size))


def _fitting(shown: list[_Node], names: list[str], row: float, width: float) -> float | None:
    """Return the largest font size at which all names of a row stand side by side, or None."""
    for size in _SIZES:
        halves = [text_width(name, size) / 2 + 6 for name in names]
        apart = all(
            b.x - a.x >= half + other for (a, b), (half, other) in zip(pairwise(shown), pairwise(halves), strict=True)
        )
        inside = all(half <= node.x <= width - half for node, half in zip(shown, halves, strict=True))
        if apart and inside and size + 9 <= row:
            return size
    return None


def _cut_at(leaves: list[_Node], edges: list[float], cut: int) -> float:
    tokens = [place for place, leaf in enumerate(leaves) if isinstance(leaf.tree, str)]
    return edges[tokens[cut]] if cut < len(tokens) else edges[-1]

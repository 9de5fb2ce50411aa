"""Where everything in a tree's picture stands: shapes in pixels, for :mod:`toolkit.grammars.tree_drawing`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from toolkit.core import plotting
from toolkit.core.errors import reject, require
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
_PLAIN = (plotting.GREY, "#ffffff")
_ROW, _TALLEST = 46.0, 560.0  # pixels from one level to the next, and of all levels together
_TITLE, _SIZES, _SMALLEST = 14.0, (12.5, 11.0, 9.5), 8.0
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Words:
    """A line of text with its baseline at ``y``."""

    x: float
    y: float
    string: str
    size: float
    fill: str = plotting.INK
    anchor: str = "middle"
    bold: bool = False


@dataclass(frozen=True)
class Box:
    """A rectangle, perhaps with round corners."""

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
class Shapes:
    """What a picture is made of, from the back to the front.

    Attributes:
        width: in pixels.
        height: in pixels.
        boxes: behind the tokens.
        lines: from parents to children, by colour and thickness.
        dashed: upright lines: x, from y, to y.
        over: behind the names of nodes.
        words: all text.
        cuts: x before each token, and behind the last.
    """

    width: float
    height: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    lines: dict[tuple[str, float], list[list[tuple[float, float]]]] = field(default_factory=dict)
    dashed: list[tuple[float, float, float]] = field(default_factory=list)
    over: list[Box] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)


def lay_out(
    operation: str,
    tree: Tree,
    *,
    by_level: int,
    level_colours: Sequence[str],
    metadata: Sequence[int] | None,
    cut: int | None,
    width: float,
    title: str,
) -> Shapes:
    """Return the shapes of a tree's picture; arguments and errors as :func:`toolkit.grammars.tree_drawing.draw_tree`.

    Args:
        operation: for the error.
    """
    if not isinstance(tree, Tree):
        reject(operation, "tree", "a Tree", type(tree).__name__, kind=TypeError)
    colours = [str(colour) for colour in level_colours]
    nodes = _nodes(tree, None if colours else by_level)
    n_tokens = sum(isinstance(node.tree, str) for node in nodes)
    depth = max(node.depth + isinstance(node.tree, Tree) for node in nodes)
    require(not colours or len(colours) >= depth, operation, "level_colours", f"{depth}, one a level", len(colours))
    require(by_level >= 0, operation, "by_level", ">= 0", by_level)
    require(cut is None or 0 <= cut <= n_tokens, operation, "cut", f"0 to {n_tokens}", cut)
    beside = _beside(metadata)
    require(len(beside) <= depth, operation, "metadata", f"at most {depth} choices, one a level", metadata)
    left = _left(beside)
    require(width >= left + 60, operation, "width", f"at least {left + 60:.0f} pixels", width)
    row = min(_ROW, _TALLEST / depth)
    top = (34.0 if title else 6.0) + 20
    bottom = top + row * depth
    shapes = Shapes(width, bottom + 24)
    if title:
        shapes.words.append(
            Words(14, 22, shorten(title, width - 24, _TITLE, bold=True), _TITLE, anchor="start", bold=True)
        )
    leaves, edges = _place(nodes, left, width - 12)
    tokens = [place for place, leaf in enumerate(leaves) if isinstance(leaf.tree, str)]
    shapes.cuts = [*(edges[place] for place in tokens), edges[-1]]
    _draw_tokens(shapes, leaves, edges, bottom)
    _draw_edges(shapes, nodes, colours, top, row, bottom, thin=edges[1] - edges[0] < 5)
    _draw_names(shapes, nodes, depth, top, row)
    for level, text in enumerate(beside):
        y = top + row * (level + 0.5) + 4
        size = min(12.5, row)
        if size >= _SMALLEST:
            ink = colours[level] if colours else plotting.INK
            shapes.words.append(Words(14, y, text, size, ink, anchor="start", bold=True))
    if cut is not None:
        shapes.dashed.append((shapes.cuts[cut], top - 6, bottom + 16))
    return shapes


def _beside(metadata: Sequence[int] | None) -> list[str]:
    choices = () if metadata is None else metadata
    return [f"j{str(level).translate(_SUBSCRIPTS)} = {int(choice)}" for level, choice in enumerate(choices)]


def _left(beside: list[str]) -> float:
    return 14 + (max(text_width(text, 12.5, bold=True) for text in beside) + 12 if beside else 0)


def _nodes(tree: Tree, by_level: int | None) -> list[_Node]:
    """Return nodes and tokens, parents before children, siblings from left to right; colours taken in turn.

    Args:
        tree: whose.
        by_level: where each subtree gets a colour; None: nowhere.
    """
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
    for index in _from_left(nodes) if by_level is not None else ():
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


def _place(nodes: list[_Node], left: float, right: float) -> tuple[list[_Node], list[float]]:
    """Give every node its x; return tokens and empty nodes, where the place of each begins, and where the last ends."""
    leaves = [nodes[index] for index in _from_left(nodes) if not nodes[index].children]
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
    return leaves, edges


def _name(node: _Node) -> str:
    if isinstance(node.tree, str):
        return node.tree
    return node.tree.label if node.children else "ε"


def _draw_tokens(shapes: Shapes, leaves: list[_Node], edges: list[float], bottom: float) -> None:
    tall, begin = 22.0, 0
    kinds = [None if not isinstance(leaf.tree, str) else -1 if leaf.colour is None else leaf.colour for leaf in leaves]
    for end in range(1, len(leaves) + 1):
        if end < len(leaves) and kinds[end] == kinds[begin]:
            continue
        if (kind := kinds[begin]) is not None:
            gap = min(1.5, (edges[end] - edges[begin]) / 6)
            colour, fill = COLOURS[kind] if kind >= 0 else _PLAIN
            place = (edges[begin] + gap, bottom - tall / 2, edges[end] - edges[begin] - 2 * gap, tall)
            shapes.boxes.append(Box(*place, fill, colour if edges[end] - edges[begin] > 6 else "none", 3.0))
        begin = end
    rooms = [after - before - 2 for before, after in pairwise(edges)]
    names = [_name(leaf) for leaf in leaves]
    for size in (*_SIZES, _SMALLEST):
        if all(text_width(name, size) <= room for name, room in zip(names, rooms, strict=True)):
            break
    # Letters that are narrow enough must not stand alone: a row of some of them reads like a sentence.
    lost = any(len(name) == 1 and text_width(name, size) > room for name, room in zip(names, rooms, strict=True))
    for leaf, name, room in zip(leaves, names, rooms, strict=True):
        text = shorten(name, room, size)
        if text != "…" and (len(text) > 2 or (text == name and not (lost and len(name) == 1))):
            fill = plotting.INK if isinstance(leaf.tree, str) else plotting.GREY
            shapes.words.append(Words(leaf.x, bottom + 0.35 * size, text, size, fill))


def _draw_edges(
    shapes: Shapes, nodes: list[_Node], colours: list[str], top: float, row: float, bottom: float, thin: bool
) -> None:
    for node in nodes:
        for index in node.children:
            child = nodes[index]
            end = (child.x, top + row * child.depth)
            line = [(node.x, top + row * node.depth), end]
            if not child.children:  # down in its own place, where nothing else stands
                line = [*(line if end[1] < bottom - 1 else line[:1]), (child.x, bottom - 11)]
            if colours:
                colour = colours[node.depth]
            else:
                colour = plotting.GREY if child.colour is None else COLOURS[child.colour][0]
            thickness = 0.7 if thin and not child.children else 1.8 if colours else 1.2
            shapes.lines.setdefault((colour, thickness), []).append(line)


def _draw_names(shapes: Shapes, nodes: list[_Node], depth: int, top: float, row: float) -> None:
    rows: list[list[_Node]] = [[] for _ in range(depth)]
    for index in _from_left(nodes):
        if isinstance(nodes[index].tree, Tree):
            rows[nodes[index].depth].append(nodes[index])
    for level, shown in enumerate(rows):
        y = top + row * level
        colours = [_PLAIN if node.colour is None else COLOURS[node.colour] for node in shown]
        names = [node.tree.label if isinstance(node.tree, Tree) else "" for node in shown]
        size = _fitting(shown, names, row, shapes.width)
        for node, name, (colour, fill) in zip(shown, names, colours, strict=True):
            if size is None:
                gap = min((b.x - a.x for a, b in pairwise(shown)), default=9.0)
                radius = min(2.6, 0.3 * gap, 0.2 * row)
                if radius > 0.6:
                    shapes.over.append(Box(node.x - radius, y - radius, 2 * radius, 2 * radius, colour, radius=radius))
                continue
            half, tall = text_width(name, size) / 2 + 5, size + 7
            shapes.over.append(Box(node.x - half, y - tall / 2, 2 * half, tall, fill, colour, tall / 2))
            shapes.words.append(Words(node.x, y + 0.36 * size, name, size))


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

"""The recorded graph as a drawing: copies of names, shapes and bytes, never the nodes themselves.

(Chainer's graph dump kept every graph it had drawn alive.)
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from toolkit.autograd.backends import backend_of_type
from toolkit.autograd.derivatives import as_list
from toolkit.autograd.operation import EVERY_INPUT, EXTRA, OUTPUT
from toolkit.autograd.tape import Leaf, Node, Variable
from toolkit.core.errors import argument_error
from toolkit.core.graph_drawing import Edge, draw_graph, graph_layout
from toolkit.core.graph_drawing import Node as DrawnNode
from toolkit.core.graph_layout import Layout
from toolkit.core.svg import Svg

__all__ = ["Graph", "GraphNode", "OperationBytes", "SavedBytes", "graph", "saved_bytes"]

_SOURCES = {OUTPUT: "its output", EXTRA: "a mask or indices"}


@dataclass(frozen=True)
class GraphNode:
    """One box of the drawing.

    Attributes:
        order: falls with every node recorded, so the newest has the smallest.
        label: the operation's name, or a leaf's name.
        kind: ``"leaf"``, ``"operation"`` or ``"output"``.
        parents: orders of the nodes it was computed from, in the order of its inputs.
        saved_bytes: bytes of the arrays it keeps for backward that no newer node keeps too.
        saved: what it keeps, in words, with shapes.
        shape: of the data if a Variable given to :func:`graph`, or the leaf's Variable, is alive; else ``None``.
        freed: a backward pass has let go of what it kept.
        operation: the operation's name; ``None`` on a leaf.
        leaf_bytes: how many of the saved bytes are a living leaf's own array, which is there anyway.
    """

    order: int
    label: str
    kind: str
    parents: tuple[int, ...]
    saved_bytes: int
    saved: tuple[str, ...]
    shape: tuple[int, ...] | None
    freed: bool
    operation: str | None = None
    leaf_bytes: int = 0


@dataclass(frozen=True)
class OperationBytes:
    """What all nodes of one operation keep for backward.

    Attributes:
        operation: its name.
        nodes: how many there are.
        saved_bytes: bytes they keep that no newer node keeps too.
        leaf_bytes: how many of these are leaves' own arrays, parameters say, which are there anyway.
    """

    operation: str
    nodes: int
    saved_bytes: int
    leaf_bytes: int

    @property
    def extra_bytes(self) -> int:
        """Bytes that are kept for the backward pass alone."""
        return self.saved_bytes - self.leaf_bytes


@dataclass(frozen=True)
class SavedBytes:
    """What a graph keeps for backward, by operation, the largest first."""

    operations: tuple[OperationBytes, ...]

    def __getitem__(self, operation: str) -> OperationBytes:
        for entry in self.operations:
            if entry.operation == operation:
                return entry
        raise KeyError(operation)

    def __repr__(self) -> str:
        return (
            f"SavedBytes({', '.join(f'{one.operation} {readable_bytes(one.saved_bytes)}' for one in self.operations)})"
        )

    @property
    def saved_bytes(self) -> int:
        """Bytes all operations keep, memory kept twice counted once."""
        return sum(entry.saved_bytes for entry in self.operations)

    @property
    def extra_bytes(self) -> int:
        """Bytes that are kept for the backward pass alone: leaves' own arrays left out."""
        return sum(entry.extra_bytes for entry in self.operations)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries by operation, and the totals."""
        by_operation = {
            entry.operation: {"nodes": entry.nodes, "saved_bytes": entry.saved_bytes, "leaf_bytes": entry.leaf_bytes}
            for entry in self.operations
        }
        return {"operations": by_operation, "saved_bytes": self.saved_bytes, "extra_bytes": self.extra_bytes}


@dataclass(frozen=True)
class Graph:
    """What was recorded behind some Variables, oldest node first."""

    nodes: tuple[GraphNode, ...]

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes, {len(self.edges)} edges, {self.saved_bytes} bytes saved)"

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Pairs of orders, from what was read to what was made of it."""
        return tuple((parent, node.order) for node in self.nodes for parent in node.parents)

    @property
    def saved_bytes(self) -> int:
        """Bytes all nodes keep for backward, memory kept twice counted once."""
        return sum(node.saved_bytes for node in self.nodes)

    def saved_bytes_by_operation(self) -> SavedBytes:
        """Return how many bytes each operation keeps for backward, the largest first.

        Memory that several nodes keep is counted at the newest of them. A checkpoint counts as one operation that
        keeps its inputs; what has been freed or unchained keeps nothing.
        """
        totals: dict[str, list[int]] = {}
        for node in self.nodes:
            if node.operation is not None:
                total = totals.setdefault(node.operation, [0, 0, 0])
                for place, value in enumerate((1, node.saved_bytes, node.leaf_bytes)):
                    total[place] += value
        entries = [OperationBytes(name, *numbers) for name, numbers in totals.items()]
        return SavedBytes(tuple(sorted(entries, key=lambda entry: (-entry.saved_bytes, entry.operation))))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and dictionaries."""
        return {"nodes": [dict(vars(node)) for node in self.nodes], "saved_bytes": self.saved_bytes}

    def dot(self, *, direction: str = "TB") -> str:
        """Return the graph in Graphviz's language: leaves are ellipses, operations boxes.

        Args:
            direction: ``"TB"``, ``"BT"``, ``"LR"`` or ``"RL"``.

        Raises:
            ValueError: another direction.
        """
        if direction not in ("TB", "BT", "LR", "RL"):
            raise argument_error("dot", "direction", "TB, BT, LR or RL", direction)
        lines = ["digraph computation {", f"  rankdir={direction};", '  node [fontname="DejaVu Sans", fontsize=11];']
        numbers = {node.order: number for number, node in enumerate(self.nodes)}
        for node in self.nodes:
            label = "\n".join(_caption(node)).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            shape = "ellipse" if node.kind == "leaf" else "box"
            fill = {"leaf": "#E0E0E0", "operation": "#CFE2F3", "output": "#FCE5CD"}[node.kind]
            lines.append(
                f'  n{numbers[node.order]} [label="{label}", shape={shape}, style=filled, fillcolor="{fill}"];'
            )
        lines.extend(f"  n{numbers[parent]} -> n{numbers[child]};" for parent, child in self.edges)
        return "\n".join([*lines, "}"]) + "\n"

    def svg(self, *, title: str = "Computational graph") -> str:
        """Return a drawing as SVG text, with ``title`` as its accessible name."""
        return self.picture(title=title).to_string()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        return self.picture()._repr_mimebundle_(include, exclude)

    def picture(
        self,
        *,
        title: str = "Computational graph",
        direction: str = "down",
        states: Mapping[int, str] | None = None,
        notes: Mapping[int, str] | None = None,
        layout: Layout | None = None,
    ) -> Svg:
        """Return the drawing as a picture that a lesson can add to.

        Args:
            title: accessible name.
            direction: where edges point: ``"down"``, ``"up"``, ``"right"`` or ``"left"``.
            states: order -> a state of :data:`toolkit.core.graph_drawing.STATES`.
            notes: order -> one more line of text in the node, a gradient say.
            layout: of the same graph with the same notes' widths, from :meth:`layout`, to keep nodes in place.
        """
        nodes, edges = self._drawn(states or {}, notes or {})
        return draw_graph(nodes, edges, direction=direction, alt=title, layout=layout)

    def layout(self, *, direction: str = "down", notes: Mapping[int, str] | None = None) -> Layout:
        """Return where the nodes stand, to be drawn several times with other states (see :meth:`picture`)."""
        nodes, edges = self._drawn({}, notes or {})
        return graph_layout(nodes, edges, direction=direction)

    def _drawn(self, states: Mapping[int, str], notes: Mapping[int, str]) -> tuple[list[DrawnNode], list[Edge]]:
        kinds = {"leaf": "parameter", "operation": "operation", "output": "result"}
        nodes = []
        for node in self.nodes:
            lines = [*_caption(node), *([notes[node.order]] if node.order in notes else [])]
            nodes.append(DrawnNode(str(-node.order), "\n".join(lines), kinds[node.kind], states.get(node.order, "")))
        # An input read twice is one arrow: two would lie on each other.
        pairs = dict.fromkeys(self.edges)
        return nodes, [Edge(str(-tail), str(-head)) for tail, head in pairs]


def graph(outputs: Variable | Sequence[Variable]) -> Graph:
    """Return a copy of what was recorded behind ``outputs``: names, shapes, and the bytes each node keeps for backward.

    Args:
        outputs: one Variable or several.

    Raises:
        TypeError: something that is no Variable.
    """
    variables = as_list("graph", "outputs", outputs)
    named = {variable.node.order: variable for variable in variables if variable.node is not None}
    found: dict[int, Node] = {}
    pending = [variable.node for variable in variables if variable.node is not None]
    while pending:
        node = pending.pop()
        if node.order not in found:
            found[node.order] = node
            pending.extend(parent for parent in node.parents or () if parent is not None)
    counted: set[int] = set()
    owned = _addresses_of_leaves(found.values())
    described = [_describe(found[order], named.get(order), counted, owned) for order in sorted(found)]
    return Graph(tuple(reversed(described)))


def saved_bytes(nodes: Sequence[Node]) -> int:
    """Return the bytes kept for backward by ``nodes`` and everything behind them, shared memory counted once."""
    seen: set[int] = set()
    counted: set[int] = set()
    total = 0
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node.order not in seen:
            seen.add(node.order)
            total += _kept(node, counted)[0]
            pending.extend(parent for parent in node.parents or () if parent is not None)
    return total


def _addresses_of_leaves(nodes: Iterable[Node]) -> set[int]:
    """Return where the arrays of the leaves' Variables lie, as far as these are alive."""
    variables = [node.variable() for node in nodes if isinstance(node, Leaf)]
    return {one.backend.storage(one.data)[0] for one in variables if one is not None and one.data is not None}


def _kept(node: Node, counted: set[int], owned: Set[int] = frozenset()) -> tuple[int, int]:
    """Return the bytes a node keeps that have not been counted yet, and how many of them lie in ``owned`` memory."""
    total = of_leaves = 0
    for value in node.saved or ():
        if hasattr(value, "dtype"):
            address, size = backend_of_type(type(value)).storage(value)
            if address not in counted:
                counted.add(address)
                total += size
                of_leaves += size if address in owned else 0
    return total, of_leaves


def _describe(node: Node, variable: Variable | None, counted: set[int], owned: set[int]) -> GraphNode:
    if isinstance(node, Leaf):
        alive = node.variable()
        variable = variable if alive is None else alive
        label, kind = "leaf", "leaf"
    else:
        label, kind = node.operation.name, "operation" if variable is None else "output"
    if variable is not None and variable.name is not None:
        label = variable.name if kind == "leaf" else f"{variable.name} = {label}"
    saved = []
    for position, value in enumerate(node.saved or ()):
        if hasattr(value, "dtype"):
            source = position if node.operation.saves == EVERY_INPUT else node.operation.source(position)
            saved.append(f"{_SOURCES.get(source, f'input {source}')} {value.dtype}{tuple(value.shape)}")
    kept, of_leaves = _kept(node, counted, owned)
    return GraphNode(
        order=node.order,
        label=label,
        kind=kind,
        parents=tuple(parent.order for parent in node.parents or () if parent is not None),
        saved_bytes=kept,
        saved=tuple(saved),
        shape=None if variable is None else variable.shape,
        freed=node.saved is None,
        operation=None if kind == "leaf" else node.operation.name,
        leaf_bytes=of_leaves,
    )


def _caption(node: GraphNode) -> list[str]:
    lines = [node.label]
    if node.shape is not None:
        lines.append(str(node.shape) if node.shape else "one number")
    if node.saved_bytes:
        lines.append(f"keeps {readable_bytes(node.saved_bytes)}")
    return lines


def readable_bytes(count: int) -> str:
    """Return a number of bytes as people write it."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB" if size < 999.5 else f"{size:.0f} GB"

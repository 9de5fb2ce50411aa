"""A drawing of the graph behind the loss, made once, of copies."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.autograd.graph import Graph, graph
from toolkit.autograd.tape import Variable
from toolkit.autograd.training.extension import Extension
from toolkit.core.errors import require
from toolkit.core.files import atomic_write

_DIRECTIONS = {"TB": "down", "BT": "up", "LR": "right", "RL": "left"}


class GraphDump(Extension):
    """Writes the graph of a reported Variable to a file, the first time it is reported.

    The observation keeps arrays only, without the graph. So this looks on while the value is being reported, when the
    forward pass has just ended: it copies names, shapes and bytes, and holds neither Variable nor node. Reporting the
    Variable itself, not its data, is all a model has to do for it.

    Args:
        root: the name it is reported under.
        file_name: file in the trainer's ``out``; its ending names the format: ``dot``, ``svg`` or ``png``.
        direction: where the arrows point, as in Graphviz: ``"TB"``, ``"BT"``, ``"LR"`` or ``"RL"``.

    Attributes:
        graph: the copied graph, or ``None`` before there is one.
    """

    trigger = (1, "iteration")

    def __init__(self, root: str = "main/loss", file_name: str = "graph.svg", *, direction: str = "TB") -> None:
        ending = Path(file_name).suffix[1:].lower()
        require(
            ending in ("dot", "svg", "png"), "GraphDump", "file_name", "a name ending in dot, svg or png", file_name
        )
        require(direction in _DIRECTIONS, "GraphDump", "direction", "TB, BT, LR or RL", direction)
        self._root, self._file_name, self._direction = root, file_name, direction
        self._reporter: Any = None
        self._written = False
        self._warned = False
        self.graph: Graph | None = None

    def initialize(self, trainer: Any) -> None:
        """Begin to look on, unless the file has been written in an earlier session."""
        if not self._written and self._reporter is None:
            self._reporter = trainer.reporter
            self._reporter.watchers = (*self._reporter.watchers, self._watch)

    def __call__(self, trainer: Any) -> None:
        """Write the file once the value has been reported.

        Raises:
            WriteError: the file cannot be written.
        """
        if self._written:
            return
        if self.graph is None:
            self._warn(trainer)
            return
        self.graph = with_paths(self.graph, trainer)
        path = Path(trainer.out) / self._file_name
        kind = path.suffix[1:].lower()
        title = f"Computational graph of {self._root}"
        if kind == "dot":
            data = self.graph.dot(direction=self._direction).encode()
        else:
            picture = self.graph.picture(title=title, direction=_DIRECTIONS[self._direction])
            data = picture.to_string().encode() if kind == "svg" else picture.to_png()
        with atomic_write(path) as file:
            file.write(data)
        self._written = True

    def finalize(self) -> None:
        """Look on no more."""
        self._leave()

    def _watch(self, name: str, value: Any) -> None:
        if name == self._root and isinstance(value, Variable) and value.node is not None:
            self.graph = graph(value)
            self._leave()

    def _leave(self) -> None:
        if self._reporter is not None:
            self._reporter.watchers = tuple(watch for watch in self._reporter.watchers if watch != self._watch)
            self._reporter = None

    def _warn(self, trainer: Any) -> None:
        if not self._warned:
            self._warned = True
            known = ", ".join(sorted(trainer.observation)) or "nothing"
            what = "without a graph" if self._root in trainer.observation else "not"
            warnings.warn(
                f"GraphDump: {self._root} was reported {what}; there is {known}. Report the Variable: "
                'report({"loss": loss}, self)',
                stacklevel=2,
            )

    def state_dict(self) -> dict[str, Any]:
        """Return whether the file is written."""
        return {"written": self._written}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Take up what :meth:`state_dict` returned."""
        self._written = bool(state.get("written", self._written))


def with_paths(drawn: Graph, trainer: Any) -> Graph:
    """Return the graph with the trainer's parameters called by their paths: there are many ``W``."""
    paths = {}
    for link in getattr(trainer, "models", {}).values():
        for path, parameter in link.namedparams(include_uninitialized=False):
            if parameter.node is not None:
                paths[parameter.node.order] = path
    return Graph(tuple(replace(node, label=paths.get(node.order, node.label)) for node in drawn.nodes))

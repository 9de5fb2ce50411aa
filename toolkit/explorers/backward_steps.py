"""Step through a real backward pass one node at a time: the heap, the gradients so far, the bytes alive."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np

from toolkit.autograd import Graph
from toolkit.autograd.graph import readable_bytes
from toolkit.core.graph_layout import Layout
from toolkit.core.svg import Svg
from toolkit.explorers.backward_recording import PROGRAMS, BackwardPass, Moment, length_of, record
from toolkit.explorers.compact import squeezed
from toolkit.lessons import View, controls, style
from toolkit.lessons.svg import shorten

_GAP = 14.0
_NOTE = "‖g‖ 00.00"  # as wide as any note, so that the boxes hold still


@dataclass(frozen=True)
class Frame:
    """One moment of a pass, to draw and to describe."""

    recorded: BackwardPass
    step: int

    @property
    def moment(self) -> Moment:
        """The moment itself."""
        return self.recorded.moments[self.step]


def compute(program: str, step: int) -> Frame:
    """Return one moment of a program's backward pass; steps beyond the last show the last."""
    recorded = record(program)
    return Frame(recorded, min(max(step, 0), len(recorded.moments) - 1))


# ---------------------------------------------------------------------------------------------------------------------
# The picture

_PANEL = 284.0  # pixels: the width of what stands beside the graph
_LEGEND = (
    "‖g‖: length of the gradient so far",
    "orange: passed just now; dashed: on the heap;",
    "dotted: passed, freed; blue border: leaf, done",
)
_EDGE: dict[str, Any] = {"fill": "none", "stroke": "#b0b0b0"}


@functools.cache
def _layout(program: str) -> Layout:
    numbered = _numbered(record(program), frozenset())
    return squeezed(numbered.layout(notes={node.order: _NOTE for node in numbered.nodes}), _GAP)


def _numbered(recorded: BackwardPass, freed: frozenset[int]) -> Graph:
    return Graph(
        tuple(
            replace(
                node,
                label=recorded.name(node.order),
                saved_bytes=0 if node.order in freed else node.saved_bytes,
            )
            for node in recorded.graph.nodes
        )
    )


def draw(frame: Frame) -> Svg:
    """Draw the graph with what has been passed, and beside it the heap, the bytes alive and the digit."""
    beside = _draw_graph(frame)
    height = max(beside.height, 590.0)
    panel = Svg(_PANEL, height, background="none", frame=False)
    recorded, moment = frame.recorded, frame.moment
    y = 24.0
    panel.text(0, y, f"Step {frame.step} of {len(recorded.moments) - 1}", size=15, bold=True)
    for line in PROGRAMS[recorded.program].lines:
        y += 18
        panel.text(0, y, line, size=12, fill=style.GREY)
    _draw_heap(panel, recorded, moment, y + 32)
    _draw_bytes(panel, frame, height - 264)
    _draw_digit(panel, recorded, moment, height - 172)
    for place, words in enumerate(_LEGEND):
        panel.text(0, height - 38 + 16 * place, words, size=12, fill=style.GREY)
    picture = Svg(beside.width + _PANEL + 32, height + 16)
    picture.place(8, 8, beside)
    picture.place(beside.width + 22, 8, panel)
    return picture


def _draw_graph(frame: Frame) -> Svg:
    recorded, moment = frame.recorded, frame.moment
    leaves = {node.order for node in recorded.graph.nodes if node.kind == "leaf"}
    passed = [one.passed for one in recorded.moments[1 : frame.step + 1] if one.passed is not None]
    states = {order: "done" if order in leaves else "gone" for order in passed}
    states |= dict.fromkeys(moment.waiting, "waiting")
    if moment.passed is not None:
        states[moment.passed] = "active"
    notes = {order: f"‖g‖ {length:.2f}" for order, length in moment.lengths.items()}
    freed = frozenset(order for order in passed if order not in leaves)
    return _numbered(recorded, freed).picture(states=states, notes=notes, layout=_layout(recorded.program))


def _draw_heap(panel: Svg, recorded: BackwardPass, moment: Moment, y: float) -> None:
    heading = "On the heap, newest first:" if moment.waiting else "The heap is empty: the pass is over."
    panel.text(0, y, heading, bold=True)
    for place, order in enumerate(moment.waiting):
        y += 26
        gradient = moment.gradients[order]
        panel.rectangle(0, y - 16, _PANEL, 23, radius=4, fill="#f5f5f5", stroke="#767676", dash=(4, 3))
        panel.text(8, y, shorten(recorded.name(order), 124, 13, bold=place == 0), bold=place == 0)
        panel.image(136, y - 11, 72, 13, _colours(gradient.reshape(-1, gradient.shape[-1] if gradient.ndim else 1)))
        panel.rectangle(136, y - 11, 72, 13, **_EDGE)
        panel.text(_PANEL - 8, y, f"‖g‖ {length_of(gradient):.2f}", size=12, anchor="end")


def _draw_bytes(panel: Svg, frame: Frame, y: float) -> None:
    alive = [moment.alive_bytes for moment in frame.recorded.moments]
    panel.text(0, y, f"Kept for backward: {readable_bytes(alive[frame.step])} of {readable_bytes(alive[0])}", bold=True)
    bottom, wide = y + 54, _PANEL / len(alive)
    for step, count in enumerate(alive):
        height = max(44.0 * count / max(alive[0], 1), 1.0)
        past, present = step < frame.step, step == frame.step
        fill = style.VERMILION if present else style.BLUE if past else "#ffffff"
        stroke = fill if past or present else "#b0b0b0"
        panel.rectangle(wide * step + 2, bottom - height, wide - 4, height, fill=fill, stroke=stroke)
    panel.line(0, bottom + 1, _PANEL, bottom + 1, stroke="#8c8c8c", stroke_width=1)
    panel.text(0, bottom + 16, "before", size=12, fill=style.GREY)
    panel.text(_PANEL, bottom + 16, "after the last step", size=12, anchor="end", fill=style.GREY)


def _draw_digit(panel: Svg, recorded: BackwardPass, moment: Moment, y: float) -> None:
    size, x = 84.0, 124.0
    panel.image(0, y, size, size, 1.0 - recorded.image)
    panel.rectangle(0, y, size, size, **_EDGE)
    panel.text(0, y + size + 16, "x, the digit", size=12)
    gradient = moment.gradients.get(recorded.graph.nodes[0].order)
    if gradient is None:
        panel.rectangle(x, y, size, size, dash=(4, 3), **_EDGE)
    else:
        panel.image(x, y, size, size, _colours(gradient.reshape(8, 8)))
        panel.rectangle(x, y, size, size, **_EDGE)
    words = "its gradient: not here yet" if gradient is None else "its gradient (red +)"
    panel.text(x, y + size + 16, words, size=12)


def _colours(values: np.ndarray) -> np.ndarray:
    return matplotlib.colormaps[style.DIVERGING](style.centred(values)(values))


def describe(frame: Frame) -> str:
    """Say what the last step did, what waits, and how much is still kept."""
    recorded, moment = frame.recorded, frame.moment
    start = readable_bytes(recorded.moments[0].alive_bytes)
    kept = f"{readable_bytes(moment.alive_bytes)} of {start} are kept for backward."
    if moment.passed is None:
        return f"Before the first step only {recorded.name(moment.waiting[0])} is on the heap, with gradient 1; {kept}"
    name, length = recorded.name(moment.passed), moment.lengths[moment.passed]
    if moment.passed in moment.gradients:
        what = f"the newest on the heap was the leaf {name}; its gradient, of length {length:.3f}, is complete."
    else:
        parents = dict.fromkeys(recorded.node(moment.passed).parents)
        given = [
            f"{recorded.name(parent)} ({'added to what was there: ' if parent in moment.added else ''}length "
            f"{moment.lengths[parent]:.3f})"
            for parent in parents
        ]
        what = f"the newest on the heap was {name}; its rule gave a gradient to {_listed(given)}, and it was freed."
    waiting = _listed([recorded.name(order) for order in moment.waiting]) or "nothing"
    return f"Step {frame.step} of {len(recorded.moments) - 1}: {what} Waiting: {waiting}. {kept}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else " and ".join([", ".join(words[:-1]), words[-1]]) if words else ""


def explore_backward_steps() -> View:
    """Return a view that steps through the backward pass of a small network on a real digit, one node at a time."""
    first = next(iter(PROGRAMS))
    program = controls.toggle("program", list(PROGRAMS))
    step = controls.int_slider("step", 5, 0, len(record(first).moments) - 1)
    buttons: widgets.Widget = controls.step_buttons(step)

    def limit(_: object) -> None:
        step.max = len(record(program.value).moments) - 1

    program.observe(limit, "value")
    return View({"program": program, "step": step}, compute, draw, describe, extra=(buttons,))

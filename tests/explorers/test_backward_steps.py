"""Stepping through backward shows what the engine does: its heap, its gradients, its bytes."""

import re

import numpy as np
import pytest

from toolkit.autograd import Variable, hooks
from toolkit.explorers import backward_recording, explore_backward_steps
from toolkit.explorers.backward_recording import PROGRAMS, record
from toolkit.explorers.backward_steps import compute, describe, draw


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_node_is_passed_once_newest_first(program):
    recorded = record(program)
    passed = [moment.passed for moment in recorded.moments[1:]]
    assert passed == sorted(node.order for node in recorded.graph.nodes)
    for moment, after in zip(recorded.moments, recorded.moments[1:], strict=False):
        assert after.passed == moment.waiting[0], "the newest waiting node comes next"
        assert list(moment.waiting) == sorted(moment.waiting)
    assert recorded.moments[-1].waiting == ()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_heap_and_the_bytes_are_the_engines(program, monkeypatch):
    recorders = []

    class Kept(hooks.Recorder):
        def __init__(self):
            super().__init__()
            recorders.append(self)

    monkeypatch.setattr(backward_recording.hooks, "Recorder", Kept)
    recorded = record.__wrapped__(program)
    moments = {moment.passed: moment for moment in recorded.moments}
    assert recorders[0].steps
    for step in recorders[0].steps:
        assert moments[step.order].waiting == step.pending
        assert moments[step.order].alive_bytes == step.alive_bytes
    alive = [moment.alive_bytes for moment in recorded.moments]
    assert alive == sorted(alive, reverse=True) and alive[-1] == 0 < alive[0] == recorded.graph.saved_bytes


@pytest.mark.parametrize("program", PROGRAMS)
def test_final_gradients_are_those_of_backward(program, monkeypatch):
    made = []
    original = Variable.__init__

    def noted(self, *arguments, **keywords):
        original(self, *arguments, **keywords)
        made.append(self)

    monkeypatch.setattr(Variable, "__init__", noted)
    recorded = record.__wrapped__(program)
    last = recorded.moments[-1].gradients
    leaves = {leaf.node.order: leaf for leaf in made if leaf.node is not None}
    assert set(last) == set(leaves) and len(last) == 1 + len(PROGRAMS[program].shapes)
    for order, gradient in last.items():
        np.testing.assert_allclose(gradient, leaves[order].grad, rtol=1e-12)


def test_a_node_read_twice_gets_a_second_contribution():
    moments = [(record(program), moment) for program in ("a shortcut", "a loop") for moment in record(program).moments]
    added = [recorded.name(order) for recorded, moment in moments for order in moment.added]
    assert added == ["6 tanh", "3 V"]
    assert not any(moment.added for moment in record("one neuron").moments)


def test_unknown_programs_and_steps_out_of_range():
    with pytest.raises(ValueError, match="one of"):
        record("a tree")
    assert compute("a loop", 99).step == len(record("a loop").moments) - 1
    assert compute("a loop", -1).step == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_frame_is_drawn_inside_its_edges_and_described(program):
    sentences = set()
    size = None
    for step in range(len(record(program).moments)):
        frame = compute(program, step)
        picture = draw(frame)
        size = size or (picture.width, picture.height)
        assert (picture.width, picture.height) == size, "the page holds still"
        assert picture.width <= 722 and picture.height <= 740
        for x, y in re.findall(r'<text x="([-\d.]+)" y="([-\d.]+)"', picture.to_string()):
            assert 0 <= float(x) <= picture.width and 0 <= float(y) <= picture.height
        sentences.add(describe(frame))
    assert len(sentences) == len(record(program).moments)


def test_view_steps_by_slider_and_buttons_and_keeps_to_the_program():
    view = explore_backward_steps()
    program, step = view.controls["program"], view.controls["step"]
    assert view.error is None and "added to what was there" in view.text
    program.value = "one neuron"
    assert view.error is None and step.max == 5 and step.value == 5 and "Waiting: nothing" in view.text
    step.value = 0
    assert view.text.startswith("Before the first step only 5 tanh")
    program.value = "a loop"
    assert step.max == 12
    view.reset()
    assert (program.value, step.value) == ("a shortcut", 5)
    buttons = [one for one in _inside(view) if getattr(one, "description", "") in ("◀ Back", "Step ▶")]
    buttons[1].click()
    assert step.value == 6 and "Step 6 of 11" in view.text
    buttons[0].click()
    assert step.value == 5


def _inside(widget):
    for child in getattr(widget, "children", ()):
        yield child
        yield from _inside(child)

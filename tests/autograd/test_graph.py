"""Drawings of the graph: copies of names, shapes and bytes, valid as SVG and as DOT."""

import gc
import re
import weakref
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from toolkit.autograd import Graph, Variable, checkpoint, graph
from toolkit.autograd import functions as F
from toolkit.autograd.graph import readable_bytes


@pytest.fixture
def loss() -> Variable:
    x = Variable(np.ones((5, 4)), name="x")
    w = Variable(np.ones((3, 4)), requires_grad=True, name="w")
    b = Variable(np.zeros(3), requires_grad=True)
    h = F.tanh(F.linear(x, w, b))
    y = F.sum(h * h)
    y.name = "loss"
    loss.leaves = (w, b)  # keep them alive: a graph does not
    return y


def test_nodes_stand_oldest_first_with_their_parents(loss):
    drawing = graph(loss)
    assert [node.label for node in drawing.nodes] == ["w", "leaf", "linear", "tanh", "multiply", "loss = sum"]
    assert [node.kind for node in drawing.nodes] == ["leaf", "leaf"] + ["operation"] * 3 + ["output"]
    numbers = {node.order: k for k, node in enumerate(drawing.nodes)}
    assert [[numbers[parent] for parent in node.parents] for node in drawing.nodes] == [
        [],
        [],
        [0, 1],
        [2],
        [3, 3],
        [4],
    ]
    assert len(drawing.edges) == 6 and repr(drawing) == "Graph(6 nodes, 6 edges, 280 bytes saved)"


def test_saved_bytes_are_counted_once_and_described(loss):
    drawing = graph(loss)
    saved = {node.label: (node.saved_bytes, node.saved) for node in drawing.nodes}
    # The input is kept for the weights' gradient; the weights are not, as no one wants the gradient of x.
    assert saved["linear"] == (160, ("input 0 float64(5, 4)",))
    # The product reads what tanh has kept: counted where it is kept first.
    assert saved["tanh"][0] + saved["multiply"][0] == 120
    assert saved["tanh"][1] == ("its output float64(5, 3)",) and drawing.saved_bytes == 280
    shapes = {node.label: node.shape for node in drawing.nodes}
    assert shapes["w"] == (3, 4) and shapes["loss = sum"] == () and shapes["tanh"] is None


def test_after_a_pass_the_nodes_are_shown_as_freed(loss):
    loss.backward()
    drawing = graph(loss)
    operations = [node for node in drawing.nodes if node.kind != "leaf"]
    assert "loss = sum" in [node.label for node in operations] and len(operations) > 1
    assert all(node.freed and not node.saved_bytes for node in operations)


def test_leaves_and_constants_have_graphs_of_one_node_and_none():
    x = Variable(np.ones(3), requires_grad=True)
    assert [node.kind for node in graph(x).nodes] == ["leaf"]
    assert graph(Variable(np.ones(3))).nodes == () and graph([]).nodes == ()
    for drawing in (graph(x), graph([])):
        ElementTree.fromstring(drawing.svg())
        assert drawing.dot().startswith("digraph")


def test_several_outputs_share_their_trunk():
    x = Variable(np.ones(3), requires_grad=True)
    trunk = F.exp(x)
    drawing = graph([F.sum(trunk), trunk * 2.0, trunk])
    assert [node.label for node in drawing.nodes] == ["leaf", "exp", "sum", "multiply"]
    assert [node.kind for node in drawing.nodes] == ["leaf", "output", "output", "output"]


@pytest.mark.parametrize("name", ['<&>"', "\\n", "Ω → λ", "a\nb", "x" * 200, ""])
def test_any_name_is_valid_xml_and_dot(name):
    x = Variable(np.ones(3), requires_grad=True, name=name)
    drawing = graph(F.sum(x * x))
    root = ElementTree.fromstring(drawing.svg(title=f"graph of {name}"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert_valid_dot(drawing.dot(), 3)


def assert_valid_dot(text: str, nodes: int) -> None:
    lines = text.splitlines()
    assert lines[0] == "digraph computation {" and lines[-1] == "}"
    quoted = r'"(?:[^"\\\n]|\\.)*"'
    statement = re.compile(
        rf"\s+(rankdir=(TB|BT|LR|RL)|node \[.*\]|n\d+ \[label={quoted}(, \w+=({quoted}|\w+))*\]|n\d+ -> n\d+);"
    )
    assert all(statement.fullmatch(line) for line in lines[1:-1]), text
    assert sum("label=" in line for line in lines) == nodes


def test_dot_has_a_direction_and_all_edges(loss):
    drawing = graph(loss)
    for direction in ("TB", "BT", "LR", "RL"):
        text = drawing.dot(direction=direction)
        assert f"rankdir={direction};" in text
        assert_valid_dot(text, 6)
    assert sorted(re.findall(r"n\d+ -> n\d+", text)) == sorted(
        ["n0 -> n2", "n1 -> n2", "n2 -> n3", "n3 -> n4", "n3 -> n4", "n4 -> n5"]
    )
    with pytest.raises(ValueError, match="dot: bad argument 'direction'"):
        drawing.dot(direction="up")


def test_the_picture_says_what_it_shows(loss):
    drawing = graph(loss)
    text = drawing.svg(title="A small network")
    root = ElementTree.fromstring(text)
    assert "A small network" in text
    words = " ".join(element.text or "" for element in root.iter() if element.text)
    for word in ("w", "linear", "tanh", "keeps 160 B", "loss = sum", "(3, 4)", "one number"):
        assert word in words
    data, _ = drawing._repr_mimebundle_()
    assert data["text/plain"] == "Computational graph" and data["image/png"]


def test_pictures_take_states_and_notes_and_a_fixed_layout(loss):
    drawing = graph(loss)
    orders = [node.order for node in drawing.nodes]
    layout = drawing.layout(notes={orders[0]: "gradient 0.25"})
    picture = drawing.picture(
        states={orders[2]: "active", orders[3]: "gone"}, notes={orders[0]: "gradient 0.25"}, layout=layout
    )
    text = picture.to_string()
    ElementTree.fromstring(text)
    assert "gradient 0.25" in text and "#D55E00" in text


def test_drawings_keep_nothing_alive(loss):
    array = loss.node.parents[0].saved[0]
    reference = weakref.ref(array)
    del array
    gc.collect()
    gc.disable()
    try:
        drawing = graph(loss)
        drawing.svg(), drawing.dot(), drawing.picture(), drawing.to_dict()
        loss.unchain_backward()
        assert reference() is None and gc.collect() == 0
    finally:
        gc.enable()
    assert len(drawing.nodes) == 6 and "loss = sum" in drawing.dot()


def test_a_drawing_is_plain_data(loss):
    import json

    drawing = graph(loss)
    plain = json.loads(json.dumps(drawing.to_dict()))
    assert plain["saved_bytes"] == 280 and plain["nodes"][0]["label"] == "w"
    assert isinstance(drawing, Graph) and drawing == graph(loss)


def test_graphs_of_a_thousand_operations_are_drawn():
    x = Variable(np.ones(1), requires_grad=True)
    y = x
    for _ in range(1_000):
        y = -y
    drawing = graph(y)
    assert len(drawing.nodes) == 1_001
    assert drawing.dot().count(" -> ") == 1_000


def test_what_is_no_variable_is_refused():
    with pytest.raises(TypeError):
        graph(3.0)
    with pytest.raises(TypeError):
        graph([Variable(np.ones(1)), 3.0])


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (1536, "1.54 kB"), (123_456, "123 kB"),
     (999_999, "1 MB"), (10**6, "1 MB"), (5 * 10**9, "5 GB"), (2 * 10**12, "2000 GB")],
)  # fmt: skip
def test_bytes_as_people_write_them(count, text):
    assert readable_bytes(count) == text


def test_saved_bytes_by_operation_add_up_and_tell_parameters_apart():
    w = Variable(np.ones((3, 4), dtype="f"), requires_grad=True)
    x = Variable(np.ones((5, 4), dtype="f"), requires_grad=True)
    h = F.tanh(F.linear(x, w))
    y = F.sum(F.linear(F.tanh(h), np.ones((2, 3), dtype="f")))
    found = graph(y).saved_bytes_by_operation()
    # tanh keeps its outputs, linear the weights of both layers and the first layer's input: both are leaves there.
    assert found["tanh"].nodes == 2 and found["tanh"].extra_bytes == found["tanh"].saved_bytes == 2 * 5 * 3 * 4
    assert (found["linear"].nodes, found["linear"].saved_bytes) == (2, 4 * (5 * 4 + 3 * 4 + 2 * 3))
    assert found["linear"].leaf_bytes == 4 * (5 * 4 + 3 * 4)
    assert found.saved_bytes == graph(y).saved_bytes and found.extra_bytes == found.saved_bytes - 4 * (5 * 4 + 3 * 4)
    sizes = [entry.saved_bytes for entry in found.operations]
    assert sizes == sorted(sizes, reverse=True) and "linear 152 B" in repr(found)
    assert found.to_dict()["operations"]["tanh"] == {"nodes": 2, "saved_bytes": 120, "leaf_bytes": 0}
    with pytest.raises(KeyError):
        found["conv2d"]
    y.backward()
    assert graph(y).saved_bytes_by_operation().saved_bytes == 0


def test_checkpoints_and_unchaining_lower_the_bytes_by_operation():
    w = Variable(np.eye(6), requires_grad=True)

    def layers(x: Variable) -> Variable:
        for _ in range(4):
            x = F.tanh(F.linear(x, w))
        return x

    x = Variable(np.ones((50, 6)))
    plain = graph(F.sum(layers(x))).saved_bytes_by_operation()
    frugal = graph(F.sum(checkpoint(layers, x))).saved_bytes_by_operation()
    assert plain.extra_bytes == 5 * 50 * 6 * 8 and frugal.extra_bytes == 50 * 6 * 8
    state = layers(x)
    state.unchain_backward()
    assert graph(F.sum(F.tanh(state))).saved_bytes_by_operation().saved_bytes == 0

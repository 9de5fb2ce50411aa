import itertools
import random
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.core.graph_drawing import Edge, Node, draw_graph, graph_layout
from toolkit.core.graph_layout import Layout, _crossings, _increasing, _Place, layout_graph
from toolkit.core.text_width import text_width


def overlaps(one, other, room=0.0):
    apart_x = abs(one.x - other.x) - (one.width + other.width) / 2
    apart_y = abs(one.y - other.y) - (one.height + other.height) / 2
    return apart_x < room and apart_y < room


def curve(points, upright):
    """Return points along a route as it is drawn: curves between layers, straight lines across them."""
    for number, ((x1, y1), (x2, y2)) in enumerate(itertools.pairwise(points)):
        for step in range(11):
            t = step / 10
            if number % 2:
                yield x1 + t * (x2 - x1), y1 + t * (y2 - y1)
            else:
                smooth = 3 * t**2 - 2 * t**3
                along = 1.5 * (1 - t) ** 2 * t + 1.5 * (1 - t) * t**2 + t**3
                if upright:
                    yield x1 + smooth * (x2 - x1), y1 + along * (y2 - y1)
                else:
                    yield x1 + along * (x2 - x1), y1 + smooth * (y2 - y1)


def examine(layout: Layout, edges):
    for one, other in itertools.combinations(layout.boxes.values(), 2):
        assert not overlaps(one, other, 0.0)
    for box in layout.boxes.values():
        assert box.x - box.width / 2 >= 0 and box.x + box.width / 2 <= layout.width
        assert box.y - box.height / 2 >= 0 and box.y + box.height / 2 <= layout.height
    upright = layout.direction in ("down", "up")
    for (tail, head), route in zip(edges, layout.routes, strict=True):
        for x, y in curve(route, upright):
            assert -0.01 <= x <= layout.width + 0.01 and -0.01 <= y <= layout.height + 0.01
            for key, box in layout.boxes.items():
                inside = abs(x - box.x) < box.width / 2 - 0.5 and abs(y - box.y) < box.height / 2 - 0.5
                assert not inside, f"the edge {tail} → {head} passes through {key}"
        start, end = layout.boxes[tail], layout.boxes[head]
        sign = -1 if layout.direction in ("up", "left") else 1
        axis = "y" if upright else "x"
        assert sign * (getattr(end, axis) - getattr(start, axis)) > 0


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 14))
    sizes = {f"n{i}": (draw(st.integers(20, 120)), draw(st.integers(20, 60))) for i in range(count)}
    pairs = [(f"n{i}", f"n{j}") for i in range(count) for j in range(i + 1, count)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    labels = [draw(st.one_of(st.none(), st.tuples(st.integers(10, 80), st.just(18)))) for _ in edges]
    return sizes, edges, labels


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from(["down", "up", "right", "left"]))
def test_nothing_overlaps_in_any_graph(graph, direction):
    sizes, edges, labels = graph
    layout = layout_graph(sizes, edges, label_sizes=labels, direction=direction)
    examine(layout, edges)
    assert [place is None for place in layout.labels] == [size is None for size in labels]
    for place, size in zip(layout.labels, labels, strict=True):
        if place is not None:
            for box in layout.boxes.values():
                apart = (
                    abs(place[0] - box.x) >= (size[0] + box.width) / 2
                    or abs(place[1] - box.y) >= (size[1] + box.height) / 2
                )
                assert apart, "a label on a node"


@pytest.mark.parametrize("direction", ["down", "up", "right", "left"])
@pytest.mark.parametrize("arriving", [True, False], ids=["arriving", "leaving"])
def test_edges_of_small_nodes_are_clear_of_a_tall_neighbour(arriving, direction):
    tall = (200, 60) if direction in ("right", "left") else (60, 200)
    sizes = {"one": (30, 20)} | {f"n{i}": tall if i == 4 else (20, 20) for i in range(9)}
    edges = [("one", f"n{i}") if arriving else (f"n{i}", "one") for i in range(9)]
    examine(layout_graph(sizes, edges, direction=direction), edges)


def test_the_same_graph_is_the_same_layout():
    sizes = {f"n{i}": (40, 28) for i in range(30)}
    rng = random.Random(0)
    edges = [(f"n{rng.randrange(i)}", f"n{i}") for i in range(1, 30)] * 2
    assert layout_graph(sizes, edges) == layout_graph(sizes, edges)


def test_a_chain_is_straight():
    layout = layout_graph({k: (50, 28) for k in "abcd"}, [("a", "b"), ("b", "c"), ("c", "d")])
    assert len({round(box.x, 3) for box in layout.boxes.values()}) == 1
    assert all(abs(route[0][0] - route[-1][0]) < 1e-6 for route in layout.routes)


def test_a_tree_and_a_planar_graph_have_no_crossing():
    keys = ["r", "a", "b", "a1", "a2", "b1", "b2"]
    edges = [("r", "b"), ("r", "a"), ("b", "b2"), ("a", "a2"), ("b", "b1"), ("a", "a1")]
    layout = layout_graph({key: (40, 28) for key in keys}, edges)
    lines = [(route[0], route[-1]) for route in layout.routes]
    for (a, b), (c, d) in itertools.combinations(lines, 2):
        if abs(a[1] - c[1]) < 1e-6:
            assert (a[0] - c[0]) * (b[0] - d[0]) >= -1e-6


def test_a_parameter_stands_just_above_where_it_is_used():
    edges = [("x", "h"), ("h", "g"), ("g", "y"), ("w", "y")]
    boxes = layout_graph({key: (40, 28) for key in "xhgyw"}, edges).boxes
    assert boxes["w"].y == boxes["g"].y


def test_crossings_are_counted_right():
    def brute(upper, lower, edges):
        return sum(
            (upper.index(a) - upper.index(c)) * (lower.index(b) - lower.index(d)) < 0
            for (a, b), (c, d) in itertools.combinations(edges, 2)
        )

    rng = random.Random(3)
    for _ in range(30):
        upper, lower = list(range(5)), list(range(5, 11))
        rng.shuffle(upper)
        rng.shuffle(lower)
        edges = [(rng.choice(upper), rng.choice(lower)) for _ in range(9)]
        places = [_Place(1, 1) for _ in range(11)]
        for a, b in edges:
            places[a].below.append(b)
        assert _crossings(places, upper, lower) == brute(upper, lower, edges)


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 10)), min_size=1, max_size=12))
def test_increasing_is_the_nearest_ordered_list(pairs):
    wishes, weights = [p[0] for p in pairs], [p[1] for p in pairs]
    found = _increasing(wishes, weights)
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(found))

    def cost(values):
        return sum(w * (v - x) ** 2 for v, x, w in zip(values, wishes, weights, strict=True))

    rng = random.Random(0)
    for _ in range(20):
        other = sorted(value + rng.gauss(0, 1) for value in found)
        assert cost(found) <= cost(other) + 1e-6


def test_empty_single_and_disconnected():
    assert layout_graph({}, []).boxes == {}
    assert draw_graph([], []).width > 0
    assert len(layout_graph({"a": (10, 10), "b": (10, 10)}, []).boxes) == 2
    examine(layout_graph({"a": (30, 20)}, []), [])


def test_a_large_graph_is_still_drawn():
    count = 600
    sizes = {str(i): (40, 28) for i in range(count)}
    edges = [(str(i), str(i + 1)) for i in range(count - 1)]
    assert len(layout_graph(sizes, edges).routes) == count - 1


@pytest.mark.parametrize(
    ("edges", "complaint"),
    [([("a", "z")], "actual:   z"), ([("a", "b"), ("b", "a")], "cycle"), ([("a", "a")], "cycle")],
)
def test_bad_graphs_are_refused(edges, complaint):
    with pytest.raises(ValueError, match=complaint):
        layout_graph({"a": (10, 10), "b": (10, 10)}, edges)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="direction"):
        layout_graph({"a": (10, 10)}, [], direction="north")
    with pytest.raises(ValueError, match="different keys"):
        draw_graph([Node("a", "1"), Node("a", "2")], [])
    with pytest.raises(ValueError, match="state"):
        draw_graph([Node("a", "1", state="mad")], [])
    with pytest.raises(ValueError, match="kind"):
        draw_graph([Node("a", "1", kind="mad")], [])
    other = graph_layout([Node("a", "1")], [])
    with pytest.raises(ValueError, match="layout"):
        draw_graph([Node("b", "1")], [], layout=other)


def example(state=""):
    nodes = [
        Node("x", "x\n(64, 784)"),
        Node("w", "W", "parameter"),
        Node("f", "matmul <op>\n1.2 MB", "operation", state),
        Node("y", "a result with a rather long name", "result"),
    ]
    edges = [Edge("x", "f"), Edge("w", "f", "transposed"), Edge("f", "y", state="done"), Edge("w", "y"), Edge("w", "y")]
    return nodes, edges


@pytest.mark.parametrize("direction", ["down", "up", "right", "left"])
def test_every_text_fits_its_box_and_the_picture(direction):
    nodes, edges = example()
    layout = graph_layout(nodes, edges, direction=direction)
    picture = draw_graph(nodes, edges, layout=layout, alt="A product")
    assert (picture.width, picture.height) == (layout.width, layout.height)
    root = ET.fromstring(picture.to_string())
    texts = [element for element in root if element.tag.endswith("text")]
    assert [element.text for element in texts][:1] == ["transposed"] and len(texts) == 1 + 6
    for element in texts:
        half = text_width(element.text, float(element.get("font-size"))) / 2
        assert float(element.get("x")) - half >= 0 and float(element.get("x")) + half <= picture.width
        assert float(element.get("font-size")) >= 12
    for node in nodes:
        box = layout.boxes[node.key]
        assert all(text_width(line, 12) <= box.width for line in node.label.split("\n"))


def test_a_step_keeps_the_layout_and_shrinks_what_does_not_fit():
    nodes, edges = example()
    layout = graph_layout(nodes, edges)
    longer = [Node(n.key, n.label + " and much more than fits into this box", n.kind, "active") for n in nodes]
    root = ET.fromstring(draw_graph(longer, edges, layout=layout).to_string())
    assert root.get("width") == ET.fromstring(draw_graph(nodes, edges, layout=layout).to_string()).get("width")
    for element in root:
        if element.tag.endswith("text") and "much more" in element.text:
            wide = max(box.width for box in layout.boxes.values())
            assert (
                text_width(element.text, float(element.get("font-size")), bold=element.get("font-weight") == "bold")
                <= wide
            )


def test_states_differ_in_more_than_colour():
    def lines(state):
        root = ET.fromstring(draw_graph([Node("a", "a", state=state)], []).to_string())
        box = [element for element in root if element.tag.endswith("path")][1]
        return box.get("stroke-width"), box.get("stroke-dasharray")

    looks = [lines(state) for state in ("", "active", "done", "waiting", "gone")]
    assert len(set(looks)) == 5

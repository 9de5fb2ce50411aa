"""Squeezing a layout keeps everything apart and every arrow at its boxes."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from toolkit.autograd import Variable, graph
from toolkit.autograd import functions as F
from toolkit.core.graph_drawing import Edge, Node, graph_layout
from toolkit.explorers.compact import squeezed


def some_layout():
    h = x = Variable(np.ones((1, 4)), requires_grad=True, name="x")
    v = Variable(np.eye(4), requires_grad=True, name="V")
    for _ in range(3):
        h = h + F.tanh(F.linear(h, v))
    return graph(F.sum(h * x)).layout()


@pytest.mark.parametrize("gap", [6.0, 15.0, 22.0])
def test_boxes_stay_apart_and_keep_their_size(gap):
    before = some_layout()
    after = squeezed(before, gap)
    assert after.height < before.height and after.width == before.width
    for key, box in after.boxes.items():
        old = before.boxes[key]
        assert (box.x, box.width, box.height) == (old.x, old.width, old.height)
    for one, two in combinations(after.boxes.values(), 2):
        beside = abs(one.x - two.x) >= (one.width + two.width) / 2
        above = abs(one.y - two.y) >= (one.height + two.height) / 2 + gap - 1e-6
        assert above or beside


def test_arrows_still_end_at_their_boxes():
    before, after = some_layout(), squeezed(some_layout(), 12.0)
    tops = {round(box.y - box.height / 2, 6) for box in after.boxes.values()}
    bottoms = {round(box.y + box.height / 2, 6) for box in after.boxes.values()}
    for old, new in zip(before.routes, after.routes, strict=True):
        assert len(old) == len(new)
        assert round(new[0][1], 6) in bottoms and round(new[-1][1], 6) in tops
        assert all(earlier[1] <= later[1] for earlier, later in pairwise(new))
        assert all(0 <= y <= after.height for _, y in new)


def test_a_layout_that_is_tight_already_is_left_alone():
    layout = graph_layout([Node("a", "a"), Node("b", "b")], [Edge("a", "b")])
    assert squeezed(layout, 1000.0) == layout
    alone = graph_layout([Node("a", "a")], [])
    assert squeezed(alone, 10.0) == alone

"""The exercises of lesson 02: right answers pass, likely slips are named, nothing raises."""

import numpy as np
import pytest

from toolkit.autograd import Variable, graph, links
from toolkit.autograd import functions as F
from toolkit.explorers.exercises import training_the_chainer_way as exercises


def test_kept_by_a_layer():
    weight = Variable(np.ones((32, 64), np.float32), requires_grad=True)
    exact = graph(F.relu(F.linear(np.ones((100, 64), np.float32), weight))).saved_bytes
    assert exact == 38_400 and exercises.kept_by_a_layer(exact).right is True
    for slip, words in (
        (46_592, "W is kept only"),
        (25_600, "relu keeps something"),
        (12_800, "linear keeps x"),
        (51_200, "not its input and its output"),
        (28_800, "mask"),
        (76_800, "4 bytes"),
        (9_600, "4 bytes"),
        (33_792, "W is not kept"),
        (20_992, "that is x, not W"),
    ):
        verdict = exercises.kept_by_a_layer(slip)
        assert verdict.right is False and words in verdict.sentence
    assert exercises.kept_by_a_layer("many").right is False
    assert exercises.kept_by_a_layer(-1).sentence == "It is not −1."
    assert "beyond 10³⁰⁸" in exercises.kept_by_a_layer(10**400).sentence
    assert exercises.kept_by_a_layer(...).right is None


class Right(links.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2 = links.Linear(None, 32), links.Linear(None, 10)

    def forward(self, x):
        return self.l2(F.relu(self.l1(x)))


class Unregistered(Right):
    def __init__(self):
        links.Chain.__init__(self)
        self.l1, self.l2 = links.Linear(None, 32), links.Linear(None, 10)


class HalfRegistered(Right):
    def __init__(self):
        links.Chain.__init__(self)
        with self.init_scope():
            self.l1 = links.Linear(None, 32)
        self.l2 = links.Linear(None, 10)


class OtherNames(Right):
    def __init__(self):
        links.Chain.__init__(self)
        with self.init_scope():
            self.first, self.second = links.Linear(None, 32), links.Linear(None, 10)


class Sized(Right):
    def __init__(self):
        links.Chain.__init__(self)
        with self.init_scope():
            self.l1, self.l2 = links.Linear(64, 32), links.Linear(32, 10)


class Straight(Right):
    def forward(self, x):
        return self.l2(self.l1(x))


class Bent(Right):
    def forward(self, x):
        return F.relu(self.l2(F.relu(self.l1(x))))


class Narrow(Right):
    def __init__(self):
        links.Chain.__init__(self)
        with self.init_scope():
            self.l1, self.l2 = links.Linear(None, 16), links.Linear(None, 10)


class Short(Right):
    def forward(self, x):
        return self.l1(x)


class Silent(Right):
    def forward(self, x):
        return None


class Unwritten(links.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2 = links.Linear(None, 32), links.Linear(None, 10)


class Broken(Right):
    def forward(self, x):
        return self.l3(x)


class Empty(links.Chain):
    pass


def make_nothing():
    return None


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (Right, True, "2,410 parameters for 64 pixels and 25,450 for 784"),
        (lambda: Right(), True, "2,410"),
        (Unregistered, False, "init_scope"),
        (HalfRegistered, False, "/l2/W"),
        (OtherNames, False, "l1 and l2"),
        (Sized, False, "None as the number of inputs"),
        (Straight, False, "no relu"),
        (Bent, False, "self.l2(F.relu"),
        (Narrow, False, "(32, 64)"),
        (Short, False, "shape (5, 10)"),
        (Broken, False, "l3"),
        (Empty, None, "Not answered yet"),
        (Right(), False, "not a model made from it"),
        (lambda: 3, False, "links.Chain"),
        (3, False, "class"),
        (Silent, False, "forward returned None: is the return missing?"),
        (Unwritten, None, "forward"),
        (make_nothing, None, ""),
        (None, None, ""),
    ],
)
def test_lazy_chain(answer, right, words):
    verdict = exercises.lazy_chain(answer)
    assert verdict.right is right and words in verdict.sentence
    assert " at 0x" not in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        (9, True, "Recomputing"),
        (12, True, "misses nothing"),
        (13, False, "more than 200 kB"),
        (8.0, False, "35.5 % off: more than 35 %"),
        (np.array([9, 10]), False, "got an array of shape (2,)"),
        (float("nan"), False, "got float nan"),
        (0, False, "from 1 to 56"),
        (57, False, "from 1 to 56"),
        (9.5, False, "whole number"),
        (True, False, "whole number"),
        ("ten", False, ""),
        (..., None, ""),
    ],
)
def test_window(answer, right, words):
    verdict = exercises.window(answer)
    assert verdict.right is right and words in verdict.sentence


def test_a_window_of_many_thousand_digits():
    assert exercises.window(10**6000).sentence.endswith("got an int of more than 39 digits.")


@pytest.mark.parametrize(
    ("answer", "right", "words"),
    [
        ((8192, 36864, 52.13), True, "36,864"),
        ((32, 36864, 52.13), False, "one GPU sees"),
        ((6553.6, 36864, 52.13), False, "no images"),
        ((8192, 46080, 52.13), False, "80 %"),
        ((8192, 57600, 52.13), False, "multiply"),
        ((8192, 144, 52.13), False, "one of the GPUs"),
        ((8192, 36864, 3127.85), False, "seconds"),
        ((8192, 36864, 0.8689), False, "hours"),
        ((8192, 36864, 41.7), False, "80 %"),
        ((8192, 36864, 0.58), False, "one epoch"),
        ((8192, 36864, 3127), False, "those are seconds"),
        ((8192, 36864, 50), False, "Minutes: It is not 50."),
        ((8192, 30000, 50), False, "Images a second: It is not 30000."),
        ((8192, ..., ...), None, ""),
        (("a", 1, 2), False, "Batch"),
    ],
)
def test_cluster(answer, right, words):
    verdict = exercises.cluster(*answer)
    assert verdict.right is right and words in verdict.sentence

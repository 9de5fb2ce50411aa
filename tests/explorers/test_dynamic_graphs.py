"""The classifier's depth depends on the digit, and graph and gradient are those of the call."""

import numpy as np
import pytest

from toolkit.autograd import Variable, numerical_gradient
from toolkit.autograd import functions as F
from toolkit.explorers import dynamic_graphs, explore_dynamic_graphs
from toolkit.explorers.adaptive_depth import (
    MOST,
    all_confidences,
    held_out,
    repetitions_needed,
    think,
    trained_network,
)
from toolkit.explorers.dynamic_graphs import SHOWN, call


def test_training_gives_a_classifier_that_is_right_mostly_at_every_depth():
    network, digits = trained_network(), held_out()
    h = F.tanh(F.linear(digits.images.reshape(-1, 64), network.U))
    for _ in range(MOST + 1):
        right = F.linear(h, network.W).numpy().argmax(axis=1) == digits.labels
        assert right.mean() > 0.8
        h = F.tanh(F.linear(h, network.V))


def test_every_call_gives_weights_of_its_own():
    first, second = trained_network(), trained_network()
    assert not np.shares_memory(first.V.data, second.V.data)
    np.testing.assert_array_equal(first.V.data, second.V.data)
    first.V.data[:] = 0
    assert np.abs(trained_network().V.data).max() > 0
    assert all(weight.grad is None for weight in second.weights)
    digits = held_out()
    digits.row(0)[:] = 7
    assert digits.images[0].max() <= 1


@pytest.mark.parametrize("sure", [0.5, 0.9, 0.98])
def test_one_digit_at_a_time_agrees_with_all_at_once(sure):
    network, digits = trained_network(), held_out()
    needed, everyone = repetitions_needed(sure), all_confidences()
    assert everyone.shape == (MOST + 1, len(digits.labels))
    for index in range(40):
        thought = think(Variable(digits.row(index)), network, sure)
        assert thought.repetitions == needed[index]
        np.testing.assert_allclose(thought.confidences, everyone[: needed[index] + 1, index], rtol=1e-12)
        assert thought.confidences[-1] >= sure or thought.repetitions == MOST
        assert all(value < sure for value in thought.confidences[:-1])


def test_thresholds_nobody_or_everybody_meets():
    network, row = trained_network(), held_out().row(0)
    assert think(Variable(row), network, 0.0).repetitions == 0
    assert think(Variable(row), network, 1.1).repetitions == MOST
    assert think(Variable(row), network, 1.1, most=0).repetitions == 0


@pytest.mark.parametrize("index", [5, 0, 18, 1])
def test_graph_grows_by_two_nodes_a_repetition(index):
    result = call(index, 0.9)
    depth = result.repetitions
    assert len(result.graph.nodes) == 7 + 2 * depth + (depth > 0)
    assert result.depth_counts[depth] >= 1 and sum(result.depth_counts) == len(held_out().labels)


@pytest.mark.parametrize("index", [5, 18])
def test_gradient_is_that_of_the_path_taken(index):
    result = call(index, 0.9)
    network, digits = trained_network(), held_out()

    def loss(x):
        thought = think(x, network, 2.0, most=result.repetitions)
        return F.cross_entropy(thought.logits, digits.labels[index : index + 1])

    (slopes,) = numerical_gradient(loss, [digits.row(index)])
    np.testing.assert_allclose(result.gradient.reshape(1, 64), slopes, atol=1e-7)


def test_view_over_all_digits_and_thresholds():
    view = explore_dynamic_graphs()
    assert view.error is None and "repeated 3 times" in view.text
    sizes, depths = set(), set()
    for index in range(SHOWN):
        view.controls["index"].value = index
        assert view.error is None
        sizes.add((view.drawn.width, view.drawn.height))
        depths.add(view.result.repetitions)
    assert len(sizes) == 1, "the page holds still"
    assert view.drawn.width <= 720
    assert {0, 1, 3, 5} <= depths
    view.controls["index"].value = 1
    assert "an 8" in view.text and "gave up" in view.text
    view.controls["sure"].value = 0.5
    assert view.error is None and view.result.repetitions < 5


def test_a_confidence_just_short_of_the_threshold_is_not_written_like_it():
    assert dynamic_graphs._digits(0.976, 0.98) == "0.976"
    assert dynamic_graphs._digits(0.976, 0.9) == dynamic_graphs._digits(0.984, 0.98) == "0.98"

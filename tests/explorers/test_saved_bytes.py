"""The bytes followed are the nodes' own, recomputation changes no gradient, truncation changes it as it must."""

import numpy as np
import pytest

from toolkit.autograd import Variable, graph
from toolkit.autograd import functions as F
from toolkit.explorers import explore_saved_bytes, saved_bytes
from toolkit.explorers.saved_bytes import NETWORKS, STEPS, WINDOWS, AliveBytes, describe, draw, run_watched


def test_bytes_are_counted_once_and_released_with_their_nodes():
    w = Variable(np.full((3, 4), 0.1), requires_grad=True)
    with AliveBytes([w]) as alive:
        y = F.tanh(w * 2.0)  # multiply keeps nothing of w, tanh its output
        z = F.sum(y * y)  # multiply keeps that very array
        assert alive.curve == [0, 0, 96, 96, 96] and dict(alive.kept) == {"tanh": 96}
        z.backward()
    assert alive.curve[-1] == 0 and max(alive.curve) == 96
    assert dict(alive.calls) == {"multiply": 2, "tanh": 1, "sum": 1}


def test_parameters_are_not_counted():
    w = Variable(np.ones((3, 4)), requires_grad=True)
    with AliveBytes([w]) as alive:
        F.linear(Variable(np.ones((2, 4))), w)
    assert max(alive.curve) == 64
    with AliveBytes([]) as alive:
        F.linear(Variable(np.ones((2, 4)), requires_grad=True), w)
    assert max(alive.curve) == 64 + 96


@pytest.mark.parametrize("network", ["convnet", "deep net"])
def test_the_sum_is_what_the_graph_says(network):
    made = {"convnet": saved_bytes._convnet, "deep net": saved_bytes._deep}[network]()
    h = made.x
    for block in made.blocks:
        h = block(h)
    parameters = sum(weight.data.nbytes for weight in made.weights.values())
    cost = run_watched(network)
    # The first layer's weight is not kept: nobody wants the gradient of the images.
    first = next(iter(made.weights.values())).data.nbytes
    assert sum(cost.kept.values()) == graph(h).saved_bytes - (parameters - first) == cost.peak


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("recomputed", [False, True])
def test_every_byte_is_released(network, recomputed):
    for window in (0, 14) if network == "recurrent net" else (0,):
        cost = run_watched(network, recomputed, window)
        assert cost.curve[0] == cost.curve[-1] == 0 and min(cost.curve) == 0


@pytest.mark.parametrize("network", NETWORKS)
def test_recomputing_costs_operations_and_no_gradient(network):
    cost, full = run_watched(network, True), run_watched(network, False)
    assert cost.gradient_difference < 1e-6 and full.gradient_difference == 0
    assert cost.peak < 0.75 * full.peak and cost.full == full.curve and cost.full_kept == full.kept
    assert cost.full_operations < cost.operations <= 2.2 * cost.full_operations
    assert "the gradient" in describe(cost) and "is the same" in describe(cost)


def test_shorter_windows_keep_less_and_miss_more():
    costs = [run_watched("recurrent net", False, window) for window in WINDOWS]
    assert [cost.peak for cost in costs] == sorted((cost.peak for cost in costs), reverse=True)
    differences = [cost.gradient_difference for cost in costs]
    assert differences == sorted(differences) and differences[0] == 0 and 0.5 < differences[-1] < 1
    # A window of half the rows keeps half, and so on.
    for cost in costs[1:4]:
        assert cost.peak / costs[0].peak == pytest.approx(cost.window / STEPS, rel=0.1)


def test_a_window_of_all_rows_cuts_nothing_that_counts():
    whole = run_watched("recurrent net", False, STEPS)
    assert whole.gradient_difference == 0 and whole.curve == whole.full


def test_the_full_gradient_is_that_of_the_written_out_loss():
    w, rows = saved_bytes._cell_weights(), [row.astype(np.float64) for row in saved_bytes._rows()]
    for weight in w.values():
        weight.data = weight.data.astype(np.float64)
    inputs, targets = rows[:STEPS], rows[STEPS:]

    def loss(recur: np.ndarray) -> float:
        h, total = np.zeros((len(inputs[0]), recur.shape[0])), 0.0
        for row, following in zip(inputs, targets, strict=True):
            h = np.tanh(row @ w["read"].data.T + h @ recur.T)
            total += ((h @ w["out"].data.T - following) ** 2).sum()
        return total / (len(inputs[0]) * STEPS)

    recur = w["recur"].data
    direction = np.random.default_rng(0).normal(size=recur.shape)
    step = 1e-5
    slope = (loss(recur + step * direction) - loss(recur - step * direction)) / (2 * step)
    ours = saved_bytes._run("recurrent net", False, 0).gradient.reshape(recur.shape)
    assert (ours * direction).sum() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("transformer",), "network"), (("recurrent net", False, -1), "window"), (("convnet", False, 57), "window")],
)
def test_what_is_not_there_is_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        run_watched(*arguments)


def test_view():
    view = explore_saved_bytes()
    assert view.error is None and "convnet" in view.text and view.controls["window"].disabled
    assert "instead of" in view.drawn.svg.to_string()
    view.controls["recomputed"].value = False
    assert "instead" not in view.drawn.svg.to_string() and "blocks recomputed" not in view.text
    view.controls["network"].value = "recurrent net"
    assert not view.controls["window"].disabled
    view.controls["window"].value = 14
    assert view.error is None and "every 14 rows" in view.text and "27 % off" in view.text
    view.controls["network"].value = "deep net"
    assert view.error is None and "every 14 rows" not in view.text
    view.reset()
    assert view.controls["window"].disabled and "convnet" in view.text


def test_drawing_takes_every_setting():
    for network in NETWORKS:
        for recomputed in (False, True):
            assert network in draw(run_watched(network, recomputed, 7)).to_string()

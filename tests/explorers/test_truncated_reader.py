"""The reader's window is what it says: gradients stop there, the values do not change, and memory falls with it."""

import numpy as np
import pytest
import torch

import toolkit.autograd.links as L
from toolkit.autograd import Variable, grad, graph
from toolkit.autograd import functions as F
from toolkit.explorers import explore_truncated_reader, truncated_reader
from toolkit.explorers.truncated_reader import ROWS, WAIT, Reader, read, train


@pytest.fixture
def reader():
    with L.default_arrays("numpy", dtype="float64"):
        return Reader(torch.Generator().manual_seed(0))


@pytest.fixture
def digits():
    return np.random.default_rng(0).uniform(size=(3, ROWS, ROWS))


@pytest.mark.parametrize("window", [1, WAIT - 1, WAIT, WAIT + 1, WAIT + 3, ROWS + WAIT])
def test_the_gradient_reaches_as_many_rows_as_the_window_says(reader, digits, window):
    x = Variable(digits, requires_grad=True)
    logits = reader(x, window)
    np.testing.assert_allclose(logits.data, reader(digits).data, rtol=0, atol=0)
    reached = max(0, window - WAIT)
    if not reached:
        assert all(node.label != "leaf" or node.shape != x.shape for node in graph(logits).nodes)
        return
    slope = np.abs(grad(F.sum(logits), x).numpy()).sum(axis=(0, 2))
    assert (slope[ROWS - reached :] > 0).all() and (slope[: ROWS - reached] == 0).all()


def test_memory_falls_with_the_window():
    kept = [train(window, n_epochs=1)[1] for window in (1, 6, 20)]
    assert kept == sorted(kept) and kept[0] < kept[2] / 10


def test_a_run_is_reproduced_and_starts_at_chance():
    accuracy, _ = train.__wrapped__(1, 1)
    assert accuracy == train(1, 1)[0]
    assert len(accuracy) == 2 and accuracy[0] < 25 < accuracy[1]


@pytest.mark.parametrize("window", [0, 21, -1])
def test_a_window_out_of_range_is_refused(window):
    with pytest.raises(ValueError, match="window"):
        train(window)
    with pytest.raises(ValueError, match="window"):
        read(window)


def test_the_view_shows_the_point_untouched(monkeypatch):
    monkeypatch.setattr(truncated_reader, "EPOCHS", 1)
    monkeypatch.setattr(truncated_reader, "train", lambda window: train(window, 1))
    view = explore_truncated_reader()
    assert "the gradient reaches no row of the digit" in view.text and "Through all 20 steps" in view.text
    view.controls["window"].value = 16
    assert "the last 4 of the 8 rows" in view.text
    view.controls["window"].value = 20
    assert "every row" in view.text and "Through all" not in view.text

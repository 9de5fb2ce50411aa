"""The training that a reader starts is a real one: it follows a loop by hand, moves, stops and can be compared."""

import numpy as np
import pytest
import torch

from toolkit.autograd import functions as F
from toolkit.autograd import links, models
from toolkit.autograd.training import SerialIterator, TupleDataset, concat_examples
from toolkit.datasets import load
from toolkit.explorers import explore_live_training, live_training
from toolkit.explorers.live_training import Comparison, describe, draw, train


def test_it_follows_a_loop_by_hand():
    *_, curves = train("SGD", 0.1, n_images=100, n_epochs=1)
    generator = torch.Generator().manual_seed(0)
    with links.default_arrays("torch", dtype=torch.float64):
        net = models.ConvNet(generator=generator)
    digits = load("mnist").train[:100]
    images, labels = digits.as_float(torch.float64)[:, None], digits.labels
    losses = []
    for batch in SerialIterator(TupleDataset(images, labels), 50, repeat=False, generator=generator):
        x, t = concat_examples(batch)
        loss = F.cross_entropy(net(x), t)
        losses.append(loss.item())
        net.cleargrads()
        loss.backward()
        for parameter in net.params():
            parameter.data = parameter.data - 0.1 * parameter.grad
    assert curves.n_iterations == 2
    np.testing.assert_allclose(curves.losses, losses, rtol=1e-12)
    assert np.isclose(losses[0], np.log(10), atol=0.2)


def test_curves_grow_and_clipping_holds_back():
    runs = {clip: list(train("SGD", 0.1, clip, n_images=100, n_epochs=2)) for clip in (None, 1e-6)}
    assert [len(curves.losses) for curves in runs[None]] == [1, 2, 3, 4]
    assert [at for at, _ in runs[None][-1].accuracy] == [1, 2, 3, 4]
    free, held = (runs[clip][-1] for clip in (None, 1e-6))
    assert free.losses[-1] < free.losses[0] and abs(held.losses[-1] - held.losses[0]) < 0.1
    assert "clipped at 1e-06" in held.label


def test_pictures_and_sentences_of_every_moment():
    moments = list(train("MomentumSGD", 0.01, n_images=150, n_epochs=1))
    first = moments[-1]
    assert "the loss is" in describe(Comparison(moments[0], first))
    assert "the first run" in describe(Comparison(moments[1], first))
    assert "the first run" not in describe(Comparison(first, first))
    for moment in moments:
        assert "MomentumSGD" in draw(Comparison(moment, first)).to_string()


@pytest.mark.parametrize(
    ("argument", "values"),
    [("optimizer", {"optimizer": "Magic"}), ("n_images", {"n_images": 4001}), ("n_epochs", {"n_epochs": 0})],
)
def test_bad_arguments_are_named(argument, values):
    with pytest.raises(ValueError, match=argument):
        next(train(**values))


def test_the_view_trains_and_stops(monkeypatch):
    short = train
    monkeypatch.setattr(
        live_training, "train", lambda *choice: short(*(choice[:3] or ("Adam", 1e-3, None)), n_images=100, n_epochs=2)
    )
    view = explore_live_training()
    assert "held-out digits are named right" in view.text
    view.controls["optimizer"].value = "SGD"
    view.run()
    assert view.join(60) and "SGD" in view.text and "the first run" in view.text
    view.reset()
    assert "SGD" not in view.text

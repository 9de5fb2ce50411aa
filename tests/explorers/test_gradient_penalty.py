"""The gradient of the gradient's length is right, and the penalty does what it is for."""

import numpy as np
import pytest
import torch

from toolkit.autograd import Variable
from toolkit.autograd import functions as F
from toolkit.explorers import explore_gradient_penalty
from toolkit.explorers.gradient_penalty import (
    STEPS,
    WEIGHTS,
    compute,
    describe,
    draw,
    mixtures,
    score,
    slope_lengths,
    train_critic,
)


def test_the_penaltys_gradient_is_torchs():
    random = np.random.default_rng(1)
    arrays = [random.normal(size=shape) / 3 for shape in ((5, 7), (5, 5), (1, 5))]
    images = random.normal(size=(4, 7))
    ours = [Variable(array, requires_grad=True) for array in arrays]
    F.mean((slope_lengths(images, ours, create_graph=True) - 1.0) ** 2).backward()

    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    x = torch.tensor(images, requires_grad=True)
    soft, linear = torch.nn.functional.softplus, torch.nn.functional.linear
    scores = linear(soft(linear(soft(linear(x, theirs[0])), theirs[1])), theirs[2])
    np.testing.assert_allclose(score(Variable(images), ours).numpy(), scores.detach(), rtol=1e-10)
    (slopes,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    ((torch.sqrt((slopes**2).sum(1) + 1e-12) - 1) ** 2).mean().backward()
    for mine, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad, their.grad, rtol=1e-8, atol=1e-12)


def test_mixtures_lie_between():
    high, low = np.ones((3, 2)), np.zeros((3, 2))
    shares = np.array([[0.0], [0.25], [1.0]])
    assert mixtures(high, low, shares)[:, 0].tolist() == [0.0, 0.25, 1.0]


def test_more_weight_comes_closer_to_one():
    off = [abs(train_critic(weight).slopes[-1].mean() - 1) for weight in WEIGHTS]
    assert off == sorted(off, reverse=True) and off[-1] < 0.15 and off[0] > 1000
    for weight in WEIGHTS:
        training = train_critic(weight)
        assert training.slopes.shape[0] == training.gaps.shape[0] == STEPS + 1
        assert training.gaps[-1] > 1, "it no longer tells the digits apart"
        assert training.slopes[0].tolist() == train_critic(0.0).slopes[0].tolist()


@pytest.mark.parametrize("arguments", [(-1.0,), (1.0, -1)])
def test_out_of_range(arguments):
    with pytest.raises(ValueError, match="train_critic"):
        train_critic(*arguments)


def test_no_steps():
    assert train_critic(1.0, 0).gaps.shape == (1,)


def test_view():
    view = explore_gradient_penalty()
    assert view.error is None and "penalty weight 10" in view.text and "mean length 1.0" in view.text
    view.controls["step"].value = 0
    assert view.error is None and "after 0 steps" in view.text
    view.controls["weight"].value = 0.0
    assert view.error is None and "without a penalty the gradient" in view.text
    assert "after 1 step with" in describe(compute(10.0, 1))
    assert all(words in view.text for words in ("score threes high and eights low", "a held-out three and a held-out"))
    assert "Step 60: scores of threes and eights, mean slope 1.07" in draw(compute()).to_string()

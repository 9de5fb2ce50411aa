"""The live training does what torch does, and its first step is the formula of the lesson."""

import math

import pytest
import torch

from toolkit.datasets import load
from toolkit.explorers.first_training import Moment, describe, draw, train


@pytest.mark.parametrize("rate", [0.5, 10.0])
def test_the_same_as_torch(rate):
    digits = load("digits")
    images, labels = digits.train.as_float(torch.float64, flat=True), digits.train.labels
    held_out = digits.test.as_float(torch.float64, flat=True)
    weights = torch.zeros(10, 64, dtype=torch.float64, requires_grad=True)
    ours = train(rate, "cpu", n_steps=8)
    for step in range(9):
        with torch.no_grad():
            assert torch.allclose(ours.templates[step].flatten(1), weights, atol=1e-10)
            right = ((held_out @ weights.T).argmax(1) == digits.test.labels).double().mean()
        assert ours.accuracy[step] == pytest.approx(100 * float(right))
        loss = torch.nn.functional.cross_entropy(images @ weights.T, labels)
        (gradient,) = torch.autograd.grad(loss, weights)
        weights = (weights - rate * gradient).detach().requires_grad_()


def test_the_first_step_is_class_mean_less_mean():
    digits = load("digits")
    images, labels = digits.train.as_float(torch.float64, flat=True), digits.train.labels
    step = train(1.0, "cpu", n_steps=1).templates[1].flatten(1)
    for digit in range(10):
        share = float((labels == digit).double().mean())
        wanted = share * images[labels == digit].mean(0) - 0.1 * images.mean(0)
        assert torch.allclose(step[digit], wanted, atol=1e-12)


def test_what_the_lesson_says_is_so():
    usual, large = train(2.0, "cpu"), train(10.0, "cpu")
    assert usual.accuracy[0] == 10.0  # all templates alike
    assert usual.accuracy[1] == pytest.approx(78, abs=1)
    assert 5 < usual.accuracy[-1] - usual.accuracy[1] < 15
    assert [round(share) for share in large.accuracy[1:5]] == [78, 56, 29, 29]
    assert large.accuracy[-1] > usual.accuracy[-1]


def test_words():
    training = train(2.0, "cpu")
    assert "After no step" in describe(Moment(training, 0))
    assert "After 1 step with" in describe(Moment(training, 1))
    assert "after 50 steps" in describe(Moment(training, 49))
    assert describe(Moment(training, 50)).lower().count("after") == 1
    assert "of the 360 held-out digits" in describe(Moment(training, 2))
    assert "Step 2:" in draw(Moment(training, 2)).to_string()


@pytest.mark.parametrize(("rate", "n_steps"), [(0.0, 1), (-1.0, 1), (math.nan, 1), (1.0, -1)])
def test_nonsense_is_refused(rate, n_steps):
    with pytest.raises(ValueError, match="train"):
        train(rate, "cpu", n_steps=n_steps)


def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="cuda:99"):
        train(1.0, "cuda:99")


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    train(3.0, "cpu", n_steps=2)
    assert torch.equal(state, torch.get_rng_state())

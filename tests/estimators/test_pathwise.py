"""Derivatives of costs through values: against autograd by hand, and what a cost without one is told."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.estimators.problems import bernoulli_chain
from toolkit.estimators.chains import Factorized, Layered
from toolkit.estimators.pathwise import attached, gradient_of_signals


def test_total_derivatives_of_a_chain():
    problem = bernoulli_chain().counted()
    with torch.enable_grad():
        values, logits = [], []
        for layer in range(3):
            logits.append(
                problem.logits(layer, values[-1]) if layer else attached(problem.logits(0, None).expand(5, -1, -1))
            )
            values.append(torch.sigmoid(logits[-1]))
    found = gradient_of_signals(problem, values, logits, logits, operation="test")

    def cost(layer: int, offset: Tensor) -> Tensor:
        value: Tensor | None = None
        kept = []
        for number in range(3):
            here = problem.logits(number, value)
            value = torch.sigmoid(here + offset if number == layer else here)
            kept.append(value)
        return problem.f(*kept).sum()

    for layer in range(3):
        offset = torch.zeros(2, problem.layers[layer].size, dtype=torch.float64, requires_grad=True)
        (expected,) = torch.autograd.grad(cost(layer, offset), offset)
        torch.testing.assert_close(found.gradients[layer], expected.expand(5, -1, -1))
    assert problem.rows == 10
    assert not any(signal.requires_grad for signal in found.signals)


def test_with_respect_to_the_values_themselves():
    problem = Factorized(torch.zeros(3, dtype=torch.float64), lambda z: (z**3).sum(-1))
    value = attached(torch.tensor([[0.5, 0.25, 1.0]], dtype=torch.float64))
    found = gradient_of_signals(problem, [value], [problem.logits(0, None)], [value], operation="test")
    torch.testing.assert_close(found.gradients[0], 3 * value.detach() ** 2)


def test_a_layer_the_cost_does_not_use_has_derivative_zero():
    problem = Layered(torch.zeros(2), [lambda x: x * 2], lambda x, y: x.sum(-1))
    values = [attached(torch.rand(4, 2)), attached(torch.rand(4, 2))]
    found = gradient_of_signals(problem, values, values, values, operation="test")
    assert torch.equal(found.gradients[0], torch.ones(4, 2))
    assert torch.equal(found.gradients[1], torch.zeros(4, 2))


@pytest.mark.parametrize(
    "cost",
    [
        lambda z: (z > 0.5).float().sum(-1),
        lambda z: z.detach().sum(-1),
        lambda z: z.long().float().sum(-1),
        lambda z: torch.from_numpy(z.numpy()).sum(-1),
        lambda z: torch.from_numpy(np.asarray(z.detach())).sum(-1),
        lambda z: z.zero_().sum(-1),
        lambda z: torch.ones(z.shape[:-1]),
        lambda z: torch.nn.Parameter(torch.ones(())) * z.detach().sum(-1),
    ],
    ids=["comparison", "detach", "integers", "numpy", "detached numpy", "in place", "constant", "own parameter only"],
)
def test_a_cost_without_derivative_is_named(cost):
    problem = Factorized(torch.zeros(3), cost)
    value = attached(torch.rand(4, 3))
    with pytest.raises(TypeError, match=r"Name: bad argument 'f'\n.*differentiable with respect to the values"):
        gradient_of_signals(problem, [value], [value], [value], operation="Name")


def test_not_finite():
    value = attached(torch.zeros(4, 3))
    root = Factorized(torch.zeros(3), lambda z: z.sqrt().sum(-1))
    with pytest.raises(ValueError, match=r"'f'\n.*derivative that is finite"):
        gradient_of_signals(root, [value], [value], [value], operation="Name")
    broken = Factorized(torch.zeros(3), lambda z: torch.where(z == z.round(), z, torch.nan).sum(-1))
    half = attached(torch.full((4, 3), 0.5))
    with pytest.raises(ValueError, match=r"Name: bad argument 'f'\n.*relaxed\n.*NaN"):
        gradient_of_signals(broken, [half], [half], [half], operation="Name", relaxed=True)


def test_errors_of_the_cost_itself_come_through():
    problem = Factorized(torch.zeros(3), lambda z: z @ torch.ones(4))
    value = attached(torch.rand(4, 3))
    with pytest.raises(RuntimeError, match=r"size mismatch|shapes"):
        gradient_of_signals(problem, [value], [value], [value], operation="Name")

"""The same noise gives the same gradients on every device, up to rounding: for every estimator of the registry."""

import pytest
import torch
from torch import Tensor

from tests.estimators.problems import waves
from toolkit.estimators import (
    RAM,
    Factorized,
    Layered,
    SigmoidBeliefBound,
    SigmoidBeliefNetwork,
    entries,
    exact,
    find_entry,
    surrogate,
)
from toolkit.estimators.problems import Problem

DEVICES = [
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
    ),
    "cpu",
]


def bits(device: str) -> Problem:
    a, b = waves(1, 6).to(device), waves(2, 6, 6).to(device)
    return Factorized(waves(3, 6).to(device), lambda z: (z @ a - 0.3) ** 2 + 0.5 * torch.tanh(z @ b).sum(-1))


def chain(device: str) -> Problem:
    weights, a, b = (waves(10, 2, 3, 3, 4), waves(11, 2, 3), waves(12, 3, 4))
    weights, a, b = weights.to(device), a.to(device), b.to(device)

    def cost(x: Tensor, y: Tensor) -> Tensor:
        return ((x * a).sum((-2, -1)) + (y * b).sum((-2, -1))) ** 2

    transition = [lambda x: torch.einsum("...ik,iknm->...nm", x, weights)]
    return Layered(waves(13, 2, 3).to(device), transition, cost, variables="categorical")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", [bits, chain])
@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_the_same_noise_gives_the_same_gradients(name: str, make, device: str):
    here, there = make("cpu"), make(device)
    if not find_entry(name).supports(here):
        pytest.skip("no form for this problem")
    estimators = [find_entry(name).make(problem) for problem in (here, there)]
    # A generator on the CPU: its numbers go to whichever device the problem is on.
    found = [
        estimator(problem, 50, torch.Generator().manual_seed(1)).gradients
        for estimator, problem in zip(estimators, (here, there), strict=True)
    ]
    for one, other in zip(*found, strict=True):
        assert other.device.type == device
        torch.testing.assert_close(other.cpu(), one, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("device", DEVICES)
def test_enumeration_agrees(device: str):
    for one, other in zip(exact(chain("cpu")).gradients, exact(chain(device)).gradients, strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_a_belief_network_gets_the_same_parameter_gradients(device: str):
    gradients = []
    for where in ("cpu", device):
        generator = torch.Generator().manual_seed(2)
        network = SigmoidBeliefNetwork((12, 5, 4), generator=generator, device=where, dtype=torch.float64)
        x = (torch.rand(7, 12, generator=generator) < 0.4).double().to(where)
        problem = SigmoidBeliefBound(network, x)
        surrogate(problem, RAM()(problem, 3, generator)).backward()
        gradients.append([parameter.grad.cpu() for parameter in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-11)

"""Two engines, one paper: IMSAT by the toolkit's own differentiation gives torch's losses, step for step."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from toolkit.experiments.imsat_chainer import Encoder, loss_terms, train, vat_direction
from toolkit.imsat.models import network
from toolkit.imsat.neighbours import neighbour_distances
from toolkit.imsat.perturbations import Surroundings, VirtualAdversarial
from toolkit.imsat.training import ClusterInformation, Training

N_STEPS = 50
SEED = 11


@pytest.fixture(scope="module")
def points() -> torch.Tensor:
    return torch.tensor(load_digits().data[:500] / 8 - 1)


def torch_network() -> torch.nn.Sequential:
    generator = torch.Generator().manual_seed(3)
    return network(64, 10, hidden=(40, 30), initialization="official", generator=generator).double()


def encoder_like(net: torch.nn.Sequential) -> Encoder:
    return Encoder(tuple(layer.weight.detach().numpy() for layer in net if isinstance(layer, torch.nn.Linear)))


@pytest.fixture(scope="module")
def both(points):
    radii = neighbour_distances(points, 10)
    net = torch_network()
    encoder = encoder_like(net)
    training = Training(
        net,
        points,
        ClusterInformation(4.0),
        [VirtualAdversarial(alpha=0.4)],
        torch.Generator().manual_seed(SEED),
        lam=0.3,
        radii=radii,
        batch_size=100,
    )
    theirs = training.run(N_STEPS)
    ours = train(
        encoder,
        points.numpy(),
        radii.numpy(),
        N_STEPS,
        torch.Generator().manual_seed(SEED),
        batch_size=100,
        alpha=0.4,
        lam=0.3,
    )
    return net, theirs, encoder, ours


def test_the_losses_are_torchs_to_nine_digits(both):
    _, theirs, _, ours = both
    assert len(ours) == N_STEPS and set(ours[0]) == set(theirs.metrics)
    for name in theirs.metrics:
        found = np.array([step[name] for step in ours])
        np.testing.assert_allclose(found, theirs[name], rtol=0, atol=1e-9, err_msg=name)


def test_it_learned_something(both):
    _, theirs, _, _ = both
    assert theirs["loss"][-5:].mean() < theirs["loss"][:5].mean() - 1e-3
    assert theirs["self-augmentation"].max() > 1e-3


def test_so_are_the_parameters_and_the_running_statistics(both):
    net, _, encoder, _ = both
    pairs = [(net[place].weight, link.W) for place, link in ((0, encoder.fc1), (3, encoder.fc2), (6, encoder.fc3))]
    pairs += [(net[place].bias, link.b) for place, link in ((0, encoder.fc1), (3, encoder.fc2), (6, encoder.fc3))]
    pairs += [(net[place].weight, link.gamma) for place, link in ((1, encoder.bn1), (4, encoder.bn2))]
    # A bias before the normalisation has a gradient of 0 up to rounding, which Adam blows up: any value is right.
    for theirs, ours in pairs[:3] + pairs[5:]:
        np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=0, atol=1e-7)
    for place, link in ((1, encoder.bn1), (4, encoder.bn2)):
        np.testing.assert_allclose(link.avg_var, net[place].running_var.numpy(), rtol=1e-8)


def test_the_direction_leaves_nothing_behind(points):
    net = torch_network()
    encoder = encoder_like(net)
    x = points[:30].numpy()
    logits = encoder(x).data.copy()
    encoder.cleargrads()
    before = encoder.bn1.avg_mean.copy()
    d = np.random.default_rng(0).normal(size=x.shape)
    found = vat_direction(encoder, x, logits, d, xi=2.0, power_iterations=2)
    assert all(parameter.grad is None for parameter in encoder.params())
    assert np.array_equal(encoder.bn1.avg_mean, before)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)


def test_the_direction_is_torchs(points, monkeypatch):
    net, x = torch_network(), points[:30]
    with torch.no_grad():
        logits = net(x)
    d = torch.randn(30, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theirs = VirtualAdversarial(epsilon=1.0, xi=2.0).direction(
        Surroundings(x, logits, net, ClusterInformation.divergence), torch.Generator().manual_seed(1)
    )
    ours = vat_direction(encoder_like(net), x.numpy(), logits.numpy(), d.numpy(), xi=2.0)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-9)


def test_only_the_clean_pass_updates_the_running_statistics(points):
    encoder = encoder_like(torch_network())
    x = points[:50].numpy()
    expected = 0.1 * encoder.fc1(x).data.mean(0)
    loss_terms(encoder, x, np.ones(50), np.random.default_rng(0).normal(size=x.shape))
    np.testing.assert_allclose(encoder.bn1.avg_mean, expected, atol=1e-12)

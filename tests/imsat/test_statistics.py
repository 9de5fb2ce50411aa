"""Running statistics do not see perturbed passes, whatever happens in them."""

import copy

import pytest
import torch
from torch import nn

from toolkit.imsat.statistics import running_statistics_kept

LAYERS = {
    "batch": lambda: nn.BatchNorm1d(4),
    "batch, cumulative": lambda: nn.BatchNorm1d(4, momentum=None),
    "batch, no affine": lambda: nn.BatchNorm1d(4, affine=False),
    "instance": lambda: nn.InstanceNorm1d(4, track_running_stats=True),
}


def batch(seed: int = 0, shift: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 4, 5, generator=generator, dtype=torch.float64) * 2 + shift


def buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.named_buffers()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", LAYERS)
def test_a_pass_inside_uses_its_own_batch_and_leaves_no_trace(name):
    layer = LAYERS[name]().double()
    reference = copy.deepcopy(layer)
    before = buffers(layer)
    with running_statistics_kept(layer):
        inside = layer(batch())
    assert same(buffers(layer), before)
    torch.testing.assert_close(inside, reference(batch()), rtol=0, atol=0)
    assert not same(buffers(reference), before)


@pytest.mark.parametrize("name", LAYERS)
def test_afterwards_they_are_updated_as_ever(name):
    layer, reference = LAYERS[name]().double(), LAYERS[name]().double()
    layer(batch(1))
    with running_statistics_kept(layer):
        layer(batch(2))
        layer(batch(3))
    layer(batch(4))
    reference(batch(1))
    reference(batch(4))
    assert same(buffers(layer), buffers(reference))
    assert set(layer.state_dict()) == set(reference.state_dict())


def test_one_update_and_one_count_a_step():
    layer = nn.BatchNorm1d(4)
    for step in range(3):
        layer(batch(step).float())
        with running_statistics_kept(layer):
            layer(batch(step + 10).float())
        assert layer.num_batches_tracked == step + 1


@pytest.mark.parametrize("name", LAYERS)
def test_an_exception_inside_changes_nothing(name):
    network = nn.Sequential(LAYERS[name]().double(), nn.Flatten())
    before = buffers(network)
    with pytest.raises(ZeroDivisionError), running_statistics_kept(network):
        network(batch())
        raise ZeroDivisionError
    assert same(buffers(network), before)
    network(batch())
    assert not same(buffers(network), before)


def test_one_within_another():
    layer = nn.BatchNorm1d(4).double()
    before = buffers(layer)
    with running_statistics_kept(layer):
        with running_statistics_kept(layer):
            layer(batch())
        layer(batch())
    assert same(buffers(layer), before)
    layer(batch())
    assert layer.num_batches_tracked == 1


def test_layers_in_evaluation_mode_use_their_averages():
    network = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4)).double()
    network(batch())
    network[0].eval()
    expected = network[0](batch(5))
    with running_statistics_kept(network):
        assert torch.equal(network[0](batch(5)), expected)
    assert not network[0].training and network[1].training


def test_layers_without_averages_stay_so():
    layer = nn.BatchNorm1d(4, track_running_stats=False)
    with running_statistics_kept(layer):
        layer(batch().float())
    assert not layer.track_running_stats and layer.running_mean is None


def test_other_modules_are_not_touched():
    network = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.LayerNorm(3), nn.GroupNorm(1, 3))
    with running_statistics_kept(network):
        assert network(torch.ones(2, 4)).shape == (2, 3)
    assert all(module.training for module in network.modules())


def test_gradients_flow_inside_as_outside():
    layer = nn.BatchNorm1d(4).double()
    x = batch().requires_grad_()
    with running_statistics_kept(layer):
        inside = layer(x).pow(3).sum()
    (gradient,) = torch.autograd.grad(inside, x)  # after the statistics are back
    (expected,) = torch.autograd.grad(layer(x).pow(3).sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)

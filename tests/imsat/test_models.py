"""The networks are those of the authors' code, and nothing but the generator decides their weights."""

import math

import pytest
import torch
from torch import nn

from toolkit.imsat.models import network, squared_weights


def made(*sizes: int, seed: int = 0, **options) -> nn.Sequential:
    inputs, *hidden, outputs = sizes
    return network(inputs, outputs, hidden=hidden, generator=torch.Generator().manual_seed(seed), **options)


def test_layers_in_order():
    layers = [type(layer) for layer in made(6, 5, 4, 3)]
    assert layers == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [tuple(layer.weight.shape) for layer in made(6, 5, 4, 3) if isinstance(layer, nn.Linear)] == [
        (5, 6),
        (4, 5),
        (3, 4),
    ]


def test_normalisation_as_in_the_authors_code():
    normalisation = made(6, 5, 3)[1]
    assert normalisation.eps == 2e-5 and normalisation.momentum == 0.1
    assert torch.equal(normalisation.weight, torch.ones(5)) and torch.equal(normalisation.bias, torch.zeros(5))


@pytest.mark.parametrize(
    ("initialization", "inner", "last"),
    [("small", 0.1 * math.sqrt(2), 1e-4 * math.sqrt(2)), ("official", math.sqrt(0.1), 0.01)],
)
def test_scales_of_the_first_weights(initialization, inner, last):
    layers = [layer for layer in made(400, 300, 200, initialization=initialization) if isinstance(layer, nn.Linear)]
    for layer, scale, inputs in zip(layers, (inner, last), (400, 300), strict=True):
        assert float(layer.weight.std()) * math.sqrt(inputs) == pytest.approx(scale, rel=0.02)
        assert abs(float(layer.weight.mean())) < scale / math.sqrt(inputs) / 20
        assert not layer.bias.any()


def test_predictions_start_uniform():
    x = torch.randn(100, 20, generator=torch.Generator().manual_seed(1))
    assert made(20, 50, 10)(x).softmax(1).sub(0.1).abs().max() < 1e-3


def test_without_hidden_layers_it_is_linear():
    assert [type(layer) for layer in made(6, 3)] == [nn.Linear]


def test_the_generator_alone_decides():
    state = torch.get_rng_state()
    one, same, other = made(6, 5, 3), made(6, 5, 3), made(6, 5, 3, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one[0].weight, other[0].weight)


def test_without_a_generator_two_networks_differ():
    assert not torch.equal(network(6, 3, hidden=())[0].weight, network(6, 3, hidden=())[0].weight)


def test_another_default_device_does_not_matter():
    with torch.device("meta"):
        assert made(6, 5, 3)[0].weight.device.type == "cpu"
        assert made(6, 5, 3)[1].running_mean.device.type == "cpu"


@pytest.mark.parametrize(
    ("sizes", "options", "name"),
    [
        ((0, 3), {}, "n_inputs"),
        ((4, 0), {}, "n_outputs"),
        ((4, 0, 3), {}, "hidden"),
        ((4, -2, 3), {}, "hidden"),
    ],
)
def test_bad_sizes_are_named(sizes, options, name):
    with pytest.raises(ValueError, match=name):
        made(*sizes, **options)


def test_squared_weights_are_those_of_matrices():
    built = made(6, 5, 3, initialization="official")
    for parameter in built.parameters():
        nn.init.normal_(parameter)
    expected = sum(float(layer.weight.detach().square().sum()) for layer in built if isinstance(layer, nn.Linear))
    found = squared_weights(built)
    assert float(found) == pytest.approx(expected, rel=1e-6)
    found.backward()
    assert built[0].bias.grad is None and built[1].weight.grad is None
    torch.testing.assert_close(built[0].weight.grad, 2 * built[0].weight.detach())


def test_no_matrices_have_no_weight():
    assert float(squared_weights(nn.BatchNorm1d(3))) == 0


def test_weights_are_drawn_in_the_type_asked_for():
    double, single = made(6, 5, 3, dtype=torch.float64), made(6, 5, 3)
    assert all(tensor.dtype == torch.float64 for tensor in double.state_dict().values() if tensor.is_floating_point())
    first = double[0].weight
    assert not torch.equal(first, first.float().double())  # drawn in double precision, not rounded to single
    assert single[0].weight.dtype == torch.float32
    assert torch.equal(made(6, 5, 3, dtype=torch.float32)[0].weight, single[0].weight)

"""The U-net: sizes of every kind, a fresh one answers zero, and it agrees with the same thing written out."""

import pytest
import torch
import torch.nn.functional as F

from toolkit.adversarial.unet import UNet


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def awake(network, seed=9):
    """Give the last convolution, which starts at zero, weights."""
    with torch.no_grad():
        network.last.weight.copy_(torch.randn(network.last.weight.shape, generator=seeded(seed)))
    return network


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (32, 32), (29, 31), (5, 7), (1, 1), (3, 40), (2, 2)])
def test_the_size_of_the_output_is_that_of_the_input(size):
    network = awake(UNet(3, (4, 5, 6), 2, generator=seeded())).eval()
    outputs = network(torch.rand(2, 3, *size))
    assert outputs.shape == (2, 2, *size)
    assert outputs.isfinite().all()


def test_default_output_has_the_channels_of_the_input():
    assert UNet(3, (4, 4)).eval()(torch.rand(1, 3, 6, 6)).shape == (1, 3, 6, 6)
    assert UNet().eval()(torch.rand(0, 1, 8, 8)).shape == (0, 1, 8, 8)


def test_a_fresh_network_answers_zero_and_learns_all_the_same():
    network = UNet(1, (4, 6), generator=seeded())
    images = torch.rand(4, 1, 8, 8, generator=seeded())
    assert not network(images).any()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-2)
    losses = []
    for _ in range(15):
        loss = (network(images) - images).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad.any() for parameter in network.parameters())


def test_two_scales_written_out():
    network = awake(UNet(1, (3, 5), 2, generator=seeded(), dtype=torch.float64)).eval()
    images = torch.rand(2, 1, 7, 9, dtype=torch.float64, generator=seeded())

    def block(inputs, stage, stride):
        convolved = F.conv2d(inputs, stage[0].weight, stride=stride, padding=1)
        return (convolved / (1 + 1e-5) ** 0.5).clamp(min=0)  # fresh batch normalisation, evaluation mode

    fine = block(images, network.down[0], 1)
    coarse = block(fine, network.down[1], 2)
    assert coarse.shape == (2, 5, 4, 5)
    back = torch.nn.Upsample(size=(7, 9), mode="bilinear")(coarse)
    expected = F.conv2d(block(torch.cat([back, fine], 1), network.up[0], 1), network.last.weight)
    torch.testing.assert_close(network(images), expected, rtol=1e-12, atol=1e-12)


def test_an_image_does_not_depend_on_its_batch():
    network = awake(UNet(generator=seeded())).eval()
    images = torch.rand(5, 1, 28, 28, generator=seeded())
    alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), alone, rtol=0, atol=1e-5)


def test_the_generator_draws_the_weights_and_the_global_one_is_not_touched():
    before = torch.get_rng_state()
    first, second, third = (UNet(generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    weights = [network.down[0][0].weight for network in (first, second, third)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_more_blocks_and_one_scale():
    assert len(UNet(1, (4, 4), n_blocks=3).down[1]) == 9
    assert awake(UNet(1, (4,))).eval()(torch.rand(1, 1, 4, 4)).shape == (1, 1, 4, 4)


@pytest.mark.parametrize("settings", [{"channels": 0}, {"widths": ()}, {"widths": (4, 0)}, {"n_blocks": 0}])
def test_bad_settings_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        UNet(**settings)

"""The networks are what their papers say: sizes, and the numbers of the same network of ``torch.nn``."""

import numpy as np
import pytest
import torch
from torch import nn

from toolkit.autograd import Variable, no_grad, using_config
from toolkit.autograd import functions as F
from toolkit.autograd.links import default_arrays
from toolkit.autograd.models import MLP, VGG, ConvNet, ResidualBlock, ResNet
from toolkit.experiments.mnist_convnet import torch_network


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n, channels, side, dtype=torch.float64, seed=0):
    return torch.rand(n, channels, side, side, generator=generator(seed), dtype=dtype)


class TorchBlock(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out, eps=2e-5)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out, eps=2e-5)
        self.stride, self.added = stride, n_out - n_in

    def forward(self, x):
        h = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        x = x[:, :, :: self.stride, :: self.stride]
        x = nn.functional.pad(x, (0, 0, 0, 0, self.added // 2, -(-self.added // 2)))
        return torch.relu(h + x)


def torch_resnet(n, channels, width=16):
    layers = [nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width, eps=2e-5), nn.ReLU()]
    before = width
    for stage in range(3):
        for k in range(n):
            layers.append(TorchBlock(before, width * 2**stage, 2 if stage and not k else 1))
            before = width * 2**stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)).double()


def torch_vgg(model):
    layers = []
    for block in model.blocks:
        for layer in block:
            n_out, n_in = layer.conv.W.shape[:2]
            layers += [nn.Conv2d(n_in, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out, eps=2e-5), nn.ReLU()]
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    n_units, n_in = model.fc1.W.shape
    layers += [nn.Flatten(), nn.Linear(n_in, n_units, bias=False), nn.BatchNorm1d(n_units, eps=2e-5), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(n_units, 10)).double()


def copy_weights(ours, theirs):
    """Copy in the order of registration, which both share."""
    with torch.no_grad():
        for mine, other in zip(ours.params(), theirs.parameters(), strict=True):
            other.copy_(mine.torch())


def compare(ours, theirs, x, labels, train):
    copy_weights(ours, theirs)
    theirs.train(train)
    with using_config(train=train):
        logits = ours(Variable(x))
        F.cross_entropy(logits, labels).backward()
    expected = theirs(x)
    nn.functional.cross_entropy(expected, labels).backward()
    assert torch.allclose(logits.data, expected, atol=1e-10, rtol=1e-10)
    for mine, other in zip(ours.params(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, atol=1e-10, rtol=1e-8), mine.name


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("n, channels, side", [(1, 1, 28), (2, 3, 32), (1, 3, 15)])
def test_resnet_is_the_papers(n, channels, side, train):
    with default_arrays(dtype="float64"):
        ours = ResNet(n, channels=channels, width=4, generator=generator())
    x, labels = images(5, channels, side), torch.arange(5)
    compare(ours, torch_resnet(n, channels, 4), x, labels, train)


@pytest.mark.parametrize("side", [28, 32])
def test_vgg_is_the_same_network_of_torch(side):
    with default_arrays(dtype="float64"):
        ours = VGG(blocks=((4, 4), (6,), (8,)), n_units=12, generator=generator())
        ours.predict(torch.zeros(side, side))
    compare(ours, torch_vgg(ours), images(4, 1, side), torch.arange(4), False)
    assert ours.fc1.W.shape == (12, 8 * 4 * 4)


def test_convnet_is_the_examples():
    with default_arrays(dtype="float64"):
        ours = ConvNet(generator=generator())
        ours.predict(torch.zeros(28, 28))
    theirs = torch_network(ours)
    assert ours.count_params() == sum(p.numel() for p in theirs.parameters()) == 431_080
    compare(ours, theirs, images(3, 1, 28), torch.arange(3), True)


@pytest.mark.parametrize(
    "n, depth, n_params", [(1, 8, 75_290), (2, 14, 172_506), (3, 20, 269_722)]
)  # 269,722 is the count usually given for ResNet-20 with identity shortcuts
def test_resnet_sizes(n, depth, n_params):
    model = ResNet(n, channels=3, generator=generator())
    assert (model.depth, model.count_params()) == (depth, n_params)


def test_mlp_joins_all_axes():
    model = MLP((5, 4), 3, in_size=12, generator=generator())
    assert [layer.W.shape for layer in model.layers] == [(5, 12), (4, 5), (3, 4)]
    x = images(2, 3, 2, torch.float32)
    assert np.array_equal(model(x).numpy(), model(x.reshape(2, 12)).numpy())
    assert MLP(generator=generator()).layers[-1].W.shape == (10, 1000)
    assert MLP((), 2, in_size=3, generator=generator()).count_params() == 8


def test_dropout_and_statistics_only_in_training():
    model = VGG(blocks=((4,),), n_units=8, generator=generator())
    x = images(6, 1, 8, torch.float32)
    with no_grad(), using_config(train=False):
        first = model(x).numpy()
        mean = model.bn.avg_mean.clone()
        assert np.array_equal(first, model(x).numpy())
        assert torch.equal(model.bn.avg_mean, mean)
    with no_grad(), using_config(train=True):
        same = [model(x, generator=generator(seed)).numpy() for seed in (1, 1, 2)]
    assert np.array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])
    assert not torch.equal(model.bn.avg_mean, mean)


@pytest.mark.parametrize("make", [MLP, ConvNet, ResNet, VGG])
def test_numpy_arrays_give_the_same_numbers(make):
    model = make(generator=generator())
    x = images(2, 1, 28, torch.float32)
    on_torch = model.predict(x)
    model.to_device(library="numpy")
    with no_grad(), using_config(train=False):
        logits = model(x.numpy())
    assert isinstance(logits.data, np.ndarray)
    assert torch.allclose(model.predict(x).probabilities, on_torch.probabilities, atol=1e-6)


@pytest.mark.parametrize("make", [MLP, ConvNet, ResNet, VGG])
def test_the_generator_decides_all_weights(make):
    def weights(seed):
        model = make(generator=generator(seed))
        model.predict(torch.zeros(28, 28))
        return [parameter.numpy() for parameter in model.params()]

    first, same, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ConvNet()(torch.zeros(2, 28, 28)), "shape"),
        (lambda: ConvNet()(torch.zeros(2, 1, 12, 12)), "at least 16×16"),
        (lambda: ResNet()(torch.zeros(2, 28)), "shape"),
        (lambda: VGG()(torch.zeros(28)), "shape"),
        (lambda: MLP()(torch.zeros(28)), "shape"),
        (lambda: ResNet(0), "n"),
        (lambda: ResNet(width=0), "width"),
        (lambda: VGG(blocks=()), "blocks"),
        (lambda: VGG(blocks=((),)), "blocks"),
        (lambda: ResidualBlock(8, 4), "out_channels"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()

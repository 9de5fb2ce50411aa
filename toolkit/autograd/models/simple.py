"""The two small networks of Chainer's examples: fully connected, and convolutional in LeNet's manner."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch

from toolkit.autograd.links import Conv2d, Linear, Sequential
from toolkit.autograd.models.classifier import ImageClassifier
from toolkit.autograd.operations.elementwise import relu
from toolkit.autograd.operations.pooling import max_pool2d
from toolkit.autograd.operations.shaping import reshape
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error, require


class MLP(ImageClassifier):
    """Fully connected layers with rectifiers in between (784-1000-1000-10 in Chainer's MNIST example).

    Args:
        n_units: units of each hidden layer; one integer for two layers of that many.
        n_classes: numbers that come out.
        in_size: numbers that go in, 784 for MNIST; ``None``: the first input tells.
        channels: of the pictures that :meth:`predict` takes.
        generator: draws the weights.
    """

    def __init__(
        self,
        n_units: int | Sequence[int] = 1000,
        n_classes: int = 10,
        *,
        in_size: int | None = None,
        channels: int = 1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        hidden = (n_units, n_units) if isinstance(n_units, int) else tuple(n_units)
        widths = (in_size, *hidden, n_classes)
        with self.init_scope():
            self.layers = Sequential(*(Linear(a, b, generator=generator) for a, b in itertools.pairwise(widths)))

    def forward(self, x: Any) -> Variable:
        """Return logits (samples, classes) for an array (samples, …), whose further axes are joined."""
        h = _flat("MLP", x)
        for layer in self.layers[:-1]:
            h = relu(layer(h))
        return self.layers[-1](h)


class ConvNet(ImageClassifier):
    """Two convolutions 5×5 with pooling and two fully connected layers, in the manner of LeNet.

    With the defaults, 20 and 50 filters and 500 units, it is the network of Chainer's convolutional example, here for
    grey pictures of 28×28: 431,080 parameters.

    Args:
        n_classes: numbers that come out.
        channels: of the pictures.
        n_filters: of the two convolutions.
        n_units: of the hidden layer.
        generator: draws the weights.
    """

    def __init__(
        self,
        n_classes: int = 10,
        *,
        channels: int = 1,
        n_filters: tuple[int, int] = (20, 50),
        n_units: int = 500,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        with self.init_scope():
            self.conv1 = Conv2d(channels, n_filters[0], 5, generator=generator)
            self.conv2 = Conv2d(n_filters[0], n_filters[1], 5, generator=generator)
            self.fc1 = Linear(None, n_units, generator=generator)
            self.fc2 = Linear(n_units, n_classes, generator=generator)

    def forward(self, x: Any) -> Variable:
        """Return logits (samples, classes) for an array (samples, channels, height, width), at least 16×16.

        Source: LeCun et al. 1998, with rectifiers and largest elements.
        """
        x = as_variable(x, "ConvNet", "x")
        if x.ndim != 4 or min(x.shape[2:]) < 16:
            expected = f"shape (samples, {self.channels}, height, width), at least 16×16"
            raise argument_error("ConvNet", "x", expected, x.shape)
        h = max_pool2d(relu(self.conv1(x)), 2)
        h = max_pool2d(relu(self.conv2(h)), 2)
        return self.fc2(relu(self.fc1(_flat("ConvNet", h))))


def _flat(name: str, x: Any) -> Variable:
    x = as_variable(x, name, "x")
    require(x.ndim >= 2, name, "x", "shape (samples, …)", x.shape)
    return x if x.ndim == 2 else reshape(x, (x.shape[0], math.prod(x.shape[1:])))

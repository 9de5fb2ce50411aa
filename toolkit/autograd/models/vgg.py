"""A network in the manner of VGG for small pictures: small filters in blocks, normalization, dropout."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from toolkit.autograd.initializers import HeNormal
from toolkit.autograd.links import BatchNormalization, Chain, Conv2d, Linear, Sequential
from toolkit.autograd.models.classifier import ImageClassifier
from toolkit.autograd.operations.elementwise import relu
from toolkit.autograd.operations.pooling import max_pool2d
from toolkit.autograd.operations.regularization import dropout
from toolkit.autograd.operations.shaping import pad, reshape
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error, require


class NormalizedConvolution(Chain):
    """Convolution 3×3, batch normalization, rectifier (a block of Chainer's CIFAR example).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        generator: draws the weights.
    """

    def __init__(self, in_channels: int, out_channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        with self.init_scope():
            self.conv = Conv2d(
                in_channels, out_channels, 3, 1, 1, nobias=True, initialW=HeNormal(), generator=generator
            )
            self.bn = BatchNormalization(out_channels)

    def forward(self, x: Any) -> Variable:
        """Return shape (samples, out_channels, height, width)."""
        return relu(self.bn(self.conv(x)))


class VGG(ImageClassifier):
    """Blocks of 3×3 convolutions, each block ended by pooling and dropout, and two fully connected layers.

    The sides are halved, rounded up, at the end of each block, so pictures of 28×28 and of 32×32 both end as 4×4 after
    the three blocks of the default.

    Args:
        n_classes: numbers that come out.
        channels: of the pictures.
        blocks: for each block the channels of its convolutions.
        n_units: of the hidden layer.
        dropout: probability with which a number is dropped behind a block in training; half of the hidden units are.
        generator: draws the weights.

    Raises:
        ValueError: no blocks, a block without convolutions.

    Source: Simonyan and Zisserman 2015, with the normalization and dropout of Chainer's CIFAR example.
    """

    def __init__(
        self,
        n_classes: int = 10,
        *,
        channels: int = 1,
        blocks: Sequence[Sequence[int]] = ((32, 32), (64, 64), (128, 128)),
        n_units: int = 256,
        dropout: float = 0.25,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require(len(blocks) > 0 and all(len(b) > 0 for b in blocks), "VGG", "blocks", "channels of each block", blocks)
        self.channels = channels
        self.dropout = dropout
        stages = []
        before = channels
        for block in blocks:
            layers = []
            for after in block:
                layers.append(NormalizedConvolution(before, after, generator=generator))
                before = after
            stages.append(Sequential(*layers))
        with self.init_scope():
            self.blocks = Sequential(*stages)
            self.fc1 = Linear(None, n_units, nobias=True, initialW=HeNormal(), generator=generator)
            self.bn = BatchNormalization(n_units)
            self.fc2 = Linear(n_units, n_classes, generator=generator)

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Variable:
        """Return logits (samples, classes).

        Args:
            x: shape (samples, channels, height, width).
            generator: draws the dropout masks; ``None`` means ``config.generator``, or one private to the thread.
        """
        h = as_variable(x, "VGG", "x")
        if h.ndim != 4:
            raise argument_error("VGG", "x", f"shape (samples, {self.channels}, height, width)", h.shape)
        for block in self.blocks:
            h = block(h)
            odd = [side % 2 for side in h.shape[2:]]
            if any(odd):
                # Zeros behind an odd side are never larger than what the rectifiers gave.
                h = pad(h, ((0, 0), (0, 0), (0, odd[0]), (0, odd[1])))
            h = max_pool2d(h, 2)
            h = dropout(h, self.dropout, generator=generator)
        h = reshape(h, (h.shape[0], math.prod(h.shape[1:])))
        h = dropout(relu(self.bn(self.fc1(h))), 0.5, generator=generator)
        return self.fc2(h)

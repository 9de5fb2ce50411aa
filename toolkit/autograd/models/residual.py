"""Residual networks for small pictures (He et al. 2016, section 4.2)."""

from typing import Any

import torch

from toolkit.autograd.initializers import HeNormal
from toolkit.autograd.links import BatchNormalization, Chain, Conv2d, Linear, Sequential
from toolkit.autograd.models.classifier import ImageClassifier
from toolkit.autograd.operations.elementwise import relu
from toolkit.autograd.operations.reductions import mean
from toolkit.autograd.operations.shaping import pad
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error, require


class ResidualBlock(Chain):
    """Two normalized convolutions 3×3, and the input added to what they give.

    Where the block has more channels than its input, or a stride, the input is thinned out and filled up with
    channels of zeros (the paper's option A), so that the shortcut has no parameters.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, at least as many.
        stride: of the first convolution.
        generator: draws the weights.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        require(out_channels >= in_channels, "ResidualBlock", "out_channels", f">= {in_channels}", out_channels)
        self.stride, self.added = stride, out_channels - in_channels
        options: dict[str, Any] = {"nobias": True, "initialW": HeNormal(), "generator": generator}
        with self.init_scope():
            self.conv1 = Conv2d(in_channels, out_channels, 3, stride, 1, **options)
            self.bn1 = BatchNormalization(out_channels)
            self.conv2 = Conv2d(out_channels, out_channels, 3, 1, 1, **options)
            self.bn2 = BatchNormalization(out_channels)

    def forward(self, x: Any) -> Variable:
        """Return shape (samples, out_channels, ⌈height / stride⌉, ⌈width / stride⌉)."""
        x = as_variable(x, "ResidualBlock", "x")
        h = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            x = pad(x, ((0, 0), (self.added // 2, self.added - self.added // 2), (0, 0), (0, 0)))
        return relu(h + x)


class ResNet(ImageClassifier):
    """Residual network of 6n + 2 layers: three stages of n blocks, halving the picture and doubling the channels.

    For pictures of 28×28 or 32×32 (any size works). With n = 3 and three channels it is the paper's ResNet-20, with
    269,722 parameters, running statistics not counted.

    Args:
        n: blocks in each stage; the network has 6n + 2 layers.
        n_classes: numbers that come out.
        channels: of the pictures.
        width: channels of the first stage.
        generator: draws the weights.

    Raises:
        ValueError: ``n`` or ``width`` is not positive.

    Source: He et al. 2016, section 4.2.
    """

    def __init__(
        self,
        n: int = 1,
        n_classes: int = 10,
        *,
        channels: int = 1,
        width: int = 16,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require(n >= 1, "ResNet", "n", ">= 1", n)
        require(width >= 1, "ResNet", "width", ">= 1", width)
        self.channels = channels
        blocks = []
        before = width
        for stage in range(3):
            for k in range(n):
                after = width * 2**stage
                blocks.append(ResidualBlock(before, after, 2 if stage and not k else 1, generator=generator))
                before = after
        with self.init_scope():
            self.conv = Conv2d(channels, width, 3, 1, 1, nobias=True, initialW=HeNormal(), generator=generator)
            self.bn = BatchNormalization(width)
            self.blocks = Sequential(*blocks)
            self.fc = Linear(before, n_classes, generator=generator)

    @property
    def depth(self) -> int:
        """Number of layers with weights on the longest path."""
        return 2 * len(self.blocks) + 2

    def forward(self, x: Any) -> Variable:
        """Return logits (samples, classes) for an array (samples, channels, height, width)."""
        x = as_variable(x, "ResNet", "x")
        if x.ndim != 4:
            raise argument_error("ResNet", "x", f"shape (samples, {self.channels}, height, width)", x.shape)
        h = self.blocks(relu(self.bn(self.conv(x))))
        return self.fc(mean(h, (2, 3)))

"""EfficientNet-Lite with trained weights: 1,000 classes of ImageNet, white-box gradients included."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.autograd.initializers import HeNormal
from toolkit.autograd.links import BatchNormalization, Chain, Conv2d, Linear, Sequential
from toolkit.autograd.models.classifier import ImageClassifier
from toolkit.autograd.models.images import central_square
from toolkit.autograd.operations.elementwise import clip
from toolkit.autograd.operations.reductions import mean
from toolkit.autograd.operations.regularization import dropout
from toolkit.autograd.operations.shaping import pad
from toolkit.autograd.tape import Variable, as_variable
from toolkit.core.errors import argument_error, require
from toolkit.datasets.weight_files import EFFICIENTNET_LITE, WeightFile, read_weights

MEAN, SCALE = 0.498, 0.502
"""Pictures are normalized as (x - MEAN) / SCALE in all channels: not by ImageNet's usual means and deviations."""


@dataclass(frozen=True)
class Variant:
    """One size of the network.

    Attributes:
        width: factor on the channels of the blocks.
        depth: factor on how often a block is repeated.
        size: side of the pictures it was trained on.
        dropout: before the last layer, in training.
        weights: the trained weights.
    """

    width: float
    depth: float
    size: int
    dropout: float
    weights: WeightFile


VARIANTS = {
    "lite0": Variant(
        1.0, 1.0, 224, 0.2,
        EFFICIENTNET_LITE["lite0"],
    ),
    "lite1": Variant(
        1.0, 1.1, 240, 0.2,
        EFFICIENTNET_LITE["lite1"],
    ),
    "lite2": Variant(
        1.1, 1.2, 260, 0.3,
        EFFICIENTNET_LITE["lite2"],
    ),
}  # fmt: skip

# Repeats, window, stride, expansion, channels in and out (Tan and Le 2019, table 1, without squeezing and excitation).
_BLOCKS = (
    (1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80), (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192), (1, 3, 1, 6, 192, 320),
)  # fmt: skip
_STEM, _HEAD = 32, 1280


class SameConvolution(Chain):
    """Convolution whose output has ⌈side / stride⌉ rows and columns, and batch normalization (TensorFlow's "same").

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        ksize: side of the window.
        stride: step from window to window.
        groups: parts the channels are split into; as many as channels make it depthwise.
        generator: draws the weights.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ksize: int = 1,
        stride: int = 1,
        groups: int = 1,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.ksize, self.stride = ksize, stride
        even = ksize // 2 if stride == 1 else 0
        with self.init_scope():
            self.conv = Conv2d(
                in_channels, out_channels, ksize, stride, even, nobias=True, initialW=HeNormal(), groups=groups,
                generator=generator,
            )  # fmt: skip
            self.bn = BatchNormalization(out_channels, decay=0.99, eps=1e-3)

    def forward(self, x: Any) -> Variable:
        """Return the normalized convolution, without a nonlinearity."""
        if self.stride > 1:
            # What does not divide evenly goes behind.
            widths = [
                max((math.ceil(side / self.stride) - 1) * self.stride + self.ksize - side, 0) for side in x.shape[2:]
            ]
            x = pad(x, ((0, 0), (0, 0), *((total // 2, total - total // 2) for total in widths)))
        return self.bn(self.conv(x))


class InvertedBottleneck(Chain):
    """Widen, filter each channel by itself, narrow; the input is added where the shapes allow.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        ksize: side of the window.
        stride: of the filters.
        expansion: factor by which the channels are widened.
        generator: draws the weights.

    Source: Sandler et al. 2018, section 3.3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ksize: int,
        stride: int,
        expansion: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.adds = stride == 1 and in_channels == out_channels
        self.expand: SameConvolution | None = None
        with self.init_scope():
            if expansion > 1:
                self.expand = SameConvolution(in_channels, wide, generator=generator)
            self.depthwise = SameConvolution(wide, wide, ksize, stride, wide, generator=generator)
            self.project = SameConvolution(wide, out_channels, generator=generator)

    def forward(self, x: Any) -> Variable:
        """Return shape (samples, out_channels, ⌈height / stride⌉, ⌈width / stride⌉)."""
        h = x if self.expand is None else relu6(self.expand(x))
        h = self.project(relu6(self.depthwise(h)))
        return h + x if self.adds else h


def relu6(x: Any) -> Variable:
    """Return ``x`` limited to [0, 6]."""
    return clip(x, 0.0, 6.0)


class EfficientNetLite(ImageClassifier):
    """EfficientNet-Lite 0, 1 or 2: made for phones, here for white-box experiments.

    Two lines name what is on a picture::

        model = EfficientNetLite.from_pretrained("lite0")
        model.predict(photograph("coffee"))

    Pictures are resized (short side to ``size / 0.875``, bicubic), the central square is cut out and normalized as
    ``(x - 0.498) / 0.502``. In training it has no stochastic depth, only the dropout before the last layer.

    Args:
        variant: ``"lite0"``, ``"lite1"`` or ``"lite2"``.
        n_classes: numbers that come out.
        generator: draws the weights.

    Attributes:
        variant: as given.
        size: side of the pictures it was trained on, 224, 240 or 260; other sizes work too.

    Raises:
        ValueError: another variant.

    Source: Tan and Le 2019; Liu 2020 (the Lite variants); weights: package efficientnet-lite-pytorch, Apache-2.0.
    """

    channels = 3

    def __init__(
        self, variant: str = "lite0", n_classes: int = 1000, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        shape = _variant("EfficientNetLite", variant)
        self.variant, self.size, self.dropout = variant, shape.size, shape.dropout
        blocks = []
        for position, (repeats, ksize, stride, expansion, before, after) in enumerate(_BLOCKS):
            ends = position in (0, len(_BLOCKS) - 1)
            before = before if position == 0 else _rounded(before, shape.width)
            after = _rounded(after, shape.width)
            for k in range(repeats if ends else math.ceil(shape.depth * repeats)):
                first = k == 0
                blocks.append(
                    InvertedBottleneck(
                        before if first else after, after, ksize, stride if first else 1, expansion, generator=generator
                    )
                )
        with self.init_scope():
            self.stem = SameConvolution(3, _STEM, 3, 2, generator=generator)
            self.blocks = Sequential(*blocks)
            self.head = SameConvolution(_rounded(_BLOCKS[-1][-1], shape.width), _HEAD, generator=generator)
            self.fc = Linear(_HEAD, n_classes, generator=generator)

    @classmethod
    def from_pretrained(cls, variant: str = "lite0", *, path: Any = None) -> "EfficientNetLite":
        """Return the network with the weights trained on ImageNet, and the names of its 1,000 classes.

        Args:
            variant: ``"lite0"``, ``"lite1"`` or ``"lite2"``.
            path: file with the weights, or its folder; default: the package that the extra ``imagenet`` installs.

        Raises:
            ValueError: another variant.
            DatasetUnavailable: the weights are not here, or damaged; the message says what to install.
        """
        from toolkit.datasets import imagenet_classes

        state = read_weights(_variant("EfficientNetLite.from_pretrained", variant).weights, path)
        # The first values are thrown away, so any do.
        model = cls(variant, generator=torch.Generator().manual_seed(0))
        model.load_state_dict(_translated(state))
        model.class_names = imagenet_classes()
        return model

    def prepare(self, image: Float[Tensor, "channels height width"]) -> Float[Tensor, "channels _ _"]:
        """Return the central square of a picture, normalized."""
        return (central_square(image, self.size) - MEAN) / SCALE

    def forward(self, x: Any, *, generator: torch.Generator | None = None) -> Variable:
        """Return logits (samples, classes).

        Args:
            x: normalized pictures (samples, 3, height, width), red, green, blue; see :meth:`prepare`.
            generator: draws the dropout mask in training.
        """
        x = as_variable(x, "EfficientNetLite", "x")
        if x.ndim != 4 or x.shape[1] != 3:
            raise argument_error("EfficientNetLite", "x", "shape (samples, 3, height, width)", x.shape)
        h = relu6(self.head(self.blocks(relu6(self.stem(x)))))
        return self.fc(dropout(mean(h, (2, 3)), self.dropout, generator=generator))


def _variant(operation: str, name: str) -> Variant:
    require(name in VARIANTS, operation, "variant", f"one of {', '.join(VARIANTS)}", repr(name))
    return VARIANTS[name]


def _rounded(channels: int, factor: float) -> int:
    """Return scaled channels as a multiple of 8, not more than a tenth below what the factor asks."""
    scaled = channels * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _translated(state: dict[str, Tensor]) -> dict[str, Any]:
    """Return the package's state under our names."""
    layers = {
        "_conv_stem": "stem/conv", "_bn0": "stem/bn", "_conv_head": "head/conv", "_bn1": "head/bn", "_fc": "fc",
    }  # fmt: skip
    inner = {
        "_expand_conv": "expand/conv", "_bn0": "expand/bn", "_depthwise_conv": "depthwise/conv",
        "_bn1": "depthwise/bn", "_project_conv": "project/conv", "_bn2": "project/bn",
    }  # fmt: skip
    values = {"running_mean": "avg_mean", "running_var": "avg_var"}
    nested: dict[str, Any] = {}
    for key, value in state.items():
        *path, last = key.split(".")
        if last == "num_batches_tracked":
            place, last = _place(path, layers, inner), "N"
            leaf: Any = 0
        else:
            place, leaf = _place(path, layers, inner), value
            of_bn = place[-1] == "bn"
            last = values.get(last) or {"weight": "gamma" if of_bn else "W", "bias": "beta" if of_bn else "b"}[last]
        home = nested
        for part in place:
            home = home.setdefault(part, {})
        home[last] = leaf
    return nested


def _place(path: list[str], layers: dict[str, str], inner: dict[str, str]) -> list[str]:
    if path[0] == "_blocks":
        return ["blocks", path[1], *inner[path[2]].split("/")]
    return layers[path[0]].split("/")

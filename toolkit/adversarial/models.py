"""Five small classifiers of different families, so that an attack on one has something to transfer to."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require

FAMILIES = ("lenet", "vgg", "resnet", "strided", "dilated")


class SmallClassifier(nn.Module):
    """Convolutions that end in a feature map, and a head that makes logits of it.

    Attributes:
        body: images ``[batch, channels, height, width]`` in [0, 1] to the topmost feature map.
        head: the feature map to logits.
    """

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def features(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch maps rows columns"]:
        """Return the topmost feature map."""
        return self.body(images)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits."""
        return self.head(self.body(images))


class Residual(nn.Module):
    """Two 3×3 convolutions with batch normalisation, added to their input.

    Attributes:
        branch: the convolutions.
        skip: the identity, or a 1×1 convolution where the shape changes.
    """

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        same = n_in == n_out and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(n_in, n_out, 1, stride)

    def forward(
        self, inputs: Float[Tensor, "batch maps rows columns"]
    ) -> Float[Tensor, "batch out_maps out_rows out_columns"]:
        """Return the rectified sum."""
        return torch.relu(self.branch(inputs) + self.skip(inputs))


def classifier(
    name: str,
    image_shape: Sequence[int] = (1, 28, 28),
    n_classes: int = 10,
    *,
    width: float = 1.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> SmallClassifier:
    """Make one of the families, with fresh weights.

    ``lenet`` has two 5×5 convolutions with pooling and a hidden layer, ``vgg`` two pairs of 3×3 convolutions with batch
    normalisation, ``resnet`` three residual blocks and global pooling, ``strided`` 4×4 convolutions of stride 2 with
    GELU, ``dilated`` a 7×7 stem and a dilated convolution.

    Args:
        name: one of :data:`FAMILIES`.
        image_shape: channels, height and width; the sizes divisible by 4.
        n_classes: number of logits.
        width: multiplies the numbers of channels.
        generator: draws the weights; default: a new one.
        dtype: of the weights; default: float32.

    Returns:
        A module in training mode: call ``eval()`` before an attack.

    Raises:
        ValueError: an unknown name, or sizes that do not fit.
    """
    require(name in FAMILIES, "classifier", "name", f"one of {', '.join(FAMILIES)}", repr(name))
    shape = tuple(image_shape)
    fits = len(shape) == 3 and min(shape) > 0 and shape[1] % 4 == shape[2] % 4 == 0
    require(fits, "classifier", "image_shape", "(channels, height, width), sizes divisible by 4", shape)
    require(n_classes >= 1, "classifier", "n_classes", ">= 1", n_classes)
    require(width > 0, "classifier", "width", "> 0", width)
    channels, last = shape[0], (shape[1] // 4) * (shape[2] // 4)

    def wide(n: int) -> int:
        return max(1, round(n * width))

    # torch's layers draw weights of their own from the global generator, which belongs to the caller.
    with torch.random.fork_rng(devices=[]):
        body, head = _BUILDERS[name](channels, last, n_classes, wide)
    model = SmallClassifier(body, head).to(dtype or torch.float32)
    draw_weights(model, resolve_generator(generator))
    return model


def _lenet(channels, last, n_classes, wide):
    body = nn.Sequential(
        nn.Conv2d(channels, wide(16), 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(wide(16), wide(32), 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    head = nn.Sequential(
        nn.Flatten(), nn.Linear(wide(32) * last, wide(100)), nn.ReLU(), nn.Linear(wide(100), n_classes)
    )
    return body, head


def _vgg(channels, last, n_classes, wide):
    sizes = [channels, wide(16), wide(16), wide(32), wide(32)]
    blocks = [
        [nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
        for n_in, n_out in itertools.pairwise(sizes)
    ]
    body = nn.Sequential(*blocks[0], *blocks[1], nn.MaxPool2d(2), *blocks[2], *blocks[3], nn.MaxPool2d(2))
    return body, nn.Sequential(nn.Flatten(), nn.Linear(wide(32) * last, n_classes))


def _resnet(channels, last, n_classes, wide):
    body = nn.Sequential(
        nn.Conv2d(channels, wide(16), 3, 2, 1, bias=False), nn.BatchNorm2d(wide(16)), nn.ReLU(),
        Residual(wide(16), wide(16)), Residual(wide(16), wide(32), 2), Residual(wide(32), wide(64)),
    )  # fmt: skip
    return body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide(64), n_classes))


def _strided(channels, last, n_classes, wide):
    body = nn.Sequential(
        nn.Conv2d(channels, wide(24), 4, 2, 1), nn.GELU(),
        nn.Conv2d(wide(24), wide(48), 4, 2, 1), nn.GELU(),
        nn.Conv2d(wide(48), wide(48), 3, padding=1), nn.GELU(),
    )  # fmt: skip
    head = nn.Sequential(nn.Flatten(), nn.Linear(wide(48) * last, wide(64)), nn.GELU(), nn.Linear(wide(64), n_classes))
    return body, head


def _dilated(channels, last, n_classes, wide):
    body = nn.Sequential(
        nn.Conv2d(channels, wide(24), 7, 2, 3, bias=False), nn.BatchNorm2d(wide(24)), nn.ReLU(),
        nn.Conv2d(wide(24), wide(48), 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(wide(48)), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(wide(48), wide(48), 3, padding=1, bias=False), nn.BatchNorm2d(wide(48)), nn.ReLU(),
    )  # fmt: skip
    return body, nn.Sequential(nn.Flatten(), nn.Linear(wide(48) * last, n_classes))


_BUILDERS = {"lenet": _lenet, "vgg": _vgg, "resnet": _resnet, "strided": _strided, "dilated": _dilated}


def draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Draw He's normal weights; biases are zero. The same numbers on every device."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            fan_in = module.weight[0].numel()
            drawn = torch.randn(
                module.weight.shape, generator=generator, device=generator.device, dtype=module.weight.dtype
            )
            with torch.no_grad():
                module.weight.copy_(drawn * (2 / fan_in) ** 0.5)
                if module.bias is not None:
                    module.bias.zero_()

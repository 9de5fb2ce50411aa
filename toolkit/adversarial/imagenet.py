"""Classifiers trained on ImageNet, and pictures to attack: both come with the ``imagenet`` extra."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from toolkit.core.devices import resolve_device
from toolkit.core.errors import require
from toolkit.datasets import imagenet_classes
from toolkit.datasets.weight_files import EFFICIENTNET_LITE, EXTRA, read_weights

MEAN, SCALE = 0.498, 0.502
"""Pixels are normalised as (x - MEAN) / SCALE; ImageNet's usual means and deviations cost accuracy without an error."""
SIZE = 224
"""Rows and columns that all variants take here, so that one picture can meet all of them."""
_ZOOM = 0.875


class ImageNetClassifier(nn.Module):
    """An EfficientNet-Lite with its normalisation: pixels in [0, 1] to the logits of 1,000 classes.

    Attributes:
        network: what the normalised pixels go through.
        variant: ``"lite0"``, ``"lite1"`` or ``"lite2"``.
    """

    def __init__(self, network: nn.Module, variant: str) -> None:
        super().__init__()
        self.network, self.variant = network, variant

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits."""
        return self.network((images - MEAN) / SCALE)


@dataclass(frozen=True, repr=False, eq=False)
class Pictures:
    """Photographs with their classes.

    Attributes:
        images: colours in [0, 1].
        labels: of ImageNet's 1,000 classes.
        names: of the labels.
    """

    images: Float[Tensor, "n 3 size size"]
    labels: Int64[Tensor, " n"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Pictures({len(self)} of {self.images.shape[2]}×{self.images.shape[3]})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


def imagenet_classifier(
    variant: str = "lite0", *, path: Any = None, device: torch.device | str | None = None
) -> ImageNetClassifier:
    """Return a trained EfficientNet-Lite whose gradient an attack can take.

    Args:
        variant: ``"lite0"``, ``"lite1"`` or ``"lite2"``; trained at 224, 240 and 260 pixels, all good at 224.
        path: a file of weights, or a folder with it, instead of the installed package.
        device: where it goes; default: the best there is.

    Returns:
        In evaluation mode, its weights frozen.

    Raises:
        ValueError: an unknown variant.
        ImportError: the ``imagenet`` extra is not installed.
        DatasetUnavailable: the weights are nowhere, or not those that they should be.
    """
    known = ", ".join(map(repr, EFFICIENTNET_LITE))
    require(variant in EFFICIENTNET_LITE, "imagenet_classifier", "variant", f"one of {known}", repr(variant))
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ImportError(_how_to_install("imagenet_classifier", "efficientnet-lite-pytorch")) from error
    network = EfficientNet.from_name(f"efficientnet-{variant}")
    network.load_state_dict(read_weights(EFFICIENTNET_LITE[variant], path))
    model = ImageNetClassifier(network, variant).eval().requires_grad_(False)
    return model.to(resolve_device(device))


def sample_pictures(size: int = SIZE) -> Pictures:
    """Return the twenty photographs that come with Foolbox, whose licence is not stated: they are not copied here.

    The shorter side is resized to size/0.875 (bicubic), then the middle is cut out.

    Args:
        size: rows and columns.

    Raises:
        ValueError: a size below 1.
        ImportError: the ``imagenet`` extra is not installed.
    """
    require(size >= 1, "sample_pictures", "size", ">= 1", size)
    spec = importlib.util.find_spec("foolbox")
    folders = [] if spec is None else [Path(folder) / "data" for folder in spec.submodule_search_locations or ()]
    found = sorted(file for folder in folders for file in folder.glob("imagenet_*_*.*"))
    if not found:
        raise ImportError(_how_to_install("sample_pictures", "foolbox"))
    labels = [int(re.fullmatch(r"imagenet_\d+_(\d+)", file.stem)[1]) for file in found]  # type: ignore[index]
    names = imagenet_classes()
    images = torch.stack([_square(file, size) for file in found])
    return Pictures(images, torch.tensor(labels), tuple(names[label] for label in labels))


def _square(file: Path, size: int) -> Float[Tensor, "3 size size"]:
    from PIL import Image

    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    short = round(size / _ZOOM)
    scale = short / min(picture.size)
    width, height = (max(round(side * scale), short) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _how_to_install(operation: str, package: str) -> str:
    return f"{operation}: needs {package}; pip install 'tokui-toolkit[{EXTRA}]'"

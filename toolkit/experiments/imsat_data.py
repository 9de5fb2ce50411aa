"""The images that IMSAT is studied on, as points from −1 to 1, and what both of its studies can be told about them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.devices import draw_permutation, resolve_generator
from toolkit.core.errors import require
from toolkit.datasets import load
from toolkit.datasets.download import cache_directory
from toolkit.experiments.study import StudyConfig, by_scale


@dataclass(frozen=True)
class ImagesConfig(StudyConfig):
    """Which images, and which network.

    What is left open (None) depends on the data as well as the scale; records hold what it came to.
    """

    data: Literal["digits", "mnist", "fashion_mnist"] = by_scale(quick="digits", laptop="digits", paper="mnist")
    """scikit-learn's 1,797 digits of 8×8 pixels, MNIST or Fashion-MNIST."""

    images: Literal["subset", "full"] = by_scale(quick="subset", laptop="subset", paper="full")
    """The images that ship with the toolkit, or all 70,000."""

    n_points: int | None = None
    """So many of them, always the same ones; default: all."""

    hidden: str | None = None
    """Units of the hidden layers, "400-400"."""

    epochs: int | None = None
    """Passes over the images."""

    initialization: Literal["small", "official"] = by_scale(quick="small", laptop="small", paper="official")
    """Scale of the first weights; official is that of the authors' code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("data", "digits", "mnist", "fashion_mnist")
        self.check_choice("images", "subset", "full")
        self.check_choice("initialization", "small", "official")
        self.check_least("n_points", 20)
        self.check_least("epochs", 1)
        if self.hidden is not None:
            numbers = all(part.isascii() and part.isdigit() and int(part) >= 1 for part in self.hidden.split("-"))
            require(numbers, type(self).__name__, "hidden", 'units of each layer, "400-400"', repr(self.hidden))

    def check_choice(self, field: str, *allowed: str) -> None:
        """Raise a ``ValueError`` unless a field has one of the values."""
        value = getattr(self, field)
        require(value in allowed, type(self).__name__, field, " or ".join(allowed), repr(value))

    def check_least(self, field: str, least: float) -> None:
        """Raise a ``ValueError`` unless a field is open, or finite and large enough."""
        value = getattr(self, field)
        fine = value is None or least <= value < float("inf")
        require(fine, type(self).__name__, field, f">= {least} and finite", value)

    def load(self) -> "Points":
        """Return the images."""
        return load_points(self.data, self.images, self.n_points)


@dataclass(frozen=True, eq=False)
class Points:
    """Images as vectors.

    Attributes:
        inputs: pixels from −1 to 1: over half their range, less 1, as in the authors' code (MNIST: over 128).
        labels: their classes, for scores only.
        image_shape: height and width.
        class_names: what the labels mean.
        n_training: the first ones are training images, the others test images.
        source: columns of a table that says which images these are.
    """

    inputs: Float[Tensor, "points features"]
    labels: Int[Tensor, " points"]
    image_shape: tuple[int, int]
    class_names: tuple[str, ...]
    n_training: int
    source: dict[str, list]


def load_points(name: str, variant: str = "subset", n_points: int | None = None) -> Points:
    """Load the training and the test images of a data set together.

    Args:
        name: ``"digits"``, ``"mnist"`` or ``"fashion_mnist"``.
        variant: ``"subset"`` for the images that ship, ``"full"`` for all of them.
        n_points: so many of them, chosen at random, always the same ones; default: all.

    Returns:
        The points on the CPU, float32, training images first.

    Raises:
        DatasetUnavailable: the full data set is not on this machine and cannot be fetched.
    """
    data = load(name) if name == "digits" else load(name, variant=variant)
    images, labels = data.images, data.labels
    description, n_training = data.description, len(data.train)
    if n_points is not None and n_points < len(images):
        chosen = draw_permutation(len(images), generator=resolve_generator(seed=0))[:n_points].sort().values
        images, labels = images[chosen], labels[chosen]
        n_training = int((chosen < n_training).sum())
        description = f"{n_points:,} at random of: {description}"
    half = (data.train.pixel_max + 1) // 2
    height, width = images.shape[1:]
    source: dict[str, list] = {
        "name": [data.name],
        "variant": [data.variant],
        "source": [data.source.partition(":")[0]],
        "n_points": [len(images)],
        "description": [description],
    }
    inputs = images.flatten(1).to(torch.float32) / half - 1
    return Points(inputs, labels, (height, width), data.class_names, n_training, source)


def original_order(n_training: int, labels: Int[Tensor, " points"]) -> Int[Tensor, " points"]:
    """Return the order of the rows in the old "MNIST original" file: each part sorted by class.

    The authors' file of neighbour distances follows it. Read beside images in today's order it gives each image the
    distance of another one.

    Args:
        n_training: how many of the points, the first ones, are training images.
        labels: of all points.

    Returns:
        For each row of that file the point that it is about.

    Raises:
        ValueError: more training images than points.
    """
    expected = f"from 0 to the {len(labels)} points"
    require(0 <= n_training <= len(labels), "original_order", "n_training", expected, n_training)
    first = labels[:n_training].sort(stable=True).indices
    return torch.cat([first, n_training + labels[n_training:].sort(stable=True).indices])


def distance_cache() -> Path:
    """Return the folder that neighbour distances are kept in: beside the data sets."""
    return cache_directory() / "neighbours"

"""The images that attacks and defences meet on: which ones, in which part, as 8-bit grey maps with a channel."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require
from toolkit.datasets import load
from toolkit.datasets.images import Dataset
from toolkit.experiments.records import Spread
from toolkit.experiments.study import StudyConfig, by_scale

N_CLASSES = 10
DEV_SIZE = 1000
LEVELS = 255
"""Every epsilon of these studies is a whole number of 255ths. The digits have 16 steps of brightness, stretched to
255: 16/255 is one of them."""


@dataclass(frozen=True, eq=False, repr=False)
class Part:
    """Some images of a data set.

    Attributes:
        images: 8-bit grey.
        labels: what they show.
        description: which ones they are.
    """

    images: UInt8[Tensor, "images 1 height width"]
    labels: Int[Tensor, " images"]
    description: str

    @property
    def pixels(self) -> Float[Tensor, "images 1 height width"]:
        """The images as floats in [0, 1]."""
        return self.images.float() / LEVELS

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Part({self.description})"


def training_images(data: str, images: str = "full", n: int | None = None, *, last: bool = False) -> Part:
    """Return training images.

    Args:
        data: ``"digits"`` or ``"fashion_mnist"``.
        images: ``"subset"`` for those that ship, ``"full"`` for all.
        n: the first so many; default: all.
        last: the last ``n`` instead: to choose settings on, where the first ones are trained on.

    Raises:
        DatasetUnavailable: the full set is not on this machine and cannot be fetched.
        ValueError: there are not so many.
    """
    found = _load(data, images)
    n = len(found.train) if n is None else n
    require(1 <= n <= len(found.train), "training_images", "n", f"1 to {len(found.train)}", n)
    chosen = slice(len(found.train) - n, None) if last else slice(n)
    which = "last" if last else "first"
    return _part(found, "train", chosen, f"the {which} {n:,} training images of {found.title} ({found.variant})")


def held_out_images(data: str, images: str = "full", part: str = "final", n: int | None = None) -> Part:
    """Return test images.

    Of all of Fashion-MNIST the first 1,000 are DEV, to try things on; the others are FINAL, for results. Smaller sets
    have one part only. What ships of Fashion-MNIST lies in DEV, mostly.

    Args:
        data: ``"digits"`` or ``"fashion_mnist"``.
        images: ``"subset"`` for those that ship, ``"full"`` for all.
        part: ``"dev"`` or ``"final"``.
        n: the first so many of the part; default: all of it.

    Raises:
        DatasetUnavailable: the full set is not on this machine and cannot be fetched.
        ValueError: there are not so many.
    """
    require(part in ("dev", "final"), "held_out_images", "part", "'dev' or 'final'", repr(part))
    found = _load(data, images)
    divided = found.name == "fashion_mnist" and found.variant == "full"
    first = DEV_SIZE if divided and part == "final" else 0
    last = DEV_SIZE if divided and part == "dev" else len(found.test)
    n = last - first if n is None else n
    require(1 <= n <= last - first, "held_out_images", "n", f"1 to {last - first}", n)
    name = f" {part.upper()}," if divided else ""
    words = f"test images{name} {first:,} to {first + n - 1:,} of {found.title} ({found.variant})"
    return _part(found, "test", slice(first, first + n), words)


def shown(spread: Spread | None, digits: int = 3) -> str:
    """Return a metric for a table: a single seed's to so many decimals, a dash for one that was not measured."""
    if spread is None:
        return "–"
    return f"{spread.mean:.{digits}f}" if spread.sd is None else str(spread)


def image_shape(data: str) -> tuple[int, int, int]:
    """Return channels, height and width."""
    return (1, 8, 8) if data == "digits" else (1, 28, 28)


def stream(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for one purpose: other names and seeds give unrelated numbers, the same ones the same."""
    digest = hashlib.sha256(f"adversarial/{seed}/{name}".encode()).digest()
    return resolve_generator(seed=int.from_bytes(digest[:8], "big") >> 1, device=device)


@dataclass(frozen=True)
class ImagesConfig(StudyConfig):
    """Whose networks meet which images."""

    seeds: tuple[int, ...] = by_scale(quick=(0,), laptop=(0, 1, 2), paper=(0, 1, 2))
    """One cast of networks each."""

    data: Literal["digits", "fashion_mnist"] = by_scale(
        quick="fashion_mnist", laptop="fashion_mnist", paper="fashion_mnist"
    )
    """Fashion-MNIST, or scikit-learn's digits of 8×8 pixels."""

    cast: Literal["quick", "laptop", "paper"] | None = None
    """Scale of the networks' training; default: that of the study, but at quick scale the laptop's for Fashion-MNIST,
    of which seed 0 ships with the toolkit."""

    images: Literal["subset", "full"] = by_scale(quick="subset", laptop="full", paper="full")
    """Test images: those that ship, or all."""

    part: Literal["dev", "final"] = by_scale(quick="final", laptop="final", paper="final")
    """dev: the first 1,000 test images, on which settings may be tried; final: others. Only the full set has both."""

    n_images: int = by_scale(quick=100, laptop=1000, paper=5000)
    """So many test images, at most all there are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_choice("data", "digits", "fashion_mnist")
        if self.cast is not None:
            self.check_choice("cast", "quick", "laptop", "paper")
        self.check_choice("images", "subset", "full")
        self.check_choice("part", "dev", "final")
        self.check_whole("n_images", 1)

    @property
    def cast_scale(self) -> str:
        """Scale of the networks' training."""
        if self.cast is not None:
            return self.cast
        return "laptop" if self.scale == "quick" and self.data == "fashion_mnist" else self.scale

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, everything filled in."""
        return {**super().to_dict(), "cast": self.cast_scale}

    def check_choice(self, field: str, *allowed: str) -> None:
        """Raise a ``ValueError`` unless a field has one of the values."""
        value = getattr(self, field)
        require(value in allowed, type(self).__name__, field, " or ".join(allowed), repr(value))

    def check_whole(self, field: str, least: int) -> None:
        """Raise a ``ValueError`` unless a field is a whole number, and large enough."""
        value = getattr(self, field)
        fine = isinstance(value, int) and not isinstance(value, bool) and value >= least
        require(fine, type(self).__name__, field, f"a whole number >= {least}", repr(value))

    def check_epsilons(self, field: str) -> None:
        """Make a field a tuple; raise a ``ValueError`` unless it holds 255ths, each once."""
        values = tuple(getattr(self, field))
        whole = all(isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LEVELS for value in values)
        fine = whole and 0 < len(values) == len(set(values))
        require(fine, type(self).__name__, field, "whole numbers of 255ths, 0 to 255, each once", values)
        object.__setattr__(self, field, values)

    def load(self) -> Part:
        """Return the test images."""
        every = held_out_images(self.data, self.images, self.part)
        return held_out_images(self.data, self.images, self.part, min(self.n_images, len(every)))


@lru_cache(maxsize=2)
def _load(data: str, images: str) -> Dataset:
    return load(data) if data == "digits" else load(data, variant=images)


def _part(found: Dataset, split: str, chosen: slice, description: str) -> Part:
    part = getattr(found, split)[chosen]
    images = part.images.unsqueeze(1)
    if part.pixel_max != LEVELS:
        images = (images.float() * (LEVELS / part.pixel_max)).round().to(torch.uint8)
    return Part(images, part.labels, description)

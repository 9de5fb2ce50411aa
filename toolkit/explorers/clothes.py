"""The images and networks that the lessons on attacks share: clothes to be seen at a glance, networks in float64."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from toolkit.datasets import load
from toolkit.experiments.adversarial_cast import cast
from toolkit.experiments.adversarial_recipe import find_member

LEVELS = 255
"""Epsilons are told in so many grey levels."""


@dataclass(frozen=True, repr=False, eq=False)
class Clothes:
    """Test images of Fashion-MNIST that no network here was trained on.

    Attributes:
        images: in [0, 1], float64.
        labels: what they show.
        names: of the classes.
    """

    images: Float[Tensor, "n 1 height width"]
    labels: Int64[Tensor, " n"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Clothes({len(self)} images of {len(self.names)} classes)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return dict(vars(self))


@functools.lru_cache(maxsize=1)
def clothes() -> Clothes:
    """Return the 500 test images that ship, one class after the other in turn."""
    data = load("fashion_mnist", variant="subset")
    labels = data.test.labels.long()
    ranks = torch.zeros_like(labels)
    for value in labels.unique():
        ranks[labels == value] = torch.arange(int((labels == value).sum()))
    order = (ranks * len(data.class_names) + labels).argsort()
    return Clothes(data.test.as_float().double()[order, None], labels[order], tuple(data.class_names))


@functools.lru_cache(maxsize=32)
def network(name: str) -> nn.Module:
    """Return a network of the toolkit's cast in float64, whose numbers do not depend on the machine.

    Args:
        name: as in :data:`toolkit.experiments.adversarial_recipe.MEMBERS`.
    """
    return cast(only=[name], device="cpu")[name].double().eval()


def title(name: str) -> str:
    """Return what a network of the cast is, in a few words."""
    return find_member(name).title


def with_article(name: str) -> str:
    """Return ``"a sandal"``, ``"an ankle boot"``."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"

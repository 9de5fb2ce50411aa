"""How often a classifier is right: on images, under an attack, and as epsilon grows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.adversarial.attacks.base import Attack, Classifier, check_labels
from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require


@dataclass(frozen=True)
class RobustAccuracy:
    """Accuracy under one attack as its epsilon grows.

    Attributes:
        epsilons: in units of the pixels.
        accuracies: of each epsilon; 1 is all right.
        standard_errors: of the accuracies, over the images.
        n_images: how many.
    """

    epsilons: tuple[float, ...]
    accuracies: tuple[float, ...]
    standard_errors: tuple[float, ...]
    n_images: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def predict(model: Classifier, images: Float[Tensor, "n *pixels"], *, batch_size: int = 500) -> Int[Tensor, " n"]:
    """Return the most likely class of each image."""
    require(batch_size >= 1, "predict", "batch_size", ">= 1", batch_size)
    with torch.no_grad():
        found = [model(batch).argmax(1) for batch in images.split(batch_size) if len(batch)]
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int64, device=images.device)


def accuracy(
    model: Classifier, images: Float[Tensor, "n *pixels"], labels: Int[Tensor, " n"], *, batch_size: int = 500
) -> float:
    """Return the share of images whose most likely class is their label; NaN without images."""
    check_labels("accuracy", "labels", labels, len(images))
    right = predict(model, images, batch_size=batch_size) == labels.to(images.device)
    return float(right.double().mean())


def attack_in_batches(
    attack: Attack,
    model: Classifier,
    images: Float[Tensor, "n *pixels"],
    labels: Int[Tensor, " n"] | None = None,
    *,
    epsilon: float | Tensor | None,
    targets: Int[Tensor, " n"] | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 250,
) -> Float[Tensor, "n *pixels"]:
    """Attack more images than fit into memory at once; arguments as those of the attack."""
    require(batch_size >= 1, "attack_in_batches", "batch_size", ">= 1", batch_size)
    generator = resolve_generator(generator)
    for argument, given in (("labels", labels), ("targets", targets)):
        if given is not None:
            check_labels("attack_in_batches", argument, given, len(images))
    each = isinstance(epsilon, Tensor) and epsilon.ndim > 0
    if each and isinstance(epsilon, Tensor):
        fits = epsilon.shape == (len(images),)
        require(fits, "attack_in_batches", "epsilon", f"a number, or shape [{len(images)}]", list(epsilon.shape))
    found = []
    for start in range(0, max(len(images), 1), batch_size):
        part = slice(start, start + batch_size)
        found.append(
            attack(
                model,
                images[part],
                None if labels is None else labels[part],
                epsilon=epsilon[part] if each and isinstance(epsilon, Tensor) else epsilon,
                targets=None if targets is None else targets[part],
                generator=generator,
            )
        )
    return torch.cat(found)


def robust_accuracy(
    model: Classifier,
    images: Float[Tensor, "n *pixels"],
    labels: Int[Tensor, " n"],
    attack: Attack,
    epsilons: Sequence[float],
    *,
    source: Classifier | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 250,
) -> RobustAccuracy:
    """Return the accuracy under an attack that knows the labels.

    Args:
        model: judged.
        images: clean, in [0, 1].
        labels: what they show.
        attack: run once for each epsilon.
        epsilons: in units of the pixels.
        source: the model the attack looks at; default: ``model`` itself.
        generator: for random draws.
        batch_size: images at a time.
    """
    generator = resolve_generator(generator)
    n, found = len(images), []
    for epsilon in epsilons:
        changed = attack_in_batches(
            attack, source or model, images, labels, epsilon=epsilon, generator=generator, batch_size=batch_size
        )
        found.append(accuracy(model, changed, labels, batch_size=batch_size))
    errors = tuple((share * (1 - share) / n) ** 0.5 if n else float("nan") for share in found)
    return RobustAccuracy(tuple(float(epsilon) for epsilon in epsilons), tuple(found), errors, n)

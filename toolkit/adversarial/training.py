"""Training of classifiers: on clean images, or on images that an adversary changes as the training goes on."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack, check_labels
from toolkit.adversarial.attacks.gradient import FGSM, PGD
from toolkit.adversarial.fitting import Metrics, as_pixels, check_pixels, evaluating, fit, place
from toolkit.core.devices import draw_integers, draw_uniform, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History


@runtime_checkable
class Adversary(Protocol):
    """Changes the batches of a training; a frozen dataclass of its settings."""

    def change(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch *pixels"]:
        """Return the images to train on; the labels stay.

        Args:
            model: the classifier as it is now, in evaluation mode.
            images: a batch in random order, pixels in [0, 1].
            labels: what the images show.
            generator: for random draws.
        """
        ...


@dataclass(frozen=True)
class HalfBatchFGSM:
    """Half of each batch becomes FGSM examples of the model that is being trained (section 5.6 of the chapter).

    Epsilon is drawn for each image, evenly from 0 to ``epsilon_max``, so that no single size of step is learnt by
    heart. Of an odd number of images the larger half is changed.

    Attributes:
        epsilon_max: the largest change of a pixel.
        predicted_labels: attack what the model says instead of the true label, which would leak into the image.
    """

    epsilon_max: float
    predicted_labels: bool = True

    def __post_init__(self) -> None:
        _check_epsilon(self, "epsilon_max")

    def change(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch *pixels"]:
        """Return the images, the first half of them changed."""
        return _change_half(model, self, images, labels, generator)


@dataclass(frozen=True, eq=False)
class EnsembleAdversary:
    """As :class:`HalfBatchFGSM`, but each batch is attacked through a model drawn from several (arXiv 1705.07204).

    Examples of models that do not learn cannot be weakened by hiding the gradient of the one that does.

    Attributes:
        models: fixed classifiers, on the device of the training; the one being trained is drawn as often as each.
        epsilon_max: the largest change of a pixel.
        predicted_labels: attack what the drawn model says instead of the true label.
    """

    models: Sequence[nn.Module]
    epsilon_max: float
    predicted_labels: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(self.models))
        require(len(self.models) > 0, "EnsembleAdversary", "models", "at least one", "none")
        _check_epsilon(self, "epsilon_max")

    def change(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch *pixels"]:
        """Return the images, the first half of them changed."""
        drawn = int(draw_integers(0, len(self.models) + 1, (1,), generator=generator))
        source = model if drawn == 0 else self.models[drawn - 1]
        with evaluating([source]):
            return _change_half(source, self, images, labels, generator)


@dataclass(frozen=True)
class PGDAdversary:
    """Every image is replaced by the end of projected gradient steps from a random start (arXiv 1706.06083).

    The attack knows the true labels. Epsilon is drawn for each image, evenly from 0 to ``epsilon_max``.

    Attributes:
        epsilon_max: the largest change of a pixel.
        n_steps: gradients for each image; each step is 2.5/n_steps of epsilon.
    """

    epsilon_max: float
    n_steps: int = 5

    def __post_init__(self) -> None:
        _check_epsilon(self, "epsilon_max")
        PGD(n_steps=self.n_steps)

    def change(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch *pixels"]:
        """Return the changed images."""
        attack = PGD(n_steps=self.n_steps)
        return attack(
            model, images, labels, epsilon=_draw_epsilons(self.epsilon_max, images, generator), generator=generator
        )


@dataclass(frozen=True)
class FixedFGSM:
    """Every image is replaced by an FGSM example of one fixed epsilon, made with the true label: how not to do it.

    The model learns to recognise that one step and to hide its gradient: FGSM then fails where more steps succeed.

    Attributes:
        epsilon: the change of each pixel.
    """

    epsilon: float

    def __post_init__(self) -> None:
        _check_epsilon(self, "epsilon")

    def change(
        self,
        model: nn.Module,
        images: Float[Tensor, "batch *pixels"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Float[Tensor, "batch *pixels"]:
        """Return the changed images."""
        return FGSM()(model, images, labels, epsilon=self.epsilon, generator=generator)


def train_classifier(
    model: nn.Module,
    images: Shaped[Tensor, "n *pixels"],
    labels: Int[Tensor, " n"],
    *,
    adversary: Adversary | None = None,
    epochs: int = 3,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    stop: threading.Event | None = None,
    evaluate: Callable[[int], Metrics | None] | None = None,
    evaluate_every: int | None = None,
) -> History:
    """Train a classifier in place: cross-entropy, Adam, one cycle of the learning rate.

    An adversary sees the model in evaluation mode, as an attacker would, so that its passes neither use nor change the
    statistics of batch normalisation; the training pass then takes clean and changed images together. The same
    generator state gives the same images and orders on every device.

    Args:
        model: gives logits; in evaluation mode afterwards.
        images: uint8 (0 to 255), or floats in [0, 1], in the shape that the model takes.
        labels: what they show.
        adversary: changes each batch; ``None`` trains on the images as they are.
        epochs: passes over all images; 0 does nothing.
        batch_size: images in a batch; the last of an epoch holds what is left.
        learning_rate: the highest of the cycle.
        generator: for the order of the images and the adversary's draws; default: a new one.
        device: where to train; default: where the model is.
        checkpoint: the file to write now and then, and to go on from if it exists.
        stop: set it from another thread to stop after the running step.
        evaluate: called with the number of finished steps, the model in evaluation mode; gives more metrics.
        evaluate_every: in steps; default: after the last one.

    Returns:
        The history of ``loss`` and ``accuracy`` (on the batches as they were trained on), and ``learning rate``.

    Raises:
        ValueError: pixels outside [0, 1], labels that are not classes of the model, settings out of range.
        TypeError: images, labels or the adversary of the wrong type.
        CheckpointError: the checkpoint is of another training.
    """
    operation = "train_classifier"
    check_pixels(operation, "images", images)
    check_labels(operation, "labels", labels, len(images))
    if not isinstance(adversary, Adversary | None):
        reject(operation, "adversary", "an adversary or None", type(adversary).__name__, kind=TypeError)
    device = place(model, images, device)
    images, labels = images.to(device), labels.to(device, torch.int64)
    with evaluating([model]), torch.no_grad():
        n_classes = model(as_pixels(images[:1], model)).shape[1]
    largest = int(labels.max())
    require(largest < n_classes, operation, "labels", f"classes 0 to {n_classes - 1} of the model", largest)
    generator = resolve_generator(generator)

    def loss(chosen: Tensor) -> tuple[Tensor, Metrics]:
        chosen = chosen.to(device)
        batch, classes = as_pixels(images[chosen], model), labels[chosen]
        if adversary is not None:
            with evaluating([model]):
                batch = adversary.change(model, batch, classes, generator)
        logits = model(batch)
        right = (logits.detach().argmax(1) == classes).to(logits.dtype).mean()
        return F.cross_entropy(logits, classes), {"accuracy": right}

    return fit(
        model,
        len(images),
        loss,
        operation=operation,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        generator=generator,
        config={"adversary": _described(adversary)},
        checkpoint=checkpoint,
        stop=stop,
        evaluate=evaluate,
        evaluate_every=evaluate_every,
    )


def _change_half(
    source: nn.Module,
    adversary: HalfBatchFGSM | EnsembleAdversary,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Return the images, the first (larger) half of them replaced by FGSM examples of a model."""
    half = -(-len(images) // 2)
    epsilon = _draw_epsilons(adversary.epsilon_max, images[:half], generator)
    known = None if adversary.predicted_labels else labels[:half]
    attack: Attack = FGSM()
    return torch.cat([attack(source, images[:half], known, epsilon=epsilon, generator=generator), images[half:]])


def _draw_epsilons(most: float, images: Tensor, generator: torch.Generator) -> Tensor:
    return most * draw_uniform((len(images),), generator=generator, device=images.device, dtype=images.dtype)


def _check_epsilon(adversary: object, name: str) -> None:
    value = getattr(adversary, name)
    require(0 <= value < float("inf"), type(adversary).__name__, name, "a finite number >= 0", value)


def _described(value: Any) -> Any:
    """Return plain values that tell one adversary from another in a checkpoint."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_described(item) for item in value]
    name = type(value).__name__
    if is_dataclass(value):
        return {"name": name, **{field.name: _described(getattr(value, field.name)) for field in fields(value)}}
    return name

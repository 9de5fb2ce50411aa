"""The attack network of team iwiwi: trained once, it needs one pass for an image, whatever epsilon is asked for."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack, Task, check_labels
from toolkit.adversarial.attacks.steps import mean_size
from toolkit.adversarial.fitting import Metrics, as_pixels, check_pixels, evaluating, fit, frozen, place
from toolkit.adversarial.unet import UNet
from toolkit.core.devices import draw_integers, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History

Hints = Literal["sign", "scaled"]
Loss = Literal["cross-entropy", "bounded"]


class AttackNetwork(nn.Module):
    """Images to perturbations, one for each epsilon, none larger than its epsilon (section 5.7).

    A :class:`~toolkit.adversarial.unet.UNet` gives a map for each epsilon, and the perturbation is epsilon times its
    hyperbolic tangent. The gradient of some model's loss helps when it is given as a hint beside the image. Team
    iwiwi's own network starts from a pre-trained ResNet and may pass twice with a gate; this one passes once.

    Attributes:
        epsilons: ascending.
        hints: how gradients are given: their ``"sign"``, ``"scaled"`` to a mean size of 1 in each image, or None.
        unet: the network.
    """

    def __init__(
        self,
        epsilons: Sequence[float],
        channels: int = 1,
        widths: Sequence[int] = (16, 32, 48),
        *,
        hints: Hints | None = "sign",
        n_blocks: int = 1,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Make a network with fresh weights; it changes nothing before it is trained.

        Args:
            epsilons: for which there shall be maps, in units of the pixels.
            channels: of the images.
            widths: channels at each scale, the finest first.
            hints: ``"sign"``, ``"scaled"`` or None.
            n_blocks: convolutions in a stage.
            generator: draws the weights; default: a new one.
            dtype: of the weights; default: float32.

        Raises:
            ValueError: no epsilons, or some that are not above 0 or not all different; unknown hints.
        """
        super().__init__()
        self.epsilons = tuple(sorted(float(epsilon) for epsilon in epsilons))
        right = bool(self.epsilons) and self.epsilons[0] > 0 and self.epsilons[-1] < float("inf")
        right = right and len(set(self.epsilons)) == len(self.epsilons)
        require(right, "AttackNetwork", "epsilons", "different finite numbers > 0", list(epsilons))
        require(hints in ("sign", "scaled", None), "AttackNetwork", "hints", "'sign', 'scaled' or None", repr(hints))
        self.hints = hints
        self.unet = UNet(
            channels * (1 if hints is None else 2),
            widths,
            channels * len(self.epsilons),
            n_blocks=n_blocks,
            generator=generator,
            dtype=dtype,
        )

    def forward(
        self,
        images: Float[Tensor, "batch channels height width"],
        gradients: Float[Tensor, "batch channels height width"] | None = None,
    ) -> Float[Tensor, "batch epsilons channels height width"]:
        """Return the perturbations for all epsilons.

        Args:
            images: pixels in [0, 1].
            gradients: of a model's losses, if the network takes hints; their scale does not matter.

        Raises:
            ValueError: gradients missing, or given to a network without hints.
        """
        if (gradients is None) != (self.hints is None):
            expected = "None: the network takes no hints" if self.hints is None else "gradients as hints"
            reject("AttackNetwork", "gradients", expected, "gradients" if gradients is not None else None)
        given = images
        if gradients is not None:
            hints = gradients.sign() if self.hints == "sign" else gradients / mean_size(gradients)
            given = torch.cat([images, hints], 1)
        maps = self.unet(given).unflatten(1, (len(self.epsilons), images.shape[1]))
        return torch.tanh(maps) * maps.new_tensor(self.epsilons).view(-1, 1, 1, 1)

    def closest(self, epsilon: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """Return the numbers of the largest epsilons of the network that are not larger; 0 below the smallest."""
        # Sixteen 255ths are not the same number in float32 and in float64.
        known = epsilon.new_tensor(self.epsilons) * (1 - 1e-6)
        return (torch.bucketize(epsilon.detach(), known, right=True) - 1).clamp(min=0)


@dataclass(frozen=True, eq=False)
class NetworkAttack(Attack):
    """The attack of a trained :class:`AttackNetwork`.

    An epsilon between those of the network is taken down to the next one, as in the released code; below the smallest,
    its perturbation is cut to what is allowed.

    Attributes:
        network: trained.
        hint_model: whose gradient the network is given if it takes hints; default: the model that is attacked. It
            should be the one of the training.
    """

    network: AttackNetwork
    hint_model: nn.Module | None = None

    accepts_targets: ClassVar[bool] = False

    def perturb(self, task: Task) -> Float[Tensor, "batch channels height width"]:
        """Return the images with the perturbations of their epsilons."""
        with evaluating([self.network, self.hint_model]):
            gradients = None
            if self.network.hints is not None and self.hint_model is None:
                gradients = task.gradient(task.images)
            elif self.network.hints is not None:
                gradients = task.gradient(task.images, self._hinted(task))
            which = self.network.closest(task.epsilon.flatten()).expand(len(task.images))
            with torch.no_grad():
                return task.images + chosen_maps(self.network(task.images, gradients), which)

    def _hinted(self, task: Task) -> Callable[[Tensor], Tensor]:
        assert self.hint_model is not None
        model = self.hint_model
        return lambda images: F.cross_entropy(model(images), task.labels, reduction="none")


def train_attack_network(
    network: AttackNetwork,
    models: Sequence[nn.Module],
    images: Shaped[Tensor, "n channels height width"],
    labels: Int[Tensor, " n"],
    *,
    hint_model: nn.Module | None = None,
    loss: Loss = "bounded",
    epochs: int = 2,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    stop: threading.Event | None = None,
    evaluate: Callable[[int], Metrics | None] | None = None,
    evaluate_every: int | None = None,
) -> History:
    """Train an attack network in place against several frozen models at once (section 5.7).

    Each image of a batch is attacked with one of the network's epsilons, drawn anew each time, so that all maps are
    learnt together. The chapter raises Σ J, the cross-entropy summed over models: ``loss="cross-entropy"``. It has no
    bound, so models that err already count most. ``"bounded"`` lowers Σ -log(1 - p) instead, p being what a model gives
    the label: an image that a model gets wrong no longer counts. The hint is the gradient of the hint model's loss at
    the clean image, for its own answer, because an attacker is not told the label.

    Args:
        network: in evaluation mode afterwards.
        models: to be fooled, all at the same time; they stay in evaluation mode and are not changed in any bit.
        images: uint8 (0 to 255), or floats in [0, 1].
        labels: what they show.
        hint_model: gives the gradients if the network takes hints.
        loss: ``"bounded"`` or ``"cross-entropy"``.
        epochs: passes over all images.
        batch_size: images in a batch.
        learning_rate: the highest of the cycle.
        generator: for the order of the images and the epsilons; default: a new one.
        device: where to train; default: where the network is.
        checkpoint: the file to write now and then, and to go on from if it exists.
        stop: set it from another thread to stop after the running step.
        evaluate: called with the number of finished steps, the network in evaluation mode; gives more metrics.
        evaluate_every: in steps; default: after the last one.

    Returns:
        The history of ``loss`` (summed over models, the mean over images), ``error`` (the share of wrong answers of the
        models on the attacked batch) and ``learning rate``.

    Raises:
        ValueError: no models, a hint model missing or useless, pixels outside [0, 1], labels that are not classes.
        TypeError: images or labels of the wrong type.
        CheckpointError: the checkpoint is of another training.
    """
    operation = "train_attack_network"
    models = list(models)
    require(bool(models), operation, "models", "at least one model", "none")
    require(loss in ("bounded", "cross-entropy"), operation, "loss", "'bounded' or 'cross-entropy'", repr(loss))
    wanted = "None: the network takes no hints" if network.hints is None else f"a model for hints ({network.hints!r})"
    given = None if hint_model is None else type(hint_model).__name__
    require((hint_model is None) == (network.hints is None), operation, "hint_model", wanted, given)
    check_pixels(operation, "images", images)
    check_labels(operation, "labels", labels, len(images))
    device = place(network, images, device)
    for model in [*models, *([] if hint_model is None else [hint_model])]:
        model.to(device)
    images, labels = images.to(device), labels.to(device, torch.int64)
    with evaluating(models), torch.no_grad():
        n_classes = min(model(as_pixels(images[:1], network)).shape[1] for model in models)
    largest = int(labels.max())
    require(largest < n_classes, operation, "labels", f"classes 0 to {n_classes - 1} of the models", largest)
    generator = resolve_generator(generator)

    def descended(chosen: Tensor) -> tuple[Tensor, Metrics]:
        chosen = chosen.to(device)
        batch, classes = as_pixels(images[chosen], network), labels[chosen]
        gradients = None if hint_model is None else _hint(hint_model, batch)
        which = draw_integers(0, len(network.epsilons), (len(batch),), generator=generator, device=device)
        attacked = (batch + chosen_maps(network(batch, gradients), which)).clamp(0, 1)
        total, errors = batch.new_zeros(()), []
        for model in models:
            logits = model(attacked)
            total = total + attack_losses(logits, classes, loss).mean()
            errors.append((logits.detach().argmax(1) != classes).to(logits.dtype).mean())
        return total, {"error": torch.stack(errors).mean()}

    with frozen([*models, hint_model]):
        return fit(
            network,
            len(images),
            descended,
            operation=operation,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            generator=generator,
            config={
                "epsilons": network.epsilons,
                "hints": network.hints,
                "objective": loss,
                "models": [type(model).__name__ for model in models],
            },
            checkpoint=checkpoint,
            stop=stop,
            evaluate=evaluate,
            evaluate_every=evaluate_every,
        )


def attack_losses(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], loss: Loss
) -> Float[Tensor, " batch"]:
    """Return what an attack network descends: minus the cross-entropy, or -log(1 - p) of the label.

    Args:
        logits: of the attacked images.
        labels: to be left.
        loss: ``"cross-entropy"`` or ``"bounded"``.
    """
    if loss == "cross-entropy":
        return -F.cross_entropy(logits, labels, reduction="none")
    own = labels[:, None]
    others = logits.scatter(1, own, float("-inf")).logsumexp(1)
    # -log(1 - p), without the cancellation in 1 - p.
    return F.softplus(logits.gather(1, own)[:, 0] - others)


def chosen_maps(
    maps: Float[Tensor, "batch epsilons channels height width"], which: Int[Tensor, " batch"]
) -> Float[Tensor, "batch channels height width"]:
    """Return the map of one epsilon for each image."""
    return maps[torch.arange(len(maps), device=maps.device), which]


def _hint(model: nn.Module, images: Tensor) -> Tensor:
    """Return the gradient of a model's loss for its own answers."""
    at = images.detach().requires_grad_()
    logits = model(at)
    total = F.cross_entropy(logits, logits.detach().argmax(1), reduction="sum")
    return torch.autograd.grad(total, at)[0].nan_to_num(0.0, 0.0, 0.0)

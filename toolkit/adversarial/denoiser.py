"""The denoiser of team TsAIL, first among the defences: trained so that a classifier sees what it would see without."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Attack, Classifier, check_images, check_labels
from toolkit.adversarial.fitting import Metrics, as_pixels, check_pixels, evaluating, fit, frozen, place
from toolkit.adversarial.unet import UNet
from toolkit.core.devices import draw_integers, resolve_generator
from toolkit.core.errors import reject, require
from toolkit.core.history import History

Guide = Literal["pixels", "features", "logits", "class"]
_GUIDES = ("pixels", "features", "logits", "class")


class Denoiser(nn.Module):
    """Subtracts the noise that a network sees in an image (section 5.1, eqs. 11 and 12).

    The result is not put back into [0, 1]: as in the released code, the classifier takes it as it is. Clamp it to show
    it. With a fresh :class:`UNet` nothing is changed.

    Attributes:
        unet: images to noise of the same shape.
    """

    def __init__(self, unet: nn.Module | None = None) -> None:
        """Make a denoiser.

        Args:
            unet: finds the noise; default: a small :class:`UNet` for grey images.
        """
        super().__init__()
        self.unet = UNet() if unet is None else unet

    def forward(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch *pixels"]:
        """Return the images without the noise."""
        return images - self.unet(images)


class Denoised(nn.Module):
    """A classifier behind a denoiser.

    Attributes:
        denoiser: comes first.
        model: sees what it leaves.
    """

    def __init__(self, denoiser: nn.Module, model: nn.Module) -> None:
        super().__init__()
        self.denoiser, self.model = denoiser, model
        self.train(denoiser.training or model.training)

    def forward(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of the denoised images."""
        return self.model(self.denoiser(images))


def train_denoiser(
    denoiser: nn.Module,
    model: nn.Module | None,
    clean: Shaped[Tensor, "n *pixels"],
    adversarial: Shaped[Tensor, "n *pixels"],
    *,
    guide: Guide = "logits",
    labels: Int[Tensor, " n"] | None = None,
    epochs: int = 3,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    stop: threading.Event | None = None,
    evaluate: Callable[[int], Metrics | None] | None = None,
    evaluate_every: int | None = None,
) -> History:
    """Train a denoiser in place, the classifier being frozen: descend |f(denoised) - f(clean)| (section 5.1, eq. 13).

    f are the pixels (the weak control), the topmost feature map (FGD), or the logits (LGD); or what is descended is the
    cross-entropy of the true class (CGD). The difference is the mean over images and entries, as in the released
    code, where eq. 13 has the sum. The classifier stays in evaluation mode and is not changed in any bit.

    Args:
        denoiser: images to images; in evaluation mode afterwards.
        model: the classifier to be defended; ``None`` will do for ``"pixels"``. For ``"features"`` it needs a method
            ``features``.
        clean: uint8 (0 to 255), or floats in [0, 1].
        adversarial: the same images, attacked in many ways; see :func:`craft_mixture`.
        guide: ``"pixels"``, ``"features"``, ``"logits"`` or ``"class"``.
        labels: what the images show, for ``"class"`` alone.
        epochs: passes over all pairs.
        batch_size: pairs in a batch.
        learning_rate: the highest of the cycle.
        generator: for the order of the pairs; default: a new one.
        device: where to train; default: where the denoiser is.
        checkpoint: the file to write now and then, and to go on from if it exists.
        stop: set it from another thread to stop after the running step.
        evaluate: called with the number of finished steps, the denoiser in evaluation mode; gives more metrics.
        evaluate_every: in steps; default: after the last one.

    Returns:
        The history of ``loss`` and ``learning rate``.

    Raises:
        ValueError: images that do not belong together, labels missing or useless, an unknown guide.
        TypeError: images of the wrong type.
        CheckpointError: the checkpoint is of another training.
    """
    operation = "train_denoiser"
    require(guide in _GUIDES, operation, "guide", f"one of {', '.join(_GUIDES)}", repr(guide))
    for name, images in (("clean", clean), ("adversarial", adversarial)):
        check_pixels(operation, name, images)
    shapes = f"{list(adversarial.shape)} and {list(clean.shape)}"
    require(clean.shape == adversarial.shape, operation, "adversarial", "the shape of the clean images", shapes)
    if guide == "class":
        if labels is None:
            reject(operation, "labels", "a class for each image, with guide 'class'", None)
        check_labels(operation, "labels", labels, len(clean))
    if model is None and guide != "pixels":
        reject(operation, "model", f"a classifier, with guide {guide!r}", None)
    if guide == "features":
        has = callable(getattr(model, "features", None))
        require(has, operation, "model", "a model with features(images), with guide 'features'", type(model).__name__)
    device = place(denoiser, clean, device)
    if model is not None:
        place(model, clean, device)
    clean, adversarial = clean.to(device), adversarial.to(device)
    classes = None if labels is None else labels.to(device, torch.int64)
    see = {"features": getattr(model, "features", None), "pixels": lambda images: images}.get(guide, model)

    def loss(chosen: Tensor) -> tuple[Tensor, Metrics]:
        assert see is not None
        chosen = chosen.to(device)
        seen = see(denoiser(as_pixels(adversarial[chosen], denoiser)))
        if guide == "class":
            assert classes is not None
            return F.cross_entropy(seen, classes[chosen]), {}
        with torch.no_grad():
            wanted = see(as_pixels(clean[chosen], denoiser))
        return (seen - wanted).abs().mean(), {}

    with frozen([model]):
        return fit(
            denoiser,
            len(clean),
            loss,
            operation=operation,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            generator=resolve_generator(generator),
            config={"guide": guide, "model": type(model).__name__},
            checkpoint=checkpoint,
            stop=stop,
            evaluate=evaluate,
            evaluate_every=evaluate_every,
        )


def craft_mixture(
    members: Sequence[tuple[Attack, Classifier]],
    images: Float[Tensor, "n *pixels"],
    labels: Int[Tensor, " n"] | None = None,
    *,
    epsilons: Sequence[float],
    generator: torch.Generator | None = None,
    batch_size: int = 250,
) -> Float[Tensor, "n *pixels"]:
    """Attack each image by one of several attacks with one of several epsilons, both drawn at random.

    What a denoiser is trained on. Team TsAIL took no attack at all, noise, FGSM on several models and on their
    ensemble, and two and four steps of BIM on the ensemble.

    Args:
        members: attacks and the models they look at.
        images: clean, in [0, 1].
        labels: what they show; default: what the attacked model says.
        epsilons: in units of the pixels.
        generator: for all draws; default: a new one.
        batch_size: images at a time.

    Returns:
        As many images, in the same order.

    Raises:
        ValueError: no attacks or no epsilons.
    """
    operation = "craft_mixture"
    require(len(members) > 0, operation, "members", "at least one attack", "none")
    require(len(epsilons) > 0, operation, "epsilons", "at least one number", "none")
    require(batch_size >= 1, operation, "batch_size", ">= 1", batch_size)
    check_images(operation, images)
    generator, n, device = resolve_generator(generator), len(images), images.device
    kinds = draw_integers(0, len(members), (n,), generator=generator, device=device)
    drawn = draw_integers(0, len(epsilons), (n,), generator=generator, device=device)
    sizes = torch.as_tensor(epsilons, dtype=images.dtype, device=device)[drawn]
    changed = images.clone()
    for kind, (attack, model) in enumerate(members):
        for part in (kinds == kind).nonzero()[:, 0].split(batch_size):
            if len(part):
                known = None if labels is None else labels.to(device)[part]
                changed[part] = attack(model, images[part], known, epsilon=sizes[part], generator=generator)
    return changed


@dataclass(frozen=True)
class LayerErrors:
    """How far the layers of a network are thrown off by a change of its input.

    Attributes:
        names: of the layers, in the order in which they run; the first is the input.
        errors: Σ|f(changed) - f(clean)| / Σ|f(clean)| over all images and entries of a layer.
    """

    names: tuple[str, ...]
    errors: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def layer_errors(
    model: nn.Module,
    clean: Float[Tensor, "n *pixels"],
    changed: Float[Tensor, "n *pixels"],
    *,
    batch_size: int = 250,
) -> LayerErrors:
    """Measure how a change grows from layer to layer: why a denoiser should not be judged by pixels.

    A small change of the pixels made by an attack grows on its way to the logits, random noise of the same size does
    not; so does what a pixel-guided denoiser leaves over.

    Args:
        model: a classifier; its smallest parts are the layers. It is looked at in evaluation mode.
        clean: images in [0, 1].
        changed: the same images attacked, or attacked and denoised.
        batch_size: images at a time.

    Returns:
        The relative error of the input and of each layer; a layer that runs more than once counts once.

    Raises:
        ValueError: images that do not belong together.
    """
    operation = "layer_errors"
    require(clean.shape == changed.shape, operation, "changed", f"shape {list(clean.shape)}", list(changed.shape))
    require(len(clean) > 0 and batch_size >= 1, operation, "clean", "images, and batch_size >= 1", len(clean))
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda layer, given, output: outputs.update({name: output.clone()}) if torch.is_tensor(output) else None

    parts = [(name or "model", layer) for name, layer in model.named_modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(keep(name)) for name, layer in parts]
    totals: dict[str, tuple[float, float]] = {}
    try:
        with evaluating([model]), torch.no_grad():
            for images, others in zip(clean.split(batch_size), changed.split(batch_size), strict=True):
                seen = []
                for batch in (images, others):
                    outputs.clear()
                    outputs["input"] = batch
                    model(batch.clone())  # a layer that works in place would change the images
                    seen.append(dict(outputs))
                for name, before in seen[0].items():
                    difference, size = totals.get(name, (0.0, 0.0))
                    difference += float((seen[1][name] - before).abs().double().sum())
                    totals[name] = difference, size + float(before.abs().double().sum())
    finally:
        for handle in handles:
            handle.remove()
    ratios = [difference / size if size else float("nan") for difference, size in totals.values()]
    return LayerErrors(tuple(totals), tuple(ratios))

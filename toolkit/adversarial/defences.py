"""Defences that change the images before a model sees them, and the mixtures of such defences that teams entered."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.adversarial.ensembles import Ensemble
from toolkit.adversarial.geometric import RandomAffine
from toolkit.adversarial.jpeg import JPEG
from toolkit.adversarial.transforms import Chain, GaussianNoise, check_integer
from toolkit.core.devices import resolve_generator
from toolkit.core.errors import reject, require


class Defended(nn.Module):
    """A model behind a transform; a randomised one may be averaged over several draws.

    Team iyswim is ``Defended(model, RandomResizePad(...), n_draws=30)``, team erko
    ``Defended(Ensemble(models, fuse="probabilities"), MedianFilter(2))`` with adversarially trained models.

    Attributes:
        model: what classifies the changed images.
        transform: changes the images.
        n_draws: how many draws an answer averages.
        average: what is averaged.
        generator: draws when a call brings no generator; it moves on with every call.
    """

    def __init__(
        self,
        model: nn.Module,
        transform: Callable[[Tensor, torch.Generator | None], Tensor],
        n_draws: int = 1,
        average: Literal["probabilities", "logits"] = "probabilities",
        seed: int = 0,
    ) -> None:
        """Put a transform before a model.

        Args:
            model: gives logits.
            transform: a :class:`~toolkit.adversarial.transforms.Transform`, or any ``transform(images, generator)``.
            n_draws: of the transform for one answer; a transform that is not random is applied once.
            average: ``"probabilities"`` (the answer is the logarithm of the mean) or ``"logits"``.
            seed: of the defence's own generator: two defences with the same seed give the same answers in turn.

        Raises:
            ValueError: no draws, an unknown ``average``.
            TypeError: a model that is no module, a transform that cannot be called.
        """
        super().__init__()
        _check_module("Defended", model)
        if not callable(transform):
            expected = "transform(images, generator) -> images"
            reject("Defended", "transform", expected, type(transform).__name__, kind=TypeError)
        check_integer("Defended", "n_draws", n_draws, 1)
        averages = ("probabilities", "logits")
        require(average in averages, "Defended", "average", f"one of {', '.join(averages)}", repr(average))
        self.model, self.transform = model, transform
        self.n_draws, self.average = n_draws, average
        self.generator = resolve_generator(seed=seed)
        # A wrapper takes over the mode of what it wraps.
        self.training = model.training

    def forward(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Return logits; those of several draws are logarithms of mean probabilities, or mean logits.

        Args:
            images: pixels in [0, 1].
            generator: draws instead of the defence's own.
        """
        if generator is not None:
            with drawing_from(self, generator):
                return self(images)
        n_draws = self.n_draws if getattr(self.transform, "random", True) else 1
        outputs = [self.model(self.transform(images, self.generator)) for _ in range(n_draws)]
        return outputs[0] if n_draws == 1 else _mean(outputs, self.average)

    def losses(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, " batch"]:
        """Return what an attack raises, for each image: with one draw the model's own losses, if it has such."""
        if generator is not None:
            with drawing_from(self, generator):
                return self.losses(images, labels)
        own = getattr(self.model, "losses", None)
        if own is not None and (self.n_draws == 1 or not getattr(self.transform, "random", True)):
            return own(self.transform(images, self.generator), labels)
        return F.cross_entropy(self(images), labels, reduction="none")

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"transform={self.transform}, n_draws={self.n_draws}, average={self.average!r}"


@contextmanager
def drawing_from(model: Callable[[Tensor], Tensor], generator: torch.Generator) -> Iterator[None]:
    """Let all randomised defences inside a model draw from one generator, and from their own again afterwards.

    Args:
        model: with defences anywhere among its modules; other callables are left alone.
        generator: what they draw from meanwhile.
    """
    inside = [part for part in model.modules() if isinstance(part, Defended)] if isinstance(model, nn.Module) else []
    own = [part.generator for part in inside]
    try:
        for part in inside:
            part.generator = generator
        yield
    finally:
        for part, kept in zip(inside, own, strict=True):
            part.generator = kept


def weighted_defence(
    members: Sequence[tuple[float, Callable[[Tensor, torch.Generator | None], Tensor], nn.Module]],
    seed: int = 0,
) -> Ensemble:
    """Return models behind transforms of their own, whose logits are summed with weights.

    Args:
        members: (weight, transform, model); a model may serve several members.
        seed: of the first member's generator; the next ones have the next seeds.

    Returns:
        The ensemble. It divides the weights by their sum, which changes no answer.

    Raises:
        ValueError: no members, or weights that are negative or all zero.
    """
    weights = [weight for weight, _, _ in members]
    models = [Defended(model, transform, seed=seed + n) for n, (_, transform, model) in enumerate(members)]
    return Ensemble(models, weights)


def mmd_defence(
    ensemble_trained: nn.Module, adversarially_trained: nn.Module, plain: Sequence[nn.Module] = (), seed: int = 0
) -> Ensemble:
    """Return the defence "mmd" of team Anil Thomas, third in the competition (its released code).

    Logits are summed: an ensemble-adversarially trained model on sheared, shifted, zoomed and turned copies (weight
    0.7) and on copies of JPEG quality 50 (0.1); an adversarially trained model on noisy, turned and zoomed copies (0.2)
    and on the JPEG copies (0.1); two plain models on turned and zoomed JPEG copies (0.1 and 0.05).

    The ranges are the team's; their draws from a few values in a range are uniform here, and the angles of 2 to 3
    degrees either way are −3 to 3. Their noise of 4/255 was for pixels in [−1, 1], so it is 2/255 here. The auxiliary
    logits of the team's networks have no counterpart.

    Args:
        ensemble_trained: their Inception-ResNet v2.
        adversarially_trained: their Inception v3.
        plain: at most two: their VGG-16 and ResNet v2-152.
        seed: of the random draws.

    Raises:
        ValueError: more than two plain models.
    """
    require(len(plain) <= 2, "mmd_defence", "plain", "at most two models", len(plain))
    jitter = RandomAffine((-1.48, -1.34), (1.34, 1.48), (1.0025, 1.108), (-0.02, -0.0167), interpolation="nearest")
    turned = RandomAffine(rotation=3, zoom=(1.05, 1.1))
    compressed = JPEG(50)
    members = [
        (0.7, jitter, ensemble_trained),
        (0.1, compressed, ensemble_trained),
        (0.2, Chain((GaussianNoise(2 / 255), turned)), adversarially_trained),
        (0.1, compressed, adversarially_trained),
    ]
    # Zoomed by 0.75 to 0.8, then cut from 299 to 224 pixels: 1 to 1.07 relative to the size of the cut.
    copies = Chain((compressed, RandomAffine(rotation=3, zoom=(1.0, 1.07))))
    members += [(weight, copies, model) for weight, model in zip((0.1, 0.05), plain, strict=False)]
    return weighted_defence(members, seed)


def _mean(outputs: list[Tensor], average: str) -> Tensor:
    """Return mean logits, or logarithms of mean probabilities, of several draws."""
    stacked = torch.stack(outputs)
    if average == "logits":
        return stacked.mean(0)
    return stacked.log_softmax(2).logsumexp(0) - math.log(len(outputs))


def _check_module(operation: str, model: object) -> None:
    if not isinstance(model, nn.Module):
        reject(operation, "model", "a torch.nn.Module", type(model).__name__, kind=TypeError)

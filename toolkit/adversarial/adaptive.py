"""What an attacker who knows the defence does: pass gradients through what has none, and average over its draws.

Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security" (arXiv 1802.00420).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.adversarial.attacks.base import Classifier
from toolkit.adversarial.defences import drawing_from
from toolkit.adversarial.transforms import Transform, check_integer, straight_through
from toolkit.core.devices import resolve_generator
from toolkit.core.errors import require


@dataclass(frozen=True)
class BPDA(Transform):
    """Backward pass differentiable approximation: forwards a transform, backwards the gradient of another.

    ``Defended(model, BPDA(JPEG(75)))`` answers as the defence does, and can be attacked.

    Attributes:
        transform: used forwards.
        surrogate: its gradient is used backwards; both make the same random draws. Default: the identity, with which
            the gradient is the model's at the transformed images.
    """

    transform: Callable[[Tensor, torch.Generator | None], Tensor]
    surrogate: Callable[[Tensor, torch.Generator | None], Tensor] | None = None

    @property
    def random(self) -> bool:
        """Whether the transform is."""
        return getattr(self.transform, "random", True)

    def change(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator
    ) -> Float[Tensor, "batch channels new_height new_width"]:
        """Return the transformed images, with the surrogate's gradient."""
        again = torch.Generator(device=generator.device)
        again.set_state(generator.get_state())
        with torch.no_grad():
            value = self.transform(images, generator)
        carrier = images if self.surrogate is None else self.surrogate(images, again)
        expected = f"images of the transform's shape {list(value.shape)}"
        actual = f"{'the identity: ' if self.surrogate is None else ''}{list(carrier.shape)}"
        require(carrier.shape == value.shape, "BPDA", "surrogate", expected, actual)
        return straight_through(value, carrier)


class ExpectationOverTransformation(nn.Module):
    """A randomised model seen by an attacker who averages over its draws.

    An attack on it raises the mean loss over ``n_draws`` draws, whose gradient is the mean of their gradients.

    Attributes:
        model: with :class:`~toolkit.adversarial.defences.Defended` somewhere inside; here it draws from ``generator``,
            and its own generators stay where they are.
        n_draws: for each answer.
        generator: draws when a call brings none; it moves on with every call.
    """

    def __init__(self, model: Classifier, n_draws: int = 30, seed: int = 0) -> None:
        """Average over a model's draws.

        Args:
            model: gives logits, other ones each time.
            n_draws: how many; each costs a pass through the model, and memory for its gradient.
            seed: of the generator.

        Raises:
            ValueError: no draws.
        """
        super().__init__()
        check_integer("ExpectationOverTransformation", "n_draws", n_draws, 1)
        self.model, self.n_draws = model, n_draws
        self.generator = resolve_generator(seed=seed)
        self.training = getattr(model, "training", False)

    def forward(
        self, images: Float[Tensor, "batch channels height width"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Return logarithms of the mean probabilities.

        Args:
            images: pixels in [0, 1].
            generator: draws instead of the model's own.
        """
        with drawing_from(self.model, generator or self.generator):
            outputs = torch.stack([self.model(images).log_softmax(1) for _ in range(self.n_draws)])
        return outputs.logsumexp(0) - math.log(self.n_draws)

    def losses(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int[Tensor, " batch"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, " batch"]:
        """Return each image's mean loss: the model's own losses if it has such, else the cross-entropy."""
        own = getattr(self.model, "losses", None)
        with drawing_from(self.model, generator or self.generator):
            if own is None:
                each = [F.cross_entropy(self.model(images), labels, reduction="none") for _ in range(self.n_draws)]
            else:
                each = [own(images, labels) for _ in range(self.n_draws)]
        return torch.stack(each).mean(0)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"n_draws={self.n_draws}"

"""Several models as one: fused in their logits, their probabilities or their losses."""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from toolkit.core.errors import require


class Ensemble(nn.Module):
    """A weighted ensemble that can be attacked and that can defend.

    With cross-entropy J and weights w that sum to 1, an attack raises: ``"logits"``: J of Σ w f, as team TsAIL (section
    5.2, eq. 15); ``"probabilities"``: -log Σ w p (section 5.5, eq. 20); ``"loss"``: Σ w J (eq. 21), never less than the
    loss of the probabilities. As a defence, ``"loss"`` answers with the weighted geometric mean of the probabilities.

    Dynamic inclusion (team FatFingers, eq. 22) leaves out, image by image, a member whose loss has gone far enough:
    below ``drop_below`` when an attack lowers it towards a target, above ``drop_above`` when it raises it. The chapter
    gives no threshold. It needs ``fuse="loss"``.

    Attributes:
        members: the models.
        weights: theirs, normalised.
        fuse: what is fused.
        drop_below: a loss in nats, or None.
        drop_above: a loss in nats, or None.
    """

    weights: Tensor

    def __init__(
        self,
        models: Iterable[nn.Module],
        weights: Sequence[float] | Tensor | None = None,
        fuse: Literal["logits", "probabilities", "loss"] = "logits",
        drop_below: float | None = None,
        drop_above: float | None = None,
    ) -> None:
        """Put models together.

        Args:
            models: modules that give logits of the same classes.
            weights: one each, >= 0; divided by their sum. Default: all the same.
            fuse: ``"logits"``, ``"probabilities"`` or ``"loss"``.
            drop_below: leave out a member whose loss is lower.
            drop_above: leave out a member whose loss is higher.

        Raises:
            ValueError: no models, weights that do not fit, an unknown ``fuse``, thresholds without ``fuse="loss"``.
        """
        super().__init__()
        self.members = nn.ModuleList(models)
        n = len(self.members)
        require(n > 0, "Ensemble", "models", "at least one", n)
        given = torch.as_tensor(weights if weights is not None else [1.0] * n, dtype=torch.float64)
        require(given.shape == (n,), "Ensemble", "weights", f"{n} numbers", list(given.shape))
        right = bool(given.isfinite().all() and (given >= 0).all() and given.sum() > 0)
        require(right, "Ensemble", "weights", "finite numbers >= 0 with a positive sum", given.tolist())
        fuses = ("logits", "probabilities", "loss")
        require(fuse in fuses, "Ensemble", "fuse", f"one of {', '.join(fuses)}", repr(fuse))
        dynamic = drop_below is not None or drop_above is not None
        require(fuse == "loss" or not dynamic, "Ensemble", "fuse", "'loss' with drop_below or drop_above", repr(fuse))
        self.register_buffer("weights", given / given.sum())
        self.fuse, self.drop_below, self.drop_above = fuse, drop_below, drop_above
        # Not train(): that would change the members' modes too.
        self.training = any(member.training for member in self.members)

    def forward(self, images: Float[Tensor, "batch *pixels"]) -> Float[Tensor, "batch classes"]:
        """Return the fused logits, or logarithms of the fused probabilities."""
        outputs = torch.stack([member(images) for member in self.members])
        weights = self.weights.to(outputs).view(-1, 1, 1)
        if self.fuse == "logits":
            return (weights * outputs).sum(0)
        log_probabilities = outputs.log_softmax(2)
        if self.fuse == "loss":
            return (weights * log_probabilities).sum(0)
        used = self.weights > 0
        return (log_probabilities[used] + weights[used].log()).logsumexp(0)

    def losses(self, images: Float[Tensor, "batch *pixels"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return what an attack raises, for each image."""
        if self.fuse != "loss":
            return F.cross_entropy(self(images), labels, reduction="none")
        each = torch.stack([F.cross_entropy(member(images), labels, reduction="none") for member in self.members])
        included = torch.ones_like(each)
        if self.drop_below is not None:
            included = included * (each.detach() >= self.drop_below)
        if self.drop_above is not None:
            included = included * (each.detach() <= self.drop_above)
        return (self.weights.to(each).view(-1, 1) * each * included).sum(0)

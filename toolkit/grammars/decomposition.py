"""Which grammar, and what next: the two parts of a predictor's distance from the best there is."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.grammars.documents import Documents
from toolkit.grammars.metrics import ByPosition, by_position, divergences, reached


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The divergence of a mixture over metadata, and the two divergences that bound it, in nats at each position.

    Attributes:
        which_grammar: KL(p(j | x) ‖ q(j | x)): a wrong belief about the metadata.
        what_next: mean of KL(p(y | x, j) ‖ q(y | x, j)) over p(j | x): wrong predictions where the metadata are known.
        mixture: KL(p(y | x) ‖ Σ_j q(j | x) q(y | x, j)); at most the sum of the two, in every single prediction.
        direct: KL(p(y | x) ‖ q(y | x)) of the same model where it is shown no metadata, which need not use them as the
            mixture does; ``None`` if it was not given.
    """

    which_grammar: ByPosition
    what_next: ByPosition
    mixture: ByPosition
    direct: ByPosition | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        parts = {name: getattr(self, name).to_dict() for name in ("which_grammar", "what_next", "mixture")}
        return parts | {"direct": None if self.direct is None else self.direct.to_dict()}

    def __repr__(self) -> str:
        parts = (self.which_grammar, self.what_next, self.mixture)
        which, what, mixture = (part.overall for part in parts)
        return f"Decomposition(which grammar {which:.4g} + what next {what:.4g} >= mixture {mixture:.4g})"


def decompose(
    exact_posterior: Float[Tensor, "sentences positions groups"],
    exact_next: Float[Tensor, "sentences positions groups columns"],
    implied: Float[Tensor, "sentences positions groups"],
    log_probs: Float[Tensor, "groups sentences positions columns"],
    documents: Documents,
    direct: Float[Tensor, "sentences positions columns"] | None = None,
) -> Decomposition:
    """Split the divergence of a model that was shown metadata.

    Args:
        exact_posterior: p(j | x), probabilities.
        exact_next: p(y | x, j), probabilities; zeros where x is impossible under j.
        implied: log q(j | x), see :func:`toolkit.grammars.posteriors.implied_log_posterior`.
        log_probs: log q(y | x, j), of the model shown each value of the metadata in turn.
        documents: the sentences.
        direct: log q(y | x), of the model shown no metadata.

    Raises:
        ValueError: shapes that do not agree.
    """
    shape = (*exact_posterior.shape, exact_next.shape[-1])
    require(exact_next.shape == shape, "decompose", "exact_next", f"shape {list(shape)}", list(exact_next.shape))
    conditional = log_probs.movedim(0, 2).double()
    require(conditional.shape == shape, "decompose", "log_probs", "the groups first, then as exact_next", "another")
    require(implied.shape == shape[:3], "decompose", "implied", f"shape {list(shape[:3])}", list(implied.shape))
    mask = reached(documents)
    expected = f"shape {[*mask.shape, 'groups']}"
    require(shape[:2] == mask.shape, "decompose", "exact_posterior", expected, list(exact_posterior.shape))
    if direct is not None:
        expected = f"shape {[*mask.shape, shape[3]]}"
        require(direct.shape == (*mask.shape, shape[3]), "decompose", "direct", expected, list(direct.shape))
    parts = torch.where(exact_posterior > 0, exact_posterior * divergences(exact_next, conditional), 0.0)
    optimal = (exact_posterior[..., None] * exact_next).sum(2)
    mixture = (implied[..., None] + conditional).logsumexp(2)
    return Decomposition(
        by_position(divergences(exact_posterior, implied), mask),
        by_position(parts.sum(-1), mask),
        by_position(divergences(optimal, mixture), mask),
        None if direct is None else by_position(divergences(optimal, direct), mask),
    )

"""The held-out sentences of a family, and all that the best predictor there is says of them."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from toolkit.core.devices import resolve_generator
from toolkit.experiments.metadata_conditioning_families import find_family
from toolkit.grammars.accuracy import Attainable, attainable_accuracy, exact_attainable_accuracy
from toolkit.grammars.documents import Documents, as_documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import Inference, infer
from toolkit.grammars.metrics import ByPosition, by_position, reached
from toolkit.grammars.posteriors import level_accuracy

_SEED = 2504_17562  # of held-out sentences, which no training reads
_GRID = (0, 1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640)
_NUMBERS = 2**24  # of next-token tables held at once
_REVEALED = (0.5, 0.95)
_REACH = 0.1
_ENUMERATED = 20_000


@dataclass(frozen=True, eq=False)
class Optimum:
    """Held-out sentences of a family and what is exactly true of them.

    Attributes:
        family: they were drawn from.
        documents: the sentences, with their metadata.
        mask: which positions each reaches.
        optimal: the best predictor's probabilities, the choices of the first 0, 1, …, D levels known.
        posterior: over metadata, after every prefix.
        member: which grammars accept each sentence.
        truth: the posterior probability of the true metadata by position.
        entropy: of the posterior by position, nats.
        best_accuracy: of the best guess of each level's choice, by position.
    """

    family: GrammarFamily
    documents: Documents
    mask: Bool[Tensor, "sentences positions"]
    optimal: Float[Tensor, "depths sentences positions columns"]
    posterior: Float[Tensor, "sentences positions grammars"]
    member: Bool[Tensor, "sentences grammars"]
    truth: ByPosition
    entropy: ByPosition
    best_accuracy: tuple[ByPosition, ...]

    def __repr__(self) -> str:
        return f"Optimum({self.family!r}, {len(self.documents)} sentences)"

    @property
    def share_reaching(self) -> Float[Tensor, " positions"]:
        """Which share of the sentences reaches each position."""
        return self.truth.n / len(self.documents)

    @property
    def revealed(self) -> Float[Tensor, " positions"]:
        """How much of the uncertainty about the metadata is gone at each position, 0 to 1; 0 where there was none."""
        start = self.entropy.mean[0]
        return 1 - self.entropy.mean / start if start > 0 else torch.zeros_like(self.entropy.mean)

    @property
    def short(self) -> Bool[Tensor, " positions"]:
        """Positions at which less than half of what will be revealed of the metadata is, the first among them."""
        revealed = self.revealed
        most = revealed[self.share_reaching >= _REACH].max()
        found = (revealed < _REVEALED[0] * most) & (self.share_reaching >= _REACH)
        found[0] = True
        return found

    @property
    def long(self) -> Bool[Tensor, " positions"]:
        """Positions at which nearly all of it is, and that one sentence in ten reaches."""
        revealed = self.revealed
        reach = self.share_reaching >= _REACH
        found = (revealed >= _REVEALED[1] * revealed[reach].max()) & reach
        found[0] = False
        return found

    def lengths(self, wanted: tuple[int, ...] | None) -> tuple[int, ...]:
        """Return lengths of prompts: those wanted that a sentence reaches, or a grid up to what one in ten reaches."""
        longest = int(self.documents.lengths.max())
        if wanted is not None:
            return tuple(length for length in wanted if length <= longest)
        far = int((self.share_reaching >= _REACH).nonzero().max())
        return tuple(length for length in _GRID if length <= far)

    def attainable(self, lengths: tuple[int, ...]) -> Attainable:
        """Return what grammatical accuracy can be: exactly for a small family, else from the held-out sentences."""
        exact = _exactly_attainable(self.family, lengths)
        return exact or attainable_accuracy(self.posterior, self.member, self.documents, lengths)


@lru_cache(maxsize=4)
def _exactly_attainable(family: GrammarFamily, lengths: tuple[int, ...]) -> Attainable | None:
    try:
        return exact_attainable_accuracy(family, lengths, most=_ENUMERATED)
    except ValueError:  # too many sentences to write down
        return None


@lru_cache(maxsize=2)
def find_optimum(family_name: str, n: int, device: str) -> Optimum:
    """Draw held-out sentences, the same for every seed and arm, and infer everything about them.

    Args:
        family_name: see :func:`find_family`.
        n: how many sentences.
        device: where to compute and keep them.
    """
    family = find_family(family_name)
    documents = held_out(family, n, "documents", device)
    metadata = documents.metadata
    assert metadata is not None
    mask = reached(documents)
    width, grammars, columns = mask.shape[1], family.n_grammars, family.n_terminals + 1
    optimal = torch.zeros(family.depth + 1, n, width, columns, dtype=torch.float64, device=documents.values.device)
    posterior = optimal.new_zeros(n, width, grammars)
    member = torch.zeros(n, grammars, dtype=torch.bool, device=optimal.device)
    step = max(1, _NUMBERS // (width * grammars * columns))
    rows = documents.padded()
    for chosen in torch.arange(n, device=optimal.device).split(step):
        found = infer(family, rows[chosen])
        there = found.mask.shape[1]
        for known in range(family.depth + 1):
            optimal[known, chosen, :there] = found.next_token_probs(known, metadata[chosen])
        posterior[chosen, :there] = found.posterior()
        member[chosen] = found.member
    index = family.metadata_index(metadata)
    truth = posterior.gather(-1, index[:, None, None].expand(n, width, 1))[..., 0]
    entropy = torch.special.entr(posterior).sum(-1)
    return Optimum(
        family,
        documents,
        mask,
        optimal,
        posterior,
        member,
        by_position(truth, mask),
        by_position(entropy, mask),
        tuple(level_accuracy(posterior, family, mask)),
    )


def held_out(family: GrammarFamily, n: int, purpose: str, device: torch.device | str) -> Documents:
    """Draw sentences for one purpose: always the same, drawn on the CPU whatever the device."""
    seed = _SEED + sum(ord(letter) << (7 * (i % 5)) for i, letter in enumerate(purpose))
    drawn = family.sample(n, device="cpu", generator=resolve_generator(seed=seed))
    return drawn.to(device)


def infer_some(optimum: Optimum, n: int) -> tuple[Documents, Inference]:
    """Return the first sentences with everything exact about them, next-token tables of each grammar included."""
    documents = optimum.documents
    rows, metadata = documents.padded(), documents.metadata
    assert metadata is not None
    n = max(1, min(n, len(documents), _NUMBERS // (optimum.mask.shape[1] * optimum.family.n_grammars)))
    longest = int(documents.lengths[:n].max())
    some = as_documents("infer_some", rows[:n, :longest])
    return Documents(some.values, some.offsets, metadata[:n]), infer(optimum.family, some)


def targets_of(documents: Documents) -> Int[Tensor, "documents levels"]:
    """Return the metadata that documents were drawn with."""
    assert documents.metadata is not None
    return documents.metadata

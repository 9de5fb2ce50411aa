"""How much the first tokens tell of each level's rules, over all documents of a family, or over many drawn ones."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.errors import require
from toolkit.explorers.example_families import DEEP, TOY, example_family
from toolkit.grammars.documents import Documents
from toolkit.grammars.enumeration import Enumeration, enumerate_sentences
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.inference import infer

SAMPLED = {DEEP: 300, "4 choices each": 600}
"""Families with too many sentences to write down while a reader waits, and how many documents are drawn instead."""
_ENOUGH = 30  # documents that a mean needs
_TREES = 2000


@dataclass(frozen=True, eq=False, repr=False)
class LevelKnowledge:
    """What is known of each level's choice after so many tokens, averaged over the documents that are that long.

    Attributes:
        name: of the family.
        family: of grammars.
        share: of documents that have at least so many tokens, by the number of tokens from 0.
        accuracy: how often the best guess of each level's choice is right.
        entropy: what stays open of each level's choice, in nats.
        all_right: how probable the right metadata are, all levels at once.
        all_entropy: what stays open of the metadata, in nats.
        applied: how many rules of each level were applied to get that far; the mean of drawn trees.
        n_documents: how many were drawn; 0 if all there are were counted.
        error: the largest standard error of ``accuracy``; 0 if all documents were counted.
    """

    name: str
    family: GrammarFamily
    share: Float[Tensor, " places"]
    accuracy: Float[Tensor, "places levels"]
    entropy: Float[Tensor, "places levels"]
    all_right: Float[Tensor, " places"]
    all_entropy: Float[Tensor, " places"]
    applied: Float[Tensor, "places levels"]
    n_documents: int
    error: float

    @property
    def longest(self) -> int:
        """The last number of tokens there is a mean for."""
        return len(self.share) - 1

    def __repr__(self) -> str:
        how = f"{self.n_documents} documents" if self.n_documents else "all documents"
        return f"LevelKnowledge({self.name}: {how}, up to {self.longest} tokens)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, tensors as lists."""
        plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(self).items()}
        return plain | {"family": repr(self.family)}


@functools.cache
def level_knowledge(name: str = TOY) -> LevelKnowledge:
    """Compute what the first tokens tell.

    Args:
        name: of an example family with metadata.

    Raises:
        ValueError: no such family, or one without metadata.
    """
    family = example_family(name)
    require(family.n_grammars > 1, "level_knowledge", "name", "a family with several grammars", repr(name))
    if name in SAMPLED:
        return _sampled(name, family, SAMPLED[name])
    return _counted(name, family, all_sentences(name))


@functools.cache
def all_sentences(name: str) -> Enumeration:
    """Write down all sentences of an example family, once for all views.

    Args:
        name: of the family.
    """
    return enumerate_sentences(example_family(name))


def _counted(name: str, family: GrammarFamily, every: Enumeration) -> LevelKnowledge:
    share, columns = prefix_beliefs(every, family)
    return _made(name, family, share, columns, 0, 0.0)


def prefix_beliefs(
    every: Enumeration, family: GrammarFamily
) -> tuple[Float[Tensor, " places"], Float[Tensor, "places quantities"]]:
    """Return what is known after so many tokens, on average over the documents that are so long.

    Args:
        every: all sentences of the family.
        family: of grammars.

    Returns:
        The share of documents that are so long; and for each level how often its best guess is right, then for each
        level what is open of it (nats), then the probability of the right metadata, and what is open of them (nats).
    """
    joint = (every.log_prob + family.metadata_log_prob).exp()
    rows, lengths = every.documents.padded(), every.documents.lengths
    longest = int(lengths.max())
    # Sentences stand in the order of their tokens: those that begin alike stand together.
    prefix = torch.zeros(len(rows), dtype=torch.int64)
    shares, columns = [], []
    for place in range(longest + 1):
        if place:
            kept = lengths >= place
            rows, lengths, joint, prefix = rows[kept], lengths[kept], joint[kept], prefix[kept]
            differ = (prefix[1:] != prefix[:-1]) | (rows[1:, place - 1] != rows[:-1, place - 1])
            prefix = torch.cat([prefix.new_zeros(1), differ.long().cumsum(0)])
        mass = joint.new_zeros(int(prefix[-1]) + 1, joint.shape[1]).index_add_(0, prefix, joint)
        shares.append(float(mass.sum()))
        columns.append(torch.stack([(part * mass.sum(1)).sum() / shares[-1] for part in _beliefs(mass, family)]))
    return torch.tensor(shares, dtype=torch.float64), torch.stack(columns)


def _sampled(name: str, family: GrammarFamily, n: int) -> LevelKnowledge:
    documents = family.sample(n, generator=torch.Generator().manual_seed(0), device="cpu")
    found = infer(family, documents)
    counts = torch.tensor([int((documents.lengths >= k).sum()) for k in range(found.mask.shape[1])])
    kept = int((counts >= _ENOUGH).sum())
    parts = torch.stack(_beliefs(found.posterior(), family), -1)[:, :kept]
    inside = found.mask[:, :kept, None].double()
    means = (parts * inside).sum(0) / counts[:kept, None]
    squares = ((parts - means) ** 2 * inside).sum(0) / (counts[:kept, None] - 1)
    error = float((squares / counts[:kept, None]).sqrt()[:, : family.depth].max())
    return _made(name, family, counts[:kept].double() / n, means, n, error)


def _beliefs(weights: Float[Tensor, "*prefixes grammars"], family: GrammarFamily) -> list[Float[Tensor, "*prefixes"]]:
    """Return for prefixes: best accuracy of each level, entropy of each level, then Σ p² and entropy of all at once."""
    total = weights.sum(-1, keepdim=True)
    p = weights / torch.where(total > 0, total, 1.0)
    choices = p.unflatten(-1, family.n_choices)
    places = range(p.ndim - 1, p.ndim - 1 + family.depth)
    levels = [choices.sum([at for at in places if at != place]) if family.depth > 1 else choices for place in places]
    return [
        *(level.amax(-1) for level in levels),
        *(torch.special.entr(level).sum(-1) for level in levels),
        p.square().sum(-1),
        torch.special.entr(p).sum(-1),
    ]


def _made(
    name: str,
    family: GrammarFamily,
    share: Float[Tensor, " places"],
    columns: Float[Tensor, "places quantities"],
    n: int,
    error: float,
) -> LevelKnowledge:
    depth = family.depth
    accuracy, entropy = columns[:, :depth], columns[:, depth : 2 * depth]
    applied = rules_applied(family, len(share))
    rest = (columns[:, 2 * depth], columns[:, 2 * depth + 1])
    return LevelKnowledge(name, family, share, accuracy, entropy, *rest, applied, n, error)


def rules_applied(family: GrammarFamily, n_places: int) -> Float[Tensor, "places levels"]:
    """Return how many rules of each level the first tokens come from, on average over drawn documents that are so long.

    Args:
        family: of grammars.
        n_places: numbers of tokens, from 0; where no drawn document is so long, the last row there is.
    """
    generator = torch.Generator().manual_seed(1)
    documents = family.sample(_TREES, generator=generator, device="cpu", return_trees=True)
    columns = []
    for level in range(family.depth):
        begins = _begins(documents, level)
        n_begun = torch.stack([(begins.values < k).long() for k in range(n_places)])
        per_document = torch.zeros(n_places, len(documents), dtype=torch.float64)
        per_document.index_add_(1, begins.owners, n_begun.double())
        long_enough = documents.lengths >= torch.arange(n_places)[:, None]
        columns.append((per_document * long_enough).sum(1) / long_enough.sum(1).clamp(min=1))
    last = int(documents.lengths.max())
    return torch.stack(columns, 1)[torch.arange(n_places).clamp(max=last)]


@dataclass(frozen=True, eq=False)
class _Begins:
    values: Int[Tensor, " nodes"]  # how many tokens of its document stand before each node
    owners: Int[Tensor, " nodes"]  # the document


def _begins(documents: Documents, level: int) -> _Begins:
    counts = torch.ones(documents.n_tokens, dtype=torch.int64)  # tokens below each node
    for deeper in range(len(documents.levels) - 1, level, -1):
        n_above = len(documents.levels[deeper - 1].symbols)
        counts = torch.zeros(n_above, dtype=torch.int64).index_add_(0, documents.levels[deeper].parents, counts)
    before = counts.cumsum(0) - counts
    owners = torch.searchsorted(documents.offsets, before, right=True) - 1
    return _Begins(before - documents.offsets[owners], owners)


def chance(family: GrammarFamily, level: int) -> float:
    """Return how often the best guess of a level is right before anything was read."""
    return max(family.choice_probs[level])


def prior_entropy(family: GrammarFamily, level: int) -> float:
    """Return what is open of a level's choice before anything was read, in nats."""
    return -sum(p * math.log(p) for p in family.choice_probs[level] if p > 0)

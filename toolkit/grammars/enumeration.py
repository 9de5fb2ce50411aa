"""All sentences of a small family with their probabilities: the yard-stick for everything that is computed faster."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from toolkit.core.errors import require
from toolkit.grammars.documents import Documents
from toolkit.grammars.families import GrammarFamily
from toolkit.grammars.posteriors import group_log_prior, n_groups

_Sentence = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Every sentence that some grammar of a family has, once, in the order of the tokens.

    Attributes:
        documents: the sentences.
        log_prob: of each sentence in each grammar, in nats, −inf where it is none; the grammars are those of
            ``family.all_metadata``.
        probability: of each sentence over all metadata.
    """

    documents: Documents
    log_prob: Float[Tensor, "sentences grammars"]
    probability: Float[Tensor, " sentences"]

    def __len__(self) -> int:
        return len(self.documents)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: each sentence with its probability."""
        sentences = [self.documents[i].tolist() for i in range(len(self))]
        return {"sentences": sentences, "probability": self.probability.tolist()}

    def __repr__(self) -> str:
        return f"Enumeration({len(self)} sentences of {self.log_prob.shape[1]} grammars)"


def enumerate_sentences(family: GrammarFamily, *, most: int = 200_000) -> Enumeration:
    """Write down every sentence of a family.

    Args:
        family: a small one.
        most: sentences that a symbol may have.

    Raises:
        ValueError: it has more.
    """
    # below[choices of the levels from here on][symbol][sentence] is a probability
    below: dict[tuple[int, ...], list[dict[_Sentence, float]]] = {(): [{(t,): 1.0} for t in range(family.n_terminals)]}
    for level in reversed(range(family.depth)):
        below = {
            (choice, *rest): [
                _sentences(alternatives, probs, parts, most)
                for alternatives, probs in zip(family.rules[level][choice], family.probs[level][choice], strict=True)
            ]
            for choice, (rest, parts) in itertools.product(range(family.n_choices[level]), below.items())
        }
    roots = [below[tuple(row)][0] for row in family.all_metadata.tolist()]
    sentences = sorted(set().union(*roots))
    require(len(sentences) <= most, "enumerate_sentences", "family", f"at most {most} sentences", len(sentences))
    log_prob = torch.tensor(
        [
            [math.log(p) if (p := root.get(sentence, 0.0)) > 0 else -math.inf for root in roots]
            for sentence in sentences
        ],
        dtype=torch.float64,
    )
    probability = (log_prob + family.metadata_log_prob).logsumexp(1).exp()
    tokens = torch.tensor([token for sentence in sentences for token in sentence], dtype=torch.int64)
    offsets = torch.tensor([0, *itertools.accumulate(map(len, sentences))], dtype=torch.int64)
    return Enumeration(Documents(tokens, offsets), log_prob, probability)


def sentence_entropy(everything: Enumeration, family: GrammarFamily, known_levels: int = 0) -> float:
    """Return H(x | j_0, …, j_{m−1}): what the best reader loses on a document, told the first levels' choices.

    Args:
        everything: all sentences of the family.
        family: whose sentences they are.
        known_levels: how many choices are told, m; at 0 it is the entropy of documents.

    Returns:
        Nats a document, on average over documents.

    Raises:
        ValueError: there are not so many levels.
    """
    together = everything.log_prob + family.metadata_log_prob
    together = together.unflatten(-1, (n_groups(family, known_levels), -1)).logsumexp(-1)
    given = (together - group_log_prior(family, known_levels)).masked_fill(together == -math.inf, 0.0)
    return -float((together.exp() * given).sum())


def _sentences(alternatives: Any, probs: Any, parts: list[dict[_Sentence, float]], most: int) -> dict[_Sentence, float]:
    found: dict[_Sentence, float] = {}
    expected = f"at most {most} sentences of a symbol"
    for children, p in zip(alternatives, probs, strict=True):
        if p == 0:
            continue
        n = math.prod(len(parts[child]) for child in children)
        require(n <= 20 * most, "enumerate_sentences", "family", expected, f"about {n}")
        for pieces in itertools.product(*(parts[child].items() for child in children)):
            sentence = tuple(itertools.chain.from_iterable(piece for piece, _ in pieces))
            found[sentence] = found.get(sentence, 0.0) + p * math.prod(q for _, q in pieces)
        require(
            len(found) <= most, "enumerate_sentences", "family", f"at most {most} sentences of a symbol", len(found)
        )
    return found
